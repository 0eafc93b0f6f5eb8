//! Schema evolution: a table gets the columns that its contract has added.
//!
//! A column that is added is a commit of its own, which changes only the table's metadata; readers find nulls in older data files. Columns
//! that the contract does not have stay in the table: pinlake writes nulls there and keeps the values of rows that it rewrites.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use pinlake_schema::{KEY_COLUMN, Type};

use super::Table;
use crate::error::LakeError;
use crate::log::{RowCounts, TableLog};

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

    /// The columns of the contract that the table does not have.
    ///
    /// # Errors
    /// [`LakeError::SchemaChanged`] if the table cannot have the columns of the contract.
    pub(super) fn list_missing_columns(&self, log: &TableLog) -> Result<Vec<Field>, LakeError> {
        let Some(table) = log.schema()? else { return Ok(Vec::new()) };
        let changed = |why: String| LakeError::SchemaChanged { dataset: self.contract.name.clone(), why };
        let columns = self.contract.arrow_schema();
        let mut missing = Vec::new();
        for field in columns.fields() {
            match table.field_with_name(field.name()) {
                Ok(own) if own.data_type() == field.data_type() => {}
                Ok(own) => {
                    let (name, table, contract) =
                        (field.name(), describe(own.data_type()), describe(field.data_type()));
                    return Err(changed(format!(
                        "column {name} is {table} in the table and {contract} in the contract"
                    )));
                }
                Err(_) => missing.push(field.as_ref().clone()),
            }
        }
        let foreign = table.fields().iter().find(|field| {
            !field.is_nullable()
                && field.name() != KEY_COLUMN
                && columns.field_with_name(field.name()).is_err()
        });
        if let Some(field) = foreign {
            let name = field.name();
            return Err(changed(format!(
                "column {name} of the table may not be null, and the contract does not have it"
            )));
        }
        Ok(missing)
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
}

fn names(schema: &Schema) -> impl Iterator<Item = &str> {
    schema.fields().iter().map(|field| field.name().as_str())
}

/// A type in the words of contracts, if they have one.
fn describe(data_type: &DataType) -> String {
    Type::from_arrow(data_type).map_or_else(|| data_type.to_string(), |own| own.to_string())
}
