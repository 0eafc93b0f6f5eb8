//! A table's Delta log, replayed in memory.
//!
//! `delta_kernel` is synchronous and does its own I/O, retries and error mapping. Here it does none: the log's
//! files are fetched into an in-memory store first, the kernel replays them there, and a transaction's commit is
//! caught as bytes, which `commit.rs` puts. So every I/O of a table is ours: asynchronous, cancellable at any await,
//! and with the store's own error in hand. The code is the same for a folder, S3 and the simulator.

use std::collections::HashSet;
use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Schema, SchemaRef};
use bytes::Bytes;
use delta_kernel::committer::{CommitMetadata, CommitResponse, Committer, PublishMetadata};
use delta_kernel::engine::arrow_conversion::{TryIntoArrow, TryIntoKernel};
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::scan::state::ScanFile;
use delta_kernel::schema::StructType;
use delta_kernel::transaction::create_table::create_table;
use delta_kernel::transaction::{CommitResult, UpdateTableOperation, WriteState};
use delta_kernel::{
    Engine, FileMeta, FilteredEngineData, KernelError, KernelResult, KernelResultIterator, Snapshot,
};
use delta_kernel_default_engine::executor::TaskExecutor;
use delta_kernel_default_engine::parquet::DataFileMetadata;
use delta_kernel_default_engine::{DefaultEngine, DefaultEngineBuilder, build_add_file_metadata};
use futures::future::BoxFuture;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::Deserialize;
use url::Url;

use crate::data_file::{DataFile, NewFile};
use crate::error::LakeError;

const LOG: &str = "_delta_log";
const LAST_CHECKPOINT: &str = "_last_checkpoint";
const ENGINE_INFO: &str = concat!("pinlake/", env!("CARGO_PKG_VERSION"));
/// The one application id that pinlake's transactions carry: ids live for ever in a table's state.
const APP_ID: &str = "pinlake";
/// Log files that are fetched at once.
const CONCURRENCY: usize = 16;

/// What stands in `commitInfo` under `pinlake`.
#[derive(Debug, Clone)]
pub(crate) struct CommitNote {
    /// Tells whose commit this is; the same for every put of these bytes.
    pub attempt: String,
    /// Contract name and version.
    pub contract: String,
    /// Rows that were offered.
    pub read: u64,
    /// Rows that this commit adds.
    pub inserted: u64,
    /// Rows that were there before, or twice in the offer.
    pub duplicates: u64,
    /// Rows that this commit changes without adding any.
    pub updated: u64,
}

/// What a commit does besides adding its file.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Change<'a> {
    /// Nothing: the rows are new.
    Insert,
    /// The file takes the place of this one, some of whose rows it changes.
    Update(&'a str),
    /// The file takes the place of these and has the same rows.
    Merge(&'a [&'a str]),
}

impl<'a> Change<'a> {
    fn replaced(&self) -> &[&'a str] {
        match self {
            Change::Insert => &[],
            Change::Update(file) => std::slice::from_ref(file),
            Change::Merge(files) => files,
        }
    }

    fn operation(self) -> UpdateTableOperation {
        match self {
            Change::Insert => UpdateTableOperation::Write,
            Change::Update(_) => UpdateTableOperation::Update,
            Change::Merge(_) => UpdateTableOperation::Optimize,
        }
    }

    /// Whether readers of the table's changes have anything to see (Delta protocol, `dataChange`).
    fn is_of_data(self) -> bool {
        !matches!(self, Change::Merge(_))
    }
}

/// The log of one table as far as it is known.
pub(crate) struct TableLog {
    dataset: String,
    root: Path,
    /// A copy of the log files since the last checkpoint, and the place that the kernel writes to.
    mirror: Arc<InMemory>,
    engine: DefaultEngine<Inline>,
    snapshot: Option<Arc<Snapshot>>,
    files: Vec<DataFile>,
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
    /// The log of the table in `root`, of which nothing is known yet.
    pub(crate) fn new(dataset: &str, root: Path) -> Self {
        let mirror = Arc::new(InMemory::new());
        let engine = DefaultEngineBuilder::new(mirror.clone()).with_task_executor(Arc::new(Inline)).build();
        Self { dataset: dataset.to_owned(), root, mirror, engine, snapshot: None, files: Vec::new() }
    }

    /// The newest version that is known; `None` when there is no table.
    pub(crate) fn version(&self) -> Option<u64> {
        self.snapshot.as_ref().map(|snapshot| snapshot.version())
    }

    /// The data files of that version.
    pub(crate) fn files(&self) -> &[DataFile] {
        &self.files
    }

    /// A property of the table that is not one of Delta's own.
    pub(crate) fn property(&self, name: &str) -> Option<&str> {
        let properties = &self.snapshot.as_ref()?.table_properties().unknown_properties;
        properties.get(name).map(String::as_str)
    }

    /// The table's columns.
    ///
    /// # Errors
    /// When the kernel cannot express them in Arrow.
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

    /// Where the log entry of `version` lies.
    pub(crate) fn entry(&self, version: u64) -> Path {
        self.root.clone().join(LOG).join(format!("{version:020}.json"))
    }

    /// Fetches what is new in the log and replays it.
    ///
    /// # Errors
    /// When the store fails, or the log is damaged.
    pub(crate) async fn refresh(&mut self, store: &dyn ObjectStore) -> Result<(), LakeError> {
        let folder = self.root.clone().join(LOG);
        let after = match self.version() {
            Some(version) => Some(self.entry(version)),
            None => self
                .checkpoint_hint(store)
                .await?
                .map(|version| folder.clone().join(format!("{version:020}"))),
        };
        let listing = match &after {
            Some(after) => store.list_with_offset(Some(&folder), after),
            None => store.list(Some(&folder)),
        };
        let metas: Vec<_> = listing.try_collect().await.map_err(LakeError::store(&folder))?;
        let mut names: Vec<String> =
            metas.iter().filter_map(|meta| meta.location.filename()).map(str::to_owned).collect();
        names.sort();
        let next = self.version().map(|version| version + 1);
        let wanted = replayable(&names, next);
        if wanted.is_empty() {
            return Ok(());
        }
        let (mirror, folder) = (&self.mirror, &folder);
        futures::stream::iter(wanted)
            .map(|name| async move {
                let path = folder.clone().join(name.as_str());
                let bytes = store.get(&path).await.map_err(LakeError::store(&path))?;
                let bytes = bytes.bytes().await.map_err(LakeError::store(&path))?;
                let copy = Path::from_iter([LOG, &name]);
                mirror.put(&copy, bytes.into()).await.map_err(LakeError::store(&path))
            })
            .buffered(CONCURRENCY)
            .try_collect::<Vec<_>>()
            .await?;
        self.replay()
    }

    /// The version of the last checkpoint, if the log has one.
    async fn checkpoint_hint(&self, store: &dyn ObjectStore) -> Result<Option<u64>, LakeError> {
        #[derive(Deserialize)]
        struct Hint {
            version: u64,
        }
        let path = self.root.clone().join(LOG).join(LAST_CHECKPOINT);
        match store.get(&path).await {
            Ok(got) => {
                let bytes = got.bytes().await.map_err(LakeError::store(&path))?;
                // A hint that cannot be read is no hint (Delta protocol, "Last Checkpoint File").
                Ok(serde_json::from_slice::<Hint>(&bytes).ok().map(|hint| hint.version))
            }
            Err(object_store::Error::NotFound { .. }) => Ok(None),
            Err(error) => Err(LakeError::store(&path)(error)),
        }
    }

    /// Takes note of a version that this process has just committed.
    ///
    /// # Errors
    /// When the kernel cannot replay its own commit.
    pub(crate) async fn committed(&mut self, version: u64, commit: Bytes) -> Result<(), LakeError> {
        let copy = Path::from(format!("{LOG}/{version:020}.json"));
        self.mirror.put(&copy, commit.into()).await.map_err(LakeError::store(&copy))?;
        self.replay()
    }

    fn replay(&mut self) -> Result<(), LakeError> {
        let delta = LakeError::delta(&self.dataset);
        let snapshot = match self.snapshot.take() {
            Some(known) => Snapshot::builder_from(known).build(&self.engine).map_err(&delta)?,
            None => Snapshot::builder_for(MIRROR).build(&self.engine).map_err(&delta)?,
        };
        let scan = snapshot.clone().scan_builder().build().map_err(&delta)?;
        let mut files = Vec::new();
        for metadata in scan.scan_metadata(&self.engine).map_err(&delta)? {
            files =
                metadata.and_then(|metadata| metadata.visit_scan_files(files, collect)).map_err(&delta)?;
        }
        self.files = files;
        self.snapshot = Some(snapshot);
        Ok(())
    }

    /// The commit that makes the table, as version 0: its columns and properties, no rows.
    ///
    /// # Errors
    /// When the kernel refuses the columns.
    pub(crate) fn creation(
        &self,
        schema: &Schema,
        properties: Vec<(String, String)>,
        note: &CommitNote,
    ) -> Result<Bytes, LakeError> {
        let delta = LakeError::delta(&self.dataset);
        let schema: StructType = schema.try_into_kernel().map_err(|error| delta(KernelError::from(error)))?;
        let (info, info_schema) = note.engine_data(&self.dataset)?;
        let result = create_table(MIRROR, Arc::new(schema), ENGINE_INFO, false)
            .with_table_properties(properties)
            .with_commit_info(info, info_schema)
            .build(&self.engine, Box::new(Caught))
            .and_then(|transaction| transaction.commit(&self.engine));
        self.caught(result)
    }

    /// What the kernel wants to know of a data file, for [`crate::data_file::encode`].
    ///
    /// # Errors
    /// When there is no table, or the kernel cannot write to it.
    pub(crate) fn write_state(&self) -> Result<Arc<WriteState>, LakeError> {
        self.transaction(Change::Insert, None)?.write_state().map_err(LakeError::delta(&self.dataset))
    }

    /// The commit that adds `file` (named `path`, relative to the table) and removes the data files that `change`
    /// replaces, as the version after the known one.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub(crate) fn change(
        &self,
        path: &str,
        file: &NewFile,
        change: Change<'_>,
        modified_ms: i64,
        note: &CommitNote,
    ) -> Result<Bytes, LakeError> {
        let delta = LakeError::delta(&self.dataset);
        let mut transaction = self.transaction(change, Some(note))?;
        let context = transaction
            .write_state()
            .and_then(|state| state.write_context_builder().build())
            .map_err(&delta)?;
        let location = Url::parse(MIRROR)
            .and_then(|root| root.join(path))
            .map_err(|error| LakeError::encode(&self.dataset)(error))?;
        let meta = FileMeta { location, last_modified: modified_ms, size: file.bytes.len() as u64 };
        let metadata = DataFileMetadata::new(meta, file.stats.clone());
        transaction.add_files(build_add_file_metadata(metadata, &context).map_err(&delta)?);
        for removed in self.scanned(change.replaced())? {
            transaction.remove_files(removed);
        }
        let metrics = [("numOutputRows", note.inserted), ("numOutputBytes", file.bytes.len() as u64)];
        let result = transaction
            .with_operation_metrics(metrics.map(|(name, value)| (name, Some(value.to_string()))))
            .commit(&self.engine);
        self.caught(result)
    }

    /// Data files as the kernel's scan has them, to be removed.
    fn scanned(&self, paths: &[&str]) -> Result<Vec<FilteredEngineData>, LakeError> {
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
            let names = names.ok_or_else(|| delta(KernelError::generic("a scan without paths")))?;
            let wanted: Vec<bool> = (0..names.len())
                .map(|row| selected.get(row).copied().unwrap_or(true) && missing.remove(names.value(row)))
                .collect();
            if wanted.contains(&true) {
                found.push(FilteredEngineData::try_new(data, wanted).map_err(&delta)?);
            }
        }
        match missing.into_iter().next() {
            None => Ok(found),
            Some(path) => Err(delta(KernelError::generic(format!("data file {path} is not in the log")))),
        }
    }

    fn transaction(
        &self,
        change: Change<'_>,
        note: Option<&CommitNote>,
    ) -> Result<delta_kernel::transaction::Transaction, LakeError> {
        let delta = LakeError::delta(&self.dataset);
        let snapshot =
            self.snapshot.clone().ok_or_else(|| delta(KernelError::generic("there is no table yet")))?;
        let next = i64::try_from(snapshot.version() + 1)
            .map_err(|error| delta(KernelError::generic(error.to_string())))?;
        let mut builder = snapshot.update_table(change.operation(), ENGINE_INFO, change.is_of_data());
        if let Some(note) = note {
            let (info, schema) = note.engine_data(&self.dataset)?;
            builder = builder.with_transaction_id(APP_ID, next).with_commit_info(info, schema);
        }
        builder.build(&self.engine, Box::new(Caught)).map_err(delta)
    }

    /// A checkpoint of the known version: (file name, bytes) in the order in which they must be put.
    ///
    /// # Errors
    /// When the kernel cannot write one.
    pub(crate) async fn checkpoint(&mut self) -> Result<Vec<(Path, Bytes)>, LakeError> {
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

    /// The bytes of the commit that the kernel has just handed to [`Caught`].
    fn caught<S: fmt::Debug>(&self, result: KernelResult<CommitResult<S>>) -> Result<Bytes, LakeError> {
        let result = result.map_err(|error| self.delta(error))?;
        if !result.is_committed() {
            return Err(self.delta(KernelError::generic("the kernel did not hand over its commit")));
        }
        let path = Path::from(CAUGHT);
        let read = async {
            let got = self.mirror.get(&path).await?;
            got.bytes().await
        };
        complete(read).map_err(LakeError::store(&path))
    }

    fn delta(&self, error: KernelError) -> LakeError {
        LakeError::delta(&self.dataset)(error)
    }
}

impl CommitNote {
    /// The note as the kernel takes it: one row, `{"pinlake": {...}}`.
    fn engine_data(
        &self,
        dataset: &str,
    ) -> Result<(Box<dyn delta_kernel::EngineData>, Arc<StructType>), LakeError> {
        let text = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
        let count = |count: u64| {
            Arc::new(Int64Array::from(vec![i64::try_from(count).unwrap_or(i64::MAX)])) as ArrayRef
        };
        let columns: [(&str, ArrayRef); 6] = [
            ("attempt", text(&self.attempt)),
            ("contract", text(&self.contract)),
            ("read", count(self.read)),
            ("inserted", count(self.inserted)),
            ("duplicates", count(self.duplicates)),
            ("updated", count(self.updated)),
        ];
        let fields: Vec<Arc<Field>> = columns
            .iter()
            .map(|(name, column)| Arc::new(Field::new(*name, column.data_type().clone(), true)))
            .collect();
        let own =
            StructArray::from(fields.into_iter().zip(columns.map(|(_, column)| column)).collect::<Vec<_>>());
        let schema = Schema::new(vec![Field::new("pinlake", DataType::Struct(own.fields().clone()), true)]);
        let kernel_schema: StructType = (&schema)
            .try_into_kernel()
            .map_err(|error| LakeError::delta(dataset)(KernelError::from(error)))?;
        let row = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(own)])
            .map_err(LakeError::encode(dataset))?;
        Ok((Box::new(ArrowEngineData::new(row)), Arc::new(kernel_schema)))
    }
}

/// The names of `names` (ascending) that a replay needs: from `next` on when a version is known, else from the
/// newest checkpoint on. Commits are taken only without a gap: a folder's listing is no snapshot, and may show a
/// version without the one before it.
fn replayable(names: &[String], next: Option<u64>) -> Vec<String> {
    let version = |name: &str| name.get(..20).and_then(|digits| digits.parse::<u64>().ok());
    let commit = |name: &str| name.strip_suffix(".json").filter(|stem| stem.len() == 20).and_then(version);
    let checkpoint = |name: &str| name.ends_with(".checkpoint.parquet").then(|| version(name)).flatten();
    let newest = match next {
        Some(_) => None,
        None => names.iter().filter_map(|name| checkpoint(name)).max(),
    };
    let mut wanted: Vec<String> =
        names.iter().filter(|name| newest.is_some() && checkpoint(name) == newest).cloned().collect();
    let mut expected = next.or(newest);
    for name in names {
        let Some(version) = commit(name) else { continue };
        if expected.is_some_and(|expected| version < expected) {
            continue;
        }
        if expected.is_some_and(|expected| version > expected) || (expected.is_none() && version != 0) {
            break;
        }
        expected = Some(version + 1);
        wanted.push(name.clone());
    }
    wanted
}

fn collect(files: &mut Vec<DataFile>, file: ScanFile) {
    let rows = file.stats.map(|stats| stats.num_records);
    files.push(DataFile { path: file.path, size: u64::try_from(file.size).unwrap_or(0), rows });
}

/// The table's root as the kernel sees it, in the mirror.
const MIRROR: &str = "memory:///";
/// Where [`Caught`] leaves a commit's bytes, in the mirror.
const CAUGHT: &str = "caught.json";

/// A committer that leaves the commit's bytes in the mirror for us to put.
#[derive(Debug)]
struct Caught;

impl Committer for Caught {
    fn commit(
        &self,
        engine: &dyn Engine,
        actions: KernelResultIterator<'_, FilteredEngineData>,
        metadata: CommitMetadata,
    ) -> KernelResult<CommitResponse> {
        let path = Url::parse(MIRROR)
            .and_then(|root| root.join(CAUGHT))
            .map_err(|error| KernelError::generic(error.to_string()))?;
        let size = engine.json_handler().write_json_file(&path, Box::new(actions), true)?;
        let entry = metadata.published_commit_path()?;
        Ok(CommitResponse::Committed {
            file_meta: FileMeta::new(entry, metadata.in_commit_timestamp(), size),
        })
    }

    fn is_catalog_committer(&self) -> bool {
        false
    }

    fn publish(&self, _engine: &dyn Engine, _metadata: PublishMetadata) -> KernelResult<()> {
        Ok(())
    }
}

/// Runs the kernel's tasks where they are: over the in-memory mirror none of them ever waits.
#[derive(Debug)]
struct Inline;

impl TaskExecutor for Inline {
    type Guard<'a> = ();

    fn block_on<T>(&self, task: T) -> T::Output
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        complete(task)
    }

    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        complete(task);
    }

    fn spawn_blocking<T, R>(&self, task: T) -> BoxFuture<'_, KernelResult<R>>
    where
        T: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        Box::pin(std::future::ready(Ok(task())))
    }

    fn enter(&self) -> Self::Guard<'_> {}
}

/// Polls a future until it is done. The kernel calls this within itself, which a real executor would refuse.
fn complete<T>(task: impl Future<Output = T>) -> T {
    let mut task = std::pin::pin!(task);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match task.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::yield_now(),
        }
    }
}

#[cfg(test)]
mod plain_library;

#[cfg(test)]
mod tests {
    use super::*;

    fn names(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| format!("{name:0>}")).collect()
    }

    #[test]
    fn a_replay_starts_at_the_newest_checkpoint_and_stops_at_a_gap() {
        let zero = "0".repeat(19);
        let all: Vec<String> = ["0.json", "1.json", "2.checkpoint.parquet", "2.json", "3.json", "5.json"]
            .iter()
            .map(|name| format!("{zero}{name}"))
            .collect();
        let short = |wanted: Vec<String>| wanted.iter().map(|name| name[19..].to_owned()).collect::<Vec<_>>();
        assert_eq!(short(replayable(&all, None)), ["2.checkpoint.parquet", "2.json", "3.json"]);
        assert_eq!(short(replayable(&all, Some(3))), ["3.json"]);
        assert_eq!(short(replayable(&all, Some(4))), names(&[]));
        assert_eq!(short(replayable(&all[1..2], None)), names(&[]), "version 0 has not been listed");
    }
}
