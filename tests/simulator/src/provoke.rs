//! Scenarios that need a safeguard: all seeds hold with it, and some fail with the mutation that removes it.

use std::time::Duration;

use compactor::files::Steps;
use pinlake_landing::drain::DrainLimits;

use crate::checkpoint::CheckpointForm;
use crate::contracts::CatalogVersion;
use crate::fault::{Fault, Rates};
use crate::files::FileScenario;
use crate::foreign::Interference;
use crate::mutation::Mutation;
use crate::trace::Violation;
use crate::world::Scenario;

/// A mutation and a scenario that detects it.
#[derive(Debug, Clone, Copy)]
pub struct Case {
    /// The mutation.
    pub mutation: Mutation,
    /// The safeguard that it removes, for the table of docs/faults.md.
    pub safeguard: &'static str,
    /// Changes a drawn scenario into one that needs the safeguard.
    pub configure: fn(&mut Scenario),
    /// The expected violations.
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
        safeguard: "commit to version N+1 only (a library that rebases appends), several compactors",
        configure: concurrent_compactors,
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::SilentRebase,
        safeguard: "the same, one compactor, lost response",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::PutRetriedBySdk, 500)]);
            scenario.compactors = 1;
        },
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::NoRecheck,
        safeguard: "key lookup repeated after a conflict",
        configure: concurrent_compactors,
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::BlindAppend,
        safeguard: "key lookup",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::ClientRepeats, 500), (Fault::KilledAtRequest, 200)])
        },
        violations: &[Violation::Duplicated, Violation::WrongFiles],
    },
    Case {
        mutation: Mutation::OwnCommitIsForeign,
        safeguard: "attempt id: own commit is recognised",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::PutAnswerLost, 300), (Fault::PutRetriedBySdk, 300)]);
            scenario.compactors = 1;
        },
        // The repeated key lookup saves the rows: only the reported counts are wrong.
        violations: &[Violation::WrongCounts],
    },
    Case {
        mutation: Mutation::ForeignCommitIsOwn,
        safeguard: "attempt id: another writer's commit is recognised",
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
        safeguard: "landing objects removed after the commit only",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::KilledAtRequest, 300), (Fault::PutRefused, 200)])
        },
        violations: &[Violation::FalselyDrained, Violation::Lost],
    },
    Case {
        mutation: Mutation::PartialFailureIgnored,
        safeguard: "failed records of PutRecords are put again",
        configure: |scenario| only_faults(scenario, &[(Fault::RecordThrottled, 300)]),
        violations: &[Violation::FalselyDrained, Violation::Lost],
    },
    Case {
        mutation: Mutation::NoSelfMessage,
        safeguard: "the compactor's triggers to itself",
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
        safeguard: "the identity hash in the table and in key files",
        // A contract that changes keys is deployed, rejected by its table, and reverted.
        configure: |scenario| {
            only_faults(scenario, &[(Fault::ClientRepeats, 500)]);
            (scenario.clients, scenario.requests) = (3, 4);
            scenario.deploys = deploys(&[(8, CatalogVersion::Rekeyed), (120, CatalogVersion::First)]);
        },
        // The rows have keys of another epoch.
        violations: &[Violation::Duplicated, Violation::WrongFiles],
    },
    Case {
        mutation: Mutation::TableIdentityIgnored,
        safeguard: "the same; a column is added, and rows from before take its values",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::ClientRepeats, 700), (Fault::BatchTwice, 300)]);
            (scenario.clients, scenario.requests, scenario.batch) = (3, 10, 1);
            scenario.extend_visits(Duration::from_secs(20), CatalogVersion::Extended);
        },
        // Rows without the value stay beside those with it.
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::OtherKeysForgotten,
        safeguard: "records bring their keys under other contracts",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::ClientRepeats, 700), (Fault::BatchTwice, 300)]);
            (scenario.clients, scenario.requests, scenario.batch) = (3, 10, 1);
            scenario.extend_visits(Duration::from_secs(20), CatalogVersion::Reruled);
        },
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::WatermarkFirst,
        safeguard: "watermark advanced after the puts",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::KilledAtRequest, 300), (Fault::PutRefused, 300)])
        },
        violations: &[Violation::FalselyDrained],
    },
    Case {
        mutation: Mutation::FailuresNotReported,
        safeguard: "failed batches are reported",
        configure: |scenario| only_faults(scenario, &[(Fault::PutRefused, 300)]),
        violations: &[Violation::Lost, Violation::FalselyDrained],
    },
    Case {
        mutation: Mutation::InvalidRecordFailsBatch,
        safeguard: "invalid records never fail a batch",
        configure: |scenario| {
            only_faults(scenario, &[]);
            // All faults have stopped when the last attempt fails.
            scenario.retries = Some(8);
            scenario.drains_within = Duration::from_secs(600);
        },
        violations: &[Violation::Discarded, Violation::NotDrained],
    },
    Case {
        mutation: Mutation::CatalogHistoryForgotten,
        safeguard: "catalog history: a contract becomes stricter",
        // A record is accepted, the contract becomes stricter, and the record is sent again.
        configure: |scenario| {
            repeated_records(scenario, &[(0, CatalogVersion::Lenient), (15, CatalogVersion::First)]);
            scenario.borderline = 900;
        },
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::CatalogHistoryForgotten,
        safeguard: "the same: a dataset is removed",
        configure: |scenario| {
            repeated_records(scenario, &[(15, CatalogVersion::Withdrawn)]);
            scenario.rows = 8;
        },
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::QuarantineIgnored,
        safeguard: "quarantine reconciliation after an insert: a contract becomes less strict",
        // A record is quarantined, the contract becomes less strict, and the record is sent again.
        configure: |scenario| {
            repeated_records(scenario, &[(15, CatalogVersion::Lenient)]);
            scenario.borderline = 900;
        },
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::QuarantineIgnored,
        safeguard: "the same: a dataset is added",
        configure: |scenario| {
            repeated_records(scenario, &[(0, CatalogVersion::Withdrawn), (15, CatalogVersion::First)]);
            scenario.rows = 8;
        },
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::RedriveNotRepeated,
        safeguard: "an interrupted redrive is repeated",
        // A contract becomes less strict, and stricter again while a redrive fails.
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
        safeguard: "discarded batches count as backlog",
        configure: discarded_batches,
        violations: &[Violation::FalselyDrained],
    },
    Case {
        mutation: Mutation::RemovedBeforeReplay,
        safeguard: "discarded batches removed after they landed only",
        configure: discarded_batches,
        violations: &[Violation::FalselyDrained, Violation::Lost],
    },
    Case {
        mutation: Mutation::KeyEpochIgnored,
        safeguard: "key epoch in the header of a key file",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::ClientRepeats, 700)]);
            (scenario.clients, scenario.requests, scenario.key_bytes) = (3, 4, 0);
            scenario.interferences = interferences(Interference::KeysOfOtherRules);
        },
        violations: &[Violation::Duplicated, Violation::WrongFiles],
    },
    Case {
        mutation: Mutation::LogGapIsEnd,
        safeguard: "a truncated log is read again from its checkpoint",
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
        safeguard: "a log with a missing entry is rejected",
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
        safeguard: "a hint to an unreadable checkpoint is ignored",
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
        safeguard: "record identity in the keys of quarantine",
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
        safeguard: "caller in the identity of a record",
        configure: |scenario| {
            shared_idempotency_keys(scenario);
            scenario.callers = 2;
        },
        violations: &[Violation::Lost, Violation::FalselyDrained],
    },
    Case {
        mutation: Mutation::ContentIgnored,
        safeguard: "content in the identity of a record",
        configure: shared_idempotency_keys,
        violations: &[Violation::Lost, Violation::FalselyDrained],
    },
    Case {
        mutation: Mutation::TruncationUnreported,
        safeguard: "a backlog check that reaches its limit reports so",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::NotificationLate, 700)]);
            (scenario.clients, scenario.requests, scenario.batch) = (3, 4, 1);
            scenario.bounds = DrainLimits { landing: 1, failed: 1, discarded: 1, ..DrainLimits::default() };
        },
        violations: &[Violation::FalselyDrained],
    },
    Case {
        mutation: Mutation::SourceNamesIgnored,
        safeguard: "names of topics and files in the hash of the catalog",
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
    Case {
        mutation: Mutation::FileVersionIgnored,
        safeguard: "version of a file in its progress",
        // An object is replaced while it is read, and the message of the new object is handled together with the one that
        // continues the old object.
        configure: |scenario| {
            only_faults(scenario, &[(Fault::Slow, 150)]);
            (scenario.clients, scenario.requests, scenario.time_budget, scenario.compactors) = (1, 1, 0, 1);
            scenario.files = FileScenario { inbox: 0, sink: 12, records: 12 };
            scenario.steps = Steps { slice_bytes: 1, check_cost: 1, min_cost: 1 };
        },
        violations: &[Violation::Lost],
    },
    Case {
        mutation: Mutation::OlderCatalogsIgnored,
        safeguard: "clean rows compared with quarantine under every earlier catalog",
        // A record comes twice over a topic, and only one of the two catalogs routes the topic. The clean rows are inserted
        // last, and under the catalog that does not.
        configure: |scenario| {
            only_faults(scenario, &[(Fault::FunctionAnswerLost, 600), (Fault::NotificationLate, 500)]);
            (scenario.clients, scenario.requests, scenario.topic, scenario.compactors) = (1, 1, 12, 3);
            scenario.deploys = (0..20)
                .map(|at| (at * 4, if at % 2 == 0 { CatalogVersion::First } else { CatalogVersion::Renamed }))
                .map(|(at, version)| (Duration::from_secs(at), version))
                .collect();
            scenario.sweep = Some(Duration::from_secs(300));
            scenario.drains_within = Duration::from_secs(3_600);
        },
        violations: &[Violation::Duplicated],
    },
    Case {
        mutation: Mutation::DeletesForgotten,
        safeguard: "keys of deleted rows are remembered",
        configure: |scenario| {
            only_faults(scenario, &[(Fault::BatchTwice, 300)]);
            scenario.keep_orders(4, Duration::from_secs(20));
        },
        violations: &[Violation::Unexpected, Violation::WrongCounts],
    },
];

/// Sets only these faults and removes deployments and all other unusual events.
fn only_faults(scenario: &mut Scenario, faults: &[(Fault, u64)]) {
    scenario.rates = faults.iter().fold(Rates::default(), |rates, (fault, rate)| rates.with(*fault, *rate));
    scenario.deploys.clear();
    scenario.redrives.clear();
    scenario.operators.clear();
    scenario.interferences.clear();
    scenario.rebuilds.clear();
    scenario.orders = 0;
    scenario.record_age = None;
    scenario.files = FileScenario::default();
    scenario.deploy_lags = [Duration::ZERO; 4];
    scenario.bounds = DrainLimits::default();
    (scenario.topic, scenario.callers, scenario.shared_keys, scenario.paged_listings) = (0, 0, 0, false);
}

/// Deployments, with their times in seconds.
fn deploys(catalog_history: &[(u64, CatalogVersion)]) -> Vec<(Duration, CatalogVersion)> {
    catalog_history.iter().map(|(at, catalog_version)| (Duration::from_secs(*at), *catalog_version)).collect()
}

/// Repeats one interference every four seconds.
fn interferences(interference: Interference) -> Vec<(Duration, Interference)> {
    (1..=12).map(|at| (Duration::from_secs(at * 4), interference)).collect()
}

/// Several compactors work on the same tables.
fn concurrent_compactors(scenario: &mut Scenario) {
    only_faults(
        scenario,
        &[(Fault::VisibleWhileAtWork, 700), (Fault::NotificationTwice, 900), (Fault::BatchTwice, 300)],
    );
    (scenario.compactors, scenario.clients, scenario.requests) = (3, 3, 4);
    (scenario.batch, scenario.max_objects, scenario.key_bytes) = (1, 1, 40 << 20);
}

/// A compactor inserts one object at a time and must trigger itself for the rest. Several notifications in one batch make one
/// invocation, which inserts one object of each dataset.
fn leftover_objects(scenario: &mut Scenario) {
    only_faults(scenario, &[]);
    (scenario.max_objects, scenario.time_budget, scenario.compactors, scenario.batch) = (1, 0, 1, 1);
    (scenario.clients, scenario.requests) = (3, 4);
    scenario.sweep = None;
    scenario.drains_within = Duration::from_secs(3_600);
}

/// Records are sent and delivered repeatedly while catalogs are deployed.
fn repeated_records(scenario: &mut Scenario, catalog_history: &[(u64, CatalogVersion)]) {
    only_faults(scenario, &[(Fault::ClientRepeats, 700), (Fault::BatchTwice, 300)]);
    scenario.deploys = deploys(catalog_history);
    (scenario.clients, scenario.requests) = (3, 4);
}

/// Batches are discarded after the first failure, and operators recover them.
fn discarded_batches(scenario: &mut Scenario) {
    only_faults(scenario, &[(Fault::PutRefused, 200), (Fault::KilledAtRequest, 300)]);
    scenario.retries = Some(0);
    (scenario.clients, scenario.requests) = (3, 4);
}

/// Requests share Idempotency-Keys.
fn shared_idempotency_keys(scenario: &mut Scenario) {
    only_faults(scenario, &[]);
    (scenario.clients, scenario.requests, scenario.rows) = (3, 12, 8);
    (scenario.callers, scenario.shared_keys, scenario.borderline) = (1, 1_000, 0);
}
