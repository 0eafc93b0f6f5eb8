use std::io::Write;

use bytes::Bytes;

use super::{Format, ReadError, ReadLimits, Record, RecordReader};

mod content;
mod csv_text;
mod damage;
mod json_layout;
mod json_records;
mod typed_rows;

/// The records as `position:bytes`, with `!reason` at the end of those with an error.
fn read_all(name: &str, bytes: impl Into<Bytes>, limits: ReadLimits) -> Result<Vec<String>, ReadError> {
    read_rest(RecordReader::from_bytes(name, bytes.into(), limits)?)
}

fn read_rest(mut records: RecordReader) -> Result<Vec<String>, ReadError> {
    let mut out = Vec::new();
    while let Some(record) = records.next()? {
        out.push(shown(record));
    }
    Ok(out)
}

fn shown(record: Record<'_>) -> String {
    let error = record.error.map(|error| format!("!{}", error.reason)).unwrap_or_default();
    format!("{}:{}{error}", record.position, String::from_utf8_lossy(record.bytes))
}

fn all(name: &str, bytes: impl Into<Bytes>) -> Vec<String> {
    read_all(name, bytes, ReadLimits::default()).expect("readable")
}

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::default());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

fn bzip2(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
    encoder.write_all(bytes).expect("memory");
    encoder.finish().expect("memory")
}

#[test]
fn lines_are_records() {
    let text = "\u{feff}{\"a\":1}\r\n\n  \n{\"a\":\nnot json\n{\"a\":2}";
    assert_eq!(all("x.ndjson", text), ["1:{\"a\":1}", "4:{\"a\":", "5:not json", "6:{\"a\":2}"]);
    assert!(all("x.ndjson", "").is_empty());
    for blank in ["\n\n", " \n\n", "\n"] {
        for name in ["x.ndjson", "x.csv", "x.tsv", "x.json", "x"] {
            assert!(all(name, blank).is_empty(), "{name}: {blank:?}");
        }
    }
    assert_eq!(all("x.csv", " \na\n1\n"), ["3:{\"a\":\"1\"}"]);
}

/// A reader that returns at most `most` bytes per read.
struct Pieces {
    left: Bytes,
    most: usize,
}

impl std::io::Read for Pieces {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.most.min(into.len()).min(self.left.len());
        into[..count].copy_from_slice(&self.left.split_to(count));
        Ok(count)
    }
}

#[test]
fn lines_are_whole_however_many_bytes_a_read_returns() {
    let text =
        format!("{{\"head\":\"{}\"}}\n{{\"a\":1}}\r\n\r\n  \n[2]\nx\r\n\n{{\"b\":3}}", "h".repeat(5000));
    let whole = all("x.ndjson", text.clone());
    assert_eq!(whole[1..], ["2:{\"a\":1}", "5:[2]", "6:x", "8:{\"b\":3}"]);
    for most in [1, 2, 3, 5, 7, 4999, 5000, 5016, 5017, 5018, 5019, 5020] {
        let pieces = Pieces { left: text.clone().into(), most };
        let records = RecordReader::from_read("x.ndjson", pieces, ReadLimits::default()).expect("readable");
        assert_eq!(read_rest(records).expect("readable"), whole, "{most} bytes at a time");
    }
}

/// Reads all records, with [`RecordReader::read_lines`] where possible, into a buffer of `bytes` bytes. Returns the records, the error, and
/// the number of records from `read_lines`.
fn read_with_buffer(records: RecordReader, bytes: usize) -> (Vec<String>, Option<ReadError>, usize) {
    read_with_buffer_and_enough(records, bytes, u64::MAX)
}

/// Like [`read_with_buffer`], with a value for `enough`.
fn read_with_buffer_and_enough(
    mut records: RecordReader,
    bytes: usize,
    enough: u64,
) -> (Vec<String>, Option<ReadError>, usize) {
    let (mut buffer, mut out, mut of_lines) = (vec![b'?'; bytes], Vec::new(), 0);
    loop {
        if let Some(lines) = records.read_lines(&mut buffer, enough) {
            let before = out.len();
            out.extend(lines.records(&buffer).map(shown));
            of_lines += out.len() - before;
            continue;
        }
        match records.next() {
            Ok(Some(record)) => out.push(shown(record)),
            Ok(None) => return (out, None, of_lines),
            Err(error) => return (out, Some(error), of_lines),
        }
    }
}

#[test]
fn read_lines_and_next_return_all_records() {
    let long = format!("{{\"long\":\"{}\"}}", "h".repeat(90));
    let text = format!("{{\"a\":1}}\r\n\r\n  \n[2]\nx\r\n{long}\n\n{{\"b\":3}}\n\n{long}\n{{}}");
    let limits = ReadLimits { max_record_bytes: 95, ..ReadLimits::default() };
    let records = |most| {
        let pieces = Pieces { left: text.clone().into(), most };
        RecordReader::from_read("x.ndjson", pieces, limits).expect("readable")
    };
    let whole = read_rest(records(usize::MAX)).expect("readable");
    assert_eq!(whole.len(), 7);
    assert!(whole[3].ends_with("!too_large"));
    for most in [1, 2, 3, 7, usize::MAX] {
        for buffer_bytes in [0, 1, 2, 9, 10, 11, 12, 20, 50, 95, 96, 100, 150, 1000] {
            let (found, error, of_lines) = read_with_buffer(records(most), buffer_bytes);
            assert_eq!(found, whole, "{most} bytes at a time into {buffer_bytes}");
            assert!(error.is_none());
            assert_eq!(
                of_lines > 0,
                buffer_bytes >= 4,
                "{of_lines} records of whole lines in {buffer_bytes} bytes"
            );
            assert_eq!(
                read_with_buffer_and_enough(records(most), buffer_bytes, 1).0,
                whole,
                "{most} bytes at a time into {buffer_bytes}, one line at a time"
            );
        }
    }
    for other in ["[{},\n{}\n]", "a,b\n1,2\n", "{\n\"a\": 1}\n{}\n"] {
        let records = RecordReader::from_bytes("x", other.into(), limits).expect("readable");
        assert_eq!(read_with_buffer(records, 1000).2, 0, "{other}");
    }
}

#[test]
fn lines_before_an_error_are_returned() {
    let text: String = (0..50_000).map(|number| format!("{{\"a\":{number}}}\n")).collect();
    let mut compressed = gzip(text.as_bytes());
    compressed.truncate(compressed.len() / 2);
    let records = || {
        RecordReader::from_bytes("x.ndjson.gz", compressed.clone().into(), ReadLimits::default())
            .expect("readable")
    };
    let (one_by_one, error, _) = read_with_buffer(records(), 0);
    let error = error.expect("broken").to_string();
    assert!(one_by_one.len() > 10_000);
    for buffer_bytes in [1, 100, 5000, 1 << 20] {
        let (found, failed, of_lines) = read_with_buffer(records(), buffer_bytes);
        assert!(found == one_by_one, "{} records, and {} one by one", found.len(), one_by_one.len());
        assert_eq!(failed.expect("broken").to_string(), error);
        assert_eq!(of_lines > 0, buffer_bytes > 1);
    }
}

#[test]
fn a_long_line_is_truncated_and_reading_continues() {
    let limits = ReadLimits { max_record_bytes: 8, ..ReadLimits::default() };
    let found = read_all("x.ndjson", "{\"a\":123456789}\n{}\n", limits).expect("readable");
    assert_eq!(found, ["1:{\"a\":123!too_large", "2:{}"]);
    let found = read_all("x.json", "[{\"a\":123456789},{}]", limits).expect("readable");
    assert_eq!(found, ["1:{\"a\":123!too_large", "1:{}"]);
}

#[test]
fn array_elements_are_records() {
    assert_eq!(all("x.json", "[]"), [""; 0]);
    assert_eq!(
        all("x.json", " [ {\"a\": \"]}\\\"\"},\n [1, {}] , 7,\"x\" , null ]\n"),
        ["1:{\"a\": \"]}\\\"\"}", "2:[1, {}]", "2:7", "2:\"x\"", "2:null"]
    );
    // An error within the brackets affects that record only.
    assert_eq!(all("x.json", "[{\"a\": tru},{}]"), ["1:{\"a\": tru}", "1:{}"]);
}

#[test]
fn a_rest_that_cannot_be_split_is_one_record() {
    for (text, found) in [
        (
            "[{\"a\":1},\n{\"a\":2}\n{\"a\":3}]",
            vec!["1:{\"a\":1}", "2:{\"a\":2}", "3:{\"a\":3}]!malformed_json"],
        ),
        ("[{\"a\":1},,{}]", vec!["1:{\"a\":1}", "1:,{}]!malformed_json"]),
        ("[{\"a\":1},{\"a\":[2}, {}]", vec!["1:{\"a\":1}", "1:{\"a\":[2}, {}]!malformed_json"]),
        ("[{\"a\":1},{\"a\":", vec!["1:{\"a\":1}", "1:{\"a\":!malformed_json"]),
        ("[{\"a\":1}", vec!["1:{\"a\":1}", "1:[!malformed_json"]),
        ("[{\"a\":1}] x", vec!["1:{\"a\":1}", "1:x!malformed_json"]),
    ] {
        assert_eq!(all("x.json", text), found, "{text}");
    }
}

#[test]
fn concatenated_values_are_records() {
    assert_eq!(all("x.json", "{\"a\":1}{\"a\":2} {\"a\":3}"), ["1:{\"a\":1}", "1:{\"a\":2}", "1:{\"a\":3}"]);
    assert_eq!(all("x.json", "{\n \"a\": 1\n}\n{\n}\n"), ["1:{\n \"a\": 1\n}", "4:{\n}"]);
}

#[test]
fn csv_rows_are_objects() {
    assert_eq!(
        all("x.csv", "\u{feff},ind, name \r\n0,7,\"a \"\"b\"\"\nc\"\r\n1,8,\r\n2,9\r\n"),
        [
            "2:{\"ind\":\"7\",\"name\":\"a \\\"b\\\"\\nc\"}",
            "4:{\"ind\":\"8\",\"name\":null}",
            "5:2,9!malformed_csv"
        ]
    );
    assert_eq!(
        all("x.csv", &b"a,b\n\xff,1\n2,3\n"[..]),
        ["2:\u{fffd},1!invalid_utf8", "3:{\"a\":\"2\",\"b\":\"3\"}"]
    );
    let limits = ReadLimits { max_record_bytes: 64, ..ReadLimits::default() };
    let open = format!("a,b\n1,2\n3,\"{}", "x".repeat(1000));
    let found = read_all("x.csv", open, limits).expect("readable");
    assert_eq!(found[0], "2:{\"a\":\"1\",\"b\":\"2\"}");
    assert!(found[1].ends_with("!too_large"), "{found:?}");
    assert_eq!(found.len(), 2);
}

#[test]
fn compressed_files_are_decompressed() {
    let mut members = gzip(b"{\"a\":1}\n");
    members.extend(gzip(b"{\"a\":2}\n"));
    assert_eq!(all("x.ndjson.gz", members), ["1:{\"a\":1}", "2:{\"a\":2}"]);
    let mut frames = zstd::encode_all(&b"[{\"a\":1},"[..], 1).expect("memory");
    frames.extend(zstd::encode_all(&b"{\"a\":2}]"[..], 1).expect("memory"));
    assert_eq!(all("x.json.zst", frames.clone()), ["1:{\"a\":1}", "1:{\"a\":2}"]);
    // The bytes take precedence over the name.
    assert_eq!(all("x", frames), ["1:{\"a\":1}", "1:{\"a\":2}"]);
}

#[test]
fn bombs_and_broken_files_return_errors() {
    let limits = ReadLimits { free_unpacked_bytes: 1 << 20, max_ratio: 10, ..ReadLimits::default() };
    let bomb = gzip(&vec![b' '; 8 << 20]);
    let error = read_all("x.ndjson.gz", bomb, limits).expect_err("a bomb");
    assert!(matches!(error, ReadError::SizeLimitExceeded { .. }), "{error}");
    let mut broken = gzip(b"{\"a\":1}\n{\"a\":2}\n");
    broken.truncate(broken.len() - 6);
    let error = read_all("x.ndjson.gz", broken, ReadLimits::default()).expect_err("broken");
    assert!(matches!(error, ReadError::Io { .. }), "{error}");
    let error =
        read_all("x.parquet", &b"PAR1 and nothing more"[..], ReadLimits::default()).expect_err("not Parquet");
    assert!(matches!(error, ReadError::Parquet { .. }), "{error}");
}

#[test]
fn parquet_rows_are_objects() {
    use arrow::array::{ArrayRef, Float64Array, RecordBatch, StringArray, TimestampMicrosecondArray};
    use std::sync::Arc;
    let batch = RecordBatch::try_from_iter_with_nullable([
        ("ind", Arc::new(StringArray::from(vec![Some("7"), None])) as ArrayRef, true),
        ("latitude", Arc::new(Float64Array::from(vec![-88.4642, 1e-7])) as ArrayRef, true),
        (
            "timestamp",
            Arc::new(TimestampMicrosecondArray::from(vec![0, 1_598_586_767_000_000])) as ArrayRef,
            true,
        ),
    ])
    .expect("columns");
    let mut file = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut file, batch.schema(), None).expect("writer");
    writer.write(&batch).expect("memory");
    writer.close().expect("memory");
    let rows = [
        "1:{\"ind\":\"7\",\"latitude\":-88.4642,\"timestamp\":\"1970-01-01T00:00:00\",\
         \"$parquet\":{\"timestamp\":\"timestamp\"}}",
        "2:{\"ind\":null,\"latitude\":1.0e-7,\"timestamp\":\"2020-08-28T03:52:47\",\
         \"$parquet\":{\"timestamp\":\"timestamp\"}}",
    ];
    assert_eq!(all("x", file.clone()), rows);
    assert_eq!(all("x.parquet.gz", gzip(&file)), rows);
    let mut records = RecordReader::from_bytes("x", file.into(), ReadLimits::default()).expect("Parquet");
    assert_eq!(records.format(), Format::Parquet);
    records.next().expect("row");
}

/// A line end is not part of a record; a line that was truncated before its line end is too large.
#[test]
fn a_record_of_the_maximum_length_fits_with_any_line_end() {
    let limits = ReadLimits { max_record_bytes: 16, ..ReadLimits::default() };
    let fits = "{\"a\":\"12345678\"}";
    assert_eq!(fits.len(), 16);
    for (line, record, is_too_large) in [
        (format!("{fits}\n"), fits, false),
        (format!("{fits}\r\n"), fits, false),
        (fits.to_owned(), fits, false),
        (format!("{fits} \n"), fits, true),
        (format!("{fits}\r\r\n"), fits, true),
        (format!("{}\rmore\n", &fits[..15]), &format!("{}\r", &fits[..15]), true),
    ] {
        let mut records = RecordReader::from_bytes("a.ndjson", line.clone().into(), limits).unwrap();
        let found = records.next().unwrap().unwrap();
        assert_eq!((found.bytes, found.error.is_some()), (record.as_bytes(), is_too_large), "{line:?}");
        assert!(records.next().unwrap().is_none());
    }
}
