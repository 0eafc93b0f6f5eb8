//! Runs a query set over a lake, with each table pinned at one version.

use futures::{StreamExt, TryStreamExt};
use pinlake_lake::{AsOf, Lake, LakeError, PinnedFile, PinnedTable};
use pinlake_schema::Catalog;

use crate::{AnalyticsError, QueryLimits, QuerySet, RunOutcome, TableFile, TableInput, run_each_query};

/// Tables that are pinned at the same time.
const CONCURRENCY: usize = 8;

/// Why a lake cannot be analysed.
#[derive(Debug, thiserror::Error)]
pub enum AnalyseError {
    /// A table cannot be read.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The queries failed.
    #[error(transparent)]
    Analytics(#[from] AnalyticsError),
}

/// Runs every query over the tables of all datasets of `catalog`, each at its newest version, or as it was.
///
/// # Errors
/// If a table cannot be read; also if log clean-up has removed what an earlier version needs.
pub async fn analyse(
    lake: &Lake,
    catalog: &Catalog,
    queries: &QuerySet,
    limits: &QueryLimits,
    as_of: Option<AsOf>,
) -> Result<RunOutcome, AnalyseError> {
    let tables = pin_tables(lake, catalog, as_of).await?.into_iter().map(TableInput::from).collect();
    Ok(run_each_query(lake.store().clone(), tables, queries, limits).await?)
}

/// Pins the tables of all datasets of `catalog` at their newest versions, or as they were. The table of a dataset whose contract is broken has
/// the columns of its log; it is left out if it does not exist yet.
///
/// # Errors
/// If the log of a table cannot be read.
pub async fn pin_tables(
    lake: &Lake,
    catalog: &Catalog,
    as_of: Option<AsOf>,
) -> Result<Vec<PinnedTable>, LakeError> {
    let contracts: Vec<_> = catalog.contracts().cloned().collect();
    futures::stream::iter(contracts)
        .map(|contract| async move {
            let table = lake.table(&contract);
            let pinned = match as_of {
                None => table.pin_with_statistics().await?,
                Some(as_of) => table.pin_as_of(as_of).await?,
            };
            Ok((pinned.version.is_some() || contract.broken().is_none()).then_some(pinned))
        })
        .buffered(CONCURRENCY)
        .try_filter_map(async |pinned| Ok(pinned))
        .try_collect()
        .await
}

impl From<PinnedFile> for TableFile {
    fn from(PinnedFile { path, size, rows: _, partition, statistics }: PinnedFile) -> Self {
        TableFile { path, size, partition, statistics }
    }
}

impl From<PinnedTable> for TableInput {
    fn from(pinned: PinnedTable) -> Self {
        TableInput {
            name: pinned.dataset,
            version: pinned.version,
            schema: pinned.schema,
            partition_columns: pinned.partition_columns,
            files: pinned.files.into_iter().map(TableFile::from).collect(),
        }
    }
}
