//! Taking what lies in the landing area into a table.

use std::sync::Arc;
use std::time::Duration;

use arrow::array::RecordBatch;
use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use pinlake_landing::land::{RawBatch, land_replacement};
use pinlake_landing::object::{self, LandingObject};
use pinlake_landing::{LandingError, raw};
use pinlake_schema::{Catalog, Contract};
use tokio::time::Instant;

use crate::Lake;
use crate::error::LakeError;
use crate::table::Table;

/// Landing objects that are read at once: most are small, and on S3 each is a wait of tens of milliseconds.
const CONCURRENCY: usize = 64;
/// How many commits' worth of objects a compactor at most passes over when it has met another on the same ones.
const LEAP: usize = 8;

/// How much one call may take.
#[derive(Debug, Clone, Copy)]
pub struct Budget {
    /// Objects a commit.
    pub objects: usize,
    /// Stored bytes a commit.
    pub bytes: u64,
    /// Bytes in memory of a commit's rows, which are several times the stored ones, and of texts that repeat thousands of times.
    /// The object that goes beyond it is the last one.
    pub row_bytes: usize,
    /// No further commit is begun after this long.
    pub time: Duration,
}

impl Default for Budget {
    fn default() -> Self {
        // S3 lists 1,000 objects a request: these, and one that tells that there are more.
        Self { objects: 999, bytes: 64 << 20, row_bytes: 256 << 20, time: Duration::from_secs(30) }
    }
}

/// What one [`Lake::compact`] did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct CompactionSummary {
    /// Rows that were taken: `read = inserted + duplicates`.
    pub read: u64,
    /// Rows that are new in the table.
    pub inserted: u64,
    /// Rows that the table had, or that landed twice.
    pub duplicates: u64,
    /// Landing objects that were taken and removed.
    pub objects: u64,
    /// Landing objects of another contract hash that were cleaned again from their raw records.
    pub cleaned_again: u64,
    /// Small data files of the table that were merged into one.
    pub merged_files: u64,
    /// Landing objects that could not be read and were moved to `failed/`.
    pub failed: u64,
    /// Whether something is left in landing that the budget did not cover.
    pub more: bool,
}

/// What became of landing objects that were to be taken.
struct Taken {
    /// So many of them, the first ones, are done with.
    objects: usize,
    /// None of their rows was new: another compactor, it seems, is at the same ones.
    by_another: bool,
}

impl Lake {
    /// Takes landing objects of `dataset` into its table, oldest first, and removes them. When the dataset has no contract
    /// any more, their records are cleaned again like those of another contract.
    ///
    /// # Errors
    /// See [`LakeError`]. Nothing is lost: what was not removed is taken again, and holds no new key.
    pub async fn compact(
        &self,
        catalog: &Arc<Catalog>,
        dataset: &str,
        budget: Budget,
    ) -> Result<CompactionSummary, LakeError> {
        let begun = Instant::now();
        let contract = catalog.contract(dataset);
        let mut done = CompactionSummary::default();
        // What lies up to here was taken. To list on from here spares S3 the markers of all that was removed.
        let mut after: Option<Path> = None;
        let mut leap = 0;
        loop {
            let page =
                object::list_page(&**self.store(), Some(dataset), after.as_ref(), leap + budget.objects + 1)
                    .await?;
            let passed = leap.min(page.objects.len().saturating_sub(budget.objects));
            let (take, rest) = within(&page.objects[passed..], &budget);
            // Where the listing ends it begins anew, for what was passed over or has landed meanwhile.
            let is_from_start = after.is_none() && passed == 0;
            after = take.iter().map(|object| &object.path).max().cloned();
            after = after.filter(|_| page.is_in_order && !rest.is_empty());
            done.more = !(is_from_start && rest.is_empty());
            let (current, stale): (Vec<_>, Vec<_>) = take.iter().cloned().partition(|object| {
                contract.is_some_and(|contract| object.name.contract_hash == contract.hash())
            });
            for object in &stale {
                self.clean_again(catalog, object, &mut done).await?;
            }
            leap = 0;
            if let Some(contract) = contract.filter(|_| !current.is_empty()) {
                let taken = self.take(catalog, contract, &current, budget.row_bytes, &mut done).await?;
                if taken.objects < current.len() {
                    (after, done.more) = (None, true);
                }
                if taken.by_another {
                    // They would go on side by side, one of them for nothing.
                    leap = budget.objects * (1 + self.rng().below(LEAP));
                }
            }
            // What was cleaned again has landed again.
            done.more |= !stale.is_empty();
            if !done.more || begun.elapsed() >= budget.time {
                break;
            }
        }
        if let Some(contract) = contract.filter(|_| done.inserted > 0 && !done.more) {
            // Compactors that begin to merge at another number of files do not all merge the same ones.
            let enough = self.maintenance().enough_files;
            let enough = enough + self.rng().below(enough / 2);
            done.merged_files = merge(&self.table(contract), enough).await;
        }
        Ok(done)
    }

    /// Inserts the rows of landing objects, as far as they fit `row_bytes`, and removes the objects.
    async fn take(
        &self,
        catalog: &Arc<Catalog>,
        contract: &Arc<Contract>,
        objects: &[LandingObject],
        row_bytes: usize,
        done: &mut CompactionSummary,
    ) -> Result<Taken, LakeError> {
        let (batches, count) = self.read(objects, row_bytes, done).await?;
        let objects = &objects[..count];
        let rows = self.insert(catalog, contract, &batches).await?;
        object::remove(self.store(), objects.iter().map(|object| object.path.clone()).collect()).await?;
        done.read += rows.read;
        done.inserted += rows.inserted;
        done.duplicates += rows.duplicates;
        done.objects += objects.len() as u64;
        Ok(Taken { objects: count, by_another: rows.inserted == 0 })
    }

    /// Reads landing objects until there are `row_bytes` of rows, and tells how many objects these are of. One that is gone
    /// holds rows that another compactor has taken; one that cannot be read is set aside, and the others go on.
    async fn read(
        &self,
        objects: &[LandingObject],
        row_bytes: usize,
        done: &mut CompactionSummary,
    ) -> Result<(Vec<RecordBatch>, usize), LakeError> {
        let gets = objects.iter().cloned().map(|object| async move {
            object::get(&**self.store(), &object).await.map(|bytes| (object, bytes))
        });
        let mut gets = futures::stream::iter(gets).buffered(CONCURRENCY);
        let (mut batches, mut bytes, mut count) = (Vec::new(), 0, 0);
        // What was got is unpacked here, one after the other, because only then is it known how large it is.
        while bytes < row_bytes
            && let Some((object, got)) = gets.try_next().await?
        {
            count += 1;
            match got.map(|got| object::decode(&object, got)).transpose() {
                Ok(landed) => {
                    let rows = landed.into_iter().flat_map(|landed| landed.batches);
                    batches.extend(rows.inspect(|batch| bytes += batch.get_array_memory_size()));
                }
                Err(error) => self.move_to_failed(&object, &error, done).await?,
            }
        }
        Ok((batches, count))
    }

    /// Rows of another contract are not inserted: their records are cleaned again by the present one, and land anew.
    async fn clean_again(
        &self,
        catalog: &Arc<Catalog>,
        object: &LandingObject,
        done: &mut CompactionSummary,
    ) -> Result<(), LakeError> {
        let store = &**self.store();
        match self.land_again(catalog, object).await {
            Ok(()) => {
                done.cleaned_again += 1;
                Ok(object::remove(self.store(), vec![object.path.clone()]).await?)
            }
            Err(error) if error.is_permanent() => self.move_to_failed(object, &error, done).await,
            Err(LandingError::Store { source: object_store::Error::NotFound { .. }, path })
                if pinlake_store::head_if_exists(store, &object.path)
                    .await
                    .map_err(LakeError::store(&object.path))?
                    .is_some() =>
            {
                let error = LandingError::Corrupt {
                    path: object.path.to_string(),
                    why: format!("its raw records {path} are gone"),
                };
                self.move_to_failed(object, &error, done).await
            }
            Err(error) => Err(error.into()),
        }
    }

    async fn land_again(&self, catalog: &Arc<Catalog>, object: &LandingObject) -> Result<(), LandingError> {
        let store = &**self.store();
        let Some(landed) = object::read(store, object).await? else {
            return Ok(());
        };
        let corrupt =
            |why: &str| LandingError::Corrupt { path: object.path.to_string(), why: why.to_owned() };
        let raw_path = Path::from(landed.raw.ok_or_else(|| corrupt("it does not name its raw records"))?);
        let records = raw::read(store, &raw_path).await?;
        let batch = RawBatch { source: &object.name.source, records: &records };
        land_replacement(store, self.catalog_history(), catalog, batch, &raw_path, &object.path).await?;
        Ok(())
    }

    async fn move_to_failed(
        &self,
        object: &LandingObject,
        error: &LandingError,
        done: &mut CompactionSummary,
    ) -> Result<(), LakeError> {
        let aside = object::move_to_failed(&**self.store(), &object.path).await?;
        tracing::error!(%error, %aside, "landing object cannot be taken, set aside");
        done.failed += 1;
        Ok(())
    }
}

/// Merging makes reading quicker and nothing else: if it fails, the table is as good as before.
async fn merge(table: &Table, enough: usize) -> u64 {
    match table.merge_small_files(enough).await {
        Ok(merged) => merged as u64,
        Err(error) => {
            tracing::warn!(dataset = %table.contract().name, %error, "small files not merged, they will be");
            0
        }
    }
}

/// Splits a listing into what one commit takes, and the rest. The first object is taken whatever its size.
fn within<'a>(listed: &'a [LandingObject], budget: &Budget) -> (&'a [LandingObject], &'a [LandingObject]) {
    let mut bytes = 0;
    let mut count = 0;
    for object in listed.iter().take(budget.objects) {
        bytes += object.size;
        if count > 0 && bytes > budget.bytes {
            break;
        }
        count += 1;
    }
    listed.split_at(count)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::effects;
    use arrow::array::AsArray;
    use object_store::memory::InMemory;
    use object_store::{ObjectStore, ObjectStoreExt};
    use pinlake_landing::catalog_history::CatalogHistory;
    use pinlake_landing::land::land_rows;
    use pinlake_landing::raw::{RawData, RawRecord};
    use pinlake_landing::source::RecordSource;

    fn catalog(null: &str) -> Arc<Catalog> {
        let text = format!(
            "name = \"visit\"\nversion = 1\ndescription = \"One row a visit.\"\nidentity = [\"visitor\"]\n\
             [route]\nshape = [\"visitor\"]\n[[column]]\nname = \"visitor\"\ntype = \"int64\"\nrequired = true\n\
             [[column]]\nname = \"page\"\ntype = \"string\"\nnull = [{null}]\n"
        );
        Arc::new(Catalog::from_files([("visit.toml".to_owned(), text)]).unwrap())
    }

    async fn deliver(store: &dyn ObjectStore, catalog: &Arc<Catalog>, sequence: u64, lines: &str) {
        let records = [RawRecord {
            key: format!("visit/r{sequence}/0"),
            sequence: sequence.to_string(),
            arrived_ms: 1_666_180_800_000,
            data: RawData::from_bytes(lines.as_bytes().to_vec()),
        }];
        let source = RecordSource::from_path_segments("events", "shardId-0");
        let batch = RawBatch { source: &source, records: &records };
        let raw = raw::put(store, &batch.id().unwrap(), &records).await.unwrap();
        land_rows(store, &CatalogHistory::default(), catalog, batch, &raw).await.unwrap();
    }

    #[tokio::test]
    async fn landing_is_taken_once_within_the_budget_and_removed() {
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
        let lake = Lake::new(store.clone(), effects(1));
        let budget = Budget { objects: 2, time: Duration::ZERO, ..Budget::default() };
        let first = lake.compact(&catalog, "visit", budget).await.unwrap();
        assert_eq!((first.objects, first.inserted, first.duplicates, first.more), (2, 3, 1, true));
        let rest = lake.compact(&catalog, "visit", Budget::default()).await.unwrap();
        assert_eq!((rest.objects, rest.inserted, rest.duplicates, rest.more), (3, 3, 3, false));
        assert!(object::list(&*store, None, 10).await.unwrap().is_empty());
        let idle = lake.compact(&catalog, "visit", Budget::default()).await.unwrap();
        assert_eq!(idle, CompactionSummary::default());
    }

    #[tokio::test]
    async fn a_commit_takes_no_more_rows_than_memory_has_room_for() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let catalog = catalog("\"-\"");
        let page = "so it goes ".repeat(90_000);
        for sequence in 1..=5 {
            let line = format!("{{\"visitor\": {sequence}, \"page\": \"{page}\"}}");
            deliver(&*store, &catalog, sequence, &line).await;
        }
        let lake = Lake::new(store.clone(), effects(1));
        // Stored, they are a few hundred bytes each.
        let budget = Budget { row_bytes: 2 * page.len(), time: Duration::ZERO, ..Budget::default() };
        let first = lake.compact(&catalog, "visit", budget).await.unwrap();
        assert_eq!((first.objects, first.inserted, first.more), (2, 2, true));
        let rest = lake.compact(&catalog, "visit", Budget { time: Duration::MAX, ..budget }).await.unwrap();
        assert_eq!((rest.objects, rest.inserted, rest.duplicates, rest.more), (3, 3, 0, false));
        assert!(object::list(&*store, None, 10).await.unwrap().is_empty());
    }

    #[tokio::test]
    async fn who_meets_another_at_the_same_objects_goes_on_elsewhere_and_leaves_none() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let catalog = catalog("\"-\"");
        for sequence in 1..=20 {
            deliver(&*store, &catalog, sequence, &format!("{{\"visitor\": {sequence}}}")).await;
        }
        // The other compactor has committed the first object and not yet removed it.
        let first = object::list(&*store, None, 1).await.unwrap().remove(0);
        let bytes = store.get(&first.path).await.unwrap().bytes().await.unwrap();
        let one = Budget { objects: 1, time: Duration::ZERO, ..Budget::default() };
        Lake::new(store.clone(), effects(1)).compact(&catalog, "visit", one).await.unwrap();
        store.put(&first.path, bytes.into()).await.unwrap();

        let lake = Lake::new(store.clone(), effects(2));
        let budget = Budget { objects: 1, ..Budget::default() };
        let done = lake.compact(&catalog, "visit", budget).await.unwrap();
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
            "on from there, and what was passed over last: {order:?}"
        );
    }

    #[tokio::test]
    async fn rows_of_an_older_contract_are_cleaned_again_from_raw() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        deliver(&*store, &catalog("\"-\""), 1, "{\"visitor\": 1, \"page\": \"unknown\"}").await;
        let newer = catalog("\"unknown\"");
        let lake = Lake::new(store.clone(), effects(1));
        let done = lake.compact(&newer, "visit", Budget::default()).await.unwrap();
        assert_eq!((done.cleaned_again, done.inserted, done.failed), (1, 1, 0));
        assert!(object::list(&*store, None, 10).await.unwrap().is_empty());
        let pinned = lake.table(newer.contract("visit").unwrap()).pin().await.unwrap();
        let bytes = store.get(&pinned.files[0].path).await.unwrap().bytes().await.unwrap();
        let mut rows = parquet::arrow::arrow_reader::ParquetRecordBatchReader::try_new(bytes, 10).unwrap();
        assert!(rows.next().unwrap().unwrap().column(1).is_null(0), "the newer contract's null marker holds");
    }

    #[tokio::test]
    async fn an_object_that_cannot_be_read_does_not_hold_up_the_others() {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let catalog = catalog("\"-\"");
        deliver(&*store, &catalog, 1, "{\"visitor\": 1}").await;
        let hash = catalog.contract("visit").unwrap().hash().to_owned();
        let junk = Path::from(format!("landing/visit/{hash}/20221019T1200/events/shardId-0/2-2-00.parquet"));
        store.put(&junk, "junk".into()).await.unwrap();
        let lake = Lake::new(store.clone(), effects(1));
        let done = lake.compact(&catalog, "visit", Budget::default()).await.unwrap();
        assert_eq!((done.inserted, done.failed, done.more), (1, 1, false));
        assert!(store.head(&Path::from(format!("failed/{junk}"))).await.is_ok());
    }
}
