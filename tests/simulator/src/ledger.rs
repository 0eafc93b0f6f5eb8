//! Who sent what, and what was acknowledged: the oracle of a run.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pinlake_landing::drain::Acknowledged;

use crate::contracts::{self, Rule};
use crate::invariants::Copies;

/// What a row says, whichever table it is in: `<dataset>/<id>` or `quarantine/<dataset or ->/<raw bytes>`.
pub type Content = String;

/// Which record it was: the caller, the request or place, and the number in it. Only where the record is the identity does
/// it make another row.
pub type RecordId = String;

/// What was sent and what was promised.
#[derive(Debug, Clone, Default)]
pub struct Promise {
    /// Records that were sent.
    pub sent: BTreeSet<RecordId>,
    /// Those that must be there.
    pub acknowledged: BTreeSet<RecordId>,
}

impl Promise {
    /// How often it must be there.
    pub fn min_copies(&self, content: &str) -> u64 {
        match contracts::rule(content) {
            Rule::Each => self.acknowledged.len() as u64,
            Rule::Once | Rule::Yields => u64::from(!self.acknowledged.is_empty()),
        }
    }

    /// Why it must not be there so often.
    pub fn is_exceeded(&self, content: &str, places: Copies) -> bool {
        let sent = self.sent.len() as u64;
        match contracts::rule(content) {
            Rule::Once => places.all() > sent.min(1),
            Rule::Each => places.all() > sent,
            // A row without a contract yields to the row of its own record under one; another record's row stays until a redrive.
            Rule::Yields => {
                places.with_contract > sent.min(1)
                    || places.without_contract > sent.saturating_sub(places.with_contract)
            }
        }
    }
}

/// An acknowledgement: how far the shards must be read, and what must be there then.
#[derive(Debug, Clone, Default)]
pub struct Receipt {
    /// Of which stream or topic.
    pub stream: &'static str,
    /// As the answer's header had it.
    pub acknowledged: Acknowledged,
    /// What was acknowledged.
    pub records: Vec<(Content, RecordId)>,
}

/// All promises.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<LedgerState>);

/// What a ledger holds.
#[derive(Debug, Default)]
pub struct LedgerState {
    /// By content.
    pub promises: BTreeMap<Content, Promise>,
    /// In the order in which they came.
    pub receipts: Vec<Receipt>,
    /// Rows that compactors reported as inserted, by dataset.
    pub inserted: BTreeMap<String, u64>,
    /// Whether a compactor failed or was killed, so that its report is missing.
    pub unreported: bool,
}

impl Ledger {
    /// Opens the book.
    pub fn lock(&self) -> MutexGuard<'_, LedgerState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LedgerState {
    /// A record is sent.
    pub fn record_sent(&mut self, content: &str, id: RecordId) {
        self.promises.entry(content.to_owned()).or_default().sent.insert(id);
    }

    /// A record that was sent must be there, though no answer tells when.
    pub fn record_promised(&mut self, content: &str, id: RecordId) {
        if let Some(promise) = self.promises.get_mut(content) {
            promise.acknowledged.insert(id);
        }
    }

    /// Nobody may count on a record any more.
    pub fn record_withdrawn(&mut self, content: &str, id: &RecordId) {
        if let Some(promise) = self.promises.get_mut(content) {
            promise.acknowledged.remove(id);
        }
    }

    /// A compactor reported rows as inserted.
    pub fn record_reported(&mut self, dataset: &str, inserted: u64) {
        *self.inserted.entry(dataset.to_owned()).or_default() += inserted;
    }

    /// Records were acknowledged.
    pub fn record_acknowledged(&mut self, receipt: Receipt) {
        for (content, id) in &receipt.records {
            self.record_promised(content, id.clone());
        }
        self.receipts.push(receipt);
    }
}
