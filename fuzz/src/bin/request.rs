//! Any body, posted: the first byte says where and as what.
#![no_main]

#[path = "../../../functions/ingest/tests/hostile/invariants.rs"]
mod invariants;

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let [how, body @ ..] = input else { return };
    let how = usize::from(*how);
    let place = invariants::PLACES[how % invariants::PLACES.len()];
    let media_type = invariants::TYPES[how / 5 % invariants::TYPES.len()];
    let encoding = invariants::ENCODINGS[how / 25 % invariants::ENCODINGS.len()];
    invariants::request(place, media_type, encoding, body);
    if let Ok(json) = std::str::from_utf8(body) {
        invariants::value(json);
    }
});
