//! The request handler: authenticate, decode, write, encode.
//!
//! [`App`] does what all protocols share, and calls the protocol of a request to decode it and to encode the response.
//! Nothing is put on the stream before the whole request has been read and validated.

use std::sync::Arc;

use http::header::{CONTENT_TYPE, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};
use lambda_http::{Body, Request, Response};
use pinlake_env::Env;
use pinlake_schema::Catalog;
use pinlake_schema::stream_key::StreamKey;

use crate::access::{self, Access, Caller};
use crate::ack;
use crate::cors::Cors;
use crate::endpoint::{
    Authentication, CompletedWrite, DecodeFn, EncodeFn, Operation, RequestContext, Target,
};
use crate::error::ApiError;
use crate::packing::{PackedRequest, StreamRecord};
use crate::protocol::Route;
use crate::request_id::{RequestId, lambda_request_id};
use crate::response::ApiResponse;
use crate::stream::RecordStream;
use crate::stream::read::ReadableStream;
use crate::webhook::{Delivery, Webhooks};
use crate::writer::{self, WriteRetryPolicy, WriteSummary};

/// The most bytes of the log lines of a request at the default level: one, and another if the stream rejects records.
pub const MAX_LOG_BYTES: usize = 4096;
/// The most characters of a message of AWS that are logged.
const MAX_LOGGED_CHARS: usize = 300;

/// What happened to a request, for logs and metrics. It is in the extensions of the response.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestSummary {
    /// The name of the protocol.
    pub protocol: &'static str,
    /// The dataset, if the path named one.
    pub dataset: Option<String>,
    /// The HTTP status of the response.
    pub status: u16,
    /// Bytes of the body as sent.
    pub bytes: u64,
    /// Records that were stored.
    pub stored: u64,
    /// Records that were not stored.
    pub failed: u64,
    /// Records that were read back.
    pub read: u64,
    /// Kinesis records that were put again.
    pub retries: u64,
    /// The name of the caller's API key.
    pub caller: Option<String>,
    /// Lambda's id of the request.
    pub request_id: Option<String>,
    /// Why the request failed, without anything that the client wrote.
    pub error: Option<String>,
}

/// The function and its dependencies.
#[derive(Debug)]
pub struct App<S> {
    /// The stream.
    pub stream: S,
    /// The data contracts.
    pub catalog: Arc<Catalog>,
    /// Who may call.
    pub access: Access,
    /// Whether callers may read the records of their datasets back.
    pub reads_enabled: bool,
    /// Whether writes are refused with 503 until the operator ends the pause.
    pub is_paused: bool,
    /// The web pages that may call.
    pub cors: Cors,
    /// The requests of providers' webhooks.
    pub webhooks: Webhooks,
    /// How long a write is retried.
    pub retry_policy: WriteRetryPolicy,
    /// The clock for Kafka offsets, the random numbers for jitter.
    pub env: Env,
}

impl<S: RecordStream + ReadableStream> App<S> {
    /// Serves a request. Errors are encoded in the response, in the style of the protocol. The extensions of the
    /// response have a [`RequestSummary`].
    pub async fn handle(&self, request: Request) -> Response<Body> {
        let route = Route::from_request(&request);
        let mut summary = RequestSummary {
            protocol: route.protocol.name(),
            dataset: None,
            status: 0,
            bytes: request.body().len() as u64,
            stored: 0,
            failed: 0,
            read: 0,
            retries: 0,
            caller: None,
            request_id: lambda_request_id(&request).map(str::to_owned),
            error: None,
        };
        let result = match self.cors.preflight(&request, &route) {
            Some(response) => Ok(response),
            None => self.serve(&request, &route, &mut summary).await,
        };
        let mut response = result.unwrap_or_else(|error| {
            route.protocol.encode_error(&error, summary.request_id.as_deref().unwrap_or_default())
        });
        response.set(CONTENT_TYPE, HeaderValue::from_static(route.protocol.content_type()));
        self.cors.allow(&request, &mut response);
        summary.status = response.status.as_u16();
        summary.error = response.error;
        // At the default level only the metrics line is logged, which says the same.
        tracing::debug!(?summary, "answered");
        let mut http = Response::new(Body::from(response.body));
        *http.status_mut() = response.status;
        *http.headers_mut() = response.headers;
        http.extensions_mut().insert(summary);
        http
    }

    async fn serve(
        &self,
        request: &Request,
        route: &Route,
        summary: &mut RequestSummary,
    ) -> Result<ApiResponse, ApiError> {
        let authentication =
            route.endpoint.map_or(Authentication::Caller, |endpoint| endpoint.authentication);
        let caller = match authentication {
            Authentication::Public => Caller::ANONYMOUS,
            Authentication::Webhook => Caller::WEBHOOK,
            Authentication::Caller => access::authenticate(&self.access, request)?,
        };
        summary.caller = caller.key_name().map(str::to_owned);
        let method = route.method(request)?;
        let name = method.resource.find_name(request, &route.parameters);
        let target = method.resource.resolve(&name, &self.catalog, caller)?;
        if let Target::Dataset(dataset) = target {
            summary.dataset = Some(dataset.to_owned());
            caller.check_access(Some(dataset))?;
        }
        let delivery = match authentication {
            Authentication::Webhook => Some(self.verify_webhook(request, target).await?),
            Authentication::Public | Authentication::Caller => None,
        };
        let context = RequestContext {
            request,
            parameters: &route.parameters,
            name: &name,
            target,
            caller,
            catalog: &self.catalog,
            reads_enabled: self.reads_enabled,
        };
        match method.operation {
            Operation::Write { decode, encode } => {
                self.write(&context, delivery.as_ref(), decode, encode, summary).await
            }
            Operation::Lookup(look_up) => {
                Ok(ApiResponse::new(StatusCode::OK, look_up(&context)?.to_string()))
            }
            Operation::Read(read) => {
                let response = read(&context, &self.stream).await?;
                summary.read = response.records;
                Ok(ApiResponse::new(StatusCode::OK, response.body.to_string()))
            }
            Operation::Document(text) => Ok(ApiResponse::new(StatusCode::OK, text.to_owned())),
        }
    }

    /// Verifies the signature that the contract of the dataset demands.
    async fn verify_webhook(&self, request: &Request, target: Target<'_>) -> Result<Delivery, ApiError> {
        let contract = target.dataset().and_then(|dataset| self.catalog.contract(dataset));
        let webhook = contract.and_then(|contract| contract.webhook.as_ref()).ok_or(ApiError::Internal)?;
        self.webhooks.verify(webhook, request, self.env.clock.now()).await
    }

    async fn write(
        &self,
        context: &RequestContext<'_>,
        delivery: Option<&Delivery>,
        decode: DecodeFn,
        encode: EncodeFn,
        summary: &mut RequestSummary,
    ) -> Result<ApiResponse, ApiError> {
        if self.is_paused {
            return Err(ApiError::Paused);
        }
        let id = match (delivery, context.target.dataset()) {
            (Some(delivery), Some(dataset)) => RequestId::from_delivery(context.request, delivery, dataset)?,
            _ => RequestId::from_request(context.request, context.caller)?,
        };
        let PackedRequest { records, ends, rejected } = decode(context, &id.stored)?;
        if context.target == Target::Shared {
            check_record_access(context.caller, &records)?;
        }
        let written = writer::write(&self.stream, &records, &self.retry_policy, &self.env.rng).await;
        summary.add_write(&records, &written);
        summary.failed += rejected;
        if let Some(error) = written.worst_error() {
            let message: String = error.message.chars().take(MAX_LOGGED_CHARS).collect();
            tracing::warn!(code = error.code, message, "the stream rejected records");
            if summary.stored == 0 {
                return Err(error.kind.into());
            }
        }
        let (status, body) = encode(&CompletedWrite {
            request_id: &id.client,
            parameters: context.parameters,
            records: &records,
            ends: &ends,
            rejected,
            summary: &written,
            completed_us: self.env.clock.now().timestamp_micros(),
        });
        let mut response = ApiResponse::new(status, body);
        let acknowledgement = ack::format_ack(written.receipts());
        if let Some(value) = acknowledgement.and_then(|text| HeaderValue::try_from(text).ok()) {
            response.set(HeaderName::from_static(ack::HEADER), value);
        }
        if status == StatusCode::SERVICE_UNAVAILABLE {
            response.set(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        Ok(response)
    }
}

impl RequestSummary {
    fn add_write(&mut self, records: &[StreamRecord], written: &WriteSummary) {
        for (record, result) in records.iter().zip(&written.results) {
            let lines = record.lines.end - record.lines.start;
            if result.is_ok() {
                self.stored += lines;
            } else {
                self.failed += lines;
            }
        }
        self.retries = written.retries;
    }
}

/// Checks that the caller may access the dataset of every record for a shared stream.
///
/// The cleaner trusts the dataset in a stream key and quarantines records of another shape, so no record reaches
/// another dataset. Records that would be routed by their shape need access to all datasets.
fn check_record_access(caller: Caller<'_>, records: &[StreamRecord]) -> Result<(), ApiError> {
    for record in records {
        caller.check_access(StreamKey::parse(&record.key).and_then(|key| key.dataset))?;
    }
    Ok(())
}
