//! Cleans records on all processors. Records are gathered into blocks, blocks are cleaned in parallel, and their rows
//! are returned in the order of the records, so that the first of equal rows is the one inserted.

use std::collections::VecDeque;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use pinlake_clean::RecordError;
use pinlake_clean::record_reader::{Record, RecordReader, WholeLines};
use pinlake_clean::{CleanedRows, Disposition, Position, RecordCleaner, RecordCounts, RecordOrigin};
use pinlake_landing::land::element_index;
use pinlake_payload::Records;
use pinlake_schema::Catalog;
use tokio::sync::oneshot;

use super::error::LoadError;
use super::source::LoadSource;

/// Bytes of records in a block. It fits into the cache of a processor, and is cleaned quickly, so that inserts, whose
/// columns are encoded on the same threads, do not wait long.
const BLOCK_BYTES: usize = 1 << 20;
/// Blocks that wait, are being cleaned or are cleaned, for each thread.
const BLOCKS_PER_THREAD: usize = 2;
/// Records in a block. Rows of short records are many times as long as the records, above all in quarantine.
const BLOCK_RECORDS: u64 = BLOCK_BYTES as u64 / 32;
/// Bytes that a file adds to its block: many files hold one small record, and a name of the same length.
const SOURCE_BYTES: usize = 256;

impl LoadSource {
    /// Cleans a record of the file, or the records in it, as the compactor does when it lands a file. `count` gets the disposition of each.
    fn clean(
        &self,
        cleaner: &mut RecordCleaner,
        catalog: &Catalog,
        number: u64,
        record: Record<'_>,
        mut count: impl FnMut(Disposition),
    ) {
        let dataset = self.dataset.as_deref();
        let origin = RecordOrigin {
            source: &self.name,
            position: Position::Line(record.position),
            record_id: self.id.as_deref().map(|id| (id, number)),
        };
        match record.error {
            // A record of a file is never nothing.
            None if record.bytes.trim_ascii().is_empty() => {
                count(cleaner.push(record.bytes, dataset, &origin));
            }
            None => {
                for found in Records::of_value(record.bytes, |name| catalog.reads_field(name)) {
                    let record_id =
                        origin.record_id.map(|(id, index)| (id, element_index(index, found.element)));
                    count(cleaner.push(&found.bytes, dataset, &RecordOrigin { record_id, ..origin }));
                }
            }
            Some(RecordError { reason, detail }) => {
                cleaner.reject(record.bytes, dataset, &origin, reason, detail);
                count(Disposition::Quarantined);
            }
        }
    }
}

/// Records being cleaned.
#[derive(Debug)]
pub(super) struct CleaningPool {
    cleaners: Arc<Cleaners>,
    open: Block,
    running: VecDeque<oneshot::Receiver<Vec<CleanedRows>>>,
}

/// Consecutive records. Blocks are reused: touching new memory costs more than reading into it.
#[derive(Debug)]
struct Block {
    sources: Vec<Arc<LoadSource>>,
    /// Filled from the start to the end of the last piece.
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    records: u64,
}

/// A part of a block.
#[derive(Debug)]
struct Piece {
    /// Index in [`Block::sources`].
    source: usize,
    /// End in [`Block::bytes`].
    end: usize,
    content: Content,
}

#[derive(Debug)]
enum Content {
    Lines(WholeLines),
    /// A record: its number and position in the file, and why it cannot be cleaned, if so.
    Record {
        number: u64,
        position: u64,
        fault: Option<RecordError>,
    },
}

impl Block {
    fn new() -> Self {
        // The last record may be longer than the space that is left.
        let mut bytes = Vec::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 8);
        bytes.resize(BLOCK_BYTES, 0);
        Self { sources: Vec::new(), bytes, pieces: Vec::new(), records: 0 }
    }

    fn filled(&self) -> usize {
        self.pieces.last().map_or(0, |last| last.end)
    }

    /// Describes the next `bytes` bytes.
    fn add(&mut self, source: &Arc<LoadSource>, bytes: usize, content: Content) {
        if !self.sources.last().is_some_and(|last| Arc::ptr_eq(last, source)) {
            self.sources.push(source.clone());
        }
        let (source, end) = (self.sources.len() - 1, self.filled() + bytes);
        self.records += match &content {
            Content::Lines(lines) => lines.count,
            Content::Record { .. } => 1,
        };
        self.pieces.push(Piece { source, end, content });
    }

    fn is_full(&self) -> bool {
        self.records >= BLOCK_RECORDS || self.filled() + self.sources.len() * SOURCE_BYTES >= BLOCK_BYTES
    }

    fn clear(&mut self) {
        self.sources.clear();
        self.pieces.clear();
        self.records = 0;
        self.bytes.truncate(BLOCK_BYTES);
    }
}

impl CleaningPool {
    /// `catalogs` are those that have cleaned records of the lake.
    pub(super) fn new(catalog: Arc<Catalog>, catalogs: Arc<[Arc<Catalog>]>, now: DateTime<Utc>) -> Self {
        let (idle, spare) = (Mutex::default(), Mutex::default());
        let cleaners = Arc::new(Cleaners { catalog, catalogs, now, idle, spare });
        Self { cleaners, open: Block::new(), running: VecDeque::new() }
    }

    /// Adds record `number` of `source`.
    pub(super) fn push(&mut self, source: &Arc<LoadSource>, number: u64, record: Record<'_>) {
        let block = &mut self.open;
        let (start, bytes) = (block.filled(), record.bytes.len());
        if block.bytes.len() < start + bytes {
            block.bytes.resize(start + bytes, 0);
        }
        block.bytes[start..start + bytes].copy_from_slice(record.bytes);
        block.add(source, bytes, Content::Record { number, position: record.position, fault: record.error });
    }

    /// Adds whole lines until the block is full; the threads that clean split them. Returns false if there are none.
    /// Only for sources without an id, whose records are not numbered.
    pub(super) fn push_lines(&mut self, source: &Arc<LoadSource>, records: &mut RecordReader) -> bool {
        let block = &mut self.open;
        let start = block.filled();
        let limit = BLOCK_RECORDS.saturating_sub(block.records);
        let Some(lines) = records.read_lines(&mut block.bytes[start..], limit) else { return false };
        block.add(source, lines.bytes, Content::Lines(lines));
        true
    }

    /// Whether [`Self::submit_block`] is due.
    pub(super) fn is_full(&self) -> bool {
        self.open.is_full()
    }

    /// Starts cleaning the open block. Returns the rows of the oldest block once enough blocks are running to keep the
    /// processors busy during a commit.
    pub(super) async fn submit_block(&mut self) -> Result<Vec<CleanedRows>, LoadError> {
        if !self.open.pieces.is_empty() {
            let spare = self.cleaners.spare().pop().unwrap_or_else(Block::new);
            let block = std::mem::replace(&mut self.open, spare);
            let cleaners = self.cleaners.clone();
            let (sender, receiver) = oneshot::channel();
            // The same threads encode the columns of the tables, so there are never more threads than processors.
            rayon::spawn(move || {
                // The receiver is gone if the load has failed.
                let _ = sender.send(cleaners.clean(block));
            });
            self.running.push_back(receiver);
        }
        if self.running.len() <= BLOCKS_PER_THREAD * rayon::current_num_threads() {
            Ok(Vec::new())
        } else {
            Ok(self.wait_for_oldest().await?.unwrap_or_default())
        }
    }

    /// Cleans what is left. Returns the rows of the oldest block, which may have none; `None` after the last block.
    pub(super) async fn next_remaining(&mut self) -> Result<Option<Vec<CleanedRows>>, LoadError> {
        let oldest = self.submit_block().await?;
        if oldest.is_empty() { self.wait_for_oldest().await } else { Ok(Some(oldest)) }
    }

    async fn wait_for_oldest(&mut self) -> Result<Option<Vec<CleanedRows>>, LoadError> {
        match self.running.pop_front() {
            Some(cleaned) => cleaned.await.map(Some).map_err(LoadError::internal),
            None => Ok(None),
        }
    }

    /// Counts of all cleaned records by dataset; those without a dataset last.
    pub(super) fn counts(&self) -> Vec<RecordCounts> {
        let mut all: Vec<RecordCounts> = Vec::new();
        for count in self.cleaners.idle().iter().flat_map(RecordCleaner::counts) {
            match all.iter_mut().find(|sum| sum.dataset == count.dataset) {
                None => all.push(count.clone()),
                Some(sum) => {
                    sum.read += count.read;
                    sum.quarantined += count.quarantined;
                    sum.bytes += count.bytes;
                    sum.skipped += count.skipped;
                }
            }
        }
        all.sort_by(|a, b| (a.dataset.is_none(), &a.dataset).cmp(&(b.dataset.is_none(), &b.dataset)));
        all
    }
}

/// The cleaners of the threads, which keep their caches from block to block.
#[derive(Debug)]
struct Cleaners {
    catalog: Arc<Catalog>,
    catalogs: Arc<[Arc<Catalog>]>,
    now: DateTime<Utc>,
    idle: Mutex<Vec<RecordCleaner>>,
    /// Empty blocks for reuse.
    spare: Mutex<Vec<Block>>,
}

impl Cleaners {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<RecordCleaner>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spare(&self) -> std::sync::MutexGuard<'_, Vec<Block>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clean(&self, mut block: Block) -> Vec<CleanedRows> {
        let idle = self.idle().pop();
        let new = || RecordCleaner::new(self.catalog.clone(), self.now).with_keys_of_others(&self.catalogs);
        let mut cleaner = idle.unwrap_or_else(new);
        let mut start = 0;
        for Piece { source, end, content } in &block.pieces {
            let (bytes, source) = (&block.bytes[start..*end], &*block.sources[*source]);
            start = *end;
            let (mut read, mut quarantined) = (0, 0);
            let mut count = |disposition| {
                read += u64::from(disposition != Disposition::Skipped);
                quarantined += u64::from(disposition == Disposition::Quarantined);
            };
            match content {
                Content::Lines(lines) => {
                    for record in lines.records(bytes) {
                        source.clean(&mut cleaner, &self.catalog, 0, record, &mut count);
                    }
                }
                Content::Record { number, position, fault } => {
                    let record = Record { bytes, position: *position, error: fault.clone() };
                    source.clean(&mut cleaner, &self.catalog, *number, record, &mut count);
                }
            }
            source.read.fetch_add(read, Ordering::Relaxed);
            source.quarantined.fetch_add(quarantined, Ordering::Relaxed);
        }
        let cleaned = cleaner.drain();
        self.idle().push(cleaner);
        block.clear();
        self.spare().push(block);
        cleaned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinlake_clean::record_reader::ReadLimits;

    #[test]
    fn a_block_of_short_records_is_full_at_its_record_limit() {
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let mut cleaning = CleaningPool::new(catalog, Arc::default(), DateTime::UNIX_EPOCH);
        let source = Arc::new(LoadSource { name: "file/x".to_owned(), ..LoadSource::default() });
        let lines = "7\n".repeat(BLOCK_BYTES / 2);
        let mut records = RecordReader::from_bytes("x", lines.into(), ReadLimits::default()).unwrap();
        assert!(cleaning.push_lines(&source, &mut records));
        assert!(cleaning.is_full());
        assert!(cleaning.open.records < 3 * BLOCK_RECORDS, "{} records", cleaning.open.records);
        cleaning.open.clear();
        while !cleaning.is_full() {
            cleaning.push(&source, 0, Record { bytes: b"7", position: 1, error: None });
        }
        assert_eq!(cleaning.open.records, BLOCK_RECORDS);
    }
}
