//! Chooses the files of a table that a query has to read, by the values of partition columns and the statistics in the table's log.
//!
//! A file is left out only if its statistics prove that the filters are false for all its rows. Without statistics a file is read.

use std::collections::HashSet;
use std::io::Cursor;
use std::sync::{Arc, OnceLock};

use arrow::array::{Array, ArrayRef, AsArray, BooleanArray, RecordBatch, UInt64Array};
use arrow::compute::cast;
use arrow::datatypes::{DataType, Field, Fields, Schema, SchemaRef, TimeUnit, TimestampMicrosecondType};
use arrow::error::ArrowError;
use datafusion::catalog::Session;
use datafusion::common::pruning::PruningStatistics;
use datafusion::common::{Column, DFSchema, ScalarValue};
use datafusion::error::Result;
use datafusion::logical_expr::Expr;
use datafusion::logical_expr::utils::conjunction;
use datafusion::physical_optimizer::pruning::PruningPredicateBuilder;

/// Statistics of the files of a table. They are parsed when a query first has a filter.
#[derive(Debug)]
pub(crate) struct FileStatistics {
    schema: SchemaRef,
    /// One JSON document a file.
    documents: String,
    files: usize,
    /// For each partition column its value in each file.
    partitions: Vec<(String, ArrayRef)>,
    parsed: OnceLock<Option<RecordBatch>>,
}

impl FileStatistics {
    /// `statistics` are the JSON documents of the files, in order. `partitions` are the partition columns, each with its value in each file.
    pub(crate) fn new<'a>(
        schema: SchemaRef,
        statistics: impl Iterator<Item = Option<&'a str>>,
        partitions: Vec<(String, ArrayRef)>,
    ) -> FileStatistics {
        let (mut documents, mut files) = (String::new(), 0);
        for statistics in statistics {
            documents.push_str(statistics.unwrap_or("{}"));
            documents.push('\n');
            files += 1;
        }
        FileStatistics { schema, documents, files, partitions, parsed: OnceLock::new() }
    }

    /// For each file whether a query with these filters has to read it.
    pub(crate) fn select_files(&self, state: &dyn Session, filters: &[Expr]) -> Vec<bool> {
        let selected = conjunction(filters.iter().cloned()).map(|filter| self.evaluate(state, filter));
        match selected {
            None => vec![true; self.files],
            // A filter that cannot be evaluated over statistics leaves no file out.
            Some(selected) => selected.unwrap_or_else(|error| {
                tracing::debug!(%error, "no files are skipped");
                vec![true; self.files]
            }),
        }
    }

    fn evaluate(&self, state: &dyn Session, filter: Expr) -> Result<Vec<bool>> {
        let schema = DFSchema::try_from(self.schema.as_ref().clone())?;
        let filter = state.create_physical_expr(filter, &schema)?;
        PruningPredicateBuilder::new().with_file_schema(self.schema.clone()).try_build(filter)?.prune(self)
    }

    fn parsed(&self) -> Option<&RecordBatch> {
        let parse = || match parse_statistics(&self.schema, &self.documents, self.files) {
            Ok(parsed) => Some(parsed),
            Err(error) => {
                tracing::debug!(%error, "the statistics of a table cannot be read, no files are skipped by them");
                None
            }
        };
        self.parsed.get_or_init(parse).as_ref()
    }

    fn partition(&self, column: &Column) -> Option<&ArrayRef> {
        self.partitions.iter().find(|(name, _)| *name == column.name).map(|(_, values)| values)
    }

    fn section(&self, section: &str, column: &Column) -> Option<ArrayRef> {
        let sections = self.parsed()?.column_by_name(section)?.as_struct_opt()?;
        sections.column_by_name(&column.name).cloned()
    }
}

impl PruningStatistics for FileStatistics {
    fn min_values(&self, column: &Column) -> Option<ArrayRef> {
        self.partition(column).cloned().or_else(|| self.section(MIN, column))
    }

    fn max_values(&self, column: &Column) -> Option<ArrayRef> {
        self.partition(column).cloned().or_else(|| self.section(MAX, column).map(extend_times))
    }

    fn num_containers(&self) -> usize {
        self.files
    }

    fn null_counts(&self, column: &Column) -> Option<ArrayRef> {
        let Some(values) = self.partition(column) else {
            return to_counts(&self.section(NULLS, column)?);
        };
        let rows = self.row_counts()?;
        let rows = rows.as_primitive_opt::<arrow::datatypes::UInt64Type>()?;
        let nulls =
            rows.iter().enumerate().map(|(file, rows)| if values.is_null(file) { rows } else { Some(0) });
        Some(Arc::new(nulls.collect::<UInt64Array>()))
    }

    fn row_counts(&self) -> Option<ArrayRef> {
        to_counts(self.parsed()?.column_by_name(ROWS)?)
    }

    fn contained(&self, _column: &Column, _values: &HashSet<ScalarValue>) -> Option<BooleanArray> {
        None
    }
}

const ROWS: &str = "numRecords";
const MIN: &str = "minValues";
const MAX: &str = "maxValues";
const NULLS: &str = "nullCount";

fn to_counts(counts: &ArrayRef) -> Option<ArrayRef> {
    cast(counts, &DataType::UInt64).ok()
}

/// One row a file: the number of rows, and of each column the minimum, the maximum and the number of nulls, all of them nullable.
fn parse_statistics(schema: &Schema, documents: &str, files: usize) -> Result<RecordBatch, ArrowError> {
    let columns = schema.fields().iter().filter(|field| has_bounds(field.data_type()));
    let bounds: Fields =
        columns.clone().map(|field| Field::new(field.name(), field.data_type().clone(), true)).collect();
    let counts: Fields = columns.map(|field| Field::new(field.name(), DataType::Int64, true)).collect();
    let schema = Arc::new(Schema::new(vec![
        Field::new(ROWS, DataType::Int64, true),
        Field::new(MIN, DataType::Struct(bounds.clone()), true),
        Field::new(MAX, DataType::Struct(bounds), true),
        Field::new(NULLS, DataType::Struct(counts), true),
    ]));
    let reader = arrow::json::ReaderBuilder::new(schema.clone()).with_batch_size(files.max(1));
    let mut batches = reader.build(Cursor::new(documents))?;
    let parsed = batches.next().transpose()?.unwrap_or_else(|| RecordBatch::new_empty(schema));
    match parsed.num_rows() == files {
        true => Ok(parsed),
        false => {
            Err(ArrowError::JsonError(format!("{} of {files} files have statistics", parsed.num_rows())))
        }
    }
}

/// The types whose statistics bound all values. Those of numbers with fractions say nothing about NaN.
fn has_bounds(data_type: &DataType) -> bool {
    use DataType::{Boolean, Date32, Decimal128, Int32, Int64, Timestamp, Utf8, Utf8View};
    matches!(
        data_type,
        Boolean
            | Int32
            | Int64
            | Date32
            | Utf8
            | Utf8View
            | Decimal128(..)
            | Timestamp(TimeUnit::Microsecond, _)
    )
}

/// Statistics have the milliseconds of times, and leave out their microseconds.
fn extend_times(values: ArrayRef) -> ArrayRef {
    match values.as_primitive_opt::<TimestampMicrosecondType>() {
        None => values,
        Some(times) => {
            let zone = times.timezone().map(Arc::<str>::from);
            let extended = times.unary::<_, TimestampMicrosecondType>(|time| time.saturating_add(999));
            Arc::new(extended.with_timezone_opt(zone))
        }
    }
}
