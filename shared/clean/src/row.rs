//! A clean row before it is appended to a batch.

use crate::canonical_json::Member;
use crate::parsed_record::{ParsedRecord, Span};

/// One value of a row. Every variant fits one 64-bit number: see [`Span`].
#[derive(Debug, Clone, Copy)]
pub(crate) enum Cell {
    Null,
    True,
    False,
    Int(i64),
    /// The bits of a float.
    Float(u64),
    Text(Span),
    /// Microseconds since 1970-01-01 UTC.
    Timestamp(i64),
    /// Days since 1970-01-01.
    Date(i64),
    /// An index in [`Row::decimals`].
    Decimal(usize),
    /// A range of [`Row::bytes`].
    Bytes(Span),
    /// A range of [`Row::items`].
    Items(Span),
}

impl Cell {
    pub(crate) fn from_bool(value: bool) -> Cell {
        if value { Cell::True } else { Cell::False }
    }

    pub(crate) fn from_f64(value: f64) -> Cell {
        Cell::Float(value.to_bits())
    }
}

/// The cells of the current row, in the order of the contract's columns. It is reused for each row, so that no row allocates.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) cells: Vec<Cell>,
    /// The elements of all arrays of the row.
    pub(crate) items: Vec<Cell>,
    /// The decimals of the row without their points. They have the scales of their columns.
    pub(crate) decimals: Vec<i128>,
    /// The decoded bytes of all binary values of the row.
    pub(crate) bytes: Vec<u8>,
    /// The texts of JSON values as they were sent, by the index of their column, where they are not canonical: keys of
    /// the former epoch cover them.
    pub(crate) sent_json: Vec<(usize, Cell)>,
    /// Whether the record deletes the row of its identity.
    pub(crate) deletes: bool,
    /// Working memory for a text.
    pub(crate) text: String,
    /// Working memory for canonical JSON.
    pub(crate) json_members: Vec<Member>,
}

impl Row {
    pub(crate) fn clear(&mut self) {
        self.cells.clear();
        self.items.clear();
        self.bytes.clear();
        self.decimals.clear();
        self.sent_json.clear();
        self.deletes = false;
    }

    /// Adds a decimal to the row.
    pub(crate) fn push_decimal(&mut self, unscaled: i128) -> Cell {
        self.decimals.push(unscaled);
        Cell::Decimal(self.decimals.len() - 1)
    }

    /// Copies bytes into the row.
    pub(crate) fn push_bytes(&mut self, bytes: &[u8]) -> Cell {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Cell::Bytes(Span::new(start, self.bytes.len()))
    }
}

/// A row and the texts that its cells refer to.
#[derive(Clone, Copy)]
pub(crate) struct RowView<'a> {
    pub(crate) row: &'a Row,
    pub(crate) record: &'a ParsedRecord,
    pub(crate) text: &'a str,
}

impl<'a> RowView<'a> {
    pub(crate) fn text(self, span: Span) -> &'a str {
        self.record.text(span, self.text)
    }
}
