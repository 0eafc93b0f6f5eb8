//! Invariants of any data. A violation panics. The property tests and the fuzz target `payload` use them.

use std::borrow::Cow;
use std::io::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use pinlake_payload::{Records, decode, has_record};

/// The most bytes after decompression.
const LIMIT: usize = 1 << 16;

/// Any data is decoded within its limit, and split into records with places of their own. What surrounds data changes no
/// byte of it.
pub fn payload(data: &[u8]) {
    let Ok(text) = decode(data, LIMIT) else { return };
    assert!(text.len() <= LIMIT.max(data.len()), "{} bytes", text.len());
    for is_whole in [false, true] {
        split(&text, is_whole);
    }
    // Data that is already the text of records comes back from everything that may surround it.
    let is_plain = matches!(&text, Cow::Borrowed(same) if *same == data);
    if !is_plain || !has_record(data) || data.len() > LIMIT {
        return;
    }
    let compressed = gzip(data);
    let surrounded = [
        STANDARD.encode(data).into_bytes(),
        URL_SAFE_NO_PAD.encode(data).into_bytes(),
        STANDARD.encode(&compressed).into_bytes(),
        STANDARD.encode(STANDARD.encode(data)).into_bytes(),
        zstd::encode_all(data, 1).expect("memory does not fail"),
        compressed,
    ];
    let quoted = std::str::from_utf8(data).ok().and_then(|text| serde_json::to_vec(text).ok());
    for other in surrounded.iter().chain(&quoted) {
        let decoded = decode(other, LIMIT).expect("it is within the limit");
        assert_eq!(decoded, data, "{:?}", String::from_utf8_lossy(other));
    }
}

/// Splits a text into records.
fn split(text: &[u8], is_whole: bool) {
    let is_field = |name: &str| name == "ind";
    let records = match is_whole {
        true => Records::of_value(text, is_field),
        false => Records::of_lines(text, is_field),
    };
    let (mut before, mut bytes) = (None, 0);
    for record in records {
        let place = (record.line, record.element);
        assert!(before < Some(place), "{place:?} after {before:?}");
        before = Some(place);
        assert!(!record.bytes.is_empty() && (!is_whole || record.line == 0));
        if let Cow::Borrowed(record) = record.bytes {
            bytes += record.len();
        }
    }
    assert!(bytes <= text.len(), "records do not overlap");
    assert_eq!(before.is_none(), text.trim_ascii().is_empty(), "only blanks have no record");
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).and_then(|()| encoder.finish()).expect("memory does not fail")
}
