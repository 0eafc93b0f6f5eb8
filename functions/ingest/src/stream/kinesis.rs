//! A Kinesis data stream.

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{DisplayErrorContext, ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::{PutRecordsRequestEntry, ShardIteratorType};

use crate::packing::StreamRecord;
use crate::stream::read::{
    BoxFuture, IteratorStart, MAX_SHARDS, ReadableStream, RecordPage, Shard, StoredRecord, StreamDescription,
};
use crate::stream::{Receipt, RecordStream, StreamError, StreamErrorKind};

/// A Kinesis data stream.
#[derive(Debug, Clone)]
pub struct KinesisStream {
    client: Client,
    name: String,
}

impl KinesisStream {
    /// The stream `name`. The client should not retry: the writer retries single records.
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }
}

impl RecordStream for KinesisStream {
    async fn put_records(
        &self,
        records: &[&StreamRecord],
    ) -> Result<Vec<Result<Receipt, StreamError>>, StreamError> {
        let mut call = self.client.put_records().stream_name(&self.name);
        for record in records {
            let entry = PutRecordsRequestEntry::builder()
                .partition_key(&record.key)
                .data(Blob::new(record.data.clone()))
                .build()
                .map_err(|error| stream_error("InvalidArgumentException", error.to_string()))?;
            call = call.records(entry);
        }
        let response = call.send().await.map_err(|error| call_error(&error))?;
        let results =
            response.records().iter().map(|entry| match (entry.shard_id(), entry.sequence_number()) {
                (Some(shard), Some(sequence)) if entry.error_code().is_none() => {
                    Ok(Receipt { shard: shard.to_owned(), sequence: sequence.to_owned() })
                }
                _ => Err(stream_error(
                    entry.error_code().unwrap_or("InternalFailure"),
                    entry.error_message().unwrap_or_default().to_owned(),
                )),
            });
        Ok(results.collect())
    }
}

impl ReadableStream for KinesisStream {
    fn describe(&self) -> BoxFuture<'_, Result<StreamDescription, StreamError>> {
        Box::pin(async move {
            let (summary, shards) = tokio::join!(
                self.client.describe_stream_summary().stream_name(&self.name).send(),
                self.client.list_shards().stream_name(&self.name).max_results(MAX_SHARDS).send(),
            );
            let summary = summary.map_err(|error| call_error(&error))?;
            let listed = shards.map_err(|error| call_error(&error))?;
            let summary = summary.stream_description_summary().ok_or_else(|| incomplete("summary"))?;
            let shards = listed.shards().iter().filter_map(|shard| {
                let (hashes, sequences) = (shard.hash_key_range()?, shard.sequence_number_range()?);
                Some(Shard {
                    id: shard.shard_id().to_owned(),
                    parent: shard.parent_shard_id().map(str::to_owned),
                    hash_keys: (hashes.starting_hash_key().to_owned(), hashes.ending_hash_key().to_owned()),
                    sequences: (
                        sequences.starting_sequence_number().to_owned(),
                        sequences.ending_sequence_number().map(str::to_owned),
                    ),
                })
            });
            Ok(StreamDescription {
                status: summary.stream_status().as_str().to_owned(),
                retention_hours: summary.retention_period_hours(),
                created_ms: summary.stream_creation_timestamp().to_millis().unwrap_or_default(),
                shards: shards.collect(),
                has_more_shards: listed.next_token().is_some(),
            })
        })
    }

    fn open_iterator<'a>(
        &'a self,
        shard: &'a str,
        start: IteratorStart<'a>,
    ) -> BoxFuture<'a, Result<String, StreamError>> {
        Box::pin(async move {
            let call = self.client.get_shard_iterator().stream_name(&self.name).shard_id(shard);
            let call = match start {
                IteratorStart::TrimHorizon => call.shard_iterator_type(ShardIteratorType::TrimHorizon),
                IteratorStart::AtSequenceNumber(sequence) => call
                    .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                    .starting_sequence_number(sequence),
            };
            let response = call.send().await.map_err(|error| call_error(&error))?;
            response.shard_iterator.ok_or_else(|| incomplete("iterator"))
        })
    }

    fn read_page<'a>(&'a self, iterator: &'a str) -> BoxFuture<'a, Result<RecordPage, StreamError>> {
        Box::pin(async move {
            let call = self.client.get_records().shard_iterator(iterator);
            let response = call.send().await.map_err(|error| call_error(&error))?;
            let records = response.records.into_iter().map(|record| StoredRecord {
                key: record.partition_key.unwrap_or_default(),
                data: record.data.into_inner(),
                sequence: record.sequence_number,
                arrived_ms: record
                    .approximate_arrival_timestamp
                    .and_then(|time| time.to_millis().ok())
                    .unwrap_or_default(),
            });
            Ok(RecordPage {
                records: records.collect(),
                next: response.next_shard_iterator,
                behind_ms: response.millis_behind_latest.unwrap_or_default(),
            })
        })
    }
}

/// The error of a call that failed as a whole.
fn call_error<E>(error: &SdkError<E>) -> StreamError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(response) => {
            let error = response.err();
            stream_error(
                error.code().unwrap_or("InternalFailure"),
                error.message().unwrap_or_default().to_owned(),
            )
        }
        other => stream_error("ServiceUnavailable", DisplayErrorContext(other).to_string()),
    }
}

fn incomplete(what: &str) -> StreamError {
    stream_error("InternalFailure", format!("the response has no {what}"))
}

/// An error with the kind of its exception (`PutRecords`, API reference, "Errors" and "ErrorCode").
fn stream_error(code: &str, message: String) -> StreamError {
    let kind = match code {
        "ProvisionedThroughputExceededException"
        | "KMSThrottlingException"
        | "LimitExceededException"
        | "ThrottlingException" => StreamErrorKind::Throttled,
        "AccessDeniedException"
        | "InvalidArgumentException"
        | "ResourceNotFoundException"
        | "ValidationException"
        | "SerializationException"
        | "InvalidSignatureException"
        | "UnrecognizedClientException"
        | "MissingAuthenticationTokenException"
        | "KMSAccessDeniedException"
        | "KMSDisabledException"
        | "KMSInvalidStateException"
        | "KMSNotFoundException"
        | "KMSOptInRequired" => StreamErrorKind::Permanent,
        _ => StreamErrorKind::Unavailable,
    };
    // Such messages quote the record, which must not be logged: "Value '...' at 'records.1.member.partitionKey' failed
    // to satisfy constraint".
    let message = match code {
        "InvalidArgumentException" | "SerializationException" | "ValidationException" => {
            "message omitted because it may quote the record".to_owned()
        }
        _ => message,
    };
    StreamError { kind, code: code.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_exceptions_are_transient() {
        let kind = |code| stream_error(code, String::new()).kind;
        assert_eq!(kind("ProvisionedThroughputExceededException"), StreamErrorKind::Throttled);
        assert_eq!(kind("ResourceNotFoundException"), StreamErrorKind::Permanent);
        assert_eq!(kind("InternalFailure"), StreamErrorKind::Unavailable);
        assert_eq!(kind("SomethingNew"), StreamErrorKind::Unavailable);
    }

    #[test]
    fn messages_that_may_quote_a_record_are_omitted() {
        let message = |code| stream_error(code, "Value 'secret' at 'partitionKey'".to_owned()).message;
        assert!(!message("ValidationException").contains("secret"));
        assert!(message("AccessDeniedException").contains("secret"));
    }
}
