//! Attempts at files: written down before a file is read, so that a file whose reading ends the process is known by name.
//!
//! The rule. Whoever begins to read files puts an object of its own, `state/attempts/<id>.json`, that names their
//! versions (name, ETag, size), and removes it when it stops in good order: the files are done, or put aside, or the time
//! is up and they came further, or the store failed. An attempt that is left behind has failed once its time has run out,
//! which whoever is alive keeps moving on. A file's failures are the failed attempts that began no further back in it
//! than it is now: an attempt that came further is none. So
//!
//! - two at once count apart, and a healthy one counts nothing, however many there are;
//! - a file that another one is reading is left to that one;
//! - many small files may share an attempt, and so a failure; each of them is then taken alone, where the one that is to
//!   blame fails alone, and the others do not;
//! - after [`MOST_FAILURES`] a file is given up without being read again.
//!
//! A failed attempt loses the names of files that are done, is removed with the last one, and after a week in any case.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use pinlake_env::{Clock, Env};
use pinlake_store::{delete_if_exists, read_if_exists};
use serde::{Deserialize, Serialize};

use crate::error::LandingError;

/// Path prefix of attempts.
const ATTEMPTS: &str = "state/attempts";
/// FailedObject attempts after which a file is given up.
pub const MOST_FAILURES: u64 = 3;
/// How long an attempt is under way without a sign of life.
pub const LEASE: Duration = Duration::from_secs(60);
/// How long an attempt lives at least before it is worth a sign.
const SIGN_OF_LIFE: TimeDelta = TimeDelta::seconds(20);
/// How long failed attempts are kept: longer than a message that names a file.
const KEPT: TimeDelta = TimeDelta::days(7);
/// Attempts that are read at once.
const CONCURRENCY: usize = 16;

/// A file under an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AttemptedFile {
    /// Its version, as [`FileSource::version`](crate::file::FileSource::version) names it.
    pub version: String,
    /// What people know it by.
    pub name: String,
    /// How many of its records had landed.
    pub from: u64,
}

/// What is stored of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Marker {
    begun: DateTime<Utc>,
    /// When it has failed, if it is still there.
    until: DateTime<Utc>,
    files: Vec<AttemptedFile>,
}

/// An attempt of one's own.
#[derive(Debug)]
pub struct Attempt {
    path: Path,
    marker: Marker,
    signed: DateTime<Utc>,
}

impl Attempt {
    /// Writes down that these files are about to be read.
    ///
    /// # Errors
    /// When the store fails: nothing is to be read then.
    pub async fn begin(
        store: &dyn ObjectStore,
        effects: &Env,
        files: Vec<AttemptedFile>,
    ) -> Result<Self, LandingError> {
        let now = effects.clock.now();
        let path = Path::from(format!("{ATTEMPTS}/{}.json", effects.rng.id()));
        let attempt = Self { path, marker: Marker { begun: now, until: now + LEASE, files }, signed: now };
        put(store, &attempt.path, &attempt.marker).await?;
        Ok(attempt)
    }

    /// Says that a file has come further, which it may have failed to do before.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn came_to(
        &mut self,
        store: &dyn ObjectStore,
        clock: &dyn Clock,
        version: &str,
        records: u64,
    ) -> Result<(), LandingError> {
        for file in self.marker.files.iter_mut().filter(|file| file.version == version) {
            file.from = records;
        }
        self.sign(store, clock.now()).await
    }

    /// Says that it is still under way, if that was long ago.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn stay(&mut self, store: &dyn ObjectStore, clock: &dyn Clock) -> Result<(), LandingError> {
        let now = clock.now();
        if now - self.signed < SIGN_OF_LIFE {
            return Ok(());
        }
        self.sign(store, now).await
    }

    async fn sign(&mut self, store: &dyn ObjectStore, now: DateTime<Utc>) -> Result<(), LandingError> {
        (self.marker.until, self.signed) = (now + LEASE, now);
        put(store, &self.path, &self.marker).await
    }

    /// Ends it in good order, but for files that came no further in all the time there was: for them it has failed.
    ///
    /// # Errors
    /// When the store fails: it then counts as failed in a while.
    pub async fn end(
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

/// The attempts of others, and of former invocations.
#[derive(Debug, Default)]
pub struct Attempts {
    failed: BTreeMap<Path, Marker>,
    under_way: BTreeSet<String>,
    changed: BTreeSet<Path>,
}

impl Attempts {
    /// Looks at all that there are: those under way, and those that were left behind.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn look(store: &dyn ObjectStore, clock: &dyn Clock) -> Result<Self, LandingError> {
        let prefix = Path::from(ATTEMPTS);
        let listed = store.list(Some(&prefix)).map_err(|error| LandingError::store(&prefix)(error));
        let read = listed.map_ok(|meta| async move {
            let marker = get(store, &meta.location).await?;
            Ok((meta.location, marker))
        });
        let found: Vec<_> = read.try_buffer_unordered(CONCURRENCY).try_collect().await?;
        let (mut attempts, now) = (Self::default(), clock.now());
        for (path, marker) in found {
            match marker {
                // Ended meanwhile.
                None => {}
                Some(marker) if now - marker.begun > KEPT => {
                    remove(store, &path).await?;
                }
                Some(marker) if marker.until > now => {
                    attempts.under_way.extend(marker.files.into_iter().map(|file| file.version));
                }
                Some(marker) => {
                    attempts.failed.insert(path, marker);
                }
            }
        }
        Ok(attempts)
    }

    /// Whether another one is reading this version of a file.
    pub fn is_under_way(&self, version: &str) -> bool {
        self.under_way.contains(version)
    }

    /// How many attempts at this version have failed since so many of its records have landed.
    pub fn failures(&self, version: &str, records: u64) -> u64 {
        let at_it = |file: &AttemptedFile| file.version == version && file.from >= records;
        self.failed.values().filter(|marker| marker.files.iter().any(at_it)).count() as u64
    }

    /// Forgets a version that is done.
    pub fn forget(&mut self, version: &str) {
        for (path, marker) in &mut self.failed {
            let before = marker.files.len();
            marker.files.retain(|file| file.version != version);
            if marker.files.len() < before {
                self.changed.insert(path.clone());
            }
        }
    }

    /// Writes down what was forgotten.
    ///
    /// # Errors
    /// When the store fails: the failures of files that are done stay a while.
    pub async fn keep(&mut self, store: &dyn ObjectStore) -> Result<(), LandingError> {
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

/// Reads a marker; one that says nothing counts for nothing.
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

    fn world() -> (InMemory, Arc<ManualClock>, Env) {
        let clock = Arc::new(ManualClock::at(DateTime::UNIX_EPOCH));
        let effects = Env { clock: clock.clone(), rng: Arc::new(Rng::seeded(1)) };
        (InMemory::new(), clock, effects)
    }

    #[tokio::test]
    async fn only_attempts_that_were_left_behind_count_and_only_once_their_time_has_run_out() {
        let (store, clock, effects) = world();
        let stuck = BTreeSet::new();
        let left = Attempt::begin(&store, &effects, vec![file("a", 0), file("b", 0)]).await.unwrap();
        let alive = Attempt::begin(&store, &effects, vec![file("a", 0)]).await.unwrap();
        drop(left);
        let attempts = Attempts::look(&store, &*clock).await.unwrap();
        assert!(attempts.is_under_way("a") && attempts.is_under_way("b"));
        assert_eq!(attempts.failures("a", 0), 0);
        alive.end(&store, &*clock, &stuck).await.unwrap();
        clock.advance(LEASE);
        let mut attempts = Attempts::look(&store, &*clock).await.unwrap();
        assert!(!attempts.is_under_way("a"));
        assert_eq!(
            (attempts.failures("a", 0), attempts.failures("b", 0), attempts.failures("c", 0)),
            (1, 1, 0)
        );
        attempts.forget("a");
        attempts.keep(&store).await.unwrap();
        let mut attempts = Attempts::look(&store, &*clock).await.unwrap();
        assert_eq!((attempts.failures("a", 0), attempts.failures("b", 0)), (0, 1));
        attempts.forget("b");
        attempts.keep(&store).await.unwrap();
        assert_eq!(store.list(None).count().await, 0);
    }

    #[tokio::test]
    async fn an_attempt_that_came_further_is_no_failure_and_one_that_did_not_is() {
        let (store, clock, effects) = world();
        let mut attempt = Attempt::begin(&store, &effects, vec![file("a", 0)]).await.unwrap();
        clock.advance(LEASE / 2);
        attempt.stay(&store, &*clock).await.unwrap();
        clock.advance(LEASE / 2);
        assert!(Attempts::look(&store, &*clock).await.unwrap().is_under_way("a"), "it has said so");
        attempt.came_to(&store, &*clock, "a", 10).await.unwrap();
        drop(attempt);
        clock.advance(LEASE);
        let attempts = Attempts::look(&store, &*clock).await.unwrap();
        assert_eq!((attempts.failures("a", 10), attempts.failures("a", 11)), (1, 0));

        let stuck = Attempt::begin(&store, &effects, vec![file("a", 11), file("b", 0)]).await.unwrap();
        stuck.end(&store, &*clock, &BTreeSet::from(["a".to_owned()])).await.unwrap();
        let attempts = Attempts::look(&store, &*clock).await.unwrap();
        assert_eq!((attempts.failures("a", 11), attempts.failures("b", 0)), (1, 0));
        clock.advance(KEPT.to_std().unwrap() + LEASE);
        let attempts = Attempts::look(&store, &*clock).await.unwrap();
        assert_eq!((attempts.failures("a", 0), store.list(None).count().await), (0, 0));
    }
}
