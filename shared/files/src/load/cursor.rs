//! Cursors: how far a load of a bucket got. They are kept in the lake under `state/load/`.

use std::error::Error;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use pinlake_clean::record_reader::ReadError;
use pinlake_store::{delete_if_exists, read_json};
use serde::{Deserialize, Serialize};

use super::error::LoadError;

/// Read errors whose text is kept; further ones are counted.
const MAX_ERRORS: usize = 100;
/// Characters kept of an error.
const MAX_ERROR_CHARS: usize = 500;

/// Everything that decides what a load does with an object. Each task has a cursor of its own.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Task {
    /// `s3://bucket/prefix`.
    #[serde(rename = "source")]
    pub(super) address: String,
    /// The dataset given for all objects.
    pub(super) dataset: Option<String>,
    /// The hash of all contracts.
    pub(super) contracts: String,
}

/// The last object whose rows are in the tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Cursor {
    pub(super) task: Task,
    /// The key of that object; `None` at the start.
    pub(super) after: Option<String>,
    /// A hash over the keys and versions of all objects up to `after`.
    passed: String,
    /// How many of them could not be read to their end.
    pub(super) unreadable: u64,
    /// The first errors.
    pub(super) errors: Vec<String>,
}

impl Cursor {
    /// A cursor before the first object.
    pub(super) fn at_start(task: Task) -> Self {
        Self { task, after: None, passed: String::new(), unreadable: 0, errors: Vec::new() }
    }

    /// Advances the cursor past an object.
    pub(super) fn advance(&mut self, object: &ObjectMeta) {
        self.passed = hash_next(&self.passed, object);
        self.after = Some(object.location.to_string());
    }

    pub(super) fn record_unreadable(&mut self, error: &ReadError) {
        self.unreadable += 1;
        if self.errors.len() < MAX_ERRORS {
            self.errors.push(error.to_string().chars().take(MAX_ERROR_CHARS).collect());
        }
    }

    /// Whether the objects up to the cursor are the same as when it was written.
    pub(super) async fn is_valid(
        &self,
        store: &dyn ObjectStore,
        prefix: &Path,
    ) -> object_store::Result<bool> {
        let Some(after) = &self.after else { return Ok(true) };
        let mut hash = String::new();
        let mut listed = store.list(Some(prefix));
        while let Some(object) = listed.try_next().await? {
            if object.location.as_ref() > after.as_str() {
                break;
            }
            hash = hash_next(&hash, &object);
        }
        Ok(hash == self.passed)
    }

    fn path(task: &Task) -> Path {
        let mut hash = blake3::Hasher::new();
        for part in [Some(task.address.as_str()), task.dataset.as_deref(), Some(task.contracts.as_str())] {
            // The length separates the parts, and no part from an empty one.
            hash.update(&part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            hash.update(part.unwrap_or_default().as_bytes());
        }
        Path::from(format!("state/load/{}.json", &hash.finalize().to_hex()[..32]))
    }

    /// Reads the cursor of a task, if there is one.
    pub(super) async fn read(lake: &dyn ObjectStore, task: &Task) -> Result<Option<Self>, LoadError> {
        let path = Self::path(task);
        let error =
            |source: Box<dyn Error + Send + Sync>| LoadError::ReadCursor { path: path.to_string(), source };
        read_json(lake, &path).await.map_err(|source| error(source.into()))
    }

    pub(super) async fn write(&self, lake: &dyn ObjectStore) -> Result<(), LoadError> {
        let path = Self::path(&self.task);
        let error =
            |source: Box<dyn Error + Send + Sync>| LoadError::WriteCursor { path: path.to_string(), source };
        let bytes = serde_json::to_vec(self).map_err(|source| error(source.into()))?;
        lake.put(&path, PutPayload::from(bytes)).await.map_err(|source| error(source.into()))?;
        Ok(())
    }

    pub(super) async fn remove(&self, lake: &dyn ObjectStore) -> Result<(), LoadError> {
        let path = Self::path(&self.task);
        delete_if_exists(lake, &path)
            .await
            .map_err(|source| LoadError::RemoveCursor { path: path.to_string(), source: source.into() })
    }
}

/// Extends the hash by an object. Without ETags, versions are distinguished by size alone.
fn hash_next(before: &str, object: &ObjectMeta) -> String {
    let version = object.e_tag.as_deref().unwrap_or_default();
    let text = format!("{before}\n{}\n{version}\n{}", object.location, object.size);
    blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
}
