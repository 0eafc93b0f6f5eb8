//! The types of the fields of a record that came from a typed file: `{"b":"AQI=","$parquet":{"b":"binary"}}`.
//!
//! The record of a typed file is JSON like any other, so that it can be stored and cleaned again. Its last field says which texts are
//! more than texts: bytes in base64, points in time and dates. A value that JSON cannot express has the reason for which it is refused:
//! `{"x":"NaN","$parquet":{"x":"out_of_range: NaN"}}`.

use std::collections::BTreeMap;

use crate::field_table::{FieldId, FieldTable};
use crate::parsed_record::{FieldValue, ItemType, ParsedRecord};
use crate::reason::{Reason, RecordError};

/// The field with the types.
pub(crate) const TYPES_FIELD: &str = "$parquet";
/// Bytes, in base64.
pub(crate) const BINARY: &str = "binary";
/// A point in time, as ISO 8601.
pub(crate) const TIMESTAMP: &str = "timestamp";
/// A date, as ISO 8601.
pub(crate) const DATE: &str = "date";

/// What the field with the types says of one field.
#[derive(Debug, Clone)]
enum Stated {
    Bytes,
    Time,
    Items(ItemType),
    Unusable(RecordError),
}

impl Stated {
    /// `None` if it says nothing that is known: the value then is what it is in JSON.
    fn parse(text: &str) -> Option<Stated> {
        Some(match text {
            BINARY => Stated::Bytes,
            TIMESTAMP | DATE => Stated::Time,
            "list<binary>" => Stated::Items(ItemType::Bytes),
            "list<timestamp>" | "list<date>" => Stated::Items(ItemType::Time),
            _ => {
                let (code, detail) = text.split_once(": ")?;
                let reason =
                    [Reason::OutOfRange, Reason::WrongType].into_iter().find(|own| own.code() == code)?;
                Stated::Unusable(RecordError::new(reason, detail))
            }
        })
    }
}

/// Applies the types to the fields of records. All rows of a file mostly state the same types, which are parsed once.
#[derive(Debug, Default)]
pub(crate) struct TypedFields {
    text: String,
    stated: Vec<(FieldId, Stated)>,
}

impl TypedFields {
    /// Gives the fields of the record the types that it states. `text` is the text of the record.
    pub(crate) fn apply(&mut self, record: &mut ParsedRecord, text: &str, fields: &FieldTable) {
        let FieldValue::Nested(span) = record.value(fields.types_field()) else { return };
        let types = record.text(span, text);
        if types != self.text {
            // Fields that no contract reads, and what is not a type, are of no interest.
            let stated: BTreeMap<String, serde_json::Value> = serde_json::from_str(types).unwrap_or_default();
            self.stated = stated
                .iter()
                .filter_map(|(name, stated)| Some((fields.resolve(name)?, Stated::parse(stated.as_str()?)?)))
                .collect();
            types.clone_into(&mut self.text);
        }
        for (field, stated) in &self.stated {
            let value = match (stated, record.value(*field)) {
                (Stated::Bytes, FieldValue::Text(span)) => FieldValue::Bytes(span),
                (Stated::Time, FieldValue::Text(span)) => FieldValue::Time(span),
                (Stated::Items(item), FieldValue::Nested(span)) => FieldValue::TypedItems(*item, span),
                (Stated::Unusable(error), FieldValue::Text(span)) => {
                    record.add_unusable(span, error.clone());
                    FieldValue::Unusable(span)
                }
                _ => continue,
            };
            record.set(*field, value);
        }
    }
}
