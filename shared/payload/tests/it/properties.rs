//! Generated data for the invariants.

use proptest::collection::vec;
use proptest::prelude::*;

use super::cases::cases;
use super::invariants;

/// Pieces of which data of clients consists.
const PIECES: [&[u8]; 27] = [
    b"{",
    b"}",
    b"[",
    b"]",
    b",",
    b":",
    b"\"",
    b"\"value\"",
    b"\"Data\"",
    b"\"records\"",
    b"\"ind\"",
    b"\\",
    b"\n",
    b" ",
    b"1",
    b"e30=",
    b"eyJpbmQiOjF9",
    b"{}",
    b"{\"ind\":1}",
    b"{\"Data\":[{}]}",
    b"[{\"ind\":1},{}]",
    b"\"{\\\"ind\\\":1}\"",
    b"\xff",
    b"\0",
    b"\x1f\x8b\x08",
    b"\xc3\xa9",
    b"\r",
];

proptest! {
    #![proptest_config(cases(4000))]

    #[test]
    fn any_data_is_split_within_its_limits(pieces in vec(proptest::sample::select(&PIECES[..]), 0..12)) {
        invariants::payload(&pieces.concat());
    }

    #[test]
    fn any_bytes_are_split_within_their_limits(bytes in vec(any::<u8>(), 0..64)) {
        invariants::payload(&bytes);
    }
}
