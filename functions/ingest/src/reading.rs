//! The stream as it is read back, for clients of the old API that do so: a trait, and Kinesis behind it.
//!
//! A page is what one `GetRecords` of Kinesis gives, 10 MiB at most. Which of its records a client may see, and how
//! much of it at once, is [`kinesis_reads`](crate::kinesis_reads)'s business.

use std::future::Future;

use aws_sdk_kinesis::error::{ProvideErrorMetadata, SdkError};
use aws_sdk_kinesis::types::ShardIteratorType;

use crate::stream::{KinesisStream, PutError, PutErrorKind, whole_call};

/// The most shards that are told of at once (`ListShards`, API reference).
pub const MAX_SHARDS: i32 = 1_000;

/// A shard of the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Shard {
    /// Its name.
    pub id: String,
    /// The shard that it was split from, or one of those that it was merged from.
    pub parent: Option<String>,
    /// The lowest and the highest hash of its partition keys.
    pub hashes: (String, String),
    /// The first sequence number, and the last if it is closed.
    pub sequences: (String, Option<String>),
}

/// What is told of the stream. The name is not among it: it is the operator's.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    /// `ACTIVE` or another, as Kinesis has it.
    pub status: String,
    /// How long it keeps records.
    pub retention_hours: i32,
    /// When it was made, in milliseconds since 1970.
    pub created_ms: i64,
    /// Its shards, [`MAX_SHARDS`] at most.
    pub shards: Vec<Shard>,
    /// Whether it has more.
    pub more: bool,
}

/// Where to begin in a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Start<'a> {
    /// At the oldest record that is kept.
    Oldest,
    /// At the record of this sequence number.
    At(&'a str),
}

/// A record on the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HeldRecord {
    /// Its partition key on the stream.
    pub key: String,
    /// Its bytes.
    pub data: Vec<u8>,
    /// Its sequence number.
    pub sequence: String,
    /// When the stream took it, in milliseconds since 1970.
    pub arrived_ms: i64,
}

/// Records that follow each other in a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// In the order of their sequence numbers; there may be none though there are some further on.
    pub records: Vec<HeldRecord>,
    /// Kinesis' iterator for what follows; none behind the end of a closed shard.
    pub next: Option<String>,
    /// How far its end is from the newest record.
    pub behind_ms: i64,
}

/// Gives records back. A stream that is only written to says that it does not.
pub trait ReadableStream: Send + Sync {
    /// What there is to tell of the stream.
    ///
    /// # Errors
    /// When it cannot be had.
    fn describe(&self) -> impl Future<Output = Result<Description, PutError>> + Send {
        std::future::ready(Err(write_only()))
    }

    /// Kinesis' iterator for a place in a shard.
    ///
    /// # Errors
    /// `ResourceNotFoundException` for no such shard; when the stream cannot be reached.
    fn iterator(
        &self,
        shard: &str,
        start: Start<'_>,
    ) -> impl Future<Output = Result<String, PutError>> + Send {
        let _ = (shard, start);
        std::future::ready(Err(write_only()))
    }

    /// The page at an iterator.
    ///
    /// # Errors
    /// `ExpiredIteratorException` after five minutes, `InvalidArgumentException` for no iterator of Kinesis'; when the
    /// stream cannot be reached.
    fn page(&self, iterator: &str) -> impl Future<Output = Result<Page, PutError>> + Send {
        let _ = iterator;
        std::future::ready(Err(write_only()))
    }
}

fn write_only() -> PutError {
    let message = "this stream is only written to".to_owned();
    PutError { kind: PutErrorKind::Permanent, code: "UnsupportedOperationException".to_owned(), message }
}

fn answered<T, E>(answer: Result<T, SdkError<E>>) -> Result<T, PutError>
where
    E: ProvideErrorMetadata + std::error::Error + 'static,
{
    answer.map_err(|error| whole_call(&error))
}

fn incomplete(what: &str) -> PutError {
    let message = format!("the stream's answer has no {what}");
    PutError { kind: PutErrorKind::Unavailable, code: "InternalFailure".to_owned(), message }
}

impl ReadableStream for KinesisStream {
    async fn describe(&self) -> Result<Description, PutError> {
        let (summary, listed) = tokio::join!(
            self.client.describe_stream_summary().stream_name(&self.name).send(),
            self.client.list_shards().stream_name(&self.name).max_results(MAX_SHARDS).send(),
        );
        let (summary, listed) = (answered(summary)?, answered(listed)?);
        let summary = summary.stream_description_summary().ok_or_else(|| incomplete("summary"))?;
        let shards = listed.shards().iter().filter_map(|shard| {
            let (hashes, sequences) = (shard.hash_key_range()?, shard.sequence_number_range()?);
            Some(Shard {
                id: shard.shard_id().to_owned(),
                parent: shard.parent_shard_id().map(str::to_owned),
                hashes: (hashes.starting_hash_key().to_owned(), hashes.ending_hash_key().to_owned()),
                sequences: (
                    sequences.starting_sequence_number().to_owned(),
                    sequences.ending_sequence_number().map(str::to_owned),
                ),
            })
        });
        Ok(Description {
            status: summary.stream_status().as_str().to_owned(),
            retention_hours: summary.retention_period_hours(),
            created_ms: summary.stream_creation_timestamp().to_millis().unwrap_or_default(),
            shards: shards.collect(),
            more: listed.next_token().is_some(),
        })
    }

    async fn iterator(&self, shard: &str, start: Start<'_>) -> Result<String, PutError> {
        let call = self.client.get_shard_iterator().stream_name(&self.name).shard_id(shard);
        let call = match start {
            Start::Oldest => call.shard_iterator_type(ShardIteratorType::TrimHorizon),
            Start::At(sequence) => call
                .shard_iterator_type(ShardIteratorType::AtSequenceNumber)
                .starting_sequence_number(sequence),
        };
        answered(call.send().await)?.shard_iterator.ok_or_else(|| incomplete("iterator"))
    }

    async fn page(&self, iterator: &str) -> Result<Page, PutError> {
        let answer = answered(self.client.get_records().shard_iterator(iterator).send().await)?;
        let records = answer.records.into_iter().map(|record| HeldRecord {
            key: record.partition_key.unwrap_or_default(),
            data: record.data.into_inner(),
            sequence: record.sequence_number,
            arrived_ms: record
                .approximate_arrival_timestamp
                .and_then(|time| time.to_millis().ok())
                .unwrap_or_default(),
        });
        Ok(Page {
            records: records.collect(),
            next: answer.next_shard_iterator,
            behind_ms: answer.millis_behind_latest.unwrap_or_default(),
        })
    }
}
