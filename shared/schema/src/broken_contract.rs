//! A contract that cannot be used, and why.

use std::fmt;

use crate::contract_error::ContractError;

/// The most characters of a summary: it is in every quarantine row of the dataset.
const MAX_SUMMARY_CHARS: usize = 500;

/// A contract file that cannot be used, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenContract {
    /// The dataset that it stops; `None` if it stops none.
    pub dataset: Option<String>,
    /// The name of the file.
    pub file: String,
    /// What is wrong. Never empty.
    pub errors: Vec<ContractError>,
}

/// The first error with its file and line: `geo.toml:12: unknown type int; did you mean int64?`.
impl fmt::Display for BrokenContract {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Some(first) = self.errors.first() else { return f.write_str(&self.file) };
        let text = format!("{}:{}: {}; {}", first.file, first.line, first.problem, first.help);
        let shown: String = text.chars().take(MAX_SUMMARY_CHARS).flat_map(char::escape_debug).collect();
        f.write_str(&shown)?;
        match self.errors.len() {
            1 => Ok(()),
            count => write!(f, " (and {} more)", count - 1),
        }
    }
}
