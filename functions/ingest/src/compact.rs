//! One pass over JSON text: checked, and copied compact.
//!
//! What comes out is the same value with key order and the text of numbers kept, no blanks between tokens, and
//! UTF-8 in place of `\uXXXX` wherever the character can stand in JSON as itself. Control characters and lone
//! surrogates stay escaped, so **no line feed is ever in the output**: a value is a line. This is what Kinesis
//! held behind the API Gateway templates, and it is a third smaller than what Python clients send.
//!
//! The grammar is RFC 8259's, without exceptions: `NaN`, trailing commas and raw control characters are
//! refused. Nesting is bounded by [`MAX_DEPTH`]; the reader is recursive, and the bound keeps its stack small.
//!
//! ```
//! use ingest::compact::Reader;
//!
//! let mut line = Vec::new();
//! let mut reader = Reader::new(br#"{ "title" : "caf\u00e9\n", "n": 1.50 }"#);
//! reader.value(&mut line).unwrap();
//! reader.end().unwrap();
//! assert_eq!(line, r#"{"title":"café\n","n":1.50}"#.as_bytes());
//! ```

use std::fmt;

use pinlake_json::{Unicode, plain_run, unicode};

/// How deep objects and arrays may be nested, the request's own envelope included.
pub const MAX_DEPTH: usize = 128;

/// The text is not JSON, from byte `at` on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Malformed {
    /// Offset of the offending byte; the text's length when the text ends too early.
    pub at: usize,
    /// What should have stood there, or what is wrong.
    pub problem: &'static str,
}

impl Malformed {
    /// The same mistake in a text of which this one is a part that begins at byte `base`.
    pub fn shifted(self, base: usize) -> Self {
        Self { at: base + self.at, ..self }
    }
}

/// A place in the client's own text: what an editor shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Position {
    /// From 1.
    pub line: usize,
    /// From 1, in characters.
    pub column: usize,
}

impl Position {
    /// Where byte `at` of `text` stands. `text` up to there is UTF-8.
    pub fn of(text: &[u8], at: usize) -> Self {
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

/// Takes the compact text.
pub trait Sink {
    /// Appends bytes.
    fn put(&mut self, bytes: &[u8]);
}

impl Sink for Vec<u8> {
    fn put(&mut self, bytes: &[u8]) {
        self.extend_from_slice(bytes);
    }
}

/// Checks a value and keeps nothing of it.
pub struct Discard;

impl Sink for Discard {
    fn put(&mut self, _: &[u8]) {}
}

/// A reader of JSON text that is known to be UTF-8.
pub struct Reader<'a> {
    text: &'a [u8],
    at: usize,
    depth: usize,
}

impl<'a> Reader<'a> {
    /// Reads from the beginning of `text`, which the caller has found to be UTF-8.
    pub fn new(text: &'a [u8]) -> Self {
        Self { text, at: 0, depth: 0 }
    }

    /// The first byte of the next token, after blanks.
    pub fn peek(&mut self) -> Option<u8> {
        while let Some(b' ' | b'\n' | b'\r' | b'\t') = self.text.get(self.at) {
            self.at += 1;
        }
        self.text.get(self.at).copied()
    }

    /// The text ends here, but for blanks.
    ///
    /// # Errors
    /// When something follows.
    pub fn end(&mut self) -> Result<(), Malformed> {
        if self.peek().is_some() { Err(self.wrong("nothing may follow the value")) } else { Ok(()) }
    }

    /// Copies the next value.
    ///
    /// # Errors
    /// When it is malformed, or nested deeper than [`MAX_DEPTH`].
    pub fn value(&mut self, out: &mut impl Sink) -> Result<(), Malformed> {
        match self.peek() {
            Some(b'{') => {
                out.put(b"{");
                self.sequence(b'}', "expected ',' or '}'", |reader, first| {
                    if !first {
                        out.put(b",");
                    }
                    reader.name(out)?;
                    out.put(b":");
                    reader.value(out)
                })?;
                out.put(b"}");
                Ok(())
            }
            Some(b'[') => {
                out.put(b"[");
                self.sequence(b']', "expected ',' or ']'", |reader, first| {
                    if !first {
                        out.put(b",");
                    }
                    reader.value(out)
                })?;
                out.put(b"]");
                Ok(())
            }
            Some(b'"') => self.string(out),
            Some(b'-' | b'0'..=b'9') => self.number(out),
            Some(b't') => self.literal(b"true", out),
            Some(b'f') => self.literal(b"false", out),
            Some(b'n') => self.literal(b"null", out),
            _ => Err(self.wrong("expected a JSON value")),
        }
    }

    /// Walks the members of the object that comes next. `member` gets each name and must read the value.
    ///
    /// # Errors
    /// When the object is malformed, or when `member` says so.
    pub fn members<E: From<Malformed>>(
        &mut self,
        mut member: impl FnMut(&mut Self, &str) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut name = Vec::new();
        self.sequence(b'}', "expected ',' or '}'", |reader, _| {
            name.clear();
            reader.name(&mut name)?;
            let unquoted = &name[1..name.len() - 1];
            member(reader, std::str::from_utf8(unquoted).unwrap_or_default())
        })
    }

    /// Walks the elements of the array that comes next. `element` must read the value.
    ///
    /// # Errors
    /// When the array is malformed, or when `element` says so.
    pub fn elements<E: From<Malformed>>(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), E>,
    ) -> Result<(), E> {
        self.sequence(b']', "expected ',' or ']'", |reader, _| element(reader))
    }

    fn wrong(&self, problem: &'static str) -> Malformed {
        Malformed { at: self.at, problem }
    }

    /// The items between the bracket that comes next and `close`, and the commas between them.
    fn sequence<E: From<Malformed>>(
        &mut self,
        close: u8,
        expected: &'static str,
        mut item: impl FnMut(&mut Self, bool) -> Result<(), E>,
    ) -> Result<(), E> {
        if self.depth == MAX_DEPTH {
            return Err(self.wrong("nested deeper than 128 levels").into());
        }
        self.depth += 1;
        self.at += 1;
        let mut first = true;
        if self.peek() != Some(close) {
            loop {
                item(self, first)?;
                first = false;
                match self.peek() {
                    Some(b',') => self.at += 1,
                    Some(b) if b == close => break,
                    _ => return Err(self.wrong(expected).into()),
                }
            }
        }
        self.at += 1;
        self.depth -= 1;
        Ok(())
    }

    /// A member's name and its colon; copies the quoted name.
    fn name(&mut self, out: &mut impl Sink) -> Result<(), Malformed> {
        if self.peek() != Some(b'"') {
            return Err(self.wrong("expected a name in double quotes"));
        }
        self.string(out)?;
        if self.peek() != Some(b':') {
            return Err(self.wrong("expected ':'"));
        }
        self.at += 1;
        Ok(())
    }

    fn literal(&mut self, word: &'static [u8], out: &mut impl Sink) -> Result<(), Malformed> {
        if !self.text[self.at..].starts_with(word) {
            return Err(self.wrong("expected a JSON value"));
        }
        self.at += word.len();
        out.put(word);
        Ok(())
    }

    fn number(&mut self, out: &mut impl Sink) -> Result<(), Malformed> {
        let start = self.at;
        if self.text[self.at] == b'-' {
            self.at += 1;
        }
        // A zero stands alone; whatever follows it is not part of the number.
        if self.text.get(self.at) == Some(&b'0') {
            self.at += 1;
        } else {
            self.digits()?;
        }
        if self.text.get(self.at) == Some(&b'.') {
            self.at += 1;
            self.digits()?;
        }
        if let Some(b'e' | b'E') = self.text.get(self.at) {
            self.at += 1;
            if let Some(b'+' | b'-') = self.text.get(self.at) {
                self.at += 1;
            }
            self.digits()?;
        }
        out.put(&self.text[start..self.at]);
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Malformed> {
        let rest = &self.text[self.at..];
        match rest.iter().take_while(|b| b.is_ascii_digit()).count() {
            0 => Err(self.wrong("expected a digit")),
            count => {
                self.at += count;
                Ok(())
            }
        }
    }

    /// A string, from its opening quote.
    fn string(&mut self, out: &mut impl Sink) -> Result<(), Malformed> {
        let mut kept_from = self.at;
        self.at += 1;
        loop {
            self.at += plain_run(&self.text[self.at..]);
            match self.text.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    out.put(&self.text[kept_from..self.at]);
                    return Ok(());
                }
                Some(b'\\') => {
                    let start = self.at;
                    if let Some(plain) = self.escape()? {
                        out.put(&self.text[kept_from..start]);
                        match plain {
                            '"' => out.put(b"\\\""),
                            '\\' => out.put(b"\\\\"),
                            plain => out.put(plain.encode_utf8(&mut [0; 4]).as_bytes()),
                        }
                        kept_from = self.at;
                    }
                }
                Some(_) => return Err(self.wrong("a control character must be escaped in a string")),
                None => return Err(self.wrong("the string does not end")),
            }
        }
    }

    /// Passes an escape, from its backslash; gives the character to write in its place, if one should be.
    fn escape(&mut self) -> Result<Option<char>, Malformed> {
        let rest = &self.text[self.at..];
        match rest.get(1) {
            Some(b'"' | b'\\' | b'b' | b'f' | b'n' | b'r' | b't') => {
                self.at += 2;
                Ok(None)
            }
            Some(b'/') => {
                self.at += 2;
                Ok(Some('/'))
            }
            Some(b'u') => {
                let Some(Unicode { code, bytes }) = unicode(rest) else {
                    return Err(self.wrong("expected four hexadecimal digits after \\u"));
                };
                self.at += bytes;
                // A lone surrogate is no char; a control character may not stand in JSON as itself.
                Ok(char::from_u32(code).filter(|c| *c >= ' '))
            }
            _ => Err(self.wrong("no such escape")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn compact(text: &str) -> Result<String, Malformed> {
        let mut out = Vec::new();
        let mut reader = Reader::new(text.as_bytes());
        reader.value(&mut out)?;
        reader.end()?;
        Ok(String::from_utf8(out).unwrap())
    }

    #[test]
    fn blanks_go_and_order_and_numbers_stay() {
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
    fn mistakes_are_found_where_they_stand() {
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

    /// Tens of thousands of texts with one or two bytes changed: what one parser takes, the other must take, and
    /// the compact text must mean the same.
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
        let (mut taken, mut refused) = (0, 0);
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
                refused += 1;
                continue;
            };
            taken += 1;
            // A lone surrogate is JSON, but no Rust string; a huge exponent is a number, but no f64.
            if let Ok(value) = serde_json::from_str::<serde_json::Value>(&text) {
                assert_eq!(serde_json::from_str::<serde_json::Value>(&line).unwrap(), value, "{text}");
            }
        }
        assert!(taken > 5_000 && refused > 5_000, "{taken} taken, {refused} refused");
    }

    #[test]
    fn nesting_is_bounded() {
        let nested = |depth: usize| format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_eq!(compact(&nested(MAX_DEPTH)), Ok(nested(MAX_DEPTH)));
        let too_deep = compact(&nested(100_000)).unwrap_err();
        assert_eq!(too_deep, Malformed { at: MAX_DEPTH, problem: "nested deeper than 128 levels" });
        let beside: String = format!("[{}]", vec!["[]"; 1000].join(","));
        assert_eq!(compact(&beside).unwrap(), beside);
    }

    #[test]
    fn a_position_counts_lines_and_characters() {
        let text = "{\n  \"é\": x}".as_bytes();
        let at = text.iter().position(|&b| b == b'x').unwrap();
        assert_eq!(Position::of(text, at), Position { line: 2, column: 8 });
        assert_eq!(Position::of(b"", 0), Position { line: 1, column: 1 });
        assert_eq!(Position::of(b"ab\n", 2), Position { line: 1, column: 3 });
        assert_eq!(Position::of(b"ab\n", 3), Position { line: 2, column: 1 });
    }

    #[test]
    fn envelopes_are_walked() {
        let mut seen = Vec::new();
        let mut reader = Reader::new(br#" { "records" : [ {"value": 1}, 2 ], "k\u0065y" : "x" } "#);
        assert_eq!(reader.peek(), Some(b'{'));
        reader
            .members::<Malformed>(|reader, name| {
                seen.push(name.to_owned());
                if reader.peek() == Some(b'[') {
                    return reader.elements(|reader| reader.value(&mut Discard));
                }
                reader.value(&mut Discard)
            })
            .unwrap();
        reader.end().unwrap();
        assert_eq!(seen, ["records", "key"]);
    }
}
