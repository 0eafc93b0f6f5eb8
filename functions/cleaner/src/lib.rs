//! The cleaner: lands the records of a Kinesis stream or of Kafka topics.
//!
//! Invariants:
//! - A record that breaks its contract never fails a batch: it lands in quarantine.
//! - The watermark of a shard advances only after all records up to it have landed.
//! - A batch that is delivered again writes the same objects.
//!
//! When the store fails for records of Kinesis, the response names the first record of the shard that has not landed,
//! and Lambda delivers again from there (Lambda Developer Guide, "Configuring partial batch response with Kinesis Data
//! Streams"). For records of Kafka the whole invocation fails, and Lambda delivers the whole batch again: it reads
//! partial batch responses only in provisioned mode ("Configuring error handling controls for Kafka event sources") and
//! treats them as success otherwise.
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
//! let summary = cleaner.handle_kinesis(KinesisEvent::default()).await;
//! assert!(summary.response.batch_item_failures.is_empty());
//! # });
//! ```

pub mod event;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lambda_events::event::kinesis::KinesisEvent;
use aws_lambda_events::event::streams::KinesisEventResponse;
use object_store::ObjectStore;
use pinlake_landing::catalog_history::CatalogHistory;
use pinlake_landing::land::{LandingSummary, RawBatch, land_batch};
use pinlake_landing::raw::RawRecord;
use pinlake_landing::source::RecordSource;
use pinlake_landing::{LandingError, kinesis};
use pinlake_schema::Catalog;

use crate::event::{KafkaRecord, SourceEvent};

/// The cleaner.
#[derive(Debug)]
pub struct Cleaner {
    /// Store of the lake.
    pub store: Arc<dyn ObjectStore>,
    /// Contracts of this deployment.
    pub catalog: Arc<Catalog>,
    /// Catalog history of the lake.
    pub catalog_history: CatalogHistory,
}

/// What an invocation did.
#[derive(Debug, Default)]
pub struct InvocationSummary {
    /// Response to Lambda: where to deliver again, by shard.
    pub response: KinesisEventResponse,
    /// What has landed, by shard.
    pub landed: Vec<LandingSummary>,
}

impl InvocationSummary {
    /// Returns the datasets of the landing objects.
    pub fn landed_datasets(&self) -> BTreeSet<&str> {
        let objects = self.landed.iter().flat_map(|landed| &landed.objects);
        objects.map(|object| object.name.dataset.as_str()).collect()
    }
}

impl Cleaner {
    /// Lands the records of an event.
    ///
    /// # Errors
    /// When records of Kafka have not landed: Lambda must deliver the whole event again.
    pub async fn handle(&self, event: SourceEvent) -> Result<InvocationSummary, LandingError> {
        match event {
            SourceEvent::Kinesis(event) => Ok(self.handle_kinesis(event).await),
            SourceEvent::Kafka(records) => Ok(InvocationSummary {
                landed: self.handle_kafka(records).await?,
                ..InvocationSummary::default()
            }),
        }
    }

    /// Lands the records of a Kinesis event, shard by shard. Lambda sends one shard in an event; this does not rely on
    /// it.
    pub async fn handle_kinesis(&self, event: KinesisEvent) -> InvocationSummary {
        let mut summary = InvocationSummary::default();
        for (source, records) in kinesis::group_by_shard(event) {
            let batch = RawBatch { source: &source, records: &records };
            match self.land(batch).await {
                Ok(landed) => summary.landed.push(landed),
                Err(error) => {
                    let first = records.first().map(|record| record.sequence.as_str()).unwrap_or_default();
                    tracing::error!(%source, first, %error, "batch has not landed, Lambda delivers it again");
                    summary.response.add_failure(first);
                }
            }
        }
        summary
    }

    /// Lands the records of Kafka topics, partition by partition. A partition that fails does not stop the others.
    ///
    /// # Errors
    /// The error of the first partition that failed. Lambda then delivers all records again.
    pub async fn handle_kafka(&self, records: Vec<KafkaRecord>) -> Result<Vec<LandingSummary>, LandingError> {
        let mut partitions: BTreeMap<RecordSource, Vec<KafkaRecord>> = BTreeMap::new();
        for record in records {
            let source = RecordSource::Kafka { topic: record.topic.clone(), partition: record.partition };
            partitions.entry(source).or_default().push(record);
        }
        let (mut landed, mut first_error) = (Vec::new(), None);
        for (source, mut records) in partitions {
            // The watermark advances to the last record.
            records.sort_by_key(|record| record.offset);
            let records: Vec<RawRecord> = records.into_iter().map(KafkaRecord::into_raw).collect();
            match self.land(RawBatch { source: &source, records: &records }).await {
                Ok(summary) => landed.push(summary),
                Err(error) => {
                    tracing::error!(%source, %error, "batch has not landed, Lambda delivers it again");
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(landed), Err)
    }

    async fn land(&self, batch: RawBatch<'_>) -> Result<LandingSummary, LandingError> {
        land_batch(&*self.store, &self.catalog_history, &self.catalog, batch).await
    }
}
