//! For each safeguard the worlds that provoke the need for it: all hold while it is there, and some do not when it is gone.

use std::time::Duration;

use pinlake_landing::drain::DrainLimits;

use crate::checkpoint::Form;
use crate::contracts::Release;
use crate::fault::{Fault, Rates};
use crate::files::FilePlan;
use crate::foreign::Interference;
use crate::mutation::Mutation;
use crate::trace::Broken;
use crate::world::Plan;

/// A safeguard, and worlds in which it is needed.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What is gone.
    pub mutation: Mutation,
    /// What stands between a world and what breaks.
    pub safeguard: &'static str,
    /// What changes a world's plan.
    pub provoke: fn(&mut Plan),
    /// The ways in which a world may break.
    pub ways: &'static [Broken],
}

/// All of them.
pub const CASES: &[Case] = &[
    Case {
        mutation: Mutation::UnconditionalCommit,
        safeguard: "conditional put of a log entry",
        provoke: crowded,
        ways: &[Broken::Overwritten, Broken::Lost],
    },
    Case {
        mutation: Mutation::SilentRebase,
        safeguard: "committing to N+1 only (a library that rebases appends), several compactors",
        provoke: crowded,
        ways: &[Broken::Doubled],
    },
    Case {
        mutation: Mutation::SilentRebase,
        safeguard: "the same, one compactor whose answer is lost",
        provoke: |plan| {
            only(plan, &[(Fault::PutRetriedBySdk, 500)]);
            plan.compactors = 1;
        },
        ways: &[Broken::Doubled],
    },
    Case {
        mutation: Mutation::NoRecheck,
        safeguard: "looking keys up again after a lost version",
        provoke: crowded,
        ways: &[Broken::Doubled],
    },
    Case {
        mutation: Mutation::BlindAppend,
        safeguard: "looking keys up at all",
        provoke: |plan| only(plan, &[(Fault::ClientRepeats, 500), (Fault::KilledAtRequest, 200)]),
        ways: &[Broken::Doubled],
    },
    Case {
        mutation: Mutation::OwnCommitIsForeign,
        safeguard: "the attempt id: own commit taken for another's",
        provoke: |plan| {
            only(plan, &[(Fault::PutAnswerLost, 300), (Fault::PutRetriedBySdk, 300)]);
            plan.compactors = 1;
        },
        // Looking the keys up again saves the rows: only what the compactor says of its work is wrong.
        ways: &[Broken::Counts],
    },
    Case {
        mutation: Mutation::ForeignCommitIsOwn,
        safeguard: "the attempt id: another's commit taken for one's own",
        provoke: crowded,
        ways: &[Broken::RemovedEarly, Broken::Lost, Broken::Counts, Broken::Files],
    },
    Case {
        mutation: Mutation::MutableLanding,
        safeguard: "immutable names of landing objects",
        provoke: crowded,
        ways: &[Broken::RemovedEarly, Broken::SaidDrained, Broken::Lost],
    },
    Case {
        mutation: Mutation::DeleteBeforeCommit,
        safeguard: "removing landing objects only after the commit",
        provoke: |plan| only(plan, &[(Fault::KilledAtRequest, 300), (Fault::PutRefused, 200)]),
        ways: &[Broken::SaidDrained, Broken::Lost],
    },
    Case {
        mutation: Mutation::PartialFailureIgnored,
        safeguard: "putting failed records of PutRecords again",
        provoke: |plan| only(plan, &[(Fault::RecordThrottled, 300)]),
        ways: &[Broken::SaidDrained, Broken::Lost],
    },
    Case {
        mutation: Mutation::NoSelfMessage,
        safeguard: "messages to itself",
        provoke: left_over,
        ways: &[Broken::NotDrained],
    },
    Case {
        mutation: Mutation::NoSweep,
        safeguard: "the sweep",
        provoke: |plan| {
            only(plan, &[(Fault::NotificationLost, 500)]);
            plan.sweep = Some(Duration::from_secs(300));
        },
        ways: &[Broken::NotDrained],
    },
    Case {
        mutation: Mutation::IdentityForgotten,
        safeguard: "the identity in the table",
        // Somebody deploys a contract that would alter keys, sees that its table refuses it, and takes it back.
        provoke: |plan| {
            only(plan, &[(Fault::ClientRepeats, 500)]);
            (plan.clients, plan.requests) = (3, 4);
            plan.deploys = deploys(&[(8, Release::Rekeyed), (120, Release::First)]);
        },
        // The rows have keys of other rules than their table's.
        ways: &[Broken::Doubled, Broken::Files],
    },
    Case {
        mutation: Mutation::WatermarkFirst,
        safeguard: "the watermark after the puts",
        provoke: |plan| only(plan, &[(Fault::KilledAtRequest, 300), (Fault::PutRefused, 300)]),
        ways: &[Broken::SaidDrained],
    },
    Case {
        mutation: Mutation::FailuresNotReported,
        safeguard: "reporting failed batches",
        provoke: |plan| only(plan, &[(Fault::PutRefused, 300)]),
        ways: &[Broken::Lost, Broken::SaidDrained],
    },
    Case {
        mutation: Mutation::BadDataFails,
        safeguard: "bad data never failing a batch",
        provoke: |plan| {
            only(plan, &[]);
            // Long enough for all faults to have stopped when the last try fails.
            plan.retries = 8;
            plan.drains_within = Duration::from_secs(600);
        },
        ways: &[Broken::GaveUp, Broken::NotDrained],
    },
    Case {
        mutation: Mutation::ReleasesForgotten,
        safeguard: "the catalog_history kept in the lake: a contract is tightened",
        // A record is let in, the contract is tightened, and the record comes again.
        provoke: |plan| {
            sent_again(plan, &[(0, Release::Lenient), (15, Release::First)]);
            plan.wavering = 900;
        },
        ways: &[Broken::Doubled],
    },
    Case {
        mutation: Mutation::ReleasesForgotten,
        safeguard: "the same: a dataset is withdrawn",
        provoke: |plan| {
            sent_again(plan, &[(15, Release::Withdrawn)]);
            plan.rows = 8;
        },
        ways: &[Broken::Doubled],
    },
    Case {
        mutation: Mutation::QuarantineUnseen,
        safeguard: "looking into quarantine after an insert: a contract is loosened",
        // A record is refused, the contract is loosened, and the record comes again.
        provoke: |plan| {
            sent_again(plan, &[(15, Release::Lenient)]);
            plan.wavering = 900;
        },
        ways: &[Broken::Doubled],
    },
    Case {
        mutation: Mutation::QuarantineUnseen,
        safeguard: "the same: a dataset comes",
        provoke: |plan| {
            sent_again(plan, &[(0, Release::Withdrawn), (15, Release::First)]);
            plan.rows = 8;
        },
        ways: &[Broken::Doubled],
    },
    Case {
        mutation: Mutation::RedriveForgotten,
        safeguard: "doing a redrive again that was broken off",
        // A contract is loosened, and tightened while a redrive fails on its way.
        provoke: |plan| {
            only(plan, &[(Fault::GetFailed, 150), (Fault::ListFailed, 150)]);
            plan.deploys = deploys(&[(30, Release::Lenient), (50, Release::First)]);
            plan.redrives = (32..50).step_by(2).map(Duration::from_secs).collect();
            plan.wavering = 900;
            (plan.clients, plan.requests) = (3, 4);
        },
        ways: &[Broken::Doubled],
    },
    Case {
        mutation: Mutation::GivenUpUnseen,
        safeguard: "looking at what was given up, before saying \"drained\"",
        provoke: giving_up,
        ways: &[Broken::SaidDrained],
    },
    Case {
        mutation: Mutation::RemovedBeforeReplayed,
        safeguard: "removing what was given up only after it has landed",
        provoke: giving_up,
        ways: &[Broken::SaidDrained, Broken::Lost],
    },
    Case {
        mutation: Mutation::KeyRulesUnseen,
        safeguard: "the rules in a key file's header",
        provoke: |plan| {
            only(plan, &[(Fault::ClientRepeats, 700)]);
            (plan.clients, plan.requests, plan.key_bytes) = (3, 4, 0);
            plan.interferences = interferences(Interference::KeysOfOtherRules);
        },
        ways: &[Broken::Doubled, Broken::Files],
    },
    Case {
        mutation: Mutation::GapIsEnd,
        safeguard: "a truncated log is read anew from its checkpoint",
        provoke: |plan| {
            crowded(plan);
            plan.interferences = interferences(Interference::LogTruncated(Form::Classic));
        },
        ways: &[Broken::Overwritten, Broken::Lost, Broken::Doubled, Broken::Files, Broken::Counts],
    },
    Case {
        mutation: Mutation::GapIsEnd,
        safeguard: "a log that lacks an entry is refused",
        provoke: |plan| {
            crowded(plan);
            plan.interferences = interferences(Interference::EntryDeleted);
        },
        ways: &[Broken::Overwritten, Broken::Lost, Broken::Doubled, Broken::Files, Broken::Counts],
    },
    Case {
        mutation: Mutation::HintBelieved,
        safeguard: "a hint whose checkpoint is not understood is no hint",
        provoke: |plan| {
            crowded(plan);
            plan.interferences = interferences(Interference::HintWritten(Form::Missing));
            plan.drains_within = Duration::from_secs(3_600);
        },
        ways: &[Broken::NotDrained, Broken::Files, Broken::Misread],
    },
    Case {
        mutation: Mutation::KeysNotStored,
        safeguard: "keys stored with the rows of `identity = \"record\"`",
        provoke: |plan| {
            only(plan, &[(Fault::ClientRepeats, 700), (Fault::BatchTwice, 300)]);
            (plan.clients, plan.requests, plan.key_bytes) = (3, 4, 0);
            plan.interferences = interferences(Interference::KeysDeleted);
        },
        ways: &[Broken::Doubled, Broken::NotDrained],
    },
    Case {
        mutation: Mutation::RecordForgotten,
        safeguard: "the record in quarantine's key where it is the identity",
        provoke: |plan| {
            only(plan, &[]);
            plan.deploys = deploys(&[(12, Release::Lenient), (24, Release::First), (40, Release::Lenient)]);
            plan.redrives = [14, 18, 22, 42, 50].map(Duration::from_secs).into();
            plan.wavering = 900;
            (plan.clients, plan.requests) = (3, 4);
        },
        ways: &[Broken::Lost, Broken::SaidDrained],
    },
    Case {
        mutation: Mutation::CallersAlike,
        safeguard: "the caller in a record's identity",
        provoke: |plan| {
            sharing_keys(plan);
            plan.callers = 2;
        },
        ways: &[Broken::Lost, Broken::SaidDrained],
    },
    Case {
        mutation: Mutation::ContentForgotten,
        safeguard: "the content in a record's identity",
        provoke: sharing_keys,
        ways: &[Broken::Lost, Broken::SaidDrained],
    },
    Case {
        mutation: Mutation::BoundUnsaid,
        safeguard: "a look that reaches its bound says so",
        provoke: |plan| {
            only(plan, &[(Fault::NotificationLate, 700)]);
            (plan.clients, plan.requests, plan.batch) = (3, 4, 1);
            plan.bounds = DrainLimits { landing: 1, failed: 1, discarded: 1, ..DrainLimits::default() };
        },
        ways: &[Broken::SaidDrained],
    },
    Case {
        mutation: Mutation::NamesForgotten,
        safeguard: "names of topics and files in a release's id",
        provoke: |plan| {
            only(plan, &[(Fault::BatchTwice, 600), (Fault::FunctionAnswerLost, 300)]);
            plan.topic = 12;
            plan.deploys = deploys(&[
                (0, Release::Renamed),
                (15, Release::First),
                (35, Release::Renamed),
                (50, Release::First),
            ]);
        },
        ways: &[Broken::Doubled],
    },
];

/// No faults but these, and nobody who deploys or does anything else unusual.
fn only(plan: &mut Plan, faults: &[(Fault, u64)]) {
    plan.rates = faults.iter().fold(Rates::default(), |rates, (fault, rate)| rates.with(*fault, *rate));
    plan.deploys.clear();
    plan.redrives.clear();
    plan.operators.clear();
    plan.interferences.clear();
    plan.record_age = None;
    plan.files = FilePlan::default();
    plan.lags = [Duration::ZERO; 4];
    plan.bounds = DrainLimits::default();
    (plan.topic, plan.callers, plan.shared_keys, plan.paged) = (0, 0, 0, false);
}

/// CatalogHistory, at so many seconds.
fn deploys(catalog_history: &[(u64, Release)]) -> Vec<(Duration, Release)> {
    catalog_history.iter().map(|(at, release)| (Duration::from_secs(*at), *release)).collect()
}

/// The same again and again.
fn interferences(interference: Interference) -> Vec<(Duration, Interference)> {
    (1..=12).map(|at| (Duration::from_secs(at * 4), interference)).collect()
}

/// Several compactors on the same tables, and messages for all of them.
fn crowded(plan: &mut Plan) {
    only(
        plan,
        &[(Fault::VisibleWhileAtWork, 700), (Fault::NotificationTwice, 900), (Fault::BatchTwice, 300)],
    );
    (plan.compactors, plan.clients, plan.requests) = (3, 3, 4);
    (plan.batch, plan.take, plan.key_bytes) = (1, 1, 40 << 20);
}

/// One notification for several objects, of which a compactor takes one at a time. Several notifications in one batch make one
/// invocation, which takes one object of each dataset.
fn left_over(plan: &mut Plan) {
    only(plan, &[]);
    (plan.take, plan.patience, plan.compactors, plan.batch) = (1, 0, 1, 1);
    (plan.clients, plan.requests) = (3, 4);
    plan.sweep = None;
    plan.drains_within = Duration::from_secs(3_600);
}

/// Records are sent and delivered again and again while contracts are deployed, at so many seconds.
fn sent_again(plan: &mut Plan, catalog_history: &[(u64, Release)]) {
    only(plan, &[(Fault::ClientRepeats, 700), (Fault::BatchTwice, 300)]);
    plan.deploys = deploys(catalog_history);
    (plan.clients, plan.requests) = (3, 4);
}

/// Batches are given up after the first failure, and operators recover them at any time.
fn giving_up(plan: &mut Plan) {
    only(plan, &[(Fault::PutRefused, 200), (Fault::KilledAtRequest, 300)]);
    plan.retries = 0;
    (plan.clients, plan.requests) = (3, 4);
}

/// Requests are named alike.
fn sharing_keys(plan: &mut Plan) {
    only(plan, &[]);
    (plan.clients, plan.requests, plan.rows) = (3, 12, 8);
    (plan.callers, plan.shared_keys, plan.wavering) = (1, 1_000, 0);
}
