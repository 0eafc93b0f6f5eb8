//! What hostile input may cost: memory at its peak, and time. Each is measured in a process of its own, in which nothing
//! else allocates.

use std::time::{Duration, Instant};

use bytes::Bytes;
use peak_alloc::PeakAlloc;
use pinlake_clean::record_reader::RecordReader;

use super::{inputs, limits};
use crate::subprocess::alone;
use crate::{contracts, intake, line};

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

const MIB: f64 = 1024.0 * 1024.0;

/// Memory beyond what was there before, at its peak, in MiB; and the time.
#[expect(clippy::disallowed_methods, reason = "real time is what is measured")]
fn cost(work: impl FnOnce()) -> (f64, Duration) {
    let before = MEMORY.current_usage() as f64;
    MEMORY.reset_peak_usage();
    let begun = Instant::now();
    work();
    ((MEMORY.peak_usage() as f64 - before) / MIB, begun.elapsed())
}

/// Reads a file to its end, and keeps nothing.
fn read(name: &str, bytes: Bytes) {
    let Ok(mut records) = RecordReader::from_bytes(name, bytes, limits()) else { return };
    while let Ok(Some(_)) = records.next() {}
}

#[test]
fn reading_a_file_takes_few_times_the_largest_record() {
    if !alone("hostile::bounds::reading_a_file_takes_few_times_the_largest_record") {
        return;
    }
    let most = 4.0 * limits().max_record_bytes as f64 / MIB;
    for row in inputs::table() {
        let (name, bytes) = inputs::input(&row[0]).expect("an input");
        let bytes = Bytes::from(bytes);
        let (peak, took) = cost(|| read(name, bytes.clone()));
        println!("{}: {peak:.1} MiB, {took:?}", row[0]);
        // A window of zstd is held besides; 128 MiB is the largest that is taken.
        let most = if row[0].contains("window") { most + 129.0 } else { most };
        assert!(peak < most, "{}: {peak:.1} MiB", row[0]);
        assert!(took < Duration::from_secs(20), "{}: {took:?}", row[0]);
    }
}

#[test]
fn cleaning_a_record_takes_few_times_its_size() {
    if !alone("hostile::bounds::cleaning_a_record_takes_few_times_its_size") {
        return;
    }
    for row in inputs::table() {
        let (_, bytes) = inputs::input(&row[0]).expect("an input");
        let mut intake = intake(contracts());
        let (peak, took) = cost(|| {
            for number in 0..3 {
                intake.push(&bytes, Some("geo"), &line(number));
            }
            drop(intake.drain());
        });
        println!("{}: {} bytes, {peak:.1} MiB, {took:?}", row[0], bytes.len());
        // Three of them are in the batch, whose columns grow by doubling; in quarantine each is there whole.
        let most = 16.0 + 12.0 * bytes.len() as f64 / MIB;
        assert!(peak < most, "{}: {peak:.1} MiB of {most:.1}", row[0]);
        assert!(took < Duration::from_secs(5), "{}: {took:?}", row[0]);
    }
}

/// As many records as a batch of the stream can have, each as small as can be and each to be quarantined: what stands in
/// quarantine about a record is far longer than such a record.
#[test]
fn a_batch_of_the_smallest_records_fits_the_cleaners_memory() {
    if !alone("hostile::bounds::a_batch_of_the_smallest_records_fits_the_cleaners_memory") {
        return;
    }
    let mut intake = intake(contracts());
    // Six MB of base64 in an event, a byte and a line feed each.
    let records = 6_000_000 * 3 / 4 / 2;
    let (peak, took) = cost(|| {
        for number in 0..records {
            intake.push(b"7", Some("geo"), &line(number));
        }
        drop(intake.drain());
    });
    println!("{records} records: {peak:.1} MiB, {took:?}");
    assert!(peak < 800.0, "{peak:.1} MiB");
}
