//! The fields that contracts read, and a fast lookup of their numbers by name.

use std::collections::HashMap;

use pinlake_schema::Catalog;

/// The number of a field within a catalog.
pub(crate) type FieldId = u32;

/// How `serde_path` first tries to read the value of a field. If the value is of another type, the record is read twice.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ReadAs {
    String,
    RawJson,
}

/// All fields that the contracts of a catalog read.
#[derive(Debug)]
pub(crate) struct FieldTable {
    names: Vec<String>,
    ids: HashMap<String, FieldId>,
    /// For each field, the field that followed it in the latest record that has it; the last entry is the first field of the latest record.
    /// A client sends the same order each time, so the guess is nearly always correct.
    next_field: Vec<FieldId>,
    /// The names as JSON has them. `None` for a name that JSON has to escape.
    quoted: Vec<Option<QuotedName>>,
    /// Like `next_field`, for names that belong to no field.
    next_unknown: Vec<Option<QuotedName>>,
    read_as: Vec<ReadAs>,
}

/// A name and its closing quote. Nearly all are short enough to be compared as one number.
#[derive(Debug)]
struct QuotedName {
    text: String,
    first: u128,
    mask: u128,
}

impl QuotedName {
    /// `None` if JSON has to escape the name.
    fn new(name: &str) -> Option<QuotedName> {
        if name.bytes().any(|byte| matches!(byte, b'"' | b'\\' | ..0x20)) {
            return None;
        }
        let text = format!("{name}\"");
        let (mut first, mut mask) = ([0; 16], [0; 16]);
        for ((first, mask), byte) in first.iter_mut().zip(&mut mask).zip(text.bytes()) {
            (*first, *mask) = (byte, u8::MAX);
        }
        Some(QuotedName { text, first: u128::from_le_bytes(first), mask: u128::from_le_bytes(mask) })
    }

    /// The length including the quote, if `text` begins with the name.
    fn match_len(&self, text: &[u8]) -> Option<usize> {
        let length = self.text.len();
        let is_match = match text.first_chunk() {
            Some(first) if length <= 16 => u128::from_le_bytes(*first) & self.mask == self.first,
            _ => text.starts_with(self.text.as_bytes()),
        };
        is_match.then_some(length)
    }
}

/// The longest unknown name that is remembered.
const MAX_UNKNOWN_BYTES: usize = 64;

impl FieldTable {
    pub(crate) fn new(catalog: &Catalog) -> FieldTable {
        let mut table = FieldTable {
            names: Vec::new(),
            ids: HashMap::new(),
            next_field: vec![0],
            quoted: Vec::new(),
            next_unknown: vec![None],
            read_as: Vec::new(),
        };
        for contract in catalog.contracts() {
            for field in contract.route.shape.iter().chain(&contract.route.any_of) {
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
            self.quoted.push(QuotedName::new(name));
            self.next_field.push(0);
            self.next_unknown.push(None);
            self.read_as.push(ReadAs::String);
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn id(&self, name: &str) -> Option<FieldId> {
        self.ids.get(name).copied()
    }

    /// Recognises the name that followed last time. If `text` begins with it and its closing quote, returns the field, or `None` for a name
    /// that no contract reads, and the length of both.
    #[inline]
    pub(crate) fn guess(&self, previous: Option<FieldId>, text: &[u8]) -> Option<(Option<FieldId>, usize)> {
        let place = self.place_after(previous);
        let guess = self.next_field[place];
        let known = self.quoted.get(guess as usize).and_then(Option::as_ref);
        if let Some(length) = known.and_then(|known| known.match_len(text)) {
            return Some((Some(guess), length));
        }
        let length = self.next_unknown[place].as_ref()?.match_len(text)?;
        Some((None, length))
    }

    fn place_after(&self, previous: Option<FieldId>) -> usize {
        previous.map_or(self.names.len(), |previous| previous as usize)
    }

    /// The field called `name`. `previous` is the one before it in the record.
    pub(crate) fn find(&mut self, previous: Option<FieldId>, name: &str) -> Option<FieldId> {
        let place = self.place_after(previous);
        let guess = self.next_field[place];
        if self.names.get(guess as usize).is_some_and(|own| own == name) {
            return Some(guess);
        }
        let found = self.id(name);
        match found {
            Some(found) => self.next_field[place] = found,
            None if name.len() <= MAX_UNKNOWN_BYTES => self.next_unknown[place] = QuotedName::new(name),
            None => {}
        }
        found
    }

    pub(crate) fn read_as(&self, field: FieldId) -> ReadAs {
        self.read_as[field as usize]
    }

    pub(crate) fn set_read_as(&mut self, field: FieldId, read_as: ReadAs) {
        self.read_as[field as usize] = read_as;
    }
}
