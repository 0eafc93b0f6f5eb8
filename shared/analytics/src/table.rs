//! A DataFusion table over the files of one pinned version: it uses the given files and schema and lists nothing.

use std::{fmt, sync::Arc};

use arrow::array::RecordBatch;
use arrow::datatypes::{DataType, Schema, SchemaRef};
use datafusion::{
    catalog::{Session, TableProvider},
    common::{config::TableParquetOptions, project_schema},
    datasource::{
        TableType,
        listing::PartitionedFile,
        memory::MemorySourceConfig,
        object_store::ObjectStoreUrl,
        physical_plan::{
            FileGroup, FileScanConfigBuilder, ParquetSource, parquet::CachedParquetFileReaderFactory,
        },
        source::DataSourceExec,
    },
    error::Result,
    logical_expr::Expr,
    physical_plan::{ExecutionPlan, empty::EmptyExec},
};
use object_store::{ObjectMeta, path::Path};

use crate::column_cache::{ColumnBudget, ColumnCache};

/// One version of a table: its name in queries, its schema and its files.
#[derive(Debug, Clone)]
pub struct TableInput {
    /// Name in the queries.
    pub name: String,
    /// The version, stored with the results. `None`: the table does not exist yet and has no files.
    pub version: Option<u64>,
    /// Columns in order. Columns that a file lacks are null.
    pub schema: SchemaRef,
    /// Parquet files: path in the store and size in bytes.
    pub files: Vec<(Path, u64)>,
}

/// The URL under which the run registers its object store. It is not visible outside.
pub(crate) const STORE_URL: &str = "pinlake://lake/";

/// The files of a [`TableInput`].
pub(crate) struct PinnedTable {
    schema: SchemaRef,
    files: Vec<PartitionedFile>,
    store: ObjectStoreUrl,
    columns: ColumnCache,
}

impl PinnedTable {
    pub(crate) fn new(input: TableInput, budget: Arc<ColumnBudget>) -> Result<PinnedTable> {
        let files = input.files.into_iter().map(|(location, size)| {
            // `PartitionedFile::new` would encode the path again; a path from the Delta log is already encoded.
            // Files are immutable, so the time of modification does not matter.
            let meta =
                ObjectMeta { location, last_modified: Default::default(), size, e_tag: None, version: None };
            PartitionedFile::new_from_meta(meta)
        });
        Ok(PinnedTable {
            schema: to_fast_types(&input.schema),
            files: files.collect(),
            store: ObjectStoreUrl::parse(STORE_URL)?,
            columns: ColumnCache::new(budget),
        })
    }

    /// Builds a plan that reads columns from the files. Without `in_order`, a partition may steal files of another.
    fn scan_files(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        limit: Option<usize>,
        groups: Vec<FileGroup>,
        in_order: bool,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let runtime = state.runtime_env();
        // All queries of a run share the Parquet footers.
        let reader = CachedParquetFileReaderFactory::new(
            runtime.object_store(&self.store)?,
            runtime.cache_manager.get_file_metadata_cache(),
        );
        let options = TableParquetOptions {
            global: state.config_options().execution.parquet.clone(),
            ..TableParquetOptions::default()
        };
        let source = ParquetSource::new(self.schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(reader));
        let scan = FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .with_preserve_order(in_order)
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }
}

/// Replaces types by faster ones: strings by string views, and timestamps in `UTC` by those with the offset `+00:00`,
/// which need no time zone lookup.
fn to_fast_types(schema: &SchemaRef) -> SchemaRef {
    let fields = schema.fields().iter().map(|field| {
        let data_type = match field.data_type() {
            DataType::Utf8 => DataType::Utf8View,
            DataType::Timestamp(unit, Some(zone)) if zone.as_ref() == "UTC" => {
                DataType::Timestamp(*unit, Some("+00:00".into()))
            }
            other => other.clone(),
        };
        field.as_ref().clone().with_data_type(data_type)
    });
    Arc::new(Schema::new(fields.collect::<Vec<_>>()))
}

impl fmt::Debug for PinnedTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "PinnedTable({} files)", self.files.len())
    }
}

#[async_trait::async_trait]
impl TableProvider for PinnedTable {
    fn schema(&self) -> SchemaRef {
        self.schema.clone()
    }

    fn table_type(&self) -> TableType {
        TableType::Base
    }

    /// Ignores the filters: the physical optimizer pushes them down to the Parquet source, which skips row groups and
    /// pages.
    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        if self.files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?)));
        }
        let all = (0..self.schema.fields().len()).collect();
        let columns = projection.unwrap_or(&all);
        let one_file_each = || self.files.iter().map(|file| FileGroup::new(vec![file.clone()])).collect();
        let scan = |missing: &Vec<usize>| self.scan_files(state, Some(missing), None, one_file_each(), true);
        let schema = project_schema(&self.schema, Some(columns))?;
        if let Some(batches) = self.columns.get(columns, &schema, &state.task_ctx(), scan).await? {
            let size = batches.len().div_ceil(state.config().target_partitions()).max(1);
            let mut parts: Vec<Vec<RecordBatch>> = batches.chunks(size).map(<[_]>::to_vec).collect();
            // Other operators need at least one partition, even if no file has rows.
            parts.resize_with(parts.len().max(1), Vec::new);
            let source = MemorySourceConfig::try_new(&parts, schema, None)?.with_limit(limit);
            return Ok(DataSourceExec::from_data_source(source));
        }
        let groups = FileGroup::new(self.files.clone()).split_files(state.config().target_partitions());
        self.scan_files(state, projection, limit, groups, false)
    }
}
