//! What the cleaner tells, of the program itself: nothing of what records hold, at `RUST_LOG=trace`, whatever is wrong
//! with them or with the lake.

use std::fs;
use std::path::Path;
use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

use crate::runtime_api::{Function, assert_untold};

/// Stands wherever a producer may write something.
const MARK: &str = "M4RK3R";

/// Keys and bytes of records: good ones, and bad in every way that the cleaner tells apart.
fn records() -> Vec<(String, Vec<u8>)> {
    let geo = format!(
        r#"{{"ind":1,"country":"{MARK}","timestamp":"2020-08-28 03:52:47","latitude":1.5,"longitude":2.5}}"#
    );
    let mut torn = b"\xf3\x89\x9a\xc2".to_vec();
    torn.extend_from_slice(MARK.as_bytes());
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
    for bytes in
        [torn, [b"\x1f\x8b".as_slice(), MARK.as_bytes()].concat(), [&[0xff], MARK.as_bytes()].concat()]
    {
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
fn nothing_of_a_record_is_logged() {
    let lake = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("secrecy-cleaner-{}", std::process::id()));
    let settings = [("AWS_SECRET_ACCESS_KEY", MARK), ("PINLAKE_LAKE", lake.to_str().unwrap())];
    let nothing = |_: &str| ("500 Internal Server Error", json!({ "message": MARK }));
    let program = env!("CARGO_BIN_EXE_cleaner");
    let function = Function::start(program, env!("CARGO_TARGET_TMPDIR"), &settings, Arc::new(nothing));
    let records = records();
    // What Lambda would never send: the runtime tells what it cannot read.
    let strange = [
        json!({ "Records": [{ "kinesis": { "data": format!("{MARK} {MARK}"), "partitionKey": [MARK] } }] }),
        json!({ "eventSource": "aws:kafka", "records": { MARK: [{ "topic": MARK, "partition": MARK, "offset": MARK }] } }),
        json!({ "Records": MARK }),
    ];
    let mut answers = Vec::new();
    for event in [kinesis(&records), kafka(&records)] {
        answers.push(function.handle(event).unwrap());
    }
    let landed = fs::read_dir(lake.join("landing")).unwrap().count();
    for event in strange {
        answers.push(function.handle(event).unwrap());
    }
    // Now nothing can be put any more.
    fs::remove_dir_all(&lake).unwrap();
    fs::write(&lake, "").unwrap();
    for event in [kinesis(&records), kafka(&records)] {
        answers.push(function.handle(event).unwrap());
    }
    fs::remove_file(&lake).unwrap();
    let said = function.end();

    assert_eq!(landed, 2, "geo and quarantine");
    let none = json!({ "batchItemFailures": [] });
    assert_eq!((&answers[0], &answers[1]), (&none, &none), "{said}");
    assert_eq!(answers[5]["batchItemFailures"][0]["itemIdentifier"], "1", "{said}");
    assert!(answers[6]["errorMessage"].is_string(), "{said}");
    assert!(said.matches("batch has not landed").count() == 2, "{said}");
    assert_untold(&said, MARK);
    for answer in &answers {
        assert_untold(&answer.to_string(), MARK);
    }
}
