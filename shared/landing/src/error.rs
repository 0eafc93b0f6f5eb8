//! Errors of the landing area.

use crate::sequence::SequenceError;

/// An error, with the path it is about. [`LandingError::is_permanent`] tells whether a retry can help.
#[derive(Debug, thiserror::Error)]
pub enum LandingError {
    /// The store failed. Retryable.
    #[error("{path}: {source}")]
    Store {
        /// Path of the object.
        path: String,
        /// Error of the store.
        source: object_store::Error,
    },
    /// A file could not be written to a temporary file. Retryable.
    #[error("cannot write {path} to a temporary file: {source}")]
    Spool {
        /// Path of the file in the store.
        path: String,
        /// Error of the file system.
        source: std::io::Error,
    },
    /// The object does not have the format that its name promises. Permanent.
    #[error("cannot read {path}: {why}; `pinlake recover` cleans its records again if raw/ still has them")]
    Corrupt {
        /// Path of the object.
        path: String,
        /// Reason.
        why: String,
    },
    /// A discarded batch cannot be replayed from its object. Permanent.
    #[error("cannot replay {path}: {why}")]
    NotReplayable {
        /// Path of the object.
        path: String,
        /// Reason.
        why: String,
    },
    /// A record's position is not a sequence number, so there can be no watermark for it. Permanent.
    #[error(transparent)]
    Position(#[from] SequenceError),
    /// Rows or records cannot be encoded. Permanent.
    #[error("cannot encode the rows of {dataset}: {why}")]
    Encode {
        /// Dataset of the rows, or `raw`.
        dataset: String,
        /// Reason.
        why: String,
    },
}

impl LandingError {
    /// Adds the path at which the store failed.
    pub fn store(path: impl ToString) -> impl FnOnce(object_store::Error) -> Self {
        move |source| Self::Store { path: path.to_string(), source }
    }

    /// An object at `path` that is not readable.
    pub fn corrupt(path: impl ToString, why: impl ToString) -> Self {
        Self::Corrupt { path: path.to_string(), why: why.to_string() }
    }

    /// Returns whether a retry would fail in the same way.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Store { .. } | Self::Spool { .. })
    }
}
