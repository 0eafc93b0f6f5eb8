//! BLAKE3 hashes of many short inputs at once.
//!
//! The `blake3` crate uses wide vector registers for the chunks of 1,024 bytes *within* one input. The key of a row is the hash of a
//! few hundred bytes, so it would be hashed one block after the other. This crate gives each lane of the vectors its own
//! input; when an input is done, its lane takes the next one. `docs/decisions/keys-in-lanes.md` has the figures.
//!
//! Invariants:
//! - each hash is the beginning of what [`blake3::hash`] returns: property tests and the fuzz target `hash` compare them;
//! - inputs of more than 1,024 bytes, and all inputs on a processor whose vectors have fewer than four lanes, go to `blake3`.
//!
//! The names in the code are those of the BLAKE3 paper, section 2.
//!
//! ```
//! use pinlake_blake3_lanes::{HASH_BYTES, append_hashes};
//!
//! // Two inputs, "row 1" and "row 22".
//! let mut hashes = Vec::new();
//! append_hashes(b"row 1row 22", &[5, 11], &mut hashes);
//! assert_eq!(hashes[HASH_BYTES..], blake3::hash(b"row 22").as_bytes()[..HASH_BYTES]);
//! ```

use pulp::{Arch, Simd, WithSimd};

/// Length of a hash in bytes: the first half of a BLAKE3 hash.
pub const HASH_BYTES: usize = 16;

/// Inputs in progress at once: the lanes of the widest vectors. Narrower vectors take turns.
const LANES: usize = 16;
const BLOCK_BYTES: usize = 64;
const CHUNK_BYTES: usize = 1024;

const CHUNK_START: u32 = 1;
const CHUNK_END: u32 = 2;
const ROOT: u32 = 8;

const IV: [u32; 8] =
    [0x6A09_E667, 0xBB67_AE85, 0x3C6E_F372, 0xA54F_F53A, 0x510E_527F, 0x9B05_688C, 0x1F83_D9AB, 0x5BE0_CD19];

/// The order of the words of the block in each round: the permutation, applied once more in each.
const SCHEDULE: [[usize; 16]; 7] = {
    const PERMUTATION: [usize; 16] = [2, 6, 3, 10, 7, 0, 4, 13, 1, 11, 12, 5, 9, 14, 15, 8];
    let mut schedule = [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]; 7];
    let mut round = 1;
    while round < 7 {
        let mut place = 0;
        while place < 16 {
            schedule[round][place] = schedule[round - 1][PERMUTATION[place]];
            place += 1;
        }
        round += 1;
    }
    schedule
};

/// Appends the first [`HASH_BYTES`] bytes of the hash of each input to `hashes`.
///
/// The inputs are consecutive parts of `bytes`; `ends` has the offset behind each. The offsets must ascend and lie within `bytes`.
pub fn append_hashes(bytes: &[u8], ends: &[usize], hashes: &mut Vec<u8>) {
    let start = hashes.len();
    hashes.resize(start + ends.len() * HASH_BYTES, 0);
    let hashes = hashes[start..].as_chunks_mut().0;
    Arch::new().dispatch(Inputs { bytes, ends, hashes });
}

/// Returns the first [`HASH_BYTES`] bytes of the hash of one input.
pub fn hash_input(input: &[u8]) -> [u8; HASH_BYTES] {
    let mut first = [0; HASH_BYTES];
    first.copy_from_slice(&blake3::hash(input).as_bytes()[..HASH_BYTES]);
    first
}

struct Inputs<'a> {
    bytes: &'a [u8],
    ends: &'a [usize],
    hashes: &'a mut [[u8; HASH_BYTES]],
}

impl WithSimd for Inputs<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        let inputs = starts.zip(self.ends).map(|(start, end)| &self.bytes[start..*end]);
        let inputs = inputs.zip(self.hashes);
        if S::U32_LANES < 4 {
            inputs.for_each(|(input, hash)| *hash = hash_input(input));
            return;
        }
        let mut short = inputs.filter_map(|(input, hash)| {
            if input.len() > CHUNK_BYTES {
                *hash = hash_input(input);
                return None;
            }
            Some((input, hash))
        });
        let mut lanes: [Option<Lane<'_>>; LANES] = [const { None }; LANES];
        let mut state = State::default();
        loop {
            let mut busy = 0;
            for (at, lane) in lanes.iter_mut().enumerate() {
                if lane.is_none() {
                    *lane = short.next().map(|(rest, hash)| Lane { rest, hash });
                    state.begin(at);
                }
                if let Some(lane) = lane {
                    state.next_block(at, lane);
                    busy += 1;
                }
            }
            if busy == 0 {
                return;
            }
            state.compress(simd);
            for (at, lane) in lanes.iter_mut().enumerate() {
                if state.flags[at] & ROOT != 0
                    && let Some(done) = lane.take()
                {
                    *done.hash = state.hash(at);
                }
            }
        }
    }
}

/// An input in progress.
struct Lane<'a> {
    rest: &'a [u8],
    hash: &'a mut [u8; HASH_BYTES],
}

/// The state of the compression function: each word has a value for every lane.
#[derive(Default)]
struct State {
    chaining: [[u32; LANES]; 8],
    block: [[u32; LANES]; 16],
    block_bytes: [u32; LANES],
    flags: [u32; LANES],
}

impl State {
    #[inline(always)]
    fn begin(&mut self, lane: usize) {
        for (word, iv) in self.chaining.iter_mut().zip(IV) {
            word[lane] = iv;
        }
        self.flags[lane] = CHUNK_START;
    }

    /// Loads the next block of an input; the last one is padded with zeros.
    #[inline(always)]
    fn next_block(&mut self, at: usize, lane: &mut Lane<'_>) {
        let full = lane.rest.split_first_chunk().filter(|(_, rest)| !rest.is_empty());
        let mut padded = [0; BLOCK_BYTES];
        let (block, bytes): (&[u8; BLOCK_BYTES], usize) = match full {
            Some((block, rest)) => {
                lane.rest = rest;
                (block, BLOCK_BYTES)
            }
            None => {
                padded[..lane.rest.len()].copy_from_slice(lane.rest);
                self.flags[at] |= CHUNK_END | ROOT;
                (&padded, lane.rest.len())
            }
        };
        self.block_bytes[at] = bytes as u32;
        for (word, own) in self.block.iter_mut().zip(block.as_chunks().0) {
            word[at] = u32::from_le_bytes(*own);
        }
    }

    /// Compresses the block of each lane into its chaining value.
    #[inline(always)]
    fn compress<S: Simd>(&mut self, simd: S) {
        for at in 0..LANES / S::U32_LANES {
            let block: [S::u32s; 16] = vectors::<S, _>(&self.block, at);
            let [a, b, c, d, e, f, g, h] = vectors::<S, _>(&self.chaining, at);
            let [i, j, k, l] = [IV[0], IV[1], IV[2], IV[3]].map(|iv| simd.splat_u32s(iv));
            // All blocks belong to chunk 0.
            let counter = simd.splat_u32s(0);
            let [bytes, flags] = vectors::<S, _>(&[self.block_bytes, self.flags], at);
            let mut v = [a, b, c, d, e, f, g, h, i, j, k, l, counter, counter, bytes, flags];
            round::<S, 0>(simd, &mut v, &block);
            round::<S, 1>(simd, &mut v, &block);
            round::<S, 2>(simd, &mut v, &block);
            round::<S, 3>(simd, &mut v, &block);
            round::<S, 4>(simd, &mut v, &block);
            round::<S, 5>(simd, &mut v, &block);
            round::<S, 6>(simd, &mut v, &block);
            for (word, chaining) in self.chaining.iter_mut().enumerate() {
                S::as_mut_simd_u32s(chaining).0[at] = simd.xor_u32s(v[word], v[word + 8]);
            }
        }
        self.flags = self.flags.map(|flags| flags & !CHUNK_START);
    }

    #[inline(always)]
    fn hash(&self, lane: usize) -> [u8; HASH_BYTES] {
        let mut hash = [0; HASH_BYTES];
        for (bytes, word) in hash.as_chunks_mut().0.iter_mut().zip(&self.chaining) {
            *bytes = word[lane].to_le_bytes();
        }
        hash
    }
}

/// The vector number `at` of each word.
#[inline(always)]
fn vectors<S: Simd, const WORDS: usize>(words: &[[u32; LANES]; WORDS], at: usize) -> [S::u32s; WORDS] {
    words.each_ref().map(|word| S::as_simd_u32s(word).0[at])
}

/// Mixes columns, then diagonals. Unrolled, so that the compiler knows the words.
#[inline(always)]
fn round<S: Simd, const NUMBER: usize>(simd: S, v: &mut [S::u32s; 16], block: &[S::u32s; 16]) {
    let order = const { SCHEDULE[NUMBER] };
    mix(simd, v, [0, 4, 8, 12], block[order[0]], block[order[1]]);
    mix(simd, v, [1, 5, 9, 13], block[order[2]], block[order[3]]);
    mix(simd, v, [2, 6, 10, 14], block[order[4]], block[order[5]]);
    mix(simd, v, [3, 7, 11, 15], block[order[6]], block[order[7]]);
    mix(simd, v, [0, 5, 10, 15], block[order[8]], block[order[9]]);
    mix(simd, v, [1, 6, 11, 12], block[order[10]], block[order[11]]);
    mix(simd, v, [2, 7, 8, 13], block[order[12]], block[order[13]]);
    mix(simd, v, [3, 4, 9, 14], block[order[14]], block[order[15]]);
}

/// G in the paper.
#[inline(always)]
fn mix<S: Simd>(simd: S, v: &mut [S::u32s; 16], [a, b, c, d]: [usize; 4], x: S::u32s, y: S::u32s) {
    v[a] = simd.add_u32s(simd.add_u32s(v[a], v[b]), x);
    v[d] = rotate_right(simd, simd.xor_u32s(v[d], v[a]), 16);
    v[c] = simd.add_u32s(v[c], v[d]);
    v[b] = rotate_right(simd, simd.xor_u32s(v[b], v[c]), 12);
    v[a] = simd.add_u32s(simd.add_u32s(v[a], v[b]), y);
    v[d] = rotate_right(simd, simd.xor_u32s(v[d], v[a]), 8);
    v[c] = simd.add_u32s(v[c], v[d]);
    v[b] = rotate_right(simd, simd.xor_u32s(v[b], v[c]), 7);
}

/// Rotates the bits of each number, not the lanes of the vector.
#[inline(always)]
fn rotate_right<S: Simd>(simd: S, numbers: S::u32s, by: u32) -> S::u32s {
    let low = simd.wrapping_dyn_shr_u32s(numbers, simd.splat_u32s(by));
    simd.or_u32s(low, simd.wrapping_dyn_shl_u32s(numbers, simd.splat_u32s(32 - by)))
}
