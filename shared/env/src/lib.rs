//! The injected environment: the clock, randomness, and the retry policy that draws its jitter from it.
//!
//! Invariant: no other crate reads the clock or the randomness of the operating system (`clippy.toml` forbids it). A
//! test or the simulator that passes a [`ManualClock`] and a seeded [`Rng`] therefore repeats a run exactly.
//!
//! ```
//! use pinlake_env::{Clock, ManualClock, RetryPolicy, Rng};
//! use std::time::Duration;
//!
//! let clock = ManualClock::at("2022-10-19T12:00:00Z".parse().unwrap());
//! clock.advance(Duration::from_secs(60));
//! assert_eq!(clock.now().to_rfc3339(), "2022-10-19T12:01:00+00:00");
//!
//! // The same seed gives the same identifiers and the same delays.
//! let (a, b) = (Rng::seeded(7), Rng::seeded(7));
//! assert_eq!(a.id(), b.id());
//! let policy = RetryPolicy {
//!     max_attempts: 4,
//!     initial_delay: Duration::from_millis(50),
//!     max_delay: Duration::from_secs(2),
//! };
//! let delays: Vec<Duration> = policy.delays(&a).collect();
//! assert_eq!(delays, policy.delays(&b).collect::<Vec<_>>());
//! assert_eq!(delays.len(), 3, "four attempts have three delays between them");
//! ```

mod retry;

pub use retry::RetryPolicy;

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::rngs::{OsRng, StdRng};
use rand::{Rng as _, SeedableRng, TryRngCore};

/// Tells the time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The current time in UTC.
    fn now(&self) -> DateTime<Utc>;
}

/// The system's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the only place that reads the system clock")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A clock for tests that changes only through [`ManualClock::advance`]. Its resolution is a microsecond.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// Creates a clock that shows `instant`.
    pub fn at(instant: DateTime<Utc>) -> Self {
        Self(AtomicI64::new(instant.timestamp_micros()))
    }

    /// Moves the clock forward.
    pub fn advance(&self, by: Duration) {
        let micros = i64::try_from(by.as_micros()).unwrap_or(i64::MAX);
        self.0.fetch_add(micros, Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_micros(self.0.load(Ordering::SeqCst)).unwrap_or(DateTime::UNIX_EPOCH)
    }
}

/// Randomness for identifiers and jitter. For secrets use [`secret`].
pub struct Rng(Mutex<StdRng>);

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng")
    }
}

impl Rng {
    /// Creates a generator seeded by the operating system.
    pub fn from_os() -> Self {
        Self(Mutex::new(StdRng::from_os_rng()))
    }

    /// Creates a generator that repeats the same values for the same `seed`.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// Draws a 128-bit identifier: 32 hexadecimal digits.
    pub fn id(&self) -> String {
        format!("{:032x}", self.draw(|rng| rng.random::<u128>()))
    }

    /// Draws a duration uniformly from zero to `max` ("full jitter").
    pub fn up_to(&self, max: Duration) -> Duration {
        max.mul_f64(self.draw(|rng| rng.random::<f64>()))
    }

    /// Draws a number uniformly from `0..bound`; zero if `bound` is zero.
    pub fn below(&self, bound: usize) -> usize {
        self.draw(|rng| rng.random_range(0..bound.max(1)))
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Draws 256 bits from the operating system, for secrets. A seed does not repeat them, not even in tests.
///
/// # Errors
/// If the operating system cannot provide randomness.
pub fn secret() -> std::io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    OsRng.try_fill_bytes(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes)
}

/// The clock and the randomness that a component uses.
#[derive(Debug, Clone)]
pub struct Env {
    /// The clock.
    pub clock: Arc<dyn Clock>,
    /// Randomness for identifiers and jitter.
    pub rng: Arc<Rng>,
}

impl Env {
    /// The system's clock, and randomness seeded by the operating system.
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock), rng: Arc::new(Rng::from_os()) }
    }
}
