//! What a hostile request may cost: memory at its peak, and time. Measured in a process of its own, in which nothing else
//! allocates.

use std::time::{Duration, Instant};

use peak_alloc::PeakAlloc;

use super::{inputs, table};
use crate::subprocess::alone;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MIB: f64 = 1024.0 * 1024.0;

#[test]
#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
fn a_request_takes_few_times_the_largest_text() {
    if !alone("hostile::bounds::a_request_takes_few_times_the_largest_text") {
        return;
    }
    let most = 5.0 * ingest::body::MAX_TEXT_BYTES as f64 / MIB;
    let tiny = "7\n".repeat(3 << 20);
    let many = inputs::table().into_iter().map(|row| {
        let (file, bytes) = inputs::input(&row[0]).unwrap();
        (row[0].clone(), file, bytes)
    });
    for (name, file, bytes) in
        many.chain([("three million numbers".to_owned(), "geo.ndjson", tiny.into_bytes())])
    {
        let before = MEMORY.current_usage() as f64;
        MEMORY.reset_peak_usage();
        let begun = Instant::now();
        table::posted(file, &bytes);
        let (peak, took) = ((MEMORY.peak_usage() as f64 - before) / MIB, begun.elapsed());
        println!("{name}: {} bytes, {peak:.1} MiB, {took:?}", bytes.len());
        assert!(peak < most, "{name}: {peak:.1} MiB");
        assert!(took < Duration::from_secs(20), "{name}: {took:?}");
    }
}
