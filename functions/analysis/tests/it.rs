//! The analysis' handler over a lake without tables, where every query of the set runs and its results are kept; and over one
//! whose tables an engine elsewhere reads.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail by panicking, like the tests themselves")]

use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use analysis::engine::{Answered, Elsewhere, Engine};
use analysis::results_table::{ResultsTable, TableError};
use analysis::{Analysis, AnalysisError, Answer};
use async_trait::async_trait;
use object_store::memory::InMemory;
use pinlake_analytics::{Dialect, FailureKind, Limits, Query, QueryFailure, QueryResult, QuerySet, stored};
use pinlake_clean::{Position, RecordCleaner, RecordOrigin};
use pinlake_env::{Env, ManualClock, Rng};
use pinlake_lake::Lake;
use pinlake_schema::Catalog;
use serde_json::{Value, json};

/// Remembers what it was given: (run, result).
#[derive(Default)]
struct Kept(Mutex<Vec<(String, String)>>);

#[async_trait]
impl ResultsTable for Kept {
    async fn keep(
        &self,
        run: &str,
        name: &str,
        _result: &QueryResult,
        _path: &str,
    ) -> Result<(), TableError> {
        self.0.lock().unwrap().push((run.to_owned(), name.to_owned()));
        Ok(())
    }
}

fn effects() -> Env {
    let clock = ManualClock::at("2022-10-19T12:00:00Z".parse().unwrap());
    Env { clock: Arc::new(clock), rng: Arc::new(Rng::seeded(1)) }
}

fn analysis(store: Arc<InMemory>, queries: QuerySet, engine: Engine) -> Analysis<Kept> {
    Analysis {
        lake: Lake::new(store, effects()),
        catalog: Arc::new(Catalog::embedded().unwrap()),
        queries,
        engine,
        table: Kept::default(),
        effects: effects(),
    }
}

fn event() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/analysis_schedule.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[tokio::test]
async fn the_sample_event_names_its_run_and_all_results_are_kept() {
    let queries = QuerySet::embedded(Dialect::Shared).unwrap();
    let analysis = analysis(Arc::new(InMemory::new()), queries, Engine::Here(Limits::default()));
    let answer = analysis.handle(&event()).await.unwrap();
    assert!(answer.run.starts_with("20261122T220000Z-53dc4d37"), "{}", answer.run);
    assert_eq!(answer.rows.len(), 10);
    assert!(answer.rows.values().all(|rows| *rows == 0), "{answer:?}");
    assert_eq!(answer.versions["pin"], None, "there is no table yet");
    let (run, results) = stored::load(&**analysis.lake.store(), None).await.unwrap();
    assert_eq!((run.as_str(), results.len()), (answer.run.as_str(), 10));
    assert_eq!(analysis.table.0.lock().unwrap().len(), 10);
}

/// A lake whose tables `pin` and `user` have a row each, and an engine that counts what it is asked.
struct Other {
    store: Arc<InMemory>,
    /// Users come in while it is at work.
    users_come: bool,
    rows: AtomicI64,
    ids: Mutex<Vec<String>>,
}

impl Other {
    async fn new(users_come: bool) -> Arc<Other> {
        let store = Arc::new(InMemory::new());
        let other = Other { store, users_come, rows: AtomicI64::new(0), ids: Mutex::default() };
        other
            .insert(
                "pin",
                r#"{"index": 1, "unique_id": "fbe53c66-3442-4773-b19e-d3ec6f54dddf", "title": "a"}"#,
            )
            .await;
        other
            .insert(
                "user",
                r#"{"ind": 1, "first_name": "Ann", "age": "20", "date_joined": "2015-06-01 00:00:00"}"#,
            )
            .await;
        Arc::new(other)
    }

    async fn insert(&self, dataset: &str, row: &str) {
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let contract = catalog.contract(dataset).unwrap();
        let mut intake = RecordCleaner::new(catalog.clone(), "2022-10-19T12:00:00Z".parse().unwrap());
        let origin = RecordOrigin { source: "test", position: Position::Line(1), record_id: None };
        intake.push(row.as_bytes(), Some(dataset), &origin);
        let rows = intake.drain().remove(0).rows;
        let lake = Lake::new(self.store.clone(), effects());
        assert_eq!(lake.insert(&catalog, contract, &[rows]).await.unwrap().inserted, 1, "{row}");
    }

    /// What a run over two queries gives, one of which reads `user`.
    async fn run(self: &Arc<Other>) -> Result<(Answer, Analysis<Kept>), AnalysisError> {
        let files = [("pins.sql", "SELECT 1 FROM pin"), ("users.sql", "SELECT 1 FROM user JOIN pin ON TRUE")];
        let files = files.map(|(file, sql)| (file.to_owned(), sql.to_owned()));
        let queries = QuerySet::from_files(Dialect::Athena, files).unwrap();
        let analysis = analysis(self.store.clone(), queries, Engine::Elsewhere(self.clone(), 4));
        Ok((analysis.handle(&event()).await?, analysis))
    }
}

#[async_trait]
impl Elsewhere for Other {
    async fn answer(&self, query: &Query, id: &str) -> Result<Answered, QueryFailure> {
        self.ids.lock().unwrap().push(id.to_owned());
        let n = self.rows.fetch_add(1, Ordering::SeqCst);
        if query.sql.contains("fails") {
            return Err(QueryFailure::new(&query.file, FailureKind::Service, "it is not there"));
        }
        if self.users_come && query.name == "users" {
            self.insert("user", &format!(r#"{{"ind": {}, "age": "20"}}"#, n + 100)).await;
        }
        Ok(Answered { columns: vec!["n".to_owned()], rows: vec![vec![json!(n)]] })
    }
}

#[tokio::test]
async fn a_version_that_stays_is_what_an_engine_elsewhere_read() {
    let other = Other::new(false).await;
    let (answer, analysis) = other.run().await.unwrap();
    assert_eq!(json!(answer.versions), json!({ "pin": 1, "user": 1 }));
    assert!(answer.moved.is_empty());
    let (_, results) = stored::load(&**analysis.lake.store(), Some(&answer.run)).await.unwrap();
    assert_eq!(
        results.to_json(),
        json!({
            "pins": { "columns": ["n"], "rows": [[0]], "versions": { "pin": 1 } },
            "users": { "columns": ["n"], "rows": [[1]], "versions": { "pin": 1, "user": 1 } },
        })
    );

    // The same event over the same tables asks for the same executions; over others it does not.
    other.run().await.unwrap();
    other.insert("pin", r#"{"index": 2, "unique_id": "8fb2af68-543b-4639-8119-de33d28706ed"}"#).await;
    other.run().await.unwrap();
    let ids = other.ids.lock().unwrap();
    assert_eq!(ids[..2], ids[2..4]);
    assert!(!ids[..4].contains(&ids[4]) && !ids[..4].contains(&ids[5]));
}

#[tokio::test]
async fn a_table_that_moved_says_from_where_to_where() {
    let (answer, analysis) = Other::new(true).await.run().await.unwrap();
    assert_eq!(json!(answer.versions), json!({ "pin": 1 }));
    assert_eq!(json!(answer.moved), json!({ "user": [1, 2] }));
    let (_, results) = stored::load(&**analysis.lake.store(), Some(&answer.run)).await.unwrap();
    let users = results.get("users").unwrap();
    assert_eq!((json!(users.versions), json!(users.moved)), (json!({ "pin": 1 }), json!({ "user": [1, 2] })));
    assert!(results.get("pins").unwrap().moved.is_empty());
}

#[tokio::test]
async fn all_that_failed_elsewhere_is_named_and_nothing_is_kept() {
    let other = Other::new(false).await;
    let files = [
        ("fails.sql", "SELECT 'fails'"),
        ("fine.sql", "SELECT 1 FROM pin"),
        ("no_table.sql", "SELECT country FROM geo"),
        ("writes.sql", "INSERT INTO pin SELECT 1"),
    ];
    let files = files.map(|(file, sql)| (file.to_owned(), sql.to_owned()));
    let queries = QuerySet::from_files(Dialect::Athena, files).unwrap();
    let analysis = analysis(other.store.clone(), queries, Engine::Elsewhere(other.clone(), 4));
    let error = analysis.handle(&event()).await.unwrap_err().to_string();
    for part in [
        "3 of the queries failed",
        "fails.sql: it is not there",
        "no_table.sql: there is no table geo yet",
        "writes.sql: it does not begin with SELECT or WITH",
    ] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    assert_eq!(other.ids.lock().unwrap().len(), 2, "only what can be answered is asked");
    assert!(analysis.table.0.lock().unwrap().is_empty());
    assert!(stored::load(&**analysis.lake.store(), None).await.is_err());
}
