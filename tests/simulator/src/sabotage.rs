//! Safeguards, taken away one by one from outside: production code stays as it is, and the world around it behaves
//! so that the safeguard has no effect. A simulator that does not notice would prove nothing.

use object_store::ObjectMeta;

use crate::process::Process;
use crate::world::World;

/// A safeguard that is gone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Sabotage {
    /// Log entries are put whether or not the version is there (a store without conditional puts).
    UnconditionalCommit,
    /// An append that loses its version is committed as the next one, as delta-rs does by itself.
    SilentRebase,
    /// After losing a version, keys are not looked up again.
    NoRecheck,
    /// No key is ever looked up: every row is appended.
    BlindAppend,
    /// The writer does not know its own attempt id: its own commit counts as another's.
    OwnCommitIsForeign,
    /// The writer does not look at the attempt id: any commit in its place counts as its own.
    ForeignCommitIsOwn,
    /// Landing objects of a shard's minute share one name and are written over.
    MutableLanding,
    /// Landing objects are removed when they are read, not after the commit.
    DeleteBeforeCommit,
    /// Records that PutRecords did not take count as taken.
    PartialFailureIgnored,
    /// The compactor's messages to itself go nowhere.
    NoSelfMessage,
    /// Nobody sweeps.
    NoSweep,
    /// A table does not know the identity it was keyed under.
    IdentityForgotten,
    /// A shard's watermark moves before its records land.
    WatermarkFirst,
    /// What the cleaner reports as failed is not delivered again.
    FailuresNotReported,
    /// A batch with a bad record fails.
    BadDataFails,
    /// Nobody knows under which contracts rows were let in before.
    ReleasesForgotten,
    /// Whoever inserts clean rows does not see what is unresolved in quarantine.
    QuarantineUnseen,
    /// A redrive that was broken off is not done again.
    RedriveForgotten,
    /// Whether something was given up is not looked at when the pipeline is asked whether it is drained.
    GivenUpUnseen,
    /// A batch that was given up is removed when it is read, not after it has landed.
    RemovedBeforeReplayed,
}

impl Sabotage {
    /// All of them.
    pub const ALL: [Sabotage; 20] = [
        Sabotage::UnconditionalCommit,
        Sabotage::SilentRebase,
        Sabotage::NoRecheck,
        Sabotage::BlindAppend,
        Sabotage::OwnCommitIsForeign,
        Sabotage::ForeignCommitIsOwn,
        Sabotage::MutableLanding,
        Sabotage::DeleteBeforeCommit,
        Sabotage::PartialFailureIgnored,
        Sabotage::NoSelfMessage,
        Sabotage::NoSweep,
        Sabotage::IdentityForgotten,
        Sabotage::WatermarkFirst,
        Sabotage::FailuresNotReported,
        Sabotage::BadDataFails,
        Sabotage::ReleasesForgotten,
        Sabotage::QuarantineUnseen,
        Sabotage::RedriveForgotten,
        Sabotage::GivenUpUnseen,
        Sabotage::RemovedBeforeReplayed,
    ];
}

/// Hides what a listing must not show when a safeguard is gone.
pub(crate) fn listed(world: &World, process: &Process, kind: &'static str, metas: &mut Vec<ObjectMeta>) {
    match world.plan.sabotage {
        Some(Sabotage::ReleasesForgotten) if kind == "release" => metas.clear(),
        Some(Sabotage::GivenUpUnseen) if kind == "given up" && process.name() == "client" => metas.clear(),
        _ => {}
    }
}
