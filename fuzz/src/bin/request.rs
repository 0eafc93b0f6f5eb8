//! Sends any body. The first byte chooses the endpoint, the Content-Type and the Content-Encoding.
#![no_main]

#[path = "../../../functions/ingest/tests/hostile/invariants.rs"]
mod invariants;

use invariants::{ENCODINGS, ENDPOINTS, MEDIA_TYPES};

libfuzzer_sys::fuzz_target!(|input: &[u8]| {
    let [selector, body @ ..] = input else { return };
    let selector = usize::from(*selector);
    let endpoint = ENDPOINTS[selector % ENDPOINTS.len()];
    let media_type = MEDIA_TYPES[selector / ENDPOINTS.len() % MEDIA_TYPES.len()];
    let encoding = ENCODINGS[selector / (ENDPOINTS.len() * MEDIA_TYPES.len()) % ENCODINGS.len()];
    invariants::check_request(endpoint, media_type, encoding, body);
    invariants::check_data(body);
    if let Ok(json) = std::str::from_utf8(body) {
        invariants::check_value(json);
    }
});
