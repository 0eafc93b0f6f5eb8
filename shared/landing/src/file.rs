//! Files into the landing area: their records, in slices, land as a stream's records do.
//!
//! A file may be dropped into the lake's `inbox/`, or lie in a bucket that is only read from, such as that of Kafka
//! Connect's S3 sink. Either is cut into records, the records are put together in slices of bounded size, also across
//! files, and a slice is kept in `raw/` and lands. Doing it again makes rows with the same keys, which insert nothing.

use std::collections::BTreeSet;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutPayload};
use pinlake_clean::record_reader::Record;
use pinlake_clean::{Reason, RecordError};
use pinlake_schema::Catalog;
use pinlake_schema::stream_key::StreamKey;
use serde::{Deserialize, Serialize};

use crate::catalog_history::CatalogHistory;
use crate::error::LandingError;
use crate::land::{Delivery, Landed, land_with};
use crate::object::{get_if_there, remove_if_there};
use crate::raw::{self, RawData, RawRecord};
use crate::source::FILES;

/// First path segment of files that are to be taken; the second may name their dataset.
pub const INBOX: &str = "inbox";
/// Path prefix of how far large files have been taken.
const PROGRESS: &str = "state/files";
/// Bytes of records at which a slice is to be landed.
pub const SLICE_BYTES: usize = 8 << 20;

/// A file that records come from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSource {
    /// What people know it by: its path in the lake, or `s3://bucket/key`.
    pub name: String,
    /// Names the file among all files: with the number of a record it is the record's identity.
    pub id: String,
    /// The dataset of its records, if its place or name tells one.
    pub dataset: Option<String>,
    /// When it was written, which is when its records arrived.
    pub written: DateTime<Utc>,
}

impl FileSource {
    /// A file of the lake's inbox. Other bytes under the same name are another file.
    pub fn of_inbox(catalog: &Catalog, meta: &object_store::ObjectMeta) -> Self {
        let name = meta.location.to_string();
        let folder = meta.location.parts().nth(1).map(|part| part.as_ref().to_owned());
        let folder = folder.filter(|_| meta.location.parts_count() > 2);
        let dataset = folder.filter(|folder| catalog.contract(folder).is_some());
        let dataset = dataset.or_else(|| catalog.route_file(&name).map(|contract| contract.name.clone()));
        let id = hash(&[&name, meta.e_tag.as_deref().unwrap_or_default()]);
        Self { name, id, dataset, written: meta.last_modified }
    }

    /// An object of another bucket. Kafka Connect may write one again, with the same records and more: it is the same
    /// file.
    pub fn elsewhere(catalog: &Catalog, bucket: &str, key: &str, written: DateTime<Utc>) -> Self {
        let name = format!("s3://{bucket}/{key}");
        let dataset = catalog.route_file(key).map(|contract| contract.name.clone());
        Self { id: hash(&[&name]), name, dataset, written }
    }

    /// Names the bytes that a file has now: another version is another attempt's.
    pub fn version(&self, meta: &object_store::ObjectMeta) -> String {
        hash(&[&self.id, meta.e_tag.as_deref().unwrap_or_default(), &meta.size.to_string()])
    }

    /// The partition key of a record of this file, in the form of a [`StreamKey`], which whatever cleans it again from
    /// `raw/` understands: dataset, file, number, and for people the file's name, whole: no stream limits it.
    fn key(&self, number: u64) -> String {
        let dataset = self.dataset.as_deref();
        let key = StreamKey { dataset, request: &self.id, index: number, client_key: None };
        format!("{key}/{}", self.name)
    }

    fn record(&self, number: u64, line: u64, data: &[u8]) -> RawRecord {
        RawRecord {
            key: self.key(number),
            sequence: line.to_string(),
            arrived_ms: self.written.timestamp_millis(),
            data: RawData::from_bytes(data.to_vec()),
        }
    }
}

fn hash(parts: &[&str]) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..32].to_owned()
}

/// Records of files on their way into the landing area.
#[derive(Debug)]
pub struct Slice {
    records: Vec<RawRecord>,
    faults: Vec<Option<RecordError>>,
    bytes: usize,
    most: usize,
}

impl Default for Slice {
    fn default() -> Self {
        Self::of(SLICE_BYTES)
    }
}

impl Slice {
    /// An empty slice that is full at so many bytes.
    pub fn of(most: usize) -> Self {
        Self { records: Vec::new(), faults: Vec::new(), bytes: 0, most }
    }

    /// Adds a record, the `number`-th of its file, counted from 0.
    pub fn push(&mut self, file: &FileSource, number: u64, record: Record<'_>) {
        self.add(file.record(number, record.position, record.bytes), record.error);
    }

    /// Puts a file as a whole aside: `raw` is its bytes, or says where they are.
    pub fn reject_file(&mut self, file: &FileSource, raw: &[u8], reason: Reason, detail: String) {
        self.add(file.record(0, 0, raw), Some(RecordError { reason, detail }));
    }

    fn add(&mut self, record: RawRecord, fault: Option<RecordError>) {
        self.bytes += record.key.len() + record.data.as_bytes().len();
        self.records.push(record);
        self.faults.push(fault);
    }

    /// Whether it should be landed before more is added.
    pub fn is_full(&self) -> bool {
        self.bytes >= self.most
    }

    /// Lands what it holds and empties it.
    ///
    /// # Errors
    /// When the store fails. The slice then holds what it held.
    pub async fn land(
        &mut self,
        store: &dyn ObjectStore,
        catalog_history: &CatalogHistory,
        catalog: &Arc<Catalog>,
    ) -> Result<Landed, LandingError> {
        let delivery = Delivery { source: INBOX, shard: FILES, records: &self.records };
        let Some(origin) = delivery.origin() else {
            return Ok(Landed { objects: Vec::new(), counts: Vec::new() });
        };
        let kept = raw::put(store, &origin, delivery.records).await?;
        let landed = land_with(store, catalog_history, catalog, delivery, &kept, &self.faults, None).await?;
        *self = Self::of(self.most);
        Ok(landed)
    }
}

/// How far one version of a file has been taken: a file that is written anew under its name begins anew.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// Records that have landed.
    pub records: u64,
    /// The version that they are counted in: its ETag, and how many bytes it has.
    e_tag: Option<String>,
    size: u64,
}

impl Progress {
    /// So many records of a version of a file.
    pub fn of(meta: &object_store::ObjectMeta, records: u64) -> Self {
        Self { records, e_tag: meta.e_tag.clone(), size: meta.size }
    }

    fn path(file: &FileSource) -> Path {
        Path::from(format!("{PROGRESS}/{}.json", file.id))
    }

    /// The paths of all that are kept.
    ///
    /// # Errors
    /// When the store cannot be listed.
    pub async fn kept(store: &dyn ObjectStore) -> Result<BTreeSet<Path>, LandingError> {
        let prefix = Path::from(PROGRESS);
        let listed = store.list(Some(&prefix)).map_ok(|meta| meta.location);
        listed.try_collect().await.map_err(LandingError::store(&prefix))
    }

    /// Whether one of these paths is that of the file's.
    pub fn is_among(file: &FileSource, kept: &BTreeSet<Path>) -> bool {
        kept.contains(&Self::path(file))
    }

    /// Reads how many records of this version have landed: none of a file that was never left in the middle, nor when
    /// what is kept is of another version. Then also when it names none, as it did before it knew of versions: the
    /// records land again, with the same keys.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn read(
        store: &dyn ObjectStore,
        file: &FileSource,
        meta: &object_store::ObjectMeta,
    ) -> Result<Self, LandingError> {
        let path = Self::path(file);
        let bytes = get_if_there(store, &path).await.map_err(LandingError::store(&path))?;
        let kept: Option<Self> = bytes.and_then(|bytes| serde_json::from_slice(&bytes).ok());
        let none = Self::of(meta, 0);
        Ok(kept
            .filter(|kept| kept.e_tag.is_some() && *kept == Self { records: kept.records, ..none.clone() })
            .unwrap_or(none))
    }

    /// Keeps it, for whoever goes on with the file; gives the path.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keep(&self, store: &dyn ObjectStore, file: &FileSource) -> Result<Path, LandingError> {
        let path = Self::path(file);
        let bytes = serde_json::to_vec(self).map_err(|error| LandingError::corrupt(&path, error))?;
        store.put(&path, PutPayload::from(bytes)).await.map_err(LandingError::store(&path))?;
        Ok(path)
    }

    /// Removes what is kept of a file that is done.
    ///
    /// # Errors
    /// When the store fails. It is of no effect on another version, and on this one none is lost.
    pub async fn remove(store: &dyn ObjectStore, file: &FileSource) -> Result<(), LandingError> {
        let path = Self::path(file);
        remove_if_there(store, &path).await.map_err(LandingError::store(&path))
    }
}

/// Where a file is moved to when it leaves the inbox: `<folder>/<its path>/<its id>/`, where nothing else comes to lie.
pub fn moved_to(folder: &str, file: &FileSource, from: &Path) -> Path {
    let mut segments: Vec<_> = from.parts().map(|part| part.as_ref().to_owned()).collect();
    let last = segments.pop().unwrap_or_default();
    Path::from_iter([folder.to_owned()].into_iter().chain(segments).chain([file.id.clone(), last]))
}

/// Moves a file that has been taken, or cannot be, out of the inbox. A file that was written again meanwhile stays: it
/// is another one.
///
/// # Errors
/// When the store fails; doing it again is safe.
pub async fn move_out(
    store: &dyn ObjectStore,
    folder: &str,
    file: &FileSource,
    meta: &object_store::ObjectMeta,
) -> Result<Path, LandingError> {
    let from = &meta.location;
    let to = moved_to(folder, file, from);
    if !is_unchanged(store, meta).await? {
        return Ok(to);
    }
    match store.copy(from, &to).await {
        // Another has moved it.
        Err(object_store::Error::NotFound { .. }) => return Ok(to),
        other => other.map_err(LandingError::store(from))?,
    }
    // What was put under its name meanwhile has not been read: it stays, and is taken later.
    if !is_unchanged(store, meta).await? {
        return Ok(to);
    }
    remove_if_there(store, from).await.map_err(LandingError::store(from))?;
    Ok(to)
}

/// Whether the object is the one that was read. S3 has no deletion that depends on it: whoever replaces an object of the inbox between
/// this and its deletion loses the new one, which the bucket's versions still have.
async fn is_unchanged(
    store: &dyn ObjectStore,
    read: &object_store::ObjectMeta,
) -> Result<bool, LandingError> {
    match store.head(&read.location).await {
        Ok(now) => Ok(now.e_tag == read.e_tag),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(LandingError::store(&read.location)(error)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::object;
    use arrow::array::cast::AsArray;
    use bytes::Bytes;
    use object_store::memory::InMemory;
    use pinlake_clean::record_reader::{Limits, RecordReader};

    fn catalog() -> Arc<Catalog> {
        Arc::new(Catalog::embedded().unwrap())
    }

    fn cut(slice: &mut Slice, file: &FileSource, text: &'static str) {
        let mut records = RecordReader::from_bytes(&file.name, Bytes::from(text), Limits::default()).unwrap();
        let mut number = 0;
        while let Some(record) = records.next().unwrap() {
            slice.push(file, number, record);
            number += 1;
        }
    }

    const USERS: &str = "ind,first_name,last_name,age,date_joined\n\
        1,A,B,20,2015-10-21 21:26:45\n2,A,B,20,2015-10-21 21:26:45\nbroken,row\n";

    #[tokio::test]
    async fn a_slice_of_two_files_lands_and_raw_makes_the_same_rows_again() {
        let (store, catalog) = (InMemory::new(), catalog());
        let csv = Path::from("inbox/user/of may.csv");
        store.put(&csv, USERS.into()).await.unwrap();
        let csv = FileSource::of_inbox(&catalog, &store.head(&csv).await.unwrap());
        let sunk = "topics/0a1b.geo/partition=0/0a1b.geo+0+0000000000.json";
        let sunk = FileSource::elsewhere(&catalog, "sink", sunk, csv.written);
        assert_eq!((csv.dataset.as_deref(), sunk.dataset.as_deref()), (Some("user"), Some("geo")));
        let mut slice = Slice::default();
        cut(&mut slice, &csv, USERS);
        cut(&mut slice, &sunk, "{\"ind\": 1, \"country\": \"Peru\"}\n");
        let landed = slice.land(&store, &CatalogHistory::default(), &catalog).await.unwrap();
        let counts: Vec<_> = landed
            .counts
            .iter()
            .map(|count| (count.dataset.as_deref().unwrap_or_default(), count.read, count.quarantined))
            .collect();
        assert_eq!(counts, [("geo", 1, 0), ("user", 3, 1)]);

        let rejects = object::list(&store, Some("quarantine"), 9).await.unwrap().remove(0);
        let rejects = object::read(&store, &rejects).await.unwrap().unwrap();
        let text = |column: &str| {
            let rows = rejects.batches[0].column_by_name(column).unwrap().clone();
            rows.as_string::<i32>().value(0).to_owned()
        };
        assert_eq!(text("reason"), "malformed_csv");
        assert_eq!((text("source"), text("position")), (format!("file/{}", csv.name), "4".to_owned()));

        // As the compactor does when the contract has changed: it knows no more than the object's name and raw.
        let users = object::list(&store, Some("user"), 9).await.unwrap().remove(0);
        let raw_path = Path::from(object::read(&store, &users).await.unwrap().unwrap().raw.unwrap());
        let records = raw::read(&store, &raw_path).await.unwrap();
        let delivery = Delivery { source: &users.name.source, shard: &users.name.shard, records: &records };
        let again = crate::land::land(&store, &CatalogHistory::default(), &catalog, delivery, &raw_path)
            .await
            .unwrap();
        assert!(again.objects.contains(&users), "{again:?}");
    }

    #[tokio::test]
    async fn progress_is_of_one_version_until_it_is_removed() {
        let (store, catalog) = (InMemory::new(), catalog());
        let file = FileSource::elsewhere(&catalog, "b", "k", DateTime::UNIX_EPOCH);
        let meta = async |text: &'static str| {
            store.put(&Path::from("k"), text.into()).await.unwrap();
            store.head(&Path::from("k")).await.unwrap()
        };
        let records = async |meta| Progress::read(&store, &file, meta).await.unwrap().records;
        let (one, two) = (meta("one").await, meta("two").await);
        assert_eq!(records(&one).await, 0);
        Progress::of(&one, 7).keep(&store, &file).await.unwrap();
        assert!(Progress::is_among(&file, &Progress::kept(&store).await.unwrap()));
        assert_eq!((records(&one).await, records(&two).await), (7, 0));
        // What was kept before versions were named, and what is no progress at all.
        for former in [r#"{"records":7}"#, "junk"] {
            store.put(&Progress::path(&file), former.into()).await.unwrap();
            assert_eq!(records(&one).await, 0);
        }
        for _ in 0..2 {
            Progress::remove(&store, &file).await.unwrap();
        }
        assert!(Progress::kept(&store).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn only_the_file_that_was_read_is_moved() {
        let (store, catalog) = (InMemory::new(), catalog());
        let path = Path::from("inbox/user/a.csv");
        store.put(&path, "one".into()).await.unwrap();
        let first = store.head(&path).await.unwrap();
        let file = FileSource::of_inbox(&catalog, &first);
        store.put(&path, "two".into()).await.unwrap();
        move_out(&store, "raw", &file, &first).await.unwrap();
        let second = store.head(&path).await.unwrap();
        let other = FileSource::of_inbox(&catalog, &second);
        assert_ne!(file.id, other.id, "other bytes are another file");
        for _ in 0..2 {
            let moved = move_out(&store, "raw", &other, &second).await.unwrap();
            assert_eq!(moved.as_ref(), format!("raw/inbox/user/{}/a.csv", other.id));
            assert_eq!(store.get(&moved).await.unwrap().bytes().await.unwrap(), "two");
        }
        assert!(store.head(&path).await.is_err());
    }
}
