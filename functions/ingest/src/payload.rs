//! What a client of the old APIs put into `value` or `Data`, as one line.
//!
//! Clients send the row itself, the row as a string of JSON, or base64 of that. The last two are undone. Any
//! other string is a value like any other and stays a JSON string: even the empty one, for which the old API
//! put `""` on the stream and answered 200. Such a line fits no contract and ends in quarantine: what was
//! acknowledged does not vanish.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::compact::{Malformed, Reader};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Appends the next value of `reader` to `line`; of a string that holds an object or an array, what it holds.
///
/// # Errors
/// When the client's own text is malformed. A string with bad JSON inside is not an error: it stays a string.
pub fn copy(reader: &mut Reader<'_>, line: &mut Vec<u8>) -> Result<(), Malformed> {
    let start = line.len();
    let is_string = reader.peek() == Some(b'"');
    reader.value(line)?;
    if is_string && let Some(held) = held_by(&line[start..]) {
        line.truncate(start);
        line.extend_from_slice(&held);
    }
    Ok(())
}

/// Appends the next value of `reader`, which should be base64 of a record's bytes, or null. Bytes that are one JSON value
/// are appended as that value; all others, which are for quarantine, stay the string that they came in. Whether it was
/// base64 or null.
///
/// # Errors
/// When the client's own text is malformed.
pub fn copy_base64(reader: &mut Reader<'_>, line: &mut Vec<u8>) -> Result<bool, Malformed> {
    let start = line.len();
    let first = reader.peek();
    reader.value(line)?;
    if first == Some(b'n') {
        return Ok(true);
    }
    let bytes =
        serde_json::from_slice::<String>(&line[start..]).ok().and_then(|text| BASE64.decode(text).ok());
    let Some(bytes) = bytes else {
        return Ok(false);
    };
    if let Some(held) = std::str::from_utf8(&bytes).ok().and_then(|text| whole(text.as_bytes())) {
        line.truncate(start);
        line.extend_from_slice(&held);
    }
    Ok(true)
}

/// The compact object or array that a JSON string holds, as text or as base64 of text.
fn held_by(string: &[u8]) -> Option<Vec<u8>> {
    let text: String = serde_json::from_slice(string).ok()?;
    let text = text.trim();
    compound(text.as_bytes()).or_else(|| {
        let bytes = BASE64.decode(text).ok()?;
        std::str::from_utf8(&bytes).ok()?;
        compound(&bytes)
    })
}

fn compound(text: &[u8]) -> Option<Vec<u8>> {
    matches!(Reader::new(text).peek(), Some(b'{' | b'[')).then(|| whole(text)).flatten()
}

/// The compact value that a text is.
fn whole(text: &[u8]) -> Option<Vec<u8>> {
    let mut reader = Reader::new(text);
    let mut line = Vec::with_capacity(text.len());
    reader.value(&mut line).ok()?;
    reader.end().ok()?;
    Some(line)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(value: &str) -> String {
        let mut out = b"before ".to_vec();
        copy(&mut Reader::new(value.as_bytes()), &mut out).unwrap();
        String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_owned()
    }

    #[test]
    fn rows_come_out_of_their_wrappings() {
        let row = "{\"ind\":1,\"t\":\"é\\\"\"}";
        assert_eq!(line("{\"ind\": 1, \"t\": \"\\u00e9\\\"\"}"), row);
        assert_eq!(line(&serde_json::to_string("{\"ind\": 1,\n\"t\": \"é\\\"\"}\n").unwrap()), row);
        let text = "{\"ind\": 1, \"t\": \"\\u00e9\\\"\"}";
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        assert_eq!(line(&format!("\"{encoded}\"")), row);
        assert_eq!(line(&format!("\"{}\\n\"", encoded.trim_end_matches('='))), row);
    }

    #[test]
    fn anything_else_stays_what_it_is() {
        for value in [
            "\"\"",
            "\"abc\"",
            "\"12\"",
            "12",
            "null",
            "true",
            "[1]",
            "\"{broken\"",
            "\"{} {}\"",
            "\"\\ud800\"",
        ] {
            assert_eq!(line(value), value);
        }
        // base64 of something that is no JSON, and of bytes that are no text
        for value in ["\"aGVsbG8=\"", "\"/////w==\"", "\"MTI=\""] {
            assert_eq!(line(value), value);
        }
    }
}
