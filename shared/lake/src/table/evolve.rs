//! Schema evolution: a table gets the columns and the types that its contract has added.
//!
//! - A column that is added is a commit of its own, which changes only the table's metadata; readers find nulls in older data files.
//! - A column whose type is widened is a commit of its own, which changes the metadata and replaces all data files. The Delta feature
//!   `typeWidening` would leave the files as they are, but many readers refuse tables that have it: docs/decisions/widened-types.md.
//! - Columns that the contract does not have stay in the table: pinlake writes nulls there and keeps the values of rows that it rewrites.

use std::collections::{BTreeMap, HashSet};
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pinlake_schema::{KEY_COLUMN, Type};

use super::commit::StagedFile;
use super::commit::VERSION_PROPERTY;
use super::{CachedState, Table};
use crate::data_file::{self, DataFile, Rows};
use crate::error::LakeError;
use crate::keys::KeyReader;
use crate::log::{AlteredLog, FileChanges, Operation, RowCounts, TableLog};

/// Size of the data files of a table whose types are changed. More would not be rewritten within the time limit of a function.
const MAX_REWRITE_BYTES: u64 = 8 << 30;

/// How the columns of a table differ from those of its contract.
#[derive(Debug, Default)]
pub(super) struct ColumnChanges {
    /// Columns that the table does not have.
    pub added: Vec<Field>,
    /// Columns of a narrower type in the table, with the type of the contract.
    pub widened: Vec<Field>,
}

/// Data files that are rewritten with wider types, by the path of the file that each replaces. `None` replaces a file without rows. After a
/// conflict they are used again.
#[derive(Debug, Default)]
pub(super) struct RewrittenFiles(BTreeMap<String, Option<StagedFile>>);

impl Table {
    /// The columns in which rows are written: those of the table in its order, then the keys if they are stored. A table from before keys were
    /// stored does not declare their column.
    pub(super) fn columns(&self, log: &TableLog) -> Result<SchemaRef, LakeError> {
        let own = self.contract.table_schema();
        let Some(table) = log.schema()? else { return Ok(own) };
        if names(&table).eq(names(&own)) {
            return Ok(own);
        }
        let declared =
            table.fields().iter().map(|field| own.fields().find(field.name()).map_or(field, |(_, own)| own));
        let keys = own
            .fields()
            .iter()
            .filter(|field| field.name() == KEY_COLUMN && table.field_with_name(KEY_COLUMN).is_err());
        Ok(Arc::new(Schema::new(declared.chain(keys).cloned().collect::<Vec<_>>())))
    }

    /// Compares the columns of the table with those of the contract.
    ///
    /// # Errors
    /// [`LakeError::SchemaChanged`] if the table cannot have the columns of the contract.
    pub(super) fn compare_columns(&self, log: &TableLog) -> Result<ColumnChanges, LakeError> {
        let mut changes = ColumnChanges::default();
        let Some(table) = log.schema()? else { return Ok(changes) };
        let columns = self.contract.arrow_schema();
        for field in columns.fields() {
            match table.field_with_name(field.name()) {
                Ok(own) if own.data_type() == field.data_type() => {}
                Ok(own) if is_widened(own.data_type(), field.data_type()) => {
                    changes.widened.push(field.as_ref().clone());
                }
                Ok(own) => return Err(self.schema_changed(own, field, "")),
                Err(_) => {
                    self.check_added(&table, field, log)?;
                    changes.added.push(field.as_ref().clone());
                }
            }
        }
        let foreign = table.fields().iter().find(|field| {
            !field.is_nullable()
                && field.name() != KEY_COLUMN
                && columns.field_with_name(field.name()).is_err()
        });
        if let Some(field) = foreign {
            let name = field.name();
            let why =
                format!("column {name} of the table may not be null, and the contract does not have it");
            return Err(LakeError::SchemaChanged { dataset: self.contract.name.clone(), why });
        }
        Ok(changes)
    }

    /// Checks that a table can get a column.
    fn check_added(&self, table: &Schema, added: &Field, log: &TableLog) -> Result<(), LakeError> {
        let name = added.name();
        let same = table.fields().iter().find(|own| own.name().eq_ignore_ascii_case(name));
        let first = self.contract.keep.as_ref().and_then(|keep| keep.latest_by.first());
        let written_under = log.property(VERSION_PROPERTY).and_then(|version| version.parse::<u32>().ok());
        let own = self.contract.version;
        let why = match same {
            Some(own) => format!(
                "column {name} is called {} in the table, and names are not case-sensitive",
                own.name()
            ),
            // A function that is not replaced yet must not bring back a column that a rebuild has dropped.
            None if let Some(later) = written_under.filter(|version| *version > own) => {
                format!(
                    "version {later} of the contract, under which it was written or rebuilt, has no column {name}, and this is version {own}"
                )
            }
            None if first == Some(name) && !log.files().is_empty() => {
                format!(
                    "the table has no column {name}, which orders records, so later rows would count as earlier ones"
                )
            }
            None => return Ok(()),
        };
        Err(LakeError::SchemaChanged { dataset: self.contract.name.clone(), why })
    }

    /// The error of a column whose type in the table is not that in the contract. `why` says more.
    fn schema_changed(&self, table: &Field, contract: &Field, why: &str) -> LakeError {
        let (name, own, wanted) =
            (contract.name(), describe(table.data_type()), describe(contract.data_type()));
        let why = format!("column {name} is {own} in the table and {wanted} in the contract{why}");
        LakeError::SchemaChanged { dataset: self.contract.name.clone(), why }
    }

    /// Adds columns to the table. Returns the version; `None` after a conflict.
    pub(super) async fn add_columns(
        &self,
        log: &mut TableLog,
        columns: &[Field],
    ) -> Result<Option<u64>, LakeError> {
        let names: Vec<&str> = columns.iter().map(|field| field.name().as_str()).collect();
        tracing::info!(dataset = %self.contract.name, contract = %self.contract.label(), ?names, "adding columns to the table");
        let info = self.build_commit_info(RowCounts::default());
        let commit = log.build_add_columns_commit(columns, &info)?;
        self.put_commit(log, commit, &info).await
    }

    /// Gives columns of the table the wider types of `columns`, and rewrites its data files in them. Returns the version; `None` after a
    /// conflict, after which the files in `rewritten` are used again.
    ///
    /// # Errors
    /// [`LakeError::SchemaChanged`] if a value is not the same in the wider type, or the table is too large.
    pub(super) async fn widen_columns(
        &self,
        state: &mut CachedState,
        columns: &[Field],
        rewritten: &mut RewrittenFiles,
    ) -> Result<Option<u64>, LakeError> {
        let reader = self.key_reader(&state.log).await?;
        let files = state.log.files().to_vec();
        let bytes = files.iter().map(|file| file.size).sum::<u64>();
        if bytes > MAX_REWRITE_BYTES {
            let why = format!(
                "a column has a wider type in the contract, and {bytes} bytes of data files have to be rewritten, which is more \
                 than the {MAX_REWRITE_BYTES} that pinlake rewrites: keep the type, or give the dataset another name"
            );
            return Err(LakeError::SchemaChanged { dataset: self.contract.name.clone(), why });
        }
        let names: Vec<&str> = columns.iter().map(|field| field.name().as_str()).collect();
        tracing::info!(dataset = %self.contract.name, contract = %self.contract.label(), ?names, files = files.len(), bytes,
            "rewriting the table with wider types");
        let info = self.build_commit_info(RowCounts::default());
        let altered = state.log.alter_types(columns, &info).await?;
        let present: HashSet<&str> = files.iter().map(|file| file.path.as_str()).collect();
        rewritten.0.retain(|path, _| present.contains(path.as_str()));
        for file in &files {
            if !rewritten.0.contains_key(&file.path) {
                let staged = self.rewrite_file(state, &reader, &altered, file).await?;
                rewritten.0.insert(file.path.clone(), staged);
            }
        }
        let added: Vec<&StagedFile> = rewritten.0.values().flatten().collect();
        let changes = FileChanges {
            operation: Operation::ChangeTypes,
            adds: added.iter().map(|added| added.as_added()).collect(),
            removes: rewritten.0.keys().map(String::as_str).collect(),
            key_lists: &[],
        };
        let modified_ms = self.env.clock.now().timestamp_millis();
        let commit = altered.build_commit(&changes, modified_ms, &info)?;
        let version = self.put_commit(&mut state.log, commit, &info).await?;
        if version.is_some() {
            for added in added {
                state.keys.insert(&added.path, added.cached_keys.clone());
            }
        }
        Ok(version)
    }

    /// Writes a data file again with the types of an altered log. Its rows keep their keys; `None` if it has no rows.
    async fn rewrite_file(
        &self,
        state: &mut CachedState,
        reader: &KeyReader<'_>,
        altered: &AlteredLog,
        file: &DataFile,
    ) -> Result<Option<StagedFile>, LakeError> {
        let columns = self.columns(&altered.log)?;
        let (path, bytes) = self.fetch_file(file).await?;
        let mut rows: Vec<Rows> = Vec::new();
        for batch in data_file::open(&path, bytes)?.batches {
            let batch = batch.map_err(LakeError::damaged(&path))?;
            let widened =
                data_file::conform(&batch, &columns, &file.partition).map_err(LakeError::damaged(&path))?;
            self.check_same_values(&batch, &widened, file)?;
            rows.push(widened.into());
        }
        if rows.iter().all(|rows| rows.count() == 0) {
            return Ok(None);
        }
        let keys = reader.read_all(&file.into(), &mut state.keys).await?;
        self.stage_file(&altered.log, &rows, keys, &file.partition).await.map(Some)
    }

    /// Checks that values of int64 are the same in float64, which has fewer digits.
    fn check_same_values(
        &self,
        batch: &RecordBatch,
        widened: &RecordBatch,
        file: &DataFile,
    ) -> Result<(), LakeError> {
        for (field, after) in widened.schema_ref().fields().iter().zip(widened.columns()) {
            let Some((own, before)) =
                batch.schema_ref().column_with_name(field.name()).map(|(at, own)| (own, batch.column(at)))
            else {
                continue;
            };
            if own.data_type() == field.data_type() || !is_widened(own.data_type(), field.data_type()) {
                continue;
            }
            let again = cast(after, own.data_type()).map_err(LakeError::encode(&self.contract.name))?;
            if again.to_data() != before.to_data() {
                let why = format!(", and data file {} has values with more digits", file.path);
                return Err(self.schema_changed(own, field, &why));
            }
        }
        Ok(())
    }
}

/// Whether each value of a type, or nearly each, is a value of the other.
fn is_widened(before: &DataType, after: &DataType) -> bool {
    let types = Type::from_arrow(before).zip(Type::from_arrow(after));
    types.is_some_and(|(before, after)| before.widens_to(after))
}

fn names(schema: &Schema) -> impl Iterator<Item = &str> {
    schema.fields().iter().map(|field| field.name().as_str())
}

/// A type in the words of contracts, if they have one.
fn describe(data_type: &DataType) -> String {
    Type::from_arrow(data_type).map_or_else(|| data_type.to_string(), |own| own.to_string())
}
