//! Records of a stream into the landing area: routed, cleaned, put, and their watermark moved.
//!
//! The cleaner calls this with what a stream delivers; the compactor calls it with raw records when a contract has
//! changed since they were cleaned.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use pinlake_clean::{Position, Reason, RecordCleaner, RecordCounts, RecordError, RecordOrigin};
use pinlake_schema::stream_key::StreamKey;
use pinlake_schema::{Catalog, StreamRoute};
use serde::de::IgnoredAny;

use crate::aggregate::{self, Aggregate};
use crate::catalog_history::CatalogHistory;
use crate::compression::{self, DecompressError};
use crate::error::LandingError;
use crate::name::Origin;
use crate::object::{self, LandingObject};
use crate::raw::{self, RawRecord};
use crate::sequence::Sequence;
use crate::source::SourceKind;
use crate::watermark;

/// Landing objects that are put at once.
const CONCURRENCY: usize = 8;
/// Bytes at which what is clean is put before more is cleaned, as [`RecordCleaner::buffered_bytes`] counts them: what memory is bounded by.
const MAX_BUFFERED_BYTES: usize = 64 << 20;

/// The highest index that a key of ours has. The lines of a record, which are fewer than its bytes, count on from it and
/// stay far below the end of what the number can hold.
const MOST_INDEX: u64 = u64::MAX >> 1;

/// A run of records of one shard, in the order of their sequence numbers.
#[derive(Debug, Clone, Copy)]
pub struct Delivery<'a> {
    /// Stream or topic.
    pub source: &'a str,
    /// Shard or partition; its form tells what the source is, see [`SourceKind`].
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
    pub counts: Vec<RecordCounts>,
}

/// Takes a delivery in: its records are kept, its rows land, and then the watermark says so. The order is the guarantee.
/// Doing it again makes the same objects, and moves no watermark back.
///
/// # Errors
/// As [`land`]; and when the last record has no sequence number that could be a watermark.
pub async fn deliver(
    store: &dyn ObjectStore,
    catalog_history: &CatalogHistory,
    catalog: &Arc<Catalog>,
    delivery: Delivery<'_>,
) -> Result<Landed, LandingError> {
    let (Some(origin), Some(last)) = (delivery.origin(), delivery.records.last()) else {
        return Ok(Landed { objects: Vec::new(), counts: Vec::new() });
    };
    let passed: Sequence = last.sequence.parse()?;
    let kept = raw::put(store, &origin, delivery.records).await?;
    let landed = land(store, catalog_history, catalog, delivery, &kept).await?;
    watermark::advance(store, delivery.source, delivery.shard, &passed).await?;
    Ok(landed)
}

/// Cleans a delivery and puts its rows into the landing area. `raw` is where the records are kept. Doing it again
/// makes the same objects.
///
/// # Errors
/// When the store fails, or a batch cannot be encoded. Bad records are no error: they land in quarantine.
pub async fn land(
    store: &dyn ObjectStore,
    catalog_history: &CatalogHistory,
    catalog: &Arc<Catalog>,
    delivery: Delivery<'_>,
    raw: &Path,
) -> Result<Landed, LandingError> {
    land_with(store, catalog_history, catalog, delivery, raw, &[], None).await
}

/// As [`land`], for rows that take the place of the object `from`, which is removed after they have landed. They land under
/// names of their own, see [`crate::name::LandingName::in_place_of`].
///
/// # Errors
/// As [`land`].
pub async fn land_in_place_of(
    store: &dyn ObjectStore,
    catalog_history: &CatalogHistory,
    catalog: &Arc<Catalog>,
    delivery: Delivery<'_>,
    raw: &Path,
    from: &Path,
) -> Result<Landed, LandingError> {
    land_with(store, catalog_history, catalog, delivery, raw, &[], Some(from)).await
}

/// As [`land`]; `faults` are those of the records, in their order, that could not be cut out of their file, and `from` is the object
/// whose place the rows take, if they take any.
pub(crate) async fn land_with(
    store: &dyn ObjectStore,
    catalog_history: &CatalogHistory,
    catalog: &Arc<Catalog>,
    delivery: Delivery<'_>,
    raw: &Path,
    faults: &[Option<RecordError>],
    from: Option<&Path>,
) -> Result<Landed, LandingError> {
    let Some(origin) = delivery.origin() else {
        return Ok(Landed { objects: Vec::new(), counts: Vec::new() });
    };
    catalog_history.keep(store, catalog).await?;
    let intake = RecordCleaner::new(catalog.clone(), origin.arrived);
    let mut landing = Landing { store, origin: &origin, raw, from, intake, objects: Vec::new() };
    let feed = Feed::of(catalog, &delivery);
    for (number, record) in delivery.records.iter().enumerate() {
        landing.intake.set_arrived_at(record.arrived_at());
        match feed.kind {
            SourceKind::File => {
                let fault = faults.get(number).and_then(Option::as_ref);
                feed.push_cut(&mut landing, record, fault).await?;
            }
            SourceKind::Kinesis | SourceKind::Kafka { .. } => feed.push(&mut landing, record).await?,
        }
    }
    landing.put_all().await?;
    Ok(Landed { objects: landing.objects, counts: landing.intake.counts().cloned().collect() })
}

/// A delivery on its way into the landing area.
struct Landing<'a> {
    store: &'a dyn ObjectStore,
    origin: &'a Origin,
    raw: &'a Path,
    from: Option<&'a Path>,
    intake: RecordCleaner,
    objects: Vec<LandingObject>,
}

impl Landing<'_> {
    /// Puts what is clean, if it is enough. To be asked after each line: a few packed bytes may be millions of them.
    async fn put_enough(&mut self) -> Result<(), LandingError> {
        if self.intake.buffered_bytes() >= MAX_BUFFERED_BYTES { self.put_all().await } else { Ok(()) }
    }

    async fn put_all(&mut self) -> Result<(), LandingError> {
        let Self { store, origin, raw, from, .. } = *self;
        let puts = self.intake.drain().into_iter().map(|cleaned| async move {
            let contract = &cleaned.contract;
            object::put(store, &contract.name, contract.hash(), origin, raw, &cleaned.rows, from).await
        });
        let put: Vec<_> = futures::stream::iter(puts).buffered(CONCURRENCY).try_collect().await?;
        self.objects.extend(put);
        Ok(())
    }
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

/// What is known of all records of a delivery, and how each is cut into lines.
struct Feed<'a> {
    catalog: &'a Catalog,
    kind: SourceKind,
    /// What quarantine says about where a record came from; of a file, its name is added.
    source: String,
    /// The dataset that the name of the stream or topic tells.
    dataset: Option<&'a str>,
}

/// A record as its own producer made it.
#[derive(Clone, Copy)]
struct Single<'a> {
    key: &'a str,
    sequence: &'a str,
    data: &'a [u8],
}

impl<'a> Feed<'a> {
    fn of(catalog: &'a Catalog, delivery: &Delivery<'_>) -> Self {
        let kind = SourceKind::of_shard(delivery.shard);
        let Delivery { source, shard, .. } = delivery;
        let (source, dataset) = match kind {
            SourceKind::Kinesis => {
                let dataset = match catalog.route_stream(source) {
                    StreamRoute::Dataset(contract) => Some(contract),
                    StreamRoute::Shared | StreamRoute::Unknown => None,
                };
                (format!("kinesis/{source}/{shard}"), dataset)
            }
            SourceKind::Kafka { partition } => {
                (format!("kafka/{source}/{partition}"), catalog.route_topic(source))
            }
            SourceKind::File => ("file".to_owned(), None),
        };
        Self { catalog, kind, source, dataset: dataset.map(|contract| contract.name.as_str()) }
    }

    /// Takes a record apart as far as its producer has put it together, and pushes its lines.
    async fn push(&self, landing: &mut Landing<'_>, record: &RawRecord) -> Result<(), LandingError> {
        let data = record.data.as_bytes();
        let aggregate = if self.kind == SourceKind::Kinesis { Aggregate::parse(data) } else { None };
        let Some(aggregate) = aggregate else {
            let single = Single { key: &record.key, sequence: &record.sequence, data };
            return self.push_one(landing, single).await;
        };
        for (number, (key, data)) in aggregate.records().enumerate() {
            let sequence = format!("{}.{number}", record.sequence);
            self.push_one(landing, Single { key, sequence: &sequence, data }).await?;
        }
        Ok(())
    }

    /// Pushes a record that was cut out of a file. Its key is what [`crate::file::FileSource`] made of the file.
    async fn push_cut(
        &self,
        landing: &mut Landing<'_>,
        record: &RawRecord,
        fault: Option<&RecordError>,
    ) -> Result<(), LandingError> {
        let own = StreamKey::parse(&record.key);
        let hint = own.and_then(|key| key.dataset);
        let name = own.and_then(|key| key.client_key).unwrap_or_default();
        let source = format!("{}/{name}", self.source);
        let origin = RecordOrigin {
            source: &source,
            position: Position::Line(record.sequence.parse().unwrap_or_default()),
            record_id: own.map(|key| (key.request, key.index)),
        };
        let data = record.data.as_bytes();
        match fault {
            None => {
                landing.intake.push(data, hint, &origin);
            }
            Some(fault) => landing.intake.reject(data, hint, &origin, fault.reason, fault.detail.clone()),
        }
        landing.put_enough().await
    }

    /// Our own partition key tells the dataset and numbers the lines; a record of another producer is routed by its
    /// stream or topic, then by its key, then by its shape.
    async fn push_one(&self, landing: &mut Landing<'_>, record: Single<'_>) -> Result<(), LandingError> {
        let Single { key, sequence, data } = record;
        let own = StreamKey::parse(key)
            // Ingest may know a dataset before the cleaner does: what it named stays named. On a stream that has one
            // dataset the key is another producer's.
            .filter(|key| {
                self.dataset.is_none()
                    || key.dataset.is_none_or(|dataset| self.catalog.contract(dataset).is_some())
            })
            // A producer of a topic may use any key, also one that looks like ours.
            .filter(|_| !matches!(self.kind, SourceKind::Kafka { .. }))
            // Ingest counts the lines of a request; an index beyond all requests is another producer's, and numbers no lines.
            .filter(|key| key.index <= MOST_INDEX);
        let hint = match own {
            Some(key) => key.dataset,
            None => self
                .dataset
                .or_else(|| self.catalog.route_partition_key(key).map(|contract| contract.name.as_str())),
        };
        let source = self.source.as_str();
        let position = |line: u64| Position::Sequence { number: sequence, line };
        let unpacked = match compression::unpack(data) {
            Ok(unpacked) => unpacked,
            Err(why) => {
                let origin = RecordOrigin {
                    source,
                    position: position(1),
                    record_id: own.map(|key| (key.request, key.index)),
                };
                let reason = match why {
                    DecompressError::TooLarge => Reason::TooLarge,
                    DecompressError::Damaged(_) => Reason::Unreadable,
                };
                landing.intake.reject(data, hint, &origin, reason, why.detail());
                return landing.put_enough().await;
            }
        };
        let data = unpacked.as_ref();
        // Another producer may write one record over several lines; ours never does.
        let whole = own.is_none() && serde_json::from_slice::<IgnoredAny>(data).is_ok();
        // Bytes that begin like an aggregated record and are none have no lines.
        let whole = whole || aggregate::is_meant(data);
        let lines = data.split(|byte| *byte == b'\n' && !whole);
        for (number, line) in (0_u64..).zip(lines) {
            // A last line feed ends a line and begins none. A record of no bytes at all was acknowledged like any
            // other.
            if line.trim_ascii().is_empty() && !data.is_empty() {
                continue;
            }
            let origin = RecordOrigin {
                source,
                position: position(number + 1),
                record_id: own.map(|key| (key.request, key.index + number)),
            };
            landing.intake.push(line, hint, &origin);
            landing.put_enough().await?;
        }
        Ok(())
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
        let landed =
            land(&store, &CatalogHistory::default(), &catalog, delivery, &Path::from("raw/x")).await.unwrap();
        let again =
            land(&store, &CatalogHistory::default(), &catalog, delivery, &Path::from("raw/x")).await.unwrap();
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

    async fn rows_of(store: &InMemory, dataset: &str) -> arrow::array::RecordBatch {
        let objects = object::list(store, Some(dataset), 100).await.unwrap();
        assert_eq!(objects.len(), 1, "{dataset}: {objects:?}");
        object::read(store, &objects[0]).await.unwrap().unwrap().batches.remove(0)
    }

    fn texts(rows: &arrow::array::RecordBatch, column: &str) -> Vec<String> {
        let texts = rows.column_by_name(column).unwrap().as_string::<i32>();
        texts.iter().map(|text| text.unwrap_or_default().to_owned()).collect()
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        std::io::Write::write_all(&mut encoder, bytes).unwrap();
        encoder.finish().unwrap()
    }

    const USER: &str =
        r#"{"ind": 1, "first_name": "A", "last_name": "B", "age": 20, "date_joined": "2015-10-21 21:26:45"}"#;

    #[tokio::test]
    async fn what_producers_put_together_is_taken_apart_and_each_part_keeps_its_place() {
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let user = |ind: u32| USER.replace("\"ind\": 1", &format!("\"ind\": {ind}"));
        let lines = format!("{}\nnot json\n", user(1));
        let packed = gzip(lines.as_bytes());
        let broken = &packed[..packed.len() - 4];
        let inside =
            [("user", user(2)), ("user/r9/4", format!("{}\n{}", user(3), user(4))), ("pin", "{".into())];
        let aggregated = crate::aggregate::tests::pack(&inside);
        let mut damaged = aggregated.clone();
        damaged[20] ^= 1;
        let records = [
            record("user", 7, &packed),
            record("user", 8, &zstd::bulk::compress(user(5).as_bytes(), 3).unwrap()),
            record("user", 9, broken),
            record("anything", 10, &aggregated),
            record("user", 11, &damaged),
        ];
        let store = InMemory::new();
        let delivery = Delivery { source: "events", shard: "shardId-0", records: &records };
        let landed =
            land(&store, &CatalogHistory::default(), &catalog, delivery, &Path::from("raw/x")).await.unwrap();
        let again =
            land(&store, &CatalogHistory::default(), &catalog, delivery, &Path::from("raw/x")).await.unwrap();
        assert_eq!(landed.objects, again.objects, "the same delivery makes the same objects");

        assert_eq!(rows_of(&store, "user").await.num_rows(), 5);
        let rejects = rows_of(&store, "quarantine").await;
        let places: Vec<_> = texts(&rejects, "position").into_iter().zip(texts(&rejects, "reason")).collect();
        let expected = [
            ("7#2", "malformed_json"),
            ("9#1", "unreadable"),
            ("10.2#1", "malformed_json"),
            ("11#1", "invalid_utf8"),
        ];
        assert_eq!(places, expected.map(|(at, why)| (at.to_owned(), why.to_owned())));
        assert_eq!(texts(&rejects, "dataset")[2], "pin", "the key of the record inside tells its dataset");
    }

    /// Another producer may send any key, also one of our form whose lines cannot be counted on.
    #[tokio::test]
    async fn an_index_beyond_all_requests_is_no_key_of_ours() {
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let lines = format!("{USER}\n{}\n", USER.replace("\"ind\": 1", "\"ind\": 2"));
        for index in [MOST_INDEX, MOST_INDEX + 1, u64::MAX] {
            let store = InMemory::new();
            let records = [record(&format!("user/r1/{index}"), 7, lines.as_bytes())];
            let delivery = Delivery { source: "events", shard: "shardId-0", records: &records };
            land(&store, &CatalogHistory::default(), &catalog, delivery, &Path::from("raw/x")).await.unwrap();
            assert_eq!(rows_of(&store, "user").await.num_rows(), 2, "{index}");
        }
    }

    #[tokio::test]
    async fn a_topic_tells_the_dataset_of_its_records() {
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let records = [record("pin/r1/0", 41, USER.as_bytes()), record("", 42, b""), record("k", 43, b"[]")];
        let store = InMemory::new();
        let shard = crate::source::partition_shard(3);
        let delivery = Delivery { source: "0a1b2c3d4e5f.user", shard: &shard, records: &records };
        land(&store, &CatalogHistory::default(), &catalog, delivery, &Path::from("raw/x")).await.unwrap();
        assert_eq!(rows_of(&store, "user").await.num_rows(), 1);
        let rejects = rows_of(&store, "quarantine").await;
        assert_eq!(texts(&rejects, "source"), ["kafka/0a1b2c3d4e5f.user/3"; 2]);
        assert_eq!(texts(&rejects, "position"), ["42#1", "43#1"]);
        assert_eq!(texts(&rejects, "dataset"), ["user"; 2]);
    }
}
