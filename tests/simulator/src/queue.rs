//! The trigger queue with S3 notifications, self-triggers and sweeps, and the event source that polls it.
//!
//! A standard queue delivers at least once and in any order ("Amazon SQS standard queues"); a message that is not
//! deleted within its visibility timeout is delivered again ("Amazon SQS visibility timeout"), and after `maxReceiveCount`
//! receives goes to the dead-letter queue. Lambda deletes the messages that a response does not name as failed, and none
//! without a response ("Handling errors for an SQS event source in Lambda"). S3 delivers notifications at least
//! once, typically in seconds but sometimes in a minute or longer ("Amazon S3 Event Notifications").

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use compactor::files::{Files, MAX_FILE_BYTES, parquet_sandbox};
use compactor::trigger::Trigger;
use compactor::{Compactor, TriggerQueue};
use object_store::path::Path;
use pinlake_lake::{CompactionLimits, Lake};
use tokio::time::sleep;

use crate::contracts::{self, CatalogVersion};
use crate::fault::Fault;
use crate::files::{LAKE, SINK, SinkBucket};
use crate::mutation::Mutation;
use crate::process::Process;
use crate::store::Store;
use crate::trace::Violation;
use crate::world::{Function, World};

/// As in template.yaml.
const MAX_RECEIVES: u32 = 5;
const VISIBILITY: Duration = Duration::from_secs(1_020);
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// As in template.yaml.
const MEMORY_BYTES: u64 = 2 << 30;
/// Minimum time budget of a compactor if there are files: a few requests to S3.
const MIN_FILE_TIME: Duration = Duration::from_secs(4);

/// The queue.
#[derive(Debug)]
pub struct Queue {
    world: Arc<World>,
    messages: Mutex<Vec<Message>>,
    next: Mutex<u64>,
}

#[derive(Debug, Clone)]
struct Message {
    id: String,
    body: String,
    visible: Duration,
    receives: u32,
}

impl Message {
    fn is_work(&self) -> bool {
        match Trigger::parse(&self.body) {
            Trigger::Redrive(_) => true,
            // Other buckets are not listed: only the message names the object.
            Trigger::Objects(objects) => objects.iter().any(|object| object.bucket != LAKE),
            Trigger::Datasets(_) | Trigger::All | Trigger::Inbox => false,
        }
    }
}

impl Queue {
    /// Creates an empty queue.
    pub fn new(world: &Arc<World>) -> Arc<Self> {
        Arc::new(Self { world: world.clone(), messages: Mutex::default(), next: Mutex::default() })
    }

    /// Adds a message.
    pub fn send(&self, body: String) {
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        *next += 1;
        let id = format!("m{next}");
        self.messages().push(Message { id, body, visible: Duration::ZERO, receives: 0 });
    }

    /// Sends the notification of a new landing object, unless a fault drops it.
    pub fn notify(self: &Arc<Self>, path: &Path) {
        if self.world.draw_fault(Fault::NotificationLost, "s3 event") {
            return;
        }
        self.announce(LAKE, path.as_ref());
    }

    /// Sends the notification of an object in a bucket, at least once.
    pub fn announce(self: &Arc<Self>, bucket: &str, key: &str) {
        let times = if self.world.draw_fault(Fault::NotificationTwice, "s3 event") { 2 } else { 1 };
        for _ in 0..times {
            let late = self.world.draw_fault(Fault::NotificationLate, "s3 event");
            let after =
                self.world.rng.millis(if late { 60_000 } else { 50 }, if late { 180_000 } else { 2_000 });
            // Keys are URL-encoded ("Event message structure").
            let key = key.replace('+', "%2B").replace('=', "%3D");
            let body = serde_json::json!({"Records": [{"s3": {"bucket": {"name": bucket}, "object": {"key": key}}}]});
            let body = body.to_string();
            let (queue, in_progress) = (self.clone(), self.world.begin_work());
            tokio::spawn(async move {
                sleep(after).await;
                queue.send(body);
                drop(in_progress);
            });
        }
    }

    /// Receives any messages and hides them for the visibility timeout. With a batching window an event source collects up
    /// to 10,000 ("Using Lambda with Amazon SQS").
    fn receive(&self) -> Vec<Message> {
        let now = self.world.time();
        let most = [1, 10, 100, 10_000][self.world.rng.index(4)];
        let most = usize::try_from(self.world.rng.between(1, most)).unwrap_or(1);
        let mut received = Vec::new();
        let mut messages = self.messages();
        while received.len() < most {
            let visible: Vec<usize> = (0..messages.len()).filter(|at| messages[*at].visible <= now).collect();
            if visible.is_empty() {
                break;
            }
            let at = visible[self.world.rng.index(visible.len())];
            if messages[at].receives >= MAX_RECEIVES {
                let dead = messages.remove(at);
                self.world.log(|| format!("{} goes to the dead letters", dead.id));
                self.world.trace.count("dead letters");
                // An operator redrives messages with work, like `pinlake recover`.
                if dead.is_work() {
                    messages.push(Message { receives: 0, ..dead });
                }
                continue;
            }
            let message = &mut messages[at];
            message.receives += 1;
            let short = self.world.draw_fault(Fault::VisibleWhileAtWork, "queue");
            let hidden = if short { self.world.rng.millis(0, 3_000) } else { VISIBILITY };
            message.visible = now + hidden;
            received.push(message.clone());
        }
        received
    }

    /// Whether a message with work is left, such as a redrive. Notifications only name objects that a sweep finds too.
    pub fn has_work(&self) -> bool {
        self.messages().iter().any(Message::is_work)
    }

    fn delete(&self, ids: &BTreeSet<String>) {
        let keep = |message: &Message| {
            !ids.contains(&message.id) || self.world.draw_fault(Fault::MessageAgain, "queue")
        };
        self.messages().retain(keep);
    }

    fn messages(&self) -> MutexGuard<'_, Vec<Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Sends triggers from the compactor to itself.
pub struct SelfTrigger {
    queue: Arc<Queue>,
    process: Arc<Process>,
}

#[async_trait]
impl TriggerQueue for SelfTrigger {
    async fn send(&self, body: String) -> Result<(), String> {
        self.process.count_request().await;
        let world = &self.queue.world;
        sleep(world.rng.millis(1, 30)).await;
        if world.draw_fault(Fault::WakeRefused, "queue") {
            return Err("ServiceUnavailable".to_owned());
        }
        world.trace.count("triggers to itself");
        if !world.has_mutation(Mutation::NoSelfMessage) {
            self.queue.send(body);
        }
        self.process.count_request().await;
        if world.draw_fault(Fault::WakeAnswerLost, "queue") {
            return Err("time-out".to_owned());
        }
        Ok(())
    }
}

/// Sends sweeps at their interval.
pub async fn send_sweeps(queue: Arc<Queue>) {
    let world = queue.world.clone();
    let Some(every) = world.scenario.sweep.filter(|_| !world.has_mutation(Mutation::NoSweep)) else {
        return;
    };
    loop {
        sleep(every).await;
        if !world.draw_fault(Fault::SweepLost, "schedule") {
            queue.send(Trigger::All.to_body());
        }
    }
}

/// Sends redrives at the times of the scenario.
pub async fn send_redrives(queue: Arc<Queue>) {
    let world = queue.world.clone();
    for at in world.scenario.redrives.clone() {
        sleep(at.saturating_sub(world.time())).await;
        world.trace.count("redrives");
        // No compactor reports what a redrive inserts.
        world.ledger.lock().unreported = true;
        queue.send(Trigger::Redrive(None).to_body());
    }
}

/// A running compactor process.
struct Warm {
    process: Arc<Process>,
    catalog_version: CatalogVersion,
    function: Compactor<SelfTrigger>,
}

impl Warm {
    fn start(queue: &Arc<Queue>) -> Self {
        let world = &queue.world;
        let process = Process::new("compactor");
        let catalog_version = world.catalog_version(Function::Compactor);
        let store = Store::open_lake(world, &process, queue);
        let buckets = SinkBucket { world: world.clone(), process: process.clone(), queue: queue.clone() };
        // No simulated file is Parquet, so no process is started.
        let files = parquet_sandbox(MEMORY_BYTES).ok().map(|sandbox| Files {
            bucket: LAKE.to_owned(),
            prefix: String::new(),
            sinks: [SINK.to_owned()].into(),
            buckets: Arc::new(buckets),
            max_bytes: MAX_FILE_BYTES,
            steps: world.scenario.steps,
            sandbox,
            env: world.env(),
        });
        let function = Compactor {
            lake: Lake::new(store, world.env())
                .with_key_bytes(world.scenario.key_bytes)
                .with_maintenance(world.scenario.maintenance),
            catalog: contracts::catalog(catalog_version),
            trigger_queue: SelfTrigger { queue: queue.clone(), process: process.clone() },
            budget: CompactionLimits {
                objects: world.scenario.max_objects,
                row_bytes: world.scenario.row_bytes,
                ..CompactionLimits::default()
            },
            files: files.filter(|_| world.scenario.files.is_any()),
        };
        Self { process, catalog_version, function }
    }
}

/// A poller with its compactor: receives messages, invokes, and deletes the completed messages.
pub async fn poll(queue: Arc<Queue>) {
    let world = queue.world.clone();
    let mut warm: Option<Warm> = None;
    loop {
        sleep(world.rng.millis(100, 1_500)).await;
        let messages = queue.receive();
        if messages.is_empty() {
            if world.has_stopped_faults() {
                // Polling less often saves real time; little happens now.
                sleep(Duration::from_secs(5)).await;
            }
            continue;
        }
        let compactor = match warm
            .take()
            .filter(|warm| warm.catalog_version == world.catalog_version(Function::Compactor))
        {
            Some(warm) => warm,
            None => Warm::start(&queue),
        };
        let ids: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
        world.log(|| format!("compactor is invoked with {}", ids.join(" ")));
        let mut event = SqsEvent::default();
        for message in &messages {
            let mut record = SqsMessage::default();
            record.message_id = Some(message.id.clone());
            record.body = Some(message.body.clone());
            record.attributes.insert("ApproximateReceiveCount".to_owned(), message.receives.to_string());
            event.records.push(record);
        }
        let time_budget = Duration::from_millis(world.scenario.time_budget);
        let time_budget =
            if world.scenario.files.is_any() { time_budget.max(MIN_FILE_TIME) } else { time_budget };
        let work = compactor.function.handle(event, time_budget);
        let Some(summary) = compactor.process.invoke(&world, TIME_LIMIT, work).await else {
            world.ledger.lock().unreported = true;
            continue;
        };
        if let Some(Ok(landed)) = &summary.files {
            world.log(|| format!("files: {landed:?}"));
            for (count, what) in [
                (landed.landed, "files landed"),
                (landed.discarded, "files discarded"),
                (landed.retried, "files retried"),
                (landed.unfinished.len() as u64, "files read in part"),
            ] {
                (0..count).for_each(|_| world.trace.count(what));
            }
        }
        for (dataset, done) in &summary.compacted {
            match done {
                Ok(done) => {
                    let kept_out = done.outdated + done.deleted;
                    if done.read != done.inserted + done.superseded + done.duplicates + kept_out {
                        world.report_violation(Violation::WrongCounts, format!("{dataset}: {done:?}"));
                    }
                    world.ledger.lock().record_reported(dataset, done.inserted);
                    (0..done.superseded).for_each(|_| world.trace.count("rows superseded"));
                    world.log(|| format!("{dataset}: {done:?}"));
                }
                Err(error) => {
                    world.trace.count("failed compactions");
                    world.ledger.lock().unreported = true;
                    world.log(|| format!("{dataset}: {error}"));
                }
            }
        }
        let mut failed: BTreeSet<String> =
            summary.response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect();
        if world.has_mutation(Mutation::RedriveNotRepeated) {
            failed.retain(|id| !messages.iter().any(|message| message.id == *id && message.is_work()));
        }
        queue.delete(
            &messages.iter().map(|message| message.id.clone()).filter(|id| !failed.contains(id)).collect(),
        );
        warm = Some(compactor);
    }
}
