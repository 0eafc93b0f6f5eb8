//! The cleaner: batches of a Kinesis stream into the lake's landing area.
//!
//! Invariants: bad data never fails a batch (it lands in quarantine); a shard's watermark moves only after all that
//! it passes has landed; a batch that is delivered again makes the same objects.
//!
//! When the store fails, the answer names the first record of the shard that was not landed, and Lambda delivers
//! from there again (Lambda Developer Guide, "Configuring partial batch response with Kinesis Data Streams").
//!
//! ```
//! use std::sync::Arc;
//! use aws_lambda_events::event::kinesis::KinesisEvent;
//! use object_store::memory::InMemory;
//! use pinlake_schema::Catalog;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let cleaner = cleaner::Cleaner {
//!     store: Arc::new(InMemory::new()),
//!     catalog: Arc::new(Catalog::embedded().unwrap()),
//! };
//! let cleaned = cleaner.handle(KinesisEvent::default()).await;
//! assert!(cleaned.response.batch_item_failures.is_empty());
//! # });
//! ```

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lambda_events::event::kinesis::{KinesisEvent, KinesisEventRecord};
use aws_lambda_events::event::streams::KinesisEventResponse;
use object_store::ObjectStore;
use pinlake_landing::land::{Delivery, Landed, land};
use pinlake_landing::raw::{self, RawData, RawRecord};
use pinlake_landing::sequence::{NotASequence, Sequence};
use pinlake_landing::{LandingError, watermark};
use pinlake_schema::Catalog;

/// The cleaner's parts.
#[derive(Debug)]
pub struct Cleaner {
    /// The lake's store.
    pub store: Arc<dyn ObjectStore>,
    /// The contracts.
    pub catalog: Arc<Catalog>,
}

/// What became of an event.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// What Lambda is told: where to go on, per shard.
    pub response: KinesisEventResponse,
    /// What landed.
    pub landed: Vec<Landed>,
}

/// Records of one shard are not landed, and will be delivered again.
#[derive(Debug)]
enum ShardError {
    Landing(LandingError),
    Sequence(NotASequence),
}

impl std::fmt::Display for ShardError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Landing(error) => error.fmt(f),
            Self::Sequence(error) => error.fmt(f),
        }
    }
}

impl Cleaner {
    /// Lands the records of an event, shard by shard. Lambda sends one shard an event; nothing here relies on it.
    pub async fn handle(&self, event: KinesisEvent) -> Cleaned {
        let mut shards: BTreeMap<(String, String), Vec<RawRecord>> = BTreeMap::new();
        for record in event.records {
            let shard = (stream_of(&record), shard_of(&record));
            shards.entry(shard).or_default().push(raw_record(record));
        }
        let mut cleaned = Cleaned::default();
        for ((stream, shard), records) in shards {
            let delivery = Delivery { source: &stream, shard: &shard, records: &records };
            match self.land(delivery).await {
                Ok(landed) => cleaned.landed.push(landed),
                Err(error) => {
                    let first = records.first().map(|record| record.sequence.as_str()).unwrap_or_default();
                    tracing::error!(stream, shard, first, %error, "batch not landed, it will be delivered again");
                    cleaned.response.add_failure(first);
                }
            }
        }
        cleaned
    }

    /// The order is the guarantee: raw records, then clean rows, then the watermark that says so.
    async fn land(&self, delivery: Delivery<'_>) -> Result<Landed, ShardError> {
        let store = &*self.store;
        let (Some(origin), Some(last)) = (delivery.origin(), delivery.records.last()) else {
            return Ok(Landed { objects: Vec::new(), counts: Vec::new() });
        };
        let passed: Sequence = last.sequence.parse().map_err(ShardError::Sequence)?;
        let kept = raw::put(store, &origin, delivery.records).await.map_err(ShardError::Landing)?;
        let landed = land(store, &self.catalog, delivery, &kept).await.map_err(ShardError::Landing)?;
        watermark::advance(store, delivery.source, delivery.shard, &passed)
            .await
            .map_err(ShardError::Landing)?;
        Ok(landed)
    }
}

/// `arn:aws:kinesis:<region>:<account>:stream/<name>` -> name
fn stream_of(record: &KinesisEventRecord) -> String {
    let arn = record.event_source_arn.as_deref().unwrap_or_default();
    arn.rsplit('/').next().unwrap_or_default().to_owned()
}

/// `shardId-000000000000:<sequence number>` -> shard
fn shard_of(record: &KinesisEventRecord) -> String {
    let id = record.event_id.as_deref().unwrap_or_default();
    id.split(':').next().unwrap_or_default().to_owned()
}

fn raw_record(record: KinesisEventRecord) -> RawRecord {
    let kinesis = record.kinesis;
    RawRecord {
        key: kinesis.partition_key,
        sequence: kinesis.sequence_number,
        arrived_ms: kinesis.approximate_arrival_timestamp.0.timestamp_millis(),
        data: RawData::from_bytes(kinesis.data.0),
    }
}
