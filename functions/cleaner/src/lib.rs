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
//! use pinlake_landing::catalog_history::CatalogHistory;
//! use pinlake_schema::Catalog;
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let cleaner = cleaner::Cleaner {
//!     store: Arc::new(InMemory::new()),
//!     catalog: Arc::new(Catalog::embedded().unwrap()),
//!     catalog_history: CatalogHistory::default(),
//! };
//! let cleaned = cleaner.handle(KinesisEvent::default()).await;
//! assert!(cleaned.response.batch_item_failures.is_empty());
//! # });
//! ```

pub mod event;

use std::collections::BTreeMap;
use std::sync::Arc;

use aws_lambda_events::event::kinesis::KinesisEvent;
use aws_lambda_events::event::streams::KinesisEventResponse;
use object_store::ObjectStore;
use pinlake_landing::catalog_history::CatalogHistory;
use pinlake_landing::land::{Delivery, Landed, deliver};
use pinlake_landing::raw::RawRecord;
use pinlake_landing::source::partition_shard;
use pinlake_landing::{LandingError, kinesis};
use pinlake_schema::Catalog;

use crate::event::KafkaRecord;

/// The cleaner's parts.
#[derive(Debug)]
pub struct Cleaner {
    /// The lake's store.
    pub store: Arc<dyn ObjectStore>,
    /// The contracts.
    pub catalog: Arc<Catalog>,
    /// The contracts that the lake knows records to be judged by.
    pub catalog_history: CatalogHistory,
}

/// What became of an event.
#[derive(Debug, Default)]
pub struct Cleaned {
    /// What Lambda is told: where to go on, per shard.
    pub response: KinesisEventResponse,
    /// What landed.
    pub landed: Vec<Landed>,
}

impl Cleaner {
    /// Lands the records of an event, shard by shard. Lambda sends one shard an event; nothing here relies on it.
    pub async fn handle(&self, event: KinesisEvent) -> Cleaned {
        let mut cleaned = Cleaned::default();
        for ((stream, shard), records) in kinesis::by_shard(event) {
            let delivery = Delivery { source: &stream, shard: &shard, records: &records };
            match deliver(&*self.store, &self.catalog_history, &self.catalog, delivery).await {
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
    pub async fn handle_topics(&self, records: Vec<KafkaRecord>) -> Result<Vec<Landed>, LandingError> {
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
            let delivery = Delivery { source: &topic, shard: &shard, records: &records };
            match deliver(&*self.store, &self.catalog_history, &self.catalog, delivery).await {
                Ok(done) => landed.push(done),
                Err(error) => {
                    tracing::error!(topic, partition, %error, "batch not landed, it will be delivered again");
                    failure.get_or_insert(error);
                }
            }
        }
        failure.map_or(Ok(landed), Err)
    }
}
