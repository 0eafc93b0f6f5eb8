//! The compactor: cleans files into the landing area, and takes what lies there into the tables.
//!
//! Invariants: a message is a wake-up and carries no work, so a message that is lost, doubled or late loses nothing
//! (but for objects of other buckets, see [`files`]: there a message is the work, and may be doubled or late);
//! if work remains when the time is up, the compactor wakes itself before it answers; a message is answered as
//! failed only when its dataset's work failed, and then comes again; files and landing do not share their fate: landing
//! is compacted before files are read, and when messages come again, because a process broke down, it is the other way round.
//!
//! ```
//! use compactor::trigger::Trigger;
//!
//! let notification = r#"{"Records":[{"s3":{"object":{"key":"landing/pin/0aa/20221019T1200/events/shard/1-2-ff.parquet"}}}]}"#;
//! assert_eq!(Trigger::parse(notification), Trigger::Datasets(vec!["pin".to_owned()]));
//! assert_eq!(Trigger::parse("{}"), Trigger::All);
//! ```

pub mod files;
pub mod trigger;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent, SqsMessage};
use object_store::path::Path;
use pinlake_lake::{CompactionLimits, CompactionSummary, Lake, LakeError};
use pinlake_landing::LandingError;
use pinlake_landing::file::INBOX;
use pinlake_landing::name::dataset_of;
use pinlake_landing::object;
use pinlake_schema::Catalog;
use tokio::time::Instant;

use crate::files::{Files, FilesSummary, Times};
use crate::trigger::{ObjectRef, Trigger};

/// What a file has at least to come further, beyond the time that is for files.
const AT_LEAST: Duration = Duration::from_secs(5);

/// Sends the compactor a message to itself.
#[async_trait]
pub trait TriggerQueue: Send + Sync {
    /// Queues `body`.
    ///
    /// # Errors
    /// With the queue's words when it does not take the message.
    async fn wake(&self, body: String) -> Result<(), String>;
}

/// The compactor's parts.
pub struct Compactor<A> {
    /// The lake.
    pub lake: Lake,
    /// The contracts.
    pub catalog: Arc<Catalog>,
    /// The queue that wakes it.
    pub alarm: A,
    /// What one dataset may take of an invocation at a time.
    pub budget: CompactionLimits,
    /// What it takes files with; none where there is no S3 that announces any.
    pub files: Option<Files>,
}

/// What became of an event.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What Lambda is told: which messages come again.
    pub response: SqsBatchResponse,
    /// What was taken, by dataset.
    pub compacted: BTreeMap<String, Result<CompactionSummary, LakeError>>,
    /// What became of files.
    pub files: Option<Result<FilesSummary, LandingError>>,
}

/// What a message asks for.
#[derive(Debug, PartialEq, Eq)]
enum Job {
    Compact(Vec<String>),
    Sweep,
    Redrive(Option<String>),
    Inbox,
    Take(ObjectRef),
}

impl<A: TriggerQueue> Compactor<A> {
    /// Takes the landing objects of every dataset that a message names, `patience` at most in all.
    pub async fn handle(&self, event: SqsEvent, patience: Duration) -> Outcome {
        let mut outcome = Outcome::default();
        let begun = Instant::now();
        let is_second_turn = event.records.iter().any(is_second_turn);
        let messages: Vec<(String, Vec<Job>)> = event
            .records
            .into_iter()
            .map(|message| {
                let wake = Trigger::parse(message.body.as_deref().unwrap_or_default());
                (message.message_id.unwrap_or_default(), self.jobs(wake))
            })
            .collect();
        let mut datasets = named(messages.iter().flat_map(|(_, jobs)| jobs));
        if messages.iter().flat_map(|(_, jobs)| jobs).any(|job| *job == Job::Sweep) {
            datasets.extend(self.all_datasets().await);
        }
        let end = begun + patience;
        let has_files = messages.iter().flat_map(|(_, jobs)| jobs).any(Job::is_of_files);
        // Landing first. Whichever comes first may end the process, and the messages come again: then it is the other's turn.
        let files_first = has_files && is_second_turn;
        let any = !patience.is_zero();
        if files_first {
            let times = Times { any, soft: begun + patience / 2, hard: begun + patience * 3 / 4 + AT_LEAST };
            self.take_files(&messages, times, &mut outcome).await;
        }
        let until = if has_files && !files_first { begun + patience / 2 } else { end };
        self.compact(datasets, until, &mut outcome).await;
        if has_files && !files_first {
            let times = Times { any, soft: begun + patience * 3 / 4, hard: end + AT_LEAST };
            self.take_files(&messages, times, &mut outcome).await;
        }
        // What files have brought into landing, as far as the time goes.
        if let Some(Ok(taken)) = &outcome.files {
            self.compact(taken.datasets.clone(), end, &mut outcome).await;
        }
        let more: Vec<String> = self.with(&outcome, |done| matches!(done, Ok(done) if done.more));
        let mut failed = self.with(&outcome, Result::is_err);
        if !more.is_empty()
            && let Err(error) = self.alarm.wake(Trigger::Datasets(more.clone()).to_body()).await
        {
            // The messages that brought us here come again in the place of the one that was not sent.
            tracing::error!(%error, "cannot send myself a wake-up");
            failed.extend(more);
        }
        let files = self.go_on_with_files(&outcome).await;
        for (id, jobs) in messages {
            let mut again = false;
            for job in jobs {
                again |= match job {
                    Job::Compact(datasets) => datasets.iter().any(|dataset| failed.contains(dataset)),
                    Job::Sweep => !failed.is_empty(),
                    Job::Inbox => files.inbox,
                    Job::Take(file) => files.all || files.these.contains(&file),
                    Job::Redrive(dataset) => match self.redrive(dataset.as_deref()).await {
                        Ok(()) => false,
                        Err(error) => {
                            tracing::error!(?dataset, %error, "not redriven");
                            true
                        }
                    },
                };
            }
            if again {
                outcome.response.add_failure(id);
            }
        }
        outcome
    }

    /// Takes what lies in landing of these datasets into their tables.
    async fn compact(&self, datasets: BTreeSet<String>, until: Instant, outcome: &mut Outcome) {
        let patience = until.saturating_duration_since(Instant::now());
        // Each dataset has its share of the time: a large one does not keep the others waiting.
        let share = patience / u32::try_from(datasets.len().max(1)).unwrap_or(u32::MAX);
        let budget = CompactionLimits { time: share, ..self.budget };
        for dataset in datasets {
            let compacted = self.lake.compact(&self.catalog, &dataset, budget).await;
            match &compacted {
                Ok(done) => tracing::info!(dataset, ?done, "compacted"),
                Err(error) if error.is_retryable() => {
                    tracing::warn!(dataset, %error, "not compacted, will be again")
                }
                Err(error) => tracing::error!(dataset, %error, "not compacted"),
            }
            let compacted = match (outcome.compacted.remove(&dataset), compacted) {
                (Some(Ok(before)), Ok(now)) => Ok(sum(before, now)),
                // An error stands: the messages come again.
                (Some(Err(error)), _) | (_, Err(error)) => Err(error),
                (None, now) => now,
            };
            outcome.compacted.insert(dataset, compacted);
        }
    }

    async fn take_files(&self, messages: &[(String, Vec<Job>)], times: Times, outcome: &mut Outcome) {
        let Some(files) = self.files.as_ref() else { return };
        let (mut inbox, mut announced) = (false, Vec::new());
        for job in messages.iter().flat_map(|(_, jobs)| jobs) {
            match job {
                Job::Inbox => inbox = true,
                Job::Take(file) if !announced.contains(file) => announced.push(file.clone()),
                Job::Take(_) | Job::Compact(_) | Job::Sweep | Job::Redrive(_) => {}
            }
        }
        let taken = files.take(&self.lake, &self.catalog, inbox, announced, times).await;
        match &taken {
            Ok(taken) => tracing::info!(?taken, "files taken"),
            Err(error) => tracing::error!(%error, "files not taken, they will be again"),
        }
        outcome.files = Some(taken);
    }

    /// Sends itself what files the time did not cover, and tells which jobs are to come again.
    async fn go_on_with_files(&self, outcome: &Outcome) -> FilesAgain {
        let taken = match &outcome.files {
            None => return FilesAgain::default(),
            Some(Err(_)) => return FilesAgain { inbox: true, all: true, these: Vec::new() },
            Some(Ok(taken)) => taken,
        };
        let mut again = FilesAgain { inbox: taken.inbox_failed, all: false, these: taken.failed.clone() };
        if taken.more
            && let Err(error) = self.alarm.wake(Trigger::Inbox.to_body()).await
        {
            tracing::error!(%error, "cannot send myself a wake-up for the inbox");
            again.inbox = true;
        }
        if !taken.unfinished.is_empty()
            && let Err(error) = self.alarm.wake(Trigger::Objects(taken.unfinished.clone()).to_body()).await
        {
            tracing::error!(%error, "cannot send myself the files that are left");
            again.these.extend(taken.unfinished.iter().cloned());
        }
        again
    }

    fn with(
        &self,
        outcome: &Outcome,
        is: impl Fn(&Result<CompactionSummary, LakeError>) -> bool,
    ) -> Vec<String> {
        outcome.compacted.iter().filter(|(_, done)| is(done)).map(|(dataset, _)| dataset.clone()).collect()
    }

    /// The datasets that have a contract, and those that have none any more but rows in landing.
    async fn all_datasets(&self) -> BTreeSet<String> {
        let mut all = object::datasets(&**self.lake.store()).await.unwrap_or_else(|error| {
            tracing::warn!(%error, "landing not listed, the next sweep will");
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

    fn jobs(&self, wake: Trigger) -> Vec<Job> {
        match wake {
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
            // Whoever may write to the queue may name any bucket. The message is done: it would only come again.
            tracing::warn!(bucket = object.bucket, "a message names a bucket that is not read from: ignored");
            return Vec::new();
        }
        match files.in_lake(&object) {
            None => vec![Job::Take(object)],
            Some(path) => match (path.split('/').next(), dataset_of(path)) {
                // A listing passes it over. As work that fails it ends in the dead letters, which has an alarm.
                (Some(INBOX), _) if Path::parse(path).is_err() => vec![Job::Take(object)],
                (Some(INBOX), _) => vec![Job::Inbox],
                (_, Some(dataset)) => vec![Job::Compact(vec![dataset.to_owned()])],
                _ => self.jobs(Trigger::All),
            },
        }
    }
}

impl Job {
    fn is_of_files(&self) -> bool {
        matches!(self, Self::Inbox | Self::Take(_))
    }
}

/// Whether a message has come an odd number of times before, as SQS counts ("ReceiveMessage", Amazon SQS API Reference).
fn is_second_turn(message: &SqsMessage) -> bool {
    let count = message.attributes.get("ApproximateReceiveCount");
    count.and_then(|count| count.parse::<u64>().ok()).is_some_and(|count| count % 2 == 0)
}

/// What was done in two steps.
fn sum(before: CompactionSummary, now: CompactionSummary) -> CompactionSummary {
    CompactionSummary {
        read: before.read + now.read,
        inserted: before.inserted + now.inserted,
        duplicates: before.duplicates + now.duplicates,
        objects: before.objects + now.objects,
        cleaned_again: before.cleaned_again + now.cleaned_again,
        merged_files: before.merged_files + now.merged_files,
        failed: before.failed + now.failed,
        more: now.more,
    }
}

/// Jobs about files that were not done.
#[derive(Debug, Default)]
struct FilesAgain {
    inbox: bool,
    all: bool,
    these: Vec<ObjectRef>,
}

fn named<'a>(jobs: impl Iterator<Item = &'a Job>) -> BTreeSet<String> {
    jobs.flat_map(|job| match job {
        Job::Compact(datasets) => datasets.as_slice(),
        Job::Sweep | Job::Redrive(_) | Job::Inbox | Job::Take(_) => &[],
    })
    .cloned()
    .collect()
}
