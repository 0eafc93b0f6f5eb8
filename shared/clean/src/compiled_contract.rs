//! A contract with the names of its fields resolved.

use std::collections::HashSet;
use std::sync::Arc;

use pinlake_schema::{Contract, FieldNames};

use crate::field_table::{FieldId, FieldTable};
use crate::parsed_record::ParsedRecord;

#[derive(Debug)]
pub(crate) struct CompiledContract {
    pub(crate) contract: Arc<Contract>,
    /// The fields that distinguish its records.
    pub(crate) shape: Vec<FieldId>,
    /// The fields of which its records have at least one.
    any_of: Vec<FieldId>,
    /// For each column its source fields, each with its alternatives.
    pub(crate) columns: Vec<Vec<Vec<FieldId>>>,
}

impl CompiledContract {
    pub(crate) fn new(contract: &Arc<Contract>, fields: &FieldTable) -> CompiledContract {
        let ids = |names: &[String]| names.iter().filter_map(|name| fields.id(name)).collect::<Vec<_>>();
        let own: HashSet<&str> = contract
            .columns
            .iter()
            .flat_map(|column| column.source.fields().iter().flatten().map(String::as_str))
            .collect();
        // Another contract may read a field that differs in case only. To this contract it is a similar name.
        let alternatives = |names: &FieldNames| {
            let similar = names.iter().flat_map(|name| fields.same_but_for_case(name));
            let foreign = similar.filter(|(name, _)| !own.contains(name)).map(|(_, id)| id);
            ids(names).into_iter().chain(foreign).collect::<Vec<_>>()
        };
        let columns: Vec<Vec<Vec<FieldId>>> = contract
            .columns
            .iter()
            .map(|column| column.source.fields().iter().map(alternatives).collect())
            .collect();
        let any_of = match ids(&contract.route.any_of) {
            none if none.is_empty() => columns.iter().flatten().flatten().copied().collect(),
            fields => fields,
        };
        CompiledContract {
            shape: ids(&contract.route.shape),
            any_of,
            columns,
            contract: Arc::clone(contract),
        }
    }

    /// Whether the record has one of the fields by which the contract recognises its records.
    pub(crate) fn recognises(&self, record: &ParsedRecord) -> bool {
        self.any_of.iter().any(|field| record.has(*field))
    }

    /// Whether the record has a field that a column reads.
    pub(crate) fn reads_any(&self, record: &ParsedRecord) -> bool {
        self.columns.iter().flatten().flatten().any(|field| record.has(*field))
    }

    /// Whether the record has all fields of the contract's shape. A contract without a shape matches nothing.
    pub(crate) fn matches_shape(&self, record: &ParsedRecord) -> bool {
        !self.shape.is_empty() && self.shape.iter().all(|field| record.has(*field))
    }
}
