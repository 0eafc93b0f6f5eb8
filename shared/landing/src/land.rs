//! Records of a stream into the landing area: routed, cleaned, put, and their watermark moved.
//!
//! The cleaner calls this with what a stream delivers; the compactor calls it with raw records when a contract has
//! changed since they were cleaned.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use pinlake_clean::{Count, Intake, Origin as RecordOrigin, Position};
use pinlake_schema::stream_key::StreamKey;
use pinlake_schema::{Catalog, StreamRoute};
use serde::de::IgnoredAny;

use crate::error::LandingError;
use crate::name::Origin;
use crate::object::{self, LandingObject};
use crate::raw::RawRecord;

/// Landing objects that are put at once.
const CONCURRENCY: usize = 8;

/// A run of records of one shard, in the order of their sequence numbers.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// Stream or topic.
    pub source: &'a str,
    /// Shard or partition.
    pub shard: &'a str,
    /// Its records; not empty.
    pub records: &'a [RawRecord],
}

/// What landed.
#[derive(Debug, Clone)]
pub struct Landed {
    /// The objects, one or more a dataset.
    pub objects: Vec<LandingObject>,
    /// Records by dataset, with how many of them went to quarantine.
    pub counts: Vec<Count>,
}

/// Cleans a delivery and puts its rows into the landing area. `raw` is where the records are kept. Doing it again
/// makes the same objects.
///
/// # Errors
/// When the store fails, or a batch cannot be encoded. Bad records are no error: they land in quarantine.
pub async fn land(
    store: &dyn ObjectStore,
    catalog: &Arc<Catalog>,
    delivery: Delivery<'_>,
    raw: &Path,
) -> Result<Landed, LandingError> {
    let Some(origin) = delivery.origin() else {
        return Ok(Landed { objects: Vec::new(), counts: Vec::new() });
    };
    let mut intake = Intake::new(catalog.clone(), origin.arrived);
    let source = format!("kinesis/{}/{}", delivery.source, delivery.shard);
    for record in delivery.records {
        intake.set_arrived_at(record.arrived_at());
        push(&mut intake, catalog, delivery.source, &source, record);
    }
    let origin = &origin;
    let objects = futures::stream::iter(intake.drain())
        .map(|cleaned| async move {
            let contract = &cleaned.contract;
            object::put(store, &contract.name, contract.hash(), origin, raw, &cleaned.rows).await
        })
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    Ok(Landed { objects, counts: intake.counts().cloned().collect() })
}

impl Delivery<'_> {
    /// What its objects are named after; `None` when it is empty.
    pub fn origin(&self) -> Option<Origin> {
        let (first, last) = (self.records.first()?, self.records.last()?);
        Some(Origin {
            source: self.source.to_owned(),
            shard: self.shard.to_owned(),
            first: first.sequence.clone(),
            last: last.sequence.clone(),
            arrived: first.arrived_at(),
        })
    }
}

impl RawRecord {
    /// When the stream took the record.
    pub fn arrived_at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.arrived_ms).unwrap_or(DateTime::UNIX_EPOCH)
    }
}

/// Cuts a record into lines and pushes each. Our own partition key tells the dataset and numbers the lines; a record
/// of another producer is routed by its stream, then by its key, then by its shape.
fn push(intake: &mut Intake, catalog: &Catalog, stream: &str, source: &str, record: &RawRecord) {
    let data = record.data.as_bytes();
    let own = StreamKey::parse(&record.key)
        .filter(|key| key.dataset.is_none_or(|dataset| catalog.contract(dataset).is_some()));
    let hint = match own {
        Some(key) => key.dataset,
        None => match catalog.route_stream(stream) {
            StreamRoute::Dataset(contract) => Some(contract.name.as_str()),
            StreamRoute::Shared | StreamRoute::Unknown => {
                catalog.route_partition_key(&record.key).map(|contract| contract.name.as_str())
            }
        },
    };
    // Another producer may write one record over several lines; ours never does.
    let whole = own.is_none() && serde_json::from_slice::<IgnoredAny>(data).is_ok();
    let lines = data.split(|byte| *byte == b'\n' && !whole);
    for (number, line) in (0_u64..).zip(lines) {
        // A last line feed ends a line and begins none. A record of no bytes at all was acknowledged like any other.
        if line.trim_ascii().is_empty() && !data.is_empty() {
            continue;
        }
        let origin = RecordOrigin {
            source,
            position: Position::Sequence { number: &record.sequence, line: number + 1 },
            record_id: own.map(|key| (key.request, key.index + number)),
        };
        intake.push(line, hint, &origin);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::raw::RawData;
    use arrow::array::cast::AsArray;
    use object_store::memory::InMemory;

    fn record(key: &str, sequence: u64, data: &[u8]) -> RawRecord {
        RawRecord {
            key: key.to_owned(),
            sequence: sequence.to_string(),
            arrived_ms: 1_666_180_800_000,
            data: RawData::from_bytes(data.to_vec()),
        }
    }

    #[tokio::test]
    async fn records_land_by_dataset_and_the_bad_ones_in_quarantine() {
        let store = InMemory::new();
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let geo = br#"{"ind": 1, "timestamp": "2020-08-28 03:52:47", "latitude": 1.5, "longitude": 2.5, "country": "Peru"}"#;
        let two = [&geo[..], b"\n{\"ind\": 2}\n"].concat();
        let pretty = b"{\n \"ind\": 3,\n \"first_name\": \"A\", \"last_name\": \"B\", \"age\": 20\n}";
        let records = [
            record("geo/r1/0", 7, &two),
            record("-/r2/0", 8, br#"{"index": 4, "unique_id": "u", "category": "art", "poster_name": "P"}"#),
            record("partition-1", 9, pretty),
            record("geo/r3/0", 10, b""),
            record("user", 11, b"not json"),
        ];
        let delivery = Delivery { source: "events", shard: "shardId-0", records: &records };
        let landed = land(&store, &catalog, delivery, &Path::from("raw/x")).await.unwrap();
        let again = land(&store, &catalog, delivery, &Path::from("raw/x")).await.unwrap();
        assert_eq!(landed.objects, again.objects, "the same delivery makes the same objects");

        let mut rows = std::collections::BTreeMap::new();
        for object in object::list(&store, None, 100).await.unwrap() {
            let landed = object::read(&store, &object).await.unwrap().unwrap();
            rows.insert(object.name.dataset.clone(), landed.batches);
        }
        let count = |dataset: &str| rows[dataset].iter().map(|batch| batch.num_rows()).sum::<usize>();
        assert_eq!((count("geo"), count("pin"), count("user"), count("quarantine")), (2, 1, 1, 2));
        let positions = rows["quarantine"][0].column_by_name("position").unwrap().as_string::<i32>().clone();
        let positions: Vec<_> = positions.iter().flatten().map(str::to_owned).collect();
        assert!(positions[0].starts_with("10") && positions[1].starts_with("11"), "{positions:?}");
    }
}
