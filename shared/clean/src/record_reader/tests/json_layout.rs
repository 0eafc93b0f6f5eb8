//! The records of a JSON file do not depend on its first line.

use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use super::super::{ReadLimits, RecordReader};
use super::{all, read_with_buffer};

#[test]
fn objects_may_be_on_one_line_and_on_several() {
    let pretty = "{\n  \"a\": {\n    \"b\": [1, 2]\n  }\n}\n";
    let compact = "{\"a\": 1}\n";
    assert_eq!(
        all("x.json", format!("{compact}{compact}{pretty}{compact}{pretty}")),
        [
            "1:{\"a\": 1}",
            "2:{\"a\": 1}",
            "3:{\n  \"a\": {\n    \"b\": [1, 2]\n  }\n}",
            "8:{\"a\": 1}",
            "9:{\n  \"a\": {\n    \"b\": [1, 2]\n  }\n}"
        ]
    );
    // A name of lines does not make an object one line long.
    assert_eq!(all("x.ndjson", pretty.repeat(2)).len(), 2);
}

#[test]
fn arrays_may_follow_each_other() {
    let records = ["1:{\"a\":1}", "1:{\"a\":2}", "2:{\"a\":3}", "4:{\"a\":4}", "4:{\"a\":5}"];
    let text = "[{\"a\":1},{\"a\":2}]\n[{\"a\":3}]\n[]\n[{\"a\":4}][{\"a\":5}]\n";
    assert_eq!(all("x.json", text), records);
    assert_eq!(all("x.json", format!("{text}{{\"a\":6}}\n{{\"a\":7}}")).len(), 7);
    // As lines they are left to who cleans them, as on a stream.
    assert_eq!(all("x.ndjson", text).len(), 4);
    let broken = all("x.json", "[{\"a\":1}] x\n[{\"a\":2}]");
    assert_eq!(broken, ["1:{\"a\":1}", "1:x\n[{\"a\":2}]!malformed_json"]);
}

#[test]
fn the_first_object_may_be_long() {
    let long = format!("{{\"a\": \"{}\"}}", "h".repeat(900_000));
    for rest in ["{\"a\":1}{\"a\":2}", "\n{\"a\":1}\n{\"a\":2}\n", "\n{\n\"a\":1\n}\n{\n \"a\":2}"] {
        assert_eq!(all("x.json", format!("{long}{rest}")).len(), 3, "{rest}");
        assert_eq!(
            all("x.json", format!("{{\"a\":0}}\n{long}{rest}").replace("{\"a\":2}", "{\n\"a\":2\n}")).len(),
            4
        );
    }
}

#[test]
fn a_broken_value_ends_where_a_line_begins_with_a_bracket() {
    for (text, found) in [
        (
            "{\n \"a\": 1\n}\n{\n \"a\": \"cut\n{\n \"a\": 3\n}\n",
            vec!["1:{\n \"a\": 1\n}", "4:{\n \"a\": \"cut!malformed_json", "6:{\n \"a\": 3\n}"],
        ),
        ("{\n \"a\": [1}\n}\n{\"a\": 2}\n", vec!["1:{\n \"a\": [1}\n}!malformed_json", "4:{\"a\": 2}"]),
        ("{\n \"a\": 1\n}\n]\n{\"a\": 2}\n", vec!["1:{\n \"a\": 1\n}", "4:]!malformed_json", "5:{\"a\": 2}"]),
        ("{\n \"a\": 1", vec!["1:{\n \"a\": 1!malformed_json"]),
    ] {
        assert_eq!(all("x.json", text), found, "{text:?}");
    }
}

#[test]
fn a_bracket_left_open_on_each_line_ends_soon() {
    let found = all("x.json", "{\n".repeat(1 << 20));
    assert!(found.iter().all(|record| record.ends_with("!malformed_json")));
    assert!(found.len() < 20_000, "{}", found.len());
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default()
    })]

    #[test]
    fn order_and_layout_change_no_record(
        order in proptest::collection::vec(
            (proptest::sample::select(vec![0_usize, 1, 2, 3, 4, 5]), 0_usize..4), 1..12),
        buffer_bytes in proptest::sample::select(vec![0_usize, 16, 100, 4096, 1 << 20]),
    ) {
        let values = [
            serde_json::json!({}),
            serde_json::json!({"a": 1}),
            serde_json::json!({"a": {"b": [1, {"c": "}\n{"}]}}),
            serde_json::json!({"s": "\"quoted\" \\ {[", "t": null}),
            serde_json::json!({"long": "x".repeat(300)}),
            serde_json::json!({"list": [[], {}, [{"d": 1}]]}),
        ];
        let mut text = String::new();
        let mut expected = Vec::new();
        for (value, layout) in order {
            let value = &values[value];
            text.push_str(&match layout {
                0 | 1 => serde_json::to_string(value).unwrap(),
                _ => serde_json::to_string_pretty(value).unwrap(),
            });
            text.push_str(if layout == 3 { "\r\n\n" } else { "\n" });
            expected.push(value.clone());
        }
        let records = RecordReader::from_bytes("x.json", text.clone().into(), ReadLimits::default()).unwrap();
        let (found, error, _) = read_with_buffer(records, buffer_bytes);
        prop_assert!(error.is_none());
        let found: Vec<serde_json::Value> = found
            .iter()
            .map(|record| serde_json::from_str(record.split_once(':').unwrap().1).unwrap_or_default())
            .collect();
        prop_assert_eq!(found, expected, "{}", text);
    }
}
