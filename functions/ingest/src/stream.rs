//! The stream that records are written to: a trait, so that tests and the simulator can replace Kinesis.
//!
//! [`kinesis`] implements it for a Kinesis data stream. [`read`] is the counterpart for reading records back.

use std::future::Future;

use crate::packing::StreamRecord;

pub mod kinesis;
pub mod read;

/// The maximum number of records in a call (`PutRecords`, API reference).
pub const MAX_CALL_RECORDS: usize = 500;

/// The maximum size of a call in bytes, keys included (same source).
pub const MAX_CALL_BYTES: usize = 5 * 1024 * 1024;

/// The place of a stored record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receipt {
    /// The id of the shard.
    pub shard: String,
    /// The sequence number in the shard, in decimal digits.
    pub sequence: String,
}

/// How to react to an error of the stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum StreamErrorKind {
    /// The throughput is exceeded: retry later.
    Throttled,
    /// A transient fault: retry.
    Unavailable,
    /// Retrying is useless: missing permissions, a missing stream, an invalid argument.
    Permanent,
}

/// A call to the stream, or one record of it, failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{code}: {message}")]
pub struct StreamError {
    /// How to react.
    pub kind: StreamErrorKind,
    /// The name of the exception, as in Kinesis.
    pub code: String,
    /// The message, for the log only.
    pub message: String,
}

/// A stream that stores records.
pub trait RecordStream: Send + Sync {
    /// Puts up to [`MAX_CALL_RECORDS`] records of up to [`MAX_CALL_BYTES`] in total. Returns the result of each record,
    /// in order.
    ///
    /// # Errors
    /// If the call failed as a whole. Its records may have been stored anyway.
    fn put_records(
        &self,
        records: &[&StreamRecord],
    ) -> impl Future<Output = Result<Vec<Result<Receipt, StreamError>>, StreamError>> + Send;
}
