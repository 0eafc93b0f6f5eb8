//! pinlake's own messages on the trigger queue. S3 sends its notifications to the same queue.
//!
//! ```
//! use pinlake_landing::message::Message;
//!
//! assert_eq!(Message::for_all_datasets().to_body(), r#"{"wake":[]}"#);
//! ```

use serde::{Deserialize, Serialize};

/// A message. The sweep of `template.yaml` and the DAG in `airflow/` write the same JSON; a test compares them.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Message {
    /// `{"wake":["pin"]}`: compact these datasets. Without names: all, and read the inbox.
    #[serde(rename = "wake")]
    Compact(Vec<String>),
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
        Self::Compact(Vec::new())
    }

    /// Returns the body of the message.
    pub fn to_body(&self) -> String {
        serde_json::json!(self).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Reads a file of the repository, without white space.
    fn read_compact(path: &str) -> String {
        let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").join(path);
        std::fs::read_to_string(path).unwrap().split_whitespace().collect()
    }

    #[test]
    fn the_template_and_the_dag_send_the_message_of_a_sweep() {
        let body = Message::for_all_datasets().to_body();
        assert!(read_compact("template.yaml").contains(&format!("Input:'{body}'")));
        assert!(read_compact("airflow/dags/pinlake_daily.py").contains(&format!("json.dumps({body})")));
        let sent = serde_json::json!(body).to_string();
        assert!(read_compact("events/compactor_sweep.json").contains(&format!("\"body\":{sent}")));
    }

    #[test]
    fn messages_keep_their_wire_format() {
        let file = ObjectRef { bucket: "b".to_owned(), key: "k".to_owned() };
        for (message, body) in [
            (Message::Compact(vec!["pin".to_owned()]), r#"{"wake":["pin"]}"#),
            (Message::Redrive(None), r#"{"redrive":null}"#),
            (Message::Inbox(()), r#"{"inbox":null}"#),
            (Message::Files(vec![file]), r#"{"files":[{"bucket":"b","key":"k"}]}"#),
        ] {
            assert_eq!(message.to_body(), body);
        }
    }
}
