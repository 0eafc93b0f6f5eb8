//! Hostile files through the compactor's handler, Parquet in processes of the program itself: each ends within seconds, with a
//! good file beside it loaded.

use std::time::Duration;

use compactor::trigger::Trigger;
use tokio::time::Instant;

use crate::files::{World, user};
use crate::hostile_files;

/// What one may take in this profile, on a machine that others use too.
const MOST: Duration = Duration::from_secs(60);
const PATIENCE: Duration = Duration::from_secs(100);

async fn beside_a_good_one(name: &str, bytes: Vec<u8>) -> Duration {
    let world = World::new();
    world.drop_file(&format!("inbox/geo/{name}"), bytes).await;
    world.drop_file("inbox/user/good.ndjson", user(1)).await;
    let begun = Instant::now();
    let outcomes = world.run(&[Trigger::All.to_body()], PATIENCE).await;
    let took = begun.elapsed();
    for outcome in &outcomes {
        assert!(outcome.response.batch_item_failures.is_empty(), "{name}: {outcome:?}");
    }
    assert_eq!(world.rows().await.get("user"), Some(&1), "{name}");
    assert!(world.paths("inbox").await.is_empty(), "{name}");
    let aside = world.paths("failed/inbox").await;
    let left: Vec<_> =
        world.paths("state/attempts").await.into_iter().chain(world.paths("state/files").await).collect();
    assert!(left.is_empty(), "{name}: {left:?}");
    let what = if aside.is_empty() { "taken" } else { "put aside" };
    println!("{name}: {what} in {} ms, {} invocations", took.as_millis(), outcomes.len());
    assert!(took < MOST, "{name}: {took:?}");
    took
}

#[tokio::test]
async fn files_that_are_made_to_break_it_end_soon_with_a_good_one_loaded() {
    for (name, bytes) in hostile_files::all() {
        beside_a_good_one(&name, bytes).await;
    }
}

#[tokio::test]
async fn files_that_were_seen_to_break_it_end_soon_with_a_good_one_loaded() {
    let Some((folder, entries)) = hostile_files::seen() else { return };
    let mut count = 0;
    for entry in entries {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if name.starts_with("geo_") {
            beside_a_good_one(&name, std::fs::read(&path).unwrap()).await;
            count += 1;
        }
    }
    assert!(count > 0, "{}", folder.display());
}
