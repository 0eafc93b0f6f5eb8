//! The fields that any contract reads, and the fast way from a name to its number.

use std::collections::HashMap;

use pinlake_schema::Catalog;

/// Number of a field within a catalog.
pub(crate) type FieldId = u32;

/// How a field's value is read first. It follows what clients send: reading a string as raw JSON, or a number
/// as a string, costs a second look.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Expect {
    Text,
    Raw,
}

/// All fields that the contracts of a catalog name.
#[derive(Debug)]
pub(crate) struct FieldTable {
    names: Vec<String>,
    ids: HashMap<String, FieldId>,
    /// For each field the one that came next the last time, and behind them the one that a record began with:
    /// a client sends the same order each time, so the guess is nearly always right.
    follower: Vec<FieldId>,
    /// The names as they stand in JSON; none of one that is escaped there.
    quoted: Vec<Option<Quoted>>,
    /// In the follower's places, the name that came there the last time and is no field's.
    stranger: Vec<Option<Quoted>>,
    expect: Vec<Expect>,
}

/// A name and the quote behind it. Nearly all are so short that they are compared as one number.
#[derive(Debug)]
struct Quoted {
    text: String,
    first: u128,
    mask: u128,
}

impl Quoted {
    /// None when the name does not stand in JSON as it is.
    fn new(name: &str) -> Option<Quoted> {
        if name.bytes().any(|byte| matches!(byte, b'"' | b'\\' | ..0x20)) {
            return None;
        }
        let text = format!("{name}\"");
        let (mut first, mut mask) = ([0; 16], [0; 16]);
        for ((first, mask), byte) in first.iter_mut().zip(&mut mask).zip(text.bytes()) {
            (*first, *mask) = (byte, u8::MAX);
        }
        Some(Quoted { text, first: u128::from_le_bytes(first), mask: u128::from_le_bytes(mask) })
    }

    /// Its length with the quote, when `text` begins with it.
    fn begins(&self, text: &[u8]) -> Option<usize> {
        let length = self.text.len();
        let begins = match text.first_chunk() {
            Some(first) if length <= 16 => u128::from_le_bytes(*first) & self.mask == self.first,
            _ => text.starts_with(self.text.as_bytes()),
        };
        begins.then_some(length)
    }
}

/// The longest name of no field that is kept.
const MAX_STRANGER_BYTES: usize = 64;

impl FieldTable {
    pub(crate) fn new(catalog: &Catalog) -> FieldTable {
        let mut table = FieldTable {
            names: Vec::new(),
            ids: HashMap::new(),
            follower: vec![0],
            quoted: Vec::new(),
            stranger: vec![None],
            expect: Vec::new(),
        };
        for contract in catalog.contracts() {
            for field in &contract.route.shape {
                table.add(field);
            }
            let read = contract.columns.iter().flat_map(|column| column.source.fields());
            for field in read.flatten() {
                table.add(field);
            }
        }
        table
    }

    fn add(&mut self, name: &str) {
        if !self.ids.contains_key(name) {
            self.ids.insert(name.to_owned(), self.names.len() as FieldId);
            self.names.push(name.to_owned());
            self.quoted.push(Quoted::new(name));
            self.follower.push(0);
            self.stranger.push(None);
            self.expect.push(Expect::Text);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn id(&self, name: &str) -> Option<FieldId> {
        self.ids.get(name).copied()
    }

    /// The field whose name, and a quote behind it, `text` begins with, when that is what came there the last time: none
    /// inside for a name that is no field's. With it the length of both.
    pub(crate) fn guess(&self, before: Option<FieldId>, text: &[u8]) -> Option<(Option<FieldId>, usize)> {
        let slot = self.slot(before);
        let guess = self.follower[slot];
        let known = self.quoted.get(guess as usize).and_then(Option::as_ref);
        if let Some(length) = known.and_then(|known| known.begins(text)) {
            return Some((Some(guess), length));
        }
        let stranger = self.stranger[slot].as_ref()?.begins(text)?;
        Some((None, stranger))
    }

    fn slot(&self, before: Option<FieldId>) -> usize {
        before.map_or(self.names.len(), |before| before as usize)
    }

    /// The field called `name`, given the one before it in the record.
    pub(crate) fn find(&mut self, before: Option<FieldId>, name: &str) -> Option<FieldId> {
        let slot = self.slot(before);
        let guess = self.follower[slot];
        if self.names.get(guess as usize).is_some_and(|own| own == name) {
            return Some(guess);
        }
        let found = self.id(name);
        match found {
            Some(found) => self.follower[slot] = found,
            None if name.len() <= MAX_STRANGER_BYTES => self.stranger[slot] = Quoted::new(name),
            None => {}
        }
        found
    }

    pub(crate) fn expect(&self, field: FieldId) -> Expect {
        self.expect[field as usize]
    }

    pub(crate) fn learn(&mut self, field: FieldId, expect: Expect) {
        self.expect[field as usize] = expect;
    }
}
