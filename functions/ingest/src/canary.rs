//! Test records that the pipeline sends to itself.
//!
//! The schedule in `template.yaml` invokes the function with a fixed event whose `requestContext.apiId` is [`API_ID`].
//! Callers of a function URL cannot send such an event, because Lambda writes the request context (Lambda Developer
//! Guide, "Invoking Lambda function URLs", Request payload format). The rest of the pipeline handles the record like
//! any other, and an alarm fires if none reaches its table.

use chrono::{DateTime, SecondsFormat, Utc};
use http::Method;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::request::RequestContext;
use lambda_http::{Request, RequestExt as _};
use pinlake_schema::CANARY;
use serde_json::json;

/// The API id of the schedule's events. Those of function URLs have lower-case letters and digits only.
pub const API_ID: &str = "pinlake-canary";

/// Adds the record to an event of the schedule; leaves other events as they are.
pub fn add_record(event: &mut ApiGatewayV2httpRequest, invocation: &str, now: DateTime<Utc>) {
    if event.request_context.apiid.as_deref() != Some(API_ID) {
        return;
    }
    let path = format!("/v1/{CANARY}");
    event.request_context.http.method = Method::POST;
    event.request_context.http.path = Some(path.clone());
    event.request_context.request_id = Some(invocation.to_owned());
    event.raw_path = Some(path);
    event.body =
        Some(json!({ "id": invocation, "at": now.to_rfc3339_opts(SecondsFormat::Millis, true) }).to_string());
    event.is_base64_encoded = false;
}

/// Whether a request is the canary's.
pub fn is_canary(request: &Request) -> bool {
    let context = request.request_context_ref();
    matches!(context, Some(RequestContext::ApiGatewayV2(context)) if context.apiid.as_deref() == Some(API_ID))
}
