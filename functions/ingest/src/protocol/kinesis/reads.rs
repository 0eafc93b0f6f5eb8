//! Reading records back: `GetShardIterator` and `GetRecords`.
//!
//! A stream of the old API is a view of the Kinesis stream: the records of one dataset or, for a shared stream, all
//! records. A Kinesis record with several lines is returned line by line, each with the client's own partition key.
//!
//! **The path of each request and its caller decide which records are visible, never the iterator.** An iterator is
//! only a position, so forging one reveals nothing. An iterator of another stream is rejected.
//!
//! The size of a response is limited by [`MAX_RESPONSE_BYTES`]. The next iterator continues with the rest of the page,
//! at a line within a record.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use pinlake_schema::Catalog;
use pinlake_schema::stream_key::{AGGREGATE, StreamKey};
use serde_json::{Value, json};

use super::streams::{is_name, log_and_hide, to_seconds};
use crate::endpoint::{ReadResponse, RequestContext, Target};
use crate::error::ApiError;
use crate::stream::StreamError;
use crate::stream::read::{BoxFuture, IteratorStart, ReadableStream, RecordPage, StoredRecord};

/// The request header with an iterator.
const SHARD_ITERATOR: &str = "shard-iterator";

/// The maximum size of the records in a response. The limit of Lambda is 6 MB, in which each quotation mark counts
/// twice.
pub const MAX_RESPONSE_BYTES: usize = 4 * 1024 * 1024;

/// The maximum length of an iterator.
pub const MAX_ITERATOR: usize = 4_096;

/// The size of a record in a response besides its data and its names: members, quotation marks, the time.
const FRAME_BYTES: usize = 160;

/// The part of the stream that a client may read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum View<'a> {
    /// The records of this dataset.
    Dataset(&'a str),
    /// All records.
    All,
}

impl<'a> View<'a> {
    fn from_context(context: &RequestContext<'a>) -> Result<Self, ApiError> {
        if !context.reads_enabled {
            return Err(ApiError::ReadsDisabled);
        }
        match context.target {
            Target::Dataset(dataset) => Ok(Self::Dataset(dataset)),
            Target::Shared | Target::None => {
                // A shared stream has records of any dataset.
                context.caller.check_access(None)?;
                Ok(Self::All)
            }
        }
    }
}

/// A position in a shard, which clients send back.
#[derive(Debug, Clone, PartialEq, Eq)]
struct IteratorToken {
    /// The client's name of the stream.
    stream: String,
    shard: String,
    position: Position,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Position {
    /// At a Kinesis iterator.
    Page(String),
    /// Within a record, after this number of its lines.
    Inside { sequence: String, lines: usize },
}

/// Returns an iterator for the oldest record of a shard.
pub fn get_shard_iterator<'a>(
    context: &'a RequestContext<'a>,
    stream: &'a dyn ReadableStream,
) -> BoxFuture<'a, Result<ReadResponse, ApiError>> {
    Box::pin(async move {
        View::from_context(context)?;
        let shard = context.query("shard-id").filter(|shard| is_name(shard)).ok_or_else(|| {
            ApiError::InvalidArgument(
                "name a shard from DescribeStream: ?shard-id=shardId-000000000000".to_owned(),
            )
        })?;
        let iterator = stream.open_iterator(shard, IteratorStart::TrimHorizon).await;
        let iterator = iterator.map_err(|error| to_api_error(&error, shard))?;
        let token = IteratorToken {
            stream: context.resource_name().to_owned(),
            shard: shard.to_owned(),
            position: Position::Page(iterator),
        };
        Ok(ReadResponse { body: json!({ "ShardIterator": token.encode() }), records: 0 })
    })
}

/// Returns the visible records at an iterator.
pub fn get_records<'a>(
    context: &'a RequestContext<'a>,
    stream: &'a dyn ReadableStream,
) -> BoxFuture<'a, Result<ReadResponse, ApiError>> {
    Box::pin(async move {
        let view = View::from_context(context)?;
        let token = context.request.headers().get(SHARD_ITERATOR).ok_or_else(|| {
            ApiError::InvalidArgument(
                "send an iterator from GET /streams/<stream>/sharditerator in the header Shard-Iterator"
                    .to_owned(),
            )
        })?;
        let token = IteratorToken::parse(token.as_bytes())
            .filter(|token| token.stream == context.resource_name())
            .ok_or_else(invalid_iterator)?;
        let shard = &token.shard;
        let (iterator, skip) = match &token.position {
            Position::Page(iterator) => (iterator.clone(), None),
            Position::Inside { sequence, lines } => {
                let start = IteratorStart::AtSequenceNumber(sequence);
                let iterator = stream.open_iterator(shard, start).await;
                let iterator = iterator.map_err(|error| to_api_error(&error, shard))?;
                (iterator, Some((sequence.as_str(), *lines)))
            }
        };
        let page = stream.read_page(&iterator).await.map_err(|error| to_api_error(&error, shard))?;
        let response = ResponsePage::from_page(&page, skip, view, context.catalog);
        let records = response.records.len() as u64;
        Ok(ReadResponse { body: response.encode(page, &token), records })
    })
}

/// The visible records of a page, up to the size limit.
struct ResponsePage {
    records: Vec<Value>,
    bytes: usize,
    /// Where the rest of the page starts.
    rest: Option<Position>,
}

impl ResponsePage {
    /// `skip` is a sequence number and the number of lines of that record that were returned before.
    fn from_page(page: &RecordPage, skip: Option<(&str, usize)>, view: View<'_>, catalog: &Catalog) -> Self {
        let mut response = Self { records: Vec::new(), bytes: 0, rest: None };
        for record in &page.records {
            let skipped =
                skip.filter(|(sequence, _)| *sequence == record.sequence).map_or(0, |(_, lines)| lines);
            let Some(visible) = VisibleRecord::from_stored(record, view, catalog) else { continue };
            for (number, line) in visible.lines.iter().enumerate().skip(skipped) {
                if !response.push(record, &visible, number, line) {
                    let sequence = record.sequence.clone();
                    response.rest = Some(Position::Inside { sequence, lines: number });
                    return response;
                }
            }
        }
        response
    }

    /// Adds a line. Returns false if the response is full.
    fn push(
        &mut self,
        record: &StoredRecord,
        visible: &VisibleRecord<'_>,
        number: usize,
        line: &[u8],
    ) -> bool {
        // An escaped character of the key takes up to six bytes.
        let bytes = FRAME_BYTES + line.len().div_ceil(3) * 4 + visible.key.len() * 6 + record.sequence.len();
        if bytes > MAX_RESPONSE_BYTES {
            tracing::warn!(bytes, "omitted a record that exceeds the size of a response");
            return true;
        }
        if self.bytes + bytes > MAX_RESPONSE_BYTES {
            return false;
        }
        self.bytes += bytes;
        let sequence = match visible.lines.len() {
            1 => record.sequence.clone(),
            _ => format!("{}.{number}", record.sequence),
        };
        self.records.push(json!({
            "ApproximateArrivalTimestamp": to_seconds(record.arrived_ms),
            "Data": STANDARD.encode(line),
            "PartitionKey": visible.key,
            "SequenceNumber": sequence,
        }));
        true
    }

    fn encode(self, page: RecordPage, token: &IteratorToken) -> Value {
        // Clients stop at 0, so a response without the rest of its page is never at 0.
        let behind_ms = if self.rest.is_some() { page.behind_ms.max(1) } else { page.behind_ms };
        let next = self.rest.or(page.next.map(Position::Page));
        let next = next.map(|position| IteratorToken { position, ..token.clone() }.encode());
        json!({ "MillisBehindLatest": behind_ms, "NextShardIterator": next, "Records": self.records })
    }
}

/// A record of the stream as its sender knows it.
struct VisibleRecord<'a> {
    key: &'a str,
    lines: Vec<&'a [u8]>,
}

impl<'a> VisibleRecord<'a> {
    /// `None` if `view` does not include the record.
    fn from_stored(record: &'a StoredRecord, view: View<'_>, catalog: &Catalog) -> Option<Self> {
        let Some(key) = StreamKey::parse(&record.key) else {
            // Another producer wrote it. It is returned unchanged.
            let is_visible = match view {
                View::All => true,
                View::Dataset(dataset) => {
                    let contract = catalog.route_partition_key(&record.key);
                    contract.is_some_and(|contract| contract.name == dataset)
                        && !record.data.starts_with(&AGGREGATE)
                }
            };
            return is_visible.then(|| Self { key: &record.key, lines: vec![&record.data] });
        };
        match view {
            View::Dataset(dataset) if key.dataset != Some(dataset) => None,
            View::Dataset(_) | View::All => Some(Self {
                key: key.client_key.or(key.dataset).unwrap_or("-"),
                lines: record.data.split(|&b| b == b'\n').collect(),
            }),
        }
    }
}

impl IteratorToken {
    fn encode(&self) -> String {
        let text = match &self.position {
            Position::Page(iterator) => json!([self.stream, self.shard, iterator]),
            Position::Inside { sequence, lines } => json!([self.stream, self.shard, sequence, lines]),
        };
        URL_SAFE_NO_PAD.encode(text.to_string())
    }

    /// `None` for a text that [`Self::encode`] does not produce.
    fn parse(token: &[u8]) -> Option<Self> {
        let token = token.trim_ascii();
        if token.len() > MAX_ITERATOR {
            return None;
        }
        let value: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let parts = value.as_array()?;
        let text = |at: usize| Some(parts.get(at)?.as_str()?.to_owned());
        let (stream, shard, third) = (text(0)?, text(1)?, text(2)?);
        let position = match parts.len() {
            3 => Position::Page(third),
            4 => Position::Inside { sequence: third, lines: usize::try_from(parts.get(3)?.as_u64()?).ok()? },
            _ => return None,
        };
        // Kinesis receives only what has the form of its own identifiers.
        let is_valid = is_name(&shard)
            && match &position {
                Position::Page(iterator) => {
                    !iterator.is_empty() && iterator.bytes().all(|b| b.is_ascii_graphic())
                }
                Position::Inside { sequence, .. } => {
                    (1..=128).contains(&sequence.len()) && sequence.bytes().all(|b| b.is_ascii_digit())
                }
            };
        is_valid.then_some(Self { stream, shard, position })
    }
}

fn invalid_iterator() -> ApiError {
    ApiError::InvalidArgument("the Shard-Iterator does not belong to this stream".to_owned())
}

/// The client's error for an error of the stream.
fn to_api_error(error: &StreamError, shard: &str) -> ApiError {
    match error.code.as_str() {
        "ExpiredIteratorException" => ApiError::ExpiredIterator,
        "ResourceNotFoundException" => ApiError::NotFound {
            kind: "shard",
            name: shard.to_owned(),
            hint: "GET /streams/<stream> lists the shards".to_owned(),
        },
        // Kinesis answers ValidationException if the iterator is malformed.
        "InvalidArgumentException" | "ValidationException" => invalid_iterator(),
        _ => log_and_hide(error),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored(key: &str, data: &[u8]) -> StoredRecord {
        StoredRecord { key: key.to_owned(), data: data.to_vec(), sequence: "7".to_owned(), arrived_ms: 1_500 }
    }

    fn visible(records: Vec<StoredRecord>, view: View<'_>) -> Vec<(String, Vec<u8>, String)> {
        let page = RecordPage { records, next: None, behind_ms: 0 };
        let response = ResponsePage::from_page(&page, None, view, &Catalog::embedded().unwrap());
        assert!(response.rest.is_none());
        let text = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
        let part = |record: &Value| {
            let data = STANDARD.decode(text(record, "Data")).unwrap();
            (text(record, "PartitionKey"), data, text(record, "SequenceNumber"))
        };
        response.records.iter().map(part).collect()
    }

    #[test]
    fn a_dataset_shows_its_own_records_and_a_shared_stream_shows_all() {
        let records = || {
            vec![
                stored("pin/r/0/partition-1", b"{\"a\":1}"),
                stored("pin/r/1", b"{\"a\":2}\n{\"a\":3}"),
                stored("geo/r/0/pin", b"{\"a\":4}"),
                stored("-/r/0/7", b"{\"a\":5}"),
                stored("pin", b"two\nlines"),
                stored("pin", &[&AGGREGATE[..], b"geo"].concat()),
                stored("partition-1", b"{}"),
            ]
        };
        let own =
            |key: &str, data: &[u8], sequence: &str| (key.to_owned(), data.to_vec(), sequence.to_owned());
        let pins = [
            own("partition-1", b"{\"a\":1}", "7"),
            own("pin", b"{\"a\":2}", "7.0"),
            own("pin", b"{\"a\":3}", "7.1"),
            own("pin", b"two\nlines", "7"),
        ];
        assert_eq!(visible(records(), View::Dataset("pin")), pins);
        assert_eq!(visible(records(), View::Dataset("geo")), [own("pin", b"{\"a\":4}", "7")]);
        assert!(visible(records(), View::Dataset("user")).is_empty());
        let all = visible(records(), View::All);
        assert_eq!(all.len(), 8);
        assert_eq!(all[4], own("7", b"{\"a\":5}", "7"));
    }

    #[test]
    fn a_long_page_continues_within_a_record() {
        let lines = vec!["{}"; 100_000].join("\n");
        let page = RecordPage {
            records: vec![stored("pin/r/0", lines.as_bytes())],
            next: Some("n".into()),
            behind_ms: 0,
        };
        let catalog = Catalog::embedded().unwrap();
        let (mut skip, mut total) = (0, 0);
        loop {
            let response = ResponsePage::from_page(&page, Some(("7", skip)), View::Dataset("pin"), &catalog);
            assert!(Value::from(response.records.clone()).to_string().len() <= MAX_RESPONSE_BYTES);
            assert!(!response.records.is_empty());
            assert_eq!(response.records[0]["SequenceNumber"], format!("7.{total}"));
            total += response.records.len();
            match response.rest {
                Some(Position::Inside { sequence, lines }) => {
                    assert_eq!((sequence.as_str(), lines), ("7", total));
                    skip = lines;
                }
                _ => break,
            }
        }
        assert!(skip > 0);
        assert_eq!(total, 100_000);
    }

    #[test]
    fn tokens_round_trip_and_other_texts_are_invalid() {
        let page = Position::Page("AAAA+/=".to_owned());
        let inside = Position::Inside { sequence: "4966".to_owned(), lines: 12 };
        for position in [page, inside] {
            let iterator =
                IteratorToken { stream: "s-pin".into(), shard: "shardId-000000000000".into(), position };
            assert_eq!(IteratorToken::parse(iterator.encode().as_bytes()), Some(iterator));
        }
        for text in [
            "",
            "[]",
            "{}",
            r#"["s","h"]"#,
            r#"["s","h",""]"#,
            r#"["s","h","a b"]"#,
            r#"["s","h/i","a"]"#,
            r#"["s","h","a",1]"#,
            r#"["s","h","1",-1]"#,
            r#"["s","h","1",1,1]"#,
            r#"[1,"h","1"]"#,
        ] {
            assert_eq!(IteratorToken::parse(URL_SAFE_NO_PAD.encode(text).as_bytes()), None, "{text}");
        }
        assert_eq!(IteratorToken::parse(b"AAAAAAAAA"), None);
        assert_eq!(IteratorToken::parse(&vec![b'A'; MAX_ITERATOR + 1]), None);
    }
}
