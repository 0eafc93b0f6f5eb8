//! Invariants that hold for any input; a broken one panics. The property tests of the cleaner and the fuzz targets `record`, `file` and
//! `table` check them.

use std::io::Read;
use std::sync::{Arc, LazyLock};

use arrow::array::RecordBatch;
use arrow::array::cast::AsArray;
use bytes::Bytes;
use chrono::DateTime;
use pinlake_clean::record_reader::{FileContract, Format, ReadError, ReadLimits, ReadOptions, RecordReader};
use pinlake_clean::{MAX_RECORD_BYTES, Position, Reason, RecordCleaner, RecordOrigin, find_nested_records};
use pinlake_schema::{Catalog, KEY_COLUMN, QUARANTINE};
use serde_json::Value;
use serde_json::value::RawValue;

/// A contract with a column of every type.
const EVERY_TYPE: &str = r#"
name = "every"
version = 1
[route]
files = ["every*"]
shape = ["s", "i", "j"]
[[column]]
name = "s"
type = "string"
remove_prefix = "x"
null = ["-", ""]
[[column]]
name = "i"
type = "int32"
[[column]]
name = "f"
type = "float64"
counts = true
[[column]]
name = "b"
type = "boolean"
[[column]]
name = "d"
type = "date"
formats = ["%Y-%m-%d", "%d %b %Y"]
[[column]]
name = "t"
type = "timestamp"
formats = ["$date", "unix_millis", "unix_seconds"]
[[column]]
name = "y"
type = "binary"
[[column]]
name = "j"
type = "json"
[[column]]
name = "a"
type = "array<string>"
null = ["-"]
[[column]]
name = "n"
type = "array<int64>"
array_of = ["i", ["q", "f"]]
[[column]]
name = "joined"
type = "string"
join = ["s", "q", ["z", "b"]]
separator = "+"
[[column]]
name = "nested"
type = "json"
from = ["j.a", "z[q=x].s.b", "s.t", "a"]
[[column]]
name = "nested_list"
type = "array<binary>"
from = ["j.y", "S.a[a=1].a"]
"#;

/// The contracts of the repository and [`EVERY_TYPE`].
static CATALOG: LazyLock<Arc<Catalog>> = LazyLock::new(|| {
    let files = [
        ("pin.toml", include_str!("../../../../../datasets/pin.toml")),
        ("geo.toml", include_str!("../../../../../datasets/geo.toml")),
        ("user.toml", include_str!("../../../../../datasets/user.toml")),
        ("every.toml", EVERY_TYPE),
    ];
    let files = files.map(|(name, text)| (name.to_owned(), text.to_owned()));
    Arc::new(Catalog::from_files(files).unwrap_or_else(|errors| panic!("{errors}")))
});

/// A contract whose records are inside documents.
const INSIDE: &str = r#"
name = "inside"
version = 1
[file]
records = "r[].s[]"
[[column]]
name = "a"
type = "int64"
"#;

static DOCUMENTS: LazyLock<Catalog> = LazyLock::new(|| {
    let files = [("inside.toml".to_owned(), INSIDE.to_owned())];
    Catalog::from_files(files).unwrap_or_else(|errors| panic!("{errors}"))
});

/// Datasets that a sender may name, none, and a name without a contract.
pub const HINTS: [Option<&str>; 6] =
    [None, Some("pin"), Some("geo"), Some("user"), Some("every"), Some("nothing")];

/// Names of the fields that the contracts read, and some that they do not.
pub const FIELDS: [&str; 30] = [
    "ind",
    "index",
    "unique_id",
    "title",
    "description",
    "follower_count",
    "poster_name",
    "tag_list",
    "is_image_or_video",
    "image_src",
    "save_location",
    "category",
    "latitude",
    "longitude",
    "country",
    "timestamp",
    "first_name",
    "last_name",
    "age",
    "date_joined",
    "s",
    "i",
    "f",
    "b",
    "d",
    "t",
    "y",
    "j",
    "a",
    "downloaded",
];

/// Names of files in each format. The bytes of a file take precedence over its name.
pub const FILE_NAMES: [&str; 8] = [
    "pin.ndjson",
    "geo.json",
    "user.csv",
    "every.tsv",
    "topics/0a1b2c3d4e5f.pin/partition=0/0a1b2c3d4e5f.pin+0+0000000042.json",
    "topics/0a1b2c3d4e5f.user/partition=1/0a1b2c3d4e5f.user+1+0000000000.json.gz",
    "geo.jsonl.zst",
    "unheard",
];

fn new_cleaner() -> RecordCleaner {
    RecordCleaner::new(Arc::clone(&CATALOG), DateTime::UNIX_EPOCH)
}

/// The row that a record became.
#[derive(Debug, PartialEq)]
struct Row {
    dataset: String,
    key: Vec<u8>,
    cells: RecordBatch,
}

/// Cleans one record, and checks that it becomes one row of one dataset and is counted.
fn row_of(cleaner: &mut RecordCleaner, record: &[u8], hint: Option<&str>) -> Row {
    let counted = |cleaner: &RecordCleaner| -> (u64, u64) {
        cleaner.counts().fold((0, 0), |sum, count| (sum.0 + count.read, sum.1 + count.quarantined))
    };
    let before = counted(cleaner);
    let origin =
        RecordOrigin { source: "file/test", position: Position::Line(1), record_id: Some(("request", 7)) };
    cleaner.push(record, hint, &origin);
    let after = counted(cleaner);
    let mut cleaned = cleaner.drain();
    assert_eq!(cleaned.len(), 1, "a record becomes a row of one dataset");
    let cleaned = cleaned.remove(0);
    assert_eq!((cleaned.read, cleaned.rows.num_rows()), (1, 1), "a record becomes one row");
    let quarantined = u64::from(cleaned.contract.name == QUARANTINE);
    assert_eq!(
        (after.0 - before.0, after.1 - before.1),
        (1, quarantined),
        "records read, records quarantined"
    );

    let keys = cleaned.rows.column_by_name(KEY_COLUMN).expect("keys").clone();
    let stored = pinlake_clean::row_keys(&cleaned.contract, &cleaned.rows).expect("the columns of the table");
    assert_eq!(&stored, keys.as_fixed_size_binary(), "the key computed from the columns is that of cleaning");
    let columns: Vec<usize> = (0..cleaned.contract.columns.len()).collect();
    let cells = cleaned.rows.project(&columns).expect("the columns of the contract");
    let key = keys.as_fixed_size_binary().value(0).to_vec();
    Row { dataset: cleaned.contract.name.clone(), key, cells }
}

/// Any bytes become one row, clean or in quarantine with the bytes and a reason, and the same row each time.
pub fn record(record: &[u8], hint: Option<&str>) {
    let mut own = new_cleaner();
    let row = row_of(&mut own, record, hint);
    assert_eq!(row_of(&mut own, record, hint), row, "cleaned again");
    for value in ["1", "\"x\"", "{\"k\":[]}"] {
        let fields: Vec<String> = FIELDS.iter().map(|name| format!("\"{name}\":{value}")).collect();
        let other = format!("{{{}}}", fields.join(","));
        row_of(&mut own, other.as_bytes(), hint);
        assert_eq!(row_of(&mut own, record, hint), row, "cleaned after a record of another form");
    }
    if row.dataset == QUARANTINE {
        let text = |name: &str| row.cells.column_by_name(name).expect("column").as_string::<i32>().value(0);
        let raw = row.cells.column_by_name("raw").expect("column").as_binary::<i32>().value(0);
        assert_eq!(raw, record, "a quarantine row has the bytes of the record");
        assert!(Reason::ALL.iter().any(|reason| reason.code() == text("reason")));
        assert!((1..2000).contains(&text("detail").len()), "{}", text("detail").len());
        return;
    }
    assert!(record.len() <= MAX_RECORD_BYTES);
    if let Some(reordered) = reorder_fields(record) {
        let same = row_of(&mut own, reordered.as_bytes(), hint);
        assert_eq!(same, row, "fields in another order, with white space: {reordered}");
    }
}

/// The same object with its fields in another order and white space between the tokens; `None` if it cannot be parsed.
fn reorder_fields(record: &[u8]) -> Option<String> {
    let fields: std::collections::BTreeMap<String, Box<RawValue>> = serde_json::from_slice(record).ok()?;
    let written: Vec<String> = fields
        .iter()
        .rev()
        .map(|(name, value)| Some(format!(" {}\t:\r\n{value} ", serde_json::to_string(name).ok()?)))
        .collect::<Option<_>>()?;
    Some(format!("\n{{{}}} ", written.join(",")))
}

/// The records of a file, each with its position and error, and the error that ended reading, if any.
type ReadRecords = (Vec<(u64, Vec<u8>, Option<Reason>)>, Option<&'static str>);

/// Limits that the inputs reach.
pub fn small_limits() -> ReadLimits {
    ReadLimits {
        max_record_bytes: 512,
        max_ratio: 100,
        free_unpacked_bytes: 1 << 20,
        max_spooled_bytes: 1 << 20,
        ..ReadLimits::default()
    }
}

fn read_records(records: Result<RecordReader, ReadError>) -> ReadRecords {
    let kind = |error: ReadError| match error {
        ReadError::Io { .. } => "io",
        ReadError::SizeLimitExceeded { .. } => "bomb",
        ReadError::Parquet { .. } => "parquet",
        ReadError::Refused { .. } | ReadError::Content { .. } => "refused",
        ReadError::Sandbox { .. } => "host",
    };
    let mut found = Vec::new();
    let mut records = match records {
        Ok(records) => records,
        Err(error) => return (found, Some(kind(error))),
    };
    loop {
        match records.next() {
            Ok(None) => return (found, None),
            Ok(Some(record)) => {
                found.push((record.position, record.bytes.to_vec(), record.error.map(|error| error.reason)));
            }
            Err(error) => return (found, Some(kind(error))),
        }
    }
}

/// Returns at most `most` bytes per read, as a pipe may.
struct Pieces {
    bytes: Bytes,
    most: usize,
}

impl Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.most.min(into.len()).min(self.bytes.len());
        into[..count].copy_from_slice(&self.bytes.split_to(count));
        Ok(count)
    }
}

/// Any file has the same records in however many reads it arrives, none longer than the limit, and each becomes a row.
pub fn file(name: &str, bytes: &[u8]) {
    let limits = small_limits();
    let bytes = Bytes::copy_from_slice(bytes);
    let opened = RecordReader::from_bytes(name, bytes.clone(), limits);
    let format = opened.as_ref().map(RecordReader::format).ok();
    let whole = read_records(opened);
    for most in [1, 3, 100] {
        let pieces = Pieces { bytes: bytes.clone(), most };
        let in_pieces = read_records(RecordReader::from_read(name, pieces, limits));
        // When the limit of the ratio is exceeded depends on how much of the compressed file has been read by then.
        if whole.1 != Some("bomb") && in_pieces.1 != Some("bomb") {
            assert_eq!(in_pieces, whole, "{most} bytes per read");
        }
    }
    let (records, end) = whole;
    for (position, record, _) in &records {
        assert!(*position > 0);
        assert!(record.len() <= limits.max_record_bytes, "{} bytes", record.len());
    }
    if let (Some(format), None) = (format, end) {
        compare_with_simple_reader(format, &bytes, &records, limits.max_record_bytes);
    }

    let hint = CATALOG.route_file(name).map(|contract| contract.name.clone());
    let mut cleaner = new_cleaner();
    let source = format!("file/{name}");
    for (position, record, error) in &records {
        let origin = RecordOrigin { source: &source, position: Position::Line(*position), record_id: None };
        match error {
            Some(reason) => cleaner.reject(record, hint.as_deref(), &origin, *reason, "test"),
            None => {
                cleaner.push(record, hint.as_deref(), &origin);
            }
        }
    }
    let rows: usize = cleaner.drain().iter().map(|cleaned| cleaned.rows.num_rows()).sum();
    assert_eq!(rows, records.len(), "a record becomes a row");
}

/// Compares the records with those of a simple reader, for formats that have one.
fn compare_with_simple_reader(
    format: Format,
    bytes: &[u8],
    found: &[(u64, Vec<u8>, Option<Reason>)],
    most: usize,
) {
    const PACKED: [&[u8]; 7] = [
        &[0x1f, 0x8b],
        &[0x28, 0xb5, 0x2f, 0xfd],
        b"BZh",
        &[0xfd, b'7'],
        b"PK",
        &[0xff, 0xfe],
        &[0xfe, 0xff],
    ];
    let is_packed =
        PACKED.iter().any(|mark| bytes.starts_with(mark)) || bytes.get(1..4) == Some(&[0x2a, 0x4d, 0x18]);
    // An object may go on in a line that begins like this.
    let goes_on = |line: &[u8]| matches!(line.first(), Some(b' ' | b'\t' | b'}' | b']' | b'"'));
    let is_mixed = format == Format::JsonLines && bytes.split(|byte| *byte == b'\n').any(goes_on);
    if is_packed || is_mixed {
        return;
    }
    let mut bytes = bytes;
    while let Some(rest) = bytes.strip_prefix(b"\xef\xbb\xbf") {
        bytes = rest;
    }
    let expected: Vec<&[u8]> = match format {
        Format::JsonLines => bytes
            .split(|byte| *byte == b'\n')
            .map(|line| line.strip_suffix(b"\r").unwrap_or(line))
            .filter(|line| !line.trim_ascii().is_empty() || line.len() > most)
            .collect(),
        Format::JsonArray => match serde_json::from_slice::<Vec<&RawValue>>(bytes) {
            Ok(values) => values.iter().map(|value| value.get().as_bytes()).collect(),
            Err(_) => return,
        },
        Format::JsonValues => {
            let values = serde_json::Deserializer::from_slice(bytes).into_iter::<&RawValue>();
            match values.collect::<Result<Vec<_>, _>>() {
                // A number or a word ends only where other text follows.
                Ok(values) if values.iter().all(|value| value.get().starts_with(['{', '[', '"'])) => {
                    values.iter().map(|value| value.get().as_bytes()).collect()
                }
                _ => return,
            }
        }
        Format::Csv { .. } | Format::Parquet => return,
    };
    let too_large = |record: &[u8]| record.len() > most;
    assert_eq!(found.len(), expected.len(), "records of {format:?}");
    for ((_, record, error), expected) in found.iter().zip(expected) {
        assert_eq!(record, &expected[..expected.len().min(most)]);
        assert_eq!(*error, too_large(expected).then_some(Reason::TooLarge), "{expected:?}");
    }
}

/// The records inside any document are the same however it is read, in a file and in a message.
pub fn document(bytes: &[u8]) {
    let options = || {
        let contract = FileContract::new(&DOCUMENTS, Some("inside"), "x.json");
        ReadOptions::from(small_limits()).with_contract(contract)
    };
    let bytes = Bytes::copy_from_slice(bytes);
    let whole = read_records(RecordReader::from_bytes("x.json", bytes.clone(), options()));
    for most in [1, 3, 100] {
        let pieces = Pieces { bytes: bytes.clone(), most };
        let in_pieces = read_records(RecordReader::from_read("x.json", pieces, options()));
        assert_eq!(in_pieces, whole, "{most} bytes per read");
    }
    let contract = DOCUMENTS.contract("inside").and_then(|contract| contract.file.records.as_ref());
    let Some(inside) = find_nested_records(&bytes, contract.expect("a path to records")) else { return };
    assert_eq!((whole.0.len(), whole.1), (inside.len(), None), "records of a file and of a message");
    for ((_, in_file, error), in_message) in whole.0.iter().zip(inside) {
        // An element that is a record itself has no white space between its tokens in a file.
        let parse = |text: &[u8]| serde_json::from_slice::<Value>(text).ok();
        match error {
            None => assert_eq!(parse(in_file), parse(in_message)),
            Some(reason) => assert_eq!(*reason, Reason::TooLarge),
        }
    }
}

/// Any path is routed to one dataset or to none.
pub fn path(path: &str) {
    if let Some(contract) = CATALOG.route_file(path) {
        let name = path.rsplit(['/', '\\']).next().expect("a part");
        let routes = &contract.route;
        assert!(!routes.files.is_empty() || !routes.topics.is_empty(), "{name}");
    }
}

/// A table written as CSV is read back, each row as the object of its cells.
pub fn table(delimiter: u8, header: &[String], rows: &[Vec<String>]) {
    if header.iter().all(|name| name.trim().is_empty()) {
        // A line of white space is no header.
        return;
    }
    let mut file = Vec::new();
    let mut writer = csv::WriterBuilder::new().delimiter(delimiter).from_writer(&mut file);
    writer.write_record(header).expect("memory");
    for row in rows {
        writer.write_record(row).expect("memory");
    }
    writer.flush().expect("memory");
    drop(writer);
    let name = if delimiter == b'\t' { "x.tsv" } else { "x.csv" };
    let limits = ReadLimits::default();
    let (records, end) = read_records(RecordReader::from_bytes(name, file.into(), limits));
    assert_eq!((records.len(), end), (rows.len(), None));
    for ((_, record, error), row) in records.iter().zip(rows) {
        assert_eq!(*error, None);
        let mut expected = serde_json::Map::new();
        for (name, cell) in
            header.iter().map(|name| name.trim()).zip(row).filter(|(name, _)| !name.is_empty())
        {
            let cell = if cell.is_empty() { serde_json::Value::Null } else { cell.as_str().into() };
            expected.insert(name.to_owned(), cell);
        }
        let found: serde_json::Value = serde_json::from_slice(record).expect("JSON");
        assert_eq!(found, serde_json::Value::Object(expected));
    }
}
