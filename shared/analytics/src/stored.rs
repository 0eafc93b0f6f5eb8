//! Results in the lake: `results/runs/<run>.json` for each run, and `results/latest.json`, which names the newest.

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_store::{JsonError, read_json, update_json};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{AnalyticsError, Results};

/// Results cannot be kept or found.
#[derive(Debug, thiserror::Error)]
pub enum StoredError {
    /// The store failed.
    #[error("{path}: {source}")]
    Store {
        /// Where.
        path: String,
        /// What it said.
        source: object_store::Error,
    },
    /// There is no such run.
    #[error("there are no results {0}: run the analysis first")]
    None(String),
    /// What is there are no results.
    #[error(transparent)]
    Results(#[from] AnalyticsError),
    /// What is there is no JSON.
    #[error("{path}: {source}")]
    Json {
        /// Where.
        path: String,
        /// What is wrong.
        source: serde_json::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct Latest {
    run: String,
}

/// Where a run's results lie.
pub fn path_of(run: &str) -> Path {
    Path::from_iter(["results", "runs", &format!("{run}.json")])
}

fn latest_path() -> Path {
    Path::from_iter(["results", "latest.json"])
}

/// Keeps the results of `run`. It becomes the latest unless a later one is: run ids order as the runs do.
///
/// # Errors
/// When the store fails; doing it again is safe.
pub async fn save(store: &dyn ObjectStore, run: &str, results: &Results) -> Result<Path, StoredError> {
    let path = path_of(run);
    let bytes = results.to_json().to_string();
    store.put(&path, bytes.into()).await.map_err(failed(&path))?;
    let latest = latest_path();
    let updated = update_json(store, &latest, |present: Option<Latest>| match present {
        Some(present) if present.run.as_str() >= run => None,
        _ => Some(Latest { run: run.to_owned() }),
    });
    updated.await.map_err(|error| json_error(&latest, error))?;
    Ok(path)
}

/// The results of `run`, or of the latest one, with its id.
///
/// # Errors
/// When there are none, or they cannot be read.
pub async fn load(store: &dyn ObjectStore, run: Option<&str>) -> Result<(String, Results), StoredError> {
    let run = match run {
        Some(run) => run.to_owned(),
        None => {
            let latest = latest_path();
            let found: Option<Latest> =
                read_json(store, &latest).await.map_err(|error| json_error(&latest, error))?;
            found.ok_or_else(|| StoredError::None("yet".to_owned()))?.run
        }
    };
    let path = path_of(&run);
    let json: Option<Value> = read_json(store, &path).await.map_err(|error| json_error(&path, error))?;
    let json = json.ok_or_else(|| StoredError::None(format!("of run {run}")))?;
    Ok((run, Results::from_json(json)?))
}

fn json_error(path: &Path, error: JsonError) -> StoredError {
    match error {
        JsonError::Store(error) => failed(path)(error),
        JsonError::Json(source) => StoredError::Json { path: path.to_string(), source },
    }
}

fn failed(path: &Path) -> impl FnOnce(object_store::Error) -> StoredError + use<> {
    let path = path.to_string();
    |source| StoredError::Store { path, source }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;
    use serde_json::json;

    #[tokio::test]
    async fn the_latest_run_is_the_one_with_the_highest_id() {
        let store = InMemory::new();
        assert!(matches!(load(&store, None).await, Err(StoredError::None(_))));
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
