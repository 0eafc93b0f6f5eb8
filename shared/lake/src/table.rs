//! The Delta table of one dataset: its rules, its files, and the operations on it.

mod commit;
mod deleted_keys;
mod evolve;
pub(crate) mod insert;
mod keep_latest;
mod merge;
mod replaced_keys;
mod swap;
#[cfg(test)]
mod tests;
mod update;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use object_store::ObjectStore;
use object_store::path::Path;
use pinlake_env::Env;
use pinlake_landing::catalog_history::CatalogHistory;
use pinlake_schema::{Contract, KEY_COLUMN};
use tokio::sync::Mutex;

use self::deleted_keys::DeletedKeys;
use self::replaced_keys::ReplacedKeys;
use crate::data_file::{self, DataFile};
use crate::error::LakeError;
use crate::keys::{EpochKeys, Key, KeyCache, KeyEpoch, KeyMemoryBudget, KeyReader, KeySource, KnownEpochs};
use crate::log::TableLog;
use crate::maintenance::MaintenancePolicy;
use crate::partition_values::PartitionValues;

/// First path segment of all tables.
pub const TABLES: &str = "tables";
/// Table property: the identity hash of the contract that created the table.
const IDENTITY_PROPERTY: &str = "pinlake.identity";

/// Which version of a table to read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AsOf {
    /// This version, or the newest one if it is older.
    Version(u64),
    /// The newest version that was committed up to this time.
    Timestamp(DateTime<Utc>),
}

/// One version of a table, which stays readable as it is.
#[derive(Debug, Clone)]
pub struct PinnedTable {
    /// Dataset.
    pub dataset: String,
    /// Version; `None` if the table does not exist yet.
    pub version: Option<u64>,
    /// Its columns.
    pub schema: SchemaRef,
    /// Those by whose values it is partitioned.
    pub partition_columns: Vec<String>,
    /// Its data files.
    pub files: Vec<PinnedFile>,
}

/// A data file of a [`PinnedTable`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PinnedFile {
    /// Path from the lake's root.
    pub path: Path,
    /// Size in bytes.
    pub size: u64,
    /// Number of rows, if the log has statistics.
    pub rows: Option<u64>,
    /// Its values of the table's partition columns, which it does not contain.
    pub partition: PartitionValues,
    /// Statistics of its columns, if they were asked for and the log has them: JSON (Delta protocol, "Per-file Statistics").
    pub statistics: Option<String>,
}

/// The Delta table of one dataset. Get it from [`Lake::table`](crate::Lake::table).
///
/// [`Table::insert`] inserts rows whose keys are absent, [`Table::pin`] lists the files to read.
#[derive(Debug)]
pub struct Table {
    store: Arc<dyn ObjectStore>,
    env: Env,
    contract: Arc<Contract>,
    /// Where the contracts of earlier key epochs are found.
    history: Arc<CatalogHistory>,
    root: Path,
    maintenance: MaintenancePolicy,
    /// Whether a data file was found whose keys are not of the contract.
    is_shared: AtomicBool,
    /// Its lock lets a process make one commit to a table at a time: two would only conflict.
    state: Mutex<CachedState>,
}

/// What a process keeps of a table between calls.
#[derive(Debug)]
struct CachedState {
    log: TableLog,
    keys: KeyCache,
    deleted_keys: DeletedKeys,
    replaced_keys: ReplacedKeys,
}

impl CachedState {
    /// Frees the keys of files that are no longer in the table.
    fn drop_stale_keys(&mut self) {
        let files = self.log.files().iter().map(|file| file.path.as_str());
        self.keys.retain(files.chain(self.replaced_keys.names()));
    }
}

impl Table {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        env: Env,
        contract: Arc<Contract>,
        history: Arc<CatalogHistory>,
        budget: KeyMemoryBudget,
        maintenance: MaintenancePolicy,
    ) -> Self {
        let root = Path::from_iter([TABLES, &contract.name]);
        let log = TableLog::new(&contract.name, root.clone());
        let state = Mutex::new(CachedState {
            log,
            keys: KeyCache::new(budget),
            deleted_keys: DeletedKeys::default(),
            replaced_keys: ReplacedKeys::default(),
        });
        Self { store, env, contract, history, root, maintenance, is_shared: AtomicBool::new(false), state }
    }

    /// The contract of the table.
    pub fn contract(&self) -> &Arc<Contract> {
        &self.contract
    }

    pub(crate) fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.store
    }

    /// The table's folder.
    pub(crate) fn root(&self) -> &Path {
        &self.root
    }

    /// Pins the newest version. A table that does not exist yet has the contract's columns and no files.
    ///
    /// ```
    /// # use std::sync::Arc;
    /// # use object_store::memory::InMemory;
    /// # use pinlake_lake::Lake;
    /// # use pinlake_schema::Catalog;
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let catalog = Catalog::embedded()?;
    /// let contract = catalog.contract("pin").ok_or("no contract")?;
    /// let lake = Lake::new(Arc::new(InMemory::new()), pinlake_env::Env::system());
    /// let pinned = lake.table(contract).pin().await?;
    /// assert_eq!((pinned.version, pinned.files.len()), (None, 0));
    /// assert!(pinned.schema.field_with_name("unique_id").is_ok());
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// If the store fails or the log is damaged.
    pub async fn pin(&self) -> Result<PinnedTable, LakeError> {
        let mut state = self.state.lock().await;
        state.log.refresh(&*self.store).await?;
        self.describe(&state.log, HashMap::new())
    }

    /// Like [`Self::pin`], with the statistics of the files, which a query uses to skip files.
    ///
    /// # Errors
    /// As [`Self::pin`].
    pub async fn pin_with_statistics(&self) -> Result<PinnedTable, LakeError> {
        let mut state = self.state.lock().await;
        state.log.refresh(&*self.store).await?;
        self.describe(&state.log, state.log.statistics()?)
    }

    /// Pins an earlier version, with the statistics of its files. A table that did not exist then has the contract's columns and no files.
    ///
    /// # Errors
    /// As [`Self::pin`]; [`LakeError::VersionRemoved`] if log clean-up has removed what the version needs.
    pub async fn pin_as_of(&self, as_of: AsOf) -> Result<PinnedTable, LakeError> {
        let mut log = TableLog::new(&self.contract.name, self.root.clone());
        let version = match as_of {
            AsOf::Version(version) => Some(version),
            AsOf::Timestamp(time) => self.find_version_at(time).await?,
        };
        if let Some(version) = version {
            log.read_until(&*self.store, version).await?;
        }
        self.describe(&log, log.statistics()?)
    }

    /// Checks whether the table takes rows of the contract. Returns its version; `None` if there is no table yet.
    ///
    /// # Errors
    /// [`LakeError::IdentityChanged`] and [`LakeError::SchemaChanged`] if it does not.
    pub async fn check_contract(&self) -> Result<Option<u64>, LakeError> {
        let mut state = self.state.lock().await;
        state.log.refresh(&*self.store).await?;
        self.find_epochs(&state.log).await?;
        self.compare_columns(&state.log)?;
        Ok(state.log.version())
    }

    /// `statistics` are those of the files, by path.
    fn describe(
        &self,
        log: &TableLog,
        mut statistics: HashMap<String, String>,
    ) -> Result<PinnedTable, LakeError> {
        let files = log.files().iter().map(|file| PinnedFile {
            path: data_file::absolute_path(&self.root, &file.path),
            size: file.size,
            rows: file.rows,
            partition: file.partition.clone(),
            statistics: statistics.remove(&file.path),
        });
        Ok(PinnedTable {
            dataset: self.contract.name.clone(),
            version: log.version(),
            schema: log.schema()?.unwrap_or_else(|| self.contract.table_schema()),
            partition_columns: log.partition_columns().to_vec(),
            files: files.collect(),
        })
    }

    /// Lists the data files of the newest version.
    pub(crate) async fn data_files(&self) -> Result<Vec<DataFile>, LakeError> {
        let mut state = self.state.lock().await;
        state.log.refresh(&*self.store).await?;
        Ok(state.log.files().to_vec())
    }

    /// Returns for each key whether the newest version has it. `keys` are of the contract's current epoch, distinct and
    /// ascending; `former` are the same rows' keys of the former epoch. A table that does not exist has none of them,
    /// nor have a table and data files of another epoch, whose keys are not comparable.
    pub(crate) async fn contains(
        &self,
        keys: &[Key],
        former: Option<&[Key]>,
    ) -> Result<Vec<bool>, LakeError> {
        let mut state = self.state.lock().await;
        state.log.refresh(&*self.store).await?;
        let log = &state.log;
        let reader = match self.key_reader(log).await {
            Err(LakeError::IdentityChanged { .. } | LakeError::Foreign { .. }) => {
                return Ok(vec![false; keys.len()]);
            }
            reader => KeyReader { skips_other_epochs: true, ..reader? },
        };
        if log.version().is_none() {
            return Ok(vec![false; keys.len()]);
        }
        state.drop_stale_keys();
        let wanted = EpochKeys::for_batch(&self.contract, keys, former);
        let CachedState { log, keys: cache, .. } = &mut *state;
        Ok(reader.find_present(log.files().iter().map(KeySource::from), &wanted, cache).await?.present)
    }

    /// Reads the rows of a data file, in the columns of the contract.
    pub(crate) async fn read_file(&self, file: &DataFile) -> Result<Vec<RecordBatch>, LakeError> {
        self.read_columns(file, &self.contract.table_schema()).await
    }

    /// Reads the rows of a data file, in `columns`.
    pub(crate) async fn read_columns(
        &self,
        file: &DataFile,
        columns: &SchemaRef,
    ) -> Result<Vec<RecordBatch>, LakeError> {
        let (path, bytes) = self.fetch_file(file).await?;
        decode_file(&path, bytes, columns, &file.partition)
    }

    /// Reads a data file without decoding it. Returns its path from the lake's root, and its bytes.
    async fn fetch_file(&self, file: &DataFile) -> Result<(Path, Bytes), LakeError> {
        let path = data_file::absolute_path(&self.root, &file.path);
        let bytes = data_file::get(&*self.store, &path).await?;
        Ok((path, bytes))
    }

    /// The epoch of the keys that the contract computes.
    fn key_epoch(&self) -> Result<KeyEpoch, LakeError> {
        let hash = self.contract.identity_hash();
        let invalid =
            || LakeError::encode(&self.contract.name)(format!("identity hash {hash} does not have 16 bytes"));
        KeyEpoch::parse(hash).ok_or_else(invalid)
    }

    /// A reader of the table's keys, under the table's rules.
    ///
    /// # Errors
    /// [`LakeError::IdentityChanged`] if the table's keys cannot be computed under the contract.
    async fn key_reader<'a>(&'a self, log: &TableLog) -> Result<KeyReader<'a>, LakeError> {
        let (table_epoch, epochs) = self.find_epochs(log).await?;
        Ok(KeyReader {
            store: &self.store,
            table: &self.root,
            contract: &self.contract,
            table_epoch,
            epochs,
            skips_other_epochs: false,
            declares_keys: self.contract.stores_keys()
                && log.schema()?.is_some_and(|schema| schema.field_with_name(KEY_COLUMN).is_ok()),
        })
    }

    /// Determines the epoch in the table's properties and the epochs under which the contract finds rows. The catalog history is read only if
    /// another contract created the table, or has inserted rows.
    async fn find_epochs(&self, log: &TableLog) -> Result<(KeyEpoch, KnownEpochs), LakeError> {
        let current = self.key_epoch()?;
        let own = KnownEpochs::own(&self.contract, current);
        if log.version().is_none() {
            return Ok((current, own));
        }
        let property = log.property(IDENTITY_PROPERTY);
        let table_epoch = property.and_then(KeyEpoch::parse);
        let is_shared = self.is_shared.load(Ordering::Relaxed);
        if let Some(epoch) = table_epoch.filter(|epoch| !is_shared && own.contains(*epoch)) {
            return Ok((epoch, own));
        }
        let catalogs = self.history.load_all(&*self.store).await?;
        let known = KnownEpochs::with_others(&self.contract, current, &catalogs);
        let epoch = table_epoch.filter(|epoch| known.contains(*epoch));
        let dataset = self.contract.name.clone();
        let epoch = epoch.ok_or_else(|| match property {
            None => LakeError::Foreign { dataset },
            Some(table) => LakeError::IdentityChanged {
                dataset,
                table: table.to_owned(),
                contract: self.contract.label(),
                wanted: self.contract.identity_hash().to_owned(),
            },
        })?;
        Ok((epoch, known))
    }
}

/// Decodes the rows of a data file, in `columns`.
fn decode_file(
    path: &Path,
    bytes: Bytes,
    columns: &SchemaRef,
    partition: &PartitionValues,
) -> Result<Vec<RecordBatch>, LakeError> {
    let conform = |batch: RecordBatch| data_file::conform(&batch, columns, partition);
    let rows = data_file::open(path, bytes)?.batches;
    rows.map(|batch| batch.and_then(conform).map_err(LakeError::damaged(path))).collect()
}
