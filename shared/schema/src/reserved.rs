//! Names that contracts cannot use for datasets and columns of their own, and the columns of quarantine.

use crate::data_type::Scalar;

/// The column with the key of a row. In landing batches it is 16 bytes and never null. Tables have it, nullable, only if the key cannot be
/// computed from their other columns ([`Contract::stores_keys`](crate::Contract::stores_keys)).
pub const KEY_COLUMN: &str = "_key";

/// The column with the key of the former epoch of `identity = "record"`
/// ([`Contract::former_identity_hash`](crate::Contract::former_identity_hash)). Only landing batches of such
/// datasets have it, and no table.
pub const FORMER_KEY_COLUMN: &str = "_key_1";

/// Before the identity hash of another contract of the dataset, the name of a column with the key that the record has under that contract; null
/// if it is no row there. Only landing batches have such columns, for the contracts of
/// [`select_contracts_with_own_keys`](crate::select_contracts_with_own_keys).
pub const OTHER_KEY_PREFIX: &str = "_key_of_";

/// Like [`OTHER_KEY_PREFIX`], of a column that says whether the row has a value that the row under the other contract does not have.
pub const HAS_MORE_PREFIX: &str = "_has_more_than_";

/// The column that says whether a record deletes its row. Only landing batches of datasets with such records have it
/// ([`Contract::has_deletes`](crate::Contract::has_deletes)), and no table.
pub const DELETED_COLUMN: &str = "_deleted";

/// The dataset of records that break their contract.
pub const QUARANTINE: &str = "quarantine";

/// The dataset of the pipeline's own test records. Every catalog has it, and it takes precedence over the routes of other datasets.
pub const CANARY: &str = "pinlake_canary";

/// The columns of [`QUARANTINE`] and their types. The cleaner fills them by name.
pub const QUARANTINE_COLUMNS: [(&str, Scalar); 10] = [
    ("dataset", Scalar::String),
    ("raw", Scalar::Binary),
    ("reason", Scalar::String),
    ("detail", Scalar::String),
    ("source", Scalar::String),
    ("position", Scalar::String),
    ("record", Scalar::String),
    ("contract", Scalar::String),
    ("arrived_at", Scalar::Timestamp),
    ("resolved_at", Scalar::Timestamp),
];
