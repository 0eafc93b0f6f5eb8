//! Columns under construction.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Float64Builder, Int32Builder,
    Int64Builder, ListArray, NullBufferBuilder, RecordBatch, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::{FieldRef, SchemaRef};
use pinlake_schema::{Column, Contract, Scalar, Type};

use crate::cell::{Cell, View};
use crate::key::{KEY_BYTES, KeyEncoder, Keys, RecordId};

/// The open batch of one dataset.
#[derive(Debug)]
pub(crate) struct Batch {
    schema: SchemaRef,
    columns: Vec<ColumnBuilder>,
    key_form: KeyEncoder,
    keys: Keys,
    /// Keys of the first form, where there is one: data files that were written before are checked against them.
    former_keys: Option<Keys>,
    pub(crate) rows: u64,
    /// What a row takes besides its texts and items.
    pub(crate) fixed_bytes: usize,
    /// See [`CleanedRows::bytes`](crate::CleanedRows::bytes).
    pub(crate) bytes: u64,
}

impl Batch {
    pub(crate) fn new(contract: &Contract) -> Batch {
        Batch {
            schema: contract.landing_schema(),
            columns: contract.columns.iter().map(ColumnBuilder::new).collect(),
            key_form: KeyEncoder::new(contract),
            keys: Keys::default(),
            former_keys: contract.former_identity_hash().map(|_| Keys::default()),
            rows: 0,
            fixed_bytes: KEY_BYTES + contract.columns.iter().map(fixed_bytes).sum::<usize>(),
            bytes: 0,
        }
    }

    /// Adds a row and its key. `record` is the record that it was made of, for a dataset that identifies rows by it, and for a row of
    /// quarantine whose dataset may. `bytes` is what to reckon with.
    pub(crate) fn push(&mut self, view: View<'_>, record: Option<RecordId<'_>>, bytes: usize) {
        for (column, cell) in self.columns.iter_mut().zip(&view.row.cells) {
            column.push(*cell, view);
        }
        self.keys.push(&self.key_form, view, record);
        if let Some(keys) = &mut self.former_keys {
            keys.push(&self.key_form, view, record.map(|record| RecordId { content: None, ..record }));
        }
        self.rows += 1;
        self.bytes += bytes as u64;
    }

    /// Whether rows are identified by their records.
    pub(crate) fn is_by_record(&self) -> bool {
        self.key_form.is_by_record()
    }

    /// The key of the row that was added last.
    pub(crate) fn last_key(&self) -> Option<[u8; KEY_BYTES]> {
        self.keys.last()
    }

    /// The key of its first form, where there is one.
    pub(crate) fn last_former_key(&self) -> Option<[u8; KEY_BYTES]> {
        self.former_keys.as_ref()?.last()
    }

    /// The rows so far; the batch is empty afterwards.
    #[expect(
        clippy::expect_used,
        reason = "the columns were built from this very schema, a row at a time; were that broken, going on would lose rows, and a crash loses none: the batch is delivered again"
    )]
    pub(crate) fn finish(&mut self) -> RecordBatch {
        let mut arrays: Vec<ArrayRef> = self.columns.iter_mut().map(ColumnBuilder::finish).collect();
        arrays.push(Arc::new(self.keys.finish()));
        if let Some(keys) = &mut self.former_keys {
            arrays.push(Arc::new(keys.finish()));
        }
        self.rows = 0;
        self.bytes = 0;
        RecordBatch::try_new(Arc::clone(&self.schema), arrays).expect("columns agree with their contract")
    }
}

/// What a row takes in a column whatever its value: of texts and lists where they end.
fn fixed_bytes(column: &Column) -> usize {
    column.data_type.arrow().primitive_width().unwrap_or(size_of::<i32>())
}

#[derive(Debug)]
enum ColumnBuilder {
    Text(StringBuilder),
    Int64(Int64Builder),
    Int32(Int32Builder),
    Float64(Float64Builder),
    Boolean(BooleanBuilder),
    Moment(TimestampMicrosecondBuilder),
    Day(Date32Builder),
    Binary(BinaryBuilder),
    List { item: FieldRef, items: Box<ColumnBuilder>, offsets: Vec<i32>, valid: NullBufferBuilder },
}

impl ColumnBuilder {
    fn new(column: &Column) -> ColumnBuilder {
        match column.data_type {
            Type::Scalar(scalar) => ColumnBuilder::scalar(scalar),
            Type::Array(scalar) => {
                let arrow::datatypes::DataType::List(item) = column.data_type.arrow() else {
                    unreachable!("an array type is a list in Arrow");
                };
                ColumnBuilder::List {
                    item,
                    items: Box::new(ColumnBuilder::scalar(scalar)),
                    offsets: vec![0],
                    valid: NullBufferBuilder::new(0),
                }
            }
        }
    }

    fn scalar(scalar: Scalar) -> ColumnBuilder {
        match scalar {
            Scalar::String | Scalar::Json => ColumnBuilder::Text(StringBuilder::new()),
            Scalar::Int64 => ColumnBuilder::Int64(Int64Builder::new()),
            Scalar::Int32 => ColumnBuilder::Int32(Int32Builder::new()),
            Scalar::Float64 => ColumnBuilder::Float64(Float64Builder::new()),
            Scalar::Boolean => ColumnBuilder::Boolean(BooleanBuilder::new()),
            Scalar::Timestamp => {
                ColumnBuilder::Moment(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
            Scalar::Date => ColumnBuilder::Day(Date32Builder::new()),
            Scalar::Binary => ColumnBuilder::Binary(BinaryBuilder::new()),
        }
    }

    /// Appends a cell, which cleaning has made of the column's type; any other is a null.
    fn push(&mut self, cell: Cell, view: View<'_>) {
        match self {
            ColumnBuilder::Text(builder) => match cell {
                Cell::Text(span) => builder.append_value(view.text_of(span)),
                _ => builder.append_null(),
            },
            ColumnBuilder::Int64(builder) => match cell {
                Cell::Int(number) => builder.append_value(number),
                _ => builder.append_null(),
            },
            ColumnBuilder::Int32(builder) => match cell {
                Cell::Int(number) => builder.append_option(i32::try_from(number).ok()),
                _ => builder.append_null(),
            },
            ColumnBuilder::Float64(builder) => match cell {
                Cell::Float(bits) => builder.append_value(f64::from_bits(bits)),
                _ => builder.append_null(),
            },
            ColumnBuilder::Boolean(builder) => match cell {
                Cell::True => builder.append_value(true),
                Cell::False => builder.append_value(false),
                _ => builder.append_null(),
            },
            ColumnBuilder::Moment(builder) => match cell {
                Cell::Timestamp(micros) => builder.append_value(micros),
                _ => builder.append_null(),
            },
            ColumnBuilder::Day(builder) => match cell {
                Cell::Date(days) => builder.append_option(i32::try_from(days).ok()),
                _ => builder.append_null(),
            },
            ColumnBuilder::Binary(builder) => match cell {
                Cell::Bytes(span) => builder.append_value(&view.row.bytes[span.range()]),
                _ => builder.append_null(),
            },
            ColumnBuilder::List { items, offsets, valid, .. } => {
                let mut last = offsets.last().copied().unwrap_or(0);
                if let Cell::Items(span) = cell {
                    for item in &view.row.items[span.range()] {
                        items.push(*item, view);
                        last += 1;
                    }
                    valid.append_non_null();
                } else {
                    valid.append_null();
                }
                offsets.push(last);
            }
        }
    }

    fn finish(&mut self) -> ArrayRef {
        match self {
            // The next batch will be about as large: growing to that size would copy each text several times.
            ColumnBuilder::Text(builder) => {
                let (rows, bytes) = (builder.len(), builder.values_slice().len());
                let next = StringBuilder::with_capacity(rows + rows / 8, bytes + bytes / 8);
                Arc::new(std::mem::replace(builder, next).finish())
            }
            ColumnBuilder::Int64(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Int32(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Float64(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Boolean(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Moment(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Day(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Binary(builder) => Arc::new(builder.finish()),
            ColumnBuilder::List { item, items, offsets, valid } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])));
                Arc::new(ListArray::new(Arc::clone(item), offsets, items.finish(), valid.finish()))
            }
        }
    }
}
