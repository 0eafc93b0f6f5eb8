//! A world in which everything that may fail does, in an order that a seed decides.
//!
//! It runs the handlers that run on AWS (`ingest`, `cleaner`, `compactor`) and the commit protocol below them, over
//! parts that fail as AWS says its services may: S3, Kinesis and its event source, SQS and its event source, Lambda
//! itself, and clients. Time is virtual, rng is seeded: a seed gives the same run, to the microsecond. When all
//! faults have stopped and the world has come to rest, every acknowledged record must be in its table or in
//! quarantine exactly once, and nothing else ([`check`]). `docs/faults.md` has the fault model and what was found.
//!
//! ```
//! let run = pinlake_simulator::run(7);
//! assert!(run.told.broken.is_empty(), "{}", run.told);
//! assert_eq!(run.told.fingerprint(), pinlake_simulator::run(7).told.fingerprint());
//! ```

pub mod check;
pub mod checkpoint;
pub mod client;
pub mod contracts;
pub mod fault;
pub mod files;
pub mod foreign;
pub mod invariants;
pub mod kinesis;
pub mod ledger;
pub mod mutation;
pub mod operator;
pub mod process;
pub mod provoke;
pub mod queue;
pub mod reader;
pub mod rng;
pub mod store;
pub mod topic;
pub mod trace;
pub mod world;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::contracts::Release;
use crate::kinesis::Stream;
use crate::queue::Queue;
use crate::rng::SimRng;
use crate::topic::Partition;
use crate::trace::{Broken, Told};
use crate::world::{Plan, World};

/// A run that is over.
#[derive(Debug)]
pub struct Run {
    /// Its seed.
    pub seed: u64,
    /// What happened.
    pub told: Told,
}

/// Runs the world of a seed.
pub fn run(seed: u64) -> Run {
    run_with(seed, |_| {})
}

/// Runs the world of a seed, its plan changed.
pub fn run_with(seed: u64, change: impl FnOnce(&mut Plan)) -> Run {
    let rng = SimRng::new(seed);
    let mut plan = Plan::drawn(&rng);
    change(&mut plan);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let told = match runtime {
        Ok(runtime) => runtime.block_on(live(rng, plan)),
        Err(error) => {
            let mut told = Told::default();
            told.broken.push((Broken::Panicked, format!("no runtime: {error}")));
            told
        }
    };
    Run { seed, told }
}

/// From the first request to rest.
async fn live(rng: SimRng, plan: Plan) -> Told {
    let world = World::new(rng, plan);
    world.tell(|| format!("{:?}", world.plan));
    let queue = Queue::new(&world);
    let stream = Stream::new(&world);
    let partition = Arc::new(Partition::default());
    let mut machinery = vec![
        tokio::spawn(kinesis::watch(stream.clone(), queue.clone())),
        tokio::spawn(queue::sweep(queue.clone())),
        tokio::spawn(check::ask(world.clone(), queue.clone())),
        tokio::spawn(deploy(world.clone())),
        tokio::spawn(queue::redrive(queue.clone())),
        tokio::spawn(operator::watch(world.clone(), queue.clone())),
        tokio::spawn(foreign::interfere(world.clone())),
    ];
    if world.plan.topic > 0 {
        machinery.push(tokio::spawn(topic::watch(world.clone(), partition.clone(), queue.clone())));
    }
    for _ in 0..world.plan.readers {
        machinery.push(tokio::spawn(reader::read(world.clone(), queue.clone())));
    }
    for _ in 0..world.plan.compactors {
        machinery.push(tokio::spawn(queue::poll(queue.clone())));
    }
    let mut clients: Vec<_> = (0..world.plan.clients)
        .map(|number| tokio::spawn(client::client(world.clone(), stream.clone(), number)))
        .collect();
    if world.plan.stranger {
        clients.push(tokio::spawn(client::stranger(world.clone(), stream.clone())));
    }
    if world.plan.topic > 0 {
        clients.push(tokio::spawn(topic::produce(world.clone(), partition.clone())));
    }
    if world.plan.files.is_any() {
        clients.push(tokio::spawn(files::drop_files(world.clone(), queue.clone())));
    }
    for client in clients {
        if client.await.is_err() {
            world.broke(Broken::Panicked, "a client, or ingest below it".to_owned());
        }
    }
    // Some work is done while faults last, some is left for after.
    sleep(world.rng.millis(0, 60_000)).await;
    let plan = &world.plan;
    let people = plan.deploys.iter().map(|(at, _)| *at).chain(plan.redrives.iter().copied());
    let people = people.chain(plan.operators.iter().copied());
    let last = people.max().unwrap_or_default();
    sleep(last.saturating_sub(world.time())).await;
    world.heal();
    rest(&world, &stream, &partition, &queue).await;
    for part in &machinery {
        // Some of it never ends; what has ended may have panicked.
        part.abort();
    }
    for part in machinery {
        if part.await.is_err_and(|error| error.is_panic()) {
            world.broke(Broken::Panicked, "a handler panicked".to_owned());
        }
    }
    check::guarantee(&world).await;
    world.trace.told()
}

/// Waits until nothing is left to do, and stays so for a while.
async fn rest(world: &Arc<World>, stream: &Stream, partition: &Partition, queue: &Queue) {
    let deadline = world.time() + world.plan.drains_within;
    let mut idle_since = None;
    loop {
        sleep(Duration::from_secs(2)).await;
        let is_read = stream.is_read() && partition.is_read();
        let idle = is_read && !queue.has_work() && check::is_idle(world).await;
        idle_since = idle.then(|| idle_since.unwrap_or_else(|| world.time()));
        if idle_since.is_some_and(|since| world.time() - since >= check::LOOK_ON) {
            return;
        }
        if world.time() > deadline || world.trace.is_broken() {
            if !idle && !world.trace.is_broken() {
                world.broke(
                    Broken::NotDrained,
                    format!(
                        "work is left {:?} after all faults stopped: {}",
                        world.plan.drains_within,
                        check::left(world).await
                    ),
                );
            }
            return;
        }
    }
}

async fn deploy(world: Arc<World>) {
    for (at, release) in world.plan.deploys.clone() {
        sleep(at.saturating_sub(world.time())).await;
        // Where there is no table yet, the contract that is to be refused would make it.
        if release == Release::Rekeyed && world.invariants().newest("visit").is_none() {
            continue;
        }
        world.deploy(release);
    }
}
