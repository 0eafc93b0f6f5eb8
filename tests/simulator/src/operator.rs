//! Operators: they recover discarded batches and failed objects with the code of `pinlake recover`, one or two at a time.
//! They can be killed at any request.

use std::sync::Arc;
use std::time::Duration;

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_lake::{CompactionLimits, Lake, LakeError};
use pinlake_landing::recover::{self, RetryOutcome};
use pinlake_landing::{discarded, object};
use tokio::time::sleep;

use crate::contracts;
use crate::files::{self, LAKE, SINK};
use crate::kinesis::STREAM;
use crate::process::Process;
use crate::queue::Queue;
use crate::store::Store;
use crate::world::{Function, World};

/// Time limit of a command.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// What an operator does after it recovered discarded batches and failed objects.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FollowUp {
    Nothing,
    /// `--into-tables`.
    IntoTables,
    /// `pinlake redrive` without a queue.
    Redrive,
}

/// Whether an operator is needed.
pub async fn is_needed(world: &World) -> bool {
    for prefix in ["aws", "failed"] {
        let listed: Result<Vec<_>, _> = world.memory.list(Some(&Path::from(prefix))).try_collect().await;
        if !listed.is_ok_and(|listed| listed.is_empty()) {
            return true;
        }
    }
    false
}

/// Starts an operator when one is needed, sometimes during the faults, and two at once at the times of the scenario.
pub async fn watch(world: Arc<World>, queue: Arc<Queue>) {
    let (planned, on_call) = (world.clone(), queue.clone());
    tokio::spawn(async move {
        for at in planned.scenario.operators.clone() {
            sleep(at.saturating_sub(planned.time())).await;
            planned.trace.count("two operators at once");
            let then = [FollowUp::Nothing, FollowUp::IntoTables, FollowUp::Redrive];
            let [one, other] = std::array::from_fn(|_| then[planned.rng.index(then.len())]);
            let [one, other] = [one, other].map(|then| operate_until_done(&planned, &on_call, then));
            futures::future::join(one, other).await;
        }
    });
    let impatient = world.rng.chance(500);
    loop {
        sleep(world.rng.millis(2_000, 20_000)).await;
        if (world.has_stopped_faults() || impatient) && is_needed(&world).await {
            let in_progress = world.begin_work();
            operate(&world, &queue, FollowUp::Nothing).await;
            drop(in_progress);
        }
        if world.has_stopped_faults() {
            for key in files::discarded(&world) {
                world.trace.count("files put back");
                queue.announce(SINK, &key);
                // A message can be late.
                sleep(Duration::from_secs(200)).await;
            }
        }
    }
}

/// Runs one command. An interrupted redrive must be repeated (`docs/commit-protocol.md`, "Reconciliation"); for the other
/// commands another operator finds what is left.
async fn operate_until_done(world: &Arc<World>, queue: &Arc<Queue>, then: FollowUp) {
    let _under_way = world.begin_work();
    while !operate(world, queue, then).await && then == FollowUp::Redrive {
        sleep(world.rng.millis(1_000, 10_000)).await;
    }
}

/// Runs the commands once. `true`: all of them completed.
async fn operate(world: &Arc<World>, queue: &Arc<Queue>, then: FollowUp) -> bool {
    let process = Process::new("operator");
    let store = Store::open_lake(world, &process, queue);
    world.log(|| format!("an operator recovers, then {then:?}"));
    if then != FollowUp::Nothing {
        // No compactor reports what it inserts.
        world.ledger.lock().unreported = true;
    }
    put_back_files(world, queue).await;
    let done = process.invoke(world, TIME_LIMIT, recover(world, &store, then)).await;
    match done {
        Some(Ok(())) => {
            world.trace.count("recoveries");
            true
        }
        Some(Err(error)) => {
            world.log(|| format!("operator: {error}"));
            false
        }
        None => false,
    }
}

async fn recover(world: &World, store: &Arc<dyn ObjectStore>, then: FollowUp) -> Result<(), LakeError> {
    let lake = Lake::new(store.clone(), world.env()).with_key_bytes(world.scenario.key_bytes);
    let catalog = contracts::catalog(world.catalog_version(Function::Operator));
    let bounds = &world.scenario.bounds;
    for batch in discarded::list(&**store, bounds.discarded).await?.batches {
        recover::replay(store, store, lake.catalog_history(), &catalog, &batch, Some(STREAM)).await?;
    }
    for failed in recover::list_failed(&**store, bounds.failed).await?.found {
        match recover::retry_failed(store, lake.catalog_history(), &catalog, &failed).await? {
            RetryOutcome::CleanedAgain | RetryOutcome::PutBack => world.trace.count("failed objects retried"),
            RetryOutcome::Gone | RetryOutcome::Stays => {}
        }
    }
    match then {
        FollowUp::Nothing => {}
        FollowUp::IntoTables => {
            let budget =
                CompactionLimits { objects: world.scenario.max_objects, ..CompactionLimits::default() };
            let mut datasets = object::list_datasets(&**store).await?;
            datasets.extend(catalog.contracts().map(|contract| contract.name.clone()));
            for dataset in datasets {
                while lake.compact(&catalog, &dataset, budget).await?.more {}
            }
        }
        FollowUp::Redrive => {
            lake.redrive(&catalog, None).await?;
        }
    }
    Ok(())
}

/// Moves intact files from `failed/` back into the inbox.
async fn put_back_files(world: &Arc<World>, queue: &Arc<Queue>) {
    let prefix = Path::from("failed/inbox");
    let listed: Result<Vec<_>, _> = world.memory.list(Some(&prefix)).try_collect().await;
    for meta in listed.unwrap_or_default() {
        // `failed/inbox/<path>/<id>/<name>`
        let parts: Vec<String> = meta.location.parts().map(|part| part.as_ref().to_owned()).collect();
        let Some((name, folders)) = parts.split_last() else { continue };
        let Some((_, folders)) = folders.split_last() else { continue };
        let to = Path::from_iter(folders.iter().skip(1).chain([name]).map(String::as_str));
        let Ok(got) = world.memory.get(&meta.location).await else { continue };
        let Ok(bytes) = got.bytes().await else { continue };
        world.log(|| format!("an operator moves {} to {to}", meta.location));
        world.trace.count("files put back");
        world.stamp(LAKE, &to, &bytes);
        // The in-memory store does not fail.
        let _ = world.memory.put(&to, bytes.into()).await;
        let _ = world.memory.delete(&meta.location).await;
        queue.announce(LAKE, to.as_ref());
    }
}
