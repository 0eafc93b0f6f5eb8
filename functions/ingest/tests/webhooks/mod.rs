//! Webhooks: only what the provider signed is stored, and a delivery that comes again is the same records.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use ingest::access::Access;
use ingest::app::App;
use ingest::body::MAX_BODY_BYTES;
use ingest::stream::read::BoxFuture;
use ingest::webhook::secrets::{Secret, SecretSource};
use ingest::webhook::{SecretError, Webhooks};
use lambda_http::{Body, Response};
use pinlake_env::ManualClock;
use pinlake_platform::api_keys::{ApiKeys, entry};
use pinlake_schema::stream_key::StreamKey;
use pinlake_schema::{Catalog, SecretName};
use sha2::Sha256;

use crate::{MemoryStream, app, body_json, example_app, header, request, stored_records};

/// The secret of the example in GitHub's documentation.
pub const SECRET: &str = "It's a Secret to Everybody";
/// A secret of Standard Webhooks, from the tests of its libraries.
const STANDARD_SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// The time of the app's clock, 2026-11-22T21:00:00Z.
const NOW: i64 = 1_795_381_200;
const RECORD: &str = r#"{"id":"evt_1","action":"opened"}"#;

/// Knows one secret, whatever its name, or fails.
#[derive(Debug)]
pub struct KnownSecret(Mutex<Result<String, SecretError>>);

impl KnownSecret {
    pub fn new(secret: &str) -> Self {
        Self(Mutex::new(Ok(secret.to_owned())))
    }
}

impl SecretSource for KnownSecret {
    fn read<'a>(&'a self, _: &'a SecretName) -> BoxFuture<'a, Result<Secret, SecretError>> {
        let secret = self.0.lock().unwrap().clone().map(|text| Secret::new(text.as_bytes()));
        Box::pin(std::future::ready(secret))
    }
}

fn tag(secret: &[u8], parts: &[&[u8]]) -> Vec<u8> {
    let mut mac: Hmac<Sha256> = Hmac::new_from_slice(secret).unwrap();
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().to_vec()
}

/// The value of `X-Hub-Signature-256`.
pub fn github_signature(secret: &str, body: impl AsRef<[u8]>) -> String {
    format!("sha256={}", hex::encode(tag(secret.as_bytes(), &[body.as_ref()])))
}

fn stripe_signature(secret: &str, time: i64, body: &str) -> String {
    let tag = tag(secret.as_bytes(), &[time.to_string().as_bytes(), b".", body.as_bytes()]);
    format!("t={time},v1={}", hex::encode(tag))
}

fn standard_headers(id: &str, time: i64, body: &str) -> Vec<(&'static str, String)> {
    let key = STANDARD.decode(&STANDARD_SECRET["whsec_".len()..]).unwrap();
    let tag = tag(&key, &[format!("{id}.{time}.{body}").as_bytes()]);
    let signature = format!("v1,{} v1,{}", STANDARD.encode([7; 32]), STANDARD.encode(tag));
    vec![
        ("webhook-id", id.to_owned()),
        ("webhook-timestamp", time.to_string()),
        ("webhook-signature", signature),
    ]
}

/// An app with the datasets `github`, `stripe` and `standard`, whose webhooks are signed that way with one secret.
fn app_with(secret: &str) -> (App<MemoryStream>, Arc<KnownSecret>) {
    let contract = |name: &str| {
        let text = format!(
            "name = \"{name}\"\nversion = 1\nidentity = \"record\"\n[webhook]\nverify = \"{name}\"\n\
             secret = \"ssm:/{name}\"\n[[column]]\nname = \"action\"\ntype = \"string\"\n"
        );
        (format!("{name}.toml"), text)
    };
    let plain = (
        "plain.toml".to_owned(),
        "name = \"plain\"\nversion = 1\n[[column]]\nname = \"a\"\ntype = \"string\"\n".to_owned(),
    );
    let files = ["github", "stripe", "standard"].map(contract).into_iter().chain([plain]);
    let catalog = Arc::new(Catalog::from_files(files).unwrap());
    let source = Arc::new(KnownSecret::new(secret));
    (App { catalog, webhooks: Webhooks::new(source.clone()), ..app() }, source)
}

async fn post(
    app: &App<MemoryStream>,
    dataset: &str,
    headers: &[(&str, String)],
    body: impl AsRef<[u8]>,
) -> Response<Body> {
    let mut all = vec![("content-type", "application/json")];
    all.extend(headers.iter().map(|(name, value)| (*name, value.as_str())));
    app.handle(request("POST", &format!("/webhooks/{dataset}"), &all, body)).await
}

/// The request ids in the stream keys.
fn stored_ids(app: &App<MemoryStream>) -> Vec<String> {
    let stored = stored_records(app);
    stored.iter().map(|(key, _)| StreamKey::parse(key).unwrap().request.to_owned()).collect()
}

#[tokio::test]
async fn a_delivery_that_comes_again_is_the_same_record() {
    let github = |id: &str| {
        vec![("x-hub-signature-256", github_signature(SECRET, RECORD)), ("x-github-delivery", id.to_owned())]
    };
    let stripe = |time| vec![("stripe-signature", stripe_signature(SECRET, time, RECORD))];
    let later = |record: &str| record.replace("evt_1", "evt_2");
    for (dataset, secret, first, again, other, other_body) in [
        ("github", SECRET, github("d-1"), github("d-1"), github("d-2"), RECORD.to_owned()),
        (
            "stripe",
            SECRET,
            stripe(NOW),
            stripe(NOW - 299),
            vec![("stripe-signature", stripe_signature(SECRET, NOW, &later(RECORD)))],
            later(RECORD),
        ),
        (
            "standard",
            STANDARD_SECRET,
            standard_headers("msg_1", NOW, RECORD),
            standard_headers("msg_1", NOW + 299, RECORD),
            standard_headers("msg_2", NOW, RECORD),
            RECORD.to_owned(),
        ),
    ] {
        let (app, _) = app_with(secret);
        for (headers, body) in [(first, RECORD), (again, RECORD), (other, &other_body)] {
            // An Idempotency-Key, which nobody signed, has no effect.
            let headers = [headers, vec![("idempotency-key", "k".to_owned())]].concat();
            let response = post(&app, dataset, &headers, body).await;
            assert_eq!(response.status(), 200, "{dataset}: {}", body_json(&response));
            assert_eq!(body_json(&response)["accepted"], 1);
            assert!(header(&response, "Pinlake-Ack").is_some());
        }
        let ids = stored_ids(&app);
        assert!(ids[0] == ids[1] && ids[0] != ids[2], "{ids:?}");
        assert!(ids[0].contains('@') && !ids[0].starts_with("k@"), "{ids:?}");
        assert_eq!(stored_records(&app)[0].1, RECORD);
    }
    // Ids of any form, and none.
    let (app, _) = app_with(SECRET);
    for id in ["a/b c", &"x".repeat(300)] {
        assert_eq!(post(&app, "github", &github(id), RECORD).await.status(), 200, "{id}");
    }
    let unnamed = vec![("x-hub-signature-256", github_signature(SECRET, RECORD))];
    assert_eq!(post(&app, "github", &unnamed, RECORD).await.status(), 200);
    assert_eq!(stored_ids(&app)[2], "req", "without an id of the provider, it is the request's own");
}

#[tokio::test]
async fn what_is_not_signed_is_not_stored() {
    let other = github_signature("another secret", RECORD);
    let stripe = |time| vec![("stripe-signature", stripe_signature(SECRET, time, RECORD))];
    let github = |signature: &str| vec![("x-hub-signature-256", signature.to_owned())];
    let right = github_signature(SECRET, RECORD);
    assert_ne!(right, other);
    for (dataset, headers, body) in [
        ("github", vec![], RECORD),
        ("github", github(&other), RECORD),
        ("github", github(&right), &RECORD[1..]),
        ("github", github(&right.replace("sha256", "sha1")), RECORD),
        ("github", github(""), RECORD),
        ("github", vec![("x-hub-signature", right.clone())], RECORD),
        ("stripe", stripe(NOW - 301), RECORD),
        ("stripe", stripe(NOW + 301), RECORD),
        ("stripe", stripe(0), RECORD),
        ("stripe", vec![("stripe-signature", stripe_signature(SECRET, NOW, "{}"))], RECORD),
        ("stripe", github(&right), RECORD),
        ("standard", standard_headers("msg_1", NOW, RECORD)[..2].to_vec(), RECORD),
        ("github", vec![], ""),
        ("github", vec![], "no JSON"),
    ] {
        let (app, _) = app_with(SECRET);
        let response = post(&app, dataset, &headers, body).await;
        assert_eq!(response.status(), 401, "{dataset} {headers:?}");
        assert_eq!(body_json(&response)["error"], "unauthenticated");
        assert_eq!(header(&response, "www-authenticate"), Some("Webhook realm=\"pinlake\""));
        assert!(stored_records(&app).is_empty(), "{dataset} {headers:?}");
    }
    let (app, _) = app_with(STANDARD_SECRET);
    for headers in [
        standard_headers("msg_1", NOW - 301, RECORD),
        standard_headers("msg_1", NOW, "{}"),
        [("webhook-id", "msg_2".to_owned())]
            .into_iter()
            .chain(standard_headers("msg_1", NOW, RECORD).split_off(1))
            .collect(),
    ] {
        assert_eq!(post(&app, "standard", &headers, RECORD).await.status(), 401, "{headers:?}");
    }
    assert!(stored_records(&app).is_empty());
}

#[tokio::test]
async fn a_body_is_verified_before_it_is_read() {
    let (app, _) = app_with(SECRET);
    let send = async |headers: Vec<(&'static str, String)>, body: Vec<u8>| {
        post(&app, "github", &headers, body).await.status().as_u16()
    };
    let signed = |body: &[u8]| vec![("x-hub-signature-256", github_signature(SECRET, body))];
    // Signed, but no JSON, as in the example of GitHub's documentation.
    assert_eq!(send(signed(b"Hello, World!"), b"Hello, World!".to_vec()).await, 400);
    assert_eq!(send(signed(b""), Vec::new()).await, 400);
    let huge = vec![b' '; MAX_BODY_BYTES + 1];
    assert_eq!(send(signed(&huge), huge.clone()).await, 413);
    assert_eq!(send(vec![], huge).await, 401);
    let large = format!("{{\"action\":\"{}\"}}", "x".repeat(900_000)).into_bytes();
    assert_eq!(send(signed(&large), large).await, 200);
    // A proxy may compress what was signed; a provider may sign what it compressed.
    let compressed = zstd::encode_all(RECORD.as_bytes(), 3).unwrap();
    for signed_bytes in [RECORD.as_bytes(), &compressed] {
        let mut headers = signed(signed_bytes);
        headers.push(("content-encoding", "zstd".to_owned()));
        assert_eq!(send(headers, compressed.clone()).await, 200);
    }
    let stored: Vec<String> = stored_records(&app).into_iter().map(|(_, data)| data).collect();
    assert_eq!(stored[1..], [RECORD, RECORD]);
    // GitHub's default is a form.
    let form = "payload=%7B%22action%22%3A%22opened%22%7D";
    let (app, _) = app_with(SECRET);
    let headers = [
        ("x-hub-signature-256", github_signature(SECRET, form)),
        ("content-type", "application/x-www-form-urlencoded".to_owned()),
    ];
    assert_eq!(post(&app, "github", &headers, form).await.status(), 200);
    assert_eq!(stored_records(&app)[0].1, r#"{"action":"opened"}"#);
    let headers =
        [("x-hub-signature-256", github_signature(SECRET, form)), ("content-type", "image/png".to_owned())];
    assert_eq!(post(&app, "github", &headers, form).await.status(), 415);
}

#[tokio::test]
async fn webhooks_need_no_key_and_open_nothing_else() {
    let signed = [("x-hub-signature-256", github_signature(SECRET, RECORD))];
    let keys = |app: &App<MemoryStream>| {
        Access::Keys(ApiKeys::parse(&entry("one", "plk_one", &["github".to_owned()]), &app.catalog).unwrap())
    };
    for with_keys in [true, false] {
        let (app, _) = app_with(SECRET);
        let access = if with_keys { keys(&app) } else { Access::Signed };
        let refusal = if with_keys { 401 } else { 403 };
        let app = App { access, ..app };
        assert_eq!(post(&app, "github", &signed, RECORD).await.status(), 200);
        for path in ["/v1/github", "/topics/github", "/streams/github/record"] {
            let headers = [("x-hub-signature-256", signed[0].1.as_str())];
            assert_eq!(app.handle(request("POST", path, &headers, RECORD)).await.status(), refusal, "{path}");
        }
        // A key is no signature, and strangers learn no names.
        let key = [("x-api-key", "plk_one".to_owned())];
        assert_eq!(post(&app, "github", &key, RECORD).await.status(), 401);
        for dataset in ["plain", "nosuch", "quarantine"] {
            let response = post(&app, dataset, &signed, RECORD).await;
            assert_eq!(response.status(), 404, "{dataset}");
            assert!(!body_json(&response)["message"].as_str().unwrap().contains("stripe"));
        }
        assert_eq!(app.handle(request("GET", "/webhooks/github", &[], "")).await.status(), 405);
        assert_eq!(stored_records(&app).len(), 1);
    }
    let (app, _) = app_with(SECRET);
    let disabled = App { webhooks: Webhooks::default(), ..app };
    let response = post(&disabled, "github", &signed, RECORD).await;
    assert_eq!((response.status().as_u16(), &body_json(&response)["error"]), (403, &"forbidden".into()));
    let paused = App { is_paused: true, ..example_app() };
    assert_eq!(post(&paused, "github", &signed, RECORD).await.status(), 503);
}

#[tokio::test]
async fn a_secret_can_be_replaced_and_may_be_unavailable() {
    let (mut app, source) = app_with(SECRET);
    let clock = Arc::new(ManualClock::at("2026-11-22T21:00:00Z".parse().unwrap()));
    app.env.clock = clock.clone();
    let signed = |secret| [("x-hub-signature-256", github_signature(secret, RECORD))];
    assert_eq!(post(&app, "github", &signed(SECRET), RECORD).await.status(), 200);
    *source.0.lock().unwrap() = Ok("a new secret".to_owned());
    assert_eq!(post(&app, "github", &signed("a new secret"), RECORD).await.status(), 401);
    clock.advance(Duration::from_secs(61));
    assert_eq!(post(&app, "github", &signed("a new secret"), RECORD).await.status(), 200);
    assert_eq!(post(&app, "github", &signed(SECRET), RECORD).await.status(), 401);

    for (is_retryable, status) in [(true, 503), (false, 500)] {
        let (app, source) = app_with(SECRET);
        let error =
            SecretError { is_retryable, code: "Code".to_owned(), message: "account 12345".to_owned() };
        *source.0.lock().unwrap() = Err(error);
        let response = post(&app, "github", &signed(SECRET), RECORD).await;
        assert_eq!(response.status(), status);
        assert_eq!(header(&response, "retry-after").is_some(), is_retryable);
        assert!(!body_json(&response).to_string().contains("12345"));
        assert!(stored_records(&app).is_empty());
        // A request without a signature does not cause a read.
        assert_eq!(post(&app, "github", &[], RECORD).await.status(), 401);
    }
    let (app, _) = app_with("");
    assert_eq!(post(&app, "github", &signed(""), RECORD).await.status(), 500, "an empty secret is no secret");
}
