//! Data files: rows as Parquet, and what the log says of them.

use arrow::array::{RecordBatch, StructArray};
use bytes::Bytes;
use delta_kernel::expressions::ColumnName;
use delta_kernel::schema::StructType;
use delta_kernel_default_engine::stats::FileStatsAccumulator;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use parquet::arrow::ArrowWriter;
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::arrow_writer::ArrowWriterOptions;
use parquet::basic::{Compression, ZstdLevel};
use parquet::file::properties::WriterProperties;

use crate::error::LakeError;

/// A data file of a table, as the log names it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct DataFile {
    /// Relative to the table's folder.
    pub path: String,
    /// Bytes.
    pub size: u64,
    /// Rows, when the log has statistics.
    pub rows: Option<u64>,
}

/// Where a data file lies in the lake.
pub(crate) fn absolute(table: &Path, file: &str) -> Path {
    Path::from_iter(table.parts().chain(Path::from(file).parts()))
}

/// An encoded data file that is not in the log yet.
#[derive(Debug)]
pub(crate) struct NewFile {
    /// Parquet.
    pub bytes: Bytes,
    /// One row: numRecords, minValues, maxValues, nullCount (Delta protocol, "Per-file Statistics").
    pub stats: StructArray,
}

/// The rows of the data file at `path`, as it has them.
///
/// # Errors
/// When the store fails, or the file is no Parquet.
pub(crate) async fn open(
    store: &dyn ObjectStore,
    path: &Path,
) -> Result<ParquetRecordBatchReader, LakeError> {
    let got = store.get(path).await.map_err(LakeError::store(path))?;
    let bytes = got.bytes().await.map_err(LakeError::store(path))?;
    ParquetRecordBatchReaderBuilder::try_new(bytes)
        .and_then(ParquetRecordBatchReaderBuilder::build)
        .map_err(LakeError::damaged(path))
}

/// Writes `batches` (table columns only) as one Parquet file.
///
/// # Errors
/// When Arrow or Parquet refuse the rows.
pub(crate) fn encode(
    dataset: &str,
    batches: &[RecordBatch],
    stats_columns: &[ColumnName],
    schema: &StructType,
) -> Result<NewFile, LakeError> {
    let properties = WriterProperties::builder()
        .set_compression(Compression::ZSTD(ZstdLevel::try_new(1).map_err(LakeError::encode(dataset))?))
        .set_created_by(format!("pinlake {}", env!("CARGO_PKG_VERSION")))
        .build();
    // Readers take the types from the table's schema: Arrow's own copy in each file would only add bytes.
    let options = ArrowWriterOptions::new().with_properties(properties).with_skip_arrow_metadata(true);
    let first = batches.first().ok_or_else(|| LakeError::encode(dataset)("there are no rows"))?;
    let mut stats = FileStatsAccumulator::new(stats_columns, schema);
    let mut bytes = Vec::new();
    let mut writer = ArrowWriter::try_new_with_options(&mut bytes, first.schema(), options)
        .map_err(LakeError::encode(dataset))?;
    for batch in batches {
        writer.write(batch).map_err(LakeError::encode(dataset))?;
        stats.merge(batch).map_err(LakeError::delta(dataset))?;
    }
    writer.close().map_err(LakeError::encode(dataset))?;
    let stats = stats.finish().map_err(LakeError::delta(dataset))?;
    let stats = stats.ok_or_else(|| LakeError::encode(dataset)("there are no statistics"))?;
    Ok(NewFile { bytes: bytes.into(), stats })
}
