//! The OpenAPI document says what the function does.

use std::collections::{BTreeMap, BTreeSet};

use ingest::router::{Endpoint, Route};
use ingest::{
    app, body, compact, kafka_rest, kinesis_api, kinesis_reads, kinesis_streams, openapi, packing, reading,
};
use serde_json::{Value, json};

use crate::{app as served, json_of, request};

fn document() -> Value {
    serde_json::from_str(openapi::DOCUMENT).unwrap()
}

/// Each path with a name in the place of each parameter.
fn paths(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let methods = |path: &Value| {
        let names = path.as_object().unwrap().keys().filter(|name| *name != "parameters");
        names.map(|name| name.to_uppercase()).collect()
    };
    document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, told)| (path.replace(['{', '}'], ""), methods(told)))
        .collect()
}

#[tokio::test]
async fn it_is_served_to_everybody() {
    let response = served().handle(request("GET", "/test/openapi.json", &[], "")).await;
    assert_eq!((response.status().as_u16(), json_of(&response)), (200, document()));
}

#[test]
fn it_has_every_path_with_its_methods_and_no_other() {
    let document = document();
    let mut kinds = BTreeSet::new();
    for (path, methods) in paths(&document) {
        let endpoint = Route::of(&path).endpoint;
        let offered: BTreeSet<String> =
            endpoint.operations().iter().map(|(method, _)| (*method).to_owned()).collect();
        assert_eq!(offered, methods, "{path}");
        kinds.insert(number(&endpoint));
    }
    assert_eq!(kinds, (0..11).collect());
}

/// A number for each endpoint that there is: one that is added is missed by the test above.
fn number(endpoint: &Endpoint) -> usize {
    match endpoint {
        Endpoint::Topics => 0,
        Endpoint::Topic(_) => 1,
        Endpoint::Partitions(_) => 2,
        Endpoint::Partition(..) => 3,
        Endpoint::Streams => 4,
        Endpoint::Stream(_) => 5,
        Endpoint::Record(_) => 6,
        Endpoint::Records(_) => 7,
        Endpoint::ShardIterator(_) => 8,
        Endpoint::Dataset(_) => 9,
        Endpoint::OpenApi => 10,
        Endpoint::Nothing => panic!("the document has a path that is none"),
    }
}

#[test]
fn its_limits_are_the_code_s() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let parameters = &document["components"]["parameters"];
    for (told, limit) in [
        (
            &schemas["KafkaProduceJson"]["properties"]["records"]["oneOf"][0]["maxItems"],
            kafka_rest::MAX_RECORDS as usize,
        ),
        (
            &schemas["KafkaProduceBinary"]["properties"]["records"]["oneOf"][0]["maxItems"],
            kafka_rest::MAX_RECORDS as usize,
        ),
        (&schemas["KinesisRecordList"]["oneOf"][0]["maxItems"], kinesis_api::MAX_RECORDS),
        (&parameters["IdempotencyKey"]["schema"]["maxLength"], request_id::MAX_IDEMPOTENCY_KEY),
        (&parameters["ShardIterator"]["schema"]["maxLength"], kinesis_reads::MAX_ITERATOR),
        (&parameters["Limit"]["schema"]["maximum"], kinesis_streams::MAX_NAMES),
        (
            &schemas["StreamDescription"]["properties"]["StreamDescription"]["properties"]["Shards"]["maxItems"],
            reading::MAX_SHARDS as usize,
        ),
    ] {
        assert_eq!(*told, json!(limit));
    }
    let text = document["info"]["description"].as_str().unwrap();
    for limit in [body::MAX_BODY_BYTES, body::MAX_TEXT_BYTES, packing::MAX_RECORD_BYTES, compact::MAX_DEPTH] {
        assert!(text.contains(&format!(" {limit} ")), "{limit}");
    }
}

#[tokio::test]
async fn its_examples_are_taken() {
    let document = document();
    let example = |name: &str| {
        let value = &document["components"]["parameters"][name]["example"];
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    };
    let mut sent = 0;
    for (path, told) in document["paths"].as_object().unwrap() {
        let path = path
            .replace("{topic}", &example("Topic"))
            .replace("{partition}", &example("Partition"))
            .replace("{stream}", &example("Stream"))
            .replace("{dataset}", &example("Dataset"));
        for (method, operation) in told.as_object().unwrap() {
            for (kind, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                let body = &content["example"];
                let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
                let request = request(&method.to_uppercase(), &path, &[("content-type", kind)], body);
                let response = served().handle(request).await;
                assert_eq!(response.status(), 200, "{method} {path} {kind}: {}", json_of(&response));
                sent += 1;
            }
        }
    }
    assert_eq!(sent, 10);
}
