//! A response before it becomes HTTP: status, headers and a JSON body.

use http::header::{ALLOW, RETRY_AFTER, WWW_AUTHENTICATE};
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use serde_json::{Value, json};

use crate::error::ApiError;

/// A response to a client.
#[derive(Debug)]
pub struct ApiResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers, without Content-Type.
    pub headers: HeaderMap,
    /// The body, JSON.
    pub body: String,
    /// The error for the log, if the request failed.
    pub error: Option<String>,
}

impl ApiResponse {
    /// A response without headers.
    pub fn new(status: StatusCode, body: String) -> Self {
        Self { status, headers: HeaderMap::new(), body, error: None }
    }

    /// A response to a request that failed. `body` is the error in the style of its protocol.
    ///
    /// Adds what all protocols share: the position of malformed JSON, and the headers that HTTP demands.
    pub fn from_error(error: &ApiError, status: StatusCode, mut body: Value) -> Self {
        // The old APIs had no such members. Programs use them to drop the broken line and continue.
        if let Some(position) = error.position() {
            body["line"] = json!(position.line);
            body["column"] = json!(position.column);
        }
        let mut response = Self::new(status, body.to_string());
        response.error = Some(error.log_message());
        if let ApiError::Unauthenticated = error {
            response.set(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer realm=\"pinlake\""));
        }
        if let ApiError::InvalidSignature(_) = error {
            response.set(WWW_AUTHENTICATE, HeaderValue::from_static("Webhook realm=\"pinlake\""));
        }
        if let ApiError::MethodNotAllowed { allowed, .. } = error
            && let Ok(allowed) = HeaderValue::try_from(allowed)
        {
            response.set(ALLOW, allowed);
        }
        if let Some(seconds) = error.retry_after() {
            response.set(RETRY_AFTER, HeaderValue::from(seconds));
        }
        response
    }

    /// Sets a header.
    pub fn set(&mut self, name: HeaderName, value: HeaderValue) {
        self.headers.insert(name, value);
    }
}
