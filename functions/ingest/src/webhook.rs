//! Webhooks: requests that a provider signs with a secret, instead of an API key.
//!
//! A contract declares how the requests for its dataset are signed and where the secret is kept
//! ([`pinlake_schema::Webhook`]). [`App`](crate::app::App) verifies a request before anything of it is parsed. What is
//! signed is the body as it was sent, or, if a proxy compressed it, what it decompresses to.

pub mod aws;
pub mod secrets;
pub mod signature;

use std::sync::Arc;

use chrono::{DateTime, Utc};
use lambda_http::Request;
use pinlake_schema::Webhook;

use crate::body::{self, MAX_BODY_BYTES};
use crate::error::ApiError;
pub use secrets::SecretError;
use secrets::{SecretCache, SecretSource};
use signature::{Key, Signature};

/// Verifies the requests of webhooks.
#[derive(Debug, Default)]
pub struct Webhooks {
    /// `None` if webhooks are disabled.
    secrets: Option<SecretCache>,
}

/// A request whose signature is right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Delivery {
    /// The provider's id, which is the same when it sends the delivery again; `None` if it sent none.
    pub id: Option<String>,
}

impl Webhooks {
    /// Verifies requests with the secrets of `source`.
    pub fn new(source: Arc<dyn SecretSource>) -> Self {
        Self { secrets: Some(SecretCache::new(source)) }
    }

    /// Verifies the signature of a request, and that it was made within five minutes of `now`, if the provider signs
    /// the time.
    ///
    /// # Errors
    /// [`ApiError::InvalidSignature`] for a request that is not, or wrongly, signed; [`ApiError::TooLarge`];
    /// [`ApiError::WebhooksDisabled`]; [`ApiError::SecretUnavailable`] or [`ApiError::Internal`] without the secret.
    pub async fn verify(
        &self,
        webhook: &Webhook,
        request: &Request,
        now: DateTime<Utc>,
    ) -> Result<Delivery, ApiError> {
        let secrets = self.secrets.as_ref().ok_or(ApiError::WebhooksDisabled)?;
        // Before the secret is read: requests of strangers shall cost little.
        let signature = Signature::from_headers(webhook.verify, request.headers(), now)?;
        let body: &[u8] = request.body();
        if body.len() > MAX_BODY_BYTES {
            return Err(body::too_large(body.len()));
        }
        let mut secret = secrets.get(&webhook.secret, now).await?;
        loop {
            let key = Key::parse(webhook.verify, &secret).map_err(|problem| {
                tracing::error!(secret = %webhook.secret, problem, "the secret of a webhook is unusable");
                ApiError::Internal
            })?;
            if is_signed(&signature, &key, request)? {
                return Ok(Delivery { id: signature.delivery_id(body) });
            }
            // The secret may have been replaced.
            secret = match secrets.get_newer(&webhook.secret, now).await {
                Some(newer) if newer != secret => newer,
                _ => return Err(ApiError::InvalidSignature("the signature does not match")),
            };
        }
    }
}

/// Whether the body as sent, or what it decompresses to, has the signature.
fn is_signed(signature: &Signature, key: &Key, request: &Request) -> Result<bool, ApiError> {
    if signature.matches(key, request.body()) {
        return Ok(true);
    }
    let decompressed = body::decompress(request.headers(), request.body())?;
    Ok(matches!(decompressed, std::borrow::Cow::Owned(text) if signature.matches(key, &text)))
}
