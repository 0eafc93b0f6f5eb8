//! The streams of the old API: `ListStreams`, `DescribeStream`, `CreateStream` and `DeleteStream`.
//!
//! Source: Kinesis API reference. There is one Kinesis stream. A stream of the old API is a view of it, so the
//! description of its shards is that of the Kinesis stream.

use serde_json::{Value, json};

use crate::endpoint::{ReadResponse, RequestContext, Target, complete_names};
use crate::error::ApiError;
use crate::stream::StreamError;
use crate::stream::read::{BoxFuture, ReadableStream, Shard, StreamDescription};

/// The maximum number of names in a response (`ListStreams`, API reference).
pub const MAX_NAMES: usize = 10_000;

/// The number of names in a response to a request without `Limit` (same source).
const DEFAULT_NAMES: usize = 100;

/// The maximum length of a stream's name (`CreateStream`, API reference).
const MAX_NAME: usize = 128;

/// Lists the streams that the contracts name completely.
pub fn list_streams(context: &RequestContext<'_>) -> Result<Value, ApiError> {
    let listing = Listing::from_query(context.query("ExclusiveStartStreamName"), context.query("Limit"))?;
    let own = context.contracts().flat_map(|contract| complete_names(&contract.route.streams));
    Ok(listing.encode(own.chain(complete_names(context.catalog.shared_streams())).collect()))
}

/// Describes the Kinesis stream under the client's name for it.
pub fn describe_stream<'a>(
    context: &'a RequestContext<'a>,
    stream: &'a dyn ReadableStream,
) -> BoxFuture<'a, Result<ReadResponse, ApiError>> {
    Box::pin(async move {
        let description = stream.describe().await.map_err(|error| log_and_hide(&error))?;
        Ok(ReadResponse { body: encode_description(context.resource_name(), &description), records: 0 })
    })
}

/// Refuses to create a stream. A stream that a contract routes exists already.
pub fn create_stream(context: &RequestContext<'_>) -> Result<Value, ApiError> {
    Err(match context.target {
        Target::None => ApiError::StreamsAreFixed,
        Target::Dataset(_) | Target::Shared => ApiError::StreamExists(context.resource_name().to_owned()),
    })
}

/// Refuses to delete a stream.
pub fn delete_stream(_: &RequestContext<'_>) -> Result<Value, ApiError> {
    Err(ApiError::StreamsAreFixed)
}

/// Logs an error of the stream that no client can have caused. The client learns its kind only.
pub fn log_and_hide(error: &StreamError) -> ApiError {
    tracing::warn!(code = error.code, message = error.message, "cannot read the stream");
    error.kind.into()
}

/// Which of the streams are listed.
#[derive(Debug, PartialEq, Eq)]
struct Listing<'a> {
    after: &'a str,
    limit: usize,
}

impl<'a> Listing<'a> {
    /// Reads `ExclusiveStartStreamName` and `Limit`.
    fn from_query(after: Option<&'a str>, limit: Option<&str>) -> Result<Self, ApiError> {
        let limit = match limit {
            None => DEFAULT_NAMES,
            Some(text) => {
                let limit = text.parse().ok().filter(|limit| (1..=MAX_NAMES).contains(limit));
                limit.ok_or_else(|| {
                    ApiError::InvalidArgument(format!("invalid Limit: use a number from 1 to {MAX_NAMES}"))
                })?
            }
        };
        match after {
            Some(name) if !is_name(name) => Err(ApiError::InvalidArgument(format!(
                "invalid ExclusiveStartStreamName: use 1 to {MAX_NAME} letters, digits and . _ -"
            ))),
            after => Ok(Self { after: after.unwrap_or_default(), limit }),
        }
    }

    fn encode(&self, mut names: Vec<&str>) -> Value {
        names.sort_unstable();
        names.dedup();
        names.retain(|name| *name > self.after);
        let has_more = names.len() > self.limit;
        names.truncate(self.limit);
        json!({ "HasMoreStreams": has_more, "StreamNames": names })
    }
}

/// Whether Kinesis accepts this as the name of a stream or a shard.
pub fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len())
        && name.bytes().all(|b| b.is_ascii_alphanumeric() || b"._-".contains(&b))
}

/// The ARN names no account: callers need not know it.
fn encode_description(name: &str, description: &StreamDescription) -> Value {
    json!({ "StreamDescription": {
        "StreamName": name,
        "StreamARN": format!("arn:aws:kinesis:::stream/{name}"),
        "StreamStatus": description.status,
        "StreamCreationTimestamp": to_seconds(description.created_ms),
        "RetentionPeriodHours": description.retention_hours,
        "EnhancedMonitoring": [{ "ShardLevelMetrics": [] }],
        "Shards": description.shards.iter().map(encode_shard).collect::<Vec<Value>>(),
        "HasMoreShards": description.has_more_shards,
    } })
}

/// A timestamp in the JSON of Kinesis: seconds since 1970, from milliseconds.
pub fn to_seconds(ms: i64) -> f64 {
    ms as f64 / 1000.0
}

fn encode_shard(shard: &Shard) -> Value {
    let mut sequences = json!({ "StartingSequenceNumber": shard.sequences.0 });
    if let Some(last) = &shard.sequences.1 {
        sequences["EndingSequenceNumber"] = json!(last);
    }
    let mut encoded = json!({
        "ShardId": shard.id,
        "HashKeyRange": { "StartingHashKey": shard.hash_keys.0, "EndingHashKey": shard.hash_keys.1 },
        "SequenceNumberRange": sequences,
    });
    if let Some(parent) = &shard.parent {
        encoded["ParentShardId"] = json!(parent);
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_are_listed_in_pages() {
        let page = |after, limit| Listing::from_query(after, limit).unwrap().encode(vec!["c", "a", "b", "a"]);
        assert_eq!(page(None, None), json!({"HasMoreStreams": false, "StreamNames": ["a", "b", "c"]}));
        assert_eq!(page(None, Some("2")), json!({"HasMoreStreams": true, "StreamNames": ["a", "b"]}));
        assert_eq!(page(Some("b"), Some("2")), json!({"HasMoreStreams": false, "StreamNames": ["c"]}));
        assert_eq!(page(Some("c"), None), json!({"HasMoreStreams": false, "StreamNames": []}));
    }

    #[test]
    fn invalid_queries_are_errors() {
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
            assert!(
                matches!(Listing::from_query(after, limit), Err(ApiError::InvalidArgument(_))),
                "{after:?} {limit:?}"
            );
        }
    }
}
