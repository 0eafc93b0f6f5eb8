//! Values of typed files that JSON cannot express, such as NaN.
//!
//! In the JSON of a record such a value is an object that says why: `{"$parquet":"out_of_range: NaN"}`. It does no harm where no column
//! reads it. A column that does has its record quarantined, unless the text behind the reason is one of its null markers.

use std::io::Write;

use crate::parsed_record::{FieldValue, Span};
use crate::reason::{Reason, RecordError};

/// How the object begins. A text in JSON cannot contain this: its quotes are escaped.
const BEGIN: &str = "{\"$parquet\":\"";
const END: &str = "\"}";
const REASONS: [Reason; 2] = [Reason::OutOfRange, Reason::WrongType];

/// Writes the object for a value that cannot be written.
pub(crate) fn write_refused(error: &RecordError, out: &mut Vec<u8>) {
    // Writing to memory does not fail.
    let _ = out.write_all(&BEGIN.as_bytes()[..BEGIN.len() - 1]);
    let _ = serde_json::to_writer(&mut *out, &format!("{}: {}", error.reason.code(), error.detail));
    out.push(b'}');
}

/// The value of an object or array, whose JSON text is `json` at `span`.
#[inline]
pub(crate) fn nested_value(json: &str, span: Span) -> FieldValue {
    match json.strip_prefix(BEGIN) {
        Some(rest) if find_reason(rest).is_some() => {
            FieldValue::Refused(span.without_first(BEGIN.len()).without_last(END.len()))
        }
        _ => FieldValue::Nested(span),
    }
}

/// Whether the JSON text begins with such an object.
pub(crate) fn is_refused(json: &str) -> bool {
    json.strip_prefix(BEGIN).is_some_and(|rest| find_reason(rest).is_some())
}

/// The reason of the first such object in a JSON text.
pub(crate) fn find_in(json: &str) -> Option<Reason> {
    let begins = memchr::memmem::find_iter(json.as_bytes(), BEGIN);
    begins.map(|at| &json[at + BEGIN.len()..]).find_map(find_reason)
}

/// The reason of a value, and the text that follows it. `text` is that of its [`FieldValue::Refused`].
pub(crate) fn split_reason(text: &str) -> (Reason, &str) {
    let reason = find_reason(text).unwrap_or(Reason::WrongType);
    (reason, text.split_once(": ").map_or(text, |(_, rest)| rest))
}

fn find_reason(text: &str) -> Option<Reason> {
    REASONS
        .into_iter()
        .find(|reason| text.strip_prefix(reason.code()).is_some_and(|rest| rest.starts_with(": ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_recognised() {
        let mut out = Vec::new();
        write_refused(&RecordError::new(Reason::OutOfRange, "NaN"), &mut out);
        let json = String::from_utf8(out).unwrap();
        assert_eq!(json, "{\"$parquet\":\"out_of_range: NaN\"}");
        let span = Span::new(10, 10 + json.len());
        let FieldValue::Refused(text) = nested_value(&json, span) else { panic!("{json}") };
        let text = &json[text.range().start - 10..text.range().end - 10];
        assert_eq!(split_reason(text), (Reason::OutOfRange, "NaN"));
        assert_eq!(find_in(&format!("[1,{{\"a\":{json}}}]")), Some(Reason::OutOfRange));
    }

    #[test]
    fn other_objects_are_values() {
        for json in [
            r#"{"$parquet":"x"}"#,
            r#"{"$parquet":{"x":"binary"}}"#,
            r#"{"a":"{\"$parquet\":\"out_of_range: 1\"}"}"#,
        ] {
            let span = Span::new(0, json.len());
            assert_eq!(nested_value(json, span), FieldValue::Nested(span));
            assert_eq!((find_in(json), is_refused(json)), (None, false));
        }
    }
}
