//! The format and the names of key files. The table in [`crate::keys`] describes it.

use std::sync::Arc;

use bytes::Bytes;
use object_store::path::Path;

use super::epoch::{EPOCH_BYTES, KeyEpoch, SortedKeys};
use super::file_keys::{FileKeys, KeySet};
use super::index::{KeyIndex, encode_index, index_bytes};
use super::key::{KEY_BYTES, Key};

/// Folder of the key files, in the table's folder.
const KEYS_FOLDER: &str = "_pinlake_keys";
pub(super) const MAGIC: &[u8; 8] = b"PLKEYS03";
pub(super) const MAGIC_WITH_INDEX: &[u8; 8] = b"PLKEYS04";
pub(super) const HEADER_BYTES: usize = 32;
/// The formats without an epoch, and the length of their header.
pub(super) const FORMER_MAGIC: &[u8; 8] = b"PLKEYS01";
pub(super) const FORMER_MAGIC_WITH_INDEX: &[u8; 8] = b"PLKEYS02";
const FORMER_HEADER_BYTES: usize = 16;
/// A file with more keys than this (256 KiB) has an index, which is read and cached in place of the keys.
pub(super) const MAX_KEYS_WITHOUT_INDEX: usize = 1 << 14;

/// The path of a data file's key file.
pub(crate) fn key_path(table: &Path, data_file: &str) -> Path {
    path_beside_keys(table, data_file, "keys")
}

/// The path of the cached evaluation of a data file of quarantine.
pub(crate) fn evaluation_path(table: &Path, data_file: &str) -> Path {
    path_beside_keys(table, data_file, "elsewhere")
}

fn path_beside_keys(table: &Path, data_file: &str, extension: &str) -> Path {
    let stem = data_file.rsplit('/').next().unwrap_or(data_file);
    let stem = stem.strip_suffix(".parquet").unwrap_or(stem);
    table.clone().join(KEYS_FOLDER).join(format!("{stem}.{extension}"))
}

/// Encodes a key file. Returns its bytes, and the part of them to cache.
pub(crate) fn encode(sorted: &SortedKeys) -> (Bytes, FileKeys) {
    let SortedKeys { epoch, keys } = sorted;
    let has_index = keys.len() > MAX_KEYS_WITHOUT_INDEX;
    let first_key = HEADER_BYTES + if has_index { index_bytes(keys.len()) } else { 0 };
    let mut bytes = Vec::with_capacity(first_key + keys.len() * KEY_BYTES);
    bytes.extend_from_slice(if has_index { MAGIC_WITH_INDEX } else { MAGIC });
    bytes.extend_from_slice(&(keys.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&epoch.0);
    if has_index {
        encode_index(keys, &mut bytes);
    }
    bytes.extend_from_slice(keys.as_flattened());
    let bytes = Bytes::from(bytes);
    let cached = if has_index {
        let own_keys = Some(bytes.slice(first_key..));
        let index = bytes.slice(HEADER_BYTES..first_key);
        KeySet::Index(KeyIndex { count: keys.len(), first_key, bytes: index, keys: own_keys })
    } else {
        KeySet::Complete(keys.clone())
    };
    (bytes, FileKeys { epoch: *epoch, keys: cached })
}

/// The header of a key file.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Header {
    /// `None` in the former formats.
    pub(super) epoch: Option<KeyEpoch>,
    pub(super) count: usize,
    pub(super) has_index: bool,
    /// Length of the header.
    pub(super) bytes: usize,
}

impl Header {
    pub(super) fn parse(file: &[u8]) -> Option<Header> {
        let (magic, rest) = file.split_first_chunk::<8>()?;
        let (count, rest) = rest.split_first_chunk::<8>()?;
        let count = usize::try_from(u64::from_le_bytes(*count)).ok()?;
        let (has_index, has_epoch) = match magic {
            MAGIC => (false, true),
            MAGIC_WITH_INDEX => (true, true),
            FORMER_MAGIC => (false, false),
            FORMER_MAGIC_WITH_INDEX => (true, false),
            _ => return None,
        };
        if !has_epoch {
            return Some(Header { epoch: None, count, has_index, bytes: FORMER_HEADER_BYTES });
        }
        let epoch = KeyEpoch(*rest.first_chunk::<EPOCH_BYTES>()?);
        Some(Header { epoch: Some(epoch), count, has_index, bytes: HEADER_BYTES })
    }
}

/// Decodes a key file: its epoch, unless the format has none, and its keys, ascending.
///
/// # Errors
/// The reason why the file is not valid.
pub(super) fn decode(bytes: &[u8]) -> Result<(Option<KeyEpoch>, Arc<[Key]>), &'static str> {
    let header = Header::parse(bytes).ok_or("it is not a key file")?;
    let damaged = "its length does not match its header";
    let rest =
        bytes.get(header.bytes..).filter(|rest| header.count <= rest.len() / KEY_BYTES).ok_or(damaged)?;
    let index = if header.has_index { index_bytes(header.count) } else { 0 };
    let (keys, rest) = rest.get(index..).ok_or(damaged)?.as_chunks::<KEY_BYTES>();
    if !rest.is_empty() || keys.len() != header.count {
        return Err(damaged);
    }
    if !keys.is_sorted() {
        return Err("its keys are not sorted");
    }
    Ok((header.epoch, keys.into()))
}
