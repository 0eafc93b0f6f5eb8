//! Packs JSON lines into Kinesis records.
//!
//! A Kinesis record has one or more JSON lines, separated by line feeds, and a [`StreamKey`] as its partition key.
//! Kinesis bills puts in units of 25 KB, so lines share a record up to that size, and a longer line has a record of its
//! own. A record and its key have at most 1 MiB (`PutRecords`, API reference; higher quotas exist, but not all
//! consumers read such records).
//!
//! ```
//! use ingest::packing::{LineSink as _, Packer, RecordTooLarge};
//!
//! let mut packer = Packer::new(Some("pin"), "7d3c");
//! for line in ["{\"ind\":1}", "{\"ind\":2}"] {
//!     packer.add_line(|out| { out.extend_from_slice(line.as_bytes()); Ok::<(), RecordTooLarge>(()) }).unwrap();
//! }
//! let records = packer.finish().records;
//! assert_eq!(records.len(), 1);
//! assert_eq!(records[0].key, "pin/7d3c/0");
//! assert_eq!(records[0].data, b"{\"ind\":1}\n{\"ind\":2}");
//! ```

use std::ops::Range;

use pinlake_schema::stream_key::{MAX_LENGTH, StreamKey};

/// The target size of a record with its key: one billing unit, with 1 KB = 1,000 bytes.
pub const PACKED_BYTES: usize = 25_000;

/// The maximum size of a record with its key.
pub const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// The most bytes of a partition key, whose UTF-16 code units are counted.
const MAX_KEY_BYTES: usize = 3 * MAX_LENGTH;

/// The most records for the stream into which `bytes` of lines are packed, if their route changes at most `routes` times:
/// two records of one route in a row have more than [`PACKED_BYTES`] together.
pub const fn max_stream_records(bytes: usize, routes: usize) -> usize {
    2 * (bytes / (PACKED_BYTES - MAX_KEY_BYTES - 1) + 1) + routes
}

/// A record for the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRecord {
    /// The partition key, a formatted [`StreamKey`].
    pub key: String,
    /// JSON lines separated by line feeds, without a trailing one.
    pub data: Vec<u8>,
    /// The indices of the lines in the request.
    pub lines: Range<u64>,
}

/// A record is larger than [`MAX_RECORD_BYTES`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("record {index} has {bytes} bytes with its key, the limit is {MAX_RECORD_BYTES}")]
pub struct RecordTooLarge {
    /// The index of the record in the request.
    pub index: u64,
    /// Its size with its key.
    pub bytes: usize,
}

impl StreamRecord {
    /// A record of one line.
    ///
    /// # Errors
    /// [`RecordTooLarge`] if the line and its key exceed [`MAX_RECORD_BYTES`].
    pub fn from_line(key: StreamKey<'_>, line: Vec<u8>) -> Result<Self, RecordTooLarge> {
        let record = Self { key: key.to_string(), data: line, lines: key.index..key.index + 1 };
        if record.bytes() > MAX_RECORD_BYTES {
            return Err(RecordTooLarge { index: key.index, bytes: record.bytes() });
        }
        Ok(record)
    }

    /// The size that Kinesis counts: data and key.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.data.len()
    }
}

/// The records of a request, packed.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct PackedRequest {
    /// The records for the stream.
    pub records: Vec<StreamRecord>,
    /// For each record of the request, the number of lines up to its end: a record may have several lines. Empty if
    /// each record is one line.
    pub ends: Vec<u64>,
    /// The records of the request that are not among them, because each is too large. Only OTLP rejects single records.
    pub rejected: u64,
}

/// Takes lines.
pub trait LineSink {
    /// Adds a line, which `write` appends to the text that it gets.
    ///
    /// # Errors
    /// The error of `write`, or [`RecordTooLarge`]. The sink must not be used afterwards.
    fn add_line<E: From<RecordTooLarge>>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E>;
}

/// Packs the lines of one request.
pub struct Packer<'a> {
    dataset: Option<&'a str>,
    client_key: Option<String>,
    request_id: &'a str,
    ends: Vec<u64>,
    closed: Vec<StreamRecord>,
    open: Vec<u8>,
    open_lines: Range<u64>,
}

impl<'a> Packer<'a> {
    /// Packs the lines of a request for a dataset; without one, the shape of each line decides when it is cleaned.
    pub fn new(dataset: Option<&'a str>, request_id: &'a str) -> Self {
        Self {
            dataset,
            client_key: None,
            request_id,
            ends: Vec::new(),
            closed: Vec::new(),
            open: Vec::new(),
            open_lines: 0..0,
        }
    }

    /// The number of lines so far, which is the index of the next line.
    pub fn count(&self) -> u64 {
        self.open_lines.end
    }

    /// Sets the dataset and the client's partition key of the lines that follow. Lines share a record only if they have
    /// both in common.
    ///
    /// # Errors
    /// [`RecordTooLarge`] as for a line. The packer must not be used afterwards.
    pub fn set_route(
        &mut self,
        dataset: Option<&'a str>,
        client_key: Option<&str>,
    ) -> Result<(), RecordTooLarge> {
        if self.dataset == dataset && self.client_key.as_deref() == client_key {
            return Ok(());
        }
        if !self.open_lines.is_empty() {
            self.close_record(0)?;
        }
        self.dataset = dataset;
        self.client_key = client_key.map(str::to_owned);
        Ok(())
    }

    /// Marks the end of a record of the request.
    pub fn end_record(&mut self) {
        self.ends.push(self.open_lines.end);
    }

    /// The number of records of the request whose end is marked.
    pub fn ended_records(&self) -> u64 {
        self.ends.len() as u64
    }

    /// Returns the records in the order of their lines.
    pub fn finish(mut self) -> PackedRequest {
        if !self.open_lines.is_empty() {
            let key = self.key().to_string();
            self.closed.push(StreamRecord { key, data: self.open, lines: self.open_lines });
        }
        PackedRequest { records: self.closed, ends: self.ends, rejected: 0 }
    }

    fn key(&self) -> StreamKey<'_> {
        StreamKey {
            dataset: self.dataset,
            request: self.request_id,
            index: self.open_lines.start,
            client_key: self.client_key.as_deref(),
        }
    }

    /// Closes the open record. The next one gets space for `capacity` bytes.
    fn close_record(&mut self, capacity: usize) -> Result<(), RecordTooLarge> {
        let lines = self.open_lines.clone();
        let data = std::mem::replace(&mut self.open, Vec::with_capacity(capacity));
        let mut record = StreamRecord::from_line(self.key(), data)?;
        self.open_lines = lines.end..lines.end;
        record.lines = lines;
        self.closed.push(record);
        Ok(())
    }
}

impl LineSink for Packer<'_> {
    /// The line is written to the open record, so that its bytes are copied once.
    fn add_line<E: From<RecordTooLarge>>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.open.len();
        if !self.open_lines.is_empty() {
            self.open.push(b'\n');
        }
        let start = self.open.len();
        write(&mut self.open)?;
        // Two slashes and 20 digits, and one more slash before the client's key: the longest key. "-" stands for no
        // dataset.
        let client_key = self.client_key.as_ref().map_or(0, |key| key.len() + 1);
        let key_bytes = self.dataset.map_or(1, str::len) + self.request_id.len() + 22 + client_key;
        // The key of the client is truncated. A long one must not make every line a record.
        let key_bytes = key_bytes.min(MAX_KEY_BYTES);
        // After one full record the next one is likely to fill up too.
        if !self.open_lines.is_empty() && self.open.len() + key_bytes > PACKED_BYTES {
            let line = self.open.split_off(start);
            self.open.truncate(before);
            self.close_record(PACKED_BYTES)?;
            self.open.extend_from_slice(&line);
        }
        self.open_lines.end += 1;
        if self.open.len() + key_bytes > PACKED_BYTES {
            // The record is full. A line over the hard limit fails here.
            self.close_record(PACKED_BYTES)?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(lines: &[Vec<u8>]) -> Result<Vec<StreamRecord>, RecordTooLarge> {
        let mut packer = Packer::new(Some("pin"), "request");
        for line in lines {
            packer.add_line(|out| {
                out.extend_from_slice(line);
                Ok::<(), RecordTooLarge>(())
            })?;
        }
        assert_eq!(packer.count(), lines.len() as u64);
        Ok(packer.finish().records)
    }

    #[test]
    fn every_line_is_in_one_record_in_order() {
        // Lengths that fill records unevenly, some longer than the target size.
        let lines: Vec<Vec<u8>> =
            (0..500_usize).map(|i| vec![b'a' + (i % 26) as u8; 1 + (i * 7919) % 31_000]).collect();
        let records = pack(&lines).unwrap();
        let mut next = 0;
        for record in &records {
            assert_eq!(record.lines.start, next);
            next = record.lines.end;
            let key = StreamKey::parse(&record.key).unwrap();
            assert_eq!((key.dataset, key.request, key.index), (Some("pin"), "request", record.lines.start));
            let packed: Vec<&[u8]> = record.data.split(|&b| b == b'\n').collect();
            let range = record.lines.start as usize..record.lines.end as usize;
            assert_eq!(packed, lines[range].iter().map(Vec::as_slice).collect::<Vec<_>>());
            assert!(record.bytes() <= PACKED_BYTES || packed.len() == 1, "{} bytes", record.bytes());
        }
        assert_eq!(next, 500);
        // Two records in a row never fit into one.
        assert!(records.windows(2).all(|pair| pair[0].bytes() + pair[1].data.len() + 40 > PACKED_BYTES));
    }

    #[test]
    fn lines_of_one_route_share_a_record() {
        let mut packer = Packer::new(Some("pin"), "r");
        let keys = [Some("a"), Some("a"), None, Some("b"), Some("b")];
        for key in keys {
            packer.set_route(Some("pin"), key).unwrap();
            for _ in 0..2 {
                packer
                    .add_line(|out| {
                        out.extend_from_slice(b"{}");
                        Ok::<(), RecordTooLarge>(())
                    })
                    .unwrap();
            }
            packer.end_record();
        }
        let packed = packer.finish();
        let keys: Vec<&str> = packed.records.iter().map(|record| record.key.as_str()).collect();
        assert_eq!(keys, ["pin/r/0/a", "pin/r/4", "pin/r/6/b"]);
        assert_eq!(packed.records[0].data, b"{}\n{}\n{}\n{}");
        assert_eq!(packed.ends, [2, 4, 6, 8, 10]);
    }

    #[test]
    fn small_lines_share_a_record() {
        let records = pack(&vec![b"{}".to_vec(); 1000]).unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].lines, 0..1000);
        assert!(pack(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_line_over_the_limit_is_an_error_at_any_index() {
        let key_bytes = "pin/request/0".len();
        assert_eq!(pack(&[vec![b'x'; MAX_RECORD_BYTES - key_bytes]]).unwrap().len(), 1);
        for before in [0, 1] {
            let mut lines = vec![b"{}".to_vec(); before];
            lines.push(vec![b'x'; MAX_RECORD_BYTES]);
            let error = pack(&lines).unwrap_err();
            assert_eq!(error, RecordTooLarge { index: before as u64, bytes: MAX_RECORD_BYTES + key_bytes });
        }
    }
}
