//! Randomness for identifiers, jitter and secrets.

use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::{OsRng, StdRng};
use rand::{Rng as _, SeedableRng, TryRngCore};

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
