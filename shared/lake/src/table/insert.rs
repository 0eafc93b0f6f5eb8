//! Insert if absent.

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use pinlake_schema::{Contract, FORMER_KEY_COLUMN, KEY_COLUMN};
use rayon::slice::ParallelSliceMut;

use super::commit::{PrepareCommit, StagedCommit};
use super::{CachedState, Table};
use crate::data_file::Rows;
use crate::error::LakeError;
use crate::keys::{EpochKeys, Key, SortedKeys, key_at, keys_in_column};
use crate::log::{Operation, RowCounts};

/// What one insert did: `read = inserted + duplicates`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InsertSummary {
    /// Input rows.
    pub read: u64,
    /// Rows that are new in the table.
    pub inserted: u64,
    /// Input rows that the table already has, or that occur earlier in the input.
    pub duplicates: u64,
    /// The version that added the new rows; `None` if there were none.
    pub version: Option<u64>,
    /// The part of `inserted` that came from each input batch.
    pub by_batch: Vec<u64>,
}

impl Table {
    /// Inserts the rows whose keys the table does not have. `batches` have the contract's landing schema. This does not
    /// reconcile the table with quarantine: use [`Lake::insert`](crate::Lake::insert) for that.
    ///
    /// # Errors
    /// See [`LakeError`]. After a retryable one, inserting the same rows again is safe.
    pub async fn insert(&self, batches: &[RecordBatch]) -> Result<InsertSummary, LakeError> {
        let input =
            InsertBatch::new(&self.contract, batches).map_err(LakeError::encode(&self.contract.name))?;
        let read = input.rows;
        if read == 0 {
            return Ok(InsertSummary { by_batch: vec![0; batches.len()], ..InsertSummary::default() });
        }
        let mut insert = Insert { input, present: Vec::new() };
        let committed = self.commit_with_retry(&mut insert).await?;
        let by_batch = insert.input.count_absent_by_batch(&insert.present);
        let inserted = by_batch.iter().sum();
        let version = committed.map(|(version, _)| version);
        Ok(InsertSummary { read, inserted, duplicates: read - inserted, version, by_batch })
    }
}

/// An insert in progress.
struct Insert<'a> {
    input: InsertBatch<'a>,
    /// For each key of the input, whether the version that was checked last has it.
    present: Vec<bool>,
}

impl PrepareCommit for Insert<'_> {
    const CREATES_TABLE: bool = true;

    async fn prepare(
        &mut self,
        table: &Table,
        state: &mut CachedState,
        previous: Option<StagedCommit>,
    ) -> Result<Option<StagedCommit>, LakeError> {
        let CachedState { log, keys } = state;
        let wanted = self.input.epoch_keys(&table.contract);
        self.present = table.key_reader(log)?.find_present(log.files(), &wanted, keys).await?;
        let absent: Vec<Key> = self.input.list_absent(&self.present);
        if absent.is_empty() {
            return Ok(None);
        }
        // The files of the previous attempt hold the same rows if the same keys are still absent.
        if let Some(previous) = previous
            && let [file] = previous.adds.as_slice()
            && file.keys.keys.as_ref() == absent.as_slice()
        {
            return Ok(Some(previous));
        }
        let inserted = absent.len() as u64;
        let columns = table.contract.table_schema();
        let rows = self.input.select_absent(&self.present, &columns);
        let rows = rows.map_err(LakeError::encode(&table.contract.name))?;
        let keys = SortedKeys { epoch: table.key_epoch()?, keys: absent.into() };
        let file = table.stage_file(log, &rows, keys).await?;
        let read = self.input.rows;
        Ok(Some(StagedCommit {
            operation: Operation::Insert,
            adds: vec![file],
            removes: Vec::new(),
            counts: RowCounts { read, inserted, duplicates: read - inserted, updated: 0 },
        }))
    }
}

/// The input of one insert.
#[derive(Debug)]
struct InsertBatch<'a> {
    batches: &'a [RecordBatch],
    rows: u64,
    /// The distinct keys, ascending.
    keys: Vec<Key>,
    /// The same rows' keys of the contract's former epoch, if it has one.
    former_keys: Option<Vec<Key>>,
    /// The first row of each key: (batch, row).
    positions: Vec<(u32, u32)>,
}

impl<'a> InsertBatch<'a> {
    fn new(contract: &Contract, batches: &'a [RecordBatch]) -> Result<Self, String> {
        let mut rows = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
        for (number, batch) in (0_u32..).zip(batches) {
            let keys = keys_in_column(batch, KEY_COLUMN)?;
            // As numbers, which sort as the keys do and compare faster.
            let key = |row| u128::from_be_bytes(key_at(keys, row));
            rows.extend((0_u32..).zip(0..batch.num_rows()).map(|(at, row)| (key(row), (number, at))));
        }
        let row_count = rows.len() as u64;
        rows.par_sort_unstable();
        rows.dedup_by_key(|(key, _)| *key);
        let (keys, positions): (_, Vec<(u32, u32)>) =
            rows.into_iter().map(|(key, position)| (key.to_be_bytes(), position)).unzip();
        let former_keys = contract.former_identity_hash().map(|_| {
            let batches = batches.iter().map(|batch| keys_in_column(batch, FORMER_KEY_COLUMN));
            let batches = batches.collect::<Result<Vec<_>, _>>()?;
            let key = |&(batch, row): &(u32, u32)| key_at(batches[batch as usize], row as usize);
            Ok::<_, String>(positions.iter().map(key).collect())
        });
        Ok(Self { batches, rows: row_count, keys, former_keys: former_keys.transpose()?, positions })
    }

    fn epoch_keys(&self, contract: &Contract) -> Vec<EpochKeys<'_>> {
        EpochKeys::for_batch(contract, &self.keys, self.former_keys.as_deref())
    }

    /// The keys that are not `present`, ascending.
    fn list_absent(&self, present: &[bool]) -> Vec<Key> {
        self.keys.iter().zip(present).filter(|(_, present)| !**present).map(|(key, _)| *key).collect()
    }

    /// The number of keys of each batch that are not `present`.
    fn count_absent_by_batch(&self, present: &[bool]) -> Vec<u64> {
        let mut counts = vec![0; self.batches.len()];
        for ((batch, _), present) in self.positions.iter().zip(present) {
            counts[*batch as usize] += u64::from(!present);
        }
        counts
    }

    /// The rows of the keys that are not `present`, in input order, with `columns` only.
    fn select_absent(&self, present: &[bool], columns: &SchemaRef) -> Result<Vec<Rows>, ArrowError> {
        let mut masks: Vec<Vec<bool>> =
            self.batches.iter().map(|batch| vec![false; batch.num_rows()]).collect();
        for ((batch, row), present) in self.positions.iter().zip(present) {
            masks[*batch as usize][*row as usize] = !present;
        }
        let select = |(batch, mask): (&RecordBatch, Vec<bool>)| {
            let arrays = columns.fields().iter().map(|field| {
                let array = batch.column(batch.schema().index_of(field.name())?);
                // Keys have a fixed width in landing batches, but not in tables.
                if array.data_type() == field.data_type() {
                    Ok(array.clone())
                } else {
                    cast(array, field.data_type())
                }
            });
            let rows = RecordBatch::try_new(columns.clone(), arrays.collect::<Result<_, ArrowError>>()?)?;
            Ok(Rows::filter(rows, mask.into()))
        };
        let selected = self.batches.iter().zip(masks).map(select);
        let mut selected: Vec<Rows> = selected.collect::<Result<_, ArrowError>>()?;
        selected.retain(|rows| rows.count() > 0);
        Ok(selected)
    }
}
