//! Wires the compactor to AWS: settings, the lake, its queue, the handler.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lambda_events::event::sqs::SqsEvent;
use compactor::{Alarm, Compactor, Outcome};
use lambda_runtime::{Context, Error, LambdaEvent, run, service_fn};
use pinlake_effects::{Clock, Effects, SystemClock};
use pinlake_lake::{Budget, Lake};
use pinlake_platform::telemetry::{self, Metrics, Unit};
use pinlake_platform::{contracts, settings};

/// Kept free of each invocation for the last commit and the answer.
const RESERVE: Duration = Duration::from_secs(20);

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let (metrics, effects) = (Metrics::of("compactor"), Effects::system());
    let config = aws_config::load_from_env().await;
    let store = settings::location("PINLAKE_LAKE")?.open().await?;
    let compactor = Compactor {
        lake: Lake::new(store, effects.clone()),
        catalog: Arc::new(contracts::catalog(settings::place("PINLAKE_DATASETS")?.as_ref()).await?),
        alarm: Queue {
            client: aws_sdk_sqs::Client::new(&config),
            url: settings::required("PINLAKE_QUEUE_URL")?,
        },
        budget: Budget::default(),
    };
    run(service_fn(async |event: LambdaEvent<SqsEvent>| {
        let outcome = compactor.handle(event.payload, patience(&event.context)).await;
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
impl Alarm for Queue {
    async fn wake(&self, body: String) -> Result<(), String> {
        let sent = self.client.send_message().queue_url(&self.url).message_body(body).send().await;
        sent.map(|_| ()).map_err(|error| aws_sdk_sqs::error::DisplayErrorContext(error).to_string())
    }
}

/// How long new commits may be begun: until the deadline, less the reserve.
fn patience(context: &Context) -> Duration {
    let now = u64::try_from(SystemClock.now().timestamp_millis()).unwrap_or(0);
    Duration::from_millis(context.deadline.saturating_sub(now)).saturating_sub(RESERVE)
}

fn measure(metrics: &Metrics, effects: &Effects, outcome: &Outcome) {
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
