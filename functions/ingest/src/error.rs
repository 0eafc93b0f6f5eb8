//! Errors that a client sees.
//!
//! The kind of an [`ApiError`] decides the status, its `Display` is the message to the client, and
//! [`ApiError::log_message`] is the text for the log, without anything that the client wrote. Each protocol encodes it
//! in its own style. What only the operator may see (the stream's name, the messages of AWS) is logged where it occurs.

use http::StatusCode;

use crate::json_reader::{Malformed, Position};
use crate::packing::RecordTooLarge;
use crate::stream::StreamErrorKind;

/// The reason why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The body is not JSON.
    #[error("malformed JSON at {position}: {problem}; nothing of this request was stored")]
    MalformedJson {
        /// Where, in the decompressed body.
        position: Position,
        /// What is wrong there.
        problem: &'static str,
    },
    /// The body is JSON, but not of the form that the endpoint expects.
    #[error("{0}; nothing of this request was stored")]
    UnexpectedShape(String),
    /// The body is empty.
    #[error("the body is empty: send at least one record")]
    EmptyBody,
    /// A header is invalid, or the body cannot be decompressed.
    #[error("{0}")]
    Undecodable(String),
    /// The function URL was called without a signature.
    #[error("this pipeline accepts signed requests only: sign with AWS Signature Version 4 (service lambda)")]
    Unsigned,
    /// The API key is missing or unknown.
    #[error("missing or unknown API key: send a valid key in the header x-api-key")]
    Unauthenticated,
    /// A webhook is not signed, or its signature is wrong.
    #[error(
        "this webhook is not signed as the data contract demands: {0}; nothing of this request was stored"
    )]
    InvalidSignature(&'static str),
    /// A webhook was called, and none is enabled.
    #[error(
        "webhooks are disabled: deploy the pipeline with WebhookParameters or WebhookSecrets to enable them"
    )]
    WebhooksDisabled,
    /// The secret of a webhook cannot be read now.
    #[error("the secret of this webhook is not available; nothing of this request was stored: send it again")]
    SecretUnavailable,
    /// The API key is limited to other datasets.
    #[error(
        "this API key does not grant access to {}; nothing of this request was stored",
        dataset.as_ref().map_or_else(
            || "records that do not name their dataset: use a topic, stream or path of one dataset".to_owned(),
            |dataset| format!("dataset {dataset}")
        )
    )]
    AccessDenied {
        /// The dataset, if the request named one.
        dataset: Option<String>,
    },
    /// Reading records back is disabled.
    #[error("reading records back is disabled: deploy the pipeline with IngestReads=true to enable it")]
    ReadsDisabled,
    /// A client wants to create or delete a stream.
    #[error(
        "streams cannot be created or deleted here: add the stream to [route] streams of a data contract"
    )]
    StreamsAreFixed,
    /// A client wants to create a stream that exists.
    #[error(
        "stream '{0}' exists already: a data contract routes it, and its shards are managed by the pipeline"
    )]
    StreamExists(String),
    /// The target of a request to the Kinesis API is not offered.
    #[error(
        "unknown operation: send X-Amz-Target: Kinesis_20131202.PutRecord or Kinesis_20131202.PutRecords, with JSON; \
         records are also taken by POST /v1/<dataset>, POST /topics/<topic> and PUT /streams/<stream>/record"
    )]
    UnknownOperation,
    /// A part of the path, the query string or a header is invalid.
    #[error("{0}")]
    InvalidArgument(String),
    /// A shard iterator is too old.
    #[error("the shard iterator is older than five minutes: request a new one")]
    ExpiredIterator,
    /// No such topic, partition, stream, shard, dataset or path.
    #[error("{kind} '{name}' not found: {hint}")]
    NotFound {
        /// "topic", "partition", "stream", "shard", "dataset", "webhook" or "path".
        kind: &'static str,
        /// As the client wrote it.
        name: String,
        /// Why, or what exists instead.
        hint: String,
    },
    /// The path does not support the method.
    #[error("method {method} not allowed, allowed: {allowed}")]
    MethodNotAllowed {
        /// The method of the request.
        method: String,
        /// The value of the `Allow` header.
        allowed: String,
    },
    /// A limit is exceeded.
    #[error("{0}; nothing of this request was stored")]
    TooLarge(String),
    /// The Content-Type or Content-Encoding is not supported.
    #[error("{0}")]
    UnsupportedMediaType(String),
    /// The stream throttled every record for as long as the request could wait.
    #[error("the stream is busy; nothing of this request is known to be stored: send it again")]
    Throttled,
    /// The stream could not be reached.
    #[error("the stream is not available; nothing of this request is known to be stored: send it again")]
    Unavailable,
    /// The operator has paused ingestion.
    #[error("ingestion is paused by the operator; nothing of this request was stored: send it again later")]
    Paused,
    /// The pipeline is misconfigured or has a bug.
    #[error("internal error of the pipeline: see the log of the function")]
    Internal,
}

impl From<StreamErrorKind> for ApiError {
    fn from(kind: StreamErrorKind) -> Self {
        match kind {
            StreamErrorKind::Throttled => Self::Throttled,
            StreamErrorKind::Unavailable => Self::Unavailable,
            StreamErrorKind::Permanent => Self::Internal,
        }
    }
}

impl From<RecordTooLarge> for ApiError {
    fn from(error: RecordTooLarge) -> Self {
        Self::TooLarge(error.to_string())
    }
}

impl ApiError {
    /// Malformed JSON in `body`.
    pub fn from_malformed(body: &[u8], malformed: Malformed) -> Self {
        Self::MalformedJson {
            position: Position::from_offset(body, malformed.at),
            problem: malformed.problem,
        }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::MalformedJson { .. }
            | Self::UnexpectedShape(_)
            | Self::EmptyBody
            | Self::Undecodable(_)
            | Self::StreamExists(_)
            | Self::InvalidArgument(_)
            | Self::UnknownOperation
            | Self::ExpiredIterator => StatusCode::BAD_REQUEST,
            Self::Unauthenticated | Self::InvalidSignature(_) => StatusCode::UNAUTHORIZED,
            Self::WebhooksDisabled
            | Self::Unsigned
            | Self::AccessDenied { .. }
            | Self::ReadsDisabled
            | Self::StreamsAreFixed => StatusCode::FORBIDDEN,
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Throttled => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable | Self::SecretUnavailable | Self::Paused => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The seconds after which the same request may succeed, for the header `Retry-After`.
    pub fn retry_after(&self) -> Option<u16> {
        match self {
            Self::Throttled | Self::Unavailable => Some(1),
            Self::SecretUnavailable => Some(5),
            Self::Paused => Some(60),
            _ => None,
        }
    }

    /// Where the body stops being JSON.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::MalformedJson { position, .. } => Some(*position),
            _ => None,
        }
    }

    /// The message for the log. It omits what the client wrote: names, headers and methods may contain secrets.
    pub fn log_message(&self) -> String {
        match self {
            Self::NotFound { kind, .. } => format!("{kind} not found"),
            Self::MethodNotAllowed { allowed, .. } => format!("method not allowed, allowed: {allowed}"),
            Self::StreamExists(_) => "the stream exists already".to_owned(),
            Self::UnsupportedMediaType(_) => "unsupported Content-Type or Content-Encoding".to_owned(),
            // These contain lines, indices and limits only.
            other => other.to_string(),
        }
    }
}

/// Why the decoding of a body stopped. The position of malformed JSON is still an offset in the text that the parser
/// saw; [`ParseError::into_api_error`] locates it in the body.
#[derive(Debug)]
pub enum ParseError {
    /// Not JSON.
    Malformed(Malformed),
    /// Another error.
    Rejected(ApiError),
}

impl ParseError {
    /// The error for the client that sent `body`.
    pub fn into_api_error(self, body: &[u8]) -> ApiError {
        match self {
            Self::Malformed(malformed) => ApiError::from_malformed(body, malformed),
            Self::Rejected(error) => error,
        }
    }
}

impl From<Malformed> for ParseError {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(malformed)
    }
}

impl From<ApiError> for ParseError {
    fn from(error: ApiError) -> Self {
        Self::Rejected(error)
    }
}

impl From<RecordTooLarge> for ParseError {
    fn from(error: RecordTooLarge) -> Self {
        Self::Rejected(error.into())
    }
}
