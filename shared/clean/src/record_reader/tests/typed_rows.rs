//! Rows of Parquet as JSON, each value by its own type.

use std::sync::Arc;

use arrow::array::builder::{Int32Builder, MapBuilder, StringBuilder};
use arrow::array::{
    ArrayRef, BinaryArray, Date32Array, Decimal128Array, Float32Array, Float64Array, Int64Array, RecordBatch,
    StructArray, Time64MicrosecondArray, TimestampMillisecondArray, TimestampSecondArray, UInt64Array,
};
use arrow::datatypes::{DataType, Field};
use parquet::data_type::{
    ByteArrayType, FixedLenByteArray, FixedLenByteArrayType, Int64Type, Int96, Int96Type,
};
use parquet::file::metadata::{FileMetaData, ParquetMetaData, ParquetMetaDataReader, ParquetMetaDataWriter};
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::parser::parse_message_type;

use super::all;

fn write(columns: Vec<(&str, ArrayRef)>) -> Vec<u8> {
    let columns = columns.into_iter().map(|(name, values)| (name, values, true));
    let batch = RecordBatch::try_from_iter_with_nullable(columns).expect("columns");
    let mut file = Vec::new();
    let mut writer = parquet::arrow::ArrowWriter::try_new(&mut file, batch.schema(), None).expect("writer");
    writer.write(&batch).expect("memory");
    writer.close().expect("memory");
    file
}

#[test]
fn footers_of_other_writers_are_repaired() {
    let column: ArrayRef = Arc::new(Int64Array::from(vec![7, 8]));
    let batch = RecordBatch::try_from_iter([("i", column)]).unwrap();
    let properties = WriterProperties::builder().set_dictionary_enabled(false).build();
    let mut file = Vec::new();
    let mut writer =
        parquet::arrow::ArrowWriter::try_new(&mut file, batch.schema(), Some(properties)).unwrap();
    writer.write(&batch).unwrap();
    writer.close().unwrap();

    // The file claims no rows, and a dictionary where its magic bytes are.
    let read = ParquetMetaDataReader::new().parse_and_finish(&bytes::Bytes::from(file.clone())).unwrap();
    let groups = read.row_groups().iter().map(|group| {
        let columns = group
            .columns()
            .iter()
            .map(|column| column.clone().into_builder().set_dictionary_page_offset(Some(0)).build().unwrap());
        group.clone().into_builder().set_column_metadata(columns.collect()).build().unwrap()
    });
    let own = read.file_metadata();
    let (version, schema) = (own.version(), own.schema_descr_ptr());
    let wrong = ParquetMetaData::new(
        FileMetaData::new(version, 0, None, own.key_value_metadata().cloned(), schema, None),
        groups.collect(),
    );
    let tail = file.len() - 8;
    let footer = u32::from_le_bytes(file[tail..tail + 4].try_into().unwrap()) as usize;
    file.truncate(tail - footer);
    ParquetMetaDataWriter::new(&mut file, &wrong).finish().unwrap();
    assert_eq!(all("x.parquet", file), ["1:{\"i\":7}", "2:{\"i\":8}"]);
}

#[test]
fn values_that_json_has_are_those_values() {
    let decimal = Decimal128Array::from(vec![1234, -5]).with_precision_and_scale(9, 2).unwrap();
    let file = write(vec![
        ("i", Arc::new(Int64Array::from(vec![Some(i64::MIN), None]))),
        ("u", Arc::new(UInt64Array::from(vec![u64::MAX, 0]))),
        ("f", Arc::new(Float32Array::from(vec![0.1, -2.0]))),
        ("d", Arc::new(decimal)),
        ("t", Arc::new(Time64MicrosecondArray::from(vec![1_000_001, 86_399_000_000]))),
    ]);
    assert_eq!(
        all("x.parquet", file),
        [
            "1:{\"i\":-9223372036854775808,\"u\":18446744073709551615,\"f\":0.1,\"d\":12.34,\"t\":\"00:00:01.000001\"}",
            "2:{\"i\":null,\"u\":0,\"f\":-2.0,\"d\":-0.05,\"t\":\"23:59:59\"}",
        ]
    );
}

#[test]
fn bytes_and_times_state_their_types() {
    let file = write(vec![
        ("b", Arc::new(BinaryArray::from(vec![&[0xff, 0, 0xff][..]]))),
        ("d", Arc::new(Date32Array::from(vec![18_502]))),
        ("t", Arc::new(TimestampMillisecondArray::from(vec![1_598_586_767_500]).with_timezone("UTC"))),
    ]);
    assert_eq!(
        all("x.parquet", file),
        ["1:{\"b\":\"/wD/\",\"d\":\"2020-08-28\",\"t\":\"2020-08-28T03:52:47.500Z\",\
          \"$parquet\":{\"b\":\"binary\",\"d\":\"date\",\"t\":\"timestamp\"}}"]
    );
}

#[test]
fn values_that_json_does_not_have_say_why() {
    let file = write(vec![
        ("f", Arc::new(Float64Array::from(vec![f64::NAN, f64::INFINITY]))),
        ("s", Arc::new(TimestampSecondArray::from(vec![0, i64::MAX]))),
        ("d", Arc::new(Date32Array::from(vec![i32::MAX, 0]))),
        (
            "n",
            Arc::new(StructArray::from(vec![(
                Arc::new(Field::new("b", DataType::Binary, true)),
                Arc::new(BinaryArray::from(vec![&b"text"[..], b"\xff"])) as ArrayRef,
            )])),
        ),
    ]);
    assert_eq!(
        all("x.parquet", file),
        [
            "1:{\"f\":{\"$parquet\":\"out_of_range: NaN\"},\"s\":\"1970-01-01T00:00:00\",\
             \"d\":{\"$parquet\":\"out_of_range: 2147483647 days since 1970\"},\"n\":{\"b\":\"text\"},\
             \"$parquet\":{\"s\":\"timestamp\",\"d\":\"date\",\"n\":{\"b\":\"utf8\"}}}",
            "2:{\"f\":{\"$parquet\":\"out_of_range: inf\"},\
             \"s\":{\"$parquet\":\"out_of_range: 9223372036854775807 seconds since 1970\"},\"d\":\"1970-01-01\",\
             \"n\":{\"b\":{\"$parquet\":\"wrong_type: bytes that are not UTF-8, within a list, a map or a structure\"}},\
             \"$parquet\":{\"s\":\"timestamp\",\"d\":\"date\",\"n\":{\"b\":\"utf8\"}}}",
        ]
    );
}

#[test]
fn maps_of_any_keys_are_objects() {
    let mut map = MapBuilder::new(None, Int32Builder::new(), StringBuilder::new());
    map.keys().append_value(7);
    map.values().append_value("x");
    map.append(true).unwrap();
    let file = write(vec![("m", Arc::new(map.finish()))]);
    assert_eq!(all("x.parquet", file), ["1:{\"m\":{\"7\":\"x\"}}"]);
}

/// A file with an INT96 and a UUID, which Arrow does not write.
pub(super) fn int96_and_uuid(rows: &[(Int96, [u8; 16])]) -> Vec<u8> {
    let schema = "message m { required int96 at; required fixed_len_byte_array(16) u (UUID); }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut file = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut file, schema, Arc::new(WriterProperties::default())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let times: Vec<Int96> = rows.iter().map(|(at, _)| *at).collect();
    let ids: Vec<FixedLenByteArray> =
        rows.iter().map(|(_, id)| FixedLenByteArray::from(id.to_vec())).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int96Type>().write_batch(&times, None, None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<FixedLenByteArrayType>().write_batch(&ids, None, None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.close().unwrap();
    file
}

#[test]
fn int96_is_not_wrapped_and_uuids_are_formatted() {
    /// The Julian day of 1970-01-01.
    const EPOCH: u32 = 2_440_588;
    let at = |day: u32, nanos: u64| {
        let mut at = Int96::new();
        at.set_data(nanos as u32, (nanos >> 32) as u32, day);
        at
    };
    let id = *b"\xfb\xe5\x3c\x66\x34\x42\x47\x73\xb1\x9e\xd3\xec\x6f\x54\xdd\xdf";
    // 3000-01-01 is beyond the nanoseconds of 64 bits, and the year 20000 beyond those of a table.
    let file = int96_and_uuid(&[
        (at(EPOCH, 500_000_000), id),
        (at(EPOCH + 376_200, 0), id),
        (at(EPOCH + 6_600_000, 0), id),
    ]);
    let rows = all("x.parquet", file);
    assert!(rows[0].contains("\"at\":\"1970-01-01T00:00:00.500\""), "{}", rows[0]);
    assert!(rows[0].contains("\"u\":\"fbe53c66-3442-4773-b19e-d3ec6f54dddf\""), "{}", rows[0]);
    assert!(rows[1].contains("\"at\":\"3000-01-01T00:00:00\""), "{}", rows[1]);
    assert!(rows[2].contains("\"at\":{\"$parquet\":\"out_of_range: "), "{}", rows[2]);
}

#[test]
fn uuids_in_lists_maps_and_structures_are_formatted() {
    let schema = "message m {
        required group l (LIST) { repeated group list { required fixed_len_byte_array(16) element (UUID); } }
        required group m (MAP) { repeated group key_value {
            required fixed_len_byte_array(16) key (UUID); required double value; } }
        required group s (LIST) { repeated group list { required group element {
            required fixed_len_byte_array(16) id (UUID); required double x; required fixed_len_byte_array(16) b; } } } }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut file = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut file, schema, Arc::new(WriterProperties::default())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let bytes = |text: &[u8; 16]| FixedLenByteArray::from(text.to_vec());
    let id = bytes(b"\xfb\xe5\x3c\x66\x34\x42\x47\x73\xb1\x9e\xd3\xec\x6f\x54\xdd\xdf");
    // Two rows, of one item each.
    for numbers in [None, None, Some([1.5, f64::NAN]), None, Some([2.5, f64::NAN]), None] {
        let mut column = group.next_column().unwrap().unwrap();
        let levels = (Some(&[1, 1][..]), Some(&[0, 0][..]));
        match numbers {
            Some(numbers) => {
                column.typed::<parquet::data_type::DoubleType>().write_batch(&numbers, levels.0, levels.1)
            }
            None => {
                let ids = [id.clone(), id.clone()];
                column.typed::<FixedLenByteArrayType>().write_batch(&ids, levels.0, levels.1)
            }
        }
        .unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    let rows = all("x.parquet", file);
    let uuid = "\"fbe53c66-3442-4773-b19e-d3ec6f54dddf\"";
    assert!(
        rows[0].contains(&format!("{{\"l\":[{uuid}],\"m\":{{{uuid}:1.5}},\"s\":[{{\"id\":{uuid},\"x\":2.5,")),
        "{}",
        rows[0]
    );
    let nan = "{\"$parquet\":\"out_of_range: NaN\"}";
    assert!(rows[1].contains(&format!("\"m\":{{{uuid}:{nan}}}")), "{}", rows[1]);
    assert!(
        rows[1].contains(&format!("\"x\":{nan},\"b\":{{\"$parquet\":\"wrong_type: bytes")),
        "{}",
        rows[1]
    );
}

#[test]
fn intervals_are_refused_and_dictionaries_of_any_type_are_read() {
    let interval =
        arrow::array::IntervalDayTimeArray::from(vec![arrow::datatypes::IntervalDayTime::new(2, 3500)]);
    let amounts: ArrayRef =
        Arc::new(arrow::array::Decimal128Array::from(vec![150]).with_precision_and_scale(5, 2).unwrap());
    let key = arrow::array::Int8Array::from(vec![0]);
    let amounts = arrow::array::DictionaryArray::new(key, amounts);
    let file = write(vec![("h", Arc::new(interval)), ("d", Arc::new(amounts))]);
    let rows = all("x.parquet", file);
    assert!(
        rows[0].contains("\"d\":1.50}") && rows[0].contains("\"h\":{\"$parquet\":\"wrong_type: an interval"),
        "{}",
        rows[0]
    );
}

#[test]
fn numbers_of_16_and_32_bits_are_the_digits_that_name_them() {
    let numbers = Float32Array::from(vec![Some(0.1), Some(1.5), Some(-2.0), Some(65504.0), Some(6e-8), None]);
    let half = arrow::compute::cast(&numbers, &DataType::Float16).expect("numbers");
    let texts = ["0.1", "1.5", "-2.0", "65504.0", "6.0e-8", "null"];
    let rows: Vec<String> =
        (1..).zip(texts).map(|(row, text)| format!("{row}:{{\"h\":{text},\"f\":{text}}}")).collect();
    assert_eq!(all("x.parquet", write(vec![("h", half), ("f", Arc::new(numbers))])), rows);
    // Integers are exact.
    let integers: ArrayRef = Arc::new(Float32Array::from(vec![123_456_792.0, 16_777_216.0]));
    let rows = ["1:{\"f\":123456792.0}", "2:{\"f\":16777216.0}"];
    assert_eq!(all("x.parquet", write(vec![("f", integers)])), rows);
}

#[test]
fn a_variant_is_not_taken_for_its_parts() {
    let schema = "message m { required int64 i; \
                  optional group v (VARIANT) { required binary metadata; required binary value; } }";
    let schema = Arc::new(parse_message_type(schema).unwrap());
    let mut file = Vec::new();
    let mut writer =
        SerializedFileWriter::new(&mut file, schema, Arc::new(WriterProperties::default())).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<Int64Type>().write_batch(&[1, 2], None, None).unwrap();
    column.close().unwrap();
    while let Some(mut column) = group.next_column().unwrap() {
        column.typed::<ByteArrayType>().write_batch(&["x".into()], Some(&[1, 0]), None).unwrap();
        column.close().unwrap();
    }
    group.close().unwrap();
    writer.close().unwrap();
    let rows = all("x.parquet", file);
    assert!(
        rows[0].contains("\"v\":{\"$parquet\":\"wrong_type: a variant, which is not read"),
        "{}",
        rows[0]
    );
    assert!(rows[1].starts_with("2:{\"i\":2,\"v\":null,"), "{}", rows[1]);
}
