//! Stores results in the lake: `results/runs/<run>.json` for each run, and `results/latest.json` with the id of the
//! newest run.

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_store::{JsonError, read_json, update_json};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{AnalyticsError, Results};

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
    Results(#[from] AnalyticsError),
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

/// Stores the results of `run` and makes it the latest run, unless a run with a higher id is.
///
/// # Errors
/// If the store fails. Saving again is safe.
pub async fn save(store: &dyn ObjectStore, run: &str, results: &Results) -> Result<Path, ResultStoreError> {
    let path = results_path(run);
    let bytes = results.to_json().to_string();
    store.put(&path, bytes.into()).await.map_err(store_error(&path))?;
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
    let run = match run {
        Some(run) => run.to_owned(),
        None => {
            let latest = latest_path();
            let found: Option<Latest> =
                read_json(store, &latest).await.map_err(|error| json_error(&latest, error))?;
            found.ok_or_else(|| ResultStoreError::NotFound("yet".to_owned()))?.run
        }
    };
    let path = results_path(&run);
    let json: Option<Value> = read_json(store, &path).await.map_err(|error| json_error(&path, error))?;
    let json = json.ok_or_else(|| ResultStoreError::NotFound(format!("of run {run}")))?;
    Ok((run, Results::from_json(json)?))
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
        save(&store, "20221019T120000Z-b", &results(2)).await.unwrap();
        save(&store, "20221019T110000Z-a", &results(1)).await.unwrap();
        let (run, latest) = load(&store, None).await.unwrap();
        assert_eq!((run.as_str(), latest), ("20221019T120000Z-b", results(2)));
        assert_eq!(load(&store, Some("20221019T110000Z-a")).await.unwrap().1, results(1));
        assert!(load(&store, Some("20221019T100000Z-x")).await.is_err());
    }
}
