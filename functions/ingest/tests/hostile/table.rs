//! Checks the column of `docs/hostile-input.md` about posting.

use serde_json::Value;

use super::{inputs, invariants};

/// Posts a file in the native protocol. Returns `200`, or a status and its error.
pub fn post_file(name: &str, bytes: &[u8]) -> String {
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
    let (response, records) = invariants::send(invariants::ENDPOINTS[0], media_type, encoding, bytes);
    let body: Value = serde_json::from_slice(response.body()).unwrap();
    match body["error"].as_str() {
        Some(error) => {
            assert!(records.is_empty());
            format!("{} {error}", response.status().as_u16())
        }
        None => response.status().as_u16().to_string(),
    }
}

#[test]
fn the_table_matches_the_responses() {
    let table = inputs::table();
    assert!(table.len() > 50, "{} rows were found", table.len());
    let mut wrong = Vec::new();
    for row in &table {
        let [name, expected, ..] = &row[..] else { panic!("four cells: {row:?}") };
        let (file, bytes) = inputs::input(name).unwrap_or_else(|| panic!("no input is called {name}"));
        let found = post_file(file, &bytes);
        if found != *expected {
            wrong.push(format!("{name}: {found}, not {expected}"));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
