//! What a path addresses.

use lambda_http::{Request, RequestExt as _};
use percent_encoding::percent_decode_str;

use crate::error::ReportError;

/// Every path of the function and its methods, as `openapi.json` documents them. HEAD is allowed where GET is.
pub const PATHS: [(&str, &str); 8] = [
    ("/", "GET"),
    ("/sign-in", "POST"),
    ("/openapi.json", "GET"),
    ("/v1/results", "GET"),
    ("/v1/results/{name}", "GET"),
    ("/v1/results/{name}/history", "GET"),
    ("/v1/state", "GET"),
    ("/v1/quarantine", "GET"),
];

/// What a request asks for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Route {
    /// The page.
    Page,
    /// The form of the page that asks for a key.
    SignIn,
    /// The OpenAPI document.
    Document,
    /// The list of results.
    Results,
    /// A result, whose name may end with a format.
    Result(String),
    /// The history of a result.
    History(String),
    /// The state of the lake.
    State,
    /// Quarantined records.
    Quarantine,
}

impl Route {
    /// Finds what a request asks for.
    ///
    /// # Errors
    /// If there is nothing at its path, or the method is not allowed there.
    pub fn from_request(request: &Request) -> Result<Self, ReportError> {
        let path = request.uri().path();
        let decoded: Vec<String> = path
            .split('/')
            .filter(|segment| !segment.is_empty())
            .map(|segment| percent_decode_str(segment).decode_utf8_lossy().into_owned())
            .collect();
        let segments: Vec<&str> = decoded.iter().map(String::as_str).collect();
        let route = match segments.as_slice() {
            [] => Self::Page,
            ["sign-in"] => Self::SignIn,
            ["openapi.json"] => Self::Document,
            ["v1", "results"] => Self::Results,
            ["v1", "results", name] => Self::Result((*name).to_owned()),
            ["v1", "results", name, "history"] => Self::History((*name).to_owned()),
            ["v1", "state"] => Self::State,
            ["v1", "quarantine"] => Self::Quarantine,
            _ => {
                let hint = "GET /openapi.json lists all paths";
                return Err(ReportError::NotFound { kind: "path", name: shorten(path), hint });
            }
        };
        match (&route, request.method().as_str()) {
            (Self::SignIn, "POST") => Ok(route),
            (Self::SignIn, _) => Err(ReportError::MethodNotAllowed("POST")),
            (_, "GET" | "HEAD") => Ok(route),
            _ => Err(ReportError::MethodNotAllowed("GET, HEAD")),
        }
    }
}

/// The value of a parameter of the query string.
pub(crate) fn parameter(request: &Request, name: &str) -> Option<String> {
    request.query_string_parameters_ref().and_then(|all| all.first(name)).map(str::to_owned)
}

/// A parameter that is a number from `range`.
///
/// # Errors
/// If it is another one.
pub(crate) fn number(
    request: &Request,
    name: &str,
    range: std::ops::RangeInclusive<usize>,
    default: usize,
) -> Result<usize, ReportError> {
    let Some(text) = parameter(request, name) else { return Ok(default) };
    text.parse().ok().filter(|number| range.contains(number)).ok_or_else(|| {
        let (from, to) = (range.start(), range.end());
        ReportError::InvalidArgument(format!("{name} must be a number from {from} to {to}"))
    })
}

/// A text of a caller, for an error message.
pub(crate) fn shorten(text: &str) -> String {
    text.chars().take(100).collect()
}
