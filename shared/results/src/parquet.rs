//! A result as Parquet. Cells are JSON, so the types of columns are those that all of their cells have.

use std::collections::HashSet;
use std::sync::Arc;

use arrow::array::{ArrayRef, BooleanArray, Float64Array, Int64Array, RecordBatch, StringArray};
use parquet::arrow::ArrowWriter;
use parquet::basic::{Compression, ZstdLevel};
use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use serde_json::Value;

use crate::results::QueryResult;

impl QueryResult {
    /// Encodes the rows as a Parquet file. Columns with whole numbers are int64, with other numbers double, with true and
    /// false boolean; all others are texts, with lists and objects as JSON.
    ///
    /// # Errors
    /// If two columns have the same name, or Parquet cannot encode them.
    pub fn encode_parquet(&self) -> Result<Vec<u8>, ParquetError> {
        // Arrow and Parquet can write them, but most readers cannot tell them apart.
        let mut names = HashSet::new();
        if let Some(name) = self.columns.iter().find(|name| !names.insert(name.as_str())) {
            return Err(ParquetError::General(format!("two columns are called {name}; rename one")));
        }
        let columns = self.columns.iter().enumerate().map(|(index, name)| {
            let cells: Vec<&Value> =
                self.rows.iter().map(|row| row.get(index).unwrap_or(&Value::Null)).collect();
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

#[cfg(test)]
mod tests {
    use arrow::array::{RecordBatchReader as _, StringArray};
    use arrow::util::display::array_value_to_string;
    use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
    use serde_json::json;

    use super::*;

    fn result(columns: &[&str], rows: Value) -> QueryResult {
        QueryResult {
            columns: columns.iter().map(|name| (*name).to_owned()).collect(),
            rows: serde_json::from_value(rows).unwrap(),
            versions: Default::default(),
            moved: Default::default(),
        }
    }

    #[test]
    fn columns_have_the_type_that_all_of_their_cells_have() {
        let rows = json!([
            [1, 1, true, "a", [1], null],
            [null, 0.5, null, 7, {"b": "é"}, null],
        ]);
        let file =
            result(&["whole", "fraction", "truth", "mixed", "nested", "nothing"], rows).encode_parquet();
        let mut reader = ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file.unwrap()))
            .unwrap()
            .build()
            .unwrap();
        let schema = reader.schema();
        let types: Vec<String> = schema.fields().iter().map(|field| field.data_type().to_string()).collect();
        assert_eq!(types, ["Int64", "Float64", "Boolean", "Utf8", "Utf8", "Utf8"]);
        let batch = reader.next().unwrap().unwrap();
        let cell = |column: usize| array_value_to_string(batch.column(column), 1).unwrap();
        assert_eq!([cell(1), cell(3), cell(4)], ["0.5", "7", "{\"b\":\"é\"}"]);
        let nested = batch.column(4).as_any().downcast_ref::<StringArray>().unwrap();
        assert_eq!(
            (nested.value(0), batch.column(0).null_count(), batch.column(5).null_count()),
            ("[1]", 1, 2)
        );
    }

    #[test]
    fn a_result_without_rows_has_its_columns() {
        let file = result(&["n"], json!([])).encode_parquet().unwrap();
        let reader =
            ParquetRecordBatchReaderBuilder::try_new(bytes::Bytes::from(file)).unwrap().build().unwrap();
        assert_eq!((reader.schema().fields().len(), reader.count()), (1, 0));
        assert!(result(&["n", "n"], json!([[1, 2]])).encode_parquet().is_err(), "the names must differ");
    }
}
