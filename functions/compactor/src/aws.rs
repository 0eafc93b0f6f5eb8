//! The AWS services that the compactor calls besides the lake's store.

use std::sync::Arc;

use async_trait::async_trait;
use object_store::ObjectStore;
use pinlake_platform::s3::S3Store;
use pinlake_platform::trigger_queue::SqsTriggerQueue;

use crate::TriggerQueue;
use crate::files::Buckets;

#[async_trait]
impl TriggerQueue for SqsTriggerQueue {
    async fn send(&self, body: String) -> Result<(), String> {
        Self::send(self, body).await
    }
}

/// The S3 buckets that the function's role can read.
#[derive(Debug)]
pub struct S3Buckets {
    /// S3 client.
    pub client: aws_sdk_s3::Client,
}

impl Buckets for S3Buckets {
    fn open(&self, bucket: &str) -> Arc<dyn ObjectStore> {
        Arc::new(S3Store::new(self.client.clone(), bucket))
    }
}
