//! The lake's tables: Delta tables into which a row goes once, however often it is sent.
//!
//! [`Lake::insert`] keeps a record in one place, its table or quarantine, whatever contracts judged it; below it,
//! [`Table::insert`] is insert-if-absent: it drops the rows whose keys the table's version N has, and commits the
//! rest as version N+1 and no other. Losing N+1 to another writer means looking again. `docs/commit-protocol.md`
//! has the rules and why each is there.
//!
//! Invariants:
//! - A commit is put with "only if absent", so each version has one author; the author's attempt id stands in
//!   `commitInfo`, and after any doubtful answer the log itself is asked whose version it is.
//! - A data file and its key file are whole before the commit that names them; neither is deleted after a commit
//!   that failed, because the commit may still arrive.
//! - `read = inserted + duplicates` holds for every commit and stands in its `commitInfo`.
//! - What is in a table is not left unresolved in quarantine: a writer looks at the other place after its commit.
//! - Landing objects are removed only after the commit that holds their rows is known to be in the log.
//!
//! The Delta protocol's own rules (log replay, checkpoints, actions) come from `delta_kernel`, which here never
//! touches the network: it works on a copy of the log in memory (`docs/decisions/delta-library.md`).
//!
//! ```
//! use std::sync::Arc;
//! use object_store::memory::InMemory;
//! use pinlake_clean::{Position, RecordCleaner, RecordOrigin};
//! use pinlake_env::{Rng, Env, SystemClock};
//! use pinlake_lake::Lake;
//! use pinlake_schema::Catalog;
//!
//! # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
//! let contract = r#"
//! name = "visit"
//! version = 1
//! description = "One row a visit."
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
//! let mut intake = RecordCleaner::new(catalog.clone(), "2022-10-19T12:00:00Z".parse().unwrap());
//! for line in [r#"{"visitor": 7}"#, r#"{"visitor": 8}"#, r#"{"visitor": 7}"#] {
//!     intake.push(line.as_bytes(), None, &RecordOrigin { source: "example", position: Position::Line(1), record_id: None });
//! }
//! let rows = intake.drain().remove(0).rows;
//! let first = lake.insert(&catalog, table.contract(), &[rows.clone()]).await.map_err(|error| error.to_string())?;
//! assert_eq!((first.read, first.inserted, first.duplicates), (3, 2, 1));
//! let again = lake.insert(&catalog, table.contract(), &[rows]).await.map_err(|error| error.to_string())?;
//! assert_eq!((again.read, again.inserted, again.duplicates), (3, 0, 3));
//! # Ok::<(), String>(()) }).unwrap();
//! ```

mod commit;
pub mod compact;
mod data_file;
pub mod error;
mod keys;
mod log;
#[cfg(test)]
mod other_actors;
mod quarantine;
mod reconcile;
pub mod redrive;
mod statistics;
pub mod table;
#[cfg(test)]
mod testing;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use keys::KeyBudget;
use object_store::ObjectStore;
use pinlake_env::{Clock, Env, Rng};
use pinlake_landing::catalog_history::CatalogHistory;
use pinlake_schema::Contract;

use reconcile::Evaluations;

pub use compact::{Budget, CompactionSummary};
pub use error::LakeError;
pub use keys::Key;
pub use redrive::RedriveSummary;
pub use table::{InsertSummary, PinnedFile, PinnedTable, Table};

/// What is kept of the tables' keys, unless somebody says otherwise: 40 MiB are the indexes of twelve million rows.
const KEY_BYTES: usize = 40 << 20;

/// When a table is tidied up, which makes reading quicker and nothing else.
#[derive(Debug, Clone, Copy)]
pub struct MaintenancePolicy {
    /// A checkpoint is made every so many versions.
    pub checkpoint_every: u64,
    /// From so many small data files on they are merged, up to half as many again.
    pub enough_files: usize,
}

impl Default for MaintenancePolicy {
    fn default() -> Self {
        Self { checkpoint_every: 50, enough_files: 32 }
    }
}

/// A lake: a store, rooted at the lake's own prefix, and the tables in it.
#[derive(Debug)]
pub struct Lake {
    store: Arc<dyn ObjectStore>,
    effects: Env,
    /// Tables that were opened, so that a warm function keeps what it knows of them.
    tables: Mutex<BTreeMap<String, Arc<Table>>>,
    /// For what is kept of their keys.
    room: KeyBudget,
    maintenance: MaintenancePolicy,
    catalog_history: CatalogHistory,
    evaluations: Evaluations,
}

impl Lake {
    /// The lake in `store`.
    pub fn new(store: Arc<dyn ObjectStore>, effects: Env) -> Self {
        Self {
            store,
            effects,
            tables: Mutex::default(),
            room: KeyBudget::of(KEY_BYTES),
            maintenance: MaintenancePolicy::default(),
            catalog_history: CatalogHistory::default(),
            evaluations: Evaluations::default(),
        }
    }

    /// The same lake, which keeps at most so many bytes of its tables' keys in memory: 3.25 a row, and what does not fit is
    /// read again for each commit.
    pub fn with_key_bytes(self, most: usize) -> Self {
        Self { room: KeyBudget::of(most), ..self }
    }

    /// The same lake, whose tables are tidied up at other times.
    pub fn with_maintenance(self, maintenance: MaintenancePolicy) -> Self {
        Self { maintenance, ..self }
    }

    pub(crate) fn maintenance(&self) -> MaintenancePolicy {
        self.maintenance
    }

    /// The store, rooted at the lake.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.effects.clock
    }

    pub(crate) fn rng(&self) -> &Rng {
        &self.effects.rng
    }

    /// The contracts that records of this lake were judged by.
    pub fn catalog_history(&self) -> &CatalogHistory {
        &self.catalog_history
    }

    pub(crate) fn evaluations(&self) -> &Evaluations {
        &self.evaluations
    }

    /// The table of `contract`'s dataset. Nothing is read or made yet.
    pub fn table(&self, contract: &Arc<Contract>) -> Arc<Table> {
        let mut tables = self.tables.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(table) = tables.get(&contract.name)
            && table.contract().hash() == contract.hash()
        {
            return table.clone();
        }
        let table = Arc::new(self.open(contract));
        tables.insert(contract.name.clone(), table.clone());
        table
    }

    fn open(&self, contract: &Arc<Contract>) -> Table {
        Table::new(
            self.store.clone(),
            self.effects.clone(),
            contract.clone(),
            self.room.clone(),
            self.maintenance,
        )
    }
}
