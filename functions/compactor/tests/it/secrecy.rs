//! No content of records, files, tables and messages is logged or returned, even at `RUST_LOG=trace` and when they are
//! damaged.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use compactor::trigger::Trigger;
use object_store::ObjectStoreExt;
use object_store::local::LocalFileSystem;
use pinlake_platform::telemetry;
use pinlake_schema::Catalog;
use serde_json::{Value, json};
use tracing_subscriber::filter::Targets;

use crate::runtime_api::{Function, assert_untold};
use crate::{USER, deliver};

/// The text in every place that a client can write to.
const MARK: &str = "M4RK3R";

fn event(bodies: &[&str]) -> Value {
    let message = |(at, body): (usize, &&str)| {
        json!({
            "messageId": format!("m{at}"), "receiptHandle": MARK, "body": body, "attributes": {},
            "messageAttributes": {}, "md5OfBody": "x", "eventSource": "aws:sqs",
            "eventSourceARN": "arn:aws:sqs:us-east-1:0:q", "awsRegion": "us-east-1",
        })
    };
    json!({ "Records": bodies.iter().enumerate().map(message).collect::<Vec<_>>() })
}

/// Lands valid and invalid records under the current contracts and older ones. Adds damaged landing objects and logs.
async fn fill(lake: &Path) {
    let store = LocalFileSystem::new_with_prefix(lake).unwrap();
    let catalog = Arc::new(Catalog::embedded().unwrap());
    let older = catalog.files().iter().map(|(name, text)| match name.as_str() {
        "user.toml" => (name.clone(), text.replace("version = 1", "version = 2")),
        _ => (name.clone(), text.clone()),
    });
    let older = Arc::new(Catalog::from_files(older.collect::<Vec<_>>()).unwrap());
    let good = USER.replace("\"A\"", &format!("\"{MARK}\""));
    for (sequence, line) in (1..).zip([
        good.clone(),
        format!(r#"{{"ind": "{MARK}", "first_name": "{MARK}"}}"#),
        format!("{MARK} {{"),
        format!(r#"{{"{MARK}": "{MARK}"}}"#),
    ]) {
        deliver(&store, &catalog, sequence, &line).await;
        deliver(&store, &older, sequence + 100, &line).await;
    }
    // Damaged landing objects and logs, one of them with values of a row in its statistics.
    for (path, bytes) in [
        ("landing/user/00/20221019T1200/events/shardId-0/2-2-00.parquet", format!("PAR1{MARK}")),
        ("landing/user/00/20221019T1200/events/shardId-0/3-3-00.parquet", format!("PAR1{MARK}PAR1")),
        (
            "tables/geo/_delta_log/00000000000000000000.json",
            format!(r#"{{"add": {{"path": 7, "stats": "{{\"maxValues\":{{\"country\":\"{MARK}\"}}}}"}}}}"#),
        ),
        ("tables/pin/_delta_log/00000000000000000000.json", format!("{MARK} {{")),
    ] {
        store.put(&path.into(), bytes.into()).await.unwrap();
    }
    for dataset in ["geo", "pin"] {
        let line = match dataset {
            "geo" => {
                r#"{"ind":1,"country":"M4RK3R","timestamp":"2020-08-28 03:52:47","latitude":1.5,"longitude":2.5}"#
            }
            _ => {
                r#"{"index":1,"unique_id":"M4RK3R","title":"M4RK3R","description":"x","poster_name":"M4RK3R","follower_count":"1","tag_list":"x","is_image_or_video":"image","image_src":"x","downloaded":1,"save_location":"x","category":"M4RK3R"}"#
            }
        };
        let sequence = if dataset == "geo" { 200 } else { 201 };
        crate::deliver_to(dataset, &store, &catalog, sequence, line).await;
    }
}

#[test]
fn no_content_of_a_record_is_logged() {
    let lake =
        Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("secrecy-compactor-{}", std::process::id()));
    fs::create_dir_all(&lake).unwrap();
    tokio::runtime::Runtime::new().unwrap().block_on(fill(&lake));
    let settings = [
        ("AWS_SECRET_ACCESS_KEY", MARK),
        ("PINLAKE_LAKE", lake.to_str().unwrap()),
        ("PINLAKE_QUEUE_URL", "http://127.0.0.1:1/queue"),
    ];
    let queue = |_: &str| ("400 Bad Request", json!({ "__type": "InvalidMessageContents", "message": MARK }));
    let program = env!("CARGO_BIN_EXE_compactor");
    let function = Function::start(program, env!("CARGO_TARGET_TMPDIR"), &settings, Arc::new(queue));
    let handle = |event: Value| function.handle(event).unwrap();
    let swept = handle(event(&[r#"{"wake":[]}"#]));
    // Objects that the sweep has cleaned again.
    handle(event(&[r#"{"wake":["user","quarantine"]}"#]));
    let redriven =
        handle(event(&[r#"{"redrive":null}"#, &format!("{{{MARK}"), MARK, &format!("[\"{MARK}\"]")]));
    let unread = handle(json!({ "Records": [{ "body": { MARK: MARK }, "messageId": MARK }] }));
    // The landing area becomes unreadable while the process is running.
    let rows = fs::read_dir(lake.join("tables/user")).unwrap().count();
    fs::remove_dir_all(lake.join("landing")).unwrap();
    fs::write(lake.join("landing"), MARK).unwrap();
    let broken = handle(event(&[r#"{"wake":[]}"#]));
    let logged = function.end();
    fs::remove_dir_all(&lake).unwrap();

    assert!(rows >= 3, "a log, key files, rows");
    let failures = |response: &Value| response["batchItemFailures"].as_array().map(Vec::len);
    assert_eq!(failures(&swept), Some(1), "the logs of geo and pin cannot be read: {logged}");
    assert!(failures(&redriven).is_some() && failures(&broken) == Some(1), "{redriven} {broken} {logged}");
    assert!(unread["errorMessage"].is_string(), "{unread} {logged}");
    for text in ["moved to failed/", "not compacted", "\"compacted\"", "redriven"] {
        assert!(logged.contains(text), "{text}: {logged}");
    }
    assert_untold(&logged, MARK);
    assert_untold(&unread.to_string(), MARK);
}

#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn no_content_of_a_file_is_logged() {
    let log = Log::default();
    let writer = log.clone();
    let subscriber = telemetry::subscriber("trace".parse::<Targets>().unwrap(), move || writer.clone());
    let _guard = tracing::subscriber::set_default(subscriber);
    let world = crate::files::World::new();
    let gzip = crate::files::gzip(format!("{{\"ind\": \"{MARK}\"}}\n").repeat(1000).as_bytes());
    let files: [(&str, Vec<u8>); 9] = [
        ("user/good.ndjson", USER.replace("\"A\"", &format!("\"{MARK}\"")).into_bytes()),
        ("user/bad.ndjson", format!("{MARK}\n{{\"{MARK}\": 1}}\n[\"{MARK}\"").into_bytes()),
        ("user/torn.json", format!("[{{\"ind\": 1, \"first_name\": \"{MARK}").into_bytes()),
        ("user/quote.csv", format!("ind,first_name\n1,\"{MARK}\n2,x\n").into_bytes()),
        ("user/cells.csv", format!("ind,{MARK}\n1\n1,2,{MARK}\n").into_bytes()),
        ("user/torn.json.gz", gzip[..gzip.len() / 2].to_vec()),
        ("user/none.gz", format!("\x1f{MARK}").into_bytes()),
        ("user/no.parquet", format!("PAR1{MARK}").into_bytes()),
        ("user/footer.parquet", format!("PAR1{MARK}\x06\0\0\0PAR1").into_bytes()),
    ];
    for (name, bytes) in files {
        world.drop_file(&format!("inbox/{name}"), bytes).await;
    }
    let summaries = world.run(&[Trigger::All.to_body()], Duration::from_secs(60)).await;
    let landed = summaries[0].files.as_ref().unwrap().as_ref().unwrap();
    let logged = String::from_utf8(log.0.lock().unwrap().clone()).unwrap();
    assert!(landed.landed >= 4 && landed.rejected >= 2, "{landed:?}");
    assert_eq!(logged.matches("file rejected").count() as u64, landed.rejected);
    assert_untold(&logged, MARK);
}
