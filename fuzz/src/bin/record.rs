//! Any bytes as one record: the first byte names a dataset.
#![no_main]

#[allow(dead_code, reason = "each target calls its own law")]
#[path = "../../../shared/clean/tests/it/hostile/laws.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let [hint, record @ ..] = input {
        laws::record(record, laws::HINTS[usize::from(*hint) % laws::HINTS.len()]);
    }
});
