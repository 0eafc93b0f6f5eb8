//! A listing of a log's folder (Delta protocol, "File Types"), and the names in it.

use std::collections::BTreeMap;

use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;

use crate::error::LakeError;

const SIDECARS: &str = "_sidecars";

/// An object of the log, to be compared with another of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct EntryMeta {
    pub(super) size: u64,
    pub(super) e_tag: Option<String>,
}

impl EntryMeta {
    /// Whether both can be the same object. ETags count only if both have one.
    pub(super) fn may_equal(&self, other: &EntryMeta) -> bool {
        let tags = self.e_tag.as_ref().zip(other.e_tag.as_ref());
        self.size == other.size && tags.is_none_or(|(own, other)| own == other)
    }
}

/// The files in a log's folder.
#[derive(Debug, Default)]
pub(super) struct LogListing {
    /// Log entries, by version.
    pub(super) entries: BTreeMap<u64, EntryMeta>,
    /// Single-file checkpoints.
    single: BTreeMap<u64, String>,
    /// Multi-part checkpoints: by version and number of parts, the file names by part.
    parts: BTreeMap<(u64, u64), BTreeMap<u64, String>>,
    /// Files that V2 checkpoints refer to.
    sidecars: Vec<String>,
    /// V2 checkpoints, whose names contain a UUID.
    v2: BTreeMap<u64, String>,
    /// The version of a checkpoint in an unknown format.
    pub(super) unknown_checkpoint: Option<u64>,
}

impl LogListing {
    /// Lists the log from `version` on, or all of it.
    pub(super) async fn read(
        store: &dyn ObjectStore,
        folder: &Path,
        version: Option<u64>,
    ) -> Result<Self, LakeError> {
        let listing = match version {
            // All names of a version sort after its bare number.
            Some(version) => {
                store.list_with_offset(Some(folder), &folder.clone().join(format!("{version:020}")))
            }
            None => store.list(Some(folder)),
        };
        let metas: Vec<_> = listing.try_collect().await.map_err(LakeError::store(folder))?;
        let mut listing = Self::default();
        for meta in metas {
            let Some(inside) = meta.location.prefix_match(folder) else { continue };
            let inside: Vec<String> = inside.map(|part| part.as_ref().to_owned()).collect();
            match inside.as_slice() {
                [name] => listing.add(name, EntryMeta { size: meta.size, e_tag: meta.e_tag }),
                [folder, name] if folder == SIDECARS => listing.sidecars.push(format!("{folder}/{name}")),
                // Other programs keep temporary files in folders of their own.
                _ => {}
            }
        }
        Ok(listing)
    }

    fn add(&mut self, name: &str, entry: EntryMeta) {
        let Some(version) = parse_version(name) else { return };
        let rest = &name[20..];
        if rest == ".json" {
            self.entries.insert(version, entry);
        } else if let Some(format) = rest.strip_prefix(".checkpoint.") {
            let format: Vec<&str> = format.split('.').collect();
            match format.as_slice() {
                ["parquet"] => {
                    self.single.insert(version, name.to_owned());
                }
                [part, parts, "parquet"] if let (Ok(part), Ok(parts)) = (part.parse(), parts.parse()) => {
                    self.parts.entry((version, parts)).or_default().insert(part, name.to_owned());
                }
                [_, "json" | "parquet"] => {
                    self.v2.insert(version, name.to_owned());
                }
                _ => self.unknown_checkpoint = self.unknown_checkpoint.max(Some(version)),
            }
        }
    }

    /// Whether there are neither entries nor checkpoints.
    pub(super) fn is_empty(&self) -> bool {
        self.entries.is_empty() && self.single.is_empty() && self.parts.is_empty() && self.v2.is_empty()
    }

    /// Drops what is later than `version`.
    pub(super) fn truncate(&mut self, version: u64) {
        self.entries.retain(|own, _| *own <= version);
        self.single.retain(|own, _| *own <= version);
        self.parts.retain(|(own, _), _| *own <= version);
        self.v2.retain(|own, _| *own <= version);
    }

    /// The newest complete checkpoint: its version, and the names of its files.
    pub(super) fn newest_checkpoint(&self) -> Option<(u64, Vec<String>)> {
        let single = self.single.iter().map(|(version, name)| (*version, vec![name.clone()]));
        let complete = self.parts.iter().filter(|((_, count), parts)| (1..=*count).eq(parts.keys().copied()));
        let in_parts = complete.map(|((version, _), parts)| (*version, parts.values().cloned().collect()));
        let v2 = self
            .v2
            .iter()
            .map(|(version, name)| (*version, self.sidecars.iter().cloned().chain([name.clone()]).collect()));
        // `max_by_key` takes the last of several, so the simplest format of a version comes last.
        v2.chain(in_parts).chain(single).max_by_key(|(version, _): &(u64, Vec<String>)| *version)
    }
}

/// The name of a log file in the in-memory copy. The kernel does not know multi-part checkpoints, of which one with a
/// single part is the same as a single-file checkpoint.
pub(super) fn mirror_name(name: &str) -> String {
    name.replace(".checkpoint.0000000001.0000000001.parquet", ".checkpoint.parquet")
}

/// The name of the log entry of `version`.
pub(super) fn entry_name(version: u64) -> String {
    format!("{version:020}.json")
}

/// The version at the start of a log file's name.
fn parse_version(name: &str) -> Option<u64> {
    name.get(..20).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(names: &[&str]) -> LogListing {
        let mut listing = LogListing::default();
        for name in names {
            listing.add(&format!("{}{name}", "0".repeat(19)), EntryMeta { size: 1, e_tag: None });
        }
        listing
    }

    #[test]
    fn replay_starts_at_the_newest_complete_checkpoint() {
        let version = |names: &[&str]| {
            listing(names).newest_checkpoint().map(|(version, files)| (version, files.len()))
        };
        assert_eq!(version(&["0.json", "1.json", "1.crc"]), None);
        assert_eq!(version(&["0.json", "1.checkpoint.parquet", "2.json"]), Some((1, 1)));
        let parts = ["1.checkpoint.parquet", "2.checkpoint.0000000001.0000000002.parquet"];
        assert_eq!(version(&parts), Some((1, 1)), "the second part is missing");
        let parts = [&parts[..], &["2.checkpoint.0000000002.0000000002.parquet"]].concat();
        assert_eq!(version(&parts), Some((2, 2)));
        let id = "3.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json";
        assert_eq!(version(&[&parts[..], &[id]].concat()), Some((3, 1)));
        let unknown = listing(&["4.checkpoint.of.some.other.form", "x.json"]);
        assert_eq!((unknown.newest_checkpoint(), unknown.unknown_checkpoint), (None, Some(4)));
    }
}
