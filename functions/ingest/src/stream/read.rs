//! Reading the stream, for clients of the old API that do so.
//!
//! A page is the result of one `GetRecords` call to Kinesis, at most 10 MiB. Which of its records a client may see is
//! decided by [`protocol::kinesis::reads`](crate::protocol::kinesis::reads).

use std::future::{Future, ready};
use std::pin::Pin;

use crate::stream::{StreamError, StreamErrorKind};

/// The maximum number of shards in a description (`ListShards`, API reference).
pub const MAX_SHARDS: i32 = 1_000;

/// A future of a trait object.
pub type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// A shard of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// The id.
    pub id: String,
    /// The shard that it was split from, or one of the shards that it was merged from.
    pub parent: Option<String>,
    /// The lowest and the highest hash key.
    pub hash_keys: (String, String),
    /// The first sequence number, and the last one if the shard is closed.
    pub sequences: (String, Option<String>),
}

/// A description of the stream. It omits the stream's name, which is private to the operator.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamDescription {
    /// The status, as in Kinesis: `ACTIVE` or another.
    pub status: String,
    /// The retention period.
    pub retention_hours: i32,
    /// When the stream was created, in milliseconds since 1970.
    pub created_ms: i64,
    /// At most [`MAX_SHARDS`] shards.
    pub shards: Vec<Shard>,
    /// Whether there are more shards.
    pub has_more_shards: bool,
}

/// The position at which an iterator starts.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IteratorStart<'a> {
    /// The oldest record of the shard.
    TrimHorizon,
    /// The record with this sequence number.
    AtSequenceNumber(&'a str),
}

/// A record on the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StoredRecord {
    /// The partition key on the stream.
    pub key: String,
    /// The data.
    pub data: Vec<u8>,
    /// The sequence number.
    pub sequence: String,
    /// When the stream received it, in milliseconds since 1970.
    pub arrived_ms: i64,
}

/// Consecutive records of a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RecordPage {
    /// The records in the order of their sequence numbers. A page may be empty although later ones are not.
    pub records: Vec<StoredRecord>,
    /// The Kinesis iterator of the next page; `None` at the end of a closed shard.
    pub next: Option<String>,
    /// How far the end of the page is behind the newest record, in milliseconds.
    pub behind_ms: i64,
}

/// A stream that can be read. The default implementation is a stream that cannot.
pub trait ReadableStream: Send + Sync {
    /// Describes the stream.
    ///
    /// # Errors
    /// If the stream is not available.
    fn describe(&self) -> BoxFuture<'_, Result<StreamDescription, StreamError>> {
        Box::pin(ready(Err(write_only())))
    }

    /// Opens an iterator in a shard. Returns the Kinesis iterator.
    ///
    /// # Errors
    /// `ResourceNotFoundException` for an unknown shard; if the stream is not available.
    fn open_iterator<'a>(
        &'a self,
        shard: &'a str,
        start: IteratorStart<'a>,
    ) -> BoxFuture<'a, Result<String, StreamError>> {
        let _ = (shard, start);
        Box::pin(ready(Err(write_only())))
    }

    /// Reads the page at a Kinesis iterator.
    ///
    /// # Errors
    /// `ExpiredIteratorException` after five minutes, `InvalidArgumentException` for an invalid iterator; if the stream
    /// is not available.
    fn read_page<'a>(&'a self, iterator: &'a str) -> BoxFuture<'a, Result<RecordPage, StreamError>> {
        let _ = iterator;
        Box::pin(ready(Err(write_only())))
    }
}

fn write_only() -> StreamError {
    StreamError {
        kind: StreamErrorKind::Permanent,
        code: "UnsupportedOperationException".to_owned(),
        message: "this stream cannot be read".to_owned(),
    }
}
