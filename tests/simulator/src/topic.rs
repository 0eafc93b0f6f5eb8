//! A Kafka topic and the event source that delivers its records to the cleaner.
//!
//! One partition, in order; a batch that fails is delivered again as a whole until it succeeds ("Using Lambda with Amazon MSK":
//! Lambda reads the messages sequentially for each partition and retries the batch).

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use cleaner::event::KafkaRecord;
use pinlake_landing::drain::Acknowledged;
use pinlake_landing::source::partition_shard;
use tokio::time::sleep;

use crate::contracts::{self, TOPIC};
use crate::fault::Fault;
use crate::invariants::quarantine_content;
use crate::kinesis::Cleaning;
use crate::ledger::{Content, Receipt, RecordId};
use crate::queue::Queue;
use crate::world::World;

/// As in template.yaml.
const TIME_LIMIT: Duration = Duration::from_secs(60);

/// The only partition of the topic.
#[derive(Debug, Default)]
pub struct Partition {
    records: Mutex<Vec<KafkaRecord>>,
    done: Mutex<usize>,
}

impl Partition {
    /// Whether the event source has processed every record.
    pub fn is_consumed(&self) -> bool {
        *lock(&self.done) == lock(&self.records).len()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A producer, which knows the offsets of its records.
pub async fn produce(world: Arc<World>, partition: Arc<Partition>) {
    for _ in 0..world.scenario.topic {
        sleep(world.rng.millis(0, 12_000)).await;
        let (value, content): (String, Content) = if world.rng.chance(250) {
            let raw = contracts::bad_memo(world.rng.between(0, 9));
            let content = quarantine_content(None, raw.as_bytes());
            (raw, content)
        } else {
            let id = world.rng.between(*contracts::MEMOS.start(), *contracts::MEMOS.end());
            (contracts::memo(id), format!("memo/{id}"))
        };
        let offset = {
            let mut records = lock(&partition.records);
            let offset = records.len() as u64;
            records.push(KafkaRecord {
                topic: TOPIC.to_owned(),
                partition: 0,
                offset,
                timestamp: world.now().timestamp_millis(),
                key: None,
                value: Some(STANDARD.encode(&value)),
            });
            offset
        };
        world.log(|| format!("{TOPIC} takes {offset} {value}"));
        let Ok(sequence) = offset.to_string().parse() else { continue };
        let id: RecordId = format!("{TOPIC}/{offset}");
        let mut book = world.ledger.lock();
        book.record_sent(&content, id.clone());
        book.record_acknowledged(Receipt {
            stream: TOPIC,
            acknowledged: Acknowledged::from([(partition_shard(0), sequence)]),
            records: vec![(content, id)],
        });
    }
}

/// Reads the partition and delivers batches.
pub async fn watch(world: Arc<World>, partition: Arc<Partition>, queue: Arc<Queue>) {
    let mut warm: Option<Cleaning> = None;
    loop {
        sleep(world.rng.millis(200, 3_000)).await;
        let done = *lock(&partition.done);
        let most = usize::try_from(world.rng.between(1, world.scenario.batch)).unwrap_or(1);
        let batch: Vec<KafkaRecord> = lock(&partition.records)[done..].iter().take(most).cloned().collect();
        if batch.is_empty() {
            if world.has_stopped_faults() {
                sleep(Duration::from_secs(5)).await;
            }
            continue;
        }
        if deliver(&world, &queue, &batch, &mut warm).await {
            world.trace.count("batches of a topic");
            if world.draw_fault(Fault::BatchTwice, "topic") {
                deliver(&world, &queue, &batch, &mut None).await;
            }
            *lock(&partition.done) = done + batch.len();
        }
    }
}

async fn deliver(
    world: &Arc<World>,
    queue: &Arc<Queue>,
    batch: &[KafkaRecord],
    warm: &mut Option<Cleaning>,
) -> bool {
    let cleaning = Cleaning::get_or_start(world, queue, warm);
    world.log(|| format!("cleaner is invoked with {} records of {TOPIC}", batch.len()));
    let work = cleaning.cleaner.handle_kafka(batch.to_vec());
    let done = cleaning.process.invoke(world, TIME_LIMIT, work).await;
    let Some(done) = done else { return false };
    *warm = Some(cleaning);
    done.is_ok()
}
