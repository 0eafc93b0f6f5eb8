//! The acknowledgement: the highest sequence number of a request's records in each shard.
//!
//! `Pinlake-Ack: shardId-000000000000=4964...,shardId-000000000001=...`. The records have landed when the cleaner's
//! watermark of each of these shards has passed its number.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::stream::Receipt;

/// The name of the response header.
pub const HEADER: &str = "pinlake-ack";

/// Formats the value of the header; `None` if no record was stored.
pub fn format_ack<'a>(receipts: impl Iterator<Item = &'a Receipt>) -> Option<String> {
    let mut highest: BTreeMap<&str, &str> = BTreeMap::new();
    for Receipt { shard, sequence } in receipts {
        let current = highest.entry(shard).or_insert(sequence);
        if compare_decimals(sequence, current).is_gt() {
            *current = sequence;
        }
    }
    if highest.is_empty() {
        return None;
    }
    let mut text = String::new();
    for (shard, sequence) in highest {
        let separator = if text.is_empty() { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(text, "{separator}{shard}={sequence}");
    }
    Some(text)
}

/// Compares decimal numbers of any length. Sequence numbers have 56 digits, more than any integer type.
fn compare_decimals(a: &str, b: &str) -> Ordering {
    let (a, b) = (a.trim_start_matches('0'), b.trim_start_matches('0'));
    a.len().cmp(&b.len()).then_with(|| a.cmp(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_highest_number_of_each_shard_counts() {
        let receipt =
            |shard: &str, sequence: &str| Receipt { shard: shard.into(), sequence: sequence.into() };
        let receipts = [
            receipt("shardId-000000000001", "9"),
            receipt("shardId-000000000000", "100"),
            receipt("shardId-000000000001", "10"),
            receipt("shardId-000000000000", "0099"),
        ];
        assert_eq!(
            format_ack(receipts.iter()).as_deref(),
            Some("shardId-000000000000=100,shardId-000000000001=10")
        );
        assert_eq!(format_ack([].iter()), None);
    }
}
