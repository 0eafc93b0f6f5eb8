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
    /// Whether a name stands in JSON as it is.
    plain: Vec<bool>,
    /// In the same places, the plain name that came there the last time and is no field's.
    stranger: Vec<String>,
    expect: Vec<Expect>,
}

/// The longest name of no field that is kept.
const MAX_STRANGER_BYTES: usize = 64;

impl FieldTable {
    pub(crate) fn new(catalog: &Catalog) -> FieldTable {
        let mut table = FieldTable {
            names: Vec::new(),
            ids: HashMap::new(),
            follower: vec![0],
            plain: Vec::new(),
            stranger: vec![String::new()],
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
            self.plain.push(is_plain(name));
            self.follower.push(0);
            self.stranger.push(String::new());
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
    /// inside for a name that is no field's. With it the length of the name.
    pub(crate) fn guess(&self, before: Option<FieldId>, text: &[u8]) -> Option<(Option<FieldId>, usize)> {
        let slot = before.map_or(self.names.len(), |before| before as usize);
        let begins = |name: &str| text.get(name.len()) == Some(&b'"') && text.starts_with(name.as_bytes());
        let guess = self.follower[slot];
        let known = self.names.get(guess as usize).filter(|_| self.plain[guess as usize]);
        if let Some(name) = known.filter(|name| begins(name)) {
            return Some((Some(guess), name.len()));
        }
        let stranger = &self.stranger[slot];
        (!stranger.is_empty() && begins(stranger)).then_some((None, stranger.len()))
    }

    /// The field called `name`, given the one before it in the record.
    pub(crate) fn find(&mut self, before: Option<FieldId>, name: &str) -> Option<FieldId> {
        let slot = before.map_or(self.names.len(), |before| before as usize);
        let guess = self.follower[slot];
        if self.names.get(guess as usize).is_some_and(|own| own == name) {
            return Some(guess);
        }
        let found = self.id(name);
        match found {
            Some(found) => self.follower[slot] = found,
            None if name.len() <= MAX_STRANGER_BYTES && is_plain(name) => {
                self.stranger[slot].clear();
                self.stranger[slot].push_str(name);
            }
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

/// Whether nothing of a text is escaped in JSON.
fn is_plain(name: &str) -> bool {
    !name.bytes().any(|byte| matches!(byte, b'"' | b'\\' | ..0x20))
}
