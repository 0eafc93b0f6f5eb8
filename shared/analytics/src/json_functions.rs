//! SQL functions for columns of type `json`.
//!
//! `json_extract`, `json_extract_scalar` and `get_json_object` have the names and the results of Athena (Trino) and Spark, so that a query
//! runs there as well. A path is a JSONPath (RFC 9535), of which `$.a.b[0]` and `$['a b']` mean the same in all three. A text that is no
//! JSON gives null, as there.

use std::sync::Arc;

use datafusion::arrow::array::builder::{ListBuilder, StringBuilder};
use datafusion::arrow::array::cast::AsArray;
use datafusion::arrow::array::{Array, ArrayRef};
use datafusion::arrow::compute::cast;
use datafusion::arrow::datatypes::{DataType, Field};
use datafusion::common::ScalarValue;
use datafusion::error::DataFusionError;
use datafusion::logical_expr::{
    ColumnarValue, ScalarFunctionArgs, ScalarUDF, ScalarUDFImpl, Signature, Volatility,
};
use serde_json::Value;
use serde_json_path::JsonPath;

/// What a function returns of the value at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Output {
    /// The value as JSON text: `json_extract` of Trino.
    Json,
    /// The text of a string, a number or a boolean; null for an array or an object: `json_extract_scalar` of Trino.
    Scalar,
    /// The text of a scalar, the JSON text of an array or an object: `get_json_object` of Spark.
    Text,
    /// The elements of an array, each as [`Output::Text`], for `unnest`.
    Elements,
}

/// Functions that read a value of a JSON text.
pub(crate) fn list_json_functions() -> impl Iterator<Item = ScalarUDF> {
    [
        ("json_extract", Output::Json),
        ("json_extract_scalar", Output::Scalar),
        ("get_json_object", Output::Text),
        ("json_array_elements", Output::Elements),
    ]
    .into_iter()
    .map(|(name, output)| {
        let signature = Signature::string(2, Volatility::Immutable);
        ScalarUDF::new_from_impl(JsonFunction { name, output, signature })
    })
}

#[derive(Debug, PartialEq, Eq, Hash)]
struct JsonFunction {
    name: &'static str,
    output: Output,
    signature: Signature,
}

impl ScalarUDFImpl for JsonFunction {
    fn name(&self) -> &str {
        self.name
    }

    fn signature(&self) -> &Signature {
        &self.signature
    }

    fn return_type(&self, _: &[DataType]) -> Result<DataType, DataFusionError> {
        Ok(match self.output {
            Output::Elements => DataType::List(Arc::new(Field::new_list_field(DataType::Utf8, true))),
            Output::Json | Output::Scalar | Output::Text => DataType::Utf8,
        })
    }

    fn invoke_with_args(&self, arguments: ScalarFunctionArgs) -> Result<ColumnarValue, DataFusionError> {
        let (rows, is_scalar) = match arguments.args.iter().find_map(|argument| match argument {
            ColumnarValue::Array(array) => Some(array.len()),
            ColumnarValue::Scalar(_) => None,
        }) {
            Some(rows) => (rows, false),
            None => (1, true),
        };
        let [json, path] = arguments.args.as_slice() else {
            return plan_error(self.name, "it takes a JSON text and a path");
        };
        let texts = cast(&json.to_array(rows)?, &DataType::Utf8)?;
        let texts = texts.as_string::<i32>();
        // A path is nearly always a constant, which is parsed once.
        let paths = cast(&path.to_array(rows)?, &DataType::Utf8)?;
        let paths = paths.as_string::<i32>();
        let mut parsed: Option<(&str, JsonPath)> = None;
        let mut values = Values::new(self.output);
        for row in 0..rows {
            if texts.is_null(row) || paths.is_null(row) {
                values.push(None)?;
                continue;
            }
            let path = match &parsed {
                Some((text, path)) if *text == paths.value(row) => path,
                _ => {
                    let text = paths.value(row);
                    let path = JsonPath::parse(text).or_else(|error| {
                        plan_error(self.name, &format!("{text} is not a JSONPath such as $.a.b[0]: {error}"))
                    })?;
                    &parsed.insert((text, path)).1
                }
            };
            let json = serde_json::from_str::<Value>(texts.value(row)).ok();
            let found = json.as_ref().map(|json| path.query(json));
            values.push(found.as_ref().and_then(|found| found.first()))?;
        }
        let values = values.finish();
        if is_scalar {
            return Ok(ColumnarValue::Scalar(ScalarValue::try_from_array(&values, 0)?));
        }
        Ok(ColumnarValue::Array(values))
    }
}

fn plan_error<T>(function: &str, why: &str) -> Result<T, DataFusionError> {
    Err(DataFusionError::Plan(format!("{function}: {why}")))
}

/// The values of a column under construction.
enum Values {
    Texts(Output, StringBuilder),
    Lists(ListBuilder<StringBuilder>),
}

impl Values {
    fn new(output: Output) -> Values {
        match output {
            Output::Elements => Values::Lists(ListBuilder::new(StringBuilder::new())),
            output => Values::Texts(output, StringBuilder::new()),
        }
    }

    fn push(&mut self, value: Option<&Value>) -> Result<(), DataFusionError> {
        match (self, value) {
            (Values::Lists(lists), Some(Value::Array(elements))) => {
                for element in elements {
                    lists.values().append_option(as_text(element, Output::Text)?);
                }
                lists.append(true);
            }
            (Values::Lists(lists), _) => lists.append(false),
            (Values::Texts(output, texts), Some(value)) => texts.append_option(as_text(value, *output)?),
            (Values::Texts(_, texts), None) => texts.append_null(),
        }
        Ok(())
    }

    fn finish(self) -> ArrayRef {
        match self {
            Values::Texts(_, mut texts) => Arc::new(texts.finish()),
            Values::Lists(mut lists) => Arc::new(lists.finish()),
        }
    }
}

fn as_text(value: &Value, output: Output) -> Result<Option<String>, DataFusionError> {
    let json =
        || serde_json::to_string(value).map(Some).map_err(|error| DataFusionError::External(Box::new(error)));
    match (value, output) {
        (_, Output::Json) => json(),
        (Value::Null, _) | (Value::Array(_) | Value::Object(_), Output::Scalar) => Ok(None),
        (Value::String(text), _) => Ok(Some(text.clone())),
        _ => json(),
    }
}

#[cfg(test)]
mod tests {
    use datafusion::arrow::util::pretty::pretty_format_batches;
    use datafusion::prelude::SessionContext;

    use super::*;

    async fn query(sql: &str) -> Result<String, DataFusionError> {
        let context = SessionContext::new();
        list_json_functions().for_each(|function| context.register_udf(function));
        let batches = context.sql(sql).await?.collect().await?;
        let table = pretty_format_batches(&batches)?.to_string();
        let cells = table.lines().skip(3).filter(|line| line.starts_with('|'));
        let cells = cells.map(|line| line.trim_matches(['|', ' ']).replace(" | ", ","));
        let cells = cells.map(|line| line.split(',').map(str::trim).collect::<Vec<_>>().join(","));
        Ok(cells.collect::<Vec<_>>().join(";"))
    }

    #[tokio::test]
    async fn values_are_found_by_path() {
        let json = r#"{"a":{"b":[1,"x",null,{"c":1.5}]},"a b":true,"s":"t"}"#;
        for (call, expected) in [
            ("json_extract_scalar(j, '$.a.b[0]')", "1"),
            ("json_extract_scalar(j, '$.a.b[1]')", "x"),
            ("json_extract_scalar(j, '$.a.b[2]') IS NULL", "true"),
            ("json_extract_scalar(j, '$.a') IS NULL", "true"),
            ("json_extract_scalar(j, '$.none') IS NULL", "true"),
            ("json_extract_scalar(j, '$[''a b'']')", "true"),
            ("CAST(json_extract_scalar(j, '$.a.b[3].c') AS double) + 1", "2.5"),
            ("json_extract(j, '$.s')", "\"t\""),
            ("json_extract(j, '$.a.b[2]')", "null"),
            ("get_json_object(j, '$.s')", "t"),
            ("get_json_object(j, '$.a.b[3]')", "{\"c\":1.5}"),
            ("array_length(json_array_elements(j, '$.a.b'))", "4"),
            ("json_array_elements(j, '$.s') IS NULL", "true"),
            ("json_extract_scalar(NULL, '$.a') IS NULL", "true"),
            ("json_extract_scalar('no json', '$.a') IS NULL", "true"),
        ] {
            let sql = format!("SELECT {call} FROM (VALUES ('{json}')) AS t(j)");
            assert_eq!(query(&sql).await.unwrap(), expected, "{call}");
            let constant = format!("SELECT {}", call.replace("(j,", &format!("('{json}',")));
            assert_eq!(query(&constant).await.unwrap(), expected, "{call}");
        }
    }

    #[tokio::test]
    async fn an_array_becomes_rows() {
        let sql = "SELECT id, unnest(json_array_elements(j, '$.tags')) FROM \
                   (VALUES (1, '{\"tags\":[\"a\",2]}'), (2, '{}'), (3, '{\"tags\":[{\"b\":1}]}')) AS t(id, j) ORDER BY 1";
        assert_eq!(query(sql).await.unwrap(), "1,a;1,2;3,{\"b\":1}");
    }

    #[tokio::test]
    async fn a_wrong_path_is_an_error_with_an_example() {
        let error = query("SELECT json_extract('{}', 'a.b')").await.unwrap_err().to_string();
        assert!(error.contains("json_extract: a.b is not a JSONPath such as $.a.b[0]"), "{error}");
    }
}
