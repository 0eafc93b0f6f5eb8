//! Changing rows that are in the table, without changing their keys.

use std::collections::BTreeSet;

use arrow::array::{Array, BooleanArray, RecordBatch};
use arrow::error::ArrowError;
use bytes::Bytes;
use object_store::path::Path;

use super::{CONTENTION, Known, Table, Written};
use crate::data_file::{self, DataFile, Rows};
use crate::error::LakeError;
use crate::keys::{self, Key, SortedKeys};
use crate::log::{Change, CommitNote};

impl Table {
    /// Rewrites the rows of `keys`: `change` is given a batch of the table's columns and which of its rows are meant,
    /// and must leave their identity as it is; it answers nothing when the batch is as it should be. Answers how many
    /// rows were meant in the files that were rewritten; keys that the table has not are read over. One commit a data
    /// file, each bound to the version it was read from, like an insert.
    ///
    /// # Errors
    /// See [`LakeError`]; after a retryable one, doing it again is safe if `change` is.
    pub async fn update(
        &self,
        keys: &BTreeSet<Key>,
        change: impl Fn(&RecordBatch, &BooleanArray) -> Result<Option<RecordBatch>, ArrowError>,
    ) -> Result<u64, LakeError> {
        let mut pending = keys.clone();
        let mut updated = 0;
        if pending.is_empty() {
            return Ok(0);
        }
        let mut known = self.known.lock().await;
        let mut delays = CONTENTION.delays(&self.effects.rng);
        loop {
            known.log.refresh(&*self.store).await?;
            if known.log.version().is_none() {
                return Ok(updated);
            }
            self.check_rules(&known.log)?;
            let Some((file, own)) = self.holding(&mut known, &pending).await? else { return Ok(updated) };
            let has = |key: &Key| own.keys.binary_search(key).is_ok();
            let Some((rows, count)) = self.rewritten(&file, &pending, &change).await? else {
                pending.retain(|key| !has(key));
                continue;
            };
            let Known { log, keys } = &mut *known;
            let ready: Written = self.write_file(log, &rows, own.clone()).await?;
            let note = CommitNote { updated: count, ..self.note() };
            match self.commit(log, keys, &ready, Change::Update(&file.path), &note).await? {
                Some(_) => {
                    updated += count;
                    pending.retain(|key| !has(key));
                }
                None => self.wait_after_loss(&mut delays).await?,
            }
        }
    }

    /// A data file that has one of `wanted`, with all its keys.
    async fn holding(
        &self,
        known: &mut Known,
        wanted: &BTreeSet<Key>,
    ) -> Result<Option<(DataFile, SortedKeys)>, LakeError> {
        if wanted.is_empty() {
            return Ok(None);
        }
        let reader = self.key_reader(&known.log)?;
        for file in known.log.files().to_vec() {
            let own = reader.of_file(&file, &mut known.keys).await?;
            if wanted.iter().any(|key| own.keys.binary_search(key).is_ok()) {
                return Ok(Some((file, own)));
            }
        }
        Ok(None)
    }

    /// The rows of a data file as they should be, and how many were meant; nothing when they are so already.
    async fn rewritten(
        &self,
        file: &DataFile,
        wanted: &BTreeSet<Key>,
        change: impl Fn(&RecordBatch, &BooleanArray) -> Result<Option<RecordBatch>, ArrowError>,
    ) -> Result<Option<(Vec<Rows>, u64)>, LakeError> {
        let mut rows = Vec::new();
        let (mut count, mut changed) = (0, false);
        for batch in self.batches_of(file).await? {
            let of_batch = pinlake_clean::row_keys(&self.contract, &batch)
                .map_err(|error| LakeError::encode(&self.contract.name)(error))?;
            let meant: Vec<bool> =
                (0..of_batch.len()).map(|row| wanted.contains(&keys::key_at(&of_batch, row))).collect();
            count += meant.iter().filter(|meant| **meant).count() as u64;
            let new = change(&batch, &meant.into()).map_err(LakeError::encode(&self.contract.name))?;
            changed |= new.is_some();
            rows.push(new.unwrap_or(batch).into());
        }
        Ok(changed.then_some((rows, count)))
    }

    /// The rows of a data file, in the table's columns.
    pub(crate) async fn batches_of(&self, file: &DataFile) -> Result<Vec<RecordBatch>, LakeError> {
        let (path, bytes) = self.get(file).await?;
        self.decode(&path, bytes)
    }

    /// Where a data file lies, and its bytes, for [`Self::decode`].
    pub(super) async fn get(&self, file: &DataFile) -> Result<(Path, Bytes), LakeError> {
        let path = data_file::absolute(&self.root, &file.path);
        let bytes = data_file::get(&*self.store, &path).await?;
        Ok((path, bytes))
    }

    /// The rows of the bytes of the data file at `path`, in the table's columns.
    pub(super) fn decode(&self, path: &Path, bytes: Bytes) -> Result<Vec<RecordBatch>, LakeError> {
        let columns = self.contract.table_schema();
        let conform = |batch: RecordBatch| data_file::conform(&batch, &columns);
        let rows = data_file::open(path, bytes)?.batches;
        rows.map(|batch| batch.and_then(conform).map_err(LakeError::damaged(path))).collect()
    }
}
