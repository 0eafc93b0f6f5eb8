//! Keys of rows that are in a table already: the same keys as when the rows were cleaned.

use arrow::array::cast::AsArray;
use arrow::array::types::{Date32Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType};
use arrow::array::{Array, ArrayRef, BinaryArray, FixedSizeBinaryArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use pinlake_schema::{Contract, KEY_COLUMN, Scalar, Type};

use crate::cell::{Cell, Row, View};
use crate::key::{KEY_BYTES, KeyEncoder, Keys};
use crate::record::{Record, Span};

/// Why the keys of rows cannot be told.
#[derive(Debug, thiserror::Error)]
pub enum NoKeys {
    /// A column is missing or of another type than in the contract.
    #[error("column {column} of {dataset} is not there as {wanted}")]
    Column {
        /// Whose rows.
        dataset: String,
        /// Which column.
        column: String,
        /// Its type in the contract.
        wanted: String,
    },
}

/// The key of each row of `rows`, which has the columns of `contract`'s table: the one that the row stores, else the one that its
/// columns give. It is null where neither tells it: rows that are identified by their record, and do not store their key.
///
/// # Errors
/// See [`NoKeys`].
pub fn keys(contract: &Contract, rows: &RecordBatch) -> Result<FixedSizeBinaryArray, NoKeys> {
    let form = KeyEncoder::new(contract);
    let stored = stored_keys(contract, rows)?;
    let told = if form.is_by_record() {
        FixedSizeBinaryArray::new_null(KEY_BYTES as i32, rows.num_rows())
    } else {
        told_by_columns(contract, &form, rows)?
    };
    let Some(stored) = stored.filter(|stored| stored.null_count() < stored.len()) else { return Ok(told) };
    let keys = (0..rows.num_rows()).map(|row| match stored.is_valid(row) {
        true => Some(stored.value(row)),
        false => told.is_valid(row).then(|| told.value(row)),
    });
    let keys = FixedSizeBinaryArray::try_from_sparse_iter_with_size(keys, KEY_BYTES as i32);
    keys.map_err(|_| missing(contract, KEY_COLUMN, "16 bytes a row"))
}

/// The keys that rows store; `None` where they have no column for them. Tables have them in a column of bytes, landing batches in one
/// of a fixed width.
fn stored_keys(contract: &Contract, rows: &RecordBatch) -> Result<Option<BinaryArray>, NoKeys> {
    let Some(column) = rows.column_by_name(KEY_COLUMN).filter(|_| contract.stores_keys()) else {
        return Ok(None);
    };
    let keys = cast(column, &DataType::Binary).map_err(|_| missing(contract, KEY_COLUMN, "binary"))?;
    Ok(Some(keys.as_binary::<i32>().clone()))
}

fn missing(contract: &Contract, column: &str, wanted: &str) -> NoKeys {
    let (dataset, column, wanted) = (contract.name.clone(), column.to_owned(), wanted.to_owned());
    NoKeys::Column { dataset, column, wanted }
}

fn told_by_columns(
    contract: &Contract,
    form: &KeyEncoder,
    rows: &RecordBatch,
) -> Result<FixedSizeBinaryArray, NoKeys> {
    let identity: Vec<usize> = form.columns().collect();
    let mut columns = Vec::with_capacity(contract.columns.len());
    for column in &contract.columns {
        let array =
            rows.column_by_name(&column.name).filter(|array| *array.data_type() == column.data_type.arrow());
        columns.push(array.ok_or_else(|| missing(contract, &column.name, &column.data_type.to_string()))?);
    }
    let record = Record::new(0);
    let (mut row, mut keys) = (Row::default(), Keys::default());
    for at in 0..rows.num_rows() {
        row.clear();
        for (number, (column, array)) in contract.columns.iter().zip(&columns).enumerate() {
            let cell = if identity.contains(&number) {
                cell(column.data_type, array, at, &mut row)
            } else {
                Cell::Null
            };
            row.cells.push(cell);
        }
        keys.push(form, View { row: &row, record: &record, text: "" }, None);
    }
    Ok(keys.finish())
}

fn cell(data_type: Type, array: &ArrayRef, at: usize, row: &mut Row) -> Cell {
    if array.is_null(at) {
        return Cell::Null;
    }
    match data_type {
        Type::Scalar(scalar) => one(scalar, array, at, row),
        Type::Array(scalar) => {
            let items = array.as_list::<i32>().value(at);
            let start = row.items.len();
            for item in 0..items.len() {
                let cell = if items.is_null(item) { Cell::Null } else { one(scalar, &items, item, row) };
                row.items.push(cell);
            }
            Cell::Items(Span::of(start, row.items.len()))
        }
    }
}

fn one(scalar: Scalar, array: &ArrayRef, at: usize, row: &mut Row) -> Cell {
    match scalar {
        Scalar::String | Scalar::Json => row.keep(array.as_string::<i32>().value(at).as_bytes()),
        Scalar::Binary => row.keep(array.as_binary::<i32>().value(at)),
        Scalar::Int64 => Cell::Int(array.as_primitive::<Int64Type>().value(at)),
        Scalar::Int32 => Cell::Int(array.as_primitive::<Int32Type>().value(at).into()),
        Scalar::Float64 => Cell::float(array.as_primitive::<Float64Type>().value(at)),
        Scalar::Boolean => Cell::bool(array.as_boolean().value(at)),
        Scalar::Timestamp => Cell::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(at)),
        Scalar::Date => Cell::Date(array.as_primitive::<Date32Type>().value(at).into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Origin, Position, RecordCleaner};
    use pinlake_schema::Catalog;
    use std::sync::Arc;

    #[test]
    fn a_stored_row_has_the_key_it_was_cleaned_with() {
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let mut intake = RecordCleaner::new(catalog, chrono::DateTime::UNIX_EPOCH);
        let origin = Origin { source: "test", position: Position::Line(1), record_id: None };
        for record in [
            r#"{"index": 1, "unique_id": "a", "title": "", "description": "é\n", "poster_name": null, "follower_count": "12k", "category": "art"}"#,
            r#"{"ind": 1, "timestamp": "2020-08-28 03:52:47", "latitude": -0.0, "longitude": null, "country": "Peru"}"#,
            r#"{"ind": 1, "first_name": "A", "last_name": "B", "age": 20, "date_joined": "2015-10-21 21:26:45"}"#,
            r#"{"what": "is this"}"#,
        ] {
            intake.push(record.as_bytes(), None, &origin);
        }
        let cleaned = intake.drain();
        assert_eq!(cleaned.len(), 4);
        for batch in cleaned {
            let cleaned_with = batch.rows.column_by_name(KEY_COLUMN).unwrap().as_fixed_size_binary();
            assert_eq!(&keys(&batch.contract, &batch.rows).unwrap(), cleaned_with, "{}", batch.contract.name);
        }
    }
}
