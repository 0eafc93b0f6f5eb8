//! Swaps all data files of a table for those of a copy under another contract, in one commit.

use std::collections::HashMap;

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use serde_json::Value;

use super::commit::contract_properties;
use super::{CachedState, IDENTITY_PROPERTY, Table};
use crate::data_file;
use crate::error::LakeError;
use crate::key_list::KeyList;
use crate::keys;
use crate::log::{FileChanges, Operation, RowCounts, TableLog};

/// Files that are copied at the same time.
const CONCURRENCY: usize = 8;

/// What a swap did.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Swapped {
    pub version: u64,
    pub files_added: u64,
}

impl Table {
    /// Whether rows were deleted whose keys or order are not those of the contract.
    pub(crate) async fn has_foreign_deletes(&self) -> Result<bool, LakeError> {
        let mut state = self.state.lock().await;
        let CachedState { log, deleted_keys, .. } = &mut *state;
        log.refresh(&*self.store).await?;
        if log.property(IDENTITY_PROPERTY) != Some(self.contract.identity_hash()) {
            return Ok(log.key_list(KeyList::Deleted)?.is_some());
        }
        self.refresh_deleted_keys(log, deleted_keys).await?;
        Ok(deleted_keys.rows(&self.contract).is_err())
    }

    /// Replaces the files and the columns of this table by those of `copy`, which is in `folder`, if `version` is still the newest. Returns
    /// `None` if it is not, or after a conflict.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn swap_files(
        &self,
        version: u64,
        copy: &Table,
        folder: &Path,
    ) -> Result<Option<Swapped>, LakeError> {
        let files = copy.data_files().await?;
        let adds = copy.read_add_actions().await?;
        // Copies exist before a commit names them.
        let sources: Vec<(Path, Path)> = files
            .iter()
            .flat_map(|file| {
                let path = |root: &Path| data_file::absolute_path(root, &file.path);
                let key_path = |root: &Path| keys::key_path(root, &file.path);
                [(path(copy.root()), path(&self.root)), (key_path(copy.root()), key_path(&self.root))]
            })
            .collect();
        futures::stream::iter(sources)
            .map(|(from, to)| async move {
                let from = Path::from_iter(folder.parts().chain(from.parts()));
                self.store.copy(&from, &to).await.map_err(LakeError::store(&from))
            })
            .buffer_unordered(CONCURRENCY)
            .try_collect::<Vec<_>>()
            .await?;
        let mut state = self.state.lock().await;
        state.log.refresh(&*self.store).await?;
        if state.log.version() != Some(version) {
            return Ok(None);
        }
        let info = self.build_commit_info(RowCounts::default());
        let removed: Vec<String> = state.log.files().iter().map(|file| file.path.clone()).collect();
        let changes = FileChanges {
            operation: Operation::Rebuild,
            adds: Vec::new(),
            removes: removed.iter().map(String::as_str).collect(),
            key_lists: &[],
        };
        let modified_ms = self.env.clock.now().timestamp_millis();
        let commit = state.log.build_commit(&changes, modified_ms, &info)?;
        let properties = contract_properties(&self.contract);
        let (columns, partition_by) = (self.contract.table_schema(), &self.contract.partition_by);
        let metadata = state.log.build_metadata(&columns, partition_by, &properties, &info)?;
        let mut lines = String::from_utf8_lossy(&commit).trim_end().to_owned();
        lines.push('\n');
        lines.push_str(&metadata);
        for file in &files {
            let missing =
                || LakeError::damaged(copy.root())(format!("no commit of the copy adds {}", file.path));
            lines.push('\n');
            lines.push_str(&adds.get(&file.path).ok_or_else(missing)?.to_string());
        }
        let committed = self.put_commit(&mut state.log, lines.into(), &info).await?;
        Ok(committed.map(|version| Swapped { version, files_added: files.len() as u64 }))
    }

    /// The `add` actions of a table that only pinlake writes to, by the path of their file.
    async fn read_add_actions(&self) -> Result<HashMap<String, Value>, LakeError> {
        let mut found = HashMap::new();
        for version in TableLog::list_versions(&*self.store, &self.root).await? {
            let Some(entry) = self.read_entry(version).await? else { continue };
            for action in serde_json::Deserializer::from_slice(&entry.bytes).into_iter::<Value>() {
                let action = action.map_err(LakeError::damaged(&entry.path))?;
                if let Some(file) = action["add"]["path"].as_str().map(str::to_owned) {
                    found.insert(file, action);
                }
            }
        }
        Ok(found)
    }
}
