//! `pinlake wait --stream` without acknowledgements, against a Kinesis endpoint of the test.

use std::fs;

use serde_json::{Value, json};

use crate::endpoint::{Endpoint, Reply, Request};
use crate::program::{Ran, pinlake_with};

/// The name of the called action, and its parameters.
fn called(request: &Request) -> (&str, Value) {
    let target = request.headers["x-amz-target"].rsplit('.').next().unwrap();
    (target, serde_json::from_slice(&request.body).unwrap())
}

fn json_reply(status: u16, body: &Value) -> Reply {
    Reply::Other(status, vec![("content-type", "application/x-amz-json-1.1".to_owned())], body.to_string())
}

fn shard(id: &str) -> Value {
    json!({
        "ShardId": id,
        "HashKeyRange": { "StartingHashKey": "0", "EndingHashKey": "9" },
        "SequenceNumberRange": { "StartingSequenceNumber": "001" }
    })
}

fn records(sequences: &[&str], next: Option<&str>, behind: i64) -> Value {
    let records = sequences.iter().map(|sequence| {
        json!({ "SequenceNumber": sequence, "PartitionKey": "geo", "Data": "e30=", "ApproximateArrivalTimestamp": 1.0 })
    });
    json!({
        "Records": records.collect::<Vec<_>>(), "NextShardIterator": next, "MillisBehindLatest": behind
    })
}

/// A stream with shard 0, whose records are on two pages; shard 1, without records; and shard 2, which is closed. The
/// shards are on two pages too.
fn stream(request: &Request) -> Reply {
    let (action, asked) = called(request);
    let reply = match (action, asked["NextToken"].as_str(), asked["ShardIterator"].as_str()) {
        ("ListShards", None, _) => json!({ "Shards": [shard("s-0"), shard("s-1")], "NextToken": "more" }),
        ("ListShards", Some("more"), _) if asked["StreamName"].is_null() => {
            json!({ "Shards": [shard("s-2")] })
        }
        ("GetShardIterator", ..) => {
            let start = asked["StartingSequenceNumber"].as_str().unwrap_or("0");
            json!({ "ShardIterator": format!("{}@{start}", asked["ShardId"].as_str().unwrap()) })
        }
        ("GetRecords", _, Some("s-0@010")) => records(&["11", "12"], Some("s-0@012"), 5000),
        ("GetRecords", _, Some("s-0@012")) => records(&["13"], Some("s-0@013"), 0),
        ("GetRecords", _, Some("s-1@0")) => records(&[], Some("s-1@0"), 0),
        ("GetRecords", _, Some("s-2@020")) => records(&[], None, 0),
        _ => return json_reply(400, &json!({ "__type": "InvalidArgumentException", "message": asked })),
    };
    json_reply(200, &reply)
}

struct Lake(tempfile::TempDir);

impl Lake {
    fn put(&self, path: &str, text: &str) {
        let path = self.0.path().join("lake").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    async fn wait(&self, endpoint: &Endpoint, name: &str) -> Ran {
        let port = endpoint.url.rsplit(':').next().unwrap();
        let settings = [
            ("AWS_ENDPOINT_URL", &*format!("http://127.0.0.1:{port}")),
            ("AWS_REGION", "eu-west-1"),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("NO_PROXY", "127.0.0.1"),
        ];
        pinlake_with(
            self.0.path(),
            &settings,
            &["wait", "--lake", "lake", "--timeout", "0", "--stream", name],
        )
        .await
    }
}

#[tokio::test]
async fn a_stream_is_drained_when_its_last_records_are_in_their_tables() {
    let lake = Lake(tempfile::tempdir().unwrap());
    let endpoint = Endpoint::start(|request, _| stream(request)).await;
    lake.put("state/watermarks/events/s-0.json", r#"{"sequence":"10"}"#);
    lake.put("state/watermarks/events/s-2.json", r#"{"sequence":"20"}"#);
    lake.put("state/watermarks/other/s-0.json", r#"{"sequence":"99"}"#);
    let ran = lake.wait(&endpoint, "events").await;
    ran.assert_code(1);
    assert!(ran.stderr.contains("shards behind their acknowledgements: 1"), "{}", ran.stderr);

    // The records of s-0 land as the command reads the stream again, from its new watermark.
    lake.put("state/watermarks/events/s-0.json", r#"{"sequence":"12"}"#);
    lake.wait(&endpoint, "events").await.assert_code(1);
    let landing = "landing/geo/00aa11bb22cc33dd/20221019T1200/events/s-2/19-20-c0ffee00c0ffee00.parquet";
    lake.put(landing, "rows that are not in their table");
    let ran = lake.wait(&endpoint, "events").await;
    assert!(ran.stderr.contains("landing objects: geo 1"), "{}", ran.stderr);
    fs::remove_file(lake.0.path().join("lake").join(landing)).unwrap();

    let caught_up = Endpoint::start(|request, _| match called(request).1["ShardIterator"].as_str() {
        Some("s-0@012") => json_reply(200, &records(&[], Some("s-0@012"), 0)),
        _ => stream(request),
    });
    lake.wait(&caught_up.await, "events").await.assert_code(0);
}

#[tokio::test]
async fn a_stream_that_cannot_be_read_is_a_failure() {
    let lake = Lake(tempfile::tempdir().unwrap());
    lake.put("state/watermarks/other/s-0.json", r#"{"sequence":"99"}"#);
    let missing = json!({ "__type": "ResourceNotFoundException", "message": "Stream mistyped not found" });
    let endpoint = Endpoint::start(move |_, _| json_reply(400, &missing)).await;
    let ran = lake.wait(&endpoint, "mistyped").await;
    ran.assert_code(1);
    assert!(ran.stderr.contains("cannot read the stream mistyped"), "{}", ran.stderr);
    assert!(ran.stderr.contains("kinesis:ListShards"), "{}", ran.stderr);
}
