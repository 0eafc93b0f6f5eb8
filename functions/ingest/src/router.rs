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
    /// `topics`: which there are.
    Topics,
    /// `topics/<topic>`: takes records; tells of the topic.
    Topic(String),
    /// `topics/<topic>/partitions`: which there are.
    Partitions(String),
    /// `topics/<topic>/partitions/<number>`: takes records; tells of the partition.
    Partition(String, String),
    /// `streams`: which there are.
    Streams,
    /// `streams/<stream>`: tells of the stream; does not make or remove it.
    Stream(String),
    /// `streams/<stream>/record`: takes one record.
    Record(String),
    /// `streams/<stream>/records`: takes records, and gives them back.
    Records(String),
    /// `streams/<stream>/sharditerator`: where to begin reading.
    ShardIterator(String),
    /// `v1/<dataset>`: takes records.
    Dataset(String),
    /// `openapi.json`: the description of all this.
    OpenApi,
    /// No path of any API.
    Nothing,
}

/// What a method does at a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    /// Takes records of the Kafka REST proxy's form.
    Produce,
    /// Lists topics.
    ListTopics,
    /// Tells of a topic.
    GetTopic,
    /// Lists a topic's partitions.
    ListPartitions,
    /// Tells of a partition.
    GetPartition,
    /// Takes one record of Kinesis' form.
    PutRecord,
    /// Takes records of Kinesis' form.
    PutRecords,
    /// Lists streams.
    ListStreams,
    /// Tells of a stream.
    DescribeStream,
    /// Would make a stream.
    CreateStream,
    /// Would remove a stream.
    DeleteStream,
    /// Gives an iterator at a shard's oldest record.
    GetShardIterator,
    /// Gives records back.
    GetRecords,
    /// Takes records of the native form.
    Post,
    /// Gives the OpenAPI document.
    Describe,
}

impl Endpoint {
    /// The methods that it offers, each with what it does.
    pub fn operations(&self) -> &'static [(&'static str, Operation)] {
        match self {
            Self::Topics => &[("GET", Operation::ListTopics)],
            Self::Topic(_) => &[("GET", Operation::GetTopic), ("POST", Operation::Produce)],
            Self::Partitions(_) => &[("GET", Operation::ListPartitions)],
            Self::Partition(..) => &[("GET", Operation::GetPartition), ("POST", Operation::Produce)],
            Self::Streams => &[("GET", Operation::ListStreams)],
            Self::Stream(_) => &[
                ("GET", Operation::DescribeStream),
                ("POST", Operation::CreateStream),
                ("DELETE", Operation::DeleteStream),
            ],
            Self::Record(_) => &[("PUT", Operation::PutRecord), ("POST", Operation::PutRecord)],
            Self::Records(_) => &[
                ("GET", Operation::GetRecords),
                ("PUT", Operation::PutRecords),
                ("POST", Operation::PutRecords),
            ],
            Self::ShardIterator(_) => &[("GET", Operation::GetShardIterator)],
            Self::Dataset(_) => &[("POST", Operation::Post)],
            Self::OpenApi => &[("GET", Operation::Describe)],
            Self::Nothing => &[],
        }
    }

    /// The topic, stream or dataset that the path names, if it names one.
    pub fn name(&self) -> &str {
        match self {
            Self::Topic(name)
            | Self::Partitions(name)
            | Self::Partition(name, _)
            | Self::Stream(name)
            | Self::Record(name)
            | Self::Records(name)
            | Self::ShardIterator(name)
            | Self::Dataset(name) => name,
            Self::Topics | Self::Streams | Self::OpenApi | Self::Nothing => "",
        }
    }
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
        let own = |name: &&str| (*name).to_owned();
        let (api, endpoint) = match segments.as_slice() {
            [.., "streams", stream, "record"] => (Api::Kinesis, Endpoint::Record(own(stream))),
            [.., "streams", stream, "records"] => (Api::Kinesis, Endpoint::Records(own(stream))),
            [.., "topics", topic] => (Api::Kafka, Endpoint::Topic(own(topic))),
            [.., "topics", topic, "partitions", number] => {
                (Api::Kafka, Endpoint::Partition(own(topic), own(number)))
            }
            [.., "topics", topic, "partitions"] => (Api::Kafka, Endpoint::Partitions(own(topic))),
            [.., "topics"] => (Api::Kafka, Endpoint::Topics),
            [.., "streams", stream, "sharditerator"] => (Api::Kinesis, Endpoint::ShardIterator(own(stream))),
            [.., "streams", stream] => (Api::Kinesis, Endpoint::Stream(own(stream))),
            [.., "streams"] => (Api::Kinesis, Endpoint::Streams),
            [.., "v1", dataset] => (Api::Native, Endpoint::Dataset(own(dataset))),
            [.., "openapi.json"] => (Api::Native, Endpoint::OpenApi),
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
            ("/topics", (Api::Kafka, Endpoint::Topics)),
            ("/topics/t/partitions", (Api::Kafka, Endpoint::Partitions("t".to_owned()))),
            (
                "/test/topics/t/partitions/0",
                (Api::Kafka, Endpoint::Partition("t".to_owned(), "0".to_owned())),
            ),
            ("/test/streams", (Api::Kinesis, Endpoint::Streams)),
            ("/streams/s", (Api::Kinesis, Endpoint::Stream("s".to_owned()))),
            ("/streams/s/sharditerator", (Api::Kinesis, Endpoint::ShardIterator("s".to_owned()))),
            ("/openapi.json", (Api::Native, Endpoint::OpenApi)),
            ("/v1/openapi.json", dataset("openapi.json")),
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
