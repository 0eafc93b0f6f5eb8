//! The program from the outside: its files, its requests, its exit codes, and what is on stdout.

#![allow(clippy::print_stderr, reason = "a test that skips says so")]
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail by panicking, like the tests themselves")]

mod certificates;
mod database;
mod endpoint;
mod generate;
#[path = "../../../tests/hostile_files.rs"]
mod hostile_files;
mod load;
mod program;
mod quarantine;
mod recover;
mod replay;
mod server;
mod usage;
