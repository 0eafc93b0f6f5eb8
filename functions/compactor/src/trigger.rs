//! Triggers: the messages that start the compactor.
//!
//! The key of a landing object names its dataset wherever the lake begins, so a lake can have a prefix. Every other
//! object is identified by its bucket and key.

use object_store::path::Path;
use percent_encoding::percent_decode_str;
use pinlake_landing::message::{Message, ObjectRef};
use pinlake_landing::name::{LANDING, LandingName};
use serde::Deserialize;

/// What a message asks the compactor to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// Compact these datasets.
    Datasets(Vec<String>),
    /// Compact all datasets and read the inbox: a sweep, or a message in an unknown format. A needless sweep costs a
    /// listing; an ignored message could leave rows in the landing area.
    All,
    /// Read the inbox.
    Inbox,
    /// Objects have been created, in the lake's bucket or in another one.
    Objects(Vec<ObjectRef>),
    /// Redrive the quarantined records of one dataset, or of all: a contract has been corrected.
    Redrive(Option<String>),
}

/// The fields used of an S3 event message ("Event message structure", Amazon S3 User Guide).
#[derive(Deserialize)]
struct Notification {
    #[serde(rename = "Records")]
    records: Vec<NotificationRecord>,
}

#[derive(Deserialize)]
struct NotificationRecord {
    s3: S3Entity,
}

#[derive(Deserialize)]
struct S3Entity {
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
    /// Parses the body of a message. S3 encodes keys as in a form: percent-encoded, spaces as `+`.
    pub fn parse(body: &str) -> Self {
        match serde_json::from_str::<Message>(body) {
            Ok(Message::Compact(datasets)) if datasets.is_empty() => return Self::All,
            Ok(Message::Compact(datasets)) => return Self::Datasets(datasets),
            Ok(Message::Redrive(dataset)) => return Self::Redrive(dataset),
            Ok(Message::Inbox(())) => return Self::Inbox,
            Ok(Message::Files(files)) => return Self::Objects(files),
            Err(_) => {}
        }
        let Ok(notification) = serde_json::from_str::<Notification>(body) else {
            return Self::All;
        };
        let (mut datasets, mut objects) = (Vec::new(), Vec::new());
        for record in notification.records {
            let key = record.s3.object.key.replace('+', " ");
            let key = percent_decode_str(&key).decode_utf8_lossy().into_owned();
            datasets.extend(landing_dataset(&key));
            objects.push((record.s3.bucket.map(|bucket| bucket.name), key));
        }
        if !datasets.is_empty() && datasets.len() == objects.len() {
            return Self::Datasets(datasets);
        }
        let to_ref = |(bucket, key): (Option<String>, String)| Some(ObjectRef { bucket: bucket?, key });
        match objects.into_iter().map(to_ref).collect::<Option<Vec<_>>>() {
            Some(objects) if !objects.is_empty() => Self::Objects(objects),
            _ => Self::All,
        }
    }

    /// Returns the body that [`Trigger::parse`] parses to this trigger.
    pub fn to_body(&self) -> String {
        let message = match self {
            Self::Datasets(datasets) => Message::Compact(datasets.clone()),
            Self::All => Message::Compact(Vec::new()),
            Self::Redrive(dataset) => Message::Redrive(dataset.clone()),
            Self::Inbox => Message::Inbox(()),
            Self::Objects(objects) => Message::Files(objects.clone()),
        };
        message.to_body()
    }
}

/// Returns the dataset of a landing object, whatever the prefix of the lake. The whole path must match, because a key
/// of another bucket can have a segment `landing` too.
fn landing_dataset(key: &str) -> Option<String> {
    let folder = format!("{LANDING}/");
    let begins = if key.starts_with(&folder) { 0 } else { key.find(&format!("/{folder}"))? + 1 };
    let path = Path::parse(&key[begins..]).ok()?;
    LandingName::parse(&path).map(|name| name.dataset)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_round_trip_through_their_bodies() {
        let two = Trigger::Datasets(vec!["geo".to_owned(), "pin".to_owned()]);
        let key = "topics/a.pin/partition=0/a.pin+0+0000000000.json".to_owned();
        let objects = Trigger::Objects(vec![ObjectRef { bucket: "sink".to_owned(), key }]);
        let redrive = Trigger::Redrive(Some("pin".to_owned()));
        for trigger in [Trigger::All, two, Trigger::Inbox, objects, Trigger::Redrive(None), redrive] {
            assert_eq!(Trigger::parse(&trigger.to_body()), trigger);
        }
        assert_eq!(Trigger::parse(r#"{"redrive":"pin"}"#), Trigger::Redrive(Some("pin".to_owned())));
        assert_eq!(Trigger::parse(r#"{"wake":["pin"]}"#), Trigger::Datasets(vec!["pin".to_owned()]));
        assert_eq!(Trigger::All.to_body(), r#"{"wake":[]}"#);
    }

    #[test]
    fn an_unknown_message_triggers_a_sweep() {
        let test_event = r#"{"Service":"Amazon S3","Event":"s3:TestEvent","Bucket":"lake"}"#;
        let nowhere = r#"{"Records":[{"s3":{"object":{"key":"other/x"}}}]}"#;
        for body in ["", "not json", test_event, nowhere] {
            assert_eq!(Trigger::parse(body), Trigger::All, "{body}");
        }
    }

    #[test]
    fn a_notification_names_bucket_and_decoded_key() {
        let body = r#"{"Records":[{"s3":{"bucket":{"name":"sink"},"object":{"key":"topics/a+b.pin/partition%3D0/a.pin%2B0%2B7.json"}}}]}"#;
        let key = "topics/a b.pin/partition=0/a.pin+0+7.json".to_owned();
        assert_eq!(
            Trigger::parse(body),
            Trigger::Objects(vec![ObjectRef { bucket: "sink".to_owned(), key }])
        );
        let body = body.replace("topics/a+b.pin", "exports/landing");
        assert!(
            matches!(Trigger::parse(&body), Trigger::Objects(_)),
            "a folder of another bucket that is called landing"
        );
    }
}
