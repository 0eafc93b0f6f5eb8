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
    /// Clean quarantined records again, those of one dataset or all: somebody has mended a contract.
    Redrive(Option<String>),
}

/// `{"wake":["pin"]}`, `{"wake":[]}` for all, `{"redrive":"pin"}`, `{"redrive":null}` for all.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Own {
    Wake(Vec<String>),
    Redrive(Option<String>),
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
        match serde_json::from_str::<Own>(body) {
            Ok(Own::Wake(datasets)) if datasets.is_empty() => return Self::All,
            Ok(Own::Wake(datasets)) => return Self::Datasets(datasets),
            Ok(Own::Redrive(dataset)) => return Self::Redrive(dataset),
            Err(_) => {}
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
        let own = match self {
            Self::Datasets(datasets) => Own::Wake(datasets.clone()),
            Self::All => Own::Wake(Vec::new()),
            Self::Redrive(dataset) => Own::Redrive(dataset.clone()),
        };
        serde_json::json!(own).to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_messages_back() {
        let two = Wake::Datasets(vec!["geo".to_owned(), "pin".to_owned()]);
        for wake in [Wake::All, two, Wake::Redrive(None), Wake::Redrive(Some("pin".to_owned()))] {
            assert_eq!(Wake::parse(&wake.to_body()), wake);
        }
        assert_eq!(Wake::parse(r#"{"redrive":"pin"}"#), Wake::Redrive(Some("pin".to_owned())));
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
