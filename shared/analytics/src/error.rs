//! What can go wrong: the query set, the queries, what they read.
//!
//! One run reports all that is wrong with it. Whether to try again is decided by [`FailureKind`] alone, never by a
//! message.

use std::fmt;

use datafusion::error::DataFusionError;

/// Why there are no results.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnalyticsError {
    /// The query set itself cannot be used; one line a mistake.
    #[error("the query set cannot be used:\n{}", .0.join("\n"))]
    QuerySet(Vec<String>),
    /// The tables cannot be offered to the queries.
    #[error("the tables cannot be read: {0}")]
    Tables(String),
    /// Queries failed: every one that did, in name order.
    #[error("{} of the queries failed:\n{}", .0.len(), lines(.0))]
    Queries(Vec<QueryFailure>),
    /// Stored results are not in the form that [`crate::Results::to_json`] writes.
    #[error("these are not stored results: {0}; run the analyses again to replace them")]
    Stored(String),
}

impl AnalyticsError {
    /// Whether the same run may succeed later without anybody mending anything.
    pub fn is_transient(&self) -> bool {
        match self {
            AnalyticsError::Queries(failures) => {
                failures.iter().all(|f| matches!(f.kind, FailureKind::Storage | FailureKind::Service))
            }
            _ => false,
        }
    }
}

fn lines(failures: &[QueryFailure]) -> String {
    failures.iter().map(|failure| failure.to_string()).collect::<Vec<_>>().join("\n")
}

/// What decides the next step after a failed query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// The SQL is wrong, or asks for what the tables do not have.
    Query,
    /// A limit of the run was reached: time or rows.
    Limit,
    /// The run's memory was not enough.
    Memory,
    /// A data file could not be read.
    Storage,
    /// A defect of the engine.
    Engine,
    /// An engine outside of this program could not be reached, refused, or failed of its own.
    Service,
}

impl FailureKind {
    /// What to do about it.
    fn remedy(self) -> &'static str {
        match self {
            FailureKind::Query => "mend the query",
            FailureKind::Limit => "make the query smaller (filter, aggregate, LIMIT) or give the run more",
            FailureKind::Memory => {
                "give the run more memory, or take another engine (docs/scale.md, \"When the tables outgrow one Lambda\")"
            }
            FailureKind::Storage => {
                "run the analyses again; if a file is gone, the table was vacuumed while they ran"
            }
            FailureKind::Engine => "write the query in another way, and report this",
            FailureKind::Service => {
                "run the analyses again; if it stays, look at what the engine says of itself"
            }
        }
    }
}

/// One query that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryFailure {
    /// The SQL file.
    pub file: String,
    /// Line in the file, counted from 1, where the engine names one.
    pub line: Option<u64>,
    /// What decides the next step.
    pub kind: FailureKind,
    /// What is wrong.
    pub problem: String,
}

impl fmt::Display for QueryFailure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.file)?;
        if let Some(line) = self.line {
            write!(f, ":{line}")?;
        }
        write!(f, ": {}; {}", self.problem, self.kind.remedy())
    }
}

impl QueryFailure {
    /// A failure that has no line.
    pub fn new(file: &str, kind: FailureKind, problem: impl Into<String>) -> Self {
        QueryFailure { file: file.to_owned(), line: None, kind, problem: problem.into() }
    }

    pub(crate) fn from_engine(file: &str, error: &DataFusionError) -> Self {
        let kind = kind_of(error);
        let diagnostic = error.diagnostic();
        let text = error.strip_backtrace();
        let line = diagnostic
            .and_then(|diagnostic| diagnostic.span)
            .map(|span| span.start.line)
            .filter(|line| *line > 0)
            .or_else(|| line_in(&text));
        let text = match error.find_root() {
            DataFusionError::SQL(error, _) => error.to_string(),
            // The session's own names for where tables are mean nothing to whoever wrote the query.
            _ => text.replace("datafusion.public.", ""),
        };
        // The engine's texts go over several lines at times; a failure is one line.
        let problem = text.split_whitespace().collect::<Vec<_>>().join(" ");
        QueryFailure {
            file: file.to_owned(),
            line,
            kind,
            problem: problem.trim_end_matches(['.', ' ']).to_owned(),
        }
    }
}

fn kind_of(error: &DataFusionError) -> FailureKind {
    match error.find_root() {
        DataFusionError::ObjectStore(_) | DataFusionError::IoError(_) | DataFusionError::ParquetError(_) => {
            FailureKind::Storage
        }
        DataFusionError::ResourcesExhausted(_) => FailureKind::Memory,
        DataFusionError::Internal(_) | DataFusionError::ExecutionJoin(_) => FailureKind::Engine,
        // A failed read reaches us as the parquet reader's external error at times.
        DataFusionError::External(source) if source.is::<object_store::Error>() => FailureKind::Storage,
        _ => FailureKind::Query,
    }
}

/// The parser names the place only in its text: `... at Line: 3, Column: 7`.
fn line_in(text: &str) -> Option<u64> {
    let (_, after) = text.split_once("at Line: ")?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
