//! Parquet: reads batches of rows, and returns each row as a JSON object that includes nulls ([`RowWriter`]).
//!
//! A small Parquet file can contain very much data: each repetition of a dictionary's text takes a few bits. So texts are read as views of
//! the dictionary, and only as many rows at a time are written as JSON as fit in memory.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Fields, Schema, TimeUnit};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::basic::{LogicalType, Type as PhysicalType};
use parquet::errors::ParquetError;
use parquet::file::metadata::{
    ColumnChunkMetaData, FileMetaData, ParquetMetaData, ParquetMetaDataReader, RowGroupMetaData,
};
use parquet::file::reader::ChunkReader;
use parquet::schema::types::{ColumnDescPtr, Type, TypePtr};

use super::error::FormatError;
use super::footer;
use super::format_reader::FormatReader;
use super::limits::ReadLimits;
use super::record::{Record, too_large_error};
use super::row_writer::RowWriter;
use crate::reason::{Reason, RecordError};

/// Rows in memory at a time, as views.
const BATCH_ROWS: usize = 1024;

pub(super) struct Table {
    batches: ParquetRecordBatchReader,
    rows: RowWriter,
    limits: ReadLimits,
    /// The current batch, and how many of its rows have been written as JSON.
    batch: RecordBatch,
    written: usize,
    /// The rows written last, the ends of those that have not been returned yet, and the start of the next.
    lines: Vec<u8>,
    ends: VecDeque<usize>,
    start: usize,
    row: u64,
}

impl Table {
    pub(super) fn new(file: impl ChunkReader + 'static, limits: ReadLimits) -> Result<Table, ParquetError> {
        let (batches, rows) = catch_panic(|| {
            let repaired = footer::check(&file)?;
            let options = ArrowReaderOptions::new();
            let read = match repaired {
                None => ArrowReaderMetadata::load(&file, options.clone())?,
                Some(footer) => {
                    let metadata = ParquetMetaDataReader::decode_metadata(&footer)?;
                    ArrowReaderMetadata::try_new(Arc::new(metadata), options.clone())?
                }
            };
            let columns = read.metadata().file_metadata().schema_descr().columns();
            let mut leaves = columns.iter();
            let fields: Fields =
                read.schema().fields().iter().map(|field| as_read(field, &mut leaves)).collect();
            let uuids = columns.iter().map(|column| column.logical_type_ref() == Some(&LogicalType::Uuid));
            let columns_as_read = fields.iter().map(|field| (field.name().as_str(), field.data_type()));
            let schema = read.metadata().file_metadata().schema();
            let has_one = |field: &&TypePtr| has_variant(field);
            let variants: Vec<&str> =
                schema.get_fields().iter().filter(has_one).map(|field| field.name()).collect();
            let rows = RowWriter::new(columns_as_read, uuids, &|name| variants.contains(&name));
            let metadata = ArrowReaderMetadata::try_new(
                repair_metadata(read.metadata())?,
                options.with_schema(Arc::new(Schema::new(fields))),
            )?;
            let batches = ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
                .with_batch_size(BATCH_ROWS)
                .build()?;
            Ok((batches, rows))
        })?;
        let batch = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let (lines, ends) = (Vec::new(), VecDeque::new());
        Ok(Table { batches, rows, limits, batch, written: 0, lines, ends, start: 0, row: 0 })
    }

    /// Whether all written rows have been returned, so that the next call decodes.
    pub(super) fn needs_rows(&self) -> bool {
        self.ends.is_empty()
    }

    /// Writes the next rows as lines of JSON; returns false at the end of the file.
    fn write_rows(&mut self) -> Result<bool, FormatError> {
        self.lines.clear();
        self.start = 0;
        while self.written == self.batch.num_rows() {
            let Some(batch) = catch_panic(|| self.batches.next().transpose().map_err(ParquetError::from))?
            else {
                return Ok(false);
            };
            (self.batch, self.written) = (batch, 0);
        }
        // Escapes make JSON up to six times as long: this limits the rows at a time, not the length of a record.
        let limit = self.limits.max_record_bytes as u64;
        let mut rows = self.batch.num_rows() - self.written;
        while rows > 1 && estimate_json_bytes(&self.batch.slice(self.written, rows)) > limit {
            rows = rows.div_ceil(2);
        }
        let next = self.batch.slice(self.written, rows);
        self.written += rows;
        if rows == 1 && estimate_json_bytes(&next) > limit {
            // A placeholder keeps the row numbers correct.
            self.ends.push_back(TOO_LARGE);
            return Ok(true);
        }
        catch_panic(|| {
            self.rows.write(&next, &mut self.lines);
            Ok(())
        })?;
        // JSON escapes line feeds within a row.
        self.ends = (0..self.lines.len()).filter(|at| self.lines[*at] == b'\n').collect();
        Ok(true)
    }
}

/// The end of a row that is too large and was not written.
const TOO_LARGE: usize = usize::MAX;

/// What is wrong with a file on which the Parquet library fails.
pub(super) const UNREADABLE: &str =
    "the file is damaged, or has a type that is not read, such as integers of 128 bits";

/// Turns a panic of the Parquet library into an error: it panics on some damaged files.
fn catch_panic<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    std::panic::catch_unwind(AssertUnwindSafe(work))
        .unwrap_or_else(|_| Err(ParquetError::General(format!("the reader failed: {UNREADABLE}"))))
}

/// Whether a field is a variant, or has one inside. Recurses as deep as the schema nests, which `footer` limits.
fn has_variant(field: &Type) -> bool {
    matches!(field.get_basic_info().logical_type_ref(), Some(LogicalType::Variant(_)))
        || field.is_group() && field.get_fields().iter().any(|inner| has_variant(inner))
}

/// The metadata without what some writers get wrong: the number of rows of the file, which may be 0 and then hides all rows, is that of
/// the row groups; the offset of a dictionary that does not exist, which may be 0 where it should be missing, is left out.
fn repair_metadata(metadata: &Arc<ParquetMetaData>) -> Result<Arc<ParquetMetaData>, ParquetError> {
    let file = metadata.file_metadata();
    let rows = metadata.row_groups().iter().map(|group| group.num_rows()).sum();
    let columns = || metadata.row_groups().iter().flat_map(|group| group.columns());
    let has_no_dictionary = columns().any(has_false_dictionary);
    if file.num_rows() == rows && !has_no_dictionary {
        return Ok(Arc::clone(metadata));
    }
    let mut groups = metadata.row_groups().to_vec();
    if has_no_dictionary {
        groups = groups.into_iter().map(repair_group).collect::<Result<_, _>>()?;
    }
    let counted = FileMetaData::new(
        file.version(),
        rows,
        file.created_by().map(str::to_owned),
        file.key_value_metadata().cloned(),
        file.schema_descr_ptr(),
        file.column_orders().cloned(),
    );
    Ok(Arc::new(ParquetMetaData::new(counted, groups)))
}

/// The first bytes of a file are `PAR1`: no page begins there.
const FIRST_PAGE: i64 = 4;

fn has_false_dictionary(column: &ColumnChunkMetaData) -> bool {
    column.dictionary_page_offset().is_some_and(|offset| (0..FIRST_PAGE).contains(&offset))
}

fn repair_group(group: RowGroupMetaData) -> Result<RowGroupMetaData, ParquetError> {
    let columns = group.columns().iter().map(|column| {
        if has_false_dictionary(column) {
            column.clone().into_builder().set_dictionary_page_offset(None).build()
        } else {
            Ok(column.clone())
        }
    });
    let columns = columns.collect::<Result<_, _>>()?;
    group.into_builder().set_column_metadata(columns).build()
}

/// The field as it is read: texts and bytes as views, and the points in time of INT96 in microseconds, because they may be outside the
/// range of nanoseconds, in which the library would wrap them. `leaves` are the columns of the file that follow.
fn as_read<'a>(field: &FieldRef, leaves: &mut impl Iterator<Item = &'a ColumnDescPtr>) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::List(item) => DataType::List(as_read(item, leaves)),
        DataType::LargeList(item) => DataType::LargeList(as_read(item, leaves)),
        DataType::FixedSizeList(item, length) => DataType::FixedSizeList(as_read(item, leaves), *length),
        DataType::Struct(fields) => {
            DataType::Struct(fields.iter().map(|field| as_read(field, leaves)).collect())
        }
        DataType::Map(entries, is_sorted) => DataType::Map(as_read(entries, leaves), *is_sorted),
        leaf => {
            let column = leaves.next();
            let is_int96 = column.is_some_and(|column| column.physical_type() == PhysicalType::INT96);
            let value = match leaf {
                DataType::Dictionary(_, value) => value.as_ref(),
                other => other,
            };
            match value {
                DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
                DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
                DataType::Timestamp(_, zone) if is_int96 => {
                    DataType::Timestamp(TimeUnit::Microsecond, zone.clone())
                }
                // The reader has dictionaries of texts and bytes only.
                other => other.clone(),
            }
        }
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// Estimates the length of the rows as JSON.
fn estimate_json_bytes(rows: &RecordBatch) -> u64 {
    rows.columns().iter().map(|column| estimate_bytes(column)).sum()
}

fn estimate_bytes(array: &dyn Array) -> u64 {
    // The low 32 bits of a view are its length.
    let views = |views: &[u128]| views.iter().map(|view| u64::from(*view as u32)).sum();
    match array.data_type() {
        DataType::Utf8View => views(array.as_string_view().views()),
        DataType::BinaryView => views(array.as_binary_view().views()),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
            estimate_bytes(&list.values().slice(first, last - first))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let offsets = list.value_offsets();
            let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
            estimate_bytes(&list.values().slice(first, last - first))
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let offsets = map.value_offsets();
            let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
            estimate_bytes(&map.entries().slice(first, last - first))
        }
        DataType::FixedSizeList(..) => estimate_bytes(array.as_fixed_size_list().values()),
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| estimate_bytes(column)).sum(),
        DataType::Utf8 => offset_range(array.as_string::<i32>().value_offsets()),
        DataType::Binary => offset_range(array.as_binary::<i32>().value_offsets()),
        DataType::LargeUtf8 => offset_range(array.as_string::<i64>().value_offsets()),
        DataType::LargeBinary => offset_range(array.as_binary::<i64>().value_offsets()),
        DataType::FixedSizeBinary(width) => array.len() as u64 * u64::from(width.unsigned_abs()),
        data_type => array.len() as u64 * data_type.primitive_width().unwrap_or(16) as u64,
    }
}

/// The number of bytes between the first and the last offset.
fn offset_range<O: arrow::array::OffsetSizeTrait>(offsets: &[O]) -> u64 {
    match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => (last.as_usize() - first.as_usize()) as u64,
        _ => 0,
    }
}

impl FormatReader for Table {
    fn read_record<'a>(&'a mut self, buffer: &'a mut Vec<u8>) -> Result<Option<Record<'a>>, FormatError> {
        loop {
            if let Some(end) = self.ends.pop_front() {
                self.row += 1;
                if end == TOO_LARGE {
                    buffer.extend_from_slice(format!("row {}", self.row).as_bytes());
                    let detail = format!(
                        "longer than {} bytes; its bytes are left out here, and are in the file",
                        self.limits.max_record_bytes
                    );
                    let error = Some(RecordError { reason: Reason::TooLarge, detail });
                    return Ok(Some(Record { bytes: buffer, position: self.row, error }));
                }
                let line = &self.lines[self.start..end];
                self.start = end + 1;
                let kept = line.len().min(self.limits.max_record_bytes);
                let omitted = (line.len() - kept) as u64;
                let error = (omitted > 0).then(|| too_large_error(&self.limits, omitted));
                return Ok(Some(Record { bytes: &line[..kept], position: self.row, error }));
            }
            if !self.write_rows()? {
                return Ok(None);
            }
        }
    }
}
