//! Discarded batches: batches that the Kinesis event source stopped retrying, as its OnFailure destination keeps them.
//!
//! Lambda writes one JSON object for each batch, `aws/lambda/<event
//! source>/<shard>/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-<uuid>` in the root of the destination bucket. `KinesisBatchInfo`
//! names the stream, the shard, and the first and last sequence number. `payload`, which only S3 destinations receive,
//! is the event of the invocation as an escaped JSON string (Lambda Developer Guide, "Retain discarded batch records
//! for a Kinesis Data Streams event source in Lambda").
//!
//! The event source continues with the shard only after it has written the object. So a watermark passes a discarded
//! batch only when its object exists. [`crate::recover`] removes the object when all its records have landed.

use aws_lambda_events::event::kinesis::KinesisEvent;
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use pinlake_store::{list_bounded, read_if_exists};
use serde::Deserialize;

use crate::error::LandingError;
use crate::kinesis::stream_name;
use crate::sequence::Sequence;

/// Path prefix of discarded batches, in the bucket's root.
pub const DISCARDED: &str = "aws/lambda";
/// Limit of an object: an escaped event of 6 MB is smaller.
const MAX_BYTES: u64 = 64 << 20;

/// An object that holds a discarded batch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiscardedObject {
    /// Shard of the records.
    pub shard: String,
    /// Path from the bucket's root.
    pub path: Path,
    /// Size in bytes.
    pub size: u64,
}

/// A listing of the destination.
#[derive(Debug, Default)]
pub struct DiscardedList {
    /// Batches; those of one shard in the order in which they were discarded.
    pub batches: Vec<DiscardedObject>,
    /// Number of objects that are not from a Kinesis event source.
    pub others: usize,
    /// Number of objects listed.
    pub listed: usize,
    /// Whether the destination has more objects than were listed.
    pub is_truncated: bool,
}

/// The range of records of a discarded batch.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchInfo {
    /// Shard of the records.
    pub shard_id: String,
    /// Sequence number of the first record.
    pub start_sequence_number: Sequence,
    /// Sequence number of the last record.
    pub end_sequence_number: Sequence,
    /// ARN of the stream.
    pub stream_arn: String,
}

impl BatchInfo {
    /// Returns the name of the stream.
    pub fn stream(&self) -> &str {
        stream_name(&self.stream_arn)
    }
}

/// A discarded batch with its records.
#[derive(Debug)]
pub struct DiscardedBatch {
    /// The range of records that were discarded.
    pub info: BatchInfo,
    /// The event of the last invocation. It can hold more records than were discarded.
    pub event: KinesisEvent,
}

/// Lists the discarded batches among the first `limit` objects of `destination`, the root of the OnFailure destination.
///
/// # Errors
/// When the store cannot be listed.
pub async fn list(destination: &dyn ObjectStore, limit: usize) -> Result<DiscardedList, LandingError> {
    let prefix = Path::from(DISCARDED);
    let list = list_bounded(destination, &prefix, limit, |meta| {
        let shard = parse_shard(&meta.location)?;
        Some(DiscardedObject { shard, path: meta.location, size: meta.size })
    })
    .await
    .map_err(LandingError::store(&prefix))?;
    let mut batches = list.found;
    batches.sort();
    Ok(DiscardedList {
        others: list.listed - batches.len(),
        batches,
        listed: list.listed,
        is_truncated: list.is_truncated,
    })
}

/// Reads the range of records of a batch; `None` if the object is gone.
///
/// # Errors
/// When the store fails, or the object is malformed.
pub async fn read_info(
    destination: &dyn ObjectStore,
    discarded: &DiscardedObject,
) -> Result<Option<BatchInfo>, LandingError> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(rename = "KinesisBatchInfo")]
        info: BatchInfo,
    }
    let Some(bytes) = read_object(destination, discarded).await? else { return Ok(None) };
    let head: Head = serde_json::from_slice(&bytes).map_err(|error| not_replayable(discarded, error))?;
    Ok(Some(head.info))
}

/// Reads a batch; `None` if the object is gone.
///
/// # Errors
/// When the store fails, or the object is malformed.
pub async fn read_batch(
    destination: &dyn ObjectStore,
    discarded: &DiscardedObject,
) -> Result<Option<DiscardedBatch>, LandingError> {
    #[derive(Deserialize)]
    struct Document {
        #[serde(rename = "KinesisBatchInfo")]
        info: BatchInfo,
        payload: Option<Payload>,
    }
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Payload {
        Escaped(String),
        Plain(KinesisEvent),
    }
    let Some(bytes) = read_object(destination, discarded).await? else { return Ok(None) };
    let document: Document =
        serde_json::from_slice(&bytes).map_err(|error| not_replayable(discarded, error))?;
    let event = match document.payload {
        Some(Payload::Plain(event)) => event,
        Some(Payload::Escaped(text)) => {
            serde_json::from_str(&text).map_err(|error| not_replayable(discarded, error))?
        }
        None => {
            let BatchInfo { start_sequence_number: first, end_sequence_number: last, .. } = &document.info;
            let why = format!(
                "it has no payload; read the records {first} to {last} of {} from the stream before they expire",
                discarded.shard
            );
            return Err(not_replayable(discarded, why));
        }
    };
    Ok(Some(DiscardedBatch { info: document.info, event }))
}

async fn read_object(
    destination: &dyn ObjectStore,
    discarded: &DiscardedObject,
) -> Result<Option<Bytes>, LandingError> {
    let path = &discarded.path;
    if discarded.size > MAX_BYTES {
        return Err(not_replayable(
            discarded,
            format!("{} bytes exceed the size of a discarded batch", discarded.size),
        ));
    }
    read_if_exists(destination, path).await.map_err(LandingError::store(path))
}

pub(crate) fn not_replayable(discarded: &DiscardedObject, why: impl ToString) -> LandingError {
    LandingError::NotReplayable { path: discarded.path.to_string(), why: why.to_string() }
}

/// `aws/lambda/<event source>/<shard>/YYYY/MM/DD/<name>` -> shard
fn parse_shard(path: &Path) -> Option<String> {
    let parts: Vec<_> = path.parts().collect();
    let [aws, lambda, _, shard, _, _, _, _] = parts.as_slice() else { return None };
    let is_kinesis =
        (aws.as_ref(), lambda.as_ref()) == ("aws", "lambda") && shard.as_ref().starts_with("shardId-");
    is_kinesis.then(|| shard.as_ref().to_owned())
}
