//! What holds for any request; a law that is broken panics. Property tests beside it and the fuzz target `request` share it.

use std::sync::{Arc, LazyLock, Mutex};

use http::{Method, StatusCode};
use ingest::app::{Access, App, Report};
use ingest::compact::{MAX_DEPTH, Reader};
use ingest::packing::{MAX_RECORD_BYTES, StreamRecord};
use ingest::reading::ReadableStream;
use ingest::stream::{PutError, Receipt, RecordStream};
use ingest::writer::RetryPolicy;
use lambda_http::{Body, Response};
use pinlake_env::{Env, ManualClock, Rng};
use pinlake_schema::Catalog;
use pinlake_schema::stream_key::StreamKey;
use serde_json::Value;
use serde_json::value::RawValue;

/// Where a body may be posted.
pub const PLACES: [(&str, &str); 5] = [
    ("POST", "/v1/geo"),
    ("POST", "/topics/0a1b.geo"),
    ("PUT", "/streams/streaming-0a1b-geo/record"),
    ("PUT", "/streams/Kinesis-Prod-Stream/records"),
    ("POST", "/v1/nothing"),
];

/// What a body may be called.
pub const TYPES: [&str; 5] = [
    "",
    "application/json",
    "application/x-ndjson",
    "application/vnd.kafka.json.v2+json",
    "text/html; \u{e9}",
];

/// How a body may be packed, or said to be.
pub const ENCODINGS: [&str; 5] = ["", "gzip", "zstd", "identity", "br"];

/// Takes everything, and keeps it.
#[derive(Default)]
struct Willing(Mutex<Vec<StreamRecord>>);

impl RecordStream for Willing {
    async fn put_records(
        &self,
        records: &[&StreamRecord],
    ) -> Result<Vec<Result<Receipt, PutError>>, PutError> {
        self.0.lock().expect("one thread").extend(records.iter().map(|record| (*record).clone()));
        let receipt = Receipt { shard: "shardId-000000000000".into(), sequence: "1".into() };
        Ok(vec![Ok(receipt); records.len()])
    }
}

impl ReadableStream for Willing {}

static CATALOG: LazyLock<Arc<Catalog>> =
    LazyLock::new(|| Arc::new(Catalog::embedded().unwrap_or_else(|errors| panic!("{errors}"))));

/// Posts a body. The answer, and what is then on the stream.
pub fn answer(
    place: (&str, &str),
    media_type: &str,
    encoding: &str,
    body: &[u8],
) -> (Response<Body>, Vec<StreamRecord>) {
    let app = App {
        stream: Willing::default(),
        catalog: Arc::clone(&CATALOG),
        access: Access::Anyone,
        reads: false,
        patience: RetryPolicy::default(),
        effects: Env {
            clock: Arc::new(ManualClock::at("2026-11-22T21:00:00Z".parse().expect("a time"))),
            rng: Arc::new(Rng::seeded(1)),
        },
    };
    let method: Method = place.0.parse().expect("a method");
    let mut request = http::Request::builder()
        .method(method)
        .uri(format!("https://localhost{}", place.1))
        .header("Idempotency-Key", "k");
    for (name, value) in [("Content-Type", media_type), ("Content-Encoding", encoding)] {
        if !value.is_empty() {
            request = request.header(name, value.as_bytes());
        }
    }
    let request = request.body(Body::from(body.to_vec())).expect("a request");
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    let response = runtime.block_on(app.handle(request));
    (response, app.stream.0.into_inner().expect("one thread"))
}

/// Posts a body. The answer, and the lines that are then on the stream.
fn post(
    place: (&str, &str),
    media_type: &str,
    encoding: &str,
    body: &[u8],
) -> (Response<Body>, Vec<Vec<u8>>) {
    let (response, records) = answer(place, media_type, encoding, body);
    let mut lines: Vec<Vec<u8>> = Vec::new();
    for record in records {
        assert!(record.bytes() <= MAX_RECORD_BYTES);
        let key = StreamKey::parse(&record.key).expect("a key of our own");
        assert_eq!((key.request, key.index), ("k", lines.len() as u64), "lines are numbered as they came");
        lines.extend(record.data.split(|byte| *byte == b'\n').map(<[u8]>::to_vec));
        assert_eq!(record.lines, key.index..lines.len() as u64);
    }
    (response, lines)
}

/// Any request is answered 200 with every record on the stream, or 4xx with none; never is a fault of its own answered.
pub fn request(place: (&str, &str), media_type: &str, encoding: &str, body: &[u8]) {
    let (response, lines) = post(place, media_type, encoding, body);
    let said: Value = serde_json::from_slice(response.body()).expect("JSON");
    let report = response.extensions().get::<Report>().expect("a report");
    assert_eq!((report.stored, report.failed), (lines.len() as u64, 0));
    match response.status() {
        StatusCode::OK => {}
        StatusCode::BAD_REQUEST
        | StatusCode::NOT_FOUND
        | StatusCode::PAYLOAD_TOO_LARGE
        | StatusCode::UNSUPPORTED_MEDIA_TYPE
        | StatusCode::UNPROCESSABLE_ENTITY => {
            assert!(lines.is_empty(), "nothing of a refused request is stored");
            let message = said["message"].as_str().expect("a message");
            assert!((10..400).contains(&message.len()), "{message}");
            assert_eq!(message.contains("malformed JSON"), said["line"].is_u64() && said["column"].is_u64());
        }
        other => panic!("{other}: {said}"),
    }
    for line in &lines {
        let mut again = Vec::new();
        let mut reader = Reader::new(line);
        reader.value(&mut again).and_then(|()| reader.end()).expect("a line is JSON");
        assert_eq!(&again, line, "compact already");
        serde_json::from_slice::<&RawValue>(line).expect("JSON for another reader too");
    }
    if place.1 == "/v1/geo" && media_type == "application/x-ndjson" && encoding.is_empty() {
        by_another_reader(body, response.status(), &lines);
    }
}

/// Lines are accepted when another reader of JSON accepts each, and mean the same to it when they are stored.
fn by_another_reader(body: &[u8], status: StatusCode, stored: &[Vec<u8>]) {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let sent: Vec<&[u8]> = body.split(|byte| *byte == b'\n').filter(|line| !blank(line)).collect();
    let accepted =
        sent.iter().all(|line| serde_json::from_slice::<&RawValue>(line).is_ok() && depth(line) <= MAX_DEPTH);
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

fn blank(line: &[u8]) -> bool {
    line.iter().all(|byte| b" \t\r\n".contains(byte))
}

/// How deep brackets of JSON text are nested.
fn depth(json: &[u8]) -> usize {
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

/// A value is the same line in every format: each takes it, or none does.
pub fn value(json: &str) {
    let posted = |place: usize, media_type: &str, body: String| {
        let (response, lines) = post(PLACES[place], media_type, "", body.as_bytes());
        (response.status() == StatusCode::OK).then_some(lines)
    };
    let native = posted(0, "application/json", format!("[{json}]"));
    let kafka = posted(1, "", format!("{{\"records\":[{{\"value\":{json}}}]}}"));
    let record = posted(2, "", format!("{{\"Data\":{json},\"PartitionKey\":1}}"));
    let records = posted(3, "", format!("{{\"records\":[{{\"data\":{json}}}]}}"));
    if serde_json::from_str::<&RawValue>(json).is_err() || depth(json.as_bytes()) > MAX_DEPTH - 3 {
        // It may close the envelope and go on.
        return;
    }
    assert!(
        native.is_some() && kafka == record && record == records,
        "{native:?} {kafka:?} {record:?} {records:?}"
    );
    // What the old APIs hold in a string is taken out of it.
    if !json.trim_start().starts_with('"') {
        assert_eq!(native, kafka);
    }
}
