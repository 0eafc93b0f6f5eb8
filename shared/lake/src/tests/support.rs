//! What the tests of several modules share.

use std::fmt;
use std::sync::{Arc, Mutex};

use arrow::array::cast::AsArray;
use arrow::array::{FixedSizeBinaryArray, Int64Array, RecordBatch};
use arrow::datatypes::Int64Type;
use arrow::util::display::array_value_to_string;
use futures::future::BoxFuture;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use parquet::arrow::arrow_reader::ParquetRecordBatchReaderBuilder;
use pinlake_clean::{CleanedRows, Position, RecordCleaner, RecordOrigin};
use pinlake_env::{Env, ManualClock, Rng};
use pinlake_schema::{Catalog, Contract};

use crate::{Lake, Table};

/// A clock that does not advance, and seeded randomness.
pub(crate) fn env(seed: u64) -> Env {
    let clock = ManualClock::at("2022-10-19T12:00:00Z".parse().unwrap());
    Env { clock: Arc::new(clock), rng: Arc::new(Rng::seeded(seed)) }
}

/// A catalog of one dataset, `visit`, whose column `page` has the given rule, such as `null = ["home"]`.
pub(crate) fn visits(page: &str) -> Arc<Catalog> {
    let text = format!(
        "name = \"visit\"\nversion = 1\ndescription = \"One row a visit.\"\nidentity = [\"visitor\"]\n\
         [route]\nfiles = [\"visit*\"]\nstreams = [\"*-visit\"]\ntopics = [\"*.visit\"]\nshape = [\"visitor\"]\n[[column]]\nname = \"visitor\"\ntype = \"int64\"\nrequired = true\n\
         [[column]]\nname = \"page\"\ntype = \"int64\"\n{page}\n"
    );
    Arc::new(Catalog::from_files([("visit.toml".to_owned(), text)]).unwrap())
}

/// A catalog without a dataset for visits.
pub(crate) fn without_visits() -> Arc<Catalog> {
    let text = "name = \"other\"\nversion = 1\ndescription = \"x\"\n[route]\nshape = [\"other\"]\n\
                [[column]]\nname = \"other\"\ntype = \"int64\"\n";
    Arc::new(Catalog::from_files([("other.toml".to_owned(), text.to_owned())]).unwrap())
}

/// Rows of a dataset with two columns of numbers. The key of each row is its value.
pub(crate) fn rows(contract: &Contract, values: &[i64]) -> RecordBatch {
    let keys = values.iter().map(|value| (*value as u128).to_be_bytes());
    let column = Arc::new(Int64Array::from(values.to_vec()));
    let keys = Arc::new(FixedSizeBinaryArray::try_from_iter(keys).unwrap());
    RecordBatch::try_new(contract.landing_schema(), vec![column.clone(), column, keys]).unwrap()
}

/// Cleans records of a dataset, and returns the rows of each contract.
pub(crate) fn clean(catalog: &Arc<Catalog>, dataset: &str, records: &[&str]) -> Vec<CleanedRows> {
    clean_beside(catalog, &[], dataset, records)
}

/// Like [`clean`], for a lake whose records these catalogs have cleaned.
pub(crate) fn clean_beside(
    catalog: &Arc<Catalog>,
    history: &[Arc<Catalog>],
    dataset: &str,
    records: &[&str],
) -> Vec<CleanedRows> {
    let cleaner = RecordCleaner::new(catalog.clone(), "2022-10-19T11:00:00Z".parse().unwrap());
    let mut cleaner = cleaner.with_keys_of_others(history);
    for (line, record) in (1..).zip(records) {
        let origin = RecordOrigin { source: "test", position: Position::Line(line), record_id: None };
        cleaner.push(record.as_bytes(), Some(dataset), &origin);
    }
    cleaner.drain()
}

/// The rows of a dataset's table in the columns of the catalog's contract, as text, in order.
pub(crate) async fn text_rows(lake: &Lake, catalog: &Arc<Catalog>, dataset: &str) -> Vec<String> {
    let table = lake.table(catalog.contract(dataset).unwrap());
    let mut found = Vec::new();
    for file in table.data_files().await.unwrap() {
        for batch in table.read_file(&file).await.unwrap() {
            found.extend((0..batch.num_rows()).map(|row| text_row(&batch, row)));
        }
    }
    found.sort();
    found
}

fn text_row(batch: &RecordBatch, row: usize) -> String {
    let cells = batch.columns().iter().map(|column| array_value_to_string(column, row).unwrap());
    cells.collect::<Vec<_>>().join(" ")
}

/// The values in the first column of such a table, ascending. Checks the file sizes in the log, and that there is no
/// key column.
pub(crate) async fn values(lake: &Lake, table: &Table) -> Vec<i64> {
    let mut values = Vec::new();
    for file in table.pin().await.unwrap().files {
        let bytes = lake.store().get(&file.path).await.unwrap().bytes().await.unwrap();
        assert_eq!(bytes.len() as u64, file.size);
        for batch in ParquetRecordBatchReaderBuilder::try_new(bytes).unwrap().build().unwrap() {
            let batch = batch.unwrap();
            assert_eq!(batch.num_columns(), 2, "no key column in the table");
            values.extend_from_slice(batch.column(0).as_primitive::<Int64Type>().values());
        }
    }
    values.sort_unstable();
    values
}

/// A fault of a put.
pub(crate) enum Fault {
    /// Another writer commits first: this future runs before the put.
    Conflict(BoxFuture<'static, ()>),
    /// The put succeeds and returns 412: its response was lost and the SDK sent it again.
    ResponseLost,
}

/// A store that injects one fault, into the put of one log entry.
pub(crate) struct FaultyStore {
    inner: Arc<InMemory>,
    entry: String,
    fault: Mutex<Option<Fault>>,
}

impl FaultyStore {
    pub(crate) fn at_version(version: u64, inner: Arc<InMemory>) -> Self {
        Self { inner, entry: format!("_delta_log/{version:020}.json"), fault: Mutex::default() }
    }

    /// Injects the fault into the next put of that version.
    pub(crate) fn inject(&self, fault: Fault) {
        *self.fault.lock().unwrap() = Some(fault);
    }

    pub(crate) fn has_fired(&self) -> bool {
        self.fault.lock().unwrap().is_none()
    }
}

impl fmt::Debug for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("FaultyStore").field("entry", &self.entry).finish_non_exhaustive()
    }
}

impl fmt::Display for FaultyStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FaultyStore")
    }
}

#[async_trait::async_trait]
impl ObjectStore for FaultyStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let is_target = options.mode == PutMode::Create && path.as_ref().ends_with(&self.entry);
        let fault = if is_target { self.fault.lock().unwrap().take() } else { None };
        let loses_response = matches!(fault, Some(Fault::ResponseLost));
        if let Some(Fault::Conflict(first)) = fault {
            first.await;
        }
        let result = self.inner.put_opts(path, payload, options).await?;
        if loses_response {
            let source = "412 Precondition Failed".into();
            return Err(object_store::Error::AlreadyExists { path: path.to_string(), source });
        }
        Ok(result)
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
