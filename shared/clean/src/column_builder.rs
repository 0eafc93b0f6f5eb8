//! Builds one Arrow column, cell by cell.

use std::sync::Arc;

use arrow::array::{
    ArrayBuilder, ArrayRef, BinaryBuilder, BooleanBuilder, Date32Builder, Decimal128Builder, Float64Builder,
    Int32Builder, Int64Builder, ListArray, NullBufferBuilder, StringBuilder, TimestampMicrosecondBuilder,
};
use arrow::buffer::{OffsetBuffer, ScalarBuffer};
use arrow::datatypes::FieldRef;
use pinlake_schema::{Column, Scalar, Type};

use crate::row::{Cell, RowView};

/// The bytes of one value in a column; for texts and lists those of its offset.
pub(crate) fn fixed_bytes(column: &Column) -> usize {
    column.data_type.arrow().primitive_width().unwrap_or(size_of::<i32>())
}

#[derive(Debug)]
pub(crate) enum ColumnBuilder {
    Text(StringBuilder),
    Int64(Int64Builder),
    Int32(Int32Builder),
    Float64(Float64Builder),
    Boolean(BooleanBuilder),
    Timestamp(TimestampMicrosecondBuilder),
    Date(Date32Builder),
    Decimal(Decimal128Builder),
    Binary(BinaryBuilder),
    List { item: FieldRef, items: Box<ColumnBuilder>, offsets: Vec<i32>, valid: NullBufferBuilder },
}

impl ColumnBuilder {
    pub(crate) fn new(column: &Column) -> ColumnBuilder {
        match column.data_type {
            Type::Scalar(scalar) => ColumnBuilder::from_scalar(scalar),
            Type::Array(scalar) => {
                let arrow::datatypes::DataType::List(item) = column.data_type.arrow() else {
                    unreachable!("an array type is a list in Arrow");
                };
                ColumnBuilder::List {
                    item,
                    items: Box::new(ColumnBuilder::from_scalar(scalar)),
                    offsets: vec![0],
                    valid: NullBufferBuilder::new(0),
                }
            }
        }
    }

    fn from_scalar(scalar: Scalar) -> ColumnBuilder {
        match scalar {
            Scalar::String | Scalar::Json => ColumnBuilder::Text(StringBuilder::new()),
            Scalar::Int64 => ColumnBuilder::Int64(Int64Builder::new()),
            Scalar::Int32 => ColumnBuilder::Int32(Int32Builder::new()),
            Scalar::Float64 => ColumnBuilder::Float64(Float64Builder::new()),
            Scalar::Boolean => ColumnBuilder::Boolean(BooleanBuilder::new()),
            Scalar::Timestamp => {
                ColumnBuilder::Timestamp(TimestampMicrosecondBuilder::new().with_timezone("UTC"))
            }
            Scalar::Date => ColumnBuilder::Date(Date32Builder::new()),
            Scalar::Decimal(_) => {
                ColumnBuilder::Decimal(Decimal128Builder::new().with_data_type(scalar.arrow()))
            }
            Scalar::Binary => ColumnBuilder::Binary(BinaryBuilder::new()),
        }
    }

    /// Appends a cell. Cleaning has converted it to the type of the column; any other cell is appended as null.
    pub(crate) fn push(&mut self, cell: Cell, view: RowView<'_>) {
        match self {
            ColumnBuilder::Text(builder) => match cell {
                Cell::Text(span) => builder.append_value(view.text(span)),
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
            ColumnBuilder::Timestamp(builder) => match cell {
                Cell::Timestamp(micros) => builder.append_value(micros),
                _ => builder.append_null(),
            },
            ColumnBuilder::Date(builder) => match cell {
                Cell::Date(days) => builder.append_option(i32::try_from(days).ok()),
                _ => builder.append_null(),
            },
            ColumnBuilder::Decimal(builder) => match cell {
                Cell::Decimal(at) => builder.append_value(view.row.decimals[at]),
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

    pub(crate) fn finish(&mut self) -> ArrayRef {
        match self {
            // The next batch will have about the same size: growing to it would copy each text several times.
            ColumnBuilder::Text(builder) => {
                let (rows, bytes) = (builder.len(), builder.values_slice().len());
                let next = StringBuilder::with_capacity(rows + rows / 8, bytes + bytes / 8);
                Arc::new(std::mem::replace(builder, next).finish())
            }
            ColumnBuilder::Int64(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Int32(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Float64(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Boolean(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Timestamp(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Date(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Decimal(builder) => Arc::new(builder.finish()),
            ColumnBuilder::Binary(builder) => Arc::new(builder.finish()),
            ColumnBuilder::List { item, items, offsets, valid } => {
                let offsets = OffsetBuffer::new(ScalarBuffer::from(std::mem::replace(offsets, vec![0])));
                Arc::new(ListArray::new(Arc::clone(item), offsets, items.finish(), valid.finish()))
            }
        }
    }
}
