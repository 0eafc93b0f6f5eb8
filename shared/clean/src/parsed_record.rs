//! The fields of one record: which ones it has, and where in its text their values are.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;

use crate::field_table::{FieldId, SIMILAR};

/// The most bytes of a record. A longer one is quarantined. It is the limit of a Kinesis record.
pub const MAX_RECORD_BYTES: usize = 1 << 20;

/// A range of text: of the record itself, or of the scratch buffer, which holds unescaped and joined texts. In a
/// [`Row`](crate::row::Row) also a range of bytes or items.
///
/// Start and end share one number, so that a [`FieldValue`] and a [`Cell`](crate::row::Cell) fit in two registers. Wider ones are copied in
/// parts, and the processor waits for each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Span(u64);

/// Set in spans of the scratch buffer. A record has at most 1 MiB, and what is derived from it a small multiple: 31 bits are enough for an end.
const IN_SCRATCH: u64 = 1 << 63;

impl Span {
    pub(crate) fn new(start: usize, end: usize) -> Span {
        Span((end as u64) << 32 | (start as u64 & 0xffff_ffff))
    }

    /// A range of the scratch buffer.
    pub(crate) fn in_scratch(start: usize, end: usize) -> Span {
        Span(Span::new(start, end).0 | IN_SCRATCH)
    }

    pub(crate) fn is_in_scratch(self) -> bool {
        self.0 & IN_SCRATCH != 0
    }

    pub(crate) fn range(self) -> Range<usize> {
        (self.0 & 0xffff_ffff) as usize..((self.0 & !IN_SCRATCH) >> 32) as usize
    }

    /// The same range without its first `bytes`.
    pub(crate) fn without_first(self, bytes: usize) -> Span {
        Span(self.0 + bytes as u64)
    }

    /// The same range without its last `bytes`.
    pub(crate) fn without_last(self, bytes: usize) -> Span {
        Span(self.0 - ((bytes as u64) << 32))
    }
}

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FieldValue {
    Missing,
    Null,
    True,
    False,
    /// A string, unescaped, without its quotes.
    Text(Span),
    /// The JSON text of a number: no digit is lost on the way to its column.
    Number(Span),
    /// The JSON text of an object or an array.
    Nested(Span),
    /// Bytes of a typed file, as base64 text.
    Bytes(Span),
    /// A point in time or a date of a typed file, as ISO 8601 text.
    Time(Span),
    /// The JSON text of an array of a typed file whose items are such texts.
    TypedItems(ItemType, Span),
    /// The text of a value that JSON cannot express, behind its reason: [`split_reason`](crate::refused_value::split_reason).
    Refused(Span),
}

/// The type of the items of a [`FieldValue::TypedItems`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum ItemType {
    Bytes,
    /// Bytes, as the text that they are.
    BytesAsText,
    Time,
}

/// The fields of the current record. It is reused for each record, so that no record allocates.
#[derive(Debug)]
pub(crate) struct ParsedRecord {
    values: Vec<FieldValue>,
    /// The fields that are not [`FieldValue::Missing`].
    present: Vec<FieldId>,
    pub(crate) scratch: String,
    /// The fields that were found inside others.
    nested: Vec<FieldId>,
}

impl ParsedRecord {
    pub(crate) fn new(fields: usize) -> ParsedRecord {
        let values = vec![FieldValue::Missing; fields];
        ParsedRecord { values, present: Vec::with_capacity(64), scratch: String::new(), nested: Vec::new() }
    }

    pub(crate) fn value(&self, field: FieldId) -> FieldValue {
        self.values[field as usize]
    }

    pub(crate) fn has(&self, field: FieldId) -> bool {
        self.value(field) != FieldValue::Missing
    }

    /// The text of a span. `record` is the text of the record.
    pub(crate) fn text<'a>(&'a self, span: Span, record: &'a str) -> &'a str {
        let text = if span.is_in_scratch() { &self.scratch } else { record };
        &text[span.range()]
    }

    /// The bytes that a text is in base64; `None` if it is not base64.
    pub(crate) fn bytes(&self, span: Span, record: &str) -> Option<Vec<u8>> {
        BASE64.decode(self.text(span, record).trim_ascii()).ok()
    }

    /// Copies text into the scratch buffer.
    pub(crate) fn push_scratch(&mut self, text: &str) -> Span {
        let start = self.scratch.len();
        self.scratch.push_str(text);
        Span::in_scratch(start, self.scratch.len())
    }

    /// Forgets the record.
    pub(crate) fn clear(&mut self) {
        for field in self.present.drain(..) {
            self.values[field as usize] = FieldValue::Missing;
        }
        self.scratch.clear();
        self.nested.clear();
    }

    /// Sets a field that was found inside another.
    pub(crate) fn set_nested(&mut self, field: FieldId, value: FieldValue) {
        self.set(field, value);
        self.nested.push(field);
    }

    /// Whether the field was found inside another one.
    pub(crate) fn is_nested(&self, field: FieldId) -> bool {
        self.nested.contains(&field)
    }

    /// Sets a field. A field that is only similar to the name in the record does not replace one of the very name.
    pub(crate) fn set(&mut self, field: FieldId, value: FieldValue) {
        if field >= SIMILAR {
            if !self.has(field - SIMILAR) {
                self.set(field - SIMILAR, value);
            }
            return;
        }
        let own = &mut self.values[field as usize];
        if *own == FieldValue::Missing {
            self.present.push(field);
        }
        // If a field occurs twice the last one counts, as in most JSON parsers.
        *own = value;
    }
}
