//! Draws that a seed fixes for ever.
//!
//! SplitMix64, and the few ways of drawing that the program needs, written out here: the same `--seed` has to
//! give the same rows in every later version, which the generators of `rand` promise within one version only.

/// A sequence of draws. Two dice with the same seed, lane and index throw the same.
#[derive(Debug, Clone)]
pub struct Dice(u64);

impl Dice {
    /// The dice of one thing (`index`) of one kind (`lane`), so that anything can be drawn again on its own.
    pub fn new(seed: u64, lane: u64, index: u64) -> Dice {
        let mut dice = Dice(seed);
        let lane_start = dice.draw() ^ lane.wrapping_mul(0xd1b5_4a32_d192_ed03);
        let mut dice = Dice(lane_start);
        let start = dice.draw() ^ index.wrapping_mul(0x8cb9_2ba7_2f3d_8dd7);
        Dice(start)
    }

    /// The next 64 bits.
    pub fn draw(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number from 0 up to, not including, `limit`; 0 for a limit of 0. Uniform but for 1 part in 2^64/limit.
    pub fn below(&mut self, limit: u64) -> u64 {
        ((u128::from(self.draw()) * u128::from(limit)) >> 64) as u64
    }

    /// A number from 0 up to, not including, `limit`, the small ones the more often: a few things get most.
    pub fn skewed_below(&mut self, limit: u64) -> u64 {
        let bound = self.below(limit) + 1;
        self.below(bound)
    }

    /// True in a share `p` of all draws.
    pub fn chance(&mut self, p: f64) -> bool {
        const STEPS: f64 = (1u64 << 53) as f64;
        ((self.draw() >> 11) as f64) < p * STEPS
    }

    /// One of `items`; the caller sees to it that there are any.
    pub fn pick<'a>(&mut self, items: &[&'a str]) -> &'a str {
        items.get(self.below(items.len() as u64) as usize).copied().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_sequence_is_the_one_of_every_version() {
        // SplitMix64's published first outputs for the state 1234567.
        let mut dice = Dice(1_234_567);
        assert_eq!(dice.draw(), 6_457_827_717_110_365_317);
        assert_eq!(dice.draw(), 3_203_168_211_198_807_973);
    }

    #[test]
    fn draws_stay_below_their_limit_and_reach_every_value() {
        let mut dice = Dice::new(1, 2, 3);
        let mut seen = [0u32; 7];
        for _ in 0..7000 {
            seen[dice.below(7) as usize] += 1;
        }
        assert!(seen.iter().all(|&count| (800..1200).contains(&count)), "{seen:?}");
        assert_eq!(dice.below(0), 0);
        assert!(!dice.chance(0.0));
        assert!(dice.chance(1.0));
    }

    #[test]
    fn lanes_and_indices_are_apart() {
        let first: Vec<u64> = (0..4).map(|index| Dice::new(9, 1, index).draw()).collect();
        let second: Vec<u64> = (0..4).map(|index| Dice::new(9, 2, index).draw()).collect();
        assert!(first.iter().all(|draw| !second.contains(draw)));
    }
}
