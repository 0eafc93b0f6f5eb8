//! Reconciliation: a record in its table is not unresolved in quarantine, and no record is in quarantine twice.
//!
//! Different contracts may evaluate the same record: it is delivered again after a deployment, sent again after a
//! contract was fixed, cleaned again from its raw bytes, or landed under one catalog and delivered again under another.
//! If one contract accepts it and another does not, it would be in its table *and* in quarantine; or it is quarantined
//! under two keys. So an insert checks the other place **after** its own commit, and before its landing objects are
//! removed. It evaluates under every catalog that ever evaluated records of this lake
//! ([`pinlake_landing::catalog_history`]):
//!
//! - after any rows: if a catalog gives an unresolved record of quarantine a key that was just inserted, it is marked
//!   as resolved;
//! - after quarantine rows: if a catalog gives one of them a key that exists somewhere, it is marked as resolved.
//!
//! Of two writers, the one that checks later sees both commits, whatever their order. A writer that is killed in
//! between leaves its landing objects, and its work is repeated.
//!
//! Datasets that keep the latest record of an identity are left out: an existing key does not show that a certain record was applied. Applying a
//! record again is harmless there, so a redrive inserts what is in quarantine and then resolves it.
//!
//! The [evaluation](crate::evaluation) of a data file of quarantine is cached for each catalog. So an insert evaluates
//! its own rows, and quarantined records only if their evaluation is not cached.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use arrow::array::{Array, RecordBatch};
use pinlake_clean::RecordCleaner;
use pinlake_schema::{Catalog, Contract, KEY_COLUMN, QUARANTINE};

use crate::data_file::DataFile;
use crate::error::LakeError;
use crate::evaluation::{EVALUATION_VERSION, Evaluation, Placement};
use crate::keys::{self, Key, key_at};
use crate::quarantine::{self, QuarantineColumns, mark_resolved};
use crate::table::Table;
use crate::table::insert::InsertSummary;
use crate::tables::Tables;

/// Inserts rows and reconciles quarantine: see [`Lake::insert`](crate::Lake::insert).
///
/// # Errors
/// See [`LakeError`].
pub(crate) async fn insert_and_reconcile(
    tables: &Tables,
    catalog: &Arc<Catalog>,
    contract: &Arc<Contract>,
    batches: &[RecordBatch],
) -> Result<InsertSummary, LakeError> {
    if batches.iter().all(|batch| batch.num_rows() == 0) {
        return tables.get(contract).insert(batches).await;
    }
    tables.catalog_history.add(&*tables.store, catalog).await?;
    let inserted = tables.get(contract).insert(batches).await?;
    let quarantined = tables.get(catalog.quarantine()).data_files().await?;
    if quarantined.is_empty() {
        return Ok(inserted);
    }
    // Rows may have landed under another catalog than the current one.
    let catalogs = tables.catalog_history.load_all(&*tables.store).await?;
    let reconciler = Reconciler { tables, catalog, catalogs: &catalogs };
    let mut superseded = reconciler.find_superseded_by(contract, batches, quarantined).await?;
    if contract.name == QUARANTINE {
        superseded.extend(reconciler.find_placed_elsewhere(batches).await?);
    }
    reconciler.resolve(&superseded).await?;
    Ok(inserted)
}

/// Compares quarantine with the tables.
pub(crate) struct Reconciler<'a> {
    pub tables: &'a Tables,
    /// The current catalog.
    pub catalog: &'a Arc<Catalog>,
    /// The catalogs of the history, the current one among them.
    pub catalogs: &'a [Arc<Catalog>],
}

/// As [`Placement`], with the contract there.
struct Candidate {
    contract: Arc<Contract>,
    key: Key,
    former_key: Option<Key>,
    quarantined: Key,
}

impl Reconciler<'_> {
    /// Resolves those quarantine rows that a catalog would place where they exist. Returns their keys.
    ///
    /// # Errors
    /// See [`LakeError`].
    pub(crate) async fn resolve_placed_elsewhere(
        &self,
        batches: &[RecordBatch],
    ) -> Result<BTreeSet<Key>, LakeError> {
        let placed = self.find_placed_elsewhere(batches).await?;
        self.resolve(&placed).await?;
        Ok(placed)
    }

    /// Whether the table of a dataset keeps the latest of the records with one key. There, an existing key does not show that a certain record was
    /// applied, so only a redrive resolves such records, by inserting them.
    fn keeps_latest(&self, dataset: &str) -> bool {
        self.catalog.contract(dataset).is_some_and(|contract| contract.keep.is_some())
    }

    /// Marks records as resolved in quarantine.
    pub(crate) async fn resolve(&self, keys: &BTreeSet<Key>) -> Result<u64, LakeError> {
        let now = self.tables.clock().now().timestamp_micros();
        let quarantine = self.tables.get(self.catalog.quarantine());
        quarantine.update(keys, move |batch, selected| mark_resolved(batch, selected, now)).await
    }

    /// Finds the unresolved records in `quarantined`, the data files of quarantine, that a catalog would place under
    /// the key of one of the rows in `batches`.
    async fn find_superseded_by(
        &self,
        contract: &Contract,
        batches: &[RecordBatch],
        quarantined: Vec<DataFile>,
    ) -> Result<BTreeSet<Key>, LakeError> {
        if self.keeps_latest(&contract.name) {
            return Ok(BTreeSet::new());
        }
        let quarantine = self.tables.get(self.catalog.quarantine());
        let mut by_key: HashMap<Key, Vec<Key>> = HashMap::new();
        for file in &quarantined {
            let evaluation = self.evaluate_file(&quarantine, file).await?;
            let has_same_keys = |placement: &&Placement| {
                placement.dataset == contract.name && placement.identity == contract.identity_hash()
            };
            for placement in evaluation.elsewhere.iter().filter(has_same_keys) {
                by_key.entry(placement.key).or_default().push(placement.quarantined);
            }
        }
        self.tables.evaluations.retain(&quarantined);
        let mut found = BTreeSet::new();
        if by_key.is_empty() {
            return Ok(found);
        }
        for batch in batches {
            let keys = keys::keys_in_column(batch, KEY_COLUMN).map_err(LakeError::encode(&contract.name))?;
            for row in 0..keys.len() {
                found.extend(by_key.get(&key_at(keys, row)).into_iter().flatten());
            }
        }
        Ok(found)
    }

    /// The evaluation of a data file of quarantine under all catalogs. Computes and stores what is not cached.
    async fn evaluate_file(&self, quarantine: &Table, file: &DataFile) -> Result<Arc<Evaluation>, LakeError> {
        let is_complete = |evaluation: &Evaluation| {
            self.catalogs.iter().all(|catalog| evaluation.catalogs.contains(catalog.hash()))
        };
        let evaluations = &self.tables.evaluations;
        let path = keys::evaluation_path(quarantine.root(), &file.path);
        let cached = match evaluations.get(&file.path) {
            Some(cached) => cached,
            None => Arc::new(Evaluation::read(&*self.tables.store, &path).await?),
        };
        if is_complete(&cached) {
            evaluations.insert(&file.path, &cached);
            return Ok(cached);
        }
        let batches = quarantine.read_file(file).await?;
        let mut evaluation = Evaluation { version: EVALUATION_VERSION, ..Evaluation::clone(&cached) };
        for catalog in self.catalogs {
            if !evaluation.catalogs.insert(catalog.hash().to_owned()) {
                continue;
            }
            let candidates = self.list_candidates(catalog, &batches)?;
            evaluation.elsewhere.extend(candidates.into_iter().map(|candidate| Placement {
                dataset: candidate.contract.name.clone(),
                identity: candidate.contract.identity_hash().to_owned(),
                key: candidate.key,
                quarantined: candidate.quarantined,
            }));
        }
        evaluation.elsewhere.sort();
        evaluation.elsewhere.dedup();
        let evaluation = Arc::new(evaluation);
        evaluation.write(&*self.tables.store, &path).await?;
        evaluations.insert(&file.path, &evaluation);
        Ok(evaluation)
    }

    /// The keys of those quarantine rows that a catalog would place where they exist.
    async fn find_placed_elsewhere(&self, batches: &[RecordBatch]) -> Result<BTreeSet<Key>, LakeError> {
        // Keys of two identities are not comparable, so each is looked up under the rules that produced it.
        let mut places: BTreeMap<(String, String), BTreeMap<Key, Vec<Candidate>>> = BTreeMap::new();
        for catalog in self.catalogs {
            for candidate in self.list_candidates(catalog, batches)? {
                let contract = &candidate.contract;
                let place = (contract.name.clone(), contract.identity_hash().to_owned());
                places.entry(place).or_default().entry(candidate.key).or_default().push(candidate);
            }
        }
        let mut found = BTreeSet::new();
        for by_key in places.into_values() {
            let Some(first) = by_key.values().flatten().next() else { continue };
            // The table of the current contract stays open; that of another contract is opened for this lookup only.
            let current = self.catalog.contract(&first.contract.name);
            let current = current.filter(|own| own.identity_hash() == first.contract.identity_hash());
            let table = match current {
                Some(current) => self.tables.get(current),
                None => Arc::new(self.tables.open_once(&first.contract)),
            };
            let keys: Vec<Key> = by_key.keys().copied().collect();
            let former: Option<Vec<Key>> =
                by_key.values().map(|candidates| candidates.first()?.former_key).collect();
            let present = table.contains(&keys, former.as_deref()).await?;
            let existing = by_key.values().zip(present).filter(|(_, present)| *present);
            found.extend(
                existing.flat_map(|(candidates, _)| candidates).map(|candidate| candidate.quarantined),
            );
        }
        Ok(found)
    }

    /// The unresolved quarantine rows that yield to their resulting row under `catalog`.
    fn list_candidates(
        &self,
        catalog: &Arc<Catalog>,
        batches: &[RecordBatch],
    ) -> Result<Vec<Candidate>, LakeError> {
        let mut candidates = Vec::new();
        let mut cleaner = RecordCleaner::new(catalog.clone(), self.tables.clock().now());
        for batch in batches {
            // A document with records inside is not a record. A redrive resolves it.
            let is_record = |columns: &QuarantineColumns<'_>, row| !columns.has_records_inside(row, catalog);
            let records = quarantine::evaluate_unresolved(catalog, batch, &mut cleaner, is_record)?;
            let yielding = records
                .into_iter()
                .filter(|record| record.yields() && !self.keeps_latest(&record.contract.name));
            candidates.extend(yielding.map(|record| Candidate {
                contract: record.contract,
                key: record.key,
                former_key: record.former_key,
                quarantined: record.quarantined,
            }));
            // Only the keys are needed.
            cleaner.drain();
        }
        Ok(candidates)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lake;
    use crate::quarantine::RESOLVED_AT;
    use crate::tests::support::{env, visits, without_visits};
    use object_store::ObjectStore;
    use object_store::memory::InMemory;
    use pinlake_clean::{Position, RecordOrigin};

    fn lake(store: &Arc<dyn ObjectStore>, seed: u64) -> Lake {
        Lake::new(store.clone(), env(seed))
    }

    /// Delivers a record once, through a compactor of its own.
    async fn deliver(store: &Arc<dyn ObjectStore>, catalog: &Arc<Catalog>, record: &str) {
        deliver_from(store, catalog, record, Some("visit"), "test").await;
    }

    async fn deliver_from(
        store: &Arc<dyn ObjectStore>,
        catalog: &Arc<Catalog>,
        record: &str,
        hint: Option<&str>,
        source: &str,
    ) {
        let mut cleaner = RecordCleaner::new(catalog.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
        let origin = RecordOrigin { source, position: Position::Line(1), record_id: None };
        cleaner.push(record.as_bytes(), hint, &origin);
        for cleaned in cleaner.drain() {
            lake(store, 7).insert(catalog, &cleaned.contract, &[cleaned.rows]).await.unwrap();
        }
    }

    /// Rows of the table, unresolved and resolved rows of quarantine.
    async fn places(store: &Arc<dyn ObjectStore>, catalog: &Arc<Catalog>) -> (usize, usize, usize) {
        let lake = lake(store, 8);
        let (mut rows, mut unresolved, mut resolved) = (0, 0, 0);
        let visit = lake.table(catalog.contract("visit").unwrap());
        for file in visit.data_files().await.unwrap() {
            rows += visit.read_file(&file).await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>();
        }
        let quarantine = lake.table(catalog.quarantine());
        for file in quarantine.data_files().await.unwrap() {
            for batch in quarantine.read_file(&file).await.unwrap() {
                let open = batch.column_by_name(RESOLVED_AT).unwrap().null_count();
                unresolved += open;
                resolved += batch.num_rows() - open;
            }
        }
        (rows, unresolved, resolved)
    }

    const RECORD: &str = r#"{"visitor": 1, "page": "home"}"#;

    #[tokio::test]
    async fn a_record_that_is_accepted_later_is_resolved_in_quarantine() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (strict, lenient) = (visits(""), visits("null = [\"home\"]"));
        deliver(&store, &strict, RECORD).await;
        assert_eq!(places(&store, &strict).await, (0, 1, 0));
        deliver(&store, &lenient, RECORD).await;
        assert_eq!(places(&store, &lenient).await, (1, 0, 1));
        deliver(&store, &strict, RECORD).await;
        assert_eq!(places(&store, &strict).await, (1, 0, 1), "a late copy is dropped");
    }

    #[tokio::test]
    async fn a_record_that_was_accepted_before_is_resolved_in_quarantine() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (strict, lenient) = (visits(""), visits("null = [\"home\"]"));
        deliver(&store, &lenient, RECORD).await;
        deliver(&store, &strict, RECORD).await;
        assert_eq!(places(&store, &strict).await, (1, 0, 1));
        // Another record that breaks the contract stays unresolved.
        deliver(&store, &strict, r#"{"visitor": 2, "page": "home"}"#).await;
        assert_eq!(places(&store, &strict).await, (1, 1, 1));
    }

    #[tokio::test]
    async fn a_record_without_a_contract_yet_is_quarantined_once() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (strict, lenient) = (visits(""), visits("null = [\"home\"]"));
        // Without a contract, the record itself is part of its key. Of the two rows, one yields to the other.
        for (catalog, resolved) in [(&without_visits(), 0), (&strict, 1), (&without_visits(), 1)] {
            deliver(&store, catalog, RECORD).await;
            assert_eq!(places(&store, &strict).await, (0, 1, resolved));
        }
        let redriven = lake(&store, 3).redrive(&lenient, None).await.unwrap();
        assert_eq!((redriven.read, redriven.inserted, redriven.left), (1, 1, 0));
        for catalog in [&without_visits(), &strict, &lenient] {
            deliver(&store, catalog, RECORD).await;
            assert_eq!(places(&store, &strict).await, (1, 0, 2), "late copies are dropped");
        }
    }

    #[tokio::test]
    async fn a_record_of_an_unnamed_dataset_is_quarantined_once() {
        let (strict, lenient) = (visits(""), visits("null = [\"home\"]"));
        for catalogs in [[&without_visits(), &strict], [&strict, &without_visits()]] {
            let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            for catalog in catalogs {
                deliver_from(&store, catalog, RECORD, None, "test").await;
            }
            assert_eq!(places(&store, &strict).await, (0, 1, 1), "quarantined under its dataset");
            let redriven = lake(&store, 3).redrive(&lenient, None).await.unwrap();
            assert_eq!((redriven.read, redriven.inserted, redriven.left), (1, 1, 0));
            for catalog in [&without_visits(), &strict, &lenient] {
                deliver_from(&store, catalog, RECORD, None, "test").await;
                assert_eq!(places(&store, &strict).await, (1, 0, 2), "late copies are dropped");
            }
        }
    }

    #[tokio::test]
    async fn a_record_whose_source_gets_a_dataset_is_quarantined_once() {
        // The record lacks the fields of a shape, so only the name of the source decides.
        let record = "{\"page\": \"home\"}";
        let strict = visits("");
        for source in ["file/in/visit-1.json", "kinesis/old-visit/shardId-0", "kafka/0a1b.visit/3"] {
            let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            deliver_from(&store, &without_visits(), record, None, source).await;
            assert_eq!(places(&store, &strict).await, (0, 1, 0));
            deliver_from(&store, &strict, record, Some("visit"), source).await;
            assert_eq!(places(&store, &strict).await, (0, 1, 1), "{source}");
        }
    }

    #[tokio::test]
    async fn records_without_a_dataset_are_resolved_once_a_dataset_accepts_them() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let before = without_visits();
        let mut cleaner = RecordCleaner::new(before.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
        let origin = RecordOrigin { source: "test", position: Position::Line(1), record_id: None };
        cleaner.push(br#"{"visitor": 1, "page": 2}"#, None, &origin);
        for cleaned in cleaner.drain() {
            lake(&store, 1).insert(&before, &cleaned.contract, &[cleaned.rows]).await.unwrap();
        }
        let after = visits("");
        assert_eq!(places(&store, &after).await, (0, 1, 0));
        deliver(&store, &after, r#"{"visitor": 1, "page": 2}"#).await;
        assert_eq!(places(&store, &after).await, (1, 0, 1));
    }
}
