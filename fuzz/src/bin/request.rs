//! Any body, posted: the first byte says where and as what.
#![no_main]

#[path = "../../../functions/ingest/tests/hostile/laws.rs"]
mod laws;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let [how, body @ ..] = input else { return };
    let how = usize::from(*how);
    let place = laws::PLACES[how % laws::PLACES.len()];
    let media_type = laws::TYPES[how / 5 % laws::TYPES.len()];
    let encoding = laws::ENCODINGS[how / 25 % laws::ENCODINGS.len()];
    laws::request(place, media_type, encoding, body);
    if let Ok(json) = std::str::from_utf8(body) {
        laws::value(json);
    }
});
