//! Inserts rows in the background: the rows of the next commit are gathered while the last one is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::RecordBatch;
use futures::StreamExt;
use pinlake_clean::CleanedRows;
use pinlake_lake::{InsertSummary, Lake, LakeError};
use pinlake_schema::{Catalog, Contract, QUARANTINE};
use tokio::task::JoinHandle;

use super::error::{LoadError, RefusedTable};

/// Bytes of a commit, in units of [`CleanedRows::bytes`], if the last commit is done.
pub(super) const COMMIT_BYTES: u64 = 32 << 20;
/// Bytes gathered while the last commit is still being written, which keeps the processors busy. Memory is bounded by
/// twice this.
const MAX_BYTES: u64 = COMMIT_BYTES + COMMIT_BYTES / 4;
/// Tables written concurrently.
const CONCURRENCY: usize = 4;

/// Rows waiting to be inserted, the insert that is running, and the results of earlier ones.
#[derive(Debug)]
pub(super) struct InsertQueue {
    lake: Arc<Lake>,
    catalog: Arc<Catalog>,
    /// Waiting rows by dataset, in the order of the records.
    gathered: BTreeMap<String, (Arc<Contract>, Vec<RecordBatch>)>,
    gathered_bytes: u64,
    running: Option<JoinHandle<Vec<Inserted>>>,
    /// The tables that did not take their rows. They get no others.
    refused: Vec<RefusedTable>,
    /// What was committed, by dataset.
    pub(super) committed: BTreeMap<String, Committed>,
}

/// The dataset of an insert, and the rows that it added.
type Inserted = (String, Result<Committed, LakeError>);

/// Rows that were committed.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Committed {
    pub(super) inserted: u64,
    pub(super) superseded: u64,
    pub(super) duplicates: u64,
    pub(super) outdated: u64,
    pub(super) deleted: u64,
}

impl InsertQueue {
    pub(super) fn new(lake: Arc<Lake>, catalog: Arc<Catalog>) -> Self {
        Self {
            lake,
            catalog,
            gathered: BTreeMap::new(),
            gathered_bytes: 0,
            running: None,
            refused: Vec::new(),
            committed: BTreeMap::new(),
        }
    }

    /// Adds rows, and starts an insert if there are enough.
    pub(super) async fn push(&mut self, cleaned: Vec<CleanedRows>) -> Result<(), LoadError> {
        for CleanedRows { contract, rows, bytes, .. } in cleaned {
            self.gathered_bytes += bytes;
            let gathered = self.gathered.entry(contract.name.clone());
            gathered.or_insert_with(|| (contract, Vec::new())).1.push(rows);
        }
        let threshold = if self.is_idle() { COMMIT_BYTES } else { MAX_BYTES };
        if self.gathered_bytes >= threshold { self.start_insert().await } else { Ok(()) }
    }

    /// Inserts all rows, and waits for it.
    pub(super) async fn flush(&mut self) -> Result<(), LoadError> {
        self.start_insert().await?;
        self.wait_for_running().await?;
        match std::mem::take(&mut self.refused) {
            none if none.is_empty() => Ok(()),
            refused => Err(LoadError::TablesRefused(refused)),
        }
    }

    fn is_idle(&self) -> bool {
        self.running.as_ref().is_none_or(JoinHandle::is_finished)
    }

    async fn start_insert(&mut self) -> Result<(), LoadError> {
        self.wait_for_running().await?;
        self.gathered_bytes = 0;
        let mut gathered = std::mem::take(&mut self.gathered);
        gathered.retain(|dataset, _| self.refused.iter().all(|refused| refused.dataset != *dataset));
        let (lake, catalog) = (self.lake.clone(), self.catalog.clone());
        self.running = Some(tokio::spawn(async move {
            futures::stream::iter(gathered.into_values())
                .map(|(contract, rows)| insert(&lake, &catalog, contract, rows))
                .buffered(CONCURRENCY)
                .collect()
                .await
        }));
        Ok(())
    }

    async fn wait_for_running(&mut self) -> Result<(), LoadError> {
        let Some(running) = self.running.take() else { return Ok(()) };
        for (dataset, inserted) in running.await.map_err(LoadError::internal)? {
            let rows = match inserted {
                Ok(rows) => rows,
                // The counts of the other datasets include records in quarantine.
                Err(error) if error.is_retryable() || dataset == QUARANTINE => {
                    return Err(LoadError::Insert(error));
                }
                Err(error) => {
                    self.refused.push(RefusedTable { dataset, error });
                    continue;
                }
            };
            let committed = self.committed.entry(dataset).or_default();
            committed.inserted += rows.inserted;
            committed.superseded += rows.superseded;
            committed.duplicates += rows.duplicates;
            committed.outdated += rows.outdated;
            committed.deleted += rows.deleted;
        }
        Ok(())
    }
}

async fn insert(
    lake: &Lake,
    catalog: &Arc<Catalog>,
    contract: Arc<Contract>,
    rows: Vec<RecordBatch>,
) -> Inserted {
    let rows = lake.insert(catalog, &contract, &rows).await;
    let committed = |InsertSummary { inserted, superseded, duplicates, outdated, deleted, .. }| Committed {
        inserted,
        superseded,
        duplicates,
        outdated,
        deleted,
    };
    (contract.name.clone(), rows.map(committed))
}
