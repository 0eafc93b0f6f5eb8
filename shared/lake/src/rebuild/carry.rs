//! Carries rows of a table over to the columns of a changed contract.

use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{
    Array, ArrayRef, BooleanArray, Decimal128Array, FixedSizeBinaryArray, RecordBatch, StringArray,
    new_null_array,
};
use arrow::compute::kernels::cmp::distinct;
use arrow::compute::kernels::nullif::nullif;
use arrow::compute::kernels::zip::zip;
use arrow::compute::{CastOptions, cast_with_options, filter_record_batch, is_null};
use arrow::datatypes::{DataType, Float64Type, Schema, SchemaRef};
use arrow::error::ArrowError;
use arrow::util::display::array_value_to_string;
use pinlake_clean::{canonicalize_json, clean_stored_values, derive_values};
use pinlake_schema::{Column, ColumnSource, Contract, FORMER_KEY_COLUMN, KEY_COLUMN, Scalar, Type};

use crate::error::LakeError;

/// Characters of a value that an error shows.
const MAX_SHOWN_CHARS: usize = 64;

/// Converts batches of a table to the landing schema of a contract.
pub(super) struct Carrier<'a> {
    contract: &'a Contract,
    /// For each column of the contract, the columns of the table that have its values. The first value of a row counts.
    sources: Vec<Vec<String>>,
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
        let sources = contract.columns.iter().map(|column| find_sources(contract, column, table)).collect();
        Self { contract, sources }
    }

    pub(super) fn carry(&self, batch: &RecordBatch) -> Result<Carried, LakeError> {
        let encode = |error: &dyn std::fmt::Display| LakeError::encode(&self.contract.name)(error);
        let mut accepted = vec![true; batch.num_rows()];
        let mut example = None;
        let mut columns: Vec<ArrayRef> = Vec::with_capacity(self.sources.len() + 2);
        for (column, sources) in self.contract.columns.iter().zip(&self.sources) {
            let mut values = new_null_array(&column.data_type.arrow(), batch.num_rows());
            for stored in sources.iter().filter_map(|name| batch.column_by_name(name)) {
                let stored = clear_markers(stored, column).map_err(|error| encode(&error))?;
                let carried = convert(&stored, column).map_err(|error| encode(&error))?;
                for (row, accepted) in accepted.iter_mut().enumerate() {
                    if carried.is_null(row) && stored.is_valid(row) {
                        *accepted = false;
                        if example.is_none() {
                            let value =
                                array_value_to_string(&stored, row).map_err(|error| encode(&error))?;
                            let value: String = value.chars().take(MAX_SHOWN_CHARS).collect();
                            let (name, wanted) = (&column.name, &column.data_type);
                            example =
                                Some(format!("column {name}: {value:?} cannot be carried over to {wanted}"));
                        }
                    }
                }
                let missing = is_null(&values).map_err(|error| encode(&error))?;
                values = zip(&missing, &carried, &values).map_err(|error| encode(&error))?;
            }
            columns.push(values);
        }
        self.derive(&mut columns);
        self.find_missing_required(&mut accepted, &columns, &mut example);
        let rows =
            RecordBatch::try_new(self.contract.arrow_schema(), columns).map_err(|error| encode(&error))?;
        let mask = BooleanArray::from(accepted);
        let rejected = (mask.len() - mask.true_count()) as u64;
        let rows = filter_record_batch(&rows, &mask).map_err(|error| encode(&error))?;
        Ok(Carried { rows: self.add_keys(&rows)?, rejected, example })
    }

    /// Computes the columns that are derived from others.
    fn derive(&self, columns: &mut [ArrayRef]) {
        let own = &self.contract.columns;
        for (at, column) in own.iter().enumerate() {
            if let ColumnSource::Derived(derivation) = &column.source
                && let Some(source) = own.iter().position(|source| source.name == derivation.column)
            {
                columns[at] = derive_values(derivation.part, &columns[source]);
            }
        }
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
        let keys: ArrayRef = Arc::new(keys);
        let schema: SchemaRef = self.contract.landing_schema();
        let columns = schema.fields().iter().map(|field| match rows.column_by_name(field.name()) {
            Some(column) => column.clone(),
            // The copy has no data files of the former epoch to compare with.
            None if [KEY_COLUMN, FORMER_KEY_COLUMN].contains(&field.name().as_str()) => keys.clone(),
            None => Arc::new(BooleanArray::from(vec![false; rows.num_rows()])),
        });
        RecordBatch::try_new(schema.clone(), columns.collect())
            .map_err(LakeError::encode(&self.contract.name))
    }
}

/// The columns of the table with the values of a column: that of its name, and those that the contract no longer has and that are among the
/// fields it reads, as after a rename. Names are not case-sensitive.
fn find_sources(contract: &Contract, column: &Column, table: &Schema) -> Vec<String> {
    let in_table = |name: &str| {
        let fields = table.fields().iter();
        fields.map(|field| field.name()).find(|own| own.eq_ignore_ascii_case(name)).cloned()
    };
    let former: &[String] = match &column.source {
        ColumnSource::Derived(_) => return Vec::new(),
        ColumnSource::Field(names) => names,
        _ => &[],
    };
    let is_free = |name: &&String| !contract.columns.iter().any(|own| own.name.eq_ignore_ascii_case(name));
    let mut found: Vec<String> = in_table(&column.name).into_iter().collect();
    found.extend(former.iter().filter(is_free).filter_map(|name| in_table(name)));
    found
}

/// Texts that mean null under the contract become null.
fn clear_markers(stored: &ArrayRef, column: &Column) -> Result<ArrayRef, ArrowError> {
    if column.null.is_empty() {
        return Ok(stored.clone());
    }
    clear_texts(stored, |text| column.null.iter().any(|null| null == text))
}

/// The canonical form of JSON texts; null for those that are not JSON.
fn canonicalize_texts(stored: &ArrayRef) -> ArrayRef {
    let texts = stored.as_string_opt::<i32>().into_iter().flatten();
    Arc::new(texts.map(|text| text.and_then(canonicalize_json)).collect::<StringArray>())
}

/// Sets some texts to null. Values of other types stay.
fn clear_texts(values: &ArrayRef, is_cleared: impl Fn(&str) -> bool) -> Result<ArrayRef, ArrowError> {
    let Some(texts) = values.as_string_opt::<i32>() else { return Ok(values.clone()) };
    let cleared: BooleanArray = texts.iter().map(|text| Some(text.is_some_and(&is_cleared))).collect();
    nullif(values, &cleared)
}

/// Converts values to the type of a column. Texts are cleaned again, as those of records. Any other value that would change becomes null:
/// one that differs from the original when it is converted back.
fn convert(stored: &ArrayRef, column: &Column) -> Result<ArrayRef, ArrowError> {
    let wanted = column.data_type.arrow();
    if *stored.data_type() == wanted {
        return match column.data_type {
            // The table may have had it as text.
            Type::Scalar(Scalar::Json) => Ok(canonicalize_texts(stored)),
            _ => Ok(stored.clone()),
        };
    }
    if !Type::from_arrow(stored.data_type()).is_some_and(|own| own.converts_to(column.data_type)) {
        return Ok(new_null_array(&wanted, stored.len()));
    }
    let is_time = matches!(column.data_type, Type::Scalar(Scalar::Timestamp | Scalar::Date));
    if (is_time || *stored.data_type() == DataType::Utf8)
        && let Some(cleaned) = clean_stored_values(column, stored)
    {
        return Ok(cleaned);
    }
    if let Some(numbers) = stored.as_primitive_opt::<Float64Type>()
        && let Type::Scalar(Scalar::Decimal(decimal)) = column.data_type
    {
        // The digits with which the number is written. A cast would compute them in floating point.
        let digits = |number: f64| decimal.parse(&number.to_string(), 0).ok().map(|own| own.unscaled);
        let digits: Decimal128Array = numbers.iter().map(|number| number.and_then(digits)).collect();
        let (precision, scale) = (decimal.precision(), decimal.scale().cast_signed());
        return Ok(Arc::new(digits.with_precision_and_scale(precision, scale)?));
    }
    let options = CastOptions { safe: true, ..CastOptions::default() };
    let mut converted = cast_with_options(stored, &wanted, &options)?;
    if let Some(numbers) = converted.as_primitive_opt::<Float64Type>() {
        // Columns of this type have no NaN and no infinity.
        let wrong: BooleanArray =
            numbers.iter().map(|number| Some(number.is_some_and(|own| !own.is_finite()))).collect();
        converted = nullif(&converted, &wrong)?;
    }
    let again = cast_with_options(&converted, stored.data_type(), &options)?;
    if !wanted.is_nested() {
        return nullif(&converted, &distinct(&again, stored)?);
    }
    // Arrays are not compared row by row: any difference rejects them all.
    let is_same = again.to_data() == stored.to_data();
    Ok(if is_same { converted } else { new_null_array(&wanted, stored.len()) })
}
