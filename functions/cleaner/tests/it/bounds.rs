//! What a hostile delivery may cost in memory, at its peak.

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

/// The sample event with one record, which is packed.
fn packed(lines: &str) -> KinesisEvent {
    let mut event = sample();
    event.records.truncate(1);
    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(lines.as_bytes()).unwrap();
    *event.records[0].kinesis.data = gzip.finish().unwrap();
    event
}

/// The smallest records there are, in a record that is packed as the stream's own limit asks for: what stands in quarantine
/// about each is a hundred times as long.
#[tokio::test]
async fn millions_of_records_in_a_few_packed_bytes_do_not_fill_the_memory() {
    if !alone("bounds::millions_of_records_in_a_few_packed_bytes_do_not_fill_the_memory") {
        return;
    }
    let records = 2_000_000;
    let (cleaner, event) = (cleaner(Arc::new(InMemory::new())), packed(&"7\n".repeat(records)));
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
