//! Records at a path inside JSON documents.

use bytes::Bytes;
use pinlake_schema::Catalog;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::super::{FileContract, ReadLimits, ReadOptions, RecordReader};
use super::{Pieces, read_rest};
use crate::find_nested_records;

/// The records of a JSON file whose contract has the path, read in pieces of at most `most` bytes.
fn read(path: &str, text: &str, limits: ReadLimits, most: usize) -> Vec<String> {
    let contract = format!(
        "name = \"t\"\nversion = 1\n[file]\nrecords = \"{path}\"\n[[column]]\nname = \"a\"\ntype = \"int64\"\n"
    );
    let catalog = Catalog::from_files([("t.toml".to_owned(), contract)]).expect("a contract");
    let contract = FileContract::new(&catalog, Some("t"), "x.json");
    let options = ReadOptions::from(limits).with_contract(contract);
    let input = Pieces { left: Bytes::from(text.to_owned()), most };
    read_rest(RecordReader::from_read("x.json", input, options).expect("readable")).expect("readable")
}

fn all(path: &str, text: &str) -> Vec<String> {
    let found = read(path, text, ReadLimits::default(), usize::MAX);
    for most in [1, 3] {
        assert_eq!(read(path, text, ReadLimits::default(), most), found, "{most} bytes at a time");
    }
    found
}

#[test]
fn records_inside_documents_are_read() {
    for (path, text, expected) in [
        (
            "Records[]",
            "{\"v\": {\"Records\": [7]}, \"Records\": [\n{\"a\": 1},\n {\"a\": [2]} ], \"n\": null}",
            vec!["2:{\"a\": 1}", "3:{\"a\": [2]}"],
        ),
        // Several documents: one a line, one behind the other, and as an array.
        (
            "Records[]",
            "{\"Records\":[{\"a\":1}]}\n{\"Records\":[]}{\"Records\":null}\n{\"Records\":{\"a\":2}}\n",
            vec!["1:{\"a\":1}", "3:{\"a\":2}"],
        ),
        (
            "r[].s[]",
            "[{\"r\":[{\"s\":[{\"a\":1},{\"a\":2}]},{\"s\":[]}]},\n{\"r\":[]}, {\"r\":[{\"x\":1}]}]",
            vec!["1:{\"a\":1}", "1:{\"a\":2}", "2:{\"x\":1}"],
        ),
        // So is an element without the rest of the path. One element need not be in an array.
        (
            "r[].s[]",
            "{\"r\":[{\"s\":[{\"a\":1}]},\n{ \"x\": [2] }, 7,{\"s\":null}, {\"s\":8}]}{\"r\":{\"s\":{\"a\":3}}}{\"r\":{\"x\":4}}{\"r\":null}",
            vec!["1:{\"a\":1}", "2:{\"x\":[2]}", "2:7", "2:{\"s\":8}", "2:{\"a\":3}", "2:{\"x\":4}"],
        ),
        // A document without the path is a record itself.
        (
            "Records[]",
            "{ \"a\": 1 }\n{\"Records\": 7,\n \"b\": \"x y\"}\n5 \"x\"\n",
            vec!["1:{\"a\":1}", "2:{\"Records\":7,\"b\":\"x y\"}", "4:5", "4:\"x\""],
        ),
        ("Records[]", "{\"Records\":nil}", vec!["1:{\"Records\":nil}"]),
        // What is broken is a record with an error, and the next line goes on.
        (
            "Records[]",
            "{\"Records\":[{\"a\":1} {\"a\":2}]}\n{\"Records\":[{\"a\":3}]}\n",
            vec!["1:{\"a\":1}", "1:{\"a\":2}]}!malformed_json", "2:{\"a\":3}"],
        ),
        (
            "Records[]",
            "{\"x\" 1}\n{\"Records\":[{\"a\":1]}\n{\"Records\":[{\"a\":3}]}\n",
            vec!["1:{\"x\"1}!malformed_json", "2:{\"a\":1]}!malformed_json", "3:{\"a\":3}"],
        ),
        ("Records[]", "{\"Records\":[{\"a\":1}", vec!["1:{\"a\":1}", "1:{!malformed_json"]),
        ("Records[]", "{\"Records\"", vec!["1:{\"Records\"!malformed_json"]),
        ("Records[]", "", vec![]),
    ] {
        assert_eq!(all(path, text), expected, "{text}");
    }
}

#[test]
fn a_document_may_be_longer_than_a_record() {
    let limits = ReadLimits { max_record_bytes: 100, ..ReadLimits::default() };
    let rows: Vec<String> = (0..1000).map(|row| format!("{{\"a\":{row}}}")).collect();
    let note = "n".repeat(5000);
    let text = format!("{{\"note\":\"{note}\",\"Records\":[{}],\"end\":\"{note}\"}}", rows.join(","));
    let expected: Vec<String> = rows.iter().map(|row| format!("1:{row}")).collect();
    assert_eq!(read("Records[]", &text, limits, 64), expected);
    // Without the path it is too large, and the next one is read.
    let found = read("Records[]", &format!("{{\"note\":\"{note}\"}}\n{{\"Records\":[7]}}"), limits, 64);
    assert!(found[0].starts_with("1:{\"note\":\"nnn") && found[0].ends_with("!too_large"), "{}", found[0]);
    assert_eq!(found[1..], ["2:7"]);
}

proptest! {
    #![proptest_config(ProptestConfig {
        failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default()
    })]

    /// A file has the records that a message has.
    #[test]
    fn files_and_messages_have_the_same_records(tokens in proptest::collection::vec(proptest::sample::select(vec![
        "{", "}", "[", "]", ",", ":", "\"r\"", "\"s\"", "\"r\":[", "\"s\":[", "{\"r\":[{\"s\":[", "1", "null", "{}", "\"x\"", "{\"x\":1}",
    ]), 0..16)) {
        let text = tokens.concat();
        let path = "r[].s[]";
        let streamed = all(path, &text);
        let parsed = pinlake_schema::records_path::RecordsPath::parse(path).unwrap();
        if let Some(found) = find_nested_records(text.as_bytes(), &parsed) {
            let found: Vec<_> = found.iter().map(|record| format!("1:{}", String::from_utf8_lossy(record))).collect();
            prop_assert_eq!(streamed, found);
        }
    }
}
