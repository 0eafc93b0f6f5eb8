//! `pinlake load` of files that others made: what they are, what they are for, and what is said about them.

use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use arrow::array::{ArrayRef, Decimal128Array, Int64Array, RecordBatch};
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

use crate::program::{Ran, pinlake};

const CONTRACT: &str = "name = \"t\"\nversion = 1\n[route]\ntopics = [\"0a.t\"]\nfiles = [\"t*\"]\n\
    [[column]]\nname = \"id\"\ntype = \"int64\"\nrequired = true\n\
    [[column]]\nname = \"name\"\ntype = \"string\"\n\
    [[column]]\nname = \"country\"\ntype = \"string\"\n";

/// A folder with the contract of a dataset `t`.
fn workspace() -> TempDir {
    let folder = TempDir::new().unwrap();
    write(folder.path(), "datasets/t.toml", CONTRACT);
    folder
}

fn write(folder: &Path, name: &str, bytes: impl AsRef<[u8]>) {
    let path = folder.join(name);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, bytes).unwrap();
}

async fn load(folder: &Path, args: &[&str]) -> Ran {
    let fixed = ["load", "--lake", "lake", "--datasets", "datasets"];
    pinlake(folder, &[&fixed[..], args].concat()).await
}

/// read, inserted, duplicates and quarantined records of `t`.
fn counts(ran: &Ran) -> [u64; 4] {
    let mut lines = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    let line = lines.find(|line| line["dataset"] == "t").unwrap();
    ["read", "inserted", "duplicates", "quarantined"].map(|name| line[name].as_u64().unwrap())
}

#[tokio::test]
async fn bad_rows_count_and_fail_strict_also_the_second_time() {
    let folder = workspace();
    write(folder.path(), "t.csv", "id,name\n1,a\nx,b\ny,c\n");
    for inserted in [1, 0] {
        let ran = load(folder.path(), &["--strict", "t.csv"]).await;
        ran.assert_code(3);
        assert_eq!(counts(&ran), [3, inserted, 1 - inserted, 2]);
        let told = "2 of 3 records of t.csv are in quarantine; to see why: pinlake quarantine show --lake lake --dataset t";
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
    }
    let good: String = (10..100).map(|id| format!("{id},a\n")).collect();
    write(folder.path(), "t2.csv", format!("id,name\n{good}x,b\n"));
    let ran = load(folder.path(), &["t2.csv"]).await;
    assert!(!ran.stderr.contains("in quarantine"), "one of 91: {}", ran.stderr);
}

/// A file gives the records that the same bytes give on a stream, and in the inbox.
#[tokio::test]
async fn records_in_arrays_envelopes_and_texts_are_rows() {
    let folder = workspace();
    let text = "[{\"id\":1},{\"id\":2}]\n{\"value\":[{\"id\":3},{\"id\":\"x\"}]}\n\"{\\\"id\\\":4}\"\neyJpZCI6NX0=\n\n[7]\n";
    write(folder.path(), "t.ndjson", text);
    write(folder.path(), "t.json", text.lines().take(2).collect::<Vec<_>>().join("\n"));
    write(folder.path(), "t2.json", "[{\"id\":1}]\n[{\"id\":6}]\n");
    let ran = load(folder.path(), &["t.ndjson"]).await;
    assert_eq!(counts(&ran), [7, 5, 0, 2], "{}", ran.stderr);
    assert!(ran.stderr.contains("2 of 7 records of t.ndjson"), "{}", ran.stderr);
    assert_eq!(counts(&load(folder.path(), &["t.json", "t2.json"]).await), [6, 1, 4, 1]);
}

#[tokio::test]
async fn files_that_are_not_for_the_dataset_are_refused() {
    let folder = workspace();
    for (name, text, told) in [
        ("t1.csv", "id;name\n1;x\n", "delimiter = \";\""),
        ("t2.csv", "a,b\n1,x\n", "`a`, `b`"),
        ("t3.zip", "PK\x03\x04", "zip"),
        ("t4.avro", "Obj\x01", "Avro"),
    ] {
        write(folder.path(), name, text);
        let ran = load(folder.path(), &[name]).await;
        ran.assert_code(1);
        assert!(ran.stderr.contains(name) && ran.stderr.contains(told), "{}", ran.stderr);
        assert_eq!(ran.stdout, "");
    }
}

#[tokio::test]
async fn files_without_records_are_named() {
    let folder = workspace();
    for (name, text) in [("t.csv", "id,name\n"), ("t.json", "[]"), ("t.parquet", "")] {
        write(folder.path(), &format!("files/{name}"), text);
    }
    let ran = load(folder.path(), &["files"]).await;
    ran.assert_code(0);
    assert_eq!(ran.stderr.matches("holds no record").count(), 3, "{}", ran.stderr);
}

#[tokio::test]
async fn a_damaged_first_line_does_not_make_json_a_table() {
    let folder = workspace();
    for (inserted, first) in [(1, "ab\"}"), (0, "me\":\"z\"}"), (0, "5"), (0, "# hi")] {
        write(folder.path(), "t.csv", format!("{first}\n{{\"id\":1,\"name\":\"x\"}}\n"));
        let ran = load(folder.path(), &["t.csv"]).await;
        assert_eq!(counts(&ran), [2, inserted, 1 - inserted, 1], "{first}: {}", ran.stderr);
    }
}

#[tokio::test]
async fn tables_are_refused_and_files_about_other_files_are_left_out() {
    let folder = workspace();
    write(folder.path(), "files/delta/_delta_log/00000000000000000000.json", "{}");
    write(folder.path(), "files/delta/part-0.json", "{\"id\":1}\n");
    write(folder.path(), "files/iceberg/metadata/v1.metadata.json", "{}");
    write(folder.path(), "files/spark/_SUCCESS", "");
    let sink = "files/topics/0a.t/partition=0/0a.t+0+0000000000";
    write(folder.path(), &format!("{sink}.json"), "{\"id\":2}\n");
    write(folder.path(), &format!("{sink}.keys.json"), "{\"id\":3}\n");
    write(folder.path(), &format!("{sink}.headers.json"), "[]\n");
    let ran = load(folder.path(), &["files"]).await;
    ran.assert_code(1);
    assert_eq!(counts(&ran), [1, 1, 0, 0]);
    for told in ["delta is a Delta table", "iceberg is an Iceberg table"] {
        assert!(ran.stderr.contains(told), "{}", ran.stderr);
    }
    assert_eq!(ran.stderr.matches("left out: ").count(), 3, "{}", ran.stderr);
    let ran = load(folder.path(), &["--dataset", "t", "files/delta"]).await;
    ran.assert_code(1);
    assert!(ran.stderr.contains("is a Delta table"), "{}", ran.stderr);
}

#[tokio::test]
async fn names_of_folders_are_fields() {
    let folder = workspace();
    for country in ["Chile", "Peru"] {
        write(folder.path(), &format!("out/country={country}/t.ndjson"), "{\"id\":1}\n{\"id\":2}\n");
    }
    let ran = load(folder.path(), &["out"]).await;
    ran.assert_code(0);
    assert_eq!(counts(&ran), [4, 4, 0, 0], "the country makes them different rows");
}

#[tokio::test]
async fn the_standard_input_is_a_file() {
    let folder = workspace();
    let mut child = Command::new(env!("CARGO_BIN_EXE_pinlake"))
        .args(["load", "--lake", "lake", "--datasets", "datasets", "--dataset", "t", "-"])
        .current_dir(folder.path())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut pipe = child.stdin.take().unwrap();
    pipe.write_all(b"{\"id\":1}\n{\"id\":2}\n").await.unwrap();
    drop(pipe);
    let ran = child.wait_with_output().await.unwrap();
    let line: Value = serde_json::from_slice(&ran.stdout).unwrap();
    assert_eq!((ran.status.code(), &line["inserted"]), (Some(0), &Value::from(2)));
}

/// The same amounts as NDJSON, CSV and Parquet are the same rows, and queries give them with all their digits.
#[tokio::test]
async fn decimals_are_loaded_and_read_back() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let write = |path: &str, text: &str| write(folder, path, text);
    let contract = |version: u32, data_type: &str| {
        format!(
            "name = \"t\"\nversion = {version}\nidentity = [\"id\", \"total\"]\n[[column]]\nname = \"id\"\ntype = \"int64\"\n\
             required = true\n[[column]]\nname = \"total\"\ntype = \"{data_type}\"\nlocale = \"de\"\nremove_suffix = \" EUR\"\n"
        )
    };
    write("datasets/t.toml", &contract(1, "decimal(12,2)"));
    write(
        "a.ndjson",
        "{\"id\":1,\"total\":6918.26}\n{\"id\":2,\"total\":1.5}\n{\"id\":3}\n{\"id\":4,\"total\":1.505}\n",
    );
    write("b.csv", "id,total\n1,\"6.918,26 EUR\"\n2,\"1,500\"\n5,\"-0,05\"\n");
    let decimals =
        Decimal128Array::from(vec![691_826, 999_999_999_999]).with_precision_and_scale(18, 2).unwrap();
    let columns: [(&str, ArrayRef); 2] =
        [("id", Arc::new(Int64Array::from(vec![1, 6]))), ("total", Arc::new(decimals))];
    let batch = RecordBatch::try_from_iter(columns).unwrap();
    let file = std::fs::File::create(folder.join("c.parquet")).unwrap();
    let mut writer = parquet::arrow::ArrowWriter::try_new(file, batch.schema(), None).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();
    write("queries/all.sql", "SELECT id, total FROM t ORDER BY id");
    write("queries/some.sql", "SELECT sum(total) AS total, count(*) AS n FROM t WHERE total > 1.50");

    let load = async |file: &str| {
        let ran = load(folder, &["--dataset", "t", file]).await;
        ran.assert_code(0);
        counts(&ran)
    };
    assert_eq!(load("a.ndjson").await, [4, 3, 0, 1]);
    assert_eq!(load("b.csv").await, [3, 1, 2, 0]);
    assert_eq!(load("c.parquet").await, [2, 1, 1, 0]);
    let analyse = async || {
        let args = "analyse --lake lake --datasets datasets --queries queries --format json";
        let ran = pinlake(folder, &args.split(' ').collect::<Vec<_>>()).await;
        ran.assert_code(0);
        let results: Value = serde_json::from_str(&ran.stdout).unwrap();
        ["all", "some"].map(|name| results[name]["rows"].to_string())
    };
    let expected = [
        "[[1,6918.26],[2,1.5],[3,null],[5,-0.05],[6,9999999999.99]]".to_owned(),
        "[[10000006918.25,2]]".to_owned(),
    ];
    assert_eq!(analyse().await, expected);
    // More digits before and after the point: the rows stay known, and the query reads the wider type.
    write("datasets/t.toml", &contract(2, "decimal(20,4)"));
    write("d.ndjson", "{\"id\":4,\"total\":1.505}\n{\"id\":2,\"total\":\"1,5 EUR\"}\n");
    assert_eq!(load("d.ndjson").await, [2, 1, 1, 0]);
    let expected = [
        "[[1,6918.26],[2,1.5],[3,null],[4,1.505],[5,-0.05],[6,9999999999.99]]".to_owned(),
        "[[10000006919.755,3]]".to_owned(),
    ];
    assert_eq!(analyse().await, expected);
}

/// Records inside documents, with lines that are skipped.
#[tokio::test]
async fn records_inside_documents_are_loaded_and_totals_are_not() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let contract = "name = \"t\"\nversion = 1\n[file]\nrecords = \"Records[]\"\nskip_when = { kind = \"total\" }\n\
                    [[column]]\nname = \"id\"\ntype = \"int64\"\nrequired = true\n";
    write(folder, "datasets/t.toml", contract);
    let rows: Vec<String> = (0..100_000).map(|id| format!("{{\"id\":{id},\"pad\":\"{id:0>20}\"}}")).collect();
    write(
        folder,
        "a.json",
        format!(
            "{{\"version\":\"1\",\"Records\":[{},{{\"kind\":\"total\",\"rows\":100000}}]}}",
            rows.join(",")
        ),
    );
    let ran = load(folder, &["--dataset", "t", "a.json"]).await;
    ran.assert_code(0);
    assert_eq!(counts(&ran), [100_000, 100_000, 0, 0]);
    assert!(ran.stderr.contains("note: 1 records of t were skipped (skip_when)"), "{}", ran.stderr);
    // A footer of CSV, and a document without the path, which is a record itself.
    write(folder, "b.csv", "id,kind\n1,row\n100000,row\n,total\n");
    write(folder, "c.json", "{\"id\": 100001}\n{\"Records\": [{\"id\": \"x\"}]}\n{\"other\": []}\n");
    let ran = load(folder, &["--dataset", "t", "b.csv", "c.json"]).await;
    ran.assert_code(0);
    assert_eq!(counts(&ran), [5, 2, 1, 2]);
    // The share of quarantine is that of the records that were read.
    write(folder, "d.ndjson", "{\"id\":1}\n{\"kind\":\"total\"}\n{\"kind\":\"total\"}\n{\"id\":\"x\"}\n\n");
    let ran = load(folder, &["--dataset", "t", "d.ndjson"]).await;
    assert!(ran.stderr.contains("warning: 1 of 2 records of d.ndjson are in quarantine"), "{}", ran.stderr);
}

/// Blocks of records that give no row are followed by others, of the same file and of the next.
#[tokio::test]
async fn rows_behind_long_runs_without_rows_are_loaded() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    let contract = "name = \"t\"\nversion = 1\n[file]\nskip_when = { kind = \"total\" }\n\
                    [[column]]\nname = \"id\"\ntype = \"int64\"\nrequired = true\n";
    write(folder, "datasets/t.toml", contract);
    let totals = "{\"kind\":\"total\"}\n".repeat(150_000);
    let blank = "\n".repeat(3 << 20);
    write(folder, "1.ndjson", format!("{blank}{{\"id\":1}}\n{totals}{{\"id\":2}}\nx\n{blank}{{\"id\":3}}\n"));
    write(folder, "2.ndjson", &totals);
    write(folder, "3.ndjson", "{\"id\":4}\n{\"id\":1}\n");
    let files = ["--dataset", "t", "1.ndjson", "2.ndjson", "3.ndjson"];
    for inserted in [4, 0] {
        let ran = load(folder, &files).await;
        ran.assert_code(0);
        assert_eq!(counts(&ran), [6, inserted, 5 - inserted, 1], "{}", ran.stderr);
        assert!(ran.stderr.contains("note: 300000 records of t were skipped"), "{}", ran.stderr);
    }
    write(folder, "none.ndjson", &blank);
    let ran = load(folder, &["--dataset", "t", "none.ndjson"]).await;
    ran.assert_code(0);
    assert!(ran.stdout.is_empty(), "{}", ran.stdout);
}
