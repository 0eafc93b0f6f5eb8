//! The raw records that landing objects came from, kept so that a changed contract can clean them again.
//!
//! One zstd-compressed NDJSON object a batch; a line is `{"key":..., "sequence":..., "arrived_ms":..., "data":...}`
//! where `key` is the record's partition key and `data` its bytes as text, or `data_base64` when they are not UTF-8.

use std::io::Read;

use bytes::Bytes;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use serde::{Deserialize, Serialize};

use crate::error::LandingError;
use crate::name::Origin;
use crate::object::put_if_absent;

/// First path segment of raw objects.
pub const RAW: &str = "raw";
/// The most bytes that a raw object may hold decompressed: well above a Lambda batch (6 MB).
const MOST_BYTES: u64 = 256 << 20;

/// A record as the stream delivered it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct RawRecord {
    /// Partition key.
    pub key: String,
    /// Sequence number or offset.
    pub sequence: String,
    /// When the stream took it, in milliseconds since 1970.
    pub arrived_ms: i64,
    /// Its bytes.
    #[serde(flatten)]
    pub data: RawData,
}

/// A record's bytes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub enum RawData {
    /// UTF-8.
    #[serde(rename = "data")]
    Text(String),
    /// Anything else.
    #[serde(rename = "data_base64", with = "base64_bytes")]
    Binary(Vec<u8>),
}

impl RawData {
    /// Takes bytes without looking into them further than UTF-8.
    pub fn from_bytes(bytes: Vec<u8>) -> Self {
        match String::from_utf8(bytes) {
            Ok(text) => Self::Text(text),
            Err(error) => Self::Binary(error.into_bytes()),
        }
    }

    /// The record's bytes.
    pub fn as_bytes(&self) -> &[u8] {
        match self {
            Self::Text(text) => text.as_bytes(),
            Self::Binary(bytes) => bytes,
        }
    }
}

/// Writes a batch of records unless it was written before, and answers where it lies.
///
/// # Errors
/// When the store fails; doing it again is safe.
pub async fn put(
    store: &dyn ObjectStore,
    origin: &Origin,
    records: &[RawRecord],
) -> Result<Path, LandingError> {
    let encode = |why: String| LandingError::Encode { dataset: RAW.to_owned(), why };
    let mut lines = Vec::new();
    for record in records {
        serde_json::to_writer(&mut lines, record).map_err(|error| encode(error.to_string()))?;
        lines.push(b'\n');
    }
    let bytes = zstd::bulk::compress(&lines, 3).map_err(|error| encode(error.to_string()))?;
    let [minute, source, shard, file] = origin.segments(&bytes);
    let path = Path::from_iter([RAW, &minute, &source, &shard, &format!("{file}.ndjson.zst")]);
    put_if_absent(store, &path, Bytes::from(bytes)).await?;
    Ok(path)
}

/// Reads a batch of records back.
///
/// # Errors
/// When the store fails, or the object is not what [`put`] writes.
pub async fn read(store: &dyn ObjectStore, path: &Path) -> Result<Vec<RawRecord>, LandingError> {
    let got = store.get(path).await.map_err(LandingError::store(path))?;
    let bytes = got.bytes().await.map_err(LandingError::store(path))?;
    let corrupt = |why: String| LandingError::corrupt(path, why);
    let mut lines = Vec::new();
    zstd::Decoder::new(&bytes[..])
        .and_then(|decoder| decoder.take(MOST_BYTES).read_to_end(&mut lines))
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
    use object_store::memory::InMemory;

    #[tokio::test]
    async fn records_come_back_byte_for_byte() {
        let store = InMemory::new();
        let record = |sequence: &str, bytes: &[u8]| RawRecord {
            key: "pin/r1/0".to_owned(),
            sequence: sequence.to_owned(),
            arrived_ms: 1_666_180_800_000,
            data: RawData::from_bytes(bytes.to_vec()),
        };
        let records = [record("7", b"{\"a\": \"line\\n\"}\n{}"), record("8", b"\xff\x00")];
        let origin = Origin {
            source: "events".to_owned(),
            shard: "shardId-000000000000".to_owned(),
            first: "7".to_owned(),
            last: "8".to_owned(),
            arrived: "2022-10-19T12:00:59Z".parse().unwrap(),
        };
        let path = put(&store, &origin, &records).await.unwrap();
        assert_eq!(put(&store, &origin, &records).await.unwrap(), path);
        assert_eq!(read(&store, &path).await.unwrap(), records);
        assert_eq!(records[1].data.as_bytes(), b"\xff\x00");
    }
}
