//! Splits rows by partition: the rows of a data file have the same values of the partition columns.

use std::collections::HashMap;

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, RecordBatch, UInt32Array};
use arrow::compute::{cast, take_record_batch};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use arrow::row::{RowConverter, SortField};

use crate::data_file::Rows;
use crate::keys::Key;
use crate::partition_values::PartitionValues;

/// Rows of one partition.
#[derive(Debug)]
pub(crate) struct PartitionRows {
    pub values: PartitionValues,
    /// In the order of the input.
    pub rows: Vec<Rows>,
    /// Their keys, ascending.
    pub keys: Vec<Key>,
}

/// Rows of one partition before they are copied: their keys, and for each its batch and its number there.
#[derive(Default)]
struct SelectedRows {
    keys: Vec<Key>,
    positions: Vec<(u32, u32)>,
}

/// Splits rows by the values of `columns`. `selected` are the rows, each with its batch, its number there, and its key; keys ascend.
///
/// # Errors
/// If a batch does not have a column, or Arrow cannot compare its values.
pub(crate) fn split_rows(
    columns: &[String],
    batches: &[RecordBatch],
    selected: impl Iterator<Item = (Key, (u32, u32))>,
) -> Result<Vec<PartitionRows>, ArrowError> {
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let places = columns.iter().map(|name| first.schema_ref().index_of(name));
    let places: Vec<usize> = places.collect::<Result<_, _>>()?;
    let fields = places.iter().map(|at| SortField::new(first.schema_ref().field(*at).data_type().clone()));
    let converter = RowConverter::new(fields.collect())?;
    let values = batches.iter().map(|batch| {
        let columns: Vec<ArrayRef> = places.iter().map(|at| batch.column(*at).clone()).collect();
        converter.convert_columns(&columns)
    });
    let values = values.collect::<Result<Vec<_>, _>>()?;

    let mut numbers = HashMap::new();
    let mut parts: Vec<SelectedRows> = Vec::new();
    for (key, (batch, row)) in selected {
        let number = *numbers.entry(values[batch as usize].row(row as usize)).or_insert(parts.len());
        if number == parts.len() {
            parts.push(SelectedRows::default());
        }
        parts[number].keys.push(key);
        parts[number].positions.push((batch, row));
    }
    let finish = |SelectedRows { keys, mut positions }: SelectedRows| {
        let (batch, row) = positions[0];
        let values = columns.iter().zip(&places).map(|(name, at)| {
            let value = batches[batch as usize].column(*at).slice(row as usize, 1);
            let text = cast(&value, &DataType::Utf8)?;
            Ok((name.clone(), text.is_valid(0).then(|| text.as_string::<i32>().value(0).to_owned())))
        });
        let values = values.collect::<Result<_, ArrowError>>()?;
        positions.sort_unstable();
        let by_batch = positions.chunk_by(|a, b| a.0 == b.0).map(|rows| {
            let at = UInt32Array::from_iter_values(rows.iter().map(|(_, row)| *row));
            take_record_batch(&batches[rows[0].0 as usize], &at).map(Rows::from)
        });
        Ok(PartitionRows { values, rows: by_batch.collect::<Result<_, ArrowError>>()?, keys })
    };
    parts.into_iter().map(finish).collect()
}
