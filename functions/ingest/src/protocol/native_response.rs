//! The responses of the native protocol. Protocols without responses of their own use them too.

use http::StatusCode;
use serde_json::json;

use crate::endpoint::CompletedWrite;
use crate::error::ApiError;
use crate::response::ApiResponse;

/// Encodes an error in the native style.
pub(super) fn encode_error(error: &ApiError, request_id: &str) -> ApiResponse {
    let body = json!({
        "error": error_code(error),
        "message": error.to_string(),
        "request_id": request_id,
    });
    ApiResponse::from_error(error, error.status(), body)
}

/// Encodes the result of a write: how many records were accepted, or which of them.
pub(super) fn encode_response(write: &CompletedWrite<'_>) -> (StatusCode, String) {
    let (mut accepted, mut failed) = (Vec::new(), Vec::new());
    for (record, result) in write.records.iter().zip(&write.summary.results) {
        let ranges = if result.is_ok() { &mut accepted } else { &mut failed };
        add_range(ranges, record.lines.start, record.lines.end);
    }
    if failed.is_empty() {
        let count: u64 = write.records.iter().map(|record| record.lines.end - record.lines.start).sum();
        return (StatusCode::OK, json!({ "accepted": count, "request_id": write.request_id }).to_string());
    }
    let message = "only a part of the request was stored: send the failed records again, or the whole request with the \
                   same Idempotency-Key";
    let body = json!({
        "error": "partly_stored",
        "message": message,
        "accepted": accepted,
        "failed": failed,
        "request_id": write.request_id,
    });
    (StatusCode::SERVICE_UNAVAILABLE, body.to_string())
}

/// Adds the indices from `start` to `end`, exclusive, to ranges with inclusive ends.
fn add_range(ranges: &mut Vec<[u64; 2]>, start: u64, end: u64) {
    match ranges.last_mut() {
        Some(last) if last[1] + 1 == start => last[1] = end - 1,
        _ => ranges.push([start, end - 1]),
    }
}

/// The code of an error in the body of a response.
pub(super) fn error_code(error: &ApiError) -> &'static str {
    match error {
        ApiError::MalformedJson { .. } => "malformed_json",
        ApiError::UnexpectedShape(_) => "unexpected_shape",
        ApiError::EmptyBody => "empty_body",
        ApiError::Undecodable(_)
        | ApiError::InvalidArgument(_)
        | ApiError::StreamExists(_)
        | ApiError::UnknownOperation
        | ApiError::ExpiredIterator => "bad_request",
        ApiError::Unauthenticated | ApiError::InvalidSignature(_) => "unauthenticated",
        ApiError::Unsigned
        | ApiError::WebhooksDisabled
        | ApiError::AccessDenied { .. }
        | ApiError::ReadsDisabled
        | ApiError::StreamsAreFixed => "forbidden",
        ApiError::NotFound { .. } => "not_found",
        ApiError::MethodNotAllowed { .. } => "method_not_allowed",
        ApiError::TooLarge(_) => "too_large",
        ApiError::UnsupportedMediaType(_) => "unsupported_media_type",
        ApiError::Throttled => "throttled",
        ApiError::Unavailable | ApiError::SecretUnavailable => "unavailable",
        ApiError::Paused => "paused",
        ApiError::Internal => "internal",
    }
}
