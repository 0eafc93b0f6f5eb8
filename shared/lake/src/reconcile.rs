//! Reconciliation: what is in its table is not left unresolved in quarantine, nor is it in quarantine twice.
//!
//! The same record may be evaluated twice under different contracts: delivered again after a deploy, sent again after a
//! contract was mended, cleaned again from its raw bytes, or landed under one release and delivered again under another. One
//! contract takes it and another does not, and then it would be in its table *and* in quarantine; or it is quarantined under
//! two keys. So whoever inserts looks at the other place **after** its own commit, and before anything is removed from
//! landing. Both looks ask every release that ever evaluated records of this lake ([`pinlake_landing::catalog_history`]):
//!
//! - after any rows: would one of the catalog_history give an unresolved record of quarantine a key that was just inserted? Then it
//!   is resolved.
//! - after quarantine rows: would one of the catalog_history give one of them a key that is somewhere already? Then it is resolved.
//!
//! Of two writers the one that looks later sees both commits, so one of them resolves the record, whatever the order;
//! a writer that is killed in between leaves its landing objects, and its work is done again.
//!
//! What the catalog_history make of a data file of quarantine is computed once for each release, and kept beside the file's keys
//! as `<data file's name>.elsewhere`. So an insert evaluates its own rows, and quarantined ones only if nobody has yet.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{Array, RecordBatch};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use pinlake_clean::RecordCleaner;
use pinlake_landing::object::get_if_there;
use pinlake_schema::{Catalog, Contract, KEY_COLUMN, QUARANTINE};
use serde::{Deserialize, Serialize};

use crate::Lake;
use crate::data_file::DataFile;
use crate::error::LakeError;
use crate::keys::{self, Key, key_at};
use crate::quarantine::{self, mark_resolved};
use crate::table::{InsertSummary, Table};

/// What the catalog_history make of quarantine's data files, kept while the function is warm: data files never change.
#[derive(Debug, Default)]
pub(crate) struct Evaluations(Mutex<HashMap<String, Arc<Evaluation>>>);

/// Counts the changes to what evaluating a record gives under contracts that stay the same.
const EVALUATION_FORM: u32 = 1;

/// What some catalog_history make of the unresolved records of one data file of quarantine.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Evaluation {
    /// [`EVALUATION_FORM`] of the version that made it: another one may evaluate the same records otherwise.
    form: u32,
    /// Hashes of the catalog_history that were asked.
    catalog_history: BTreeSet<String>,
    /// What they would put elsewhere.
    elsewhere: Vec<Elsewhere>,
}

/// An unresolved record that a release would put elsewhere.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Elsewhere {
    /// The dataset there, which is quarantine for another key in it.
    dataset: String,
    /// By which rules the key there was made.
    identity: String,
    /// Its key there.
    key: Key,
    /// Its key in quarantine.
    quarantined: Key,
}

/// As [`Elsewhere`], just evaluated.
struct Candidate {
    contract: Arc<Contract>,
    key: Key,
    former_key: Option<Key>,
    quarantined: Key,
}

impl Lake {
    /// Inserts rows that `contract` of `catalog` has evaluated: into its table, or into quarantine. `batches` have the
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
    ) -> Result<InsertSummary, LakeError> {
        if batches.iter().all(|batch| batch.num_rows() == 0) {
            return self.table(contract).insert(batches).await;
        }
        self.catalog_history().keep(&**self.store(), catalog).await?;
        let inserted = self.table(contract).insert(batches).await?;
        let quarantined = self.table(catalog.quarantine()).data_files().await?;
        if quarantined.is_empty() {
            return Ok(inserted);
        }
        // Rows may have landed under another release than the present one.
        let catalog_history = self.catalog_history().all(&**self.store()).await?;
        let mut superseded =
            self.yielding_to(catalog, &catalog_history, contract, batches, quarantined).await?;
        if contract.name == QUARANTINE {
            superseded.extend(self.known_elsewhere(catalog, &catalog_history, batches).await?);
        }
        self.resolve(catalog, &superseded).await?;
        Ok(inserted)
    }

    /// Resolves those of some rows of quarantine that one of `catalog_history` would put where they are already; their keys.
    ///
    /// # Errors
    /// As [`Lake::insert`].
    pub(crate) async fn resolve_what_is_there(
        &self,
        catalog: &Catalog,
        catalog_history: &[Arc<Catalog>],
        batches: &[RecordBatch],
    ) -> Result<BTreeSet<Key>, LakeError> {
        let known = self.known_elsewhere(catalog, catalog_history, batches).await?;
        self.resolve(catalog, &known).await?;
        Ok(known)
    }

    /// Marks records as resolved in quarantine.
    async fn resolve(&self, catalog: &Catalog, keys: &BTreeSet<Key>) -> Result<u64, LakeError> {
        let now = self.clock().now().timestamp_micros();
        let quarantine = self.table(catalog.quarantine());
        quarantine.update(keys, |batch, meant| mark_resolved(batch, meant, now)).await
    }

    /// Of the unresolved records in `quarantined`, the files of quarantine, those that one of `catalog_history` would put where one of
    /// `batches` is.
    async fn yielding_to(
        &self,
        catalog: &Catalog,
        catalog_history: &[Arc<Catalog>],
        contract: &Contract,
        batches: &[RecordBatch],
        quarantined: Vec<DataFile>,
    ) -> Result<BTreeSet<Key>, LakeError> {
        let quarantine = self.table(catalog.quarantine());
        let mut there: HashMap<Key, Vec<Key>> = HashMap::new();
        for file in &quarantined {
            let evaluation = self.evaluate(&quarantine, file, catalog_history).await?;
            let same_keys = |elsewhere: &&Elsewhere| {
                elsewhere.dataset == contract.name && elsewhere.identity == contract.identity_hash()
            };
            for elsewhere in evaluation.elsewhere.iter().filter(same_keys) {
                there.entry(elsewhere.key).or_default().push(elsewhere.quarantined);
            }
        }
        self.evaluations().retain(&quarantined);
        let mut found = BTreeSet::new();
        if there.is_empty() {
            return Ok(found);
        }
        for batch in batches {
            let keys = keys::keys_of(batch, KEY_COLUMN).map_err(LakeError::encode(&contract.name))?;
            for row in 0..keys.len() {
                found.extend(there.get(&key_at(keys, row)).into_iter().flatten());
            }
        }
        Ok(found)
    }

    /// What `catalog_history` make of a data file of quarantine. Those that nobody has asked yet are asked, and what they say is kept.
    async fn evaluate(
        &self,
        quarantine: &Table,
        file: &DataFile,
        catalog_history: &[Arc<Catalog>],
    ) -> Result<Arc<Evaluation>, LakeError> {
        let asked = |evaluation: &Evaluation| {
            catalog_history.iter().all(|release| evaluation.catalog_history.contains(release.hash()))
        };
        let path = keys::evaluation_path(quarantine.root(), &file.path);
        let known = match self.evaluations().get(&file.path) {
            Some(known) => known,
            None => Arc::new(self.read_evaluation(&path).await?),
        };
        if asked(&known) {
            self.evaluations().remember(&file.path, &known);
            return Ok(known);
        }
        let batches = quarantine.batches_of(file).await?;
        let mut evaluation = Evaluation { form: EVALUATION_FORM, ..Evaluation::clone(&known) };
        for release in catalog_history {
            if !evaluation.catalog_history.insert(release.hash().to_owned()) {
                continue;
            }
            evaluation.elsewhere.extend(self.elsewhere(release, &batches)?.into_iter().map(|candidate| {
                Elsewhere {
                    dataset: candidate.contract.name.clone(),
                    identity: candidate.contract.identity_hash().to_owned(),
                    key: candidate.key,
                    quarantined: candidate.quarantined,
                }
            }));
        }
        evaluation.elsewhere.sort();
        evaluation.elsewhere.dedup();
        let evaluation = Arc::new(evaluation);
        let bytes = serde_json::to_vec(&*evaluation).map_err(LakeError::encode(QUARANTINE))?;
        // Two writers may replace each other's: what one lacks then is computed again.
        self.store().put(&path, bytes.into()).await.map_err(LakeError::store(&path))?;
        self.evaluations().remember(&file.path, &evaluation);
        Ok(evaluation)
    }

    /// The evaluation that is kept at `path`; an empty one if there is none, or none that can be read.
    async fn read_evaluation(&self, path: &Path) -> Result<Evaluation, LakeError> {
        let bytes = get_if_there(&**self.store(), path).await.map_err(LakeError::store(path))?;
        let kept: Option<Evaluation> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        Ok(kept.filter(|kept| kept.form == EVALUATION_FORM).unwrap_or_default())
    }

    /// Of quarantine rows, the keys of those that one of `catalog_history` would put where they are already.
    async fn known_elsewhere(
        &self,
        catalog: &Catalog,
        catalog_history: &[Arc<Catalog>],
        batches: &[RecordBatch],
    ) -> Result<BTreeSet<Key>, LakeError> {
        // Keys of two identities are not comparable: each is looked for by the rules that made it.
        let mut places: BTreeMap<(String, String), BTreeMap<Key, Vec<Candidate>>> = BTreeMap::new();
        for release in catalog_history {
            for candidate in self.elsewhere(release, batches)? {
                let contract = &candidate.contract;
                let place = (contract.name.clone(), contract.identity_hash().to_owned());
                places.entry(place).or_default().entry(candidate.key).or_default().push(candidate);
            }
        }
        let mut found = BTreeSet::new();
        for by_key in places.into_values() {
            let Some(first) = by_key.values().flatten().next() else { continue };
            // The present contract's table is kept warm; another one's is opened for this only.
            let present = catalog.contract(&first.contract.name);
            let table = match present.filter(|own| own.identity_hash() == first.contract.identity_hash()) {
                Some(present) => self.table(present),
                None => Arc::new(self.open(&first.contract)),
            };
            let keys: Vec<Key> = by_key.keys().copied().collect();
            let former: Option<Vec<Key>> =
                by_key.values().map(|candidates| candidates.first()?.former_key).collect();
            let present = table.contains(&keys, former.as_deref()).await?;
            let there = by_key.values().zip(present).filter(|(_, present)| *present);
            found.extend(there.flat_map(|(candidates, _)| candidates).map(|candidate| candidate.quarantined));
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
        let mut intake = RecordCleaner::new(catalog.clone(), self.clock().now());
        for batch in batches {
            let judged = quarantine::judge(catalog, batch, &mut intake, |_, _| true)?;
            candidates.extend(judged.into_iter().filter(quarantine::EvaluatedRecord::yields).map(|judged| {
                Candidate {
                    contract: judged.contract,
                    key: judged.key,
                    former_key: judged.former_key,
                    quarantined: judged.quarantined,
                }
            }));
            // Only the keys are wanted.
            intake.drain();
        }
        Ok(candidates)
    }
}

impl Evaluations {
    fn get(&self, file: &str) -> Option<Arc<Evaluation>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(file).cloned()
    }

    fn remember(&self, file: &str, evaluation: &Arc<Evaluation>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(file.to_owned(), evaluation.clone());
    }

    fn retain(&self, live: &[DataFile]) {
        let live: HashSet<&str> = live.iter().map(|file| file.path.as_str()).collect();
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.retain(|file, _| live.contains(file.as_str()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quarantine::RESOLVED_AT;
    use crate::testing::{effects, visits, without_visits};
    use object_store::ObjectStore;
    use object_store::memory::InMemory;
    use pinlake_clean::{Position, RecordOrigin};

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
        let mut intake = RecordCleaner::new(catalog.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
        let origin = RecordOrigin { source, position: Position::Line(1), record_id: None };
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
        // While there is no contract the record itself belongs to its key; of the two rows one yields to the other.
        for (catalog, resolved) in [(&without_visits(), 0), (&strict, 1), (&without_visits(), 1)] {
            deliver(&store, catalog, RECORD).await;
            assert_eq!(places(&store, &strict).await, (0, 1, resolved));
        }
        let redriven = lake(&store, 3).redrive(&lenient, None).await.unwrap();
        assert_eq!((redriven.read, redriven.inserted, redriven.left), (1, 1, 0));
        for catalog in [&without_visits(), &strict, &lenient] {
            deliver(&store, catalog, RECORD).await;
            assert_eq!(places(&store, &strict).await, (1, 0, 2), "late copies stay out");
        }
    }

    #[tokio::test]
    async fn a_record_that_nobody_named_is_refused_by_none_or_by_one_not_by_both() {
        let (strict, lenient) = (visits(""), visits("null = [\"home\"]"));
        for catalog_history in [[&without_visits(), &strict], [&strict, &without_visits()]] {
            let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            for catalog in catalog_history {
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
        let mut intake = RecordCleaner::new(before.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
        let origin = RecordOrigin { source: "test", position: Position::Line(1), record_id: None };
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
