//! The keys of deleted rows, each with the order of the record that deleted it, so that an earlier record does not bring the row back.
//!
//! They are Parquet files under `_pinlake_deleted/`: see [`KeyList`].

use std::collections::HashMap;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::types::TimestampMicrosecondType;
use arrow::array::{ArrayRef, RecordBatch, TimestampMicrosecondArray, new_null_array};
use arrow::compute::{cast, concat_batches, filter_record_batch};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef, TimeUnit};
use chrono::{DateTime, Utc};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pinlake_schema::{Contract, KEY_COLUMN, KeepLatest};

use super::Table;
use crate::data_file;
use crate::error::LakeError;
use crate::key_list::KeyList;
use crate::log::TableLog;
use crate::partition_values::PartitionValues;

/// The column with the time at which a key was deleted.
const DELETED_AT: &str = "_deleted_at";
/// More files are written as one.
const MAX_FILES: usize = 8;
/// The most keys that a table remembers: they are read before each insert.
const MAX_KEYS: usize = 4_000_000;

/// The deleted keys of one version of a table.
#[derive(Debug, Clone, Default)]
pub(super) struct DeletedKeys {
    number: Option<i64>,
    files: Vec<DeletedFile>,
}

/// Keys that one commit, or several together, have deleted. The rows have [`KEY_COLUMN`], the columns of `latest_by` and [`DELETED_AT`].
#[derive(Debug, Clone)]
struct DeletedFile {
    name: String,
    rows: Arc<RecordBatch>,
}

impl DeletedKeys {
    /// The rows of all files, in the present columns.
    pub(super) fn rows(&self, contract: &Contract) -> Result<Vec<RecordBatch>, LakeError> {
        let columns = deleted_columns(contract);
        let first = contract.keep.iter().find_map(|keep| keep.latest_by.first());
        let conform = |file: &DeletedFile| {
            if first.is_some_and(|first| file.rows.column_by_name(first).is_none()) {
                let why = "`latest_by` begins with another column, and the table remembers deleted rows by the former one; keep it first \
                           until they are forgotten";
                return Err(LakeError::SchemaChanged { dataset: contract.name.clone(), why: why.to_owned() });
            }
            data_file::conform(&file.rows, &columns, &PartitionValues::new())
                .map_err(LakeError::encode(&contract.name))
        };
        self.files.iter().map(conform).collect()
    }
}

impl Table {
    /// Makes `known`, the deleted keys of an earlier version, those of the version in `log`. Files that both have are not read again.
    ///
    /// # Errors
    /// If the store fails, or an object that the log names is missing or damaged.
    pub(super) async fn refresh_deleted_keys(
        &self,
        log: &TableLog,
        known: &mut DeletedKeys,
    ) -> Result<(), LakeError> {
        let number = log.key_list(KeyList::Deleted)?;
        if number == known.number {
            return Ok(());
        }
        let Some(current) = number else {
            *known = DeletedKeys::default();
            return Ok(());
        };
        let names: Vec<String> = KeyList::Deleted.read(&*self.store, &self.root, current).await?;
        let mut loaded: HashMap<&str, &DeletedFile> =
            known.files.iter().map(|file| (file.name.as_str(), file)).collect();
        let mut files = Vec::with_capacity(names.len());
        for name in names {
            match loaded.remove(name.as_str()) {
                Some(file) => files.push(file.clone()),
                None => files.push(read_file(&*self.store, &self.root, name).await?),
            }
        }
        *known = DeletedKeys { number, files };
        Ok(())
    }

    /// Writes deleted keys in addition to `present`. `rows` have the columns of [`deleted_columns`]. Nothing refers to the result before a
    /// commit has its number.
    ///
    /// # Errors
    /// If the store fails, or the table has more keys than it may remember.
    pub(super) async fn stage_deleted_keys(
        &self,
        present: &DeletedKeys,
        mut rows: RecordBatch,
    ) -> Result<i64, LakeError> {
        let encode = |error| LakeError::encode(&self.contract.name)(error);
        let mut files: Vec<String> = present.files.iter().map(|file| file.name.clone()).collect();
        let count = rows.num_rows() + present.files.iter().map(|file| file.rows.num_rows()).sum::<usize>();
        if files.len() >= MAX_FILES || count > MAX_KEYS {
            let mut all = present.rows(&self.contract)?;
            all.push(rows);
            rows = concat_batches(&deleted_columns(&self.contract), &all).map_err(encode)?;
            rows = self.drop_expired(&rows)?;
            files.clear();
            if rows.num_rows() > MAX_KEYS {
                let why = format!(
                    "{} keys are deleted, and at most {MAX_KEYS} are remembered: make `remember_deletes_days` smaller",
                    rows.num_rows()
                );
                return Err(LakeError::SchemaChanged { dataset: self.contract.name.clone(), why });
            }
        }
        let name = format!("{}.parquet", self.env.rng.id());
        let path = KeyList::Deleted.file_path(&self.root, &name);
        let mut bytes = Vec::new();
        let written = ArrowWriter::try_new(&mut bytes, rows.schema(), None).and_then(|mut writer| {
            writer.write(&rows)?;
            writer.close()
        });
        written.map_err(LakeError::encode(&self.contract.name))?;
        self.store.put(&path, bytes.into()).await.map_err(LakeError::store(&path))?;
        files.push(name);
        KeyList::Deleted.write(&*self.store, &self.root, files, &self.env.rng).await
    }

    /// Leaves out the keys that were deleted longer ago than the contract remembers.
    fn drop_expired(&self, rows: &RecordBatch) -> Result<RecordBatch, LakeError> {
        let remembered = self.contract.keep.as_ref().map(|keep| keep.remember_deletes).unwrap_or_default();
        let oldest = self.env.clock.now() - remembered;
        let times = rows.column_by_name(DELETED_AT).into_iter();
        let times = times.flat_map(|times| times.as_primitive::<TimestampMicrosecondType>().iter());
        let stays = times.map(|time| Some(time.is_none_or(|time| time >= oldest.timestamp_micros())));
        filter_record_batch(rows, &stays.collect()).map_err(LakeError::encode(&self.contract.name))
    }
}

/// The columns of files of deleted keys: the key, what orders records, and the time of deletion.
fn deleted_columns(contract: &Contract) -> SchemaRef {
    let columns = contract.arrow_schema();
    let order = contract.keep.iter().flat_map(|keep: &KeepLatest| &keep.latest_by);
    let order = order.filter_map(|name| columns.field_with_name(name).ok().cloned());
    let key = Field::new(KEY_COLUMN, DataType::Binary, true);
    let time = Field::new(DELETED_AT, DataType::Timestamp(TimeUnit::Microsecond, Some("UTC".into())), true);
    Arc::new(Schema::new([key].into_iter().chain(order).chain([time]).collect::<Vec<_>>()))
}

/// Rows for [`Table::stage_deleted_keys`] from the rows of landing batches that delete.
///
/// # Errors
/// If a column cannot be converted.
pub(super) fn build_deleted_rows(
    contract: &Contract,
    deletes: &RecordBatch,
    now: DateTime<Utc>,
) -> Result<RecordBatch, LakeError> {
    let count = deletes.num_rows();
    let columns = deleted_columns(contract);
    let time: ArrayRef =
        Arc::new(TimestampMicrosecondArray::from_value(now.timestamp_micros(), count).with_timezone("UTC"));
    let arrays = columns.fields().iter().map(|field| match deletes.column_by_name(field.name()) {
        _ if field.name() == DELETED_AT => Ok(time.clone()),
        Some(column) => cast(column, field.data_type()),
        None => Ok(new_null_array(field.data_type(), count)),
    });
    let arrays = arrays.collect::<Result<Vec<_>, _>>();
    let rows = arrays.and_then(|arrays| RecordBatch::try_new(columns.clone(), arrays));
    rows.map_err(LakeError::encode(&contract.name))
}

async fn read_file(store: &dyn ObjectStore, table: &Path, name: String) -> Result<DeletedFile, LakeError> {
    let path = KeyList::Deleted.file_path(table, &name);
    let bytes = data_file::get(store, &path).await?;
    let damaged = |error| LakeError::damaged(&path)(error);
    let builder = ParquetRecordBatchReaderBuilder::try_new(bytes).map_err(damaged)?;
    let schema = builder.schema().clone();
    let batches = builder.build().map_err(damaged)?.collect::<Result<Vec<_>, _>>();
    let rows =
        batches.and_then(|batches| concat_batches(&schema, &batches)).map_err(LakeError::damaged(&path))?;
    Ok(DeletedFile { name, rows: Arc::new(rows) })
}
