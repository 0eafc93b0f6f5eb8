//! The registry of wire protocols, and the search for the endpoint of a path.
//!
//! Old API URLs had stages in front (`/test/topics/...`, `/prod/v2/streams/...`), so a path template matches the end of
//! a path and any segments may precede it. If several templates match, the one with the most fixed segments wins, then
//! the order of [`PROTOCOLS`] and of their tables.
//!
//! ```
//! use ingest::protocol::Route;
//!
//! let route = Route::from_path("/test/topics/0a1b.pin");
//! assert_eq!(route.protocol.name(), "kafka");
//! assert_eq!(route.endpoint.unwrap().path, "/topics/{topic}");
//! assert_eq!(route.parameters, ["0a1b.pin"]);
//! ```

use lambda_http::Request;
use percent_encoding::percent_decode_str;

use crate::endpoint::{Endpoint, Method, Protocol};
use crate::error::ApiError;

pub mod cloudevents;
pub mod kafka;
pub mod kafka_v3;
pub mod kinesis;
pub mod kinesis_api;
pub mod native;
mod native_response;
pub mod otlp;
pub mod webhooks;

/// All protocols. An earlier one wins if a path fits two equally well.
pub static PROTOCOLS: [&dyn Protocol; 8] = [
    &kafka::KafkaRest,
    &kafka_v3::KafkaRestV3,
    &kinesis::KinesisGateway,
    &native::Native,
    &cloudevents::CloudEvents,
    &kinesis_api::KinesisApi,
    &webhooks::WebhookDeliveries,
    &otlp::Otlp,
];

/// Encodes the errors of paths that no protocol recognises.
static DEFAULT_PROTOCOL: &dyn Protocol = &native::Native;

/// What a path addresses.
pub struct Route {
    /// Encodes the response, errors included.
    pub protocol: &'static dyn Protocol,
    /// The endpoint; `None` if the path has none.
    pub endpoint: Option<&'static Endpoint>,
    /// The values of the path's parameters, decoded, in order.
    pub parameters: Vec<String>,
}

impl Route {
    /// Finds the endpoint of a request: by its target, if it is one of the Kinesis API, else by its path.
    pub fn from_request(request: &Request) -> Self {
        kinesis_api::route_target(request).unwrap_or_else(|| Self::from_path(request.uri().path()))
    }

    /// Finds the endpoint of a path, which may be percent-encoded.
    pub fn from_path(path: &str) -> Self {
        let segments: Vec<String> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let mut best: Option<Self> = None;
        for protocol in PROTOCOLS {
            for endpoint in protocol.endpoints() {
                let is_better = best
                    .as_ref()
                    .and_then(|route| route.endpoint)
                    .is_none_or(|best| endpoint.fixed_segments() > best.fixed_segments());
                if is_better && let Some(parameters) = endpoint.match_path(&segments) {
                    best = Some(Self { protocol, endpoint: Some(endpoint), parameters });
                }
            }
        }
        best.unwrap_or_else(|| Self {
            protocol: guess_protocol(&segments),
            endpoint: None,
            parameters: Vec::new(),
        })
    }

    /// The method of a request at this path.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if the path has no endpoint, [`ApiError::MethodNotAllowed`] if the endpoint does not
    /// support the method.
    pub fn method(&self, request: &Request) -> Result<&'static Method, ApiError> {
        let Some(endpoint) = self.endpoint else {
            return Err(ApiError::NotFound {
                kind: "path",
                name: request.uri().path().to_owned(),
                hint: "records are taken by POST /v1/<dataset>, POST /topics/<topic> and PUT /streams/<stream>/record; GET \
                       /openapi.json lists all paths"
                    .to_owned(),
            });
        };
        let name = request.method().as_str();
        endpoint.methods.iter().find(|method| method.name == name).ok_or_else(|| {
            let allowed: Vec<&str> = endpoint.methods.iter().map(|method| method.name).collect();
            ApiError::MethodNotAllowed { method: name.to_owned(), allowed: allowed.join(", ") }
        })
    }
}

/// The protocol whose clients most likely sent a path that has no endpoint.
fn guess_protocol(segments: &[String]) -> &'static dyn Protocol {
    let protocol_of = |segment: &String| {
        PROTOCOLS.into_iter().find(|protocol| protocol.path_keywords().contains(&segment.as_str()))
    };
    segments.iter().find_map(protocol_of).unwrap_or(DEFAULT_PROTOCOL)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_of_every_protocol_with_and_without_stages() {
        for (path, protocol, endpoint, parameters) in [
            ("/topics/0a1b.pin", "kafka", "/topics/{topic}", &["0a1b.pin"][..]),
            ("/test/topics/0a1b.pin", "kafka", "/topics/{topic}", &["0a1b.pin"]),
            ("/prod/v2//topics/pinterest.pin/", "kafka", "/topics/{topic}", &["pinterest.pin"]),
            ("/topics/topics", "kafka", "/topics/{topic}", &["topics"]),
            ("/topics/streams", "kafka", "/topics/{topic}", &["streams"]),
            ("/topics", "kafka", "/topics", &[]),
            ("/v1/topics", "kafka", "/topics", &[]),
            ("/topics/t/partitions", "kafka", "/topics/{topic}/partitions", &["t"]),
            ("/test/topics/t/partitions/0", "kafka", "/topics/{topic}/partitions/{partition}", &["t", "0"]),
            ("/streams/v1/record", "kinesis", "/streams/{stream}/record", &["v1"]),
            ("/streams/topics/record", "kinesis", "/streams/{stream}/record", &["topics"]),
            (
                "/test/streams/streaming-0a1b-pin/record",
                "kinesis",
                "/streams/{stream}/record",
                &["streaming-0a1b-pin"],
            ),
            (
                "/a/b/c/streams/Kinesis-Prod-Stream/records",
                "kinesis",
                "/streams/{stream}/records",
                &["Kinesis-Prod-Stream"],
            ),
            ("/streams/a%20b%2Fc/records", "kinesis", "/streams/{stream}/records", &["a b/c"]),
            ("/test/streams", "kinesis", "/streams", &[]),
            ("/streams/s", "kinesis", "/streams/{stream}", &["s"]),
            ("/streams/s/sharditerator", "kinesis", "/streams/{stream}/sharditerator", &["s"]),
            ("/v1/pin", "native", "/v1/{dataset}", &["pin"]),
            ("/prod/v1/pin", "native", "/v1/{dataset}", &["pin"]),
            ("/openapi.json", "native", "/openapi.json", &[]),
            ("/v1/openapi.json", "native", "/v1/{dataset}", &["openapi.json"]),
            ("/consumers/g/instances/i", "kafka", "", &[]),
            ("/streams/s/rekord", "kinesis", "", &[]),
            ("/v1", "native", "", &[]),
            ("/", "kinesis api", "/", &[]),
            ("", "kinesis api", "/", &[]),
            ("/x", "native", "", &[]),
            ("/test/streams/record", "kinesis", "/streams/record", &[]),
            ("/a/stream/s-pin/record", "kinesis", "/stream/{stream}/record", &["s-pin"]),
            ("/topics/s-pin/record", "kinesis", "/topics/{stream}/record", &["s-pin"]),
            (
                "/kafka/v3/clusters/c/topics/a.pin/records",
                "kafka v3",
                "/v3/clusters/{cluster}/topics/{topic}/records",
                &["c", "a.pin"],
            ),
            ("/v1/logs", "otlp", "/v1/logs", &[]),
            ("/otel/v1/logs/", "otlp", "/v1/logs", &[]),
            ("/v1/log", "native", "/v1/{dataset}", &["log"]),
            ("/prod/webhooks/v1", "webhook", "/webhooks/{dataset}", &["v1"]),
            ("/webhooks", "webhook", "", &[]),
            ("/cloudevents/pin", "cloudevents", "/cloudevents/{dataset}", &["pin"]),
        ] {
            let route = Route::from_path(path);
            assert_eq!(route.protocol.name(), protocol, "{path}");
            assert_eq!(route.endpoint.map_or("", |endpoint| endpoint.path), endpoint, "{path}");
            assert_eq!(route.parameters, parameters, "{path}");
        }
    }
}
