//! Files in the compactor: formats, duplicate messages, crashes between any two writes, deadlines.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use compactor::files::{Buckets, Files, MAX_FILE_BYTES, Steps, parquet_sandbox};
use compactor::trigger::Trigger;
use compactor::{Compactor, InvocationSummary};
use futures::stream::BoxStream;
use futures::{StreamExt, TryStreamExt};
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore, ObjectStoreExt,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use pinlake_clean::record_reader::sandbox::Sandbox;
use pinlake_env::{Clock, Env, ManualClock, Rng};
use pinlake_files::attempt::LEASE;
use pinlake_files::source::FileSource;
use pinlake_lake::{CompactionLimits, Lake};
use pinlake_landing::message::ObjectRef;
use pinlake_schema::Catalog;

use crate::broken_contract::with_broken;
use crate::{Sent, deliver, messages};

const BUCKET: &str = "lake";
const SINK: &str = "sink";
/// A sink that the role cannot read.
const DENIED: &str = "denied";
const INVOCATION_TIME: Duration = Duration::from_secs(60);

/// A store that fails after a number of writes, as for a process that was killed.
#[derive(Debug)]
struct FailingStore {
    inner: Arc<InMemory>,
    writes_left: Arc<AtomicI64>,
}

impl FailingStore {
    fn write(&self) -> Result<()> {
        if self.writes_left.fetch_sub(1, Ordering::Relaxed) > 0 {
            return Ok(());
        }
        Err(object_store::Error::Generic { store: "FailingStore", source: "out of writes".into() })
    }
}

impl std::fmt::Display for FailingStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FailingStore")
    }
}

#[async_trait]
impl ObjectStore for FailingStore {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        self.write()?;
        self.inner.put_opts(path, payload, options).await
    }
    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.write()?;
        self.inner.put_multipart_opts(path, options).await
    }
    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }
    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        match self.write() {
            Ok(()) => self.inner.delete_stream(paths),
            Err(error) => futures::stream::once(async move { Err(error) }).boxed(),
        }
    }
    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }
    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }
    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.write()?;
        self.inner.copy_opts(from, to, options).await
    }
}

/// The bucket of the sink; other buckets fail, like those that the role cannot read.
struct Sink(Arc<InMemory>);

impl Buckets for Sink {
    fn open(&self, bucket: &str) -> Arc<dyn ObjectStore> {
        if bucket == SINK {
            return self.0.clone();
        }
        let folder = std::env::temp_dir().join(format!("pinlake-no-bucket-{}", std::process::id()));
        std::fs::write(&folder, "").unwrap();
        Arc::new(object_store::prefix::PrefixStore::new(
            object_store::local::LocalFileSystem::new(),
            folder.to_str().unwrap(),
        ))
    }
}

/// A lake, a sink bucket, and the compactors that work on them.
pub(crate) struct World {
    lake: Arc<InMemory>,
    sink: Arc<InMemory>,
    max_bytes: u64,
    clock: Arc<ManualClock>,
    /// Number of compactors so far; each has its own seed.
    compactors: AtomicU64,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(ManualClock::at("2022-10-19T12:00:00Z".parse().unwrap()));
        Self {
            lake: Arc::default(),
            sink: Arc::default(),
            max_bytes: MAX_FILE_BYTES,
            clock,
            compactors: AtomicU64::new(0),
        }
    }

    pub(crate) async fn drop_file(&self, path: &str, bytes: impl Into<PutPayload>) {
        self.lake.put(&Path::parse(path).unwrap(), bytes.into()).await.unwrap();
    }

    /// Creates a compactor whose store fails after `writes` writes.
    fn compactor(&self, writes: i64) -> (Compactor<Sent>, Sent) {
        let sent = Sent::default();
        let store = FailingStore { inner: self.lake.clone(), writes_left: Arc::new(writes.into()) };
        let seed = self.compactors.fetch_add(1, Ordering::Relaxed);
        let env = Env { clock: self.clock.clone(), rng: Arc::new(Rng::seeded(seed)) };
        let compactor = Compactor {
            lake: Lake::new(Arc::new(store), env.clone()),
            catalog: Arc::new(Catalog::embedded().unwrap()),
            trigger_queue: sent.clone(),
            budget: CompactionLimits::default(),
            files: Some(Files {
                bucket: BUCKET.to_owned(),
                prefix: String::new(),
                sinks: [SINK, DENIED].map(str::to_owned).into(),
                buckets: Arc::new(Sink(self.sink.clone())),
                max_bytes: self.max_bytes,
                steps: Steps::default(),
                sandbox: Sandbox {
                    program: env!("CARGO_BIN_EXE_compactor").into(),
                    ..parquet_sandbox(2 << 30).unwrap()
                },
                env,
            }),
        };
        (compactor, sent)
    }

    /// Handles messages, and those that the compactor sends itself, until there are none. Earlier leases have expired.
    pub(crate) async fn run(&self, bodies: &[String], time: Duration) -> Vec<InvocationSummary> {
        self.clock.advance(LEASE);
        let (compactor, sent) = self.compactor(i64::MAX);
        let (mut summaries, mut bodies) = (Vec::new(), bodies.to_vec());
        while !bodies.is_empty() {
            summaries.push(compactor.handle(messages(&bodies), time).await);
            bodies = std::mem::take(&mut *sent.0.lock().unwrap());
            assert!(summaries.len() < 100, "it does not end");
        }
        summaries
    }

    /// Rows by dataset.
    pub(crate) async fn rows(&self) -> BTreeMap<String, u64> {
        let (compactor, _) = self.compactor(i64::MAX);
        let mut rows = BTreeMap::new();
        for contract in compactor.catalog.contracts() {
            let pinned = compactor.lake.table(contract).pin().await;
            let files = pinned.map(|pinned| pinned.files).unwrap_or_default();
            let count: u64 = files.iter().filter_map(|file| file.rows).sum();
            if count > 0 {
                rows.insert(contract.name.clone(), count);
            }
        }
        rows
    }

    pub(crate) async fn paths(&self, prefix: &str) -> BTreeSet<String> {
        let prefix = Path::from(prefix);
        let metas: Vec<_> = self.lake.list(Some(&prefix)).try_collect().await.unwrap();
        metas.into_iter().map(|meta| meta.location.to_string()).collect()
    }
}

fn rows(expected: &[(&str, u64)]) -> BTreeMap<String, u64> {
    expected.iter().map(|(dataset, rows)| ((*dataset).to_owned(), *rows)).collect()
}

fn notification(bucket: &str, key: &str) -> String {
    let key = key.replace('+', "%2B").replace('=', "%3D");
    serde_json::json!({ "Records": [{ "s3": { "bucket": { "name": bucket }, "object": { "key": key } } }] })
        .to_string()
}

pub(crate) fn user(ind: u64) -> String {
    format!(
        r#"{{"ind": {ind}, "first_name": "A", "last_name": "B", "age": 20, "date_joined": "2015-10-21 21:26:45"}}"#
    )
}

fn geo(ind: u64) -> String {
    format!(
        r#"{{"ind": {ind}, "timestamp": "2020-08-28 03:52:47", "latitude": 1.5, "longitude": 2.5, "country": "Peru"}}"#
    )
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// Five files in five formats, with five users, two places and one invalid row.
async fn drop_five_files(world: &World) {
    world.drop_file("inbox/user/of may.ndjson", format!("{}\n{}\nnot json\n", user(1), user(2))).await;
    world.drop_file("inbox/user/more.json.gz", gzip(format!("[{},{}]", user(2), user(3)).as_bytes())).await;
    let csv = "ind,first_name,last_name,age,date_joined\n4,A,B,20,2015-10-21 21:26:45\n";
    world.drop_file("inbox/user/2022/rest.csv", csv).await;
    let zst = zstd::bulk::compress(format!("{}{}", geo(1), geo(2)).as_bytes(), 3).unwrap();
    world.drop_file("inbox/anything.zst", zst).await;
    world.drop_file("inbox/unheard/user.ndjson", format!("{}\n", user(5))).await;
}

const FIVE_FILES_ROWS: [(&str, u64); 3] = [("geo", 2), ("quarantine", 1), ("user", 5)];

#[tokio::test]
async fn files_of_a_broken_contract_wait_until_it_is_repaired() {
    let world = World::new();
    drop_five_files(&world).await;
    let key = "topics/x.user/partition=0/x.user+0+0000000000.json";
    world.sink.put(&Path::from(key), user(6).into()).await.unwrap();
    world.clock.advance(LEASE);
    let (mut compactor, _) = world.compactor(i64::MAX);
    compactor.catalog = with_broken("user");
    let bodies = [Trigger::All.to_body(), notification(SINK, key)];
    let summary = compactor.handle(messages(&bodies), INVOCATION_TIME).await;
    let landed = summary.files.unwrap().unwrap();
    assert_eq!((landed.landed, landed.rejected, landed.more), (1, 0, false), "the file of places");
    let failed: Vec<_> =
        summary.response.batch_item_failures.iter().map(|failure| failure.item_identifier.clone()).collect();
    assert_eq!(failed, ["m1"], "the object of the sink comes again");
    assert_eq!(world.paths("inbox").await.len(), 4);
    assert_eq!(world.rows().await, rows(&[("geo", 2)]));
    world.run(&bodies, INVOCATION_TIME).await;
    assert_eq!(world.rows().await, rows(&[("geo", 2), ("quarantine", 1), ("user", 6)]));
    assert!(world.paths("inbox").await.is_empty());
}

#[tokio::test]
async fn files_of_the_inbox_are_inserted_once_and_moved_to_raw() {
    let world = World::new();
    drop_five_files(&world).await;
    // One file has two notifications, the others have none.
    let message = notification(BUCKET, "inbox/user/of+may.ndjson");
    let summaries = world.run(&[message.clone(), message.clone()], INVOCATION_TIME).await;
    assert!(summaries[0].response.batch_item_failures.is_empty());
    let landed = summaries[0].files.as_ref().unwrap().as_ref().unwrap();
    assert_eq!((landed.landed, landed.rejected, landed.records), (5, 0, 9));
    assert_eq!(world.rows().await, rows(&FIVE_FILES_ROWS));
    assert!(world.paths("inbox").await.is_empty());
    let kept = world.paths("raw/inbox").await;
    assert_eq!(kept.len(), 5, "{kept:?}");
    assert!(kept.iter().any(|path| path.ends_with("/of may.ndjson")), "{kept:?}");
    // The same content under another name, and a late message.
    world.drop_file("inbox/user/again.ndjson", format!("{}\n{}\nnot json\n", user(1), user(2))).await;
    world.run(&[message, Trigger::All.to_body()], INVOCATION_TIME).await;
    assert_eq!(world.rows().await, rows(&FIVE_FILES_ROWS));
    assert!(world.paths("inbox").await.is_empty() && world.paths("landing").await.is_empty());
}

// A failed commit is retried for ten seconds of virtual time.
#[tokio::test(start_paused = true)]
async fn a_crash_between_any_two_writes_loses_and_duplicates_nothing() {
    for writes in 0.. {
        let world = World::new();
        drop_five_files(&world).await;
        let (compactor, _) = world.compactor(writes);
        let summary = compactor.handle(messages(&[Trigger::All.to_body()]), INVOCATION_TIME).await;
        let survived = summary.response.batch_item_failures.is_empty();
        world.run(&[Trigger::All.to_body()], INVOCATION_TIME).await;
        assert_eq!(world.rows().await, rows(&FIVE_FILES_ROWS), "killed after {writes} writes");
        assert_eq!(world.paths("raw/inbox").await.len(), 5, "killed after {writes} writes");
        assert!(world.paths("inbox").await.is_empty(), "killed after {writes} writes");
        if survived {
            assert!(writes > 20, "there is more to do than {writes} writes");
            return;
        }
    }
}

#[tokio::test]
async fn an_unreadable_file_moves_to_failed_and_its_first_records_stay() {
    let world = World::new();
    let lines: String = (1..=2000).map(|ind| user(ind) + "\n").collect();
    let compressed = gzip(lines.as_bytes());
    world.drop_file("inbox/user/cut.ndjson.gz", compressed[..compressed.len() / 2].to_vec()).await;
    world.drop_file("inbox/user/no.parquet", "PAR1 is not all of it").await;
    world.drop_file("inbox/user/good.ndjson", user(5000)).await;
    for _ in 0..2 {
        world.run(&[Trigger::All.to_body()], INVOCATION_TIME).await;
    }
    let counted = world.rows().await;
    assert_eq!(counted["quarantine"], 2);
    assert!((100..1999).contains(&counted["user"]), "{counted:?}");
    let failed = world.paths("failed/inbox").await;
    assert_eq!(failed.len(), 2, "{failed:?}");
    assert!(world.paths("inbox").await.is_empty());
}

#[tokio::test]
async fn a_too_large_file_is_quarantined_by_name() {
    let world = World { max_bytes: 1000, ..World::new() };
    let lines: String = (1..=20).map(|ind| user(ind) + "\n").collect();
    world.drop_file("inbox/user/large.ndjson", lines).await;
    world.drop_file("inbox/user/small.ndjson", user(1)).await;
    world.run(&[Trigger::Inbox.to_body()], INVOCATION_TIME).await;
    assert_eq!(world.rows().await, rows(&[("quarantine", 1), ("user", 1)]));
    assert_eq!(world.paths("failed/inbox").await.len(), 1);
}

#[tokio::test]
async fn a_large_file_continues_in_the_next_invocation() {
    let world = World::new();
    // More than one slice.
    let lines: String = (1..=120_000).map(|ind| user(ind) + "\n").collect();
    assert!(lines.len() > 8 << 20);
    world.drop_file("inbox/user/large.ndjson", lines).await;
    // Without time, no file is started, and the compactor sends itself a trigger.
    let (compactor, sent) = world.compactor(i64::MAX);
    let summary = compactor.handle(messages(&[Trigger::Inbox.to_body()]), Duration::ZERO).await;
    assert!(summary.response.batch_item_failures.is_empty());
    assert_eq!(*sent.0.lock().unwrap(), [Trigger::Inbox.to_body()]);
    let summaries = world.run(&[Trigger::Inbox.to_body()], Duration::from_millis(2)).await;
    let records: u64 =
        summaries.iter().filter_map(|summary| Some(summary.files.as_ref()?.as_ref().ok()?.records)).sum();
    assert_eq!(records, 120_000, "no record landed twice in {} invocations", summaries.len());
    world.run(&[Trigger::All.to_body()], INVOCATION_TIME).await;
    assert_eq!(world.rows().await, rows(&[("user", 120_000)]));
}

#[tokio::test]
async fn objects_of_the_sink_land_when_named_and_are_not_moved() {
    let world = World::new();
    let mut messages_sent = Vec::new();
    for offset in 0..6 {
        let key = format!("topics/0a1b.user/partition=0/0a1b.user+0+{offset:010}.json");
        // Every second object has the same record as the one before.
        world.sink.put(&Path::parse(&key).unwrap(), (user(offset / 2) + "\n").into()).await.unwrap();
        messages_sent.push(notification(SINK, &key));
        messages_sent.push(notification(SINK, &key));
    }
    messages_sent.push(notification(SINK, "topics/gone.json"));
    messages_sent.push(notification(DENIED, "topics/0a1b.user/partition=0/0a1b.user+0+0000000000.json"));
    messages_sent.push(notification("not-ours", "topics/0a1b.user/partition=0/0a1b.user+0+0000000000.json"));
    messages_sent.push(notification("../Not a bucket", "x"));
    let summaries = world.run(&messages_sent, INVOCATION_TIME).await;
    let failed: Vec<_> = summaries[0]
        .response
        .batch_item_failures
        .iter()
        .map(|failure| failure.item_identifier.clone())
        .collect();
    assert_eq!(failed, ["m13"], "only the message whose object could not be fetched is delivered again");
    let landed = summaries[0].files.as_ref().unwrap().as_ref().unwrap();
    assert_eq!((landed.landed, landed.records, landed.datasets.len()), (6, 6, 1));
    assert_eq!(world.rows().await, rows(&[("user", 3)]));
    assert_eq!(world.sink.list(None).count().await, 6);
    assert_eq!(world.paths("raw").await.len(), 1, "one slice for all of them");
    // Out of time: the compactor sends itself the objects that are left.
    let (compactor, sent) = world.compactor(i64::MAX);
    compactor.handle(messages(&messages_sent[..1]), Duration::ZERO).await;
    let key = "topics/0a1b.user/partition=0/0a1b.user+0+0000000000.json".to_owned();
    let left = Trigger::Objects(vec![ObjectRef { bucket: SINK.to_owned(), key }]);
    assert_eq!(*sent.0.lock().unwrap(), [left.to_body()]);
}

#[tokio::test]
async fn an_upload_with_an_unsupported_key_becomes_a_dead_letter_and_blocks_nothing() {
    let world = World::new();
    world.drop_file("inbox/user/a.ndjson", user(1)).await;
    let odd: Vec<String> =
        ["inbox//a.csv", "inbox/user/../a.csv"].map(|key| notification(BUCKET, key)).to_vec();
    let bodies = [odd, vec![notification(BUCKET, "inbox/user/a.ndjson")]].concat();
    let summaries = world.run(&bodies, INVOCATION_TIME).await;
    assert_eq!(world.rows().await, rows(&[("user", 1)]));
    let again = summaries[0].response.batch_item_failures.iter();
    assert_eq!(again.map(|failure| failure.item_identifier.as_str()).collect::<Vec<_>>(), ["m0", "m1"]);
}

/// The progress of an object of another bucket does not apply to a new object with the same key.
#[tokio::test]
async fn a_replaced_large_object_is_read_from_its_start() {
    let world = World::new();
    let key = "exports/user.ndjson";
    let lines = |from: u64| (from..from + 120_000).map(|ind| user(ind) + "\n").collect::<String>();
    let put = async |from| world.sink.put(&Path::parse(key).unwrap(), lines(from).into()).await.unwrap();
    put(1_000_000).await;
    // The time is up after the first slice; the compactor sends itself the rest.
    world.run(&[notification(SINK, key)], Duration::from_millis(2)).await;
    world.run(&[Trigger::All.to_body()], INVOCATION_TIME).await;
    assert_eq!(world.rows().await, rows(&[("user", 120_000)]));
    assert!(world.paths("state/files").await.is_empty(), "the file is finished");
    // The export of the next day, partly landed; then that of the day after.
    put(2_000_000).await;
    let (compactor, _) = world.compactor(i64::MAX);
    compactor.handle(messages(&[notification(SINK, key)]), Duration::from_millis(2)).await;
    assert_eq!(world.paths("state/files").await.len(), 1);
    let before = world.rows().await["user"];
    put(3_000_000).await;
    let summaries = world.run(&[notification(SINK, key)], INVOCATION_TIME).await;
    assert!(summaries.iter().all(|summary| summary.response.batch_item_failures.is_empty()));
    let records: u64 =
        summaries.iter().filter_map(|summary| Some(summary.files.as_ref()?.as_ref().ok()?.records)).sum();
    assert_eq!(records, 120_000, "all of the new object, and nothing of the old one");
    world.run(&[Trigger::All.to_body()], INVOCATION_TIME).await;
    assert!(world.rows().await["user"] > before && world.paths("state/files").await.is_empty());
}

/// Progress of an earlier release, which names no version, does not skip records.
#[tokio::test]
async fn progress_without_a_version_is_ignored_and_removed() {
    let world = World::new();
    let key = "exports/user.ndjson";
    world.sink.put(&Path::parse(key).unwrap(), format!("{}\n{}\n", user(1), user(2)).into()).await.unwrap();
    let catalog = Catalog::embedded().unwrap();
    let id = FileSource::from_bucket(&catalog, SINK, key, world.clock.now()).id;
    world.drop_file(&format!("state/files/{id}.json"), r#"{"records":1}"#).await;
    world.run(&[notification(SINK, key)], INVOCATION_TIME).await;
    assert_eq!(world.rows().await, rows(&[("user", 2)]));
    assert!(world.paths("state/files").await.is_empty());
}

/// The process ends while it reads a file: the attempt is recorded, and nothing after it.
#[tokio::test]
async fn a_file_is_rejected_after_three_failed_attempts_and_the_others_are_loaded() {
    let world = World::new();
    world.drop_file("inbox/user/bad.ndjson", user(1)).await;
    world.clock.advance(Duration::from_secs(1));
    let other = user(2);
    world.drop_file("inbox/user/good.ndjson", other).await;
    for attempts in 1..=3 {
        // The only write is the attempt at the first file.
        let (compactor, _) = world.compactor(1);
        let summary = compactor.handle(messages(&[Trigger::Inbox.to_body()]), INVOCATION_TIME).await;
        assert_eq!(summary.response.batch_item_failures.len(), 1);
        assert_eq!(world.paths("state/attempts").await.len(), attempts);
        // Until the lease expires, no other invocation reads the file.
        let (compactor, _) = world.compactor(i64::MAX);
        let summary = compactor.handle(messages(&[Trigger::Inbox.to_body()]), INVOCATION_TIME).await;
        let landed = summary.files.unwrap().unwrap();
        assert_eq!((landed.discarded, landed.rejected), (0, 0));
        world.clock.advance(LEASE);
    }
    assert_eq!(world.paths("inbox").await.len(), 1);
    let summaries = world.run(&[Trigger::Inbox.to_body()], INVOCATION_TIME).await;
    let landed = summaries[0].files.as_ref().unwrap().as_ref().unwrap();
    assert_eq!((landed.discarded, landed.rejected), (1, 1));
    assert_eq!(world.rows().await, rows(&[("quarantine", 1), ("user", 1)]));
    assert_eq!(world.paths("failed/inbox").await.len(), 1);
    assert!(world.paths("state/attempts").await.is_empty());
}

#[tokio::test]
async fn an_object_is_quarantined_after_failed_attempts_and_its_message_is_done() {
    let world = World::new();
    let key = "exports/user.ndjson";
    world.sink.put(&Path::parse(key).unwrap(), user(1).into()).await.unwrap();
    for _ in 0..3 {
        let (compactor, _) = world.compactor(1);
        let summary = compactor.handle(messages(&[notification(SINK, key)]), INVOCATION_TIME).await;
        assert_eq!(summary.response.batch_item_failures.len(), 1);
        // Another invocation during the lease does not delete the message.
        let (compactor, _) = world.compactor(i64::MAX);
        let summary = compactor.handle(messages(&[notification(SINK, key)]), INVOCATION_TIME).await;
        assert_eq!(summary.response.batch_item_failures.len(), 1);
        world.clock.advance(LEASE);
    }
    let summaries = world.run(&[notification(SINK, key)], INVOCATION_TIME).await;
    assert!(summaries[0].response.batch_item_failures.is_empty());
    assert_eq!(world.rows().await, rows(&[("quarantine", 1)]));
    // Another version has no failures.
    world.sink.put(&Path::parse(key).unwrap(), (user(1) + "\n").into()).await.unwrap();
    world.run(&[notification(SINK, key)], INVOCATION_TIME).await;
    assert_eq!(world.rows().await, rows(&[("quarantine", 1), ("user", 1)]));
}

#[tokio::test]
async fn a_large_file_whose_attempts_fail_but_make_progress_is_loaded() {
    let world = World::new();
    let lines: String = (1..=400_000).map(|ind| user(ind) + "\n").collect();
    world.drop_file("inbox/user/large.ndjson", lines).await;
    let mut failures = 0;
    loop {
        // Enough writes for the attempt, one slice and its progress.
        let (compactor, _) = world.compactor(6);
        let summary = compactor.handle(messages(&[Trigger::Inbox.to_body()]), INVOCATION_TIME).await;
        if summary.response.batch_item_failures.is_empty() || failures > 20 {
            break;
        }
        failures += 1;
        world.clock.advance(LEASE);
        if world.paths("failed").await.len() + world.paths("raw/inbox").await.len() > 0 {
            break;
        }
    }
    assert!(failures > 3, "{failures}");
    assert!(world.paths("failed").await.is_empty());
    world.run(&[Trigger::All.to_body()], INVOCATION_TIME).await;
    assert_eq!(world.rows().await, rows(&[("user", 400_000)]));
}

/// The first of the two may end the process, so their order changes when the messages are delivered again.
#[tokio::test(start_paused = true)]
async fn landing_and_files_take_turns_in_being_first() {
    let catalog = Arc::new(Catalog::embedded().unwrap());
    for (count, is_landing_first) in [(1, true), (2, false), (3, true)] {
        let mut event = messages(&[Trigger::All.to_body()]);
        event.records[0].attributes.insert("ApproximateReceiveCount".to_owned(), count.to_string());
        // Find out which one is done first by failing after more and more writes.
        for writes in 1.. {
            let world = World::new();
            deliver(&*world.lake, &catalog, 1, &user(1)).await;
            world.drop_file("inbox/user/a.ndjson", user(2)).await;
            let (compactor, _) = world.compactor(writes);
            compactor.handle(event.clone(), INVOCATION_TIME).await;
            let rows = world.rows().await.contains_key("user");
            let files = !world.paths("raw/inbox").await.is_empty();
            if rows || files {
                assert_eq!((rows, files), (is_landing_first, !is_landing_first), "received {count} times");
                break;
            }
        }
    }
}

#[tokio::test]
async fn an_object_of_the_sink_with_an_unsupported_key_is_quarantined() {
    let world = World::new();
    let summaries = world.run(&[notification(SINK, "exports//user.ndjson")], INVOCATION_TIME).await;
    assert!(summaries[0].response.batch_item_failures.is_empty());
    assert_eq!(world.rows().await, rows(&[("quarantine", 1)]));
}
