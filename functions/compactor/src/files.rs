//! Lands files: those in the lake's `inbox/`, and objects of other buckets that a message names.
//!
//! A notification about the inbox is a trigger like any other: the inbox is listed, and all files in it are landed.
//! Other buckets are only read, and may hold millions of objects that landed long ago, so there the message names the
//! work.
//!
//! The order of the steps guarantees that nothing is lost: an attempt is recorded, the records land, and then the file
//! is moved out of the inbox, to `raw/inbox/`, or to `failed/inbox/` if it cannot be read. A file that is read twice
//! lands twice with the same keys, and is inserted once. A file that takes longer than an invocation continues after
//! its last slice. A file is rejected after three failed attempts, see [`pinlake_files::attempt`].

use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chrono::DateTime;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use pinlake_clean::record_reader::sandbox::{ProcessLimits, Sandbox};
use pinlake_clean::record_reader::{FileContract, ReadError, ReadLimits, ReadOptions, RecordReader};
use pinlake_clean::{MAX_RECORD_BYTES, Reason};
use pinlake_env::Env;
use pinlake_files::attempt::{Attempt, AttemptedFile, Attempts, MAX_FAILURES};
use pinlake_files::fetch::{FileBytes, MAX_IN_MEMORY_BYTES, fetch, fetch_if_unchanged};
use pinlake_files::inbox::{self, move_out};
use pinlake_files::progress::Progress;
use pinlake_files::slice::{SLICE_BYTES, Slice};
use pinlake_files::source::{FileSource, is_sidecar};
use pinlake_lake::Lake;
use pinlake_landing::LandingError;
use pinlake_landing::catalog_history::CatalogHistory;
use pinlake_landing::message::ObjectRef;
use pinlake_landing::name::FAILED;
use pinlake_landing::raw::RAW;
use pinlake_schema::Catalog;
use tokio::time::Instant;

/// Files of the inbox listed per invocation.
const MAX_LISTED: usize = 1000;
/// Small files fetched concurrently.
const CONCURRENCY: usize = 16;
/// Maximum number of small files that share an attempt.
const GROUP_FILES: usize = 128;
/// Maximum stored bytes of small files that share an attempt.
const GROUP_BYTES: u64 = 16 << 20;
/// Maximum bytes of a file after decompression, or of its records.
const MAX_UNPACKED_BYTES: u64 = 4 << 30;
/// Limits of reading a file in a function with 2 GB of memory.
const LIMITS: ReadLimits = ReadLimits {
    max_record_bytes: 16 << 20,
    max_ratio: 200,
    free_unpacked_bytes: 256 << 20,
    max_unpacked_bytes: MAX_UNPACKED_BYTES,
    max_cost_ratio: 1000,
    free_cost: 64 << 20,
    max_spooled_bytes: 128 << 20,
};
/// Divisor of the function's memory that gives the memory of the process that reads a Parquet file.
const PARQUET_SHARE: u64 = 4;
/// Memory of that process in the smallest function.
const MIN_PARQUET_BYTES: u64 = 128 << 20;
/// Maximum processor time for a batch of rows, in seconds.
const PARQUET_CPU_SECONDS: u64 = 10;
/// Maximum time without a new row.
const PARQUET_SILENCE: Duration = Duration::from_secs(20);

/// The sandbox for Parquet files in a function with `memory_bytes` of memory.
///
/// # Errors
/// If the path of this program is not known.
pub fn parquet_sandbox(memory_bytes: u64) -> std::io::Result<Sandbox> {
    let memory_bytes = (memory_bytes / PARQUET_SHARE).max(MIN_PARQUET_BYTES);
    let bounds =
        ProcessLimits { memory_bytes, cpu_seconds: PARQUET_CPU_SECONDS, idle_timeout: PARQUET_SILENCE };
    Sandbox::from_current_exe(LIMITS, bounds)
}

/// The steps in which a file is read.
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    /// Bytes of records in a slice.
    pub slice_bytes: usize,
    /// Cost of reading between two checks of the clock, in units of [`RecordReader::cost`].
    pub check_cost: u64,
    /// Minimum cost of new records per invocation, even after the deadline, so that every file makes progress.
    pub min_cost: u64,
}

impl Default for Steps {
    fn default() -> Self {
        Self { slice_bytes: SLICE_BYTES, check_cost: 256 << 10, min_cost: SLICE_BYTES as u64 }
    }
}

/// Opens buckets other than the lake's.
pub trait Buckets: Send + Sync {
    /// Opens a bucket for reading.
    fn open(&self, bucket: &str) -> Arc<dyn ObjectStore>;
}

/// Lands files.
#[derive(Clone)]
pub struct Files {
    /// The bucket of the lake.
    pub bucket: String,
    /// The prefix of the lake, without slashes at its ends.
    pub prefix: String,
    /// Other buckets whose objects are read. Messages about any other bucket are ignored.
    pub sinks: BTreeSet<String>,
    /// Opens them.
    pub buckets: Arc<dyn Buckets>,
    /// Maximum stored size of a file, in bytes. The function's disk has to hold it.
    pub max_bytes: u64,
    /// The steps in which files are read.
    pub steps: Steps,
    /// Reads Parquet files.
    pub sandbox: Sandbox,
    /// The clock of leases, and the ids of attempts.
    pub env: Env,
}

/// Maximum file size in a deployed compactor, whose disk has 1.5 times as much.
pub const MAX_FILE_BYTES: u64 = 1 << 30;

/// When to stop reading files.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Deadlines {
    /// Whether this invocation has any time. If so, one file is started even after `soft`, because other work may take
    /// up that time in every invocation.
    pub(crate) has_time: bool,
    /// No file is started after this, and a file that has made progress is left.
    pub(crate) soft: Instant,
    /// Every file is left at this time.
    pub(crate) hard: Instant,
}

/// What was done with files.
#[derive(Debug, Default)]
pub struct FilesSummary {
    /// Files whose records have landed.
    pub landed: u64,
    /// Files that could not be read to their end.
    pub rejected: u64,
    /// Files discarded after failed attempts; included in `rejected`.
    pub discarded: u64,
    /// Files retried alone after a failed attempt.
    pub retried: u64,
    /// Records that landed, including those in quarantine.
    pub records: u64,
    /// The datasets of these records.
    pub datasets: BTreeSet<String>,
    /// Whether the inbox has more files.
    pub more: bool,
    /// Named objects that were not finished in time.
    pub unfinished: Vec<ObjectRef>,
    /// Named objects that could not be fetched, or that another invocation is reading; their messages must be delivered
    /// again.
    pub failed: Vec<ObjectRef>,
    /// Whether a file of the inbox could not be fetched, or not be moved out.
    pub inbox_failed: bool,
}

impl Files {
    /// The path of an object relative to the lake; `None` if it is not in the lake.
    pub(crate) fn path_in_lake<'a>(&self, object: &'a ObjectRef) -> Option<&'a str> {
        if object.bucket != self.bucket {
            return None;
        }
        match self.prefix.as_str() {
            "" => Some(&object.key),
            prefix => object.key.strip_prefix(prefix)?.strip_prefix('/'),
        }
    }

    /// Whether objects of a bucket are read.
    pub(crate) fn is_source(&self, bucket: &str) -> bool {
        bucket == self.bucket || self.sinks.contains(bucket)
    }

    /// Lands the named objects of other buckets, and the inbox if `inbox` is set.
    ///
    /// # Errors
    /// If the landing area cannot be written. Retrying is safe.
    pub(crate) async fn land(
        &self,
        lake: &Lake,
        catalog: &Arc<Catalog>,
        inbox: bool,
        objects: Vec<ObjectRef>,
        deadlines: Deadlines,
    ) -> Result<FilesSummary, LandingError> {
        let store = &**lake.store();
        let mut work = Work {
            files: self,
            lake: store,
            catalog_history: lake.catalog_history(),
            catalog,
            deadlines,
            attempts: Attempts::read(store, &*self.env.clock).await?,
            progress: Progress::list(store).await?,
            slice: Slice::with_capacity(self.steps.slice_bytes),
            finished: Vec::new(),
            has_started: false,
            summary: FilesSummary::default(),
        };
        let mut candidates: Vec<Candidate> = Vec::new();
        for object in objects {
            if is_sidecar(&object.key) {
                tracing::info!(bucket = object.bucket, key = object.key, "not an object of records");
                continue;
            }
            match Path::parse(&object.key) {
                Ok(_) if work.waits_for_contract(dataset_of_object(catalog, &object).as_deref()) => {
                    tracing::warn!(
                        bucket = object.bucket,
                        key = object.key,
                        "the contract of this object's dataset is broken; its message is delivered again"
                    );
                    work.summary.failed.push(object);
                }
                Ok(path) => {
                    let store = self.buckets.open(&object.bucket);
                    candidates.push(Candidate { store, path, object: Some(object) });
                }
                Err(error) if self.sinks.contains(&object.bucket) => {
                    work.reject_key(&object, &error.to_string());
                }
                Err(error) => {
                    tracing::error!(bucket = object.bucket, key = object.key, %error, "object key is not a valid path");
                    work.summary.failed.push(object);
                }
            }
        }
        if inbox {
            let listed = work.list_inbox().await?;
            candidates.extend(listed.into_iter().map(|path| Candidate {
                store: lake.store().clone(),
                path,
                object: None,
            }));
        }
        let processed = work.process(candidates).await;
        if let Err(error) = work.attempts.write_changes(store).await {
            tracing::warn!(%error, "cannot remove finished files from failed attempts");
        }
        processed.map(|()| work.summary)
    }
}

/// The dataset that the name of an object of another bucket selects.
fn dataset_of_object(catalog: &Catalog, object: &ObjectRef) -> Option<String> {
    FileSource::from_bucket(catalog, &object.bucket, &object.key, DateTime::UNIX_EPOCH).dataset
}

/// A file to read.
struct Candidate {
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// The object in its message; `None` for a file of the inbox.
    object: Option<ObjectRef>,
}

/// A version of a file, ready to be read.
struct FetchedFile {
    candidate: Candidate,
    file: FileSource,
    meta: ObjectMeta,
    version: String,
    from: Progress,
    fetched: FileBytes,
}

impl FetchedFile {
    fn to_attempted(&self) -> AttemptedFile {
        AttemptedFile { version: self.version.clone(), name: self.file.name.clone(), from: self.from.records }
    }
}

/// A file whose last records are in the slice. When the slice has landed, the file is moved out of the inbox and its
/// progress is removed.
struct FinishedFile {
    folder: &'static str,
    file: FileSource,
    meta: ObjectMeta,
    version: String,
    in_inbox: bool,
}

struct Work<'a> {
    files: &'a Files,
    lake: &'a dyn ObjectStore,
    catalog_history: &'a CatalogHistory,
    catalog: &'a Arc<Catalog>,
    deadlines: Deadlines,
    attempts: Attempts,
    /// Paths of all progress objects.
    progress: BTreeSet<Path>,
    slice: Slice,
    finished: Vec<FinishedFile>,
    /// Whether a file has been started.
    has_started: bool,
    summary: FilesSummary,
}

impl Work<'_> {
    /// Whether it is too late to start a file.
    fn is_late(&self, has_started: bool) -> bool {
        (has_started || !self.deadlines.has_time) && Instant::now() >= self.deadlines.soft
    }

    /// Whether a file of this dataset waits because its contract has errors. Only the contract says how the file is to be read.
    fn waits_for_contract(&self, dataset: Option<&str>) -> bool {
        dataset
            .and_then(|dataset| self.catalog.contract(dataset))
            .is_some_and(|contract| contract.broken().is_some())
    }

    /// Lists the inbox, the oldest files first, without those that wait for their contract.
    async fn list_inbox(&mut self) -> Result<Vec<Path>, LandingError> {
        let waiting = AtomicUsize::new(0);
        let is_ready = |meta: &ObjectMeta| {
            let waits =
                self.waits_for_contract(FileSource::from_inbox(self.catalog, meta).dataset.as_deref());
            waiting.fetch_add(usize::from(waits), Ordering::Relaxed);
            !waits
        };
        let metas = inbox::list(self.lake, MAX_LISTED, is_ready).await?;
        let waiting = waiting.into_inner();
        if waiting > 0 {
            tracing::warn!(waiting, "files stay in inbox/ until the contract of their dataset is repaired");
        }
        self.summary.more = metas.len() == MAX_LISTED;
        Ok(metas.into_iter().map(|meta| meta.location).collect())
    }

    /// Reads small files in groups; then large files, and files with failed attempts, one at a time.
    async fn process(&mut self, candidates: Vec<Candidate>) -> Result<(), LandingError> {
        let small_bytes = MAX_IN_MEMORY_BYTES.min(self.files.max_bytes);
        let (mut group, mut group_bytes, mut alone) = (Vec::new(), 0, Vec::new());
        let mut has_picked = false;
        let mut fetched = futures::stream::iter(candidates)
            .map(|candidate| async move {
                let got = fetch(&*candidate.store, &candidate.path, small_bytes).await;
                (candidate, got)
            })
            .buffered(CONCURRENCY);
        while let Some((candidate, got)) = fetched.next().await {
            if self.is_late(has_picked) {
                self.postpone(candidate);
                continue;
            }
            let Some(mut found) = self.identify(candidate, got).await? else { continue };
            let failures = self.attempts.count_failures(&found.version, found.from.records);
            if failures >= MAX_FAILURES {
                self.reject_after_failures(found, failures);
            } else if failures > 0 || matches!(found.fetched, FileBytes::TooLarge) {
                found.fetched = FileBytes::TooLarge;
                alone.push((found, failures));
            } else {
                group_bytes += found.meta.size;
                group.push(found);
            }
            has_picked = true;
            if group.len() >= GROUP_FILES || group_bytes >= GROUP_BYTES {
                group_bytes = 0;
                self.attempt(std::mem::take(&mut group)).await?;
            }
        }
        self.attempt(group).await?;
        for (mut found, failures) in alone {
            if self.is_late(self.has_started) {
                self.postpone(found.candidate);
                continue;
            }
            if failures > 0 {
                self.summary.retried += 1;
                tracing::warn!(
                    file = found.file.name,
                    attempt = failures + 1,
                    "retrying a file alone, after a failed attempt"
                );
            }
            let got = fetch_if_unchanged(&*found.candidate.store, &found.meta, self.files.max_bytes).await;
            let Some((meta, fetched)) = self.check_fetched(&found.candidate, got) else { continue };
            (found.meta, found.fetched) = (meta, fetched);
            self.attempt(vec![found]).await?;
        }
        self.land().await
    }

    fn postpone(&mut self, candidate: Candidate) {
        match candidate.object {
            Some(object) => self.summary.unfinished.push(object),
            None => self.summary.more = true,
        }
    }

    fn failed(&mut self, candidate: &Candidate) {
        match &candidate.object {
            Some(object) => self.summary.failed.push(object.clone()),
            None => self.summary.inbox_failed = true,
        }
    }

    /// The fetched file, if it exists. An error is logged, and the file is tried again by a later invocation.
    fn check_fetched(
        &mut self,
        candidate: &Candidate,
        got: Result<Option<(ObjectMeta, FileBytes)>, LandingError>,
    ) -> Option<(ObjectMeta, FileBytes)> {
        match got {
            Ok(Some(got)) => Some(got),
            // Another compactor has landed it, or its owner has removed or replaced it; a replacement has its own
            // message.
            Ok(None) => None,
            Err(error) => {
                tracing::error!(path = %candidate.path, object = ?candidate.object, %error, "cannot fetch a file");
                self.failed(candidate);
                None
            }
        }
    }

    /// Finds out which version of which file it is, and its progress. `None` if it must not be read now.
    async fn identify(
        &mut self,
        candidate: Candidate,
        got: Result<Option<(ObjectMeta, FileBytes)>, LandingError>,
    ) -> Result<Option<FetchedFile>, LandingError> {
        let Some((meta, fetched)) = self.check_fetched(&candidate, got) else { return Ok(None) };
        let file = match &candidate.object {
            None => FileSource::from_inbox(self.catalog, &meta),
            Some(ObjectRef { bucket, key }) => {
                FileSource::from_bucket(self.catalog, bucket, key, meta.last_modified)
            }
        };
        let version = file.version(&meta);
        if self.attempts.is_running(&version) {
            tracing::info!(file = file.name, "another invocation is reading this file");
            // The inbox is listed again. The message of another bucket must stay, because the other invocation may
            // fail.
            if candidate.object.is_some() {
                self.failed(&candidate);
            }
            return Ok(None);
        }
        let from = if Progress::is_listed(&file, &self.progress) {
            Progress::read(self.lake, &file, &meta).await?
        } else {
            Progress::new(&meta, 0)
        };
        Ok(Some(FetchedFile { candidate, file, meta, version, from, fetched }))
    }

    /// Records an attempt at the files, reads them and lands their records.
    async fn attempt(&mut self, files: Vec<FetchedFile>) -> Result<(), LandingError> {
        if files.is_empty() {
            return Ok(());
        }
        let attempted = files.iter().map(FetchedFile::to_attempted).collect();
        let mut attempt = Attempt::begin(self.lake, &self.files.env, attempted).await?;
        let mut stuck = BTreeSet::new();
        let read = self.read(files, &mut attempt, &mut stuck).await;
        // The attempt also ends if the store has failed: that is not a failure of the files.
        if let Err(error) = attempt.finish(self.lake, &*self.files.env.clock, &stuck).await {
            tracing::warn!(%error, "cannot finish an attempt: it will count as failed");
        }
        read
    }

    async fn read(
        &mut self,
        files: Vec<FetchedFile>,
        attempt: &mut Attempt,
        stuck: &mut BTreeSet<String>,
    ) -> Result<(), LandingError> {
        for found in files {
            if self.is_late(self.has_started) {
                self.postpone(found.candidate);
                continue;
            }
            self.has_started = true;
            let FetchedFile { candidate, file, meta, version, from, fetched } = found;
            // If the process ends now, its last log line names the file.
            tracing::info!(file = file.name, bytes = meta.size, from = from.records, "reading a file");
            let folder = match self.read_file(&file, &meta, &version, from, fetched, attempt).await? {
                End::OutOfTime => {
                    self.postpone(candidate);
                    continue;
                }
                End::Stuck => {
                    stuck.insert(version);
                    self.postpone(candidate);
                    continue;
                }
                End::Failed => {
                    self.failed(&candidate);
                    continue;
                }
                End::Complete => RAW,
                End::Rejected => FAILED,
            };
            match folder {
                RAW => self.summary.landed += 1,
                _ => self.summary.rejected += 1,
            }
            let in_inbox = candidate.object.is_none();
            self.finished.push(FinishedFile { folder, file, meta, version, in_inbox });
        }
        self.land().await
    }

    async fn read_file(
        &mut self,
        file: &FileSource,
        meta: &ObjectMeta,
        version: &str,
        from: Progress,
        fetched: FileBytes,
        attempt: &mut Attempt,
    ) -> Result<End, LandingError> {
        let contract = FileContract::new(self.catalog, file.dataset.as_deref(), &file.name);
        let options = ReadOptions::from(&self.files.sandbox).with_contract(contract);
        let (whole, records) = match fetched {
            FileBytes::TooLarge => {
                let max_bytes = self.files.max_bytes;
                let detail = format!(
                    "{} bytes; the limit is {max_bytes}. Load it from the bucket: pinlake load --lake s3://{} s3://...",
                    meta.size, self.files.bucket
                );
                return Ok(self.reject(file, meta, None, Reason::TooLarge, detail));
            }
            FileBytes::Memory(bytes) => {
                (Some(bytes.clone()), FileBytes::Memory(bytes).records(&file.name, options))
            }
            disk @ FileBytes::Disk(_) => (None, disk.records(&file.name, options)),
        };
        let whole = whole.as_deref();
        let mut records = match records {
            Ok(records) => records,
            Err(error) => return Ok(self.handle_read_error(file, meta, whole, &error)),
        };
        let mut place = Place { landed: from.records, number: 0, skipped: 0 };
        loop {
            match self.fill(file, &mut records, &mut place) {
                Ok(Filled::EndOfFile) => return Ok(End::Complete),
                Ok(Filled::SliceFull) => {
                    self.land().await?;
                    // The next invocation continues here.
                    self.progress.insert(Progress::new(meta, place.number).write(self.lake, file).await?);
                    attempt.record_progress(self.lake, &*self.files.env.clock, version, place.number).await?;
                    place.landed = place.number;
                }
                Ok(Filled::ClockCheck) => attempt.renew_lease(self.lake, &*self.files.env.clock).await?,
                Err(error) => return Ok(self.handle_read_error(file, meta, whole, &error)),
            }
            if records.produced() > MAX_UNPACKED_BYTES {
                let detail = format!(
                    "decompresses to more than {MAX_UNPACKED_BYTES} bytes; the first {} records have landed. Decompress it \
                     and split it into smaller files, or use `pinlake load`",
                    place.number
                );
                return Ok(self.reject(file, meta, whole, Reason::TooLarge, detail));
            }
            let now = Instant::now();
            let is_further = place.number > from.records;
            let is_enough = is_further && records.cost() - place.skipped >= self.files.steps.min_cost;
            if now < self.deadlines.hard && !(now >= self.deadlines.soft && is_enough) {
                continue;
            }
            if !is_further {
                tracing::error!(
                    file = file.name,
                    records = place.number,
                    "the time is up without progress in this file"
                );
                return Ok(End::Stuck);
            }
            self.land().await?;
            Progress::new(meta, place.number).write(self.lake, file).await?;
            return Ok(End::OutOfTime);
        }
    }

    /// Reads records until the slice is full, or the clock has to be checked.
    fn fill(
        &mut self,
        file: &FileSource,
        records: &mut RecordReader,
        place: &mut Place,
    ) -> Result<Filled, ReadError> {
        let limit = records.cost() + self.files.steps.check_cost;
        while records.cost() < limit {
            match records.next()? {
                None => return Ok(Filled::EndOfFile),
                Some(record) => {
                    let is_new = place.number >= place.landed;
                    if is_new {
                        self.slice.push(file, place.number, record);
                    }
                    place.number += 1;
                    if !is_new {
                        place.skipped = records.cost();
                    } else if self.slice.is_full() {
                        return Ok(Filled::SliceFull);
                    }
                }
            }
        }
        Ok(Filled::ClockCheck)
    }

    /// Handles a read error: the file is rejected if the error is its own, else tried again.
    fn handle_read_error(
        &mut self,
        file: &FileSource,
        meta: &ObjectMeta,
        whole: Option<&[u8]>,
        error: &ReadError,
    ) -> End {
        if !error.is_file_error() {
            tracing::error!(file = file.name, %error, "cannot read a file; it will be tried again");
            return End::Failed;
        }
        let reason = match error {
            ReadError::SizeLimitExceeded { .. } | ReadError::Refused { .. } => Reason::TooLarge,
            _ => Reason::Unreadable,
        };
        self.reject(file, meta, whole, reason, error.to_string())
    }

    /// Rejects a file because of failed attempts, without reading it.
    fn reject_after_failures(&mut self, found: FetchedFile, failures: u64) {
        let FetchedFile { candidate, file, meta, version, from, .. } = found;
        tracing::error!(file = file.name, attempt = failures, "file rejected after failed attempts");
        let detail = format!(
            "{failures} attempts failed at or before record {}: the process ended, or its time ran out. Check the file, split \
             it into smaller files, or use `pinlake load`",
            from.records
        );
        self.reject(&file, &meta, None, Reason::Unreadable, detail);
        self.summary.rejected += 1;
        self.summary.discarded += 1;
        let in_inbox = candidate.object.is_none();
        self.finished.push(FinishedFile { folder: FAILED, file, meta, version, in_inbox });
    }

    /// Quarantines an object whose key `object_store` cannot represent. A failure would only deliver its message again.
    fn reject_key(&mut self, object: &ObjectRef, error: &str) {
        tracing::error!(bucket = object.bucket, key = object.key, error, "object key is not a valid path");
        let now = self.files.env.clock.now();
        let file = FileSource::from_bucket(self.catalog, &object.bucket, &object.key, now);
        let detail = format!("the key is not supported: {error}. Copy the object to another key");
        self.slice.reject_file(&file, file.name.as_bytes(), Reason::Unreadable, detail);
        self.summary.rejected += 1;
    }

    /// Quarantines a file as one record: its content if it is small enough, else the place where the file is.
    fn reject(
        &mut self,
        file: &FileSource,
        meta: &ObjectMeta,
        whole: Option<&[u8]>,
        reason: Reason,
        detail: String,
    ) -> End {
        tracing::error!(file = file.name, bytes = meta.size, %reason, detail, "file rejected");
        let place = if file.name.starts_with("s3://") {
            file.name.clone()
        } else {
            inbox::destination(FAILED, file, &meta.location).to_string()
        };
        let whole = whole.filter(|bytes| bytes.len() <= MAX_RECORD_BYTES);
        self.slice.reject_file(file, whole.unwrap_or(place.as_bytes()), reason, detail);
        End::Rejected
    }

    /// Lands the slice, and moves files whose records have all landed out of the inbox.
    async fn land(&mut self) -> Result<(), LandingError> {
        let landed = self.slice.land(self.lake, self.catalog_history, self.catalog).await?;
        self.summary.datasets.extend(landed.objects.into_iter().map(|object| object.name.dataset));
        self.summary.records += landed.counts.iter().map(|count| count.read).sum::<u64>();
        for FinishedFile { folder, file, meta, version, in_inbox } in std::mem::take(&mut self.finished) {
            // A file that stays in the inbox lands again without effect. It does not hold up the others.
            let has_left = match in_inbox {
                true => move_out(self.lake, folder, &file, &meta).await.map(|to| Some(to.to_string())),
                false => Ok(None),
            };
            match has_left {
                Ok(to) => tracing::info!(file = file.name, to, "file landed"),
                Err(error) => {
                    tracing::error!(file = file.name, %error, "file landed, but cannot be moved out of the inbox");
                    self.summary.inbox_failed = true;
                    continue;
                }
            }
            self.attempts.forget(&version);
            if Progress::is_listed(&file, &self.progress)
                && let Err(error) = Progress::remove(self.lake, &file).await
            {
                tracing::warn!(file = file.name, %error, "cannot remove the progress of a finished file");
            }
        }
        Ok(())
    }
}

/// The position in a file.
struct Place {
    /// Records that have landed.
    landed: u64,
    /// Records read.
    number: u64,
    /// Cost of reading the records that landed in earlier invocations.
    skipped: u64,
}

/// Why reading paused.
enum Filled {
    EndOfFile,
    SliceFull,
    ClockCheck,
}

/// How reading a file ended.
enum End {
    /// All records are in slices.
    Complete,
    Rejected,
    /// The time is up; some records have landed.
    OutOfTime,
    /// The time is up, and no new record has landed.
    Stuck,
    /// The store or the disk failed, not the file.
    Failed,
}
