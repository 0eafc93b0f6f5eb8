//! The stream that records are put on: a trait, so that tests and the simulator can stand in for AWS, and
//! Kinesis behind it.

use std::future::Future;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;

use crate::packing::StreamRecord;

/// The most records in a call (`PutRecords`, API reference).
pub const MAX_CALL_RECORDS: usize = 500;

/// The most bytes in a call, keys included (same source).
pub const MAX_CALL_BYTES: usize = 5 * 1024 * 1024;

/// The stream has the record for good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The shard, as Kinesis names it.
    pub shard: String,
    /// The record's number on it, in decimal digits.
    pub sequence: String,
}

/// What decides what to do about a record that was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PutErrorKind {
    /// No room at the moment.
    Throttled,
    /// A passing fault.
    Unavailable,
    /// It would be refused again: permissions, a missing stream, a broken key.
    Permanent,
}

/// The stream did not take a record, or did not say that it did.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct PutError {
    /// What to do about it.
    pub kind: PutErrorKind,
    /// The exception's name, as Kinesis has it.
    pub code: String,
    /// For the log.
    pub message: String,
}

/// Takes records.
pub trait RecordStream: Send + Sync {
    /// Puts up to [`MAX_CALL_RECORDS`] records of up to [`MAX_CALL_BYTES`] and says of each, in order, what
    /// became of it.
    ///
    /// # Errors
    /// When the call failed as a whole. Its records may be on the stream all the same.
    fn put_records(
        &self,
        records: &[&StreamRecord],
    ) -> impl Future<Output = Result<Vec<Result<Receipt, PutError>>, PutError>> + Send;
}

/// A Kinesis data stream.
#[derive(Debug, Clone)]
pub struct KinesisStream {
    pub(crate) client: Client,
    pub(crate) name: String,
}

impl KinesisStream {
    /// The stream `name`. The client should not retry by itself: the writer does, record by record.
    pub fn new(client: Client, name: String) -> Self {
        Self { client, name }
    }
}

impl RecordStream for KinesisStream {
    async fn put_records(
        &self,
        records: &[&StreamRecord],
    ) -> Result<Vec<Result<Receipt, PutError>>, PutError> {
        let mut call = self.client.put_records().stream_name(&self.name);
        for record in records {
            let entry = PutRecordsRequestEntry::builder()
                .partition_key(&record.key)
                .data(Blob::new(record.data.clone()))
                .build()
                .map_err(|why| refusal("InvalidArgumentException", why.to_string()))?;
            call = call.records(entry);
        }
        let answer = call.send().await.map_err(|error| whole_call(&error))?;
        let entries =
            answer.records().iter().map(|entry| match (entry.shard_id(), entry.sequence_number()) {
                (Some(shard), Some(sequence)) if entry.error_code().is_none() => {
                    Ok(Receipt { shard: shard.to_owned(), sequence: sequence.to_owned() })
                }
                _ => Err(refusal(
                    entry.error_code().unwrap_or("InternalFailure"),
                    entry.error_message().unwrap_or_default().to_owned(),
                )),
            });
        Ok(entries.collect())
    }
}

pub(crate) fn whole_call<E>(error: &SdkError<E>) -> PutError
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    match error {
        SdkError::ServiceError(answer) => {
            let answer = answer.err();
            refusal(
                answer.code().unwrap_or("InternalFailure"),
                answer.message().unwrap_or_default().to_owned(),
            )
        }
        other => {
            refusal("ServiceUnavailable", aws_sdk_kinesis::error::DisplayErrorContext(other).to_string())
        }
    }
}

/// Kinesis' exceptions (`PutRecords`, API reference, "Errors" and "ErrorCode") by what to do about them.
fn refusal(code: &str, message: String) -> PutError {
    let kind = match code {
        "ProvisionedThroughputExceededException"
        | "KMSThrottlingException"
        | "LimitExceededException"
        | "ThrottlingException" => PutErrorKind::Throttled,
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
        | "KMSOptInRequired" => PutErrorKind::Permanent,
        _ => PutErrorKind::Unavailable,
    };
    // "Value '...' at 'records.1.member.partitionKey' failed to satisfy constraint": the record itself, for the log.
    let message = match code {
        "InvalidArgumentException" | "SerializationException" | "ValidationException" => {
            "the message is left out: it may quote the record".to_owned()
        }
        _ => message,
    };
    PutError { kind, code: code.to_owned(), message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_exception_is_worth_another_try() {
        let kind = |code| refusal(code, String::new()).kind;
        assert_eq!(kind("ProvisionedThroughputExceededException"), PutErrorKind::Throttled);
        assert_eq!(kind("ResourceNotFoundException"), PutErrorKind::Permanent);
        assert_eq!(kind("InternalFailure"), PutErrorKind::Unavailable);
        assert_eq!(kind("SomethingNew"), PutErrorKind::Unavailable);
    }

    #[test]
    fn what_may_quote_a_record_is_not_kept() {
        let message = |code| refusal(code, "Value 'secret' at 'partitionKey'".to_owned()).message;
        assert!(!message("ValidationException").contains("secret"));
        assert!(message("AccessDeniedException").contains("secret"));
    }
}
