//! Stores results in the lake: `results/runs/<run>.json` for each run, `results/history/<result>.json` with what is kept
//! of each result of the last 100 runs, and `results/latest.json` with the id of the newest run.

use chrono::{DateTime, NaiveDateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_store::{JsonError, read_json, update_json};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::history::{self, PastResult};
use crate::{InvalidResults, Results, StoredRun};

/// Histories that are updated at the same time.
const CONCURRENCY: usize = 8;

/// Why results cannot be stored or loaded.
#[derive(Debug, thiserror::Error)]
pub enum ResultStoreError {
    /// The store failed.
    #[error("{path}: {source}")]
    Store {
        /// The object.
        path: String,
        /// The error of the store.
        source: object_store::Error,
    },
    /// No run with this id, or no run at all.
    #[error("no results {0}: run the analysis first")]
    NotFound(String),
    /// The object does not contain results.
    #[error(transparent)]
    Results(#[from] InvalidResults),
    /// The object is not JSON.
    #[error("{path}: {source}")]
    Json {
        /// The object.
        path: String,
        /// The error of the parser.
        source: serde_json::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Latest {
    run: String,
}

/// The path of a run's results.
pub fn results_path(run: &str) -> Path {
    Path::from_iter(["results", "runs", &format!("{run}.json")])
}

fn latest_path() -> Path {
    Path::from_iter(["results", "latest.json"])
}

fn history_path(name: &str) -> Path {
    Path::from_iter(["results", "history", &format!("{name}.json")])
}

/// The time of a run, from its id, which begins with the time as in `20221019T120000Z-53dc4d37`.
pub fn run_time(run: &str) -> Option<DateTime<Utc>> {
    let time = run.split('-').next()?;
    NaiveDateTime::parse_from_str(time, "%Y%m%dT%H%M%SZ").ok().map(|time| time.and_utc())
}

/// Stores the results of `run`, adds them to their histories, and makes it the latest run, unless a run with a higher
/// id is.
///
/// # Errors
/// If the store fails. Saving again is safe.
pub async fn save(store: &dyn ObjectStore, run: &str, results: &StoredRun) -> Result<Path, ResultStoreError> {
    let path = results_path(run);
    let bytes = results.to_json().to_string();
    store.put(&path, bytes.into()).await.map_err(store_error(&path))?;
    let past = results.iter().map(|(name, stored)| (history_path(name), PastResult::new(run, stored)));
    futures::stream::iter(past.collect::<Vec<_>>())
        .map(|(path, past)| async move {
            let update = |present: Option<Vec<PastResult>>| {
                let mut present = present.unwrap_or_default();
                history::add(&mut present, past.clone()).then_some(present)
            };
            update_json(store, &path, update).await.map_err(|error| json_error(&path, error))
        })
        .buffer_unordered(CONCURRENCY)
        .try_collect::<()>()
        .await?;
    let latest = latest_path();
    let updated = update_json(store, &latest, |present: Option<Latest>| match present {
        Some(present) if present.run.as_str() >= run => None,
        _ => Some(Latest { run: run.to_owned() }),
    });
    updated.await.map_err(|error| json_error(&latest, error))?;
    Ok(path)
}

/// Loads the results of `run`, or of the latest run, and returns them with the id of the run.
///
/// # Errors
/// If there are none or they cannot be read.
pub async fn load(store: &dyn ObjectStore, run: Option<&str>) -> Result<(String, Results), ResultStoreError> {
    let (run, stored) = load_run(store, run).await?;
    Ok((run, stored.into()))
}

/// Like [`load`], with the SQL and the time of each query.
///
/// # Errors
/// As [`load`].
pub async fn load_run(
    store: &dyn ObjectStore,
    run: Option<&str>,
) -> Result<(String, StoredRun), ResultStoreError> {
    let run = match run {
        Some(run) => run.to_owned(),
        None => find_latest(store).await?.ok_or_else(|| ResultStoreError::NotFound("yet".to_owned()))?,
    };
    let path = results_path(&run);
    let json: Option<Value> = read_json(store, &path).await.map_err(|error| json_error(&path, error))?;
    let json = json.ok_or_else(|| ResultStoreError::NotFound(format!("of run {run}")))?;
    Ok((run, StoredRun::from_json(json)?))
}

/// The id of the latest run; none before the first.
///
/// # Errors
/// If the store fails.
pub async fn find_latest(store: &dyn ObjectStore) -> Result<Option<String>, ResultStoreError> {
    let path = latest_path();
    let found: Option<Latest> = read_json(store, &path).await.map_err(|error| json_error(&path, error))?;
    Ok(found.map(|latest| latest.run))
}

/// Loads what is kept of a result of earlier runs, oldest first. It is empty if there is none.
///
/// # Errors
/// If it cannot be read.
pub async fn load_history(store: &dyn ObjectStore, name: &str) -> Result<Vec<PastResult>, ResultStoreError> {
    let path = history_path(name);
    let found = read_json(store, &path).await.map_err(|error| json_error(&path, error))?;
    Ok(found.unwrap_or_default())
}

fn json_error(path: &Path, error: JsonError) -> ResultStoreError {
    match error {
        JsonError::Store(error) => store_error(path)(error),
        JsonError::Json(source) => ResultStoreError::Json { path: path.to_string(), source },
    }
}

fn store_error(path: &Path) -> impl FnOnce(object_store::Error) -> ResultStoreError + use<> {
    let path = path.to_string();
    |source| ResultStoreError::Store { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;
    use serde_json::json;

    #[tokio::test]
    async fn the_latest_run_is_the_one_with_the_highest_id() {
        let store = InMemory::new();
        assert!(matches!(load(&store, None).await, Err(ResultStoreError::NotFound(_))));
        let results = |value: i64| {
            Results::from_json(json!({ "answer": { "columns": ["n"], "rows": [[value]], "versions": {} } }))
                .unwrap()
        };
        for (run, value) in [("20221019T120000Z-b", 2), ("20221019T110000Z-a", 1), ("20221019T120000Z-b", 2)]
        {
            save(&store, run, &StoredRun::from(results(value))).await.unwrap();
        }
        let (run, latest) = load(&store, None).await.unwrap();
        assert_eq!((run.as_str(), latest), ("20221019T120000Z-b", results(2)));
        assert_eq!(load(&store, Some("20221019T110000Z-a")).await.unwrap().1, results(1));
        assert!(load(&store, Some("20221019T100000Z-x")).await.is_err());
        let history = load_history(&store, "answer").await.unwrap();
        let values: Vec<_> =
            history.iter().map(|past| (&past.run[..11], past.largest["n"].as_i64())).collect();
        assert_eq!(values, [("20221019T11", Some(1)), ("20221019T12", Some(2))]);
        assert!(load_history(&store, "other").await.unwrap().is_empty());
    }

    #[test]
    fn the_time_of_a_run_is_in_its_id() {
        let at = "2022-10-19T12:00:00Z".parse().unwrap();
        assert_eq!(run_time("20221019T120000Z-53dc4d37-cffa"), Some(at));
        assert_eq!(run_time("../x"), None);
    }
}
