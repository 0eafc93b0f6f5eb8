//! Who reads, and what they may see.

use http::header::COOKIE;
use lambda_http::Request;
use pinlake_platform::access::{Access, Rejection, request_key};
use pinlake_platform::api_keys::{ApiKey, ApiKeys};
use pinlake_results::StoredResult;

use crate::error::ReportError;

/// The cookie with the API key of a browser, which cannot send a header when it opens a page.
pub const COOKIE_NAME: &str = "pinlake_key";
/// How long a browser keeps it: as long as a page hangs on a wall.
pub const COOKIE_SECONDS: u32 = 90 * 24 * 3600;

/// Who sent a request.
#[derive(Debug, Clone, Copy)]
pub enum Reader<'a> {
    /// Anyone who knows the URL.
    Anyone,
    /// A caller whom Lambda has authenticated with IAM.
    Signed,
    /// The holder of an API key.
    Key(&'a ApiKey),
}

impl<'a> Reader<'a> {
    /// Authenticates the sender of a request.
    ///
    /// # Errors
    /// If a signature or a key is needed and there is none.
    pub(crate) fn authenticate(access: &'a Access, request: &Request) -> Result<Self, ReportError> {
        let cookie = cookie_key(request);
        let key = request_key(request.headers()).or(cookie.as_deref().map(str::as_bytes));
        match access.authenticate(request, key) {
            Ok(Some(key)) => Ok(Self::Key(key)),
            Ok(None) if matches!(access, Access::Anyone) => Ok(Self::Anyone),
            Ok(None) => Ok(Self::Signed),
            Err(Rejection::Unsigned) => Err(ReportError::Unsigned),
            Err(Rejection::Unauthenticated) => Err(ReportError::Unauthenticated),
        }
    }

    /// The name of the caller's API key.
    pub fn key_name(self) -> Option<&'a str> {
        match self {
            Self::Key(key) => Some(&key.name),
            Self::Anyone | Self::Signed => None,
        }
    }

    /// Whether the reader may see a dataset; `None` stands for what belongs to no dataset.
    pub fn may_see(self, dataset: Option<&str>) -> bool {
        match self {
            Self::Anyone | Self::Signed => true,
            Self::Key(key) => key.covers(dataset),
        }
    }

    /// Whether the reader may see a result: all tables that it was computed from.
    pub fn may_see_result(self, stored: &StoredResult) -> bool {
        let result = &stored.result;
        // A result without tables, such as `SELECT 1`, is for readers of everything.
        let has_tables = !(result.versions.is_empty() && result.moved.is_empty());
        let mut tables = result.versions.keys().chain(result.moved.keys());
        self.may_see(None) || has_tables && tables.all(|table| self.may_see(Some(table)))
    }

    /// Whether the reader may see quarantined records of a dataset. They are what clients sent, unchanged, so a URL that
    /// everybody can open does not have them.
    pub fn may_see_records(self, dataset: Option<&str>) -> bool {
        !matches!(self, Self::Anyone) && self.may_see(dataset)
    }

    /// Whether the reader may see the quarantined records of any dataset.
    pub fn may_see_some_records(self) -> bool {
        !matches!(self, Self::Anyone)
    }
}

/// The key in the cookie of a request.
fn cookie_key(request: &Request) -> Option<String> {
    let cookies = request.headers().get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = cookies.flat_map(|value| value.split(';')).map(str::trim);
    let value = pairs.find_map(|pair| pair.strip_prefix(COOKIE_NAME)?.strip_prefix('='))?;
    Some(value.to_owned())
}

/// The key that a sign-in form sent, if it is valid.
pub(crate) fn signed_in_key(keys: &ApiKeys, request: &Request) -> Option<String> {
    let body = std::str::from_utf8(request.body()).ok()?;
    let value = body.split('&').find_map(|pair| pair.strip_prefix("key="))?;
    let value = value.replace('+', " ");
    let key = percent_encoding::percent_decode_str(&value).decode_utf8().ok()?.trim().to_owned();
    // A cookie has no other characters. Generated keys have none either.
    let is_plain = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-');
    (is_plain && keys.find(key.as_bytes()).is_some()).then_some(key)
}
