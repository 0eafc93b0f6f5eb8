//! Checks JSON text and copies it in compact form, in one pass.
//!
//! The output is the same value without white space between tokens. The order of keys and the text of numbers are
//! unchanged; `\uXXXX` becomes UTF-8 where the character may appear in JSON unescaped. Control characters and unpaired
//! surrogates stay escaped, so **the output never contains a line feed**: a value is a line. The output is about a
//! third smaller than what Python clients send.
//!
//! The grammar is that of RFC 8259: `NaN`, trailing commas and unescaped control characters are rejected, and so is
//! nesting beyond [`MAX_DEPTH`], which also bounds the recursion of the reader. The lexer is [`pinlake_json`].
//!
//! ```
//! use ingest::json_reader::JsonReader;
//!
//! let mut line = Vec::new();
//! let mut reader = JsonReader::new(br#"{ "title" : "caf\u00e9\n", "n": 1.50 }"#);
//! reader.copy_value(&mut line).unwrap();
//! reader.expect_end().unwrap();
//! assert_eq!(line, r#"{"title":"café\n","n":1.50}"#.as_bytes());
//! ```

use std::fmt;

use pinlake_json::{Lexer, RunEnd, ValueKind};
pub use pinlake_json::{MAX_DEPTH, Malformed};

/// A place in the client's text, as an editor shows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Position {
    /// The position of byte `at` of `text`, which must be UTF-8 up to there.
    pub fn from_offset(text: &[u8], at: usize) -> Self {
        let before = &text[..at.min(text.len())];
        let line_start = before.iter().rposition(|&b| b == b'\n').map_or(0, |feed| feed + 1);
        let line = 1 + before.iter().filter(|&&b| b == b'\n').count();
        // Bytes of the form 10xxxxxx continue a character.
        let column = 1 + before[line_start..].iter().filter(|&&b| b & 0xC0 != 0x80).count();
        Self { line, column }
    }
}

impl fmt::Display for Position {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}", self.line, self.column)
    }
}

/// Receives the compact text.
pub trait Sink {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// A sink that drops everything: for values that are only checked.
pub struct Discard;

impl Sink for Discard {
    fn put(&mut self, _: &[u8]) {}
}

/// Reads JSON text, and copies values of it in compact form.
#[derive(Clone)]
pub struct JsonReader<'a> {
    lexer: Lexer<'a>,
}

impl<'a> JsonReader<'a> {
    /// Reads from the beginning of `text`, which must be UTF-8.
    pub fn new(text: &'a [u8]) -> Self {
        Self { lexer: Lexer::new(text) }
    }

    /// Returns the first byte of the next token.
    pub fn peek(&mut self) -> Option<u8> {
        self.lexer.peek()
    }

    /// Whether the next value is an array that begins with an object, or with the text of one. Nothing is read.
    pub fn is_array_of_records(&self) -> bool {
        let mut lexer = self.lexer.clone();
        if lexer.peek() != Some(b'[') {
            return false;
        }
        lexer.advance(1);
        match lexer.peek() {
            Some(b'{') => true,
            Some(b'"') => {
                let start = lexer.rest();
                let before = lexer.offset();
                let is_string = lexer.skip_value().is_ok();
                is_string && pinlake_payload::is_record_text(&start[..lexer.offset() - before])
            }
            _ => false,
        }
    }

    /// Checks that only white space follows.
    ///
    /// # Errors
    /// If anything else follows.
    pub fn expect_end(&mut self) -> Result<(), Malformed> {
        self.lexer.end()
    }

    /// Copies the next value.
    ///
    /// # Errors
    /// If it is malformed, or nested deeper than [`MAX_DEPTH`].
    pub fn copy_value(&mut self, out: &mut impl Sink) -> Result<(), Malformed> {
        copy_value(&mut self.lexer, out)
    }

    /// Reads the object that comes next. `member` gets each name and must read the value.
    ///
    /// # Errors
    /// If the object is malformed, or if `member` returns an error.
    pub fn read_members<E: From<Malformed>>(
        &mut self,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut name = Vec::new();
        self.lexer.object(|lexer, _| {
            name.clear();
            copy_name(lexer, &mut name)?;
            let unquoted = &name[1..name.len() - 1];
            // Copies four words, because the callback takes a `JsonReader`.
            let mut reader = JsonReader { lexer: lexer.clone() };
            member(&mut reader, std::str::from_utf8(unquoted).unwrap_or_default())?;
            *lexer = reader.lexer;
            Ok(())
        })
    }

    /// Reads the array that comes next. `element` must read the value.
    ///
    /// # Errors
    /// If the array is malformed, or if `element` returns an error.
    pub fn read_elements<E: From<Malformed>>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.lexer.array(|lexer, _| {
            let mut reader = JsonReader { lexer: lexer.clone() };
            element(&mut reader)?;
            *lexer = reader.lexer;
            Ok(())
        })
    }
}

fn copy_value(lexer: &mut Lexer<'_>, out: &mut impl Sink) -> Result<(), Malformed> {
    match lexer.value_kind()? {
        ValueKind::Object => {
            out.put(b"{");
            lexer.object(|lexer, is_first| {
                if !is_first {
                    out.put(b",");
                }
                copy_name(lexer, out)?;
                out.put(b":");
                copy_value(lexer, out)
            })?;
            out.put(b"}");
            Ok(())
        }
        ValueKind::Array => {
            out.put(b"[");
            lexer.array(|lexer, is_first| {
                if !is_first {
                    out.put(b",");
                }
                copy_value(lexer, out)
            })?;
            out.put(b"]");
            Ok(())
        }
        ValueKind::String => {
            lexer.open_string();
            copy_string(lexer, out)
        }
        ValueKind::Number => lexer.number().map(|number| out.put(number)),
        ValueKind::True => copy_literal(lexer, "true", out),
        ValueKind::False => copy_literal(lexer, "false", out),
        ValueKind::Null => copy_literal(lexer, "null", out),
    }
}

fn copy_literal(lexer: &mut Lexer<'_>, word: &'static str, out: &mut impl Sink) -> Result<(), Malformed> {
    lexer.literal(word)?;
    out.put(word.as_bytes());
    Ok(())
}

/// Copies a member's name with its quotes, and skips the colon after it.
fn copy_name(lexer: &mut Lexer<'_>, out: &mut impl Sink) -> Result<(), Malformed> {
    lexer.open_name()?;
    copy_string(lexer, out)?;
    lexer.colon()
}

/// Copies a string whose opening quote has been read.
fn copy_string(lexer: &mut Lexer<'_>, out: &mut impl Sink) -> Result<(), Malformed> {
    out.put(b"\"");
    // Unchanged text is copied in runs as long as possible.
    let (mut run, mut run_start) = (lexer.rest(), lexer.offset());
    loop {
        if lexer.plain_run()? == RunEnd::Quote {
            out.put(&run[..lexer.offset() - run_start]);
            return Ok(());
        }
        let before = lexer.offset() - run_start;
        let escape = lexer.escape()?;
        let is_short = escape.bytes == 2;
        let replacement = match escape.character {
            // JSON has no other form for these.
            Some('"' | '\\') if is_short => continue,
            None | Some(..' ') => continue,
            Some(character) => character,
        };
        out.put(&run[..before]);
        match replacement {
            '"' => out.put(b"\\\""),
            '\\' => out.put(b"\\\\"),
            character => out.put(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
        (run, run_start) = (lexer.rest(), lexer.offset());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compact(text: &str) -> Result<String, Malformed> {
        let mut out = Vec::new();
        let mut reader = JsonReader::new(text.as_bytes());
        reader.copy_value(&mut out)?;
        reader.expect_end()?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn white_space_is_dropped_and_order_and_numbers_are_kept() {
        let text = "\r\n{ \"b\" : [ 1.50 , -0, 1E+2, 12345678901234567890123 ],\t\"a\" : { } , \"c\":[ ],\"b\":null}\n";
        assert_eq!(
            compact(text).unwrap(),
            r#"{"b":[1.50,-0,1E+2,12345678901234567890123],"a":{},"c":[],"b":null}"#
        );
    }

    #[test]
    fn escapes_become_text_where_text_is_allowed() {
        assert_eq!(compact(r#""caf\u00E9 \ud83d\ude00 \/ \u0041""#).unwrap(), "\"café 😀 / A\"");
        assert_eq!(compact(r#""\" \\ \b\f\n\r\t""#).unwrap(), r#""\" \\ \b\f\n\r\t""#);
        assert_eq!(compact(r#""\u0022\u005c""#).unwrap(), r#""\"\\""#);
        assert_eq!(compact(r#""\u0000\u000a\u001F""#).unwrap(), r#""\u0000\u000a\u001F""#);
        assert_eq!(
            compact(r#""\ud83d \ude00 \ud83d\ud83d\ude00""#).unwrap(),
            "\"\\ud83d \\ude00 \\ud83d😀\""
        );
        assert_eq!(compact(r#""\ud83d\u00e9 \ud83dx""#).unwrap(), "\"\\ud83dé \\ud83dx\"");
        assert_eq!(compact("\"\u{2028}\u{85}\u{7f}\"").unwrap(), "\"\u{2028}\u{85}\u{7f}\"");
        assert_eq!(compact(r#"{"\u0061":1}"#).unwrap(), r#"{"a":1}"#);
    }

    #[test]
    fn a_value_is_a_line_and_compacting_it_again_changes_nothing() {
        let text = "{\"t\":\"a\\nb\\u000ac\\u2028\",\n \"x\" : [\n1\n,\n2 ] }";
        let line = compact(text).unwrap();
        assert!(!line.contains('\n'));
        assert_eq!(compact(&line).unwrap(), line);
        let read = |text: &str| serde_json::from_str::<serde_json::Value>(text).unwrap();
        assert_eq!(read(&line), read(text));
    }

    #[test]
    fn an_error_names_the_byte() {
        let cases = [
            ("", 0, "expected a JSON value"),
            ("{\"a\":}", 5, "expected a JSON value"),
            ("{\"a\":1,}", 7, "expected a name in double quotes"),
            ("{'a':1}", 1, "expected a name in double quotes"),
            ("{\"a\" 1}", 5, "expected ':'"),
            ("{\"a\":1", 6, "expected ',' or '}'"),
            ("[1 2]", 3, "expected ',' or ']'"),
            ("[1,]", 3, "expected a JSON value"),
            ("\"abc", 4, "the string does not end"),
            ("\"a\nb\"", 2, "a control character must be escaped in a string"),
            ("\"\\x\"", 1, "no such escape"),
            ("\"\\u12g4\"", 1, "expected four hexadecimal digits after \\u"),
            ("\"\\u12", 1, "expected four hexadecimal digits after \\u"),
            ("\"\\", 1, "no such escape"),
            ("01", 1, "nothing may follow the value"),
            ("-", 1, "expected a digit"),
            ("1.", 2, "expected a digit"),
            ("1e", 2, "expected a digit"),
            ("+1", 0, "expected a JSON value"),
            ("NaN", 0, "expected a JSON value"),
            ("nul", 0, "expected a JSON value"),
            ("{} {}", 3, "nothing may follow the value"),
        ];
        for (text, at, problem) in cases {
            assert_eq!(compact(text), Err(Malformed { at, problem }), "{text}");
            assert!(serde_json::from_str::<serde_json::Value>(text).is_err(), "{text}: serde_json disagrees");
        }
    }

    /// Tens of thousands of texts with one or two bytes changed: both parsers accept the same ones, and the compact
    /// text has the same value.
    #[test]
    fn serde_json_agrees_on_what_is_json() {
        let seeds = [
            r#"{"a":[1,-2.5e+10,true,false,null,{"b c":"\u00e9\n\ud83d\ude00\\\"/"}],"":" "}"#,
            r#"[{"x":"\ud800"},0.1,-0,[[]],{},"é\u0000\/\t"]"#,
            r#" { "k" : "v" , "n" : 12 } "#,
        ];
        let alphabet = br#"{}[]",:\/-+.0123456789eEu dDtrufalsn"#;
        let mut state = 42_u64;
        let mut draw = |bound: usize| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize % bound
        };
        let (mut accepted, mut rejected) = (0, 0);
        for round in 0..60_000 {
            let mut text = seeds[round % seeds.len()].as_bytes().to_vec();
            for _ in 0..=draw(2) {
                let at = draw(text.len());
                match draw(3) {
                    0 => text[at] = alphabet[draw(alphabet.len())],
                    1 => text.insert(at, alphabet[draw(alphabet.len())]),
                    _ => drop(text.remove(at)),
                }
            }
            let Ok(text) = String::from_utf8(text) else {
                continue;
            };
            let theirs = serde_json::from_str::<&serde_json::value::RawValue>(&text);
            let ours = compact(&text);
            assert_eq!(ours.is_ok(), theirs.is_ok(), "{text}: {ours:?} {theirs:?}");
            let Ok(line) = ours else {
                rejected += 1;
                continue;
            };
            accepted += 1;
            // A lone surrogate is JSON, but no Rust string; a huge exponent is a number, but no f64.
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
                assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value, "{text}");
            }
        }
        assert!(accepted > 5_000 && rejected > 5_000, "{accepted} accepted, {rejected} rejected");
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(compact(&nested(MAX_DEPTH)), Ok(nested(MAX_DEPTH)));
        let too_deep = compact(&nested(100_000)).unwrap_err();
        assert_eq!(too_deep, Malformed { at: MAX_DEPTH, problem: "nested deeper than 128 levels" });
        let siblings: String = format!("[{}]", vec!["[]"; 1000].join(","));
        assert_eq!(compact(&siblings).unwrap(), siblings);
    }

    #[test]
    fn a_position_counts_lines_and_characters() {
        let text = "{\n  \"é\": x}".as_bytes();
        let at = text.iter().position(|&b| b == b'x').unwrap();
        assert_eq!(Position::from_offset(text, at), Position { line: 2, column: 8 });
        assert_eq!(Position::from_offset(b"", 0), Position { line: 1, column: 1 });
        assert_eq!(Position::from_offset(b"ab\n", 2), Position { line: 1, column: 3 });
        assert_eq!(Position::from_offset(b"ab\n", 3), Position { line: 2, column: 1 });
    }

    #[test]
    fn envelopes_are_walked() {
        let mut seen = Vec::new();
        let mut reader = JsonReader::new(br#" { "records" : [ {"value": 1}, 2 ], "k\u0065y" : "x" } "#);
        assert_eq!(reader.peek(), Some(b'{'));
        reader
            .read_members::<Malformed>(|reader, name| {
                seen.push(name.to_owned());
                if reader.peek() == Some(b'[') {
                    return reader.read_elements(|reader| reader.copy_value(&mut Discard));
                }
                reader.copy_value(&mut Discard)
            })
            .unwrap();
        reader.expect_end().unwrap();
        assert_eq!(seen, ["records", "key"]);
    }
}
