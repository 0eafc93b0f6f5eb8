//! From an HTTP request to an answer: the steps every request takes, whatever its API.
//!
//! Access, path, method, name; then, of a request that brings records, media type, body, records. Each step can reject,
//! and nothing is put on the stream before all of the request has been read and found good.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt as _, Response};
use pinlake_env::Env;
use pinlake_platform::api_keys::{ApiKey, ApiKeys};
use pinlake_schema::stream_key::StreamKey;
use pinlake_schema::{Catalog, Contract, QUARANTINE, StreamRoute};
use serde_json::json;

use crate::error::ApiError;
use crate::kinesis_reads::View;
use crate::packing::{Packer, StreamRecord};
use crate::reading::ReadableStream;
use crate::request_id::{RequestId, lambda_id};
use crate::response::{self, ApiResponse};
use crate::router::{Api, Endpoint, Operation, Route};
use crate::stream::RecordStream;
use crate::writer::{RetryPolicy, Written};
use crate::{access, ack, body, kafka_rest, kinesis_api, kinesis_reads, kinesis_streams, native, writer};

/// Who may post, and ask what there is.
#[derive(Debug, Clone)]
pub enum Access {
    /// Whoever knows the URL.
    Anyone,
    /// Callers whom Lambda has authenticated with IAM (function URL with `AuthType: AWS_IAM`).
    Signed,
    /// Whoever has one of these keys, each for its datasets.
    Keys(ApiKeys),
}

/// What a request came to: for logs and metrics. It travels in the response's extensions.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Report {
    /// The API that was spoken.
    pub api: Api,
    /// The dataset, where the path named one.
    pub dataset: Option<String>,
    /// The status answered.
    pub status: u16,
    /// Bytes in the body as sent.
    pub bytes: u64,
    /// Records that the stream took.
    pub stored: u64,
    /// Records that it did not take.
    pub failed: u64,
    /// Records that were read back.
    pub read: u64,
    /// Kinesis records that were put again.
    pub retries: u64,
    /// Whose API key it was.
    pub caller: Option<String>,
    /// The request's id.
    pub request: Option<String>,
    /// Why it was refused.
    pub rejected: Option<String>,
}

/// The function, its dependencies in hand.
#[derive(Debug)]
pub struct App<S> {
    /// Where records go.
    pub stream: S,
    /// Which names there are.
    pub catalog: Arc<Catalog>,
    /// Who may post.
    pub access: Access,
    /// Whether records are read back: by whoever may write them.
    pub reads: bool,
    /// How long a request may take to be stored.
    pub patience: RetryPolicy,
    /// The time, for offsets; rng, for jitter.
    pub effects: Env,
}

impl<S: RecordStream + ReadableStream> App<S> {
    /// Serves a request. Whatever goes wrong is in the answer, in the style of the API that was called; a
    /// [`Report`] is in its extensions.
    pub async fn handle(&self, request: Request) -> Response<Body> {
        let route = Route::of(request.uri().path());
        let mut report = Report {
            api: route.api,
            dataset: None,
            status: 0,
            bytes: request.body().len() as u64,
            stored: 0,
            failed: 0,
            read: 0,
            retries: 0,
            caller: None,
            request: lambda_id(&request).map(str::to_owned),
            rejected: None,
        };
        let mut answer = match self.serve(&request, &route, &mut report).await {
            Ok(answer) => answer,
            Err(rejection) => {
                ApiResponse::rejection(route.api, &rejection, report.request.as_deref().unwrap_or_default())
            }
        };
        answer.set(CONTENT_TYPE, response::content_type(route.api));
        report.status = answer.status.as_u16();
        report.rejected = answer.rejected;
        // The line of metrics says as much, where there is one.
        tracing::debug!(?report, "answered");
        let mut response = Response::new(Body::from(answer.body));
        *response.status_mut() = answer.status;
        *response.headers_mut() = answer.headers;
        response.extensions_mut().insert(report);
        response
    }

    async fn serve(
        &self,
        request: &Request,
        route: &Route,
        report: &mut Report,
    ) -> Result<ApiResponse, ApiError> {
        if route.endpoint == Endpoint::OpenApi {
            // It tells of no deployment: whoever would call the URL may know how.
            operation(request, &route.endpoint)?;
            return Ok(ApiResponse::openapi());
        }
        let key = self.admit(request)?;
        report.caller = key.map(|key| key.name.clone());
        let operation = operation(request, &route.endpoint)?;
        let target = self.target(&route.endpoint, operation)?;
        if let Target::Dataset(dataset) = target {
            report.dataset = Some(dataset.to_owned());
            if key.is_some_and(|key| !key.covers(Some(dataset))) {
                return Err(ApiError::OutOfScope { dataset: Some(dataset.to_owned()) });
            }
        }
        let body = match operation {
            Operation::Produce | Operation::PutRecord | Operation::PutRecords | Operation::Post => {
                return self.take(request, operation, target, key, report).await;
            }
            Operation::ListTopics => json!(self.topics(key)),
            Operation::GetTopic => kafka_rest::topic(route.endpoint.name()),
            Operation::ListPartitions => kafka_rest::partitions(),
            Operation::GetPartition => kafka_rest::partition(),
            Operation::ListStreams => {
                let (after, limit) = ("ExclusiveStartStreamName", "Limit");
                let listing = kinesis_streams::Listing::of(query(request, after), query(request, limit))?;
                listing.answer(self.streams(key))
            }
            Operation::DescribeStream => {
                let told = self.stream.describe().await;
                let told = told.map_err(|refusal| kinesis_reads::unreadable(&refusal))?;
                kinesis_streams::description(route.endpoint.name(), &told)
            }
            Operation::CreateStream => {
                return Err(match target {
                    Target::None => ApiError::StreamsAreGiven,
                    Target::Dataset(_) | Target::Shared => {
                        ApiError::StreamExists(route.endpoint.name().to_owned())
                    }
                });
            }
            Operation::DeleteStream => return Err(ApiError::StreamsAreGiven),
            Operation::GetShardIterator => {
                self.view(target, key)?;
                let shard = query(request, "shard-id");
                kinesis_reads::shard_iterator(&self.stream, route.endpoint.name(), shard).await?
            }
            Operation::GetRecords => {
                let view = self.view(target, key)?;
                let token = request.headers().get(kinesis_reads::SHARD_ITERATOR).map(HeaderValue::as_bytes);
                let name = route.endpoint.name();
                let (body, read) =
                    kinesis_reads::records(&self.stream, name, token, view, &self.catalog).await?;
                report.read = read;
                body
            }
            Operation::Describe => return Ok(ApiResponse::openapi()),
        };
        Ok(ApiResponse::new(StatusCode::OK, &body))
    }

    /// Takes the records that a request brings.
    async fn take(
        &self,
        request: &Request,
        operation: Operation,
        target: Target<'_>,
        key: Option<&ApiKey>,
        report: &mut Report,
    ) -> Result<ApiResponse, ApiError> {
        let id = RequestId::of(request, key)?;
        let records = read(request, operation, target, &id.stored, &self.catalog)?;
        if let (Some(key), Target::Shared) = (key, target) {
            check_scope(key, &records)?;
        }

        let written = writer::write(&self.stream, &records, &self.patience, &self.effects.rng).await;
        count(&records, &written, report);
        if let Some(refusal) = written.worst() {
            tracing::warn!(code = refusal.code, message = refusal.message, "the stream refused records");
            if report.stored == 0 {
                return Err(refusal.kind.into());
            }
        }
        let (status, body) = match operation {
            Operation::PutRecord => kinesis_api::record_answer(&written),
            Operation::PutRecords => kinesis_api::records_answer(&written),
            Operation::Produce => {
                // Microseconds since 1970: grows from request to request and stays below 2^53 until 2255.
                kafka_rest::answer(&records, &written, self.effects.clock.now().timestamp_micros())
            }
            _ => native::answer(&records, &written, &id.shown),
        };
        let mut answer = ApiResponse::new(status, &body);
        if let Some(ack) = ack::header(written.receipts()).and_then(|text| HeaderValue::try_from(text).ok()) {
            answer.set(HeaderName::from_static(ack::HEADER), ack);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.set(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Ok(answer)
    }

    /// What a caller may read back at a stream.
    fn view<'a>(&self, target: Target<'a>, key: Option<&ApiKey>) -> Result<View<'a>, ApiError> {
        if !self.reads {
            return Err(ApiError::ReadsOff);
        }
        match target {
            Target::Dataset(dataset) => Ok(View::Dataset(dataset)),
            // What lies there is of any dataset.
            _ if key.is_some_and(|key| !key.covers(None)) => Err(ApiError::OutOfScope { dataset: None }),
            _ => Ok(View::All),
        }
    }

    /// The topics that the contracts name in full. Those that fit a pattern cannot be counted.
    fn topics(&self, key: Option<&ApiKey>) -> Vec<&str> {
        let mut names: Vec<&str> =
            self.contracts(key).flat_map(|contract| in_full(&contract.route.topics)).collect();
        names.sort_unstable();
        names
    }

    /// The same for streams.
    fn streams(&self, key: Option<&ApiKey>) -> Vec<&str> {
        let own = self.contracts(key).flat_map(|contract| in_full(&contract.route.streams));
        own.chain(in_full(self.catalog.shared_streams())).collect()
    }

    /// Of the datasets that a caller may write to.
    fn contracts(&self, key: Option<&ApiKey>) -> impl Iterator<Item = &Contract> {
        self.catalog
            .contracts()
            .map(AsRef::as_ref)
            .filter(move |contract: &&Contract| key.is_none_or(|key| key.covers(Some(&contract.name))))
    }

    /// Lets a caller in, and tells by which key.
    fn admit(&self, request: &Request) -> Result<Option<&ApiKey>, ApiError> {
        match &self.access {
            Access::Anyone => Ok(None),
            Access::Signed if is_signed(request) => Ok(None),
            Access::Signed => Err(ApiError::Forbidden),
            Access::Keys(keys) => {
                let presented = access::presented(request.headers()).ok_or(ApiError::Unauthenticated)?;
                keys.find(presented).map(Some).ok_or(ApiError::Unauthenticated)
            }
        }
    }

    /// What the name in the path stands for.
    fn target(&self, endpoint: &Endpoint, operation: Operation) -> Result<Target<'_>, ApiError> {
        let unknown = |kind, name: &str, remedy: &str| {
            Err(ApiError::Unknown { kind, name: name.to_owned(), remedy: remedy.to_owned() })
        };
        match endpoint {
            Endpoint::Topic(topic) | Endpoint::Partitions(topic) | Endpoint::Partition(topic, _) => {
                let Some(contract) = self.catalog.route_topic(topic) else {
                    return unknown("topic", topic, "no data contract routes it to a dataset");
                };
                if let Endpoint::Partition(_, number) = endpoint {
                    kafka_rest::check_partition(number)?;
                }
                Ok(Target::Dataset(&contract.name))
            }
            Endpoint::Stream(stream)
            | Endpoint::Record(stream)
            | Endpoint::Records(stream)
            | Endpoint::ShardIterator(stream) => match self.catalog.route_stream(stream) {
                StreamRoute::Dataset(contract) => Ok(Target::Dataset(&contract.name)),
                StreamRoute::Shared => Ok(Target::Shared),
                StreamRoute::Unknown if operation == Operation::CreateStream => Ok(Target::None),
                StreamRoute::Unknown => unknown("stream", stream, "no data contract routes it to a dataset"),
            },
            Endpoint::Dataset(dataset) => match self.catalog.contract(dataset) {
                // Quarantine is filled by the pipeline, from what it could not clean.
                Some(contract) if contract.name != QUARANTINE => Ok(Target::Dataset(&contract.name)),
                _ => unknown("dataset", dataset, &format!("there are {}", self.dataset_names())),
            },
            Endpoint::Topics | Endpoint::Streams | Endpoint::OpenApi | Endpoint::Nothing => Ok(Target::None),
        }
    }

    fn dataset_names(&self) -> String {
        let names = self.catalog.contracts().map(|contract| contract.name.as_str());
        names.filter(|name| *name != QUARANTINE).collect::<Vec<_>>().join(", ")
    }
}

/// What a request is about.
#[derive(Debug, Clone, Copy)]
enum Target<'a> {
    /// Nothing that a contract routes.
    None,
    Dataset(&'a str),
    /// A stream of all datasets: each record's partition key decides, or later its shape.
    Shared,
}

/// Every record for a shared stream must be of a dataset that the key is good for. The cleaner believes what the
/// stream's key says, and a record of another shape goes to quarantine: so nothing gets anywhere else. A record of
/// which only its shape would tell is for keys of all datasets.
fn check_scope(key: &ApiKey, records: &[StreamRecord]) -> Result<(), ApiError> {
    for record in records {
        let dataset = StreamKey::parse(&record.key).and_then(|key| key.dataset);
        if !key.covers(dataset) {
            return Err(ApiError::OutOfScope { dataset: dataset.map(str::to_owned) });
        }
    }
    Ok(())
}

/// What the method does at this path.
fn operation(request: &Request, endpoint: &Endpoint) -> Result<Operation, ApiError> {
    let offered = endpoint.operations();
    if offered.is_empty() {
        return Err(ApiError::Unknown {
            kind: "path",
            name: request.uri().path().to_owned(),
            remedy: "GET /openapi.json tells which there are".to_owned(),
        });
    }
    let method = request.method().as_str();
    offered.iter().find(|(name, _)| *name == method).map(|(_, operation)| *operation).ok_or_else(|| {
        let allow: Vec<&str> = offered.iter().map(|(name, _)| *name).collect();
        ApiError::Method { method: method.to_owned(), allow: allow.join(", ") }
    })
}

/// A parameter of the query.
fn query<'a>(request: &'a Request, name: &str) -> Option<&'a str> {
    request.query_string_parameters_ref().and_then(|parameters| parameters.first(name))
}

/// The names that are no patterns.
fn in_full(patterns: &[String]) -> impl Iterator<Item = &str> {
    patterns.iter().map(String::as_str).filter(|pattern| !pattern.contains('*'))
}

fn read(
    request: &Request,
    operation: Operation,
    target: Target<'_>,
    request_id: &str,
    catalog: &Catalog,
) -> Result<Vec<StreamRecord>, ApiError> {
    let media_type = body::media_type(request.headers())?;
    let media_type = media_type.as_deref();
    let text = || body::text(request.headers(), request.body());
    match (operation, target) {
        (Operation::Produce, Target::Dataset(dataset)) => {
            let embedding = kafka_rest::Embedding::of(media_type)?;
            kafka_rest::read(&text()?, embedding, Packer::new(dataset, request_id))
        }
        (Operation::Post, Target::Dataset(dataset)) => {
            let framing = native::Framing::of(media_type)?;
            native::read(&text()?, framing, Packer::new(dataset, request_id))
        }
        (operation, target) => {
            kinesis_api::check_media_type(media_type)?;
            let route = |key: Option<&str>| match target {
                Target::Dataset(dataset) => Some(dataset),
                Target::Shared | Target::None => Some(catalog.route_partition_key(key?)?.name.as_str()),
            };
            let intake = kinesis_api::KinesisRequestParser { request_id, route };
            let text = text()?;
            if operation == Operation::PutRecord { intake.record(&text) } else { intake.records(&text) }
        }
    }
}

fn count(records: &[StreamRecord], written: &Written, report: &mut Report) {
    for (record, result) in records.iter().zip(&written.results) {
        let lines = record.lines.end - record.lines.start;
        if result.is_ok() {
            report.stored += lines;
        } else {
            report.failed += lines;
        }
    }
    report.retries = written.retries;
}

/// Whether Lambda has authenticated the caller.
fn is_signed(request: &Request) -> bool {
    let context = request.request_context_ref();
    context.and_then(RequestContext::authorizer).is_some_and(|authorizer| authorizer.iam.is_some())
}
