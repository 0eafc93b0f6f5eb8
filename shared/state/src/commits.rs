//! Reads the newest commits of tables. A commit never changes, so those that were read are kept.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use pinlake_lake::{Commit, LakeError, Table};

/// Commits of a table that are read. Each is a small object, and a page waits for them.
pub(crate) const MAX_COMMITS: usize = 500;
/// Commits that are read at the same time, and before the next are decided on.
const CONCURRENCY: usize = 32;

/// Commits that were read, by table and version. Keep it between calls of [`crate::collect`].
#[derive(Debug, Default)]
pub struct CommitCache(Mutex<BTreeMap<String, BTreeMap<u64, Commit>>>);

/// The newest commits of a table.
#[derive(Debug, Clone, Default)]
pub(crate) struct NewestCommits {
    /// Newest first.
    pub commits: Vec<Commit>,
    /// Whether there are earlier ones since the time that was asked for.
    pub is_truncated: bool,
    /// When the table was created, if its first commit is there.
    pub created_at: Option<DateTime<Utc>>,
}

impl CommitCache {
    /// Reads the commits since `since`, from `newest` on, at most [`MAX_COMMITS`].
    pub(crate) async fn read(
        &self,
        table: &Table,
        newest: u64,
        since: DateTime<Utc>,
    ) -> Result<NewestCommits, LakeError> {
        let name = &table.contract().name;
        let mut known = self.take(name);
        if known.keys().next_back().is_some_and(|last| *last > newest) {
            // Another table took its place.
            known.clear();
        }
        let end = newest.saturating_sub(MAX_COMMITS as u64 - 1);
        let mut found = NewestCommits { is_truncated: end > 0, ..NewestCommits::default() };
        let versions: Vec<u64> = (end..=newest).rev().collect();
        'reading: for part in versions.chunks(CONCURRENCY) {
            for (version, commit) in read_each(table, part, &mut known).await? {
                // An entry that log clean-up removed hides the earlier ones.
                let Some(commit) = commit else {
                    found.is_truncated = true;
                    break 'reading;
                };
                if commit.committed_at < since {
                    found.is_truncated = false;
                    break 'reading;
                }
                found.is_truncated = version > 0 && version == end;
                found.commits.push(commit);
            }
        }
        let first = read_each(table, &[0], &mut known).await?;
        found.created_at = first.into_iter().find_map(|(_, commit)| commit).map(|commit| commit.committed_at);
        known.retain(|version, _| *version >= end || *version == 0);
        self.locked().insert(name.clone(), known);
        Ok(found)
    }

    fn take(&self, name: &str) -> BTreeMap<u64, Commit> {
        self.locked().remove(name).unwrap_or_default()
    }

    fn locked(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, BTreeMap<u64, Commit>>> {
        // What a thread that panicked left is a cache still.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads these versions, in their order. Adds them to `known`.
async fn read_each(
    table: &Table,
    versions: &[u64],
    known: &mut BTreeMap<u64, Commit>,
) -> Result<Vec<(u64, Option<Commit>)>, LakeError> {
    let missing: Vec<u64> = versions.iter().copied().filter(|version| !known.contains_key(version)).collect();
    let read: Vec<Option<Commit>> = futures::stream::iter(missing)
        .map(async |version| match table.read_commit(version).await {
            // One that cannot be read hides the earlier ones, not the table.
            Err(LakeError::Damaged { .. }) => Ok(None),
            read => read,
        })
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    known.extend(read.into_iter().flatten().map(|commit| (commit.version, commit)));
    Ok(versions.iter().map(|version| (*version, known.get(version).cloned())).collect())
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use chrono::TimeDelta;
    use object_store::memory::InMemory;
    use object_store::path::Path;
    use object_store::{ObjectStore, ObjectStoreExt};
    use pinlake_env::Env;
    use pinlake_lake::Lake;
    use pinlake_schema::Catalog;

    use super::*;

    /// The time of a version: a minute for each.
    fn time(version: u64) -> DateTime<Utc> {
        let first: DateTime<Utc> = "2022-10-19T00:00:00Z".parse().unwrap();
        first + TimeDelta::minutes(version as i64)
    }

    fn entry(version: u64) -> Path {
        Path::from(format!("tables/user/_delta_log/{version:020}.json"))
    }

    /// A table whose log has these versions.
    async fn table(versions: std::ops::Range<u64>) -> (Arc<InMemory>, Arc<Table>) {
        let store = Arc::new(InMemory::new());
        for version in versions {
            let at = time(version).timestamp_millis();
            let info = format!("{{\"commitInfo\":{{\"timestamp\":{at},\"operation\":\"WRITE\"}}}}\n");
            store.put(&entry(version), info.into()).await.unwrap();
        }
        let catalog = Catalog::embedded().unwrap();
        let lake = Lake::new(store.clone() as Arc<dyn ObjectStore>, Env::system());
        (store, lake.table(catalog.contract("user").unwrap()))
    }

    fn versions(found: &NewestCommits) -> Option<(u64, u64, usize)> {
        let commits = &found.commits;
        Some((commits.first()?.version, commits.last()?.version, commits.len()))
    }

    #[tokio::test]
    async fn the_newest_are_read_up_to_a_time_or_a_number() {
        let (_, table) = table(0..700).await;
        let cache = CommitCache::default();
        let found = cache.read(&table, 699, time(600)).await.unwrap();
        assert_eq!((versions(&found), found.is_truncated), (Some((699, 600, 100)), false));
        let found = cache.read(&table, 699, time(0)).await.unwrap();
        assert_eq!((versions(&found), found.is_truncated), (Some((699, 200, MAX_COMMITS)), true));
        assert_eq!(found.created_at, Some(time(0)));
        let found = cache.read(&table, 99, time(0)).await.unwrap();
        assert_eq!((versions(&found), found.is_truncated), (Some((99, 0, 100)), false));
    }

    #[tokio::test]
    async fn an_entry_that_is_gone_or_damaged_hides_the_earlier_ones() {
        let (store, table) = table(3..9).await;
        let found = CommitCache::default().read(&table, 8, time(0)).await.unwrap();
        assert_eq!((versions(&found), found.is_truncated, found.created_at), (Some((8, 3, 6)), true, None));
        store.put(&entry(5), "no JSON".into()).await.unwrap();
        let found = CommitCache::default().read(&table, 8, time(0)).await.unwrap();
        assert_eq!((versions(&found), found.is_truncated), (Some((8, 6, 3)), true));
    }

    #[tokio::test]
    async fn what_was_read_is_kept_and_dropped_with_the_table() {
        let (store, table) = table(0..9).await;
        let cache = CommitCache::default();
        let first = cache.read(&table, 8, time(0)).await.unwrap();
        for version in 0..9 {
            store.delete(&entry(version)).await.unwrap();
        }
        assert_eq!(versions(&cache.read(&table, 8, time(0)).await.unwrap()), versions(&first));
        assert_eq!(versions(&cache.read(&table, 2, time(0)).await.unwrap()), None, "it is another table");
    }
}
