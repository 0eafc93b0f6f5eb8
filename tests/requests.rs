//! Requests of real clients.

use std::io::Write;

use base64::{Engine, engine::general_purpose::STANDARD};
use flate2::{Compression, write::GzEncoder};
use reqwest::Method;
use serde_json::{Value, json};

/// A request to ingest.
pub struct HttpRequest {
    pub method: Method,
    pub path: String,
    pub headers: Vec<(&'static str, &'static str)>,
    pub body: Vec<u8>,
}

impl HttpRequest {
    fn new(method: Method, path: String, content_type: &'static str, body: impl ToString) -> HttpRequest {
        let body = body.to_string().into_bytes();
        HttpRequest { method, path, headers: vec![("Content-Type", content_type)], body }
    }

    /// A request to the Kafka REST proxy.
    pub fn kafka(topic: &str, body: impl ToString) -> HttpRequest {
        HttpRequest::new(Method::POST, format!("/topics/{topic}"), "application/vnd.kafka.json.v2+json", body)
    }

    /// A request to API Gateway in front of Kinesis. `stream` ends with `/record` or `/records`.
    pub fn kinesis(stream: &str, body: impl ToString) -> HttpRequest {
        HttpRequest::new(Method::PUT, format!("/test/streams/{stream}"), "application/json", body)
    }

    /// A request in pinlake's own format.
    pub fn native(dataset: &str, body: impl ToString) -> HttpRequest {
        HttpRequest::new(Method::POST, format!("/v1/{dataset}"), "application/x-ndjson", body)
    }

    pub fn with_method(self, method: Method) -> HttpRequest {
        HttpRequest { method, ..self }
    }

    pub fn with_content_type(self, content_type: &'static str) -> HttpRequest {
        HttpRequest { headers: vec![("Content-Type", content_type)], ..self }
    }

    fn gzipped(mut self) -> HttpRequest {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(&self.body).unwrap();
        self.body = encoder.finish().unwrap();
        self.headers.push(("Content-Encoding", "gzip"));
        self
    }
}

pub fn pin(ind: i64) -> Value {
    json!({
        "index": ind, "unique_id": format!("5f0c2d1e-8a47-4c3b-9e6d-{ind:012}"), "title": "Ten quiet corners 🪑",
        "description": "A window seat…\u{a0}", "poster_name": "Lina's \"Attic\"", "follower_count": "12k",
        "tag_list": "Reading Nook,Window Seat", "is_image_or_video": "image", "image_src": "https://example.org/1.jpg",
        "downloaded": 1, "save_location": "Local save in /data/home-decor", "category": "home-decor",
    })
}

pub fn geo(ind: i64) -> Value {
    json!({
        "ind": ind, "timestamp": "2021-03-14 15:09:26", "latitude": -33.4489, "longitude": -70.6693,
        "country": "Côte d'Ivoire",
    })
}

pub fn user(ind: i64) -> Value {
    json!({
        "ind": ind, "first_name": "Zoë", "last_name": "Okafor", "age": 34, "date_joined": "2016-08-09T10:11:12",
    })
}

/// Replaces the value of a field.
pub fn set_field(mut row: Value, field: &str, value: Value) -> Value {
    row[field] = value;
    row
}

/// Removes a field.
pub fn remove_field(mut row: Value, field: &str) -> Value {
    row.as_object_mut().unwrap().shift_remove(field);
    row
}

/// Renames the number of a row to the other name that clients use.
fn rename_index(row: Value) -> Value {
    let ind = row["ind"].clone();
    set_field(remove_field(row, "ind"), "index", ind)
}

/// Formats JSON like Python's `json.dumps`: with blanks and ASCII only.
fn to_python_json(value: &Value) -> String {
    let joined = |parts: Vec<String>| parts.join(", ");
    match value {
        Value::Object(members) => {
            let member = |(name, value): (&String, &Value)| format!("\"{name}\": {}", to_python_json(value));
            format!("{{{}}}", joined(members.iter().map(member).collect()))
        }
        Value::Array(items) => format!("[{}]", joined(items.iter().map(to_python_json).collect())),
        other => {
            let escaped = |unit: u16| match u8::try_from(unit) {
                Ok(ascii) if ascii.is_ascii() => char::from(ascii).to_string(),
                _ => format!("\\u{unit:04x}"),
            };
            other.to_string().encode_utf16().map(escaped).collect()
        }
    }
}

/// A dataset and a row as it was sent.
pub type SentRow = (&'static str, Value);

/// All known forms of valid requests, each with its rows.
pub fn valid_requests(mut number: impl FnMut() -> i64) -> Vec<(HttpRequest, Vec<SentRow>)> {
    [kafka_requests(&mut number), kinesis_requests(&mut number), native_requests(&mut number)]
        .into_iter()
        .flatten()
        .collect()
}

fn kafka_requests(number: &mut impl FnMut() -> i64) -> Vec<(HttpRequest, Vec<SentRow>)> {
    let uid = "0a1b2c3d4e5f";
    let one = pin(number());
    let stock = to_python_json(&json!({ "records": [{ "value": one }] }));
    let (a, b) = (geo(number()), geo(number()));
    let many =
        json!({ "records": [{ "key": "k", "value": a }, { "partition": 0, "value": b }, { "value": a }] });
    let renamed = rename_index(user(number()));
    let pretty = serde_json::to_string_pretty(&json!({ "records": [{ "value": renamed }] })).unwrap();
    let homeless = remove_field(pin(number()), "save_location");
    let object = json!({ "records": { "value": homeless } });
    let capital = rename_index(geo(number()));
    let data = json!({ "records": [{ "Data": capital }] });
    vec![
        (HttpRequest::kafka(&format!("{uid}.pin"), stock), vec![("pin", one)]),
        (HttpRequest::kafka(&format!("{uid}.geo"), many), vec![("geo", a), ("geo", b)]),
        (HttpRequest::kafka(&format!("{uid}.user"), pretty), vec![("user", renamed)]),
        (HttpRequest::kafka("pinterest.pin", object), vec![("pin", homeless)]),
        (HttpRequest::kafka(&format!("{uid}.geo"), data), vec![("geo", capital)]),
    ]
}

fn kinesis_requests(number: &mut impl FnMut() -> i64) -> Vec<(HttpRequest, Vec<SentRow>)> {
    let american = set_field(geo(number()), "timestamp", json!("03/14/2021, 15:09:26"));
    let stock = json!({ "StreamName": ["YourStreamName"], "Data": american, "PartitionKey": "partition-1" });
    let quoted = pin(number());
    let text = json!({ "StreamName": "x", "Data": to_python_json(&quoted), "PartitionKey": 7 });
    let encoded = user(number());
    let base64 = json!({ "Data": STANDARD.encode(encoded.to_string()), "PartitionKey": "user" });
    let by_shape = pin(number());
    let mongo = set_field(geo(number()), "timestamp", json!({ "$date": "2020-02-29T00:00:00Z" }));
    let by_key = user(number());
    let shared = json!({ "records": [
        { "data": by_shape, "partition-key": "0b6c5a52-63a4-4a9e-8f1c-55c6e6b0c0a1" },
        { "data": mongo, "partition-key": 3 },
        { "data": by_key, "partition-key": "user" },
    ] });
    let posted = pin(number());
    let capital = json!({ "StreamName": "x", "Records": [{ "Data": posted, "PartitionKey": "p" }] });
    vec![
        (HttpRequest::kinesis("streaming-0a1b2c3d4e5f-geo/record", stock), vec![("geo", american)]),
        (HttpRequest::kinesis("streaming-0a1b2c3d4e5f-pin/record", text), vec![("pin", quoted)]),
        (HttpRequest::kinesis("Kinesis-Prod-Stream/record", base64), vec![("user", encoded)]),
        (
            HttpRequest::kinesis("Kinesis-Prod-Stream/records", shared),
            vec![("pin", by_shape), ("geo", mongo), ("user", by_key)],
        ),
        (
            HttpRequest::kinesis("streaming-0a1b2c3d4e5f-pin/records", capital).with_method(Method::POST),
            vec![("pin", posted)],
        ),
    ]
}

fn native_requests(number: &mut impl FnMut() -> i64) -> Vec<(HttpRequest, Vec<SentRow>)> {
    let one = user(number());
    let (a, b) = (pin(number()), set_field(pin(number()), "follower_count", json!("User Info Error")));
    let (c, d) = (geo(number()), geo(number()));
    vec![
        (HttpRequest::native("user", &one).with_content_type("application/json"), vec![("user", one)]),
        (
            HttpRequest::native("pin", json!([a, b])).with_content_type("application/json"),
            vec![("pin", a), ("pin", b)],
        ),
        (HttpRequest::native("geo", format!("{c}\n\n{d}\r\n{c}")).gzipped(), vec![("geo", c), ("geo", d)]),
    ]
}
