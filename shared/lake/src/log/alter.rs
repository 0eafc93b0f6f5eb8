//! Commits that change the columns that a table has.
//!
//! The kernel can add columns but not change them. So the new metadata is edited into a commit that the kernel builds, and the kernel replays
//! it in a copy of the log. From that copy it then builds the commit that replaces the data files. Both become one log entry.

use std::sync::Arc;

use arrow::datatypes::{DataType, Field, Schema};
use arrow::error::ArrowError;
use bytes::Bytes;
use delta_kernel::engine::arrow_conversion::TryIntoKernel;
use delta_kernel::schema::StructType;
use delta_kernel::{KernelError, schema};
use serde_json::Value;

use super::kernel::build_engine;
use super::{CommitInfo, FileChanges, TableLog};
use crate::error::LakeError;

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
    /// If there is no table, or it does not have the columns.
    pub(crate) async fn alter_types(
        &self,
        fields: &[Field],
        info: &CommitInfo,
    ) -> Result<AlteredLog, LakeError> {
        let metadata = self.edit_metadata(info, |metadata| set_types(metadata, fields))?;
        let mirror = Arc::new(self.mirror.fork());
        let mut log = TableLog {
            dataset: self.dataset.clone(),
            root: self.root.clone(),
            engine: build_engine(mirror.clone()),
            mirror,
            snapshot: self.snapshot.clone(),
            head: None,
            files: Vec::new(),
            partition_columns: Vec::new(),
        };
        let version = self.version().map_or(0, |version| version + 1);
        log.apply_commit(version, Bytes::from(metadata.clone()), None).await?;
        Ok(AlteredLog { log, metadata })
    }

    /// The action that gives the table these columns, partition columns, and these properties in addition to its own, as a line of JSON.
    ///
    /// # Errors
    /// As [`Self::alter_types`].
    pub(crate) fn build_metadata(
        &self,
        columns: &Schema,
        partition_columns: &[String],
        properties: &[(String, String)],
        info: &CommitInfo,
    ) -> Result<String, LakeError> {
        self.edit_metadata(info, |metadata| {
            metadata["partitionColumns"] = partition_columns.into();
            set_columns(metadata, columns, properties)
        })
    }

    /// Has the kernel write the table's metadata, and edits it.
    fn edit_metadata(
        &self,
        info: &CommitInfo,
        edit: impl FnOnce(&mut Value) -> Result<(), String>,
    ) -> Result<String, LakeError> {
        let commit =
            self.build_add_columns_commit(&[Field::new(PLACEHOLDER, DataType::Boolean, true)], info)?;
        let mut actions = serde_json::Deserializer::from_slice(&commit).into_iter::<Value>();
        let action = actions.find_map(|action| action.ok().filter(|action| action.get("metaData").is_some()));
        let edited =
            action.ok_or_else(|| "the kernel wrote no metadata".to_owned()).and_then(|mut action| {
                edit(&mut action["metaData"])?;
                Ok(action.to_string())
            });
        edited.map_err(|why| self.delta(KernelError::generic(why)))
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

/// Sets the types of columns in a `metaData` action.
fn set_types(metadata: &mut Value, fields: &[Field]) -> Result<(), String> {
    let text = metadata["schemaString"].as_str().ok_or("the table's metadata has no schema")?;
    let mut schema: Value = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let columns = schema["fields"].as_array_mut().ok_or("the table's schema has no fields")?;
    columns.retain(|column| column["name"] != PLACEHOLDER);
    for field in fields {
        let column = columns.iter_mut().find(|column| column["name"] == field.name().as_str());
        let column = column.ok_or_else(|| format!("the table has no column {}", field.name()))?;
        let own: schema::DataType =
            field.data_type().try_into_kernel().map_err(|error: ArrowError| error.to_string())?;
        column["type"] = serde_json::to_value(own).map_err(|error| error.to_string())?;
    }
    metadata["schemaString"] = Value::String(schema.to_string());
    Ok(())
}

/// Sets the columns and properties of a `metaData` action.
fn set_columns(
    metadata: &mut Value,
    columns: &Schema,
    properties: &[(String, String)],
) -> Result<(), String> {
    let columns: StructType = columns.try_into_kernel().map_err(|error: ArrowError| error.to_string())?;
    let text = serde_json::to_string(&columns).map_err(|error| error.to_string())?;
    metadata["schemaString"] = Value::String(text);
    for (name, value) in properties {
        metadata["configuration"][name] = Value::String(value.clone());
    }
    Ok(())
}
