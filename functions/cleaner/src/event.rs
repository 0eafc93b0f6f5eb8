//! What Lambda sends: a batch of a Kinesis stream, or one of the topics of an MSK or self-managed Kafka cluster.

use std::collections::BTreeMap;

use aws_lambda_events::event::kinesis::{KinesisEvent, KinesisEventRecord};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use pinlake_landing::raw::{RawData, RawRecord};
use serde::Deserialize;

/// An event of either kind: Kinesis' has `Records`, Kafka's `eventSource` and `records`.
#[derive(Debug, Deserialize)]
pub struct Event {
    #[serde(rename = "eventSource", default)]
    source: Option<String>,
    #[serde(rename = "Records", default)]
    kinesis: Vec<KinesisEventRecord>,
    /// By topic and partition, `<topic>-<partition>`.
    #[serde(rename = "records", default)]
    kafka: BTreeMap<String, Vec<KafkaRecord>>,
}

/// A record of a topic. Headers are not read: they mean nothing here, and may hold anything. (The record of
/// `aws_lambda_events` asks for headers of a certain form: one that has another would hold up its partition for ever.)
#[derive(Debug, Clone, Deserialize)]
pub struct KafkaRecord {
    /// Its topic.
    pub topic: String,
    /// Of the topic.
    pub partition: u32,
    /// Place in the partition.
    pub offset: u64,
    /// When it was made or appended, in milliseconds since 1970.
    pub timestamp: i64,
    /// Base64.
    #[serde(default)]
    pub key: Option<String>,
    /// Base64; none in a tombstone.
    #[serde(default)]
    pub value: Option<String>,
}

impl Event {
    /// The records of topics; of another event, what Kinesis has sent.
    pub fn topics(self) -> Result<Vec<KafkaRecord>, KinesisEvent> {
        if matches!(self.source.as_deref(), Some("aws:kafka" | "SelfManagedKafka")) {
            return Ok(self.kafka.into_values().flatten().collect());
        }
        let mut event = KinesisEvent::default();
        event.records = self.kinesis;
        Err(event)
    }
}

impl KafkaRecord {
    /// The record as `raw/` keeps it.
    pub(crate) fn into_raw(self) -> RawRecord {
        let key = self.key.map(bytes_of).unwrap_or_default();
        RawRecord {
            key: String::from_utf8_lossy(&key).into_owned(),
            sequence: self.offset.to_string(),
            arrived_ms: self.timestamp,
            data: RawData::from_bytes(self.value.map(bytes_of).unwrap_or_default()),
        }
    }
}

/// What is no base64, against all documentation, is kept as it is rather than lost.
fn bytes_of(text: String) -> Vec<u8> {
    STANDARD.decode(&text).unwrap_or_else(|_| text.into_bytes())
}
