//! Sequence numbers: the positions of records in a shard.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A Kinesis sequence number or a Kafka offset: a non-negative integer of any length, in numeric order.
///
/// Kinesis sequence numbers have up to 128 digits (Amazon Kinesis Data Streams API Reference, `Record`), so no integer
/// type fits.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sequence(String);

/// The text is not a non-negative integer.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a sequence number: use decimal digits only")]
pub struct SequenceError(String);

impl FromStr for Sequence {
    type Err = SequenceError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(SequenceError(text.to_owned()));
        }
        let digits = text.trim_start_matches('0');
        Ok(Self(if digits.is_empty() { "0" } else { digits }.to_owned()))
    }
}

impl TryFrom<String> for Sequence {
    type Error = SequenceError;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        text.parse()
    }
}

impl From<Sequence> for String {
    fn from(sequence: Sequence) -> Self {
        sequence.0
    }
}

impl fmt::Display for Sequence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Sequence {
    /// Returns the digits, without leading zeros.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Ord for Sequence {
    fn cmp(&self, other: &Self) -> Ordering {
        self.0.len().cmp(&other.0.len()).then_with(|| self.0.cmp(&other.0))
    }
}

impl PartialOrd for Sequence {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sequences_have_numeric_order() {
        let numbers = ["9", "10", "049640000000000000000000000000000000000000000000000000001"];
        let sequences: Vec<Sequence> = numbers.iter().map(|text| text.parse().unwrap()).collect();
        assert!(sequences.is_sorted());
        assert_eq!("007".parse::<Sequence>().unwrap().as_str(), "7");
        assert!("".parse::<Sequence>().is_err());
        assert!("-1".parse::<Sequence>().is_err());
    }
}
