//! The failures that the alarms of `template.yaml` watch: each is caused here, and the program emits the alarm's metric.
//! Runs the compactor's binary over a lake in a folder.

use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStoreExt;
use object_store::local::LocalFileSystem;
use pinlake_platform::releases::{ReleaseFiles, Releases};
use pinlake_schema::{CANARY, Catalog};
use serde_json::json;

use crate::emitted_metrics::{Emitted, emitted_metrics, value_of};
use crate::runtime_api::Function;
use crate::{USER, deliver, deliver_to};

/// Compacts a dataset and returns the metrics that the program wrote.
fn compact(lake: &Path, dataset: &str) -> Vec<Emitted> {
    emitted_metrics(&compact_with(lake, dataset, lake.join("releases").to_str().unwrap()))
}

/// Compacts a dataset under the contracts of a location and returns what the program wrote.
fn compact_with(lake: &Path, dataset: &str, contracts: &str) -> String {
    let logs = tempfile::tempdir().unwrap();
    let settings = [
        ("PINLAKE_LAKE", lake.to_str().unwrap()),
        ("PINLAKE_QUEUE_URL", "http://localhost/0/queue"),
        ("PINLAKE_DATASETS", contracts),
    ];
    let refuse = Arc::new(|_: &str| ("500 Internal Server Error", json!({})));
    let program = env!("CARGO_BIN_EXE_compactor");
    let function = Function::start(program, logs.path().to_str().unwrap(), &settings, refuse);
    let body = json!({ "wake": [dataset] }).to_string();
    function.handle(json!({ "Records": [{ "messageId": "m", "body": body }] })).unwrap();
    function.end()
}

#[tokio::test]
async fn broken_contract_alarm() {
    let lake = tempfile::tempdir().unwrap();
    let contracts = tempfile::tempdir().unwrap();
    std::fs::write(contracts.path().join("visit.toml"), "name = \"visit\"\nversion = 1\n").unwrap();
    let log = compact_with(lake.path(), "user", contracts.path().to_str().unwrap());
    let metrics = emitted_metrics(&log);
    assert_eq!(value_of(&metrics, "contracts_broken", &[]), Some(1.0));
    assert_eq!(value_of(&metrics, "contracts_broken", &["compactor"]), Some(1.0));
    let line = log.lines().find(|line| line.contains("broken contract")).unwrap();
    assert!(
        line.contains("visit.toml") && line.contains("\"line\":1") && line.contains("no columns"),
        "{line}"
    );
}

/// The first deployment has no release. A release that is damaged leaves the contracts from before.
#[tokio::test]
async fn a_release_is_used_and_a_damaged_one_is_not() {
    let lake = tempfile::tempdir().unwrap();
    let store = Arc::new(LocalFileSystem::new_with_prefix(lake.path()).unwrap());
    let problems = || {
        let log = compact_with(lake.path(), "user", lake.path().join("releases").to_str().unwrap());
        (value_of(&emitted_metrics(&log), "contracts_broken", &[]), log)
    };
    assert_eq!(problems().0, None);
    let releases = Releases::of_lake(store.clone());
    let files = ReleaseFiles {
        datasets: vec![("visit.toml".to_owned(), "name = \"visit\"\nversion = 1\n".to_owned())],
        queries: Vec::new(),
    };
    let now = "2026-11-28T12:00:00Z".parse().unwrap();
    let (release, _) = releases.create(&files, now).await.unwrap();
    let read = releases.read_pointer().await.unwrap();
    releases.switch(&read, Some(release.id.clone()), now).await.unwrap();
    let (found, log) = problems();
    assert!(
        found == Some(1.0) && log.contains(&format!("releases/{}/datasets/visit.toml", release.id)),
        "{log}"
    );
    let path = format!("releases/{}/datasets/visit.toml", release.id);
    store.put(&path.into(), "name = 1".into()).await.unwrap();
    let (found, log) = problems();
    assert!(found == Some(1.0) && log.contains("has changed since the release was created"), "{log}");
}

#[tokio::test]
async fn compaction_failures_alarm() {
    let lake = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(lake.path()).unwrap();
    deliver(&store, &Arc::new(Catalog::embedded().unwrap()), 1, USER).await;
    store.put(&"tables/user/_delta_log/00000000000000000000.json".into(), "junk".into()).await.unwrap();
    assert_eq!(value_of(&compact(lake.path(), "user"), "failures", &["compactor"]), Some(1.0));
}

#[tokio::test]
async fn failed_objects_alarm() {
    let lake = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(lake.path()).unwrap();
    let hash = Catalog::embedded().unwrap().contract("user").unwrap().hash().to_owned();
    let path = format!("landing/user/{hash}/20221019T1200/events/shardId-0/2-2-00.parquet");
    store.put(&path.into(), "junk".into()).await.unwrap();
    assert_eq!(value_of(&compact(lake.path(), "user"), "objects_failed", &["compactor"]), Some(1.0));
}

#[tokio::test]
async fn freshness_alarm() {
    let lake = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(lake.path()).unwrap();
    // The record arrived in 2022.
    deliver(&store, &Arc::new(Catalog::embedded().unwrap()), 1, USER).await;
    let years =
        value_of(&compact(lake.path(), "user"), "freshness", &["compactor"]).unwrap() / 86_400.0 / 365.0;
    assert!(years > 3.0, "{years}");
}

#[tokio::test]
async fn canary_alarm() {
    let lake = tempfile::tempdir().unwrap();
    let store = LocalFileSystem::new_with_prefix(lake.path()).unwrap();
    let inserted = |metrics: Vec<Emitted>| value_of(&metrics, "rows_inserted", &["compactor", CANARY]);
    assert_eq!(inserted(compact(lake.path(), CANARY)), None, "no test record, no value");
    let record = r#"{"id":"run-1","at":"2026-11-28T11:00:00.000Z"}"#;
    deliver_to(CANARY, &store, &Arc::new(Catalog::embedded().unwrap()), 1, record).await;
    assert_eq!(inserted(compact(lake.path(), CANARY)), Some(1.0));
}
