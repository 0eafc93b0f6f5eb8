//! Turns the fields of a record into the cells of a row, by the rules of a contract.

use std::borrow::Cow;
use std::collections::HashSet;
use std::ops::Range;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use pinlake_json::{Lexer, Malformed};
use pinlake_schema::decimal::{self, Decimal, DecimalError, DecimalType};
use pinlake_schema::field_name::{fold_case, normalize};
use pinlake_schema::{Checks, Column, ColumnSource, DefaultValue, LetterCase, Scalar, Type};
use serde_json::value::RawValue;

use crate::canonical_json::{write_canonical, write_string};
use crate::compiled_contract::CompiledContract;
use crate::derived::{DerivedColumn, derive_cell};
use crate::field_table::{FieldId, TYPES_FIELD};
use crate::localized_number;
use crate::nested_fields::read_name;
use crate::parsed_record::{FieldValue, ItemType, ParsedRecord, Span};
use crate::reason::{Reason, RecordError, excerpt};
use crate::record_parser;
use crate::refused_value;
use crate::row::{Cell, Row};
use crate::timestamp::{self, TimeValue};
use crate::typed_fields::{BINARY, BINARY_ITEMS};

/// Bytes of a value that an error shows.
const MAX_SHOWN_BYTES: usize = 16;

/// Cleans `record`, which was parsed from `text`, into `row`.
pub(crate) fn clean_row(
    contract: &CompiledContract,
    record: &mut ParsedRecord,
    text: &str,
    row: &mut Row,
) -> Result<(), RecordError> {
    row.clear();
    row.deletes = contract.deletes(record, text);
    for (index, (column, fields)) in contract.contract.columns.iter().zip(&contract.columns).enumerate() {
        if row.deletes && !contract.in_deletes[index] {
            row.cells.push(Cell::Null);
            continue;
        }
        let mut cleaner = ColumnCleaner { column, index, record, text, row };
        // Most values of most contracts.
        if let Some(field) = contract.verbatim[index]
            && let value @ FieldValue::Text(span) = cleaner.record.value(field)
            && !cleaner.means_null(value)
        {
            row.cells.push(Cell::Text(span));
            continue;
        }
        let mut cell = match &column.source {
            ColumnSource::Field(_) => cleaner.clean_field(fields.first().map_or(&[], Vec::as_slice))?,
            ColumnSource::Join { separator, .. } => cleaner.join_fields(fields, separator)?,
            ColumnSource::ArrayOf(_) => cleaner.build_array(fields)?,
            ColumnSource::Rest { except } => cleaner.collect_rest(except, &contract.not_in_rest)?,
            // Its source may come behind it.
            ColumnSource::Derived(_) => {
                row.cells.push(Cell::Null);
                continue;
            }
            ColumnSource::Cleaner => Cell::Null,
        };
        if let Some(default) = &column.default
            && matches!(cell, Cell::Null)
        {
            cell = cleaner.default_cell(default);
        }
        if let Some(checks) = &column.checks {
            cleaner.check(cell, checks)?;
        }
        if column.required && matches!(cell, Cell::Null) {
            return Err(cleaner.missing_error(fields));
        }
        row.cells.push(cell);
    }
    for DerivedColumn { index, source, part } in contract.derived.iter().copied() {
        if row.deletes && !contract.in_deletes[index] {
            continue;
        }
        let cell = derive_cell(part, row.cells[source]);
        let (column, source) = (&contract.contract.columns[index], &contract.contract.columns[source]);
        if column.required && matches!(cell, Cell::Null) {
            let detail = format!("{}: `{}`, from which it is derived, is null", column.name, source.name);
            return Err(RecordError::new(Reason::MissingRequired, detail));
        }
        row.cells[index] = cell;
    }
    Ok(())
}

/// Cleans one value by the rules of a column, as a value of type `scalar`. `text` is the text that its spans are in.
pub(crate) fn clean_value(
    column: &Column,
    scalar: Scalar,
    value: FieldValue,
    record: &mut ParsedRecord,
    text: &str,
    row: &mut Row,
) -> Result<Cell, Reason> {
    let mut cleaner = ColumnCleaner { column, index: 0, record, text, row };
    let value = if cleaner.means_null(value) { FieldValue::Null } else { value };
    cleaner.convert(scalar, value)
}

/// A member of a record.
struct Member<'t> {
    name: Cow<'t, str>,
    /// Its name in quotes, and the colon.
    named: &'t str,
    value: Span,
}

struct ColumnCleaner<'a> {
    column: &'a Column,
    /// The index of the column.
    index: usize,
    record: &'a mut ParsedRecord,
    text: &'a str,
    row: &'a mut Row,
}

impl ColumnCleaner<'_> {
    /// The value of the first alternative that is present and not null, and the index of that alternative.
    fn find_value(&self, alternatives: &[FieldId]) -> (FieldValue, usize) {
        for (at, field) in alternatives.iter().enumerate() {
            match self.record.value(*field) {
                FieldValue::Missing | FieldValue::Null => {}
                value if self.means_null(value) => return (FieldValue::Null, at),
                value => return (value, at),
            }
        }
        (FieldValue::Null, 0)
    }

    #[inline]
    fn means_null(&self, value: FieldValue) -> bool {
        !self.column.null.is_empty() && self.is_null_marker(value)
    }

    fn is_null_marker(&self, value: FieldValue) -> bool {
        let is_marker = |text: &[u8]| self.column.null.iter().any(|marker| marker.as_bytes() == text);
        match value {
            FieldValue::Text(span) | FieldValue::Number(span) | FieldValue::Time(span) => {
                is_marker(self.record.text(span, self.text).as_bytes())
            }
            FieldValue::Refused(span) => {
                is_marker(refused_value::split_reason(self.record.text(span, self.text)).1.as_bytes())
            }
            FieldValue::Bytes(_) => self.bytes(value).is_ok_and(|bytes| is_marker(&bytes)),
            FieldValue::True => is_marker(b"true"),
            FieldValue::False => is_marker(b"false"),
            _ => false,
        }
    }

    fn clean_field(&mut self, alternatives: &[FieldId]) -> Result<Cell, RecordError> {
        let (value, used) = self.find_value(alternatives);
        match self.column.data_type {
            Type::Scalar(scalar) => {
                self.convert(scalar, value).map_err(|reason| self.error(reason, value, 0, used))
            }
            Type::Array(scalar) => self.clean_array(scalar, value, used),
        }
    }

    /// Cleans the elements of an array in the record.
    fn clean_array(&mut self, scalar: Scalar, value: FieldValue, used: usize) -> Result<Cell, RecordError> {
        let (span, item_type) = match value {
            FieldValue::Null => return Ok(Cell::Null),
            FieldValue::Nested(span) if span.is_in_scratch() => {
                return self.clean_array_text(scalar, value, span, used);
            }
            FieldValue::Nested(span) => (span, None),
            FieldValue::TypedItems(item_type, span) => (span, Some(item_type)),
            FieldValue::Text(span) => return self.clean_array_text(scalar, value, span, used),
            FieldValue::Bytes(_) => {
                let span = self.text_of_bytes(value).map_err(|reason| self.error(reason, value, 0, used))?;
                return self.clean_array_text(scalar, value, span, used);
            }
            FieldValue::Refused(span) => {
                let (reason, _) = refused_value::split_reason(self.record.text(span, self.text));
                return Err(self.error(reason, value, 0, used));
            }
            _ => return Err(self.error(Reason::WrongType, value, 0, used)),
        };
        let json = &self.text[span.range()];
        if !json.starts_with('[') {
            return Err(self.error(Reason::WrongType, value, 0, used));
        }
        let start = self.row.items.len();
        let mut lexer = Lexer::new(json.as_bytes());
        lexer.array(|lexer, _| {
            lexer.peek();
            let element_start = lexer.offset();
            lexer.skip_value()?;
            let element = &json[element_start..lexer.offset()];
            let value = match (record_parser::parse_value(element, self.text, self.record)?, item_type) {
                (FieldValue::Text(span), Some(ItemType::Bytes)) => FieldValue::Bytes(span),
                (FieldValue::Text(span), Some(ItemType::BytesAsText)) => {
                    let encoded = BASE64.encode(self.record.text(span, self.text));
                    FieldValue::Bytes(self.record.push_scratch(&encoded))
                }
                (FieldValue::Text(span), Some(ItemType::Time)) => FieldValue::Time(span),
                (value, _) => value,
            };
            let cell = self.clean_element(scalar, value, used)?;
            self.row.items.push(cell);
            Ok::<(), RecordError>(())
        })?;
        Ok(Cell::Items(Span::new(start, self.row.items.len())))
    }

    /// Cleans the elements of an array that is the text of a cell, as in CSV.
    fn clean_array_text(
        &mut self,
        scalar: Scalar,
        value: FieldValue,
        span: Span,
        used: usize,
    ) -> Result<Cell, RecordError> {
        let text = self.record.text(span, self.text);
        if text.trim_ascii().is_empty() {
            return Ok(Cell::Null);
        }
        let Ok(elements) = serde_json::from_str::<Vec<Box<RawValue>>>(text) else {
            return Err(self.error(Reason::WrongType, value, 0, used));
        };
        let start = self.row.items.len();
        for element in elements {
            let json = element.get();
            let value = match json.as_bytes().first() {
                Some(b'"') => match serde_json::from_str::<String>(json) {
                    Ok(text) => FieldValue::Text(self.record.push_scratch(&text)),
                    Err(_) => return Err(self.error(Reason::WrongType, value, 0, used)),
                },
                Some(b'{' | b'[') => FieldValue::Nested(self.record.push_scratch(json)),
                Some(b't') => FieldValue::True,
                Some(b'f') => FieldValue::False,
                Some(b'n') => FieldValue::Null,
                _ => FieldValue::Number(self.record.push_scratch(json)),
            };
            let cell = self.clean_element(scalar, value, used)?;
            self.row.items.push(cell);
        }
        Ok(Cell::Items(Span::new(start, self.row.items.len())))
    }

    fn clean_element(&mut self, scalar: Scalar, value: FieldValue, used: usize) -> Result<Cell, RecordError> {
        let value = if self.means_null(value) { FieldValue::Null } else { value };
        self.convert(scalar, value).map_err(|reason| self.error(reason, value, 0, used))
    }

    /// Builds an array of the values of several fields.
    fn build_array(&mut self, fields: &[Vec<FieldId>]) -> Result<Cell, RecordError> {
        let start = self.row.items.len();
        let mut has_value = false;
        for (part, alternatives) in fields.iter().enumerate() {
            let (value, used) = self.find_value(alternatives);
            let scalar = self.column.data_type.scalar();
            let cell = self.convert(scalar, value).map_err(|reason| self.error(reason, value, part, used))?;
            has_value |= !matches!(cell, Cell::Null);
            self.row.items.push(cell);
        }
        if !has_value {
            self.row.items.truncate(start);
            return Ok(Cell::Null);
        }
        Ok(Cell::Items(Span::new(start, self.row.items.len())))
    }

    /// Joins the texts of several fields, without nulls.
    fn join_fields(&mut self, fields: &[Vec<FieldId>], separator: &str) -> Result<Cell, RecordError> {
        // Converting a value may write to the scratch buffer: convert all of them first, so that the joined text is contiguous.
        let first_item = self.row.items.len();
        for (part, alternatives) in fields.iter().enumerate() {
            let (value, used) = self.find_value(alternatives);
            match self.convert(Scalar::String, value) {
                Ok(Cell::Null) => {}
                Ok(cell) => self.row.items.push(cell),
                Err(reason) => return Err(self.error(reason, value, part, used)),
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
        if !joined {
            return Ok(Cell::Null);
        }
        let span = Span::in_scratch(start, end);
        match self.column.data_type.scalar() {
            Scalar::String => Ok(Cell::Text(span)),
            // A date and a time of day.
            scalar => {
                let value = FieldValue::Text(span);
                self.convert(scalar, value).map_err(|reason| self.error(reason, value, usize::MAX, 0))
            }
        }
    }

    /// Converts one value to a type.
    fn convert(&mut self, scalar: Scalar, value: FieldValue) -> Result<Cell, Reason> {
        if matches!(value, FieldValue::Null | FieldValue::Missing) {
            return Ok(Cell::Null);
        }
        // Bytes that are text are that text.
        let value = match value {
            FieldValue::Bytes(_) if scalar != Scalar::Binary => FieldValue::Text(self.text_of_bytes(value)?),
            value => value,
        };
        let value = match value {
            FieldValue::Refused(span) => {
                return Err(refused_value::split_reason(self.record.text(span, self.text)).0);
            }
            // What is stored as a whole must be usable as a whole.
            FieldValue::Nested(span) | FieldValue::TypedItems(_, span) => {
                match refused_value::find_in(self.record.text(span, self.text)) {
                    Some(reason) => return Err(reason),
                    None => value,
                }
            }
            FieldValue::Text(span) if scalar.is_number() && self.has_number_rules() => {
                self.plain_number(span)?
            }
            value => value,
        };
        match scalar {
            Scalar::String => self.clean_string(value),
            Scalar::Int64 => self.parse_integer(value).map(Cell::Int),
            Scalar::Int32 => {
                let number = self.parse_integer(value)?;
                i32::try_from(number).map_err(|_| Reason::OutOfRange)?;
                Ok(Cell::Int(number))
            }
            Scalar::Float64 => self.parse_float(value).map(Cell::from_f64),
            Scalar::Decimal(own) => {
                let number = self.parse_decimal(value, own)?;
                Ok(self.row.push_decimal(number.unscaled))
            }
            Scalar::Boolean => self.parse_boolean(value).map(Cell::from_bool),
            Scalar::Timestamp => self.parse_timestamp(value).map(Cell::Timestamp),
            Scalar::Date => {
                let day = self.parse_timestamp(value)?.div_euclid(timestamp::MICROS_PER_DAY);
                i32::try_from(day).map(|day| Cell::Date(day.into())).map_err(|_| Reason::BadTimestamp)
            }
            Scalar::Binary => {
                let bytes = self.bytes(value)?;
                Ok(self.row.push_bytes(&bytes))
            }
            Scalar::Json => Ok(Cell::Text(self.json_text(value)?)),
        }
    }

    fn clean_string(&mut self, value: FieldValue) -> Result<Cell, Reason> {
        let mut span = match value {
            FieldValue::Text(span) | FieldValue::Number(span) | FieldValue::Time(span) => span,
            FieldValue::True => self.record.push_scratch("true"),
            FieldValue::False => self.record.push_scratch("false"),
            FieldValue::Nested(span) | FieldValue::TypedItems(_, span)
                if matches!(self.column.data_type, Type::Scalar(_)) =>
            {
                let span = match value {
                    FieldValue::TypedItems(ItemType::Bytes, span) => self.texts_of_bytes(span)?,
                    _ => span,
                };
                let joined = self.join_elements(span)?;
                if self.means_null(FieldValue::Text(joined)) {
                    return Ok(Cell::Null);
                }
                joined
            }
            _ => return Err(Reason::WrongType),
        };
        if self.column.trim {
            span = self.trim(span);
        }
        if let Some(prefix) = &self.column.remove_prefix
            && self.record.text(span, self.text).starts_with(prefix.as_str())
        {
            span = span.without_first(prefix.len());
        }
        if let Some(suffix) = &self.column.remove_suffix
            && self.record.text(span, self.text).ends_with(suffix.as_str())
        {
            span = span.without_last(suffix.len());
        }
        if self.column.trim && (self.column.remove_prefix.is_some() || self.column.remove_suffix.is_some()) {
            span = self.trim(span);
        }
        if let Some(case) = self.column.case {
            span = self.change_case(span, case);
        }
        Ok(Cell::Text(span))
    }

    /// The fields of the record but those that columns read, as a JSON object; null if there is none. `except` has their names, `folded` the
    /// same without regard to case and normal form: a similar name is one of them unless the record has the very name.
    fn collect_rest(&mut self, except: &[String], folded: &HashSet<String>) -> Result<Cell, RecordError> {
        let text = self.text;
        let (mut members, mut similar, mut exact) = (Vec::new(), Vec::new(), Vec::new());
        let mut types = serde_json::Map::new();
        let mut lexer = Lexer::new(text.as_bytes());
        lexer.object(|lexer, _| {
            lexer.peek();
            let start = lexer.offset();
            let name = read_name(lexer, text)?;
            lexer.colon()?;
            // The depth is limited for each value.
            lexer.peek();
            let value_start = lexer.offset();
            let mut value = Lexer::new(lexer.rest());
            value.skip_value()?;
            lexer.advance(value.offset());
            let value = Span::new(value_start, lexer.offset());
            let member = Member { name, named: &text[start..value_start], value };
            let fold = |name: &str| fold_case(&normalize(name));
            if except.binary_search_by(|own| own.as_str().cmp(&member.name)).is_ok() {
                exact.push(fold(&member.name));
            } else if folded.contains(&fold(&member.name)) {
                similar.push((fold(&member.name), member));
            } else if member.name == TYPES_FIELD && text[value_start..].starts_with('{') {
                types = serde_json::from_str(&text[value.range()]).unwrap_or_default();
            } else {
                members.push(member);
            }
            Ok::<(), Malformed>(())
        })?;
        members
            .extend(similar.into_iter().filter(|(name, _)| exact.contains(name)).map(|(_, member)| member));
        if members.is_empty() {
            return Ok(Cell::Null);
        }
        let mut object = String::from("{");
        for Member { name, named, value } in members {
            if object.len() > 1 {
                object.push(',');
            }
            object.push_str(named);
            let stated = types.get(&*name).and_then(serde_json::Value::as_str);
            let texts = self.write_texts(value, stated, &mut object);
            texts.map_err(|reason| self.error(reason, FieldValue::Nested(value), 0, 0))?;
        }
        object.push('}');
        let sent = self.record.push_scratch(&object);
        if let Some(reason) = refused_value::find_in(&object) {
            return Err(self.error(reason, FieldValue::Nested(sent), 0, 0));
        }
        let canonical = self.make_canonical(sent);
        canonical.map(Cell::Text).map_err(|reason| self.error(reason, FieldValue::Nested(sent), 0, 0))
    }

    /// Writes the JSON of a member, with the texts that bytes are. `stated` is its type in a typed record.
    fn write_texts(&mut self, value: Span, stated: Option<&str>, out: &mut String) -> Result<(), Reason> {
        let json = &self.text[value.range()];
        match stated {
            Some(BINARY) if json.starts_with('"') => {
                let span = self.text_of_bytes(FieldValue::Bytes(value.without_first(1).without_last(1)))?;
                write_string(self.record.text(span, self.text), out);
            }
            Some(BINARY_ITEMS) if json.starts_with('[') => {
                let span = self.texts_of_bytes(value)?;
                out.push_str(self.record.text(span, self.text));
            }
            _ => out.push_str(json),
        }
        Ok(())
    }

    fn trim(&self, span: Span) -> Span {
        let text = self.record.text(span, self.text);
        let begun = text.trim_start();
        let span = span.without_first(text.len() - begun.len());
        span.without_last(begun.len() - begun.trim_end().len())
    }

    fn change_case(&mut self, span: Span, case: LetterCase) -> Span {
        let text = self.record.text(span, self.text);
        let is_other = |byte: u8| match case {
            LetterCase::Lower => byte.is_ascii_uppercase(),
            LetterCase::Upper => byte.is_ascii_lowercase(),
        };
        if !text.bytes().any(|byte| !byte.is_ascii() || is_other(byte)) {
            return span;
        }
        let changed = &mut self.row.text;
        changed.clear();
        match case {
            LetterCase::Lower => changed.extend(text.chars().flat_map(char::to_lowercase)),
            LetterCase::Upper => changed.extend(text.chars().flat_map(char::to_uppercase)),
        }
        self.record.push_scratch(changed)
    }

    fn default_cell(&mut self, default: &DefaultValue) -> Cell {
        match default {
            DefaultValue::Text(text) => Cell::Text(self.record.push_scratch(text)),
            DefaultValue::Int(number) => Cell::Int(*number),
            DefaultValue::Float(number) => Cell::from_f64(*number),
            DefaultValue::Decimal(number) => self.row.push_decimal(number.unscaled),
            DefaultValue::Boolean(value) => Cell::from_bool(*value),
        }
    }

    /// Refuses a value that is not allowed.
    fn check(&self, cell: Cell, checks: &Checks) -> Result<(), RecordError> {
        let column = &self.column.name;
        let exceeded = match cell {
            Cell::Text(span) => {
                let text = self.record.text(span, self.text);
                if checks.allows_text(text) {
                    return Ok(());
                }
                let rule = match &checks.matches {
                    Some(pattern) if !pattern.is_match(text) => format!("does not match `{pattern}`"),
                    _ => "is not one of the allowed values".to_owned(),
                };
                let detail = format!("{column}: \"{}\" {rule}", excerpt(text));
                return Err(RecordError::new(Reason::NotAllowed, detail));
            }
            Cell::Int(number) => {
                checks.exceeded_by_int(number).map(|exceeded| (number.to_string(), exceeded))
            }
            Cell::Float(bits) => {
                let number = f64::from_bits(bits);
                checks.exceeded_by_float(number).map(|exceeded| (number.to_string(), exceeded))
            }
            Cell::Decimal(at) => {
                let unscaled = self.row.decimals[at];
                let scale = match self.column.data_type.scalar() {
                    Scalar::Decimal(own) => own.scale(),
                    _ => 0,
                };
                let found = || Decimal { unscaled, scale }.normalize().to_string();
                checks.exceeded_by_decimal(unscaled).map(|exceeded| (found(), exceeded))
            }
            _ => None,
        };
        let Some((found, (rule, bound))) = exceeded else { return Ok(()) };
        Err(RecordError::new(Reason::OutOfRange, format!("{column}: {found} is {rule} {bound}")))
    }

    /// Joins the elements of an array of texts by commas, as most clients send them.
    fn join_elements(&mut self, array: Span) -> Result<Span, Reason> {
        let json = self.record.text(array, self.text);
        let texts: Vec<String> = serde_json::from_str(json).map_err(|_| Reason::WrongType)?;
        let joined = texts.join(",");
        Ok(self.record.push_scratch(&joined))
    }

    /// The text that bytes are.
    fn text_of_bytes(&mut self, value: FieldValue) -> Result<Span, Reason> {
        let text = String::from_utf8(self.bytes(value)?).map_err(|_| Reason::WrongType)?;
        Ok(self.record.push_scratch(&text))
    }

    /// The bytes that a text is in base64.
    fn bytes(&self, value: FieldValue) -> Result<Vec<u8>, Reason> {
        match value {
            FieldValue::Text(span) | FieldValue::Number(span) | FieldValue::Bytes(span) => {
                self.record.bytes(span, self.text).ok_or(Reason::WrongType)
            }
            _ => Err(Reason::WrongType),
        }
    }

    /// The text of a number or string, without white space around it.
    fn number_text(&self, value: FieldValue) -> Result<&str, Reason> {
        match value {
            FieldValue::Text(span) | FieldValue::Number(span) | FieldValue::Bytes(span) => {
                Ok(self.record.text(span, self.text).trim_ascii())
            }
            _ => Err(Reason::WrongType),
        }
    }

    /// Whether texts write numbers in another way than JSON.
    fn has_number_rules(&self) -> bool {
        let Column { locale, remove_prefix, remove_suffix, .. } = self.column;
        locale.is_some() || remove_prefix.is_some() || remove_suffix.is_some()
    }

    /// The text of a number without its prefix and suffix, as JSON writes it.
    fn plain_number(&mut self, span: Span) -> Result<FieldValue, Reason> {
        let Column { counts, remove_prefix, remove_suffix, locale, .. } = self.column;
        let written = self.record.text(span, self.text).trim();
        // The sign may stand before the prefix: -$12.50.
        let (sign, unsigned) = match written.strip_prefix('-') {
            Some(unsigned) => ("-", unsigned),
            None => ("", written),
        };
        let prefix_bytes = |text: &str| {
            remove_prefix.as_ref().filter(|prefix| text.starts_with(prefix.as_str())).map(String::len)
        };
        let (sign, rest) = match (prefix_bytes(written), prefix_bytes(unsigned)) {
            (Some(prefix), _) => ("", written[prefix..].trim_start()),
            (None, Some(prefix)) => (sign, unsigned[prefix..].trim_start()),
            (None, None) => ("", written),
        };
        let rest =
            remove_suffix.as_ref().and_then(|suffix| rest.strip_suffix(suffix.as_str())).unwrap_or(rest);
        let rest = rest.trim_end();
        let number = &mut self.row.text;
        number.clear();
        number.push_str(sign);
        match locale {
            None => number.push_str(rest),
            Some(locale) => {
                let digits = if *counts { decimal::split_count(rest).0 } else { rest };
                let written = localized_number::write_plain(digits, *locale, number);
                written.ok_or(if *counts { Reason::BadCount } else { Reason::WrongType })?;
                number.push_str(&rest[digits.len()..]);
            }
        }
        Ok(FieldValue::Text(self.record.push_scratch(number)))
    }

    fn parse_integer(&self, value: FieldValue) -> Result<i64, Reason> {
        let text = self.number_text(value)?;
        let (text, exponent) = if self.column.counts { decimal::split_count(text) } else { (text, 0) };
        decimal::parse_scaled(text, exponent).map_err(|error| match error {
            DecimalError::TooLarge => Reason::OutOfRange,
            DecimalError::Malformed | DecimalError::Fraction if self.column.counts => Reason::BadCount,
            DecimalError::Malformed | DecimalError::Fraction => Reason::WrongType,
        })
    }

    /// A number with more digits than the type has is out of range: it is never rounded.
    fn parse_decimal(&self, value: FieldValue, data_type: DecimalType) -> Result<Decimal, Reason> {
        let text = self.number_text(value)?;
        let (text, exponent) = if self.column.counts { decimal::split_count(text) } else { (text, 0) };
        data_type.parse(text, exponent).map_err(|error| match error {
            DecimalError::TooLarge | DecimalError::Fraction => Reason::OutOfRange,
            DecimalError::Malformed if self.column.counts => Reason::BadCount,
            DecimalError::Malformed => Reason::WrongType,
        })
    }

    fn parse_float(&self, value: FieldValue) -> Result<f64, Reason> {
        let text = self.number_text(value)?;
        let (text, exponent) = if self.column.counts { decimal::split_count(text) } else { (text, 0) };
        let parsed = match exponent {
            0 => text.parse::<f64>(),
            _ => format!("{text}e{exponent}").parse::<f64>(),
        };
        match parsed {
            Ok(number) if number.is_finite() => Ok(number),
            // Too large, or `NaN` and `inf`, which no column contains.
            Ok(_) => Err(Reason::OutOfRange),
            Err(_) if self.column.counts => Err(Reason::BadCount),
            Err(_) => Err(Reason::WrongType),
        }
    }

    fn parse_boolean(&self, value: FieldValue) -> Result<bool, Reason> {
        match value {
            FieldValue::True => return Ok(true),
            FieldValue::False => return Ok(false),
            _ => {}
        }
        // The words of PostgreSQL, which databases and spreadsheets write.
        const TRUE: [&str; 6] = ["true", "1", "t", "yes", "y", "on"];
        const FALSE: [&str; 6] = ["false", "0", "f", "no", "n", "off"];
        let text = self.number_text(value)?;
        let is_one_of = |words: [&str; 6]| words.iter().any(|word| text.eq_ignore_ascii_case(word));
        let is_declared = |words: &[String]| {
            words.iter().any(|word| {
                word.eq_ignore_ascii_case(text)
                    || !text.is_ascii() && word.to_lowercase() == text.to_lowercase()
            })
        };
        // What the contract says takes precedence.
        if is_declared(&self.column.true_texts) {
            Ok(true)
        } else if is_declared(&self.column.false_texts) {
            Ok(false)
        } else if is_one_of(TRUE) {
            Ok(true)
        } else if is_one_of(FALSE) {
            Ok(false)
        } else {
            Err(Reason::WrongType)
        }
    }

    fn parse_timestamp(&self, value: FieldValue) -> Result<i64, Reason> {
        let text = |span| self.record.text(span, self.text);
        let value = match value {
            FieldValue::Text(span) => TimeValue::Text(text(span).trim_ascii()),
            FieldValue::Number(span) => TimeValue::Number(text(span)),
            FieldValue::Nested(span) => TimeValue::Nested(text(span)),
            FieldValue::Time(span) => {
                return timestamp::parse_iso(text(span), self.column.zone).ok_or(Reason::BadTimestamp);
            }
            _ => return Err(Reason::BadTimestamp),
        };
        timestamp::parse(value, &self.column.formats, self.column.zone).ok_or(Reason::BadTimestamp)
    }

    /// The canonical JSON text of a value. A string that has a JSON object or array as its text is that: in CSV there
    /// is no other way to write one.
    fn json_text(&mut self, value: FieldValue) -> Result<Span, Reason> {
        let sent = match value {
            FieldValue::Number(span) | FieldValue::Nested(span) => span,
            FieldValue::TypedItems(ItemType::Time | ItemType::BytesAsText, span) => span,
            FieldValue::TypedItems(ItemType::Bytes, span) => self.texts_of_bytes(span)?,
            FieldValue::Text(span) | FieldValue::Time(span) => return self.json_of_text(span),
            FieldValue::True => self.record.push_scratch("true"),
            FieldValue::False => self.record.push_scratch("false"),
            FieldValue::Bytes(_) | FieldValue::Refused(_) | FieldValue::Null | FieldValue::Missing => {
                return Err(Reason::WrongType);
            }
        };
        self.make_canonical(sent)
    }

    fn json_of_text(&mut self, span: Span) -> Result<Span, Reason> {
        let text = self.record.text(span, self.text);
        let is_container = pinlake_payload::is_container(text.as_bytes());
        let sent = if span.is_in_scratch() {
            let text = text.to_owned();
            let start = self.record.scratch.len();
            write_string(&text, &mut self.record.scratch);
            Span::in_scratch(start, self.record.scratch.len())
        } else {
            // Include the quotes, which surround it in the record.
            let Range { start, end } = span.range();
            Span::new(start - 1, end + 1)
        };
        if !is_container {
            return Ok(sent);
        }
        let canonical = self.make_canonical(span)?;
        self.row.sent_json.retain(|(column, _)| *column != self.index);
        self.row.sent_json.push((self.index, Cell::Text(sent)));
        Ok(canonical)
    }

    /// The canonical form of a JSON text, and remembers the text as it was sent if it is another one.
    fn make_canonical(&mut self, sent: Span) -> Result<Span, Reason> {
        let start = self.record.scratch.len();
        let ParsedRecord { scratch, .. } = &mut *self.record;
        let written = if sent.is_in_scratch() {
            let json = scratch[sent.range()].to_owned();
            write_canonical(&json, scratch, &mut self.row.json_members)
        } else {
            write_canonical(&self.text[sent.range()], scratch, &mut self.row.json_members)
        };
        written.map_err(|_| Reason::WrongType)?;
        let canonical = Span::in_scratch(start, self.record.scratch.len());
        if self.record.text(canonical, self.text) == self.record.text(sent, self.text) {
            self.record.scratch.truncate(start);
            return Ok(sent);
        }
        self.row.sent_json.push((self.index, Cell::Text(sent)));
        Ok(canonical)
    }

    /// An array of bytes as an array of the texts that they are.
    fn texts_of_bytes(&mut self, span: Span) -> Result<Span, Reason> {
        let items: Vec<Option<String>> =
            serde_json::from_str(self.record.text(span, self.text)).map_err(|_| Reason::WrongType)?;
        let decode = |item: Option<String>| {
            item.map(|item| BASE64.decode(item).ok().and_then(|bytes| String::from_utf8(bytes).ok()))
        };
        let texts = items.into_iter().map(|item| match decode(item) {
            Some(None) => Err(Reason::WrongType),
            Some(text) => Ok(text),
            None => Ok(None),
        });
        let texts = texts.collect::<Result<Vec<_>, _>>()?;
        let text = serde_json::to_string(&texts).map_err(|_| Reason::WrongType)?;
        Ok(self.record.push_scratch(&text))
    }

    /// Describes a value that was refused: `ind (from index): "abc" is not an int64`.
    fn error(&self, reason: Reason, value: FieldValue, part: usize, used: usize) -> RecordError {
        let found = match value {
            FieldValue::Text(span) | FieldValue::Time(span) => {
                format!("\"{}\"", excerpt(self.record.text(span, self.text)))
            }
            FieldValue::Number(span) | FieldValue::Nested(span) | FieldValue::TypedItems(_, span) => {
                excerpt(self.record.text(span, self.text))
            }
            FieldValue::Refused(span) => {
                excerpt(refused_value::split_reason(self.record.text(span, self.text)).1)
            }
            FieldValue::Bytes(_) => describe_bytes(&self.bytes(value).unwrap_or_default()),
            FieldValue::True => "true".to_owned(),
            FieldValue::False => "false".to_owned(),
            FieldValue::Null | FieldValue::Missing => "null".to_owned(),
        };
        let column = &self.column.name;
        let field = self.column.source.fields().get(part).and_then(|names| names.get(used));
        let location = match field {
            Some(field) if field != column => format!("{column} (from {field})"),
            _ => column.clone(),
        };
        let data_type = self.column.data_type;
        let detail = match reason {
            Reason::OutOfRange => format!("{location}: {found} does not fit {data_type}"),
            Reason::BadTimestamp => {
                let zone = self.column.zone.map(|zone| format!(", or no time of {zone}"));
                format!(
                    "{location}: {found} is in none of the formats, or no date there is{}",
                    zone.unwrap_or_default()
                )
            }
            Reason::BadCount => format!("{location}: {found} is not a count such as 12, 12k, 1.2M"),
            _ => {
                let locale = self.column.locale.map(|own| format!(" as `{}` writes it", own.as_str()));
                format!(
                    "{location}: {found} is not {}{}",
                    with_article(data_type),
                    locale.unwrap_or_default()
                )
            }
        };
        RecordError::new(reason, detail)
    }

    fn missing_error(&self, fields: &[Vec<FieldId>]) -> RecordError {
        let names: Vec<String> =
            self.column.source.fields().iter().flatten().map(|name| format!("`{name}`")).collect();
        let present = fields.iter().flatten().any(|field| self.record.has(*field));
        let what = if present { "null in" } else { "there is no" };
        RecordError::new(
            Reason::MissingRequired,
            format!("{}: {what} {}", self.column.name, names.join(" or ")),
        )
    }
}

/// `3 bytes (ff00ff)`
fn describe_bytes(bytes: &[u8]) -> String {
    let digits: String = bytes.iter().take(MAX_SHOWN_BYTES).map(|byte| format!("{byte:02x}")).collect();
    let rest = if bytes.len() > MAX_SHOWN_BYTES { "…" } else { "" };
    format!("{} bytes ({digits}{rest})", bytes.len())
}

fn with_article(data_type: Type) -> String {
    let article = if data_type.to_string().starts_with(['a', 'i']) { "an" } else { "a" };
    format!("{article} {data_type}")
}
