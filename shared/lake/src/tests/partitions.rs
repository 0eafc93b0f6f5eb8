//! Tests of tables that are partitioned, and of tables with features that pinlake refuses.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::AsArray;
use arrow::datatypes::Int64Type;
use object_store::ObjectStoreExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pinlake_clean::CleanedRows;
use pinlake_schema::Catalog;

use crate::tests::support::{clean, env, text_rows};
use crate::{InsertSummary, Lake, LakeError, PinnedFile};

const COLUMNS: &str = "[[column]]\nname = \"country\"\ntype = \"string\"\nnull = [\"\"]\n\
                       [[column]]\nname = \"id\"\ntype = \"int64\"\nrequired = true\n\
                       [[column]]\nname = \"day\"\ntype = \"date\"\n\
                       [[column]]\nname = \"page\"\ntype = \"string\"\n";

fn catalog_of(rules: &str) -> Arc<Catalog> {
    let text = format!("name = \"visit\"\nversion = 1\n{rules}\n{COLUMNS}");
    let catalog = Catalog::from_files([("visit.toml".to_owned(), text)]);
    Arc::new(catalog.unwrap_or_else(|errors| panic!("{errors}")))
}

fn catalog() -> Arc<Catalog> {
    catalog_of("partition_by = [\"day\", \"country\"]")
}

async fn push(lake: &Lake, catalog: &Arc<Catalog>, records: &[&str]) -> Result<InsertSummary, LakeError> {
    let mut summary = InsertSummary::default();
    for CleanedRows { contract, rows, .. } in clean(catalog, "visit", records) {
        assert_eq!(contract.name, "visit", "quarantined");
        summary = lake.insert(catalog, &contract, &[rows]).await?;
    }
    Ok(summary)
}

async fn files(lake: &Lake, catalog: &Arc<Catalog>) -> Vec<PinnedFile> {
    lake.table(catalog.contract("visit").unwrap()).pin().await.unwrap().files
}

async fn rows(lake: &Lake, catalog: &Arc<Catalog>) -> Vec<String> {
    text_rows(lake, catalog, "visit").await
}

const RECORDS: [&str; 5] = [
    r#"{"country":"Chile","id":1,"day":"2024-01-01","page":"a"}"#,
    r#"{"country":"Chile","id":2,"day":"2024-01-02","page":"b"}"#,
    r#"{"country":"Chile","id":3,"day":"2024-01-01","page":"c"}"#,
    r#"{"country":"","id":4,"page":"d"}"#,
    r#"{"country":"a/b %é=:","id":5,"day":"2024-01-01"}"#,
];
const ROWS: [&str; 5] = [
    " 4  d",
    "Chile 1 2024-01-01 a",
    "Chile 2 2024-01-02 b",
    "Chile 3 2024-01-01 c",
    "a/b %é=: 5 2024-01-01 ",
];

#[tokio::test]
async fn a_commit_adds_a_file_for_each_partition() {
    let store = Arc::new(InMemory::new());
    let (lake, catalog) = (Lake::new(store.clone(), env(1)), catalog());
    let done = push(&lake, &catalog, &RECORDS).await.unwrap();
    assert_eq!((done.inserted, done.version), (5, Some(1)));
    assert_eq!(rows(&lake, &catalog).await, ROWS);
    let pinned = files(&lake, &catalog).await;
    let mut folders = BTreeSet::new();
    for file in &pinned {
        store.head(&file.path).await.unwrap();
        folders.insert(file.path.parts().nth_back(2).unwrap().as_ref().to_owned());
    }
    assert_eq!(pinned.len(), 4);
    let expected = ["day=2024-01-01", "day=2024-01-02", "day=__HIVE_DEFAULT_PARTITION__"];
    assert_eq!(folders.into_iter().collect::<Vec<_>>(), expected);

    let cold = Lake::new(store.clone(), env(2));
    let again = push(&cold, &catalog, &RECORDS).await.unwrap();
    assert_eq!((again.inserted, again.duplicates), (0, 5));
    assert_eq!(rows(&cold, &catalog).await, ROWS, "by another process");
    // The keys of a partitioned file cover values that it does not contain.
    for file in &pinned {
        let name = file.path.filename().unwrap().replace(".parquet", ".keys");
        store.delete(&Path::from(format!("tables/visit/_pinlake_keys/{name}"))).await.unwrap();
    }
    let again = push(&Lake::new(store, env(3)), &catalog, &RECORDS).await.unwrap();
    assert_eq!((again.inserted, again.duplicates), (0, 5));
}

#[tokio::test]
async fn a_value_that_is_too_long_for_a_path_is_stored() {
    let folder = tempfile::tempdir().unwrap();
    let store = Arc::new(object_store::local::LocalFileSystem::new_with_prefix(folder.path()).unwrap());
    let (lake, catalog) = (Lake::new(store, env(1)), catalog_of("partition_by = [\"country\"]"));
    let records = ["x".repeat(1200), "日".repeat(84), "short".to_owned()];
    let records = records.map(|country| format!("{{\"country\":\"{country}\",\"id\":1}}"));
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    assert_eq!(push(&lake, &catalog, &records).await.unwrap().inserted, 3);
    assert_eq!(push(&lake, &catalog, &records).await.unwrap().duplicates, 3);
    assert_eq!(rows(&lake, &catalog).await.len(), 3);
}

#[tokio::test]
async fn files_of_one_partition_are_merged() {
    let store = Arc::new(InMemory::new());
    let (lake, catalog) = (Lake::new(store, env(1)), catalog());
    for record in RECORDS {
        push(&lake, &catalog, &[record]).await.unwrap();
    }
    push(&lake, &catalog, &[r#"{"country":"","id":6}"#]).await.unwrap();
    let table = lake.table(catalog.contract("visit").unwrap());
    assert_eq!(table.merge_small_files(4).await.unwrap(), 0, "two files more than partitions");
    assert_eq!(table.merge_small_files(3).await.unwrap(), 4);
    assert_eq!(table.merge_small_files(2).await.unwrap(), 0);
    let mut expected: Vec<String> = ROWS.map(str::to_owned).to_vec();
    expected.insert(1, " 6  ".to_owned());
    assert_eq!(rows(&lake, &catalog).await, expected);
    assert_eq!(files(&lake, &catalog).await.len(), 4);
    assert_eq!(push(&lake, &catalog, &RECORDS).await.unwrap().duplicates, 5);
}

#[tokio::test]
async fn a_later_record_moves_its_row_to_another_partition() {
    let rules = "identity = [\"id\"]\nkeep = { latest_by = [\"page\"] }\npartition_by = [\"day\"]";
    let (lake, catalog) = (Lake::new(Arc::new(InMemory::new()), env(1)), catalog_of(rules));
    push(&lake, &catalog, &RECORDS).await.unwrap();
    let later = r#"{"country":"Chile","id":1,"day":"2024-01-02","page":"z"}"#;
    for _ in 0..2 {
        push(&lake, &catalog, &[later]).await.unwrap();
        let rows = rows(&lake, &catalog).await;
        assert_eq!((rows.len(), rows[1].as_str()), (5, "Chile 1 2024-01-02 z"));
    }
    let days: Vec<_> =
        files(&lake, &catalog).await.into_iter().map(|file| file.partition["day"].clone()).collect();
    let count = |day: Option<&str>| days.iter().filter(|own| own.as_deref() == day).count();
    assert_eq!((count(Some("2024-01-01")), count(Some("2024-01-02")), count(None)), (1, 2, 1));
}

#[tokio::test]
async fn rows_of_a_file_are_sorted_by_the_columns_of_a_cluster() {
    let store = Arc::new(InMemory::new());
    let lake = Lake::new(store.clone(), env(1));
    let text = "name = \"visit\"\nversion = 1\ncluster_by = [\"page\", \"id\"]\n\
                [[column]]\nname = \"id\"\ntype = \"int64\"\n[[column]]\nname = \"page\"\ntype = \"string\"\n";
    let catalog = Arc::new(Catalog::from_files([("visit.toml".to_owned(), text.to_owned())]).unwrap());
    let records =
        [r#"{"id":3,"page":"b"}"#, r#"{"id":1,"page":"b"}"#, r#"{"id":2,"page":"a"}"#, r#"{"id":9}"#];
    push(&lake, &catalog, &records[..2]).await.unwrap();
    push(&lake, &catalog, &records[2..]).await.unwrap();
    let table = lake.table(catalog.contract("visit").unwrap());
    assert_eq!(table.merge_small_files(2).await.unwrap(), 2);
    let file = table.data_files().await.unwrap().remove(0);
    let rows = table.read_file(&file).await.unwrap().remove(0);
    assert_eq!(rows.column(0).as_primitive::<Int64Type>().values(), &[9, 2, 1, 3], "null is the first page");
    assert_eq!(push(&lake, &catalog, &records).await.unwrap().duplicates, 4);
    // Texts have statistics in the file if it is sorted by them.
    let path = table.pin().await.unwrap().files.remove(0).path;
    let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
    let file = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    assert!(file.metadata().row_group(0).column(1).statistics().is_some());
}

#[tokio::test]
async fn a_rebuild_partitions_a_table() {
    let store = Arc::new(InMemory::new());
    let (lake, before, after) = (Lake::new(store.clone(), env(1)), catalog_of(""), catalog());
    push(&lake, &before, &RECORDS[..3]).await.unwrap();
    // Until then the table takes rows without partitions.
    push(&lake, &after, &RECORDS).await.unwrap();
    assert_eq!(files(&lake, &after).await.len(), 2);
    lake.rebuild(&after, after.contract("visit").unwrap(), |_| {}).await.unwrap();
    let cold = Lake::new(store, env(2));
    let pinned = cold.table(after.contract("visit").unwrap()).pin().await.unwrap();
    assert_eq!(pinned.partition_columns, ["country", "day"], "in the order of the table's columns");
    assert_eq!((pinned.files.len(), rows(&cold, &after).await), (4, ROWS.map(str::to_owned).to_vec()));
    assert_eq!(push(&cold, &after, &RECORDS).await.unwrap().duplicates, 5);
    // And back.
    cold.rebuild(&before, before.contract("visit").unwrap(), |_| {}).await.unwrap();
    let pinned = cold.table(before.contract("visit").unwrap()).pin().await.unwrap();
    assert_eq!(pinned.partition_columns, [""; 0]);
    assert_eq!((pinned.files.len(), rows(&cold, &before).await), (1, ROWS.map(str::to_owned).to_vec()));
}

#[tokio::test]
async fn a_commit_has_a_limited_number_of_partitions() {
    let catalog = catalog_of("partition_by = [\"id\"]");
    let lake = Lake::new(Arc::new(InMemory::new()), env(1));
    let records: Vec<String> = (0..4097).map(|id| format!("{{\"id\":{id}}}")).collect();
    let records: Vec<&str> = records.iter().map(String::as_str).collect();
    let error = push(&lake, &catalog, &records).await.unwrap_err();
    assert!(matches!(error, LakeError::TooManyPartitions { found: 4097, .. }), "{error}");
    assert_eq!(push(&lake, &catalog, &records[1..]).await.unwrap().inserted, 4096);
}

/// Replaces the first occurrence of a text in a log entry.
async fn edit(store: &InMemory, version: u64, from: &str, to: &str) {
    let path = Path::from(format!("tables/visit/_delta_log/{version:020}.json"));
    let bytes = store.get(&path).await.unwrap().bytes().await.unwrap();
    let text = String::from_utf8(bytes.to_vec()).unwrap();
    assert!(text.contains(from), "{text}");
    store.put(&path, text.replacen(from, to, 1).into()).await.unwrap();
}

#[tokio::test]
async fn a_table_with_deletion_vectors_is_refused_and_names_file_and_writer() {
    let store = Arc::new(InMemory::new());
    let (lake, catalog) = (Lake::new(store.clone(), env(1)), catalog_of(""));
    push(&lake, &catalog, &RECORDS).await.unwrap();
    // The deletion vector of the protocol's example, in place.
    let vector = r#""deletionVector":{"storageType":"i","pathOrInlineDv":"wi5b=000010000siXQKl0rr91000f55c8Xg0@@D72lkbi5=-{L","sizeInBytes":40,"cardinality":6}"#;
    edit(&store, 1, "\"dataChange\":true", &format!("\"dataChange\":true,{vector}")).await;
    edit(&store, 1, "\"engineInfo\":\"pinlake", "\"engineInfo\":\"Spark/4.0 pinlake").await;
    let feature = r#""readerFeatures":["deletionVectors"],"writerFeatures":["deletionVectors""#;
    edit(&store, 0, r#""readerFeatures":[],"writerFeatures":["#, feature).await;
    let cold = Lake::new(store.clone(), env(2));
    let error = cold.table(catalog.contract("visit").unwrap()).pin().await.unwrap_err();
    assert!(matches!(error, LakeError::UnsupportedTable { .. }), "{error}");
    let text = error.to_string();
    assert!(text.contains("part-") && text.contains("deletion vector, which Spark/4.0"), "{text}");
    assert!(!error.is_retryable() && push(&cold, &catalog, &RECORDS).await.is_err());
}

#[tokio::test]
async fn what_other_programs_add_is_named() {
    let features = |name: &str| format!(r#""readerFeatures":["{name}"],"writerFeatures":["{name}""#);
    let type_of = |name: &str| format!(r#"\"name\":\"page\",\"type\":\"{name}\""#);
    let identity = "\"pinlake.identity\"".to_owned();
    for (feature, edited, says) in [
        (Some("variantType"), Some((type_of("string"), type_of("variant"))), "its column page is a variant"),
        (Some("catalogManaged-x"), None, "Drop the feature with the program that added it"),
        (None, Some((identity, "\"x\"".to_owned())), "was created by another program"),
    ] {
        let store = Arc::new(InMemory::new());
        let (lake, catalog) = (Lake::new(store.clone(), env(1)), catalog_of(""));
        push(&lake, &catalog, &RECORDS).await.unwrap();
        if let Some(feature) = feature {
            edit(&store, 0, r#""readerFeatures":[],"writerFeatures":["#, &features(feature)).await;
        }
        if let Some((from, to)) = edited {
            edit(&store, 0, &from, &to).await;
        }
        let cold = Lake::new(store, env(2));
        let error = push(&cold, &catalog, &RECORDS).await.unwrap_err();
        assert!(error.to_string().contains(says), "{error}");
    }
}

#[tokio::test]
async fn a_table_with_column_mapping_is_refused() {
    let store = Arc::new(InMemory::new());
    let (lake, catalog) = (Lake::new(store.clone(), env(1)), catalog_of(""));
    push(&lake, &catalog, &RECORDS).await.unwrap();
    edit(&store, 0, r#""configuration":{"#, r#""configuration":{"delta.columnMapping.mode":"name","#).await;
    let feature = r#""readerFeatures":["columnMapping"],"writerFeatures":["columnMapping""#;
    edit(&store, 0, r#""readerFeatures":[],"writerFeatures":["#, feature).await;
    for (id, name) in (1..).zip(["country", "id", "day", "page"]) {
        let mapped = format!(
            r#"\"metadata\":{{\"delta.columnMapping.id\":{id},\"delta.columnMapping.physicalName\":\"col-{name}\"}}"#
        );
        edit(&store, 0, r#"\"metadata\":{}"#, &mapped).await;
    }
    let cold = Lake::new(store, env(2));
    let error = cold.table(catalog.contract("visit").unwrap()).pin().await.unwrap_err();
    assert!(error.to_string().contains("delta.columnMapping.mode"), "{error}");
}
