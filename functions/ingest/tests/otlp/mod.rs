//! OTLP: the requests of OpenTelemetry exporters.
//!
//! `exported.json` is a request of the Python exporter `opentelemetry-exporter-otlp-json-http` 0.66b1, as it was sent;
//! `tests/api` runs that exporter against a deployed function.

use std::io::Write as _;

use ingest::access::Access;
use ingest::app::App;
use ingest::stream::StreamErrorKind;
use lambda_http::{Body, Response};
use pinlake_platform::api_keys::{ApiKeys, entry};
use serde_json::{Value, json};

use crate::{
    JSON, MemoryStream, NDJSON, app, app_rejecting, body_json, example_app, header, request, stored_records,
};

/// The example of the specification: `examples/logs.json` of the repository `opentelemetry-proto`.
const EXAMPLE: &str = r#"{
  "resourceLogs": [
    {
      "resource": {
        "attributes": [{"key": "service.name", "value": {"stringValue": "my.service"}}]
      },
      "scopeLogs": [
        {
          "scope": {
            "name": "my.library",
            "version": "1.0.0",
            "attributes": [{"key": "my.scope.attribute", "value": {"stringValue": "some scope attribute"}}]
          },
          "logRecords": [
            {
              "timeUnixNano": "1544712660300000000",
              "observedTimeUnixNano": "1544712660300000000",
              "severityNumber": 10,
              "severityText": "Information",
              "traceId": "5B8EFFF798038103D269B633813FC60C",
              "spanId": "EEE19B7EC3C1B174",
              "body": {"stringValue": "Example log record"},
              "attributes": [
                {"key": "string.attribute", "value": {"stringValue": "some string"}},
                {"key": "boolean.attribute", "value": {"boolValue": true}},
                {"key": "int.attribute", "value": {"intValue": "10"}},
                {"key": "double.attribute", "value": {"doubleValue": 637.704}},
                {"key": "array.attribute", "value": {"arrayValue": {"values": [{"stringValue": "many"}, {"stringValue": "values"}]}}},
                {"key": "map.attribute", "value": {"kvlistValue": {"values": [{"key": "some.map.key", "value": {"stringValue": "some value"}}]}}}
              ]
            }
          ]
        }
      ]
    }
  ]
}"#;

async fn post(
    app: &App<MemoryStream>,
    path: &str,
    headers: &[(&str, &str)],
    body: impl AsRef<[u8]>,
) -> Response<Body> {
    app.handle(request("POST", path, headers, body)).await
}

fn stored_lines(app: &App<MemoryStream>) -> Vec<Value> {
    let stored = stored_records(app);
    stored
        .iter()
        .flat_map(|(_, data)| data.split('\n'))
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[tokio::test]
async fn the_example_of_the_specification() {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(EXAMPLE.as_bytes()).unwrap();
    let gzip = encoder.finish().unwrap();
    let plain = [("content-type", JSON)];
    let compressed = [("content-type", JSON), ("content-encoding", "gzip")];
    for (headers, body) in [(&plain[..], EXAMPLE.as_bytes()), (&compressed, &gzip)] {
        let app = example_app();
        let response = post(&app, "/v1/logs", headers, body).await;
        assert_eq!((response.status().as_u16(), body_json(&response)), (200, json!({})));
        assert_eq!(header(&response, "content-type"), Some(JSON));
        assert!(header(&response, "Pinlake-Ack").is_some());
        assert_eq!(stored_records(&app)[0].0, "logs/req/0");
        let expected = json!({
            "resource": {"service.name": "my.service"},
            "scope": {
                "name": "my.library", "version": "1.0.0",
                "attributes": {"my.scope.attribute": "some scope attribute"},
            },
            "timeUnixNano": 1_544_712_660_300_000_000_i64,
            "observedTimeUnixNano": 1_544_712_660_300_000_000_i64,
            "severityNumber": 10,
            "severityText": "Information",
            "traceId": "5B8EFFF798038103D269B633813FC60C",
            "spanId": "EEE19B7EC3C1B174",
            "body": "Example log record",
            "attributes": {
                "string.attribute": "some string",
                "boolean.attribute": true,
                "int.attribute": 10,
                "double.attribute": 637.704,
                "array.attribute": ["many", "values"],
                "map.attribute": {"some.map.key": "some value"},
            },
        });
        assert_eq!(stored_lines(&app), [expected]);
    }
}

#[tokio::test]
async fn the_request_of_an_exporter() {
    let app = example_app();
    let headers = [("content-type", JSON), ("user-agent", "OTel-OTLP-JSON-Exporter-Python/0.66b1")];
    let response = post(&app, "/prod/v1/logs", &headers, include_str!("exported.json")).await;
    assert_eq!((response.status().as_u16(), body_json(&response)), (200, json!({})));
    let lines = stored_lines(&app);
    assert_eq!(lines.len(), 2);
    assert_eq!((&lines[0]["body"], &lines[0]["severityText"]), (&json!("text \"é\"\n"), &json!("WARN")));
    assert_eq!(lines[0]["attributes"], json!({"http.status": 200, "ok": true, "ratio": 0.5, "list": [1, 2]}));
    assert_eq!(lines[1]["body"], json!({"a": [1, {"b": null}], "raw": "aGk="}));
    assert_eq!(
        (&lines[1]["eventName"], &lines[1]["timeUnixNano"]),
        (&json!("cart.add"), &json!(1_544_712_660_300_000_002_i64))
    );
    for line in &lines {
        assert_eq!((&line["resource"]["service.name"], &line["resource"]["n"]), (&json!("shop"), &json!(3)));
        assert_eq!(line["scope"], json!({"name": "cart", "version": "1.0"}));
    }
}

#[tokio::test]
async fn the_dataset_is_named_by_route_or_query() {
    let typed = [("content-type", JSON)];
    for (path, key) in [
        ("/v1/logs", Some("logs/req/0")),
        ("/v1/logs?dataset=pin", Some("pin/req/0")),
        ("/v1/logs?dataset=0a1b.geo", Some("geo/req/0")),
        ("/v1/logs?dataset=nosuch", None),
        ("/v1/logs?dataset=quarantine", None),
    ] {
        let app = example_app();
        let response = post(&app, path, &typed, EXAMPLE).await;
        let stored = stored_records(&app);
        assert_eq!(stored.first().map(|(key, _)| key.as_str()), key, "{path}");
        assert_eq!(response.status(), if key.is_some() { 200 } else { 404 }, "{path}");
    }
    // Without a dataset of logs, the error says how to name one, in the form of gRPC.
    let response = post(&app(), "/v1/logs", &typed, EXAMPLE).await;
    let error = body_json(&response);
    assert_eq!((response.status().as_u16(), &error["code"]), (404, &json!(5)));
    assert!(error["message"].as_str().unwrap().contains("?dataset="), "{error}");
    // Keys hold for it.
    let app = example_app();
    let keys = ApiKeys::parse(&entry("pins", "plk_pin", &["pin".to_owned()]), &app.catalog).unwrap();
    let app = App { access: Access::Keys(keys), ..app };
    for (path, key, status) in [
        ("/v1/logs?dataset=pin", "plk_pin", 200),
        ("/v1/logs", "plk_pin", 403),
        ("/v1/logs", "plk_other", 401),
    ] {
        let response = post(&app, path, &[("content-type", JSON), ("x-api-key", key)], EXAMPLE).await;
        assert_eq!(response.status(), status, "{path} {key}");
    }
}

#[tokio::test]
async fn protobuf_is_refused_with_the_setting_of_the_exporter() {
    for media_type in ["application/x-protobuf", "application/protobuf", "text/csv"] {
        let app = example_app();
        let response = post(&app, "/v1/logs?dataset=pin", &[("content-type", media_type)], [10, 0]).await;
        let error = body_json(&response);
        assert_eq!((response.status().as_u16(), &error["code"]), (415, &json!(3)));
        assert!(
            error["message"].as_str().unwrap().contains("OTEL_EXPORTER_OTLP_PROTOCOL=http/json"),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_dataset_called_logs_keeps_its_native_records() {
    for (media_type, body, lines) in [
        (JSON, "{\"body\": 1}", 1),
        (JSON, "[{\"body\":1},{\"body\":2}]", 2),
        (NDJSON, "{\"body\":1}\n{\"resourceLogs\":[]}\n", 2),
        ("application/cloudevents+json", "{\"specversion\":\"1.0\",\"data\":{\"body\":1}}", 1),
    ] {
        let app = example_app();
        let response = post(&app, "/v1/logs", &[("content-type", media_type)], body).await;
        assert_eq!(body_json(&response), json!({"accepted": lines, "request_id": "req"}), "{body}");
        assert_eq!(stored_lines(&app).len(), lines, "{body}");
    }
    // Other datasets take log records only there.
    let response = post(&app(), "/v1/logs?dataset=pin", &[("content-type", JSON)], "{\"index\":1}").await;
    assert_eq!((response.status().as_u16(), &body_json(&response)["code"]), (400, &json!(3)));
}

#[tokio::test(start_paused = true)]
async fn rejected_log_records_are_counted_and_stored_ones_are_not_lost() {
    let record = |bytes| format!(r#"{{"body":{{"stringValue":"{}"}}}}"#, "x".repeat(bytes));
    let body = |records: &[String]| {
        format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{}]}}]}}]}}"#, records.join(","))
    };
    let typed = [("content-type", JSON)];
    let app = app();
    let large = body(&[record(1), record(1 << 20), record(2)]);
    let response = post(&app, "/v1/logs?dataset=pin", &typed, large).await;
    assert_eq!(
        (response.status().as_u16(), &body_json(&response)["partialSuccess"]["rejectedLogRecords"]),
        (200, &json!("1"))
    );
    assert_eq!(stored_lines(&app).len(), 2);
    let summary = response.extensions().get::<ingest::app::RequestSummary>().unwrap();
    assert_eq!((summary.stored, summary.failed), (2, 1));

    // An exporter sends a 503 again, and a partial success never.
    let app = app_rejecting(|record, _| (record.lines.start == 1).then_some(StreamErrorKind::Throttled));
    let response = post(&app, "/v1/logs?dataset=pin", &typed, body(&[record(20_000), record(20_000)])).await;
    assert_eq!((response.status().as_u16(), &body_json(&response)["code"]), (503, &json!(14)));
    assert!(header(&response, "retry-after").is_some());
    assert_eq!(body_json(&post(&self::app(), "/v1/logs?dataset=pin", &typed, "{}").await), json!({}));
}
