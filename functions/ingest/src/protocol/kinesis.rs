//! API Gateway in front of Kinesis.
//!
//! Source: "Tutorial: Create a REST API as an Amazon Kinesis proxy" (API Gateway Developer Guide). The tutorial spells
//! member names in two ways, so capitals and hyphens are ignored: `Data`, `data`, `PartitionKey`, `partition-key`. The
//! path names the stream; a `StreamName` in the body is ignored. Consecutive records of one partition key share a
//! Kinesis record, so that a small request is not hundreds of records on the stream.

use http::{HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::endpoint::{
    CompletedWrite, Endpoint, Method, Operation, Protocol, RequestContext, Resource, Target,
};
use crate::error::{ApiError, ParseError};
use crate::json_reader::{Discard, JsonReader};
use crate::packing::{PackedRequest, Packer};
use crate::payload::{PayloadDecoder, PendingLines};
use crate::response::ApiResponse;
use crate::stream::{Receipt, StreamError};

pub mod reads;
pub mod streams;

/// The maximum number of records in a request (`PutRecords`, API reference).
pub const MAX_RECORDS: usize = 500;

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// API Gateway in front of Kinesis.
#[derive(Debug)]
pub struct KinesisGateway;

const PUT_RECORD: Operation = Operation::Write { decode: decode_put, encode: encode_put_record };
const PUT_RECORDS: Operation = Operation::Write { decode: decode_put, encode: encode_put_records };

/// Writes at a path whose stream is a `resource`.
const fn record_methods(resource: Resource) -> [Method; 2] {
    [Method::new("PUT", resource, PUT_RECORD), Method::new("POST", resource, PUT_RECORD)]
}

const fn records_methods(resource: Resource) -> [Method; 2] {
    [Method::new("PUT", resource, PUT_RECORDS), Method::new("POST", resource, PUT_RECORDS)]
}

const ENDPOINTS: &[Endpoint] = &[
    // Paths of old clients that name the stream in the query string, call the collection "stream", or mix it up with
    // topics.
    Endpoint::new("/streams/record", &record_methods(Resource::QueryStream)),
    Endpoint::new("/streams/records", &records_methods(Resource::QueryStream)),
    Endpoint::new("/stream/{stream}/record", &record_methods(Resource::Stream)),
    Endpoint::new("/stream/{stream}/records", &records_methods(Resource::Stream)),
    Endpoint::new("/topics/{stream}/record", &record_methods(Resource::Stream)),
    Endpoint::new("/topics/{stream}/records", &records_methods(Resource::Stream)),
    Endpoint::new(
        "/streams/{stream}/record",
        &[
            Method::new("PUT", Resource::Stream, PUT_RECORD),
            Method::new("POST", Resource::Stream, PUT_RECORD),
        ],
    ),
    Endpoint::new(
        "/streams/{stream}/records",
        &[
            Method::new("GET", Resource::Stream, Operation::Read(reads::get_records)),
            Method::new("PUT", Resource::Stream, PUT_RECORDS),
            Method::new("POST", Resource::Stream, PUT_RECORDS),
        ],
    ),
    Endpoint::new(
        "/streams/{stream}/sharditerator",
        &[Method::new("GET", Resource::Stream, Operation::Read(reads::get_shard_iterator))],
    ),
    Endpoint::new(
        "/streams/{stream}",
        &[
            Method::new("GET", Resource::Stream, Operation::Read(streams::describe_stream)),
            Method::new("POST", Resource::NewStream, Operation::Lookup(streams::create_stream)),
            Method::new("DELETE", Resource::Stream, Operation::Lookup(streams::delete_stream)),
        ],
    ),
    Endpoint::new(
        "/streams",
        &[Method::new("GET", Resource::None, Operation::Lookup(streams::list_streams))],
    ),
];

impl Protocol for KinesisGateway {
    fn name(&self) -> &'static str {
        "kinesis"
    }

    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn endpoints(&self) -> &'static [Endpoint] {
        ENDPOINTS
    }

    fn path_keywords(&self) -> &'static [&'static str] {
        &["streams", "stream"]
    }

    fn encode_error(&self, error: &ApiError, _: &str) -> ApiResponse {
        encode_error(error)
    }
}

/// Encodes an error as Kinesis does.
pub(super) fn encode_error(error: &ApiError) -> ApiResponse {
    let exception = exception(error);
    let body = json!({ "__type": exception, "message": error.to_string() });
    let mut response = ApiResponse::from_error(error, error.status(), body);
    response.set(ERROR_TYPE, HeaderValue::from_static(exception));
    response
}

/// The exception that Kinesis or API Gateway has for an error.
fn exception(error: &ApiError) -> &'static str {
    match error {
        ApiError::MalformedJson { .. } | ApiError::Undecodable(_) => "SerializationException",
        ApiError::UnexpectedShape(_) | ApiError::EmptyBody => "ValidationException",
        ApiError::TooLarge(_) | ApiError::InvalidArgument(_) => "InvalidArgumentException",
        ApiError::Unauthenticated | ApiError::InvalidSignature(_) => "UnrecognizedClientException",
        ApiError::Unsigned
        | ApiError::WebhooksDisabled
        | ApiError::AccessDenied { .. }
        | ApiError::ReadsDisabled
        | ApiError::StreamsAreFixed => "AccessDeniedException",
        ApiError::StreamExists(_) => "ResourceInUseException",
        ApiError::ExpiredIterator => "ExpiredIteratorException",
        ApiError::NotFound { .. } => "ResourceNotFoundException",
        ApiError::MethodNotAllowed { .. } | ApiError::UnknownOperation => "UnknownOperationException",
        ApiError::UnsupportedMediaType(_) => "UnsupportedMediaTypeException",
        ApiError::Throttled => "ProvisionedThroughputExceededException",
        ApiError::Unavailable | ApiError::SecretUnavailable | ApiError::Paused => "ServiceUnavailable",
        ApiError::Internal => "InternalFailure",
    }
}

/// Checks that the media type is one of JSON. Requests without one are JSON, as with API Gateway. Kafka's types are
/// accepted, because clients of both APIs send them to either: the body tells.
pub(super) fn check_media_type(media_type: Option<&str>) -> Result<(), ApiError> {
    match media_type {
        None
        | Some(
            "application/json"
            | "text/json"
            | "text/plain"
            | "application/x-amz-json-1.0"
            | "application/x-amz-json-1.1",
        ) => Ok(()),
        Some(kafka) if kafka.starts_with("application/vnd.kafka") && kafka.ends_with("json") => Ok(()),
        Some(other) => Err(ApiError::UnsupportedMediaType(format!(
            "unsupported Content-Type '{other}': use application/json"
        ))),
    }
}

pub(super) fn decode_put(context: &RequestContext<'_>, request_id: &str) -> Result<PackedRequest, ApiError> {
    check_media_type(context.media_type()?.as_deref())?;
    let route = |key: Option<&str>| route_record(context, key);
    decode_body(&context.text()?, request_id, route)
}

/// The dataset of a record: the one of the stream, or on a shared stream the one of the partition key.
fn route_record<'a>(context: &RequestContext<'a>, partition_key: Option<&str>) -> Option<&'a str> {
    match context.target {
        Target::Dataset(dataset) => Some(dataset),
        Target::Shared | Target::None => {
            Some(context.catalog.route_partition_key(partition_key?)?.name.as_str())
        }
    }
}

/// Decodes the body of `PutRecord` or `PutRecords`: the latter has `Records`. `route` maps a partition key to the
/// dataset; `None` if the record's shape decides when it is cleaned.
pub(super) fn decode_body<'a, R: Fn(Option<&str>) -> Option<&'a str>>(
    text: &[u8],
    request_id: &'a str,
    route: R,
) -> Result<PackedRequest, ApiError> {
    let packer = Packer::new(None, request_id);
    let mut decoder =
        RecordDecoder { route, packer, payload: PayloadDecoder::default(), pending: PendingLines::default() };
    let mut reader = JsonReader::new(text);
    decoder.decode_envelope(&mut reader).map_err(|error| error.into_api_error(text))?;
    if decoder.packer.ended_records() == 0 {
        return Err(unexpected_shape("'records' is empty: send at least one"));
    }
    Ok(decoder.packer.finish())
}

/// Decodes the records of a request.
struct RecordDecoder<'a, R> {
    route: R,
    packer: Packer<'a>,
    payload: PayloadDecoder,
    /// The lines of the record that is being decoded: its partition key may follow them.
    pending: PendingLines,
}

/// The members of a record that count.
#[derive(Default)]
struct Members {
    has_data: bool,
    client_key: Option<String>,
}

impl<'a, R: Fn(Option<&str>) -> Option<&'a str>> RecordDecoder<'a, R> {
    fn decode_envelope(&mut self, reader: &mut JsonReader<'_>) -> Result<(), ParseError> {
        if reader.peek() != Some(b'{') {
            // If the body is not even JSON, that is the error to report.
            reader.copy_value(&mut Discard)?;
            reader.expect_end()?;
            return Err(unexpected_shape("the body must be an object with 'Data', or with 'records'").into());
        }
        let (mut has_records, mut members) = (false, Members::default());
        reader.read_members(|reader, name| {
            if !is_member(name, "records") {
                return self.decode_member(reader, name, &mut members);
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
        match (has_records, members.has_data) {
            (true, false) => Ok(()),
            (true, true) => Err(unexpected_shape("the body has both 'records' and 'Data'").into()),
            (false, _) => self.end_record(members),
        }
    }

    fn decode_record(&mut self, reader: &mut JsonReader<'_>) -> Result<(), ParseError> {
        let index = self.packer.ended_records();
        if index == MAX_RECORDS as u64 {
            let problem = format!("more than {MAX_RECORDS} records in one request");
            return Err(unexpected_shape(&problem).into());
        }
        if reader.peek() != Some(b'{') {
            reader.copy_value(&mut Discard)?;
            return Err(unexpected_shape(&format!("record {index} is not an object with 'Data'")).into());
        }
        let mut members = Members::default();
        reader.read_members(|reader, name| self.decode_member(reader, name, &mut members))?;
        self.end_record(members)
    }

    fn decode_member(
        &mut self,
        reader: &mut JsonReader<'_>,
        name: &str,
        members: &mut Members,
    ) -> Result<(), ParseError> {
        let index = self.packer.ended_records();
        // Clients of the Kafka REST proxy call it `value`.
        if is_member(name, "data") || name == "value" {
            if std::mem::replace(&mut members.has_data, true) {
                return Err(unexpected_shape(&format!("record {index} has 'Data' twice")).into());
            }
            self.payload.copy_value(reader, &mut self.pending)?;
        } else if is_member(name, "partitionkey") {
            members.client_key = decode_partition_key(reader, index)?;
        } else {
            reader.copy_value(&mut Discard)?;
        }
        Ok(())
    }

    fn end_record(&mut self, members: Members) -> Result<(), ParseError> {
        if !members.has_data {
            let index = self.packer.ended_records();
            return Err(unexpected_shape(&format!("record {index} has no 'Data'")).into());
        }
        let key = members.client_key.as_deref();
        self.packer.set_route((self.route)(key), key)?;
        self.pending.move_to(&mut self.packer)?;
        self.packer.end_record();
        Ok(())
    }
}

/// Decodes a partition key of any scalar type to text; null and the empty string are `None`.
fn decode_partition_key(reader: &mut JsonReader<'_>, index: u64) -> Result<Option<String>, ParseError> {
    let first = reader.peek();
    let mut text = Vec::new();
    reader.copy_value(&mut text)?;
    let key = match first {
        Some(b'{' | b'[') => {
            let problem = format!("the partition key of record {index} must be a string or a number");
            return Err(unexpected_shape(&problem).into());
        }
        Some(b'n') => String::new(),
        // A lone surrogate cannot be in a String. Such a key is ignored.
        Some(b'"') => serde_json::from_slice(&text).unwrap_or_default(),
        _ => String::from_utf8_lossy(&text).into_owned(),
    };
    Ok(Some(key).filter(|key| !key.is_empty()))
}

/// Whether a member has this name, which is given in lower case without hyphens.
fn is_member(member: &str, name: &str) -> bool {
    let mut letters = member.bytes().filter(|&b| b != b'-').map(|b| b.to_ascii_lowercase());
    name.bytes().all(|b| letters.next() == Some(b)) && letters.next().is_none()
}

fn unexpected_shape(problem: &str) -> ApiError {
    ApiError::UnexpectedShape(problem.to_owned())
}

/// The response to `PutRecord`. If only some lines of its record were stored, the client has to send it again.
pub(super) fn encode_put_record(write: &CompletedWrite<'_>) -> (StatusCode, String) {
    match write.results().find(Result::is_err) {
        None => {
            let receipt = write.summary.receipts().next().map(encode_receipt).unwrap_or_default();
            (StatusCode::OK, receipt.to_string())
        }
        Some(_) => {
            let message = "only a part of the record was stored: send it again";
            let body = json!({ "__type": "ServiceUnavailable", "message": message });
            (StatusCode::SERVICE_UNAVAILABLE, body.to_string())
        }
    }
}

/// The response to `PutRecords`: the result of each record, in order. Records that share a Kinesis record have its
/// sequence number.
pub(super) fn encode_put_records(write: &CompletedWrite<'_>) -> (StatusCode, String) {
    let mut failed = 0;
    let entry = |result: Result<&Receipt, &StreamError>| match result {
        Ok(receipt) => encode_receipt(receipt),
        Err(error) => {
            failed += 1;
            json!({ "ErrorCode": error.code, "ErrorMessage": "the record was not stored: send it again" })
        }
    };
    let entries: Vec<Value> = write.results().map(entry).collect();
    (StatusCode::OK, json!({ "FailedRecordCount": failed, "Records": entries }).to_string())
}

fn encode_receipt(receipt: &Receipt) -> Value {
    json!({ "SequenceNumber": receipt.sequence, "ShardId": receipt.shard })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decode(text: &str) -> Result<PackedRequest, ApiError> {
        decode_body(text.as_bytes(), "r", |key: Option<&str>| (key == Some("pin")).then_some("pin"))
    }

    fn pairs(text: &str) -> Vec<(String, String)> {
        let packed = decode(text).unwrap();
        let pair =
            |record: crate::packing::StreamRecord| (record.key, String::from_utf8(record.data).unwrap());
        packed.records.into_iter().map(pair).collect()
    }

    #[test]
    fn variants_of_one_record() {
        let encoded = "eyJhIjogMX0=";
        for (text, key, data) in [
            (
                r#"{"StreamName":"s","Data":{"a": 1},"PartitionKey":"partition-1"}"#.to_owned(),
                "-/r/0/partition-1",
                "{\"a\":1}",
            ),
            (
                r#"{"PartitionKey":7,"Data":{"a": 1},"StreamName":["YourStreamName"]}"#.to_owned(),
                "-/r/0/7",
                "{\"a\":1}",
            ),
            (r#"{"Data":"{\"a\": 1}","PartitionKey":"pin"}"#.to_owned(), "pin/r/0/pin", "{\"a\":1}"),
            (format!(r#"{{"data":"{encoded}","partition-key":null}}"#), "-/r/0", "{\"a\":1}"),
            (r#"{"Data":"","PartitionKey":""}"#.to_owned(), "-/r/0", "\"\""),
            (r#"{"Data":[1, 2]}"#.to_owned(), "-/r/0", "[1,2]"),
            (r#"{"Data":[{"a": 1}, {"a": 2}]}"#.to_owned(), "-/r/0", "{\"a\":1}\n{\"a\":2}"),
            (r#"{"records":[{"value":{"a": 1}}]}"#.to_owned(), "-/r/0", "{\"a\":1}"),
            (r#"{"records":{"Data":{"a": 1}}}"#.to_owned(), "-/r/0", "{\"a\":1}"),
        ] {
            assert_eq!(pairs(&text), [(key.to_owned(), data.to_owned())], "{text}");
        }
    }

    #[test]
    fn records_in_both_spellings() {
        for text in [
            r#"{"records":[{"data":{"a":1},"partition-key":"pin"},{"data":{"a":2},"partition-key":"x/y"}]}"#,
            r#"{"StreamName":"s","Records":[{"Data":{"a":1},"PartitionKey":"pin"},{"PartitionKey":"x/y","Data":"eyJhIjoyfQ"}]}"#,
        ] {
            let records = pairs(text);
            assert_eq!(records[0], ("pin/r/0/pin".to_owned(), "{\"a\":1}".to_owned()));
            assert_eq!(records[1], ("-/r/1/x/y".to_owned(), "{\"a\":2}".to_owned()));
        }
        let many = |count| format!(r#"{{"records":[{}]}}"#, vec![r#"{"data":1}"#; count].join(","));
        let packed = decode(&many(500)).unwrap();
        assert_eq!((packed.records.len(), packed.ends.len()), (1, 500), "they share a Kinesis record");
        assert_eq!(decode(&many(501)), Err(unexpected_shape("more than 500 records in one request")));
    }

    #[test]
    fn a_record_of_several_lines_has_one_result() {
        let text = r#"{"records":[{"data":[{"a":1},{"a":2}],"partition-key":"pin"},{"data":{"a":3},"partition-key":"x"}]}"#;
        let packed = decode(text).unwrap();
        let keys: Vec<&str> = packed.records.iter().map(|record| record.key.as_str()).collect();
        assert_eq!(keys, ["pin/r/0/pin", "-/r/2/x"]);
        assert_eq!(packed.ends, [2, 3]);
        let receipt = Receipt { shard: "s".to_owned(), sequence: "1".to_owned() };
        let error = StreamError {
            kind: crate::stream::StreamErrorKind::Throttled,
            code: "Throttled".to_owned(),
            message: String::new(),
        };
        let summary = crate::writer::WriteSummary { results: vec![Ok(receipt), Err(error)], retries: 0 };
        let PackedRequest { records, ends, .. } = &packed;
        let write = CompletedWrite {
            request_id: "r",
            parameters: &[],
            records,
            ends,
            rejected: 0,
            summary: &summary,
            completed_us: 0,
        };
        let (status, body) = encode_put_records(&write);
        let body: Value = serde_json::from_str(&body).unwrap();
        assert_eq!((status, &body["FailedRecordCount"]), (StatusCode::OK, &json!(1)));
        assert_eq!(body["Records"][0]["SequenceNumber"], "1");
        assert_eq!(body["Records"][1]["ErrorCode"], "Throttled");
        assert_eq!(encode_put_record(&write).0, StatusCode::SERVICE_UNAVAILABLE);
    }

    #[test]
    fn errors_name_the_unexpected_shape() {
        for (text, expected) in [
            ("[]", "the body must be an object with 'Data', or with 'records'"),
            ("{}", "record 0 has no 'Data'"),
            (r#"{"Data":1,"data":2}"#, "record 0 has 'Data' twice"),
            (
                r#"{"Data":1,"PartitionKey":["a"]}"#,
                "the partition key of record 0 must be a string or a number",
            ),
            (r#"{"records":[]}"#, "'records' is empty: send at least one"),
            (r#"{"records":[{"data":1},2]}"#, "record 1 is not an object with 'Data'"),
            (r#"{"records":[{"data":1}],"Data":2}"#, "the body has both 'records' and 'Data'"),
        ] {
            assert_eq!(decode(text), Err(unexpected_shape(expected)), "{text}");
        }
        assert!(matches!(decode("{\"Data\":{}"), Err(ApiError::MalformedJson { .. })));
    }
}
