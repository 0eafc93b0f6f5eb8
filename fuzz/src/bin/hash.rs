//! Any inputs hashed at once: the hashes are those of `blake3`. The first byte is the number of inputs, the next ones
//! determine their lengths.
#![no_main]

#[path = "../../../shared/blake3-lanes/tests/it/invariants.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let [count, rest @ ..] = input else { return };
    let count = usize::from(*count).min(rest.len());
    let (lengths, bytes) = rest.split_at(count);
    let mut left = bytes.len();
    let lengths: Vec<usize> = lengths
        .iter()
        .map(|length| {
            // Some inputs are longer than a chunk.
            let length = (usize::from(*length) * 5).min(left);
            left -= length;
            length
        })
        .collect();
    invariants::inputs(bytes, &lengths);
});
