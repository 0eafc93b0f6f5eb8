//! The values of the partition columns of a data file. They are in the log and not in the file (Delta protocol, "Partition Value
//! Serialization").

use std::collections::{BTreeMap, HashMap};

use arrow::array::{ArrayRef, StringArray, UInt32Array, new_null_array};
use arrow::compute::{CastOptions, cast_with_options, take};
use arrow::datatypes::DataType;
use arrow::error::ArrowError;
use delta_kernel::expressions::Scalar;
use delta_kernel::schema::{DataType as KernelType, StructType};
use delta_kernel::{KernelError, KernelResult};

/// The values of a data file's partition columns: a text that is not empty, or null. No values if the table is not partitioned.
pub type PartitionValues = BTreeMap<String, Option<String>>;

/// A column of `count` times the same partition value.
///
/// # Errors
/// If the value is not of the type.
pub(crate) fn fill_column(
    value: Option<&str>,
    data_type: &DataType,
    count: usize,
) -> Result<ArrayRef, ArrowError> {
    let Some(value) = value else { return Ok(new_null_array(data_type, count)) };
    let strict = CastOptions { safe: false, ..CastOptions::default() };
    let one = cast_with_options(&StringArray::from(vec![value]), data_type, &strict)?;
    take(&one, &UInt32Array::from_value(0, count), None)
}

/// The values in the kernel's form.
///
/// # Errors
/// If the schema does not have a column, or a value is not of its type.
pub(crate) fn to_scalars(
    values: &PartitionValues,
    schema: &StructType,
) -> KernelResult<HashMap<String, Scalar>> {
    let scalar = |(name, value): (&String, &Option<String>)| {
        let field = schema.field(name);
        let data_type = field.map(|field| field.data_type());
        let Some(KernelType::Primitive(primitive)) = data_type else {
            return Err(KernelError::generic(format!("{name} cannot be a partition column")));
        };
        let null = || Ok(Scalar::Null(KernelType::Primitive(primitive.clone())));
        Ok((name.clone(), value.as_deref().map_or_else(null, |value| primitive.parse_scalar(value))?))
    };
    values.iter().map(scalar).collect()
}
