//! Inserting while more is cleaned: a commit's worth of rows is gathered while the one before is on its way.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use futures::{StreamExt, TryStreamExt};
use pinlake_clean::CleanedRows;
use pinlake_lake::{Lake, LakeError};
use pinlake_schema::{Catalog, Contract, QUARANTINE};
use tokio::task::JoinHandle;

use super::broken_off;
use crate::error::CliError;

/// Bytes of a commit, as [`CleanedRows::bytes`] counts them, when the one before is done.
pub(super) const COMMIT_BYTES: u64 = 32 << 20;
/// Bytes that come together while the one before is not: cleaning goes on meanwhile, which keeps the processors at work.
/// What memory is bounded by, twice.
const MOST_BYTES: u64 = COMMIT_BYTES + COMMIT_BYTES / 4;
/// Tables that are written to at once.
const CONCURRENCY: usize = 4;

/// Rows on their way into the lake, and what became of those before.
#[derive(Debug)]
pub(super) struct Inserting {
    lake: Arc<Lake>,
    catalog: Arc<Catalog>,
    /// By dataset, in the order in which they came.
    gathered: BTreeMap<String, (Arc<Contract>, Vec<RecordBatch>)>,
    gathered_bytes: u64,
    under_way: Option<JoinHandle<Result<Vec<Outcome>, LakeError>>>,
    /// New rows by dataset.
    pub(super) inserted: BTreeMap<String, u64>,
    /// New rows in quarantine by the dataset they were meant for.
    pub(super) quarantined: BTreeMap<Option<String>, u64>,
}

/// What an insert added.
#[derive(Debug)]
enum Outcome {
    Rows(String, u64),
    Quarantined(Vec<(Option<String>, u64)>),
}

impl Inserting {
    pub(super) fn new(lake: Arc<Lake>, catalog: Arc<Catalog>) -> Self {
        Self {
            lake,
            catalog,
            gathered: BTreeMap::new(),
            gathered_bytes: 0,
            under_way: None,
            inserted: BTreeMap::new(),
            quarantined: BTreeMap::new(),
        }
    }

    /// Takes rows, and begins to insert what has come together when it is enough.
    pub(super) async fn take(&mut self, cleaned: Vec<CleanedRows>) -> Result<(), CliError> {
        for CleanedRows { contract, rows, bytes, .. } in cleaned {
            self.gathered_bytes += bytes;
            let gathered = self.gathered.entry(contract.name.clone());
            gathered.or_insert_with(|| (contract, Vec::new())).1.push(rows);
        }
        let enough = if self.is_idle() { COMMIT_BYTES } else { MOST_BYTES };
        if self.gathered_bytes >= enough { self.begin().await } else { Ok(()) }
    }

    /// Inserts all that was taken, and waits.
    pub(super) async fn finish(&mut self) -> Result<(), CliError> {
        self.begin().await?;
        self.settle().await
    }

    fn is_idle(&self) -> bool {
        self.under_way.as_ref().is_none_or(JoinHandle::is_finished)
    }

    async fn begin(&mut self) -> Result<(), CliError> {
        self.settle().await?;
        self.gathered_bytes = 0;
        let gathered = std::mem::take(&mut self.gathered);
        let (lake, catalog) = (self.lake.clone(), self.catalog.clone());
        self.under_way = Some(tokio::spawn(async move {
            futures::stream::iter(gathered.into_values())
                .map(|(contract, rows)| insert(&lake, &catalog, contract, rows))
                .buffered(CONCURRENCY)
                .try_collect()
                .await
        }));
        Ok(())
    }

    async fn settle(&mut self) -> Result<(), CliError> {
        let Some(under_way) = self.under_way.take() else { return Ok(()) };
        let outcomes = under_way.await.map_err(broken_off)?.map_err(|error| {
            let advice = if error.is_retryable() {
                "load the files again: rows that are in the lake already stay as they are"
            } else {
                ""
            };
            CliError::failed("rows could not be inserted", advice).caused_by(error)
        })?;
        for outcome in outcomes {
            match outcome {
                Outcome::Rows(dataset, rows) => *self.inserted.entry(dataset).or_default() += rows,
                Outcome::Quarantined(rows) => {
                    for (dataset, rows) in rows {
                        *self.quarantined.entry(dataset).or_default() += rows;
                    }
                }
            }
        }
        Ok(())
    }
}

async fn insert(
    lake: &Lake,
    catalog: &Arc<Catalog>,
    contract: Arc<Contract>,
    rows: Vec<RecordBatch>,
) -> Result<Outcome, LakeError> {
    if contract.name != QUARANTINE {
        let inserted = lake.insert(catalog, &contract, &rows).await?;
        return Ok(Outcome::Rows(contract.name.clone(), inserted.inserted));
    }
    let parts = rows.iter().map(by_dataset).collect::<Result<Vec<_>, _>>()?;
    let (datasets, batches): (Vec<_>, Vec<_>) = parts.into_iter().flatten().unzip();
    let inserted = lake.insert(catalog, &contract, &batches).await?;
    Ok(Outcome::Quarantined(datasets.into_iter().zip(inserted.by_batch).collect()))
}

/// Quarantine rows by the dataset they were meant for.
fn by_dataset(rows: &RecordBatch) -> Result<Vec<(Option<String>, RecordBatch)>, LakeError> {
    let refused = |why: String| LakeError::Encode { dataset: QUARANTINE.to_owned(), why };
    let datasets = rows.column_by_name("dataset").and_then(|column| column.as_string_opt::<i32>());
    let datasets = datasets.ok_or_else(|| refused("there is no column dataset".to_owned()))?;
    let mut names: Vec<Option<&str>> = datasets.iter().collect();
    names.sort_unstable();
    names.dedup();
    let of = |name: Option<&str>| {
        let mask: BooleanArray = datasets.iter().map(|dataset| Some(dataset == name)).collect();
        let part = filter_record_batch(rows, &mask).map_err(|error| refused(error.to_string()))?;
        Ok((name.map(str::to_owned), part))
    };
    names.into_iter().map(of).collect()
}
