//! Progress in large files: how many records have landed of a file that takes more than one invocation.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use pinlake_landing::LandingError;
use pinlake_store::{delete_if_exists, read_if_exists};
use serde::{Deserialize, Serialize};

use crate::source::FileSource;

/// Path prefix of progress objects.
const PROGRESS: &str = "state/files";

/// How many records of one version of a file have landed. A replaced file starts from zero.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Records that have landed.
    pub records: u64,
    /// The version the records are counted in: its ETag and its size in bytes.
    e_tag: Option<String>,
    size: u64,
}

impl Progress {
    /// Progress of `records` records in the version `meta`.
    pub fn new(meta: &ObjectMeta, records: u64) -> Self {
        Self { records, e_tag: meta.e_tag.clone(), size: meta.size }
    }

    fn path(file: &FileSource) -> Path {
        Path::from(format!("{PROGRESS}/{}.json", file.id))
    }

    /// Lists the paths of all progress objects.
    ///
    /// # Errors
    /// If the store cannot be listed.
    pub async fn list(store: &dyn ObjectStore) -> Result<BTreeSet<Path>, LandingError> {
        let prefix = Path::from(PROGRESS);
        let listed = store.list(Some(&prefix)).map_ok(|meta| meta.location);
        listed.try_collect().await.map_err(LandingError::store(&prefix))
    }

    /// Whether `listed` (from [`Progress::list`]) has an object for this file.
    pub fn is_listed(file: &FileSource, listed: &BTreeSet<Path>) -> bool {
        listed.contains(&Self::path(file))
    }

    /// Reads the progress in the version `meta`. It is zero if there is none, if it belongs to another version, or if
    /// it names no version, as in objects of earlier releases: the records then land again, with the same keys.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn read(
        store: &dyn ObjectStore,
        file: &FileSource,
        meta: &ObjectMeta,
    ) -> Result<Self, LandingError> {
        let path = Self::path(file);
        let bytes = read_if_exists(store, &path).await.map_err(LandingError::store(&path))?;
        let stored: Option<Self> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let zero = Self::new(meta, 0);
        let is_same_version = |stored: &Self| {
            stored.e_tag.is_some() && (&stored.e_tag, stored.size) == (&zero.e_tag, zero.size)
        };
        Ok(stored.filter(is_same_version).unwrap_or(zero))
    }

    /// Stores the progress for the next invocation, and returns its path.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn write(&self, store: &dyn ObjectStore, file: &FileSource) -> Result<Path, LandingError> {
        let path = Self::path(file);
        let bytes = serde_json::to_vec(self).map_err(|error| LandingError::corrupt(&path, error))?;
        store.put(&path, PutPayload::from(bytes)).await.map_err(LandingError::store(&path))?;
        Ok(path)
    }

    /// Removes the progress of a finished file.
    ///
    /// # Errors
    /// If the store fails. The leftover object is harmless: other versions ignore it.
    pub async fn remove(store: &dyn ObjectStore, file: &FileSource) -> Result<(), LandingError> {
        let path = Self::path(file);
        delete_if_exists(store, &path).await.map_err(LandingError::store(&path))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chrono::DateTime;
    use object_store::memory::InMemory;
    use pinlake_schema::Catalog;

    #[tokio::test]
    async fn progress_belongs_to_one_version_until_it_is_removed() {
        let (store, catalog) = (InMemory::new(), Catalog::embedded().unwrap());
        let file = FileSource::from_bucket(&catalog, "b", "k", DateTime::UNIX_EPOCH);
        let put = async |text: &'static str| {
            store.put(&Path::from("k"), text.into()).await.unwrap();
            store.head(&Path::from("k")).await.unwrap()
        };
        let records = async |meta| Progress::read(&store, &file, meta).await.unwrap().records;
        let (one, two) = (put("one").await, put("two").await);
        assert_eq!(records(&one).await, 0);
        Progress::new(&one, 7).write(&store, &file).await.unwrap();
        assert!(Progress::is_listed(&file, &Progress::list(&store).await.unwrap()));
        assert_eq!((records(&one).await, records(&two).await), (7, 0));
        // The format of earlier releases, which names no version, and an object that is no progress.
        for other in [r#"{"records":7}"#, "junk"] {
            store.put(&Progress::path(&file), other.into()).await.unwrap();
            assert_eq!(records(&one).await, 0);
        }
        for _ in 0..2 {
            Progress::remove(&store, &file).await.unwrap();
        }
        assert!(Progress::list(&store).await.unwrap().is_empty());
    }
}
