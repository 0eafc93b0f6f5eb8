//! Parquet: a batch of rows at a time, each row handed on as a JSON object with its nulls.
//!
//! A small Parquet file can stand for very much: a dictionary's one long text a thousand times in a batch costs the file
//! two bits a time. So texts are read as views of the dictionary, which are as small in memory, and are written out only
//! as many rows at a time as fit.

use std::collections::VecDeque;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, RecordBatch};
use arrow::datatypes::{DataType, FieldRef, Fields, Schema};
use arrow::json::writer::{LineDelimited, WriterBuilder};
use parquet::arrow::arrow_reader::{
    ArrowReaderMetadata, ArrowReaderOptions, ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder,
};
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;

use super::{CutError, Fault, FormatReader, Limits, Record, footer, too_large};
use crate::reason::Reason;

/// Rows that are in memory at a time, as views.
const BATCH_ROWS: usize = 1024;

pub(super) struct Table {
    batches: ParquetRecordBatchReader,
    limits: Limits,
    /// The batch at hand, and how many of its rows are written out.
    batch: RecordBatch,
    written: usize,
    /// Lines of those of its rows that are written out last, and how far they are handed out.
    lines: Vec<u8>,
    ends: VecDeque<usize>,
    start: usize,
    row: u64,
}

impl Table {
    pub(super) fn new(file: impl ChunkReader + 'static, limits: Limits) -> Result<Table, ParquetError> {
        let batches = guarded(|| {
            footer::check(&file)?;
            let options = ArrowReaderOptions::new();
            let read = ArrowReaderMetadata::load(&file, options.clone())?;
            let schema = Schema::new(read.schema().fields().iter().map(viewed).collect::<Fields>());
            let metadata = ArrowReaderMetadata::try_new(
                Arc::clone(read.metadata()),
                options.with_schema(Arc::new(schema)),
            )?;
            ParquetRecordBatchReaderBuilder::new_with_metadata(file, metadata)
                .with_batch_size(BATCH_ROWS)
                .build()
        })?;
        let batch = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let (lines, ends) = (Vec::new(), VecDeque::new());
        Ok(Table { batches, limits, batch, written: 0, lines, ends, start: 0, row: 0 })
    }

    /// Whether all rows that are written out are handed out.
    pub(super) fn is_at_a_batch(&self) -> bool {
        self.ends.is_empty()
    }

    /// Writes the next rows as lines; false at the end of the file.
    fn next_rows(&mut self) -> Result<bool, CutError> {
        self.lines.clear();
        self.start = 0;
        while self.written == self.batch.num_rows() {
            let Some(batch) = guarded(|| self.batches.next().transpose().map_err(ParquetError::from))? else {
                return Ok(false);
            };
            (self.batch, self.written) = (batch, 0);
        }
        // A text as JSON is a little longer than it is, or six times as long: this is the measure of rows at a time, not
        // of what one record may have.
        let most = self.limits.max_record_bytes as u64;
        let mut rows = self.batch.num_rows() - self.written;
        while rows > 1 && written_bytes(&self.batch.slice(self.written, rows)) > most {
            rows = rows.div_ceil(2);
        }
        let next = self.batch.slice(self.written, rows);
        self.written += rows;
        if rows == 1 && written_bytes(&next) > most {
            // Its place in the lines, so that it is counted where it stands.
            self.ends.push_back(TOO_LARGE);
            return Ok(true);
        }
        let lines = &mut self.lines;
        guarded(|| {
            let mut writer = WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(lines);
            writer.write(&next).and_then(|()| writer.finish()).map_err(ParquetError::from)
        })?;
        // JSON text has no line break within: what looks like one is escaped.
        self.ends = (0..self.lines.len()).filter(|at| self.lines[*at] == b'\n').collect();
        Ok(true)
    }
}

/// Stands for the end of a row that is not written out.
const TOO_LARGE: usize = usize::MAX;

/// The library panics over some files that are no Parquet behind their first bytes: that is such a file's fault.
fn guarded<T>(work: impl FnOnce() -> Result<T, ParquetError>) -> Result<T, ParquetError> {
    std::panic::catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|_| {
        Err(ParquetError::General("the reader broke off: the file is damaged".to_owned()))
    })
}

/// The field, its texts and bytes as views.
fn viewed(field: &FieldRef) -> FieldRef {
    let data_type = match field.data_type() {
        DataType::Dictionary(_, value) => value.as_ref(),
        other => other,
    };
    let data_type = match data_type {
        DataType::Utf8 | DataType::LargeUtf8 => DataType::Utf8View,
        DataType::Binary | DataType::LargeBinary => DataType::BinaryView,
        DataType::List(item) => DataType::List(viewed(item)),
        DataType::LargeList(item) => DataType::LargeList(viewed(item)),
        DataType::Struct(fields) => DataType::Struct(fields.iter().map(viewed).collect()),
        DataType::Map(entries, is_sorted) => DataType::Map(with_viewed_values(entries), *is_sorted),
        other => other.clone(),
    };
    Arc::new(field.as_ref().clone().with_data_type(data_type))
}

/// The entries of a map, their values viewed: JSON takes keys as they are.
fn with_viewed_values(entries: &FieldRef) -> FieldRef {
    let DataType::Struct(fields) = entries.data_type() else { return Arc::clone(entries) };
    let fields =
        fields.iter().enumerate().map(|(at, field)| if at == 0 { Arc::clone(field) } else { viewed(field) });
    Arc::new(entries.as_ref().clone().with_data_type(DataType::Struct(fields.collect())))
}

/// About how long the rows are when they are written out.
fn written_bytes(rows: &RecordBatch) -> u64 {
    rows.columns().iter().map(|column| bytes_of(column)).sum()
}

fn bytes_of(array: &dyn Array) -> u64 {
    // The lower half of a view's first word is its length.
    let views = |views: &[u128]| views.iter().map(|view| u64::from(*view as u32)).sum();
    match array.data_type() {
        DataType::Utf8View => views(array.as_string_view().views()),
        DataType::BinaryView => views(array.as_binary_view().views()),
        DataType::List(_) => {
            let list = array.as_list::<i32>();
            let offsets = list.value_offsets();
            let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
            bytes_of(&list.values().slice(first, last - first))
        }
        DataType::LargeList(_) => {
            let list = array.as_list::<i64>();
            let offsets = list.value_offsets();
            let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
            bytes_of(&list.values().slice(first, last - first))
        }
        DataType::Map(..) => {
            let map = array.as_map();
            let offsets = map.value_offsets();
            let (first, last) = (offsets[0] as usize, offsets[offsets.len() - 1] as usize);
            bytes_of(&map.entries().slice(first, last - first))
        }
        DataType::FixedSizeList(..) => bytes_of(array.as_fixed_size_list().values()),
        DataType::Struct(_) => array.as_struct().columns().iter().map(|column| bytes_of(column)).sum(),
        DataType::Utf8 => spanned(array.as_string::<i32>().value_offsets()),
        DataType::Binary => spanned(array.as_binary::<i32>().value_offsets()),
        DataType::LargeUtf8 => spanned(array.as_string::<i64>().value_offsets()),
        DataType::LargeBinary => spanned(array.as_binary::<i64>().value_offsets()),
        DataType::FixedSizeBinary(width) => array.len() as u64 * u64::from(width.unsigned_abs()),
        data_type => array.len() as u64 * data_type.primitive_width().unwrap_or(16) as u64,
    }
}

/// The bytes between the first and the last offset.
fn spanned<O: arrow::array::OffsetSizeTrait>(offsets: &[O]) -> u64 {
    match (offsets.first(), offsets.last()) {
        (Some(first), Some(last)) => (last.as_usize() - first.as_usize()) as u64,
        _ => 0,
    }
}

impl FormatReader for Table {
    fn cut<'a>(&'a mut self, buffer: &'a mut Vec<u8>) -> Result<Option<Record<'a>>, CutError> {
        loop {
            if let Some(end) = self.ends.pop_front() {
                self.row += 1;
                if end == TOO_LARGE {
                    buffer.extend_from_slice(format!("row {}", self.row).as_bytes());
                    let detail = format!(
                        "longer than {} bytes; none of it is here, it is in the file",
                        self.limits.max_record_bytes
                    );
                    let fault = Some(Fault { reason: Reason::TooLarge, detail });
                    return Ok(Some(Record { bytes: buffer, position: self.row, fault }));
                }
                let line = &self.lines[self.start..end];
                self.start = end + 1;
                let room = line.len().min(self.limits.max_record_bytes);
                let left_out = (line.len() - room) as u64;
                let fault = (left_out > 0).then(|| too_large(&self.limits, left_out));
                return Ok(Some(Record { bytes: &line[..room], position: self.row, fault }));
            }
            if !self.next_rows()? {
                return Ok(None);
            }
        }
    }
}
