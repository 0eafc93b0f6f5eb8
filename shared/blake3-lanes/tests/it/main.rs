//! The hashes compared with those of `blake3`.

#![allow(clippy::expect_used, reason = "a test that cannot go on fails")]

#[path = "../../../schema/tests/it/cases.rs"]
mod cases;
mod invariants;

use proptest::collection::vec;
use proptest::prelude::*;

use cases::cases;

/// Bytes of a BLAKE3 chunk.
const CHUNK_BYTES: usize = 1024;

fn check_lengths(lengths: &[usize]) {
    let bytes: Vec<u8> = (0..lengths.iter().sum()).map(|at: usize| (at * at % 251) as u8).collect();
    invariants::inputs(&bytes, lengths);
}

#[test]
fn inputs_of_every_length_around_a_chunk() {
    let every: Vec<usize> = (0..=CHUNK_BYTES + 70).collect();
    check_lengths(&every);
    for count in 0..34 {
        check_lengths(&vec![65; count]);
    }
    check_lengths(&[2000; 3]);
}

proptest! {
    #![proptest_config(cases(500))]

    #[test]
    fn hashes_do_not_depend_on_the_inputs_beside_them(lengths in vec(0..1500_usize, 0..60)) {
        check_lengths(&lengths);
    }

    #[test]
    fn any_bytes_have_the_same_hash_in_blake3(inputs in vec(vec(any::<u8>(), 0..200), 0..40)) {
        let lengths: Vec<usize> = inputs.iter().map(Vec::len).collect();
        invariants::inputs(&inputs.concat(), &lengths);
    }
}
