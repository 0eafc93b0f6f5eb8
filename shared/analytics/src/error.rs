//! Errors of query sets and of runs.
//!
//! A run reports all of its failed queries. [`FailureKind`], never the message, decides whether to retry.

use std::fmt;

use datafusion::error::DataFusionError;

/// Why a run has no results.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum AnalyticsError {
    /// The query set is invalid; one line for each error.
    #[error("invalid query set:\n{}", .0.join("\n"))]
    QuerySet(Vec<String>),
    /// The tables cannot be registered.
    #[error("the tables cannot be read: {0}")]
    Tables(String),
    /// All queries that failed, in name order.
    #[error("{} of the queries failed:\n{}", .0.len(), lines(.0))]
    Queries(Vec<QueryFailure>),
}

impl AnalyticsError {
    /// Whether the same run may succeed later without a change.
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

/// The cause of a failed query, which decides the next step.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum FailureKind {
    /// The SQL is invalid, or names a table or column that does not exist.
    Query,
    /// The query reached its limit of time or rows.
    Limit,
    /// The memory of the run was not enough.
    Memory,
    /// A data file could not be read.
    Storage,
    /// A bug of the engine.
    Engine,
    /// An external engine could not be reached, rejected the request, or failed.
    Service,
}

impl FailureKind {
    /// What the user should do.
    fn remedy(self) -> &'static str {
        match self {
            FailureKind::Query => "fix the query",
            FailureKind::Limit => "reduce the query (filter, aggregate, LIMIT) or raise the limit",
            FailureKind::Memory => {
                "give the run more memory, or use another engine (docs/scale.md, \"When the tables outgrow one Lambda\")"
            }
            FailureKind::Storage => {
                "run the analyses again; if a file is gone, the table was vacuumed while they ran"
            }
            FailureKind::Engine => "rewrite the query, and report this bug",
            FailureKind::Service => {
                "run the analyses again; if it still fails, check the status of the engine"
            }
        }
    }
}

/// One query that failed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QueryFailure {
    /// The SQL file.
    pub file: String,
    /// Line in the file, from 1, if the engine names one.
    pub line: Option<u64>,
    /// The cause.
    pub kind: FailureKind,
    /// The description, in one line.
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
    /// Creates a failure without a line.
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
            // The author of the query does not know the name of the session's schema.
            _ => text.replace("datafusion.public.", ""),
        };
        // Messages of the engine can have several lines; a failure has one.
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
        // The Parquet reader can return a failed read as an external error.
        DataFusionError::External(source) if source.is::<object_store::Error>() => FailureKind::Storage,
        _ => FailureKind::Query,
    }
}

/// The parser names the line only in its message: `... at Line: 3, Column: 7`.
fn line_in(text: &str) -> Option<u64> {
    let (_, after) = text.split_once("at Line: ")?;
    let digits: String = after.chars().take_while(char::is_ascii_digit).collect();
    digits.parse().ok()
}
