//! Checks "drained" during a run, and the whole guarantee at the end of the run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_lake::Lake;
use pinlake_landing::drain;
use tokio::time::sleep;

use crate::contracts::{self, CatalogVersion, Rule};
use crate::files;
use crate::invariants::{self, Copies};
use crate::kinesis::STREAM;
use crate::ledger::{Content, Receipt, RecordId};
use crate::process::Process;
use crate::queue::Queue;
use crate::store::Store;
use crate::trace::Violation;
use crate::world::World;

/// Checks repeatedly whether the pipeline has drained for some acknowledgements. Whenever it reports so, it
/// must be true.
pub async fn check_drained_answers(world: Arc<World>, queue: Arc<Queue>) {
    let store = Store::open_lake(&world, &Process::new("client"), &queue);
    let bounds = world.scenario.bounds;
    loop {
        let often = if world.has_stopped_faults() { 40_000 } else { 8_000 };
        sleep(world.rng.millis(500, often)).await;
        let receipt = {
            let book = world.ledger.lock();
            if book.receipts.is_empty() {
                continue;
            }
            let all = world.rng.chance(300);
            if all {
                merge_receipts(&book.receipts, STREAM)
            } else {
                book.receipts[world.rng.index(book.receipts.len())].clone()
            }
        };
        let Ok(backlog) =
            drain::measure_backlog(&*store, &*store, Some(receipt.stream), &receipt.acknowledged, &bounds)
                .await
        else {
            continue;
        };
        if !backlog.truncated.is_empty() {
            world.trace.count("backlog checks that reached a limit");
        }
        if backlog.is_drained() {
            world.trace.count("drained answers");
            let invariants = world.invariants();
            let mut wanted: BTreeMap<&Content, BTreeSet<&RecordId>> = BTreeMap::new();
            for (content, id) in &receipt.records {
                wanted.entry(content).or_default().insert(id);
            }
            let is_missing = |content: &Content, ids: u64| match contracts::rule(content) {
                Rule::Each => invariants.times(content) < ids,
                Rule::Once | Rule::Yields => !invariants.has(content),
            };
            let missing = wanted.into_iter().filter(|(content, ids)| is_missing(content, ids.len() as u64));
            let missing: Vec<&Content> = missing.map(|(content, _)| content).collect();
            let (first, count) = (missing.first().map(ToString::to_string), missing.len());
            drop(invariants);
            if let Some(first) = first {
                world.report_violation(
                    Violation::FalselyDrained,
                    format!("drained, but {count} rows are missing, such as {first}"),
                );
            }
        }
    }
}

fn merge_receipts(receipts: &[Receipt], stream: &'static str) -> Receipt {
    let mut all = Receipt { stream, ..Receipt::default() };
    for receipt in receipts.iter().filter(|receipt| receipt.stream == stream) {
        for (shard, sequence) in &receipt.acknowledged {
            let highest = all.acknowledged.entry(shard.clone()).or_insert_with(|| sequence.clone());
            if *sequence > *highest {
                *highest = sequence.clone();
            }
        }
        all.records.extend(receipt.records.iter().cloned());
    }
    all
}

/// Whether there is no work left. Reads the store without faults.
pub async fn is_idle(world: &World) -> bool {
    world.has_nothing_in_progress() && list_remaining(world).await.is_empty()
}

/// Lists objects that are still to be processed.
pub async fn list_remaining(world: &World) -> String {
    let mut left = String::new();
    for prefix in ["landing", "inbox", "failed", "aws"] {
        let listed = world.memory.list(Some(&Path::from(prefix))).take(3);
        let listed: Vec<_> = listed.try_collect().await.unwrap_or_default();
        listed.iter().for_each(|meta| left.push_str(&format!("{} ", meta.location)));
    }
    files::discarded(world).iter().for_each(|key| left.push_str(&format!("{key} ")));
    left
}

/// Checks the guarantee from the store alone, as a reader of the tables sees it.
pub async fn check_guarantee(world: &Arc<World>) {
    let store: Arc<dyn ObjectStore> = Arc::new(world.memory.fork());
    let lake = Lake::new(store.clone(), world.env());
    let mut found: BTreeMap<Content, Copies> = BTreeMap::new();
    // The catalog that was deployed last may not have all datasets.
    let catalog = contracts::catalog(CatalogVersion::First);
    for contract in catalog.contracts() {
        let dataset = contract.name.as_str();
        let pinned = match lake.table(contract).pin().await {
            Ok(pinned) => pinned,
            Err(error) => {
                world.report_violation(Violation::WrongFiles, format!("{dataset} cannot be read: {error}"));
                continue;
            }
        };
        let mut rows = 0;
        for file in &pinned.files {
            let read = async {
                let got = store.get(&file.path).await.map_err(|error| error.to_string())?;
                let bytes = got.bytes().await.map_err(|error| error.to_string())?;
                if bytes.len() as u64 != file.size {
                    return Err(format!("{} bytes, the log says {}", bytes.len(), file.size));
                }
                invariants::read_rows(bytes)
            };
            match read.await {
                Ok(batches) => {
                    for (content, has_contract) in
                        batches.iter().flat_map(|batch| invariants::row_contents(dataset, batch))
                    {
                        rows += 1;
                        found.entry(content).or_default().add(has_contract);
                    }
                }
                Err(why) => world.report_violation(Violation::WrongFiles, format!("{}: {why}", file.path)),
            }
        }
        let inserted = world.invariants().inserted(dataset);
        if inserted != rows {
            world.report_violation(
                Violation::WrongCounts,
                format!("{dataset} has {rows} rows, its commits inserted {inserted}"),
            );
        }
        let book = world.ledger.lock();
        let reported = book.inserted.get(dataset).copied().unwrap_or(0);
        let all_reported = !book.unreported;
        drop(book);
        if reported > rows || (all_reported && reported != rows) {
            world.report_violation(
                Violation::WrongCounts,
                format!("{dataset} has {rows} rows, compactors reported {reported}"),
            );
        }
    }
    let promises = world.ledger.lock().promises.clone();
    for (content, promise) in &promises {
        let places = found.remove(content).unwrap_or_default();
        if places.all() < promise.min_copies(content) {
            let acknowledged = &promise.acknowledged;
            world.report_violation(
                Violation::Lost,
                format!("{content} has the rows {places:?}, acknowledged as {acknowledged:?}"),
            );
        }
        if promise.is_exceeded(content, places) {
            let sent = &promise.sent;
            world.report_violation(
                Violation::Duplicated,
                format!("{content} has the rows {places:?}, sent as {sent:?}"),
            );
        }
    }
    for (content, _) in found {
        // A resolved record is in its table, which was checked above; but it must have been sent.
        if content.strip_prefix(invariants::RESOLVED).is_some_and(|content| promises.contains_key(content)) {
            world.trace.count("records resolved");
            continue;
        }
        if files::is_file_row(&content) {
            continue;
        }
        world.report_violation(Violation::Unexpected, format!("{content} was not sent"));
    }
}

/// How long a run must be idle before it is complete, because work can come back.
pub const IDLE_TIME: Duration = Duration::from_secs(60);
