//! Any bytes as a file. The first byte selects its name, some in the layout of Kafka Connect's S3 sink.
#![no_main]

#[allow(dead_code, reason = "each target uses its own invariant")]
#[path = "../../../shared/clean/tests/it/hostile/invariants.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let [name, file @ ..] = input else { return };
    // Not Parquet: its library panics on damaged files and allocates without a limit. A test damages a file byte by byte.
    if !file.starts_with(b"PAR1") {
        invariants::file(invariants::FILE_NAMES[usize::from(*name) % invariants::FILE_NAMES.len()], file);
        invariants::path(&String::from_utf8_lossy(file));
    }
});
