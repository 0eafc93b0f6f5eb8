//! The Delta table of one dataset: its rules, its files, and the operations on it.

mod commit;
mod commit_summary;
pub(crate) mod insert;
mod merge;
#[cfg(test)]
mod tests;
mod update;

use std::sync::Arc;

use arrow::array::RecordBatch;
use arrow::datatypes::SchemaRef;
use bytes::Bytes;
use object_store::ObjectStore;
use object_store::path::Path;
use pinlake_env::Env;
use pinlake_schema::{Contract, KEY_COLUMN};
use tokio::sync::Mutex;

pub use self::commit_summary::CommitSummary;

use crate::data_file::{self, DataFile};
use crate::error::LakeError;
use crate::keys::{EpochKeys, Key, KeyCache, KeyEpoch, KeyMemoryBudget, KeyReader};
use crate::log::TableLog;
use crate::maintenance::MaintenancePolicy;

/// First path segment of all tables.
const TABLES: &str = "tables";
/// Table property: the identity hash of the contract that created the table.
const IDENTITY_PROPERTY: &str = "pinlake.identity";

/// One version of a table, which stays readable as it is.
#[derive(Debug, Clone)]
pub struct PinnedTable {
    /// Dataset.
    pub dataset: String,
    /// Version; `None` if the table does not exist yet.
    pub version: Option<u64>,
    /// Its columns.
    pub schema: SchemaRef,
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
}

/// The Delta table of one dataset. Get it from [`Lake::table`](crate::Lake::table).
///
/// [`Table::insert`] inserts rows whose keys are absent, [`Table::pin`] lists the files to read.
#[derive(Debug)]
pub struct Table {
    store: Arc<dyn ObjectStore>,
    env: Env,
    contract: Arc<Contract>,
    root: Path,
    maintenance: MaintenancePolicy,
    /// Its lock lets a process make one commit to a table at a time: two would only conflict.
    state: Mutex<CachedState>,
}

/// What a process keeps of a table between calls.
#[derive(Debug)]
struct CachedState {
    log: TableLog,
    keys: KeyCache,
}

impl Table {
    pub(crate) fn new(
        store: Arc<dyn ObjectStore>,
        env: Env,
        contract: Arc<Contract>,
        budget: KeyMemoryBudget,
        maintenance: MaintenancePolicy,
    ) -> Self {
        let root = Path::from_iter([TABLES, &contract.name]);
        let log = TableLog::new(&contract.name, root.clone());
        let state = Mutex::new(CachedState { log, keys: KeyCache::new(budget) });
        Self { store, env, contract, root, maintenance, state }
    }

    /// The contract of the table.
    pub fn contract(&self) -> &Arc<Contract> {
        &self.contract
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
        let files = state.log.files().iter().map(|file| PinnedFile {
            path: data_file::absolute_path(&self.root, &file.path),
            size: file.size,
            rows: file.rows,
        });
        Ok(PinnedTable {
            dataset: self.contract.name.clone(),
            version: state.log.version(),
            schema: state.log.schema()?.unwrap_or_else(|| self.contract.table_schema()),
            files: files.collect(),
        })
    }

    /// Reads who committed a version, when, and how many rows; `None` if its log entry is gone, as entries before a
    /// checkpoint may be.
    ///
    /// # Errors
    /// If the store fails or the entry is damaged.
    pub async fn read_commit(&self, version: u64) -> Result<Option<CommitSummary>, LakeError> {
        let path = self.state.lock().await.log.entry_path(version);
        commit_summary::read(&*self.store, &path, version).await
    }

    /// Lists the data files of the newest version.
    pub(crate) async fn data_files(&self) -> Result<Vec<DataFile>, LakeError> {
        let mut state = self.state.lock().await;
        state.log.refresh(&*self.store).await?;
        Ok(state.log.files().to_vec())
    }

    /// Returns for each key whether the newest version has it. `keys` are of the contract's current epoch, distinct and
    /// ascending; `former` are the same rows' keys of the former epoch. A table that does not exist has none of them,
    /// nor has a table of another identity, whose keys are not comparable.
    pub(crate) async fn contains(
        &self,
        keys: &[Key],
        former: Option<&[Key]>,
    ) -> Result<Vec<bool>, LakeError> {
        let mut state = self.state.lock().await;
        state.log.refresh(&*self.store).await?;
        let CachedState { log, keys: cache } = &mut *state;
        if log.version().is_none() || self.check_identity(log).is_err() {
            return Ok(vec![false; keys.len()]);
        }
        cache.retain(log.files());
        let wanted = EpochKeys::for_batch(&self.contract, keys, former);
        self.key_reader(log)?.find_present(log.files(), &wanted, cache).await
    }

    /// Reads the rows of a data file, in the table's columns.
    pub(crate) async fn read_file(&self, file: &DataFile) -> Result<Vec<RecordBatch>, LakeError> {
        let (path, bytes) = self.fetch_file(file).await?;
        self.decode_file(&path, bytes)
    }

    /// Reads a data file without decoding it. Returns its path from the lake's root, and its bytes.
    async fn fetch_file(&self, file: &DataFile) -> Result<(Path, Bytes), LakeError> {
        let path = data_file::absolute_path(&self.root, &file.path);
        let bytes = data_file::get(&*self.store, &path).await?;
        Ok((path, bytes))
    }

    /// Decodes the rows of a data file, in the table's columns.
    fn decode_file(&self, path: &Path, bytes: Bytes) -> Result<Vec<RecordBatch>, LakeError> {
        let columns = self.contract.table_schema();
        let conform = |batch: RecordBatch| data_file::conform(&batch, &columns);
        let rows = data_file::open(path, bytes)?.batches;
        rows.map(|batch| batch.and_then(conform).map_err(LakeError::damaged(path))).collect()
    }

    /// The epoch of the keys that the contract computes.
    fn key_epoch(&self) -> Result<KeyEpoch, LakeError> {
        let hash = self.contract.identity_hash();
        let invalid =
            || LakeError::encode(&self.contract.name)(format!("identity hash {hash} does not have 16 bytes"));
        KeyEpoch::parse(hash).ok_or_else(invalid)
    }

    /// A reader of the table's keys, under the table's rules.
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

    /// Checks that the table has the contract's identity and columns.
    fn check_rules(&self, log: &TableLog) -> Result<(), LakeError> {
        self.check_identity(log)?;
        let Some(actual) = log.schema()? else { return Ok(()) };
        let expected = self.contract.arrow_schema();
        // A table from before keys were stored does not declare their column. Its data files have it anyway;
        // readers ignore it.
        let columns = |schema: &SchemaRef| -> Vec<_> {
            let fields = schema.fields().iter().filter(|field| field.name() != KEY_COLUMN);
            fields.map(|field| (field.name().clone(), field.data_type().clone())).collect()
        };
        if columns(&actual) != columns(&expected) {
            let why =
                format!("the table has {:?}, the contract has {:?}", columns(&actual), columns(&expected));
            return Err(LakeError::SchemaChanged { dataset: self.contract.name.clone(), why });
        }
        Ok(())
    }

    /// Checks that the table has the contract's current or former identity. Returns the epoch in the table's
    /// properties.
    fn check_identity(&self, log: &TableLog) -> Result<KeyEpoch, LakeError> {
        let table = log.property(IDENTITY_PROPERTY);
        let epoch = table.and_then(KeyEpoch::parse);
        let epoch = epoch.filter(|epoch| KeyEpoch::list_for_contract(&self.contract).contains(epoch));
        epoch.ok_or_else(|| LakeError::IdentityChanged {
            dataset: self.contract.name.clone(),
            table: table.unwrap_or("(none)").to_owned(),
            contract: self.contract.label(),
            wanted: self.contract.identity_hash().to_owned(),
        })
    }
}
