//! Removes what surrounds the text of records: compression, base64, JSON strings.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use pinlake_json::Lexer;

use crate::decompress::{DecodeError, decompress};

const CONFIG: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, CONFIG);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, CONFIG);

/// The most layers of base64 and JSON strings that are removed. Clients encode once too often, not more.
const MAX_LAYERS: u32 = 3;

/// Returns the text of the records in `data`: decompressed, and without the base64 or the JSON string around it. Data
/// in which no JSON object or array is found that way is only decompressed.
///
/// # Errors
/// If the data is compressed and damaged, or has more than `max_bytes` after decompression.
pub fn decode(data: &[u8], max_bytes: usize) -> Result<Cow<'_, [u8]>, DecodeError> {
    let text = decompress(data, max_bytes)?;
    Ok(match find_inner(&text, max_bytes, MAX_LAYERS)? {
        Some(inner) => Cow::Owned(inner),
        None => text,
    })
}

/// The text of records inside a JSON string or base64; `None` if there is none.
pub(crate) fn find_inner(text: &[u8], max_bytes: usize, layers: u32) -> Result<Option<Vec<u8>>, DecodeError> {
    let text = text.trim_ascii();
    if layers == 0 || matches!(text.first(), None | Some(b'{' | b'[')) {
        return Ok(None);
    }
    let inner = match text.first() {
        Some(b'"') => serde_json::from_slice::<String>(text).ok().map(String::into_bytes),
        _ => decode_base64(text),
    };
    let Some(inner) = inner.filter(|inner| !inner.is_empty()) else { return Ok(None) };
    let decompressed = match decompress(&inner, max_bytes) {
        Ok(decompressed) => decompressed,
        Err(DecodeError::TooLarge(limit)) => return Err(DecodeError::TooLarge(limit)),
        // Bytes that look compressed by chance.
        Err(DecodeError::Damaged(_)) => return Ok(None),
    };
    if has_record(&decompressed) {
        return Ok(Some(decompressed.into_owned()));
    }
    find_inner(&decompressed, max_bytes, layers - 1)
}

/// Whether a text, or one of its lines, is a JSON object or array.
pub fn has_record(text: &[u8]) -> bool {
    is_container(text) || text.split(|byte| *byte == b'\n').any(is_container)
}

/// Whether a text is one JSON object or array.
pub fn is_container(text: &[u8]) -> bool {
    let mut lexer = Lexer::new(text);
    matches!(lexer.peek(), Some(b'{' | b'[')) && lexer.skip_value().is_ok() && lexer.end().is_ok()
}

/// Decodes base64 of either alphabet, with or without padding, also in lines (MIME), and several of them in a row: API
/// Gateway's mapping templates append the base64 of a line feed.
fn decode_base64(text: &[u8]) -> Option<Vec<u8>> {
    let dense: Cow<'_, [u8]> = match text.iter().any(u8::is_ascii_whitespace) {
        true => Cow::Owned(text.iter().copied().filter(|byte| !byte.is_ascii_whitespace()).collect()),
        false => Cow::Borrowed(text),
    };
    let engine = if memchr::memchr2(b'-', b'_', &dense).is_some() { &URL_SAFE } else { &STANDARD };
    let mut out = Vec::with_capacity(dense.len() / 4 * 3 + 3);
    let mut rest = &dense[..];
    while !rest.is_empty() {
        // A piece ends behind its padding.
        let padding = memchr::memchr(b'=', rest).unwrap_or(rest.len());
        let end = padding + rest[padding..].iter().take_while(|byte| **byte == b'=').count();
        engine.decode_vec(&rest[..end], &mut out).ok()?;
        rest = &rest[end..];
    }
    Some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const RECORD: &str = "{\"ind\": 1, \"t\": \"é\\\"??>>\"}";

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn decoded(data: impl AsRef<[u8]>) -> String {
        String::from_utf8_lossy(&decode(data.as_ref(), 1 << 20).unwrap()).into_owned()
    }

    #[test]
    fn compression_base64_and_strings_are_removed() {
        use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
        let lines = format!("{RECORD}\n{RECORD}\nbroken\n");
        for text in [RECORD, "[{\"a\":1}]", "\n {}\n", &lines] {
            let encoded = STANDARD.encode(text);
            let in_lines: String = encoded
                .as_bytes()
                .chunks(19)
                .fold(String::new(), |all, line| format!("{all}{}\r\n", String::from_utf8_lossy(line)));
            for data in [
                text.as_bytes().to_vec(),
                gzip(text.as_bytes()),
                zstd::encode_all(text.as_bytes(), 3).unwrap(),
                encoded.clone().into_bytes(),
                URL_SAFE_NO_PAD.encode(text).into_bytes(),
                in_lines.into_bytes(),
                STANDARD.encode(&encoded).into_bytes(),
                STANDARD.encode(gzip(text.as_bytes())).into_bytes(),
                gzip(encoded.as_bytes()),
                serde_json::to_vec(text).unwrap(),
                serde_json::to_vec(&encoded).unwrap(),
            ] {
                assert_eq!(decoded(&data), text, "{}", String::from_utf8_lossy(&data));
            }
            // Mapping templates write the base64 of the text, then that of a line feed.
            let with_line_feed = format!("{encoded}{}", STANDARD.encode("\n"));
            assert_eq!(decoded(with_line_feed), format!("{text}\n"));
        }
    }

    #[test]
    fn other_data_is_unchanged() {
        // Also base64 of text, of a number, of bytes that are not UTF-8, and of half a gzip stream.
        for data in [
            "", " ", "abc", "12", "\"x\"", "{broken", "null", "aGVsbG8=", "MTI=", "/////w==", "H4sIAAAA",
            "=", "a==b",
        ] {
            assert_eq!(decoded(data), data);
        }
    }

    #[test]
    fn a_bomb_inside_base64_is_too_large() {
        let bomb = STANDARD.encode(gzip(&vec![b' '; 2 << 20]));
        assert_eq!(decode(bomb.as_bytes(), 1 << 20), Err(DecodeError::TooLarge(1 << 20)));
    }
}
