//! Which keys a table has: one sorted key file beside each data file.
//!
//! `_pinlake_keys/<data file's name>.keys` is a cache of what the data file says: written before the commit that names
//! the data file, made again from it when it is missing, damaged, or of rules that are not the table's. (Delta's vacuum
//! leaves folders that begin with an underscore alone.) All numbers are little-endian:
//!
//! | bytes | what |
//! |---|---|
//! | 8 | `PLKEYS03`, or `PLKEYS04` with an index: of more than 16,384 keys |
//! | 8 | the number of keys n |
//! | 16 | the key epoch: the identity hash of the contract that made the keys |
//! | 4 (2^b + 1) | index: where in the keys each value of a key's first b bits begins, and n; 2^b is n / 16 or a little less |
//! | 3 n | index: the 24 bits behind those, of each key |
//! | 16 n | the keys of the data file's rows, ascending |
//!
//! `PLKEYS01` and `PLKEYS02` are the same without the epoch: it is the one in the table's properties.
//!
//! Then a check reads what is before the keys, a fifth of the whole, and of the keys the few that this does not rule out:
//! nearly always those that are there. So its cost grows slowly with the table, and a warm function can keep what it
//! knows of many million rows: 3.25 bytes each.
//!
//! Keys of different epochs are not comparable. A batch comes with its keys under every epoch that its contract knows
//! ([`EpochKeys`]), and each file is asked for those of its own epoch; a file of yet another epoch is an error.

use std::borrow::Cow;
use std::collections::{HashMap, HashSet, VecDeque};
use std::fmt;
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
use pinlake_landing::object::get_if_there;
use pinlake_schema::Contract;
use rayon::iter::{IntoParallelRefIterator, ParallelIterator};

use crate::data_file::{self, DataFile};
use crate::error::LakeError;

/// Folder of the key files, in the table's folder.
pub(crate) const KEYS_FOLDER: &str = "_pinlake_keys";
const MAGIC: &[u8; 8] = b"PLKEYS03";
const MAGIC_WITH_INDEX: &[u8; 8] = b"PLKEYS04";
/// Bytes of a header.
const HEADER: usize = 32;
/// The forms without an epoch, and the bytes of their header.
const FORMER_MAGIC: &[u8; 8] = b"PLKEYS01";
const FORMER_MAGIC_WITH_INDEX: &[u8; 8] = b"PLKEYS02";
const FORMER_HEADER: usize = 16;
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

/// The rules that made keys: the identity hash of a contract, 16 hex digits. Keys of two epochs cannot be compared.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct KeyEpoch([u8; EPOCH]);

const EPOCH: usize = 16;

impl KeyEpoch {
    /// The epoch of an identity hash; `None` when it is not of 16 bytes.
    pub(crate) fn parse(identity_hash: &str) -> Option<Self> {
        identity_hash.as_bytes().try_into().ok().map(Self)
    }

    /// The epochs under which rows of `contract` have keys: the present one, then the former one if there is one.
    pub(crate) fn all_of(contract: &Contract) -> Vec<KeyEpoch> {
        let hashes = [Some(contract.identity_hash()), contract.former_identity_hash()];
        hashes.into_iter().flatten().filter_map(Self::parse).collect()
    }
}

impl fmt::Display for KeyEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&String::from_utf8_lossy(&self.0))
    }
}

impl fmt::Debug for KeyEpoch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "KeyEpoch({self})")
    }
}

/// What is known of the keys of a data file.
#[derive(Debug, Clone)]
pub(crate) struct FileKeys {
    epoch: KeyEpoch,
    known: KnownKeys,
}

#[derive(Debug, Clone)]
enum KnownKeys {
    /// All of them, ascending.
    Whole(Arc<[Key]>),
    /// Enough to rule nearly every other key out.
    Index(KeyIndex),
}

impl FileKeys {
    /// What is worth keeping of a file's keys.
    fn of(keys: &SortedKeys) -> FileKeys {
        encode(keys).1
    }

    /// Which of `wanted` the file may have: (position in `wanted`, position in the file's keys).
    fn candidates(&self, wanted: &Wanted<'_>) -> Vec<(usize, usize)> {
        match &self.known {
            KnownKeys::Whole(keys) => same(keys, wanted.keys),
            KnownKeys::Index(index) => index.candidates(wanted),
        }
    }

    fn bytes(&self) -> usize {
        match &self.known {
            KnownKeys::Whole(keys) => keys.len() * KEY,
            KnownKeys::Index(index) => index.bytes.len() + index.keys.as_ref().map_or(0, Bytes::len),
        }
    }

    fn has_keys_beside_index(&self) -> bool {
        matches!(self.known, KnownKeys::Index(KeyIndex { keys: Some(_), .. }))
    }

    /// An index alone, where it has its keys beside it.
    fn without_keys(&self) -> Option<FileKeys> {
        let KnownKeys::Index(KeyIndex { count, first_key, bytes, keys: Some(_) }) = &self.known else {
            return None;
        };
        // A copy, or it would hold on to the keys: both are of one file's bytes.
        let bytes = Bytes::copy_from_slice(bytes);
        let index = KeyIndex { count: *count, first_key: *first_key, bytes, keys: None };
        Some(FileKeys { epoch: self.epoch, known: KnownKeys::Index(index) })
    }
}

/// All keys of a data file, ascending, and what made them.
#[derive(Debug, Clone)]
pub(crate) struct SortedKeys {
    pub epoch: KeyEpoch,
    pub keys: Arc<[Key]>,
}

/// Keys that are looked for in the files of one epoch.
#[derive(Debug)]
pub(crate) struct EpochKeys<'a> {
    pub epoch: KeyEpoch,
    /// Ascending.
    pub keys: Cow<'a, [Key]>,
    /// Which row each key is of, where the keys are not in the rows' order.
    pub rows: Option<Vec<usize>>,
}

impl<'a> EpochKeys<'a> {
    /// The keys of some rows under `contract`: ascending under its present epoch, and under the former one, where there is one,
    /// in the order of these.
    pub(crate) fn of_rows(
        contract: &Contract,
        keys: &'a [Key],
        former: Option<&[Key]>,
    ) -> Vec<EpochKeys<'a>> {
        let mut epochs = KeyEpoch::all_of(contract).into_iter();
        let present = epochs.next().map(|epoch| EpochKeys { epoch, keys: Cow::Borrowed(keys), rows: None });
        let former = epochs.next().zip(former).map(|(epoch, former)| {
            let mut sorted: Vec<(Key, usize)> = former.iter().copied().zip(0..).collect();
            sorted.sort_unstable();
            let (keys, rows): (Vec<_>, Vec<_>) = sorted.into_iter().unzip();
            EpochKeys { epoch, keys: Cow::Owned(keys), rows: Some(rows) }
        });
        present.into_iter().chain(former).collect()
    }

    fn row(&self, at: usize) -> usize {
        self.rows.as_ref().map_or(at, |rows| rows[at])
    }
}

/// The part of a key file before its keys.
#[derive(Debug, Clone)]
pub(crate) struct KeyIndex {
    count: usize,
    /// Where in the file the keys begin.
    first_key: usize,
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
    room: KeyBudget,
}

/// Bytes that are left for the keys of all tables of a lake together.
#[derive(Debug, Clone)]
pub(crate) struct KeyBudget(Arc<AtomicUsize>);

impl KeyBudget {
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
    pub(crate) fn new(room: KeyBudget) -> Self {
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
        if keys.has_keys_beside_index() {
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

/// The keys of a batch in `column`, in row order.
///
/// # Errors
/// When the batch has no such column of keys.
pub(crate) fn keys_of<'a>(batch: &'a RecordBatch, column: &str) -> Result<&'a FixedSizeBinaryArray, String> {
    let keys = batch.column_by_name(column).ok_or_else(|| format!("no column {column}"))?;
    let keys = keys.as_fixed_size_binary_opt().filter(|keys| keys.value_length() == KEY as i32);
    keys.filter(|keys| keys.null_count() == 0).ok_or_else(|| format!("{column} is not 16 bytes a row"))
}

/// One key of `keys_of`.
pub(crate) fn key_at(keys: &FixedSizeBinaryArray, row: usize) -> Key {
    let mut key = [0; KEY];
    key.copy_from_slice(keys.value(row));
    key
}

/// Where the key file of a data file lies.
pub(crate) fn key_path(table: &Path, data_file: &str) -> Path {
    beside_keys(table, data_file, "keys")
}

/// Where lies what catalog_history make of a data file of quarantine.
pub(crate) fn evaluation_path(table: &Path, data_file: &str) -> Path {
    beside_keys(table, data_file, "elsewhere")
}

fn beside_keys(table: &Path, data_file: &str, extension: &str) -> Path {
    let stem = data_file.rsplit('/').next().unwrap_or(data_file);
    let stem = stem.strip_suffix(".parquet").unwrap_or(stem);
    table.clone().join(KEYS_FOLDER).join(format!("{stem}.{extension}"))
}

/// A key file's bytes, and what is worth keeping of them.
pub(crate) fn encode(sorted: &SortedKeys) -> (Bytes, FileKeys) {
    let SortedKeys { epoch, keys } = sorted;
    let indexed = keys.len() > WHOLE_KEYS;
    let first_key = HEADER + if indexed { index_bytes(keys.len()) } else { 0 };
    let mut bytes = Vec::with_capacity(first_key + keys.len() * KEY);
    bytes.extend_from_slice(if indexed { MAGIC_WITH_INDEX } else { MAGIC });
    bytes.extend_from_slice(&(keys.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&epoch.0);
    if indexed {
        encode_index(keys, &mut bytes);
    }
    bytes.extend_from_slice(keys.as_flattened());
    let bytes = Bytes::from(bytes);
    let known = if indexed {
        let beside = Some(bytes.slice(first_key..));
        let index = bytes.slice(HEADER..first_key);
        KnownKeys::Index(KeyIndex { count: keys.len(), first_key, bytes: index, keys: beside })
    } else {
        KnownKeys::Whole(keys.clone())
    };
    (bytes, FileKeys { epoch: *epoch, known })
}

/// The beginning of a key file.
#[derive(Debug, PartialEq, Eq)]
struct Header {
    /// `None` in the former forms.
    epoch: Option<KeyEpoch>,
    count: usize,
    /// Whether an index is between header and keys.
    indexed: bool,
    bytes: usize,
}

impl Header {
    fn parse(file: &[u8]) -> Option<Header> {
        let (magic, rest) = file.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<8>()?;
        let count = usize::try_from(u64::from_le_bytes(*count)).ok()?;
        let (indexed, has_epoch) = match magic {
            MAGIC => (false, true),
            MAGIC_WITH_INDEX => (true, true),
            FORMER_MAGIC => (false, false),
            FORMER_MAGIC_WITH_INDEX => (true, false),
            _ => return None,
        };
        if !has_epoch {
            return Some(Header { epoch: None, count, indexed, bytes: FORMER_HEADER });
        }
        let epoch = KeyEpoch(*rest.first_chunk::<EPOCH>()?);
        Some(Header { epoch: Some(epoch), count, indexed, bytes: HEADER })
    }
}

/// The keys of a key file, ascending, and its epoch if it says one.
fn decode(bytes: &[u8]) -> Result<(Option<KeyEpoch>, Arc<[Key]>), &'static str> {
    let header = Header::parse(bytes).ok_or("not a key file")?;
    let damaged = "its length is not what its header says";
    let rest = bytes.get(header.bytes..).filter(|rest| header.count <= rest.len() / KEY).ok_or(damaged)?;
    let index = if header.indexed { index_bytes(header.count) } else { 0 };
    let (keys, rest) = rest.get(index..).ok_or(damaged)?.as_chunks::<KEY>();
    if !rest.is_empty() || keys.len() != header.count {
        return Err(damaged);
    }
    if !keys.is_sorted() {
        return Err("its keys do not ascend");
    }
    Ok((header.epoch, keys.into()))
}

/// Reads the keys of a table's files, and makes missing key files again. Needs the rules of the table, without which
/// nothing is read or made: a key file under other rules would let every row in a second time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct KeyReader<'a> {
    pub store: &'a Arc<dyn ObjectStore>,
    /// The table's folder.
    pub table: &'a Path,
    pub contract: &'a Contract,
    /// The epoch in the table's properties: of files that do not say theirs.
    pub table_epoch: KeyEpoch,
    /// Whether the log declares a column for the keys of rows.
    pub declares_keys: bool,
}

impl KeyReader<'_> {
    /// The keys of one data file.
    ///
    /// # Errors
    /// As [`Self::present`].
    pub(crate) async fn of_file(
        &self,
        file: &DataFile,
        cache: &mut KeyCache,
    ) -> Result<SortedKeys, LakeError> {
        if let Some(FileKeys { epoch, known: KnownKeys::Whole(keys) }) = cache.files.get(&file.path) {
            return Ok(SortedKeys { epoch: *epoch, keys: keys.clone() });
        }
        let keys = self.load(file).await?;
        cache.remember(&file.path, FileKeys::of(&keys));
        Ok(keys)
    }

    /// Says for each row whether one of `files` has it. `wanted` are the rows' keys under every epoch that files may have, the first of
    /// them in the rows' order.
    ///
    /// # Errors
    /// When the store fails, a data file without key file cannot be read or does not tell its keys, or is of another epoch.
    pub(crate) async fn present(
        &self,
        files: &[DataFile],
        wanted: &[EpochKeys<'_>],
        cache: &mut KeyCache,
    ) -> Result<Vec<bool>, LakeError> {
        let mut found = vec![false; wanted.first().map_or(0, |wanted| wanted.keys.len())];
        let filters: Vec<Wanted<'_>> = wanted.iter().map(|wanted| Wanted::new(&wanted.keys)).collect();
        let filters = &filters;
        let known: Vec<_> =
            files.iter().map(|file| (file.clone(), cache.files.get(&file.path).cloned())).collect();
        let mut groups = futures::stream::iter(known)
            .map(async |(file, known)| {
                let keys = match known {
                    Some(keys) => keys,
                    None => self.for_check(&file).await?,
                };
                let at = wanted.iter().position(|wanted| wanted.epoch == keys.epoch);
                let at = at.ok_or_else(|| self.other_epoch(keys.epoch))?;
                Ok::<_, LakeError>((file, keys, at))
            })
            .buffer_unordered(CONCURRENCY)
            .try_ready_chunks(CONCURRENCY);
        while let Some(group) = groups.try_next().await.map_err(|TryReadyChunksError(_, error)| error)? {
            let candidates: Vec<_> =
                group.par_iter().map(|(_, keys, at)| keys.candidates(&filters[*at])).collect();
            let mut confirmed = futures::stream::iter(group.into_iter().zip(candidates))
                .map(async |((file, keys, at), candidates)| {
                    let of_file = self.confirm(&file, &keys, candidates, &filters[at]).await?;
                    Ok::<_, LakeError>((file, keys, at, of_file))
                })
                .buffer_unordered(CONCURRENCY);
            while let Some((file, keys, at, of_file)) = confirmed.try_next().await? {
                for key in of_file {
                    found[wanted[at].row(key)] = true;
                }
                cache.remember(&file.path, keys);
            }
        }
        Ok(found)
    }

    fn other_epoch(&self, epoch: KeyEpoch) -> LakeError {
        LakeError::IdentityChanged {
            dataset: self.contract.name.clone(),
            table: epoch.to_string(),
            contract: self.contract.label(),
            wanted: self.contract.identity_hash().to_owned(),
        }
    }

    /// What a check wants to know of a file that nothing is known of: of a large one, its index.
    async fn for_check(&self, file: &DataFile) -> Result<FileKeys, LakeError> {
        // Its statistics tell how long the index is.
        let rows = file.rows.and_then(|rows| usize::try_from(rows).ok()).filter(|rows| *rows > WHOLE_KEYS);
        if let Some(count) = rows {
            let path = key_path(self.table, &file.path);
            let end = HEADER + index_bytes(count);
            match self.store.get_range(&path, 0..end as u64).await {
                Ok(bytes) => {
                    let header =
                        Header::parse(&bytes).filter(|header| header.indexed && header.count == count);
                    if let Some(header) = header
                        && let Some(epoch) = self.known_epoch(header.epoch)
                        && let first_key = header.bytes + index_bytes(count)
                        && bytes.len() >= first_key
                    {
                        let bytes = bytes.slice(header.bytes..first_key);
                        let index = KeyIndex { count, first_key, bytes, keys: None };
                        return Ok(FileKeys { epoch, known: KnownKeys::Index(index) });
                    }
                }
                Err(object_store::Error::NotFound { .. }) => {}
                Err(error) => return Err(LakeError::store(&path)(error)),
            }
            // Without index, or damaged: the whole file tells, or the data file.
        }
        Ok(FileKeys::of(&self.load(file).await?))
    }

    /// The epoch of a file that says `epoch`; `None` when the contract knows no keys of it.
    fn known_epoch(&self, epoch: Option<KeyEpoch>) -> Option<KeyEpoch> {
        let epoch = epoch.unwrap_or(self.table_epoch);
        KeyEpoch::all_of(self.contract).contains(&epoch).then_some(epoch)
    }

    /// Of a file's candidates the positions of those of `wanted` that it has.
    async fn confirm(
        &self,
        file: &DataFile,
        keys: &FileKeys,
        candidates: Vec<(usize, usize)>,
        wanted: &Wanted<'_>,
    ) -> Result<Vec<usize>, LakeError> {
        let index = match &keys.known {
            KnownKeys::Index(index) if !candidates.is_empty() => index,
            // Whole keys know for certain.
            _ => return Ok(candidates.into_iter().map(|(at, _)| at).collect()),
        };
        let key = |at: usize| at * KEY..(at + 1) * KEY;
        let confirmed = |keys: &[u8]| {
            let same =
                candidates.iter().filter(|(at, place)| keys.get(key(*place)) == Some(&wanted.keys[*at]));
            same.map(|(at, _)| *at).collect()
        };
        if let Some(keys) = &index.keys {
            return Ok(confirmed(keys));
        }
        // A key that was read must be one that the index stands for. If it is not, index and keys are of two files: the key file was
        // made again, in another form.
        let bits = index_bits(index.count);
        let is_of_index = |wanted: &Key, own: &[u8]| {
            Key::try_from(own).is_ok_and(|own| index_parts(&own, bits) == index_parts(wanted, bits))
        };
        let path = key_path(self.table, &file.path);
        let in_file =
            |keys: Range<usize>| (index.first_key + keys.start) as u64..(index.first_key + keys.end) as u64;
        let read = if candidates.len() <= SINGLE_KEYS {
            let places: Vec<_> = candidates.iter().map(|(_, place)| in_file(key(*place))).collect();
            self.store.get_ranges(&path, &places).await.map(|own| {
                let read: Vec<_> = candidates.iter().map(|(at, _)| *at).zip(own).collect();
                let fits = read.iter().all(|(at, own)| is_of_index(&wanted.keys[*at], own));
                let same = read.into_iter().filter(|(at, own)| **own == wanted.keys[*at]);
                fits.then(|| same.map(|(at, _)| at).collect())
            })
        } else {
            self.store.get_range(&path, in_file(0..index.count * KEY)).await.map(|keys| {
                let own = |place: usize| keys.get(key(place)).unwrap_or_default();
                let fits = candidates.iter().all(|(at, place)| is_of_index(&wanted.keys[*at], own(*place)));
                fits.then(|| confirmed(&keys))
            })
        };
        match read {
            Ok(Some(found)) => Ok(found),
            // It was there when its index was read; the data file has them all the same.
            Ok(None) | Err(object_store::Error::NotFound { .. }) => {
                let keys = self.load(file).await?.keys;
                let same = candidates.iter().filter(|(at, _)| keys.binary_search(&wanted.keys[*at]).is_ok());
                Ok(same.map(|(at, _)| *at).collect())
            }
            Err(error) => Err(LakeError::store(&path)(error)),
        }
    }

    /// The keys that the key file has, or else the data file.
    async fn load(&self, file: &DataFile) -> Result<SortedKeys, LakeError> {
        let path = key_path(self.table, &file.path);
        let bytes = get_if_there(&**self.store, &path).await.map_err(LakeError::store(&path))?;
        let why = match bytes.as_deref().map(decode) {
            None => "missing",
            Some(Err(why)) => why,
            Some(Ok((_, keys))) if file.rows.is_some_and(|rows| rows != keys.len() as u64) => {
                "it has another number of keys than the data file has rows"
            }
            Some(Ok((epoch, keys))) => match self.known_epoch(epoch) {
                Some(epoch) => return Ok(SortedKeys { epoch, keys }),
                None => "it is of another identity than the table's",
            },
        };
        self.rebuild(file, &path, why).await
    }

    /// Makes a key file from its data file, and writes it for the next one.
    async fn rebuild(&self, file: &DataFile, key_path: &Path, why: &str) -> Result<SortedKeys, LakeError> {
        let path = data_file::absolute(self.table, &file.path);
        tracing::warn!(%path, why, "key file cannot be used, making it from the data file");
        let file = data_file::open(&path, data_file::get(&**self.store, &path).await?)?;
        let epoch = file.epoch.unwrap_or(self.table_epoch);
        if !KeyEpoch::all_of(self.contract).contains(&epoch) {
            return Err(self.other_epoch(epoch));
        }
        let mut keys = Vec::new();
        let columns = self.contract.table_schema();
        for batch in file.batches {
            let batch = batch.and_then(|batch| data_file::conform(&batch, &columns));
            let batch = batch.map_err(LakeError::damaged(&path))?;
            let of_batch =
                pinlake_clean::row_keys(self.contract, &batch).map_err(LakeError::damaged(&path))?;
            let told = (0..of_batch.len()).map(|row| of_batch.is_valid(row).then(|| key_at(&of_batch, row)));
            for key in told {
                let lost = || LakeError::KeysLost { path: path.to_string(), keys: key_path.to_string() };
                let foreign = || self.declares_keys.then(|| foreign_key(&path, keys.len()));
                keys.push(key.or_else(foreign).ok_or_else(lost)?);
            }
        }
        keys.sort_unstable();
        let sorted = SortedKeys { epoch, keys: keys.into() };
        self.store.put(key_path, encode(&sorted).0.into()).await.map_err(LakeError::store(key_path))?;
        Ok(sorted)
    }
}

/// The key of a row that another program has put into a table whose rows store their keys: no record has it.
fn foreign_key(path: &Path, row: usize) -> Key {
    let form = format!("pinlake-foreign-row-1\n{path}\n{row}");
    let mut key = [0; KEY];
    key.copy_from_slice(&blake3::hash(form.as_bytes()).as_bytes()[..KEY]);
    key
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

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u128) -> Key {
        n.to_be_bytes()
    }

    fn sorted(keys: impl Into<Arc<[Key]>>) -> SortedKeys {
        let epoch = KeyEpoch::parse(catalog().contract("visit").unwrap().identity_hash()).unwrap();
        SortedKeys { epoch, keys: keys.into() }
    }

    async fn present(
        store: &Arc<dyn ObjectStore>,
        table: &Path,
        contract: &Contract,
        files: &[DataFile],
        wanted: &[Key],
        cache: &mut KeyCache,
    ) -> Vec<bool> {
        let table_epoch = KeyEpoch::parse(contract.identity_hash()).unwrap();
        let reader = KeyReader { store, table, contract, table_epoch, declares_keys: false };
        reader.present(files, &EpochKeys::of_rows(contract, wanted, None), cache).await.unwrap()
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
        let keys = sorted((0..5).map(key).collect::<Vec<_>>());
        let bytes = encode(&keys).0;
        assert_eq!(decode(&bytes).unwrap(), (Some(keys.epoch), keys.keys.clone()));
        // As it was written before it had an epoch.
        let former = [&FORMER_MAGIC[..], &bytes[8..16], &bytes[32..]].concat();
        assert_eq!(decode(&former).unwrap(), (None, keys.keys.clone()));
        let unordered = [&bytes[..32], &bytes[48..64], &bytes[32..48], &bytes[64..]].concat();
        assert!(decode(&unordered).is_err());
        for cut in [0, 7, 15, 20, bytes.len() - 16] {
            assert!(decode(&bytes[..cut]).is_err(), "cut at {cut}");
        }
        for magic in [MAGIC, MAGIC_WITH_INDEX, FORMER_MAGIC, FORMER_MAGIC_WITH_INDEX] {
            assert!(decode(&[&magic[..], &u64::MAX.to_le_bytes(), &[0; 64]].concat()).is_err());
        }
        let keys = sorted(spread(WHOLE_KEYS as u64 + 1, 1));
        let bytes = encode(&keys).0;
        assert_eq!(decode(&bytes).unwrap(), (Some(keys.epoch), keys.keys.clone()));
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
            let index = KeyIndex { count: keys.len(), first_key: 0, bytes: bytes.into(), keys: None };
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
            store.put(&path, encode(&sorted(keys)).0.into()).await.unwrap();
        }
        let mut wanted = vec![key(1), key(3), key(4), large[5]];
        wanted.sort_unstable();
        let mut cache = KeyCache::new(KeyBudget::of(1 << 30));
        for round in ["cold", "warm"] {
            let found = present(&store, &table, contract, &files, &wanted, &mut cache).await;
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
        let (bytes, known) = encode(&sorted(keys.clone()));
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
                let mut cache = KeyCache::new(KeyBudget::of(1 << 30));
                let file = DataFile { rows, ..file.clone() };
                if written_here {
                    cache.remember(&file.path, known.clone());
                }
                for round in ["cold", "warm"] {
                    let files = std::slice::from_ref(&file);
                    let found = present(&store, &table, contract, files, &wanted, &mut cache).await;
                    for (key, found) in wanted.iter().zip(found) {
                        assert_eq!(found, keys.binary_search(key).is_ok(), "{round}, single keys: {single}");
                    }
                    assert!(matches!(cache.files[&file.path].known, KnownKeys::Index(_)));
                }
            }
        }
    }

    #[tokio::test]
    async fn an_index_is_not_believed_over_a_key_file_of_another_form() {
        let store: Arc<dyn ObjectStore> = Arc::new(object_store::memory::InMemory::new());
        let (catalog, table) = (catalog(), Path::from("tables/visit"));
        let contract = catalog.contract("visit").unwrap();
        let keys = sorted(spread(WHOLE_KEYS as u64 * 2, 1));
        let (bytes, known) = encode(&keys);
        let file =
            DataFile { path: "part-1.parquet".to_owned(), size: 1, rows: Some(keys.keys.len() as u64) };
        // What is kept of the present form, where the former one is in the store: its keys begin elsewhere.
        let former = [&FORMER_MAGIC_WITH_INDEX[..], &bytes[8..16], &bytes[HEADER..]].concat();
        store.put(&key_path(&table, &file.path), former.into()).await.unwrap();
        for count in [3, SINGLE_KEYS + 3] {
            for kept in [Some(known.without_keys().unwrap()), None] {
                let mut cache = KeyCache::new(KeyBudget::of(1 << 30));
                if let Some(kept) = kept {
                    cache.remember(&file.path, kept);
                }
                let wanted = &keys.keys[100..100 + count];
                let files = std::slice::from_ref(&file);
                let found = present(&store, &table, contract, files, wanted, &mut cache).await;
                assert!(found.into_iter().all(|found| found), "{count} keys");
            }
        }
    }

    #[test]
    fn keys_beside_an_index_make_room_for_indexes() {
        let keys: Arc<[Key]> = spread(WHOLE_KEYS as u64 * 2, 1).into();
        let (_, known) = encode(&sorted(keys.clone()));
        let index = known.without_keys().unwrap();
        assert_eq!(known.bytes(), index.bytes() + keys.len() * KEY);
        assert!(index.without_keys().is_none());
        let has_keys =
            |cache: &KeyCache, file: &str| cache.files.get(file).map(FileKeys::has_keys_beside_index);
        let (beside, alone) = (Some(true), Some(false));
        for (room, kept) in [
            (3 * index.bytes(), [alone, alone, alone, None]),
            (2 * known.bytes(), [alone, alone, alone, beside]),
            (4 * known.bytes(), [beside; 4]),
        ] {
            let mut cache = KeyCache::new(KeyBudget::of(room));
            let files = ["a", "b", "c", "d"];
            files.iter().for_each(|file| cache.remember(file, known.clone()));
            assert_eq!(files.map(|file| has_keys(&cache, file)), kept, "{room}");
            let in_use: usize = cache.files.values().map(FileKeys::bytes).sum();
            assert_eq!(cache.room.0.load(Ordering::Relaxed), room - in_use);
        }
    }

    #[test]
    fn caches_keep_within_their_room_together() {
        let room = KeyBudget::of(3 * KEY);
        let mut cache = KeyCache::new(room.clone());
        cache.remember("a", FileKeys::of(&sorted([key(1), key(2)])));
        cache.remember("b", FileKeys::of(&sorted([key(3), key(4)])));
        assert!(cache.files.contains_key("a") && !cache.files.contains_key("b"));
        cache.retain(&[DataFile { path: "c".to_owned(), size: 1, rows: None }]);
        cache.remember("b", FileKeys::of(&sorted([key(3), key(4)])));
        assert!(cache.files.contains_key("b"));
        let mut other = KeyCache::new(room);
        other.remember("c", FileKeys::of(&sorted([key(5), key(6)])));
        assert!(!other.files.contains_key("c"), "full");
        drop(cache);
        other.remember("c", FileKeys::of(&sorted([key(5), key(6)])));
        assert!(other.files.contains_key("c"), "empty again");
    }
}
