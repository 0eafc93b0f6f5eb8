//! Reading back what lies on the stream, as API Gateway in front of Kinesis did: `GetShardIterator` and `GetRecords`.
//!
//! A stream of the old API is a [`View`] of the one stream that there is: the records of one dataset, or, for a shared
//! stream, all of them. A Kinesis record with several lines is given back line by line, each with the client's own
//! partition key.
//!
//! **What a client sees is decided by the path of each request and by who asks, never by the iterator that it
//! brings.** A `IteratorToken` says only where to go on, so there is nothing in it to forge: brought to another stream, it
//! is refused, and if it were not, it would show that stream's records.
//!
//! An answer is bounded by [`MAX_ANSWER_BYTES`]. What does not fit of a page is what the next iterator begins with: at a
//! record, behind so many of its lines.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use pinlake_schema::Catalog;
use pinlake_schema::stream_key::{AGGREGATE, StreamKey};
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::kinesis_streams::{is_name, seconds};
use crate::reading::{HeldRecord, Page, ReadableStream, Start};
use crate::stream::PutError;

/// The header that brings an iterator.
pub const SHARD_ITERATOR: &str = "shard-iterator";

/// The most bytes of records in an answer. Lambda takes 6 MB, with every quotation mark counted twice.
pub const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// The most characters of an iterator that are looked at.
pub const MAX_ITERATOR: usize = 4_096;

/// What a record takes in an answer beside its data and its names: members, quotation marks, the time.
const FRAME_BYTES: usize = 160;

/// What of the one stream a client sees.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum View<'a> {
    /// What was sent to this dataset.
    Dataset(&'a str),
    /// Everything.
    All,
}

/// Where a client goes on.
#[derive(Debug, Clone, PartialEq, Eq)]
struct IteratorToken {
    /// The stream as the client calls it.
    stream: String,
    shard: String,
    place: Place,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Place {
    /// At an iterator of Kinesis'.
    Page(String),
    /// In a record, behind so many of its lines.
    Inside { sequence: String, lines: usize },
}

/// The iterator for the oldest record of a shard.
///
/// # Errors
/// When no shard is named, or there is none of this name; when the stream cannot be reached.
pub async fn shard_iterator<S: ReadableStream>(
    source: &S,
    stream: &str,
    shard: Option<&str>,
) -> Result<Value, ApiError> {
    let shard = shard.filter(|shard| is_name(shard)).ok_or_else(|| {
        ApiError::Argument("name a shard, as DescribeStream does: ?shard-id=shardId-000000000000".to_owned())
    })?;
    let found = source.iterator(shard, Start::Oldest).await.map_err(|refusal| rejection(&refusal, shard))?;
    let iterator =
        IteratorToken { stream: stream.to_owned(), shard: shard.to_owned(), place: Place::Page(found) };
    Ok(json!({ "ShardIterator": iterator.token() }))
}

/// The records at an iterator that `view` shows, and how many there are.
///
/// # Errors
/// For what is no iterator of this stream, or too old; when the stream cannot be reached.
pub async fn records<S: ReadableStream>(
    source: &S,
    stream: &str,
    token: Option<&[u8]>,
    view: View<'_>,
    catalog: &Catalog,
) -> Result<(Value, u64), ApiError> {
    let missing =
        "send the iterator that GET /streams/<stream>/sharditerator gave, in the header Shard-Iterator";
    let token = token.ok_or_else(|| ApiError::Argument(missing.to_owned()))?;
    let iterator = IteratorToken::parse(token)
        .filter(|iterator| iterator.stream == stream)
        .ok_or_else(|| ApiError::Argument("the Shard-Iterator is none of this stream".to_owned()))?;
    let IteratorToken { shard, place, .. } = &iterator;
    let refused = |refusal: PutError| rejection(&refusal, shard);
    let (at, behind) = match place {
        Place::Page(at) => (at.clone(), None),
        Place::Inside { sequence, lines } => {
            let at = source.iterator(shard, Start::At(sequence)).await.map_err(refused)?;
            (at, Some((sequence.as_str(), *lines)))
        }
    };
    let page = source.page(&at).await.map_err(refused)?;
    let shown = ResponsePage::of(&page, behind, view, catalog);
    // Not at the end, whatever Kinesis says of the page's.
    let behind_ms = if shown.rest.is_some() { page.behind_ms.max(1) } else { page.behind_ms };
    let next = match (shown.rest, page.next) {
        (Some(place), _) => Some(place),
        (None, next) => next.map(Place::Page),
    };
    let next = next.map(|place| IteratorToken { place, ..iterator.clone() }.token());
    let count = shown.records.len() as u64;
    let answer =
        json!({ "MillisBehindLatest": behind_ms, "NextShardIterator": next, "Records": shown.records });
    Ok((answer, count))
}

/// What is shown of a page.
struct ResponsePage {
    records: Vec<Value>,
    bytes: usize,
    /// Where what had no room begins.
    rest: Option<Place>,
}

impl ResponsePage {
    /// `behind` is the record of which that many lines were shown before.
    fn of(page: &Page, behind: Option<(&str, usize)>, view: View<'_>, catalog: &Catalog) -> Self {
        let mut shown = Self { records: Vec::new(), bytes: 0, rest: None };
        for record in &page.records {
            let passed = behind.filter(|(at, _)| *at == record.sequence).map_or(0, |(_, lines)| lines);
            let Some(parts) = Parts::of(record, view, catalog) else { continue };
            for (number, line) in parts.lines.iter().enumerate().skip(passed) {
                if !shown.push(record, &parts, number, line) {
                    shown.rest = Some(Place::Inside { sequence: record.sequence.clone(), lines: number });
                    return shown;
                }
            }
        }
        shown
    }

    /// Adds a line; whether there was room.
    fn push(&mut self, record: &HeldRecord, parts: &Parts<'_>, number: usize, line: &[u8]) -> bool {
        // A key may have quotation marks and more, which take two bytes each, or six.
        let bytes = FRAME_BYTES + line.len().div_ceil(3) * 4 + parts.key.len() * 6 + record.sequence.len();
        if bytes > MAX_ANSWER_BYTES {
            tracing::warn!(bytes, "a record is longer than any answer: it is left out");
            return true;
        }
        if self.bytes + bytes > MAX_ANSWER_BYTES {
            return false;
        }
        self.bytes += bytes;
        let sequence = match parts.lines.len() {
            1 => record.sequence.clone(),
            _ => format!("{}.{number}", record.sequence),
        };
        self.records.push(json!({
            "ApproximateArrivalTimestamp": seconds(record.arrived_ms),
            "Data": STANDARD.encode(line),
            "PartitionKey": parts.key,
            "SequenceNumber": sequence,
        }));
        true
    }
}

/// A record of the stream, as its sender knew it.
struct Parts<'a> {
    key: &'a str,
    lines: Vec<&'a [u8]>,
}

impl<'a> Parts<'a> {
    /// `None` for what `view` does not show.
    fn of(record: &'a HeldRecord, view: View<'_>, catalog: &Catalog) -> Option<Self> {
        let Some(key) = StreamKey::parse(&record.key) else {
            // Of another producer, and given back as it came.
            let is_shown = match view {
                View::All => true,
                View::Dataset(dataset) => {
                    let named = catalog.route_partition_key(&record.key);
                    named.is_some_and(|contract| contract.name == dataset)
                        && !record.data.starts_with(&AGGREGATE)
                }
            };
            return is_shown.then(|| Self { key: &record.key, lines: vec![&record.data] });
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
    fn token(&self) -> String {
        let text = match &self.place {
            Place::Page(at) => json!([self.stream, self.shard, at]),
            Place::Inside { sequence, lines } => json!([self.stream, self.shard, sequence, lines]),
        };
        URL_SAFE_NO_PAD.encode(text.to_string())
    }

    /// `None` for what [`Self::token`] would not give.
    fn parse(token: &[u8]) -> Option<Self> {
        let token = token.trim_ascii();
        if token.len() > MAX_ITERATOR {
            return None;
        }
        let told: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(token).ok()?).ok()?;
        let parts = told.as_array()?;
        let text = |at: usize| Some(parts.get(at)?.as_str()?.to_owned());
        let (stream, shard, third) = (text(0)?, text(1)?, text(2)?);
        let place = match parts.len() {
            3 => Place::Page(third),
            4 => Place::Inside { sequence: third, lines: usize::try_from(parts.get(3)?.as_u64()?).ok()? },
            _ => return None,
        };
        // What goes to Kinesis has the form that Kinesis gives.
        let is_sound = is_name(&shard)
            && match &place {
                Place::Page(at) => !at.is_empty() && at.bytes().all(|b| b.is_ascii_graphic()),
                Place::Inside { sequence, .. } => {
                    (1..=128).contains(&sequence.len()) && sequence.bytes().all(|b| b.is_ascii_digit())
                }
            };
        is_sound.then_some(Self { stream, shard, place })
    }
}

/// Why the stream gave nothing, for the client; what only the operator may know is logged.
fn rejection(refusal: &PutError, shard: &str) -> ApiError {
    match refusal.code.as_str() {
        "ExpiredIteratorException" => ApiError::ExpiredIterator,
        "ResourceNotFoundException" => ApiError::Unknown {
            kind: "shard",
            name: shard.to_owned(),
            remedy: "GET /streams/<stream> tells which there are".to_owned(),
        },
        // The second for what has not even the form of an iterator.
        "InvalidArgumentException" | "ValidationException" => {
            ApiError::Argument("the Shard-Iterator is none of this stream".to_owned())
        }
        _ => unreadable(refusal),
    }
}

/// The same for what no client can have caused.
pub fn unreadable(refusal: &PutError) -> ApiError {
    tracing::warn!(code = refusal.code, message = refusal.message, "the stream cannot be read");
    refusal.kind.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn held(key: &str, data: &[u8]) -> HeldRecord {
        HeldRecord { key: key.to_owned(), data: data.to_vec(), sequence: "7".to_owned(), arrived_ms: 1_500 }
    }

    fn shown(records: Vec<HeldRecord>, view: View<'_>) -> Vec<(String, Vec<u8>, String)> {
        let page = Page { records, next: None, behind_ms: 0 };
        let shown = ResponsePage::of(&page, None, view, &Catalog::embedded().unwrap());
        assert!(shown.rest.is_none());
        let text = |record: &Value, name: &str| record[name].as_str().unwrap().to_owned();
        let part = |record: &Value| {
            let data = STANDARD.decode(text(record, "Data")).unwrap();
            (text(record, "PartitionKey"), data, text(record, "SequenceNumber"))
        };
        shown.records.iter().map(part).collect()
    }

    #[test]
    fn a_dataset_shows_its_own_records_and_a_shared_stream_all() {
        let records = || {
            vec![
                held("pin/r/0/partition-1", b"{\"a\":1}"),
                held("pin/r/1", b"{\"a\":2}\n{\"a\":3}"),
                held("geo/r/0/pin", b"{\"a\":4}"),
                held("-/r/0/7", b"{\"a\":5}"),
                held("pin", b"two\nlines"),
                held("pin", &[&AGGREGATE[..], b"geo"].concat()),
                held("partition-1", b"{}"),
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
        assert_eq!(shown(records(), View::Dataset("pin")), pins);
        assert_eq!(shown(records(), View::Dataset("geo")), [own("pin", b"{\"a\":4}", "7")]);
        assert!(shown(records(), View::Dataset("user")).is_empty());
        let all = shown(records(), View::All);
        assert_eq!(all.len(), 8);
        assert_eq!(all[4], own("7", b"{\"a\":5}", "7"));
    }

    #[test]
    fn a_page_that_is_too_long_goes_on_inside_a_record() {
        let lines = vec!["{}"; 100_000].join("\n");
        let page =
            Page { records: vec![held("pin/r/0", lines.as_bytes())], next: Some("n".into()), behind_ms: 0 };
        let catalog = Catalog::embedded().unwrap();
        let (mut behind, mut total) = (0, 0);
        loop {
            let shown = ResponsePage::of(&page, Some(("7", behind)), View::Dataset("pin"), &catalog);
            assert!(Value::from(shown.records.clone()).to_string().len() <= MAX_ANSWER_BYTES);
            assert!(!shown.records.is_empty());
            assert_eq!(shown.records[0]["SequenceNumber"], format!("7.{total}"));
            total += shown.records.len();
            match shown.rest {
                Some(Place::Inside { sequence, lines }) => {
                    assert_eq!((sequence.as_str(), lines), ("7", total));
                    behind = lines;
                }
                _ => break,
            }
        }
        assert!(behind > 0);
        assert_eq!(total, 100_000);
    }

    #[test]
    fn tokens_say_what_they_were_made_of_and_nothing_else_is_one() {
        let page = Place::Page("AAAA+/=".to_owned());
        let inside = Place::Inside { sequence: "4966".to_owned(), lines: 12 };
        for place in [page, inside] {
            let iterator =
                IteratorToken { stream: "s-pin".into(), shard: "shardId-000000000000".into(), place };
            assert_eq!(IteratorToken::parse(iterator.token().as_bytes()), Some(iterator));
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
