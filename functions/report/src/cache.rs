//! Values that a warm function keeps for some seconds, so that many viewers cost no more than one.

use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use pinlake_env::Clock;
use tokio::sync::Mutex;

/// How long a value is kept. An answer is at most this old.
const MAX_AGE: TimeDelta = TimeDelta::seconds(15);

/// One value and when it was read.
#[derive(Debug)]
pub(crate) struct Cached<T>(Mutex<Option<(DateTime<Utc>, Arc<T>)>>);

impl<T> Default for Cached<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T> Cached<T> {
    /// The value, and when it was read, by `read` if it is not there or too old. One caller reads at a time.
    ///
    /// # Errors
    /// Those of `read`, which are not kept.
    pub async fn get<E>(
        &self,
        clock: &dyn Clock,
        read: impl Future<Output = Result<T, E>>,
    ) -> Result<(DateTime<Utc>, Arc<T>), E> {
        let mut kept = self.0.lock().await;
        let now = clock.now();
        if let Some((at, value)) = &*kept
            && now - *at < MAX_AGE
            && now >= *at
        {
            return Ok((*at, value.clone()));
        }
        let value = Arc::new(read.await?);
        *kept = Some((now, value.clone()));
        Ok((now, value))
    }
}
