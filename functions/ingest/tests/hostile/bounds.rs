//! The peak memory and the time of hostile requests, measured in a process in which nothing else allocates.

use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;

use super::{inputs, table};
use crate::subprocess::alone;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MIB: f64 = 1024.0 * 1024.0;

#[test]
#[expect(clippy::disallowed_methods, reason = "the test measures real time")]
fn memory_is_a_small_multiple_of_the_largest_text() {
    if !alone("hostile::bounds::memory_is_a_small_multiple_of_the_largest_text") {
        return;
    }
    let max_peak = 5.0 * ingest::body::MAX_TEXT_BYTES as f64 / MIB;
    let tiny = "7\n".repeat(3 << 20);
    let inputs = inputs::table().into_iter().map(|row| {
        let (file, bytes) = inputs::input(&row[0]).unwrap();
        (row[0].clone(), file, bytes)
    });
    for (name, file, bytes) in
        inputs.chain([("three million numbers".to_owned(), "geo.ndjson", tiny.into_bytes())])
    {
        let before = MEMORY.current_usage() as f64;
        MEMORY.reset_peak_usage();
        let start = Instant::now();
        table::post_file(file, &bytes);
        let (peak, elapsed) = ((MEMORY.peak_usage() as f64 - before) / MIB, start.elapsed());
        println!("{name}: {} bytes, {peak:.1} MiB, {elapsed:?}", bytes.len());
        assert!(peak < max_peak, "{name}: {peak:.1} MiB");
        assert!(elapsed < Duration::from_secs(20), "{name}: {elapsed:?}");
    }
}
