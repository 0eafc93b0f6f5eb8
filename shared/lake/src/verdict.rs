//! One verdict a record: what is in its table is not left unresolved in quarantine, nor is it there twice.
//!
//! The same record may be judged twice under different contracts: delivered again after a deploy, sent again after a
//! contract was mended, cleaned again from its raw bytes. One contract may take it and the other not, and then it
//! would be in its table *and* in quarantine; or nothing told its dataset until a contract did, and then it would be
//! in quarantine under none *and* under one. So whoever inserts looks for the other place **after** its own commit,
//! and before anything is removed from landing. Judged again, an unresolved quarantined record has a key elsewhere:
//!
//! - after clean rows: would the present contracts give one of quarantine the key of one that was just offered?
//!   Then it is resolved. After quarantine rows: would any release?
//! - after quarantine rows: would any release of contracts that ever wrote to this lake ([`crate::releases`]) give
//!   one of them a key that is there? Then it is resolved.
//!
//! Of two writers the one that looks later sees both commits, so one of them resolves the record, whatever the order;
//! a writer that is killed in between leaves its landing objects, and its work is done again.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, RecordBatch};
use pinlake_clean::Intake;
use pinlake_schema::{Catalog, Contract, QUARANTINE};

use crate::Lake;
use crate::error::LakeError;
use crate::keys::{self, Key, key_at};
use crate::quarantine::{self, mark_resolved};
use crate::table::Inserted;

/// What the records of quarantine's files would be, kept while the function is warm: data files never change.
#[derive(Debug, Default)]
pub(crate) struct Verdicts(Mutex<HashMap<File, Arc<[Candidate]>>>);

/// A data file of quarantine, judged by a catalog.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
struct File {
    path: String,
    catalog: String,
}

/// An unresolved record that a catalog would put elsewhere.
#[derive(Debug, Clone, Copy)]
struct Candidate {
    /// Its key there: in its table, or in quarantine under a dataset.
    elsewhere: Key,
    /// Its key in quarantine.
    quarantined: Key,
}

impl Lake {
    /// Inserts rows that `contract` of `catalog` has judged: into its table, or into quarantine. `batches` have the
    /// contract's landing schema. What is thereby in both places is resolved in quarantine.
    ///
    /// # Errors
    /// See [`LakeError`]; after a retryable one, inserting the same rows again is safe, and needed: the rows may be
    /// in the table, and the other place not looked at yet.
    pub async fn insert(
        &self,
        catalog: &Arc<Catalog>,
        contract: &Arc<Contract>,
        batches: &[RecordBatch],
    ) -> Result<Inserted, LakeError> {
        if batches.iter().all(|batch| batch.num_rows() == 0) {
            return self.table(contract).insert(batches).await;
        }
        self.releases().keep(&**self.store(), catalog).await?;
        let inserted = self.table(contract).insert(batches).await?;
        let mut superseded = BTreeSet::new();
        if contract.name == QUARANTINE {
            // What is quarantined may have landed under another release than the present one.
            let releases = self.releases().all(&**self.store()).await?;
            superseded.extend(self.yielding_to(catalog, &releases, contract, batches).await?);
            superseded.extend(self.known_elsewhere(catalog, &releases, batches).await?);
        } else {
            superseded
                .extend(self.yielding_to(catalog, std::slice::from_ref(catalog), contract, batches).await?);
        }
        self.resolve(catalog, &superseded).await?;
        Ok(inserted)
    }

    /// Resolves those of some rows of quarantine that one of `releases` would put where they are already; their keys.
    ///
    /// # Errors
    /// As [`Lake::insert`].
    pub(crate) async fn resolve_what_is_there(
        &self,
        catalog: &Catalog,
        releases: &[Arc<Catalog>],
        batches: &[RecordBatch],
    ) -> Result<BTreeSet<Key>, LakeError> {
        let known = self.known_elsewhere(catalog, releases, batches).await?;
        self.resolve(catalog, &known).await?;
        Ok(known)
    }

    /// Marks records as resolved in quarantine.
    async fn resolve(&self, catalog: &Catalog, keys: &BTreeSet<Key>) -> Result<u64, LakeError> {
        let now = self.clock().now().timestamp_micros();
        let quarantine = self.table(catalog.quarantine());
        quarantine.update(keys, |batch, meant| mark_resolved(batch, meant, now)).await
    }

    /// Of the unresolved records in quarantine, those that one of `judges` would put where one of `batches` is.
    async fn yielding_to(
        &self,
        catalog: &Catalog,
        judges: &[Arc<Catalog>],
        contract: &Contract,
        batches: &[RecordBatch],
    ) -> Result<BTreeSet<Key>, LakeError> {
        let mut candidates: HashMap<Key, Vec<Key>> = HashMap::new();
        for candidate in self.candidates(catalog, judges).await? {
            candidates.entry(candidate.elsewhere).or_default().push(candidate.quarantined);
        }
        let mut found = BTreeSet::new();
        if candidates.is_empty() {
            return Ok(found);
        }
        for batch in batches {
            let keys = keys::keys_of(batch).map_err(LakeError::encode(&contract.name))?;
            for row in 0..keys.len() {
                found.extend(candidates.get(&key_at(keys, row)).into_iter().flatten());
            }
        }
        Ok(found)
    }

    /// The unresolved records in quarantine that one of `judges` would put elsewhere.
    async fn candidates(
        &self,
        catalog: &Catalog,
        judges: &[Arc<Catalog>],
    ) -> Result<Vec<Candidate>, LakeError> {
        let quarantine = self.table(catalog.quarantine());
        let mut all = Vec::new();
        let mut live = BTreeSet::new();
        for data in quarantine.data_files().await? {
            let mut batches = None;
            for judge in judges {
                let file = File { path: data.path.clone(), catalog: judge.hash().to_owned() };
                let known = self.verdicts().of(&file);
                let candidates = match known {
                    Some(candidates) => candidates,
                    None => {
                        let batches = match &mut batches {
                            Some(batches) => batches,
                            none => none.insert(quarantine.batches_of(&data).await?),
                        };
                        let candidates: Arc<[Candidate]> = self.elsewhere(judge, batches)?.into();
                        self.verdicts().remember(file, candidates.clone());
                        candidates
                    }
                };
                all.extend_from_slice(&candidates);
            }
            live.insert(data.path);
        }
        self.verdicts().retain(&live);
        Ok(all)
    }

    /// Of quarantine rows, the keys of those that one of `releases` would put where they are already.
    async fn known_elsewhere(
        &self,
        catalog: &Catalog,
        releases: &[Arc<Catalog>],
        batches: &[RecordBatch],
    ) -> Result<BTreeSet<Key>, LakeError> {
        let mut possible: BTreeMap<Key, BTreeSet<Key>> = BTreeMap::new();
        let mut contracts: BTreeMap<String, Arc<Contract>> = BTreeMap::new();
        for release in releases {
            for candidate in self.elsewhere(release, batches)? {
                possible.entry(candidate.elsewhere).or_default().insert(candidate.quarantined);
            }
            contracts.extend(release.contracts().map(|contract| (contract.name.clone(), contract.clone())));
        }
        let mut found = BTreeSet::new();
        if possible.is_empty() {
            return Ok(found);
        }
        let wanted: Vec<Key> = possible.keys().copied().collect();
        for (dataset, contract) in &contracts {
            // The present contract's table is kept warm; another one's is opened for this only.
            let table = match catalog.contract(dataset) {
                Some(present) => self.table(present),
                None => Arc::new(self.open(contract)),
            };
            let present = table.contains(&wanted).await?;
            let there = possible.values().zip(present).filter(|(_, present)| *present);
            found.extend(there.flat_map(|(quarantined, _)| quarantined));
        }
        Ok(found)
    }

    /// The unresolved ones of some quarantine rows that `catalog` would put elsewhere.
    fn elsewhere(
        &self,
        catalog: &Arc<Catalog>,
        batches: &[RecordBatch],
    ) -> Result<Vec<Candidate>, LakeError> {
        let mut candidates = Vec::new();
        let mut intake = Intake::new(catalog.clone(), self.clock().now());
        for batch in batches {
            let judged = quarantine::judge(catalog, batch, &mut intake, |_, _| true)?;
            candidates.extend(judged.into_iter().filter_map(|judged| {
                let elsewhere = judged.yields_to()?;
                Some(Candidate { elsewhere, quarantined: judged.quarantined })
            }));
            // Only the keys are wanted.
            intake.drain();
        }
        Ok(candidates)
    }
}

impl Verdicts {
    fn of(&self, file: &File) -> Option<Arc<[Candidate]>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(file).cloned()
    }

    fn remember(&self, file: File, candidates: Arc<[Candidate]>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(file, candidates);
    }

    fn retain(&self, live: &BTreeSet<String>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).retain(|file, _| live.contains(&file.path));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quarantine::RESOLVED_AT;
    use crate::testing::{effects, visits, without_visits};
    use object_store::ObjectStore;
    use object_store::memory::InMemory;
    use pinlake_clean::{Origin, Position};

    fn lake(store: &Arc<dyn ObjectStore>, seed: u64) -> Lake {
        Lake::new(store.clone(), effects(seed))
    }

    /// One delivery of a record, taken by a compactor of its own.
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
        let mut intake = Intake::new(catalog.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
        let origin = Origin { source, position: Position::Line(1), record_id: None };
        intake.push(record.as_bytes(), hint, &origin);
        for cleaned in intake.drain() {
            lake(store, 7).insert(catalog, &cleaned.contract, &[cleaned.rows]).await.unwrap();
        }
    }

    /// Rows of the table, unresolved and resolved rows of quarantine.
    async fn places(store: &Arc<dyn ObjectStore>, catalog: &Arc<Catalog>) -> (usize, usize, usize) {
        let lake = lake(store, 8);
        let (mut rows, mut unresolved, mut resolved) = (0, 0, 0);
        let visit = lake.table(catalog.contract("visit").unwrap());
        for file in visit.data_files().await.unwrap() {
            rows += visit.batches_of(&file).await.unwrap().iter().map(RecordBatch::num_rows).sum::<usize>();
        }
        let quarantine = lake.table(catalog.quarantine());
        for file in quarantine.data_files().await.unwrap() {
            for batch in quarantine.batches_of(&file).await.unwrap() {
                let open = batch.column_by_name(RESOLVED_AT).unwrap().null_count();
                unresolved += open;
                resolved += batch.num_rows() - open;
            }
        }
        (rows, unresolved, resolved)
    }

    const RECORD: &str = r#"{"visitor": 1, "page": "home"}"#;

    #[tokio::test]
    async fn a_record_that_is_let_in_later_leaves_quarantine() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (strict, lenient) = (visits(""), visits("null = [\"home\"]"));
        deliver(&store, &strict, RECORD).await;
        assert_eq!(places(&store, &strict).await, (0, 1, 0));
        deliver(&store, &lenient, RECORD).await;
        assert_eq!(places(&store, &lenient).await, (1, 0, 1));
        deliver(&store, &strict, RECORD).await;
        assert_eq!(places(&store, &strict).await, (1, 0, 1), "a late copy stays out");
    }

    #[tokio::test]
    async fn a_record_that_was_let_in_does_not_stay_in_quarantine() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (strict, lenient) = (visits(""), visits("null = [\"home\"]"));
        deliver(&store, &lenient, RECORD).await;
        deliver(&store, &strict, RECORD).await;
        assert_eq!(places(&store, &strict).await, (1, 0, 1));
        // Another record that breaks the contract stays where it is.
        deliver(&store, &strict, r#"{"visitor": 2, "page": "home"}"#).await;
        assert_eq!(places(&store, &strict).await, (1, 1, 1));
    }

    #[tokio::test]
    async fn a_record_whose_dataset_has_no_contract_yet_is_refused_once() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (strict, lenient) = (visits(""), visits("null = [\"home\"]"));
        for catalog in [&without_visits(), &strict, &without_visits()] {
            deliver(&store, catalog, RECORD).await;
            assert_eq!(places(&store, &strict).await, (0, 1, 0));
        }
        let redriven = lake(&store, 3).redrive(&lenient, None).await.unwrap();
        assert_eq!((redriven.read, redriven.inserted, redriven.left), (1, 1, 0));
        for catalog in [&without_visits(), &strict, &lenient] {
            deliver(&store, catalog, RECORD).await;
            assert_eq!(places(&store, &strict).await, (1, 0, 1), "late copies stay out");
        }
    }

    #[tokio::test]
    async fn a_record_that_nobody_named_is_refused_by_none_or_by_one_not_by_both() {
        let (strict, lenient) = (visits(""), visits("null = [\"home\"]"));
        for releases in [[&without_visits(), &strict], [&strict, &without_visits()]] {
            let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            for catalog in releases {
                deliver_from(&store, catalog, RECORD, None, "test").await;
            }
            assert_eq!(places(&store, &strict).await, (0, 1, 1), "refused under its dataset");
            let redriven = lake(&store, 3).redrive(&lenient, None).await.unwrap();
            assert_eq!((redriven.read, redriven.inserted, redriven.left), (1, 1, 0));
            for catalog in [&without_visits(), &strict, &lenient] {
                deliver_from(&store, catalog, RECORD, None, "test").await;
                assert_eq!(places(&store, &strict).await, (1, 0, 2), "late copies stay out");
            }
        }
    }

    #[tokio::test]
    async fn a_record_whose_source_tells_a_dataset_by_now_is_no_longer_refused_for_none() {
        // Without fields that a shape asks for, only the name of the source tells.
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
    async fn records_of_no_dataset_leave_quarantine_when_there_is_one_for_them() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let before = without_visits();
        let mut intake = Intake::new(before.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
        let origin = Origin { source: "test", position: Position::Line(1), record_id: None };
        intake.push(br#"{"visitor": 1, "page": 2}"#, None, &origin);
        for cleaned in intake.drain() {
            lake(&store, 1).insert(&before, &cleaned.contract, &[cleaned.rows]).await.unwrap();
        }
        let after = visits("");
        assert_eq!(places(&store, &after).await, (0, 1, 0));
        deliver(&store, &after, r#"{"visitor": 1, "page": 2}"#).await;
        assert_eq!(places(&store, &after).await, (1, 0, 1));
    }
}
