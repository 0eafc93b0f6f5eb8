//! The handler of analysis over a lake without tables, and over a lake that an external engine reads.

#![allow(clippy::unwrap_used, reason = "the helpers of tests fail by panicking, like the tests themselves")]

#[path = "../../../tests/broken_contract.rs"]
mod broken_contract;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use crate::broken_contract::with_broken;
use analysis::engine::{Engine, ExternalEngine, QueryRows};
use analysis::results_table::{ResultsTable, ResultsTableError};
use analysis::{Analysis, AnalysisError, RunSummary};
use async_trait::async_trait;
use object_store::memory::InMemory;
use pinlake_analytics::{Dialect, FailureKind, Query, QueryFailure, QueryLimits, QueryResult, QuerySet};
use pinlake_clean::{Position, RecordCleaner, RecordOrigin};
use pinlake_env::{Env, ManualClock, Rng};
use pinlake_lake::Lake;
use pinlake_results::store;
use pinlake_schema::Catalog;
use serde_json::{Value, json};

/// Records the results that were stored: (run, result).
#[derive(Default)]
struct RecordedResults(Mutex<Vec<(String, String)>>);

#[async_trait]
impl ResultsTable for RecordedResults {
    async fn put_result(
        &self,
        run: &str,
        name: &str,
        _result: &QueryResult,
        _path: &str,
    ) -> Result<(), ResultsTableError> {
        self.0.lock().unwrap().push((run.to_owned(), name.to_owned()));
        Ok(())
    }
}

fn env() -> Env {
    let clock = ManualClock::at("2022-10-19T12:00:00Z".parse().unwrap());
    Env { clock: Arc::new(clock), rng: Arc::new(Rng::seeded(1)) }
}

fn analysis(store: Arc<InMemory>, queries: QuerySet, engine: Engine) -> Analysis<RecordedResults> {
    Analysis {
        lake: Lake::new(store, env()),
        catalog: Arc::new(Catalog::embedded().unwrap()),
        queries,
        engine,
        table: RecordedResults::default(),
        env: env(),
    }
}

fn event() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../events/analysis_schedule.json");
    serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap()
}

#[tokio::test]
async fn the_sample_event_gives_the_run_id_and_all_results_are_stored() {
    let queries = QuerySet::embedded(Dialect::Shared).unwrap();
    let analysis = analysis(Arc::new(InMemory::new()), queries, Engine::Local(QueryLimits::default()));
    let summary = analysis.handle(&event()).await.unwrap();
    assert!(summary.run.starts_with("20261122T220000Z-53dc4d37"), "{}", summary.run);
    assert_eq!(summary.rows.len(), 10);
    assert!(summary.rows.values().all(|rows| *rows == 0), "{summary:?}");
    assert_eq!(summary.versions["pin"], None, "there is no table yet");
    let (run, results) = store::load(&**analysis.lake.store(), None).await.unwrap();
    assert_eq!((run.as_str(), results.len()), (summary.run.as_str(), 10));
    let (_, stored) = store::load_run(&**analysis.lake.store(), Some(&run)).await.unwrap();
    for (name, stored) in stored.iter() {
        assert!(stored.seconds.is_some() && stored.sql.as_ref().unwrap().contains("SELECT"), "{name}");
        let history = store::load_history(&**analysis.lake.store(), name).await.unwrap();
        assert_eq!(history.iter().map(|past| past.run.as_str()).collect::<Vec<_>>(), [run.as_str()]);
    }
    assert_eq!(analysis.table.0.lock().unwrap().len(), 10);
}

#[tokio::test]
async fn with_a_broken_contract_its_table_stays_readable_and_other_queries_succeed() {
    let rows = RecordingEngine::new(false).await;
    let queries = |broken: &str| {
        QuerySet::from_files(
            Dialect::Shared,
            [
                ("users.sql".to_owned(), "SELECT COUNT(*) AS n FROM user".to_owned()),
                ("broken.sql".to_owned(), broken.to_owned()),
            ],
        )
        .unwrap()
    };
    let local = || Engine::Local(QueryLimits::default());
    let with = |catalog, queries| Analysis { catalog, ..analysis(rows.store.clone(), queries, local()) };
    let summary = with(with_broken("pin"), queries("SELECT title FROM pin")).handle(&event()).await.unwrap();
    assert_eq!(summary.rows, BTreeMap::from([("broken".to_owned(), 1), ("users".to_owned(), 1)]));
    // There is no table yet that could tell the columns.
    let summary =
        with(with_broken("geo"), queries("SELECT country FROM geo")).handle(&event()).await.unwrap();
    assert_eq!(summary.rows, BTreeMap::from([("users".to_owned(), 1)]));
    let other = with(with_broken("geo"), queries("SELECT nothing FROM pin")).handle(&event()).await;
    assert!(other.unwrap_err().to_string().contains("broken.sql"), "another mistake is an error");
}

/// A lake whose tables `pin` and `user` have one row each, and an engine that records its executions.
struct RecordingEngine {
    store: Arc<InMemory>,
    /// Whether a query inserts users while it runs.
    inserts_users: bool,
    rows: AtomicI64,
    ids: Mutex<Vec<String>>,
}

impl RecordingEngine {
    async fn new(inserts_users: bool) -> Arc<RecordingEngine> {
        let store = Arc::new(InMemory::new());
        let engine = RecordingEngine { store, inserts_users, rows: AtomicI64::new(0), ids: Mutex::default() };
        engine
            .insert(
                "pin",
                r#"{"index": 1, "unique_id": "fbe53c66-3442-4773-b19e-d3ec6f54dddf", "title": "a"}"#,
            )
            .await;
        engine
            .insert(
                "user",
                r#"{"ind": 1, "first_name": "Ann", "age": "20", "date_joined": "2015-06-01 00:00:00"}"#,
            )
            .await;
        Arc::new(engine)
    }

    async fn insert(&self, dataset: &str, row: &str) {
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let contract = catalog.contract(dataset).unwrap();
        let mut intake = RecordCleaner::new(catalog.clone(), "2022-10-19T12:00:00Z".parse().unwrap());
        let origin = RecordOrigin { source: "test", position: Position::Line(1), record_id: None };
        intake.push(row.as_bytes(), Some(dataset), &origin);
        let rows = intake.drain().remove(0).rows;
        let lake = Lake::new(self.store.clone(), env());
        assert_eq!(lake.insert(&catalog, contract, &[rows]).await.unwrap().inserted, 1, "{row}");
    }

    /// Runs two queries, one of which reads `user`.
    async fn run(
        self: &Arc<RecordingEngine>,
    ) -> Result<(RunSummary, Analysis<RecordedResults>), AnalysisError> {
        let files = [("pins.sql", "SELECT 1 FROM pin"), ("users.sql", "SELECT 1 FROM user JOIN pin ON TRUE")];
        let files = files.map(|(file, sql)| (file.to_owned(), sql.to_owned()));
        let queries = QuerySet::from_files(Dialect::Athena, files).unwrap();
        let analysis = analysis(self.store.clone(), queries, Engine::External(self.clone(), 4));
        Ok((analysis.handle(&event()).await?, analysis))
    }
}

#[async_trait]
impl ExternalEngine for RecordingEngine {
    async fn execute(&self, query: &Query, id: &str) -> Result<QueryRows, QueryFailure> {
        self.ids.lock().unwrap().push(id.to_owned());
        let n = self.rows.fetch_add(1, Ordering::SeqCst);
        if query.sql.contains("fails") {
            return Err(QueryFailure::new(&query.file, FailureKind::Service, "it is not there"));
        }
        if self.inserts_users && query.name == "users" {
            self.insert("user", &format!(r#"{{"ind": {}, "first_name": "Ann", "age": "20"}}"#, n + 100))
                .await;
        }
        Ok(QueryRows { columns: vec!["n".to_owned()], rows: vec![vec![json!(n)]] })
    }
}

#[tokio::test]
async fn an_unchanged_version_is_what_an_external_engine_read() {
    let engine = RecordingEngine::new(false).await;
    let (summary, analysis) = engine.run().await.unwrap();
    assert_eq!(json!(summary.versions), json!({ "pin": 1, "user": 1 }));
    assert!(summary.moved.is_empty());
    let (_, results) = store::load(&**analysis.lake.store(), Some(&summary.run)).await.unwrap();
    assert_eq!(
        results.to_json(),
        json!({
            "pins": { "columns": ["n"], "rows": [[0]], "versions": { "pin": 1 } },
            "users": { "columns": ["n"], "rows": [[1]], "versions": { "pin": 1, "user": 1 } },
        })
    );

    // The execution ids of an event depend on the versions of the tables.
    engine.run().await.unwrap();
    engine.insert("pin", r#"{"index": 2, "unique_id": "8fb2af68-543b-4639-8119-de33d28706ed"}"#).await;
    engine.run().await.unwrap();
    let ids = engine.ids.lock().unwrap();
    assert_eq!(ids[..2], ids[2..4]);
    assert!(!ids[..4].contains(&ids[4]) && !ids[..4].contains(&ids[5]));
}

#[tokio::test]
async fn a_changed_table_has_both_versions_in_the_results() {
    let (summary, analysis) = RecordingEngine::new(true).await.run().await.unwrap();
    assert_eq!(json!(summary.versions), json!({ "pin": 1 }));
    assert_eq!(json!(summary.moved), json!({ "user": [1, 2] }));
    let (_, results) = store::load(&**analysis.lake.store(), Some(&summary.run)).await.unwrap();
    let users = results.get("users").unwrap();
    assert_eq!((json!(users.versions), json!(users.moved)), (json!({ "pin": 1 }), json!({ "user": [1, 2] })));
    assert!(results.get("pins").unwrap().moved.is_empty());
}

#[tokio::test]
async fn every_failed_query_is_named_and_nothing_is_stored() {
    let engine = RecordingEngine::new(false).await;
    let files = [
        ("fails.sql", "SELECT 'fails'"),
        ("fine.sql", "SELECT 1 FROM pin"),
        ("no_table.sql", "SELECT country FROM geo"),
        ("writes.sql", "INSERT INTO pin SELECT 1"),
    ];
    let files = files.map(|(file, sql)| (file.to_owned(), sql.to_owned()));
    let queries = QuerySet::from_files(Dialect::Athena, files).unwrap();
    let analysis = analysis(engine.store.clone(), queries, Engine::External(engine.clone(), 4));
    let error = analysis.handle(&event()).await.unwrap_err().to_string();
    for part in [
        "3 of the queries failed",
        "fails.sql: it is not there",
        "no_table.sql: there is no table geo yet",
        "writes.sql: it does not begin with SELECT or WITH",
    ] {
        assert!(error.contains(part), "{part} is missing in: {error}");
    }
    assert_eq!(engine.ids.lock().unwrap().len(), 2, "only valid queries are executed");
    assert!(analysis.table.0.lock().unwrap().is_empty());
    assert!(store::load(&**analysis.lake.store(), None).await.is_err());
}
