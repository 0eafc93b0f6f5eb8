//! Data contracts: what each dataset's records look like, how they are cleaned, and which records are its own.
//!
//! A dataset is one TOML file (`docs/contracts.md` teaches the language). This crate reads the files, refuses
//! them with every mistake at once, and hands out [`Contract`]s as plain data: it cleans nothing and does no I/O
//! but reading a folder of contracts. Every other crate may use it; no Rust code names a dataset's column, except
//! that the cleaner fills the columns of [`QUARANTINE`] by name.
//!
//! Invariants: within a [`Catalog`] no two contracts claim the same topic, stream, partition key, file name or
//! shape; column names are unique within a contract; [`Contract::hash`] and [`Contract::identity_hash`] depend on
//! what a contract means and not on how its file is written.
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

mod catalog;
mod contract;
mod fingerprint;
mod mistake;
mod pattern;
mod reader;
pub mod stream_key;
mod timestamp;

pub use catalog::{Catalog, StreamRoute};
pub use contract::{Column, Contract, FieldNames, Identity, MisroutedPolicy, Route, Scalar, Source, Type};
pub use mistake::{ContractError, ContractErrors};
pub use timestamp::{TimeFormat, TimePart};

/// The column that carries a row's key. In landing batches it is 16 bytes and never null; tables have it, nullable, where
/// their columns do not tell the key ([`Contract::stores_keys`]).
pub const KEY_COLUMN: &str = "_key";

/// The column of landing batches that carries the key of the first form of `identity = "record"`
/// ([`Contract::former_identity_hash`]). Only the landing batches of such a dataset have it, and no table.
pub const FORMER_KEY_COLUMN: &str = "_key_1";

/// The dataset of records that broke a contract.
pub const QUARANTINE: &str = "quarantine";

/// Columns of [`QUARANTINE`], which the cleaner fills by name, with their types.
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
