//! The query set over a lake: every table pinned at one version.

use futures::{StreamExt, TryStreamExt};
use pinlake_lake::{Lake, LakeError, PinnedTable};
use pinlake_schema::Catalog;

use crate::{AnalyticsError, QuerySet, Results, TableInput, run};

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
pub async fn analyse(lake: &Lake, catalog: &Catalog, queries: &QuerySet) -> Result<Results, AnalyseError> {
    let contracts: Vec<_> = catalog.contracts().cloned().collect();
    let tables = futures::stream::iter(contracts)
        .map(|contract| async move { lake.table(&contract).pin().await.map(TableInput::from) })
        .buffered(CONCURRENCY)
        .try_collect()
        .await?;
    Ok(run(lake.store().clone(), tables, queries).await?)
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
