//! Watermarks: the sequence number up to which all records of a shard have landed.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use pinlake_store::{JsonError, read_json, update_json};
use serde::{Deserialize, Serialize};

use crate::error::LandingError;
use crate::sequence::Sequence;
use crate::source::RecordSource;

/// Path prefix of all watermarks.
pub const WATERMARKS: &str = "state/watermarks";

#[derive(Debug, Serialize, Deserialize)]
struct Watermark {
    sequence: Sequence,
}

/// Watermarks by (stream, shard).
pub type Watermarks = BTreeMap<(String, String), Sequence>;

/// Advances the watermark of `source` to `sequence`. A watermark never goes back, so a batch that is delivered again
/// changes nothing.
///
/// # Errors
/// When the store fails, when the watermark cannot be read, or after several conflicts with other writers.
pub async fn advance(
    store: &dyn ObjectStore,
    source: &RecordSource,
    sequence: &Sequence,
) -> Result<(), LandingError> {
    let path = watermark_path(source.stream(), &source.shard());
    let updated = update_json(store, &path, |present: Option<Watermark>| match present {
        Some(present) if present.sequence >= *sequence => None,
        _ => Some(Watermark { sequence: sequence.clone() }),
    });
    updated.await.map_err(|error| json_error(&path, error))
}

/// Reads the watermark of one shard; `None` if nothing of it has landed yet.
///
/// # Errors
/// When the store fails, or the watermark cannot be read.
pub async fn read(
    store: &dyn ObjectStore,
    stream: &str,
    shard: &str,
) -> Result<Option<Sequence>, LandingError> {
    read_path(store, &watermark_path(stream, shard)).await
}

/// Reads all watermarks.
///
/// # Errors
/// When the store fails, or a watermark cannot be read.
pub async fn read_all(store: &dyn ObjectStore) -> Result<Watermarks, LandingError> {
    let prefix = Path::from(WATERMARKS);
    let metas: Vec<_> =
        store.list(Some(&prefix)).try_collect().await.map_err(LandingError::store(&prefix))?;
    let mut watermarks = Watermarks::new();
    for meta in metas {
        let parts: Vec<_> = meta.location.parts().map(|part| part.as_ref().to_owned()).collect();
        let [_, _, stream, file] = parts.as_slice() else {
            continue;
        };
        let Some(shard) = file.strip_suffix(".json") else {
            continue;
        };
        if let Some(sequence) = read_path(store, &meta.location).await? {
            watermarks.insert((stream.clone(), shard.to_owned()), sequence);
        }
    }
    Ok(watermarks)
}

fn watermark_path(stream: &str, shard: &str) -> Path {
    Path::from(format!("{WATERMARKS}/{stream}/{shard}.json"))
}

async fn read_path(store: &dyn ObjectStore, path: &Path) -> Result<Option<Sequence>, LandingError> {
    let read = read_json(store, path).await.map_err(|error| json_error(path, error))?;
    Ok(read.map(|watermark: Watermark| watermark.sequence))
}

fn json_error(path: &Path, error: JsonError) -> LandingError {
    match error {
        JsonError::Store(error) => LandingError::store(path)(error),
        JsonError::Json(error) => LandingError::corrupt(path, error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    #[tokio::test]
    async fn a_watermark_never_goes_back() {
        let store = InMemory::new();
        let source = RecordSource::from_path_segments("events", "shardId-0");
        for sequence in ["9", "10", "7"] {
            advance(&store, &source, &sequence.parse().unwrap()).await.unwrap();
        }
        let watermarks = read_all(&store).await.unwrap();
        let key = ("events".to_owned(), "shardId-0".to_owned());
        assert_eq!(watermarks[&key].as_str(), "10");
        assert_eq!(read(&store, "events", "shardId-0").await.unwrap(), watermarks.get(&key).cloned());
        let path = "state/watermarks/events/shardId-0.json";
        let stored = pinlake_store::read_if_exists(&store, &path.into()).await.unwrap().unwrap();
        assert_eq!(stored, r#"{"sequence":"10"}"#);
    }
}
