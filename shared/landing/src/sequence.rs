//! Positions in a shard.

use std::cmp::Ordering;
use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

/// A Kinesis sequence number or a Kafka offset: a whole number of any length, ordered as a number.
///
/// Kinesis' are 56 digits long, too many for 128 bits (Kinesis Data Streams API, `Record`).
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Sequence(String);

/// The text is not a whole number.
#[derive(Debug, thiserror::Error)]
#[error("{0:?} is not a sequence number: only digits may stand there")]
pub struct NotASequence(String);

impl FromStr for Sequence {
    type Err = NotASequence;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
            return Err(NotASequence(text.to_owned()));
        }
        let digits = text.trim_start_matches('0');
        Ok(Self(if digits.is_empty() { "0" } else { digits }.to_owned()))
    }
}

impl TryFrom<String> for Sequence {
    type Error = NotASequence;

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
    /// Its digits, without leading zeros.
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
    fn orders_as_numbers_do() {
        let numbers = ["9", "10", "049640000000000000000000000000000000000000000000000000001"];
        let sequences: Vec<Sequence> = numbers.iter().map(|text| text.parse().unwrap()).collect();
        assert!(sequences.is_sorted());
        assert_eq!("007".parse::<Sequence>().unwrap().as_str(), "7");
        assert!("".parse::<Sequence>().is_err());
        assert!("-1".parse::<Sequence>().is_err());
    }
}
