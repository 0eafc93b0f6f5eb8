//! The API key that a request brings.

use http::HeaderMap;
use http::header::AUTHORIZATION;

/// The header that API Gateway's clients know.
pub const API_KEY: &str = "x-api-key";
const BEARER: &[u8] = b"bearer ";

/// The key in `x-api-key`, or else behind `Authorization: Bearer`. A request that brings two has none: which of them
/// would count is nothing to guess about.
pub fn presented(headers: &HeaderMap) -> Option<&[u8]> {
    let bearer = headers.get_all(AUTHORIZATION).iter().map(|value| {
        let (scheme, token) = value.as_bytes().split_at_checked(BEARER.len())?;
        scheme.eq_ignore_ascii_case(BEARER).then(|| token.trim_ascii())
    });
    let mut keys = headers.get_all(API_KEY).iter().map(|value| Some(value.as_bytes())).chain(bearer);
    let first = keys.next()??;
    keys.next().is_none().then_some(first)
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
    fn one_key_is_taken_from_either_header() {
        for (pairs, expected) in [
            (&[("x-api-key", "plk_1")][..], Some("plk_1")),
            (&[("authorization", "Bearer plk_1")], Some("plk_1")),
            (&[("authorization", "bearer  plk_1 ")], Some("plk_1")),
            (&[("authorization", "Basic plk_1")], None),
            (&[("authorization", "Bearer")], None),
            (&[("x-api-key", "plk_1"), ("x-api-key", "plk_2")], None),
            (&[("x-api-key", "plk_1"), ("authorization", "Bearer plk_1")], None),
            (&[], None),
        ] {
            assert_eq!(presented(&headers(pairs)), expected.map(str::as_bytes), "{pairs:?}");
        }
    }
}
