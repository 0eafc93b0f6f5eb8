//! Any data is split into records within its limits.

#![allow(clippy::expect_used, clippy::panic, reason = "a test that cannot go on fails")]

#[path = "../../../schema/tests/it/cases.rs"]
mod cases;
mod invariants;
mod properties;
