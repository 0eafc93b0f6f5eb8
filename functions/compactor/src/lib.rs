//! The compactor: takes what lies in the landing area into the tables.
//!
//! Invariants: a message is a wake-up and carries no work, so a message that is lost, doubled or late loses nothing;
//! if work remains when the time is up, the compactor wakes itself before it answers; a message is answered as
//! failed only when its dataset's work failed, and then comes again.
//!
//! ```
//! use compactor::wake::Wake;
//!
//! let notification = r#"{"Records":[{"s3":{"object":{"key":"landing/pin/0aa/20221019T1200/events/shard/1-2-ff.parquet"}}}]}"#;
//! assert_eq!(Wake::parse(notification), Wake::Datasets(vec!["pin".to_owned()]));
//! assert_eq!(Wake::parse("{}"), Wake::All);
//! ```

pub mod wake;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use aws_lambda_events::event::sqs::{SqsBatchResponse, SqsEvent};
use pinlake_lake::{Budget, Compacted, Lake, LakeError};
use pinlake_schema::Catalog;

use crate::wake::Wake;

/// Sends the compactor a message to itself.
#[async_trait]
pub trait Alarm: Send + Sync {
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
    pub budget: Budget,
}

/// What became of an event.
#[derive(Debug, Default)]
pub struct Outcome {
    /// What Lambda is told: which messages come again.
    pub response: SqsBatchResponse,
    /// What was taken, by dataset.
    pub compacted: BTreeMap<String, Result<Compacted, LakeError>>,
}

impl<A: Alarm> Compactor<A> {
    /// Takes the landing objects of every dataset that a message names, `patience` at most in all.
    pub async fn handle(&self, event: SqsEvent, patience: Duration) -> Outcome {
        let mut outcome = Outcome::default();
        let messages: Vec<(String, Wake)> = event
            .records
            .into_iter()
            .map(|message| {
                let wake = Wake::parse(message.body.as_deref().unwrap_or_default());
                (message.message_id.unwrap_or_default(), wake)
            })
            .collect();
        let datasets: BTreeSet<String> = messages.iter().flat_map(|(_, wake)| self.named(wake)).collect();
        // Each dataset has its share of the time: a large one does not keep the others waiting.
        let share = patience / u32::try_from(datasets.len().max(1)).unwrap_or(u32::MAX);
        let budget = Budget { time: share, ..self.budget };
        for dataset in datasets {
            let compacted = self.lake.compact(&self.catalog, &dataset, budget).await;
            match &compacted {
                Ok(done) => tracing::info!(dataset, ?done, "compacted"),
                Err(error) if error.is_retryable() => {
                    tracing::warn!(dataset, %error, "not compacted, will be again")
                }
                Err(error) => tracing::error!(dataset, %error, "not compacted"),
            }
            outcome.compacted.insert(dataset, compacted);
        }
        let more: Vec<String> = self.with(&outcome, |done| matches!(done, Ok(done) if done.more));
        let mut failed = self.with(&outcome, Result::is_err);
        if !more.is_empty()
            && let Err(error) = self.alarm.wake(Wake::Datasets(more.clone()).to_body()).await
        {
            // The messages that brought us here come again in the place of the one that was not sent.
            tracing::error!(%error, "cannot send myself a wake-up");
            failed.extend(more);
        }
        for (id, wake) in messages {
            if let Wake::Redrive(dataset) = &wake
                && let Err(error) = self.redrive(dataset.as_deref()).await
            {
                tracing::error!(?dataset, %error, "not redriven");
                outcome.response.add_failure(id);
            } else if self.named(&wake).iter().any(|dataset| failed.contains(dataset)) {
                outcome.response.add_failure(id);
            }
        }
        outcome
    }

    fn with(&self, outcome: &Outcome, is: impl Fn(&Result<Compacted, LakeError>) -> bool) -> Vec<String> {
        outcome.compacted.iter().filter(|(_, done)| is(done)).map(|(dataset, _)| dataset.clone()).collect()
    }

    async fn redrive(&self, dataset: Option<&str>) -> Result<(), LakeError> {
        let done = self.lake.redrive(&self.catalog, dataset).await?;
        tracing::info!(?dataset, ?done, "redriven");
        Ok(())
    }

    fn named(&self, wake: &Wake) -> Vec<String> {
        match wake {
            Wake::Datasets(datasets) => datasets.clone(),
            Wake::Redrive(_) => Vec::new(),
            Wake::All => self.catalog.contracts().map(|contract| contract.name.clone()).collect(),
        }
    }
}
