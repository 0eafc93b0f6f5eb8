//! From a POST to the answers on the local stack: the functions as they are deployed, the wiring of template.yaml,
//! the program. Without PINLAKE_STACK each test says that it skips.

use std::{collections::BTreeMap, fs, io::Write, path::Path};

use reqwest::Method;
use serde_json::{Value, json};

use crate::{
    oracle::python,
    program::{beside, output, pinlake, repository},
    requests::{self, Form, geo, pin, user, with, without},
    stack::{DATASETS, FolderLake, Stack, assert_same_answers, rows_of},
};

#[tokio::test]
async fn every_form_that_clients_send_arrives_once_and_answers_as_files_do() {
    let Some(mut stack) = Stack::up().await else { return };
    let rows = stack.folder("rows");
    let (made_up, first) = (stack.folder("made-up"), stack.numbers().end - 300);
    output(pinlake().args("generate --rows 300 --duplicates 0.3 --seed 5 --out".split(' ')).arg(&made_up));
    let lines = renumber(&made_up, &rows, first);
    let forms = requests::clean(|| stack.number());

    for (form, _) in &forms {
        let answer = stack.send(form).await;
        assert_eq!(answer.status, 200, "{} {}: {}", form.method, form.path, answer.body);
    }
    let posted = stack.replay(&rows, &["--format", "mixed", "--batch", "50"]);
    assert_eq!(posted["accepted"], lines, "{posted}");
    stack.drain();

    let mut written: BTreeMap<&str, usize> = BTreeMap::new();
    for (dataset, row) in forms.iter().flat_map(|(_, rows)| rows) {
        *written.entry(*dataset).or_default() += 1;
        append(&rows, dataset, row);
    }
    let files = FolderLake::load(&rows);
    let tables = stack.tables();
    assert_same_answers(&tables, &files.tables());
    for dataset in DATASETS {
        assert_eq!(files.counts[dataset]["quarantined"], 0, "{}", files.counts[dataset]);
        assert_eq!(
            rows_of(&tables, dataset).len(),
            300 + written[dataset],
            "each row of {dataset} stands once"
        );
    }
    assert_same_answers(&stack.answers_over_own_rows(), &files.analyse());

    for (form, _) in &forms {
        assert_eq!(stack.send(form).await.status, 200);
    }
    stack.replay(&rows, &["--format", "native"]);
    stack.drain();
    assert_eq!(stack.tables(), tables, "what is there already makes no new row and no new version");
}

/// Copies the three files of a folder, the posts being counted from `first`. Gives the lines of all.
fn renumber(from: &Path, to: &Path, first: i64) -> u64 {
    let mut lines = 0;
    for dataset in DATASETS {
        let number = if dataset == "pin" { "index" } else { "ind" };
        for line in fs::read_to_string(from.join(dataset).with_extension("ndjson")).unwrap().lines() {
            let row: Value = serde_json::from_str(line).unwrap();
            let ind = row[number].as_i64().unwrap() + first;
            append(to, dataset, &with(row, number, json!(ind)));
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

/// A bad record on its way, and how it is to stand in quarantine.
struct Dirt {
    form: Form,
    raw: String,
    dataset: Option<&'static str>,
    reason: &'static str,
    /// What the detail has to name.
    named: &'static str,
}

fn dirt(number: i64) -> Vec<Dirt> {
    let kafka = |dataset: &'static str, row: Value, reason, named| Dirt {
        form: Form::kafka(&format!("0a1b2c3d4e5f.{dataset}"), json!({ "records": [{ "value": row }] })),
        raw: row.to_string(),
        dataset: Some(dataset),
        reason,
        named,
    };
    let kinesis = |stream: &str, row: Value, dataset, reason, named| Dirt {
        form: Form::kinesis(
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
    let nameless = with(without(user(number), "ind"), "first_name", json!(number.to_string()));
    let huge = format!(r#"{{"ind":{number}00000,"first_name":"é","last_name":"\n"}}"#);
    let no_json = json!(format!("no JSON {number}"));
    vec![
        kafka("user", pin(number), "misrouted", "the shape of pin"),
        kafka("user", with(user(number), "age", json!("unknown")), "wrong_type", "unknown"),
        kafka("pin", with(pin(number), "follower_count", json!("12 thousand")), "bad_count", "12 thousand"),
        kafka("user", nameless, "missing_required", "ind"),
        kinesis(
            geos,
            with(geo(number), "timestamp", json!("2021-02-29 00:00:00")),
            Some("geo"),
            "bad_timestamp",
            "2021-02-29",
        ),
        kinesis(shared, json!({ "run": number, "speed": 12.5 }), None, "unroutable", "dataset"),
        kinesis(pins, no_json, Some("pin"), "not_an_object", "no JSON"),
        kinesis(pins, json!(""), Some("pin"), "not_an_object", "object"),
        Dirt {
            form: Form::native("user", &huge),
            raw: huge,
            dataset: Some("user"),
            reason: "out_of_range",
            named: "ind",
        },
    ]
}

#[tokio::test]
async fn rows_that_break_the_contract_are_in_quarantine_as_they_came() {
    let Some(mut stack) = Stack::up().await else { return };
    let dirt = dirt(stack.number());
    // Each twice, as two requests: quarantine has a row once, but for what no contract tells the dataset of: that may be two events.
    let mut places: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for Dirt { form, raw, .. } in dirt.iter().chain(&dirt) {
        let answer = stack.send(form).await;
        assert_eq!(answer.status, 200, "{}: {}", form.path, answer.body);
        let (shard, sequence) = answer.acks().next().unwrap();
        let place = format!("kinesis/{}/{shard} at {sequence}#1", stack.described("stream"));
        places.entry(raw).or_default().push(place);
    }
    stack.drain();

    let raws: Vec<&str> = dirt.iter().map(|dirt| dirt.raw.as_str()).collect();
    let found = stack.quarantined(&raws);
    for Dirt { raw, dataset, reason, named, .. } in &dirt {
        let rows = found.get(raw).unwrap_or_else(|| panic!("not in quarantine: {raw}"));
        assert_eq!(rows.len(), if *reason == "unroutable" { 2 } else { 1 }, "{rows:?}");
        let row = &rows[0];
        assert_eq!(row["dataset"], json!(dataset), "{row}");
        assert_eq!(row["reason"], *reason, "{row}");
        assert!(row["detail"].as_str().unwrap().contains(named), "the detail names {named}: {row}");
        assert_eq!(row["contract"], json!(dataset.map(|dataset| format!("{dataset}@1"))), "{row}");
        // The empty record is the same in every run: there may have been one before.
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
async fn what_is_refused_is_answered_in_the_style_of_its_api_and_not_stored() {
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
    let long = with(row.clone(), "first_name", json!("x".repeat(1 << 20)));
    let long_value = json!({ "records": [{ "value": row }, { "value": long }] });
    let refused = [
        (Form::kafka(topic, broken_value), 400, json!({ "error_code": 400, "line": 3, "column": 22 })),
        (Form::kafka(topic, ""), 400, json!({ "error_code": 400 })),
        (Form::kafka("0a1b2c3d4e5f.unheard", &value), 404, json!({ "error_code": 40401 })),
        (Form::kafka(topic, long_value), 413, json!({ "error_code": 413 })),
        (Form::kafka(topic, &value).of_type(avro), 415, json!({ "error_code": 415 })),
        (Form::kafka(topic, "{\"rows\": []}"), 422, json!({ "error_code": 422 })),
        (
            Form::kinesis(records, broken_data),
            400,
            json!({ "__type": "SerializationException", "line": 2, "column": 10 }),
        ),
        (Form::kinesis(record, ""), 400, json!({ "__type": "ValidationException" })),
        (Form::kinesis(records, too_many), 400, json!({ "__type": "ValidationException" })),
        (Form::kinesis("unheard/record", &data), 404, json!({ "__type": "ResourceNotFoundException" })),
        (
            Form::kinesis(record, json!({ "Data": long })),
            413,
            json!({ "__type": "InvalidArgumentException" }),
        ),
        (
            Form::kinesis(record, &data).of_type(xml),
            415,
            json!({ "__type": "UnsupportedMediaTypeException" }),
        ),
        (
            Form::native("user", broken_line),
            400,
            json!({ "error": "malformed_json", "line": 2, "column": 10 }),
        ),
        (Form::native("user", ""), 400, json!({ "error": "empty_body" })),
        (Form::native("unheard", &good), 404, json!({ "error": "not_found" })),
        (Form::native("user", &good).by(Method::PUT), 405, json!({ "error": "method_not_allowed" })),
        (Form::native("user", format!("{good}{long}")), 413, json!({ "error": "too_large" })),
        (Form::native("user", &good).of_type(xml), 415, json!({ "error": "unsupported_media_type" })),
    ];
    for (form, status, error) in &refused {
        let answer = stack.send(form).await;
        let shown = format!("{} {} {:?}: {}", form.method, form.path, form.headers, answer.body);
        assert_eq!(answer.status, *status, "{shown}");
        assert_eq!(answer.acks().count(), 0, "{shown}");
        assert!(answer.body["message"].as_str().is_some_and(|message| !message.is_empty()), "{shown}");
        for (member, value) in error.as_object().unwrap() {
            assert_eq!(&answer.body[member], value, "{member}: {shown}");
        }
    }

    // When this one is there, so is all that was put on the stream before it.
    let last = Form::native("geo", geo(stack.number()));
    assert_eq!(stack.send(&last).await.status, 200);
    stack.drain();
    let tables = stack.tables();
    assert_eq!((rows_of(&tables, "user").len(), rows_of(&tables, "geo").len()), (0, 1), "{tables}");
    assert_eq!(stack.quarantined(&["{\"ind\":1,}", "tru", "{\"ind\":1", "{\"ind\": 1"]), BTreeMap::new());
}

#[tokio::test]
async fn the_analysis_keeps_its_answers_in_the_table_and_in_the_lake() {
    let Some(mut stack) = Stack::up().await else { return };
    // A post, for there to be tables.
    let ind = stack.number();
    for (dataset, row) in [("pin", pin(ind)), ("geo", geo(ind)), ("user", user(ind))] {
        assert_eq!(stack.send(&Form::native(dataset, row)).await.status, 200);
    }
    stack.drain();

    let answer = stack.invoke("analysis", json!({})).await;
    let run = answer["run"].as_str().unwrap();
    assert_eq!(answer["rows"].as_object().unwrap().len(), 10, "{answer}");
    assert_eq!(stack.object("results/latest.json").await, json!({ "run": run }));
    let kept = stack.object(answer["path"].as_str().unwrap()).await;
    assert_eq!(stack.results(), kept);
    // Nobody has written in between: the function and the program read the same versions.
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

    // An event that comes twice is one run; and an older run does not take the latest one's place.
    let event = json!({ "id": "53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa", "time": "2022-10-19T11:00:00Z" });
    for _ in 0..2 {
        let older = stack.invoke("analysis", event.clone()).await;
        assert_eq!(older["run"], "20221019T110000Z-53dc4d37-cffa-4f76-80c9-8b7d4a4d2eaa");
    }
    assert_eq!(stack.object("results/latest.json").await, json!({ "run": run }));
    assert_eq!(stack.result_item("users_joined_by_year", "latest").await["run_id"]["S"], run);
}

#[tokio::test]
async fn the_stock_client_and_its_restart_post_what_loading_the_same_rows_gives() {
    let Some(data) = beside("data") else { return };
    let Some(mut stack) = Stack::up().await else { return };
    // The client begins with the same draws whenever it is started.
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
async fn deployed_functions_take_their_sample_events() {
    let Some(mut stack) = Stack::up().await else { return };
    let mut taken: BTreeMap<String, usize> = BTreeMap::new();
    for entry in fs::read_dir(repository("events")).unwrap() {
        let path = entry.unwrap().path();
        let event: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
        let (function, _) = path.file_stem().unwrap().to_str().unwrap().split_once('_').unwrap();
        // The cleaner's made-up sequence numbers would move the watermark beyond all that is to come.
        if function == "cleaner" {
            continue;
        }
        let answer = stack.invoke(function, event).await;
        match function {
            "ingest" => assert_eq!(answer["statusCode"], 200, "{}: {answer}", path.display()),
            "compactor" => assert_eq!(answer, json!({ "batchItemFailures": [] }), "{}", path.display()),
            _ => assert_eq!(answer["rows"].as_object().unwrap().len(), 10, "{}: {answer}", path.display()),
        }
        if let Some(acks) = answer["headers"]["pinlake-ack"].as_str() {
            stack.acknowledge(acks);
        }
        *taken.entry(function.to_owned()).or_default() += 1;
    }
    assert!(taken["ingest"] >= 4 && taken["compactor"] >= 1 && taken["analysis"] >= 1, "{taken:?}");
    stack.drain();

    // The same rows whenever this runs, and each once.
    let rows = stack.rows(70_001..70_006);
    let numbers = |dataset: &str| {
        rows_of(&rows, dataset).iter().map(|row| row[0].as_i64().unwrap()).collect::<Vec<_>>()
    };
    assert_eq!((numbers("pin"), numbers("geo")), (vec![70_001, 70_003], vec![70_001, 70_003]));
    assert_eq!(numbers("user"), [70_001, 70_002, 70_003]);
}

#[tokio::test]
async fn files_of_any_name_are_taken_and_a_key_that_is_no_path_holds_nothing_up() {
    let Some(mut stack) = Stack::up().await else { return };
    let row = |number| user(number).to_string();
    stack.put_object("inbox//user/odd.ndjson", row(-1)).await;
    // `année +%41`: a copy's source is written as in a URL.
    stack.takes_file("inbox/user/ann%C3%A9e%20+%2541-{}.ndjson", row).await;
    stack.takes_file("inbox/user/plain-{}.ndjson", row).await;
    // Both have left the inbox, and the other one has not.
    for _ in 0..60 {
        if stack.keys("inbox/").await == ["inbox//user/odd.ndjson"] {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    }
    assert_eq!(stack.keys("inbox/").await, ["inbox//user/odd.ndjson"]);
    stack.delete_object("inbox//user/odd.ndjson").await;
}
