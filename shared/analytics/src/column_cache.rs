//! Caches columns in memory while the queries of a run read them.
//!
//! The queries of a set read the same few columns. A column is read once for all of them, as long as the columns of all
//! tables fit their share of the run's memory. If a table does not fit, each query reads its columns from the files.

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

/// The memory budget for the cached columns of all tables of a run.
#[derive(Debug)]
pub(crate) struct ColumnBudget {
    max_bytes: usize,
    reserved: Mutex<MemoryReservation>,
}

impl ColumnBudget {
    /// A budget of `max_bytes`, reserved from the memory of the run as columns are cached.
    pub(crate) fn new(max_bytes: usize, context: &TaskContext) -> Self {
        let reserved = MemoryConsumer::new("columns").register(context.memory_pool());
        Self { max_bytes, reserved: Mutex::new(reserved) }
    }

    fn reserved(&self) -> MutexGuard<'_, MemoryReservation> {
        self.reserved.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes reserved from a [`ColumnBudget`]. Dropping it releases them, unless [`Reservation::keep`] was called.
struct Reservation<'a> {
    budget: &'a ColumnBudget,
    bytes: usize,
}

impl Reservation<'_> {
    /// Reserves more bytes; `false` if the budget does not have them.
    fn grow(&mut self, more: usize) -> bool {
        let reserved = self.budget.reserved();
        let fits = reserved.size() + more <= self.budget.max_bytes && reserved.try_grow(more).is_ok();
        if fits {
            self.bytes += more;
        }
        fits
    }

    fn keep(mut self) {
        self.bytes = 0;
    }
}

impl Drop for Reservation<'_> {
    fn drop(&mut self) {
        self.budget.reserved().shrink(self.bytes);
    }
}

/// The cached columns of one table.
#[derive(Debug)]
pub(crate) struct ColumnCache {
    budget: Arc<ColumnBudget>,
    cached: tokio::sync::Mutex<CachedColumns>,
}

#[derive(Debug, Default)]
struct CachedColumns {
    /// By index in the schema of the table; one array for each entry of `batch_rows`.
    columns: BTreeMap<usize, Vec<ArrayRef>>,
    /// Number of rows of each batch.
    batch_rows: Vec<usize>,
    /// The columns exceed the budget; nothing more is cached.
    is_disabled: bool,
}

impl ColumnCache {
    pub(crate) fn new(budget: Arc<ColumnBudget>) -> Self {
        Self { budget, cached: tokio::sync::Mutex::default() }
    }

    /// Returns the columns `indices` as batches of `schema`, or `None` if they exceed the budget.
    ///
    /// `scan` builds the plan that reads the missing columns: one partition for each file, with its rows in order.
    pub(crate) async fn get(
        &self,
        indices: &[usize],
        schema: &SchemaRef,
        context: &Arc<TaskContext>,
        scan: impl FnOnce(&Vec<usize>) -> Result<Arc<dyn ExecutionPlan>>,
    ) -> Result<Option<Vec<RecordBatch>>> {
        let mut cached = self.cached.lock().await;
        let missing: Vec<usize> =
            indices.iter().copied().filter(|index| !cached.columns.contains_key(index)).collect();
        let is_unread = cached.columns.is_empty() && cached.batch_rows.is_empty();
        if !cached.is_disabled && (!missing.is_empty() || is_unread) {
            match self.read(scan(&missing)?, context).await? {
                Some(batches) => cached.add(&missing, &batches)?,
                None => cached.is_disabled = true,
            }
        }
        if cached.is_disabled {
            return Ok(None);
        }
        let batches = cached.batch_rows.iter().enumerate().map(|(batch, rows)| {
            let arrays =
                indices.iter().filter_map(|index| cached.columns.get(index)?.get(batch)).cloned().collect();
            let options = RecordBatchOptions::new().with_row_count(Some(*rows));
            Ok(RecordBatch::try_new_with_options(schema.clone(), arrays, &options)?)
        });
        batches.collect::<Result<_>>().map(Some)
    }

    /// Reads all partitions of the plan in order; `None` if they exceed the budget.
    async fn read(
        &self,
        plan: Arc<dyn ExecutionPlan>,
        context: &Arc<TaskContext>,
    ) -> Result<Option<Vec<RecordBatch>>> {
        let parts = plan.properties().partitioning.partition_count();
        let concurrency = std::thread::available_parallelism().map_or(1, usize::from);
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
                .buffered(concurrency);
        let (mut all, mut reservation) = (Vec::new(), Reservation { budget: &self.budget, bytes: 0 });
        while let Some(batches) = reads.try_next().await? {
            if !reservation.grow(memory_size(&batches)) {
                return Ok(None);
            }
            all.extend(batches);
        }
        reservation.keep();
        Ok(Some(all))
    }
}

impl CachedColumns {
    fn add(&mut self, indices: &[usize], batches: &[RecordBatch]) -> Result<()> {
        let batch_rows: Vec<usize> = batches.iter().map(RecordBatch::num_rows).collect();
        if self.columns.is_empty() {
            self.batch_rows = batch_rows;
        } else if self.batch_rows != batch_rows {
            return Err(DataFusionError::Internal("columns of a table have different batches".to_owned()));
        }
        for (number, index) in indices.iter().enumerate() {
            let column = batches.iter().map(|batch| batch.column(number).clone());
            self.columns.insert(*index, column.collect());
        }
        Ok(())
    }
}

/// The memory of the columns. Buffers that several arrays share count once.
fn memory_size(batches: &[RecordBatch]) -> usize {
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
