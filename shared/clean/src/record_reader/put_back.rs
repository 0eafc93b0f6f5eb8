//! An input that takes back what was read too far.

use std::io::{BufRead, Error, Read, Result};

use super::Input;

/// Hands out what was put back, then the error that was met behind it, if there was one, then what the input has.
pub(super) struct PutBack {
    bytes: Vec<u8>,
    /// Of the bytes, how many were handed out again.
    out: usize,
    failed: Option<Error>,
    input: Input,
}

impl PutBack {
    pub(super) fn new(input: Input) -> PutBack {
        PutBack { bytes: Vec::new(), out: 0, failed: None, input }
    }

    /// Takes back the last bytes that were read, and what happened when more was asked for.
    pub(super) fn put_back(&mut self, bytes: &[u8], failed: Option<Error>) {
        // What has not been handed out again comes behind: it was not read yet.
        self.bytes.splice(..self.out, bytes.iter().copied());
        self.out = 0;
        self.failed = failed.or(self.failed.take());
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.out..]
    }
}

impl Read for PutBack {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if !self.rest().is_empty() {
            let count = self.rest().read(into)?;
            self.out += count;
            return Ok(count);
        }
        match self.failed.take() {
            Some(error) => Err(error),
            // Into the place where it is wanted: a large piece goes through no buffer in between.
            None => self.input.read(into),
        }
    }
}

impl BufRead for PutBack {
    fn fill_buf(&mut self) -> Result<&[u8]> {
        if !self.rest().is_empty() {
            return Ok(self.rest());
        }
        match self.failed.take() {
            Some(error) => Err(error),
            None => self.input.fill_buf(),
        }
    }

    fn consume(&mut self, count: usize) {
        if self.rest().is_empty() {
            self.input.consume(count);
        } else {
            self.out += count;
        }
    }
}
