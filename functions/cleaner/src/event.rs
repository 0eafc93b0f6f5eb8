//! Events of Lambda's event sources: Kinesis, and Kafka on MSK or self-managed.

use std::collections::BTreeMap;

use aws_lambda_events::event::kinesis::{KinesisEvent, KinesisEventRecord};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pinlake_landing::raw::{RawData, RawRecord};
use serde::Deserialize;

/// The event of an invocation.
#[derive(Debug, Deserialize)]
#[serde(from = "EventFields")]
pub enum SourceEvent {
    /// Records of a Kinesis stream.
    Kinesis(KinesisEvent),
    /// Records of Kafka topics.
    Kafka(Vec<KafkaRecord>),
}

/// The fields of all events: Kinesis sends `Records`, Kafka sends `eventSource` and `records`.
#[derive(Debug, Deserialize)]
struct EventFields {
    #[serde(rename = "eventSource", default)]
    source: Option<String>,
    #[serde(rename = "Records", default)]
    kinesis: Vec<KinesisEventRecord>,
    /// Records by `<topic>-<partition>`.
    #[serde(rename = "records", default)]
    kafka: BTreeMap<String, Vec<KafkaRecord>>,
}

/// A record of a Kafka topic.
///
/// It has no headers: the cleaner does not use them. The record type of `aws_lambda_events` requires headers in one
/// form, so that a record with other headers would block its partition.
#[derive(Debug, Clone, Deserialize)]
pub struct KafkaRecord {
    /// Name of the topic.
    pub topic: String,
    /// Number of the partition.
    pub partition: u32,
    /// Offset in the partition.
    pub offset: u64,
    /// When the record was created or appended, in milliseconds since the Unix epoch.
    pub timestamp: i64,
    /// Key, in base64.
    #[serde(default)]
    pub key: Option<String>,
    /// Value, in base64; a tombstone has none.
    #[serde(default)]
    pub value: Option<String>,
}

impl From<EventFields> for SourceEvent {
    fn from(fields: EventFields) -> Self {
        if matches!(fields.source.as_deref(), Some("aws:kafka" | "SelfManagedKafka")) {
            return Self::Kafka(fields.kafka.into_values().flatten().collect());
        }
        let mut event = KinesisEvent::default();
        event.records = fields.kinesis;
        Self::Kinesis(event)
    }
}

impl KafkaRecord {
    /// Converts the record to the form of `raw/`.
    pub(crate) fn into_raw(self) -> RawRecord {
        let key = self.key.map(decode_base64).unwrap_or_default();
        RawRecord {
            key: String::from_utf8_lossy(&key).into_owned(),
            sequence: self.offset.to_string(),
            arrived_ms: self.timestamp,
            data: RawData::from_bytes(self.value.map(decode_base64).unwrap_or_default()),
        }
    }
}

/// Lambda always sends base64. Any other text is kept as it is, so that nothing is lost.
fn decode_base64(text: String) -> Vec<u8> {
    STANDARD.decode(&text).unwrap_or_else(|_| text.into_bytes())
}
