//! The secrets of webhooks, each remembered for some minutes.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, TimeDelta, Utc};
use pinlake_schema::SecretName;

use crate::error::ApiError;
use crate::stream::read::BoxFuture;

/// How long a secret is used before it is read again.
pub const LIFETIME: TimeDelta = TimeDelta::minutes(5);
/// How long a secret is used if it cannot be read again.
pub const MAX_LIFETIME: TimeDelta = TimeDelta::minutes(15);
/// The age from which a secret that matches no signature is read again: it may have been replaced. It bounds the reads
/// that strangers cause.
pub const REREAD_AFTER: TimeDelta = TimeDelta::minutes(1);
/// How long a failure is remembered.
pub const FAILURE_LIFETIME: TimeDelta = TimeDelta::seconds(5);

/// Where secrets are read.
pub trait SecretSource: fmt::Debug + Send + Sync {
    /// Reads the current value of a secret.
    fn read<'a>(&'a self, name: &'a SecretName) -> BoxFuture<'a, Result<Secret, SecretError>>;
}

/// The value of a secret. It has no text for logs.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(Arc<[u8]>);

impl Secret {
    /// A secret from its text. White space around it is not part of it: files end with a line feed.
    pub fn new(text: &[u8]) -> Self {
        Self(text.trim_ascii().into())
    }

    /// The bytes.
    pub fn bytes(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Secret").finish_non_exhaustive()
    }
}

/// Why a secret was not read. It says nothing about the secret itself.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct SecretError {
    /// Whether a later attempt may succeed.
    pub is_retryable: bool,
    /// The code of the service, such as `ParameterNotFound`.
    pub code: String,
    /// The message of the service.
    pub message: String,
}

impl SecretError {
    fn log(&self, name: &SecretName) {
        tracing::error!(secret = %name, code = self.code, message = self.message, "the secret of a webhook was not read");
    }
}

/// Remembers secrets. There are as many as contracts name.
#[derive(Debug)]
pub struct SecretCache {
    source: Arc<dyn SecretSource>,
    entries: Mutex<HashMap<SecretName, Entry>>,
}

#[derive(Debug, Clone)]
struct Entry {
    /// The value, and when it was read.
    secret: Option<(Secret, DateTime<Utc>)>,
    /// The last failure since then, and its time.
    failure: Option<(SecretError, DateTime<Utc>)>,
}

impl Entry {
    /// The secret if it is not older than `max_age`.
    fn secret(&self, now: DateTime<Utc>, max_age: TimeDelta) -> Option<&Secret> {
        self.secret.as_ref().filter(|(_, read_at)| now - *read_at <= max_age).map(|(secret, _)| secret)
    }
}

impl SecretCache {
    /// A cache in front of `source`.
    pub fn new(source: Arc<dyn SecretSource>) -> Self {
        Self { source, entries: Mutex::default() }
    }

    /// The value of a secret.
    ///
    /// # Errors
    /// [`ApiError::SecretUnavailable`] if it cannot be read now, [`ApiError::Internal`] if it is missing or may not be
    /// read.
    pub async fn get(&self, name: &SecretName, now: DateTime<Utc>) -> Result<Secret, ApiError> {
        let entry = self.refresh(name, now, LIFETIME).await;
        if let Some(secret) = entry.secret(now, MAX_LIFETIME) {
            return Ok(secret.clone());
        }
        Err(match entry.failure {
            Some((failure, _)) if !failure.is_retryable => ApiError::Internal,
            _ => ApiError::SecretUnavailable,
        })
    }

    /// The value of a secret that matched no signature, read again if it is not new.
    pub async fn get_newer(&self, name: &SecretName, now: DateTime<Utc>) -> Option<Secret> {
        self.refresh(name, now, REREAD_AFTER).await.secret(now, MAX_LIFETIME).cloned()
    }

    /// The entry of a secret, read again if it is older than `max_age`.
    async fn refresh(&self, name: &SecretName, now: DateTime<Utc>, max_age: TimeDelta) -> Entry {
        let known = self.entries.lock().unwrap_or_else(PoisonError::into_inner).get(name).cloned();
        let mut entry = known.unwrap_or(Entry { secret: None, failure: None });
        let has_failed = entry.failure.as_ref().is_some_and(|(_, at)| now - *at < FAILURE_LIFETIME);
        if has_failed || entry.secret(now, max_age).is_some() {
            return entry;
        }
        match self.source.read(name).await {
            Ok(secret) => entry = Entry { secret: Some((secret, now)), failure: None },
            Err(error) => {
                error.log(name);
                entry.failure = Some((error, now));
            }
        }
        self.entries.lock().unwrap_or_else(PoisonError::into_inner).insert(name.clone(), entry.clone());
        entry
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers with the number of the read, or fails.
    #[derive(Debug, Default)]
    struct Counted {
        reads: Mutex<u64>,
        failure: Mutex<Option<SecretError>>,
    }

    impl SecretSource for Counted {
        fn read<'a>(&'a self, _: &'a SecretName) -> BoxFuture<'a, Result<Secret, SecretError>> {
            *self.reads.lock().unwrap() += 1;
            let secret = Secret::new(format!(" {}\n", self.reads.lock().unwrap()).as_bytes());
            let result = self.failure.lock().unwrap().clone().map_or(Ok(secret), Err);
            Box::pin(std::future::ready(result))
        }
    }

    fn name() -> SecretName {
        SecretName::Parameter("/x".to_owned())
    }

    fn failure(is_retryable: bool) -> Option<SecretError> {
        Some(SecretError { is_retryable, code: "Code".to_owned(), message: "message".to_owned() })
    }

    fn after(start: &str, seconds: i64) -> DateTime<Utc> {
        start.parse::<DateTime<Utc>>().unwrap() + TimeDelta::seconds(seconds)
    }

    #[tokio::test]
    async fn a_secret_is_read_again_after_its_lifetime() {
        let source = Arc::new(Counted::default());
        let cache = SecretCache::new(source.clone());
        let at = |seconds| after("2026-11-28T12:00:00Z", seconds);
        for (seconds, expected) in [(0, "1"), (299, "1"), (300, "1"), (301, "2"), (302, "2")] {
            let secret = cache.get(&name(), at(seconds)).await.unwrap();
            assert_eq!(secret.bytes(), expected.as_bytes(), "{seconds}");
        }
        // A wrong signature causes at most one read a minute.
        for (seconds, expected) in [(330, "2"), (361, "2"), (362, "3"), (363, "3")] {
            let secret = cache.get_newer(&name(), at(seconds)).await.unwrap();
            assert_eq!(secret.bytes(), expected.as_bytes(), "{seconds}");
        }
        assert!(!format!("{cache:?}").contains("\"3\"") && !format!("{cache:?}").contains("[51"));
    }

    #[tokio::test]
    async fn failures_are_remembered_and_an_old_secret_ends() {
        let source = Arc::new(Counted::default());
        let cache = SecretCache::new(source.clone());
        let at = |seconds| after("2026-11-28T12:00:00Z", seconds);
        *source.failure.lock().unwrap() = failure(true);
        assert_eq!(cache.get(&name(), at(0)).await.unwrap_err(), ApiError::SecretUnavailable);
        assert_eq!(cache.get(&name(), at(4)).await.unwrap_err(), ApiError::SecretUnavailable);
        assert_eq!(*source.reads.lock().unwrap(), 1, "a failure is not repeated at once");
        *source.failure.lock().unwrap() = failure(false);
        assert_eq!(cache.get(&name(), at(5)).await.unwrap_err(), ApiError::Internal);
        *source.failure.lock().unwrap() = None;
        assert!(cache.get(&name(), at(10)).await.is_ok());
        *source.failure.lock().unwrap() = failure(true);
        assert!(
            cache.get(&name(), at(10 + 15 * 60)).await.is_ok(),
            "it is used while it cannot be read again"
        );
        assert!(cache.get(&name(), at(16 + 15 * 60)).await.is_err(), "but not for ever");
    }
}
