//! Commits that change the types of columns.
//!
//! The kernel can add columns but not change them. So the new metadata is edited into a commit that the kernel builds, and the kernel replays
//! it in a copy of the log. From that copy it then builds the commit that replaces the data files. Both become one log entry.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field};
use bytes::Bytes;
use delta_kernel::engine::arrow_conversion::TryIntoKernel;
use delta_kernel::{KernelError, schema};
use serde_json::{Map, Value};

use super::kernel::build_engine;
use super::{CommitInfo, FileChanges, TableLog};
use crate::error::LakeError;

/// The property that gives columns other names in data files (Delta protocol, "Column Mapping").
const COLUMN_MAPPING: &str = "delta.columnMapping.mode";
/// A column that the kernel adds so that it writes the metadata; it is taken out again.
const PLACEHOLDER: &str = "_pinlake_placeholder";

/// A log as it will be once its columns have other types.
#[derive(Debug)]
pub(crate) struct AlteredLog {
    /// The log with the new columns and the old files. Files are staged for it.
    pub log: TableLog,
    /// The action that changes the columns, a line of JSON.
    metadata: String,
}

impl TableLog {
    /// Plans to give columns the types of `fields`. The table's columns stay in their order.
    ///
    /// # Errors
    /// If there is no table, or it has another name for its columns in data files.
    pub(crate) async fn alter_types(
        &self,
        fields: &[Field],
        info: &CommitInfo,
    ) -> Result<AlteredLog, LakeError> {
        if self.snapshot.as_ref().is_some_and(|snapshot| has_column_mapping(snapshot)) {
            let why = format!(
                "its columns have other names in data files ({COLUMN_MAPPING}), so types cannot be changed"
            );
            return Err(LakeError::SchemaChanged { dataset: self.dataset.clone(), why });
        }
        let placeholder = Field::new(PLACEHOLDER, DataType::Boolean, true);
        let commit = self.build_add_columns_commit(&[placeholder], info)?;
        let metadata = edit_metadata(&commit, fields).map_err(|why| self.delta(KernelError::generic(why)))?;
        let mirror = Arc::new(self.mirror.fork());
        let mut log = TableLog {
            dataset: self.dataset.clone(),
            root: self.root.clone(),
            engine: build_engine(mirror.clone()),
            mirror,
            snapshot: self.snapshot.clone(),
            head: None,
            files: Vec::new(),
        };
        let version = self.version().map_or(0, |version| version + 1);
        log.apply_commit(version, Bytes::from(metadata.clone()), None).await?;
        Ok(AlteredLog { log, metadata })
    }
}

impl AlteredLog {
    /// Builds the commit that changes the columns and adds and removes files, as the version after the known one of the original log.
    ///
    /// # Errors
    /// As [`TableLog::build_commit`].
    pub(crate) fn build_commit(
        &self,
        changes: &FileChanges<'_>,
        modified_ms: i64,
        info: &CommitInfo,
    ) -> Result<Bytes, LakeError> {
        let commit = self.log.build_commit(changes, modified_ms, info)?;
        let mut altered = Vec::with_capacity(commit.len() + self.metadata.len() + 1);
        altered.extend_from_slice(&commit);
        if !altered.ends_with(b"\n") {
            altered.push(b'\n');
        }
        altered.extend_from_slice(self.metadata.as_bytes());
        Ok(altered.into())
    }
}

fn has_column_mapping(snapshot: &delta_kernel::Snapshot) -> bool {
    snapshot
        .table_properties()
        .column_mapping_mode
        .is_some_and(|mode| mode != delta_kernel::table_features::ColumnMappingMode::None)
}

/// The `metaData` action of a commit, without the placeholder and with the types of `fields`.
fn edit_metadata(commit: &[u8], fields: &[Field]) -> Result<String, String> {
    let actions = serde_json::Deserializer::from_slice(commit).into_iter::<Map<String, Value>>();
    let actions: Vec<_> = actions.collect::<Result<_, _>>().map_err(|error| error.to_string())?;
    let action = actions.into_iter().find(|action| action.contains_key("metaData"));
    let mut action = action.ok_or("the commit does not change the table's metadata")?;
    let text = action["metaData"]["schemaString"].as_str().ok_or("the table's metadata has no schema")?;
    let mut columns: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let columns_of = columns["fields"].as_array_mut().ok_or("the table's schema has no fields")?;
    columns_of.retain(|column| column["name"] != PLACEHOLDER);
    for field in fields {
        let column = columns_of.iter_mut().find(|column| column["name"] == field.name().as_str());
        let column = column.ok_or_else(|| format!("the table has no column {}", field.name()))?;
        let own: schema::DataType = field
            .data_type()
            .try_into_kernel()
            .map_err(|error: arrow::error::ArrowError| error.to_string())?;
        column["type"] = serde_json::to_value(own).map_err(|error| error.to_string())?;
    }
    action["metaData"]["schemaString"] = Value::String(columns.to_string());
    serde_json::to_string(&action).map_err(|error| error.to_string())
}
