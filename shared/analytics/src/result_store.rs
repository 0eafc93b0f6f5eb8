//! Stores results in the lake: `results/runs/<run>.json` for each run, and `results/latest.json` with the id of the newest run.

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{AnalyticsError, Results};

/// Attempts to update `latest.json` when concurrent runs change it.
const MAX_ATTEMPTS: usize = 8;

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
    let mut conflict = None;
    for _ in 0..MAX_ATTEMPTS {
        let mode = match get(store, &latest).await? {
            None => PutMode::Create,
            Some((bytes, version)) => {
                let known: Latest = serde_json::from_slice(&bytes).map_err(json_error(&latest))?;
                if known.run.as_str() >= run {
                    return Ok(path);
                }
                PutMode::Update(version)
            }
        };
        let pointer = serde_json::to_vec(&Latest { run: run.to_owned() }).map_err(json_error(&latest))?;
        let options = PutOptions { mode, ..PutOptions::default() };
        match store.put_opts(&latest, PutPayload::from(pointer), options).await {
            Ok(_) => return Ok(path),
            Err(
                error
                @ (object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }),
            ) => conflict = Some(error),
            Err(error) => return Err(store_error(&latest)(error)),
        }
    }
    conflict.map_or(Ok(path), |error| Err(store_error(&latest)(error)))
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
            let found = get(store, &latest).await?;
            let (bytes, _) = found.ok_or_else(|| ResultStoreError::NotFound("yet".to_owned()))?;
            serde_json::from_slice::<Latest>(&bytes).map_err(json_error(&latest))?.run
        }
    };
    let path = results_path(&run);
    let (bytes, _) =
        get(store, &path).await?.ok_or_else(|| ResultStoreError::NotFound(format!("of run {run}")))?;
    let json: Value = serde_json::from_slice(&bytes).map_err(json_error(&path))?;
    Ok((run, Results::from_json(json)?))
}

async fn get(
    store: &dyn ObjectStore,
    path: &Path,
) -> Result<Option<(bytes::Bytes, UpdateVersion)>, ResultStoreError> {
    let got = match store.get(path).await {
        Ok(got) => got,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(store_error(path)(error)),
    };
    let version = UpdateVersion { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
    Ok(Some((got.bytes().await.map_err(store_error(path))?, version)))
}

fn store_error(path: &Path) -> impl FnOnce(object_store::Error) -> ResultStoreError + use<> {
    let path = path.to_string();
    |source| ResultStoreError::Store { path, source }
}

fn json_error(path: &Path) -> impl FnOnce(serde_json::Error) -> ResultStoreError + use<> {
    let path = path.to_string();
    |source| ResultStoreError::Json { path, source }
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
