//! pinlake's own messages on the trigger queue. S3 sends its notifications to the same queue.
//!
//! ```
//! use pinlake_landing::message::Message;
//!
//! assert_eq!(Message::for_all_datasets().to_body(), r#"{"wake":[]}"#);
//! ```

use serde::{Deserialize, Serialize};

/// A message. The sweep of `template.yaml` and the DAG in `airflow/` write the same JSON.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Message {
    /// `{"wake":["pin"]}`: compact these datasets. Without names: all, and read the inbox.
    Wake(Vec<String>),
    /// `{"redrive":"pin"}`: redrive the quarantined records of a dataset; `null` for all.
    Redrive(Option<String>),
    /// `{"inbox":null}`: read the inbox.
    Inbox(()),
    /// `{"files":[{"bucket":"other","key":"topics/a.pin/partition=0/a.pin+0+0000000000.json"}]}`: read these files.
    Files(Vec<ObjectRef>),
}

/// An object in S3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Name of the bucket.
    pub bucket: String,
    /// Key, decoded.
    pub key: String,
}

impl Message {
    /// The message of a sweep.
    pub fn for_all_datasets() -> Self {
        Self::Wake(Vec::new())
    }

    /// Returns the body of the message.
    pub fn to_body(&self) -> String {
        serde_json::json!(self).to_string()
    }
}
