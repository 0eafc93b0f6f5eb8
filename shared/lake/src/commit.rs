//! Puts one log entry, and finds out who committed its version.
//!
//! An error does not prove that the put failed. A timeout or a 5xx may hide a put that succeeded, a retry by the SDK of
//! a put that succeeded returns 412, and S3 returns 409 while the outcome is open. So after every error the version is
//! read: it is ours (its `commitInfo` has our attempt id), another writer's, or missing. If it is missing, the same
//! bytes are put again as the same version. If the first put arrives after all, only one of the two can succeed, and
//! they are the same commit.

use std::time::Duration;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, PutMode, PutOptions, PutPayload};
use pinlake_env::{RetryPolicy, Rng};
use pinlake_store::read_if_exists;
use serde::Deserialize;

use crate::error::LakeError;

/// Retries of an ambiguous put: about ten seconds in all.
const AMBIGUOUS_PUT_RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 8,
    initial_delay: Duration::from_millis(100),
    max_delay: Duration::from_secs(3),
};

/// Who committed the version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PutOutcome {
    /// This writer did.
    Committed {
        /// The entry's ETag, if the store returned it.
        e_tag: Option<String>,
    },
    /// Another writer did.
    Conflict,
}

/// Puts `commit` as the log entry `path` if that version does not exist. `attempt` is the id in the commit's
/// `commitInfo`.
///
/// # Errors
/// [`LakeError::CommitUnknown`] if the outcome is still unknown after all attempts.
pub(crate) async fn put_log_entry(
    store: &dyn ObjectStore,
    path: &Path,
    commit: &Bytes,
    attempt: &str,
    rng: &Rng,
) -> Result<PutOutcome, LakeError> {
    let mut delays = AMBIGUOUS_PUT_RETRY.delays(rng);
    loop {
        let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
        let put_error = match store.put_opts(path, PutPayload::from_bytes(commit.clone()), options).await {
            Ok(put) => return Ok(PutOutcome::Committed { e_tag: put.e_tag }),
            Err(error) => error,
        };
        match read_attempt_id(store, path).await {
            Ok(Some(id)) if id == attempt => return Ok(PutOutcome::Committed { e_tag: None }),
            Ok(Some(_)) => return Ok(PutOutcome::Conflict),
            Ok(None) | Err(LakeError::Store { .. }) => {}
            Err(error) => return Err(error),
        }
        let Some(delay) = delays.next() else {
            let (path, attempts) = (path.to_string(), AMBIGUOUS_PUT_RETRY.max_attempts);
            return Err(LakeError::CommitUnknown { path, attempts, last: put_error });
        };
        tracing::warn!(%path, error = %put_error, ?delay, "ambiguous put of a commit, putting it again");
        tokio::time::sleep(delay).await;
    }
}

/// The attempt id in the log entry at `path`: `None` if there is no entry, empty if another program wrote it.
async fn read_attempt_id(store: &dyn ObjectStore, path: &Path) -> Result<Option<String>, LakeError> {
    #[derive(Deserialize)]
    struct Action {
        #[serde(rename = "commitInfo")]
        commit_info: Option<CommitInfo>,
    }
    #[derive(Deserialize)]
    struct CommitInfo {
        pinlake: Option<Pinlake>,
    }
    #[derive(Deserialize)]
    struct Pinlake {
        attempt: String,
    }
    let Some(bytes) = read_if_exists(store, path).await.map_err(LakeError::store(path))? else {
        return Ok(None);
    };
    for line in bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
        let action: Action = serde_json::from_slice(line).map_err(LakeError::damaged(path))?;
        if let Some(pinlake) = action.commit_info.and_then(|info| info.pinlake) {
            return Ok(Some(pinlake.attempt));
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
    async fn an_existing_version_is_ours_only_with_our_attempt_id() {
        let store = InMemory::new();
        let path = Path::from("_delta_log/00000000000000000001.json");
        let rng = Rng::seeded(1);
        let first = put_log_entry(&store, &path, &entry("a"), "a", &rng).await.unwrap();
        assert!(matches!(first, PutOutcome::Committed { e_tag: Some(_) }), "{first:?}");
        // The SDK repeated a put that had succeeded, and got 412 for its own object.
        let again = put_log_entry(&store, &path, &entry("a"), "a", &rng).await.unwrap();
        assert_eq!(again, PutOutcome::Committed { e_tag: None });
        let other = put_log_entry(&store, &path, &entry("b"), "b", &rng).await.unwrap();
        assert_eq!(other, PutOutcome::Conflict);
    }

    #[tokio::test]
    async fn a_version_of_another_program_is_a_conflict() {
        let store = InMemory::new();
        let path = Path::from("_delta_log/00000000000000000001.json");
        store.put(&path, "{\"commitInfo\":{\"operation\":\"WRITE\"}}\n".into()).await.unwrap();
        let outcome = put_log_entry(&store, &path, &entry("a"), "a", &Rng::seeded(1)).await.unwrap();
        assert_eq!(outcome, PutOutcome::Conflict);
    }
}
