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

/// Whether a file's name is an address in a bucket.
pub(super) fn is_in_bucket(name: &std::path::Path) -> bool {
    name.to_str().is_some_and(|name| name.starts_with(SCHEME))
}

/// The objects below an address.
pub(super) struct Objects {
    store: Arc<dyn ObjectStore>,
    bucket: String,
    /// The address, as a cursor is told apart by.
    address: String,
    listed: BoxStream<'static, Result<Got, LandingError>>,
    /// Objects between two inserts.
    every: usize,
}

/// An object, and its bytes if they are few.
type Got = Option<(ObjectMeta, Fetched)>;

impl Objects {
    /// Finds the objects of `s3://bucket[/prefix]`, or the one of that key, behind the cursor that the lake has.
    pub(super) async fn at(address: &str, lake: &dyn ObjectStore) -> Result<Self, CliError> {
        let wrong = |error| CliError::usage(format!("cannot read {address}"), "").caused_by(error);
        let location: Location = address.parse().map_err(wrong)?;
        let Location::S3 { bucket, prefix } = location else {
            return Err(CliError::usage(format!("{address} is not in a bucket"), "write s3://bucket/prefix"));
        };
        let store = Location::S3 { bucket: bucket.clone(), prefix: String::new() };
        let store = store.open().await.map_err(wrong)?;
        Self::below(store, &bucket, &prefix, EVERY, lake).await
    }

    async fn below(
        store: Arc<dyn ObjectStore>,
        bucket: &str,
        prefix: &str,
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
        let listed = match (single, Cursor::read(lake, &address).await?) {
            (Some(meta), _) => futures::stream::once(async { Ok(meta) }).boxed(),
            (None, Some(cursor)) => {
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
        Ok(Self { store, bucket: bucket.to_owned(), address, listed, every })
    }

    /// Loads objects until it is time to insert, and inserts; false when there are no more. Objects that cannot be
    /// read are told to `unreadable`, and the others go on.
    pub(super) async fn some(
        &mut self,
        load: &mut Load,
        dataset: Option<&str>,
        bar: &ProgressBar,
        unreadable: &mut Vec<String>,
    ) -> Result<bool, CliError> {
        let mut last = None;
        let (mut count, mut bytes) = (0, 0);
        while count < self.every && bytes < EVERY_BYTES {
            let advice = "load it again: it goes on where the cursor in the lake stands";
            let stopped = |error: LandingError| {
                CliError::failed(format!("{} could not be read", self.address), advice).caused_by(error)
            };
            let Some(got) = self.listed.next().await.transpose().map_err(stopped)? else {
                load.finish().await?;
                Cursor::remove(&**load.lake.store(), &self.address).await?;
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
                    let hint = dataset.map(str::to_owned).or(file.dataset);
                    let source = Source { name: format!("file/{}", file.name), id: Some(file.id), hint };
                    load.file(FileRecords { records, source }, |_| {}).await?
                }
                Err(error) => Err(error),
            };
            if let Err(error) = read {
                unreadable.push(error.to_string());
            }
            bar.inc(meta.size);
            bytes += meta.size;
            last = Some(key);
            count += 1;
        }
        load.finish().await?;
        if let Some(after) = last {
            Cursor { source: self.address.clone(), after }.keep(&**load.lake.store()).await?;
        }
        Ok(true)
    }
}

/// How far a load has come.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Cursor {
    /// The address that is loaded.
    source: String,
    /// The key of the last object whose rows are in the tables.
    after: String,
}

impl Cursor {
    fn path(source: &str) -> Path {
        let hash = blake3::hash(source.as_bytes()).to_hex();
        Path::from(format!("state/load/{}.json", &hash[..32]))
    }

    async fn read(lake: &dyn ObjectStore, source: &str) -> Result<Option<Self>, CliError> {
        let path = Self::path(source);
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
        let path = Self::path(&self.source);
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            let advice = "load it again: rows that are in the lake already stay as they are";
            CliError::failed(format!("the cursor {path} cannot be written to the lake"), advice)
                .caused_by(error)
        };
        let bytes = serde_json::to_vec(self).map_err(|error| failed(error.into()))?;
        lake.put(&path, PutPayload::from(bytes)).await.map_err(|error| failed(error.into()))?;
        Ok(())
    }

    async fn remove(lake: &dyn ObjectStore, source: &str) -> Result<(), CliError> {
        let path = Self::path(source);
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
            .put(&Path::from("topics/0a1b.geo/partition=0/zz.json.gz"), (&[0x1f, 0x8b, 8][..]).into())
            .await
            .unwrap();
        let effects = Effects { clock: Arc::new(SystemClock), chance: Arc::new(Chance::seeded(1)) };
        let lake = Arc::new(Lake::new(Arc::new(InMemory::new()), effects));
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let (bar, mut unreadable) = (ProgressBar::hidden(), Vec::new());
        let mut read = Vec::new();
        // Broken off after two steps; whole; and all of it again.
        for steps in [2, 100, 100] {
            let mut load = Load::new(lake.clone(), catalog.clone(), sandbox(), SystemClock.now());
            let below = Objects::below(source.clone(), "sink", "topics", 2, &**lake.store());
            let mut objects = below.await.unwrap();
            for _ in 0..steps {
                if !objects.some(&mut load, None, &bar, &mut unreadable).await.unwrap() {
                    break;
                }
            }
            read.push(load.cleaning.counts().iter().map(|count| count.read).sum::<u64>());
        }
        assert_eq!(read, [4, 3, 7]);
        assert_eq!(unreadable.len(), 2, "told in both runs that came to it: {unreadable:?}");
        let geo = lake.table(catalog.contract("geo").unwrap()).pin().await.unwrap();
        assert_eq!(geo.files.iter().filter_map(|file| file.rows).sum::<u64>(), 7);
        assert_eq!(Cursor::read(&**lake.store(), "s3://sink/topics").await.unwrap(), None);
    }

    #[tokio::test]
    async fn an_address_may_be_that_of_one_object() {
        let source = Arc::new(InMemory::new());
        one_record_objects(&source, 3).await;
        let lake = Arc::new(Lake::new(Arc::new(InMemory::new()), Effects::system()));
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let mut load = Load::new(lake.clone(), catalog.clone(), sandbox(), SystemClock.now());
        let key = "topics/0a1b.geo/partition=0/0a1b.geo+0+0000000001.json";
        let mut objects = Objects::below(source, "sink", key, EVERY, &**lake.store()).await.unwrap();
        while objects.some(&mut load, None, &ProgressBar::hidden(), &mut Vec::new()).await.unwrap() {}
        assert_eq!(load.cleaning.counts().iter().map(|count| count.read).sum::<u64>(), 1);
    }
}
