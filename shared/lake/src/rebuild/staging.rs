//! The state of a rebuild in the lake, by which an interrupted one continues.

use std::collections::BTreeSet;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt};
use pinlake_schema::Contract;
use pinlake_store::{delete_all_if_exist, read_if_exists};
use serde::{Deserialize, Serialize};

use crate::error::LakeError;
use crate::table::Table;

/// Folder of rebuilds below the table's.
pub(super) const FOLDER: &str = "_pinlake_rebuild";
const PROGRESS: &str = "progress.json";

/// The folder of a copy: another one for each form of the table, so that a rebuild only continues one of the same form.
pub(super) fn name_copy(contract: &Contract) -> String {
    [&[contract.hash().to_owned()], contract.partition_by.as_slice()].concat().join("-")
}

/// Which data files of the table were carried over.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Progress {
    files: BTreeSet<String>,
    /// The table's version when the rebuild began.
    since: Option<u64>,
    pub read: u64,
    /// Rows that the contract does not accept, and one of them.
    pub rejected: u64,
    pub example: Option<String>,
}

impl Progress {
    pub(super) async fn load(staged: &dyn ObjectStore) -> Result<Self, LakeError> {
        let path = Path::from(PROGRESS);
        let bytes = read_if_exists(staged, &path).await.map_err(LakeError::store(&path))?;
        // A state that cannot be read begins the rebuild again.
        Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()).unwrap_or_default())
    }

    pub(super) fn has(&self, path: &str) -> bool {
        self.files.contains(path)
    }

    /// Begins a rebuild of a version of the table. The version is stored before the copy has rows: a copy of unknown age may have rows that were
    /// deleted since.
    pub(super) async fn begin(staged: &dyn ObjectStore, version: u64) -> Result<Self, LakeError> {
        remove(staged).await?;
        let begun = Self { since: Some(version), ..Self::default() };
        begun.store(staged).await?;
        Ok(begun)
    }

    /// Notes a file whose rows are in the copy.
    pub(super) async fn add(&mut self, staged: &dyn ObjectStore, path: &str) -> Result<(), LakeError> {
        self.files.insert(path.to_owned());
        self.store(staged).await
    }

    async fn store(&self, staged: &dyn ObjectStore) -> Result<(), LakeError> {
        let at = Path::from(PROGRESS);
        let bytes = serde_json::to_vec(self).map_err(LakeError::encode(PROGRESS))?;
        staged.put(&at, bytes.into()).await.map_err(LakeError::store(&at))?;
        Ok(())
    }

    /// Whether nothing was begun, or rows that were carried over may have changed or gone since. Merged files have the same rows.
    pub(super) async fn is_outdated(&self, table: &Table, version: u64) -> Result<bool, LakeError> {
        let Some(since) = self.since else { return Ok(true) };
        for version in since + 1..=version {
            let keeps_rows = table
                .read_commit(version)
                .await?
                .is_some_and(|commit| commit.files_removed == 0 || commit.is_merge());
            if !keeps_rows {
                return Ok(true);
            }
        }
        Ok(version < since)
    }
}

/// Removes the copy and the state of a rebuild.
pub(super) async fn remove(staged: &dyn ObjectStore) -> Result<(), LakeError> {
    let folder = Path::default();
    let objects: Vec<ObjectMeta> =
        staged.list(None).try_collect().await.map_err(LakeError::store(&folder))?;
    let paths = objects.into_iter().map(|object| object.location).collect();
    delete_all_if_exist(staged, paths).await.map_err(LakeError::store(&folder))
}
