//! An input to which bytes can be returned.

use std::io::{BufRead, Error, Read, Result};

use super::format_reader::Input;

/// Reads the returned bytes first, then the error that followed them, if any, then the input.
pub(super) struct PutBack {
    bytes: Vec<u8>,
    /// How many of the bytes have been read again.
    read: usize,
    failed: Option<Error>,
    input: Input,
}

impl PutBack {
    pub(super) fn new(input: Input) -> PutBack {
        PutBack { bytes: Vec::new(), read: 0, failed: None, input }
    }

    /// Returns the last bytes that were read, and the error that followed them, if any.
    pub(super) fn put_back(&mut self, bytes: &[u8], failed: Option<Error>) {
        // Bytes that have not been read again follow the new ones.
        self.bytes.splice(..self.read, bytes.iter().copied());
        self.read = 0;
        self.failed = failed.or(self.failed.take());
    }

    /// The next byte, if there is one. An error is returned by the next read.
    pub(super) fn peek(&mut self) -> Option<u8> {
        if self.failed.is_some() || !self.rest().is_empty() {
            return self.rest().first().copied();
        }
        match self.input.fill_buf() {
            Ok(chunk) => chunk.first().copied(),
            Err(error) => {
                self.failed = Some(error);
                None
            }
        }
    }

    fn rest(&self) -> &[u8] {
        &self.bytes[self.read..]
    }
}

impl Read for PutBack {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if !self.rest().is_empty() {
            let count = self.rest().read(into)?;
            self.read += count;
            return Ok(count);
        }
        match self.failed.take() {
            Some(error) => Err(error),
            // A large read does not need a buffer.
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
            self.read += count;
        }
    }
}
