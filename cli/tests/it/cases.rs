//! Files that others made, as far as they are beside the repository: one folder with input and contract for each kind.

use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::pinlake_with;

/// What has to become of the files of a folder.
struct Case {
    folder: &'static str,
    /// The files of each load, one load after the other.
    loads: &'static [&'static [&'static str]],
    /// The lines of the last column of the contract, if not those of the folder.
    rules: Option<&'static str>,
    expected: Expected,
}

enum Expected {
    /// The rows of the table, in the order of the first column, and how many records are in quarantine.
    Rows(Value, u64),
    /// The exit code is 1, and the message has these words.
    Refused(&'static [&'static str]),
    /// The exit code is 0, and a note on stderr has these words.
    Said(&'static [&'static str]),
}

use Expected::{Refused, Rows, Said};

const PLAIN: &[&str] = &["input/t.parquet"];
const CSV: &[&str] = &["input/t.csv"];
const NDJSON: &[&str] = &["input/t.ndjson"];

/// Folders that other tests cover, or that need another program.
const ELSEWHERE: [(&str, &str); 6] = [
    ("01a-after-delta-rs-delete", "needs deltalake"),
    ("01b-after-polars-append", "needs polars"),
    ("01c-after-spark-int96-append", "needs pyarrow"),
    ("28-http-data-and-apis", "requests"),
    ("hostile", "tests/hostile_files.rs"),
    ("http", "requests"),
];

fn cases() -> Vec<Case> {
    let new = |folder, loads, expected| Case { folder, loads, rules: None, expected };
    let with = |folder, rules, loads, expected| Case { folder, loads, rules: Some(rules), expected };
    let ab = || json!([[1, "a"], [2, "b"]]);
    let dates = ["01/01/09", "02/01/09", "03/01/09", "04/01/09"];
    let plain: Vec<Value> = (0..8).map(|id| json!([id, (id % 2).to_string(), dates[id / 2]])).collect();
    let log: Vec<Value> = (0..8).map(|id| json!([id, "a", "2022-01-31T06:00:00Z"])).collect();
    let phone = |kind: Option<&str>, number: i64| json!({"kind": kind, "number": number});
    let phones = |phones: &[Value]| json!({ "phone": phones }).to_string();
    let home = phone(Some("home"), 1_111_111_111);
    let refused_number = |folder, rules, expected| with(folder, rules, &[CSV], Rows(expected, 3));
    vec![
        new(
            "02-parquet-binary-column",
            &[PLAIN],
            Rows(json!([[1, "AQI="], [2, "aGVsbG8gd28="], [3, "/wD/"]]), 0),
        ),
        new("03-parquet-text-without-utf8", &[&["input/alltypes_plain.parquet"]], Rows(json!(plain), 0)),
        new("07-sink-keys-and-headers", &[&["input/topics"]], Rows(ab(), 0)),
        new("08-folder-is-a-delta-table", &[&["input/src"]], Refused(&["is a Delta table"])),
        new(
            "11-parquet-uuid",
            &[&["input/t.ndjson", "input/t.parquet"]],
            Rows(json!([[1, "fbe53c66-3442-4773-b19e-d3ec6f54dddf"]]), 0),
        ),
        new("12-parquet-map-with-int-keys", &[PLAIN], Rows(json!([[1], [2]]), 0)),
        new(
            "13-parquet-typed-times",
            &[PLAIN],
            Rows(json!([[1, "2020-08-28T00:00:00Z", "2020-08-28", "2020-08-28T03:52:47Z"]]), 0),
        ),
        new(
            "15-unix-seconds-of-python",
            &[NDJSON],
            Rows(
                json!([
                    [1, "2025-11-27T23:41:31.732906Z"],
                    [2, "2020-08-28T03:52:47.123456Z"],
                    [3, "2025-11-27T23:41:31.732907Z"]
                ]),
                0,
            ),
        ),
        new("16a-latin1-header", &[CSV], Refused(&["its header is not UTF-8", "encoding = "])),
        new("16b-decomposed-header", &[CSV], Rows(json!([[1, "x"]]), 0)),
        new("17a-zip", &[&["input/t.zip"]], Rows(json!([[1, "a"], [2, "b"], [3, "c"]]), 0)),
        new("17b-tar-gz", &[&["input/t.tar.gz"]], Refused(&["it is a tar archive"])),
        new("17c-bz2-and-xz", &[&["input/t.ndjson.bz2", "input/u.ndjson.xz"]], Rows(ab(), 0)),
        new("17d-pzstd", &[&["input/t.ndjson.zst"]], Rows(ab(), 0)),
        new("17e-avro", &[&["input/t.avro"]], Refused(&["it is an Avro file"])),
        new("17f-parquet-encrypted", &[PLAIN], Refused(&["encrypted"])),
        new("17g-utf16", &[&["input/t.csv", "input/u.json"]], Rows(json!([[1, "Zoë"], [2, "b"]]), 0)),
        new(
            "19-header-again",
            &[&["input/t.csv", "input/u.csv.gz"]],
            Rows(json!([["Ana", "Rome"], ["Bo", "Oslo"], ["Cy", "Bern"], ["Di", "Bonn"]]), 0),
        ),
        new(
            "20-parquet-footer-says-0-rows",
            &[&["input/repeated_no_annotation.parquet"]],
            Rows(
                json!([
                    [1, null],
                    [2, null],
                    [3, phones(&[])],
                    [4, phones(&[phone(None, 5_555_555_555)])],
                    [5, phones(std::slice::from_ref(&home))],
                    [6, phones(&[home, phone(None, 2_222_222_222), phone(Some("mobile"), 3_333_333_333)])]
                ]),
                0,
            ),
        ),
        new(
            "21-log-has-a-tmp-folder",
            &[&["input/a.ndjson"], &["input/b.ndjson"], &["input/b.ndjson"]],
            Rows(json!(log), 0),
        ),
        new("22-pipe", &[NDJSON], Rows(ab(), 0)),
        new("23a-semicolon", &[CSV], Refused(&["`id;name;amount`", "Is the delimiter another?"])),
        new(
            "23b-tab-and-pipe-and-sep",
            &[&["input/v.csv", "input/t.csv", "input/u.csv", "input/w.txt"]],
            Refused(&["delimiter = \"\\t\"", "delimiter = \"|\""]),
        ),
        new(
            "24-hive-partition-values",
            &[&["input/out"]],
            Rows(json!([[1, "a", "Chile"], [2, "a", "Peru"]]), 0),
        ),
        new(
            "25a-booleans-of-databases",
            &[CSV],
            Rows(json!([[1, true], [2, false], [3, true], [4, false], [5, true]]), 0),
        ),
        refused_number(
            "25b-numbers-of-locales",
            "locale = \"en\"\nremove_prefix = \"$\"",
            json!([[1, 1234.56], [4, 12.5]]),
        ),
        refused_number("25b-numbers-of-locales", "locale = \"de\"", json!([[2, 1234.56], [3, 3.5]])),
        refused_number(
            "25b-numbers-of-locales",
            "locale = \"en\"\nremove_suffix = \"%\"",
            json!([[1, 1234.56], [5, 12.0]]),
        ),
        // A leap second and 24:00 are times that no clock has.
        with(
            "25c-times",
            "formats = [\"%Y-%m-%d %H:%M:%S\", \"%Y-%m-%dT%H:%M:%S\", \"%Y-%m-%dT%H:%M\", \"%Y-%m-%d\"]",
            &[NDJSON],
            Rows(
                json!([
                    [0, "2020-08-28T03:52:47.123Z"],
                    [1, "2020-08-28T03:52:00Z"],
                    [2, "2020-08-28T00:00:00Z"],
                    [5, "2020-08-28T01:52:47Z"],
                    [6, "2020-08-28T01:52:47Z"],
                    [7, "2020-08-28T03:52:47.123456Z"]
                ]),
                2,
            ),
        ),
        new("25d-nested-fields", &[NDJSON], Rows(json!([[1, "Chile"]]), 0)),
        new(
            "26-json-in-a-text-cell",
            &[CSV],
            Rows(json!([[1, "{\"a\":1}", null], [2, "[1]", null], [3, null, ["x", "y"]]]), 0),
        ),
        new(
            "29-nothing-read-nothing-said",
            &[&["input/a.csv", "input/b.json", "input/c.parquet"]],
            Said(&["a.csv holds no record", "b.json holds no record", "c.parquet holds no record"]),
        ),
        new(
            "30-parquet-dict-page-offset-zero",
            &[&["input/dict-page-offset-zero.parquet"]],
            Rows(json!(vec![[1552]; 39]), 0),
        ),
    ]
}

/// The folder `shared/cases` beside the repository, or above it.
fn find_cases() -> Option<PathBuf> {
    let above = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    above.map(|folder| folder.join("shared/cases")).find(|folder| folder.is_dir())
}

#[tokio::test]
async fn files_of_others_give_what_they_mean() {
    let Some(root) = find_cases() else {
        println!("skipped: there is no folder shared/cases beside the repository");
        return;
    };
    let cases = cases();
    for entry in std::fs::read_dir(&root).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let is_covered = cases.iter().any(|case| case.folder == name)
            || ELSEWHERE.iter().any(|(folder, _)| *folder == name);
        assert!(is_covered, "{name} has no expectation here");
    }
    for case in cases {
        let folder = root.join(case.folder);
        if folder.is_dir() {
            check_case(&case, &folder).await;
        } else {
            println!("skipped: there is no folder shared/cases/{}", case.folder);
        }
    }
}

async fn check_case(case: &Case, folder: &Path) {
    let name = case.folder;
    let work = TempDir::new().unwrap();
    std::os::unix::fs::symlink(folder.join("input"), work.path().join("input")).unwrap();
    std::fs::create_dir(work.path().join("contract")).unwrap();
    let contract = std::fs::read_to_string(folder.join("contract/t.toml")).unwrap();
    let contract = format!("{}\n{}\n", contract.trim_end(), case.rules.unwrap_or_default());
    std::fs::write(work.path().join("contract/t.toml"), contract).unwrap();
    std::fs::create_dir(work.path().join("queries")).unwrap();
    let by_first = "SELECT * FROM t ORDER BY 1";
    std::fs::write(work.path().join("queries/t.sql"), by_first).unwrap();

    let settings = [("PINLAKE_DATASETS", "contract")];
    let mut last = None;
    for files in case.loads {
        let dataset: &[&str] = if files.contains(&"input/topics") { &[] } else { &["--dataset", "t"] };
        let args = [&["load", "--lake", "lake"], dataset, files].concat();
        last = Some(pinlake_with(work.path(), &settings, &args).await);
    }
    let ran = last.unwrap();
    let has_words = |words: &[&str]| {
        words.iter().for_each(|word| assert!(ran.stderr.contains(word), "{name}: {}", ran.stderr))
    };
    match &case.expected {
        Rows(rows, quarantined) => {
            assert_eq!(ran.code, Some(0), "{name}: {}", ran.stderr);
            let args = ["analyse", "--lake", "lake", "--queries", "queries", "--format", "json"];
            let analysed = pinlake_with(work.path(), &settings, &args).await;
            assert_eq!(analysed.code, Some(0), "{name}: {}", analysed.stderr);
            let mut results: Value = serde_json::from_str(&analysed.stdout).unwrap();
            // A table whose rows are identified by their record stores keys.
            if results["t"]["columns"].as_array().unwrap().last() == Some(&json!("_key")) {
                for row in results["t"]["rows"].as_array_mut().unwrap() {
                    row.as_array_mut().unwrap().pop();
                }
            }
            assert_eq!(results["t"]["rows"], *rows, "{name}");
            let counts = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
            let found: u64 = counts.map(|counts| counts["quarantined"].as_u64().unwrap()).sum();
            assert_eq!(found, *quarantined, "{name}");
        }
        Refused(words) => {
            assert_eq!(ran.code, Some(1), "{name}: {}", ran.stderr);
            has_words(words);
            assert!(!work.path().join("lake/tables/quarantine").exists(), "{name}: rows are quarantined");
        }
        Said(words) => {
            assert_eq!(ran.code, Some(0), "{name}: {}", ran.stderr);
            has_words(words);
        }
    }
}
