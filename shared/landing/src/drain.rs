//! Whether everything that was acknowledged has reached its table.
//!
//! An acknowledgement names a shard and a sequence number. The pipeline is drained of it when the shard's
//! watermark has passed it and no landing object of that shard that begins at or below it is left.

use std::collections::BTreeMap;
use std::fmt;

use object_store::ObjectStore;

use crate::error::LandingError;
use crate::object;
use crate::sequence::Sequence;
use crate::watermark;

/// The most landing objects that are looked at; more than this is "not drained" whoever they belong to.
const MOST_OBJECTS: usize = 100_000;

/// The highest acknowledged sequence number of each shard.
pub type Acknowledged = BTreeMap<String, Sequence>;

/// How far the pipeline is behind a set of acknowledgements.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backlog {
    /// Shards whose watermark has not passed their acknowledgement yet.
    pub shards_behind: Vec<String>,
    /// Landing objects that hold acknowledged records, by dataset.
    pub landing: BTreeMap<String, usize>,
}

impl Backlog {
    /// Whether nothing is left to do.
    pub fn is_drained(&self) -> bool {
        self.shards_behind.is_empty() && self.landing.is_empty()
    }
}

impl fmt::Display for Backlog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let landing: Vec<String> =
            self.landing.iter().map(|(dataset, left)| format!("{dataset} {left}")).collect();
        let (shards, landing) = (self.shards_behind.len(), landing.join(", "));
        match (shards, landing.as_str()) {
            (0, "") => f.write_str("nothing left"),
            (0, landing) => write!(f, "objects in landing: {landing}"),
            (shards, "") => write!(f, "shards whose records have not all landed: {shards}"),
            (shards, landing) => {
                write!(f, "shards whose records have not all landed: {shards}; objects in landing: {landing}")
            }
        }
    }
}

/// Measures the backlog. `stream` limits it to one stream when several have landed in this lake.
///
/// # Errors
/// When the store fails.
pub async fn backlog(
    store: &dyn ObjectStore,
    stream: Option<&str>,
    acknowledged: &Acknowledged,
) -> Result<Backlog, LandingError> {
    // Watermarks first: an object that lands after its watermark was read belongs to a later record.
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
    let mut landing = BTreeMap::new();
    for object in object::list(store, None, MOST_OBJECTS).await? {
        let of_stream = stream.is_none_or(|stream| stream == object.name.source);
        let first: Option<Sequence> = object.name.first.parse().ok();
        let acknowledged = acknowledged.get(&object.name.shard);
        let holds = match (first, acknowledged) {
            (Some(first), Some(sequence)) => first <= *sequence,
            (None, Some(_)) => true,
            (_, None) => false,
        };
        if of_stream && holds {
            *landing.entry(object.name.dataset).or_insert(0) += 1;
        }
    }
    Ok(Backlog { shards_behind, landing })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::name::{LandingName, Origin};
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    #[tokio::test]
    async fn drained_means_the_watermark_passed_and_nothing_older_lies_there() {
        let store = InMemory::new();
        let shard = "shardId-000000000000";
        let acknowledged = Acknowledged::from([(shard.to_owned(), "10".parse().unwrap())]);
        let measured = backlog(&store, None, &acknowledged).await.unwrap();
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
        let measured = backlog(&store, Some("events"), &acknowledged).await.unwrap();
        assert_eq!(measured.landing, BTreeMap::from([("pin".to_owned(), 1)]));

        store.delete(&older).await.unwrap();
        assert!(backlog(&store, Some("events"), &acknowledged).await.unwrap().is_drained());
    }
}
