//! Any text as a contract.
#![no_main]

#[path = "../../../shared/schema/tests/it/invariants.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|input: &[u8]| invariants::contract(&String::from_utf8_lossy(input)));
