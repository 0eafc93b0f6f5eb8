//! What a process keeps in memory of one data file's keys.

use std::sync::Arc;

use bytes::Bytes;

use super::epoch::KeyEpoch;
use super::index::{KeyIndex, WantedKeys};
use super::key::{KEY_BYTES, Key, intersect};

/// The keys of one data file, complete or as an index.
#[derive(Debug, Clone)]
pub(crate) struct FileKeys {
    pub(super) epoch: KeyEpoch,
    pub(super) keys: KeySet,
}

#[derive(Debug, Clone)]
pub(super) enum KeySet {
    /// All keys, ascending.
    Complete(Arc<[Key]>),
    /// Rules out nearly every key that is absent.
    Index(KeyIndex),
}

impl FileKeys {
    /// Which of `wanted` the file may contain: pairs of (position in `wanted`, position in the file's keys).
    pub(super) fn find_candidates(&self, wanted: &WantedKeys<'_>) -> Vec<(usize, usize)> {
        match &self.keys {
            KeySet::Complete(keys) => intersect(keys, wanted.keys),
            KeySet::Index(index) => index.find_candidates(wanted),
        }
    }

    /// Bytes in memory.
    pub(super) fn memory_bytes(&self) -> usize {
        match &self.keys {
            KeySet::Complete(keys) => keys.len() * KEY_BYTES,
            KeySet::Index(index) => index.bytes.len() + index.keys.as_ref().map_or(0, Bytes::len),
        }
    }

    /// Whether it is an index with its keys.
    pub(super) fn is_index_with_keys(&self) -> bool {
        matches!(self.keys, KeySet::Index(KeyIndex { keys: Some(_), .. }))
    }

    /// The index alone, if this is an index with its keys.
    pub(super) fn without_keys(&self) -> Option<FileKeys> {
        let KeySet::Index(KeyIndex { count, first_key, bytes, keys: Some(_) }) = &self.keys else {
            return None;
        };
        // A copy: a slice would keep the whole file's buffer, and with it the keys, in memory.
        let bytes = Bytes::copy_from_slice(bytes);
        let index = KeyIndex { count: *count, first_key: *first_key, bytes, keys: None };
        Some(FileKeys { epoch: self.epoch, keys: KeySet::Index(index) })
    }
}
