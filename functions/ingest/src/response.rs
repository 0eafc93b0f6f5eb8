//! What a client gets: a status, headers, a JSON body, in the style of the API that it spoke.

use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::error::ApiError;
use crate::router::Api;
use crate::{kafka_rest, kinesis_api, native, openapi};

const ERROR_TYPE: HeaderName = HeaderName::from_static("x-amzn-errortype");

/// The media type of every answer of an API.
pub fn content_type(api: Api) -> HeaderValue {
    HeaderValue::from_static(match api {
        Api::Kafka => "application/vnd.kafka.v2+json",
        Api::Kinesis | Api::Native => "application/json",
    })
}

/// What a client gets.
pub struct ApiResponse {
    /// Its status.
    pub status: StatusCode,
    /// Its headers.
    pub headers: HeaderMap,
    /// Its body, JSON.
    pub body: String,
    /// Why the request was not served, for the log.
    pub rejected: Option<String>,
}

impl ApiResponse {
    /// A request that was served.
    pub fn new(status: StatusCode, body: &Value) -> Self {
        Self { status, headers: HeaderMap::new(), body: body.to_string(), rejected: None }
    }

    /// The OpenAPI document.
    pub fn openapi() -> Self {
        let body = openapi::DOCUMENT.to_owned();
        Self { status: StatusCode::OK, headers: HeaderMap::new(), body, rejected: None }
    }

    /// A request that was not served, in the style of the API that it spoke.
    pub fn rejection(api: Api, rejection: &ApiError, request_id: &str) -> Self {
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
        let mut answer = Self { rejected: Some(rejection.for_log()), ..Self::new(status, &body) };
        if api == Api::Kinesis {
            answer.set(ERROR_TYPE, HeaderValue::from_static(kinesis_api::exception(rejection)));
        }
        if let ApiError::Unauthenticated = rejection {
            answer.set(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"pinlake\""));
        }
        if let ApiError::Method { allow, .. } = rejection
            && let Ok(allow) = HeaderValue::try_from(allow)
        {
            answer.set(ALLOW, allow);
        }
        if rejection.is_transient() {
            answer.set(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        answer
    }

    /// Adds a header.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.insert(name, value);
    }
}
