//! Collects the state of a lake: what is in each table, when it was committed last, and what is in quarantine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use futures::StreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use pinlake_analytics::{Dialect, Limits, QuerySet, TableInput, run_queries_with_limits};
use pinlake_lake::{Lake, LakeError};
use pinlake_report::{CommitState, DatasetState, State};
use pinlake_schema::{CANARY, Catalog, Contract, QUARANTINE};
use serde_json::Value;

use crate::error::with_causes;

/// Tables that are read at the same time.
const CONCURRENCY: usize = 8;
/// Folder of the tables.
const TABLES: &str = "tables";
const UNRESOLVED: &str = "SELECT dataset, reason, COUNT(*) AS records FROM quarantine WHERE resolved_at IS NULL \
                          GROUP BY dataset, reason ORDER BY dataset, reason";

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Reads the state of every dataset of `catalog`, and names the tables without a contract. A table that cannot be read
/// is part of the state.
pub async fn collect(lake: &Lake, catalog: &Catalog) -> State {
    let contracts: Vec<_> = catalog.datasets().cloned().collect();
    let mut datasets: BTreeMap<String, DatasetState> = futures::stream::iter(contracts)
        .map(|contract| async move {
            let state = read_dataset(lake, &contract).await.unwrap_or_else(|error| DatasetState {
                dataset: contract.name.clone(),
                problem: Some(with_causes(&error)),
                ..DatasetState::default()
            });
            (state.dataset.clone(), state)
        })
        .buffered(CONCURRENCY)
        .collect()
        .await;
    let mut state = State::default();
    let mut others = BTreeSet::new();
    let mut problem = None;
    match list_tables(&**lake.store()).await {
        Ok(tables) => others.extend(tables),
        Err(error) => problem = Some(with_causes(&*error)),
    }
    match count_quarantined(lake, catalog).await {
        Err(error) => problem = Some(with_causes(&*error)),
        Ok(counts) => {
            for (dataset, reason, records) in counts {
                match dataset {
                    None => drop(state.unrouted.insert(reason, records)),
                    Some(name) => {
                        let of_dataset =
                            datasets.entry(name.clone()).or_insert_with(|| without_contract(name));
                        of_dataset.quarantined.insert(reason, records);
                    }
                }
            }
        }
    }
    for name in others {
        datasets.entry(name.clone()).or_insert_with(|| without_contract(name));
    }
    state.datasets = datasets.into_values().collect();
    state.quarantine_problem = problem;
    state
}

fn without_contract(dataset: String) -> DatasetState {
    let problem = Some("it has no contract here; name the folder of its contract with --datasets".to_owned());
    DatasetState { dataset, problem, ..DatasetState::default() }
}

async fn read_dataset(lake: &Lake, contract: &Arc<Contract>) -> Result<DatasetState, LakeError> {
    let table = lake.table(contract);
    let pinned = table.pin().await?;
    let last_commit = match pinned.version {
        Some(version) => table.read_commit(version).await?,
        None => None,
    };
    Ok(DatasetState {
        dataset: pinned.dataset,
        version: pinned.version,
        rows: pinned.files.iter().map(|file| file.rows).sum(),
        bytes: pinned.files.iter().map(|file| file.size).sum(),
        files: pinned.files.len() as u64,
        last_commit: last_commit.map(|commit| CommitState {
            at: commit.committed_at,
            operation: commit.operation,
            inserted: commit.inserted,
            duplicates: commit.duplicates,
        }),
        ..DatasetState::default()
    })
}

/// The names of the folders with tables of datasets.
async fn list_tables(store: &dyn ObjectStore) -> Result<Vec<String>, Failure> {
    let listed = store.list_with_delimiter(Some(&Path::from(TABLES))).await?;
    let names = listed.common_prefixes.iter().filter_map(|folder| folder.filename().map(str::to_owned));
    Ok(names.filter(|name| ![QUARANTINE, CANARY].contains(&name.as_str())).collect())
}

/// Dataset, reason and number of the records that are not resolved.
async fn count_quarantined(
    lake: &Lake,
    catalog: &Catalog,
) -> Result<Vec<(Option<String>, String, u64)>, Failure> {
    let queries =
        QuerySet::from_files(Dialect::Shared, [("quarantine.sql".to_owned(), UNRESOLVED.to_owned())])?;
    let pinned = lake.table(catalog.quarantine()).pin().await?;
    let tables = vec![TableInput::from(pinned)];
    let results = run_queries_with_limits(lake.store().clone(), tables, &queries, &Limits::default()).await?;
    let rows = results.get(QUARANTINE).map(|result| result.rows.as_slice()).unwrap_or_default();
    let text = |cell: Option<&Value>| cell.and_then(Value::as_str).map(str::to_owned);
    let counts = rows.iter().map(|row| {
        let reason = text(row.get(1)).unwrap_or_default();
        (text(row.first()), reason, row.get(2).and_then(Value::as_u64).unwrap_or(0))
    });
    Ok(counts.collect())
}
