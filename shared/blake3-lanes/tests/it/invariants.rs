//! Invariants that hold for any inputs. The property tests and the fuzz target `hash` check them.

use pinlake_blake3_lanes::{HASH_BYTES, append_hashes, hash_input};

/// Hashes consecutive parts of `bytes` at once, and compares each hash with that of `blake3`.
pub fn inputs(bytes: &[u8], lengths: &[usize]) {
    let mut end = 0;
    let ends: Vec<usize> = lengths
        .iter()
        .map(|length| {
            end += length;
            end
        })
        .collect();
    let mut hashes = vec![7];
    append_hashes(bytes, &ends, &mut hashes);
    let (first, hashes) = hashes.split_first().expect("not empty");
    assert_eq!(*first, 7, "earlier content is kept");
    assert_eq!(hashes.len(), lengths.len() * HASH_BYTES);
    for ((hash, length), end) in hashes.chunks(HASH_BYTES).zip(lengths).zip(&ends) {
        let input = &bytes[end - length..*end];
        assert_eq!(hash, &blake3::hash(input).as_bytes()[..HASH_BYTES], "{lengths:?}");
        assert_eq!(hash, hash_input(input), "{length} bytes alone");
    }
}
