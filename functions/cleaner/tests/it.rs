//! The cleaner's handler over the sample event, and over a store that fails.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail by panicking, like the tests themselves")]

use std::sync::Arc;

use aws_lambda_events::event::kinesis::KinesisEvent;
use cleaner::Cleaner;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use pinlake_landing::{object, watermark};
use pinlake_schema::Catalog;

fn sample() -> KinesisEvent {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/cleaner_kinesis.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

fn cleaner(store: Arc<dyn ObjectStore>) -> Cleaner {
    Cleaner { store, catalog: Arc::new(Catalog::embedded().unwrap()) }
}

#[tokio::test]
async fn the_sample_event_lands_once_however_often_it_comes() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    for _ in 0..2 {
        let cleaned = cleaner(store.clone()).handle(sample()).await;
        assert!(cleaned.response.batch_item_failures.is_empty());
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
async fn a_store_that_fails_makes_lambda_deliver_the_shard_again() {
    // A folder that is a file: nothing can be put there.
    let file = std::env::temp_dir().join(format!("pinlake-cleaner-test-{}", std::process::id()));
    std::fs::create_dir_all(&file).unwrap();
    let store = object_store::local::LocalFileSystem::new_with_prefix(&file).unwrap();
    std::fs::remove_dir_all(&file).unwrap();
    std::fs::write(&file, "").unwrap();
    let cleaned = cleaner(Arc::new(store)).handle(sample()).await;
    std::fs::remove_file(&file).unwrap();
    let first = sample().records[0].kinesis.sequence_number.clone();
    let failures = cleaned.response.batch_item_failures;
    assert_eq!(failures.len(), 1);
    assert_eq!(failures[0].item_identifier.as_deref(), Some(first.as_str()));
}
