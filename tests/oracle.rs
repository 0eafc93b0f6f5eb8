//! Compares `pinlake load` and `pinlake analyse` with `oracle/answers.py`, which computes the counts of every dataset,
//! the ten results, and those of `examples/notebook-queries/` without any of our code.

use std::{collections::BTreeSet, env, fs, path::Path, process::Command};

use serde_json::Value;

use crate::program::{analyse, beside, load, output, pinlake, repository};

/// A script of `oracle/`.
pub fn python(script: &str) -> Command {
    let mut command = Command::new(env::var_os("PYTHON").unwrap_or_else(|| "python3".into()));
    command.arg(repository("tests/oracle").join(script));
    command
}

fn from_oracle(rows: &Path, options: &[&str]) -> Value {
    serde_json::from_str(&output(python("answers.py").arg(rows).args(options))).unwrap()
}

/// Loads the three files of a folder twice and compares counts and results. Returns the counts.
fn agrees_with_the_oracle(rows: &Path) -> Value {
    let lake = tempfile::tempdir().unwrap();
    let files = ["pin", "geo", "user"].map(|dataset| rows.join(dataset).with_extension("ndjson"));
    let expected = from_oracle(rows, &["--counts"]);

    let loaded = load(lake.path(), &[], &files);
    for (dataset, counts) in expected.as_object().unwrap() {
        for (count, n) in counts.as_object().unwrap() {
            assert_eq!(&loaded[dataset][count], n, "{count} of {dataset}: {}", loaded[dataset]);
        }
    }
    let results = analyse(lake.path(), &[]);
    assert_same(&results, &from_oracle(rows, &[]));
    variants_agree_with_the_oracle(lake.path(), rows);

    let again = load(lake.path(), &[], &files);
    for (dataset, counts) in &again {
        assert_eq!(counts["inserted"], 0, "{dataset}");
        assert_eq!(
            counts["quarantined"], loaded[dataset]["quarantined"],
            "{dataset}: invalid rows count each time"
        );
        let valid = counts["read"].as_u64().unwrap() - counts["quarantined"].as_u64().unwrap();
        assert_eq!(counts["duplicates"], valid, "{dataset}");
    }
    assert_eq!(analyse(lake.path(), &[]), results, "loading again changes neither rows nor versions");
    expected
}

/// Runs each folder of variants as a query set.
fn variants_agree_with_the_oracle(lake: &Path, rows: &Path) {
    let folder = repository("examples/notebook-queries");
    let expected = from_oracle(rows, &["--variants"]);
    let expected = expected.as_object().unwrap();
    let there = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    assert_eq!(there.collect::<BTreeSet<_>>(), expected.keys().cloned().collect());
    for (name, expected) in expected {
        let queries = folder.join(name);
        assert_same(&analyse(lake, &["--queries".as_ref(), queries.as_os_str()]), expected);
    }
}

/// Compares columns and rows of every result, and names the first cell that differs.
fn assert_same(ours: &Value, theirs: &Value) {
    let (ours, theirs) = (ours.as_object().unwrap(), theirs.as_object().unwrap());
    assert_eq!(ours.keys().collect::<Vec<_>>(), theirs.keys().collect::<Vec<_>>());
    for (name, our) in ours {
        let their = &theirs[name];
        assert_eq!(our["columns"], their["columns"], "{name}");
        let (our_rows, their_rows) = (our["rows"].as_array().unwrap(), their["rows"].as_array().unwrap());
        for (at, (our_row, their_row)) in our_rows.iter().zip(their_rows).enumerate() {
            assert_eq!(our_row, their_row, "row {at} of {name}");
        }
        assert_eq!(our_rows.len(), their_rows.len(), "rows of {name}");
    }
}

fn generate(rows: u64, options: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    output(pinlake().args(["generate", "--rows", &rows.to_string(), "--out"]).arg(dir.path()).args(options));
    dir
}

#[test]
fn generated_rows_with_duplicates_and_dirty_rows() {
    let rows =
        generate(3_000, &["--duplicates", "0.3", "--dirty", "0.1", "--malformed", "0.02", "--seed", "7"]);
    let counts = agrees_with_the_oracle(rows.path());
    for dataset in ["pin", "geo", "user"] {
        for count in ["inserted", "duplicates", "quarantined"] {
            assert!(counts[dataset][count].as_u64().unwrap() > 50, "too few {count} of {dataset} to test");
        }
    }
}

#[test]
fn every_generated_row_dirty() {
    let rows = generate(400, &["--dirty", "1", "--seed", "11"]);
    agrees_with_the_oracle(rows.path());
}

#[test]
fn the_first_five_draws_of_the_stock_client() {
    let Some(data) = beside("data") else { return };
    let rows = tempfile::tempdir().unwrap();
    output(python("stock_client.py").arg(&data).arg(rows.path()).arg("5"));
    agrees_with_the_oracle(rows.path());
}

#[test]
fn the_first_thousand_draws_of_the_stock_client() {
    let Some(data) = beside("data") else { return };
    let rows = tempfile::tempdir().unwrap();
    output(python("stock_client.py").arg(&data).arg(rows.path()).arg("1231"));
    let counts = agrees_with_the_oracle(rows.path());
    assert_eq!(counts["pin"]["duplicates"], 65, "the client draws some rows twice");
}

#[test]
fn rows_in_formats_that_real_clients_have_not_sent() {
    let rows = tempfile::tempdir().unwrap();
    let pins = [
        r#"{"index": 1, "follower_count": "1.2k", "poster_name": "a", "category": "art"}"#,
        r#"{"ind": 1, "follower_count": "2B", "poster_name": "a", "category": "art"}"#,
        r#"{"index": "2", "follower_count": "15M", "poster_name": null, "category": null}"#,
        r#"{"index": 3, "follower_count": 7, "category": "é"}"#,
        r#"{"index": 3, "follower_count": 8, "category": "z"}"#,
        r#"{"index": 4, "follower_count": "1.2345k"}"#,
        r#"{"index": 11, "tag_list": ["a", "b"], "category": "art"}"#,
        r#"{"index": 11, "tag_list": "a,b", "category": "art"}"#,
        r#"{"index": 12, "name": "Dan", "age": 25, "role": "engineer"}"#,
        r#"{"index": 5.5}"#,
        r#"{"index": true}"#,
        r#"{"index": 9223372036854775808}"#,
        r#"{"index": null, "title": "no number"}"#,
        r#"{"ind": 6, "latitude": 1.5, "longitude": 2.5, "country": "a geo row"}"#,
        r#"[1, 2]"#,
        r#"{"index": 7"#,
        "",
        r#"{"index": 7"#,
    ];
    let geos = [
        r#"{"ind": 1, "timestamp": "2018-01-01T00:00:00+01:00", "latitude": 1, "longitude": -0.0, "country": "B"}"#,
        r#"{"ind": 2, "timestamp": "12/31/2022, 23:59:59", "latitude": "1.5", "longitude": 2, "country": null}"#,
        r#"{"ind": 3, "timestamp": {"$date": "2020-02-29T00:00:00Z"}, "latitude": 1, "longitude": 2, "country": "É"}"#,
        r#"{"ind": 3, "timestamp": {"$date": 1582934400000}, "latitude": 1, "longitude": 2, "country": "É"}"#,
        r#"{"ind": 4, "timestamp": "2021-02-29 00:00:00", "latitude": 1, "longitude": 2, "country": "D"}"#,
        r#"{"ind": 9, "timestamp": null, "country": "E"}"#,
        r#"{"ind": 10, "timestamp": "2019:02:22 20:21:06", "latitude": 1, "longitude": 2, "country": "F"}"#,
        r#"{"ind": 10, "timestamp": "2019-02-22 20:21:06,000", "latitude": 1, "longitude": 2, "country": "F"}"#,
        r#"{"ind": 11, "name": "Dan", "age": 25, "role": "engineer"}"#,
    ];
    let users = [
        r#"{"ind": 1, "first_name": "A", "last_name": "B", "age": 17, "date_joined": "2015-12-31 23:59:59"}"#,
        r#"{"ind": 2, "first_name": "A", "last_name": null, "age": "51", "date_joined": "2020-01-01 00:00:00"}"#,
        r#"{"ind": 3, "first_name": "A", "last_name": "B", "age": 24.0, "date_joined": "2014-12-31 23:59:59"}"#,
        r#"{"index": 3, "first_name": "C", "last_name": "B", "age": 36, "date_joined": "2016-01-01 00:00:00"}"#,
        r#"{"ind": 4, "first_name": "A", "last_name": "B", "age": 24.5, "date_joined": "2016-01-01 00:00:00"}"#,
    ];
    for (dataset, lines) in [("pin", &pins[..]), ("geo", &geos[..]), ("user", &users[..])] {
        std::fs::write(rows.path().join(dataset).with_extension("ndjson"), lines.join("\n")).unwrap();
    }
    agrees_with_the_oracle(rows.path());
}
