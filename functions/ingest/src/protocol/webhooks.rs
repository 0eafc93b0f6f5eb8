//! Webhooks: `POST /webhooks/{dataset}`, which a provider signs. [`crate::webhook`] verifies the signature.
//!
//! The body is one record, or an array of records, as JSON. GitHub sends it as JSON or, by default, as the field
//! `payload` of a form.

use std::borrow::Cow;

use percent_encoding::percent_decode;

use super::{native, native_response};
use crate::endpoint::{Endpoint, Method, Operation, Protocol, RequestContext, Resource};
use crate::error::ApiError;
use crate::json_reader::Malformed;
use crate::packing::{PackedRequest, Packer};
use crate::response::ApiResponse;

/// Webhooks.
#[derive(Debug)]
pub struct WebhookDeliveries;

const ENDPOINTS: &[Endpoint] = &[Endpoint::signed(
    "/webhooks/{dataset}",
    &[Method::new(
        "POST",
        Resource::Webhook,
        Operation::Write { decode: decode_request, encode: native_response::encode_response },
    )],
)];

impl Protocol for WebhookDeliveries {
    fn name(&self) -> &'static str {
        "webhook"
    }

    fn content_type(&self) -> &'static str {
        "application/json"
    }

    fn endpoints(&self) -> &'static [Endpoint] {
        ENDPOINTS
    }

    fn path_keywords(&self) -> &'static [&'static str] {
        &["webhooks"]
    }

    fn encode_error(&self, error: &ApiError, request_id: &str) -> ApiResponse {
        native_response::encode_error(error, request_id)
    }
}

fn decode_request(context: &RequestContext<'_>, request_id: &str) -> Result<PackedRequest, ApiError> {
    let packer = Packer::new(context.target.dataset(), request_id);
    match context.media_type()?.as_deref() {
        None | Some("application/json" | "text/json" | "text/plain") => {
            native::decode_json(&context.text()?, packer)
        }
        Some("application/x-www-form-urlencoded") => {
            native::decode_json(&form_payload(&context.text()?)?, packer)
        }
        Some(other) => Err(ApiError::UnsupportedMediaType(format!(
            "unsupported Content-Type '{other}': let the provider send application/json"
        ))),
    }
}

/// The field `payload` of a form.
fn form_payload(form: &[u8]) -> Result<Vec<u8>, ApiError> {
    let mut fields = form.split(|byte| *byte == b'&').filter_map(|field| field.strip_prefix(b"payload="));
    let (Some(field), None) = (fields.next(), fields.next()) else {
        return Err(ApiError::UnexpectedShape("a form must have one field 'payload'".to_owned()));
    };
    let spaced: Vec<u8> = field.iter().map(|byte| if *byte == b'+' { b' ' } else { *byte }).collect();
    let text: Cow<'_, [u8]> = percent_decode(&spaced).into();
    match std::str::from_utf8(&text) {
        Ok(text) if text.trim_ascii().is_empty() => Err(ApiError::EmptyBody),
        Ok(_) => Ok(text.into_owned()),
        Err(error) => {
            let malformed = Malformed { at: error.valid_up_to(), problem: "the bytes are not UTF-8" };
            Err(ApiError::from_malformed(&text, malformed))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_form_has_the_record_in_its_payload() {
        let form = b"a=b&payload=%7B%22text%22%3A+%22caf%C3%A9+%2B1%22%7D";
        assert_eq!(form_payload(form).unwrap(), "{\"text\": \"café +1\"}".as_bytes());
        for form in [&b""[..], b"a=b", b"payload", b"payload=1&payload=2"] {
            assert!(matches!(form_payload(form), Err(ApiError::UnexpectedShape(_))));
        }
        assert_eq!(form_payload(b"payload=+"), Err(ApiError::EmptyBody));
        assert!(matches!(form_payload(b"payload=%ff"), Err(ApiError::MalformedJson { .. })));
    }
}
