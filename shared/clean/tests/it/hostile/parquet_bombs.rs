//! Small Parquet files that decode to much data, and damaged ones.

use std::sync::Arc;

use arrow::array::{
    ArrayRef, DictionaryArray, Int32Array, ListBuilder, RecordBatch, StringArray, StringBuilder,
};
use arrow::datatypes::Int32Type;
use bytes::Bytes;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use pinlake_clean::record_reader::{ReadLimits, RecordReader};

/// A file whose only column repeats one text: the text is stored once, in a dictionary. `described` adds the Arrow schema.
fn one_text(text: &str, rows: usize, described: bool) -> Bytes {
    let text = StringArray::from(vec![text]);
    let column = DictionaryArray::<Int32Type>::new(Int32Array::from(vec![0; rows]), Arc::new(text));
    let batch = RecordBatch::try_from_iter([("country", Arc::new(column) as ArrayRef)]).expect("columns");
    let properties = WriterProperties::builder()
        .set_dictionary_page_size_limit(64 << 20)
        .set_statistics_enabled(EnabledStatistics::None)
        .build();
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(!described);
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new_with_options(&mut file, batch.schema(), options).expect("writer");
    writer.write(&batch).expect("memory");
    writer.close().expect("memory");
    file.into()
}

#[test]
fn dictionary_texts_are_not_copied_for_each_row() {
    let text = "x".repeat(100_000);
    for described in [false, true] {
        let file = one_text(&text, 200, described);
        assert!(file.len() < 150_000, "{} bytes", file.len());
        let limits = ReadLimits { max_record_bytes: 1 << 20, ..ReadLimits::default() };
        let mut records = RecordReader::from_bytes("x.parquet", file.clone(), limits).expect("Parquet");
        let mut rows = 0;
        while let Some(record) = records.next().expect("readable") {
            rows += 1;
            assert_eq!((record.position, record.bytes.len(), record.error), (rows, text.len() + 14, None));
        }
        assert_eq!(rows, 200);
        // Rows that are longer than a record may be are returned one by one.
        let limits = ReadLimits { max_record_bytes: 1000, ..ReadLimits::default() };
        let mut records = RecordReader::from_bytes("x.parquet", file, limits).expect("Parquet");
        for (number, raw) in [(1, &b"row 1"[..]), (2, b"row 2")] {
            let record = records.next().expect("readable").expect("a row");
            assert_eq!((record.position, record.bytes), (number, raw));
            assert_eq!(record.error.expect("an error").reason.code(), "too_large");
        }
    }
}

#[test]
fn lists_are_whole_however_many_rows_are_written_at_a_time() {
    let mut lists = ListBuilder::new(StringBuilder::new());
    for row in 0..50 {
        for item in 0..row % 7 {
            lists.values().append_value("y".repeat(item * 10));
        }
        lists.append(row % 5 != 4);
    }
    let batch = RecordBatch::try_from_iter([("a", Arc::new(lists.finish()) as ArrayRef)]).expect("columns");
    let mut file = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut file, batch.schema(), None).expect("writer");
    writer.write(&batch).expect("memory");
    writer.close().expect("memory");
    let all = |limits: ReadLimits| {
        let mut records = RecordReader::from_bytes("x", Bytes::from(file.clone()), limits).expect("Parquet");
        let mut found = Vec::new();
        while let Some(record) = records.next().expect("readable") {
            assert_eq!(record.error, None);
            found.push((record.position, String::from_utf8_lossy(record.bytes).into_owned()));
        }
        found
    };
    let whole = all(ReadLimits::default());
    assert_eq!(whole.len(), 50);
    assert_eq!(whole[2].1, "{\"a\":[\"\",\"yyyyyyyyyy\"]}");
    assert_eq!(all(ReadLimits { max_record_bytes: 400, ..ReadLimits::default() }), whole);
}

#[test]
fn a_damaged_file_returns_an_error_or_rows() {
    let file = one_text("Peru", 100, false);
    let limits = ReadLimits { max_record_bytes: 1000, ..ReadLimits::default() };
    // Changes each byte in two ways. If the library panics, its message is in the output of this test.
    for at in 4..file.len() {
        for change in [0xff, 0x01] {
            let mut damaged = file.to_vec();
            damaged[at] ^= change;
            if let Ok(mut records) = RecordReader::from_bytes("x.parquet", damaged.into(), limits) {
                let mut rows = 0;
                while let Ok(Some(record)) = records.next() {
                    assert!(record.bytes.len() <= 1000);
                    rows += 1;
                    assert!(rows < 100_000, "byte {at}");
                }
            }
        }
    }
}
