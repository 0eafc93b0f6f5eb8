//! Metadata requests of the old APIs: topics, partitions and streams.

use ingest::access::Access;
use ingest::app::App;
use pinlake_platform::api_keys::{ApiKeys, entry};
use pinlake_schema::Catalog;
use serde_json::{Value, json};

use crate::{MemoryStream, app, body_json, header, request};

async fn get(app: &App<MemoryStream>, path: &str, headers: &[(&str, &str)]) -> (u16, Value) {
    let response = app.handle(request("GET", path, headers, "")).await;
    (response.status().as_u16(), body_json(&response))
}

#[tokio::test]
async fn topics_and_partitions_are_described_as_by_the_proxy() {
    let replica = json!({"broker": 1, "leader": true, "in_sync": true});
    let partition = json!({"partition": 0, "leader": 1, "replicas": [replica]});
    for (path, expected) in [
        ("/topics", json!(["geo", "pin", "user"])),
        ("/test/topics/0a1b.pin", json!({"name": "0a1b.pin", "configs": {}, "partitions": [partition]})),
        ("/topics/0a1b.pin/partitions", json!([partition])),
        ("/topics/0a1b.pin/partitions/0", partition.clone()),
    ] {
        let response = app().handle(request("GET", path, &[], "")).await;
        assert_eq!((response.status().as_u16(), body_json(&response)), (200, expected), "{path}");
        assert_eq!(header(&response, "content-type"), Some("application/vnd.kafka.v2+json"));
    }
}

#[tokio::test]
async fn streams_are_listed_and_described_as_kinesis_does() {
    let app = app();
    let all = json!({"HasMoreStreams": false, "StreamNames": ["Kinesis-Prod-Stream", "geo", "pin", "user"]});
    let first = json!({"HasMoreStreams": true, "StreamNames": ["Kinesis-Prod-Stream"]});
    let none = json!({"HasMoreStreams": false, "StreamNames": []});
    assert_eq!(get(&app, "/test/streams", &[]).await, (200, all));
    assert_eq!(get(&app, "/streams?Limit=1", &[]).await, (200, first));
    assert_eq!(get(&app, "/streams?ExclusiveStartStreamName=user", &[]).await, (200, none));
    let (status, error) = get(&app, "/streams?Limit=0", &[]).await;
    assert_eq!((status, &error["__type"]), (400, &json!("InvalidArgumentException")));

    for name in ["streaming-0a1b-pin", "Kinesis-Prod-Stream"] {
        let (status, description) = get(&app, &format!("/test/streams/{name}"), &[]).await;
        let description = &description["StreamDescription"];
        assert_eq!(
            (status, &description["StreamName"], &description["StreamStatus"]),
            (200, &json!(name), &json!("ACTIVE"))
        );
        assert_eq!(description["Shards"][1]["ShardId"], "shardId-000000000001");
        assert_eq!(
            (&description["HasMoreShards"], &description["RetentionPeriodHours"]),
            (&json!(false), &json!(168))
        );
        assert!(!description.to_string().contains("12345"));
    }
}

#[tokio::test]
async fn a_limited_key_sees_its_own_datasets_only() {
    let entries = entry("pins", "plk_pin", &["pin".to_owned()]);
    let keys = ApiKeys::parse(&entries, &Catalog::embedded().unwrap()).unwrap();
    let app = App { access: Access::Keys(keys), ..app() };
    let key = [("x-api-key", "plk_pin")];
    assert_eq!(get(&app, "/topics", &key).await, (200, json!(["pin"])));
    for path in [
        "/topics/x.geo",
        "/topics/x.geo/partitions",
        "/topics/x.geo/partitions/0",
        "/streams/streaming-x-geo",
    ] {
        assert_eq!(get(&app, path, &key).await.0, 403, "{path}");
        assert_eq!(get(&app, &path.replace("geo", "pin"), &key).await.0, 200, "{path}");
    }
    for path in ["/topics", "/topics/x.pin", "/streams", "/streams/streaming-x-pin", "/streams/nosuch"] {
        assert_eq!(get(&app, path, &[]).await.0, 401, "{path}");
    }
    assert_eq!(get(&app, "/openapi.json", &[]).await.0, 200, "it describes no deployment");
    let signed = App { access: Access::Signed, ..crate::app() };
    assert_eq!(get(&signed, "/topics", &[]).await.0, 403);
}
