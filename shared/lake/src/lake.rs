//! The lake: what a user of this crate starts from.

use std::sync::Arc;

use arrow::array::RecordBatch;
use object_store::ObjectStore;
use pinlake_env::Env;
use pinlake_landing::catalog_history::CatalogHistory;
use pinlake_schema::{Catalog, Contract};

use crate::compact::{self, CompactionLimits, CompactionSummary};
use crate::error::LakeError;
use crate::maintenance::MaintenancePolicy;
use crate::quarantine_reader::{self, QuarantineCounts, QuarantinedRecord};
use crate::rebuild::{self, RebuildSummary};
use crate::reconcile;
use crate::redrive::{self, RedriveSummary};
use crate::table::Table;
use crate::table::insert::InsertSummary;
use crate::tables::Tables;

/// A lake: the tables and the landing area in an object store.
#[derive(Debug)]
pub struct Lake {
    tables: Tables,
}

impl Lake {
    /// The lake in `store`, whose root is the lake's root. Reads nothing.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use object_store::memory::InMemory;
    /// use pinlake_env::Env;
    /// use pinlake_lake::Lake;
    ///
    /// // Any object store works: S3, a folder, or memory.
    /// let lake = Lake::new(Arc::new(InMemory::new()), Env::system()).with_key_bytes(16 << 20);
    /// ```
    pub fn new(store: Arc<dyn ObjectStore>, env: Env) -> Self {
        Self { tables: Tables::new(store, env) }
    }

    /// Limits the memory for cached keys of all tables, in bytes. A row takes 3.25. What does not fit is read again for
    /// each commit. The default is 40 MiB.
    pub fn with_key_bytes(mut self, bytes: usize) -> Self {
        self.tables.set_key_cache_bytes(bytes);
        self
    }

    /// Sets when tables are maintained.
    pub fn with_maintenance(mut self, maintenance: MaintenancePolicy) -> Self {
        self.tables.maintenance = maintenance;
        self
    }

    /// The store.
    pub fn store(&self) -> &Arc<dyn ObjectStore> {
        &self.tables.store
    }

    /// The catalogs under which records of this lake were evaluated.
    pub fn catalog_history(&self) -> &CatalogHistory {
        &self.tables.catalog_history
    }

    /// The table of `contract`. Reads nothing and creates nothing.
    pub fn table(&self, contract: &Arc<Contract>) -> Arc<Table> {
        self.tables.get(contract)
    }

    /// Inserts rows that were cleaned under `contract` of `catalog` into its table, or into quarantine. Then marks
    /// quarantined records as resolved that are thereby in both places. `batches` have the contract's landing schema.
    ///
    /// ```
    /// use std::sync::Arc;
    /// use object_store::memory::InMemory;
    /// use pinlake_clean::{RecordOrigin, Position, RecordCleaner};
    /// use pinlake_env::Env;
    /// use pinlake_lake::Lake;
    /// use pinlake_schema::Catalog;
    ///
    /// # tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(async {
    /// let catalog = Arc::new(Catalog::embedded()?);
    /// let lake = Lake::new(Arc::new(InMemory::new()), Env::system());
    ///
    /// let mut cleaner = RecordCleaner::new(catalog.clone(), "2022-10-19T12:00:00Z".parse()?);
    /// let origin = RecordOrigin { source: "example", position: Position::Line(1), record_id: None };
    /// cleaner.push(br#"{"ind": 1, "timestamp": "2020-08-28 03:52:47", "latitude": 1.5, "longitude": 2.5, "country": "Peru"}"#, None, &origin);
    /// let cleaned = cleaner.drain().remove(0);
    /// assert_eq!(cleaned.contract.name, "geo");
    ///
    /// let batches = [cleaned.rows];
    /// assert_eq!(lake.insert(&catalog, &cleaned.contract, &batches).await?.inserted, 1);
    /// assert_eq!(lake.insert(&catalog, &cleaned.contract, &batches).await?.duplicates, 1);
    /// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
    /// ```
    ///
    /// # Errors
    /// See [`LakeError`]. After a retryable one, inserting the same rows again is safe, and necessary: the rows may be
    /// in the table and quarantine not reconciled yet.
    pub async fn insert(
        &self,
        catalog: &Arc<Catalog>,
        contract: &Arc<Contract>,
        batches: &[RecordBatch],
    ) -> Result<InsertSummary, LakeError> {
        reconcile::insert_and_reconcile(&self.tables, catalog, contract, batches).await
    }

    /// Inserts the landing objects of `dataset` into its table, oldest first, and removes them. Objects of another
    /// contract hash, or of a dataset that has no contract any more, are cleaned again from their raw records. Those of a
    /// dataset whose contract is broken stay.
    ///
    /// # Errors
    /// See [`LakeError`]. Nothing is lost: objects that were not removed are inserted again, and have no new key.
    pub async fn compact(
        &self,
        catalog: &Arc<Catalog>,
        dataset: &str,
        limits: CompactionLimits,
    ) -> Result<CompactionSummary, LakeError> {
        compact::compact(&self.tables, catalog, dataset, limits).await
    }

    /// Writes the table of `contract`, one of `catalog`, again under it, for changes that an insert does not apply, and swaps the new files in with one commit.
    /// `progress` is called with the rows read so far. Memory is bounded by the largest data file.
    ///
    /// # Errors
    /// [`LakeError::RebuildRefused`] if rows cannot be carried over; the table has not changed then. After any error, repeating it is
    /// safe, and continues.
    pub async fn rebuild(
        &self,
        catalog: &Arc<Catalog>,
        contract: &Arc<Contract>,
        progress: impl Fn(u64) + Send + Sync,
    ) -> Result<RebuildSummary, LakeError> {
        rebuild::rebuild(&self.tables, catalog, contract, progress).await
    }

    /// Counts the quarantined records that are not resolved.
    ///
    /// # Errors
    /// See [`LakeError`].
    pub async fn count_quarantined(&self, catalog: &Catalog) -> Result<QuarantineCounts, LakeError> {
        quarantine_reader::count(&self.tables, catalog).await
    }

    /// Lists the newest quarantined records that are not resolved and whose dataset `is_selected`, newest first.
    ///
    /// # Errors
    /// See [`LakeError`].
    pub async fn list_quarantined(
        &self,
        catalog: &Catalog,
        is_selected: impl Fn(Option<&str>) -> bool,
        limit: usize,
    ) -> Result<Vec<QuarantinedRecord>, LakeError> {
        quarantine_reader::list(&self.tables, catalog, is_selected, limit).await
    }

    /// Cleans the unresolved quarantined records again, of one dataset or of all, and inserts those that their contract
    /// now accepts.
    ///
    /// # Errors
    /// See [`LakeError`]. After a retryable one, repeating it is safe.
    pub async fn redrive(
        &self,
        catalog: &Arc<Catalog>,
        dataset: Option<&str>,
    ) -> Result<RedriveSummary, LakeError> {
        redrive::redrive(&self.tables, catalog, dataset).await
    }
}
