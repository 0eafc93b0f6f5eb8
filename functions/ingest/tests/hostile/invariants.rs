//! Invariants of any request. A violation panics. The property tests and the fuzz target `request` use them.

use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{Method, StatusCode};
use ingest::access::Access;
use ingest::app::{App, RequestSummary};
use ingest::body::{MAX_TEXT_BYTES, MIN_RATIO_BYTES};
use ingest::json_reader::{JsonReader, MAX_DEPTH};
use ingest::packing::{MAX_RECORD_BYTES, StreamRecord};
use ingest::stream::read::ReadableStream;
use ingest::stream::{Receipt, RecordStream, StreamError};
use ingest::writer::WriteRetryPolicy;
use lambda_http::{Body, RequestExt as _, Response};
use pinlake_env::{Env, ManualClock, Rng};
use pinlake_payload::{Record, Records};
use pinlake_schema::Catalog;
use pinlake_schema::stream_key::StreamKey;
use serde::de::IgnoredAny;
use serde_json::Value;
use serde_json::value::RawValue;

/// Methods and paths.
pub const ENDPOINTS: [(&str, &str); 6] = [
    ("POST", "/v1/geo"),
    ("POST", "/topics/0a1b.geo"),
    ("PUT", "/streams/streaming-0a1b-geo/record"),
    ("PUT", "/streams/Kinesis-Prod-Stream/records"),
    ("POST", "/v1/nothing"),
    ("POST", "/v1/logs?dataset=geo"),
];

/// Values of Content-Type.
pub const MEDIA_TYPES: [&str; 5] = [
    "",
    "application/json",
    "application/x-ndjson",
    "application/vnd.kafka.json.v2+json",
    "text/html; \u{e9}",
];

/// Values of Content-Encoding, which need not be true.
pub const ENCODINGS: [&str; 5] = ["", "gzip", "zstd", "identity", "br"];

/// Stores every record.
#[derive(Default)]
struct MemoryStream(Mutex<Vec<StreamRecord>>);

impl RecordStream for MemoryStream {
    async fn put_records(
        &self,
        records: &[&StreamRecord],
    ) -> Result<Vec<Result<Receipt, StreamError>>, StreamError> {
        self.0.lock().expect("one thread").extend(records.iter().map(|record| (*record).clone()));
        let receipt = Receipt { shard: "shardId-000000000000".into(), sequence: "1".into() };
        Ok(vec![Ok(receipt); records.len()])
    }
}

impl ReadableStream for MemoryStream {}

static CATALOG: LazyLock<Arc<Catalog>> =
    LazyLock::new(|| Arc::new(Catalog::embedded().unwrap_or_else(|errors| panic!("{errors}"))));

/// Sends a body. Returns the response and the records on the stream.
pub fn send(
    endpoint: (&str, &str),
    media_type: &str,
    encoding: &str,
    body: &[u8],
) -> (Response<Body>, Vec<StreamRecord>) {
    let app = App {
        stream: MemoryStream::default(),
        catalog: Arc::clone(&CATALOG),
        access: Access::Anyone,
        reads_enabled: false,
        is_paused: false,
        cors: ingest::cors::Cors::default(),
        webhooks: ingest::webhook::Webhooks::default(),
        retry_policy: WriteRetryPolicy::default(),
        env: Env {
            clock: Arc::new(ManualClock::at("2026-11-22T21:00:00Z".parse().expect("a time"))),
            rng: Arc::new(Rng::seeded(1)),
        },
    };
    let method: Method = endpoint.0.parse().expect("a method");
    let mut request = http::Request::builder()
        .method(method)
        .uri(format!("https://localhost{}", endpoint.1))
        .header("Idempotency-Key", "k");
    for (name, value) in [("Content-Type", media_type), ("Content-Encoding", encoding)] {
        if !value.is_empty() {
            request = request.header(name, value.as_bytes());
        }
    }
    let request = request.body(Body::from(body.to_vec())).expect("a request");
    let query = endpoint.1.split_once('?').and_then(|(_, query)| query.split_once('='));
    let query: HashMap<String, String> =
        query.into_iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
    let request = request.with_query_string_parameters(query);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let response = runtime.block_on(app.handle(request));
    (response, app.stream.0.into_inner().expect("one thread"))
}

/// Sends a body. Returns the response and the lines on the stream.
fn send_and_split(
    endpoint: (&str, &str),
    media_type: &str,
    encoding: &str,
    body: &[u8],
) -> (Response<Body>, Vec<Vec<u8>>) {
    let (response, records) = send(endpoint, media_type, encoding, body);
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for record in records {
        assert!(record.bytes() <= MAX_RECORD_BYTES);
        let key = StreamKey::parse(&record.key).expect("a stream key");
        assert_eq!((key.request, key.index), ("k", lines.len() as u64), "lines are numbered in order");
        lines.extend(record.data.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
        assert_eq!(record.lines, key.index..lines.len() as u64);
    }
    (response, lines)
}

/// Any request is answered 200 with every record stored, or 4xx with none, but never 5xx.
pub fn check_request(endpoint: (&str, &str), media_type: &str, encoding: &str, body: &[u8]) {
    let (response, lines) = send_and_split(endpoint, media_type, encoding, body);
    let answer: Value = serde_json::from_slice(response.body()).expect("JSON");
    let summary = response.extensions().get::<RequestSummary>().expect("a summary");
    assert_eq!((summary.stored, summary.failed), (lines.len() as u64, 0));
    match response.status() {
        StatusCode::OK => {}
        StatusCode::BAD_REQUEST
        | StatusCode::NOT_FOUND
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => {
            assert!(lines.is_empty(), "nothing of a rejected request is stored");
            let message = answer["message"].as_str().expect("a message");
            assert!((10..400).contains(&message.len()), "{message}");
            assert_eq!(
                message.contains("malformed JSON"),
                answer["line"].is_u64() && answer["column"].is_u64()
            );
        }
        other => panic!("{other}: {answer}"),
    }
    for line in &lines {
        let mut again = Vec::new();
        let mut reader = JsonReader::new(line);
        reader.copy_value(&mut again).and_then(|()| reader.expect_end()).expect("a line is JSON");
        assert_eq!(&again, line, "a line is compact");
        serde_json::from_slice::<&RawValue>(line).expect("serde_json accepts it");
    }
    if endpoint.1 == "/v1/geo" && media_type == "application/x-ndjson" && encoding.is_empty() {
        compare_with_serde_json(body, response.status(), &lines);
    }
}

/// The same bytes give the same records over HTTP, as the `Data` of a Kinesis request, and on the stream, where another
/// producer puts them.
pub fn check_data(data: &[u8]) {
    let Ok(text) = pinlake_payload::decode(data, MAX_TEXT_BYTES) else { return };
    // Other bytes go to quarantine, over HTTP as the base64 that was sent.
    if !pinlake_payload::has_record(&text) {
        return;
    }
    let on_stream = match serde_json::from_slice::<IgnoredAny>(&text).is_ok() {
        true => records_of(Records::of_value(&text, |_| false)),
        false => records_of(Records::of_lines(&text, |_| false)),
    };
    let body = format!("{{\"Data\":\"{}\",\"PartitionKey\":\"p\"}}", STANDARD.encode(data));
    let (response, records) = send(ENDPOINTS[2], "application/json", "", body.as_bytes());
    // Over HTTP, what a value may decompress to is bounded by its size.
    if response.status() == StatusCode::PAYLOAD_TOO_LARGE && text.len() > MIN_RATIO_BYTES {
        return;
    }
    assert_eq!(response.status(), StatusCode::OK);
    let mut over_http = Vec::new();
    for record in records {
        let text = pinlake_payload::decode(&record.data, MAX_TEXT_BYTES).expect("it is not compressed");
        over_http.extend(records_of(Records::of_lines(&text, |_| false)));
    }
    assert_eq!(over_http, on_stream, "{}", String::from_utf8_lossy(data));
}

/// Records as the cleaner compares them: without white space between tokens. Those that are not JSON keep their bytes, but
/// a line feed in them is a blank.
fn records_of<F: Fn(&str) -> bool>(records: Records<'_, F>) -> Vec<String> {
    let text = |record: Record<'_>| {
        let mut compact = Vec::new();
        let mut reader = JsonReader::new(&record.bytes);
        let is_json = std::str::from_utf8(&record.bytes).is_ok()
            && reader.copy_value(&mut compact).and_then(|()| reader.expect_end()).is_ok();
        let bytes = match is_json {
            true => compact,
            false => record
                .bytes
                .trim_ascii()
                .iter()
                .map(|byte| if *byte == b'\n' { b' ' } else { *byte })
                .collect(),
        };
        String::from_utf8_lossy(&bytes).into_owned()
    };
    records.map(text).collect()
}

/// Lines are accepted if serde_json accepts each of them, and the stored lines have the same values.
fn compare_with_serde_json(body: &[u8], status: StatusCode, stored: &[Vec<u8>]) {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let sent: Vec<&[u8]> = body.split(|byte| *byte == b'\n').filter(|line| !is_blank(line)).collect();
    let accepted = sent
        .iter()
        .all(|line| serde_json::from_slice::<&RawValue>(line).is_ok() && nesting_depth(line) <= MAX_DEPTH);
    let utf8 = std::str::from_utf8(body).is_ok();
    if sent.iter().any(|line| line.len() > MAX_RECORD_BYTES / 2) {
        return;
    }
    assert_eq!(status == StatusCode::OK, accepted && utf8 && !body.trim_ascii().is_empty());
    if status == StatusCode::OK {
        assert_eq!(stored.len(), sent.len());
        for (stored, sent) in stored.iter().zip(sent) {
            let value = |text: &[u8]| serde_json::from_slice::<Value>(text).ok();
            assert_eq!(value(stored), value(sent));
        }
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.iter().all(|byte| b" \t\r\n".contains(byte))
}

/// The depth of the brackets in JSON text.
fn nesting_depth(json: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A value becomes the same line in every protocol, or every protocol rejects it.
pub fn check_value(json: &str) {
    let post = |endpoint: usize, media_type: &str, body: String| {
        let (response, lines) = send_and_split(ENDPOINTS[endpoint], media_type, "", body.as_bytes());
        (response.status() == StatusCode::OK).then_some(lines)
    };
    let native = post(0, "application/json", format!("[{json}]"));
    let kafka = post(1, "", format!("{{\"records\":[{{\"value\":{json}}}]}}"));
    let record = post(2, "", format!("{{\"Data\":{json},\"PartitionKey\":1}}"));
    let records = post(3, "", format!("{{\"records\":[{{\"data\":{json}}}]}}"));
    if serde_json::from_str::<&RawValue>(json).is_err() || nesting_depth(json.as_bytes()) > MAX_DEPTH - 3 {
        // Such a text could close the envelope and continue.
        return;
    }
    assert!(
        native.is_some() && kafka == record && record == records,
        "{native:?} {kafka:?} {record:?} {records:?}"
    );
    // The old APIs decode strings and arrays of records, the native one leaves that to the cleaner.
    match json.trim_start().as_bytes().first() {
        Some(b'"') => {}
        Some(b'[') => {
            let count = |line: &Vec<u8>| pinlake_payload::Records::of_value(line, |_| true).count();
            let native = native.map(|lines| lines.iter().map(count).sum::<usize>());
            assert_eq!(native, kafka.map(|lines| lines.len()));
        }
        _ => assert_eq!(native, kafka),
    }
}
