//! Splits files into records: NDJSON, a JSON array, concatenated JSON values, CSV or Parquet, each plain or compressed with gzip, zstd,
//! bzip2 or xz, or as the only file of a zip archive.
//!
//! A file is read as a stream, in memory that [`ReadLimits`] bound whatever the file contains. No byte of a record is lost: what cannot be
//! split into records is returned as a [`Record`] with an error, for [`RecordCleaner::reject`](crate::RecordCleaner::reject). Reading
//! continues after a broken record if its end is known, as for a line. In a broken JSON array the end is unknown: the rest of the array is
//! one record.
//!
//! ```
//! use pinlake_clean::record_reader::{ReadLimits, RecordReader};
//!
//! let file = bytes::Bytes::from_static(b"{\"ind\": 1}\n\n{\"ind\": 2}\r\n");
//! let mut reader = RecordReader::from_bytes("geo.ndjson", file, ReadLimits::default())?;
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
mod file_contract;
mod footer;
mod format_reader;
mod json_lines;
mod json_records;
mod json_values;
mod limits;
mod put_back;
mod record;
mod row_writer;
pub mod sandbox;
mod table;
mod transcode;
mod zip_file;

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Error, Read, Seek, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use encoding_rs::{Encoding, UTF_16BE, UTF_16LE};
use serde::de::IgnoredAny;

use compression::{BoundedDecoder, Compression, CountingReader};
use delimited::{Delimited, Dialect};
use detect::Utf16;
use error::FormatError;
use format_reader::{FormatReader, Input};
use sandbox::{Sandbox, SandboxedReader};

pub use detect::Format;
pub use error::{ReadError, SandboxError};
pub use file_contract::FileContract;
pub use limits::ReadLimits;
pub use record::{Record, WholeLines};

/// How a file is read.
#[derive(Debug, Clone)]
pub struct ReadOptions<'a> {
    limits: ReadLimits,
    sandbox: Option<&'a Sandbox>,
    contract: Option<FileContract>,
}

impl ReadOptions<'_> {
    /// Reads the file as the contract says, and refuses it if it has no field of the contract.
    pub fn with_contract(self, contract: FileContract) -> Self {
        Self { contract: Some(contract), ..self }
    }
}

/// Reads Parquet in this process: for files from a trusted source, and for tests.
impl From<ReadLimits> for ReadOptions<'_> {
    fn from(limits: ReadLimits) -> Self {
        Self { limits, sandbox: None, contract: None }
    }
}

/// Reads Parquet in a separate process.
impl<'a> From<&'a Sandbox> for ReadOptions<'a> {
    fn from(sandbox: &'a Sandbox) -> Self {
        Self { limits: sandbox.limits, sandbox: Some(sandbox), contract: None }
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
    has_records: bool,
    bytes: u64,
    /// Bytes of the stored file that have been read.
    stored: Arc<AtomicU64>,
    /// Zeros behind the compressed data.
    padding: Arc<AtomicU64>,
    contract: Option<FileContract>,
    /// The last record with the fields of its folders.
    joined: Vec<u8>,
    limits: ReadLimits,
}

/// The byte order mark of UTF-8.
const BYTE_ORDER_MARK: &[u8] = b"\xef\xbb\xbf";

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

    /// Reads a stream. A Parquet file, which is read from its end, is first copied to a temporary file; so is a zip archive.
    pub fn from_read<'a>(
        name: &str,
        input: impl Read + Send + 'static,
        options: impl Into<ReadOptions<'a>>,
    ) -> Result<RecordReader, ReadError> {
        let mut options = options.into();
        let limits = options.limits;
        let io = |source| io_error(name, 0, source);
        let content = |why| ReadError::Content { name: name.to_owned(), why };
        let stored = Arc::new(AtomicU64::new(0));
        let padding = Arc::new(AtomicU64::new(0));
        let input = CountingReader { inner: input, taken: Arc::clone(&stored) };
        let compressed: Input = Box::new(BufReader::with_capacity(1 << 16, input));
        // A pipe may return its first bytes one by one.
        let (head, compressed) = read_ahead(compressed, compression::MAGIC_BYTES);
        let mut inner_name = Compression::strip_suffix(name).to_owned();
        let input: Input = match Compression::detect(name, &head) {
            None if zip_file::is_zip(&head) => {
                let archive = spool(name, compressed, &limits)?;
                let (member, bytes) = zip_file::open(archive).map_err(|error| content(error.to_string()))?;
                inner_name = member;
                let decoder = BoundedDecoder::around(Box::new(bytes), Arc::clone(&stored), &limits);
                Box::new(BufReader::with_capacity(1 << 16, decoder))
            }
            None => compressed,
            Some(compression) => {
                let taken = Arc::clone(&stored);
                let decoder =
                    BoundedDecoder::new(compressed, compression, taken, Arc::clone(&padding), &limits);
                Box::new(BufReader::with_capacity(1 << 16, decoder.map_err(io)?))
            }
        };
        let (mut head, mut input) = read_head_of_text(input);
        let declared = options.contract.as_ref().and_then(|contract| contract.format.encoding);
        let mut encoding = declared.and_then(|name| Encoding::for_label(name.as_bytes()));
        let declared_utf16 = encoding.filter(|encoding| [UTF_16BE, UTF_16LE].contains(encoding));
        let utf16 = match detect::detect_utf16(&head) {
            Some(Utf16::Marked(marked)) => Some(marked),
            _ if declared_utf16.is_some() => declared_utf16,
            Some(Utf16::Likely) => {
                let place = FileContract::place(options.contract.as_ref());
                return Err(content(format!(
                    "it is UTF-16 without a byte order mark: write encoding = \"utf-16le\" or \"utf-16be\" {place}"
                )));
            }
            None => None,
        };
        if let (None, Some(declared)) = (detect::detect_utf16(&head), declared_utf16)
            && detect::is_utf8_text(&head)
        {
            let place = FileContract::place(options.contract.as_ref());
            return Err(content(format!(
                "it is UTF-8, and the contract says {}: change encoding {place}",
                declared.name()
            )));
        }
        if head.starts_with(BYTE_ORDER_MARK) && declared_utf16.is_none() {
            encoding = None;
        }
        if let Some(utf16) = utf16 {
            encoding = None;
            let decoded: Input =
                Box::new(BufReader::with_capacity(1 << 16, transcode::Transcoder::new(input, utf16)));
            (head, input) = read_head_of_text(decoded);
        }
        if let Some(what) = detect::identify_other(&inner_name, &head) {
            return Err(content(format!("it is {what}")));
        }
        let comment = options.contract.as_ref().and_then(|contract| contract.format.comment.as_deref());
        let begun = detect::skip_comments(&head, comment);
        let mut format = Format::detect(&inner_name, begun);
        // NDJSON called CSV whose first line is damaged: no line of a table is an object, because its quotes are doubled there.
        if matches!(format, Format::Csv { .. })
            && let Some(contract) = &options.contract
            && !detect::cells_of_first_line(begun).any(|name| contract.has_field(&name))
            && detect::has_object_line(begun)
        {
            format = Format::JsonLines;
        }
        if format == Format::Parquet {
            let whole = spool(name, input, &limits)?;
            let stored = stored.load(Ordering::Relaxed);
            return RecordReader::from_parquet(name, Parquet::Disk(whole), stored, options);
        }
        // Programs that take the mark for text write a second one.
        for _ in 0..head.chunks(BYTE_ORDER_MARK.len()).take_while(|part| *part == BYTE_ORDER_MARK).count() {
            // The head is the first chunk, so no mark is split.
            input.fill_buf().map_err(io)?;
            input.consume(BYTE_ORDER_MARK.len());
        }
        if let (Some(encoding), false) = (encoding, matches!(format, Format::Csv { .. })) {
            input = Box::new(BufReader::with_capacity(1 << 16, transcode::Transcoder::new(input, encoding)));
        }
        let records = options.contract.as_ref().and_then(|contract| contract.format.records.clone());
        let is_json = match format {
            // The contract says that it is a document, so a damaged one does not become a table.
            Format::Csv { .. } => !Format::is_called_table(&inner_name),
            Format::JsonLines | Format::JsonArray | Format::JsonValues => true,
            Format::Parquet => false,
        };
        let format_reader: Box<dyn FormatReader + Send> = match (format, records) {
            (_, Some(path)) if is_json => Box::new(json_records::JsonRecords::new(input, limits, path)),
            (Format::JsonLines, _) => {
                Box::new(json_lines::JsonLines::new(input, limits, !Format::is_called_lines(&inner_name)))
            }
            (Format::JsonArray | Format::JsonValues, _) => {
                Box::new(json_values::JsonValues::new(input, limits))
            }
            (Format::Csv { delimiter }, _) => {
                let dialect = Dialect::new(delimiter, options.contract.as_ref(), encoding);
                Box::new(Delimited::new(input, dialect, options.contract.clone(), limits))
            }
            // Handled above.
            (Format::Parquet, _) => Box::new(json_lines::JsonLines::new(input, limits, false)),
        };
        let contract = options.contract.take();
        Ok(RecordReader::new(name, format, format_reader, stored, padding, contract, limits))
    }

    fn from_parquet(
        name: &str,
        file: Parquet,
        stored: u64,
        options: ReadOptions<'_>,
    ) -> Result<RecordReader, ReadError> {
        let ReadOptions { limits, sandbox, contract } = options;
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
        let (stored, padding) = (Arc::new(stored.into()), Arc::default());
        Ok(RecordReader::new(name, Format::Parquet, format_reader, stored, padding, contract, limits))
    }

    fn new(
        name: &str,
        format: Format,
        format_reader: Box<dyn FormatReader + Send>,
        stored: Arc<AtomicU64>,
        padding: Arc<AtomicU64>,
        contract: Option<FileContract>,
        limits: ReadLimits,
    ) -> RecordReader {
        let (name, buffer, joined) = (name.to_owned(), Vec::new(), Vec::new());
        let (records, has_records, bytes) = (0, false, 0);
        RecordReader {
            name,
            format,
            format_reader,
            buffer,
            records,
            has_records,
            bytes,
            stored,
            padding,
            contract,
            joined,
            limits,
        }
    }

    /// The detected format of the file.
    pub fn format(&self) -> Format {
        self.format
    }

    /// Total length of the records so far.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// The number of records so far; of lines that were read many at once, empty ones are included.
    pub fn records(&self) -> u64 {
        self.records
    }

    /// Whether there was a record so far: not only empty lines.
    pub fn has_records(&self) -> bool {
        self.has_records
    }

    /// The number of zeros behind the compressed data, which were ignored. Known at the end of the file.
    pub fn padding_bytes(&self) -> u64 {
        self.padding.load(Ordering::Relaxed)
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
                self.has_records = true;
                self.bytes += record.bytes.len() as u64;
                let Some(contract) = &self.contract else { return Ok(Some(record)) };
                if self.format == Format::Parquet
                    && self.records == 1
                    && record.error.is_none()
                    && let Some(why) = find_no_field(contract, record.bytes)
                {
                    return Err(ReadError::Content { name: self.name.clone(), why });
                }
                match record.bytes.split_first() {
                    Some((b'{', rest)) if record.error.is_none() && !contract.folder_members.is_empty() => {
                        // Of two fields of one name the last counts: a field of the record hides the folder.
                        self.joined.clear();
                        self.joined.push(b'{');
                        self.joined.extend_from_slice(&contract.folder_members);
                        if !rest.trim_ascii_start().starts_with(b"}") {
                            self.joined.push(b',');
                        }
                        self.joined.extend_from_slice(rest);
                        Ok(Some(Record { bytes: &self.joined, ..record }))
                    }
                    _ => Ok(Some(record)),
                }
            }
            Err(FormatError::Io(source)) => Err(io_error(&self.name, self.records, source)),
            Err(FormatError::Parquet(source)) => Err(ReadError::Parquet { name: self.name.clone(), source }),
            Err(FormatError::Refused(why)) => Err(ReadError::Refused { name: self.name.clone(), why }),
            Err(FormatError::Content(why)) => Err(ReadError::Content { name: self.name.clone(), why }),
            Err(FormatError::Sandbox(source)) => Err(ReadError::Sandbox { name: self.name.clone(), source }),
        }
    }

    /// Whether the records get fields from the names of folders.
    fn adds_folders(&self) -> bool {
        self.contract.as_ref().is_some_and(|contract| !contract.folder_members.is_empty())
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
        if self.exceeded_limit().is_some() || self.adds_folders() {
            return None;
        }
        let lines = self.format_reader.read_lines(buffer, enough)?;
        self.records += lines.count;
        self.has_records = self.has_records || !buffer[..lines.bytes].trim_ascii().is_empty();
        self.bytes += lines.bytes as u64;
        Some(lines)
    }
}

fn io_error(name: &str, records: u64, source: std::io::Error) -> ReadError {
    if let Some(why) = compression::refused(&source) {
        return ReadError::Refused { name: name.to_owned(), why: why.to_owned() };
    }
    match compression::exceeded_limit(&source) {
        Some(limit) => ReadError::SizeLimitExceeded { name: name.to_owned(), limit },
        None => {
            // What `read_exact` says.
            let is_short = source.kind() == std::io::ErrorKind::UnexpectedEof && source.get_ref().is_none();
            let source =
                if is_short { std::io::Error::new(source.kind(), "the data ends early") } else { source };
            ReadError::Io { name: name.to_owned(), records, source }
        }
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

/// Reads up to `limit` bytes of the input. Returns them, and the input with them. An error is returned where it belongs, behind the bytes
/// that were read before it.
fn read_ahead(mut input: Input, limit: usize) -> (Vec<u8>, Input) {
    let mut head = Vec::new();
    let failed = (&mut input).take(limit as u64).read_to_end(&mut head).err();
    let begun = Cursor::new(head.clone());
    match failed {
        None => (head, Box::new(begun.chain(input))),
        Some(error) => (head, Box::new(begun.chain(BufReader::with_capacity(1, Failed(Some(error)))))),
    }
}

/// Reads the beginning of the input: more of it if it is blank.
fn read_head_of_text(mut input: Input) -> (Vec<u8>, Input) {
    const MAX_BYTES: usize = detect::HEAD_BYTES << 6;
    let mut limit = detect::HEAD_BYTES;
    loop {
        let (head, whole) = read_ahead(input, limit);
        if head.len() < limit || limit >= MAX_BYTES || !head.trim_ascii().is_empty() {
            return (head, whole);
        }
        input = whole;
        limit *= 8;
    }
}

/// An input that failed.
struct Failed(Option<Error>);

impl Read for Failed {
    fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
        self.0.take().map_or(Ok(0), Err)
    }
}

/// Copies an input to a temporary file.
fn spool(name: &str, mut input: Input, limits: &ReadLimits) -> Result<File, ReadError> {
    let io = |source| io_error(name, 0, source);
    let mut whole = tempfile::tempfile().map_err(io)?;
    let limit = limits.max_spooled_bytes as u64;
    let copied = std::io::copy(&mut (&mut input).take(limit + 1), &mut whole).map_err(io)?;
    if copied > limit {
        return Err(ReadError::SizeLimitExceeded { name: name.to_owned(), limit });
    }
    whole.flush().and_then(|()| whole.rewind()).map_err(io)?;
    Ok(whole)
}

/// Says that a row of a Parquet file, which has all its columns, has no field of the contract. `None` if it has one.
fn find_no_field(contract: &FileContract, row: &[u8]) -> Option<String> {
    let members: BTreeMap<String, IgnoredAny> = serde_json::from_slice(row).ok()?;
    let names: Vec<String> =
        members.into_keys().filter(|name| name != crate::field_table::TYPES_FIELD).collect();
    let has_field = names.iter().any(|name| contract.has_field(name));
    (!has_field).then(|| contract.no_field(&names, "its schema"))
}

#[cfg(test)]
mod tests;
