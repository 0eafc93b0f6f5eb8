//! JSON documents with records inside, at the path of the contract: `{"Records": [{...}, {...}]}`.
//!
//! Documents are read as a stream, so they may be far longer than a record. Several may follow each other, or be the elements of an array. A
//! document that does not have the path is a record itself, and so is an element of an outer array without the rest of the path: nothing is
//! lost. Behind a place where the brackets or commas of a document are wrong, the next line that begins with a bracket is taken for the next
//! document.

use std::io::BufRead;

use pinlake_schema::records_path::{RecordsPath, RecordsStep};

use super::error::FormatError;
use super::format_reader::{FormatReader, Input};
use super::json_values::{JsonValues, ValueEnd};
use super::limits::ReadLimits;
use super::put_back::PutBack;
use super::record::{BufferedRecord, Record, too_large_error};

pub(super) struct JsonRecords {
    values: JsonValues,
    path: RecordsPath,
    /// What is open around the next value, the innermost last.
    open: Vec<Frame>,
    expected: Expected,
    /// What is a record itself unless it has the path up to its next array.
    candidate: Option<Candidate>,
    /// Working memory for what is no record.
    passed: Vec<u8>,
    /// Bytes that are in no record.
    discarded: u64,
}

/// The beginning of a document, or of an element of one of its arrays, without white space between its tokens.
struct Candidate {
    bytes: Vec<u8>,
    /// How many bytes do not fit in a record.
    omitted: u64,
    line: u64,
    /// How many frames are open around it.
    depth: usize,
}

/// An object or array that is open, with the index of the step that leads into it.
#[derive(Debug, Clone, Copy)]
enum Frame {
    /// The array of documents.
    Documents,
    Object(usize),
    Array(usize),
}

/// What may come next inside of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Expected {
    FirstItem,
    NextItem,
    CommaOrEnd,
}

/// What became of a value.
enum Passed {
    /// It was entered, or passed. The value of the innermost frame goes on.
    On,
    /// A value is complete.
    Complete,
    /// Its records were not found, so it is a record itself. The number of its bytes that exceed the limit of a record.
    Record {
        omitted: u64,
    },
    Broken {
        omitted: u64,
        problem: &'static str,
    },
}

impl Frame {
    fn close(self) -> u8 {
        match self {
            Frame::Object(_) => b'}',
            Frame::Documents | Frame::Array(_) => b']',
        }
    }
}

impl JsonRecords {
    pub(super) fn new(input: Input, limits: ReadLimits, path: RecordsPath) -> JsonRecords {
        JsonRecords {
            values: JsonValues::from_line(PutBack::new(input), limits, 1),
            path,
            open: Vec::new(),
            expected: Expected::FirstItem,
            candidate: None,
            passed: Vec::new(),
            discarded: 0,
        }
    }

    /// Reads the next record into `out`.
    fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<BufferedRecord>, FormatError> {
        loop {
            let next = self.values.peek()?;
            let line = self.values.line;
            let Some(byte) = next else {
                return match self.open.is_empty() {
                    true => Ok(None),
                    false => self.read_broken(out, 0, "the file ends within a document", line),
                };
            };
            let passed = match (self.open.last().copied(), self.expected) {
                (None, _) if byte == b'[' && self.path.steps().first() != Some(&RecordsStep::Elements) => {
                    self.consume(byte);
                    self.enter(Frame::Documents)
                }
                (Some(frame), Expected::FirstItem | Expected::CommaOrEnd) if byte == frame.close() => {
                    self.consume(byte);
                    self.close(frame)
                }
                (Some(_), Expected::CommaOrEnd) if byte == b',' => {
                    self.consume(byte);
                    self.expected = Expected::NextItem;
                    Passed::On
                }
                (Some(_), Expected::CommaOrEnd) => {
                    Passed::Broken { omitted: 0, problem: "no comma between two values" }
                }
                (None | Some(Frame::Documents), _) => {
                    self.begin_candidate(line);
                    self.pass(0, byte, out)?
                }
                (Some(Frame::Array(step)), _) => self.pass_element(step + 1, byte, out)?,
                (Some(Frame::Object(step)), _) => self.pass_member(step, byte, out)?,
            };
            match passed {
                Passed::On => {}
                Passed::Record { omitted } => {
                    self.expected = Expected::CommaOrEnd;
                    let error = (omitted > 0).then(|| too_large_error(&self.values.limits, omitted));
                    return Ok(Some(BufferedRecord { position: line, error }));
                }
                Passed::Broken { omitted, problem } => return self.read_broken(out, omitted, problem, line),
                Passed::Complete => {
                    self.expected = Expected::CommaOrEnd;
                    if let Some(Candidate { bytes, omitted, line, .. }) =
                        self.candidate.take_if(|candidate| candidate.depth == self.open.len())
                    {
                        self.discarded = self.discarded.saturating_sub(bytes.len() as u64);
                        out.extend_from_slice(&bytes);
                        let error = (omitted > 0).then(|| too_large_error(&self.values.limits, omitted));
                        return Ok(Some(BufferedRecord { position: line, error }));
                    }
                }
            }
        }
    }

    /// Passes the value that begins with `first`, to which the step `step` of the path belongs.
    fn pass(&mut self, step: usize, first: u8, out: &mut Vec<u8>) -> Result<Passed, FormatError> {
        if matches!(first, b',' | b':' | b']' | b'}') {
            return Ok(Passed::Broken { omitted: 0, problem: "a value is missing" });
        }
        match (self.path.steps().get(step), first) {
            (Some(RecordsStep::Member(_)), b'{') => {
                self.consume(first);
                Ok(self.enter(Frame::Object(step)))
            }
            (Some(RecordsStep::Elements), b'[') => {
                self.consume(first);
                self.candidate = None;
                Ok(self.enter(Frame::Array(step)))
            }
            // One element without an array around it, or none.
            (Some(RecordsStep::Elements), b'{') => self.pass_element(step + 1, first, out),
            (Some(RecordsStep::Elements), b'n') => {
                let passed = self.pass_value(first)?;
                if self.passed == b"null" {
                    self.candidate = None;
                }
                Ok(passed)
            }
            _ => self.pass_value(first),
        }
    }

    /// Passes an element of an array, to which the step `step` belongs. Without a step it is a record.
    fn pass_element(&mut self, step: usize, first: u8, out: &mut Vec<u8>) -> Result<Passed, FormatError> {
        if step < self.path.steps().len() {
            self.begin_candidate(self.values.line);
            return self.pass(step, first, out);
        }
        self.candidate = None;
        if matches!(first, b',' | b':' | b']' | b'}') {
            return Ok(Passed::Broken { omitted: 0, problem: "a value is missing" });
        }
        Ok(match self.values.read_value(first, out)? {
            ValueEnd::Found { omitted } => Passed::Record { omitted },
            ValueEnd::Broken { omitted, problem } => Passed::Broken { omitted, problem },
        })
    }

    fn begin_candidate(&mut self, line: u64) {
        self.candidate = Some(Candidate { bytes: Vec::new(), omitted: 0, line, depth: self.open.len() });
    }

    /// Passes a member of an object that the step `step` leads into.
    fn pass_member(&mut self, step: usize, first: u8, out: &mut Vec<u8>) -> Result<Passed, FormatError> {
        if first != b'"' {
            return Ok(Passed::Broken { omitted: 0, problem: "a name in double quotes is missing" });
        }
        if let broken @ Passed::Broken { .. } = self.pass_value(first)? {
            return Ok(broken);
        }
        let is_wanted = match self.path.steps().get(step) {
            Some(RecordsStep::Member(wanted)) => {
                serde_json::from_slice::<String>(&self.passed).is_ok_and(|name| name == *wanted)
            }
            _ => false,
        };
        if self.values.peek()? != Some(b':') {
            return Ok(Passed::Broken { omitted: 0, problem: "no colon behind a name" });
        }
        self.consume(b':');
        let Some(first) = self.values.peek()? else {
            return Ok(Passed::Broken { omitted: 0, problem: "the file ends within a document" });
        };
        match (is_wanted, first) {
            (true, first) => self.pass(step + 1, first, out),
            (false, b',' | b':' | b']' | b'}') => {
                Ok(Passed::Broken { omitted: 0, problem: "a value is missing" })
            }
            (false, first) => self.pass_value(first),
        }
    }

    fn enter(&mut self, frame: Frame) -> Passed {
        self.open.push(frame);
        self.expected = Expected::FirstItem;
        Passed::On
    }

    /// Closes the innermost frame, whose bracket was passed.
    fn close(&mut self, frame: Frame) -> Passed {
        self.open.pop();
        match frame {
            // What follows the array is the next document.
            Frame::Documents => Passed::On,
            Frame::Array(_) | Frame::Object(_) => Passed::Complete,
        }
    }

    /// Passes a value that is no record.
    fn pass_value(&mut self, first: u8) -> Result<Passed, FormatError> {
        self.passed.clear();
        let end = self.values.read_value(first, &mut self.passed)?;
        let (ValueEnd::Found { omitted } | ValueEnd::Broken { omitted, .. }) = end;
        self.discarded += self.passed.len() as u64 + omitted;
        if let Some(candidate) = &mut self.candidate {
            candidate.push(&self.passed, omitted, self.values.limits.max_record_bytes);
        }
        Ok(match end {
            ValueEnd::Found { .. } => Passed::Complete,
            ValueEnd::Broken { problem, .. } => Passed::Broken { omitted: 0, problem },
        })
    }

    /// Passes a token of one byte that was peeked at.
    fn consume(&mut self, byte: u8) {
        self.values.input.consume(1);
        self.discarded += 1;
        if let Some(candidate) = &mut self.candidate {
            candidate.push(&[byte], 0, self.values.limits.max_record_bytes);
        }
    }

    /// Returns what is left of a broken document as one record: from the beginning of the document, or of the element that may be a record.
    fn read_broken(
        &mut self,
        out: &mut Vec<u8>,
        mut omitted: u64,
        problem: &str,
        line: u64,
    ) -> Result<Option<BufferedRecord>, FormatError> {
        if let Some(candidate) = self.candidate.take() {
            omitted += candidate.omitted;
            out.extend_from_slice(&candidate.bytes);
        }
        if out.is_empty() && self.values.peek()?.is_none() {
            // All records are whole, but the end of the document is missing, which must be reported.
            out.push(b'{');
        }
        self.open.clear();
        self.expected = Expected::FirstItem;
        self.values.read_broken_value(out, omitted, problem, line)
    }
}

impl Candidate {
    fn push(&mut self, bytes: &[u8], omitted: u64, limit: usize) {
        let kept = bytes.len().min(limit - self.bytes.len());
        self.bytes.extend_from_slice(&bytes[..kept]);
        self.omitted += (bytes.len() - kept) as u64 + omitted;
    }
}

impl FormatReader for JsonRecords {
    fn read_record<'a>(&'a mut self, buffer: &'a mut Vec<u8>) -> Result<Option<Record<'a>>, FormatError> {
        let record = self.next(buffer)?;
        Ok(record.map(|record| record.with_bytes(buffer)))
    }

    fn discarded_bytes(&self) -> u64 {
        self.discarded
    }
}
