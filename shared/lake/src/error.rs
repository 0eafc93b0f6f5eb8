//! What can go wrong with a table.
//!
//! The caller needs one distinction: does the same call, made later, have a rng? A retryable failure leaves
//! the input where it is (landing, the queue), and the next wake-up takes it again. A permanent one is a fact
//! about the table, the contract or the input that somebody has to change first.

use object_store::path::Path;
use pinlake_landing::LandingError;

/// A failure, with where it happened.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The store did not do as asked.
    #[error("{path}: {source}")]
    Store {
        /// Where.
        path: String,
        /// What the store said.
        source: object_store::Error,
    },
    /// Whether a commit happened could not be found out in the time given. Inserting the same rows again is safe.
    #[error("whether {path} was committed is unknown after {attempts} attempts: {last}")]
    CommitUnknown {
        /// The commit's path.
        path: String,
        /// How often it was tried.
        attempts: u32,
        /// The last answer.
        last: object_store::Error,
    },
    /// Other writers took every version that was tried for.
    #[error(
        "table {dataset} changed {attempts} times while rows were being inserted: too many writers at once"
    )]
    Contended {
        /// Whose table.
        dataset: String,
        /// How often it was tried.
        attempts: u32,
    },
    /// The table's rows were keyed by other rules than the contract's.
    #[error(
        "table {dataset} was keyed under identity {table}, contract {contract} has {wanted}: rows could double. \
         Keep the contract's identity and columns, or give a contract with the new ones a name of its own \
         (docs/recovery.md, \"A contract that its table refuses\")"
    )]
    IdentityChanged {
        /// Whose table.
        dataset: String,
        /// Identity in the table's properties.
        table: String,
        /// Contract name and version.
        contract: String,
        /// Its identity.
        wanted: String,
    },
    /// The table's columns are not the contract's.
    #[error(
        "table {dataset} has columns the contract has not, or of another type: {why}. Give the contract back its columns, \
         or give a contract with the new ones a name of its own (docs/recovery.md, \"A contract that its table refuses\")"
    )]
    SchemaChanged {
        /// Whose table.
        dataset: String,
        /// Which columns.
        why: String,
    },
    /// An entry of a table's log is missing although later ones, or traces of them, are there.
    #[error(
        "the log of table {dataset} is incomplete: {entry} is missing. The table is neither read nor written until it is \
         restored from a backup or from the bucket's object versions (docs/recovery.md, \"A log with a gap\")"
    )]
    LogIncomplete {
        /// Whose table.
        dataset: String,
        /// The first entry that is missing.
        entry: String,
    },
    /// The keys of a data file's rows are in its key file only, and that is missing.
    #[error(
        "the keys of the rows of {path} are lost: its key file {keys} cannot be read, and its rows do not store them. Restore the \
         key file from a backup or from the bucket's object versions (docs/recovery.md, \"A key file that is lost\")"
    )]
    KeysLost {
        /// The data file.
        path: String,
        /// Its key file.
        keys: String,
    },
    /// A file of the lake is not what it should be.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// Which file.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// The Delta library refused.
    #[error("table {dataset}: {source}")]
    Delta {
        /// Whose table.
        dataset: String,
        /// Its words.
        source: Box<delta_kernel::KernelError>,
    },
    /// Rows could not be written as a data file.
    #[error("rows for table {dataset} cannot be written: {why}")]
    Encode {
        /// Whose table.
        dataset: String,
        /// Why.
        why: String,
    },
    /// The landing area failed.
    #[error(transparent)]
    Landing(#[from] LandingError),
}

impl LakeError {
    pub(crate) fn store(path: &Path) -> impl FnOnce(object_store::Error) -> Self + use<> {
        let path = path.to_string();
        move |source| Self::Store { path, source }
    }

    pub(crate) fn delta(dataset: &str) -> impl Fn(delta_kernel::KernelError) -> Self + use<> {
        let dataset = dataset.to_owned();
        move |source| Self::Delta { dataset: dataset.clone(), source: Box::new(source) }
    }

    pub(crate) fn damaged<E: ToString>(path: &Path) -> impl Fn(E) -> Self + use<E> {
        let path = path.to_string();
        move |why| Self::Damaged { path: path.clone(), why: why.to_string() }
    }

    pub(crate) fn encode<E: ToString>(dataset: &str) -> impl Fn(E) -> Self + use<E> {
        let dataset = dataset.to_owned();
        move |why| Self::Encode { dataset: dataset.clone(), why: why.to_string() }
    }

    /// Whether the same call may succeed later without anybody changing anything.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store { .. } | Self::CommitUnknown { .. } | Self::Contended { .. } => true,
            Self::Landing(error) => !error.is_permanent(),
            Self::IdentityChanged { .. }
            | Self::SchemaChanged { .. }
            | Self::LogIncomplete { .. }
            | Self::KeysLost { .. }
            | Self::Damaged { .. }
            | Self::Delta { .. }
            | Self::Encode { .. } => false,
        }
    }
}
