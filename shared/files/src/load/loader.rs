//! Cleans the records of files and inserts their rows.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use chrono::{DateTime, Utc};
use pinlake_clean::record_reader::{ReadError, RecordReader};
use pinlake_lake::Lake;
use pinlake_schema::Catalog;

use super::clean::CleaningPool;
use super::error::LoadError;
use super::insert::{Committed, InsertQueue};
use super::source::LoadSource;

/// Inserts the records of files into a lake.
#[derive(Debug)]
pub struct Loader {
    pub(super) lake: Arc<Lake>,
    pub(super) catalog: Arc<Catalog>,
    pub(super) cleaning: CleaningPool,
    inserts: InsertQueue,
    /// Files whose records may still be cleaned, or are quarantined.
    files: Vec<Arc<LoadSource>>,
    /// The number of files at which those without quarantined records are forgotten.
    forget_at: usize,
}

impl LoadSource {
    /// Whether more than a tenth of its records were quarantined.
    fn is_quarantined(&self) -> bool {
        let quarantined = self.quarantined.load(Ordering::Relaxed);
        quarantined.saturating_mul(QUARANTINE_SHARE) > self.read.load(Ordering::Relaxed)
    }
}

/// Files of whose records more than one in so many are quarantined are reported.
const QUARANTINE_SHARE: u64 = 10;
/// The fewest files at which some are forgotten.
const MIN_FORGET: usize = 1024;

/// What was read of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileSummary {
    /// Whether it has a record.
    pub has_records: bool,
    /// Zeros behind its compressed data, which were ignored.
    pub padding_bytes: u64,
}

/// A file of whose records more than a tenth were quarantined.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct QuarantinedFile {
    /// The file.
    pub name: String,
    /// The dataset of all its records, if it was known.
    pub dataset: Option<String>,
    /// Records read, without those that are no data by `skip_when`.
    pub read: u64,
    /// Records quarantined.
    pub quarantined: u64,
}

/// What was loaded into a dataset; `read = inserted + superseded + duplicates + outdated + deleted + quarantined`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatasetSummary {
    /// The dataset; `None` for records that no dataset matches.
    pub dataset: Option<String>,
    /// Records read.
    pub read: u64,
    /// Rows inserted.
    pub inserted: u64,
    /// Rows that took the place of rows with fewer columns, or of earlier records.
    pub superseded: u64,
    /// Records that are earlier than the row in the table.
    pub outdated: u64,
    /// Records that deleted a row.
    pub deleted: u64,
    /// Whether the dataset keeps the latest record of an identity.
    pub keeps_latest: bool,
    /// Records whose rows were in the table before.
    pub duplicates: u64,
    /// Records that break their contract, whether quarantine had them before or not.
    pub quarantined: u64,
    /// Bytes of records read.
    pub bytes: u64,
    /// Records skipped by `skip_when` of the contract. They do not count as read.
    pub skipped: u64,
}

impl Loader {
    /// A loader for `lake`. `now` is the time at which all records arrived.
    ///
    /// # Errors
    /// If the catalogs that have cleaned records of the lake cannot be read.
    pub async fn open(lake: Arc<Lake>, catalog: Arc<Catalog>, now: DateTime<Utc>) -> Result<Self, LoadError> {
        let catalogs =
            lake.catalog_history().recall(&**lake.store()).await.map_err(LoadError::ReadContracts)?;
        let cleaning = CleaningPool::new(catalog.clone(), catalogs, now);
        let inserts = InsertQueue::new(lake.clone(), catalog.clone());
        Ok(Self { lake, catalog, cleaning, inserts, files: Vec::new(), forget_at: MIN_FORGET })
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
    ) -> Result<Result<FileSummary, ReadError>, LoadError> {
        let source = Arc::new(source);
        let read = self.read_file(&mut records, &source, progress).await?;
        if self.files.len() >= self.forget_at {
            self.files.retain(|file| Arc::strong_count(file) > 1 || file.is_quarantined());
            self.forget_at = (2 * self.files.len()).max(MIN_FORGET);
        }
        self.files.push(source);
        let summary =
            FileSummary { has_records: records.has_records(), padding_bytes: records.padding_bytes() };
        Ok(read.map(|()| summary))
    }

    async fn read_file(
        &mut self,
        records: &mut RecordReader,
        source: &Arc<LoadSource>,
        progress: impl Fn(u64),
    ) -> Result<Result<(), ReadError>, LoadError> {
        let mut number = 0;
        loop {
            // Records with an id are numbered, so they are split here and not by the threads that clean.
            if source.id.is_some() || !self.cleaning.push_lines(source, records) {
                match records.next() {
                    Ok(Some(record)) => self.cleaning.push(source, number, record),
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
        while let Some(cleaned) = self.cleaning.next_remaining().await? {
            self.inserts.push(cleaned).await?;
        }
        self.inserts.flush().await
    }

    /// The files of whose records more than a tenth were quarantined. Complete after [`Loader::flush`].
    pub fn quarantined_files(&self) -> Vec<QuarantinedFile> {
        let files = self.files.iter().filter(|file| file.is_quarantined());
        files
            .map(|file| QuarantinedFile {
                name: file.name.trim_start_matches("file/").to_owned(),
                dataset: file.dataset.clone(),
                read: file.read.load(Ordering::Relaxed),
                quarantined: file.quarantined.load(Ordering::Relaxed),
            })
            .collect()
    }

    /// What was loaded so far, by dataset; records without a dataset come last. Complete after [`Loader::flush`].
    pub fn summaries(&self) -> Vec<DatasetSummary> {
        let InsertQueue { committed, .. } = &self.inserts;
        let counts = self.cleaning.counts().into_iter();
        counts
            .map(|count| {
                let rows = count.dataset.as_ref().and_then(|dataset| committed.get(dataset));
                let Committed { inserted, superseded, duplicates, outdated, deleted } =
                    rows.copied().unwrap_or_default();
                let contract = count.dataset.as_ref().and_then(|dataset| self.catalog.contract(dataset));
                // Also those that are in quarantine from an earlier load: they still break their contract.
                let quarantined = count.quarantined;
                DatasetSummary {
                    read: count.read,
                    inserted,
                    superseded,
                    outdated,
                    deleted,
                    keeps_latest: contract.is_some_and(|contract| contract.keep.is_some()),
                    duplicates,
                    quarantined,
                    bytes: count.bytes,
                    skipped: count.skipped,
                    dataset: count.dataset,
                }
            })
            .collect()
    }
}
