//! Updates rows in place, without a change to their keys.

use std::collections::BTreeSet;

use arrow::array::{BooleanArray, RecordBatch};
use arrow::error::ArrowError;

use super::commit::{PrepareCommit, StagedCommit};
use super::{CachedState, Table};
use crate::data_file::{DataFile, Rows};
use crate::error::LakeError;
use crate::keys::{Key, SortedKeys, key_at};
use crate::log::{Operation, RowCounts};

/// Changes the selected rows of a batch; `None` if the batch stays as it is.
pub(crate) trait UpdateRows:
    Fn(&RecordBatch, &BooleanArray) -> Result<Option<RecordBatch>, ArrowError> + Send + Sync
{
}

impl<F> UpdateRows for F where
    F: Fn(&RecordBatch, &BooleanArray) -> Result<Option<RecordBatch>, ArrowError> + Send + Sync
{
}

impl Table {
    /// Updates the rows with these keys; ignores keys that the table does not have. `update` gets a batch of the
    /// table's columns and which of its rows are selected. It must not change their identity. Each data file is one
    /// commit. Returns the number of selected rows in the files that were rewritten.
    ///
    /// # Errors
    /// See [`LakeError`]. After a retryable one, repeating it is safe if `update` is idempotent.
    pub(crate) async fn update(
        &self,
        keys: &BTreeSet<Key>,
        update: impl UpdateRows,
    ) -> Result<u64, LakeError> {
        let mut operation = Update { pending: keys.clone(), staged: None, update };
        let mut updated = 0;
        while !operation.pending.is_empty() {
            let Some((_, committed)) = self.commit_with_retry(&mut operation).await? else { break };
            updated += committed.counts.updated;
            if let Some(keys) = operation.staged.take() {
                operation.remove_pending(&keys);
            }
        }
        Ok(updated)
    }

    /// Finds a data file that has one of `wanted`, and reads its keys.
    async fn find_file_with_any(
        &self,
        state: &mut CachedState,
        wanted: &BTreeSet<Key>,
    ) -> Result<Option<(DataFile, SortedKeys)>, LakeError> {
        if wanted.is_empty() {
            return Ok(None);
        }
        let reader = self.key_reader(&state.log).await?;
        for file in state.log.files() {
            let keys = reader.read_all(&file.into(), &mut state.keys).await?;
            if wanted.iter().any(|key| keys.keys.binary_search(key).is_ok()) {
                return Ok(Some((file.clone(), keys)));
            }
        }
        Ok(None)
    }

    /// The updated rows of a data file, and the number of selected ones; `None` if nothing changes.
    async fn update_file(
        &self,
        file: &DataFile,
        wanted: &BTreeSet<Key>,
        update: &impl UpdateRows,
    ) -> Result<Option<(Vec<Rows>, u64)>, LakeError> {
        let mut rows = Vec::new();
        let (mut count, mut has_changed) = (0, false);
        for batch in self.read_file(file).await? {
            let keys = pinlake_clean::row_keys(&self.contract, &batch)
                .map_err(|error| LakeError::encode(&self.contract.name)(error))?;
            let selected: Vec<bool> =
                (0..batch.num_rows()).map(|row| wanted.contains(&key_at(&keys, row))).collect();
            count += selected.iter().filter(|selected| **selected).count() as u64;
            let updated = update(&batch, &selected.into()).map_err(LakeError::encode(&self.contract.name))?;
            has_changed |= updated.is_some();
            rows.push(updated.unwrap_or(batch).into());
        }
        Ok(has_changed.then_some((rows, count)))
    }
}

struct Update<F> {
    /// Keys whose rows have not been updated yet.
    pending: BTreeSet<Key>,
    /// The keys of the file that was staged last.
    staged: Option<SortedKeys>,
    update: F,
}

impl<F> Update<F> {
    fn remove_pending(&mut self, keys: &SortedKeys) {
        self.pending.retain(|key| keys.keys.binary_search(key).is_err());
    }
}

impl<F: UpdateRows> PrepareCommit for Update<F> {
    const CREATES_TABLE: bool = false;

    async fn prepare(
        &mut self,
        table: &Table,
        state: &mut CachedState,
        _previous: Option<StagedCommit>,
    ) -> Result<Option<StagedCommit>, LakeError> {
        while let Some((file, keys)) = table.find_file_with_any(state, &self.pending).await? {
            let Some((rows, updated)) = table.update_file(&file, &self.pending, &self.update).await? else {
                self.remove_pending(&keys);
                continue;
            };
            self.staged = Some(keys.clone());
            let rewritten = table.stage_file(&state.log, &rows, keys, &file.partition).await?;
            return Ok(Some(StagedCommit {
                operation: Operation::Update,
                adds: vec![rewritten],
                removes: vec![file.path],
                key_lists: Vec::new(),
                counts: RowCounts { updated, ..RowCounts::default() },
            }));
        }
        Ok(None)
    }
}
