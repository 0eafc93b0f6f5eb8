//! Errors that a caller sees. `Display` is the message to the caller; what only the operator may see is logged where it
//! occurs.

use http::StatusCode;

/// Why a request failed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum ReportError {
    /// The function URL was called without a signature.
    #[error("this report is for signed requests only: sign with AWS Signature Version 4 (service lambda)")]
    Unsigned,
    /// The API key is missing or unknown.
    #[error("missing or unknown API key: send a valid key in the header x-api-key")]
    Unauthenticated,
    /// The caller may not see this.
    #[error("{0}")]
    AccessDenied(&'static str),
    /// No such path, result, run or dataset.
    #[error("{kind} '{name}' not found: {hint}")]
    NotFound {
        /// "path", "result", "run" or "dataset".
        kind: &'static str,
        /// As the caller wrote it.
        name: String,
        /// What exists instead.
        hint: &'static str,
    },
    /// The path does not support the method.
    #[error("method not allowed, allowed: {0}")]
    MethodNotAllowed(&'static str),
    /// A parameter is invalid.
    #[error("{0}")]
    InvalidArgument(String),
    /// The response would be larger than Lambda allows.
    #[error("the response is too large: ask for fewer rows with offset and limit, or accept gzip")]
    TooLarge,
    /// The lake or the stored results cannot be read now.
    #[error("{0} cannot be read now: ask again later")]
    Unavailable(&'static str),
}

impl ReportError {
    /// The status of the response.
    pub fn status(&self) -> StatusCode {
        match self {
            Self::Unauthenticated => StatusCode::UNAUTHORIZED,
            Self::Unsigned | Self::AccessDenied(_) => StatusCode::FORBIDDEN,
            Self::NotFound { .. } => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::InvalidArgument(_) | Self::TooLarge => StatusCode::BAD_REQUEST,
            Self::Unavailable(_) => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The code for programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Unauthenticated => "unauthenticated",
            Self::Unsigned => "unsigned",
            Self::AccessDenied(_) => "access_denied",
            Self::NotFound { .. } => "not_found",
            Self::MethodNotAllowed(_) => "method_not_allowed",
            Self::InvalidArgument(_) => "invalid_argument",
            Self::TooLarge => "response_too_large",
            Self::Unavailable(_) => "unavailable",
        }
    }
}
