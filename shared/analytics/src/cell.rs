//! Converts Arrow columns to JSON cells.

use std::sync::LazyLock;

use arrow::{
    array::{Array, ArrayRef, AsArray, RecordBatch},
    compute::cast,
    datatypes::{DataType, Float64Type, Int64Type, UInt64Type},
    error::ArrowError,
    util::display::{ArrayFormatter, FormatOptions},
};
use base64::{Engine, engine::general_purpose::STANDARD};
use pinlake_results::decimal_to_json;
use serde_json::Value;

static FORMAT: LazyLock<FormatOptions<'static>> = LazyLock::new(FormatOptions::default);

/// Appends the rows of a batch, each as a `Vec` of cells.
///
/// Integers become JSON numbers without a fraction, floats numbers with one, decimals numbers with all their digits
/// ([`decimal_to_json`]), NaN and infinities null (JSON has none), lists arrays, structs objects, bytes Base64, times
/// ISO 8601 (with `Z` if the column is in UTC). Other types become their text.
pub(crate) fn append_rows(batch: &RecordBatch, rows: &mut Vec<Vec<Value>>) -> Result<(), ArrowError> {
    let columns = batch.columns().iter().map(to_cells).collect::<Result<Vec<_>, _>>()?;
    let mut columns: Vec<_> = columns.into_iter().map(Vec::into_iter).collect();
    for _ in 0..batch.num_rows() {
        rows.push(columns.iter_mut().map(|column| column.next().unwrap_or(Value::Null)).collect());
    }
    Ok(())
}

/// Converts a column. Nested columns recurse once for each level; the length of the query bounds their depth.
fn to_cells(column: &ArrayRef) -> Result<Vec<Value>, ArrowError> {
    use DataType::*;
    let cells = match column.data_type() {
        Null => vec![Value::Null; column.len()],
        Boolean => column.as_boolean().iter().map(Value::from).collect(),
        Int8 | Int16 | Int32 | Int64 => {
            cast(column, &Int64)?.as_primitive::<Int64Type>().iter().map(Value::from).collect()
        }
        UInt8 | UInt16 | UInt32 | UInt64 => {
            cast(column, &UInt64)?.as_primitive::<UInt64Type>().iter().map(Value::from).collect()
        }
        Decimal32(..) | Decimal64(..) | Decimal128(..) | Decimal256(..) => {
            let texts = cast(column, &LargeUtf8)?;
            texts.as_string::<i64>().iter().map(|text| text.map_or(Value::Null, decimal_to_json)).collect()
        }
        Float16 | Float32 | Float64 => {
            // `Value::from(f64)` is null for NaN and infinities.
            cast(column, &Float64)?.as_primitive::<Float64Type>().iter().map(Value::from).collect()
        }
        Utf8 | LargeUtf8 | Utf8View => {
            cast(column, &LargeUtf8)?.as_string::<i64>().iter().map(Value::from).collect()
        }
        Binary | LargeBinary | BinaryView | FixedSizeBinary(_) => {
            let bytes = cast(column, &LargeBinary)?;
            bytes.as_binary::<i64>().iter().map(|b| Value::from(b.map(|b| STANDARD.encode(b)))).collect()
        }
        List(item) | LargeList(item) | ListView(item) | LargeListView(item) | FixedSizeList(item, _) => {
            let lists = cast(column, &LargeList(item.clone()))?;
            let lists = lists.as_list::<i64>();
            lists
                .iter()
                .map(|list| list.map_or(Ok(Value::Null), |l| to_cells(&l).map(Value::Array)))
                .collect::<Result<_, _>>()?
        }
        Struct(fields) => {
            let parts = column.as_struct().columns().iter().map(to_cells).collect::<Result<Vec<_>, _>>()?;
            (0..column.len())
                .map(|row| {
                    if column.is_null(row) {
                        return Value::Null;
                    }
                    let named =
                        fields.iter().zip(&parts).map(|(f, part)| (f.name().clone(), part[row].clone()));
                    Value::Object(named.collect())
                })
                .collect()
        }
        Dictionary(_, values) => to_cells(&cast(column, values)?)?,
        _ => {
            let texts = ArrayFormatter::try_new(column, &FORMAT)?;
            (0..column.len())
                .map(|row| {
                    if column.is_null(row) {
                        return Ok(Value::Null);
                    }
                    texts.value(row).try_to_string().map(Value::from)
                })
                .collect::<Result<_, _>>()?
        }
    };
    Ok(cells)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow::array::{
        BinaryArray, Date32Array, Decimal128Array, Float64Array, Int32Array, ListArray, StringViewArray,
        TimestampMicrosecondArray,
    };
    use serde_json::json;

    use super::*;

    fn to_json(column: impl Array + 'static) -> Value {
        Value::Array(to_cells(&(Arc::new(column) as ArrayRef)).unwrap())
    }

    #[test]
    fn scalars_map_to_json_types() {
        assert_eq!(to_json(Int32Array::from(vec![Some(7), None])), json!([7, null]));
        let floats =
            to_json(Float64Array::from(vec![Some(124_000.0), Some(f64::NAN), Some(f64::INFINITY), None]));
        assert_eq!(floats.to_string(), "[124000.0,null,null,null]");
        assert_eq!(
            to_json(StringViewArray::from(vec![Some("\u{1F3A8} a"), None])),
            json!(["\u{1F3A8} a", null])
        );
        assert_eq!(to_json(BinaryArray::from_opt_vec(vec![Some(b"\xff\x00"), None])), json!(["/wA=", null]));
        assert_eq!(to_json(Date32Array::from(vec![Some(0), None])), json!(["1970-01-01", null]));
    }

    #[test]
    fn decimals_keep_their_digits() {
        let decimals =
            Decimal128Array::from(vec![Some(691_826), Some(-5), Some(12_345_678_901_234_567_890), None]);
        let cells = to_json(decimals.with_precision_and_scale(38, 2).unwrap());
        assert_eq!(cells.to_string(), r#"[6918.26,-0.05,"123456789012345678.90",null]"#);
    }

    #[test]
    fn times_are_iso_8601() {
        let zone_free = TimestampMicrosecondArray::from(vec![Some(1_598_586_767_000_000), Some(1), None]);
        assert_eq!(
            to_json(zone_free.clone()),
            json!(["2020-08-28T03:52:47", "1970-01-01T00:00:00.000001", null])
        );
        assert_eq!(to_json(zone_free.with_timezone("UTC"))[0], json!("2020-08-28T03:52:47Z"));
    }

    #[test]
    fn lists_are_arrays() {
        let lists = ListArray::from_iter_primitive::<Float64Type, _, _>(vec![
            Some(vec![Some(-88.5), None]),
            None,
            Some(vec![]),
        ]);
        assert_eq!(to_json(lists), json!([[-88.5, null], null, []]));
    }
}
