//! `pinlake replay` against an endpoint with faults.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Mutex;
use std::time::Duration;

use serde_json::{Value, json};

use crate::endpoint::{Endpoint, Reply, Request};
use crate::program::{begin, end, pinlake};

/// Writes the three files with `rows` rows each.
fn write_rows(folder: &Path, rows: u64) {
    for dataset in ["pin", "geo", "user"] {
        let lines: String =
            (0..rows).map(|row| format!("{{\"ind\": {row}, \"text\": \"{dataset} 🎄 …\"}}\n")).collect();
        fs::write(folder.join(format!("{dataset}.ndjson")), lines).unwrap();
    }
}

/// The `ind` of all stored rows by dataset, with repetitions.
fn stored(endpoint: &Endpoint) -> BTreeMap<String, Vec<u64>> {
    let numbers = |rows: Vec<Value>| {
        let mut numbers: Vec<u64> = rows.iter().map(|row| row["ind"].as_u64().unwrap()).collect();
        numbers.sort_unstable();
        numbers
    };
    endpoint.stored().into_iter().map(|(dataset, rows)| (dataset, numbers(rows))).collect()
}

fn each_once(rows: u64) -> BTreeMap<String, Vec<u64>> {
    ["geo", "pin", "user"].map(|dataset| (dataset.to_owned(), (0..rows).collect())).into()
}

fn acked(shard: &str, number: usize) -> Reply {
    let ack = format!("shardId-{shard}=49590338271490256608559692538361571095921575989136588{number:03}");
    Reply::Other(200, vec![("Pinlake-Ack", ack)], "{}".to_owned())
}

#[tokio::test(flavor = "multi_thread")]
async fn mixed_formats_carry_each_row_once_and_acknowledgements_are_kept() {
    let folder = tempfile::tempdir().unwrap();
    write_rows(folder.path(), 100);
    fs::write(folder.path().join("acks.json"), r#"{"shardId-0":"7","shardId-9":"1"}"#).unwrap();
    let endpoint = Endpoint::start(|_, number| acked(if number % 2 == 0 { "0" } else { "1" }, number)).await;
    let args = ["replay", "--to", &endpoint.url, "--from", ".", "--format", "mixed", "--batch", "10"];
    let ran = pinlake(folder.path(), &[&args[..], &["--acks", "acks.json", "--uid", "me"]].concat()).await;
    ran.assert_code(0);
    assert!(ran.stderr.contains("pinlake quarantine list --lake LAKE"), "{}", ran.stderr);
    assert_eq!(stored(&endpoint), each_once(100));

    let requests = endpoint.requests();
    let bytes: usize = requests.iter().map(|request| request.body.len()).sum();
    let mut summary = ran.summary();
    assert!(summary["seconds"].take().as_f64().unwrap() > 0.0);
    let expected = json!({"sent": 300, "accepted": 300, "rejected": 0, "requests": requests.len(), "retries": 0,
        "seconds": null, "bytes": bytes});
    assert_eq!(summary, expected);

    let mut rows_by_path: BTreeMap<&str, usize> = BTreeMap::new();
    for request in &requests {
        *rows_by_path.entry(&request.path).or_default() += request.rows().unwrap().len();
        let (method, content_type) = match request.path.split('/').nth(1).unwrap() {
            "topics" => ("POST", "application/vnd.kafka.json.v2+json"),
            "streams" => ("PUT", "application/json"),
            _ => ("POST", "application/x-ndjson"),
        };
        assert_eq!(
            (request.method.as_str(), request.headers["content-type"].as_str()),
            (method, content_type)
        );
    }
    for dataset in ["pin", "geo", "user"] {
        assert_eq!(rows_by_path[format!("/topics/me.{dataset}").as_str()], 34);
        assert_eq!(rows_by_path[format!("/streams/streaming-me-{dataset}/records").as_str()], 33);
        assert_eq!(rows_by_path[format!("/v1/{dataset}").as_str()], 33);
    }

    let acks: BTreeMap<String, String> =
        serde_json::from_str(&fs::read_to_string(folder.path().join("acks.json")).unwrap()).unwrap();
    let last = requests.len() - 1;
    let highest = |number: usize| format!("49590338271490256608559692538361571095921575989136588{number:03}");
    let (even, odd) = if last % 2 == 0 { (last, last - 1) } else { (last - 1, last) };
    assert_eq!(
        acks,
        [
            ("shardId-0".to_owned(), highest(even)),
            ("shardId-1".to_owned(), highest(odd)),
            ("shardId-9".to_owned(), "1".to_owned())
        ]
        .into()
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn throttled_failed_and_lost_requests_are_retried_with_the_same_key() {
    let folder = tempfile::tempdir().unwrap();
    write_rows(folder.path(), 60);
    // Each request fails once, in one of four ways.
    let seen: Mutex<HashMap<String, usize>> = Mutex::default();
    let endpoint = Endpoint::start(move |request, _| {
        let mut seen = seen.lock().unwrap();
        let way = seen.len();
        match seen.insert(request.key().to_owned(), way) {
            Some(_) => Reply::Stored,
            None => match way % 4 {
                0 => Reply::Other(429, vec![("Retry-After", "1".to_owned())], "{}".to_owned()),
                1 => Reply::status(503),
                2 => Reply::Lost,
                _ => Reply::status(500),
            },
        }
    })
    .await;
    let args = ["replay", "--to", &endpoint.url, "--from", ".", "--format", "mixed", "--batch", "5"];
    let ran = pinlake(folder.path(), &args).await;
    ran.assert_code(0);
    assert_eq!(stored(&endpoint), each_once(60));

    let mut tries: HashMap<String, Vec<Request>> = HashMap::new();
    for request in endpoint.requests() {
        tries.entry(request.key().to_owned()).or_default().push(request);
    }
    assert_eq!(tries.len(), 36);
    for (key, tries) in &tries {
        assert_eq!(tries.len(), 2, "{key}");
        assert_eq!(tries[0].body, tries[1].body, "one key, one body");
    }
    let summary = ran.summary();
    assert_eq!((&summary["requests"], &summary["retries"]), (&json!(72), &json!(36)));
    assert!(summary["seconds"].as_f64().unwrap() >= 1.0, "Retry-After is honoured");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_row_goes_to_the_rejects_file_and_the_run_continues() {
    for format in ["kafka", "kinesis", "native"] {
        let folder = tempfile::tempdir().unwrap();
        let mut lines: Vec<String> = (0..50).map(|row| format!("{{\"ind\": {row}}}")).collect();
        lines[7] = "{\"ind\": 7".to_owned();
        lines[30] = "{\"ind\": 30} trailing".to_owned();
        // Well-formed JSON, which the endpoint rejects with the number of the line.
        lines[44] = "{\"ind\": 44, \"forbidden\": 1}".to_owned();
        fs::write(folder.path().join("geo.ndjson"), lines.join("\n")).unwrap();
        let endpoint = Endpoint::start(|request, _| {
            let text = String::from_utf8(request.body.clone()).unwrap();
            let error = match request.rows() {
                None if request.path.starts_with("/v1/") => {
                    let bad = |line: &&str| serde_json::from_str::<Value>(line).is_err();
                    let at = text.lines().position(|line| bad(&line)).unwrap();
                    format!("malformed JSON at line {}, column 9", at + 1)
                }
                None => serde_json::from_str::<Value>(&text).unwrap_err().to_string(),
                Some(_) => match text.lines().position(|line| line.contains("forbidden")) {
                    Some(at) => format!("forbidden field at line {}, column 2", at + 1),
                    None => return Reply::Stored,
                },
            };
            Reply::Other(400, Vec::new(), json!({"error_code": 400, "message": error}).to_string())
        })
        .await;
        let args = ["replay", "--to", &endpoint.url, "--from", "geo.ndjson", "--format", format];
        let ran =
            pinlake(folder.path(), &[&args[..], &["--batch", "20", "--state", "state.json"]].concat()).await;
        ran.assert_code(0);
        let expected: Vec<u64> = (0..50).filter(|row| ![7, 30, 44].contains(row)).collect();
        assert_eq!(stored(&endpoint)["geo"], expected, "{format}");
        let summary = ran.summary();
        assert_eq!((&summary["accepted"], &summary["rejected"]), (&json!(47), &json!(3)), "{format}");

        let rejects = fs::read_to_string(folder.path().join("state.json.rejects.ndjson")).unwrap();
        let mut rejects: Vec<Value> =
            rejects.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        rejects.sort_by_key(|reject| reject["line"].as_u64());
        for (reject, line) in rejects.iter().zip([8usize, 31, 45]) {
            assert_eq!(reject["line"], line, "{format}");
            assert_eq!(reject["raw"], lines[line - 1]);
            assert_eq!(reject["dataset"], "geo");
            assert!(reject["reason"].as_str().unwrap().contains("400"), "{reject}");
        }
        assert!(ran.stderr.contains("state.json.rejects.ndjson"), "{}", ran.stderr);
        let state: Value =
            serde_json::from_slice(&fs::read(folder.path().join("state.json")).unwrap()).unwrap();
        assert_eq!(state["files"]["geo.ndjson"], 50, "rejected rows count as done");
        for name in ["state.json", "state.json.rejects.ndjson"] {
            let mode = fs::metadata(folder.path().join(name)).unwrap().permissions().mode() & 0o777;
            assert_eq!(mode, 0o600, "{name} is readable by its owner only");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn only_records_that_a_response_reports_as_failed_are_sent_again() {
    let folder = tempfile::tempdir().unwrap();
    write_rows(folder.path(), 20);
    // The first time, every third record fails.
    let endpoint = Endpoint::start(|request, _| {
        let rows = request.rows().unwrap().len();
        let failed = |at: usize| rows == 20 && at % 3 == 1;
        let body = if request.path.starts_with("/topics/") {
            let record = |at| match failed(at) {
                true => json!({"partition": null, "offset": null, "error_code": 50003, "error": "slow"}),
                false => json!({"partition": 0, "offset": at, "error_code": null, "error": null}),
            };
            json!({"offsets": (0..rows).map(record).collect::<Vec<_>>()})
        } else {
            let record = |at| match failed(at) {
                true => json!({"ErrorCode": "ProvisionedThroughputExceededException", "ErrorMessage": "slow"}),
                false => json!({"SequenceNumber": "1", "ShardId": "shardId-0"}),
            };
            json!({"FailedRecordCount": (0..rows).filter(|&at| failed(at)).count(), "Records": (0..rows).map(record).collect::<Vec<_>>()})
        };
        Reply::Other(200, vec![("Pinlake-Ack", "shardId-0=1".to_owned())], body.to_string())
    })
    .await;
    for format in ["kafka", "kinesis"] {
        let args = ["replay", "--to", &endpoint.url, "--from", "pin.ndjson", "--format", format];
        let ran = pinlake(folder.path(), &args).await;
        ran.assert_code(0);
        let summary = ran.summary();
        assert_eq!(
            (&summary["accepted"], &summary["requests"], &summary["retries"]),
            (&json!(20), &json!(2), &json!(1))
        );
    }
    let requests = endpoint.requests();
    for pair in requests.chunks(2) {
        assert_eq!((pair[0].rows().unwrap().len(), pair[1].rows().unwrap().len()), (20, 7));
        let again: Vec<u64> =
            pair[1].rows().unwrap().iter().map(|row| row["ind"].as_u64().unwrap()).collect();
        assert_eq!(again, [1, 4, 7, 10, 13, 16, 19]);
        assert_ne!(pair[0].key(), pair[1].key(), "another body has another key");
    }
}

/// A proxy may remove headers that it does not know.
#[tokio::test(flavor = "multi_thread")]
async fn rows_stored_without_a_readable_acknowledgement_are_an_error() {
    let folder = tempfile::tempdir().unwrap();
    write_rows(folder.path(), 10);
    for (number, headers) in [
        vec![],
        vec![("Pinlake-Ack", String::new())],
        vec![("Pinlake-Ack", "shardId-0".to_owned())],
        vec![("Pinlake-Ack", "shardId-0=7".to_owned()), ("Pinlake-Ack", "shardId-1=x".to_owned())],
    ]
    .into_iter()
    .enumerate()
    {
        let endpoint = Endpoint::start(move |_, _| Reply::Other(200, headers.clone(), "{}".to_owned())).await;
        for format in ["kafka", "kinesis", "native"] {
            let state = format!("{number}-{format}.json");
            let args = ["replay", "--to", &endpoint.url, "--from", "pin.ndjson", "--format", format];
            let args = [&args[..], &["--acks", "acks.json", "--state", &state]].concat();
            let ran = pinlake(folder.path(), &args).await;
            ran.assert_code(1);
            assert!(ran.stderr.contains("Pinlake-Ack") && ran.stderr.contains("proxy"), "{}", ran.stderr);
            assert!(ran.stderr.contains(&endpoint.url), "{}", ran.stderr);
            assert_eq!(ran.summary()["accepted"], json!(0));
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_error_for_all_rows_ends_the_run_and_the_next_one_continues() {
    let folder = tempfile::tempdir().unwrap();
    write_rows(folder.path(), 40);
    let endpoint = Endpoint::start(|_, number| match number {
        0..6 => acked("0", number),
        6 => Reply::status(403),
        _ => acked("0", number),
    })
    .await;
    let args = ["replay", "--to", &endpoint.url, "--from", ".", "--batch", "10", "--concurrency", "1"];
    let args = [&args[..], &["--state", "state.json", "--acks", "acks.json"]].concat();
    let ran = pinlake(folder.path(), &args).await;
    ran.assert_code(1);
    assert!(ran.stderr.contains("403") && ran.stderr.contains("credentials"), "{}", ran.stderr);
    assert_eq!(ran.summary()["accepted"], 60, "the summary is printed after a failure, too");
    let state: Value = serde_json::from_slice(&fs::read(folder.path().join("state.json")).unwrap()).unwrap();
    assert_eq!(state["files"], json!({"geo.ndjson": 20, "pin.ndjson": 20, "user.ndjson": 20}));
    assert!(fs::read_to_string(folder.path().join("acks.json")).unwrap().ends_with("005\"}"));

    let ran = pinlake(folder.path(), &args).await;
    ran.assert_code(0);
    assert_eq!(ran.summary()["sent"], 60);
    assert_eq!(stored(&endpoint), each_once(40), "no row twice");

    let ran = pinlake(folder.path(), &args).await;
    ran.assert_code(0);
    assert_eq!(ran.summary()["requests"], 0, "all is done");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_always_fails_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    write_rows(folder.path(), 5);
    let endpoint = Endpoint::start(|_, _| Reply::status(503)).await;
    let args = ["replay", "--to", &endpoint.url, "--from", "pin.ndjson", "--attempts", "3"];
    let ran = pinlake(folder.path(), &args).await;
    ran.assert_code(1);
    assert!(ran.stderr.contains("failed 3 times: 503"), "{}", ran.stderr);
    assert!(!ran.stderr.contains("quarantine"), "nothing was accepted: {}", ran.stderr);
    assert_eq!(endpoint.requests().len(), 3);
    let unreachable = pinlake(
        folder.path(),
        &["replay", "--to", "http://127.0.0.1:9", "--from", "pin.ndjson", "--attempts", "1"],
    )
    .await;
    unreachable.assert_code(1);
    assert!(unreachable.stderr.contains("http://127.0.0.1:9"), "{}", unreachable.stderr);
}

#[cfg(unix)]
#[tokio::test(flavor = "multi_thread")]
async fn ctrl_c_ends_the_run_cleanly_and_the_next_one_continues() {
    let folder = tempfile::tempdir().unwrap();
    write_rows(folder.path(), 100);
    let endpoint = Endpoint::start(|_, number| acked("0", number)).await;
    let args = [
        "replay",
        "--to",
        &endpoint.url,
        "--from",
        ".",
        "--format",
        "mixed",
        "--batch",
        "2",
        "--state",
        "state.json",
    ];
    let slow = begin(folder.path(), &[&args[..], &["--rate", "60", "--acks", "acks.json"]].concat());
    while endpoint.requests().len() < 5 {
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    let kill =
        tokio::process::Command::new("kill").arg("-INT").arg(slow.id().unwrap().to_string()).status().await;
    assert!(kill.unwrap().success());
    let ran = end(slow).await;
    ran.assert_code(130);
    let sent = ran.summary()["sent"].as_u64().unwrap();
    assert!((10..200).contains(&sent), "{sent}");
    let acks = fs::read_to_string(folder.path().join("acks.json")).unwrap();
    assert!(acks.ends_with(&format!("{:03}\"}}", endpoint.requests().len() - 1)), "{acks}");

    let ran = pinlake(folder.path(), &args).await;
    ran.assert_code(0);
    assert_eq!(ran.summary()["sent"], 300 - sent);
    assert_eq!(stored(&endpoint), each_once(100), "no row twice");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_seed_repeats_its_draws_and_draws_the_same_row_of_each_file() {
    let folder = tempfile::tempdir().unwrap();
    write_rows(folder.path(), 30);
    let drawn = |seed: &'static str, count: &'static str| {
        let folder = folder.path().to_owned();
        async move {
            let endpoint = Endpoint::start(|_, _| Reply::Stored).await;
            let args =
                ["replay", "--to", &endpoint.url, "--from", ".", "--format", "kinesis", "--batch", "1"];
            let args = [&args[..], &["--concurrency", "1", "--seed", seed, "--count", count]].concat();
            pinlake(&folder, &args).await.assert_code(0);
            let requests = endpoint.requests();
            assert!(
                requests.iter().all(|request| request.path.ends_with("/record") && request.method == "PUT")
            );
            let keys: HashSet<&str> = requests.iter().map(Request::key).collect();
            assert_eq!(keys.len(), requests.len(), "a row drawn twice is sent in another request");
            let number = |request: &Request| request.rows().unwrap()[0]["ind"].as_u64().unwrap();
            requests.iter().map(number).collect::<Vec<u64>>()
        }
    };
    let first = drawn("100", "50").await;
    assert_eq!(first.len(), 150);
    assert!(first.chunks(3).all(|round| round[0] == round[1] && round[1] == round[2]), "{first:?}");
    let rounds: HashSet<u64> = first.iter().copied().collect();
    assert!(
        (15..30).contains(&rounds.len()),
        "50 draws of 30 rows repeat some and miss some: {}",
        rounds.len()
    );
    assert_eq!(drawn("100", "20").await, first[..60]);
    assert_ne!(drawn("101", "50").await, first);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_body_that_is_too_large_is_halved_until_it_fits() {
    let folder = tempfile::tempdir().unwrap();
    write_rows(folder.path(), 40);
    let endpoint =
        Endpoint::start(
            |request, _| {
                if request.rows().unwrap().len() > 6 { Reply::status(413) } else { Reply::Stored }
            },
        )
        .await;
    let ran =
        pinlake(folder.path(), &["replay", "--to", &endpoint.url, "--from", ".", "--batch", "40"]).await;
    ran.assert_code(0);
    assert_eq!(stored(&endpoint), each_once(40));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_rate_is_kept_and_count_ends_the_run() {
    let folder = tempfile::tempdir().unwrap();
    write_rows(folder.path(), 100);
    let endpoint = Endpoint::start(|_, _| Reply::Stored).await;
    let args =
        ["replay", "--to", &endpoint.url, "--from", ".", "--count", "20", "--rate", "40", "--batch", "10"];
    let ran = pinlake(folder.path(), &args).await;
    ran.assert_code(0);
    assert_eq!(stored(&endpoint), each_once(20));
    let seconds = ran.summary()["seconds"].as_f64().unwrap();
    assert!(seconds >= 1.2, "60 rows at 40 a second take 1.25 s before the last batch, this took {seconds}");
}
