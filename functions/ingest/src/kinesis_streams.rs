//! What API Gateway in front of Kinesis tells of streams: `GET /streams` and `GET /streams/<stream>`.
//!
//! Source: Kinesis' API reference, `ListStreams` and `DescribeStream`. A stream of the old API is a view of the one
//! stream that there is: what is told of its shards is true of that one.

use serde_json::{Value, json};

use crate::error::ApiError;
use crate::reading::{Description, Shard};

/// The most names in an answer (`ListStreams`, API reference).
pub const MAX_NAMES: usize = 10_000;

/// Names in an answer to a request that gives no limit (same source).
const NAMES: usize = 100;

/// The most characters in a stream's name (`CreateStream`, API reference).
const MAX_NAME: usize = 128;

/// Which of the streams are listed.
#[derive(Debug, PartialEq, Eq)]
pub struct Listing<'a> {
    after: &'a str,
    limit: usize,
}

impl<'a> Listing<'a> {
    /// Reads `ExclusiveStartStreamName` and `Limit` of the query.
    ///
    /// # Errors
    /// For a limit that is no number from 1 to [`MAX_NAMES`], and a name that no stream could have.
    pub fn of(after: Option<&'a str>, limit: Option<&str>) -> Result<Self, ApiError> {
        let limit = match limit {
            None => NAMES,
            Some(text) => text
                .parse()
                .ok()
                .filter(|limit| (1..=MAX_NAMES).contains(limit))
                .ok_or_else(|| ApiError::Argument(format!("Limit is a number from 1 to {MAX_NAMES}")))?,
        };
        match after {
            Some(name) if !is_name(name) => Err(ApiError::Argument(format!(
                "ExclusiveStartStreamName has 1 to {MAX_NAME} letters, digits and . _ -"
            ))),
            after => Ok(Self { after: after.unwrap_or_default(), limit }),
        }
    }

    /// The answer, of all `names`.
    pub fn answer(&self, mut names: Vec<&str>) -> Value {
        names.sort_unstable();
        names.dedup();
        names.retain(|name| *name > self.after);
        let more = names.len() > self.limit;
        names.truncate(self.limit);
        json!({ "HasMoreStreams": more, "StreamNames": names })
    }
}

/// Whether Kinesis would take this for a name of a stream or a shard.
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// The answer to a client that calls the stream `name`. The ARN names no account: whoever may write need not know it.
pub fn description(name: &str, told: &Description) -> Value {
    json!({ "StreamDescription": {
        "StreamName": name,
        "StreamARN": format!("arn:aws:kinesis:::stream/{name}"),
        "StreamStatus": told.status,
        "StreamCreationTimestamp": seconds(told.created_ms),
        "RetentionPeriodHours": told.retention_hours,
        "EnhancedMonitoring": [{ "ShardLevelMetrics": [] }],
        "Shards": told.shards.iter().map(shard).collect::<Vec<Value>>(),
        "HasMoreShards": told.more,
    } })
}

/// A time as Kinesis' JSON has it.
pub fn seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

fn shard(shard: &Shard) -> Value {
    let mut sequences = json!({ "StartingSequenceNumber": shard.sequences.0 });
    if let Some(last) = &shard.sequences.1 {
        sequences["EndingSequenceNumber"] = json!(last);
    }
    let mut told = json!({
        "ShardId": shard.id,
        "HashKeyRange": { "StartingHashKey": shard.hashes.0, "EndingHashKey": shard.hashes.1 },
        "SequenceNumberRange": sequences,
    });
    if let Some(parent) = &shard.parent {
        told["ParentShardId"] = json!(parent);
    }
    told
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_listed_in_pages() {
        let page = |after, limit| Listing::of(after, limit).unwrap().answer(vec!["c", "a", "b", "a"]);
        assert_eq!(page(None, None), json!({"HasMoreStreams": false, "StreamNames": ["a", "b", "c"]}));
        assert_eq!(page(None, Some("2")), json!({"HasMoreStreams": true, "StreamNames": ["a", "b"]}));
        assert_eq!(page(Some("b"), Some("2")), json!({"HasMoreStreams": false, "StreamNames": ["c"]}));
        assert_eq!(page(Some("c"), None), json!({"HasMoreStreams": false, "StreamNames": []}));
    }

    #[test]
    fn a_query_that_means_nothing_is_refused() {
        let long = "n".repeat(MAX_NAME + 1);
        for (after, limit) in [
            (None, Some("0")),
            (None, Some("10001")),
            (None, Some("-1")),
            (None, Some("")),
            (None, Some("a")),
            (Some(""), None),
            (Some("a b"), None),
            (Some(long.as_str()), None),
        ] {
            assert!(matches!(Listing::of(after, limit), Err(ApiError::Argument(_))), "{after:?} {limit:?}");
        }
    }
}
