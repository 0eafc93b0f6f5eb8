//! The entry `pinlake` in a commit's `commitInfo`.

use std::sync::Arc;

use arrow::array::{ArrayRef, Int64Array, RecordBatch, StringArray, StructArray};
use arrow::datatypes::{DataType, Field, Schema};
use delta_kernel::KernelError;
use delta_kernel::engine::arrow_conversion::TryIntoKernel;
use delta_kernel::engine::arrow_data::ArrowEngineData;
use delta_kernel::schema::StructType;

use crate::error::LakeError;

/// What pinlake records in `commitInfo.pinlake`.
#[derive(Debug, Clone)]
pub(crate) struct CommitInfo {
    /// Identifies the author of the version; the same for every put of these bytes.
    pub attempt: String,
    /// Contract name and version.
    pub contract: String,
    pub counts: RowCounts,
}

/// The rows of a commit: `read = inserted + superseded + duplicates + outdated + deleted`.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct RowCounts {
    /// Input rows of the insert.
    pub read: u64,
    /// Rows that the commit adds.
    pub inserted: u64,
    /// Input rows that take the place of a row with fewer values, or of an earlier record.
    pub superseded: u64,
    /// Input rows of a record that is earlier than the table's.
    pub outdated: u64,
    /// Input rows that delete a row, or keep an earlier record out.
    pub deleted: u64,
    /// Input rows that the table already has, or that occur earlier in the input.
    pub duplicates: u64,
    /// Rows that the commit changes in place.
    pub updated: u64,
}

impl CommitInfo {
    /// One row for the kernel: `{"pinlake": {...}}`, with its schema.
    pub(super) fn to_engine_data(
        &self,
        dataset: &str,
    ) -> Result<(Box<dyn delta_kernel::EngineData>, Arc<StructType>), LakeError> {
        let text = |text: &str| Arc::new(StringArray::from(vec![text])) as ArrayRef;
        let count = |count: u64| {
            Arc::new(Int64Array::from(vec![i64::try_from(count).unwrap_or(i64::MAX)])) as ArrayRef
        };
        let columns: [(&str, ArrayRef); 9] = [
            ("attempt", text(&self.attempt)),
            ("contract", text(&self.contract)),
            ("read", count(self.counts.read)),
            ("inserted", count(self.counts.inserted)),
            ("superseded", count(self.counts.superseded)),
            ("duplicates", count(self.counts.duplicates)),
            ("updated", count(self.counts.updated)),
            ("outdated", count(self.counts.outdated)),
            ("deleted", count(self.counts.deleted)),
        ];
        let fields: Vec<Arc<Field>> = columns
            .iter()
            .map(|(name, column)| Arc::new(Field::new(*name, column.data_type().clone(), true)))
            .collect();
        let own =
            StructArray::from(fields.into_iter().zip(columns.map(|(_, column)| column)).collect::<Vec<_>>());
        let schema = Schema::new(vec![Field::new("pinlake", DataType::Struct(own.fields().clone()), true)]);
        let kernel_schema: StructType = (&schema)
            .try_into_kernel()
            .map_err(|error| LakeError::delta(dataset)(KernelError::from(error)))?;
        let row = RecordBatch::try_new(Arc::new(schema), vec![Arc::new(own)])
            .map_err(LakeError::encode(dataset))?;
        Ok((Box::new(ArrowEngineData::new(row)), Arc::new(kernel_schema)))
    }
}
