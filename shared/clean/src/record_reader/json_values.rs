//! A JSON array, or JSON values one behind the other: cut where brackets close, without parsing what is between
//! them. Whether a value is right JSON is found out when it is cleaned, and is then that record's fault alone.
//! Only where the brackets themselves are wrong is there no telling where the next record begins: the rest of the
//! file is then one record with a fault.

use std::io::BufRead;

use super::{Cut, CutError, Fault, FormatReader, Input, Limits, Record, too_large};
use crate::reason::Reason;

pub(super) struct JsonValues {
    input: Input,
    limits: Limits,
    /// Line of the next byte.
    line: u64,
    state: State,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first byte that counts: `[` makes it an array.
    Start,
    /// Values one behind the other.
    Values,
    /// Behind the `[` of an array.
    FirstElement,
    /// Behind an element: a comma or the end of the array comes.
    AfterElement,
    /// Behind a comma.
    NextElement,
    /// Behind the `]`.
    Closed,
    /// Behind everything that can be cut.
    End,
}

impl JsonValues {
    pub(super) fn new(input: Input, limits: Limits) -> JsonValues {
        JsonValues { input, limits, line: 1, state: State::Start }
    }

    /// The next byte that is not white space, left in the input.
    fn peek(&mut self) -> std::io::Result<Option<u8>> {
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

    /// Cuts the next value into `out`.
    fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<Cut>, CutError> {
        loop {
            if self.state == State::End {
                return Ok(None);
            }
            let Some(first) = self.peek()? else {
                let unclosed =
                    matches!(self.state, State::FirstElement | State::AfterElement | State::NextElement);
                self.state = State::End;
                if unclosed {
                    // Nothing of it is a record; that something is missing must not go unseen.
                    out.push(b'[');
                    let detail = "the file ends before its array is closed".to_owned();
                    let fault = Some(Fault { reason: Reason::MalformedJson, detail });
                    return Ok(Some(Cut { position: self.line, fault }));
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
                    return self.give_up(out, 0, "no comma between two elements", line);
                }
                (State::FirstElement | State::NextElement, b',' | b']' | b'}') => {
                    return self.give_up(out, 0, "an element of the array is missing", line);
                }
                (State::Closed, _) => return self.give_up(out, 0, "something follows the array", line),
                (State::Values, b',' | b']' | b'}') => {
                    return self.give_up(out, 0, "no value begins here", line);
                }
                _ => {}
            }
            match self.value(first, out)? {
                Ended::Broken { left_out, why } => return self.give_up(out, left_out, why, line),
                Ended::Whole { left_out } => {
                    if self.state != State::Values {
                        self.state = State::AfterElement;
                    }
                    let fault = (left_out > 0).then(|| too_large(&self.limits, left_out));
                    return Ok(Some(Cut { position: line, fault }));
                }
            }
        }
    }

    /// Reads one value into `out`. An object or array ends where its bracket closes, a string at its quote,
    /// anything else before the next comma, bracket or white space.
    fn value(&mut self, first: u8, out: &mut Vec<u8>) -> std::io::Result<Ended> {
        let is_word = !matches!(first, b'{' | b'[' | b'"');
        let mut open: Vec<u8> = Vec::new();
        let (mut in_string, mut escaped) = (false, false);
        let mut left_out = 0;
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return Ok(if is_word {
                    Ended::Whole { left_out }
                } else {
                    Ended::Broken { left_out, why: "the file ends within it" }
                });
            }
            let mut used = chunk.len();
            let mut ended = None;
            for (at, byte) in chunk.iter().copied().enumerate() {
                if escaped {
                    escaped = false;
                } else if in_string {
                    match byte {
                        b'\\' => escaped = true,
                        b'"' => in_string = false,
                        _ => continue,
                    }
                } else {
                    match byte {
                        b'"' => in_string = true,
                        b'{' | b'[' if open.len() >= MAX_OPEN => ended = Some(Err("it is nested too deep")),
                        b'{' | b'[' => open.push(byte + 2),
                        b'}' | b']' if open.last() == Some(&byte) => {
                            open.pop();
                        }
                        b'}' | b']' | b',' | b' ' | b'\t' | b'\r' | b'\n' if is_word => {
                            used = at;
                            ended = Some(Ok(()));
                            break;
                        }
                        b'}' | b']' => ended = Some(Err("a bracket closes that was not opened")),
                        _ => {}
                    }
                }
                if ended.is_none() && !is_word && !in_string && !escaped && open.is_empty() {
                    ended = Some(Ok(()));
                }
                if ended.is_some() {
                    used = at + 1;
                    break;
                }
            }
            let room = used.min(self.limits.max_record_bytes - out.len());
            out.extend_from_slice(&chunk[..room]);
            left_out += (used - room) as u64;
            self.line += count_lines(&chunk[..used]);
            self.input.consume(used);
            match ended {
                None => {}
                Some(Ok(())) => return Ok(Ended::Whole { left_out }),
                Some(Err(why)) => return Ok(Ended::Broken { left_out, why }),
            }
        }
    }

    /// Takes all that is left of the file behind what is in `out`.
    fn rest(&mut self, out: &mut Vec<u8>, mut left_out: u64) -> std::io::Result<u64> {
        self.state = State::End;
        loop {
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return Ok(left_out);
            }
            let used = chunk.len();
            let room = used.min(self.limits.max_record_bytes - out.len());
            out.extend_from_slice(&chunk[..room]);
            left_out += (used - room) as u64;
            self.input.consume(used);
        }
    }

    fn give_up(
        &mut self,
        out: &mut Vec<u8>,
        left_out: u64,
        why: &str,
        line: u64,
    ) -> Result<Option<Cut>, CutError> {
        let left_out = self.rest(out, left_out)?;
        let mut detail = format!("{why}; the rest of the file from line {line} on is this record");
        if left_out > 0 {
            detail.push_str(&format!(", but for its last {left_out} bytes"));
        }
        Ok(Some(Cut { position: line, fault: Some(Fault { reason: Reason::MalformedJson, detail }) }))
    }
}

/// Brackets that may be open at once: beyond what any record may have, so that its fault is found by cleaning.
const MAX_OPEN: usize = 4096;

/// How a value ended.
enum Ended {
    Whole { left_out: u64 },
    Broken { left_out: u64, why: &'static str },
}

fn count_lines(bytes: &[u8]) -> u64 {
    bytes.iter().filter(|byte| **byte == b'\n').count() as u64
}

impl FormatReader for JsonValues {
    fn cut<'a>(&'a mut self, buffer: &'a mut Vec<u8>) -> Result<Option<Record<'a>>, CutError> {
        let cut = self.next(buffer)?;
        Ok(cut.map(|cut| cut.record(buffer)))
    }
}
