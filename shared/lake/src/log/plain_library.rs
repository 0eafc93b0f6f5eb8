//! What `delta_kernel` does when it is used plainly: with its own committer, and by the answers that it gives. Two
//! things lose or double rows with a Delta library (docs/commit-protocol.md); these tests say which of them bite here.

use arrow::array::Int64Array;
use delta_kernel::committer::FileSystemCommitter;
use pinlake_clean::{Position, RecordCleaner, RecordOrigin};
use pinlake_env::{Env, Rng, SystemClock};
use pinlake_schema::Catalog;

use super::*;
use crate::keys::KeyEpoch;
use crate::testing::{Fault, FaultyStore};
use crate::{Lake, data_file};

/// A store in which version 1 may be in trouble.
fn store() -> Arc<FaultyStore> {
    Arc::new(FaultyStore::at_version(1, Arc::new(InMemory::new())))
}

/// A table of one column, made plainly.
struct Plain {
    store: Arc<FaultyStore>,
    engine: DefaultEngine<Inline>,
}

impl Plain {
    fn new() -> Self {
        let store = store();
        let engine = DefaultEngineBuilder::new(store.clone()).with_task_executor(Arc::new(Inline)).build();
        let schema: StructType = (&schema()).try_into_kernel().unwrap();
        let made = create_table(MIRROR, Arc::new(schema), "plain", false)
            .build(&engine, Box::new(FileSystemCommitter::new()))
            .and_then(|transaction| transaction.commit(&engine));
        assert!(made.unwrap().is_committed());
        Self { store, engine }
    }

    fn snapshot(&self) -> Arc<Snapshot> {
        Snapshot::builder_for(MIRROR).build(&self.engine).unwrap()
    }

    /// Appends one row to the version that `snapshot` is of, in a data file of its own.
    fn append(&self, snapshot: &Arc<Snapshot>, path: &str) -> CommitResult {
        let mut transaction = snapshot
            .clone()
            .update_table(UpdateTableOperation::Write, "plain", true)
            .build(&self.engine, Box::new(FileSystemCommitter::new()))
            .unwrap();
        let state = transaction.write_state().unwrap();
        let context = state.write_context_builder().build().unwrap();
        let row =
            RecordBatch::try_new(Arc::new(schema()), vec![Arc::new(Int64Array::from(vec![7]))]).unwrap();
        let columns = context.physical_data_schema();
        let epoch = KeyEpoch::parse("0123456789abcdef").unwrap();
        let file = data_file::encode("plain", &[row.into()], epoch, state.stats_columns(), columns.as_ref())
            .unwrap();
        let location = Url::parse(MIRROR).unwrap().join(path).unwrap();
        let meta = FileMeta { location, last_modified: 0, size: file.bytes.len() as u64 };
        let metadata = DataFileMetadata::new(meta, file.stats);
        transaction.add_files(build_add_file_metadata(metadata, &context).unwrap());
        transaction.commit(&self.engine).unwrap()
    }

    /// Rows of the newest version, as its log counts them.
    fn rows(&self) -> u64 {
        let scan = self.snapshot().scan_builder().build().unwrap();
        let mut files = Vec::new();
        for metadata in scan.scan_metadata(&self.engine).unwrap() {
            files = metadata.unwrap().visit_scan_files(files, collect).unwrap();
        }
        files.iter().filter_map(|file| file.rows).sum()
    }
}

fn schema() -> Schema {
    Schema::new(vec![Field::new("visitor", DataType::Int64, true)])
}

/// The silent rebase of concurrent appends, which delta-rs does, cannot happen with this library: it commits to the
/// version after its snapshot or not at all, and has no conflict checker that could let an append pass.
#[test]
fn an_append_that_lost_its_version_is_not_rebased() {
    let plain = Plain::new();
    let snapshot = plain.snapshot();
    assert!(plain.append(&snapshot, "first.parquet").is_committed());
    let second = plain.append(&snapshot, "second.parquet");
    assert!(matches!(second, CommitResult::Conflicted(_)), "{second:?}");
    assert_eq!(plain.rows(), 1, "the second row is not there unless its writer looks again");
}

/// The ambiguous commit does happen: the library calls its own commit a conflict, and whoever believes it and appends
/// again has the row twice.
#[test]
fn a_commit_whose_answer_was_lost_is_called_a_conflict_and_doubles_the_row() {
    let plain = Plain::new();
    plain.store.expect(Fault::AnswerLost);
    let first = plain.append(&plain.snapshot(), "first.parquet");
    assert!(matches!(first, CommitResult::Conflicted(_)), "{first:?}");
    assert!(plain.append(&plain.snapshot(), "again.parquet").is_committed());
    assert_eq!(plain.rows(), 2, "one row was meant");
}

/// The same store, and pinlake's commit: the row is there once, and its writer knows.
#[tokio::test]
async fn pinlake_knows_its_own_commit_though_the_answer_was_lost() {
    let text = "name = \"visit\"\nversion = 1\ndescription = \"One row a visit.\"\n[route]\nshape = [\"visitor\"]\n\
                [[column]]\nname = \"visitor\"\ntype = \"int64\"\n";
    let catalog = Arc::new(Catalog::from_files([("visit.toml".to_owned(), text.to_owned())]).unwrap());
    let store = store();
    let effects = Env { clock: Arc::new(SystemClock), rng: Arc::new(Rng::seeded(1)) };
    let lake = Lake::new(store.clone(), effects);
    let contract = catalog.contract("visit").unwrap();
    for inserted in [1, 0] {
        let mut intake = RecordCleaner::new(catalog.clone(), "2022-10-19T12:00:00Z".parse().unwrap());
        let origin = RecordOrigin { source: "test", position: Position::Line(1), record_id: None };
        intake.push(br#"{"visitor": 7}"#, None, &origin);
        let rows = intake.drain().remove(0).rows;
        if inserted == 1 {
            store.expect(Fault::AnswerLost);
        }
        let done = lake.insert(&catalog, contract, &[rows]).await.unwrap();
        assert_eq!(done.inserted, inserted);
        assert!(store.is_over(), "the answer was lost");
    }
    let rows: u64 = lake.table(contract).pin().await.unwrap().files.iter().filter_map(|file| file.rows).sum();
    assert_eq!(rows, 1);
}
