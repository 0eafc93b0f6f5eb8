//! Why a request was not served.
//!
//! A [`ApiError`] says what happened and what to do about it, in one sentence for the client; its kind decides
//! the status. Each API dresses it in its own style (`kafka_rest::error_body` and its siblings). What only the
//! operator may know (the stream's name, AWS' answers) is logged where it happens and is not in here.

use http::StatusCode;

use crate::compact::{Malformed, Position};
use crate::stream::PutErrorKind;

/// A request that was not served, or not wholly.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ApiError {
    /// The body is not JSON.
    #[error("malformed JSON at {position}: {problem}; nothing of this request was stored")]
    Malformed {
        /// Where, in the client's (decompressed) body.
        position: Position,
        /// What is wrong there.
        problem: &'static str,
    },
    /// The body is JSON, but not what this endpoint takes.
    #[error("{0}; nothing of this request was stored")]
    Shape(String),
    /// Nothing was sent.
    #[error("the body is empty: send at least one record")]
    Empty,
    /// A header, or the compression of the body, cannot be understood.
    #[error("{0}")]
    Undecodable(String),
    /// The function URL was called without a signature.
    #[error(
        "this pipeline takes no anonymous requests: sign the request with AWS Signature Version 4 (service lambda)"
    )]
    Forbidden,
    /// No API key, or none that is known.
    #[error("this pipeline takes records with an API key only: send yours in the header x-api-key")]
    Unauthenticated,
    /// The API key is good for other datasets.
    #[error(
        "this API key is not good for {}; nothing of this request was stored",
        dataset.as_ref().map_or_else(
            || "records that do not name their dataset: send them to a topic, a stream or a path of one dataset".to_owned(),
            |dataset| format!("dataset {dataset}")
        )
    )]
    OutOfScope {
        /// The dataset, where the request named one.
        dataset: Option<String>,
    },
    /// Records are not given back here.
    #[error(
        "records are not read back here: the pipeline was deployed without IngestReads=true, and its URL only takes them"
    )]
    ReadsOff,
    /// A stream would be made or removed.
    #[error(
        "streams are not made or removed here: a data contract says which there are, in its [route] streams"
    )]
    StreamsAreGiven,
    /// A stream would be made that there is.
    #[error(
        "stream '{0}' is there already: a data contract routes it, and its shards are the pipeline's own"
    )]
    StreamExists(String),
    /// A part of the path, the query or a header is not what this endpoint takes.
    #[error("{0}")]
    Argument(String),
    /// A shard iterator is too old.
    #[error("the shard iterator is older than five minutes: get another one")]
    ExpiredIterator,
    /// No such topic, stream, dataset or path.
    #[error("{kind} '{name}' is not known here: {remedy}")]
    Unknown {
        /// "topic", "partition", "stream", "shard", "dataset" or "path".
        kind: &'static str,
        /// As the client wrote it.
        name: String,
        /// What would have been known.
        remedy: String,
    },
    /// The path is right and the method is not.
    #[error("method {method} is not offered here, but {allow}")]
    Method {
        /// What was tried.
        method: String,
        /// What the `Allow` header lists.
        allow: String,
    },
    /// More than a limit allows.
    #[error("{0}; nothing of this request was stored")]
    TooLarge(String),
    /// A type or an encoding that this endpoint does not read.
    #[error("{0}")]
    MediaType(String),
    /// The stream had no room for any record, for as long as was reasonable to wait.
    #[error("the stream is busy at the moment; nothing of this request is known to be stored: send it again")]
    Throttled,
    /// The stream could not be reached.
    #[error(
        "the stream cannot be reached at the moment; nothing of this request is known to be stored: send it again"
    )]
    Unavailable,
    /// The pipeline itself is set up wrongly or broken.
    #[error(
        "the pipeline cannot take records at the moment because of a fault of its own, which is in its log"
    )]
    Internal,
}

/// What a client is told of a stream that refused.
impl From<PutErrorKind> for ApiError {
    fn from(kind: PutErrorKind) -> Self {
        match kind {
            PutErrorKind::Throttled => Self::Throttled,
            PutErrorKind::Unavailable => Self::Unavailable,
            PutErrorKind::Permanent => Self::Internal,
        }
    }
}

impl ApiError {
    /// A mistake in `body`, located for the client.
    pub fn malformed(body: &[u8], mistake: Malformed) -> Self {
        Self::Malformed { position: Position::from_offset(body, mistake.at), problem: mistake.problem }
    }

    /// The HTTP status.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Malformed { .. }
            | Self::Shape(_)
            | Self::Empty
            | Self::Undecodable(_)
            | Self::StreamExists(_)
            | Self::Argument(_)
            | Self::ExpiredIterator => StatusCode::BAD_REQUEST,
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Forbidden | Self::OutOfScope { .. } | Self::ReadsOff | Self::StreamsAreGiven => {
                StatusCode::FORBIDDEN
            }
            Self::Unknown { .. } => StatusCode::NOT_FOUND,
            Self::Method { .. } => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::MediaType(_) => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Throttled => StatusCode::TOO_MANY_REQUESTS,
            Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    /// The same request may well succeed in a moment.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Throttled | Self::Unavailable)
    }

    /// Where the body stops being JSON, if that is the matter.
    pub fn position(&self) -> Option<Position> {
        match self {
            Self::Malformed { position, .. } => Some(*position),
            _ => None,
        }
    }

    /// The same for the log, without what the client wrote: names, headers and methods may hold secrets.
    pub fn for_log(&self) -> String {
        match self {
            Self::Unknown { kind, .. } => format!("there is no such {kind}"),
            Self::Method { allow, .. } => format!("the method is not offered here; allowed: '{allow}'"),
            Self::StreamExists(_) => "a stream that is there would be made".to_owned(),
            Self::MediaType(_) => "the Content-Type or Content-Encoding is not read here".to_owned(),
            // These speak of lines, indices and limits only.
            other => other.to_string(),
        }
    }
}

/// What stops the reading of a body: bad JSON at a place, or anything else.
///
/// Parsers use it inside; [`ParseError::in_body`] turns it into a [`ApiError`] once the whole body is at hand.
#[derive(Debug)]
pub enum ParseError {
    /// Not JSON.
    Malformed(Malformed),
    /// Another reason.
    Rejected(ApiError),
}

impl ParseError {
    /// For the client whose body this was.
    pub fn in_body(self, body: &[u8]) -> ApiError {
        match self {
            Self::Malformed(mistake) => ApiError::malformed(body, mistake),
            Self::Rejected(rejection) => rejection,
        }
    }
}

impl From<Malformed> for ParseError {
    fn from(mistake: Malformed) -> Self {
        Self::Malformed(mistake)
    }
}

impl From<ApiError> for ParseError {
    fn from(rejection: ApiError) -> Self {
        Self::Rejected(rejection)
    }
}
