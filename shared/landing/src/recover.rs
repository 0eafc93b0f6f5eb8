//! Taking up again what was left on the way: batches that the event source gave up, and landing objects that were set
//! aside.
//!
//! Invariants: an object is removed only when everything of it has landed; everything here may be done twice, by two at
//! once, or be broken off at any moment: what lands is named after its bytes, and a watermark never goes back.

use std::sync::Arc;

use aws_lambda_events::event::kinesis::KinesisEvent;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_schema::Catalog;

use crate::error::LandingError;
use crate::given_up::{self, Batch, BatchInfo, GivenUp};
use crate::kinesis;
use crate::land::{Delivery, Landed, deliver, land};
use crate::name::{FAILED, LandingName};
use crate::object::{self, LandingObject};
use crate::raw::{self, RAW};
use crate::releases::Releases;
use crate::sequence::Sequence;

/// The most objects of `failed/` that are looked at.
const MOST_FAILED: usize = 100_000;

/// What became of a batch.
#[derive(Debug)]
pub struct Replayed {
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
    releases: &Releases,
    catalog: &Arc<Catalog>,
    given_up: &GivenUp,
    stream: Option<&str>,
) -> Result<Option<Replayed>, LandingError> {
    let Some(Batch { info, event }) = given_up::read(&**destination, given_up).await? else {
        return Ok(None);
    };
    if stream.is_some_and(|stream| stream != info.stream()) {
        return Ok(None);
    }
    let missing = missing(&info, &event);
    let mut replayed =
        Replayed { stream: info.stream().to_owned(), records: event.records.len(), landed: Vec::new() };
    for ((stream, shard), mut records) in kinesis::by_shard(event) {
        // The last one moves the watermark.
        records.sort_by_cached_key(|record| record.sequence.parse::<Sequence>().ok());
        let delivery = Delivery { source: &stream, shard: &shard, records: &records };
        replayed.landed.push(deliver(&**store, releases, catalog, delivery).await?);
    }
    if let Some(missing) = missing {
        return Err(given_up::unreadable(
            given_up,
            format!(
                "its payload has not all records of {}: {missing} is missing; what it has was landed",
                info.shard_id
            ),
        ));
    }
    object::remove(destination, vec![given_up.path.clone()]).await?;
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
pub struct Failed {
    /// What it was called in `landing/`.
    pub landed: LandingObject,
    /// Where it is now, below `failed/`.
    pub path: Path,
}

/// What became of a landing object that was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retaken {
    /// Its records were cleaned again from their raw object.
    CleanedAgain,
    /// Its raw object is gone, but the object is whole and of a present contract: it is in landing again.
    PutBack,
    /// Somebody else has taken it.
    Gone,
    /// It cannot be read, or is of another contract, and its raw object is gone.
    Stays,
}

/// The landing objects that lie in `failed/`.
///
/// # Errors
/// When the store cannot be listed.
pub async fn list_failed(store: &dyn ObjectStore) -> Result<Vec<Failed>, LandingError> {
    let prefix = Path::from(FAILED);
    store
        .list(Some(&prefix))
        .try_filter_map(|meta| async move {
            let landed = Path::from_iter(meta.location.parts().skip(1));
            let name = LandingName::parse(&landed);
            Ok(name.map(|name| Failed {
                landed: LandingObject { name, path: landed, size: meta.size },
                path: meta.location,
            }))
        })
        .take(MOST_FAILED)
        .try_collect()
        .await
        .map_err(LandingError::store(&prefix))
}

/// Has the records of a landing object that was set aside land again, and removes it from `failed/`.
///
/// # Errors
/// When the store fails; doing it again is safe.
pub async fn retake(
    store: &Arc<dyn ObjectStore>,
    releases: &Releases,
    catalog: &Arc<Catalog>,
    failed: &Failed,
) -> Result<Retaken, LandingError> {
    let aside = LandingObject { path: failed.path.clone(), ..failed.landed.clone() };
    let rows = match object::read(&**store, &aside).await {
        Ok(None) => return Ok(Retaken::Gone),
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
            Err(error) => return Err(error),
        };
        let delivery = Delivery { source: &name.source, shard: &name.shard, records: &records };
        land(&**store, releases, catalog, delivery, &path).await?;
        cleaned = true;
    }
    let present =
        catalog.contract(&name.dataset).is_some_and(|contract| contract.hash() == name.contract_hash);
    let retaken = match rows {
        _ if cleaned => Retaken::CleanedAgain,
        Some(_) if present => {
            store.copy(&failed.path, &failed.landed.path).await.map_err(LandingError::store(&failed.path))?;
            Retaken::PutBack
        }
        _ => return Ok(Retaken::Stays),
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
