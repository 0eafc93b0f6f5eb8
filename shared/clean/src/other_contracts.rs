//! The keys that records have under other contracts of their dataset, by which a table knows rows from before or after a change of rules.
//!
//! A record is cleaned under the catalog of each such contract as a whole, so that it has the key with which it was inserted then.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use pinlake_schema::{Catalog, Contract, select_contracts_with_own_keys};

use crate::key::KEY_BYTES;
use crate::record_cleaner::{Disposition, RecordCleaner};
use crate::record_origin::RecordOrigin;
use crate::row::{Cell, Row};

/// Rows of other contracts are dropped when they take this many bytes: only their keys are needed.
const MAX_BUFFERED_BYTES: usize = 1 << 20;

/// Cleans records under other contracts.
#[derive(Debug)]
pub(crate) struct OtherContracts {
    /// A cleaner for each catalog with one of the contracts.
    cleaners: Vec<(Arc<Catalog>, RecordCleaner)>,
    /// For each contract of the present catalog, the other ones of its dataset.
    by_dataset: Vec<Vec<OtherContract>>,
}

#[derive(Debug)]
struct OtherContract {
    /// Index in [`OtherContracts::cleaners`].
    cleaner: usize,
    contract: Arc<Contract>,
    /// Whether the present contract is the earlier one: a function that is not replaced yet, or a rollback.
    is_later: bool,
    /// For each column of the present contract, the column of that name.
    columns: Vec<Option<usize>>,
}

/// What becomes of a record under another contract.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct OtherKey {
    /// The key of its row; `None` if it is no row of the dataset.
    pub(crate) key: Option<[u8; KEY_BYTES]>,
    /// Whether the present row has a value that the other one does not have.
    pub(crate) has_more: bool,
}

impl OtherContracts {
    /// `None` if no contract of `catalog` has others among `catalogs`, which are in the order of their use.
    pub(crate) fn new(
        catalog: &Catalog,
        catalogs: &[Arc<Catalog>],
        arrived_at: DateTime<Utc>,
    ) -> Option<Self> {
        let mut others = Self { cleaners: Vec::new(), by_dataset: Vec::new() };
        for contract in catalog.contracts() {
            let selected = select_contracts_with_own_keys(contract, catalogs);
            let own = selected.into_iter().map(|(catalog, other)| OtherContract {
                cleaner: others.find_cleaner(catalog, arrived_at),
                contract: other.clone(),
                is_later: other.version > contract.version,
                columns: contract
                    .columns
                    .iter()
                    .map(|column| other.columns.iter().position(|own| own.name == column.name))
                    .collect(),
            });
            let own = own.collect();
            others.by_dataset.push(own);
        }
        (!others.cleaners.is_empty()).then_some(others)
    }

    fn find_cleaner(&mut self, catalog: &Arc<Catalog>, arrived_at: DateTime<Utc>) -> usize {
        let found = self.cleaners.iter().position(|(own, _)| Arc::ptr_eq(own, catalog));
        found.unwrap_or_else(|| {
            self.cleaners.push((catalog.clone(), RecordCleaner::new(catalog.clone(), arrived_at)));
            self.cleaners.len() - 1
        })
    }

    /// The identity hashes of the other contracts of a dataset.
    pub(crate) fn identity_hashes(&self, dataset: usize) -> Vec<&str> {
        let others = self.by_dataset.get(dataset).into_iter().flatten();
        others.map(|other| other.contract.identity_hash()).collect()
    }

    /// Cleans a record of a dataset, whose row is `row`, under its other contracts. The keys are in the order of [`Self::identity_hashes`].
    pub(crate) fn clean(
        &mut self,
        dataset: usize,
        row: &Row,
        record: &[u8],
        hint: Option<&str>,
        origin: &RecordOrigin<'_>,
    ) -> Vec<OtherKey> {
        let Some(others) = self.by_dataset.get(dataset) else { return Vec::new() };
        let cleaners = &mut self.cleaners;
        let clean = |other: &OtherContract| {
            let (_, cleaner) = &mut cleaners[other.cleaner];
            let disposition = cleaner.push(record, hint, origin);
            let own = cleaner.last_contract();
            let is_row = disposition == Disposition::Clean
                && own.name == other.contract.name
                && own.identity_hash() == other.contract.identity_hash();
            let found = OtherKey {
                key: cleaner.last_key().filter(|_| is_row),
                // Rows of a later contract stay.
                has_more: is_row && !other.is_later && has_more(row, cleaner.last_row(), &other.columns),
            };
            if cleaner.buffered_bytes() >= MAX_BUFFERED_BYTES {
                cleaner.drain();
            }
            found
        };
        others.iter().map(clean).collect()
    }
}

/// Whether a row has a value in a column that the other row does not have or that is null there. `columns` are the other row's, for each of the
/// row.
fn has_more(row: &Row, other: &Row, columns: &[Option<usize>]) -> bool {
    let is_null = |cell: Option<&Cell>| matches!(cell, None | Some(Cell::Null));
    let mut pairs = row.cells.iter().zip(columns);
    pairs.any(|(cell, column)| !is_null(Some(cell)) && is_null(column.and_then(|at| other.cells.get(at))))
}
