//! Recovery of discarded batches and failed landing objects.
//!
//! Invariants:
//! - An object is removed only when all its records have landed.
//! - Every function can run twice, run concurrently, or stop at any point: objects are named after their contents, and
//!   a watermark never goes back.
//! - Objects recovered from `failed/` land under new names ([`LandingName::for_replacement_of`]), so a compactor that
//!   is still moving the old object to `failed/` removes the old name and not the recovered object.

use std::sync::Arc;

use aws_lambda_events::event::kinesis::KinesisEvent;
use futures::TryStreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use pinlake_schema::Catalog;
use pinlake_store::{BoundedList, copy_if_exists, head_if_exists, list_bounded};

use crate::catalog_history::CatalogHistory;
use crate::discarded::{self, BatchInfo, DiscardedBatch, DiscardedObject};
use crate::error::LandingError;
use crate::kinesis;
use crate::land::{LandingSummary, RawBatch, land_batch, land_replacement};
use crate::name::{FAILED, LANDING, LandingName};
use crate::object::{self, LandingObject};
use crate::raw::{self, RAW};
use crate::sequence::Sequence;

/// What the replay of a discarded batch did.
#[derive(Debug)]
pub struct ReplaySummary {
    /// Stream of the batch.
    pub stream: String,
    /// Number of records in the event.
    pub records: usize,
    /// What has landed, by shard.
    pub landed: Vec<LandingSummary>,
}

/// Lands a discarded batch as the cleaner would have, and removes its object from `destination`. Returns `None` if the
/// object is gone (another process has replayed it), or belongs to another stream than `stream`.
///
/// # Errors
/// When a store fails; a retry is safe. [`LandingError::NotReplayable`] when the object does not hold the whole batch:
/// the records that it holds have landed, and the object stays.
pub async fn replay(
    store: &Arc<dyn ObjectStore>,
    destination: &Arc<dyn ObjectStore>,
    catalog_history: &CatalogHistory,
    catalog: &Arc<Catalog>,
    discarded: &DiscardedObject,
    stream: Option<&str>,
) -> Result<Option<ReplaySummary>, LandingError> {
    let Some(DiscardedBatch { info, event }) = discarded::read_batch(&**destination, discarded).await? else {
        return Ok(None);
    };
    if stream.is_some_and(|stream| stream != info.stream()) {
        return Ok(None);
    }
    let missing = find_missing(&info, &event);
    let mut summary =
        ReplaySummary { stream: info.stream().to_owned(), records: event.records.len(), landed: Vec::new() };
    for (source, mut records) in kinesis::group_by_shard(event) {
        // The watermark advances to the last record.
        records.sort_by_cached_key(|record| record.sequence.parse::<Sequence>().ok());
        let batch = RawBatch { source: &source, records: &records };
        summary.landed.push(land_batch(&**store, catalog_history, catalog, batch).await?);
    }
    if let Some(missing) = missing {
        return Err(discarded::not_replayable(
            discarded,
            format!(
                "record {missing} of {} is missing in its payload; the other records have landed",
                info.shard_id
            ),
        ));
    }
    object::remove(destination, vec![discarded.path.clone()]).await?;
    Ok(Some(summary))
}

/// Returns the first or last sequence number of the batch if the event does not hold that record.
fn find_missing(info: &BatchInfo, event: &KinesisEvent) -> Option<Sequence> {
    let prefix = format!("{}:", info.shard_id);
    let has = |wanted: &Sequence| {
        event.records.iter().any(|record| {
            record.event_id.as_deref().is_some_and(|id| id.starts_with(&prefix))
                && record.kinesis.sequence_number.parse().is_ok_and(|sequence: Sequence| sequence == *wanted)
        })
    };
    [&info.start_sequence_number, &info.end_sequence_number].into_iter().find(|end| !has(end)).cloned()
}

/// A landing object that was moved to `failed/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedObject {
    /// Its former name and path in `landing/`.
    pub landed: LandingObject,
    /// Its path below `failed/`.
    pub path: Path,
}

/// What a retry of a failed object did.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOutcome {
    /// Its records were cleaned again from their raw object.
    CleanedAgain,
    /// Its raw object is gone, but it is readable and its contract is current: it was moved back to `landing/`.
    PutBack,
    /// Another process has recovered it.
    Gone,
    /// It stays: its raw object is gone, and it is unreadable or was cleaned by another contract.
    Stays,
}

/// Lists the failed landing objects among the first `limit` objects of `failed/landing/`.
///
/// # Errors
/// When the store cannot be listed.
pub async fn list_failed(
    store: &dyn ObjectStore,
    limit: usize,
) -> Result<BoundedList<FailedObject>, LandingError> {
    let prefix = Path::from_iter([FAILED, LANDING]);
    let listed = list_bounded(store, &prefix, limit, |meta| {
        let landed = Path::from_iter(meta.location.parts().skip(1));
        let name = LandingName::parse(&landed)?;
        let landed = LandingObject { name, path: landed, size: meta.size };
        Some(FailedObject { landed, path: meta.location })
    });
    listed.await.map_err(LandingError::store(&prefix))
}

/// Lands the records of a failed object again, and removes it from `failed/`.
///
/// # Errors
/// When the store fails; a retry is safe.
pub async fn retry_failed(
    store: &Arc<dyn ObjectStore>,
    catalog_history: &CatalogHistory,
    catalog: &Arc<Catalog>,
    failed: &FailedObject,
) -> Result<RetryOutcome, LandingError> {
    let object = LandingObject { path: failed.path.clone(), ..failed.landed.clone() };
    let rows = match object::read(&**store, &object).await {
        Ok(None) => return Ok(RetryOutcome::Gone),
        Ok(rows) => rows,
        Err(error) if error.is_permanent() => None,
        Err(error) => return Err(error),
    };
    let name = &failed.landed.name;
    let raw_path = rows.as_ref().and_then(|rows| rows.raw.clone()).map(Path::from);
    let mut cleaned = false;
    for path in find_raw_objects(&**store, name, raw_path).await? {
        let records = match raw::read(&**store, &path).await {
            Ok(records) => records,
            Err(error) if error.is_permanent() => continue,
            // It has expired since it was listed.
            Err(LandingError::Store { source: object_store::Error::NotFound { .. }, .. }) => continue,
            Err(error) => return Err(error),
        };
        let batch = RawBatch { source: &name.source, records: &records };
        land_replacement(&**store, catalog_history, catalog, batch, &path, &failed.path).await?;
        cleaned = true;
    }
    let is_current =
        catalog.contract(&name.dataset).is_some_and(|contract| contract.hash() == name.contract_hash);
    let outcome = match rows {
        _ if cleaned => RetryOutcome::CleanedAgain,
        Some(_) if is_current => {
            let target = name.clone().for_replacement_of(&failed.path).path();
            let copied = copy_if_exists(&**store, &failed.path, &target).await;
            if !copied.map_err(LandingError::store(&failed.path))? {
                // Another operator has moved it back since it was read.
                return Ok(RetryOutcome::Gone);
            }
            RetryOutcome::PutBack
        }
        _ => return Ok(RetryOutcome::Stays),
    };
    object::remove(store, vec![failed.path.clone()]).await?;
    Ok(outcome)
}

/// Returns the raw object that a landing object names, or else the raw objects of the same range of records.
async fn find_raw_objects(
    store: &dyn ObjectStore,
    name: &LandingName,
    raw_path: Option<Path>,
) -> Result<Vec<Path>, LandingError> {
    if let Some(path) = raw_path
        && head_if_exists(store, &path).await.map_err(LandingError::store(&path))?.is_some()
    {
        return Ok(vec![path]);
    }
    let folder = Path::from_iter([RAW, &name.minute, name.source.stream(), &name.source.shard()]);
    let file = format!("{}-{}-", name.first, name.last);
    let listed: Vec<_> =
        store.list(Some(&folder)).try_collect().await.map_err(LandingError::store(&folder))?;
    let is_same_range = |path: &Path| path.filename().is_some_and(|name| name.starts_with(&file));
    Ok(listed.into_iter().map(|meta| meta.location).filter(is_same_range).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::{RawData, RawRecord};
    use crate::source::RecordSource;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    const LINE: &str = r#"{"ind": 1, "first_name": "A", "last_name": "B", "age": 20}"#;

    /// Two catalogs that clean users in the same way but have different contract hashes.
    fn two_catalogs() -> [Arc<Catalog>; 2] {
        ["-", "none"].map(|null| {
            let text = format!(
                "name = \"user\"\nversion = 1\ndescription = \"One row a user.\"\nidentity = [\"ind\"]\n\
                 [route]\nshape = [\"ind\"]\n[[column]]\nname = \"ind\"\ntype = \"int64\"\nrequired = true\n\
                 [[column]]\nname = \"first_name\"\ntype = \"string\"\nnull = [\"{null}\"]\n"
            );
            Arc::new(Catalog::from_files([("user.toml".to_owned(), text)]).unwrap())
        })
    }

    fn source() -> RecordSource {
        RecordSource::from_path_segments("events", "shardId-0")
    }

    fn records() -> [RawRecord; 1] {
        [RawRecord {
            key: "user/r1/0".to_owned(),
            sequence: "7".to_owned(),
            arrived_ms: 1_666_180_800_000,
            data: RawData::from_bytes(LINE.into()),
        }]
    }

    struct Lake {
        store: Arc<dyn ObjectStore>,
        catalog_history: CatalogHistory,
        raw: Path,
        landed: LandingObject,
    }

    impl Lake {
        /// A lake with one landing object and its raw object.
        async fn with_an_object(catalog: &Arc<Catalog>) -> Lake {
            let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let (records, catalog_history) = (records(), CatalogHistory::default());
            let source = source();
            let batch = RawBatch { source: &source, records: &records };
            let raw = raw::put(&*store, &batch.id().unwrap(), &records).await.unwrap();
            let landed =
                crate::land::land_rows(&*store, &catalog_history, catalog, batch, &raw).await.unwrap();
            Lake { store, catalog_history, raw, landed: landed.objects[0].clone() }
        }

        /// Does what a compactor with `catalog` does with an object of another catalog, but does not remove the object.
        async fn clean_again(&self, catalog: &Arc<Catalog>, from: &Path) -> Path {
            let records = raw::read(&*self.store, &self.raw).await.unwrap();
            let source = source();
            let batch = RawBatch { source: &source, records: &records };
            let landed =
                land_replacement(&*self.store, &self.catalog_history, catalog, batch, &self.raw, from);
            landed.await.unwrap().objects[0].path.clone()
        }

        /// Removes the raw object, as if it had expired, unless `keep`.
        async fn keep_raw(&self, keep: bool) {
            if !keep {
                self.store.delete(&self.raw).await.unwrap();
            }
        }

        async fn failed(&self) -> Vec<FailedObject> {
            list_failed(&*self.store, 10).await.unwrap().found
        }

        async fn retry_failed(&self, catalog: &Arc<Catalog>, failed: &FailedObject) -> RetryOutcome {
            retry_failed(&self.store, &self.catalog_history, catalog, failed).await.unwrap()
        }

        async fn list_landing(&self) -> Vec<Path> {
            let left = object::list(&*self.store, None, 10).await.unwrap();
            left.into_iter().map(|object| object.path).collect()
        }

        async fn remove(&self, path: &Path) {
            object::remove(&self.store, vec![path.clone()]).await.unwrap();
        }
    }

    /// During a deployment, compactors of two releases run at the same time and clean each other's objects again.
    #[tokio::test]
    async fn two_releases_that_clean_the_same_object_again_do_not_lose_it() {
        let [old, new] = two_catalogs();
        let lake = Lake::with_an_object(&old).await;
        let first = lake.landed.path.clone();
        let second = lake.clean_again(&new, &first).await;
        assert_eq!(lake.clean_again(&new, &first).await, second, "a retry makes the same object");
        // Before the first object is removed, a compactor of the old release finds the second.
        let third = lake.clean_again(&old, &second).await;
        lake.remove(&second).await;
        lake.remove(&first).await;
        assert_eq!(lake.list_landing().await, [third]);
    }

    /// A compactor copies an object to failed/. Before it removes the object from landing, an operator recovers it.
    #[tokio::test]
    async fn an_object_recovered_while_it_moves_to_failed_is_not_lost() {
        let [catalog, _] = two_catalogs();
        for has_raw in [true, false] {
            let lake = Lake::with_an_object(&catalog).await;
            lake.keep_raw(has_raw).await;
            let landed = &lake.landed.path;
            let in_failed = Path::from(format!("failed/{landed}"));
            lake.store.copy(landed, &in_failed).await.unwrap();
            let failed = lake.failed().await;
            let outcome = lake.retry_failed(&catalog, &failed[0]).await;
            assert_eq!(outcome, if has_raw { RetryOutcome::CleanedAgain } else { RetryOutcome::PutBack });
            lake.remove(landed).await;
            let left = lake.list_landing().await;
            assert_eq!(left.len(), 1, "with raw records: {has_raw}");
            let again = LandingObject { path: left[0].clone(), ..lake.landed.clone() };
            let rows = object::read(&*lake.store, &again).await.unwrap().unwrap().batches;
            assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
            assert!(lake.failed().await.is_empty());
        }
    }

    #[tokio::test]
    async fn two_operators_and_two_compactors_at_the_same_object_agree() {
        let [catalog, _] = two_catalogs();
        for has_raw in [true, false] {
            let lake = Lake::with_an_object(&catalog).await;
            lake.keep_raw(has_raw).await;
            let landed = &lake.landed.path;
            let in_failed = object::move_to_failed(&*lake.store, landed).await.unwrap();
            assert_eq!(
                object::move_to_failed(&*lake.store, landed).await.unwrap(),
                in_failed,
                "a second move has no effect"
            );
            let failed = lake.failed().await;
            let first = lake.retry_failed(&catalog, &failed[0]).await;
            assert!(matches!(first, RetryOutcome::CleanedAgain | RetryOutcome::PutBack));
            let left = lake.list_landing().await;
            // The other operator has listed the same object and finds it gone.
            assert_eq!(lake.retry_failed(&catalog, &failed[0]).await, RetryOutcome::Gone);
            assert_eq!(lake.list_landing().await, left);
        }
    }
}
