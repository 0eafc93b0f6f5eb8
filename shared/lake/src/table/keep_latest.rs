//! Insert into a table that keeps the latest record of each identity.
//!
//! The row of a key is the record with the greatest order, whatever the sequence in which records arrive and however often. The order is: the
//! columns of `latest_by`, with null as the least value; then a record that deletes after one that does not; then the other columns by
//! name. So the result is a function of the set of records, and inserting any of them again changes nothing.
//!
//! A commit writes the new rows as a file, and each data file that has rows of earlier records again without these rows (copy on write:
//! docs/decisions/copy-on-write.md).

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{ArrayRef, BooleanArray, RecordBatch, UInt32Array, new_null_array};
use arrow::compute::{concat_batches, take_record_batch};
use arrow::datatypes::{DataType, SchemaRef};
use arrow::row::{RowConverter, Rows as OrderedRows, SortField};
use bytes::Bytes;
use futures::future::try_join_all;
use object_store::path::Path;
use pinlake_schema::{Contract, DELETED_COLUMN, Identity, KEY_COLUMN};
use rayon::iter::{IntoParallelIterator, ParallelIterator};

use super::commit::{PrepareCommit, StagedCommit, StagedFile, UnwrittenFile};
use super::deleted_keys::build_deleted_rows;
use super::insert::{InsertBatch, InsertSummary};
use super::{CachedState, Table, decode_file};
use crate::data_file::{DataFile, Rows};
use crate::error::LakeError;
use crate::key_list::KeyList;
use crate::keys::{EarlierRow, EpochKeys, Key, KeySource, SortedKeys, key_at, keys_in_column};
use crate::log::{Operation, RowCounts, TableLog};

/// The most bytes of data files that are compared at the same time, if it is more than one.
const MAX_GROUP_BYTES: u64 = 64 << 20;

impl Table {
    /// Inserts the rows of records that are later than the table's, and deletes the rows that records delete. `batches` have the contract's
    /// landing schema.
    ///
    /// # Errors
    /// See [`LakeError`]. Inserting the same rows again is safe.
    pub(super) async fn insert_latest(&self, batches: &[RecordBatch]) -> Result<InsertSummary, LakeError> {
        let mut insert = InsertLatest::new(&self.contract, batches)?;
        if insert.input.rows == 0 {
            return Ok(insert.summarize(None));
        }
        let committed = self.commit_with_retry(&mut insert).await?;
        Ok(insert.summarize(committed.map(|(version, _)| version)))
    }
}

/// Orders the records of one identity.
struct RecordOrder {
    converter: RowConverter,
    /// The names and types of the compared columns; `None` for whether the record deletes.
    columns: Vec<(Option<String>, DataType)>,
    contract: String,
}

impl RecordOrder {
    fn new(contract: &Contract) -> Result<Self, LakeError> {
        let latest_by: Vec<&String> = contract.keep.iter().flat_map(|keep| &keep.latest_by).collect();
        // Records with one key have the same identity.
        let is_compared = |name: &&String| {
            let in_identity = matches!(&contract.identity, Identity::Columns(names) if names.contains(name));
            !in_identity && !latest_by.contains(name)
        };
        let others: BTreeSet<&String> =
            contract.columns.iter().map(|column| &column.name).filter(is_compared).collect();
        let schema = contract.arrow_schema();
        let typed = |name: &String| {
            let own = schema.field_with_name(name).map_err(LakeError::encode(&contract.name))?;
            Ok((Some(name.clone()), own.data_type().clone()))
        };
        let deletes = Ok((None, DataType::Boolean));
        let columns =
            latest_by.iter().copied().map(typed).chain([deletes]).chain(others.into_iter().map(typed));
        let columns = columns.collect::<Result<Vec<_>, LakeError>>()?;
        let fields = columns.iter().map(|(_, data_type)| SortField::new(data_type.clone())).collect();
        let converter = RowConverter::new(fields).map_err(LakeError::encode(&contract.name))?;
        Ok(Self { converter, columns, contract: contract.name.clone() })
    }

    /// The rows of a batch in comparable form. A column that it does not have is null.
    fn order(&self, batch: &RecordBatch, deletes: &BooleanArray) -> Result<OrderedRows, LakeError> {
        let count = batch.num_rows();
        let column = |(name, data_type): &(Option<String>, DataType)| -> ArrayRef {
            match name {
                None => Arc::new(deletes.clone()),
                Some(name) => {
                    batch.column_by_name(name).cloned().unwrap_or_else(|| new_null_array(data_type, count))
                }
            }
        };
        let columns: Vec<ArrayRef> = self.columns.iter().map(column).collect();
        self.converter.convert_columns(&columns).map_err(LakeError::encode(&self.contract))
    }
}

/// Positions in the keys of the input, by key.
struct WantedPositions(Vec<(Key, usize)>);

impl WantedPositions {
    fn new(keys: &[Key], positions: impl Iterator<Item = usize>) -> Self {
        let mut wanted: Vec<(Key, usize)> = positions.map(|at| (keys[at], at)).collect();
        wanted.sort_unstable();
        Self(wanted)
    }

    fn find(&self, key: &Key) -> Option<usize> {
        let found = self.0.binary_search_by(|(own, _)| own.cmp(key)).ok()?;
        Some(self.0[found].1)
    }
}

/// A data file to be compared with the input.
struct FetchedFile<'a> {
    file: &'a DataFile,
    path: Path,
    bytes: Bytes,
    /// The keys of the input that it has.
    positions: &'a [usize],
    /// The name of the file that replaces it.
    id: String,
}

/// How the rows of a data file compare to the input.
#[derive(Default)]
struct ComparedFile {
    /// The keys whose row is as late as the record of the input, or later.
    blocked: Vec<(usize, Ordering)>,
    /// The keys whose row is of an earlier record.
    replaced: Vec<usize>,
    /// The path of the file, if it has such rows.
    replaces: Option<String>,
    /// Its other rows.
    file: Option<UnwrittenFile>,
}

/// Groups data files that are compared at the same time: as many as there are threads, unless they are large.
fn group_files(files: Vec<&DataFile>) -> Vec<Vec<&DataFile>> {
    let mut groups: Vec<Vec<&DataFile>> = Vec::new();
    let mut bytes = 0;
    for file in files {
        bytes += file.size;
        match groups.last_mut() {
            Some(group) if group.len() < rayon::current_num_threads() && bytes <= MAX_GROUP_BYTES => {
                group.push(file);
            }
            _ => {
                groups.push(vec![file]);
                bytes = file.size;
            }
        }
    }
    groups
}

/// What became of the latest record of one key in the input.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Inserted,
    Superseded,
    Deleted,
    Duplicate,
    Outdated,
}

/// An insert in progress.
struct InsertLatest<'a> {
    /// Has the latest record of each key.
    input: InsertBatch<'a>,
    order: RecordOrder,
    /// For each batch its rows in comparable form.
    ordered: Vec<OrderedRows>,
    /// For each batch which of its rows delete.
    deletes: Vec<BooleanArray>,
    /// Of the other records of the input, those that equal the latest of their key, and the others.
    repeated: u64,
    earlier: u64,
    /// For each key, as of the version that was checked last.
    outcomes: Vec<Outcome>,
}

impl<'a> InsertLatest<'a> {
    fn new(contract: &Contract, batches: &'a [RecordBatch]) -> Result<Self, LakeError> {
        let encode = |error: String| LakeError::encode(&contract.name)(error);
        let order = RecordOrder::new(contract)?;
        let (mut ordered, mut deletes, mut records) = (Vec::new(), Vec::new(), Vec::new());
        for (number, batch) in (0_u32..).zip(batches) {
            let own = batch.column_by_name(DELETED_COLUMN).and_then(|column| column.as_boolean_opt());
            let own = own.cloned().unwrap_or_else(|| vec![false; batch.num_rows()].into());
            ordered.push(order.order(batch, &own)?);
            deletes.push(own);
            let keys = keys_in_column(batch, KEY_COLUMN).map_err(encode)?;
            records.extend((0..batch.num_rows()).map(|row| (key_at(keys, row), (number, row as u32))));
        }
        let row = |(batch, row): (u32, u32)| ordered[batch as usize].row(row as usize);
        records.sort_unstable_by(|(left, at), (right, other)| {
            // The latest first, and of equal ones the first of the input.
            left.cmp(right).then_with(|| row(*other).cmp(&row(*at))).then_with(|| at.cmp(other))
        });
        let rows = records.len() as u64;
        let (mut repeated, mut earlier) = (0, 0);
        records.dedup_by(|(key, at), (kept_key, kept)| {
            let is_same_key = key == kept_key;
            if is_same_key && row(*at) == row(*kept) {
                repeated += 1;
            } else if is_same_key {
                earlier += 1;
            }
            is_same_key
        });
        let (keys, positions) = records.into_iter().unzip();
        let input = InsertBatch { batches, rows, keys, former_keys: None, positions };
        Ok(Self { input, order, ordered, deletes, repeated, earlier, outcomes: Vec::new() })
    }

    /// Compares what the table has of a key, in comparable form, with the latest record of the input.
    fn compare(&self, at: usize, stored: arrow::row::Row<'_>) -> Ordering {
        let (batch, row) = self.input.positions[at];
        stored.cmp(&self.ordered[batch as usize].row(row as usize))
    }

    fn is_delete(&self, at: usize) -> bool {
        let (batch, row) = self.input.positions[at];
        self.deletes[batch as usize].value(row as usize)
    }

    fn count(&self, wanted: Outcome) -> u64 {
        self.outcomes.iter().filter(|outcome| **outcome == wanted).count() as u64
    }

    fn counts(&self) -> RowCounts {
        RowCounts {
            read: self.input.rows,
            inserted: self.count(Outcome::Inserted),
            superseded: self.count(Outcome::Superseded),
            duplicates: self.repeated + self.count(Outcome::Duplicate),
            outdated: self.earlier + self.count(Outcome::Outdated),
            deleted: self.count(Outcome::Deleted),
            updated: 0,
        }
    }

    fn summarize(&self, version: Option<u64>) -> InsertSummary {
        let RowCounts { read, inserted, superseded, duplicates, outdated, deleted, updated: _ } =
            self.counts();
        let is_known: Vec<bool> = self.outcomes.iter().map(|outcome| *outcome != Outcome::Inserted).collect();
        let by_batch = self.input.count_absent_by_batch(&is_known);
        InsertSummary { read, inserted, superseded, duplicates, outdated, deleted, version, by_batch }
    }

    /// Compares rows of the table with the input. Returns those whose key is one of `wanted`: their number in `rows`, the position of their
    /// key, and how they compare to the record of the input. `keys` are those of `rows`; `deletes` says whether they are deleted keys.
    fn compare_rows(
        &self,
        rows: &RecordBatch,
        keys: impl Iterator<Item = Key>,
        wanted: &WantedPositions,
        deletes: bool,
    ) -> Result<Vec<(usize, usize, Ordering)>, LakeError> {
        let find = |(row, key): (u32, Key)| Some((row, wanted.find(&key)?));
        let (known, positions): (Vec<u32>, Vec<usize>) = (0..).zip(keys).filter_map(find).unzip();
        let stored = take_record_batch(rows, &UInt32Array::from(known.clone()));
        let stored = stored.map_err(LakeError::encode(&self.order.contract))?;
        let stored = self.order.order(&stored, &vec![deletes; known.len()].into())?;
        let compare = |((row, at), stored): ((u32, usize), _)| (row as usize, at, self.compare(at, stored));
        Ok(known.into_iter().zip(positions).zip(&stored).map(compare).collect())
    }

    /// Marks the keys whose deletion is as late as the record of the input, or later.
    fn check_deleted_keys(
        &self,
        deleted: Vec<RecordBatch>,
        blocked: &mut [Option<Ordering>],
    ) -> Result<(), LakeError> {
        if deleted.is_empty() {
            return Ok(());
        }
        let wanted = WantedPositions::new(&self.input.keys, 0..self.input.keys.len());
        for rows in deleted {
            let keys = rows.column_by_name(KEY_COLUMN).and_then(|column| column.as_binary_opt::<i32>());
            let keys =
                keys.into_iter().flatten().map(|key| key.unwrap_or_default().try_into().unwrap_or_default());
            for (_, at, own) in self.compare_rows(&rows, keys, &wanted, true)? {
                if own.is_ge() {
                    blocked[at] = blocked[at].max(Some(own));
                }
            }
        }
        Ok(())
    }

    /// Compares the rows of a data file with the input, and encodes the file without the rows of earlier records, if it has any. `positions`
    /// are those of the keys that the file has; `id` names the new file.
    fn compare_file(
        &self,
        table: &Table,
        log: &TableLog,
        columns: &SchemaRef,
        FetchedFile { file, path, bytes, positions, id }: FetchedFile<'_>,
    ) -> Result<ComparedFile, LakeError> {
        let wanted = WantedPositions::new(&self.input.keys, positions.iter().copied());
        let mut compared = ComparedFile::default();
        let (mut kept, mut kept_keys) = (Vec::new(), Vec::new());
        for batch in decode_file(&path, bytes, columns, &file.partition)? {
            let keys = pinlake_clean::row_keys(&table.contract, &batch)
                .map_err(|error| LakeError::encode(&table.contract.name)(error))?;
            let keys = (0..batch.num_rows()).map(|row| key_at(&keys, row));
            let mut stays = vec![true; batch.num_rows()];
            for (row, at, own) in self.compare_rows(&batch, keys.clone(), &wanted, false)? {
                if own.is_lt() {
                    compared.replaced.push(at);
                    stays[row] = false;
                } else {
                    compared.blocked.push((at, own));
                }
            }
            // As numbers, which sort as the keys do and compare faster.
            let own = keys.zip(&stays).filter(|(_, stays)| **stays);
            kept_keys.extend(own.map(|(key, _)| u128::from_be_bytes(key)));
            kept.push(Rows::filter(batch, stays.into()));
        }
        if compared.replaced.is_empty() {
            return Ok(compared);
        }
        compared.replaces = Some(file.path.clone());
        kept.retain(|rows| rows.count() > 0);
        if !kept.is_empty() {
            kept_keys.sort_unstable();
            let keys = kept_keys.into_iter().map(u128::to_be_bytes).collect();
            let keys = SortedKeys { epoch: table.key_epoch()?, keys };
            compared.file = Some(table.encode_file(log, &kept, keys, &file.partition, &id)?);
        }
        Ok(compared)
    }

    /// The rows of the input that delete, of keys with that outcome.
    fn select_deletes(&self) -> Result<RecordBatch, arrow::error::ArrowError> {
        let mut by_batch: Vec<Vec<u32>> = vec![Vec::new(); self.input.batches.len()];
        for (outcome, (batch, row)) in self.outcomes.iter().zip(&self.input.positions) {
            if *outcome == Outcome::Deleted {
                by_batch[*batch as usize].push(*row);
            }
        }
        let taken = self.input.batches.iter().zip(by_batch);
        let taken = taken.map(|(batch, rows)| take_record_batch(batch, &UInt32Array::from(rows)));
        let schema = self.input.batches[0].schema();
        concat_batches(&schema, &taken.collect::<Result<Vec<_>, _>>()?)
    }
}

impl PrepareCommit for InsertLatest<'_> {
    const CREATES_TABLE: bool = true;

    async fn prepare(
        &mut self,
        table: &Table,
        state: &mut CachedState,
        _previous: Option<StagedCommit>,
    ) -> Result<Option<StagedCommit>, LakeError> {
        let contract = &table.contract;
        let CachedState { log, keys, deleted_keys, .. } = state;
        table.refresh_deleted_keys(log, deleted_keys).await?;
        let count = self.input.keys.len();
        let mut blocked = vec![None; count];
        self.check_deleted_keys(deleted_keys.rows(contract)?, &mut blocked)?;

        // A row may be under any epoch with the same keys. Each key that is found is reported with its file.
        let reader = table.key_reader(log).await?;
        let others = reader.epochs.others.iter().map(|other| other.epoch);
        let epochs = [reader.epochs.current()].into_iter().chain(others);
        let keys_of = |epoch| {
            EpochKeys::sort(
                epoch,
                self.input.keys.iter().copied().zip(0..).map(|(key, row)| (key, row, true)),
            )
        };
        let wanted: Vec<_> = epochs.map(keys_of).collect();
        let found =
            reader.find_present(log.files().iter().map(KeySource::from), &wanted, keys).await?.earlier;
        let mut positions: BTreeMap<String, Vec<usize>> = BTreeMap::new();
        for EarlierRow { row, file, .. } in found {
            positions.entry(file).or_default().push(row);
        }

        let mut replaced = HashSet::new();
        let (mut adds, mut removes): (Vec<StagedFile>, Vec<String>) = (Vec::new(), Vec::new());
        let columns = table.columns(log)?;
        let files = log.files().iter().filter(|file| positions.contains_key(&file.path));
        for group in group_files(files.collect()) {
            let fetches = group.into_iter().map(|file| {
                let (positions, id) = (positions[&file.path].as_slice(), table.env.rng.id());
                async move {
                    let (path, bytes) = table.fetch_file(file).await?;
                    Ok::<_, LakeError>(FetchedFile { file, path, bytes, positions, id })
                }
            });
            let fetched = try_join_all(fetches).await?;
            let compared = fetched.into_par_iter().map(|file| self.compare_file(table, log, &columns, file));
            let mut unwritten = Vec::new();
            for compared in compared.collect::<Result<Vec<_>, _>>()? {
                for (at, own) in compared.blocked {
                    blocked[at] = blocked[at].max(Some(own));
                }
                replaced.extend(compared.replaced);
                removes.extend(compared.replaces);
                unwritten.extend(compared.file);
            }
            let writes = unwritten.into_iter().map(|file| table.write_file(file));
            adds.extend(try_join_all(writes).await?);
        }
        self.outcomes = (0..count)
            .map(|at| match blocked[at] {
                Some(Ordering::Equal) => Outcome::Duplicate,
                Some(_) => Outcome::Outdated,
                None if self.is_delete(at) => Outcome::Deleted,
                None if replaced.contains(&at) => Outcome::Superseded,
                None => Outcome::Inserted,
            })
            .collect();
        let counts = self.counts();
        if counts.inserted + counts.superseded + counts.deleted == 0 && removes.is_empty() {
            return Ok(None);
        }
        let is_written = |outcome: &Outcome| matches!(outcome, Outcome::Inserted | Outcome::Superseded);
        let is_known: Vec<bool> = self.outcomes.iter().map(|outcome| !is_written(outcome)).collect();
        adds.extend(table.stage_absent_rows(log, &self.input, &is_known, &columns).await?);
        let mut key_lists = Vec::new();
        if counts.deleted > 0 {
            let rows = self.select_deletes().map_err(LakeError::encode(&contract.name))?;
            let rows = build_deleted_rows(contract, &rows, table.env.clock.now())?;
            key_lists.push((KeyList::Deleted, table.stage_deleted_keys(deleted_keys, rows).await?));
        }
        let operation =
            if removes.is_empty() && key_lists.is_empty() { Operation::Insert } else { Operation::Upsert };
        Ok(Some(StagedCommit { operation, adds, removes, key_lists, counts }))
    }
}
