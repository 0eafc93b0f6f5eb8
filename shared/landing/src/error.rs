//! What can go wrong with the landing area.

use crate::sequence::NotASequence;

/// A failure, with the path it happened at. [`LandingError::is_permanent`] decides what to do about it.
#[derive(Debug, thiserror::Error)]
pub enum LandingError {
    /// The store did not do as asked; trying again may help.
    #[error("{path}: {source}")]
    Store {
        /// Where.
        path: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// A file could not be kept on this machine's disk while it is read; trying again may help.
    #[error("{path} cannot be kept on the disk of this machine: {source}")]
    Spool {
        /// Which file.
        path: String,
        /// What the disk said.
        source: std::io::Error,
    },
    /// The object is not what its name says; trying again will not help.
    #[error("{path} cannot be read: {why}; `pinlake recover` cleans its records again, if raw/ has them")]
    Corrupt {
        /// Which object.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A batch that was given up cannot be replayed from what is kept of it; trying again will not help.
    #[error("{path} cannot be replayed: {why}")]
    NotReplayable {
        /// Which object.
        path: String,
        /// What is wrong with it.
        why: String,
    },
    /// A record's position is no number, and could not be a watermark; trying again will not help.
    #[error(transparent)]
    Position(#[from] NotASequence),
    /// Rows could not be written as Parquet.
    #[error("rows of {dataset} cannot be written as Parquet: {why}")]
    Encode {
        /// Whose rows.
        dataset: String,
        /// Why.
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

    /// Whether the same call would fail again.
    pub fn is_permanent(&self) -> bool {
        !matches!(self, Self::Store { .. } | Self::Spool { .. })
    }
}
