//! What the log entry of one version says about its commit.

use chrono::{DateTime, Utc};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_store::none_if_not_found;
use serde::Deserialize;

use crate::error::LakeError;

/// The commit of one version of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommitSummary {
    /// The version.
    pub version: u64,
    /// When it was committed: as the commit says, or when its log entry was stored.
    pub committed_at: DateTime<Utc>,
    /// The operation in terms of Delta, such as `WRITE`, if the commit names it.
    pub operation: Option<String>,
    /// Rows that it inserted and rows that the table had already, if pinlake committed it.
    pub inserted_and_duplicates: Option<(u64, u64)>,
}

#[derive(Deserialize)]
struct Action {
    #[serde(rename = "commitInfo")]
    commit_info: Option<Info>,
}

#[derive(Deserialize)]
struct Info {
    timestamp: Option<i64>,
    operation: Option<String>,
    pinlake: Option<Counts>,
}

#[derive(Deserialize)]
struct Counts {
    inserted: Option<u64>,
    duplicates: Option<u64>,
}

/// Reads the log entry at `path`.
pub(super) async fn read(
    store: &dyn ObjectStore,
    path: &Path,
    version: u64,
) -> Result<Option<CommitSummary>, LakeError> {
    let Some(entry) = none_if_not_found(store.get(path).await).map_err(LakeError::store(path))? else {
        return Ok(None);
    };
    let mut summary = CommitSummary {
        version,
        committed_at: entry.meta.last_modified,
        operation: None,
        inserted_and_duplicates: None,
    };
    let bytes = entry.bytes().await.map_err(LakeError::store(path))?;
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.trim_ascii().is_empty()) {
        let action: Action = serde_json::from_slice(line).map_err(LakeError::damaged(path))?;
        if let Some(info) = action.commit_info {
            let stated = info.timestamp.and_then(DateTime::from_timestamp_millis);
            summary.committed_at = stated.unwrap_or(summary.committed_at);
            summary.operation = info.operation;
            summary.inserted_and_duplicates =
                info.pinlake.and_then(|counts| counts.inserted.zip(counts.duplicates));
        }
    }
    Ok(Some(summary))
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    #[tokio::test]
    async fn a_commit_is_summarized_whoever_made_it() {
        let (store, path) = (InMemory::new(), Path::from("_delta_log/00000000000000000007.json"));
        assert_eq!(read(&store, &path, 7).await.unwrap(), None);
        let own = r#"{"commitInfo":{"timestamp":1666180800000,"operation":"WRITE","pinlake":{"inserted":5,"duplicates":2}}}"#;
        store.put(&path, format!("{{\"add\":{{}}}}\n{own}\n").into()).await.unwrap();
        let summary = read(&store, &path, 7).await.unwrap().unwrap();
        assert_eq!(summary.committed_at.to_rfc3339(), "2022-10-19T12:00:00+00:00");
        assert_eq!((summary.version, summary.inserted_and_duplicates), (7, Some((5, 2))));
        assert_eq!(summary.operation.as_deref(), Some("WRITE"));

        store.put(&path, "{\"commitInfo\":{\"engineInfo\":\"other\"}}\n\n".into()).await.unwrap();
        let other = read(&store, &path, 7).await.unwrap().unwrap();
        assert_eq!((other.operation, other.inserted_and_duplicates), (None, None));
        store.put(&path, "no JSON".into()).await.unwrap();
        assert!(matches!(read(&store, &path, 7).await, Err(LakeError::Damaged { .. })));
    }
}
