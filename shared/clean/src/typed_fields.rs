//! The types of the fields of a record that came from a typed file: `{"b":"AQI=","$parquet":{"b":"binary"}}`.
//!
//! The record of a typed file is JSON like any other, so that it can be stored and cleaned again. Its last field says which texts are
//! more than texts: bytes in base64, points in time and dates. The types of the members of a structure are an object, and those of the
//! items of a list or map are in an array: `{"s":{"at":"timestamp"},"l":[{"at":"timestamp"}]}`.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD as BASE64;
use pinlake_schema::field_name::{fold_case, normalize};
use pinlake_schema::field_path::PathStep;
use serde_json::{Map, Value};

use crate::compiled_contract::CompiledContract;
use crate::field_table::{FieldId, FieldTable};
use crate::nested_fields::NestedValues;
use crate::parsed_record::{FieldValue, ItemType, ParsedRecord};
use crate::reason::RecordError;

/// Bytes, in base64.
pub(crate) const BINARY: &str = "binary";
/// A list of bytes, in base64.
pub(crate) const BINARY_ITEMS: &str = "list<binary>";
/// Bytes, as the text that they are.
pub(crate) const BINARY_AS_TEXT: &str = "utf8";
/// A point in time, as ISO 8601.
pub(crate) const TIMESTAMP: &str = "timestamp";
/// A date, as ISO 8601.
pub(crate) const DATE: &str = "date";

/// What the field with the types says of one field.
#[derive(Debug, Clone, Copy)]
enum Stated {
    Bytes,
    BytesAsText,
    Time,
    Items(ItemType),
}

impl Stated {
    /// `None` if it says nothing that is known: the value then is what it is in JSON.
    fn parse(stated: &Value) -> Option<Stated> {
        Some(match stated.as_str()? {
            BINARY => Stated::Bytes,
            BINARY_AS_TEXT => Stated::BytesAsText,
            TIMESTAMP | DATE => Stated::Time,
            BINARY_ITEMS => Stated::Items(ItemType::Bytes),
            "list<utf8>" => Stated::Items(ItemType::BytesAsText),
            "list<timestamp>" | "list<date>" => Stated::Items(ItemType::Time),
            _ => return None,
        })
    }
}

/// What is stated of the value of a path.
fn find_stated(types: &Map<String, Value>, steps: &[PathStep]) -> Option<Stated> {
    let mut steps = steps.iter();
    let first = steps.next()?;
    let mut at = element(find_member(types, &first.name)?, first);
    for step in steps {
        at = match at {
            Value::Object(members) => element(find_member(members, &step.name)?, step),
            // The values of a map have one type.
            Value::Array(values) => element(values.first()?, step),
            _ => return None,
        };
    }
    Stated::parse(at)
}

fn element<'a>(stated: &'a Value, step: &PathStep) -> &'a Value {
    match (stated, &step.selector) {
        (Value::Array(items), Some(_)) => items.first().unwrap_or(stated),
        _ => stated,
    }
}

/// The member of this name, or else one of a similar name.
fn find_member<'a>(members: &'a Map<String, Value>, name: &str) -> Option<&'a Value> {
    let fold = |name: &str| fold_case(&normalize(name));
    members
        .get(name)
        .or_else(|| members.iter().find(|(own, _)| fold(own) == fold(name)).map(|(_, stated)| stated))
}

/// Applies the types to the fields of records. All rows of a file mostly state the same types, which are parsed once.
#[derive(Debug, Default)]
pub(crate) struct TypedFields {
    text: String,
    /// The dataset whose nested fields are in `nested`.
    dataset: String,
    stated: Vec<(FieldId, Stated)>,
    nested: Vec<(FieldId, Stated)>,
}

impl TypedFields {
    /// Gives the fields of the record the types that it states. `text` is the text of the record.
    pub(crate) fn apply(
        &mut self,
        record: &mut ParsedRecord,
        text: &str,
        fields: &FieldTable,
        contract: &CompiledContract,
        nested_values: &mut NestedValues,
    ) -> Result<(), RecordError> {
        let FieldValue::Nested(span) = record.value(fields.types_field()) else { return Ok(()) };
        let types = record.text(span, text);
        if types != self.text || contract.contract.name != self.dataset {
            // Fields that no contract reads, and what is not a type, are of no interest.
            let stated: Map<String, Value> = serde_json::from_str(types).unwrap_or_default();
            let paths = contract.nested.paths().iter();
            self.nested =
                paths.filter_map(|own| Some((own.id, find_stated(&stated, &own.path.steps)?))).collect();
            self.stated = stated
                .iter()
                .filter_map(|(name, stated)| Some((fields.resolve(name)?, Stated::parse(stated)?)))
                .collect();
            types.clone_into(&mut self.text);
            contract.contract.name.clone_into(&mut self.dataset);
        }
        for (field, stated) in &self.nested {
            if record.is_nested(*field) {
                set_typed(record, text, *field, *stated);
            }
        }
        for (field, stated) in &self.stated {
            set_typed(record, text, *field, *stated);
        }
        for (field, _) in &self.stated {
            if contract.nested.has_root(*field) {
                find_in_bytes(record, text, *field, contract, nested_values)?;
            }
        }
        contract.nested.set_whole(record);
        Ok(())
    }
}

/// Finds the fields inside a field of bytes that are the text of an object or array.
fn find_in_bytes(
    record: &mut ParsedRecord,
    text: &str,
    field: FieldId,
    contract: &CompiledContract,
    nested_values: &mut NestedValues,
) -> Result<(), RecordError> {
    let bytes @ FieldValue::Bytes(span) = record.value(field) else { return Ok(()) };
    let decoded = record.bytes(span, text).and_then(|bytes| String::from_utf8(bytes).ok());
    if let Some(decoded) = decoded.filter(|text| pinlake_payload::is_container(text.as_bytes())) {
        let span = record.push_scratch(&decoded);
        record.set(field, FieldValue::Text(span));
        contract.nested.find(record, text, nested_values)?;
        record.set(field, bytes);
    }
    Ok(())
}

/// Sets a field to its value with the type that is stated. A value of another form stays what it is in JSON.
fn set_typed(record: &mut ParsedRecord, text: &str, field: FieldId, stated: Stated) {
    let value = match (stated, record.value(field)) {
        (Stated::Bytes, FieldValue::Text(span)) => FieldValue::Bytes(span),
        (Stated::BytesAsText, FieldValue::Text(span)) => {
            let encoded = BASE64.encode(record.text(span, text));
            FieldValue::Bytes(record.push_scratch(&encoded))
        }
        (Stated::Time, FieldValue::Text(span)) => FieldValue::Time(span),
        // Only a text that was unescaped is elsewhere, which no typed file has.
        (Stated::Items(item), FieldValue::Nested(span)) if !span.is_in_scratch() => {
            FieldValue::TypedItems(item, span)
        }
        _ => return,
    };
    record.set(field, value);
}
