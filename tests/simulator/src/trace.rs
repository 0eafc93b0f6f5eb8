//! What happened, for whoever has to understand a failing seed.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use crate::fault::Fault;

/// An invariant that did not hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Broken {
    /// An acknowledged record is in no table.
    Lost,
    /// A record is in a table more often than it may be.
    Doubled,
    /// A row that nobody sent, or a row with other values than were sent.
    Invented,
    /// The pipeline said that it was drained of a record that was in no table.
    SaidDrained,
    /// Work was left when all faults had long stopped.
    NotDrained,
    /// A commit's `read` is not `inserted + duplicates`, or its counts are not those of its files.
    Counts,
    /// The log names a data file that is not there, or has no key file.
    Files,
    /// A landing object was removed before its rows were in the log.
    RemovedEarly,
    /// An object that must never change was written over.
    Overwritten,
    /// Records were given up though nothing but their contents was wrong.
    GaveUp,
    /// A reader found another table than the log has.
    Misread,
    /// Production code panicked.
    Panicked,
}

/// Events in order, and counts of what was injected.
#[derive(Debug, Default)]
pub struct Trace(Mutex<Told>);

/// What a trace holds.
#[derive(Debug, Default, Clone)]
pub struct Told {
    /// Virtual time and event.
    pub events: Vec<(Duration, String)>,
    /// What did not hold.
    pub broken: Vec<(Broken, String)>,
    /// How often each kind of fault struck at each point.
    pub faults: BTreeMap<(Fault, &'static str), u64>,
    /// How often something worth counting happened.
    pub reached: BTreeMap<&'static str, u64>,
}

impl Trace {
    /// Adds an event.
    pub fn tell(&self, at: Duration, event: String) {
        self.with(|told| told.events.push((at, event)));
    }

    /// Adds an invariant that did not hold.
    pub fn broke(&self, at: Duration, what: Broken, how: String) {
        self.with(|told| {
            told.events.push((at, format!("BROKEN {what:?}: {how}")));
            told.broken.push((what, how));
        });
    }

    /// Counts a fault.
    pub fn struck(&self, fault: Fault, place: &'static str) {
        self.with(|told| *told.faults.entry((fault, place)).or_default() += 1);
    }

    /// Counts something else.
    pub fn reached(&self, what: &'static str) {
        self.with(|told| *told.reached.entry(what).or_default() += 1);
    }

    /// Whether an invariant did not hold.
    pub fn is_broken(&self) -> bool {
        self.with(|told| !told.broken.is_empty())
    }

    /// All of it.
    pub fn told(&self) -> Told {
        self.with(std::mem::take)
    }

    fn with<T>(&self, work: impl FnOnce(&mut Told) -> T) -> T {
        work(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl fmt::Display for Told {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, event) in &self.events {
            writeln!(f, "{:>10.3}s  {event}", at.as_secs_f64())?;
        }
        Ok(())
    }
}

impl Told {
    /// A fingerprint of the whole run: equal for equal runs.
    pub fn fingerprint(&self) -> String {
        blake3::hash(self.to_string().as_bytes()).to_hex()[..16].to_owned()
    }
}
