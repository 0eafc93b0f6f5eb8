//! The trace of a run: events, violated invariants and counters.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::fault::Fault;

/// A violated invariant.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// An acknowledged record is in no table.
    Lost,
    /// A record is in the tables more often than allowed.
    Duplicated,
    /// A row that was not sent, or with other values than were sent.
    Unexpected,
    /// The pipeline reported that it had drained, but an acknowledged record was in no table.
    FalselyDrained,
    /// Work was left long after all faults had stopped.
    NotDrained,
    /// The counts of a commit do not add up or differ from its files.
    WrongCounts,
    /// The log names a data file that is missing or has no matching key file.
    WrongFiles,
    /// A landing object was removed before its rows were in the log.
    RemovedEarly,
    /// An immutable object was overwritten.
    Overwritten,
    /// A batch was discarded although only the contents of its records were invalid.
    Discarded,
    /// A reader got another table than the log describes.
    Misread,
    /// Production code panicked.
    Panicked,
}

/// Collects the events of a run.
#[derive(Debug, Default)]
pub struct Trace(Mutex<Report>);

/// The events, violations and counters of a run.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Virtual time and description of each event.
    pub events: Vec<(Duration, String)>,
    /// Violated invariants, in order.
    pub violations: Vec<(Violation, String)>,
    /// Number of injected faults, by kind and place.
    pub faults: BTreeMap<(Fault, &'static str), u64>,
    /// Number of other notable events.
    pub counters: BTreeMap<&'static str, u64>,
}

impl Trace {
    /// Adds an event.
    pub fn add_event(&self, at: Duration, event: String) {
        self.with(|report| report.events.push((at, event)));
    }

    /// Adds a violated invariant.
    pub fn add_violation(&self, at: Duration, what: Violation, how: String) {
        self.with(|report| {
            report.events.push((at, format!("BROKEN {what:?}: {how}")));
            report.violations.push((what, how));
        });
    }

    /// Counts a fault.
    pub fn count_fault(&self, fault: Fault, place: &'static str) {
        self.with(|report| *report.faults.entry((fault, place)).or_default() += 1);
    }

    /// Counts another notable event.
    pub fn count(&self, what: &'static str) {
        self.with(|report| *report.counters.entry(what).or_default() += 1);
    }

    /// Whether an invariant was violated.
    pub fn has_violations(&self) -> bool {
        self.with(|report| !report.violations.is_empty())
    }

    /// Takes the report out of the trace.
    pub fn take_report(&self) -> Report {
        self.with(std::mem::take)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Report) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, event) in &self.events {
            writeln!(f, "{:>10.3}s  {event}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

impl Report {
    /// A hash of all events: equal for equal runs.
    pub fn fingerprint(&self) -> String {
        blake3::hash(self.to_string().as_bytes()).to_hex()[..16].to_owned()
    }
}
