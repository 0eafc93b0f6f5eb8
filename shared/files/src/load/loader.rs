//! Cleans the records of files and inserts their rows.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use pinlake_clean::record_reader::{ReadError, RecordReader};
use pinlake_lake::Lake;
use pinlake_schema::Catalog;

use super::clean::CleaningPool;
use super::error::LoadError;
use super::insert::InsertQueue;
use super::source::LoadSource;

/// Inserts the records of files into a lake.
#[derive(Debug)]
pub struct Loader {
    pub(super) lake: Arc<Lake>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) cleaning: CleaningPool,
    inserts: InsertQueue,
}

/// What was loaded into a dataset; `read = inserted + duplicates + quarantined`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetSummary {
    /// The dataset; `None` for records that no dataset matches.
    pub dataset: Option<String>,
    /// Records read.
    pub read: u64,
    /// Rows inserted.
    pub inserted: u64,
    /// Records whose rows were in the table, or in quarantine, before.
    pub duplicates: u64,
    /// Records added to quarantine.
    pub quarantined: u64,
    /// Bytes of records read.
    pub bytes: u64,
}

impl Loader {
    /// A loader for `lake`. `now` is the time at which all records arrived.
    pub fn new(lake: Arc<Lake>, catalog: Arc<Catalog>, now: DateTime<Utc>) -> Self {
        let cleaning = CleaningPool::new(catalog.clone(), now);
        let inserts = InsertQueue::new(lake.clone(), catalog.clone());
        Self { lake, catalog, cleaning, inserts }
    }

    /// Reads a file to its end, and inserts rows whenever there are enough. The last rows are inserted by
    /// [`Loader::flush`]. `progress` is called with the bytes read so far.
    ///
    /// # Errors
    /// The outer error stops the load. The inner one concerns this file: the records before the error are loaded, and
    /// other files can follow.
    pub async fn load_file(
        &mut self,
        mut records: RecordReader,
        source: LoadSource,
        progress: impl Fn(u64),
    ) -> Result<Result<(), ReadError>, LoadError> {
        let source = Arc::new(source);
        let mut number = 0;
        loop {
            // Records with an id are numbered, so they are split here and not by the threads that clean.
            if source.id.is_some() || !self.cleaning.push_lines(&source, &mut records) {
                match records.next() {
                    Ok(Some(record)) => self.cleaning.push(&source, number, record),
                    Ok(None) => return Ok(Ok(())),
                    Err(error) => return Ok(Err(error)),
                }
                number += 1;
            }
            if self.cleaning.is_full() {
                progress(records.bytes());
                let cleaned = self.cleaning.submit_block().await?;
                self.inserts.push(cleaned).await?;
            }
        }
    }

    /// Inserts all rows that were read, and waits for the commits.
    ///
    /// # Errors
    /// If an insert fails. Loading the same files again is safe.
    pub async fn flush(&mut self) -> Result<(), LoadError> {
        loop {
            let cleaned = self.cleaning.next_remaining().await?;
            if cleaned.is_empty() {
                return self.inserts.flush().await;
            }
            self.inserts.push(cleaned).await?;
        }
    }

    /// What was loaded so far, by dataset; records without a dataset come last. Complete after [`Loader::flush`].
    pub fn summaries(&self) -> Vec<DatasetSummary> {
        let InsertQueue { inserted, quarantined, .. } = &self.inserts;
        let counts = self.cleaning.counts().into_iter();
        counts
            .map(|count| {
                let rows = count.dataset.as_ref().and_then(|dataset| inserted.get(dataset));
                let inserted = rows.copied().unwrap_or(0);
                let quarantined = quarantined.get(&count.dataset).copied().unwrap_or(0);
                DatasetSummary {
                    read: count.read,
                    inserted,
                    duplicates: count.read - inserted - quarantined,
                    quarantined,
                    bytes: count.bytes,
                    dataset: count.dataset,
                }
            })
            .collect()
    }
}
