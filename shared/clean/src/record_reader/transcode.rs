//! Text in another encoding as UTF-8.

use std::io::{BufRead, Read, Result};

use encoding_rs::{Decoder, DecoderResult, Encoding};

use super::format_reader::Input;

/// Bytes that are decoded at a time.
const CHUNK_BYTES: usize = 64 << 10;
/// What stands for bytes that are no text: it is no UTF-8 either, so that the record is refused.
const NO_TEXT: u8 = 0xff;

/// Decodes an input.
pub(super) struct Transcoder {
    input: Input,
    decoder: Decoder,
    decoded: Vec<u8>,
    /// How many of the decoded bytes have been read.
    read: usize,
    is_done: bool,
}

impl Transcoder {
    /// Decodes `input`. A byte order mark is removed.
    pub(super) fn new(input: Input, encoding: &'static Encoding) -> Transcoder {
        let decoder = encoding.new_decoder_with_bom_removal();
        Transcoder { input, decoder, decoded: Vec::new(), read: 0, is_done: false }
    }

    fn decode_more(&mut self) -> Result<()> {
        self.decoded.resize(CHUNK_BYTES, 0);
        self.read = 0;
        let mut filled = 0;
        while filled == 0 && !self.is_done {
            let chunk = self.input.fill_buf()?;
            let is_last = chunk.is_empty();
            let into = &mut self.decoded[..CHUNK_BYTES - 1];
            let (result, read, written) =
                self.decoder.decode_to_utf8_without_replacement(chunk, into, is_last);
            self.input.consume(read);
            filled = written;
            match result {
                DecoderResult::Malformed(..) => {
                    self.decoded[filled] = NO_TEXT;
                    filled += 1;
                }
                DecoderResult::InputEmpty if is_last => self.is_done = true,
                DecoderResult::InputEmpty | DecoderResult::OutputFull => {}
            }
        }
        self.decoded.truncate(filled);
        Ok(())
    }
}

impl Read for Transcoder {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if self.read == self.decoded.len() && !self.is_done {
            self.decode_more()?;
        }
        let count = (&self.decoded[self.read..]).read(into)?;
        self.read += count;
        Ok(count)
    }
}
