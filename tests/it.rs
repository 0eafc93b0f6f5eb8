//! Tests of the program, its results and the local stack.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as the test does")]
#![allow(clippy::print_stderr, reason = "a test that skips says so")]

mod api_keys;
mod athena;
mod end_to_end;
mod feeds;
mod golden;
mod oracle;
mod program;
mod recovery;
mod releases;
mod requests;
mod runtime_api;
mod stack;
