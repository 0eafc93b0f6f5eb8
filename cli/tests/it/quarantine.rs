//! `pinlake quarantine` and `pinlake redrive`, before and after a contract is fixed.

use std::path::Path;
use std::process::Command;

use serde_json::{Value, json};

fn pinlake(lake: &Path, datasets: &Path, args: &[&str]) -> String {
    let output = Command::new(env!("CARGO_BIN_EXE_pinlake"))
        .args(args)
        .env("PINLAKE_LAKE", lake)
        .env("PINLAKE_DATASETS", datasets)
        .output()
        .unwrap();
    assert!(output.status.success(), "{args:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).unwrap()
}

fn json_of(text: &str) -> Value {
    serde_json::from_str(text).unwrap()
}

fn contract(page: &str) -> String {
    format!(
        "name = \"visit\"\nversion = 1\ndescription = \"One row a visit.\"\nidentity = [\"visitor\"]\n\
         [route]\nfiles = [\"visit*\"]\nshape = [\"visitor\"]\n\
         [[column]]\nname = \"visitor\"\ntype = \"int64\"\nrequired = true\n\
         [[column]]\nname = \"page\"\ntype = \"int64\"\n{page}\n"
    )
}

#[test]
fn quarantined_records_are_listed_exported_and_redriven() {
    let folder = tempfile::tempdir().unwrap();
    let (lake, datasets, file) =
        (folder.path().join("lake"), folder.path().join("datasets"), folder.path().join("visit.ndjson"));
    std::fs::create_dir(&datasets).unwrap();
    std::fs::write(datasets.join("visit.toml"), contract("")).unwrap();
    let bad = r#"{"visitor": 1,   "page": "home"}"#;
    std::fs::write(&file, format!("{bad}\n{{\"visitor\": 2, \"page\": 7}}\n{{\"visitor\": \"x\"}}\n"))
        .unwrap();
    let run = |args: &[&str]| pinlake(&lake, &datasets, args);
    let loaded = json_of(&run(&["load", file.to_str().unwrap()]));
    assert_eq!((loaded["inserted"].as_u64(), loaded["quarantined"].as_u64()), (Some(1), Some(2)));

    let listed = json_of(&run(&["quarantine", "list", "--format", "json"]));
    let row = listed["quarantine"]["rows"][0].as_array().unwrap().clone();
    assert_eq!(row[..4], [json!("visit"), json!("wrong_type"), json!(2), json!(0)]);
    let shown = run(&["quarantine", "show", "--dataset", "visit", "--reason", "wrong_type"]);
    assert!(shown.contains(bad) && shown.contains("page"), "{shown}");
    assert!(!run(&["quarantine", "show", "--reason", "it's"]).contains("home"));
    let exported = run(&["quarantine", "export", "--dataset", "visit"]);
    assert_eq!(exported.lines().next(), Some(bad), "the bytes are unchanged");

    std::fs::write(datasets.join("visit.toml"), contract("null = [\"home\"]")).unwrap();
    let redriven = json_of(&run(&["redrive", "--dataset", "visit"]));
    assert_eq!(redriven, json!({ "read": 2, "resolved": 1, "inserted": 1, "left": 1 }));
    assert_eq!(json_of(&run(&["redrive"])), json!({ "read": 1, "resolved": 0, "inserted": 0, "left": 1 }));
    assert_eq!(run(&["quarantine", "export"]).lines().count(), 1);
    assert_eq!(run(&["quarantine", "export", "--resolved"]).lines().count(), 2);
    let again = json_of(&run(&["load", file.to_str().unwrap()]));
    // A record that breaks its contract counts each time it is loaded, although quarantine has it already.
    assert_eq!((again["inserted"].as_u64(), again["quarantined"].as_u64()), (Some(0), Some(1)));
}
