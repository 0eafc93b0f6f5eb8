//! Collects the state of a lake: what is in each table, when it was committed last, what waits to be inserted, and what
//! is in quarantine.
//!
//! A table that cannot be read is part of the state. This crate runs no queries, so `pinlake status` and the function
//! `report` give the same answer.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::StreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use pinlake_lake::{Lake, LakeError, QuarantineCounts, QuarantineGroup, TABLES};
use pinlake_landing::name::{LANDING, dataset_of};
use pinlake_landing::watermark::WATERMARKS;
use pinlake_report::{CommitState, DatasetState, State, Waiting};
use pinlake_schema::{BrokenContract, CANARY, Catalog, Contract, QUARANTINE};
use pinlake_store::list_bounded;

/// Tables that are read at the same time.
const CONCURRENCY: usize = 8;
/// Landing objects that are counted. More are reported as a lower limit.
const MAX_WAITING: usize = 5000;

/// Days of arrival by which quarantined records are counted.
const MAX_DAYS: usize = 31;
/// Watermarks that are listed: one for each shard or partition.
const MAX_WATERMARKS: usize = 1000;

type Failure = Box<dyn Error + Send + Sync>;

/// An error and its causes on one line.
pub fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let part = error.to_string();
        // Many libraries repeat the cause in their message.
        if !text.ends_with(&part) {
            text.push_str(": ");
            text.push_str(&part);
        }
        cause = error.source();
    }
    text
}

/// Reads the state of every dataset of `catalog`, and names the tables without a contract. A table that cannot be read
/// is part of the state.
pub async fn collect(lake: &Lake, catalog: &Catalog) -> State {
    let store = &**lake.store();
    let (mut datasets, tables, counts, waiting, landed_at) = futures::join!(
        read_datasets(lake, catalog),
        list_tables(store),
        lake.count_quarantined(catalog),
        count_waiting(store),
        find_newest_watermark(store),
    );
    let mut state = State::default();
    let mut problems = Vec::new();
    match counts {
        Ok(counts) => add_quarantined(counts, &mut state, &mut datasets),
        Err(error) => problems.push(with_causes(&error)),
    }
    match tables {
        Ok(tables) => {
            for name in tables {
                datasets.entry(name.clone()).or_insert_with(|| without_contract(name));
            }
        }
        Err(error) => problems.push(with_causes(&*error)),
    }
    match waiting {
        Ok(waiting) => {
            for (name, waiting) in waiting {
                if let Some(state) = datasets.get_mut(&name) {
                    state.waiting = Some(waiting);
                }
            }
        }
        Err(error) => problems.push(with_causes(&*error)),
    }
    match landed_at {
        Ok(landed_at) => state.landed_at = landed_at,
        Err(error) => problems.push(with_causes(&*error)),
    }
    for broken in catalog.broken().iter().filter(|broken| broken.dataset.is_none()) {
        let problem = Some(describe_broken(broken));
        let state = DatasetState { dataset: broken.file.clone(), problem, ..DatasetState::default() };
        datasets.entry(broken.file.clone()).or_insert(state);
    }
    state.datasets = datasets.into_values().collect();
    state.quarantine_problem = problems.into_iter().next();
    state
}

/// Reads the state of each dataset with a contract, by name.
async fn read_datasets(lake: &Lake, catalog: &Catalog) -> BTreeMap<String, DatasetState> {
    let contracts: Vec<_> = catalog.datasets().cloned().collect();
    futures::stream::iter(contracts)
        .map(|contract| async move {
            let mut state = read_dataset(lake, &contract).await.unwrap_or_else(|error| DatasetState {
                dataset: contract.name.clone(),
                problem: Some(with_causes(&error)),
                ..DatasetState::default()
            });
            if let Some(broken) = contract.broken() {
                state.problem = Some(describe_broken(broken));
            }
            (state.dataset.clone(), state)
        })
        .buffered(CONCURRENCY)
        .collect()
        .await
}

/// Adds the numbers of quarantined records to the datasets that they were meant for.
fn add_quarantined(
    counts: QuarantineCounts,
    state: &mut State,
    datasets: &mut BTreeMap<String, DatasetState>,
) {
    for (QuarantineGroup { dataset, reason, day }, records) in counts {
        let (by_reason, by_day) = match dataset {
            None => (&mut state.unrouted, &mut state.unrouted_by_day),
            Some(name) => {
                let own = datasets.entry(name.clone()).or_insert_with(|| without_contract(name));
                (&mut own.quarantined, &mut own.quarantined_by_day)
            }
        };
        if let Some(day) = day {
            *by_day.entry(day.to_string()).or_default().entry(reason.clone()).or_default() += records;
            // Groups are in the order of reasons, so a day may be dropped and come again.
            while by_day.len() > MAX_DAYS {
                by_day.pop_first();
            }
        }
        *by_reason.entry(reason).or_default() += records;
    }
}

fn describe_broken(broken: &BrokenContract) -> String {
    format!("its contract is broken, new records wait in quarantine: {broken}")
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

/// The landing objects of each dataset.
async fn count_waiting(store: &dyn ObjectStore) -> Result<BTreeMap<String, Waiting>, Failure> {
    let mut waiting: BTreeMap<String, Waiting> = BTreeMap::new();
    let folder = Path::from(LANDING);
    let listed = list_bounded(store, &folder, MAX_WAITING, |meta| {
        let dataset = dataset_of(meta.location.as_ref())?.to_owned();
        let of_dataset = waiting.entry(dataset).or_insert_with(|| Waiting {
            objects: 0,
            bytes: 0,
            since: meta.last_modified,
            is_lower_limit: false,
        });
        of_dataset.objects += 1;
        of_dataset.bytes += meta.size;
        of_dataset.since = of_dataset.since.min(meta.last_modified);
        Some(())
    });
    let is_truncated = listed.await?.is_truncated;
    waiting.values_mut().for_each(|waiting| waiting.is_lower_limit = is_truncated);
    Ok(waiting)
}

/// When a watermark was advanced last.
async fn find_newest_watermark(store: &dyn ObjectStore) -> Result<Option<DateTime<Utc>>, Failure> {
    let folder = Path::from(WATERMARKS);
    let listed = list_bounded(store, &folder, MAX_WATERMARKS, |meta| Some(meta.last_modified)).await?;
    Ok(listed.found.into_iter().max())
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;
    use pinlake_clean::{Position, RecordCleaner, RecordOrigin};
    use pinlake_env::Env;

    #[tokio::test]
    async fn the_state_has_rows_commits_quarantine_and_what_waits() {
        let store = Arc::new(InMemory::new());
        let (lake, catalog) =
            (Lake::new(store.clone(), Env::system()), Arc::new(Catalog::embedded().unwrap()));
        let empty = collect(&lake, &catalog).await;
        assert!(empty.datasets.iter().all(|dataset| dataset.version.is_none() && dataset.waiting.is_none()));

        let mut cleaner = RecordCleaner::new(catalog.clone(), "2022-10-19T12:00:00Z".parse().unwrap());
        let user = r#"{"ind": 1, "first_name": "Ann", "age": "20", "date_joined": "2015-06-01 00:00:00"}"#;
        for (line, record) in (1..).zip([user, r#"{"ind": 2, "age": "unknown"}"#, r#"{"run": 7}"#]) {
            let origin = RecordOrigin { source: "test", position: Position::Line(line), record_id: None };
            let hint = (!record.contains("run")).then_some("user");
            cleaner.push(record.as_bytes(), hint, &origin);
        }
        for cleaned in cleaner.drain() {
            lake.insert(&catalog, &cleaned.contract, &[cleaned.rows]).await.unwrap();
        }
        for name in ["1", "2"] {
            let path = format!("landing/user/h/20221019T1200/stream/0/{name}.parquet");
            store.put(&Path::from(path), "rows".into()).await.unwrap();
        }
        store.put(&Path::from("state/watermarks/stream/0.json"), "{}".into()).await.unwrap();
        store.put(&Path::from("tables/nobody/_delta_log/x"), "".into()).await.unwrap();

        let state = collect(&lake, &catalog).await;
        let of = |name: &str| state.datasets.iter().find(|dataset| dataset.dataset == name).unwrap();
        let user = of("user");
        assert_eq!((user.version, user.rows, user.files), (Some(1), Some(1), 1));
        assert_eq!(user.last_commit.as_ref().unwrap().inserted, Some(1));
        let waiting = user.waiting.as_ref().unwrap();
        assert_eq!((waiting.objects, waiting.bytes, waiting.is_lower_limit), (2, 8, false));
        assert_eq!(user.quarantined.values().sum::<u64>(), 1);
        assert_eq!(user.quarantined_by_day["2022-10-19"], user.quarantined);
        assert_eq!((state.unrouted.values().sum::<u64>(), state.unrouted_by_day.len()), (1, 1));
        assert!(state.landed_at.is_some() && empty.landed_at.is_none());
        assert!(of("nobody").problem.as_ref().unwrap().contains("no contract"));
        assert_eq!(state.quarantine_problem, None);
    }
}
