//! `pinlake load` of malicious files, links, pipes and devices.

use std::collections::BTreeMap;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::process::Stdio;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;
use tokio::time::Instant;

use crate::hostile_files;
use crate::program::{Ran, pinlake};

const USER: &str =
    r#"{"ind": 1, "first_name": "A", "last_name": "B", "age": 20, "date_joined": "2015-10-21 21:26:45"}"#;

/// Rows that were inserted, by dataset.
fn inserted(ran: &Ran) -> BTreeMap<String, u64> {
    let lines = ran.stdout.lines().map(|line| serde_json::from_str::<Value>(line).unwrap());
    lines
        .map(|line| {
            (line["dataset"].as_str().unwrap_or("null").to_owned(), line["inserted"].as_u64().unwrap())
        })
        .collect()
}

async fn load(folder: &Path, files: &str) -> (Ran, Duration) {
    let begun = Instant::now();
    let ran = pinlake(folder, &["load", "--lake", "lake", files]).await;
    (ran, begun.elapsed())
}

#[tokio::test]
async fn malicious_files_fail_soon_and_a_valid_file_is_loaded() {
    let folder = TempDir::new().unwrap();
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    // Parsing gigabytes of JSON is slow in the dev profile. The tests of the readers cover these files.
    let is_slow =
        |name: &str| ["endless", "long_texts", "longer_texts"].iter().any(|slow| name.starts_with(slow));
    let mut all = hostile_files::all();
    all.retain(|(name, _)| name.ends_with(".parquet") || !is_slow(name));
    for (name, bytes) in &all {
        std::fs::write(files.join(format!("geo_{name}")), bytes).unwrap();
    }
    std::fs::write(files.join("user.ndjson"), USER).unwrap();
    let (ran, took) = load(folder.path(), "files").await;
    println!("{} files in {took:?}\n{}", all.len(), ran.stderr);
    ran.assert_code(1);
    assert_eq!(inserted(&ran)["user"], 1);
    for name in ["row_group_count.parquet", "long_list.parquet.gz", "prefixes.parquet", "slow.csv.gz"] {
        let told = ran.stderr.lines().find(|line| line.contains(&format!("geo_{name} ")));
        assert!(told.is_some(), "{name}: {}", ran.stderr);
    }
    assert!(took < Duration::from_secs(10) * u32::try_from(all.len()).unwrap(), "{took:?}");
}

#[tokio::test]
async fn files_that_once_broke_it_fail_soon_and_a_valid_file_is_loaded() {
    let Some((_, entries)) = hostile_files::seen() else { return };
    let folder = TempDir::new().unwrap();
    let files = folder.path().join("files");
    std::fs::create_dir(&files).unwrap();
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("geo_") {
            std::fs::copy(&path, files.join(name)).unwrap();
        }
    }
    std::fs::write(files.join("user.ndjson"), USER).unwrap();
    let (ran, took) = load(folder.path(), "files").await;
    println!("{took:?}\n{}", ran.stderr);
    ran.assert_code(1);
    assert_eq!(inserted(&ran)["user"], 1);
    assert!(took < Duration::from_secs(120), "{took:?}");
}

#[tokio::test]
async fn only_the_regular_files_of_a_folder_are_loaded() {
    let folder = TempDir::new().unwrap();
    let (files, outside) = (folder.path().join("files"), folder.path().join("outside"));
    for folder in [&files, &outside] {
        std::fs::create_dir(folder).unwrap();
    }
    std::fs::write(outside.join("user.ndjson"), USER.replace(": 1,", ": 2,")).unwrap();
    std::fs::write(files.join("user.ndjson"), USER).unwrap();
    symlink(outside.join("user.ndjson"), files.join("user_link.ndjson")).unwrap();
    symlink("/etc/passwd", files.join("passwd")).unwrap();
    symlink(&outside, files.join("folder")).unwrap();
    symlink("nowhere", files.join("nowhere")).unwrap();
    symlink("/dev/zero", files.join("zero")).unwrap();
    let made = Command::new("mkfifo").arg(files.join("user_pipe.ndjson")).status().await.unwrap();
    assert!(made.success());
    let (ran, _) = load(folder.path(), "files").await;
    ran.assert_code(0);
    assert_eq!(inserted(&ran), BTreeMap::from([("user".to_owned(), 1)]));
    assert_eq!(ran.stderr.matches("left out: ").count(), 6, "{}", ran.stderr);
    // Links on the command line are followed.
    let (ran, _) = load(folder.path(), "files/user_link.ndjson").await;
    ran.assert_code(0);
    assert_eq!(inserted(&ran)["user"], 1);
    let (ran, _) = load(folder.path(), "files/folder").await;
    ran.assert_code(0);
    let (ran, _) = load(folder.path(), "/dev/zero").await;
    ran.assert_code(2);
}

#[tokio::test]
async fn a_pipe_is_read_to_its_end() {
    let folder = TempDir::new().unwrap();
    let catalog = hostile_files::gzip(format!("{USER}\n{}\n", USER.replace(": 1,", ": 2,")).as_bytes());
    for (bytes, rows) in [(USER.as_bytes().to_vec(), 1), (catalog, 1)] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_pinlake"))
            .args(["load", "--lake", "lake", "--dataset", "user", "/dev/stdin"])
            .current_dir(folder.path())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut pipe = child.stdin.take().unwrap();
        pipe.write_all(&bytes).await.unwrap();
        drop(pipe);
        let ran = child.wait_with_output().await.unwrap();
        assert!(ran.status.success(), "{}", String::from_utf8_lossy(&ran.stderr));
        let line: Value = serde_json::from_slice(&ran.stdout).unwrap();
        assert_eq!(line["inserted"], rows, "{line}");
    }
}
