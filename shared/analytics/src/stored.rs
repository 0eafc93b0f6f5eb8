//! Results in the lake: `results/runs/<run>.json` for each run, and `results/latest.json`, which names the newest.

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{AnalyticsError, Results};

/// How often the name of the newest run is tried for when other runs come between.
const ATTEMPTS: usize = 8;

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
    let mut conflict = None;
    for _ in 0..ATTEMPTS {
        let mode = match get(store, &latest).await? {
            None => PutMode::Create,
            Some((bytes, version)) => {
                let known: Latest = serde_json::from_slice(&bytes).map_err(broken(&latest))?;
                if known.run.as_str() >= run {
                    return Ok(path);
                }
                PutMode::Update(version)
            }
        };
        let pointer = serde_json::to_vec(&Latest { run: run.to_owned() }).map_err(broken(&latest))?;
        let options = PutOptions { mode, ..PutOptions::default() };
        match store.put_opts(&latest, PutPayload::from(pointer), options).await {
            Ok(_) => return Ok(path),
            Err(
                error
                @ (object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }),
            ) => conflict = Some(error),
            Err(error) => return Err(failed(&latest)(error)),
        }
    }
    conflict.map_or(Ok(path), |error| Err(failed(&latest)(error)))
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
            let found = get(store, &latest).await?;
            let (bytes, _) = found.ok_or_else(|| StoredError::None("yet".to_owned()))?;
            serde_json::from_slice::<Latest>(&bytes).map_err(broken(&latest))?.run
        }
    };
    let path = path_of(&run);
    let (bytes, _) = get(store, &path).await?.ok_or_else(|| StoredError::None(format!("of run {run}")))?;
    let json: Value = serde_json::from_slice(&bytes).map_err(broken(&path))?;
    Ok((run, Results::from_json(json)?))
}

async fn get(
    store: &dyn ObjectStore,
    path: &Path,
) -> Result<Option<(bytes::Bytes, UpdateVersion)>, StoredError> {
    let got = match store.get(path).await {
        Ok(got) => got,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(failed(path)(error)),
    };
    let version = UpdateVersion { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
    Ok(Some((got.bytes().await.map_err(failed(path))?, version)))
}

fn failed(path: &Path) -> impl FnOnce(object_store::Error) -> StoredError + use<> {
    let path = path.to_string();
    |source| StoredError::Store { path, source }
}

fn broken(path: &Path) -> impl FnOnce(serde_json::Error) -> StoredError + use<> {
    let path = path.to_string();
    |source| StoredError::Json { path, source }
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
