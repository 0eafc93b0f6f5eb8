//! The sources that records come from.
//!
//! A source has two stored forms. [`RecordSource`]'s `Display` and `FromStr` are the form of quarantine's column
//! `source`:
//!
//! | source | column `source` | path segments of objects and watermarks |
//! |---|---|---|
//! | a Kinesis stream | `kinesis/<stream>/<shard>` | `<stream>/<shard>` |
//! | a Kafka topic | `kafka/<topic>/<partition>` | `<topic>/partition-<partition>` |
//! | files | `file/<name>` | `inbox/files` |
//!
//! To add a source: a variant here, its event in the cleaner, its event source mapping in the template, and its row
//! above.

use std::fmt;
use std::str::FromStr;

use pinlake_schema::{Catalog, Contract, StreamRoute};

/// Path segments of batches that come from files. Files have no shards, and a batch may hold records of many files.
const FILES: (&str, &str) = ("inbox", "files");
/// Prefix of a partition's number in a path segment.
const PARTITION: &str = "partition-";

/// The source of a record, or of all records of a batch.
///
/// ```
/// use pinlake_landing::source::RecordSource;
///
/// let source: RecordSource = "kafka/0a1b.pin/3".parse().unwrap();
/// assert_eq!(source, RecordSource::Kafka { topic: "0a1b.pin".to_owned(), partition: 3 });
/// assert_eq!(source.to_string(), "kafka/0a1b.pin/3");
/// assert_eq!((source.stream(), &*source.shard()), ("0a1b.pin", "partition-3"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RecordSource {
    /// A shard of a stream of Kinesis Data Streams.
    Kinesis {
        /// Name of the stream.
        stream: String,
        /// Shard id, `shardId-` and a number.
        shard: String,
    },
    /// A partition of a Kafka topic.
    Kafka {
        /// Name of the topic.
        topic: String,
        /// Number of the partition.
        partition: u32,
    },
    /// A file of the inbox or of another bucket.
    File {
        /// The file's path in the lake, or `s3://bucket/key`. `None` for a batch: the key of each record names its
        /// file.
        name: Option<String>,
    },
}

/// The text is not the source of a record.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "unknown record source {0:?}, use kinesis/<stream>/<shard>, kafka/<topic>/<partition> or file/<name>"
)]
pub struct SourceError(String);

impl RecordSource {
    /// Reads the path segments that [`Self::stream`] and [`Self::shard`] produce. The form of the shard decides between
    /// Kinesis and Kafka, because Kinesis names its shards `shardId-...`.
    pub fn from_path_segments(stream: &str, shard: &str) -> Self {
        let number = shard.strip_prefix(PARTITION).and_then(|number| number.parse::<u32>().ok());
        match number {
            // A number in another form, such as 007, would not produce the same path again.
            Some(partition) if partition_shard(partition) == shard => {
                Self::Kafka { topic: stream.to_owned(), partition }
            }
            _ if (stream, shard) == FILES => Self::File { name: None },
            _ => Self::Kinesis { stream: stream.to_owned(), shard: shard.to_owned() },
        }
    }

    /// The stream or topic, as path segments name it; `inbox` for files.
    pub fn stream(&self) -> &str {
        match self {
            Self::Kinesis { stream, .. } => stream,
            Self::Kafka { topic, .. } => topic,
            Self::File { .. } => FILES.0,
        }
    }

    /// The shard, as path segments and acknowledgements name it: `partition-<number>` for a partition, `files` for
    /// files.
    pub fn shard(&self) -> std::borrow::Cow<'_, str> {
        match self {
            Self::Kinesis { shard, .. } => shard.into(),
            Self::Kafka { partition, .. } => partition_shard(*partition).into(),
            Self::File { .. } => FILES.1.into(),
        }
    }

    /// The contract that the name of the stream, topic or file selects, if it selects one.
    pub fn route<'c>(&self, catalog: &'c Catalog) -> Option<&'c Contract> {
        let contract = match self {
            Self::Kinesis { stream, .. } => match catalog.route_stream(stream) {
                StreamRoute::Dataset(contract) => Some(contract),
                StreamRoute::Shared | StreamRoute::Unknown => None,
            },
            Self::Kafka { topic, .. } => catalog.route_topic(topic),
            Self::File { name } => name.as_deref().and_then(|name| catalog.route_file(name)),
        };
        contract.map(|contract| &**contract)
    }
}

/// The shard name of a Kafka partition.
pub fn partition_shard(partition: u32) -> String {
    format!("{PARTITION}{partition}")
}

impl fmt::Display for RecordSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Kinesis { stream, shard } => write!(f, "kinesis/{stream}/{shard}"),
            Self::Kafka { topic, partition } => write!(f, "kafka/{topic}/{partition}"),
            Self::File { name: Some(name) } => write!(f, "file/{name}"),
            Self::File { name: None } => f.write_str("file"),
        }
    }
}

impl FromStr for RecordSource {
    type Err = SourceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let unknown = || SourceError(text.to_owned());
        let Some((kind, name)) = text.split_once('/') else {
            return if text == "file" { Ok(Self::File { name: None }) } else { Err(unknown()) };
        };
        if kind == "file" {
            return Ok(Self::File { name: Some(name.to_owned()) });
        }
        let (stream, shard) = name.rsplit_once('/').ok_or_else(unknown)?;
        match kind {
            "kinesis" => Ok(Self::Kinesis { stream: stream.to_owned(), shard: shard.to_owned() }),
            "kafka" => {
                let partition = shard.parse().map_err(|_| unknown())?;
                Ok(Self::Kafka { topic: stream.to_owned(), partition })
            }
            _ => Err(unknown()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn any_source() -> impl Strategy<Value = RecordSource> {
        // The characters that Kinesis and Kafka allow in names.
        prop_oneof![
            ("[a-zA-Z0-9_.-]{1,40}", "shardId-[0-9]{12}")
                .prop_map(|(stream, shard)| RecordSource::Kinesis { stream, shard }),
            ("[a-zA-Z0-9_.-]{1,40}", any::<u32>())
                .prop_map(|(topic, partition)| RecordSource::Kafka { topic, partition }),
            any::<Option<String>>().prop_map(|name| RecordSource::File { name }),
        ]
    }

    proptest! {
        #[test]
        fn a_source_round_trips_through_its_text(source in any_source()) {
            prop_assert_eq!(source.to_string().parse::<RecordSource>(), Ok(source));
        }

        #[test]
        fn a_source_round_trips_through_path_segments(source in any_source()) {
            let parsed = RecordSource::from_path_segments(source.stream(), &source.shard());
            let expected = match source {
                RecordSource::File { .. } => RecordSource::File { name: None },
                source => source,
            };
            prop_assert_eq!(parsed, expected);
        }

        #[test]
        fn path_segments_round_trip(stream in "[a-z-]{1,9}", shard in "(partition-|shardId-|files)[0-9]{0,11}") {
            let source = RecordSource::from_path_segments(&stream, &shard);
            prop_assert_eq!((source.stream(), &*source.shard()), (stream.as_str(), shard.as_str()));
        }
    }

    #[test]
    fn stored_texts_keep_their_form() {
        for (source, text, stream, shard) in [
            (
                RecordSource::Kinesis { stream: "events".into(), shard: "shardId-000000000000".into() },
                "kinesis/events/shardId-000000000000",
                "events",
                "shardId-000000000000",
            ),
            (
                RecordSource::Kafka { topic: "a.pin".into(), partition: 12 },
                "kafka/a.pin/12",
                "a.pin",
                "partition-12",
            ),
            (
                RecordSource::File { name: Some("inbox/user/a.csv".into()) },
                "file/inbox/user/a.csv",
                "inbox",
                "files",
            ),
        ] {
            assert_eq!(
                (source.to_string().as_str(), source.stream(), &*source.shard()),
                (text, stream, shard)
            );
        }
        for unknown in ["", "test", "kinesis/events", "kafka/topic/x", "sqs/queue/1"] {
            assert!(unknown.parse::<RecordSource>().is_err(), "{unknown}");
        }
    }
}
