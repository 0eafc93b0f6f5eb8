//! Tests of contracts that change while their table has rows.

use std::sync::Arc;

use arrow::datatypes::{DataType, Schema};
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pinlake_clean::CleanedRows;
use pinlake_schema::Catalog;

use crate::tests::support::{Fault, FaultyStore, clean, clean_beside, env, text_rows};
use crate::{InsertSummary, Lake, LakeError};

const VISITOR: &str = "[[column]]\nname = \"visitor\"\ntype = \"int64\"\nrequired = true\n";
const PAGE: &str = "[[column]]\nname = \"page\"\ntype = \"string\"\n";
const AT: &str = "[[column]]\nname = \"at\"\ntype = \"int64\"\n";
const REFERRER: &str = "[[column]]\nname = \"referrer\"\ntype = \"string\"\n";

/// A catalog of one dataset, `visit`, with these columns.
fn catalog(identity: &str, columns: &[&str]) -> Arc<Catalog> {
    let text = format!("name = \"visit\"\nversion = 1\n{identity}\n{}", columns.concat());
    Arc::new(Catalog::from_files([("visit.toml".to_owned(), text)]).unwrap())
}

fn by_row(columns: &[&str]) -> Arc<Catalog> {
    catalog("", columns)
}

/// Inserts records that were cleaned under the catalog.
async fn push(lake: &Lake, catalog: &Arc<Catalog>, records: &[&str]) -> Result<InsertSummary, LakeError> {
    let mut summary = InsertSummary::default();
    let history = lake.catalog_history().load_all(&**lake.store()).await?;
    for CleanedRows { contract, rows, .. } in clean_beside(catalog, &history, "visit", records) {
        summary = lake.insert(catalog, &contract, &[rows]).await?;
    }
    Ok(summary)
}

/// Read, inserted, superseded and duplicate rows.
async fn counts(lake: &Lake, catalog: &Arc<Catalog>, records: &[&str]) -> [u64; 4] {
    let done = push(lake, catalog, records).await.unwrap();
    [done.read, done.inserted, done.superseded, done.duplicates]
}

async fn rows(lake: &Lake, catalog: &Arc<Catalog>) -> Vec<String> {
    text_rows(lake, catalog, "visit").await
}

fn lake() -> (Arc<dyn ObjectStore>, Lake) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    (store.clone(), Lake::new(store, env(1)))
}

#[tokio::test]
async fn a_column_is_added_and_rows_gain_its_values() {
    let (store, lake) = lake();
    let (before, after) = (by_row(&[VISITOR, PAGE]), by_row(&[VISITOR, PAGE, AT]));
    let old =
        [r#"{"visitor":1,"page":"a"}"#, r#"{"visitor":2,"page":"a"}"#, r#"{"visitor":3,"page":"a","at":7}"#];
    assert_eq!(counts(&lake, &before, &old).await, [3, 3, 0, 0]);
    // Redelivered across the deployment, by a process that knows nothing of the table.
    let lake = Lake::new(store.clone(), env(2));
    assert_eq!(counts(&lake, &after, &old).await, [3, 0, 1, 2]);
    let expected = ["1 a ", "2 a ", "3 a 7"];
    assert_eq!(rows(&lake, &after).await, expected);
    assert_eq!(counts(&lake, &after, &old).await, [3, 0, 0, 3], "again");
    // A record that has the value from now on, and one that is another row under the new contract.
    let new = [r#"{"visitor":2,"page":"a","at":8}"#, r#"{"visitor":3,"page":"a","at":9}"#];
    assert_eq!(counts(&lake, &after, &new).await, [2, 1, 1, 0]);
    assert_eq!(rows(&lake, &after).await, ["1 a ", "2 a 8", "3 a 7", "3 a 9"]);
    let schema = lake.table(after.contract("visit").unwrap()).pin().await.unwrap().schema;
    assert_eq!(
        schema.fields().iter().map(|field| field.name().as_str()).collect::<Vec<_>>(),
        ["visitor", "page", "at"]
    );
}

#[tokio::test]
async fn a_record_without_the_new_value_in_the_same_batch_is_a_duplicate() {
    let (_, lake) = lake();
    let (before, after) = (by_row(&[VISITOR, PAGE]), by_row(&[VISITOR, PAGE, AT]));
    push(&lake, &before, &[r#"{"visitor":1,"page":"a"}"#]).await.unwrap();
    let both = [
        r#"{"visitor":1,"page":"a"}"#,
        r#"{"visitor":1,"page":"a","at":1}"#,
        r#"{"visitor":1,"page":"a","at":2}"#,
    ];
    assert_eq!(counts(&lake, &after, &both).await, [3, 1, 1, 1]);
    assert_eq!(rows(&lake, &after).await, ["1 a 1", "1 a 2"]);
}

#[tokio::test]
async fn a_replaced_row_does_not_come_back() {
    let (store, lake) = lake();
    let contracts = [&[VISITOR, PAGE][..], &[VISITOR, PAGE, AT], &[VISITOR, PAGE, AT, REFERRER]].map(by_row);
    let first = r#"{"visitor":1,"page":"a"}"#;
    let second = r#"{"visitor":1,"page":"a","at":1}"#;
    let third = r#"{"visitor":1,"page":"a","at":1,"referrer":"x"}"#;
    push(&lake, &contracts[0], &[first]).await.unwrap();
    assert_eq!(counts(&lake, &contracts[1], &[second]).await, [1, 0, 1, 0]);
    assert_eq!(counts(&lake, &contracts[1], &[first]).await, [1, 0, 0, 1]);
    // By another process, under a third contract, and after a merge.
    let lake = Lake::new(store.clone(), env(2));
    assert_eq!(counts(&lake, &contracts[2], &[first]).await, [1, 0, 0, 1]);
    assert_eq!(counts(&lake, &contracts[2], &[third, second, first]).await, [3, 0, 1, 2]);
    lake.table(contracts[2].contract("visit").unwrap()).merge_small_files(1).await.unwrap();
    assert_eq!(counts(&lake, &contracts[2], &[second, first]).await, [2, 0, 0, 2]);
    // Rolled back.
    for contract in contracts.iter().rev() {
        assert_eq!(counts(&lake, contract, &[first, second, third]).await, [3, 0, 0, 3]);
    }
    assert_eq!(rows(&lake, &contracts[2]).await, ["1 a 1 x"]);
    // The keys of replaced rows are nowhere else, so their loss is an error.
    let folder = Path::from("tables/visit/_pinlake_replaced");
    let files: Vec<_> = store.list(Some(&folder)).try_collect().await.unwrap();
    for file in files.iter().filter(|file| file.location.extension() == Some("keys")) {
        store.delete(&file.location).await.unwrap();
    }
    let error = push(&Lake::new(store, env(3)), &contracts[2], &[first]).await.unwrap_err();
    assert!(
        matches!(error, LakeError::Damaged { .. }) && error.to_string().contains("it is missing"),
        "{error}"
    );
}

#[tokio::test]
async fn keys_of_many_replacements_are_merged() {
    let (store, lake) = lake();
    let (before, after) = (by_row(&[VISITOR, PAGE]), by_row(&[VISITOR, PAGE, AT]));
    let record = |visitor: u32| format!("{{\"visitor\":{visitor},\"page\":\"a\"}}");
    let all: Vec<String> = (0..40).map(record).collect();
    let all: Vec<&str> = all.iter().map(String::as_str).collect();
    push(&lake, &before, &all).await.unwrap();
    for visitors in 0..20 {
        let fuller = |visitor: u32| record(visitor).replace('}', ",\"at\":1}");
        let fuller = [fuller(2 * visitors), fuller(2 * visitors + 1)];
        assert_eq!(counts(&lake, &after, &fuller.each_ref().map(String::as_str)).await, [2, 0, 2, 0]);
    }
    assert_eq!(counts(&lake, &after, &all).await, [40, 0, 0, 40]);
    let lake = Lake::new(store, env(2));
    assert_eq!(counts(&lake, &after, &all).await, [40, 0, 0, 40], "by another process");
    assert_eq!(rows(&lake, &after).await.len(), 40);
}

/// Whatever the order, the batches and the processes: a row that was there before the change is extended once, by one record or another.
#[tokio::test]
async fn any_order_of_fuller_records_has_the_same_rows() {
    for seed in 0..60 {
        let rng = pinlake_env::Rng::seeded(seed);
        let draw = |below: usize| rng.below(below) as u64;
        let (store, mut lake) = self::lake();
        let (before, after) = (by_row(&[VISITOR, PAGE]), by_row(&[VISITOR, PAGE, AT]));
        let record = |visitor: u64, at: u64| match at {
            0 => format!("{{\"visitor\":{visitor},\"page\":\"a\"}}"),
            at => format!("{{\"visitor\":{visitor},\"page\":\"a\",\"at\":{at}}}"),
        };
        let old: Vec<String> = (0..6).map(|visitor| record(visitor, 0)).collect();
        push(&lake, &before, &old.iter().map(String::as_str).collect::<Vec<_>>()).await.unwrap();
        let mut expected: std::collections::BTreeSet<(u64, u64)> =
            (0..6).map(|visitor| (visitor, 0)).collect();
        for step in 0..12 {
            let sent: Vec<(u64, u64)> = (0..1 + draw(4)).map(|_| (draw(6), draw(3))).collect();
            let texts: Vec<String> = sent.iter().map(|(visitor, at)| record(*visitor, *at)).collect();
            let texts: Vec<&str> = texts.iter().map(String::as_str).collect();
            push(&lake, &after, &texts).await.unwrap();
            for (visitor, at) in sent.into_iter().filter(|(_, at)| *at > 0) {
                expected.remove(&(visitor, 0));
                expected.insert((visitor, at));
            }
            if draw(3) == 0 {
                lake = Lake::new(store.clone(), env(100 * seed + step));
            }
            if draw(3) == 0 {
                lake.table(after.contract("visit").unwrap()).merge_small_files(2).await.unwrap();
            }
            let text = |(visitor, at): &(u64, u64)| match at {
                0 => format!("{visitor} a "),
                at => format!("{visitor} a {at}"),
            };
            assert_eq!(
                rows(&lake, &after).await,
                expected.iter().map(text).collect::<Vec<_>>(),
                "seed {seed}"
            );
        }
    }
}

#[tokio::test]
async fn two_records_that_extend_one_row_replace_it_once() {
    let (_, lake) = lake();
    let (before, after) = (by_row(&[VISITOR, PAGE]), by_row(&[VISITOR, PAGE, AT]));
    push(&lake, &before, &[r#"{"visitor":1,"page":"a"}"#]).await.unwrap();
    let both = [r#"{"visitor":1,"page":"a","at":1}"#, r#"{"visitor":1,"page":"a","at":2}"#];
    assert_eq!(counts(&lake, &after, &both).await, [2, 1, 1, 0]);
    assert_eq!(rows(&lake, &after).await, ["1 a 1", "1 a 2"]);
}

#[tokio::test]
async fn columns_are_added_one_after_the_other() {
    let (_, lake) = lake();
    let catalogs = [
        by_row(&[VISITOR]),
        by_row(&[PAGE, VISITOR]),
        by_row(&[PAGE, AT, VISITOR]),
        by_row(&[VISITOR, PAGE, AT, REFERRER]),
    ];
    let record = r#"{"visitor":1,"page":"a","at":7,"referrer":"x"}"#;
    let other = r#"{"visitor":2}"#;
    for (at, catalog) in catalogs.iter().enumerate() {
        let expected = if at == 0 { [2, 2, 0, 0] } else { [2, 0, 1, 1] };
        assert_eq!(counts(&lake, catalog, &[record, other]).await, expected, "{at}");
        assert_eq!(counts(&lake, catalog, &[record, other]).await, [2, 0, 0, 2], "{at}, again");
    }
    assert_eq!(rows(&lake, &catalogs[3]).await, ["1 a 7 x", "2   "]);
}

#[tokio::test]
async fn the_order_of_columns_does_not_matter() {
    let (_, lake) = lake();
    let (before, after) = (by_row(&[VISITOR, PAGE]), by_row(&[PAGE, VISITOR]));
    let record = r#"{"visitor":1,"page":"a"}"#;
    assert_eq!(counts(&lake, &before, &[record]).await, [1, 1, 0, 0]);
    assert_eq!(counts(&lake, &after, &[record, r#"{"visitor":2,"page":"b"}"#]).await, [2, 1, 0, 1]);
    assert_eq!(counts(&lake, &before, &[record]).await, [1, 0, 0, 1], "and back");
    assert_eq!(rows(&lake, &before).await, ["1 a", "2 b"]);
}

#[tokio::test]
async fn a_relaxed_column_keeps_the_keys() {
    let (_, lake) = lake();
    let relaxed = VISITOR.replace("required = true\n", "");
    let (before, after) = (by_row(&[VISITOR, PAGE]), by_row(&[&relaxed, PAGE]));
    let record = r#"{"visitor":1,"page":"a"}"#;
    push(&lake, &before, &[record]).await.unwrap();
    assert_eq!(counts(&lake, &after, &[record, r#"{"page":"a"}"#]).await, [2, 1, 0, 1]);
}

#[tokio::test]
async fn columns_outside_the_identity_come_and_go() {
    let (_, lake) = lake();
    let identity = "identity = [\"visitor\"]";
    let (few, more) = (catalog(identity, &[VISITOR, PAGE]), catalog(identity, &[VISITOR, AT, PAGE]));
    push(&lake, &few, &[r#"{"visitor":1,"page":"a","at":1}"#]).await.unwrap();
    // The first row of a key stays.
    let records = [r#"{"visitor":1,"page":"a","at":1}"#, r#"{"visitor":2,"page":"a","at":2}"#];
    assert_eq!(counts(&lake, &more, &records).await, [2, 1, 0, 1]);
    assert_eq!(counts(&lake, &few, &[r#"{"visitor":3,"page":"a"}"#]).await, [1, 1, 0, 0], "rolled back");
    assert_eq!(rows(&lake, &more).await, ["1  a", "2 2 a", "3  a"]);
}

#[tokio::test]
async fn a_merge_keeps_columns_and_epochs() {
    let (_, lake) = lake();
    let (before, after) = (by_row(&[VISITOR, PAGE]), by_row(&[VISITOR, PAGE, AT]));
    for visitor in 0..3 {
        push(&lake, &before, &[&format!("{{\"visitor\":{visitor},\"page\":\"a\"}}")]).await.unwrap();
    }
    for visitor in 10..13 {
        push(&lake, &after, &[&format!("{{\"visitor\":{visitor},\"page\":\"a\",\"at\":1}}")]).await.unwrap();
    }
    let table = lake.table(after.contract("visit").unwrap());
    assert_eq!(table.merge_small_files(2).await.unwrap(), 3, "only the files of the present epoch");
    let before_merge = ["0 a ", "1 a ", "10 a 1", "11 a 1", "12 a 1", "2 a "];
    assert_eq!(rows(&lake, &after).await, before_merge);
    assert_eq!(counts(&lake, &after, &[r#"{"visitor":2,"page":"a","at":5}"#]).await, [1, 0, 1, 0]);
    assert_eq!(counts(&lake, &after, &[r#"{"visitor":12,"page":"a","at":1}"#]).await, [1, 0, 0, 1]);
}

/// A function with the new contract merges before any row of it is inserted.
#[tokio::test]
async fn a_merge_adds_no_columns() {
    let (store, lake) = lake();
    let identity = "identity = [\"visitor\"]";
    let (few, more) = (catalog(identity, &[VISITOR, PAGE]), catalog(identity, &[VISITOR, AT, PAGE]));
    for visitor in 0..3 {
        push(&lake, &few, &[&format!("{{\"visitor\":{visitor}}}")]).await.unwrap();
    }
    let table = lake.table(more.contract("visit").unwrap());
    assert_eq!(table.merge_small_files(2).await.unwrap(), 3);
    let pinned = table.pin().await.unwrap();
    let bytes = store.get(&pinned.files[0].path).await.unwrap().bytes().await.unwrap();
    let file = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
    let columns =
        |schema: &Schema| schema.fields().iter().map(|field| field.name().clone()).collect::<Vec<_>>();
    assert_eq!(columns(file.schema()), ["visitor", "page"]);
    assert_eq!(columns(&pinned.schema), ["visitor", "page"]);
}

#[tokio::test]
async fn lost_key_files_are_rebuilt_after_a_change() {
    let (store, lake) = lake();
    let (before, after) = (by_row(&[VISITOR, PAGE]), by_row(&[VISITOR, PAGE, AT]));
    let old = r#"{"visitor":1,"page":"a","at":1}"#;
    let new = r#"{"visitor":2,"page":"a","at":1}"#;
    push(&lake, &before, &[old]).await.unwrap();
    push(&lake, &after, &[new]).await.unwrap();
    let folder = Path::from("tables/visit/_pinlake_keys");
    let keys: Vec<_> = store.list(Some(&folder)).try_collect().await.unwrap();
    for meta in keys {
        store.delete(&meta.location).await.unwrap();
    }
    let lake = Lake::new(store, env(3));
    assert_eq!(counts(&lake, &after, &[old, new]).await, [2, 0, 1, 1]);
    assert_eq!(rows(&lake, &after).await, ["1 a 1", "2 a 1"]);
}

/// A function that was not replaced yet still has the contract from before, or it was rolled back.
#[tokio::test]
async fn an_older_contract_recognises_rows_of_a_newer_one() {
    let (store, lake) = lake();
    let (before, after) = (by_row(&[VISITOR, PAGE]), by_row(&[VISITOR, PAGE, AT]));
    push(&lake, &before, &[r#"{"visitor":1,"page":"a"}"#]).await.unwrap();
    push(&lake, &after, &[r#"{"visitor":2,"page":"a","at":1}"#]).await.unwrap();
    let late = Lake::new(store, env(2));
    // Rows that were cleaned before the newer contract was in the history do not say under which key it knows them.
    let cleaned = clean(&before, "visit", &[r#"{"visitor":2,"page":"a","at":1}"#]).remove(0);
    let error = late.insert(&before, &cleaned.contract, &[cleaned.rows]).await.unwrap_err();
    assert!(matches!(error, LakeError::KeysMissing { .. }) && error.is_retryable(), "{error}");
    assert_eq!(rows(&lake, &after).await, ["1 a ", "2 a 1"]);
    let records = [
        r#"{"visitor":1,"page":"a"}"#,
        r#"{"visitor":2,"page":"a","at":1}"#,
        r#"{"visitor":3,"page":"a","at":2}"#,
    ];
    assert_eq!(counts(&late, &before, &records).await, [3, 1, 0, 2]);
    assert_eq!(rows(&lake, &after).await, ["1 a ", "2 a 1", "3 a "]);
    assert_eq!(counts(&late, &after, &records).await, [3, 0, 1, 2]);
    assert_eq!(rows(&lake, &after).await, ["1 a ", "2 a 1", "3 a 2"]);
}

#[tokio::test]
async fn a_record_is_not_in_quarantine_beside_its_row_of_an_earlier_epoch() {
    let (_, lake) = lake();
    let (before, after) = (by_row(&[VISITOR, PAGE]), by_row(&[VISITOR, PAGE, AT]));
    // The new contract rejects the record that the old one accepted.
    let record = r#"{"visitor":1,"page":"a","at":"x"}"#;
    push(&lake, &before, &[record]).await.unwrap();
    push(&lake, &after, &[r#"{"visitor":2,"page":"a","at":1}"#]).await.unwrap();
    push(&lake, &after, &[record]).await.unwrap();
    let quarantine = lake.table(after.quarantine());
    let mut unresolved = 0;
    for file in quarantine.data_files().await.unwrap() {
        for batch in quarantine.read_file(&file).await.unwrap() {
            unresolved += batch.column_by_name("resolved_at").unwrap().null_count();
        }
    }
    assert_eq!(unresolved, 0);
}

/// Each rule of a column in the key: the records, the table under the rule from before, and after all records came again under the new one.
#[tokio::test]
async fn records_are_known_after_a_rule_of_their_key_has_changed() {
    let home = "{\"visitor\":1,\"page\":\"NA\",\"url\":\"u\"}";
    type Case = (&'static str, &'static str, &'static [&'static str], [u64; 4], &'static [&'static str]);
    let cases: [Case; 6] = [
        ("", "null = [\"NA\"]", &["1 NA"], [2, 1, 0, 1], &["1 NA", "2 b"]),
        ("null = [\"NA\"]", "", &["1 "], [2, 1, 1, 0], &["1 NA", "2 b"]),
        ("", "from = [\"url\", \"page\"]", &["1 NA"], [2, 1, 0, 1], &["1 NA", "2 b"]),
        ("from = \"none\"", "from = [\"none\", \"url\"]", &["1 "], [2, 1, 1, 0], &["1 u", "2 "]),
        ("", "case = \"lower\"", &["1 NA"], [2, 1, 0, 1], &["1 NA", "2 b"]),
        ("", "remove_suffix = \"A\"", &["1 NA"], [2, 1, 0, 1], &["1 NA", "2 b"]),
    ];
    for (rule, changed, first, expected, last) in cases {
        let (store, lake) = lake();
        let page = |rule: &str| format!("{PAGE}{rule}\n");
        let (before, after) = (by_row(&[VISITOR, &page(rule)]), by_row(&[VISITOR, &page(changed)]));
        push(&lake, &before, &[home]).await.unwrap();
        assert_eq!(rows(&lake, &before).await, first, "{changed}");
        let lake = Lake::new(store.clone(), env(2));
        let records = [home, r#"{"visitor":2,"page":"b"}"#];
        assert_eq!(counts(&lake, &after, &records).await, expected, "{changed}");
        assert_eq!(rows(&lake, &after).await, last, "{changed}");
        assert_eq!(counts(&lake, &after, &records).await, [2, 0, 0, 2], "{changed}, again");
        // By another process, without key files, and back under the rule from before.
        let folder = Path::from("tables/visit/_pinlake_keys");
        for meta in store.list(Some(&folder)).try_collect::<Vec<_>>().await.unwrap() {
            store.delete(&meta.location).await.unwrap();
        }
        let lake = Lake::new(store, env(3));
        assert_eq!(counts(&lake, &after, &records).await, [2, 0, 0, 2], "{changed}, keys lost");
        let back = counts(&lake, &before, &records).await;
        assert_eq!((back[0], back[1], back[2] + back[3]), (2, 0, 2), "{changed}, back");
    }
}

/// A record whose values under the changed rule are those of a row from before is that row.
#[tokio::test]
async fn a_rule_that_changes_makes_no_second_row_with_the_same_values() {
    let cases = [
        ("case = \"lower\"", r#"{"visitor":1,"page":"X"}"#),
        ("trim = true", r#"{"visitor":1,"page":"x "}"#),
        ("remove_prefix = \"p\"", r#"{"visitor":1,"page":"px"}"#),
        ("default = \"x\"", r#"{"visitor":1}"#),
        ("from = [\"page\", \"url\"]", r#"{"visitor":1,"url":"x"}"#),
    ];
    for identity in ["", "identity = [\"visitor\", \"page\"]"] {
        for (rule, record) in cases {
            let (_, lake) = lake();
            let page = format!("{PAGE}{rule}\n");
            let (before, after) = (catalog(identity, &[VISITOR, PAGE]), catalog(identity, &[VISITOR, &page]));
            push(&lake, &before, &[r#"{"visitor":1,"page":"x"}"#]).await.unwrap();
            for _ in 0..2 {
                assert_eq!(counts(&lake, &after, &[record]).await, [1, 0, 0, 1], "{identity} {rule}");
            }
            assert_eq!(rows(&lake, &after).await, ["1 x"], "{identity} {rule}");
            push(&lake, &before, &[r#"{"visitor":1,"page":"x"}"#]).await.unwrap();
            assert_eq!(rows(&lake, &after).await, ["1 x"], "{identity} {rule}, back");
        }
    }
}

/// With an identity of columns the first row stays, and with it the values of the other columns.
#[tokio::test]
async fn a_changed_rule_replaces_no_row_of_an_identity_of_columns() {
    for rule in ["default = \"x\"", "from = [\"page\", \"url\"]"] {
        let (_, lake) = lake();
        let identity = "identity = [\"visitor\", \"page\"]";
        let page = format!("{PAGE}{rule}\n");
        let (before, after) =
            (catalog(identity, &[VISITOR, PAGE, AT]), catalog(identity, &[VISITOR, &page, AT]));
        push(&lake, &before, &[r#"{"visitor":1,"at":5}"#]).await.unwrap();
        let record = r#"{"visitor":1,"url":"x","at":7}"#;
        assert_eq!(counts(&lake, &after, &[record]).await, [1, 0, 0, 1], "{rule}");
        assert_eq!(rows(&lake, &after).await, ["1  5"], "{rule}");
    }
}

/// Each of two records has a row from before, and both are one row now.
#[tokio::test]
async fn two_records_that_become_equal_replace_one_row() {
    let page = format!("{PAGE}case = \"lower\"\n");
    let (before, after) = (by_row(&[VISITOR, PAGE]), by_row(&[VISITOR, &page, AT]));
    for pages in [["x", "X"], ["X", "x"]] {
        let (_, lake) = lake();
        let old = pages.map(|page| format!("{{\"visitor\":1,\"page\":\"{page}\"}}"));
        let new = pages.map(|page| format!("{{\"visitor\":1,\"page\":\"{page}\",\"at\":7}}"));
        push(&lake, &before, &old.each_ref().map(String::as_str)).await.unwrap();
        let new = new.each_ref().map(String::as_str);
        assert_eq!(counts(&lake, &after, &new).await, [2, 0, 1, 1], "{pages:?}");
        assert_eq!(counts(&lake, &after, &new).await, [2, 0, 0, 2], "{pages:?}, again");
        assert_eq!(rows(&lake, &after).await.len(), 2, "{pages:?}");
    }
    // In one batch the record that has a row from before takes its place, wherever it stands.
    let page = format!("{PAGE}from = [\"page\", \"url\"]\n");
    let (before, after) = (by_row(&[VISITOR, PAGE]), by_row(&[VISITOR, &page]));
    let (fuller, new) = (r#"{"visitor":1,"url":"q"}"#, r#"{"visitor":1,"page":"q"}"#);
    for batch in [[fuller, new], [new, fuller]] {
        let (_, lake) = lake();
        push(&lake, &before, &[r#"{"visitor":1}"#]).await.unwrap();
        assert_eq!(counts(&lake, &after, &batch).await, [2, 0, 1, 1], "{batch:?}");
        assert_eq!(rows(&lake, &after).await, ["1 q"], "{batch:?}");
    }
}

/// Records that are equal under the present rules, and were not under those from before, in any order and in one batch or several.
#[tokio::test]
async fn records_that_a_rule_makes_equal_are_known_each_by_its_own_key() {
    let page = format!("{PAGE}case = \"lower\"\n");
    let (before, after) = (by_row(&[VISITOR, PAGE]), by_row(&[VISITOR, &page]));
    let (upper, lower) = (r#"{"visitor":1,"page":"X"}"#, r#"{"visitor":1,"page":"x"}"#);
    for batches in
        [&[&[upper, lower][..]][..], &[&[lower, upper]], &[&[upper], &[lower]], &[&[lower], &[upper]]]
    {
        let (_, lake) = lake();
        push(&lake, &before, &[upper]).await.unwrap();
        for batch in batches.iter().chain(batches) {
            push(&lake, &after, batch).await.unwrap();
        }
        assert_eq!(rows(&lake, &after).await, ["1 X", "1 x"], "{batches:?}");
    }
}

#[tokio::test]
async fn columns_of_the_key_become_fractional_or_are_dropped() {
    let (store, lake) = lake();
    let wide = QUANTITY.replace("int64", "float64");
    let catalogs =
        [by_row(&[VISITOR, QUANTITY, PAGE]), by_row(&[VISITOR, &wide, PAGE]), by_row(&[VISITOR, &wide])];
    let records = [r#"{"visitor":1,"quantity":2,"page":"a"}"#, r#"{"visitor":1,"quantity":2,"page":"b"}"#];
    assert_eq!(counts(&lake, &catalogs[0], &records).await, [2, 2, 0, 0]);
    let more = [records[0], records[1], r#"{"visitor":1,"quantity":1.5}"#];
    assert_eq!(counts(&lake, &catalogs[1], &more).await, [3, 1, 0, 2]);
    assert_eq!(rows(&lake, &catalogs[1]).await, ["1 1.5 ", "1 2.0 a", "1 2.0 b"]);
    // Without the column, which stays in the table until it is rebuilt.
    let lake = Lake::new(store, env(2));
    assert_eq!(counts(&lake, &catalogs[2], &more).await, [3, 0, 0, 3]);
    assert_eq!(rows(&lake, &catalogs[1]).await, ["1 1.5 ", "1 2.0 a", "1 2.0 b"]);
    lake.rebuild(&catalogs[2], catalogs[2].contract("visit").unwrap(), |_| {}).await.unwrap();
    assert_eq!(rows(&lake, &catalogs[2]).await, ["1 1.5", "1 2.0"]);
    assert_eq!(counts(&lake, &catalogs[2], &more).await, [3, 0, 0, 3]);
}

/// Another identity is another set of rows, and the latest record is known by the present identity alone.
#[tokio::test]
async fn identities_that_change_are_refused() {
    let latest = "identity = [\"page\"]\nkeep = { latest_by = [\"at\"] }";
    let page = format!("{PAGE}required = true\n");
    let (plain, lower) = (page.clone(), format!("{page}case = \"lower\"\n"));
    for (before, after) in [
        (by_row(&[VISITOR, PAGE]), catalog("identity = [\"visitor\"]", &[VISITOR, PAGE])),
        (catalog(latest, &[AT, &plain]), catalog(latest, &[AT, &lower])),
    ] {
        let (_, lake) = self::lake();
        let record = r#"{"visitor":1,"page":"NA","at":1}"#;
        push(&lake, &before, &[record]).await.unwrap();
        let error = push(&lake, &after, &[record]).await.unwrap_err();
        assert!(matches!(error, LakeError::IdentityChanged { .. }), "{error}");
    }
}

#[tokio::test]
async fn types_that_do_not_fit_are_refused() {
    let other_type = catalog("identity = [\"visitor\"]", &[VISITOR, &PAGE.replace("string", "int64")]);
    let by_visitor = catalog("identity = [\"visitor\"]", &[VISITOR, PAGE]);
    let (_, lake) = self::lake();
    push(&lake, &by_visitor, &[r#"{"visitor":1,"page":"a"}"#]).await.unwrap();
    let error = push(&lake, &other_type, &[r#"{"visitor":1,"page":1}"#]).await.unwrap_err();
    assert!(
        error.to_string().contains("column page is string in the table and int64 in the contract"),
        "{error}"
    );
}

/// Two writers add the column at the same time, and two replace the same row.
#[tokio::test(start_paused = true)]
async fn writers_that_evolve_a_table_at_the_same_time_agree() {
    for version in [2, 3] {
        let inner = Arc::new(InMemory::new());
        let (before, after) = (by_row(&[VISITOR, PAGE]), by_row(&[VISITOR, PAGE, AT]));
        let record = r#"{"visitor":1,"page":"a","at":1}"#;
        push(&Lake::new(inner.clone(), env(1)), &before, &[record]).await.unwrap();
        let store = Arc::new(FaultyStore::at_version(version, inner.clone()));
        let (other, catalog) = (Lake::new(inner.clone(), env(2)), after.clone());
        store.inject(Fault::Conflict(Box::pin(async move {
            push(&other, &catalog, &[record]).await.unwrap();
        })));
        let lake = Lake::new(store.clone(), env(3));
        let done = push(&lake, &after, &[record, r#"{"visitor":2,"page":"a"}"#]).await.unwrap();
        assert!(store.has_fired());
        assert_eq!((done.inserted, done.superseded, done.duplicates), (1, 0, 1), "version {version}");
        assert_eq!(rows(&lake, &after).await, ["1 a 1", "2 a "]);
    }
}

const QUANTITY: &str = "[[column]]\nname = \"quantity\"\ntype = \"int64\"\n";
const BY_VISITOR: &str = "identity = [\"visitor\"]";

fn narrow(columns: &str) -> String {
    columns.replace("int64", "int32")
}

#[tokio::test]
async fn a_wider_type_keeps_rows_and_keys() {
    let (store, lake) = lake();
    let (before, after) = (by_row(&[&narrow(VISITOR), PAGE]), by_row(&[VISITOR, PAGE, AT]));
    let (first, second) = (r#"{"visitor":1,"page":"a"}"#, r#"{"visitor":2,"page":"a","at":3}"#);
    push(&lake, &before, &[first]).await.unwrap();
    push(&lake, &before, &[second]).await.unwrap();
    let lake = Lake::new(store.clone(), env(2));
    let large = r#"{"visitor":3000000000,"page":"b"}"#;
    assert_eq!(counts(&lake, &after, &[first, second, large]).await, [3, 1, 1, 1]);
    assert_eq!(rows(&lake, &after).await, ["1 a ", "2 a 3", "3000000000 b "]);
    // Another process, from the log alone; and a merge.
    let lake = Lake::new(store.clone(), env(3));
    assert_eq!(counts(&lake, &after, &[first, second, large]).await, [3, 0, 0, 3]);
    lake.table(after.contract("visit").unwrap()).merge_small_files(2).await.unwrap();
    assert_eq!(rows(&lake, &after).await, ["1 a ", "2 a 3", "3000000000 b "]);
    // The types of the files are those of the log, as the protocol requires.
    let pinned = lake.table(after.contract("visit").unwrap()).pin().await.unwrap();
    for file in pinned.files {
        let bytes = store.get(&file.path).await.unwrap().bytes().await.unwrap();
        let file = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
        let own = file.schema().field_with_name("visitor").unwrap().data_type().clone();
        assert_eq!(&own, pinned.schema.field_with_name("visitor").unwrap().data_type());
    }
    // A function that was not replaced yet is refused, and keeps its rows.
    let error = push(&lake, &before, &[r#"{"visitor":9,"page":"a"}"#]).await.unwrap_err();
    assert!(matches!(error, LakeError::SchemaChanged { .. } | LakeError::IdentityChanged { .. }), "{error}");
}

#[tokio::test]
async fn quantities_become_fractional() {
    let (store, lake) = lake();
    let wide = QUANTITY.replace("int64", "float64");
    let before = catalog(BY_VISITOR, &[VISITOR, QUANTITY]);
    let after = catalog(BY_VISITOR, &[VISITOR, PAGE, &wide]);
    let old = [
        r#"{"visitor":1,"quantity":2}"#,
        r#"{"visitor":2,"quantity":-9007199254740992}"#,
        r#"{"visitor":3}"#,
    ];
    push(&lake, &before, &old).await.unwrap();
    let commits = lake.table(before.contract("visit").unwrap()).list_commits(1).await.unwrap();
    let new = [old[0], r#"{"visitor":4,"quantity":1.5,"page":"a"}"#];
    assert_eq!(counts(&lake, &after, &new).await, [2, 1, 0, 1]);
    assert_eq!(rows(&lake, &after).await, ["1  2.0", "2  -9007199254740992.0", "3  ", "4 a 1.5"]);
    // What the log says of the change.
    let table = lake.table(after.contract("visit").unwrap());
    let widened = table.read_commit(commits[0].version + 1).await.unwrap().unwrap();
    assert_eq!(widened.operation.as_deref(), Some("CHANGE COLUMN"));
    assert!(widened.changes_table && (widened.files_added, widened.files_removed) == (1, 1), "{widened:?}");
    // The version before stays readable in its own type.
    let earlier = table.pin_as_of(crate::AsOf::Version(commits[0].version)).await.unwrap();
    assert_eq!(earlier.schema.field_with_name("quantity").unwrap().data_type(), &DataType::Int64);
    let bytes = store.get(&earlier.files[0].path).await.unwrap().bytes().await.unwrap();
    assert_eq!(
        ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().schema().field(1).data_type(),
        &DataType::Int64
    );
}

#[tokio::test]
async fn amounts_become_decimals_with_more_digits() {
    let (store, lake) = lake();
    let decimal = |precision, scale| QUANTITY.replace("int64", &format!("decimal({precision},{scale})"));
    let catalogs = [
        catalog(BY_VISITOR, &[VISITOR, &narrow(QUANTITY)]),
        catalog(BY_VISITOR, &[VISITOR, &decimal(12, 2)]),
        catalog(BY_VISITOR, &[VISITOR, &decimal(38, 10)]),
    ];
    push(&lake, &catalogs[0], &[r#"{"visitor":1,"quantity":-2147483648}"#, r#"{"visitor":2}"#])
        .await
        .unwrap();
    push(&lake, &catalogs[1], &[r#"{"visitor":3,"quantity":"9999999999.99"}"#]).await.unwrap();
    assert_eq!(rows(&lake, &catalogs[1]).await, ["1 -2147483648.00", "2 ", "3 9999999999.99"]);
    // Another process reads the statistics in the log; and a merge.
    let lake = Lake::new(store.clone(), env(2));
    let wide = r#"{"visitor":4,"quantity":1234567890123456789012345678.0123456789}"#;
    assert_eq!(counts(&lake, &catalogs[2], &[wide, r#"{"visitor":3}"#]).await, [2, 1, 0, 1]);
    lake.table(catalogs[2].contract("visit").unwrap()).merge_small_files(2).await.unwrap();
    let expected = [
        "1 -2147483648.0000000000",
        "2 ",
        "3 9999999999.9900000000",
        "4 1234567890123456789012345678.0123456789",
    ];
    assert_eq!(rows(&Lake::new(store.clone(), env(3)), &catalogs[2]).await, expected);
    // A narrower decimal.
    push(&lake, &catalogs[1], &[r#"{"visitor":9,"quantity":1}"#]).await.unwrap_err();
}

#[tokio::test]
async fn decimals_of_the_key_become_wider_and_rows_stay_known() {
    let (_, lake) = lake();
    let decimal = |precision, scale| QUANTITY.replace("int64", &format!("decimal({precision},{scale})"));
    let (before, after) = (by_row(&[VISITOR, &decimal(9, 2)]), by_row(&[VISITOR, &decimal(20, 5)]));
    let records = [r#"{"visitor":1,"quantity":1.50}"#, r#"{"visitor":1,"quantity":-2}"#];
    assert_eq!(counts(&lake, &before, &records).await, [2, 2, 0, 0]);
    let again =
        [records[0], records[1], r#"{"visitor":1,"quantity":"1.5"}"#, r#"{"visitor":1,"quantity":1.00001}"#];
    assert_eq!(counts(&lake, &after, &again).await, [4, 1, 0, 3]);
    assert_eq!(rows(&lake, &after).await, ["1 -2.00000", "1 1.00001", "1 1.50000"]);
}

#[tokio::test]
async fn a_derived_column_is_added_and_a_rebuild_computes_it() {
    const TIME: &str = "[[column]]\nname = \"time\"\ntype = \"timestamp\"\n";
    const DAY: &str = "[[column]]\nname = \"day\"\ntype = \"date\"\nderive = \"date(time)\"\n";
    const YEAR: &str = "[[column]]\nname = \"year\"\ntype = \"int32\"\nderive = \"year(time)\"\n";
    let (store, lake) = lake();
    let (before, after) = (by_row(&[VISITOR, TIME]), by_row(&[VISITOR, DAY, TIME, YEAR]));
    let (first, second) =
        (r#"{"visitor":1,"time":"2020-01-01 23:59:59"}"#, r#"{"visitor":2,"time":"2021-03-01 00:00:00"}"#);
    push(&lake, &before, &[first, r#"{"visitor":3}"#]).await.unwrap();
    assert_eq!(counts(&lake, &after, &[first, second]).await, [2, 1, 0, 1], "keys do not change");
    let rows_after = ["1  2020-01-01T23:59:59Z ", "2 2021-03-01 2021-03-01T00:00:00Z 2021", "3   "];
    assert_eq!(rows(&lake, &after).await, rows_after);
    // One key epoch: files of both contracts are merged, and their keys are found.
    let lake = Lake::new(store.clone(), env(2));
    assert_eq!(counts(&lake, &after, &[first, second]).await, [2, 0, 0, 2]);
    lake.table(after.contract("visit").unwrap()).merge_small_files(2).await.unwrap();
    assert_eq!(rows(&lake, &after).await, rows_after);
    lake.rebuild(&after, after.contract("visit").unwrap(), |_| {}).await.unwrap();
    let rebuilt =
        ["1 2020-01-01 2020-01-01T23:59:59Z 2020", "2 2021-03-01 2021-03-01T00:00:00Z 2021", "3   "];
    assert_eq!(rows(&lake, &after).await, rebuilt);
    assert_eq!(counts(&lake, &after, &[first, second]).await, [2, 0, 0, 2]);
}

#[tokio::test]
async fn values_that_a_wider_type_would_change_stop_the_change() {
    let (_, lake) = lake();
    let wide = QUANTITY.replace("int64", "float64");
    let before = catalog(BY_VISITOR, &[VISITOR, QUANTITY]);
    let after = catalog(BY_VISITOR, &[VISITOR, &wide]);
    push(&lake, &before, &[r#"{"visitor":1,"quantity":9007199254740993}"#]).await.unwrap();
    let error = push(&lake, &after, &[r#"{"visitor":2,"quantity":1.5}"#]).await.unwrap_err().to_string();
    assert!(error.contains("column quantity is int64 in the table and float64 in the contract"), "{error}");
    assert_eq!(rows(&lake, &before).await, ["1 9007199254740993"]);
    // A narrower type.
    let (_, lake) = self::lake();
    let after = catalog(BY_VISITOR, &[VISITOR, &narrow(QUANTITY)]);
    push(&lake, &before, &[r#"{"visitor":1,"quantity":1}"#]).await.unwrap();
    push(&lake, &after, &[r#"{"visitor":1,"quantity":1}"#]).await.unwrap_err();
    assert_eq!(rows(&lake, &before).await, ["1 1"]);
}

/// Another writer inserts under the older contract, or widens first, while the files are rewritten.
#[tokio::test(start_paused = true)]
async fn writers_that_widen_a_table_at_the_same_time_agree() {
    for other_widens in [false, true] {
        let inner = Arc::new(InMemory::new());
        let (before, after) = (by_row(&[&narrow(VISITOR), PAGE]), by_row(&[VISITOR, PAGE]));
        push(&Lake::new(inner.clone(), env(1)), &before, &[r#"{"visitor":1,"page":"a"}"#]).await.unwrap();
        let store = Arc::new(FaultyStore::at_version(2, inner.clone()));
        let other = Lake::new(inner.clone(), env(2));
        let catalog = if other_widens { after.clone() } else { before.clone() };
        store.inject(Fault::Conflict(Box::pin(async move {
            push(&other, &catalog, &[r#"{"visitor":2,"page":"a"}"#]).await.unwrap();
        })));
        let lake = Lake::new(store.clone(), env(3));
        let records =
            [r#"{"visitor":1,"page":"a"}"#, r#"{"visitor":2,"page":"a"}"#, r#"{"visitor":3,"page":"a"}"#];
        assert_eq!(counts(&lake, &after, &records).await, [3, 1, 0, 2]);
        assert!(store.has_fired());
        assert_eq!(rows(&lake, &after).await, ["1 a", "2 a", "3 a"]);
    }
}
