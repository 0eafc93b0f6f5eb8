//! Reads the keys of a table's data files, and rebuilds key files that are missing or invalid.

use std::ops::Range;
use std::sync::Arc;

use arrow::array::Array;
use futures::stream::TryReadyChunksError;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_schema::Contract;
use pinlake_store::{none_if_not_found, read_if_exists};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use super::cache::KeyCache;
use super::epoch::{EpochKeys, KeyEpoch, KnownEpochs, SortedKeys};
use super::file_keys::{FileKeys, KeySet};
use super::format::{HEADER_BYTES, Header, MAX_KEYS_WITHOUT_INDEX, decode, encode, key_path};
use super::index::{KeyIndex, WantedKeys, bucket_bits, index_bytes, index_parts};
use super::key::{KEY_BYTES, Key, key_at};
use crate::data_file::{self, DataFile};
use crate::error::LakeError;
use crate::key_list::KeyList;

/// Key files that are read at the same time.
pub(super) const CONCURRENCY: usize = 8;
/// Up to this many candidates of one file are read one by one. For more, all keys of the file are read.
pub(super) const MAX_SINGLE_READS: usize = 64;

/// Reads the keys of one table. It takes the table's rules, because a key file that was built under other rules would
/// let every row in a second time.
#[derive(Debug, Clone)]
pub(crate) struct KeyReader<'a> {
    pub store: &'a Arc<dyn ObjectStore>,
    /// The table's folder.
    pub table: &'a Path,
    pub contract: &'a Contract,
    /// The epoch in the table's properties, which holds for files that do not name their own.
    pub table_epoch: KeyEpoch,
    /// The epochs that the table's files may have.
    pub epochs: KnownEpochs,
    /// Whether files of other epochs are passed over: they cannot contain the keys that are searched for.
    pub skips_other_epochs: bool,
    /// Whether the log declares a column for the keys of rows.
    pub declares_keys: bool,
}

/// A key file to search.
#[derive(Debug, Clone)]
pub(crate) enum KeySource {
    /// That of a data file, from which it can be rebuilt.
    DataFile(DataFile),
    /// One of rows that are no longer in the table: see [`KeyList::Replaced`].
    Replaced {
        /// The file's name.
        name: String,
        /// How many keys it has.
        keys: u64,
    },
}

impl From<&DataFile> for KeySource {
    fn from(file: &DataFile) -> Self {
        Self::DataFile(file.clone())
    }
}

impl KeySource {
    /// What its keys are cached under.
    fn name(&self) -> &str {
        match self {
            KeySource::DataFile(file) => &file.path,
            KeySource::Replaced { name, .. } => name,
        }
    }

    /// How many keys it has, if the log says so.
    fn count(&self) -> Option<u64> {
        match self {
            KeySource::DataFile(file) => file.rows,
            KeySource::Replaced { keys, .. } => Some(*keys),
        }
    }

    fn path(&self, table: &Path) -> Path {
        match self {
            KeySource::DataFile(file) => key_path(table, &file.path),
            KeySource::Replaced { name, .. } => KeyList::Replaced.file_path(table, name),
        }
    }
}

/// Which rows of a batch a table contains.
#[derive(Debug, Default)]
pub(crate) struct Presence {
    /// For each row of the batch whether the table has it, or had it before a row with more values took its place.
    pub present: Vec<bool>,
    /// The rows that a file of an earlier epoch contains with fewer values.
    pub earlier: Vec<EarlierRow>,
}

/// A row of a table that a row of a batch extends.
#[derive(Debug)]
pub(crate) struct EarlierRow {
    /// The row of the batch.
    pub row: usize,
    /// Path of the data file, relative to the table's folder.
    pub file: String,
    /// The epoch of that file's keys.
    pub epoch: KeyEpoch,
    /// The key in that file.
    pub key: Key,
}

impl KeyReader<'_> {
    /// Reads all keys of one file.
    ///
    /// # Errors
    /// As [`Self::find_present`].
    pub(crate) async fn read_all(
        &self,
        source: &KeySource,
        cache: &mut KeyCache,
    ) -> Result<SortedKeys, LakeError> {
        if let Some(FileKeys { epoch, keys: KeySet::Complete(keys) }) = cache.get(source.name()) {
            return Ok(SortedKeys { epoch: *epoch, keys: keys.clone() });
        }
        let keys = self.load(source).await?;
        cache.insert(source.name(), encode(&keys).1);
        Ok(keys)
    }

    /// Finds the rows of a batch in `sources`. `wanted` are the rows' keys under every
    /// epoch that the files may have; the first element is in row order.
    ///
    /// # Errors
    /// If the store fails, if a data file without a valid key file cannot be read or does not store its keys, or if a
    /// file has another epoch.
    pub(crate) async fn find_present(
        &self,
        sources: impl IntoIterator<Item = KeySource>,
        wanted: &[EpochKeys<'_>],
        cache: &mut KeyCache,
    ) -> Result<Presence, LakeError> {
        let rows = wanted.first().map_or(0, |wanted| wanted.keys.len());
        let mut found = Presence { present: vec![false; rows], earlier: Vec::new() };
        let filters: Vec<WantedKeys<'_>> =
            wanted.iter().map(|wanted| WantedKeys::new(&wanted.keys)).collect();
        let filters = &filters;
        let with_cached = |source: KeySource| {
            let keys = cache.get(source.name()).cloned();
            (source, keys)
        };
        let cached: Vec<_> = sources.into_iter().map(with_cached).collect();
        let mut groups = futures::stream::iter(cached)
            .map(async |(source, cached)| {
                // No record has a key of an epoch that is no longer known.
                let skips_others = self.skips_other_epochs || matches!(source, KeySource::Replaced { .. });
                let keys = match cached {
                    Some(keys) => keys,
                    None => match self.load_for_check(&source).await {
                        Err(LakeError::IdentityChanged { .. }) if skips_others => return Ok(None),
                        loaded => loaded?,
                    },
                };
                let at = wanted.iter().position(|wanted| wanted.epoch == keys.epoch);
                match at {
                    None if self.skips_other_epochs => Ok(None),
                    None if self.epochs.contains(keys.epoch) => Err(LakeError::KeysMissing {
                        dataset: self.contract.name.clone(),
                        identity: keys.epoch.to_string(),
                    }),
                    None => Err(self.identity_changed(keys.epoch)),
                    Some(at) => Ok::<_, LakeError>(Some((source, keys, at))),
                }
            })
            .buffer_unordered(CONCURRENCY)
            .try_filter_map(|found| std::future::ready(Ok(found)))
            .try_ready_chunks(CONCURRENCY);
        while let Some(group) = groups.try_next().await.map_err(|TryReadyChunksError(_, error)| error)? {
            let candidates: Vec<_> =
                group.par_iter().map(|(_, keys, at)| keys.find_candidates(&filters[*at])).collect();
            let mut confirmed = futures::stream::iter(group.into_iter().zip(candidates))
                .map(async |((source, keys, at), candidates)| {
                    let in_file = self.confirm(&source, &keys, candidates, &filters[at]).await?;
                    Ok::<_, LakeError>((source, keys, at, in_file))
                })
                .buffer_unordered(CONCURRENCY);
            while let Some((source, keys, at, in_file)) = confirmed.try_next().await? {
                for position in in_file {
                    let row = wanted[at].row(position);
                    if !wanted[at].replaces(position) {
                        found.present[row] = true;
                    } else if let KeySource::DataFile(file) = &source {
                        let EpochKeys { epoch, keys, .. } = &wanted[at];
                        let (file, epoch, key) = (file.path.clone(), *epoch, keys[position]);
                        found.earlier.push(EarlierRow { row, file, epoch, key });
                    }
                }
                cache.insert(source.name(), keys);
            }
        }
        Ok(found)
    }

    fn identity_changed(&self, epoch: KeyEpoch) -> LakeError {
        LakeError::IdentityChanged {
            dataset: self.contract.name.clone(),
            table: epoch.to_string(),
            contract: self.contract.label(),
            wanted: self.contract.identity_hash().to_owned(),
        }
    }

    /// Loads what a check needs of a file that is not cached: the index of a large file, the keys of a small one.
    async fn load_for_check(&self, source: &KeySource) -> Result<FileKeys, LakeError> {
        // The count in the log gives the length of the index.
        let rows = source.count().and_then(|rows| usize::try_from(rows).ok());
        if let Some(count) = rows.filter(|rows| *rows > MAX_KEYS_WITHOUT_INDEX) {
            let path = source.path(self.table);
            let end = HEADER_BYTES + index_bytes(count);
            let read = none_if_not_found(self.store.get_range(&path, 0..end as u64).await);
            if let Some(bytes) = read.map_err(LakeError::store(&path))? {
                let header = Header::parse(&bytes).filter(|header| header.has_index && header.count == count);
                if let Some(header) = header
                    && let Some(epoch) = self.check_epoch(header.epoch)
                    && let first_key = header.bytes + index_bytes(count)
                    && bytes.len() >= first_key
                {
                    let bytes = bytes.slice(header.bytes..first_key);
                    let index = KeyIndex { count, first_key, bytes, keys: None };
                    return Ok(FileKeys { epoch, keys: KeySet::Index(index) });
                }
            }
            // The key file has no usable index: read all of it, or rebuild it from the data file.
        }
        Ok(encode(&self.load(source).await?).1)
    }

    /// The epoch of a file that names `epoch`; `None` if the contract computes no keys of it.
    fn check_epoch(&self, epoch: Option<KeyEpoch>) -> Option<KeyEpoch> {
        let epoch = epoch.unwrap_or(self.table_epoch);
        self.epochs.contains(epoch).then_some(epoch)
    }

    /// Of a file's candidates, the positions in `wanted` of those that the file contains.
    async fn confirm(
        &self,
        source: &KeySource,
        keys: &FileKeys,
        candidates: Vec<(usize, usize)>,
        wanted: &WantedKeys<'_>,
    ) -> Result<Vec<usize>, LakeError> {
        let index = match &keys.keys {
            KeySet::Index(index) if !candidates.is_empty() => index,
            // Candidates of complete keys are certain.
            _ => return Ok(candidates.into_iter().map(|(at, _)| at).collect()),
        };
        let key = |at: usize| at * KEY_BYTES..(at + 1) * KEY_BYTES;
        let confirm_in = |keys: &[u8]| {
            let same = candidates
                .iter()
                .filter(|(at, position)| keys.get(key(*position)) == Some(&wanted.keys[*at]));
            same.map(|(at, _)| *at).collect()
        };
        if let Some(keys) = &index.keys {
            return Ok(confirm_in(keys));
        }
        // A key that is read must match its entry in the index. If it does not, the key file was rebuilt in another
        // format after its index was read.
        let bits = bucket_bits(index.count);
        let matches_index = |wanted: &Key, own: &[u8]| {
            Key::try_from(own).is_ok_and(|own| index_parts(&own, bits) == index_parts(wanted, bits))
        };
        let path = source.path(self.table);
        let in_file =
            |keys: Range<usize>| (index.first_key + keys.start) as u64..(index.first_key + keys.end) as u64;
        let read = if candidates.len() <= MAX_SINGLE_READS {
            let ranges: Vec<_> = candidates.iter().map(|(_, position)| in_file(key(*position))).collect();
            self.store.get_ranges(&path, &ranges).await.map(|own| {
                let read: Vec<_> = candidates.iter().map(|(at, _)| *at).zip(own).collect();
                let is_valid = read.iter().all(|(at, own)| matches_index(&wanted.keys[*at], own));
                let same = read.into_iter().filter(|(at, own)| **own == wanted.keys[*at]);
                is_valid.then(|| same.map(|(at, _)| at).collect())
            })
        } else {
            self.store.get_range(&path, in_file(0..index.count * KEY_BYTES)).await.map(|keys| {
                let own = |position: usize| keys.get(key(position)).unwrap_or_default();
                let is_valid =
                    candidates.iter().all(|(at, position)| matches_index(&wanted.keys[*at], own(*position)));
                is_valid.then(|| confirm_in(&keys))
            })
        };
        match none_if_not_found(read).map_err(LakeError::store(&path))? {
            Some(Some(found)) => Ok(found),
            // The key file has changed or gone since its index was read. The data file still has the keys.
            Some(None) | None => {
                let keys = self.load(source).await?.keys;
                let same = candidates.iter().filter(|(at, _)| keys.binary_search(&wanted.keys[*at]).is_ok());
                Ok(same.map(|(at, _)| *at).collect())
            }
        }
    }

    /// Reads all keys from the key file, or rebuilds it from the data file.
    async fn load(&self, source: &KeySource) -> Result<SortedKeys, LakeError> {
        let path = source.path(self.table);
        let bytes = read_if_exists(&**self.store, &path).await.map_err(LakeError::store(&path))?;
        let reason = match bytes.as_deref().map(decode) {
            None => "it is missing",
            Some(Err(reason)) => reason,
            Some(Ok((_, keys))) if source.count().is_some_and(|count| count != keys.len() as u64) => {
                "its number of keys is not that in the log"
            }
            Some(Ok((epoch, keys))) => match (self.check_epoch(epoch), epoch, source) {
                (Some(epoch), ..) => return Ok(SortedKeys { epoch, keys }),
                (None, Some(epoch), KeySource::Replaced { .. }) => return Err(self.identity_changed(epoch)),
                _ => "its identity is not the table's",
            },
        };
        match source {
            KeySource::DataFile(file) => self.rebuild(file, &path, reason).await,
            KeySource::Replaced { .. } => Err(LakeError::damaged(&path)(format!(
                "{reason}; it has the keys of rows that were replaced: restore it from an earlier version of the object"
            ))),
        }
    }

    /// Rebuilds a key file from its data file, and writes it.
    async fn rebuild(&self, file: &DataFile, key_path: &Path, reason: &str) -> Result<SortedKeys, LakeError> {
        let path = data_file::absolute_path(self.table, &file.path);
        tracing::warn!(%path, reason, "rebuilding the key file from the data file");
        let partition = &file.partition;
        let file = data_file::open(&path, data_file::get(&**self.store, &path).await?)?;
        // Another program may have written values of later columns, which the keys of an earlier epoch do not cover.
        let unnamed = if self.epochs.others.is_empty() { self.table_epoch } else { self.epochs.current() };
        let epoch = file.epoch.unwrap_or(unnamed);
        if !self.epochs.contains(epoch) {
            return Err(self.identity_changed(epoch));
        }
        let mut keys = Vec::new();
        let contract = self.epochs.contract_of(epoch, self.contract);
        let columns = contract.table_schema();
        for batch in file.batches {
            let batch = batch.and_then(|batch| data_file::conform(&batch, &columns, partition));
            let batch = batch.map_err(LakeError::damaged(&path))?;
            let computed = pinlake_clean::row_keys(contract, &batch).map_err(LakeError::damaged(&path))?;
            for row in 0..computed.len() {
                let own = computed.is_valid(row).then(|| key_at(&computed, row));
                let foreign = || self.declares_keys.then(|| build_foreign_key(&path, keys.len()));
                let lost = || LakeError::KeysLost { path: path.to_string(), keys: key_path.to_string() };
                keys.push(own.or_else(foreign).ok_or_else(lost)?);
            }
        }
        keys.sort_unstable();
        let sorted = SortedKeys { epoch, keys: keys.into() };
        self.store.put(key_path, encode(&sorted).0.into()).await.map_err(LakeError::store(key_path))?;
        Ok(sorted)
    }
}

/// The key of a row that another program added to a table whose rows store their keys. No record has this key.
fn build_foreign_key(path: &Path, row: usize) -> Key {
    let form = format!("pinlake-foreign-row-1\n{path}\n{row}");
    let mut key = [0; KEY_BYTES];
    key.copy_from_slice(&blake3::hash(form.as_bytes()).as_bytes()[..KEY_BYTES]);
    key
}
