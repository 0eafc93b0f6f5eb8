//! Errors in contracts, for the person who wrote them.

use std::fmt;

/// Lines longer than this are not quoted.
const MAX_EXCERPT_BYTES: usize = 400;

/// One error in a contract file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractError {
    /// The name of the file.
    pub file: String,
    /// The line, from 1.
    pub line: usize,
    /// The column in characters, from 1.
    pub column: usize,
    /// What is wrong.
    pub problem: String,
    /// What to write instead.
    pub help: String,
    /// The line of the file without its line end; empty if it is too long to be quoted.
    pub excerpt: String,
    /// The number of characters that are marked.
    pub width: usize,
}

impl ContractError {
    /// An error at `span`, a range of bytes of `text`.
    pub(crate) fn at(
        file: &str,
        text: &str,
        span: std::ops::Range<usize>,
        problem: impl Into<String>,
        help: impl Into<String>,
    ) -> ContractError {
        let start = floor_char_boundary(text, span.start);
        let line_start = text[..start].rfind('\n').map_or(0, |at| at + 1);
        let line_end = text[start..].find('\n').map_or(text.len(), |at| start + at);
        let end = floor_char_boundary(text, span.end).clamp(start, line_end);
        let line = text[line_start..line_end].trim_end_matches('\r');
        ContractError {
            file: file.to_owned(),
            line: text[..start].matches('\n').count() + 1,
            column: text[line_start..start].chars().count() + 1,
            problem: problem.into(),
            help: help.into(),
            excerpt: if line.len() > MAX_EXCERPT_BYTES { String::new() } else { line.to_owned() },
            width: text[start..end].chars().count().max(1),
        }
    }
}

fn floor_char_boundary(text: &str, at: usize) -> usize {
    (0..=at.min(text.len())).rev().find(|&at| text.is_char_boundary(at)).unwrap_or(0)
}

impl fmt::Display for ContractError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let gutter = " ".repeat(self.line.to_string().len());
        writeln!(f, "error: {}", self.problem)?;
        writeln!(f, "{gutter}--> {}:{}:{}", self.file, self.line, self.column)?;
        if !self.excerpt.is_empty() {
            writeln!(f, "{gutter} |")?;
            writeln!(f, "{} | {}", self.line, self.excerpt)?;
            writeln!(f, "{gutter} | {}{}", " ".repeat(self.column - 1), "^".repeat(self.width))?;
        }
        write!(f, "{gutter} = {}", self.help)
    }
}

/// All errors of all files. A catalog is used only if there are none.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContractErrors {
    /// The errors, sorted by file and line. Never empty.
    pub errors: Vec<ContractError>,
}

impl ContractErrors {
    pub(crate) fn from_vec(mut errors: Vec<ContractError>) -> ContractErrors {
        errors.sort_by(|a, b| (&a.file, a.line, a.column).cmp(&(&b.file, b.line, b.column)));
        ContractErrors { errors }
    }
}

impl fmt::Display for ContractErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for error in &self.errors {
            writeln!(f, "{error}\n")?;
        }
        let files: std::collections::BTreeSet<&str> =
            self.errors.iter().map(|error| error.file.as_str()).collect();
        let (errors, files) = (self.errors.len(), files.len());
        let plural = |count: usize| if count == 1 { "" } else { "s" };
        write!(
            f,
            "{errors} error{} in {files} contract file{}; no contract was loaded",
            plural(errors),
            plural(files)
        )
    }
}

impl std::error::Error for ContractErrors {}
