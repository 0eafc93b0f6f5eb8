//! What a contract says about a webhook that sends its records.

use std::fmt;

/// How requests to the webhook of a dataset are verified.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Webhook {
    /// How they are signed.
    pub verify: SignatureScheme,
    /// Where the shared secret is kept.
    pub secret: SecretName,
}

/// The providers whose signatures are known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignatureScheme {
    /// GitHub: `X-Hub-Signature-256`.
    GitHub,
    /// Stripe: `Stripe-Signature`.
    Stripe,
    /// Standard Webhooks: `webhook-signature`.
    Standard,
}

impl SignatureScheme {
    pub(crate) const ALL: [SignatureScheme; 3] =
        [SignatureScheme::GitHub, SignatureScheme::Stripe, SignatureScheme::Standard];

    /// The name in contracts.
    pub fn as_str(self) -> &'static str {
        match self {
            SignatureScheme::GitHub => "github",
            SignatureScheme::Stripe => "stripe",
            SignatureScheme::Standard => "standard",
        }
    }
}

/// The place of a secret. It is not the secret itself, so it may be logged.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum SecretName {
    /// A parameter of Systems Manager: `ssm:/pinlake/github`.
    Parameter(String),
    /// A secret of Secrets Manager, by its name or ARN: `secretsmanager:pinlake/github`.
    Secret(String),
}

impl SecretName {
    /// Parses the text of a contract; `None` if it is no such name.
    pub(crate) fn parse(text: &str) -> Option<SecretName> {
        let (service, name) = text.split_once(':')?;
        let is_name = |more: &str, max: usize| {
            let is_known = |byte: u8| byte.is_ascii_alphanumeric() || more.as_bytes().contains(&byte);
            (1..=max).contains(&name.len()) && name.bytes().all(is_known)
        };
        match service {
            // API reference of Systems Manager, `PutParameter`: Name.
            "ssm" if is_name("/._-", 1011) => Some(SecretName::Parameter(name.to_owned())),
            // API reference of Secrets Manager, `CreateSecret`: Name. An ARN has colons too.
            "secretsmanager" if is_name("/_+=.@:-", 2048) => Some(SecretName::Secret(name.to_owned())),
            _ => None,
        }
    }
}

impl fmt::Display for SecretName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            SecretName::Parameter(name) => write!(f, "ssm:{name}"),
            SecretName::Secret(id) => write!(f, "secretsmanager:{id}"),
        }
    }
}
