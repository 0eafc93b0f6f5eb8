//! Writes to the terminal: data to stdout, messages to stderr.
//!
//! The workspace forbids `println!` and `eprintln!`: stdout must have data only, and both panic on a closed pipe
//! (`pinlake analyse | head`). A closed pipe is no error here.

use std::io::{self, IsTerminal, Write};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use pinlake_report::show_controls;
use serde::Serialize;

use crate::error::CliError;

/// Writes a line of data to stdout.
pub fn data(line: &str) -> Result<(), CliError> {
    data_bytes(line.as_bytes())
}

/// Whether people read stdout.
pub fn is_terminal() -> bool {
    io::stdout().is_terminal()
}

/// Writes text in place of what a terminal shows; below it, if stdout is no terminal.
pub fn replace_screen(text: &str) -> Result<(), CliError> {
    if is_terminal() {
        // To the first cell, and clear all. A closed pipe is no error here either.
        let _ = io::stdout().lock().write_all(b"\x1b[H\x1b[2J");
    }
    data(text)
}

/// Writes a line of bytes, which need not be UTF-8, to stdout. On a terminal, what would control it is shown as text; a
/// file or another program gets the bytes as they are.
pub fn data_bytes(line: &[u8]) -> Result<(), CliError> {
    let mut out = io::stdout().lock();
    let text = out.is_terminal().then(|| String::from_utf8_lossy(line));
    let shown = text.as_deref().map(show_controls);
    let line = shown.as_deref().map_or(line, str::as_bytes);
    match out.write_all(line).and_then(|()| out.write_all(b"\n")).and_then(|()| out.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            Err(CliError::failed("cannot write to stdout", "check where the output goes").caused_by(error))
        }
        _ => Ok(()),
    }
}

/// Writes a value as a line of JSON to stdout.
pub fn data_json(value: &impl Serialize) -> Result<(), CliError> {
    let line = serde_json::to_string(value).map_err(|error| {
        CliError::failed("cannot write the summary as JSON", "this is a bug in pinlake").caused_by(error)
    })?;
    data(&line)
}

/// Writes a message to stderr. Errors are ignored. Names of files, and what servers answer, cannot control the
/// terminal.
pub fn say(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", show_controls(line));
}

/// Writes an error to stderr: `error: what: cause`, and the advice on a line of its own.
pub fn report(error: &CliError) {
    say(&format!("error: {}", error.with_causes()));
    if !error.advice().is_empty() {
        say(&format!("  {}", error.advice()));
    }
}

/// The unit of a progress bar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unit {
    /// Rows.
    Rows,
    /// Bytes of input.
    Bytes,
    /// Steps, whose total may change.
    Steps,
}

/// Creates a progress bar on stderr, hidden if that is no terminal. Without a total it only counts.
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
