//! From an HTTP request to an answer: the steps every request takes, whatever its API.
//!
//! Access, path, method, name, media type, body, records: each step can reject, and nothing is put on the
//! stream before all of the request has been read and found good.

use std::sync::Arc;

use http::header::{ALLOW, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use lambda_http::request::RequestContext;
use lambda_http::{Body, Request, RequestExt as _, Response};
use pinlake_effects::Effects;
use pinlake_platform::api_keys::{ApiKey, ApiKeys};
use pinlake_schema::stream_key::StreamKey;
use pinlake_schema::{Catalog, QUARANTINE, StreamRoute};
use serde_json::{Value, json};

use crate::error::Rejection;
use crate::packing::{Packer, StreamRecord};
use crate::router::{Api, Endpoint, Route};
use crate::stream::{RecordStream, RefusalKind};
use crate::writer::{Patience, Written};
use crate::{access, ack, body, kafka_rest, kinesis_api, native, writer};

/// The header in which a client names its request, so that sending it again is the same request.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";

/// The most characters in an Idempotency-Key.
pub const MAX_IDEMPOTENCY_KEY: usize = 128;

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// Who may post.
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
    /// Kinesis records that were put again.
    pub retries: u64,
    /// Whose API key it was.
    pub caller: Option<String>,
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
    /// How long a request may take to be stored.
    pub patience: Patience,
    /// The time, for offsets; chance, for jitter.
    pub effects: Effects,
}

impl<S: RecordStream> App<S> {
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
            retries: 0,
            caller: None,
        };
        let mut answer = match self.serve(&request, &route, &mut report).await {
            Ok(answer) => answer,
            Err(rejection) => {
                Answer::rejection(route.api, &rejection, lambda_id(&request).unwrap_or_default())
            }
        };
        answer.set(CONTENT_TYPE, content_type(route.api));
        report.status = answer.status.as_u16();
        tracing::info!(
            api = report.api.name(),
            dataset = report.dataset,
            status = report.status,
            bytes = report.bytes,
            stored = report.stored,
            failed = report.failed,
            retries = report.retries,
            caller = report.caller,
            request = lambda_id(&request),
            rejected = answer.rejected,
            "answered"
        );
        let mut response = Response::new(Body::from(answer.body.to_string()));
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
    ) -> Result<Answer, Rejection> {
        let key = self.admit(request)?;
        report.caller = key.map(|key| key.name.clone());
        check_method(request, &route.endpoint)?;
        let target = self.target(request, &route.endpoint)?;
        if let Target::Dataset(dataset) = target {
            report.dataset = Some(dataset.to_owned());
        }
        if let (Some(key), Target::Dataset(dataset)) = (key, target)
            && !key.covers(Some(dataset))
        {
            return Err(Rejection::OutOfScope { dataset: Some(dataset.to_owned()) });
        }
        let request_id = request_id(request)?;
        let records = read(request, &route.endpoint, target, request_id, &self.catalog)?;
        if let (Some(key), Target::Shared) = (key, target) {
            check_scope(key, &records)?;
        }

        let written = writer::write(&self.stream, &records, &self.patience, &self.effects.chance).await;
        count(&records, &written, report);
        if let Some(refusal) = written.worst() {
            tracing::warn!(code = refusal.code, message = refusal.message, "the stream refused records");
            if report.stored == 0 {
                return Err(match refusal.kind {
                    RefusalKind::Throttled => Rejection::Throttled,
                    RefusalKind::Unavailable => Rejection::Unavailable,
                    RefusalKind::Permanent => Rejection::Internal,
                });
            }
        }
        let (status, body) = match route.endpoint {
            Endpoint::Record(_) => kinesis_api::record_answer(&written),
            Endpoint::Records(_) => kinesis_api::records_answer(&written),
            Endpoint::Topic(_) => {
                // Microseconds since 1970: grows from request to request and stays below 2^53 until 2255.
                kafka_rest::answer(&records, &written, self.effects.clock.now().timestamp_micros())
            }
            _ => native::answer(&records, &written, request_id),
        };
        let mut answer = Answer { status, body, headers: HeaderMap::new(), rejected: None };
        if let Some(ack) = ack::header(written.receipts()).and_then(|text| HeaderValue::try_from(text).ok()) {
            answer.set(HeaderName::from_static(ack::HEADER), ack);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            answer.set(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Ok(answer)
    }

    /// Lets a caller in, and tells by which key.
    fn admit(&self, request: &Request) -> Result<Option<&ApiKey>, Rejection> {
        match &self.access {
            Access::Anyone => Ok(None),
            Access::Signed if is_signed(request) => Ok(None),
            Access::Signed => Err(Rejection::Forbidden),
            Access::Keys(keys) => {
                let presented = access::presented(request.headers()).ok_or(Rejection::Unauthenticated)?;
                keys.find(presented).map(Some).ok_or(Rejection::Unauthenticated)
            }
        }
    }

    /// What the path's last name stands for.
    fn target(&self, request: &Request, endpoint: &Endpoint) -> Result<Target<'_>, Rejection> {
        let unknown = |kind, name: &str, remedy: &str| {
            Err(Rejection::Unknown { kind, name: name.to_owned(), remedy: remedy.to_owned() })
        };
        match endpoint {
            Endpoint::Topic(topic) => match self.catalog.route_topic(topic) {
                Some(contract) => Ok(Target::Dataset(&contract.name)),
                None => unknown("topic", topic, "no data contract routes it to a dataset"),
            },
            Endpoint::Record(stream) | Endpoint::Records(stream) => match self.catalog.route_stream(stream) {
                StreamRoute::Dataset(contract) => Ok(Target::Dataset(&contract.name)),
                StreamRoute::Shared => Ok(Target::Shared),
                StreamRoute::Unknown => unknown("stream", stream, "no data contract routes it to a dataset"),
            },
            Endpoint::Dataset(dataset) => match self.catalog.contract(dataset) {
                // Quarantine is filled by the pipeline, from what it could not clean.
                Some(contract) if contract.name != QUARANTINE => Ok(Target::Dataset(&contract.name)),
                _ => unknown("dataset", dataset, &format!("there are {}", self.dataset_names())),
            },
            Endpoint::Other | Endpoint::Nothing => unknown(
                "path",
                request.uri().path(),
                "post to /topics/<topic>, /streams/<stream>/record, /streams/<stream>/records or /v1/<dataset>",
            ),
        }
    }

    fn dataset_names(&self) -> String {
        let names = self.catalog.contracts().map(|contract| contract.name.as_str());
        names.filter(|name| *name != QUARANTINE).collect::<Vec<_>>().join(", ")
    }
}

/// What a request's records belong to.
#[derive(Debug, Clone, Copy)]
enum Target<'a> {
    Dataset(&'a str),
    /// A stream of all datasets: each record's partition key decides, or later its shape.
    Shared,
}

/// Every record for a shared stream must be of a dataset that the key is good for. The cleaner believes what the stream's key says, and a
/// record of another shape goes to quarantine: so nothing gets anywhere else. A record of which only its shape would
/// tell is for keys of all datasets.
fn check_scope(key: &ApiKey, records: &[StreamRecord]) -> Result<(), Rejection> {
    for record in records {
        let dataset = StreamKey::parse(&record.key).and_then(|key| key.dataset);
        if !key.covers(dataset) {
            return Err(Rejection::OutOfScope { dataset: dataset.map(str::to_owned) });
        }
    }
    Ok(())
}

fn check_method(request: &Request, endpoint: &Endpoint) -> Result<(), Rejection> {
    let (offered, allow): (&[Method], _) = match endpoint {
        Endpoint::Topic(_) | Endpoint::Dataset(_) => (&[Method::POST], "POST"),
        Endpoint::Record(_) | Endpoint::Records(_) => (&[Method::PUT, Method::POST], "PUT, POST"),
        Endpoint::Other => (&[], ""),
        Endpoint::Nothing => return Ok(()),
    };
    let method = request.method();
    if offered.contains(method) {
        Ok(())
    } else {
        Err(Rejection::Method { method: method.to_string(), allow })
    }
}

fn read(
    request: &Request,
    endpoint: &Endpoint,
    target: Target<'_>,
    request_id: &str,
    catalog: &Catalog,
) -> Result<Vec<StreamRecord>, Rejection> {
    let media_type = body::media_type(request.headers())?;
    let media_type = media_type.as_deref();
    let text = || body::text(request.headers(), request.body());
    match (endpoint, target) {
        (Endpoint::Topic(_), Target::Dataset(dataset)) => {
            kafka_rest::check_media_type(media_type)?;
            kafka_rest::read(&text()?, Packer::new(dataset, request_id))
        }
        (Endpoint::Dataset(_), Target::Dataset(dataset)) => {
            let framing = native::Framing::of(media_type)?;
            native::read(&text()?, framing, Packer::new(dataset, request_id))
        }
        (endpoint, target) => {
            kinesis_api::check_media_type(media_type)?;
            let route = |key: Option<&str>| match target {
                Target::Dataset(dataset) => Some(dataset),
                Target::Shared => Some(catalog.route_partition_key(key?)?.name.as_str()),
            };
            let intake = kinesis_api::Intake { request_id, route };
            let text = text()?;
            if matches!(endpoint, Endpoint::Record(_)) { intake.record(&text) } else { intake.records(&text) }
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

/// The id under which the request's records are stored: the client's own, or else Lambda's.
fn request_id(request: &Request) -> Result<&str, Rejection> {
    let Some(key) = request.headers().get(IDEMPOTENCY_KEY) else {
        return lambda_id(request).ok_or(Rejection::Internal);
    };
    let fits = |key: &&str| {
        (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len())
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
    };
    key.to_str().ok().filter(fits).ok_or_else(|| {
        Rejection::Undecodable(format!(
            "an Idempotency-Key has 1 to {MAX_IDEMPOTENCY_KEY} letters, digits and . _ : -; nothing of this \
             request was stored"
        ))
    })
}

/// The id of the invocation, or of the HTTP request where there is no invocation around it.
fn lambda_id(request: &Request) -> Option<&str> {
    let invocation = request.lambda_context_ref().map(|context| context.request_id.as_str());
    let http = || match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.as_deref(),
        _ => None,
    };
    // A slash would break the stream key; neither id ever has one.
    invocation.filter(|id| !id.is_empty()).or_else(http).filter(|id| !id.is_empty() && !id.contains('/'))
}

fn content_type(api: Api) -> HeaderValue {
    HeaderValue::from_static(match api {
        Api::Kafka => "application/vnd.kafka.v2+json",
        Api::Kinesis | Api::Native => "application/json",
    })
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
    /// For the log.
    rejected: Option<String>,
}

impl Answer {
    fn rejection(api: Api, rejection: &Rejection, request_id: &str) -> Self {
        let (status, mut body) = match api {
            Api::Kafka => (kafka_rest::status(rejection), kafka_rest::error_body(rejection)),
            Api::Kinesis => (rejection.status(), kinesis_api::error_body(rejection)),
            Api::Native => (rejection.status(), native::error_body(rejection, request_id)),
        };
        // Beyond what the old APIs had, for programs that drop the broken line and go on.
        if let Some(position) = rejection.position() {
            body["line"] = json!(position.line);
            body["column"] = json!(position.column);
        }
        let mut answer =
            Self { status, headers: HeaderMap::new(), body, rejected: Some(rejection.for_log()) };
        if api == Api::Kinesis {
            answer.set(ERROR_TYPE, HeaderValue::from_static(kinesis_api::exception(rejection)));
        }
        if let Rejection::Unauthenticated = rejection {
            answer.set(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"pinlake\""));
        }
        if let Rejection::Method { allow, .. } = rejection {
            answer.set(ALLOW, HeaderValue::from_static(allow));
        }
        if rejection.is_transient() {
            answer.set(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }

    fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.insert(name, value);
    }
}
