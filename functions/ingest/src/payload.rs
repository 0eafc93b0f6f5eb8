//! Decodes the `value` or `Data` of a record to JSON lines.
//!
//! Clients of the old APIs send the record itself, several records in an array, or the bytes of a stream record as text
//! or as base64: one record, several lines, or gzip of these. The bytes give the same records as on the stream, because
//! the cleaner uses the same functions: [`pinlake_payload`]. Any other string stays a JSON string, even the empty one,
//! which the old API accepted as well. Such a line matches no contract and goes to quarantine: an acknowledged record
//! does not disappear.

use std::borrow::Cow;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use pinlake_payload::{DecodeError, Records};

use crate::body::{MAX_TEXT_BYTES, max_decompressed_bytes};
use crate::error::{ApiError, ParseError};
use crate::json_reader::JsonReader;
use crate::packing::{LineSink, RecordTooLarge};

const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Decodes the values of one request. It bounds what they decompress to.
#[derive(Debug)]
pub struct PayloadDecoder {
    /// The bytes to which the values that follow may decompress beyond their own size.
    remaining: usize,
}

impl Default for PayloadDecoder {
    fn default() -> Self {
        Self { remaining: MAX_TEXT_BYTES }
    }
}

impl PayloadDecoder {
    /// Adds the records of the next value of `reader` to `lines`: at least one.
    ///
    /// # Errors
    /// If the request's own JSON is malformed, a record is too large, or a value decompresses to too much. A string
    /// with malformed JSON inside stays a string.
    pub fn copy_value(
        &mut self,
        reader: &mut JsonReader<'_>,
        lines: &mut impl LineSink,
    ) -> Result<(), ParseError> {
        if reader.is_array_of_records() {
            return reader.read_elements(|reader| self.copy_element(reader, lines));
        }
        self.copy_element(reader, lines)
    }

    fn copy_element(
        &mut self,
        reader: &mut JsonReader<'_>,
        lines: &mut impl LineSink,
    ) -> Result<(), ParseError> {
        if reader.peek() != Some(b'"') {
            return lines.add_line(|line| Ok(reader.copy_value(line)?));
        }
        let mut string = Vec::new();
        reader.copy_value(&mut string)?;
        // Half a surrogate pair is in no text.
        if let Ok(text) = serde_json::from_slice::<String>(&string)
            && self.copy_records(text.as_bytes(), lines)?
        {
            return Ok(());
        }
        add_text(lines, &string)
    }

    /// Adds the records of the next value of `reader`, which should be null or base64 of a record's bytes. Bytes
    /// without records stay a base64 string, which goes to quarantine, unless they are one JSON value. Returns whether
    /// the value was base64 or null.
    ///
    /// # Errors
    /// As [`Self::copy_value`].
    pub fn copy_base64_value(
        &mut self,
        reader: &mut JsonReader<'_>,
        lines: &mut impl LineSink,
    ) -> Result<bool, ParseError> {
        let first = reader.peek();
        let mut value = Vec::new();
        reader.copy_value(&mut value)?;
        if first == Some(b'n') {
            add_text(lines, &value)?;
            return Ok(true);
        }
        let bytes = serde_json::from_slice::<String>(&value).ok().and_then(|text| BASE64.decode(text).ok());
        let Some(bytes) = bytes else {
            return Ok(false);
        };
        if !self.copy_records(&bytes, lines)? {
            add_text(lines, &compact_text(&bytes).unwrap_or(value))?;
        }
        Ok(true)
    }

    /// Adds the records of bytes that a producer would write to the stream. Returns false if there are none.
    fn copy_records(&mut self, bytes: &[u8], lines: &mut impl LineSink) -> Result<bool, ParseError> {
        let limit = max_decompressed_bytes(bytes.len()).min(self.remaining.saturating_add(bytes.len()));
        let text = match pinlake_payload::decode(bytes, limit) {
            Ok(text) => text,
            Err(DecodeError::TooLarge(limit)) => {
                let problem = format!("a value decompresses to more than {limit} bytes");
                return Err(ApiError::TooLarge(problem).into());
            }
            Err(DecodeError::Damaged(_)) => return Ok(false),
        };
        self.remaining = self.remaining.saturating_sub(text.len().saturating_sub(bytes.len()));
        if !pinlake_payload::has_record(&text) {
            return Ok(false);
        }
        // The cleaner opens the objects around arrays, because it knows the contracts.
        let is_field = |_: &str| true;
        let records = match pinlake_payload::is_container(&text) {
            true => Records::of_value(&text, is_field),
            false => Records::of_lines(&text, is_field),
        };
        let mut records = records.with_inner_bytes(self.remaining);
        while let Some(record) = records.next() {
            self.remaining = records.remaining_inner_bytes();
            // A malformed line stays as it is, as on the stream.
            match compact_text(&record.bytes) {
                Some(line) => add_text(lines, &line)?,
                None => add_text(lines, &on_one_line(record.bytes.trim_ascii()))?,
            }
        }
        Ok(true)
    }
}

fn add_text(lines: &mut impl LineSink, text: &[u8]) -> Result<(), ParseError> {
    lines.add_line(|line| {
        line.extend_from_slice(text);
        Ok(())
    })
}

/// A record that is not JSON, on one line: its line feeds stand between tokens, because a value of several lines is a
/// record only if its brackets match. A blank before bytes that are no text keeps the cleaner from taking them for the
/// beginning of compressed data.
fn on_one_line(record: &[u8]) -> Cow<'_, [u8]> {
    let is_text = std::str::from_utf8(record).is_ok();
    if is_text && memchr::memchr(b'\n', record).is_none() {
        return Cow::Borrowed(record);
    }
    let blank = (!is_text).then_some(b' ');
    blank.into_iter().chain(record.iter().map(|byte| if *byte == b'\n' { b' ' } else { *byte })).collect()
}

/// A text that is one JSON value, in compact form.
fn compact_text(text: &[u8]) -> Option<Vec<u8>> {
    std::str::from_utf8(text).ok()?;
    let mut reader = JsonReader::new(text);
    let mut line = Vec::with_capacity(text.len());
    reader.copy_value(&mut line).ok()?;
    reader.expect_end().ok()?;
    Some(line)
}

/// The lines of one record whose route is not known yet. It is reused for all records of a request.
#[derive(Debug, Default)]
pub struct PendingLines {
    text: Vec<u8>,
    ends: Vec<usize>,
}

impl PendingLines {
    /// Whether there are no lines.
    pub fn is_empty(&self) -> bool {
        self.ends.is_empty()
    }

    /// Moves the lines to `lines`.
    ///
    /// # Errors
    /// If a line is too large.
    pub fn move_to(&mut self, lines: &mut impl LineSink) -> Result<(), RecordTooLarge> {
        let mut start = 0;
        for end in self.ends.drain(..) {
            lines.add_line(|line| {
                line.extend_from_slice(&self.text[start..end]);
                Ok::<(), RecordTooLarge>(())
            })?;
            start = end;
        }
        self.text.clear();
        Ok(())
    }
}

impl LineSink for PendingLines {
    fn add_line<E: From<RecordTooLarge>>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        write(&mut self.text)?;
        self.ends.push(self.text.len());
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn lines(value: &str) -> Vec<String> {
        try_lines(value).unwrap()
    }

    fn try_lines(value: &str) -> Result<Vec<String>, ParseError> {
        let mut pending = PendingLines::default();
        PayloadDecoder::default().copy_value(&mut JsonReader::new(value.as_bytes()), &mut pending)?;
        let mut packer = crate::packing::Packer::new(None, "r");
        pending.move_to(&mut packer)?;
        let packed = packer.finish().records;
        let text: Vec<String> =
            packed.into_iter().map(|record| String::from_utf8(record.data).unwrap()).collect();
        Ok(text.iter().flat_map(|text| text.split('\n')).map(str::to_owned).collect())
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn encode(bytes: impl AsRef<[u8]>) -> String {
        format!("\"{}\"", base64::engine::general_purpose::STANDARD.encode(bytes))
    }

    #[test]
    fn records_in_strings_and_base64_are_decoded() {
        let row = "{\"ind\":1,\"t\":\"é\\\"\"}";
        let text = "{\"ind\": 1, \"t\": \"\\u00e9\\\"\"}";
        for value in [
            text.to_owned(),
            serde_json::to_string("{\"ind\": 1,\n\"t\": \"é\\\"\"}\n").unwrap(),
            encode(text),
            encode(text).replace('=', ""),
            encode(format!("{text}\n")),
            encode(gzip(text.as_bytes())),
            format!("[{text}]"),
            format!("[{}]", encode(text)),
        ] {
            assert_eq!(lines(&value), [row], "{value}");
        }
    }

    #[test]
    fn several_records_are_several_lines() {
        let two = ["{\"a\":1}", "{\"a\":2}"];
        let text = "{\"a\": 1}\n\n{\"a\": 2}\n";
        for value in [
            "[{\"a\": 1}, {\"a\": 2}]".to_owned(),
            " \n[ {\"a\": 1} , {\"a\": 2} ] ".to_owned(),
            encode("[{\"a\": 1}, {\"a\": 2}]"),
            serde_json::to_string(text).unwrap(),
            encode(text),
            encode(gzip(text.as_bytes())),
            serde_json::to_string(&two).unwrap(),
        ] {
            assert_eq!(lines(&value), two, "{value}");
        }
        assert_eq!(lines(&encode("{\"a\": 1}\n{broken \n[1]")), ["{\"a\":1}", "{broken", "[1]"]);
        assert_eq!(lines("[{\"a\": 1}, 2, \"x\"]"), ["{\"a\":1}", "2", "\"x\""]);
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
            "[]",
            "\"{broken\"",
            "\"{} {}\"",
            "\"\\ud800\"",
            "[\"x\"]",
            "[[{}]]",
        ] {
            assert_eq!(lines(value), [value]);
        }
        // base64 of text that is not JSON, of bytes that are not UTF-8, of a number
        for value in ["\"aGVsbG8=\"", "\"/////w==\"", "\"MTI=\""] {
            assert_eq!(lines(value), [value]);
        }
    }

    #[test]
    fn what_values_decompress_to_is_bounded() {
        let text = format!("{{\"a\":\"{}\"}}", "x".repeat(900_000));
        let bomb = encode(gzip(text.as_bytes()));
        assert!(matches!(try_lines(&bomb), Err(ParseError::Rejected(ApiError::TooLarge(_)))));
        let text = format!("{{\"a\":\"{}\"}}", "x".repeat(200_000));
        let value = encode(gzip(text.as_bytes()));
        let mut decoder = PayloadDecoder::default();
        let mut results = (0..200).map(|_| {
            decoder.copy_value(&mut JsonReader::new(value.as_bytes()), &mut PendingLines::default()).is_ok()
        });
        assert!(results.next().unwrap() && !results.all(|is_ok| is_ok));
    }
}
