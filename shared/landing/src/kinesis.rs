//! What Lambda sends of a Kinesis stream, as records of shards.

use std::collections::BTreeMap;

use aws_lambda_events::event::kinesis::{KinesisEvent, KinesisEventRecord};

use crate::raw::{RawData, RawRecord};

/// The records of an event by (stream, shard), each shard's in the order in which they came.
pub fn by_shard(event: KinesisEvent) -> BTreeMap<(String, String), Vec<RawRecord>> {
    let mut shards: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for record in event.records {
        let shard = (stream_of(&record), shard_of(&record));
        shards.entry(shard).or_default().push(raw_record(record));
    }
    shards
}

/// `arn:aws:kinesis:<region>:<account>:stream/<name>` -> name
pub fn stream_name(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or_default()
}

fn stream_of(record: &KinesisEventRecord) -> String {
    stream_name(record.event_source_arn.as_deref().unwrap_or_default()).to_owned()
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
