//! What a source is. The name of the shard tells, because names of landing objects have no room for more: Kinesis calls
//! its shards `shardId-...`, the partitions of a topic are `partition-<number>`, and files have one shard, `files`.

/// The shard of everything that came in files.
pub const FILES: &str = "files";
/// What the number of a topic's partition stands behind.
const PARTITION: &str = "partition-";

/// The kind of a source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SourceKind {
    /// A stream of Kinesis Data Streams.
    Kinesis,
    /// A topic of Kafka.
    Kafka {
        /// Of which the records are.
        partition: u32,
    },
    /// Files: dropped into the inbox, or announced from another bucket.
    File,
}

impl SourceKind {
    /// The kind of the source that has a shard of this name.
    pub fn of_shard(shard: &str) -> Self {
        let partition = shard.strip_prefix(PARTITION).and_then(|number| number.parse().ok());
        match partition {
            Some(partition) => Self::Kafka { partition },
            None if shard == FILES => Self::File,
            None => Self::Kinesis,
        }
    }
}

/// The name of a partition among shards.
pub fn partition_shard(partition: u32) -> String {
    format!("{PARTITION}{partition}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shard_tells_the_kind() {
        assert_eq!(SourceKind::of_shard("shardId-000000000000"), SourceKind::Kinesis);
        assert_eq!(SourceKind::of_shard(&partition_shard(12)), SourceKind::Kafka { partition: 12 });
        assert_eq!(SourceKind::of_shard(FILES), SourceKind::File);
        assert_eq!(SourceKind::of_shard("partition-x"), SourceKind::Kinesis);
    }
}
