//! From an HTTP request to results on the local stack: the deployed functions, template.yaml and the program. Without
//! PINLAKE_STACK the tests are skipped.

use std::{collections::BTreeMap, fs, io::Write, path::Path};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    oracle::python,
    program::{beside, output, pinlake, repository},
    requests::{self, HttpRequest, geo, pin, remove_field, set_field, user},
    stack::{DATASETS, FolderLake, Stack, assert_same_answers, count_results, rows_of},
};

#[tokio::test]
async fn every_valid_request_arrives_once_with_the_results_of_loaded_files() {
    let Some(mut stack) = Stack::up().await else { return };
    let rows = stack.folder("rows");
    let (made_up, first) = (stack.folder("made-up"), stack.numbers().end - 300);
    output(pinlake().args("generate --rows 300 --duplicates 0.3 --seed 5 --out".split(' ')).arg(&made_up));
    let lines = renumber(&made_up, &rows, first);
    let requests = requests::valid_requests(|| stack.number());

    for (request, _) in &requests {
        let answer = stack.send(request).await;
        assert_eq!(answer.status, 200, "{} {}: {}", request.method, request.path, answer.body);
    }
    let posted = stack.replay(&rows, &["--format", "mixed", "--batch", "50"]);
    assert_eq!(posted["accepted"], lines, "{posted}");
    stack.drain();

    let mut written: BTreeMap<&str, usize> = BTreeMap::new();
    for (dataset, row) in requests.iter().flat_map(|(_, rows)| rows) {
        *written.entry(*dataset).or_default() += 1;
        append(&rows, dataset, row);
    }
    let files = FolderLake::load(&rows);
    let tables = stack.tables();
    assert_same_answers(&tables, &files.tables());
    for dataset in DATASETS {
        assert_eq!(files.counts[dataset]["quarantined"], 0, "{}", files.counts[dataset]);
        assert_eq!(rows_of(&tables, dataset).len(), 300 + written[dataset], "{dataset} has duplicate rows");
    }
    assert_same_answers(&stack.answers_over_own_rows(), &files.analyse());

    for (request, _) in &requests {
        assert_eq!(stack.send(request).await.status, 200);
    }
    stack.replay(&rows, &["--format", "native"]);
    stack.drain();
    assert_eq!(stack.tables(), tables, "repeated rows add neither rows nor versions");
}

/// Copies the three files of a folder and numbers the posts from `first`. Returns the number of lines.
fn renumber(from: &Path, to: &Path, first: i64) -> u64 {
    let mut lines = 0;
    for dataset in DATASETS {
        let number = if dataset == "pin" { "index" } else { "ind" };
        for line in fs::read_to_string(from.join(dataset).with_extension("ndjson")).unwrap().lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let ind = row[number].as_i64().unwrap() + first;
            append(to, dataset, &set_field(row, number, json!(ind)));
            lines += 1;
        }
    }
    lines
}

fn append(folder: &Path, dataset: &str, row: &Value) {
    let path = folder.join(dataset).with_extension("ndjson");
    let mut file = fs::OpenOptions::new().append(true).create(true).open(path).unwrap();
    writeln!(file, "{row}").unwrap();
}

/// An invalid record and its expected row in quarantine.
struct InvalidRecord {
    request: HttpRequest,
    raw: String,
    dataset: Option<&'static str>,
    reason: &'static str,
    /// A text that the detail must contain.
    named: &'static str,
}

fn invalid_records(number: i64) -> Vec<InvalidRecord> {
    let kafka = |dataset: &'static str, row: Value, reason, named| InvalidRecord {
        request: HttpRequest::kafka(
            &format!("0a1b2c3d4e5f.{dataset}"),
            json!({ "records": [{ "value": row }] }),
        ),
        raw: row.to_string(),
        dataset: Some(dataset),
        reason,
        named,
    };
    let kinesis = |stream: &str, row: Value, dataset, reason, named| InvalidRecord {
        request: HttpRequest::kinesis(
            &format!("{stream}/record"),
            json!({ "Data": row, "PartitionKey": "partition-1" }),
        ),
        raw: row.to_string(),
        dataset,
        reason,
        named,
    };
    let (pins, geos, shared) =
        ("streaming-0a1b2c3d4e5f-pin", "streaming-0a1b2c3d4e5f-geo", "Kinesis-Prod-Stream");
    let nameless = set_field(remove_field(user(number), "ind"), "first_name", json!(number.to_string()));
    let huge = format!(r#"{{"ind":{number}00000,"first_name":"é","last_name":"\n"}}"#);
    let no_json = json!(format!("no JSON {number}"));
    vec![
        kafka("user", pin(number), "misrouted", "the shape of pin"),
        kafka("user", set_field(user(number), "age", json!("unknown")), "wrong_type", "unknown"),
        kafka(
            "pin",
            set_field(pin(number), "follower_count", json!("12 thousand")),
            "bad_count",
            "12 thousand",
        ),
        kafka("user", nameless, "missing_required", "ind"),
        kinesis(
            geos,
            set_field(geo(number), "timestamp", json!("2021-02-29 00:00:00")),
            Some("geo"),
            "bad_timestamp",
            "2021-02-29",
        ),
        kinesis(shared, json!({ "run": number, "speed": 12.5 }), None, "unroutable", "dataset"),
        kinesis(pins, no_json, Some("pin"), "not_an_object", "no JSON"),
        kinesis(pins, json!(""), Some("pin"), "not_an_object", "object"),
        InvalidRecord {
            request: HttpRequest::native("user", &huge),
            raw: huge,
            dataset: Some("user"),
            reason: "out_of_range",
            named: "ind",
        },
    ]
}

#[tokio::test]
async fn rows_that_break_the_contract_are_unchanged_in_quarantine() {
    let Some(mut stack) = Stack::up().await else { return };
    let invalid_records = invalid_records(stack.number());
    // Each twice, as two requests: quarantine has one row, or two if no contract names the dataset, because they may be two events.
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for InvalidRecord { request, raw, .. } in invalid_records.iter().chain(&invalid_records) {
        let answer = stack.send(request).await;
        assert_eq!(answer.status, 200, "{}: {}", request.path, answer.body);
        let (shard, sequence) = answer.acks().next().unwrap();
        let place = format!("kinesis/{}/{shard} at {sequence}#1", stack.described("stream"));
        places.entry(raw).or_default().push(place);
    }
    stack.drain();

    let raws: Vec<&str> =
        invalid_records.iter().map(|invalid_records| invalid_records.raw.as_str()).collect();
    let found = stack.quarantined(&raws);
    for InvalidRecord { raw, dataset, reason, named, .. } in &invalid_records {
        let rows = found.get(raw).unwrap_or_else(|| panic!("not in quarantine: {raw}"));
        assert_eq!(rows.len(), if *reason == "unroutable" { 2 } else { 1 }, "{rows:?}");
        let row = &rows[0];
        assert_eq!(row["dataset"], json!(dataset), "{row}");
        assert_eq!(row["reason"], *reason, "{row}");
        assert!(row["detail"].as_str().unwrap().contains(named), "the detail names {named}: {row}");
        assert_eq!(row["contract"], json!(dataset.map(|dataset| format!("{dataset}@1"))), "{row}");
        // The empty record is equal in every run, so there may be earlier ones.
        if raw != "\"\"" {
            let place =
                format!("{} at {}", row["source"].as_str().unwrap(), row["position"].as_str().unwrap());
            assert!(places[raw.as_str()].contains(&place), "not where it was put, {places:?}: {row}");
        }
    }
    let tables = stack.tables();
    for dataset in DATASETS {
        assert!(rows_of(&tables, dataset).is_empty(), "a bad row is in its table: {tables}");
    }
}

#[tokio::test]
async fn rejected_requests_get_the_errors_of_their_api_and_are_not_stored() {
    let Some(mut stack) = Stack::up().await else { return };
    let row = user(stack.number());
    let good = format!("{row}\n");
    let (topic, stream) = ("0a1b2c3d4e5f.user", "Kinesis-Prod-Stream");
    let (record, records) = (&*format!("{stream}/record"), &*format!("{stream}/records"));
    let (xml, avro) = ("application/xml", "application/vnd.kafka.avro.v2+json");

    let value = json!({ "records": [{ "value": row }] });
    let data = json!({ "Data": row, "PartitionKey": "user" });
    let broken_value =
        format!("{{\"records\": [\n {{\"value\": {row}}},\n {{\"value\": {{\"ind\": 1,}}}}]}}");
    let broken_data =
        format!("{{\"records\": [{{\"data\": {row}, \"partition-key\": \"user\"}},\n{{\"data\": tru}}]}}");
    let broken_line = format!("{good}{{\"ind\": 1\n");
    let too_many = json!({ "records": vec![json!({ "data": row, "partition-key": "user" }); 501] });
    let long = set_field(row.clone(), "first_name", json!("x".repeat(1 << 20)));
    let long_value = json!({ "records": [{ "value": row }, { "value": long }] });
    let refused = [
        (HttpRequest::kafka(topic, broken_value), 400, json!({ "error_code": 400, "line": 3, "column": 22 })),
        (HttpRequest::kafka(topic, ""), 400, json!({ "error_code": 400 })),
        (HttpRequest::kafka("0a1b2c3d4e5f.unheard", &value), 404, json!({ "error_code": 40401 })),
        (HttpRequest::kafka(topic, long_value), 413, json!({ "error_code": 413 })),
        (HttpRequest::kafka(topic, &value).with_content_type(avro), 415, json!({ "error_code": 415 })),
        (HttpRequest::kafka(topic, "{\"rows\": []}"), 422, json!({ "error_code": 422 })),
        (
            HttpRequest::kinesis(records, broken_data),
            400,
            json!({ "__type": "SerializationException", "line": 2, "column": 10 }),
        ),
        (HttpRequest::kinesis(record, ""), 400, json!({ "__type": "ValidationException" })),
        (HttpRequest::kinesis(records, too_many), 400, json!({ "__type": "ValidationException" })),
        (
            HttpRequest::kinesis("unheard/record", &data),
            404,
            json!({ "__type": "ResourceNotFoundException" }),
        ),
        (
            HttpRequest::kinesis(record, json!({ "Data": long })),
            413,
            json!({ "__type": "InvalidArgumentException" }),
        ),
        (
            HttpRequest::kinesis(record, &data).with_content_type(xml),
            415,
            json!({ "__type": "UnsupportedMediaTypeException" }),
        ),
        (
            HttpRequest::native("user", broken_line),
            400,
            json!({ "error": "malformed_json", "line": 2, "column": 10 }),
        ),
        (HttpRequest::native("user", ""), 400, json!({ "error": "empty_body" })),
        (HttpRequest::native("unheard", &good), 404, json!({ "error": "not_found" })),
        (
            HttpRequest::native("user", &good).with_method(Method::PUT),
            405,
            json!({ "error": "method_not_allowed" }),
        ),
        (HttpRequest::native("user", format!("{good}{long}")), 413, json!({ "error": "too_large" })),
        (
            HttpRequest::native("user", &good).with_content_type(xml),
            415,
            json!({ "error": "unsupported_media_type" }),
        ),
    ];
    for (request, status, error) in &refused {
        let answer = stack.send(request).await;
        let shown = format!("{} {} {:?}: {}", request.method, request.path, request.headers, answer.body);
        assert_eq!(answer.status, *status, "{shown}");
        assert_eq!(answer.acks().count(), 0, "{shown}");
        assert!(answer.body["message"].as_str().is_some_and(|message| !message.is_empty()), "{shown}");
        for (member, value) in error.as_object().unwrap() {
            assert_eq!(&answer.body[member], value, "{member}: {shown}");
        }
    }

    // When this row has arrived, all records that were put on the stream before it have arrived too.
    let last = HttpRequest::native("geo", geo(stack.number()));
    assert_eq!(stack.send(&last).await.status, 200);
    stack.drain();
    let tables = stack.tables();
    assert_eq!((rows_of(&tables, "user").len(), rows_of(&tables, "geo").len()), (0, 1), "{tables}");
    assert_eq!(stack.quarantined(&["{\"ind\":1,}", "tru", "{\"ind\":1", "{\"ind\": 1"]), BTreeMap::new());
}

#[tokio::test]
async fn the_analysis_stores_its_results_in_the_table_and_in_the_lake() {
    let Some(mut stack) = Stack::up().await else { return };
    // A post, so that the tables exist.
    let ind = stack.number();
    for (dataset, row) in [("pin", pin(ind)), ("geo", geo(ind)), ("user", user(ind))] {
        assert_eq!(stack.send(&HttpRequest::native(dataset, row)).await.status, 200);
    }
    stack.drain();

    let answer = stack.invoke("analysis", json!({})).await;
    let run = answer["run"].as_str().unwrap();
    assert_eq!(answer["rows"].as_object().unwrap().len(), count_results(), "{answer}");
    assert_eq!(stack.object("results/latest.json").await, json!({ "run": run }));
    let mut kept = stack.object(answer["path"].as_str().unwrap()).await;
    for result in kept.as_object_mut().unwrap().values_mut() {
        // What the report shows of the query, which the program does not print.
        let result = result.as_object_mut().unwrap();
        assert!(result.remove("sql").is_some_and(|sql| sql.is_string()));
        assert!(result.remove("seconds").is_some_and(|seconds| seconds.is_number()));
    }
    assert_eq!(stack.results(), kept);
    // No writes in between: the function and the program read the same versions.
    assert_eq!(stack.analyse(&[]), kept);

    for (name, result) in kept.as_object().unwrap() {
        for key in [run, "latest"] {
            let item = stack.result_item(name, key).await;
            assert_eq!((&item["run"]["S"], &item["run_id"]["S"]), (&json!(key), &json!(run)), "{name}");
            assert_eq!(item["path"]["S"], answer["path"], "{name}");
            let rows = result["rows"].as_array().unwrap().len();
            assert_eq!(item["row_count"]["N"], rows.to_string(), "{name}");
            assert_eq!(answer["rows"][name], rows, "{name}");
            for member in ["columns", "versions", "rows"] {
                let text = item[member]["S"].as_str().unwrap();
                assert_eq!(
                    serde_json::from_str::<Value>(text).unwrap(),
                    result[member],
                    "{member} of {name}"
                );
            }
        }
        for (table, version) in result["versions"].as_object().unwrap() {
            assert_eq!(&answer["versions"][table], version, "{name}");
        }
    }

    // A redelivered event is one run, and an older run does not replace the latest one.
    let event = json!({ "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "time": "2022-10-19T11:00:00Z" });
    for _ in 0..2 {
        let older = stack.invoke("analysis", event.clone()).await;
        assert_eq!(older["run"], "20221019T110000Z-53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa");
    }
    assert_eq!(stack.object("results/latest.json").await, json!({ "run": run }));
    assert_eq!(stack.result_item("users_joined_by_year", "latest").await["run_id"]["S"], run);
}

#[tokio::test]
async fn a_restarted_stock_client_gives_the_tables_of_the_loaded_rows() {
    let Some(data) = beside("data") else { return };
    let Some(mut stack) = Stack::up().await else { return };
    // The client draws the same numbers after every start.
    for (name, rounds) in [("stopped", "12"), ("restarted", "40")] {
        let (drawn, rows) = (stack.folder("drawn"), stack.folder(name));
        output(python("stock_client.py").arg(&data).arg(&drawn).arg(rounds));
        renumber(&drawn, &rows, stack.numbers().start);
        let posted = stack.replay(&rows, &["--format", "mixed", "--batch", "1"]);
        assert_eq!(
            (&posted["accepted"], &posted["requests"]),
            (&posted["sent"], &posted["sent"]),
            "{posted}"
        );
    }
    stack.drain();

    let files = FolderLake::load(&stack.folder("restarted"));
    assert_eq!(files.counts["pin"]["read"], 40);
    assert_same_answers(&stack.tables(), &files.tables());
    assert_same_answers(&stack.answers_over_own_rows(), &files.analyse());
}

#[tokio::test]
async fn deployed_functions_process_their_sample_events() {
    let Some(mut stack) = Stack::up().await else { return };
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for entry in fs::read_dir(repository("events")).unwrap() {
        let path = entry.unwrap().path();
        let event: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let (function, _) = path.file_stem().unwrap().to_str().unwrap().split_once('_').unwrap();
        // The sequence numbers of the sample event would move the watermark beyond all later records.
        if function == "cleaner" {
            continue;
        }
        let answer = stack.invoke(function, event).await;
        match path.file_stem().unwrap().to_str().unwrap() {
            // The stack has the built-in contracts, which have neither webhooks nor logs.
            "ingest_webhook" | "ingest_otlp" => {
                assert_eq!(answer["statusCode"], 404, "{}: {answer}", path.display())
            }
            event if event.starts_with("ingest_") || event.starts_with("report_") => {
                assert_eq!(answer["statusCode"], 200, "{}: {answer}", path.display())
            }
            event if event.starts_with("compactor_") => {
                assert_eq!(answer, json!({ "batchItemFailures": [] }), "{}", path.display())
            }
            _ => {
                assert_eq!(
                    answer["rows"].as_object().unwrap().len(),
                    count_results(),
                    "{}: {answer}",
                    path.display()
                )
            }
        }
        if let Some(acks) = answer["headers"]["pinlake-ack"].as_str() {
            stack.acknowledge(acks);
        }
        *taken.entry(function.to_owned()).or_default() += 1;
    }
    assert!(taken["ingest"] >= 4 && taken["compactor"] >= 1 && taken["analysis"] >= 1, "{taken:?}");
    assert_eq!(taken["report"], 3);
    stack.drain();

    // The rows are equal in every run, and each is there once.
    let rows = stack.rows(70_001..70_006);
    let numbers = |dataset: &str| {
        rows_of(&rows, dataset).iter().map(|row| row[0].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((numbers("pin"), numbers("geo")), (vec![70_001, 70_003], vec![70_001, 70_003]));
    assert_eq!(numbers("user"), [70_001, 70_002, 70_003]);
}

#[tokio::test]
async fn the_report_shows_what_analysis_stored() {
    let Some(stack) = Stack::up().await else { return };
    let ran = stack.invoke("analysis", json!({})).await;
    // The function keeps what it has read for 15 seconds.
    for _ in 0..40 {
        if stack.report("v1/results", None).await.body["run"] == ran["run"] {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    }
    let listed = stack.report("v1/results", None).await;
    assert_eq!((listed.status, &listed.body["run"]), (200, &ran["run"]), "{}", listed.body);
    let stored = stack.results();
    for (name, result) in stored.as_object().unwrap() {
        let shown = stack.report(&format!("v1/results/{name}"), None).await.body;
        assert_eq!((&shown["columns"], &shown["rows"]), (&result["columns"], &result["rows"]), "{name}");
        assert!(shown["sql"].as_str().unwrap().contains("SELECT") && shown["seconds"].is_number(), "{name}");
        let history = stack.report(&format!("v1/results/{name}/history"), None).await.body;
        assert_eq!(history["runs"].as_array().unwrap().last().unwrap()["run"], ran["run"], "{name}");
    }
    let tag = listed.headers["etag"].to_str().unwrap();
    assert_eq!(stack.report("v1/results", Some(tag)).await.status, 304);

    let page = stack.report("", None).await;
    let text = page.body.as_str().unwrap();
    assert!(page.status == 200 && text.contains("<svg") && text.contains("State of the lake"));
    let policy = page.headers["content-security-policy"].to_str().unwrap();
    assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{policy}");
    let state = stack.report("v1/state", None).await.body;
    assert!(
        state["datasets"].as_array().unwrap().iter().all(|dataset| dataset["problem"].is_null()),
        "{state}"
    );
    assert_eq!(stack.report("v1/quarantine", None).await.status, 403, "the URL of this stack is open");
    assert_eq!(stack.report("v1/nothing", None).await.status, 404);
}

#[tokio::test]
async fn files_of_any_name_are_loaded_and_an_invalid_key_blocks_nothing() {
    let Some(mut stack) = Stack::up().await else { return };
    let row = |number| user(number).to_string();
    stack.put_object("inbox//user/odd.ndjson", row(-1)).await;
    // `année +%41`: the source of a copy is URL-encoded.
    stack.takes_file("inbox/user/ann%C3%A9e%20+%2541-{}.ndjson", row).await;
    stack.takes_file("inbox/user/plain-{}.ndjson", row).await;
    // The two loaded files have left the inbox. The object with the invalid key has not.
    for _ in 0..60 {
        if stack.keys("inbox/").await == ["inbox//user/odd.ndjson"] {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert_eq!(stack.keys("inbox/").await, ["inbox//user/odd.ndjson"]);
    stack.delete_object("inbox//user/odd.ndjson").await;
}
