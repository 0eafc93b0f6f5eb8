//! Data files: rows as Parquet, with the statistics for the log.

use std::collections::HashSet;

use arrow::array::{ArrayRef, BooleanArray, RecordBatch, StructArray, new_empty_array, new_null_array};
use arrow::compute::{
    CastOptions, FilterBuilder, FilterPredicate, cast, cast_with_options, filter_record_batch,
};
use arrow::datatypes::{DataType, Field, FieldRef, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};
use bytes::Bytes;
use delta_kernel::expressions::ColumnName;
use delta_kernel::schema::StructType;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::{ArrowColumnChunk, ArrowColumnWriter, ArrowWriterOptions, compute_leaves};
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use parquet::schema::types::ColumnPath;
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use crate::error::LakeError;
use crate::int96;
use crate::keys::epoch::KeyEpoch;
use crate::partition_values::{self, PartitionValues};
use crate::statistics::{self, ColumnStatistics};

/// Rows of a row group: the default of the Parquet writer.
const GROUP_ROWS: usize = 1 << 20;
/// The columns of a smaller row group are encoded one after the other, because parallel encoding is no faster.
const PARALLEL_ENCODE_BYTES: usize = 1 << 20;

/// The rows that are sampled for repeated values, and how many of them may repeat in a column that gets no dictionary.
/// One repetition in a hundred, in a sample of 2,048, means about a hundred thousand distinct values: more than a
/// dictionary holds.
const SAMPLE_ROWS: usize = 2048;
const MAX_REPEATED: usize = SAMPLE_ROWS / 100;

/// Entry of a data file's metadata: the epoch of its rows' keys.
const EPOCH_METADATA_KEY: &str = "pinlake.identity";

/// A data file of a table, as it is in the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataFile {
    /// Relative to the table's folder.
    pub path: String,
    /// Size in bytes.
    pub size: u64,
    /// Number of rows, if the log has statistics.
    pub rows: Option<u64>,
    /// Its values of the table's partition columns, which it does not contain.
    pub partition: PartitionValues,
}

/// The path of a data file from the lake's root. The log has it URL-encoded (Delta protocol, "Add File and Remove File").
pub(crate) fn absolute_path(table: &Path, file: &str) -> Path {
    let relative = Path::from_url_path(file).unwrap_or_else(|_| Path::from(file));
    Path::from_iter(table.parts().chain(relative.parts()))
}

/// An encoded data file that is not in the log yet.
#[derive(Debug)]
pub(crate) struct EncodedFile {
    /// Parquet.
    pub bytes: Bytes,
    /// One row: numRecords, minValues, maxValues, nullCount (Delta protocol, "Per-file Statistics").
    pub stats: StructArray,
}

/// Reads the bytes of the data file at `path`.
///
/// # Errors
/// If the store fails.
pub(crate) async fn get(store: &dyn ObjectStore, path: &Path) -> Result<Bytes, LakeError> {
    let got = store.get(path).await.map_err(LakeError::store(path))?;
    got.bytes().await.map_err(LakeError::store(path))
}

/// A data file whose metadata is read.
pub(crate) struct OpenFile {
    /// The epoch of its rows' keys. Files of other programs and of early versions do not name one.
    pub epoch: Option<KeyEpoch>,
    /// Its rows, in its own columns.
    pub batches: ParquetRecordBatchReader,
}

/// Opens the bytes of the data file at `path`.
///
/// # Errors
/// If they are not Parquet.
pub(crate) fn open(path: &Path, bytes: Bytes) -> Result<OpenFile, LakeError> {
    let metadata = int96::load_metadata(&bytes).map_err(LakeError::damaged(path))?;
    let builder = ParquetRecordBatchReaderBuilder::new_with_metadata(bytes, metadata);
    let entries = builder.metadata().file_metadata().key_value_metadata();
    let epoch = entries.into_iter().flatten().find(|entry| entry.key == EPOCH_METADATA_KEY);
    let epoch = epoch.and_then(|entry| KeyEpoch::parse(entry.value.as_deref()?));
    Ok(OpenFile { epoch, batches: builder.build().map_err(LakeError::damaged(path))? })
}

/// Converts `batch`, rows of a data file, to `columns`. Another program may have written it with other types of the same values, in another
/// order, or without a column whose values are all null. The values of partition columns are those in the log.
///
/// # Errors
/// If a value does not fit its column's type.
pub(crate) fn conform(
    batch: &RecordBatch,
    columns: &SchemaRef,
    partition: &PartitionValues,
) -> Result<RecordBatch, ArrowError> {
    let count = batch.num_rows();
    let arrays = columns.fields().iter().map(|field| {
        if let Some(value) = partition.get(field.name()) {
            return partition_values::fill_column(value.as_deref(), field.data_type(), count);
        }
        match batch.column_by_name(field.name()) {
            Some(array) => convert(array, field.data_type()),
            None => Ok(new_null_array(field.data_type(), count)),
        }
    });
    RecordBatch::try_new(columns.clone(), arrays.collect::<Result<_, _>>()?)
}

/// Converts values to the type of a column. A decimal is neither rounded nor null because it has too many digits.
fn convert(values: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, ArrowError> {
    let DataType::Decimal128(_, scale) = wanted else { return cast(values, wanted) };
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let own = values.data_type();
    if own.is_floating() {
        return Err(ArrowError::CastError(format!("values of the type {own} are no decimals")));
    }
    let converted = cast_with_options(values, wanted, &strict)?;
    if matches!(own, DataType::Decimal128(_, own) | DataType::Decimal256(_, own) if own > scale)
        && cast_with_options(&converted, own, &strict)?.to_data() != values.to_data()
    {
        return Err(ArrowError::CastError(format!(
            "a value of the type {own} has more digits than {wanted}"
        )));
    }
    Ok(converted)
}

/// Rows to write: a batch, or some rows of it.
#[derive(Debug)]
pub(crate) struct Rows {
    /// Table columns only.
    batch: RecordBatch,
    /// The selected rows. They are copied one column at a time, when the column is encoded.
    filter: Option<(BooleanArray, FilterPredicate)>,
}

impl Rows {
    /// The rows of `batch` that `mask` selects.
    pub(crate) fn filter(batch: RecordBatch, mask: BooleanArray) -> Self {
        let filter = FilterBuilder::new(&mask).optimize().build();
        let filter = (filter.count() < batch.num_rows()).then_some((mask, filter));
        Self { batch, filter }
    }

    /// The number of rows.
    pub(crate) fn count(&self) -> usize {
        self.filter.as_ref().map_or(self.batch.num_rows(), |(_, filter)| filter.count())
    }

    /// The same rows without some of their columns.
    pub(crate) fn without_columns(&self, names: &PartitionValues) -> Result<Self, ArrowError> {
        let fields = self.schema().fields().iter().enumerate();
        let kept: Vec<usize> =
            fields.filter(|(_, field)| !names.contains_key(field.name())).map(|(at, _)| at).collect();
        let batch = self.batch.project(&kept)?;
        Ok(match &self.filter {
            Some((mask, _)) => Self::filter(batch, mask.clone()),
            None => batch.into(),
        })
    }

    /// A copy of the selected rows.
    pub(crate) fn to_batch(&self) -> Result<RecordBatch, ArrowError> {
        match &self.filter {
            Some((mask, _)) => filter_record_batch(&self.batch, mask),
            None => Ok(self.batch.clone()),
        }
    }

    fn schema(&self) -> &Schema {
        self.batch.schema_ref()
    }

    fn column(&self, at: usize) -> Result<ArrayRef, ArrowError> {
        let column = self.batch.column(at);
        self.filter.as_ref().map_or_else(|| Ok(column.clone()), |(_, filter)| filter.filter(column))
    }

    /// The first `count` rows. There must be as many.
    fn first(&self, count: usize) -> Result<RecordBatch, ArrowError> {
        let Some((mask, _)) = &self.filter else { return Ok(self.batch.slice(0, count)) };
        let end = mask.values().set_indices().nth(count).unwrap_or(mask.len());
        filter_record_batch(&self.batch.slice(0, end), &mask.slice(0, end))
    }
}

impl From<RecordBatch> for Rows {
    fn from(batch: RecordBatch) -> Self {
        Self { batch, filter: None }
    }
}

/// Encodes `rows`, whose keys are of `epoch`, as one Parquet file. They are sorted by the columns `sorted_by`.
///
/// # Errors
/// If there are no rows, or Arrow or Parquet cannot encode them.
pub(crate) fn encode(
    dataset: &str,
    rows: &[Rows],
    epoch: KeyEpoch,
    sorted_by: &[String],
    stats_columns: &[ColumnName],
    schema: &StructType,
) -> Result<EncodedFile, LakeError> {
    let first = rows.first().ok_or_else(|| LakeError::encode(dataset)("there are none"))?;
    let statistics =
        first.schema().fields().iter().map(|field| ColumnStatistics::new(field, stats_columns, schema));
    let mut statistics: Vec<_> = statistics.collect();
    let bytes =
        encode_parquet(rows, epoch, sorted_by, &mut statistics).map_err(LakeError::encode(dataset))?;
    let stats = statistics::finish_file(statistics).map_err(LakeError::delta(dataset))?;
    Ok(EncodedFile { bytes: bytes.into(), stats })
}

fn encode_parquet(
    rows: &[Rows],
    epoch: KeyEpoch,
    sorted_by: &[String],
    statistics: &mut [ColumnStatistics],
) -> Result<Vec<u8>, ParquetError> {
    let schema = rows[0].batch.schema();
    let mut properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1)?))
        .set_key_value_metadata(Some(vec![KeyValue::new(EPOCH_METADATA_KEY.to_owned(), epoch.to_string())]))
        .set_created_by(format!("pinlake {}", env!("CARGO_PKG_VERSION")));
    for column in find_columns_without_repetition(&rows[0])? {
        properties = properties.set_column_dictionary_enabled(column, false);
    }
    let is_unsorted_text =
        |field: &&FieldRef| field.data_type() == &DataType::Utf8 && !sorted_by.contains(field.name());
    for field in schema.fields().iter().filter(is_unsorted_text) {
        // The log has the minimum and the maximum of the file. Finding them for each page costs as much as encoding the
        // texts, and rarely lets a reader skip a page.
        let column = ColumnPath::from(field.name().as_str());
        properties = properties.set_column_statistics_enabled(column, EnabledStatistics::None);
    }
    let properties = properties.build();
    // Readers take the types from the table's schema, so a copy of the Arrow schema in each file would only add bytes.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let mut bytes = Vec::new();
    let writer = ArrowWriter::try_new_with_options(&mut bytes, schema, options)?;
    let (mut file, columns) = writer.into_serialized_writer()?;
    for (number, rows) in split_into_row_groups(rows).into_iter().enumerate() {
        let mut group = file.next_row_group()?;
        for chunk in encode_columns(rows, columns.create_column_writers(number)?, statistics)? {
            chunk.append_to_row_group(&mut group)?;
        }
        group.close()?;
    }
    file.close()?;
    Ok(bytes)
}

/// The columns whose values rarely repeat. Their dictionary would be abandoned when it is full, or be as large as the
/// column.
fn find_columns_without_repetition(rows: &Rows) -> Result<Vec<ColumnPath>, ParquetError> {
    let mut found = Vec::new();
    if rows.count() < SAMPLE_ROWS {
        return Ok(found);
    }
    let sample = rows.first(SAMPLE_ROWS)?;
    for (field, column) in sample.schema_ref().fields().iter().zip(sample.columns()) {
        if field.data_type().is_nested() || field.data_type() == &DataType::Boolean {
            continue;
        }
        let converter = RowConverter::new(vec![SortField::new(field.data_type().clone())])?;
        let values = converter.convert_columns(std::slice::from_ref(column))?;
        let distinct = values.iter().collect::<HashSet<_>>().len();
        if distinct + MAX_REPEATED >= SAMPLE_ROWS {
            found.push(ColumnPath::from(field.name().as_str()));
        }
    }
    Ok(found)
}

/// Splits the batches into runs of at most [`GROUP_ROWS`] rows and at least one batch.
fn split_into_row_groups(all: &[Rows]) -> Vec<&[Rows]> {
    let (mut groups, mut start, mut count) = (Vec::new(), 0, 0);
    for (at, rows) in all.iter().enumerate() {
        if at > start && count + rows.count() > GROUP_ROWS {
            groups.push(&all[start..at]);
            (start, count) = (at, 0);
        }
        count += rows.count();
    }
    groups.push(&all[start..]);
    groups
}

/// Encodes the columns of one row group, in parallel if it is large enough.
fn encode_columns(
    group: &[Rows],
    writers: Vec<ArrowColumnWriter>,
    statistics: &mut [ColumnStatistics],
) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
    let mut writers = writers.into_iter();
    let mut columns = Vec::new();
    for ((at, field), statistics) in group[0].schema().fields().iter().enumerate().zip(statistics) {
        let leaves = compute_leaves(field, &new_empty_array(field.data_type()))?.len();
        let writers = writers.by_ref().take(leaves).collect();
        columns.push(Column { at, field, writers, statistics });
    }
    let bytes: usize = group.iter().map(|rows| rows.batch.get_array_memory_size()).sum();
    let chunks = if bytes < PARALLEL_ENCODE_BYTES {
        columns.into_iter().map(|column| column.encode(group)).collect::<Result<Vec<_>, _>>()?
    } else {
        columns.into_par_iter().map(|column| column.encode(group)).collect::<Result<Vec<_>, _>>()?
    };
    Ok(chunks.into_iter().flatten().collect())
}

/// A column of a row group.
struct Column<'a> {
    at: usize,
    field: &'a Field,
    writers: Vec<ArrowColumnWriter>,
    statistics: &'a mut ColumnStatistics,
}

impl Column<'_> {
    /// Filters, measures and encodes the values batch by batch, while they are in the processor's cache.
    fn encode(mut self, group: &[Rows]) -> Result<Vec<ArrowColumnChunk>, ParquetError> {
        for rows in group {
            let column = rows.column(self.at)?;
            self.statistics.add(&column).map_err(|error| ParquetError::External(Box::new(error)))?;
            for (leaf, writer) in compute_leaves(self.field, &column)?.iter().zip(&mut self.writers) {
                writer.write(leaf)?;
            }
        }
        self.writers.into_iter().map(ArrowColumnWriter::close).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;

    use arrow::array::{Array, Decimal128Array, Int64Array, ListArray, StringArray, UInt64Array};
    use arrow::compute::{concat_batches, take_record_batch};
    use arrow::datatypes::Float64Type;
    use delta_kernel::engine::arrow_conversion::TryIntoKernel;

    /// Rows of a number, a text and a list of two numbers, from `first` on.
    fn rows(first: i64, count: i64) -> RecordBatch {
        let numbers = first..first + count;
        let texts = numbers.clone().map(|number| (number % 7 != 0).then(|| format!("text {number}")));
        let pairs = numbers.clone().map(|number| {
            (number % 5 != 0).then(|| vec![Some(number as f64), (number % 3 != 0).then_some(0.5)])
        });
        let columns: [(&str, ArrayRef); 3] = [
            ("number", Arc::new(Int64Array::from_iter_values(numbers.clone()))),
            ("text", Arc::new(StringArray::from_iter(texts))),
            ("pair", Arc::new(ListArray::from_iter_primitive::<Float64Type, _, _>(pairs))),
        ];
        RecordBatch::try_from_iter_with_nullable(columns.map(|(name, column)| (name, column, true))).unwrap()
    }

    fn encode_rows(rows: &[Rows]) -> Bytes {
        let schema: StructType = rows[0].schema().try_into_kernel().unwrap();
        encode("x", rows, KeyEpoch::parse("0123456789abcdef").unwrap(), &[], &[], &schema).unwrap().bytes
    }

    #[test]
    fn decimals_of_another_program_keep_their_digits() {
        let columns = Arc::new(Schema::new(vec![Field::new("a", DataType::Decimal128(12, 2), true)]));
        let read = |unscaled: i128, scale: i8| {
            let values = Decimal128Array::from(vec![Some(unscaled), None]);
            let values = values.with_precision_and_scale(38, scale).unwrap();
            let batch = RecordBatch::try_from_iter([("a", Arc::new(values) as ArrayRef)]).unwrap();
            conform(&batch, &columns, &PartitionValues::new()).map(|rows| {
                rows.column(0).as_any().downcast_ref::<Decimal128Array>().unwrap().iter().collect::<Vec<_>>()
            })
        };
        assert_eq!(read(150, 2).unwrap(), [Some(150), None]);
        assert_eq!(read(15, 1).unwrap(), [Some(150), None]);
        assert_eq!(read(15_000, 4).unwrap(), [Some(150), None]);
        assert!(read(15_050, 4).unwrap_err().to_string().contains("more digits"));
        assert!(read(1_000_000_000_000, 2).is_err());
        let numbers: ArrayRef = Arc::new(arrow::array::Float64Array::from(vec![1.1]));
        let numbers = RecordBatch::try_from_iter([("a", numbers)]).unwrap();
        assert!(conform(&numbers, &columns, &PartitionValues::new()).is_err());
    }

    #[test]
    fn only_repeated_values_get_a_dictionary() {
        let rows = 4000;
        let column = |distinct: i64| -> ArrayRef {
            Arc::new(Int64Array::from_iter_values((0..rows).map(|row| row * 7919 % distinct)))
        };
        let names = ["unique", "nearly", "twice", "few"];
        let columns = [column(rows), column(2040), column(1500), column(9)];
        let batch = RecordBatch::try_from_iter(names.into_iter().zip(columns)).unwrap();
        let bytes = encode_rows(&[batch.clone().into()]);
        let reader = ParquetRecordBatchReaderBuilder::try_new(bytes.clone()).unwrap();
        let columns = reader.metadata().row_group(0).columns();
        let has_dictionary: Vec<_> =
            columns.iter().map(|column| column.dictionary_page_offset().is_some()).collect();
        assert_eq!(has_dictionary, [false, false, true, true]);
        assert_eq!(find_columns_without_repetition(&batch.slice(0, SAMPLE_ROWS - 1).into()).unwrap(), []);
        // Each row twice, of which the filter drops the second.
        let twice = (0..2 * rows as u64).map(|row| row / 2);
        let twice = take_record_batch(&batch, &UInt64Array::from_iter_values(twice)).unwrap();
        let first: BooleanArray = (0..twice.num_rows()).map(|row| Some(row % 2 == 0)).collect();
        let filtered = Rows::filter(twice, first);
        assert_eq!(filtered.first(SAMPLE_ROWS).unwrap(), batch.slice(0, SAMPLE_ROWS));
        assert_eq!(encode_rows(&[filtered]), bytes);
    }

    #[test]
    fn columns_encoded_in_parallel_decode_to_the_same_rows() {
        let few = vec![rows(0, 3), rows(3, 1)];
        let most = GROUP_ROWS as i64;
        let many = vec![rows(0, most / 2), rows(most / 2, most / 2), rows(most, 10), rows(most + 10, 90_000)];
        assert!(many.iter().map(RecordBatch::get_array_memory_size).sum::<usize>() > PARALLEL_ENCODE_BYTES);
        for (batches, groups) in [(few, 1), (many, 2)] {
            let schema = batches[0].schema();
            let bytes = encode_rows(&batches.iter().cloned().map(Rows::from).collect::<Vec<_>>());
            let reader = ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap();
            assert_eq!(reader.metadata().num_row_groups(), groups);
            let read: Vec<_> = reader.build().unwrap().map(Result::unwrap).collect();
            let (read, written) =
                (concat_batches(&read[0].schema(), &read), concat_batches(&schema, &batches));
            let (read, written) = (read.unwrap(), written.unwrap());
            for (column, field) in written.columns().iter().zip(schema.fields()) {
                let read = cast(read.column_by_name(field.name()).unwrap(), column.data_type()).unwrap();
                assert!(&read == column, "{}", field.name());
            }
        }
    }
}
