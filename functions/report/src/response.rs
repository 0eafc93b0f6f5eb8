//! Responses: content, entity tags, caching, compression, and the headers that keep a page safe.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::header::{
    ACCEPT_ENCODING, ALLOW, CACHE_CONTROL, CONTENT_DISPOSITION, CONTENT_ENCODING, CONTENT_SECURITY_POLICY,
    CONTENT_TYPE, ETAG, IF_NONE_MATCH, LOCATION, REFERRER_POLICY, RETRY_AFTER, SET_COOKIE, VARY,
    WWW_AUTHENTICATE, X_CONTENT_TYPE_OPTIONS,
};
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode};
use lambda_http::{Body, Request, Response};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use crate::error::ReportError;

/// Largest body. A response of Lambda has at most 6 MB, in which bytes are base64 (Lambda Developer Guide, "Lambda
/// quotas").
const MAX_BODY_BYTES: usize = 4_400_000;
/// Longest body that is sent as a text, in which Lambda escapes quotes. Longer ones are sent as bytes.
const MAX_TEXT_BYTES: usize = 1 << 20;
/// Bodies below it are not compressed.
const MIN_COMPRESSED_BYTES: usize = 1024;

/// How long a body may be used again.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Freshness {
    /// The server is asked each time, and answers 304 if nothing changed.
    Revalidate,
    /// It never changes: the results of a run.
    Final,
}

/// A successful answer.
#[derive(Debug)]
pub(crate) struct Answer {
    pub content_type: &'static str,
    pub body: Vec<u8>,
    /// What the entity tag is made of, if not of the whole body: a time in it does not make a new version.
    pub version: Option<Vec<u8>>,
    pub freshness: Freshness,
    /// Name of the file that a browser stores.
    pub file: Option<String>,
    /// The Content-Security-Policy of a page.
    pub policy: Option<String>,
    pub status: StatusCode,
}

impl Answer {
    pub fn new(content_type: &'static str, body: impl Into<Vec<u8>>) -> Self {
        Self {
            content_type,
            body: body.into(),
            version: None,
            freshness: Freshness::Revalidate,
            file: None,
            policy: None,
            status: StatusCode::OK,
        }
    }

    pub fn json(body: &Value) -> Self {
        Self::new("application/json", body.to_string())
    }

    /// A page with its policy. `form_action` is where its forms may be sent.
    pub fn page(html: String, form_action: &str) -> Self {
        let policy = pinlake_report::content_security_policy();
        let policy = policy.replace("form-action 'none'", &format!("form-action {form_action}"));
        let policy = Some(format!("{policy}; frame-ancestors 'none'"));
        Self { policy, ..Self::new("text/html; charset=utf-8", html) }
    }

    pub fn with_status(self, status: StatusCode) -> Self {
        Self { status, ..self }
    }
}

/// Encodes an answer for a request.
pub(crate) fn encode(request: &Request, answer: Answer) -> Response<Body> {
    let mut headers = HeaderMap::new();
    let tagged = answer.version.as_ref().unwrap_or(&answer.body);
    let tag = format!("W/\"{}\"", hex::encode(&Sha256::digest(tagged)[..12]));
    set(&mut headers, VARY, "Accept, Accept-Encoding, Cookie");
    set(&mut headers, CONTENT_TYPE, answer.content_type);
    set(&mut headers, X_CONTENT_TYPE_OPTIONS, "nosniff");
    set(&mut headers, REFERRER_POLICY, "no-referrer");
    let caching = match answer.freshness {
        Freshness::Revalidate => "private, no-cache",
        Freshness::Final => "private, max-age=86400",
    };
    if let Some(policy) = &answer.policy {
        set(&mut headers, CONTENT_SECURITY_POLICY, policy);
    }
    if let Some(file) = &answer.file {
        let name =
            file.replace(|letter: char| !letter.is_ascii_alphanumeric() && !"._-".contains(letter), "_");
        set(&mut headers, CONTENT_DISPOSITION, &format!("attachment; filename=\"{name}\""));
    }
    if answer.status != StatusCode::OK {
        set(&mut headers, CACHE_CONTROL, "no-store");
        return build(request, answer.status, headers, answer.body);
    }
    set(&mut headers, CACHE_CONTROL, caching);
    set(&mut headers, ETAG, &tag);
    if matches_tag(request.headers(), &tag) {
        headers.remove(CONTENT_TYPE);
        return build(request, StatusCode::NOT_MODIFIED, headers, Vec::new());
    }
    build(request, answer.status, headers, answer.body)
}

/// Encodes an error: a JSON object, as for ingest.
pub(crate) fn encode_error(request: &Request, error: &ReportError, request_id: &str) -> Response<Body> {
    let body = json!({ "error": error.code(), "message": error.to_string(), "request_id": request_id });
    let mut headers = HeaderMap::new();
    set(&mut headers, CONTENT_TYPE, "application/json");
    set(&mut headers, CACHE_CONTROL, "no-store");
    match error {
        ReportError::Unauthenticated => set(&mut headers, WWW_AUTHENTICATE, "Bearer realm=\"pinlake\""),
        ReportError::MethodNotAllowed(allowed) => set(&mut headers, ALLOW, allowed),
        ReportError::Unavailable(_) => set(&mut headers, RETRY_AFTER, "5"),
        _ => {}
    }
    build(request, error.status(), headers, body.to_string().into_bytes())
}

/// Sends a browser to the page, with a cookie.
pub(crate) fn redirect(request: &Request, cookie: &str) -> Response<Body> {
    let mut headers = HeaderMap::new();
    // The page is beside the form's address.
    set(&mut headers, LOCATION, "./");
    set(&mut headers, SET_COOKIE, cookie);
    set(&mut headers, CACHE_CONTROL, "no-store");
    build(request, StatusCode::SEE_OTHER, headers, Vec::new())
}

fn build(request: &Request, status: StatusCode, mut headers: HeaderMap, body: Vec<u8>) -> Response<Body> {
    let body = match compress(request.headers(), &body) {
        Some(compressed) => {
            set(&mut headers, CONTENT_ENCODING, "gzip");
            Body::Binary(compressed)
        }
        None => match String::from_utf8(body) {
            Ok(text) if text.len() <= MAX_TEXT_BYTES => Body::Text(text),
            Ok(text) => Body::Binary(text.into_bytes()),
            Err(error) => Body::Binary(error.into_bytes()),
        },
    };
    if body.len() > MAX_BODY_BYTES {
        return encode_error(request, &ReportError::TooLarge, "");
    }
    let mut response = Response::new(if request.method() == Method::HEAD { Body::Empty } else { body });
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}

fn set(headers: &mut HeaderMap, name: HeaderName, value: &str) {
    // All values are ASCII without control characters.
    if let Ok(value) = HeaderValue::from_str(value) {
        headers.insert(name, value);
    }
}

/// Whether the client has this version (RFC 9110, 13.1.2: weak comparison).
fn matches_tag(headers: &HeaderMap, tag: &str) -> bool {
    let opaque = |tag: &str| tag.trim().trim_start_matches("W/").to_owned();
    let sent = headers.get_all(IF_NONE_MATCH).iter().filter_map(|value| value.to_str().ok());
    sent.flat_map(|value| value.split(',')).any(|sent| sent.trim() == "*" || opaque(sent) == opaque(tag))
}

fn compress(headers: &HeaderMap, body: &[u8]) -> Option<Vec<u8>> {
    let accepted = headers.get_all(ACCEPT_ENCODING).iter().filter_map(|value| value.to_str().ok());
    let mut codings = accepted.flat_map(|value| value.split(','));
    let is_accepted = codings.any(|coding| {
        let (name, weight) = coding.split_once(';').unwrap_or((coding, ""));
        name.trim().eq_ignore_ascii_case("gzip")
            && weight.replace(' ', "").trim_end_matches(['.', '0']) != "q="
    });
    if !is_accepted || body.len() < MIN_COMPRESSED_BYTES {
        return None;
    }
    let mut encoder = GzEncoder::new(Vec::with_capacity(body.len() / 4), Compression::new(5));
    encoder.write_all(body).ok()?;
    encoder.finish().ok()
}
