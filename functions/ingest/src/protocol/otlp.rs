//! OTLP/HTTP: `POST /v1/logs` with the log records of an OpenTelemetry exporter, in JSON.
//!
//! Source: "OpenTelemetry Protocol Specification" 1.x, "OTLP/HTTP" and "JSON Protobuf Encoding"; `logs.proto`. Each log
//! record is a record, with the attributes of its resource and its scope:
//!
//! ```json
//! {"resource":{"service.name":"shop"},"scope":{"name":"cart","version":"1.0"},"timeUnixNano":1544712660300000000,
//!  "severityNumber":10,"severityText":"Information","body":"text","attributes":{"http.status":200}}
//! ```
//!
//! Attributes become objects, values lose their types (`{"intValue":"10"}` is `10`), and members that are not known are
//! dropped, as the specification demands. A time of 0, which means unknown, is dropped as well.

use http::StatusCode;
use serde_json::json;

use super::{native, native_response};
use crate::body::MAX_TEXT_BYTES;
use crate::endpoint::{CompletedWrite, Endpoint, Method, Operation, Protocol, RequestContext, Resource};
use crate::error::{ApiError, ParseError};
use crate::json_reader::{Discard, JsonReader};
use crate::packing::{LineSink as _, MAX_RECORD_BYTES, PackedRequest, Packer};
use crate::response::ApiResponse;

/// OpenTelemetry's protocol over HTTP.
#[derive(Debug)]
pub struct Otlp;

/// The most bytes of a log record with its resource and scope. Its stream key has at most 256.
const MAX_LINE_BYTES: usize = MAX_RECORD_BYTES - 256;

/// The dataset that takes native records at this path, too, because it did so before.
const LOGS: &str = "logs";

const ENDPOINTS: &[Endpoint] = &[Endpoint::new(
    "/v1/logs",
    &[Method::new(
        "POST",
        Resource::Logs,
        Operation::Write { decode: decode_request, encode: encode_response },
    )],
)];

impl Protocol for Otlp {
    fn name(&self) -> &'static str {
        "otlp"
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

    /// A `google.rpc.Status`, with the members of a native error.
    fn encode_error(&self, error: &ApiError, request_id: &str) -> ApiResponse {
        let status = error.status();
        let body = json!({
            "code": rpc_code(status),
            "error": native_response::error_code(error),
            "message": error.to_string(),
            "request_id": request_id,
        });
        ApiResponse::from_error(error, status, body)
    }
}

/// The code of gRPC (`google/rpc/code.proto`).
fn rpc_code(status: StatusCode) -> u8 {
    match status.as_u16() {
        401 => 16,
        403 => 7,
        404 => 5,
        405 => 12,
        429 => 8,
        500 => 13,
        503 => 14,
        _ => 3,
    }
}

fn decode_request(context: &RequestContext<'_>, request_id: &str) -> Result<PackedRequest, ApiError> {
    let is_native = context.target.dataset() == Some(LOGS);
    match context.media_type()?.as_deref() {
        None | Some("application/json") => {}
        Some("application/x-protobuf" | "application/protobuf") => {
            return Err(ApiError::UnsupportedMediaType(
                "unsupported Content-Type: Protobuf is not read; configure the exporter to send JSON, with \
                 OTEL_EXPORTER_OTLP_PROTOCOL=http/json"
                    .to_owned(),
            ));
        }
        Some(_) if is_native => return native::decode_request(context, request_id),
        Some(other) => {
            return Err(ApiError::UnsupportedMediaType(format!(
                "unsupported Content-Type '{other}': use application/json, OTEL_EXPORTER_OTLP_PROTOCOL=http/json"
            )));
        }
    }
    let text = context.text()?;
    if is_native && !has_logs(&text) {
        return native::decode_request(context, request_id);
    }
    decode_body(&text, Packer::new(context.target.dataset(), request_id))
}

/// Whether a body is an object with `resourceLogs`, or without members.
fn has_logs(text: &[u8]) -> bool {
    let (mut has_logs, mut has_others) = (false, false);
    let mut reader = JsonReader::new(text);
    let is_object = reader.peek() == Some(b'{')
        && reader
            .read_members(|reader, name| {
                has_logs |= name == "resourceLogs";
                has_others = true;
                reader.copy_value(&mut Discard)
            })
            .is_ok();
    is_object && (has_logs || !has_others)
}

fn decode_body(text: &[u8], packer: Packer<'_>) -> Result<PackedRequest, ApiError> {
    let mut decoder = Decoder { packer, line: Vec::new(), records: 0, rejected: 0, bytes: 0 };
    let mut reader = JsonReader::new(text);
    let mut decode = || {
        let (mut has_logs, mut has_others) = (false, false);
        object(&mut reader, "the body", |reader, name| {
            if name != "resourceLogs" {
                has_others = true;
                return skip(reader);
            }
            has_logs = true;
            array(reader, name, |reader| decoder.decode_resource_logs(reader))
        })?;
        // Only an empty message may be without.
        if has_others && !has_logs {
            return Err(unexpected_shape("the body has no 'resourceLogs'"));
        }
        Ok(reader.expect_end()?)
    };
    decode().map_err(|error: ParseError| error.into_api_error(text))?;
    Ok(PackedRequest { rejected: decoder.rejected, ..decoder.packer.finish() })
}

struct Decoder<'a> {
    packer: Packer<'a>,
    /// The line of a log record.
    line: Vec<u8>,
    /// Log records so far.
    records: u64,
    /// Those that are too large.
    rejected: u64,
    /// The bytes of all lines. Each line repeats the resource and the scope.
    bytes: usize,
}

impl Decoder<'_> {
    fn decode_resource_logs(&mut self, reader: &mut JsonReader<'_>) -> Result<(), ParseError> {
        let mut resource = b"{}".to_vec();
        object(&mut reader.clone(), "an element of resourceLogs", |reader, name| {
            if name != "resource" || is_null(reader) {
                return skip(reader);
            }
            object(reader, name, |reader, name| {
                if name != "attributes" {
                    return skip(reader);
                }
                resource.clear();
                copy_attributes(reader, &mut resource)
            })
        })?;
        object(reader, "an element of resourceLogs", |reader, name| {
            if name != "scopeLogs" {
                return skip(reader);
            }
            array(reader, name, |reader| self.decode_scope_logs(reader, &resource))
        })
    }

    fn decode_scope_logs(&mut self, reader: &mut JsonReader<'_>, resource: &[u8]) -> Result<(), ParseError> {
        let mut scope = Vec::new();
        object(&mut reader.clone(), "an element of scopeLogs", |reader, name| {
            if name != "scope" || is_null(reader) {
                return skip(reader);
            }
            scope.clear();
            scope.push(b'{');
            object(reader, name, |reader, name| match name {
                "name" | "version" => {
                    open_member(&mut scope, name);
                    Ok(reader.copy_value(&mut scope)?)
                }
                "attributes" => {
                    open_member(&mut scope, name);
                    copy_attributes(reader, &mut scope)
                }
                _ => skip(reader),
            })?;
            scope.push(b'}');
            Ok(())
        })?;
        object(reader, "an element of scopeLogs", |reader, name| {
            if name != "logRecords" {
                return skip(reader);
            }
            array(reader, name, |reader| self.decode_log_record(reader, resource, &scope))
        })
    }

    fn decode_log_record(
        &mut self,
        reader: &mut JsonReader<'_>,
        resource: &[u8],
        scope: &[u8],
    ) -> Result<(), ParseError> {
        let line = &mut self.line;
        line.clear();
        line.push(b'{');
        for (name, value) in [("resource", resource), ("scope", scope)] {
            if !value.is_empty() {
                open_member(line, name);
                line.extend_from_slice(value);
            }
        }
        object(reader, "a log record", |reader, name| match name {
            "timeUnixNano" | "observedTimeUnixNano" => {
                let start = line.len();
                open_member(line, name);
                let value = line.len();
                copy_integer(reader, line)?;
                if matches!(&line[value..], b"0" | b"null") {
                    line.truncate(start);
                }
                Ok(())
            }
            "severityNumber" | "droppedAttributesCount" | "flags" => {
                open_member(line, name);
                copy_integer(reader, line)
            }
            "severityText" | "traceId" | "spanId" | "eventName" => {
                open_member(line, name);
                Ok(reader.copy_value(line)?)
            }
            "body" => {
                open_member(line, name);
                copy_value(reader, line)
            }
            "attributes" => {
                open_member(line, name);
                copy_attributes(reader, line)
            }
            _ => skip(reader),
        })?;
        line.push(b'}');
        self.records += 1;
        self.bytes += line.len();
        if self.bytes > MAX_TEXT_BYTES {
            let problem = format!(
                "the first {} log records, each with its resource and scope, have more than {MAX_TEXT_BYTES} bytes",
                self.records
            );
            return Err(ApiError::TooLarge(problem).into());
        }
        if line.len() > MAX_LINE_BYTES {
            self.rejected += 1;
            return Ok(());
        }
        self.packer.add_line(|out| {
            out.extend_from_slice(line);
            Ok::<(), ParseError>(())
        })?;
        self.packer.end_record();
        Ok(())
    }
}

/// Reads the object that comes next, which errors call `what`.
fn object(
    reader: &mut JsonReader<'_>,
    what: &str,
    member: impl FnMut(&mut JsonReader<'_>, &str) -> Result<(), ParseError>,
) -> Result<(), ParseError> {
    if reader.peek() != Some(b'{') {
        return Err(wrong_kind(reader, what, "an object"));
    }
    reader.read_members(member)
}

/// Reads the array or null that comes next.
fn array(
    reader: &mut JsonReader<'_>,
    what: &str,
    element: impl FnMut(&mut JsonReader<'_>) -> Result<(), ParseError>,
) -> Result<(), ParseError> {
    match reader.peek() {
        Some(b'[') => reader.read_elements(element),
        Some(b'n') => skip(reader),
        _ => Err(wrong_kind(reader, what, "an array")),
    }
}

/// The error for a value of another kind, unless it is not JSON at all.
fn wrong_kind(reader: &mut JsonReader<'_>, what: &str, kind: &str) -> ParseError {
    match reader.copy_value(&mut Discard) {
        Ok(()) => unexpected_shape(&format!("{what} is not {kind}")),
        Err(malformed) => malformed.into(),
    }
}

fn unexpected_shape(problem: &str) -> ParseError {
    ApiError::UnexpectedShape(format!("{problem}: send an ExportLogsServiceRequest of OTLP")).into()
}

fn skip(reader: &mut JsonReader<'_>) -> Result<(), ParseError> {
    Ok(reader.copy_value(&mut Discard)?)
}

fn is_null(reader: &mut JsonReader<'_>) -> bool {
    reader.peek() == Some(b'n')
}

/// Begins a member of the object in `out`. Names are known ones, without characters to escape.
fn open_member(out: &mut Vec<u8>, name: &str) {
    if out.last() != Some(&b'{') {
        out.push(b',');
    }
    out.push(b'"');
    out.extend_from_slice(name.as_bytes());
    out.extend_from_slice(b"\":");
}

/// Copies a list of `KeyValue` as an object.
fn copy_attributes(reader: &mut JsonReader<'_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
    out.push(b'{');
    copy_elements(reader, out, copy_key_value)?;
    out.push(b'}');
    Ok(())
}

/// Copies the elements of an array, separated by commas. The bracket before them has been written.
fn copy_elements(
    reader: &mut JsonReader<'_>,
    out: &mut Vec<u8>,
    copy: fn(&mut JsonReader<'_>, &mut Vec<u8>) -> Result<(), ParseError>,
) -> Result<(), ParseError> {
    let start = out.len();
    array(reader, "a list of values", |reader| {
        if out.len() > start {
            out.push(b',');
        }
        copy(reader, out)
    })
}

/// Copies a `KeyValue` as a member of an object.
fn copy_key_value(reader: &mut JsonReader<'_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
    let (mut key, mut value) = (Vec::new(), Vec::new());
    object(reader, "an attribute", |reader, name| match name {
        "key" if reader.peek() == Some(b'"') => {
            key.clear();
            Ok(reader.copy_value(&mut key)?)
        }
        "key" => Err(wrong_kind(reader, "the key of an attribute", "text")),
        "value" => {
            value.clear();
            copy_value(reader, &mut value)
        }
        _ => skip(reader),
    })?;
    let or = |text: Vec<u8>, default: &[u8]| if text.is_empty() { default.to_vec() } else { text };
    out.extend_from_slice(&or(key, b"\"\""));
    out.push(b':');
    out.extend_from_slice(&or(value, b"null"));
    Ok(())
}

/// Copies an `AnyValue` as the value in it, null if it has none.
fn copy_value(reader: &mut JsonReader<'_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
    if is_null(reader) {
        return Ok(reader.copy_value(out)?);
    }
    let start = out.len();
    object(reader, "a value", |reader, name| {
        let brackets = match name {
            "stringValue" | "boolValue" | "doubleValue" | "bytesValue" => {
                out.truncate(start);
                return Ok(reader.copy_value(out)?);
            }
            "intValue" => {
                out.truncate(start);
                return copy_integer(reader, out);
            }
            "arrayValue" => (b'[', b']'),
            "kvlistValue" => (b'{', b'}'),
            _ => return skip(reader),
        };
        out.truncate(start);
        out.push(brackets.0);
        object(reader, name, |reader, inner| match (inner, name) {
            ("values", "arrayValue") => copy_elements(reader, out, copy_value),
            ("values", _) => copy_elements(reader, out, copy_key_value),
            _ => skip(reader),
        })?;
        out.push(brackets.1);
        Ok(())
    })?;
    if out.len() == start {
        out.extend_from_slice(b"null");
    }
    Ok(())
}

/// Copies an integer, which JSON Protobuf writes as text if it may have 64 bits.
fn copy_integer(reader: &mut JsonReader<'_>, out: &mut Vec<u8>) -> Result<(), ParseError> {
    let start = out.len();
    reader.copy_value(out)?;
    let end = out.len();
    if let [b'"', digits @ .., b'"'] = &out[start..]
        && is_integer(digits)
    {
        out.copy_within(start + 1..end - 1, start);
        out.truncate(end - 2);
    }
    Ok(())
}

fn is_integer(text: &[u8]) -> bool {
    let digits = text.strip_prefix(b"-").unwrap_or(text);
    let is_canonical = digits == b"0" || !digits.starts_with(b"0");
    is_canonical && (1..=20).contains(&digits.len()) && digits.iter().all(u8::is_ascii_digit)
}

/// An `ExportLogsServiceResponse`. An exporter must not send again what is rejected in it, so a request that was stored
/// in part is a 503, which it repeats.
fn encode_response(write: &CompletedWrite<'_>) -> (StatusCode, String) {
    // Log records have ends, native records of the dataset `logs` have none.
    if write.ends.is_empty() && !write.records.is_empty() {
        return native_response::encode_response(write);
    }
    if write.summary.results.iter().any(Result::is_err) {
        let message = "only a part of the request was stored: send it again";
        let body = json!({ "code": rpc_code(StatusCode::SERVICE_UNAVAILABLE), "message": message });
        return (StatusCode::SERVICE_UNAVAILABLE, body.to_string());
    }
    if write.rejected == 0 {
        return (StatusCode::OK, "{}".to_owned());
    }
    let message =
        format!("log records with more than {MAX_LINE_BYTES} bytes, their resource and scope included");
    let partial = json!({ "rejectedLogRecords": write.rejected.to_string(), "errorMessage": message });
    (StatusCode::OK, json!({ "partialSuccess": partial }).to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Result<Vec<String>, ApiError> {
        let packed = decode_body(text.as_bytes(), Packer::new(Some("logs"), "r"))?;
        let text: Vec<String> =
            packed.records.into_iter().map(|record| String::from_utf8(record.data).unwrap()).collect();
        Ok(text.iter().flat_map(|text| text.split('\n')).map(str::to_owned).collect())
    }

    fn request(record: &str) -> String {
        format!(r#"{{"resourceLogs":[{{"scopeLogs":[{{"logRecords":[{record}]}}]}}]}}"#)
    }

    #[test]
    fn values_lose_their_types() {
        for (value, expected) in [
            (r#"{"stringValue":"some \u0073tring"}"#, r#""some string""#),
            (r#"{"boolValue":true}"#, "true"),
            (r#"{"intValue":"10"}"#, "10"),
            (r#"{"intValue":-9223372036854775808}"#, "-9223372036854775808"),
            (r#"{"intValue":"-9223372036854775808"}"#, "-9223372036854775808"),
            (r#"{"intValue":"007"}"#, r#""007""#),
            (r#"{"doubleValue":637.704}"#, "637.704"),
            (r#"{"doubleValue":"NaN"}"#, r#""NaN""#),
            (r#"{"bytesValue":"aGk="}"#, r#""aGk=""#),
            (
                r#"{"arrayValue":{"values":[{"stringValue":"many"},{"intValue":"1"},{}]}}"#,
                r#"["many",1,null]"#,
            ),
            (r#"{"arrayValue":{}}"#, "[]"),
            (
                r#"{"kvlistValue":{"values":[{"value":{"kvlistValue":{"values":[]}},"key":"a"},{"key":"b \"c\""}]}}"#,
                r#"{"a":{},"b \"c\"":null}"#,
            ),
            (r#"{"unknown":[1],"intValue":1}"#, "1"),
            ("{}", "null"),
            ("null", "null"),
        ] {
            let lines = decode(&request(&format!(r#"{{"body":{value}}}"#))).unwrap();
            assert_eq!(lines, [format!(r#"{{"resource":{{}},"body":{expected}}}"#)], "{value}");
        }
    }

    #[test]
    fn the_order_of_members_does_not_matter() {
        let text = r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[{"timeUnixNano":"0","observedTimeUnixNano":"7",
            "unknown":1,"attributes":[{"key":"n","value":{"intValue":1}}]}],"scope":{"version":"1","name":"s",
            "attributes":[{"key":"k","value":{"boolValue":false}}]}}],"resource":{"droppedAttributesCount":1,
            "attributes":[{"value":{"stringValue":"shop"},"key":"service.name"}]}},{"resource":null,"scopeLogs":null}]}"#;
        let expected = r#"{"resource":{"service.name":"shop"},"scope":{"version":"1","name":"s","attributes":{"k":false}},"observedTimeUnixNano":7,"attributes":{"n":1}}"#;
        assert_eq!(decode(text).unwrap(), [expected]);
    }

    #[test]
    fn empty_requests_have_no_records_and_others_no_logs() {
        for text in
            ["{}", r#"{"resourceLogs":[]}"#, r#"{"resourceLogs":[{"scopeLogs":[{"logRecords":[]}]}]}"#]
        {
            assert!(decode(text).unwrap().is_empty(), "{text}");
            assert!(has_logs(text.as_bytes()));
        }
        for text in [
            "[]",
            "7",
            r#"{"resourceSpans":[]}"#,
            r#"{"resourceLogs":{}}"#,
            r#"{"resourceLogs":[7]}"#,
            &request("7"),
            &request(r#"{"body":"text"}"#),
            &request(r#"{"body":{"arrayValue":[]}}"#),
            &request(r#"{"attributes":{"a":1}}"#),
            &request(r#"{"attributes":[{"key":1}]}"#),
        ] {
            assert!(matches!(decode(text), Err(ApiError::UnexpectedShape(_))), "{text}");
        }
        for text in [&request("{]")[..], "{\"resourceLogs\":[]} x", "{\"resourceLogs\":nul}", "x"] {
            assert!(matches!(decode(text), Err(ApiError::MalformedJson { .. })), "{text}");
        }
        let deep = r#"{"arrayValue":{"values":["#.repeat(100);
        assert!(matches!(
            decode(&request(&format!(r#"{{"body":{deep}"#))),
            Err(ApiError::MalformedJson { .. })
        ));
    }

    #[test]
    fn what_a_resource_multiplies_to_is_bounded() {
        let attribute = |bytes| format!(r#"{{"key":"a","value":{{"stringValue":"{}"}}}}"#, "x".repeat(bytes));
        let request = |bytes, records| {
            let attribute = attribute(bytes);
            let records = vec!["{}"; records].join(",");
            format!(
                r#"{{"resourceLogs":[{{"resource":{{"attributes":[{attribute}]}},"scopeLogs":[{{"logRecords":[{records}]}}]}}]}}"#
            )
        };
        assert_eq!(decode(&request(100_000, 100)).unwrap().len(), 100);
        assert!(matches!(decode(&request(100_000, 200)), Err(ApiError::TooLarge(_))));
        // A log record that is too large is rejected on its own.
        let packed = decode_body(request(1 << 20, 2).as_bytes(), Packer::new(None, "r")).unwrap();
        assert_eq!((packed.rejected, packed.records.len()), (2, 0));
    }
}
