//! Only the name in the path and, on a shared stream, the partition key decide where records go. Nothing else gives a
//! record the stream key of another dataset or of another request.

use percent_encoding::percent_decode_str;
use pinlake_schema::stream_key::StreamKey;
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::select;
use serde_json::json;

use super::cases::cases;
use crate::{app, request, stored_records};

const DATASETS: [&str; 3] = ["geo", "pin", "user"];
const SHARED: &str = "Kinesis-Prod-Stream";

/// Segments with a meaning, and segments that a careless parser would misread.
fn segment() -> impl Strategy<Value = String> {
    let known =
        select(vec!["v1", "topics", "streams", "record", "records", "test", "pin", "x.pin", "geo", "x.geo"]);
    let more = select(vec![
        SHARED,
        "streaming-a-geo",
        "streaming-a-pin",
        "quarantine",
        "x.quarantine",
        "-",
        "",
        ".",
        "..",
        "%2e%2e",
        "%2F",
        "pin%2Fgeo",
        "pin%2F..%2Fgeo",
        "pin%252Fgeo",
        "x.pin%2Fx.geo",
        "geo%00",
        "%00geo",
        "geo%0d%0ax-api-key:a",
        "%67eo",
        "%2567eo",
        "g%D0%B5o",
        "%EF%BD%87eo",
        "geo%E2%80%8B",
        "GEO",
        "geo%20",
        "geo;pin",
        "geo%",
        "%ff",
        "pin\\geo",
        "v1%2Fgeo",
    ]);
    let long = (1..5_000_usize).prop_map(|length| format!("{}.geo", "a".repeat(length)));
    prop_oneof![6 => known.prop_map(str::to_owned), 4 => more.prop_map(str::to_owned), 1 => long]
}

/// Half of the paths have the form of a protocol.
fn path() -> impl Strategy<Value = String> {
    let any = vec(segment(), 0..6).prop_map(|segments| format!("/{}", segments.join("/")));
    let well_formed = (vec(segment(), 0..2), 0..4_usize, segment()).prop_map(|(stage, api, name)| {
        let stage: String = stage.iter().map(|segment| format!("/{segment}")).collect();
        match api {
            0 => format!("{stage}/v1/{name}"),
            1 => format!("{stage}/topics/{name}"),
            2 => format!("{stage}/streams/{name}/record"),
            _ => format!("{stage}/streams/{name}/records"),
        }
    });
    prop_oneof![any, well_formed]
}

fn partition_key() -> impl Strategy<Value = String> {
    let like_ours = select(vec![
        "geo",
        "pin",
        "geo/k/0",
        "geo/k/0/a",
        "-/k/0",
        "/geo/k/0",
        "../geo",
        "geo\u{0}",
        "geo ",
        "GEO",
        "g\u{435}o",
        "ｇeo",
        "quarantine",
        "-",
    ]);
    prop_oneof![like_ours.prop_map(str::to_owned), any::<String>(), "[a-z/0-9-]{0,300}"]
}

/// Idempotency keys, valid and invalid ones.
fn idempotency_key() -> impl Strategy<Value = String> {
    let like_ours = select(vec!["geo/k/0", "k/0", "-", "../k", "k%2F0", "geo:k", "k", "a,b", "k/0/geo"]);
    prop_oneof![like_ours.prop_map(str::to_owned), "[ -~]{0,140}", "[A-Za-z0-9._:-]{1,128}"]
}

/// Posts a record in a body that is valid in every protocol. Returns the status and the stream keys.
fn post(path: &str, headers: &[(&str, &str)], partition_key: &str) -> (u16, Vec<String>) {
    let data = json!({ "ind": 1 });
    let body = json!({
        "StreamName": "streaming-a-user", "topic": "x.user", "dataset": "user",
        "Data": data, "PartitionKey": partition_key,
        "records": [{ "data": data, "partition-key": partition_key, "topic": "x.user" }],
    });
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let app = app();
    let response = runtime.block_on(app.handle(request("POST", path, headers, body.to_string())));
    (response.status().as_u16(), stored_records(&app).into_iter().map(|(key, _)| key).collect())
}

/// The last name in a path, before the action of a stream, percent-decoded once.
fn last_name(path: &str) -> String {
    let mut segments = path.split('/').filter(|segment| !segment.is_empty()).rev();
    let decoded = |segment: &str| percent_decode_str(segment).decode_utf8_lossy().into_owned();
    let last = decoded(segments.next().unwrap_or_default());
    match segments.next() {
        Some(before) if matches!(last.as_str(), "record" | "records") => {
            let of_a_stream = segments.next().is_some_and(|api| decoded(api) == "streams");
            if of_a_stream { decoded(before) } else { last }
        }
        _ => last,
    }
}

proptest! {
    #![proptest_config(cases(600))]

    #[test]
    fn a_path_reaches_the_dataset_that_its_last_name_ends_with(path in path(), key in partition_key()) {
        let headers = [
            ("idempotency-key", "k"),
            ("x-amz-target", "Kinesis_20131202.PutRecords"),
            ("x-original-url", "/v1/user"),
            ("x-forwarded-prefix", "/v1/user"),
            ("x-http-method-override", "DELETE"),
            ("x-amzn-request-context", "{\"requestId\":\"user/k/0\"}"),
        ];
        let (status, stored) = post(&path, &headers, &key);
        prop_assert_eq!(status == 200, stored.len() == 1, "{}", status);
        for written in stored {
            let read = StreamKey::parse(&written).unwrap();
            prop_assert_eq!((read.request, read.index), ("k", 0));
            let name = last_name(&path);
            if name == SHARED {
                let named = DATASETS.into_iter().find(|dataset| *dataset == key);
                prop_assert_eq!(read.dataset, named, "{}", written);
            } else {
                let dataset = read.dataset.unwrap();
                let before = name.strip_suffix(dataset);
                let is_named = before.is_some_and(|before| before.is_empty() || before.ends_with(['.', '-']));
                prop_assert!(DATASETS.contains(&dataset) && is_named, "{}: {}", name, written);
            }
        }
    }

    #[test]
    fn an_idempotency_key_changes_nothing_else(name in idempotency_key(), key in partition_key()) {
        for (path, dataset) in [
            ("/v1/pin", Some("pin")),
            ("/topics/x.pin", Some("pin")),
            ("/streams/streaming-a-pin/record", Some("pin")),
            ("/streams/Kinesis-Prod-Stream/records", DATASETS.into_iter().find(|dataset| *dataset == key)),
        ] {
            let (status, stored) = post(path, &[("Idempotency-Key", &name)], &key);
            if name.contains('/') || name.len() > 128 {
                prop_assert_eq!(status, 400);
            }
            prop_assert_eq!(status == 200, stored.len() == 1, "{}", status);
            for written in stored {
                let read = StreamKey::parse(&written).unwrap();
                prop_assert_eq!((read.dataset, read.request, read.index), (dataset, name.as_str(), 0));
                prop_assert!(key.starts_with(read.client_key.unwrap_or_default()), "{}", written);
            }
        }
    }
}
