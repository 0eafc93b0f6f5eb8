//! Sorts the rows of a data file by the columns of `cluster_by`, so that readers skip parts of it by their statistics.

use arrow::array::{RecordBatch, UInt32Array};
use arrow::compute::{SortColumn, concat_batches, lexsort_to_indices, take_record_batch};
use arrow::error::ArrowError;

use crate::data_file::Rows;

/// Rows of one piece of the result, which becomes a part of a row group.
const PIECE_ROWS: usize = 1 << 14;

/// The rows in the order of `columns`. Columns that the rows do not have are passed over. Takes the memory of the rows twice.
///
/// # Errors
/// If Arrow cannot compare or copy the rows.
pub(crate) fn sort_rows(rows: &[Rows], columns: &[String]) -> Result<Vec<Rows>, ArrowError> {
    let batches = rows.iter().map(Rows::to_batch).collect::<Result<Vec<RecordBatch>, _>>()?;
    let Some(first) = batches.first() else { return Ok(Vec::new()) };
    let all = concat_batches(&first.schema(), &batches)?;
    drop(batches);
    let keys = columns.iter().filter_map(|name| all.column_by_name(name));
    let keys: Vec<SortColumn> =
        keys.map(|values| SortColumn { values: values.clone(), options: None }).collect();
    if keys.is_empty() {
        return Ok(vec![all.into()]);
    }
    let order = lexsort_to_indices(&keys, None)?;
    let piece = |from: usize| {
        let order: UInt32Array = order.slice(from, PIECE_ROWS.min(order.len() - from));
        take_record_batch(&all, &order).map(Rows::from)
    };
    (0..order.len()).step_by(PIECE_ROWS).map(piece).collect()
}
