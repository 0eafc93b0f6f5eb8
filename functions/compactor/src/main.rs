//! Wires the compactor to AWS: settings, the lake, its queue, the handler.

use std::convert::Infallible;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lambda_events::event::sqs::SqsEvent;
use compactor::files::{self, Buckets, Files, FilesSummary, MOST_BYTES, Steps};
use compactor::{Compactor, Outcome, TriggerQueue};
use lambda_runtime::{Context, Error, LambdaEvent, run, service_fn};
use object_store::ObjectStore;
use pinlake_clean::record_reader::sandbox;
use pinlake_env::{Clock, Env, SystemClock};
use pinlake_lake::{Budget, Lake};
use pinlake_platform::event::Event;
use pinlake_platform::location::{Location, s3_client};
use pinlake_platform::s3::S3Store;
use pinlake_platform::telemetry::{self, Metrics, Unit};
use pinlake_platform::{contracts, settings};

/// Kept free of each invocation for the last commit and the answer.
const RESERVE: Duration = Duration::from_secs(20);

/// The part of the function's memory that is for what is known of keys: of 2 GB that is 150 million rows.
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
    let (metrics, effects) = (Metrics::of("compactor"), Env::system());
    let config = aws_config::load_from_env().await;
    let place = settings::location("PINLAKE_LAKE")?;
    let store = place.open().await?;
    let s3 = S3 { client: s3_client(&config) };
    // Lambda says how many MB it has (Lambda Developer Guide, "Using Lambda environment variables").
    let memory = settings::parsed("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 256)? << 20;
    let files = match place {
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
                buckets: Arc::new(s3),
                most_bytes: MOST_BYTES,
                steps: Steps::default(),
                sandbox: files::sandbox(memory as u64)?,
                effects: effects.clone(),
            })
        }
    };
    let compactor = Compactor {
        lake: Lake::new(store, effects.clone()).with_key_bytes(memory / KEY_SHARE),
        catalog: Arc::new(contracts::catalog(settings::place("PINLAKE_DATASETS")?.as_ref()).await?),
        alarm: Queue {
            client: aws_sdk_sqs::Client::new(&config),
            url: settings::required("PINLAKE_QUEUE_URL")?,
        },
        budget: Budget::default(),
        files,
    };
    run(service_fn(async |event: LambdaEvent<Event<SqsEvent>>| {
        let outcome = compactor.handle(event.payload.0, patience(&event.context)).await;
        measure(&metrics, &effects, &outcome);
        Ok::<_, Infallible>(outcome.response)
    }))
    .await
}

/// The queue that wakes the compactor.
struct Queue {
    client: aws_sdk_sqs::Client,
    url: String,
}

#[async_trait]
impl TriggerQueue for Queue {
    async fn wake(&self, body: String) -> Result<(), String> {
        let sent = self.client.send_message().queue_url(&self.url).message_body(body).send().await;
        sent.map(|_| ()).map_err(|error| aws_sdk_sqs::error::DisplayErrorContext(error).to_string())
    }
}

/// All buckets that the function's role may read.
struct S3 {
    client: aws_sdk_s3::Client,
}

impl Buckets for S3 {
    fn open(&self, bucket: &str) -> Arc<dyn ObjectStore> {
        Arc::new(S3Store::new(self.client.clone(), bucket))
    }
}

/// How long new commits may be begun: until the deadline, less the reserve.
fn patience(context: &Context) -> Duration {
    let now = u64::try_from(SystemClock.now().timestamp_millis()).unwrap_or(0);
    Duration::from_millis(context.deadline.saturating_sub(now)).saturating_sub(RESERVE)
}

fn measure(metrics: &Metrics, effects: &Env, outcome: &Outcome) {
    if let Some(files) = &outcome.files {
        let values = match files {
            Ok(FilesSummary { taken, rejected, discarded, tried_again, records, failed, .. }) => vec![
                ("files", Unit::Count, *taken as f64),
                ("files_rejected", Unit::Count, *rejected as f64),
                ("files_given_up", Unit::Count, *discarded as f64),
                ("files_tried_again", Unit::Count, *tried_again as f64),
                ("files_failed", Unit::Count, failed.len() as f64),
                ("file_records", Unit::Count, *records as f64),
            ],
            Err(_) => vec![("files_failed", Unit::Count, 1.0)],
        };
        metrics.emit(effects.clock.now(), None, &values);
    }
    for (dataset, done) in &outcome.compacted {
        let values = match done {
            Ok(done) => vec![
                ("rows_read", Unit::Count, done.read as f64),
                ("rows_inserted", Unit::Count, done.inserted as f64),
                ("rows_duplicate", Unit::Count, done.duplicates as f64),
                ("objects", Unit::Count, done.objects as f64),
                ("objects_cleaned_again", Unit::Count, done.cleaned_again as f64),
                ("files_merged", Unit::Count, done.merged_files as f64),
                ("objects_failed", Unit::Count, done.failed as f64),
            ],
            Err(_) => vec![("failures", Unit::Count, 1.0)],
        };
        metrics.emit(effects.clock.now(), Some(dataset), &values);
    }
}
