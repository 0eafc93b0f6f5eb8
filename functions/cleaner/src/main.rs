//! Wires the cleaner to AWS: settings, the lake's store, the handler.

use std::sync::Arc;

use cleaner::{Cleaned, Cleaner, event};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use pinlake_env::Env;
use pinlake_landing::catalog_history::CatalogHistory;
use pinlake_platform::event::Event;
use pinlake_platform::metrics::cleaner as metric;
use pinlake_platform::telemetry::{self, Metrics};
use pinlake_platform::{contracts, settings};

// Its memory buys it less than a processor: other threads would only be woken up for one another.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let (metrics, effects) = (Metrics::from_settings(), Env::system());
    let cleaner = Cleaner {
        store: settings::location("PINLAKE_LAKE")?.open().await?,
        catalog: Arc::new(contracts::catalog(settings::place("PINLAKE_DATASETS")?.as_ref()).await?),
        catalog_history: CatalogHistory::default(),
    };
    run(service_fn(async |event: LambdaEvent<Event<event::Event>>| {
        let cleaned = match event.payload.0.topics() {
            Ok(records) => Cleaned { landed: cleaner.handle_topics(records).await?, ..Cleaned::default() },
            Err(event) => cleaner.handle(event).await,
        };
        measure(&metrics, &effects, &cleaned);
        Ok::<_, Error>(cleaned.response)
    }))
    .await
}

fn measure(metrics: &Metrics, effects: &Env, cleaned: &Cleaned) {
    for count in cleaned.landed.iter().flat_map(|landed| &landed.counts) {
        let values = [
            (metric::RECORDS, count.read as f64),
            (metric::QUARANTINED, count.quarantined as f64),
            (metric::BYTES, count.bytes as f64),
        ];
        metrics.emit(effects.clock.now(), count.dataset.as_deref(), &values);
    }
    let failed = cleaned.response.batch_item_failures.len() as f64;
    metrics.emit(effects.clock.now(), None, &[(metric::SHARDS_FAILED, failed)]);
}
