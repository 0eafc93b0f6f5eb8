//! Lines into Kinesis records.
//!
//! A Kinesis record is 1..n JSON lines, divided by line feeds, under a [`StreamKey`]. Kinesis bills a put in
//! units of 25 KB, so lines are packed up to that; a longer line goes alone. A record with its key is at most
//! 1 MiB (`PutRecords`, API reference; newer, higher quotas are not counted on, as consumers may not read them).
//!
//! ```
//! use ingest::packing::Packer;
//!
//! let mut packer = Packer::new("pin", "7d3c");
//! for line in ["{\"ind\":1}", "{\"ind\":2}"] {
//!     packer.line(|out| { out.extend_from_slice(line.as_bytes()); Ok::<(), ingest::error::ApiError>(()) }).unwrap();
//! }
//! let records = packer.finish();
//! assert_eq!(records.len(), 1);
//! assert_eq!(records[0].key, "pin/7d3c/0");
//! assert_eq!(records[0].data, b"{\"ind\":1}\n{\"ind\":2}");
//! ```

use std::ops::Range;

use pinlake_schema::stream_key::StreamKey;

use crate::error::ApiError;

/// Where a packed record ends: one billing unit, read strictly (KB = 1,000 bytes, the key counted in).
pub const PACKED_BYTES: usize = 25_000;

/// The most bytes in a record with its key.
pub const MAX_RECORD_BYTES: usize = 1024 * 1024;

/// One record for the stream.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StreamRecord {
    /// The partition key, a [`StreamKey`] in text.
    pub key: String,
    /// JSON lines divided by line feeds, without one at the end.
    pub data: Vec<u8>,
    /// The lines' indices within the request.
    pub lines: Range<u64>,
}

impl StreamRecord {
    /// One line under one key.
    ///
    /// # Errors
    /// When the line is too long for a Kinesis record.
    pub fn single(key: StreamKey<'_>, data: Vec<u8>) -> Result<Self, ApiError> {
        let record = Self { key: key.to_string(), data, lines: key.index..key.index + 1 };
        if record.bytes() > MAX_RECORD_BYTES {
            return Err(ApiError::TooLarge(format!(
                "record {} takes {} bytes with its key, more than the {MAX_RECORD_BYTES} that the stream allows",
                key.index,
                record.bytes(),
            )));
        }
        Ok(record)
    }

    /// What Kinesis counts: data and key.
    pub fn bytes(&self) -> usize {
        self.key.len() + self.data.len()
    }
}

/// Packs the lines of one request, all of one dataset.
pub struct Packer<'a> {
    dataset: &'a str,
    request: &'a str,
    closed: Vec<StreamRecord>,
    open: Vec<u8>,
    open_lines: Range<u64>,
}

impl<'a> Packer<'a> {
    /// Packs for `dataset` under the id `request`.
    pub fn new(dataset: &'a str, request: &'a str) -> Self {
        Self { dataset, request, closed: Vec::new(), open: Vec::new(), open_lines: 0..0 }
    }

    /// How many lines were packed so far: the next line's index.
    pub fn count(&self) -> u64 {
        self.open_lines.end
    }

    /// Adds a line. `write` appends it to the record that is being filled, so its bytes are copied once.
    ///
    /// # Errors
    /// What `write` says, or that the line is too long. The packer is then good for nothing: the request is off.
    pub fn line<E: From<ApiError>>(
        &mut self,
        write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
    ) -> Result<(), E> {
        let before = self.open.len();
        if before > 0 {
            self.open.push(b'\n');
        }
        let start = self.open.len();
        write(&mut self.open)?;
        let key_room = self.dataset.len() + self.request.len() + 22;
        if before > 0 && self.open.len() + key_room > PACKED_BYTES {
            let line = self.open.split_off(start);
            self.open.truncate(before);
            self.close()?;
            self.open.extend_from_slice(&line);
        }
        self.open_lines.end += 1;
        if self.open.len() + key_room > PACKED_BYTES {
            // Too long for company, or full to the brim; a line over the hard limit is refused here.
            self.close()?;
        }
        Ok(())
    }

    /// The records, in the order of their lines.
    pub fn finish(mut self) -> Vec<StreamRecord> {
        if !self.open_lines.is_empty() {
            let key = self.key().to_string();
            self.closed.push(StreamRecord { key, data: self.open, lines: self.open_lines });
        }
        self.closed
    }

    fn key(&self) -> StreamKey<'a> {
        StreamKey {
            dataset: Some(self.dataset),
            request: self.request,
            index: self.open_lines.start,
            client_key: None,
        }
    }

    fn close(&mut self) -> Result<(), ApiError> {
        let lines = self.open_lines.clone();
        // Where one record is full, most likely the next one will be.
        let data = std::mem::replace(&mut self.open, Vec::with_capacity(PACKED_BYTES));
        let mut record = StreamRecord::single(self.key(), data)?;
        self.open_lines = lines.end..lines.end;
        record.lines = lines;
        self.closed.push(record);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pack(lines: &[Vec<u8>]) -> Result<Vec<StreamRecord>, ApiError> {
        let mut packer = Packer::new("pin", "request");
        for line in lines {
            packer.line(|out| {
                out.extend_from_slice(line);
                Ok::<(), ApiError>(())
            })?;
        }
        assert_eq!(packer.count(), lines.len() as u64);
        Ok(packer.finish())
    }

    #[test]
    fn every_line_is_in_one_record_in_order() {
        // Lengths that fill records unevenly, some longer than a record should be.
        let lines: Vec<Vec<u8>> =
            (0..500_usize).map(|i| vec![b'a' + (i % 26) as u8; 1 + (i * 7919) % 31_000]).collect();
        let records = pack(&lines).unwrap();
        let mut next = 0;
        for record in &records {
            assert_eq!(record.lines.start, next);
            next = record.lines.end;
            let key = StreamKey::parse(&record.key).unwrap();
            assert_eq!((key.dataset, key.request, key.index), (Some("pin"), "request", record.lines.start));
            let held: Vec<&[u8]> = record.data.split(|&b| b == b'\n').collect();
            let range = record.lines.start as usize..record.lines.end as usize;
            assert_eq!(held, lines[range].iter().map(Vec::as_slice).collect::<Vec<_>>());
            assert!(record.bytes() <= PACKED_BYTES || held.len() == 1, "{} bytes", record.bytes());
        }
        assert_eq!(next, 500);
        // Two records in a row never fit into one.
        assert!(records.windows(2).all(|pair| pair[0].bytes() + pair[1].data.len() + 40 > PACKED_BYTES));
    }

    #[test]
    fn small_lines_share_a_record() {
        let records = pack(&vec![b"{}".to_vec(); 1000]).unwrap();
        assert_eq!(records.len(), 1);
        assert_eq!(records[0].lines, 0..1000);
        assert!(pack(&[]).unwrap().is_empty());
    }

    #[test]
    fn a_line_over_the_limit_is_refused_wherever_it_stands() {
        let key_bytes = "pin/request/0".len();
        assert_eq!(pack(&[vec![b'x'; MAX_RECORD_BYTES - key_bytes]]).unwrap().len(), 1);
        for before in [0, 1] {
            let mut lines = vec![b"{}".to_vec(); before];
            lines.push(vec![b'x'; MAX_RECORD_BYTES]);
            let Err(ApiError::TooLarge(why)) = pack(&lines) else { panic!("{before}: was packed") };
            assert!(why.starts_with(&format!("record {before} takes 10485")), "{why}");
        }
    }
}
