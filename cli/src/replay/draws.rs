//! The stock client's draws: Python's `random`, as far as that client uses it.
//!
//! Everybody's client begins with `random.seed(100)`, so everybody's first rows are the same, and a pipeline is
//! compared with another by them. Python promises that a seed keeps its sequence; the crates of Rust seed the
//! Mersenne Twister otherwise, so seeding (`init_by_array`) and the drawing below a limit are written out here.

/// Words of the generator's state.
const WORDS: usize = 624;

/// How far the second half of a step reaches.
const MIDDLE: usize = 397;

/// Rows that the client knows of: it draws `random.randint(0, 11000)`.
pub const ROWS: u64 = 11_001;

/// The rounds of one client.
#[derive(Debug, Clone)]
pub struct Draws {
    random: Twister,
    rows: u32,
}

impl Draws {
    /// The draws of a client with this seed from the first `rows` rows, or from as many as the client knows of.
    /// `rows` is above 0.
    pub fn new(seed: u64, rows: u64) -> Draws {
        Draws { random: Twister::seeded(seed), rows: rows.clamp(1, ROWS) as u32 }
    }

    /// The place, from 0, of the next round's row.
    pub fn next_round(&mut self) -> u64 {
        // The pause before a round: sleep(random.randrange(0, 2)).
        self.random.below(2);
        u64::from(self.random.below(self.rows))
    }
}

/// MT19937 as `random.Random` has it.
#[derive(Debug, Clone)]
struct Twister {
    words: [u32; WORDS],
    at: usize,
}

impl Twister {
    /// `random.seed(seed)`.
    fn seeded(seed: u64) -> Twister {
        let mut words = [0u32; WORDS];
        let mut before = 19_650_218u32;
        for (at, word) in words.iter_mut().enumerate() {
            if at > 0 {
                before = 1_812_433_253u32.wrapping_mul(before ^ (before >> 30)).wrapping_add(at as u32);
            }
            *word = before;
        }
        let mut twister = Twister { words, at: WORDS };
        // As many words as the number has.
        let key = [seed as u32, (seed >> 32) as u32];
        twister.mix_in(if key[1] == 0 { &key[..1] } else { &key });
        twister
    }

    /// The generator's `init_by_array`.
    fn mix_in(&mut self, key: &[u32]) {
        let mut at = 1;
        for step in 0..WORDS.max(key.len()) {
            let part = step % key.len();
            let mixed = self.mixed(at, 1_664_525);
            self.words[at] = mixed.wrapping_add(key[part]).wrapping_add(part as u32);
            at = self.after(at);
        }
        for _ in 1..WORDS {
            self.words[at] = self.mixed(at, 1_566_083_941).wrapping_sub(at as u32);
            at = self.after(at);
        }
        self.words[0] = 0x8000_0000;
    }

    fn mixed(&self, at: usize, factor: u32) -> u32 {
        let before = self.words[at - 1];
        self.words[at] ^ (before ^ (before >> 30)).wrapping_mul(factor)
    }

    fn after(&mut self, at: usize) -> usize {
        if at + 1 < WORDS {
            return at + 1;
        }
        self.words[0] = self.words[WORDS - 1];
        1
    }

    /// The next 32 bits.
    fn word(&mut self) -> u32 {
        if self.at == WORDS {
            for at in 0..WORDS {
                let bits = (self.words[at] & 0x8000_0000) | (self.words[(at + 1) % WORDS] & 0x7fff_ffff);
                let odd = if bits & 1 == 1 { 0x9908_b0df } else { 0 };
                self.words[at] = self.words[(at + MIDDLE) % WORDS] ^ (bits >> 1) ^ odd;
            }
            self.at = 0;
        }
        let mut word = self.words[self.at];
        self.at += 1;
        word ^= word >> 11;
        word ^= (word << 7) & 0x9d2c_5680;
        word ^= (word << 15) & 0xefc6_0000;
        word ^ (word >> 18)
    }

    /// `random.randrange(0, limit)`: as many bits as the limit has, again until they are below it.
    fn below(&mut self, limit: u32) -> u32 {
        let spare = limit.leading_zeros();
        loop {
            let drawn = self.word() >> spare;
            if drawn < limit {
                return drawn;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // What Python 3.11 gives; every Python since 3.2 does.
    #[test]
    fn the_words_are_pythons() {
        let words = |seed| {
            let mut random = Twister::seeded(seed);
            [(); 4].map(|()| random.word())
        };
        // random.seed(seed); [random.getrandbits(32) for _ in range(4)]
        assert_eq!(words(0), [3_626_764_237, 1_654_615_998, 3_255_389_356, 3_823_568_514]);
        assert_eq!(words(100), [625_644_691, 1_973_661_107, 1_953_896_601, 4_087_596_401]);
        assert_eq!(words(u64::from(u32::MAX)), [2_728_839_433, 2_661_025_012, 872_737_089, 924_893_097]);
        assert_eq!(
            words((1 << 40) + 7),
            [2_635_837_658, 3_209_733_218, 3_500_038_837, 4_028_389_051],
            "a seed of two words"
        );
        assert_eq!(words(u64::MAX), [93_740_670, 1_068_495_656, 1_452_108_352, 2_657_516_307]);
    }

    #[test]
    fn the_rounds_are_the_stock_clients() {
        // random.seed(100), then each round random.randrange(0, 2) and random.randint(0, 11000).
        let mut draws = Draws::new(100, u64::MAX);
        let rounds: Vec<u64> = (0..5000).map(|_| draws.next_round()).collect();
        assert_eq!(rounds[..10], [7528, 2863, 5730, 8304, 8731, 1313, 4315, 10794, 5494, 5069]);
        assert_eq!(rounds[4995..], [4745, 4176, 6881, 7547, 776]);
        assert_eq!(rounds.iter().sum::<u64>(), 27_306_108);
        assert_eq!((rounds.iter().max(), rounds.iter().min()), (Some(&10998), Some(&4)));
    }

    #[test]
    fn smaller_tables_have_draws_of_their_own() {
        let rounds = |seed, rows| {
            let mut draws = Draws::new(seed, rows);
            [(); 8].map(|()| draws.next_round())
        };
        assert_eq!(rounds(100, 30), [14, 24, 22, 23, 13, 17, 2, 8]);
        assert_eq!(rounds(7, 4096), [1235, 395, 771, 475, 307, 3552, 572, 743]);
        assert_eq!(rounds(7, 1), [0; 8]);
    }
}
