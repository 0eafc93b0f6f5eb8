//! Objects of a bucket as files to load: all below a prefix, in the order of their keys, never listed as a whole.
//!
//! The lake keeps a cursor: a load that was broken off goes on behind the last object whose rows are in the tables. A
//! load that came to its end removes it, and the next one looks at everything again, which inserts nothing twice.

use std::sync::Arc;

use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use indicatif::ProgressBar;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, ObjectStoreExt, PutPayload};
use pinlake_landing::LandingError;
use pinlake_landing::fetch::{Fetched, IN_MEMORY_BYTES, fetch, fetch_same};
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

/// Objects that could not be read that a cursor tells of.
const MOST_TOLD: usize = 100;

/// Whether a file's name is an address in a bucket.
pub(super) fn is_in_bucket(name: &std::path::Path) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(SCHEME))
}

/// The objects below an address.
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    bucket: String,
    /// The address and the dataset, as a cursor is told apart by.
    address: String,
    dataset: Option<String>,
    /// Why objects could not be read, so far.
    pub(super) unreadable: Vec<String>,
    listed: BoxStream<'static, Result<Got, LandingError>>,
    /// Objects between two inserts.
    every: usize,
}

/// An object, and its bytes if they are few.
type Got = Option<(ObjectMeta, Fetched)>;

impl Objects {
    /// Finds the objects of `s3://bucket[/prefix]`, or the one of that key, behind the cursor that the lake has.
    pub(super) async fn at(
        address: &str,
        dataset: Option<&str>,
        lake: &dyn ObjectStore,
    ) -> Result<Self, CliError> {
        let wrong = |error| CliError::usage(format!("cannot read {address}"), "").caused_by(error);
        let location: Location = address.parse().map_err(wrong)?;
        let Location::S3 { bucket, prefix } = location else {
            return Err(CliError::usage(format!("{address} is not in a bucket"), "write s3://bucket/prefix"));
        };
        let store = Location::S3 { bucket: bucket.clone(), prefix: String::new() };
        let store = store.open().await.map_err(wrong)?;
        Self::below(store, &bucket, &prefix, dataset, EVERY, lake).await
    }

    async fn below(
        store: Arc<dyn ObjectStore>,
        bucket: &str,
        prefix: &str,
        dataset: Option<&str>,
        every: usize,
        lake: &dyn ObjectStore,
    ) -> Result<Self, CliError> {
        let address = format!("{SCHEME}{bucket}/{prefix}");
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
        let mut unreadable = Vec::new();
        let listed = match (single, Cursor::read(lake, &address, dataset).await?) {
            (Some(meta), _) => futures::stream::once(async { Ok(meta) }).boxed(),
            (None, Some(cursor)) => {
                unreadable = cursor.unreadable;
                let after = Path::parse(&cursor.after).map_err(|error| unlisted(error.into()))?;
                store.list_with_offset(Some(&prefix), &after)
            }
            (None, None) => store.list(Some(&prefix)),
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
        let (bucket, dataset) = (bucket.to_owned(), dataset.map(str::to_owned));
        Ok(Self { store, bucket, address, dataset, unreadable, listed, every })
    }

    /// Loads objects until it is time to insert, and inserts; false when there are no more. Objects that cannot be
    /// read are [`unreadable`](Self::unreadable), and the others go on.
    pub(super) async fn some(&mut self, load: &mut Load, bar: &ProgressBar) -> Result<bool, CliError> {
        let mut last = None;
        let (mut count, mut bytes) = (0, 0);
        while count < self.every && bytes < EVERY_BYTES {
            let advice = "load it again: it goes on where the cursor in the lake stands";
            let stopped = |error: LandingError| {
                CliError::failed(format!("{} could not be read", self.address), advice).caused_by(error)
            };
            let Some(got) = self.listed.next().await.transpose().map_err(stopped)? else {
                load.finish().await?;
                Cursor::remove(&**load.lake.store(), &self.address, self.dataset.as_deref()).await?;
                return Ok(false);
            };
            let (meta, fetched) = match got {
                Some((meta, Fetched::TooLarge)) => {
                    match fetch_same(&*self.store, &meta, u64::MAX).await.map_err(stopped)? {
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
                    let hint = self.dataset.clone().or(file.dataset);
                    let source = Source { name: format!("file/{}", file.name), id: Some(file.id), hint };
                    load.file(FileRecords { records, source }, |_| {}).await?
                }
                Err(error) => Err(error),
            };
            if let Err(error) = read {
                self.unreadable.push(error.to_string());
            }
            bar.inc(meta.size);
            bytes += meta.size;
            last = Some(key);
            count += 1;
        }
        load.finish().await?;
        if let Some(after) = last {
            let unreadable = self.unreadable.iter().take(MOST_TOLD).cloned().collect();
            let cursor =
                Cursor { source: self.address.clone(), dataset: self.dataset.clone(), after, unreadable };
            cursor.keep(&**load.lake.store()).await?;
        }
        Ok(true)
    }
}

/// How far a load has come.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    /// The address that is loaded.
    source: String,
    /// The dataset that all of it is loaded into, if one was named.
    #[serde(default)]
    dataset: Option<String>,
    /// The key of the last object whose rows are in the tables.
    after: String,
    /// Why objects before it could not be read: the load that comes to its end has failed over them.
    #[serde(default)]
    unreadable: Vec<String>,
}

impl Cursor {
    fn path(source: &str, dataset: Option<&str>) -> Path {
        let mut hasher = blake3::Hasher::new();
        hasher.update(source.as_bytes());
        if let Some(dataset) = dataset {
            // No address has a line break.
            hasher.update(b"\n").update(dataset.as_bytes());
        }
        let hash = hasher.finalize().to_hex();
        Path::from(format!("state/load/{}.json", &hash[..32]))
    }

    async fn read(
        lake: &dyn ObjectStore,
        source: &str,
        dataset: Option<&str>,
    ) -> Result<Option<Self>, CliError> {
        let path = Self::path(source, dataset);
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
        let path = Self::path(&self.source, self.dataset.as_deref());
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            let advice = "load it again: rows that are in the lake already stay as they are";
            CliError::failed(format!("the cursor {path} cannot be written to the lake"), advice)
                .caused_by(error)
        };
        let bytes = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        lake.put(&path, PutPayload::from(bytes)).await.map_err(|error| failed(error.into()))?;
        Ok(())
    }

    async fn remove(lake: &dyn ObjectStore, source: &str, dataset: Option<&str>) -> Result<(), CliError> {
        let path = Self::path(source, dataset);
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

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;
    use pinlake_clean::framing::Limits;
    use pinlake_clean::framing::sandbox::Sandbox;
    use pinlake_effects::{Chance, Clock, Effects, SystemClock};
    use pinlake_lake::Lake;
    use pinlake_schema::Catalog;

    fn sandbox() -> Sandbox {
        Sandbox::of_this_program(Limits::default(), crate::load::PARQUET).unwrap()
    }

    async fn one_record_objects(source: &InMemory, count: u32) {
        for offset in 0..count {
            let key = format!("topics/0a1b.geo/partition=0/0a1b.geo+0+{offset:010}.json");
            let line = format!("{{\"ind\": {offset}, \"country\": \"Peru\"}}\n");
            source.put(&Path::parse(key).unwrap(), line.into()).await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_load_that_was_broken_off_goes_on_behind_its_cursor() {
        let source = Arc::new(InMemory::new());
        one_record_objects(&source, 7).await;
        source
            .put(&Path::from("topics/0a1b.geo/partition=0/0.json.gz"), (&[0x1f, 0x8b, 8][..]).into())
            .await
            .unwrap();
        let effects = Effects { clock: Arc::new(SystemClock), chance: Arc::new(Chance::seeded(1)) };
        let lake = Arc::new(Lake::new(Arc::new(InMemory::new()), effects));
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let bar = ProgressBar::hidden();
        let (mut read, mut unreadable) = (Vec::new(), Vec::new());
        // Broken off after two steps; whole; and all of it again.
        for steps in [2, 100, 100] {
            let mut load = Load::new(lake.clone(), catalog.clone(), sandbox(), SystemClock.now());
            let below = Objects::below(source.clone(), "sink", "topics", None, 2, &**lake.store());
            let mut objects = below.await.unwrap();
            for _ in 0..steps {
                if !objects.some(&mut load, &bar).await.unwrap() {
                    break;
                }
            }
            unreadable.push(objects.unreadable.len());
            read.push(load.cleaning.counts().iter().map(|count| count.read).sum::<u64>());
        }
        assert_eq!(read, [3, 4, 7]);
        assert_eq!(unreadable, [1, 1, 1], "told in each run that came to it, or behind it");
        let geo = lake.table(catalog.contract("geo").unwrap()).pin().await.unwrap();
        assert_eq!(geo.files.iter().filter_map(|file| file.rows).sum::<u64>(), 7);
        assert_eq!(Cursor::read(&**lake.store(), "s3://sink/topics", None).await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_address_may_be_that_of_one_object() {
        let source = Arc::new(InMemory::new());
        one_record_objects(&source, 3).await;
        let lake = Arc::new(Lake::new(Arc::new(InMemory::new()), Effects::system()));
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let mut load = Load::new(lake.clone(), catalog.clone(), sandbox(), SystemClock.now());
        let key = "topics/0a1b.geo/partition=0/0a1b.geo+0+0000000001.json";
        let mut objects = Objects::below(source, "sink", key, None, EVERY, &**lake.store()).await.unwrap();
        while objects.some(&mut load, &ProgressBar::hidden()).await.unwrap() {}
        assert_eq!(load.cleaning.counts().iter().map(|count| count.read).sum::<u64>(), 1);
    }

    #[tokio::test]
    async fn loads_into_several_datasets_have_a_cursor_each() {
        let lake = InMemory::new();
        let cursor = |dataset: Option<&str>, after: &str| Cursor {
            source: "s3://sink/topics".to_owned(),
            dataset: dataset.map(str::to_owned),
            after: after.to_owned(),
            unreadable: Vec::new(),
        };
        let all = [cursor(None, "a"), cursor(Some("geo"), "b"), cursor(Some("user"), "c")];
        for cursor in &all {
            cursor.keep(&lake).await.unwrap();
        }
        for cursor in all {
            let read = Cursor::read(&lake, &cursor.source, cursor.dataset.as_deref()).await.unwrap();
            assert_eq!(read, Some(cursor));
        }
        // What was kept before there were datasets in it.
        let former = r#"{"source":"s3://sink/topics","after":"x"}"#;
        lake.put(&Cursor::path("s3://sink/topics", None), former.into()).await.unwrap();
        let read = Cursor::read(&lake, "s3://sink/topics", None).await.unwrap();
        assert_eq!(read, Some(cursor(None, "x")));
    }
}
