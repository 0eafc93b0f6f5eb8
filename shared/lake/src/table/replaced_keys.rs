//! The keys of rows of earlier contracts whose place rows with more values have taken. A record without these values that is sent again is
//! still a duplicate.
//!
//! They are key files under `_pinlake_replaced/`: see [`KeyList`]. The keys of one file have one key epoch.

use object_store::ObjectStoreExt;
use serde::{Deserialize, Serialize};

use super::Table;
use crate::error::LakeError;
use crate::key_list::KeyList;
use crate::keys::{Key, KeyCache, KeyEpoch, KeyReader, KeySource, SortedKeys, encode};
use crate::log::TableLog;

/// More files are merged, the smallest first.
const MAX_FILES: usize = 8;

/// The files of one version of a table, as their list names them.
#[derive(Debug, Clone, Default)]
pub(super) struct ReplacedKeys {
    number: Option<i64>,
    files: Vec<ReplacedFile>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
struct ReplacedFile {
    name: String,
    epoch: String,
    /// How many keys it has.
    keys: u64,
}

impl ReplacedKeys {
    /// The files to search for a record, beside the table's data files.
    pub(super) fn sources(&self) -> impl Iterator<Item = KeySource> {
        self.files.iter().map(ReplacedFile::source)
    }

    /// What the keys of the files are cached under.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.files.iter().map(|file| file.name.as_str())
    }
}

impl ReplacedFile {
    fn source(&self) -> KeySource {
        KeySource::Replaced { name: self.name.clone(), keys: self.keys }
    }
}

impl Table {
    /// Makes `known` the replaced keys of the version in `log`.
    ///
    /// # Errors
    /// If the store fails, or the list that the log names is missing or damaged.
    pub(super) async fn refresh_replaced_keys(
        &self,
        log: &TableLog,
        known: &mut ReplacedKeys,
    ) -> Result<(), LakeError> {
        let number = log.key_list(KeyList::Replaced)?;
        if number != known.number {
            let files = match number {
                Some(number) => KeyList::Replaced.read(&*self.store, &self.root, number).await?,
                None => Vec::new(),
            };
            *known = ReplacedKeys { number, files };
        }
        Ok(())
    }

    /// Writes replaced keys in addition to `present`. Returns the number of their list, to which nothing refers before a commit has it.
    ///
    /// # Errors
    /// If the store fails.
    pub(super) async fn stage_replaced_keys(
        &self,
        present: &ReplacedKeys,
        replaced: Vec<SortedKeys>,
        reader: &KeyReader<'_>,
        cache: &mut KeyCache,
    ) -> Result<i64, LakeError> {
        let mut files = present.files.clone();
        for keys in replaced {
            files.push(self.write_replaced_file(keys).await?);
        }
        files.sort_by_key(|file| file.keys);
        while files.len() > MAX_FILES {
            // Keys of two epochs do not fit in one file, and those of an epoch that is no longer known cannot be checked.
            let find_second = |(at, file): (usize, &ReplacedFile)| {
                let is_known =
                    KeyEpoch::parse(&file.epoch).is_some_and(|epoch| reader.epochs.contains(epoch));
                let mut others = files.iter().skip(at + 1);
                let second = others.position(|other| is_known && other.epoch == file.epoch)?;
                Some((at, at + 1 + second))
            };
            let Some((first, second)) = files.iter().enumerate().find_map(find_second) else { break };
            let (second, first) = (files.remove(second), files.remove(first));
            let SortedKeys { epoch, keys } = reader.read_all(&first.source(), cache).await?;
            let mut keys: Vec<Key> = keys.to_vec();
            keys.extend_from_slice(&reader.read_all(&second.source(), cache).await?.keys);
            keys.sort_unstable();
            keys.dedup();
            let merged = self.write_replaced_file(SortedKeys { epoch, keys: keys.into() }).await?;
            let at = files.partition_point(|file| file.keys < merged.keys);
            files.insert(at, merged);
        }
        KeyList::Replaced.write(&*self.store, &self.root, files, &self.env.rng).await
    }

    async fn write_replaced_file(&self, keys: SortedKeys) -> Result<ReplacedFile, LakeError> {
        let name = format!("{}.keys", self.env.rng.id());
        let path = KeyList::Replaced.file_path(&self.root, &name);
        self.store.put(&path, encode(&keys).0.into()).await.map_err(LakeError::store(&path))?;
        Ok(ReplacedFile { name, epoch: keys.epoch.to_string(), keys: keys.keys.len() as u64 })
    }
}
