//! Any bytes as the data of a stream record: they are split within their limits, and alike whatever surrounds them.
#![no_main]

#[path = "../../../shared/payload/tests/it/invariants.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::payload(input));
