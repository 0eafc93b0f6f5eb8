//! The commits of a table, as its log records them.

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use pinlake_store::none_if_not_found;
use serde::Deserialize;

use crate::error::LakeError;
use crate::log::TableLog;
use crate::table::Table;

/// The operation of a merge, in Delta's words.
const MERGE: &str = "OPTIMIZE";
/// Log entries that are read at the same time.
const CONCURRENCY: usize = 16;

/// One commit of a table. What its program did not record is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commit {
    /// The version that it made.
    pub version: u64,
    /// When it was made: as the commit says, or when its log entry was stored.
    pub committed_at: DateTime<Utc>,
    /// What it did, in Delta's words, such as `WRITE`.
    pub operation: Option<String>,
    /// The program that made it.
    pub engine: Option<String>,
    /// Name and version of the contract under which pinlake made it.
    pub contract: Option<String>,
    /// Counts of rows that pinlake records.
    pub read: Option<u64>,
    /// Rows that are new in the table.
    pub inserted: Option<u64>,
    /// Rows that took the place of rows with fewer columns, or of earlier records.
    pub superseded: Option<u64>,
    /// Rows of records that are earlier than the table's.
    pub outdated: Option<u64>,
    /// Rows that deleted a row, or keep an earlier record out.
    pub deleted: Option<u64>,
    /// Rows that the table had before.
    pub duplicates: Option<u64>,
    /// Rows that were changed in place.
    pub updated: Option<u64>,
    /// Data files added.
    pub files_added: u64,
    /// Data files removed.
    pub files_removed: u64,
    /// Whether it changed columns or properties of the table.
    pub changes_table: bool,
}

impl Commit {
    /// Whether it replaced data files by fewer ones with the same rows.
    pub fn is_merge(&self) -> bool {
        self.operation.as_deref() == Some(MERGE)
    }
}

impl Table {
    /// Lists the newest commits of the table, newest first, at most `limit`. Entries that log clean-up has removed are left out.
    ///
    /// # Errors
    /// If the store fails or an entry is malformed.
    pub async fn list_commits(&self, limit: usize) -> Result<Vec<Commit>, LakeError> {
        let versions = TableLog::list_versions(&**self.store(), self.root()).await?;
        let newest = versions.into_iter().rev().take(limit);
        futures::stream::iter(newest)
            .map(|version| self.read_commit(version))
            .buffered(CONCURRENCY)
            .try_filter_map(|commit| std::future::ready(Ok(commit)))
            .try_collect()
            .await
    }

    /// The newest version that was committed up to `time`; `None` if the table was created later.
    ///
    /// # Errors
    /// If the store fails; [`LakeError::VersionRemoved`] if log clean-up has removed the entries of that time.
    pub(crate) async fn find_version_at(&self, time: DateTime<Utc>) -> Result<Option<u64>, LakeError> {
        let versions = TableLog::list_versions(&**self.store(), self.root()).await?;
        // Times of commits ascend, but for the clocks of their writers.
        let (mut first, mut end) = (0, versions.len());
        while first < end {
            let middle = usize::midpoint(first, end);
            let commit = self.read_commit(versions[middle]).await?;
            if commit.is_some_and(|commit| commit.committed_at > time) {
                end = middle;
            } else {
                first = middle + 1;
            }
        }
        match (first.checked_sub(1), versions.first()) {
            (Some(at), _) => Ok(Some(versions[at])),
            (None, None | Some(0)) => Ok(None),
            (None, Some(_)) => Err(LakeError::VersionRemoved { dataset: self.contract().name.clone() }),
        }
    }

    /// Reads the log entry of a version; `None` if there is none.
    ///
    /// # Errors
    /// If the store fails or the entry is malformed.
    pub async fn read_commit(&self, version: u64) -> Result<Option<Commit>, LakeError> {
        let Some(entry) = self.read_entry(version).await? else { return Ok(None) };
        let mut commit = Commit { version, committed_at: entry.stored_at, ..Commit::default() };
        for action in serde_json::Deserializer::from_slice(&entry.bytes).into_iter::<Action>() {
            match action.map_err(LakeError::damaged(&entry.path))? {
                Action { add: Some(_), .. } => commit.files_added += 1,
                Action { remove: Some(_), .. } => commit.files_removed += 1,
                Action { meta_data: Some(_), .. } => commit.changes_table = true,
                Action { commit_info: Some(info), .. } => {
                    let pinlake = info.pinlake.unwrap_or_default();
                    let stated = info.timestamp.and_then(DateTime::from_timestamp_millis);
                    commit.committed_at = stated.unwrap_or(commit.committed_at);
                    commit.operation = info.operation;
                    commit.engine = info.engine_info;
                    commit.contract = pinlake.contract;
                    commit.read = pinlake.read;
                    commit.inserted = pinlake.inserted;
                    commit.superseded = pinlake.superseded;
                    commit.outdated = pinlake.outdated;
                    commit.deleted = pinlake.deleted;
                    commit.duplicates = pinlake.duplicates;
                    commit.updated = pinlake.updated;
                }
                _ => {}
            }
        }
        Ok(Some(commit))
    }

    /// The version of the newest checkpoint, as the table's log states it; `None` if it states none.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn read_checkpoint_version(&self) -> Result<Option<u64>, LakeError> {
        TableLog::new(&self.contract().name, self.root().clone()).read_checkpoint_hint(&**self.store()).await
    }

    /// Reads the bytes of the log entry of a version; `None` if there is none.
    pub(crate) async fn read_entry(&self, version: u64) -> Result<Option<LogEntry>, LakeError> {
        let path = TableLog::path_of_entry(self.root(), version);
        let got = none_if_not_found(self.store().get(&path).await).map_err(LakeError::store(&path))?;
        let Some(got) = got else { return Ok(None) };
        let stored_at = got.meta.last_modified;
        let bytes = got.bytes().await.map_err(LakeError::store(&path))?;
        Ok(Some(LogEntry { path, stored_at, bytes }))
    }
}

/// A log entry as it is stored: lines of JSON.
pub(crate) struct LogEntry {
    pub path: Path,
    pub stored_at: DateTime<Utc>,
    pub bytes: Bytes,
}

/// An action of the log (Delta protocol, "Actions").
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Action {
    add: Option<serde::de::IgnoredAny>,
    remove: Option<serde::de::IgnoredAny>,
    meta_data: Option<serde::de::IgnoredAny>,
    commit_info: Option<CommitInfo>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct CommitInfo {
    timestamp: Option<i64>,
    operation: Option<String>,
    engine_info: Option<String>,
    pinlake: Option<Counts>,
}

#[derive(Deserialize, Default)]
struct Counts {
    contract: Option<String>,
    read: Option<u64>,
    inserted: Option<u64>,
    superseded: Option<u64>,
    outdated: Option<u64>,
    deleted: Option<u64>,
    duplicates: Option<u64>,
    updated: Option<u64>,
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use object_store::memory::InMemory;
    use object_store::{ObjectStore, ObjectStoreExt};

    use super::*;
    use crate::AsOf;
    use crate::Lake;
    use crate::tests::support::{env, rows, visits};

    #[tokio::test]
    async fn a_commit_is_read_whoever_made_it() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let table = Lake::new(store.clone(), env(1)).table(visits("").contract("visit").unwrap());
        let path = Path::from("tables/visit/_delta_log/00000000000000000007.json");
        assert_eq!(table.read_commit(7).await.unwrap(), None);
        let own = r#"{"commitInfo":{"timestamp":1666180800000,"operation":"WRITE","pinlake":{"inserted":5,"duplicates":2}}}"#;
        store.put(&path, format!("{{\"add\":{{}}}}\n{own}\n").into()).await.unwrap();
        let commit = table.read_commit(7).await.unwrap().unwrap();
        assert_eq!(commit.committed_at.to_rfc3339(), "2022-10-19T12:00:00+00:00");
        assert_eq!((commit.version, commit.inserted, commit.duplicates), (7, Some(5), Some(2)));
        assert_eq!((commit.operation.as_deref(), commit.files_added), (Some("WRITE"), 1));

        store.put(&path, "{\"commitInfo\":{\"engineInfo\":\"other\"}}\n\n".into()).await.unwrap();
        let other = table.read_commit(7).await.unwrap().unwrap();
        assert_eq!((other.engine.as_deref(), other.operation, other.inserted), (Some("other"), None, None));
        store.put(&path, "no JSON".into()).await.unwrap();
        assert!(matches!(table.read_commit(7).await, Err(LakeError::Damaged { .. })));
    }

    #[tokio::test]
    async fn a_version_that_clean_up_removed_is_an_error_and_not_an_empty_table() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let catalog = visits("");
        let contract = catalog.contract("visit").unwrap();
        let (lake, clock) = (Lake::new(store.clone(), env(1)), env(1).clock);
        let table = lake.table(contract);
        for value in 1..=55 {
            table.insert(&[rows(contract, &[value])]).await.unwrap();
        }
        let before = AsOf::Timestamp(clock.now() - chrono::TimeDelta::days(1));
        assert_eq!(table.pin_as_of(before).await.unwrap().version, None, "the table was created later");
        assert_eq!(table.pin_as_of(AsOf::Version(7)).await.unwrap().version, Some(7));
        // The log is truncated before its checkpoint.
        for version in 0..50 {
            let entry = Path::from(format!("tables/visit/_delta_log/{version:020}.json"));
            store.delete(&entry).await.unwrap();
        }
        for as_of in [before, AsOf::Version(7)] {
            let error = table.pin_as_of(as_of).await.unwrap_err();
            assert!(matches!(error, LakeError::VersionRemoved { .. }), "{error}");
        }
        assert_eq!(table.pin_as_of(AsOf::Version(52)).await.unwrap().version, Some(52));
    }
}
