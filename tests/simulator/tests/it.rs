//! Seeds, and safeguards taken away one by one.
#![allow(
    clippy::panic,
    clippy::print_stdout,
    reason = "the helpers of a test fail and tell as the test does"
)]

use std::sync::Arc;
use std::time::Duration;

use aws_lambda_events::event::kinesis::{KinesisEvent, KinesisEventRecord};
use cleaner::Cleaner;
use object_store::memory::InMemory;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_effects::{Chance, Effects, SystemClock};
use pinlake_lake::{Budget, Lake};
use pinlake_landing::releases::Releases;
use pinlake_simulator::contracts::{self, Release};
use pinlake_simulator::fault::{Fault, Rates};
use pinlake_simulator::sabotage::Sabotage;
use pinlake_simulator::story::Broken;
use pinlake_simulator::world::Plan;
use pinlake_simulator::{Run, run, run_with, witness};

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

/// The worlds of a safeguard: what provokes the need for it. All hold while it is there, and one of `TRIES` does not,
/// in one of the ways named, when it is gone.
fn missed(sabotage: Sabotage, provoke: impl Fn(&mut Plan) + Copy, ways: &[Broken]) {
    for seed in 0..10 {
        assert_held(&run_with(seed, provoke));
    }
    let broken = (0..TRIES).find_map(|seed| {
        let run = run_with(seed, |plan| {
            provoke(plan);
            plan.sabotage = Some(sabotage);
        });
        run.told.broken.first().map(|(what, how)| (seed, *what, how.clone()))
    });
    let Some((seed, what, how)) = broken else { panic!("{sabotage:?} goes unnoticed in {TRIES} worlds") };
    println!("{sabotage:?}: seed {seed}, {what:?}: {how}");
    assert!(ways.contains(&what), "{sabotage:?} shows as {what:?}: {how}");
}

/// No faults but these, and nobody who deploys.
fn only(plan: &mut Plan, faults: &[(Fault, u64)]) {
    plan.rates = faults.iter().fold(Rates::default(), |rates, (fault, rate)| rates.with(*fault, *rate));
    plan.deploys.clear();
    plan.redrives.clear();
    plan.record_age = None;
}

/// Several compactors on the same tables, and messages for all of them.
fn crowded(plan: &mut Plan) {
    only(
        plan,
        &[(Fault::VisibleWhileAtWork, 700), (Fault::NotificationTwice, 900), (Fault::BatchTwice, 300)],
    );
    plan.compactors = 3;
    plan.clients = 3;
    plan.requests = 4;
    plan.batch = 1;
    plan.take = 1;
}

#[test]
fn without_conditional_commits_rows_are_lost() {
    missed(Sabotage::UnconditionalCommit, crowded, &[Broken::Overwritten, Broken::Lost]);
}

#[test]
fn with_a_silent_rebase_rows_double() {
    missed(Sabotage::SilentRebase, crowded, &[Broken::Doubled]);
}

#[test]
fn with_a_silent_rebase_a_lost_answer_alone_doubles_rows() {
    let ambiguous = |plan: &mut Plan| {
        only(plan, &[(Fault::PutRetriedBySdk, 500)]);
        plan.compactors = 1;
    };
    missed(Sabotage::SilentRebase, ambiguous, &[Broken::Doubled]);
}

#[test]
fn without_looking_keys_up_again_rows_double() {
    missed(Sabotage::NoRecheck, crowded, &[Broken::Doubled]);
}

#[test]
fn without_looking_keys_up_rows_double() {
    let repeats = |plan: &mut Plan| only(plan, &[(Fault::ClientRepeats, 500), (Fault::KilledAtRequest, 200)]);
    missed(Sabotage::BlindAppend, repeats, &[Broken::Doubled]);
}

#[test]
fn without_its_attempt_id_a_writer_miscounts_and_the_tables_stay_right() {
    let ambiguous = |plan: &mut Plan| {
        only(plan, &[(Fault::PutAnswerLost, 300), (Fault::PutRetriedBySdk, 300)]);
        plan.compactors = 1;
    };
    // Looking the keys up again saves the rows: only what the compactor says of its work is wrong.
    missed(Sabotage::OwnCommitIsForeign, ambiguous, &[Broken::Counts]);
}

#[test]
fn a_writer_that_takes_any_commit_for_its_own_loses_rows() {
    let ways = [Broken::RemovedEarly, Broken::Lost, Broken::Counts];
    missed(Sabotage::ForeignCommitIsOwn, crowded, &ways);
}

#[test]
fn landing_objects_that_change_lose_rows() {
    let ways = [Broken::RemovedEarly, Broken::SaidDrained, Broken::Lost];
    missed(Sabotage::MutableLanding, crowded, &ways);
}

#[test]
fn removing_landing_objects_before_the_commit_loses_rows() {
    let failing = |plan: &mut Plan| only(plan, &[(Fault::KilledAtRequest, 300), (Fault::PutRefused, 200)]);
    missed(Sabotage::DeleteBeforeCommit, failing, &[Broken::SaidDrained, Broken::Lost]);
}

#[test]
fn taking_partial_failures_for_success_loses_rows() {
    let throttled = |plan: &mut Plan| only(plan, &[(Fault::RecordThrottled, 300)]);
    missed(Sabotage::PartialFailureIgnored, throttled, &[Broken::SaidDrained, Broken::Lost]);
}

/// One notification for several objects, of which a compactor takes one at a time.
fn left_over(plan: &mut Plan) {
    only(plan, &[]);
    plan.take = 1;
    plan.patience = 0;
    plan.compactors = 1;
    plan.batch = 1;
    plan.clients = 3;
    plan.requests = 4;
    plan.sweep = None;
    plan.drains_within = Duration::from_secs(3_600);
}

#[test]
fn without_messages_to_itself_work_is_left() {
    // Several notifications in one batch make one invocation, which takes one object of each dataset.
    missed(Sabotage::NoSelfMessage, left_over, &[Broken::NotDrained]);
}

#[test]
fn without_the_sweep_lost_notifications_leave_work() {
    let unannounced = |plan: &mut Plan| {
        only(plan, &[(Fault::NotificationLost, 500)]);
        plan.sweep = Some(Duration::from_secs(300));
    };
    missed(Sabotage::NoSweep, unannounced, &[Broken::NotDrained]);
}

#[test]
fn a_table_that_forgets_its_identity_doubles_rows() {
    let rekeyed = |plan: &mut Plan| {
        only(plan, &[(Fault::ClientRepeats, 500)]);
        plan.clients = 3;
        plan.requests = 4;
        // Somebody deploys a contract that would alter keys, sees that its table refuses it, and takes it back.
        plan.deploys =
            vec![(Duration::from_secs(8), Release::Rekeyed), (Duration::from_secs(120), Release::First)];
    };
    missed(Sabotage::IdentityForgotten, rekeyed, &[Broken::Doubled]);
}

#[test]
fn a_watermark_that_moves_first_lies() {
    let failing = |plan: &mut Plan| only(plan, &[(Fault::KilledAtRequest, 300), (Fault::PutRefused, 300)]);
    missed(Sabotage::WatermarkFirst, failing, &[Broken::SaidDrained]);
}

#[test]
fn not_delivering_again_what_failed_loses_rows() {
    let failing = |plan: &mut Plan| only(plan, &[(Fault::PutRefused, 300)]);
    missed(Sabotage::FailuresNotReported, failing, &[Broken::Lost, Broken::SaidDrained]);
}

#[test]
fn failing_on_bad_data_gives_records_up() {
    let calm = |plan: &mut Plan| {
        only(plan, &[]);
        plan.retries = 3;
        plan.drains_within = Duration::from_secs(600);
    };
    missed(Sabotage::BadDataFails, calm, &[Broken::GaveUp, Broken::NotDrained]);
}

/// Records are sent and delivered again and again while contracts are deployed, at so many seconds.
fn sent_again(plan: &mut Plan, deploys: &[(u64, Release)]) {
    only(plan, &[(Fault::ClientRepeats, 700), (Fault::BatchTwice, 300)]);
    plan.deploys = deploys.iter().map(|(at, release)| (Duration::from_secs(*at), *release)).collect();
    (plan.clients, plan.requests) = (3, 4);
}

#[test]
fn without_knowing_older_contracts_a_record_is_in_two_places() {
    // A record is let in, the contract is tightened, and the record comes again.
    let tightened = |plan: &mut Plan| {
        sent_again(plan, &[(0, Release::Lenient), (15, Release::First)]);
        plan.wavering = 900;
    };
    missed(Sabotage::ReleasesForgotten, tightened, &[Broken::Doubled]);
}

#[test]
fn without_looking_into_quarantine_a_record_is_in_two_places() {
    // A record is refused, the contract is loosened, and the record comes again.
    let loosened = |plan: &mut Plan| {
        sent_again(plan, &[(15, Release::Lenient)]);
        plan.wavering = 900;
    };
    missed(Sabotage::QuarantineUnseen, loosened, &[Broken::Doubled]);
}

#[test]
fn without_knowing_older_contracts_a_record_is_quarantined_under_a_dataset_and_under_none() {
    // The dataset of records that nobody names one for goes.
    let goes = |plan: &mut Plan| {
        sent_again(plan, &[(15, Release::Withdrawn)]);
        plan.rows = 8;
    };
    missed(Sabotage::ReleasesForgotten, goes, &[Broken::Doubled]);
}

#[test]
fn without_looking_into_quarantine_a_record_is_quarantined_under_none_and_under_a_dataset() {
    let comes = |plan: &mut Plan| {
        sent_again(plan, &[(0, Release::Withdrawn), (15, Release::First)]);
        plan.rows = 8;
    };
    missed(Sabotage::QuarantineUnseen, comes, &[Broken::Doubled]);
}

#[test]
fn a_redrive_that_is_not_done_again_leaves_a_record_in_two_places() {
    // A contract is loosened, and tightened while a redrive fails on its way.
    let redriven = |plan: &mut Plan| {
        only(plan, &[(Fault::GetFailed, 150), (Fault::ListFailed, 150)]);
        plan.deploys =
            vec![(Duration::from_secs(30), Release::Lenient), (Duration::from_secs(50), Release::First)];
        plan.redrives = (32..50).step_by(2).map(Duration::from_secs).collect();
        plan.wavering = 900;
        plan.clients = 3;
        plan.requests = 4;
    };
    missed(Sabotage::RedriveForgotten, redriven, &[Broken::Doubled]);
}

/// Batches are given up after the first failure, and an operator recovers them at any time.
fn giving_up(plan: &mut Plan) {
    only(plan, &[(Fault::PutRefused, 200), (Fault::KilledAtRequest, 300)]);
    plan.retries = 0;
    (plan.clients, plan.requests) = (3, 4);
}

#[test]
fn drained_that_passes_over_what_was_given_up_lies() {
    missed(Sabotage::GivenUpUnseen, giving_up, &[Broken::SaidDrained]);
}

#[test]
fn removing_what_was_given_up_before_it_has_landed_loses_rows() {
    missed(Sabotage::RemovedBeforeReplayed, giving_up, &[Broken::SaidDrained, Broken::Lost]);
}

/// The first delivery of a record is judged by one contract, the second by another.
#[tokio::test(start_paused = true)]
async fn a_deploy_between_two_deliveries_leaves_a_record_in_one_place() {
    for releases in [[Release::First, Release::Lenient], [Release::Lenient, Release::First]] {
        let store: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let mut event = KinesisEvent::default();
        let mut record = KinesisEventRecord::default();
        record.event_id = Some("shardId-000000000000:7".to_owned());
        record.event_source_arn = Some("arn:aws:kinesis:us-east-1:123456789012:stream/events".to_owned());
        record.kinesis.partition_key = "page/r/0".to_owned();
        record.kinesis.sequence_number = "7".to_owned();
        record.kinesis.data.0 = contracts::wavering("page", 501).into_bytes();
        event.records.push(record);
        for release in releases {
            let catalog = contracts::catalog(release);
            let cleaner =
                Cleaner { store: store.clone(), catalog: catalog.clone(), releases: Releases::default() };
            cleaner.handle(event.clone()).await;
            let chance = Arc::new(Chance::seeded(1));
            let lake = Lake::new(store.clone(), Effects { clock: Arc::new(SystemClock), chance });
            for dataset in ["quarantine", "page"] {
                lake.compact(&catalog, dataset, Budget::default()).await.unwrap();
            }
        }
        let catalog = contracts::catalog(Release::First);
        let chance = Arc::new(Chance::seeded(2));
        let lake = Lake::new(store.clone(), Effects { clock: Arc::new(SystemClock), chance });
        let mut places = Vec::new();
        for dataset in ["page", "quarantine"] {
            for file in lake.table(catalog.contract(dataset).unwrap()).pin().await.unwrap().files {
                let bytes = store.get(&file.path).await.unwrap().bytes().await.unwrap();
                let batches = witness::rows_of(bytes).unwrap();
                places.extend(batches.iter().flat_map(|batch| witness::contents_of(dataset, batch)));
            }
        }
        assert_eq!(places, ["page/501", "resolved/page/501"], "{releases:?}");
    }
}
