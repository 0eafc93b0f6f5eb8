//! One pinned version of a table as DataFusion reads it: the given files, the given schema, nothing looked up.

use std::{fmt, sync::Arc};

use arrow::datatypes::SchemaRef;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{config::TableParquetOptions, project_schema},
    datasource::{
        TableType,
        listing::PartitionedFile,
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

/// A table as the queries see it: one version, and the files that are it.
#[derive(Debug, Clone)]
pub struct TableInput {
    /// Name in the queries.
    pub name: String,
    /// The version that the files are, recorded with the results; `None`: the table does not exist yet, it is empty.
    pub version: Option<u64>,
    /// Columns in order. A file may lack columns that were added later: they are null.
    pub schema: SchemaRef,
    /// Parquet files: path in the store and size in bytes.
    pub files: Vec<(Path, u64)>,
}

/// Where the run's object store is registered. The name means nothing outside.
pub(crate) const STORE_URL: &str = "pinlake://lake/";

/// The files of a [`TableInput`].
pub(crate) struct PinnedTable {
    schema: SchemaRef,
    files: Vec<PartitionedFile>,
    store: ObjectStoreUrl,
}

impl PinnedTable {
    pub(crate) fn new(input: TableInput) -> Result<PinnedTable> {
        let files = input.files.into_iter().map(|(location, size)| {
            // A path from the table's log is encoded already: `PartitionedFile::new` would encode it again.
            // Files are immutable, so their time of writing is of no interest.
            let meta =
                ObjectMeta { location, last_modified: Default::default(), size, e_tag: None, version: None };
            PartitionedFile::new_from_meta(meta)
        });
        Ok(PinnedTable {
            schema: input.schema,
            files: files.collect(),
            store: ObjectStoreUrl::parse(STORE_URL)?,
        })
    }
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

    /// Filters are not taken here: the physical optimizer hands them to the Parquet source, which skips row groups
    /// and pages by them.
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
        let runtime = state.runtime_env();
        // All queries of a run read the same footers: they are fetched once.
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
        let groups = FileGroup::new(self.files.clone()).split_files(state.config().target_partitions());
        let scan = FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(projection.cloned())?
            .with_limit(limit)
            .build();
        Ok(DataSourceExec::from_data_source(scan))
    }
}
