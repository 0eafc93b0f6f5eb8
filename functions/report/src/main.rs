//! Wires report to AWS: settings, the lake, handler, metrics.

use std::convert::Infallible;
use std::sync::Arc;

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::lambda_runtime::run;
use lambda_http::request::LambdaRequest;
use lambda_http::tower::ServiceBuilder;
use lambda_http::{Adapter, Error, LambdaEvent, Request, service_fn};
use pinlake_env::Env;
use pinlake_lake::Lake;
use pinlake_platform::access::Access;
use pinlake_platform::metrics::report as metric;
use pinlake_platform::telemetry::{self, Metrics};
use pinlake_platform::{contracts, settings};
use report::app::{App, RequestSummary};
use serde_json::Value;

/// Memory for keys of rows, which this function never reads.
const KEY_BYTES: usize = 0;

// Lambda sends one request at a time, and a request waits for S3, so one thread is enough.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let (metrics, env) = (Metrics::from_settings(), Env::system());
    let location = settings::location("PINLAKE_LAKE")?;
    let catalog =
        Arc::new(contracts::load_catalog(settings::optional_location("PINLAKE_DATASETS")?.as_ref()).await?);
    let access = Access::from_settings(&catalog, false)?;
    let lake = Lake::new(location.open().await?, env.clone()).with_key_bytes(KEY_BYTES);
    let title = settings::optional("PINLAKE_TITLE").unwrap_or_else(|| "pinlake".to_owned());
    let app = App::new(lake, catalog, access, title, location.to_string(), env.clone()).with_objective(
        Some(settings::parse_or("PINLAKE_FRESHNESS_OBJECTIVE", 0)?).filter(|seconds| *seconds > 0),
    );
    let handler = service_fn(async |request: Request| {
        let response = app.handle(request).await;
        if let Some(summary) = response.extensions().get::<RequestSummary>() {
            emit_metrics(&metrics, &env, summary);
        }
        Ok::<_, Infallible>(response)
    });
    run(ServiceBuilder::new().map_request(to_lambda_request).service(Adapter::from(handler))).await
}

/// Converts the event of a function URL. `lambda_http::run` would parse every event twice to detect its kind.
fn to_lambda_request(event: LambdaEvent<ApiGatewayV2httpRequest>) -> LambdaEvent<LambdaRequest> {
    LambdaEvent::new(LambdaRequest::ApiGatewayV2(event.payload), event.context)
}

/// Emits the metrics of a request, and logs it in the same line.
fn emit_metrics(metrics: &Metrics, env: &Env, summary: &RequestSummary) {
    let count = |is_true: bool| if is_true { 1.0 } else { 0.0 };
    let values = [
        (metric::REQUESTS, 1.0),
        (metric::REQUESTS_REJECTED, count((400..500).contains(&summary.status))),
        (metric::REQUESTS_FAILED, count(summary.status >= 500)),
        (metric::BYTES, summary.bytes as f64),
    ];
    let fields = [
        ("caller", summary.caller.as_deref()),
        ("request", summary.request_id.as_deref()),
        ("error", summary.error),
    ];
    let fields = fields.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::from(text?))));
    let status = ("status".to_owned(), Value::from(summary.status));
    metrics.emit_with_fields(env.clock.now(), None, &values, fields.chain([status]).collect());
}
