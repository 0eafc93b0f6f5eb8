//! The peak memory of the cleaner for a hostile batch.

use std::io::Write;
use std::sync::Arc;

use aws_lambda_events::event::kinesis::KinesisEvent;
use object_store::memory::InMemory;
use peak_alloc::PeakAlloc;

use crate::subprocess::alone;
use crate::{cleaner, sample};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MIB: f64 = 1024.0 * 1024.0;

/// The sample event with one record, gzip of `lines`.
fn compressed_event(lines: &str) -> KinesisEvent {
    let mut event = sample();
    event.records.truncate(1);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(lines.as_bytes()).unwrap();
    *event.records[0].kinesis.data = gzip.finish().unwrap();
    event
}

/// A compressed Kinesis record with the shortest possible lines. The quarantine row of each line is a hundred times as
/// long as the line.
#[tokio::test]
async fn a_small_compressed_record_with_millions_of_lines_needs_bounded_memory() {
    if !alone("bounds::a_small_compressed_record_with_millions_of_lines_needs_bounded_memory") {
        return;
    }
    let records = 2_000_000;
    let (cleaner, event) = (cleaner(Arc::new(InMemory::new())), compressed_event(&"7\n".repeat(records)));
    MEMORY.reset_peak_usage();
    let cleaned = cleaner.handle_kinesis(event).await;
    let peak = MEMORY.peak_usage() as f64 / MIB;
    assert!(cleaned.response.batch_item_failures.is_empty());
    assert_eq!(
        cleaned.landed.iter().flat_map(|landed| &landed.counts).map(|count| count.quarantined).sum::<u64>(),
        records as u64
    );
    println!("{records} records: {peak:.1} MiB");
    assert!(peak < 256.0, "{peak:.1} MiB");
}
