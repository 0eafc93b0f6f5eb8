//! The cleaner's handler over the sample events, and over a store that fails.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail by panicking, like the tests themselves")]
#![allow(clippy::print_stdout, reason = "a test prints its measurements")]

mod alarms;
mod bounds;
#[path = "../../../../tests/broken_contract.rs"]
mod broken_contract;
#[path = "../../../../tests/emitted_metrics.rs"]
mod emitted_metrics;
#[path = "../../../../tests/runtime_api.rs"]
mod runtime_api;
mod secrecy;
#[path = "../../../../tests/subprocess.rs"]
mod subprocess;

use std::sync::Arc;

use aws_lambda_events::event::kinesis::KinesisEvent;
use cleaner::Cleaner;
use cleaner::event::{KafkaRecord, SourceEvent};
use object_store::ObjectStore;
use object_store::memory::InMemory;
use pinlake_landing::catalog_history::CatalogHistory;
use pinlake_landing::{object, watermark};
use pinlake_schema::Catalog;

fn sample() -> KinesisEvent {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/cleaner_kinesis.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn cleaner(store: Arc<dyn ObjectStore>) -> Cleaner {
    Cleaner {
        store,
        catalog: Arc::new(Catalog::embedded().unwrap()),
        catalog_history: CatalogHistory::default(),
    }
}

/// A store in a folder that has become a file, so that every put fails.
fn unusable(name: &str) -> Arc<dyn ObjectStore> {
    let file = std::env::temp_dir().join(format!("pinlake-cleaner-{name}-{}", std::process::id()));
    std::fs::create_dir_all(&file).unwrap();
    let store = object_store::local::LocalFileSystem::new_with_prefix(&file).unwrap();
    std::fs::remove_dir_all(&file).unwrap();
    std::fs::write(&file, "").unwrap();
    Arc::new(store)
}

#[tokio::test]
async fn an_event_that_is_delivered_twice_lands_once() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    for _ in 0..2 {
        let summary = cleaner(store.clone()).handle_kinesis(sample()).await;
        assert!(summary.response.batch_item_failures.is_empty());
    }
    let objects = object::list(&*store, None, 100).await.unwrap();
    let mut datasets: Vec<&str> = objects.iter().map(|object| object.name.dataset.as_str()).collect();
    datasets.sort_unstable();
    assert_eq!(datasets, ["geo", "pin", "quarantine", "user"]);
    let watermarks = watermark::read_all(&*store).await.unwrap();
    let last = sample().records.last().unwrap().kinesis.sequence_number.clone();
    let shard = ("pinlake-records".to_owned(), "shardId-000000000000".to_owned());
    assert_eq!(watermarks[&shard].as_str(), last);
}

#[tokio::test]
async fn a_broken_contract_stops_only_its_own_dataset() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let cleaner = Cleaner { catalog: broken_contract::with_broken("geo"), ..cleaner(store.clone()) };
    let summary = cleaner.handle_kinesis(sample()).await;
    assert!(summary.response.batch_item_failures.is_empty());
    let counts = summary.landed.iter().flat_map(|landed| &landed.counts);
    let counts: Vec<_> =
        counts.map(|count| (count.dataset.as_deref(), count.read == count.quarantined)).collect();
    assert!(counts.contains(&(Some("geo"), true)) && counts.contains(&(Some("pin"), false)), "{counts:?}");
    assert_eq!(summary.landed_datasets().into_iter().collect::<Vec<_>>(), ["pin", "quarantine", "user"]);
    assert!(!watermark::read_all(&*store).await.unwrap().is_empty());
}

#[tokio::test]
async fn a_store_that_fails_makes_lambda_deliver_the_shard_again() {
    let summary = cleaner(unusable("shard")).handle_kinesis(sample()).await;
    let first = sample().records[0].kinesis.sequence_number.clone();
    let failures = summary.response.batch_item_failures;
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].item_identifier.as_deref(), Some(first.as_str()));
}

fn event(name: &str) -> SourceEvent {
    let path = format!("{}/../../events/cleaner_{name}.json", env!("CARGO_MANIFEST_DIR"));
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn kafka_records(event: SourceEvent) -> Vec<KafkaRecord> {
    match event {
        SourceEvent::Kafka(records) => records,
        SourceEvent::Kinesis(_) => Vec::new(),
    }
}

#[tokio::test]
async fn a_kafka_event_that_is_delivered_twice_lands_once() {
    assert!(matches!(event("kinesis"), SourceEvent::Kinesis(_)));
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    for _ in 0..2 {
        let landed = cleaner(store.clone()).handle_kafka(kafka_records(event("kafka"))).await.unwrap();
        assert_eq!(landed.len(), 4, "one summary per partition");
    }
    let objects = object::list(&*store, None, 100).await.unwrap();
    let mut places: Vec<_> = objects
        .iter()
        .map(|object| {
            let name = &object.name;
            (name.dataset.as_str(), name.source.shard(), name.first.as_str(), name.last.as_str())
        })
        .collect();
    places.sort_unstable();
    assert_eq!(
        places,
        [
            ("geo", "partition-0".into(), "7", "7"),
            ("pin", "partition-0".into(), "14", "15"),
            ("quarantine", "partition-1".into(), "3", "5"),
            ("user", "partition-0".into(), "20", "21"),
            ("user", "partition-1".into(), "3", "5"),
        ]
    );
    let watermarks = watermark::read_all(&*store).await.unwrap();
    let user = |partition: &str| {
        watermarks[&("0a1b2c3d4e5f.user".to_owned(), partition.to_owned())].as_str().to_owned()
    };
    assert_eq!((user("partition-0"), user("partition-1")), ("21".to_owned(), "5".to_owned()));
}

#[test]
fn headers_of_any_form_are_accepted() {
    let text = r#"{"eventSource": "SelfManagedKafka", "bootstrapServers": "b:9092", "records": {"a.user-0": [
        {"topic": "a.user", "partition": 0, "offset": 1, "timestamp": 1, "timestampType": "CREATE_TIME",
         "key": null, "value": null, "headers": [{"h": null}, {"h": [200, -1]}, "h"]}]}}"#;
    let records = kafka_records(serde_json::from_str(text).unwrap());
    assert_eq!((records.len(), records[0].offset), (1, 1));
}

#[tokio::test]
async fn a_store_that_fails_fails_the_whole_kafka_event() {
    let store = unusable("topics");
    assert!(cleaner(store).handle(event("kafka")).await.is_err());
}
