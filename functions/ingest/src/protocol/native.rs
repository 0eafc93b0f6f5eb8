//! The native protocol: `POST /v1/{dataset}` with one JSON value, an array, or NDJSON.
//!
//! - `application/x-ndjson` (also `ndjson`, `jsonl`, `x-jsonlines`, `json-lines`): every line that is not blank is a
//!   record. A value ends with its line, so an error names the broken line and a client can drop it.
//! - `application/json`, or no Content-Type: one value; the elements of an array are the records. For
//!   `curl --data-binary @file`, a body whose first line is a complete value and which continues after it is read as
//!   lines.

use crate::endpoint::{Endpoint, Method, Operation, Protocol, RequestContext, Resource};
use crate::error::{ApiError, ParseError};
use crate::json_reader::{Discard, JsonReader};
use crate::openapi;
use crate::packing::{LineSink as _, PackedRequest, Packer};
use crate::protocol::{cloudevents, native_response};
use crate::response::ApiResponse;

/// The native protocol.
#[derive(Debug)]
pub struct Native;

const WRITE: Operation =
    Operation::Write { decode: decode_request, encode: native_response::encode_response };

const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new("/v1/{dataset}", &[Method::new("POST", Resource::Dataset, WRITE)]),
    Endpoint::public(
        "/openapi.json",
        &[Method::new("GET", Resource::None, Operation::Document(openapi::DOCUMENT))],
    ),
];

impl Protocol for Native {
    fn name(&self) -> &'static str {
        "native"
    }

    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn endpoints(&self) -> &'static [Endpoint] {
        ENDPOINTS
    }

    fn path_keywords(&self) -> &'static [&'static str] {
        &[]
    }

    fn encode_error(&self, error: &ApiError, request_id: &str) -> ApiResponse {
        native_response::encode_error(error, request_id)
    }
}

/// How the records of a body are separated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Framing {
    /// One value, or lines if the body looks like lines.
    Json,
    /// One record per line.
    Lines,
}

impl Framing {
    fn from_media_type(media_type: Option<&str>) -> Result<Self, ApiError> {
        match media_type {
            // `navigator.sendBeacon` sends text.
            None | Some("application/json" | "text/json" | "text/plain") => Ok(Self::Json),
            Some(
                "application/x-ndjson"
                | "application/ndjson"
                | "application/jsonl"
                | "application/x-jsonlines"
                | "application/json-lines",
            ) => Ok(Self::Lines),
            Some(other) => Err(ApiError::UnsupportedMediaType(format!(
                "unsupported Content-Type '{other}': use application/json or application/x-ndjson"
            ))),
        }
    }
}

pub(super) fn decode_request(
    context: &RequestContext<'_>,
    request_id: &str,
) -> Result<PackedRequest, ApiError> {
    let media_type = context.media_type()?;
    if let Some(mode) = cloudevents::Mode::from_media_type(media_type.as_deref()) {
        return cloudevents::decode(context, request_id, mode);
    }
    let framing = Framing::from_media_type(media_type.as_deref())?;
    decode_body(&context.text()?, framing, Packer::new(context.target.dataset(), request_id))
}

fn decode_body(text: &[u8], framing: Framing, mut packer: Packer<'_>) -> Result<PackedRequest, ApiError> {
    let is_lines = framing == Framing::Lines || starts_with_complete_line(text);
    let result = if is_lines { decode_lines(text, &mut packer) } else { decode_value(text, &mut packer) };
    result.map_err(|error| error.into_api_error(text))?;
    Ok(packer.finish())
}

/// Decodes a body that is one value; the elements of an array are the records.
pub(super) fn decode_json(text: &[u8], mut packer: Packer<'_>) -> Result<PackedRequest, ApiError> {
    decode_value(text, &mut packer).map_err(|error| error.into_api_error(text))?;
    Ok(packer.finish())
}

/// Whether the first line is a complete value and more text follows it.
fn starts_with_complete_line(text: &[u8]) -> bool {
    let text = text.trim_ascii();
    let Some(end) = memchr::memchr(b'\n', text) else {
        return false;
    };
    let mut reader = JsonReader::new(&text[..end]);
    reader.copy_value(&mut Discard).is_ok() && reader.expect_end().is_ok()
}

fn decode_value(text: &[u8], packer: &mut Packer<'_>) -> Result<(), ParseError> {
    let mut reader = JsonReader::new(text);
    if reader.peek() == Some(b'[') {
        reader
            .read_elements(|reader| packer.add_line(|line| Ok::<(), ParseError>(reader.copy_value(line)?)))?;
    } else {
        packer.add_line(|line| Ok::<(), ParseError>(reader.copy_value(line)?))?;
    }
    Ok(reader.expect_end()?)
}

fn decode_lines(text: &[u8], packer: &mut Packer<'_>) -> Result<(), ParseError> {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', text).chain([text.len()]) {
        let mut reader = JsonReader::new(&text[start..end]);
        if reader.peek().is_some() {
            packer.add_line(|out| {
                reader
                    .copy_value(out)
                    .and_then(|()| reader.expect_end())
                    .map_err(|malformed| ParseError::from(malformed.shifted(start)))
            })?;
        }
        start = end + 1;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::json_reader::Position;

    fn records(text: &str, framing: Framing) -> Result<Vec<String>, ApiError> {
        let packed = decode_body(text.as_bytes(), framing, Packer::new(Some("pin"), "r"))?;
        Ok(packed
            .records
            .iter()
            .flat_map(|record| std::str::from_utf8(&record.data).unwrap().split('\n').map(str::to_owned))
            .collect())
    }

    #[test]
    fn one_value_an_array_or_lines() {
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
    fn malformed_json_is_located_by_line_and_column() {
        for (text, framing, line, column) in [
            ("{\"a\":1}\n{\"a\":2\n{\"a\":3}\n", Framing::Lines, 2, 7),
            ("{\"a\":1\n{\"a\":2}\n", Framing::Lines, 1, 7),
            ("{\"a\":1}\n{\"a\":2} {}\n", Framing::Json, 2, 9),
            ("[{\"a\":1},\n{\"a\":}]", Framing::Json, 2, 6),
            ("{\"a\":1} x", Framing::Json, 1, 9),
            ("{\n\"a\":1\n", Framing::Json, 3, 1),
            ("{\n\"a\":1\n}", Framing::Lines, 1, 2),
        ] {
            let Err(ApiError::MalformedJson { position, .. }) = records(text, framing) else {
                panic!("{text}")
            };
            assert_eq!(position, Position { line, column }, "{text}");
        }
    }
}
