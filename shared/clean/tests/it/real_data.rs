//! Real rows of the sources. The files are not part of the repository; without them the tests are skipped.

use std::collections::HashSet;
use std::path::PathBuf;

use pinlake_clean::record_reader::{ReadLimits, RecordReader};
use serde_json::json;

use super::*;

fn real(name: &str) -> Option<PathBuf> {
    let path = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../../shared")).join(name);
    if !path.exists() {
        println!("skipped: there is no {}", path.display());
        return None;
    }
    Some(path)
}

fn load(path: &PathBuf) -> Vec<CleanedRows> {
    let catalog = contracts();
    let name = path.file_name().expect("file").to_string_lossy().into_owned();
    let hint = catalog.route_file(&name).map(|contract| contract.name.clone());
    let mut cleaner = new_cleaner(catalog);
    let file = std::fs::File::open(path).expect("readable");
    let mut records = RecordReader::from_file(&name, file, ReadLimits::default()).expect("readable");
    while let Some(record) = records.next().expect("readable") {
        assert_eq!(record.error, None);
        cleaner.push(record.bytes, hint.as_deref(), &line(record.position));
    }
    cleaner.drain()
}

fn nulls(cleaned: &CleanedRows, column: &str) -> usize {
    cleaned.rows.column_by_name(column).expect("column").null_count()
}

#[test]
fn pins() {
    let Some(path) = real("data/pin_raw.ndjson") else {
        return;
    };
    let cleaned = load(&path);
    assert_eq!((cleaned.len(), cleaned[0].contract.name.as_str(), cleaned[0].read), (1, "pin", 2247));
    let found: Vec<(&str, usize)> =
        ["title", "description", "follower_count", "poster_name", "tag_list", "image_src"]
            .into_iter()
            .map(|column| (column, nulls(&cleaned[0], column)))
            .collect();
    assert_eq!(
        found,
        [
            ("title", 16),
            ("description", 190),
            ("follower_count", 16),
            ("poster_name", 16),
            ("tag_list", 26),
            ("image_src", 41)
        ]
    );
    let rows = rows(&cleaned[0].rows);
    assert!(
        rows.iter()
            .all(|row| { row["save_location"].as_str().is_some_and(|path| path.starts_with("/data/")) })
    );
    assert_eq!(rows.iter().filter_map(|row| row["follower_count"].as_i64()).max(), Some(15_000_000));
    let distinct: HashSet<String> = keys(&cleaned[0].rows).into_iter().collect();
    assert_eq!(distinct.len(), 2247);
}

#[test]
fn dirty_pins() {
    let Some(path) = real("data/dirty_pin_samples.ndjson") else {
        return;
    };
    let cleaned = load(&path);
    assert_eq!((cleaned.len(), cleaned[0].read), (1, 30));
    let first = &rows(&cleaned[0].rows)[0];
    assert_eq!(
        (&first["ind"], &first["poster_name"], &first["image_src"]),
        (&json!(7528), &json!(null), &json!(null))
    );
    let distinct: HashSet<String> = keys(&cleaned[0].rows).into_iter().collect();
    assert_eq!(distinct.len(), 29, "one pin occurs twice");
}

#[test]
fn geolocations_and_users() {
    for (file, dataset, first) in [
        (
            "data/geolocation_data.csv",
            "geo",
            json!({"ind": 0, "country": "Albania", "coordinates": [-88.8298, -170.188], "timestamp": "2019-01-01T07:21:13Z"}),
        ),
        (
            "data/user_data.csv",
            "user",
            json!({"ind": 0, "user_name": "Adam Acosta", "age": 20, "date_joined": "2015-10-21T21:26:45Z"}),
        ),
    ] {
        let Some(path) = real(file) else { continue };
        let cleaned = load(&path);
        assert_eq!((cleaned.len(), cleaned[0].contract.name.as_str(), cleaned[0].read), (1, dataset, 11_154));
        assert_eq!(rows(&cleaned[0].rows)[0], first);
        for column in cleaned[0].contract.columns.iter() {
            assert_eq!(nulls(&cleaned[0], &column.name), 0, "{}", column.name);
        }
        let distinct: HashSet<String> = keys(&cleaned[0].rows).into_iter().collect();
        assert_eq!(distinct.len(), 11_154);
    }
}

/// The clean rows that the author of a pipeline published, compared with those that the cleaner returns for the same raw rows.
#[test]
fn published_clean_rows() {
    for dataset in ["pin", "geo", "user"] {
        let (Some(raw), Some(clean)) = (
            real(&format!("golden/AdamBreeze1/{dataset}_raw.ndjson")),
            real(&format!("golden/AdamBreeze1/{dataset}_clean.ndjson")),
        ) else {
            continue;
        };
        let cleaned = load(&raw);
        assert_eq!((cleaned.len(), cleaned[0].contract.name.as_str()), (1, dataset));
        let own = rows(&cleaned[0].rows);
        let published: Vec<Value> = std::fs::read_to_string(&clean)
            .expect("readable")
            .lines()
            .map(|line| serde_json::from_str(line).expect("JSON"))
            .collect();
        let ind = |row: &Value| row["ind"].to_string().replace('"', "");
        for theirs in &published {
            let ours =
                own.iter().find(|row| ind(row) == ind(theirs)).unwrap_or_else(|| panic!("no {theirs}"));
            for (column, cell) in theirs.as_object().expect("row").iter().filter(|(_, cell)| !cell.is_null())
            {
                let cell = cell.as_str().expect("a published cell is a string");
                let rule =
                    cleaned[0].contract.columns.iter().find(|own| own.name == *column).expect("column");
                if ours[column].is_null() && rule.null.iter().any(|marker| marker == cell) {
                    // The published rows still contain some of the texts that mean null.
                    continue;
                }
                let ours = match (column.as_str(), &ours[column]) {
                    ("timestamp" | "date_joined", Value::String(time)) => time.replace('Z', ".000+0000"),
                    ("coordinates", Value::Array(pair)) => format!("List({}, {})", pair[0], pair[1]),
                    (_, Value::String(text)) => text.clone(),
                    (_, other) => other.to_string(),
                };
                assert_eq!(ours, cell, "{dataset} {} {column}", ind(theirs));
            }
        }
    }
}
