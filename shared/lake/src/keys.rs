//! Which keys a table has: one sorted key file beside each data file.
//!
//! `_pinlake_keys/<data file's name>.keys` holds the magic bytes, the count (u64, little endian) and the 16-byte
//! keys of the data file's rows in ascending order. It is a cache of what the data file says: written before the
//! commit that names the data file, made again from it when missing. (Delta's vacuum leaves folders that begin
//! with an underscore alone.)

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, FixedSizeBinaryArray, RecordBatch};
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pinlake_schema::{Contract, KEY_COLUMN};

use crate::data_file::DataFile;
use crate::error::LakeError;

/// Folder of the key files, in the table's folder.
pub(crate) const KEYS_FOLDER: &str = "_pinlake_keys";
const MAGIC: &[u8; 8] = b"PLKEYS01";
const HEADER: usize = 16;
const KEY: usize = 16;
/// Key files that are read at once.
const CONCURRENCY: usize = 8;

/// The key of a row. Big-endian bytes, so they order as the number does.
pub type Key = [u8; KEY];

/// Keys of whole files, kept while the function is warm, up to a number of bytes.
#[derive(Debug)]
pub(crate) struct KeyCache {
    files: HashMap<String, Arc<[Key]>>,
    room: usize,
}

impl KeyCache {
    pub(crate) fn with_room(bytes: usize) -> Self {
        Self { files: HashMap::new(), room: bytes }
    }

    pub(crate) fn remember(&mut self, file: &str, keys: Arc<[Key]>) {
        let bytes = keys.len() * KEY;
        if bytes <= self.room && !self.files.contains_key(file) {
            self.room -= bytes;
            self.files.insert(file.to_owned(), keys);
        }
    }

    /// Forgets files that are no longer in the table.
    pub(crate) fn retain(&mut self, live: &[DataFile]) {
        if self.files.is_empty() {
            return;
        }
        let live: HashSet<&str> = live.iter().map(|file| file.path.as_str()).collect();
        let room = &mut self.room;
        self.files.retain(|file, keys| {
            let keep = live.contains(file.as_str());
            if !keep {
                *room += keys.len() * KEY;
            }
            keep
        });
    }
}

/// The keys of a batch, in row order.
///
/// # Errors
/// When the batch has no key column.
pub(crate) fn keys_of(batch: &RecordBatch) -> Result<&FixedSizeBinaryArray, String> {
    let column = batch.column_by_name(KEY_COLUMN).ok_or_else(|| format!("no column {KEY_COLUMN}"))?;
    let keys = column.as_fixed_size_binary_opt().filter(|keys| keys.value_length() == KEY as i32);
    keys.filter(|keys| keys.null_count() == 0).ok_or_else(|| format!("{KEY_COLUMN} is not 16 bytes a row"))
}

/// One key of `keys_of`.
pub(crate) fn key_at(keys: &FixedSizeBinaryArray, row: usize) -> Key {
    let mut key = [0; KEY];
    key.copy_from_slice(keys.value(row));
    key
}

/// Where the key file of a data file lies.
pub(crate) fn key_path(table: &Path, data_file: &str) -> Path {
    let stem = data_file.rsplit('/').next().unwrap_or(data_file);
    let stem = stem.strip_suffix(".parquet").unwrap_or(stem);
    table.clone().join(KEYS_FOLDER).join(format!("{stem}.keys"))
}

/// A key file's bytes. `sorted` must ascend.
pub(crate) fn encode(sorted: &[Key]) -> Bytes {
    let mut bytes = Vec::with_capacity(HEADER + sorted.len() * KEY);
    bytes.extend_from_slice(MAGIC);
    bytes.extend_from_slice(&(sorted.len() as u64).to_le_bytes());
    bytes.extend_from_slice(sorted.as_flattened());
    bytes.into()
}

/// The keys of one data file, ascending.
///
/// # Errors
/// As [`present`].
pub(crate) async fn of_file(
    store: &Arc<dyn ObjectStore>,
    table: &Path,
    contract: &Contract,
    file: &DataFile,
    cache: &mut KeyCache,
) -> Result<Arc<[Key]>, LakeError> {
    if let Some(keys) = cache.files.get(&file.path) {
        return Ok(keys.clone());
    }
    let keys = load(store, table, contract, file).await?;
    cache.remember(&file.path, keys.clone());
    Ok(keys)
}

/// Says for each of `wanted` (ascending) whether one of `files` has it.
///
/// # Errors
/// When the store fails, or a data file without key file cannot be read.
pub(crate) async fn present(
    store: &Arc<dyn ObjectStore>,
    table: &Path,
    contract: &Contract,
    files: &[DataFile],
    wanted: &[Key],
    cache: &mut KeyCache,
) -> Result<Vec<bool>, LakeError> {
    let mut found = vec![false; wanted.len()];
    let mut unknown = Vec::new();
    for file in files {
        match cache.files.get(&file.path) {
            Some(keys) => mark(keys, wanted, &mut found),
            None => unknown.push(file.clone()),
        }
    }
    let mut loads = futures::stream::iter(unknown)
        .map(|file: DataFile| async move {
            let keys = load(store, table, contract, &file).await?;
            Ok::<_, LakeError>((file, keys))
        })
        .buffer_unordered(CONCURRENCY);
    while let Some((file, keys)) = loads.try_next().await? {
        mark(&keys, wanted, &mut found);
        cache.remember(&file.path, keys);
    }
    Ok(found)
}

/// Marks the members of `wanted` that are in `have`; both ascend. Each side's runs are skipped by binary search,
/// so a small batch against a large file costs little more than the batch.
fn mark(have: &[Key], wanted: &[Key], found: &mut [bool]) {
    let mut rest = have;
    for (key, found) in wanted.iter().zip(found) {
        rest = &rest[gallop(rest, key)..];
        match rest.first() {
            None => return,
            Some(first) => *found |= first == key,
        }
    }
}

/// The first position in `sorted` that is not below `key`.
fn gallop(sorted: &[Key], key: &Key) -> usize {
    let mut step = 1;
    while step < sorted.len() && sorted[step - 1] < *key {
        step *= 2;
    }
    let from = step / 2;
    let to = step.min(sorted.len());
    from + sorted[from..to].partition_point(|present| present < key)
}

async fn load(
    store: &Arc<dyn ObjectStore>,
    table: &Path,
    contract: &Contract,
    file: &DataFile,
) -> Result<Arc<[Key]>, LakeError> {
    let path = key_path(table, &file.path);
    let got = match store.get(&path).await {
        Ok(got) => got,
        Err(object_store::Error::NotFound { .. }) => {
            return rebuild(store, table, contract, file, &path).await;
        }
        Err(error) => return Err(LakeError::store(&path)(error)),
    };
    let bytes = got.bytes().await.map_err(LakeError::store(&path))?;
    decode(&bytes).map_err(|why| LakeError::Damaged { path: path.to_string(), why: why.to_owned() })
}

fn decode(bytes: &[u8]) -> Result<Arc<[Key]>, &'static str> {
    let (header, keys) = bytes.split_at_checked(HEADER).ok_or("shorter than its header")?;
    let (magic, count) = header.split_at(MAGIC.len());
    if magic != MAGIC {
        return Err("not a key file");
    }
    let (keys, rest) = keys.as_chunks::<KEY>();
    if !rest.is_empty() || (keys.len() as u64).to_le_bytes() != *count {
        return Err("its length is not what its header says; delete it: it will be made again");
    }
    Ok(keys.into())
}

/// Makes a missing key file from its data file, and writes it for the next one.
async fn rebuild(
    store: &Arc<dyn ObjectStore>,
    table: &Path,
    contract: &Contract,
    file: &DataFile,
    key_path: &Path,
) -> Result<Arc<[Key]>, LakeError> {
    let path = crate::data_file::absolute(table, &file.path);
    tracing::warn!(%path, "key file is missing, making it from the data file");
    let bytes = store.get(&path).await.map_err(LakeError::store(&path))?;
    let bytes = bytes.bytes().await.map_err(LakeError::store(&path))?;
    let damaged = |why: String| LakeError::Damaged { path: path.to_string(), why };
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(|error| damaged(error.to_string()))?;
    let mut keys = Vec::new();
    for batch in reader {
        let batch = batch.map_err(|error| damaged(error.to_string()))?;
        let of_batch = pinlake_clean::keys(contract, &batch).map_err(|error| damaged(error.to_string()))?;
        keys.extend((0..of_batch.len()).map(|row| key_at(&of_batch, row)));
    }
    keys.sort_unstable();
    store.put(key_path, encode(&keys).into()).await.map_err(LakeError::store(key_path))?;
    Ok(keys.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u128) -> Key {
        n.to_be_bytes()
    }

    #[test]
    fn marks_exactly_what_both_have() {
        let have: Vec<Key> = (0..1000).map(|n| key(n * 3)).collect();
        let wanted: Vec<Key> = [0, 1, 2, 3, 299, 300, 2997, 2998, 5000].map(key).to_vec();
        let mut found = vec![false; wanted.len()];
        mark(&have, &wanted, &mut found);
        assert_eq!(found, [true, false, false, true, false, true, true, false, false]);
        mark(&[], &wanted, &mut found);
        mark(&[key(1)], &wanted, &mut found);
        assert!(found[0] && found[1] && !found[2], "marks add up over files");
    }

    #[test]
    fn a_key_file_survives_and_a_cut_one_is_refused() {
        let keys: Vec<Key> = (0..5).map(key).collect();
        let bytes = encode(&keys);
        assert_eq!(&*decode(&bytes).unwrap(), &keys[..]);
        for cut in [0, 7, 15, 20, bytes.len() - 16] {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
    }

    #[test]
    fn the_cache_keeps_within_its_room() {
        let mut cache = KeyCache::with_room(3 * KEY);
        cache.remember("a", vec![key(1), key(2)].into());
        cache.remember("b", vec![key(3), key(4)].into());
        assert!(cache.files.contains_key("a") && !cache.files.contains_key("b"));
        cache.retain(&[DataFile { path: "c".to_owned(), size: 1, rows: None }]);
        cache.remember("b", vec![key(3), key(4)].into());
        assert!(cache.files.contains_key("b"));
    }
}
