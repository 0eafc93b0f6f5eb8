//! Cuts files into records: NDJSON, a JSON array, JSON values one behind the other, CSV, Parquet; plain, gzip, zstd.
//!
//! A file is read as a stream, in memory bounded by [`Limits`] whatever the file says. Every byte that is a record's
//! comes out in one: what cannot be cut comes as a [`Record`] with a fault, to be put aside with
//! [`RecordCleaner::reject`](crate::RecordCleaner::reject), and reading goes on behind it if there is a behind (a line ends; an
//! array that is not one does not, so the rest of it is one record).
//!
//! ```
//! use pinlake_clean::record_reader::{Limits, Records};
//!
//! let file = bytes::Bytes::from_static(b"{\"ind\": 1}\n\n{\"ind\": 2}\r\n");
//! let mut records = Records::from_bytes("geo.ndjson", file, Limits::default())?;
//! let mut lines = Vec::new();
//! while let Some(record) = records.next()? {
//!     lines.push((record.position, String::from_utf8_lossy(record.bytes).into_owned()));
//! }
//! assert_eq!(lines, [(1, "{\"ind\": 1}".to_owned()), (3, "{\"ind\": 2}".to_owned())]);
//! # Ok::<(), pinlake_clean::record_reader::ReadError>(())
//! ```

mod compression;
mod delimited;
mod detect;
mod footer;
mod json_lines;
mod json_values;
mod put_back;
pub mod sandbox;
mod table;

use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use crate::reason::Reason;
use compression::{Bounded, Compression, Counted};
use sandbox::{HostError, Sandbox, SandboxedReader};

pub use detect::Format;

/// What reading a file may cost.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Bytes of one record. What is longer comes cut to this, with the fault `too_large`.
    pub max_record_bytes: usize,
    /// How many times its own size a compressed file may unpack to; beyond it is taken for a bomb.
    pub max_ratio: u64,
    /// Bytes that a compressed file may unpack to whatever its ratio.
    pub free_unpacked_bytes: u64,
    /// Bytes that a compressed file may unpack to in any case.
    pub max_unpacked_bytes: u64,
    /// How many times its own size a file may cost, as [`Records::cost`] counts it: texts of a dictionary, runs of a value
    /// and names of columns are stored once.
    pub max_cost_ratio: u64,
    /// What a file may cost whatever its ratio.
    pub free_cost: u64,
    /// Bytes of a Parquet file that cannot be read where it lies: compressed once more, or out of a pipe.
    pub max_spooled_bytes: usize,
}

impl Default for Limits {
    fn default() -> Limits {
        Limits {
            max_record_bytes: 16 << 20,
            max_ratio: 500,
            free_unpacked_bytes: 256 << 20,
            max_unpacked_bytes: u64::MAX,
            max_cost_ratio: 2000,
            free_cost: 256 << 20,
            max_spooled_bytes: 512 << 20,
        }
    }
}

/// Why a file cannot be read further. Records that came out before stand.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The file could not be read, or its compression is broken. Worth another try only if the storage failed.
    #[error("reading {name} failed at its record {records}: {source}; check that the file is whole")]
    Io {
        /// The file.
        name: String,
        /// How many records came out before; of lines that were read whole, all, the empty ones too.
        records: u64,
        /// What happened.
        source: std::io::Error,
    },
    /// Unpacks to more than [`Limits`] allow.
    #[error(
        "{name} unpacks to more than {limit} bytes, for its size too many: check it, and unpack it before you load it"
    )]
    SizeLimitExceeded {
        /// The file.
        name: String,
        /// The limit.
        limit: u64,
    },
    /// It asks for more than a file may: of memory, of processor time, of names.
    #[error("{name} is refused: {why}")]
    Refused {
        /// The file.
        name: String,
        /// What it asks for.
        why: String,
    },
    /// It was not read, and has no part in that.
    #[error("{name} was not read: {source}")]
    Host {
        /// The file.
        name: String,
        /// What happened.
        source: HostError,
    },
    /// Not a Parquet file that can be read.
    #[error("{name} is not a readable Parquet file: {source}")]
    Parquet {
        /// The file.
        name: String,
        /// What the reader says.
        source: parquet::errors::ParquetError,
    },
}

impl ReadError {
    /// Whether it is the file that cannot be read, and not this machine that cannot read.
    pub fn is_of_the_file(&self) -> bool {
        !matches!(self, Self::Host { .. })
    }
}

/// What a file is read with.
#[derive(Debug, Clone, Copy)]
pub struct Reader<'a> {
    limits: Limits,
    sandbox: Option<&'a Sandbox>,
}

/// Parquet is read in this process: for files that one wrote oneself, and for tests.
impl From<Limits> for Reader<'_> {
    fn from(limits: Limits) -> Self {
        Self { limits, sandbox: None }
    }
}

/// Parquet is read in a process of its own.
impl<'a> From<&'a Sandbox> for Reader<'a> {
    fn from(sandbox: &'a Sandbox) -> Self {
        Self { limits: sandbox.limits, sandbox: Some(sandbox) }
    }
}

/// What is wrong with a record that could not be cut.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    /// Which rule it broke.
    pub reason: Reason,
    /// What was found.
    pub detail: String,
}

/// One record of a file.
#[derive(Debug)]
pub struct Record<'a> {
    /// The record's bytes, without the line's end.
    pub bytes: &'a [u8],
    /// Its line, from 1 (also in a value that spans several); in Parquet its row, from 1.
    pub position: u64,
    /// Why it cannot be cleaned, when that is so.
    pub fault: Option<Fault>,
}

/// A record whose bytes were written to a buffer.
struct Cut {
    position: u64,
    fault: Option<Fault>,
}

impl Cut {
    fn record(self, bytes: &[u8]) -> Record<'_> {
        Record { bytes, position: self.position, fault: self.fault }
    }
}

/// Cuts one format.
trait FormatReader {
    /// The next record: its bytes are the cutter's own where they are in one piece there, else in `buffer`, which is empty
    /// before.
    fn cut<'a>(&'a mut self, buffer: &'a mut Vec<u8>) -> Result<Option<Record<'a>>, CutError>;

    /// Bytes that were written so far and are in no record.
    fn in_vain(&self) -> u64 {
        0
    }

    /// See [`Records::whole_lines`].
    fn whole_lines(&mut self, _room: &mut [u8], _enough: u64) -> Option<WholeLines> {
        None
    }
}

/// What can go wrong below: the file's name is added above.
enum CutError {
    Io(std::io::Error),
    Parquet(parquet::errors::ParquetError),
    Refused(String),
    Host(HostError),
}

impl From<std::io::Error> for CutError {
    fn from(error: std::io::Error) -> CutError {
        CutError::Io(error)
    }
}

impl From<parquet::errors::ParquetError> for CutError {
    fn from(error: parquet::errors::ParquetError) -> CutError {
        CutError::Parquet(error)
    }
}

/// A Parquet file, which is read from its end.
enum Parquet {
    Memory(Bytes),
    Disk(File),
}

type Input = Box<dyn BufRead + Send>;

/// The records of one file, one at a time.
pub struct Records {
    name: String,
    format: Format,
    cutter: Box<dyn FormatReader + Send>,
    buffer: Vec<u8>,
    read: u64,
    bytes: u64,
    /// Bytes of the file as it is stored, as far as it was read.
    stored: Arc<AtomicU64>,
    limits: Limits,
}

/// What a record costs besides its bytes: it has a key, a place and a row, be it ever so short.
const RECORD_COST: u64 = 64;

impl std::fmt::Debug for Records {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Records")
            .field("name", &self.name)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl Records {
    /// Reads a file in memory. The name tells the format where its bytes do not.
    pub fn from_bytes<'a>(
        name: &str,
        bytes: Bytes,
        reader: impl Into<Reader<'a>>,
    ) -> Result<Records, ReadError> {
        let reader = reader.into();
        if detect::is_parquet(&bytes) {
            let stored = bytes.len() as u64;
            return Records::parquet(name, Parquet::Memory(bytes), stored, reader);
        }
        Records::from_read(name, std::io::Cursor::new(bytes), reader)
    }

    /// Reads a file of the file system.
    pub fn from_file<'a>(
        name: &str,
        mut file: File,
        reader: impl Into<Reader<'a>>,
    ) -> Result<Records, ReadError> {
        let reader = reader.into();
        let mut head = [0; 4];
        let io = |source| ReadError::Io { name: name.to_owned(), records: 0, source };
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() {
            // A pipe has no place to go back to.
            return Records::from_read(name, file, reader);
        }
        let is_parquet = read_head(&mut file, &mut head)
            .and_then(|head| Ok((detect::is_parquet(head), file.rewind()?).0))
            .map_err(io)?;
        if is_parquet {
            return Records::parquet(name, Parquet::Disk(file), metadata.len(), reader);
        }
        Records::from_read(name, file, reader)
    }

    /// Reads a stream. Parquet, which is read from its end, is kept on this machine's disk first.
    pub fn from_read<'a>(
        name: &str,
        input: impl Read + Send + 'static,
        reader: impl Into<Reader<'a>>,
    ) -> Result<Records, ReadError> {
        let reader = reader.into();
        let limits = reader.limits;
        let io = |source| io_error(name, 0, source);
        let stored = Arc::new(AtomicU64::new(0));
        let input = Counted { inner: input, taken: Arc::clone(&stored) };
        let mut packed: Input = Box::new(BufReader::with_capacity(1 << 16, input));
        // A pipe may hand out its first bytes one by one.
        let mut head = Vec::new();
        read_ahead(&mut packed, &mut head, compression::MAGIC_BYTES).map_err(io)?;
        let compression = Compression::detect(name, &head);
        let packed = std::io::Cursor::new(head).chain(packed);
        let mut input: Input = match compression {
            None => Box::new(packed),
            Some(compression) => {
                let unpacked = Bounded::new(packed, compression, Arc::clone(&stored), &limits).map_err(io)?;
                Box::new(BufReader::with_capacity(1 << 16, unpacked))
            }
        };
        let inner_name = Compression::strip(name);
        let mut head = Vec::new();
        read_ahead(&mut input, &mut head, detect::HEAD_BYTES).map_err(io)?;
        let format = Format::detect(inner_name, &head);
        let mut input: Input = Box::new(std::io::Cursor::new(head).chain(input));
        if format == Format::Parquet {
            let mut whole = tempfile::tempfile().map_err(io)?;
            let most = limits.max_spooled_bytes as u64;
            let copied = std::io::copy(&mut (&mut input).take(most + 1), &mut whole).map_err(io)?;
            if copied > most {
                return Err(ReadError::SizeLimitExceeded { name: name.to_owned(), limit: most });
            }
            whole.flush().and_then(|()| whole.rewind()).map_err(io)?;
            let stored = stored.load(Ordering::Relaxed);
            return Records::parquet(name, Parquet::Disk(whole), stored, reader);
        }
        skip_byte_order_mark(&mut input).map_err(io)?;
        let cutter: Box<dyn FormatReader + Send> = match format {
            Format::JsonLines => Box::new(json_lines::JsonLines::new(input, limits)),
            Format::JsonArray | Format::JsonValues => Box::new(json_values::JsonValues::new(input, limits)),
            Format::Csv { delimiter } => {
                Box::new(delimited::Delimited::new(input, delimiter, limits).map_err(io)?)
            }
            // Handled above.
            Format::Parquet => Box::new(json_lines::JsonLines::new(input, limits)),
        };
        Ok(Records::new(name, format, cutter, stored, limits))
    }

    fn parquet(name: &str, file: Parquet, stored: u64, reader: Reader<'_>) -> Result<Records, ReadError> {
        let Reader { limits, sandbox } = reader;
        let broken = |source| ReadError::Parquet { name: name.to_owned(), source };
        let host = |source| ReadError::Host { name: name.to_owned(), source };
        let cutter: Box<dyn FormatReader + Send> = match (sandbox, file) {
            (None, Parquet::Memory(bytes)) => Box::new(table::Table::new(bytes, limits).map_err(broken)?),
            (None, Parquet::Disk(file)) => Box::new(table::Table::new(file, limits).map_err(broken)?),
            (Some(sandbox), Parquet::Memory(bytes)) => {
                Box::new(SandboxedReader::open_bytes(&bytes, sandbox).map_err(host)?)
            }
            (Some(sandbox), Parquet::Disk(file)) => {
                Box::new(SandboxedReader::open(file, sandbox).map_err(host)?)
            }
        };
        Ok(Records::new(name, Format::Parquet, cutter, Arc::new(stored.into()), limits))
    }

    fn new(
        name: &str,
        format: Format,
        cutter: Box<dyn FormatReader + Send>,
        stored: Arc<AtomicU64>,
        limits: Limits,
    ) -> Records {
        let (name, buffer) = (name.to_owned(), Vec::new());
        Records { name, format, cutter, buffer, read: 0, bytes: 0, stored, limits }
    }

    /// The format that the file was found to have.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Bytes of the records so far, after decompression.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// What the file has cost so far, in bytes: its records, each with what it takes besides, and what was written in
    /// vain.
    pub fn cost(&self) -> u64 {
        self.bytes + self.read * RECORD_COST + self.cutter.in_vain()
    }

    /// Bytes of the records so far, and those that were written for records that turned out too long.
    pub fn produced(&self) -> u64 {
        self.bytes + self.cutter.in_vain()
    }

    /// The next record; none at the end of the file. After an error there is nothing more to read.
    #[expect(clippy::should_implement_trait, reason = "the record is lent, which an Iterator cannot do")]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        self.buffer.clear();
        if let Some(limit) = self.passed_limit() {
            return Err(ReadError::SizeLimitExceeded { name: self.name.clone(), limit });
        }
        match self.cutter.cut(&mut self.buffer) {
            Ok(None) => Ok(None),
            Ok(Some(record)) => {
                self.read += 1;
                self.bytes += record.bytes.len() as u64;
                Ok(Some(record))
            }
            Err(CutError::Io(source)) => Err(io_error(&self.name, self.read, source)),
            Err(CutError::Parquet(source)) => Err(ReadError::Parquet { name: self.name.clone(), source }),
            Err(CutError::Refused(why)) => Err(ReadError::Refused { name: self.name.clone(), why }),
            Err(CutError::Host(source)) => Err(ReadError::Host { name: self.name.clone(), source }),
        }
    }

    /// The limit that the file has gone beyond by what it brought, if it has.
    fn passed_limit(&self) -> Option<u64> {
        let by_ratio = self.stored.load(Ordering::Relaxed).saturating_mul(self.limits.max_cost_ratio);
        let limit = by_ratio.max(self.limits.free_cost);
        (self.cost() > limit).then_some(limit)
    }

    /// Fills `room` with the next lines of NDJSON, as many whole ones as it holds, and hardly more than are `enough`:
    /// [`WholeLines::records`] cuts them, on whatever thread. None when there is no such line: [`next`](Self::next) has what
    /// comes instead, which is the last line, one that is longer, an error, the end, or a record of another format.
    pub fn whole_lines(&mut self, room: &mut [u8], enough: u64) -> Option<WholeLines> {
        if self.passed_limit().is_some() {
            return None;
        }
        let lines = self.cutter.whole_lines(room, enough)?;
        self.read += lines.count;
        self.bytes += lines.bytes as u64;
        Some(lines)
    }
}

/// Lines of NDJSON in one piece, with their ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct WholeLines {
    /// How long the piece is.
    pub bytes: usize,
    /// The number of the first line, from 1.
    pub first: u64,
    /// How many there are.
    pub count: u64,
}

impl WholeLines {
    /// The records of the piece, which `room` begins with.
    pub fn records(self, room: &[u8]) -> impl Iterator<Item = Record<'_>> {
        json_lines::records(&room[..self.bytes], self.first)
    }
}

fn io_error(name: &str, records: u64, source: std::io::Error) -> ReadError {
    match compression::bomb_limit(&source) {
        Some(limit) => ReadError::SizeLimitExceeded { name: name.to_owned(), limit },
        None => ReadError::Io { name: name.to_owned(), records, source },
    }
}

fn read_head<'a>(file: &mut File, head: &'a mut [u8; 4]) -> std::io::Result<&'a [u8]> {
    let mut filled = 0;
    while filled < head.len() {
        match file.read(&mut head[filled..])? {
            0 => break,
            count => filled += count,
        }
    }
    Ok(&head[..filled])
}

/// Takes up to `most` bytes off the input.
fn read_ahead(input: &mut Input, head: &mut Vec<u8>, most: usize) -> std::io::Result<()> {
    input.take(most as u64).read_to_end(head).map(|_| ())
}

fn skip_byte_order_mark(input: &mut Input) -> std::io::Result<()> {
    // The head that was looked at is the first piece, so the mark is never cut in two.
    if input.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        input.consume(3);
    }
    Ok(())
}

/// The fault of a record that is cut off at the limit.
fn too_large(limits: &Limits, left_out: u64) -> Fault {
    Fault {
        reason: Reason::TooLarge,
        detail: format!(
            "longer than {} bytes; {left_out} bytes of it are left out here, and are in the file",
            limits.max_record_bytes
        ),
    }
}

#[cfg(test)]
mod tests;
