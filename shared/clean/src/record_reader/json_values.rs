//! A JSON array, or concatenated JSON values. Arrays and values may follow an array.
//!
//! Values are split where their brackets close, without checking what is between: if a value is not JSON, cleaning quarantines only that
//! record. If the brackets of a concatenated value do not match, the next line that begins with a bracket is taken for the next record. In
//! an array, the rest of the file is one record with an error.

use std::io::BufRead;

use pinlake_json::{Boundary, BoundaryScanner};

use super::error::FormatError;
use super::format_reader::{FormatReader, Input};
use super::limits::ReadLimits;
use super::put_back::PutBack;
use super::record::{BufferedRecord, Record, too_large_error};
use crate::reason::{Reason, RecordError};

pub(super) struct JsonValues {
    pub(super) input: PutBack,
    pub(super) limits: ReadLimits,
    /// The line of the next byte.
    pub(super) line: u64,
    state: State,
    /// Bytes that were scanned again behind broken values.
    rescanned: usize,
}

/// Bytes that may be scanned again. A file may have a broken value on each line.
const MAX_RESCANNED: usize = 64 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first token: `[` begins an array.
    Start,
    /// Between concatenated values.
    Values,
    /// Behind the `[` of an array.
    FirstElement,
    /// Behind an element: a comma or the end of the array follows.
    AfterElement,
    /// Behind a comma.
    NextElement,
    /// Behind the `]`.
    Closed,
    /// No further record can be read.
    End,
}

impl JsonValues {
    pub(super) fn new(input: Input, limits: ReadLimits) -> JsonValues {
        JsonValues { input: PutBack::new(input), limits, line: 1, state: State::Start, rescanned: 0 }
    }

    /// Reads concatenated values from the beginning of a line on.
    pub(super) fn from_line(input: PutBack, limits: ReadLimits, line: u64) -> JsonValues {
        JsonValues { input, limits, line, state: State::Values, rescanned: 0 }
    }

    /// Passes white space; returns the next byte, which it does not consume.
    pub(super) fn peek(&mut self) -> std::io::Result<Option<u8>> {
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return Ok(None);
            }
            let blank = chunk.iter().take_while(|byte| byte.is_ascii_whitespace()).count();
            self.line += count_lines(&chunk[..blank]);
            let next = chunk.get(blank).copied();
            self.input.consume(blank);
            if next.is_some() {
                return Ok(next);
            }
        }
    }

    /// Reads the next value into `out`.
    fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<BufferedRecord>, FormatError> {
        loop {
            if self.state == State::End {
                return Ok(None);
            }
            let Some(first) = self.peek()? else {
                let is_unclosed =
                    matches!(self.state, State::FirstElement | State::AfterElement | State::NextElement);
                self.state = State::End;
                if is_unclosed {
                    // All records are whole, but the end of the array is missing, which must be reported.
                    out.push(b'[');
                    let detail = "the file ends before its array is closed";
                    let error = Some(RecordError::new(Reason::MalformedJson, detail));
                    return Ok(Some(BufferedRecord { position: self.line, error }));
                }
                return Ok(None);
            };
            let line = self.line;
            match (self.state, first) {
                (State::Start, b'[') => {
                    self.input.consume(1);
                    self.state = State::FirstElement;
                    continue;
                }
                (State::Start, _) => self.state = State::Values,
                (State::FirstElement | State::AfterElement, b']') => {
                    self.input.consume(1);
                    self.state = State::Closed;
                    continue;
                }
                (State::AfterElement, b',') => {
                    self.input.consume(1);
                    self.state = State::NextElement;
                    continue;
                }
                (State::AfterElement, _) => {
                    return self.read_broken_rest(out, 0, "no comma between two elements", line);
                }
                (State::FirstElement | State::NextElement, b',' | b']' | b'}') => {
                    return self.read_broken_rest(out, 0, "an element of the array is missing", line);
                }
                (State::Closed, b'[') => {
                    self.input.consume(1);
                    self.state = State::FirstElement;
                    continue;
                }
                (State::Closed, b'{') => self.state = State::Values,
                (State::Closed, _) => {
                    return self.read_broken_rest(out, 0, "something follows the array", line);
                }
                (State::Values, b',' | b']' | b'}') => {
                    return self.read_broken_value(out, 0, "no value begins here", line);
                }
                _ => {}
            }
            match self.read_value(first, out)? {
                ValueEnd::Broken { omitted, problem } if self.state == State::Values => {
                    return self.read_broken_value(out, omitted, problem, line);
                }
                ValueEnd::Broken { omitted, problem } => {
                    return self.read_broken_rest(out, omitted, problem, line);
                }
                ValueEnd::Found { omitted } => {
                    if self.state != State::Values {
                        self.state = State::AfterElement;
                    }
                    let error = (omitted > 0).then(|| too_large_error(&self.limits, omitted));
                    return Ok(Some(BufferedRecord { position: line, error }));
                }
            }
        }
    }

    /// Reads one value into `out`, up to the length of a record.
    pub(super) fn read_value(&mut self, first: u8, out: &mut Vec<u8>) -> std::io::Result<ValueEnd> {
        let mut scanner = BoundaryScanner::new(first);
        if self.state == State::Values {
            scanner = scanner.with_checked_lines();
        }
        let mut omitted = 0;
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return Ok(if scanner.is_scalar() {
                    ValueEnd::Found { omitted }
                } else {
                    ValueEnd::Broken { omitted, problem: "the file ends within it" }
                });
            }
            let boundary = scanner.scan(chunk);
            let used = match boundary {
                Boundary::NotReached => chunk.len(),
                Boundary::Reached { bytes } | Boundary::Broken { bytes, .. } => bytes,
            };
            let kept = used.min(self.limits.max_record_bytes - out.len());
            out.extend_from_slice(&chunk[..kept]);
            omitted += (used - kept) as u64;
            self.line += count_lines(&chunk[..used]);
            self.input.consume(used);
            match boundary {
                Boundary::NotReached => {}
                Boundary::Reached { .. } => return Ok(ValueEnd::Found { omitted }),
                Boundary::Broken { problem, .. } => return Ok(ValueEnd::Broken { omitted, problem }),
            }
        }
    }

    /// Appends the rest of the file to `out`, up to the length of a record; returns the number of bytes left out.
    fn read_rest(&mut self, out: &mut Vec<u8>, mut omitted: u64) -> std::io::Result<u64> {
        self.state = State::End;
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return Ok(omitted);
            }
            let used = chunk.len();
            let kept = used.min(self.limits.max_record_bytes - out.len());
            out.extend_from_slice(&chunk[..kept]);
            omitted += (used - kept) as u64;
            self.input.consume(used);
        }
    }

    /// Returns a concatenated value that is broken as one record: up to the next line that begins with a bracket.
    pub(super) fn read_broken_value(
        &mut self,
        out: &mut Vec<u8>,
        mut omitted: u64,
        problem: &str,
        line: u64,
    ) -> Result<Option<BufferedRecord>, FormatError> {
        if self.rescanned > MAX_RESCANNED {
            return self.read_broken_rest(out, omitted, problem, line);
        }
        let next = if omitted == 0 { memchr::memmem::find(out, b"\n{") } else { None };
        match next {
            Some(end) => {
                self.rescanned += out.len() - end;
                self.line = line + count_lines(&out[..=end]);
                self.input.put_back(&out[end + 1..], None);
                out.truncate(end);
            }
            None => omitted += self.read_to_bracket(out)?,
        }
        while out.last().is_some_and(u8::is_ascii_whitespace) {
            out.pop();
        }
        let mut detail = format!("{problem}; the next line that begins with a bracket is the next record");
        if omitted > 0 {
            detail.push_str(&format!("; its last {omitted} bytes are left out here"));
        }
        let error = Some(RecordError::new(Reason::MalformedJson, detail));
        Ok(Some(BufferedRecord { position: line, error }))
    }

    /// Reads up to the next line that begins with a bracket, and returns how many bytes did not fit.
    fn read_to_bracket(&mut self, out: &mut Vec<u8>) -> std::io::Result<u64> {
        let mut omitted = 0;
        // What was read may end with a line.
        let mut is_line_start = out.last() == Some(&b'\n');
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() || (is_line_start && chunk[0] == b'{') {
                return Ok(omitted);
            }
            let used = memchr::memchr(b'\n', chunk).map_or(chunk.len(), |end| end + 1);
            is_line_start = chunk[used - 1] == b'\n';
            let kept = used.min(self.limits.max_record_bytes - out.len());
            out.extend_from_slice(&chunk[..kept]);
            omitted += (used - kept) as u64;
            self.line += u64::from(is_line_start);
            self.input.consume(used);
        }
    }

    /// Returns the rest of the file as one record with an error.
    fn read_broken_rest(
        &mut self,
        out: &mut Vec<u8>,
        omitted: u64,
        problem: &str,
        line: u64,
    ) -> Result<Option<BufferedRecord>, FormatError> {
        let omitted = self.read_rest(out, omitted)?;
        let mut detail = format!("{problem}; the rest of the file from line {line} on is this record");
        if omitted > 0 {
            detail.push_str(&format!(", but for its last {omitted} bytes"));
        }
        let error = Some(RecordError::new(Reason::MalformedJson, detail));
        Ok(Some(BufferedRecord { position: line, error }))
    }
}

/// Where a value ends. `omitted` bytes of it did not fit in a record.
pub(super) enum ValueEnd {
    Found { omitted: u64 },
    Broken { omitted: u64, problem: &'static str },
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

impl FormatReader for JsonValues {
    fn read_record<'a>(&'a mut self, buffer: &'a mut Vec<u8>) -> Result<Option<Record<'a>>, FormatError> {
        let record = self.next(buffer)?;
        Ok(record.map(|record| record.with_bytes(buffer)))
    }
}
