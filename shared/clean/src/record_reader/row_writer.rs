//! Writes rows of Arrow columns as JSON objects, each value by its own type.
//!
//! JSON has fewer types than Parquet. A column of bytes, points in time or dates is text in JSON, and the last member of the object,
//! [`TYPES_FIELD`], says what the text is: `{"at":"2020-08-28T03:52:47","b":"AQI=","$parquet":{"at":"timestamp","b":"binary"}}`. It also
//! names the values that JSON cannot express, such as NaN, with the reason for which a column that reads them is quarantined.

use std::io::Write;
use std::sync::Arc;

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
use crate::typed_fields::{BINARY, BINARY_AS_TEXT, DATE, TIMESTAMP};

/// The years that a table may contain.
const YEARS: std::ops::RangeInclusive<i32> = 1..=9999;
/// 1970-01-01 in days since the year 1.
const EPOCH_FROM_CE: i32 = 719_163;
const NANOS_PER_SECOND: i64 = 1_000_000_000;
const SECONDS_PER_DAY: i64 = 86_400;

/// Writes the rows of batches of one schema.
pub(super) struct RowWriter {
    columns: Vec<ColumnWriter>,
    /// The types that every row states, as members of a JSON object: `"at":"timestamp","b":"binary"`.
    types: Vec<u8>,
}

/// Writes the values of a column, of a member of a structure, or of the items of a list or map.
struct ColumnWriter {
    /// The name as a JSON string.
    name: Vec<u8>,
    is_uuid: bool,
    /// Whether it is a variant, or has one inside: its bytes are a format of their own, which is not read.
    is_variant: bool,
    /// Whether it is a column: the bytes in a structure are the text that they are.
    place: Place,
    /// The type that is stated, as JSON.
    stated: Option<Vec<u8>>,
    /// The members, if it is a structure.
    members: Vec<ColumnWriter>,
    /// The items of a list, or the keys and values of a map, if there are UUIDs in them.
    items: Vec<ColumnWriter>,
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
        let mut writer = RowWriter { columns: Vec::new(), types: Vec::new() };
        for (name, data_type) in columns {
            let mut column = ColumnWriter::new(name, data_type, Place::Column, &mut uuids);
            column.is_variant = is_variant(name);
            if let Some(stated) = &column.stated {
                push_member(&mut writer.types, &column.name, stated);
            }
            writer.columns.push(column);
        }
        writer
    }

    /// Writes all rows of the batch, each as one line.
    pub(super) fn write(&self, batch: &RecordBatch, out: &mut Vec<u8>) {
        let mut problems = Vec::new();
        for row in 0..batch.num_rows() {
            problems.clear();
            let mut separator = b'{';
            for (column, values) in self.columns.iter().zip(batch.columns()) {
                out.push(separator);
                separator = b',';
                out.extend_from_slice(&column.name);
                out.push(b':');
                if let Err(stated) = column.write(out, values, row) {
                    push_member(&mut problems, &column.name, &stated);
                }
            }
            if !self.types.is_empty() || !problems.is_empty() {
                out.push(separator);
                separator = b',';
                write_text(out, TYPES_FIELD);
                out.extend_from_slice(b":{");
                out.extend_from_slice(&self.types);
                if !self.types.is_empty() && !problems.is_empty() {
                    out.push(b',');
                }
                out.extend_from_slice(&problems);
                out.push(b'}');
            }
            out.extend_from_slice(if separator == b'{' { b"{}\n" } else { b"}\n" });
        }
    }
}

impl ColumnWriter {
    /// `uuids` are those of the leaves from this one. Recurses as deep as the schema nests, which `footer` limits.
    fn new(
        name: &str,
        data_type: &DataType,
        place: Place,
        uuids: &mut dyn Iterator<Item = bool>,
    ) -> ColumnWriter {
        let mut quoted = Vec::new();
        write_text(&mut quoted, name);
        let mut writer = ColumnWriter {
            name: quoted,
            is_uuid: false,
            is_variant: false,
            place,
            stated: None,
            members: Vec::new(),
            items: Vec::new(),
        };
        match data_type {
            DataType::Struct(fields) => {
                let member = |field: &FieldRef| {
                    ColumnWriter::new(field.name(), field.data_type(), Place::Nested, uuids)
                };
                writer.members = fields.iter().map(member).collect();
                writer.stated = state_members(&writer.members, |_, member| member.stated.as_deref());
                return writer;
            }
            DataType::List(item) | DataType::LargeList(item) | DataType::FixedSizeList(item, _) => {
                writer.items = vec![ColumnWriter::new("", item.data_type(), place.item(), uuids)];
            }
            DataType::Map(entries, _) => {
                if let DataType::Struct(fields) = entries.data_type() {
                    let items = fields.iter();
                    let items =
                        items.map(|field| ColumnWriter::new("", field.data_type(), Place::Nested, uuids));
                    writer.items = items.collect();
                }
            }
            _ => writer.is_uuid = uuids.next() == Some(true) && *data_type == DataType::FixedSizeBinary(16),
        }
        if writer.items.iter().any(ColumnWriter::has_uuid) {
            writer.stated = writer.items.last().and_then(|item| item.stated.as_deref()).map(in_array);
        } else {
            writer.items.clear();
            if !writer.is_uuid {
                writer.stated = stated_type(data_type, place);
            }
        }
        writer
    }

    fn has_uuid(&self) -> bool {
        self.is_uuid || self.members.iter().chain(&self.items).any(ColumnWriter::has_uuid)
    }

    /// Writes a value. Returns the type to be stated, as JSON, if the value or a part of it cannot be written.
    fn write(&self, out: &mut Vec<u8>, values: &dyn Array, row: usize) -> Result<(), Vec<u8>> {
        let start = out.len();
        let written = match values.data_type() {
            _ if self.is_variant && !values.is_null(row) => {
                Err(problem(Reason::WrongType, "a variant, which is not read; write it as a JSON text"))
            }
            DataType::FixedSizeBinary(16) if self.is_uuid && !values.is_null(row) => {
                write_uuid(out, values.as_fixed_size_binary().value(row));
                Ok(())
            }
            DataType::Struct(_) if !values.is_null(row) => {
                return self.write_members(out, values.as_struct().columns(), row);
            }
            _ if !self.items.is_empty() && !values.is_null(row) => {
                return self.write_items(out, values, row);
            }
            _ => write_value(out, values, row, self.place),
        };
        written.map_err(|Problem { reason, detail }| {
            out.truncate(start);
            write_text(out, &detail);
            let mut stated = Vec::new();
            write_text(&mut stated, &format!("{}: {detail}", reason.code()));
            stated
        })
    }

    fn write_members(&self, out: &mut Vec<u8>, columns: &[ArrayRef], row: usize) -> Result<(), Vec<u8>> {
        let mut problems: Vec<(usize, Vec<u8>)> = Vec::new();
        out.push(b'{');
        for (at, (member, values)) in self.members.iter().zip(columns).enumerate() {
            if at > 0 {
                out.push(b',');
            }
            out.extend_from_slice(&member.name);
            out.push(b':');
            if let Err(stated) = member.write(out, values, row) {
                problems.push((at, stated));
            }
        }
        out.push(b'}');
        if problems.is_empty() {
            return Ok(());
        }
        let stated = state_members(&self.members, |at, member| {
            let problem = problems.iter().find(|(own, _)| *own == at).map(|(_, stated)| stated.as_slice());
            problem.or(member.stated.as_deref())
        });
        Err(stated.unwrap_or_default())
    }

    /// Writes a list or a map by the writers of its items. If items cannot be written, the type of the first of them is stated.
    fn write_items(&self, out: &mut Vec<u8>, values: &dyn Array, row: usize) -> Result<(), Vec<u8>> {
        let mut problem = None;
        let list = match values.data_type() {
            DataType::LargeList(_) => values.as_list::<i64>().value(row),
            DataType::FixedSizeList(..) => values.as_fixed_size_list().value(row),
            DataType::Map(..) => Arc::new(values.as_map().value(row)),
            _ => values.as_list::<i32>().value(row),
        };
        let is_map = matches!(values.data_type(), DataType::Map(..));
        out.push(if is_map { b'{' } else { b'[' });
        for at in 0..list.len() {
            if at > 0 {
                out.push(b',');
            }
            let written = match (self.items.as_slice(), list.as_struct_opt().map(StructArray::columns)) {
                ([keys, items], Some([own, values])) if is_map => {
                    let start = out.len();
                    let key = keys.write(out, own, at);
                    quote_key(out, start);
                    out.push(b':');
                    key.and(items.write(out, values, at))
                }
                ([items], _) => items.write(out, &list, at),
                _ => Ok(()),
            };
            if let Err(stated) = written {
                problem.get_or_insert(stated);
            }
        }
        out.push(if is_map { b'}' } else { b']' });
        problem.map_or(Ok(()), |stated| Err(in_array(&stated)))
    }
}

/// A type that is stated of the items of a list, or of the values of a map.
fn in_array(stated: &[u8]) -> Vec<u8> {
    [b"[", stated, b"]"].concat()
}

/// The types of the members of a structure as a JSON object, if there is one.
fn state_members<'a>(
    members: &'a [ColumnWriter],
    stated: impl Fn(usize, &'a ColumnWriter) -> Option<&'a [u8]>,
) -> Option<Vec<u8>> {
    let mut types = Vec::new();
    for (at, member) in members.iter().enumerate() {
        if let Some(stated) = stated(at, member) {
            push_member(&mut types, &member.name, stated);
        }
    }
    (!types.is_empty()).then(|| [b"{", types.as_slice(), b"}"].concat())
}

/// Appends `"name":json` to the members of an object.
fn push_member(members: &mut Vec<u8>, quoted_name: &[u8], json: &[u8]) {
    if !members.is_empty() {
        members.push(b',');
    }
    members.extend_from_slice(quoted_name);
    members.push(b':');
    members.extend_from_slice(json);
}

/// The type of values that are text in JSON and more than text in Parquet, as JSON.
fn stated_type(data_type: &DataType, place: Place) -> Option<Vec<u8>> {
    let binary = if place == Place::Nested { BINARY_AS_TEXT } else { BINARY };
    let scalar = |data_type: &DataType| match data_type {
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView | DataType::FixedSizeBinary(_) => {
            Some(binary)
        }
        DataType::Timestamp(..) => Some(TIMESTAMP),
        DataType::Date32 | DataType::Date64 => Some(DATE),
        _ => None,
    };
    let text = |text: &str| {
        let mut stated = Vec::new();
        write_text(&mut stated, text);
        stated
    };
    match data_type {
        DataType::List(item)
        | DataType::LargeList(item)
        | DataType::FixedSizeList(item, _)
        | DataType::ListView(item)
        | DataType::LargeListView(item) => match scalar(item.data_type()) {
            Some(scalar) => Some(text(&format!("list<{scalar}>"))),
            None => state_items(item.data_type()),
        },
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => fields.get(1).and_then(|values| state_items(values.data_type())),
            _ => None,
        },
        DataType::Struct(fields) => {
            let mut types = Vec::new();
            for field in fields {
                if let Some(stated) = stated_type(field.data_type(), Place::Nested) {
                    push_member(&mut types, &text(field.name()), &stated);
                }
            }
            (!types.is_empty()).then(|| [b"{", types.as_slice(), b"}"].concat())
        }
        DataType::Dictionary(_, value) => scalar(value).map(text),
        other => scalar(other).map(text),
    }
}

/// The type of all items of a list, or of all values of a map.
fn state_items(data_type: &DataType) -> Option<Vec<u8>> {
    stated_type(data_type, Place::Nested).map(|stated| in_array(&stated))
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

fn write_value(out: &mut Vec<u8>, array: &dyn Array, row: usize, place: Place) -> Result<(), Problem> {
    if array.is_null(row) {
        out.extend_from_slice(b"null");
        return Ok(());
    }
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
        DataType::List(_) => write_items(out, &*array.as_list::<i32>().value(row), place)?,
        DataType::LargeList(_) => write_items(out, &*array.as_list::<i64>().value(row), place)?,
        DataType::ListView(_) => write_items(out, &*array.as_list_view::<i32>().value(row), place)?,
        DataType::LargeListView(_) => write_items(out, &*array.as_list_view::<i64>().value(row), place)?,
        DataType::FixedSizeList(..) => write_items(out, &*array.as_fixed_size_list().value(row), place)?,
        DataType::Struct(fields) => {
            let members = fields.iter().zip(array.as_struct().columns());
            let mut separator = b'{';
            for (field, values) in members {
                out.push(separator);
                separator = b',';
                write_text(out, field.name());
                out.push(b':');
                write_value(out, values, row, Place::Nested)?;
            }
            out.extend_from_slice(if separator == b'{' { b"{}" } else { b"}" });
        }
        DataType::Map(..) => {
            let entries = array.as_map().value(row);
            let [keys, values] = entries.columns() else {
                return Err(problem(Reason::WrongType, "a map without values"));
            };
            write_map(out, keys, values)?;
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let values = dictionary.values();
            match dictionary.normalized_keys().get(row).copied().filter(|key| *key < values.len()) {
                Some(key) => write_value(out, values, key, place)?,
                None => return Err(problem(Reason::WrongType, "a value that its dictionary does not have")),
            }
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

fn write_items(out: &mut Vec<u8>, items: &dyn Array, place: Place) -> Result<(), Problem> {
    out.push(b'[');
    for at in 0..items.len() {
        if at > 0 {
            out.push(b',');
        }
        write_value(out, items, at, place.item())?;
    }
    out.push(b']');
    Ok(())
}

/// Writes a map as an object. A key is the text of its value.
fn write_map(out: &mut Vec<u8>, keys: &dyn Array, values: &dyn Array) -> Result<(), Problem> {
    out.push(b'{');
    for at in 0..keys.len() {
        if at > 0 {
            out.push(b',');
        }
        let start = out.len();
        write_value(out, keys, at, Place::Nested)?;
        if matches!(out.get(start), Some(b'{' | b'[') | None) {
            return Err(problem(Reason::WrongType, "a map whose keys are lists or structures"));
        }
        quote_key(out, start);
        out.push(b':');
        write_value(out, values, at, Place::Nested)?;
    }
    out.push(b'}');
    Ok(())
}

/// Makes the value that begins at `start` the name of a member.
fn quote_key(out: &mut Vec<u8>, start: usize) {
    if out.get(start) != Some(&b'"') {
        out.insert(start, b'"');
        out.push(b'"');
    }
}
