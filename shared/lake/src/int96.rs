//! Points in time of INT96, which Spark writes. They are read in microseconds: the Parquet library would read them in nanoseconds, and wrap
//! those that are not between the years 1677 and 2262.

use std::sync::Arc;

use arrow::datatypes::{DataType, FieldRef, Fields, Schema, SchemaRef, TimeUnit};
use parquet::arrow::arrow_reader::{ArrowReaderMetadata, ArrowReaderOptions};
use parquet::basic::Type as PhysicalType;
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;

/// Loads the metadata with which a file is read.
///
/// # Errors
/// If the file is not Parquet.
pub(crate) fn load_metadata(file: &impl ChunkReader) -> Result<ArrowReaderMetadata, ParquetError> {
    let read = ArrowReaderMetadata::load(file, ArrowReaderOptions::new())?;
    match schema_in_micros(&read) {
        None => Ok(read),
        Some(schema) => {
            let options = ArrowReaderOptions::new().with_schema(schema);
            ArrowReaderMetadata::try_new(Arc::clone(read.metadata()), options)
        }
    }
}

/// The schema with INT96 in microseconds; `None` if the file has no INT96.
fn schema_in_micros(read: &ArrowReaderMetadata) -> Option<SchemaRef> {
    let columns = read.parquet_schema().columns();
    let mut is_int96 = columns.iter().map(|column| column.physical_type() == PhysicalType::INT96);
    if !is_int96.clone().any(|is_int96| is_int96) {
        return None;
    }
    let fields: Fields = read.schema().fields().iter().map(|field| in_micros(field, &mut is_int96)).collect();
    Some(Arc::new(Schema::new_with_metadata(fields, read.schema().metadata().clone())))
}

/// `is_int96` says so of each column of the file that follows.
fn in_micros(field: &FieldRef, is_int96: &mut impl Iterator<Item = bool>) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::List(item) => DataType::List(in_micros(item, is_int96)),
        DataType::LargeList(item) => DataType::LargeList(in_micros(item, is_int96)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(in_micros(item, is_int96), *length),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| in_micros(field, is_int96)).collect())
        }
        DataType::Map(entries, is_sorted) => DataType::Map(in_micros(entries, is_int96), *is_sorted),
        leaf => match (leaf, is_int96.next()) {
            (DataType::Timestamp(_, zone), Some(true)) => {
                DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
            }
            _ => leaf.clone(),
        },
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::cast::AsArray;
    use arrow::datatypes::TimestampMicrosecondType;
    use bytes::Bytes;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use parquet::data_type::{Int64Type, Int96, Int96Type};
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;

    /// 1970-01-01 in Julian days.
    const EPOCH: u32 = 2_440_588;

    #[test]
    fn years_outside_the_range_of_nanoseconds_are_read() {
        let schema = "message m { required int64 i; required group l (LIST) \
                      { repeated group list { required int96 element; } } required int96 at; }";
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let days = [0_u32, 2_932_896];
        let times: Vec<Int96> = days.iter().map(|day| Int96::from(vec![0, 0, EPOCH + day])).collect();
        let mut file = Vec::new();
        let properties = Arc::new(WriterProperties::default());
        let mut writer = SerializedFileWriter::new(&mut file, schema, properties).unwrap();
        let mut group = writer.next_row_group().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int64Type>().write_batch(&[1, 2], None, None).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int96Type>().write_batch(&times, Some(&[1, 1]), Some(&[0, 0])).unwrap();
        column.close().unwrap();
        let mut column = group.next_column().unwrap().unwrap();
        column.typed::<Int96Type>().write_batch(&times, None, None).unwrap();
        column.close().unwrap();
        group.close().unwrap();
        writer.close().unwrap();

        let file = Bytes::from(file);
        let metadata = load_metadata(&file).unwrap();
        let mut batches = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata).build().unwrap();
        let batch = batches.next().unwrap().unwrap();
        let expected = days.map(|day| i64::from(day) * 86_400_000_000);
        let micros = |array: &dyn arrow::array::Array| {
            array.as_primitive::<TimestampMicrosecondType>().values().to_vec()
        };
        assert_eq!(micros(batch.column(2)), expected);
        assert_eq!(micros(batch.column(1).as_list::<i32>().values()), expected);
    }
}
