//! Parses `[webhook]`: how the requests of a provider are verified.

use super::suggest::find_similar;
use super::toml_tree::{Diagnostics, Section};
use crate::declaration::{MisroutedPolicy, Route};
use crate::webhook::{SecretName, SignatureScheme, Webhook};

const WEBHOOK_KEYS: [&str; 2] = ["verify", "secret"];

pub(super) fn parse(
    section: &Section<'_>,
    route: &Route,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<Webhook> {
    section.reject_unknown_keys(&WEBHOOK_KEYS, diagnostics);
    if route.misrouted == MisroutedPolicy::Reroute {
        diagnostics.add(
            section.span.clone(),
            "the sender of a webhook could write to other datasets, because this contract reroutes records",
            "write misrouted = \"quarantine\" in [route], or remove [webhook]",
        );
    }
    let verify = section.required_string("verify", "verify = \"github\"", diagnostics).and_then(|written| {
        let known = SignatureScheme::ALL.into_iter().find(|scheme| scheme.as_str() == written.value);
        if known.is_none() {
            let names = SignatureScheme::ALL.map(SignatureScheme::as_str);
            let help = match find_similar(&written.value.to_ascii_lowercase(), &names) {
                Some(near) => format!("did you mean `{near}`?"),
                None => "write \"github\", \"stripe\", or \"standard\" for Standard Webhooks".to_owned(),
            };
            diagnostics.add(
                written.span,
                format!("`{}` is not a known way to sign a webhook", written.value),
                help,
            );
        }
        known
    });
    let secret =
        section.required_string("secret", "secret = \"ssm:/pinlake/github\"", diagnostics).and_then(|written| {
            let name = SecretName::parse(&written.value);
            if name.is_none() {
                // Who writes the secret itself here must not find it in a log.
                diagnostics.add_unquoted(
                    written.span,
                    "`secret` is not the name of a secret",
                    "write \"ssm:<parameter>\" or \"secretsmanager:<name or ARN>\"; the secret itself must not be in a \
                     contract",
                );
            }
            name
        });
    Some(Webhook { verify: verify?, secret: secret? })
}
