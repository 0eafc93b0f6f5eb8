//! A contract made ready for work: its names resolved to numbers, its batch open.

use std::sync::Arc;

use pinlake_schema::Contract;

use crate::batch::Batch;
use crate::fields::{FieldId, FieldTable};
use crate::record::Record;

#[derive(Debug)]
pub(crate) struct CompiledContract {
    pub(crate) contract: Arc<Contract>,
    /// The fields that tell its records.
    pub(crate) shape: Vec<FieldId>,
    /// For each column its fields, each with its alternatives.
    pub(crate) columns: Vec<Vec<Vec<FieldId>>>,
    pub(crate) batch: Batch,
}

impl CompiledContract {
    pub(crate) fn new(contract: &Arc<Contract>, fields: &FieldTable) -> CompiledContract {
        let ids = |names: &[String]| names.iter().filter_map(|name| fields.id(name)).collect::<Vec<_>>();
        let columns = contract
            .columns
            .iter()
            .map(|column| column.source.fields().iter().map(|names| ids(names)).collect())
            .collect();
        CompiledContract {
            shape: ids(&contract.route.shape),
            columns,
            batch: Batch::new(contract),
            contract: Arc::clone(contract),
        }
    }

    /// Whether the record has every field that tells this dataset's records. A contract without a shape cannot tell.
    pub(crate) fn fits(&self, record: &Record) -> bool {
        !self.shape.is_empty() && self.shape.iter().all(|field| record.has(*field))
    }
}
