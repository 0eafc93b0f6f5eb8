//! Which keys a table has: one sorted key file beside each data file.
//!
//! `_pinlake_keys/<data file's name>.keys` is a cache of what the data file says: written before the commit that names
//! the data file, made again from it when missing. (Delta's vacuum leaves folders that begin with an underscore
//! alone.) It holds `PLKEYS01`, the number of keys n (u64, little endian, like all numbers), and the 16-byte keys of the data
//! file's rows in ascending order. If they are more than 16,384 it holds:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `PLKEYS02` |
//! | 8 | n |
//! | 4 (2^b + 1) | where in the keys each value of a key's first b bits begins, and n; 2^b is n / 16 or a little less |
//! | 3 n | the 24 bits behind those, of each key |
//! | 16 n | the keys |
//!
//! Then a check reads what is before the keys, a fifth of the whole, and of the keys the few that this does not rule out:
//! nearly always those that are there. So its cost grows slowly with the table, and a warm function can keep what it
//! knows of many million rows: 3.25 bytes each.

use std::collections::{HashMap, HashSet, VecDeque};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use arrow::array::cast::AsArray;
use arrow::array::{Array, FixedSizeBinaryArray, RecordBatch};
use bytes::Bytes;
use futures::stream::TryReadyChunksError;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_schema::{Contract, KEY_COLUMN};
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::data_file::{self, DataFile};
use crate::error::LakeError;

/// Folder of the key files, in the table's folder.
pub(crate) const KEYS_FOLDER: &str = "_pinlake_keys";
const MAGIC: &[u8; 8] = b"PLKEYS01";
const MAGIC_WITH_INDEX: &[u8; 8] = b"PLKEYS02";
const HEADER: usize = 16;
const KEY: usize = 16;
/// Key files that are read at once.
const CONCURRENCY: usize = 8;
/// Of a file with more keys than this (256 KiB) the index is read and kept in their place.
const WHOLE_KEYS: usize = 1 << 14;
/// Bits of a key that its file's index has, behind those that choose the bucket.
const PRINT_BITS: u32 = 24;
/// A file of fewer keys than so many times those that are wanted is walked over: that is so much quicker a key.
const WALK: usize = 8;
/// Keys of one file that are looked at one by one; to look at more, all of them are read.
const SINGLE_KEYS: usize = 64;

/// The key of a row. Big-endian bytes, so they order as the number does.
pub type Key = [u8; KEY];

/// What is known of the keys of a data file.
#[derive(Debug, Clone)]
pub(crate) enum FileKeys {
    /// All of them, ascending.
    Whole(Arc<[Key]>),
    /// Enough to rule nearly every other key out.
    Index(KeyIndex),
}

impl FileKeys {
    /// What is worth keeping of a file's keys.
    fn of(keys: &Arc<[Key]>) -> FileKeys {
        encode(keys).1
    }

    /// Which of `wanted` the file may have: (position in `wanted`, position in the file's keys).
    fn candidates(&self, wanted: &Wanted<'_>) -> Vec<(usize, usize)> {
        match self {
            FileKeys::Whole(keys) => same(keys, wanted.keys),
            FileKeys::Index(index) => index.candidates(wanted),
        }
    }

    fn bytes(&self) -> usize {
        match self {
            FileKeys::Whole(keys) => keys.len() * KEY,
            FileKeys::Index(index) => index.bytes.len() + index.keys.as_ref().map_or(0, Bytes::len),
        }
    }

    /// An index alone, where it has its keys beside it.
    fn without_keys(&self) -> Option<FileKeys> {
        let FileKeys::Index(KeyIndex { count, bytes, keys: Some(_) }) = self else { return None };
        // A copy, or it would hold on to the keys: both are of one file's bytes.
        Some(FileKeys::Index(KeyIndex { count: *count, bytes: Bytes::copy_from_slice(bytes), keys: None }))
    }
}

/// The part of a key file before its keys.
#[derive(Debug, Clone)]
pub(crate) struct KeyIndex {
    count: usize,
    bytes: Bytes,
    /// The keys behind it, of a file that was written here, as long as there is room: what the index does not rule out need
    /// not be read.
    keys: Option<Bytes>,
}

/// How many of a key's first bits choose where to look.
fn index_bits(count: usize) -> u32 {
    (count / 16).checked_ilog2().unwrap_or(0).min(28)
}

fn index_bytes(count: usize) -> usize {
    4 * ((1 << index_bits(count)) + 1) + 3 * count
}

/// The first `bits` bits of a key, from 1 to 63.
fn first_bits(key: &Key, bits: u32) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = *key;
    u64::from_be_bytes([a, b, c, d, e, f, g, h]) >> (64 - bits)
}

/// The first `bits` bits of a key, and the 24 behind them.
fn index_parts(key: &Key, bits: u32) -> (usize, u32) {
    let both = first_bits(key, bits + PRINT_BITS);
    ((both >> PRINT_BITS) as usize, (both & ((1 << PRINT_BITS) - 1)) as u32)
}

fn encode_index(sorted: &[Key], bytes: &mut Vec<u8>) {
    let bits = index_bits(sorted.len());
    let mut next = 0;
    for bucket in 0..1_usize << bits {
        bytes.extend_from_slice(&(next as u32).to_le_bytes());
        next += sorted[next..].iter().take_while(|key| index_parts(key, bits).0 == bucket).count();
    }
    bytes.extend_from_slice(&(next as u32).to_le_bytes());
    for key in sorted {
        bytes.extend_from_slice(&index_parts(key, bits).1.to_le_bytes()[..3]);
    }
}

/// Keys that are looked for, ascending.
struct Wanted<'a> {
    keys: &'a [Key],
    /// How many of a key's first bits the filter is by.
    bits: u32,
    /// Bits that are set for what one of the keys begins with: one in 64, or fewer, so that hardly any other key is looked
    /// for among them.
    filter: Vec<u64>,
}

impl<'a> Wanted<'a> {
    fn new(keys: &'a [Key]) -> Self {
        let bits = (keys.len().checked_ilog2().unwrap_or(0) + 7).max(6);
        let mut filter = vec![0_u64; 1 << (bits - 6)];
        for key in keys {
            let begins = first_bits(key, bits);
            filter[(begins / 64) as usize] |= 1 << (begins % 64);
        }
        Self { keys, bits, filter }
    }

    fn may_have(&self, begins: u64) -> bool {
        self.filter[(begins / 64) as usize] & 1 << (begins % 64) != 0
    }
}

impl KeyIndex {
    /// As [`FileKeys::candidates`]. A damaged index may point anywhere within the file; the keys themselves decide.
    fn candidates(&self, wanted: &Wanted<'_>) -> Vec<(usize, usize)> {
        let bits = index_bits(self.count);
        let known = bits + PRINT_BITS;
        if wanted.keys.len() > self.count / WALK && wanted.bits <= known {
            self.walked(wanted, bits, known)
        } else {
            self.looked_up(wanted.keys, bits)
        }
    }

    /// Where a bucket begins, and the place after its last key.
    fn bucket(&self, bucket: usize, starts: &[[u8; 4]]) -> Range<usize> {
        let start = |bucket: usize| (u32::from_le_bytes(starts[bucket]) as usize).min(self.count);
        start(bucket)..start(bucket + 1)
    }

    fn parts(&self, bits: u32) -> (&[[u8; 4]], &[[u8; 3]]) {
        let (starts, prints) = self.bytes.split_at(4 * ((1 << bits) + 1));
        (starts.as_chunks::<4>().0, prints.as_chunks::<3>().0)
    }

    /// By a walk over the file's keys: nearly all of them end at the filter.
    fn walked(&self, wanted: &Wanted<'_>, bits: u32, known: u32) -> Vec<(usize, usize)> {
        let (starts, prints) = self.parts(bits);
        let mut found = Vec::new();
        let mut from = 0;
        for bucket in 0..1_usize << bits {
            let begins = |own: [u8; 3]| (bucket as u64) << PRINT_BITS | u64::from(print(own));
            let places = self.bucket(bucket, starts);
            let first = places.start;
            for (run, own) in prints.get(places).unwrap_or_default().chunks(64).enumerate() {
                // A bit a key, without a branch.
                let mut passed = 0_u64;
                for (at, own) in own.iter().enumerate() {
                    passed |= u64::from(wanted.may_have(begins(*own) >> (known - wanted.bits))) << at;
                }
                while passed != 0 {
                    let at = passed.trailing_zeros() as usize;
                    passed &= passed - 1;
                    let (begins, place) = (begins(own[at]), first + 64 * run + at);
                    from += gallop(&wanted.keys[from..], |key| first_bits(key, known) < begins);
                    let same = wanted.keys[from..].iter().take_while(|key| first_bits(key, known) == begins);
                    found.extend(same.enumerate().map(|(number, _)| (from + number, place)));
                }
            }
        }
        found
    }

    /// Bucket by bucket, for a few keys in a large file.
    fn looked_up(&self, wanted: &[Key], bits: u32) -> Vec<(usize, usize)> {
        let (starts, prints) = self.parts(bits);
        let mut found = Vec::new();
        for (at, key) in wanted.iter().enumerate() {
            let (bucket, own) = index_parts(key, bits);
            let same = self.bucket(bucket, starts).filter(|place| print(prints[*place]) == own);
            found.extend(same.map(|place| (at, place)));
        }
        found
    }
}

fn print([a, b, c]: [u8; 3]) -> u32 {
    u32::from_le_bytes([a, b, c, 0])
}

/// Keys of whole files, or their indexes, kept while the function is warm, up to a number of bytes.
#[derive(Debug)]
pub(crate) struct KeyCache {
    files: HashMap<String, FileKeys>,
    /// The files whose index has its keys beside it, the oldest first.
    with_keys: VecDeque<String>,
    room: KeyRoom,
}

/// Bytes that are left for the keys of all tables of a lake together.
#[derive(Debug, Clone)]
pub(crate) struct KeyRoom(Arc<AtomicUsize>);

impl KeyRoom {
    pub(crate) fn of(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    fn take(&self, bytes: usize) -> bool {
        let less = |left: usize| left.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, less).is_ok()
    }

    fn give_back(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for KeyCache {
    fn drop(&mut self) {
        self.room.give_back(self.files.values().map(FileKeys::bytes).sum());
    }
}

impl KeyCache {
    pub(crate) fn new(room: KeyRoom) -> Self {
        Self { files: HashMap::new(), with_keys: VecDeque::new(), room }
    }

    pub(crate) fn remember(&mut self, file: &str, mut keys: FileKeys) {
        if self.files.contains_key(file) {
            return;
        }
        while !self.room.take(keys.bytes()) {
            // An index is worth more than the keys beside another.
            if let Some(oldest) = self.with_keys.pop_front() {
                self.drop_keys(&oldest);
            } else if let Some(index) = keys.without_keys() {
                keys = index;
            } else {
                return;
            }
        }
        if let FileKeys::Index(KeyIndex { keys: Some(_), .. }) = &keys {
            self.with_keys.push_back(file.to_owned());
        }
        self.files.insert(file.to_owned(), keys);
    }

    fn drop_keys(&mut self, file: &str) {
        if let Some(keys) = self.files.get_mut(file)
            && let Some(index) = keys.without_keys()
        {
            self.room.give_back(keys.bytes() - index.bytes());
            *keys = index;
        }
    }

    /// Forgets files that are no longer in the table.
    pub(crate) fn retain(&mut self, live: &[DataFile]) {
        if self.files.is_empty() {
            return;
        }
        let live: HashSet<&str> = live.iter().map(|file| file.path.as_str()).collect();
        let room = &self.room;
        self.files.retain(|file, keys| {
            let keep = live.contains(file.as_str());
            if !keep {
                room.give_back(keys.bytes());
            }
            keep
        });
        self.with_keys.retain(|file| self.files.contains_key(file));
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

/// A key file's bytes, and what is worth keeping of them. `sorted` must ascend.
pub(crate) fn encode(sorted: &Arc<[Key]>) -> (Bytes, FileKeys) {
    let indexed = sorted.len() > WHOLE_KEYS;
    let index = if indexed { index_bytes(sorted.len()) } else { 0 };
    let mut bytes = Vec::with_capacity(HEADER + index + sorted.len() * KEY);
    bytes.extend_from_slice(if indexed { MAGIC_WITH_INDEX } else { MAGIC });
    bytes.extend_from_slice(&(sorted.len() as u64).to_le_bytes());
    if indexed {
        encode_index(sorted, &mut bytes);
    }
    bytes.extend_from_slice(sorted.as_flattened());
    let bytes = Bytes::from(bytes);
    let known = if indexed {
        let keys = Some(bytes.slice(HEADER + index..));
        FileKeys::Index(KeyIndex { count: sorted.len(), bytes: bytes.slice(HEADER..HEADER + index), keys })
    } else {
        FileKeys::Whole(sorted.clone())
    };
    (bytes, known)
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
    if let Some(FileKeys::Whole(keys)) = cache.files.get(&file.path) {
        return Ok(keys.clone());
    }
    let keys = load(store, table, contract, file).await?;
    cache.remember(&file.path, FileKeys::of(&keys));
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
    let wanted = &Wanted::new(wanted);
    let known: Vec<_> =
        files.iter().map(|file| (file.clone(), cache.files.get(&file.path).cloned())).collect();
    let mut groups = futures::stream::iter(known)
        .map(async |(file, known)| {
            let keys = match known {
                Some(keys) => keys,
                None => for_check(store, table, contract, &file).await?,
            };
            Ok::<_, LakeError>((file, keys))
        })
        .buffer_unordered(CONCURRENCY)
        .try_ready_chunks(CONCURRENCY);
    while let Some(group) = groups.try_next().await.map_err(|TryReadyChunksError(_, error)| error)? {
        let candidates: Vec<_> = group.par_iter().map(|(_, keys)| keys.candidates(wanted)).collect();
        let mut confirmed = futures::stream::iter(group.into_iter().zip(candidates))
            .map(async |((file, keys), candidates)| {
                let of_file = confirm(store, table, contract, &file, &keys, candidates, wanted).await?;
                Ok::<_, LakeError>((file, keys, of_file))
            })
            .buffer_unordered(CONCURRENCY);
        while let Some((file, keys, of_file)) = confirmed.try_next().await? {
            for at in of_file {
                found[at] = true;
            }
            cache.remember(&file.path, keys);
        }
    }
    Ok(found)
}

/// What a check wants to know of a file that nothing is known of: of a large one, its index.
async fn for_check(
    store: &Arc<dyn ObjectStore>,
    table: &Path,
    contract: &Contract,
    file: &DataFile,
) -> Result<FileKeys, LakeError> {
    // Its statistics tell how long the index is.
    let rows = file.rows.and_then(|rows| usize::try_from(rows).ok()).filter(|rows| *rows > WHOLE_KEYS);
    if let Some(count) = rows {
        let path = key_path(table, &file.path);
        let end = HEADER + index_bytes(count);
        match store.get_range(&path, 0..end as u64).await {
            Ok(bytes) if bytes.len() == end && is_header(&bytes[..HEADER], MAGIC_WITH_INDEX, count) => {
                return Ok(FileKeys::Index(KeyIndex { count, bytes: bytes.slice(HEADER..), keys: None }));
            }
            // Without index, or damaged: the whole file tells, or the data file if there is none.
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(LakeError::store(&path)(error)),
        }
    }
    Ok(FileKeys::of(&load(store, table, contract, file).await?))
}

/// Of a file's candidates the positions of those of `wanted` that it has.
async fn confirm(
    store: &Arc<dyn ObjectStore>,
    table: &Path,
    contract: &Contract,
    file: &DataFile,
    keys: &FileKeys,
    candidates: Vec<(usize, usize)>,
    wanted: &Wanted<'_>,
) -> Result<Vec<usize>, LakeError> {
    let index = match keys {
        FileKeys::Index(index) if !candidates.is_empty() => index,
        // Whole keys know for certain.
        _ => return Ok(candidates.into_iter().map(|(at, _)| at).collect()),
    };
    let key = |at: usize| at * KEY..(at + 1) * KEY;
    let confirmed = |keys: &[u8]| {
        let same = candidates.iter().filter(|(at, place)| keys.get(key(*place)) == Some(&wanted.keys[*at]));
        same.map(|(at, _)| *at).collect()
    };
    if let Some(keys) = &index.keys {
        return Ok(confirmed(keys));
    }
    let path = key_path(table, &file.path);
    let first = HEADER + index_bytes(index.count);
    let in_file = |keys: Range<usize>| (first + keys.start) as u64..(first + keys.end) as u64;
    let read = if candidates.len() <= SINGLE_KEYS {
        let places: Vec<_> = candidates.iter().map(|(_, place)| in_file(key(*place))).collect();
        store.get_ranges(&path, &places).await.map(|own| {
            let same = candidates.iter().zip(own).filter(|((at, _), own)| **own == wanted.keys[*at]);
            same.map(|((at, _), _)| *at).collect()
        })
    } else {
        store.get_range(&path, in_file(0..index.count * KEY)).await.map(|keys| confirmed(&keys))
    };
    match read {
        Ok(found) => Ok(found),
        // It was there when its index was read; the data file has them all the same.
        Err(object_store::Error::NotFound { .. }) => {
            Ok(confirmed(load(store, table, contract, file).await?.as_flattened()))
        }
        Err(error) => Err(LakeError::store(&path)(error)),
    }
}

/// The members of `wanted` that are in `have`: (position in `wanted`, position in `have`). Both ascend. Each side's runs are
/// skipped by binary search, so a small batch against a large file costs little more than the batch.
fn same(have: &[Key], wanted: &[Key]) -> Vec<(usize, usize)> {
    let (mut found, mut from) = (Vec::new(), 0);
    for (at, key) in wanted.iter().enumerate() {
        from += gallop(&have[from..], |present| present < key);
        match have.get(from) {
            None => break,
            Some(first) if first == key => found.push((at, from)),
            Some(_) => {}
        }
    }
    found
}

/// The first position in `sorted` that is not below what is looked for.
fn gallop(sorted: &[Key], is_below: impl Fn(&Key) -> bool) -> usize {
    let mut step = 1;
    while step < sorted.len() && is_below(&sorted[step - 1]) {
        step *= 2;
    }
    let from = step / 2;
    let to = step.min(sorted.len());
    from + sorted[from..to].partition_point(is_below)
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
    let (header, rest) = bytes.split_at_checked(HEADER).ok_or("shorter than its header")?;
    let (_, count) = header.as_chunks::<8>().0.split_first().ok_or("shorter than its header")?;
    let count = usize::try_from(u64::from_le_bytes(*count.first().ok_or("shorter than its header")?));
    let damaged = "its length is not what its header says; delete it: it will be made again";
    let count = count.ok().filter(|count| *count <= rest.len() / KEY).ok_or(damaged)?;
    let index = match header {
        header if is_header(header, MAGIC, count) => 0,
        header if is_header(header, MAGIC_WITH_INDEX, count) => index_bytes(count),
        _ => return Err("not a key file"),
    };
    let (keys, rest) = rest.get(index..).ok_or(damaged)?.as_chunks::<KEY>();
    if !rest.is_empty() || keys.len() != count {
        return Err(damaged);
    }
    Ok(keys.into())
}

fn is_header(header: &[u8], magic: &[u8; 8], count: usize) -> bool {
    header.strip_prefix(magic) == Some(&(count as u64).to_le_bytes())
}

/// Makes a missing key file from its data file, and writes it for the next one.
async fn rebuild(
    store: &Arc<dyn ObjectStore>,
    table: &Path,
    contract: &Contract,
    file: &DataFile,
    key_path: &Path,
) -> Result<Arc<[Key]>, LakeError> {
    let path = data_file::absolute(table, &file.path);
    tracing::warn!(%path, "key file is missing, making it from the data file");
    let mut keys = Vec::new();
    for batch in data_file::reader(&path, data_file::get(&**store, &path).await?)? {
        let batch = batch.map_err(LakeError::damaged(&path))?;
        let of_batch = pinlake_clean::keys(contract, &batch).map_err(LakeError::damaged(&path))?;
        keys.extend((0..of_batch.len()).map(|row| key_at(&of_batch, row)));
    }
    keys.sort_unstable();
    let keys = keys.into();
    store.put(key_path, encode(&keys).0.into()).await.map_err(LakeError::store(key_path))?;
    Ok(keys)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u128) -> Key {
        n.to_be_bytes()
    }

    #[test]
    fn finds_exactly_what_both_have() {
        let have: Vec<Key> = (0..1000).map(|n| key(n * 3)).collect();
        let wanted: Vec<Key> = [0, 1, 2, 3, 299, 300, 2997, 2998, 5000].map(key).to_vec();
        assert_eq!(same(&have, &wanted), [(0, 0), (3, 1), (5, 100), (6, 999)]);
        assert_eq!(same(&[], &wanted), []);
        assert_eq!(same(&[key(1)], &wanted), [(1, 0)]);
    }

    #[test]
    fn a_key_file_survives_and_a_cut_one_is_refused() {
        let keys: Arc<[Key]> = (0..5).map(key).collect();
        let bytes = encode(&keys).0;
        assert_eq!(&*decode(&bytes).unwrap(), &keys[..]);
        for cut in [0, 7, 15, 20, bytes.len() - 16] {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for magic in [MAGIC, MAGIC_WITH_INDEX] {
            assert!(decode(&[&magic[..], &u64::MAX.to_le_bytes(), &[0; 64]].concat()).is_err());
        }
        let keys: Arc<[Key]> = spread(WHOLE_KEYS as u64 + 1, 1).into();
        let bytes = encode(&keys).0;
        assert_eq!(&*decode(&bytes).unwrap(), &keys[..]);
        assert!(decode(&bytes[..bytes.len() - 16]).is_err());
    }

    /// Keys that are spread as hashes are, ascending.
    fn spread(count: u64, seed: u64) -> Vec<Key> {
        let mut keys: Vec<Key> = (0..count)
            .map(|n| {
                // Odd factors mix; the last one spreads (Knuth's multiplicative hashing).
                let mixed = (u128::from(n) << 64 | u128::from(seed))
                    .wrapping_mul(0x2545_f491_4f6c_dd1d_9e37_79b9_7f4a_7c15);
                (mixed ^ mixed >> 67).wrapping_mul(0xda94_2042_e4dd_58b5_1405_7b7e_f767_814f).to_be_bytes()
            })
            .collect();
        keys.sort_unstable();
        keys
    }

    #[test]
    fn an_index_rules_out_nearly_all_that_is_not_there_and_nothing_that_is() {
        for count in [1, 15, 16, 17, 1000, WHOLE_KEYS as u64 + 1] {
            let keys: Arc<[Key]> = spread(count, 1).into();
            let mut bytes = Vec::new();
            encode_index(&keys, &mut bytes);
            assert_eq!(bytes.len(), index_bytes(keys.len()));
            let index = KeyIndex { count: keys.len(), bytes: bytes.into(), keys: None };
            let bits = index_bits(keys.len());
            for every in [1, 3, 100] {
                let own: Vec<Key> = keys.iter().step_by(every).copied().collect();
                let mut others = spread(10_000 / every as u64, 2);
                others.extend(&own);
                others.sort_unstable();
                let wanted = Wanted::new(&others);
                let mut walked = index.walked(&wanted, bits, bits + PRINT_BITS);
                walked.sort_unstable();
                assert_eq!(walked, index.looked_up(&others, bits), "one in {every} of {count}");
                for (at, key) in others.iter().enumerate() {
                    if let Ok(place) = keys.binary_search(key) {
                        assert!(walked.binary_search(&(at, place)).is_ok(), "key {at} of {count}");
                    }
                }
                assert!(walked.len() <= own.len() + 4, "{} for {} of {count}", walked.len(), own.len());
            }
        }
    }

    fn catalog() -> pinlake_schema::Catalog {
        let contract = "name = \"visit\"\nversion = 1\ndescription = \"One row a visit.\"\n[route]\n\
             shape = [\"visitor\"]\n[[column]]\nname = \"visitor\"\ntype = \"int64\"\n";
        pinlake_schema::Catalog::from_files([("visit.toml".to_owned(), contract.to_owned())]).unwrap()
    }

    #[tokio::test]
    async fn what_is_found_adds_up_over_files() {
        let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let (catalog, table) = (catalog(), Path::from("tables/visit"));
        let contract = catalog.contract("visit").unwrap();
        let large = spread(WHOLE_KEYS as u64 * 2, 1);
        let mut files = Vec::new();
        // More than are looked at together, most of them without any of the keys.
        for number in 0..=2 * CONCURRENCY as u128 {
            let keys = match number {
                0 => vec![key(1)],
                9 => large.clone(),
                16 => vec![key(2), key(3)],
                other => vec![key(1000 + other)],
            };
            let path = format!("part-{number}.parquet");
            files.push(DataFile { path, size: 1, rows: Some(keys.len() as u64) });
            let path = key_path(&table, &files[files.len() - 1].path);
            store.put(&path, encode(&keys.into()).0.into()).await.unwrap();
        }
        let mut wanted = vec![key(1), key(3), key(4), large[5]];
        wanted.sort_unstable();
        let mut cache = KeyCache::new(KeyRoom::of(1 << 30));
        for round in ["cold", "warm"] {
            let found = present(&store, &table, contract, &files, &wanted, &mut cache).await.unwrap();
            let absent = wanted.iter().zip(found).filter(|(_, found)| !found).map(|(key, _)| *key);
            assert_eq!(absent.collect::<Vec<_>>(), [key(4)], "{round}");
        }
    }

    #[tokio::test]
    async fn a_large_file_is_checked_by_its_index_and_its_keys_decide() {
        let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let catalog = catalog();
        let contract = catalog.contract("visit").unwrap();
        let keys: Arc<[Key]> = spread(WHOLE_KEYS as u64 * 2, 1).into();
        let file = DataFile { path: "part-1.parquet".to_owned(), size: 1, rows: Some(keys.len() as u64) };
        let table = Path::from("tables/visit");
        let path = key_path(&table, &file.path);
        let (bytes, known) = encode(&keys);
        store.put(&path, bytes.into()).await.unwrap();

        // A twin of a key: the index cannot tell them apart.
        let mut twin = keys[77];
        twin[KEY - 1] ^= 1;
        for (present_keys, single) in [(1, true), (SINGLE_KEYS + 1, false)] {
            let mut wanted: Vec<Key> = spread(1000, 3);
            wanted.extend(&keys[1000..1000 + present_keys]);
            wanted.push(twin);
            wanted.sort_unstable();
            for (rows, written_here) in [(file.rows, false), (None, false), (file.rows, true)] {
                let mut cache = KeyCache::new(KeyRoom::of(1 << 30));
                let file = DataFile { rows, ..file.clone() };
                if written_here {
                    cache.remember(&file.path, known.clone());
                }
                for round in ["cold", "warm"] {
                    let files = std::slice::from_ref(&file);
                    let found = present(&store, &table, contract, files, &wanted, &mut cache).await.unwrap();
                    for (key, found) in wanted.iter().zip(found) {
                        assert_eq!(found, keys.binary_search(key).is_ok(), "{round}, single keys: {single}");
                    }
                    assert!(matches!(cache.files[&file.path], FileKeys::Index(_)));
                }
            }
        }
    }

    #[test]
    fn keys_beside_an_index_make_room_for_indexes() {
        let keys: Arc<[Key]> = spread(WHOLE_KEYS as u64 * 2, 1).into();
        let (_, known) = encode(&keys);
        let index = known.without_keys().unwrap();
        assert_eq!(known.bytes(), index.bytes() + keys.len() * KEY);
        assert!(index.without_keys().is_none());
        let has_keys = |cache: &KeyCache, file: &str| {
            cache.files.get(file).map(|keys| matches!(keys, FileKeys::Index(KeyIndex { keys: Some(_), .. })))
        };
        let (beside, alone) = (Some(true), Some(false));
        for (room, kept) in [
            (3 * index.bytes(), [alone, alone, alone, None]),
            (2 * known.bytes(), [alone, alone, alone, beside]),
            (4 * known.bytes(), [beside; 4]),
        ] {
            let mut cache = KeyCache::new(KeyRoom::of(room));
            let files = ["a", "b", "c", "d"];
            files.iter().for_each(|file| cache.remember(file, known.clone()));
            assert_eq!(files.map(|file| has_keys(&cache, file)), kept, "{room}");
            let in_use: usize = cache.files.values().map(FileKeys::bytes).sum();
            assert_eq!(cache.room.0.load(Ordering::Relaxed), room - in_use);
        }
    }

    #[test]
    fn caches_keep_within_their_room_together() {
        let room = KeyRoom::of(3 * KEY);
        let mut cache = KeyCache::new(room.clone());
        cache.remember("a", FileKeys::Whole([key(1), key(2)].into()));
        cache.remember("b", FileKeys::Whole([key(3), key(4)].into()));
        assert!(cache.files.contains_key("a") && !cache.files.contains_key("b"));
        cache.retain(&[DataFile { path: "c".to_owned(), size: 1, rows: None }]);
        cache.remember("b", FileKeys::Whole([key(3), key(4)].into()));
        assert!(cache.files.contains_key("b"));
        let mut other = KeyCache::new(room);
        other.remember("c", FileKeys::Whole([key(5), key(6)].into()));
        assert!(!other.files.contains_key("c"), "full");
        drop(cache);
        other.remember("c", FileKeys::Whole([key(5), key(6)].into()));
        assert!(other.files.contains_key("c"), "empty again");
    }
}
