//! The signatures of providers.
//!
//! | scheme | header | signed with HMAC-SHA256 | source |
//! |---|---|---|---|
//! | GitHub | `X-Hub-Signature-256: sha256=<hex>` | the body | GitHub Docs, "Validating webhook deliveries" |
//! | Stripe | `Stripe-Signature: t=<seconds>,v1=<hex>` | `<t>.<body>` | Stripe Docs, "Verify webhook signatures manually" |
//! | Standard Webhooks | `webhook-signature: v1,<base64>` | `<webhook-id>.<webhook-timestamp>.<body>` | its specification |

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use chrono::{DateTime, Utc};
use hmac::{Hmac, KeyInit as _, Mac as _};
use http::HeaderMap;
use pinlake_schema::SignatureScheme;
use sha2::Sha256;

use super::secrets::Secret;
use crate::error::ApiError;
use crate::json_reader::{Discard, JsonReader, Malformed};

/// How far the time of a request may be from now, in seconds: a request that somebody recorded cannot be sent later.
pub const TOLERANCE_SECONDS: u64 = 5 * 60;
/// The most signatures of a request that are tried. A provider sends several while a secret is replaced.
pub const MAX_SIGNATURES: usize = 16;
/// The shortest secret: with an empty one, anybody could sign.
pub const MIN_SECRET_BYTES: usize = 8;

const GITHUB_SIGNATURE: &str = "x-hub-signature-256";
const GITHUB_DELIVERY: &str = "x-github-delivery";
const STRIPE_SIGNATURE: &str = "stripe-signature";
/// The prefixes of the headers of Standard Webhooks: Svix, where it comes from, sends its own.
const STANDARD_PREFIXES: [&str; 2] = ["webhook", "svix"];
/// The prefix of the text of a secret of Standard Webhooks.
const STANDARD_SECRET: &str = "whsec_";

/// An HMAC-SHA256.
type Tag = [u8; 32];

/// A secret as a key.
pub struct Key(Hmac<Sha256>);

impl Key {
    /// The key of a secret.
    ///
    /// # Errors
    /// What is wrong with the secret.
    pub fn parse(scheme: SignatureScheme, secret: &Secret) -> Result<Self, &'static str> {
        let text = secret.bytes();
        let decoded = match scheme {
            SignatureScheme::GitHub | SignatureScheme::Stripe => text.to_vec(),
            SignatureScheme::Standard => STANDARD
                .decode(text.strip_prefix(STANDARD_SECRET.as_bytes()).unwrap_or(text))
                .map_err(|_| "it is not whsec_ and base64")?,
        };
        if decoded.len() < MIN_SECRET_BYTES {
            return Err("it has fewer than 8 bytes");
        }
        Hmac::new_from_slice(&decoded).map(Self).map_err(|_| "it is no key")
    }
}

/// What the headers of a request say about its signature.
#[derive(Debug, PartialEq, Eq)]
pub struct Signature {
    /// The text that is signed before the body.
    prefix: String,
    tags: Vec<Tag>,
    delivery: DeliveryId,
}

#[derive(Debug, PartialEq, Eq)]
enum DeliveryId {
    Header(Option<String>),
    /// The member `id` of the body.
    Body,
}

impl Signature {
    /// Reads the headers of a request.
    ///
    /// # Errors
    /// [`ApiError::InvalidSignature`] if they are missing or malformed, or if the time in them is not now.
    pub fn from_headers(
        scheme: SignatureScheme,
        headers: &HeaderMap,
        now: DateTime<Utc>,
    ) -> Result<Self, ApiError> {
        let invalid = ApiError::InvalidSignature;
        let signature = match scheme {
            SignatureScheme::GitHub => {
                let text = single(headers, GITHUB_SIGNATURE)
                    .ok_or(invalid("the request needs one header X-Hub-Signature-256"))?;
                let tag = text.strip_prefix("sha256=").and_then(parse_hex);
                let delivery = single(headers, GITHUB_DELIVERY).map(str::to_owned);
                Self {
                    prefix: String::new(),
                    tags: tag.into_iter().collect(),
                    delivery: DeliveryId::Header(delivery),
                }
            }
            SignatureScheme::Stripe => {
                let text = single(headers, STRIPE_SIGNATURE)
                    .ok_or(invalid("the request needs one header Stripe-Signature"))?;
                let values = |name: &'static str| {
                    let pairs = text.split(',').filter_map(|pair| pair.trim().split_once('='));
                    pairs.filter(move |pair| pair.0 == name).map(|pair| pair.1)
                };
                let time = values("t").next().unwrap_or_default();
                check_time(time, now)?;
                Self {
                    prefix: format!("{time}."),
                    tags: values("v1").filter_map(parse_hex).take(MAX_SIGNATURES).collect(),
                    delivery: DeliveryId::Body,
                }
            }
            SignatureScheme::Standard => {
                let [id, time, text] = STANDARD_PREFIXES
                    .iter()
                    .find_map(|prefix| {
                        let header = |name| single(headers, &format!("{prefix}-{name}"));
                        Some([header("id")?, header("timestamp")?, header("signature")?])
                    })
                    .ok_or(invalid(
                        "the request needs one header each of webhook-id, webhook-timestamp and webhook-signature",
                    ))?;
                check_time(time, now)?;
                let tags = text.split(' ').filter_map(|one| one.strip_prefix("v1,")).filter_map(parse_base64);
                Self {
                    prefix: format!("{id}.{time}."),
                    tags: tags.take(MAX_SIGNATURES).collect(),
                    delivery: DeliveryId::Header(Some(id.to_owned())),
                }
            }
        };
        match signature.tags.is_empty() {
            true => Err(invalid("no signature of a known version is in the header")),
            false => Ok(signature),
        }
    }

    /// Whether one of the signatures is that of the body, in constant time for each.
    pub fn matches(&self, key: &Key, body: &[u8]) -> bool {
        let mut mac = key.0.clone();
        mac.update(self.prefix.as_bytes());
        mac.update(body);
        self.tags.iter().any(|tag| mac.clone().verify_slice(tag).is_ok())
    }

    /// The provider's id of the delivery. The body must be verified.
    pub fn delivery_id(&self, body: &[u8]) -> Option<String> {
        match &self.delivery {
            DeliveryId::Header(id) => id.clone(),
            DeliveryId::Body => find_id(body),
        }
    }
}

/// The value of a header that is there once.
fn single<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let mut values = headers.get_all(name).iter();
    let value = values.next()?.to_str().ok()?;
    (values.next().is_none() && !value.is_empty()).then_some(value)
}

fn check_time(text: &str, now: DateTime<Utc>) -> Result<(), ApiError> {
    let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse::<i64>().ok().filter(|_| is_number) {
        None => Err(ApiError::InvalidSignature("the time in the header is not a number of seconds")),
        Some(time) if time.abs_diff(now.timestamp()) > TOLERANCE_SECONDS => {
            Err(ApiError::InvalidSignature("the request was signed more than five minutes ago or from now"))
        }
        Some(_) => Ok(()),
    }
}

fn parse_hex(text: &str) -> Option<Tag> {
    let mut tag = Tag::default();
    hex::decode_to_slice(text, &mut tag).ok()?;
    Some(tag)
}

fn parse_base64(text: &str) -> Option<Tag> {
    // Longer texts need not be decoded.
    let is_short = text.len() <= 2 * size_of::<Tag>();
    STANDARD.decode(text).ok().filter(|_| is_short)?.try_into().ok()
}

/// The text `id` of an object.
fn find_id(body: &[u8]) -> Option<String> {
    let mut reader = JsonReader::new(body);
    if std::str::from_utf8(body).is_err() || reader.peek() != Some(b'{') {
        return None;
    }
    let mut id = None;
    let read = reader.read_members(|reader, name| {
        if name != "id" {
            return reader.copy_value(&mut Discard);
        }
        let mut text = Vec::new();
        reader.copy_value(&mut text)?;
        id = serde_json::from_slice::<String>(&text).ok();
        Ok::<(), Malformed>(())
    });
    read.ok().and(id)
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

    fn key(scheme: SignatureScheme, secret: &str) -> Key {
        Key::parse(scheme, &Secret::new(secret.as_bytes())).unwrap()
    }

    fn at(seconds: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(seconds, 0).unwrap()
    }

    /// GitHub Docs, "Validating webhook deliveries", "Testing the webhook payload validation".
    #[test]
    fn the_example_of_github() {
        let key = key(SignatureScheme::GitHub, "It's a Secret to Everybody");
        let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        let headers = headers(&[(GITHUB_SIGNATURE, right), (GITHUB_DELIVERY, "d-1")]);
        let signature = Signature::from_headers(SignatureScheme::GitHub, &headers, at(0)).unwrap();
        assert!(signature.matches(&key, b"Hello, World!"));
        assert!(!signature.matches(&key, b"Hello, World?"));
        assert_eq!(signature.delivery_id(b"{\"id\":\"x\"}").as_deref(), Some("d-1"));
    }

    /// The specification of Standard Webhooks and its reference libraries, whose tests have these values.
    #[test]
    fn the_example_of_standard_webhooks() {
        let key = key(SignatureScheme::Standard, "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw");
        let (id, time) = ("msg_p5jXN8AQM9LWM0D4loKWxJek", "1614265330");
        let right = "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=";
        let body = br#"{"test": 2432232314}"#;
        for (prefix, signatures) in [
            ("webhook", right.to_owned()),
            ("svix", right.to_owned()),
            (
                "webhook",
                format!(
                    "v1,{} v2,x v1a,hnO3f9T8Ytu9HwrXslvumlUpqtNVqkhqw/enGzPCXe5BdqzCInXqYXFymVJaA7AZdpXwVLPo3mNl8EM+m7TBAg== {right}",
                    STANDARD.encode([0; 32])
                ),
            ),
        ] {
            let mut headers = HeaderMap::new();
            for (name, value) in [("id", id), ("timestamp", time), ("signature", signatures.as_str())] {
                let name: http::HeaderName = format!("{prefix}-{name}").parse().unwrap();
                headers.insert(name, value.parse().unwrap());
            }
            let signature =
                Signature::from_headers(SignatureScheme::Standard, &headers, at(1_614_265_330)).unwrap();
            assert!(signature.matches(&key, body), "{prefix} {signatures}");
            assert_eq!(signature.delivery_id(b"").as_deref(), Some(id));
            for seconds in [1_614_265_330 - 301, 1_614_265_330 + 301] {
                let error = Signature::from_headers(SignatureScheme::Standard, &headers, at(seconds));
                assert!(matches!(error, Err(ApiError::InvalidSignature(_))), "{seconds}");
            }
            headers.insert(
                http::HeaderName::try_from(format!("{prefix}-id")).unwrap(),
                "other".parse().unwrap(),
            );
            let other =
                Signature::from_headers(SignatureScheme::Standard, &headers, at(1_614_265_330)).unwrap();
            assert!(!other.matches(&key, body), "the id is signed");
        }
    }

    #[test]
    fn stripe_signs_the_time_and_the_body() {
        let secret = "whsec_test_secret";
        let body = br#"{"id": "evt_1", "object": "event"}"#;
        let tag = |text: &[u8], secret: &[u8]| {
            let mut mac: Hmac<Sha256> = Hmac::new_from_slice(secret).unwrap();
            mac.update(text);
            hex::encode(mac.finalize().into_bytes())
        };
        let right = tag(&[b"1492774577.", &body[..]].concat(), secret.as_bytes());
        let former = tag(&[b"1492774577.", &body[..]].concat(), b"whsec_former_secret");
        let key = key(SignatureScheme::Stripe, secret);
        let parse = |text: &str, now| {
            Signature::from_headers(SignatureScheme::Stripe, &headers(&[(STRIPE_SIGNATURE, text)]), at(now))
        };
        for text in [
            format!(
                "t=1492774577,v1={right},v0=6ffbb59b2300aae63f272406069a9788598b792a944a07aba816edb039989a39"
            ),
            format!("t=1492774577,v1={former},v1={right}"),
            format!("v1={right}, t=1492774577"),
        ] {
            let signature = parse(&text, 1_492_774_577 + 300).unwrap();
            assert!(signature.matches(&key, body), "{text}");
            assert_eq!(signature.delivery_id(body).as_deref(), Some("evt_1"));
            assert!(parse(&text, 1_492_774_577 + 301).is_err() && parse(&text, 1_492_774_577 - 301).is_err());
        }
        assert!(!parse(&format!("t=1492774578,v1={right}"), 1_492_774_577).unwrap().matches(&key, body));
        for text in [
            "",
            "t=1492774577",
            "v1=00",
            &format!("v1={right}"),
            &format!("t=x,v1={right}"),
            &format!("t=+1492774577,v1={right}"),
            &format!("t=1492774577,v0={right}"),
            &format!("t=1492774577,v1={}", &right[1..]),
            &format!("t=99999999999999999999,v1={right}"),
        ] {
            assert!(parse(text, 1_492_774_577).is_err(), "{text}");
        }
    }

    #[test]
    fn headers_that_are_missing_or_there_twice_are_errors() {
        let right = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17";
        for pairs in [
            &[][..],
            &[(GITHUB_SIGNATURE, right), (GITHUB_SIGNATURE, right)],
            &[(GITHUB_SIGNATURE, &right[7..])],
            &[(GITHUB_SIGNATURE, "sha1=757107ea0eb2509fc211221cce984b8a37570b6d")],
            &[("x-hub-signature", right)],
        ] {
            let result = Signature::from_headers(SignatureScheme::GitHub, &headers(pairs), at(0));
            assert!(matches!(result, Err(ApiError::InvalidSignature(_))), "{pairs:?}");
        }
        let many = format!("t=1,{}", vec![format!("v1={}", "0".repeat(64)); 100].join(","));
        let signature =
            Signature::from_headers(SignatureScheme::Stripe, &headers(&[(STRIPE_SIGNATURE, &many)]), at(1));
        assert_eq!(signature.unwrap().tags.len(), MAX_SIGNATURES);
    }

    #[test]
    fn secrets_that_anybody_knows_are_errors() {
        for (scheme, secret) in [
            (SignatureScheme::GitHub, ""),
            (SignatureScheme::GitHub, "short"),
            (SignatureScheme::Stripe, " \n"),
            (SignatureScheme::Standard, "whsec_"),
            (SignatureScheme::Standard, "whsec_no base64!"),
        ] {
            assert!(Key::parse(scheme, &Secret::new(secret.as_bytes())).is_err(), "{secret}");
        }
    }
}
