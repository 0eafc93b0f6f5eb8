//! A DataFusion table over the files of one pinned version: it uses the given files and schema and lists nothing.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use arrow::array::{RecordBatch, StringArray};
use arrow::compute::{CastOptions, cast_with_options};
use arrow::datatypes::{DataType, FieldRef, Fields, Schema, SchemaRef};
use arrow::error::ArrowError;
use datafusion::{
    catalog::{Session, TableProvider},
    common::{ScalarValue, config::TableParquetOptions, project_schema},
    datasource::{
        TableType,
        listing::PartitionedFile,
        memory::MemorySourceConfig,
        object_store::ObjectStoreUrl,
        physical_plan::{
            FileGroup, FileScanConfigBuilder, FileSource, ParquetSource,
            parquet::CachedParquetFileReaderFactory,
        },
        source::DataSourceExec,
        table_schema::TableSchema,
    },
    error::Result,
    logical_expr::{Expr, TableProviderFilterPushDown},
    physical_plan::{ExecutionPlan, empty::EmptyExec, metrics::ExecutionPlanMetricsSet},
};
use object_store::{ObjectMeta, path::Path};

use crate::column_cache::{ColumnBudget, ColumnCache};
use crate::file_pruning::FileStatistics;

/// One version of a table: its name in queries, its schema and its files.
#[derive(Debug, Clone)]
pub struct TableInput {
    /// Name in the queries.
    pub name: String,
    /// The version, stored with the results. `None`: the table does not exist yet and has no files.
    pub version: Option<u64>,
    /// Columns in order. Columns that a file lacks are null.
    pub schema: SchemaRef,
    /// The columns whose values are not in the files, but in [`TableFile::partition`].
    pub partition_columns: Vec<String>,
    /// Parquet files.
    pub files: Vec<TableFile>,
}

/// A Parquet file of a table.
#[derive(Debug, Clone)]
pub struct TableFile {
    /// Path in the store.
    pub path: Path,
    /// Size in bytes.
    pub size: u64,
    /// Its values of the partition columns, as text; a column that is missing or has no text is null.
    pub partition: BTreeMap<String, Option<String>>,
    /// Statistics of its columns: JSON (Delta protocol, "Per-file Statistics").
    pub statistics: Option<String>,
}

impl TableFile {
    /// A file of a table without partitions, and without statistics.
    pub fn new(path: Path, size: u64) -> TableFile {
        TableFile { path, size, partition: BTreeMap::new(), statistics: None }
    }
}

/// The URL under which the run registers its object store. It is not visible outside.
pub(crate) const STORE_URL: &str = "pinlake://lake/";

/// Counts what the scans of a run read.
#[derive(Debug, Clone, Default)]
pub(crate) struct ReadCounter {
    scans: Arc<Mutex<Vec<ExecutionPlanMetricsSet>>>,
}

impl ReadCounter {
    fn add(&self, scan: &ExecutionPlanMetricsSet) {
        self.scans.lock().unwrap_or_else(PoisonError::into_inner).push(scan.clone());
    }

    /// The bytes of columns that were read from files so far, as they are stored. Footers are not included.
    pub(crate) fn bytes_read(&self) -> u64 {
        let scans = self.scans.lock().unwrap_or_else(PoisonError::into_inner);
        let read = scans.iter().filter_map(|scan| scan.clone_inner().sum_by_name("bytes_scanned"));
        read.map(|bytes| bytes.as_usize() as u64).sum()
    }
}

/// The files of a [`TableInput`].
pub(crate) struct PinnedTable {
    schema: SchemaRef,
    /// The columns in the files, then the partition columns.
    read_schema: TableSchema,
    /// For each column of `schema` its place in `read_schema`.
    read_places: Vec<usize>,
    files: Vec<PartitionedFile>,
    statistics: FileStatistics,
    store: ObjectStoreUrl,
    columns: ColumnCache,
    counter: ReadCounter,
}

impl PinnedTable {
    pub(crate) fn new(
        input: TableInput,
        budget: Arc<ColumnBudget>,
        counter: ReadCounter,
    ) -> Result<PinnedTable> {
        let schema = to_fast_types(&input.schema);
        let is_partition = |field: &&FieldRef| input.partition_columns.contains(field.name());
        let in_files: Fields = schema.fields().iter().filter(|field| !is_partition(field)).cloned().collect();
        let partition_fields: Vec<FieldRef> = schema.fields().iter().filter(is_partition).cloned().collect();
        let (mut next_stored, mut next_partition) =
            (0..in_files.len(), in_files.len()..schema.fields().len());
        let places = schema.fields().iter().filter_map(|field| match is_partition(&field) {
            true => next_partition.next(),
            false => next_stored.next(),
        });
        let read_places = places.collect();

        let partitions = partition_fields.iter().map(|field| {
            let texts: StringArray =
                input.files.iter().map(|file| file.partition.get(field.name())?.as_deref()).collect();
            let strict = CastOptions { safe: false, ..CastOptions::default() };
            Ok((field.name().clone(), cast_with_options(&texts, field.data_type(), &strict)?))
        });
        let partitions = partitions.collect::<Result<Vec<_>, ArrowError>>()?;
        let files = input.files.iter().enumerate().map(|(at, file)| {
            // `PartitionedFile::new` would encode the path again; a path from the Delta log is already encoded.
            // Files are immutable, so the time of modification does not matter.
            let meta = ObjectMeta {
                location: file.path.clone(),
                last_modified: Default::default(),
                size: file.size,
                e_tag: None,
                version: None,
            };
            let values = partitions.iter().map(|(_, values)| ScalarValue::try_from_array(values, at));
            Ok(PartitionedFile::new_from_meta(meta).with_partition_values(values.collect::<Result<_>>()?))
        });
        let files = files.collect::<Result<_>>()?;
        let statistics = input.files.iter().map(|file| file.statistics.as_deref());
        Ok(PinnedTable {
            read_schema: TableSchema::builder(Arc::new(Schema::new(in_files)))
                .with_table_partition_cols(partition_fields)
                .build(),
            read_places,
            files,
            statistics: FileStatistics::new(schema.clone(), statistics, partitions),
            schema,
            store: ObjectStoreUrl::parse(STORE_URL)?,
            columns: ColumnCache::new(budget),
            counter,
        })
    }

    /// The files that a query with these filters has to read.
    fn select_files(&self, state: &dyn Session, filters: &[Expr]) -> Vec<PartitionedFile> {
        if filters.is_empty() {
            return self.files.clone();
        }
        let selected = self.statistics.select_files(state, filters);
        self.files
            .iter()
            .zip(selected)
            .filter(|(_, selected)| *selected)
            .map(|(file, _)| file.clone())
            .collect()
    }

    /// Builds a plan that reads columns from the files. Without `in_order`, a partition may steal files of another.
    fn scan_files(
        &self,
        state: &dyn Session,
        columns: &[usize],
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
        let source = ParquetSource::new(self.read_schema.clone())
            .with_table_parquet_options(options)
            .with_parquet_file_reader_factory(Arc::new(reader));
        self.counter.add(source.metrics());
        let scan = FileScanConfigBuilder::new(self.store.clone(), Arc::new(source))
            .with_file_groups(groups)
            .with_projection_indices(Some(columns.iter().map(|at| self.read_places[*at]).collect()))?
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

    /// Filters select files. The physical optimizer also pushes them down to the Parquet source, which skips row groups and pages.
    fn supports_filters_pushdown(&self, filters: &[&Expr]) -> Result<Vec<TableProviderFilterPushDown>> {
        Ok(vec![TableProviderFilterPushDown::Inexact; filters.len()])
    }

    async fn scan(
        &self,
        state: &dyn Session,
        projection: Option<&Vec<usize>>,
        filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>> {
        let files = self.select_files(state, filters);
        if files.is_empty() {
            return Ok(Arc::new(EmptyExec::new(project_schema(&self.schema, projection)?)));
        }
        let all = (0..self.schema.fields().len()).collect();
        let columns = projection.unwrap_or(&all);
        let bytes = |files: &[PartitionedFile]| files.iter().map(|file| file.object_meta.size).sum::<u64>();
        // The cache holds columns of all files. For a small part of them it would read too much.
        let is_small_part = bytes(&files) <= bytes(&self.files) / 2;
        let one_file_each = || self.files.iter().map(|file| FileGroup::new(vec![file.clone()])).collect();
        let scan = |missing: &Vec<usize>| self.scan_files(state, missing, None, one_file_each(), true);
        let schema = project_schema(&self.schema, Some(columns))?;
        if !is_small_part
            && let Some(batches) = self.columns.get(columns, &schema, &state.task_ctx(), scan).await?
        {
            let size = batches.len().div_ceil(state.config().target_partitions()).max(1);
            let mut parts: Vec<Vec<RecordBatch>> = batches.chunks(size).map(<[_]>::to_vec).collect();
            // Other operators need at least one partition, even if no file has rows.
            parts.resize_with(parts.len().max(1), Vec::new);
            let source = MemorySourceConfig::try_new(&parts, schema, None)?.with_limit(limit);
            return Ok(DataSourceExec::from_data_source(source));
        }
        let groups = FileGroup::new(files).split_files(state.config().target_partitions());
        self.scan_files(state, columns, limit, groups, false)
    }
}
