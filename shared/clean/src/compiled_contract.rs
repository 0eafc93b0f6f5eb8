//! A contract with the names of its fields resolved.

use std::collections::HashSet;
use std::sync::Arc;

use pinlake_schema::field_name::{fold_case, normalize};
use pinlake_schema::field_path::FieldPath;
use pinlake_schema::{Column, ColumnSource, Contract, FieldRule, Identity};

use crate::derived::{DerivedColumn, find_derived};
use crate::field_table::{FieldId, FieldTable};
use crate::nested_fields::{NestedField, NestedFields};
use crate::parsed_record::{FieldValue, ParsedRecord};
use crate::refused_value::split_reason;

#[derive(Debug)]
pub(crate) struct CompiledContract {
    pub(crate) contract: Arc<Contract>,
    /// The fields that distinguish its records.
    pub(crate) shape: Vec<FieldId>,
    /// The fields of which its records have at least one.
    any_of: Vec<FieldId>,
    /// For each column its source fields, each with its alternatives.
    pub(crate) columns: Vec<Vec<Vec<FieldId>>>,
    /// For each column its field, if the column stores the text of a single field as it is.
    pub(crate) verbatim: Vec<Option<FieldId>>,
    /// The conditions of records that delete their row.
    delete_when: Vec<CompiledRule>,
    /// The conditions of records that are skipped.
    skip_when: Vec<CompiledRule>,
    /// For each column whether a record that deletes its row has a value for it.
    pub(crate) in_deletes: Vec<bool>,
    /// The columns that are computed from others.
    pub(crate) derived: Vec<DerivedColumn>,
    /// Those of its fields that are inside others.
    pub(crate) nested: NestedFields,
    /// The names of the fields that are not in the column of all others, without regard to case and normal form.
    pub(crate) not_in_rest: HashSet<String>,
}

/// A condition on a record: a field with its alternatives, and its text.
#[derive(Debug)]
struct CompiledRule {
    fields: Vec<FieldId>,
    value: String,
}

impl CompiledRule {
    fn is_met(&self, record: &ParsedRecord, text: &str) -> bool {
        let mut values = self.fields.iter().map(|field| record.value(*field));
        match values.find(|value| *value != FieldValue::Missing) {
            Some(FieldValue::Text(span) | FieldValue::Number(span) | FieldValue::Time(span)) => {
                record.text(span, text) == self.value
            }
            Some(FieldValue::Bytes(span)) => {
                record.bytes(span, text).is_some_and(|bytes| bytes == self.value.as_bytes())
            }
            Some(FieldValue::Refused(span)) => split_reason(record.text(span, text)).1 == self.value,
            Some(FieldValue::True) => self.value == "true",
            Some(FieldValue::False) => self.value == "false",
            _ => false,
        }
    }
}

impl CompiledContract {
    pub(crate) fn new(contract: &Arc<Contract>, fields: &FieldTable) -> CompiledContract {
        let ids =
            |names: &[String]| names.iter().filter_map(|name| fields.id_of_field(name)).collect::<Vec<_>>();
        let read = contract.columns.iter().flat_map(|column| column.source.fields()).flatten();
        let own: HashSet<String> = read.flat_map(|field| FieldPath::top_level_names(field)).collect();
        // Another contract may read a field that differs in case only. To this contract it is a similar name.
        let foreign = |name: &str| {
            let similar = fields.same_but_for_case(name).filter(|(name, _)| !own.contains(*name));
            similar.map(|(_, id)| id).collect::<Vec<_>>()
        };
        let alternatives = |names: &[String]| {
            let foreign = names.iter().flat_map(|name| foreign(name));
            ids(names).into_iter().chain(foreign).collect::<Vec<_>>()
        };
        let columns: Vec<Vec<Vec<FieldId>>> = contract
            .columns
            .iter()
            .map(|column| column.source.fields().iter().map(|names| alternatives(names)).collect())
            .collect();
        let verbatim =
            contract.columns.iter().zip(&columns).map(|(column, fields)| match fields.as_slice() {
                [alternatives] if column.stores_text_as_it_is() && alternatives.len() == 1 => {
                    alternatives.first().copied()
                }
                _ => None,
            });
        let verbatim = verbatim.collect();
        let mut nested = NestedFields::default();
        for field in contract.fields() {
            if let (Ok(path), Some(id)) = (FieldPath::parse(field), fields.path_id(field))
                && let Some(root) = path.steps.first()
            {
                let roots = fields.id(&root.name).into_iter().chain(foreign(&root.name)).collect();
                let whole = fields.id(field).into_iter().chain(foreign(field)).collect();
                nested.add(NestedField { id, whole, path, roots });
            }
        }
        let not_in_rest = contract.columns.iter().flat_map(|column| match &column.source {
            ColumnSource::Rest { except } => except.as_slice(),
            _ => &[],
        });
        let not_in_rest = not_in_rest.map(|name| fold_case(&normalize(name))).collect();
        let any_of = match ids(&contract.route.any_of) {
            none if none.is_empty() => columns.iter().flatten().flatten().copied().collect(),
            fields => fields,
        };
        let compile = |rule: &FieldRule| CompiledRule {
            fields: alternatives(std::slice::from_ref(&rule.field)),
            value: rule.value.clone(),
        };
        let delete_when = contract.keep.iter().flat_map(|keep| &keep.delete_when).map(compile).collect();
        let skip_when = contract.file.skip_when.iter().map(compile).collect();
        let in_deletes = |column: &Column| {
            contract.keep.as_ref().is_some_and(|keep| keep.latest_by.contains(&column.name))
                || matches!(&contract.identity, Identity::Columns(names) if names.contains(&column.name))
        };
        let mut in_deletes: Vec<bool> = contract.columns.iter().map(in_deletes).collect();
        let derived = find_derived(contract);
        for own in &derived {
            in_deletes[own.source] |= in_deletes[own.index];
        }
        CompiledContract {
            delete_when,
            skip_when,
            in_deletes,
            derived,
            shape: ids(&contract.route.shape),
            any_of,
            columns,
            verbatim,
            nested,
            not_in_rest,
            contract: Arc::clone(contract),
        }
    }

    /// Whether its shape has a field that is inside another.
    pub(crate) fn has_nested_shape(&self) -> bool {
        self.nested.paths().iter().any(|path| self.shape.contains(&path.id))
    }

    /// Whether the record has one of the fields by which the contract recognises its records.
    pub(crate) fn recognises(&self, record: &ParsedRecord) -> bool {
        self.any_of.iter().any(|field| record.has(*field))
    }

    /// Whether the record has a field that a column reads.
    pub(crate) fn reads_any(&self, record: &ParsedRecord) -> bool {
        self.columns.iter().flatten().flatten().any(|field| record.has(*field))
    }

    /// Whether the record, which was parsed from `text`, deletes its row.
    pub(crate) fn deletes(&self, record: &ParsedRecord, text: &str) -> bool {
        !self.delete_when.is_empty() && self.delete_when.iter().all(|rule| rule.is_met(record, text))
    }

    /// Whether the record, which was parsed from `text`, is skipped.
    pub(crate) fn skips(&self, record: &ParsedRecord, text: &str) -> bool {
        !self.skip_when.is_empty() && self.skip_when.iter().all(|rule| rule.is_met(record, text))
    }

    /// Whether the record has all fields of the contract's shape. A contract without a shape matches nothing.
    pub(crate) fn matches_shape(&self, record: &ParsedRecord) -> bool {
        !self.shape.is_empty() && self.shape.iter().all(|field| record.has(*field))
    }
}
