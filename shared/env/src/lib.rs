//! What pinlake takes from the world besides its data: the time and rng.
//!
//! Invariant: no other crate asks the operating system for either (`clippy.toml` bans it), so a test or the
//! simulator that hands in a [`ManualClock`] and a seeded [`Rng`] repeats a run exactly.
//!
//! ```
//! use pinlake_env::{Backoff, Rng, Clock, ManualClock};
//! use std::time::Duration;
//!
//! let clock = ManualClock::at("2022-10-19T12:00:00Z".parse().unwrap());
//! clock.advance(Duration::from_secs(60));
//! assert_eq!(clock.now().to_rfc3339(), "2022-10-19T12:01:00+00:00");
//!
//! // The same seed gives the same ids and the same waits.
//! let (a, b) = (Rng::seeded(7), Rng::seeded(7));
//! assert_eq!(a.id(), b.id());
//! let backoff = Backoff { first: Duration::from_millis(50), most: Duration::from_secs(2), attempts: 4 };
//! let waits: Vec<Duration> = backoff.delays(&a).collect();
//! assert_eq!(waits, backoff.delays(&b).collect::<Vec<_>>());
//! assert_eq!(waits.len(), 3, "four attempts have three waits between them");
//! ```

use std::fmt;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use chrono::{DateTime, Utc};
use rand::rngs::{OsRng, StdRng};
use rand::{Rng as _, SeedableRng, TryRngCore};

/// The time of day.
pub trait Clock: Send + Sync + fmt::Debug {
    /// The present instant, in UTC.
    fn now(&self) -> DateTime<Utc>;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[allow(clippy::disallowed_methods, reason = "the one place where the machine's clock is read")]
    fn now(&self) -> DateTime<Utc> {
        Utc::now()
    }
}

/// A clock that stands still until it is moved. Microsecond resolution.
#[derive(Debug)]
pub struct ManualClock(AtomicI64);

impl ManualClock {
    /// A clock showing `instant`.
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

/// Randomness: identifiers and jitter. Not for secrets.
pub struct Rng(Mutex<StdRng>);

impl fmt::Debug for Rng {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Rng")
    }
}

impl Rng {
    /// Randomness seeded by the operating system.
    pub fn from_os() -> Self {
        Self(Mutex::new(StdRng::from_os_rng()))
    }

    /// Repeatable randomness.
    pub fn seeded(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// A fresh 128-bit identifier as 32 hexadecimal digits.
    pub fn id(&self) -> String {
        format!("{:032x}", self.draw(|rng| rng.random::<u128>()))
    }

    /// A duration drawn evenly from zero to `most` ("full jitter").
    pub fn up_to(&self, most: Duration) -> Duration {
        most.mul_f64(self.draw(|rng| rng.random::<f64>()))
    }

    /// A number drawn evenly from those below `bound`; zero when there is none.
    pub fn below(&self, bound: usize) -> usize {
        self.draw(|rng| rng.random_range(0..bound.max(1)))
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// 256 bits that nobody can guess, from the operating system: for secrets. Nothing repeats them, in tests neither.
///
/// # Errors
/// When the operating system has none to give.
pub fn secret() -> std::io::Result<[u8; 32]> {
    let mut bytes = [0; 32];
    OsRng.try_fill_bytes(&mut bytes).map_err(std::io::Error::other)?;
    Ok(bytes)
}

/// Exponential back-off with full jitter, as the AWS Architecture Blog's "Exponential Backoff And Jitter" has it.
#[derive(Debug, Clone, Copy)]
pub struct Backoff {
    /// Upper bound of the first wait.
    pub first: Duration,
    /// Upper bound of any wait.
    pub most: Duration,
    /// How often the work is tried in all.
    pub attempts: u32,
}

impl Backoff {
    /// The waits between the attempts: one fewer than there are attempts.
    pub fn delays<'a>(&self, rng: &'a Rng) -> impl Iterator<Item = Duration> + 'a {
        let Self { first, most, attempts } = *self;
        (0..attempts.saturating_sub(1)).map(move |n| {
            let bound = first.saturating_mul(2_u32.saturating_pow(n)).min(most);
            rng.up_to(bound)
        })
    }
}

/// Both, as the parts of pinlake take them.
#[derive(Debug, Clone)]
pub struct Env {
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Randomness.
    pub rng: Arc<Rng>,
}

impl Env {
    /// The machine's own clock and randomness.
    pub fn system() -> Self {
        Self { clock: Arc::new(SystemClock), rng: Arc::new(Rng::from_os()) }
    }
}
