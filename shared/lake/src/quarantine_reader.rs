//! Reads quarantine for people: counts by dataset and reason, and single records. Only the columns that are needed are
//! fetched, so it is also possible where no query engine is.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BinaryHeap};
use std::ops::Range;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, RecordBatch};
use arrow::datatypes::{SchemaRef, TimestampMicrosecondType};
use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use futures::{FutureExt, Stream, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::arrow_reader::{ArrowReaderOptions, RowSelection};
use parquet::arrow::async_reader::AsyncFileReader;
use parquet::arrow::{ParquetRecordBatchStreamBuilder, ProjectionMask};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::metadata::{ParquetMetaData, ParquetMetaDataReader};
use pinlake_schema::{Catalog, Contract};

use crate::data_file::{self, DataFile};
use crate::error::LakeError;
use crate::partition_values::PartitionValues;
use crate::quarantine::RESOLVED_AT;
use crate::tables::Tables;

/// Data files that are read at the same time.
const CONCURRENCY: usize = 8;
/// Bytes at the end of a file that are fetched first. The footer is rarely larger.
const FOOTER_BYTES: usize = 32 << 10;
/// Rows that are decoded at once.
const BATCH_ROWS: usize = 4096;
/// Limit of the bytes of a record that are returned.
pub const MAX_SHOWN_BYTES: usize = 8 << 10;

/// What unresolved records are counted by.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct QuarantineGroup {
    /// The dataset; none if no dataset accepts the records.
    pub dataset: Option<String>,
    /// The reason code.
    pub reason: String,
    /// The hour of their arrival; none if it is not known.
    pub hour: Option<DateTime<Utc>>,
}

/// Numbers of unresolved records.
pub type QuarantineCounts = BTreeMap<QuarantineGroup, u64>;

/// A quarantined record.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedRecord {
    /// The dataset that it was meant for, if one is known.
    pub dataset: Option<String>,
    /// The reason code.
    pub reason: String,
    /// What is wrong, in words.
    pub detail: Option<String>,
    /// Where it came from.
    pub source: Option<String>,
    /// Its place there.
    pub position: Option<String>,
    /// When it arrived.
    pub arrived_at: Option<DateTime<Utc>>,
    /// Its bytes, unchanged; the first [`MAX_SHOWN_BYTES`] if it is longer.
    pub raw: Bytes,
    /// How many bytes it has.
    pub size: usize,
}

/// Counts the unresolved records: see [`Lake::count_quarantined`](crate::Lake::count_quarantined).
pub(crate) async fn count(tables: &Tables, catalog: &Catalog) -> Result<QuarantineCounts, LakeError> {
    let files = tables.get(catalog.quarantine()).data_files().await?;
    let place = Place::new(tables, catalog.quarantine());
    let counted = futures::stream::iter(files)
        .map(async |file| {
            let columns = ["dataset", "reason", "arrived_at", RESOLVED_AT];
            let batches = place.read(&file, &columns, None).await?;
            let mut counts = QuarantineCounts::new();
            let mut batches = std::pin::pin!(batches);
            while let Some(batch) = batches.try_next().await? {
                let [dataset, reason, arrived_at, resolved_at] = columns_of(&batch)?;
                for row in (0..batch.num_rows()).filter(|row| resolved_at.is_null(*row)) {
                    let group = QuarantineGroup {
                        dataset: text(dataset, row),
                        reason: text(reason, row).unwrap_or_default(),
                        hour: time(arrived_at, row).and_then(to_hour),
                    };
                    *counts.entry(group).or_default() += 1;
                }
            }
            Ok::<_, LakeError>(counts)
        })
        .buffer_unordered(CONCURRENCY);
    let add = async |mut sum: QuarantineCounts, counts: QuarantineCounts| {
        for (key, records) in counts {
            *sum.entry(key).or_default() += records;
        }
        Ok(sum)
    };
    counted.try_fold(QuarantineCounts::new(), add).await
}

/// Lists records: see [`Lake::list_quarantined`](crate::Lake::list_quarantined).
pub(crate) async fn list(
    tables: &Tables,
    catalog: &Catalog,
    is_selected: impl Fn(Option<&str>) -> bool,
    limit: usize,
) -> Result<Vec<QuarantinedRecord>, LakeError> {
    let files = tables.get(catalog.quarantine()).data_files().await?;
    let place = Place::new(tables, catalog.quarantine());
    // First the rows are chosen by small columns, then their large ones are fetched.
    let mut newest = BinaryHeap::new();
    for (index, file) in files.iter().enumerate() {
        let batches = place.read(file, &["dataset", "arrived_at", RESOLVED_AT], None).await?;
        let mut batches = std::pin::pin!(batches);
        let mut first = 0;
        while let Some(batch) = batches.try_next().await? {
            let [dataset, arrived_at, resolved_at] = columns_of(&batch)?;
            for row in (0..batch.num_rows()).filter(|row| resolved_at.is_null(*row)) {
                let dataset = dataset.is_valid(row).then(|| dataset.as_string::<i32>().value(row));
                if is_selected(dataset) {
                    newest.push(Reverse((micros(arrived_at, row), index, first + row)));
                }
                if newest.len() > limit {
                    newest.pop();
                }
            }
            first += batch.num_rows();
        }
    }
    let mut rows_of_files: BTreeMap<usize, Vec<usize>> = BTreeMap::new();
    for Reverse((_, index, row)) in newest {
        rows_of_files.entry(index).or_default().push(row);
    }
    let mut records = Vec::new();
    for (index, mut rows) in rows_of_files {
        rows.sort_unstable();
        let Some(file) = files.get(index) else { continue };
        let columns = ["dataset", "reason", "detail", "source", "position", "arrived_at", "raw"];
        let batches = place.read(file, &columns, Some(&rows)).await?;
        let mut batches = std::pin::pin!(batches);
        while let Some(batch) = batches.try_next().await? {
            let columns = columns_of(&batch)?;
            records.extend((0..batch.num_rows()).map(|row| record_at(&columns, row)));
        }
    }
    records.sort_by(|one, other| {
        let place = |record: &QuarantinedRecord| (record.source.clone(), record.position.clone());
        other.arrived_at.cmp(&one.arrived_at).then_with(|| place(one).cmp(&place(other)))
    });
    Ok(records)
}

/// Fetches parts of an object. The Parquet library deprecates its own reader and advises implementing one.
struct RangeReader {
    store: Arc<dyn ObjectStore>,
    path: Path,
    size: u64,
}

impl AsyncFileReader for RangeReader {
    fn get_bytes(&mut self, range: Range<u64>) -> BoxFuture<'_, ParquetResult<Bytes>> {
        self.store.get_range(&self.path, range).map(|got| got.map_err(external)).boxed()
    }

    fn get_byte_ranges(&mut self, ranges: Vec<Range<u64>>) -> BoxFuture<'_, ParquetResult<Vec<Bytes>>> {
        async move { self.store.get_ranges(&self.path, &ranges).await.map_err(external) }.boxed()
    }

    fn get_metadata<'a>(
        &'a mut self,
        _: Option<&'a ArrowReaderOptions>,
    ) -> BoxFuture<'a, ParquetResult<Arc<ParquetMetaData>>> {
        async move {
            let size = self.size;
            let reader = ParquetMetaDataReader::new().with_prefetch_hint(Some(FOOTER_BYTES));
            Ok(Arc::new(reader.load_and_finish(self, size).await?))
        }
        .boxed()
    }
}

fn external(error: object_store::Error) -> ParquetError {
    ParquetError::External(Box::new(error))
}

/// Where the data files of quarantine are, and their columns.
struct Place<'a> {
    tables: &'a Tables,
    root: Path,
    schema: SchemaRef,
}

impl<'a> Place<'a> {
    fn new(tables: &'a Tables, contract: &Arc<Contract>) -> Self {
        Self { tables, root: tables.get(contract).root().clone(), schema: contract.table_schema() }
    }

    /// Reads columns of all rows of a data file, or of these rows, which are ascending. A column that the file does not
    /// have is null.
    async fn read(
        &self,
        file: &DataFile,
        columns: &[&str],
        rows: Option<&[usize]>,
    ) -> Result<impl Stream<Item = Result<RecordBatch, LakeError>> + use<>, LakeError> {
        let path = data_file::absolute_path(&self.root, &file.path);
        let reader = RangeReader { store: self.tables.store.clone(), path: path.clone(), size: file.size };
        let builder =
            ParquetRecordBatchStreamBuilder::new(reader).await.map_err(LakeError::damaged(&path))?;
        let mask = ProjectionMask::columns(builder.parquet_schema(), columns.iter().copied());
        let mut builder = builder.with_projection(mask).with_batch_size(BATCH_ROWS);
        if let Some(rows) = rows {
            let total = usize::try_from(builder.metadata().file_metadata().num_rows()).unwrap_or_default();
            let ranges = rows.iter().map(|row| *row..row + 1);
            builder = builder.with_row_selection(RowSelection::from_consecutive_ranges(ranges, total));
        }
        let indices = columns.iter().map(|name| self.schema.index_of(name)).collect::<Result<Vec<_>, _>>();
        let wanted = indices.and_then(|indices| self.schema.project(&indices));
        let wanted = Arc::new(wanted.map_err(LakeError::damaged(&path))?);
        let batches = builder.build().map_err(LakeError::damaged(&path))?;
        Ok(batches.map(move |batch| {
            let batch = batch.map_err(LakeError::damaged(&path))?;
            data_file::conform(&batch, &wanted, &PartitionValues::new()).map_err(LakeError::damaged(&path))
        }))
    }
}

fn columns_of<const N: usize>(batch: &RecordBatch) -> Result<[&ArrayRef; N], LakeError> {
    let columns: Vec<&ArrayRef> = batch.columns().iter().collect();
    columns.try_into().map_err(|columns: Vec<_>| {
        LakeError::encode(pinlake_schema::QUARANTINE)(format!("{} columns instead of {N}", columns.len()))
    })
}

fn text(column: &ArrayRef, row: usize) -> Option<String> {
    column.is_valid(row).then(|| column.as_string::<i32>().value(row).to_owned())
}

fn micros(column: &ArrayRef, row: usize) -> Option<i64> {
    column.is_valid(row).then(|| column.as_primitive::<TimestampMicrosecondType>().value(row))
}

fn time(column: &ArrayRef, row: usize) -> Option<DateTime<Utc>> {
    micros(column, row).and_then(DateTime::from_timestamp_micros)
}

/// The beginning of the hour.
fn to_hour(at: DateTime<Utc>) -> Option<DateTime<Utc>> {
    DateTime::from_timestamp(at.timestamp() - at.timestamp().rem_euclid(3600), 0)
}

fn record_at(columns: &[&ArrayRef; 7], row: usize) -> QuarantinedRecord {
    let [dataset, reason, detail, source, position, arrived_at, raw] = columns;
    let raw = if raw.is_valid(row) { raw.as_binary::<i32>().value(row) } else { &[] };
    QuarantinedRecord {
        dataset: text(dataset, row),
        reason: text(reason, row).unwrap_or_default(),
        detail: text(detail, row),
        source: text(source, row),
        position: text(position, row),
        arrived_at: time(arrived_at, row),
        raw: Bytes::copy_from_slice(&raw[..raw.len().min(MAX_SHOWN_BYTES)]),
        size: raw.len(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lake;
    use crate::tests::support::{env, visits};
    use object_store::memory::InMemory;
    use pinlake_clean::{Position, RecordCleaner, RecordOrigin};

    async fn quarantine(lake: &Lake, catalog: &Arc<Catalog>, minute: u32, records: &[&str]) {
        let at = format!("2022-10-19T11:{minute:02}:00Z").parse().unwrap();
        let mut cleaner = RecordCleaner::new(catalog.clone(), at);
        for (line, record) in (1..).zip(records) {
            let origin = RecordOrigin { source: "test", position: Position::Line(line), record_id: None };
            let hint = (!record.contains("other")).then_some("visit");
            cleaner.push(record.as_bytes(), hint, &origin);
        }
        for cleaned in cleaner.drain() {
            lake.insert(catalog, &cleaned.contract, &[cleaned.rows]).await.unwrap();
        }
    }

    #[tokio::test]
    async fn records_are_counted_and_listed_newest_first_without_resolved_ones() {
        let lake = Lake::new(Arc::new(InMemory::new()), env(1));
        let (broken, fixed) = (visits(""), visits("null = [\"home\"]"));
        assert!(lake.count_quarantined(&broken).await.unwrap().is_empty());
        assert!(lake.list_quarantined(&broken, |_| true, 5).await.unwrap().is_empty());
        let large = format!(r#"{{"visitor": "{}"}}"#, "x".repeat(2 * MAX_SHOWN_BYTES));
        quarantine(&lake, &broken, 1, &[r#"{"visitor": 1, "page": "home"}"#, r#"{"visitor": "a"}"#]).await;
        quarantine(&lake, &broken, 2, &[r#"{"other": 1}"#, &large]).await;

        let counts = lake.count_quarantined(&broken).await.unwrap();
        let wrong = QuarantineGroup {
            dataset: Some("visit".to_owned()),
            reason: "wrong_type".to_owned(),
            hour: Some("2022-10-19T11:00:00Z".parse().unwrap()),
        };
        assert_eq!((counts[&wrong], counts.values().sum::<u64>()), (3, 4), "{counts:?}");
        let newest = lake.list_quarantined(&broken, |_| true, 3).await.unwrap();
        assert_eq!(newest.len(), 3);
        assert!(newest.is_sorted_by(|one, other| one.arrived_at >= other.arrived_at), "{newest:?}");
        assert_eq!(newest[0].raw, r#"{"other": 1}"#);
        assert_eq!((newest[1].raw.len(), newest[1].size), (MAX_SHOWN_BYTES, large.len()));
        let unrouted = lake.list_quarantined(&broken, |dataset| dataset.is_none(), 9).await.unwrap();
        assert_eq!(unrouted.len(), 1);

        assert_eq!(lake.redrive(&fixed, None).await.unwrap().resolved, 1);
        assert_eq!(lake.count_quarantined(&fixed).await.unwrap()[&wrong], 2);
        let left = lake.list_quarantined(&fixed, |dataset| dataset == Some("visit"), 9).await.unwrap();
        assert_eq!(left.len(), 2);
        assert!(left.iter().all(|record| !record.raw.ends_with(b"\"home\"}")));
    }
}
