//! Kinesis events, as Lambda sends them to the cleaner and keeps them in discarded batches.

use std::collections::BTreeMap;

use aws_lambda_events::event::kinesis::{KinesisEvent, KinesisEventRecord};

use crate::raw::{RawData, RawRecord};
use crate::source::RecordSource;

/// Groups the records of an event by shard, in the order of the event.
pub fn group_by_shard(event: KinesisEvent) -> BTreeMap<RecordSource, Vec<RawRecord>> {
    let mut shards: BTreeMap<_, Vec<_>> = BTreeMap::new();
    for record in event.records {
        shards.entry(source_of(&record)).or_default().push(raw_record(record));
    }
    shards
}

/// `arn:aws:kinesis:<region>:<account>:stream/<name>` -> name
pub fn stream_name(arn: &str) -> &str {
    arn.rsplit('/').next().unwrap_or_default()
}

fn source_of(record: &KinesisEventRecord) -> RecordSource {
    let stream = stream_name(record.event_source_arn.as_deref().unwrap_or_default()).to_owned();
    // `shardId-000000000000:<sequence number>` -> shard
    let id = record.event_id.as_deref().unwrap_or_default();
    RecordSource::Kinesis { stream, shard: id.split(':').next().unwrap_or_default().to_owned() }
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
