//! The peak memory of the compactor for rows of repeated text, which take little space in files.

use std::sync::Arc;
use std::time::Duration;

use compactor::Compactor;
use compactor::trigger::Trigger;
use object_store::ObjectStore;
use object_store::memory::InMemory;
use peak_alloc::PeakAlloc;
use pinlake_lake::{CompactionLimits, CompactionSummary};

use crate::subprocess::alone;
use crate::{Sent, compactor, deliver, messages};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MIB: f64 = 1024.0 * 1024.0;
/// More than the number of small files at which a compactor merges them.
const OBJECTS: u64 = 48;
/// Records of an object, and their size: 700 MB of rows in all, which the files store in a ten-thousandth of that.
const RECORDS: u64 = 14;
const RECORD_BYTES: usize = 1_000_000;

async fn deliver_all(store: &dyn ObjectStore, compactor: &Compactor<Sent>, first: u64) {
    let word = "so it goes ";
    let name = word.repeat(RECORD_BYTES / word.len());
    for sequence in first..first + OBJECTS {
        let numbers = sequence * RECORDS..(sequence + 1) * RECORDS;
        let lines: Vec<String> = numbers
            .map(|number| {
                format!(
                    r#"{{"ind": {number}, "first_name": "{name}", "last_name": "B", "age": 20, "date_joined": "2015-10-21 21:26:45"}}"#
                )
            })
            .collect();
        deliver(store, &compactor.catalog, sequence, &lines.join("\n")).await;
    }
}

/// Returns what an invocation did, and its peak memory in MiB without the contents of the store.
async fn compact(compactor: &Compactor<Sent>) -> (CompactionSummary, f64) {
    let event = messages(&[Trigger::Datasets(vec!["user".to_owned()]).to_body()]);
    let before = MEMORY.current_usage();
    MEMORY.reset_peak_usage();
    let mut summary = compactor.handle(event, Duration::from_secs(600)).await;
    let peak = (MEMORY.peak_usage() - before) as f64 / MIB;
    let done = summary.compacted.remove("user").unwrap().unwrap();
    println!("{peak:.0} MiB: {done:?}");
    (done, peak)
}

#[tokio::test]
async fn rows_of_repeated_text_need_bounded_memory_in_commits_and_merges() {
    if !alone("bounds::rows_of_repeated_text_need_bounded_memory_in_commits_and_merges") {
        return;
    }
    let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
    let (mut compactor, _) = compactor(store.clone(), CompactionLimits::default());
    deliver_all(&*store, &compactor, 0).await;
    let (done, commits) = compact(&compactor).await;
    assert_eq!((done.objects, done.inserted, done.merged_files), (OBJECTS, OBJECTS * RECORDS, 0));

    // One data file for each object, so that there are files to merge.
    compactor.budget.objects = 1;
    deliver_all(&*store, &compactor, OBJECTS).await;
    let (done, merge) = compact(&compactor).await;
    assert_eq!((done.objects, done.inserted), (OBJECTS, OBJECTS * RECORDS));
    assert!((32..OBJECTS).contains(&done.merged_files), "as many as fit into the memory limit of a merge");

    // A quarter of the function's 2 GiB is reserved for keys.
    assert!(commits < 448.0 && merge < 896.0, "{commits:.0} and {merge:.0} MiB");
}
