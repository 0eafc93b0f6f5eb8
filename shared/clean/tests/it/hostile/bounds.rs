//! Limits of peak memory and time for hostile input. Each test runs in a separate process, in which nothing else allocates.

use std::time::{Duration, Instant};

use bytes::Bytes;
use peak_alloc::PeakAlloc;
use pinlake_clean::record_reader::RecordReader;

use super::{inputs, limits};
use crate::subprocess::alone;
use crate::{contracts, line, new_cleaner};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MIB: f64 = 1024.0 * 1024.0;

/// Runs `work`; returns the peak of the memory that it allocated, in MiB, and the time.
#[expect(clippy::disallowed_methods, reason = "it measures real time")]
fn cost(work: impl FnOnce()) -> (f64, Duration) {
    let before = MEMORY.current_usage() as f64;
    MEMORY.reset_peak_usage();
    let begun = Instant::now();
    work();
    ((MEMORY.peak_usage() as f64 - before) / MIB, begun.elapsed())
}

/// Reads a file to its end and discards the records.
fn read(name: &str, bytes: Bytes) {
    let Ok(mut records) = RecordReader::from_bytes(name, bytes, limits()) else { return };
    while let Ok(Some(_)) = records.next() {}
}

#[test]
fn reading_a_file_takes_a_small_multiple_of_the_largest_record() {
    if !alone("hostile::bounds::reading_a_file_takes_a_small_multiple_of_the_largest_record") {
        return;
    }
    let most = 4.0 * limits().max_record_bytes as f64 / MIB;
    for row in inputs::table() {
        let (name, bytes) = inputs::input(&row[0]).expect("an input");
        let bytes = Bytes::from(bytes);
        let (peak, took) = cost(|| read(name, bytes.clone()));
        println!("{}: {peak:.1} MiB, {took:?}", row[0]);
        // The zstd window comes on top; the largest that is accepted has 128 MiB.
        let most = if row[0].contains("window") { most + 129.0 } else { most };
        assert!(peak < most, "{}: {peak:.1} MiB", row[0]);
        assert!(took < Duration::from_secs(20), "{}: {took:?}", row[0]);
    }
}

#[test]
fn cleaning_a_record_takes_a_small_multiple_of_its_size() {
    if !alone("hostile::bounds::cleaning_a_record_takes_a_small_multiple_of_its_size") {
        return;
    }
    for row in inputs::table() {
        let (_, bytes) = inputs::input(&row[0]).expect("an input");
        let mut cleaner = new_cleaner(contracts());
        let (peak, took) = cost(|| {
            for number in 0..3 {
                cleaner.push(&bytes, Some("geo"), &line(number));
            }
            drop(cleaner.drain());
        });
        println!("{}: {} bytes, {peak:.1} MiB, {took:?}", row[0], bytes.len());
        // The batch has three records, and its columns grow by doubling. A quarantine row contains the whole record.
        let most = 16.0 + 12.0 * bytes.len() as f64 / MIB;
        assert!(peak < most, "{}: {peak:.1} MiB of {most:.1}", row[0]);
        assert!(took < Duration::from_secs(5), "{}: {took:?}", row[0]);
    }
}

/// The most records that a batch of the stream can have, all of which are quarantined: a quarantine row is far larger than such a record.
#[test]
fn a_batch_of_the_smallest_records_fits_in_the_memory_of_the_cleaner() {
    if !alone("hostile::bounds::a_batch_of_the_smallest_records_fits_in_the_memory_of_the_cleaner") {
        return;
    }
    let mut cleaner = new_cleaner(contracts());
    // An event has at most 6 MB of base64; each record has a byte and a line feed.
    let records = 6_000_000 * 3 / 4 / 2;
    let (peak, took) = cost(|| {
        for number in 0..records {
            cleaner.push(b"7", Some("geo"), &line(number));
        }
        drop(cleaner.drain());
    });
    println!("{records} records: {peak:.1} MiB, {took:?}");
    assert!(peak < 800.0, "{peak:.1} MiB");
}
