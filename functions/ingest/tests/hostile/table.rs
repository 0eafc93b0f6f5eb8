//! The table of `docs/hostile-input.md`: what it says about posting is so.

use serde_json::Value;

use super::{inputs, invariants};

/// What a client is told that posts the file natively: `200`, or a status and its error.
pub fn posted(name: &str, bytes: &[u8]) -> String {
    let (plain, encoding) = match name.strip_suffix(".gz") {
        Some(plain) => (plain, "gzip"),
        None => name.strip_suffix(".zst").map_or((name, ""), |plain| (plain, "zstd")),
    };
    let media_type = match plain.rsplit('.').next() {
        Some("ndjson") => "application/x-ndjson",
        Some("json") => "application/json",
        Some("csv") => "text/csv",
        _ => "application/vnd.apache.parquet",
    };
    let (response, records) = invariants::answer(invariants::PLACES[0], media_type, encoding, bytes);
    let said: Value = serde_json::from_slice(response.body()).unwrap();
    match said["error"].as_str() {
        Some(error) => {
            assert!(records.is_empty());
            format!("{} {error}", response.status().as_u16())
        }
        None => response.status().as_u16().to_string(),
    }
}

#[test]
fn the_table_says_what_is_answered() {
    let table = inputs::table();
    assert!(table.len() > 50, "{} rows were found", table.len());
    let mut wrong = Vec::new();
    for row in &table {
        let [name, expected, ..] = &row[..] else { panic!("four cells: {row:?}") };
        let (file, bytes) = inputs::input(name).unwrap_or_else(|| panic!("there is no input called {name}"));
        let found = posted(file, &bytes);
        if found != *expected {
            wrong.push(format!("{name}: {found}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
