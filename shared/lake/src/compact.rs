//! Compaction: inserts the landing objects of a dataset into its table.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use pinlake_landing::land::{RawBatch, land_replacement};
use pinlake_landing::object::{self, LandingObject};
use pinlake_landing::sequence::Sequence;
use pinlake_landing::source::RecordSource;
use pinlake_landing::{LandingError, raw};
use pinlake_schema::{Catalog, Contract};
use tokio::time::Instant;

use crate::error::LakeError;
use crate::reconcile::insert_and_reconcile;
use crate::table::Table;
use crate::tables::Tables;

/// Landing objects that are read at the same time. Most are small, and on S3 each read takes tens of milliseconds.
const CONCURRENCY: usize = 64;
/// Shards in the log line of a commit.
const MAX_LOGGED_SHARDS: usize = 8;
/// A compactor that finds another one working on the same objects skips up to this many commits of objects.
const MAX_SKIPPED_COMMITS: usize = 8;

/// Limits of one compaction.
#[derive(Debug, Clone, Copy)]
pub struct CompactionLimits {
    /// Landing objects of one commit.
    pub objects: usize,
    /// Stored bytes of one commit.
    pub bytes: u64,
    /// Bytes in memory of one commit's rows: several times the stored bytes, and far more if texts repeat. The object
    /// that exceeds it is the last one.
    pub row_bytes: usize,
    /// No commit begins after this time.
    pub time: Duration,
}

impl Default for CompactionLimits {
    fn default() -> Self {
        // A request to S3 lists 1,000 objects: these, and one more that shows that there are others.
        Self { objects: 999, bytes: 64 << 20, row_bytes: 256 << 20, time: Duration::from_secs(30) }
    }
}

/// What one compaction did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompactionSummary {
    /// Rows of the landing objects: `read = inserted + superseded + duplicates + outdated + deleted`.
    pub read: u64,
    /// Rows that are new in the table.
    pub inserted: u64,
    /// Rows that took the place of rows with fewer columns, or of earlier records.
    pub superseded: u64,
    /// Rows of records that are earlier than the table's.
    pub outdated: u64,
    /// Rows that deleted a row, or keep an earlier record out.
    pub deleted: u64,
    /// Rows that the table already had, or that landed twice.
    pub duplicates: u64,
    /// Landing objects that were inserted and removed.
    pub objects: u64,
    /// Landing objects of another contract hash that were cleaned again from their raw records.
    pub cleaned_again: u64,
    /// Small data files of the table that were merged.
    pub merged_files: u64,
    /// Landing objects that could not be read and were moved to `failed/`.
    pub failed: u64,
    /// When the first record of the rows arrived at its source, if the landing objects say so.
    pub oldest_arrival: Option<DateTime<Utc>>,
    /// Whether landing objects are left.
    pub more: bool,
}

impl CompactionSummary {
    /// Adds up the summaries of two compactions of a dataset, of which `later` was the second.
    pub fn followed_by(self, later: Self) -> Self {
        Self {
            read: self.read + later.read,
            inserted: self.inserted + later.inserted,
            superseded: self.superseded + later.superseded,
            outdated: self.outdated + later.outdated,
            deleted: self.deleted + later.deleted,
            duplicates: self.duplicates + later.duplicates,
            objects: self.objects + later.objects,
            cleaned_again: self.cleaned_again + later.cleaned_again,
            merged_files: self.merged_files + later.merged_files,
            failed: self.failed + later.failed,
            oldest_arrival: self.oldest_arrival.into_iter().chain(later.oldest_arrival).min(),
            more: later.more,
        }
    }
}

/// What an insert of landing objects did.
struct InsertedObjects {
    /// How many of them were inserted and removed, from the first one on.
    count: usize,
    /// None of their rows was new: another compactor probably works on the same objects.
    is_contended: bool,
    /// They were not inserted but cleaned again, for keys that they do not bring.
    are_cleaned_again: bool,
}

/// Compacts a dataset: see [`Lake::compact`](crate::Lake::compact).
///
/// # Errors
/// See [`LakeError`].
pub(crate) async fn compact(
    tables: &Tables,
    catalog: &Arc<Catalog>,
    dataset: &str,
    limits: CompactionLimits,
) -> Result<CompactionSummary, LakeError> {
    let started = Instant::now();
    let contract = catalog.contract(dataset);
    if contract.is_some_and(|contract| contract.broken().is_some()) {
        // They wait for a contract that can be used. Cleaned again now, they would be quarantined.
        return Ok(CompactionSummary::default());
    }
    let mut compaction = Compaction { tables, catalog, limits, summary: CompactionSummary::default() };
    // Everything up to this path was inserted. Listing after it skips the delete markers before it on S3.
    let mut after: Option<Path> = None;
    let mut skip = 0;
    loop {
        let max_listed = skip + limits.objects + 1;
        let page = object::list_page(&*tables.store, Some(dataset), after.as_ref(), max_listed).await?;
        let skipped = skip.min(page.objects.len().saturating_sub(limits.objects));
        let (selected, rest) = split_at_limits(&page.objects[skipped..], &limits);
        // When the listing ends, it starts again from the beginning, for objects that were skipped or have landed
        // since.
        let is_from_start = after.is_none() && skipped == 0;
        after = selected.iter().map(|object| &object.path).max().cloned();
        after = after.filter(|_| page.is_in_order && !rest.is_empty());
        let mut has_more = !(is_from_start && rest.is_empty());
        let (current, stale): (Vec<_>, Vec<_>) = selected.iter().cloned().partition(|object| {
            contract.is_some_and(|contract| object.name.contract_hash == contract.hash())
        });
        for object in &stale {
            compaction.clean_again(object).await?;
        }
        skip = 0;
        if let Some(contract) = contract.filter(|_| !current.is_empty()) {
            let inserted = compaction.insert_objects(contract, &current).await?;
            if inserted.count < current.len() || inserted.are_cleaned_again {
                (after, has_more) = (None, true);
            }
            if inserted.is_contended {
                // Otherwise both would read the same objects, and one of them would insert nothing.
                skip = limits.objects * (1 + tables.rng().below(MAX_SKIPPED_COMMITS));
            }
        }
        // Objects that were cleaned again have landed again.
        compaction.summary.more = has_more || !stale.is_empty();
        if !compaction.summary.more || started.elapsed() >= limits.time {
            break;
        }
    }
    let mut summary = compaction.summary;
    if let Some(contract) = contract.filter(|_| summary.inserted > 0 && !summary.more) {
        // The random part keeps concurrent compactors from merging the same files.
        let min_files = tables.maintenance.min_files_to_merge;
        let min_files = min_files + tables.rng().below(min_files / 2);
        summary.merged_files = merge_small_files(&tables.get(contract), min_files).await;
    }
    Ok(summary)
}

/// A compaction in progress.
struct Compaction<'a> {
    tables: &'a Tables,
    catalog: &'a Arc<Catalog>,
    limits: CompactionLimits,
    summary: CompactionSummary,
}

impl Compaction<'_> {
    /// Inserts the rows of landing objects, up to the limit of row bytes, and removes these objects.
    async fn insert_objects(
        &mut self,
        contract: &Arc<Contract>,
        objects: &[LandingObject],
    ) -> Result<InsertedObjects, LakeError> {
        let (batches, arrived, count) = self.read_objects(objects).await?;
        let objects = &objects[..count];
        let rows = match insert_and_reconcile(self.tables, self.catalog, contract, &batches).await {
            Err(LakeError::KeysMissing { identity, .. }) => {
                let dataset = &contract.name;
                tracing::info!(
                    dataset,
                    identity,
                    objects = objects.len(),
                    "cleaning records again for their keys of another contract"
                );
                for object in objects {
                    self.clean_again(object).await?;
                }
                return Ok(InsertedObjects { count, is_contended: false, are_cleaned_again: true });
            }
            inserted => inserted?,
        };
        if let Some(version) = rows.version {
            let (dataset, sources) = (&contract.name, describe_sources(objects));
            let (inserted, superseded) = (rows.inserted, rows.superseded);
            tracing::info!(dataset, version, inserted, superseded, sources, "committed");
        }
        let paths = objects.iter().map(|object| object.path.clone()).collect();
        object::remove(&self.tables.store, paths).await?;
        self.summary.read += rows.read;
        self.summary.inserted += rows.inserted;
        self.summary.superseded += rows.superseded;
        self.summary.outdated += rows.outdated;
        self.summary.deleted += rows.deleted;
        self.summary.duplicates += rows.duplicates;
        self.summary.objects += objects.len() as u64;
        self.summary.oldest_arrival = self.summary.oldest_arrival.into_iter().chain(arrived).min();
        Ok(InsertedObjects { count, is_contended: rows.version.is_none(), are_cleaned_again: false })
    }

    /// Reads landing objects up to the limit of row bytes. Returns the rows, the arrival of the first record, and the
    /// number of objects read. A missing object was inserted by another compactor. An object that cannot be read is
    /// moved to `failed/`.
    async fn read_objects(
        &mut self,
        objects: &[LandingObject],
    ) -> Result<(Vec<RecordBatch>, Option<DateTime<Utc>>, usize), LakeError> {
        let store = &*self.tables.store;
        let fetches = objects
            .iter()
            .cloned()
            .map(|object| async move { object::get(store, &object).await.map(|bytes| (object, bytes)) });
        let mut fetches = futures::stream::iter(fetches).buffered(CONCURRENCY);
        let (mut batches, mut arrived, mut bytes, mut count) = (Vec::new(), None, 0, 0);
        // Decoded one after the other, because only then is the size of the rows known.
        while bytes < self.limits.row_bytes
            && let Some((object, fetched)) = fetches.try_next().await?
        {
            count += 1;
            match fetched.map(|fetched| object::decode(&object, fetched)).transpose() {
                Ok(landed) => {
                    arrived =
                        arrived.into_iter().chain(landed.iter().filter_map(|landed| landed.arrived)).min();
                    let rows = landed.into_iter().flat_map(|landed| landed.batches);
                    batches.extend(rows.inspect(|batch| bytes += batch.get_array_memory_size()));
                }
                Err(error) => self.move_to_failed(&object, &error).await?,
            }
        }
        Ok((batches, arrived, count))
    }

    /// Cleans the records of an object of another contract hash again, and removes the object.
    async fn clean_again(&mut self, object: &LandingObject) -> Result<(), LakeError> {
        let store = &self.tables.store;
        match self.land_again(object).await {
            Ok(()) => {
                self.summary.cleaned_again += 1;
                Ok(object::remove(store, vec![object.path.clone()]).await?)
            }
            Err(error) if error.is_permanent() => self.move_to_failed(object, &error).await,
            Err(LandingError::Store { source: object_store::Error::NotFound { .. }, path })
                if pinlake_store::head_if_exists(&**store, &object.path)
                    .await
                    .map_err(LakeError::store(&object.path))?
                    .is_some() =>
            {
                let why = format!("its raw records {path} are missing");
                let error = LandingError::Corrupt { path: object.path.to_string(), why };
                self.move_to_failed(object, &error).await
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Lands the records of an object again, cleaned by the current contract.
    async fn land_again(&self, object: &LandingObject) -> Result<(), LandingError> {
        let store = &*self.tables.store;
        let Some(landed) = object::read(store, object).await? else {
            return Ok(());
        };
        let corrupt =
            |why: &str| LandingError::Corrupt { path: object.path.to_string(), why: why.to_owned() };
        let raw_path = Path::from(landed.raw.ok_or_else(|| corrupt("it does not name its raw records"))?);
        let records = raw::read(store, &raw_path).await?;
        let batch = RawBatch { source: &object.name.source, records: &records };
        let history = &self.tables.catalog_history;
        land_replacement(store, history, self.catalog, batch, &raw_path, &object.path).await?;
        Ok(())
    }

    async fn move_to_failed(
        &mut self,
        object: &LandingObject,
        error: &LandingError,
    ) -> Result<(), LakeError> {
        let failed = object::move_to_failed(&*self.tables.store, &object.path).await?;
        tracing::error!(%error, %failed, "landing object cannot be read and was moved to failed/");
        self.summary.failed += 1;
        Ok(())
    }
}

/// Describes from which records the objects come, so that a log can be searched for an acknowledgement: for each shard
/// its name and the first and last sequence number, `kinesis/records/shardId-000000000000 17..42`.
fn describe_sources(objects: &[LandingObject]) -> String {
    let mut shards: BTreeMap<&RecordSource, (&str, &str)> = BTreeMap::new();
    let number = |text: &str| text.parse::<Sequence>().ok();
    for LandingObject { name, .. } in objects {
        let range = shards.entry(&name.source).or_insert((&name.first, &name.last));
        if number(&name.first) < number(range.0) {
            range.0 = &name.first;
        }
        if number(&name.last) > number(range.1) {
            range.1 = &name.last;
        }
    }
    let mut text: Vec<String> = shards
        .iter()
        .take(MAX_LOGGED_SHARDS)
        .map(|(source, (first, last))| format!("{source} {first}..{last}"))
        .collect();
    if shards.len() > MAX_LOGGED_SHARDS {
        text.push(format!("and {} more", shards.len() - MAX_LOGGED_SHARDS));
    }
    text.join(", ")
}

/// Merges small files. A merge only makes reads faster, so a failure is logged and not returned.
async fn merge_small_files(table: &Table, min_files: usize) -> u64 {
    match table.merge_small_files(min_files).await {
        Ok(merged) => merged as u64,
        Err(error) => {
            tracing::warn!(dataset = %table.contract().name, %error, "merge of small files failed, a later compaction will try again");
            0
        }
    }
}

/// Splits a listing into the objects of one commit, and the rest. The first object is taken whatever its size.
fn split_at_limits<'a>(
    listed: &'a [LandingObject],
    limits: &CompactionLimits,
) -> (&'a [LandingObject], &'a [LandingObject]) {
    let mut bytes = 0;
    let mut count = 0;
    for object in listed.iter().take(limits.objects) {
        bytes += object.size;
        if count > 0 && bytes > limits.bytes {
            break;
        }
        count += 1;
    }
    listed.split_at(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Lake;
    use crate::tests::support::env;
    use arrow::array::AsArray;
    use object_store::memory::InMemory;
    use object_store::{ObjectStore, ObjectStoreExt};
    use pinlake_landing::catalog_history::CatalogHistory;
    use pinlake_landing::land::land_rows;
    use pinlake_landing::raw::{RawData, RawRecord};
    use pinlake_landing::source::RecordSource;

    fn catalog(null: &str) -> Arc<Catalog> {
        catalog_by("identity = [\"visitor\"]", null)
    }

    fn catalog_by(identity: &str, null: &str) -> Arc<Catalog> {
        let text = format!(
            "name = \"visit\"\nversion = 1\ndescription = \"One row a visit.\"\n{identity}\n\
             [route]\nshape = [\"visitor\"]\n[[column]]\nname = \"visitor\"\ntype = \"int64\"\nrequired = true\n\
             [[column]]\nname = \"page\"\ntype = \"string\"\nnull = [{null}]\n"
        );
        Arc::new(Catalog::from_files([("visit.toml".to_owned(), text)]).unwrap())
    }

    async fn deliver(store: &dyn ObjectStore, catalog: &Arc<Catalog>, sequence: u64, lines: &str) {
        deliver_by(store, &CatalogHistory::default(), catalog, sequence, lines).await;
    }

    /// Delivers by a cleaner that has this history.
    async fn deliver_by(
        store: &dyn ObjectStore,
        history: &CatalogHistory,
        catalog: &Arc<Catalog>,
        sequence: u64,
        lines: &str,
    ) {
        let records = [RawRecord {
            key: format!("visit/r{sequence}/0"),
            sequence: sequence.to_string(),
            arrived_ms: 1_666_180_800_000,
            data: RawData::from_bytes(lines.as_bytes().to_vec()),
        }];
        let source = RecordSource::from_path_segments("events", "shardId-0");
        let batch = RawBatch { source: &source, records: &records };
        let raw = raw::put(store, &batch.id().unwrap(), &records).await.unwrap();
        land_rows(store, history, catalog, batch, &raw).await.unwrap();
    }

    #[tokio::test]
    async fn landing_objects_are_inserted_once_within_the_limits_and_removed() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let catalog = catalog("\"-\"");
        for sequence in 1..=5 {
            deliver(
                &*store,
                &catalog,
                sequence,
                &format!("{{\"visitor\": {}}}\n{{\"visitor\": 9}}", sequence),
            )
            .await;
        }
        let lake = Lake::new(store.clone(), env(1));
        let limits = CompactionLimits { objects: 2, time: Duration::ZERO, ..CompactionLimits::default() };
        let first = lake.compact(&catalog, "visit", limits).await.unwrap();
        assert_eq!((first.objects, first.inserted, first.duplicates, first.more), (2, 3, 1, true));
        assert_eq!(first.oldest_arrival.map(|arrival| arrival.timestamp()), Some(1_666_180_800));
        let rest = lake.compact(&catalog, "visit", CompactionLimits::default()).await.unwrap();
        assert_eq!((rest.objects, rest.inserted, rest.duplicates, rest.more), (3, 3, 3, false));
        assert!(object::list(&*store, None, 10).await.unwrap().is_empty());
        let idle = lake.compact(&catalog, "visit", CompactionLimits::default()).await.unwrap();
        assert_eq!(idle, CompactionSummary::default());
    }

    #[tokio::test]
    async fn a_commit_has_no_more_row_bytes_than_its_limit() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let catalog = catalog("\"-\"");
        let page = "so it goes ".repeat(90_000);
        for sequence in 1..=5 {
            let line = format!("{{\"visitor\": {sequence}, \"page\": \"{page}\"}}");
            deliver(&*store, &catalog, sequence, &line).await;
        }
        let lake = Lake::new(store.clone(), env(1));
        // The stored objects have a few hundred bytes each.
        let limits = CompactionLimits {
            row_bytes: 2 * page.len(),
            time: Duration::ZERO,
            ..CompactionLimits::default()
        };
        let first = lake.compact(&catalog, "visit", limits).await.unwrap();
        assert_eq!((first.objects, first.inserted, first.more), (2, 2, true));
        let rest = lake
            .compact(&catalog, "visit", CompactionLimits { time: Duration::MAX, ..limits })
            .await
            .unwrap();
        assert_eq!((rest.objects, rest.inserted, rest.duplicates, rest.more), (3, 3, 0, false));
        assert!(object::list(&*store, None, 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn a_compactor_that_meets_another_skips_ahead_and_leaves_no_object() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let catalog = catalog("\"-\"");
        for sequence in 1..=20 {
            deliver(&*store, &catalog, sequence, &format!("{{\"visitor\": {sequence}}}")).await;
        }
        // The other compactor has committed the first object and not yet removed it.
        let first = object::list(&*store, None, 1).await.unwrap().remove(0);
        let bytes = store.get(&first.path).await.unwrap().bytes().await.unwrap();
        let one = CompactionLimits { objects: 1, time: Duration::ZERO, ..CompactionLimits::default() };
        Lake::new(store.clone(), env(1)).compact(&catalog, "visit", one).await.unwrap();
        store.put(&first.path, bytes.into()).await.unwrap();

        let lake = Lake::new(store.clone(), env(2));
        let limits = CompactionLimits { objects: 1, ..CompactionLimits::default() };
        let done = lake.compact(&catalog, "visit", limits).await.unwrap();
        assert_eq!((done.objects, done.inserted, done.duplicates, done.more), (20, 19, 1, false));
        assert!(object::list(&*store, None, 10).await.unwrap().is_empty());
        let pinned = lake.table(catalog.contract("visit").unwrap()).pin().await.unwrap();
        let mut order = Vec::new();
        // The newest file comes first.
        for file in pinned.files.iter().rev() {
            let bytes = store.get(&file.path).await.unwrap().bytes().await.unwrap();
            let mut rows =
                parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 10).unwrap();
            let rows = rows.next().unwrap().unwrap();
            order.push(rows.column(0).as_primitive::<arrow::datatypes::Int64Type>().value(0));
        }
        assert!(order[0] == 1 && order[1] > 2, "{order:?}");
        assert!(
            order[2] == order[1] + 1 && order[19] < order[1],
            "it continues from there, and inserts the skipped objects last: {order:?}"
        );
    }

    #[tokio::test]
    async fn rows_of_an_older_contract_are_cleaned_again_from_raw() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        deliver(&*store, &catalog("\"-\""), 1, "{\"visitor\": 1, \"page\": \"unknown\"}").await;
        let newer = catalog("\"unknown\"");
        let lake = Lake::new(store.clone(), env(1));
        let done = lake.compact(&newer, "visit", CompactionLimits::default()).await.unwrap();
        assert_eq!((done.cleaned_again, done.inserted, done.failed), (1, 1, 0));
        assert!(object::list(&*store, None, 10).await.unwrap().is_empty());
        let pinned = lake.table(newer.contract("visit").unwrap()).pin().await.unwrap();
        let bytes = store.get(&pinned.files[0].path).await.unwrap().bytes().await.unwrap();
        let mut rows = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 10).unwrap();
        assert!(
            rows.next().unwrap().unwrap().column(1).is_null(0),
            "the null marker of the newer contract applies"
        );
    }

    #[tokio::test]
    async fn records_are_cleaned_again_for_keys_that_their_cleaner_did_not_know_of() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let (before, after) = (catalog_by("", "\"-\""), catalog_by("", "\"unknown\""));
        // A cleaner with the new contract lists the history before one with the old contract has landed anything.
        let early = CatalogHistory::default();
        deliver_by(&*store, &early, &after, 1, "{\"visitor\": 1, \"page\": \"a\"}").await;
        let lake = Lake::new(store.clone(), env(1));
        lake.compact(&after, "visit", CompactionLimits::default()).await.unwrap();
        let record = "{\"visitor\": 2, \"page\": \"unknown\"}";
        deliver(&*store, &before, 2, record).await;
        Lake::new(store.clone(), env(2))
            .compact(&before, "visit", CompactionLimits::default())
            .await
            .unwrap();

        deliver_by(&*store, &early, &after, 3, record).await;
        let lake = Lake::new(store.clone(), env(3));
        let done = lake.compact(&after, "visit", CompactionLimits::default()).await.unwrap();
        assert_eq!((done.cleaned_again, done.inserted, done.duplicates, done.failed), (1, 0, 1, 0));
        assert!(object::list(&*store, None, 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn an_object_that_cannot_be_read_does_not_block_the_others() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let catalog = catalog("\"-\"");
        deliver(&*store, &catalog, 1, "{\"visitor\": 1}").await;
        let hash = catalog.contract("visit").unwrap().hash().to_owned();
        let junk = Path::from(format!("landing/visit/{hash}/20221019T1200/events/shardId-0/2-2-00.parquet"));
        store.put(&junk, "junk".into()).await.unwrap();
        let lake = Lake::new(store.clone(), env(1));
        let done = lake.compact(&catalog, "visit", CompactionLimits::default()).await.unwrap();
        assert_eq!((done.inserted, done.failed, done.more), (1, 1, false));
        assert!(store.head(&Path::from(format!("failed/{junk}"))).await.is_ok());
    }

    #[tokio::test]
    async fn the_log_names_the_records_of_a_commit() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let catalog = catalog("\"-\"");
        for sequence in [9, 10, 11] {
            deliver(&*store, &catalog, sequence, &format!("{{\"visitor\": {sequence}}}")).await;
        }
        let objects = object::list(&*store, None, 10).await.unwrap();
        let text = describe_sources(&objects);
        assert_eq!(text, "kinesis/events/shardId-0 9..11");
    }
}
