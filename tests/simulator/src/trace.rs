//! What happened, for whoever has to understand a failing seed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::fault::Fault;

/// An invariant that did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// An acknowledged record is in no table.
    Lost,
    /// A record is in a table more often than it may be.
    Duplicated,
    /// A row that nobody sent, or a row with other values than were sent.
    Unexpected,
    /// The pipeline said that it was drained of a record that was in no table.
    FalselyDrained,
    /// Work was left when all faults had long stopped.
    NotDrained,
    /// A commit's `read` is not `inserted + duplicates`, or its counts are not those of its files.
    WrongCounts,
    /// The log names a data file that is not there, or has no key file.
    WrongFiles,
    /// A landing object was removed before its rows were in the log.
    RemovedEarly,
    /// An object that must never change was written over.
    Overwritten,
    /// Records were given up though nothing but their contents was wrong.
    Discarded,
    /// A reader found another table than the log has.
    Misread,
    /// Production code panicked.
    Panicked,
}

/// Events in order, and counts of what was injected.
#[derive(Debug, Default)]
pub struct Trace(Mutex<Report>);

/// What a trace holds.
#[derive(Debug, Default, Clone)]
pub struct Report {
    /// Virtual time and event.
    pub events: Vec<(Duration, String)>,
    /// What did not hold.
    pub violations: Vec<(Violation, String)>,
    /// How often each kind of fault struck at each point.
    pub faults: BTreeMap<(Fault, &'static str), u64>,
    /// How often something worth counting happened.
    pub counters: BTreeMap<&'static str, u64>,
}

impl Trace {
    /// Adds an event.
    pub fn add_event(&self, at: Duration, event: String) {
        self.with(|report| report.events.push((at, event)));
    }

    /// Adds an invariant that did not hold.
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

    /// Counts something else.
    pub fn count(&self, what: &'static str) {
        self.with(|report| *report.counters.entry(what).or_default() += 1);
    }

    /// Whether an invariant did not hold.
    pub fn has_violations(&self) -> bool {
        self.with(|report| !report.violations.is_empty())
    }

    /// All of it.
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
    /// A fingerprint of the whole run: equal for equal runs.
    pub fn fingerprint(&self) -> String {
        blake3::hash(self.to_string().as_bytes()).to_hex()[..16].to_owned()
    }
}
