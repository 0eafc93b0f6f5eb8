//! API Gateway in front of Kinesis: `PUT /streams/<stream>/record` and `/records`.
//!
//! Source: AWS' "Tutorial: Create a REST API as an Amazon Kinesis proxy". Names are read with or without capitals
//! and hyphens (`Data`, `data`, `PartitionKey`, `partition-key`), since the tutorial itself has both. The path
//! names the stream; a `StreamName` in the body, whatever it is, is read over. One Kinesis record a record.

use http::StatusCode;
use serde_json::{Value, json};

use crate::compact::{Discard, Reader};
use crate::error::{ApiError, ParseError};
use crate::packing::StreamRecord;
use crate::payload;
use crate::writer::Written;
use pinlake_schema::stream_key::StreamKey;

/// The most records in a request (`PutRecords`, API reference).
pub const MAX_RECORDS: usize = 500;

/// Refuses bodies that are not JSON.
///
/// # Errors
/// For any other media type. None at all is taken for JSON, as API Gateway did.
pub fn check_media_type(media_type: Option<&str>) -> Result<(), ApiError> {
    match media_type {
        None
        | Some(
            "application/json" | "text/json" | "application/x-amz-json-1.0" | "application/x-amz-json-1.1",
        ) => Ok(()),
        Some(other) => Err(ApiError::MediaType(format!(
            "Content-Type '{other}' is not read here: send application/json"
        ))),
    }
}

/// Reads the records of a request under the id `request_id`.
///
/// `route` gives the dataset for a record's partition key, `None` where its shape is to decide.
pub struct KinesisRequestParser<'a, R> {
    /// Half of each record's identity.
    pub request_id: &'a str,
    /// From a partition key to a dataset.
    pub route: R,
}

impl<'a, R: Fn(Option<&str>) -> Option<&'a str>> KinesisRequestParser<'a, R> {
    /// The body of `/record`.
    ///
    /// # Errors
    /// The first mistake in the body, missing `Data`, or a record that is too long.
    pub fn record(&self, text: &[u8]) -> Result<Vec<StreamRecord>, ApiError> {
        let mut reader = Reader::new(text);
        let mut read = || {
            let record = self.next(&mut reader, 0)?;
            reader.end()?;
            Ok(vec![record])
        };
        read().map_err(|halt: ParseError| halt.in_body(text))
    }

    /// The body of `/records`.
    ///
    /// # Errors
    /// As for [`Self::record`]; also missing, empty or too many records.
    pub fn records(&self, text: &[u8]) -> Result<Vec<StreamRecord>, ApiError> {
        let mut records = None;
        let mut reader = Reader::new(text);
        self.envelope(&mut reader, &mut records).map_err(|halt| halt.in_body(text))?;
        match records {
            None => Err(shape("'records' is missing")),
            Some(records) if records.is_empty() => Err(shape("'records' is empty: send at least one")),
            Some(records) => Ok(records),
        }
    }

    fn envelope(
        &self,
        reader: &mut Reader<'_>,
        records: &mut Option<Vec<StreamRecord>>,
    ) -> Result<(), ParseError> {
        if reader.peek() != Some(b'{') {
            reader.value(&mut Discard)?;
            reader.end()?;
            return Err(shape("the body must be an object with 'records'").into());
        }
        reader.members(|reader, name| {
            if !is(name, "records") {
                return Ok::<(), ParseError>(reader.value(&mut Discard)?);
            }
            if records.is_some() {
                return Err(shape("'records' is given twice").into());
            }
            let taken = records.insert(Vec::new());
            if reader.peek() != Some(b'[') {
                taken.push(self.next(reader, 0)?);
                return Ok(());
            }
            reader.elements(|reader| {
                if taken.len() == MAX_RECORDS {
                    return Err(shape(&format!("more than {MAX_RECORDS} records in one request")).into());
                }
                taken.push(self.next(reader, taken.len())?);
                Ok::<(), ParseError>(())
            })
        })?;
        Ok(reader.end()?)
    }

    fn next(&self, reader: &mut Reader<'_>, index: usize) -> Result<StreamRecord, ParseError> {
        if reader.peek() != Some(b'{') {
            reader.value(&mut Discard)?;
            return Err(shape(&format!("record {index} is not an object with 'Data'")).into());
        }
        let mut data: Option<Vec<u8>> = None;
        let mut client_key = None;
        reader.members(|reader, name| {
            if is(name, "data") {
                if data.is_some() {
                    return Err(shape(&format!("record {index} has 'Data' twice")).into());
                }
                payload::copy(reader, data.insert(Vec::new()))?;
            } else if is(name, "partitionkey") {
                client_key = partition_key(reader, index)?;
            } else {
                reader.value(&mut Discard)?;
            }
            Ok::<(), ParseError>(())
        })?;
        let Some(data) = data else {
            return Err(shape(&format!("record {index} has no 'Data'")).into());
        };
        let key = StreamKey {
            dataset: (self.route)(client_key.as_deref()),
            request: self.request_id,
            index: index as u64,
            client_key: client_key.as_deref(),
        };
        Ok(StreamRecord::single(key, data)?)
    }
}

/// A partition key of any scalar type, as text; `None` for null and the empty string.
fn partition_key(reader: &mut Reader<'_>, index: usize) -> Result<Option<String>, ParseError> {
    let first = reader.peek();
    let mut text = Vec::new();
    reader.value(&mut text)?;
    let key = match first {
        Some(b'{' | b'[') => {
            return Err(
                shape(&format!("the partition key of record {index} must be a string or a number")).into()
            );
        }
        Some(b'n') => String::new(),
        // A lone surrogate is in no String; such a key is none.
        Some(b'"') => serde_json::from_slice(&text).unwrap_or_default(),
        _ => String::from_utf8_lossy(&text).into_owned(),
    };
    Ok(Some(key).filter(|key| !key.is_empty()))
}

/// Whether a member has this name, given in small letters without hyphens.
fn is(member: &str, name: &str) -> bool {
    let mut letters = member.bytes().filter(|&b| b != b'-').map(|b| b.to_ascii_lowercase());
    name.bytes().all(|b| letters.next() == Some(b)) && letters.next().is_none()
}

fn shape(what: &str) -> ApiError {
    ApiError::Shape(what.to_owned())
}

/// The answer to `/record`, whose one record was taken.
pub fn record_answer(written: &Written) -> (StatusCode, Value) {
    let receipt = written.receipts().next();
    let body = receipt.map(|receipt| json!({ "SequenceNumber": receipt.sequence, "ShardId": receipt.shard }));
    (StatusCode::OK, body.unwrap_or_default())
}

/// The answer to `/records`: of each record, in order, what became of it.
pub fn records_answer(written: &Written) -> (StatusCode, Value) {
    let failed = written.results.iter().filter(|result| result.is_err()).count();
    let entry = |result: &Result<_, crate::stream::PutError>| match result {
        Ok(crate::stream::Receipt { shard, sequence }) => {
            json!({ "SequenceNumber": sequence, "ShardId": shard })
        }
        Err(refusal) => {
            let message = "the stream did not take this record: send it again";
            json!({ "ErrorCode": refusal.code, "ErrorMessage": message })
        }
    };
    let entries: Vec<Value> = written.results.iter().map(entry).collect();
    (StatusCode::OK, json!({ "FailedRecordCount": failed, "Records": entries }))
}

/// An error in this API's style: the exception that Kinesis or API Gateway would name.
pub fn error_body(rejection: &ApiError) -> Value {
    json!({ "__type": exception(rejection), "message": rejection.to_string() })
}

/// The exception's name, for the header `x-amzn-ErrorType` too.
pub fn exception(rejection: &ApiError) -> &'static str {
    match rejection {
        ApiError::Malformed { .. } | ApiError::Undecodable(_) => "SerializationException",
        ApiError::Shape(_) | ApiError::Empty => "ValidationException",
        ApiError::TooLarge(_) | ApiError::Argument(_) => "InvalidArgumentException",
        ApiError::Unauthenticated => "UnrecognizedClientException",
        ApiError::Forbidden
        | ApiError::OutOfScope { .. }
        | ApiError::ReadsOff
        | ApiError::StreamsAreGiven => "AccessDeniedException",
        ApiError::StreamExists(_) => "ResourceInUseException",
        ApiError::ExpiredIterator => "ExpiredIteratorException",
        ApiError::Unknown { .. } => "ResourceNotFoundException",
        ApiError::Method { .. } => "UnknownOperationException",
        ApiError::MediaType(_) => "UnsupportedMediaTypeException",
        ApiError::Throttled => "ProvisionedThroughputExceededException",
        ApiError::Unavailable => "ServiceUnavailable",
        ApiError::Internal => "InternalFailure",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn intake() -> KinesisRequestParser<'static, impl Fn(Option<&str>) -> Option<&'static str>> {
        let route = |key: Option<&str>| (key == Some("pin")).then_some("pin");
        KinesisRequestParser { request_id: "r", route }
    }

    fn flat(records: Vec<StreamRecord>) -> Vec<(String, String)> {
        records.into_iter().map(|record| (record.key, String::from_utf8(record.data).unwrap())).collect()
    }

    #[test]
    fn one_record_in_every_variant() {
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
            let records = intake().record(text.as_bytes()).unwrap();
            assert_eq!(flat(records), [(key.to_owned(), data.to_owned())], "{text}");
        }
    }

    #[test]
    fn several_records_in_both_spellings() {
        for text in [
            r#"{"records":[{"data":{"a":1},"partition-key":"pin"},{"data":{"a":2},"partition-key":"x/y"}]}"#,
            r#"{"StreamName":"s","Records":[{"Data":{"a":1},"PartitionKey":"pin"},{"PartitionKey":"x/y","Data":"eyJhIjoyfQ"}]}"#,
        ] {
            let records = flat(intake().records(text.as_bytes()).unwrap());
            assert_eq!(records[0], ("pin/r/0/pin".to_owned(), "{\"a\":1}".to_owned()));
            assert_eq!(records[1], ("-/r/1/x/y".to_owned(), "{\"a\":2}".to_owned()));
        }
        let many = |count| format!(r#"{{"records":[{}]}}"#, vec![r#"{"data":1}"#; count].join(","));
        assert_eq!(intake().records(many(500).as_bytes()).unwrap().len(), 500);
        assert_eq!(
            intake().records(many(501).as_bytes()),
            Err(shape("more than 500 records in one request"))
        );
    }

    #[test]
    fn other_shapes_are_named() {
        for (text, expected) in [
            ("[]", "record 0 is not an object with 'Data'"),
            ("{}", "record 0 has no 'Data'"),
            (r#"{"Data":1,"data":2}"#, "record 0 has 'Data' twice"),
            (
                r#"{"Data":1,"PartitionKey":["a"]}"#,
                "the partition key of record 0 must be a string or a number",
            ),
        ] {
            assert_eq!(intake().record(text.as_bytes()), Err(shape(expected)), "{text}");
        }
        for (text, expected) in [
            ("{}", "'records' is missing"),
            ("7", "the body must be an object with 'records'"),
            (r#"{"records":[]}"#, "'records' is empty: send at least one"),
            (r#"{"records":[{"data":1},2]}"#, "record 1 is not an object with 'Data'"),
        ] {
            assert_eq!(intake().records(text.as_bytes()), Err(shape(expected)), "{text}");
        }
        assert!(matches!(intake().record(b"{\"Data\":{}"), Err(ApiError::Malformed { .. })));
    }
}
