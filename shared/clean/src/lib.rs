//! Cleans records: bytes and contracts in, Arrow batches of clean rows and of quarantined records out.
//!
//! [`RecordCleaner`] takes records of any dataset and returns one batch per dataset. A record that breaks its contract becomes a row of
//! the quarantine dataset, with its bytes and a [`Reason`]. [`record_reader`] splits files into records. The crate is pure: it reads no
//! clock, uses no randomness, and does no I/O other than reading the files that it is given.
//!
//! Invariants:
//! - every record that is pushed becomes exactly one row, clean or quarantined; cleaning never fails;
//! - the key of a row (`docs/keys.md`) depends on the row and the identity in its contract, never on when or where the record arrived;
//! - the names of columns come from contracts, except those of the quarantine dataset.
//!
//! ```
//! use std::sync::Arc;
//! use pinlake_clean::{Position, RecordCleaner, RecordOrigin};
//! use pinlake_schema::Catalog;
//!
//! let catalog = Arc::new(Catalog::embedded().map_err(|errors| errors.to_string())?);
//! let mut cleaner = RecordCleaner::new(catalog, chrono::DateTime::UNIX_EPOCH);
//! let origin = RecordOrigin { source: "file/pin.ndjson", position: Position::Line(1), record_id: None };
//! cleaner.push(br#"{"index": 7528, "unique_id": "fbe5", "follower_count": "124k"}"#, None, &origin);
//! cleaner.push(b"{\"index\": 75", Some("pin"), &origin);
//!
//! let cleaned = cleaner.drain();
//! assert_eq!((cleaned[0].contract.name.as_str(), cleaned[0].read), ("pin", 1));
//! assert_eq!((cleaned[1].contract.name.as_str(), cleaned[1].read), ("quarantine", 1));
//! # Ok::<(), String>(())
//! ```
//!
//! `examples/clean_a_file.rs` cleans a file and prints its rows.

mod batch_builder;
mod canonical_json;
mod column_builder;
mod column_cleaner;
mod compiled_contract;
mod derived;
mod field_table;
mod json_object;
mod key;
mod localized_number;
mod nested_fields;
mod nested_records;
mod other_contracts;
mod parsed_record;
mod reason;
mod record_cleaner;
mod record_origin;
mod record_parser;
pub mod record_reader;
mod refused_value;
mod row;
mod row_keys;
mod stored_values;
mod timestamp;
mod typed_fields;

pub use canonical_json::canonicalize_json;
pub use derived::derive_values;
pub use nested_records::find_nested_records;
pub use parsed_record::MAX_RECORD_BYTES;
pub use reason::{Reason, RecordError};
pub use record_cleaner::{CleanedRows, Disposition, RecordCleaner, RecordCounts};
pub use record_origin::{Position, RecordOrigin};
pub use row_keys::{RowKeysError, row_keys};
pub use stored_values::clean_stored_values;
