//! Merges small data files.
//!
//! Every insert adds a data file, and every file costs each reader a request and each insert a read of its key file. So
//! small files are rewritten as one, with the same rows and without a change of data for readers of the table's
//! changes. The old files stay, for readers of older versions.

use std::collections::{BTreeMap, HashSet};

use arrow::datatypes::SchemaRef;
use futures::{StreamExt, TryStreamExt};

use super::commit::{PrepareCommit, StagedCommit, StagedFile};
use super::{CachedState, Table, decode_file};
use crate::data_file::DataFile;
use crate::error::LakeError;
use crate::keys::{KeyReader, SortedKeys};
use crate::log::{Operation, RowCounts};
use crate::partition_values::PartitionValues;

/// Files below this size are small.
const SMALL_FILE_BYTES: u64 = 16 << 20;
/// Total size of the files of one merge.
const MAX_MERGE_BYTES: u64 = 64 << 20;
/// Bytes in memory of their rows. The file that exceeds it is the last one: repeated texts take little space in a file.
const MAX_ROW_BYTES: usize = 512 << 20;
/// Files that are read at the same time.
const CONCURRENCY: usize = 16;

impl Table {
    /// Rewrites small data files as one if there are at least `min_files` of them. Returns the number of files that
    /// were merged.
    ///
    /// # Errors
    /// See [`LakeError`]. Repeating it is safe.
    pub async fn merge_small_files(&self, min_files: usize) -> Result<usize, LakeError> {
        let committed = self.commit_with_retry(&mut Merge { min_files }).await?;
        Ok(committed.map_or(0, |(_, merge)| merge.removes.len()))
    }

    /// Selects the small files whose keys have the contract's current epoch: keys of two epochs do not fit in one file.
    async fn select_mergeable_files(
        &self,
        state: &mut CachedState,
        reader: &KeyReader<'_>,
    ) -> Result<Vec<DataFile>, LakeError> {
        let small = select_small_files(state.log.files());
        if self.contract.former_identity_hash().is_none() && reader.epochs.others.is_empty() {
            return Ok(small);
        }
        let current = self.key_epoch()?;
        let mut found = Vec::with_capacity(small.len());
        for file in small {
            let keys = reader.read_all(&(&file).into(), &mut state.keys).await?;
            found.extend((keys.epoch == current).then_some(file));
        }
        Ok(found)
    }
}

impl Table {
    /// Writes the rows of files of one partition as one file, up to [`MAX_ROW_BYTES`], to which `bytes` counts. `None` if it would replace one
    /// file only.
    async fn merge_files(
        &self,
        state: &mut CachedState,
        reader: &KeyReader<'_>,
        columns: &SchemaRef,
        mut files: Vec<DataFile>,
        bytes: &mut usize,
    ) -> Result<Option<MergedFiles>, LakeError> {
        let fetches = files.clone().into_iter();
        let fetches = fetches.map(|file| async move {
            let fetched = self.fetch_file(&file).await?;
            Ok::<_, LakeError>((fetched, file.partition))
        });
        let mut fetches = futures::stream::iter(fetches).buffered(CONCURRENCY);
        let (mut rows, mut count) = (Vec::new(), 0);
        // Decoded one after the other, because only then is the size of the rows known.
        while *bytes < MAX_ROW_BYTES
            && let Some(((path, file), partition)) = fetches.try_next().await?
        {
            for batch in decode_file(&path, file, columns, &partition)? {
                *bytes += batch.get_array_memory_size();
                rows.push(batch.into());
            }
            count += 1;
        }
        drop(fetches);
        if count < 2 {
            return Ok(None);
        }
        files.truncate(count);
        let mut keys = Vec::new();
        for file in &files {
            keys.extend_from_slice(&reader.read_all(&file.into(), &mut state.keys).await?.keys);
        }
        keys.sort_unstable();
        let keys = SortedKeys { epoch: self.key_epoch()?, keys: keys.into() };
        // Files of other programs may have no rows.
        let file = match rows.is_empty() {
            true => None,
            false => Some(self.stage_file(&state.log, &rows, keys, &files[0].partition).await?),
        };
        Ok(Some(MergedFiles { file, replaces: files.into_iter().map(|file| file.path).collect() }))
    }
}

/// A file that is written in place of others; none if they had no rows.
struct MergedFiles {
    file: Option<StagedFile>,
    replaces: Vec<String>,
}

/// Groups files by partition: those with more than one file, the largest groups first.
fn group_by_partition(files: Vec<DataFile>) -> Vec<Vec<DataFile>> {
    let mut groups: BTreeMap<PartitionValues, Vec<DataFile>> = BTreeMap::new();
    for file in files {
        groups.entry(file.partition.clone()).or_default().push(file);
    }
    let mut groups: Vec<_> = groups.into_values().filter(|files| files.len() > 1).collect();
    groups.sort_by_key(|files| std::cmp::Reverse(files.len()));
    groups
}

struct Merge {
    min_files: usize,
}

impl PrepareCommit for Merge {
    const CREATES_TABLE: bool = false;

    async fn prepare(
        &mut self,
        table: &Table,
        state: &mut CachedState,
        previous: Option<StagedCommit>,
    ) -> Result<Option<StagedCommit>, LakeError> {
        if state.log.files().len() < self.min_files {
            return Ok(None);
        }
        // The previous merge is committed again as it is while the table has all files that it replaces: a merge takes
        // longer than an insert, and would conflict with concurrent inserts every time.
        if let Some(previous) = previous.filter(|merge| has_all_files(state.log.files(), &merge.removes)) {
            return Ok(Some(previous));
        }
        let reader = table.key_reader(&state.log).await?;
        let files = table.select_mergeable_files(state, &reader).await?;
        let parts = group_by_partition(files);
        // With one partition, the number of files.
        if 1 + parts.iter().map(|files| files.len() - 1).sum::<usize>() < self.min_files {
            return Ok(None);
        }
        let columns = table.columns(&state.log)?;
        let (mut adds, mut removes, mut bytes) = (Vec::new(), Vec::new(), 0);
        for files in parts {
            if bytes < MAX_ROW_BYTES
                && let Some(merged) = table.merge_files(state, &reader, &columns, files, &mut bytes).await?
            {
                adds.extend(merged.file);
                removes.extend(merged.replaces);
            }
        }
        if removes.is_empty() {
            return Ok(None);
        }
        Ok(Some(StagedCommit {
            operation: Operation::Merge,
            adds,
            removes,
            key_lists: Vec::new(),
            counts: RowCounts::default(),
        }))
    }
}

fn has_all_files(files: &[DataFile], paths: &[String]) -> bool {
    let present: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
    paths.iter().all(|path| present.contains(path.as_str()))
}

/// The smallest files, as many as one merge may take.
fn select_small_files(files: &[DataFile]) -> Vec<DataFile> {
    let mut small: Vec<DataFile> =
        files.iter().filter(|file| file.size < SMALL_FILE_BYTES).cloned().collect();
    small.sort_by(|a, b| a.size.cmp(&b.size).then_with(|| a.path.cmp(&b.path)));
    let mut bytes = 0;
    let fitting = small.iter().take_while(|file| {
        bytes += file.size;
        bytes <= MAX_MERGE_BYTES
    });
    let count = fitting.count();
    small.truncate(count);
    small
}
