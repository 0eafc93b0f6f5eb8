//! `pinlake generate`: writes synthetic rows of the three datasets, as clients send them.
//!
//! [`rows`] generates rows; this module writes the files. A duplicate comes anywhere after the row it repeats. All
//! three files repeat the same rows, because the stock client sends the same post of all three tables in a round.

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
use crate::atomic_file;
use crate::console::{self, Unit};
use crate::error::CliError;
use crate::seeded_rng::SeededRng;

/// Generate synthetic rows for trying out or measuring pinlake.
///
/// Writes DIR/pin.ndjson, DIR/geo.ndjson and DIR/user.ndjson, and replaces existing files of these names. The same
/// arguments always give the same bytes.
///
/// Output: one JSON line that describes the three files.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A thousand posts; one in ten is duplicated, one row in fifty is broken or has an unusual shape:
  pinlake generate --out /tmp/rows --rows 1000 --duplicates 0.1 --dirty 0.02
  pinlake load --lake /tmp/lake /tmp/rows")]
pub struct GenerateArgs {
    /// Folder for the files; created if it does not exist
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Number of posts; each dataset gets one row per post
    #[arg(long, value_name = "N")]
    rows: u64,
    /// Rows to add that repeat an earlier row exactly, as a share of --rows (0.1 = one in ten; up to 100)
    #[arg(long, value_name = "F", default_value_t = 0.0, value_parser = parse_share_up_to_100)]
    duplicates: f64,
    /// Share of dirty rows, from 0 to 1: half of them break the contract and go to quarantine, half have another shape
    /// that clients use and are cleaned
    #[arg(long, value_name = "F", default_value_t = 0.0, value_parser = parse_share)]
    dirty: f64,
    /// Truncated lines to add, which are not valid JSON, as a share of --rows from 0 to 1
    #[arg(long, value_name = "F", default_value_t = 0.0, value_parser = parse_share)]
    malformed: f64,
    /// Seed of the random choices; another seed gives other rows
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,
}

fn parse_share_up_to_100(text: &str) -> Result<f64, String> {
    match text.parse::<f64>() {
        Ok(share) if (0.0..=100.0).contains(&share) => Ok(share),
        _ => Err("give a share such as 0.1, at least 0 and at most 100".to_owned()),
    }
}

fn parse_share(text: &str) -> Result<f64, String> {
    parse_share_up_to_100(text)
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

/// The contents of a file: lines = rows + duplicates + malformed; broken and varied rows are among the rows.
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

/// Runs the command.
pub async fn run(args: GenerateArgs) -> Result<ExitCode, CliError> {
    let begin = Instant::now();
    fs::create_dir_all(&args.out).map_err(|error| cannot_write(&args.out, error))?;
    let bar = console::progress("generating", Unit::Rows, Some(args.rows.saturating_mul(3)));
    // The files are independent of each other: one thread each.
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
        "check the permissions of the folder and the free disk space (about 1 KB per post)",
    )
    .caused_by(error)
}

/// Random streams of this module, shared by the three files and different from those of [`rows`].
const DUPLICATE_STREAM: u64 = 32;
const MALFORMED_STREAM: u64 = 33;

/// Bytes buffered before they are written.
const BUFFER_BYTES: usize = 1 << 20;

fn write_file(args: &GenerateArgs, dataset: Dataset, bar: &ProgressBar) -> io::Result<FileSummary> {
    let path = args.out.join(dataset.name()).with_extension("ndjson");
    let mut file = atomic_file::create(&path)?;
    let mut buffer = Vec::with_capacity(BUFFER_BYTES + 16 * 1024);
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
        match dataset.write_row(&mut buffer, &plan, number)? {
            Condition::Usual => {}
            Condition::Varied => summary.varied += 1,
            Condition::Broken => summary.broken += 1,
        }
        summary.lines += 1;
        while summary.duplicates < due_after(number, args.duplicates) {
            let repeated =
                SeededRng::new(args.seed, DUPLICATE_STREAM, summary.duplicates).next_below(number + 1);
            dataset.write_row(&mut buffer, &plan, repeated)?;
            summary.duplicates += 1;
            summary.lines += 1;
        }
        while summary.malformed < due_after(number, args.malformed) {
            let mut rng = SeededRng::new(args.seed, MALFORMED_STREAM, summary.malformed);
            write_malformed(&mut buffer, dataset, &plan, &mut rng, number)?;
            summary.malformed += 1;
            summary.lines += 1;
        }
        if buffer.len() >= BUFFER_BYTES {
            summary.bytes += flush(file.as_file_mut(), &mut buffer)?;
        }
        if number % 1024 == 1023 {
            bar.inc(1024);
        }
    }
    summary.bytes += flush(file.as_file_mut(), &mut buffer)?;
    bar.inc(args.rows % 1024);
    atomic_file::persist(file, &summary.path)?;
    Ok(summary)
}

/// How many extra lines must have been written after row `number`, so that their share of all rows is exact in the end.
fn due_after(number: u64, share: f64) -> u64 {
    ((number + 1) as f64 * share).round() as u64
}

fn flush(file: &mut File, buffer: &mut Vec<u8>) -> io::Result<u64> {
    file.write_all(buffer)?;
    let written = buffer.len() as u64;
    buffer.clear();
    Ok(written)
}

/// Appends a truncated row, as a client that is killed writes it. `last` is the highest row to choose from.
fn write_malformed(
    buffer: &mut Vec<u8>,
    dataset: Dataset,
    plan: &Plan,
    rng: &mut SeededRng,
    last: u64,
) -> io::Result<()> {
    let start = buffer.len();
    dataset.write_row(buffer, plan, rng.next_below(last + 1))?;
    // Remove at least the closing brace and the newline, and keep at least the opening brace.
    let length = (buffer.len() - start) as u64;
    let kept = 1 + rng.next_below(length.saturating_sub(2));
    let mut end = start + kept as usize;
    while end > start + 1 && buffer.get(end).is_some_and(|&byte| byte & 0xc0 == 0x80) {
        end -= 1;
    }
    buffer.truncate(end);
    buffer.push(b'\n');
    Ok(())
}
