//! Columns that are kept in memory while a run's queries read them.
//!
//! The queries of a set ask for the same few columns, most of them for the same two or three. A column that was read
//! once is there for all of them, as long as the columns of all tables fit their share of the run's memory. Those of
//! a table that does not fit are read from its files by each query.

use std::collections::{BTreeMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use arrow::array::{Array, ArrayRef, AsArray, RecordBatch, RecordBatchOptions};
use arrow::datatypes::SchemaRef;
use datafusion::common::runtime::SpawnedTask;
use datafusion::error::{DataFusionError, Result};
use datafusion::execution::TaskContext;
use datafusion::execution::memory_pool::{MemoryConsumer, MemoryReservation};
use datafusion::physical_plan::ExecutionPlan;
use futures::{StreamExt, TryStreamExt};

/// Memory for the columns of all tables of a run.
#[derive(Debug)]
pub(crate) struct ColumnBudget {
    most: usize,
    taken: Mutex<MemoryReservation>,
}

impl ColumnBudget {
    /// Room for `most` bytes, taken from the run's memory as it is needed.
    pub(crate) fn new(most: usize, context: &TaskContext) -> Self {
        let taken = MemoryConsumer::new("columns").register(context.memory_pool());
        Self { most, taken: Mutex::new(taken) }
    }

    fn taken(&self) -> MutexGuard<'_, MemoryReservation> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes of a [`ColumnBudget`], given back unless they are kept: when they are too many, or reading breaks off.
struct Claim<'a> {
    room: &'a ColumnBudget,
    bytes: usize,
}

impl Claim<'_> {
    fn grow(&mut self, more: usize) -> bool {
        let taken = self.room.taken();
        let fits = taken.size() + more <= self.room.most && taken.try_grow(more).is_ok();
        if fits {
            self.bytes += more;
        }
        fits
    }

    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Claim<'_> {
    fn drop(&mut self) {
        self.room.taken().shrink(self.bytes);
    }
}

/// The columns of one table that were read.
#[derive(Debug)]
pub(crate) struct Columns {
    room: Arc<ColumnBudget>,
    kept: tokio::sync::Mutex<Kept>,
}

#[derive(Debug, Default)]
struct Kept {
    /// By place in the table's schema; each in runs of as many rows as `runs` says.
    columns: BTreeMap<usize, Vec<ArrayRef>>,
    runs: Vec<usize>,
    /// They do not fit: nothing is kept.
    is_given_up: bool,
}

impl Columns {
    pub(crate) fn new(room: Arc<ColumnBudget>) -> Self {
        Self { room, kept: tokio::sync::Mutex::default() }
    }

    /// The columns at the places `wanted`, as batches of `schema`; nothing when they do not fit. What is not there
    /// yet is read by the plan that `scan` makes for the places it is given: one partition a file, its rows in order.
    pub(crate) async fn get(
        &self,
        wanted: &[usize],
        schema: &SchemaRef,
        context: &Arc<TaskContext>,
        scan: impl FnOnce(&Vec<usize>) -> Result<Arc<dyn ExecutionPlan>>,
    ) -> Result<Option<Vec<RecordBatch>>> {
        let mut kept = self.kept.lock().await;
        let missing: Vec<usize> =
            wanted.iter().copied().filter(|at| !kept.columns.contains_key(at)).collect();
        let is_unread = kept.columns.is_empty() && kept.runs.is_empty();
        if !kept.is_given_up && (!missing.is_empty() || is_unread) {
            match self.read(scan(&missing)?, context).await? {
                Some(batches) => kept.add(&missing, &batches)?,
                None => kept.is_given_up = true,
            }
        }
        if kept.is_given_up {
            return Ok(None);
        }
        let batches = kept.runs.iter().enumerate().map(|(run, rows)| {
            let arrays = wanted.iter().filter_map(|at| kept.columns.get(at)?.get(run)).cloned().collect();
            let options = RecordBatchOptions::new().with_row_count(Some(*rows));
            Ok(RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?)
        });
        batches.collect::<Result<_>>().map(Some)
    }

    /// All that the plan reads, its partitions in order; nothing when it does not fit.
    async fn read(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: &Arc<TaskContext>,
    ) -> Result<Option<Vec<RecordBatch>>> {
        let parts = plan.properties().partitioning.partition_count();
        let at_once = std::thread::available_parallelism().map_or(1, usize::from);
        let mut reads =
            futures::stream::iter(0..parts)
                .map(|part| {
                    let (plan, context) = (plan.clone(), context.clone());
                    let read = SpawnedTask::spawn(async move {
                        plan.execute(part, context)?.try_collect::<Vec<RecordBatch>>().await
                    });
                    async move {
                        read.join().await.map_err(|error| DataFusionError::ExecutionJoin(Box::new(error)))?
                    }
                })
                .buffered(at_once);
        let (mut all, mut claim) = (Vec::new(), Claim { room: &self.room, bytes: 0 });
        while let Some(batches) = reads.try_next().await? {
            if !claim.grow(bytes_of(&batches)) {
                return Ok(None);
            }
            all.extend(batches);
        }
        claim.keep();
        Ok(Some(all))
    }
}

impl Kept {
    fn add(&mut self, places: &[usize], batches: &[RecordBatch]) -> Result<()> {
        let runs: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
        if self.columns.is_empty() {
            self.runs = runs;
        } else if self.runs != runs {
            return Err(DataFusionError::Internal("a table's columns came in different runs".to_owned()));
        }
        for (number, at) in places.iter().enumerate() {
            let column = batches.iter().map(|batch| batch.column(number).clone());
            self.columns.insert(*at, column.collect());
        }
        Ok(())
    }
}

/// Memory of a file's columns: what several arrays share counts once.
fn bytes_of(batches: &[RecordBatch]) -> usize {
    let mut seen = HashSet::new();
    let mut bytes = 0;
    for column in batches.iter().flat_map(RecordBatch::columns) {
        bytes += match column.as_string_view_opt() {
            None => column.get_array_memory_size(),
            Some(texts) => {
                let own = texts.data_buffers().iter().filter(|buffer| seen.insert(buffer.as_ptr()));
                16 * texts.len() + own.map(|buffer| buffer.len()).sum::<usize>()
            }
        };
    }
    bytes
}
