//! The compactor's queue: S3's notifications, its own messages, the sweep; and the event source that polls it.
//!
//! A standard queue delivers at least once and in any order ("Amazon SQS standard queues"); a message that is not
//! deleted within its visibility timeout comes again ("Amazon SQS visibility timeout"), and after `maxReceiveCount`
//! receives goes to the dead-letter queue. Lambda deletes what a batch's answer does not name as failed, and nothing
//! when there is no answer ("Handling errors for an SQS event source in Lambda"). S3 delivers notifications at least
//! once, typically in seconds but sometimes in a minute or longer ("Amazon S3 Event Notifications").

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use aws_lambda_events::event::sqs::{SqsEvent, SqsMessage};
use compactor::files::{Files, MOST_BYTES, sandbox};
use compactor::trigger::Trigger;
use compactor::{Compactor, TriggerQueue};
use object_store::path::Path;
use pinlake_lake::{CompactionLimits, Lake};
use tokio::time::sleep;

use crate::contracts::{self, Release};
use crate::fault::Fault;
use crate::files::{LAKE, Opened, SINK};
use crate::mutation::Mutation;
use crate::process::Process;
use crate::store::Store;
use crate::trace::Broken;
use crate::world::{Function, World};

/// As in template.yaml.
const MAX_RECEIVES: u32 = 5;
const VISIBILITY: Duration = Duration::from_secs(720);
const TIME_LIMIT: Duration = Duration::from_secs(120);
/// As in template.yaml.
const MEMORY_BYTES: u64 = 2 << 30;
/// The time that a compactor has at least where there are files: a few requests of S3.
const LEAST_FOR_FILES: Duration = Duration::from_secs(4);

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
            // Another bucket is not looked into: the message is all that tells of its object.
            Trigger::Objects(objects) => objects.iter().any(|object| object.bucket != LAKE),
            Trigger::Datasets(_) | Trigger::All | Trigger::Inbox => false,
        }
    }
}

impl Queue {
    /// An empty queue.
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

    /// S3 announces a new object, as far as it does.
    pub fn notify(self: &Arc<Self>, path: &Path) {
        if self.world.strikes(Fault::NotificationLost, "s3 event") {
            return;
        }
        self.announce(LAKE, path.as_ref());
    }

    /// S3 announces an object of a bucket, at least once.
    pub fn announce(self: &Arc<Self>, bucket: &str, key: &str) {
        let times = if self.world.strikes(Fault::NotificationTwice, "s3 event") { 2 } else { 1 };
        for _ in 0..times {
            let late = self.world.strikes(Fault::NotificationLate, "s3 event");
            let after =
                self.world.rng.millis(if late { 60_000 } else { 50 }, if late { 180_000 } else { 2_000 });
            // As in a form: what is no plain character is percent-encoded ("Event message structure").
            let key = key.replace('+', "%2B").replace('=', "%3D");
            let body = serde_json::json!({"Records": [{"s3": {"bucket": {"name": bucket}, "object": {"key": key}}}]});
            let body = body.to_string();
            let (queue, under_way) = (self.clone(), self.world.under_way());
            tokio::spawn(async move {
                sleep(after).await;
                queue.send(body);
                drop(under_way);
            });
        }
    }

    /// Takes some messages, whichever, and hides them for a while. With a batching window an event source collects up
    /// to 10,000 ("Using Lambda with Amazon SQS"); mostly there are few.
    fn receive(&self) -> Vec<Message> {
        let now = self.world.time();
        let most = [1, 10, 100, 10_000][self.world.rng.index(4)];
        let most = usize::try_from(self.world.rng.between(1, most)).unwrap_or(1);
        let mut taken = Vec::new();
        let mut messages = self.messages();
        while taken.len() < most {
            let visible: Vec<usize> = (0..messages.len()).filter(|at| messages[*at].visible <= now).collect();
            if visible.is_empty() {
                break;
            }
            let at = visible[self.world.rng.index(visible.len())];
            if messages[at].receives >= MAX_RECEIVES {
                let dead = messages.remove(at);
                self.world.tell(|| format!("{} goes to the dead letters", dead.id));
                self.world.trace.reached("dead letters");
                // An operator sends again what carries work, as `pinlake recover` does.
                if dead.is_work() {
                    messages.push(Message { receives: 0, ..dead });
                }
                continue;
            }
            let message = &mut messages[at];
            message.receives += 1;
            let short = self.world.strikes(Fault::VisibleWhileAtWork, "queue");
            let hidden = if short { self.world.rng.millis(0, 3_000) } else { VISIBILITY };
            message.visible = now + hidden;
            taken.push(message.clone());
        }
        taken
    }

    /// Whether a message is left that carries work, as a redrive does: what others announce is to be found elsewhere.
    pub fn has_work(&self) -> bool {
        self.messages().iter().any(Message::is_work)
    }

    fn delete(&self, ids: &BTreeSet<String>) {
        let keep = |message: &Message| {
            !ids.contains(&message.id) || self.world.strikes(Fault::MessageAgain, "queue")
        };
        self.messages().retain(keep);
    }

    fn messages(&self) -> MutexGuard<'_, Vec<Message>> {
        self.messages.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The compactor's way to send itself a message.
pub struct ToSelf {
    queue: Arc<Queue>,
    process: Arc<Process>,
}

#[async_trait]
impl TriggerQueue for ToSelf {
    async fn wake(&self, body: String) -> Result<(), String> {
        self.process.step().await;
        let world = &self.queue.world;
        sleep(world.rng.millis(1, 30)).await;
        if world.strikes(Fault::WakeRefused, "queue") {
            return Err("ServiceUnavailable".to_owned());
        }
        world.trace.reached("messages to itself");
        if !world.lacks(Mutation::NoSelfMessage) {
            self.queue.send(body);
        }
        self.process.step().await;
        if world.strikes(Fault::WakeAnswerLost, "queue") {
            return Err("time-out".to_owned());
        }
        Ok(())
    }
}

/// Sends the sweep's message again and again.
pub async fn sweep(queue: Arc<Queue>) {
    let world = queue.world.clone();
    let Some(every) = world.plan.sweep.filter(|_| !world.lacks(Mutation::NoSweep)) else {
        return;
    };
    loop {
        sleep(every).await;
        if !world.strikes(Fault::SweepLost, "schedule") {
            queue.send(Trigger::All.to_body());
        }
    }
}

/// Somebody has quarantined records cleaned again, whenever the plan says so.
pub async fn redrive(queue: Arc<Queue>) {
    let world = queue.world.clone();
    for at in world.plan.redrives.clone() {
        sleep(at.saturating_sub(world.time())).await;
        world.trace.reached("redrives");
        // What a redrive inserts is in no compactor's report.
        world.ledger.open().unreported = true;
        queue.send(Trigger::Redrive(None).to_body());
    }
}

/// A warm compactor.
struct Warm {
    process: Arc<Process>,
    release: Release,
    function: Compactor<ToSelf>,
}

impl Warm {
    fn start(queue: &Arc<Queue>) -> Self {
        let world = &queue.world;
        let process = Process::new("compactor");
        let release = world.release(Function::Compactor);
        let store = Store::of(world, &process, queue);
        let buckets = Opened { world: world.clone(), process: process.clone(), queue: queue.clone() };
        // Nothing of this world is Parquet: no process is ever started.
        let files = sandbox(MEMORY_BYTES).ok().map(|sandbox| Files {
            bucket: LAKE.to_owned(),
            prefix: String::new(),
            sinks: [SINK.to_owned()].into(),
            buckets: Arc::new(buckets),
            most_bytes: MOST_BYTES,
            steps: world.plan.steps,
            sandbox,
            effects: world.effects(),
        });
        let function = Compactor {
            lake: Lake::new(store, world.effects())
                .with_key_bytes(world.plan.key_bytes)
                .with_maintenance(world.plan.maintenance),
            catalog: contracts::catalog(release),
            alarm: ToSelf { queue: queue.clone(), process: process.clone() },
            budget: CompactionLimits {
                objects: world.plan.take,
                row_bytes: world.plan.row_bytes,
                ..CompactionLimits::default()
            },
            files: files.filter(|_| world.plan.files.is_any()),
        };
        Self { process, release, function }
    }
}

/// One poller with its compactor: takes messages, invokes, and deletes what was done.
pub async fn poll(queue: Arc<Queue>) {
    let world = queue.world.clone();
    let mut warm: Option<Warm> = None;
    loop {
        sleep(world.rng.millis(100, 1_500)).await;
        let messages = queue.receive();
        if messages.is_empty() {
            if world.is_healed() {
                // Waiting costs real time too, and there is little left to happen.
                sleep(Duration::from_secs(5)).await;
            }
            continue;
        }
        let compactor = match warm.take().filter(|warm| warm.release == world.release(Function::Compactor)) {
            Some(warm) => warm,
            None => Warm::start(&queue),
        };
        let ids: Vec<&str> = messages.iter().map(|message| message.id.as_str()).collect();
        world.tell(|| format!("compactor is invoked with {}", ids.join(" ")));
        let mut event = SqsEvent::default();
        for message in &messages {
            let mut record = SqsMessage::default();
            record.message_id = Some(message.id.clone());
            record.body = Some(message.body.clone());
            record.attributes.insert("ApproximateReceiveCount".to_owned(), message.receives.to_string());
            event.records.push(record);
        }
        let patience = Duration::from_millis(world.plan.patience);
        let patience = if world.plan.files.is_any() { patience.max(LEAST_FOR_FILES) } else { patience };
        let work = compactor.function.handle(event, patience);
        let Some(outcome) = compactor.process.invoke(&world, TIME_LIMIT, work).await else {
            world.ledger.open().unreported = true;
            continue;
        };
        if let Some(Ok(taken)) = &outcome.files {
            world.tell(|| format!("files: {taken:?}"));
            for (count, what) in [
                (taken.taken, "files taken"),
                (taken.discarded, "files given up"),
                (taken.tried_again, "files tried again"),
                (taken.unfinished.len() as u64, "files left in the middle"),
            ] {
                (0..count).for_each(|_| world.trace.reached(what));
            }
        }
        for (dataset, done) in &outcome.compacted {
            match done {
                Ok(done) => {
                    if done.read != done.inserted + done.duplicates {
                        world.broke(Broken::Counts, format!("{dataset}: {done:?}"));
                    }
                    world.ledger.open().reported(dataset, done.inserted);
                    world.tell(|| format!("{dataset}: {done:?}"));
                }
                Err(error) => {
                    world.trace.reached("failed compactions");
                    world.ledger.open().unreported = true;
                    world.tell(|| format!("{dataset}: {error}"));
                }
            }
        }
        let mut failed: BTreeSet<String> =
            outcome.response.batch_item_failures.into_iter().map(|failure| failure.item_identifier).collect();
        if world.lacks(Mutation::RedriveForgotten) {
            failed.retain(|id| !messages.iter().any(|message| message.id == *id && message.is_work()));
        }
        queue.delete(
            &messages.iter().map(|message| message.id.clone()).filter(|id| !failed.contains(id)).collect(),
        );
        warm = Some(compactor);
    }
}
