//! The analysis function: runs the query set over the newest version of each table and stores the results. It executes
//! the queries itself or on an external engine ([`engine`]).
//!
//! Results go to the lake (`pinlake_results::store`, complete) and to a DynamoDB table for lookups (one item for each
//! result, under the id of the run and as `latest`). Invariants: the id of a run comes from its event, so an event that
//! is delivered twice is one run; an older run never replaces a newer one.
//!
//! ```
//! use analysis::run_id;
//! use pinlake_env::{Rng, Env, ManualClock};
//! use std::sync::Arc;
//!
//! let clock = ManualClock::at("2022-10-19T12:00:00Z".parse().unwrap());
//! let env = Env { clock: Arc::new(clock), rng: Arc::new(Rng::seeded(1)) };
//! let event = serde_json::json!({ "id": "53dc4d37-cffa", "time": "2022-10-19T11:00:00Z" });
//! assert_eq!(run_id(&event, &env), "20221019T110000Z-53dc4d37-cffa");
//! assert!(run_id(&serde_json::Value::Null, &env).starts_with("20221019T120000Z-"));
//! ```

pub mod athena;
pub mod engine;
pub mod results_table;

use std::collections::BTreeMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use pinlake_analytics::QuerySet;
use pinlake_analytics::lake::AnalyseError;
use pinlake_env::Env;
use pinlake_lake::Lake;
use pinlake_results::StoredRun;
use pinlake_results::store::{self, ResultStoreError};
use pinlake_schema::Catalog;
use serde::Serialize;
use serde_json::Value;

use crate::engine::Engine;
use crate::results_table::{ResultsTable, ResultsTableError};

/// The dependencies of the function.
pub struct Analysis<T> {
    /// The lake.
    pub lake: Lake,
    /// The contracts.
    pub catalog: Arc<Catalog>,
    /// The queries.
    pub queries: QuerySet,
    /// The engine that executes them.
    pub engine: Engine,
    /// The table of single results.
    pub table: T,
    /// Clock and randomness, for the id of a run whose event has none.
    pub env: Env,
}

/// The response of the function. The results are in the lake, because they can be larger than a response.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct RunSummary {
    /// The id of the run.
    pub run: String,
    /// Path of the results in the lake.
    pub path: String,
    /// Number of rows of each result.
    pub rows: BTreeMap<String, usize>,
    /// Version of each table that was read; null if the table does not exist yet.
    pub versions: BTreeMap<String, Option<u64>>,
    /// Tables that changed while they were read: the versions before and after. They are not in `versions`.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub moved: BTreeMap<String, (u64, u64)>,
}

/// Why a run failed. A retry completes results that were stored in part.
#[derive(Debug, thiserror::Error)]
pub enum AnalysisError {
    /// The queries failed.
    #[error(transparent)]
    Analyse(#[from] AnalyseError),
    /// The lake did not store the results.
    #[error(transparent)]
    ResultStore(#[from] ResultStoreError),
    /// The results table did not store a result.
    #[error(transparent)]
    Table(#[from] ResultsTableError),
}

impl<T: ResultsTable> Analysis<T> {
    /// Runs the query set for `event`, which is any JSON. `id` and `time` of a scheduled event give the id of the run.
    ///
    /// # Errors
    /// If a table cannot be read, a query fails, or the results cannot be stored.
    pub async fn handle(&self, event: &Value) -> Result<RunSummary, AnalysisError> {
        let run = run_id(event, &self.env);
        let results = self.engine.run_queries(&run, &self.lake, &self.catalog, &self.queries).await?;
        let path = store::save(&**self.lake.store(), &run, &results).await?;
        for (name, stored) in results.iter() {
            self.table.put_result(&run, name, &stored.result, path.as_ref()).await?;
        }
        tracing::info!(run, results = results.len(), "results stored");
        Ok(summarize(run, path.to_string(), &results))
    }
}

/// Derives the id of the run from the time and the id of the event. Ids sort by time.
pub fn run_id(event: &Value, env: &Env) -> String {
    let time = event["time"].as_str().and_then(|time| time.parse::<DateTime<Utc>>().ok());
    let (at, id) = match (time, event["id"].as_str()) {
        (Some(at), Some(id)) => (at, id.to_owned()),
        _ => (env.clock.now(), env.rng.id()[..12].to_owned()),
    };
    let id: String = id.chars().filter(|c| c.is_ascii_alphanumeric() || *c == '-').take(64).collect();
    format!("{}-{id}", at.format("%Y%m%dT%H%M%SZ"))
}

fn summarize(run: String, path: String, results: &StoredRun) -> RunSummary {
    let rows = results.iter().map(|(name, stored)| (name.to_owned(), stored.result.rows.len())).collect();
    let versions = results.iter().flat_map(|(_, stored)| stored.result.versions.clone()).collect();
    let moved = results.iter().flat_map(|(_, stored)| stored.result.moved.clone()).collect();
    RunSummary { run, path, rows, versions, moved }
}
