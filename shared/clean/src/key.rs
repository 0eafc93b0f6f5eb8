//! Keys of rows: 128 bits over a row's identity. The form is laid down in `docs/keys.md` and never changes;
//! another form would be another domain.

use arrow::array::FixedSizeBinaryArray;
use arrow::buffer::Buffer;
use pinlake_schema::stream_key::BEFORE_CALLER;
use pinlake_schema::{Column, Contract, Identity, Scalar, Type};

use crate::blake3_lanes;
use crate::cell::{Cell, View};
use crate::record_cleaner::Origin;

/// Width of a key.
pub(crate) const KEY_BYTES: usize = blake3_lanes::HASH_BYTES;

/// Canonical forms are hashed when so many bytes have come together: enough for all lanes, and still in the cache.
const FORMS_BYTES: usize = 32 << 10;

/// First part of every canonical form.
const DOMAIN: &[u8] = b"pinlake-key-1";

/// Tag of the columns that stand for a record's own id.
const TAG_RECORD: u8 = 32;
/// Added to an element's tag for an array of it.
const TAG_ARRAY: u8 = 64;

/// The keys of a batch's rows.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    /// Of the first rows.
    hashed: Vec<u8>,
    /// The canonical forms of the others, one behind the other, and where each ends.
    forms: Vec<u8>,
    ends: Vec<usize>,
}

impl Keys {
    /// Adds the key of a row. `record` is the record that it was made of, where that belongs to the key.
    pub(crate) fn push(&mut self, form: &KeyEncoder, view: View<'_>, record: Option<RecordId<'_>>) {
        if self.forms.len() >= FORMS_BYTES {
            self.hash();
        }
        form.begin.put(&mut self.forms);
        form.columns.iter().for_each(|column| column.put(view, &mut self.forms));
        if let Some(record) = record {
            record.put(&mut self.forms);
        }
        self.ends.push(self.forms.len());
    }

    /// The key that was added last.
    pub(crate) fn last(&self) -> Option<[u8; KEY_BYTES]> {
        let (_, before) = self.ends.split_last()?;
        Some(blake3_lanes::hash_one(&self.forms[before.last().copied().unwrap_or(0)..]))
    }

    /// The keys so far; there are none afterwards.
    pub(crate) fn finish(&mut self) -> FixedSizeBinaryArray {
        self.hash();
        let keys = std::mem::take(&mut self.hashed);
        FixedSizeBinaryArray::new(KEY_BYTES as i32, Buffer::from_vec(keys), None)
    }

    fn hash(&mut self) {
        blake3_lanes::hash(&self.forms, &self.ends, &mut self.hashed);
        self.forms.clear();
        self.ends.clear();
    }
}

/// What the canonical forms of all rows of a contract have in common.
#[derive(Debug)]
pub(crate) struct KeyEncoder {
    /// The domain and the dataset.
    begin: Known,
    /// In the order of their names; none where the record itself is the identity.
    columns: Vec<KeyColumn>,
    /// Whether each row's record belongs to its key.
    by_record: bool,
}

/// A record as a part of a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordId<'a> {
    pub(crate) origin: &'a Origin<'a>,
    /// Its bytes; none in the first form of keys of records.
    pub(crate) content: Option<&'a [u8]>,
}

impl RecordId<'_> {
    /// Of a record that came without an id, as in a file, the place it came from is the id. The content belongs to it: two
    /// senders may name different records alike, and neither must take the other's place.
    fn put(&self, form: &mut Vec<u8>) {
        let mut field = |name: &str, value: &[u8]| {
            put(form, name.as_bytes());
            form.push(TAG_RECORD);
            put(form, value);
        };
        if let Some(content) = self.content {
            field("content", &blake3::hash(content).as_bytes()[..KEY_BYTES]);
        }
        match self.origin.record_id {
            Some((request, index)) => {
                field("index", &index.to_le_bytes());
                // In the first form the caller did not belong to the id of a request.
                let named = request.split_once(BEFORE_CALLER).map_or(request, |(named, _)| named);
                let request = if self.content.is_some() { request } else { named };
                field("request", request.as_bytes());
            }
            None => {
                field("position", self.origin.position.to_string().as_bytes());
                field("source", self.origin.source.as_bytes());
            }
        }
    }
}

#[derive(Debug)]
struct KeyColumn {
    /// Where it is in the contract.
    at: usize,
    /// Its name and its tag.
    begin: Known,
}

/// Bytes that are put into every form. So many at once are a few instructions, where a number that is known only then is a call:
/// a shorter piece is put with zeros behind it, which are then taken off.
#[derive(Debug)]
struct Known {
    first: [u8; KNOWN_BYTES],
    /// What is longer than that.
    rest: Vec<u8>,
    length: usize,
}

const KNOWN_BYTES: usize = 32;

impl Known {
    fn new(bytes: &[u8]) -> Known {
        let (begin, rest) = bytes.split_at(bytes.len().min(KNOWN_BYTES));
        let mut first = [0; KNOWN_BYTES];
        first[..begin.len()].copy_from_slice(begin);
        Known { first, rest: rest.to_vec(), length: begin.len() }
    }

    fn put(&self, form: &mut Vec<u8>) {
        let end = form.len() + self.length;
        form.extend_from_slice(&self.first);
        form.truncate(end);
        if !self.rest.is_empty() {
            form.extend_from_slice(&self.rest);
        }
    }
}

impl KeyEncoder {
    pub(crate) fn new(contract: &Contract) -> KeyEncoder {
        let mut begin = Vec::new();
        put(&mut begin, DOMAIN);
        put(&mut begin, contract.name.as_bytes());
        let in_key = |column: &Column| match &contract.identity {
            Identity::Columns(names) => names.contains(&column.name),
            Identity::Row => true,
            Identity::Record => false,
        };
        let mut columns: Vec<(usize, &Column)> =
            contract.columns.iter().enumerate().filter(|(_, column)| in_key(column)).collect();
        columns.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        let columns = columns.into_iter().map(|(at, column)| KeyColumn::new(at, column)).collect();
        KeyEncoder { begin: Known::new(&begin), columns, by_record: contract.identity == Identity::Record }
    }

    /// Where in the contract the columns of the key are.
    pub(crate) fn columns(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().map(|column| column.at)
    }

    /// Whether the record belongs to the key of each row: no columns tell it then.
    pub(crate) fn is_by_record(&self) -> bool {
        self.by_record
    }
}

impl KeyColumn {
    fn new(at: usize, column: &Column) -> KeyColumn {
        let mut begin = Vec::new();
        put(&mut begin, column.name.as_bytes());
        begin.push(match column.data_type {
            Type::Scalar(scalar) => tag(scalar),
            Type::Array(scalar) => TAG_ARRAY + tag(scalar),
        });
        KeyColumn { at, begin: Known::new(&begin) }
    }

    fn put(&self, view: View<'_>, form: &mut Vec<u8>) {
        match view.row.cells[self.at] {
            Cell::Null => {}
            Cell::Items(span) => {
                self.begin.put(form);
                // The length is known when all is written: keep its place.
                let start = form.len();
                form.extend_from_slice(&[0; 4]);
                let items = &view.row.items[span.range()];
                form.extend_from_slice(&length(items.len()));
                for item in items {
                    form.push(u8::from(!matches!(item, Cell::Null)));
                    value(*item, view, form);
                }
                let written = length(form.len() - start - 4);
                form[start..start + 4].copy_from_slice(&written);
            }
            single => {
                self.begin.put(form);
                value(single, view, form);
            }
        }
    }
}

/// A value, its length before it; of null nothing.
fn value(cell: Cell, view: View<'_>, form: &mut Vec<u8>) {
    match cell {
        Cell::Null | Cell::Items(_) => {}
        Cell::True => put(form, &[1]),
        Cell::False => put(form, &[0]),
        Cell::Int(number) | Cell::Timestamp(number) | Cell::Date(number) => word(form, number.to_le_bytes()),
        Cell::Float(bits) => {
            let number = f64::from_bits(bits);
            // The two zeros are equal, and so are all NaNs.
            let one = if number == 0.0 {
                0.0
            } else if number.is_nan() {
                f64::NAN
            } else {
                number
            };
            word(form, one.to_bits().to_le_bytes());
        }
        Cell::Text(span) => put(form, view.text_of(span).as_bytes()),
        Cell::Bytes(span) => put(form, &view.row.bytes[span.range()]),
    }
}

fn tag(scalar: Scalar) -> u8 {
    match scalar {
        Scalar::String => 1,
        // One tag for both: a column may be widened without a change to its keys.
        Scalar::Int64 | Scalar::Int32 => 2,
        Scalar::Float64 => 3,
        Scalar::Boolean => 4,
        Scalar::Timestamp => 5,
        Scalar::Date => 6,
        Scalar::Binary => 7,
        Scalar::Json => 8,
    }
}

fn put(buffer: &mut Vec<u8>, bytes: &[u8]) {
    buffer.extend_from_slice(&length(bytes.len()));
    buffer.extend_from_slice(bytes);
}

/// Eight bytes, as [`put`] puts them.
fn word(buffer: &mut Vec<u8>, bytes: [u8; 8]) {
    let mut with_length = [0; 12];
    with_length[..4].copy_from_slice(&length(8));
    with_length[4..].copy_from_slice(&bytes);
    buffer.extend_from_slice(&with_length);
}

fn length(length: usize) -> [u8; 4] {
    // A record is far below 4 GiB, and so is everything made of it.
    (length as u32).to_le_bytes()
}
