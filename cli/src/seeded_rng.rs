//! Random numbers that depend on a seed alone.
//!
//! The same `--seed` has to give the same rows in every version. SplitMix64 has published test vectors, and the few
//! distributions are defined here, because `rand` may change its own between versions.

use rand_xoshiro::SplitMix64;
use rand_xoshiro::rand_core::{RngCore, SeedableRng};

/// A random sequence. Equal seeds, streams and indices give equal sequences.
#[derive(Debug, Clone)]
pub struct SeededRng(SplitMix64);

impl SeededRng {
    /// The sequence for item `index` of a stream, so that each item can be drawn again on its own.
    pub fn new(seed: u64, stream: u64, index: u64) -> Self {
        let first = |seed| SplitMix64::seed_from_u64(seed).next_u64();
        let stream_seed = first(seed) ^ stream.wrapping_mul(0xd1b5_4a32_d192_ed03);
        let item_seed = first(stream_seed) ^ index.wrapping_mul(0x8cb9_2ba7_2f3d_8dd7);
        Self(SplitMix64::seed_from_u64(item_seed))
    }

    /// The next 64 bits.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// A number in `0..limit`; 0 for a limit of 0. The bias is at most limit / 2^64.
    pub fn next_below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.next_u64()) * u128::from(limit)) >> 64) as u64
    }

    /// A number in `0..limit` in which small numbers are more frequent.
    pub fn next_skewed_below(&mut self, limit: u64) -> u64 {
        let bound = self.next_below(limit) + 1;
        self.next_below(bound)
    }

    /// True with probability `p`.
    pub fn next_bool(&mut self, p: f64) -> bool {
        const STEPS: f64 = (1u64 << 53) as f64;
        ((self.next_u64() >> 11) as f64) < p * STEPS
    }

    /// One of `items`; empty if there are none.
    pub fn choose<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items.get(self.next_below(items.len() as u64) as usize).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_same_in_every_version() {
        // The published first outputs of SplitMix64 for the state 1234567.
        let mut rng = SeededRng(SplitMix64::seed_from_u64(1_234_567));
        assert_eq!(rng.next_u64(), 6_457_827_717_110_365_317);
        assert_eq!(rng.next_u64(), 3_203_168_211_198_807_973);
        assert_eq!(SeededRng::new(7, 16, 3).next_u64(), 12_972_553_254_094_691_636);
    }

    #[test]
    fn numbers_stay_below_their_limit_and_reach_every_value() {
        let mut rng = SeededRng::new(1, 2, 3);
        let mut counts = [0u32; 7];
        for _ in 0..7000 {
            counts[rng.next_below(7) as usize] += 1;
        }
        assert!(counts.iter().all(|&count| (800..1200).contains(&count)), "{counts:?}");
        assert_eq!(rng.next_below(0), 0);
        assert!(!rng.next_bool(0.0));
        assert!(rng.next_bool(1.0));
    }

    #[test]
    fn streams_differ() {
        let first: Vec<u64> = (0..4).map(|index| SeededRng::new(9, 1, index).next_u64()).collect();
        let second: Vec<u64> = (0..4).map(|index| SeededRng::new(9, 2, index).next_u64()).collect();
        assert!(first.iter().all(|value| !second.contains(value)));
    }
}
