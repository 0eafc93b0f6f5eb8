//! The state file of a replay: the progress, from which the next run continues.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io;
use std::path::Path;

use reqwest::Url;
use serde::{Deserialize, Serialize};

use crate::atomic_file;
use crate::error::CliError;

/// The state file: the arguments that decide which rows a run posts, and how many are done.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The target that acknowledged the rows.
    pub to: String,
    /// `file`, or `seed N`. Row numbers depend on the order.
    pub order: String,
    /// For each file or table, by name: all rows before this number, counted from 0, are acknowledged or rejected.
    pub files: BTreeMap<String, u64>,
    /// The last key of each table that is read by a key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub keys: BTreeMap<String, Key>,
}

/// The last key of a table. Rows added later have larger keys.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Key {
    /// The column.
    pub column: String,
    /// Its value in the last row up to which all rows are done.
    pub reached: i64,
}

impl State {
    /// Reads the state of earlier runs, or returns `fresh` if there is none. The target and the order must be the same.
    pub fn load(path: &Path, fresh: State) -> Result<State, CliError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(fresh),
            Err(error) => {
                return Err(CliError::failed(format!("cannot read the state {}", path.display()), "")
                    .caused_by(error));
            }
        };
        let advice = "use another --state, or delete the file to start over";
        let state: State = serde_json::from_slice(&bytes).map_err(|error| {
            CliError::usage(format!("{} is not the state of a replay", path.display()), advice)
                .caused_by(error)
        })?;
        if (&state.to, &state.order) != (&fresh.to, &fresh.order) {
            return Err(CliError::usage(
                format!(
                    "the state {} belongs to a replay to {} in the order `{}`, not to {} in the order `{}`",
                    path.display(),
                    without_user(&state.to),
                    state.order,
                    fresh.to,
                    fresh.order
                ),
                advice,
            ));
        }
        Ok(state)
    }

    /// Replaces the state file.
    pub fn save(&self, path: &Path) -> Result<(), CliError> {
        atomic_file::replace_json_private(path, self).map_err(|error| {
            CliError::failed(
                format!("cannot write the state {}", path.display()),
                "check that its folder exists and is writable; without the state a new run repeats rows",
            )
            .caused_by(error)
        })
    }
}

/// A URL without user and password, which state files of earlier releases may contain.
fn without_user(address: &str) -> String {
    let Ok(mut url) = Url::parse(address) else { return "an address that cannot be read".to_owned() };
    // Both fail only for URLs that cannot have a user.
    let _ = url.set_username("");
    let _ = url.set_password(None);
    url.to_string()
}

/// The row up to which all rows of a file are done, while later rows are completed in any order.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Watermark {
    /// The first row that is not done.
    pub next: u64,
    /// Later rows that are done.
    ahead: BTreeSet<u64>,
    /// The key of the row before `next`, if rows have keys.
    pub key: Option<i64>,
    /// The keys of rows from `next` on.
    keys: BTreeMap<u64, i64>,
}

impl Watermark {
    /// Everything before `next` is done.
    pub fn at(next: u64) -> Watermark {
        Watermark { next, ..Watermark::default() }
    }

    /// Records the key of row `ordinal`, which is being posted.
    pub fn expect(&mut self, ordinal: u64, key: i64) {
        self.keys.insert(ordinal, key);
    }

    /// Marks row `ordinal` as done.
    pub fn pass(&mut self, ordinal: u64) {
        if ordinal >= self.next {
            self.ahead.insert(ordinal);
        }
        while self.ahead.remove(&self.next) {
            self.key = self.keys.remove(&self.next).or(self.key);
            self.next += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_watermark_stops_at_the_first_gap() {
        let mut mark = Watermark::at(2);
        for (ordinal, next) in [(4, 2), (3, 2), (6, 2), (2, 5), (1, 5), (5, 7)] {
            mark.pass(ordinal);
            assert_eq!(mark.next, next, "after {ordinal}");
        }
        assert_eq!(mark, Watermark::at(7));
    }

    #[test]
    fn the_key_is_that_of_the_last_row_before_the_gap() {
        let mut mark = Watermark::at(10);
        for (ordinal, key) in [(10, 70), (11, 75), (12, 76)] {
            mark.expect(ordinal, key);
        }
        for (ordinal, key) in [(11, None), (10, Some(75)), (12, Some(76))] {
            mark.pass(ordinal);
            assert_eq!(mark.key, key, "after {ordinal}");
        }
        assert_eq!(
            mark,
            Watermark { next: 13, key: Some(76), ..Watermark::default() },
            "done rows are not kept"
        );
    }

    #[test]
    fn a_state_of_another_target_is_rejected() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let state = |to: &str, rows| State {
            to: to.to_owned(),
            order: "file".to_owned(),
            files: BTreeMap::from([("pin.ndjson".to_owned(), rows)]),
            keys: BTreeMap::new(),
        };
        assert_eq!(State::load(&path, state("http://a", 0)).unwrap(), state("http://a", 0));
        state("http://a", 12).save(&path).unwrap();
        assert_eq!(State::load(&path, state("http://a", 0)).unwrap(), state("http://a", 12));
        let error = State::load(&path, state("http://b", 0)).unwrap_err();
        assert!(error.with_causes().contains("http://b"), "{error}");
        state("http://me:hush@a", 12).save(&path).unwrap();
        let error = State::load(&path, state("http://b", 0)).unwrap_err().with_causes();
        assert!(error.contains("http://a") && !error.contains("hush") && !error.contains("me@"), "{error}");
    }
}
