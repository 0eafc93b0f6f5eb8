//! Parquet: a batch of rows at a time, each row handed on as a JSON object with its nulls.

use std::collections::VecDeque;

use arrow::json::writer::{LineDelimited, WriterBuilder};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::errors::ParquetError;
use parquet::file::reader::ChunkReader;

use super::{Cut, CutError, Cutter, Limits, too_large};

/// Rows that are in memory at a time.
const BATCH_ROWS: usize = 1024;

pub(super) struct Table {
    batches: ParquetRecordBatchReader,
    limits: Limits,
    /// Lines of the batch at hand, and how far they are handed out.
    lines: Vec<u8>,
    ends: VecDeque<usize>,
    start: usize,
    row: u64,
}

impl Table {
    pub(super) fn new(file: impl ChunkReader + 'static, limits: Limits) -> Result<Table, ParquetError> {
        let batches = ParquetRecordBatchReaderBuilder::try_new(file)?.with_batch_size(BATCH_ROWS).build()?;
        Ok(Table { batches, limits, lines: Vec::new(), ends: VecDeque::new(), start: 0, row: 0 })
    }

    /// Writes the next batch as lines; false at the end of the file.
    fn next_batch(&mut self) -> Result<bool, CutError> {
        self.lines.clear();
        self.start = 0;
        let Some(batch) = self.batches.next() else {
            return Ok(false);
        };
        let batch = batch.map_err(ParquetError::from)?;
        let mut writer =
            WriterBuilder::new().with_explicit_nulls(true).build::<_, LineDelimited>(&mut self.lines);
        writer.write(&batch).and_then(|()| writer.finish()).map_err(ParquetError::from)?;
        drop(writer);
        // JSON text has no line break within: what looks like one is escaped.
        self.ends = (0..self.lines.len()).filter(|at| self.lines[*at] == b'\n').collect();
        Ok(true)
    }
}

impl Cutter for Table {
    fn cut(&mut self, out: &mut Vec<u8>) -> Result<Option<Cut>, CutError> {
        loop {
            if let Some(end) = self.ends.pop_front() {
                let line = &self.lines[self.start..end];
                self.start = end + 1;
                self.row += 1;
                let room = line.len().min(self.limits.max_record_bytes);
                out.extend_from_slice(&line[..room]);
                let left_out = (line.len() - room) as u64;
                let fault = (left_out > 0).then(|| too_large(&self.limits, left_out));
                return Ok(Some(Cut { position: self.row, fault }));
            }
            if !self.next_batch()? {
                return Ok(None);
            }
        }
    }
}
