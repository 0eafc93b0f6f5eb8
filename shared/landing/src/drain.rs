//! Whether everything that was acknowledged has reached its table.
//!
//! An acknowledgement names a shard and a sequence number. The pipeline is drained of it when the shard's
//! watermark has passed it and nothing of that shard that begins at or below it is left on the way: no batch that the
//! event source gave up, no landing object, and none that was set aside in `failed/`.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use futures::{StreamExt, TryStreamExt, stream};
use object_store::ObjectStore;

use crate::error::LandingError;
use crate::given_up;
use crate::name::LandingName;
use crate::object;
use crate::recover;
use crate::sequence::Sequence;
use crate::watermark;

/// The most landing objects that are looked at; more than this is "not drained" whoever they belong to.
const MOST_OBJECTS: usize = 100_000;
/// The most batches that were given up whose objects are read; of more, all of a shard count.
const MOST_READ: usize = 64;
/// Of these, at once.
const CONCURRENCY: usize = 8;

/// The highest acknowledged sequence number of each shard.
pub type Acknowledged = BTreeMap<String, Sequence>;

/// How far the pipeline is behind a set of acknowledgements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// Shards whose watermark has not passed their acknowledgement yet.
    pub shards_behind: Vec<String>,
    /// Batches that the event source gave up and that hold acknowledged records, by shard: `pinlake recover` replays
    /// them, nothing else does.
    pub given_up: BTreeMap<String, usize>,
    /// Landing objects that were set aside and hold acknowledged records, by dataset: `pinlake recover`, too.
    pub failed: BTreeMap<String, usize>,
    /// Landing objects that hold acknowledged records, by dataset.
    pub landing: BTreeMap<String, usize>,
}

impl Backlog {
    /// Whether nothing is left to do.
    pub fn is_drained(&self) -> bool {
        self.shards_behind.is_empty() && self.landing.is_empty() && !self.needs_recovery()
    }

    /// Whether something waits for `pinlake recover`.
    pub fn needs_recovery(&self) -> bool {
        !self.given_up.is_empty() || !self.failed.is_empty()
    }

    /// How many things are left.
    pub fn left(&self) -> usize {
        let counts = [&self.given_up, &self.failed, &self.landing];
        self.shards_behind.len() + counts.iter().flat_map(|counts| counts.values()).sum::<usize>()
    }
}

impl fmt::Display for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_drained() {
            return f.write_str("nothing left");
        }
        let mut parts = Vec::new();
        if !self.shards_behind.is_empty() {
            parts.push(format!("shards whose records have not all landed: {}", self.shards_behind.len()));
        }
        let counted = [
            ("batches that the stream gave up, for `pinlake recover`", &self.given_up),
            ("objects in failed, for `pinlake recover`", &self.failed),
            ("objects in landing", &self.landing),
        ];
        for (what, counts) in counted.into_iter().filter(|(_, counts)| !counts.is_empty()) {
            let counts: Vec<String> = counts.iter().map(|(of, left)| format!("{of} {left}")).collect();
            parts.push(format!("{what}: {}", counts.join(", ")));
        }
        f.write_str(&parts.join("; "))
    }
}

/// Measures the backlog. `destination` is where the event source puts what it gives up: the root of the lake's bucket.
/// `stream` limits it to one stream when several have landed in this lake.
///
/// # Errors
/// When the store fails.
pub async fn backlog(
    store: &dyn ObjectStore,
    destination: &dyn ObjectStore,
    stream: Option<&str>,
    acknowledged: &Acknowledged,
) -> Result<Backlog, LandingError> {
    // Watermarks first: an object that lands after its watermark was read belongs to a later record, and a batch is
    // given up before its shard goes on. Then the places in the order in which a record may pass them while we look;
    // it may go from landing to failed and back, so that one is looked at on both sides.
    let watermarks = watermark::read_all(store).await?;
    let passed = |shard: &str, sequence: &Sequence| {
        watermarks
            .iter()
            .filter(|((of, name), _)| name == shard && stream.is_none_or(|stream| stream == of))
            .any(|(_, watermark)| watermark >= sequence)
    };
    let shards_behind = acknowledged
        .iter()
        .filter(|(shard, sequence)| !passed(shard, sequence))
        .map(|(shard, _)| shard.clone())
        .collect();
    let holds = |name: &LandingName| {
        let of_stream = stream.is_none_or(|stream| stream == name.source);
        let first: Option<Sequence> = name.first.parse().ok();
        of_stream
            && match (first, acknowledged.get(&name.shard)) {
                (Some(first), Some(sequence)) => first <= *sequence,
                (None, Some(_)) => true,
                (_, None) => false,
            }
    };
    let given_up = given_up(destination, stream, acknowledged).await?;
    let mut aside = recover::list_failed(store).await?;
    let mut landing = BTreeMap::new();
    for object in object::list(store, None, MOST_OBJECTS).await? {
        if holds(&object.name) {
            *landing.entry(object.name.dataset).or_insert(0) += 1;
        }
    }
    aside.extend(recover::list_failed(store).await?);
    let names: BTreeSet<LandingName> = aside.into_iter().map(|failed| failed.landed.name).collect();
    let mut failed = BTreeMap::new();
    for name in names.into_iter().filter(holds) {
        *failed.entry(name.dataset).or_insert(0) += 1;
    }
    Ok(Backlog { shards_behind, given_up, failed, landing })
}

/// How many batches of each acknowledged shard were given up and hold acknowledged records.
async fn given_up(
    destination: &dyn ObjectStore,
    stream: Option<&str>,
    acknowledged: &Acknowledged,
) -> Result<BTreeMap<String, usize>, LandingError> {
    let mut batches = given_up::list(destination).await?.batches;
    batches.retain(|batch| acknowledged.contains_key(&batch.shard));
    let unread = batches.split_off(batches.len().min(MOST_READ));
    let read: Vec<(String, bool)> = stream::iter(batches)
        .map(|batch| async move {
            let holds = match given_up::info(destination, &batch).await {
                Ok(None) => false,
                Ok(Some(info)) => {
                    stream.is_none_or(|stream| stream == info.stream())
                        && acknowledged.get(&batch.shard) >= Some(&info.start_sequence_number)
                }
                // Whose records it holds, nobody can tell.
                Err(error) if error.is_permanent() => true,
                Err(error) => return Err(error),
            };
            Ok((batch.shard, holds))
        })
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    let mut shards = BTreeMap::new();
    let unread = unread.into_iter().map(|batch| (batch.shard, true));
    for (shard, _) in read.into_iter().chain(unread).filter(|(_, holds)| *holds) {
        *shards.entry(shard).or_insert(0) += 1;
    }
    Ok(shards)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::Origin;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    #[tokio::test]
    async fn drained_means_the_watermark_passed_and_nothing_older_lies_there() {
        let store = InMemory::new();
        let shard = "shardId-000000000000";
        let acknowledged = Acknowledged::from([(shard.to_owned(), "10".parse().unwrap())]);
        let measured = backlog(&store, &store, None, &acknowledged).await.unwrap();
        assert_eq!(measured.shards_behind, [shard]);

        let origin = |first: &str| Origin {
            source: "events".to_owned(),
            shard: shard.to_owned(),
            first: first.to_owned(),
            last: "12".to_owned(),
            arrived: "2022-10-19T12:00:59Z".parse().unwrap(),
        };
        watermark::advance(&store, "events", shard, &"12".parse().unwrap()).await.unwrap();
        let older = LandingName::new("pin", "00aa", &origin("9"), b"a").path();
        let newer = LandingName::new("pin", "00aa", &origin("11"), b"b").path();
        for path in [&older, &newer] {
            store.put(path, "x".into()).await.unwrap();
        }
        let measured = backlog(&store, &store, Some("events"), &acknowledged).await.unwrap();
        assert_eq!(measured.landing, BTreeMap::from([("pin".to_owned(), 1)]));

        store.delete(&older).await.unwrap();
        assert!(backlog(&store, &store, Some("events"), &acknowledged).await.unwrap().is_drained());
    }
}
