//! Messages that wake the compactor.

use percent_encoding::percent_decode_str;
use pinlake_landing::name::dataset_of;
use serde::{Deserialize, Serialize};

/// Which landing areas to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wake {
    /// These datasets'.
    Datasets(Vec<String>),
    /// All: a sweep, or a message that says nothing we understand. Looking costs a listing, not looking could leave
    /// rows where they are.
    All,
}

#[derive(Serialize, Deserialize)]
struct Own {
    wake: Vec<String>,
}

/// S3's event message ("Event message structure", Amazon S3 User Guide), as far as it matters.
#[derive(Deserialize)]
struct Notification {
    #[serde(rename = "Records")]
    records: Vec<Notified>,
}

#[derive(Deserialize)]
struct Notified {
    s3: S3,
}

#[derive(Deserialize)]
struct S3 {
    object: Object,
}

#[derive(Deserialize)]
struct Object {
    key: String,
}

impl Wake {
    /// Reads a message's body. S3 writes keys as in a form: percent-encoded, blanks as `+`.
    pub fn parse(body: &str) -> Self {
        if let Ok(own) = serde_json::from_str::<Own>(body) {
            return if own.wake.is_empty() { Self::All } else { Self::Datasets(own.wake) };
        }
        let Ok(notification) = serde_json::from_str::<Notification>(body) else {
            return Self::All;
        };
        let mut datasets = Vec::new();
        for record in notification.records {
            let key = record.s3.object.key.replace('+', " ");
            let key = percent_decode_str(&key).decode_utf8_lossy();
            match dataset_of(&key) {
                Some(dataset) => datasets.push(dataset.to_owned()),
                None => return Self::All,
            }
        }
        if datasets.is_empty() { Self::All } else { Self::Datasets(datasets) }
    }

    /// The body that [`Wake::parse`] reads back.
    pub fn to_body(&self) -> String {
        let wake = match self {
            Self::Datasets(datasets) => datasets.clone(),
            Self::All => Vec::new(),
        };
        serde_json::json!(Own { wake }).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_messages_back() {
        for wake in [Wake::All, Wake::Datasets(vec!["geo".to_owned(), "pin".to_owned()])] {
            assert_eq!(Wake::parse(&wake.to_body()), wake);
        }
    }

    #[test]
    fn what_it_does_not_understand_wakes_all() {
        let test_event = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"lake"}"#;
        let elsewhere = r#"{"Records":[{"s3":{"object":{"key":"other/x"}}}]}"#;
        for body in ["", "not json", test_event, elsewhere] {
            assert_eq!(Wake::parse(body), Wake::All, "{body}");
        }
    }
}
