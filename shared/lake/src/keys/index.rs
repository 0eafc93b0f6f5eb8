//! The index of a large key file, and the lookup of many keys in it.
//!
//! The index splits the keys into buckets by their first bits and stores the next 24 bits of each key. It cannot prove
//! that a key is present, but it rules out nearly every key that is absent.

use std::ops::Range;

use bytes::Bytes;

use super::key::{Key, first_bits, gallop};

/// Bits of a key that the index stores, after those that select the bucket.
pub(super) const STORED_BITS: u32 = 24;
/// If the index has fewer keys than this many times the wanted ones, it is scanned: a scan is that much cheaper for
/// each key than a lookup.
const SCAN_FACTOR: usize = 8;

/// How many first bits of a key select its bucket, in an index of `count` keys: about 16 keys per bucket.
pub(super) fn bucket_bits(count: usize) -> u32 {
    (count / 16).checked_ilog2().unwrap_or(0).min(28)
}

/// The length of an index of `count` keys, in bytes.
pub(super) fn index_bytes(count: usize) -> usize {
    4 * ((1 << bucket_bits(count)) + 1) + 3 * count
}

/// The bucket of a key, and its bits that the index stores.
pub(super) fn index_parts(key: &Key, bits: u32) -> (usize, u32) {
    let both = first_bits(key, bits + STORED_BITS);
    ((both >> STORED_BITS) as usize, (both & ((1 << STORED_BITS) - 1)) as u32)
}

/// Appends the index of ascending keys to `bytes`.
pub(super) fn encode_index(sorted: &[Key], bytes: &mut Vec<u8>) {
    let bits = bucket_bits(sorted.len());
    let mut next = 0;
    for bucket in 0..1_usize << bits {
        bytes.extend_from_slice(&(next as u32).to_le_bytes());
        next += sorted[next..].iter().take_while(|key| index_parts(key, bits).0 == bucket).count();
    }
    bytes.extend_from_slice(&(next as u32).to_le_bytes());
    for key in sorted {
        bytes.extend_from_slice(&index_parts(key, bits).1.to_le_bytes()[..3]);
    }
}

/// Keys to look up, ascending, with a filter over their first bits.
pub(super) struct WantedKeys<'a> {
    pub(super) keys: &'a [Key],
    /// How many first bits of a key the filter uses.
    bits: u32,
    /// A bitmap of the first bits of all wanted keys. At most one bit in 64 is set, so it rejects nearly every other
    /// key.
    filter: Vec<u64>,
}

impl<'a> WantedKeys<'a> {
    pub(super) fn new(keys: &'a [Key]) -> Self {
        let bits = (keys.len().checked_ilog2().unwrap_or(0) + 7).max(6);
        let mut filter = vec![0_u64; 1 << (bits - 6)];
        for key in keys {
            let prefix = first_bits(key, bits);
            filter[(prefix / 64) as usize] |= 1 << (prefix % 64);
        }
        Self { keys, bits, filter }
    }

    fn may_contain(&self, prefix: u64) -> bool {
        self.filter[(prefix / 64) as usize] & 1 << (prefix % 64) != 0
    }
}

/// The index of a key file.
#[derive(Debug, Clone)]
pub(super) struct KeyIndex {
    /// Keys in the file.
    pub(super) count: usize,
    /// Offset of the keys in the file.
    pub(super) first_key: usize,
    pub(super) bytes: Bytes,
    /// The keys themselves, of a file that this process wrote and while memory allows: candidates are then confirmed
    /// without a read.
    pub(super) keys: Option<Bytes>,
}

impl KeyIndex {
    /// Which of `wanted` the file may contain: pairs of (position in `wanted`, position in the file). A damaged index
    /// may point anywhere within the file; only the keys themselves decide.
    pub(super) fn find_candidates(&self, wanted: &WantedKeys<'_>) -> Vec<(usize, usize)> {
        let bits = bucket_bits(self.count);
        let known = bits + STORED_BITS;
        if wanted.keys.len() > self.count / SCAN_FACTOR && wanted.bits <= known {
            self.scan(wanted, bits, known)
        } else {
            self.look_up(wanted.keys, bits)
        }
    }

    /// The positions of a bucket's keys.
    fn bucket(&self, bucket: usize, starts: &[[u8; 4]]) -> Range<usize> {
        let start = |bucket: usize| (u32::from_le_bytes(starts[bucket]) as usize).min(self.count);
        start(bucket)..start(bucket + 1)
    }

    /// The bucket starts, and the stored bits of each key.
    fn parts(&self, bits: u32) -> (&[[u8; 4]], &[[u8; 3]]) {
        let (starts, stored) = self.bytes.split_at(4 * ((1 << bits) + 1));
        (starts.as_chunks::<4>().0, stored.as_chunks::<3>().0)
    }

    /// Tests every key of the index against the filter, which rejects nearly all of them.
    pub(super) fn scan(&self, wanted: &WantedKeys<'_>, bits: u32, known: u32) -> Vec<(usize, usize)> {
        let (starts, stored) = self.parts(bits);
        let mut found = Vec::new();
        let mut from = 0;
        for bucket in 0..1_usize << bits {
            let prefix = |own: [u8; 3]| (bucket as u64) << STORED_BITS | u64::from(decode_stored_bits(own));
            let positions = self.bucket(bucket, starts);
            let first = positions.start;
            for (run, own) in stored.get(positions).unwrap_or_default().chunks(64).enumerate() {
                // One bit for each key, without a branch.
                let mut passed = 0_u64;
                for (at, own) in own.iter().enumerate() {
                    passed |= u64::from(wanted.may_contain(prefix(*own) >> (known - wanted.bits))) << at;
                }
                while passed != 0 {
                    let at = passed.trailing_zeros() as usize;
                    passed &= passed - 1;
                    let (prefix, position) = (prefix(own[at]), first + 64 * run + at);
                    from += gallop(&wanted.keys[from..], |key| first_bits(key, known) < prefix);
                    let same = wanted.keys[from..].iter().take_while(|key| first_bits(key, known) == prefix);
                    found.extend(same.enumerate().map(|(number, _)| (from + number, position)));
                }
            }
        }
        found
    }

    /// Looks up each wanted key in its bucket: for a few keys in a large file.
    pub(super) fn look_up(&self, wanted: &[Key], bits: u32) -> Vec<(usize, usize)> {
        let (starts, stored) = self.parts(bits);
        let mut found = Vec::new();
        for (at, key) in wanted.iter().enumerate() {
            let (bucket, own) = index_parts(key, bits);
            let same =
                self.bucket(bucket, starts).filter(|position| decode_stored_bits(stored[*position]) == own);
            found.extend(same.map(|position| (at, position)));
        }
        found
    }
}

fn decode_stored_bits([a, b, c]: [u8; 3]) -> u32 {
    u32::from_le_bytes([a, b, c, 0])
}
