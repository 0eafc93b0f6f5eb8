//! The keys that records have under other contracts of their dataset, by which a table knows rows from before or after a change of rules.
//!
//! A record is cleaned under each such contract alone: under the other datasets of that catalog it may have been ambiguous or another
//! dataset's, while its row was inserted under a catalog with the same contract.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use pinlake_schema::{Catalog, Contract, Identity, select_contracts_with_own_keys};

use crate::key::KEY_BYTES;
use crate::record_cleaner::{Disposition, RecordCleaner};
use crate::record_origin::RecordOrigin;
use crate::row::{Cell, Row};

/// Rows of other contracts are dropped when they take this many bytes: only their keys are needed.
const MAX_BUFFERED_BYTES: usize = 1 << 20;

/// Cleans records under other contracts.
#[derive(Debug)]
pub(crate) struct OtherContracts {
    /// For each contract of the present catalog, the other ones of its dataset.
    by_dataset: Vec<Vec<OtherContract>>,
}

#[derive(Debug)]
struct OtherContract {
    /// For records of this dataset alone.
    cleaner: RecordCleaner,
    contract: Arc<Contract>,
    /// Whether a row that has more values takes the place of its row of this contract. It does so under `identity = "row"`, and if this contract
    /// is not the later one: of a function that is not replaced yet, or after a rollback.
    is_replaced: bool,
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
        let list = |contract: &Arc<Contract>| {
            let selected = select_contracts_with_own_keys(contract, catalogs);
            let own = selected.into_iter().filter_map(|(catalog, other)| {
                let alone = Arc::new(catalog.with_only(&other.name)?);
                Some(OtherContract {
                    cleaner: RecordCleaner::new(alone, arrived_at),
                    contract: other.clone(),
                    is_replaced: contract.identity == Identity::Row && other.version <= contract.version,
                    columns: contract
                        .columns
                        .iter()
                        .map(|column| other.columns.iter().position(|own| own.name == column.name))
                        .collect(),
                })
            });
            own.collect::<Vec<_>>()
        };
        let by_dataset: Vec<_> = catalog.contracts().map(list).collect();
        by_dataset.iter().any(|others| !others.is_empty()).then_some(Self { by_dataset })
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
        origin: &RecordOrigin<'_>,
    ) -> Vec<OtherKey> {
        let Some(others) = self.by_dataset.get_mut(dataset) else { return Vec::new() };
        let clean = |other: &mut OtherContract| {
            let cleaner = &mut other.cleaner;
            let is_row = cleaner.push(record, Some(&other.contract.name), origin) == Disposition::Clean;
            let found = OtherKey {
                key: cleaner.last_key().filter(|_| is_row),
                has_more: is_row && other.is_replaced && has_more(row, cleaner.last_row(), &other.columns),
            };
            if cleaner.buffered_bytes() >= MAX_BUFFERED_BYTES {
                cleaner.drain();
            }
            found
        };
        others.iter_mut().map(clean).collect()
    }
}

/// Whether a row has a value in a column that the other row does not have or that is null there. `columns` are the other row's, for each of the
/// row.
fn has_more(row: &Row, other: &Row, columns: &[Option<usize>]) -> bool {
    let is_null = |cell: Option<&Cell>| matches!(cell, None | Some(Cell::Null));
    let mut pairs = row.cells.iter().zip(columns);
    pairs.any(|(cell, column)| !is_null(Some(cell)) && is_null(column.and_then(|at| other.cells.get(at))))
}

#[cfg(test)]
mod tests {
    use arrow::array::AsArray;
    use pinlake_schema::OTHER_KEY_PREFIX;

    use super::*;
    use crate::record_origin::Position;

    const ORIGIN: RecordOrigin<'_> =
        RecordOrigin { source: "test", position: Position::Line(1), record_id: None };

    fn catalog(rule: &str, others: &[(&str, &str)]) -> Arc<Catalog> {
        let draft = format!(
            "name = \"draft\"\nversion = 1\n[route]\nshape = [\"draft\"]\n[[column]]\nname = \"draft\"\ntype = \"string\"\n{rule}"
        );
        let other = |(name, field): &(&str, &str)| {
            let text = format!(
                "name = \"{name}\"\nversion = 1\n[route]\nshape = [\"{field}\"]\n[[column]]\nname = \"{field}\"\ntype = \"string\"\n"
            );
            (format!("{name}.toml"), text)
        };
        let files = others.iter().map(other).chain([("draft.toml".to_owned(), draft)]);
        Arc::new(Catalog::from_files(files).unwrap_or_else(|errors| panic!("{errors}")))
    }

    /// Between two contracts, one with a dataset of the same shape: the record was ambiguous then, and its row is from before.
    #[test]
    fn a_record_has_its_key_whatever_other_datasets_a_catalog_had() {
        let before = catalog("", &[]);
        let record = br#"{"draft":"a","sketch":"s"}"#;
        let mut cleaner = RecordCleaner::new(before.clone(), DateTime::UNIX_EPOCH);
        assert_eq!(cleaner.push(record, None, &ORIGIN), Disposition::Clean);
        let key = cleaner.last_key().unwrap();
        for others in [[("twin", "sketch")], [("aaa", "sketch")]] {
            let between = catalog("", &others);
            let mut cleaner = RecordCleaner::new(between.clone(), DateTime::UNIX_EPOCH);
            assert_eq!(cleaner.push(record, None, &ORIGIN), Disposition::Quarantined);
            let now = catalog("case = \"upper\"\n", &[]);
            let cleaner = RecordCleaner::new(now.clone(), DateTime::UNIX_EPOCH);
            let mut cleaner = cleaner.with_keys_of_others(&[before.clone(), between, now]);
            assert_eq!(cleaner.push(record, None, &ORIGIN), Disposition::Clean);
            assert_ne!(cleaner.last_key(), Some(key));
            let rows = &cleaner.drain()[0].rows;
            let hash = before.contract("draft").unwrap().identity_hash();
            let found = rows.column_by_name(&format!("{OTHER_KEY_PREFIX}{hash}")).unwrap();
            assert_eq!(found.as_fixed_size_binary().value(0), key, "{others:?}");
        }
    }
}
