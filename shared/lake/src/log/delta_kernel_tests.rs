//! What `delta_kernel` does with its own committer. Two behaviours of Delta libraries lose or duplicate rows
//! (docs/commit-protocol.md). These tests show which of them `delta_kernel` has.

use arrow::array::{Int64Array, RecordBatch};
use arrow::datatypes::{DataType, Field};
use delta_kernel::committer::FileSystemCommitter;
use pinlake_clean::{Position, RecordCleaner, RecordOrigin};
use pinlake_env::{Env, Rng, SystemClock};
use pinlake_schema::Catalog;

use super::kernel::build_engine;
use super::*;
use crate::keys::KeyEpoch;
use crate::tests::support::{Fault, FaultyStore};
use crate::{Lake, data_file};

/// A store that can inject a fault into version 1.
fn build_store() -> Arc<FaultyStore> {
    Arc::new(FaultyStore::at_version(1, Arc::new(InMemory::new())))
}

/// A table of one column, written with the kernel's own committer.
struct KernelTable {
    store: Arc<FaultyStore>,
    engine: DefaultEngine<InlineExecutor>,
}

impl KernelTable {
    fn new() -> Self {
        let store = build_store();
        let engine = build_engine(store.clone());
        let schema: StructType = (&schema()).try_into_kernel().unwrap();
        let created = create_table(MIRROR, Arc::new(schema), "test", false)
            .build(&engine, Box::new(FileSystemCommitter::new()))
            .and_then(|transaction| transaction.commit(&engine));
        assert!(created.unwrap().is_committed());
        Self { store, engine }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Snapshot::builder_for(MIRROR).build(&self.engine).unwrap()
    }

    /// Appends one row to the version of `snapshot`, as one data file.
    fn append(&self, snapshot: &Arc<Snapshot>, path: &str) -> CommitResult {
        let mut transaction = snapshot
            .clone()
            .update_table(UpdateTableOperation::Write, "test", true)
            .build(&self.engine, Box::new(FileSystemCommitter::new()))
            .unwrap();
        let state = transaction.write_state().unwrap();
        let context = state.write_context_builder().build().unwrap();
        let row =
            RecordBatch::try_new(Arc::new(schema()), vec![Arc::new(Int64Array::from(vec![7]))]).unwrap();
        let columns = context.physical_data_schema();
        let epoch = KeyEpoch::parse("0123456789abcdef").unwrap();
        let file =
            data_file::encode("test", &[row.into()], epoch, &[], state.stats_columns(), columns.as_ref())
                .unwrap();
        let location = Url::parse(MIRROR).unwrap().join(path).unwrap();
        let meta = FileMeta { location, last_modified: 0, size: file.bytes.len() as u64 };
        let metadata = DataFileMetadata::new(meta, file.stats);
        transaction.add_files(build_add_file_metadata(metadata, &context).unwrap());
        transaction.commit(&self.engine).unwrap()
    }

    /// The number of rows of the newest version, from the log's statistics.
    fn rows(&self) -> u64 {
        let scan = self.snapshot().scan_builder().build().unwrap();
        let mut found = FoundFiles::default();
        for metadata in scan.scan_metadata(&self.engine).unwrap() {
            found = metadata.unwrap().visit_scan_files(found, push_data_file).unwrap();
        }
        found.files.iter().filter_map(|file| file.rows).sum()
    }
}

fn schema() -> Schema {
    Schema::new(vec![Field::new("visitor", DataType::Int64, true)])
}

/// delta-rs rebases concurrent appends silently. `delta_kernel` cannot: it commits the version after its snapshot or
/// nothing, and has no conflict checker that could accept an append.
#[test]
fn an_append_after_a_conflict_is_not_rebased() {
    let table = KernelTable::new();
    let snapshot = table.snapshot();
    assert!(table.append(&snapshot, "first.parquet").is_committed());
    let second = table.append(&snapshot, "second.parquet");
    assert!(matches!(second, CommitResult::Conflicted(_)), "{second:?}");
    assert_eq!(table.rows(), 1, "the second row is missing until its writer checks again");
}

/// The ambiguous commit does occur: the kernel reports its own commit as a conflict, and a writer that appends again
/// has the row twice.
#[test]
fn a_commit_with_a_lost_response_is_reported_as_a_conflict_and_duplicates_the_row() {
    let table = KernelTable::new();
    table.store.inject(Fault::ResponseLost);
    let first = table.append(&table.snapshot(), "first.parquet");
    assert!(matches!(first, CommitResult::Conflicted(_)), "{first:?}");
    assert!(table.append(&table.snapshot(), "again.parquet").is_committed());
    assert_eq!(table.rows(), 2, "one row was appended on purpose");
}

/// The same fault with pinlake's commit: the row is in the table once, and its writer knows.
#[tokio::test]
async fn pinlake_recognises_its_own_commit_after_a_lost_response() {
    let text = "name = \"visit\"\nversion = 1\ndescription = \"One row a visit.\"\n[route]\nshape = [\"visitor\"]\n\
                [[column]]\nname = \"visitor\"\ntype = \"int64\"\n";
    let catalog = Arc::new(Catalog::from_files([("visit.toml".to_owned(), text.to_owned())]).unwrap());
    let store = build_store();
    let env = Env { clock: Arc::new(SystemClock), rng: Arc::new(Rng::seeded(1)) };
    let lake = Lake::new(store.clone(), env);
    let contract = catalog.contract("visit").unwrap();
    for inserted in [1, 0] {
        let mut cleaner = RecordCleaner::new(catalog.clone(), "2022-10-19T12:00:00Z".parse().unwrap());
        let origin = RecordOrigin { source: "test", position: Position::Line(1), record_id: None };
        cleaner.push(br#"{"visitor": 7}"#, None, &origin);
        let rows = cleaner.drain().remove(0).rows;
        if inserted == 1 {
            store.inject(Fault::ResponseLost);
        }
        let summary = lake.insert(&catalog, contract, &[rows]).await.unwrap();
        assert_eq!(summary.inserted, inserted);
        assert!(store.has_fired(), "the response was lost");
    }
    let rows: u64 = lake.table(contract).pin().await.unwrap().files.iter().filter_map(|file| file.rows).sum();
    assert_eq!(rows, 1);
}
