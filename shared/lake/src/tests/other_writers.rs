//! Tests of the insert guarantee with other writers: programs that change the log or the key files, and deployments of
//! other catalogs.

use std::sync::Arc;

use arrow::array::Array;
use arrow::array::cast::AsArray;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_clean::{Position, RecordCleaner, RecordOrigin};
use pinlake_schema::{Catalog, Contract, FORMER_KEY_COLUMN, KEY_COLUMN};

use crate::tests::support::{env, rows, values};
use crate::{Lake, LakeError};

fn build_catalog(identity: &str, rest: &str) -> Arc<Catalog> {
    let text = format!(
        "name = \"visit\"\nversion = 1\ndescription = \"One row a visit.\"\n{identity}\n[route]\nshape = [\"visitor\"]\n\
         [[column]]\nname = \"visitor\"\ntype = \"int64\"\nrequired = true\n\
         [[column]]\nname = \"page\"\ntype = \"int64\"\n{rest}\n"
    );
    Arc::new(Catalog::from_files([("visit.toml".to_owned(), text)]).unwrap())
}

fn contract() -> Arc<Contract> {
    build_catalog("", "").contract("visit").unwrap().clone()
}

fn entry(version: u64) -> Path {
    Path::from(format!("tables/visit/_delta_log/{version:020}.json"))
}

/// An entry in the middle of the log is missing. The next insert must not commit in its place, without the rows of the
/// later entries.
#[tokio::test]
async fn a_gap_in_the_log_is_not_its_end() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let contract = contract();
    let lake = Lake::new(store.clone(), env(1));
    for value in 1..=6 {
        lake.table(&contract).insert(&[rows(&contract, &[value])]).await.unwrap();
    }
    let third = store.get(&entry(3)).await.unwrap().bytes().await.unwrap();
    store.delete(&entry(3)).await.unwrap();
    let other = Lake::new(store.clone(), env(2));
    // Rows 5 and 6 are in the table. They are inserted again, with a new one.
    let error = other.table(&contract).insert(&[rows(&contract, &[5, 6, 7])]).await.unwrap_err();
    assert!(error.to_string().contains("00000000000000000003.json is missing"), "{error}");
    assert!(other.table(&contract).pin().await.is_err(), "half of the rows would be a wrong result");
    store.put(&entry(3), third.into()).await.unwrap();
    let done = other.table(&contract).insert(&[rows(&contract, &[5, 6, 7])]).await.unwrap();
    assert_eq!((done.inserted, done.version), (1, Some(7)));
    assert_eq!(values(&other, &other.table(&contract)).await, [1, 2, 3, 4, 5, 6, 7]);
}

/// The newest entries are deleted while a process knows them. It must not commit in their place.
#[tokio::test]
async fn newest_entries_that_are_missing_are_not_overwritten() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let contract = contract();
    let lake = Lake::new(store.clone(), env(1));
    for value in 1..=3 {
        lake.table(&contract).insert(&[rows(&contract, &[value])]).await.unwrap();
    }
    store.delete(&entry(3)).await.unwrap();
    let error = lake.table(&contract).insert(&[rows(&contract, &[4])]).await.unwrap_err();
    assert!(matches!(error, LakeError::LogIncomplete { .. }), "{error}");
    assert!(store.head(&entry(3)).await.is_err(), "nothing was committed in its place");
}

/// Another program has written a checkpoint and truncated the log before it (Delta's log clean-up) while this process
/// was warm.
#[tokio::test]
async fn a_warm_process_behind_a_truncated_log_loses_no_rows() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let contract = contract();
    let warm = Lake::new(store.clone(), env(1));
    warm.table(&contract).insert(&[rows(&contract, &[1])]).await.unwrap();
    let other = Lake::new(store.clone(), env(2));
    for value in 2..=55 {
        other.table(&contract).insert(&[rows(&contract, &[value])]).await.unwrap();
    }
    for version in 0..50 {
        store.delete(&entry(version)).await.unwrap();
    }
    let done = warm.table(&contract).insert(&[rows(&contract, &[1000])]).await;
    let reader = Lake::new(store.clone(), env(3));
    let there = values(&reader, &reader.table(&contract)).await;
    assert!(done.is_err() || there.contains(&1000), "{done:?}, and a reader does not find the row");
}

/// A multi-part checkpoint, as Spark and Databricks write them (Delta protocol, "Multi-part checkpoint").
#[tokio::test]
async fn a_checkpoint_in_parts_does_not_hide_the_table() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let contract = contract();
    let lake = Lake::new(store.clone(), env(1));
    for value in 1..=52 {
        lake.table(&contract).insert(&[rows(&contract, &[value])]).await.unwrap();
    }
    let log = "tables/visit/_delta_log";
    let single = Path::from(format!("{log}/{:020}.checkpoint.parquet", 50));
    let parts = Path::from(format!("{log}/{:020}.checkpoint.0000000001.0000000001.parquet", 50));
    store.rename(&single, &parts).await.unwrap();
    let hint = Path::from(format!("{log}/_last_checkpoint"));
    store.put(&hint, "{\"version\":50,\"size\":60,\"parts\":1}".into()).await.unwrap();
    let cold = Lake::new(store, env(2));
    let pinned = cold.table(&contract).pin().await.unwrap();
    cold.table(&contract).insert(&[rows(&contract, &[53])]).await.unwrap();
    assert_eq!(pinned.version, Some(52), "otherwise an analysis would read an empty table without an error");
}

async fn push(
    lake: &Lake,
    catalog: &Arc<Catalog>,
    records: &[(&str, Option<(&str, u64)>)],
) -> Vec<(String, u64)> {
    push_from(lake, catalog, records, "test", Some("visit")).await
}

async fn push_from(
    lake: &Lake,
    catalog: &Arc<Catalog>,
    records: &[(&str, Option<(&str, u64)>)],
    source: &str,
    hint: Option<&str>,
) -> Vec<(String, u64)> {
    let mut cleaner = RecordCleaner::new(catalog.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
    for (record, id) in records {
        let origin =
            RecordOrigin { source, position: Position::Sequence { number: "7", line: 1 }, record_id: *id };
        cleaner.push(record.as_bytes(), hint, &origin);
    }
    let mut done = Vec::new();
    for cleaned in cleaner.drain() {
        let inserted = lake.insert(catalog, &cleaned.contract, &[cleaned.rows]).await.unwrap().inserted;
        done.push((cleaned.contract.name.clone(), inserted));
    }
    done
}

async fn count(lake: &Lake, catalog: &Arc<Catalog>, dataset: &str) -> u64 {
    let pinned = lake.table(catalog.contract(dataset).unwrap()).pin().await.unwrap();
    pinned.files.iter().filter_map(|file| file.rows).sum()
}

/// Raw bytes and dataset of the unresolved rows of quarantine.
async fn unresolved(lake: &Lake, catalog: &Arc<Catalog>) -> Vec<(Option<String>, String)> {
    let table = lake.table(catalog.quarantine());
    let mut found = Vec::new();
    for file in table.data_files().await.unwrap() {
        for batch in table.read_file(&file).await.unwrap() {
            let resolved = batch.column_by_name("resolved_at").unwrap();
            let dataset = batch.column_by_name("dataset").unwrap().as_string::<i32>();
            let raw = batch.column_by_name("raw").unwrap().as_binary::<i32>();
            for row in (0..batch.num_rows()).filter(|row| resolved.is_null(*row)) {
                let own = dataset.is_valid(row).then(|| dataset.value(row).to_owned());
                found.push((own, String::from_utf8_lossy(raw.value(row)).into_owned()));
            }
        }
    }
    found.sort();
    found
}

async fn remove_keys(store: &Arc<dyn ObjectStore>) {
    let folder = Path::from("tables/visit/_pinlake_keys");
    let keys: Vec<_> = store.list(Some(&folder)).try_collect().await.unwrap();
    assert!(!keys.is_empty());
    for meta in keys {
        store.delete(&meta.location).await.unwrap();
    }
}

/// A key file is missing (a restored table, OPTIMIZE by another program), and a contract is deployed whose identity the
/// table rejects. A lookup from quarantine must not rebuild the key file under the rejected identity: after a rollback,
/// all rows would be inserted again.
#[tokio::test]
async fn a_rejected_contract_builds_no_key_files() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let by_row = build_catalog("", "");
    let good = [("{\"visitor\":1,\"page\":1}", None), ("{\"visitor\":2,\"page\":1}", None)];
    let lake = Lake::new(store.clone(), env(1));
    push(&lake, &by_row, &good).await;
    remove_keys(&store).await;
    // The rejected contract is deployed. A record that it quarantines and that the earlier catalog accepted is looked
    // up.
    let strict = build_catalog("identity = [\"visitor\"]", "");
    let lake = Lake::new(store.clone(), env(2));
    let bad = {
        // Only a looser catalog accepted this record.
        let loose = build_catalog("", "null = [\"home\"]");
        lake.catalog_history().add(&*store, &loose).await.unwrap();
        "{\"visitor\":3,\"page\":\"home\"}"
    };
    push(&lake, &strict, &[(bad, None)]).await;
    // After the rollback the same rows are delivered again.
    let lake = Lake::new(store.clone(), env(3));
    let again = push(&lake, &by_row, &good).await;
    assert_eq!(count(&lake, &by_row, "visit").await, 2, "rows duplicated: {again:?}");
}

/// A missing key file of a table with `identity = "record"` is rebuilt.
#[tokio::test]
async fn a_missing_key_file_under_identity_by_record_does_not_block_the_table() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let catalog = build_catalog("identity = \"record\"", "");
    let lake = Lake::new(store.clone(), env(1));
    push(&lake, &catalog, &[("{\"visitor\":1,\"page\":1}", Some(("r1", 0)))]).await;
    remove_keys(&store).await;
    let lake = Lake::new(store.clone(), env(2));
    let mut cleaner = RecordCleaner::new(catalog.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
    let origin = RecordOrigin { source: "test", position: Position::Line(1), record_id: Some(("r2", 0)) };
    cleaner.push(b"{\"visitor\":1,\"page\":1}", Some("visit"), &origin);
    let cleaned = cleaner.drain().remove(0);
    let done = lake.insert(&catalog, &cleaned.contract, &[cleaned.rows]).await;
    assert!(done.is_ok(), "{}", done.unwrap_err());
}

/// With `identity = "record"`, later records with the same bytes as a resolved record are kept.
#[tokio::test]
async fn a_later_record_is_kept_beside_an_equal_resolved_one() {
    let lake = Lake::new(Arc::new(InMemory::new()), env(1));
    let strict = build_catalog("identity = \"record\"", "");
    let loose = build_catalog("identity = \"record\"", "null = [\"home\"]");
    let raw = "{\"visitor\":1,\"page\":\"home\"}";
    push(&lake, &strict, &[(raw, Some(("request-1", 0)))]).await;
    assert_eq!(lake.redrive(&loose, None).await.unwrap().inserted, 1);
    assert_eq!(unresolved(&lake, &strict).await, []);
    // After a rollback: another event with equal bytes.
    push(&lake, &strict, &[(raw, Some(("request-2", 0)))]).await;
    let left = unresolved(&lake, &strict).await;
    // The fixed contract is deployed again.
    let again = lake.redrive(&loose, None).await.unwrap();
    let there = count(&lake, &loose, "visit").await;
    assert!(
        !left.is_empty() || there == 2,
        "request-2 is neither in a table nor unresolved in quarantine; {again:?}"
    );
}

fn by_topic(topics: &str, page: &str) -> Arc<Catalog> {
    let text = format!(
        "name = \"visit\"\nversion = 1\ndescription = \"One row a visit.\"\nidentity = [\"visitor\"]\n[route]\n{topics}\nfiles = [\"visit*\"]\n\
         [[column]]\nname = \"visitor\"\ntype = \"int64\"\nrequired = true\n[[column]]\nname = \"page\"\ntype = \"int64\"\n{page}\n"
    );
    Arc::new(Catalog::from_files([("visit.toml".to_owned(), text)]).unwrap())
}

/// Catalogs that differ only in their routes by name are different catalogs in the history.
#[tokio::test]
async fn catalogs_that_differ_in_routes_by_name_are_kept_apart() {
    let lake = Lake::new(Arc::new(InMemory::new()), env(1));
    let (before, after) =
        (by_topic("topics = [\"*.other\"]", ""), by_topic("topics = [\"*.other\", \"*.visit\"]", ""));
    // The older catalog inserts first.
    push(&lake, &before, &[("{\"visitor\":9}", None)]).await;
    // Under the catalog with the topic, the record is clean.
    let lake = Lake::new(lake.store().clone(), env(2));
    let source = "kafka/0a1b.visit/0";
    let record = [("{\"visitor\":1}", None)];
    assert!(after.route_topic("0a1b.visit").is_some() && before.route_topic("0a1b.visit").is_none());
    push_from(&lake, &after, &record, source, Some("visit")).await;
    // After the rollback the batch is delivered again.
    let lake = Lake::new(lake.store().clone(), env(3));
    push_from(&lake, &before, &record, source, None).await;
    let left = unresolved(&lake, &before).await;
    assert_eq!(
        left,
        [],
        "the record is in its table and unresolved in quarantine; hashes equal: {}",
        before.hash() == after.hash()
    );
}

/// Two callers (two API keys, for example) use the same `Idempotency-Key`. Both were acknowledged.
#[tokio::test]
async fn two_callers_with_one_idempotency_key_lose_nothing() {
    let catalog = build_catalog("identity = \"record\"", "");
    let lake = Lake::new(Arc::new(InMemory::new()), env(1));
    // Record ids as ingest writes them: batch-1/0 of caller A, and of caller B.
    push(&lake, &catalog, &[("{\"visitor\":1}", Some(("batch-1", 0)))]).await;
    push(&lake, &catalog, &[("{\"visitor\":2}", Some(("batch-1", 0)))]).await;
    assert_eq!(count(&lake, &catalog, "visit").await, 2);
}

/// A dataset is withdrawn while a key file is missing. A catalog that its table rejects, and that never inserted a row,
/// must not determine the identity under which the key file is rebuilt.
#[tokio::test]
async fn a_rejected_catalog_builds_no_key_files_later() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let by_row = build_catalog("", "");
    let good = [("{\"visitor\":1,\"page\":1}", None), ("{\"visitor\":2,\"page\":1}", None)];
    let lake = Lake::new(store.clone(), env(1));
    push(&lake, &by_row, &good).await;
    remove_keys(&store).await;
    // A row is quarantined while the dataset has no contract. It is looked up under every catalog of the history.
    for version in 2..12 {
        let rejected = build_catalog("identity = [\"visitor\"]", &format!("null = [\"{version}\"]"));
        lake.catalog_history().add(&*store, &rejected).await.unwrap();
    }
    let lake = Lake::new(store.clone(), env(2));
    push(&lake, &crate::tests::support::without_visits(), &[("{\"visitor\":3,\"page\":1}", None)]).await;
    let lake = Lake::new(store.clone(), env(3));
    let again = push(&lake, &by_row, &good).await;
    assert_eq!(count(&lake, &by_row, "visit").await, 2, "rows duplicated: {again:?}");
}

fn two_shapes(with_other: bool) -> Arc<Catalog> {
    let build_contract = |name: &str, shape: &str| {
        format!(
            "name = \"{name}\"\nversion = 1\ndescription = \"x\"\nidentity = [\"{shape}\"]\n[route]\nshape = [\"{shape}\"]\n\
             [[column]]\nname = \"{shape}\"\ntype = \"int64\"\nrequired = true\n"
        )
    };
    let mut files = vec![("visit.toml".to_owned(), build_contract("visit", "visitor"))];
    if with_other {
        files.push(("other.toml".to_owned(), build_contract("other", "page")));
    }
    Arc::new(Catalog::from_files(files).unwrap_or_else(|errors| panic!("{errors}")))
}

/// Rows that landed under an older catalog are inserted under a newer one with the same contract. A second delivery was
/// evaluated under the newer catalog, in which the record matches two shapes, and quarantined. The insert must resolve
/// it.
#[tokio::test]
async fn clean_rows_of_an_older_catalog_are_looked_up_under_that_catalog() {
    let lake = Lake::new(Arc::new(InMemory::new()), env(1));
    let (old, new) = (two_shapes(false), two_shapes(true));
    let raw = "{\"visitor\":1,\"page\":2}";
    // The old cleaner has landed the record and stored its catalog in the history. The compactor has not inserted it
    // yet.
    lake.catalog_history().add(&**lake.store(), &old).await.unwrap();
    let mut cleaner = RecordCleaner::new(old.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
    let origin = RecordOrigin { source: "test", position: Position::Line(1), record_id: None };
    cleaner.push(raw.as_bytes(), None, &origin);
    let landed = cleaner.drain().remove(0);
    // A contract is added. The batch is delivered again, to the new cleaner. The new compactor inserts both.
    push_from(&lake, &new, &[(raw, None)], "test", None).await;
    let visit = new.contract("visit").unwrap();
    assert_eq!(visit.hash(), landed.contract.hash(), "so it is not cleaned again");
    assert_eq!(lake.insert(&new, visit, &[landed.rows]).await.unwrap().inserted, 1);
    assert_eq!(unresolved(&lake, &new).await, [], "it is in its table and unresolved in quarantine");
}

/// Rewrites a table as the former form of `identity = "record"`: keys that do not cover the content, in a key file
/// without an epoch, and not in the data file.
async fn rewrite_in_former_form(store: &Arc<dyn ObjectStore>, contract: &Contract, former_keys: &[[u8; 16]]) {
    let text =
        String::from_utf8(store.get(&entry(0)).await.unwrap().bytes().await.unwrap().to_vec()).unwrap();
    let mut lines: Vec<serde_json::Value> =
        text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    for metadata in lines.iter_mut().filter_map(|line| line.get_mut("metaData")) {
        metadata["configuration"]["pinlake.identity"] = contract.former_identity_hash().unwrap().into();
        let mut schema: serde_json::Value =
            serde_json::from_str(metadata["schemaString"].as_str().unwrap()).unwrap();
        schema["fields"].as_array_mut().unwrap().retain(|field| field["name"] != KEY_COLUMN);
        metadata["schemaString"] = schema.to_string().into();
    }
    let lines: Vec<String> = lines.iter().map(ToString::to_string).collect();
    store.put(&entry(0), lines.join("\n").into()).await.unwrap();
    let lake = Lake::new(store.clone(), env(9));
    let table = lake.table(&Arc::new(contract.clone()));
    for file in table.data_files().await.unwrap() {
        let batch = table.read_file(&file).await.unwrap().remove(0);
        let columns: Vec<usize> = (0..contract.columns.len()).collect();
        let batch = batch.project(&columns).unwrap();
        let mut bytes = Vec::new();
        let mut writer = parquet::arrow::ArrowWriter::try_new(&mut bytes, batch.schema(), None).unwrap();
        writer.write(&batch).unwrap();
        writer.close().unwrap();
        store.put(&Path::from(format!("tables/visit/{}", file.path)), bytes.into()).await.unwrap();
        let mut keys = former_keys.to_vec();
        keys.sort_unstable();
        let mut bytes = b"PLKEYS01".to_vec();
        bytes.extend_from_slice(&(keys.len() as u64).to_le_bytes());
        bytes.extend_from_slice(keys.as_flattened());
        let path = crate::keys::key_path(table.root(), &file.path);
        store.put(&path, bytes.into()).await.unwrap();
    }
}

fn former_keys(catalog: &Arc<Catalog>, records: &[(&str, Option<(&str, u64)>)]) -> Vec<[u8; 16]> {
    let mut cleaner = RecordCleaner::new(catalog.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
    for (record, id) in records {
        let position = Position::Sequence { number: "7", line: 1 };
        cleaner.push(
            record.as_bytes(),
            Some("visit"),
            &RecordOrigin { source: "test", position, record_id: *id },
        );
    }
    let rows = cleaner.drain().remove(0).rows;
    let keys = rows.column_by_name(FORMER_KEY_COLUMN).unwrap().as_fixed_size_binary();
    (0..keys.len()).map(|row| keys.value(row).try_into().unwrap()).collect()
}

#[tokio::test]
async fn data_files_of_the_former_record_identity_keep_their_keys() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let catalog = build_catalog("identity = \"record\"", "");
    let contract = catalog.contract("visit").unwrap();
    let old = [("{\"visitor\":1}", Some(("r1", 0))), ("{\"visitor\":2}", Some(("r1", 1)))];
    push(&Lake::new(store.clone(), env(1)), &catalog, &old).await;
    rewrite_in_former_form(&store, contract, &former_keys(&catalog, &old)).await;

    let lake = Lake::new(store.clone(), env(2));
    let inserted = async |records: &[(&str, Option<(&str, u64)>)]| push(&lake, &catalog, records).await[0].1;
    assert_eq!(inserted(&old).await, 0, "delivered again after the upgrade");
    // The client repeats a request from before the caller was part of a request's id.
    assert_eq!(inserted(&[("{\"visitor\":1}", Some(("r1@c0ffee", 0)))]).await, 0);
    assert_eq!(inserted(&[("{\"visitor\":1}", Some(("r2", 0)))]).await, 1);
    assert_eq!(inserted(&[("{\"visitor\":3}", Some(("r2", 0)))]).await, 1, "another content");
    assert_eq!(inserted(&[("{\"visitor\":3}", Some(("r2@c0ffee", 0)))]).await, 1, "another caller");
    let again = [("{\"visitor\":1}", Some(("r2", 0))), ("{\"visitor\":3}", Some(("r2", 0)))];
    assert_eq!(inserted(&again).await, 0);
    for cold in [Lake::new(store.clone(), env(3)), Lake::new(store.clone(), env(4))] {
        assert_eq!(push(&cold, &catalog, &[old, again].concat()).await[0].1, 0);
    }

    // Only files of the current form are merged.
    for number in 0..3_u64 {
        assert_eq!(inserted(&[("{\"visitor\":1}", Some(("r4", number)))]).await, 1);
    }
    let table = lake.table(contract);
    assert_eq!(table.merge_small_files(4).await.unwrap(), 6);
    let cold = Lake::new(store.clone(), env(5));
    assert_eq!(push(&cold, &catalog, &[old, again].concat()).await[0].1, 0);
    assert_eq!(count(&cold, &catalog, "visit").await, 8);

    // Without its key file, the keys of an old data file are lost.
    remove_keys(&store).await;
    let mut cleaner = RecordCleaner::new(catalog.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
    let origin = RecordOrigin { source: "test", position: Position::Line(1), record_id: Some(("r5", 0)) };
    cleaner.push(b"{\"visitor\":1}", Some("visit"), &origin);
    let error = Lake::new(store, env(6))
        .insert(&catalog, contract, &[cleaner.drain().remove(0).rows])
        .await
        .unwrap_err();
    assert!(matches!(error, LakeError::KeysLost { .. }) && !error.is_retryable(), "{error}");
}

#[tokio::test]
async fn the_identity_decides_how_often_equal_bad_records_are_quarantined() {
    let raw = "{\"visitor\":1,\"page\":\"home\"}";
    let twice = [(raw, Some(("r1", 0))), (raw, Some(("r2", 0)))];
    let by_record = build_catalog("identity = \"record\"", "");
    let by_row = build_catalog("", "");
    let without = crate::tests::support::without_visits();
    for (catalog, rows) in [(&by_record, 2), (&by_row, 1), (&without, 2)] {
        let lake = Lake::new(Arc::new(InMemory::new()), env(1));
        for _ in 0..2 {
            push(&lake, catalog, &twice).await;
            push(&lake, catalog, &twice[1..]).await;
        }
        assert_eq!(unresolved(&lake, catalog).await.len(), rows);
        // A fixed contract accepts each of them.
        let fixed = match rows {
            1 => build_catalog("", "null = [\"home\"]"),
            _ => build_catalog("identity = \"record\"", "null = [\"home\"]"),
        };
        assert_eq!(lake.redrive(&fixed, None).await.unwrap().inserted, rows as u64);
        assert_eq!(unresolved(&lake, catalog).await, []);
    }
    // A record that is not JSON is quarantined once, even if it is sent in several requests.
    let lake = Lake::new(Arc::new(InMemory::new()), env(1));
    push(&lake, &without, &[("no json", Some(("r1", 0))), ("no json", Some(("r2", 0)))]).await;
    assert_eq!(unresolved(&lake, &without).await.len(), 1);
}

/// Key files that are damaged or of another identity are rebuilt: they are a cache.
#[tokio::test]
async fn an_invalid_key_file_is_rebuilt() {
    let catalog = build_catalog("", "");
    let good = [("{\"visitor\":1,\"page\":1}", None), ("{\"visitor\":2,\"page\":1}", None)];
    let contract = catalog.contract("visit").unwrap();
    for what in ["cut", "empty", "fewer", "foreign", "noise"] {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let lake = Lake::new(store.clone(), env(1));
        push(&lake, &catalog, &good).await;
        let file = lake.table(contract).data_files().await.unwrap().remove(0);
        let path = crate::keys::key_path(lake.table(contract).root(), &file.path);
        let right = store.get(&path).await.unwrap().bytes().await.unwrap();
        let wrong: Vec<u8> = match what {
            "cut" => right[..right.len() - 3].to_vec(),
            "empty" => Vec::new(),
            "fewer" => [&right[..8], &1_u64.to_le_bytes(), &right[16..48]].concat(),
            "foreign" => [&right[..16], b"0123456789abcdef", &[0; 32]].concat(),
            _ => b"no key file at all, but long enough to be one".to_vec(),
        };
        store.put(&path, wrong.into()).await.unwrap();
        let cold = Lake::new(store.clone(), env(2));
        assert_eq!(push(&cold, &catalog, &good).await[0].1, 0, "{what}");
        assert_eq!(store.get(&path).await.unwrap().bytes().await.unwrap(), right, "{what}");
    }
}
