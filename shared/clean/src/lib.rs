//! Cleaning: bytes and contracts in, Arrow batches of clean rows and of rejects out. Pure: no I/O but reading the
//! files that [`record_reader`] is given, no clock, no randomness.
//!
//! [`RecordCleaner`] takes records one by one, whatever dataset they belong to, and hands out one batch a dataset; a
//! record that breaks its contract becomes a row of the quarantine dataset, with its bytes. [`record_reader`] cuts files
//! into records.
//!
//! Invariants:
//! - every record pushed is in exactly one batch, as one row, clean or quarantined; cleaning never fails;
//! - a row's key (`docs/keys.md`) depends on the row and its contract's identity, never on when or where it came;
//! - the names of columns come from contracts, except those of the quarantine dataset, which are filled by name.
//!
//! ```
//! use std::sync::Arc;
//! use pinlake_clean::{RecordCleaner, Origin, Position};
//! use pinlake_schema::Catalog;
//!
//! let catalog = Arc::new(Catalog::embedded().map_err(|errors| errors.to_string())?);
//! let mut intake = RecordCleaner::new(catalog, chrono::DateTime::UNIX_EPOCH);
//! let origin = Origin { source: "file/pin.ndjson", position: Position::Line(1), record_id: None };
//! intake.push(br#"{"index": 7528, "unique_id": "fbe5", "follower_count": "124k"}"#, None, &origin);
//! intake.push(b"{\"index\": 75", Some("pin"), &origin);
//!
//! let cleaned = intake.drain();
//! assert_eq!((cleaned[0].contract.name.as_str(), cleaned[0].read), ("pin", 1));
//! assert_eq!((cleaned[1].contract.name.as_str(), cleaned[1].read), ("quarantine", 1));
//! # Ok::<(), String>(())
//! ```

mod batch;
mod blake3_lanes;
mod cell;
mod compiled_contract;
mod decimal;
mod fast_path;
mod fields;
mod key;
mod reason;
mod record;
mod record_cleaner;
pub mod record_reader;
mod stored;
mod timestamp;

pub use reason::Reason;
pub use record_cleaner::{
    CleanedRows, Count, Disposition, MAX_RECORD_BYTES, Origin, Position, RecordCleaner,
};
pub use stored::{NoKeys, keys};
