//! Request ids, which are part of the stream keys of a request's records.
//!
//! A client may choose the id with an `Idempotency-Key` and repeat the request under it. Such a key can be guessed, and
//! two callers may choose the same one, so the id also contains a hash of the caller. Without authentication all
//! clients are one caller.

use std::fmt::Write;

use http::HeaderMap;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt};
use pinlake_schema::stream_key::BEFORE_CALLER;
use sha2::{Digest, Sha256};

use crate::access::Caller;
use crate::error::ApiError;
use crate::webhook::Delivery;

/// The header with the client's id of a request.
pub const IDEMPOTENCY_KEY: &str = "idempotency-key";
/// The maximum number of characters in an Idempotency-Key.
pub const MAX_IDEMPOTENCY_KEY: usize = 128;

/// What stands in place of a caller in the id of a webhook's delivery: no caller has such an identity.
const WEBHOOK: &str = "webhook:";

/// Bytes of the caller's hash.
const CALLER_BYTES: usize = 8;

/// The id of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RequestId {
    /// The id that the client sees: its Idempotency-Key, or else Lambda's request id.
    pub client: String,
    /// The id in the stream keys: `<client>`, or `<client>@<caller>` if the client chose it and is authenticated.
    pub stored: String,
}

impl RequestId {
    /// The id of a request.
    ///
    /// # Errors
    /// [`ApiError::Undecodable`] for an invalid Idempotency-Key, [`ApiError::Internal`] if Lambda gave the request no
    /// id.
    pub fn from_request(request: &Request, caller: Caller<'_>) -> Result<Self, ApiError> {
        let Some(key) = idempotency_key(request.headers())? else {
            let id = lambda_request_id(request).ok_or(ApiError::Internal)?;
            return Ok(Self { client: id.to_owned(), stored: id.to_owned() });
        };
        let mut stored = key.to_owned();
        if let Some(caller) = caller_identity(request, caller) {
            stored.push(BEFORE_CALLER);
            push_hash(&mut stored, &caller, CALLER_BYTES);
        }
        Ok(Self { client: key.to_owned(), stored })
    }

    /// The id of a webhook's delivery: that of the provider, so that a delivery that is sent again is the same records.
    /// An Idempotency-Key, which is not signed, has no effect.
    ///
    /// # Errors
    /// [`ApiError::Internal`] if neither the provider nor Lambda gave the request an id.
    pub fn from_delivery(request: &Request, delivery: &Delivery, dataset: &str) -> Result<Self, ApiError> {
        let Some(delivery) = &delivery.id else {
            let id = lambda_request_id(request).ok_or(ApiError::Internal)?;
            return Ok(Self { client: id.to_owned(), stored: id.to_owned() });
        };
        let mut client = delivery.clone();
        if !is_key(delivery) {
            client.clear();
            push_hash(&mut client, delivery, 16);
        }
        let mut stored = client.clone();
        stored.push(BEFORE_CALLER);
        push_hash(&mut stored, &format!("{WEBHOOK}{dataset}"), CALLER_BYTES);
        Ok(Self { client, stored })
    }
}

/// Appends the first bytes of a text's hash, in hexadecimal.
fn push_hash(id: &mut String, text: &str, bytes: usize) {
    for byte in &Sha256::digest(text)[..bytes] {
        // Writing to memory does not fail.
        let _ = write!(id, "{byte:02x}");
    }
}

fn is_key(key: &str) -> bool {
    (1..=MAX_IDEMPOTENCY_KEY).contains(&key.len())
        && key.bytes().all(|b| b.is_ascii_alphanumeric() || b"._:-".contains(&b))
}

fn idempotency_key(headers: &HeaderMap) -> Result<Option<&str>, ApiError> {
    let Some(key) = headers.get(IDEMPOTENCY_KEY) else { return Ok(None) };
    key.to_str().ok().filter(|key| is_key(key)).map(Some).ok_or_else(|| {
        ApiError::Undecodable(format!(
            "invalid Idempotency-Key: use 1 to {MAX_IDEMPOTENCY_KEY} letters, digits and . _ : -; nothing of this \
             request was stored"
        ))
    })
}

/// The API key or IAM principal that sent the request. For an assumed role it is the role without the session, because
/// a retry may come from another session (IAM User Guide, "IAM identifiers": `<role id>:<session name>`).
fn caller_identity(request: &Request, caller: Caller<'_>) -> Option<String> {
    if let Some(name) = caller.key_name() {
        return Some(format!("key:{name}"));
    }
    let context = request.request_context_ref();
    let iam = context.and_then(RequestContext::authorizer)?.iam.as_ref()?;
    let id = iam.user_id.as_deref().or(iam.user_arn.as_deref()).or(iam.access_key.as_deref())?;
    let is_arn = id.starts_with("arn:");
    Some(format!("iam:{}", if is_arn { id } else { id.split(':').next().unwrap_or(id) }))
}

/// The id of the invocation, or else of the HTTP request.
pub fn lambda_request_id(request: &Request) -> Option<&str> {
    let invocation = request.lambda_context_ref().map(|context| context.request_id.as_str());
    let http = || match request.request_context_ref() {
        Some(RequestContext::ApiGatewayV2(context)) => context.request_id.as_deref(),
        _ => None,
    };
    // A slash would break the stream key. Neither id should have one.
    invocation.filter(|id| !id.is_empty()).or_else(http).filter(|id| !id.is_empty() && !id.contains('/'))
}
