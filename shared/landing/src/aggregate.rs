//! Aggregated records of the Kinesis Producer Library (KPL).
//!
//! The format is defined by the KPL's `aggregation-format.md`: a magic number of four bytes, a protobuf message, and
//! the MD5 checksum of the message. Each record in the message has its own partition key. The cleaner splits aggregated
//! records; `raw/` keeps the records of the stream unchanged.
//!
//! A malformed aggregate (bad checksum, bad message, key index out of range) is cleaned as one plain record.

use md5::{Digest, Md5};
use pinlake_schema::stream_key::AGGREGATE;
use prost::Message;

const CHECKSUM_BYTES: usize = 16;

#[derive(Clone, PartialEq, Message)]
struct AggregatedRecord {
    #[prost(string, repeated, tag = "1")]
    partition_key_table: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    explicit_hash_key_table: Vec<String>,
    #[prost(message, repeated, tag = "3")]
    records: Vec<Record>,
}

#[derive(Clone, PartialEq, Message)]
struct Record {
    #[prost(uint64, required, tag = "1")]
    partition_key_index: u64,
    #[prost(uint64, optional, tag = "2")]
    explicit_hash_key_index: Option<u64>,
    #[prost(bytes = "vec", required, tag = "3")]
    data: Vec<u8>,
}

/// Returns whether a record begins with the magic number of the format.
pub(crate) fn has_magic(data: &[u8]) -> bool {
    data.starts_with(&AGGREGATE)
}

/// A decoded aggregated record.
#[derive(Debug)]
pub(crate) struct Aggregate(AggregatedRecord);

impl Aggregate {
    /// Decodes a record of a stream; `None` if it is not a well-formed aggregated record.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let (message, checksum) = data.strip_prefix(&AGGREGATE)?.split_last_chunk::<CHECKSUM_BYTES>()?;
        if Md5::digest(message).as_slice() != checksum {
            return None;
        }
        let aggregate = AggregatedRecord::decode(message).ok()?;
        let keys = aggregate.partition_key_table.len() as u64;
        let is_valid = aggregate.records.iter().all(|record| record.partition_key_index < keys);
        is_valid.then_some(Self(aggregate))
    }

    /// Iterates over the partition keys and bytes of the records. A record's index is its sub-sequence number.
    pub(crate) fn records(&self) -> impl Iterator<Item = (&str, &[u8])> {
        self.0.records.iter().map(|record| {
            let key = usize::try_from(record.partition_key_index).ok();
            let key = key.and_then(|at| self.0.partition_key_table.get(at)).map_or("", String::as_str);
            (key, record.data.as_slice())
        })
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// Aggregates (partition key, data) pairs as the KPL does.
    pub(crate) fn pack(records: &[(&str, String)]) -> Vec<u8> {
        let to_record = |(at, (_, data)): (u64, &(&str, String))| Record {
            partition_key_index: at,
            explicit_hash_key_index: None,
            data: data.clone().into_bytes(),
        };
        let message = AggregatedRecord {
            partition_key_table: records.iter().map(|(key, _)| (*key).to_owned()).collect(),
            explicit_hash_key_table: Vec::new(),
            records: (0..).zip(records).map(to_record).collect(),
        }
        .encode_to_vec();
        [&AGGREGATE[..], &message, Md5::digest(&message).as_slice()].concat()
    }

    /// Output of AWS's own encoder, `aws_kinesis_agg` 1.2.3 of PyPI, for `add_user_record("pin", b'{"ind":1}')`, then
    /// key `geo/r1/0` with an explicit hash key and `{"ind":2}\n{"ind":3}\n`, then `pin` again with `not json`.
    const ENCODED: &str = "f3899ac20a0370696e0a0867656f2f72312f3012273137303134313138333436303436393233313733313638\
        373330333731353838343130353732381a0d08001a097b22696e64223a317d1a1a080110001a147b22696e64\
        223a327d0a7b22696e64223a337d0a1a0c08001a086e6f74206a736f6ec3c2a0516570da9db1f5344aa5f92b\
        7c";

    fn encoded() -> Vec<u8> {
        hex::decode(ENCODED).unwrap()
    }

    #[test]
    fn each_record_has_its_own_key() {
        let aggregate = Aggregate::parse(&encoded()).unwrap();
        let records: Vec<_> = aggregate.records().collect();
        assert_eq!(
            records,
            [("pin", &b"{\"ind\":1}"[..]), ("geo/r1/0", b"{\"ind\":2}\n{\"ind\":3}\n"), ("pin", b"not json"),]
        );
    }

    #[test]
    fn damaged_records_are_not_aggregates() {
        let whole = encoded();
        for at in [0, 4, whole.len() / 2, whole.len() - 1] {
            let mut damaged = whole.clone();
            damaged[at] ^= 1;
            assert!(Aggregate::parse(&damaged).is_none(), "byte {at}");
        }
        assert!(Aggregate::parse(&whole[..whole.len() - 1]).is_none());
        assert!(Aggregate::parse(&AGGREGATE).is_none());
        assert!(Aggregate::parse(b"").is_none());
    }

    #[test]
    fn a_valid_checksum_of_a_malformed_message_is_not_an_aggregate() {
        let dangling = AggregatedRecord {
            partition_key_table: vec![],
            explicit_hash_key_table: vec![],
            records: vec![Record { partition_key_index: 0, explicit_hash_key_index: None, data: vec![] }],
        };
        for message in [&dangling.encode_to_vec()[..], b"\xff\xff\xff"] {
            let record = [&AGGREGATE[..], message, Md5::digest(message).as_slice()].concat();
            assert!(Aggregate::parse(&record).is_none(), "{message:?}");
        }
    }
}
