//! All the rng there is in a world.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};

/// A seeded generator that many parts draw from, each in its turn: the order of the draws is part of the run.
#[derive(Debug)]
pub struct SimRng(Mutex<StdRng>);

impl SimRng {
    /// The rng of a seed.
    pub fn new(seed: u64) -> Self {
        Self(Mutex::new(StdRng::seed_from_u64(seed)))
    }

    /// A number from `low` to `high`, both included.
    pub fn between(&self, low: u64, high: u64) -> u64 {
        self.draw(|rng| rng.random_range(low..=high))
    }

    /// An index below `length`, which is not zero.
    pub fn index(&self, length: usize) -> usize {
        self.draw(|rng| rng.random_range(0..length))
    }

    /// True so often of a thousand times.
    pub fn chance(&self, per_mille: u64) -> bool {
        self.between(0, 999) < per_mille
    }

    /// A time between two numbers of milliseconds.
    pub fn millis(&self, low: u64, high: u64) -> Duration {
        Duration::from_millis(self.between(low, high))
    }

    /// A seed for another generator.
    pub fn seed(&self) -> u64 {
        self.draw(|rng| rng.random())
    }

    fn draw<T>(&self, draw: impl FnOnce(&mut StdRng) -> T) -> T {
        draw(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}
