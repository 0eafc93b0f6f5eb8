//! Runs seeds, and one mutation after another.
#![allow(clippy::panic, clippy::print_stdout, reason = "test helpers")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lambda_events::event::kinesis::{KinesisEvent, KinesisEventRecord};
use cleaner::Cleaner;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_env::{Env, Rng, SystemClock};
use pinlake_lake::{CompactionLimits, Lake};
use pinlake_landing::catalog_history::CatalogHistory;
use pinlake_simulator::contracts::{self, CatalogVersion};
use pinlake_simulator::mutation::Mutation;
use pinlake_simulator::provoke::{CASES, Case};
use pinlake_simulator::{Run, invariants, run, run_scenario};

/// Number of seeds in `cargo test`; `make sim` runs more.
const SEEDS: u64 = 300;
/// Maximum number of seeds until one fails with a mutation.
const MUTATION_SEEDS: u64 = 60;

fn assert_held(run: &Run) {
    let Some((what, how)) = run.report.violations.first() else { return };
    let seed = run.seed;
    panic!("{what:?}: {how}\n{}\nagain: make sim SEED={seed}", run.report);
}

#[test]
fn the_guarantee_holds_under_all_faults() {
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || (half..SEEDS).step_by(2).for_each(|seed| assert_held(&run(seed))));
        }
    });
}

#[test]
fn a_seed_determines_the_run() {
    for seed in 0..20 {
        let (first, second) = (run(seed), run(seed));
        let differs = first.report.events.iter().zip(&second.report.events).find(|(a, b)| a != b);
        assert_eq!(first.report.fingerprint(), second.report.fingerprint(), "seed {seed}: {differs:?}");
    }
}

/// With the safeguard ten seeds hold; with the mutation one of `MUTATION_SEEDS` fails with an expected violation.
fn assert_violated_without(case: &Case) {
    let Case { mutation, safeguard, configure, violations } = case;
    for seed in 0..10 {
        assert_held(&run_scenario(seed, configure));
    }
    let broken = (0..MUTATION_SEEDS).find_map(|seed| {
        let run = run_scenario(seed, |scenario| {
            configure(scenario);
            scenario.mutation = Some(*mutation);
        });
        run.report.violations.first().map(|(what, how)| (seed, *what, how.clone()))
    });
    let Some((seed, what, how)) = broken else {
        panic!("{mutation:?} is not detected by {MUTATION_SEEDS} seeds")
    };
    println!("{safeguard}: {mutation:?}: seed {seed}, {what:?}: {how}");
    assert!(violations.contains(&what), "{mutation:?} shows as {what:?}: {how}");
}

#[test]
fn each_mutation_is_detected() {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = CASES.get(next.fetch_add(1, Ordering::SeqCst)) {
                    assert_violated_without(case);
                }
            });
        }
    });
}

#[test]
fn each_mutation_has_a_case() {
    for mutation in Mutation::ALL {
        assert!(CASES.iter().any(|case| case.mutation == mutation), "{mutation:?}");
    }
}

/// The two deliveries of a record are evaluated by different contracts.
#[tokio::test(start_paused = true)]
async fn a_deploy_between_two_deliveries_leaves_a_record_in_one_place() {
    for catalog_history in
        [[CatalogVersion::First, CatalogVersion::Lenient], [CatalogVersion::Lenient, CatalogVersion::First]]
    {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut event = KinesisEvent::default();
        let mut record = KinesisEventRecord::default();
        record.event_id = Some("shardId-000000000000:7".to_owned());
        record.event_source_arn = Some("arn:aws:kinesis:us-east-1:123456789012:stream/events".to_owned());
        record.kinesis.partition_key = "page/r/0".to_owned();
        record.kinesis.sequence_number = "7".to_owned();
        record.kinesis.data.0 = contracts::borderline("page", 501).into_bytes();
        event.records.push(record);
        for catalog_version in catalog_history {
            let catalog = contracts::catalog(catalog_version);
            let cleaner = Cleaner {
                store: store.clone(),
                catalog: catalog.clone(),
                catalog_history: CatalogHistory::default(),
            };
            cleaner.handle_kinesis(event.clone()).await;
            let rng = Arc::new(Rng::seeded(1));
            let lake = Lake::new(store.clone(), Env { clock: Arc::new(SystemClock), rng });
            for dataset in ["quarantine", "page"] {
                lake.compact(&catalog, dataset, CompactionLimits::default()).await.unwrap();
            }
        }
        let catalog = contracts::catalog(CatalogVersion::First);
        let rng = Arc::new(Rng::seeded(2));
        let lake = Lake::new(store.clone(), Env { clock: Arc::new(SystemClock), rng });
        let mut places = Vec::new();
        for dataset in ["page", "quarantine"] {
            for file in lake.table(catalog.contract(dataset).unwrap()).pin().await.unwrap().files {
                let bytes = store.get(&file.path).await.unwrap().bytes().await.unwrap();
                let batches = invariants::read_rows(bytes).unwrap();
                places.extend(batches.iter().flat_map(|batch| invariants::contents_of(dataset, batch)));
            }
        }
        assert_eq!(places, ["page/501", "resolved/page/501"], "{catalog_history:?}");
    }
}
