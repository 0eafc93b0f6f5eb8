//! The trigger queue of the compactor and its dead-letter queue.

use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{DeleteMessageBatchRequestEntry, Message, QueueAttributeName};
use pinlake_landing::message::Message as TriggerMessage;
use pinlake_landing::name::dataset_of;
use pinlake_platform::aws;
use pinlake_platform::trigger_queue::SqsTriggerQueue;
use serde_json::Value;
use tokio::sync::watch;

use crate::error::CliError;

/// Visibility timeout of received dead letters, in seconds.
const VISIBILITY: i32 = 60;
/// Wait time of a receive call, in seconds. Long polling queries all servers of SQS.
const WAIT_SECONDS: i32 = 2;
/// Messages per request; the limit of SQS.
const PAGE: i32 = 10;
/// Maximum number of receive calls.
const MAX_PAGES: usize = 100_000;

/// The queues named on the command line.
pub struct Queues {
    client: Client,
    queue: String,
    trigger_queue: SqsTriggerQueue,
    dead: Option<String>,
}

impl Queues {
    /// Opens the queues with these URLs.
    pub async fn new(queue: &str, dead: Option<&str>) -> Queues {
        let config = aws::load_config().await;
        Queues {
            client: Client::new(&config),
            queue: queue.to_owned(),
            trigger_queue: SqsTriggerQueue::new(&config, queue.to_owned()),
            dead: dead.map(str::to_owned),
        }
    }

    /// The approximate number of dead letters.
    pub async fn count(&self) -> Result<Option<u64>, CliError> {
        let Some(dead) = &self.dead else { return Ok(None) };
        let name = QueueAttributeName::ApproximateNumberOfMessages;
        let asked = self.client.get_queue_attributes().queue_url(dead).attribute_names(name.clone()).send();
        let got = asked.await.map_err(|error| queue_error(dead, DisplayErrorContext(error)))?;
        Ok(got.attributes().and_then(|known| known.get(&name)).and_then(|count| count.parse().ok()))
    }

    /// Triggers the compactor for all datasets, and then removes the dead letters: dead triggers are covered by that, other
    /// messages are sent again. Returns the number removed.
    pub async fn redrive(&self, stop: &watch::Receiver<bool>) -> Result<u64, CliError> {
        self.send(&TriggerMessage::for_all_datasets().to_body()).await?;
        let Some(dead) = &self.dead else { return Ok(0) };
        let mut removed = 0;
        for page in 0.. {
            if page == MAX_PAGES {
                let what = format!("{dead} has more dead letters than the {removed} removed");
                return Err(CliError::failed(what, "run the command again"));
            }
            let asked = self.client.receive_message().queue_url(dead).max_number_of_messages(PAGE);
            let asked = asked.visibility_timeout(VISIBILITY).wait_time_seconds(WAIT_SECONDS).send();
            let got = asked.await.map_err(|error| queue_error(dead, DisplayErrorContext(error)))?;
            let messages = got.messages();
            if messages.is_empty() {
                break;
            }
            for body in messages.iter().filter_map(Message::body).filter(|body| carries_work(body)) {
                self.send(body).await?;
            }
            removed += self.remove(dead, messages).await?;
            if *stop.borrow() {
                break;
            }
        }
        Ok(removed)
    }

    async fn send(&self, body: &str) -> Result<(), CliError> {
        let sent = self.trigger_queue.send(body.to_owned()).await;
        sent.map_err(|error| queue_error(&self.queue, error))
    }

    /// Removes messages. One that is not removed is received again, which does no harm.
    async fn remove(&self, dead: &str, messages: &[Message]) -> Result<u64, CliError> {
        let entry = |(number, message): (usize, &Message)| {
            let entry = DeleteMessageBatchRequestEntry::builder().id(number.to_string());
            entry.set_receipt_handle(message.receipt_handle.clone()).build().ok()
        };
        let entries: Vec<_> = messages.iter().enumerate().filter_map(entry).collect();
        let call = self.client.delete_message_batch().queue_url(dead).set_entries(Some(entries)).send();
        let done = call.await.map_err(|error| queue_error(dead, DisplayErrorContext(error)))?;
        Ok(done.successful().len() as u64)
    }
}

fn queue_error(queue: &str, error: impl std::fmt::Display) -> CliError {
    CliError::failed(
        format!("the queue {queue} returned an error: {error}"),
        "check its URL and your permissions, and run the command again",
    )
}

/// Whether a message asks for more than to compact landing, so that a trigger does not replace it.
fn carries_work(body: &str) -> bool {
    let Ok(body) = serde_json::from_str::<Value>(body) else { return false };
    if let Ok(TriggerMessage::Compact(_)) = serde_json::from_value(body.clone()) {
        return false;
    }
    let Some(records) = body.get("Records").and_then(Value::as_array) else { return true };
    let key = |record: &Value| record.pointer("/s3/object/key").and_then(Value::as_str).map(str::to_owned);
    !records.iter().all(|record| key(record).is_some_and(|key| dataset_of(&key).is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_for_landing_have_no_other_work() {
        let landed = r#"{"Records":[{"s3":{"object":{"key":"landing/pin/0aa/20221019T1200/events/s/1-2-ff.parquet"}}}]}"#;
        for body in [r#"{"wake":[]}"#, r#"{"wake":["pin"]}"#, landed, "not json"] {
            assert!(!carries_work(body), "{body}");
        }
        let dropped = r#"{"Records":[{"s3":{"object":{"key":"inbox/pin/rows.csv"}}}]}"#;
        for body in [r#"{"redrive":"pin"}"#, r#"{"redrive":null}"#, dropped, r#"{"take":"x"}"#] {
            assert!(carries_work(body), "{body}");
        }
    }
}
