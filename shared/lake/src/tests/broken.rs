//! A dataset whose contract is broken loses no record and doubles none, and no other dataset notices.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::Array;
use arrow::array::cast::AsArray;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use pinlake_landing::catalog_history::CatalogHistory;
use pinlake_landing::land::{RawBatch, land_batch};
use pinlake_landing::object;
use pinlake_landing::raw::{RawData, RawRecord};
use pinlake_landing::source::RecordSource;
use pinlake_schema::{Catalog, ContractFile};

use crate::tests::support::{env, text_rows};
use crate::{CompactionLimits, Lake};

const VISIT: &str = "name = \"visit\"\nversion = 1\nidentity = [\"visitor\"]\n[route]\nshape = [\"visitor\"]\n\
                     [[column]]\nname = \"visitor\"\ntype = \"int64\"\nrequired = true\n\
                     [[column]]\nname = \"page\"\ntype = \"string\"\n";
const ORDER: &str = "name = \"order\"\nversion = 1\n[route]\nshape = [\"order\"]\n\
                     [[column]]\nname = \"order\"\ntype = \"int64\"\n";

/// The catalog with this contract of visits.
fn catalog(visit: &str) -> Arc<Catalog> {
    let file = |name: &str, text: &str| ContractFile { name: name.to_owned(), content: Ok(text.into()) };
    Arc::new(Catalog::isolate([file("order.toml", ORDER), file("visit.toml", visit)]).unwrap())
}

/// Every way in which the contract can be broken that still names its dataset.
fn broken_contracts() -> Vec<String> {
    vec![
        VISIT.replace("\"int64\"", "\"int\""),
        VISIT.replace("type = \"string\"", "type = \"string"),
        format!("{VISIT}\n???\n"),
        VISIT.replace("version = 1\n", ""),
    ]
}

/// Lands one request of several lines, as often as `deliveries` says.
async fn deliver(store: &dyn ObjectStore, catalog: &Arc<Catalog>, request: u64, lines: &str) {
    let records = [RawRecord {
        key: format!("-/r{request}/0"),
        sequence: request.to_string(),
        arrived_ms: 1_666_180_800_000,
        data: RawData::from_bytes(lines.as_bytes().to_vec()),
    }];
    let source = RecordSource::from_path_segments("events", "shardId-0");
    let batch = RawBatch { source: &source, records: &records };
    land_batch(store, &CatalogHistory::default(), catalog, batch).await.unwrap();
}

async fn compact(lake: &Lake, catalog: &Arc<Catalog>) {
    for dataset in ["order", "visit", "quarantine"] {
        lake.compact(catalog, dataset, CompactionLimits::default()).await.unwrap();
    }
}

/// The unresolved records of quarantine: their reasons and details.
async fn unresolved(lake: &Lake, catalog: &Arc<Catalog>) -> Vec<(String, String)> {
    let quarantine = lake.table(catalog.quarantine());
    let mut found = Vec::new();
    for file in quarantine.data_files().await.unwrap() {
        for batch in quarantine.read_file(&file).await.unwrap() {
            let text = |name: &str, row| {
                batch.column_by_name(name).unwrap().as_string::<i32>().value(row).to_owned()
            };
            let resolved = batch.column_by_name("resolved_at").unwrap();
            let open = (0..batch.num_rows()).filter(|row| resolved.is_null(*row));
            found.extend(open.map(|row| (text("reason", row), text("detail", row))));
        }
    }
    found.sort();
    found
}

#[tokio::test]
async fn records_of_a_broken_contract_are_kept_and_redriven_once() {
    for broken_text in broken_contracts() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (good, broken) = (catalog(VISIT), catalog(&broken_text));
        let lake = Lake::new(store.clone(), env(1));
        deliver(&*store, &good, 1, "{\"visitor\":1,\"page\":\"a\"}\n{\"order\":1}").await;
        compact(&lake, &good).await;
        // These have landed, and are not in their table yet.
        deliver(&*store, &good, 2, "{\"visitor\":2,\"page\":\"a\"}").await;

        for _ in 0..2 {
            // New records, and a late copy of a record that its table has.
            deliver(&*store, &broken, 3, "{\"visitor\":3,\"page\":\"a\"}\n{\"order\":3}").await;
            deliver(&*store, &broken, 4, "{\"visitor\":1,\"page\":\"a\"}").await;
            // Its batch failed after it had landed, and is delivered again.
            deliver(&*store, &broken, 2, "{\"visitor\":2,\"page\":\"a\"}").await;
            compact(&lake, &broken).await;
        }
        let waiting = unresolved(&lake, &broken).await;
        assert_eq!(waiting.len(), 2, "{broken_text}: {waiting:?}");
        for (reason, detail) in &waiting {
            assert!(reason == "broken_contract" && detail.starts_with("visit.toml:"), "{reason} {detail}");
        }
        assert_eq!(text_rows(&lake, &good, "order").await, ["1", "3"]);
        assert_eq!(text_rows(&lake, &good, "visit").await, ["1 a"], "the rows from before are there");
        assert_eq!(object::list(&*store, None, 10).await.unwrap().len(), 1, "what has landed waits");
        // A redrive before the contract is repaired changes nothing.
        let idle = lake.redrive(&broken, None).await.unwrap();
        assert_eq!((idle.resolved, idle.inserted), (0, 0));

        let repaired = catalog(&VISIT.replace("version = 1", "version = 2"));
        for _ in 0..2 {
            let done = lake.redrive(&repaired, Some("visit")).await.unwrap();
            assert_eq!(done.left, 0);
            compact(&lake, &repaired).await;
            deliver(&*store, &repaired, 3, "{\"visitor\":3,\"page\":\"a\"}\n{\"order\":3}").await;
            compact(&lake, &repaired).await;
        }
        assert_eq!(text_rows(&lake, &repaired, "visit").await, ["1 a", "2 a", "3 a"], "{broken_text}");
        assert_eq!(text_rows(&lake, &repaired, "order").await, ["1", "3"]);
        assert!(
            unresolved(&lake, &repaired).await.is_empty()
                && object::list(&*store, None, 10).await.unwrap().is_empty()
        );
    }
}

#[tokio::test]
async fn equal_records_of_two_requests_stay_two_where_the_record_is_the_identity() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let text = VISIT.replace("[\"visitor\"]\n[route]", "\"record\"\n[route]");
    let (good, broken) = (catalog(&text), catalog(&text.replace("\"int64\"", "\"int\"")));
    let lake = Lake::new(store.clone(), env(1));
    for (catalog, request) in [(&broken, 1), (&broken, 2), (&good, 2), (&broken, 2)] {
        deliver(&*store, catalog, request, "{\"visitor\":1}\n{\"visitor\":1}").await;
        compact(&lake, catalog).await;
    }
    assert_eq!(lake.redrive(&good, None).await.unwrap().inserted, 2);
    compact(&lake, &good).await;
    let counts: BTreeMap<String, usize> =
        text_rows(&lake, &good, "visit").await.into_iter().fold(BTreeMap::new(), |mut counts, row| {
            *counts.entry(row).or_default() += 1;
            counts
        });
    assert_eq!(counts.values().sum::<usize>(), 4, "{counts:?}");
    assert!(unresolved(&lake, &good).await.is_empty());
}
