//! Collects the state of a lake: what is in each table, when it was committed last, what waits to be inserted, and what
//! is in quarantine.
//!
//! A table that cannot be read is part of the state. This crate runs no queries, so `pinlake status` and the function
//! `report` give the same answer.

mod activity;
mod commits;
mod cost;

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::StreamExt;
use object_store::ObjectStore;
use object_store::path::Path;
use pinlake_lake::{Lake, LakeError, QuarantineCounts, QuarantineGroup, TABLES};
use pinlake_landing::name::{LANDING, dataset_of};
use pinlake_landing::watermark::WATERMARKS;
use pinlake_report::{CommitState, DatasetState, State, Waiting};
use pinlake_schema::{BrokenContract, CANARY, Catalog, Contract, QUARANTINE};
use pinlake_store::list_bounded;

use crate::activity::QuarantinedByHour;
pub use crate::commits::CommitCache;
use crate::commits::NewestCommits;
use crate::cost::DatasetUse;

/// Tables that are read at the same time.
const CONCURRENCY: usize = 8;
/// Landing objects that are counted. More are reported as a lower limit.
const MAX_WAITING: usize = 5000;

/// Days of arrival by which quarantined records are counted, and of commits that are read.
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

/// What was read of a dataset.
struct DatasetRead {
    state: DatasetState,
    commits: NewestCommits,
    checkpoint_version: Option<u64>,
}

/// Reads the state of every dataset of `catalog`, and names the tables without a contract. A table that cannot be read
/// is part of the state. `cache` has the commits that were read before.
pub async fn collect(lake: &Lake, catalog: &Catalog, now: DateTime<Utc>, cache: &CommitCache) -> State {
    let store = &**lake.store();
    let since = now - TimeDelta::days(MAX_DAYS as i64);
    let (reads, tables, counts, waiting, watermarks) = futures::join!(
        read_datasets(lake, catalog, since, cache),
        list_tables(store),
        lake.count_quarantined(catalog),
        count_waiting(store),
        find_watermarks(store),
    );
    let mut state = State::default();
    let mut problems = Vec::new();
    let mut datasets: BTreeMap<String, DatasetState> =
        reads.iter().map(|read| (read.state.dataset.clone(), read.state.clone())).collect();
    let mut by_hour = BTreeMap::new();
    match counts {
        Ok(counts) => by_hour = add_quarantined(counts, &mut state, &mut datasets),
        Err(error) => problems.push(with_causes(&error)),
    }
    let none = QuarantinedByHour::new();
    let hours_of = |dataset: &str| by_hour.get(dataset).unwrap_or(&none);
    for DatasetRead { state: DatasetState { dataset, .. }, commits, checkpoint_version } in &reads {
        if let Some(state) = datasets.get_mut(dataset) {
            state.activity = activity::summarize(commits, hours_of(dataset), *checkpoint_version, since, now);
        }
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
    match watermarks {
        Ok((shards, landed_at)) => (state.shards, state.landed_at) = (shards, landed_at),
        Err(error) => problems.push(with_causes(&*error)),
    }
    if state.landed_at.is_some() {
        let uses = reads.iter().map(|DatasetRead { state, commits, .. }| DatasetUse {
            commits,
            quarantined: hours_of(&state.dataset),
            rows: state.rows.unwrap_or(0),
            bytes: state.bytes,
        });
        match cost::estimate(&uses.collect::<Vec<_>>(), now) {
            Ok(estimate) => state.cost = estimate,
            Err(error) => problems.push(with_causes(&error)),
        }
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

/// Reads each dataset with a contract.
async fn read_datasets(
    lake: &Lake,
    catalog: &Catalog,
    since: DateTime<Utc>,
    cache: &CommitCache,
) -> Vec<DatasetRead> {
    let contracts: Vec<_> = catalog.datasets().cloned().collect();
    futures::stream::iter(contracts)
        .map(|contract| async move {
            let read = read_dataset(lake, &contract, since, cache).await;
            let mut read = read.unwrap_or_else(|error| DatasetRead {
                state: DatasetState {
                    dataset: contract.name.clone(),
                    problem: Some(with_causes(&error)),
                    ..DatasetState::default()
                },
                commits: NewestCommits::default(),
                checkpoint_version: None,
            });
            if let Some(broken) = contract.broken() {
                read.state.problem = Some(describe_broken(broken));
            }
            read
        })
        .buffered(CONCURRENCY)
        .collect()
        .await
}

/// Adds the numbers of quarantined records to the datasets that they were meant for. Returns them by dataset and hour.
fn add_quarantined(
    counts: QuarantineCounts,
    state: &mut State,
    datasets: &mut BTreeMap<String, DatasetState>,
) -> BTreeMap<String, QuarantinedByHour> {
    let mut by_hour: BTreeMap<String, QuarantinedByHour> = BTreeMap::new();
    for (QuarantineGroup { dataset, reason, hour }, records) in counts {
        if let (Some(name), Some(hour)) = (&dataset, hour) {
            *by_hour.entry(name.clone()).or_default().entry(hour).or_default() += records;
        }
        let (by_reason, by_day) = match dataset {
            None => (&mut state.unrouted, &mut state.unrouted_by_day),
            Some(name) => {
                let own = datasets.entry(name.clone()).or_insert_with(|| without_contract(name));
                (&mut own.quarantined, &mut own.quarantined_by_day)
            }
        };
        if let Some(hour) = hour {
            *by_day.entry(hour.date_naive().to_string()).or_default().entry(reason.clone()).or_default() +=
                records;
            // Groups are in the order of reasons, so a day may be dropped and come again.
            while by_day.len() > MAX_DAYS {
                by_day.pop_first();
            }
        }
        *by_reason.entry(reason).or_default() += records;
    }
    by_hour
}

fn describe_broken(broken: &BrokenContract) -> String {
    format!("its contract is broken, new records wait in quarantine: {broken}")
}

fn without_contract(dataset: String) -> DatasetState {
    let problem = Some("it has no contract here; name the folder of its contract with --datasets".to_owned());
    DatasetState { dataset, problem, ..DatasetState::default() }
}

async fn read_dataset(
    lake: &Lake,
    contract: &Arc<Contract>,
    since: DateTime<Utc>,
    cache: &CommitCache,
) -> Result<DatasetRead, LakeError> {
    let table = lake.table(contract);
    let pinned = table.pin().await?;
    let (last_commit, commits, checkpoint_version) = match pinned.version {
        None => (None, NewestCommits::default(), None),
        Some(version) => futures::try_join!(
            table.read_commit(version),
            cache.read(&table, version, since),
            table.read_checkpoint_version(),
        )?,
    };
    let state = DatasetState {
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
    };
    Ok(DatasetRead { state, commits, checkpoint_version })
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

/// The number of watermarks, and when one was advanced last.
async fn find_watermarks(store: &dyn ObjectStore) -> Result<(u64, Option<DateTime<Utc>>), Failure> {
    let folder = Path::from(WATERMARKS);
    let listed = list_bounded(store, &folder, MAX_WATERMARKS, |meta| Some(meta.last_modified)).await?;
    Ok((listed.found.len() as u64, listed.found.into_iter().max()))
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
        let (now, cache) = (Env::system().clock.now(), CommitCache::default());
        let empty = collect(&lake, &catalog, now, &cache).await;
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

        let state = collect(&lake, &catalog, Env::system().clock.now(), &cache).await;
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
        let activity = user.activity.as_ref().unwrap();
        assert_eq!((activity.commits, activity.is_truncated, activity.periods.len()), (2, false, 1));
        assert_eq!(
            (activity.periods[0].inserted, activity.periods[0].quarantined),
            (1, 0),
            "it arrived years ago"
        );
        let cost = state.cost.as_ref().unwrap();
        assert_eq!((cost.records, cost.records_per_day, state.shards), (1, 1.0, 1));
        assert!(empty.cost.is_none() && empty.datasets.iter().all(|dataset| dataset.activity.is_none()));
        assert!(of("nobody").problem.as_ref().unwrap().contains("no contract"));
        assert_eq!(state.quarantine_problem, None);
    }
}
