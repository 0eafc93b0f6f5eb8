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

mod clock;
mod retry;
mod rng;

pub use clock::{Clock, ManualClock, SystemClock};
pub use retry::RetryPolicy;
pub use rng::{Rng, secret};

use std::sync::Arc;

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
