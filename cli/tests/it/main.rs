//! Runs the program and checks its files, requests, exit codes and output.

#![allow(
    clippy::print_stderr,
    clippy::print_stdout,
    reason = "a test that skips says so, or what it measured"
)]
#![allow(clippy::unwrap_used, reason = "the helpers of tests fail by panicking, like the tests themselves")]

mod cases;
mod certificates;
mod database;
mod endpoint;
mod evolution;
mod generate;
#[path = "../../../tests/hostile_files.rs"]
mod hostile_files;
mod load;
mod load_content;
mod program;
mod quarantine;
mod recover;
mod release;
mod replay;
mod report;
mod server;
mod usage;
mod wait;
