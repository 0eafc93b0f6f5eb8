//! CSV with a header. A row becomes the record `{"column":"cell",...}`: an empty cell is null, and columns without a
//! name (the row numbers of a pandas export) are left out.

use std::io::{BufRead, Read, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::{Cut, CutError, Fault, FormatReader, Input, Limits, Record, too_large};
use crate::reason::Reason;
use crate::record_cleaner::{MAX_RECORD_BYTES, json_of_fields};

/// What JSON has around a name of a cell that is empty: quotes, a colon, `null`, a comma.
const ROOM_OF_A_CELL: usize = 8;

pub(super) struct Delimited {
    reader: csv::Reader<Allowance>,
    allowed: Arc<AtomicU64>,
    header: Option<Vec<String>>,
    row: csv::ByteRecord,
    limits: Limits,
    delimiter: u8,
    ended: bool,
    /// Bytes of JSON that were written for rows that turned out too long.
    in_vain: u64,
    /// 1 where lines end in CR LF: the reader counts such a line only when it reads on behind it.
    lag: u64,
}

/// Hands out no more than is allowed between two rows: a quote that is never closed would else take the whole file
/// into memory.
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
        let most = into.len().min(usize::try_from(allowed).unwrap_or(usize::MAX));
        let count = self.input.read(&mut into[..most])?;
        self.allowed.fetch_sub(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[derive(Debug, thiserror::Error)]
#[error("a row has no end")]
struct RowTooLong;

/// Takes so many bytes and no more.
struct Room<'a> {
    out: &'a mut Vec<u8>,
    most: usize,
}

impl Write for Room<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.out.len() + bytes.len() > self.most {
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
        let lag = u64::from(first_end > 0 && head[first_end - 1] == b'\r');
        let allowed = Arc::new(AtomicU64::new(0));
        let reader = csv::ReaderBuilder::new()
            .delimiter(delimiter)
            .has_headers(false)
            .flexible(true)
            .from_reader(Allowance { input, allowed: Arc::clone(&allowed) });
        let row = csv::ByteRecord::new();
        Ok(Delimited { reader, allowed, header: None, row, limits, delimiter, ended: false, in_vain: 0, lag })
    }

    /// Reads a row; false at the end of the file.
    fn read_row(&mut self) -> Result<bool, csv::Error> {
        self.allowed.store(self.limits.max_record_bytes as u64, Ordering::Relaxed);
        self.reader.read_byte_record(&mut self.row)
    }

    /// The row as a line of CSV again, for quarantine.
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
        // Quotes around cells, and those within them doubled, may have made it longer than it was.
        out.truncate(self.limits.max_record_bytes);
    }

    fn fault(&mut self, out: &mut Vec<u8>, position: u64, reason: Reason, detail: String) -> Cut {
        self.write_row(out);
        Cut { position, fault: Some(Fault { reason, detail }) }
    }

    /// Writes the next row to `out`, as JSON.
    fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<Cut>, CutError> {
        if self.ended {
            return Ok(None);
        }
        loop {
            let line = self.reader.position().line() + self.lag;
            match self.read_row() {
                Ok(true) => {}
                Ok(false) => {
                    self.ended = true;
                    return Ok(None);
                }
                Err(error) => {
                    self.ended = true;
                    let csv::ErrorKind::Io(io) = error.into_kind() else {
                        let broken = std::io::Error::other("the CSV reader gave up");
                        return Err(CutError::Io(broken));
                    };
                    if !io.get_ref().is_some_and(|inner| inner.is::<RowTooLong>()) {
                        return Err(CutError::Io(io));
                    }
                    // The reader holds the bytes and hands none of them out: name the place, the file has the rest.
                    let mut fault = too_large(&self.limits, 0);
                    fault.detail = format!(
                        "the row that begins at line {line} is longer than {} bytes; a quote may be open. \
                         Nothing behind it was read",
                        self.limits.max_record_bytes
                    );
                    self.write_row(out);
                    return Ok(Some(Cut { position: line, fault: Some(fault) }));
                }
            }
            let line = self.row.position().map_or(line, |position| position.line() + self.lag);
            let Some(header) = &self.header else {
                let names = self.row.iter().map(|name| String::from_utf8_lossy(name).trim().to_owned());
                let names: Vec<String> = names.collect();
                // Every row has all the names as JSON: what a row of empty cells takes.
                let bytes: usize = names.iter().map(|name| name.len() + ROOM_OF_A_CELL).sum();
                if bytes > MAX_RECORD_BYTES {
                    self.ended = true;
                    return Err(CutError::Refused(format!(
                        "its header has {} names of {bytes} bytes; a record may have {MAX_RECORD_BYTES} bytes, names \
                         and cells",
                        names.len()
                    )));
                }
                self.header = Some(names);
                continue;
            };
            if header.len() != self.row.len() {
                let detail = format!("{} cells; the header has {}", self.row.len(), header.len());
                return Ok(Some(self.fault(out, line, Reason::MalformedCsv, detail)));
            }
            let cells: Result<Vec<&str>, _> = self.row.iter().map(std::str::from_utf8).collect();
            let Ok(cells) = cells else {
                let detail = "a cell is no UTF-8".to_owned();
                return Ok(Some(self.fault(out, line, Reason::InvalidUtf8, detail)));
            };
            let most = self.limits.max_record_bytes;
            let fields = header.iter().map(String::as_str).zip(cells);
            if json_of_fields(fields, Room { out, most }).is_err() {
                self.in_vain += out.len() as u64;
                // The header's names and the escapes come on top of the row's own bytes.
                let detail = format!("longer than {most} bytes as JSON");
                return Ok(Some(self.fault(out, line, Reason::TooLarge, detail)));
            }
            return Ok(Some(Cut { position: line, fault: None }));
        }
    }
}

impl FormatReader for Delimited {
    fn cut<'a>(&'a mut self, buffer: &'a mut Vec<u8>) -> Result<Option<Record<'a>>, CutError> {
        let cut = self.next(buffer)?;
        Ok(cut.map(|cut| cut.record(buffer)))
    }

    fn in_vain(&self) -> u64 {
        self.in_vain
    }
}
