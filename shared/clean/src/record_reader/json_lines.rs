//! NDJSON: one record per line. A broken line does not affect the others.
//!
//! A file that is not called NDJSON may have objects on one line first, and objects on several lines later. Where a line leaves brackets
//! open and the next one looks like the inside of an object, the rest of the file is read as concatenated values.

use std::io::{BufRead, Read};

use pinlake_json::{Boundary, BoundaryScanner};

use super::error::FormatError;
use super::format_reader::{FormatReader, Input};
use super::json_values::JsonValues;
use super::limits::ReadLimits;
use super::put_back::PutBack;
use super::record::{Record, WholeLines, too_large_error};
use crate::reason::RecordError;

/// Bytes that are read at a time: they fit in the cache of the processor, so that counting their lines is cheap.
const CHUNK_BYTES: usize = 64 << 10;

pub(super) struct JsonLines {
    input: PutBack,
    limits: ReadLimits,
    line: u64,
    /// Bytes of the input that the last record borrows.
    lent: usize,
    /// Whether an object may go on in the next line.
    is_adaptive: bool,
    /// Reads the rest of the file, once an object did.
    values: Option<JsonValues>,
}

impl JsonLines {
    pub(super) fn new(input: Input, limits: ReadLimits, is_adaptive: bool) -> JsonLines {
        JsonLines { input: PutBack::new(input), limits, line: 0, lent: 0, is_adaptive, values: None }
    }

    /// Reads the rest of the file, which begins with line `line`, as values.
    fn switch_to_values(&mut self, line: u64) {
        let input = std::mem::replace(&mut self.input, PutBack::new(Box::new(std::io::empty())));
        self.values = Some(JsonValues::from_line(input, self.limits, line));
    }

    /// Whether the next byte of the input is inside of an object.
    fn is_next_inside(&mut self) -> bool {
        self.input.peek().is_some_and(is_inside)
    }
}

/// Whether a line that begins with this byte may be the inside of an object.
fn is_inside(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'}' | b']' | b'"')
}

/// Whether a line leaves brackets open.
fn is_open(line: &[u8]) -> bool {
    let line = line.trim_ascii();
    line.first() == Some(&b'{')
        && BoundaryScanner::new(b'{').with_checked_lines().scan(line) == Boundary::NotReached
}

/// The start of the first line of whole lines that leaves brackets open while the next line is its inside.
fn find_open_line(lines: &[u8]) -> Option<usize> {
    let mut start = 0;
    for end in memchr::memchr_iter(b'\n', lines) {
        if lines.get(end + 1).is_some_and(|byte| is_inside(*byte)) && is_open(&lines[start..end]) {
            return Some(start);
        }
        start = end + 1;
    }
    None
}

/// Where the next record is.
enum Next {
    End,
    /// In the input, with this many bytes.
    Input(usize),
    /// In the buffer.
    Buffer(Option<RecordError>),
    /// The rest of the file is values.
    Values,
}

impl JsonLines {
    /// Finds the next record.
    fn find_next(&mut self, buffer: &mut Vec<u8>) -> std::io::Result<Next> {
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
                let next = chunk.get(end + 1).copied();
                if self.is_adaptive && next.is_none() {
                    // The next line is not in memory yet.
                    buffer.extend_from_slice(&chunk[..=end]);
                    self.input.consume(end + 1);
                    if self.is_next_inside() && is_open(buffer) {
                        self.input.put_back(buffer, None);
                        return Ok(Next::Values);
                    }
                    buffer.truncate(length);
                    return Ok(Next::Buffer(None));
                }
                if self.is_adaptive && next.is_some_and(is_inside) && is_open(&chunk[..end]) {
                    return Ok(Next::Values);
                }
                self.lent = end + 1;
                return Ok(Next::Input(length));
            }
            // One byte more than a record may have, because it may be the carriage return.
            let Some(mut omitted) = read_line(&mut self.input, buffer, limit + 1)? else {
                return Ok(Next::End);
            };
            if omitted == 0 && self.is_adaptive && self.is_next_inside() && is_open(buffer) {
                buffer.push(b'\n');
                self.input.put_back(buffer, None);
                return Ok(Next::Values);
            }
            if omitted == 0 {
                buffer.truncate(strip_carriage_return(buffer).len());
            }
            omitted += buffer.len().saturating_sub(limit) as u64;
            buffer.truncate(limit);
            if omitted > 0 {
                return Ok(Next::Buffer(Some(too_large_error(&self.limits, omitted))));
            }
            if !buffer.trim_ascii().is_empty() {
                return Ok(Next::Buffer(None));
            }
            buffer.clear();
        }
    }
}

impl FormatReader for JsonLines {
    fn read_record<'a>(&'a mut self, buffer: &'a mut Vec<u8>) -> Result<Option<Record<'a>>, FormatError> {
        let next = if self.values.is_some() { Next::Values } else { self.find_next(buffer)? };
        let position = self.line;
        match next {
            Next::End => Ok(None),
            Next::Input(length) => {
                let bytes = &self.input.fill_buf()?[..length];
                Ok(Some(Record { bytes, position, error: None }))
            }
            Next::Buffer(error) => Ok(Some(Record { bytes: buffer, position, error })),
            Next::Values => {
                buffer.clear();
                if self.values.is_none() {
                    self.switch_to_values(position);
                }
                match &mut self.values {
                    Some(values) => values.read_record(buffer),
                    None => Ok(None),
                }
            }
        }
    }

    fn read_lines(&mut self, buffer: &mut [u8], enough: u64) -> Option<WholeLines> {
        if self.values.is_some() {
            return None;
        }
        self.input.consume(std::mem::take(&mut self.lent));
        // With this limit no line is longer than a record may be.
        let limit = buffer.len().min(self.limits.max_record_bytes);
        let Filled { bytes: filled, lines: mut count, failed } =
            fill(&mut self.input, &mut buffer[..limit], enough);
        let mut bytes = memchr::memrchr(b'\n', &buffer[..filled]).map_or(0, |last| last + 1);
        let mut is_values = false;
        if self.is_adaptive {
            let mut open = find_open_line(&buffer[..filled]).filter(|open| *open < bytes);
            // The next line may not be in memory yet.
            if open.is_none() && bytes == filled && bytes > 0 && failed.is_none() && self.is_next_inside() {
                let start = memchr::memrchr(b'\n', &buffer[..bytes - 1]).map_or(0, |last| last + 1);
                open = Some(start).filter(|start| is_open(&buffer[*start..bytes]));
            }
            if let Some(open) = open {
                bytes = open;
                count = memchr::memchr_iter(b'\n', &buffer[..bytes]).count() as u64;
                is_values = true;
            }
        }
        self.input.put_back(&buffer[bytes..filled], failed);
        if is_values {
            let line = self.line + count + 1;
            self.switch_to_values(line);
        }
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
