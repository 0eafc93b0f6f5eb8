//! The same record as NDJSON, CSV and Parquet is the same row with the same key; a value is stored as it is meant, or quarantined.

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{
    ArrayRef, BinaryArray, BooleanArray, Date32Array, Decimal128Array, FixedSizeBinaryArray, Float64Array,
    Int32Array, Int64Array, ListArray, RecordBatch, StringArray, TimestampMicrosecondArray,
};
use arrow::datatypes::Int64Type;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use pinlake_clean::record_reader::{ReadLimits, RecordReader};
use pinlake_clean::{CleanedRows, RecordCleaner};
use pinlake_schema::Catalog;
use proptest::prelude::*;
use proptest::test_runner::RngSeed;

use crate::{contracts_of, line};

const CONTRACT: &str = r#"
name = "t"
version = 1

[[column]]
name = "id"
type = "int64"
[[column]]
name = "text"
type = "string"
[[column]]
name = "number"
type = "float64"
[[column]]
name = "flag"
type = "boolean"
[[column]]
name = "at"
type = "timestamp"
formats = ["unix_millis", "%Y-%m-%dT%H:%M:%S"]
[[column]]
name = "day"
type = "date"
[[column]]
name = "bytes"
type = "binary"
[[column]]
name = "tags"
type = "array<int64>"
[[column]]
name = "meta"
type = "json"
"#;

pub(crate) fn catalog(contract: &str) -> Arc<Catalog> {
    contracts_of(&[contract])
}

/// Cleans the records of a file of the dataset `t`.
pub(crate) fn clean(catalog: &Arc<Catalog>, name: &str, bytes: Vec<u8>) -> Vec<CleanedRows> {
    let mut cleaner = RecordCleaner::new(catalog.clone(), chrono::DateTime::UNIX_EPOCH);
    let mut records = RecordReader::from_bytes(name, bytes.into(), ReadLimits::default()).expect("readable");
    while let Some(record) = records.next().expect("readable") {
        match record.error {
            None => {
                cleaner.push(record.bytes, Some("t"), &line(record.position));
            }
            Some(error) => {
                cleaner.reject(record.bytes, Some("t"), &line(record.position), error.reason, error.detail)
            }
        }
    }
    cleaner.drain()
}

/// The rows of `t`, with their keys of the present epoch.
pub(crate) fn rows(cleaned: &[CleanedRows]) -> RecordBatch {
    let rejects: Vec<String> = details(cleaned);
    assert!(rejects.is_empty(), "{rejects:?}");
    let batch = &cleaned[0].rows;
    // The keys of earlier epochs depend on how a JSON value was written.
    let present = batch.schema().fields().iter().take_while(|field| field.name() != "_key_1").count();
    batch.project(&(0..present).collect::<Vec<_>>()).expect("columns")
}

/// Reason and detail of each quarantined record.
pub(crate) fn details(cleaned: &[CleanedRows]) -> Vec<String> {
    let quarantined = cleaned.iter().filter(|rows| rows.contract.name == "quarantine");
    let texts = |rows: &CleanedRows, column: &str| {
        let values = rows.rows.column_by_name(column).expect("a column").as_string::<i32>().clone();
        values.iter().map(|text| text.unwrap_or_default().to_owned()).collect::<Vec<_>>()
    };
    quarantined
        .flat_map(|rows| texts(rows, "reason").into_iter().zip(texts(rows, "detail")))
        .map(|(reason, detail)| format!("{reason} {detail}"))
        .collect()
}

pub(crate) fn parquet(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let columns = columns.into_iter().map(|(name, values)| (name, values, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("columns");
    let mut file = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut file, batch.schema(), None).expect("writer");
    writer.write(&batch).expect("memory");
    writer.close().expect("memory");
    file
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 200, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default()
    })]

    #[test]
    fn the_same_record_has_one_key_in_every_format(
        id in any::<i64>(),
        text in "[ -~äß€\n\"]{1,20}",
        number in -1e12_f64..1e12,
        flag in any::<bool>(),
        micros in -60_000_000_000_000_000_i64..250_000_000_000_000_000,
        day in -700_000_i32..2_900_000,
        bytes in proptest::collection::vec(any::<u8>(), 1..9),
        tags in proptest::collection::vec(any::<i64>(), 1..4),
    ) {
        let catalog = catalog(CONTRACT);
        let at = chrono::DateTime::from_timestamp_micros(micros).unwrap().naive_utc();
        let date = chrono::NaiveDate::from_num_days_from_ce_opt(day + 719_163).unwrap();
        let meta = serde_json::json!({ "tags": tags, "text": text }).to_string();
        let tags_json = serde_json::to_string(&tags).unwrap();
        let record = serde_json::json!({
            "id": id, "text": text, "number": number, "flag": flag, "at": format!("{at:?}"),
            "day": date.to_string(), "bytes": BASE64.encode(&bytes), "tags": tags,
        });
        let json = record.to_string();
        let ndjson = format!("{},\"meta\":{meta}}}\n", json.strip_suffix('}').unwrap());

        let mut csv = csv::Writer::from_writer(Vec::new());
        csv.write_record(["id", "text", "number", "flag", "at", "day", "bytes", "tags", "meta"]).unwrap();
        let cells = [
            id.to_string(), text.clone(), number.to_string(), flag.to_string(), format!("{at:?}"),
            date.to_string(), BASE64.encode(&bytes), tags_json, meta.clone(),
        ];
        csv.write_record(&cells).unwrap();

        let typed = parquet(vec![
            ("id", Arc::new(Int64Array::from(vec![id])) as ArrayRef),
            ("text", Arc::new(StringArray::from(vec![text.clone()]))),
            ("number", Arc::new(Float64Array::from(vec![number]))),
            ("flag", Arc::new(BooleanArray::from(vec![flag]))),
            ("at", Arc::new(TimestampMicrosecondArray::from(vec![micros]))),
            ("day", Arc::new(Date32Array::from(vec![day]))),
            ("bytes", Arc::new(BinaryArray::from(vec![&bytes[..]]))),
            ("tags", Arc::new(ListArray::from_iter_primitive::<Int64Type, _, _>(
                [Some(tags.iter().map(|tag| Some(*tag)).collect::<Vec<_>>())]))),
            ("meta", Arc::new(StringArray::from(vec![meta]))),
        ]);
        let expected = rows(&clean(&catalog, "t.ndjson", ndjson.into_bytes()));
        prop_assert_eq!(&rows(&clean(&catalog, "t.csv", csv.into_inner().unwrap())), &expected);
        prop_assert_eq!(&rows(&clean(&catalog, "t.parquet", typed)), &expected);
    }
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 300, failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default()
    })]

    /// Whatever the scale of the column and of the Parquet file, and however many zeros are written.
    #[test]
    fn the_same_decimal_has_one_key_in_every_format(
        unscaled in prop_oneof![-1000_i128..1000, -999_999_999_999_999_999_i128..1_000_000_000_000_000_000],
        scale in 0_u8..=6,
        more in 0_u8..=4,
        zeros in 0_usize..=3,
    ) {
        let typed = |precision, scale| format!(
            "name = \"t\"\nversion = 1\n[[column]]\nname = \"a\"\ntype = \"decimal({precision},{scale})\"\n"
        );
        let number = pinlake_schema::decimal::Decimal { unscaled, scale }.to_string();
        let padding = "0".repeat(zeros);
        let padded = if scale > 0 { format!("{number}{padding}") } else { format!("{number}.0{padding}") };
        let key = |contract: &str, name: &str, file: Vec<u8>| {
            rows(&clean(&catalog(contract), name, file)).column_by_name("_key").unwrap().clone()
        };
        let (own, wide) = (typed(18 + scale, scale), typed(38, scale + more));
        let expected = key(&own, "t.ndjson", format!("{{\"a\":{number}}}\n").into_bytes());
        let decimals = |scale: u8, unscaled: i128| {
            let decimals = Decimal128Array::from(vec![unscaled]);
            parquet(vec![("a", Arc::new(decimals.with_precision_and_scale(38, scale as i8).unwrap()) as ArrayRef)])
        };
        for contract in [&own, &wide] {
            prop_assert_eq!(&key(contract, "t.ndjson", format!("{{\"a\":\"{padded}\"}}\n").into_bytes()), &expected);
            prop_assert_eq!(&key(contract, "t.ndjson", format!("{{\"a\":{unscaled}e-{scale}}}\n").into_bytes()), &expected);
            prop_assert_eq!(&key(contract, "t.csv", format!("a\n{padded}\n").into_bytes()), &expected);
            prop_assert_eq!(&key(contract, "t.parquet", decimals(scale, unscaled)), &expected);
            let widened = unscaled * 10_i128.pow(more.into());
            prop_assert_eq!(&key(contract, "t.parquet", decimals(scale + more, widened)), &expected);
        }
    }
}

#[test]
fn numbers_of_all_types_are_decimals() {
    let contract = "name = \"t\"\nversion = 1\n[[column]]\nname = \"a\"\ntype = \"decimal(9,2)\"\n";
    let catalog = catalog(contract);
    let small = |precision| Decimal128Array::from(vec![150]).with_precision_and_scale(precision, 2).unwrap();
    let columns: Vec<ArrayRef> = vec![
        Arc::new(Float64Array::from(vec![1.5])),
        Arc::new(arrow::array::Float32Array::from(vec![1.5])),
        Arc::new(StringArray::from(vec!["1.500"])),
        Arc::new(BinaryArray::from(vec![&b"1.50"[..]])),
        // INT32, INT64 and FIXED_LEN_BYTE_ARRAY in the file.
        Arc::new(small(9)),
        Arc::new(small(18)),
        Arc::new(small(30)),
    ];
    for column in columns {
        let described = format!("{column:?}");
        let batch = rows(&clean(&catalog, "t.parquet", parquet(vec![("a", column)])));
        let found =
            batch.column_by_name("a").unwrap().as_primitive::<arrow::datatypes::Decimal128Type>().value(0);
        assert_eq!(found, 150, "{described}");
    }
    for (column, expected) in [
        (Arc::new(Int32Array::from(vec![7])) as ArrayRef, Ok(700)),
        (
            Arc::new(Int64Array::from(vec![10_000_000])),
            Err("out_of_range a: 10000000 does not fit decimal(9,2)"),
        ),
        (Arc::new(Float64Array::from(vec![1.005])), Err("out_of_range a: 1.005 does not fit decimal(9,2)")),
        (Arc::new(Float64Array::from(vec![f64::NAN])), Err("out_of_range a: NaN does not fit decimal(9,2)")),
        (
            Arc::new(FixedSizeBinaryArray::try_from_iter([vec![0xff_u8, 0xfe]].into_iter()).unwrap()),
            Err("wrong_type a: 2 bytes (fffe) is not a decimal(9,2)"),
        ),
    ] {
        let cleaned = clean(&catalog, "t.parquet", parquet(vec![("a", column)]));
        match expected {
            Ok(number) => {
                let batch = rows(&cleaned);
                let column = batch.column_by_name("a").unwrap();
                assert_eq!(column.as_primitive::<arrow::datatypes::Decimal128Type>().value(0), number);
            }
            Err(detail) => assert_eq!(details(&cleaned), [detail]),
        }
    }
}

#[test]
fn bytes_are_text_only_if_they_are() {
    let catalog = catalog("name = \"t\"\nversion = 1\n[[column]]\nname = \"a\"\ntype = \"string\"\n");
    let column = BinaryArray::from(vec![&b"03/01/09"[..], b"gr\xc3\xbcn", b"\xff\0\xff"]);
    let cleaned = clean(&catalog, "t.parquet", parquet(vec![("a", Arc::new(column))]));
    assert_eq!(details(&cleaned), ["wrong_type a: 3 bytes (ff00ff) is not a string"]);
    let texts: Vec<_> = cleaned.iter().filter(|rows| rows.contract.name == "t").collect();
    let texts = texts[0].rows.column_by_name("a").unwrap().as_string::<i32>().clone();
    assert_eq!(texts.iter().flatten().collect::<Vec<_>>(), ["03/01/09", "grün"]);
}

#[test]
fn typed_times_need_no_format() {
    let catalog = catalog(
        "name = \"t\"\nversion = 1\n\
         [[column]]\nname = \"a\"\ntype = \"timestamp\"\nfrom = \"day\"\n\
         [[column]]\nname = \"b\"\ntype = \"date\"\nfrom = \"at\"\n\
         [[column]]\nname = \"c\"\ntype = \"timestamp\"\nfrom = \"at\"\nformats = [\"unix_millis\"]\n",
    );
    let at = 1_598_586_767_000_000;
    let file = parquet(vec![
        ("day", Arc::new(Date32Array::from(vec![18_502])) as ArrayRef),
        ("at", Arc::new(TimestampMicrosecondArray::from(vec![at]))),
    ]);
    let batch = rows(&clean(&catalog, "t.parquet", file));
    let micros = |name: &str| {
        let column = batch.column_by_name(name).unwrap();
        column.as_primitive::<arrow::datatypes::TimestampMicrosecondType>().value(0)
    };
    assert_eq!((micros("a"), micros("c")), (1_598_572_800_000_000, at));
    let day = batch.column_by_name("b").unwrap().as_primitive::<arrow::datatypes::Date32Type>().value(0);
    assert_eq!(day, 18_502);
}

#[test]
fn what_is_no_number_is_out_of_range_or_null() {
    let contract = "name = \"t\"\nversion = 1\n[[column]]\nname = \"a\"\ntype = \"float64\"\n";
    let file = || parquet(vec![("a", Arc::new(Float64Array::from(vec![1.0, f64::NAN])))]);
    assert_eq!(
        details(&clean(&catalog(contract), "t.parquet", file())),
        ["out_of_range a: NaN does not fit float64"]
    );
    for null in [
        format!("{contract}null = [\"NaN\"]\n"),
        contract.replacen("version", "null = [\"NaN\"]\nversion", 1),
    ] {
        assert_eq!(rows(&clean(&catalog(&null), "t.parquet", file())).num_rows(), 2);
    }
    // A column that reads another field is not concerned, and a null is a field of the record.
    let other = contract.replace("\"a\"", "\"b\"");
    let file = parquet(vec![
        ("a", Arc::new(Float64Array::from(vec![1.0, f64::NAN])) as ArrayRef),
        ("b", Arc::new(Float64Array::from(vec![Some(1.0), None]))),
    ]);
    assert_eq!(rows(&clean(&catalog(&other), "t.parquet", file)).num_rows(), 2);
}

#[test]
fn similar_names_are_the_field_unless_the_field_is_there() {
    // Another contract reads a field that differs in case.
    let catalog = contracts_of(&[
        "name = \"t\"\nversion = 1\n[[column]]\nname = \"café\"\ntype = \"string\"\n\
         [[column]]\nname = \"Id\"\ntype = \"string\"\n",
        "name = \"other\"\nversion = 1\n[[column]]\nname = \"id\"\ntype = \"string\"\n",
    ]);
    for (record, cafe, id) in [
        (r#"{"cafe\u0301":"a","ID":"b"}"#, Some("a"), Some("b")),
        ("{\"cafe\u{301}\":\"a\",\"id\":\"b\",\"Id\":\"c\"}", Some("a"), Some("c")),
        ("{\"Id\":\"c\",\"id\":\"b\",\"CAFÉ\":\"x\"}", Some("x"), Some("c")),
        (r#"{"idd":"b","café":null}"#, None, None),
    ] {
        // Twice, because names are remembered.
        let batch = rows(&clean(&catalog, "t.ndjson", format!("{record}\n{record}\n").into_bytes()));
        for row in 0..2 {
            let text = |name: &str| {
                let column = batch.column_by_name(name).unwrap().as_string::<i32>();
                column.iter().nth(row).unwrap().map(str::to_owned)
            };
            assert_eq!((text("café").as_deref(), text("Id").as_deref()), (cafe, id), "{record}");
        }
    }
}

/// A record in Parquet means the same as in NDJSON, whatever reads its bytes and times.
#[test]
fn bytes_and_times_are_their_texts_wherever_texts_are_read() {
    let id = "[[column]]\nname = \"id\"\ntype = \"int64\"\n";
    let column = |rules: &str| format!("{id}[[column]]\nname = \"v\"\n{rules}\n");
    let binary = |text: &str| -> ArrayRef { Arc::new(BinaryArray::from(vec![text.as_bytes()])) };
    let date: ArrayRef = Arc::new(Date32Array::from(vec![18_502]));
    let nan: ArrayRef = Arc::new(Float64Array::from(vec![f64::NAN]));
    let skip = |value: &str| format!("[file]\nskip_when = {{ v = \"{value}\" }}\n{id}");
    let rest = format!("rest = \"others\"\n{id}");
    for (contract, values, json) in [
        (skip("d"), binary("d"), r#""d""#),
        (skip("2020-08-28"), date, r#""2020-08-28""#),
        (skip("NaN"), nan, r#""NaN""#),
        (column("type = \"string\"\nfrom = \"v.x\""), binary(r#"{"x":"d"}"#), r#"{"x":"d"}"#),
        (
            column("type = \"int64\"\nfrom = \"v[k=a].x\""),
            binary(r#"[{"k":"a","x":7}]"#),
            r#"[{"k":"a","x":7}]"#,
        ),
        (column("type = \"array<int64>\""), binary("[1,2]"), "[1,2]"),
        (column("type = \"int64\"\nlocale = \"en\""), binary("1,200"), r#""1,200""#),
        (rest.clone(), binary("ab"), r#""ab""#),
        (rest.clone(), binary(r#"a"b"#), r#""a\"b""#),
        (
            column("type = \"boolean\"\nnull = [\"false\"]"),
            Arc::new(BooleanArray::from(vec![false])),
            "false",
        ),
        (
            column("type = \"boolean\"\nnull = [\"false\"]"),
            Arc::new(BooleanArray::from(vec![false])),
            r#""false""#,
        ),
    ] {
        let (top, columns) = match contract.starts_with("rest") {
            true => contract.split_once('\n').unwrap(),
            false => ("", contract.as_str()),
        };
        let catalog = catalog(&format!("name = \"t\"\nversion = 1\n{top}\n{columns}"));
        let file = parquet(vec![("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef), ("v", values)]);
        let ndjson = format!("{{\"id\":1,\"v\":{json}}}").into_bytes();
        let (typed, text) = (clean(&catalog, "t.parquet", file), clean(&catalog, "t.ndjson", ndjson));
        assert_eq!((details(&typed), details(&text)), (vec![], vec![]), "{contract}");
        let rows = |cleaned: &[CleanedRows]| cleaned.iter().map(|rows| rows.rows.clone()).collect::<Vec<_>>();
        assert_eq!(rows(&typed), rows(&text), "{contract}");
        assert_eq!(typed.is_empty(), contract.contains("skip_when"), "{contract}");
    }
    let refused = catalog(&format!("name = \"t\"\nversion = 1\nrest = \"others\"\n{id}"));
    let bytes: ArrayRef = Arc::new(BinaryArray::from(vec![&b"\xff"[..]]));
    let file = parquet(vec![("id", Arc::new(Int64Array::from(vec![1])) as ArrayRef), ("v", bytes)]);
    assert!(details(&clean(&refused, "t.parquet", file))[0].starts_with("wrong_type others"));
}
