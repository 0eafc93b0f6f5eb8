//! `pinlake recover` on a lake in a folder, with discarded batches as Lambda documents them.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};

use crate::program::{Ran, begin, end, pinlake};

const SHARD: &str = "shardId-000000000000";
const SOURCE: &str = "aws/lambda/6f2d1a0e-5b1c-4a57-9d0b-3f6f0e9d8c7b";

/// The sample event of the cleaner.
fn event() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../events/cleaner_kinesis.json");
    serde_json::from_slice(&fs::read(path).unwrap()).unwrap()
}

fn sequences(event: &Value) -> Vec<String> {
    let records = event["Records"].as_array().unwrap().iter();
    records.map(|record| record["kinesis"]["sequenceNumber"].as_str().unwrap().to_owned()).collect()
}

/// The object in an S3 destination ("Retain discarded batch records for a Kinesis Data Streams event source in
/// Lambda").
fn document(event: &Value, first: &str, last: &str) -> Value {
    json!({
        "requestContext": {
            "requestId": "c9b8fa9f-5a7f-4d1c-af9c-0c604cde93a5",
            "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:pinlake-cleaner",
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 21
        },
        "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
        "version": "1.0",
        "timestamp": "2026-11-14T00:38:06.021Z",
        "KinesisBatchInfo": {
            "shardId": SHARD,
            "startSequenceNumber": first,
            "endSequenceNumber": last,
            "approximateArrivalOfFirstRecord": "2026-11-14T00:38:04.835Z",
            "approximateArrivalOfLastRecord": "2026-11-14T00:38:05.580Z",
            "batchSize": event["Records"].as_array().unwrap().len(),
            "streamArn": "arn:aws:kinesis:us-east-1:123456789012:stream/pinlake-records"
        },
        "payload": event.to_string()
    })
}

struct Lake {
    folder: tempfile::TempDir,
}

impl Lake {
    fn new() -> Lake {
        let lake = Lake { folder: tempfile::tempdir().unwrap() };
        fs::create_dir(lake.path("lake")).unwrap();
        lake
    }

    fn path(&self, path: &str) -> PathBuf {
        self.folder.path().join(path)
    }

    fn put(&self, path: &str, text: &str) {
        let path = self.path("lake").join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn discard(&self, name: &str, document: &Value) -> PathBuf {
        let path = format!("{SOURCE}/{SHARD}/2026/11/14/2026-11-14T00.38.06-{name}");
        self.put(&path, &document.to_string());
        self.path("lake").join(path)
    }

    async fn run(&self, args: &[&str]) -> Ran {
        let lake = self.path("lake");
        let args = [args, &["--lake", lake.to_str().unwrap()]].concat();
        pinlake(self.folder.path(), &args).await
    }

    /// Whether the lake is drained of everything up to a sequence number.
    async fn wait(&self, last: &str) -> Ran {
        fs::write(self.path("acks.json"), json!({ SHARD: last }).to_string()).unwrap();
        self.run(&["wait", "--timeout", "0", "--acks", "acks.json"]).await
    }

    async fn rows(&self) -> Value {
        fs::create_dir_all(self.path("queries")).unwrap();
        for dataset in ["geo", "pin", "quarantine", "user"] {
            let sql = format!("SELECT COUNT(*) AS n FROM {dataset}");
            fs::write(self.path("queries").join(dataset).with_extension("sql"), sql).unwrap();
        }
        let ran = self.run(&["analyse", "--format", "json", "--queries", "queries"]).await;
        ran.assert_code(0);
        let results: Value = serde_json::from_str(&ran.stdout).unwrap();
        ["geo", "pin", "quarantine", "user"].map(|dataset| results[dataset]["rows"][0][0].clone()).into()
    }
}

fn first_file(folder: &Path) -> PathBuf {
    let mut folder = folder.to_owned();
    while folder.is_dir() {
        folder = fs::read_dir(&folder).unwrap().next().unwrap().unwrap().path();
    }
    folder
}

#[tokio::test]
async fn a_discarded_batch_is_not_drained_until_it_is_recovered() {
    let (lake, event) = (Lake::new(), event());
    let sequences = sequences(&event);
    let (first, last) = (&sequences[0], sequences.last().unwrap());
    let object = lake.discard("a", &document(&event, first, last));
    // The watermark of the shard is beyond the batch.
    let passed = json!({ "sequence": format!("{last}0") }).to_string();
    lake.put(&format!("state/watermarks/pinlake-records/{SHARD}.json"), &passed);

    let behind = lake.wait(last).await;
    behind.assert_code(1);
    assert!(behind.stderr.contains("pinlake recover --lake"), "{}", behind.stderr);
    lake.wait("1").await.assert_code(0);
    let shown = lake.run(&["recover", "--dry-run"]).await;
    shown.assert_code(0);
    assert!(shown.stdout.contains(first) && shown.stdout.contains("pinlake-records"), "{}", shown.stdout);
    assert!(object.exists());

    // Two processes at the same time, one of which is killed.
    let folder = lake.path("lake");
    let args = ["recover", "--lake", folder.to_str().unwrap()];
    let mut killed = begin(lake.folder.path(), &args);
    let other = begin(lake.folder.path(), &args);
    killed.start_kill().unwrap();
    killed.wait().await.unwrap();
    end(other).await.assert_code(0);
    assert!(!object.exists());
    let landed = lake.wait(last).await;
    landed.assert_code(1);
    assert!(landed.stderr.contains("landing objects"), "{}", landed.stderr);
    lake.run(&["recover", "--into-tables"]).await.assert_code(0);
    lake.wait(last).await.assert_code(0);
    let rows = lake.rows().await;

    // The same batch again, as if the program had been killed before it removed the object.
    lake.discard("b", &document(&event, first, last));
    let again = lake.run(&["recover", "--into-tables"]).await;
    again.assert_code(0);
    let summary = again.summary();
    assert_eq!((&summary["batches"], &summary["inserted"]), (&json!(1), &json!(0)));
    assert_eq!(summary["records"], json!(sequences.len()));
    assert_eq!(lake.rows().await, rows);
    let state =
        fs::read_to_string(lake.path("lake/state/watermarks/pinlake-records").join(format!("{SHARD}.json")));
    assert_eq!(state.unwrap(), passed, "a watermark never goes back");
}

#[tokio::test]
async fn what_cannot_be_recovered_stays_and_is_reported() {
    let (lake, event) = (Lake::new(), event());
    let sequences = sequences(&event);
    let (first, last) = (&sequences[0], sequences.last().unwrap());
    let incomplete = lake.discard("a", &document(&event, first, &format!("{last}7")));
    let mut bare = document(&event, first, last);
    bare.as_object_mut().unwrap().remove("payload");
    let bare = lake.discard("b", &bare);
    let junk = lake.discard("c", &json!("junk"));
    lake.discard("d", &document(&event, first, last));
    let ran = lake.run(&["recover", "--into-tables"]).await;
    ran.assert_code(1);
    let summary = ran.summary();
    assert_eq!((&summary["batches"], &summary["left"]), (&json!(1), &json!(3)), "{}", ran.stderr);
    assert!(summary["inserted"].as_u64().unwrap() > 0);
    assert!([&incomplete, &bare, &junk].into_iter().all(|object| object.exists()));
    for why in ["is missing", "has no payload", "docs/recovery.md"] {
        assert!(ran.stderr.contains(why), "{why}: {}", ran.stderr);
    }
    lake.wait(last).await.assert_code(1);
}

#[tokio::test]
async fn a_failed_object_is_cleaned_again_from_its_raw_records() {
    let (lake, event) = (Lake::new(), event());
    let sequences = sequences(&event);
    let last = sequences.last().unwrap();
    lake.discard("a", &document(&event, &sequences[0], last));
    lake.run(&["recover"]).await.assert_code(0);
    // The compactor moves a damaged landing object to `failed/`.
    let damaged = first_file(&lake.path("lake/landing/user"));
    let relative = damaged.strip_prefix(lake.path("lake")).unwrap().to_owned();
    fs::write(&damaged, "junk").unwrap();
    let move_to_failed = lake.run(&["recover", "--into-tables"]).await;
    move_to_failed.assert_code(1);
    assert!(move_to_failed.stderr.contains("moved to failed/"), "{}", move_to_failed.stderr);
    let failed_object = lake.path("lake/failed").join(relative);
    assert!(failed_object.exists());
    let behind = lake.wait(last).await;
    behind.assert_code(1);
    assert!(behind.stderr.contains("failed objects"), "{}", behind.stderr);

    let ran = lake.run(&["recover", "--into-tables"]).await;
    ran.assert_code(0);
    assert_eq!(ran.summary()["failed"], json!(1));
    assert!(ran.summary()["inserted"].as_u64().unwrap() > 0 && !failed_object.exists());
    lake.wait(last).await.assert_code(0);

    // Without its raw records a failed object is not removed.
    fs::create_dir_all(failed_object.parent().unwrap()).unwrap();
    fs::write(&failed_object, "junk").unwrap();
    fs::remove_dir_all(lake.path("lake/raw")).unwrap();
    let ran = lake.run(&["recover"]).await;
    ran.assert_code(1);
    assert!(ran.stderr.contains("raw records are gone") && failed_object.exists(), "{}", ran.stderr);
}

/// The batch `number` of the shard. Its records have their own sequence numbers.
fn batch(number: u64) -> Value {
    let mut event = event();
    for record in event["Records"].as_array_mut().unwrap() {
        let sequence = record["kinesis"]["sequenceNumber"].as_str().unwrap().to_owned();
        let sequence = format!("{sequence}{number:02}");
        record["eventID"] = format!("{SHARD}:{sequence}").into();
        record["kinesis"]["sequenceNumber"] = sequence.into();
    }
    event
}

/// Stores batches of the shard as discarded, as the event source does. Returns the last sequence number.
fn discard(lake: &Lake, batches: std::ops::Range<u64>) -> String {
    let mut last = String::new();
    for number in batches {
        let event = batch(number);
        let sequences = sequences(&event);
        last.clone_from(sequences.last().unwrap());
        lake.discard(&format!("{number:02}"), &document(&event, &sequences[0], &last));
    }
    last
}

#[tokio::test]
async fn batches_of_one_shard_are_recovered_in_a_folder() {
    let lake = Lake::new();
    let last = discard(&lake, 0..3);
    let ran = lake.run(&["recover", "--into-tables"]).await;
    ran.assert_code(0);
    assert_eq!((&ran.summary()["batches"], &ran.summary()["left"]), (&json!(3), &json!(0)));
    lake.wait(&last).await.assert_code(0);
    let rows = lake.rows().await;
    // A later batch advances the watermark.
    let last = discard(&lake, 3..4);
    lake.wait(&last).await.assert_code(1);
    lake.run(&["recover", "--into-tables"]).await.assert_code(0);
    lake.wait(&last).await.assert_code(0);
    assert_eq!(lake.rows().await, rows, "the batch has the same rows");
}

#[tokio::test]
async fn two_operators_recover_at_once() {
    let lake = Lake::new();
    let last = discard(&lake, 0..6);
    let folder = lake.path("lake");
    let args = ["recover", "--into-tables", "--lake", folder.to_str().unwrap()];
    let operators = [0, 1, 2].map(|_| begin(lake.folder.path(), &args));
    let mut batches = 0;
    for operator in operators {
        let ran = end(operator).await;
        ran.assert_code(0);
        batches += ran.summary()["batches"].as_u64().unwrap();
    }
    assert!(batches >= 6, "some batches were not recovered: {batches}");
    lake.wait(&last).await.assert_code(0);

    // One operator gives the same rows.
    let other = Lake::new();
    discard(&other, 0..6);
    other.run(&["recover", "--into-tables"]).await.assert_code(0);
    assert_eq!(lake.rows().await, other.rows().await);
}

/// Rows of a dataset in landing whose contract was removed.
#[tokio::test]
async fn rows_of_a_dataset_without_a_contract_are_quarantined() {
    let lake = Lake::new();
    let last = discard(&lake, 0..1);
    lake.run(&["recover"]).await.assert_code(0);
    fs::create_dir(lake.path("contracts")).unwrap();
    for dataset in ["geo", "pin"] {
        let contract = format!("{}/../datasets/{dataset}.toml", env!("CARGO_MANIFEST_DIR"));
        fs::copy(contract, lake.path("contracts").join(dataset).with_extension("toml")).unwrap();
    }
    assert!(lake.path("lake/landing/user").exists());
    let ran = lake.run(&["recover", "--into-tables", "--datasets", "contracts"]).await;
    ran.assert_code(0);
    assert!(!lake.path("lake/landing/user").exists(), "{}", ran.stderr);
    lake.wait(&last).await.assert_code(0);
    let rows = lake.rows().await;
    assert!(rows[2].as_u64().unwrap() > 0, "they are in quarantine: {rows}");

    // Without raw records the landing objects cannot be cleaned again.
    discard(&lake, 1..2);
    lake.run(&["recover"]).await.assert_code(0);
    fs::remove_dir_all(lake.path("lake/raw")).unwrap();
    let ran = lake.run(&["recover", "--into-tables", "--datasets", "contracts"]).await;
    ran.assert_code(1);
    assert!(ran.summary()["left"].as_u64().unwrap() > 0, "{}", ran.stderr);
}
