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
//! use pinlake_clean::{Intake, Origin, Position};
//! use pinlake_effects::{Chance, Effects, SystemClock};
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
//! let lake = Lake::new(Arc::new(InMemory::new()), Effects::system());
//! let table = lake.table(catalog.contract("visit").ok_or("no contract")?);
//!
//! let mut intake = Intake::new(catalog.clone(), "2022-10-19T12:00:00Z".parse().unwrap());
//! for line in [r#"{"visitor": 7}"#, r#"{"visitor": 8}"#, r#"{"visitor": 7}"#] {
//!     intake.push(line.as_bytes(), None, &Origin { source: "example", position: Position::Line(1), record_id: None });
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

use keys::KeyRoom;
use object_store::ObjectStore;
use pinlake_effects::{Chance, Clock, Effects};
use pinlake_landing::releases::Releases;
use pinlake_schema::Contract;

use reconcile::Evaluations;

pub use compact::{Budget, Compacted};
pub use error::LakeError;
pub use keys::Key;
pub use redrive::Redriven;
pub use table::{Inserted, PinnedFile, PinnedTable, Table};

/// What is kept of the tables' keys, unless somebody says otherwise: 40 MiB are the indexes of twelve million rows.
const KEY_BYTES: usize = 40 << 20;

/// When a table is tidied up, which makes reading quicker and nothing else.
#[derive(Debug, Clone, Copy)]
pub struct Upkeep {
    /// A checkpoint is made every so many versions.
    pub checkpoint_every: u64,
    /// From so many small data files on they are merged, up to half as many again.
    pub enough_files: usize,
}

impl Default for Upkeep {
    fn default() -> Self {
        Self { checkpoint_every: 50, enough_files: 32 }
    }
}

/// A lake: a store, rooted at the lake's own prefix, and the tables in it.
#[derive(Debug)]
pub struct Lake {
    store: Arc<dyn ObjectStore>,
    effects: Effects,
    /// Tables that were opened, so that a warm function keeps what it knows of them.
    tables: Mutex<BTreeMap<String, Arc<Table>>>,
    /// For what is kept of their keys.
    room: KeyRoom,
    upkeep: Upkeep,
    releases: Releases,
    evaluations: Evaluations,
}

impl Lake {
    /// The lake in `store`.
    pub fn new(store: Arc<dyn ObjectStore>, effects: Effects) -> Self {
        Self {
            store,
            effects,
            tables: Mutex::default(),
            room: KeyRoom::of(KEY_BYTES),
            upkeep: Upkeep::default(),
            releases: Releases::default(),
            evaluations: Evaluations::default(),
        }
    }

    /// The same lake, which keeps at most so many bytes of its tables' keys in memory: 3.25 a row, and what does not fit is
    /// read again for each commit.
    pub fn with_key_bytes(self, most: usize) -> Self {
        Self { room: KeyRoom::of(most), ..self }
    }

    /// The same lake, whose tables are tidied up at other times.
    pub fn with_upkeep(self, upkeep: Upkeep) -> Self {
        Self { upkeep, ..self }
    }

    pub(crate) fn upkeep(&self) -> Upkeep {
        self.upkeep
    }

    /// The store, rooted at the lake.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    pub(crate) fn clock(&self) -> &dyn Clock {
        &*self.effects.clock
    }

    pub(crate) fn chance(&self) -> &Chance {
        &self.effects.chance
    }

    /// The contracts that records of this lake were judged by.
    pub fn releases(&self) -> &Releases {
        &self.releases
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
        Table::new(self.store.clone(), self.effects.clone(), contract.clone(), self.room.clone(), self.upkeep)
    }
}
