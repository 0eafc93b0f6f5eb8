//! Access control: who may call, and which datasets a caller may access.

use http::HeaderMap;
use http::header::AUTHORIZATION;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt as _};
use pinlake_platform::api_keys::{ApiKey, ApiKeys};
use pinlake_schema::CANARY;

use crate::canary;
use crate::error::ApiError;

/// The header in which API Gateway's clients send their key.
pub const API_KEY: &str = "x-api-key";
const BEARER: &[u8] = b"bearer ";
/// What an SDK that signs its requests sends before its access key id (AWS General Reference, "Signature Version 4").
const SIGNED: &[u8] = b"AWS4-HMAC-SHA256 Credential=";

/// Who may call the function.
#[derive(Debug, Clone)]
pub enum Access {
    /// Anyone who knows the URL.
    Anyone,
    /// Callers whom Lambda has authenticated with IAM (function URL with `AuthType: AWS_IAM`).
    Signed,
    /// Callers with one of these keys, each for its datasets.
    Keys(ApiKeys),
}

impl Access {
    /// Authenticates the caller of a request.
    ///
    /// # Errors
    /// [`ApiError::Unsigned`] without a signature where one is needed, [`ApiError::Unauthenticated`] without a valid
    /// key where one is needed.
    pub fn authenticate(&self, request: &Request) -> Result<Caller<'_>, ApiError> {
        match self {
            _ if canary::is_canary(request) => Ok(Caller::CANARY),
            Self::Anyone => Ok(Caller::ANONYMOUS),
            Self::Signed if is_signed(request) => Ok(Caller::ANONYMOUS),
            Self::Signed => Err(ApiError::Unsigned),
            Self::Keys(keys) => {
                let key = request_key(request.headers()).and_then(|key| keys.find(key));
                key.map(|key| Caller(Identity::Key(key))).ok_or(ApiError::Unauthenticated)
            }
        }
    }
}

/// Who sent a request, as far as datasets are concerned.
#[derive(Debug, Clone, Copy)]
pub struct Caller<'a>(Identity<'a>);

#[derive(Debug, Clone, Copy)]
enum Identity<'a> {
    Anonymous,
    Key(&'a ApiKey),
    Canary,
    Webhook,
}

impl<'a> Caller<'a> {
    /// A caller without an API key, who may access all datasets.
    pub const ANONYMOUS: Self = Self(Identity::Anonymous);

    /// The pipeline itself, which may access the dataset of its test records only.
    pub const CANARY: Self = Self(Identity::Canary);

    /// The sender of a webhook. Its path names the dataset, whose contract says how the request must be signed.
    pub const WEBHOOK: Self = Self(Identity::Webhook);

    /// The name of the caller's API key.
    pub fn key_name(self) -> Option<&'a str> {
        match self.0 {
            Identity::Key(key) => Some(key.name.as_str()),
            Identity::Anonymous | Identity::Canary | Identity::Webhook => None,
        }
    }

    /// Whether the caller may access a dataset; `None` stands for all of them.
    pub fn may_access(self, dataset: Option<&str>) -> bool {
        match self.0 {
            Identity::Anonymous => true,
            Identity::Key(key) => key.covers(dataset),
            Identity::Canary => dataset == Some(CANARY),
            Identity::Webhook => dataset.is_some(),
        }
    }

    /// Checks that the caller may access a dataset; `None` stands for all of them.
    ///
    /// # Errors
    /// [`ApiError::AccessDenied`] if not.
    pub fn check_access(self, dataset: Option<&str>) -> Result<(), ApiError> {
        if self.may_access(dataset) {
            return Ok(());
        }
        Err(ApiError::AccessDenied { dataset: dataset.map(str::to_owned) })
    }
}

/// The API key of a request, from `x-api-key`, from `Authorization: Bearer`, or the access key id of an AWS SDK. A
/// request with two keys has none, because it is not clear which of them counts.
fn request_key(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get_all(AUTHORIZATION).iter().map(|value| {
        if let Some(credential) = value.as_bytes().strip_prefix(SIGNED) {
            return credential.split(|byte| *byte == b'/').next();
        }
        let (scheme, token) = value.as_bytes().split_at_checked(BEARER.len())?;
        scheme.eq_ignore_ascii_case(BEARER).then(|| token.trim_ascii())
    });
    let mut keys = headers.get_all(API_KEY).iter().map(|value| Some(value.as_bytes())).chain(bearer);
    let first = keys.next()??;
    keys.next().is_none().then_some(first)
}

/// Whether Lambda has authenticated the caller with IAM.
fn is_signed(request: &Request) -> bool {
    let context = request.request_context_ref();
    context.and_then(RequestContext::authorizer).is_some_and(|authorizer| authorizer.iam.is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(pairs: &[(&'static str, &str)]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(*name, value.parse().unwrap());
        }
        headers
    }

    #[test]
    fn one_key_is_read_from_either_header() {
        for (pairs, expected) in [
            (&[("x-api-key", "plk_1")][..], Some("plk_1")),
            (&[("authorization", "Bearer plk_1")], Some("plk_1")),
            (&[("authorization", "bearer  plk_1 ")], Some("plk_1")),
            (
                &[(
                    "authorization",
                    "AWS4-HMAC-SHA256 Credential=plk_1/20261128/eu-west-1/kinesis/aws4_request, SignedHeaders=host, Signature=00",
                )],
                Some("plk_1"),
            ),
            (&[("authorization", "Basic plk_1")], None),
            (&[("authorization", "Bearer")], None),
            (&[("x-api-key", "plk_1"), ("x-api-key", "plk_2")], None),
            (&[("x-api-key", "plk_1"), ("authorization", "Bearer plk_1")], None),
            (&[], None),
        ] {
            assert_eq!(request_key(&headers(pairs)), expected.map(str::as_bytes), "{pairs:?}");
        }
    }
}
