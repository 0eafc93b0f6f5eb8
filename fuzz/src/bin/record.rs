//! Any bytes as one record. The first byte selects the dataset.
#![no_main]

#[allow(dead_code, reason = "each target uses its own invariant")]
#[path = "../../../shared/clean/tests/it/hostile/invariants.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let [hint, record @ ..] = input {
        invariants::record(record, invariants::HINTS[usize::from(*hint) % invariants::HINTS.len()]);
    }
});
