//! Objects around a record: clients send the envelope of one API inside that of another, as in `"Data": {"value":
//! {...}}`.

use pinlake_json::{Lexer, Malformed, RunEnd};

/// Names of members whose value is the record.
const VALUES: [&str; 6] = ["value", "data", "records", "record", "payload", "values"];
/// Names of members beside them.
const ENVELOPE: [&str; 7] =
    ["key", "partition", "partitionkey", "partition-key", "streamname", "stream-name", "headers"];

/// The object inside an object, under one of the names by which envelopes have the record. There must be only one.
pub fn wrapped_object(text: &str) -> Option<&str> {
    let found = find_value(text.as_bytes(), b'{', |_| false)?;
    std::str::from_utf8(found).ok()
}

/// The array inside an object, likewise. The object must not have a field that `is_field`, and must begin as an
/// envelope does, so that records are passed quickly.
pub(crate) fn find_wrapped_array(text: &[u8], is_field: impl Fn(&str) -> bool) -> Option<&[u8]> {
    let mut lexer = Lexer::new(text);
    if lexer.peek() != Some(b'{') {
        return None;
    }
    lexer.advance(1);
    lexer.open_name().ok()?;
    let first = lexer.rest();
    let name = &first[..first.iter().take(16).position(|byte| *byte == b'"')?];
    let is_in = |names: &[&str]| names.iter().any(|own| own.as_bytes().eq_ignore_ascii_case(name));
    if !is_in(&VALUES) && !is_in(&ENVELOPE) {
        return None;
    }
    find_value(text, b'[', is_field)
}

/// The only value of the object `text` that has one of the names and begins with `open`; `None` if the object has a
/// field that `is_field`.
fn find_value(text: &[u8], open: u8, is_field: impl Fn(&str) -> bool) -> Option<&[u8]> {
    /// The object is no wrapper.
    struct Stop;
    impl From<Malformed> for Stop {
        fn from(_: Malformed) -> Self {
            Self
        }
    }
    let mut lexer = Lexer::new(text);
    if lexer.peek() != Some(b'{') {
        return None;
    }
    let mut found = None;
    let walked = lexer.object(|lexer, _| {
        lexer.open_name()?;
        let start = lexer.offset();
        let name = match lexer.plain_run()? {
            RunEnd::Quote => std::str::from_utf8(&text[start..lexer.offset() - 1]).unwrap_or_default(),
            RunEnd::Escape => {
                lexer.finish_string()?;
                ""
            }
        };
        if is_field(name) {
            return Err(Stop);
        }
        lexer.colon()?;
        let kind = lexer.peek();
        let start = lexer.offset();
        lexer.skip_value()?;
        if kind == Some(open) && VALUES.iter().any(|own| own.eq_ignore_ascii_case(name)) {
            let value = &text[start..lexer.offset()];
            if found.replace(value).is_some() {
                return Err(Stop);
            }
        }
        Ok(())
    });
    walked.ok()?;
    lexer.end().ok()?;
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_object_is_found() {
        assert_eq!(wrapped_object(r#"{"value": {"a": 1}}"#), Some(r#"{"a": 1}"#));
        assert_eq!(wrapped_object(r#"{"key":"k","Data":{"a":1},"x\n":[]}"#), Some(r#"{"a":1}"#));
        for text in [
            "{}",
            "[]",
            "7",
            "",
            r#"{"value":1}"#,
            r#"{"value":{},"data":{}}"#,
            r#"{"value":{}"#,
            r#"{"other":{}}"#,
        ] {
            assert_eq!(wrapped_object(text), None, "{text}");
        }
    }
}
