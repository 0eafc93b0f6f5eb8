//! Where records come from: names, identities and versions of files.

use blake3::Hasher;
use chrono::{DateTime, Utc};
use object_store::ObjectMeta;
use pinlake_landing::raw::{RawData, RawRecord};
use pinlake_schema::Catalog;
use pinlake_schema::stream_key::StreamKey;

/// Length of file ids and versions, in hexadecimal digits.
const ID_DIGITS: usize = 32;

/// A file in an object store.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FileSource {
    /// The name shown to people: the path in the lake, or `s3://bucket/key`.
    pub name: String,
    /// Identifies the file. The id and the number of a record are the record's identity.
    pub id: String,
    /// The dataset of all its records, if its path or name says so.
    pub dataset: Option<String>,
    /// When the file was last modified, which counts as the arrival time of its records.
    pub modified: DateTime<Utc>,
}

impl FileSource {
    /// A file in the lake's inbox. The id includes the ETag: other content under the same name is another file.
    pub fn from_inbox(catalog: &Catalog, meta: &ObjectMeta) -> Self {
        let name = meta.location.to_string();
        let folder = meta.location.parts().nth(1).map(|part| part.as_ref().to_owned());
        let folder = folder.filter(|_| meta.location.parts_count() > 2);
        let dataset = folder.filter(|folder| catalog.contract(folder).is_some());
        let dataset = dataset.or_else(|| catalog.route_file(&name).map(|contract| contract.name.clone()));
        let id = hash(&[&name, meta.e_tag.as_deref().unwrap_or_default()]);
        Self { name, id, dataset, modified: meta.last_modified }
    }

    /// An object of another bucket. The id does not include the ETag: Kafka Connect may write an object again with the
    /// same records and more, and it stays the same file.
    pub fn from_bucket(catalog: &Catalog, bucket: &str, key: &str, modified: DateTime<Utc>) -> Self {
        let name = format!("s3://{bucket}/{key}");
        let dataset = catalog.route_file(key).map(|contract| contract.name.clone());
        Self { id: hash(&[&name]), name, dataset, modified }
    }

    /// Identifies the content that the file has in `meta`. Attempts are counted for a version.
    pub fn version(&self, meta: &ObjectMeta) -> String {
        hash(&[&self.id, meta.e_tag.as_deref().unwrap_or_default(), &meta.size.to_string()])
    }

    /// Builds the raw record for record `number` (from 0) of this file; `position` is its line or row.
    pub(crate) fn raw_record(&self, number: u64, position: u64, data: &[u8]) -> RawRecord {
        RawRecord {
            key: self.partition_key(number),
            sequence: position.to_string(),
            arrived_ms: self.modified.timestamp_millis(),
            data: RawData::from_bytes(data.to_vec()),
        }
    }

    /// The partition key of a record, in the format of [`StreamKey`] so that cleaning it again from `raw/` gives the
    /// same identity. The file's name follows for people to read; unlike in a stream, its length is not limited.
    fn partition_key(&self, number: u64) -> String {
        let dataset = self.dataset.as_deref();
        let key = StreamKey { dataset, request: &self.id, index: number, client_key: None };
        format!("{key}/{}", self.name)
    }
}

/// Whether a file is not of records but about other files, by its name: the keys and headers that Kafka Connect's S3 sink writes beside
/// its records, and the marks of Spark and Hive.
pub fn is_sidecar(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let of_sink = name.rsplit_once('+').is_some_and(|(topic_and_partition, rest)| {
        let mut parts = rest.split('.');
        let is_offset = parts
            .next()
            .is_some_and(|offset| !offset.is_empty() && offset.bytes().all(|byte| byte.is_ascii_digit()));
        let is_beside = matches!(parts.next(), Some("keys" | "headers")) && parts.next().is_some();
        topic_and_partition.contains('+') && is_offset && is_beside
    });
    let of_spark = matches!(name, "_SUCCESS" | "_metadata" | "_common_metadata")
        || ["_committed_", "_started_"].iter().any(|mark| name.starts_with(mark))
        || (name.starts_with('.') && name.ends_with(".crc"));
    of_sink || of_spark
}

fn hash(parts: &[&str]) -> String {
    let mut hasher = Hasher::new();
    for part in parts {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..ID_DIGITS].to_owned()
}
