//! Who sent what, and what was acknowledged: the oracle of a run.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use pinlake_landing::drain::Acknowledged;

/// What a row says, whichever table it is in: `<dataset>/<id>` or `quarantine/<dataset or ->/<raw bytes>`.
pub type Content = String;

/// What may be in the tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Promise {
    /// How often it must be there: once when it was acknowledged, else not at all.
    pub least: u64,
    /// How often it may be there: once, or once for each request id under which it was sent, where the record is
    /// its own identity.
    pub most: u64,
}

/// An acknowledgement: how far the shards must be read, and what must be there then.
#[derive(Debug, Clone, Default)]
pub struct Receipt {
    /// As the answer's header had it.
    pub acknowledged: Acknowledged,
    /// What was acknowledged.
    pub contents: Vec<Content>,
}

/// All promises.
#[derive(Debug, Default)]
pub struct Ledger(Mutex<Book>);

/// What a ledger holds.
#[derive(Debug, Default)]
pub struct Book {
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
    pub fn open(&self) -> MutexGuard<'_, Book> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Book {
    /// A record is sent. `again`: under an identity under which it was sent before, as far as its table can tell.
    pub fn sent(&mut self, content: &str, again: bool) {
        let promise = self.promises.entry(content.to_owned()).or_default();
        if promise.most == 0 || !again {
            promise.most += 1;
        }
    }

    /// A compactor reported rows as inserted.
    pub fn reported(&mut self, dataset: &str, inserted: u64) {
        *self.inserted.entry(dataset.to_owned()).or_default() += inserted;
    }

    /// Records were acknowledged.
    pub fn acknowledged(&mut self, receipt: Receipt) {
        for content in &receipt.contents {
            if let Some(promise) = self.promises.get_mut(content) {
                promise.least = 1;
            }
        }
        self.receipts.push(receipt);
    }
}
