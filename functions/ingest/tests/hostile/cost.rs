//! What one request can cost: the table in `docs/hostile-input.md` has the limits of the code, and they hold.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ingest::app::MAX_LOG_BYTES;
use ingest::body::{
    MAX_BODY_BYTES, MAX_LINES_BYTES, MAX_RATIO, MAX_TEXT_BYTES, MIN_RATIO_BYTES, MIN_RECORD_BYTES,
};
use ingest::packing::{MAX_RECORD_BYTES, StreamRecord, max_stream_records};
use ingest::protocol::{kafka, kinesis};
use serde_json::json;

use super::invariants::{ENDPOINTS, send};
use crate::event_file;
use crate::runtime_api::Function;

/// What a request can cost, in the words of the table, its limit, and the constant that bounds it.
fn limits() -> Vec<(&'static str, usize, &'static str)> {
    vec![
        ("bytes received", MAX_BODY_BYTES, "MAX_BODY_BYTES"),
        ("bytes after decompression", MAX_TEXT_BYTES, "MAX_TEXT_BYTES"),
        ("bytes after decompression, as a multiple of those received", MAX_RATIO, "MAX_RATIO"),
        ("bytes after decompression that are accepted at any ratio", MIN_RATIO_BYTES, "MIN_RATIO_BYTES"),
        ("bytes of all lines, with what values decompress to", MAX_LINES_BYTES, "MAX_LINES_BYTES"),
        ("bytes of a record with its key", MAX_RECORD_BYTES, "MAX_RECORD_BYTES"),
        ("records, Kafka", kafka::MAX_RECORDS as usize, "kafka::MAX_RECORDS"),
        ("records, Kinesis", kinesis::MAX_RECORDS, "kinesis::MAX_RECORDS"),
        ("records, others", MAX_TEXT_BYTES / MIN_RECORD_BYTES, "MAX_TEXT_BYTES / MIN_RECORD_BYTES"),
        (
            "records on the stream",
            max_stream_records(MAX_LINES_BYTES, kinesis::MAX_RECORDS),
            "max_stream_records",
        ),
        ("rows of quarantine", MAX_LINES_BYTES / MIN_RECORD_BYTES, "MAX_LINES_BYTES / MIN_RECORD_BYTES"),
        ("bytes of log", MAX_LOG_BYTES, "MAX_LOG_BYTES"),
    ]
}

/// A number with commas between its thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let groups: Vec<&str> =
        digits.as_bytes().rchunks(3).rev().map(|group| std::str::from_utf8(group).unwrap()).collect();
    groups.join(",")
}

#[test]
fn the_table_of_costs_has_the_limits_of_the_code() {
    let page = include_str!("../../../../docs/hostile-input.md");
    let section = page.split("## What a request can cost").nth(1).unwrap().split("\n## ").next().unwrap();
    let documented: Vec<&str> = section.lines().filter(|line| line.starts_with("| ")).skip(1).collect();
    let expected: Vec<String> = limits()
        .into_iter()
        .map(|(what, limit, constant)| format!("| {what} | {} | `{constant}` |", grouped(limit)))
        .collect();
    assert_eq!(documented, expected);
}

#[test]
fn no_request_costs_more_than_the_table_says() {
    let bytes_of = |records: &[StreamRecord]| records.iter().map(|record| record.data.len()).sum::<usize>();
    let compressed = |text: String| STANDARD.encode(zstd::encode_all(text.as_bytes(), 3).unwrap());
    // The elements of an array in a value decompress on their own.
    let element = format!("\"{}\"", compressed(format!("{{\"a\":\"{}\"}}", "x".repeat(250_000))));
    let array = format!("[{}]", vec![element.as_str(); 2000].join(","));
    let nested = format!("{{\"records\":[{{\"value\":\"{}\"}}]}}", STANDARD.encode(array));
    let values = vec![format!("{{\"value\":{element}}}"); 200].join(",");
    let values = format!("{{\"records\":[{values}]}}");
    let record = |at| format!("{{\"data\":{{\"a\":1}},\"partition-key\":\"{}\"}}", at % 2);
    let routes = (0..kinesis::MAX_RECORDS).map(record).collect::<Vec<_>>().join(",");
    let routes = format!("{{\"records\":[{routes}]}}");
    let lines = serde_json::to_string(&"{\"a\":1}\n".repeat(5000)).unwrap();
    let long_key = format!("{{\"Data\":{lines},\"PartitionKey\":\"{}\"}}", "é".repeat(30_000));
    let halves = format!("[{}]", vec![format!("\"{}\"", "x".repeat(12_600)); 400].join(","));
    for (endpoint, body, status) in [
        (ENDPOINTS[1], nested, 200),
        (ENDPOINTS[1], values, 413),
        (ENDPOINTS[3], routes, 200),
        (ENDPOINTS[2], long_key, 200),
        (ENDPOINTS[0], halves, 200),
    ] {
        let (response, records) = send(endpoint, "", "", body.as_bytes());
        assert_eq!(response.status(), status);
        let bytes = bytes_of(&records);
        assert!(bytes <= MAX_LINES_BYTES, "{bytes} bytes");
        // Only the third request has more than one route.
        let routes = if endpoint == ENDPOINTS[3] { kinesis::MAX_RECORDS } else { 1 };
        let limit = max_stream_records(bytes, routes);
        assert!(records.len() <= limit, "{} records of {limit}", records.len());
    }
}

#[test]
fn a_request_logs_little() {
    let rejected = json!({ "__type": "ValidationException", "message": "x".repeat(100_000) });
    let answer = move |_: &str| ("400 Bad Request", rejected.clone());
    let folder = format!("{}/cost", env!("CARGO_TARGET_TMPDIR"));
    std::fs::create_dir_all(&folder).unwrap();
    let settings = [
        ("AWS_SECRET_ACCESS_KEY", "secret"),
        ("PINLAKE_STREAM", "records"),
        ("PINLAKE_ANONYMOUS", "true"),
        ("RUST_LOG", "info"),
    ];
    let function = Function::start(env!("CARGO_BIN_EXE_ingest"), &folder, &settings, Arc::new(answer));
    let long = format!("/v1/{}", "x".repeat(5000));
    let mut statuses = Vec::new();
    for (path, body) in [("/v1/geo", "{\"ind\":1}"), ("/v1/geo", "{"), (long.as_str(), "{}")] {
        let mut event = event_file("ingest_kafka.json");
        event["rawPath"] = json!(path);
        event["requestContext"]["http"]["path"] = json!(path);
        event["headers"]["content-type"] = json!("application/json");
        event["body"] = json!(body);
        event["isBase64Encoded"] = json!(false);
        statuses.push(function.handle(event).unwrap()["statusCode"].clone());
    }
    let log = function.end();
    assert_eq!(statuses, [500, 400, 404]);
    assert!(log.contains("the stream rejected records"), "{log}");
    assert!(log.len() <= statuses.len() * MAX_LOG_BYTES, "{} bytes: {log}", log.len());
}
