//! Records that the Kinesis Producer Library has packed into one.
//!
//! The form is the library's `aggregation-format.md`: four bytes of magic, a protobuf message, the MD5 of the message.
//! Each record inside has a partition key of its own. The cleaner unpacks; `raw/` keeps what the stream delivered.
//!
//! What only looks like such a record (a wrong sum, no such message, a key that is not in its table) is none, and is
//! judged as plain bytes, whole.

use md5::{Digest, Md5};
use pinlake_schema::stream_key::AGGREGATE;
use prost::Message;

const SUM_BYTES: usize = 16;

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

/// Whether a record begins as an aggregated one does.
pub(crate) fn is_meant(data: &[u8]) -> bool {
    data.starts_with(&AGGREGATE)
}

/// An aggregated record, taken apart.
#[derive(Debug)]
pub(crate) struct Aggregate(AggregatedRecord);

impl Aggregate {
    /// Takes a stream's record apart; `None` when it is not aggregated.
    pub(crate) fn parse(data: &[u8]) -> Option<Self> {
        let (message, sum) = data.strip_prefix(&AGGREGATE)?.split_last_chunk::<SUM_BYTES>()?;
        if Md5::digest(message).as_slice() != sum {
            return None;
        }
        let aggregate = AggregatedRecord::decode(message).ok()?;
        let keys = aggregate.partition_key_table.len() as u64;
        let whole = aggregate.records.iter().all(|record| record.partition_key_index < keys);
        whole.then_some(Self(aggregate))
    }

    /// The records inside, in their order: partition key and bytes. A record's place here is its sub-sequence number.
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

    /// Packs records as the library does: each a key and its bytes.
    pub(crate) fn pack(records: &[(&str, String)]) -> Vec<u8> {
        let one = |(at, (_, data)): (u64, &(&str, String))| Record {
            partition_key_index: at,
            explicit_hash_key_index: None,
            data: data.clone().into_bytes(),
        };
        let message = AggregatedRecord {
            partition_key_table: records.iter().map(|(key, _)| (*key).to_owned()).collect(),
            explicit_hash_key_table: Vec::new(),
            records: (0..).zip(records).map(one).collect(),
        }
        .encode_to_vec();
        [&AGGREGATE[..], &message, Md5::digest(&message).as_slice()].concat()
    }

    /// Made by AWS's own packer: `aws_kinesis_agg` 1.2.3 of PyPI, `add_user_record("pin", b'{"ind":1}')`, then key
    /// `geo/r1/0` with an explicit hash key and `{"ind":2}\n{"ind":3}\n`, then `pin` again with `not json`.
    const PACKED: &str = "f3899ac20a0370696e0a0867656f2f72312f3012273137303134313138333436303436393233313733313638\
        373330333731353838343130353732381a0d08001a097b22696e64223a317d1a1a080110001a147b22696e64\
        223a327d0a7b22696e64223a337d0a1a0c08001a086e6f74206a736f6ec3c2a0516570da9db1f5344aa5f92b\
        7c";

    fn packed() -> Vec<u8> {
        hex::decode(PACKED).unwrap()
    }

    #[test]
    fn each_record_comes_with_its_own_key() {
        let aggregate = Aggregate::parse(&packed()).unwrap();
        let records: Vec<_> = aggregate.records().collect();
        assert_eq!(
            records,
            [("pin", &b"{\"ind\":1}"[..]), ("geo/r1/0", b"{\"ind\":2}\n{\"ind\":3}\n"), ("pin", b"not json"),]
        );
    }

    #[test]
    fn what_is_damaged_is_no_aggregate() {
        let whole = packed();
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
    fn a_right_sum_over_a_wrong_message_is_no_aggregate() {
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
