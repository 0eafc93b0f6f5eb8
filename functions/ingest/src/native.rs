//! The native API: `POST /v1/<dataset>` with one JSON object, an array of them, or one a line.
//!
//! - `application/x-ndjson` (also `ndjson`, `jsonl`, `x-jsonlines`): every line that is not blank is a record. A
//!   value does not go on over a line's end, so a broken line is found where it stands and a client can drop it.
//! - `application/json`, or no type: one value; the elements of an array are the records. As a courtesy to
//!   `curl --data-binary @file`, text whose first line is a whole value and that goes on after it is read by line.

use http::StatusCode;
use serde_json::{Value, json};

use crate::compact::Reader;
use crate::error::{ApiError, ParseError};
use crate::packing::{Packer, StreamRecord};
use crate::writer::Written;

/// How the body's records are divided.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Framing {
    /// One value, or lines if it looks so.
    Json,
    /// Lines.
    Lines,
}

impl Framing {
    /// What a media type says about it.
    ///
    /// # Errors
    /// For a type that is neither JSON nor lines of it.
    pub fn of(media_type: Option<&str>) -> Result<Self, ApiError> {
        match media_type {
            None | Some("application/json" | "text/json") => Ok(Self::Json),
            Some(
                "application/x-ndjson"
                | "application/ndjson"
                | "application/jsonl"
                | "application/x-jsonlines"
                | "application/json-lines",
            ) => Ok(Self::Lines),
            Some(other) => Err(ApiError::MediaType(format!(
                "Content-Type '{other}' is not read here: send application/json or application/x-ndjson"
            ))),
        }
    }
}

/// Reads a body into `packer`.
///
/// # Errors
/// The first mistake in the body, at its line and column, or a record that is too long.
pub fn read(text: &[u8], framing: Framing, mut packer: Packer<'_>) -> Result<Vec<StreamRecord>, ApiError> {
    let by_line = framing == Framing::Lines || begins_with_a_line(text);
    if by_line { lines(text, &mut packer) } else { value(text, &mut packer) }
        .map_err(|halt| halt.in_body(text))?;
    Ok(packer.finish())
}

/// The first line is a whole value by itself, and something follows it.
fn begins_with_a_line(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let Some(feed) = memchr::memchr(b'\n', text) else {
        return false;
    };
    let mut reader = Reader::new(&text[..feed]);
    reader.value(&mut crate::compact::Discard).is_ok() && reader.end().is_ok()
}

fn value(text: &[u8], packer: &mut Packer<'_>) -> Result<(), ParseError> {
    let mut reader = Reader::new(text);
    if reader.peek() == Some(b'[') {
        reader.elements(|reader| packer.line(|line| Ok::<(), ParseError>(reader.value(line)?)))?;
    } else {
        packer.line(|line| Ok::<(), ParseError>(reader.value(line)?))?;
    }
    Ok(reader.end()?)
}

fn lines(text: &[u8], packer: &mut Packer<'_>) -> Result<(), ParseError> {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', text).chain([text.len()]) {
        let mut reader = Reader::new(&text[start..end]);
        if reader.peek().is_some() {
            packer.line(|out| {
                reader
                    .value(out)
                    .and_then(|()| reader.end())
                    .map_err(|mistake| ParseError::from(mistake.shifted(start)))
            })?;
        }
        start = end + 1;
    }
    Ok(())
}

/// The answer when every record was taken, and when some were.
pub fn answer(records: &[StreamRecord], written: &Written, request_id: &str) -> (StatusCode, Value) {
    let (mut accepted, mut failed) = (Vec::new(), Vec::new());
    for (record, result) in records.iter().zip(&written.results) {
        let ranges = if result.is_ok() { &mut accepted } else { &mut failed };
        extend(ranges, record.lines.start, record.lines.end);
    }
    if failed.is_empty() {
        let count: u64 = records.iter().map(|record| record.lines.end - record.lines.start).sum();
        return (StatusCode::OK, json!({ "accepted": count, "request_id": request_id }));
    }
    let message = "part of the request was stored and part was not: send the failed records again, or all of it \
                   with the same Idempotency-Key";
    let body = json!({
        "error": "partly_stored",
        "message": message,
        "accepted": accepted,
        "failed": failed,
        "request_id": request_id,
    });
    (StatusCode::SERVICE_UNAVAILABLE, body)
}

/// Adds the indices from `start` up to but without `end`; ranges are written with their first and last index.
fn extend(ranges: &mut Vec<[u64; 2]>, start: u64, end: u64) {
    match ranges.last_mut() {
        Some(last) if last[1] + 1 == start => last[1] = end - 1,
        _ => ranges.push([start, end - 1]),
    }
}

/// An error in this API's style.
pub fn error_body(rejection: &ApiError, request_id: &str) -> Value {
    let code = match rejection {
        ApiError::Malformed { .. } => "malformed_json",
        ApiError::Shape(_) => "unexpected_shape",
        ApiError::Empty => "empty_body",
        ApiError::Undecodable(_)
        | ApiError::Argument(_)
        | ApiError::StreamExists(_)
        | ApiError::ExpiredIterator => "bad_request",
        ApiError::Unauthenticated => "unauthenticated",
        ApiError::Forbidden
        | ApiError::OutOfScope { .. }
        | ApiError::ReadsOff
        | ApiError::StreamsAreGiven => "forbidden",
        ApiError::Unknown { .. } => "not_found",
        ApiError::Method { .. } => "method_not_allowed",
        ApiError::TooLarge(_) => "too_large",
        ApiError::MediaType(_) => "unsupported_media_type",
        ApiError::Throttled => "throttled",
        ApiError::Unavailable => "unavailable",
        ApiError::Internal => "internal",
    };
    json!({ "error": code, "message": rejection.to_string(), "request_id": request_id })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compact::Position;

    fn records(text: &str, framing: Framing) -> Result<Vec<String>, ApiError> {
        let packed = read(text.as_bytes(), framing, Packer::new("pin", "r"))?;
        Ok(packed
            .iter()
            .flat_map(|record| std::str::from_utf8(&record.data).unwrap().split('\n').map(str::to_owned))
            .collect())
    }

    #[test]
    fn one_many_or_a_line_each() {
        for (text, framing, expected) in [
            ("{\"a\": 1}", Framing::Json, vec!["{\"a\":1}"]),
            ("{\n  \"a\": 1\n}\n", Framing::Json, vec!["{\"a\":1}"]),
            ("[{\"a\": 1}, 2,\n null]", Framing::Json, vec!["{\"a\":1}", "2", "null"]),
            (" [ ] ", Framing::Json, vec![]),
            ("{\"a\": 1}\n\n{\"a\": 2}\r\n", Framing::Json, vec!["{\"a\":1}", "{\"a\":2}"]),
            ("{\"a\": 1}", Framing::Lines, vec!["{\"a\":1}"]),
            ("\n {\"a\": 1} \r\n[2, 3]\n\n", Framing::Lines, vec!["{\"a\":1}", "[2,3]"]),
            ("\"text\"", Framing::Json, vec!["\"text\""]),
        ] {
            assert_eq!(records(text, framing).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn a_mistake_is_named_by_its_line() {
        for (text, framing, line, column) in [
            ("{\"a\":1}\n{\"a\":2\n{\"a\":3}\n", Framing::Lines, 2, 7),
            ("{\"a\":1\n{\"a\":2}\n", Framing::Lines, 1, 7),
            ("{\"a\":1}\n{\"a\":2} {}\n", Framing::Json, 2, 9),
            ("[{\"a\":1},\n{\"a\":}]", Framing::Json, 2, 6),
            ("{\"a\":1} x", Framing::Json, 1, 9),
            ("{\n\"a\":1\n", Framing::Json, 3, 1),
            ("{\n\"a\":1\n}", Framing::Lines, 1, 2),
        ] {
            let Err(ApiError::Malformed { position, .. }) = records(text, framing) else { panic!("{text}") };
            assert_eq!(position, Position { line, column }, "{text}");
        }
    }
}
