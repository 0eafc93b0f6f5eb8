//! `pinlake release`: what is released, what is refused, and what uses it.

use std::fs;
use std::path::Path;

use serde_json::Value;
use tempfile::TempDir;

use crate::program::{Ran, pinlake, pinlake_with};

const GOOD: &str = "[[column]]\nname = \"visitor\"\ntype = \"int64\"\n";

/// Writes the contract and the query of the dataset `t`.
fn write(folder: &Path, version: u32, columns: &str) {
    for (name, text) in [
        (
            "datasets/t.toml",
            format!("name = \"t\"\nversion = {version}\n[route]\nfiles = [\"t*\"]\n{columns}"),
        ),
        ("queries/visitors.sql", "SELECT count(visitor) AS n FROM t".to_owned()),
    ] {
        fs::create_dir_all(folder.join(name).parent().unwrap()).unwrap();
        fs::write(folder.join(name), text).unwrap();
    }
}

async fn run(folder: &Path, args: &str) -> Ran {
    pinlake(folder, &args.split(' ').collect::<Vec<_>>()).await
}

async fn create(folder: &Path) -> Ran {
    run(folder, "release create --lake lake --datasets datasets --queries queries").await
}

/// The releases, newest first, and the one in use.
async fn list(folder: &Path) -> (Vec<String>, String) {
    let ran = run(folder, "release list --lake lake --format json").await;
    ran.assert_code(0);
    let rows = ran.summary()["releases"]["rows"].as_array().unwrap().clone();
    let id = |row: &Value| row[0].as_str().unwrap().to_owned();
    let current: Vec<String> = rows.iter().filter(|row| row[2] == true).map(id).collect();
    assert_eq!(current.len(), 1);
    (rows.iter().map(id).collect(), current[0].clone())
}

#[tokio::test]
async fn a_release_is_created_used_and_rolled_back() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    write(folder, 1, GOOD);
    let first = create(folder).await;
    first.assert_code(0);
    let first = first.summary();
    let id = first["release"].as_str().unwrap().to_owned();
    assert_eq!((&first["new"], &first["in_use"]), (&Value::Bool(true), &Value::Bool(true)));
    assert_eq!(create(folder).await.summary()["release"], first["release"], "the same content");
    assert_eq!(list(folder).await, (vec![id.clone(), "built-in".to_owned()], id.clone()));

    // Commands on the lake use it, and so do those that name the releases.
    fs::write(folder.join("t.ndjson"), "{\"visitor\":1}\n{\"visitor\":2}\n").unwrap();
    run(folder, "load --lake lake t.ndjson").await.assert_code(0);
    let results = run(folder, "analyse --lake lake --format json").await.summary();
    assert_eq!(results["visitors"]["rows"], serde_json::json!([[2]]));
    let settings = [("PINLAKE_DATASETS", "lake/releases"), ("PINLAKE_QUERIES", "lake/releases")];
    let ran = pinlake_with(folder, &settings, &["analyse", "--lake", "lake", "--format", "json"]).await;
    assert_eq!(ran.summary(), results);
    let ran = pinlake_with(folder, &settings[..1], &["check"]).await;
    assert!(ran.stderr.contains("no errors"), "{}", ran.stderr);

    // Only the queries change. The contracts stay.
    fs::write(folder.join("queries/visitors.sql"), "SELECT max(visitor) AS n FROM t").unwrap();
    let second = run(folder, "release create --lake lake --queries queries --no-use").await;
    second.assert_code(0);
    let second = second.summary()["release"].as_str().unwrap().to_owned();
    assert_eq!(list(folder).await.1, id);
    run(folder, &format!("release use --lake lake {second}")).await.assert_code(0);
    assert_eq!(list(folder).await.1, second);
    let results = run(folder, "analyse --lake lake --format json").await.summary();
    assert_eq!(
        (results["visitors"]["rows"][0][0].as_i64(), results["visitors"]["versions"]["t"].as_i64()),
        (Some(2), Some(1))
    );

    for expected in [id.as_str(), "built-in"] {
        assert_eq!(run(folder, "release rollback --lake lake").await.summary()["release"], expected);
        assert_eq!(list(folder).await.1, expected);
    }
    let ran = run(folder, "release rollback --lake lake").await;
    ran.assert_code(2);
    assert!(ran.stderr.contains("pinlake release use"), "{}", ran.stderr);
    run(folder, "release use --lake lake nosuch").await.assert_code(2);
    run(folder, &format!("release use --lake lake {second}")).await.assert_code(0);
    run(folder, "release use --lake lake built-in").await.assert_code(0);
    assert_eq!(list(folder).await.1, "built-in");
}

#[tokio::test]
async fn mistakes_and_refused_changes_are_not_released() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    write(folder, 2, GOOD);
    create(folder).await.assert_code(0);
    let in_use = list(folder).await;
    let more = format!("{GOOD}[[column]]\nname = \"page\"\ntype = \"string\"\n");
    for (version, columns, expected) in [
        (2, more.as_str(), "write version = 3"),
        (1, more.as_str(), "version 1 is lower than 2"),
        (1, GOOD, "version 1 is lower than 2"),
        (3, "[[column]]\nname = \"visitor\"\ntype = \"int\"\n", "t.toml:7:8"),
        (3, "[[column]]\nname = \"guest\"\ntype = \"int64\"\n", "visitors.sql"),
    ] {
        write(folder, version, columns);
        let ran = create(folder).await;
        assert_ne!(ran.code, Some(0), "{version} {columns}");
        assert!(ran.stderr.contains(expected), "{expected}: {}", ran.stderr);
        assert_eq!(list(folder).await, in_use);
    }
    // check warns likewise.
    write(folder, 2, &more);
    let ran = run(folder, "check datasets --against lake").await;
    ran.assert_code(1);
    assert!(ran.stdout.contains("write version = 3"), "{}", ran.stdout);
    write(folder, 3, &more);
    run(folder, "check datasets --against lake").await.assert_code(0);
    create(folder).await.assert_code(0);
}

#[tokio::test]
async fn a_broken_contract_is_named_and_the_lake_stays_readable() {
    let folder = TempDir::new().unwrap();
    let folder = folder.path();
    write(folder, 1, GOOD);
    fs::write(folder.join("t.ndjson"), "{\"visitor\":1}\n").unwrap();
    run(folder, "load --lake lake --datasets datasets t.ndjson").await.assert_code(0);
    write(folder, 1, "[[column]]\nname = \"visitor\"\ntype = \"int\"\n");
    let ran = run(folder, "status --lake lake --datasets datasets --format json").await;
    ran.assert_code(1);
    assert!(ran.stderr.contains("t.toml:7: unknown type `int`"), "{}", ran.stderr);
    let state = ran.summary();
    assert_eq!((&state["datasets"][0]["dataset"], &state["datasets"][0]["rows"]), (&"t".into(), &1.into()));
    let ran = run(folder, "analyse --lake lake --datasets datasets --queries queries --format json").await;
    ran.assert_code(0);
    assert_eq!(ran.summary()["visitors"]["rows"], serde_json::json!([[1]]));
    // Who writes is told at once.
    for command in
        ["load --lake lake --datasets datasets t.ndjson", "redrive --lake lake --datasets datasets"]
    {
        run(folder, command).await.assert_code(2);
    }
}
