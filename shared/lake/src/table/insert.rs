//! Insert if absent.

use std::collections::{BTreeMap, BTreeSet};

use arrow::array::cast::AsArray;
use arrow::array::{Array, BooleanArray, RecordBatch, new_null_array};
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use futures::{StreamExt, TryStreamExt};
use pinlake_schema::{Contract, FORMER_KEY_COLUMN, HAS_MORE_PREFIX, KEY_COLUMN, OTHER_KEY_PREFIX};
use rayon::slice::ParallelSliceMut;

use super::commit::{PrepareCommit, StagedCommit, StagedFile};
use super::{CachedState, Table};
use crate::data_file::{Rows, conform};
use crate::error::LakeError;
use crate::key_list::KeyList;
use crate::keys::{
    EarlierRow, EpochKeys, KEY_BYTES, Key, KeyEpoch, KeyReader, KeySource, OtherEpoch, OtherKeys, Presence,
    SortedKeys, key_at, keys_in_column,
};
use crate::log::{Operation, RowCounts, TableLog};
use crate::partition::{self, PartitionRows};
use crate::partition_values::PartitionValues;

/// The most partitions that one commit adds files to. Each is a line of the commit and two objects.
const MAX_PARTITIONS: usize = 4096;
/// Data files that are written at the same time.
const CONCURRENCY: usize = 16;

/// What one insert did: `read = inserted + superseded + duplicates + outdated + deleted`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InsertSummary {
    /// Input rows.
    pub read: u64,
    /// Rows that are new in the table.
    pub inserted: u64,
    /// Input rows that took the place of a row with fewer values: the same record, cleaned before its contract had more columns. In a
    /// table that keeps the latest record, also those that took the place of a row of an earlier record.
    pub superseded: u64,
    /// Input rows that the table already has, or that occur earlier in the input.
    pub duplicates: u64,
    /// Input rows of records that are earlier than the table's, or than another one of the input: see
    /// [`Contract::keep`].
    pub outdated: u64,
    /// Input rows that deleted a row, or that keep earlier records out.
    pub deleted: u64,
    /// The version that added rows; `None` if there were none.
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
        if self.contract.keep.is_some() {
            return self.insert_latest(batches).await;
        }
        let input =
            InsertBatch::new(&self.contract, batches).map_err(LakeError::encode(&self.contract.name))?;
        let read = input.rows;
        if read == 0 {
            return Ok(InsertSummary { by_batch: vec![0; batches.len()], ..InsertSummary::default() });
        }
        let mut insert =
            Insert { input, present: Vec::new(), extending: BTreeSet::new(), staged: Vec::new() };
        let committed = self.commit_with_retry(&mut insert).await?;
        let by_batch = insert.count_inserted_by_batch();
        let inserted = by_batch.iter().sum();
        let superseded = insert.extending.len() as u64;
        let version = committed.map(|(version, _)| version);
        Ok(InsertSummary {
            read,
            inserted,
            superseded,
            duplicates: read - inserted - superseded,
            outdated: 0,
            deleted: 0,
            version,
            by_batch,
        })
    }
}

impl Table {
    /// Writes a data file again, without the rows of `keys`; `None` if no row is left. The keys of the others stay of the same epoch.
    async fn stage_without_rows(
        &self,
        state: &mut CachedState,
        reader: &KeyReader<'_>,
        path: &str,
        keys: &BTreeSet<Key>,
    ) -> Result<Option<StagedFile>, LakeError> {
        let gone = || LakeError::damaged(&self.root)(format!("the log has no data file {path}"));
        let file = state.log.files().iter().find(|file| file.path == path).cloned().ok_or_else(gone)?;
        let columns = self.columns(&state.log)?;
        let SortedKeys { epoch, keys: own } = reader.read_all(&(&file).into(), &mut state.keys).await?;
        let contract = reader.epochs.contract_of(epoch, &self.contract);
        let encode = |error: &dyn std::fmt::Display| LakeError::encode(&contract.name)(error);
        let mut kept = Vec::new();
        for batch in self.read_columns(&file, &columns).await? {
            let in_key = conform(&batch, &contract.table_schema(), &PartitionValues::new());
            let in_key = in_key.map_err(|error| encode(&error))?;
            let row_keys = pinlake_clean::row_keys(contract, &in_key).map_err(|error| encode(&error))?;
            let stays: BooleanArray =
                (0..batch.num_rows()).map(|row| Some(!keys.contains(&key_at(&row_keys, row)))).collect();
            kept.push(Rows::filter(batch, stays));
        }
        kept.retain(|rows| rows.count() > 0);
        if kept.is_empty() {
            return Ok(None);
        }
        let own: Vec<Key> = own.iter().filter(|key| !keys.contains(*key)).copied().collect();
        let keys = SortedKeys { epoch, keys: own.into() };
        self.stage_file(&state.log, &kept, keys, &file.partition).await.map(Some)
    }

    /// Writes the rows whose keys are not `present` as data files, one for each partition.
    ///
    /// # Errors
    /// [`LakeError::TooManyPartitions`]; if the store fails.
    pub(super) async fn stage_absent_rows(
        &self,
        log: &TableLog,
        input: &InsertBatch<'_>,
        present: &[bool],
        columns: &SchemaRef,
    ) -> Result<Vec<StagedFile>, LakeError> {
        let dataset = &self.contract.name;
        let keys = input.list_absent(present);
        if keys.is_empty() {
            return Ok(Vec::new());
        }
        let epoch = self.key_epoch()?;
        let partition_columns = log.partition_columns();
        if partition_columns.is_empty() {
            let rows = input.select_absent(present, columns).map_err(LakeError::encode(dataset))?;
            let keys = SortedKeys { epoch, keys: keys.into() };
            return Ok(vec![self.stage_file(log, &rows, keys, &PartitionValues::new()).await?]);
        }
        let parts = input.split_absent(present, columns, partition_columns);
        let parts = parts.map_err(LakeError::encode(dataset))?;
        if parts.len() > MAX_PARTITIONS {
            return Err(LakeError::TooManyPartitions {
                dataset: dataset.clone(),
                columns: partition_columns.join(", "),
                found: parts.len(),
                limit: MAX_PARTITIONS,
            });
        }
        let stage = async |PartitionRows { values, rows, keys }: PartitionRows| {
            self.stage_file(log, &rows, SortedKeys { epoch, keys: keys.into() }, &values).await
        };
        futures::stream::iter(parts).map(stage).buffered(CONCURRENCY).try_collect().await
    }
}

/// An insert in progress.
struct Insert<'a> {
    input: InsertBatch<'a>,
    /// For each key of the input, whether the version that was checked last has it.
    present: Vec<bool>,
    /// Of the absent keys, those of rows that take the place of one with fewer values.
    extending: BTreeSet<usize>,
    /// The keys of the rows that were staged last.
    staged: Vec<Key>,
}

impl Insert<'_> {
    /// The number of new rows of each batch.
    fn count_inserted_by_batch(&self) -> Vec<u64> {
        let mut is_known = self.present.clone();
        for row in &self.extending {
            is_known[*row] = true;
        }
        self.input.count_absent_by_batch(&is_known)
    }
}

impl PrepareCommit for Insert<'_> {
    const CREATES_TABLE: bool = true;

    async fn prepare(
        &mut self,
        table: &Table,
        state: &mut CachedState,
        previous: Option<StagedCommit>,
    ) -> Result<Option<StagedCommit>, LakeError> {
        let CachedState { log, keys, replaced_keys, .. } = state;
        let reader = table.key_reader(log).await?;
        let mut wanted = self.input.epoch_keys(&table.contract);
        for other in &reader.epochs.others {
            wanted.extend(self.input.other_keys(&table.contract, other)?);
        }
        let mut sources: Vec<KeySource> = log.files().iter().map(KeySource::from).collect();
        // Without other contracts no row has been replaced.
        if !reader.epochs.others.is_empty() {
            table.refresh_replaced_keys(log, replaced_keys).await?;
            sources.extend(replaced_keys.sources());
        }
        let Presence { mut present, earlier } = reader.find_present(sources, &wanted, keys).await?;
        self.input.keep_one_absent_row_of_each_key(&mut present, &earlier);
        let mut replaced: BTreeMap<String, BTreeSet<Key>> = BTreeMap::new();
        let mut replaced_by_epoch: BTreeMap<KeyEpoch, BTreeSet<Key>> = BTreeMap::new();
        self.extending.clear();
        for EarlierRow { row, file, epoch, key } in earlier {
            // A new row replaces at most one old row, and an old row is replaced at most once.
            let is_replaced = !present[row]
                && !self.extending.contains(&row)
                && replaced.entry(file).or_default().insert(key);
            if is_replaced {
                self.extending.insert(row);
                replaced_by_epoch.entry(epoch).or_default().insert(key);
            }
        }
        replaced.retain(|_, keys| !keys.is_empty());
        self.present = present;
        let absent: Vec<Key> = self.input.list_absent(&self.present);
        if absent.is_empty() {
            return Ok(None);
        }
        // The files of the previous attempt hold the same rows if the same keys are still absent.
        if let Some(previous) = previous
            && replaced.is_empty()
            && previous.removes.is_empty()
            && self.staged == absent
        {
            return Ok(Some(previous));
        }
        let superseded = self.extending.len() as u64;
        let inserted = absent.len() as u64 - superseded;
        self.staged = absent;
        let columns = table.columns(log)?;
        let mut adds = table.stage_absent_rows(log, &self.input, &self.present, &columns).await?;
        let mut removes = Vec::with_capacity(replaced.len());
        for (path, keys) in replaced {
            adds.extend(table.stage_without_rows(state, &reader, &path, &keys).await?);
            removes.push(path);
        }
        let mut key_lists = Vec::new();
        if !replaced_by_epoch.is_empty() {
            let CachedState { keys, replaced_keys, .. } = state;
            let own = replaced_by_epoch.into_iter();
            let own =
                own.map(|(epoch, keys)| SortedKeys { epoch, keys: keys.into_iter().collect() }).collect();
            let number = table.stage_replaced_keys(replaced_keys, own, &reader, keys).await?;
            key_lists.push((KeyList::Replaced, number));
        }
        let read = self.input.rows;
        Ok(Some(StagedCommit {
            operation: if removes.is_empty() { Operation::Insert } else { Operation::Update },
            adds,
            removes,
            key_lists,
            counts: RowCounts {
                read,
                inserted,
                superseded,
                duplicates: read - inserted - superseded,
                ..RowCounts::default()
            },
        }))
    }
}

/// The input of one insert.
#[derive(Debug)]
pub(super) struct InsertBatch<'a> {
    pub(super) batches: &'a [RecordBatch],
    pub(super) rows: u64,
    /// The keys, ascending. They are distinct, unless the rows have keys of other contracts: equal rows may differ in these.
    pub(super) keys: Vec<Key>,
    /// The same rows' keys of the contract's former epoch, if it has one.
    pub(super) former_keys: Option<Vec<Key>>,
    /// The row of each key, of several the first or the latest: (batch, row).
    pub(super) positions: Vec<(u32, u32)>,
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
        let has_other_keys = batches.iter().any(|batch| {
            batch.schema_ref().fields().iter().any(|field| field.name().starts_with(OTHER_KEY_PREFIX))
        });
        if !has_other_keys {
            rows.dedup_by_key(|(key, _)| *key);
        }
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

    /// Of absent rows with equal keys, keeps one: the first that takes the place of a row, or else the first. The others become present.
    fn keep_one_absent_row_of_each_key(&self, present: &mut [bool], earlier: &[EarlierRow]) {
        let replacing: BTreeSet<usize> = earlier.iter().map(|earlier| earlier.row).collect();
        let mut end = 0;
        for equal in self.keys.chunk_by(|key, next| key == next) {
            let rows = end..end + equal.len();
            end = rows.end;
            if equal.len() == 1 {
                continue;
            }
            let absent = || rows.clone().filter(|row| !present[*row]);
            let kept = absent().find(|row| replacing.contains(row)).or_else(|| absent().next());
            for row in rows {
                present[row] |= Some(row) != kept;
            }
        }
    }

    fn epoch_keys(&self, contract: &Contract) -> Vec<EpochKeys<'_>> {
        EpochKeys::for_batch(contract, &self.keys, self.former_keys.as_deref())
    }

    /// The rows' keys of another epoch; `None` if they have to come with the batches, and do not.
    fn other_keys(
        &self,
        contract: &Contract,
        other: &OtherEpoch,
    ) -> Result<Option<EpochKeys<'static>>, LakeError> {
        let encode = LakeError::encode::<String>(&contract.name);
        match &other.keys {
            OtherKeys::WithoutColumns(added) => self.keys_without(contract, other.epoch, added).map(Some),
            OtherKeys::OfRecords(_) => self.keys_of_records(other.epoch).map_err(encode),
        }
    }

    /// The rows' keys of an earlier epoch, which do not cover the columns that were added since.
    fn keys_without(
        &self,
        contract: &Contract,
        epoch: KeyEpoch,
        added: &[String],
    ) -> Result<EpochKeys<'static>, LakeError> {
        let encode = |error: &dyn std::fmt::Display| LakeError::encode(&contract.name)(error);
        let mut by_batch = Vec::with_capacity(self.batches.len());
        for batch in self.batches {
            let (mut columns, mut has_more) = (Vec::new(), vec![false; batch.num_rows()]);
            for (field, column) in batch.schema_ref().fields().iter().zip(batch.columns()) {
                if !added.contains(field.name()) {
                    columns.push(column.clone());
                    continue;
                }
                has_more.iter_mut().enumerate().for_each(|(row, more)| *more |= column.is_valid(row));
                columns.push(new_null_array(field.data_type(), batch.num_rows()));
            }
            // The fields of landing batches are nullable, but for the keys, which stay.
            let rows = RecordBatch::try_new(batch.schema(), columns).map_err(|error| encode(&error))?;
            let keys = pinlake_clean::row_keys(contract, &rows).map_err(|error| encode(&error))?;
            by_batch.push((keys, has_more));
        }
        let at = |&(batch, row): &(u32, u32)| (&by_batch[batch as usize], row as usize);
        let keys = self.positions.iter().map(at).map(|((keys, more), row)| (key_at(keys, row), more[row]));
        Ok(EpochKeys::sort(epoch, keys.zip(0..).map(|((key, has_more), row)| (key, row, has_more))))
    }

    /// The rows' keys of another epoch that were computed from their records; `None` if a batch does not have them.
    fn keys_of_records(&self, epoch: KeyEpoch) -> Result<Option<EpochKeys<'static>>, String> {
        let mut by_batch = Vec::with_capacity(self.batches.len());
        for batch in self.batches {
            let column = |prefix: &str| batch.column_by_name(&format!("{prefix}{epoch}"));
            let Some((keys, has_more)) = column(OTHER_KEY_PREFIX).zip(column(HAS_MORE_PREFIX)) else {
                return Ok(None);
            };
            let keys = keys.as_fixed_size_binary_opt().filter(|keys| keys.value_length() == KEY_BYTES as i32);
            let columns = keys.zip(has_more.as_boolean_opt());
            by_batch
                .push(columns.ok_or_else(|| format!("the keys of the identity {epoch} have another type"))?);
        }
        let at = |&(batch, row): &(u32, u32)| (&by_batch[batch as usize], row as usize);
        let rows = self.positions.iter().map(at).zip(0..);
        let keys = rows
            .filter(|(((keys, _), at), _)| keys.is_valid(*at))
            .map(|(((keys, has_more), at), row)| (key_at(keys, at), row, has_more.value(at)));
        // A row of the epoch may also have the values that the record has under the present rules: then it is the same row.
        let own = self.keys.iter().zip(0..).map(|(key, row)| (*key, row, false));
        Ok(Some(EpochKeys::sort(epoch, keys.chain(own))))
    }

    /// The keys that are not `present`, ascending.
    pub(super) fn list_absent(&self, present: &[bool]) -> Vec<Key> {
        self.keys.iter().zip(present).filter(|(_, present)| !**present).map(|(key, _)| *key).collect()
    }

    /// The number of keys of each batch that are not `present`.
    pub(super) fn count_absent_by_batch(&self, present: &[bool]) -> Vec<u64> {
        let mut counts = vec![0; self.batches.len()];
        for ((batch, _), present) in self.positions.iter().zip(present) {
            counts[*batch as usize] += u64::from(!present);
        }
        counts
    }

    /// The rows of the keys that are not `present` by partition, with `columns` only.
    fn split_absent(
        &self,
        present: &[bool],
        columns: &SchemaRef,
        partition_columns: &[String],
    ) -> Result<Vec<PartitionRows>, ArrowError> {
        let batches = self.batches.iter().map(|batch| to_columns(batch, columns));
        let batches = batches.collect::<Result<Vec<_>, _>>()?;
        let rows = self.keys.iter().copied().zip(self.positions.iter().copied());
        let absent = rows.zip(present).filter(|(_, present)| !**present).map(|(row, _)| row);
        partition::split_rows(partition_columns, &batches, absent)
    }

    /// The rows of the keys that are not `present`, in input order, with `columns` only.
    pub(super) fn select_absent(
        &self,
        present: &[bool],
        columns: &SchemaRef,
    ) -> Result<Vec<Rows>, ArrowError> {
        let mut masks: Vec<Vec<bool>> =
            self.batches.iter().map(|batch| vec![false; batch.num_rows()]).collect();
        for ((batch, row), present) in self.positions.iter().zip(present) {
            masks[*batch as usize][*row as usize] = !present;
        }
        let select = |(batch, mask): (&RecordBatch, Vec<bool>)| {
            Ok(Rows::filter(to_columns(batch, columns)?, mask.into()))
        };
        let selected = self.batches.iter().zip(masks).map(select);
        let mut selected: Vec<Rows> = selected.collect::<Result<_, ArrowError>>()?;
        selected.retain(|rows| rows.count() > 0);
        Ok(selected)
    }
}

/// The columns of a table of a landing batch.
fn to_columns(batch: &RecordBatch, columns: &SchemaRef) -> Result<RecordBatch, ArrowError> {
    let arrays = columns.fields().iter().map(|field| {
        // The table may have columns that the contract does not have.
        let Some(array) = batch.column_by_name(field.name()) else {
            return Ok(new_null_array(field.data_type(), batch.num_rows()));
        };
        // Keys have a fixed width in landing batches, but not in tables.
        if array.data_type() == field.data_type() {
            Ok(array.clone())
        } else {
            cast(array, field.data_type())
        }
    });
    RecordBatch::try_new(columns.clone(), arrays.collect::<Result<_, ArrowError>>()?)
}
