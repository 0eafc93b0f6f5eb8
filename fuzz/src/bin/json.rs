//! Any text as JSON: the lexer agrees with `serde_json`.
#![no_main]

#[path = "../../../shared/json/tests/it/invariants.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    if let Ok(text) = std::str::from_utf8(input) {
        invariants::text(text);
    }
});
