//! The kinds of faults and their rates.

use std::collections::BTreeMap;

use crate::rng::SimRng;

macro_rules! faults {
    ($($(#[doc = $text:literal])+ $name:ident $most:literal,)+) => {
        /// A kind of fault.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Fault { $($(#[doc = $text])+ $name,)+ }

        impl Fault {
            /// Every kind, with its maximum rate in per mille.
            pub const ALL: &'static [(Fault, u64)] = &[$((Fault::$name, $most),)+];
        }
    };
}

faults! {
    /// S3: an error, and the put never lands.
    PutRefused 250,
    /// S3: the put lands, and its response is an error (time-out, 5xx).
    PutAnswerLost 250,
    /// S3: an error, and the put lands later, when the client no longer waits for it.
    PutLate 200,
    /// S3: 409, another conditional put is in progress; nothing lands.
    PutConflict 150,
    /// S3: a conditional put lands, its response is lost, and the SDK's own retry gets 412.
    PutRetriedBySdk 200,
    /// S3: a request takes seconds.
    Slow 60,
    /// S3: reading an object fails.
    GetFailed 150,
    /// S3: listing fails, at once or half-way.
    ListFailed 100,
    /// S3: deleting fails, and part of the objects are gone.
    DeleteFailed 250,
    /// S3: copying an object fails, nothing is copied.
    CopyFailed 150,
    /// Kinesis: a record of a PutRecords call is throttled.
    RecordThrottled 300,
    /// Kinesis: a record is reported as failed and stored all the same.
    RecordFailedButStored 100,
    /// Kinesis: a PutRecords call fails, nothing is stored.
    CallRefused 200,
    /// Kinesis: a PutRecords call fails, and all of it is stored.
    CallAnswerLost 200,
    /// Kinesis: a PutRecords call gets no response.
    CallSilent 30,
    /// Kinesis: a shard is split in two.
    ShardSplit 20,
    /// Kinesis: two shards are merged.
    ShardMerge 20,
    /// Event source mapping: a batch is delivered twice, at the same time.
    BatchTwice 200,
    /// Lambda: the function has done its work, but its response is lost.
    FunctionAnswerLost 100,
    /// Lambda: the function is killed before or after one of its requests.
    KilledAtRequest 200,
    /// Lambda: the function is killed at any time.
    KilledAtMoment 100,
    /// S3 event: never sent.
    NotificationLost 300,
    /// S3 event: a minute late or more.
    NotificationLate 300,
    /// S3 event: sent twice.
    NotificationTwice 300,
    /// SQS: a message is delivered again though it was deleted.
    MessageAgain 200,
    /// SQS: a message becomes visible while it is being processed.
    VisibleWhileAtWork 200,
    /// SQS: the compactor's trigger to itself is rejected.
    WakeRefused 200,
    /// SQS: the compactor's trigger to itself is stored, and the response is an error.
    WakeAnswerLost 200,
    /// EventBridge: a sweep is not sent.
    SweepLost 200,
    /// HTTP: the response does not reach the client.
    HttpAnswerLost 250,
    /// HTTP: the client repeats an acknowledged request.
    ClientRepeats 150,
    /// HTTP: a proxy strips the Idempotency-Key of a repeated request.
    HeaderLost 300,
    /// HTTP: the client repeats a part of a request with the same Idempotency-Key.
    PartRepeated 400,
}

/// The rate of each kind in per mille.
#[derive(Debug, Clone, Default)]
pub struct Rates(BTreeMap<Fault, u64>);

impl Rates {
    /// Draws which kinds a scenario has and their rates. A run without some faults reaches states
    /// that one with all of them never reaches ("swarm testing", Groce and others, ISSTA 2012).
    pub fn random(rng: &SimRng) -> Self {
        let mut rates = BTreeMap::new();
        let calm = rng.chance(50);
        for (fault, most) in Fault::ALL {
            if !calm && rng.chance(450) {
                rates.insert(*fault, rng.between(1, *most));
            }
        }
        Self(rates)
    }

    /// Sets the rate of one kind.
    #[must_use]
    pub fn with(mut self, fault: Fault, per_mille: u64) -> Self {
        self.0.insert(fault, per_mille);
        self
    }

    /// The rate of a kind.
    pub fn of(&self, fault: Fault) -> u64 {
        self.0.get(&fault).copied().unwrap_or(0)
    }
}
