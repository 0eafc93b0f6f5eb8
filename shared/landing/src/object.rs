//! Landing objects: writing, listing, reading and removing them.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};

use crate::bounded_list::{BoundedList, look};
use crate::error::LandingError;
use crate::name::{FAILED, LANDING, LandingName, Origin};

/// Parquet footer key under which a landing object names the raw object that it was cleaned from.
const RAW_KEY: &str = "pinlake.raw";
/// Rows a batch when reading.
const READ_ROWS: usize = 8192;

/// An object in the landing area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LandingObject {
    /// Its name's parts.
    pub name: LandingName,
    /// Its path from the lake's root.
    pub path: Path,
    /// Bytes as stored.
    pub size: u64,
}

/// What a landing object holds.
#[derive(Debug, Clone)]
pub struct LandedRows {
    /// Clean rows, each with its key.
    pub batches: Vec<RecordBatch>,
    /// Path of the raw object they came from.
    pub raw: Option<String>,
}

/// Writes `rows` (of `dataset`, cleaned by the contract of hash `contract_hash`) unless they landed before. `from` is the
/// object whose place they take, if they take any: see [`LandingName::in_place_of`].
///
/// # Errors
/// When the rows cannot be encoded, or the store fails: the put may then have happened, and doing it again is safe.
pub async fn put(
    store: &dyn ObjectStore,
    dataset: &str,
    contract_hash: &str,
    origin: &Origin,
    raw: &Path,
    rows: &RecordBatch,
    from: Option<&Path>,
) -> Result<LandingObject, LandingError> {
    let bytes = encode(dataset, rows, raw)?;
    let mut name = LandingName::new(dataset, contract_hash, origin, &bytes);
    if let Some(from) = from {
        name = name.in_place_of(from);
    }
    let (path, size) = (name.path(), bytes.len() as u64);
    put_if_absent(store, &path, bytes).await?;
    Ok(LandingObject { name, path, size })
}

/// Some of a dataset's objects.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Oldest arrival first.
    pub objects: Vec<LandingObject>,
    /// Whether the store listed them in the order of their paths, as S3 does and a folder does not: then
    /// there is nothing between them that is not among them.
    pub is_in_order: bool,
}

/// The first `most` objects of `dataset`, oldest arrival first.
///
/// # Errors
/// When the store cannot be listed.
pub async fn list(
    store: &dyn ObjectStore,
    dataset: Option<&str>,
    most: usize,
) -> Result<Vec<LandingObject>, LandingError> {
    page(store, dataset, None, most).await.map(|page| page.objects)
}

/// What lies in landing, of all datasets, among its first `most` objects. The order is the store's.
///
/// # Errors
/// When the store cannot be listed.
pub async fn look_at_all(
    store: &dyn ObjectStore,
    most: usize,
) -> Result<BoundedList<LandingName>, LandingError> {
    look(store, &Path::from(LANDING), most, |meta| LandingName::parse(&meta.location)).await
}

/// The first `most` objects of `dataset` whose paths come after `after`.
///
/// # Errors
/// When the store cannot be listed.
pub async fn page(
    store: &dyn ObjectStore,
    dataset: Option<&str>,
    after: Option<&Path>,
    most: usize,
) -> Result<Page, LandingError> {
    let prefix = Path::from_iter([LANDING].into_iter().chain(dataset));
    let listed = match after {
        None => store.list(Some(&prefix)),
        Some(after) => store.list_with_offset(Some(&prefix), after),
    };
    let mut objects: Vec<LandingObject> = listed
        .try_filter_map(|meta| async move {
            let name = LandingName::parse(&meta.location);
            Ok(name.map(|name| LandingObject { name, path: meta.location, size: meta.size }))
        })
        .take(most)
        .try_collect()
        .await
        .map_err(LandingError::store(&prefix))?;
    let is_in_order = objects.is_sorted_by(|a, b| a.path < b.path);
    objects.sort_by(|a, b| a.name.minute.cmp(&b.name.minute).then_with(|| a.path.cmp(&b.path)));
    Ok(Page { objects, is_in_order })
}

/// The datasets that have something in the landing area.
///
/// # Errors
/// When the store cannot be listed.
pub async fn datasets(store: &dyn ObjectStore) -> Result<BTreeSet<String>, LandingError> {
    let prefix = Path::from(LANDING);
    let listed = store.list_with_delimiter(Some(&prefix)).await.map_err(LandingError::store(&prefix))?;
    Ok(listed.common_prefixes.iter().filter_map(|path| path.filename()).map(str::to_owned).collect())
}

/// Reads an object; `None` when it is gone (another compactor took it).
///
/// # Errors
/// When the store fails, or the object is not Parquet.
pub async fn read(
    store: &dyn ObjectStore,
    object: &LandingObject,
) -> Result<Option<LandedRows>, LandingError> {
    get(store, object).await?.map(|bytes| decode(object, bytes)).transpose()
}

/// Gets an object as it is stored, for [`decode`]; `None` when it is gone.
///
/// # Errors
/// When the store fails.
pub async fn get(store: &dyn ObjectStore, object: &LandingObject) -> Result<Option<Bytes>, LandingError> {
    get_if_there(store, &object.path).await.map_err(LandingError::store(&object.path))
}

/// The rows of an object's bytes, which may be many times as large.
///
/// # Errors
/// When the object is not Parquet.
pub fn decode(object: &LandingObject, bytes: Bytes) -> Result<LandedRows, LandingError> {
    read_rows(bytes).map_err(|why| LandingError::corrupt(&object.path, why))
}

/// Removes objects whose rows are durably in their table; one that is gone already is no error.
///
/// # Errors
/// When the store fails. What is left over will be taken again and hold no new key.
pub async fn remove(store: &Arc<dyn ObjectStore>, paths: Vec<Path>) -> Result<(), LandingError> {
    let mut removed = store.delete_stream(futures::stream::iter(paths.into_iter().map(Ok)).boxed());
    while let Some(path) = removed.next().await {
        match path {
            Ok(_) | Err(object_store::Error::NotFound { .. }) => {}
            Err(error) => return Err(LandingError::store(LANDING)(error)),
        }
    }
    Ok(())
}

/// The bytes of an object; `None` when it is not there.
///
/// # Errors
/// When the store fails.
pub async fn get_if_there(store: &dyn ObjectStore, path: &Path) -> object_store::Result<Option<Bytes>> {
    match store.get(path).await {
        Ok(got) => got.bytes().await.map(Some),
        Err(object_store::Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Removes an object; one that is gone already is no error.
///
/// # Errors
/// When the store fails.
pub async fn remove_if_there(store: &dyn ObjectStore, path: &Path) -> object_store::Result<()> {
    match store.delete(path).await {
        Ok(()) | Err(object_store::Error::NotFound { .. }) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Whether an object is there.
///
/// # Errors
/// When the store fails.
pub async fn exists(store: &dyn ObjectStore, path: &Path) -> Result<bool, LandingError> {
    match store.head(path).await {
        Ok(_) => Ok(true),
        Err(object_store::Error::NotFound { .. }) => Ok(false),
        Err(error) => Err(LandingError::store(path)(error)),
    }
}

/// Moves an object that can never be taken to `failed/`, where it stays until somebody looks. One that is gone already was
/// moved by another compactor, and is no error.
///
/// # Errors
/// When the store fails.
pub async fn move_to_failed(store: &dyn ObjectStore, path: &Path) -> Result<Path, LandingError> {
    let aside = Path::from_iter([FAILED].into_iter().map(Into::into).chain(path.parts()));
    match store.copy(path, &aside).await {
        Ok(()) => {}
        Err(object_store::Error::NotFound { .. }) => return Ok(aside),
        Err(error) => return Err(LandingError::store(path)(error)),
    }
    remove_if_there(store, path).await.map_err(LandingError::store(path))?;
    Ok(aside)
}

/// Puts an object whose name is made of what it says: one that is there is what would have been put.
///
/// # Errors
/// When the store fails: the put may then have happened, and doing it again is safe.
pub async fn put_if_absent(store: &dyn ObjectStore, path: &Path, bytes: Bytes) -> Result<(), LandingError> {
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match store.put_opts(path, PutPayload::from_bytes(bytes), options).await {
        Ok(_) | Err(object_store::Error::AlreadyExists { .. }) => Ok(()),
        Err(error) => Err(LandingError::store(path)(error)),
    }
}

fn encode(dataset: &str, rows: &RecordBatch, raw: &Path) -> Result<Bytes, LandingError> {
    let failed = |error: parquet::errors::ParquetError| LandingError::Encode {
        dataset: dataset.to_owned(),
        why: error.to_string(),
    };
    // It is read once and whole: neither statistics nor dictionaries would be of use.
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).map_err(failed)?))
        .set_key_value_metadata(Some(vec![KeyValue::new(RAW_KEY.to_owned(), raw.to_string())]))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties)).map_err(failed)?;
    writer.write(rows).map_err(failed)?;
    writer.close().map_err(failed)?;
    Ok(bytes.into())
}

fn read_rows(bytes: Bytes) -> Result<LandedRows, parquet::errors::ParquetError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let raw = reader
        .metadata()
        .file_metadata()
        .key_value_metadata()
        .and_then(|pairs| pairs.iter().find(|pair| pair.key == RAW_KEY))
        .and_then(|pair| pair.value.clone());
    let batches = reader.with_batch_size(READ_ROWS).build()?.collect::<Result<_, _>>()?;
    Ok(LandedRows { batches, raw })
}

#[cfg(test)]
mod tests {
    use super::*;
    use arrow::array::Int64Array;
    use object_store::memory::InMemory;

    fn origin() -> Origin {
        Origin {
            source: "events".to_owned(),
            shard: "shardId-000000000000".to_owned(),
            first: "7".to_owned(),
            last: "9".to_owned(),
            arrived: "2022-10-19T12:00:59Z".parse().unwrap(),
        }
    }

    fn rows() -> RecordBatch {
        RecordBatch::try_from_iter([("ind", Arc::new(Int64Array::from(vec![1, 2])) as _)]).unwrap()
    }

    #[tokio::test]
    async fn a_batch_delivered_twice_lands_once_and_reads_back() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let raw = Path::from("raw/x");
        for _ in 0..2 {
            put(&*store, "pin", "00aa", &origin(), &raw, &rows(), None).await.unwrap();
        }
        let objects = list(&*store, Some("pin"), 10).await.unwrap();
        assert_eq!(objects.len(), 1);
        let landed = read(&*store, &objects[0]).await.unwrap().unwrap();
        assert_eq!(landed.batches, [rows()]);
        assert_eq!(landed.raw.as_deref(), Some("raw/x"));

        remove(&store, vec![objects[0].path.clone(), objects[0].path.clone()]).await.unwrap();
        assert!(read(&*store, &objects[0]).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn an_object_that_is_no_parquet_is_corrupt_and_can_be_set_aside() {
        let store = InMemory::new();
        let path = LandingName::new("pin", "00aa", &origin(), b"junk").path();
        store.put(&path, "junk".into()).await.unwrap();
        let object = list(&store, Some("pin"), 10).await.unwrap().remove(0);
        let error = read(&store, &object).await.unwrap_err();
        assert!(error.is_permanent(), "{error}");
        let aside = move_to_failed(&store, &path).await.unwrap();
        assert!(aside.as_ref().starts_with("failed/landing/pin/"));
        assert!(list(&store, None, 10).await.unwrap().is_empty());
    }
}
