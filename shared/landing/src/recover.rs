//! Taking up again what was left on the way: batches that the event source gave up, and landing objects that were set
//! aside.
//!
//! Invariants: an object is removed only when everything of it has landed; everything here may be done twice, by two at
//! once, or be broken off at any moment: what lands is named after its bytes, and a watermark never goes back. What comes
//! back from `failed/` lands under names of its own ([`LandingName::in_place_of`]): whoever is still setting the object
//! aside removes the old name, and not what was recovered.

use std::sync::Arc;

use aws_lambda_events::event::kinesis::KinesisEvent;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_schema::Catalog;

use crate::bounded_list::{BoundedList, look};
use crate::catalog_history::CatalogHistory;
use crate::discarded::{self, Batch, BatchInfo, DiscardedObject};
use crate::error::LandingError;
use crate::kinesis;
use crate::land::{Delivery, Landed, deliver, land_in_place_of};
use crate::name::{FAILED, LANDING, LandingName};
use crate::object::{self, LandingObject};
use crate::raw::{self, RAW};
use crate::sequence::Sequence;

/// What became of a batch.
#[derive(Debug)]
pub struct ReplaySummary {
    /// The stream it is of.
    pub stream: String,
    /// Records of the event.
    pub records: usize,
    /// What landed of them.
    pub landed: Vec<Landed>,
}

/// Lands a batch that was given up, as the cleaner would have, and removes it from `destination`. `None` when it is not
/// there any more (somebody else has replayed it), or is of another stream than `stream`.
///
/// # Errors
/// When a store fails: doing it again is safe. [`LandingError::NotReplayable`] when the object does not hold all records
/// that it should; those that it holds have landed, and it stays where it is.
pub async fn replay(
    store: &Arc<dyn ObjectStore>,
    destination: &Arc<dyn ObjectStore>,
    catalog_history: &CatalogHistory,
    catalog: &Arc<Catalog>,
    discarded: &DiscardedObject,
    stream: Option<&str>,
) -> Result<Option<ReplaySummary>, LandingError> {
    let Some(Batch { info, event }) = discarded::read(&**destination, discarded).await? else {
        return Ok(None);
    };
    if stream.is_some_and(|stream| stream != info.stream()) {
        return Ok(None);
    }
    let missing = missing(&info, &event);
    let mut replayed =
        ReplaySummary { stream: info.stream().to_owned(), records: event.records.len(), landed: Vec::new() };
    for ((stream, shard), mut records) in kinesis::by_shard(event) {
        // The last one moves the watermark.
        records.sort_by_cached_key(|record| record.sequence.parse::<Sequence>().ok());
        let delivery = Delivery { source: &stream, shard: &shard, records: &records };
        replayed.landed.push(deliver(&**store, catalog_history, catalog, delivery).await?);
    }
    if let Some(missing) = missing {
        return Err(discarded::unreadable(
            discarded,
            format!(
                "its payload has not all records of {}: {missing} is missing; what it has was landed",
                info.shard_id
            ),
        ));
    }
    object::remove(destination, vec![discarded.path.clone()]).await?;
    Ok(Some(replayed))
}

/// The end of the batch that its event has not.
fn missing(info: &BatchInfo, event: &KinesisEvent) -> Option<Sequence> {
    let prefix = format!("{}:", info.shard_id);
    let has = |wanted: &Sequence| {
        event.records.iter().any(|record| {
            record.event_id.as_deref().is_some_and(|id| id.starts_with(&prefix))
                && record.kinesis.sequence_number.parse().is_ok_and(|sequence: Sequence| sequence == *wanted)
        })
    };
    [&info.start_sequence_number, &info.end_sequence_number].into_iter().find(|end| !has(end)).cloned()
}

/// A landing object that was set aside.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FailedObject {
    /// What it was called in `landing/`.
    pub landed: LandingObject,
    /// Where it is now, below `failed/`.
    pub path: Path,
}

/// What became of a landing object that was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RetryOutcome {
    /// Its records were cleaned again from their raw object.
    CleanedAgain,
    /// Its raw object is gone, but the object is whole and of a present contract: it is in landing again.
    PutBack,
    /// Somebody else has taken it.
    Gone,
    /// It cannot be read, or is of another contract, and its raw object is gone.
    Stays,
}

/// The landing objects that were set aside, among the first `most` objects of `failed/landing/`.
///
/// # Errors
/// When the store cannot be listed.
pub async fn list_failed(
    store: &dyn ObjectStore,
    most: usize,
) -> Result<BoundedList<FailedObject>, LandingError> {
    look(store, &Path::from_iter([FAILED, LANDING]), most, |meta| {
        let landed = Path::from_iter(meta.location.parts().skip(1));
        let name = LandingName::parse(&landed)?;
        let landed = LandingObject { name, path: landed, size: meta.size };
        Some(FailedObject { landed, path: meta.location })
    })
    .await
}

/// Has the records of a landing object that was set aside land again, and removes it from `failed/`.
///
/// # Errors
/// When the store fails; doing it again is safe.
pub async fn retry_failed(
    store: &Arc<dyn ObjectStore>,
    catalog_history: &CatalogHistory,
    catalog: &Arc<Catalog>,
    failed: &FailedObject,
) -> Result<RetryOutcome, LandingError> {
    let aside = LandingObject { path: failed.path.clone(), ..failed.landed.clone() };
    let rows = match object::read(&**store, &aside).await {
        Ok(None) => return Ok(RetryOutcome::Gone),
        Ok(rows) => rows,
        Err(error) if error.is_permanent() => None,
        Err(error) => return Err(error),
    };
    let name = &failed.landed.name;
    let named = rows.as_ref().and_then(|rows| rows.raw.clone()).map(Path::from);
    let mut cleaned = false;
    for path in raw_objects(&**store, name, named).await? {
        let records = match raw::read(&**store, &path).await {
            Ok(records) => records,
            Err(error) if error.is_permanent() => continue,
            // It has expired since it was looked for.
            Err(LandingError::Store { source: object_store::Error::NotFound { .. }, .. }) => continue,
            Err(error) => return Err(error),
        };
        let delivery = Delivery { source: &name.source, shard: &name.shard, records: &records };
        land_in_place_of(&**store, catalog_history, catalog, delivery, &path, &failed.path).await?;
        cleaned = true;
    }
    let present =
        catalog.contract(&name.dataset).is_some_and(|contract| contract.hash() == name.contract_hash);
    let retaken = match rows {
        _ if cleaned => RetryOutcome::CleanedAgain,
        Some(_) if present => {
            let back = name.clone().in_place_of(&failed.path).path();
            match store.copy(&failed.path, &back).await {
                Ok(()) => RetryOutcome::PutBack,
                // Another operator has put it back since it was read.
                Err(object_store::Error::NotFound { .. }) => return Ok(RetryOutcome::Gone),
                Err(error) => return Err(LandingError::store(&failed.path)(error)),
            }
        }
        _ => return Ok(RetryOutcome::Stays),
    };
    object::remove(store, vec![failed.path.clone()]).await?;
    Ok(retaken)
}

/// The raw objects of a landing object: the one that it names, else those of the same records.
async fn raw_objects(
    store: &dyn ObjectStore,
    name: &LandingName,
    named: Option<Path>,
) -> Result<Vec<Path>, LandingError> {
    if let Some(path) = named
        && object::exists(store, &path).await?
    {
        return Ok(vec![path]);
    }
    let folder = Path::from_iter([RAW, &name.minute, &name.source, &name.shard]);
    let file = format!("{}-{}-", name.first, name.last);
    let listed: Vec<_> =
        store.list(Some(&folder)).try_collect().await.map_err(LandingError::store(&folder))?;
    let same = |path: &Path| path.filename().is_some_and(|name| name.starts_with(&file));
    Ok(listed.into_iter().map(|meta| meta.location).filter(same).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::{RawData, RawRecord};
    use object_store::memory::InMemory;

    const LINE: &str = r#"{"ind": 1, "first_name": "A", "last_name": "B", "age": 20}"#;

    /// Two catalog_history that clean users alike, under other contract hashes.
    fn catalog_history() -> [Arc<Catalog>; 2] {
        ["-", "none"].map(|null| {
            let text = format!(
                "name = \"user\"\nversion = 1\ndescription = \"One row a user.\"\nidentity = [\"ind\"]\n\
                 [route]\nshape = [\"ind\"]\n[[column]]\nname = \"ind\"\ntype = \"int64\"\nrequired = true\n\
                 [[column]]\nname = \"first_name\"\ntype = \"string\"\nnull = [\"{null}\"]\n"
            );
            Arc::new(Catalog::from_files([("user.toml".to_owned(), text)]).unwrap())
        })
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
        /// One object in landing, and its raw records.
        async fn with_an_object(catalog: &Arc<Catalog>) -> Lake {
            let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
            let (records, catalog_history) = (records(), CatalogHistory::default());
            let delivery = Delivery { source: "events", shard: "shardId-0", records: &records };
            let raw = raw::put(&*store, &delivery.origin().unwrap(), &records).await.unwrap();
            let landed = crate::land::land(&*store, &catalog_history, catalog, delivery, &raw).await.unwrap();
            Lake { store, catalog_history, raw, landed: landed.objects[0].clone() }
        }

        /// What a compactor of `catalog`'s release does to an object of another, but for removing it.
        async fn clean_again(&self, catalog: &Arc<Catalog>, from: &Path) -> Path {
            let records = raw::read(&*self.store, &self.raw).await.unwrap();
            let delivery = Delivery { source: "events", shard: "shardId-0", records: &records };
            let land =
                land_in_place_of(&*self.store, &self.catalog_history, catalog, delivery, &self.raw, from);
            land.await.unwrap().objects[0].path.clone()
        }

        /// Whether the raw records stay, or have expired.
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

        async fn left_in_landing(&self) -> Vec<Path> {
            let left = object::list(&*self.store, None, 10).await.unwrap();
            left.into_iter().map(|object| object.path).collect()
        }

        async fn remove(&self, path: &Path) {
            object::remove(&self.store, vec![path.clone()]).await.unwrap();
        }
    }

    /// Functions of two catalog_history are warm at the same time, and each cleans again what the other has landed.
    #[tokio::test]
    async fn two_releases_that_clean_the_same_object_again_do_not_lose_it() {
        let [old, new] = catalog_history();
        let lake = Lake::with_an_object(&old).await;
        let first = lake.landed.path.clone();
        let second = lake.clean_again(&new, &first).await;
        assert_eq!(lake.clean_again(&new, &first).await, second, "a retry makes the same object");
        // Before the first is removed, a compactor of the old release finds the second.
        let third = lake.clean_again(&old, &second).await;
        lake.remove(&second).await;
        lake.remove(&first).await;
        assert_eq!(lake.left_in_landing().await, [third]);
    }

    /// A compactor copies an object to failed/; before it removes the object from landing, an operator takes it up again.
    #[tokio::test]
    async fn what_is_recovered_while_it_is_set_aside_is_not_lost() {
        let [catalog, _] = catalog_history();
        for has_raw in [true, false] {
            let lake = Lake::with_an_object(&catalog).await;
            lake.keep_raw(has_raw).await;
            let landed = &lake.landed.path;
            let aside = Path::from(format!("failed/{landed}"));
            lake.store.copy(landed, &aside).await.unwrap();
            let failed = lake.failed().await;
            let retaken = lake.retry_failed(&catalog, &failed[0]).await;
            assert_eq!(retaken, if has_raw { RetryOutcome::CleanedAgain } else { RetryOutcome::PutBack });
            lake.remove(landed).await;
            let left = lake.left_in_landing().await;
            assert_eq!(left.len(), 1, "with raw records: {has_raw}");
            let again = LandingObject { path: left[0].clone(), ..lake.landed.clone() };
            let rows = object::read(&*lake.store, &again).await.unwrap().unwrap().batches;
            assert_eq!(rows.iter().map(|batch| batch.num_rows()).sum::<usize>(), 1);
            assert!(lake.failed().await.is_empty());
        }
    }

    #[tokio::test]
    async fn two_operators_and_two_compactors_at_the_same_object_agree() {
        let [catalog, _] = catalog_history();
        for has_raw in [true, false] {
            let lake = Lake::with_an_object(&catalog).await;
            lake.keep_raw(has_raw).await;
            let landed = &lake.landed.path;
            let aside = object::move_to_failed(&*lake.store, landed).await.unwrap();
            assert_eq!(
                object::move_to_failed(&*lake.store, landed).await.unwrap(),
                aside,
                "it was moved already"
            );
            let failed = lake.failed().await;
            let first = lake.retry_failed(&catalog, &failed[0]).await;
            assert!(matches!(first, RetryOutcome::CleanedAgain | RetryOutcome::PutBack));
            let left = lake.left_in_landing().await;
            // The other has listed the same, and is done with nothing, or with the same once more.
            assert_eq!(lake.retry_failed(&catalog, &failed[0]).await, RetryOutcome::Gone);
            assert_eq!(lake.left_in_landing().await, left);
        }
    }
}
