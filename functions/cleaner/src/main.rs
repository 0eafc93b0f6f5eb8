//! Entry point of the cleaner: settings, the lake's store, the handler.

use std::convert::Infallible;

use cleaner::event::SourceEvent;
use cleaner::{Cleaner, InvocationSummary};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use pinlake_env::Env;
use pinlake_landing::catalog_history::CatalogHistory;
use pinlake_landing::message::Message;
use pinlake_platform::deployment::Deployment;
use pinlake_platform::event::Event;
use pinlake_platform::location::Location;
use pinlake_platform::metrics::cleaner as metric;
use pinlake_platform::telemetry::{self, Metrics};
use pinlake_platform::trigger_queue::SqsTriggerQueue;
use pinlake_platform::{aws, settings};
use tokio::sync::Mutex;

// The function's memory size buys less than one processor, so more threads would not help.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let (metrics, env) = (Metrics::from_settings(), Env::system());
    let deployment = Deployment::from_settings(false, env.clock.clone(), |_| Ok::<_, Infallible>(())).await?;
    let cleaner = Cleaner {
        store: Location::from_setting("PINLAKE_LAKE")?.open().await?,
        catalog: deployment.catalog(),
        catalog_history: CatalogHistory::default(),
    };
    // Lambda sends one invocation at a time.
    let state = Mutex::new((deployment, cleaner));
    // Set for the freshness `fast`: S3's notifications can take seconds, and sometimes a minute (S3 User Guide, "Amazon
    // S3 Event Notifications"). They arrive too, and find nothing left to do.
    let trigger_queue = match settings::optional("PINLAKE_QUEUE_URL") {
        Some(url) => Some(SqsTriggerQueue::new(&aws::load_config().await, url)),
        None => None,
    };
    run(service_fn(async |event: LambdaEvent<Event<SourceEvent>>| {
        let (deployment, cleaner) = &mut *state.lock().await;
        if let Some(catalog) = deployment.refresh(|new| Ok::<_, Infallible>(new.catalog.clone())).await {
            cleaner.catalog = catalog;
        }
        metrics.emit_broken_contracts(env.clock.now(), metric::CONTRACTS_BROKEN, deployment);
        let summary = cleaner.handle(event.payload.0).await?;
        if let Some(queue) = &trigger_queue {
            trigger_compactor(queue, &summary).await;
        }
        measure(&metrics, &env, &summary);
        Ok::<_, Error>(summary.response)
    }))
    .await
}

/// Triggers the compactor for the datasets that have landed.
async fn trigger_compactor(queue: &SqsTriggerQueue, summary: &InvocationSummary) {
    let datasets: Vec<String> = summary.landed_datasets().into_iter().map(str::to_owned).collect();
    if datasets.is_empty() {
        return;
    }
    if let Err(error) = queue.send(Message::Compact(datasets).to_body()).await {
        tracing::warn!(%error, "cannot trigger the compactor, the notification of S3 does");
    }
}

fn measure(metrics: &Metrics, env: &Env, summary: &InvocationSummary) {
    for count in summary.landed.iter().flat_map(|landed| &landed.counts) {
        let values = [
            (metric::RECORDS, count.read as f64),
            (metric::QUARANTINED, count.quarantined as f64),
            (metric::BYTES, count.bytes as f64),
            (metric::SKIPPED, count.skipped as f64),
        ];
        metrics.emit(env.clock.now(), count.dataset.as_deref(), &values);
    }
    let failed = summary.response.batch_item_failures.len() as f64;
    metrics.emit(env.clock.now(), None, &[(metric::BATCHES_FAILED, failed)]);
}
