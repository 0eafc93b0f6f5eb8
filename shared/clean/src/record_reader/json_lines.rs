//! NDJSON: one record per line. A broken line does not affect the others.

use std::io::{BufRead, Read};

use super::error::FormatError;
use super::format_reader::{FormatReader, Input};
use super::limits::Limits;
use super::put_back::PutBack;
use super::record::{Record, WholeLines, too_large_error};

/// Bytes that are read at a time: they fit in the cache of the processor, so that counting their lines is cheap.
const CHUNK_BYTES: usize = 64 << 10;

pub(super) struct JsonLines {
    input: PutBack,
    limits: Limits,
    line: u64,
    /// Bytes of the input that the last record borrows.
    lent: usize,
}

impl JsonLines {
    pub(super) fn new(input: Input, limits: Limits) -> JsonLines {
        JsonLines { input: PutBack::new(input), limits, line: 0, lent: 0 }
    }
}

impl FormatReader for JsonLines {
    fn read_record<'a>(&'a mut self, buffer: &'a mut Vec<u8>) -> Result<Option<Record<'a>>, FormatError> {
        self.input.consume(std::mem::take(&mut self.lent));
        let limit = self.limits.max_record_bytes;
        loop {
            self.line += 1;
            let chunk = self.input.fill_buf()?;
            if let Some(end) = memchr::memchr(b'\n', chunk).filter(|end| *end <= limit) {
                let length = strip_carriage_return(&chunk[..end]).len();
                if chunk[..length].trim_ascii().is_empty() {
                    self.input.consume(end + 1);
                    continue;
                }
                self.lent = end + 1;
                let bytes = &self.input.fill_buf()?[..length];
                return Ok(Some(Record { bytes, position: self.line, error: None }));
            }
            // One byte more than a record may have, because it may be the carriage return.
            let Some(mut omitted) = read_line(&mut self.input, buffer, limit + 1)? else {
                return Ok(None);
            };
            if omitted == 0 {
                buffer.truncate(strip_carriage_return(buffer).len());
            }
            omitted += buffer.len().saturating_sub(limit) as u64;
            buffer.truncate(limit);
            if omitted > 0 {
                let error = Some(too_large_error(&self.limits, omitted));
                return Ok(Some(Record { bytes: buffer, position: self.line, error }));
            }
            if !buffer.trim_ascii().is_empty() {
                return Ok(Some(Record { bytes: buffer, position: self.line, error: None }));
            }
            buffer.clear();
        }
    }

    fn read_lines(&mut self, buffer: &mut [u8], enough: u64) -> Option<WholeLines> {
        self.input.consume(std::mem::take(&mut self.lent));
        // With this limit no line is longer than a record may be.
        let limit = buffer.len().min(self.limits.max_record_bytes);
        let Filled { bytes: filled, lines: count, failed } =
            fill(&mut self.input, &mut buffer[..limit], enough);
        let bytes = memchr::memrchr(b'\n', &buffer[..filled]).map_or(0, |last| last + 1);
        self.input.put_back(&buffer[bytes..filled], failed);
        let first = self.line + 1;
        self.line += count;
        (count > 0).then_some(WholeLines { bytes, first, count })
    }
}

/// How far a buffer was filled.
struct Filled {
    bytes: usize,
    /// Line ends in them.
    lines: u64,
    failed: Option<std::io::Error>,
}

/// Fills the buffer until it has `enough` lines, or the input ends or fails.
fn fill(input: &mut impl Read, buffer: &mut [u8], enough: u64) -> Filled {
    let mut filled = Filled { bytes: 0, lines: 0, failed: None };
    while filled.lines < enough {
        let rest = &mut buffer[filled.bytes..];
        // Count lines while the chunk is in the cache.
        let next = rest.len().min(CHUNK_BYTES);
        match input.read(&mut rest[..next]) {
            Ok(0) => return filled,
            Ok(count) => {
                filled.lines += memchr::memchr_iter(b'\n', &rest[..count]).count() as u64;
                filled.bytes += count;
            }
            Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
            Err(error) => return Filled { failed: Some(error), ..filled },
        }
    }
    filled
}

impl WholeLines {
    /// The records of the lines. `buffer` is the buffer that they were read into.
    pub fn records(self, buffer: &[u8]) -> impl Iterator<Item = Record<'_>> {
        split_lines(&buffer[..self.bytes], self.first)
    }
}

/// Splits whole lines into records; the first line has the number `first`.
fn split_lines(piece: &[u8], first: u64) -> impl Iterator<Item = Record<'_>> {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', piece);
    let lines =
        ends.map(move |end| strip_carriage_return(&piece[std::mem::replace(&mut start, end + 1)..end]));
    (first..).zip(lines).filter(|(_, line)| !line.trim_ascii().is_empty()).map(|(position, bytes)| Record {
        bytes,
        position,
        error: None,
    })
}

fn strip_carriage_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Reads a line without its line feed into `out`, but at most `limit` bytes of it; returns the number of bytes left out, or `None` at the
/// end of the input.
fn read_line(input: &mut PutBack, out: &mut Vec<u8>, limit: usize) -> std::io::Result<Option<u64>> {
    let mut omitted = 0;
    let mut any = false;
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() {
            return Ok(any.then_some(omitted));
        }
        any = true;
        let end = memchr::memchr(b'\n', chunk);
        let line = &chunk[..end.unwrap_or(chunk.len())];
        let kept = line.len().min(limit - out.len());
        out.extend_from_slice(&line[..kept]);
        omitted += (line.len() - kept) as u64;
        let used = end.map_or(chunk.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(Some(omitted));
        }
    }
}
