//! Wires report to AWS: settings, the lake, handler, metrics.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;

use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::lambda_runtime::run;
use lambda_http::request::LambdaRequest;
use lambda_http::tower::ServiceBuilder;
use lambda_http::{Adapter, Body, Error, LambdaEvent, Request, Response, service_fn};
use pinlake_env::Env;
use pinlake_lake::Lake;
use pinlake_platform::access::Access;
use pinlake_platform::deployment::{Deployed, Deployment};
use pinlake_platform::location::Location;
use pinlake_platform::metrics::report as metric;
use pinlake_platform::settings;
use pinlake_platform::telemetry::{self, Metrics};
use report::app::{App, RequestSummary};
use serde_json::Value;
use tokio::sync::Mutex;

/// Memory for keys of rows, which this function never reads.
const KEY_BYTES: usize = 0;

// Lambda sends one request at a time, and a request waits for S3, so one thread is enough.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let (metrics, env) = (Metrics::from_settings(), Env::system());
    let location = Location::from_setting("PINLAKE_LAKE")?;
    let fits = |new: &Deployed| Access::from_settings(&new.catalog, false).map(drop);
    let deployment = Deployment::from_settings(false, env.clock.clone(), fits).await?;
    let catalog = deployment.catalog();
    let access = Access::from_settings(&catalog, false)?;
    let lake = Lake::new(location.open().await?, env.clone()).with_key_bytes(KEY_BYTES);
    let title = settings::optional("PINLAKE_TITLE").unwrap_or_else(|| "pinlake".to_owned());
    let app = App::new(lake, catalog, access, title, location.to_string(), env.clone()).with_objective(
        Some(settings::parse_or("PINLAKE_FRESHNESS_OBJECTIVE", 0)?).filter(|seconds| *seconds > 0),
    );
    let state = Arc::new(Mutex::new(State { deployment, app, metrics, env }));
    let handler = service_fn(move |request: Request| handle(Arc::clone(&state), request));
    run(ServiceBuilder::new().map_request(to_lambda_request).service(Adapter::from(handler))).await
}

/// What a warm function keeps. Lambda sends one request at a time.
struct State {
    deployment: Deployment,
    app: App,
    metrics: Metrics,
    env: Env,
}

async fn handle(state: Arc<Mutex<State>>, request: Request) -> Result<Response<Body>, Infallible> {
    let mut state = state.lock().await;
    let State { deployment, app, metrics, env } = &mut *state;
    // The keys must fit the contracts.
    let take = |new: &Deployed| {
        Access::from_settings(&new.catalog, false).map(|access| (new.catalog.clone(), access))
    };
    if let Some((catalog, access)) = deployment.refresh(take).await {
        app.deploy(catalog, access);
    }
    // Boxed, because the compiler cannot tell otherwise that the future of this function is `Send`.
    let handled: Pin<Box<dyn Future<Output = Response<Body>> + Send + '_>> = Box::pin(app.handle(request));
    let response = handled.await;
    if let Some(summary) = response.extensions().get::<RequestSummary>() {
        emit_metrics(metrics, env, summary);
        metrics.emit_broken_contracts(env.clock.now(), metric::CONTRACTS_BROKEN, deployment);
    }
    Ok(response)
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
