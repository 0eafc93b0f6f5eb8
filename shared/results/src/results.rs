//! The results of one run, in memory and as JSON.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Stored results do not have the form that [`Results::to_json`] writes.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid stored results: {0}; run the analyses again to replace them")]
pub struct InvalidResults(String);

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

impl QueryResult {
    fn check(&self, name: &str) -> Result<(), InvalidResults> {
        match self.rows.iter().position(|row| row.len() != self.columns.len()) {
            None => Ok(()),
            Some(row) => {
                Err(InvalidResults(format!("{name}: row {row} does not have one cell for each column")))
            }
        }
    }

    fn to_json(&self) -> Value {
        let QueryResult { columns, rows, versions, moved } = self;
        let mut json = json!({"columns": columns, "rows": rows, "versions": versions});
        if !moved.is_empty() {
            json["moved"] = json!(moved);
        }
        json
    }
}

/// A result as it is stored: with what a reader wants to know about its query.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StoredResult {
    /// The result.
    #[serde(flatten)]
    pub result: QueryResult,
    /// The SQL, with the comments that declare its chart. Runs of earlier versions have none.
    #[serde(default)]
    pub sql: Option<String>,
    /// How long the query ran, in seconds. Runs of earlier versions have none.
    #[serde(default)]
    pub seconds: Option<f64>,
}

/// The stored results of one run, by name.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct StoredRun {
    results: BTreeMap<String, StoredResult>,
}

impl StoredRun {
    /// Iterates over the results in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &StoredResult)> {
        self.results.iter().map(|(name, stored)| (name.as_str(), stored))
    }

    /// The result with this name.
    pub fn get(&self, name: &str) -> Option<&StoredResult> {
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

    /// Converts to what [`Results::to_json`] writes, with `"sql"` and `"seconds"` in each result that has them.
    pub fn to_json(&self) -> Value {
        let results = self.iter().map(|(name, StoredResult { result, sql, seconds })| {
            let mut json = result.to_json();
            if let Some(sql) = sql {
                json["sql"] = json!(sql);
            }
            if let Some(seconds) = seconds {
                json["seconds"] = json!(seconds);
            }
            (name.to_owned(), json)
        });
        Value::Object(results.collect())
    }

    /// Reads what [`StoredRun::to_json`] or [`Results::to_json`] wrote. Unknown fields are ignored.
    ///
    /// # Errors
    /// If the JSON has another form, or a row does not have one cell for each column.
    pub fn from_json(json: Value) -> Result<StoredRun, InvalidResults> {
        let results: BTreeMap<String, StoredResult> =
            serde_json::from_value(json).map_err(|error| InvalidResults(error.to_string()))?;
        results.iter().try_for_each(|(name, stored)| stored.result.check(name))?;
        Ok(StoredRun { results })
    }
}

impl FromIterator<(String, StoredResult)> for StoredRun {
    fn from_iter<I: IntoIterator<Item = (String, StoredResult)>>(results: I) -> Self {
        StoredRun { results: results.into_iter().collect() }
    }
}

impl From<Results> for StoredRun {
    fn from(results: Results) -> Self {
        let stored = |(name, result)| (name, StoredResult { result, sql: None, seconds: None });
        results.results.into_iter().map(stored).collect()
    }
}

impl From<StoredRun> for Results {
    fn from(run: StoredRun) -> Self {
        run.results.into_iter().map(|(name, stored)| (name, stored.result)).collect()
    }
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
        Value::Object(self.iter().map(|(name, result)| (name.to_owned(), result.to_json())).collect())
    }

    /// Reads what [`Results::to_json`] wrote. Unknown fields are ignored.
    ///
    /// # Errors
    /// If the JSON has another form, or a row does not have one cell for each column.
    pub fn from_json(json: Value) -> Result<Results, InvalidResults> {
        let results: BTreeMap<String, QueryResult> =
            serde_json::from_value(json).map_err(|error| InvalidResults(error.to_string()))?;
        results.iter().try_for_each(|(name, result)| result.check(name))?;
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
    fn stored_runs_of_all_versions_are_read() {
        let old = json!({"a": {"columns": ["n"], "rows": [[1]], "versions": {"pin": 3}}});
        assert_eq!(StoredRun::from_json(old.clone()).unwrap().to_json(), old);
        let mut new = old.clone();
        new["a"]["sql"] = json!("SELECT 1 AS n");
        new["a"]["seconds"] = json!(0.25);
        let run = StoredRun::from_json(new.clone()).unwrap();
        assert_eq!(run.to_json(), new);
        assert_eq!(Results::from_json(new).unwrap().to_json(), old, "earlier programs read new runs");
        assert_eq!(Results::from(run).to_json(), old);
    }

    #[test]
    fn invalid_results_are_rejected() {
        assert!(Results::from_json(json!([])).is_err());
        let ragged = json!({"a": {"columns": ["n"], "rows": [[1, 2]]}});
        assert!(Results::from_json(ragged).unwrap_err().to_string().contains("a: row 0"));
    }
}
