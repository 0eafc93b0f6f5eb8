//! For each safeguard the worlds that configure the need for it: all hold while it is there, and some do not when it is gone.

use std::time::Duration;

use pinlake_landing::drain::Bounds;

use crate::checkpoint::CheckpointForm;
use crate::contracts::CatalogVersion;
use crate::fault::{Fault, Rates};
use crate::files::FileScenario;
use crate::foreign::Interference;
use crate::mutation::Mutation;
use crate::trace::Violation;
use crate::world::Scenario;

/// A safeguard, and worlds in which it is needed.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// What is gone.
    pub mutation: Mutation,
    /// What stands between a world and what breaks.
    pub safeguard: &'static str,
    /// What changes a world's scenario.
    pub configure: fn(&mut Scenario),
    /// The violations in which a world may break.
    pub violations: &'static [Violation],
}

/// All of them.
pub const CASES: &[Case] = &[
    Case {
        mutation: Mutation::UnconditionalCommit,
        safeguard: "conditional put of a log entry",
        configure: concurrent_compactors,
        violations: &[Violation::Overwritten, Violation::Lost],
    },
    Case {
        mutation: Mutation::SilentRebase,
        safeguard: "committing to N+1 only (a library that rebases appends), several compactors",
        configure: concurrent_compactors,
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::SilentRebase,
        safeguard: "the same, one compactor whose answer is lost",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::PutRetriedBySdk, 500)]);
            scenario.compactors = 1;
        },
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::NoRecheck,
        safeguard: "looking keys up again after a lost version",
        configure: concurrent_compactors,
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::BlindAppend,
        safeguard: "looking keys up at all",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::ClientRepeats, 500), (Fault::KilledAtRequest, 200)])
        },
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::OwnCommitIsForeign,
        safeguard: "the attempt id: own commit taken for another's",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::PutAnswerLost, 300), (Fault::PutRetriedBySdk, 300)]);
            scenario.compactors = 1;
        },
        // Looking the keys up again saves the rows: only what the compactor says of its work is wrong.
        violations: &[Violation::WrongCounts],
    },
    Case {
        mutation: Mutation::ForeignCommitIsOwn,
        safeguard: "the attempt id: another's commit taken for one's own",
        configure: concurrent_compactors,
        violations: &[
            Violation::RemovedEarly,
            Violation::Lost,
            Violation::WrongCounts,
            Violation::WrongFiles,
        ],
    },
    Case {
        mutation: Mutation::MutableLanding,
        safeguard: "immutable names of landing objects",
        configure: concurrent_compactors,
        violations: &[Violation::RemovedEarly, Violation::FalselyDrained, Violation::Lost],
    },
    Case {
        mutation: Mutation::DeleteBeforeCommit,
        safeguard: "removing landing objects only after the commit",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::KilledAtRequest, 300), (Fault::PutRefused, 200)])
        },
        violations: &[Violation::FalselyDrained, Violation::Lost],
    },
    Case {
        mutation: Mutation::PartialFailureIgnored,
        safeguard: "putting failed records of PutRecords again",
        configure: |scenario| only_faults(scenario, &[(Fault::RecordThrottled, 300)]),
        violations: &[Violation::FalselyDrained, Violation::Lost],
    },
    Case {
        mutation: Mutation::NoSelfMessage,
        safeguard: "messages to itself",
        configure: leftover_objects,
        violations: &[Violation::NotDrained],
    },
    Case {
        mutation: Mutation::NoSweep,
        safeguard: "the sweep",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::NotificationLost, 500)]);
            scenario.sweep = Some(Duration::from_secs(300));
        },
        violations: &[Violation::NotDrained],
    },
    Case {
        mutation: Mutation::TableIdentityIgnored,
        safeguard: "the identity in the table",
        // Somebody deploys a contract that would alter keys, sees that its table refuses it, and takes it back.
        configure: |scenario| {
            only_faults(scenario, &[(Fault::ClientRepeats, 500)]);
            (scenario.clients, scenario.requests) = (3, 4);
            scenario.deploys = deploys(&[(8, CatalogVersion::Rekeyed), (120, CatalogVersion::First)]);
        },
        // The rows have keys of other rules than their table's.
        violations: &[Violation::Duplicated, Violation::WrongFiles],
    },
    Case {
        mutation: Mutation::WatermarkFirst,
        safeguard: "the watermark after the puts",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::KilledAtRequest, 300), (Fault::PutRefused, 300)])
        },
        violations: &[Violation::FalselyDrained],
    },
    Case {
        mutation: Mutation::FailuresNotReported,
        safeguard: "reporting failed batches",
        configure: |scenario| only_faults(scenario, &[(Fault::PutRefused, 300)]),
        violations: &[Violation::Lost, Violation::FalselyDrained],
    },
    Case {
        mutation: Mutation::InvalidRecordFailsBatch,
        safeguard: "bad data never failing a batch",
        configure: |scenario| {
            only_faults(scenario, &[]);
            // Long enough for all faults to have stopped when the last try fails.
            scenario.retries = 8;
            scenario.drains_within = Duration::from_secs(600);
        },
        violations: &[Violation::Discarded, Violation::NotDrained],
    },
    Case {
        mutation: Mutation::CatalogHistoryForgotten,
        safeguard: "the catalog_history kept in the lake: a contract is tightened",
        // A record is let in, the contract is tightened, and the record comes again.
        configure: |scenario| {
            repeated_records(scenario, &[(0, CatalogVersion::Lenient), (15, CatalogVersion::First)]);
            scenario.borderline = 900;
        },
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::CatalogHistoryForgotten,
        safeguard: "the same: a dataset is withdrawn",
        configure: |scenario| {
            repeated_records(scenario, &[(15, CatalogVersion::Withdrawn)]);
            scenario.rows = 8;
        },
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::QuarantineIgnored,
        safeguard: "looking into quarantine after an insert: a contract is loosened",
        // A record is refused, the contract is loosened, and the record comes again.
        configure: |scenario| {
            repeated_records(scenario, &[(15, CatalogVersion::Lenient)]);
            scenario.borderline = 900;
        },
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::QuarantineIgnored,
        safeguard: "the same: a dataset comes",
        configure: |scenario| {
            repeated_records(scenario, &[(0, CatalogVersion::Withdrawn), (15, CatalogVersion::First)]);
            scenario.rows = 8;
        },
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::RedriveNotRepeated,
        safeguard: "doing a redrive again that was broken off",
        // A contract is loosened, and tightened while a redrive fails on its way.
        configure: |scenario| {
            only_faults(scenario, &[(Fault::GetFailed, 150), (Fault::ListFailed, 150)]);
            scenario.deploys = deploys(&[(30, CatalogVersion::Lenient), (50, CatalogVersion::First)]);
            scenario.redrives = (32..50).step_by(2).map(Duration::from_secs).collect();
            scenario.borderline = 900;
            (scenario.clients, scenario.requests) = (3, 4);
        },
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::DiscardedBatchesIgnored,
        safeguard: "looking at what was given up, before saying \"drained\"",
        configure: discarded_batches,
        violations: &[Violation::FalselyDrained],
    },
    Case {
        mutation: Mutation::RemovedBeforeReplay,
        safeguard: "removing what was given up only after it has landed",
        configure: discarded_batches,
        violations: &[Violation::FalselyDrained, Violation::Lost],
    },
    Case {
        mutation: Mutation::KeyEpochIgnored,
        safeguard: "the rules in a key file's header",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::ClientRepeats, 700)]);
            (scenario.clients, scenario.requests, scenario.key_bytes) = (3, 4, 0);
            scenario.interferences = interferences(Interference::KeysOfOtherRules);
        },
        violations: &[Violation::Duplicated, Violation::WrongFiles],
    },
    Case {
        mutation: Mutation::LogGapIsEnd,
        safeguard: "a truncated log is read anew from its checkpoint",
        configure: |scenario| {
            concurrent_compactors(scenario);
            scenario.interferences = interferences(Interference::LogTruncated(CheckpointForm::Classic));
        },
        violations: &[
            Violation::Overwritten,
            Violation::Lost,
            Violation::Duplicated,
            Violation::WrongFiles,
            Violation::WrongCounts,
        ],
    },
    Case {
        mutation: Mutation::LogGapIsEnd,
        safeguard: "a log that lacks an entry is refused",
        configure: |scenario| {
            concurrent_compactors(scenario);
            scenario.interferences = interferences(Interference::EntryDeleted);
        },
        violations: &[
            Violation::Overwritten,
            Violation::Lost,
            Violation::Duplicated,
            Violation::WrongFiles,
            Violation::WrongCounts,
        ],
    },
    Case {
        mutation: Mutation::CheckpointHintTrusted,
        safeguard: "a hint whose checkpoint is not understood is no hint",
        configure: |scenario| {
            concurrent_compactors(scenario);
            scenario.interferences = interferences(Interference::HintWritten(CheckpointForm::Missing));
            scenario.drains_within = Duration::from_secs(3_600);
        },
        violations: &[Violation::NotDrained, Violation::WrongFiles, Violation::Misread],
    },
    Case {
        mutation: Mutation::KeysNotStored,
        safeguard: "keys stored with the rows of `identity = \"record\"`",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::ClientRepeats, 700), (Fault::BatchTwice, 300)]);
            (scenario.clients, scenario.requests, scenario.key_bytes) = (3, 4, 0);
            scenario.interferences = interferences(Interference::KeysDeleted);
        },
        violations: &[Violation::Duplicated, Violation::NotDrained],
    },
    Case {
        mutation: Mutation::RecordIdentityIgnored,
        safeguard: "the record in quarantine's key where it is the identity",
        configure: |scenario| {
            only_faults(scenario, &[]);
            scenario.deploys = deploys(&[
                (12, CatalogVersion::Lenient),
                (24, CatalogVersion::First),
                (40, CatalogVersion::Lenient),
            ]);
            scenario.redrives = [14, 18, 22, 42, 50].map(Duration::from_secs).into();
            scenario.borderline = 900;
            (scenario.clients, scenario.requests) = (3, 4);
        },
        violations: &[Violation::Lost, Violation::FalselyDrained],
    },
    Case {
        mutation: Mutation::CallerIgnored,
        safeguard: "the caller in a record's identity",
        configure: |scenario| {
            shared_idempotency_keys(scenario);
            scenario.callers = 2;
        },
        violations: &[Violation::Lost, Violation::FalselyDrained],
    },
    Case {
        mutation: Mutation::ContentIgnored,
        safeguard: "the content in a record's identity",
        configure: shared_idempotency_keys,
        violations: &[Violation::Lost, Violation::FalselyDrained],
    },
    Case {
        mutation: Mutation::TruncationUnreported,
        safeguard: "a look that reaches its bound says so",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::NotificationLate, 700)]);
            (scenario.clients, scenario.requests, scenario.batch) = (3, 4, 1);
            scenario.bounds = Bounds { landing: 1, failed: 1, discarded: 1, ..Bounds::default() };
        },
        violations: &[Violation::FalselyDrained],
    },
    Case {
        mutation: Mutation::SourceNamesIgnored,
        safeguard: "names of topics and files in a catalog_version's id",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::BatchTwice, 600), (Fault::FunctionAnswerLost, 300)]);
            scenario.topic = 12;
            scenario.deploys = deploys(&[
                (0, CatalogVersion::Renamed),
                (15, CatalogVersion::First),
                (35, CatalogVersion::Renamed),
                (50, CatalogVersion::First),
            ]);
        },
        violations: &[Violation::Duplicated],
    },
];

/// No faults but these, and nobody who deploys or does anything else unusual.
fn only_faults(scenario: &mut Scenario, faults: &[(Fault, u64)]) {
    scenario.rates = faults.iter().fold(Rates::default(), |rates, (fault, rate)| rates.with(*fault, *rate));
    scenario.deploys.clear();
    scenario.redrives.clear();
    scenario.operators.clear();
    scenario.interferences.clear();
    scenario.record_age = None;
    scenario.files = FileScenario::default();
    scenario.deploy_lags = [Duration::ZERO; 4];
    scenario.bounds = Bounds::default();
    (scenario.topic, scenario.callers, scenario.shared_keys, scenario.paged_listings) = (0, 0, 0, false);
}

/// CatalogHistory, at so many seconds.
fn deploys(catalog_history: &[(u64, CatalogVersion)]) -> Vec<(Duration, CatalogVersion)> {
    catalog_history.iter().map(|(at, catalog_version)| (Duration::from_secs(*at), *catalog_version)).collect()
}

/// The same again and again.
fn interferences(interference: Interference) -> Vec<(Duration, Interference)> {
    (1..=12).map(|at| (Duration::from_secs(at * 4), interference)).collect()
}

/// Several compactors on the same tables, and messages for all of them.
fn concurrent_compactors(scenario: &mut Scenario) {
    only_faults(
        scenario,
        &[(Fault::VisibleWhileAtWork, 700), (Fault::NotificationTwice, 900), (Fault::BatchTwice, 300)],
    );
    (scenario.compactors, scenario.clients, scenario.requests) = (3, 3, 4);
    (scenario.batch, scenario.max_objects, scenario.key_bytes) = (1, 1, 40 << 20);
}

/// One notification for several objects, of which a compactor takes one at a time. Several notifications in one batch make one
/// invocation, which takes one object of each dataset.
fn leftover_objects(scenario: &mut Scenario) {
    only_faults(scenario, &[]);
    (scenario.max_objects, scenario.time_budget, scenario.compactors, scenario.batch) = (1, 0, 1, 1);
    (scenario.clients, scenario.requests) = (3, 4);
    scenario.sweep = None;
    scenario.drains_within = Duration::from_secs(3_600);
}

/// Records are sent and delivered again and again while contracts are deployed, at so many seconds.
fn repeated_records(scenario: &mut Scenario, catalog_history: &[(u64, CatalogVersion)]) {
    only_faults(scenario, &[(Fault::ClientRepeats, 700), (Fault::BatchTwice, 300)]);
    scenario.deploys = deploys(catalog_history);
    (scenario.clients, scenario.requests) = (3, 4);
}

/// Batches are given up after the first failure, and operators recover them at any time.
fn discarded_batches(scenario: &mut Scenario) {
    only_faults(scenario, &[(Fault::PutRefused, 200), (Fault::KilledAtRequest, 300)]);
    scenario.retries = 0;
    (scenario.clients, scenario.requests) = (3, 4);
}

/// Requests are named alike.
fn shared_idempotency_keys(scenario: &mut Scenario) {
    only_faults(scenario, &[]);
    (scenario.clients, scenario.requests, scenario.rows) = (3, 12, 8);
    (scenario.callers, scenario.shared_keys, scenario.borderline) = (1, 1_000, 0);
}
