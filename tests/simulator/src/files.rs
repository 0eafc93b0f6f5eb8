//! Files that are put into the inbox of the lake or into another bucket that announces them.
//!
//! Some are put twice, or replaced while they wait or are read. S3 announces each object at least once
//! ("Amazon S3 Event Notifications"); its ETag is of the bytes for an object that was put in one piece ("Object", Amazon S3
//! API Reference), so the same bytes have the same one.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use compactor::files::Buckets;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use tokio::time::sleep;

use crate::contracts;
use crate::invariants::quarantine_content;
use crate::ledger::{Content, RecordId};
use crate::process::Process;
use crate::queue::Queue;
use crate::rng::SimRng;
use crate::store::Store;
use crate::world::World;

/// The bucket of the lake.
pub const LAKE: &str = "lake";
/// The other bucket.
pub const SINK: &str = "sink";

/// The numbers of files of a scenario.
#[derive(Debug, Clone, Copy, Default)]
pub struct FileScenario {
    /// Files in the inbox.
    pub inbox: u64,
    /// Files in the other bucket.
    pub sink: u64,
    /// Maximum records of a file.
    pub records: u64,
}

impl FileScenario {
    /// Draws the numbers.
    pub fn random(rng: &SimRng) -> Self {
        let count = |per_mille| if rng.chance(per_mille) { rng.between(1, 3) } else { 0 };
        Self { inbox: count(200), sink: count(150), records: rng.between(1, 12) }
    }

    /// Whether there are files.
    pub fn is_any(&self) -> bool {
        self.inbox + self.sink > 0
    }
}

/// The bytes of a file and the contents of its records.
struct Draft {
    bytes: Bytes,
    /// Content, and the number of its record in the file.
    records: Vec<(Content, usize)>,
}

/// Opens the other bucket for the compactor.
pub struct SinkBucket {
    /// The world.
    pub world: Arc<World>,
    /// The process that sends the requests.
    pub process: Arc<Process>,
    /// The queue for notifications.
    pub queue: Arc<Queue>,
}

impl Buckets for SinkBucket {
    fn open(&self, _: &str) -> Arc<dyn ObjectStore> {
        Store::open_sink(&self.world, &self.process, &self.queue)
    }
}

/// Puts files: each once, twice, or replacing another.
pub async fn drop_files(world: Arc<World>, queue: Arc<Queue>) {
    for number in 0..world.scenario.files.inbox + world.scenario.files.sink {
        sleep(world.rng.millis(0, 15_000)).await;
        let bucket = if number < world.scenario.files.inbox { LAKE } else { SINK };
        let dataset = ["visit", "click", "page", contracts::MEMO][world.rng.index(4)];
        let is_csv = bucket == LAKE && dataset != contracts::MEMO && world.rng.chance(300);
        let key = match (bucket, dataset, is_csv) {
            (LAKE, contracts::MEMO, _) => format!("inbox/memo-{number}.ndjson"),
            (LAKE, _, true) => format!("inbox/{dataset}/file-{number}.csv"),
            (LAKE, _, false) => format!("inbox/{dataset}/file-{number}.ndjson"),
            _ => format!("topics/0a1b.{dataset}/partition=0/0a1b.{dataset}+0+{number:010}.json"),
        };
        let draft = |from: usize| random_input(&world, dataset, is_csv, &format!("{key}/{from}"));
        let mut file = draft(0);
        put(&world, &queue, bucket, &key, &file).await;
        for again in 1..4 {
            if !world.rng.chance(350) {
                break;
            }
            sleep(world.rng.millis(0, 6_000)).await;
            if world.rng.chance(400) {
                world.trace.count("files delivered twice");
            } else {
                let other = draft(again);
                withdraw_promises(&world, bucket, &key, &file);
                file = other;
                world.trace.count("files replaced");
            }
            put(&world, &queue, bucket, &key, &file).await;
        }
    }
}

fn random_input(world: &World, dataset: &str, is_csv: bool, file: &str) -> Draft {
    let rng = &world.rng;
    let (mut text, mut records) = (String::new(), Vec::new());
    if is_csv {
        text.push_str(&format!("{dataset},note,more\n"));
    }
    for at in 0..rng.between(1, world.scenario.files.records) as usize {
        let (json, content) = match (dataset, rng.between(0, 9)) {
            (contracts::MEMO, 0..=1) => {
                let raw = contracts::bad_memo(rng.between(0, 9));
                let content = quarantine_content(Some(dataset), raw.as_bytes());
                (raw, content)
            }
            (contracts::MEMO, _) => {
                let id = rng.between(*contracts::MEMOS.start(), *contracts::MEMOS.end());
                (contracts::memo(id), format!("memo/{id}"))
            }
            (_, 0) if !is_csv => {
                let raw = format!("{{\"{dataset}\":\"seven {}\",\"note\":\"x\"}}", rng.between(0, 9));
                let content = quarantine_content(Some(dataset), raw.as_bytes());
                (raw, content)
            }
            (_, number) => {
                let id = if number < 5 { rng.between(0, 30) } else { unique(file, at) };
                if is_csv {
                    let more = contracts::more(dataset, id).unwrap_or_default();
                    (format!("{id},note {id},{more}"), format!("{dataset}/{id}"))
                } else {
                    let json = contracts::record(dataset, id, &format!("note {id}"));
                    (json, format!("{dataset}/{id}"))
                }
            }
        };
        text.push_str(&json);
        text.push('\n');
        records.push((content, at));
    }
    Draft { bytes: text.into(), records }
}

/// A unique id of a record.
fn unique(place: &str, at: usize) -> u64 {
    let mut id = 2_000_u64;
    for byte in format!("{place}/{at}").bytes() {
        id = id * 131 % 1_000_000_007 + u64::from(byte) + 2_000;
    }
    id
}

/// The identities of a file's records. In the inbox other bytes are another file; in another bucket the key identifies the file, and
/// the bytes of a record count too.
fn ids(bucket: &str, key: &str, file: &Draft) -> Vec<(Content, RecordId)> {
    let id = match bucket {
        LAKE => format!("{key}@{}", blake3::hash(&file.bytes)),
        _ => format!("s3://{bucket}/{key}"),
    };
    file.records.iter().map(|(content, at)| (content.clone(), format!("{id}#{at}"))).collect()
}

async fn put(world: &Arc<World>, queue: &Arc<Queue>, bucket: &'static str, key: &str, file: &Draft) {
    // No file is replaced between the compactor's last check and its removal: S3 has no conditional delete
    // (`docs/faults.md`).
    while bucket == LAKE && world.is_leaving(key) {
        sleep(Duration::from_secs(1)).await;
    }
    for (content, id) in ids(bucket, key, file) {
        let mut book = world.ledger.lock();
        book.record_sent(&content, id.clone());
        book.record_promised(&content, id);
    }
    world.log(|| format!("file put: s3://{bucket}/{key}, {} records", file.records.len()));
    world.trace.count(if bucket == LAKE { "files in the inbox" } else { "files elsewhere" });
    let Ok(path) = Path::parse(key) else { return };
    if bucket == SINK {
        world.add_sink_contents(key, file.records.iter().map(|(content, _)| content.clone()).collect());
    }
    world.stamp(bucket, &path, &file.bytes);
    let memory = if bucket == LAKE { &world.memory } else { &world.sink };
    // The in-memory store does not fail.
    let _ = memory.put(&path, file.bytes.clone().into()).await;
    queue.announce(bucket, key);
}

/// Intact files of the other bucket that were discarded, according to quarantine. Their owner announces them
/// again.
pub fn discarded(world: &World) -> Vec<String> {
    let invariants = world.invariants();
    let is_missing = |(key, contents): &(String, Vec<Content>)| {
        let is_reported =
            invariants.contents().any(|content| content.ends_with(&format!("/s3://{SINK}/{key}")));
        is_reported && contents.iter().any(|content| !invariants.has(content))
    };
    world.sink_contents().into_iter().filter(is_missing).map(|(key, _)| key).collect()
}

/// Whether a row of quarantine reports a discarded file; such a row is not a record that was sent.
pub fn is_file_row(content: &str) -> bool {
    let raw = content.strip_prefix("quarantine/").and_then(|rest| rest.split_once('/')).map(|(_, raw)| raw);
    raw.is_some_and(|raw| raw.starts_with("failed/inbox/") || raw.starts_with(&format!("s3://{SINK}/")))
}

/// Withdraws the records of a file that is about to be replaced, unless it was loaded.
fn withdraw_promises(world: &World, bucket: &str, key: &str, file: &Draft) {
    let mut book = world.ledger.lock();
    for (content, id) in ids(bucket, key, file) {
        book.record_withdrawn(&content, &id);
    }
}
