//! The results of one run, in memory and as JSON.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

/// Stored results do not have the form that [`NamedResults::to_json`] writes.
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

/// What the results of a run are kept as.
pub trait ResultForm: DeserializeOwned {
    /// The result itself.
    fn result(&self) -> &QueryResult;
    /// As a member of the JSON of its run.
    fn to_json(&self) -> Value;
}

impl ResultForm for QueryResult {
    fn result(&self) -> &QueryResult {
        self
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

impl ResultForm for StoredResult {
    fn result(&self) -> &QueryResult {
        &self.result
    }

    fn to_json(&self) -> Value {
        let mut json = self.result.to_json();
        if let Some(sql) = &self.sql {
            json["sql"] = json!(sql);
        }
        if let Some(seconds) = self.seconds {
            json["seconds"] = json!(seconds);
        }
        json
    }
}

/// The results of one run, by name.
pub type Results = NamedResults<QueryResult>;

/// The results of one run as they are stored, by name.
pub type StoredRun = NamedResults<StoredResult>;

/// The results of one run, by name: [`Results`] or [`StoredRun`].
#[derive(Debug, Clone, PartialEq)]
pub struct NamedResults<T> {
    results: BTreeMap<String, T>,
}

impl<T> NamedResults<T> {
    /// Iterates over the results in name order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &T)> {
        self.results.iter().map(|(name, result)| (name.as_str(), result))
    }

    /// The result with this name.
    pub fn get(&self, name: &str) -> Option<&T> {
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
}

impl<T: ResultForm> NamedResults<T> {
    /// Converts to `{"<result>":{"columns":["..."],"rows":[[...]],"versions":{"<table>":3}}}`, in name order; with
    /// `"moved":{"<table>":[3,5]}` for a table that changed during the query, and in stored results with `"sql"` and `"seconds"` where they
    /// are known.
    pub fn to_json(&self) -> Value {
        Value::Object(self.iter().map(|(name, result)| (name.to_owned(), result.to_json())).collect())
    }

    /// Reads what [`NamedResults::to_json`] wrote, of this form or the other. Unknown fields are ignored.
    ///
    /// # Errors
    /// If the JSON has another form, or a row does not have one cell for each column.
    pub fn from_json(json: Value) -> Result<Self, InvalidResults> {
        let results: BTreeMap<String, T> =
            serde_json::from_value(json).map_err(|error| InvalidResults(error.to_string()))?;
        results.iter().try_for_each(|(name, result)| result.result().check(name))?;
        Ok(Self { results })
    }
}

impl<T> Default for NamedResults<T> {
    fn default() -> Self {
        Self { results: BTreeMap::new() }
    }
}

impl<T> FromIterator<(String, T)> for NamedResults<T> {
    fn from_iter<I: IntoIterator<Item = (String, T)>>(results: I) -> Self {
        Self { results: results.into_iter().collect() }
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
