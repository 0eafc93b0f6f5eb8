use std::sync::Arc;

use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_schema::{Catalog, Contract};

use super::insert::InsertSummary;
use crate::tests::support::{Fault, FaultyStore, env, rows, values};
use crate::{Lake, LakeError};

fn contract(identity: &str) -> Arc<Contract> {
    let text = format!(
        "name = \"visit\"\nversion = 1\ndescription = \"One row a visit.\"\n{identity}\n[route]\nshape = [\"visitor\"]\n\
         [[column]]\nname = \"visitor\"\ntype = \"int64\"\ndescription = \"Who.\"\nrequired = true\n\
         [[column]]\nname = \"page\"\ntype = \"int64\"\n"
    );
    let catalog = Catalog::from_files([("visit.toml".to_owned(), text)]).unwrap();
    catalog.contract("visit").unwrap().clone()
}

async fn commits(lake: &Lake) -> Vec<serde_json::Value> {
    let mut commits = Vec::new();
    for version in 0.. {
        let path = Path::from(format!("tables/visit/_delta_log/{version:020}.json"));
        let Ok(got) = lake.store().get(&path).await else {
            break;
        };
        let text = String::from_utf8(got.bytes().await.unwrap().to_vec()).unwrap();
        commits.push(
            text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect(),
        );
    }
    commits
}

#[tokio::test]
async fn inserts_absent_rows_and_records_the_counts_in_the_log() {
    let contract = contract("");
    let lake = Lake::new(Arc::new(InMemory::new()), env(1));
    let table = lake.table(&contract);
    let first = table.insert(&[rows(&contract, &[1, 2, 2]), rows(&contract, &[3, 1])]).await.unwrap();
    let by_batch = vec![2, 1];
    assert_eq!(
        first,
        InsertSummary {
            read: 5,
            inserted: 3,
            superseded: 0,
            duplicates: 2,
            outdated: 0,
            deleted: 0,
            version: Some(1),
            by_batch
        }
    );
    let second = table.insert(&[rows(&contract, &[3, 4])]).await.unwrap();
    let by_batch = vec![1];
    assert_eq!(
        second,
        InsertSummary {
            read: 2,
            inserted: 1,
            superseded: 0,
            duplicates: 1,
            outdated: 0,
            deleted: 0,
            version: Some(2),
            by_batch
        }
    );
    assert_eq!(table.insert(&[rows(&contract, &[4, 1])]).await.unwrap().version, None);
    assert_eq!(values(&lake, &table).await, [1, 2, 3, 4]);

    let commits = commits(&lake).await;
    assert_eq!(commits.len(), 3);
    let find = |commit: &serde_json::Value, action: &str| {
        commit.as_array().unwrap().iter().find_map(|line| line.get(action)).cloned().unwrap()
    };
    let own = find(&commits[2], "commitInfo")["pinlake"].clone();
    assert_eq!(
        (own["read"].as_i64(), own["inserted"].as_i64(), own["duplicates"].as_i64()),
        (Some(2), Some(1), Some(1))
    );
    assert_eq!(own["attempt"].as_str().unwrap().len(), 32);
    let txn = find(&commits[2], "txn");
    assert_eq!((txn["appId"].as_str(), txn["version"].as_i64()), (Some("pinlake"), Some(2)));
    let stats: serde_json::Value =
        serde_json::from_str(find(&commits[1], "add")["stats"].as_str().unwrap()).unwrap();
    assert_eq!((stats["numRecords"].as_i64(), stats["minValues"]["visitor"].as_i64()), (Some(3), Some(1)));
    let metadata = find(&commits[0], "metaData");
    assert_eq!(metadata["configuration"]["pinlake.contract"], "visit");
    assert_eq!(metadata["configuration"]["pinlake.contract.version"], "1");
    assert!(metadata["schemaString"].as_str().unwrap().contains("\"comment\":\"Who.\""), "{metadata}");
}

#[tokio::test]
async fn concurrent_writers_insert_each_row_once() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let contract = contract("");
    let writers = (0..6_i64).map(|writer| {
        let lake = Lake::new(store.clone(), env(writer as u64));
        let contract = contract.clone();
        tokio::spawn(async move {
            let table = lake.table(&contract);
            let mut inserted = 0;
            for round in 0..5 {
                // Every writer inserts rows of its own, rows of its neighbour, and rows of all writers.
                let own = writer * 100 + round;
                let batch = rows(&contract, &[own, (writer + 1) % 6 * 100 + round, 1000 + round]);
                inserted += table.insert(&[batch]).await.unwrap().inserted;
            }
            inserted
        })
    });
    let mut inserted = 0;
    for writer in writers.collect::<Vec<_>>() {
        inserted += writer.await.unwrap();
    }
    let lake = Lake::new(store, env(99));
    let table = lake.table(&contract);
    let mut expected: Vec<i64> =
        (0..6).flat_map(|writer| (0..5).map(move |round| writer * 100 + round)).collect();
    expected.extend(1000..1005);
    assert_eq!(values(&lake, &table).await, expected);
    assert_eq!(inserted, expected.len() as u64);
    for commit in commits(&lake).await.iter().skip(1) {
        let own =
            commit.as_array().unwrap().iter().find_map(|line| line.get("commitInfo")).unwrap()["pinlake"]
                .clone();
        let number = |name: &str| own[name].as_u64().unwrap();
        assert_eq!(number("read"), number("inserted") + number("duplicates"));
    }
}

#[tokio::test]
async fn a_new_process_reads_the_table_through_its_checkpoint() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let contract = contract("");
    let lake = Lake::new(store.clone(), env(1));
    let table = lake.table(&contract);
    for value in 0..60 {
        table.insert(&[rows(&contract, &[value])]).await.unwrap();
    }
    let hint = Path::from("tables/visit/_delta_log/_last_checkpoint");
    assert!(store.get(&hint).await.is_ok(), "a checkpoint was written at version 50");
    let other = Lake::new(store, env(2));
    let table = other.table(&contract);
    assert_eq!(table.insert(&[rows(&contract, &[5, 59, 60])]).await.unwrap().inserted, 1);
    assert_eq!(values(&other, &table).await, (0..=60).collect::<Vec<_>>());
}

#[tokio::test]
async fn merging_small_files_neither_loses_nor_duplicates_rows() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let contract = contract("");
    let lake = Lake::new(store.clone(), env(1));
    let table = lake.table(&contract);
    for value in 0..40 {
        table.insert(&[rows(&contract, &[value])]).await.unwrap();
    }
    assert_eq!(table.merge_small_files(32).await.unwrap(), 40);
    assert_eq!(table.pin().await.unwrap().files.len(), 1);
    assert_eq!(table.merge_small_files(32).await.unwrap(), 0, "nothing is left to merge");
    // A new process, with nothing cached, finds every key.
    let other = Lake::new(store, env(2));
    let again = other.table(&contract).insert(&[rows(&contract, &[0, 39, 40])]).await.unwrap();
    assert_eq!((again.inserted, again.duplicates), (1, 2));
    assert_eq!(values(&other, &other.table(&contract)).await, (0..=40).collect::<Vec<_>>());
    let merge = commits(&lake).await.into_iter().nth(41).unwrap();
    let lines = merge.as_array().unwrap();
    assert_eq!(lines.iter().filter(|line| line.get("remove").is_some()).count(), 40);
    assert!(lines.iter().filter_map(|line| line.get("add")).all(|add| add["dataChange"] == false));
}

async fn data_files(store: &dyn ObjectStore) -> usize {
    let folder = Path::from("tables/visit");
    store.list_with_delimiter(Some(&folder)).await.unwrap().objects.len()
}

/// A lake of 40 small files, in which another writer inserts a row or merges the files just before a merge is
/// committed.
async fn build_lake_with_conflict(merges: bool) -> (Lake, Arc<InMemory>, Arc<Contract>) {
    let (inner, contract) = (Arc::new(InMemory::new()), contract(""));
    let other = Lake::new(inner.clone(), env(1)).table(&contract);
    for value in 0..40 {
        other.insert(&[rows(&contract, &[value])]).await.unwrap();
    }
    let one_more = rows(&contract, &[40]);
    let first = async move {
        match merges {
            true => assert_eq!(other.merge_small_files(32).await.unwrap(), 40),
            false => assert_eq!(other.insert(&[one_more]).await.unwrap().inserted, 1),
        }
    };
    let store = FaultyStore::at_version(41, inner.clone());
    store.inject(Fault::Conflict(Box::pin(first)));
    (Lake::new(Arc::new(store), env(2)), inner, contract)
}

#[tokio::test(start_paused = true)]
async fn a_merge_that_conflicts_with_an_insert_reuses_its_file() {
    let (lake, store, contract) = build_lake_with_conflict(false).await;
    let table = lake.table(&contract);
    assert_eq!(table.merge_small_files(32).await.unwrap(), 40);
    assert_eq!(data_files(&*store).await, 42, "40, the insert's, and one of the merge");
    assert_eq!(values(&lake, &table).await, (0..=40).collect::<Vec<_>>());
}

#[tokio::test(start_paused = true)]
async fn a_merge_that_conflicts_with_another_merge_is_dropped() {
    let (lake, _, contract) = build_lake_with_conflict(true).await;
    let table = lake.table(&contract);
    assert_eq!(table.merge_small_files(32).await.unwrap(), 0);
    assert_eq!(values(&lake, &table).await, (0..40).collect::<Vec<_>>());
}

#[tokio::test]
async fn a_contract_with_another_identity_is_rejected() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let lake = Lake::new(store.clone(), env(1));
    let by_row = contract("");
    lake.table(&by_row).insert(&[rows(&by_row, &[1])]).await.unwrap();
    let by_column = contract("identity = [\"visitor\"]");
    let error = lake.table(&by_column).insert(&[rows(&by_column, &[2])]).await.unwrap_err();
    assert!(matches!(error, LakeError::IdentityChanged { .. }) && !error.is_retryable(), "{error}");
}
