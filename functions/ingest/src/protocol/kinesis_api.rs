//! The API of Kinesis Data Streams itself: `PutRecord` and `PutRecords`, so that an AWS SDK with another endpoint
//! works.
//!
//! Source: Kinesis API reference. A request is `POST /` with `X-Amz-Target: Kinesis_20131202.PutRecord` and JSON 1.1;
//! the body names the stream. `Data` is base64. An SDK that sends CBOR has to be told to send JSON. Its signature is
//! not checked here: an API key may be the access key id of the SDK's credentials.

use http::StatusCode;
use lambda_http::Request;

use super::kinesis;
use crate::endpoint::{CompletedWrite, Endpoint, Method, Operation, Protocol, RequestContext, Resource};
use crate::error::ApiError;
use crate::packing::PackedRequest;
use crate::protocol::Route;
use crate::response::ApiResponse;

/// The header that names the operation.
const TARGET: &str = "x-amz-target";
const PREFIX: &str = "Kinesis_20131202.";

/// The Kinesis API.
#[derive(Debug)]
pub struct KinesisApi;

/// Requests without a target that is known.
const ENDPOINTS: &[Endpoint] =
    &[Endpoint::new("/", &[Method::new("POST", Resource::None, write(decode_unknown, encode_nothing))])];

static PUT_RECORD: Endpoint = Endpoint::new(
    "/",
    &[Method::new("POST", Resource::BodyStream, write(kinesis::decode_put, kinesis::encode_put_record))],
);

static PUT_RECORDS: Endpoint = Endpoint::new(
    "/",
    &[Method::new("POST", Resource::BodyStream, write(kinesis::decode_put, kinesis::encode_put_records))],
);

static UNKNOWN: &Endpoint = &ENDPOINTS[0];

const fn write(decode: crate::endpoint::DecodeFn, encode: crate::endpoint::EncodeFn) -> Operation {
    Operation::Write { decode, encode }
}

/// The route of a request that has a target of the Kinesis API; `None` for other requests.
pub(super) fn route_target(request: &Request) -> Option<Route> {
    let target = request.headers().get(TARGET)?.to_str().ok()?.strip_prefix(PREFIX)?;
    let endpoint = match target {
        "PutRecord" => &PUT_RECORD,
        "PutRecords" => &PUT_RECORDS,
        _ => UNKNOWN,
    };
    Some(Route { protocol: &KinesisApi, endpoint: Some(endpoint), parameters: Vec::new() })
}

impl Protocol for KinesisApi {
    fn name(&self) -> &'static str {
        "kinesis api"
    }

    fn content_type(&self) -> &'static str {
        "application/x-amz-json-1.1"
    }

    fn endpoints(&self) -> &'static [Endpoint] {
        ENDPOINTS
    }

    fn path_keywords(&self) -> &'static [&'static str] {
        &[]
    }

    fn encode_error(&self, error: &ApiError, _: &str) -> ApiResponse {
        kinesis::encode_error(error)
    }
}

fn decode_unknown(_: &RequestContext<'_>, _: &str) -> Result<PackedRequest, ApiError> {
    Err(ApiError::UnknownOperation)
}

fn encode_nothing(_: &CompletedWrite<'_>) -> (StatusCode, String) {
    (StatusCode::OK, "{}".to_owned())
}
