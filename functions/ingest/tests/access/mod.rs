//! Access with keys and signatures, and attempts to reach other datasets.

use ingest::access::Access;
use ingest::app::App;
use ingest::canary;
use lambda_http::Request;
use lambda_http::request::LambdaRequest;
use pinlake_platform::api_keys::{ApiKeys, entry};
use pinlake_schema::Catalog;
use pinlake_schema::stream_key::StreamKey;
use serde_json::{Value, json};

use crate::{JSON, KAFKA, MemoryStream, NDJSON, app, body_json, event_file, header, request, stored_records};

const ALL: &str = "plk_all-MARKER";
const PIN: &str = "plk_pin-MARKER";

/// An app with a key for all datasets and one for pin.
fn app_with_keys() -> App<MemoryStream> {
    let entries = [entry("all", ALL, &[]), entry("pins", PIN, &["pin".to_owned()])].join(",");
    let keys = ApiKeys::parse(&entries, &Catalog::embedded().unwrap()).unwrap();
    App { access: Access::Keys(keys), ..app() }
}

/// Path, Content-Type and body of a valid request for a dataset, in each protocol.
fn valid_requests(dataset: &str) -> [(String, &'static str, String); 4] {
    [
        (format!("/topics/x.{dataset}"), KAFKA, r#"{"records":[{"value":{"a":1}}]}"#.to_owned()),
        (
            format!("/streams/streaming-x-{dataset}/record"),
            JSON,
            r#"{"Data":{"a":1},"PartitionKey":"k"}"#.to_owned(),
        ),
        (
            format!("/streams/streaming-x-{dataset}/records"),
            JSON,
            r#"{"records":[{"data":{"a":1}}]}"#.to_owned(),
        ),
        (format!("/v1/{dataset}"), NDJSON, "{\"a\":1}\n".to_owned()),
    ]
}

fn post(path: &str, kind: &str, headers: &[(&str, &str)], body: &str) -> Request {
    let method = if path.contains("/streams/") { "PUT" } else { "POST" };
    let headers: Vec<(&str, &str)> =
        [("content-type", kind)].into_iter().chain(headers.iter().copied()).collect();
    request(method, path, &headers, body)
}

/// The datasets in the stream keys of the stored records.
fn stored_datasets(app: &App<MemoryStream>) -> Vec<Option<String>> {
    let stored = stored_records(app);
    stored.iter().map(|(key, _)| StreamKey::parse(key).unwrap().dataset.map(str::to_owned)).collect()
}

#[tokio::test]
async fn a_key_grants_access_to_its_datasets_only() {
    for (key, dataset, status) in [
        (None, "pin", 401),
        (Some("plk_unknown"), "pin", 401),
        (Some(""), "pin", 401),
        (Some(PIN), "pin", 200),
        (Some(PIN), "geo", 403),
        (Some(ALL), "geo", 200),
    ] {
        for (path, kind, body) in valid_requests(dataset) {
            let app = app_with_keys();
            let headers: Vec<(&str, &str)> = key.map(|key| ("x-api-key", key)).into_iter().collect();
            let response = app.handle(post(&path, kind, &headers, &body)).await;
            assert_eq!(response.status(), status, "{key:?} {path}: {}", body_json(&response));
            assert_eq!(stored_records(&app).len(), usize::from(status == 200), "{path}");
            assert_eq!(header(&response, "www-authenticate").is_some(), status == 401);
        }
    }
    let bearer = format!("Bearer {PIN}");
    let (path, kind, body) = &valid_requests("pin")[3];
    let response = app_with_keys().handle(post(path, kind, &[("authorization", &bearer)], body)).await;
    assert_eq!(response.status(), 200);
}

/// Sends a request with an Idempotency-Key. Returns the id in the stream key of its record.
async fn send_and_read_id(app: &App<MemoryStream>, request: Request) -> String {
    let before = stored_records(app).len();
    let response = app.handle(request).await;
    assert_eq!(response.status(), 200, "{}", body_json(&response));
    assert_eq!(body_json(&response)["request_id"], "batch-1", "the response has the client's own id");
    let stored = stored_records(app);
    assert_eq!(stored.len(), before + 1);
    StreamKey::parse(&stored[before].0).unwrap().request.to_owned()
}

#[tokio::test]
async fn the_same_idempotency_key_of_two_callers_is_two_requests() {
    let named = |key: &str| {
        let headers = [("x-api-key", key), ("idempotency-key", "batch-1")];
        post("/v1/pin", NDJSON, &headers, "{\"a\":1}\n")
    };
    let app = app_with_keys();
    let first = send_and_read_id(&app, named(ALL)).await;
    assert_eq!(send_and_read_id(&app, named(ALL)).await, first, "a repeat is the same request");
    assert_ne!(send_and_read_id(&app, named(PIN)).await, first);
    // No client can choose the id under which another client's request is stored.
    let forged = [("x-api-key", PIN), ("idempotency-key", first.as_str())];
    let response = app.handle(post("/v1/pin", NDJSON, &forged, "{}")).await;
    assert_eq!(response.status(), 400, "{}", body_json(&response));
}

#[tokio::test]
async fn iam_callers_are_distinguished_but_sessions_of_a_role_are_not() {
    let app = App { access: Access::Signed, ..app() };
    let mut ids = Vec::new();
    for user in ["AIDAONE", "AROAROLE:session-1", "AROAROLE:session-2", "AIDATWO"] {
        let mut event = event_file("ingest_native.json");
        event["headers"] = json!({"content-type": NDJSON, "idempotency-key": "batch-1"});
        event["body"] = json!("{\"a\":1}\n");
        event["isBase64Encoded"] = json!(false);
        event["requestContext"]["authorizer"] = json!({"iam": {"userId": user}});
        ids.push(send_and_read_id(&app, crate::parse_event(&event)).await);
    }
    assert_eq!(ids[1], ids[2]);
    ids.dedup();
    assert_eq!(ids.len(), 3, "{ids:?}");
    assert!(ids.iter().all(|id| id.starts_with("batch-1@")));
}

#[tokio::test]
async fn without_a_key_no_dataset_is_revealed() {
    let app = app_with_keys();
    let mut answers = Vec::new();
    for path in ["/v1/pin", "/v1/nosuch", "/v1/quarantine"] {
        let mut body = body_json(&app.handle(post(path, NDJSON, &[], "{}")).await);
        body["request_id"] = Value::Null;
        answers.push(body);
    }
    assert!(answers.windows(2).all(|pair| pair[0] == pair[1]), "{answers:?}");
}

#[tokio::test]
async fn on_a_shared_stream_a_limited_key_must_name_its_dataset_for_every_record() {
    let routed = Catalog::embedded().unwrap();
    let [pin, geo] =
        ["pin", "geo"].map(|name| routed.contract(name).unwrap().route.partition_keys[0].clone());
    let stream = routed.shared_streams()[0].replace('*', "x");
    let path = format!("/streams/{stream}/records");
    for (keys, status) in [
        (vec![pin.as_str(), &pin], 200),
        (vec![&pin, &geo], 403),
        (vec![&pin, "any"], 403),
        // Partition keys that look like stream keys are not stream keys.
        (vec!["pin/r/0"], 403),
        (vec!["-/r/0"], 403),
    ] {
        let records: Vec<Value> =
            keys.iter().map(|key| json!({"data": {"ind": 1, "age": 2}, "partition-key": key})).collect();
        let body = json!({ "records": records }).to_string();
        let app = app_with_keys();
        let response = app.handle(post(&path, JSON, &[("x-api-key", PIN)], &body)).await;
        assert_eq!(response.status(), status, "{keys:?}: {}", body_json(&response));
        assert!(stored_datasets(&app).iter().all(|dataset| dataset.as_deref() == Some("pin")), "{keys:?}");
        let app = app_with_keys();
        assert_eq!(app.handle(post(&path, JSON, &[("x-api-key", ALL)], &body)).await.status(), 200);
    }
}

#[tokio::test]
async fn manipulated_paths_and_headers_do_not_reach_other_datasets() {
    let long = "a".repeat(5_000);
    let paths = [
        "/v1/geo",
        "/v1/pin/../geo",
        "/v1/../v1/geo",
        "/v1/pin%2F..%2Fgeo",
        "/v1/pin%252Fgeo",
        "/v1/pin/geo",
        "/v1/geo%00",
        "/v1/pin%00geo",
        "/v1/%67eo",
        "//v1//geo",
        "/v1/geo/",
        "/v1/GEO",
        "/v1/gеo",
        "/v1/ｇeo",
        "/v1/geo;pin",
        "/v1/geo?pin",
        "/topics/x.pin/../x.geo",
        "/topics/x.geo",
        "/topics/pin.geo",
        "/topics/x.pin%2Fx.geo",
        "/topics/x.geo%23.pin",
        "/topics/../streams/s/record",
        "/test/topics/x.geo",
        "/topics/topics/x.geo",
        "/v1/quarantine",
        "/v1/.",
        "/v1/..",
        "/v1/-",
        "/v1/pin/r/0",
        "/topics/-",
        "/v1/%2e%2e",
        "/v1/pin\\..\\geo",
        "/v1/pin%0d%0aX-Api-Key:x",
    ];
    let mut requests: Vec<(String, Vec<(&str, String)>)> =
        paths.iter().map(|path| ((*path).to_owned(), Vec::new())).collect();
    requests.push((format!("/v1/{long}"), Vec::new()));
    requests.push((format!("/topics/{long}.geo"), Vec::new()));
    let valid_path = "/v1/pin".to_owned();
    for (name, value) in [
        ("idempotency-key", "geo/r/0"),
        ("idempotency-key", "../geo"),
        ("idempotency-key", "r\u{0}"),
        ("idempotency-key", "r%2F0"),
        ("x-amz-target", "Kinesis_20131202.PutRecord"),
        ("x-original-url", "/v1/geo"),
        ("x-rewrite-url", "/v1/geo"),
        ("x-forwarded-prefix", "/v1/geo"),
        ("x-http-method-override", "PUT"),
        ("x-amzn-request-context", "{\"stage\":\"geo\"}"),
        ("x-amzn-lambda-context", "{\"request_id\":\"geo/r/0\"}"),
    ] {
        requests.push((valid_path.clone(), vec![(name, value.to_owned())]));
    }
    for (path, headers) in requests {
        let app = app_with_keys();
        let mut all = vec![("x-api-key", PIN)];
        all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
        for body in [
            r#"{"ind":1,"timestamp":"2020-08-28 03:52:47"}"#,
            r#"{"records":[{"value":{"ind":1}}],"topic":"x.geo"}"#,
        ] {
            let mut event = event_file("ingest_kafka.json");
            event["rawPath"] = json!(path);
            event["requestContext"]["http"]["method"] = json!("POST");
            event["requestContext"]["http"]["path"] = json!(path);
            event["headers"].as_object_mut().unwrap().remove("content-type");
            for (name, value) in &all {
                event["headers"][name.to_lowercase()] = json!(value);
            }
            event["body"] = json!(body);
            event["isBase64Encoded"] = json!(false);
            // Lambda's runtime rejects some of these events.
            let Ok(request) = lambda_http::request::from_str(&event.to_string()) else { continue };
            let _ = app.handle(request).await;
        }
        let reached = stored_datasets(&app);
        assert!(
            reached.iter().all(|dataset| dataset.as_deref() == Some("pin")),
            "{path} {headers:?}: {reached:?}"
        );
    }
}

#[tokio::test]
async fn a_request_with_two_keys_is_unauthenticated() {
    let (path, kind, body) = &valid_requests("pin")[3];
    let bearer = format!("Bearer {PIN}");
    let response = app_with_keys()
        .handle(post(path, kind, &[("x-api-key", ALL), ("authorization", &bearer)], body))
        .await;
    assert_eq!(response.status(), 401);
    // A function URL joins repeated headers with a comma.
    let joined = format!("{PIN},{ALL}");
    let response = app_with_keys().handle(post(path, kind, &[("x-api-key", &joined)], body)).await;
    assert_eq!(response.status(), 401);
}

/// The event of the schedule, with its record.
fn canary_request() -> Request {
    let mut event = serde_json::from_value(event_file("ingest_canary.json")).unwrap();
    canary::add_record(&mut event, "run-1", "2026-11-28T11:00:00Z".parse().unwrap());
    Request::from(LambdaRequest::ApiGatewayV2(event))
}

#[tokio::test]
async fn the_canary_may_write_its_own_dataset_whatever_the_access() {
    for access in [Access::Anyone, Access::Signed, app_with_keys().access] {
        let app = App { access, ..app() };
        assert_eq!(app.handle(canary_request()).await.status(), 200);
        let stored = stored_records(&app);
        assert_eq!(
            stored.iter().map(|(key, _)| key.as_str()).collect::<Vec<_>>(),
            ["pinlake_canary/run-1/0"]
        );
        let record: Value = serde_json::from_str(&stored[0].1).unwrap();
        assert_eq!(record, json!({ "id": "run-1", "at": "2026-11-28T11:00:00.000Z" }));
    }
}

#[tokio::test]
async fn the_canary_may_write_no_other_dataset() {
    let app = App { access: Access::Signed, ..app() };
    let mut event = event_file("ingest_native.json");
    event["requestContext"]["apiId"] = json!(canary::API_ID);
    assert_eq!(app.handle(crate::parse_event(&event)).await.status(), 403);
}

#[tokio::test]
async fn a_paused_function_refuses_writes_and_serves_the_rest() {
    for (path, kind, body) in valid_requests("pin") {
        let app = App { is_paused: true, ..app() };
        let response = app.handle(post(&path, kind, &[], &body)).await;
        assert_eq!(
            (response.status().as_u16(), header(&response, "retry-after")),
            (503, Some("60")),
            "{path}"
        );
        assert!(stored_records(&app).is_empty());
        assert_eq!(app.handle(request("GET", "/topics", &[], "")).await.status(), 200);
    }
}
