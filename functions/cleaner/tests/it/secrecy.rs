//! No content of a record is logged or returned, even at `RUST_LOG=trace` and when records or the lake are damaged.
//! Runs the cleaner's binary.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::runtime_api::{Function, assert_untold};

/// The text in every place that a producer can write to.
const MARK: &str = "M4RK3R";

/// Keys and bytes of records: valid ones, and one for each kind of error that the cleaner distinguishes.
fn records() -> Vec<(String, Vec<u8>)> {
    let geo = format!(
        r#"{{"ind":1,"country":"{MARK}","timestamp":"2020-08-28 03:52:47","latitude":1.5,"longitude":2.5}}"#
    );
    let mut malformed_aggregate = b"\xf3\x89\x9a\xc2".to_vec();
    malformed_aggregate.extend_from_slice(MARK.as_bytes());
    let texts = [
        geo.clone(),
        format!(r#"{{"ind":"{MARK}","country":1,"latitude":"{MARK}"}}"#),
        format!(r#"{{"{MARK}":"{MARK}"}}"#),
        format!(r#"{{"ind":1,"{MARK}"#),
        MARK.to_owned(),
        format!(r#"["{MARK}"]"#),
        format!(r#"{{"ind":1,"first_name":"{MARK}","last_name":"x","age":3,"date_joined":"{MARK}"}}"#),
        format!("{geo}\n{MARK}\n{geo}"),
    ];
    let mut records: Vec<(String, Vec<u8>)> = Vec::new();
    for key in [format!("geo/{MARK}/0"), MARK.to_owned(), format!("{MARK}/r/0"), format!("geo/r/{MARK}")] {
        records.extend(texts.iter().map(|text| (key.clone(), text.clone().into_bytes())));
    }
    for bytes in [
        malformed_aggregate,
        [b"\x1f\x8b".as_slice(), MARK.as_bytes()].concat(),
        [&[0xff], MARK.as_bytes()].concat(),
    ] {
        records.push(("geo".to_owned(), bytes));
    }
    records
}

fn kinesis(records: &[(String, Vec<u8>)]) -> Value {
    let record = |(at, (key, data)): (usize, &(String, Vec<u8>))| {
        json!({
            "eventID": format!("shardId-000000000000:{}", at + 1),
            "eventSource": "aws:kinesis",
            "eventVersion": "1.0",
            "eventName": "aws:kinesis:record",
            "awsRegion": "us-east-1",
            "eventSourceARN": "arn:aws:kinesis:us-east-1:000000000000:stream/records",
            "invokeIdentityArn": "arn:aws:iam::000000000000:role/cleaner",
            "kinesis": {
                "kinesisSchemaVersion": "1.0",
                "partitionKey": key,
                "sequenceNumber": (at + 1).to_string(),
                "data": STANDARD.encode(data),
                "approximateArrivalTimestamp": 1_666_180_800.0,
            },
        })
    };
    json!({ "Records": records.iter().enumerate().map(record).collect::<Vec<_>>() })
}

fn kafka(records: &[(String, Vec<u8>)]) -> Value {
    let record = |(at, (key, data)): (usize, &(String, Vec<u8>))| {
        json!({
            "topic": "a.geo", "partition": 0, "offset": at, "timestamp": 1_666_180_800_000_i64,
            "timestampType": "CREATE_TIME", "key": STANDARD.encode(key), "value": STANDARD.encode(data),
            "headers": [{ MARK: [1, 2] }],
        })
    };
    let records: Vec<Value> = records.iter().enumerate().map(record).collect();
    json!({ "eventSource": "aws:kafka", "bootstrapServers": "b:9092", "records": { "a.geo-0": records } })
}

#[test]
fn no_content_of_a_record_is_logged() {
    let lake = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("secrecy-cleaner-{}", std::process::id()));
    let settings = [("AWS_SECRET_ACCESS_KEY", MARK), ("PINLAKE_LAKE", lake.to_str().unwrap())];
    let no_service = |_: &str| ("500 Internal Server Error", json!({ "message": MARK }));
    let program = env!("CARGO_BIN_EXE_cleaner");
    let function = Function::start(program, env!("CARGO_TARGET_TMPDIR"), &settings, Arc::new(no_service));
    let records = records();
    // Lambda never sends such events. The runtime logs an error for each of them.
    let malformed = [
        json!({ "Records": [{ "kinesis": { "data": format!("{MARK} {MARK}"), "partitionKey": [MARK] } }] }),
        json!({ "eventSource": "aws:kafka", "records": { MARK: [{ "topic": MARK, "partition": MARK, "offset": MARK }] } }),
        json!({ "Records": MARK }),
    ];
    let mut responses = Vec::new();
    for event in [kinesis(&records), kafka(&records)] {
        responses.push(function.handle(event).unwrap());
    }
    let landed = fs::read_dir(lake.join("landing")).unwrap().count();
    for event in malformed {
        responses.push(function.handle(event).unwrap());
    }
    // From here on every put fails.
    fs::remove_dir_all(&lake).unwrap();
    fs::write(&lake, "").unwrap();
    for event in [kinesis(&records), kafka(&records)] {
        responses.push(function.handle(event).unwrap());
    }
    fs::remove_file(&lake).unwrap();
    let log = function.end();

    assert_eq!(landed, 2, "geo and quarantine");
    let none = json!({ "batchItemFailures": [] });
    assert_eq!((&responses[0], &responses[1]), (&none, &none), "{log}");
    assert_eq!(responses[5]["batchItemFailures"][0]["itemIdentifier"], "1", "{log}");
    assert!(responses[6]["errorMessage"].is_string(), "{log}");
    assert!(log.matches("batch has not landed").count() == 2, "{log}");
    assert_untold(&log, MARK);
    for response in &responses {
        assert_untold(&response.to_string(), MARK);
    }
}
