//! The trigger queue in SQS.

use aws_config::SdkConfig;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;

/// Sends messages to the trigger queue.
#[derive(Debug)]
pub struct SqsTriggerQueue {
    client: Client,
    url: String,
}

impl SqsTriggerQueue {
    /// Opens the queue with this URL. Does not contact SQS.
    pub fn new(config: &SdkConfig, url: String) -> Self {
        Self { client: Client::new(config), url }
    }

    /// Sends a message with this body.
    ///
    /// # Errors
    /// The error message of SQS.
    pub async fn send(&self, body: String) -> Result<(), String> {
        let sent = self.client.send_message().queue_url(&self.url).message_body(body).send().await;
        sent.map(|_| ()).map_err(|error| DisplayErrorContext(error).to_string())
    }
}
