//! The records of a file.

use super::limits::ReadLimits;
use crate::reason::{Reason, RecordError};

/// One record of a file.
#[derive(Debug)]
pub struct Record<'a> {
    /// The bytes of the record, without the line end.
    pub bytes: &'a [u8],
    /// The line on which the record begins, from 1; in Parquet the row, from 1.
    pub position: u64,
    /// Why the record cannot be cleaned: it was not read whole.
    pub error: Option<RecordError>,
}

/// A record whose bytes are in a buffer of the caller.
pub(super) struct BufferedRecord {
    pub(super) position: u64,
    pub(super) error: Option<RecordError>,
}

impl BufferedRecord {
    pub(super) fn with_bytes(self, bytes: &[u8]) -> Record<'_> {
        Record { bytes, position: self.position, error: self.error }
    }
}

/// Lines of NDJSON in one buffer, with their line ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WholeLines {
    /// Their length.
    pub bytes: usize,
    /// The number of the first line, from 1.
    pub first: u64,
    /// The number of lines.
    pub count: u64,
}

/// The error of a record that was truncated.
pub(super) fn too_large_error(limits: &ReadLimits, omitted_bytes: u64) -> RecordError {
    let limit = limits.max_record_bytes;
    let detail = format!(
        "longer than {limit} bytes; {omitted_bytes} bytes of it are left out here, and are in the file"
    );
    RecordError::new(Reason::TooLarge, detail)
}
