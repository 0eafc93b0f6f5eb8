//! Batches that the stream's event source gave up after its last retry: what its OnFailure destination keeps of them.
//!
//! Lambda puts one JSON object a batch at `aws/lambda/<event source>/<shard>/YYYY/MM/DD/YYYY-MM-DDTHH.MM.SS-<uuid>`,
//! from the root of the destination's bucket: `KinesisBatchInfo` tells the stream, the shard and the first and last
//! sequence number, and `payload`, which S3 alone gets, is the whole event that the function was invoked with, as an
//! escaped JSON string (Lambda Developer Guide, "Retain discarded batch records for a Kinesis Data Streams event
//! source in Lambda").
//!
//! The event source goes on after it has put the object, so a shard's watermark passes a batch only when its object is
//! there; it is removed when everything of it has landed ([`crate::recover`]).

use aws_lambda_events::event::kinesis::KinesisEvent;
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use serde::Deserialize;

use crate::bounded_list::look;
use crate::error::LandingError;
use crate::kinesis::stream_name;
use crate::object::get_if_there;
use crate::sequence::Sequence;

/// Path prefix of what the event source gave up, in the bucket's root.
pub const DISCARDED: &str = "aws/lambda";
/// The most bytes of an object: an event of 6 MB, escaped, is below.
const MOST_BYTES: u64 = 64 << 20;

/// An object that holds a batch.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct DiscardedObject {
    /// Shard of its records.
    pub shard: String,
    /// Its path from the bucket's root.
    pub path: Path,
    /// Its bytes.
    pub size: u64,
}

/// What lies in the destination.
#[derive(Debug, Default)]
pub struct Listing {
    /// Batches, those of a shard in the order in which they were given up.
    pub batches: Vec<DiscardedObject>,
    /// Objects that no Kinesis event source has put there.
    pub others: usize,
    /// How many objects were listed.
    pub looked_at: usize,
    /// Whether there are more: then what is not among the batches may be there all the same.
    pub is_cut_short: bool,
}

/// Which records a batch is made of.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct BatchInfo {
    /// Shard of its records.
    pub shard_id: String,
    /// The first record.
    pub start_sequence_number: Sequence,
    /// The last record.
    pub end_sequence_number: Sequence,
    /// ARN of the stream.
    pub stream_arn: String,
}

impl BatchInfo {
    /// Name of the stream.
    pub fn stream(&self) -> &str {
        stream_name(&self.stream_arn)
    }
}

/// A batch and its records.
#[derive(Debug)]
pub struct Batch {
    /// Which records were given up.
    pub info: BatchInfo,
    /// The event that the function was invoked with last; it may hold more records than were given up.
    pub event: KinesisEvent,
}

/// The batches that wait in `destination`, the OnFailure destination's root, among its first `most` objects.
///
/// # Errors
/// When the store cannot be listed.
pub async fn list(destination: &dyn ObjectStore, most: usize) -> Result<Listing, LandingError> {
    let look = look(destination, &Path::from(DISCARDED), most, |meta| {
        let shard = shard_of(&meta.location)?;
        Some(DiscardedObject { shard, path: meta.location, size: meta.size })
    })
    .await?;
    let mut batches = look.found;
    batches.sort();
    Ok(Listing {
        others: look.looked_at - batches.len(),
        batches,
        looked_at: look.looked_at,
        is_cut_short: look.is_cut_short,
    })
}

/// Tells which records a batch is made of; `None` when its object is gone.
///
/// # Errors
/// When the store fails, or the object is not what Lambda writes.
pub async fn info(
    destination: &dyn ObjectStore,
    discarded: &DiscardedObject,
) -> Result<Option<BatchInfo>, LandingError> {
    #[derive(Deserialize)]
    struct Head {
        #[serde(rename = "KinesisBatchInfo")]
        info: BatchInfo,
    }
    let Some(bytes) = get(destination, discarded).await? else { return Ok(None) };
    let head: Head = serde_json::from_slice(&bytes).map_err(|error| unreadable(discarded, error))?;
    Ok(Some(head.info))
}

/// Reads a batch; `None` when its object is gone.
///
/// # Errors
/// When the store fails, or the object is not what Lambda writes.
pub async fn read(
    destination: &dyn ObjectStore,
    discarded: &DiscardedObject,
) -> Result<Option<Batch>, LandingError> {
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
    let Some(bytes) = get(destination, discarded).await? else { return Ok(None) };
    let document: Document = serde_json::from_slice(&bytes).map_err(|error| unreadable(discarded, error))?;
    let event = match document.payload {
        Some(Payload::Plain(event)) => event,
        Some(Payload::Escaped(text)) => {
            serde_json::from_str(&text).map_err(|error| unreadable(discarded, error))?
        }
        None => {
            let BatchInfo { start_sequence_number: first, end_sequence_number: last, .. } = &document.info;
            let why = format!(
                "it has no payload; read {first} to {last} of {} from the stream while it keeps them",
                discarded.shard
            );
            return Err(unreadable(discarded, why));
        }
    };
    Ok(Some(Batch { info: document.info, event }))
}

async fn get(
    destination: &dyn ObjectStore,
    discarded: &DiscardedObject,
) -> Result<Option<Bytes>, LandingError> {
    let path = &discarded.path;
    if discarded.size > MOST_BYTES {
        return Err(unreadable(discarded, format!("{} bytes are more than Lambda writes", discarded.size)));
    }
    get_if_there(destination, path).await.map_err(LandingError::store(path))
}

pub(crate) fn unreadable(discarded: &DiscardedObject, why: impl ToString) -> LandingError {
    LandingError::NotReplayable { path: discarded.path.to_string(), why: why.to_string() }
}

/// `aws/lambda/<event source>/<shard>/YYYY/MM/DD/<name>` -> shard
fn shard_of(path: &Path) -> Option<String> {
    let parts: Vec<_> = path.parts().collect();
    let [aws, lambda, _, shard, _, _, _, _] = parts.as_slice() else { return None };
    let known =
        (aws.as_ref(), lambda.as_ref()) == ("aws", "lambda") && shard.as_ref().starts_with("shardId-");
    known.then(|| shard.as_ref().to_owned())
}
