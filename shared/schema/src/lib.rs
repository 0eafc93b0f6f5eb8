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
mod broken_contract;
mod catalog;
mod change;
mod column;
mod column_rules;
mod contract;
mod contract_error;
mod data_type;
pub mod decimal;
mod declaration;
pub mod field_name;
pub mod field_path;
mod fingerprint;
mod number_locale;
mod pattern;
mod reader;
pub mod records_path;
mod reserved;
mod salvaged;
pub mod stream_key;
mod timestamp;
mod webhook;

pub use chrono_tz::Tz;

pub use broken::ContractFile;
pub use broken_contract::BrokenContract;
pub use catalog::{Catalog, StreamRoute};
pub use change::{
    Change, ChangeClass, columns_added_to_keys, compare_contracts, select_contracts_with_own_keys,
};
pub use column::{Column, ColumnSource, Derivation, DerivedPart, FieldNames};
pub use column_rules::{Bound, Checks, DefaultValue, LetterCase};
pub use contract::Contract;
pub use contract_error::{ContractError, ContractErrors};
pub use data_type::{Scalar, Type};
pub use declaration::{FieldRule, FileFormat, Identity, KeepLatest, MisroutedPolicy, Route};
pub use number_locale::NumberLocale;
pub use reserved::{
    CANARY, DELETED_COLUMN, FORMER_KEY_COLUMN, HAS_MORE_PREFIX, KEY_COLUMN, OTHER_KEY_PREFIX, QUARANTINE,
    QUARANTINE_COLUMNS,
};
pub use timestamp::{TimeFormat, TimePart};
pub use webhook::{SecretName, SignatureScheme, Webhook};
