//! Rebuilds: at the times of the scenario an operator writes a table again with the code of `pinlake rebuild`, while records arrive. The
//! command can be killed at any request, and is then started again.

use std::sync::Arc;
use std::time::Duration;

use pinlake_lake::Lake;
use tokio::time::sleep;

use crate::contracts;
use crate::process::Process;
use crate::queue::Queue;
use crate::store::Store;
use crate::world::{Function, World};

/// Time limit of a command.
const TIME_LIMIT: Duration = Duration::from_secs(600);

/// Rebuilds tables at the times of the scenario.
pub async fn rebuild_tables(world: Arc<World>, queue: Arc<Queue>) {
    for (at, dataset) in world.scenario.rebuilds.clone() {
        sleep(at.saturating_sub(world.time())).await;
        let _under_way = world.begin_work();
        while !rebuild(&world, &queue, dataset).await && !world.has_stopped_faults() {
            sleep(world.rng.millis(500, 10_000)).await;
        }
    }
}

/// Runs the command once. `true`: it completed.
async fn rebuild(world: &Arc<World>, queue: &Arc<Queue>, dataset: &'static str) -> bool {
    let catalog = contracts::catalog(world.catalog_version(Function::Operator));
    let Some(contract) = catalog.contract(dataset) else { return false };
    let process = Process::new("rebuild");
    let store = Store::open_lake(world, &process, queue);
    let lake = Lake::new(store, world.env()).with_key_bytes(world.scenario.key_bytes);
    world.log(|| format!("{dataset} is rebuilt"));
    match process.invoke(world, TIME_LIMIT, lake.rebuild(&catalog, contract, |_| {})).await {
        Some(Ok(done)) => {
            world.log(|| format!("{dataset} was rebuilt: {done:?}"));
            world.trace.count("rebuilds");
            true
        }
        Some(Err(error)) => {
            world.log(|| format!("rebuild: {error}"));
            false
        }
        None => false,
    }
}
