//! The commits of a table, as its log records them.

use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStoreExt;
use serde::Deserialize;

use crate::error::LakeError;
use crate::log::TableLog;
use crate::table::Table;

/// Log entries that are read at the same time.
const CONCURRENCY: usize = 16;

/// One commit of a table. What its program did not record is `None`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Commit {
    /// The version that it made.
    pub version: u64,
    /// Milliseconds since 1970.
    pub timestamp: Option<i64>,
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
    /// Rows that took the place of rows with fewer columns.
    pub superseded: Option<u64>,
    /// Rows that the table had before.
    pub duplicates: Option<u64>,
    /// Rows that were changed in place.
    pub updated: Option<u64>,
    /// Data files added and removed.
    pub files_added: u64,
    /// Data files removed.
    pub files_removed: u64,
    /// Whether it changed columns or properties of the table.
    pub changes_table: bool,
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
            .try_collect()
            .await
    }

    /// The newest version that was committed up to `time`, in milliseconds since 1970; `None` if there was none.
    pub(crate) async fn find_version_at(&self, time: i64) -> Result<Option<u64>, LakeError> {
        let versions = TableLog::list_versions(&**self.store(), self.root()).await?;
        // Times of commits ascend, but for the clocks of their writers.
        let (mut first, mut end) = (0, versions.len());
        while first < end {
            let middle = usize::midpoint(first, end);
            let commit = self.read_commit(versions[middle]).await?;
            if commit.timestamp.is_some_and(|own| own > time) {
                end = middle;
            } else {
                first = middle + 1;
            }
        }
        Ok(first.checked_sub(1).map(|at| versions[at]))
    }

    async fn read_commit(&self, version: u64) -> Result<Commit, LakeError> {
        let path = TableLog::path_of_entry(self.root(), version);
        let got = self.store().get(&path).await.map_err(LakeError::store(&path))?;
        let bytes = got.bytes().await.map_err(LakeError::store(&path))?;
        let mut commit = Commit { version, ..Commit::default() };
        for action in serde_json::Deserializer::from_slice(&bytes).into_iter::<Action>() {
            match action.map_err(LakeError::damaged(&path))? {
                Action { add: Some(_), .. } => commit.files_added += 1,
                Action { remove: Some(_), .. } => commit.files_removed += 1,
                Action { meta_data: Some(_), .. } => commit.changes_table = true,
                Action { commit_info: Some(info), .. } => {
                    let pinlake = info.pinlake.unwrap_or_default();
                    commit.timestamp = info.timestamp;
                    commit.operation = info.operation;
                    commit.engine = info.engine_info;
                    commit.contract = pinlake.contract;
                    commit.read = pinlake.read;
                    commit.inserted = pinlake.inserted;
                    commit.superseded = pinlake.superseded;
                    commit.duplicates = pinlake.duplicates;
                    commit.updated = pinlake.updated;
                }
                _ => {}
            }
        }
        Ok(commit)
    }
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
    duplicates: Option<u64>,
    updated: Option<u64>,
}
