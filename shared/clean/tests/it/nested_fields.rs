//! Fields inside nested objects, which contracts read by paths.

use std::sync::Arc;

use arrow::array::builder::{Float64Builder, Int64Builder, ListBuilder, StringBuilder, StructBuilder};
use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, Float64Array, Int64Array, StringArray, StructArray,
    TimestampMicrosecondArray,
};
use arrow::datatypes::{DataType, Field, Fields};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::typed_files::{catalog, clean, details, parquet, rows};
use crate::{contracts_of, evaluate};

const ORDER: &str = r#"
name = "t"
version = 1
[[column]]
name = "id"
type = "int64"
from = ["after.order_id", "before.order_id"]
required = true
[[column]]
name = "session"
type = "int64"
from = "params[key=session].value.int_value"
[[column]]
name = "tags"
type = "array<string>"
from = "after.tags"
[[column]]
name = "name"
type = "string"
join = ["after.first", "after.last"]
separator = " "
[[column]]
name = "rest"
type = "json"
from = "after.rest"
"#;

#[test]
fn values_are_found_in_nested_objects() {
    let catalog = contracts_of(&[ORDER]);
    let row = |id: &str, rest: &str| format!("clean t {{\"id\":{id},{rest}}}");
    let none = r#""session":null,"tags":null,"name":null,"rest":null"#;
    for (record, expected) in [
        (r#"{"after":{"order_id":1}}"#, row("1", none)),
        (r#"{"before":{"order_id":2},"after":null}"#, row("2", none)),
        (r#"{"before":{"order_id":2},"after":{"order_id":null}}"#, row("2", none)),
        // The last of two counts, on every level.
        (r#"{"after":{"order_id":1},"after":{"order_id":2}}"#, row("2", none)),
        (r#"{"after":{"order_id":1,"order_id":2}}"#, row("2", none)),
        // Similar names, unless the name itself is there.
        (r#"{"After":{"ORDER_ID":3}}"#, row("3", none)),
        (r#"{"after":{"ORDER_ID":3,"order_id":4,"Order_Id":5}}"#, row("4", none)),
        (r#"{"\u0061fter":{"order\u005fid":"7"}}"#, row("7", none)),
        // A field whose name is the whole path, and the path as the text of a cell.
        (r#"{"after.order_id":8,"after":{"order_id":9}}"#, row("8", none)),
        (r#"{"after":"{\"order_id\":\"1\\u0030\"}"}"#, row("10", none)),
        (
            r#"{"after":{"order_id":1,"first":"a\"","last":"é","tags":["x","\u0079"],"rest":{"b":1, "a":[]}}}"#,
            row("1", r#""session":null,"tags":["x","y"],"name":"a\" é","rest":"{\"a\":[],\"b\":1}""#),
        ),
        (
            r#"{"after":"{\"order_id\":1,\"first\":\"a\",\"tags\":[\"x\",\"\\u0079\"],\"rest\":{\"b\":1,\"a\":[]}}"}"#,
            row("1", r#""session":null,"tags":["x","y"],"name":"a","rest":"{\"a\":[],\"b\":1}""#),
        ),
        (
            r#"{"before":{"order_id":1},"params":[1,{"key":"page"},{"value":{"int_value":5},"key":"session"},{"key":"session","value":{"int_value":6}}]}"#,
            row("1", r#""session":5,"tags":null,"name":null,"rest":null"#),
        ),
        (r#"{"before":{"order_id":1},"params":{"key":"session","value":{"int_value":5}}}"#, row("1", none)),
        (r#"{"after":[{"order_id":1}]}"#, "t: nothing_found: the record has none of `after.order_id`, `before.order_id`, `params[key=session].value.int_value`, `after.tags`, `after.first`, `after.last`, `after.rest`".to_owned()),
        (r#"{"after":{"x":1}}"#, "t: nothing_found: the record has none of `after.order_id`, `before.order_id`, `params[key=session].value.int_value`, `after.tags`, `after.first`, `after.last`, `after.rest`".to_owned()),
        (r#"{"after":{"rest":1}}"#, "t: missing_required: id: there is no `after.order_id` or `before.order_id`".to_owned()),
        (r#"{"before":{"order_id":"x"}}"#, "t: wrong_type: id (from before.order_id): \"x\" is not an int64".to_owned()),
    ] {
        assert_eq!(evaluate(&catalog, record.as_bytes(), Some("t")), expected, "{record}");
    }
    let unpaired = evaluate(&catalog, br#"{"after":{"order_id":"\ud800"}}"#, Some("t"));
    assert!(unpaired.contains("malformed_json"), "{unpaired}");
    // What no column reads does no harm.
    let unread = evaluate(&catalog, br#"{"after":{"order_id":1,"x":"\ud800"}}"#, Some("t"));
    assert_eq!(unread, row("1", none));
}

#[test]
fn envelopes_shapes_and_other_contracts() {
    let catalog = contracts_of(&[
        ORDER,
        "name = \"other\"\nversion = 1\n[route]\nshape = [\"after.item.id\"]\n\
         [[column]]\nname = \"n\"\ntype = \"int64\"\nfrom = \"After.Item.ID\"\n",
        "name = \"plain\"\nversion = 1\n[route]\nshape = [\"a.b\"]\n\
         [[column]]\nname = \"x\"\ntype = \"int64\"\nfrom = \"a\\\\.b\"\n",
    ]);
    for (record, hint, expected) in [
        (r#"{"payload":{"after":{"order_id":1}}}"#, Some("t"), "clean t {\"id\":1"),
        (r#"{"after":{"item":{"id":3}}}"#, None, "clean other {\"n\":3}"),
        (r#"{"value":{"AFTER":{"item":{"id":3}}}}"#, None, "null: unroutable"),
        // The backslash makes the dot literal.
        (r#"{"a.b":1}"#, None, "clean plain {\"x\":1}"),
        (r#"{"a":{"b":1}}"#, None, "plain: nothing_found: the record has none of `a\\.b`"),
    ] {
        let found = evaluate(&catalog, record.as_bytes(), hint);
        assert!(found.starts_with(expected), "{record}: {found}");
    }
}

const TYPED: &str = r#"
name = "t"
version = 1
[[column]]
name = "id"
type = "int64"
from = "s.id"
[[column]]
name = "at"
type = "timestamp"
from = "s.in.at"
formats = ["unix_millis", "%Y-%m-%dT%H:%M:%S"]
[[column]]
name = "day"
type = "date"
from = "s.in.day"
[[column]]
name = "bytes"
type = "binary"
from = "s.bytes"
[[column]]
name = "number"
type = "float64"
from = "s.number"
[[column]]
name = "session"
type = "int64"
from = "params[key=session].value"
"#;

fn structure(members: Vec<(&str, ArrayRef)>) -> ArrayRef {
    let (fields, columns): (Vec<Field>, Vec<ArrayRef>) = members
        .into_iter()
        .map(|(name, values)| (Field::new(name, values.data_type().clone(), true), values))
        .unzip();
    Arc::new(StructArray::new(Fields::from(fields), columns, None))
}

fn params(session: i64) -> ArrayRef {
    let fields = Fields::from(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("value", DataType::Int64, true),
    ]);
    let mut list = ListBuilder::new(StructBuilder::from_fields(fields, 2));
    for (key, value) in [("page", 1), ("session", session)] {
        let element = list.values();
        element.field_builder::<StringBuilder>(0).unwrap().append_value(key);
        element.field_builder::<Int64Builder>(1).unwrap().append_value(value);
        element.append(true);
    }
    list.append(true);
    Arc::new(list.finish())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 100, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default()
    })]

    #[test]
    fn the_same_nested_record_has_one_key_in_every_format(
        id in any::<i64>(),
        micros in -60_000_000_000_000_000_i64..250_000_000_000_000_000,
        day in -700_000_i32..2_900_000,
        text in "[ -~ä€]{1,9}",
        number in -1e12_f64..1e12,
        session in any::<i64>(),
    ) {
        let catalog = catalog(TYPED);
        let at = format!("{:?}", chrono::DateTime::from_timestamp_micros(micros).unwrap().naive_utc());
        let date = chrono::NaiveDate::from_num_days_from_ce_opt(day + 719_163).unwrap().to_string();
        let bytes = BASE64.encode(&text);
        let s = serde_json::json!(
            {"id": id, "in": {"at": at, "day": date}, "bytes": bytes, "number": number, "unread": "\u{1F600}"}
        );
        let list = serde_json::json!([{"key": "page", "value": 1}, {"key": "session", "value": session}]);
        let ndjson = format!("{{\"s\":{s},\"params\":{list}}}\n");

        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(["s", "params"]).unwrap();
        csv.write_record([s.to_string(), list.to_string()]).unwrap();
        let mut flat = csv::Writer::from_writer(Vec::new());
        flat.write_record(["s.id", "s.in.at", "S.In.Day", "s.bytes", "s.number", "params"]).unwrap();
        flat.write_record([id.to_string(), at, date, bytes, number.to_string(), list.to_string()]).unwrap();

        let typed = parquet(vec![
            ("s", structure(vec![
                ("id", Arc::new(Int64Array::from(vec![id]))),
                ("in", structure(vec![
                    ("at", Arc::new(TimestampMicrosecondArray::from(vec![micros]))),
                    ("day", Arc::new(Date32Array::from(vec![day]))),
                ])),
                ("bytes", Arc::new(BinaryArray::from(vec![text.as_bytes()]))),
                ("number", Arc::new(Float64Array::from(vec![number]))),
                // What cannot be written does no harm if nobody reads it.
                ("unread", Arc::new(BinaryArray::from(vec![&b"\xff"[..]]))),
            ])),
            ("params", params(session)),
        ]);
        let expected = rows(&clean(&catalog, "t.ndjson", ndjson.into_bytes()));
        prop_assert_eq!(&rows(&clean(&catalog, "t.csv", csv.into_inner().unwrap())), &expected);
        prop_assert_eq!(&rows(&clean(&catalog, "t.csv", flat.into_inner().unwrap())), &expected);
        prop_assert_eq!(&rows(&clean(&catalog, "t.parquet", typed)), &expected);
    }
}

#[test]
fn a_member_of_a_structure_is_refused_if_it_is_read() {
    let contract = |column: &str| format!("name = \"t\"\nversion = 1\n[[column]]\nname = \"c\"\n{column}\n");
    let file = || {
        parquet(vec![(
            "s",
            structure(vec![
                ("x", Arc::new(Float64Array::from(vec![f64::NAN]))),
                ("y", Arc::new(StringArray::from(vec!["text"]))),
                ("b", Arc::new(BinaryArray::from(vec![&b"\xff"[..]]))),
            ]),
        )])
    };
    for (column, expected) in [
        ("type = \"string\"\nfrom = \"s.y\"", vec![]),
        ("type = \"float64\"\nfrom = \"s.x\"", vec!["out_of_range c (from s.x): NaN does not fit float64"]),
        ("type = \"float64\"\nfrom = \"s.x\"\nnull = [\"NaN\"]", vec![]),
        ("type = \"binary\"\nfrom = \"S.B\"", vec!["wrong_type"]),
        // As a whole it has a part that cannot be stored.
        ("type = \"json\"\nfrom = \"s\"", vec!["out_of_range"]),
    ] {
        let found = details(&clean(&catalog(&contract(column)), "t.parquet", file()));
        assert_eq!(found.len(), expected.len(), "{column}: {found:?}");
        for (found, expected) in found.iter().zip(expected) {
            assert!(found.starts_with(expected), "{column}: {found}");
        }
    }
}

#[test]
fn an_element_is_refused_if_it_is_read() {
    let contract = |column: &str| {
        format!("name = \"t\"\nversion = 1\n[[column]]\nname = \"id\"\ntype = \"int64\"\n{column}\n")
    };
    let numbers = |numbers: &[f64]| -> ArrayRef {
        let mut list = ListBuilder::new(Float64Builder::new());
        list.values().append_slice(numbers);
        list.append(true);
        Arc::new(list.finish())
    };
    let fields = Fields::from(vec![
        Field::new("key", DataType::Utf8, true),
        Field::new("value", DataType::Float64, true),
    ]);
    let mut params = ListBuilder::new(StructBuilder::from_fields(fields, 2));
    for (key, value) in [("a", f64::INFINITY), ("b", 2.0)] {
        let element = params.values();
        element.field_builder::<StringBuilder>(0).unwrap().append_value(key);
        element.field_builder::<Float64Builder>(1).unwrap().append_value(value);
        element.append(true);
    }
    params.append(true);
    let params: ArrayRef = Arc::new(params.finish());
    let file = || {
        parquet(vec![
            ("id", Arc::new(Int64Array::from(vec![1]))),
            ("l", numbers(&[1.5, f64::NAN])),
            ("params", params.clone()),
        ])
    };
    for (column, expected) in [
        ("", None),
        ("[[column]]\nname = \"l\"\ntype = \"array<float64>\"", Some("out_of_range l: NaN does not fit")),
        ("[[column]]\nname = \"l\"\ntype = \"array<float64>\"\nnull = [\"NaN\"]", None),
        ("[[column]]\nname = \"l\"\ntype = \"json\"", Some("out_of_range l: [1.5,")),
        ("[[column]]\nname = \"p\"\ntype = \"float64\"\nfrom = \"params[key=b].value\"", None),
        (
            "[[column]]\nname = \"p\"\ntype = \"float64\"\nfrom = \"params[key=a].value\"",
            Some("out_of_range p (from params[key=a].value): inf does not fit"),
        ),
        ("[[column]]\nname = \"p\"\ntype = \"json\"\nfrom = \"params[key=b]\"", None),
        ("[[column]]\nname = \"p\"\ntype = \"json\"\nfrom = \"params[key=a]\"", Some("out_of_range")),
    ] {
        let found = details(&clean(&catalog(&contract(column)), "t.parquet", file()));
        let matches = match expected {
            None => found.is_empty(),
            Some(expected) => found.len() == 1 && found[0].starts_with(expected),
        };
        assert!(matches, "{column}: {found:?}");
    }
    let rest = contract("").replacen("version", "rest = \"others\"\nversion", 1);
    let found = details(&clean(&catalog(&rest), "t.parquet", file()));
    assert!(found.len() == 1 && found[0].starts_with("out_of_range others"), "{found:?}");

    // The same record in NDJSON has the same row and key.
    let nulls = contract("[[column]]\nname = \"l\"\ntype = \"array<float64>\"\nnull = [\"NaN\"]");
    let ndjson = br#"{"id":1,"l":[1.5,"NaN"]}"#.to_vec();
    let rows_of = |name, file| rows(&clean(&catalog(&nulls), name, file));
    assert_eq!(rows_of("t.parquet", file()), rows_of("t.ndjson", ndjson));
}
