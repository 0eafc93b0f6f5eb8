//! Objects of a bucket as files to load: all below a prefix, in the order of their keys, never listed as a whole.
//!
//! The lake keeps a cursor: a load that was broken off goes on behind the last object whose rows are in the tables. A
//! load that came to its end removes it, and the next one looks at everything again, which inserts nothing twice.
//!
//! Invariant: what a cursor stands behind is what the load that goes on would have loaded. So a cursor is of an address, a
//! dataset and the contracts, and holds a hash of the objects before it, with their versions: where one was replaced,
//! removed or added since, the load begins anew. Objects that could not be read are kept in the cursor, and told by the
//! load that comes to the end.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use pinlake_clean::record_reader::ReadError;
use pinlake_landing::LandingError;
use pinlake_landing::fetch::{FileBytes, IN_MEMORY_BYTES, fetch};
use pinlake_landing::file::FileSource;
use pinlake_platform::location::Location;
use serde::{Deserialize, Serialize};

use super::cleaning::Source;
use super::inserting::COMMIT_BYTES;
use super::{FileRecords, Load};
use crate::error::CliError;

/// What a bucket's address begins with.
const SCHEME: &str = "s3://";
/// Objects that are got at once. A small one takes some 20 ms, nearly all of it waiting.
const CONCURRENCY: usize = 32;
/// Objects behind which rows are inserted and the cursor is written, however few bytes they are.
pub(super) const EVERY: usize = 20_000;
/// The same in bytes: some commits, for each of them waits for the one before it only when there is no cursor between.
const EVERY_BYTES: u64 = 8 * COMMIT_BYTES;

/// Whether a file's name is an address in a bucket.
pub(super) fn is_in_bucket(name: &std::path::Path) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(SCHEME))
}

/// The objects below an address.
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    bucket: String,
    /// How far earlier loads, and then this one, have come.
    cursor: Cursor,
    listed: BoxStream<'static, Result<Got, LandingError>>,
    /// Objects between two inserts.
    every: usize,
}

/// An object, and its bytes if they are few.
type Got = Option<(ObjectMeta, FileBytes)>;

/// What is loaded, as far as it decides what becomes of an object. A cursor of another one is another cursor.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Task {
    /// The address.
    source: String,
    /// `--dataset`.
    dataset: Option<String>,
    /// The hash of all contracts.
    contracts: String,
}

impl Objects {
    /// Finds the objects of `s3://bucket[/prefix]`, or the one of that key, behind the cursor that the lake has.
    pub(super) async fn at(address: &str, dataset: Option<&str>, load: &Load) -> Result<Self, CliError> {
        let wrong = |error| CliError::usage(format!("cannot read {address}"), "").caused_by(error);
        let location: Location = address.parse().map_err(wrong)?;
        let Location::S3 { bucket, prefix } = location else {
            return Err(CliError::usage(format!("{address} is not in a bucket"), "write s3://bucket/prefix"));
        };
        let store = Location::S3 { bucket: bucket.clone(), prefix: String::new() };
        let store = store.open().await.map_err(wrong)?;
        Self::below(store, &bucket, &prefix, EVERY, dataset, load).await
    }

    async fn below(
        store: Arc<dyn ObjectStore>,
        bucket: &str,
        prefix: &str,
        every: usize,
        dataset: Option<&str>,
        load: &Load,
    ) -> Result<Self, CliError> {
        let address = format!("{SCHEME}{bucket}/{prefix}");
        let task = Task {
            source: address.clone(),
            dataset: dataset.map(str::to_owned),
            contracts: load.catalog.hash().to_owned(),
        };
        let prefix = Path::parse(prefix).map_err(|error| {
            CliError::usage(format!("cannot read {address}"), "check the prefix").caused_by(error)
        })?;
        let unlisted = |error: object_store::Error| {
            CliError::failed(
                format!("cannot read {address}"),
                "check the name, and that you may list the bucket",
            )
            .caused_by(error)
        };
        let single = match prefix.as_ref() {
            "" => None,
            _ => match store.head(&prefix).await {
                Ok(meta) => Some(meta),
                Err(object_store::Error::NotFound { .. }) => None,
                Err(error) => return Err(unlisted(error)),
            },
        };
        let mut cursor = Cursor::at_the_begin_of(task.clone());
        let listed = match single {
            Some(meta) => futures::stream::once(async { Ok(meta) }).boxed(),
            None => {
                if let Some(kept) = Cursor::read(&**load.lake.store(), &task).await?
                    && kept.holds(&*store, &prefix).await.map_err(unlisted)?
                {
                    cursor = kept;
                }
                match &cursor.after {
                    Some(after) => {
                        let after = Path::parse(after).map_err(|error| unlisted(error.into()))?;
                        store.list_with_offset(Some(&prefix), &after)
                    }
                    None => store.list(Some(&prefix)),
                }
            }
        };
        let from = store.clone();
        let listed = listed
            .map_err(|source| LandingError::Store { path: "the listing".to_owned(), source })
            .map_ok(move |meta| {
                let store = from.clone();
                async move { fetch(&*store, &meta.location, IN_MEMORY_BYTES).await }
            })
            .try_buffered(CONCURRENCY)
            .boxed();
        Ok(Self { store, bucket: bucket.to_owned(), cursor, listed, every })
    }

    /// Loads objects until it is time to insert, and inserts; false when there are no more. Objects that cannot be
    /// read are kept for [`Objects::unreadable`], and the others go on.
    pub(super) async fn some(&mut self, load: &mut Load, bar: &ProgressBar) -> Result<bool, CliError> {
        let (mut count, mut bytes) = (0, 0);
        while count < self.every && bytes < EVERY_BYTES {
            let advice = "load it again: it goes on where the cursor in the lake stands";
            let stopped = |error: LandingError| {
                CliError::failed(format!("{} could not be read", self.cursor.task.source), advice)
                    .caused_by(error)
            };
            let Some(got) = self.listed.next().await.transpose().map_err(stopped)? else {
                load.finish().await?;
                self.cursor.remove(&**load.lake.store()).await?;
                return Ok(false);
            };
            let (meta, fetched) = match got {
                Some((meta, FileBytes::TooLarge)) => {
                    match fetch(&*self.store, &meta.location, u64::MAX).await.map_err(stopped)? {
                        Some(got) => got,
                        None => continue,
                    }
                }
                Some(got) => got,
                // Removed since it was listed.
                None => continue,
            };
            let key = meta.location.to_string();
            let file = FileSource::elsewhere(&load.catalog, &self.bucket, &key, meta.last_modified);
            let read = match fetched.records(&file.name, &load.sandbox) {
                Ok(records) => {
                    let hint = self.cursor.task.dataset.clone().or(file.dataset);
                    let source = Source { name: format!("file/{}", file.name), id: Some(file.id), hint };
                    load.file(FileRecords { records, source }, |_| {}).await?
                }
                Err(error) => Err(error),
            };
            if let Err(error) = read {
                self.cursor.note_unreadable(&error);
            }
            bar.inc(meta.size);
            bytes += meta.size;
            self.cursor.pass(&meta);
            count += 1;
        }
        load.finish().await?;
        self.cursor.keep(&**load.lake.store()).await?;
        Ok(true)
    }

    /// How many objects could not be read to their end, those of the loads that this one goes on from included, and what is
    /// wrong with the first ones.
    pub(super) fn unreadable(&self) -> (u64, &[String]) {
        (self.cursor.unreadable, &self.cursor.errors)
    }
}

/// Errors that a cursor keeps the text of; the others are counted.
const MOST_ERRORS: usize = 100;
/// The longest text that is kept of one.
const MOST_LETTERS: usize = 500;

/// How far a load has come.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    task: Task,
    /// The key of the last object whose rows are in the tables.
    after: Option<String>,
    /// A hash of the keys and versions of all objects up to there.
    passed: String,
    /// How many of them could not be read.
    unreadable: u64,
    /// What was wrong with the first of these.
    errors: Vec<String>,
}

impl Cursor {
    fn at_the_begin_of(task: Task) -> Self {
        Self { task, after: None, passed: String::new(), unreadable: 0, errors: Vec::new() }
    }

    fn pass(&mut self, object: &ObjectMeta) {
        self.passed = passed(&self.passed, object);
        self.after = Some(object.location.to_string());
    }

    fn note_unreadable(&mut self, error: &ReadError) {
        self.unreadable += 1;
        if self.errors.len() < MOST_ERRORS {
            self.errors.push(error.to_string().chars().take(MOST_LETTERS).collect());
        }
    }

    /// Whether the objects up to the cursor are still those that it has passed.
    async fn holds(&self, store: &dyn ObjectStore, prefix: &Path) -> object_store::Result<bool> {
        let Some(after) = &self.after else { return Ok(true) };
        let mut hash = String::new();
        let mut listed = store.list(Some(prefix));
        while let Some(object) = listed.try_next().await? {
            if object.location.as_ref() > after.as_str() {
                break;
            }
            hash = passed(&hash, &object);
        }
        Ok(hash == self.passed)
    }

    fn path(task: &Task) -> Path {
        let mut hash = blake3::Hasher::new();
        for part in [Some(task.source.as_str()), task.dataset.as_deref(), Some(task.contracts.as_str())] {
            // Nothing is told apart from an empty text, and each part from the next one.
            hash.update(&part.map_or(u64::MAX, |part| part.len() as u64).to_le_bytes());
            hash.update(part.unwrap_or_default().as_bytes());
        }
        Path::from(format!("state/load/{}.json", &hash.finalize().to_hex()[..32]))
    }

    async fn read(lake: &dyn ObjectStore, task: &Task) -> Result<Option<Self>, CliError> {
        let path = Self::path(task);
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            let advice = "remove it to begin again, which inserts nothing twice";
            CliError::failed(format!("the cursor {path} in the lake cannot be read"), advice).caused_by(error)
        };
        let bytes = match lake.get(&path).await {
            Ok(got) => got.bytes().await.map_err(|error| failed(error.into()))?,
            Err(object_store::Error::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(failed(error.into())),
        };
        serde_json::from_slice(&bytes).map(Some).map_err(|error| failed(error.into()))
    }

    async fn keep(&self, lake: &dyn ObjectStore) -> Result<(), CliError> {
        let path = Self::path(&self.task);
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            let advice = "load it again: rows that are in the lake already stay as they are";
            CliError::failed(format!("the cursor {path} cannot be written to the lake"), advice)
                .caused_by(error)
        };
        let bytes = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        lake.put(&path, PutPayload::from(bytes)).await.map_err(|error| failed(error.into()))?;
        Ok(())
    }

    async fn remove(&self, lake: &dyn ObjectStore) -> Result<(), CliError> {
        let path = Self::path(&self.task);
        match lake.delete(&path).await {
            Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
            Err(error) => Err(CliError::failed(
                format!("the cursor {path} cannot be removed from the lake"),
                "all rows are in the lake; remove it, or the next load of this address loads nothing",
            )
            .caused_by(error)),
        }
    }
}

/// The hash of what was passed before, and of one more object. Its size stands for its version where a store has none.
fn passed(before: &str, object: &ObjectMeta) -> String {
    let version = object.e_tag.as_deref().unwrap_or_default();
    let text = format!("{before}\n{}\n{version}\n{}", object.location, object.size);
    blake3::hash(text.as_bytes()).to_hex()[..32].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;
    use pinlake_clean::record_reader::Limits;
    use pinlake_clean::record_reader::sandbox::Sandbox;
    use pinlake_env::{Clock, Env, Rng, SystemClock};
    use pinlake_lake::Lake;
    use pinlake_schema::Catalog;

    async fn one_record_objects(source: &InMemory, count: u32) {
        for offset in 0..count {
            let key = format!("topics/0a1b.geo/partition=0/0a1b.geo+0+{offset:010}.json");
            let line = format!("{{\"ind\": {offset}, \"country\": \"Peru\"}}\n");
            source.put(&Path::parse(key).unwrap(), line.into()).await.unwrap();
        }
    }

    fn catalog() -> Arc<Catalog> {
        Arc::new(Catalog::embedded().unwrap())
    }

    fn sandbox() -> Sandbox {
        Sandbox::from_current_exe(Limits::default(), crate::load::PARQUET).unwrap()
    }

    fn empty_lake() -> Arc<Lake> {
        let effects = Env { clock: Arc::new(SystemClock), rng: Arc::new(Rng::seeded(1)) };
        Arc::new(Lake::new(Arc::new(InMemory::new()), effects))
    }

    /// What one load of all topics does, two objects a step: the records that it read, and the objects that it tells it
    /// could not read.
    async fn load(
        lake: &Arc<Lake>,
        source: &Arc<InMemory>,
        dataset: Option<&str>,
        steps: usize,
    ) -> (u64, u64) {
        let mut load = Load::new(lake.clone(), catalog(), sandbox(), SystemClock.now());
        let below = Objects::below(source.clone(), "sink", "topics", 2, dataset, &load);
        let mut objects = below.await.unwrap();
        for _ in 0..steps {
            if !objects.some(&mut load, &ProgressBar::hidden()).await.unwrap() {
                break;
            }
        }
        let read = load.cleaning.counts().iter().map(|count| count.read).sum::<u64>();
        (read, objects.unreadable().0)
    }

    async fn rows(lake: &Lake, dataset: &str) -> u64 {
        let table = lake.table(catalog().contract(dataset).unwrap()).pin().await.unwrap();
        table.files.iter().filter_map(|file| file.rows).sum()
    }

    async fn cursors(lake: &Lake) -> usize {
        lake.store().list(Some(&Path::from("state/load"))).try_collect::<Vec<_>>().await.unwrap().len()
    }

    #[tokio::test]
    async fn a_load_that_was_broken_off_goes_on_behind_its_cursor() {
        let (source, lake) = (Arc::new(InMemory::new()), empty_lake());
        one_record_objects(&source, 7).await;
        source.put(&Path::from("topics/0a1b.geo/partition=0/zz.parquet"), "PAR1".into()).await.unwrap();
        // Broken off after two steps; whole; and all of it again.
        let mut read = Vec::new();
        for steps in [2, 100, 100] {
            read.push(load(&lake, &source, None, steps).await);
        }
        assert_eq!(read, [(4, 0), (3, 1), (7, 1)]);
        assert_eq!(rows(&lake, "geo").await, 7);
        assert_eq!(cursors(&lake).await, 0);
    }

    #[tokio::test]
    async fn what_could_not_be_read_is_told_by_the_load_that_goes_on() {
        let (source, lake) = (Arc::new(InMemory::new()), empty_lake());
        one_record_objects(&source, 5).await;
        source.put(&Path::from("topics/0a1b.geo/partition=0/00.parquet"), "PAR1".into()).await.unwrap();
        assert_eq!(load(&lake, &source, None, 2).await, (3, 1));
        assert_eq!(load(&lake, &source, None, 100).await, (2, 1), "its object lies before the cursor");
    }

    /// A load into one dataset and one by topic are two loads.
    #[tokio::test]
    async fn a_load_does_not_go_on_where_another_dataset_s_was_broken_off() {
        let (source, lake) = (Arc::new(InMemory::new()), empty_lake());
        one_record_objects(&source, 7).await;
        assert_eq!(load(&lake, &source, Some("pin"), 2).await, (4, 0));
        assert_eq!(load(&lake, &source, None, 100).await, (7, 0));
        assert_eq!(rows(&lake, "geo").await, 7);
        assert_eq!(cursors(&lake).await, 1, "the other load may still go on");
        assert_eq!(load(&lake, &source, Some("pin"), 100).await, (3, 0));
    }

    #[tokio::test]
    async fn what_was_replaced_or_added_before_the_cursor_is_loaded() {
        let key =
            |offset: u32| Path::from(format!("topics/0a1b.geo/partition=0/0a1b.geo+0+{offset:010}.json"));
        for (changed, expected) in
            [(key(1), 7), (Path::from("topics/0a1b.geo/partition=0/0a1b.geo+0+!.json"), 8)]
        {
            let (source, lake) = (Arc::new(InMemory::new()), empty_lake());
            one_record_objects(&source, 7).await;
            assert_eq!(load(&lake, &source, None, 2).await, (4, 0));
            source.put(&changed, "{\"ind\": 8, \"country\": \"Peru\"}\n".into()).await.unwrap();
            assert_eq!(load(&lake, &source, None, 100).await, (expected, 0), "{changed}");
            assert_eq!(rows(&lake, "geo").await, 8, "{changed}");
        }
    }

    #[tokio::test]
    async fn an_address_may_be_that_of_one_object() {
        let source = Arc::new(InMemory::new());
        one_record_objects(&source, 3).await;
        let mut load = Load::new(empty_lake(), catalog(), sandbox(), SystemClock.now());
        let key = "topics/0a1b.geo/partition=0/0a1b.geo+0+0000000001.json";
        let mut objects = Objects::below(source, "sink", key, EVERY, None, &load).await.unwrap();
        while objects.some(&mut load, &ProgressBar::hidden()).await.unwrap() {}
        assert_eq!(load.cleaning.counts().iter().map(|count| count.read).sum::<u64>(), 1);
    }
}
