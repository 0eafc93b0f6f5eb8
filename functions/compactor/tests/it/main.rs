//! The compactor's handler over a real lake in memory.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail by panicking, like the tests themselves")]
#![allow(clippy::print_stdout, reason = "a test prints its measurements")]

mod alarms;
mod bounds;
#[path = "../../../../tests/broken_contract.rs"]
mod broken_contract;
#[path = "../../../../tests/emitted_metrics.rs"]
mod emitted_metrics;
mod files;
mod hostile;
#[path = "../../../../tests/hostile_files.rs"]
mod hostile_files;
#[path = "../../../../tests/runtime_api.rs"]
mod runtime_api;
mod secrecy;
#[path = "../../../../tests/subprocess.rs"]
mod subprocess;

use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_trait::async_trait;
use aws_lambda_events::event::sqs::SqsEvent;
use compactor::trigger::Trigger;
use compactor::{Compactor, TriggerQueue};
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_env::{Env, ManualClock, Rng};
use pinlake_lake::{CompactionLimits, Lake};
use pinlake_landing::catalog_history::CatalogHistory;
use pinlake_landing::land::{RawBatch, land_rows};
use pinlake_landing::raw::{self, RawData, RawRecord};
use pinlake_landing::source::RecordSource;
use pinlake_schema::Catalog;

#[derive(Clone, Default)]
struct Sent(Arc<Mutex<Vec<String>>>);

#[async_trait]
impl TriggerQueue for Sent {
    async fn send(&self, body: String) -> Result<(), String> {
        self.0.lock().unwrap().push(body);
        Ok(())
    }
}

fn env() -> Env {
    let clock = ManualClock::at("2022-10-19T12:00:00Z".parse().unwrap());
    Env { clock: Arc::new(clock), rng: Arc::new(Rng::seeded(1)) }
}

fn compactor(store: Arc<dyn ObjectStore>, budget: CompactionLimits) -> (Compactor<Sent>, Sent) {
    let sent = Sent::default();
    let catalog = Arc::new(Catalog::embedded().unwrap());
    (
        Compactor {
            lake: Lake::new(store, env()),
            catalog,
            trigger_queue: sent.clone(),
            budget,
            files: None,
        },
        sent,
    )
}

async fn deliver(store: &dyn ObjectStore, catalog: &Arc<Catalog>, sequence: u64, line: &str) {
    deliver_to("user", store, catalog, sequence, line).await;
}

async fn deliver_to(
    dataset: &str,
    store: &dyn ObjectStore,
    catalog: &Arc<Catalog>,
    sequence: u64,
    line: &str,
) {
    let records = [RawRecord {
        key: format!("{dataset}/r{sequence}/0"),
        sequence: sequence.to_string(),
        arrived_ms: 1_666_180_800_000,
        data: RawData::from_bytes(line.as_bytes().to_vec()),
    }];
    let source = RecordSource::from_path_segments("events", "shardId-0");
    let batch = RawBatch { source: &source, records: &records };
    let raw = raw::put(store, &batch.id().unwrap(), &records).await.unwrap();
    land_rows(store, &CatalogHistory::default(), catalog, batch, &raw).await.unwrap();
}

fn messages(bodies: &[String]) -> SqsEvent {
    let records: Vec<_> = (0..)
        .zip(bodies)
        .map(|(id, body)| serde_json::json!({ "messageId": format!("m{id}"), "body": body }))
        .collect();
    serde_json::from_value(serde_json::json!({ "Records": records })).unwrap()
}

const USER: &str =
    r#"{"ind": 1, "first_name": "A", "last_name": "B", "age": 20, "date_joined": "2015-10-21 21:26:45"}"#;

#[tokio::test]
async fn the_sample_events_compact_their_datasets() {
    let all = ["geo", "pin", "pinlake_canary", "quarantine", "user"];
    for (name, compacted) in [("sqs", &["pin"][..]), ("sweep", &all), ("redrive", &[])] {
        let path = format!("{}/../../events/compactor_{name}.json", env!("CARGO_MANIFEST_DIR"));
        let event: SqsEvent = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        let (compactor, _) = compactor(Arc::new(InMemory::new()), CompactionLimits::default());
        let outcome = compactor.handle(event, Duration::from_secs(1)).await;
        assert!(outcome.response.batch_item_failures.is_empty(), "{name}");
        assert_eq!(outcome.compacted.keys().collect::<Vec<_>>(), compacted, "{name}");
    }
}

#[tokio::test]
async fn work_that_remains_when_the_time_is_up_gets_a_new_trigger() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (compactor, sent) =
        compactor(store.clone(), CompactionLimits { objects: 1, ..CompactionLimits::default() });
    for sequence in 1..=2 {
        deliver(&*store, &compactor.catalog, sequence, USER).await;
    }
    let event = messages(&[Trigger::Datasets(vec!["user".to_owned()]).to_body()]);
    let outcome = compactor.handle(event, Duration::ZERO).await;
    assert!(outcome.response.batch_item_failures.is_empty());
    let again = sent.0.lock().unwrap().clone();
    assert_eq!(again, [Trigger::Datasets(vec!["user".to_owned()]).to_body()]);
    let outcome = compactor.handle(messages(&again), Duration::ZERO).await;
    assert_eq!(outcome.compacted["user"].as_ref().unwrap().duplicates, 1);
    assert_eq!(sent.0.lock().unwrap().len(), 1, "no work remains, so no trigger is sent");
}

#[tokio::test]
async fn only_the_messages_of_a_failed_dataset_are_delivered_again() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    // The log of the user table is malformed.
    store.put(&"tables/user/_delta_log/00000000000000000000.json".into(), "junk".into()).await.unwrap();
    let (compactor, _) = compactor(store.clone(), CompactionLimits::default());
    deliver(&*store, &compactor.catalog, 1, USER).await;
    let trigger = |dataset: &str| Trigger::Datasets(vec![dataset.to_owned()]).to_body();
    let outcome =
        compactor.handle(messages(&[trigger("geo"), trigger("user")]), Duration::from_secs(1)).await;
    let failures = outcome.response.batch_item_failures;
    assert_eq!(failures.iter().map(|failure| failure.item_identifier.as_str()).collect::<Vec<_>>(), ["m1"]);
    assert!(outcome.compacted["geo"].is_ok());
}

#[tokio::test]
async fn a_message_redrives_quarantine() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (compactor, _) = compactor(store.clone(), CompactionLimits::default());
    deliver(&*store, &compactor.catalog, 1, r#"{"ind": "x", "first_name": "A", "last_name": "B"}"#).await;
    let outcome = compactor.handle(messages(&[Trigger::All.to_body()]), Duration::from_secs(1)).await;
    assert_eq!(outcome.compacted["quarantine"].as_ref().unwrap().inserted, 1);
    let event = messages(&[Trigger::Redrive(Some("user".to_owned())).to_body()]);
    let outcome = compactor.handle(event, Duration::from_secs(1)).await;
    assert!(outcome.response.batch_item_failures.is_empty() && outcome.compacted.is_empty());
}
