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
    expect: Vec<Expect>,
}

impl FieldTable {
    pub(crate) fn new(catalog: &Catalog) -> FieldTable {
        let mut table =
            FieldTable { names: Vec::new(), ids: HashMap::new(), follower: vec![0], expect: Vec::new() };
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
            self.follower.push(0);
            self.expect.push(Expect::Text);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn id(&self, name: &str) -> Option<FieldId> {
        self.ids.get(name).copied()
    }

    /// The field called `name`, given the one before it in the record.
    pub(crate) fn find(&mut self, before: Option<FieldId>, name: &str) -> Option<FieldId> {
        let slot = before.map_or(self.names.len(), |before| before as usize);
        let guess = self.follower[slot];
        if self.names.get(guess as usize).is_some_and(|own| own == name) {
            return Some(guess);
        }
        let found = self.id(name)?;
        self.follower[slot] = found;
        Some(found)
    }

    pub(crate) fn expect(&self, field: FieldId) -> Expect {
        self.expect[field as usize]
    }

    pub(crate) fn learn(&mut self, field: FieldId, expect: Expect) {
        self.expect[field as usize] = expect;
    }
}
