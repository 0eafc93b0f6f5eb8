//! Entry point of the compactor: settings, the lake, the trigger queue, the handler.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::event::sqs::SqsEvent;
use chrono::{DateTime, Utc};
use compactor::aws::S3Buckets;
use compactor::files::{self, Files, FilesSummary, MAX_FILE_BYTES, Steps};
use compactor::{Compactor, InvocationSummary};
use lambda_runtime::{Context, Error, LambdaEvent, run, service_fn};
use pinlake_clean::record_reader::sandbox;
use pinlake_env::{Clock, Env, SystemClock};
use pinlake_lake::{CompactionLimits, Lake};
use pinlake_platform::deployment::Deployment;
use pinlake_platform::event::Event;
use pinlake_platform::location::{Location, s3_client};
use pinlake_platform::metrics::compactor as metric;
use pinlake_platform::telemetry::{self, Metrics};
use pinlake_platform::trigger_queue::SqsTriggerQueue;
use pinlake_platform::{aws, settings};
use tokio::sync::Mutex;

/// Time of each invocation that is kept for the last commit and the response.
const RESERVE: Duration = Duration::from_secs(20);

/// Divisor of the function's memory that gives the memory budget of keys: a quarter of 2 GB holds 150 million rows.
const KEY_SHARE: usize = 4;

fn main() -> Result<ExitCode, Error> {
    if let Some(child) = sandbox::parse_child_args(std::env::args_os()) {
        return Ok(child.run());
    }
    serve().map(|()| ExitCode::SUCCESS)
}

#[tokio::main]
async fn serve() -> Result<(), Error> {
    telemetry::init();
    let (metrics, env) = (Metrics::from_settings(), Env::system());
    let config = aws::load_config().await;
    let location = Location::from_setting("PINLAKE_LAKE")?;
    let store = location.open().await?;
    let buckets = S3Buckets { client: s3_client(&config) };
    let memory = settings::function_memory(256)?;
    let files = match location {
        Location::Folder(_) => None,
        Location::S3 { bucket, prefix } => {
            let sinks = settings::optional("PINLAKE_SINK_BUCKET").unwrap_or_default();
            Some(Files {
                bucket,
                prefix,
                sinks: sinks
                    .split(',')
                    .map(str::trim)
                    .filter(|name| !name.is_empty())
                    .map(str::to_owned)
                    .collect(),
                buckets: Arc::new(buckets),
                max_bytes: MAX_FILE_BYTES,
                steps: Steps::default(),
                sandbox: files::parquet_sandbox(memory as u64)?,
                env: env.clone(),
            })
        }
    };
    let deployment = Deployment::from_settings(false, env.clock.clone(), |_| Ok::<_, Infallible>(())).await?;
    let compactor = Compactor {
        lake: Lake::new(store, env.clone()).with_key_bytes(memory / KEY_SHARE),
        catalog: deployment.catalog(),
        trigger_queue: SqsTriggerQueue::new(&config, settings::required("PINLAKE_QUEUE_URL")?),
        budget: CompactionLimits::default(),
        files,
    };
    // Lambda sends one invocation at a time.
    let state = Mutex::new((deployment, compactor));
    run(service_fn(async |event: LambdaEvent<Event<SqsEvent>>| {
        let (deployment, compactor) = &mut *state.lock().await;
        if let Some(catalog) = deployment.refresh(|new| Ok::<_, Infallible>(new.catalog.clone())).await {
            compactor.catalog = catalog;
        }
        metrics.emit_broken_contracts(env.clock.now(), metric::CONTRACTS_BROKEN, deployment);
        let summary = compactor.handle(event.payload.0, remaining_time(&event.context)).await;
        measure(&metrics, &env, &summary);
        Ok::<_, Infallible>(summary.response)
    }))
    .await
}

/// Returns how long the invocation may begin new commits: until its deadline, less the reserve.
fn remaining_time(context: &Context) -> Duration {
    let now = u64::try_from(SystemClock.now().timestamp_millis()).unwrap_or(0);
    Duration::from_millis(context.deadline.saturating_sub(now)).saturating_sub(RESERVE)
}

/// Returns the seconds that have passed since `then`.
fn seconds_since(then: DateTime<Utc>, env: &Env) -> f64 {
    (env.clock.now() - then).as_seconds_f64().max(0.0)
}

fn measure(metrics: &Metrics, env: &Env, summary: &InvocationSummary) {
    if let Some(files) = &summary.files {
        let values = match files {
            Ok(FilesSummary { landed, rejected, discarded, retried, records, failed, .. }) => vec![
                (metric::FILES, *landed as f64),
                (metric::FILES_REJECTED, *rejected as f64),
                (metric::FILES_DISCARDED, *discarded as f64),
                (metric::FILES_RETRIED, *retried as f64),
                (metric::FILES_FAILED, failed.len() as f64),
                (metric::FILE_RECORDS, *records as f64),
            ],
            Err(_) => vec![(metric::FILES_FAILED, 1.0)],
        };
        metrics.emit(env.clock.now(), None, &values);
    }
    for (dataset, done) in &summary.compacted {
        let values = match done {
            Ok(done) => vec![
                (metric::FRESHNESS, done.oldest_arrival.map_or(0.0, |arrival| seconds_since(arrival, env))),
                (metric::ROWS_READ, done.read as f64),
                (metric::ROWS_INSERTED, done.inserted as f64),
                (metric::ROWS_DUPLICATE, done.duplicates as f64),
                (metric::OBJECTS, done.objects as f64),
                (metric::OBJECTS_CLEANED_AGAIN, done.cleaned_again as f64),
                (metric::FILES_MERGED, done.merged_files as f64),
                (metric::OBJECTS_FAILED, done.failed as f64),
            ],
            Err(_) => vec![(metric::FAILURES, 1.0)],
        };
        metrics.emit(env.clock.now(), Some(dataset), &values);
    }
}
