//! Any text as a contract.
#![no_main]

#[path = "../../../shared/schema/tests/it/laws.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|input: &[u8]| laws::contract(&String::from_utf8_lossy(input)));
