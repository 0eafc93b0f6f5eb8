//! CSV with a header. A row becomes the record `{"column":"cell",...}`: an empty cell is null, and columns without a name, such as the row
//! numbers of a pandas export, are left out.
//!
//! The text of a cell is the text in the file. A quote begins a quoted cell only at the beginning of a cell, and ends it only before a
//! delimiter or the end of a line. Otherwise the row is malformed: its first line is the record, and reading continues on the next line,
//! so that an open quote never takes the rows behind it along.

use std::io::{Read, Write};

use encoding_rs::Encoding;

use super::error::FormatError;
use super::file_contract::FileContract;
use super::format_reader::{FormatReader, Input};
use super::limits::ReadLimits;
use super::record::{BufferedRecord, Record, too_large_error};
use crate::parsed_record::MAX_RECORD_BYTES;
use crate::reason::{Reason, RecordError, excerpt};

/// The bytes that JSON adds to the name of an empty cell: quotes, a colon, `null`, a comma.
const EMPTY_CELL_BYTES: usize = 8;
/// The fewest bytes that are read at a time.
const READ_BYTES: usize = 64 << 10;
/// The bytes that may stand between two cells, for a hint.
const DELIMITERS: [(u8, &str); 5] = [(b';', ";"), (b'\t', "\\t"), (b'|', "|"), (b',', ","), (b':', ":")];
/// What escapes make of a byte, at most: `\u0000`.
const ESCAPE_BYTES: usize = 6;

/// How a file is written.
#[derive(Debug, Clone)]
pub(super) struct Dialect {
    pub(super) delimiter: u8,
    quote: Option<u8>,
    escape: Option<u8>,
    comment: Option<String>,
    keeps_repeated_headers: bool,
    /// `None` for UTF-8. One in which the bytes of ASCII are those characters.
    encoding: Option<&'static Encoding>,
    /// What ends a line.
    line_end: u8,
}

impl Dialect {
    pub(super) fn new(
        delimiter: u8,
        contract: Option<&FileContract>,
        encoding: Option<&'static Encoding>,
    ) -> Self {
        let format = contract.map(|contract| contract.format.clone()).unwrap_or_default();
        Dialect {
            delimiter: format.delimiter.unwrap_or(delimiter),
            quote: format.quote.unwrap_or(Some(b'"')),
            escape: format.escape,
            comment: format.comment,
            keeps_repeated_headers: format.keeps_repeated_headers,
            encoding,
            line_end: b'\n',
        }
    }

    /// Splits the first row of `data` into cells. `is_all`: nothing follows `data`.
    fn split(&self, data: &[u8], is_all: bool, cells: &mut Vec<Cell>) -> Split {
        cells.clear();
        let mut start = 0;
        loop {
            let end = if self.quote.is_some() && data.get(start) == self.quote.as_ref() {
                self.find_quoted_end(data, start, is_all, cells)
            } else {
                self.find_plain_end(data, start, is_all, cells)
            };
            match end {
                CellEnd::Delimiter { next } => start = next,
                CellEnd::Line { end, next } => return Split::Row { end, next },
                CellEnd::Unknown => return Split::Unknown,
                CellEnd::Malformed(problem) => return Split::Malformed(problem),
            }
        }
    }

    fn find_plain_end(&self, data: &[u8], start: usize, is_all: bool, cells: &mut Vec<Cell>) -> CellEnd {
        let (mut at, mut is_escaped) = (start, false);
        loop {
            let rest = &data[at..];
            let found = match self.escape {
                None => memchr::memchr2(self.delimiter, self.line_end, rest),
                Some(escape) => memchr::memchr3(self.delimiter, self.line_end, escape, rest),
            };
            let Some(found) = found else {
                if !is_all {
                    return CellEnd::Unknown;
                }
                let end = self.strip_carriage_return(data, start, data.len());
                cells.push(Cell { start, end, is_escaped, is_quoted: false });
                return CellEnd::Line { end, next: data.len() };
            };
            let end = at + found;
            if data[end] == self.delimiter {
                cells.push(Cell { start, end, is_escaped, is_quoted: false });
                return CellEnd::Delimiter { next: end + 1 };
            }
            if data[end] == self.line_end {
                let stripped = self.strip_carriage_return(data, start, end);
                cells.push(Cell { start, end: stripped, is_escaped, is_quoted: false });
                return CellEnd::Line { end: stripped, next: end + 1 };
            }
            if end + 1 >= data.len() && !is_all {
                return CellEnd::Unknown;
            }
            is_escaped = true;
            at = (end + 2).min(data.len());
        }
    }

    fn find_quoted_end(&self, data: &[u8], open: usize, is_all: bool, cells: &mut Vec<Cell>) -> CellEnd {
        let quote = data[open];
        let (mut at, mut is_escaped) = (open + 1, false);
        loop {
            let found = match self.escape {
                None => memchr::memchr(quote, &data[at..]),
                Some(escape) => memchr::memchr2(quote, escape, &data[at..]),
            };
            let Some(end) = found.map(|found| at + found) else {
                return if is_all { CellEnd::Malformed(NOT_CLOSED) } else { CellEnd::Unknown };
            };
            let next = data.get(end + 1).copied();
            if data[end] != quote || next == Some(quote) {
                if next.is_none() && !is_all {
                    return CellEnd::Unknown;
                }
                is_escaped = true;
                at = (end + 2).min(data.len());
                continue;
            }
            cells.push(Cell { start: open + 1, end, is_escaped, is_quoted: true });
            return match next {
                None if is_all => CellEnd::Line { end: end + 1, next: end + 1 },
                None => CellEnd::Unknown,
                Some(next) if next == self.delimiter => CellEnd::Delimiter { next: end + 2 },
                Some(next) if next == self.line_end => CellEnd::Line { end: end + 1, next: end + 2 },
                Some(b'\r') => match data.get(end + 2) {
                    Some(b'\n') => CellEnd::Line { end: end + 1, next: end + 3 },
                    None if is_all => CellEnd::Line { end: end + 1, next: end + 2 },
                    None => CellEnd::Unknown,
                    Some(_) => CellEnd::Malformed(NOT_AT_END),
                },
                Some(_) => CellEnd::Malformed(NOT_AT_END),
            };
        }
    }

    fn strip_carriage_return(&self, data: &[u8], start: usize, end: usize) -> usize {
        if end > start && data[end - 1] == b'\r' { end - 1 } else { end }
    }

    /// The text of a cell without its escapes.
    fn unescape(&self, cell: &str) -> String {
        let mut out = String::with_capacity(cell.len());
        let mut chars = cell.chars();
        while let Some(char) = chars.next() {
            let is_mark = |mark: Option<u8>| mark.is_some_and(|mark| char == char::from(mark));
            if is_mark(self.escape) || is_mark(self.quote) {
                out.push(chars.next().unwrap_or(char));
            } else {
                out.push(char);
            }
        }
        out
    }

    /// Decodes bytes of the file. `None` if they are not text in its encoding.
    fn decode<'a>(&self, bytes: &'a [u8]) -> Option<std::borrow::Cow<'a, str>> {
        match self.encoding {
            None => simdutf8::basic::from_utf8(bytes).ok().map(std::borrow::Cow::Borrowed),
            Some(encoding) => encoding.decode_without_bom_handling_and_without_replacement(bytes),
        }
    }
}

const NOT_CLOSED: &str = "a quote is not closed";
const NOT_AT_END: &str = "a quote is followed by neither a delimiter nor the end of the line";

/// A cell without its quotes.
#[derive(Debug, Clone, Copy)]
struct Cell {
    start: usize,
    end: usize,
    is_escaped: bool,
    is_quoted: bool,
}

enum CellEnd {
    /// A delimiter follows, and the next cell begins at `next`.
    Delimiter {
        next: usize,
    },
    Line {
        end: usize,
        next: usize,
    },
    Unknown,
    Malformed(&'static str),
}

/// How a row ends.
enum Split {
    /// It ends before `end`; the next one begins at `next`.
    Row {
        end: usize,
        next: usize,
    },
    /// More bytes are needed.
    Unknown,
    Malformed(&'static str),
}

struct Header {
    /// The names as JSON has them, each with its colon; empty for columns without a name.
    members: Vec<Vec<u8>>,
    /// The cells.
    names: Vec<String>,
}

pub(super) struct Delimited {
    input: Input,
    /// Bytes that were read; those before `start` belong to earlier rows.
    data: Vec<u8>,
    start: usize,
    /// Nothing follows `data`.
    is_all: bool,
    /// The error that ended the input. It is returned behind the rows before it.
    failed: Option<std::io::Error>,
    dialect: Dialect,
    contract: Option<FileContract>,
    header: Option<Header>,
    cells: Vec<Cell>,
    limits: ReadLimits,
    /// The line of the next row.
    line: u64,
    ended: bool,
    /// Bytes of JSON written for rows that turned out to be too long.
    discarded_bytes: u64,
}

/// A writer that fails at its limit.
struct LimitedWriter<'a> {
    out: &'a mut Vec<u8>,
    limit: usize,
}

impl Write for LimitedWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        if self.out.len() + bytes.len() > self.limit {
            return Err(std::io::ErrorKind::WriteZero.into());
        }
        self.out.extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// Writes a row as JSON.
fn write_row(
    out: &mut Vec<u8>,
    limit: usize,
    header: &Header,
    cells: &[Cell],
    text: &str,
    dialect: &Dialect,
) -> std::io::Result<()> {
    let mut separator = b'{';
    for (member, cell) in header.members.iter().zip(cells).filter(|(member, _)| !member.is_empty()) {
        out.push(separator);
        separator = b',';
        out.extend_from_slice(member);
        let value = &text[cell.start..cell.end];
        if value.is_empty() {
            out.extend_from_slice(b"null");
        } else if cell.is_escaped {
            serde_json::to_writer(LimitedWriter { out, limit }, &dialect.unescape(value))?;
        } else if out.len() + value.len() * ESCAPE_BYTES + 2 <= limit {
            serde_json::to_writer(&mut *out, value)?;
        } else {
            serde_json::to_writer(LimitedWriter { out, limit }, value)?;
        }
    }
    out.extend_from_slice(if separator == b'{' { b"{}" } else { b"}" });
    if out.len() > limit { Err(std::io::ErrorKind::WriteZero.into()) } else { Ok(()) }
}

impl Delimited {
    pub(super) fn new(
        input: Input,
        dialect: Dialect,
        contract: Option<FileContract>,
        limits: ReadLimits,
    ) -> Delimited {
        Delimited {
            input,
            data: Vec::new(),
            start: 0,
            is_all: false,
            failed: None,
            dialect,
            contract,
            header: None,
            cells: Vec::new(),
            limits,
            line: 1,
            ended: false,
            discarded_bytes: 0,
        }
    }

    /// Reads more bytes behind those that are left.
    fn read_more(&mut self) {
        self.data.drain(..self.start);
        self.start = 0;
        let left = self.data.len();
        // Twice as much each time: a long row is then split again only a few times.
        let wanted = left.clamp(READ_BYTES, self.limits.max_record_bytes.max(READ_BYTES));
        let limit = wanted.min((self.limits.max_record_bytes + READ_BYTES).saturating_sub(left).max(1));
        match (&mut self.input).take(limit as u64).read_to_end(&mut self.data) {
            Ok(count) => self.is_all = count < limit,
            Err(error) => {
                // What was read before the error stays in `data`.
                self.failed = Some(error);
                self.is_all = true;
            }
        }
    }

    fn is_at_end(&mut self) -> bool {
        if self.start == self.data.len() && !self.is_all {
            self.read_more();
        }
        self.start == self.data.len() && self.is_all
    }

    /// Splits the next row into `self.cells`.
    fn split_row(&mut self) -> Split {
        loop {
            let data = &self.data[self.start..];
            match self.dialect.split(data, self.is_all, &mut self.cells) {
                Split::Unknown if data.len() >= self.limits.max_record_bytes => {
                    return Split::Malformed("the row is longer than a record may be; a quote may be open");
                }
                Split::Unknown => self.read_more(),
                Split::Row { end, .. } if end > self.limits.max_record_bytes => {
                    return Split::Malformed("the row is longer than a record may be; a quote may be open");
                }
                split => return split,
            }
        }
    }

    /// The line ends within the cells of the row at `start`.
    fn count_inner_lines(&self) -> u64 {
        let data = &self.data[self.start..];
        let cells = self.cells.iter().filter(|cell| cell.is_quoted || cell.is_escaped);
        let count =
            |cell: &Cell| memchr::memchr_iter(self.dialect.line_end, &data[cell.start..cell.end]).count();
        cells.map(|cell| count(cell) as u64).sum()
    }

    /// Finds the end of the line at `start`, and reads as much as a record may have for it.
    fn find_line_end(&mut self) -> Option<usize> {
        loop {
            let data = &self.data[self.start..];
            if let Some(end) = memchr::memchr(self.dialect.line_end, data) {
                return Some(end);
            }
            if self.is_all || data.len() > self.limits.max_record_bytes {
                return None;
            }
            self.read_more();
        }
    }

    /// Returns the line at `start` as a record that is malformed.
    fn take_line(&mut self, out: &mut Vec<u8>, problem: &str) -> BufferedRecord {
        let position = self.line;
        let limit = self.limits.max_record_bytes;
        let end = self.find_line_end();
        let data = &self.data[self.start..];
        let line = &data[..end.unwrap_or(data.len())];
        let line = line.strip_suffix(b"\r").unwrap_or(line);
        out.clear();
        out.extend_from_slice(&line[..line.len().min(limit)]);
        let mut omitted = (line.len() - out.len()) as u64;
        match end {
            Some(end) => self.start += end + 1,
            None => omitted += self.skip_line(),
        }
        self.line += 1;
        let error = if omitted > 0 {
            too_large_error(&self.limits, omitted)
        } else {
            RecordError::new(Reason::MalformedCsv, problem)
        };
        BufferedRecord { position, error: Some(error) }
    }

    /// Skips the rest of a line that is longer than a record; returns how many bytes were not in `data`.
    fn skip_line(&mut self) -> u64 {
        let mut omitted = 0;
        self.start = self.data.len();
        while !self.is_at_end() {
            let data = &self.data[self.start..];
            match memchr::memchr(self.dialect.line_end, data) {
                Some(end) => {
                    self.start += end + 1;
                    return omitted + end as u64;
                }
                None => {
                    omitted += data.len() as u64;
                    self.start = self.data.len();
                }
            }
        }
        omitted
    }

    /// Skips a line without cells, and a comment. Returns whether there was one.
    fn skip_empty_line(&mut self) -> bool {
        let wanted = self.dialect.comment.as_ref().map_or(2, |comment| comment.len().max(2));
        while self.data.len() - self.start < wanted && !self.is_all {
            self.read_more();
        }
        let data = &self.data[self.start..];
        let comment = self.dialect.comment.as_deref().unwrap_or_default();
        let end = match data {
            [b'\r', b'\n', ..] => 2,
            [first, ..] if *first == self.dialect.line_end => 1,
            _ if !comment.is_empty() && data.starts_with(comment.as_bytes()) => match self.find_line_end() {
                Some(end) => end + 1,
                None => {
                    self.skip_line();
                    self.line += 1;
                    return true;
                }
            },
            _ => return false,
        };
        self.start += end;
        self.line += 1;
        true
    }

    /// Reads the header, and finds out what ends a line.
    fn read_header(&mut self) -> Result<bool, FormatError> {
        loop {
            if self.is_at_end() {
                return Ok(false);
            }
            if self.header.is_none() && self.dialect.line_end == b'\n' {
                let data = &self.data[self.start..];
                let has_line_feed = memchr::memchr(b'\n', data).is_some();
                if !has_line_feed && memchr::memchr(b'\r', data).is_some_and(|at| at + 1 < data.len()) {
                    self.dialect.line_end = b'\r';
                }
            }
            if self.skip_empty_line() {
                continue;
            }
            if let Some(delimiter) = self.stated_delimiter() {
                self.dialect.delimiter = delimiter;
                continue;
            }
            let (end, next) = match self.split_row() {
                Split::Row { end, next } => (end, next),
                Split::Malformed(problem) => {
                    return Err(FormatError::Content(format!("its header is malformed: {problem}")));
                }
                Split::Unknown => return Ok(false),
            };
            let row = &self.data[self.start..self.start + end];
            if row.trim_ascii().is_empty() {
                self.line += 1;
                self.start += next;
                continue;
            }
            let header = self.parse_header(row)?;
            self.line += 1 + self.count_inner_lines();
            self.start += next;
            self.header = Some(header);
            return Ok(true);
        }
    }

    /// The delimiter that the line `sep=;` states, which Excel writes and reads. Skips the line.
    fn stated_delimiter(&mut self) -> Option<u8> {
        let end = self.find_line_end()?;
        let line = self.data[self.start..self.start + end].trim_ascii_end();
        let line = line.strip_prefix(b"\"").and_then(|line| line.strip_suffix(b"\"")).unwrap_or(line);
        let (name, delimiter) = line.split_at_checked(4)?;
        let delimiter = match delimiter {
            // The tab at the end of the line was taken for white space.
            [] => b'\t',
            [delimiter] => *delimiter,
            _ => return None,
        };
        if !name.eq_ignore_ascii_case(b"sep=") {
            return None;
        }
        self.start += end + 1;
        self.line += 1;
        Some(delimiter)
    }

    fn parse_header(&self, row: &[u8]) -> Result<Header, FormatError> {
        let Some(text) = self.dialect.decode(row) else {
            return Err(FormatError::Content(self.wrong_encoding(row)));
        };
        // In another encoding the cells are elsewhere.
        let names: Option<Vec<String>> = self
            .cells
            .iter()
            .map(|cell| {
                let name = self.dialect.decode(&row[cell.start..cell.end])?;
                let name = if cell.is_escaped { self.dialect.unescape(&name) } else { name.into_owned() };
                Some(name.trim().to_owned())
            })
            .collect();
        let Some(names) = names else { return Err(FormatError::Content(self.wrong_encoding(row))) };
        // The JSON of every row has all names: this is the length of an empty row.
        let bytes: usize = names.iter().map(|name| name.len() + EMPTY_CELL_BYTES).sum();
        if bytes > MAX_RECORD_BYTES {
            return Err(FormatError::Refused(format!(
                "its header has {} names of {bytes} bytes in all; a record may have {MAX_RECORD_BYTES} bytes, names \
                 and cells",
                names.len()
            )));
        }
        if let Some(contract) = &self.contract
            && !names.iter().any(|name| contract.has_field(name))
        {
            return Err(FormatError::Content(self.no_column(contract, &names, &text)));
        }
        let member = |name: &String| match name.as_str() {
            "" => Vec::new(),
            name => {
                let mut member = serde_json::to_vec(name).unwrap_or_default();
                member.push(b':');
                member
            }
        };
        Ok(Header { members: names.iter().map(member).collect(), names })
    }

    fn wrong_encoding(&self, row: &[u8]) -> String {
        let place = FileContract::place(self.contract.as_ref());
        let encoding = self.dialect.encoding.map_or("UTF-8", Encoding::name);
        let shown = excerpt(&String::from_utf8_lossy(row));
        format!(
            "its header is not {encoding}: {shown}. Write the encoding of the file {place}, for example \
             encoding = \"windows-1252\""
        )
    }

    /// Says that no name of the header is a field, and why that may be.
    fn no_column(&self, contract: &FileContract, names: &[String], header: &str) -> String {
        let mut why = contract.no_field(names, "its header");
        let place = FileContract::place(Some(contract));
        let fields_by = |delimiter: u8| {
            let names = header.split(char::from(delimiter));
            names.filter(|name| contract.has_field(name.trim().trim_matches(['"', '\'']))).count()
        };
        let other = DELIMITERS
            .into_iter()
            .filter(|(delimiter, _)| *delimiter != self.dialect.delimiter)
            .map(|(delimiter, shown)| (fields_by(delimiter), delimiter, shown))
            .filter(|(fields, ..)| *fields > 0)
            .max_by_key(|(fields, ..)| *fields);
        if let Some((_, _, shown)) = other {
            why.push_str(&format!(". Is the delimiter another? Write delimiter = \"{shown}\" {place}"));
        } else if header.starts_with(['#', '%', '/']) && self.dialect.comment.is_none() {
            why.push_str(&format!(". Is this line a comment? Write comment = \"{}\" {place}", &header[..1]));
        } else {
            why.push_str(
                ". Check that the file begins with a header and that it is for this dataset, or list its names in `from`",
            );
        }
        why
    }

    /// Reads the next row and writes it to `out` as JSON.
    fn next(&mut self, out: &mut Vec<u8>) -> Result<Option<BufferedRecord>, FormatError> {
        if self.ended {
            return Ok(None);
        }
        if self.header.is_none() {
            match self.read_header() {
                Ok(true) => {}
                Ok(false) => return self.end(),
                Err(error) => {
                    self.ended = true;
                    return Err(self.failed.take().map_or(error, FormatError::Io));
                }
            }
        }
        loop {
            if self.is_at_end() {
                return self.end();
            }
            if self.skip_empty_line() {
                continue;
            }
            let (end, next) = match self.split_row() {
                Split::Row { end, next } => (end, next),
                Split::Unknown => return self.end(),
                // The input failed within this row.
                Split::Malformed(_) if self.failed.is_some() => return self.end(),
                Split::Malformed(problem) => return Ok(Some(self.take_line(out, problem))),
            };
            if self.failed.is_some() && self.start + next == self.data.len() && end == next {
                // The row may go on behind the damage.
                return self.end();
            }
            let line = self.line;
            let row = self.start..self.start + end;
            self.line += 1 + self.count_inner_lines();
            self.start += next;
            let Some(header) = &self.header else { return Ok(None) };
            let row = &self.data[row];
            let limit = self.limits.max_record_bytes;
            let broken = |out: &mut Vec<u8>, reason, detail: String| {
                out.clear();
                out.extend_from_slice(&row[..row.len().min(limit)]);
                BufferedRecord { position: line, error: Some(RecordError { reason, detail }) }
            };
            if header.names.len() != self.cells.len() {
                let detail = format!("{} cells; the header has {}", self.cells.len(), header.names.len());
                return Ok(Some(broken(out, Reason::MalformedCsv, detail)));
            }
            if self.dialect.encoding.is_some() {
                // Decode each cell, and move the cells to where they are in the text.
                let mut text = String::new();
                let mut is_text = true;
                for cell in &mut self.cells {
                    let start = text.len();
                    match self.dialect.decode(&row[cell.start..cell.end]) {
                        Some(decoded) => text.push_str(&decoded),
                        None => is_text = false,
                    }
                    (cell.start, cell.end) = (start, text.len());
                }
                if !is_text {
                    let encoding = self.dialect.encoding.map_or("", Encoding::name);
                    return Ok(Some(broken(out, Reason::InvalidUtf8, format!("a cell is not {encoding}"))));
                }
                if self.is_header(header, &text) {
                    continue;
                }
                if write_row(out, limit, header, &self.cells, &text, &self.dialect).is_err() {
                    self.discarded_bytes += out.len() as u64;
                    let detail = format!("longer than {limit} bytes as JSON");
                    return Ok(Some(broken(out, Reason::TooLarge, detail)));
                }
                return Ok(Some(BufferedRecord { position: line, error: None }));
            }
            let Ok(text) = simdutf8::basic::from_utf8(row) else {
                return Ok(Some(broken(out, Reason::InvalidUtf8, "a cell is not UTF-8".to_owned())));
            };
            if self.is_header(header, text) {
                continue;
            }
            if write_row(out, limit, header, &self.cells, text, &self.dialect).is_err() {
                self.discarded_bytes += out.len() as u64;
                // JSON adds names and escapes to the bytes of the row.
                let detail = format!("longer than {limit} bytes as JSON");
                return Ok(Some(broken(out, Reason::TooLarge, detail)));
            }
            return Ok(Some(BufferedRecord { position: line, error: None }));
        }
    }

    /// Whether the row is the header again, as in files that were put together. A file of one column may have its name as a value.
    fn is_header(&self, header: &Header, text: &str) -> bool {
        if self.dialect.keeps_repeated_headers || header.names.len() < 2 {
            return false;
        }
        let mut cells = header.names.iter().zip(&self.cells);
        cells.all(|(name, cell)| {
            let cell_text = text[cell.start..cell.end].trim();
            let is_same = name == cell_text.trim_start_matches('\u{feff}');
            is_same || (cell.is_escaped && *name == self.dialect.unescape(cell_text))
        })
    }

    fn end(&mut self) -> Result<Option<BufferedRecord>, FormatError> {
        self.ended = true;
        match self.failed.take() {
            Some(error) => Err(FormatError::Io(error)),
            None => Ok(None),
        }
    }
}

impl FormatReader for Delimited {
    fn read_record<'a>(&'a mut self, buffer: &'a mut Vec<u8>) -> Result<Option<Record<'a>>, FormatError> {
        let record = self.next(buffer)?;
        Ok(record.map(|record| record.with_bytes(buffer)))
    }

    fn discarded_bytes(&self) -> u64 {
        self.discarded_bytes
    }
}
