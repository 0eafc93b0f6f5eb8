//! Splits files into records: NDJSON, a JSON array, concatenated JSON values, CSV or Parquet, each plain or compressed with gzip or zstd.
//!
//! A file is read as a stream, in memory that [`Limits`] bound whatever the file contains. No byte of a record is lost: what cannot be
//! split into records is returned as a [`Record`] with an error, for [`RecordCleaner::reject`](crate::RecordCleaner::reject). Reading
//! continues after a broken record if its end is known, as for a line. In a broken JSON array the end is unknown: the rest of the array is
//! one record.
//!
//! ```
//! use pinlake_clean::record_reader::{Limits, RecordReader};
//!
//! let file = bytes::Bytes::from_static(b"{\"ind\": 1}\n\n{\"ind\": 2}\r\n");
//! let mut reader = RecordReader::from_bytes("geo.ndjson", file, Limits::default())?;
//! let mut lines = Vec::new();
//! while let Some(record) = reader.next()? {
//!     lines.push((record.position, String::from_utf8_lossy(record.bytes).into_owned()));
//! }
//! assert_eq!(lines, [(1, "{\"ind\": 1}".to_owned()), (3, "{\"ind\": 2}".to_owned())]);
//! # Ok::<(), pinlake_clean::record_reader::ReadError>(())
//! ```

mod compression;
mod delimited;
mod detect;
mod error;
mod footer;
mod format_reader;
mod json_lines;
mod json_values;
mod limits;
mod put_back;
mod record;
pub mod sandbox;
mod table;

use std::fs::File;
use std::io::{BufReader, Read, Seek, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;

use compression::{BoundedDecoder, Compression, CountingReader};
use error::FormatError;
use format_reader::{FormatReader, Input};
use sandbox::{Sandbox, SandboxedReader};

pub use detect::Format;
pub use error::{ReadError, SandboxError};
pub use limits::Limits;
pub use record::{Record, WholeLines};

/// How a file is read.
#[derive(Debug, Clone, Copy)]
pub struct ReadOptions<'a> {
    limits: Limits,
    sandbox: Option<&'a Sandbox>,
}

/// Reads Parquet in this process: for files from a trusted source, and for tests.
impl From<Limits> for ReadOptions<'_> {
    fn from(limits: Limits) -> Self {
        Self { limits, sandbox: None }
    }
}

/// Reads Parquet in a separate process.
impl<'a> From<&'a Sandbox> for ReadOptions<'a> {
    fn from(sandbox: &'a Sandbox) -> Self {
        Self { limits: sandbox.limits, sandbox: Some(sandbox) }
    }
}

/// A Parquet file, which is read from its end.
enum Parquet {
    Memory(Bytes),
    Disk(File),
}

/// Reads the records of one file, one at a time.
pub struct RecordReader {
    name: String,
    format: Format,
    format_reader: Box<dyn FormatReader + Send>,
    buffer: Vec<u8>,
    records: u64,
    bytes: u64,
    /// Bytes of the stored file that have been read.
    stored: Arc<AtomicU64>,
    limits: Limits,
}

/// The cost of a record in addition to its bytes: it has a key, a position and a row, however short it is.
const RECORD_COST: u64 = 64;

impl std::fmt::Debug for RecordReader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RecordReader")
            .field("name", &self.name)
            .field("format", &self.format)
            .finish_non_exhaustive()
    }
}

impl RecordReader {
    /// Reads a file in memory. Its name determines the format if its bytes do not.
    pub fn from_bytes<'a>(
        name: &str,
        bytes: Bytes,
        options: impl Into<ReadOptions<'a>>,
    ) -> Result<RecordReader, ReadError> {
        let options = options.into();
        if detect::is_parquet(&bytes) {
            let stored = bytes.len() as u64;
            return RecordReader::from_parquet(name, Parquet::Memory(bytes), stored, options);
        }
        RecordReader::from_read(name, std::io::Cursor::new(bytes), options)
    }

    /// Reads a file of the file system.
    pub fn from_file<'a>(
        name: &str,
        mut file: File,
        options: impl Into<ReadOptions<'a>>,
    ) -> Result<RecordReader, ReadError> {
        let options = options.into();
        let mut head = [0; 4];
        let io = |source| ReadError::Io { name: name.to_owned(), records: 0, source };
        let metadata = file.metadata().map_err(io)?;
        if !metadata.is_file() {
            // A pipe cannot be rewound.
            return RecordReader::from_read(name, file, options);
        }
        let is_parquet = read_head(&mut file, &mut head)
            .and_then(|head| Ok((detect::is_parquet(head), file.rewind()?).0))
            .map_err(io)?;
        if is_parquet {
            return RecordReader::from_parquet(name, Parquet::Disk(file), metadata.len(), options);
        }
        RecordReader::from_read(name, file, options)
    }

    /// Reads a stream. A Parquet file, which is read from its end, is first copied to a temporary file.
    pub fn from_read<'a>(
        name: &str,
        input: impl Read + Send + 'static,
        options: impl Into<ReadOptions<'a>>,
    ) -> Result<RecordReader, ReadError> {
        let options = options.into();
        let limits = options.limits;
        let io = |source| io_error(name, 0, source);
        let stored = Arc::new(AtomicU64::new(0));
        let input = CountingReader { inner: input, taken: Arc::clone(&stored) };
        let mut compressed: Input = Box::new(BufReader::with_capacity(1 << 16, input));
        // A pipe may return its first bytes one by one.
        let mut head = Vec::new();
        read_ahead(&mut compressed, &mut head, compression::MAGIC_BYTES).map_err(io)?;
        let compression = Compression::detect(name, &head);
        let compressed = std::io::Cursor::new(head).chain(compressed);
        let mut input: Input = match compression {
            None => Box::new(compressed),
            Some(compression) => {
                let decoder =
                    BoundedDecoder::new(compressed, compression, Arc::clone(&stored), &limits).map_err(io)?;
                Box::new(BufReader::with_capacity(1 << 16, decoder))
            }
        };
        let inner_name = Compression::strip_suffix(name);
        let mut head = Vec::new();
        read_ahead(&mut input, &mut head, detect::HEAD_BYTES).map_err(io)?;
        let format = Format::detect(inner_name, &head);
        let mut input: Input = Box::new(std::io::Cursor::new(head).chain(input));
        if format == Format::Parquet {
            let mut whole = tempfile::tempfile().map_err(io)?;
            let limit = limits.max_spooled_bytes as u64;
            let copied = std::io::copy(&mut (&mut input).take(limit + 1), &mut whole).map_err(io)?;
            if copied > limit {
                return Err(ReadError::SizeLimitExceeded { name: name.to_owned(), limit });
            }
            whole.flush().and_then(|()| whole.rewind()).map_err(io)?;
            let stored = stored.load(Ordering::Relaxed);
            return RecordReader::from_parquet(name, Parquet::Disk(whole), stored, options);
        }
        skip_byte_order_mark(&mut input).map_err(io)?;
        let format_reader: Box<dyn FormatReader + Send> = match format {
            Format::JsonLines => Box::new(json_lines::JsonLines::new(input, limits)),
            Format::JsonArray | Format::JsonValues => Box::new(json_values::JsonValues::new(input, limits)),
            Format::Csv { delimiter } => {
                Box::new(delimited::Delimited::new(input, delimiter, limits).map_err(io)?)
            }
            // Handled above.
            Format::Parquet => Box::new(json_lines::JsonLines::new(input, limits)),
        };
        Ok(RecordReader::new(name, format, format_reader, stored, limits))
    }

    fn from_parquet(
        name: &str,
        file: Parquet,
        stored: u64,
        options: ReadOptions<'_>,
    ) -> Result<RecordReader, ReadError> {
        let ReadOptions { limits, sandbox } = options;
        let broken = |source| ReadError::Parquet { name: name.to_owned(), source };
        let sandbox_error = |source| ReadError::Sandbox { name: name.to_owned(), source };
        let format_reader: Box<dyn FormatReader + Send> = match (sandbox, file) {
            (None, Parquet::Memory(bytes)) => Box::new(table::Table::new(bytes, limits).map_err(broken)?),
            (None, Parquet::Disk(file)) => Box::new(table::Table::new(file, limits).map_err(broken)?),
            (Some(sandbox), Parquet::Memory(bytes)) => {
                Box::new(SandboxedReader::open_bytes(&bytes, sandbox).map_err(sandbox_error)?)
            }
            (Some(sandbox), Parquet::Disk(file)) => {
                Box::new(SandboxedReader::open(file, sandbox).map_err(sandbox_error)?)
            }
        };
        Ok(RecordReader::new(name, Format::Parquet, format_reader, Arc::new(stored.into()), limits))
    }

    fn new(
        name: &str,
        format: Format,
        format_reader: Box<dyn FormatReader + Send>,
        stored: Arc<AtomicU64>,
        limits: Limits,
    ) -> RecordReader {
        let (name, buffer) = (name.to_owned(), Vec::new());
        RecordReader { name, format, format_reader, buffer, records: 0, bytes: 0, stored, limits }
    }

    /// The detected format of the file.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Total length of the records so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The cost of the file so far, in bytes: its records, 64 bytes for each, and discarded bytes.
    pub fn cost(&self) -> u64 {
        self.bytes + self.records * RECORD_COST + self.format_reader.discarded_bytes()
    }

    /// Total length of the records so far, and of rows that were discarded because their JSON was too long.
    pub fn produced(&self) -> u64 {
        self.bytes + self.format_reader.discarded_bytes()
    }

    /// Reads the next record; `None` at the end of the file. After an error the reader is exhausted.
    #[expect(
        clippy::should_implement_trait,
        reason = "the record borrows from the reader, which Iterator does not allow"
    )]
    pub fn next(&mut self) -> Result<Option<Record<'_>>, ReadError> {
        self.buffer.clear();
        if let Some(limit) = self.exceeded_limit() {
            return Err(ReadError::SizeLimitExceeded { name: self.name.clone(), limit });
        }
        match self.format_reader.read_record(&mut self.buffer) {
            Ok(None) => Ok(None),
            Ok(Some(record)) => {
                self.records += 1;
                self.bytes += record.bytes.len() as u64;
                Ok(Some(record))
            }
            Err(FormatError::Io(source)) => Err(io_error(&self.name, self.records, source)),
            Err(FormatError::Parquet(source)) => Err(ReadError::Parquet { name: self.name.clone(), source }),
            Err(FormatError::Refused(why)) => Err(ReadError::Refused { name: self.name.clone(), why }),
            Err(FormatError::Sandbox(source)) => Err(ReadError::Sandbox { name: self.name.clone(), source }),
        }
    }

    /// The limit of the cost, if the file has exceeded it.
    fn exceeded_limit(&self) -> Option<u64> {
        let by_ratio = self.stored.load(Ordering::Relaxed).saturating_mul(self.limits.max_cost_ratio);
        let limit = by_ratio.max(self.limits.free_cost);
        (self.cost() > limit).then_some(limit)
    }

    /// Fills `buffer` with the next lines of NDJSON: as many whole lines as fit, but not many more than `enough`.
    /// [`WholeLines::records`] splits them, on any thread.
    ///
    /// Returns `None` if no whole line can be returned. Then call [`next`](Self::next), which returns the last line, a longer line, an error,
    /// the end, or a record of another format.
    pub fn read_lines(&mut self, buffer: &mut [u8], enough: u64) -> Option<WholeLines> {
        if self.exceeded_limit().is_some() {
            return None;
        }
        let lines = self.format_reader.read_lines(buffer, enough)?;
        self.records += lines.count;
        self.bytes += lines.bytes as u64;
        Some(lines)
    }
}

fn io_error(name: &str, records: u64, source: std::io::Error) -> ReadError {
    match compression::exceeded_limit(&source) {
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

/// Reads up to `limit` bytes of the input.
fn read_ahead(input: &mut Input, head: &mut Vec<u8>, limit: usize) -> std::io::Result<()> {
    input.take(limit as u64).read_to_end(head).map(|_| ())
}

fn skip_byte_order_mark(input: &mut Input) -> std::io::Result<()> {
    // The detected head is the first chunk, so the mark is never split.
    if input.fill_buf()?.starts_with(b"\xef\xbb\xbf") {
        input.consume(3);
    }
    Ok(())
}

#[cfg(test)]
mod tests;
