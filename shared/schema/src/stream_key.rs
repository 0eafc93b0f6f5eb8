//! The partition key of a record on the stream: dataset and origin of its lines, set by ingest.
//!
//! The format is `<dataset>/<request id>/<index of the first line>[/<client key>]`, with `-` if the request named no dataset. The second line of
//! a record has the next index, and so on: request id and index identify a line. Keys of other producers do not have this
//! format: [`StreamKey::parse`] returns `None`, and the record is routed by its shape.
//!
//! Kinesis allows 256 characters in a key (API reference of `PutRecord`), which are counted here in UTF-16 code units, the strictest
//! interpretation. The client's key is truncated to fit: it is kept for readers of the old API, and has no effect.
//!
//! ```
//! use pinlake_schema::stream_key::StreamKey;
//!
//! let key = StreamKey { dataset: Some("pin"), request: "7d3c", index: 0, client_key: Some("partition-1") };
//! assert_eq!(key.to_string(), "pin/7d3c/0/partition-1");
//! assert_eq!(StreamKey::parse("pin/7d3c/0/partition-1"), Some(key));
//! assert_eq!(StreamKey::parse("partition-1"), None);
//! ```

use std::fmt;

/// The most UTF-16 code units in a partition key.
pub const MAX_LENGTH: usize = 256;

/// The first bytes of an aggregated record of the Kinesis Producer Library (its `aggregation-format.md`). The records inside have their own
/// partition keys.
pub const AGGREGATE: [u8; 4] = [0xf3, 0x89, 0x9a, 0xc2];

/// Separates the name that the client gave a request from the caller in the id of the request. Names do not contain it.
pub const BEFORE_CALLER: char = '@';

const UNROUTED: &str = "-";

/// A partition key in the format of pinlake.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct StreamKey<'a> {
    /// The dataset of all lines of the record. `None` if the shape of each line decides.
    pub dataset: Option<&'a str>,
    /// The id of the request that sent the lines: an Idempotency-Key, with [`BEFORE_CALLER`] and the caller if it is known, or a Lambda request id.
    /// Not empty, without `/`.
    pub request: &'a str,
    /// The index of the first line within the request.
    pub index: u64,
    /// The partition key of the client.
    pub client_key: Option<&'a str>,
}

impl<'a> StreamKey<'a> {
    /// Parses a key; `None` if it does not have this format.
    pub fn parse(key: &'a str) -> Option<Self> {
        let mut parts = key.splitn(4, '/');
        let (dataset, request, index) = (parts.next()?, parts.next()?, parts.next()?);
        let client_key = parts.next();
        // Display writes an index in one way only: "+1" and "01" come from another producer.
        let canonical =
            index == "0" || (index.bytes().all(|b| b.is_ascii_digit()) && !index.starts_with('0'));
        if dataset.is_empty() || request.is_empty() || !canonical {
            return None;
        }
        let dataset = (dataset != UNROUTED).then_some(dataset);
        Some(Self { dataset, request, index: index.parse().ok()?, client_key })
    }
}

impl fmt::Display for StreamKey<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let head = format!("{}/{}/{}", self.dataset.unwrap_or(UNROUTED), self.request, self.index);
        f.write_str(&head)?;
        let Some(client_key) = self.client_key else {
            return Ok(());
        };
        let available = MAX_LENGTH.saturating_sub(utf16_length(&head) + 1);
        let kept = utf16_prefix(client_key, available);
        if kept.is_empty() { Ok(()) } else { write!(f, "/{kept}") }
    }
}

fn utf16_length(text: &str) -> usize {
    text.chars().map(char::len_utf16).sum()
}

/// The longest prefix of whole characters with at most `max_units` UTF-16 code units.
fn utf16_prefix(text: &str, max_units: usize) -> &str {
    let mut used = 0;
    for (at, c) in text.char_indices() {
        used += c.len_utf16();
        if used > max_units {
            return &text[..at];
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_formatted_key_can_be_parsed() {
        for (dataset, client_key) in [(Some("geo"), None), (None, Some("a/b/c")), (Some("user"), Some("é😀"))]
        {
            let key = StreamKey { dataset, request: "c0ffee-1", index: 4_294_967_296, client_key };
            assert_eq!(StreamKey::parse(&key.to_string()), Some(key));
        }
        assert_eq!(
            StreamKey { dataset: None, request: "r", index: 7, client_key: None }.to_string(),
            "-/r/7"
        );
    }

    #[test]
    fn keys_of_other_producers_are_not_parsed() {
        for key in
            ["", "pin", "partition-1", "a/b", "a/b/", "a/b/x", "/b/0", "a//0", "a/b/+1", "a/b/01", "a/b/-1"]
        {
            assert_eq!(StreamKey::parse(key), None, "{key}");
        }
        assert_eq!(StreamKey::parse("a/b/99999999999999999999999"), None, "an index beyond 64 bits");
    }

    #[test]
    fn a_long_client_key_is_truncated_between_characters() {
        for client_key in ["k".repeat(300), "é".repeat(300), "😀".repeat(300)] {
            let key =
                StreamKey { dataset: Some("pin"), request: "r", index: 0, client_key: Some(&client_key) };
            let text = key.to_string();
            let length = text.encode_utf16().count();
            assert!((MAX_LENGTH - 1..=MAX_LENGTH).contains(&length), "{length}");
            let kept = StreamKey::parse(&text).unwrap().client_key.unwrap();
            assert!(client_key.starts_with(kept));
        }
        let request = "r".repeat(250);
        let full = StreamKey { dataset: Some("pin"), request: &request, index: 0, client_key: Some("key") };
        assert_eq!(full.to_string().len(), 256, "the key of the client is dropped");
    }
}
