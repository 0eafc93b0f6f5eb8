//! Writes rows of Arrow columns as JSON objects, each value by its own type.
//!
//! JSON has fewer types than Parquet. A column of bytes, points in time or dates is text in JSON, and the last member of the object,
//! [`TYPES_FIELD`], says what the text is: `{"at":"2020-08-28T03:52:47","b":"AQI=","$parquet":{"at":"timestamp","b":"binary"}}`. It is the
//! same in all rows of a file. In place of a value that JSON cannot express is an object that says why
//! ([`refused_value`](crate::refused_value)).

use std::io::Write;

use arrow::array::cast::AsArray;
use arrow::array::{Array, ArrayRef, RecordBatch, StructArray};
use arrow::datatypes::{
    ArrowPrimitiveType, DataType, Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type,
    Decimal256Type, FieldRef, Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type,
    Int64Type, Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimeUnit, TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow::util::display::{ArrayFormatter, FormatOptions, lexical_to_string};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use chrono::{DateTime, Datelike, NaiveDate, NaiveTime, Timelike};

use crate::field_table::TYPES_FIELD;
use crate::reason::{Reason, RecordError};
use crate::refused_value::write_refused;
use crate::typed_fields::{BINARY, BINARY_AS_TEXT, DATE, TIMESTAMP};

/// The years that a table may contain.
const YEARS: std::ops::RangeInclusive<i32> = 1..=9999;
/// 1970-01-01 in days since the year 1.
const EPOCH_FROM_CE: i32 = 719_163;
const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Writes the rows of batches of one schema.
pub(super) struct RowWriter {
    columns: Vec<(Vec<u8>, ValueWriter)>,
    /// The types that every row states, as the last member of its object; empty if there are none.
    types: Vec<u8>,
}

/// Writes the values of a column, of a member of a structure, or of the items of a list or map.
struct ValueWriter {
    kind: Kind,
    place: Place,
    /// The type that is stated, as JSON.
    stated: Option<Vec<u8>>,
}

enum Kind {
    /// A value without others inside.
    Scalar,
    /// 16 bytes, written as the digits of a UUID.
    Uuid,
    /// Its bytes are a format of their own, which is not read.
    Variant,
    /// Each member with its name as a JSON string.
    Struct(Vec<(Vec<u8>, ValueWriter)>),
    List(Box<ValueWriter>),
    /// The keys and the values.
    Map(Box<[ValueWriter; 2]>),
    Dictionary(Box<ValueWriter>),
}

/// Why a value cannot be written as JSON.
type Problem = RecordError;

fn problem(reason: Reason, detail: impl Into<String>) -> Problem {
    RecordError::new(reason, detail)
}

impl RowWriter {
    /// `columns` are the name and the type of each column. `uuids` says of each leaf of the columns, in their order, whether it is a UUID;
    /// `is_variant` of the name of a column whether it is a variant or has one inside.
    pub(super) fn new<'a>(
        columns: impl Iterator<Item = (&'a str, &'a DataType)>,
        mut uuids: impl Iterator<Item = bool>,
        is_variant: &dyn Fn(&str) -> bool,
    ) -> RowWriter {
        let columns: Vec<(Vec<u8>, ValueWriter)> = columns
            .map(|(name, data_type)| {
                let mut column = ValueWriter::new(data_type, Place::Column, &mut uuids);
                if is_variant(name) {
                    column.kind = Kind::Variant;
                }
                (quoted(name), column)
            })
            .collect();
        let mut types = Vec::new();
        if let Some(stated) = state_members(&columns) {
            types = [quoted(TYPES_FIELD).as_slice(), b":", &stated].concat();
        }
        RowWriter { columns, types }
    }

    /// Writes all rows of the batch, each as one line.
    pub(super) fn write(&self, batch: &RecordBatch, out: &mut Vec<u8>) {
        for row in 0..batch.num_rows() {
            write_members(&self.columns, batch.columns(), row, out);
            if !self.types.is_empty() {
                // Behind the last member.
                out.pop();
                if !self.columns.is_empty() {
                    out.push(b',');
                }
                out.extend_from_slice(&self.types);
                out.push(b'}');
            }
            out.push(b'\n');
        }
    }
}

impl ValueWriter {
    /// `uuids` are those of the leaves from this one. Recurses as deep as the schema nests, which `footer` limits.
    fn new(data_type: &DataType, place: Place, uuids: &mut dyn Iterator<Item = bool>) -> ValueWriter {
        let mut nested = |data_type: &DataType| ValueWriter::new(data_type, Place::Nested, uuids);
        let kind = match data_type {
            DataType::Struct(fields) => {
                let member = |field: &FieldRef| (quoted(field.name()), nested(field.data_type()));
                Kind::Struct(fields.iter().map(member).collect())
            }
            DataType::List(item)
            | DataType::LargeList(item)
            | DataType::FixedSizeList(item, _)
            | DataType::ListView(item)
            | DataType::LargeListView(item) => {
                Kind::List(Box::new(ValueWriter::new(item.data_type(), place.item(), uuids)))
            }
            DataType::Map(entries, _) => match entries.data_type() {
                DataType::Struct(fields) if fields.len() == 2 => {
                    Kind::Map(Box::new([nested(fields[0].data_type()), nested(fields[1].data_type())]))
                }
                _ => Kind::Scalar,
            },
            DataType::Dictionary(_, values) => {
                Kind::Dictionary(Box::new(ValueWriter::new(values, place, uuids)))
            }
            _ if uuids.next() == Some(true) && *data_type == DataType::FixedSizeBinary(16) => Kind::Uuid,
            _ => Kind::Scalar,
        };
        let stated = match &kind {
            Kind::Scalar => stated_type(data_type, place).map(quoted),
            Kind::Uuid | Kind::Variant => None,
            Kind::Struct(members) => state_members(members),
            Kind::List(item) if item.is_scalar() => {
                let stated = item.stated.as_ref();
                stated.map(|stated| [b"\"list<", &stated[1..stated.len() - 1], b">\""].concat())
            }
            Kind::List(item) => item.stated.as_deref().map(in_array),
            Kind::Map(entries) => entries[1].stated.as_deref().map(in_array),
            Kind::Dictionary(values) => values.stated.clone(),
        };
        ValueWriter { kind, place, stated }
    }

    fn is_scalar(&self) -> bool {
        match &self.kind {
            Kind::Dictionary(values) => values.is_scalar(),
            kind => matches!(kind, Kind::Scalar | Kind::Uuid),
        }
    }

    /// Writes a value, or why it cannot be written.
    fn write(&self, values: &dyn Array, row: usize, out: &mut Vec<u8>) {
        let start = out.len();
        if let Err(problem) = self.try_write(values, row, out) {
            out.truncate(start);
            write_refused(&problem, out);
        }
    }

    fn try_write(&self, values: &dyn Array, row: usize, out: &mut Vec<u8>) -> Result<(), Problem> {
        if values.is_null(row) {
            out.extend_from_slice(b"null");
            return Ok(());
        }
        match &self.kind {
            Kind::Scalar => write_scalar(values, row, self.place, out)?,
            Kind::Uuid => write_uuid(out, values.as_fixed_size_binary().value(row)),
            Kind::Variant => {
                return Err(problem(
                    Reason::WrongType,
                    "a variant, which is not read; write it as a JSON text",
                ));
            }
            Kind::Struct(members) => write_members(members, values.as_struct().columns(), row, out),
            Kind::List(item) => {
                let items = list_items(values, row);
                out.push(b'[');
                for at in 0..items.len() {
                    if at > 0 {
                        out.push(b',');
                    }
                    item.write(&items, at, out);
                }
                out.push(b']');
            }
            Kind::Map(entries) => write_map(entries, &values.as_map().value(row), out)?,
            Kind::Dictionary(own) => {
                // Of this row only: it makes a copy of the keys.
                let value = values.slice(row, 1);
                let dictionary = value.as_any_dictionary();
                let key = dictionary.normalized_keys().first().copied();
                match key.filter(|key| *key < dictionary.values().len()) {
                    Some(key) => own.try_write(dictionary.values(), key, out)?,
                    None => {
                        return Err(problem(Reason::WrongType, "a value that its dictionary does not have"));
                    }
                }
            }
        }
        Ok(())
    }
}

/// Writes the members of a structure, or the columns of a row, as an object.
fn write_members(members: &[(Vec<u8>, ValueWriter)], columns: &[ArrayRef], row: usize, out: &mut Vec<u8>) {
    out.push(b'{');
    for (at, ((name, member), values)) in members.iter().zip(columns).enumerate() {
        if at > 0 {
            out.push(b',');
        }
        out.extend_from_slice(name);
        out.push(b':');
        member.write(values, row, out);
    }
    out.push(b'}');
}

/// Writes a map as an object. A name is the text of its key; with a key that has none, the map cannot be written.
fn write_map(entries: &[ValueWriter; 2], map: &StructArray, out: &mut Vec<u8>) -> Result<(), Problem> {
    let ([key, value], [keys, values]) = (entries, map.columns()) else {
        return Err(problem(Reason::WrongType, "a map without values"));
    };
    out.push(b'{');
    for at in 0..map.len() {
        if at > 0 {
            out.push(b',');
        }
        let start = out.len();
        key.try_write(keys, at, out)?;
        match out.get(start) {
            Some(b'{' | b'[') | None => {
                return Err(problem(Reason::WrongType, "a map whose keys are lists or structures"));
            }
            Some(b'"') => {}
            Some(_) => {
                out.insert(start, b'"');
                out.push(b'"');
            }
        }
        out.push(b':');
        value.write(values, at, out);
    }
    out.push(b'}');
    Ok(())
}

fn list_items(values: &dyn Array, row: usize) -> ArrayRef {
    match values.data_type() {
        DataType::LargeList(_) => values.as_list::<i64>().value(row),
        DataType::FixedSizeList(..) => values.as_fixed_size_list().value(row),
        DataType::ListView(_) => values.as_list_view::<i32>().value(row),
        DataType::LargeListView(_) => values.as_list_view::<i64>().value(row),
        _ => values.as_list::<i32>().value(row),
    }
}

fn quoted(text: &str) -> Vec<u8> {
    let mut quoted = Vec::new();
    write_text(&mut quoted, text);
    quoted
}

/// A type that is stated of the items of a list, or of the values of a map.
fn in_array(stated: &[u8]) -> Vec<u8> {
    [b"[", stated, b"]"].concat()
}

/// The types of members as a JSON object, if there is one.
fn state_members(members: &[(Vec<u8>, ValueWriter)]) -> Option<Vec<u8>> {
    let mut types = vec![b'{'];
    for (name, stated) in members.iter().filter_map(|(name, member)| Some((name, member.stated.as_ref()?))) {
        if types.len() > 1 {
            types.push(b',');
        }
        types.extend_from_slice(name);
        types.push(b':');
        types.extend_from_slice(stated);
    }
    types.push(b'}');
    (types.len() > 2).then_some(types)
}

/// The type of values that are text in JSON and more than text in Parquet.
fn stated_type(data_type: &DataType, place: Place) -> Option<&'static str> {
    match data_type {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            Some(if place == Place::Nested { BINARY_AS_TEXT } else { BINARY })
        }
        DataType::Timestamp(..) => Some(TIMESTAMP),
        DataType::Date32 | DataType::Date64 => Some(DATE),
        _ => None,
    }
}

/// Where a value is. Only the types of columns, and of the items of their lists, are stated.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Place {
    Column,
    Item,
    Nested,
}

impl Place {
    fn item(self) -> Place {
        if self == Place::Column { Place::Item } else { Place::Nested }
    }
}

fn write_scalar(array: &dyn Array, row: usize, place: Place, out: &mut Vec<u8>) -> Result<(), Problem> {
    match array.data_type() {
        DataType::Null => out.extend_from_slice(b"null"),
        DataType::Boolean => {
            out.extend_from_slice(if array.as_boolean().value(row) { b"true" } else { b"false" });
        }
        DataType::Int8 => write_integer::<Int8Type>(out, array, row),
        DataType::Int16 => write_integer::<Int16Type>(out, array, row),
        DataType::Int32 => write_integer::<Int32Type>(out, array, row),
        DataType::Int64 => write_integer::<Int64Type>(out, array, row),
        DataType::UInt8 => write_integer::<UInt8Type>(out, array, row),
        DataType::UInt16 => write_integer::<UInt16Type>(out, array, row),
        DataType::UInt32 => write_integer::<UInt32Type>(out, array, row),
        DataType::UInt64 => write_integer::<UInt64Type>(out, array, row),
        DataType::Float16 => {
            let number = array.as_primitive::<Float16Type>().value(row);
            write_float(out, number.to_f64(), || lexical_to_string(shorten_half(number)))?;
        }
        DataType::Float32 => {
            let number = array.as_primitive::<Float32Type>().value(row);
            write_float(out, number.into(), || lexical_to_string(number))?;
        }
        DataType::Float64 => {
            let number = array.as_primitive::<Float64Type>().value(row);
            write_float(out, number, || lexical_to_string(number))?;
        }
        DataType::Decimal32(..) => {
            write_number(out, array.as_primitive::<Decimal32Type>().value_as_string(row));
        }
        DataType::Decimal64(..) => {
            write_number(out, array.as_primitive::<Decimal64Type>().value_as_string(row));
        }
        DataType::Decimal128(..) => {
            write_number(out, array.as_primitive::<Decimal128Type>().value_as_string(row));
        }
        DataType::Decimal256(..) => {
            write_number(out, array.as_primitive::<Decimal256Type>().value_as_string(row));
        }
        DataType::Utf8 => write_text(out, array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => write_text(out, array.as_string::<i64>().value(row)),
        DataType::Utf8View => write_text(out, array.as_string_view().value(row)),
        DataType::Binary => write_bytes(out, array.as_binary::<i32>().value(row), place)?,
        DataType::LargeBinary => write_bytes(out, array.as_binary::<i64>().value(row), place)?,
        DataType::BinaryView => write_bytes(out, array.as_binary_view().value(row), place)?,
        DataType::FixedSizeBinary(_) => write_bytes(out, array.as_fixed_size_binary().value(row), place)?,
        DataType::Timestamp(unit, zone) => {
            let (number, per_second) = match unit {
                TimeUnit::Second => (array.as_primitive::<TimestampSecondType>().value(row), 1),
                TimeUnit::Millisecond => (array.as_primitive::<TimestampMillisecondType>().value(row), 1000),
                TimeUnit::Microsecond => {
                    (array.as_primitive::<TimestampMicrosecondType>().value(row), 1_000_000)
                }
                TimeUnit::Nanosecond => {
                    (array.as_primitive::<TimestampNanosecondType>().value(row), NANOS_PER_SECOND)
                }
            };
            write_timestamp(out, number, per_second, zone.is_some())?;
        }
        DataType::Date32 => write_date(out, array.as_primitive::<Date32Type>().value(row).into())?,
        DataType::Date64 => {
            let millis = array.as_primitive::<Date64Type>().value(row);
            write_date(out, millis.div_euclid(SECONDS_PER_DAY * 1000))?;
        }
        DataType::Time32(TimeUnit::Second) => {
            write_time(out, array.as_primitive::<Time32SecondType>().value(row).into(), 1)?;
        }
        DataType::Time32(_) => {
            write_time(out, array.as_primitive::<Time32MillisecondType>().value(row).into(), 1000)?;
        }
        DataType::Time64(TimeUnit::Nanosecond) => {
            write_time(out, array.as_primitive::<Time64NanosecondType>().value(row), NANOS_PER_SECOND)?;
        }
        DataType::Time64(_) => {
            write_time(out, array.as_primitive::<Time64MicrosecondType>().value(row), 1_000_000)?;
        }
        // The reader of Parquet drops its months.
        DataType::Interval(_) => {
            return Err(problem(
                Reason::WrongType,
                "an interval, which is not read; write it as a text or a number",
            ));
        }
        other => {
            let options = FormatOptions::new();
            let text = ArrayFormatter::try_new(array, &options)
                .and_then(|formatter| formatter.value(row).try_to_string())
                .map_err(|_| problem(Reason::WrongType, format!("a value of the type {other}")))?;
            write_text(out, &text);
        }
    }
    Ok(())
}

fn write_integer<T: ArrowPrimitiveType>(out: &mut Vec<u8>, array: &dyn Array, row: usize)
where
    T::Native: std::fmt::Display,
{
    write_number(out, array.as_primitive::<T>().value(row));
}

/// Writing to memory does not fail.
fn write_number(out: &mut Vec<u8>, number: impl std::fmt::Display) {
    let _ = write!(out, "{number}");
}

fn write_text(out: &mut Vec<u8>, text: &str) {
    let _ = serde_json::to_writer(out, text);
}

/// The number with the fewest digits for which `half` is the nearest one of 16 bits: 0.1 for 0.0999755859375. At most five are needed.
fn shorten_half(half: <Float16Type as ArrowPrimitiveType>::Native) -> f64 {
    type Half = <Float16Type as ArrowPrimitiveType>::Native;
    let exact = half.to_f64();
    let with_digits = |digits: usize| format!("{exact:.digits$e}").parse::<f64>().ok();
    (0..5).filter_map(with_digits).find(|short| Half::from_f64(*short) == half).unwrap_or(exact)
}

/// Writes a number. `shorten` gives the fewest digits that name it in its own type, which are those that were meant unless it is an integer:
/// 123456790 names 123456792 in 32 bits.
fn write_float(out: &mut Vec<u8>, number: f64, shorten: impl FnOnce() -> String) -> Result<(), Problem> {
    if !number.is_finite() {
        return Err(problem(Reason::OutOfRange, number.to_string()));
    }
    let text = if number.fract() == 0.0 { lexical_to_string(number) } else { shorten() };
    out.extend_from_slice(text.as_bytes());
    Ok(())
}

/// Bytes are base64 where their type is stated. Elsewhere they are their text, if they are text.
fn write_bytes(out: &mut Vec<u8>, bytes: &[u8], place: Place) -> Result<(), Problem> {
    if place != Place::Nested {
        write_text(out, &BASE64.encode(bytes));
        return Ok(());
    }
    let text = simdutf8::basic::from_utf8(bytes).map_err(|_| {
        problem(Reason::WrongType, "bytes that are not UTF-8, within a list, a map or a structure")
    })?;
    write_text(out, text);
    Ok(())
}

/// The text of a UUID: groups of 8, 4, 4, 4 and 12 digits.
fn write_uuid(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for (at, byte) in bytes.iter().enumerate() {
        if matches!(at, 4 | 6 | 8 | 10) {
            out.push(b'-');
        }
        let _ = write!(out, "{byte:02x}");
    }
    out.push(b'"');
}

fn write_timestamp(out: &mut Vec<u8>, number: i64, per_second: i64, has_zone: bool) -> Result<(), Problem> {
    let nanos = number.rem_euclid(per_second) * (NANOS_PER_SECOND / per_second);
    let at = u32::try_from(nanos)
        .ok()
        .and_then(|nanos| DateTime::from_timestamp(number.div_euclid(per_second), nanos))
        .filter(|at| YEARS.contains(&at.year()));
    let Some(at) = at else {
        let unit = match per_second {
            1 => "seconds",
            1000 => "milliseconds",
            1_000_000 => "microseconds",
            _ => "nanoseconds",
        };
        return Err(problem(Reason::OutOfRange, format!("{number} {unit} since 1970")));
    };
    let _ = write!(out, "\"{:?}{}\"", at.naive_utc(), if has_zone { "Z" } else { "" });
    Ok(())
}

fn write_date(out: &mut Vec<u8>, days: i64) -> Result<(), Problem> {
    let date = i32::try_from(days)
        .ok()
        .and_then(|days| NaiveDate::from_num_days_from_ce_opt(days.checked_add(EPOCH_FROM_CE)?))
        .filter(|date| YEARS.contains(&date.year()))
        .ok_or_else(|| problem(Reason::OutOfRange, format!("{days} days since 1970")))?;
    let _ = write!(out, "\"{date:?}\"");
    Ok(())
}

fn write_time(out: &mut Vec<u8>, number: i64, per_second: i64) -> Result<(), Problem> {
    let time = u32::try_from(number.div_euclid(per_second)).ok().and_then(|seconds| {
        let nanos = number.rem_euclid(per_second) * (NANOS_PER_SECOND / per_second);
        NaiveTime::from_num_seconds_from_midnight_opt(seconds, u32::try_from(nanos).ok()?)
    });
    let time = time
        .filter(|time| time.nanosecond() < 1_000_000_000)
        .ok_or_else(|| problem(Reason::OutOfRange, format!("{number} is not a time of day")))?;
    let _ = write!(out, "\"{time:?}\"");
    Ok(())
}
