//! The optimistic commit loop: every change to a table is prepared against the newest version and committed as the next
//! version, and no other. After a conflict it is checked again against the newer version.

use std::sync::atomic::Ordering;
use std::time::Duration;

use arrow::array::StructArray;
use bytes::Bytes;
use delta_kernel::transaction::BoundWriteContext;
use object_store::path::Path;
use object_store::{ObjectStoreExt, PutPayload};
use pinlake_env::RetryPolicy;
use pinlake_schema::Contract;
use url::Url;

use super::evolve::RewrittenFiles;
use super::{CachedState, IDENTITY_PROPERTY, Table};
use crate::clustering::sort_rows;
use crate::commit::{PutOutcome, put_log_entry};
use crate::data_file::{self, EncodedFile, Rows};
use crate::error::LakeError;
use crate::key_list::KeyList;
use crate::keys::{self, FileKeys, SortedKeys};
use crate::log::{AddedFile, CommitInfo, FileChanges, Operation, RowCounts, TableLog};
use crate::partition_values::PartitionValues;

/// Table properties: the contract that created the table.
const CONTRACT_PROPERTY: &str = "pinlake.contract";
pub(super) const VERSION_PROPERTY: &str = "pinlake.contract.version";
/// Retries after conflicts.
const CONFLICT_RETRY: RetryPolicy = RetryPolicy {
    max_attempts: 24,
    initial_delay: Duration::from_millis(50),
    max_delay: Duration::from_secs(5),
};

/// Prepares a commit against a version of the table.
pub(super) trait PrepareCommit: Send {
    /// Whether to create the table if it does not exist. Without a table, nothing is committed otherwise.
    const CREATES_TABLE: bool;

    /// Stages the commit against the version in `state`; `None` if there is nothing to commit. `previous` is the commit
    /// that ended in a conflict: its files are written already and may be used again.
    fn prepare(
        &mut self,
        table: &Table,
        state: &mut CachedState,
        previous: Option<StagedCommit>,
    ) -> impl Future<Output = Result<Option<StagedCommit>, LakeError>> + Send;
}

/// A commit whose files are written and not yet in the log.
#[derive(Debug)]
pub(super) struct StagedCommit {
    pub operation: Operation,
    pub adds: Vec<StagedFile>,
    /// Paths of data files, relative to the table's folder.
    pub removes: Vec<String>,
    /// The lists of keys that the commit changes, each with its new number.
    pub key_lists: Vec<(KeyList, i64)>,
    pub counts: RowCounts,
}

/// A data file that is written with its key file.
#[derive(Debug)]
pub(super) struct StagedFile {
    /// Relative to the table's folder, URL-encoded.
    pub path: String,
    /// Size in bytes.
    size: u64,
    /// As in [`EncodedFile`].
    stats: StructArray,
    partition: PartitionValues,
    /// What to cache of its keys once it is committed.
    pub cached_keys: FileKeys,
}

impl StagedFile {
    pub(super) fn as_added(&self) -> AddedFile<'_> {
        AddedFile { path: &self.path, size: self.size, stats: &self.stats, partition: &self.partition }
    }
}

/// A data file and its key file, which are not written yet.
pub(super) struct UnwrittenFile {
    staged: StagedFile,
    bytes: Bytes,
    key_file: Bytes,
}

/// The longest name of a folder of a partition, and the most characters of all of them. File systems allow 255 bytes, and S3 1,024 in a key.
const MAX_FOLDER_CHARS: usize = 200;
const MAX_FOLDERS_CHARS: usize = 600;

/// The folder of a new data file: that of its partition, or the table's if the values are too long for a path. Readers take the values from
/// the log and not from the path.
fn choose_folder(context: &BoundWriteContext) -> Url {
    let (folder, table) = (context.write_dir(), context.table_root_dir());
    let is_long = |name: &str| name.len() > MAX_FOLDER_CHARS;
    if folder.path().split('/').any(is_long) || folder.path().len() > MAX_FOLDERS_CHARS {
        return table.clone();
    }
    folder
}

/// The properties that a table has of the contract that its rows were written under first.
pub(super) fn contract_properties(contract: &Contract) -> [(String, String); 3] {
    let properties = [
        (CONTRACT_PROPERTY, contract.name.clone()),
        (VERSION_PROPERTY, contract.version.to_string()),
        (IDENTITY_PROPERTY, contract.identity_hash().to_owned()),
    ];
    properties.map(|(name, value)| (name.to_owned(), value))
}

impl Table {
    /// Commits what `operation` prepares. After a conflict it refreshes the log and prepares again, after a random
    /// delay. Returns the version and the commit; `None` if there was nothing to commit.
    ///
    /// # Errors
    /// [`LakeError::Contended`] after 24 conflicts, [`LakeError::CommitUnknown`], and what `operation` returns.
    pub(super) async fn commit_with_retry<P: PrepareCommit>(
        &self,
        operation: &mut P,
    ) -> Result<Option<(u64, StagedCommit)>, LakeError> {
        let mut state = self.state.lock().await;
        let mut delays = CONFLICT_RETRY.delays(&self.env.rng);
        let mut previous = None;
        let mut rewritten = RewrittenFiles::default();
        loop {
            state.log.refresh(&*self.store).await?;
            if state.log.version().is_none() {
                if !P::CREATES_TABLE {
                    return Ok(None);
                }
                self.create(&mut state.log).await?;
            }
            let changes = self.compare_columns(&state.log)?;
            if !changes.widened.is_empty() {
                if self.widen_columns(&mut state, &changes.widened, &mut rewritten).await?.is_some() {
                    continue;
                }
            } else if P::CREATES_TABLE && !changes.added.is_empty() {
                // Only rows of the contract have values in its new columns.
                self.find_epochs(&state.log).await?;
                if self.add_columns(&mut state.log, &changes.added).await?.is_some() {
                    continue;
                }
            } else {
                state.drop_stale_keys();
                let staged = match operation.prepare(self, &mut state, previous.take()).await {
                    // Rows of another contract, which may be in the history.
                    Err(LakeError::IdentityChanged { .. })
                        if !self.is_shared.swap(true, Ordering::Relaxed) =>
                    {
                        continue;
                    }
                    staged => staged?,
                };
                let Some(staged) = staged else { return Ok(None) };
                if let Some(version) = self.try_commit(&mut state, &staged).await? {
                    return Ok(Some((version, staged)));
                }
                previous = Some(staged);
            }
            let dataset = &self.contract.name;
            let Some(delay) = delays.next() else {
                let (dataset, attempts) = (dataset.clone(), CONFLICT_RETRY.max_attempts);
                return Err(LakeError::Contended { dataset, attempts });
            };
            tracing::info!(%dataset, ?delay, "commit conflict: version taken by another writer, checking again");
            tokio::time::sleep(delay).await;
        }
    }

    /// Commits as the version after the known one. Returns the version; `None` after a conflict.
    async fn try_commit(
        &self,
        state: &mut CachedState,
        staged: &StagedCommit,
    ) -> Result<Option<u64>, LakeError> {
        let CachedState { log, keys, .. } = state;
        let info = self.build_commit_info(staged.counts);
        let modified_ms = self.env.clock.now().timestamp_millis();
        let changes = FileChanges {
            operation: staged.operation,
            adds: staged.adds.iter().map(StagedFile::as_added).collect(),
            removes: staged.removes.iter().map(String::as_str).collect(),
            key_lists: &staged.key_lists,
        };
        let commit = log.build_commit(&changes, modified_ms, &info)?;
        let version = self.put_commit(log, commit, &info).await?;
        if version.is_some() {
            for added in &staged.adds {
                keys.insert(&added.path, added.cached_keys.clone());
            }
        }
        Ok(version)
    }

    /// Puts a commit as the version after the known one, applies it to the log, and writes a checkpoint if one is due. Returns the version;
    /// `None` after a conflict.
    pub(super) async fn put_commit(
        &self,
        log: &mut TableLog,
        commit: Bytes,
        info: &CommitInfo,
    ) -> Result<Option<u64>, LakeError> {
        let version = log.version().map_or(0, |version| version + 1);
        let entry = log.entry_path(version);
        match put_log_entry(&*self.store, &entry, &commit, &info.attempt, &self.env.rng).await? {
            PutOutcome::Conflict => Ok(None),
            PutOutcome::Committed { e_tag } => {
                log.apply_commit(version, commit, e_tag).await?;
                if version.is_multiple_of(self.maintenance.checkpoint_every) {
                    self.write_checkpoint(log).await;
                }
                Ok(Some(version))
            }
        }
    }

    /// Creates the table, unless another writer does.
    async fn create(&self, log: &mut TableLog) -> Result<(), LakeError> {
        let contract = &self.contract;
        let properties = contract_properties(contract).to_vec();
        let info = self.build_commit_info(RowCounts::default());
        let commit =
            log.build_create_commit(&contract.table_schema(), &contract.partition_by, properties, &info)?;
        put_log_entry(&*self.store, &log.entry_path(0), &commit, &info.attempt, &self.env.rng).await?;
        log.refresh(&*self.store).await
    }

    /// Writes rows of one partition as a data file with its key file. Both exist before a commit names them. `keys` are those of the rows.
    pub(super) async fn stage_file(
        &self,
        log: &TableLog,
        rows: &[Rows],
        keys: SortedKeys,
        partition: &PartitionValues,
    ) -> Result<StagedFile, LakeError> {
        self.write_file(self.encode_file(log, rows, keys, partition, &self.env.rng.id())?).await
    }

    /// Encodes rows of one partition and their keys. `id` names the file.
    pub(super) fn encode_file(
        &self,
        log: &TableLog,
        rows: &[Rows],
        keys: SortedKeys,
        partition: &PartitionValues,
        id: &str,
    ) -> Result<UnwrittenFile, LakeError> {
        let dataset = &self.contract.name;
        let state = log.write_state()?;
        let context = log.write_context(&state, partition)?;
        let schema = context.physical_data_schema();
        let stripped: Vec<Rows>;
        let mut rows = rows;
        if !partition.is_empty() {
            let own = rows.iter().map(|rows| rows.without_columns(partition));
            stripped = own.collect::<Result<_, _>>().map_err(LakeError::encode(dataset))?;
            rows = &stripped;
        }
        let sorted_by = &self.contract.cluster_by;
        let sorted: Vec<Rows>;
        if !sorted_by.is_empty() {
            sorted = sort_rows(rows, sorted_by).map_err(LakeError::encode(dataset))?;
            rows = &sorted;
        }
        let stats_columns = state.stats_columns();
        let EncodedFile { bytes, stats } =
            data_file::encode(dataset, rows, keys.epoch, sorted_by, stats_columns, schema.as_ref())?;
        let name = format!("part-{id}.parquet");
        let path = choose_folder(&context).join(&name).map_err(LakeError::encode(dataset))?;
        let path = context.resolve_file_path(&path).map_err(LakeError::delta(dataset))?;
        let (key_file, cached_keys) = keys::encode(&keys);
        let (size, partition) = (bytes.len() as u64, partition.clone());
        Ok(UnwrittenFile {
            staged: StagedFile { path, size, stats, partition, cached_keys },
            bytes,
            key_file,
        })
    }

    /// Writes a data file and its key file.
    pub(super) async fn write_file(&self, unwritten: UnwrittenFile) -> Result<StagedFile, LakeError> {
        let UnwrittenFile { staged, bytes, key_file } = unwritten;
        let data_path = data_file::absolute_path(&self.root, &staged.path);
        let key_path = keys::key_path(&self.root, &staged.path);
        let put = async |at: &Path, bytes: Bytes| {
            self.store.put(at, PutPayload::from_bytes(bytes)).await.map_err(LakeError::store(at))
        };
        futures::future::try_join(put(&data_path, bytes), put(&key_path, key_file)).await?;
        Ok(staged)
    }

    /// Writes a checkpoint. It only makes reads faster, so a failure is logged and not returned.
    async fn write_checkpoint(&self, log: &mut TableLog) {
        let written = async {
            for (path, bytes) in log.build_checkpoint().await? {
                self.store.put(&path, bytes.into()).await.map_err(LakeError::store(&path))?;
            }
            Ok::<_, LakeError>(())
        };
        if let Err(error) = written.await {
            tracing::warn!(dataset = %self.contract.name, %error, "checkpoint failed, the next one will be tried");
        }
    }

    /// The info of one commit, with a new attempt id.
    pub(super) fn build_commit_info(&self, counts: RowCounts) -> CommitInfo {
        CommitInfo { attempt: self.env.rng.id(), contract: self.contract.label(), counts }
    }
}
