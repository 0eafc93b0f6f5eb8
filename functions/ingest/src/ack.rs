//! The acknowledgement: how far the stream must be read before everything of an answer has been seen.
//!
//! `Pinlake-Ack: shardId-000000000000=4964...,shardId-000000000001=...` names the highest sequence number per
//! shard. Once the cleaner's watermark of every shard named has passed its number, the records have landed.

use std::cmp::Ordering;
use std::collections::BTreeMap;
use std::fmt::Write as _;

use crate::stream::Receipt;

/// The name of the header.
pub const HEADER: &str = "pinlake-ack";

/// The header's text; `None` when the stream took nothing.
pub fn header<'a>(receipts: impl Iterator<Item = &'a Receipt>) -> Option<String> {
    let mut highest: BTreeMap<&str, &str> = BTreeMap::new();
    for Receipt { shard, sequence } in receipts {
        let held = highest.entry(shard).or_insert(sequence);
        if by_number(sequence, held).is_gt() {
            *held = sequence;
        }
    }
    if highest.is_empty() {
        return None;
    }
    let mut text = String::new();
    for (shard, sequence) in highest {
        let comma = if text.is_empty() { "" } else { "," };
        // Writing to a string does not fail.
        let _ = write!(text, "{comma}{shard}={sequence}");
    }
    Some(text)
}

/// Orders decimal numbers of any length: sequence numbers have 56 digits, beyond any machine integer.
fn by_number(a: &str, b: &str) -> Ordering {
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
            header(receipts.iter()).as_deref(),
            Some("shardId-000000000000=100,shardId-000000000001=10")
        );
        assert_eq!(header([].iter()), None);
    }
}
