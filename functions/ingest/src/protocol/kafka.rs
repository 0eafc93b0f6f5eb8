//! The Kafka REST proxy, version 2: produce requests and metadata of topics and partitions.
//!
//! Source: Confluent's "REST Proxy API Reference", v2, "Topics" and "Partitions". Because clients send it, `records`
//! may also be one object, and `Data` may replace `value`. Keys and partitions of records are ignored.

use http::StatusCode;
use serde_json::{Value, json};

use crate::endpoint::{
    CompletedWrite, Endpoint, Method, Operation, Protocol, RequestContext, Resource, complete_names,
};
use crate::error::{ApiError, ParseError};
use crate::json_reader::{Discard, JsonReader};
use crate::packing::{PackedRequest, Packer};
use crate::payload::PayloadDecoder;
use crate::response::ApiResponse;

/// The maximum number of records in a request. Each has an entry in the response, whose size is limited too.
pub const MAX_RECORDS: u64 = 50_000;

/// The error code of an offset entry: "retriable Kafka exception; the message might be sent successfully if retried".
const RETRIABLE: u16 = 2;

/// The only partition of every topic.
const PARTITION: u32 = 0;

/// The only broker.
const BROKER: u32 = 1;

/// The Kafka REST proxy.
#[derive(Debug)]
pub struct KafkaRest;

const PRODUCE: Operation = Operation::Write { decode: decode_produce, encode: encode_offsets };

const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new(
        "/topics/{topic}",
        &[
            Method::new("GET", Resource::Topic, Operation::Lookup(get_topic)),
            Method::new("POST", Resource::Topic, PRODUCE),
        ],
    ),
    Endpoint::new("/topic/{topic}", &[Method::new("POST", Resource::Topic, PRODUCE)]),
    Endpoint::new(
        "/topics/{topic}/partitions/{partition}",
        &[
            Method::new("GET", Resource::Topic, Operation::Lookup(get_partition)),
            Method::new("POST", Resource::Topic, PRODUCE),
        ],
    ),
    Endpoint::new(
        "/topics/{topic}/partitions",
        &[Method::new("GET", Resource::Topic, Operation::Lookup(list_partitions))],
    ),
    Endpoint::new("/topics", &[Method::new("GET", Resource::None, Operation::Lookup(list_topics))]),
];

impl Protocol for KafkaRest {
    fn name(&self) -> &'static str {
        "kafka"
    }

    fn content_type(&self) -> &'static str {
        "application/vnd.kafka.v2+json"
    }

    fn endpoints(&self) -> &'static [Endpoint] {
        ENDPOINTS
    }

    fn path_keywords(&self) -> &'static [&'static str] {
        &["topics", "topic", "consumers", "brokers"]
    }

    fn encode_error(&self, error: &ApiError, _: &str) -> ApiResponse {
        encode_error(error)
    }
}

/// Encodes an error as all versions of the proxy do.
pub(super) fn encode_error(error: &ApiError) -> ApiResponse {
    let status = status(error);
    let body = json!({ "error_code": error_code(error, status), "message": error.to_string() });
    ApiResponse::from_error(error, status, body)
}

/// The status of an error. The proxy answers a body of the wrong shape with "unprocessable".
fn status(error: &ApiError) -> StatusCode {
    match error {
        ApiError::UnexpectedShape(_) => StatusCode::UNPROCESSABLE_ENTITY,
        other => other.status(),
    }
}

/// The error code: the status, or the status and two more digits.
fn error_code(error: &ApiError, status: StatusCode) -> u16 {
    match error {
        ApiError::NotFound { kind: "topic", .. } => 40_401,
        ApiError::NotFound { kind: "partition", .. } => 40_402,
        ApiError::Unauthenticated => 40_101,
        ApiError::Unsigned | ApiError::AccessDenied { .. } => 40_301,
        ApiError::Unavailable | ApiError::Paused => 50_003,
        ApiError::Internal => 50_002,
        _ => status.as_u16(),
    }
}

fn list_topics(context: &RequestContext<'_>) -> Result<Value, ApiError> {
    let mut names: Vec<&str> =
        context.contracts().flat_map(|contract| complete_names(&contract.route.topics)).collect();
    names.sort_unstable();
    Ok(json!(names))
}

fn get_topic(context: &RequestContext<'_>) -> Result<Value, ApiError> {
    Ok(json!({ "name": context.resource_name(), "configs": {}, "partitions": [partition()] }))
}

fn list_partitions(_: &RequestContext<'_>) -> Result<Value, ApiError> {
    Ok(json!([partition()]))
}

fn get_partition(context: &RequestContext<'_>) -> Result<Value, ApiError> {
    check_partition(context)?;
    Ok(partition())
}

fn partition() -> Value {
    let replica = json!({ "broker": BROKER, "leader": true, "in_sync": true });
    json!({ "partition": PARTITION, "leader": BROKER, "replicas": [replica] })
}

/// Checks that the partition in the path exists, if the path has one.
fn check_partition(context: &RequestContext<'_>) -> Result<(), ApiError> {
    let Some(number) = context.parameters.get(1) else { return Ok(()) };
    match number.parse::<u32>() {
        Ok(PARTITION) => Ok(()),
        Ok(_) => Err(ApiError::NotFound {
            kind: "partition",
            name: number.clone(),
            hint: "the only partition of a topic is 0".to_owned(),
        }),
        Err(_) => Err(ApiError::InvalidArgument("invalid partition: use decimal digits".to_owned())),
    }
}

/// How a body contains the value of a record.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Embedding {
    /// As JSON.
    Json,
    /// As base64 of the record's bytes.
    Binary,
}

impl Embedding {
    /// The embedding that a media type announces.
    ///
    /// Requests without a type are JSON, because many clients send none. So are the types for which the proxy itself
    /// expects base64 (`application/vnd.kafka.v2+json`): clients sent JSON with them, and base64 is recognised anyway.
    fn from_media_type(media_type: Option<&str>) -> Result<Self, ApiError> {
        match media_type {
            None
            | Some(
                "application/vnd.kafka.json.v2+json"
                | "application/vnd.kafka.json.v1+json"
                | "application/vnd.kafka.v2+json"
                | "application/vnd.kafka.v1+json"
                | "application/vnd.kafka+json"
                | "application/vnd.kafka.jsonschema.v2+json"
                | "application/json"
                | "text/plain",
            ) => Ok(Self::Json),
            Some("application/vnd.kafka.binary.v2+json" | "application/vnd.kafka.binary.v1+json") => {
                Ok(Self::Binary)
            }
            Some(other) => Err(ApiError::UnsupportedMediaType(format!(
                "unsupported Content-Type '{other}': use application/vnd.kafka.json.v2+json or \
                 application/vnd.kafka.binary.v2+json"
            ))),
        }
    }
}

fn decode_produce(context: &RequestContext<'_>, request_id: &str) -> Result<PackedRequest, ApiError> {
    check_partition(context)?;
    let embedding = Embedding::from_media_type(context.media_type()?.as_deref())?;
    decode_body(&context.text()?, embedding, Packer::new(context.target.dataset(), request_id))
}

fn decode_body(text: &[u8], embedding: Embedding, mut packer: Packer<'_>) -> Result<PackedRequest, ApiError> {
    let mut reader = JsonReader::new(text);
    RecordDecoder { embedding, packer: &mut packer, payload: PayloadDecoder::default() }
        .decode_envelope(&mut reader)
        .map_err(|error| error.into_api_error(text))?;
    if packer.count() == 0 {
        return Err(unexpected_shape("'records' is empty: send at least one"));
    }
    Ok(packer.finish())
}

/// Decodes the records of a request.
struct RecordDecoder<'a, 'b> {
    embedding: Embedding,
    packer: &'a mut Packer<'b>,
    payload: PayloadDecoder,
}

impl RecordDecoder<'_, '_> {
    fn decode_envelope(&mut self, reader: &mut JsonReader<'_>) -> Result<(), ParseError> {
        if reader.peek() != Some(b'{') {
            // If the body is not even JSON, that is the error to report.
            reader.copy_value(&mut Discard)?;
            reader.expect_end()?;
            return Err(unexpected_shape("the body must be an object with 'records'").into());
        }
        let mut has_records = false;
        reader.read_members(|reader, name| {
            if name != "records" {
                return Ok::<(), ParseError>(reader.copy_value(&mut Discard)?);
            }
            if std::mem::replace(&mut has_records, true) {
                return Err(unexpected_shape("'records' is given twice").into());
            }
            match reader.peek() {
                Some(b'[') => reader.read_elements(|reader| self.decode_record(reader)),
                _ => self.decode_record(reader),
            }
        })?;
        reader.expect_end()?;
        if has_records { Ok(()) } else { Err(unexpected_shape("'records' is missing").into()) }
    }

    fn decode_record(&mut self, reader: &mut JsonReader<'_>) -> Result<(), ParseError> {
        let index = self.packer.ended_records();
        if index == MAX_RECORDS {
            return Err(ApiError::TooLarge(format!("more than {MAX_RECORDS} records in one request")).into());
        }
        if reader.peek() != Some(b'{') {
            reader.copy_value(&mut Discard)?;
            return Err(unexpected_shape(&format!("record {index} is not an object with a 'value'")).into());
        }
        let mut has_value = false;
        reader.read_members(|reader, name| {
            if !matches!(name, "value" | "Data" | "data") {
                return Ok::<(), ParseError>(reader.copy_value(&mut Discard)?);
            }
            if std::mem::replace(&mut has_value, true) {
                return Err(unexpected_shape(&format!("record {index} has two values")).into());
            }
            match self.embedding {
                Embedding::Json => self.payload.copy_value(reader, self.packer),
                Embedding::Binary if self.payload.copy_base64_value(reader, self.packer)? => Ok(()),
                Embedding::Binary => {
                    let problem = format!("the value of record {index} is neither base64 nor null");
                    Err(unexpected_shape(&problem).into())
                }
            }
        })?;
        self.packer.end_record();
        if has_value {
            Ok(())
        } else {
            Err(unexpected_shape(&format!("record {index} has no 'value'")).into())
        }
    }
}

fn unexpected_shape(problem: &str) -> ApiError {
    ApiError::UnexpectedShape(problem.to_owned())
}

/// An offset for each record that was stored, an error for each other one.
///
/// Offsets grow within a request and from request to request, but nothing can be read at them. Microseconds since 1970
/// stay below 2^53, which is exact in JavaScript, until 2255.
fn encode_offsets(write: &CompletedWrite<'_>) -> (StatusCode, String) {
    let entry = |(index, result): (u64, Result<_, _>)| match result {
        Ok(_) => {
            let offset = write.completed_us.saturating_add_unsigned(index);
            json!({ "partition": PARTITION, "offset": offset, "error_code": null, "error": null })
        }
        Err(_) => {
            let error = "the record was not stored: send it again";
            json!({ "partition": null, "offset": null, "error_code": RETRIABLE, "error": error })
        }
    };
    let offsets: Vec<Value> = (0..).zip(write.results()).map(entry).collect();
    let body = json!({ "offsets": offsets, "key_schema_id": null, "value_schema_id": null });
    (StatusCode::OK, body.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode_json_lines(text: &str) -> Result<String, ApiError> {
        decode_lines(text, Embedding::Json)
    }

    fn decode_lines(text: &str, embedding: Embedding) -> Result<String, ApiError> {
        let packed = decode_body(text.as_bytes(), embedding, Packer::new(Some("pin"), "r"))?.records;
        assert_eq!(packed.len(), 1);
        Ok(String::from_utf8(packed[0].data.clone()).unwrap())
    }

    #[test]
    fn variants_that_clients_send() {
        for (text, expected) in [
            (r#"{"records": [{"value": {"index": 1, "t": "caf\u00e9"}}]}"#, "{\"index\":1,\"t\":\"café\"}"),
            (r#"{"records":[{"value":{"a":1}},{"value":{"a":2}}]}"#, "{\"a\":1}\n{\"a\":2}"),
            (r#"{"records":[{"key":"k","value":{"a":1},"partition":0}],"value_schema":null}"#, "{\"a\":1}"),
            ("{\n  \"records\": [\n    {\n      \"value\": {\n \"a\": 1 } } ] }\n", "{\"a\":1}"),
            (r#"{"records":{"value":{"a":1}}}"#, "{\"a\":1}"),
            (r#"{"records":[{"Data":{"a":1},"PartitionKey":"p"}]}"#, "{\"a\":1}"),
            (r#"{"records":[{"value":"{\"a\": 1}"}]}"#, "{\"a\":1}"),
            (r#"{"records":[{"value":null},{"value":"x"}]}"#, "null\n\"x\""),
            (
                r#"{"records":[{"value":[{"a":1},{"a":2}]},{"value":{"a":3}}]}"#,
                "{\"a\":1}\n{\"a\":2}\n{\"a\":3}",
            ),
        ] {
            assert_eq!(decode_json_lines(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn binary_values_are_decoded() {
        // base64 of {"a": 1}, [1], 12, "x", {broken, and a byte that is not UTF-8
        for (value, expected) in [
            ("\"eyJhIjogMX0=\"", "{\"a\":1}"),
            ("\"eyJhIjogMX0\"", "{\"a\":1}"),
            ("\"WzFd\"", "[1]"),
            ("\"eyJhIjogMX0KeyJhIjogMn0K\"", "{\"a\":1}\n{\"a\":2}"),
            ("\"MTI=\"", "12"),
            ("\"Ingi\"", "\"x\""),
            ("\"e2Jyb2tlbg==\"", "\"e2Jyb2tlbg==\""),
            ("\"/w==\"", "\"/w==\""),
            ("\"\"", "\"\""),
            ("null", "null"),
        ] {
            let text = format!(r#"{{"records":[{{"key":"a2V5","value":{value}}}]}}"#);
            assert_eq!(decode_lines(&text, Embedding::Binary).unwrap(), expected, "{value}");
        }
        for value in ["{\"a\":1}", "7", "\"no base64!\"", "[\"eyJhIjogMX0=\"]"] {
            let text = format!(r#"{{"records":[{{"value":{value}}}]}}"#);
            let expected = unexpected_shape("the value of record 0 is neither base64 nor null");
            assert_eq!(decode_lines(&text, Embedding::Binary), Err(expected), "{value}");
        }
    }

    #[test]
    fn errors_name_the_unexpected_shape() {
        for (text, expected) in [
            (r"{}", "'records' is missing"),
            (r"[]", "the body must be an object with 'records'"),
            (r#"{"records":[]}"#, "'records' is empty: send at least one"),
            (r#"{"records":null}"#, "record 0 is not an object with a 'value'"),
            (r#"{"records":[{"value":1},{"key":1}]}"#, "record 1 has no 'value'"),
            (r#"{"records":[{"value":1,"value":2}]}"#, "record 0 has two values"),
            (r#"{"records":[{"value":1}],"records":[]}"#, "'records' is given twice"),
        ] {
            assert_eq!(decode_json_lines(text), Err(unexpected_shape(expected)), "{text}");
        }
        // Malformed JSON takes precedence over an unexpected shape.
        for text in ["nope", "[1] x", "{\"records\":[{\"value\":{}]}", "{\"records\":[nope]}"] {
            assert!(matches!(decode_json_lines(text), Err(ApiError::MalformedJson { .. })), "{text}");
        }
    }
}
