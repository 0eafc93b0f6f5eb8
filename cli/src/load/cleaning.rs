//! Cleaning on all processors: records are gathered into blocks, blocks are cleaned at once, and their rows come out
//! in the order of the records, so that of equal rows the first is the one that is kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use pinlake_clean::record_reader::{Record, RecordReader, WholeLines};
use pinlake_clean::{CleanedRows, Position, RecordCleaner, RecordCounts, RecordError, RecordOrigin};
use pinlake_schema::Catalog;
use tokio::sync::oneshot;

use super::broken_off;
use crate::error::CliError;

/// Record bytes that are cleaned at a time: few enough for a processor's own cache, and so that an insert, whose columns are
/// encoded by the same threads, soon gets hold of one.
const BLOCK_BYTES: usize = 1 << 20;
/// Blocks that are cleaned or wait for it, or to be taken, for each thread that cleans.
const BLOCKS_A_THREAD: usize = 2;
/// RecordReader that are cleaned at a time: short ones make rows that are many times as long, in quarantine above all.
const BLOCK_RECORDS: u64 = BLOCK_BYTES as u64 / 32;
/// What a file counts in its block: many hold one small record, and have a name as long.
const SOURCE_BYTES: usize = 256;

/// A file as its records' origin.
#[derive(Debug)]
pub(super) struct Source {
    /// As [`RecordOrigin::source`].
    pub(super) name: String,
    /// With a record's number, the record's identity; of a file that has none, its name and the line are.
    pub(super) id: Option<String>,
    /// The dataset that the file is known to be of.
    pub(super) hint: Option<String>,
}

impl Source {
    fn clean(&self, intake: &mut RecordCleaner, number: u64, record: Record<'_>) {
        let hint = self.hint.as_deref();
        let origin = RecordOrigin {
            source: &self.name,
            position: Position::Line(record.position),
            record_id: self.id.as_deref().map(|id| (id, number)),
        };
        match record.error {
            None => {
                intake.push(record.bytes, hint, &origin);
            }
            Some(RecordError { reason, detail }) => {
                intake.reject(record.bytes, hint, &origin, reason, detail)
            }
        }
    }
}

/// RecordReader under cleaning.
#[derive(Debug)]
pub(super) struct Cleaning {
    cleaners: Arc<Cleaners>,
    open: Block,
    under_way: VecDeque<oneshot::Receiver<Vec<CleanedRows>>>,
}

/// Consecutive records. Used again and again: memory that was never touched costs more than what is read into it.
#[derive(Debug)]
struct Block {
    sources: Vec<Arc<Source>>,
    /// Filled from the start, as far as the last piece ends.
    bytes: Vec<u8>,
    pieces: Vec<Piece>,
    records: u64,
}

/// Some of a block's bytes: where they end, and what they are of their source.
#[derive(Debug)]
struct Piece {
    source: usize,
    end: usize,
    what: What,
}

#[derive(Debug)]
enum What {
    Lines(WholeLines),
    /// A record, where it began in its file, and why it cannot be cleaned, when that is so.
    Record {
        number: u64,
        position: u64,
        fault: Option<RecordError>,
    },
}

impl Block {
    fn new() -> Self {
        // The last record may be longer than the room that is left.
        let mut bytes = Vec::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 8);
        bytes.resize(BLOCK_BYTES, 0);
        Self { sources: Vec::new(), bytes, pieces: Vec::new(), records: 0 }
    }

    fn filled(&self) -> usize {
        self.pieces.last().map_or(0, |last| last.end)
    }

    /// Says what the next bytes are.
    fn add(&mut self, source: &Arc<Source>, bytes: usize, what: What) {
        if !self.sources.last().is_some_and(|last| Arc::ptr_eq(last, source)) {
            self.sources.push(source.clone());
        }
        let (source, end) = (self.sources.len() - 1, self.filled() + bytes);
        self.records += match &what {
            What::Lines(lines) => lines.count,
            What::Record { .. } => 1,
        };
        self.pieces.push(Piece { source, end, what });
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

impl Cleaning {
    pub(super) fn new(catalog: Arc<Catalog>, now: DateTime<Utc>) -> Self {
        let cleaners = Arc::new(Cleaners { catalog, now, idle: Mutex::default(), spare: Mutex::default() });
        Self { cleaners, open: Block::new(), under_way: VecDeque::new() }
    }

    /// Takes a record, the `number`th of `source`.
    pub(super) fn push(&mut self, source: &Arc<Source>, number: u64, record: Record<'_>) {
        let block = &mut self.open;
        let (start, bytes) = (block.filled(), record.bytes.len());
        if block.bytes.len() < start + bytes {
            block.bytes.resize(start + bytes, 0);
        }
        block.bytes[start..start + bytes].copy_from_slice(record.bytes);
        block.add(source, bytes, What::Record { number, position: record.position, fault: record.error });
    }

    /// Takes lines as long as they are whole and the block has room; they are cut where they are cleaned. False when there
    /// are none. For a source whose records have no numbers: their lines tell them apart.
    pub(super) fn push_lines(&mut self, source: &Arc<Source>, records: &mut RecordReader) -> bool {
        let block = &mut self.open;
        let start = block.filled();
        let enough = BLOCK_RECORDS.saturating_sub(block.records);
        let Some(lines) = records.read_lines(&mut block.bytes[start..], enough) else { return false };
        block.add(source, lines.bytes, What::Lines(lines));
        true
    }

    /// Time for a [`Self::turn`].
    pub(super) fn is_full(&self) -> bool {
        self.open.is_full()
    }

    /// Has the block cleaned, and hands out what came before it, once there is enough under way to keep the processors
    /// at work while a commit is waited for.
    pub(super) async fn turn(&mut self) -> Result<Vec<CleanedRows>, CliError> {
        if !self.open.pieces.is_empty() {
            let spare = self.cleaners.spare().pop().unwrap_or_else(Block::new);
            let block = std::mem::replace(&mut self.open, spare);
            let cleaners = self.cleaners.clone();
            let (cleaned, taken) = oneshot::channel();
            // On the threads that encode the tables' columns, so that the processors are shared by no more of them.
            rayon::spawn(move || {
                // Nobody takes it when the load has failed meanwhile.
                let _ = cleaned.send(cleaners.clean(block));
            });
            self.under_way.push_back(taken);
        }
        if self.under_way.len() <= BLOCKS_A_THREAD * rayon::current_num_threads() {
            Ok(Vec::new())
        } else {
            self.oldest().await
        }
    }

    /// Hands out what is still under way, a block at a time; empty when that was all.
    pub(super) async fn rest(&mut self) -> Result<Vec<CleanedRows>, CliError> {
        let cleaned = self.turn().await?;
        if cleaned.is_empty() { self.oldest().await } else { Ok(cleaned) }
    }

    async fn oldest(&mut self) -> Result<Vec<CleanedRows>, CliError> {
        match self.under_way.pop_front() {
            Some(cleaned) => cleaned.await.map_err(broken_off),
            None => Ok(Vec::new()),
        }
    }

    /// What became of all records that were handed out, by dataset; those of none last.
    pub(super) fn counts(&self) -> Vec<RecordCounts> {
        let mut all: Vec<RecordCounts> = Vec::new();
        for count in self.cleaners.idle().iter().flat_map(RecordCleaner::counts) {
            match all.iter_mut().find(|sum| sum.dataset == count.dataset) {
                None => all.push(count.clone()),
                Some(sum) => {
                    sum.read += count.read;
                    sum.quarantined += count.quarantined;
                    sum.bytes += count.bytes;
                }
            }
        }
        all.sort_by(|a, b| (a.dataset.is_none(), &a.dataset).cmp(&(b.dataset.is_none(), &b.dataset)));
        all
    }
}

/// The intakes of the threads that clean. They keep what they have learned from block to block.
#[derive(Debug)]
struct Cleaners {
    catalog: Arc<Catalog>,
    now: DateTime<Utc>,
    idle: Mutex<Vec<RecordCleaner>>,
    /// Blocks that were cleaned, empty.
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
        let mut intake = idle.unwrap_or_else(|| RecordCleaner::new(self.catalog.clone(), self.now));
        let mut start = 0;
        for Piece { source, end, what } in &block.pieces {
            let (bytes, source) = (&block.bytes[start..*end], &*block.sources[*source]);
            start = *end;
            match what {
                What::Lines(lines) => {
                    lines.records(bytes).for_each(|record| source.clean(&mut intake, 0, record));
                }
                What::Record { number, position, fault } => {
                    source.clean(
                        &mut intake,
                        *number,
                        Record { bytes, position: *position, error: fault.clone() },
                    );
                }
            }
        }
        let cleaned = intake.drain();
        self.idle().push(intake);
        block.clear();
        self.spare().push(block);
        cleaned
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinlake_clean::record_reader::Limits;

    #[test]
    fn a_block_of_short_records_is_full_before_its_bytes_are() {
        let mut cleaning = Cleaning::new(Arc::new(Catalog::embedded().unwrap()), DateTime::UNIX_EPOCH);
        let source = Arc::new(Source { name: "file/x".to_owned(), id: None, hint: None });
        let lines = "7\n".repeat(BLOCK_BYTES / 2);
        let mut records = RecordReader::from_bytes("x", lines.into(), Limits::default()).unwrap();
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
