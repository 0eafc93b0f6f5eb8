//! How far each shard has landed.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use serde::{Deserialize, Serialize};

use crate::error::LandingError;
use crate::sequence::Sequence;

/// Path prefix of all watermarks.
pub const WATERMARKS: &str = "state/watermarks";
/// How often a watermark is read again when another writer came between.
const ATTEMPTS: usize = 8;

#[derive(Debug, Serialize, Deserialize)]
struct Watermark {
    sequence: Sequence,
}

/// Watermarks by (stream, shard).
pub type Watermarks = BTreeMap<(String, String), Sequence>;

/// Records that all of `shard` up to `sequence` has landed. Never goes back: a batch that is delivered again
/// changes nothing.
///
/// # Errors
/// When the store fails, or other writers came between too often.
pub async fn advance(
    store: &dyn ObjectStore,
    stream: &str,
    shard: &str,
    sequence: &Sequence,
) -> Result<(), LandingError> {
    let path = path_of(stream, shard);
    let bytes = serde_json::to_vec(&Watermark { sequence: sequence.clone() })
        .map_err(|error| LandingError::corrupt(&path, error))?;
    let mut conflict = None;
    for _ in 0..ATTEMPTS {
        let mode = match load(store, &path).await? {
            Some((present, _)) if present >= *sequence => return Ok(()),
            Some((_, version)) => PutMode::Update(version),
            None => PutMode::Create,
        };
        let options = PutOptions { mode, ..PutOptions::default() };
        match store.put_opts(&path, PutPayload::from(bytes.clone()), options).await {
            Ok(_) => return Ok(()),
            Err(
                error
                @ (object_store::Error::AlreadyExists { .. } | object_store::Error::Precondition { .. }),
            ) => conflict = Some(error),
            Err(error) => return Err(LandingError::store(&path)(error)),
        }
    }
    match conflict {
        Some(error) => Err(LandingError::store(&path)(error)),
        None => Ok(()),
    }
}

/// Reads the watermark of one shard; `None` where nothing of it has landed yet.
///
/// # Errors
/// When the store fails, or the watermark cannot be read.
pub async fn read(
    store: &dyn ObjectStore,
    stream: &str,
    shard: &str,
) -> Result<Option<Sequence>, LandingError> {
    Ok(load(store, &path_of(stream, shard)).await?.map(|(sequence, _)| sequence))
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
        if let Some((sequence, _)) = load(store, &meta.location).await? {
            watermarks.insert((stream.clone(), shard.to_owned()), sequence);
        }
    }
    Ok(watermarks)
}

fn path_of(stream: &str, shard: &str) -> Path {
    Path::from(format!("{WATERMARKS}/{stream}/{shard}.json"))
}

async fn load(
    store: &dyn ObjectStore,
    path: &Path,
) -> Result<Option<(Sequence, UpdateVersion)>, LandingError> {
    let got = match store.get(path).await {
        Ok(got) => got,
        Err(object_store::Error::NotFound { .. }) => return Ok(None),
        Err(error) => return Err(LandingError::store(path)(error)),
    };
    let version = UpdateVersion { e_tag: got.meta.e_tag.clone(), version: got.meta.version.clone() };
    let bytes = got.bytes().await.map_err(LandingError::store(path))?;
    let watermark: Watermark =
        serde_json::from_slice(&bytes).map_err(|error| LandingError::corrupt(path, error))?;
    Ok(Some((watermark.sequence, version)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    #[tokio::test]
    async fn a_watermark_never_goes_back() {
        let store = InMemory::new();
        for sequence in ["9", "10", "7"] {
            advance(&store, "events", "shardId-0", &sequence.parse().unwrap()).await.unwrap();
        }
        let watermarks = read_all(&store).await.unwrap();
        let key = ("events".to_owned(), "shardId-0".to_owned());
        assert_eq!(watermarks[&key].as_str(), "10");
    }
}
