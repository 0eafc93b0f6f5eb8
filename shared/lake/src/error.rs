//! Errors of the lake.
//!
//! A caller has to distinguish two kinds ([`LakeError::is_retryable`]). After a retryable error the same call may
//! succeed later: the input stays where it is (landing, the trigger queue), and the next trigger processes it again.
//! After a permanent one an operator has to change the table, the contract or the input first.

use object_store::path::Path;
use pinlake_landing::LandingError;

/// An error of the lake.
#[derive(Debug, thiserror::Error)]
pub enum LakeError {
    /// The store failed.
    #[error("{path}: {source}")]
    Store {
        /// The object's path.
        path: String,
        /// The store's error.
        source: object_store::Error,
    },
    /// A put of a commit stayed ambiguous. Inserting the same rows again is safe.
    #[error(
        "cannot find out whether {path} was committed, after {attempts} attempts: {last}. Insert the rows again: it is safe"
    )]
    CommitUnknown {
        /// Path of the log entry.
        path: String,
        /// Number of attempts.
        attempts: u32,
        /// The last error.
        last: object_store::Error,
    },
    /// Every attempt to commit ended in a conflict.
    #[error(
        "table {dataset}: {attempts} commits in a row conflicted with other writers. Retry later, or run fewer writers"
    )]
    Contended {
        /// Dataset of the table.
        dataset: String,
        /// Number of attempts.
        attempts: u32,
    },
    /// The table has another identity than the contract.
    #[error(
        "table {dataset} was keyed under identity {table}, contract {contract} has {wanted}: rows could be duplicated. \
         Keep the contract's identity and columns, or run `pinlake rebuild` \
         (docs/recovery.md, \"A contract that its table refuses\")"
    )]
    IdentityChanged {
        /// Dataset of the table.
        dataset: String,
        /// Identity hash of the table or the data file.
        table: String,
        /// Contract name and version.
        contract: String,
        /// Identity hash of the contract.
        wanted: String,
    },
    /// The rows do not bring their keys under another contract of which the table has rows: it was deployed while they were cleaned.
    #[error(
        "table {dataset} has rows of the identity {identity}, under which these rows have no keys yet: clean their records again"
    )]
    KeysMissing {
        /// Dataset of the table.
        dataset: String,
        /// Identity hash of the other contract.
        identity: String,
    },
    /// Another program created the table, so that its rows have no keys.
    #[error(
        "table {dataset} was created by another program, and its rows have no keys: rows could be duplicated. \
         Run `pinlake rebuild` to take it over (docs/recovery.md, \"A contract that its table refuses\")"
    )]
    Foreign {
        /// Dataset of the table.
        dataset: String,
    },
    /// The table has other columns than the contract.
    #[error(
        "table {dataset} does not have the columns of its contract: {why}. Restore the contract's columns, \
         or run `pinlake rebuild` (docs/recovery.md, \"A contract that its table refuses\")"
    )]
    SchemaChanged {
        /// Dataset of the table.
        dataset: String,
        /// The columns of both.
        why: String,
    },
    /// A table cannot be rebuilt under a contract.
    #[error("table {dataset} cannot be rebuilt: {why}")]
    RebuildRefused {
        /// Dataset of the table.
        dataset: String,
        /// The reason.
        why: String,
    },
    /// The table uses a feature of Delta that pinlake does not read. Other tables are not affected.
    #[error("table {dataset} is refused: {why}. {remedy} (docs/readers.md, \"Tables that pinlake refuses\")")]
    UnsupportedTable {
        /// Dataset of the table.
        dataset: String,
        /// The feature, the file that has it, and the program that wrote it.
        why: String,
        /// What the operator does.
        remedy: &'static str,
    },
    /// The rows of one commit belong to too many partitions.
    #[error(
        "table {dataset}: the rows of one commit have {found} values of {columns}, and a commit adds at most {limit} partitions. \
         Partition by columns with fewer values (`partition_by`), and run `pinlake rebuild`"
    )]
    TooManyPartitions {
        /// Dataset of the table.
        dataset: String,
        /// The partition columns.
        columns: String,
        /// The number of partitions.
        found: usize,
        /// The limit.
        limit: usize,
    },
    /// An entry of a table's log is missing, although later ones exist or existed.
    #[error(
        "the log of table {dataset} is incomplete: {entry} is missing. The table is neither read nor written until it is \
         restored from a backup or from the bucket's object versions (docs/recovery.md, \"A log with a gap\")"
    )]
    LogIncomplete {
        /// Dataset of the table.
        dataset: String,
        /// Path of the first missing entry.
        entry: String,
    },
    /// Log clean-up has removed what an earlier version needs.
    #[error(
        "table {dataset} cannot be read as it was then: the log entries of that version are removed. Name a later version or time \
         (`pinlake history` lists those that are left)"
    )]
    VersionRemoved {
        /// Dataset of the table.
        dataset: String,
    },
    /// A key file cannot be read, and its data file does not store the keys.
    #[error(
        "the keys of the rows of {path} are lost: its key file {keys} cannot be read, and its rows do not store them. Restore the \
         key file from a backup or from the bucket's object versions (docs/recovery.md, \"A key file that is lost\")"
    )]
    KeysLost {
        /// Path of the data file.
        path: String,
        /// Path of the key file.
        keys: String,
    },
    /// A file of the lake is invalid.
    #[error("{path} is damaged: {why}")]
    Damaged {
        /// Path of the file.
        path: String,
        /// The reason.
        why: String,
    },
    /// `delta_kernel` failed.
    #[error("table {dataset}: {source}")]
    Delta {
        /// Dataset of the table.
        dataset: String,
        /// The kernel's error.
        source: Box<delta_kernel::KernelError>,
    },
    /// Rows cannot be encoded.
    #[error("cannot encode rows of table {dataset}: {why}")]
    Encode {
        /// Dataset of the table.
        dataset: String,
        /// The reason.
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
        move |source| match source {
            delta_kernel::KernelError::Unsupported(why) => Self::UnsupportedTable {
                dataset: dataset.clone(),
                why,
                remedy: "Drop the feature with the program that added it",
            },
            source => Self::Delta { dataset: dataset.clone(), source: Box::new(source) },
        }
    }

    pub(crate) fn damaged<E: ToString>(path: &Path) -> impl Fn(E) -> Self + use<E> {
        let path = path.to_string();
        move |why| Self::Damaged { path: path.clone(), why: why.to_string() }
    }

    pub(crate) fn encode<E: ToString>(dataset: &str) -> impl Fn(E) -> Self + use<E> {
        let dataset = dataset.to_owned();
        move |why| Self::Encode { dataset: dataset.clone(), why: why.to_string() }
    }

    /// Whether the same call may succeed later without any change.
    pub fn is_retryable(&self) -> bool {
        match self {
            Self::Store { .. }
            | Self::CommitUnknown { .. }
            | Self::Contended { .. }
            | Self::KeysMissing { .. } => true,
            Self::Landing(error) => !error.is_permanent(),
            Self::IdentityChanged { .. }
            | Self::Foreign { .. }
            | Self::SchemaChanged { .. }
            | Self::RebuildRefused { .. }
            | Self::UnsupportedTable { .. }
            | Self::TooManyPartitions { .. }
            | Self::LogIncomplete { .. }
            | Self::VersionRemoved { .. }
            | Self::KeysLost { .. }
            | Self::Damaged { .. }
            | Self::Delta { .. }
            | Self::Encode { .. } => false,
        }
    }
}
