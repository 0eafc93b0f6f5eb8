//! The keys of rows that are already in a table: the same keys as when they were cleaned.

use arrow::array::cast::AsArray;
use arrow::array::types::{
    Date32Type, Decimal128Type, Float64Type, Int32Type, Int64Type, TimestampMicrosecondType,
};
use arrow::array::{Array, ArrayRef, BinaryArray, FixedSizeBinaryArray, RecordBatch};
use arrow::compute::cast;
use arrow::datatypes::DataType;
use pinlake_schema::{Contract, KEY_COLUMN, Scalar, Type};

use crate::key::{KEY_BYTES, KeyBuilder, KeyEncoder};
use crate::parsed_record::{ParsedRecord, Span};
use crate::row::{Cell, Row, RowView};

/// Why the keys of rows cannot be determined.
#[derive(Debug, thiserror::Error)]
pub enum RowKeysError {
    /// A column is missing or of another type than in the contract.
    #[error("{dataset} has no column {column} of type {wanted}")]
    Column {
        /// The dataset of the rows.
        dataset: String,
        /// The name of the column.
        column: String,
        /// Its type in the contract.
        wanted: String,
    },
}

/// Returns the key of each row of `rows`, which has the columns of the table of `contract`: the stored key if there is one, otherwise the
/// key computed from the columns. The key is null if neither exists: for rows that are identified by their record and do not store a key.
///
/// # Errors
/// If a column is missing or of another type than in the contract.
pub fn row_keys(contract: &Contract, rows: &RecordBatch) -> Result<FixedSizeBinaryArray, RowKeysError> {
    let encoder = KeyEncoder::new(contract);
    let stored = read_stored_keys(contract, rows)?;
    let computed = if encoder.uses_record_identity() {
        FixedSizeBinaryArray::new_null(KEY_BYTES as i32, rows.num_rows())
    } else {
        compute_keys(contract, &encoder, rows)?
    };
    let Some(stored) = stored.filter(|stored| stored.null_count() < stored.len()) else {
        return Ok(computed);
    };
    let keys = (0..rows.num_rows()).map(|row| match stored.is_valid(row) {
        true => Some(stored.value(row)),
        false => computed.is_valid(row).then(|| computed.value(row)),
    });
    let keys = FixedSizeBinaryArray::try_from_sparse_iter_with_size(keys, KEY_BYTES as i32);
    keys.map_err(|_| column_error(contract, KEY_COLUMN, "16 bytes a row"))
}

/// The keys that the rows store; `None` if there is no column for them. The column is variable-length binary in tables, and fixed-size
/// binary in landing batches.
fn read_stored_keys(contract: &Contract, rows: &RecordBatch) -> Result<Option<BinaryArray>, RowKeysError> {
    let Some(column) = rows.column_by_name(KEY_COLUMN).filter(|_| contract.stores_keys()) else {
        return Ok(None);
    };
    let keys = cast(column, &DataType::Binary).map_err(|_| column_error(contract, KEY_COLUMN, "binary"))?;
    Ok(Some(keys.as_binary::<i32>().clone()))
}

fn column_error(contract: &Contract, column: &str, wanted: &str) -> RowKeysError {
    let (dataset, column, wanted) = (contract.name.clone(), column.to_owned(), wanted.to_owned());
    RowKeysError::Column { dataset, column, wanted }
}

fn compute_keys(
    contract: &Contract,
    encoder: &KeyEncoder,
    rows: &RecordBatch,
) -> Result<FixedSizeBinaryArray, RowKeysError> {
    let identity: Vec<usize> = encoder.column_indexes().collect();
    let mut columns = Vec::with_capacity(contract.columns.len());
    for column in &contract.columns {
        let array =
            rows.column_by_name(&column.name).filter(|array| *array.data_type() == column.data_type.arrow());
        columns
            .push(array.ok_or_else(|| column_error(contract, &column.name, &column.data_type.to_string()))?);
    }
    let record = ParsedRecord::new(0);
    let (mut row, mut keys) = (Row::default(), KeyBuilder::default());
    for at in 0..rows.num_rows() {
        row.clear();
        for (number, (column, array)) in contract.columns.iter().zip(&columns).enumerate() {
            let cell = if identity.contains(&number) {
                read_cell(column.data_type, array, at, &mut row)
            } else {
                Cell::Null
            };
            row.cells.push(cell);
        }
        keys.push(encoder, RowView { row: &row, record: &record, text: "" }, None);
    }
    Ok(keys.finish())
}

fn read_cell(data_type: Type, array: &ArrayRef, at: usize, row: &mut Row) -> Cell {
    if array.is_null(at) {
        return Cell::Null;
    }
    match data_type {
        Type::Scalar(scalar) => read_scalar(scalar, array, at, row),
        Type::Array(scalar) => {
            let items = array.as_list::<i32>().value(at);
            let start = row.items.len();
            for item in 0..items.len() {
                let cell =
                    if items.is_null(item) { Cell::Null } else { read_scalar(scalar, &items, item, row) };
                row.items.push(cell);
            }
            Cell::Items(Span::new(start, row.items.len()))
        }
    }
}

fn read_scalar(scalar: Scalar, array: &ArrayRef, at: usize, row: &mut Row) -> Cell {
    match scalar {
        Scalar::String | Scalar::Json => row.push_bytes(array.as_string::<i32>().value(at).as_bytes()),
        Scalar::Binary => row.push_bytes(array.as_binary::<i32>().value(at)),
        Scalar::Int64 => Cell::Int(array.as_primitive::<Int64Type>().value(at)),
        Scalar::Int32 => Cell::Int(array.as_primitive::<Int32Type>().value(at).into()),
        Scalar::Float64 => Cell::from_f64(array.as_primitive::<Float64Type>().value(at)),
        Scalar::Boolean => Cell::from_bool(array.as_boolean().value(at)),
        Scalar::Timestamp => Cell::Timestamp(array.as_primitive::<TimestampMicrosecondType>().value(at)),
        Scalar::Date => Cell::Date(array.as_primitive::<Date32Type>().value(at).into()),
        Scalar::Decimal(_) => row.push_decimal(array.as_primitive::<Decimal128Type>().value(at)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Position, RecordCleaner, RecordOrigin};
    use pinlake_schema::Catalog;
    use std::sync::Arc;

    #[test]
    fn a_stored_row_has_the_key_it_was_cleaned_with() {
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let mut cleaner = RecordCleaner::new(catalog, chrono::DateTime::UNIX_EPOCH);
        let origin = RecordOrigin { source: "test", position: Position::Line(1), record_id: None };
        for record in [
            r#"{"index": 1, "unique_id": "a", "title": "", "description": "é\n", "poster_name": null, "follower_count": "12k", "category": "art"}"#,
            r#"{"ind": 1, "timestamp": "2020-08-28 03:52:47", "latitude": -0.0, "longitude": null, "country": "Peru"}"#,
            r#"{"ind": 1, "first_name": "A", "last_name": "B", "age": 20, "date_joined": "2015-10-21 21:26:45"}"#,
            r#"{"what": "is this"}"#,
        ] {
            cleaner.push(record.as_bytes(), None, &origin);
        }
        let cleaned = cleaner.drain();
        assert_eq!(cleaned.len(), 4);
        for batch in cleaned {
            let cleaned_with = batch.rows.column_by_name(KEY_COLUMN).unwrap().as_fixed_size_binary();
            assert_eq!(
                &row_keys(&batch.contract, &batch.rows).unwrap(),
                cleaned_with,
                "{}",
                batch.contract.name
            );
        }
    }
}
