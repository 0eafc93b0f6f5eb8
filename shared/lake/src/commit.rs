//! The one conditional put that makes a version, and finding out what came of it.
//!
//! An error does not say that the put did not happen: a time-out or a 5xx may hide a put that landed, the SDK's
//! own retry of a landed put answers 412, and S3 answers 409 while nothing is decided. So every error is settled
//! by reading the version: it is ours (its `commitInfo` holds our attempt id), another writer's, or not there. If
//! it is not there the same bytes are put again, as the same version: should the first put still arrive, only one
//! of the two can win, and they are the same commit.

use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions, PutPayload};
use pinlake_env::{RetryPolicy, Rng};
use serde::Deserialize;

use crate::error::LakeError;

/// How a doubtful put is tried again: about ten seconds in all.
const DOUBT: RetryPolicy = RetryPolicy {
    max_attempts: 8,
    initial_delay: Duration::from_millis(100),
    max_delay: Duration::from_secs(3),
};

/// Whose version it became.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// Ours: the rows are in the table. The entry's ETag, if the store's answer came.
    Committed {
        /// As in listings.
        e_tag: Option<String>,
    },
    /// Another writer's: look again.
    Lost,
}

/// Puts `commit` as the log entry `path`, once. `attempt` is the id that stands in its `commitInfo`.
///
/// # Errors
/// [`LakeError::CommitUnknown`] when the store would not say in time.
pub(crate) async fn put(
    store: &dyn ObjectStore,
    path: &Path,
    commit: &Bytes,
    attempt: &str,
    rng: &Rng,
) -> Result<Outcome, LakeError> {
    let mut delays = DOUBT.delays(rng);
    loop {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let answer = match store.put_opts(path, PutPayload::from_bytes(commit.clone()), options).await {
            Ok(put) => return Ok(Outcome::Committed { e_tag: put.e_tag }),
            Err(answer) => answer,
        };
        match author(store, path).await {
            Ok(Some(id)) if id == attempt => return Ok(Outcome::Committed { e_tag: None }),
            Ok(Some(_)) => return Ok(Outcome::Lost),
            Ok(None) | Err(LakeError::Store { .. }) => {}
            Err(error) => return Err(error),
        }
        let Some(delay) = delays.next() else {
            let path = path.to_string();
            return Err(LakeError::CommitUnknown { path, attempts: DOUBT.max_attempts, last: answer });
        };
        tracing::warn!(%path, error = %answer, ?delay, "commit in doubt, putting it again");
        tokio::time::sleep(delay).await;
    }
}

/// The attempt id of the version at `path`: `None` when there is no such version, empty for a foreign writer's.
async fn author(store: &dyn ObjectStore, path: &Path) -> Result<Option<String>, LakeError> {
    #[derive(Deserialize)]
    struct Line {
        #[serde(rename = "commitInfo")]
        commit_info: Option<CommitInfo>,
    }
    #[derive(Deserialize)]
    struct CommitInfo {
        pinlake: Option<Own>,
    }
    #[derive(Deserialize)]
    struct Own {
        attempt: String,
    }
    let Some(bytes) = pinlake_store::read_if_exists(store, path).await.map_err(LakeError::store(path))?
    else {
        return Ok(None);
    };
    let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    for line in lines {
        let line: Line = serde_json::from_slice(line)
            .map_err(|error| LakeError::Damaged { path: path.to_string(), why: error.to_string() })?;
        if let Some(own) = line.commit_info.and_then(|info| info.pinlake) {
            return Ok(Some(own.attempt));
        }
    }
    Ok(Some(String::new()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    fn entry(attempt: &str) -> Bytes {
        Bytes::from(format!("{{\"commitInfo\":{{\"pinlake\":{{\"attempt\":\"{attempt}\"}}}}}}\n"))
    }

    #[tokio::test]
    async fn a_version_that_is_there_is_ours_only_if_it_has_our_attempt() {
        let store = InMemory::new();
        let path = Path::from("_delta_log/00000000000000000001.json");
        let rng = Rng::seeded(1);
        let first = put(&store, &path, &entry("a"), "a", &rng).await.unwrap();
        assert!(matches!(first, Outcome::Committed { e_tag: Some(_) }), "{first:?}");
        // The SDK retried a put that had landed, and got 412 for its own object.
        let again = put(&store, &path, &entry("a"), "a", &rng).await.unwrap();
        assert_eq!(again, Outcome::Committed { e_tag: None });
        assert_eq!(put(&store, &path, &entry("b"), "b", &rng).await.unwrap(), Outcome::Lost);
    }

    #[tokio::test]
    async fn a_foreign_writers_version_is_lost_to_it() {
        let store = InMemory::new();
        let path = Path::from("_delta_log/00000000000000000001.json");
        store.put(&path, "{\"commitInfo\":{\"operation\":\"WRITE\"}}\n".into()).await.unwrap();
        let outcome = put(&store, &path, &entry("a"), "a", &Rng::seeded(1)).await.unwrap();
        assert_eq!(outcome, Outcome::Lost);
    }
}
