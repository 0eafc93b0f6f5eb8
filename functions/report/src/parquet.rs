//! A result as Parquet. Cells are JSON, so the types of columns are those that all of their cells have.

use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use pinlake_results::QueryResult;
use serde_json::Value;

/// Encodes a result. Columns with whole numbers are int64, with other numbers double, with true and false boolean; all
/// others are texts, with lists and objects as JSON.
///
/// # Errors
/// If two columns have the same name, or Parquet cannot encode them.
pub(crate) fn encode(result: &QueryResult) -> Result<Vec<u8>, ParquetError> {
    let columns = result.columns.iter().enumerate().map(|(index, name)| {
        let cells: Vec<&Value> =
            result.rows.iter().map(|row| row.get(index).unwrap_or(&Value::Null)).collect();
        (name.as_str(), to_array(&cells), true)
    });
    let batch = RecordBatch::try_from_iter_with_nullable(columns)?;
    let properties =
        WriterProperties::builder().set_compression(Compression::ZSTD(ZstdLevel::try_new(3)?)).build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, batch.schema(), Some(properties))?;
    writer.write(&batch)?;
    writer.close()?;
    Ok(bytes)
}

fn to_array(cells: &[&Value]) -> ArrayRef {
    let known = || cells.iter().filter(|cell| !cell.is_null());
    if known().next().is_none() {
        return Arc::new(StringArray::new_null(cells.len()));
    }
    if known().all(|cell| cell.is_i64()) {
        return Arc::new(cells.iter().map(|cell| cell.as_i64()).collect::<Int64Array>());
    }
    if known().all(|cell| cell.is_number()) {
        return Arc::new(cells.iter().map(|cell| cell.as_f64()).collect::<Float64Array>());
    }
    if known().all(|cell| cell.is_boolean()) {
        return Arc::new(cells.iter().map(|cell| cell.as_bool()).collect::<BooleanArray>());
    }
    let text = |cell: &&Value| match cell {
        Value::Null => None,
        Value::String(text) => Some(text.clone()),
        other => Some(other.to_string()),
    };
    Arc::new(cells.iter().map(text).collect::<StringArray>())
}
