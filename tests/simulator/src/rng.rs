//! The source of all randomness in a run.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A seeded generator shared by all parts. The order of the draws is part of the run.
#[derive(Debug)]
pub struct SimRng(Mutex<StdRng>);

impl SimRng {
    /// Creates the generator of a seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// Draws a number from `low` to `high`, both included.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        self.draw(|rng| rng.random_range(low..=high))
    }

    /// Draws an index below `length`, which must not be zero.
    pub fn index(&self, length: usize) -> usize {
        self.draw(|rng| rng.random_range(0..length))
    }

    /// Draws `true` with this probability in per mille.
    pub fn chance(&self, per_mille: u64) -> bool {
        self.between(0, 999) < per_mille
    }

    /// Draws a duration between two numbers of milliseconds.
    pub fn millis(&self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    /// Draws a seed for another generator.
    pub fn seed(&self) -> u64 {
        self.draw(|rng| rng.random())
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
