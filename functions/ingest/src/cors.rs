//! Cross-origin resource sharing: lets web pages of other origins send records.
//!
//! Source: the Fetch standard, "HTTP extensions", "CORS protocol". Credentials such as cookies are never allowed:
//! callers send an API key, or none. A page that uses `navigator.sendBeacon` sends `text/plain` and needs no
//! permission, because it does not read the response.

use http::header::{
    ACCESS_CONTROL_ALLOW_HEADERS, ACCESS_CONTROL_ALLOW_METHODS, ACCESS_CONTROL_ALLOW_ORIGIN,
    ACCESS_CONTROL_EXPOSE_HEADERS, ACCESS_CONTROL_MAX_AGE, ACCESS_CONTROL_REQUEST_METHOD, ORIGIN, VARY,
};
use http::{HeaderValue, Method, StatusCode};
use lambda_http::Request;

use crate::protocol::Route;
use crate::response::ApiResponse;

/// The headers that a page may send.
const ALLOWED_HEADERS: HeaderValue = HeaderValue::from_static(
    "content-type, content-encoding, idempotency-key, x-api-key, authorization, x-amz-target, x-amz-date, shard-iterator",
);
/// The headers of a response that a page may read.
const EXPOSED_HEADERS: HeaderValue = HeaderValue::from_static("pinlake-ack, retry-after, x-amzn-errortype");
/// How long a browser remembers a permission, in seconds: as long as Chromium does at most.
const MAX_AGE: HeaderValue = HeaderValue::from_static("7200");
/// The most origins in the setting.
const MAX_ORIGINS: usize = 64;

/// The origins of the web pages that may call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Cors {
    /// Origins such as `https://shop.example`, or `*`.
    origins: Vec<String>,
}

impl Cors {
    /// Parses origins separated by commas, or `*` for any.
    ///
    /// # Errors
    /// A message that names the text that is no origin.
    pub fn parse(text: &str) -> Result<Self, String> {
        let origins: Vec<String> =
            text.split(',').map(str::trim).filter(|origin| !origin.is_empty()).map(str::to_owned).collect();
        let is_origin = |origin: &str| {
            let host = origin.strip_prefix("https://").or_else(|| origin.strip_prefix("http://"));
            let is_name = |byte: u8| byte.is_ascii_alphanumeric() || b".:-[]".contains(&byte);
            origin == "*" || host.is_some_and(|host| !host.is_empty() && host.bytes().all(is_name))
        };
        if let Some(wrong) = origins.iter().find(|origin| !is_origin(origin)) {
            return Err(format!("'{wrong}' is no origin: write https://shop.example, without a path, or *"));
        }
        if origins.len() > MAX_ORIGINS {
            return Err(format!("{} origins: write at most {MAX_ORIGINS}, or *", origins.len()));
        }
        Ok(Self { origins })
    }

    /// The value of `Access-Control-Allow-Origin`; `None` if the page may not call.
    fn allowed_origin(&self, request: &Request) -> Option<HeaderValue> {
        let origin = request.headers().get(ORIGIN)?;
        if self.origins.iter().any(|own| own == "*") {
            return Some(HeaderValue::from_static("*"));
        }
        self.origins.iter().any(|own| own.as_bytes() == origin.as_bytes()).then(|| origin.clone())
    }

    /// Answers a preflight request of a page that may call; `None` for other requests.
    pub fn preflight(&self, request: &Request, route: &Route) -> Option<ApiResponse> {
        let is_preflight = request.method() == Method::OPTIONS
            && request.headers().contains_key(ACCESS_CONTROL_REQUEST_METHOD);
        self.allowed_origin(request).filter(|_| is_preflight)?;
        let methods: Vec<&str> = route.endpoint?.methods.iter().map(|method| method.name).collect();
        let mut response = ApiResponse::new(StatusCode::NO_CONTENT, String::new());
        response.set(ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::try_from(methods.join(", ")).ok()?);
        response.set(ACCESS_CONTROL_ALLOW_HEADERS, ALLOWED_HEADERS);
        response.set(ACCESS_CONTROL_MAX_AGE, MAX_AGE);
        Some(response)
    }

    /// Lets the page that sent a request read its response, if it may call.
    pub fn allow(&self, request: &Request, response: &mut ApiResponse) {
        if self.origins.is_empty() {
            return;
        }
        // Also without permission: a cache must not give one page the response of another.
        response.set(VARY, HeaderValue::from_static("origin"));
        if let Some(origin) = self.allowed_origin(request) {
            response.set(ACCESS_CONTROL_ALLOW_ORIGIN, origin);
            response.set(ACCESS_CONTROL_EXPOSE_HEADERS, EXPOSED_HEADERS);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn origins_are_checked() {
        assert_eq!(Cors::parse(" ").unwrap(), Cors::default());
        assert_eq!(Cors::parse("https://a.example, http://localhost:3000").unwrap().origins.len(), 2);
        for wrong in [
            "a.example",
            "https://",
            "https://a.example/",
            "https://a.example/x",
            "null",
            "https://*.a.example",
        ] {
            assert!(Cors::parse(wrong).unwrap_err().contains(wrong), "{wrong}");
        }
    }
}
