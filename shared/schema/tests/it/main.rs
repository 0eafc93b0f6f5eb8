//! Property tests of the parser of contracts.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod cases;
mod invariants;
mod properties;
