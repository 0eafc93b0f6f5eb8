//! A deterministic simulator: pinlake's handlers over simulated AWS services that fail in an order that a seed determines.
//!
//! It runs the handlers that run on AWS (`ingest`, `cleaner`, `compactor`) and the commit protocol below them. S3, Kinesis,
//! SQS, the event sources, Lambda and clients are simulated and fail as the AWS documentation allows. Time is virtual and
//! all randomness is seeded, so a seed gives the same run, to the microsecond. When all faults have stopped and the
//! pipeline is idle, every acknowledged record must be in its table or in quarantine exactly once, and nothing else
//! ([`check`]). `docs/faults.md` has the fault model and what was found.
//!
//! ```
//! let run = pinlake_simulator::run(7);
//! assert!(run.report.violations.is_empty(), "{}", run.report);
//! assert_eq!(run.report.fingerprint(), pinlake_simulator::run(7).report.fingerprint());
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
pub mod orders;
pub mod process;
pub mod provoke;
pub mod queue;
pub mod reader;
pub mod rebuild;
pub mod rng;
pub mod store;
pub mod topic;
pub mod trace;
pub mod world;

use std::sync::Arc;
use std::time::Duration;

use tokio::time::sleep;

use crate::contracts::CatalogVersion;
use crate::kinesis::Stream;
use crate::queue::Queue;
use crate::rng::SimRng;
use crate::topic::Partition;
use crate::trace::{Report, Violation};
use crate::world::{Scenario, World};

/// A completed run.
#[derive(Debug)]
pub struct Run {
    /// The seed.
    pub seed: u64,
    /// The events and violations of the run.
    pub report: Report,
}

/// Runs the scenario of a seed.
pub fn run(seed: u64) -> Run {
    run_scenario(seed, |_| {})
}

/// Runs the scenario of a seed after changing it.
pub fn run_scenario(seed: u64, change: impl FnOnce(&mut Scenario)) -> Run {
    let rng = SimRng::new(seed);
    let mut scenario = Scenario::random(&rng);
    change(&mut scenario);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_time().start_paused(true).build();
    let report = match runtime {
        Ok(runtime) => runtime.block_on(simulate(rng, scenario)),
        Err(error) => {
            let mut report = Report::default();
            report.violations.push((Violation::Panicked, format!("no runtime: {error}")));
            report
        }
    };
    Run { seed, report }
}

/// Simulates the world from the first request until it is idle, and checks the invariants.
async fn simulate(rng: SimRng, scenario: Scenario) -> Report {
    let world = World::new(rng, scenario);
    world.log(|| format!("{:?}", world.scenario));
    let queue = Queue::new(&world);
    let stream = Stream::new(&world);
    let partition = Arc::new(Partition::default());
    let mut machinery = vec![
        tokio::spawn(kinesis::watch(stream.clone(), queue.clone())),
        tokio::spawn(queue::send_sweeps(queue.clone())),
        tokio::spawn(check::check_drained_answers(world.clone(), queue.clone())),
        tokio::spawn(deploy_catalogs(world.clone())),
        tokio::spawn(queue::send_redrives(queue.clone())),
        tokio::spawn(operator::watch(world.clone(), queue.clone())),
        tokio::spawn(foreign::interfere(world.clone())),
    ];
    if !world.scenario.rebuilds.is_empty() {
        machinery.push(tokio::spawn(rebuild::rebuild_tables(world.clone(), queue.clone())));
    }
    if world.scenario.topic > 0 {
        machinery.push(tokio::spawn(topic::watch(world.clone(), partition.clone(), queue.clone())));
    }
    for _ in 0..world.scenario.readers {
        machinery.push(tokio::spawn(reader::read(world.clone(), queue.clone())));
    }
    for _ in 0..world.scenario.compactors {
        machinery.push(tokio::spawn(queue::poll(queue.clone())));
    }
    let mut clients: Vec<_> = (0..world.scenario.clients)
        .map(|number| tokio::spawn(client::client(world.clone(), stream.clone(), number)))
        .collect();
    if world.scenario.foreign_producer {
        clients.push(tokio::spawn(client::produce_foreign_records(world.clone(), stream.clone())));
    }
    if world.scenario.topic > 0 {
        clients.push(tokio::spawn(topic::produce(world.clone(), partition.clone())));
    }
    if world.scenario.orders > 0 {
        clients.push(tokio::spawn(orders::produce(world.clone(), stream.clone())));
    }
    if world.scenario.files.is_any() {
        clients.push(tokio::spawn(files::drop_files(world.clone(), queue.clone())));
    }
    for client in clients {
        if client.await.is_err() {
            world.report_violation(Violation::Panicked, "a client, or ingest below it".to_owned());
        }
    }
    // Part of the work happens during the faults, part after them.
    sleep(world.rng.millis(0, 60_000)).await;
    let scenario = &world.scenario;
    let people = scenario.deploys.iter().map(|(at, _)| *at).chain(scenario.redrives.iter().copied());
    let people = people.chain(scenario.operators.iter().copied());
    let people = people.chain(scenario.rebuilds.iter().map(|(at, _)| *at));
    let last = people.max().unwrap_or_default();
    sleep(last.saturating_sub(world.time())).await;
    world.stop_faults();
    wait_until_idle(&world, &stream, &partition, &queue).await;
    for part in &machinery {
        // Most tasks never end; one that has ended may have panicked.
        part.abort();
    }
    for part in machinery {
        if part.await.is_err_and(|error| error.is_panic()) {
            world.report_violation(Violation::Panicked, "a handler panicked".to_owned());
        }
    }
    check::check_guarantee(&world).await;
    if world.scenario.orders > 0 {
        orders::check_latest(&world).await;
    }
    world.trace.take_report()
}

/// Waits until there has been no work for [`check::IDLE_TIME`].
async fn wait_until_idle(world: &Arc<World>, stream: &Stream, partition: &Partition, queue: &Queue) {
    let deadline = world.time() + world.scenario.drains_within;
    let mut idle_since = None;
    loop {
        sleep(Duration::from_secs(2)).await;
        let is_consumed = stream.is_consumed() && partition.is_consumed();
        let idle = is_consumed && !queue.has_work() && check::is_idle(world).await;
        idle_since = idle.then(|| idle_since.unwrap_or_else(|| world.time()));
        if idle_since.is_some_and(|since| world.time() - since >= check::IDLE_TIME) {
            return;
        }
        if world.time() > deadline || world.trace.has_violations() {
            if !idle && !world.trace.has_violations() {
                world.report_violation(
                    Violation::NotDrained,
                    format!(
                        "work is left {:?} after all faults stopped: {}",
                        world.scenario.drains_within,
                        check::list_remaining(world).await
                    ),
                );
            }
            return;
        }
    }
}

async fn deploy_catalogs(world: Arc<World>) {
    for (at, catalog_version) in world.scenario.deploys.clone() {
        sleep(at.saturating_sub(world.time())).await;
        // Without a table, the contract that should be rejected would create it.
        if catalog_version == CatalogVersion::Rekeyed && world.invariants().newest("visit").is_none() {
            continue;
        }
        world.deploy(catalog_version);
    }
}
