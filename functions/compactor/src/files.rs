//! Files: what lies in the lake's `inbox/`, and what is announced in other buckets, cleaned into the landing area.
//!
//! A notification about the inbox is a wake-up like any other: the inbox is listed, and what lies there is taken,
//! whoever announced it. Another bucket is only read from, and may hold millions of objects that were taken long ago:
//! there the notification names the work.
//!
//! The order is the guarantee: a file's records land, and then it is moved out of the inbox, to `raw/inbox/`, or to
//! `failed/inbox/` when it cannot be read. A file that is taken twice lands twice with the same keys, and is inserted
//! once. A file that takes more than an invocation's time is gone on with where its last slice ended.

use std::collections::BTreeSet;
use std::sync::Arc;

use futures::StreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use pinlake_clean::framing::{Limits, Records};
use pinlake_clean::{MAX_RECORD_BYTES, Reason};
use pinlake_lake::Lake;
use pinlake_landing::LandingError;
use pinlake_landing::fetch::{Fetched, IN_MEMORY_BYTES, fetch};
use pinlake_landing::file::{FileSource, INBOX, Progress, Slice, move_out, moved_to};
use pinlake_landing::name::FAILED;
use pinlake_landing::raw::RAW;
use pinlake_landing::releases::Releases;
use pinlake_schema::Catalog;
use tokio::time::Instant;

use crate::wake::Announced;

/// Files of the inbox that are listed at a time.
const MOST_LISTED: usize = 1000;
/// Small files that are fetched at once.
const CONCURRENCY: usize = 16;
/// Bytes that a compressed file may unpack to.
const MOST_UNPACKED_BYTES: u64 = 4 << 30;
/// What reading may cost in a function of 2 GB.
const LIMITS: Limits = Limits {
    max_record_bytes: 16 << 20,
    max_ratio: 200,
    free_unpacked_bytes: 256 << 20,
    max_spooled_bytes: 128 << 20,
};

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
    /// The other ones.
    pub buckets: Arc<dyn Buckets>,
    /// Stored bytes of the largest file that is taken: the function's disk has to hold it.
    pub most_bytes: u64,
}

/// The largest file that a deployed compactor takes; its disk holds half as much again.
pub const MOST_BYTES: u64 = 1 << 30;

/// What became of files.
#[derive(Debug, Default)]
pub struct FilesTaken {
    /// Files whose records have landed.
    pub taken: u64,
    /// Files that could not be read, or not to their end.
    pub rejected: u64,
    /// Records that landed, those in quarantine too.
    pub records: u64,
    /// The datasets in whose landing areas they are.
    pub datasets: BTreeSet<String>,
    /// Whether the inbox holds more than the time covered.
    pub more: bool,
    /// Announced files that the time did not cover.
    pub unfinished: Vec<Announced>,
    /// Announced files that could not be got, and are to be announced again.
    pub failed: Vec<Announced>,
    /// Whether a file of the inbox could not be got, or not be moved out of it.
    pub inbox_failed: bool,
}

impl Files {
    /// The path in the lake of an object of a bucket; `None` when it is in no part of the lake.
    pub(crate) fn in_lake<'a>(&self, object: &'a Announced) -> Option<&'a str> {
        if object.bucket != self.bucket {
            return None;
        }
        match self.prefix.as_str() {
            "" => Some(&object.key),
            prefix => object.key.strip_prefix(prefix)?.strip_prefix('/'),
        }
    }

    /// Takes what is announced elsewhere, and the inbox if that is asked for. Nothing new is begun after `deadline`.
    ///
    /// # Errors
    /// When the landing area cannot be written to; all of it may be done again.
    pub(crate) async fn take(
        &self,
        lake: &Lake,
        catalog: &Arc<Catalog>,
        inbox: bool,
        announced: Vec<Announced>,
        deadline: Instant,
    ) -> Result<FilesTaken, LandingError> {
        let mut work = Work {
            files: self,
            lake: &**lake.store(),
            releases: lake.releases(),
            catalog,
            deadline,
            slice: Slice::default(),
            leaving: Vec::new(),
            done: FilesTaken::default(),
        };
        let mut wanted: Vec<Wanted> = Vec::new();
        for object in announced {
            match Path::parse(&object.key) {
                Ok(path) => {
                    let store = self.buckets.open(&object.bucket);
                    wanted.push(Wanted { store, path, announced: Some(object) });
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
        work.all(wanted).await?;
        Ok(work.done)
    }
}

/// A file to be taken.
struct Wanted {
    store: Arc<dyn ObjectStore>,
    path: Path,
    /// None for one of the inbox.
    announced: Option<Announced>,
}

/// A file whose records are in the slice or have landed: it leaves the inbox when all of them have.
struct Leaving {
    folder: &'static str,
    file: FileSource,
    meta: ObjectMeta,
}

struct Work<'a> {
    files: &'a Files,
    lake: &'a dyn ObjectStore,
    releases: &'a Releases,
    catalog: &'a Arc<Catalog>,
    deadline: Instant,
    slice: Slice,
    leaving: Vec<Leaving>,
    done: FilesTaken,
}

impl Work<'_> {
    fn is_late(&self) -> bool {
        Instant::now() >= self.deadline
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

    /// Small files many at a time, then the large ones, one at a time on the disk.
    async fn all(&mut self, wanted: Vec<Wanted>) -> Result<(), LandingError> {
        let mut large = Vec::new();
        let small_bytes = IN_MEMORY_BYTES.min(self.files.most_bytes);
        let mut fetched = futures::stream::iter(wanted)
            .map(|wanted| async move {
                let got = fetch(&*wanted.store, &wanted.path, small_bytes).await;
                (wanted, got)
            })
            .buffered(CONCURRENCY);
        while let Some((wanted, got)) = fetched.next().await {
            match got {
                _ if self.is_late() => self.postpone(wanted),
                Ok(Some((_, Fetched::TooLarge))) => large.push(wanted),
                got => self.one(wanted, got).await?,
            }
        }
        for wanted in large {
            if self.is_late() {
                self.postpone(wanted);
                continue;
            }
            let got = fetch(&*wanted.store, &wanted.path, self.files.most_bytes).await;
            self.one(wanted, got).await?;
        }
        self.land().await
    }

    fn postpone(&mut self, wanted: Wanted) {
        match wanted.announced {
            Some(announced) => self.done.unfinished.push(announced),
            None => self.done.more = true,
        }
    }

    async fn one(
        &mut self,
        wanted: Wanted,
        got: Result<Option<(ObjectMeta, Fetched)>, LandingError>,
    ) -> Result<(), LandingError> {
        let (meta, fetched) = match got {
            Ok(Some(got)) => got,
            // Another compactor has taken it, or its owner has removed it.
            Ok(None) => return Ok(()),
            Err(error) => {
                tracing::error!(path = %wanted.path, announced = ?wanted.announced, %error, "file not got");
                match wanted.announced {
                    Some(announced) => self.done.failed.push(announced),
                    None => self.done.inbox_failed = true,
                }
                return Ok(());
            }
        };
        let file = match &wanted.announced {
            None => FileSource::of_inbox(self.catalog, &meta),
            Some(Announced { bucket, key }) => {
                FileSource::elsewhere(self.catalog, bucket, key, meta.last_modified)
            }
        };
        let folder = match self.cut(&file, &meta, fetched).await? {
            End::Late => {
                self.postpone(wanted);
                return Ok(());
            }
            End::Whole => RAW,
            End::Rejected => FAILED,
        };
        match folder {
            RAW => self.done.taken += 1,
            _ => self.done.rejected += 1,
        }
        if wanted.announced.is_none() {
            self.leaving.push(Leaving { folder, file, meta });
        }
        Ok(())
    }

    async fn cut(
        &mut self,
        file: &FileSource,
        meta: &ObjectMeta,
        fetched: Fetched,
    ) -> Result<End, LandingError> {
        // A small file is taken at once, and never left in the middle.
        let is_large = matches!(fetched, Fetched::Disk(_));
        let (whole, records) = match fetched {
            Fetched::TooLarge => {
                let most = self.files.most_bytes;
                let detail = format!(
                    "{} bytes; a file may have {most} here. `pinlake load` takes it from the bucket: pinlake load \
                     --lake s3://{} s3://...",
                    meta.size, self.files.bucket
                );
                return Ok(self.reject(file, meta, None, Reason::TooLarge, detail));
            }
            Fetched::Memory(bytes) => {
                (Some(bytes.clone()), Fetched::Memory(bytes).records(&file.name, LIMITS))
            }
            disk @ Fetched::Disk(_) => (None, disk.records(&file.name, LIMITS)),
        };
        let mut records = match records {
            Ok(records) => records,
            Err(error) => {
                let whole = whole.as_deref();
                return Ok(self.reject(file, meta, whole, Reason::Unreadable, error.to_string()));
            }
        };
        let from = if is_large { Progress::read(self.lake, file).await? } else { Progress::default() };
        let mut number = 0;
        loop {
            match self.fill(file, &mut records, from, &mut number) {
                Ok(true) => {}
                Ok(false) => return Ok(End::Whole),
                Err((reason, detail)) => {
                    return Ok(self.reject(file, meta, whole.as_deref(), reason, detail));
                }
            }
            self.land().await?;
            if is_large && self.is_late() {
                Progress { records: number }.keep(self.lake, file).await?;
                return Ok(End::Late);
            }
        }
    }

    /// Cuts records until the slice is full; false at the end of the file.
    fn fill(
        &mut self,
        file: &FileSource,
        records: &mut Records,
        from: Progress,
        number: &mut u64,
    ) -> Result<bool, (Reason, String)> {
        while !self.slice.is_full() {
            match records.next() {
                Ok(Some(record)) => {
                    if *number >= from.records {
                        self.slice.push(file, *number, record);
                    }
                    *number += 1;
                }
                Ok(None) => return Ok(false),
                Err(error) => return Err((Reason::Unreadable, error.to_string())),
            }
            if records.bytes() > MOST_UNPACKED_BYTES {
                let detail = format!(
                    "unpacks to more than {MOST_UNPACKED_BYTES} bytes; the first {number} records were taken. Unpack \
                     it and cut it into smaller files, or use `pinlake load`"
                );
                return Err((Reason::TooLarge, detail));
            }
        }
        Ok(true)
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
        let landed = self.slice.land(self.lake, self.releases, self.catalog).await?;
        self.done.datasets.extend(landed.objects.into_iter().map(|object| object.name.dataset));
        self.done.records += landed.counts.iter().map(|count| count.read).sum::<u64>();
        for Leaving { folder, file, meta } in std::mem::take(&mut self.leaving) {
            match move_out(self.lake, folder, &file, &meta).await {
                Ok(to) => tracing::info!(file = file.name, %to, "file taken"),
                // It will be taken again, to no effect; the others must not wait for it.
                Err(error) => {
                    tracing::error!(file = file.name, %error, "file taken, but not moved out of the inbox");
                    self.done.inbox_failed = true;
                }
            }
        }
        Ok(())
    }
}

/// How far a file was taken.
enum End {
    Whole,
    Rejected,
    /// The time is up; a part has landed.
    Late,
}
