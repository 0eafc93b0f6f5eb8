//! Files: what lies in the lake's `inbox/`, and what is announced in other buckets, cleaned into the landing area.
//!
//! A notification about the inbox is a wake-up like any other: the inbox is listed, and what lies there is taken,
//! whoever announced it. Another bucket is only read from, and may hold millions of objects that were taken long ago:
//! there the notification names the work.
//!
//! The order is the guarantee: an attempt is written down, a file's records land, and then it is moved out of the inbox,
//! to `raw/inbox/`, or to `failed/inbox/` when it cannot be read. A file that is taken twice lands twice with the same
//! keys, and is inserted once. A file that takes more than an invocation's time is gone on with where its last slice
//! ended. A file over which attempts fail is given up after the third ([`pinlake_landing::attempt`] has the rule).

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use pinlake_clean::record_reader::sandbox::{ProcessLimits, Sandbox};
use pinlake_clean::record_reader::{Limits, ReadError, RecordReader};
use pinlake_clean::{MAX_RECORD_BYTES, Reason};
use pinlake_env::Env;
use pinlake_lake::Lake;
use pinlake_landing::LandingError;
use pinlake_landing::attempt::{Attempt, AttemptedFile, Attempts, MOST_FAILURES};
use pinlake_landing::catalog_history::CatalogHistory;
use pinlake_landing::fetch::{FileBytes, IN_MEMORY_BYTES, fetch, fetch_same};
use pinlake_landing::file::{FileSource, INBOX, Progress, SLICE_BYTES, Slice, move_out, moved_to};
use pinlake_landing::name::FAILED;
use pinlake_landing::raw::RAW;
use pinlake_schema::Catalog;
use tokio::time::Instant;

use crate::trigger::ObjectRef;

/// Files of the inbox that are listed at a time.
const MOST_LISTED: usize = 1000;
/// Small files that are fetched at once.
const CONCURRENCY: usize = 16;
/// Small files that share an attempt.
const GROUP_FILES: usize = 128;
/// Their stored bytes.
const GROUP_BYTES: u64 = 16 << 20;
/// Bytes that a compressed file may unpack to, or a file's records may have.
const MOST_UNPACKED_BYTES: u64 = 4 << 30;
/// What reading may cost in a function of 2 GB.
const LIMITS: Limits = Limits {
    max_record_bytes: 16 << 20,
    max_ratio: 200,
    free_unpacked_bytes: 256 << 20,
    max_unpacked_bytes: MOST_UNPACKED_BYTES,
    max_cost_ratio: 1000,
    free_cost: 64 << 20,
    max_spooled_bytes: 128 << 20,
};
/// The part of the function's memory that reading a Parquet file may take, in its process of its own.
const PARQUET_SHARE: u64 = 4;
/// What it may take in the smallest function.
const LEAST_PARQUET_BYTES: u64 = 128 << 20;
/// Processor time that a batch of rows may take, in seconds.
const PARQUET_CPU_SECONDS: u64 = 10;
/// How long no row may come.
const PARQUET_SILENCE: Duration = Duration::from_secs(20);

/// Reads Parquet apart from a function that has so much memory.
///
/// # Errors
/// When the system does not tell which program this is.
pub fn sandbox(memory_bytes: u64) -> std::io::Result<Sandbox> {
    let memory_bytes = (memory_bytes / PARQUET_SHARE).max(LEAST_PARQUET_BYTES);
    let bounds =
        ProcessLimits { memory_bytes, cpu_seconds: PARQUET_CPU_SECONDS, idle_timeout: PARQUET_SILENCE };
    Sandbox::from_current_exe(LIMITS, bounds)
}

/// In which steps a file is read.
#[derive(Debug, Clone, Copy)]
pub struct Steps {
    /// Bytes of records that land together.
    pub slice_bytes: usize,
    /// What is read between two looks at the clock, as [`RecordReader::cost`] counts it.
    pub look_cost: u64,
    /// New records of a file that are taken at least, however late it is, lest a file never come to its end.
    pub least_cost: u64,
}

impl Default for Steps {
    fn default() -> Self {
        Self { slice_bytes: SLICE_BYTES, look_cost: 256 << 10, least_cost: SLICE_BYTES as u64 }
    }
}

/// Opens other buckets.
pub trait Buckets: Send + Sync {
    /// A bucket that is only read from.
    fn open(&self, bucket: &str) -> Arc<dyn ObjectStore>;
}

/// What is needed to take files.
#[derive(Clone)]
pub struct Files {
    /// The bucket that the lake is in.
    pub bucket: String,
    /// The lake's prefix in it, without slashes at either end.
    pub prefix: String,
    /// The other buckets whose objects are taken; of any other one a message is ignored.
    pub sinks: BTreeSet<String>,
    /// Opens them.
    pub buckets: Arc<dyn Buckets>,
    /// Stored bytes of the largest file that is taken: the function's disk has to hold it.
    pub most_bytes: u64,
    /// In which steps files are read.
    pub steps: Steps,
    /// Reads Parquet.
    pub sandbox: Sandbox,
    /// The time, by which attempts end, and their names.
    pub effects: Env,
}

/// The largest file that a deployed compactor takes; its disk holds half as much again.
pub const MOST_BYTES: u64 = 1 << 30;

/// Until when files are taken.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Times {
    /// Whether there is any time. If so, a file is begun however late it is: whatever else takes the time of each
    /// invocation must not keep files waiting for good.
    pub(crate) any: bool,
    /// Nothing more is begun, and a file that has come a piece further is left.
    pub(crate) soft: Instant,
    /// A file is left wherever it is.
    pub(crate) hard: Instant,
}

/// What became of files.
#[derive(Debug, Default)]
pub struct FilesSummary {
    /// Files whose records have landed.
    pub taken: u64,
    /// Files that could not be read, or not to their end.
    pub rejected: u64,
    /// Of these, those over which too many attempts had failed.
    pub discarded: u64,
    /// Files over which an attempt had failed before.
    pub tried_again: u64,
    /// Records that landed, those in quarantine too.
    pub records: u64,
    /// The datasets in whose landing areas they are.
    pub datasets: BTreeSet<String>,
    /// Whether the inbox holds more than the time covered.
    pub more: bool,
    /// ObjectRef files that the time did not cover.
    pub unfinished: Vec<ObjectRef>,
    /// ObjectRef files that could not be got, or that another one is reading, and are to be announced again.
    pub failed: Vec<ObjectRef>,
    /// Whether a file of the inbox could not be got, or not be moved out of it.
    pub inbox_failed: bool,
}

impl Files {
    /// The path in the lake of an object of a bucket; `None` when it is in no part of the lake.
    pub(crate) fn in_lake<'a>(&self, object: &'a ObjectRef) -> Option<&'a str> {
        if object.bucket != self.bucket {
            return None;
        }
        match self.prefix.as_str() {
            "" => Some(&object.key),
            prefix => object.key.strip_prefix(prefix)?.strip_prefix('/'),
        }
    }

    /// Whether objects of a bucket are taken.
    pub(crate) fn is_source(&self, bucket: &str) -> bool {
        bucket == self.bucket || self.sinks.contains(bucket)
    }

    /// Takes what is announced elsewhere, and the inbox if that is asked for.
    ///
    /// # Errors
    /// When the landing area cannot be written to; all of it may be done again.
    pub(crate) async fn take(
        &self,
        lake: &Lake,
        catalog: &Arc<Catalog>,
        inbox: bool,
        announced: Vec<ObjectRef>,
        times: Times,
    ) -> Result<FilesSummary, LandingError> {
        let store = &**lake.store();
        let mut work = Work {
            files: self,
            lake: store,
            catalog_history: lake.catalog_history(),
            catalog,
            times,
            attempts: Attempts::look(store, &*self.effects.clock).await?,
            kept: Progress::kept(store).await?,
            slice: Slice::of(self.steps.slice_bytes),
            leaving: Vec::new(),
            begun: false,
            done: FilesSummary::default(),
        };
        let mut wanted: Vec<Wanted> = Vec::new();
        for object in announced {
            match Path::parse(&object.key) {
                Ok(path) => {
                    let store = self.buckets.open(&object.bucket);
                    wanted.push(Wanted { store, path, announced: Some(object) });
                }
                Err(error) if self.sinks.contains(&object.bucket) => {
                    work.reject_key(&object, &error.to_string());
                }
                Err(error) => {
                    tracing::error!(bucket = object.bucket, key = object.key, %error, "no key that can be read");
                    work.done.failed.push(object);
                }
            }
        }
        if inbox {
            let listed = work.list().await?;
            wanted.extend(listed.into_iter().map(|path| Wanted {
                store: lake.store().clone(),
                path,
                announced: None,
            }));
        }
        let taken = work.all(wanted).await;
        if let Err(error) = work.attempts.keep(store).await {
            tracing::warn!(%error, "failed attempts at files that are done are not forgotten");
        }
        taken.map(|()| work.done)
    }
}

/// A file to be taken.
struct Wanted {
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// None for one of the inbox.
    announced: Option<ObjectRef>,
}

/// A file that was found, in one of its versions.
struct Found {
    wanted: Wanted,
    file: FileSource,
    meta: ObjectMeta,
    version: String,
    from: Progress,
    fetched: FileBytes,
}

impl Found {
    fn attempted(&self) -> AttemptedFile {
        AttemptedFile { version: self.version.clone(), name: self.file.name.clone(), from: self.from.records }
    }
}

/// A file whose records are in the slice or have landed: when all of them have, it leaves the inbox, and what is kept
/// of the way to there is removed.
struct Leaving {
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
    times: Times,
    attempts: Attempts,
    /// Where there is progress.
    kept: BTreeSet<Path>,
    slice: Slice,
    leaving: Vec<Leaving>,
    /// Whether a file has been begun.
    begun: bool,
    done: FilesSummary,
}

impl Work<'_> {
    /// Whether it is too late to begin a file, some having been begun or none.
    fn is_late(&self, some: bool) -> bool {
        (some || !self.times.any) && Instant::now() >= self.times.soft
    }

    /// The inbox, oldest first.
    async fn list(&mut self) -> Result<Vec<Path>, LandingError> {
        let prefix = Path::from(INBOX);
        let listed: Vec<_> = self.lake.list(Some(&prefix)).take(MOST_LISTED).collect().await;
        let mut metas = Vec::with_capacity(listed.len());
        for meta in listed {
            metas.push(meta.map_err(|source| LandingError::Store { path: INBOX.to_owned(), source })?);
        }
        self.done.more = metas.len() == MOST_LISTED;
        metas.sort_by(|a, b| a.last_modified.cmp(&b.last_modified).then_with(|| a.location.cmp(&b.location)));
        Ok(metas.into_iter().map(|meta| meta.location).collect())
    }

    /// Small files many at a time; then those over which an attempt has failed, and the large ones, each alone.
    async fn all(&mut self, wanted: Vec<Wanted>) -> Result<(), LandingError> {
        let small_bytes = IN_MEMORY_BYTES.min(self.files.most_bytes);
        let (mut group, mut group_bytes, mut alone) = (Vec::new(), 0, Vec::new());
        let mut picked = false;
        let mut fetched = futures::stream::iter(wanted)
            .map(|wanted| async move {
                let got = fetch(&*wanted.store, &wanted.path, small_bytes).await;
                (wanted, got)
            })
            .buffered(CONCURRENCY);
        while let Some((wanted, got)) = fetched.next().await {
            if self.is_late(picked) {
                self.postpone(wanted);
                continue;
            }
            let Some(mut found) = self.found(wanted, got).await? else { continue };
            let failures = self.attempts.failures(&found.version, found.from.records);
            if failures >= MOST_FAILURES {
                self.give_up(found, failures);
            } else if failures > 0 || matches!(found.fetched, FileBytes::TooLarge) {
                found.fetched = FileBytes::TooLarge;
                alone.push((found, failures));
            } else {
                group_bytes += found.meta.size;
                group.push(found);
            }
            picked = true;
            if group.len() >= GROUP_FILES || group_bytes >= GROUP_BYTES {
                group_bytes = 0;
                self.attempt(std::mem::take(&mut group)).await?;
            }
        }
        self.attempt(group).await?;
        for (mut found, failures) in alone {
            if self.is_late(self.begun) {
                self.postpone(found.wanted);
                continue;
            }
            if failures > 0 {
                self.done.tried_again += 1;
                tracing::warn!(
                    file = found.file.name,
                    attempt = failures + 1,
                    "an attempt has failed: tried again, alone"
                );
            }
            let got = fetch_same(&*found.wanted.store, &found.meta, self.files.most_bytes).await;
            let Some((meta, fetched)) = self.got(&found.wanted, got) else { continue };
            (found.meta, found.fetched) = (meta, fetched);
            self.attempt(vec![found]).await?;
        }
        self.land().await
    }

    fn postpone(&mut self, wanted: Wanted) {
        match wanted.announced {
            Some(announced) => self.done.unfinished.push(announced),
            None => self.done.more = true,
        }
    }

    fn failed(&mut self, wanted: &Wanted) {
        match &wanted.announced {
            Some(announced) => self.done.failed.push(announced.clone()),
            None => self.done.inbox_failed = true,
        }
    }

    /// What was fetched, if it was there; an error is told, and the file comes again.
    fn got(
        &mut self,
        wanted: &Wanted,
        got: Result<Option<(ObjectMeta, FileBytes)>, LandingError>,
    ) -> Option<(ObjectMeta, FileBytes)> {
        match got {
            Ok(Some(got)) => Some(got),
            // Another compactor has taken it, its owner has removed it, or has written it anew, which is announced.
            Ok(None) => None,
            Err(error) => {
                tracing::error!(path = %wanted.path, announced = ?wanted.announced, %error, "file not got");
                self.failed(wanted);
                None
            }
        }
    }

    /// Which file it is, in which version, and how far it was taken; none if it is not to be read now.
    async fn found(
        &mut self,
        wanted: Wanted,
        got: Result<Option<(ObjectMeta, FileBytes)>, LandingError>,
    ) -> Result<Option<Found>, LandingError> {
        let Some((meta, fetched)) = self.got(&wanted, got) else { return Ok(None) };
        let file = match &wanted.announced {
            None => FileSource::of_inbox(self.catalog, &meta),
            Some(ObjectRef { bucket, key }) => {
                FileSource::elsewhere(self.catalog, bucket, key, meta.last_modified)
            }
        };
        let version = file.version(&meta);
        if self.attempts.is_under_way(&version) {
            tracing::info!(file = file.name, "another one is reading it");
            // The inbox is looked at again; a message of another bucket is the work, and the other one may fail.
            if wanted.announced.is_some() {
                self.failed(&wanted);
            }
            return Ok(None);
        }
        let from = if Progress::is_among(&file, &self.kept) {
            Progress::read(self.lake, &file, &meta).await?
        } else {
            Progress::of(&meta, 0)
        };
        Ok(Some(Found { wanted, file, meta, version, from, fetched }))
    }

    /// Reads files under an attempt of theirs, and lands what they hold.
    async fn attempt(&mut self, files: Vec<Found>) -> Result<(), LandingError> {
        if files.is_empty() {
            return Ok(());
        }
        let attempted = files.iter().map(Found::attempted).collect();
        let mut attempt = Attempt::begin(self.lake, &self.files.effects, attempted).await?;
        let mut stuck = BTreeSet::new();
        let read = self.read(files, &mut attempt, &mut stuck).await;
        // Also when the store has failed, which is not the files' fault.
        if let Err(error) = attempt.end(self.lake, &*self.files.effects.clock, &stuck).await {
            tracing::warn!(%error, "the end of an attempt is not written down: it will count as failed");
        }
        read
    }

    async fn read(
        &mut self,
        files: Vec<Found>,
        attempt: &mut Attempt,
        stuck: &mut BTreeSet<String>,
    ) -> Result<(), LandingError> {
        for found in files {
            if self.is_late(self.begun) {
                self.postpone(found.wanted);
                continue;
            }
            self.begun = true;
            let Found { wanted, file, meta, version, from, fetched } = found;
            // Should this be the last that is heard of the process, it says over which file.
            tracing::info!(file = file.name, bytes = meta.size, from = from.records, "reading a file");
            let folder = match self.cut(&file, &meta, &version, from, fetched, attempt).await? {
                End::Late => {
                    self.postpone(wanted);
                    continue;
                }
                End::Stuck => {
                    stuck.insert(version);
                    self.postpone(wanted);
                    continue;
                }
                End::NotRead => {
                    self.failed(&wanted);
                    continue;
                }
                End::Whole => RAW,
                End::Rejected => FAILED,
            };
            match folder {
                RAW => self.done.taken += 1,
                _ => self.done.rejected += 1,
            }
            let in_inbox = wanted.announced.is_none();
            self.leaving.push(Leaving { folder, file, meta, version, in_inbox });
        }
        self.land().await
    }

    async fn cut(
        &mut self,
        file: &FileSource,
        meta: &ObjectMeta,
        version: &str,
        from: Progress,
        fetched: FileBytes,
        attempt: &mut Attempt,
    ) -> Result<End, LandingError> {
        let (whole, records) = match fetched {
            FileBytes::TooLarge => {
                let most = self.files.most_bytes;
                let detail = format!(
                    "{} bytes; a file may have {most} here. `pinlake load` takes it from the bucket: pinlake load \
                     --lake s3://{} s3://...",
                    meta.size, self.files.bucket
                );
                return Ok(self.reject(file, meta, None, Reason::TooLarge, detail));
            }
            FileBytes::Memory(bytes) => {
                (Some(bytes.clone()), FileBytes::Memory(bytes).records(&file.name, &self.files.sandbox))
            }
            disk @ FileBytes::Disk(_) => (None, disk.records(&file.name, &self.files.sandbox)),
        };
        let whole = whole.as_deref();
        let mut records = match records {
            Ok(records) => records,
            Err(error) => return Ok(self.not_read(file, meta, whole, &error)),
        };
        let mut place = Place { landed: from.records, number: 0, skipped: 0 };
        loop {
            match self.fill(file, &mut records, &mut place) {
                Ok(Filled::Whole) => return Ok(End::Whole),
                Ok(Filled::Slice) => {
                    self.land().await?;
                    // Whoever goes on, goes on from here.
                    self.kept.insert(Progress::of(meta, place.number).keep(self.lake, file).await?);
                    attempt.came_to(self.lake, &*self.files.effects.clock, version, place.number).await?;
                    place.landed = place.number;
                }
                Ok(Filled::BoundedList) => attempt.stay(self.lake, &*self.files.effects.clock).await?,
                Err(error) => return Ok(self.not_read(file, meta, whole, &error)),
            }
            if records.produced() > MOST_UNPACKED_BYTES {
                let detail = format!(
                    "unpacks to more than {MOST_UNPACKED_BYTES} bytes; the first {} records were taken. Unpack it and \
                     cut it into smaller files, or use `pinlake load`",
                    place.number
                );
                return Ok(self.reject(file, meta, whole, Reason::TooLarge, detail));
            }
            let now = Instant::now();
            let is_further = place.number > from.records;
            let is_enough = is_further && records.cost() - place.skipped >= self.files.steps.least_cost;
            if now < self.times.hard && !(now >= self.times.soft && is_enough) {
                continue;
            }
            if !is_further {
                tracing::error!(
                    file = file.name,
                    records = place.number,
                    "the time is up, and it came no further"
                );
                return Ok(End::Stuck);
            }
            self.land().await?;
            Progress::of(meta, place.number).keep(self.lake, file).await?;
            return Ok(End::Late);
        }
    }

    /// Cuts records until the slice is full, or it is time to look at the clock.
    fn fill(
        &mut self,
        file: &FileSource,
        records: &mut RecordReader,
        place: &mut Place,
    ) -> Result<Filled, ReadError> {
        let look = records.cost() + self.files.steps.look_cost;
        while records.cost() < look {
            match records.next()? {
                None => return Ok(Filled::Whole),
                Some(record) => {
                    let is_new = place.number >= place.landed;
                    if is_new {
                        self.slice.push(file, place.number, record);
                    }
                    place.number += 1;
                    if !is_new {
                        place.skipped = records.cost();
                    } else if self.slice.is_full() {
                        return Ok(Filled::Slice);
                    }
                }
            }
        }
        Ok(Filled::BoundedList)
    }

    /// What becomes of a file that cannot be read, or not further.
    fn not_read(
        &mut self,
        file: &FileSource,
        meta: &ObjectMeta,
        whole: Option<&[u8]>,
        error: &ReadError,
    ) -> End {
        if !error.is_file_error() {
            tracing::error!(file = file.name, %error, "file not read, it will be again");
            return End::NotRead;
        }
        let reason = match error {
            ReadError::SizeLimitExceeded { .. } | ReadError::Refused { .. } => Reason::TooLarge,
            _ => Reason::Unreadable,
        };
        self.reject(file, meta, whole, reason, error.to_string())
    }

    /// Puts a file aside over which attempts have failed, without reading it.
    fn give_up(&mut self, found: Found, failures: u64) {
        let Found { wanted, file, meta, version, from, .. } = found;
        tracing::error!(file = file.name, attempt = failures, "file given up");
        let detail = format!(
            "{failures} attempts at it ended without a result, and no further than its record {}: the process broke \
             down, or its time ran out. Check it, cut it into smaller files, or use `pinlake load`",
            from.records
        );
        self.reject(&file, &meta, None, Reason::Unreadable, detail);
        self.done.rejected += 1;
        self.done.discarded += 1;
        let in_inbox = wanted.announced.is_none();
        self.leaving.push(Leaving { folder: FAILED, file, meta, version, in_inbox });
    }

    /// An object that no store of ours can name is told of in quarantine: its message would only come again.
    fn reject_key(&mut self, object: &ObjectRef, error: &str) {
        tracing::error!(bucket = object.bucket, key = object.key, error, "no key that can be read");
        let now = self.files.effects.clock.now();
        let file = FileSource::elsewhere(self.catalog, &object.bucket, &object.key, now);
        let detail = format!("its key cannot be read: {error}. Copy it to another key");
        self.slice.reject_file(&file, file.name.as_bytes(), Reason::Unreadable, detail);
        self.done.rejected += 1;
    }

    /// Puts the file aside as a whole: its bytes if a record may have as many, else where it lies.
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
            moved_to(FAILED, file, &meta.location).to_string()
        };
        let whole = whole.filter(|bytes| bytes.len() <= MAX_RECORD_BYTES);
        self.slice.reject_file(file, whole.unwrap_or(place.as_bytes()), reason, detail);
        End::Rejected
    }

    /// Lands the slice; whatever of the inbox is now wholly landed leaves it.
    async fn land(&mut self) -> Result<(), LandingError> {
        let landed = self.slice.land(self.lake, self.catalog_history, self.catalog).await?;
        self.done.datasets.extend(landed.objects.into_iter().map(|object| object.name.dataset));
        self.done.records += landed.counts.iter().map(|count| count.read).sum::<u64>();
        for Leaving { folder, file, meta, version, in_inbox } in std::mem::take(&mut self.leaving) {
            // It will be taken again, to no effect; the others must not wait for it.
            let has_left = match in_inbox {
                true => move_out(self.lake, folder, &file, &meta).await.map(|to| Some(to.to_string())),
                false => Ok(None),
            };
            match has_left {
                Ok(to) => tracing::info!(file = file.name, to, "file taken"),
                Err(error) => {
                    tracing::error!(file = file.name, %error, "file taken, but not moved out of the inbox");
                    self.done.inbox_failed = true;
                    continue;
                }
            }
            self.attempts.forget(&version);
            // Written in this invocation, or before it.
            if Progress::is_among(&file, &self.kept)
                && let Err(error) = Progress::remove(self.lake, &file).await
            {
                tracing::warn!(file = file.name, %error, "how far it was taken is not removed");
            }
        }
        Ok(())
    }
}

/// Where the reading of a file is.
struct Place {
    /// So many records have landed.
    landed: u64,
    /// So many were read.
    number: u64,
    /// What reading those cost that had landed before.
    skipped: u64,
}

/// Why no more was read for now.
enum Filled {
    Whole,
    Slice,
    BoundedList,
}

/// How far a file was taken.
enum End {
    Whole,
    Rejected,
    /// The time is up; a part has landed.
    Late,
    /// The time is up, and nothing of it has landed in all of it.
    Stuck,
    /// This machine could not.
    NotRead,
}
