//! The cleaner: batches of a Kinesis stream, or of the topics of a Kafka cluster, into the lake's landing area.
//!
//! Invariants: bad data never fails a batch (it lands in quarantine); a shard's or partition's watermark moves only
//! after all that it passes has landed; a batch that is delivered again makes the same objects.
//!
//! When the store fails over records of Kinesis, the answer names the first record of the shard that was not landed,
//! and Lambda delivers from there again (Lambda Developer Guide, "Configuring partial batch response with Kinesis
//! Data Streams"). Over records of Kafka the invocation as a whole fails: Lambda reads an answer of that kind from
//! Kafka's event sources in provisioned mode only ("Configuring error handling controls for Kafka event sources"),
//! and elsewhere would take it for success. It delivers the whole batch again, which lands the same objects.
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

pub mod event;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lambda_events::event::kinesis::{KinesisEvent, KinesisEventRecord};
use aws_lambda_events::event::streams::KinesisEventResponse;
use object_store::ObjectStore;
use pinlake_landing::kind::partition_shard;
use pinlake_landing::land::{Delivery, Landed, land};
use pinlake_landing::raw::{self, RawData, RawRecord};
use pinlake_landing::sequence::{NotASequence, Sequence};
use pinlake_landing::{LandingError, watermark};
use pinlake_schema::Catalog;

use crate::event::KafkaRecord;

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

/// Records of one shard or partition are not landed, and will be delivered again.
#[derive(Debug, thiserror::Error)]
pub enum ShardError {
    /// The store failed.
    #[error(transparent)]
    Landing(#[from] LandingError),
    /// A record has no sequence number that could be a watermark.
    #[error(transparent)]
    Sequence(#[from] NotASequence),
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

    /// Lands the records of topics, partition by partition. A partition that fails does not keep the others.
    ///
    /// # Errors
    /// With the first partition that failed. All will be delivered again.
    pub async fn handle_topics(&self, records: Vec<KafkaRecord>) -> Result<Vec<Landed>, ShardError> {
        let mut partitions: BTreeMap<(String, u32), Vec<KafkaRecord>> = BTreeMap::new();
        for record in records {
            partitions.entry((record.topic.clone(), record.partition)).or_default().push(record);
        }
        let (mut landed, mut failure) = (Vec::new(), None);
        for ((topic, partition), mut records) in partitions {
            // The last one moves the watermark.
            records.sort_by_key(|record| record.offset);
            let records: Vec<RawRecord> = records.into_iter().map(KafkaRecord::into_raw).collect();
            let shard = partition_shard(partition);
            match self.land(Delivery { source: &topic, shard: &shard, records: &records }).await {
                Ok(done) => landed.push(done),
                Err(error) => {
                    tracing::error!(topic, partition, %error, "batch not landed, it will be delivered again");
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(landed), Err)
    }

    /// The order is the guarantee: raw records, then clean rows, then the watermark that says so.
    async fn land(&self, delivery: Delivery<'_>) -> Result<Landed, ShardError> {
        let store = &*self.store;
        let (Some(origin), Some(last)) = (delivery.origin(), delivery.records.last()) else {
            return Ok(Landed { objects: Vec::new(), counts: Vec::new() });
        };
        let passed: Sequence = last.sequence.parse()?;
        let kept = raw::put(store, &origin, delivery.records).await?;
        let landed = land(store, &self.catalog, delivery, &kept).await?;
        watermark::advance(store, delivery.source, delivery.shard, &passed).await?;
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
