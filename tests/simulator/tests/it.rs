//! Seeds, and safeguards taken away one by one.
#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "the helpers of a test fail and tell as the test does"
)]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use aws_lambda_events::event::kinesis::{KinesisEvent, KinesisEventRecord};
use cleaner::Cleaner;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_env::{Env, Rng, SystemClock};
use pinlake_lake::{CompactionLimits, Lake};
use pinlake_landing::catalog_history::CatalogHistory;
use pinlake_simulator::contracts::{self, Release};
use pinlake_simulator::mutation::Mutation;
use pinlake_simulator::provoke::{CASES, Case};
use pinlake_simulator::{Run, invariants, run, run_with};

/// Seeds of every `cargo test`; `make sim` runs many more.
const SEEDS: u64 = 300;
/// Worlds in which a safeguard that is gone must be missed at the latest.
const TRIES: u64 = 60;

fn assert_held(run: &Run) {
    let Some((what, how)) = run.told.broken.first() else { return };
    let seed = run.seed;
    panic!("{what:?}: {how}\n{}\nagain: make sim SEED={seed}", run.told);
}

#[test]
fn the_guarantee_holds_whatever_fails() {
    std::thread::scope(|scope| {
        for half in 0..2 {
            scope.spawn(move || (half..SEEDS).step_by(2).for_each(|seed| assert_held(&run(seed))));
        }
    });
}

#[test]
fn a_seed_is_one_run() {
    for seed in 0..20 {
        let (first, second) = (run(seed), run(seed));
        let differs = first.told.events.iter().zip(&second.told.events).find(|(a, b)| a != b);
        assert_eq!(first.told.fingerprint(), second.told.fingerprint(), "seed {seed}: {differs:?}");
    }
}

/// All worlds of a safeguard hold while it is there, and one of `TRIES` does not, in one of the ways named, when it is gone.
fn missed(case: &Case) {
    let Case { mutation, safeguard, provoke, ways } = case;
    for seed in 0..10 {
        assert_held(&run_with(seed, provoke));
    }
    let broken = (0..TRIES).find_map(|seed| {
        let run = run_with(seed, |plan| {
            provoke(plan);
            plan.mutation = Some(*mutation);
        });
        run.told.broken.first().map(|(what, how)| (seed, *what, how.clone()))
    });
    let Some((seed, what, how)) = broken else { panic!("{mutation:?} goes unnoticed in {TRIES} worlds") };
    println!("{safeguard}: {mutation:?}: seed {seed}, {what:?}: {how}");
    assert!(ways.contains(&what), "{mutation:?} shows as {what:?}: {how}");
}

#[test]
fn each_safeguard_is_missed_when_it_is_gone() {
    let next = AtomicUsize::new(0);
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                while let Some(case) = CASES.get(next.fetch_add(1, Ordering::SeqCst)) {
                    missed(case);
                }
            });
        }
    });
}

#[test]
fn each_safeguard_has_a_case() {
    for mutation in Mutation::ALL {
        assert!(CASES.iter().any(|case| case.mutation == mutation), "{mutation:?}");
    }
}

/// The first delivery of a record is judged by one contract, the second by another.
#[tokio::test(start_paused = true)]
async fn a_deploy_between_two_deliveries_leaves_a_record_in_one_place() {
    for catalog_history in [[Release::First, Release::Lenient], [Release::Lenient, Release::First]] {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut event = KinesisEvent::default();
        let mut record = KinesisEventRecord::default();
        record.event_id = Some("shardId-000000000000:7".to_owned());
        record.event_source_arn = Some("arn:aws:kinesis:us-east-1:123456789012:stream/events".to_owned());
        record.kinesis.partition_key = "page/r/0".to_owned();
        record.kinesis.sequence_number = "7".to_owned();
        record.kinesis.data.0 = contracts::wavering("page", 501).into_bytes();
        event.records.push(record);
        for release in catalog_history {
            let catalog = contracts::catalog(release);
            let cleaner = Cleaner {
                store: store.clone(),
                catalog: catalog.clone(),
                catalog_history: CatalogHistory::default(),
            };
            cleaner.handle(event.clone()).await;
            let rng = Arc::new(Rng::seeded(1));
            let lake = Lake::new(store.clone(), Env { clock: Arc::new(SystemClock), rng });
            for dataset in ["quarantine", "page"] {
                lake.compact(&catalog, dataset, CompactionLimits::default()).await.unwrap();
            }
        }
        let catalog = contracts::catalog(Release::First);
        let rng = Arc::new(Rng::seeded(2));
        let lake = Lake::new(store.clone(), Env { clock: Arc::new(SystemClock), rng });
        let mut places = Vec::new();
        for dataset in ["page", "quarantine"] {
            for file in lake.table(catalog.contract(dataset).unwrap()).pin().await.unwrap().files {
                let bytes = store.get(&file.path).await.unwrap().bytes().await.unwrap();
                let batches = invariants::rows_of(bytes).unwrap();
                places.extend(batches.iter().flat_map(|batch| invariants::contents_of(dataset, batch)));
            }
        }
        assert_eq!(places, ["page/501", "resolved/page/501"], "{catalog_history:?}");
    }
}
