//! Tests of tables that are rebuilt under a changed contract.

use std::sync::Arc;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use object_store::path::Path;
use pinlake_clean::CleanedRows;
use pinlake_schema::Catalog;

use crate::tests::support::{Fault, FaultyStore, clean_beside, env, text_rows};
use crate::{InsertSummary, Lake, LakeError};

const ID: &str = "[[column]]\nname = \"id\"\ntype = \"int64\"\nrequired = true\n";
const PAGE: &str = "[[column]]\nname = \"page\"\ntype = \"string\"\n";
const SIZE: &str = "[[column]]\nname = \"size\"\ntype = \"float64\"\n";

fn catalog(identity: &str, columns: &[&str]) -> Arc<Catalog> {
    catalog_of_version(1, identity, columns)
}

fn catalog_of_version(version: u32, identity: &str, columns: &[&str]) -> Arc<Catalog> {
    let text = format!("name = \"visit\"\nversion = {version}\n{identity}\n{}", columns.concat());
    Arc::new(
        Catalog::from_files([("visit.toml".to_owned(), text)]).unwrap_or_else(|errors| panic!("{errors}")),
    )
}

async fn push(lake: &Lake, catalog: &Arc<Catalog>, records: &[&str]) -> Result<InsertSummary, LakeError> {
    let mut summary = InsertSummary::default();
    let history = lake.catalog_history().load_all(&**lake.store()).await?;
    for CleanedRows { contract, rows, .. } in clean_beside(catalog, &history, "visit", records) {
        summary = lake.insert(catalog, &contract, &[rows]).await?;
    }
    Ok(summary)
}

async fn rebuild(lake: &Lake, catalog: &Arc<Catalog>) -> Result<[u64; 3], LakeError> {
    let done = lake.rebuild(catalog, catalog.contract("visit").unwrap(), |_| {}).await?;
    Ok([done.read, done.rows, done.duplicates])
}

async fn rows(lake: &Lake, catalog: &Arc<Catalog>) -> Vec<String> {
    text_rows(lake, catalog, "visit").await
}

const RECORDS: [&str; 4] = [
    r#"{"id":1,"page":"a","size":1}"#,
    r#"{"id":2,"page":"NA","size":2}"#,
    r#"{"id":2,"page":"b","size":2.5}"#,
    r#"{"id":3}"#,
];

async fn lake() -> (Arc<InMemory>, Lake, Arc<Catalog>) {
    let store = Arc::new(InMemory::new());
    let lake = Lake::new(store.clone(), env(1));
    let before = catalog("", &[ID, PAGE, SIZE]);
    for record in RECORDS {
        push(&lake, &before, &[record]).await.unwrap();
    }
    (store, lake, before)
}

#[tokio::test]
async fn each_change_of_the_class_rebuild_is_applied() {
    let url = "[[column]]\nname = \"url\"\ntype = \"string\"\nfrom = [\"url\", \"page\"]\n";
    let marker = format!("{PAGE}null = [\"NA\"]\n");
    let text = SIZE.replace("float64", "string");
    for (what, identity, columns, read, expected) in [
        (
            "other identity",
            "identity = [\"id\"]",
            vec![ID, PAGE, SIZE],
            [4, 3, 1],
            vec!["1 a 1.0", "2 NA 2.0", "3  "],
        ),
        ("rename", "", vec![ID, url, SIZE], [4, 4, 0], vec!["1 a 1.0", "2 NA 2.0", "2 b 2.5", "3  "]),
        ("drop", "", vec![SIZE, ID], [4, 4, 0], vec![" 3", "1.0 1", "2.0 2", "2.5 2"]),
        ("null marker", "", vec![ID, &marker, SIZE], [4, 4, 0], vec!["1 a 1.0", "2  2.0", "2 b 2.5", "3  "]),
        ("drop to equal rows", "", vec![ID], [4, 3, 1], vec!["1", "2", "3"]),
    ] {
        let (store, lake, before) = lake().await;
        let after = catalog_of_version(2, identity, &columns);
        assert_eq!(rebuild(&lake, &after).await.unwrap(), read, "{what}");
        assert_eq!(rows(&lake, &after).await, expected, "{what}");
        // The records are known under the new contract, by another process too.
        let other = Lake::new(store.clone(), env(2));
        let again = push(&other, &after, &RECORDS).await.unwrap();
        assert_eq!((again.inserted, again.duplicates), (0, 4), "{what}");
        // The former contract does not bring dropped columns back, nor insert rows under another identity.
        if what != "null marker" {
            push(&other, &before, &[r#"{"id":9}"#]).await.unwrap_err();
        }
        // What the log says: the columns in the order of the contract, and nothing of the copy is left.
        let table = other.table(after.contract("visit").unwrap());
        let pinned = table.pin().await.unwrap();
        let names: Vec<&String> = pinned.schema.fields().iter().map(|field| field.name()).collect();
        let wanted = after.contract("visit").unwrap().table_schema();
        assert_eq!(names, wanted.fields().iter().map(|field| field.name()).collect::<Vec<_>>(), "{what}");
        assert_eq!(pinned.files.iter().filter_map(|file| file.rows).sum::<u64>(), read[1], "{what}");
        let commit = table.list_commits(1).await.unwrap().remove(0);
        assert_eq!((commit.operation.as_deref(), commit.files_removed), (Some("REBUILD"), 4), "{what}");
        let left: Vec<_> =
            store.list(Some(&Path::from("tables/visit/_pinlake_rebuild"))).try_collect().await.unwrap();
        assert!(left.is_empty(), "{what}: {left:?}");
        // The table goes on: inserts, merges, and lost key files.
        push(&other, &after, &[r#"{"id":7,"page":"z","url":"z","size":7}"#]).await.unwrap();
        table.merge_small_files(2).await.unwrap();
        let keys: Vec<_> =
            store.list(Some(&Path::from("tables/visit/_pinlake_keys"))).try_collect().await.unwrap();
        for key in keys {
            object_store::ObjectStoreExt::delete(&*store, &key.location).await.unwrap();
        }
        let third = Lake::new(store.clone(), env(3));
        assert_eq!(push(&third, &after, &RECORDS).await.unwrap().duplicates, 4, "{what}");
    }
    // Numbers as text would have another form than in a record.
    let (_, lake, _) = lake().await;
    rebuild(&lake, &catalog("", &[ID, PAGE, &text])).await.unwrap_err();
}

#[tokio::test]
async fn a_rebuild_that_would_lose_rows_changes_nothing() {
    for (columns, why) in [
        (
            vec![ID, PAGE, "[[column]]\nname = \"size\"\ntype = \"int64\"\n"],
            "1 of 4 rows cannot be carried over, such as: column size: \"2.5\" cannot be carried over to int64",
        ),
        (
            vec![ID, "[[column]]\nname = \"page\"\ntype = \"date\"\n"],
            "3 of 4 rows cannot be carried over, such as: column page: \"a\" cannot be carried over to date",
        ),
        (
            vec![ID, "[[column]]\nname = \"page\"\ntype = \"string\"\nrequired = true\n"],
            "1 of 4 rows cannot be carried over, such as: required column page has no value",
        ),
        (vec![ID, "[[column]]\nname = \"kind\"\ntype = \"string\"\nrequired = true\n"], "4 of 4 rows"),
    ] {
        let (store, lake, before) = lake().await;
        let error = rebuild(&lake, &catalog("", &columns)).await.unwrap_err().to_string();
        assert!(error.contains(why), "{error}");
        assert_eq!(rows(&lake, &before).await.len(), 4);
        assert_eq!(push(&lake, &before, &RECORDS).await.unwrap().duplicates, 4);
        let left: Vec<_> =
            store.list(Some(&Path::from("tables/visit/_pinlake_rebuild"))).try_collect().await.unwrap();
        assert!(left.is_empty(), "{left:?}");
    }
    let lake = Lake::new(Arc::new(InMemory::new()), env(1));
    let error = rebuild(&lake, &catalog("", &[ID])).await.unwrap_err().to_string();
    assert!(error.contains("the lake has no table of it"), "{error}");
    let by_record = catalog("identity = \"record\"", &[ID]);
    let error = rebuild(&lake, &by_record).await.unwrap_err().to_string();
    assert!(error.contains("identified by their record"), "{error}");
}

/// The former contract inserts, merges or widens nothing while the rebuild swaps; its rows are carried over too.
#[tokio::test]
async fn rows_of_the_former_contract_that_arrive_meanwhile_are_carried_over() {
    let after = catalog("identity = [\"id\"]", &[ID, PAGE, SIZE]);
    for merges in [false, true] {
        let (inner, _, before) = lake().await;
        // Version 5 is the next one.
        let store = Arc::new(FaultyStore::at_version(5, inner.clone()));
        let (other, catalog) = (Lake::new(inner.clone(), env(2)), before.clone());
        store.inject(Fault::Conflict(Box::pin(async move {
            push(&other, &catalog, &[r#"{"id":4,"page":"late"}"#]).await.unwrap();
            if merges {
                other.table(catalog.contract("visit").unwrap()).merge_small_files(2).await.unwrap();
            }
        })));
        let lake = Lake::new(store.clone(), env(3));
        rebuild(&lake, &after).await.unwrap();
        assert!(store.has_fired());
        assert_eq!(rows(&lake, &after).await, ["1 a 1.0", "2 NA 2.0", "3  ", "4 late "]);
    }
}

#[tokio::test]
async fn an_interrupted_rebuild_continues() {
    let (inner, _, _) = lake().await;
    let after = catalog("identity = [\"id\"]", &[ID, PAGE, SIZE]);
    // The answer to the commit is lost: the rebuild recognises its own commit.
    let store = Arc::new(FaultyStore::at_version(5, inner.clone()));
    store.inject(Fault::ResponseLost);
    let lake = Lake::new(store.clone(), env(3));
    assert_eq!(rebuild(&lake, &after).await.unwrap(), [4, 3, 1]);
    assert!(store.has_fired());
    assert_eq!(rows(&lake, &after).await, ["1 a 1.0", "2 NA 2.0", "3  "]);
    // A rebuild that has nothing to do gives the same table.
    assert_eq!(rebuild(&lake, &after).await.unwrap(), [3, 3, 0]);
    assert_eq!(rows(&lake, &after).await, ["1 a 1.0", "2 NA 2.0", "3  "]);

    // Stopped after each number of steps, and run again.
    for steps in 0..12 {
        let (inner, _, _) = self::lake().await;
        let store = Arc::new(object_store::throttle::ThrottledStore::new(
            (*inner).fork(),
            object_store::throttle::ThrottleConfig {
                wait_put_per_call: std::time::Duration::from_millis(1),
                ..Default::default()
            },
        ));
        let lake = Lake::new(store.clone(), env(4));
        let time = std::time::Duration::from_micros(1200 * steps);
        let stopped = tokio::time::timeout(time, rebuild(&lake, &after)).await;
        if stopped.is_err() {
            let lake = Lake::new(store.clone(), env(5));
            let [read, rows, _] = rebuild(&lake, &after).await.unwrap();
            assert!(read >= 3 && rows == 3, "{steps}: {read} {rows}");
        }
        let lake = Lake::new(store, env(6));
        assert_eq!(rows(&lake, &after).await, ["1 a 1.0", "2 NA 2.0", "3  "], "{steps}");
    }
}

/// Both work on the same copy, which the first one that ends removes.
#[tokio::test]
async fn a_rebuild_that_another_one_overtakes_says_so() {
    let after = catalog("identity = [\"id\"]", &[ID, PAGE, SIZE]);
    let mut overtaken = 0;
    for version in 0..7 {
        let (inner, lake, _) = lake().await;
        let store = Arc::new(FaultyStore::at_version(version, inner.clone()));
        let (other, catalog) = (Lake::new(inner, env(2)), after.clone());
        store.inject(Fault::Conflict(Box::pin(async move {
            rebuild(&other, &catalog).await.unwrap();
        })));
        match rebuild(&Lake::new(store, env(3)), &after).await {
            Ok(_) => {}
            Err(LakeError::RebuildRefused { why, .. }) => {
                assert!(why.contains("another `pinlake rebuild`"), "{why}");
                overtaken += 1;
            }
            Err(error) => panic!("{version}: {error}"),
        }
        assert_eq!(rows(&lake, &after).await, ["1 a 1.0", "2 NA 2.0", "3  "], "{version}");
    }
    assert!(overtaken > 0);
}

#[tokio::test]
async fn values_are_carried_over_or_the_rebuild_stops() {
    let value =
        |data_type: &str, more: &str| format!("[[column]]\nname = \"v\"\ntype = \"{data_type}\"\n{more}");
    for (before, record, after, more, expected) in [
        ("int64", "7", "string", "", Some("7")),
        ("string", "\"7\"", "int64", "", Some("7")),
        ("string", "\"007\"", "int64", "", Some("7")),
        ("string", "\"1.5\"", "float64", "", Some("1.5")),
        ("string", "\"NaN\"", "float64", "", None),
        ("string", "\"1.234\"", "float64", "locale = \"de\"", Some("1234.0")),
        ("string", "\"9007199254740993\"", "float64", "", None),
        ("string", "\"2020-01-02\"", "date", "", Some("2020-01-02")),
        ("string", "\"2020-01-02T23:30:00-05:00\"", "date", "", None),
        (
            "string",
            "\"2020-07-01 10:00:00\"",
            "timestamp",
            "zone = \"Europe/Berlin\"",
            Some("2020-07-01T08:00:00Z"),
        ),
        ("int64", "1598586767", "timestamp", "formats = [\"unix_seconds\"]", Some("2020-08-28T03:52:47Z")),
        ("int64", "20200102", "date", "", None),
        ("string", "\"[1,2]\"", "array<int64>", "", None),
        ("int64", "1", "array<int64>", "", None),
        ("array<int64>", "[1,2]", "array<float64>", "", Some("[1.0, 2.0]")),
        ("string", "\"AQI=\"", "binary", "", Some("0102")),
        ("string", "\"x\"", "json", "", None),
        ("string", "\"{\\\"b\\\": 1.0, \\\"a\\\": 2}\"", "json", "", Some("{\"a\":2,\"b\":1}")),
        ("json", "{\"a\":1}", "string", "", Some("{\"a\":1}")),
        ("float64", "2.0", "int64", "", Some("2")),
        ("int64", "3000000000", "int32", "", None),
        ("int64", "30", "decimal(4,2)", "", Some("30.00")),
        ("int64", "300", "decimal(4,2)", "", None),
        ("decimal(12,2)", "1.50", "decimal(4,1)", "", Some("1.5")),
        ("decimal(12,2)", "1.55", "decimal(4,1)", "", None),
        ("decimal(12,2)", "1000", "decimal(4,1)", "", None),
        ("decimal(12,2)", "2", "int64", "", Some("2")),
        ("decimal(12,2)", "2.5", "int64", "", None),
        ("decimal(12,2)", "0.1", "float64", "", Some("0.1")),
        ("decimal(38,2)", "12345678901234567890.12", "float64", "", None),
        ("float64", "0.1", "decimal(12,2)", "", Some("0.10")),
        ("float64", "0.125", "decimal(12,2)", "", None),
        ("string", "\"1.5\"", "decimal(12,2)", "", Some("1.50")),
        ("string", "\"1.500\"", "decimal(12,2)", "", Some("1.50")),
        ("string", "\"1.239\"", "decimal(12,2)", "", None),
        ("string", "\"1,5\"", "decimal(12,2)", "locale = \"de\"", Some("1.50")),
        ("decimal(12,2)", "1.5", "string", "", Some("1.50")),
        ("array<int64>", "[1,2]", "array<decimal(12,1)>", "", Some("[1.0, 2.0]")),
    ] {
        let lake = Lake::new(Arc::new(InMemory::new()), env(1));
        let identity = "identity = [\"id\"]";
        let (before, after) =
            (catalog(identity, &[ID, &value(before, "")]), catalog(identity, &[ID, &value(after, more)]));
        let record = format!("{{\"id\":1,\"v\":{record}}}");
        assert_eq!(push(&lake, &before, &[&record]).await.unwrap().inserted, 1, "{record}");
        let done = rebuild(&lake, &after).await;
        match expected {
            Some(value) => assert_eq!(
                (done.unwrap(), rows(&lake, &after).await),
                ([1, 1, 0], vec![format!("1 {value}")])
            ),
            None => {
                assert!(matches!(done, Err(LakeError::RebuildRefused { .. })), "{record} {more}: {done:?}")
            }
        }
    }
}

#[tokio::test]
async fn a_renamed_column_keeps_the_values_of_both_names() {
    let identity = "identity = [\"id\"]";
    let former = "[[column]]\nname = \"a\"\ntype = \"string\"\n";
    for name in ["aa", "A"] {
        let lake = Lake::new(Arc::new(InMemory::new()), env(1));
        let renamed =
            format!("[[column]]\nname = \"{name}\"\ntype = \"string\"\nfrom = [\"{name}\", \"a\"]\n");
        let (before, after) = (catalog(identity, &[ID, former]), catalog(identity, &[ID, &renamed]));
        push(&lake, &before, &[r#"{"id":1,"a":"x"}"#]).await.unwrap();
        // Rows under both contracts, before the rebuild and after it.
        let early = push(&lake, &after, &[r#"{"id":2,"a":"y"}"#]).await;
        assert_eq!(early.is_ok(), name == "aa", "names are not case-sensitive");
        rebuild(&lake, &after).await.unwrap();
        if name == "aa" {
            push(&lake, &before, &[r#"{"id":3,"a":"z"}"#]).await.unwrap();
            rebuild(&lake, &after).await.unwrap();
            assert_eq!(rows(&lake, &after).await, ["1 x", "2 y", "3 z"]);
        } else {
            assert_eq!(rows(&lake, &after).await, ["1 x"]);
        }
    }
}

/// A commit that changes rows which were carried over begins the rebuild again.
#[tokio::test]
async fn rows_that_change_meanwhile_are_carried_over_again() {
    let keep = "identity = [\"id\"]\nkeep = { latest_by = [\"size\"] }";
    let (before, after) = (catalog(keep, &[ID, PAGE, SIZE]), catalog(keep, &[ID, SIZE]));
    let inner = Arc::new(InMemory::new());
    for record in [r#"{"id":1,"page":"a","size":1}"#, r#"{"id":2,"page":"a","size":1}"#] {
        push(&Lake::new(inner.clone(), env(1)), &before, &[record]).await.unwrap();
    }
    let store = Arc::new(FaultyStore::at_version(3, inner.clone()));
    let (other, catalog) = (Lake::new(inner.clone(), env(2)), before.clone());
    store.inject(Fault::Conflict(Box::pin(async move {
        push(&other, &catalog, &[r#"{"id":1,"page":"b","size":2}"#]).await.unwrap();
    })));
    let lake = Lake::new(store.clone(), env(3));
    rebuild(&lake, &after).await.unwrap();
    assert!(store.has_fired());
    assert_eq!(rows(&lake, &after).await, ["1 2.0", "2 1.0"]);
}

/// A cast would compute the digits in floating point, and records that are sent again would be other rows.
#[tokio::test]
async fn numbers_become_the_decimals_that_they_are_written_as() {
    let lake = Lake::new(Arc::new(InMemory::new()), env(1));
    let records = ["12345678901234.5", "1.1", "1e16", "-0.001"];
    let records: Vec<String> = records.iter().map(|size| format!("{{\"id\":1,\"size\":{size}}}")).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    push(&lake, &catalog("", &[ID, SIZE]), &records).await.unwrap();
    let decimal = SIZE.replace("float64", "decimal(38,18)");
    let after = catalog("", &[ID, &decimal]);
    assert_eq!(rebuild(&lake, &after).await.unwrap(), [4, 4, 0]);
    assert_eq!(push(&lake, &after, &records).await.unwrap().duplicates, 4);
    assert_eq!(rows(&lake, &after).await[1], "1 1.100000000000000000");
    let narrow = catalog("", &[ID, &SIZE.replace("float64", "decimal(38,2)")]);
    assert!(rebuild(&lake, &narrow).await.is_err(), "-0.001 has no such decimal");
}

/// A rebuild that stopped before it noted the files of its copy does not bring rows back that were deleted since.
#[tokio::test]
async fn rows_that_are_deleted_after_an_interruption_stay_deleted() {
    let keep = "identity = [\"id\"]\nkeep = { latest_by = [\"size\"], delete_when = { op = \"d\" } }";
    let (before, after) = (catalog(keep, &[ID, PAGE, SIZE]), catalog_of_version(2, keep, &[ID, SIZE]));
    for steps in 0..12 {
        let inner = Arc::new(InMemory::new());
        push(&Lake::new(inner.clone(), env(1)), &before, &[r#"{"id":1,"size":1}"#]).await.unwrap();
        let config = object_store::throttle::ThrottleConfig {
            wait_put_per_call: std::time::Duration::from_millis(1),
            ..Default::default()
        };
        let store = Arc::new(object_store::throttle::ThrottledStore::new((*inner).fork(), config));
        let time = std::time::Duration::from_micros(1200 * steps);
        let stopped = tokio::time::timeout(time, rebuild(&Lake::new(store.clone(), env(2)), &after)).await;
        let lake = Lake::new(store.clone(), env(3));
        push(&lake, &before, &[r#"{"id":1,"size":2,"op":"d"}"#]).await.unwrap();
        if stopped.is_err() {
            rebuild(&Lake::new(store.clone(), env(4)), &after).await.unwrap();
        }
        assert!(rows(&Lake::new(store, env(5)), &after).await.is_empty(), "{steps}");
    }
}
