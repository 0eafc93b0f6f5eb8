//! Tests of folders as object stores.

use std::path::Path as FilePath;
use std::process::Command;
use std::sync::Arc;
use std::{env, fs};

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, UpdateVersion};
use pinlake_env::{ManualClock, SystemClock};
use pinlake_platform::folder::FolderStore;

use crate::contract::increment;

/// Environment variable with the folder of a child process.
const FOLDER_VARIABLE: &str = "PINLAKE_TEST_COUNTED_FOLDER";
const PROCESSES: usize = 4;
const INCREMENTS: usize = 50;

pub fn open(folder: &FilePath) -> Arc<dyn ObjectStore> {
    Arc::new(FolderStore::new(folder, Arc::new(SystemClock)).unwrap())
}

/// The test below runs this in several processes at once.
#[tokio::test]
async fn increment_in_a_child_process() {
    let Some(folder) = env::var_os(FOLDER_VARIABLE) else { return };
    let store = open(FilePath::new(&folder));
    for _ in 0..INCREMENTS {
        increment(&store, &Path::from("state/count")).await;
    }
}

#[tokio::test]
async fn concurrent_updates_by_several_processes_are_not_lost() {
    let folder = tempfile::tempdir().unwrap();
    let children: Vec<_> = (0..PROCESSES)
        .map(|_| {
            let mut process = Command::new(env::current_exe().unwrap());
            process
                .args(["--exact", "folder::increment_in_a_child_process"])
                .env(FOLDER_VARIABLE, folder.path());
            process.spawn().unwrap()
        })
        .collect();
    for mut process in children {
        assert!(process.wait().unwrap().success());
    }
    let count = fs::read_to_string(folder.path().join("state/count")).unwrap();
    assert_eq!(count.parse::<usize>().unwrap(), PROCESSES * INCREMENTS);
}

/// File systems reuse the inode of a replaced file, and two writes may happen at the same time of the clock.
#[tokio::test]
async fn versions_written_at_the_same_time_have_different_etags() {
    let folder = tempfile::tempdir().unwrap();
    let clock = ManualClock::at("2022-10-19T12:00:00Z".parse().unwrap());
    let store = FolderStore::new(folder.path(), Arc::new(clock)).unwrap();
    let path = Path::from("state/mark.json");
    let mut versions = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let put = store.put(&path, "as long".into()).await.unwrap();
        assert_eq!(store.head(&path).await.unwrap().e_tag, put.e_tag);
        assert!(versions.insert(put.e_tag));
    }
    let first = versions.first().unwrap().clone();
    let mode = PutMode::Update(UpdateVersion { e_tag: first, version: None });
    let stale = store.put_opts(&path, "x".into(), PutOptions { mode, ..PutOptions::default() }).await;
    assert!(matches!(stale, Err(Error::Precondition { .. })), "{stale:?}");
}

fn files(folder: &FilePath) -> Vec<String> {
    let mut names = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => names.extend(files(&path)),
            false => names.push(path.file_name().unwrap().to_str().unwrap().to_owned()),
        }
    }
    names.sort();
    names
}

#[tokio::test]
async fn no_staged_files_are_left_over() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let path = Path::from("a/b/x");
    let create = || PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    store.put_opts(&path, "1".into(), create()).await.unwrap();
    store.put_opts(&path, "2".into(), create()).await.unwrap_err();
    let stale = UpdateVersion { e_tag: Some("0-0-0".to_owned()), version: None };
    let update = PutOptions { mode: PutMode::Update(stale), ..PutOptions::default() };
    store.put_opts(&path, "2".into(), update).await.unwrap_err();
    store.put(&path, "3".into()).await.unwrap();
    let mut upload = store.put_multipart(&Path::from("a/b/y")).await.unwrap();
    upload.put_part("1".into()).await.unwrap();
    upload.abort().await.unwrap();
    assert_eq!(files(folder.path()), [".pinlake-lock#0", "x"]);
    store.delete(&path).await.unwrap();
    assert_eq!(files(folder.path()), [".pinlake-lock#0"]);
    assert!(!folder.path().join("a").exists(), "S3 has no empty folders");
}

/// A deletion removes empty folders while other tasks create objects in them.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn objects_are_created_while_their_folders_are_removed() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    let tasks: Vec<_> = (0..4)
        .map(|task| {
            let store = store.clone();
            tokio::spawn(async move {
                for number in 0..100 {
                    let path = Path::from(format!("landing/pin/00/{task}-{number}"));
                    store.put(&path, "x".into()).await.unwrap();
                    store.delete(&path).await.unwrap();
                }
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(files(folder.path()), [".pinlake-lock#0"]);
}

#[tokio::test]
async fn a_name_that_a_folder_cannot_hold_is_an_error() {
    let folder = tempfile::tempdir().unwrap();
    let store = open(folder.path());
    store.put(&Path::from("a"), "x".into()).await.unwrap();
    for name in ["b#12", "a/below"] {
        assert!(store.put(&Path::parse(name).unwrap(), "x".into()).await.is_err(), "{name}");
    }
    assert_eq!(files(folder.path()), [".pinlake-lock#0", "a"]);
}
