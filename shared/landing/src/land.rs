//! Landing: records become cleaned rows in the landing area.
//!
//! The cleaner lands the batches of a stream. The compactor lands raw records again when their contract has changed.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use object_store::path::Path;
use pinlake_clean::RecordError;
use pinlake_clean::{Position, Reason, RecordCleaner, RecordCounts, RecordOrigin, find_nested_records};
use pinlake_payload::{DecodeError, Records};
use pinlake_schema::Catalog;
use pinlake_schema::stream_key::StreamKey;
use serde::de::IgnoredAny;

use crate::aggregate::{self, Aggregate};
use crate::catalog_history::CatalogHistory;
use crate::error::LandingError;
use crate::name::BatchId;
use crate::object::{self, LandingObject};
use crate::raw::{self, RawRecord};
use crate::sequence::Sequence;
use crate::source::RecordSource;
use crate::watermark;

/// Landing objects that are written concurrently.
const CONCURRENCY: usize = 8;
/// Limit of cleaned rows in memory, in bytes as [`RecordCleaner::buffered_bytes`] counts them. At the limit the rows
/// are written before more records are cleaned.
const MAX_BUFFERED_BYTES: usize = 64 << 20;
/// The highest index in a partition key of ingest. The lines of a record are numbered from the index on, and a record
/// has fewer lines than bytes, so their numbers do not overflow.
const MAX_INDEX: u64 = u64::MAX >> 1;
/// Limit of the decompressed data of a stream's record. Kinesis and Kafka accept about 1 MiB per record, and JSON
/// compresses about tenfold. The limit is per record and not per batch, so that a record is cleaned in the same way
/// whatever its batch.
const MAX_DATA_BYTES: usize = 16 << 20;
/// How far the number of an element is shifted in the index of its record. Records of a request have lower indexes, and
/// the data of a record has fewer elements than bytes.
const ELEMENT_SHIFT: u32 = 40;

/// A batch of records of one shard, in the order of their sequence numbers.
#[derive(Debug, Clone, Copy)]
pub struct RawBatch<'a> {
    /// Source of the records.
    pub source: &'a RecordSource,
    /// The records.
    pub records: &'a [RawRecord],
}

/// What landing a batch wrote.
#[derive(Debug, Clone, Default)]
pub struct LandingSummary {
    /// The landing objects, one or more for each dataset.
    pub objects: Vec<LandingObject>,
    /// Records and quarantined records by dataset.
    pub counts: Vec<RecordCounts>,
}

/// Lands a batch of a stream: writes its raw object, then its landing objects, then the watermark. This order is what
/// makes a watermark a guarantee. A repeated call writes the same objects and moves no watermark back.
///
/// # Errors
/// As [`land_rows`]; also when the sequence number of the last record is not a number.
pub async fn land_batch(
    store: &dyn ObjectStore,
    catalog_history: &CatalogHistory,
    catalog: &Arc<Catalog>,
    batch: RawBatch<'_>,
) -> Result<LandingSummary, LandingError> {
    let (Some(id), Some(last)) = (batch.id(), batch.records.last()) else {
        return Ok(LandingSummary::default());
    };
    let last: Sequence = last.sequence.parse()?;
    let raw = raw::put(store, &id, batch.records).await?;
    let landed = land_rows(store, catalog_history, catalog, batch, &raw).await?;
    watermark::advance(store, batch.source, &last).await?;
    Ok(landed)
}

/// Cleans the records of a batch and writes its landing objects. `raw` is the path of their raw object. A repeated call
/// writes the same objects.
///
/// # Errors
/// When the store fails, or rows cannot be encoded. Records that break their contract are no error: they land in
/// quarantine.
pub async fn land_rows(
    store: &dyn ObjectStore,
    catalog_history: &CatalogHistory,
    catalog: &Arc<Catalog>,
    batch: RawBatch<'_>,
    raw: &Path,
) -> Result<LandingSummary, LandingError> {
    land_with_faults(store, catalog_history, catalog, batch, raw, &[], None).await
}

/// As [`land_rows`], for rows that replace the object `replaced`, which the caller removes afterwards. Their names
/// differ from those of other objects, see
/// [`LandingName::for_replacement_of`](crate::name::LandingName::for_replacement_of).
///
/// # Errors
/// As [`land_rows`].
pub async fn land_replacement(
    store: &dyn ObjectStore,
    catalog_history: &CatalogHistory,
    catalog: &Arc<Catalog>,
    batch: RawBatch<'_>,
    raw: &Path,
    replaced: &Path,
) -> Result<LandingSummary, LandingError> {
    land_with_faults(store, catalog_history, catalog, batch, raw, &[], Some(replaced)).await
}

/// As [`land_rows`]. `faults` holds, for each record of a file, why it could not be read from the file, if it could
/// not. `replaced` is the object that the rows replace, if any.
///
/// # Errors
/// As [`land_rows`].
pub async fn land_with_faults(
    store: &dyn ObjectStore,
    catalog_history: &CatalogHistory,
    catalog: &Arc<Catalog>,
    batch: RawBatch<'_>,
    raw: &Path,
    faults: &[Option<RecordError>],
    replaced: Option<&Path>,
) -> Result<LandingSummary, LandingError> {
    let Some(id) = batch.id() else {
        return Ok(LandingSummary::default());
    };
    catalog_history.add(store, catalog).await?;
    let catalogs = catalog_history.recall(store).await?;
    let cleaner = RecordCleaner::new(catalog.clone(), id.arrived).with_keys_of_others(&catalogs);
    let mut writer = LandingWriter { store, batch: &id, raw, replaced, cleaner, objects: Vec::new() };
    let splitter = RecordSplitter::new(catalog, batch.source);
    for (number, record) in batch.records.iter().enumerate() {
        writer.cleaner.set_arrived_at(record.arrived_at());
        match batch.source {
            RecordSource::File { .. } => {
                let fault = faults.get(number).and_then(Option::as_ref);
                splitter.push_file_record(&mut writer, record, fault).await?;
            }
            RecordSource::Kinesis { .. } | RecordSource::Kafka { .. } => {
                splitter.push_stream_record(&mut writer, record).await?;
            }
        }
    }
    writer.write_all().await?;
    Ok(LandingSummary { objects: writer.objects, counts: writer.cleaner.counts().cloned().collect() })
}

/// Cleans records and writes the rows as landing objects.
struct LandingWriter<'a> {
    store: &'a dyn ObjectStore,
    batch: &'a BatchId,
    raw: &'a Path,
    replaced: Option<&'a Path>,
    cleaner: RecordCleaner,
    objects: Vec<LandingObject>,
}

impl LandingWriter<'_> {
    /// Writes the cleaned rows if they have reached the memory limit. Call it after each line: one compressed record
    /// can hold millions of lines.
    async fn write_if_full(&mut self) -> Result<(), LandingError> {
        if self.cleaner.buffered_bytes() >= MAX_BUFFERED_BYTES { self.write_all().await } else { Ok(()) }
    }

    async fn write_all(&mut self) -> Result<(), LandingError> {
        let Self { store, batch, raw, replaced, .. } = *self;
        let puts = self.cleaner.drain().into_iter().map(|cleaned| async move {
            let contract = &cleaned.contract;
            object::put(store, &contract.name, contract.hash(), batch, raw, &cleaned.rows, replaced).await
        });
        let written: Vec<_> = futures::stream::iter(puts).buffered(CONCURRENCY).try_collect().await?;
        self.objects.extend(written);
        Ok(())
    }
}

impl RawBatch<'_> {
    /// Returns the identification that object names are made from; `None` if the batch is empty.
    pub fn id(&self) -> Option<BatchId> {
        let (first, last) = (self.records.first()?, self.records.last()?);
        Some(BatchId {
            source: self.source.clone(),
            first: first.sequence.clone(),
            last: last.sequence.clone(),
            arrived: first.arrived_at(),
        })
    }
}

impl RawRecord {
    /// Returns when the record arrived at its source.
    pub fn arrived_at(&self) -> DateTime<Utc> {
        DateTime::from_timestamp_millis(self.arrived_ms).unwrap_or(DateTime::UNIX_EPOCH)
    }
}

/// Splits the records of a batch into lines and routes each line to its dataset.
struct RecordSplitter<'a> {
    catalog: &'a Catalog,
    source: &'a RecordSource,
    /// The text of `source`.
    source_text: String,
    /// The dataset that the name of the stream or topic selects.
    dataset: Option<&'a str>,
}

/// A record as its producer sent it: not aggregated with others.
#[derive(Clone, Copy)]
struct ProducerRecord<'a> {
    key: &'a str,
    sequence: &'a str,
    data: &'a [u8],
}

impl<'a> RecordSplitter<'a> {
    fn new(catalog: &'a Catalog, source: &'a RecordSource) -> Self {
        let dataset = source.route(catalog).map(|contract| contract.name.as_str());
        Self { catalog, source, source_text: source.to_string(), dataset }
    }

    /// Pushes a record of a stream. Splits it first if its producer has aggregated it.
    async fn push_stream_record(
        &self,
        writer: &mut LandingWriter<'_>,
        record: &RawRecord,
    ) -> Result<(), LandingError> {
        let data = record.data.as_bytes();
        let is_kinesis = matches!(self.source, RecordSource::Kinesis { .. });
        let aggregate = if is_kinesis { Aggregate::parse(data) } else { None };
        let Some(aggregate) = aggregate else {
            let record = ProducerRecord { key: &record.key, sequence: &record.sequence, data };
            return self.push_lines(writer, record).await;
        };
        for (number, (key, data)) in aggregate.records().enumerate() {
            let sequence = format!("{}.{number}", record.sequence);
            self.push_lines(writer, ProducerRecord { key, sequence: &sequence, data }).await?;
        }
        Ok(())
    }

    /// Pushes a record of a file. `FileSource` of the crate `pinlake-files` has put its file and dataset into its key.
    async fn push_file_record(
        &self,
        writer: &mut LandingWriter<'_>,
        record: &RawRecord,
        fault: Option<&RecordError>,
    ) -> Result<(), LandingError> {
        let key = StreamKey::parse(&record.key);
        let hint = key.and_then(|key| key.dataset);
        let name = key.and_then(|key| key.client_key).unwrap_or_default().to_owned();
        let source = RecordSource::File { name: Some(name) }.to_string();
        let origin = RecordOrigin {
            source: &source,
            position: Position::Line(record.sequence.parse().unwrap_or_default()),
            record_id: key.map(|key| (key.request, key.index)),
        };
        let data = record.data.as_bytes();
        match fault {
            // A record of a file is never nothing.
            None if data.trim_ascii().is_empty() => {
                writer.cleaner.push(data, hint, &origin);
            }
            None => {
                for found in Records::of_value(data, |name| self.catalog.reads_field(name)) {
                    let record_id = key.map(|key| (key.request, element_index(key.index, found.element)));
                    writer.cleaner.push(&found.bytes, hint, &RecordOrigin { record_id, ..origin });
                    writer.write_if_full().await?;
                }
            }
            Some(fault) => writer.cleaner.reject(data, hint, &origin, fault.reason, fault.detail.clone()),
        }
        writer.write_if_full().await
    }

    /// Pushes the lines of a record. A partition key of ingest names the dataset and numbers the lines. Records of
    /// other producers are routed by their stream or topic, then by their key, then by their shape.
    async fn push_lines(
        &self,
        writer: &mut LandingWriter<'_>,
        record: ProducerRecord<'_>,
    ) -> Result<(), LandingError> {
        let ProducerRecord { key, sequence, data } = record;
        let ingest_key = StreamKey::parse(key)
            // Ingest can know a dataset before the cleaner does, so a dataset that it has named stays. But on a stream
            // of one dataset, a key with an unknown dataset is another producer's.
            .filter(|key| {
                self.dataset.is_none()
                    || key.dataset.is_none_or(|dataset| self.catalog.contract(dataset).is_some())
            })
            // Ingest writes to Kinesis only. A producer of a topic can use any key, even one in the form of ingest's.
            .filter(|_| !matches!(self.source, RecordSource::Kafka { .. }))
            // Ingest never sends an index above the limit.
            .filter(|key| key.index <= MAX_INDEX);
        let hint = match ingest_key {
            Some(key) => key.dataset,
            None => self
                .dataset
                .or_else(|| self.catalog.route_partition_key(key).map(|contract| contract.name.as_str())),
        };
        let source = self.source_text.as_str();
        let position = |line: u64| Position::Sequence { number: sequence, line };
        let decoded = match pinlake_payload::decode(data, MAX_DATA_BYTES) {
            Ok(decoded) => decoded,
            Err(error) => {
                let origin = RecordOrigin {
                    source,
                    position: position(1),
                    record_id: ingest_key.map(|key| (key.request, key.index)),
                };
                let reason = match error {
                    DecodeError::TooLarge(_) => Reason::TooLarge,
                    DecodeError::Damaged(_) => Reason::Unreadable,
                };
                writer.cleaner.reject(data, hint, &origin, reason, error.to_string());
                return writer.write_if_full().await;
            }
        };
        let data = decoded.as_ref();
        // Other producers can send one JSON value over several lines; ingest never does.
        let is_one_value = ingest_key.is_none() && serde_json::from_slice::<IgnoredAny>(data).is_ok();
        let is_field = |name: &str| self.catalog.reads_field(name);
        // A malformed aggregate is one record and has no lines.
        let records = match is_one_value || aggregate::has_magic(data) {
            true => Records::of_value(data, is_field),
            false => Records::of_lines(data, is_field),
        };
        let contract = hint.and_then(|dataset| self.catalog.contract(dataset));
        let path = contract.and_then(|contract| contract.file.records.as_ref());
        // The elements of earlier arrays, beyond the first of each: they continue the numbering of the lines.
        let mut extra = 0;
        // The elements of the present line, those of arrays inside of its elements included.
        let (mut line, mut elements) = (0, 0);
        for record in records {
            if record.line != line {
                (line, elements) = (record.line, 0);
            }
            let inside = path.and_then(|path| find_nested_records(&record.bytes, path));
            let whole = [&*record.bytes];
            for bytes in inside.as_deref().unwrap_or(&whole) {
                extra += u64::from(elements > 0);
                let origin = RecordOrigin {
                    source,
                    position: position(line + 1 + extra),
                    record_id: ingest_key.map(|key| (key.request, element_index(key.index + line, elements))),
                };
                elements += 1;
                writer.cleaner.push(bytes, hint, &origin);
                writer.write_if_full().await?;
            }
        }
        // A blank line is no record. But an empty record was acknowledged like any other.
        if data.is_empty() {
            let record_id = ingest_key.map(|key| (key.request, key.index));
            writer.cleaner.push(data, hint, &RecordOrigin { source, position: position(1), record_id });
            writer.write_if_full().await?;
        }
        Ok(())
    }
}

/// The index of an element of an array that is one record of its request. The first element has the index of the
/// record.
pub fn element_index(index: u64, element: u64) -> u64 {
    index.wrapping_add(element << ELEMENT_SHIFT)
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
    async fn records_land_by_dataset_and_invalid_ones_in_quarantine() {
        let store = InMemory::new();
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let geo = br#"{"ind": 1, "timestamp": "2020-08-28 03:52:47", "latitude": 1.5, "longitude": 2.5, "country": "Peru"}"#;
        let two = [&geo[..], b"\n{\"ind\": 2, \"country\": \"Peru\"}\n"].concat();
        let pretty = b"{\n \"ind\": 3,\n \"first_name\": \"A\", \"last_name\": \"B\", \"age\": 20\n}";
        let records = [
            record("geo/r1/0", 7, &two),
            record("-/r2/0", 8, br#"{"index": 4, "unique_id": "u", "category": "art", "poster_name": "P"}"#),
            record("partition-1", 9, pretty),
            record("geo/r3/0", 10, b""),
            record("user", 11, b"not json"),
        ];
        land_twice(&store, &catalog, &records).await;

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

    /// Lands a batch, and checks that landing it again makes the same objects.
    async fn land_twice(store: &InMemory, catalog: &Arc<Catalog>, records: &[RawRecord]) {
        let source = RecordSource::from_path_segments("events", "shardId-0");
        let batch = RawBatch { source: &source, records };
        let (history, raw) = (CatalogHistory::default(), Path::from("raw/x"));
        let landed = land_rows(store, &history, catalog, batch, &raw).await.unwrap();
        let again = land_rows(store, &CatalogHistory::default(), catalog, batch, &raw).await.unwrap();
        assert_eq!(landed.objects, again.objects, "a repeated batch makes the same objects");
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
    async fn compressed_and_aggregated_records_are_split_and_keep_their_positions() {
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let user = |ind: u32| USER.replace("\"ind\": 1", &format!("\"ind\": {ind}"));
        let lines = format!("{}\nnot json\n", user(1));
        let compressed = gzip(lines.as_bytes());
        let broken = &compressed[..compressed.len() - 4];
        let inside =
            [("user", user(2)), ("user/r9/4", format!("{}\n{}", user(3), user(4))), ("pin", "{".into())];
        let aggregated = crate::aggregate::tests::pack(&inside);
        let mut damaged = aggregated.clone();
        damaged[20] ^= 1;
        let records = [
            record("user", 7, &compressed),
            record("user", 8, &zstd::bulk::compress(user(5).as_bytes(), 3).unwrap()),
            record("user", 9, broken),
            record("anything", 10, &aggregated),
            record("user", 11, &damaged),
        ];
        let store = InMemory::new();
        land_twice(&store, &catalog, &records).await;

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
        assert_eq!(texts(&rejects, "dataset")[2], "pin", "the inner record's own key selects the dataset");
    }

    /// The records of one value, in all forms that `pinlake_payload` knows, under a key of ingest and another one.
    #[tokio::test]
    async fn the_same_data_gives_the_same_records_in_every_form() {
        use base64::Engine as _;
        let encode = |bytes: &[u8]| base64::engine::general_purpose::STANDARD.encode(bytes).into_bytes();
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let second = USER.replace("\"ind\": 1", "\"ind\": 2");
        let (lines, array) = (format!("{USER}\n{second}\n"), format!("[{USER}, {second}]"));
        let wrapped = format!("{{\"value\": {array}}}");
        let envelope = format!("{{\"records\": [{{\"value\": {USER}}}, {{\"Data\": {second}}}]}}");
        for text in [&lines, &array, &wrapped, &envelope] {
            for data in [
                text.as_bytes().to_vec(),
                gzip(text.as_bytes()),
                encode(text.as_bytes()),
                encode(&gzip(text.as_bytes())),
                serde_json::to_vec(text).unwrap(),
            ] {
                for key in ["user", "user/r1/0", "partition-1"] {
                    let store = InMemory::new();
                    land_twice(&store, &catalog, &[record(key, 7, &data)]).await;
                    assert_eq!(rows_of(&store, "user").await.num_rows(), 2, "{text} {key}");
                    assert_eq!(object::list(&store, None, 9).await.unwrap().len(), 1, "{text} {key}");
                }
            }
        }
    }

    #[tokio::test]
    async fn elements_of_an_array_have_places_and_identities_of_their_own() {
        let contract =
            "name = \"x\"\nversion = 1\nidentity = \"record\"\n[[column]]\nname = \"a\"\ntype = \"int64\"";
        let catalog = Arc::new(Catalog::from_files([("x.toml".to_owned(), contract.to_owned())]).unwrap());
        let data = b"[{\"a\":1},{\"a\":1},7,{\"b\":1}]";
        let store = InMemory::new();
        let records = [record("x/r/0", 7, data), record("x/r/1", 8, data)];
        land_twice(&store, &catalog, &records).await;
        let rows = rows_of(&store, "x").await;
        let keys = rows.column_by_name(pinlake_schema::KEY_COLUMN).unwrap().as_fixed_size_binary();
        let keys: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!(keys.len(), 4, "equal elements are four records");
        let rejects = rows_of(&store, "quarantine").await;
        assert_eq!(texts(&rejects, "position"), ["7#3", "7#4", "8#3", "8#4"]);
        assert_eq!(texts(&rejects, "reason"), ["not_an_object", "nothing_found"].repeat(2));
    }

    #[tokio::test]
    async fn records_inside_a_message_have_identities_of_their_own() {
        let contract = "name = \"x\"\nversion = 1\nidentity = \"record\"\n[file]\nrecords = \"data.items[]\"\n\
                        skip_when = { a = \"total\" }\n[[column]]\nname = \"a\"\ntype = \"int64\"";
        let catalog = Arc::new(Catalog::from_files([("x.toml".to_owned(), contract.to_owned())]).unwrap());
        let document = |items: &str| format!("{{\"id\":1,\"data\":{{\"items\":[{items}]}}}}");
        let two = document("{\"a\":1},{\"a\":1},{\"a\":\"total\"},7");
        let lines = format!("{two}\n[{},{{\"a\":2}}]\n{}\n", document("{\"a\":1}"), document(""));
        let store = InMemory::new();
        land_twice(
            &store,
            &catalog,
            &[record("x/r/0", 7, lines.as_bytes()), record("x/r/9", 8, two.as_bytes())],
        )
        .await;
        let rows = rows_of(&store, "x").await;
        let keys = rows.column_by_name(pinlake_schema::KEY_COLUMN).unwrap().as_fixed_size_binary();
        let keys: std::collections::BTreeSet<_> = keys.iter().collect();
        assert_eq!((rows.num_rows(), keys.len()), (6, 6), "equal records are records of their own");
        let rejects = rows_of(&store, "quarantine").await;
        assert_eq!(texts(&rejects, "position"), ["7#4", "8#4"]);
        assert_eq!(texts(&rejects, "reason"), ["not_an_object", "not_an_object"]);
    }

    /// Another producer can send a key in the form of ingest's whose index would overflow.
    #[tokio::test]
    async fn a_key_with_an_index_above_the_limit_is_not_a_key_of_ingest() {
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let lines = format!("{USER}\n{}\n", USER.replace("\"ind\": 1", "\"ind\": 2"));
        for index in [MAX_INDEX, MAX_INDEX + 1, u64::MAX] {
            let store = InMemory::new();
            let records = [record(&format!("user/r1/{index}"), 7, lines.as_bytes())];
            let source = RecordSource::from_path_segments("events", "shardId-0");
            let batch = RawBatch { source: &source, records: &records };
            land_rows(&store, &CatalogHistory::default(), &catalog, batch, &Path::from("raw/x"))
                .await
                .unwrap();
            assert_eq!(rows_of(&store, "user").await.num_rows(), 2, "{index}");
        }
    }

    #[tokio::test]
    async fn the_name_of_a_topic_selects_the_dataset() {
        let catalog = Arc::new(Catalog::embedded().unwrap());
        let records = [record("pin/r1/0", 41, USER.as_bytes()), record("", 42, b""), record("k", 43, b"[]")];
        let store = InMemory::new();
        let source = RecordSource::Kafka { topic: "0a1b2c3d4e5f.user".to_owned(), partition: 3 };
        let batch = RawBatch { source: &source, records: &records };
        land_rows(&store, &CatalogHistory::default(), &catalog, batch, &Path::from("raw/x")).await.unwrap();
        assert_eq!(rows_of(&store, "user").await.num_rows(), 1);
        let rejects = rows_of(&store, "quarantine").await;
        assert_eq!(texts(&rejects, "source"), ["kafka/0a1b2c3d4e5f.user/3"; 2]);
        assert_eq!(texts(&rejects, "position"), ["42#1", "43#1"]);
        assert_eq!(texts(&rejects, "dataset"), ["user"; 2]);
    }
}
