//! Raw objects: the records of each batch, unchanged, so that they can be cleaned again when a contract changes.
//!
//! A raw object is zstd-compressed NDJSON. A line is `{"key":..., "sequence":..., "arrived_ms":..., "data":...}`: `key`
//! is the record's partition key and `data` its bytes as text, or `data_base64` if they are not UTF-8.

use std::io::Read;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_store::put_if_absent;
use serde::{Deserialize, Serialize};

use crate::error::LandingError;
use crate::name::BatchId;

/// First path segment of raw objects.
pub const RAW: &str = "raw";
/// Limit of a decompressed raw object: well above a Lambda batch (6 MB).
const MAX_BYTES: u64 = 256 << 20;

/// A record as its source delivered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawRecord {
    /// Partition key.
    pub key: String,
    /// Sequence number or offset; for files the line number.
    pub sequence: String,
    /// Arrival at the source, in milliseconds since the Unix epoch.
    pub arrived_ms: i64,
    /// Bytes of the record.
    #[serde(flatten)]
    pub data: RawData,
}

/// The bytes of a record.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RawData {
    /// Valid UTF-8.
    #[serde(rename = "data")]
    Text(String),
    /// Anything else.
    #[serde(rename = "data_base64", with = "base64_bytes")]
    Binary(Vec<u8>),
}

impl RawData {
    /// Wraps the bytes of a record: as text if they are valid UTF-8.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Binary(error.into_bytes()),
        }
    }

    /// Returns the bytes of the record.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// Writes the records of a batch if they are not stored yet, and returns the path.
///
/// # Errors
/// When the store fails; a retry is safe.
pub async fn put(
    store: &dyn ObjectStore,
    batch: &BatchId,
    records: &[RawRecord],
) -> Result<Path, LandingError> {
    let encode = |why: String| LandingError::Encode { dataset: RAW.to_owned(), why };
    let mut lines = Vec::new();
    for record in records {
        serde_json::to_writer(&mut lines, record).map_err(|error| encode(error.to_string()))?;
        lines.push(b'\n');
    }
    let bytes = zstd::bulk::compress(&lines, 3).map_err(|error| encode(error.to_string()))?;
    let [minute, source, shard, file] = batch.segments(&bytes);
    let path = Path::from_iter([RAW, &minute, &source, &shard, &format!("{file}.ndjson.zst")]);
    put_if_absent(store, &path, Bytes::from(bytes)).await.map_err(LandingError::store(&path))?;
    Ok(path)
}

/// Reads the records of a raw object.
///
/// # Errors
/// When the store fails or has no such object, or the object is malformed.
pub async fn read(store: &dyn ObjectStore, path: &Path) -> Result<Vec<RawRecord>, LandingError> {
    let got = store.get(path).await.map_err(LandingError::store(path))?;
    let bytes = got.bytes().await.map_err(LandingError::store(path))?;
    let corrupt = |why: String| LandingError::corrupt(path, why);
    let mut lines = Vec::new();
    zstd::Decoder::new(&bytes[..])
        .and_then(|decoder| decoder.take(MAX_BYTES).read_to_end(&mut lines))
        .map_err(|error| corrupt(error.to_string()))?;
    let lines = lines.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines.map(|line| serde_json::from_slice(line).map_err(|error| corrupt(error.to_string()))).collect()
}

mod base64_bytes {
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;
    use serde::de::{Deserialize, Deserializer, Error};
    use serde::ser::Serializer;

    pub fn serialize<S: Serializer>(bytes: &[u8], serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&STANDARD.encode(bytes))
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::RecordSource;
    use object_store::memory::InMemory;

    #[tokio::test]
    async fn records_round_trip_byte_for_byte() {
        let store = InMemory::new();
        let record = |sequence: &str, bytes: &[u8]| RawRecord {
            key: "pin/r1/0".to_owned(),
            sequence: sequence.to_owned(),
            arrived_ms: 1_666_180_800_000,
            data: RawData::from_bytes(bytes.to_vec()),
        };
        let records = [record("7", b"{\"a\": \"line\\n\"}\n{}"), record("8", b"\xff\x00")];
        let batch = BatchId {
            source: RecordSource::from_path_segments("events", "shardId-000000000000"),
            first: "7".to_owned(),
            last: "8".to_owned(),
            arrived: "2022-10-19T12:00:59Z".parse().unwrap(),
        };
        let path = put(&store, &batch, &records).await.unwrap();
        assert_eq!(put(&store, &batch, &records).await.unwrap(), path);
        assert_eq!(read(&store, &path).await.unwrap(), records);
        assert_eq!(records[1].data.as_bytes(), b"\xff\x00");
    }
}
