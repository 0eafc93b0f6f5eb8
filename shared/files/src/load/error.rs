//! Why a load stops.

use std::error::Error;

use pinlake_lake::LakeError;
use pinlake_landing::LandingError;

/// A failure that stops a load. Loading again is safe: rows that are in the lake are not inserted twice.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// A cleaning or inserting task panicked, which is a bug.
    #[error("an internal task of the load ended unexpectedly")]
    Internal(#[source] Box<dyn Error + Send + Sync>),
    /// The contracts that have cleaned records of the lake could not be read.
    #[error("cannot read the contracts of the lake")]
    ReadContracts(#[source] LandingError),
    /// Rows could not be inserted.
    #[error("cannot insert rows")]
    Insert(#[source] LakeError),
    /// Tables did not take their rows. The rows of the other tables are inserted.
    #[error("{} tables did not take their rows", .0.len())]
    TablesRefused(Vec<RefusedTable>),
    /// An address could not be opened or listed.
    #[error("cannot read {address}")]
    Open {
        /// `s3://bucket/prefix`.
        address: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// Reading the objects of an address failed; the cursor keeps how far the load got.
    #[error("cannot read all of {address}")]
    Fetch {
        /// `s3://bucket/prefix`.
        address: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The cursor in the lake is not readable.
    #[error("cannot read the cursor {path} in the lake")]
    ReadCursor {
        /// Its path in the lake.
        path: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The cursor could not be stored.
    #[error("cannot write the cursor {path} to the lake")]
    WriteCursor {
        /// Its path in the lake.
        path: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The load is complete, and its cursor could not be removed.
    #[error("cannot remove the cursor {path} from the lake")]
    RemoveCursor {
        /// Its path in the lake.
        path: String,
        /// The cause.
        source: Box<dyn Error + Send + Sync>,
    },
}

/// A table that did not take its rows, or not all of them.
#[derive(Debug)]
pub struct RefusedTable {
    /// Its dataset.
    pub dataset: String,
    /// Why. It is not retryable.
    pub error: LakeError,
}

impl LoadError {
    pub(super) fn internal(error: impl Error + Send + Sync + 'static) -> Self {
        Self::Internal(Box::new(error))
    }
}
