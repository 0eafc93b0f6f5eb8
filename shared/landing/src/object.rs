//! Landing objects: write, list, read, remove.

use std::collections::BTreeSet;
use std::sync::Arc;

use arrow::array::RecordBatch;
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::metadata::KeyValue;
use parquet::file::properties::{EnabledStatistics, WriterProperties};
use pinlake_store::{
    BoundedList, copy_if_exists, delete_all_if_exist, delete_if_exists, list_bounded, put_if_absent,
    read_if_exists,
};

use crate::error::LandingError;
use crate::name::{BatchId, FAILED, LANDING, LandingName};

/// Key of the Parquet metadata entry that names the raw object of the rows.
const RAW_KEY: &str = "pinlake.raw";
/// Key of the Parquet metadata entry with the arrival of the first record, in milliseconds since 1970.
const ARRIVED_KEY: &str = "pinlake.arrived_ms";
/// Rows per batch when reading.
const READ_ROWS: usize = 8192;

/// An object of the landing area.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LandingObject {
    /// Parts of the name.
    pub name: LandingName,
    /// Path from the lake's root.
    pub path: Path,
    /// Size in bytes.
    pub size: u64,
}

/// The contents of a landing object.
#[derive(Debug, Clone)]
pub struct LandedRows {
    /// Cleaned rows, each with its key.
    pub batches: Vec<RecordBatch>,
    /// Path of the raw object that the rows were cleaned from.
    pub raw: Option<String>,
    /// When the first record arrived at its source. Objects written before 0.2 do not have it.
    pub arrived: Option<DateTime<Utc>>,
}

/// Writes `rows` of `dataset`, cleaned by the contract with the hash `contract_hash`, if they have not landed yet.
/// `replaced` is the object that the new one replaces, see [`LandingName::for_replacement_of`].
///
/// # Errors
/// When the rows cannot be encoded, or the store fails. The object may exist anyway; a retry is safe.
pub async fn put(
    store: &dyn ObjectStore,
    dataset: &str,
    contract_hash: &str,
    batch: &BatchId,
    raw: &Path,
    rows: &RecordBatch,
    replaced: Option<&Path>,
) -> Result<LandingObject, LandingError> {
    let bytes = encode(dataset, rows, raw, batch.arrived)?;
    let mut name = LandingName::new(dataset, contract_hash, batch, &bytes);
    if let Some(replaced) = replaced {
        name = name.for_replacement_of(replaced);
    }
    let (path, size) = (name.path(), bytes.len() as u64);
    put_if_absent(store, &path, bytes).await.map_err(LandingError::store(&path))?;
    Ok(LandingObject { name, path, size })
}

/// A page of a listing.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Page {
    /// Objects, oldest arrival first.
    pub objects: Vec<LandingObject>,
    /// Whether the store listed the objects in the order of their paths, as S3 does and a folder does not. Only then
    /// does the page hold every object between its first and its last path.
    pub is_in_order: bool,
}

/// Lists the first `limit` objects of `dataset`, or of all datasets, oldest arrival first.
///
/// # Errors
/// When the store cannot be listed.
pub async fn list(
    store: &dyn ObjectStore,
    dataset: Option<&str>,
    limit: usize,
) -> Result<Vec<LandingObject>, LandingError> {
    list_page(store, dataset, None, limit).await.map(|page| page.objects)
}

/// Lists the names of at most `limit` landing objects of all datasets, in the order of the store.
///
/// # Errors
/// When the store cannot be listed.
pub async fn list_names(
    store: &dyn ObjectStore,
    limit: usize,
) -> Result<BoundedList<LandingName>, LandingError> {
    let prefix = Path::from(LANDING);
    let listed = list_bounded(store, &prefix, limit, |meta| LandingName::parse(&meta.location)).await;
    listed.map_err(LandingError::store(&prefix))
}

/// Lists the first `limit` objects of `dataset` whose paths come after `after`.
///
/// # Errors
/// When the store cannot be listed.
pub async fn list_page(
    store: &dyn ObjectStore,
    dataset: Option<&str>,
    after: Option<&Path>,
    limit: usize,
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
        .take(limit)
        .try_collect()
        .await
        .map_err(LandingError::store(&prefix))?;
    let is_in_order = objects.is_sorted_by(|a, b| a.path < b.path);
    objects.sort_by(|a, b| a.name.minute.cmp(&b.name.minute).then_with(|| a.path.cmp(&b.path)));
    Ok(Page { objects, is_in_order })
}

/// Lists the datasets that have landing objects.
///
/// # Errors
/// When the store cannot be listed.
pub async fn list_datasets(store: &dyn ObjectStore) -> Result<BTreeSet<String>, LandingError> {
    let prefix = Path::from(LANDING);
    let listed = store.list_with_delimiter(Some(&prefix)).await.map_err(LandingError::store(&prefix))?;
    Ok(listed.common_prefixes.iter().filter_map(|path| path.filename()).map(str::to_owned).collect())
}

/// Reads an object; `None` if another compactor has removed it.
///
/// # Errors
/// When the store fails, or the object is not Parquet.
pub async fn read(
    store: &dyn ObjectStore,
    object: &LandingObject,
) -> Result<Option<LandedRows>, LandingError> {
    get(store, object).await?.map(|bytes| decode(object, bytes)).transpose()
}

/// Reads the bytes of an object, for [`decode`]; `None` if it has been removed.
///
/// # Errors
/// When the store fails.
pub async fn get(store: &dyn ObjectStore, object: &LandingObject) -> Result<Option<Bytes>, LandingError> {
    read_if_exists(store, &object.path).await.map_err(LandingError::store(&object.path))
}

/// Decodes the bytes of an object. The rows can need many times the memory of the bytes.
///
/// # Errors
/// When the object is not Parquet.
pub fn decode(object: &LandingObject, bytes: Bytes) -> Result<LandedRows, LandingError> {
    read_rows(bytes).map_err(|why| LandingError::corrupt(&object.path, why))
}

/// Removes objects whose rows are durable elsewhere. An object that has been removed already is no error.
///
/// # Errors
/// When the store fails. Objects that remain are compacted again and add no row.
pub async fn remove(store: &Arc<dyn ObjectStore>, paths: Vec<Path>) -> Result<(), LandingError> {
    delete_all_if_exist(&**store, paths).await.map_err(LandingError::store(LANDING))
}

/// Moves an object that cannot be read to `failed/`, where an operator recovers it. An object that is gone has been
/// moved by another compactor and is no error.
///
/// # Errors
/// When the store fails.
pub async fn move_to_failed(store: &dyn ObjectStore, path: &Path) -> Result<Path, LandingError> {
    let failed = Path::from_iter([FAILED].into_iter().map(Into::into).chain(path.parts()));
    if copy_if_exists(store, path, &failed).await.map_err(LandingError::store(path))? {
        delete_if_exists(store, path).await.map_err(LandingError::store(path))?;
    }
    Ok(failed)
}

fn encode(
    dataset: &str,
    rows: &RecordBatch,
    raw: &Path,
    arrived: DateTime<Utc>,
) -> Result<Bytes, LandingError> {
    let failed = |error: parquet::errors::ParquetError| LandingError::Encode {
        dataset: dataset.to_owned(),
        why: error.to_string(),
    };
    // The object is read once, as a whole, so statistics and dictionaries would not help.
    let properties = WriterProperties::builder()
        .set_dictionary_enabled(false)
        .set_statistics_enabled(EnabledStatistics::None)
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).map_err(failed)?))
        .set_key_value_metadata(Some(vec![
            KeyValue::new(RAW_KEY.to_owned(), raw.to_string()),
            KeyValue::new(ARRIVED_KEY.to_owned(), arrived.timestamp_millis().to_string()),
        ]))
        .build();
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new(&mut bytes, rows.schema(), Some(properties)).map_err(failed)?;
    writer.write(rows).map_err(failed)?;
    writer.close().map_err(failed)?;
    Ok(bytes.into())
}

fn read_rows(bytes: Bytes) -> Result<LandedRows, parquet::errors::ParquetError> {
    let reader = ParquetRecordBatchReaderBuilder::try_new(bytes)?;
    let pairs = reader.metadata().file_metadata().key_value_metadata();
    let value = |key: &str| pairs?.iter().find(|pair| pair.key == key)?.value.clone();
    let raw = value(RAW_KEY);
    let arrived = value(ARRIVED_KEY)
        .and_then(|millis| millis.parse().ok())
        .and_then(DateTime::<Utc>::from_timestamp_millis);
    let batches = reader.with_batch_size(READ_ROWS).build()?.collect::<Result<_, _>>()?;
    Ok(LandedRows { batches, raw, arrived })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::RecordSource;
    use arrow::array::Int64Array;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    fn batch() -> BatchId {
        BatchId {
            source: RecordSource::from_path_segments("events", "shardId-000000000000"),
            first: "7".to_owned(),
            last: "9".to_owned(),
            arrived: "2022-10-19T12:00:59Z".parse().unwrap(),
        }
    }

    fn rows() -> RecordBatch {
        RecordBatch::try_from_iter([("ind", Arc::new(Int64Array::from(vec![1, 2])) as _)]).unwrap()
    }

    #[tokio::test]
    async fn a_batch_that_is_put_twice_lands_once_and_reads_back() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let raw = Path::from("raw/x");
        for _ in 0..2 {
            put(&*store, "pin", "00aa", &batch(), &raw, &rows(), None).await.unwrap();
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
    async fn an_object_that_is_not_parquet_is_corrupt_and_moves_to_failed() {
        let store = InMemory::new();
        let path = LandingName::new("pin", "00aa", &batch(), b"junk").path();
        store.put(&path, "junk".into()).await.unwrap();
        let object = list(&store, Some("pin"), 10).await.unwrap().remove(0);
        let error = read(&store, &object).await.unwrap_err();
        assert!(error.is_permanent(), "{error}");
        let failed = move_to_failed(&store, &path).await.unwrap();
        assert!(failed.as_ref().starts_with("failed/landing/pin/"));
        assert!(list(&store, None, 10).await.unwrap().is_empty());
    }
}
