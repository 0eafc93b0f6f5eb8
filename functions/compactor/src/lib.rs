//! The compactor: inserts the rows of landing objects into their tables, and lands the records of files.
//!
//! Invariants:
//! - A trigger starts the compactor and carries no work, so no rows are lost if a trigger is lost, duplicated or late.
//!   Objects of other buckets are the exception, see [`files`]: their message is the work. It may be duplicated or
//!   late, but not lost.
//! - If work remains when the time is up, the compactor sends itself a trigger before it responds.
//! - A message is reported as failed, and delivered again, only if the work that it asked for failed.
//! - Files cannot block landing objects, and vice versa: landing objects come first, and files come first when
//!   messages are delivered again because a process has crashed.
//!
//! ```
//! use compactor::trigger::Trigger;
//!
//! let notification = r#"{"Records":[{"s3":{"object":{"key":"landing/pin/0aa/20221019T1200/events/shard/1-2-ff.parquet"}}}]}"#;
//! assert_eq!(Trigger::parse(notification), Trigger::Datasets(vec!["pin".to_owned()]));
//! assert_eq!(Trigger::parse("{}"), Trigger::All);
//! ```

pub mod aws;
pub mod files;
pub mod trigger;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use object_store::path::Path;
use pinlake_files::inbox::INBOX;
use pinlake_lake::{CompactionLimits, CompactionSummary, Lake, LakeError};
use pinlake_landing::LandingError;
use pinlake_landing::message::ObjectRef;
use pinlake_landing::name::dataset_of;
use pinlake_landing::object;
use pinlake_schema::Catalog;
use tokio::time::Instant;

use crate::files::{Deadlines, Files, FilesSummary};
use crate::trigger::Trigger;

/// Time added to the share of files, so that a file always makes progress.
const FILE_GRACE: Duration = Duration::from_secs(5);

/// The trigger queue, as the compactor writes to it.
#[async_trait]
pub trait TriggerQueue: Send + Sync {
    /// Sends a message with this body.
    ///
    /// # Errors
    /// The error message of the queue.
    async fn send(&self, body: String) -> Result<(), String>;
}

/// The compactor.
pub struct Compactor<Q> {
    /// The lake.
    pub lake: Lake,
    /// Contracts of this deployment.
    pub catalog: Arc<Catalog>,
    /// Queue for the triggers that the compactor sends itself.
    pub trigger_queue: Q,
    /// Limits of one compaction of a dataset.
    pub budget: CompactionLimits,
    /// Ingestion of files; `None` for a lake in a folder, which has no S3 notifications.
    pub files: Option<Files>,
}

/// What an invocation did.
#[derive(Debug, Default)]
pub struct InvocationSummary {
    /// Response to Lambda: the messages to deliver again.
    pub response: SqsBatchResponse,
    /// Compactions by dataset.
    pub compacted: BTreeMap<String, Result<CompactionSummary, LakeError>>,
    /// Ingestion of files, if a message asked for it.
    pub files: Option<Result<FilesSummary, LandingError>>,
}

/// A part of the work that a message asks for.
#[derive(Debug, PartialEq, Eq)]
enum Job {
    Compact(Vec<String>),
    Sweep,
    Redrive(Option<String>),
    Inbox,
    Land(ObjectRef),
}

impl<Q: TriggerQueue> Compactor<Q> {
    /// Does the work that the messages ask for, in at most `time`.
    pub async fn handle(&self, event: SqsEvent, time: Duration) -> InvocationSummary {
        let mut summary = InvocationSummary::default();
        let start = Instant::now();
        let is_retry = event.records.iter().any(is_even_delivery);
        let messages: Vec<(String, Vec<Job>)> = event
            .records
            .into_iter()
            .map(|message| {
                let trigger = Trigger::parse(message.body.as_deref().unwrap_or_default());
                (message.message_id.unwrap_or_default(), self.jobs(trigger))
            })
            .collect();
        let mut datasets = datasets_to_compact(messages.iter().flat_map(|(_, jobs)| jobs));
        if messages.iter().flat_map(|(_, jobs)| jobs).any(|job| *job == Job::Sweep) {
            datasets.extend(self.all_datasets().await);
        }
        let end = start + time;
        let has_files = messages.iter().flat_map(|(_, jobs)| jobs).any(Job::is_for_files);
        // Landing objects come first. The first kind of work may crash the process; then the messages are delivered
        // again, and the other kind comes first.
        let files_first = has_files && is_retry;
        let any = !time.is_zero();
        if files_first {
            let deadlines =
                Deadlines { has_time: any, soft: start + time / 2, hard: start + time * 3 / 4 + FILE_GRACE };
            self.ingest_files(&messages, deadlines, &mut summary).await;
        }
        let until = if has_files && !files_first { start + time / 2 } else { end };
        self.compact(datasets, until, &mut summary).await;
        if has_files && !files_first {
            let deadlines = Deadlines { has_time: any, soft: start + time * 3 / 4, hard: end + FILE_GRACE };
            self.ingest_files(&messages, deadlines, &mut summary).await;
        }
        // Compacts what the files have landed, as far as time allows.
        if let Some(Ok(landed)) = &summary.files {
            self.compact(landed.datasets.clone(), end, &mut summary).await;
        }
        let more: Vec<String> = datasets_where(&summary, |done| matches!(done, Ok(done) if done.more));
        let mut failed = datasets_where(&summary, Result::is_err);
        if !more.is_empty()
            && let Err(error) = self.trigger_queue.send(Trigger::Datasets(more.clone()).to_body()).await
        {
            // The messages of this invocation are delivered again instead.
            tracing::error!(%error, "cannot send a trigger for the remaining work");
            failed.extend(more);
        }
        let files = self.continue_files(&summary).await;
        for (id, jobs) in messages {
            let mut is_failed = false;
            for job in jobs {
                is_failed |= match job {
                    Job::Compact(datasets) => datasets.iter().any(|dataset| failed.contains(dataset)),
                    Job::Sweep => !failed.is_empty(),
                    Job::Inbox => files.inbox,
                    Job::Land(file) => files.all || files.these.contains(&file),
                    Job::Redrive(dataset) => match self.redrive(dataset.as_deref()).await {
                        Ok(()) => false,
                        Err(error) => {
                            tracing::error!(?dataset, %error, "redrive failed");
                            true
                        }
                    },
                };
            }
            if is_failed {
                summary.response.add_failure(id);
            }
        }
        summary
    }

    /// Compacts these datasets, until the time `until` at most.
    async fn compact(&self, datasets: BTreeSet<String>, until: Instant, summary: &mut InvocationSummary) {
        let time = until.saturating_duration_since(Instant::now());
        // Each dataset has an equal share of the time, so that a large one does not delay the others.
        let share = time / u32::try_from(datasets.len().max(1)).unwrap_or(u32::MAX);
        let budget = CompactionLimits { time: share, ..self.budget };
        for dataset in datasets {
            let compacted = self.lake.compact(&self.catalog, &dataset, budget).await;
            match &compacted {
                Ok(done) => tracing::info!(dataset, ?done, "compacted"),
                Err(error) if error.is_retryable() => {
                    tracing::warn!(dataset, %error, "not compacted, the messages are delivered again")
                }
                Err(error) => tracing::error!(dataset, %error, "not compacted"),
            }
            let compacted = match (summary.compacted.remove(&dataset), compacted) {
                (Some(Ok(before)), Ok(now)) => Ok(before.followed_by(now)),
                // The messages of a dataset that failed once are delivered again.
                (Some(Err(error)), _) | (_, Err(error)) => Err(error),
                (None, now) => now,
            };
            summary.compacted.insert(dataset, compacted);
        }
    }

    async fn ingest_files(
        &self,
        messages: &[(String, Vec<Job>)],
        deadlines: Deadlines,
        summary: &mut InvocationSummary,
    ) {
        let Some(files) = self.files.as_ref() else { return };
        let (mut inbox, mut objects) = (false, Vec::new());
        for job in messages.iter().flat_map(|(_, jobs)| jobs) {
            match job {
                Job::Inbox => inbox = true,
                Job::Land(file) if !objects.contains(file) => objects.push(file.clone()),
                Job::Land(_) | Job::Compact(_) | Job::Sweep | Job::Redrive(_) => {}
            }
        }
        let landed = files.land(&self.lake, &self.catalog, inbox, objects, deadlines).await;
        match &landed {
            Ok(landed) => tracing::info!(?landed, "files ingested"),
            Err(error) => tracing::error!(%error, "files not ingested, they will be tried again"),
        }
        summary.files = Some(landed);
    }

    /// Sends triggers for the files that were not finished in time, and returns the jobs that failed.
    async fn continue_files(&self, summary: &InvocationSummary) -> FailedFileJobs {
        let landed = match &summary.files {
            None => return FailedFileJobs::default(),
            Some(Err(_)) => return FailedFileJobs { inbox: true, all: true, these: Vec::new() },
            Some(Ok(landed)) => landed,
        };
        let mut failed =
            FailedFileJobs { inbox: landed.inbox_failed, all: false, these: landed.failed.clone() };
        if landed.more
            && let Err(error) = self.trigger_queue.send(Trigger::Inbox.to_body()).await
        {
            tracing::error!(%error, "cannot send a trigger for the inbox");
            failed.inbox = true;
        }
        if !landed.unfinished.is_empty()
            && let Err(error) =
                self.trigger_queue.send(Trigger::Objects(landed.unfinished.clone()).to_body()).await
        {
            tracing::error!(%error, "cannot send a trigger for the remaining files");
            failed.these.extend(landed.unfinished.iter().cloned());
        }
        failed
    }

    /// Returns the datasets that have a contract, and those that only have landing objects.
    async fn all_datasets(&self) -> BTreeSet<String> {
        let mut all = object::list_datasets(&**self.lake.store()).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "cannot list the landing area, the next sweep tries again");
            BTreeSet::new()
        });
        all.extend(self.catalog.contracts().map(|contract| contract.name.clone()));
        all
    }

    async fn redrive(&self, dataset: Option<&str>) -> Result<(), LakeError> {
        let done = self.lake.redrive(&self.catalog, dataset).await?;
        tracing::info!(?dataset, ?done, "redriven");
        Ok(())
    }

    fn jobs(&self, trigger: Trigger) -> Vec<Job> {
        match trigger {
            Trigger::Datasets(datasets) => vec![Job::Compact(datasets)],
            Trigger::Redrive(dataset) => vec![Job::Redrive(dataset)],
            Trigger::Inbox => vec![Job::Inbox],
            Trigger::All => vec![Job::Sweep, Job::Inbox],
            Trigger::Objects(objects) => {
                objects.into_iter().flat_map(|object| self.jobs_of(object)).collect()
            }
        }
    }

    fn jobs_of(&self, object: ObjectRef) -> Vec<Job> {
        let Some(files) = &self.files else {
            return self.jobs(Trigger::All);
        };
        if !files.is_source(&object.bucket) {
            // A sender can name any bucket. A failure would only deliver the message again.
            tracing::warn!(
                bucket = object.bucket,
                "ignoring a message for a bucket that is not a source of files"
            );
            return Vec::new();
        }
        match files.path_in_lake(&object) {
            None => vec![Job::Land(object)],
            Some(path) => match (path.split('/').next(), dataset_of(path)) {
                // A listing skips an invalid path. As a job it fails and ends in the dead-letter queue, which has an
                // alarm.
                (Some(INBOX), _) if Path::parse(path).is_err() => vec![Job::Land(object)],
                (Some(INBOX), _) => vec![Job::Inbox],
                (_, Some(dataset)) => vec![Job::Compact(vec![dataset.to_owned()])],
                _ => self.jobs(Trigger::All),
            },
        }
    }
}

impl Job {
    fn is_for_files(&self) -> bool {
        matches!(self, Self::Inbox | Self::Land(_))
    }
}

/// Returns whether this is the second, fourth, ... delivery of a message ("ReceiveMessage", Amazon SQS API Reference).
fn is_even_delivery(message: &SqsMessage) -> bool {
    let count = message.attributes.get("ApproximateReceiveCount");
    count.and_then(|count| count.parse::<u64>().ok()).is_some_and(|count| count % 2 == 0)
}

/// Jobs for files that failed.
#[derive(Debug, Default)]
struct FailedFileJobs {
    inbox: bool,
    all: bool,
    these: Vec<ObjectRef>,
}

/// Returns the datasets whose compaction meets `predicate`.
fn datasets_where(
    summary: &InvocationSummary,
    predicate: impl Fn(&Result<CompactionSummary, LakeError>) -> bool,
) -> Vec<String> {
    let found = summary.compacted.iter().filter(|(_, compacted)| predicate(compacted));
    found.map(|(dataset, _)| dataset.clone()).collect()
}

fn datasets_to_compact<'a>(jobs: impl Iterator<Item = &'a Job>) -> BTreeSet<String> {
    jobs.flat_map(|job| match job {
        Job::Compact(datasets) => datasets.as_slice(),
        Job::Sweep | Job::Redrive(_) | Job::Inbox | Job::Land(_) => &[],
    })
    .cloned()
    .collect()
}
