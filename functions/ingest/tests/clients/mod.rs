//! Requests as clients of the old pipelines, other APIs and browsers send them.

mod cases;

use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ingest::access::Access;
use ingest::app::App;
use ingest::cors::Cors;
use pinlake_platform::api_keys::{ApiKeys, entry};
use pinlake_schema::Catalog;
use serde_json::{Value, json};

use crate::{JSON, KAFKA, MemoryStream, app, body_json, header, pairs, request, stored_records, typed};

const PIN: &str = r#"{"index":1,"unique_id":"u"}"#;

/// The lines that a request stores, and its response.
async fn send(method: &str, path: &str, content_type: &str, body: &str) -> (u16, Vec<String>) {
    let app = app();
    let response = app.handle(typed(method, path, content_type, body)).await;
    let lines = stored_records(&app)
        .into_iter()
        .flat_map(|(_, data)| data.split('\n').map(str::to_owned).collect::<Vec<_>>());
    (response.status().as_u16(), lines.collect())
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

#[tokio::test]
async fn names_and_paths_of_old_clients_are_taken() {
    let kinesis = format!(r#"{{"StreamName":"x","Data":{PIN},"PartitionKey":"p"}}"#);
    let kafka = format!(r#"{{"records":[{{"value":{PIN}}}]}}"#);
    for (method, path, content_type, body) in [
        ("PUT", "/test/streams/record?stream-name=streaming-0a1b-pin", JSON, &kinesis),
        ("POST", "/streams/records?StreamName=streaming-0a1b-pin", JSON, &kafka),
        ("PUT", "/test/streams/record?STREAM_NAME=streaming-0a1b-pin", JSON, &kinesis),
        ("PUT", "/prod/streams//record", JSON, &kinesis.replace("\"x\"", "\"streaming-0a1b-pin\"")),
        ("POST", "/test/topic/0a1b.pin", KAFKA, &kafka),
        ("PUT", "/PDP-Mile-9/stream/streaming-0a1b-pin/record", JSON, &kinesis),
        ("PUT", "/test/streams/pin/record", JSON, &kinesis),
        ("PUT", "/test/streams/my-pin-stream/record", JSON, &kinesis),
        ("PUT", "/test/streams/0a1b.pin/record", JSON, &kinesis),
        ("POST", "/test/topics/streaming-0a1b-pin", KAFKA, &kafka),
        ("PUT", "/test/topics/streaming-0a1b-pin/record", JSON, &kinesis),
        ("PUT", "/test/streams/streaming-0a1b-pin/record", KAFKA, &kafka),
        ("PUT", "/test/streams/streaming-0a1b-pin/record", KAFKA, &kinesis),
        ("POST", "/topics/0a1b.pin", "application/vnd.kafka.jsonschema.v2+json", &kafka),
        ("POST", "/v1/pin", "text/plain;charset=UTF-8", &PIN.to_owned()),
    ] {
        let app = app();
        let response = app.handle(typed(method, path, content_type, body)).await;
        assert_eq!(response.status(), 200, "{path}: {}", body_json(&response));
        let (key, data) = stored_records(&app).remove(0);
        assert!(key.starts_with("pin/req/0") && data == PIN, "{path}: {key} {data}");
    }
}

#[tokio::test]
async fn a_404_says_what_would_be_taken() {
    let message = async |app: &App<MemoryStream>, method, path: &str, headers: &[(&str, &str)]| {
        let response = app.handle(request(method, path, headers, "{}")).await;
        assert_eq!(response.status(), 404, "{path}");
        body_json(&response)["message"].as_str().unwrap().to_owned()
    };
    let open = app();
    for (method, path, expected) in [
        ("PUT", "/streams/nosuch/record", "'Kinesis-Prod-Stream', '*-geo'"),
        ("PUT", "/prod/streams//record", "stream '' not found"),
        ("POST", "/topics/nosuch", "'*.geo'"),
        ("POST", "/nosuch/at/all", "PUT /streams/<stream>/record"),
    ] {
        let message = message(&open, method, path, &[]).await;
        assert!(message.contains(expected), "{path}: {message}");
    }
    let keys = ApiKeys::parse(&entry("pins", "plk_pin", &["pin".to_owned()]), &Catalog::embedded().unwrap());
    let limited = App { access: Access::Keys(keys.unwrap()), ..app() };
    for (method, path) in
        [("PUT", "/streams/nosuch/record"), ("POST", "/topics/nosuch"), ("POST", "/v1/nosuch")]
    {
        let message = message(&limited, method, path, &[("x-api-key", "plk_pin")]).await;
        assert!(message.contains("pin"), "{message}");
        assert!(!message.contains("geo") && !message.contains("user"), "it names other datasets: {message}");
    }
}

#[tokio::test]
async fn one_value_may_have_several_records() {
    let lines = [r#"{"ind":1,"country":"Peru"}"#, r#"{"ind":2,"country":"Chile"}"#];
    let (array, text) = (format!("[{}]", lines.join(", ")), format!("{}\n", lines.join("\n")));
    let quoted = |text: &str| serde_json::to_string(text).unwrap();
    let encoded = |bytes: &[u8]| quoted(&STANDARD.encode(bytes));
    for value in [
        array.clone(),
        quoted(&text),
        quoted(&array),
        encoded(text.as_bytes()),
        encoded(array.as_bytes()),
        encoded(&gzip(text.as_bytes())),
    ] {
        let kafka = format!(r#"{{"records":[{{"value":{value}}},{{"value":{value}}}]}}"#);
        let kinesis = format!(r#"{{"Data":{value},"PartitionKey":"p"}}"#);
        let v3 = format!(r#"{{"value":{{"type":"JSON","data":{value}}}}}"#);
        for (path, body, times) in [
            ("/topics/x.geo", &kafka, 2),
            ("/streams/x-geo/record", &kinesis, 1),
            ("/v3/clusters/c/topics/x.geo/records", &v3, 1),
        ] {
            let (status, stored) = send("POST", path, JSON, body).await;
            assert_eq!(
                (status, stored),
                (200, lines.repeat(times).into_iter().map(str::to_owned).collect()),
                "{path} {value}"
            );
        }
    }
    let app = app();
    let body = format!(r#"{{"records":[{{"value":{array}}},{{"value":{{}}}}]}}"#);
    let response = body_json(&app.handle(typed("POST", "/topics/x.geo", KAFKA, body)).await);
    assert_eq!(response["offsets"].as_array().unwrap().len(), 2, "one offset for each record of the request");
}

#[tokio::test]
async fn small_requests_do_not_become_many_records() {
    let app = app();
    let body = format!(r#"{{"records":[{}]}}"#, vec![r#"{"data":1}"#; 500].join(","));
    let response = app.handle(typed("PUT", "/streams/x-geo/records", JSON, &body)).await;
    assert_eq!(body_json(&response)["Records"].as_array().unwrap().len(), 500);
    assert_eq!(stored_records(&app).len(), 1);
    let zeros = vec![b' '; 16 << 20];
    let bomb = zstd::encode_all(&zeros[..], 3).unwrap();
    let headers = [("content-type", JSON), ("content-encoding", "zstd")];
    assert_eq!(app.handle(request("POST", "/v1/geo", &headers, bomb)).await.status(), 413);
}

#[tokio::test]
async fn the_kinesis_api_is_answered_as_kinesis_does() {
    let call = async |app: &App<MemoryStream>, target: &str, body: Value| {
        let headers = [("x-amz-target", target), ("content-type", "application/x-amz-json-1.1")];
        let response = app.handle(request("POST", "/", &headers, body.to_string())).await;
        assert_eq!(header(&response, "content-type"), Some("application/x-amz-json-1.1"));
        (response.status().as_u16(), body_json(&response))
    };
    let app = app();
    let data = STANDARD.encode(PIN);
    let record = json!({"Data": data, "PartitionKey": "p"});
    let one = json!({"StreamName": "x-pin", "Data": data, "PartitionKey": "p"});
    let (status, body) = call(&app, "Kinesis_20131202.PutRecord", one).await;
    assert!(status == 200 && body["ShardId"].is_string(), "{body}");
    let many = json!({"StreamARN": "arn:aws:kinesis:eu-west-1:1:stream/x-pin", "Records": [record, record]});
    let (status, body) = call(&app, "Kinesis_20131202.PutRecords", many).await;
    assert_eq!((status, &body["FailedRecordCount"]), (200, &json!(0)));
    assert_eq!(body["Records"].as_array().unwrap().len(), 2);
    let expected = [("pin/req/0/p", PIN), ("pin/req/0/p", &format!("{PIN}\n{PIN}"))];
    assert_eq!(stored_records(&app), pairs(expected));

    for (target, body, status, exception) in [
        (
            "Kinesis_20131202.PutRecord",
            json!({"StreamName": "nosuch", "Data": ""}),
            404,
            "ResourceNotFoundException",
        ),
        ("Kinesis_20131202.DescribeStream", json!({"StreamName": "x-pin"}), 400, "UnknownOperationException"),
        ("Kinesis_20131202.PutRecord", json!({"StreamName": "x-pin"}), 400, "ValidationException"),
    ] {
        let (found, error) = call(&app, target, body).await;
        assert_eq!((found, &error["__type"]), (status, &json!(exception)), "{target}");
    }
    // The API key may be the access key id of an SDK.
    let keys = ApiKeys::parse(&entry("pins", "plk_pin", &["pin".to_owned()]), &Catalog::embedded().unwrap());
    let limited = App { access: Access::Keys(keys.unwrap()), ..crate::app() };
    for (key, stream, status) in
        [("plk_pin", "x-pin", 200), ("plk_pin", "x-geo", 403), ("AKIA", "x-pin", 401)]
    {
        let signature =
            format!("AWS4-HMAC-SHA256 Credential={key}/20261128/eu-west-1/kinesis/aws4_request, Signature=0");
        let headers = [("x-amz-target", "Kinesis_20131202.PutRecord"), ("authorization", &signature)];
        let body = json!({"StreamName": stream, "Data": data, "PartitionKey": "p"}).to_string();
        assert_eq!(
            limited.handle(request("POST", "/", &headers, body)).await.status(),
            status,
            "{key} {stream}"
        );
    }
}

#[tokio::test]
async fn version_3_of_the_kafka_rest_proxy() {
    let app = app();
    let record = format!(r#"{{"value":{{"type":"JSON","data":{PIN}}}}}"#);
    let path = "/kafka/v3/clusters/lkc-1/topics/0a1b.pin/records";
    let response = app.handle(typed("POST", path, JSON, format!("{record}\n{record}"))).await;
    assert_eq!(response.status(), 200);
    let text = std::str::from_utf8(response.body()).unwrap();
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["error_code"], &lines[0]["topic_name"]), (&json!(200), &json!("0a1b.pin")));
    assert_eq!(lines[0]["cluster_id"], "lkc-1");
    assert_eq!(stored_records(&app), pairs([("pin/req/0", &format!("{PIN}\n{PIN}"))]));
    let clusters = body_json(&app.handle(request("GET", "/v3/clusters", &[], "")).await);
    assert_eq!(clusters["data"][0]["cluster_id"], "pinlake");
    let error = app.handle(typed("POST", "/v3/clusters/c/topics/nosuch/records", JSON, record)).await;
    assert_eq!((error.status().as_u16(), &body_json(&error)["error_code"]), (404, &json!(40_401)));
}

#[tokio::test]
async fn cloudevents_in_all_modes() {
    let event = format!(r#"{{"specversion":"1.0","type":"t","source":"s","id":"1","data":{PIN}}}"#);
    let batch = format!("[{event},{event}]");
    for path in ["/v1/pin", "/cloudevents/pin"] {
        let (status, lines) = send("POST", path, "application/cloudevents+json; charset=utf-8", &event).await;
        assert_eq!((status, lines), (200, vec![PIN.to_owned()]));
        let (status, lines) = send("POST", path, "application/cloudevents-batch+json", &batch).await;
        assert_eq!((status, lines), (200, vec![PIN.to_owned(); 2]));
        assert_eq!(send("POST", path, "application/cloudevents+json", "{}").await.0, 400);
    }
    assert_eq!(send("POST", "/cloudevents/pin", JSON, &event).await.0, 415);
}

#[tokio::test]
async fn web_pages_of_the_allowed_origins_may_call() {
    let app = App { cors: Cors::parse("https://shop.example").unwrap(), ..app() };
    let preflight = |origin| {
        let headers = [("origin", origin), ("access-control-request-method", "POST")];
        request("OPTIONS", "/v1/pin", &headers, "")
    };
    let response = app.handle(preflight("https://shop.example")).await;
    assert_eq!(response.status(), 204);
    assert_eq!(header(&response, "access-control-allow-origin"), Some("https://shop.example"));
    assert_eq!(header(&response, "access-control-allow-methods"), Some("POST"));
    assert!(header(&response, "access-control-allow-headers").unwrap().contains("idempotency-key"));
    let response = app.handle(request("POST", "/v1/pin", &[("origin", "https://shop.example")], PIN)).await;
    assert_eq!((response.status().as_u16(), header(&response, "vary")), (200, Some("origin")));
    assert_eq!(header(&response, "access-control-allow-origin"), Some("https://shop.example"));
    assert!(header(&response, "access-control-expose-headers").unwrap().contains("pinlake-ack"));

    let refused = app.handle(preflight("https://other.example")).await;
    assert_eq!((refused.status().as_u16(), header(&refused, "access-control-allow-origin")), (405, None));
    let closed = crate::app().handle(preflight("https://shop.example")).await;
    assert_eq!((closed.status().as_u16(), header(&closed, "vary")), (405, None));
}
