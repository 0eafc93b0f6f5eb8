//! Parses any record with `serde_json`, or explains what is wrong with it.

use std::ops::Range;

use pinlake_json::{Lexer, MAX_DEPTH};
use serde::Deserializer as _;
use serde::de::{DeserializeSeed, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::field_table::{FieldId, FieldTable, ReadAs};
use crate::parsed_record::{FieldValue, ParsedRecord, Span};
use crate::reason::{Reason, RecordError, excerpt};
use crate::refused_value;

/// Parses a record of any form. Afterwards `record` has the fields of this record, also after an error.
pub(super) fn parse(
    text: &str,
    record: &mut ParsedRecord,
    fields: &mut FieldTable,
) -> Result<(), RecordError> {
    if !text.trim_start_matches([' ', '\t', '\n', '\r']).starts_with('{') {
        record.clear();
        return Err(match serde_json::from_str::<IgnoredAny>(text) {
            Ok(_) => {
                let detail = format!("a record is an object, this is {}", excerpt(text));
                RecordError::new(Reason::NotAnObject, detail)
            }
            Err(error) => malformed(&error),
        });
    }
    match parse_object(text, record, fields, false) {
        Ok(ParseOutcome::Complete) => Ok(()),
        // Also after an error, because errors must not depend on how a field is read: serde_json rejects the number 1e400, which is
        // valid JSON but out of the range of a column.
        Ok(ParseOutcome::TypeMismatch) | Err(_) => parse_object(text, record, fields, true).map(|_| ()),
    }
}

/// Parses the JSON text of one value, which is a slice of the record's `text`.
pub(crate) fn parse_value(
    raw: &str,
    text: &str,
    record: &mut ParsedRecord,
) -> Result<FieldValue, RecordError> {
    let span = span_in(raw, text);
    Ok(match raw.as_bytes().first() {
        Some(b'"') if memchr::memchr(b'\\', raw.as_bytes()).is_some() => {
            let mut json = serde_json::Deserializer::from_str(raw);
            let unescaped = json.deserialize_str(UnescapeVisitor(record));
            FieldValue::Text(unescaped.map_err(|error| malformed(&error))?)
        }
        Some(b'"') => {
            let Range { start, end } = span.range();
            FieldValue::Text(Span::new(start + 1, end - 1))
        }
        Some(b'{' | b'[') => {
            check_depth(raw)?;
            refused_value::nested_value(raw, span)
        }
        Some(b't') => FieldValue::True,
        Some(b'f') => FieldValue::False,
        Some(b'n') => FieldValue::Null,
        _ => FieldValue::Number(span),
    })
}

fn parse_object(
    text: &str,
    record: &mut ParsedRecord,
    fields: &mut FieldTable,
    all_raw: bool,
) -> Result<ParseOutcome, RecordError> {
    record.clear();
    let mut visitor = RecordVisitor { record, fields, text, all_raw, has_mismatch: false, error: None };
    let mut json = serde_json::Deserializer::from_str(text);
    let result = json.deserialize_map(&mut visitor).and_then(|()| json.end());
    let (has_mismatch, error) = (visitor.has_mismatch, visitor.error);
    match (result, error) {
        (Err(error), None) => Err(malformed(&error)),
        (_, Some(error)) => Err(error),
        (Ok(()), None) if has_mismatch => Ok(ParseOutcome::TypeMismatch),
        (Ok(()), None) => Ok(ParseOutcome::Complete),
    }
}

enum ParseOutcome {
    Complete,
    /// A value that was read as a string was not one, and is missing.
    TypeMismatch,
}

fn malformed(error: &serde_json::Error) -> RecordError {
    RecordError::new(Reason::MalformedJson, error.to_string())
}

/// The span of `piece`, which is a slice of `text`.
fn span_in(piece: &str, text: &str) -> Span {
    let start = piece.as_ptr().addr() - text.as_ptr().addr();
    Span::new(start, start + piece.len())
}

/// Checks the depth of JSON text that is known to be well-formed.
fn check_depth(json: &str) -> Result<(), RecordError> {
    // Depth is the only limit of the lexer that serde_json does not have here.
    Lexer::new(json.as_bytes())
        .skip_value()
        .map_err(|_| RecordError::new(Reason::TooDeep, format!("a value is nested deeper than {MAX_DEPTH}")))
}

struct RecordVisitor<'a> {
    record: &'a mut ParsedRecord,
    fields: &'a mut FieldTable,
    text: &'a str,
    all_raw: bool,
    has_mismatch: bool,
    error: Option<RecordError>,
}

impl RecordVisitor<'_> {
    fn set_raw(&mut self, field: FieldId, raw: &str) {
        match parse_value(raw, self.text, self.record) {
            Ok(value) => {
                match value {
                    FieldValue::Text(_) => self.fields.set_read_as(field, ReadAs::String),
                    FieldValue::Number(_) | FieldValue::Nested(_) | FieldValue::Refused(_) => {
                        self.fields.set_read_as(field, ReadAs::RawJson);
                    }
                    _ => {}
                }
                self.record.set(field, value);
            }
            Err(error) => {
                self.error.get_or_insert(error);
            }
        }
    }
}

impl<'de> Visitor<'de> for &mut RecordVisitor<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let mut previous = None;
        while let Some(field) = map.next_key_seed(NameSeed { fields: self.fields, previous })? {
            let Some(field) = field else {
                let ignored = map.next_value::<&RawValue>()?.get();
                if ignored.starts_with(['{', '['])
                    && let Err(error) = check_depth(ignored)
                {
                    self.error.get_or_insert(error);
                }
                continue;
            };
            previous = Some(field);
            if self.all_raw || self.fields.read_as(field) == ReadAs::RawJson {
                let raw = map.next_value::<&RawValue>()?.get();
                self.set_raw(field, raw);
                continue;
            }
            match map.next_value_seed(StringSeed(self.record))? {
                StringOrOther::Borrowed(text) => {
                    let span = span_in(text, self.text);
                    self.record.set(field, FieldValue::Text(span));
                }
                StringOrOther::Value(value) => self.record.set(field, value),
                StringOrOther::Other => self.has_mismatch = true,
            }
        }
        Ok(())
    }
}

/// Reads the name of a member as the field that it names, if any contract reads it.
struct NameSeed<'a> {
    fields: &'a mut FieldTable,
    previous: Option<FieldId>,
}

impl<'de> DeserializeSeed<'de> for NameSeed<'_> {
    type Value = Option<FieldId>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed<'_> {
    type Value = Option<FieldId>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a field's name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        Ok(self.fields.find(self.previous, name))
    }
}

/// A value that was read as a string.
enum StringOrOther<'de> {
    Borrowed(&'de str),
    Value(FieldValue),
    /// A number, an array or an object.
    Other,
}

struct StringSeed<'a>(&'a mut ParsedRecord);

impl<'de> DeserializeSeed<'de> for StringSeed<'_> {
    type Value = StringOrOther<'de>;

    fn deserialize<D: serde::Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for StringSeed<'_> {
    type Value = StringOrOther<'de>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a value")
    }

    fn visit_borrowed_str<E>(self, text: &'de str) -> Result<Self::Value, E> {
        Ok(StringOrOther::Borrowed(text))
    }

    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        Ok(StringOrOther::Value(FieldValue::Text(self.0.push_scratch(text))))
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(StringOrOther::Value(FieldValue::Null))
    }

    fn visit_bool<E>(self, value: bool) -> Result<Self::Value, E> {
        Ok(StringOrOther::Value(if value { FieldValue::True } else { FieldValue::False }))
    }

    fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
        Ok(StringOrOther::Other)
    }

    fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
        Ok(StringOrOther::Other)
    }

    fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
        Ok(StringOrOther::Other)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(StringOrOther::Other)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Self::Value, A::Error> {
        while map.next_entry::<IgnoredAny, IgnoredAny>()?.is_some() {}
        Ok(StringOrOther::Other)
    }
}

/// Unescapes a string into the scratch buffer.
struct UnescapeVisitor<'a>(&'a mut ParsedRecord);

impl Visitor<'_> for UnescapeVisitor<'_> {
    type Value = Span;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<E>(self, text: &str) -> Result<Span, E> {
        Ok(self.0.push_scratch(text))
    }
}
