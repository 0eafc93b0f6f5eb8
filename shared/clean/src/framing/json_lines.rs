//! NDJSON: one record a line. A line that is no JSON spoils nothing but itself.

use std::io::BufRead;

use super::{Cut, CutError, Cutter, Input, Limits, too_large};

pub(super) struct JsonLines {
    input: Input,
    limits: Limits,
    line: u64,
}

impl JsonLines {
    pub(super) fn new(input: Input, limits: Limits) -> JsonLines {
        JsonLines { input, limits, line: 0 }
    }
}

impl Cutter for JsonLines {
    fn cut(&mut self, out: &mut Vec<u8>) -> Result<Option<Cut>, CutError> {
        loop {
            // A byte more than a record may have: it may be part of the line's end.
            let most = self.limits.max_record_bytes;
            let Some(mut left_out) = read_line(&mut self.input, out, most + 1)? else {
                return Ok(None);
            };
            self.line += 1;
            if left_out == 0 && out.last() == Some(&b'\r') {
                out.pop();
            }
            left_out += out.len().saturating_sub(most) as u64;
            out.truncate(most);
            if left_out > 0 {
                return Ok(Some(Cut { position: self.line, fault: Some(too_large(&self.limits, left_out)) }));
            }
            if !out.trim_ascii().is_empty() {
                return Ok(Some(Cut { position: self.line, fault: None }));
            }
            out.clear();
        }
    }
}

/// Reads a line without its end into `out`, and at most `most` bytes of it; tells how many are left out. None at
/// the end of the input.
fn read_line(input: &mut Input, out: &mut Vec<u8>, most: usize) -> std::io::Result<Option<u64>> {
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
