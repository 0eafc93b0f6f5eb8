//! Errors of subcommands, with advice.
//!
//! An error says what happened and where, and what to do next. Wrong usage exits with 2, as in clap; any other failure
//! with 1.

use std::error::Error;
use std::process::ExitCode;

use pinlake_state::with_causes;

/// A failure of a subcommand.
#[derive(Debug, thiserror::Error)]
#[error("{what}")]
pub struct CliError {
    kind: Kind,
    what: String,
    advice: String,
    source: Option<Box<dyn Error + Send + Sync>>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Usage,
    Failed,
}

impl CliError {
    /// Wrong usage: exit code 2.
    pub fn usage(what: impl Into<String>, advice: impl Into<String>) -> CliError {
        CliError { kind: Kind::Usage, what: what.into(), advice: advice.into(), source: None }
    }

    /// Any other failure: exit code 1.
    pub fn failed(what: impl Into<String>, advice: impl Into<String>) -> CliError {
        CliError { kind: Kind::Failed, what: what.into(), advice: advice.into(), source: None }
    }

    /// Adds the cause, which is shown after the message.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Box<dyn Error + Send + Sync>>) -> CliError {
        self.source = Some(source.into());
        self
    }

    /// What to do next; may be empty.
    pub fn advice(&self) -> &str {
        &self.advice
    }

    /// The message and all its causes, on one line.
    pub fn with_causes(&self) -> String {
        with_causes(self)
    }

    /// 2 for wrong usage, 1 for a failure.
    pub fn exit_code(&self) -> ExitCode {
        match self.kind {
            Kind::Usage => ExitCode::from(2),
            Kind::Failed => ExitCode::FAILURE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_shown_once() {
        let inner = std::io::Error::other("disk full");
        let error = CliError::failed("cannot write out/pin.ndjson", "free some space").caused_by(inner);
        assert_eq!(error.with_causes(), "cannot write out/pin.ndjson: disk full");
        let repeated =
            CliError::failed("cannot write: disk full", "").caused_by(std::io::Error::other("disk full"));
        assert_eq!(repeated.with_causes(), "cannot write: disk full");
    }
}
