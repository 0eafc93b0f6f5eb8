//! Hostile files in the inbox: the compactor finishes each within seconds, and loads the valid file next to it. Parquet
//! is read in child processes.

use std::time::Duration;

use compactor::trigger::Trigger;
use tokio::time::Instant;

use crate::files::{World, user};
use crate::hostile_files;

/// Limit for one file. It allows for unoptimised builds and a busy machine.
const MAX_TIME: Duration = Duration::from_secs(60);
const INVOCATION_TIME: Duration = Duration::from_secs(100);

async fn load_next_to_a_valid_file(name: &str, bytes: Vec<u8>) -> Duration {
    let world = World::new();
    world.drop_file(&format!("inbox/geo/{name}"), bytes).await;
    world.drop_file("inbox/user/good.ndjson", user(1)).await;
    let start = Instant::now();
    let summaries = world.run(&[Trigger::All.to_body()], INVOCATION_TIME).await;
    let elapsed = start.elapsed();
    for summary in &summaries {
        assert!(summary.response.batch_item_failures.is_empty(), "{name}: {summary:?}");
    }
    assert_eq!(world.rows().await.get("user"), Some(&1), "{name}");
    assert!(world.paths("inbox").await.is_empty(), "{name}");
    let failed = world.paths("failed/inbox").await;
    let left: Vec<_> =
        world.paths("state/attempts").await.into_iter().chain(world.paths("state/files").await).collect();
    assert!(left.is_empty(), "{name}: {left:?}");
    let result = if failed.is_empty() { "loaded" } else { "rejected" };
    println!("{name}: {result} in {} ms, {} invocations", elapsed.as_millis(), summaries.len());
    assert!(elapsed < MAX_TIME, "{name}: {elapsed:?}");
    elapsed
}

#[tokio::test]
async fn generated_hostile_files_do_not_block_a_valid_file() {
    for (name, bytes) in hostile_files::all() {
        load_next_to_a_valid_file(&name, bytes).await;
    }
}

#[tokio::test]
async fn files_that_once_broke_pinlake_do_not_block_a_valid_file() {
    let Some((folder, entries)) = hostile_files::seen() else { return };
    let mut count = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("geo_") {
            load_next_to_a_valid_file(&name, std::fs::read(&path).unwrap()).await;
            count += 1;
        }
    }
    assert!(count > 0, "{}", folder.display());
}
