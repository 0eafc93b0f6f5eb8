//! The query set over a lake: every table pinned at one version.

use futures::{StreamExt, TryStreamExt};
use pinlake_lake::{Lake, LakeError, PinnedTable};
use pinlake_schema::Catalog;

use crate::{AnalyticsError, Limits, QuerySet, Results, TableInput, run_with};

/// Tables that are pinned at once.
const CONCURRENCY: usize = 8;

/// The answers cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum AnalyseError {
    /// A table cannot be read.
    #[error(transparent)]
    Lake(#[from] LakeError),
    /// The queries failed.
    #[error(transparent)]
    Analytics(#[from] AnalyticsError),
}

/// Answers every query over the tables of all `catalog`'s datasets, each at its newest version.
///
/// # Errors
/// When a table cannot be read, or a query fails.
pub async fn analyse(
    lake: &Lake,
    catalog: &Catalog,
    queries: &QuerySet,
    limits: &Limits,
) -> Result<Results, AnalyseError> {
    let tables = pin(lake, catalog).await?.into_iter().map(TableInput::from).collect();
    Ok(run_with(lake.store().clone(), tables, queries, limits).await?)
}

/// The tables of all `catalog`'s datasets, each at its newest version.
///
/// # Errors
/// When a table's log cannot be read.
pub async fn pin(lake: &Lake, catalog: &Catalog) -> Result<Vec<PinnedTable>, LakeError> {
    let contracts: Vec<_> = catalog.contracts().cloned().collect();
    futures::stream::iter(contracts)
        .map(|contract| async move { lake.table(&contract).pin().await })
        .buffered(CONCURRENCY)
        .try_collect()
        .await
}

impl From<PinnedTable> for TableInput {
    fn from(pinned: PinnedTable) -> Self {
        TableInput {
            name: pinned.dataset,
            version: pinned.version,
            schema: pinned.schema,
            files: pinned.files.into_iter().map(|file| (file.path, file.size)).collect(),
        }
    }
}
