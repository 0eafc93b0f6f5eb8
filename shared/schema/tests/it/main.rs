//! Contracts that are wrong on purpose.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

mod cases;
mod invariants;
mod properties;
