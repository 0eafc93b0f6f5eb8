//! The Kafka REST proxy's produce request, version 2: `POST /topics/<topic>`, or to a partition of it, with
//! `{"records":[{"value":...}]}`; and what the proxy tells of topics and partitions.
//!
//! Source: Confluent's "REST Proxy API Reference", v2, "Topics" and "Partitions". Taken as well, because clients send
//! it: `records` as one object, and `Data` in place of `value`. Keys and partitions of records are read over.

use http::StatusCode;
use serde_json::{Value, json};

use crate::compact::{Discard, Reader};
use crate::error::{ApiError, ParseError};
use crate::packing::{Packer, StreamRecord};
use crate::payload;
use crate::writer::Written;

/// The most records in a request: each has an entry in the answer, and an answer is bounded like a body.
pub const MAX_RECORDS: u64 = 50_000;

/// Error code of an offset entry: "retriable Kafka exception; the message might be sent successfully if retried".
const RETRIABLE: u16 = 2;

/// The one partition that every topic has here.
pub const PARTITION: u32 = 0;

/// The one broker that every partition is said to be on.
const BROKER: u32 = 1;

/// How a record's value stands in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Embedding {
    /// As JSON.
    Json,
    /// As base64 of the record's bytes.
    Binary,
}

impl Embedding {
    /// What a media type says about it. None at all is taken for JSON, as the proxy's clients often name none; so are
    /// those for which the proxy itself would have base64: clients sent JSON with them, and base64 of a row is told from it.
    ///
    /// # Errors
    /// For Avro, Protobuf, and everything that is no embedding.
    pub fn of(media_type: Option<&str>) -> Result<Self, ApiError> {
        match media_type {
            None
            | Some(
                "application/vnd.kafka.json.v2+json"
                | "application/vnd.kafka.json.v1+json"
                | "application/vnd.kafka.v2+json"
                | "application/vnd.kafka.v1+json"
                | "application/vnd.kafka+json"
                | "application/json",
            ) => Ok(Self::Json),
            Some("application/vnd.kafka.binary.v2+json" | "application/vnd.kafka.binary.v1+json") => {
                Ok(Self::Binary)
            }
            Some(other) => Err(ApiError::MediaType(format!(
                "Content-Type '{other}' is not read here: send application/vnd.kafka.json.v2+json or \
                 application/vnd.kafka.binary.v2+json"
            ))),
        }
    }
}

/// Which partition a path names.
///
/// # Errors
/// When it is no number, or there is no such partition.
pub fn check_partition(number: &str) -> Result<(), ApiError> {
    match number.parse::<u32>() {
        Ok(PARTITION) => Ok(()),
        Ok(_) => Err(ApiError::Unknown {
            kind: "partition",
            name: number.to_owned(),
            remedy: "each topic has the one partition 0".to_owned(),
        }),
        Err(_) => Err(ApiError::Argument("a partition's number has decimal digits only".to_owned())),
    }
}

/// What is told of a topic.
pub fn topic(name: &str) -> Value {
    json!({ "name": name, "configs": {}, "partitions": partitions() })
}

/// What is told of the partitions of any topic.
pub fn partitions() -> Value {
    json!([partition()])
}

/// What is told of a partition.
pub fn partition() -> Value {
    let replica = json!({ "broker": BROKER, "leader": true, "in_sync": true });
    json!({ "partition": PARTITION, "leader": BROKER, "replicas": [replica] })
}

/// Reads a body into `packer`.
///
/// # Errors
/// The first mistake in the body, a missing `records` or `value`, or a record that is too long.
pub fn read(
    text: &[u8],
    embedding: Embedding,
    mut packer: Packer<'_>,
) -> Result<Vec<StreamRecord>, ApiError> {
    let mut reader = Reader::new(text);
    envelope(&mut reader, embedding, &mut packer).map_err(|halt| halt.in_body(text))?;
    if packer.count() == 0 {
        return Err(shape("'records' is empty: send at least one"));
    }
    Ok(packer.finish())
}

fn envelope(
    reader: &mut Reader<'_>,
    embedding: Embedding,
    packer: &mut Packer<'_>,
) -> Result<(), ParseError> {
    if reader.peek() != Some(b'{') {
        // Rather "not JSON" than "not an object", where both are true.
        reader.value(&mut Discard)?;
        reader.end()?;
        return Err(shape("the body must be an object with 'records'").into());
    }
    let mut seen = false;
    reader.members(|reader, name| {
        if name != "records" {
            return Ok::<(), ParseError>(reader.value(&mut Discard)?);
        }
        if std::mem::replace(&mut seen, true) {
            return Err(shape("'records' is given twice").into());
        }
        match reader.peek() {
            Some(b'[') => reader.elements(|reader| record(reader, embedding, packer)),
            _ => record(reader, embedding, packer),
        }
    })?;
    reader.end()?;
    if seen { Ok(()) } else { Err(shape("'records' is missing").into()) }
}

fn record(reader: &mut Reader<'_>, embedding: Embedding, packer: &mut Packer<'_>) -> Result<(), ParseError> {
    let index = packer.count();
    if index == MAX_RECORDS {
        return Err(ApiError::TooLarge(format!("more than {MAX_RECORDS} records in one request")).into());
    }
    if reader.peek() != Some(b'{') {
        reader.value(&mut Discard)?;
        return Err(shape(&format!("record {index} is not an object with a 'value'")).into());
    }
    reader.members(|reader, name| {
        if !matches!(name, "value" | "Data" | "data") {
            return Ok::<(), ParseError>(reader.value(&mut Discard)?);
        }
        if packer.count() > index {
            return Err(shape(&format!("record {index} has two values")).into());
        }
        packer.line(|line| match embedding {
            Embedding::Json => Ok(payload::copy(reader, line)?),
            Embedding::Binary if payload::copy_base64(reader, line)? => Ok(()),
            Embedding::Binary => {
                Err(shape(&format!("the value of record {index} is neither base64 nor null")).into())
            }
        })
    })?;
    if packer.count() > index { Ok(()) } else { Err(shape(&format!("record {index} has no 'value'")).into()) }
}

fn shape(what: &str) -> ApiError {
    ApiError::Shape(what.to_owned())
}

/// The answer: an offset for each record that was taken, an error for each that was not.
///
/// Offsets are `first_offset` and up. They grow, but they are no positions: nothing can be read at one.
pub fn answer(records: &[StreamRecord], written: &Written, first_offset: i64) -> (StatusCode, Value) {
    let mut offsets = Vec::new();
    for (record, result) in records.iter().zip(&written.results) {
        for index in record.lines.clone() {
            offsets.push(match result {
                Ok(_) => {
                    let offset = first_offset.saturating_add_unsigned(index);
                    json!({ "partition": PARTITION, "offset": offset, "error_code": null, "error": null })
                }
                Err(_) => {
                    let error = "the stream did not take this record: send it again";
                    json!({ "partition": null, "offset": null, "error_code": RETRIABLE, "error": error })
                }
            });
        }
    }
    (StatusCode::OK, json!({ "offsets": offsets, "key_schema_id": null, "value_schema_id": null }))
}

/// The status in this API, where a body of the wrong shape is "unprocessable".
pub fn status(rejection: &ApiError) -> StatusCode {
    match rejection {
        ApiError::Shape(_) => StatusCode::UNPROCESSABLE_ENTITY,
        other => other.status(),
    }
}

/// An error in this API's style: the code is the status, or begins with it.
pub fn error_body(rejection: &ApiError) -> Value {
    let code = match rejection {
        ApiError::Unknown { kind: "topic", .. } => 40_401,
        ApiError::Unknown { kind: "partition", .. } => 40_402,
        ApiError::Unauthenticated => 40_101,
        ApiError::Forbidden | ApiError::OutOfScope { .. } => 40_301,
        ApiError::Unavailable => 50_003,
        ApiError::Internal => 50_002,
        other => status(other).as_u16(),
    };
    json!({ "error_code": code, "message": rejection.to_string() })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Result<String, ApiError> {
        lines_in(text, Embedding::Json)
    }

    fn lines_in(text: &str, embedding: Embedding) -> Result<String, ApiError> {
        let packed = read(text.as_bytes(), embedding, Packer::new("pin", "r"))?;
        assert_eq!(packed.len(), 1);
        Ok(String::from_utf8(packed[0].data.clone()).unwrap())
    }

    #[test]
    fn every_variant_that_clients_send() {
        for (text, expected) in [
            (r#"{"records": [{"value": {"index": 1, "t": "caf\u00e9"}}]}"#, "{\"index\":1,\"t\":\"café\"}"),
            (r#"{"records":[{"value":{"a":1}},{"value":{"a":2}}]}"#, "{\"a\":1}\n{\"a\":2}"),
            (r#"{"records":[{"key":"k","value":{"a":1},"partition":0}],"value_schema":null}"#, "{\"a\":1}"),
            ("{\n  \"records\": [\n    {\n      \"value\": {\n \"a\": 1 } } ] }\n", "{\"a\":1}"),
            (r#"{"records":{"value":{"a":1}}}"#, "{\"a\":1}"),
            (r#"{"records":[{"Data":{"a":1},"PartitionKey":"p"}]}"#, "{\"a\":1}"),
            (r#"{"records":[{"value":"{\"a\": 1}"}]}"#, "{\"a\":1}"),
            (r#"{"records":[{"value":null},{"value":"x"}]}"#, "null\n\"x\""),
        ] {
            assert_eq!(lines(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn binary_values_are_what_they_hold() {
        // base64 of {"a": 1}, of [1], of 12, of "x", of {broken, of a byte that is no text
        for (value, expected) in [
            ("\"eyJhIjogMX0=\"", "{\"a\":1}"),
            ("\"eyJhIjogMX0\"", "{\"a\":1}"),
            ("\"WzFd\"", "[1]"),
            ("\"MTI=\"", "12"),
            ("\"Ingi\"", "\"x\""),
            ("\"e2Jyb2tlbg==\"", "\"e2Jyb2tlbg==\""),
            ("\"/w==\"", "\"/w==\""),
            ("\"\"", "\"\""),
            ("null", "null"),
        ] {
            let text = format!(r#"{{"records":[{{"key":"a2V5","value":{value}}}]}}"#);
            assert_eq!(lines_in(&text, Embedding::Binary).unwrap(), expected, "{value}");
        }
        for value in ["{\"a\":1}", "7", "\"no base64!\"", "[\"eyJhIjogMX0=\"]"] {
            let text = format!(r#"{{"records":[{{"value":{value}}}]}}"#);
            let expected = shape("the value of record 0 is neither base64 nor null");
            assert_eq!(lines_in(&text, Embedding::Binary), Err(expected), "{value}");
        }
    }

    #[test]
    fn other_shapes_are_named() {
        for (text, expected) in [
            (r"{}", "'records' is missing"),
            (r"[]", "the body must be an object with 'records'"),
            (r#"{"records":[]}"#, "'records' is empty: send at least one"),
            (r#"{"records":null}"#, "record 0 is not an object with a 'value'"),
            (r#"{"records":[{"value":1},{"key":1}]}"#, "record 1 has no 'value'"),
            (r#"{"records":[{"value":1,"value":2}]}"#, "record 0 has two values"),
            (r#"{"records":[{"value":1}],"records":[]}"#, "'records' is given twice"),
        ] {
            assert_eq!(lines(text), Err(shape(expected)), "{text}");
        }
        // Not JSON counts before not the right shape.
        for text in ["nope", "[1] x", "{\"records\":[{\"value\":{}]}", "{\"records\":[nope]}"] {
            assert!(matches!(lines(text), Err(ApiError::Malformed { .. })), "{text}");
        }
    }
}
