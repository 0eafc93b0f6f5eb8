//! API Gateway in front of Kinesis.
//!
//! Source: "Tutorial: Create a REST API as an Amazon Kinesis proxy" (API Gateway Developer Guide). The tutorial spells
//! member names in two ways, so capitals and hyphens are ignored: `Data`, `data`, `PartitionKey`, `partition-key`. The
//! path names the stream; a `StreamName` in the body is ignored. Each record is one Kinesis record.

use http::{HeaderName, HeaderValue, StatusCode};
use pinlake_schema::stream_key::StreamKey;
use serde_json::{Value, json};

use crate::compact::{Discard, Reader};
use crate::endpoint::{
    CompletedWrite, Endpoint, Method, Operation, Protocol, RequestContext, Resource, Target,
};
use crate::error::{ApiError, ParseError};
use crate::packing::StreamRecord;
use crate::payload;
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

const PUT_RECORD: Operation = Operation::Write { decode: decode_put_record, encode: encode_put_record };
const PUT_RECORDS: Operation = Operation::Write { decode: decode_put_records, encode: encode_put_records };

const ENDPOINTS: &[Endpoint] = &[
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
        &["streams"]
    }

    fn encode_error(&self, error: &ApiError, _: &str) -> ApiResponse {
        let exception = exception(error);
        let body = json!({ "__type": exception, "message": error.to_string() });
        let mut response = ApiResponse::from_error(error, error.status(), body);
        response.set(ERROR_TYPE, HeaderValue::from_static(exception));
        response
    }
}

/// The exception that Kinesis or API Gateway has for an error.
fn exception(error: &ApiError) -> &'static str {
    match error {
        ApiError::MalformedJson { .. } | ApiError::Undecodable(_) => "SerializationException",
        ApiError::UnexpectedShape(_) | ApiError::EmptyBody => "ValidationException",
        ApiError::TooLarge(_) | ApiError::InvalidArgument(_) => "InvalidArgumentException",
        ApiError::Unauthenticated => "UnrecognizedClientException",
        ApiError::Unsigned
        | ApiError::AccessDenied { .. }
        | ApiError::ReadsDisabled
        | ApiError::StreamsAreFixed => "AccessDeniedException",
        ApiError::StreamExists(_) => "ResourceInUseException",
        ApiError::ExpiredIterator => "ExpiredIteratorException",
        ApiError::NotFound { .. } => "ResourceNotFoundException",
        ApiError::MethodNotAllowed { .. } => "UnknownOperationException",
        ApiError::UnsupportedMediaType(_) => "UnsupportedMediaTypeException",
        ApiError::Throttled => "ProvisionedThroughputExceededException",
        ApiError::Unavailable | ApiError::Paused => "ServiceUnavailable",
        ApiError::Internal => "InternalFailure",
    }
}

/// Checks that the media type is JSON. Requests without one are JSON, as with API Gateway.
fn check_media_type(media_type: Option<&str>) -> Result<(), ApiError> {
    match media_type {
        None
        | Some(
            "application/json" | "text/json" | "application/x-amz-json-1.0" | "application/x-amz-json-1.1",
        ) => Ok(()),
        Some(other) => Err(ApiError::UnsupportedMediaType(format!(
            "unsupported Content-Type '{other}': use application/json"
        ))),
    }
}

fn decode_put_record(context: &RequestContext<'_>, request_id: &str) -> Result<Vec<StreamRecord>, ApiError> {
    check_media_type(context.media_type()?.as_deref())?;
    let route = |key: Option<&str>| route_record(context, key);
    RecordDecoder { request_id, route }.decode_record(&context.text()?)
}

fn decode_put_records(context: &RequestContext<'_>, request_id: &str) -> Result<Vec<StreamRecord>, ApiError> {
    check_media_type(context.media_type()?.as_deref())?;
    let route = |key: Option<&str>| route_record(context, key);
    RecordDecoder { request_id, route }.decode_records(&context.text()?)
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

/// Decodes the records of a request.
struct RecordDecoder<'a, R> {
    /// The request's id in the stream keys.
    request_id: &'a str,
    /// From a partition key to the dataset; `None` if the record's shape decides when it is cleaned.
    route: R,
}

impl<'a, R: Fn(Option<&str>) -> Option<&'a str>> RecordDecoder<'a, R> {
    /// Decodes the body of `PutRecord`.
    fn decode_record(&self, text: &[u8]) -> Result<Vec<StreamRecord>, ApiError> {
        let mut reader = Reader::new(text);
        let mut decode = || {
            let record = self.decode_next(&mut reader, 0)?;
            reader.end()?;
            Ok(vec![record])
        };
        decode().map_err(|error: ParseError| error.into_api_error(text))
    }

    /// Decodes the body of `PutRecords`.
    fn decode_records(&self, text: &[u8]) -> Result<Vec<StreamRecord>, ApiError> {
        let mut records = None;
        let mut reader = Reader::new(text);
        self.decode_envelope(&mut reader, &mut records).map_err(|error| error.into_api_error(text))?;
        match records {
            None => Err(unexpected_shape("'records' is missing")),
            Some(records) if records.is_empty() => {
                Err(unexpected_shape("'records' is empty: send at least one"))
            }
            Some(records) => Ok(records),
        }
    }

    fn decode_envelope(
        &self,
        reader: &mut Reader<'_>,
        records: &mut Option<Vec<StreamRecord>>,
    ) -> Result<(), ParseError> {
        if reader.peek() != Some(b'{') {
            // If the body is not even JSON, that is the error to report.
            reader.value(&mut Discard)?;
            reader.end()?;
            return Err(unexpected_shape("the body must be an object with 'records'").into());
        }
        reader.members(|reader, name| {
            if !is_member(name, "records") {
                return Ok::<(), ParseError>(reader.value(&mut Discard)?);
            }
            if records.is_some() {
                return Err(unexpected_shape("'records' is given twice").into());
            }
            let decoded = records.insert(Vec::new());
            if reader.peek() != Some(b'[') {
                decoded.push(self.decode_next(reader, 0)?);
                return Ok(());
            }
            reader.elements(|reader| {
                if decoded.len() == MAX_RECORDS {
                    let problem = format!("more than {MAX_RECORDS} records in one request");
                    return Err(unexpected_shape(&problem).into());
                }
                decoded.push(self.decode_next(reader, decoded.len())?);
                Ok::<(), ParseError>(())
            })
        })?;
        Ok(reader.end()?)
    }

    fn decode_next(&self, reader: &mut Reader<'_>, index: usize) -> Result<StreamRecord, ParseError> {
        if reader.peek() != Some(b'{') {
            reader.value(&mut Discard)?;
            return Err(unexpected_shape(&format!("record {index} is not an object with 'Data'")).into());
        }
        let mut data: Option<Vec<u8>> = None;
        let mut client_key = None;
        reader.members(|reader, name| {
            if is_member(name, "data") {
                if data.is_some() {
                    return Err(unexpected_shape(&format!("record {index} has 'Data' twice")).into());
                }
                payload::copy_value(reader, data.insert(Vec::new()))?;
            } else if is_member(name, "partitionkey") {
                client_key = decode_partition_key(reader, index)?;
            } else {
                reader.value(&mut Discard)?;
            }
            Ok::<(), ParseError>(())
        })?;
        let Some(data) = data else {
            return Err(unexpected_shape(&format!("record {index} has no 'Data'")).into());
        };
        let key = StreamKey {
            dataset: (self.route)(client_key.as_deref()),
            request: self.request_id,
            index: index as u64,
            client_key: client_key.as_deref(),
        };
        Ok(StreamRecord::from_line(key, data)?)
    }
}

/// Decodes a partition key of any scalar type to text; null and the empty string are `None`.
fn decode_partition_key(reader: &mut Reader<'_>, index: usize) -> Result<Option<String>, ParseError> {
    let first = reader.peek();
    let mut text = Vec::new();
    reader.value(&mut text)?;
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

/// The response to `PutRecord`, whose only record was stored.
fn encode_put_record(write: &CompletedWrite<'_>) -> (StatusCode, Value) {
    (StatusCode::OK, write.summary.receipts().next().map(encode_receipt).unwrap_or_default())
}

/// The response to `PutRecords`: the result of each record, in order.
fn encode_put_records(write: &CompletedWrite<'_>) -> (StatusCode, Value) {
    let results = &write.summary.results;
    let failed = results.iter().filter(|result| result.is_err()).count();
    let entry = |result: &Result<Receipt, StreamError>| match result {
        Ok(receipt) => encode_receipt(receipt),
        Err(error) => {
            json!({ "ErrorCode": error.code, "ErrorMessage": "the record was not stored: send it again" })
        }
    };
    let entries: Vec<Value> = results.iter().map(entry).collect();
    (StatusCode::OK, json!({ "FailedRecordCount": failed, "Records": entries }))
}

fn encode_receipt(receipt: &Receipt) -> Value {
    json!({ "SequenceNumber": receipt.sequence, "ShardId": receipt.shard })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn decoder() -> RecordDecoder<'static, impl Fn(Option<&str>) -> Option<&'static str>> {
        let route = |key: Option<&str>| (key == Some("pin")).then_some("pin");
        RecordDecoder { request_id: "r", route }
    }

    fn pairs(records: Vec<StreamRecord>) -> Vec<(String, String)> {
        records.into_iter().map(|record| (record.key, String::from_utf8(record.data).unwrap())).collect()
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
        ] {
            let records = decoder().decode_record(text.as_bytes()).unwrap();
            assert_eq!(pairs(records), [(key.to_owned(), data.to_owned())], "{text}");
        }
    }

    #[test]
    fn records_in_both_spellings() {
        for text in [
            r#"{"records":[{"data":{"a":1},"partition-key":"pin"},{"data":{"a":2},"partition-key":"x/y"}]}"#,
            r#"{"StreamName":"s","Records":[{"Data":{"a":1},"PartitionKey":"pin"},{"PartitionKey":"x/y","Data":"eyJhIjoyfQ"}]}"#,
        ] {
            let records = pairs(decoder().decode_records(text.as_bytes()).unwrap());
            assert_eq!(records[0], ("pin/r/0/pin".to_owned(), "{\"a\":1}".to_owned()));
            assert_eq!(records[1], ("-/r/1/x/y".to_owned(), "{\"a\":2}".to_owned()));
        }
        let many = |count| format!(r#"{{"records":[{}]}}"#, vec![r#"{"data":1}"#; count].join(","));
        assert_eq!(decoder().decode_records(many(500).as_bytes()).unwrap().len(), 500);
        assert_eq!(
            decoder().decode_records(many(501).as_bytes()),
            Err(unexpected_shape("more than 500 records in one request"))
        );
    }

    #[test]
    fn errors_name_the_unexpected_shape() {
        for (text, expected) in [
            ("[]", "record 0 is not an object with 'Data'"),
            ("{}", "record 0 has no 'Data'"),
            (r#"{"Data":1,"data":2}"#, "record 0 has 'Data' twice"),
            (
                r#"{"Data":1,"PartitionKey":["a"]}"#,
                "the partition key of record 0 must be a string or a number",
            ),
        ] {
            assert_eq!(decoder().decode_record(text.as_bytes()), Err(unexpected_shape(expected)), "{text}");
        }
        for (text, expected) in [
            ("{}", "'records' is missing"),
            ("7", "the body must be an object with 'records'"),
            (r#"{"records":[]}"#, "'records' is empty: send at least one"),
            (r#"{"records":[{"data":1},2]}"#, "record 1 is not an object with 'Data'"),
        ] {
            assert_eq!(decoder().decode_records(text.as_bytes()), Err(unexpected_shape(expected)), "{text}");
        }
        assert!(matches!(decoder().decode_record(b"{\"Data\":{}"), Err(ApiError::MalformedJson { .. })));
    }
}
