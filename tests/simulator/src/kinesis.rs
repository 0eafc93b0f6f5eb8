//! The Kinesis stream and the event source that delivers its records to the cleaner.
//!
//! PutRecords stores or rejects each record separately, and can fail as a whole after it stored some ("PutRecords",
//! Kinesis Data Streams API Reference). A split shard accepts no more records; its children are read after it
//! ("Resharding"; "Using Lambda with Kinesis": shards are processed in order).
//!
//! The event source mapping follows "How Lambda processes records from stream and queue-based event sources", "Retain
//! discarded batch records" and "Configuring partial batch response with Kinesis Data Streams":
//! - It delivers one batch of a shard at a time (ParallelizationFactor 1), at least once.
//! - With ReportBatchItemFailures it continues from the lowest reported sequence number.
//! - With BisectBatchOnFunctionError it splits a batch without a response in two, which does not count as a retry.
//! - After MaximumRetryAttempts, or when a record is older than MaximumRecordAgeInSeconds, it writes the batch to the
//!   OnFailure destination and continues. Operators recover it ([`crate::operator`]).

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_lambda_events::event::kinesis::{KinesisEvent, KinesisEventRecord};
use chrono::{DateTime, Utc};
use cleaner::Cleaner;
use ingest::packing::StreamRecord;
use ingest::stream::read::ReadableStream;
use ingest::stream::{Receipt, RecordStream, StreamError, StreamErrorKind};
use object_store::ObjectStoreExt;
use object_store::path::Path;
use pinlake_landing::catalog_history::CatalogHistory;
use serde_json::json;
use tokio::time::sleep;

use crate::contracts::{self, CatalogVersion};
use crate::fault::Fault;
use crate::mutation::Mutation;
use crate::process::Process;
use crate::queue::Queue;
use crate::store::Store;
use crate::trace::Violation;
use crate::world::{Function, World};

/// As in template.yaml.
const TIME_LIMIT: Duration = Duration::from_secs(60);
/// The stream, and its ARN.
pub const STREAM: &str = "events";
const STREAM_ARN: &str = "arn:aws:kinesis:us-east-1:123456789012:stream/events";
/// Maximum delay between two attempts of a batch.
const MAX_BACKOFF: Duration = Duration::from_secs(60);

/// A record on a shard.
#[derive(Debug, Clone)]
pub struct Record {
    key: String,
    sequence: String,
    arrived: DateTime<Utc>,
    data: Vec<u8>,
}

#[derive(Debug, Default)]
struct Shard {
    records: Vec<Record>,
    /// The shards that replace it: two after a split, one after a merge. It accepts no more records
    /// then.
    children: Vec<usize>,
    /// Number of records that the event source has processed.
    done: usize,
    watched: bool,
}

/// The stream.
#[derive(Debug)]
pub struct Stream {
    world: Arc<World>,
    shards: Mutex<Vec<Shard>>,
}

fn shard_name(number: usize) -> String {
    format!("shardId-{number:012}")
}

impl Stream {
    /// Creates a stream with the shards of the scenario.
    pub fn new(world: &Arc<World>) -> Arc<Self> {
        let shards = (0..world.scenario.shards).map(|_| Shard::default()).collect();
        Arc::new(Self { world: world.clone(), shards: Mutex::new(shards) })
    }

    /// Stores a record and returns its shard and sequence number.
    pub fn store(&self, key: &str, data: &[u8]) -> Receipt {
        let key = &*crate::mutation::partition_key(self.world.scenario.mutation, key);
        let mut shards = self.shards();
        let sequence = shards.iter().map(|shard| shard.records.len()).sum::<usize>() * 3 + 7;
        let hash = usize::from(blake3::hash(key.as_bytes()).as_bytes()[0]);
        let roots = usize::try_from(self.world.scenario.shards).unwrap_or(1);
        let mut at = hash % roots;
        let mut rest = hash / roots;
        loop {
            at = match shards[at].children[..] {
                [] => break,
                [one] => one,
                [left, right, ..] => {
                    let side = rest % 2;
                    rest /= 2;
                    if side == 0 { left } else { right }
                }
            };
        }
        if shards.len() < 8 && self.world.draw_fault(Fault::ShardSplit, "stream") {
            let first = shards.len();
            shards.extend([Shard::default(), Shard::default()]);
            shards[at].children = vec![first, first + 1];
            at = first + rest % 2;
        } else if shards.len() < 8
            && let Some(other) =
                (0..shards.len()).find(|other| *other != at && shards[*other].children.is_empty())
            && self.world.draw_fault(Fault::ShardMerge, "stream")
        {
            let heir = shards.len();
            shards.push(Shard::default());
            shards[at].children = vec![heir];
            shards[other].children = vec![heir];
            at = heir;
        }
        let sequence = format!("4966{sequence:052}");
        let record = Record {
            key: key.to_owned(),
            sequence: sequence.clone(),
            arrived: self.world.now(),
            data: data.to_owned(),
        };
        self.world.log(|| format!("{} takes {sequence} {key}", shard_name(at)));
        shards[at].records.push(record);
        Receipt { shard: shard_name(at), sequence }
    }

    /// Whether the event source has processed every record.
    pub fn is_consumed(&self) -> bool {
        self.shards().iter().all(|shard| shard.done == shard.records.len())
    }

    /// Shards that are not read yet and whose parents have been read.
    fn find_readable_shards(&self) -> Vec<usize> {
        let mut shards = self.shards();
        let mut found = Vec::new();
        for at in 0..shards.len() {
            let mut parents = shards.iter().filter(|shard| shard.children.contains(&at));
            let read = parents.all(|parent| parent.done == parent.records.len());
            if !shards[at].watched && read {
                shards[at].watched = true;
                found.push(at);
            }
        }
        found
    }

    /// The next records of a shard.
    fn next(&self, shard: usize, most: u64) -> Vec<Record> {
        let shards = self.shards();
        let most = usize::try_from(most).unwrap_or(1);
        shards[shard].records[shards[shard].done..].iter().take(most).cloned().collect()
    }

    fn shards(&self) -> MutexGuard<'_, Vec<Shard>> {
        self.shards.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The stream of an ingest process.
#[derive(Debug)]
pub struct Producer {
    /// The stream.
    pub stream: Arc<Stream>,
    /// The process.
    pub process: Arc<Process>,
}

fn put_error(kind: StreamErrorKind, code: &str) -> StreamError {
    StreamError { kind, code: code.to_owned(), message: String::new() }
}

impl RecordStream for Producer {
    async fn put_records(
        &self,
        records: &[&StreamRecord],
    ) -> Result<Vec<Result<Receipt, StreamError>>, StreamError> {
        self.process.count_request().await;
        let world = &self.stream.world;
        sleep(world.rng.millis(2, 60)).await;
        if world.draw_fault(Fault::CallRefused, "stream") {
            self.process.count_request().await;
            return Err(put_error(StreamErrorKind::Unavailable, "InternalFailure"));
        }
        let mut answers = Vec::new();
        for record in records {
            if world.draw_fault(Fault::RecordThrottled, "stream") {
                answers.push(match world.has_mutation(Mutation::PartialFailureIgnored) {
                    true => Ok(Receipt { shard: shard_name(0), sequence: "1".to_owned() }),
                    false => {
                        Err(put_error(StreamErrorKind::Throttled, "ProvisionedThroughputExceededException"))
                    }
                });
                continue;
            }
            let receipt = self.stream.store(&record.key, &record.data);
            answers.push(match world.draw_fault(Fault::RecordFailedButStored, "stream") {
                true => Err(put_error(StreamErrorKind::Unavailable, "InternalFailure")),
                false => Ok(receipt),
            });
        }
        sleep(world.rng.millis(2, 60)).await;
        self.process.count_request().await;
        if world.draw_fault(Fault::CallSilent, "stream") {
            std::future::pending::<()>().await;
        }
        if world.draw_fault(Fault::CallAnswerLost, "stream") {
            return Err(put_error(StreamErrorKind::Unavailable, "RequestTimeoutException"));
        }
        Ok(answers)
    }
}

// Only the event source below reads it, not clients of ingest.
impl ReadableStream for Producer {}

/// Reads all shards, parents before children.
pub async fn watch(stream: Arc<Stream>, queue: Arc<Queue>) {
    loop {
        for shard in stream.find_readable_shards() {
            tokio::spawn(read(stream.clone(), queue.clone(), shard));
        }
        sleep(Duration::from_secs(1)).await;
    }
}

/// The outcome of an invocation.
enum Delivery {
    All,
    From(usize),
    NoAnswer,
}

async fn read(stream: Arc<Stream>, queue: Arc<Queue>, shard: usize) {
    let world = stream.world.clone();
    let mut warm: Option<Cleaning> = None;
    loop {
        sleep(world.rng.millis(200, 2_000)).await;
        let batch = stream.next(shard, world.rng.between(1, world.scenario.batch));
        let count = batch.len();
        let mut work = VecDeque::new();
        if count > 0 {
            work.push_back((batch, 0));
        }
        while let Some((batch, retries)) = work.pop_front() {
            // A delivery that began during the faults can fail after them.
            let faults_stopped = world.has_stopped_faults();
            if let Some(age) = world.scenario.record_age
                && batch
                    .iter()
                    .any(|record| (world.now() - record.arrived).to_std().is_ok_and(|old| old > age))
            {
                on_failure(&world, shard, batch, false).await;
                continue;
            }
            let twin = world.draw_fault(Fault::BatchTwice, "event source");
            let delivered = if twin {
                let mut other = None;
                let both = futures::future::join(
                    deliver(&world, &queue, shard, &batch, &mut warm),
                    deliver(&world, &queue, shard, &batch, &mut other),
                );
                both.await.0
            } else {
                deliver(&world, &queue, shard, &batch, &mut warm).await
            };
            let mut rest = match delivered {
                Delivery::All => continue,
                Delivery::From(_) if world.has_mutation(Mutation::FailuresNotReported) => continue,
                Delivery::From(at) => vec![batch[at..].to_vec()],
                Delivery::NoAnswer if batch.len() > 1 => {
                    world.trace.count("batches bisected");
                    let (left, right) = batch.split_at(batch.len() / 2);
                    vec![left.to_vec(), right.to_vec()]
                }
                Delivery::NoAnswer => vec![batch],
            };
            let retries = if rest.len() == 2 { retries } else { retries + 1 };
            if world.scenario.retries.is_some_and(|max_retries| retries > max_retries) {
                let discarded = rest.remove(0);
                on_failure(&world, shard, discarded, faults_stopped).await;
                continue;
            }
            rest.into_iter().rev().for_each(|part| work.push_front((part, retries)));
            let backoff = Duration::from_millis(200).saturating_mul(2_u32.saturating_pow(retries));
            sleep(backoff.min(MAX_BACKOFF)).await;
        }
        stream.shards()[shard].done += count;
    }
}

/// Stores a discarded batch in the destination. `faults_stopped`: the last delivery began after all faults had stopped, so
/// the batch should not have been discarded.
async fn on_failure(world: &Arc<World>, shard: usize, batch: Vec<Record>, faults_stopped: bool) {
    world.log(|| format!("{} records of {} go to OnFailure", batch.len(), shard_name(shard)));
    world.trace.count("batches discarded");
    if faults_stopped {
        world.report_violation(
            Violation::Discarded,
            format!("a batch of {} is discarded although there are no faults", shard_name(shard)),
        );
        return;
    }
    let (path, document) = build_failure_document(world, shard, &batch);
    if world.memory.put(&path, document.into()).await.is_err() {
        world.report_violation(Violation::Lost, format!("{path} cannot be put"));
    }
}

/// A running cleaner process.
pub struct Cleaning {
    /// The process.
    pub process: Arc<Process>,
    /// The function.
    pub cleaner: Cleaner,
    catalog_version: CatalogVersion,
}

impl Cleaning {
    /// Returns the running process, or starts one if it has an outdated catalog.
    pub fn get_or_start(world: &Arc<World>, queue: &Arc<Queue>, warm: &mut Option<Self>) -> Self {
        let catalog_version = world.catalog_version(Function::Cleaner);
        warm.take().filter(|warm| warm.catalog_version == catalog_version).unwrap_or_else(|| {
            let process = Process::new("cleaner");
            let cleaner = Cleaner {
                store: Store::open_lake(world, &process, queue),
                catalog: contracts::catalog(catalog_version),
                catalog_history: CatalogHistory::default(),
            };
            Self { process, cleaner, catalog_version }
        })
    }
}

/// The object that Lambda writes to an S3 destination, and its key.
fn build_failure_document(world: &World, shard: usize, batch: &[Record]) -> (Path, String) {
    let (now, name) = (world.now(), shard_name(shard));
    let ends = [batch.first(), batch.last()].map(|record| record.map(|record| record.sequence.clone()));
    let arrived = |record: Option<&Record>| record.map(|record| record.arrived.to_rfc3339());
    let day = now.format("%Y/%m/%d/%Y-%m-%dT%H.%M.%S");
    let [first, last] = ends.map(Option::unwrap_or_default);
    // Replaces the random UUID: two batches of a shard that are discarded in one second begin with different records.
    let path = Path::from(format!("aws/lambda/6f2d1a0e-5b1c-4a57-9d0b-3f6f0e9d8c7b/{name}/{day}-{first}"));
    let payload = json!(build_event(&name, batch)).to_string();
    let document = json!({
        "requestContext": {
            "requestId": "c9b8fa9f-5a7f-4d1c-af9c-0c604cde93a5",
            "functionArn": "arn:aws:lambda:us-east-1:123456789012:function:cleaner",
            "condition": "RetryAttemptsExhausted",
            "approximateInvokeCount": 1,
        },
        "responseContext": { "statusCode": 200, "executedVersion": "$LATEST", "functionError": "Unhandled" },
        "version": "1.0",
        "timestamp": now.to_rfc3339(),
        "KinesisBatchInfo": {
            "shardId": name,
            "startSequenceNumber": first,
            "endSequenceNumber": last,
            "approximateArrivalOfFirstRecord": arrived(batch.first()),
            "approximateArrivalOfLastRecord": arrived(batch.last()),
            "batchSize": batch.len(),
            "streamArn": STREAM_ARN,
        },
        "payload": payload,
    });
    (path, document.to_string())
}

/// The event of an invocation.
fn build_event(shard: &str, batch: &[Record]) -> KinesisEvent {
    let mut event = KinesisEvent::default();
    for record in batch {
        let mut one = KinesisEventRecord::default();
        one.event_id = Some(format!("{shard}:{}", record.sequence));
        one.event_source_arn = Some(STREAM_ARN.to_owned());
        one.kinesis.partition_key.clone_from(&record.key);
        one.kinesis.sequence_number.clone_from(&record.sequence);
        one.kinesis.approximate_arrival_timestamp.0 = record.arrived;
        one.kinesis.data.0.clone_from(&record.data);
        event.records.push(one);
    }
    event
}

async fn deliver(
    world: &Arc<World>,
    queue: &Arc<Queue>,
    shard: usize,
    batch: &[Record],
    warm: &mut Option<Cleaning>,
) -> Delivery {
    let cleaning = Cleaning::get_or_start(world, queue, warm);
    let shard = shard_name(shard);
    world.log(|| format!("cleaner is invoked with {} records of {shard}", batch.len()));
    let event = build_event(&shard, batch);
    let work = cleaning.cleaner.handle_kinesis(event);
    let Some(cleaned) = cleaning.process.invoke(world, TIME_LIMIT, work).await else {
        return Delivery::NoAnswer;
    };
    *warm = Some(cleaning);
    let quarantined =
        cleaned.landed.iter().flat_map(|landed| &landed.counts).any(|count| count.quarantined > 0);
    if quarantined && world.has_mutation(Mutation::InvalidRecordFailsBatch) {
        return Delivery::NoAnswer;
    }
    let failed =
        cleaned.response.batch_item_failures.iter().filter_map(|failure| failure.item_identifier.as_deref());
    let lowest = failed.filter_map(|failed| batch.iter().position(|record| record.sequence == failed)).min();
    match lowest {
        // An identifier of no record in the batch means the whole batch.
        None if !cleaned.response.batch_item_failures.is_empty() => Delivery::From(0),
        None => Delivery::All,
        Some(at) => Delivery::From(at),
    }
}
