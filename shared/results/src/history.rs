//! What is kept of a result of each run: not its rows, but what tells whether and how it changed.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::{Number, Value, json};
use sha2::{Digest, Sha256};

use crate::StoredResult;

/// Runs that the history of a result keeps.
pub const MAX_HISTORY: usize = 100;
/// Columns with numbers of which the history keeps the largest value.
const MAX_FIGURES: usize = 8;

/// A result of an earlier run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct PastResult {
    /// The id of the run.
    pub run: String,
    /// Number of rows.
    pub rows: u64,
    /// The largest value of each column with numbers: the value itself if there is one row.
    #[serde(default)]
    pub largest: BTreeMap<String, Number>,
    /// The first 16 hexadecimal digits of a SHA-256 of columns and rows: equal if the result did not change.
    pub digest: String,
    /// Version of each table that was read; null if it did not exist yet.
    #[serde(default)]
    pub versions: BTreeMap<String, Option<u64>>,
    /// How long the query ran.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seconds: Option<f64>,
}

impl PastResult {
    /// What is kept of a result of `run`.
    pub(crate) fn new(run: &str, stored: &StoredResult) -> PastResult {
        let result = &stored.result;
        let columns = result.columns.iter().enumerate();
        let largest = columns.filter_map(|(index, name)| {
            let cells = result.rows.iter().filter_map(|row| row.get(index)).filter(|cell| !cell.is_null());
            Some((name.clone(), find_largest(cells)?))
        });
        let content = json!([result.columns, result.rows]).to_string();
        PastResult {
            run: run.to_owned(),
            rows: result.rows.len() as u64,
            largest: largest.take(MAX_FIGURES).collect(),
            digest: hex::encode(&Sha256::digest(content)[..8]),
            versions: result.versions.clone(),
            seconds: stored.seconds,
        }
    }
}

/// The largest of cells that are all numbers; none if one is not, or there is none.
fn find_largest<'a>(cells: impl Iterator<Item = &'a Value>) -> Option<Number> {
    let mut largest: Option<&Number> = None;
    for cell in cells {
        let Value::Number(number) = cell else { return None };
        let is_larger = |present: &Number| number.as_f64() > present.as_f64();
        if largest.is_none_or(is_larger) {
            largest = Some(number);
        }
    }
    largest.cloned()
}

/// Adds a result to a history, which is in the order of the runs, or replaces that of the same run. The oldest are
/// dropped. Returns whether anything changed.
pub(crate) fn add(history: &mut Vec<PastResult>, new: PastResult) -> bool {
    match history.binary_search_by(|past| past.run.cmp(&new.run)) {
        Ok(index) if history[index] == new => return false,
        Ok(index) => history[index] = new,
        Err(0) if history.len() >= MAX_HISTORY => return false,
        Err(index) => history.insert(index, new),
    }
    let excess = history.len().saturating_sub(MAX_HISTORY);
    history.drain(..excess);
    true
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::QueryResult;

    fn stored(rows: Value) -> StoredResult {
        let json = json!({ "columns": ["name", "n", "share"], "rows": rows });
        let result: QueryResult = serde_json::from_value(json).unwrap();
        StoredResult { result, sql: None, seconds: Some(0.5) }
    }

    #[test]
    fn a_past_result_has_the_largest_numbers_and_tells_changes() {
        let past = PastResult::new("r", &stored(json!([["a", 3, null], ["b", 12, null]])));
        assert_eq!((past.rows, past.largest.len()), (2, 1));
        assert_eq!(past.largest["n"], Number::from(12));
        let other = PastResult::new("s", &stored(json!([["a", 3, null], ["b", 13, null]])));
        assert_ne!(past.digest, other.digest);
        assert!(PastResult::new("t", &stored(json!([]))).largest.is_empty());
    }

    #[test]
    fn a_history_is_bounded_sorted_and_takes_a_run_once() {
        let past = |run: usize| PastResult::new(&format!("{run:04}"), &stored(json!([["a", run, 0.5]])));
        let mut history = Vec::new();
        assert!(add(&mut history, past(7)) && !add(&mut history, past(7)));
        for run in (0..150).rev() {
            add(&mut history, past(run));
        }
        assert_eq!(history.len(), MAX_HISTORY);
        assert!(history.is_sorted_by(|one, other| one.run < other.run));
        assert_eq!(history.last().unwrap().run, "0149");
        let oldest = history[0].run.clone();
        assert!(!add(&mut history, past(1)), "an older run does not replace a newer one");
        assert!(add(&mut history, past(150)));
        assert_ne!(history[0].run, oldest);
    }
}
