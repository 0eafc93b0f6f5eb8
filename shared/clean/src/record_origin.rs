//! Where a record came from.

use std::fmt;

/// The source of a record and its place there. Quarantine rows contain it; where rows are identified by their record, so do their keys.
#[derive(Debug, Clone, Copy)]
pub struct RecordOrigin<'a> {
    /// `kinesis/<stream>/<shard>`, `kafka/<topic>/<partition>` or `file/<name>`.
    pub source: &'a str,
    /// The place within the source.
    pub position: Position<'a>,
    /// The id of the request that sent the record, and the record's index in the request. It identifies the record for contracts with
    /// `identity = "record"`; without it, source and position do.
    pub record_id: Option<(&'a str, u64)>,
}

/// The place of a record within its source.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Position<'a> {
    /// The line of a file, from 1; for formats without lines the number of the record, from 1.
    Line(u64),
    /// A line of a record on a stream.
    Sequence {
        /// The sequence number in Kinesis, or the offset in Kafka.
        number: &'a str,
        /// The line within the stream's record, from 1.
        line: u64,
    },
}

impl fmt::Display for Position<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Position::Line(line) => write!(f, "{line}"),
            Position::Sequence { number, line } => write!(f, "{number}#{line}"),
        }
    }
}
