//! The Kafka REST proxy, version 3: produce requests, and the list of clusters.
//!
//! Source: "Confluent REST Proxy API Reference", v3, "Produce records to the given topic". A body is one record, or
//! several in a row (the streaming mode), and the response has one object for each. Keys, partitions and timestamps of
//! records are ignored; records whose schema is in a registry are not read.

use http::StatusCode;
use serde_json::{Value, json};

use super::kafka;
use crate::endpoint::{CompletedWrite, Endpoint, Method, Operation, Protocol, RequestContext, Resource};
use crate::error::{ApiError, ParseError};
use crate::json_reader::{Discard, JsonReader};
use crate::packing::{LineSink as _, PackedRequest, Packer};
use crate::payload::{PayloadDecoder, PendingLines};
use crate::response::ApiResponse;

/// The error code of a record that was not stored and can be sent again.
const RETRIABLE: u16 = 50_003;

/// The id of the only cluster. Requests may use any.
const CLUSTER: &str = "pinlake";

/// The Kafka REST proxy, version 3.
#[derive(Debug)]
pub struct KafkaRestV3;

const ENDPOINTS: &[Endpoint] = &[
    Endpoint::new(
        "/v3/clusters/{cluster}/topics/{topic}/records",
        &[Method::new(
            "POST",
            Resource::ClusterTopic,
            Operation::Write { decode: decode_produce, encode: encode_results },
        )],
    ),
    Endpoint::new("/v3/clusters", &[Method::new("GET", Resource::None, Operation::Lookup(list_clusters))]),
];

impl Protocol for KafkaRestV3 {
    fn name(&self) -> &'static str {
        "kafka v3"
    }

    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn endpoints(&self) -> &'static [Endpoint] {
        ENDPOINTS
    }

    fn path_keywords(&self) -> &'static [&'static str] {
        &["v3"]
    }

    fn encode_error(&self, error: &ApiError, _: &str) -> ApiResponse {
        kafka::encode_error(error)
    }
}

fn list_clusters(_: &RequestContext<'_>) -> Result<Value, ApiError> {
    let metadata = json!({ "self": format!("/v3/clusters/{CLUSTER}"), "resource_name": format!("crn:///kafka={CLUSTER}") });
    let cluster = json!({ "kind": "KafkaCluster", "metadata": metadata, "cluster_id": CLUSTER });
    let metadata = json!({ "self": "/v3/clusters", "next": null });
    Ok(json!({ "kind": "KafkaClusterList", "metadata": metadata, "data": [cluster] }))
}

fn decode_produce(context: &RequestContext<'_>, request_id: &str) -> Result<PackedRequest, ApiError> {
    super::kinesis::check_media_type(context.media_type()?.as_deref())?;
    decode_body(&context.text()?, Packer::new(context.target.dataset(), request_id))
}

fn decode_body(text: &[u8], packer: Packer<'_>) -> Result<PackedRequest, ApiError> {
    let mut decoder =
        Decoder { packer, payload: PayloadDecoder::default(), pending: PendingLines::default() };
    let mut reader = JsonReader::new(text);
    // The body is not blank.
    while reader.peek().is_some() {
        decoder.decode_record(&mut reader).map_err(|error| error.into_api_error(text))?;
    }
    Ok(decoder.packer.finish())
}

struct Decoder<'a> {
    packer: Packer<'a>,
    payload: PayloadDecoder,
    /// The lines of the record that is being decoded: its type may follow them.
    pending: PendingLines,
}

impl Decoder<'_> {
    fn decode_record(&mut self, reader: &mut JsonReader<'_>) -> Result<(), ParseError> {
        let index = self.packer.ended_records();
        if index == kafka::MAX_RECORDS {
            let problem = format!("more than {} records in one request", kafka::MAX_RECORDS);
            return Err(ApiError::TooLarge(problem).into());
        }
        if reader.peek() != Some(b'{') {
            reader.copy_value(&mut Discard)?;
            return Err(unexpected_shape(index, "is not an object with a 'value'"));
        }
        let mut has_value = false;
        reader.read_members(|reader, name| {
            if name != "value" {
                return Ok::<(), ParseError>(reader.copy_value(&mut Discard)?);
            }
            if std::mem::replace(&mut has_value, true) {
                return Err(unexpected_shape(index, "has two values"));
            }
            self.decode_value(reader, index)
        })?;
        if self.pending.is_empty() {
            // A record without a value is a tombstone.
            self.packer.add_line(|line| {
                line.extend_from_slice(b"null");
                Ok::<(), ParseError>(())
            })?;
        }
        self.pending.move_to(&mut self.packer)?;
        self.packer.end_record();
        Ok(())
    }

    /// Decodes `{"type": "JSON", "data": ...}`.
    fn decode_value(&mut self, reader: &mut JsonReader<'_>, index: u64) -> Result<(), ParseError> {
        match reader.peek() {
            Some(b'{') => {}
            Some(b'n') => return Ok(reader.copy_value(&mut Discard)?),
            _ => {
                reader.copy_value(&mut Discard)?;
                return Err(unexpected_shape(
                    index,
                    "has a value that is not an object with 'type' and 'data'",
                ));
            }
        }
        let mut has_data = false;
        reader.read_members(|reader, name| match name {
            "data" if std::mem::replace(&mut has_data, true) => {
                Err(unexpected_shape(index, "has 'data' twice"))
            }
            // Bytes are base64, which is recognised in any string.
            "data" => self.payload.copy_value(reader, &mut self.pending),
            "type" => {
                let mut text = Vec::new();
                reader.copy_value(&mut text)?;
                match text.as_slice() {
                    b"\"JSON\"" | b"\"BINARY\"" | b"\"STRING\"" | b"\"JSONSCHEMA\"" | b"null" => Ok(()),
                    _ => Err(unexpected_shape(
                        index,
                        "has a type that is not JSON, BINARY, STRING or JSONSCHEMA",
                    )),
                }
            }
            _ => Ok(reader.copy_value(&mut Discard)?),
        })?;
        // Without this rule, a record that a client sends without its wrapper would be stored as a tombstone.
        if has_data { Ok(()) } else { Err(unexpected_shape(index, "has a value without 'data'")) }
    }
}

fn unexpected_shape(index: u64, problem: &str) -> ParseError {
    ApiError::UnexpectedShape(format!("record {index} {problem}")).into()
}

/// One object for each record.
fn encode_results(write: &CompletedWrite<'_>) -> (StatusCode, String) {
    let name = |at: usize| write.parameters.get(at).map_or("", String::as_str);
    let entry = |(index, result): (u64, Result<_, _>)| match result {
        Ok(_) => json!({
            "error_code": 200,
            "cluster_id": name(0),
            "topic_name": name(1),
            "partition_id": 0,
            "offset": write.completed_us.saturating_add_unsigned(index),
        }),
        Err(_) => json!({ "error_code": RETRIABLE, "message": "the record was not stored: send it again" }),
    };
    let lines: Vec<String> = (0..).zip(write.results()).map(|result| entry(result).to_string()).collect();
    (StatusCode::OK, lines.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Result<Vec<String>, ApiError> {
        let packed = decode_body(text.as_bytes(), Packer::new(Some("pin"), "r"))?;
        let text: Vec<String> =
            packed.records.into_iter().map(|record| String::from_utf8(record.data).unwrap()).collect();
        Ok(text.iter().flat_map(|text| text.split('\n')).map(str::to_owned).collect())
    }

    #[test]
    fn one_record_or_a_stream_of_records() {
        for (text, expected) in [
            (r#"{"value":{"type":"JSON","data":{"a": 1}}}"#, &["{\"a\":1}"][..]),
            (
                r#"{"key":{"type":"BINARY","data":"a2V5"},"value":{"data":"eyJhIjoxfQ==","type":"BINARY"}}"#,
                &["{\"a\":1}"],
            ),
            (
                "{\"value\":{\"type\":\"JSON\",\"data\":{\"a\":1}}}\n{\"value\":{\"data\":[{\"a\":2},{\"a\":3}]}}{\"partition_id\":0}",
                &["{\"a\":1}", "{\"a\":2}", "{\"a\":3}", "null"],
            ),
            (r#"{"value":null}"#, &["null"]),
            (r#"{"value":{"type":null,"data":null}}"#, &["null"]),
        ] {
            assert_eq!(decode(text).unwrap(), expected, "{text}");
        }
    }

    #[test]
    fn errors_name_the_record() {
        for (text, expected) in [
            ("[]", "record 0 is not an object with a 'value'"),
            (r#"{"value":{"type":"AVRO","data":1}}"#, "record 0 has a type"),
            (r#"{"value":{"data":1}} {"value":7}"#, "record 1 has a value that is not"),
            (r#"{"value":{"data":1},"value":{"data":1}}"#, "record 0 has two values"),
            (r#"{"value":{"type":"JSON"}}"#, "record 0 has a value without 'data'"),
            (r#"{"value":{"data":1}} {"value":{"index":7}}"#, "record 1 has a value without 'data'"),
        ] {
            let Err(ApiError::UnexpectedShape(problem)) = decode(text) else { panic!("{text}") };
            assert!(problem.starts_with(expected), "{text}: {problem}");
        }
        assert!(matches!(decode(r#"{"value":{"data":1}} x"#), Err(ApiError::MalformedJson { .. })));
    }
}
