//! Operators: they recover what was left on the way, with the code of `pinlake recover`, one at a time or two at once, and may be
//! killed at any request like anything else.

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

/// Nobody limits a command's time: only the world's patience.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// What an operator does besides replaying what was given up and taking up again what was set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Then {
    Nothing,
    /// `--into-tables`.
    IntoTables,
    /// `pinlake redrive` without a queue.
    Redrive,
}

/// Whether something waits for an operator.
pub async fn is_needed(world: &World) -> bool {
    for prefix in ["aws", "failed"] {
        let listed: Result<Vec<_>, _> = world.memory.list(Some(&Path::from(prefix))).try_collect().await;
        if !listed.is_ok_and(|listed| listed.is_empty()) {
            return true;
        }
    }
    false
}

/// Comes when something waits, sometimes while faults still last; and when the plan says so, twice at once.
pub async fn watch(world: Arc<World>, queue: Arc<Queue>) {
    let (planned, on_call) = (world.clone(), queue.clone());
    tokio::spawn(async move {
        for at in planned.plan.operators.clone() {
            sleep(at.saturating_sub(planned.time())).await;
            planned.trace.reached("two operators at once");
            let then = [Then::Nothing, Then::IntoTables, Then::Redrive];
            let [one, other] = std::array::from_fn(|_| then[planned.rng.index(then.len())]);
            let [one, other] = [one, other].map(|then| operate_until_done(&planned, &on_call, then));
            futures::future::join(one, other).await;
        }
    });
    let impatient = world.rng.chance(500);
    loop {
        sleep(world.rng.millis(2_000, 20_000)).await;
        if (world.is_healed() || impatient) && is_needed(&world).await {
            let under_way = world.under_way();
            operate(&world, &queue, Then::Nothing).await;
            drop(under_way);
        }
        if world.is_healed() {
            for key in files::discarded(&world) {
                world.trace.reached("files put back");
                queue.announce(SINK, &key);
                // A message may take its time.
                sleep(Duration::from_secs(200)).await;
            }
        }
    }
}

/// One command.
/// A redrive that was broken off has to be done again (`docs/commit-protocol.md`, "Reconciliation"): whoever sees the command fail does
/// so. What the other commands leave, others find.
async fn operate_until_done(world: &Arc<World>, queue: &Arc<Queue>, then: Then) {
    let _under_way = world.under_way();
    while !operate(world, queue, then).await && then == Then::Redrive {
        sleep(world.rng.millis(1_000, 10_000)).await;
    }
}

/// Whether the commands were carried out to their end.
async fn operate(world: &Arc<World>, queue: &Arc<Queue>, then: Then) -> bool {
    let process = Process::new("operator");
    let store = Store::of(world, &process, queue);
    world.tell(|| format!("an operator recovers, then {then:?}"));
    if then != Then::Nothing {
        // What it inserts is in no compactor's report.
        world.ledger.open().unreported = true;
    }
    put_back_files(world, queue).await;
    let done = process.invoke(world, TIME_LIMIT, recover(world, &store, then)).await;
    match done {
        Some(Ok(())) => {
            world.trace.reached("recoveries");
            true
        }
        Some(Err(error)) => {
            world.tell(|| format!("operator: {error}"));
            false
        }
        None => false,
    }
}

async fn recover(world: &World, store: &Arc<dyn ObjectStore>, then: Then) -> Result<(), LakeError> {
    let lake = Lake::new(store.clone(), world.effects()).with_key_bytes(world.plan.key_bytes);
    let catalog = contracts::catalog(world.release(Function::Operator));
    let bounds = &world.plan.bounds;
    for batch in discarded::list(&**store, bounds.discarded).await?.batches {
        recover::replay(store, store, lake.catalog_history(), &catalog, &batch, Some(STREAM)).await?;
    }
    for failed in recover::list_failed(&**store, bounds.failed).await?.found {
        match recover::retry_failed(store, lake.catalog_history(), &catalog, &failed).await? {
            RetryOutcome::CleanedAgain | RetryOutcome::PutBack => {
                world.trace.reached("objects taken up again")
            }
            RetryOutcome::Gone | RetryOutcome::Stays => {}
        }
    }
    match then {
        Then::Nothing => {}
        Then::IntoTables => {
            let budget = CompactionLimits { objects: world.plan.take, ..CompactionLimits::default() };
            let mut datasets = object::datasets(&**store).await?;
            datasets.extend(catalog.contracts().map(|contract| contract.name.clone()));
            for dataset in datasets {
                while lake.compact(&catalog, &dataset, budget).await?.more {}
            }
        }
        Then::Redrive => {
            lake.redrive(&catalog, None).await?;
        }
    }
    Ok(())
}

/// Files that were set aside though nothing is wrong with them: somebody moves them back into the inbox.
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
        world.tell(|| format!("an operator moves {} to {to}", meta.location));
        world.trace.reached("files put back");
        world.stamp(LAKE, &to, &bytes);
        // Memory does not fail.
        let _ = world.memory.put(&to, bytes.into()).await;
        let _ = world.memory.delete(&meta.location).await;
        queue.announce(LAKE, to.as_ref());
    }
}
