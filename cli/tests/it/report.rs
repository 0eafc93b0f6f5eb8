//! `pinlake report` and `pinlake status`: the page and the state of a lake.

use std::fs;
use std::path::Path;

use arrow::util::display::array_value_to_string;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::program::{Ran, begin, end, pinlake};

const CONTRACT: &str = "name = \"visit\"\nversion = 1\ndescription = \"One row a visit.\"\nidentity = [\"visitor\"]\n\
    [route]\nfiles = [\"visit*\"]\nshape = [\"visitor\"]\n\
    [[column]]\nname = \"visitor\"\ntype = \"int64\"\nrequired = true\n\
    [[column]]\nname = \"page\"\ntype = \"string\"\n";

/// A lake with four visits and a quarantined record, its contract, and queries.
async fn create_lake(queries: &[(&str, &str)]) -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = folder.path().join(name);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    };
    file("contracts/visit.toml", CONTRACT);
    for (name, sql) in queries {
        file(&format!("queries/{name}.sql"), sql);
    }
    file(
        "visit.ndjson",
        "{\"visitor\":1,\"page\":\"home\"}\n{\"visitor\":2,\"page\":\"</script><script>alert(1)</script>\"}\n\
         {\"visitor\":3,\"page\":\"home\"}\n{\"visitor\":3,\"page\":\"home\"}\n{\"visitor\":4}\n{\"visitor\":\"x\"}\n",
    );
    run(folder.path(), &["load", "visit.ndjson"]).await.assert_code(0);
    folder
}

async fn run(folder: &Path, args: &[&str]) -> Ran {
    let args = [args, &["--lake", "lake", "--datasets", "contracts"]].concat();
    pinlake(folder, &args).await
}

/// The data blocks of a page, by result.
fn blocks(page: &str) -> Value {
    let panels = page.split("data-result=\"").skip(1);
    let found = panels.filter_map(|panel| {
        let name = panel.split('"').next().unwrap().to_owned();
        let block = panel.split("<script class=\"data\"").nth(1)?.split_once('>')?.1;
        Some((name, serde_json::from_str(block.split("</script>").next().unwrap()).unwrap()))
    });
    Value::Object(found.collect())
}

#[tokio::test]
async fn a_page_has_the_results_of_analyse_and_the_state() {
    let queries = [
        (
            "pages",
            "-- Which page is visited?\n-- chart: bar x=page y=n\nSELECT page, COUNT(*) AS n FROM visit GROUP BY page",
        ),
        ("visits", "SELECT COUNT(*) AS visits FROM visit"),
    ];
    let folder = create_lake(&queries).await;
    let with_queries = |args: &[&'static str]| [args, &["--queries", "queries"]].concat();
    let ran = run(folder.path(), &with_queries(&["report", "--out", "page.html"])).await;
    ran.assert_code(0);
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert_eq!(ran.summary(), json!({ "out": "page.html", "results": 2, "failed": 0, "bytes": page.len() }));
    let analysed = run(folder.path(), &with_queries(&["analyse", "--format", "json"])).await;
    assert!(analysed.stderr.contains(" of data files"), "{}", analysed.stderr);
    assert_eq!(blocks(&page), analysed.summary());
    for part in ["Report of lake", "Which page is visited?", "<svg", "visit: wrong_type", "visit version 1"] {
        assert!(page.contains(part), "{part}");
    }
    assert!(!page.contains("<script>alert(1)"), "values are escaped");

    // The same rows as Parquet.
    let file =
        page.split("type=\"application/vnd.apache.parquet\">").nth(1).unwrap().split('<').next().unwrap();
    fs::write(folder.path().join("pages.parquet"), BASE64.decode(file).unwrap()).unwrap();
    let file = fs::File::open(folder.path().join("pages.parquet")).unwrap();
    let mut reader = ParquetRecordBatchReaderBuilder::try_new(file).unwrap().build().unwrap();
    let batch = reader.next().unwrap().unwrap();
    let read: Vec<String> =
        (0..batch.num_rows()).map(|row| array_value_to_string(batch.column(1), row).unwrap()).collect();
    let rows = analysed.summary()["pages"]["rows"].as_array().unwrap().clone();
    assert_eq!(read, rows.iter().map(|row| row[1].to_string()).collect::<Vec<_>>());

    // The page is replaced at once, with the permissions of a new file.
    run(folder.path(), &with_queries(&["report", "--out", "page.html", "--title", "Shop & Co"]))
        .await
        .assert_code(0);
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert!(page.contains("<title>Shop &amp; Co</title>"));
    let left = fs::read_dir(folder.path())
        .unwrap()
        .filter(|entry| entry.as_ref().unwrap().file_name().to_string_lossy().ends_with(".part"));
    assert_eq!(left.count(), 0);
}

#[tokio::test]
async fn a_failed_query_has_a_panel_and_the_others_render() {
    let folder =
        create_lake(&[("good", "SELECT COUNT(*) AS n FROM visit"), ("bad", "SELECT nothing FROM visit")])
            .await;
    let args = ["report", "--out", "page.html", "--queries", "queries"];
    let ran = run(folder.path(), &args).await;
    ran.assert_code(0);
    assert_eq!((&ran.summary()["results"], &ran.summary()["failed"]), (&json!(1), &json!(1)));
    assert!(ran.stderr.starts_with("warning: queries/bad.sql"), "{}", ran.stderr);
    let page = fs::read_to_string(folder.path().join("page.html")).unwrap();
    assert!(page.contains("This query failed.") && page.contains("; fix the query"));
    assert_eq!(blocks(&page)["good"]["rows"], json!([[4]]));
    run(folder.path(), &[&args[..], &["--strict"]].concat()).await.assert_code(1);

    let ran = run(folder.path(), &["report", "--out", "no/such/folder/page.html"]).await;
    ran.assert_code(1);
    assert!(ran.stderr.contains("cannot write no/such/folder/page.html"), "{}", ran.stderr);
}

#[tokio::test]
async fn the_state_says_what_history_and_cost_say() {
    let folder = create_lake(&[]).await;
    fs::write(folder.path().join("visit2.ndjson"), "{\"visitor\":9}\n{\"visitor\":9}\n{\"visitor\":1}\n")
        .unwrap();
    run(folder.path(), &["load", "visit2.ndjson"]).await.assert_code(0);
    // As if the records had come from a stream.
    let watermarks = folder.path().join("lake/state/watermarks/stream");
    fs::create_dir_all(&watermarks).unwrap();
    fs::write(watermarks.join("0.json"), "{}").unwrap();

    let status = run(folder.path(), &["status", "--format", "json"]).await.summary();
    let history = run(folder.path(), &["history", "--dataset", "visit", "--format", "json"]).await.summary();
    let (columns, rows) = (&history["visit"]["columns"], history["visit"]["rows"].as_array().unwrap());
    let sum = |name: &str| -> u64 {
        let column = columns.as_array().unwrap().iter().position(|column| column == name).unwrap();
        rows.iter().filter_map(|row| row[column].as_u64()).sum()
    };
    let activity = &status["datasets"][0]["activity"];
    assert_eq!((&activity["commits"], &activity["is_truncated"]), (&json!(rows.len()), &json!(false)));
    for name in ["read", "inserted", "superseded", "duplicates", "outdated", "deleted"] {
        let periods = activity["periods"].as_array().unwrap().iter();
        assert_eq!(periods.map(|period| period[name].as_u64().unwrap()).sum::<u64>(), sum(name), "{name}");
    }
    assert_eq!((sum("read"), sum("inserted"), sum("duplicates")), (8, 5, 3));

    let cost = &status["cost"];
    assert_eq!((&cost["records"], &status["shards"]), (&json!(9), &json!(1)), "with the quarantined one");
    let mut command = vec!["cost".to_owned(), "--format".to_owned(), "json".to_owned()];
    for name in ["records_per_day", "bytes_per_record", "batch", "datasets", "analysed_posts"] {
        command.extend([format!("--{}", name.replace('_', "-")), cost[name].to_string()]);
    }
    let billed =
        pinlake(folder.path(), &command.iter().map(String::as_str).collect::<Vec<_>>()).await.summary();
    assert_eq!(billed["bills"]["default"]["usd_per_month"], cost["usd_per_month"]);
}

#[tokio::test]
async fn status_tells_what_is_in_each_table() {
    let folder = create_lake(&[]).await;
    let ran = run(folder.path(), &["status", "--format", "json"]).await;
    ran.assert_code(0);
    let status = ran.summary();
    let visit = &status["datasets"][0];
    assert_eq!(
        (&visit["dataset"], &visit["version"], &visit["rows"]),
        (&json!("visit"), &json!(1), &json!(4))
    );
    assert_eq!((&visit["files"], &visit["quarantined"]), (&json!(1), &json!({ "wrong_type": 1 })));
    assert!(visit["bytes"].as_u64().unwrap() > 100);
    assert_eq!(
        (&visit["last_commit"]["inserted"], &visit["last_commit"]["duplicates"]),
        (&json!(4), &json!(1))
    );
    assert_eq!((&status["lake"], &status["unrouted"]), (&json!("lake"), &json!({})));
    let table = run(folder.path(), &["status"]).await;
    table.assert_code(0);
    assert!(table.stdout.contains("1 wrong_type") && table.stdout.contains("s ago"), "{}", table.stdout);

    // Without its contract, the table is named and not ignored.
    let other = pinlake(folder.path(), &["status", "--lake", "lake", "--format", "json"]).await;
    other.assert_code(1);
    assert!(other.stderr.contains("table visit: it has no contract here"), "{}", other.stderr);
    let names: Vec<_> =
        other.summary()["datasets"].as_array().unwrap().iter().map(|each| each["dataset"].clone()).collect();
    assert_eq!(names, ["geo", "pin", "user", "visit"]);

    // A damaged table does not hide the others.
    let log = folder.path().join("lake/tables/visit/_delta_log");
    fs::write(log.join("00000000000000000001.json"), "no JSON\n").unwrap();
    let damaged = run(folder.path(), &["status", "--format", "json"]).await;
    damaged.assert_code(1);
    assert!(damaged.summary()["datasets"][0]["problem"].is_string(), "{}", damaged.stdout);
}

/// Waits until a page contains a text.
async fn wait_for(page: &Path, text: &str) {
    let has_text = || fs::read_to_string(page).is_ok_and(|page| page.contains(text));
    for _ in 0..600 {
        if has_text() {
            break;
        }
        tokio::time::sleep(std::time::Duration::from_millis(100)).await;
    }
    assert!(has_text(), "{} does not contain {text}", page.display());
}

async fn interrupt(process: tokio::process::Child) -> Ran {
    let id = process.id().unwrap().to_string();
    let kill = tokio::process::Command::new("kill").args(["-INT", &id]).status().await;
    assert!(kill.unwrap().success());
    end(process).await
}

#[tokio::test]
async fn a_watched_page_follows_queries_and_tables() {
    let folder =
        create_lake(&[("visits", "-- How many at first?\nSELECT COUNT(*) AS visits FROM visit")]).await;
    let (page, query) = (folder.path().join("page.html"), folder.path().join("queries/visits.sql"));
    let args = "report --lake lake --datasets contracts --queries queries --out page.html --watch";
    let process = begin(folder.path(), &args.split(' ').collect::<Vec<_>>());
    wait_for(&page, "How many at first?").await;
    // A file that is empty for a moment is no reason to stop.
    fs::write(&query, "").unwrap();
    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
    fs::write(&query, "-- How many now?\nSELECT COUNT(*) AS visits FROM visit").unwrap();
    wait_for(&page, "How many now?").await;
    fs::write(folder.path().join("visit2.ndjson"), "{\"visitor\":123456}\n").unwrap();
    run(folder.path(), &["load", "visit2.ndjson"]).await.assert_code(0);
    wait_for(&page, "visit version 2").await;
    let ran = interrupt(process).await;
    ran.assert_code(0);
    assert_eq!(ran.stdout.lines().count(), 3, "once for each change: {}", ran.stdout);
    assert!(ran.stderr.contains("warning:"), "{}", ran.stderr);
}

#[tokio::test]
async fn a_watched_state_is_printed_until_ctrl_c() {
    let folder = create_lake(&[]).await;
    let args = "status --lake lake --datasets contracts --format json --watch 1";
    let process = begin(folder.path(), &args.split(' ').collect::<Vec<_>>());
    tokio::time::sleep(std::time::Duration::from_secs(4)).await;
    let ran = interrupt(process).await;
    ran.assert_code(0);
    let states: Vec<Value> = ran.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(
        states.len() >= 2 && states.iter().all(|state| state["datasets"][0]["rows"] == 4),
        "{}",
        ran.stdout
    );
}
