//! Files through the compactor's handler: formats, doubled messages, crashes between any two writes, time that runs out.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Write;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use async_trait::async_trait;
use compactor::files::{Buckets, Files, MOST_BYTES, Steps, sandbox};
use compactor::trigger::{ObjectRef, Trigger};
use compactor::{Compactor, Outcome};
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
use pinlake_lake::{CompactionLimits, Lake};
use pinlake_landing::attempt::LEASE;
use pinlake_landing::file::FileSource;
use pinlake_schema::Catalog;

use crate::{Sent, deliver, messages};

const BUCKET: &str = "lake";
const SINK: &str = "sink";
/// A sink that the role may not read.
const DENIED: &str = "denied";
const PATIENCE: Duration = Duration::from_secs(60);

/// A store that takes so many writes and refuses all further ones, as the store of a process that was killed.
#[derive(Debug)]
struct Mortal {
    inner: Arc<InMemory>,
    writes_left: Arc<AtomicI64>,
}

impl Mortal {
    fn write(&self) -> Result<()> {
        if self.writes_left.fetch_sub(1, Ordering::Relaxed) > 0 {
            return Ok(());
        }
        Err(object_store::Error::Generic { store: "Mortal", source: "it is dead".into() })
    }
}

impl std::fmt::Display for Mortal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mortal")
    }
}

#[async_trait]
impl ObjectStore for Mortal {
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

/// The bucket of the sink; others are empty and fail, as those that the role may not read.
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

/// A lake and a foreign bucket, and compactors that come and go.
pub(crate) struct World {
    lake: Arc<InMemory>,
    sink: Arc<InMemory>,
    most_bytes: u64,
    clock: Arc<ManualClock>,
    /// How many there have been: each draws numbers of its own.
    compactors: AtomicU64,
}

impl World {
    pub(crate) fn new() -> Self {
        let clock = Arc::new(ManualClock::at("2022-10-19T12:00:00Z".parse().unwrap()));
        Self {
            lake: Arc::default(),
            sink: Arc::default(),
            most_bytes: MOST_BYTES,
            clock,
            compactors: AtomicU64::new(0),
        }
    }

    pub(crate) async fn drop_file(&self, path: &str, bytes: impl Into<PutPayload>) {
        self.lake.put(&Path::parse(path).unwrap(), bytes.into()).await.unwrap();
    }

    /// A new compactor that is allowed so many writes.
    fn compactor(&self, writes: i64) -> (Compactor<Sent>, Sent) {
        let sent = Sent::default();
        let store = Mortal { inner: self.lake.clone(), writes_left: Arc::new(writes.into()) };
        let seed = self.compactors.fetch_add(1, Ordering::Relaxed);
        let effects = Env { clock: self.clock.clone(), rng: Arc::new(Rng::seeded(seed)) };
        let compactor = Compactor {
            lake: Lake::new(Arc::new(store), effects.clone()),
            catalog: Arc::new(Catalog::embedded().unwrap()),
            alarm: sent.clone(),
            budget: CompactionLimits::default(),
            files: Some(Files {
                bucket: BUCKET.to_owned(),
                prefix: String::new(),
                sinks: [SINK, DENIED].map(str::to_owned).into(),
                buckets: Arc::new(Sink(self.sink.clone())),
                most_bytes: self.most_bytes,
                steps: Steps::default(),
                sandbox: Sandbox {
                    program: env!("CARGO_BIN_EXE_compactor").into(),
                    ..sandbox(2 << 30).unwrap()
                },
                effects,
            }),
        };
        (compactor, sent)
    }

    /// Handles messages, and those that the compactors send themselves, until there are none. Whoever broke down before is
    /// known to have.
    pub(crate) async fn run(&self, bodies: &[String], patience: Duration) -> Vec<Outcome> {
        self.clock.advance(LEASE);
        let (compactor, sent) = self.compactor(i64::MAX);
        let (mut outcomes, mut bodies) = (Vec::new(), bodies.to_vec());
        while !bodies.is_empty() {
            outcomes.push(compactor.handle(messages(&bodies), patience).await);
            bodies = std::mem::take(&mut *sent.0.lock().unwrap());
            assert!(outcomes.len() < 100, "there is no end of it");
        }
        outcomes
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

/// Five files of five formats, with six users, two places and one bad row between them.
async fn drop_five(world: &World) {
    world.drop_file("inbox/user/of may.ndjson", format!("{}\n{}\nnot json\n", user(1), user(2))).await;
    world.drop_file("inbox/user/more.json.gz", gzip(format!("[{},{}]", user(2), user(3)).as_bytes())).await;
    let csv = "ind,first_name,last_name,age,date_joined\n4,A,B,20,2015-10-21 21:26:45\n";
    world.drop_file("inbox/user/2022/rest.csv", csv).await;
    let zst = zstd::bulk::compress(format!("{}{}", geo(1), geo(2)).as_bytes(), 3).unwrap();
    world.drop_file("inbox/anything.zst", zst).await;
    world.drop_file("inbox/unheard/user.ndjson", format!("{}\n", user(5))).await;
}

const OF_FIVE: [(&str, u64); 3] = [("geo", 2), ("quarantine", 1), ("user", 5)];

#[tokio::test]
async fn files_of_the_inbox_are_inserted_once_and_moved_to_raw() {
    let world = World::new();
    drop_five(&world).await;
    // One is announced, twice; the others no notification has told of.
    let told = notification(BUCKET, "inbox/user/of+may.ndjson");
    let outcomes = world.run(&[told.clone(), told.clone()], PATIENCE).await;
    assert!(outcomes[0].response.batch_item_failures.is_empty());
    let taken = outcomes[0].files.as_ref().unwrap().as_ref().unwrap();
    assert_eq!((taken.taken, taken.rejected, taken.records), (5, 0, 9));
    assert_eq!(world.rows().await, rows(&OF_FIVE));
    assert!(world.paths("inbox").await.is_empty());
    let kept = world.paths("raw/inbox").await;
    assert_eq!(kept.len(), 5, "{kept:?}");
    assert!(kept.iter().any(|path| path.ends_with("/of may.ndjson")), "{kept:?}");
    // The same bytes once more, under another name; and a message that comes late.
    world.drop_file("inbox/user/again.ndjson", format!("{}\n{}\nnot json\n", user(1), user(2))).await;
    world.run(&[told, Trigger::All.to_body()], PATIENCE).await;
    assert_eq!(world.rows().await, rows(&OF_FIVE));
    assert!(world.paths("inbox").await.is_empty() && world.paths("landing").await.is_empty());
}

// A commit that is refused is tried again for ten seconds: of virtual time.
#[tokio::test(start_paused = true)]
async fn a_crash_between_any_two_writes_loses_nothing_and_doubles_nothing() {
    for writes in 0.. {
        let world = World::new();
        drop_five(&world).await;
        let (compactor, _) = world.compactor(writes);
        let outcome = compactor.handle(messages(&[Trigger::All.to_body()]), PATIENCE).await;
        let survived = outcome.response.batch_item_failures.is_empty();
        world.run(&[Trigger::All.to_body()], PATIENCE).await;
        assert_eq!(world.rows().await, rows(&OF_FIVE), "killed after {writes} writes");
        assert_eq!(world.paths("raw/inbox").await.len(), 5, "killed after {writes} writes");
        assert!(world.paths("inbox").await.is_empty(), "killed after {writes} writes");
        if survived {
            assert!(writes > 20, "there is more to do than {writes} writes");
            return;
        }
    }
}

#[tokio::test]
async fn a_file_that_cannot_be_read_is_put_aside_and_what_came_out_of_it_stands() {
    let world = World::new();
    let lines: String = (1..=2000).map(|ind| user(ind) + "\n").collect();
    let packed = gzip(lines.as_bytes());
    world.drop_file("inbox/user/cut.ndjson.gz", packed[..packed.len() / 2].to_vec()).await;
    world.drop_file("inbox/user/no.parquet", "PAR1 is not all of it").await;
    world.drop_file("inbox/user/good.ndjson", user(5000)).await;
    for _ in 0..2 {
        world.run(&[Trigger::All.to_body()], PATIENCE).await;
    }
    let counted = world.rows().await;
    assert_eq!(counted["quarantine"], 2);
    assert!((100..1999).contains(&counted["user"]), "{counted:?}");
    let aside = world.paths("failed/inbox").await;
    assert_eq!(aside.len(), 2, "{aside:?}");
    assert!(world.paths("inbox").await.is_empty());
}

#[tokio::test]
async fn a_file_that_is_too_large_is_named_in_quarantine() {
    let world = World { most_bytes: 1000, ..World::new() };
    let lines: String = (1..=20).map(|ind| user(ind) + "\n").collect();
    world.drop_file("inbox/user/large.ndjson", lines).await;
    world.drop_file("inbox/user/small.ndjson", user(1)).await;
    world.run(&[Trigger::Inbox.to_body()], PATIENCE).await;
    assert_eq!(world.rows().await, rows(&[("quarantine", 1), ("user", 1)]));
    assert_eq!(world.paths("failed/inbox").await.len(), 1);
}

#[tokio::test]
async fn a_large_file_is_gone_on_with_where_the_time_ended() {
    let world = World::new();
    // Three slices and a bit.
    let lines: String = (1..=120_000).map(|ind| user(ind) + "\n").collect();
    assert!(lines.len() > 8 << 20);
    world.drop_file("inbox/user/large.ndjson", lines).await;
    // No time but for what is begun in any case: nothing is begun, and it is sent again.
    let (compactor, sent) = world.compactor(i64::MAX);
    let outcome = compactor.handle(messages(&[Trigger::Inbox.to_body()]), Duration::ZERO).await;
    assert!(outcome.response.batch_item_failures.is_empty());
    assert_eq!(*sent.0.lock().unwrap(), [Trigger::Inbox.to_body()]);
    let outcomes = world.run(&[Trigger::Inbox.to_body()], Duration::from_millis(2)).await;
    let records: u64 =
        outcomes.iter().filter_map(|outcome| Some(outcome.files.as_ref()?.as_ref().ok()?.records)).sum();
    assert_eq!(records, 120_000, "no record landed twice in {} invocations", outcomes.len());
    world.run(&[Trigger::All.to_body()], PATIENCE).await;
    assert_eq!(world.rows().await, rows(&[("user", 120_000)]));
}

#[tokio::test]
async fn objects_of_the_sink_are_taken_when_they_are_announced_and_left_where_they_are() {
    let world = World::new();
    let mut told = Vec::new();
    for offset in 0..6 {
        let key = format!("topics/0a1b.user/partition=0/0a1b.user+0+{offset:010}.json");
        // Every second one says the same as the one before.
        world.sink.put(&Path::parse(&key).unwrap(), (user(offset / 2) + "\n").into()).await.unwrap();
        told.push(notification(SINK, &key));
        told.push(notification(SINK, &key));
    }
    told.push(notification(SINK, "topics/gone.json"));
    told.push(notification(DENIED, "topics/0a1b.user/partition=0/0a1b.user+0+0000000000.json"));
    told.push(notification("not-ours", "topics/0a1b.user/partition=0/0a1b.user+0+0000000000.json"));
    told.push(notification("../Not a bucket", "x"));
    let outcomes = world.run(&told, PATIENCE).await;
    let failed: Vec<_> = outcomes[0]
        .response
        .batch_item_failures
        .iter()
        .map(|failure| failure.item_identifier.clone())
        .collect();
    assert_eq!(failed, ["m13"], "only what could not be got comes again");
    let taken = outcomes[0].files.as_ref().unwrap().as_ref().unwrap();
    assert_eq!((taken.taken, taken.records, taken.datasets.len()), (6, 6, 1));
    assert_eq!(world.rows().await, rows(&[("user", 3)]));
    assert_eq!(world.sink.list(None).count().await, 6);
    assert_eq!(world.paths("raw").await.len(), 1, "one slice for all of them");
    // Late: what the time does not cover is sent as it was announced.
    let (compactor, sent) = world.compactor(i64::MAX);
    compactor.handle(messages(&told[..1]), Duration::ZERO).await;
    let key = "topics/0a1b.user/partition=0/0a1b.user+0+0000000000.json".to_owned();
    let left = Trigger::Objects(vec![ObjectRef { bucket: SINK.to_owned(), key }]);
    assert_eq!(*sent.0.lock().unwrap(), [left.to_body()]);
}

#[tokio::test]
async fn an_upload_whose_key_is_no_path_ends_in_the_dead_letters_and_holds_nothing_up() {
    let world = World::new();
    world.drop_file("inbox/user/a.ndjson", user(1)).await;
    let odd: Vec<String> =
        ["inbox//a.csv", "inbox/user/../a.csv"].map(|key| notification(BUCKET, key)).to_vec();
    let bodies = [odd, vec![notification(BUCKET, "inbox/user/a.ndjson")]].concat();
    let outcomes = world.run(&bodies, PATIENCE).await;
    assert_eq!(world.rows().await, rows(&[("user", 1)]));
    let again = outcomes[0].response.batch_item_failures.iter();
    assert_eq!(again.map(|failure| failure.item_identifier.as_str()).collect::<Vec<_>>(), ["m0", "m1"]);
}

/// A large object of another bucket, taken in two invocations, is written anew under its key: how far the old one was taken
/// says nothing of the new one.
#[tokio::test]
async fn a_large_object_that_is_replaced_is_taken_from_its_beginning() {
    let world = World::new();
    let key = "exports/user.ndjson";
    let lines = |from: u64| (from..from + 120_000).map(|ind| user(ind) + "\n").collect::<String>();
    let put = async |from| world.sink.put(&Path::parse(key).unwrap(), lines(from).into()).await.unwrap();
    put(1_000_000).await;
    // The time is up after the first slice; it sends itself the rest.
    world.run(&[notification(SINK, key)], Duration::from_millis(2)).await;
    world.run(&[Trigger::All.to_body()], PATIENCE).await;
    assert_eq!(world.rows().await, rows(&[("user", 120_000)]));
    assert!(world.paths("state/files").await.is_empty(), "the work is done");
    // The next day's export, other rows, of which a part is taken; then that of the day after.
    put(2_000_000).await;
    let (compactor, _) = world.compactor(i64::MAX);
    compactor.handle(messages(&[notification(SINK, key)]), Duration::from_millis(2)).await;
    assert_eq!(world.paths("state/files").await.len(), 1);
    let before = world.rows().await["user"];
    put(3_000_000).await;
    let outcomes = world.run(&[notification(SINK, key)], PATIENCE).await;
    assert!(outcomes.iter().all(|outcome| outcome.response.batch_item_failures.is_empty()));
    let records: u64 =
        outcomes.iter().filter_map(|outcome| Some(outcome.files.as_ref()?.as_ref().ok()?.records)).sum();
    assert_eq!(records, 120_000, "all of the new one, and nothing of the old one");
    world.run(&[Trigger::All.to_body()], PATIENCE).await;
    assert!(world.rows().await["user"] > before && world.paths("state/files").await.is_empty());
}

/// What a compactor kept of a file before it knew of versions is no reason to pass over records.
#[tokio::test]
async fn a_cursor_of_the_former_form_is_ignored_and_goes() {
    let world = World::new();
    let key = "exports/user.ndjson";
    world.sink.put(&Path::parse(key).unwrap(), format!("{}\n{}\n", user(1), user(2)).into()).await.unwrap();
    let catalog = Catalog::embedded().unwrap();
    let id = FileSource::elsewhere(&catalog, SINK, key, world.clock.now()).id;
    world.drop_file(&format!("state/files/{id}.json"), r#"{"records":1}"#).await;
    world.run(&[notification(SINK, key)], PATIENCE).await;
    assert_eq!(world.rows().await, rows(&[("user", 2)]));
    assert!(world.paths("state/files").await.is_empty());
}

/// A file over which the process ends, as far as the lake can tell: the attempt is written down, and nothing after it.
#[tokio::test]
async fn a_file_that_ends_the_process_is_given_up_after_the_third_time_and_the_others_are_loaded() {
    let world = World::new();
    world.drop_file("inbox/user/bad.ndjson", user(1)).await;
    world.clock.advance(Duration::from_secs(1));
    let other = user(2);
    world.drop_file("inbox/user/good.ndjson", other).await;
    for attempts in 1..=3 {
        // Only so much can be written: the attempt at what comes first.
        let (compactor, _) = world.compactor(1);
        let outcome = compactor.handle(messages(&[Trigger::Inbox.to_body()]), PATIENCE).await;
        assert_eq!(outcome.response.batch_item_failures.len(), 1);
        assert_eq!(world.paths("state/attempts").await.len(), attempts);
        // At once again: it may be under way still, and nobody else touches it.
        let (compactor, _) = world.compactor(i64::MAX);
        let outcome = compactor.handle(messages(&[Trigger::Inbox.to_body()]), PATIENCE).await;
        let taken = outcome.files.unwrap().unwrap();
        assert_eq!((taken.discarded, taken.rejected), (0, 0));
        world.clock.advance(LEASE);
    }
    assert_eq!(world.paths("inbox").await.len(), 1);
    let outcomes = world.run(&[Trigger::Inbox.to_body()], PATIENCE).await;
    let taken = outcomes[0].files.as_ref().unwrap().as_ref().unwrap();
    assert_eq!((taken.discarded, taken.rejected), (1, 1));
    assert_eq!(world.rows().await, rows(&[("quarantine", 1), ("user", 1)]));
    assert_eq!(world.paths("failed/inbox").await.len(), 1);
    assert!(world.paths("state/attempts").await.is_empty());
}

#[tokio::test]
async fn an_object_over_which_attempts_fail_is_told_of_and_its_message_is_done() {
    let world = World::new();
    let key = "exports/user.ndjson";
    world.sink.put(&Path::parse(key).unwrap(), user(1).into()).await.unwrap();
    for _ in 0..3 {
        let (compactor, _) = world.compactor(1);
        let outcome = compactor.handle(messages(&[notification(SINK, key)]), PATIENCE).await;
        assert_eq!(outcome.response.batch_item_failures.len(), 1);
        // Another one that reads it meanwhile does not take the message for done.
        let (compactor, _) = world.compactor(i64::MAX);
        let outcome = compactor.handle(messages(&[notification(SINK, key)]), PATIENCE).await;
        assert_eq!(outcome.response.batch_item_failures.len(), 1);
        world.clock.advance(LEASE);
    }
    let outcomes = world.run(&[notification(SINK, key)], PATIENCE).await;
    assert!(outcomes[0].response.batch_item_failures.is_empty());
    assert_eq!(world.rows().await, rows(&[("quarantine", 1)]));
    // It is another version that is written then.
    world.sink.put(&Path::parse(key).unwrap(), (user(1) + "\n").into()).await.unwrap();
    world.run(&[notification(SINK, key)], PATIENCE).await;
    assert_eq!(world.rows().await, rows(&[("quarantine", 1), ("user", 1)]));
}

#[tokio::test]
async fn a_large_file_whose_reading_breaks_down_again_and_again_but_comes_further_is_taken() {
    let world = World::new();
    let lines: String = (1..=400_000).map(|ind| user(ind) + "\n").collect();
    world.drop_file("inbox/user/large.ndjson", lines).await;
    let mut broke_down = 0;
    loop {
        // Enough for the attempt, a slice with how far it is, and not for another one.
        let (compactor, _) = world.compactor(6);
        let outcome = compactor.handle(messages(&[Trigger::Inbox.to_body()]), PATIENCE).await;
        if outcome.response.batch_item_failures.is_empty() || broke_down > 20 {
            break;
        }
        broke_down += 1;
        world.clock.advance(LEASE);
        if world.paths("failed").await.len() + world.paths("raw/inbox").await.len() > 0 {
            break;
        }
    }
    assert!(broke_down > 3, "{broke_down}");
    assert!(world.paths("failed").await.is_empty());
    world.run(&[Trigger::All.to_body()], PATIENCE).await;
    assert_eq!(world.rows().await, rows(&[("user", 400_000)]));
}

/// Whichever comes first may be the end of the process: when its messages come again, it is the other's turn.
#[tokio::test(start_paused = true)]
async fn landing_comes_before_files_and_after_them_when_the_messages_come_again() {
    let catalog = Arc::new(Catalog::embedded().unwrap());
    for (count, is_landing_first) in [(1, true), (2, false), (3, true)] {
        let mut event = messages(&[Trigger::All.to_body()]);
        event.records[0].attributes.insert("ApproximateReceiveCount".to_owned(), count.to_string());
        // A write that is refused ends it as well as anything would: what is there first?
        for writes in 1.. {
            let world = World::new();
            deliver(&*world.lake, &catalog, 1, &user(1)).await;
            world.drop_file("inbox/user/a.ndjson", user(2)).await;
            let (compactor, _) = world.compactor(writes);
            compactor.handle(event.clone(), PATIENCE).await;
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
async fn an_object_of_the_sink_whose_key_is_no_path_is_told_of_in_quarantine() {
    let world = World::new();
    let outcomes = world.run(&[notification(SINK, "exports//user.ndjson")], PATIENCE).await;
    assert!(outcomes[0].response.batch_item_failures.is_empty());
    assert_eq!(world.rows().await, rows(&[("quarantine", 1)]));
}
