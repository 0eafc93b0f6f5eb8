//! The keys of rows: a 128-bit hash of the canonical encoding of a row's identity. `docs/keys.md` specifies the encoding. It never
//! changes: another encoding would need another domain.

use arrow::array::FixedSizeBinaryArray;
use arrow::buffer::Buffer;
use pinlake_blake3_lanes::{HASH_BYTES, append_hashes, hash_input};
use pinlake_schema::decimal::Decimal;
use pinlake_schema::stream_key::BEFORE_CALLER;
use pinlake_schema::{Column, Contract, Identity, Scalar, Type};

use crate::record_origin::RecordOrigin;
use crate::row::{Cell, RowView};

/// The length of a key in bytes.
pub(crate) const KEY_BYTES: usize = HASH_BYTES;

/// Encodings are hashed once they take this many bytes: enough for all lanes, and still in the cache of the processor.
const MAX_ENCODED_BYTES: usize = 32 << 10;

/// The first part of every encoding.
const DOMAIN: &[u8] = b"pinlake-key-1";

/// The tag of the parts of a record's identity.
const TAG_RECORD: u8 = 32;
/// Added to the tag of a type for an array of it.
const TAG_ARRAY: u8 = 64;

/// Builds the keys of the rows of a batch.
#[derive(Debug, Default)]
pub(crate) struct KeyBuilder {
    /// The keys of the first rows.
    hashed: Vec<u8>,
    /// The encodings of the other rows, and the offset behind each.
    encoded: Vec<u8>,
    ends: Vec<usize>,
}

impl KeyBuilder {
    /// Adds the key of a row. `identity` is that of its record, if it is part of the key.
    pub(crate) fn push(
        &mut self,
        encoder: &KeyEncoder,
        view: RowView<'_>,
        identity: Option<RecordIdentity<'_>>,
    ) {
        self.push_cells(encoder, view, identity, |index| view.row.cells[index]);
    }

    /// Adds the key of a row in the former epoch, whose keys covered JSON values as they were sent, and not the
    /// content of a record.
    pub(crate) fn push_former(
        &mut self,
        encoder: &KeyEncoder,
        view: RowView<'_>,
        identity: Option<RecordIdentity<'_>>,
    ) {
        let cell = |index: usize| {
            let sent = view.row.sent_json.iter().find(|(column, _)| *column == index);
            sent.map_or(view.row.cells[index], |(_, cell)| *cell)
        };
        self.push_cells(encoder, view, identity.map(RecordIdentity::without_content), cell);
    }

    #[inline]
    fn push_cells(
        &mut self,
        encoder: &KeyEncoder,
        view: RowView<'_>,
        identity: Option<RecordIdentity<'_>>,
        cell: impl Fn(usize) -> Cell,
    ) {
        if self.encoded.len() >= MAX_ENCODED_BYTES {
            self.hash_encoded();
        }
        encoder.prefix.append_to(&mut self.encoded);
        encoder.columns.iter().for_each(|column| column.encode(cell(column.index), view, &mut self.encoded));
        if let Some(identity) = identity {
            identity.encode(&mut self.encoded);
        }
        self.ends.push(self.encoded.len());
    }

    /// The key that was added last. It is hashed on its own.
    pub(crate) fn last(&self) -> Option<[u8; KEY_BYTES]> {
        let (_, before) = self.ends.split_last()?;
        Some(hash_input(&self.encoded[before.last().copied().unwrap_or(0)..]))
    }

    /// Returns the keys; the builder is empty afterwards.
    pub(crate) fn finish(&mut self) -> FixedSizeBinaryArray {
        self.hash_encoded();
        let keys = std::mem::take(&mut self.hashed);
        FixedSizeBinaryArray::new(KEY_BYTES as i32, Buffer::from_vec(keys), None)
    }

    fn hash_encoded(&mut self) {
        append_hashes(&self.encoded, &self.ends, &mut self.hashed);
        self.encoded.clear();
        self.ends.clear();
    }
}

/// Encodes the identity of the rows of one contract.
#[derive(Debug)]
pub(crate) struct KeyEncoder {
    /// The domain and the dataset.
    prefix: EncodedPrefix,
    /// In the order of their names; empty if the record is the identity.
    columns: Vec<KeyColumn>,
    uses_record_identity: bool,
}

/// The identity of a record, as a part of a key.
#[derive(Debug, Clone, Copy)]
pub(crate) struct RecordIdentity<'a> {
    origin: &'a RecordOrigin<'a>,
    /// The bytes of the record. `None` in the former key epoch, whose keys did not cover them.
    content: Option<&'a [u8]>,
}

impl<'a> RecordIdentity<'a> {
    pub(crate) fn new(origin: &'a RecordOrigin<'a>, content: &'a [u8]) -> Self {
        Self { origin, content: Some(content) }
    }

    /// The identity of the same record in the former key epoch.
    pub(crate) fn without_content(self) -> Self {
        Self { content: None, ..self }
    }

    /// A record without an id, such as a line of a file, is identified by its place. The content is included because two senders may use
    /// the same id for different records, and neither row must replace the other.
    fn encode(&self, out: &mut Vec<u8>) {
        let mut field = |name: &str, value: &[u8]| {
            encode_bytes(out, name.as_bytes());
            out.push(TAG_RECORD);
            encode_bytes(out, value);
        };
        if let Some(content) = self.content {
            field("content", &hash_input(content));
        }
        match self.origin.record_id {
            Some((request, index)) => {
                field("index", &index.to_le_bytes());
                // In the former epoch the id of a request did not include its caller.
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
    /// Its index in the contract.
    index: usize,
    /// Its name and tag.
    prefix: EncodedPrefix,
    /// The digits after the point of its decimals.
    scale: u8,
}

/// Bytes that are part of the encoding of every row.
///
/// Appending a fixed number of bytes takes a few instructions, a variable number takes a call. So the first bytes are padded to a fixed
/// length, and the padding is removed after they have been appended.
#[derive(Debug)]
struct EncodedPrefix {
    first: [u8; PREFIX_BYTES],
    /// The bytes beyond [`PREFIX_BYTES`].
    rest: Vec<u8>,
    /// How many of `first` are not padding.
    length: usize,
}

const PREFIX_BYTES: usize = 32;

impl EncodedPrefix {
    fn new(bytes: &[u8]) -> EncodedPrefix {
        let (begin, rest) = bytes.split_at(bytes.len().min(PREFIX_BYTES));
        let mut first = [0; PREFIX_BYTES];
        first[..begin.len()].copy_from_slice(begin);
        EncodedPrefix { first, rest: rest.to_vec(), length: begin.len() }
    }

    fn append_to(&self, out: &mut Vec<u8>) {
        let end = out.len() + self.length;
        out.extend_from_slice(&self.first);
        out.truncate(end);
        if !self.rest.is_empty() {
            out.extend_from_slice(&self.rest);
        }
    }
}

impl KeyEncoder {
    pub(crate) fn new(contract: &Contract) -> KeyEncoder {
        let mut prefix = Vec::new();
        encode_bytes(&mut prefix, DOMAIN);
        encode_bytes(&mut prefix, contract.name.as_bytes());
        let in_key = |(_, column): &(usize, &Column)| contract.identity.covers(column);
        let mut columns: Vec<(usize, &Column)> = contract.columns.iter().enumerate().filter(in_key).collect();
        columns.sort_by(|(_, a), (_, b)| a.name.cmp(&b.name));
        let columns = columns.into_iter().map(|(index, column)| KeyColumn::new(index, column)).collect();
        let uses_record_identity = contract.identity == Identity::Record;
        KeyEncoder { prefix: EncodedPrefix::new(&prefix), columns, uses_record_identity }
    }

    /// The indexes of the key's columns in the contract.
    pub(crate) fn column_indexes(&self) -> impl Iterator<Item = usize> {
        self.columns.iter().map(|column| column.index)
    }

    /// Whether keys cover the identity of the record instead of columns.
    pub(crate) fn uses_record_identity(&self) -> bool {
        self.uses_record_identity
    }
}

impl KeyColumn {
    fn new(index: usize, column: &Column) -> KeyColumn {
        let mut prefix = Vec::new();
        encode_bytes(&mut prefix, column.name.as_bytes());
        prefix.push(match column.data_type {
            Type::Scalar(scalar) => type_tag(scalar),
            Type::Array(scalar) => TAG_ARRAY + type_tag(scalar),
        });
        let scale = match column.data_type.scalar() {
            Scalar::Decimal(own) => own.scale(),
            _ => 0,
        };
        KeyColumn { index, prefix: EncodedPrefix::new(&prefix), scale }
    }

    fn encode(&self, cell: Cell, view: RowView<'_>, out: &mut Vec<u8>) {
        match cell {
            Cell::Null => {}
            Cell::Items(span) => {
                self.prefix.append_to(out);
                // Reserve the length, which is known once the items are written.
                let start = out.len();
                out.extend_from_slice(&[0; 4]);
                let items = &view.row.items[span.range()];
                out.extend_from_slice(&encode_length(items.len()));
                for item in items {
                    out.push(u8::from(!matches!(item, Cell::Null)));
                    encode_value(*item, self.scale, view, out);
                }
                let length = encode_length(out.len() - start - 4);
                out[start..start + 4].copy_from_slice(&length);
            }
            scalar => {
                self.prefix.append_to(out);
                encode_value(scalar, self.scale, view, out);
            }
        }
    }
}

/// Encodes a value, preceded by its length. Null is encoded as nothing. `scale` is that of decimals.
fn encode_value(cell: Cell, scale: u8, view: RowView<'_>, out: &mut Vec<u8>) {
    match cell {
        Cell::Null | Cell::Items(_) => {}
        Cell::True => encode_bytes(out, &[1]),
        Cell::False => encode_bytes(out, &[0]),
        Cell::Int(number) | Cell::Timestamp(number) | Cell::Date(number) => {
            encode_u64(out, number.to_le_bytes())
        }
        Cell::Float(bits) => {
            let number = f64::from_bits(bits);
            // Both zeros are equal, and so are all NaNs.
            let canonical = if number == 0.0 {
                0.0
            } else if number.is_nan() {
                f64::NAN
            } else {
                number
            };
            encode_u64(out, canonical.to_bits().to_le_bytes());
        }
        Cell::Decimal(at) => {
            // 1.5 and 1.50 are equal, whatever the scale of the column.
            let Decimal { unscaled, scale } = Decimal { unscaled: view.row.decimals[at], scale }.normalize();
            let mut value = [0; 17];
            value[..16].copy_from_slice(&unscaled.to_le_bytes());
            value[16] = scale;
            encode_bytes(out, &value);
        }
        Cell::Text(span) => encode_bytes(out, view.text(span).as_bytes()),
        Cell::Bytes(span) => encode_bytes(out, &view.row.bytes[span.range()]),
    }
}

fn type_tag(scalar: Scalar) -> u8 {
    match scalar {
        Scalar::String => 1,
        // One tag for both, so that widening a column does not change its keys.
        Scalar::Int64 | Scalar::Int32 => 2,
        Scalar::Float64 => 3,
        Scalar::Boolean => 4,
        Scalar::Timestamp => 5,
        Scalar::Date => 6,
        Scalar::Binary => 7,
        Scalar::Json => 8,
        Scalar::Decimal(_) => 9,
    }
}

fn encode_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    out.extend_from_slice(&encode_length(bytes.len()));
    out.extend_from_slice(bytes);
}

/// Encodes eight bytes as [`encode_bytes`] does.
fn encode_u64(out: &mut Vec<u8>, bytes: [u8; 8]) {
    let mut with_length = [0; 12];
    with_length[..4].copy_from_slice(&encode_length(8));
    with_length[4..].copy_from_slice(&bytes);
    out.extend_from_slice(&with_length);
}

fn encode_length(length: usize) -> [u8; 4] {
    // Records are far below 4 GiB, and so is everything derived from them.
    (length as u32).to_le_bytes()
}
