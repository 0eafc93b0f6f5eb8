//! Access to the function URLs: who may call. What a caller may reach is decided by each function, with
//! [`ApiKey::covers`].

use http::HeaderMap;
use http::header::AUTHORIZATION;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt as _};
use pinlake_schema::Catalog;

use crate::api_keys::{ApiKey, ApiKeys, EntryError};
use crate::settings::{self, SettingError};

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

/// The settings of the access contradict each other or are invalid. The function does not start.
#[derive(Debug, thiserror::Error)]
pub enum AccessSettingError {
    /// An entry of the keys is invalid.
    #[error(transparent)]
    Entry(#[from] EntryError),
    /// A setting cannot be parsed.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Keys would have no effect.
    #[error("PINLAKE_ANONYMOUS and PINLAKE_API_KEYS are both set: unset one of them")]
    Contradiction,
}

/// Why a caller was rejected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Rejection {
    /// The request is not signed.
    Unsigned,
    /// The API key is missing or unknown.
    Unauthenticated,
}

impl Access {
    /// API keys if there are any, else signatures; anonymous access only if it is enabled. With `is_url_open` the URL
    /// accepts every request, so Lambda checks no signatures, and callers need API keys.
    ///
    /// # Errors
    /// See [`AccessSettingError`].
    pub fn from_settings(catalog: &Catalog, is_url_open: bool) -> Result<Self, AccessSettingError> {
        let keys = ApiKeys::parse(&settings::optional("PINLAKE_API_KEYS").unwrap_or_default(), catalog)?;
        Ok(match (settings::parse_or("PINLAKE_ANONYMOUS", false)?, keys.is_empty()) {
            (true, true) => Self::Anyone,
            (true, false) => return Err(AccessSettingError::Contradiction),
            (false, true) if !is_url_open => Self::Signed,
            (false, _) => Self::Keys(keys),
        })
    }

    /// Authenticates the caller of a request who presents `key`. Returns the entry of the key, if keys are needed.
    ///
    /// # Errors
    /// [`Rejection::Unsigned`] without a signature where one is needed, [`Rejection::Unauthenticated`] without a valid
    /// key where one is needed.
    pub fn authenticate(&self, request: &Request, key: Option<&[u8]>) -> Result<Option<&ApiKey>, Rejection> {
        match self {
            Self::Anyone => Ok(None),
            Self::Signed if is_signed(request) => Ok(None),
            Self::Signed => Err(Rejection::Unsigned),
            Self::Keys(keys) => {
                key.and_then(|key| keys.find(key)).map(Some).ok_or(Rejection::Unauthenticated)
            }
        }
    }
}

/// The API key of a request, from `x-api-key`, from `Authorization: Bearer`, or the access key id of an AWS SDK. A
/// request with two keys has none, because it is not clear which of them counts.
pub fn request_key(headers: &HeaderMap) -> Option<&[u8]> {
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
