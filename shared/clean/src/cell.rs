//! From the fields of a record to the cells of a clean row, by the rules of a contract.

use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use pinlake_schema::{Column, Scalar, Source, Type};
use serde_json::value::RawValue;

use crate::compiled_contract::CompiledContract;
use crate::decimal::{self, NotANumber};
use crate::fields::FieldId;
use crate::reason::{Fault, Reason, shown};
use crate::record::{Record, Slot, Span};
use crate::timestamp::{self, Written};

/// One value of a row. Whatever it is, it is one number wide: see [`Span`].
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
    /// A range of the row's bytes.
    Bytes(Span),
    /// A range of the row's items.
    Items(Span),
}

impl Cell {
    pub(crate) fn bool(value: bool) -> Cell {
        if value { Cell::True } else { Cell::False }
    }

    pub(crate) fn float(value: f64) -> Cell {
        Cell::Float(value.to_bits())
    }
}

/// The cells of the row at hand, in the contract's order. Kept from row to row, so that none allocates.
#[derive(Debug, Default)]
pub(crate) struct Row {
    pub(crate) cells: Vec<Cell>,
    pub(crate) items: Vec<Cell>,
    pub(crate) bytes: Vec<u8>,
}

impl Row {
    pub(crate) fn clear(&mut self) {
        self.cells.clear();
        self.items.clear();
        self.bytes.clear();
    }

    pub(crate) fn keep(&mut self, bytes: &[u8]) -> Cell {
        let start = self.bytes.len();
        self.bytes.extend_from_slice(bytes);
        Cell::Bytes(Span::of(start, self.bytes.len()))
    }
}

/// A row and the texts that its cells point into.
#[derive(Clone, Copy)]
pub(crate) struct View<'a> {
    pub(crate) row: &'a Row,
    pub(crate) record: &'a Record,
    pub(crate) text: &'a str,
}

impl<'a> View<'a> {
    pub(crate) fn text_of(self, span: Span) -> &'a str {
        self.record.text(span, self.text)
    }
}

/// Cleans the record that `record` has read from `text` into `row`.
pub(crate) fn clean(
    plan: &CompiledContract,
    record: &mut Record,
    text: &str,
    row: &mut Row,
) -> Result<(), Fault> {
    row.clear();
    for (column, fields) in plan.contract.columns.iter().zip(&plan.columns) {
        let mut cleaner = Cleaner { column, record, text, row };
        let cell = match &column.source {
            Source::Field(_) => cleaner.field(fields.first().map_or(&[], Vec::as_slice))?,
            Source::Join { separator, .. } => cleaner.join(fields, separator)?,
            Source::ArrayOf(_) => cleaner.array_of(fields)?,
            Source::Cleaner => Cell::Null,
        };
        if column.required && matches!(cell, Cell::Null) {
            return Err(cleaner.missing(fields));
        }
        row.cells.push(cell);
    }
    Ok(())
}

struct Cleaner<'a> {
    column: &'a Column,
    record: &'a mut Record,
    text: &'a str,
    row: &'a mut Row,
}

impl Cleaner<'_> {
    /// The value of the first of the alternatives that has one, and which that was.
    fn value(&self, alternatives: &[FieldId]) -> (Slot, usize) {
        for (at, field) in alternatives.iter().enumerate() {
            match self.record.slot(*field) {
                Slot::Missing | Slot::Null => {}
                slot if self.means_null(slot) => return (Slot::Null, at),
                slot => return (slot, at),
            }
        }
        (Slot::Null, 0)
    }

    fn means_null(&self, slot: Slot) -> bool {
        match slot {
            Slot::Text(span) | Slot::Number(span) if !self.column.null.is_empty() => {
                let text = self.record.text(span, self.text);
                self.column.null.iter().any(|marker| marker == text)
            }
            _ => false,
        }
    }

    fn field(&mut self, alternatives: &[FieldId]) -> Result<Cell, Fault> {
        let (slot, used) = self.value(alternatives);
        match self.column.data_type {
            Type::Scalar(scalar) => {
                self.convert(scalar, slot).map_err(|reason| self.fault(reason, slot, 0, used))
            }
            Type::Array(scalar) => self.array(scalar, slot, used),
        }
    }

    /// The elements of an array of the record.
    fn array(&mut self, scalar: Scalar, slot: Slot, used: usize) -> Result<Cell, Fault> {
        let span = match slot {
            Slot::Null => return Ok(Cell::Null),
            Slot::Nested(span) => span,
            _ => return Err(self.fault(Reason::WrongType, slot, 0, used)),
        };
        let json = &self.text[span.range()];
        let Ok(elements) = serde_json::from_str::<Vec<&RawValue>>(json) else {
            return Err(self.fault(Reason::WrongType, slot, 0, used));
        };
        let start = self.row.items.len();
        for element in elements {
            let slot = self.record.slot_of(element.get(), self.text)?;
            let slot = if self.means_null(slot) { Slot::Null } else { slot };
            let cell = self.convert(scalar, slot).map_err(|reason| self.fault(reason, slot, 0, used))?;
            self.row.items.push(cell);
        }
        Ok(Cell::Items(Span::of(start, self.row.items.len())))
    }

    /// An array of several fields' values.
    fn array_of(&mut self, fields: &[Vec<FieldId>]) -> Result<Cell, Fault> {
        let start = self.row.items.len();
        let mut known = false;
        for (part, alternatives) in fields.iter().enumerate() {
            let (slot, used) = self.value(alternatives);
            let scalar = self.column.data_type.scalar();
            let cell = self.convert(scalar, slot).map_err(|reason| self.fault(reason, slot, part, used))?;
            known |= !matches!(cell, Cell::Null);
            self.row.items.push(cell);
        }
        if !known {
            self.row.items.truncate(start);
            return Ok(Cell::Null);
        }
        Ok(Cell::Items(Span::of(start, self.row.items.len())))
    }

    /// The texts of several fields, nulls left out.
    fn join(&mut self, fields: &[Vec<FieldId>], separator: &str) -> Result<Cell, Fault> {
        // A text of an array or a number may go to the scratch on the way: collect first, then write in one run.
        let first_item = self.row.items.len();
        for (part, alternatives) in fields.iter().enumerate() {
            let (slot, used) = self.value(alternatives);
            match self.convert(Scalar::String, slot) {
                Ok(Cell::Null) => {}
                Ok(cell) => self.row.items.push(cell),
                Err(reason) => return Err(self.fault(reason, slot, part, used)),
            }
        }
        let start = self.record.scratch.len();
        for at in first_item..self.row.items.len() {
            if at > first_item {
                self.record.scratch.push_str(separator);
            }
            match self.row.items[at] {
                Cell::Text(span) if span.is_in_scratch() => {
                    self.record.scratch.extend_from_within(span.range());
                }
                Cell::Text(span) => self.record.scratch.push_str(&self.text[span.range()]),
                _ => {}
            }
        }
        let joined = self.row.items.len() > first_item;
        self.row.items.truncate(first_item);
        let end = self.record.scratch.len();
        Ok(match joined {
            true => Cell::Text(Span::in_scratch(start, end)),
            false => Cell::Null,
        })
    }

    /// One value in the type that is wanted.
    fn convert(&mut self, scalar: Scalar, slot: Slot) -> Result<Cell, Reason> {
        if matches!(slot, Slot::Null | Slot::Missing) {
            return Ok(Cell::Null);
        }
        match scalar {
            Scalar::String => self.string(slot),
            Scalar::Int64 => self.whole(slot).map(Cell::Int),
            Scalar::Int32 => {
                let number = self.whole(slot)?;
                i32::try_from(number).map_err(|_| Reason::OutOfRange)?;
                Ok(Cell::Int(number))
            }
            Scalar::Float64 => self.float(slot).map(Cell::float),
            Scalar::Boolean => self.boolean(slot).map(Cell::bool),
            Scalar::Timestamp => self.moment(slot).map(Cell::Timestamp),
            Scalar::Date => {
                let day = self.moment(slot)?.div_euclid(timestamp::MICROS_PER_DAY);
                i32::try_from(day).map(|day| Cell::Date(day.into())).map_err(|_| Reason::BadTimestamp)
            }
            Scalar::Binary => {
                let bytes = BASE64.decode(self.number_text(slot)?).map_err(|_| Reason::WrongType)?;
                Ok(self.row.keep(&bytes))
            }
            Scalar::Json => Ok(Cell::Text(self.json(slot)?)),
        }
    }

    fn string(&mut self, slot: Slot) -> Result<Cell, Reason> {
        let mut span = match slot {
            Slot::Text(span) | Slot::Number(span) => span,
            Slot::True => self.record.keep("true"),
            Slot::False => self.record.keep("false"),
            _ => return Err(Reason::WrongType),
        };
        if let Some(prefix) = &self.column.remove_prefix
            && self.record.text(span, self.text).starts_with(prefix.as_str())
        {
            span = span.without_first(prefix.len());
        }
        Ok(Cell::Text(span))
    }

    /// The text of something that is written as a number or as a string. Blanks around it mean nothing.
    fn number_text(&self, slot: Slot) -> Result<&str, Reason> {
        match slot {
            Slot::Text(span) | Slot::Number(span) => Ok(self.record.text(span, self.text).trim_ascii()),
            _ => Err(Reason::WrongType),
        }
    }

    fn whole(&self, slot: Slot) -> Result<i64, Reason> {
        let text = self.number_text(slot)?;
        let (text, shift) = if self.column.counts { decimal::split_count(text) } else { (text, 0) };
        decimal::whole(text, shift).map_err(|error| match error {
            NotANumber::TooBig => Reason::OutOfRange,
            NotANumber::Malformed | NotANumber::Fraction if self.column.counts => Reason::BadCount,
            NotANumber::Malformed | NotANumber::Fraction => Reason::WrongType,
        })
    }

    fn float(&self, slot: Slot) -> Result<f64, Reason> {
        let text = self.number_text(slot)?;
        let (text, shift) = if self.column.counts { decimal::split_count(text) } else { (text, 0) };
        let parsed = match shift {
            0 => text.parse::<f64>(),
            _ => format!("{text}e{shift}").parse::<f64>(),
        };
        match parsed {
            Ok(number) if number.is_finite() => Ok(number),
            // Too large for the type, or `NaN` and `inf`, which no column holds.
            Ok(_) => Err(Reason::OutOfRange),
            Err(_) if self.column.counts => Err(Reason::BadCount),
            Err(_) => Err(Reason::WrongType),
        }
    }

    fn boolean(&self, slot: Slot) -> Result<bool, Reason> {
        match slot {
            Slot::True => return Ok(true),
            Slot::False => return Ok(false),
            _ => {}
        }
        match self.number_text(slot)? {
            "1" => Ok(true),
            "0" => Ok(false),
            text if text.eq_ignore_ascii_case("true") => Ok(true),
            text if text.eq_ignore_ascii_case("false") => Ok(false),
            _ => Err(Reason::WrongType),
        }
    }

    fn moment(&self, slot: Slot) -> Result<i64, Reason> {
        let text = |span| self.record.text(span, self.text);
        let written = match slot {
            Slot::Text(span) => Written::Text(text(span).trim_ascii()),
            Slot::Number(span) => Written::Number(text(span)),
            Slot::Nested(span) => Written::Nested(text(span)),
            _ => return Err(Reason::BadTimestamp),
        };
        timestamp::parse(written, &self.column.formats).ok_or(Reason::BadTimestamp)
    }

    fn json(&mut self, slot: Slot) -> Result<Span, Reason> {
        Ok(match slot {
            Slot::Number(span) | Slot::Nested(span) => span,
            // With the quotes around it, which stand in the record too.
            Slot::Text(span) if !span.is_in_scratch() => {
                let Range { start, end } = span.range();
                Span::of(start - 1, end + 1)
            }
            Slot::Text(span) => {
                let text = serde_json::to_string(self.record.text(span, self.text));
                self.record.keep(&text.map_err(|_| Reason::WrongType)?)
            }
            Slot::True => self.record.keep("true"),
            Slot::False => self.record.keep("false"),
            Slot::Null | Slot::Missing => return Err(Reason::WrongType),
        })
    }

    /// `ind (from index): "abc" is not an int64`.
    fn fault(&self, reason: Reason, slot: Slot, part: usize, used: usize) -> Fault {
        let found = match slot {
            Slot::Text(span) => format!("\"{}\"", shown(self.record.text(span, self.text))),
            Slot::Number(span) | Slot::Nested(span) => shown(self.record.text(span, self.text)),
            Slot::True => "true".to_owned(),
            Slot::False => "false".to_owned(),
            Slot::Null | Slot::Missing => "null".to_owned(),
        };
        let column = &self.column.name;
        let field = self.column.source.fields().get(part).and_then(|names| names.get(used));
        let place = match field {
            Some(field) if field != column => format!("{column} (from {field})"),
            _ => column.clone(),
        };
        let data_type = self.column.data_type;
        let detail = match reason {
            Reason::OutOfRange => format!("{place}: {found} does not fit {data_type}"),
            Reason::BadTimestamp => {
                format!("{place}: {found} is in none of the formats, or no date there is")
            }
            Reason::BadCount => format!("{place}: {found} is not a count such as 12, 12k, 1.2M"),
            _ => format!("{place}: {found} is not {}", with_article(data_type)),
        };
        Fault::new(reason, detail)
    }

    fn missing(&self, fields: &[Vec<FieldId>]) -> Fault {
        let names: Vec<String> =
            self.column.source.fields().iter().flatten().map(|name| format!("`{name}`")).collect();
        let present = fields.iter().flatten().any(|field| self.record.has(*field));
        let what = if present { "null in" } else { "there is no" };
        Fault::new(Reason::MissingRequired, format!("{}: {what} {}", self.column.name, names.join(" or ")))
    }
}

fn with_article(data_type: Type) -> String {
    let article = if data_type.to_string().starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {data_type}")
}
