//! Decodes the `value` or `Data` of a record to one JSON line.
//!
//! Clients of the old APIs send the record itself, the record as a JSON string, or base64 of that. The last two are
//! decoded. Any other string stays a JSON string, even the empty one, which the old API accepted as well. Such a line
//! matches no contract and goes to quarantine: an acknowledged record does not disappear.

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use crate::compact::{Malformed, Reader};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Appends the next value of `reader` to `line`. If it is a string that contains an object or an array, as JSON or as
/// base64 of JSON, appends that instead.
///
/// # Errors
/// If the request's own JSON is malformed. A string with malformed JSON inside stays a string.
pub fn copy_value(reader: &mut Reader<'_>, line: &mut Vec<u8>) -> Result<(), Malformed> {
    let start = line.len();
    let is_string = reader.peek() == Some(b'"');
    reader.value(line)?;
    if is_string && let Some(decoded) = decode_string(&line[start..]) {
        line.truncate(start);
        line.extend_from_slice(&decoded);
    }
    Ok(())
}

/// Appends the next value of `reader`, which should be null or base64 of a record's bytes. Bytes that are one JSON
/// value are appended as that value; other bytes stay a base64 string, which goes to quarantine. Returns whether the
/// value was base64 or null.
///
/// # Errors
/// If the request's own JSON is malformed.
pub fn copy_base64_value(reader: &mut Reader<'_>, line: &mut Vec<u8>) -> Result<bool, Malformed> {
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
    if let Some(decoded) = std::str::from_utf8(&bytes).ok().and_then(|text| compact_text(text.as_bytes())) {
        line.truncate(start);
        line.extend_from_slice(&decoded);
    }
    Ok(true)
}

/// The compact object or array inside a JSON string, as JSON or as base64 of JSON.
fn decode_string(string: &[u8]) -> Option<Vec<u8>> {
    let text: String = serde_json::from_slice(string).ok()?;
    let text = text.trim();
    compact_container(text.as_bytes()).or_else(|| {
        let bytes = BASE64.decode(text).ok()?;
        std::str::from_utf8(&bytes).ok()?;
        compact_container(&bytes)
    })
}

/// A text that is an object or an array, in compact form.
fn compact_container(text: &[u8]) -> Option<Vec<u8>> {
    matches!(Reader::new(text).peek(), Some(b'{' | b'[')).then(|| compact_text(text)).flatten()
}

/// A text that is one JSON value, in compact form.
fn compact_text(text: &[u8]) -> Option<Vec<u8>> {
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
        copy_value(&mut Reader::new(value.as_bytes()), &mut out).unwrap();
        String::from_utf8(out).unwrap().strip_prefix("before ").unwrap().to_owned()
    }

    #[test]
    fn records_in_strings_and_base64_are_decoded() {
        let row = "{\"ind\":1,\"t\":\"é\\\"\"}";
        assert_eq!(line("{\"ind\": 1, \"t\": \"\\u00e9\\\"\"}"), row);
        assert_eq!(line(&serde_json::to_string("{\"ind\": 1,\n\"t\": \"é\\\"\"}\n").unwrap()), row);
        let text = "{\"ind\": 1, \"t\": \"\\u00e9\\\"\"}";
        let encoded = base64::engine::general_purpose::STANDARD.encode(text);
        assert_eq!(line(&format!("\"{encoded}\"")), row);
        assert_eq!(line(&format!("\"{}\\n\"", encoded.trim_end_matches('='))), row);
    }

    #[test]
    fn other_values_are_unchanged() {
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
        // base64 of text that is not JSON, of bytes that are not UTF-8, of a number
        for value in ["\"aGVsbG8=\"", "\"/////w==\"", "\"MTI=\""] {
            assert_eq!(line(value), value);
        }
    }
}
