//! The results of one run, in memory and as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::AnalyticsError;

/// The result of one query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct QueryResult {
    /// Names of the columns, in order.
    pub columns: Vec<String>,
    /// Rows; each has one cell for each column.
    pub rows: Vec<Vec<Value>>,
    /// Version of each table that the query read; null where the table did not exist yet.
    #[serde(default)]
    pub versions: BTreeMap<String, Option<u64>>,
    /// Tables that changed during the query, on an engine that cannot pin a version: the versions before and after.
    /// These tables are not in `versions`.
    #[serde(default)]
    pub moved: BTreeMap<String, (u64, u64)>,
}

/// The results of one run, by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Results {
    results: BTreeMap<String, QueryResult>,
}

impl Results {
    /// Iterates over the results in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &QueryResult)> {
        self.results.iter().map(|(name, result)| (name.as_str(), result))
    }

    /// The result with this name.
    pub fn get(&self, name: &str) -> Option<&QueryResult> {
        self.results.get(name)
    }

    /// Number of results.
    pub fn len(&self) -> usize {
        self.results.len()
    }

    /// Whether there are no results.
    pub fn is_empty(&self) -> bool {
        self.results.is_empty()
    }

    /// Converts to `{"<result>":{"columns":["..."],"rows":[[...]],"versions":{"<table>":3}}}`, in name order; with
    /// `"moved":{"<table>":[3,5]}` for a table that changed during the query.
    pub fn to_json(&self) -> Value {
        let results = self.iter().map(|(name, result)| {
            let QueryResult { columns, rows, versions, moved } = result;
            let mut json = json!({"columns": columns, "rows": rows, "versions": versions});
            if !moved.is_empty() {
                json["moved"] = json!(moved);
            }
            (name.to_owned(), json)
        });
        Value::Object(results.collect())
    }

    /// Reads what [`Results::to_json`] wrote. Unknown fields are ignored.
    ///
    /// # Errors
    /// [`AnalyticsError::InvalidResults`] if the JSON has another form, or a row does not have one cell for each
    /// column.
    pub fn from_json(json: Value) -> Result<Results, AnalyticsError> {
        let results: BTreeMap<String, QueryResult> = serde_json::from_value(json)
            .map_err(|error| AnalyticsError::InvalidResults(error.to_string()))?;
        for (name, result) in &results {
            if let Some(row) = result.rows.iter().position(|row| row.len() != result.columns.len()) {
                return Err(AnalyticsError::InvalidResults(format!(
                    "{name}: row {row} does not have one cell for each column"
                )));
            }
        }
        Ok(Results { results })
    }
}

impl FromIterator<(String, QueryResult)> for Results {
    fn from_iter<I: IntoIterator<Item = (String, QueryResult)>>(results: I) -> Self {
        Results { results: results.into_iter().collect() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stored_results_read_back_equal() {
        let stored = json!({
            "a": {"columns": ["n", "x"], "rows": [[1, 124000.0], [null, null]], "versions": {"pin": 3, "geo": null}},
        });
        let results = Results::from_json(stored.clone()).unwrap();
        assert_eq!(
            results.to_json().to_string(),
            stored.to_string().replace(r#"{"pin":3,"geo":null}"#, r#"{"geo":null,"pin":3}"#)
        );
        assert_eq!(Results::from_json(results.to_json()).unwrap(), results);
        let moved = json!({"a": {"columns": [], "rows": [], "versions": {}, "moved": {"pin": [3, 5]}}});
        assert_eq!(Results::from_json(moved.clone()).unwrap().to_json(), moved);
    }

    #[test]
    fn invalid_results_are_rejected() {
        assert!(Results::from_json(json!([])).is_err());
        let ragged = json!({"a": {"columns": ["n"], "rows": [[1, 2]]}});
        assert!(Results::from_json(ragged).unwrap_err().to_string().contains("a: row 0"));
    }
}
