//! Compares the OpenAPI document with the endpoints and limits of the function.

use std::collections::{BTreeMap, BTreeSet};

use ingest::protocol::kinesis::{reads, streams};
use ingest::protocol::{PROTOCOLS, Route, kafka, kinesis};
use ingest::stream::read;
use ingest::{body, json_reader, openapi, packing, request_id};
use serde_json::{Value, json};

use crate::{app, body_json, example_app, request};

fn document() -> Value {
    serde_json::from_str(openapi::DOCUMENT).unwrap()
}

/// The documented methods of each path.
fn documented(document: &Value) -> BTreeMap<String, BTreeSet<String>> {
    let methods = |path: &Value| {
        let names = path.as_object().unwrap().keys().filter(|name| *name != "parameters");
        names.map(|name| name.to_uppercase()).collect()
    };
    document["paths"].as_object().unwrap().iter().map(|(path, item)| (path.clone(), methods(item))).collect()
}

#[tokio::test]
async fn it_is_public() {
    let response = app().handle(request("GET", "/test/openapi.json", &[], "")).await;
    assert_eq!((response.status().as_u16(), body_json(&response)), (200, document()));
}

#[test]
fn it_has_exactly_the_endpoints_of_all_protocols() {
    let mut served: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for endpoint in PROTOCOLS.iter().flat_map(|protocol| protocol.endpoints()) {
        let methods = endpoint.methods.iter().map(|method| method.name.to_owned()).collect();
        assert!(
            served.insert(endpoint.path.to_owned(), methods).is_none(),
            "{} is there twice",
            endpoint.path
        );
        // Each path is found again, with names in place of its parameters.
        let found = Route::from_path(&endpoint.path.replace(['{', '}'], "")).endpoint;
        assert_eq!(found.map(|found| found.path), Some(endpoint.path));
    }
    assert_eq!(documented(&document()), served);
}

#[test]
fn its_limits_are_those_of_the_code() {
    let document = document();
    let schemas = &document["components"]["schemas"];
    let parameters = &document["components"]["parameters"];
    for (documented, limit) in [
        (
            &schemas["KafkaProduceJson"]["properties"]["records"]["oneOf"][0]["maxItems"],
            kafka::MAX_RECORDS as usize,
        ),
        (
            &schemas["KafkaProduceBinary"]["properties"]["records"]["oneOf"][0]["maxItems"],
            kafka::MAX_RECORDS as usize,
        ),
        (&schemas["KinesisRecordList"]["oneOf"][0]["maxItems"], kinesis::MAX_RECORDS),
        (&parameters["IdempotencyKey"]["schema"]["maxLength"], request_id::MAX_IDEMPOTENCY_KEY),
        (&parameters["ShardIterator"]["schema"]["maxLength"], reads::MAX_ITERATOR),
        (&parameters["Limit"]["schema"]["maximum"], streams::MAX_NAMES),
        (
            &schemas["StreamDescription"]["properties"]["StreamDescription"]["properties"]["Shards"]["maxItems"],
            read::MAX_SHARDS as usize,
        ),
    ] {
        assert_eq!(*documented, json!(limit));
    }
    let text = document["info"]["description"].as_str().unwrap();
    for limit in
        [body::MAX_BODY_BYTES, body::MAX_TEXT_BYTES, packing::MAX_RECORD_BYTES, json_reader::MAX_DEPTH]
    {
        assert!(text.contains(&format!(" {limit} ")), "{limit}");
    }
}

#[tokio::test]
async fn its_examples_are_accepted() {
    let document = document();
    let example = |name: &str| {
        let value = &document["components"]["parameters"][name]["example"];
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    };
    let mut sent = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        let dataset = if path.starts_with("/webhooks/") { "Webhook" } else { "Dataset" };
        let path = path
            .replace("{topic}", &example("Topic"))
            .replace("{partition}", &example("Partition"))
            .replace("{stream}", &example("Stream"))
            .replace("{cluster}", &example("Cluster"))
            .replace("{dataset}", &example(dataset));
        let named_by_query = item["parameters"][0]["$ref"] == "#/components/parameters/StreamName";
        let path =
            if named_by_query { format!("{path}?stream-name={}", example("StreamName")) } else { path };
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let headers: Vec<(&str, &str)> = parameters
                .filter_map(|parameter| Some((parameter["name"].as_str()?, parameter["example"].as_str()?)))
                .collect();
            for (kind, content) in operation["requestBody"]["content"].as_object().into_iter().flatten() {
                let Some(body) = content.get("example") else { continue };
                let body = body.as_str().map_or_else(|| body.to_string(), str::to_owned);
                let headers = [&[("content-type", kind.as_str())], headers.as_slice()].concat();
                let request = request(&method.to_uppercase(), &path, &headers, body);
                let response = example_app().handle(request).await;
                assert_eq!(response.status(), 200, "{method} {path} {kind}: {}", body_json(&response));
                sent += 1;
            }
        }
    }
    assert_eq!(sent, 30);
}
