//! Cleans a file and prints its rows as JSON lines: clean rows to standard output, quarantined records to standard error.
//!
//! ```text
//! cargo run --workspace --example clean_a_file -- FILE [DATASET] [CONTRACTS]
//! ```
//!
//! Without a dataset, the name of the file decides, then the shape of each record. Without a folder of contracts, those of `datasets/`
//! are used.

#![allow(clippy::print_stderr, reason = "the program prints its errors")]

use std::io::{Error, Write};
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;

use arrow::json::LineDelimitedWriter;
use chrono::DateTime;
use pinlake_clean::record_reader::{ReadLimits, RecordReader};
use pinlake_clean::{Position, RecordCleaner, RecordOrigin};
use pinlake_schema::{Catalog, QUARANTINE};

/// Rows are printed once they take this many bytes.
const BATCH_BYTES: usize = 8 << 20;

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [path, options @ ..] = &arguments[..] else {
        eprintln!("usage: clean_a_file FILE [DATASET] [CONTRACTS]");
        return ExitCode::from(2);
    };
    match clean(path, options.first().map(String::as_str), options.get(1).map(String::as_str)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("{error}");
            ExitCode::FAILURE
        }
    }
}

fn clean(path: &str, dataset: Option<&str>, contracts: Option<&str>) -> Result<(), Error> {
    let catalog = contracts.map_or_else(Catalog::embedded, |folder| Catalog::from_dir(Path::new(folder)));
    let catalog = Arc::new(catalog.map_err(Error::other)?);
    let hint = dataset.or_else(|| catalog.route_file(path).map(|contract| contract.name.as_str()));
    let mut reader = RecordReader::from_file(path, std::fs::File::open(path)?, ReadLimits::default())
        .map_err(Error::other)?;
    // The example reads no clock: quarantine rows have the arrival time 1970-01-01.
    let mut cleaner = RecordCleaner::new(Arc::clone(&catalog), DateTime::UNIX_EPOCH);
    let source = format!("file/{path}");
    while let Some(record) = reader.next().map_err(Error::other)? {
        let position = Position::Line(record.position);
        let origin = RecordOrigin { source: &source, position, record_id: None };
        match record.error {
            None => {
                cleaner.push(record.bytes, hint, &origin);
            }
            Some(error) => cleaner.reject(record.bytes, hint, &origin, error.reason, error.detail),
        }
        if cleaner.buffered_bytes() > BATCH_BYTES {
            print_rows(&mut cleaner)?;
        }
    }
    print_rows(&mut cleaner)
}

fn print_rows(cleaner: &mut RecordCleaner) -> Result<(), Error> {
    for cleaned in cleaner.drain() {
        let output: Box<dyn Write> = match cleaned.contract.name == QUARANTINE {
            true => Box::new(std::io::stderr().lock()),
            false => Box::new(std::io::stdout().lock()),
        };
        let mut writer = LineDelimitedWriter::new(output);
        writer.write(&cleaned.rows).and_then(|()| writer.finish()).map_err(Error::other)?;
    }
    Ok(())
}
