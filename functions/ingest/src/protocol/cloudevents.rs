//! CloudEvents 1.0 over HTTP: structured events and batches.
//!
//! Source: the CNCF's "HTTP Protocol Binding for CloudEvents", 1.0.2, and "JSON Event Format". The record is the
//! event's `data`, or the records in
//! `data_base64`. If a contract reads the field `data`, or the event has none, the record is the event itself, with
//! its attributes. Events in binary
//! mode are requests of the native protocol, whose body is the data.

use super::native_response;
use crate::endpoint::{Endpoint, Method, Operation, Protocol, RequestContext, Resource};
use crate::error::{ApiError, ParseError};
use crate::json_reader::{Discard, JsonReader};
use crate::packing::{LineSink as _, PackedRequest, Packer};
use crate::payload::{PayloadDecoder, PendingLines};
use crate::response::ApiResponse;

/// CloudEvents.
#[derive(Debug)]
pub struct CloudEvents;

const ENDPOINTS: &[Endpoint] = &[Endpoint::new(
    "/cloudevents/{dataset}",
    &[Method::new(
        "POST",
        Resource::Dataset,
        Operation::Write { decode: decode_request, encode: native_response::encode_response },
    )],
)];

impl Protocol for CloudEvents {
    fn name(&self) -> &'static str {
        "cloudevents"
    }

    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn endpoints(&self) -> &'static [Endpoint] {
        ENDPOINTS
    }

    fn path_keywords(&self) -> &'static [&'static str] {
        &["cloudevents"]
    }

    fn encode_error(&self, error: &ApiError, request_id: &str) -> ApiResponse {
        native_response::encode_error(error, request_id)
    }
}

/// How a body contains events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mode {
    /// One event.
    Structured,
    /// An array of events.
    Batched,
}

impl Mode {
    /// The mode that a media type announces; `None` for a type of another protocol.
    pub(super) fn from_media_type(media_type: Option<&str>) -> Option<Self> {
        match media_type? {
            "application/cloudevents+json" => Some(Self::Structured),
            "application/cloudevents-batch+json" => Some(Self::Batched),
            _ => None,
        }
    }
}

fn decode_request(context: &RequestContext<'_>, request_id: &str) -> Result<PackedRequest, ApiError> {
    let mode = Mode::from_media_type(context.media_type()?.as_deref()).ok_or_else(|| {
        ApiError::UnsupportedMediaType(
            "unsupported Content-Type: use application/cloudevents+json or application/cloudevents-batch+json; events in \
             binary mode go to /v1/<dataset>"
                .to_owned(),
        )
    })?;
    decode(context, request_id, mode)
}

/// Decodes the events of a request.
pub(super) fn decode(
    context: &RequestContext<'_>,
    request_id: &str,
    mode: Mode,
) -> Result<PackedRequest, ApiError> {
    let contract = context.target.dataset().and_then(|dataset| context.catalog.contract(dataset));
    let reads_data =
        contract.is_some_and(|contract| contract.top_level_fields().iter().any(|field| field == "data"));
    decode_body(&context.text()?, mode, reads_data, Packer::new(context.target.dataset(), request_id))
}

fn decode_body(
    text: &[u8],
    mode: Mode,
    is_whole: bool,
    packer: Packer<'_>,
) -> Result<PackedRequest, ApiError> {
    let mut decoder = Decoder {
        packer,
        payload: PayloadDecoder::default(),
        pending: PendingLines::default(),
        is_whole,
        events: 0,
    };
    let mut reader = JsonReader::new(text);
    let mut decode = || match (mode, reader.peek()) {
        (Mode::Structured, _) => decoder.decode_event(&mut reader),
        (Mode::Batched, Some(b'[')) => reader.read_elements(|reader| decoder.decode_event(reader)),
        (Mode::Batched, _) => {
            reader.copy_value(&mut Discard)?;
            Err(ApiError::UnexpectedShape("a batch of events must be an array".to_owned()).into())
        }
    };
    decode()
        .and_then(|()| Ok(reader.expect_end()?))
        .map_err(|error: ParseError| error.into_api_error(text))?;
    Ok(decoder.packer.finish())
}

struct Decoder<'a> {
    packer: Packer<'a>,
    payload: PayloadDecoder,
    /// The lines of the event that is being decoded.
    pending: PendingLines,
    /// Whether the record is the whole event.
    is_whole: bool,
    /// Events so far.
    events: u64,
}

impl Decoder<'_> {
    fn decode_event(&mut self, reader: &mut JsonReader<'_>) -> Result<(), ParseError> {
        let event = self.events;
        self.events += 1;
        let unexpected_shape =
            |problem: &str| ParseError::from(ApiError::UnexpectedShape(format!("event {event} {problem}")));
        if reader.peek() != Some(b'{') {
            reader.copy_value(&mut Discard)?;
            return Err(unexpected_shape("is not an object"));
        }
        let mut start = reader.clone();
        let (mut has_version, mut has_data) = (false, false);
        reader.read_members(|reader, name| match name {
            "data" | "data_base64" if std::mem::replace(&mut has_data, true) => {
                Err(unexpected_shape("has its data twice"))
            }
            "data" if !self.is_whole => self.payload.copy_value(reader, &mut self.pending),
            "data_base64" if !self.is_whole => {
                match self.payload.copy_base64_value(reader, &mut self.pending)? {
                    true => Ok(()),
                    false => Err(unexpected_shape("has a data_base64 that is not base64")),
                }
            }
            "specversion" => {
                has_version = true;
                let mut version = Vec::new();
                reader.copy_value(&mut version)?;
                match version.as_slice() {
                    b"\"1.0\"" => Ok(()),
                    _ => Err(unexpected_shape("has another 'specversion' than \"1.0\"")),
                }
            }
            _ => Ok(reader.copy_value(&mut Discard)?),
        })?;
        if !has_version {
            return Err(unexpected_shape("has no 'specversion': send the attributes of CloudEvents 1.0"));
        }
        if self.pending.is_empty() {
            self.packer.add_line(|line| Ok::<(), ParseError>(start.copy_value(line)?))?;
        }
        Ok(self.pending.move_to(&mut self.packer)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str, mode: Mode, is_whole: bool) -> Result<Vec<String>, ApiError> {
        let packed = decode_body(text.as_bytes(), mode, is_whole, Packer::new(Some("pin"), "r"))?;
        let text: Vec<String> =
            packed.records.into_iter().map(|record| String::from_utf8(record.data).unwrap()).collect();
        Ok(text.iter().flat_map(|text| text.split('\n')).map(str::to_owned).collect())
    }

    #[test]
    fn the_record_is_the_data() {
        let event = r#"{"specversion":"1.0","type":"t","source":"s","id":"1","data":{"a": 1}}"#;
        let base64 = r#"{"data_base64":"eyJhIjoyfQ==","specversion":"1.0","type":"t","source":"s","id":"2"}"#;
        let empty = r#"{"specversion":"1.0","id":"3"}"#;
        assert_eq!(decode(event, Mode::Structured, false).unwrap(), ["{\"a\":1}"]);
        assert_eq!(decode(event, Mode::Structured, true).unwrap(), [event.replace(": ", ":")]);
        let batch = format!("[{event}, {base64},\n{empty}]");
        assert_eq!(decode(&batch, Mode::Batched, false).unwrap(), ["{\"a\":1}", "{\"a\":2}", empty]);
        assert!(decode("[]", Mode::Batched, false).unwrap().is_empty());
    }

    #[test]
    fn errors_name_the_event() {
        for (text, mode, expected) in [
            ("{}", Mode::Structured, "event 0 has no 'specversion'"),
            ("[]", Mode::Structured, "event 0 is not an object"),
            ("{}", Mode::Batched, "a batch of events"),
            (r#"{"specversion":"0.3"}"#, Mode::Structured, "event 0 has another 'specversion' than \"1.0\""),
            (r#"[{"specversion":"1.0"},7]"#, Mode::Batched, "event 1 is not an object"),
            (r#"{"specversion":"1.0","data":1,"data":2}"#, Mode::Structured, "event 0 has its data twice"),
        ] {
            let Err(ApiError::UnexpectedShape(problem)) = decode(text, mode, false) else { panic!("{text}") };
            assert!(problem.starts_with(expected), "{text}: {problem}");
        }
    }
}
