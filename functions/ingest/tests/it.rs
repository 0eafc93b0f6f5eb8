//! ingest as on Lambda: events of a function URL, responses, and the records on the stream.
//!
//! The stream is in memory and can reject records; everything else is the code that runs on AWS. The end-to-end tests
//! use Kinesis.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a helper of tests fails its test"
)]
#![allow(clippy::print_stdout, reason = "a test prints its measurements")]

#[path = "../../../tests/broken_contract.rs"]
mod broken_contract;
mod hostile;
#[path = "../../../tests/subprocess.rs"]
mod subprocess;

mod access;
mod clients;
mod discovery;
mod openapi;
mod otlp;
mod reads;
mod webhooks;

#[path = "../../../tests/runtime_api.rs"]
mod runtime_api;

use std::collections::BTreeSet;
use std::future::ready;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ingest::access::Access;
use ingest::app::{App, RequestSummary};
use ingest::canary;
use ingest::packing::{MAX_RECORD_BYTES, StreamRecord};
use ingest::stream::read::{
    BoxFuture, IteratorStart, ReadableStream, RecordPage, Shard, StoredRecord, StreamDescription,
};
use ingest::stream::{Receipt, RecordStream, StreamError, StreamErrorKind};
use ingest::webhook::Webhooks;
use ingest::writer::WriteRetryPolicy;
use lambda_http::request::LambdaRequest;
use lambda_http::{Body, Request, RequestExt as _, Response};
use pinlake_env::{Env, ManualClock, Rng};
use pinlake_schema::Catalog;
use pinlake_schema::stream_key::StreamKey;
use serde_json::{Value, json};

const KAFKA: &str = "application/vnd.kafka.json.v2+json";
const JSON: &str = "application/json";
const NDJSON: &str = "application/x-ndjson";

/// Method, path, Content-Type, body, and the expected records on the stream.
type Variant<'a> = (&'a str, &'a str, &'a str, String, Vec<(String, String)>);

/// Decides whether a record is rejected, given how often it was put before.
type Rejection = Box<dyn Fn(&StreamRecord, usize) -> Option<StreamErrorKind> + Send + Sync>;

struct MemoryStream {
    rejection: Rejection,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    stored: Vec<StreamRecord>,
    puts: Vec<String>,
}

impl RecordStream for MemoryStream {
    async fn put_records(
        &self,
        records: &[&StreamRecord],
    ) -> Result<Vec<Result<Receipt, StreamError>>, StreamError> {
        assert!(!records.is_empty() && records.len() <= 500, "{} records in a call", records.len());
        assert!(records.iter().map(|record| record.bytes()).sum::<usize>() <= 5 * 1024 * 1024);
        let mut state = self.state.lock().unwrap();
        let results = records.iter().map(|record| {
            assert!(record.bytes() <= MAX_RECORD_BYTES && record.key.encode_utf16().count() <= 256);
            let before = state.puts.iter().filter(|key| **key == record.key).count();
            state.puts.push(record.key.clone());
            if let Some(kind) = (self.rejection)(record, before) {
                return Err(StreamError {
                    kind,
                    code: "SomeException".into(),
                    message: "account 12345".into(),
                });
            }
            let sequence = sequence(state.stored.len());
            let shard = SHARDS[state.stored.len() % 2].to_owned();
            state.stored.push((*record).clone());
            Ok(Receipt { shard, sequence })
        });
        Ok(results.collect())
    }
}

const SHARDS: [&str; 2] = ["shardId-000000000000", "shardId-000000000001"];

/// The maximum number of records in a page.
const PAGE_RECORDS: usize = 3;

impl MemoryStream {
    /// The records of a shard, starting at an index.
    fn stored(&self, shard: usize, from: usize) -> Vec<StoredRecord> {
        let state = self.state.lock().unwrap();
        let own = state.stored.iter().enumerate().filter(|(at, _)| at % 2 == shard).skip(from);
        own.map(|(at, record)| StoredRecord {
            key: record.key.clone(),
            data: record.data.clone(),
            sequence: sequence(at),
            arrived_ms: 1_795_381_200_125,
        })
        .collect()
    }
}

fn sequence(at: usize) -> String {
    format!("4966889999999999999999999999999999999999999999999999{at:04}")
}

fn read_error(code: &str) -> StreamError {
    StreamError {
        kind: StreamErrorKind::Permanent,
        code: code.to_owned(),
        message: "account 12345".to_owned(),
    }
}

/// Its iterators are a shard number and an index in the shard, `0-17`; `old` has expired.
impl ReadableStream for MemoryStream {
    fn describe(&self) -> BoxFuture<'_, Result<StreamDescription, StreamError>> {
        let shard = |id: &&str| Shard {
            id: (*id).to_owned(),
            parent: None,
            hash_keys: ("0".to_owned(), "340282366920938463463374607431768211455".to_owned()),
            sequences: ("49".to_owned(), None),
        };
        let shards = SHARDS.iter().map(shard).collect();
        let status = "ACTIVE".to_owned();
        let description = StreamDescription {
            status,
            retention_hours: 168,
            created_ms: 1_500,
            shards,
            has_more_shards: false,
        };
        Box::pin(ready(Ok(description)))
    }

    fn open_iterator<'a>(
        &'a self,
        shard: &'a str,
        start: IteratorStart<'a>,
    ) -> BoxFuture<'a, Result<String, StreamError>> {
        Box::pin(async move {
            let number = SHARDS.iter().position(|known| *known == shard);
            let number = number.ok_or_else(|| read_error("ResourceNotFoundException"))?;
            let at = match start {
                IteratorStart::TrimHorizon => 0,
                IteratorStart::AtSequenceNumber(wanted) => {
                    self.stored(number, 0).iter().position(|record| record.sequence == wanted).unwrap()
                }
            };
            Ok(format!("{number}-{at}"))
        })
    }

    fn read_page<'a>(&'a self, iterator: &'a str) -> BoxFuture<'a, Result<RecordPage, StreamError>> {
        Box::pin(ready(self.page(iterator)))
    }
}

impl MemoryStream {
    fn page(&self, iterator: &str) -> Result<RecordPage, StreamError> {
        if iterator == "old" {
            return Err(read_error("ExpiredIteratorException"));
        }
        if iterator.len() > 512 {
            return Err(read_error("ValidationException"));
        }
        let position = iterator.split_once('-').and_then(|(a, b)| Some((a.parse().ok()?, b.parse().ok()?)));
        let (shard, at): (usize, usize) = position.ok_or_else(|| read_error("InvalidArgumentException"))?;
        let mut records = self.stored(shard, at);
        let behind_ms = 1_000 * records.len().saturating_sub(PAGE_RECORDS) as i64;
        records.truncate(PAGE_RECORDS);
        Ok(RecordPage { next: Some(format!("{shard}-{}", at + records.len())), records, behind_ms })
    }
}

fn app_rejecting(
    rejection: impl Fn(&StreamRecord, usize) -> Option<StreamErrorKind> + Send + Sync + 'static,
) -> App<MemoryStream> {
    let clock = ManualClock::at("2026-11-22T21:00:00Z".parse().unwrap());
    App {
        stream: MemoryStream { rejection: Box::new(rejection), state: Mutex::default() },
        catalog: Arc::new(Catalog::embedded().unwrap()),
        access: Access::Anyone,
        reads_enabled: true,
        is_paused: false,
        cors: ingest::cors::Cors::default(),
        webhooks: Webhooks::default(),
        retry_policy: WriteRetryPolicy::default(),
        env: Env { clock: Arc::new(clock), rng: Arc::new(Rng::seeded(7)) },
    }
}

fn app() -> App<MemoryStream> {
    app_rejecting(|_, _| None)
}

/// The built-in contracts and those of `examples/contracts`, and an app that knows the secret of all their webhooks.
fn example_app() -> App<MemoryStream> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/contracts");
    let examples = std::fs::read_dir(folder).unwrap().map(|entry| {
        let path = entry.unwrap().path();
        (path.display().to_string(), std::fs::read_to_string(path).unwrap())
    });
    let mut files = Catalog::embedded().unwrap().files().to_vec();
    files.extend(examples);
    let catalog = Catalog::from_files(files).unwrap_or_else(|errors| panic!("{errors}"));
    let source = webhooks::KnownSecret::new(webhooks::SECRET);
    App { catalog: Arc::new(catalog), webhooks: Webhooks::new(Arc::new(source)), ..app() }
}

fn event_file(name: &str) -> Value {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events").join(name);
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

fn parse_event(event: &Value) -> Request {
    lambda_http::request::from_str(&event.to_string()).unwrap()
}

/// A request of a function URL, based on a sample event.
fn request(method: &str, path: &str, headers: &[(&str, &str)], body: impl AsRef<[u8]>) -> Request {
    let mut event = event_file("ingest_kafka.json");
    let (path, query) = path.split_once('?').unwrap_or((path, ""));
    event["rawPath"] = json!(path);
    event["rawQueryString"] = json!(query);
    event["requestContext"]["http"]["method"] = json!(method);
    event["requestContext"]["http"]["path"] = json!(path);
    event["requestContext"]["requestId"] = json!("req");
    event["headers"].as_object_mut().unwrap().remove("content-type");
    for (name, value) in headers {
        event["headers"][name.to_lowercase()] = json!(value);
    }
    event["body"] = json!(STANDARD.encode(body));
    event["isBase64Encoded"] = json!(true);
    parse_event(&event)
}

fn typed(method: &str, path: &str, content_type: &str, body: impl AsRef<[u8]>) -> Request {
    request(method, path, &[("content-type", content_type)], body)
}

fn body_json(response: &Response<Body>) -> Value {
    serde_json::from_slice(response.body()).unwrap()
}

fn header<'a>(response: &'a Response<Body>, name: &str) -> Option<&'a str> {
    response.headers().get(name).map(|value| value.to_str().unwrap())
}

/// The key and data of every Kinesis record.
fn stored_records(app: &App<MemoryStream>) -> Vec<(String, String)> {
    let state = app.stream.state.lock().unwrap();
    let text = |record: &StreamRecord| String::from_utf8(record.data.clone()).unwrap();
    state.stored.iter().map(|record| (record.key.clone(), text(record))).collect()
}

fn pairs<const N: usize>(expected: [(&str, &str); N]) -> Vec<(String, String)> {
    expected.into_iter().map(|(key, data)| (key.to_owned(), data.to_owned())).collect()
}

#[tokio::test]
async fn each_sample_event_is_accepted() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../events");
    let names: BTreeSet<String> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with("ingest_"))
        .collect();
    assert!(names.len() >= 4);
    for name in &names {
        let app = example_app();
        let mut event = serde_json::from_value(event_file(name)).unwrap();
        canary::add_record(&mut event, "run-1", app.env.clock.now());
        let response = app.handle(Request::from(LambdaRequest::ApiGatewayV2(event))).await;
        assert_eq!(response.status(), 200, "{name}: {}", body_json(&response));
        assert!(header(&response, "Pinlake-Ack").is_some(), "{name}");
        let stored = stored_records(&app);
        assert!(!stored.is_empty(), "{name}");
        for (key, data) in stored {
            assert!(StreamKey::parse(&key).is_some(), "{name}: {key}");
            for line in data.split('\n') {
                assert!(serde_json::from_str::<Value>(line).unwrap().is_object(), "{name}: {line}");
            }
        }
    }
}

#[tokio::test]
async fn records_of_a_broken_contract_are_accepted() {
    let app = App { catalog: broken_contract::with_broken("geo"), ..app() };
    for (method, path, content_type, body) in [
        ("POST", "/v1/geo", JSON, r#"{"ind":1}"#.to_owned()),
        ("POST", "/topics/x.geo", KAFKA, r#"{"records":[{"value":{"ind":1}}]}"#.to_owned()),
        (
            "PUT",
            "/streams/streaming-x-geo/record",
            JSON,
            r#"{"Data":{"ind":1},"PartitionKey":"p"}"#.to_owned(),
        ),
        ("POST", "/v1/pin", JSON, r#"{"index":1}"#.to_owned()),
    ] {
        let response = app.handle(typed(method, path, content_type, body)).await;
        assert_eq!(response.status(), 200, "{path}: {:?}", response.body());
    }
    let datasets: Vec<String> = stored_records(&app)
        .into_iter()
        .map(|(key, _)| StreamKey::parse(&key).unwrap().dataset.unwrap().to_owned())
        .collect();
    assert_eq!(datasets, ["geo", "geo", "geo", "pin"]);
    // It is not known how requests of its webhook are signed. The provider sends them again.
    let response = app.handle(typed("POST", "/webhooks/geo", JSON, "{}")).await;
    assert_eq!(response.status(), 503);
    let response = app.handle(typed("POST", "/webhooks/pin", JSON, "{}")).await;
    assert_eq!(response.status(), 404);
}

#[tokio::test]
async fn the_sample_kafka_event_is_answered_as_the_proxy_does() {
    let app = app();
    let response = app.handle(parse_event(&event_file("ingest_kafka.json"))).await;
    assert_eq!(header(&response, "content-type"), Some("application/vnd.kafka.v2+json"));
    let answer = body_json(&response);
    let offset = answer["offsets"][0]["offset"].as_i64().unwrap();
    assert!(offset > 0 && offset < 1 << 53);
    let expected = r#"{"offsets":[{"partition":0,"offset":N,"error_code":null,"error":null}],"key_schema_id":null,"value_schema_id":null}"#;
    assert_eq!(answer.to_string(), expected.replace('N', &offset.to_string()));

    let (key, data) = stored_records(&app).remove(0);
    assert_eq!(key, "pin/8c1f6f0e-3f0b-4f6c-9a57-2f7d1f0a6b01/0");
    assert!(
        data.starts_with("{\"index\":70001,\"unique_id\":\"") && data.contains("nothing else… \""),
        "{data}"
    );
}

#[tokio::test]
async fn the_sample_kinesis_events_are_answered_as_kinesis_does() {
    let (one, many) = (app(), app());
    let answer = one.handle(parse_event(&event_file("ingest_kinesis_record.json"))).await;
    assert_eq!(header(&answer, "content-type"), Some("application/json"));
    let sequence = "49668899999999999999999999999999999999999999999999990000";
    let expected = format!(r#"{{"SequenceNumber":"{sequence}","ShardId":"shardId-000000000000"}}"#);
    assert_eq!(body_json(&answer).to_string(), expected);
    assert_eq!(header(&answer, "Pinlake-Ack"), Some(format!("shardId-000000000000={sequence}").as_str()));
    assert_eq!(stored_records(&one)[0].0, "geo/8c1f6f0e-3f0b-4f6c-9a57-2f7d1f0a6b02/0/partition-1");

    let answer = many.handle(parse_event(&event_file("ingest_kinesis_records.json"))).await;
    let body = body_json(&answer);
    assert_eq!(body["FailedRecordCount"], 0);
    assert_eq!(body["Records"].as_array().unwrap().len(), 3);
    assert_eq!(body["Records"][2]["ShardId"], "shardId-000000000000");
    let ack = "shardId-000000000000=49668899999999999999999999999999999999999999999999990002,\
               shardId-000000000001=49668899999999999999999999999999999999999999999999990001";
    assert_eq!(header(&answer, "Pinlake-Ack"), Some(ack));
    // On a shared stream the partition key may name the dataset.
    let keys: Vec<String> = stored_records(&many).into_iter().map(|(key, _)| key).collect();
    let id = "8c1f6f0e-3f0b-4f6c-9a57-2f7d1f0a6b03";
    assert_eq!(keys, [format!("pin/{id}/0/pin"), format!("user/{id}/1/user"), format!("-/{id}/2/7")]);
}

#[tokio::test]
async fn the_sample_native_event_is_decompressed_and_keeps_its_idempotency_key() {
    let app = app();
    let response = app.handle(parse_event(&event_file("ingest_native.json"))).await;
    assert_eq!(body_json(&response), json!({"accepted": 3, "request_id": "users-2026-11-22"}));
    let (key, data) = stored_records(&app).remove(0);
    assert_eq!(key, "user/users-2026-11-22/0");
    assert_eq!(data.lines().count(), 3);
    assert!(data.contains("\"first_name\":\"Zoë\""));
}

#[tokio::test]
async fn every_wire_variant_ends_as_compact_lines_under_the_right_key() {
    let row = r#"{"ind": 1, "t": "caf\u00e9"}"#;
    let line = r#"{"ind":1,"t":"café"}"#;
    let string = serde_json::to_string(row).unwrap();
    let base64 = format!("\"{}\"", STANDARD.encode(row));
    let put = |data: &str, key: &str| format!(r#"{{"StreamName":["s"],"Data":{data},"PartitionKey":{key}}}"#);
    let two = format!("{line}\n{line}");
    let stream = "/test/streams/streaming-0a1b-geo/record";
    let shared = "/streams/Kinesis-Prod-Stream/records";
    let cases: Vec<Variant<'_>> = vec![
        (
            "POST",
            "/topics/0a1b.pin",
            KAFKA,
            format!(r#"{{"records": [{{"value": {row}}}]}}"#),
            pairs([("pin/req/0", line)]),
        ),
        (
            "POST",
            "/test/topics/0a1b.geo",
            KAFKA,
            format!(r#"{{"records":[{{"value":{row}}}]}}"#),
            pairs([("geo/req/0", line)]),
        ),
        (
            "POST",
            "/a/b/topics/0a1b.user",
            KAFKA,
            format!(r#"{{"records":[{{"value":{row}}}]}}"#),
            pairs([("user/req/0", line)]),
        ),
        (
            "POST",
            "/topics/pinterest.pin",
            JSON,
            format!(r#"{{"records":[{{"value":{row}}}]}}"#),
            pairs([("pin/req/0", line)]),
        ),
        (
            "POST",
            "/topics/x.pin",
            KAFKA,
            format!(r#"{{"records":[{{"value":{row}}},{{"key":"k","partition":0,"value":{row}}}]}}"#),
            pairs([("pin/req/0", &two)]),
        ),
        (
            "POST",
            "/topics/x.pin",
            KAFKA,
            format!("{{\n  \"records\": [\n    {{\n \"value\" :\t{row}\r\n}} ]\n}}\n"),
            pairs([("pin/req/0", line)]),
        ),
        (
            "POST",
            "/topics/x.pin",
            KAFKA,
            format!(r#"{{"records":{{"value":{row}}}}}"#),
            pairs([("pin/req/0", line)]),
        ),
        (
            "POST",
            "/topics/x.pin",
            KAFKA,
            format!(r#"{{"records":[{{"Data":{row},"PartitionKey":"1"}}]}}"#),
            pairs([("pin/req/0", line)]),
        ),
        (
            "POST",
            "/topics/x.pin",
            KAFKA,
            r#"{"records":[{"value":[1]},{"value":"x"},{"value":null}]}"#.to_owned(),
            pairs([("pin/req/0", "[1]\n\"x\"\nnull")]),
        ),
        (
            "POST",
            "/test/topics/x.pin/partitions/0",
            KAFKA,
            format!(r#"{{"records":[{{"value":{row}}}]}}"#),
            pairs([("pin/req/0", line)]),
        ),
        ("PUT", stream, JSON, put(row, r#""partition-1""#), pairs([("geo/req/0/partition-1", line)])),
        ("POST", stream, JSON, put(&string, "4"), pairs([("geo/req/0/4", line)])),
        (
            "PUT",
            stream,
            JSON,
            put(&base64, r#""9d7c6e4a-1f2b-4c3d-8e9f-0a1b2c3d4e5f""#),
            pairs([("geo/req/0/9d7c6e4a-1f2b-4c3d-8e9f-0a1b2c3d4e5f", line)]),
        ),
        ("PUT", stream, JSON, put(r#""""#, r#""pin""#), pairs([("geo/req/0/pin", r#""""#)])),
        (
            "PUT",
            "/streams/Kinesis-Prod-Stream/record",
            JSON,
            put(row, r#""user""#),
            pairs([("user/req/0/user", line)]),
        ),
        (
            "PUT",
            "/streams/Kinesis-Prod-Stream/record",
            JSON,
            put(row, r#""partition-1""#),
            pairs([("-/req/0/partition-1", line)]),
        ),
        (
            "PUT",
            shared,
            JSON,
            format!(
                r#"{{"records":[{{"data":{row},"partition-key":"pin"}},{{"data":{base64},"partition-key":"x"}}]}}"#
            ),
            pairs([("pin/req/0/pin", line), ("-/req/1/x", line)]),
        ),
        (
            "POST",
            shared,
            JSON,
            format!(r#"{{"StreamName":"s","Records":[{{"Data":{string},"PartitionKey":"geo"}}]}}"#),
            pairs([("geo/req/0/geo", line)]),
        ),
        ("POST", "/v1/pin", JSON, row.to_owned(), pairs([("pin/req/0", line)])),
        ("POST", "/prod/v1/pin", JSON, format!("[{row},\n{row}]"), pairs([("pin/req/0", &two)])),
        ("POST", "/v1/pin", NDJSON, format!("{row}\r\n\n{row}"), pairs([("pin/req/0", &two)])),
        ("POST", "/v1/pin", JSON, format!("{row}\n{row}\n"), pairs([("pin/req/0", &two)])),
    ];
    for (method, path, content_type, body, expected) in cases {
        let app = app();
        let response = app.handle(typed(method, path, content_type, &body)).await;
        assert_eq!(response.status(), 200, "{path} {body}: {}", body_json(&response));
        assert_eq!(stored_records(&app), expected, "{path} {body}");

        // Without a Content-Type, as `requests.post(url, data=text)` sends it. Lines need one.
        if content_type != NDJSON {
            let untyped = self::app();
            assert_eq!(
                untyped.handle(request(method, path, &[], &body)).await.status(),
                200,
                "{path} {body}"
            );
            assert_eq!(stored_records(&untyped), expected);
        }
    }
}

#[tokio::test]
async fn the_binary_embedding_is_decoded() {
    let row = STANDARD.encode(r#"{"ind": 1}"#);
    let body =
        json!({"records": [{"key": "a2V5", "value": row}, {"value": "/w=="}, {"value": null}]}).to_string();
    for version in ["v2", "v1"] {
        for path in ["/topics/x.pin", "/topics/x.pin/partitions/0"] {
            let app = app();
            let content_type = format!("application/vnd.kafka.binary.{version}+json");
            let response = app.handle(typed("POST", path, &content_type, &body)).await;
            assert_eq!(response.status(), 200, "{}", body_json(&response));
            assert_eq!(stored_records(&app), pairs([("pin/req/0", "{\"ind\":1}\n\"/w==\"\nnull")]));
        }
    }
    let (status, error, _) = send_rejected(typed(
        "POST",
        "/topics/x.pin",
        "application/vnd.kafka.binary.v2+json",
        r#"{"records":[{"value":{}}]}"#,
    ))
    .await;
    assert_eq!((status, &error["error_code"]), (422, &json!(422)));
}

#[tokio::test]
async fn compressed_bodies_and_plain_text_events() {
    let rows = "{\"a\":1}\n{\"a\":2}\n";
    let compressed = zstd::encode_all(rows.as_bytes(), 3).unwrap();
    let app = app();
    let headers = [("Content-Type", NDJSON), ("Content-Encoding", "zstd")];
    assert_eq!(app.handle(request("POST", "/v1/pin", &headers, compressed)).await.status(), 200);
    assert_eq!(stored_records(&app), pairs([("pin/req/0", "{\"a\":1}\n{\"a\":2}")]));

    let mut event = event_file("ingest_native.json");
    event["headers"].as_object_mut().unwrap().remove("content-encoding");
    event["isBase64Encoded"] = json!(false);
    event["body"] = json!(rows);
    assert_eq!(body_json(&self::app().handle(parse_event(&event)).await)["accepted"], 2);
}

/// Sends a request that must fail without storing anything.
async fn send_rejected(request: Request) -> (u16, Value, Response<Body>) {
    let app = app();
    let response = app.handle(request).await;
    assert!(stored_records(&app).is_empty());
    assert_eq!(header(&response, "Pinlake-Ack"), None);
    (response.status().as_u16(), body_json(&response), response)
}

#[tokio::test]
async fn malformed_json_is_located_and_nothing_is_stored() {
    let cases = [
        (
            "POST",
            "/topics/x.pin",
            KAFKA,
            "{\"records\":[{\"value\":{\"a\":1}},\n{\"value\":{\"a\":}}]}",
            2,
            15,
        ),
        ("POST", "/topics/x.pin", KAFKA, "{\"records\":[{\"value\":{\"a\":1}}", 1, 30),
        (
            "PUT",
            "/streams/streaming-1-pin/record",
            JSON,
            "{\"Data\":{\"a\":NaN},\"PartitionKey\":\"p\"}",
            1,
            14,
        ),
        ("PUT", "/streams/streaming-1-pin/records", JSON, "{\"records\":[{\"data\":1},]}", 1, 24),
        ("POST", "/v1/pin", JSON, "{\"a\": 1,}", 1, 9),
        ("POST", "/v1/pin", NDJSON, "{\"a\":\"é\"}\n{\"a\":2\n{\"a\":3}\n", 2, 7),
        ("POST", "/v1/pin", JSON, "{\"a\":1} trailing", 1, 9),
    ];
    for (method, path, content_type, body, line, column) in cases {
        let (status, error, _) = send_rejected(typed(method, path, content_type, body)).await;
        assert_eq!(status, 400, "{body}");
        assert_eq!((&error["line"], &error["column"]), (&json!(line), &json!(column)), "{body}: {error}");
        let message = error["message"].as_str().unwrap();
        assert!(message.contains(&format!("line {line}, column {column}")), "{message}");
    }
    let deep = format!("{}1{}", "[".repeat(5000), "]".repeat(5000));
    let (status, error, _) = send_rejected(typed("POST", "/v1/pin", JSON, deep)).await;
    assert_eq!((status, &error["column"]), (400, &json!(129)));
    // A long request whose last record is broken: the first ones would fill several Kinesis records.
    let mut long = vec![format!("{{\"a\":\"{}\"}}", "x".repeat(20_000)); 20];
    long.push("{".to_owned());
    assert_eq!(send_rejected(typed("POST", "/v1/pin", NDJSON, long.join("\n"))).await.0, 400);
}

#[tokio::test]
async fn errors_have_the_style_of_the_protocol() {
    let topic = |name: &str, content_type: &str, body: &str| {
        typed("POST", &format!("/topics/{name}"), content_type, body)
    };
    let record = |name: &str, content_type: &str, body: &str| {
        typed("PUT", &format!("/streams/{name}/record"), content_type, body)
    };
    let native = |name: &str, content_type: &str, body: &str| {
        typed("POST", &format!("/v1/{name}"), content_type, body)
    };

    for (request, status, code) in [
        (topic("0a1b.unheard", KAFKA, "{}"), 404, 40_401),
        (topic("x.pin", "text/csv", "{}"), 415, 415),
        (topic("x.pin", "application/vnd.kafka.avro.v2+json", "{}"), 415, 415),
        (topic("x.pin", KAFKA, ""), 400, 400),
        (topic("x.pin", KAFKA, " \n"), 400, 400),
        (topic("x.pin", KAFKA, "nope"), 400, 400),
        (topic("x.pin", KAFKA, "{}"), 422, 422),
        (topic("x.pin", KAFKA, "{\"records\":[]}"), 422, 422),
        (typed("DELETE", "/topics/x.pin", KAFKA, ""), 405, 405),
        (typed("POST", "/topics", KAFKA, ""), 405, 405),
        (typed("GET", "/topics/0a1b.unheard", KAFKA, ""), 404, 40_401),
        (typed("GET", "/topics/0a1b.unheard/partitions", KAFKA, ""), 404, 40_401),
        (typed("GET", "/topics/x.pin/partitions/1", KAFKA, ""), 404, 40_402),
        (typed("POST", "/topics/x.pin/partitions/1", KAFKA, r#"{"records":[{"value":1}]}"#), 404, 40_402),
        (typed("POST", "/topics/x.pin/partitions/-1", KAFKA, r#"{"records":[{"value":1}]}"#), 400, 400),
        (typed("POST", "/consumers/group", KAFKA, "{}"), 404, 404),
    ] {
        let (got, error, response) = send_rejected(request).await;
        assert_eq!((got, &error["error_code"]), (status, &json!(code)), "{error}");
        assert!(error["message"].is_string());
        assert_eq!(header(&response, "content-type"), Some("application/vnd.kafka.v2+json"));
    }
    for (request, status, exception) in [
        (record("nobodys-stream", JSON, "{\"Data\":1}"), 404, "ResourceNotFoundException"),
        (
            record("streaming-1-pin", "application/x-www-form-urlencoded", "a=1"),
            415,
            "UnsupportedMediaTypeException",
        ),
        (record("streaming-1-pin", JSON, ""), 400, "ValidationException"),
        (record("streaming-1-pin", JSON, "{\"PartitionKey\":\"p\"}"), 400, "ValidationException"),
        (record("streaming-1-pin", JSON, "{"), 400, "SerializationException"),
        (typed("PUT", "/streams/streaming-1-pin", JSON, ""), 405, "UnknownOperationException"),
        (typed("POST", "/test/streams", JSON, ""), 405, "UnknownOperationException"),
        (typed("GET", "/streams/nobodys-stream", JSON, ""), 404, "ResourceNotFoundException"),
        (
            typed("POST", "/streams/streaming-1-pin", JSON, "{\"ShardCount\": 5}"),
            400,
            "ResourceInUseException",
        ),
        (typed("POST", "/streams/nobodys-stream", JSON, "{\"ShardCount\": 5}"), 403, "AccessDeniedException"),
        (typed("DELETE", "/streams/streaming-1-pin", JSON, ""), 403, "AccessDeniedException"),
        (typed("DELETE", "/streams/nobodys-stream", JSON, ""), 404, "ResourceNotFoundException"),
    ] {
        let (got, error, response) = send_rejected(request).await;
        assert_eq!((got, &error["__type"]), (status, &json!(exception)), "{error}");
        assert_eq!(header(&response, "x-amzn-ErrorType"), Some(exception));
    }
    for (request, status, code) in [
        (native("unheard", JSON, "{}"), 404, "not_found"),
        (native("quarantine", JSON, "{}"), 404, "not_found"),
        (native("pin", "text/csv", "a,b"), 415, "unsupported_media_type"),
        (native("pin", JSON, "\n"), 400, "empty_body"),
        (native("pin", NDJSON, ""), 400, "empty_body"),
        (typed("PUT", "/v1/pin", JSON, "{}"), 405, "method_not_allowed"),
        (typed("GET", "/nosuch", JSON, ""), 404, "not_found"),
    ] {
        let (got, error, _) = send_rejected(request).await;
        assert_eq!((got, &error["error"]), (status, &json!(code)), "{error}");
        assert_eq!(error["request_id"], "req");
    }
    let allowed = |request| async { header(&send_rejected(request).await.2, "allow").map(str::to_owned) };
    assert_eq!(allowed(typed("DELETE", "/v1/pin", JSON, "")).await.as_deref(), Some("POST"));
    assert_eq!(allowed(typed("GET", "/streams/s/record", JSON, "")).await.as_deref(), Some("PUT, POST"));
}

#[tokio::test]
async fn sizes_are_bounded() {
    let long = format!("{{\"a\":\"{}\"}}", "x".repeat(MAX_RECORD_BYTES));
    for request in [
        typed("POST", "/v1/pin", NDJSON, format!("{{}}\n{long}\n")),
        typed("POST", "/topics/x.pin", KAFKA, format!("{{\"records\":[{{\"value\":{long}}}]}}")),
        typed("PUT", "/streams/streaming-1-pin/record", JSON, format!("{{\"Data\":{long}}}")),
        typed("POST", "/v1/pin", JSON, " ".repeat(6 * 1024 * 1024 + 1)),
    ] {
        let (status, error, _) = send_rejected(request).await;
        assert_eq!(status, 413, "{error}");
    }
    let bomb = zstd::encode_all(&vec![b' '; 64 * 1024 * 1024][..], 3).unwrap();
    let bomb = request("POST", "/v1/pin", &[("content-encoding", "zstd")], bomb);
    assert_eq!(send_rejected(bomb).await.0, 413);

    // One request near the limit.
    let app = app();
    let rows = vec![format!("{{\"a\":\"{}\"}}", "x".repeat(2000)); 3000].join("\n");
    let response = app.handle(typed("POST", "/v1/pin", NDJSON, rows)).await;
    assert_eq!(body_json(&response)["accepted"], 3000);
    assert_eq!(stored_records(&app).iter().map(|(_, data)| data.lines().count()).sum::<usize>(), 3000);
}

#[tokio::test]
async fn idempotency_keys_identify_the_request() {
    let app = app();
    let longest = "k".repeat(128);
    for key in ["a.b_c:d-E9", &longest] {
        let request = request("POST", "/v1/pin", &[("Idempotency-Key", key)], "{}");
        assert_eq!(body_json(&app.handle(request).await)["request_id"], *key);
    }
    assert_eq!(stored_records(&app)[0].0, "pin/a.b_c:d-E9/0");
    let too_long = "k".repeat(129);
    for key in ["", "a/b", "a b", "é", &too_long] {
        let (status, _, _) =
            send_rejected(request("POST", "/v1/pin", &[("Idempotency-Key", key)], "{}")).await;
        assert_eq!(status, 400, "{key}");
    }
    // Without one, the id of the invocation is used rather than that of the HTTP request.
    let mut context = lambda_http::Context::default();
    context.request_id = "invocation".to_owned();
    let app = self::app();
    app.handle(typed("POST", "/v1/pin", JSON, "{}").with_lambda_context(context)).await;
    assert_eq!(stored_records(&app)[0].0, "pin/invocation/0");
}

#[tokio::test]
async fn without_anonymous_access_lambda_must_have_authenticated_the_caller() {
    let signed_only = || App { access: Access::Signed, ..app() };
    for (path, code) in
        [("/topics/x.pin", "error_code"), ("/streams/s/record", "__type"), ("/v1/pin", "error")]
    {
        let app = signed_only();
        let response = app.handle(typed("POST", path, JSON, "{}")).await;
        assert_eq!(response.status(), 403, "{path}");
        assert!(body_json(&response)[code] != Value::Null);
        assert!(stored_records(&app).is_empty());
    }
    let mut event = event_file("ingest_kafka.json");
    event["requestContext"]["authorizer"] = json!({"iam": {
        "accessKey": "AKIAIOSFODNN7EXAMPLE", "accountId": "000000000000", "callerId": "AIDACKCEVSQ6C2EXAMPLE",
        "cognitoIdentity": null, "principalOrgId": null,
        "userArn": "arn:aws:iam::000000000000:user/sender", "userId": "AIDACKCEVSQ6C2EXAMPLE",
    }});
    assert_eq!(signed_only().handle(parse_event(&event)).await.status(), 200);
    event["requestContext"]["authorizer"] = json!({"lambda": {"iam": "yes"}});
    assert_eq!(signed_only().handle(parse_event(&event)).await.status(), 403);
}

#[tokio::test(start_paused = true)]
async fn throttled_records_are_put_again_until_they_are_stored() {
    let app = app_rejecting(|_, before| (before < 2).then_some(StreamErrorKind::Throttled));
    let response = app.handle(typed("POST", "/topics/x.pin", KAFKA, r#"{"records":[{"value":{}}]}"#)).await;
    assert_eq!(response.status(), 200);
    assert_eq!(stored_records(&app).len(), 1);
    let summary = response.extensions().get::<RequestSummary>().unwrap();
    assert_eq!((summary.stored, summary.failed, summary.retries), (1, 0, 2));
}

#[tokio::test(start_paused = true)]
async fn if_nothing_was_stored_the_client_is_asked_to_retry() {
    for (kind, status) in [
        (StreamErrorKind::Throttled, 429),
        (StreamErrorKind::Unavailable, 503),
        (StreamErrorKind::Permanent, 500),
    ] {
        for (path, body) in [
            ("/topics/x.pin", r#"{"records":[{"value":{}}]}"#),
            ("/streams/streaming-1-pin/record", r#"{"Data":{}}"#),
            ("/streams/streaming-1-pin/records", r#"{"records":[{"data":{}}]}"#),
            ("/v1/pin", "{}"),
        ] {
            let start = tokio::time::Instant::now();
            let app = app_rejecting(move |_, _| Some(kind));
            let response = app.handle(typed("POST", path, JSON, body)).await;
            assert_eq!(response.status(), status, "{path}");
            assert_eq!(header(&response, "retry-after").is_some(), status != 500);
            assert!(!body_json(&response).to_string().contains("12345"), "AWS messages belong in the log");
            assert!(start.elapsed() < Duration::from_secs(10));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn partial_writes_list_stored_and_failed_records() {
    // Every Kinesis record whose first line has an odd index is rejected every time.
    let odd = |record: &StreamRecord, _| (record.lines.start % 2 == 1).then_some(StreamErrorKind::Throttled);

    let app = app_rejecting(odd);
    // Records of different partition keys do not share a Kinesis record.
    let records = r#"{"records":[{"data":1},{"data":2,"partition-key":"a"},{"data":3}]}"#;
    let response = app.handle(typed("PUT", "/streams/Kinesis-Prod-Stream/records", JSON, records)).await;
    let answer = body_json(&response);
    assert_eq!((response.status().as_u16(), &answer["FailedRecordCount"]), (200, &json!(1)));
    assert_eq!(answer["Records"][1]["ErrorCode"], "SomeException");
    assert!(answer["Records"][2]["SequenceNumber"].is_string());

    // Each line of 20 KB needs a Kinesis record of its own.
    let row = format!("\"{}\"", "x".repeat(20_000));
    let app = app_rejecting(odd);
    let body = format!(r#"{{"records":[{{"value":{row}}},{{"value":{row}}}]}}"#);
    let response = app.handle(typed("POST", "/topics/x.pin", KAFKA, body)).await;
    let answer = body_json(&response);
    assert_eq!(response.status(), 200);
    assert!(header(&response, "Pinlake-Ack").is_some());
    assert_eq!(answer["offsets"][0]["error_code"], Value::Null);
    assert_eq!(answer["offsets"][1]["error_code"], 2);
    assert_eq!(answer["offsets"][1]["offset"], Value::Null);

    let app = app_rejecting(odd);
    let response = app.handle(typed("POST", "/v1/pin", NDJSON, format!("{row}\n").repeat(4))).await;
    let answer = body_json(&response);
    assert_eq!(response.status(), 503);
    assert_eq!(
        (&answer["accepted"], &answer["failed"]),
        (&json!([[0, 0], [2, 2]]), &json!([[1, 1], [3, 3]]))
    );
    assert!(header(&response, "retry-after").is_some() && header(&response, "Pinlake-Ack").is_some());
    let summary = response.extensions().get::<RequestSummary>().unwrap();
    assert_eq!((summary.stored, summary.failed, summary.dataset.as_deref()), (2, 2, Some("pin")));
}

#[tokio::test]
async fn offsets_grow_within_and_from_request_to_request() {
    let clock = Arc::new(ManualClock::at("2026-11-22T21:00:00Z".parse().unwrap()));
    let mut app = app();
    app.env.clock = clock.clone();
    let mut offsets = Vec::new();
    for _ in 0..3 {
        let body = r#"{"records":[{"value":{}},{"value":{}}]}"#;
        let answer = body_json(&app.handle(typed("POST", "/topics/x.pin", KAFKA, body)).await);
        offsets.extend(
            answer["offsets"].as_array().unwrap().iter().map(|entry| entry["offset"].as_i64().unwrap()),
        );
        clock.advance(Duration::from_millis(1));
    }
    assert!(offsets.is_sorted_by(|a, b| a < b), "{offsets:?}");
}

#[tokio::test]
async fn an_empty_array_is_accepted_by_the_native_protocol() {
    let app = app();
    let response = app.handle(typed("POST", "/v1/pin", JSON, "[]")).await;
    assert_eq!(body_json(&response), json!({"accepted": 0, "request_id": "req"}));
    assert_eq!(header(&response, "Pinlake-Ack"), None);
    assert!(app.stream.state.lock().unwrap().puts.is_empty());
}
