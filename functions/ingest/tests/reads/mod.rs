//! Reading records back: consumers of the old API see their own records only.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use ingest::access::Access;
use ingest::app::{App, RequestSummary};
use ingest::protocol::kinesis::reads::MAX_RESPONSE_BYTES;
use pinlake_platform::api_keys::{ApiKeys, entry};
use pinlake_schema::Catalog;
use serde_json::{Value, json};

use crate::{JSON, KAFKA, MemoryStream, NDJSON, SHARDS, app, body_json, request, typed};

const PIN: &str = "streaming-0a1b-pin";
const GEO: &str = "streaming-0a1b-geo";
const SHARED: &str = "Kinesis-Prod-Stream";

async fn get(app: &App<MemoryStream>, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let response = app.handle(request("GET", path, headers, "")).await;
    (response.status().as_u16(), body_json(&response))
}

async fn open_iterator(app: &App<MemoryStream>, stream: &str, shard: &str) -> String {
    let (status, answer) =
        get(app, &format!("/test/streams/{stream}/sharditerator?shard-id={shard}"), &[]).await;
    assert_eq!(status, 200, "{answer}");
    answer["ShardIterator"].as_str().unwrap().to_owned()
}

/// The partition key and data of all records of a stream, shard by shard.
async fn read_all(app: &App<MemoryStream>, stream: &str) -> Vec<(String, String)> {
    let mut found = Vec::new();
    for shard in SHARDS {
        let mut at = open_iterator(app, stream, shard).await;
        loop {
            let path = format!("/test/streams/{stream}/records");
            let (status, answer) = get(app, &path, &[("Shard-Iterator", &at)]).await;
            assert_eq!(status, 200, "{answer}");
            for record in answer["Records"].as_array().unwrap() {
                let data = STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
                let key = record["PartitionKey"].as_str().unwrap().to_owned();
                found.push((key, String::from_utf8(data).unwrap()));
                assert!(record["SequenceNumber"].as_str().unwrap().starts_with("49668899"));
                assert_eq!(record["ApproximateArrivalTimestamp"], 1_795_381_200.125);
            }
            at = answer["NextShardIterator"].as_str().unwrap().to_owned();
            if answer["MillisBehindLatest"] == 0 {
                break;
            }
        }
    }
    found
}

async fn send(app: &App<MemoryStream>, method: &str, path: &str, kind: &str, body: &str) {
    assert_eq!(app.handle(typed(method, path, kind, body)).await.status(), 200, "{path}");
}

/// Sends records in every protocol, eleven Kinesis records in total.
async fn send_samples(app: &App<MemoryStream>) {
    for number in 0..4 {
        let body = format!(r#"{{"Data": {{"pin": {number}}}, "PartitionKey": "partition-{number}"}}"#);
        send(app, "PUT", &format!("/streams/{PIN}/record"), JSON, &body).await;
        let body = format!(r#"{{"Data": {{"geo": {number}}}, "PartitionKey": "pin"}}"#);
        send(app, "PUT", &format!("/streams/{GEO}/record"), JSON, &body).await;
    }
    send(app, "POST", "/topics/x.pin", KAFKA, r#"{"records":[{"value":{"pin":4}},{"value":{"pin":5}}]}"#)
        .await;
    send(app, "POST", "/v1/geo", NDJSON, "{\"geo\":4}\n{\"geo\":5}\n").await;
    let body = r#"{"records":[{"data":{"any":0},"partition-key":"a/b/0"},{"data":{"pin":6},"partition-key":"pin"}]}"#;
    send(app, "PUT", &format!("/streams/{SHARED}/records"), JSON, body).await;
}

#[tokio::test]
async fn a_consumer_of_the_old_api_sees_its_own_records_with_its_own_keys() {
    let app = app();
    send_samples(&app).await;
    let mut pins = read_all(&app, PIN).await;
    pins.sort();
    let expected = [
        ("partition-0", "{\"pin\":0}"),
        ("partition-1", "{\"pin\":1}"),
        ("partition-2", "{\"pin\":2}"),
        ("partition-3", "{\"pin\":3}"),
        ("pin", "{\"pin\":4}"),
        ("pin", "{\"pin\":5}"),
        ("pin", "{\"pin\":6}"),
    ];
    assert_eq!(pins, expected.map(|(key, data)| (key.to_owned(), data.to_owned())));
    assert!(read_all(&app, GEO).await.iter().all(|(_, data)| data.contains("geo")));
    assert_eq!(read_all(&app, GEO).await.len(), 6);
    let everything = read_all(&app, SHARED).await;
    assert_eq!(everything.len(), 14);
    assert!(everything.contains(&("a/b/0".to_owned(), "{\"any\":0}".to_owned())));
}

#[tokio::test]
async fn reads_are_rejected_unless_enabled() {
    let app = App { reads_enabled: false, ..app() };
    send_samples(&app).await;
    for path in
        [format!("/streams/{PIN}/sharditerator?shard-id={}", SHARDS[0]), format!("/streams/{PIN}/records")]
    {
        let (status, error) = get(&app, &path, &[("Shard-Iterator", "AAAA")]).await;
        assert_eq!((status, &error["__type"]), (403, &json!("AccessDeniedException")));
        assert!(error["message"].as_str().unwrap().contains("IngestReads=true"));
    }
    assert_eq!(get(&app, &format!("/streams/{PIN}"), &[]).await.0, 200, "it shows no record");
}

#[tokio::test]
async fn a_key_reads_the_datasets_that_it_may_write() {
    let entries = [entry("all", "plk_all", &[]), entry("pins", "plk_pin", &["pin".to_owned()])].join(",");
    let keys = ApiKeys::parse(&entries, &Catalog::embedded().unwrap()).unwrap();
    let open = app();
    send_samples(&open).await;
    let app = App { access: Access::Keys(keys), ..open };
    for (key, stream, status) in [
        (Some("plk_pin"), PIN, 200),
        (Some("plk_pin"), GEO, 403),
        (Some("plk_pin"), SHARED, 403),
        (Some("plk_all"), GEO, 200),
        (Some("plk_all"), SHARED, 200),
        (None, PIN, 401),
    ] {
        let headers: Vec<(&str, &str)> = key.map(|key| ("x-api-key", key)).into_iter().collect();
        let path = format!("/streams/{stream}/sharditerator?shard-id={}", SHARDS[0]);
        assert_eq!(get(&app, &path, &headers).await.0, status, "{key:?} {stream}");
        // With a forged iterator of this stream.
        let forged = URL_SAFE_NO_PAD.encode(json!([stream, SHARDS[0], "0-0"]).to_string());
        let headers: Vec<(&str, &str)> =
            headers.into_iter().chain([("shard-iterator", forged.as_str())]).collect();
        let (got, answer) = get(&app, &format!("/streams/{stream}/records"), &headers).await;
        assert_eq!(got, status, "{key:?} {stream}");
        assert_eq!(status == 200, answer["Records"].is_array());
    }
}

#[tokio::test]
async fn an_iterator_is_valid_for_its_own_stream_and_shows_no_other() {
    let app = app();
    send_samples(&app).await;
    let of_geo = open_iterator(&app, GEO, SHARDS[1]).await;
    let path = format!("/streams/{PIN}/records");
    let (status, error) = get(&app, &path, &[("shard-iterator", &of_geo)]).await;
    assert_eq!((status, &error["__type"]), (400, &json!("InvalidArgumentException")));
    // Forged for this stream, it shows the records of this stream.
    let text = String::from_utf8(URL_SAFE_NO_PAD.decode(&of_geo).unwrap()).unwrap().replace(GEO, PIN);
    let (status, answer) = get(&app, &path, &[("shard-iterator", &URL_SAFE_NO_PAD.encode(text))]).await;
    let records = answer["Records"].as_array().unwrap();
    let data = |record: &Value| {
        String::from_utf8(STANDARD.decode(record["Data"].as_str().unwrap()).unwrap()).unwrap()
    };
    assert!(status == 200 && records.iter().all(|record| !data(record).contains("geo")), "{answer}");

    for (token, exception) in [
        (json!([PIN, SHARDS[0], "old"]), "ExpiredIteratorException"),
        (json!([PIN, SHARDS[0], "nonsense"]), "InvalidArgumentException"),
        (json!([PIN, SHARDS[0], "x".repeat(600)]), "InvalidArgumentException"),
        (json!([PIN, "shardId-000000000009", "1", 1]), "ResourceNotFoundException"),
    ] {
        let token = URL_SAFE_NO_PAD.encode(token.to_string());
        let (_, error) = get(&app, &path, &[("shard-iterator", &token)]).await;
        assert_eq!(error["__type"], exception);
        assert!(!error.to_string().contains("12345"), "AWS messages belong in the log");
    }
    assert_eq!(get(&app, &path, &[]).await.0, 400, "no iterator");
    let without_shard = format!("/streams/{PIN}/sharditerator");
    assert_eq!(get(&app, &without_shard, &[]).await.0, 400, "no shard");
    assert_eq!(get(&app, &format!("{without_shard}?shard-id=shardId-000000000009"), &[]).await.0, 404);
    assert_eq!(get(&app, &format!("{without_shard}?shard-id=a%2Fb"), &[]).await.0, 400);
}

#[tokio::test]
async fn a_response_is_bounded_and_the_next_one_continues() {
    let app = app();
    let lines: Vec<String> = (0..120_000).map(|number| format!("{{\"a\":{number}}}")).collect();
    send(&app, "POST", "/v1/pin", NDJSON, &lines.join("\n")).await;
    let mut found: Vec<String> = Vec::new();
    let (mut answers, mut reported) = (0, 0);
    for shard in SHARDS {
        let mut at = open_iterator(&app, PIN, shard).await;
        loop {
            let headers = [("shard-iterator", at.as_str())];
            let response = app.handle(request("GET", &format!("/streams/{PIN}/records"), &headers, "")).await;
            assert!(response.body().len() <= MAX_RESPONSE_BYTES + 4_096);
            reported += response.extensions().get::<RequestSummary>().unwrap().read;
            answers += 1;
            let answer = body_json(&response);
            let data = |record: &Value| STANDARD.decode(record["Data"].as_str().unwrap()).unwrap();
            found.extend(
                answer["Records"].as_array().unwrap().iter().map(|r| String::from_utf8(data(r)).unwrap()),
            );
            at = answer["NextShardIterator"].as_str().unwrap().to_owned();
            if answer["MillisBehindLatest"] == 0 {
                break;
            }
        }
    }
    assert!(answers > 4, "{answers}");
    assert_eq!((found.len(), reported), (lines.len(), lines.len() as u64));
    found.sort();
    let mut lines = lines;
    lines.sort();
    assert_eq!(found, lines);
}
