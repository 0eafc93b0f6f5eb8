//! A table: inserting what is absent, and reading what is there.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use arrow::compute::cast;
use arrow::datatypes::SchemaRef;
use arrow::error::ArrowError;
use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use pinlake_env::{Env, RetryPolicy};
use pinlake_schema::{Contract, FORMER_KEY_COLUMN, KEY_COLUMN};
use rayon::slice::ParallelSliceMut;
use tokio::sync::Mutex;

use crate::MaintenancePolicy;
use crate::commit::{self, Outcome};
use crate::data_file::{self, DataFile, NewFile, Rows};
use crate::error::LakeError;
use crate::keys::{self, EpochKeys, FileKeys, Key, KeyBudget, KeyCache, KeyEpoch, KeyReader, SortedKeys};
use crate::log::{Change, CommitNote, TableLog};

mod merge;
mod update;

/// First path segment of all tables.
const TABLES: &str = "tables";
/// Table properties that say which contract made the table.
const CONTRACT_PROPERTY: &str = "pinlake.contract";
const VERSION_PROPERTY: &str = "pinlake.contract.version";
const IDENTITY_PROPERTY: &str = "pinlake.identity";
/// How a lost version is tried for again.
const CONTENTION: RetryPolicy = RetryPolicy {
    max_attempts: 24,
    initial_delay: Duration::from_millis(50),
    max_delay: Duration::from_secs(5),
};

/// What became of the rows of one [`Table::insert`]: `read = inserted + duplicates`.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct InsertSummary {
    /// Rows that were offered.
    pub read: u64,
    /// Rows that are new in the table.
    pub inserted: u64,
    /// Rows that the table had, or that were offered twice.
    pub duplicates: u64,
    /// The version that holds the new rows; `None` when there were none.
    pub version: Option<u64>,
    /// Of `inserted`, how many came with each of the batches that were offered.
    pub by_batch: Vec<u64>,
}

/// One version of a table, to be read whole.
#[derive(Debug, Clone)]
pub struct PinnedTable {
    /// Dataset.
    pub dataset: String,
    /// Version; `None` when there is no table yet.
    pub version: Option<u64>,
    /// Its columns.
    pub schema: SchemaRef,
    /// Its data files.
    pub files: Vec<PinnedFile>,
}

/// A data file of a pinned version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedFile {
    /// From the lake's root.
    pub path: Path,
    /// Bytes.
    pub size: u64,
    /// Rows, when the log has statistics.
    pub rows: Option<u64>,
}

/// The Delta table of one dataset.
#[derive(Debug)]
pub struct Table {
    store: Arc<dyn ObjectStore>,
    effects: Env,
    contract: Arc<Contract>,
    root: Path,
    maintenance: MaintenancePolicy,
    known: Mutex<Known>,
}

/// What is known of the table from before. One insert at a time in a process: two would only race each other.
#[derive(Debug)]
struct Known {
    log: TableLog,
    keys: KeyCache,
}

impl Table {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        effects: Env,
        contract: Arc<Contract>,
        room: KeyBudget,
        maintenance: MaintenancePolicy,
    ) -> Self {
        let root = Path::from_iter([TABLES, &contract.name]);
        let log = TableLog::new(&contract.name, root.clone());
        let known = Mutex::new(Known { log, keys: KeyCache::new(room) });
        Self { store, effects, contract, root, maintenance, known }
    }

    /// The contract that the table is kept under.
    pub fn contract(&self) -> &Arc<Contract> {
        &self.contract
    }

    /// The table's folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// The newest version, to be read whole. A table that is not there yet has the contract's columns and no files.
    ///
    /// # Errors
    /// When the store fails, or the log is damaged.
    pub async fn pin(&self) -> Result<PinnedTable, LakeError> {
        let mut known = self.known.lock().await;
        known.log.refresh(&*self.store).await?;
        let files = known.log.files().iter().map(|file| PinnedFile {
            path: data_file::absolute(&self.root, &file.path),
            size: file.size,
            rows: file.rows,
        });
        Ok(PinnedTable {
            dataset: self.contract.name.clone(),
            version: known.log.version(),
            schema: known.log.schema()?.unwrap_or_else(|| self.contract.table_schema()),
            files: files.collect(),
        })
    }

    /// The data files of the newest version.
    pub(crate) async fn data_files(&self) -> Result<Vec<DataFile>, LakeError> {
        let mut known = self.known.lock().await;
        known.log.refresh(&*self.store).await?;
        Ok(known.log.files().to_vec())
    }

    /// Which of some rows the newest version has, whose keys under the contract are `wanted`, distinct and ascending, and
    /// `former` under the contract's former epoch. A table that is not there has none, and neither has one that was keyed by other
    /// rules: its keys are not comparable.
    pub(crate) async fn contains(
        &self,
        wanted: &[Key],
        former: Option<&[Key]>,
    ) -> Result<Vec<bool>, LakeError> {
        let mut known = self.known.lock().await;
        known.log.refresh(&*self.store).await?;
        let Known { log, keys } = &mut *known;
        if log.version().is_none() || self.check_identity(log).is_err() {
            return Ok(vec![false; wanted.len()]);
        }
        keys.retain(log.files());
        let wanted = EpochKeys::of_rows(&self.contract, wanted, former);
        self.key_reader(log)?.present(log.files(), &wanted, keys).await
    }

    /// The epoch of keys that the contract gives.
    fn epoch(&self) -> Result<KeyEpoch, LakeError> {
        let hash = self.contract.identity_hash();
        let unfit =
            || LakeError::encode(&self.contract.name)(format!("identity hash {hash} is not of 16 bytes"));
        KeyEpoch::parse(hash).ok_or_else(unfit)
    }

    /// Reads the keys of the table that `log` is of, by the table's rules.
    fn key_reader<'a>(&'a self, log: &TableLog) -> Result<KeyReader<'a>, LakeError> {
        Ok(KeyReader {
            store: &self.store,
            table: &self.root,
            contract: &self.contract,
            table_epoch: self.check_identity(log)?,
            declares_keys: self.contract.stores_keys()
                && log.schema()?.is_some_and(|schema| schema.field_with_name(KEY_COLUMN).is_ok()),
        })
    }

    /// Inserts the rows whose keys the table has not. `batches` have the contract's landing schema.
    ///
    /// # Errors
    /// See [`LakeError`]; after a retryable one, inserting the same rows again is safe.
    pub async fn insert(&self, batches: &[RecordBatch]) -> Result<InsertSummary, LakeError> {
        let dataset = &self.contract.name;
        let offer = InsertBatch::new(&self.contract, batches).map_err(LakeError::encode(dataset))?;
        let read = offer.rows;
        if read == 0 {
            return Ok(InsertSummary { by_batch: vec![0; batches.len()], ..InsertSummary::default() });
        }
        let mut known = self.known.lock().await;
        let mut written: Option<Written> = None;
        let mut delays = CONTENTION.delays(&self.effects.rng);
        loop {
            known.log.refresh(&*self.store).await?;
            if known.log.version().is_none() {
                self.create(&mut known.log).await?;
            }
            self.check_rules(&known.log)?;
            let Known { log, keys } = &mut *known;
            keys.retain(log.files());
            let present =
                self.key_reader(log)?.present(log.files(), &offer.wanted(&self.contract), keys).await?;
            let absent: Vec<Key> = offer
                .keys
                .iter()
                .zip(&present)
                .filter(|(_, present)| !**present)
                .map(|(key, _)| *key)
                .collect();
            if absent.is_empty() {
                let by_batch = vec![0; batches.len()];
                return Ok(InsertSummary { read, inserted: 0, duplicates: read, version: None, by_batch });
            }
            // What was written for a version that was lost serves again if the same rows are still absent.
            let ready = match written.take() {
                Some(ready) if ready.keys.keys.as_ref() == absent.as_slice() => ready,
                _ => self.write(log, &offer, absent, &present).await?,
            };
            let inserted = ready.keys.keys.len() as u64;
            let note = CommitNote { read, inserted, duplicates: read - inserted, ..self.note() };
            if let Some(version) = self.commit(log, keys, &ready, Change::Insert, &note).await? {
                let by_batch = offer.absent_by_batch(&present);
                return Ok(InsertSummary {
                    read,
                    inserted,
                    duplicates: read - inserted,
                    version: Some(version),
                    by_batch,
                });
            }
            written = Some(ready);
            self.wait_after_loss(&mut delays).await?;
        }
    }

    /// Commits a written file as the version after the known one: `None` when another writer has taken it.
    async fn commit(
        &self,
        log: &mut TableLog,
        keys: &mut KeyCache,
        ready: &Written,
        change: Change<'_>,
        note: &CommitNote,
    ) -> Result<Option<u64>, LakeError> {
        let version = log.version().map_or(0, |version| version + 1);
        let modified = self.effects.clock.now().timestamp_millis();
        let commit = log.change(&ready.path, &ready.file, change, modified, note)?;
        let entry = log.entry(version);
        match commit::put(&*self.store, &entry, &commit, &note.attempt, &self.effects.rng).await? {
            Outcome::Lost => Ok(None),
            Outcome::Committed { e_tag } => {
                keys.remember(&ready.path, ready.known.clone());
                log.committed(version, commit, e_tag).await?;
                if version.is_multiple_of(self.maintenance.checkpoint_every) {
                    self.checkpoint(log).await;
                }
                Ok(Some(version))
            }
        }
    }

    async fn wait_after_loss(&self, delays: &mut impl Iterator<Item = Duration>) -> Result<(), LakeError> {
        let dataset = &self.contract.name;
        let Some(delay) = delays.next() else {
            return Err(LakeError::Contended { dataset: dataset.clone(), attempts: CONTENTION.max_attempts });
        };
        tracing::info!(%dataset, ?delay, "version taken by another writer, looking again");
        tokio::time::sleep(delay).await;
        Ok(())
    }

    /// Makes the table, unless another writer does.
    async fn create(&self, log: &mut TableLog) -> Result<(), LakeError> {
        let contract = &self.contract;
        let properties = [
            (CONTRACT_PROPERTY, contract.name.clone()),
            (VERSION_PROPERTY, contract.version.to_string()),
            (IDENTITY_PROPERTY, contract.identity_hash().to_owned()),
        ];
        let properties = properties.map(|(name, value)| (name.to_owned(), value)).to_vec();
        let note = self.note();
        let commit = log.creation(&contract.table_schema(), properties, &note)?;
        commit::put(&*self.store, &log.entry(0), &commit, &note.attempt, &self.effects.rng).await?;
        log.refresh(&*self.store).await
    }

    /// The table must have been keyed as the contract keys, and have its columns.
    fn check_rules(&self, log: &TableLog) -> Result<(), LakeError> {
        self.check_identity(log)?;
        let Some(have) = log.schema()? else { return Ok(()) };
        let want = self.contract.arrow_schema();
        // A table that was made before keys were stored has no column for them. Its data files have one all the same, which readers
        // pass over.
        let columns = |schema: &SchemaRef| -> Vec<_> {
            let fields = schema.fields().iter().filter(|field| field.name() != KEY_COLUMN);
            fields.map(|field| (field.name().clone(), field.data_type().clone())).collect()
        };
        if columns(&have) != columns(&want) {
            let why = format!("the table has {:?}, the contract {:?}", columns(&have), columns(&want));
            return Err(LakeError::SchemaChanged { dataset: self.contract.name.clone(), why });
        }
        Ok(())
    }

    /// The table must have been keyed as the contract keys, or did before. The epoch in its properties.
    fn check_identity(&self, log: &TableLog) -> Result<KeyEpoch, LakeError> {
        let table = log.property(IDENTITY_PROPERTY);
        let epoch = table.and_then(KeyEpoch::parse);
        epoch.filter(|epoch| KeyEpoch::all_of(&self.contract).contains(epoch)).ok_or_else(|| {
            LakeError::IdentityChanged {
                dataset: self.contract.name.clone(),
                table: table.unwrap_or("(none)").to_owned(),
                contract: self.contract.label(),
                wanted: self.contract.identity_hash().to_owned(),
            }
        })
    }

    /// Writes the absent rows as a data file with its key file: both are there before any commit names them.
    async fn write(
        &self,
        log: &TableLog,
        offer: &InsertBatch<'_>,
        absent: Vec<Key>,
        present: &[bool],
    ) -> Result<Written, LakeError> {
        let columns = self.contract.table_schema();
        let rows = offer.select(present, &columns).map_err(LakeError::encode(&self.contract.name))?;
        let keys = SortedKeys { epoch: self.epoch()?, keys: absent.into() };
        self.write_file(log, &rows, keys).await
    }

    /// Writes rows as a data file with its key file. `keys` are theirs.
    async fn write_file(
        &self,
        log: &TableLog,
        rows: &[Rows],
        keys: SortedKeys,
    ) -> Result<Written, LakeError> {
        let dataset = &self.contract.name;
        let state = log.write_state()?;
        let context = state.write_context_builder().build().map_err(LakeError::delta(dataset))?;
        let schema = context.physical_data_schema();
        let file = data_file::encode(dataset, rows, keys.epoch, state.stats_columns(), schema.as_ref())?;
        let path = format!("part-{}.parquet", self.effects.rng.id());
        let (data, key) = (data_file::absolute(&self.root, &path), keys::key_path(&self.root, &path));
        let put = async |at: &Path, bytes: Bytes| {
            self.store.put(at, PutPayload::from_bytes(bytes)).await.map_err(LakeError::store(at))
        };
        let (key_file, known) = keys::encode(&keys);
        futures::future::try_join(put(&data, file.bytes.clone()), put(&key, key_file)).await?;
        Ok(Written { path, file, keys, known })
    }

    /// A checkpoint makes reading quicker and nothing else: if it fails, the log is as good as before.
    async fn checkpoint(&self, log: &mut TableLog) {
        let made = async {
            for (path, bytes) in log.checkpoint().await? {
                self.store.put(&path, bytes.into()).await.map_err(LakeError::store(&path))?;
            }
            Ok::<_, LakeError>(())
        };
        if let Err(error) = made.await {
            tracing::warn!(dataset = %self.contract.name, %error, "checkpoint not made, the next one will be");
        }
    }

    /// The note of a commit that moves no rows, with an attempt id of its own.
    fn note(&self) -> CommitNote {
        CommitNote {
            attempt: self.effects.rng.id(),
            contract: self.contract.label(),
            read: 0,
            inserted: 0,
            duplicates: 0,
            updated: 0,
        }
    }
}

/// A data file and its key file, written and not yet named by the log.
#[derive(Debug)]
struct Written {
    path: String,
    file: NewFile,
    keys: SortedKeys,
    /// What is kept of the keys when the file is committed.
    known: FileKeys,
}

/// The rows of one insert.
#[derive(Debug)]
struct InsertBatch<'a> {
    batches: &'a [RecordBatch],
    rows: u64,
    /// The distinct keys, ascending.
    keys: Vec<Key>,
    /// The same rows' keys of the contract's former epoch, where it has one.
    former_keys: Option<Vec<Key>>,
    /// Where the first row of each key is: (batch, row).
    places: Vec<(u32, u32)>,
}

impl<'a> InsertBatch<'a> {
    fn new(contract: &Contract, batches: &'a [RecordBatch]) -> Result<Self, String> {
        let mut rows = Vec::with_capacity(batches.iter().map(RecordBatch::num_rows).sum());
        for (number, batch) in (0_u32..).zip(batches) {
            let keys = keys::keys_of(batch, KEY_COLUMN)?;
            // As numbers, which order as the keys do and are compared at once.
            let key = |row| u128::from_be_bytes(keys::key_at(keys, row));
            rows.extend((0_u32..).zip(0..batch.num_rows()).map(|(at, row)| (key(row), (number, at))));
        }
        let offered = rows.len() as u64;
        rows.par_sort_unstable();
        rows.dedup_by_key(|(key, _)| *key);
        let (keys, places): (_, Vec<(u32, u32)>) =
            rows.into_iter().map(|(key, place)| (key.to_be_bytes(), place)).unzip();
        let former_keys = contract.former_identity_hash().map(|_| {
            let batches = batches.iter().map(|batch| keys::keys_of(batch, FORMER_KEY_COLUMN));
            let batches = batches.collect::<Result<Vec<_>, _>>()?;
            let key = |&(batch, row): &(u32, u32)| keys::key_at(batches[batch as usize], row as usize);
            Ok::<_, String>(places.iter().map(key).collect())
        });
        Ok(Self { batches, rows: offered, keys, former_keys: former_keys.transpose()?, places })
    }

    fn wanted(&self, contract: &Contract) -> Vec<EpochKeys<'_>> {
        EpochKeys::of_rows(contract, &self.keys, self.former_keys.as_deref())
    }

    /// How many rows of each batch are of keys that are not `present`.
    fn absent_by_batch(&self, present: &[bool]) -> Vec<u64> {
        let mut counts = vec![0; self.batches.len()];
        for ((batch, _), present) in self.places.iter().zip(present) {
            counts[*batch as usize] += u64::from(!present);
        }
        counts
    }

    /// The rows of the keys that are not `present`, in the order in which they were offered, `columns` only.
    fn select(&self, present: &[bool], columns: &SchemaRef) -> Result<Vec<Rows>, ArrowError> {
        let mut masks: Vec<Vec<bool>> =
            self.batches.iter().map(|batch| vec![false; batch.num_rows()]).collect();
        for ((batch, row), present) in self.places.iter().zip(present) {
            masks[*batch as usize][*row as usize] = !present;
        }
        let select = |(batch, mask): (&RecordBatch, Vec<bool>)| {
            let arrays = columns.fields().iter().map(|field| {
                let array = batch.column(batch.schema().index_of(field.name())?);
                // A key is of a fixed width in landing batches only.
                if array.data_type() == field.data_type() {
                    Ok(array.clone())
                } else {
                    cast(array, field.data_type())
                }
            });
            let rows = RecordBatch::try_new(columns.clone(), arrays.collect::<Result<_, ArrowError>>()?)?;
            Ok(Rows::chosen(rows, mask.into()))
        };
        let selected = self.batches.iter().zip(masks).map(select);
        let mut selected: Vec<Rows> = selected.collect::<Result<_, ArrowError>>()?;
        selected.retain(|rows| rows.count() > 0);
        Ok(selected)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lake;
    use crate::testing::{Fault, FaultyStore, effects, rows, values};
    use object_store::memory::InMemory;
    use pinlake_schema::Catalog;

    fn contract(identity: &str) -> Arc<Contract> {
        let text = format!(
            "name = \"visit\"\nversion = 1\ndescription = \"One row a visit.\"\n{identity}\n[route]\nshape = [\"visitor\"]\n\
             [[column]]\nname = \"visitor\"\ntype = \"int64\"\ndescription = \"Who.\"\nrequired = true\n\
             [[column]]\nname = \"page\"\ntype = \"int64\"\n"
        );
        let catalog = Catalog::from_files([("visit.toml".to_owned(), text)]).unwrap();
        catalog.contract("visit").unwrap().clone()
    }

    async fn commits(lake: &Lake) -> Vec<serde_json::Value> {
        let mut commits = Vec::new();
        for version in 0.. {
            let path = Path::from(format!("tables/visit/_delta_log/{version:020}.json"));
            let Ok(got) = lake.store().get(&path).await else {
                break;
            };
            let text = String::from_utf8(got.bytes().await.unwrap().to_vec()).unwrap();
            commits.push(
                text.lines().map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap()).collect(),
            );
        }
        commits
    }

    #[tokio::test]
    async fn inserts_what_is_absent_and_says_so_in_the_log() {
        let contract = contract("");
        let lake = Lake::new(Arc::new(InMemory::new()), effects(1));
        let table = lake.table(&contract);
        let first = table.insert(&[rows(&contract, &[1, 2, 2]), rows(&contract, &[3, 1])]).await.unwrap();
        let by_batch = vec![2, 1];
        assert_eq!(first, InsertSummary { read: 5, inserted: 3, duplicates: 2, version: Some(1), by_batch });
        let second = table.insert(&[rows(&contract, &[3, 4])]).await.unwrap();
        let by_batch = vec![1];
        assert_eq!(second, InsertSummary { read: 2, inserted: 1, duplicates: 1, version: Some(2), by_batch });
        assert_eq!(table.insert(&[rows(&contract, &[4, 1])]).await.unwrap().version, None);
        assert_eq!(values(&lake, &table).await, [1, 2, 3, 4]);

        let commits = commits(&lake).await;
        assert_eq!(commits.len(), 3);
        let find = |commit: &serde_json::Value, action: &str| {
            commit.as_array().unwrap().iter().find_map(|line| line.get(action)).cloned().unwrap()
        };
        let own = find(&commits[2], "commitInfo")["pinlake"].clone();
        assert_eq!(
            (own["read"].as_i64(), own["inserted"].as_i64(), own["duplicates"].as_i64()),
            (Some(2), Some(1), Some(1))
        );
        assert_eq!(own["attempt"].as_str().unwrap().len(), 32);
        let txn = find(&commits[2], "txn");
        assert_eq!((txn["appId"].as_str(), txn["version"].as_i64()), (Some("pinlake"), Some(2)));
        let stats: serde_json::Value =
            serde_json::from_str(find(&commits[1], "add")["stats"].as_str().unwrap()).unwrap();
        assert_eq!(
            (stats["numRecords"].as_i64(), stats["minValues"]["visitor"].as_i64()),
            (Some(3), Some(1))
        );
        let metadata = find(&commits[0], "metaData");
        assert_eq!(metadata["configuration"]["pinlake.contract"], "visit");
        assert_eq!(metadata["configuration"]["pinlake.contract.version"], "1");
        assert!(metadata["schemaString"].as_str().unwrap().contains("\"comment\":\"Who.\""), "{metadata}");
    }

    #[tokio::test]
    async fn writers_at_once_double_nothing() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let contract = contract("");
        let writers = (0..6_i64).map(|writer| {
            let lake = Lake::new(store.clone(), effects(writer as u64));
            let contract = contract.clone();
            tokio::spawn(async move {
                let table = lake.table(&contract);
                let mut inserted = 0;
                for round in 0..5 {
                    // Every writer offers rows of its own, rows of its neighbour, and rows of all.
                    let own = writer * 100 + round;
                    let batch = rows(&contract, &[own, (writer + 1) % 6 * 100 + round, 1000 + round]);
                    inserted += table.insert(&[batch]).await.unwrap().inserted;
                }
                inserted
            })
        });
        let mut inserted = 0;
        for writer in writers.collect::<Vec<_>>() {
            inserted += writer.await.unwrap();
        }
        let lake = Lake::new(store, effects(99));
        let table = lake.table(&contract);
        let mut expected: Vec<i64> =
            (0..6).flat_map(|writer| (0..5).map(move |round| writer * 100 + round)).collect();
        expected.extend(1000..1005);
        assert_eq!(values(&lake, &table).await, expected);
        assert_eq!(inserted, expected.len() as u64);
        for commit in commits(&lake).await.iter().skip(1) {
            let own =
                commit.as_array().unwrap().iter().find_map(|line| line.get("commitInfo")).unwrap()["pinlake"]
                    .clone();
            let number = |name: &str| own[name].as_u64().unwrap();
            assert_eq!(number("read"), number("inserted") + number("duplicates"));
        }
    }

    #[tokio::test]
    async fn a_new_process_reads_the_table_through_its_checkpoint() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let contract = contract("");
        let lake = Lake::new(store.clone(), effects(1));
        let table = lake.table(&contract);
        for value in 0..60 {
            table.insert(&[rows(&contract, &[value])]).await.unwrap();
        }
        let hint = Path::from("tables/visit/_delta_log/_last_checkpoint");
        assert!(store.get(&hint).await.is_ok(), "a checkpoint was made at version 50");
        let other = Lake::new(store, effects(2));
        let table = other.table(&contract);
        assert_eq!(table.insert(&[rows(&contract, &[5, 59, 60])]).await.unwrap().inserted, 1);
        assert_eq!(values(&other, &table).await, (0..=60).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn small_files_become_one_and_no_row_is_lost_or_doubled() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let contract = contract("");
        let lake = Lake::new(store.clone(), effects(1));
        let table = lake.table(&contract);
        for value in 0..40 {
            table.insert(&[rows(&contract, &[value])]).await.unwrap();
        }
        assert_eq!(table.merge_small_files(32).await.unwrap(), 40);
        assert_eq!(table.pin().await.unwrap().files.len(), 1);
        assert_eq!(table.merge_small_files(32).await.unwrap(), 0, "once is enough");
        // A new process, which knows neither files nor keys, finds every key.
        let other = Lake::new(store, effects(2));
        let again = other.table(&contract).insert(&[rows(&contract, &[0, 39, 40])]).await.unwrap();
        assert_eq!((again.inserted, again.duplicates), (1, 2));
        assert_eq!(values(&other, &other.table(&contract)).await, (0..=40).collect::<Vec<_>>());
        let merge = commits(&lake).await.into_iter().nth(41).unwrap();
        let lines = merge.as_array().unwrap();
        assert_eq!(lines.iter().filter(|line| line.get("remove").is_some()).count(), 40);
        assert!(lines.iter().filter_map(|line| line.get("add")).all(|add| add["dataChange"] == false));
    }

    async fn data_files(store: &dyn ObjectStore) -> usize {
        let folder = Path::from("tables/visit");
        store.list_with_delimiter(Some(&folder)).await.unwrap().objects.len()
    }

    /// A lake of 40 small files, in which another writer inserts a row, or merges them, just before a merge is put.
    async fn overtaken(merges: bool) -> (Lake, Arc<InMemory>, Arc<Contract>) {
        let (inner, contract) = (Arc::new(InMemory::new()), contract(""));
        let other = Lake::new(inner.clone(), effects(1)).table(&contract);
        for value in 0..40 {
            other.insert(&[rows(&contract, &[value])]).await.unwrap();
        }
        let one_more = rows(&contract, &[40]);
        let first = async move {
            match merges {
                true => assert_eq!(other.merge_small_files(32).await.unwrap(), 40),
                false => assert_eq!(other.insert(&[one_more]).await.unwrap().inserted, 1),
            }
        };
        let store = FaultyStore::at_version(41, inner.clone());
        store.expect(Fault::Overtaken(Box::pin(first)));
        (Lake::new(Arc::new(store), effects(2)), inner, contract)
    }

    #[tokio::test(start_paused = true)]
    async fn a_merge_that_an_insert_overtook_is_not_written_again() {
        let (lake, store, contract) = overtaken(false).await;
        let table = lake.table(&contract);
        assert_eq!(table.merge_small_files(32).await.unwrap(), 40);
        assert_eq!(data_files(&*store).await, 42, "40, the insert's, and one of the merge");
        assert_eq!(values(&lake, &table).await, (0..=40).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn a_merge_that_another_merge_overtook_is_given_up() {
        let (lake, _, contract) = overtaken(true).await;
        let table = lake.table(&contract);
        assert_eq!(table.merge_small_files(32).await.unwrap(), 0);
        assert_eq!(values(&lake, &table).await, (0..40).collect::<Vec<_>>());
    }

    #[tokio::test]
    async fn other_identity_rules_are_refused() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let lake = Lake::new(store.clone(), effects(1));
        let by_row = contract("");
        lake.table(&by_row).insert(&[rows(&by_row, &[1])]).await.unwrap();
        let by_column = contract("identity = [\"visitor\"]");
        let error = lake.table(&by_column).insert(&[rows(&by_column, &[2])]).await.unwrap_err();
        assert!(matches!(error, LakeError::IdentityChanged { .. }) && !error.is_retryable(), "{error}");
    }
}
