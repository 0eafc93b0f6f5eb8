//! Which API a path belongs to, and what it names there.
//!
//! The old APIs stood behind stages (`/test/topics/...`, `/prod/v2/streams/...`), so a path is read from its
//! end and whatever precedes `topics`, `streams` or `v1` is taken for a stage.
//!
//! ```
//! use ingest::router::{Api, Endpoint, Route};
//!
//! let route = Route::of("/test/topics/0a1b.pin");
//! assert_eq!(route, Route { api: Api::Kafka, endpoint: Endpoint::Topic("0a1b.pin".into()) });
//! ```

use percent_encoding::percent_decode_str;

/// The style in which a client speaks and wants to be answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Api {
    /// Kafka REST proxy, version 2.
    Kafka,
    /// API Gateway in front of Kinesis.
    Kinesis,
    /// Our own.
    Native,
}

impl Api {
    /// For logs and metrics.
    pub fn name(self) -> &'static str {
        match self {
            Self::Kafka => "kafka",
            Self::Kinesis => "kinesis",
            Self::Native => "native",
        }
    }
}

/// What stands at a path.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Endpoint {
    /// `topics/<topic>`: takes records.
    Topic(String),
    /// `streams/<stream>/record`: takes one record.
    Record(String),
    /// `streams/<stream>/records`: takes records.
    Records(String),
    /// `v1/<dataset>`: takes records.
    Dataset(String),
    /// A path of the old APIs that does not take records: listings, descriptions, readers.
    Other,
    /// No path of any API.
    Nothing,
}

/// A path, understood.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Route {
    /// Decides the style of the answer, of errors too.
    pub api: Api,
    /// What is addressed.
    pub endpoint: Endpoint,
}

impl Route {
    /// Reads a path, percent-encoding and all. Never fails: what is unknown is [`Endpoint::Nothing`].
    pub fn of(path: &str) -> Self {
        let segments: Vec<String> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let segments: Vec<&str> = segments.iter().map(String::as_str).collect();
        let (api, endpoint) = match segments.as_slice() {
            [.., "streams", stream, "record"] => (Api::Kinesis, Endpoint::Record((*stream).to_owned())),
            [.., "streams", stream, "records"] => (Api::Kinesis, Endpoint::Records((*stream).to_owned())),
            [.., "topics", topic] => (Api::Kafka, Endpoint::Topic((*topic).to_owned())),
            [.., "topics"] | [.., "topics", _, "partitions"] | [.., "topics", _, "partitions", _] => {
                (Api::Kafka, Endpoint::Other)
            }
            [.., "streams"] | [.., "streams", _] | [.., "streams", _, "sharditerator"] => {
                (Api::Kinesis, Endpoint::Other)
            }
            [.., "v1", dataset] => (Api::Native, Endpoint::Dataset((*dataset).to_owned())),
            other => (style(other), Endpoint::Nothing),
        };
        Self { api, endpoint }
    }
}

/// The API that a path of no API looks most like.
fn style(segments: &[&str]) -> Api {
    let api_of = |segment: &&str| match *segment {
        "topics" | "consumers" | "brokers" => Some(Api::Kafka),
        "streams" => Some(Api::Kinesis),
        _ => None,
    };
    segments.iter().find_map(api_of).unwrap_or(Api::Native)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_every_api_with_and_without_stages() {
        let topic = |name: &str| (Api::Kafka, Endpoint::Topic(name.to_owned()));
        let record = |name: &str| (Api::Kinesis, Endpoint::Record(name.to_owned()));
        let records = |name: &str| (Api::Kinesis, Endpoint::Records(name.to_owned()));
        let dataset = |name: &str| (Api::Native, Endpoint::Dataset(name.to_owned()));
        let cases = [
            ("/topics/0a1b.pin", topic("0a1b.pin")),
            ("/test/topics/0a1b.pin", topic("0a1b.pin")),
            ("/prod/v2//topics/pinterest.pin/", topic("pinterest.pin")),
            ("/topics/topics", topic("topics")),
            ("/streams/v1/record", record("v1")),
            ("/test/streams/streaming-0a1b-pin/record", record("streaming-0a1b-pin")),
            ("/a/b/c/streams/Kinesis-Prod-Stream/records", records("Kinesis-Prod-Stream")),
            ("/streams/a%20b%2Fc/records", records("a b/c")),
            ("/v1/pin", dataset("pin")),
            ("/prod/v1/pin", dataset("pin")),
            ("/topics", (Api::Kafka, Endpoint::Other)),
            ("/topics/t/partitions/0", (Api::Kafka, Endpoint::Other)),
            ("/test/streams", (Api::Kinesis, Endpoint::Other)),
            ("/streams/s", (Api::Kinesis, Endpoint::Other)),
            ("/streams/s/sharditerator", (Api::Kinesis, Endpoint::Other)),
            ("/consumers/g/instances/i", (Api::Kafka, Endpoint::Nothing)),
            ("/streams/s/rekord", (Api::Kinesis, Endpoint::Nothing)),
            ("/v1", (Api::Native, Endpoint::Nothing)),
            ("/", (Api::Native, Endpoint::Nothing)),
            ("", (Api::Native, Endpoint::Nothing)),
        ];
        for (path, (api, endpoint)) in cases {
            assert_eq!(Route::of(path), Route { api, endpoint }, "{path}");
        }
    }
}
