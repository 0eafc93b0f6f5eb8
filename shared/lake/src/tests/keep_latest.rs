//! Tests of tables that keep the latest record of an identity.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::Array;
use futures::TryStreamExt;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_clean::{CleanedRows, Disposition, Position, RecordCleaner, RecordOrigin};
use pinlake_env::{Env, ManualClock, Rng};
use pinlake_schema::Catalog;

use crate::quarantine::RESOLVED_AT;
use crate::tests::support::{Fault, FaultyStore, clean, env, text_rows};
use crate::{InsertSummary, Lake, LakeError};

const COLUMNS: &str = "[[column]]\nname = \"id\"\ntype = \"int64\"\nrequired = true\n\
                       [[column]]\nname = \"at\"\ntype = \"int64\"\n\
                       [[column]]\nname = \"state\"\ntype = \"string\"\nrequired = true\n";
const KEEP: &str = "keep = { latest_by = [\"at\"], delete_when = { op = \"d\" } }";

fn catalog_of(keep: &str, columns: &str) -> Arc<Catalog> {
    let text = format!("name = \"order\"\nversion = 1\nidentity = [\"id\"]\n{keep}\n{columns}");
    Arc::new(
        Catalog::from_files([("order.toml".to_owned(), text)]).unwrap_or_else(|errors| panic!("{errors}")),
    )
}

fn catalog() -> Arc<Catalog> {
    catalog_of(KEEP, COLUMNS)
}

async fn push(lake: &Lake, catalog: &Arc<Catalog>, records: &[&str]) -> Result<InsertSummary, LakeError> {
    let mut summary = InsertSummary::default();
    for CleanedRows { contract, rows, .. } in clean(catalog, "order", records) {
        let done = lake.insert(catalog, &contract, &[rows]).await?;
        if contract.name == "order" {
            summary = done;
        }
    }
    Ok(summary)
}

/// Inserted, superseded, duplicate, outdated and deleted rows.
async fn counts(lake: &Lake, catalog: &Arc<Catalog>, records: &[&str]) -> [u64; 5] {
    let done = push(lake, catalog, records).await.unwrap();
    let counts = [done.inserted, done.superseded, done.duplicates, done.outdated, done.deleted];
    assert_eq!(done.read, counts.iter().sum::<u64>());
    counts
}

async fn rows(lake: &Lake, catalog: &Arc<Catalog>) -> Vec<String> {
    text_rows(lake, catalog, "order").await
}

fn lake() -> (Arc<dyn ObjectStore>, Lake) {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    (store.clone(), Lake::new(store, env(1)))
}

fn record(id: u64, at: u64, state: &str) -> String {
    match state {
        "" => format!(r#"{{"id":{id},"at":{at},"op":"d"}}"#),
        state => format!(r#"{{"id":{id},"at":{at},"state":"{state}","op":"u"}}"#),
    }
}

#[tokio::test]
async fn the_latest_record_is_the_row() {
    let (store, lake) = lake();
    let catalog = catalog();
    let [first, second, third] = [record(1, 1, "new"), record(1, 2, "paid"), record(1, 3, "done")];
    assert_eq!(counts(&lake, &catalog, &[&second, &record(2, 1, "new")]).await, [2, 0, 0, 0, 0]);
    assert_eq!(counts(&lake, &catalog, &[&first]).await, [0, 0, 0, 1, 0]);
    assert_eq!(counts(&lake, &catalog, &[&third, &second, &first, &third]).await, [0, 1, 1, 2, 0]);
    assert_eq!(rows(&lake, &catalog).await, ["1 3 done", "2 1 new"]);
    // By another process, from the log alone.
    let lake = Lake::new(store, env(2));
    assert_eq!(counts(&lake, &catalog, &[&first, &second, &third]).await, [0, 0, 1, 2, 0]);
    // Two records with the same order: the greater one, by its columns, whichever comes first.
    assert_eq!(counts(&lake, &catalog, &[&record(2, 1, "paid")]).await, [0, 1, 0, 0, 0]);
    assert_eq!(counts(&lake, &catalog, &[&record(2, 1, "new")]).await, [0, 0, 0, 1, 0]);
    assert_eq!(rows(&lake, &catalog).await, ["1 3 done", "2 1 paid"]);
    // A record without an order is the earliest.
    assert_eq!(counts(&lake, &catalog, &[r#"{"id":2,"state":"x"}"#]).await, [0, 0, 0, 1, 0]);
}

#[tokio::test]
async fn a_deleted_row_stays_deleted() {
    let (store, lake) = lake();
    let catalog = catalog();
    let (new, paid, deleted) = (record(1, 1, "new"), record(1, 2, "paid"), record(1, 3, ""));
    // The delete comes first, and is the only record of its batch.
    assert_eq!(counts(&lake, &catalog, &[&deleted]).await, [0, 0, 0, 0, 1]);
    assert_eq!(counts(&lake, &catalog, &[&paid, &new]).await, [0, 0, 0, 2, 0]);
    assert_eq!(rows(&lake, &catalog).await, [""; 0]);
    let lake = Lake::new(store, env(2));
    assert_eq!(counts(&lake, &catalog, &[&deleted, &paid]).await, [0, 0, 1, 1, 0]);
    // Later the row exists again, and is deleted with another one.
    assert_eq!(
        counts(&lake, &catalog, &[&record(1, 4, "again"), &record(2, 1, "new")]).await,
        [2, 0, 0, 0, 0]
    );
    assert_eq!(counts(&lake, &catalog, &[&deleted, &record(1, 5, "")]).await, [0, 0, 0, 1, 1]);
    assert_eq!(rows(&lake, &catalog).await, ["2 1 new"]);
    // Of a row and a delete with the same order, the delete is later.
    assert_eq!(counts(&lake, &catalog, &[&record(2, 1, "")]).await, [0, 0, 0, 0, 1]);
    assert_eq!(counts(&lake, &catalog, &[&record(2, 1, "new")]).await, [0, 0, 0, 1, 0]);
    assert_eq!(rows(&lake, &catalog).await, [""; 0]);
}

/// What the table must have, computed from the set of records.
fn expected(records: &[(u64, u64, &str)]) -> Vec<String> {
    let mut latest: BTreeMap<u64, (u64, bool, &str)> = BTreeMap::new();
    for (id, at, state) in records {
        let own = (*at, state.is_empty(), *state);
        let kept = latest.entry(*id).or_insert(own);
        *kept = own.max(*kept);
    }
    let rows = latest.into_iter().filter(|(_, (_, deletes, _))| !deletes);
    let mut rows: Vec<String> = rows.map(|(id, (at, _, state))| format!("{id} {at} {state}")).collect();
    rows.sort();
    rows
}

#[tokio::test]
async fn the_rows_depend_on_the_records_and_not_on_their_sequence() {
    let catalog = catalog();
    for seed in 0..40 {
        let rng = Rng::seeded(seed);
        let states = ["new", "paid", "", "done"];
        let records: Vec<(u64, u64, &str)> =
            (0..60).map(|_| (rng.below(8) as u64, rng.below(6) as u64, states[rng.below(4)])).collect();
        let (store, _) = lake();
        // Each record twice, shuffled, in batches of different sizes, by two processes, with merges in between.
        let mut sent: Vec<usize> = (0..2 * records.len()).map(|at| at % records.len()).collect();
        for at in (1..sent.len()).rev() {
            sent.swap(at, rng.below(at + 1));
        }
        let lakes = [Lake::new(store.clone(), env(seed)), Lake::new(store.clone(), env(seed + 1000))];
        let mut at = 0;
        while at < sent.len() {
            let size = 1 + rng.below(20).min(sent.len() - at - 1);
            let batch: Vec<String> = sent[at..at + size]
                .iter()
                .map(|number| record(records[*number].0, records[*number].1, records[*number].2))
                .collect();
            let lake = &lakes[rng.below(2)];
            counts(lake, &catalog, &batch.iter().map(String::as_str).collect::<Vec<_>>()).await;
            if rng.below(4) == 0 {
                lake.table(catalog.contract("order").unwrap()).merge_small_files(2).await.unwrap();
            }
            at += size;
        }
        assert_eq!(rows(&lakes[0], &catalog).await, expected(&records), "seed {seed}");
    }
}

/// Another writer commits a delete, or an update, between the check and the commit.
#[tokio::test(start_paused = true)]
async fn writers_at_the_same_time_agree() {
    for (first, second, expected) in [
        (record(1, 2, "paid"), record(1, 3, ""), vec![]),
        (record(1, 3, ""), record(1, 2, "paid"), vec![]),
        (record(1, 2, "paid"), record(1, 3, "done"), vec!["1 3 done"]),
        (record(1, 3, "done"), record(1, 2, "paid"), vec!["1 3 done"]),
        (record(1, 3, ""), record(2, 3, ""), vec![]),
    ] {
        for (has_row, loses_answer) in [(true, false), (false, false), (true, true)] {
            let inner = Arc::new(InMemory::new());
            let catalog = catalog();
            let before = if has_row { record(1, 1, "new") } else { record(9, 9, "") };
            push(&Lake::new(inner.clone(), env(1)), &catalog, &[&before]).await.unwrap();
            let store = Arc::new(FaultyStore::at_version(2, inner.clone()));
            let (other, also, own) = (Lake::new(inner.clone(), env(2)), catalog.clone(), first.clone());
            store.inject(if loses_answer {
                Fault::ResponseLost
            } else {
                Fault::Conflict(Box::pin(async move {
                    push(&other, &also, &[&own]).await.unwrap();
                }))
            });
            if loses_answer {
                push(&Lake::new(store.clone(), env(4)), &catalog, &[&first]).await.unwrap();
            }
            let lake = Lake::new(store.clone(), env(3));
            push(&lake, &catalog, &[&second]).await.unwrap();
            assert!(store.has_fired());
            assert_eq!(rows(&lake, &catalog).await, expected, "{first} {second} {has_row}");
        }
    }
}

#[tokio::test]
async fn many_deletes_are_written_together_and_expire() {
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let clock = Arc::new(ManualClock::at("2022-10-19T12:00:00Z".parse().unwrap()));
    let lake = Lake::new(store.clone(), Env { clock: clock.clone(), rng: Arc::new(Rng::seeded(1)) });
    let keep = "keep = { latest_by = [\"at\"], delete_when = { op = \"d\" }, remember_deletes_days = 2 }";
    let catalog = catalog_of(keep, COLUMNS);
    for id in 0..20 {
        push(&lake, &catalog, &[&record(id, 5, "")]).await.unwrap();
        clock.advance(Duration::from_secs(6 * 60 * 60));
    }
    // Those of the last two days keep older records out.
    let old: Vec<String> = (0..20).map(|id| record(id, 4, "old")).collect();
    let old: Vec<&str> = old.iter().map(String::as_str).collect();
    let [inserted, .., outdated, deleted] = counts(&lake, &catalog, &old).await;
    assert!(inserted > 0 && outdated >= 8 && deleted == 0, "{inserted} {outdated}");
    let lists = rows(&lake, &catalog).await;
    assert!(lists.iter().all(|row| row.ends_with("4 old")));
}

#[tokio::test]
async fn a_delete_needs_only_its_identity_and_order() {
    let (_, lake) = lake();
    let catalog = catalog();
    // `state` is required, and a delete has none, or one of another type.
    let cleaned = clean(
        &catalog,
        "order",
        &[r#"{"id":1,"at":1,"op":"d","state":[1]}"#, r#"{"at":1,"op":"d"}"#, "null"],
    );
    let read: Vec<_> = cleaned.iter().map(|rows| (rows.contract.name.as_str(), rows.read)).collect();
    assert_eq!(read, [("order", 1), ("quarantine", 1)]);
    assert_eq!(counts(&lake, &catalog, &[r#"{"id":1,"at":1,"op":"d","state":[1]}"#]).await, [0, 0, 0, 0, 1]);
    let mut cleaner = RecordCleaner::new(catalog.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
    let origin = RecordOrigin { source: "test", position: Position::Line(1), record_id: None };
    assert_eq!(cleaner.push(b" null\n", Some("order"), &origin), Disposition::Skipped);
    assert_eq!(cleaner.push(b"null", None, &origin), Disposition::Quarantined);
}

#[tokio::test]
async fn a_table_of_first_records_keeps_the_latest_from_now_on_and_back() {
    let (_, lake) = lake();
    let (first, latest) = (catalog_of("", COLUMNS), catalog());
    push(&lake, &first, &[&record(1, 1, "new")]).await.unwrap();
    push(&lake, &first, &[&record(1, 2, "paid")]).await.unwrap();
    assert_eq!(rows(&lake, &first).await, ["1 1 new"]);
    assert_eq!(counts(&lake, &latest, &[&record(1, 2, "paid")]).await, [0, 1, 0, 0, 0]);
    push(&lake, &first, &[&record(1, 3, "done")]).await.unwrap();
    assert_eq!(rows(&lake, &first).await, ["1 2 paid"]);
    // A column that is added, and a type that is widened: the row of the same record with more values is later.
    let more = format!(
        "{}[[column]]\nname = \"note\"\ntype = \"string\"\n",
        COLUMNS.replace("\"at\"\ntype = \"int64\"", "\"at\"\ntype = \"float64\"")
    );
    let more = catalog_of(KEEP, &more);
    let record = r#"{"id":1,"at":2,"state":"paid","note":"x"}"#;
    assert_eq!(counts(&lake, &more, &[record]).await, [0, 1, 0, 0, 0]);
    assert_eq!(rows(&lake, &more).await, ["1 2.0 paid x"]);
}

#[tokio::test]
async fn a_quarantined_record_is_applied_by_a_redrive_and_by_nothing_else() {
    let (_, lake) = lake();
    let strict = catalog_of(KEEP, COLUMNS);
    let lenient = catalog_of(
        KEEP,
        &COLUMNS.replace(
            "name = \"state\"\ntype = \"string\"",
            "name = \"state\"\ntype = \"string\"\nfrom = [\"state\", \"status\"]",
        ),
    );
    let latest = r#"{"id":1,"at":9,"status":"done"}"#;
    push(&lake, &strict, &[latest]).await.unwrap();
    // An earlier record of the same identity does not stand for it.
    push(&lake, &lenient, &[&record(1, 1, "new")]).await.unwrap();
    assert_eq!(rows(&lake, &lenient).await, ["1 1 new"]);
    let done = lake.redrive(&lenient, Some("order")).await.unwrap();
    assert_eq!((done.read, done.resolved, done.left), (1, 1, 0));
    assert_eq!(rows(&lake, &lenient).await, ["1 9 done"]);
    let mut unresolved = 0;
    let quarantine = lake.table(lenient.quarantine());
    for file in quarantine.data_files().await.unwrap() {
        for batch in quarantine.read_file(&file).await.unwrap() {
            unresolved += batch.column_by_name(RESOLVED_AT).unwrap().null_count();
        }
    }
    assert_eq!(unresolved, 0);
}

#[tokio::test]
async fn another_order_does_not_bring_earlier_records_back() {
    let by_other = catalog_of(
        &KEEP.replace("\"at\"", "\"since\""),
        &format!("{COLUMNS}[[column]]\nname = \"since\"\ntype = \"int64\"\n"),
    );
    let (_, lake) = lake();
    push(&lake, &catalog(), &[&record(1, 9, "done"), &record(2, 9, "")]).await.unwrap();
    for late in [r#"{"id":1,"since":3,"state":"old"}"#, r#"{"id":2,"since":3,"state":"old"}"#] {
        let error = push(&lake, &by_other, &[late]).await.unwrap_err();
        assert!(matches!(error, LakeError::SchemaChanged { .. }), "{error}");
    }
    // A further column behind it only decides where the first is equal.
    let more = catalog_of(
        &KEEP.replace("[\"at\"]", "[\"at\", \"since\"]"),
        &format!("{COLUMNS}[[column]]\nname = \"since\"\ntype = \"int64\"\n"),
    );
    assert_eq!(counts(&lake, &more, &[r#"{"id":2,"at":8,"since":3,"state":"old"}"#]).await, [0, 0, 0, 1, 0]);
    assert_eq!(rows(&lake, &more).await, ["1 9 done "]);
}

#[tokio::test]
async fn a_warm_process_has_the_deleted_keys_in_memory() {
    let (store, lake) = lake();
    let catalog = catalog();
    push(&lake, &catalog, &[&record(1, 3, "")]).await.unwrap();
    push(&lake, &catalog, &[&record(2, 1, "new")]).await.unwrap();
    let folder = Path::from("tables/order/_pinlake_deleted");
    let objects: Vec<_> = store.list(Some(&folder)).try_collect().await.unwrap();
    assert_eq!(objects.len(), 2, "keys, and their list");
    for object in objects {
        store.delete(&object.location).await.unwrap();
    }
    assert_eq!(counts(&lake, &catalog, &[&record(1, 2, "late")]).await, [0, 0, 0, 1, 0]);
    // A process that does not have them inserts nothing rather than bringing a row back.
    let cold = Lake::new(store, env(2));
    let error = push(&cold, &catalog, &[&record(1, 2, "late")]).await.unwrap_err();
    assert!(error.to_string().contains("the log names this list of keys, and it is missing"), "{error}");
}
