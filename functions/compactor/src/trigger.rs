//! Messages that wake the compactor.
//!
//! Whose landing area an object is in is told by its key alone, so that a lake may have a prefix; an object of any other
//! key is told by its bucket too.

use object_store::path::Path;
use percent_encoding::percent_decode_str;
use pinlake_landing::name::{LANDING, LandingName};
use serde::{Deserialize, Serialize};

/// Which landing areas to look at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// These datasets'.
    Datasets(Vec<String>),
    /// All: a sweep, or a message that says nothing we understand. Looking costs a listing, not looking could leave
    /// rows where they are.
    All,
    /// BoundedList at the inbox.
    Inbox,
    /// Objects of S3 have come, here or in another bucket.
    Objects(Vec<ObjectRef>),
    /// Clean quarantined records again, those of one dataset or all: somebody has mended a contract.
    Redrive(Option<String>),
}

/// An object of S3.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ObjectRef {
    /// Its bucket.
    pub bucket: String,
    /// Its key.
    pub key: String,
}

/// `{"wake":["pin"]}`, `{"wake":[]}` for all, `{"redrive":"pin"}`, `{"redrive":null}` for all, `{"inbox":null}`,
/// `{"files":[{"bucket":"other","key":"topics/a.pin/partition=0/a.pin+0+0000000000.json"}]}`.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Own {
    Trigger(Vec<String>),
    Redrive(Option<String>),
    Inbox(()),
    Files(Vec<ObjectRef>),
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
    bucket: Option<Bucket>,
    object: Object,
}

#[derive(Deserialize)]
struct Bucket {
    name: String,
}

#[derive(Deserialize)]
struct Object {
    key: String,
}

impl Trigger {
    /// Reads a message's body. S3 writes keys as in a form: percent-encoded, blanks as `+`.
    pub fn parse(body: &str) -> Self {
        match serde_json::from_str::<Own>(body) {
            Ok(Own::Trigger(datasets)) if datasets.is_empty() => return Self::All,
            Ok(Own::Trigger(datasets)) => return Self::Datasets(datasets),
            Ok(Own::Redrive(dataset)) => return Self::Redrive(dataset),
            Ok(Own::Inbox(())) => return Self::Inbox,
            Ok(Own::Files(files)) => return Self::Objects(files),
            Err(_) => {}
        }
        let Ok(notification) = serde_json::from_str::<Notification>(body) else {
            return Self::All;
        };
        let (mut datasets, mut objects) = (Vec::new(), Vec::new());
        for record in notification.records {
            let key = record.s3.object.key.replace('+', " ");
            let key = percent_decode_str(&key).decode_utf8_lossy().into_owned();
            datasets.extend(dataset_landed_in(&key));
            objects.push((record.s3.bucket.map(|bucket| bucket.name), key));
        }
        if !datasets.is_empty() && datasets.len() == objects.len() {
            return Self::Datasets(datasets);
        }
        let announced = |(bucket, key): (Option<String>, String)| Some(ObjectRef { bucket: bucket?, key });
        match objects.into_iter().map(announced).collect::<Option<Vec<_>>>() {
            Some(objects) if !objects.is_empty() => Self::Objects(objects),
            _ => Self::All,
        }
    }

    /// The body that [`Trigger::parse`] reads back.
    pub fn to_body(&self) -> String {
        let own = match self {
            Self::Datasets(datasets) => Own::Trigger(datasets.clone()),
            Self::All => Own::Trigger(Vec::new()),
            Self::Redrive(dataset) => Own::Redrive(dataset.clone()),
            Self::Inbox => Own::Inbox(()),
            Self::Objects(objects) => Own::Files(objects.clone()),
        };
        serde_json::json!(own).to_string()
    }
}

/// The dataset of a landing object, told by its key, whatever the lake's prefix is. A key of another bucket may well
/// have a segment of that name, but not the whole form.
fn dataset_landed_in(key: &str) -> Option<String> {
    let folder = format!("{LANDING}/");
    let begins = if key.starts_with(&folder) { 0 } else { key.find(&format!("/{folder}"))? + 1 };
    let path = Path::parse(&key[begins..]).ok()?;
    LandingName::parse(&path).map(|name| name.dataset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_its_own_messages_back() {
        let two = Trigger::Datasets(vec!["geo".to_owned(), "pin".to_owned()]);
        let key = "topics/a.pin/partition=0/a.pin+0+0000000000.json".to_owned();
        let sunk = Trigger::Objects(vec![ObjectRef { bucket: "sink".to_owned(), key }]);
        let redrive = Trigger::Redrive(Some("pin".to_owned()));
        for wake in [Trigger::All, two, Trigger::Inbox, sunk, Trigger::Redrive(None), redrive] {
            assert_eq!(Trigger::parse(&wake.to_body()), wake);
        }
        assert_eq!(Trigger::parse(r#"{"redrive":"pin"}"#), Trigger::Redrive(Some("pin".to_owned())));
    }

    #[test]
    fn what_it_does_not_understand_wakes_all() {
        let test_event = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"lake"}"#;
        let nowhere = r#"{"Records":[{"s3":{"object":{"key":"other/x"}}}]}"#;
        for body in ["", "not json", test_event, nowhere] {
            assert_eq!(Trigger::parse(body), Trigger::All, "{body}");
        }
    }

    #[test]
    fn an_object_of_a_bucket_is_announced_by_its_own_name() {
        let body = r#"{"Records":[{"s3":{"bucket":{"name":"sink"},"object":{"key":"topics/a+b.pin/partition%3D0/a.pin%2B0%2B7.json"}}}]}"#;
        let key = "topics/a b.pin/partition=0/a.pin+0+7.json".to_owned();
        assert_eq!(
            Trigger::parse(body),
            Trigger::Objects(vec![ObjectRef { bucket: "sink".to_owned(), key }])
        );
        let body = body.replace("topics/a+b.pin", "exports/landing");
        assert!(
            matches!(Trigger::parse(&body), Trigger::Objects(_)),
            "a folder that happens to be called landing"
        );
    }
}
