//! Splits a text into its records.

use std::borrow::Cow;

use pinlake_json::Lexer;

use crate::decode::find_inner;
use crate::wrapper::find_wrapped_array;

/// The most bytes of a record inside a JSON string or base64.
const MAX_INNER_BYTES: usize = 1 << 20;
/// What a record may decompress to: this many times its size, or [`MIN_INNER_BYTES`].
const MAX_INNER_RATIO: usize = 100;
const MIN_INNER_BYTES: usize = 256 << 10;
/// The most bytes that the records inside JSON strings and base64 of one text may have beyond their own size, unless the
/// caller sets less.
pub const MAX_INNER_TOTAL: usize = 16 << 20;

/// A record and its place in the text.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record<'a> {
    /// The line, from 0; 0 if the text is one value.
    pub line: u64,
    /// Which element of an array of this line it is, from 0.
    pub element: u64,
    /// The record.
    pub bytes: Cow<'a, [u8]>,
}

/// Iterates over the records of a text. `is_field` says whether a contract reads a field of this name; an object with
/// such a field is a record itself.
///
/// Texts that are not JSON are records too. Blank lines are not.
#[derive(Debug)]
pub struct Records<'a, F> {
    /// What is left of the text; `None` at the end.
    rest: Option<&'a [u8]>,
    is_whole: bool,
    line: u64,
    elements: Option<Elements<'a>>,
    /// The bytes that records inside strings may still have beyond their own size.
    inner_bytes: usize,
    is_field: F,
}

impl<'a, F: Fn(&str) -> bool> Records<'a, F> {
    /// The records of each line.
    pub fn of_lines(text: &'a [u8], is_field: F) -> Self {
        let inner_bytes = MAX_INNER_TOTAL;
        Self { rest: Some(text), is_whole: false, line: 0, elements: None, inner_bytes, is_field }
    }

    /// The records of a text that is one value, which may have several lines.
    pub fn of_value(text: &'a [u8], is_field: F) -> Self {
        Self { is_whole: true, ..Self::of_lines(text, is_field) }
    }

    /// Limits the bytes that the records inside JSON strings and base64 have beyond their own size. Strings with more
    /// stay strings.
    pub fn with_inner_bytes(self, limit: usize) -> Self {
        Self { inner_bytes: limit, ..self }
    }

    /// What is left of these bytes.
    pub fn remaining_inner_bytes(&self) -> usize {
        self.inner_bytes
    }

    /// A record of the text, or the object inside it.
    fn unwrapped(&mut self, element: u64, record: &'a [u8]) -> Record<'a> {
        let bytes = without_layers(record, self.inner_bytes.saturating_add(record.len()));
        if let Cow::Owned(inner) = &bytes {
            self.inner_bytes = self.inner_bytes.saturating_sub(inner.len().saturating_sub(record.len()));
        }
        Record { line: self.line - 1, element, bytes }
    }

    /// The next line that is not blank.
    fn next_line(&mut self) -> Option<&'a [u8]> {
        loop {
            let rest = self.rest?;
            let line = match memchr::memchr(b'\n', rest).filter(|_| !self.is_whole) {
                Some(end) => {
                    self.rest = Some(&rest[end + 1..]);
                    &rest[..end]
                }
                None => {
                    self.rest = None;
                    rest
                }
            };
            self.line += 1;
            if !line.trim_ascii().is_empty() {
                return Some(line);
            }
        }
    }
}

impl<'a, F: Fn(&str) -> bool> Iterator for Records<'a, F> {
    type Item = Record<'a>;

    fn next(&mut self) -> Option<Record<'a>> {
        loop {
            if let Some(elements) = &mut self.elements {
                let element = elements.passed;
                if let Some(bytes) = elements.next() {
                    return Some(self.unwrapped(element, bytes));
                }
                self.elements = None;
            }
            let bytes = self.next_line()?;
            self.elements = Elements::of_array(bytes)
                .or_else(|| Elements::of_array(find_wrapped_array(bytes, &self.is_field)?));
            if self.elements.is_none() {
                return Some(self.unwrapped(0, bytes));
            }
        }
    }
}

/// The object of at most `limit` bytes inside a JSON string or base64; other records as they are.
fn without_layers(record: &[u8], limit: usize) -> Cow<'_, [u8]> {
    match record.trim_ascii_start().first() {
        // Nearly all records, and values that are no text.
        Some(b'{' | b'[') | None => Cow::Borrowed(record),
        Some(_) => {
            let ratio = record.len().saturating_mul(MAX_INNER_RATIO).clamp(MIN_INNER_BYTES, MAX_INNER_BYTES);
            match find_inner(record, ratio.min(limit), 2) {
                Ok(Some(inner)) if is_object(&inner) => Cow::Owned(inner),
                _ => Cow::Borrowed(record),
            }
        }
    }
}

/// Whether a JSON string is the text of an object, or base64 of it.
pub fn is_record_text(string: &[u8]) -> bool {
    is_object(&without_layers(string, MAX_INNER_BYTES))
}

fn is_object(text: &[u8]) -> bool {
    let mut lexer = Lexer::new(text);
    lexer.peek() == Some(b'{') && lexer.skip_value().is_ok() && lexer.end().is_ok()
}

/// The elements of an array that is known to be well-formed.
#[derive(Debug)]
struct Elements<'a> {
    text: &'a [u8],
    lexer: Lexer<'a>,
    passed: u64,
}

impl<'a> Elements<'a> {
    /// The elements of `text`, if it is an array of records: its first element is an object, or the text of one.
    fn of_array(text: &'a [u8]) -> Option<Self> {
        let mut lexer = Lexer::new(text);
        if lexer.peek() != Some(b'[') {
            return None;
        }
        let mut first = lexer.clone();
        lexer.skip_value().ok()?;
        lexer.end().ok()?;
        first.advance(1);
        let elements = Self { text, lexer: first, passed: 0 };
        let mut ahead = Self { lexer: elements.lexer.clone(), ..elements };
        let is_record = is_object(&without_layers(ahead.next()?, MAX_INNER_BYTES));
        is_record.then_some(elements)
    }
}

impl<'a> Iterator for Elements<'a> {
    type Item = &'a [u8];

    fn next(&mut self) -> Option<&'a [u8]> {
        if self.lexer.peek() == Some(b',') {
            self.lexer.advance(1);
        }
        // The closing bracket is no value.
        self.lexer.peek();
        let start = self.lexer.offset();
        self.lexer.skip_value().ok()?;
        self.passed += 1;
        Some(&self.text[start..self.lexer.offset()])
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    fn records(text: &str) -> Vec<(u64, u64, String)> {
        let record = |record: Record<'_>| {
            (record.line, record.element, String::from_utf8_lossy(&record.bytes).into_owned())
        };
        Records::of_lines(text.as_bytes(), |name| name == "ind").map(record).collect()
    }

    fn texts(text: &str) -> Vec<String> {
        records(text).into_iter().map(|(_, _, text)| text).collect()
    }

    #[test]
    fn lines_and_arrays_are_split() {
        assert_eq!(texts("{\"a\":1}"), ["{\"a\":1}"]);
        assert_eq!(texts("{\"a\":1}\n\n {\"a\":2}\r\n"), ["{\"a\":1}", " {\"a\":2}\r"]);
        assert_eq!(texts("[ {\"a\": [1]} , 7,null,[{}] ]"), ["{\"a\": [1]}", "7", "null", "[{}]"]);
        assert_eq!(
            texts("[\"{\\\"a\\\":1}\", \"eyJhIjoyfQ==\", \"x\"]"),
            ["{\"a\":1}", "{\"a\":2}", "\"x\""]
        );
        let places = [(0, 0, "{}"), (2, 0, "{\"a\":1}"), (2, 1, "{\"a\":2}"), (3, 0, "x")];
        let places = places.map(|(line, element, text)| (line, element, text.to_owned()));
        assert_eq!(records("{}\n\n[{\"a\":1},{\"a\":2}]\nx\n"), places);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, rng_seed: RngSeed::Fixed(1), ..ProptestConfig::default() })]

        #[test]
        fn lines_and_an_array_of_objects_give_the_same_records(numbers in proptest::collection::vec(any::<u32>(), 1..9)) {
            let objects: Vec<String> = numbers.iter().map(|number| format!("{{\"a\":[{number},\"]\"]}}")).collect();
            for text in [objects.join("\n"), format!("[{}]", objects.join(" , ")), format!("{{\"value\":[{}]}}", objects.join(","))] {
                prop_assert_eq!(&texts(&text), &objects);
            }
        }

        #[test]
        fn any_bytes_are_split_without_a_panic(tokens in proptest::collection::vec(proptest::sample::select(vec![
            "{", "}", "[", "]", ",", ":", "\"", "\"value\"", "\\", "\n", "1", "e30=", "{}", "{\"Data\":[{}]}", "é", "\u{0}",
        ]), 0..12)) {
            let text = tokens.concat();
            let decoded = crate::decode(text.as_bytes(), 1 << 16).unwrap();
            let count = Records::of_lines(&decoded, |_| false).count();
            prop_assert!(count <= decoded.len());
        }
    }

    #[test]
    fn what_strings_decompress_to_is_bounded() {
        use base64::Engine as _;
        use std::io::Write as _;
        let object = format!("{{\"a\":\"{}\"}}", " ".repeat(200_000));
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(object.as_bytes()).unwrap();
        let compressed = base64::engine::general_purpose::STANDARD.encode(encoder.finish().unwrap());
        let text = format!("[{}]", vec![format!("\"{compressed}\""); 200].join(","));
        let never: fn(&str) -> bool = |_| false;
        let total =
            |records: Records<'_, fn(&str) -> bool>| records.map(|record| record.bytes.len()).sum::<usize>();
        let default = total(Records::of_value(text.as_bytes(), never));
        assert!(default > 80 * object.len() && default < MAX_INNER_TOTAL + text.len(), "{default}");
        let limited = total(Records::of_lines(text.as_bytes(), never).with_inner_bytes(3 * object.len()));
        assert!(limited > 2 * object.len() && limited < 3 * object.len() + text.len(), "{limited}");
    }

    #[test]
    fn other_values_are_one_record() {
        for text in [
            "[]",
            "[1,{}]",
            "[[{}]]",
            "[{}",
            "[{}] x",
            "[{},]",
            "7",
            "\"x\"",
            "nope",
            "{\"a\":[{}]}",
            "[\"x\"]",
        ] {
            assert_eq!(texts(text), [text]);
        }
        assert!(texts("").is_empty() && texts(" \n\n").is_empty());
        let value = "[{\"a\":1},\n{\"a\":2}\n]\n";
        let records = Records::of_value(value.as_bytes(), |_| false);
        assert_eq!(records.map(|record| record.element).collect::<Vec<_>>(), [0, 1]);
    }

    #[test]
    fn strings_and_base64_of_one_object_are_that_object() {
        assert_eq!(texts("\"{\\\"a\\\":1}\"\neyJhIjoyfQ==\n"), ["{\"a\":1}", "{\"a\":2}"]);
    }

    #[test]
    fn arrays_in_wrappers_are_split() {
        for text in [
            r#"{"value": [{"a":1}, {"a":2}]}"#,
            r#"{"StreamName":"s","Data":[{"a":1},{"a":2}],"PartitionKey":"p"}"#,
            r#"{"records":[{"a":1},{"a":2}]}"#,
        ] {
            assert_eq!(texts(text), [r#"{"a":1}"#, r#"{"a":2}"#], "{text}");
        }
        for text in [
            r#"{"ind":1,"value":[{"a":1}]}"#,
            r#"{"value":[{"a":1}],"ind":1}"#,
            r#"{"value":[1]}"#,
            r#"{"value":[{"a":1}],"data":[{}]}"#,
            r#"{"value":[{"a":1}]"#,
            r#"{"other":[{"a":1}]}"#,
        ] {
            assert_eq!(texts(text), [text]);
        }
    }
}
