//! Data contracts: the columns of each dataset, the rules by which its records are cleaned, and the routes that select them.
//!
//! A contract is a TOML file; `docs/contracts.md` is the reference of the language. This crate parses contracts, reports all errors of all
//! files at once, and returns [`Contract`]s as plain data. It cleans nothing, and its only I/O is to read a folder of contracts. No Rust code
//! names a column of a dataset, except those of [`QUARANTINE`], which the cleaner fills.
//!
//! Invariants:
//! - within a [`Catalog`] no two contracts claim the same topic, stream, partition key, file name or shape;
//! - column names are unique within a contract;
//! - [`Contract::hash`] and [`Contract::identity_hash`] depend on what a contract means, not on how its file is written.
//!
//! ```
//! use pinlake_schema::Catalog;
//!
//! let catalog = Catalog::from_files([(
//!     "datasets/visit.toml".to_owned(),
//!     r#"
//!         name = "visit"
//!         version = 1
//!         description = "One row a visit."
//!
//!         [route]
//!         topics = ["*.visit"]
//!         shape = ["visitor", "page"]
//!
//!         [[column]]
//!         name = "visitor"
//!         type = "int64"
//!         required = true
//!     "#
//!     .to_owned(),
//! )])
//! .map_err(|errors| errors.to_string())?;
//! let contract = catalog.route_topic("europe.visit").ok_or("no route")?;
//! assert_eq!(contract.arrow_schema().field(0).name(), "visitor");
//! # Ok::<(), String>(())
//! ```

mod broken;
mod catalog;
mod change;
mod column_rules;
mod contract;
mod contract_error;
pub mod decimal;
pub mod field_name;
pub mod field_path;
mod fingerprint;
mod number_locale;
mod pattern;
mod reader;
pub mod records_path;
pub mod stream_key;
mod timestamp;
mod webhook;

pub use chrono_tz::Tz;

pub use broken::{BrokenContract, ContractFile};
pub use catalog::{Catalog, StreamRoute};
pub use change::{
    Change, ChangeClass, columns_added_to_keys, compare_contracts, select_contracts_with_own_keys,
};
pub use column_rules::{Bound, Checks, DefaultValue, LetterCase};
pub use contract::{
    Column, ColumnSource, Contract, Derivation, DerivedPart, FieldNames, FieldRule, FileFormat, Identity,
    KeepLatest, MisroutedPolicy, Route, Scalar, Type,
};
pub use contract_error::{ContractError, ContractErrors};
pub use number_locale::NumberLocale;
pub use timestamp::{TimeFormat, TimePart};
pub use webhook::{SecretName, SignatureScheme, Webhook};

/// The column with the key of a row. In landing batches it is 16 bytes and never null. Tables have it, nullable, only if the key cannot be
/// computed from their other columns ([`Contract::stores_keys`]).
pub const KEY_COLUMN: &str = "_key";

/// The column with the key of the former epoch of `identity = "record"` ([`Contract::former_identity_hash`]). Only landing batches of such
/// datasets have it, and no table.
pub const FORMER_KEY_COLUMN: &str = "_key_1";

/// Before the identity hash of another contract of the dataset, the name of a column with the key that the record has under that contract; null
/// if it is no row there. Only landing batches have such columns, for the contracts of [`select_contracts_with_own_keys`].
pub const OTHER_KEY_PREFIX: &str = "_key_of_";

/// Like [`OTHER_KEY_PREFIX`], of a column that says whether the row has a value that the row under the other contract does not have.
pub const HAS_MORE_PREFIX: &str = "_has_more_than_";

/// The column that says whether a record deletes its row. Only landing batches of datasets with such records have it
/// ([`Contract::has_deletes`]), and no table.
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
