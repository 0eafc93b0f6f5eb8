//! What the readers of all formats have in common.

use std::io::BufRead;

use super::error::FormatError;
use super::record::{Record, WholeLines};

pub(super) type Input = Box<dyn BufRead + Send>;

/// Reads the records of one format.
pub(super) trait FormatReader {
    /// Reads the next record. Its bytes are the reader's own if they are contiguous there, otherwise they are in `buffer`, which the caller
    /// has cleared.
    fn read_record<'a>(&'a mut self, buffer: &'a mut Vec<u8>) -> Result<Option<Record<'a>>, FormatError>;

    /// Bytes written so far that are in no record.
    fn discarded_bytes(&self) -> u64 {
        0
    }

    /// See [`RecordReader::read_lines`](super::RecordReader::read_lines).
    fn read_lines(&mut self, _buffer: &mut [u8], _enough: u64) -> Option<WholeLines> {
        None
    }
}
