//! Any bytes as a JSON file with records inside its documents, and as such a message.
#![no_main]

#[allow(dead_code, reason = "each target uses its own invariant")]
#[path = "../../../shared/clean/tests/it/hostile/invariants.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    // Not Parquet, see the target `file`.
    if !input.starts_with(b"PAR1") {
        invariants::document(input);
    }
});
