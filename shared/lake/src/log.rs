//! A table's Delta log, replayed in memory.
//!
//! `delta_kernel` is synchronous and does its own I/O, retries and error mapping. Here it does none: the log's
//! files are fetched into an in-memory store first, the kernel replays them there, and a transaction's commit is
//! caught as bytes, which `commit.rs` puts. So every I/O of a table is ours: asynchronous, cancellable at any await,
//! and with the store's own error in hand. The code is the same for a folder, S3 and the simulator.

use std::collections::{BTreeMap, HashSet};
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
const SIDECARS: &str = "_sidecars";
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
    /// The entry of that version, as it was when it was read or put.
    head: Option<Entry>,
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
        Self {
            dataset: dataset.to_owned(),
            root,
            mirror,
            engine,
            snapshot: None,
            head: None,
            files: Vec::new(),
        }
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
        self.folder().join(entry_name(version))
    }

    /// Brings the log up to date: fetches what is new and replays it, or reads all of it anew when what is known is not its
    /// beginning any more, because another program has truncated, restored or replaced it.
    ///
    /// # Errors
    /// When the store fails, or the log is damaged: [`LakeError::LogIncomplete`] when an entry is missing.
    pub(crate) async fn refresh(&mut self, store: &dyn ObjectStore) -> Result<(), LakeError> {
        let Some(known) = self.version() else { return self.load(store).await };
        if self.advance(store, known).await? {
            return Ok(());
        }
        tracing::warn!(dataset = %self.dataset, known, "the log is not the one that is known, reading it anew");
        let mut anew = Self::new(&self.dataset, self.root.clone());
        anew.load(store).await?;
        if anew.version() < Some(known) {
            // The newest entries are gone. To commit in their place would keep them from ever coming back.
            return Err(self.incomplete(&entry_name(known)));
        }
        *self = anew;
        Ok(())
    }

    /// Takes what follows the `known` version. False if the log does not have that version any more, has another in its
    /// place, or lacks one that follows: "nothing new" must never be concluded from a log that has been cut off.
    async fn advance(&mut self, store: &dyn ObjectStore, known: u64) -> Result<bool, LakeError> {
        let folder = self.folder();
        let listed = Listed::after(store, &folder, Some(known)).await?;
        let same = |head: &Entry| self.head.as_ref().is_none_or(|own| own.may_be(head));
        let head = match listed.entries.get(&known) {
            Some(head) => Some(head.clone()),
            // A folder's listing is no snapshot, and may lack an entry that is there.
            None => self.entry_at(store, known).await?,
        };
        let Some(head) = head.filter(|head| same(head)) else { return Ok(false) };
        let Some((newest, entry)) = listed.entries.last_key_value().filter(|(newest, _)| **newest > known)
        else {
            self.head = Some(head);
            return Ok(true);
        };
        let names = (known + 1..=*newest).map(entry_name).collect();
        // All are asked for, listed or not.
        if self.fetch(store, names).await?.is_some() {
            return Ok(false);
        }
        self.replay()?;
        self.head = Some(entry.clone());
        Ok(true)
    }

    /// Reads the log from its newest checkpoint on, or from its beginning, when nothing of it is known.
    async fn load(&mut self, store: &dyn ObjectStore) -> Result<(), LakeError> {
        let folder = self.folder();
        let hint = self.checkpoint_hint(store).await?;
        let mut listed = Listed::after(store, &folder, hint).await?;
        if hint.is_some() && listed.checkpoint().is_none() {
            // A hint to a checkpoint that is not there, or of a form that is not understood, is no hint.
            listed = Listed::after(store, &folder, None).await?;
        }
        let checkpoint = listed.checkpoint();
        let newest = listed.entries.keys().next_back().copied();
        let Some(newest) = newest.max(checkpoint.as_ref().map(|(version, _)| *version)) else {
            // Without anything there is no table yet. A log of which only such traces are left has lost its beginning.
            return match hint.or(listed.unknown_checkpoint) {
                None => Ok(()),
                Some(_) => Err(self.incomplete(&entry_name(0))),
            };
        };
        let first = checkpoint.as_ref().map_or(0, |(version, _)| version + 1);
        let mut names: Vec<String> = (first..=newest).map(entry_name).collect();
        if let Some((version, files)) = checkpoint {
            // The entry of the checkpoint's own version may be gone; it says when the version was made.
            names.extend(listed.entries.contains_key(&version).then(|| entry_name(version)));
            names.extend(files);
        }
        if let Some(missing) = self.fetch(store, names).await? {
            return Err(self.incomplete(&missing));
        }
        self.replay()?;
        self.head = listed.entries.get(&newest).cloned();
        Ok(())
    }

    async fn entry_at(&self, store: &dyn ObjectStore, version: u64) -> Result<Option<Entry>, LakeError> {
        let path = self.entry(version);
        let meta = pinlake_store::head_if_exists(store, &path).await.map_err(LakeError::store(&path))?;
        Ok(meta.map(|meta| Entry { size: meta.size, e_tag: meta.e_tag }))
    }

    fn folder(&self) -> Path {
        self.root.clone().join(LOG)
    }

    fn incomplete(&self, missing: &str) -> LakeError {
        let entry = format!("{}/{missing}", self.folder());
        LakeError::LogIncomplete { dataset: self.dataset.clone(), entry }
    }

    /// Copies files of the log into the mirror. The name of the first one that is not there, if there is one.
    async fn fetch(&self, store: &dyn ObjectStore, names: Vec<String>) -> Result<Option<String>, LakeError> {
        let (mirror, folder) = (&self.mirror, &self.folder());
        let missing: Vec<Option<String>> = futures::stream::iter(names)
            .map(|name| async move {
                let path = Path::from_iter(folder.parts().chain(Path::from(name.as_str()).parts()));
                let bytes =
                    pinlake_store::read_if_exists(store, &path).await.map_err(LakeError::store(&path))?;
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

    /// The version of the last checkpoint, if the log has one.
    async fn checkpoint_hint(&self, store: &dyn ObjectStore) -> Result<Option<u64>, LakeError> {
        #[derive(Deserialize)]
        struct Hint {
            version: u64,
        }
        let path = self.folder().join(LAST_CHECKPOINT);
        let bytes = pinlake_store::read_if_exists(store, &path).await.map_err(LakeError::store(&path))?;
        // A hint that cannot be read is no hint (Delta protocol, "Last Checkpoint File").
        Ok(bytes.and_then(|bytes| serde_json::from_slice::<Hint>(&bytes).ok()).map(|hint| hint.version))
    }

    /// Takes note of a version that this process has just committed, and of the ETag that the store gave it.
    ///
    /// # Errors
    /// When the kernel cannot replay its own commit.
    pub(crate) async fn committed(
        &mut self,
        version: u64,
        commit: Bytes,
        e_tag: Option<String>,
    ) -> Result<(), LakeError> {
        let copy = Path::from(format!("{LOG}/{}", entry_name(version)));
        let head = Entry { size: commit.len() as u64, e_tag };
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

/// An object of the log, told from another of the same name.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    size: u64,
    e_tag: Option<String>,
}

impl Entry {
    /// Whether both may be the same object: as far as both have an ETag, it says so.
    fn may_be(&self, other: &Entry) -> bool {
        let tags = self.e_tag.as_ref().zip(other.e_tag.as_ref());
        self.size == other.size && tags.is_none_or(|(own, other)| own == other)
    }
}

/// What lies in the folder of a log (Delta protocol, "File Types").
#[derive(Debug, Default)]
struct Listed {
    /// Log entries, by version.
    entries: BTreeMap<u64, Entry>,
    /// Checkpoints of one file each.
    whole: BTreeMap<u64, String>,
    /// Checkpoints in parts: by version and number of parts, the names by part.
    parts: BTreeMap<(u64, u64), BTreeMap<u64, String>>,
    /// The files that checkpoints of the newest form refer to.
    sidecars: Vec<String>,
    /// Checkpoints of the newest form, which have an id in their name.
    with_id: BTreeMap<u64, String>,
    /// The version of a checkpoint that is in no form that is understood, or lacks parts.
    unknown_checkpoint: Option<u64>,
}

impl Listed {
    /// The log from `version` on.
    async fn after(store: &dyn ObjectStore, folder: &Path, version: Option<u64>) -> Result<Self, LakeError> {
        let listing = match version {
            // What is named after the version follows its bare number.
            Some(version) => {
                store.list_with_offset(Some(folder), &folder.clone().join(format!("{version:020}")))
            }
            None => store.list(Some(folder)),
        };
        let metas: Vec<_> = listing.try_collect().await.map_err(LakeError::store(folder))?;
        let mut listed = Self::default();
        for meta in metas {
            let Some(inside) = meta.location.prefix_match(folder) else { continue };
            let inside: Vec<String> = inside.map(|part| part.as_ref().to_owned()).collect();
            match inside.as_slice() {
                [name] => listed.add(name, Entry { size: meta.size, e_tag: meta.e_tag }),
                [folder, name] if folder == SIDECARS => listed.sidecars.push(format!("{folder}/{name}")),
                // Other programs keep temporary files in folders of their own.
                _ => {}
            }
        }
        Ok(listed)
    }

    fn add(&mut self, name: &str, entry: Entry) {
        let Some(version) = version_of(name) else { return };
        let rest = &name[20..];
        if rest == ".json" {
            self.entries.insert(version, entry);
        } else if let Some(form) = rest.strip_prefix(".checkpoint.") {
            let form: Vec<&str> = form.split('.').collect();
            match form.as_slice() {
                ["parquet"] => {
                    self.whole.insert(version, name.to_owned());
                }
                [part, of, "parquet"] if let (Ok(part), Ok(of)) = (part.parse(), of.parse()) => {
                    self.parts.entry((version, of)).or_default().insert(part, name.to_owned());
                }
                [_, "json" | "parquet"] => {
                    self.with_id.insert(version, name.to_owned());
                }
                _ => self.unknown_checkpoint = self.unknown_checkpoint.max(Some(version)),
            }
        }
    }

    /// The newest checkpoint that is whole: its version, and the names of its files.
    fn checkpoint(&self) -> Option<(u64, Vec<String>)> {
        let whole = self.whole.iter().map(|(version, name)| (*version, vec![name.clone()]));
        let complete = self.parts.iter().filter(|((_, of), parts)| (1..=*of).eq(parts.keys().copied()));
        let in_parts = complete.map(|((version, _), parts)| (*version, parts.values().cloned().collect()));
        let with_id = self
            .with_id
            .iter()
            .map(|(version, name)| (*version, self.sidecars.iter().cloned().chain([name.clone()]).collect()));
        // Of several of one version the simplest serves as well.
        with_id.chain(in_parts).chain(whole).max_by_key(|(version, _): &(u64, Vec<String>)| *version)
    }
}

/// What a file of the log is called in the mirror. A checkpoint of a single part is the same as one in no parts, which alone the
/// kernel knows.
fn mirror_name(name: &str) -> String {
    name.replace(".checkpoint.0000000001.0000000001.parquet", ".checkpoint.parquet")
}

fn entry_name(version: u64) -> String {
    format!("{version:020}.json")
}

/// The version that the name of a file of the log begins with.
fn version_of(name: &str) -> Option<u64> {
    name.get(..20).filter(|digits| digits.bytes().all(|byte| byte.is_ascii_digit()))?.parse().ok()
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

    fn listed(names: &[&str]) -> Listed {
        let mut listed = Listed::default();
        for name in names {
            listed.add(&format!("{}{name}", "0".repeat(19)), Entry { size: 1, e_tag: None });
        }
        listed
    }

    #[test]
    fn a_replay_starts_at_the_newest_checkpoint_that_is_whole() {
        let version =
            |names: &[&str]| listed(names).checkpoint().map(|(version, files)| (version, files.len()));
        assert_eq!(version(&["0.json", "1.json", "1.crc"]), None);
        assert_eq!(version(&["0.json", "1.checkpoint.parquet", "2.json"]), Some((1, 1)));
        let parts = ["1.checkpoint.parquet", "2.checkpoint.0000000001.0000000002.parquet"];
        assert_eq!(version(&parts), Some((1, 1)), "the second part is missing");
        let parts = [&parts[..], &["2.checkpoint.0000000002.0000000002.parquet"]].concat();
        assert_eq!(version(&parts), Some((2, 2)));
        let id = "3.checkpoint.80a083e8-7026-4e79-81be-64bd76c43a11.json";
        assert_eq!(version(&[&parts[..], &[id]].concat()), Some((3, 1)));
        let unknown = listed(&["4.checkpoint.of.some.other.form", "x.json"]);
        assert_eq!((unknown.checkpoint(), unknown.unknown_checkpoint), (None, Some(4)));
    }
}
