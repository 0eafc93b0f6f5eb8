//! The Delta tables of a lake, into which each row is inserted once, however often it is delivered.
//!
//! [`Lake::insert`] keeps a record in one place, its table or quarantine, whichever contracts evaluated it. Below it,
//! [`Table::insert`] inserts rows whose keys are absent: it drops the rows whose keys version N of the table has, and
//! commits the rest as version N+1 and no other. If another writer commits N+1 first, it checks again.
//! `docs/commit-protocol.md` has the rules and their reasons.
//!
//! Invariants:
//! - A log entry is put only if absent, so each version has one author. The author's attempt id is in `commitInfo`;
//!   after an ambiguous put, the log is read to find out whose version it is.
//! - A data file and its key file exist before the commit that names them. Neither is deleted after a failed commit,
//!   because the commit may still arrive.
//! - `read = inserted + superseded + duplicates + outdated + deleted` holds for every commit, and is recorded in its `commitInfo`.
//! - A record in a table is not left unresolved in quarantine: a writer checks the other place after its commit.
//! - Landing objects are removed only after the commit of their rows is known to be in the log.
//!
//! `delta_kernel` implements the Delta protocol: log replay, checkpoints, actions. It does no I/O here, but works on an
//! in-memory copy of the log (`docs/decisions/delta-library.md`).
//!
//! ```
//! use std::sync::Arc;
//! use object_store::memory::InMemory;
//! use pinlake_clean::{RecordOrigin, Position, RecordCleaner};
//! use pinlake_env::Env;
//! use pinlake_lake::Lake;
//! use pinlake_schema::Catalog;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let contract = r#"
//! name = "visit"
//! version = 1
//! description = "One row for each visit."
//! [route]
//! shape = ["visitor"]
//! [[column]]
//! name = "visitor"
//! type = "int64"
//! required = true
//! "#;
//! let files = [("visit.toml".to_owned(), contract.to_owned())];
//! let catalog = Arc::new(Catalog::from_files(files).map_err(|errors| errors.to_string())?);
//! let lake = Lake::new(Arc::new(InMemory::new()), Env::system());
//! let table = lake.table(catalog.contract("visit").ok_or("no contract")?);
//!
//! let mut cleaner = RecordCleaner::new(catalog.clone(), "2022-10-19T12:00:00Z".parse().unwrap());
//! for line in [r#"{"visitor": 7}"#, r#"{"visitor": 8}"#, r#"{"visitor": 7}"#] {
//!     let origin = RecordOrigin { source: "example", position: Position::Line(1), record_id: None };
//!     cleaner.push(line.as_bytes(), None, &origin);
//! }
//! let rows = cleaner.drain().remove(0).rows;
//! let first = lake.insert(&catalog, table.contract(), &[rows.clone()]).await.map_err(|error| error.to_string())?;
//! assert_eq!((first.read, first.inserted, first.duplicates), (3, 2, 1));
//! let again = lake.insert(&catalog, table.contract(), &[rows]).await.map_err(|error| error.to_string())?;
//! assert_eq!((again.read, again.inserted, again.duplicates), (3, 0, 3));
//! # Ok::<(), String>(()) }).unwrap();
//! ```

mod clustering;
mod commit;
mod compact;
mod data_file;
mod error;
mod evaluation;
mod history;
mod int96;
mod key_list;
mod keys;
mod lake;
mod log;
mod maintenance;
mod partition;
mod partition_values;
mod quarantine;
mod quarantine_reader;
mod rebuild;
mod reconcile;
mod redrive;
mod statistics;
mod table;
mod tables;
#[cfg(test)]
mod tests;

pub use compact::{CompactionLimits, CompactionSummary};
pub use error::LakeError;
pub use history::Commit;
pub use keys::Key;
pub use lake::Lake;
pub use maintenance::MaintenancePolicy;
pub use partition_values::PartitionValues;
pub use quarantine_reader::{MAX_SHOWN_BYTES, QuarantineCounts, QuarantineGroup, QuarantinedRecord};
pub use rebuild::RebuildSummary;
pub use redrive::RedriveSummary;
pub use table::insert::InsertSummary;
pub use table::{AsOf, PinnedFile, PinnedTable, TABLES, Table};
