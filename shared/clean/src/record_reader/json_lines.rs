//! NDJSON: one record a line. A line that is no JSON spoils nothing but itself.

use std::io::{BufRead, Read};

use super::put_back::PutBack;
use super::{CutError, FormatReader, Input, Limits, Record, WholeLines, too_large};

/// Bytes that are read at a time: a processor's own cache holds them, and their lines are soon counted to be enough.
const AT_HAND_BYTES: usize = 64 << 10;

pub(super) struct JsonLines {
    input: PutBack,
    limits: Limits,
    line: u64,
    /// Bytes of the input that were handed out from where they are.
    lent: usize,
}

impl JsonLines {
    pub(super) fn new(input: Input, limits: Limits) -> JsonLines {
        JsonLines { input: PutBack::new(input), limits, line: 0, lent: 0 }
    }
}

impl FormatReader for JsonLines {
    fn cut<'a>(&'a mut self, buffer: &'a mut Vec<u8>) -> Result<Option<Record<'a>>, CutError> {
        self.input.consume(std::mem::take(&mut self.lent));
        let most = self.limits.max_record_bytes;
        loop {
            self.line += 1;
            let chunk = self.input.fill_buf()?;
            if let Some(end) = memchr::memchr(b'\n', chunk).filter(|end| *end <= most) {
                let length = without_return(&chunk[..end]).len();
                if chunk[..length].trim_ascii().is_empty() {
                    self.input.consume(end + 1);
                    continue;
                }
                self.lent = end + 1;
                let bytes = &self.input.fill_buf()?[..length];
                return Ok(Some(Record { bytes, position: self.line, fault: None }));
            }
            // A byte more than a record may have: it may be part of the line's end.
            let Some(mut left_out) = read_line(&mut self.input, buffer, most + 1)? else {
                return Ok(None);
            };
            if left_out == 0 {
                buffer.truncate(without_return(buffer).len());
            }
            left_out += buffer.len().saturating_sub(most) as u64;
            buffer.truncate(most);
            if left_out > 0 {
                let fault = Some(too_large(&self.limits, left_out));
                return Ok(Some(Record { bytes: buffer, position: self.line, fault }));
            }
            if !buffer.trim_ascii().is_empty() {
                return Ok(Some(Record { bytes: buffer, position: self.line, fault: None }));
            }
            buffer.clear();
        }
    }

    fn whole_lines(&mut self, room: &mut [u8], enough: u64) -> Option<WholeLines> {
        self.input.consume(std::mem::take(&mut self.lent));
        // No line in it is longer than a record may be.
        let most = room.len().min(self.limits.max_record_bytes);
        let Filled { bytes: filled, lines: count, failed } = fill(&mut self.input, &mut room[..most], enough);
        let bytes = memchr::memrchr(b'\n', &room[..filled]).map_or(0, |last| last + 1);
        self.input.put_back(&room[bytes..filled], failed);
        let first = self.line + 1;
        self.line += count;
        (count > 0).then_some(WholeLines { bytes, first, count })
    }
}

/// What became of a room that was to be filled.
struct Filled {
    bytes: usize,
    /// Line ends among them.
    lines: u64,
    failed: Option<std::io::Error>,
}

/// Fills the room from its start, until there are `enough` lines, or as far as the input goes or works.
fn fill(input: &mut impl Read, room: &mut [u8], enough: u64) -> Filled {
    let mut filled = Filled { bytes: 0, lines: 0, failed: None };
    while filled.lines < enough {
        let rest = &mut room[filled.bytes..];
        // Lines are counted while the processor still has at hand what was read.
        let next = rest.len().min(AT_HAND_BYTES);
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

/// The records of whole lines, of which the first has the number `first`.
pub(super) fn records(piece: &[u8], first: u64) -> impl Iterator<Item = Record<'_>> {
    let mut start = 0;
    let ends = memchr::memchr_iter(b'\n', piece);
    let lines = ends.map(move |end| without_return(&piece[std::mem::replace(&mut start, end + 1)..end]));
    (first..).zip(lines).filter(|(_, line)| !line.trim_ascii().is_empty()).map(|(position, bytes)| Record {
        bytes,
        position,
        fault: None,
    })
}

fn without_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// Reads a line without its end into `out`, and at most `most` bytes of it; tells how many are left out. None at
/// the end of the input.
fn read_line(input: &mut PutBack, out: &mut Vec<u8>, most: usize) -> std::io::Result<Option<u64>> {
    let mut left_out = 0;
    let mut any = false;
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() {
            return Ok(any.then_some(left_out));
        }
        any = true;
        let end = memchr::memchr(b'\n', chunk);
        let line = &chunk[..end.unwrap_or(chunk.len())];
        let room = line.len().min(most - out.len());
        out.extend_from_slice(&line[..room]);
        left_out += (line.len() - room) as u64;
        let used = end.map_or(chunk.len(), |end| end + 1);
        input.consume(used);
        if end.is_some() {
            return Ok(Some(left_out));
        }
    }
}
