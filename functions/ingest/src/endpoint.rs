//! What a wire protocol is: endpoints, and functions that decode requests and encode responses.
//!
//! A [`Protocol`] is mostly a table. Each [`Endpoint`] has a path template and, for each HTTP method, the resource that
//! the path names and an [`Operation`]. [`App`](crate::app::App) does what all protocols share: it authenticates the
//! caller, resolves the resource, checks the caller's datasets, writes to the stream, and counts. A protocol only
//! translates, so it cannot skip a check.
//!
//! To add a protocol, write a file under `src/protocol/`, register it in `src/protocol.rs`, and describe its paths in
//! `openapi.json`. A test compares the tables with that document.

use std::borrow::Cow;

use http::StatusCode;
use lambda_http::aws_lambda_events::query_map::QueryMap;
use lambda_http::{Request, RequestExt as _};
use pinlake_schema::{Catalog, Contract, QUARANTINE, StreamRoute};
use serde_json::Value;

use crate::access::Caller;
use crate::body;
use crate::error::ApiError;
use crate::packing::{PackedRequest, StreamRecord};
use crate::response::ApiResponse;
use crate::stream::read::{BoxFuture, ReadableStream};
use crate::stream::{Receipt, StreamError};
use crate::writer::WriteSummary;

/// A wire protocol.
pub trait Protocol: Sync {
    /// The name in logs and metrics.
    fn name(&self) -> &'static str;

    /// The Content-Type of every response.
    fn content_type(&self) -> &'static str;

    /// All endpoints.
    fn endpoints(&self) -> &'static [Endpoint];

    /// Path segments that only clients of this protocol send. If a path has no endpoint but one of these segments, the
    /// 404 is encoded by this protocol.
    fn path_keywords(&self) -> &'static [&'static str];

    /// Encodes an error. `request_id` is the id by which the log knows the request, or empty.
    fn encode_error(&self, error: &ApiError, request_id: &str) -> ApiResponse;
}

/// A path and the methods it supports.
#[derive(Debug)]
pub struct Endpoint {
    /// The path template, as in the OpenAPI document: `/topics/{topic}/partitions/{partition}`. The first parameter is
    /// the name of the resource.
    pub path: &'static str,
    /// The supported methods.
    pub methods: &'static [Method],
    /// How its callers are authenticated.
    pub authentication: Authentication,
}

/// How the callers of an endpoint are authenticated.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Authentication {
    /// By API key or AWS signature, as the deployment demands.
    Caller,
    /// By the signature that the contract of the dataset demands: [`crate::webhook`].
    Webhook,
    /// Not at all.
    Public,
}

impl Endpoint {
    /// An endpoint for authenticated callers.
    pub const fn new(path: &'static str, methods: &'static [Method]) -> Self {
        Self { path, methods, authentication: Authentication::Caller }
    }

    /// An endpoint that needs no authentication.
    pub const fn public(path: &'static str, methods: &'static [Method]) -> Self {
        Self { path, methods, authentication: Authentication::Public }
    }

    /// An endpoint for requests that are signed as the contract of their dataset demands.
    pub const fn signed(path: &'static str, methods: &'static [Method]) -> Self {
        Self { path, methods, authentication: Authentication::Webhook }
    }

    /// The segments of the path template.
    fn segments(&self) -> impl DoubleEndedIterator<Item = &'static str> {
        self.path.split('/').filter(|segment| !segment.is_empty())
    }

    /// How many segments of the template are not parameters.
    pub fn fixed_segments(&self) -> usize {
        self.segments().filter(|segment| !is_parameter(segment)).count()
    }

    /// The values of the parameters if `path`, split into decoded segments, ends with this template.
    pub fn match_path(&self, path: &[String]) -> Option<Vec<String>> {
        if self.segments().next().is_none() {
            return path.is_empty().then(Vec::new);
        }
        let start = path.len().checked_sub(self.segments().count())?;
        let pairs = || self.segments().zip(&path[start..]);
        let is_match = pairs().all(|(segment, value)| is_parameter(segment) || segment == value);
        is_match.then(|| {
            pairs().filter(|(segment, _)| is_parameter(segment)).map(|(_, value)| value.clone()).collect()
        })
    }
}

fn is_parameter(segment: &str) -> bool {
    segment.starts_with('{')
}

/// What an HTTP method does at an endpoint.
#[derive(Debug)]
pub struct Method {
    /// The HTTP method, in capitals.
    pub name: &'static str,
    /// What the first path parameter names.
    pub resource: Resource,
    /// What is done.
    pub operation: Operation,
}

impl Method {
    /// A method of an endpoint.
    pub const fn new(name: &'static str, resource: Resource, operation: Operation) -> Self {
        Self { name, resource, operation }
    }
}

/// Decodes the records of a request. The second argument is the request's id in the stream keys.
pub type DecodeFn = fn(&RequestContext<'_>, &str) -> Result<PackedRequest, ApiError>;
/// Encodes the response to a write of which at least one record was stored, or which had no records.
pub type EncodeFn = fn(&CompletedWrite<'_>) -> (StatusCode, String);
/// Answers from the catalog.
pub type LookupFn = fn(&RequestContext<'_>) -> Result<Value, ApiError>;
/// Answers from the stream.
pub type ReadFn = for<'a> fn(
    &'a RequestContext<'a>,
    &'a dyn ReadableStream,
) -> BoxFuture<'a, Result<ReadResponse, ApiError>>;

/// What a request asks for.
#[derive(Debug, Clone, Copy)]
pub enum Operation {
    /// Write records to the stream.
    Write {
        /// Decodes the records.
        decode: DecodeFn,
        /// Encodes the response.
        encode: EncodeFn,
    },
    /// Look something up in the catalog.
    Lookup(LookupFn),
    /// Read from the stream.
    Read(ReadFn),
    /// Serve a fixed JSON document.
    Document(&'static str),
}

/// What the first parameter of a path names.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Resource {
    /// Nothing that a contract routes.
    None,
    /// A topic.
    Topic,
    /// A stream.
    Stream,
    /// A topic, after the name of a cluster.
    ClusterTopic,
    /// A stream that need not exist.
    NewStream,
    /// A stream that the query string names, as `?stream-name=`, or else the body.
    QueryStream,
    /// A stream that the body names, as `StreamName` or `StreamARN`.
    BodyStream,
    /// A dataset.
    Dataset,
    /// A dataset whose contract declares a webhook.
    Webhook,
    /// The dataset, topic or stream `logs`, or another that the query string names, as `?dataset=`.
    Logs,
}

impl Resource {
    /// The name of the resource in a request; empty if there is none. `parameters` are those of the path.
    pub fn find_name<'a>(self, request: &'a Request, parameters: &'a [String]) -> Cow<'a, str> {
        let parameter = |at: usize| Cow::Borrowed(parameters.get(at).map_or("", String::as_str));
        let in_body = || body::stream_name(request.body()).map_or(Cow::Borrowed(""), Cow::Owned);
        match self {
            Self::ClusterTopic => parameter(1),
            Self::QueryStream => {
                let query = request.query_string_parameters_ref();
                query.and_then(find_stream_name).map_or_else(in_body, Cow::Borrowed)
            }
            Self::BodyStream => in_body(),
            Self::Logs => {
                let query = request.query_string_parameters_ref();
                Cow::Borrowed(query.and_then(|query| query.first("dataset")).unwrap_or("logs"))
            }
            Self::None | Self::Topic | Self::Stream | Self::NewStream | Self::Dataset | Self::Webhook => {
                parameter(0)
            }
        }
    }

    /// Finds out where records for the resource `name` go. Clients send the name of a stream where that of a topic
    /// belongs, and the other way round: it is looked up as the other if no contract has it. An error tells `caller`
    /// only what it may access.
    ///
    /// # Errors
    /// [`ApiError::NotFound`] if no contract has such a resource.
    pub fn resolve<'a>(
        self,
        name: &str,
        catalog: &'a Catalog,
        caller: Caller<'_>,
    ) -> Result<Target<'a>, ApiError> {
        let not_found = |kind, hint: String| ApiError::NotFound { kind, name: name.to_owned(), hint };
        let contracts = || {
            let contracts = catalog.datasets().map(AsRef::as_ref);
            contracts.filter(|contract: &&Contract| caller.may_access(Some(&contract.name)))
        };
        let topic = || catalog.route_topic(name).map(|contract| Target::Dataset(&contract.name));
        let stream = || match catalog.route_stream(name) {
            StreamRoute::Dataset(contract) => Some(Target::Dataset(&contract.name)),
            StreamRoute::Shared => Some(Target::Shared),
            StreamRoute::Unknown => None,
        };
        let not_routed = |kind, patterns: &mut dyn Iterator<Item = &'a String>| {
            let mut patterns: Vec<String> =
                patterns.take(MAX_HINTS + 1).map(|pattern| format!("'{pattern}'")).collect();
            let more = if patterns.len() > MAX_HINTS { ", ..." } else { "" };
            patterns.truncate(MAX_HINTS);
            let hint = match patterns.is_empty() {
                true => "no data contract routes it to a dataset".to_owned(),
                false => format!(
                    "no data contract routes it to a dataset; accepted names ('*' stands for any text): {}{more}",
                    patterns.join(", ")
                ),
            };
            not_found(kind, hint)
        };
        match self {
            Self::None => Ok(Target::None),
            Self::Topic | Self::ClusterTopic => topic().or_else(stream).ok_or_else(|| {
                not_routed("topic", &mut contracts().flat_map(|contract| &contract.route.topics))
            }),
            Self::NewStream => Ok(stream().unwrap_or(Target::None)),
            Self::Stream | Self::QueryStream | Self::BodyStream => stream().or_else(topic).ok_or_else(|| {
                let own = contracts().flat_map(|contract| &contract.route.streams);
                not_routed("stream", &mut catalog.shared_streams().iter().chain(own))
            }),
            Self::Webhook => match catalog.contract(name) {
                Some(contract) if contract.webhook.is_some() => Ok(Target::Dataset(&contract.name)),
                // The provider sends it again.
                Some(contract) if contract.broken().is_some() => Err(ApiError::SecretUnavailable),
                // Strangers may ask, so no dataset is named.
                _ => Err(not_found(
                    "webhook",
                    "no data contract of this name has a section [webhook]".to_owned(),
                )),
            },
            Self::Logs => {
                let dataset = || {
                    let contract = catalog.contract(name).filter(|contract| contract.name != QUARANTINE);
                    contract.map(|contract| Target::Dataset(&contract.name))
                };
                dataset().or_else(topic).or_else(stream).ok_or_else(|| {
                    let hint = "name the dataset in the query string, /v1/logs?dataset=<dataset>, or add topics = [\"logs\"] \
                                to [route] of its data contract";
                    not_found("dataset", hint.to_owned())
                })
            }
            Self::Dataset => match catalog.contract(name) {
                // Only the pipeline writes to quarantine.
                Some(contract) if contract.name != QUARANTINE => Ok(Target::Dataset(&contract.name)),
                _ => {
                    let names: Vec<&str> = contracts().map(|contract| contract.name.as_str()).collect();
                    Err(not_found("dataset", format!("the datasets are {}", names.join(", "))))
                }
            },
        }
    }
}

/// The most patterns in the hint of an error.
const MAX_HINTS: usize = 24;

/// The parameter of a query string that names a stream. Old clients spell it in many ways: `stream-name`, `StreamName`, `stream`.
fn find_stream_name(query: &QueryMap) -> Option<&str> {
    let is_name = |name: &str| {
        let letters = name.chars().filter(|char| !matches!(char, '-' | '_'));
        matches!(letters.collect::<String>().to_ascii_lowercase().as_str(), "streamname" | "stream")
    };
    query.iter().find(|(name, _)| is_name(name)).map(|(_, value)| value)
}

/// Where the records of a request go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Target<'a> {
    /// Nowhere: the path names nothing that a contract routes.
    None,
    /// To one dataset.
    Dataset(&'a str),
    /// To any dataset: each record's partition key decides, or its shape when it is cleaned.
    Shared,
}

impl<'a> Target<'a> {
    /// The dataset, if there is only one.
    pub fn dataset(self) -> Option<&'a str> {
        match self {
            Self::Dataset(dataset) => Some(dataset),
            Self::None | Self::Shared => None,
        }
    }
}

/// A request whose caller may access its target.
#[derive(Debug)]
pub struct RequestContext<'a> {
    /// The HTTP request.
    pub request: &'a Request,
    /// The values of the path's parameters, in order.
    pub parameters: &'a [String],
    /// What the path names.
    pub target: Target<'a>,
    /// Who sent it.
    pub caller: Caller<'a>,
    /// The name of the resource, as the client wrote it.
    pub name: &'a str,
    /// The contracts.
    pub catalog: &'a Catalog,
    /// Whether records may be read back.
    pub reads_enabled: bool,
}

impl<'a> RequestContext<'a> {
    /// The name of the resource as the client wrote it, or an empty string.
    pub fn resource_name(&self) -> &'a str {
        self.name
    }

    /// A parameter of the query string.
    pub fn query(&self, name: &str) -> Option<&'a str> {
        self.request.query_string_parameters_ref()?.first(name)
    }

    /// The media type of the body; see [`body::media_type`].
    ///
    /// # Errors
    /// If the Content-Type header is not text.
    pub fn media_type(&self) -> Result<Option<String>, ApiError> {
        body::media_type(self.request.headers())
    }

    /// The decompressed body; see [`body::text`].
    ///
    /// # Errors
    /// If the body is empty, too large, not UTF-8, or wrongly compressed.
    pub fn text(&self) -> Result<Cow<'a, [u8]>, ApiError> {
        body::text(self.request.headers(), self.request.body())
    }

    /// The contracts of the datasets that the caller may access.
    pub fn contracts(&self) -> impl Iterator<Item = &'a Contract> {
        let caller = self.caller;
        let contracts = self.catalog.datasets().map(AsRef::as_ref);
        contracts.filter(move |contract: &&Contract| caller.may_access(Some(&contract.name)))
    }
}

/// The patterns that are complete names. Names that match a pattern with `*` cannot be listed.
pub fn complete_names(patterns: &[String]) -> impl Iterator<Item = &str> {
    patterns.iter().map(String::as_str).filter(|pattern| !pattern.contains('*'))
}

/// A write of which at least one record was stored, or which had no records.
#[derive(Debug)]
pub struct CompletedWrite<'a> {
    /// The request's id as the client knows it.
    pub request_id: &'a str,
    /// The values of the path's parameters, in order.
    pub parameters: &'a [String],
    /// The records for the stream, in the order of the request.
    pub records: &'a [StreamRecord],
    /// The end of each record of the request, as in [`PackedRequest::ends`].
    pub ends: &'a [u64],
    /// The records of the request that were not taken, as in [`PackedRequest::rejected`].
    pub rejected: u64,
    /// What happened to each record.
    pub summary: &'a WriteSummary,
    /// When the write was completed, in microseconds since 1970.
    pub completed_us: i64,
}

impl<'a> CompletedWrite<'a> {
    /// What happened to each record of the request, in order. A record of several lines is stored if all of them are.
    pub fn results(&self) -> impl Iterator<Item = Result<&'a Receipt, &'a StreamError>> {
        let (records, results, ends) = (self.records, &self.summary.results, self.ends);
        // The record of the stream that has the next line.
        let (mut at, mut line) = (0, 0);
        let lines = records.last().map_or(0, |record| record.lines.end);
        let ends = ends.iter().copied().chain(ends.is_empty().then_some(1..=lines).into_iter().flatten());
        ends.filter_map(move |end| {
            let mut result = None;
            while line < end {
                let stored = results.get(at)?.as_ref();
                result = match result {
                    Some(Err(error)) => Some(Err(error)),
                    _ => Some(stored),
                };
                let record_end = records.get(at)?.lines.end;
                line = record_end.min(end);
                at += usize::from(line == record_end);
            }
            result
        })
    }
}

/// The response to a read from the stream.
#[derive(Debug)]
pub struct ReadResponse {
    /// The body.
    pub body: Value,
    /// The records in it.
    pub records: u64,
}
