//! The id under which the records of a request are stored.
//!
//! A client may name a request (`Idempotency-Key`) and send it again under that name. The name alone is guessable, and two
//! callers may choose the same: so the caller belongs to the id. Where nobody authenticates there is one caller, everybody.

use std::fmt::Write;

use http::HeaderMap;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};
use pinlake_platform::api_keys::ApiKey;
use pinlake_schema::stream_key::BEFORE_CALLER;
use sha2::{Digest, Sha256};

use crate::error::ApiError;

/// The client's own id of a request.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The most characters in an Idempotency-Key.
pub const MAX_IDEMPOTENCY_KEY: usize = 128;

/// Bytes of the hash that stands for a caller.
const CALLER_BYTES: usize = 8;

/// The id of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId {
    /// As the client knows it: its own, or else Lambda's.
    pub shown: String,
    /// As its records are stored: `<shown>`, or `<shown>@<caller>` where the client has named the request and is known.
    pub stored: String,
}

impl RequestId {
    /// The id of `request`, which `key` has let in.
    ///
    /// # Errors
    /// When the client's own is none, or there is no id at all.
    pub fn of(request: &Request, key: Option<&ApiKey>) -> Result<Self, ApiError> {
        let Some(named) = own(request.headers())? else {
            let id = lambda_id(request).ok_or(ApiError::Internal)?;
            return Ok(Self { shown: id.to_owned(), stored: id.to_owned() });
        };
        let mut stored = named.to_owned();
        if let Some(caller) = caller(request, key) {
            stored.push(BEFORE_CALLER);
            for byte in &Sha256::digest(caller)[..CALLER_BYTES] {
                // Writing to memory does not fail.
                let _ = write!(stored, "{byte:02x}");
            }
        }
        Ok(Self { shown: named.to_owned(), stored })
    }
}

/// The client's own id.
fn own(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    let fits = |key: &&str| {
        (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len())
            && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
    };
    key.to_str().ok().filter(fits).map(Some).ok_or_else(|| {
        ApiError::Undecodable(format!(
            "an Idempotency-Key has 1 to {MAX_IDEMPOTENCY_KEY} letters, digits and . _ : -; nothing of this \
             request was stored"
        ))
    })
}

/// Who sent the request: the name of an API key, or the principal that IAM has authenticated. Of an assumed role it is the role,
/// because a retry may come from another session (IAM User Guide, "IAM identifiers": `<role id>:<session name>`).
fn caller(request: &Request, key: Option<&ApiKey>) -> Option<String> {
    if let Some(key) = key {
        return Some(format!("key:{}", key.name));
    }
    let context = request.request_context_ref();
    let iam = context.and_then(RequestContext::authorizer)?.iam.as_ref()?;
    let id = iam.user_id.as_deref().or(iam.user_arn.as_deref()).or(iam.access_key.as_deref())?;
    let is_arn = id.starts_with("arn:");
    Some(format!("iam:{}", if is_arn { id } else { id.split(':').next().unwrap_or(id) }))
}

/// The id of the invocation, or of the HTTP request where there is no invocation around it.
pub fn lambda_id(request: &Request) -> Option<&str> {
    let invocation = request.lambda_context_ref().map(|context| context.request_id.as_str());
    let http = || match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.as_deref(),
        _ => None,
    };
    // A slash would break the stream key; neither id ever has one.
    invocation.filter(|id| !id.is_empty()).or_else(http).filter(|id| !id.is_empty() && !id.contains('/'))
}
