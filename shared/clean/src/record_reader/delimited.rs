//! CSV with a header. A row becomes the record `{"column":"cell",...}`: an empty cell is null, and columns without a name, such as the row
//! numbers of a pandas export, are left out.

use std::io::{BufRead, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::error::FormatError;
use super::format_reader::{FormatReader, Input};
use super::limits::Limits;
use super::record::{BufferedRecord, Record, too_large_error};
use crate::json_object::write_json_object;
use crate::parsed_record::MAX_RECORD_BYTES;
use crate::reason::{Reason, RecordError};

/// The bytes that JSON adds to the name of an empty cell: quotes, a colon, `null`, a comma.
const EMPTY_CELL_BYTES: usize = 8;

pub(super) struct Delimited {
    reader: csv::Reader<Allowance>,
    allowed: Arc<AtomicU64>,
    header: Option<Vec<String>>,
    row: csv::ByteRecord,
    limits: Limits,
    delimiter: u8,
    ended: bool,
    /// Bytes of JSON written for rows that turned out to be too long.
    discarded_bytes: u64,
    /// 1 if lines end in CR LF: the CSV reader counts such a line only when it reads the next byte.
    line_lag: u64,
}

/// Returns only as many bytes as one row may have. Otherwise an unclosed quote would read the whole file into memory.
struct Allowance {
    input: Input,
    allowed: Arc<AtomicU64>,
}

impl Read for Allowance {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let allowed = self.allowed.load(Ordering::Relaxed);
        if allowed == 0 && !self.input.fill_buf()?.is_empty() {
            return Err(std::io::Error::other(RowTooLong));
        }
        let limit = into.len().min(usize::try_from(allowed).unwrap_or(usize::MAX));
        let count = self.input.read(&mut into[..limit])?;
        self.allowed.fetch_sub(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("the row is too long")]
struct RowTooLong;

/// A writer that fails at its limit.
struct LimitedWriter<'a> {
    out: &'a mut Vec<u8>,
    limit: usize,
}

impl Write for LimitedWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.out.len() + bytes.len() > self.limit {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Delimited {
    pub(super) fn new(mut input: Input, delimiter: u8, limits: Limits) -> std::io::Result<Delimited> {
        let head = input.fill_buf()?;
        let first_end = head.iter().position(|byte| *byte == b'\n').unwrap_or(0);
        let line_lag = u64::from(first_end > 0 && head[first_end - 1] == b'\r');
        let allowed = Arc::new(AtomicU64::new(0));
        let reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(Allowance { input, allowed: Arc::clone(&allowed) });
        let row = csv::ByteRecord::new();
        Ok(Delimited {
            reader,
            allowed,
            header: None,
            row,
            limits,
            delimiter,
            ended: false,
            discarded_bytes: 0,
            line_lag,
        })
    }

    /// Reads a row; returns false at the end of the file.
    fn read_row(&mut self) -> Result<bool, csv::Error> {
        self.allowed.store(self.limits.max_record_bytes as u64, Ordering::Relaxed);
        self.reader.read_byte_record(&mut self.row)
    }

    /// Writes the row as CSV, for quarantine.
    fn write_row(&self, out: &mut Vec<u8>) {
        out.clear();
        let mut writer =
            csv::WriterBuilder::new().delimiter(self.delimiter).flexible(true).from_writer(&mut *out);
        // Writing to memory does not fail.
        let _ = writer.write_byte_record(&self.row);
        let _ = writer.flush();
        drop(writer);
        while matches!(out.last(), Some(b'\n' | b'\r')) {
            out.pop();
        }
        // Added and doubled quotes may have made the row longer.
        out.truncate(self.limits.max_record_bytes);
    }

    fn broken_row(
        &mut self,
        out: &mut Vec<u8>,
        position: u64,
        reason: Reason,
        detail: String,
    ) -> BufferedRecord {
        self.write_row(out);
        BufferedRecord { position, error: Some(RecordError { reason, detail }) }
    }

    /// Reads the next row and writes it to `out` as JSON.
    fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<BufferedRecord>, FormatError> {
        if self.ended {
            return Ok(None);
        }
        loop {
            let line = self.reader.position().line() + self.line_lag;
            match self.read_row() {
                Ok(true) => {}
                Ok(false) => {
                    self.ended = true;
                    return Ok(None);
                }
                Err(error) => {
                    self.ended = true;
                    let csv::ErrorKind::Io(io) = error.into_kind() else {
                        let broken = std::io::Error::other("the CSV reader failed");
                        return Err(FormatError::Io(broken));
                    };
                    if !io.get_ref().is_some_and(|inner| inner.is::<RowTooLong>()) {
                        return Err(FormatError::Io(io));
                    }
                    // The CSV reader does not return the bytes of an unfinished row: name its line instead.
                    let mut error = too_large_error(&self.limits, 0);
                    error.detail = format!(
                        "the row that begins at line {line} is longer than {} bytes; a quote may be open. \
                         Nothing behind it was read",
                        self.limits.max_record_bytes
                    );
                    self.write_row(out);
                    return Ok(Some(BufferedRecord { position: line, error: Some(error) }));
                }
            }
            let line = self.row.position().map_or(line, |position| position.line() + self.line_lag);
            let Some(header) = &self.header else {
                let names = self.row.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned());
                let names: Vec<String> = names.collect();
                // The JSON of every row has all names: this is the length of an empty row.
                let bytes: usize = names.iter().map(|name| name.len() + EMPTY_CELL_BYTES).sum();
                if bytes > MAX_RECORD_BYTES {
                    self.ended = true;
                    return Err(FormatError::Refused(format!(
                        "its header has {} names of {bytes} bytes in all; a record may have {MAX_RECORD_BYTES} bytes, \
                         names and cells",
                        names.len()
                    )));
                }
                self.header = Some(names);
                continue;
            };
            if header.len() != self.row.len() {
                let detail = format!("{} cells; the header has {}", self.row.len(), header.len());
                return Ok(Some(self.broken_row(out, line, Reason::MalformedCsv, detail)));
            }
            let cells: Result<Vec<&str>, _> = self.row.iter().map(std::str::from_utf8).collect();
            let Ok(cells) = cells else {
                let detail = "a cell is not UTF-8".to_owned();
                return Ok(Some(self.broken_row(out, line, Reason::InvalidUtf8, detail)));
            };
            let limit = self.limits.max_record_bytes;
            let fields = header.iter().map(String::as_str).zip(cells);
            if write_json_object(fields, LimitedWriter { out, limit }).is_err() {
                self.discarded_bytes += out.len() as u64;
                // JSON adds names and escapes to the bytes of the row.
                let detail = format!("longer than {limit} bytes as JSON");
                return Ok(Some(self.broken_row(out, line, Reason::TooLarge, detail)));
            }
            return Ok(Some(BufferedRecord { position: line, error: None }));
        }
    }
}

impl FormatReader for Delimited {
    fn read_record<'a>(&'a mut self, buffer: &'a mut Vec<u8>) -> Result<Option<Record<'a>>, FormatError> {
        let record = self.next(buffer)?;
        Ok(record.map(|record| record.with_bytes(buffer)))
    }

    fn discarded_bytes(&self) -> u64 {
        self.discarded_bytes
    }
}
