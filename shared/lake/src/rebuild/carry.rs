//! Carries rows of a table over to the columns of a changed contract.

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, BooleanArray, FixedSizeBinaryArray, RecordBatch, new_null_array};
use arrow::compute::kernels::nullif::nullif;
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch, is_null};
use arrow::datatypes::{DataType, Schema, SchemaRef};
use arrow::util::display::array_value_to_string;
use pinlake_schema::{Column, ColumnSource, Contract, FORMER_KEY_COLUMN, KEY_COLUMN, Type};

use crate::error::LakeError;

/// Characters of a value that an error shows.
const MAX_SHOWN_CHARS: usize = 64;

/// Converts batches of a table to the landing schema of a contract.
pub(super) struct Carrier<'a> {
    contract: &'a Contract,
    /// For each column of the contract, the column of the table that has its values.
    sources: Vec<Option<String>>,
}

/// Rows that were carried over.
#[derive(Debug)]
pub(super) struct Carried {
    pub rows: RecordBatch,
    /// Rows that the contract does not accept, and one of them.
    pub rejected: u64,
    pub example: Option<String>,
}

impl<'a> Carrier<'a> {
    pub(super) fn new(contract: &'a Contract, table: &Schema) -> Self {
        let sources = contract.columns.iter().map(|column| find_source(contract, column, table)).collect();
        Self { contract, sources }
    }

    pub(super) fn carry(&self, batch: &RecordBatch) -> Result<Carried, LakeError> {
        let encode = |error: &dyn std::fmt::Display| LakeError::encode(&self.contract.name)(error);
        let mut accepted = vec![true; batch.num_rows()];
        let mut example = None;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.sources.len() + 2);
        for (column, source) in self.contract.columns.iter().zip(&self.sources) {
            let wanted = column.data_type.arrow();
            let Some(stored) = source.as_ref().and_then(|name| batch.column_by_name(name)) else {
                columns.push(new_null_array(&wanted, batch.num_rows()));
                continue;
            };
            let stored = clear_markers(stored, column).map_err(|error| encode(&error))?;
            let carried = convert(&stored, &wanted).map_err(|error| encode(&error))?;
            for (row, accepted) in accepted.iter_mut().enumerate() {
                if carried.is_null(row) && stored.is_valid(row) {
                    *accepted = false;
                    if example.is_none() {
                        let value = array_value_to_string(&stored, row).map_err(|error| encode(&error))?;
                        let value: String = value.chars().take(MAX_SHOWN_CHARS).collect();
                        example =
                            Some(format!("column {}: {value:?} is not {}", column.name, column.data_type));
                    }
                }
            }
            columns.push(carried);
        }
        self.find_missing_required(&mut accepted, &columns, &mut example);
        let rows =
            RecordBatch::try_new(self.contract.arrow_schema(), columns).map_err(|error| encode(&error))?;
        let mask = BooleanArray::from(accepted);
        let rejected = (mask.len() - mask.true_count()) as u64;
        let rows = filter_record_batch(&rows, &mask).map_err(|error| encode(&error))?;
        Ok(Carried { rows: self.add_keys(&rows)?, rejected, example })
    }

    /// Rejects rows without a value in a required column.
    fn find_missing_required(
        &self,
        accepted: &mut [bool],
        columns: &[ArrayRef],
        example: &mut Option<String>,
    ) {
        for (column, values) in
            self.contract.columns.iter().zip(columns).filter(|(column, _)| column.required)
        {
            for (row, accepted) in accepted.iter_mut().enumerate() {
                if values.is_null(row) {
                    *accepted = false;
                    example.get_or_insert_with(|| format!("required column {} has no value", column.name));
                }
            }
        }
    }

    /// Adds the keys of rows: the columns of a landing batch.
    fn add_keys(&self, rows: &RecordBatch) -> Result<RecordBatch, LakeError> {
        let keys: FixedSizeBinaryArray =
            pinlake_clean::row_keys(self.contract, rows).map_err(LakeError::encode(&self.contract.name))?;
        let keys: ArrayRef = std::sync::Arc::new(keys);
        let schema: SchemaRef = self.contract.landing_schema();
        let columns = schema.fields().iter().map(|field| match rows.column_by_name(field.name()) {
            Some(column) => column.clone(),
            // The copy has no data files of the former epoch to compare with.
            None if [KEY_COLUMN, FORMER_KEY_COLUMN].contains(&field.name().as_str()) => keys.clone(),
            None => std::sync::Arc::new(BooleanArray::from(vec![false; rows.num_rows()])),
        });
        RecordBatch::try_new(schema.clone(), columns.collect())
            .map_err(LakeError::encode(&self.contract.name))
    }
}

/// The column of the table with the values of a column: that of its name, or one that the contract no longer has and that is among the
/// fields it reads, as after a rename.
fn find_source(contract: &Contract, column: &Column, table: &Schema) -> Option<String> {
    let has = |name: &str| table.field_with_name(name).is_ok();
    if has(&column.name) {
        return Some(column.name.clone());
    }
    let ColumnSource::Field(names) = &column.source else { return None };
    let is_free = |name: &&String| !contract.columns.iter().any(|own| own.name == **name);
    names.iter().filter(is_free).find(|name| has(name)).cloned()
}

/// Texts that mean null under the contract become null.
fn clear_markers(stored: &ArrayRef, column: &Column) -> Result<ArrayRef, arrow::error::ArrowError> {
    let Some(texts) = stored.as_string_opt::<i32>().filter(|_| !column.null.is_empty()) else {
        return Ok(stored.clone());
    };
    let is_marker = |text: Option<&str>| text.is_some_and(|text| column.null.iter().any(|null| null == text));
    let markers: BooleanArray = texts.iter().map(|text| Some(is_marker(text))).collect();
    nullif(stored, &markers)
}

/// Converts values to another type. A value that would not be the same is null in the result.
fn convert(stored: &ArrayRef, wanted: &DataType) -> Result<ArrayRef, arrow::error::ArrowError> {
    if stored.data_type() == wanted {
        return Ok(stored.clone());
    }
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let is_text = |data_type: &DataType| *data_type == DataType::Utf8;
    let is_known = Type::from_arrow(stored.data_type()).is_some();
    let loses_form = is_text(wanted) && matches!(stored.data_type(), DataType::Float64 | DataType::Binary);
    if !is_known || loses_form || !arrow::compute::can_cast_types(stored.data_type(), wanted) {
        return Ok(new_null_array(wanted, stored.len()));
    }
    let converted = cast_with_options(stored, wanted, &options)?;
    if is_text(stored.data_type()) {
        return Ok(converted);
    }
    // 7.5 is no integer, and a time is no date: the value must be the same when it is converted back.
    let again = cast_with_options(&converted, stored.data_type(), &options)?;
    let differs = arrow::compute::kernels::cmp::distinct(&again, stored);
    match differs {
        Ok(differs) => nullif(&converted, &differs),
        // Arrays cannot be compared by element. Any difference rejects them all.
        Err(_)
            if again.to_data() == stored.to_data()
                && is_null(&converted)?.true_count() == stored.null_count() =>
        {
            Ok(converted)
        }
        Err(_) => Ok(new_null_array(wanted, stored.len())),
    }
}
