//! Loads the objects below a prefix of a bucket, in key order. The listing is streamed, so its length does not matter.
//!
//! A [`Cursor`] in the lake records the last object whose rows are in the tables: a load that was interrupted continues
//! there. A complete load removes the cursor, and the next one reads all objects again, which inserts nothing twice.
//!
//! Invariant: the part before a cursor is what this load would have loaded itself. A cursor therefore belongs to an
//! address, a dataset and a set of contracts, and holds a hash over the objects before it and their versions. If one of
//! them was replaced, removed or added, the load starts over. The cursor also keeps the objects that could not be read,
//! so that the load that completes reports them.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use pinlake_clean::record_reader::sandbox::Sandbox;
use pinlake_clean::record_reader::{FileContract, ReadError, ReadOptions};
use pinlake_landing::LandingError;
use pinlake_landing::source::RecordSource;
use pinlake_store::head_if_exists;

use super::cursor::{Cursor, Task};
use super::error::LoadError;
use super::insert::COMMIT_BYTES;
use super::loader::Loader;
use super::source::LoadSource;
use crate::fetch::{FileBytes, MAX_IN_MEMORY_BYTES, fetch};
use crate::source::{FileSource, is_sidecar};

/// Objects fetched concurrently. A small one takes about 20 ms, nearly all of it waiting.
const CONCURRENCY: usize = 32;
/// Objects between two cursors.
const STEP_OBJECTS: usize = 20_000;
/// Stored bytes between two cursors: a few commits, because the commits of a step overlap with reading and the last one
/// does not.
const STEP_BYTES: u64 = 8 * COMMIT_BYTES;

/// The folder with the log of a Delta table.
const DELTA_LOG: &str = "_delta_log";
const IS_DELTA_TABLE: &str = "it is a Delta table, whose files also hold rows that were deleted or replaced: export its rows to \
                              Parquet, and load that";

/// An object and its bytes, which are [`FileBytes::TooLarge`] above [`MAX_IN_MEMORY_BYTES`]. `None` if it was removed
/// after the listing.
type FetchedObject = Option<(ObjectMeta, FileBytes)>;

/// Loads the objects of one address.
pub struct BucketLoader {
    store: Arc<dyn ObjectStore>,
    bucket: String,
    sandbox: Sandbox,
    cursor: Cursor,
    objects: BoxStream<'static, Result<FetchedObject, LandingError>>,
    step_objects: usize,
    /// Objects without records.
    empty: u64,
}

impl BucketLoader {
    /// Opens the objects below `prefix` of a bucket, or the object with that key, from the cursor in the lake if there
    /// is one. `store` is the whole bucket.
    ///
    /// # Errors
    /// If the bucket cannot be listed, or the cursor cannot be read.
    pub async fn open(
        store: Arc<dyn ObjectStore>,
        bucket: &str,
        prefix: &str,
        dataset: Option<&str>,
        sandbox: Sandbox,
        loader: &Loader,
    ) -> Result<Self, LoadError> {
        let address = format!("s3://{bucket}/{prefix}");
        let task = Task {
            address: address.clone(),
            dataset: dataset.map(str::to_owned),
            contracts: loader.catalog.hash().to_owned(),
        };
        let open_error =
            |source: object_store::Error| LoadError::Open { address: address.clone(), source: source.into() };
        let prefix = Path::parse(prefix).map_err(|error| open_error(error.into()))?;
        let log = prefix.clone().join(DELTA_LOG);
        if store.list(Some(&log)).next().await.transpose().map_err(open_error)?.is_some() {
            let source = std::io::Error::other(IS_DELTA_TABLE).into();
            return Err(LoadError::Open { address, source });
        }
        let single = match prefix.as_ref() {
            "" => None,
            _ => head_if_exists(&*store, &prefix).await.map_err(open_error)?,
        };
        let mut cursor = Cursor::at_start(task.clone());
        let listed = match single {
            Some(meta) => futures::stream::once(async { Ok(meta) }).boxed(),
            None => {
                if let Some(stored) = Cursor::read(&**loader.lake.store(), &task).await?
                    && stored.is_valid(&*store, &prefix).await.map_err(open_error)?
                {
                    cursor = stored;
                }
                match &cursor.after {
                    Some(after) => {
                        let after = Path::parse(after).map_err(|error| open_error(error.into()))?;
                        store.list_with_offset(Some(&prefix), &after)
                    }
                    None => store.list(Some(&prefix)),
                }
            }
        };
        let source = store.clone();
        let objects = listed
            .map_err(|error| LandingError::store("the listing")(error))
            .map_ok(move |meta| {
                let store = source.clone();
                async move { fetch(&*store, &meta.location, MAX_IN_MEMORY_BYTES).await }
            })
            .try_buffered(CONCURRENCY)
            .boxed();
        Ok(Self {
            store,
            bucket: bucket.to_owned(),
            sandbox,
            cursor,
            objects,
            step_objects: STEP_OBJECTS,
            empty: 0,
        })
    }

    /// Loads the next objects, inserts their rows and writes the cursor. Returns false when all objects are loaded.
    /// `progress` is called with the size of each object. Objects that cannot be read are recorded, see
    /// [`BucketLoader::unreadable`].
    ///
    /// # Errors
    /// If an object cannot be fetched, an insert fails, or the cursor cannot be written. The next load continues from
    /// the last cursor.
    pub async fn load_step(
        &mut self,
        loader: &mut Loader,
        progress: impl Fn(u64),
    ) -> Result<bool, LoadError> {
        let (mut count, mut bytes) = (0, 0);
        while count < self.step_objects && bytes < STEP_BYTES {
            let fetched = self.objects.next().await.transpose();
            let Some(fetched) = fetched.map_err(|error| self.fetch_error(error))? else {
                loader.flush().await?;
                self.cursor.remove(&**loader.lake.store()).await?;
                return Ok(false);
            };
            let Some((meta, fetched)) = self.fetch_if_large(fetched).await? else { continue };
            self.load_object(loader, &meta, fetched).await?;
            progress(meta.size);
            bytes += meta.size;
            self.cursor.advance(&meta);
            count += 1;
        }
        loader.flush().await?;
        self.cursor.write(&**loader.lake.store()).await?;
        Ok(true)
    }

    /// Spools a large object now; only one is on the disk at a time.
    async fn fetch_if_large(&self, fetched: FetchedObject) -> Result<FetchedObject, LoadError> {
        match fetched {
            Some((meta, FileBytes::TooLarge)) => {
                let fetched = fetch(&*self.store, &meta.location, u64::MAX).await;
                fetched.map_err(|error| self.fetch_error(error))
            }
            other => Ok(other),
        }
    }

    async fn load_object(
        &mut self,
        loader: &mut Loader,
        meta: &ObjectMeta,
        fetched: FileBytes,
    ) -> Result<(), LoadError> {
        let key = meta.location.to_string();
        if is_sidecar(&key) {
            return Ok(());
        }
        if meta.location.parts().any(|part| part.as_ref() == DELTA_LOG) {
            let (name, why) = (format!("s3://{}/{key}", self.bucket), IS_DELTA_TABLE.to_owned());
            self.cursor.record_unreadable(&ReadError::Content { name, why });
            return Ok(());
        }
        let file = FileSource::from_bucket(&loader.catalog, &self.bucket, &key, meta.last_modified);
        let dataset = self.cursor.task.dataset.clone().or(file.dataset);
        let contract = FileContract::new(&loader.catalog, dataset.as_deref(), &file.name);
        let options = ReadOptions::from(&self.sandbox).with_contract(contract);
        let read = match fetched.records(&file.name, options) {
            Ok(records) => {
                let name = RecordSource::File { name: Some(file.name) }.to_string();
                let source = LoadSource { name, id: Some(file.id), dataset, ..LoadSource::default() };
                loader.load_file(records, source, |_| {}).await?
            }
            Err(error) => Err(error),
        };
        match read {
            Ok(summary) if !summary.has_records => self.empty += 1,
            Ok(_) => {}
            Err(error) => self.cursor.record_unreadable(&error),
        }
        Ok(())
    }

    fn fetch_error(&self, error: LandingError) -> LoadError {
        LoadError::Fetch { address: self.cursor.task.address.clone(), source: error.into() }
    }

    /// How many objects of this run held no record.
    pub fn empty(&self) -> u64 {
        self.empty
    }

    /// How many objects could not be read to their end, including those before the cursor, and the first errors.
    pub fn unreadable(&self) -> (u64, &[String]) {
        (self.cursor.unreadable, &self.cursor.errors)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt as _;
    use object_store::memory::InMemory;
    use pinlake_clean::record_reader::ReadLimits;
    use pinlake_clean::record_reader::sandbox::ProcessLimits;
    use pinlake_env::{Clock, Env, Rng, SystemClock};
    use pinlake_lake::Lake;
    use pinlake_schema::Catalog;
    use std::time::Duration;

    async fn put_one_record_objects(source: &InMemory, count: u32) {
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
        let bounds =
            ProcessLimits { memory_bytes: 2 << 30, cpu_seconds: 20, idle_timeout: Duration::from_secs(40) };
        Sandbox::from_current_exe(ReadLimits::default(), bounds).unwrap()
    }

    fn empty_lake() -> Arc<Lake> {
        let env = Env { clock: Arc::new(SystemClock), rng: Arc::new(Rng::seeded(1)) };
        Arc::new(Lake::new(Arc::new(InMemory::new()), env))
    }

    /// Runs at most `steps` steps of two objects each. Returns the records read and the unreadable objects reported.
    async fn load(
        lake: &Arc<Lake>,
        source: &Arc<InMemory>,
        dataset: Option<&str>,
        steps: usize,
    ) -> (u64, u64) {
        let mut loader = Loader::open(lake.clone(), catalog(), SystemClock.now()).await.unwrap();
        let opened = BucketLoader::open(source.clone(), "sink", "topics", dataset, sandbox(), &loader);
        let mut objects = BucketLoader { step_objects: 2, ..opened.await.unwrap() };
        for _ in 0..steps {
            if !objects.load_step(&mut loader, |_| {}).await.unwrap() {
                break;
            }
        }
        let read = loader.cleaning.counts().iter().map(|count| count.read).sum::<u64>();
        (read, objects.unreadable().0)
    }

    async fn count_rows(lake: &Lake, dataset: &str) -> u64 {
        let table = lake.table(catalog().contract(dataset).unwrap()).pin().await.unwrap();
        table.files.iter().filter_map(|file| file.rows).sum()
    }

    async fn count_cursors(lake: &Lake) -> usize {
        lake.store().list(Some(&Path::from("state/load"))).try_collect::<Vec<_>>().await.unwrap().len()
    }

    #[tokio::test]
    async fn an_interrupted_load_continues_at_its_cursor() {
        let (source, lake) = (Arc::new(InMemory::new()), empty_lake());
        put_one_record_objects(&source, 7).await;
        source.put(&Path::from("topics/0a1b.geo/partition=0/zz.parquet"), "PAR1".into()).await.unwrap();
        // Interrupted after two steps; then to the end; then all objects again.
        let mut read = Vec::new();
        for steps in [2, 100, 100] {
            read.push(load(&lake, &source, None, steps).await);
        }
        assert_eq!(read, [(4, 0), (3, 1), (7, 1)]);
        assert_eq!(count_rows(&lake, "geo").await, 7);
        assert_eq!(count_cursors(&lake).await, 0);
    }

    #[tokio::test]
    async fn the_load_that_continues_reports_earlier_unreadable_objects() {
        let (source, lake) = (Arc::new(InMemory::new()), empty_lake());
        put_one_record_objects(&source, 5).await;
        source.put(&Path::from("topics/0a1b.geo/partition=0/00.parquet"), "PAR1".into()).await.unwrap();
        assert_eq!(load(&lake, &source, None, 2).await, (3, 1));
        assert_eq!(load(&lake, &source, None, 100).await, (2, 1), "the object is before the cursor");
    }

    #[tokio::test]
    async fn a_load_does_not_use_the_cursor_of_another_dataset() {
        let (source, lake) = (Arc::new(InMemory::new()), empty_lake());
        put_one_record_objects(&source, 7).await;
        assert_eq!(load(&lake, &source, Some("pin"), 2).await, (4, 0));
        assert_eq!(load(&lake, &source, None, 100).await, (7, 0));
        assert_eq!(count_rows(&lake, "geo").await, 7);
        assert_eq!(count_cursors(&lake).await, 1, "the other load may still continue");
        assert_eq!(load(&lake, &source, Some("pin"), 100).await, (3, 0));
    }

    #[tokio::test]
    async fn a_replaced_or_added_object_before_the_cursor_starts_the_load_over() {
        let key =
            |offset: u32| Path::from(format!("topics/0a1b.geo/partition=0/0a1b.geo+0+{offset:010}.json"));
        for (changed, expected) in
            [(key(1), 7), (Path::from("topics/0a1b.geo/partition=0/0a1b.geo+0+!.json"), 8)]
        {
            let (source, lake) = (Arc::new(InMemory::new()), empty_lake());
            put_one_record_objects(&source, 7).await;
            assert_eq!(load(&lake, &source, None, 2).await, (4, 0));
            source.put(&changed, "{\"ind\": 8, \"country\": \"Peru\"}\n".into()).await.unwrap();
            assert_eq!(load(&lake, &source, None, 100).await, (expected, 0), "{changed}");
            assert_eq!(count_rows(&lake, "geo").await, 8, "{changed}");
        }
    }

    #[tokio::test]
    async fn an_address_may_name_one_object() {
        let source = Arc::new(InMemory::new());
        put_one_record_objects(&source, 3).await;
        let mut loader = Loader::open(empty_lake(), catalog(), SystemClock.now()).await.unwrap();
        let key = "topics/0a1b.geo/partition=0/0a1b.geo+0+0000000001.json";
        let mut objects = BucketLoader::open(source, "sink", key, None, sandbox(), &loader).await.unwrap();
        while objects.load_step(&mut loader, |_| {}).await.unwrap() {}
        assert_eq!(loader.cleaning.counts().iter().map(|count| count.read).sum::<u64>(), 1);
    }
}
