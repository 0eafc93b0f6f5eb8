//! The fields that contracts read, and a fast lookup of their numbers by name.

use std::collections::{BTreeSet, HashMap, HashSet};

use pinlake_schema::Catalog;
use pinlake_schema::field_name::{fold_case, normalize};
use pinlake_schema::field_path::FieldPath;

/// The number of a field within a catalog.
pub(crate) type FieldId = u32;

/// Added to the number of a field whose name is similar to the one in the record, not equal.
pub(crate) const SIMILAR: FieldId = 1 << 31;

/// The field with the types of the other fields, in records of typed files ([`crate::typed_fields`]).
pub(crate) const TYPES_FIELD: &str = "$parquet";

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
    /// The fields that are inside others, by their paths. They come after those at the top level.
    paths: HashMap<String, FieldId>,
    /// A field by its name in the normal form of Unicode, and by that in lower case. `None` where a contract reads several fields of this
    /// name.
    normalized: HashMap<String, Option<FieldId>>,
    folded: HashMap<String, Option<FieldId>>,
    /// What names that are similar to those of fields were resolved to.
    similar: HashMap<String, FieldId>,
    types_field: FieldId,
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
/// The longest name that is compared with the names of fields without regard to case.
const MAX_SIMILAR_BYTES: usize = 512;
/// The most similar names that are remembered.
const MAX_SIMILAR_NAMES: usize = 1000;

impl FieldTable {
    pub(crate) fn new(catalog: &Catalog) -> FieldTable {
        let mut table = FieldTable {
            names: Vec::new(),
            ids: HashMap::new(),
            paths: HashMap::new(),
            normalized: HashMap::new(),
            folded: HashMap::new(),
            similar: HashMap::new(),
            types_field: 0,
            next_field: vec![0],
            quoted: Vec::new(),
            next_unknown: vec![None],
            read_as: Vec::new(),
        };
        for contract in catalog.contracts() {
            let read = contract.top_level_fields().iter().cloned();
            let any_of = contract.route.any_of.iter().flat_map(|field| FieldPath::top_level_names(field));
            let own: BTreeSet<String> = read.chain(any_of).collect();
            let (mut normalized, mut folded) = (HashSet::new(), HashSet::new());
            for name in &own {
                table.add(name);
                let normal = normalize(name);
                for (names, own, key) in [
                    (&mut table.folded, &mut folded, fold_case(&normal)),
                    (&mut table.normalized, &mut normalized, normal.into_owned()),
                ] {
                    // Fields of several contracts are alternatives to each other: `CompiledContract::new`.
                    let is_ambiguous = !own.insert(key.clone());
                    let field = names.entry(key).or_insert(table.ids.get(name).copied());
                    if is_ambiguous {
                        *field = None;
                    }
                }
            }
        }
        table.add(TYPES_FIELD);
        table.types_field = table.ids.get(TYPES_FIELD).copied().unwrap_or_default();
        for contract in catalog.contracts() {
            for field in contract.fields() {
                if FieldPath::parse(field).is_ok_and(|path| path.name().is_none())
                    && !table.paths.contains_key(field)
                {
                    table.paths.insert(field.clone(), table.names.len() as FieldId);
                    table.push(field);
                }
            }
        }
        table
    }

    fn add(&mut self, name: &str) {
        if !self.ids.contains_key(name) {
            self.ids.insert(name.to_owned(), self.names.len() as FieldId);
            self.push(name);
        }
    }

    fn push(&mut self, name: &str) {
        self.names.push(name.to_owned());
        self.quoted.push(QuotedName::new(name));
        self.next_field.push(0);
        self.next_unknown.push(None);
        self.read_as.push(ReadAs::String);
    }

    pub(crate) fn len(&self) -> usize {
        self.names.len()
    }

    pub(crate) fn id(&self, name: &str) -> Option<FieldId> {
        self.ids.get(name).copied()
    }

    /// The number of a field that a contract reads: a name, or a path.
    pub(crate) fn id_of_field(&self, field: &str) -> Option<FieldId> {
        let path = FieldPath::parse(field).ok();
        match path.as_ref().and_then(FieldPath::name) {
            Some(name) => self.id(name),
            None => self.path_id(field),
        }
    }

    /// The number of a field that is inside another.
    pub(crate) fn path_id(&self, path: &str) -> Option<FieldId> {
        self.paths.get(path).copied()
    }

    /// The field with the types of a record from a typed file.
    pub(crate) fn types_field(&self) -> FieldId {
        self.types_field
    }

    /// The field that a name means: the one of this name, or one that is similar to it.
    pub(crate) fn resolve(&self, name: &str) -> Option<FieldId> {
        self.id(name).or_else(|| self.find_similar(name))
    }

    /// The fields whose names differ from `name` in case only.
    pub(crate) fn same_but_for_case(&self, name: &str) -> impl Iterator<Item = (&str, FieldId)> {
        let folded = fold_case(&normalize(name));
        let others = self.names.iter().zip(0..).filter(move |(own, _)| fold_case(&normalize(own)) == folded);
        let others = others.filter(move |(own, id)| self.id(own) == Some(*id) && *own != name);
        others.map(|(own, id)| (own.as_str(), id))
    }

    /// A field whose name is `name` in the normal form of Unicode, or else without regard to case.
    fn find_similar(&self, name: &str) -> Option<FieldId> {
        if name.len() > MAX_SIMILAR_BYTES {
            return None;
        }
        let normal = normalize(name);
        match self.normalized.get(&*normal) {
            Some(found) => *found,
            None => self.folded.get(&fold_case(&normal)).copied().flatten(),
        }
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
        previous.map_or(self.names.len(), |previous| (previous & !SIMILAR) as usize)
    }

    /// The field called `name`, or one of a similar name, with [`SIMILAR`] added. `previous` is the one before it in the record.
    pub(crate) fn find(&mut self, previous: Option<FieldId>, name: &str) -> Option<FieldId> {
        let place = self.place_after(previous);
        let guess = self.next_field[place];
        if self.names.get(guess as usize).is_some_and(|own| own == name) {
            return Some(guess);
        }
        let found = self.id(name);
        match found {
            Some(found) => self.next_field[place] = found,
            None if let Some(similar) = self.similar.get(name) => return Some(SIMILAR + similar),
            None if let Some(similar) = self.find_similar(name) => {
                if self.similar.len() < MAX_SIMILAR_NAMES {
                    self.similar.insert(name.to_owned(), similar);
                }
                return Some(SIMILAR + similar);
            }
            None if name.len() <= MAX_UNKNOWN_BYTES => self.next_unknown[place] = QuotedName::new(name),
            None => {}
        }
        found
    }

    pub(crate) fn read_as(&self, field: FieldId) -> ReadAs {
        self.read_as[(field & !SIMILAR) as usize]
    }

    pub(crate) fn set_read_as(&mut self, field: FieldId, read_as: ReadAs) {
        self.read_as[(field & !SIMILAR) as usize] = read_as;
    }
}
