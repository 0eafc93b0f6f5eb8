//! The oracle of a run: which records were sent and which were acknowledged.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pinlake_landing::drain::Acknowledged;

use crate::contracts::{self, Rule};
use crate::invariants::Copies;
use crate::orders::Orders;

/// The content of a row in any table: `<dataset>/<id>` or `quarantine/<dataset or ->/<raw bytes>`.
pub type Content = String;

/// The identity of a record: the caller, the request or place, and the number in it. Only with `identity = "record"` does
/// another id make another row.
pub type RecordId = String;

/// The records with one content: those that were sent and those that were acknowledged.
#[derive(Debug, Clone, Default)]
pub struct Promise {
    /// Records that were sent.
    pub sent: BTreeSet<RecordId>,
    /// Records that must be in the tables.
    pub acknowledged: BTreeSet<RecordId>,
}

impl Promise {
    /// The minimum number of rows.
    pub fn min_copies(&self, content: &str) -> u64 {
        match contracts::rule(content) {
            Rule::Each => self.acknowledged.len() as u64,
            Rule::Once | Rule::Yields => u64::from(!self.acknowledged.is_empty()),
        }
    }

    /// Whether there are more rows than allowed.
    pub fn is_exceeded(&self, content: &str, places: Copies) -> bool {
        let sent = self.sent.len() as u64;
        match contracts::rule(content) {
            Rule::Once => places.all() > sent.min(1),
            Rule::Each => places.all() > sent,
            // A row without a contract yields to the row of the same record under one; rows of other records stay until a redrive.
            Rule::Yields => {
                places.with_contract > sent.min(1)
                    || places.without_contract > sent.saturating_sub(places.with_contract)
            }
        }
    }
}

/// An acknowledgement: the sequence numbers, and the records that must be in the tables once they are read.
#[derive(Debug, Clone, Default)]
pub struct Receipt {
    /// The stream or topic.
    pub stream: &'static str,
    /// The sequence numbers of the response header.
    pub acknowledged: Acknowledged,
    /// The acknowledged records.
    pub records: Vec<(Content, RecordId)>,
}

/// All records that were sent or acknowledged.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<LedgerState>);

/// The contents of a [`Ledger`].
#[derive(Debug, Default)]
pub struct LedgerState {
    /// Sent and acknowledged records, by content.
    pub promises: BTreeMap<Content, Promise>,
    /// Acknowledgements, in order.
    pub receipts: Vec<Receipt>,
    /// The versions of orders that were acknowledged.
    pub orders: Orders,
    /// Rows that compactors reported as inserted, by dataset.
    pub inserted: BTreeMap<String, u64>,
    /// Whether the report of a compactor is missing, because it failed or was killed.
    pub unreported: bool,
}

impl Ledger {
    /// Locks the ledger.
    pub fn lock(&self) -> MutexGuard<'_, LedgerState> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LedgerState {
    /// Records that a record was sent.
    pub fn record_sent(&mut self, content: &str, id: RecordId) {
        self.promises.entry(content.to_owned()).or_default().sent.insert(id);
    }

    /// Records that a record must arrive, without an acknowledgement.
    pub fn record_promised(&mut self, content: &str, id: RecordId) {
        if let Some(promise) = self.promises.get_mut(content) {
            promise.acknowledged.insert(id);
        }
    }

    /// Records that a record need not arrive any more.
    pub fn record_withdrawn(&mut self, content: &str, id: &RecordId) {
        if let Some(promise) = self.promises.get_mut(content) {
            promise.acknowledged.remove(id);
        }
    }

    /// Records the rows that a compactor reported as inserted.
    pub fn record_reported(&mut self, dataset: &str, inserted: u64) {
        *self.inserted.entry(dataset.to_owned()).or_default() += inserted;
    }

    /// Records an acknowledgement.
    pub fn record_acknowledged(&mut self, receipt: Receipt) {
        for (content, id) in &receipt.records {
            self.record_promised(content, id.clone());
        }
        self.receipts.push(receipt);
    }
}
