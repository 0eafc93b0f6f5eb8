//! The evaluation of a data file of quarantine, and its cache.
//!
//! A data file never changes, so its evaluation under a catalog is computed once. It is stored beside the file's keys
//! as `<data file's name>.elsewhere`.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_schema::QUARANTINE;
use pinlake_store::read_if_exists;
use serde::{Deserialize, Serialize};

use crate::data_file::DataFile;
use crate::error::LakeError;
use crate::keys::Key;

/// Incremented when evaluating a record gives another result under the same contracts.
pub(crate) const EVALUATION_VERSION: u32 = 2;

/// How catalogs evaluate the unresolved records of one data file of quarantine.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Evaluation {
    /// The [`EVALUATION_VERSION`] of the program that wrote it.
    #[serde(rename = "form")]
    pub version: u32,
    /// Hashes of the catalogs that were evaluated.
    #[serde(rename = "releases")]
    pub catalogs: BTreeSet<String>,
    /// The records that they would place elsewhere.
    pub elsewhere: Vec<Placement>,
}

/// An unresolved record that a catalog would place elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Placement {
    /// The dataset there; quarantine, if the record has another key in it.
    pub dataset: String,
    /// The identity hash that the key there has.
    pub identity: String,
    /// Its key there.
    pub key: Key,
    /// Its key in quarantine.
    pub quarantined: Key,
}

impl Evaluation {
    /// Reads the evaluation stored at `path`. It is empty if there is none, or none that this version can use.
    pub(crate) async fn read(store: &dyn ObjectStore, path: &Path) -> Result<Self, LakeError> {
        let bytes = read_if_exists(store, path).await.map_err(LakeError::store(path))?;
        let stored: Option<Self> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(stored.filter(|stored| stored.version == EVALUATION_VERSION).unwrap_or_default())
    }

    /// Stores the evaluation. Two writers may replace each other's; what the last one lacks is computed again.
    pub(crate) async fn write(&self, store: &dyn ObjectStore, path: &Path) -> Result<(), LakeError> {
        let bytes = serde_json::to_vec(self).map_err(LakeError::encode(QUARANTINE))?;
        store.put(path, bytes.into()).await.map_err(LakeError::store(path))?;
        Ok(())
    }
}

/// The evaluations that a warm process keeps, by the path of the data file.
#[derive(Debug, Default)]
pub(crate) struct EvaluationCache(Mutex<HashMap<String, Arc<Evaluation>>>);

impl EvaluationCache {
    pub(crate) fn get(&self, file: &str) -> Option<Arc<Evaluation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(file).cloned()
    }

    pub(crate) fn insert(&self, file: &str, evaluation: &Arc<Evaluation>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(file.to_owned(), evaluation.clone());
    }

    /// Removes files that are no longer in the table.
    pub(crate) fn retain(&self, live: &[DataFile]) {
        let live: HashSet<&str> = live.iter().map(|file| file.path.as_str()).collect();
        let mut cached = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        cached.retain(|file, _| live.contains(file.as_str()));
    }
}
