//! Detects the format of a file.

use super::compression::{Compression, MAGIC_BYTES};

/// The number of bytes at the beginning of a file that are examined.
pub(super) const HEAD_BYTES: usize = 64 << 10;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON value per line; blank lines are ignored.
    JsonLines,
    /// One JSON array, each element a record.
    JsonArray,
    /// Concatenated JSON values, each on any number of lines.
    JsonValues,
    /// Text cells; the first line has their names.
    Csv {
        /// The byte between two cells.
        delimiter: u8,
    },
    /// Apache Parquet.
    Parquet,
}

pub(super) fn is_parquet(head: &[u8]) -> bool {
    head.starts_with(b"PAR1")
}

/// What a file is whose first bytes, decompressed, show that it is not one of the formats. The text continues "it is ...".
pub(super) fn identify_other(name: &str, head: &[u8]) -> Option<&'static str> {
    const UNPACK: &str = "a zip archive in another file: unpack it, and load the files in it";
    const TAR: &str = "a tar archive: unpack it, and load the files in it";
    const MARKS: [(&[u8], &str); 50] = [
        (b"PARE", "a Parquet file with an encrypted footer: write it without encryption"),
        (b"PK\x03\x04", UNPACK),
        (b"PK\x05\x06", "an empty zip archive"),
        (b"7z\xbc\xaf\x27\x1c", "a 7z archive: unpack it, and load the files in it"),
        (b"Rar!\x1a\x07", "a rar archive: unpack it, and load the files in it"),
        (b"Obj\x01", "an Avro file: convert it to Parquet or NDJSON"),
        (b"ORC", "an ORC file: convert it to Parquet"),
        (b"ARROW1", "an Arrow IPC (Feather) file: convert it to Parquet"),
        (b"FEA1", "a Feather file: convert it to Parquet"),
        (b"\xff\xff\xff\xff", "an Arrow IPC stream: convert it to Parquet"),
        (b"\x93NUMPY", "a NumPy file: convert it to Parquet"),
        (b"\x80\x04\x95", "a pickle of Python: convert it to Parquet"),
        (b"\x80\x05\x95", "a pickle of Python: convert it to Parquet"),
        (b"$FL2@(#)", "an SPSS file: convert it to Parquet"),
        (b"<stata_dta>", "a Stata file: convert it to Parquet"),
        (b"\xff\xfe\0\0", "UTF-32 text: convert it to UTF-8"),
        (b"\0\0\xfe\xff", "UTF-32 text: convert it to UTF-8"),
        (b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "an Excel workbook: save its sheet as CSV in UTF-8"),
        (b"\x89HDF\r\n", "an HDF5 file: convert it to Parquet"),
        (b"SQLite format 3\0", "an SQLite database: export its tables as CSV"),
        (b"\x04\x22\x4d\x18", "compressed with LZ4: unpack it first"),
        (b"\xff\x06\0\0sNaPpY", "compressed with Snappy: unpack it first"),
        (b"\x1f\x9d", "compressed with compress (.Z): unpack it first"),
        (b"LZIP\x01", "compressed with lzip: unpack it first"),
        (b"\x5d\0\0", "compressed with LZMA: unpack it first"),
        (b"\x78\x9c", "compressed with zlib: unpack it first"),
        (b"\x1f\x8b", "compressed twice: unpack it once"),
        (b"\x28\xb5\x2f\xfd", "compressed twice: unpack it once"),
        (b"\xfd7zXZ\0", "compressed twice: unpack it once"),
        (b"\x89PNG\r\n", "a picture"),
        (b"\xff\xd8\xff", "a picture"),
        (b"%PDF-", "a PDF document"),
        (b"!<arch>\n", "an ar archive: unpack it, and load the files in it"),
        (b"GIF8", "a picture"),
        (b"II*\0", "a picture"),
        (b"MM\0*", "a picture"),
        (b"RIFF", "a picture, a sound or a film"),
        (b"\x7fELF", "a program"),
        (b"\x80\x02", "a pickle of Python: convert it to Parquet"),
        (b"\x80\x03", "a pickle of Python: convert it to Parquet"),
        (b"RDX2\n", "a file of R: convert it to Parquet"),
        (b"RDX3\n", "a file of R: convert it to Parquet"),
        (b"CDF\x01", "a NetCDF file: convert it to Parquet"),
        (b"CDF\x02", "a NetCDF file: convert it to Parquet"),
        (b"SEQ\x06", "a SequenceFile of Hadoop: convert it to Parquet"),
        (b"RCF\x01", "an RCFile of Hive: convert it to Parquet"),
        (b"PGDMP", "a dump of PostgreSQL: export its tables as CSV"),
        (b"\x89LZO\0", "compressed with LZO: unpack it first"),
        (b"\xed\xab\xee\xdb", "a package: unpack it, and load the files in it"),
        (b"version https://git-lfs", "a pointer of Git LFS: fetch the file itself with `git lfs pull`"),
    ];
    // Some of the marks are letters, with which a CSV file may begin too.
    let is_csv = Format::is_called_table(name);
    let is_binary = |mark: &[u8]| !is_csv || !mark.iter().all(u8::is_ascii_alphanumeric) || head.contains(&0);
    if let Some((_, what)) = MARKS.iter().find(|(mark, _)| head.starts_with(mark) && is_binary(mark)) {
        let has = |part: &[u8]| memchr::memmem::find(head, part).is_some();
        if *what != UNPACK {
            return Some(what);
        }
        let is_office = has(b"[Content_Types].xml");
        return Some(if is_office && (has(b"word/") || has(b"ppt/")) {
            "a document of Office, not data"
        } else if is_office || has(b"xl/") {
            "an Excel workbook: save its sheet as CSV in UTF-8"
        } else {
            UNPACK
        });
    }
    if head.get(257..262) == Some(b"ustar") || is_old_tar(head) {
        return Some(TAR);
    }
    if Compression::detect("", head.get(..MAGIC_BYTES).unwrap_or(head)) == Some(Compression::Bzip2) {
        return Some("compressed twice: unpack it once");
    }
    if head.get(8..12) == Some(b"DUCK") {
        return Some("a database of DuckDB: export its tables as Parquet");
    }
    if head.get(4..8) == Some(b"ftyp") {
        return Some("a film");
    }
    if extension(name) == "parquet" && !is_parquet(head) && head.contains(&0) && detect_utf16(head).is_none()
    {
        return Some("called Parquet, but does not begin as a Parquet file does: check that it is whole");
    }
    let text = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head).trim_ascii_start();
    let begins =
        |mark: &str| text.get(..mark.len()).is_some_and(|begun| begun.eq_ignore_ascii_case(mark.as_bytes()));
    if begins("<!doctype html") || begins("<html") {
        return Some("a web page, perhaps an error or a login instead of the file: download it again");
    }
    if begins("<?xml") {
        return Some("an XML file: convert it to NDJSON");
    }
    None
}

/// Whether it is the header of a tar archive before POSIX, which has no mark: its checksum, in octal digits, is the sum of its bytes, with blanks
/// in place of itself.
fn is_old_tar(head: &[u8]) -> bool {
    let Some((header, checksum)) = head.get(..512).zip(head.get(148..156)) else { return false };
    let digits = checksum.trim_ascii_start().split(|byte| matches!(byte, b' ' | 0)).next();
    let stated = digits.and_then(|digits| std::str::from_utf8(digits).ok());
    let stated = stated.and_then(|digits| u32::from_str_radix(digits, 8).ok());
    let sum = |bytes: &[u8]| bytes.iter().map(|byte| u32::from(*byte)).sum::<u32>();
    stated == Some(sum(header) - sum(checksum) + 8 * u32::from(b' '))
}

/// How UTF-16 shows itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Utf16 {
    /// By its byte order mark.
    Marked(&'static encoding_rs::Encoding),
    /// Every other byte of its beginning is zero.
    Likely,
}

pub(super) fn detect_utf16(head: &[u8]) -> Option<Utf16> {
    match head {
        [0xff, 0xfe, 0, 0, ..] => None,
        [0xff, 0xfe, ..] => Some(Utf16::Marked(encoding_rs::UTF_16LE)),
        [0xfe, 0xff, ..] => Some(Utf16::Marked(encoding_rs::UTF_16BE)),
        [0, a, 0, b, 0, c, ..] | [a, 0, b, 0, c, 0, ..] if ![a, b, c].contains(&&0) => Some(Utf16::Likely),
        _ => None,
    }
}

/// The text behind its first lines that begin with `comment`.
pub(super) fn skip_comments<'a>(head: &'a [u8], comment: Option<&str>) -> &'a [u8] {
    let Some(comment) = comment.filter(|comment| !comment.is_empty()) else { return head };
    let mut rest = head;
    while rest.starts_with(comment.as_bytes())
        && let Some(end) = memchr::memchr(b'\n', rest)
    {
        rest = &rest[end + 1..];
    }
    rest
}

/// Whether text has whole lines of UTF-8. Text in UTF-16 has none: where its line feeds are, its other bytes are zero.
pub(super) fn is_utf8_text(head: &[u8]) -> bool {
    match memchr::memrchr(b'\n', head) {
        Some(end) => !head[..end].contains(&0) && simdutf8::basic::from_utf8(&head[..end]).is_ok(),
        None => false,
    }
}

/// What follows the last dot of a name, in lower case.
fn extension(name: &str) -> String {
    name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default()
}

impl Format {
    /// Whether the name says that each line is a record.
    pub(super) fn is_called_lines(name: &str) -> bool {
        is_lines(&extension(name))
    }

    /// Whether the name says that it is a table of text cells.
    pub(super) fn is_called_table(name: &str) -> bool {
        table_delimiter(&extension(name)).is_some()
    }

    /// Detects the format by the name of the file, without the suffix of a compression, and its first bytes, decompressed. The bytes take
    /// precedence over the name.
    pub fn detect(name: &str, head: &[u8]) -> Format {
        if is_parquet(head) {
            return Format::Parquet;
        }
        let mut head = head;
        while let Some(rest) = head.strip_prefix(b"\xef\xbb\xbf") {
            head = rest;
        }
        let ending = extension(name);
        let delimiter = table_delimiter(&ending);
        let begun = head.trim_ascii_start();
        let is_array = begun.strip_prefix(b"[").is_some_and(|rest| {
            // The first column name of a CSV file may be in brackets.
            delimiter.is_none() || rest.trim_ascii_start().starts_with(b"{")
        });
        if is_array && !is_lines(&ending) {
            return Format::JsonArray;
        }
        // No header begins as an object does.
        let is_object =
            begun.strip_prefix(b"{").is_some_and(|rest| rest.trim_ascii_start().starts_with(b"\""));
        if is_object && delimiter.is_some() {
            return detect_objects(begun);
        }
        if let Some(delimiter) = delimiter {
            return Format::Csv { delimiter };
        }
        match (begun.first(), ending.as_str()) {
            // Its name says lines, but its first object spans several.
            (Some(b'{'), ending) if is_lines(ending) && is_open_line(begun, true) => Format::JsonValues,
            // Whatever its name is. A damaged first line does not make JSON a table.
            (Some(first), _) if *first != b'{' && looks_like_csv(begun) && !has_json_line(begun) => {
                Format::Csv { delimiter: b',' }
            }
            (_, ending) if is_lines(ending) => Format::JsonLines,
            (Some(b'{'), _) => detect_objects(begun),
            _ => Format::JsonLines,
        }
    }
}

/// The usual delimiter of tables whose name ends so.
fn table_delimiter(ending: &str) -> Option<u8> {
    match ending {
        "csv" => Some(b','),
        "tsv" | "tab" => Some(b'\t'),
        _ => None,
    }
}

fn is_lines(ending: &str) -> bool {
    matches!(ending, "ndjson" | "jsonl" | "jsonlines")
}

/// Decides by the first line whether there is one object per line.
fn detect_objects(head: &[u8]) -> Format {
    let end = head.iter().position(|byte| *byte == b'\n');
    let first = &head[..end.unwrap_or(head.len())];
    let mut values = serde_json::Deserializer::from_slice(first).into_iter::<serde::de::IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => match values.next() {
            None => Format::JsonLines,
            // `{...}{...}` on one line.
            Some(Ok(_)) => Format::JsonValues,
            Some(Err(error)) if error.is_eof() => Format::JsonValues,
            Some(Err(_)) => Format::JsonLines,
        },
        Some(Err(error)) if error.is_eof() => match end {
            // The first line is longer than the head: anything may follow the first object.
            None => Format::JsonValues,
            Some(_) if is_open_line(head, false) => Format::JsonValues,
            Some(_) => Format::JsonLines,
        },
        _ => Format::JsonLines,
    }
}

/// Whether the first line is the beginning of an object that goes on in the next line. If the next line begins an object, this one is
/// broken, not pretty-printed. `is_strict`: it must end where a line of such an object ends.
fn is_open_line(head: &[u8], is_strict: bool) -> bool {
    let Some(end) = memchr::memchr(b'\n', head) else { return false };
    let first = head[..end].trim_ascii_end();
    let is_cut = serde_json::from_slice::<serde::de::IgnoredAny>(first).is_err_and(|error| error.is_eof());
    let is_open = matches!(first.last(), Some(b'{' | b'[' | b',' | b':'));
    is_cut && (is_open || !is_strict && !head[end + 1..].trim_ascii_start().starts_with(b"{"))
}

/// Whether the first line has cells. A `;`, a tab or a `|` may be the delimiter too; the header then says so.
fn looks_like_csv(head: &[u8]) -> bool {
    let first = head.split(|byte| *byte == b'\n').next().unwrap_or(head);
    first.iter().any(|byte| matches!(byte, b',' | b';' | b'\t' | b'|'))
        && memchr::memchr2(b'{', b'}', first).is_none()
}

/// The texts between delimiters and quotes in the first line that is not blank.
pub(super) fn cells_of_first_line(head: &[u8]) -> impl Iterator<Item = std::borrow::Cow<'_, str>> {
    let first = head.trim_ascii_start().split(|byte| *byte == b'\n').next().unwrap_or_default();
    let cells = first.split(|byte| b",;\t|:\"'".contains(byte));
    cells.map(|cell| String::from_utf8_lossy(cell.trim_ascii()))
}

/// Whether a line is a whole JSON object.
pub(super) fn has_object_line(head: &[u8]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n').map(<[u8]>::trim_ascii);
    let is_object = |line: &[u8]| serde_json::from_slice::<serde::de::IgnoredAny>(line).is_ok();
    lines.any(|line| line.starts_with(b"{\"") && is_object(line))
}

/// Whether a line begins as an object or array does.
fn has_json_line(head: &[u8]) -> bool {
    let mut lines = head.split(|byte| *byte == b'\n');
    lines.any(|line| matches!(line.trim_ascii_start().first(), Some(b'{' | b'[')))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_format_follows_from_bytes_and_name() {
        let csv = Format::Csv { delimiter: b',' };
        for (name, head, format) in [
            ("pin.ndjson", "{\"a\":1}\n", Format::JsonLines),
            ("pin.ndjson", "[1,2]\n", Format::JsonLines),
            ("pin.json", "{\"a\":1}\n{\"a\":2}\n", Format::JsonLines),
            ("pin.json", "{\"a\":1}", Format::JsonLines),
            ("pin.json", " [{\"a\":1},\n", Format::JsonArray),
            ("pin.json", "{\"a\":1}{\"a\":2}", Format::JsonValues),
            ("pin.json", "{\"a\":1} {\n\"a\":2}", Format::JsonValues),
            ("pin.json", "{\n  \"a\": 1\n}\n", Format::JsonValues),
            ("pin.json", "{ \"a\": 1,\n  \"b\": 1\n}\n", Format::JsonValues),
            ("pin.json", "{\"a\": \"cut\n{\"a\": 2}\n", Format::JsonLines),
            ("pin", "{\"a\":1}\n", Format::JsonLines),
            ("pin.csv", "a,b\n1,2\n", csv),
            ("pin.csv", "[a],[b]\n1,2\n", csv),
            ("pin.csv", "[ {\"a\":1}]", Format::JsonArray),
            ("pin.csv", "{\"a\":1}\n{\"a\":2}\n", Format::JsonLines),
            ("pin.tsv", "{\n  \"a\": 1\n}\n", Format::JsonValues),
            ("pin.csv", "{a},b\n1,2\n", csv),
            ("pin.tsv", "a\tb\n", Format::Csv { delimiter: b'\t' }),
            ("pin", ",ind,age\n0,1,2\n", csv),
            ("pin", "cut, off\n{\"a\":1}\n", Format::JsonLines),
            ("pin.json", "\na;b\n1;2\n", csv),
            ("pin.ndjson", "a,b\n1,2\n", csv),
            ("pin.ndjson", "\"a\":1,\"b\":2}\n", Format::JsonLines),
            ("pin.ndjson", "cut, off\n{\"a\":1}\n", Format::JsonLines),
            ("pin.bin", "PAR1....", Format::Parquet),
            ("pin.json", "", Format::JsonLines),
            ("pin.json", "\u{feff}[{}]", Format::JsonArray),
        ] {
            assert_eq!(Format::detect(name, head.as_bytes()), format, "{name}: {head:?}");
        }
    }
}
