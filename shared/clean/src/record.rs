//! One record, read once: which fields it has, and where in its bytes their values stand.

use std::ops::Range;

use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::fast_path;
use crate::fields::{Expect, FieldId, FieldTable};
use crate::reason::{Fault, Reason, shown};

/// How deep a value may be nested.
pub(crate) const MAX_DEPTH: usize = 128;

/// A piece of text: of the record itself, or of the scratch that unescaped and joined texts are put in. Elsewhere a run of
/// bytes or of items.
///
/// Two places in one number, so that a slot and a cell are two registers wide: wider ones are copied in pieces, and the
/// processor waits for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(u64);

/// A record has at most 1 MiB, and what is made of it a small multiple: 31 bits are enough for where a piece ends.
const IN_SCRATCH: u64 = 1 << 63;

impl Span {
    /// A piece of the record.
    pub(crate) fn of(start: usize, end: usize) -> Span {
        Span((end as u64) << 32 | (start as u64 & 0xffff_ffff))
    }

    /// A piece of the scratch.
    pub(crate) fn in_scratch(start: usize, end: usize) -> Span {
        Span(Span::of(start, end).0 | IN_SCRATCH)
    }

    pub(crate) fn is_in_scratch(self) -> bool {
        self.0 & IN_SCRATCH != 0
    }

    pub(crate) fn range(self) -> Range<usize> {
        (self.0 & 0xffff_ffff) as usize..((self.0 & !IN_SCRATCH) >> 32) as usize
    }

    /// The same piece without its first `bytes`.
    pub(crate) fn without_first(self, bytes: usize) -> Span {
        Span(self.0 + bytes as u64)
    }
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Slot {
    Missing,
    Null,
    True,
    False,
    Text(Span),
    /// The number's JSON text: no digit is lost on the way to its column.
    Number(Span),
    /// The JSON text of an object or an array.
    Nested(Span),
}

/// The fields of the record at hand. Kept from record to record, so that none allocates.
#[derive(Debug)]
pub(crate) struct Record {
    slots: Vec<Slot>,
    touched: Vec<FieldId>,
    pub(crate) scratch: String,
}

impl Record {
    pub(crate) fn new(fields: usize) -> Record {
        Record { slots: vec![Slot::Missing; fields], touched: Vec::with_capacity(64), scratch: String::new() }
    }

    pub(crate) fn slot(&self, field: FieldId) -> Slot {
        self.slots[field as usize]
    }

    pub(crate) fn has(&self, field: FieldId) -> bool {
        self.slot(field) != Slot::Missing
    }

    /// The text of a span, given the record's own text.
    pub(crate) fn text<'a>(&'a self, span: Span, record: &'a str) -> &'a str {
        let text = if span.is_in_scratch() { &self.scratch } else { record };
        &text[span.range()]
    }

    /// Puts text into the scratch.
    pub(crate) fn keep(&mut self, text: &str) -> Span {
        let start = self.scratch.len();
        self.scratch.push_str(text);
        Span::in_scratch(start, self.scratch.len())
    }

    /// The value of one piece of JSON text, which is borrowed from the record's `text`.
    pub(crate) fn slot_of(&mut self, raw: &str, text: &str) -> Result<Slot, Fault> {
        let span = span_in(raw, text);
        Ok(match raw.as_bytes().first() {
            Some(b'"') if memchr::memchr(b'\\', raw.as_bytes()).is_some() => {
                let mut json = serde_json::Deserializer::from_str(raw);
                Slot::Text(json.deserialize_str(Unescape(self)).map_err(|error| malformed(&error))?)
            }
            Some(b'"') => {
                let Range { start, end } = span.range();
                Slot::Text(Span::of(start + 1, end - 1))
            }
            Some(b'{' | b'[') => {
                bound_depth(raw)?;
                Slot::Nested(span)
            }
            Some(b't') => Slot::True,
            Some(b'f') => Slot::False,
            Some(b'n') => Slot::Null,
            _ => Slot::Number(span),
        })
    }

    /// Forgets the record.
    pub(crate) fn reset(&mut self) {
        for field in self.touched.drain(..) {
            self.slots[field as usize] = Slot::Missing;
        }
        self.scratch.clear();
    }

    pub(crate) fn set(&mut self, field: FieldId, slot: Slot) {
        let own = &mut self.slots[field as usize];
        if *own == Slot::Missing {
            self.touched.push(field);
        }
        // Of a field that is there twice the last one counts, as in most JSON readers.
        *own = slot;
    }

    /// Reads a record. Afterwards the slots are this record's, also when it has a fault.
    pub(crate) fn read(&mut self, text: &str, fields: &mut FieldTable) -> Result<(), Fault> {
        if fast_path::read(text, self, fields) {
            return Ok(());
        }
        self.parse_with_serde(text, fields)
    }

    /// Reads a record of any kind, or finds its fault.
    pub(crate) fn parse_with_serde(&mut self, text: &str, fields: &mut FieldTable) -> Result<(), Fault> {
        if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
            self.reset();
            return Err(match serde_json::from_str::<IgnoredAny>(text) {
                Ok(_) => {
                    Fault::new(Reason::NotAnObject, format!("a record is an object, this is {}", shown(text)))
                }
                Err(error) => malformed(&error),
            });
        }
        match self.pass(text, fields, false) {
            Ok(Pass::Complete) => Ok(()),
            // Also after a fault: what is read as raw JSON and what is not must not decide what a fault is. serde_json
            // refuses the number 1e400, which is right JSON, and out of the range of a column.
            Ok(Pass::TypeMismatch) | Err(_) => self.pass(text, fields, true).map(|_| ()),
        }
    }

    fn pass(&mut self, text: &str, fields: &mut FieldTable, all_raw: bool) -> Result<Pass, Fault> {
        self.reset();
        let mut walk = Walk { record: self, fields, text, all_raw, surprised: false, fault: None };
        let mut json = serde_json::Deserializer::from_str(text);
        let outcome = json.deserialize_map(&mut walk).and_then(|()| json.end());
        let (surprised, fault) = (walk.surprised, walk.fault);
        match (outcome, fault) {
            (Err(error), None) => Err(malformed(&error)),
            (_, Some(fault)) => Err(fault),
            (Ok(()), None) if surprised => Ok(Pass::TypeMismatch),
            (Ok(()), None) => Ok(Pass::Complete),
        }
    }
}

/// How a pass over a record ended.
enum Pass {
    Complete,
    /// A value that was expected to be a string was none, and is not read.
    TypeMismatch,
}

fn malformed(error: &serde_json::Error) -> Fault {
    Fault::new(Reason::MalformedJson, error.to_string())
}

/// The walk through one object.
struct Walk<'a> {
    record: &'a mut Record,
    fields: &'a mut FieldTable,
    text: &'a str,
    all_raw: bool,
    surprised: bool,
    fault: Option<Fault>,
}

impl Walk<'_> {
    fn raw(&mut self, field: FieldId, raw: &str) {
        match self.record.slot_of(raw, self.text) {
            Ok(slot) => {
                match slot {
                    Slot::Text(_) => self.fields.learn(field, Expect::Text),
                    Slot::Number(_) | Slot::Nested(_) => self.fields.learn(field, Expect::Raw),
                    Slot::True | Slot::False | Slot::Null | Slot::Missing => {}
                }
                self.record.set(field, slot);
            }
            Err(fault) => {
                self.fault.get_or_insert(fault);
            }
        }
    }
}

impl<'de> Visitor<'de> for &mut Walk<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut before = None;
        while let Some(field) = map.next_key_seed(Key { fields: self.fields, before })? {
            let Some(field) = field else {
                let ignored = map.next_value::<&RawValue>()?.get();
                if ignored.starts_with(['{', '['])
                    && let Err(fault) = bound_depth(ignored)
                {
                    self.fault.get_or_insert(fault);
                }
                continue;
            };
            before = Some(field);
            if self.all_raw || self.fields.expect(field) == Expect::Raw {
                let raw = map.next_value::<&RawValue>()?.get();
                self.raw(field, raw);
                continue;
            }
            match map.next_value_seed(Text(self.record))? {
                Read::Borrowed(text) => {
                    let span = span_in(text, self.text);
                    self.record.set(field, Slot::Text(span));
                }
                Read::Slot(slot) => self.record.set(field, slot),
                Read::Other => self.surprised = true,
            }
        }
        Ok(())
    }
}

/// Where a piece borrowed from `text` stands in it.
fn span_in(piece: &str, text: &str) -> Span {
    let start = piece.as_ptr().addr() - text.as_ptr().addr();
    Span::of(start, start + piece.len())
}

fn bound_depth(json: &str) -> Result<(), Fault> {
    if depth(json) > MAX_DEPTH {
        return Err(Fault::new(Reason::TooDeep, format!("a value is nested deeper than {MAX_DEPTH}")));
    }
    Ok(())
}

/// How deep arrays and objects are nested in well-formed JSON text.
fn depth(json: &str) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in json.bytes() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if in_string => escaped = true,
            b'"' => in_string = !in_string,
            b'{' | b'[' if !in_string => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            b'}' | b']' if !in_string => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

struct Key<'a> {
    fields: &'a mut FieldTable,
    before: Option<FieldId>,
}

impl<'de> DeserializeSeed<'de> for Key<'_> {
    type Value = Option<FieldId>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Key<'_> {
    type Value = Option<FieldId>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.fields.find(self.before, name))
    }
}

/// What a value that is expected to be a string turned out to be.
enum Read<'de> {
    Borrowed(&'de str),
    Slot(Slot),
    Other,
}

struct Text<'a>(&'a mut Record);

impl<'de> DeserializeSeed<'de> for Text<'_> {
    type Value = Read<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Read<'de>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Text<'_> {
    type Value = Read<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Read<'de>, E> {
        Ok(Read::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Read<'de>, E> {
        Ok(Read::Slot(Slot::Text(self.0.keep(text))))
    }

    fn visit_unit<E>(self) -> Result<Read<'de>, E> {
        Ok(Read::Slot(Slot::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Read<'de>, E> {
        Ok(Read::Slot(if value { Slot::True } else { Slot::False }))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Read<'de>, E> {
        Ok(Read::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Read<'de>, E> {
        Ok(Read::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Read<'de>, E> {
        Ok(Read::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Read<'de>, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(Read::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Read<'de>, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(Read::Other)
    }
}

/// Unescapes a string into the scratch.
struct Unescape<'a>(&'a mut Record);

impl Visitor<'_> for Unescape<'_> {
    type Value = Span;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<Span, E> {
        Ok(self.0.keep(text))
    }
}
