//! Cleaning on all processors: records are gathered into blocks, blocks are cleaned at once, and their rows come out
//! in the order of the records, so that of equal rows the first is the one that is kept.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use chrono::{DateTime, Utc};
use pinlake_clean::framing::{Fault, Record};
use pinlake_clean::{Cleaned, Count, Intake, Origin, Position};
use pinlake_schema::Catalog;
use tokio::sync::oneshot;

use super::broken_off;
use crate::error::CliError;

/// Record bytes that are cleaned at a time.
const BLOCK_BYTES: usize = 4 << 20;
/// Blocks that are cleaned or wait for it, or to be taken, for each thread that cleans.
const BLOCKS_A_THREAD: usize = 2;
/// What a file counts in its block: many hold one small record, and have a name as long.
const SOURCE_BYTES: usize = 256;

/// A file as its records' origin.
#[derive(Debug)]
pub(super) struct Source {
    /// As [`Origin::source`].
    pub(super) name: String,
    /// With a record's number, the record's identity; of a file that has none, its name and the line are.
    pub(super) id: Option<String>,
    /// The dataset that the file is known to be of.
    pub(super) hint: Option<String>,
}

/// Records under cleaning.
#[derive(Debug)]
pub(super) struct Cleaning {
    cleaners: Arc<Cleaners>,
    open: Block,
    under_way: VecDeque<oneshot::Receiver<Vec<Cleaned>>>,
}

/// Consecutive records. Used again and again: memory that was never touched costs more than what is read into it.
#[derive(Debug)]
struct Block {
    sources: Vec<Arc<Source>>,
    bytes: Vec<u8>,
    records: Vec<Cut>,
}

/// Where a record ends in its block, where it began in its file, and why it cannot be cleaned, when that is so.
#[derive(Debug)]
struct Cut {
    source: usize,
    end: usize,
    number: u64,
    position: u64,
    fault: Option<Fault>,
}

impl Block {
    fn new() -> Self {
        let bytes = Vec::with_capacity(BLOCK_BYTES + BLOCK_BYTES / 8);
        Self { sources: Vec::new(), bytes, records: Vec::new() }
    }

    fn clear(&mut self) {
        self.sources.clear();
        self.bytes.clear();
        self.records.clear();
    }
}

impl Cleaning {
    pub(super) fn new(catalog: Arc<Catalog>, now: DateTime<Utc>) -> Self {
        let cleaners = Arc::new(Cleaners { catalog, now, idle: Mutex::default(), spare: Mutex::default() });
        Self { cleaners, open: Block::new(), under_way: VecDeque::new() }
    }

    /// Takes a record, the `number`th of `source`. True when the block is full: time for a [`Self::turn`].
    pub(super) fn push(&mut self, source: &Arc<Source>, number: u64, record: Record<'_>) -> bool {
        let block = &mut self.open;
        if !block.sources.last().is_some_and(|last| Arc::ptr_eq(last, source)) {
            block.sources.push(source.clone());
        }
        block.bytes.extend_from_slice(record.bytes);
        let (source, end) = (block.sources.len() - 1, block.bytes.len());
        block.records.push(Cut { source, end, number, position: record.position, fault: record.fault });
        end + block.sources.len() * SOURCE_BYTES >= BLOCK_BYTES
    }

    /// Has the block cleaned, and hands out what came before it, once there is enough under way to keep the processors
    /// at work while a commit is waited for.
    pub(super) async fn turn(&mut self) -> Result<Vec<Cleaned>, CliError> {
        if !self.open.records.is_empty() {
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
    pub(super) async fn rest(&mut self) -> Result<Vec<Cleaned>, CliError> {
        let cleaned = self.turn().await?;
        if cleaned.is_empty() { self.oldest().await } else { Ok(cleaned) }
    }

    async fn oldest(&mut self) -> Result<Vec<Cleaned>, CliError> {
        match self.under_way.pop_front() {
            Some(cleaned) => cleaned.await.map_err(broken_off),
            None => Ok(Vec::new()),
        }
    }

    /// What became of all records that were handed out, by dataset; those of none last.
    pub(super) fn counts(&self) -> Vec<Count> {
        let mut all: Vec<Count> = Vec::new();
        for count in self.cleaners.idle().iter().flat_map(Intake::counts) {
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
    idle: Mutex<Vec<Intake>>,
    /// Blocks that were cleaned, empty.
    spare: Mutex<Vec<Block>>,
}

impl Cleaners {
    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Intake>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn spare(&self) -> std::sync::MutexGuard<'_, Vec<Block>> {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn clean(&self, mut block: Block) -> Vec<Cleaned> {
        let idle = self.idle().pop();
        let mut intake = idle.unwrap_or_else(|| Intake::new(self.catalog.clone(), self.now));
        let mut start = 0;
        for cut in &block.records {
            let (record, source) = (&block.bytes[start..cut.end], &block.sources[cut.source]);
            start = cut.end;
            let origin = Origin {
                source: &source.name,
                position: Position::Line(cut.position),
                record_id: source.id.as_deref().map(|id| (id, cut.number)),
            };
            match &cut.fault {
                None => {
                    intake.push(record, source.hint.as_deref(), &origin);
                }
                Some(fault) => {
                    intake.reject(record, source.hint.as_deref(), &origin, fault.reason, &fault.detail)
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
