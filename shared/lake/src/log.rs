//! A table's Delta log, replayed in memory.
//!
//! `delta_kernel` is synchronous and does its own I/O, retries and error mapping. Here it does none: pinlake fetches
//! the log's files into an in-memory copy, the kernel replays them there, and pinlake takes the bytes of a
//! transaction's commit from it, which [`crate::commit`] puts. So all I/O of a table is pinlake's: asynchronous,
//! cancellable at every await, and with the store's own errors. The code is the same for a folder, S3 and the
//! simulator.

mod alter;
mod commit_info;
#[cfg(test)]
mod delta_kernel_tests;
mod kernel;
mod listing;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, StructArray};
use arrow::datatypes::{Field, Schema, SchemaRef};
use bytes::Bytes;
use delta_kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::scan::state::ScanFile;
use delta_kernel::schema::{DataType, StructField, StructType};
use delta_kernel::table_features::ColumnMappingMode;
use delta_kernel::transaction::create_table::create_table;
use delta_kernel::transaction::data_layout::DataLayout;
use delta_kernel::transaction::{
    BoundWriteContext, CommitResult, Transaction, UpdateTableOperation, WriteState,
};
use delta_kernel::{FileMeta, FilteredEngineData, KernelError, KernelResult, Snapshot};
use delta_kernel_default_engine::parquet::DataFileMetadata;
use delta_kernel_default_engine::{DefaultEngine, build_add_file_metadata};
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_store::{head_if_exists, read_if_exists};
use serde::Deserialize;
use url::Url;

pub(crate) use self::alter::AlteredLog;
pub(crate) use self::commit_info::{CommitInfo, RowCounts};
use self::kernel::{
    CaptureCommitter, InlineExecutor, MIRROR, build_engine, read_captured_commit, read_mirrored,
};
use self::listing::{EntryMeta, LogListing, entry_name, mirror_name};
use crate::data_file::DataFile;
use crate::error::LakeError;
use crate::key_list::KeyList;
use crate::partition_values::{self, PartitionValues};

const LOG: &str = "_delta_log";
const LAST_CHECKPOINT: &str = "_last_checkpoint";
const ENGINE_INFO: &str = concat!("pinlake/", env!("CARGO_PKG_VERSION"));
/// The application id of the `txn` actions of every commit. A table's state keeps every id forever.
const APP_ID: &str = "pinlake";
/// The operation in the log of [`Operation::Rebuild`].
pub(crate) const REBUILD: &str = "REBUILD";
/// Log files that are fetched at the same time.
const CONCURRENCY: usize = 16;

/// Why a commit is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Operation {
    /// Adds rows that are new.
    Insert,
    /// Replaces files by files in which some rows have changed.
    Update,
    /// Replaces files by fewer files with the same rows.
    Merge,
    /// Replaces files by files with the same values in other types.
    ChangeTypes,
    /// Adds rows, and replaces or deletes those of earlier records.
    Upsert,
    /// Replaces all files by files of another contract.
    Rebuild,
}

impl Operation {
    fn as_kernel(self) -> UpdateTableOperation {
        match self {
            Operation::Insert => UpdateTableOperation::Write,
            Operation::Update => UpdateTableOperation::Update,
            Operation::Merge => UpdateTableOperation::Optimize,
            Operation::Upsert => UpdateTableOperation::Merge,
            Operation::Rebuild => UpdateTableOperation::Custom(REBUILD.to_owned()),
            Operation::ChangeTypes => UpdateTableOperation::Custom("CHANGE COLUMN".to_owned()),
        }
    }

    /// Whether readers of the table's changes see a change (Delta protocol, `dataChange`).
    fn changes_data(self) -> bool {
        !matches!(self, Operation::Merge | Operation::ChangeTypes)
    }
}

/// The files that one commit adds and removes.
#[derive(Debug, Clone)]
pub(crate) struct FileChanges<'a> {
    pub operation: Operation,
    pub adds: Vec<AddedFile<'a>>,
    /// Paths of data files of the known version.
    pub removes: Vec<&'a str>,
    /// The lists of keys that change, each with its number from now on.
    pub key_lists: &'a [(KeyList, i64)],
}

/// A data file that a commit adds.
#[derive(Debug, Clone)]
pub(crate) struct AddedFile<'a> {
    /// Relative to the table's folder, URL-encoded.
    pub path: &'a str,
    /// Size in bytes.
    pub size: u64,
    /// As in [`EncodedFile`](crate::data_file::EncodedFile).
    pub stats: &'a StructArray,
    pub partition: &'a PartitionValues,
}

/// The log of one table, as of the version that was last read or committed.
pub(crate) struct TableLog {
    dataset: String,
    root: Path,
    /// Copies of the log files since the last checkpoint. The kernel reads from it and writes to it.
    mirror: Arc<InMemory>,
    engine: DefaultEngine<InlineExecutor>,
    snapshot: Option<Arc<Snapshot>>,
    /// The log entry of that version.
    head: Option<EntryMeta>,
    files: Vec<DataFile>,
    /// The columns whose values are in the log and not in the data files.
    partition_columns: Vec<String>,
}

impl fmt::Debug for TableLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TableLog")
            .field("root", &self.root)
            .field("version", &self.version())
            .finish_non_exhaustive()
    }
}

impl TableLog {
    /// The log of the table in `root`. Nothing is read yet.
    pub(crate) fn new(dataset: &str, root: Path) -> Self {
        let mirror = Arc::new(InMemory::new());
        let engine = build_engine(mirror.clone());
        Self {
            dataset: dataset.to_owned(),
            root,
            mirror,
            engine,
            snapshot: None,
            head: None,
            files: Vec::new(),
            partition_columns: Vec::new(),
        }
    }

    /// The known version; `None` if there is no table.
    pub(crate) fn version(&self) -> Option<u64> {
        self.snapshot.as_ref().map(|snapshot| snapshot.version())
    }

    /// The data files of the known version.
    pub(crate) fn files(&self) -> &[DataFile] {
        &self.files
    }

    /// The partition columns of the known version, in the order of the table's columns.
    pub(crate) fn partition_columns(&self) -> &[String] {
        &self.partition_columns
    }

    /// A property of the table that Delta does not define.
    pub(crate) fn property(&self, name: &str) -> Option<&str> {
        let properties = &self.snapshot.as_ref()?.table_properties().unknown_properties;
        properties.get(name).map(String::as_str)
    }

    /// The number of a list of keys; `None` if the table has none.
    ///
    /// # Errors
    /// If the kernel cannot read the log.
    pub(crate) fn key_list(&self, list: KeyList) -> Result<Option<i64>, LakeError> {
        let Some(snapshot) = &self.snapshot else { return Ok(None) };
        snapshot.get_app_id_version(list.app_id(), &self.engine).map_err(|error| self.delta(error))
    }

    /// The table's columns; `None` if there is no table.
    ///
    /// # Errors
    /// If the kernel cannot express them in Arrow.
    pub(crate) fn schema(&self) -> Result<Option<SchemaRef>, LakeError> {
        let Some(snapshot) = &self.snapshot else {
            return Ok(None);
        };
        let schema: Schema = snapshot
            .schema()
            .as_ref()
            .try_into_arrow()
            .map_err(|error: arrow::error::ArrowError| self.delta(KernelError::from(error)))?;
        Ok(Some(Arc::new(schema)))
    }

    /// The path of the log entry of `version`.
    pub(crate) fn entry_path(&self, version: u64) -> Path {
        Self::path_of_entry(&self.root, version)
    }

    /// The path of the log entry of `version` of the table in `root`.
    pub(crate) fn path_of_entry(root: &Path, version: u64) -> Path {
        root.clone().join(LOG).join(entry_name(version))
    }

    /// The versions of the table in `root` whose log entries exist, ascending.
    ///
    /// # Errors
    /// If the store fails.
    pub(crate) async fn list_versions(store: &dyn ObjectStore, root: &Path) -> Result<Vec<u64>, LakeError> {
        let listing = LogListing::read(store, &root.clone().join(LOG), None).await?;
        Ok(listing.entries.into_keys().collect())
    }

    /// Reads the log up to `version`, or to its end if it ends before.
    ///
    /// # Errors
    /// If the store fails or the log is damaged; [`LakeError::VersionRemoved`] if log clean-up has removed what is needed.
    pub(crate) async fn read_until(
        &mut self,
        store: &dyn ObjectStore,
        version: u64,
    ) -> Result<(), LakeError> {
        let mut listing = LogListing::read(store, &self.folder(), None).await?;
        let exists = !listing.is_empty();
        listing.truncate(version);
        let read = match exists && listing.is_empty() {
            true => Err(self.incomplete(&entry_name(version))),
            false => self.load_listed(store, listing, None).await,
        };
        read.map_err(|error| match error {
            LakeError::LogIncomplete { dataset, .. } => LakeError::VersionRemoved { dataset },
            other => other,
        })
    }

    /// Reads the newest version. Fetches and replays the entries after the known version, or reads the whole log again
    /// if another program has truncated, restored or replaced it.
    ///
    /// # Errors
    /// If the store fails or the log is damaged; [`LakeError::LogIncomplete`] if an entry is missing.
    pub(crate) async fn refresh(&mut self, store: &dyn ObjectStore) -> Result<(), LakeError> {
        let Some(known) = self.version() else { return self.load(store).await };
        if self.advance(store, known).await? {
            return Ok(());
        }
        tracing::warn!(dataset = %self.dataset, known, "the log was truncated or replaced, reading all of it again");
        let mut reread = Self::new(&self.dataset, self.root.clone());
        reread.load(store).await?;
        if reread.version() < Some(known) {
            // The newest entries are missing. A commit in their place would prevent their restoration.
            return Err(self.incomplete(&entry_name(known)));
        }
        *self = reread;
        Ok(())
    }

    /// Replays the entries after the `known` version. Returns false if the entry of that version is missing or
    /// replaced, or if a later one is missing: a truncated log must not look like a log without new entries.
    async fn advance(&mut self, store: &dyn ObjectStore, known: u64) -> Result<bool, LakeError> {
        let folder = self.folder();
        let listing = LogListing::read(store, &folder, Some(known)).await?;
        let is_same = |head: &EntryMeta| self.head.as_ref().is_none_or(|own| own.may_equal(head));
        let head = match listing.entries.get(&known) {
            Some(head) => Some(head.clone()),
            // The listing of a folder is not atomic and may lack an existing entry.
            None => self.head_entry(store, known).await?,
        };
        let Some(head) = head.filter(|head| is_same(head)) else { return Ok(false) };
        let Some((newest, entry)) = listing.entries.last_key_value().filter(|(newest, _)| **newest > known)
        else {
            self.head = Some(head);
            return Ok(true);
        };
        let names = (known + 1..=*newest).map(entry_name).collect();
        // Fetches every version by name, listed or not.
        if self.fetch(store, names).await?.is_some() {
            return Ok(false);
        }
        self.replay()?;
        self.head = Some(entry.clone());
        Ok(true)
    }

    /// Reads the log from its newest complete checkpoint on, or from version 0.
    async fn load(&mut self, store: &dyn ObjectStore) -> Result<(), LakeError> {
        let folder = self.folder();
        let hint = self.read_checkpoint_hint(store).await?;
        let mut listing = LogListing::read(store, &folder, hint).await?;
        if hint.is_some() && listing.newest_checkpoint().is_none() {
            // The hint names a checkpoint that is missing or has an unknown format: ignore it.
            listing = LogListing::read(store, &folder, None).await?;
        }
        self.load_listed(store, listing, hint).await
    }

    /// Reads the files of a listing. `hint` is the version in `_last_checkpoint`.
    async fn load_listed(
        &mut self,
        store: &dyn ObjectStore,
        listing: LogListing,
        hint: Option<u64>,
    ) -> Result<(), LakeError> {
        let checkpoint = listing.newest_checkpoint();
        let newest = listing.entries.keys().next_back().copied();
        let Some(newest) = newest.max(checkpoint.as_ref().map(|(version, _)| *version)) else {
            // Without any file there is no table yet. If only a hint or an unknown checkpoint is left, the log has lost
            // its beginning.
            return match hint.or(listing.unknown_checkpoint) {
                None => Ok(()),
                Some(_) => Err(self.incomplete(&entry_name(0))),
            };
        };
        let first = checkpoint.as_ref().map_or(0, |(version, _)| version + 1);
        let mut names: Vec<String> = (first..=newest).map(entry_name).collect();
        if let Some((version, files)) = checkpoint {
            // The entry of the checkpoint's own version may be missing. It has the version's timestamp.
            names.extend(listing.entries.contains_key(&version).then(|| entry_name(version)));
            names.extend(files);
        }
        if let Some(missing) = self.fetch(store, names).await? {
            return Err(self.incomplete(&missing));
        }
        self.replay()?;
        self.head = listing.entries.get(&newest).cloned();
        Ok(())
    }

    async fn head_entry(
        &self,
        store: &dyn ObjectStore,
        version: u64,
    ) -> Result<Option<EntryMeta>, LakeError> {
        let path = self.entry_path(version);
        let meta = head_if_exists(store, &path).await.map_err(LakeError::store(&path))?;
        Ok(meta.map(|meta| EntryMeta { size: meta.size, e_tag: meta.e_tag }))
    }

    fn folder(&self) -> Path {
        self.root.clone().join(LOG)
    }

    fn incomplete(&self, missing: &str) -> LakeError {
        let entry = format!("{}/{missing}", self.folder());
        LakeError::LogIncomplete { dataset: self.dataset.clone(), entry }
    }

    /// Copies log files into memory. Returns the name of the first one that is missing.
    async fn fetch(&self, store: &dyn ObjectStore, names: Vec<String>) -> Result<Option<String>, LakeError> {
        let (mirror, folder) = (&self.mirror, &self.folder());
        let missing: Vec<Option<String>> = futures::stream::iter(names)
            .map(|name| async move {
                let path = Path::from_iter(folder.parts().chain(Path::from(name.as_str()).parts()));
                let bytes = read_if_exists(store, &path).await.map_err(LakeError::store(&path))?;
                let Some(bytes) = bytes else { return Ok::<_, LakeError>(Some(name)) };
                let copy = Path::from(format!("{LOG}/{}", mirror_name(&name)));
                mirror.put(&copy, bytes.into()).await.map_err(LakeError::store(&path))?;
                Ok(None)
            })
            .buffered(CONCURRENCY)
            .try_collect()
            .await?;
        Ok(missing.into_iter().flatten().min())
    }

    /// The version in `_last_checkpoint`, if there is one.
    pub(crate) async fn read_checkpoint_hint(
        &self,
        store: &dyn ObjectStore,
    ) -> Result<Option<u64>, LakeError> {
        #[derive(Deserialize)]
        struct Hint {
            version: u64,
        }
        let path = self.folder().join(LAST_CHECKPOINT);
        let bytes = read_if_exists(store, &path).await.map_err(LakeError::store(&path))?;
        // An invalid hint is ignored (Delta protocol, "Last Checkpoint File").
        Ok(bytes.and_then(|bytes| serde_json::from_slice::<Hint>(&bytes).ok()).map(|hint| hint.version))
    }

    /// Applies a version that this process has committed. `e_tag` is the entry's ETag, if the store returned it.
    ///
    /// # Errors
    /// If the kernel cannot replay the commit.
    pub(crate) async fn apply_commit(
        &mut self,
        version: u64,
        commit: Bytes,
        e_tag: Option<String>,
    ) -> Result<(), LakeError> {
        let copy = Path::from(format!("{LOG}/{}", entry_name(version)));
        let head = EntryMeta { size: commit.len() as u64, e_tag };
        self.mirror.put(&copy, commit.into()).await.map_err(LakeError::store(&copy))?;
        self.replay()?;
        self.head = Some(head);
        Ok(())
    }

    fn replay(&mut self) -> Result<(), LakeError> {
        let delta = LakeError::delta(&self.dataset);
        let snapshot = match self.snapshot.take() {
            Some(known) => Snapshot::builder_from(known).build(&self.engine).map_err(&delta)?,
            None => Snapshot::builder_for(MIRROR).build(&self.engine).map_err(&delta)?,
        };
        if has_column_mapping(&snapshot) {
            return Err(LakeError::UnsupportedTable {
                dataset: self.dataset.clone(),
                why: format!("its columns have other names in data files ({COLUMN_MAPPING})"),
                remedy: "Write its rows to a table without column mapping, and put that in its place",
            });
        }
        if let Some(column) = find_variant(&snapshot.schema()) {
            return Err(LakeError::UnsupportedTable {
                dataset: self.dataset.clone(),
                why: format!("its column {column} is a variant"),
                remedy: "Write its rows to a table with JSON texts in place of variants, and put that in its place",
            });
        }
        let scan = snapshot.clone().scan_builder().build().map_err(&delta)?;
        let stored = scan.physical_schema();
        let partition_columns = scan.logical_schema().fields().map(|field| field.name().clone());
        let partition_columns = partition_columns.filter(|name| stored.field(name).is_none()).collect();
        let mut found = FoundFiles { partition_columns, ..FoundFiles::default() };
        for metadata in scan.scan_metadata(&self.engine).map_err(&delta)? {
            found = metadata
                .and_then(|metadata| metadata.visit_scan_files(found, push_data_file))
                .map_err(&delta)?;
        }
        if let Some(file) = found.with_deletion_vector {
            let writer = self.find_writer(snapshot.version(), &file);
            let writer = writer.unwrap_or_else(|| "another program".to_owned());
            return Err(LakeError::UnsupportedTable {
                dataset: self.dataset.clone(),
                why: format!("its data file {file} has a deletion vector, which {writer} wrote"),
                remedy: "Set delta.enableDeletionVectors to false and rewrite the table, with Spark: REORG TABLE ... APPLY (PURGE)",
            });
        }
        self.files = found.files;
        self.partition_columns = found.partition_columns;
        self.snapshot = Some(snapshot);
        Ok(())
    }

    /// What the newest entry that adds `file` calls its writer, if the entry was read.
    fn find_writer(&self, newest: u64, file: &str) -> Option<String> {
        let entries = (0..=newest).rev().map_while(|version| {
            read_mirrored(&self.mirror, &Path::from(format!("{LOG}/{}", entry_name(version)))).ok()
        });
        entries.into_iter().find_map(|entry| {
            let actions: Vec<serde_json::Value> =
                serde_json::Deserializer::from_slice(&entry).into_iter().flatten().collect();
            let adds = actions.iter().any(|action| action["add"]["path"] == file);
            let info = actions.iter().find_map(|action| action["commitInfo"]["engineInfo"].as_str());
            info.filter(|_| adds).map(str::to_owned)
        })
    }

    /// Builds the commit that creates the table, version 0, with its columns, partition columns and properties and no rows.
    ///
    /// # Errors
    /// If the kernel does not support the columns.
    pub(crate) fn build_create_commit(
        &self,
        schema: &Schema,
        partition_by: &[String],
        properties: Vec<(String, String)>,
        info: &CommitInfo,
    ) -> Result<Bytes, LakeError> {
        let delta = LakeError::delta(&self.dataset);
        let schema: StructType = schema.try_into_kernel().map_err(|error| delta(KernelError::from(error)))?;
        let (info, info_schema) = info.to_engine_data(&self.dataset)?;
        let result = create_table(MIRROR, Arc::new(schema), ENGINE_INFO, false)
            .with_table_properties(properties)
            .with_data_layout(match partition_by {
                [] => DataLayout::None,
                columns => DataLayout::partitioned(columns),
            })
            .with_commit_info(info, info_schema)
            .build(&self.engine, Box::new(CaptureCommitter))
            .and_then(|transaction| transaction.commit(&self.engine));
        self.take_commit(result)
    }

    /// Builds the commit that adds columns to the table and changes nothing else.
    ///
    /// # Errors
    /// If there is no table, or the kernel does not support the columns.
    pub(crate) fn build_add_columns_commit(
        &self,
        columns: &[Field],
        info: &CommitInfo,
    ) -> Result<Bytes, LakeError> {
        let delta = LakeError::delta(&self.dataset);
        let snapshot =
            self.snapshot.clone().ok_or_else(|| delta(KernelError::generic("the table does not exist")))?;
        let (info, schema) = info.to_engine_data(&self.dataset)?;
        let mut builder = snapshot.update_table(UpdateTableOperation::AlterTable, ENGINE_INFO, false);
        for column in columns {
            let field: StructField =
                column.try_into_kernel().map_err(|error| delta(KernelError::from(error)))?;
            builder = builder.add_column(field);
        }
        let result = builder
            .with_commit_info(info, schema)
            .build(&self.engine, Box::new(CaptureCommitter))
            .and_then(|transaction| transaction.commit(&self.engine));
        self.take_commit(result)
    }

    /// The kernel's settings for data files of one partition.
    ///
    /// # Errors
    /// If the kernel does not accept the partition.
    pub(crate) fn write_context(
        &self,
        state: &Arc<WriteState>,
        partition: &PartitionValues,
    ) -> Result<BoundWriteContext, LakeError> {
        let mut builder = state.write_context_builder();
        if !partition.is_empty() {
            let schema = self.snapshot.as_ref().map(|snapshot| snapshot.schema());
            let values = schema.map(|schema| partition_values::to_scalars(partition, &schema)).transpose();
            builder =
                builder.with_partition_values(values.map_err(|error| self.delta(error))?.unwrap_or_default());
        }
        builder.build().map_err(|error| self.delta(error))
    }

    /// The kernel's settings for new data files, for [`crate::data_file::encode`].
    ///
    /// # Errors
    /// If there is no table, or the kernel cannot write to it.
    pub(crate) fn write_state(&self) -> Result<Arc<WriteState>, LakeError> {
        self.begin_transaction(Operation::Insert, None)?
            .write_state()
            .map_err(LakeError::delta(&self.dataset))
    }

    /// Builds the commit that adds and removes files, as the version after the known one. `modified_ms` is the time of
    /// the added files, in milliseconds since 1970.
    ///
    /// # Errors
    /// If a removed file is not in the known version, or the kernel does not accept the commit.
    pub(crate) fn build_commit(
        &self,
        changes: &FileChanges<'_>,
        modified_ms: i64,
        info: &CommitInfo,
    ) -> Result<Bytes, LakeError> {
        let delta = LakeError::delta(&self.dataset);
        let mut transaction = self.begin_transaction(changes.operation, Some(info))?;
        let state = transaction.write_state().map_err(&delta)?;
        let mut bytes = 0;
        for AddedFile { path, size, stats, partition } in &changes.adds {
            let context = self.write_context(&state, partition)?;
            let location = Url::parse(MIRROR)
                .and_then(|root| root.join(path))
                .map_err(|error| LakeError::encode(&self.dataset)(error))?;
            let meta = FileMeta { location, last_modified: modified_ms, size: *size };
            let metadata = DataFileMetadata::new(meta, (*stats).clone());
            transaction.add_files(build_add_file_metadata(metadata, &context).map_err(&delta)?);
            bytes += size;
        }
        for removed in self.scan_files(&changes.removes)? {
            transaction.remove_files(removed);
        }
        for (list, number) in changes.key_lists {
            transaction = transaction.with_transaction_id(list.app_id().to_owned(), *number);
        }
        let metrics = [("numOutputRows", info.counts.inserted), ("numOutputBytes", bytes)];
        let result = transaction
            .with_operation_metrics(metrics.map(|(name, value)| (name, Some(value.to_string()))))
            .commit(&self.engine);
        self.take_commit(result)
    }

    /// The statistics of the data files of the known version as the log has them, by path: JSON (Delta protocol, "Per-file Statistics").
    ///
    /// # Errors
    /// If the kernel cannot read the log.
    pub(crate) fn statistics(&self) -> Result<HashMap<String, String>, LakeError> {
        let delta = LakeError::delta(&self.dataset);
        let Some(snapshot) = self.snapshot.clone() else { return Ok(HashMap::new()) };
        let mut found = HashMap::new();
        let scan = snapshot.scan_builder().build().map_err(&delta)?;
        for metadata in scan.scan_metadata(&self.engine).map_err(&delta)? {
            let (data, selected) = metadata.map_err(&delta)?.scan_files.into_parts();
            let data = ArrowEngineData::try_from_engine_data(data).map_err(&delta)?;
            let column = |name| data.record_batch().column_by_name(name)?.as_string_opt::<i32>();
            let Some((paths, statistics)) = column("path").zip(column("stats")) else { continue };
            for (row, (path, statistics)) in paths.iter().zip(statistics).enumerate() {
                let is_selected = selected.get(row).copied().unwrap_or(true);
                if let Some((path, statistics)) = path.zip(statistics).filter(|_| is_selected) {
                    found.insert(path.to_owned(), statistics.to_owned());
                }
            }
        }
        Ok(found)
    }

    /// The scan rows of data files, for `remove` actions.
    fn scan_files(&self, paths: &[&str]) -> Result<Vec<FilteredEngineData>, LakeError> {
        let mut missing: HashSet<&str> = paths.iter().copied().collect();
        let (Some(snapshot), false) = (self.snapshot.clone(), missing.is_empty()) else {
            return Ok(Vec::new());
        };
        let delta = LakeError::delta(&self.dataset);
        let mut found = Vec::new();
        let scan = snapshot.scan_builder().build().map_err(&delta)?;
        for metadata in scan.scan_metadata(&self.engine).map_err(&delta)? {
            let (data, selected) = metadata.map_err(&delta)?.scan_files.into_parts();
            let data = ArrowEngineData::try_from_engine_data(data).map_err(&delta)?;
            let column = data.record_batch().column_by_name("path");
            let names = column.and_then(|column| column.as_string_opt::<i32>());
            let names =
                names.ok_or_else(|| delta(KernelError::generic("the scan has no column of paths")))?;
            let selected: Vec<bool> = (0..names.len())
                .map(|row| selected.get(row).copied().unwrap_or(true) && missing.remove(names.value(row)))
                .collect();
            if selected.contains(&true) {
                found.push(FilteredEngineData::try_new(data, selected).map_err(&delta)?);
            }
        }
        match missing.into_iter().next() {
            None => Ok(found),
            Some(path) => Err(delta(KernelError::generic(format!("data file {path} is not in the table")))),
        }
    }

    fn begin_transaction(
        &self,
        operation: Operation,
        info: Option<&CommitInfo>,
    ) -> Result<Transaction, LakeError> {
        let delta = LakeError::delta(&self.dataset);
        let snapshot =
            self.snapshot.clone().ok_or_else(|| delta(KernelError::generic("the table does not exist")))?;
        let next = i64::try_from(snapshot.version() + 1)
            .map_err(|error| delta(KernelError::generic(error.to_string())))?;
        let mut builder = snapshot.update_table(operation.as_kernel(), ENGINE_INFO, operation.changes_data());
        if let Some(info) = info {
            let (info, schema) = info.to_engine_data(&self.dataset)?;
            builder = builder.with_transaction_id(APP_ID, next).with_commit_info(info, schema);
        }
        builder.build(&self.engine, Box::new(CaptureCommitter)).map_err(delta)
    }

    /// Builds a checkpoint of the known version: paths and bytes, in the order in which to put them.
    ///
    /// # Errors
    /// If the kernel cannot write one.
    pub(crate) async fn build_checkpoint(&mut self) -> Result<Vec<(Path, Bytes)>, LakeError> {
        let Some(snapshot) = self.snapshot.clone() else {
            return Ok(Vec::new());
        };
        let (_, snapshot) =
            snapshot.checkpoint(&self.engine, None).map_err(LakeError::delta(&self.dataset))?;
        let version = snapshot.version();
        self.snapshot = Some(snapshot);
        let names = [format!("{version:020}.checkpoint.parquet"), LAST_CHECKPOINT.to_owned()];
        let mut parts = Vec::new();
        for name in names {
            let copy = Path::from_iter([LOG, &name]);
            let got = self.mirror.get(&copy).await.map_err(LakeError::store(&copy))?;
            let bytes = got.bytes().await.map_err(LakeError::store(&copy))?;
            parts.push((self.root.clone().join(LOG).join(name), bytes));
        }
        Ok(parts)
    }

    /// The bytes of the commit that the kernel has written to [`CaptureCommitter`].
    fn take_commit<S: fmt::Debug>(&self, result: KernelResult<CommitResult<S>>) -> Result<Bytes, LakeError> {
        let result = result.map_err(|error| self.delta(error))?;
        if !result.is_committed() {
            return Err(self.delta(KernelError::generic("the kernel did not write its commit")));
        }
        read_captured_commit(&self.mirror).map_err(LakeError::store(&self.folder()))
    }

    fn delta(&self, error: KernelError) -> LakeError {
        LakeError::delta(&self.dataset)(error)
    }
}

/// What a scan of the log has found.
#[derive(Default)]
struct FoundFiles {
    files: Vec<DataFile>,
    partition_columns: Vec<String>,
    /// One of the files whose rows are deleted in part.
    with_deletion_vector: Option<String>,
}

fn push_data_file(found: &mut FoundFiles, mut file: ScanFile) {
    if file.dv_info.has_vector() {
        found.with_deletion_vector.get_or_insert_with(|| file.path.clone());
    }
    let rows = file.stats.map(|stats| stats.num_records);
    // An empty text is null (Delta protocol, "Partition Value Serialization").
    let value = |column: &String| {
        let value = file.partition_values.remove(column).filter(|value| !value.is_empty());
        (column.clone(), value)
    };
    let partition = found.partition_columns.iter().map(value).collect();
    let size = u64::try_from(file.size).unwrap_or(0);
    found.files.push(DataFile { path: file.path, size, rows, partition });
}

/// The property that gives columns other names in data files (Delta protocol, "Column Mapping").
const COLUMN_MAPPING: &str = "delta.columnMapping.mode";

/// The first column that is a variant, or has one inside. Parts of a variant may be in columns of their own (Delta protocol, "Variant
/// Shredding"), which would be read as null.
fn find_variant(schema: &StructType) -> Option<&str> {
    fn is_variant(data_type: &DataType) -> bool {
        match data_type {
            DataType::Variant(_) => true,
            DataType::Struct(inner) => find_variant(inner).is_some(),
            DataType::Array(inner) => is_variant(inner.element_type()),
            DataType::Map(inner) => is_variant(inner.key_type()) || is_variant(inner.value_type()),
            _ => false,
        }
    }
    schema.fields().find(|field| is_variant(field.data_type())).map(|field| field.name().as_str())
}

fn has_column_mapping(snapshot: &Snapshot) -> bool {
    let mode = snapshot.table_properties().column_mapping_mode;
    mode.is_some_and(|mode| mode != ColumnMappingMode::None)
}
