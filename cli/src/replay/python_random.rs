//! Python's `random`, to the extent that the stock client uses it.
//!
//! The stock client starts with `random.seed(100)`, so every copy of it posts the same rows, and two pipelines can be
//! compared by them. Python guarantees that a seed keeps its sequence ("Notes on Reproducibility" in the documentation of
//! `random`). The crates for MT19937 seed it in another way, so seeding and `randrange` are implemented here.

/// Length of the state, in words (n in the reference implementation).
const WORDS: usize = 624;

/// Offset of the middle word (m in the reference implementation).
const MIDDLE: usize = 397;

/// Rows that the stock client draws from: `random.randint(0, 11000)`.
pub const MAX_DRAWN_ROWS: u64 = 11_001;

/// The rows that one client draws.
#[derive(Debug, Clone)]
pub struct RowDraws {
    random: Mt19937,
    rows: u32,
}

impl RowDraws {
    /// The draws of a client with this seed from tables of `rows` rows; `rows` is at least 1, and above
    /// [`MAX_DRAWN_ROWS`] makes no difference.
    pub fn new(seed: u64, rows: u64) -> RowDraws {
        RowDraws { random: Mt19937::from_seed(seed), rows: rows.clamp(1, MAX_DRAWN_ROWS) as u32 }
    }

    /// The offset, from 0, of the row of the next round.
    pub fn next_row(&mut self) -> u64 {
        // The client sleeps before each round: sleep(random.randrange(0, 2)).
        self.random.next_below(2);
        u64::from(self.random.next_below(self.rows))
    }
}

/// The Mersenne Twister MT19937, seeded as `random.Random` does.
#[derive(Debug, Clone)]
struct Mt19937 {
    words: [u32; WORDS],
    at: usize,
}

impl Mt19937 {
    /// `random.seed(seed)`.
    fn from_seed(seed: u64) -> Mt19937 {
        let mut words = [0u32; WORDS];
        let mut before = 19_650_218u32;
        for (at, word) in words.iter_mut().enumerate() {
            if at > 0 {
                before = 1_812_433_253u32.wrapping_mul(before ^ (before >> 30)).wrapping_add(at as u32);
            }
            *word = before;
        }
        let mut generator = Mt19937 { words, at: WORDS };
        // The key has as many words as the number needs.
        let key = [seed as u32, (seed >> 32) as u32];
        generator.init_by_array(if key[1] == 0 { &key[..1] } else { &key });
        generator
    }

    /// `init_by_array` of the reference implementation.
    fn init_by_array(&mut self, key: &[u32]) {
        let mut at = 1;
        for step in 0..WORDS.max(key.len()) {
            let part = step % key.len();
            let mixed = self.mix(at, 1_664_525);
            self.words[at] = mixed.wrapping_add(key[part]).wrapping_add(part as u32);
            at = self.next_index(at);
        }
        for _ in 1..WORDS {
            self.words[at] = self.mix(at, 1_566_083_941).wrapping_sub(at as u32);
            at = self.next_index(at);
        }
        self.words[0] = 0x8000_0000;
    }

    fn mix(&self, at: usize, factor: u32) -> u32 {
        let before = self.words[at - 1];
        self.words[at] ^ (before ^ (before >> 30)).wrapping_mul(factor)
    }

    fn next_index(&mut self, at: usize) -> usize {
        if at + 1 < WORDS {
            return at + 1;
        }
        self.words[0] = self.words[WORDS - 1];
        1
    }

    /// The next 32 bits.
    fn next_u32(&mut self) -> u32 {
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

    /// `random.randrange(0, limit)`: draws as many bits as the limit has until the number is below it.
    fn next_below(&mut self, limit: u32) -> u32 {
        let spare = limit.leading_zeros();
        loop {
            let drawn = self.next_u32() >> spare;
            if drawn < limit {
                return drawn;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // The output of Python 3.11; the same since 3.2.
    #[test]
    fn the_words_are_those_of_python() {
        let words = |seed| {
            let mut random = Mt19937::from_seed(seed);
            [(); 4].map(|()| random.next_u32())
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
    fn the_rows_are_those_of_the_stock_client() {
        // random.seed(100), then each round random.randrange(0, 2) and random.randint(0, 11000).
        let mut draws = RowDraws::new(100, u64::MAX);
        let rounds: Vec<u64> = (0..5000).map(|_| draws.next_row()).collect();
        assert_eq!(rounds[..10], [7528, 2863, 5730, 8304, 8731, 1313, 4315, 10794, 5494, 5069]);
        assert_eq!(rounds[4995..], [4745, 4176, 6881, 7547, 776]);
        assert_eq!(rounds.iter().sum::<u64>(), 27_306_108);
        assert_eq!((rounds.iter().max(), rounds.iter().min()), (Some(&10998), Some(&4)));
    }

    #[test]
    fn smaller_tables_have_other_draws() {
        let rounds = |seed, rows| {
            let mut draws = RowDraws::new(seed, rows);
            [(); 8].map(|()| draws.next_row())
        };
        assert_eq!(rounds(100, 30), [14, 24, 22, 23, 13, 17, 2, 8]);
        assert_eq!(rounds(7, 4096), [1235, 395, 771, 475, 307, 3552, 572, 743]);
        assert_eq!(rounds(7, 1), [0; 8]);
    }
}
