//! Compares the OpenAPI document with the routes and the responses of the function.

use std::collections::BTreeMap;

use pinlake_platform::access::Access;
use pinlake_platform::api_keys::{ApiKeys, entry};
use report::openapi::DOCUMENT;
use report::route::PATHS;
use serde_json::Value;

use crate::{World, body_json, header, request};

fn document() -> Value {
    serde_json::from_str(DOCUMENT).unwrap()
}

#[test]
fn it_has_exactly_the_routes() {
    let document = document();
    let documented: BTreeMap<&str, String> = document["paths"]
        .as_object()
        .unwrap()
        .iter()
        .map(|(path, item)| {
            let methods: Vec<_> = item.as_object().unwrap().keys().map(|name| name.to_uppercase()).collect();
            (path.as_str(), methods.join(","))
        })
        .collect();
    assert_eq!(documented, PATHS.map(|(path, method)| (path, method.to_owned())).into());
}

/// Where a value does not have the form of a schema. Knows what the document uses.
fn mismatches(document: &Value, schema: &Value, value: &Value, place: &str) -> Vec<String> {
    if let Some(name) = schema["$ref"].as_str() {
        let schema = document.pointer(name.trim_start_matches('#')).unwrap();
        return mismatches(document, schema, value, place);
    }
    if let Some(choices) = schema["anyOf"].as_array() {
        let fits = |choice: &Value| mismatches(document, choice, value, place).is_empty();
        return if choices.iter().any(fits) { Vec::new() } else { vec![format!("{place}: {value}")] };
    }
    let kinds: Vec<&str> = match &schema["type"] {
        Value::String(kind) => vec![kind],
        Value::Array(kinds) => kinds.iter().map(|kind| kind.as_str().unwrap()).collect(),
        _ => Vec::new(),
    };
    let has_kind = |kind: &&str| match *kind {
        "object" => value.is_object(),
        "array" => value.is_array(),
        "string" => value.is_string(),
        "integer" => value.is_u64() || value.is_i64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "null" => value.is_null(),
        other => panic!("{place}: unknown type {other}"),
    };
    if !kinds.is_empty() && !kinds.iter().any(has_kind) {
        return vec![format!("{place}: {value} is not {kinds:?}")];
    }
    let mut found = Vec::new();
    if let Some(choices) = schema["enum"].as_array()
        && !choices.contains(value)
    {
        found.push(format!("{place}: {value}"));
    }
    for name in schema["required"].as_array().into_iter().flatten().filter_map(Value::as_str) {
        if value.get(name).is_none() {
            found.push(format!("{place}: {name} is missing"));
        }
    }
    for (name, member) in value.as_object().into_iter().flatten() {
        let place = format!("{place}.{name}");
        match (&schema["properties"][name], &schema["additionalProperties"]) {
            (Value::Null, Value::Bool(false)) => found.push(format!("{place} is not documented")),
            (Value::Null, other) => found.extend(mismatches(document, other, member, &place)),
            (known, _) => found.extend(mismatches(document, known, member, &place)),
        }
    }
    for item in value.as_array().into_iter().flatten() {
        found.extend(mismatches(document, &schema["items"], item, &format!("{place}[]")));
    }
    found
}

#[tokio::test]
async fn responses_have_the_documented_forms() {
    let document = document();
    let catalog = pinlake_schema::Catalog::embedded().unwrap();
    let key = Access::Keys(ApiKeys::parse(&entry("all", "plk_1", &[]), &catalog).unwrap());
    let app = World::filled().await.app(key);
    let mut compared = 0;
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let parameters = operation["parameters"].as_array().into_iter().flatten();
            let (mut url, mut query) = (path.clone(), Vec::new());
            for parameter in parameters {
                let Some(example) = parameter["example"].as_str() else { continue };
                let name = parameter["name"].as_str().unwrap();
                match parameter["in"].as_str().unwrap() {
                    "path" => url = url.replace(&format!("{{{name}}}"), example),
                    _ => query.push(format!("{name}={example}")),
                }
            }
            for (url, key) in
                [(url.clone(), "plk_1"), (format!("{url}?{}", query.join("&")), "plk_1"), (url, "plk_0")]
            {
                let response =
                    app.handle(request(&method.to_uppercase(), &url, &[("x-api-key", key)], "")).await;
                let status = response.status().as_u16();
                let documented = &operation["responses"][status.to_string()];
                assert!(documented.is_object(), "{method} {url}: {status} is not documented");
                let kind = header(&response, "content-type").unwrap().split(';').next().unwrap().to_owned();
                let content = &documented["content"][&kind];
                assert!(content.is_object(), "{method} {url} {status}: {kind} is not documented");
                if kind == "application/json" {
                    let found = mismatches(&document, &content["schema"], &body_json(&response), "");
                    assert_eq!(found, [""; 0], "{method} {url} {status}");
                    compared += 1;
                }
            }
        }
    }
    assert!(compared >= 18, "{compared}");
}
