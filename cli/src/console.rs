//! The one place that writes to the terminal: data to stdout, everything for a person to stderr.
//!
//! The workspace forbids `println!` and `eprintln!`, so that nothing but data reaches stdout by accident, and
//! because both panic when the reader has gone away (`pinlake analyse | head`). Here a closed pipe is no error.

use std::io::{self, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;

use crate::error::CliError;

/// One line of data on stdout.
pub fn data(line: &str) -> Result<(), CliError> {
    data_bytes(line.as_bytes())
}

/// One line of bytes on stdout, whatever they are.
pub fn data_bytes(line: &[u8]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    match out.write_all(line).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::failed("cannot write to stdout", "check where the output goes").caused_by(error))
        }
        _ => Ok(()),
    }
}

/// One line of JSON on stdout.
pub fn data_json(value: &impl Serialize) -> Result<(), CliError> {
    let line = serde_json::to_string(value).map_err(|error| {
        CliError::failed("cannot write the summary as JSON", "this is a mistake in pinlake").caused_by(error)
    })?;
    data(&line)
}

/// One line for the person at the terminal, on stderr. That nobody reads it is no failure.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{line}");
}

/// `error: what: cause`, then what to do next on a line of its own.
pub fn report(error: &CliError) {
    say(&format!("error: {}", error.with_causes()));
    if !error.advice().is_empty() {
        say(&format!("  {}", error.advice()));
    }
}

/// What a progress bar counts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Rows or other things.
    Rows,
    /// Bytes of input.
    Bytes,
    /// Things to be got through, whose number changes.
    Steps,
}

/// A bar on stderr; hidden when stderr is no terminal. Without a total it only counts.
pub fn progress(what: &'static str, unit: Unit, total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr());
    let template = match (unit, total) {
        (Unit::Rows, Some(_)) => "{msg} [{bar:32}] {human_pos}/{human_len} rows, {per_sec}, {eta} left",
        (Unit::Rows, None) => "{msg} {human_pos} rows, {per_sec}",
        (Unit::Bytes, Some(_)) => "{msg} [{bar:32}] {bytes}/{total_bytes}, {bytes_per_sec}, {eta} left",
        (Unit::Bytes, None) => "{msg} {bytes}, {bytes_per_sec}",
        (Unit::Steps, _) => "[{bar:32}] {pos}/{len} {msg}",
    };
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar.set_message(what);
    bar
}
