//! Converts rows of Athena, whose cells are all text, to JSON cells.

use aws_sdk_athena::types::{ColumnInfo, Row};
use pinlake_results::decimal_to_json;
use serde_json::Value;

/// Converts a row by the types of its columns: numbers to JSON numbers (NaN and infinities to null), booleans to
/// booleans. Everything else, times included, stays text.
pub(super) fn parse_row(columns: &[ColumnInfo], row: &Row) -> Vec<Value> {
    let mut data = row.data().iter();
    columns
        .iter()
        .map(|column| parse_cell(column.r#type(), data.next().and_then(|d| d.var_char_value())))
        .collect()
}

fn parse_cell(kind: &str, text: Option<&str>) -> Value {
    let Some(text) = text else { return Value::Null };
    let parsed = match kind {
        "tinyint" | "smallint" | "integer" | "bigint" => text.parse::<i64>().ok().map(Value::from),
        // `Value::from(f64)` is null for NaN and the infinities, which Athena writes as Rust reads them.
        "double" | "float" | "real" => text.parse::<f64>().ok().map(Value::from),
        "decimal" => Some(decimal_to_json(text)),
        "boolean" => text.parse::<bool>().ok().map(Value::from),
        _ => None,
    };
    parsed.unwrap_or_else(|| Value::from(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_athena::types::Datum;
    use serde_json::json;

    fn columns(kinds: &[&str]) -> Vec<ColumnInfo> {
        kinds.iter().map(|kind| ColumnInfo::builder().name("c").r#type(*kind).build().unwrap()).collect()
    }

    fn row(texts: &[Option<&str>]) -> Row {
        let data =
            texts.iter().map(|text| Datum::builder().set_var_char_value(text.map(str::to_owned)).build());
        Row::builder().set_data(Some(data.collect())).build()
    }

    #[test]
    fn cells_have_the_types_of_their_columns() {
        let kinds = ["integer", "bigint", "double", "decimal", "boolean", "varchar", "timestamp", "tinyint"];
        let texts = [
            Some("7"),
            Some("-9007199254740993"),
            Some("124000.0"),
            Some("1.25"),
            Some("true"),
            Some("7"),
            Some("2020-08-28 03:52:47.000 UTC"),
            None,
        ];
        let cells = parse_row(&columns(&kinds), &row(&texts));
        assert_eq!(
            json!(cells).to_string(),
            r#"[7,-9007199254740993,124000.0,1.25,true,"7","2020-08-28 03:52:47.000 UTC",null]"#
        );
    }

    #[test]
    fn text_that_is_not_a_number_becomes_null_or_stays_text() {
        let kinds = ["double", "double", "integer", "varchar", "varchar"];
        let texts = [Some("NaN"), Some("-Infinity"), Some("many"), Some(""), None];
        assert_eq!(json!(parse_row(&columns(&kinds), &row(&texts))), json!([null, null, "many", "", null]));
        assert_eq!(json!(parse_row(&columns(&["integer", "varchar"]), &row(&[Some("1")]))), json!([1, null]));
    }
}
