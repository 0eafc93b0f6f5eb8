//! The keys that a warm process keeps in memory, within a budget that all tables of a lake share.

use std::collections::{HashMap, HashSet, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::file_keys::FileKeys;

/// Keys and indexes of a table's data files, by the file's path.
#[derive(Debug)]
pub(crate) struct KeyCache {
    pub(super) files: HashMap<String, FileKeys>,
    /// The files whose index is cached with its keys, oldest first.
    with_keys: VecDeque<String>,
    pub(super) budget: KeyMemoryBudget,
}

/// The bytes that the key caches of all tables of a lake may still take.
#[derive(Debug, Clone)]
pub(crate) struct KeyMemoryBudget(pub(super) Arc<AtomicUsize>);

impl KeyMemoryBudget {
    pub(crate) fn new(bytes: usize) -> Self {
        Self(Arc::new(AtomicUsize::new(bytes)))
    }

    fn try_reserve(&self, bytes: usize) -> bool {
        let subtract = |free: usize| free.checked_sub(bytes);
        self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, subtract).is_ok()
    }

    fn release(&self, bytes: usize) {
        self.0.fetch_add(bytes, Ordering::Relaxed);
    }
}

impl Drop for KeyCache {
    fn drop(&mut self) {
        self.budget.release(self.files.values().map(FileKeys::memory_bytes).sum());
    }
}

impl KeyCache {
    pub(crate) fn new(budget: KeyMemoryBudget) -> Self {
        Self { files: HashMap::new(), with_keys: VecDeque::new(), budget }
    }

    pub(crate) fn get(&self, file: &str) -> Option<&FileKeys> {
        self.files.get(file)
    }

    /// Caches the keys of `file` if the budget allows. Drops keys that are cached beside an index first: an index is
    /// worth more.
    pub(crate) fn insert(&mut self, file: &str, mut keys: FileKeys) {
        if self.files.contains_key(file) {
            return;
        }
        while !self.budget.try_reserve(keys.memory_bytes()) {
            if let Some(oldest) = self.with_keys.pop_front() {
                self.drop_keys(&oldest);
            } else if let Some(index) = keys.without_keys() {
                keys = index;
            } else {
                return;
            }
        }
        if keys.is_index_with_keys() {
            self.with_keys.push_back(file.to_owned());
        }
        self.files.insert(file.to_owned(), keys);
    }

    fn drop_keys(&mut self, file: &str) {
        if let Some(keys) = self.files.get_mut(file)
            && let Some(index) = keys.without_keys()
        {
            self.budget.release(keys.memory_bytes() - index.memory_bytes());
            *keys = index;
        }
    }

    /// Removes files that are not `live`.
    pub(crate) fn retain<'a>(&mut self, live: impl Iterator<Item = &'a str>) {
        if self.files.is_empty() {
            return;
        }
        let live: HashSet<&str> = live.collect();
        let budget = &self.budget;
        self.files.retain(|file, keys| {
            let keep = live.contains(file.as_str());
            if !keep {
                budget.release(keys.memory_bytes());
            }
            keep
        });
        self.with_keys.retain(|file| self.files.contains_key(file));
    }
}
