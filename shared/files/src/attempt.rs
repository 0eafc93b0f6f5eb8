//! Attempts at files. An attempt is recorded before a file is read, so that a file that crashes the process
//! can be identified.
//!
//! A reader of files puts an object of its own, `state/attempts/<id>.json`, that names the versions it is about to read
//! (name, ETag, size). It removes the object when it stops in an orderly way: the files are done or moved to `failed/`,
//! the time is up and they made progress, or the store failed. While it works it renews the lease. An object whose
//! lease has expired is a failed attempt. A file's failures are the failed attempts that started at or after the record
//! where the file is now, so an attempt that made progress does not count. It follows that
//!
//! - attempts that run at the same time are counted apart, and a healthy one never counts as a failure;
//! - a file that another invocation is reading is left to it;
//! - small files may share an attempt and its failure. Each is then tried alone, and only the file that caused the
//!   failure fails again;
//! - after [`MAX_FAILURES`] failures a file is rejected without being read again.
//!
//! Files that are done are removed from failed attempts. A failed attempt is deleted with its last file, or after a
//! week.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use pinlake_env::{Clock, Env};
use serde::{Deserialize, Serialize};

use pinlake_landing::LandingError;
use pinlake_store::{delete_if_exists, read_if_exists};

/// Path prefix of attempts.
const ATTEMPTS: &str = "state/attempts";
/// Failed attempts after which a file is rejected.
pub const MAX_FAILURES: u64 = 3;
/// How long an attempt counts as running after its last renewal.
pub const LEASE: Duration = Duration::from_secs(60);
/// Age at which a lease is renewed.
const RENEW_AFTER: TimeDelta = TimeDelta::seconds(20);
/// How long failed attempts are kept: longer than the retention of the trigger queue.
const RETENTION: TimeDelta = TimeDelta::days(7);
/// Attempts read concurrently.
const CONCURRENCY: usize = 16;

/// A file of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptedFile {
    /// Its version, see [`FileSource::version`](crate::source::FileSource::version).
    pub version: String,
    /// The name shown to people.
    pub name: String,
    /// How many of its records have landed.
    pub from: u64,
}

/// The stored form of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    begun: DateTime<Utc>,
    /// When the lease expires.
    until: DateTime<Utc>,
    files: Vec<AttemptedFile>,
}

/// An attempt of this process.
#[derive(Debug)]
pub struct Attempt {
    path: Path,
    marker: Marker,
    renewed: DateTime<Utc>,
}

impl Attempt {
    /// Records that these files are about to be read.
    ///
    /// # Errors
    /// If the store fails. The files must not be read then.
    pub async fn begin(
        store: &dyn ObjectStore,
        env: &Env,
        files: Vec<AttemptedFile>,
    ) -> Result<Self, LandingError> {
        let now = env.clock.now();
        let path = Path::from(format!("{ATTEMPTS}/{}.json", env.rng.id()));
        let attempt = Self { path, marker: Marker { begun: now, until: now + LEASE, files }, renewed: now };
        put(store, &attempt.path, &attempt.marker).await?;
        Ok(attempt)
    }

    /// Records that `records` records of a version have landed, and renews the lease.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn record_progress(
        &mut self,
        store: &dyn ObjectStore,
        clock: &dyn Clock,
        version: &str,
        records: u64,
    ) -> Result<(), LandingError> {
        for file in self.marker.files.iter_mut().filter(|file| file.version == version) {
            file.from = records;
        }
        self.write_lease(store, clock.now()).await
    }

    /// Renews the lease if it is older than 20 seconds.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn renew_lease(
        &mut self,
        store: &dyn ObjectStore,
        clock: &dyn Clock,
    ) -> Result<(), LandingError> {
        let now = clock.now();
        if now - self.renewed < RENEW_AFTER {
            return Ok(());
        }
        self.write_lease(store, now).await
    }

    async fn write_lease(&mut self, store: &dyn ObjectStore, now: DateTime<Utc>) -> Result<(), LandingError> {
        (self.marker.until, self.renewed) = (now + LEASE, now);
        put(store, &self.path, &self.marker).await
    }

    /// Ends the attempt. For the versions in `stuck`, which made no progress, it counts as failed.
    ///
    /// # Errors
    /// If the store fails. The attempt then counts as failed when its lease expires.
    pub async fn finish(
        mut self,
        store: &dyn ObjectStore,
        clock: &dyn Clock,
        stuck: &BTreeSet<String>,
    ) -> Result<(), LandingError> {
        self.marker.files.retain(|file| stuck.contains(&file.version));
        if self.marker.files.is_empty() {
            return remove(store, &self.path).await;
        }
        self.marker.until = clock.now();
        put(store, &self.path, &self.marker).await
    }
}

/// The attempts of other processes and earlier invocations.
#[derive(Debug, Default)]
pub struct Attempts {
    failed: BTreeMap<Path, Marker>,
    running: BTreeSet<String>,
    changed: BTreeSet<Path>,
}

impl Attempts {
    /// Reads all attempts, running and failed ones, and deletes expired ones.
    ///
    /// # Errors
    /// If the store fails.
    pub async fn read(store: &dyn ObjectStore, clock: &dyn Clock) -> Result<Self, LandingError> {
        let prefix = Path::from(ATTEMPTS);
        let listed = store.list(Some(&prefix)).map_err(|error| LandingError::store(&prefix)(error));
        let markers = listed.map_ok(|meta| async move {
            let marker = get(store, &meta.location).await?;
            Ok((meta.location, marker))
        });
        let found: Vec<_> = markers.try_buffer_unordered(CONCURRENCY).try_collect().await?;
        let (mut attempts, now) = (Self::default(), clock.now());
        for (path, marker) in found {
            match marker {
                // It finished after the listing.
                None => {}
                Some(marker) if now - marker.begun > RETENTION => {
                    remove(store, &path).await?;
                }
                Some(marker) if marker.until > now => {
                    attempts.running.extend(marker.files.into_iter().map(|file| file.version));
                }
                Some(marker) => {
                    attempts.failed.insert(path, marker);
                }
            }
        }
        Ok(attempts)
    }

    /// Whether another invocation is reading this version.
    pub fn is_running(&self, version: &str) -> bool {
        self.running.contains(version)
    }

    /// How many attempts at this version have failed at or after record `records`.
    pub fn count_failures(&self, version: &str, records: u64) -> u64 {
        let is_failure = |file: &AttemptedFile| file.version == version && file.from >= records;
        self.failed.values().filter(|marker| marker.files.iter().any(is_failure)).count() as u64
    }

    /// Removes a finished version from the failed attempts; [`Attempts::write_changes`] stores this.
    pub fn forget(&mut self, version: &str) {
        for (path, marker) in &mut self.failed {
            let before = marker.files.len();
            marker.files.retain(|file| file.version != version);
            if marker.files.len() < before {
                self.changed.insert(path.clone());
            }
        }
    }

    /// Stores what [`Attempts::forget`] changed.
    ///
    /// # Errors
    /// If the store fails. Failures of finished files then stay until they expire.
    pub async fn write_changes(&mut self, store: &dyn ObjectStore) -> Result<(), LandingError> {
        for path in std::mem::take(&mut self.changed) {
            match self.failed.get(&path) {
                Some(marker) if !marker.files.is_empty() => put(store, &path, marker).await?,
                _ => {
                    remove(store, &path).await?;
                    self.failed.remove(&path);
                }
            }
        }
        Ok(())
    }
}

async fn put(store: &dyn ObjectStore, path: &Path, marker: &Marker) -> Result<(), LandingError> {
    let bytes = serde_json::to_vec(marker).map_err(|error| LandingError::corrupt(path, error))?;
    store.put(path, PutPayload::from(bytes)).await.map_err(LandingError::store(path))?;
    Ok(())
}

/// Reads a marker; `None` if it does not exist or is not readable.
async fn get(store: &dyn ObjectStore, path: &Path) -> Result<Option<Marker>, LandingError> {
    let bytes = read_if_exists(store, path).await.map_err(LandingError::store(path))?;
    Ok(bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok()))
}

async fn remove(store: &dyn ObjectStore, path: &Path) -> Result<(), LandingError> {
    delete_if_exists(store, path).await.map_err(LandingError::store(path))
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use futures::StreamExt;
    use object_store::memory::InMemory;
    use pinlake_env::{ManualClock, Rng};

    fn file(version: &str, from: u64) -> AttemptedFile {
        AttemptedFile { version: version.to_owned(), name: format!("inbox/{version}"), from }
    }

    fn setup() -> (InMemory, Arc<ManualClock>, Env) {
        let clock = Arc::new(ManualClock::at(DateTime::UNIX_EPOCH));
        let env = Env { clock: clock.clone(), rng: Arc::new(Rng::seeded(1)) };
        (InMemory::new(), clock, env)
    }

    #[tokio::test]
    async fn only_abandoned_attempts_count_and_only_after_their_lease() {
        let (store, clock, env) = setup();
        let stuck = BTreeSet::new();
        let left = Attempt::begin(&store, &env, vec![file("a", 0), file("b", 0)]).await.unwrap();
        let alive = Attempt::begin(&store, &env, vec![file("a", 0)]).await.unwrap();
        drop(left);
        let attempts = Attempts::read(&store, &*clock).await.unwrap();
        assert!(attempts.is_running("a") && attempts.is_running("b"));
        assert_eq!(attempts.count_failures("a", 0), 0);
        alive.finish(&store, &*clock, &stuck).await.unwrap();
        clock.advance(LEASE);
        let mut attempts = Attempts::read(&store, &*clock).await.unwrap();
        assert!(!attempts.is_running("a"));
        assert_eq!(
            (
                attempts.count_failures("a", 0),
                attempts.count_failures("b", 0),
                attempts.count_failures("c", 0)
            ),
            (1, 1, 0)
        );
        attempts.forget("a");
        attempts.write_changes(&store).await.unwrap();
        let mut attempts = Attempts::read(&store, &*clock).await.unwrap();
        assert_eq!((attempts.count_failures("a", 0), attempts.count_failures("b", 0)), (0, 1));
        attempts.forget("b");
        attempts.write_changes(&store).await.unwrap();
        assert_eq!(store.list(None).count().await, 0);
    }

    #[tokio::test]
    async fn an_attempt_counts_as_failed_only_without_progress() {
        let (store, clock, env) = setup();
        let mut attempt = Attempt::begin(&store, &env, vec![file("a", 0)]).await.unwrap();
        clock.advance(LEASE / 2);
        attempt.renew_lease(&store, &*clock).await.unwrap();
        clock.advance(LEASE / 2);
        assert!(Attempts::read(&store, &*clock).await.unwrap().is_running("a"), "the lease was renewed");
        attempt.record_progress(&store, &*clock, "a", 10).await.unwrap();
        drop(attempt);
        clock.advance(LEASE);
        let attempts = Attempts::read(&store, &*clock).await.unwrap();
        assert_eq!((attempts.count_failures("a", 10), attempts.count_failures("a", 11)), (1, 0));

        let stuck = Attempt::begin(&store, &env, vec![file("a", 11), file("b", 0)]).await.unwrap();
        stuck.finish(&store, &*clock, &BTreeSet::from(["a".to_owned()])).await.unwrap();
        let attempts = Attempts::read(&store, &*clock).await.unwrap();
        assert_eq!((attempts.count_failures("a", 11), attempts.count_failures("b", 0)), (1, 0));
        clock.advance(RETENTION.to_std().unwrap() + LEASE);
        let attempts = Attempts::read(&store, &*clock).await.unwrap();
        assert_eq!((attempts.count_failures("a", 0), store.list(None).count().await), (0, 0));
    }
}
