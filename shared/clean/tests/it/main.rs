//! Cleans records, as clients send them, by the contracts of the repository.

#![allow(
    clippy::expect_used,
    clippy::unwrap_used,
    clippy::panic,
    clippy::print_stdout,
    reason = "a test that cannot go on fails"
)]

mod cleaning;
mod column_rules;
mod hostile;
mod keys;
mod nested_fields;
mod real_data;
mod reasons;
#[path = "../../../../tests/subprocess.rs"]
mod subprocess;
mod typed_files;

use std::sync::Arc;

use arrow::array::{Array, FixedSizeBinaryArray, RecordBatch};
use arrow::json::writer::{LineDelimited, WriterBuilder};
use chrono::DateTime;
use pinlake_clean::{CleanedRows, Position, RecordCleaner, RecordOrigin};
use pinlake_schema::{Catalog, FORMER_KEY_COLUMN, KEY_COLUMN};
use serde_json::Value;

/// The contracts of the repository.
fn contracts() -> Arc<Catalog> {
    Arc::new(Catalog::embedded().unwrap_or_else(|errors| panic!("{errors}")))
}

/// A catalog of the contracts in `texts`.
fn contracts_of(texts: &[&str]) -> Arc<Catalog> {
    let files = texts.iter().enumerate().map(|(at, text)| (format!("{at}.toml"), (*text).to_owned()));
    Arc::new(Catalog::from_files(files).unwrap_or_else(|errors| panic!("{errors}")))
}

fn new_cleaner(catalog: Arc<Catalog>) -> RecordCleaner {
    RecordCleaner::new(catalog, DateTime::UNIX_EPOCH)
}

fn line(number: u64) -> RecordOrigin<'static> {
    RecordOrigin { source: "file/test", position: Position::Line(number), record_id: None }
}

/// A batch as JSON rows, without the keys.
fn rows(batch: &RecordBatch) -> Vec<Value> {
    let mut table = batch.clone();
    for column in [FORMER_KEY_COLUMN, KEY_COLUMN] {
        if let Ok(at) = table.schema().index_of(column) {
            table.remove_column(at);
        }
    }
    let mut text = Vec::new();
    let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut text);
    writer.write(&table).expect("memory");
    writer.finish().expect("memory");
    drop(writer);
    text.split(|byte| *byte == b'\n')
        .filter(|line| !line.is_empty())
        .map(|line| serde_json::from_slice(line).expect("JSON"))
        .collect()
}

fn keys(batch: &RecordBatch) -> Vec<String> {
    keys_in(batch, KEY_COLUMN)
}

fn keys_in(batch: &RecordBatch, column: &str) -> Vec<String> {
    let column = batch.column_by_name(column).expect("keys");
    let keys = column.as_any().downcast_ref::<FixedSizeBinaryArray>().expect("keys");
    assert_eq!(keys.null_count(), 0);
    keys.iter().flatten().map(|key| key.iter().map(|byte| format!("{byte:02x}")).collect()).collect()
}

fn of<'a>(cleaned: &'a [CleanedRows], dataset: &str) -> &'a CleanedRows {
    cleaned.iter().find(|own| own.contract.name == dataset).unwrap_or_else(|| panic!("no rows of {dataset}"))
}

/// Cleans one record; returns the dataset and the only row.
fn single(catalog: &Arc<Catalog>, record: &[u8], hint: Option<&str>) -> (String, Value) {
    let mut cleaner = new_cleaner(Arc::clone(catalog));
    cleaner.push(record, hint, &line(1));
    let cleaned = cleaner.drain();
    assert_eq!((cleaned.len(), cleaned[0].read), (1, 1), "{}", String::from_utf8_lossy(record));
    (cleaned[0].contract.name.clone(), rows(&cleaned[0].rows).remove(0))
}

/// Cleans one record; returns `clean <dataset> <row>`, or why it is quarantined as `dataset: reason: detail`.
fn evaluate(catalog: &Arc<Catalog>, record: &[u8], hint: Option<&str>) -> String {
    let (dataset, row) = single(catalog, record, hint);
    if dataset != "quarantine" {
        return format!("clean {dataset} {row}");
    }
    let text = |name: &str| row[name].as_str().unwrap_or("null").to_owned();
    format!("{}: {}: {}", text("dataset"), text("reason"), text("detail"))
}
