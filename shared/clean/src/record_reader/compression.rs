//! Decompression, with a limit on the output. What was decompressed before the damage of a file is returned before the error.

use std::fmt;
use std::io::{BufRead, Error, ErrorKind, Read, Result};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use flate2::{Crc, Decompress, FlushDecompress, Status};
use zstd::stream::raw::{DParameter, Decoder as ZstdDecoder, InBuffer, Operation, OutBuffer};

use super::limits::ReadLimits;

/// The largest window of a zstd frame: 128 MiB, the most that `zstd --ultra` uses.
const ZSTD_WINDOW_LOG: u32 = 27;

/// The memory that the dictionary of an xz file may take, in KiB: twice as much as `xz -9` uses.
const XZ_MEMORY_KIB: u32 = 129 << 10;

/// The number of bytes at the beginning of a file that identify its compression.
pub(super) const MAGIC_BYTES: usize = 10;

/// The longest name or comment in the header of a gzip member.
const MAX_GZIP_TEXT: usize = 64 << 10;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Compression {
    /// Detects the compression by the first bytes, or by the name if the file is empty.
    pub(super) fn detect(name: &str, head: &[u8]) -> Option<Compression> {
        if head.is_empty() {
            return Self::SUFFIXES.into_iter().find(|(suffix, _)| name.ends_with(suffix)).map(|(_, own)| own);
        }
        match head {
            [0x1f, 0x8b, ..] => Some(Compression::Gzip),
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Some(Compression::Zstd),
            // A frame that decoders skip, as pzstd writes first.
            [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Some(Compression::Zstd),
            // The first block, or the end of a file without blocks.
            [b'B', b'Z', b'h', b'1'..=b'9', 0x31, 0x41, 0x59, 0x26, 0x53, 0x59]
            | [b'B', b'Z', b'h', b'1'..=b'9', 0x17, 0x72, 0x45, 0x38, 0x50, 0x90] => Some(Compression::Bzip2),
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Some(Compression::Xz),
            _ => None,
        }
    }

    const SUFFIXES: [(&str, Compression); 4] = [
        (".gz", Compression::Gzip),
        (".zst", Compression::Zstd),
        (".bz2", Compression::Bzip2),
        (".xz", Compression::Xz),
    ];

    /// The name without the suffix of a compression.
    pub(super) fn strip_suffix(name: &str) -> &str {
        Self::SUFFIXES.iter().find_map(|(suffix, _)| name.strip_suffix(suffix)).unwrap_or(name)
    }
}

/// Counts the bytes that are read from the stored file.
pub(super) struct CountingReader<R> {
    pub(super) inner: R,
    pub(super) taken: Arc<AtomicU64>,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let count = self.inner.read(into)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Decompresses up to a limit, because some files are decompression bombs.
pub(super) struct BoundedDecoder {
    decoder: Box<dyn Read + Send>,
    taken: Arc<AtomicU64>,
    returned: u64,
    max_ratio: u64,
    free: u64,
    max: u64,
}

impl BoundedDecoder {
    /// `padding` is set to the number of zeros behind the compressed data.
    pub(super) fn new(
        compressed: impl BufRead + Send + 'static,
        compression: Compression,
        taken: Arc<AtomicU64>,
        padding: Arc<AtomicU64>,
        limits: &ReadLimits,
    ) -> Result<BoundedDecoder> {
        let decoder: Box<dyn Read + Send> = match compression {
            Compression::Gzip => Box::new(GzipReader::new(compressed, padding)),
            Compression::Zstd => Box::new(ZstdReader::new(compressed, padding)?),
            Compression::Bzip2 => Box::new(Bzip2Reader::new(compressed, padding)),
            Compression::Xz => {
                Box::new(XzReader(lzma_rust2::XzReader::new_mem_limit(compressed, true, XZ_MEMORY_KIB)))
            }
        };
        Ok(Self::around(decoder, taken, limits))
    }

    pub(super) fn around(
        decoder: Box<dyn Read + Send>,
        taken: Arc<AtomicU64>,
        limits: &ReadLimits,
    ) -> BoundedDecoder {
        BoundedDecoder {
            decoder,
            taken,
            returned: 0,
            max_ratio: limits.max_ratio,
            free: limits.free_unpacked_bytes,
            max: limits.max_unpacked_bytes,
        }
    }
}

impl Read for BoundedDecoder {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        let count = self.decoder.read(into)?;
        self.returned += count as u64;
        let by_ratio = self.taken.load(Ordering::Relaxed).saturating_mul(self.max_ratio);
        let limit = by_ratio.max(self.free).min(self.max);
        if self.returned > limit {
            return Err(Error::other(SizeLimitExceeded { limit }));
        }
        Ok(count)
    }
}

/// Reads what follows a member or frame: the next one, the end, or zeros up to the end, which tapes and block devices add. Returns
/// whether another one follows.
fn has_next(input: &mut impl BufRead, padding: &AtomicU64) -> Result<bool> {
    let mut zeros = 0;
    loop {
        let chunk = input.fill_buf()?;
        let Some(first) = chunk.iter().position(|byte| *byte != 0) else {
            let count = chunk.len();
            if count == 0 {
                padding.fetch_add(zeros, Ordering::Relaxed);
                return Ok(false);
            }
            zeros += count as u64;
            input.consume(count);
            continue;
        };
        if first == 0 && zeros == 0 {
            return Ok(true);
        }
        return Err(Error::new(
            ErrorKind::InvalidData,
            "other bytes follow the zeros behind the compressed data",
        ));
    }
}

/// Reads any number of gzip members. Unlike the reader of flate2 it returns what it decompressed before the damage.
struct GzipReader<R> {
    input: R,
    state: GzipState,
    inflate: Decompress,
    crc: Crc,
    padding: Arc<AtomicU64>,
    failed: Option<Error>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum GzipState {
    Header { is_first: bool },
    Data,
    End,
}

impl<R: BufRead> GzipReader<R> {
    fn new(input: R, padding: Arc<AtomicU64>) -> Self {
        let state = GzipState::Header { is_first: true };
        Self { input, state, inflate: Decompress::new(false), crc: Crc::new(), padding, failed: None }
    }

    /// Reads the header of a member, RFC 1952.
    fn read_header(&mut self) -> Result<()> {
        let mut fixed = [0; 10];
        self.input.read_exact(&mut fixed)?;
        let [0x1f, 0x8b, 8, flags, ..] = fixed else {
            return Err(Error::new(ErrorKind::InvalidData, "what follows is not a gzip member"));
        };
        if flags & 0xe0 != 0 {
            return Err(Error::new(ErrorKind::InvalidData, "the gzip header has unknown flags"));
        }
        if flags & 4 != 0 {
            let mut length = [0; 2];
            self.input.read_exact(&mut length)?;
            let mut extra = vec![0; usize::from(u16::from_le_bytes(length))];
            self.input.read_exact(&mut extra)?;
        }
        for flag in [8, 16] {
            let mut text = Vec::new();
            if flags & flag != 0 {
                (&mut self.input).take(MAX_GZIP_TEXT as u64).read_until(0, &mut text)?;
                if text.last() != Some(&0) {
                    return Err(Error::new(ErrorKind::InvalidData, "the gzip header has no end"));
                }
            }
        }
        if flags & 2 != 0 {
            self.input.read_exact(&mut [0; 2])?;
        }
        self.inflate.reset(false);
        self.crc.reset();
        Ok(())
    }

    fn read_trailer(&mut self) -> Result<()> {
        let mut trailer = [0; 8];
        self.input.read_exact(&mut trailer)?;
        let [a, b, c, d, e, f, g, h] = trailer;
        if u32::from_le_bytes([a, b, c, d]) != self.crc.sum()
            || u32::from_le_bytes([e, f, g, h]) != self.crc.amount()
        {
            return Err(Error::new(ErrorKind::InvalidData, "the gzip checksum is wrong"));
        }
        Ok(())
    }

    fn read_data(&mut self, into: &mut [u8]) -> Result<usize> {
        loop {
            let chunk = self.input.fill_buf()?;
            let is_eof = chunk.is_empty();
            let (read_before, written_before) = (self.inflate.total_in(), self.inflate.total_out());
            let flush = if is_eof { FlushDecompress::Finish } else { FlushDecompress::None };
            let status = self.inflate.decompress(chunk, into, flush);
            let read = usize::try_from(self.inflate.total_in() - read_before).unwrap_or(0);
            let written = usize::try_from(self.inflate.total_out() - written_before).unwrap_or(0);
            self.input.consume(read);
            self.crc.update(&into[..written]);
            match status {
                Ok(Status::StreamEnd) => {
                    self.state = GzipState::Header { is_first: false };
                    self.failed = self.read_trailer().err();
                }
                Ok(_) if written == 0 && is_eof => {
                    return Err(Error::new(ErrorKind::UnexpectedEof, "the gzip data ends early"));
                }
                Ok(_) if written == 0 => continue,
                Ok(_) => {}
                Err(_) => {
                    self.failed = Some(Error::new(ErrorKind::InvalidData, "the gzip data is damaged"));
                }
            }
            return Ok(written);
        }
    }
}

impl<R: BufRead> Read for GzipReader<R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        loop {
            if let Some(error) = self.failed.take() {
                self.state = GzipState::End;
                return Err(error);
            }
            match self.state {
                GzipState::End => return Ok(0),
                GzipState::Header { is_first } => {
                    let has_next = is_first || has_next(&mut self.input, &self.padding)?;
                    if !has_next || (is_first && self.input.fill_buf()?.is_empty()) {
                        self.state = GzipState::End;
                        continue;
                    }
                    self.read_header()?;
                    self.state = GzipState::Data;
                }
                GzipState::Data => {
                    let count = self.read_data(into)?;
                    if count > 0 || into.is_empty() {
                        return Ok(count);
                    }
                }
            }
        }
    }
}

/// Reads any number of zstd frames. It gives the decoder one block at a time, so that the blocks before a damaged one are returned.
struct ZstdReader<R> {
    input: R,
    decoder: ZstdDecoder<'static>,
    /// The bytes that the decoder needs next; 0 between frames.
    wanted: usize,
    /// Whether the decoder may have output left.
    has_output: bool,
    is_first: bool,
    padding: Arc<AtomicU64>,
}

impl<R: BufRead> ZstdReader<R> {
    fn new(input: R, padding: Arc<AtomicU64>) -> Result<Self> {
        let mut decoder = ZstdDecoder::new()?;
        decoder.set_parameter(DParameter::WindowLogMax(ZSTD_WINDOW_LOG))?;
        Ok(Self { input, decoder, wanted: 0, has_output: false, is_first: true, padding })
    }
}

impl<R: BufRead> Read for ZstdReader<R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if into.is_empty() {
            return Ok(0);
        }
        loop {
            if self.has_output {
                let mut output = OutBuffer::around(into);
                let hint = self.decoder.run(&mut InBuffer::around(&[]), &mut output).map_err(explain_zstd)?;
                let written = output.pos();
                self.has_output = hint != 0 && written == into.len();
                self.wanted = hint;
                if written > 0 {
                    return Ok(written);
                }
                continue;
            }
            if self.wanted == 0 {
                let is_first = std::mem::take(&mut self.is_first);
                let has_frame = match is_first {
                    true => !self.input.fill_buf()?.is_empty(),
                    false => has_next(&mut self.input, &self.padding)?,
                };
                if !has_frame {
                    return Ok(0);
                }
                self.decoder.reinit()?;
                // The shortest frame header; the decoder then says how much more it needs.
                self.wanted = 5;
            }
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the zstd data ends early"));
            }
            let mut input = InBuffer::around(&chunk[..chunk.len().min(self.wanted)]);
            let mut output = OutBuffer::around(into);
            let hint = self.decoder.run(&mut input, &mut output).map_err(explain_zstd)?;
            let (read, written) = (input.pos(), output.pos());
            self.input.consume(read);
            self.wanted = hint;
            // Where a frame ends, all of its output has been written.
            self.has_output = hint != 0 && written == into.len();
            if written > 0 {
                return Ok(written);
            }
        }
    }
}

/// Says what to do about a frame that is whole and needs what the reader does not have.
fn explain_zstd(error: Error) -> Error {
    // The names of error codes, `ZSTD_getErrorName`.
    let refused = match error.to_string().as_str() {
        "Dictionary mismatch" => {
            "it was compressed with a dictionary, which it does not contain: compress it without one"
        }
        "Frame requires too much memory for decoding" => {
            "its zstd frame needs a window of more than 128 MiB: compress it without --long, or with --long=27 or less"
        }
        _ => return error,
    };
    Error::other(Refused(refused))
}

struct XzReader<R>(R);

impl<R: Read> Read for XzReader<R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        self.0.read(into).map_err(|error| match error.kind() {
            ErrorKind::OutOfMemory => Error::other(Refused(
                "its xz dictionary is larger than 128 MiB: compress it with xz -9 or less",
            )),
            _ => error,
        })
    }
}

/// Reads any number of bzip2 streams. It returns a block only after its checksum was found right: a damaged block decodes to other bytes.
struct Bzip2Reader<R> {
    input: R,
    decoder: bzip2::Decompress,
    /// What was decoded of the present block.
    block: Vec<u8>,
    /// How much of it has been returned, once its checksum was found right.
    returned: usize,
    state: Bzip2State,
    padding: Arc<AtomicU64>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Bzip2State {
    /// The decoder takes input until a block is complete.
    Reading,
    /// The stream has ended.
    Between,
    End,
}

impl<R: BufRead> Bzip2Reader<R> {
    fn new(input: R, padding: Arc<AtomicU64>) -> Self {
        let state = Bzip2State::Reading;
        Self { input, decoder: bzip2::Decompress::new(false), block: Vec::new(), returned: 0, state, padding }
    }

    /// Decodes the next block. `block` stays empty at the end.
    fn read_block(&mut self) -> Result<()> {
        self.block.clear();
        self.returned = 0;
        while self.block.is_empty() {
            match self.state {
                Bzip2State::End => return Ok(()),
                Bzip2State::Between if !has_next(&mut self.input, &self.padding)? => {
                    self.state = Bzip2State::End;
                    return Ok(());
                }
                Bzip2State::Between => {
                    self.decoder = bzip2::Decompress::new(false);
                    self.state = Bzip2State::Reading;
                }
                Bzip2State::Reading => {}
            }
            let chunk = self.input.fill_buf()?;
            if chunk.is_empty() {
                return Err(Error::new(ErrorKind::UnexpectedEof, "the bzip2 data ends early"));
            }
            let before = self.decoder.total_in();
            // Without space for output, the decoder stops behind the next block.
            let status = decode_bzip2(&mut self.decoder, chunk, &mut [])?;
            let read = usize::try_from(self.decoder.total_in() - before).unwrap_or(0);
            self.input.consume(read);
            if status == bzip2::Status::StreamEnd {
                self.state = Bzip2State::Between;
                continue;
            }
            self.drain_block()?;
        }
        Ok(())
    }

    /// Takes the output of a block. The decoder compares the checksum behind the last byte of it.
    fn drain_block(&mut self) -> Result<()> {
        let mut part = vec![0; 64 << 10];
        loop {
            let before = self.decoder.total_out();
            let status = decode_bzip2(&mut self.decoder, &[], &mut part)?;
            let written = usize::try_from(self.decoder.total_out() - before).unwrap_or(0);
            self.block.extend_from_slice(&part[..written]);
            if status == bzip2::Status::StreamEnd {
                self.state = Bzip2State::Between;
                return Ok(());
            }
            if written < part.len() {
                return Ok(());
            }
        }
    }
}

fn decode_bzip2(decoder: &mut bzip2::Decompress, input: &[u8], output: &mut [u8]) -> Result<bzip2::Status> {
    decoder
        .decompress(input, output)
        .map_err(|_| Error::new(ErrorKind::InvalidData, "the bzip2 data is damaged"))
}

impl<R: BufRead> Read for Bzip2Reader<R> {
    fn read(&mut self, into: &mut [u8]) -> Result<usize> {
        if self.returned == self.block.len() {
            self.read_block()?;
        }
        let count = (&self.block[self.returned..]).read(into)?;
        self.returned += count;
        Ok(count)
    }
}

#[derive(Debug)]
struct SizeLimitExceeded {
    limit: u64,
}

impl fmt::Display for SizeLimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unpacks to more than {} bytes", self.limit)
    }
}

impl std::error::Error for SizeLimitExceeded {}

/// The file is whole, and needs what the reader does not have.
#[derive(Debug)]
struct Refused(&'static str);

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0)
    }
}

impl std::error::Error for Refused {}

/// Why the file is refused, if `error` is a [`Refused`].
pub(super) fn refused(error: &Error) -> Option<&'static str> {
    error.get_ref()?.downcast_ref::<Refused>().map(|refused| refused.0)
}

/// The limit that was exceeded, if `error` is a [`SizeLimitExceeded`].
pub(super) fn exceeded_limit(error: &Error) -> Option<u64> {
    error.get_ref()?.downcast_ref::<SizeLimitExceeded>().map(|exceeded| exceeded.limit)
}
