//! The analysis: runs the query set over the newest version of each table and keeps the results. It answers them itself, or
//! has an engine elsewhere do it ([`engine`]).
//!
//! Results go to the lake (`results/runs/<run>.json`, whole) and to a table for look-ups (one item a result, as
//! `latest` and under the run's id). Invariants: a run's id comes from its event, so an event that is delivered twice
//! is one run; an older run never takes the place of a newer one.
//!
//! ```
//! use analysis::run_id;
//! use pinlake_env::{Rng, Env, ManualClock};
//! use std::sync::Arc;
//!
//! let clock = ManualClock::at("2022-10-19T12:00:00Z".parse().unwrap());
//! let effects = Env { clock: Arc::new(clock), rng: Arc::new(Rng::seeded(1)) };
//! let event = serde_json::json!({ "id": "53dc4d37-cffa", "time": "2022-10-19T11:00:00Z" });
//! assert_eq!(run_id(&event, &effects), "20221019T110000Z-53dc4d37-cffa");
//! assert!(run_id(&serde_json::Value::Null, &effects).starts_with("20221019T120000Z-"));
//! ```

pub mod athena;
pub mod engine;
pub mod results_table;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use pinlake_analytics::lake::AnalyseError;
use pinlake_analytics::stored::{self, StoredError};
use pinlake_analytics::{QuerySet, Results};
use pinlake_env::Env;
use pinlake_lake::Lake;
use pinlake_schema::Catalog;
use serde::Serialize;
use serde_json::Value;

use crate::engine::Engine;
use crate::results_table::{ResultsTable, TableError};

/// The analysis' parts.
pub struct Analysis<T> {
    /// The lake.
    pub lake: Lake,
    /// The contracts.
    pub catalog: Arc<Catalog>,
    /// The queries.
    pub queries: QuerySet,
    /// What answers them.
    pub engine: Engine,
    /// Where single results are looked up.
    pub table: T,
    /// Time and rng, for the id of a run without an event of its own.
    pub effects: Env,
}

/// What a run answers to whoever invoked it. The results themselves are in the lake: they may be larger than an answer.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Answer {
    /// The run.
    pub run: String,
    /// Path of the whole results, from the lake's root.
    pub path: String,
    /// Rows of each result.
    pub rows: BTreeMap<String, usize>,
    /// Version of each table that was read; null where there is no table yet.
    pub versions: BTreeMap<String, Option<u64>>,
    /// Of tables that moved while they were read: the versions before and after. They are not among `versions`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub moved: BTreeMap<String, (u64, u64)>,
}

/// A run failed. Nothing of it took the place of an earlier run's results, or all of it will when it runs again.
#[derive(Debug, thiserror::Error)]
pub enum AnalysisError {
    /// The answers cannot be had.
    #[error(transparent)]
    Analyse(#[from] AnalyseError),
    /// They cannot be kept in the lake.
    #[error(transparent)]
    Stored(#[from] StoredError),
    /// They cannot be kept in the results table.
    #[error(transparent)]
    Table(#[from] TableError),
}

impl<T: ResultsTable> Analysis<T> {
    /// Runs the query set for `event` (any JSON; a scheduled event names the run).
    ///
    /// # Errors
    /// When a table cannot be read, a query fails, or the results cannot be kept.
    pub async fn handle(&self, event: &Value) -> Result<Answer, AnalysisError> {
        let run = run_id(event, &self.effects);
        let results = self.engine.answer(&run, &self.lake, &self.catalog, &self.queries).await?;
        let path = stored::save(&**self.lake.store(), &run, &results).await?;
        for (name, result) in results.iter() {
            self.table.keep(&run, name, result, path.as_ref()).await?;
        }
        tracing::info!(run, results = results.len(), "analysed");
        Ok(answer(run, path.to_string(), &results))
    }
}

/// The id of the run for an event: when it was, and which; ids order as the runs do.
pub fn run_id(event: &Value, effects: &Env) -> String {
    let time = event["time"].as_str().and_then(|time| time.parse::<DateTime<Utc>>().ok());
    let (at, id) = match (time, event["id"].as_str()) {
        (Some(at), Some(id)) => (at, id.to_owned()),
        _ => (effects.clock.now(), effects.rng.id()[..12].to_owned()),
    };
    let id: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect();
    format!("{}-{id}", at.format("%Y%m%dT%H%M%SZ"))
}

fn answer(run: String, path: String, results: &Results) -> Answer {
    let rows = results.iter().map(|(name, result)| (name.to_owned(), result.rows.len())).collect();
    let versions = results.iter().flat_map(|(_, result)| result.versions.clone()).collect();
    let moved = results.iter().flat_map(|(_, result)| result.moved.clone()).collect();
    Answer { run, path, rows, versions, moved }
}
