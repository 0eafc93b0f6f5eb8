//! Compares the columns "on the stream" and "in a file" of the table in `docs/hostile-input.md` with what the cleaner does.

use std::collections::BTreeMap;

use arrow::array::cast::AsArray;
use bytes::Bytes;
use pinlake_clean::record_reader::{ReadError, RecordReader};

use super::{inputs, limits};
use crate::{contracts, line, new_cleaner};

/// Counts the rows of a cleaner by result: `clean`, `2 clean, 1 too_large`, `nothing`.
fn outcome(mut cleaner: pinlake_clean::RecordCleaner) -> String {
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    for cleaned in cleaner.drain() {
        if cleaned.contract.name != "quarantine" {
            found.insert("clean".to_owned(), cleaned.rows.num_rows());
            continue;
        }
        let reasons = cleaned.rows.column_by_name("reason").expect("reasons").as_string::<i32>();
        for reason in reasons.iter().flatten() {
            *found.entry(reason.to_owned()).or_default() += 1;
        }
    }
    let parts: Vec<String> = match found.len() {
        0 => vec!["nothing".to_owned()],
        1 if found.values().all(|count| *count == 1) => found.into_keys().collect(),
        _ => found.iter().map(|(what, count)| format!("{count} {what}")).collect(),
    };
    parts.join(", ")
}

fn on_the_stream(record: &[u8]) -> String {
    let mut cleaner = new_cleaner(contracts());
    cleaner.push(record, Some("geo"), &line(1));
    outcome(cleaner)
}

fn in_a_file(name: &str, bytes: Vec<u8>) -> String {
    let mut cleaner = new_cleaner(contracts());
    let failed = |error: &ReadError| match error {
        ReadError::SizeLimitExceeded { .. } => "bomb",
        ReadError::Io { .. } => "damaged",
        ReadError::Parquet { .. } => "no Parquet",
        ReadError::Refused { .. } | ReadError::Content { .. } => "refused",
        ReadError::Sandbox { .. } => "not read",
    };
    let mut end = None;
    match RecordReader::from_bytes(name, Bytes::from(bytes), limits()) {
        Err(error) => end = Some(failed(&error)),
        Ok(mut records) => loop {
            match records.next() {
                Ok(None) => break,
                Ok(Some(record)) => match record.error {
                    Some(error) => {
                        cleaner.reject(
                            record.bytes,
                            Some("geo"),
                            &line(record.position),
                            error.reason,
                            error.detail,
                        );
                    }
                    None => {
                        cleaner.push(record.bytes, Some("geo"), &line(record.position));
                    }
                },
                Err(error) => {
                    end = Some(failed(&error));
                    break;
                }
            }
        },
    }
    match (outcome(cleaner), end) {
        (rows, None) => rows,
        (rows, Some(end)) if rows == "nothing" => end.to_owned(),
        (rows, Some(end)) => format!("{rows}, then {end}"),
    }
}

#[test]
fn the_table_agrees_with_the_cleaner() {
    let table = inputs::table();
    assert!(table.len() > 50, "only {} rows", table.len());
    let mut wrong = Vec::new();
    for row in &table {
        let [name, _, stream, file] = &row[..] else { panic!("four cells: {row:?}") };
        let (path, bytes) = inputs::input(name).unwrap_or_else(|| panic!("there is no input called {name}"));
        if stream != "-" {
            let found = on_the_stream(&bytes);
            if found != *stream {
                wrong.push(format!("{name}: on the stream: {found}, not {stream}"));
            }
        }
        let found = in_a_file(path, bytes);
        if found != *file {
            wrong.push(format!("{name}: in a file: {found}, not {file}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
