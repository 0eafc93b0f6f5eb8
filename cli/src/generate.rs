//! `pinlake generate`: made-up rows of the three datasets, as clients send them.
//!
//! The contents are in [`rows`]; here the files are laid out. Replays come anywhere after the row they repeat, the
//! same rows in all three files, because the stock client sends the same post of all three tables in one round.

mod json_line;
mod rows;
mod words;

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::thread;

use indicatif::ProgressBar;
use serde::Serialize;
use tokio::time::Instant;

use self::rows::{Condition, Dataset, Plan};
use crate::console::{self, Unit};
use crate::dice::Dice;
use crate::error::CliError;
use crate::whole_file;

/// Invent rows to try pinlake with, or to measure it.
///
/// Writes DIR/pin.ndjson, DIR/geo.ndjson and DIR/user.ndjson, taking the place of files of these names. The same
/// arguments always give the same bytes. On stdout: one JSON line that says what is in each file.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example: a thousand posts, one in ten sent twice, one row in fifty broken or odd:
  pinlake generate --out /tmp/rows --rows 1000 --duplicates 0.1 --dirty 0.02
  pinlake load --lake /tmp/lake /tmp/rows")]
pub struct GenerateArgs {
    /// Folder for the files; created when it is missing
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Posts: each dataset gets one row of each
    #[arg(long, value_name = "N")]
    rows: u64,
    /// Additional rows that repeat an earlier one exactly, as a share of --rows (0.1 = one in ten; may exceed 1)
    #[arg(long, value_name = "F", default_value_t = 0.0, value_parser = share_or_more)]
    duplicates: f64,
    /// Share of rows out of the ordinary: half of them break the contract and belong in quarantine, half come in
    /// one of the other shapes that clients use
    #[arg(long, value_name = "F", default_value_t = 0.0, value_parser = share)]
    dirty: f64,
    /// Additional lines that are cut off and so no JSON, as a share of --rows
    #[arg(long, value_name = "F", default_value_t = 0.0, value_parser = share)]
    malformed: f64,
    /// Fixes every choice; another seed gives other rows
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

fn share_or_more(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=100.0).contains(&share) => Ok(share),
        _ => Err("give a share such as 0.1, at least 0 and at most 100".to_owned()),
    }
}

fn share(text: &str) -> Result<f64, String> {
    share_or_more(text)
        .ok()
        .filter(|&share| share <= 1.0)
        .ok_or_else(|| "give a share from 0 to 1".to_owned())
}

#[derive(Debug, Serialize)]
struct Summary {
    rows: u64,
    seed: u64,
    files: Vec<FileSummary>,
    seconds: f64,
}

/// What is in one file; lines = rows + duplicates + malformed, and broken and varied count among the rows.
#[derive(Debug, Serialize)]
struct FileSummary {
    dataset: &'static str,
    path: PathBuf,
    lines: u64,
    duplicates: u64,
    malformed: u64,
    broken: u64,
    varied: u64,
    bytes: u64,
}

/// Writes the three files.
pub async fn run(args: GenerateArgs) -> Result<ExitCode, CliError> {
    let begin = Instant::now();
    fs::create_dir_all(&args.out).map_err(|error| cannot_write(&args.out, error))?;
    let bar = console::progress("generating", Unit::Rows, Some(args.rows.saturating_mul(3)));
    // The datasets are independent of each other: a thread each.
    let written: Vec<io::Result<FileSummary>> = thread::scope(|scope| {
        let writers = Dataset::ALL.map(|dataset| {
            let (args, bar) = (&args, &bar);
            scope.spawn(move || write_file(args, dataset, bar))
        });
        writers
            .into_iter()
            .map(|writer| writer.join().unwrap_or_else(|_| Err(io::Error::other("panicked"))))
            .collect()
    });
    bar.finish_and_clear();
    let files = written
        .into_iter()
        .collect::<io::Result<Vec<_>>>()
        .map_err(|error| cannot_write(&args.out, error))?;
    let summary = Summary { rows: args.rows, seed: args.seed, files, seconds: begin.elapsed().as_secs_f64() };
    console::data_json(&summary)?;
    Ok(ExitCode::SUCCESS)
}

fn cannot_write(out: &Path, error: io::Error) -> CliError {
    CliError::failed(
        format!("cannot write rows to {}", out.display()),
        "check that the folder can be written to and the disk has room (about 1 KB a post)",
    )
    .caused_by(error)
}

/// Dice lanes of the layout, shared by the three files; those of `rows` are others.
const DUPLICATE_LANE: u64 = 32;
const MALFORMED_LANE: u64 = 33;

/// Bytes collected before they are written.
const BUFFER: usize = 1 << 20;

fn write_file(args: &GenerateArgs, dataset: Dataset, bar: &ProgressBar) -> io::Result<FileSummary> {
    let path = args.out.join(dataset.name()).with_extension("ndjson");
    let mut file = whole_file::begin(&path)?;
    let mut buffer = Vec::with_capacity(BUFFER + 16 * 1024);
    let plan = Plan { seed: args.seed, rows: args.rows, dirty: args.dirty };
    let mut summary = FileSummary {
        dataset: dataset.name(),
        path,
        lines: 0,
        duplicates: 0,
        malformed: 0,
        broken: 0,
        varied: 0,
        bytes: 0,
    };

    for number in 0..args.rows {
        match dataset.write(&mut buffer, &plan, number) {
            Condition::Usual => {}
            Condition::Varied => summary.varied += 1,
            Condition::Broken => summary.broken += 1,
        }
        summary.lines += 1;
        while summary.duplicates < due(number, args.duplicates) {
            let repeated = Dice::new(args.seed, DUPLICATE_LANE, summary.duplicates).below(number + 1);
            dataset.write(&mut buffer, &plan, repeated);
            summary.duplicates += 1;
            summary.lines += 1;
        }
        while summary.malformed < due(number, args.malformed) {
            let mut dice = Dice::new(args.seed, MALFORMED_LANE, summary.malformed);
            write_malformed(&mut buffer, dataset, &plan, &mut dice, number);
            summary.malformed += 1;
            summary.lines += 1;
        }
        if buffer.len() >= BUFFER {
            summary.bytes += flush(file.as_file_mut(), &mut buffer)?;
        }
        if number % 1024 == 1023 {
            bar.inc(1024);
        }
    }
    summary.bytes += flush(file.as_file_mut(), &mut buffer)?;
    bar.inc(args.rows % 1024);
    whole_file::finish(file, &summary.path)?;
    Ok(summary)
}

/// How many extra lines are due once row `number` is written, so that exactly the share of all rows is at the end.
fn due(number: u64, share: f64) -> u64 {
    ((number + 1) as f64 * share).round() as u64
}

fn flush(file: &mut File, buffer: &mut Vec<u8>) -> io::Result<u64> {
    file.write_all(buffer)?;
    let written = buffer.len() as u64;
    buffer.clear();
    Ok(written)
}

/// A row that ends early, as when a client died while writing.
fn write_malformed(buffer: &mut Vec<u8>, dataset: Dataset, plan: &Plan, dice: &mut Dice, last: u64) {
    let start = buffer.len();
    dataset.write(buffer, plan, dice.below(last + 1));
    // At least the closing brace and the newline go, at most all but the opening brace.
    let length = (buffer.len() - start) as u64;
    let kept = 1 + dice.below(length.saturating_sub(2));
    let mut end = start + kept as usize;
    while end > start + 1 && buffer.get(end).is_some_and(|&byte| byte & 0xc0 == 0x80) {
        end -= 1;
    }
    buffer.truncate(end);
    buffer.push(b'\n');
}
