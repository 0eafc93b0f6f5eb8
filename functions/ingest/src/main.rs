//! Wires ingest to AWS: settings, clients, handler, metrics.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use aws_config::SdkConfig;
use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Builder};
use ingest::access::Access;
use ingest::app::{App, RequestSummary};
use ingest::canary;
use ingest::cors::Cors;
use ingest::stream::kinesis::KinesisStream;
use ingest::webhook::Webhooks;
use ingest::webhook::aws::AwsSecrets;
use ingest::writer::WriteRetryPolicy;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::lambda_runtime::run;
use lambda_http::request::LambdaRequest;
use lambda_http::tower::ServiceBuilder;
use lambda_http::{Adapter, Body, Error, LambdaEvent, Request, Response, service_fn};
use pinlake_env::Env;
use pinlake_platform::deployment::{Deployed, Deployment};
use pinlake_platform::metrics::ingest as metric;
use pinlake_platform::settings;
use pinlake_platform::telemetry::{self, Metrics};
use serde_json::Value;
use tokio::sync::Mutex;

// Lambda sends one request at a time, and a request waits for one call at a time, so one thread is enough.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let metrics = Metrics::from_settings();
    let env = Env::system();
    let has_webhooks = settings::parse_or("PINLAKE_WEBHOOKS", false)?;
    let fits = |new: &Deployed| Access::from_settings(&new.catalog, has_webhooks).map(drop);
    let deployment = Deployment::from_settings(false, env.clock.clone(), fits).await?;
    let catalog = deployment.catalog();
    let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let app = App {
        stream: KinesisStream::new(kinesis_client(&aws), settings::required("PINLAKE_STREAM")?),
        access: Access::from_settings(&catalog, has_webhooks)?,
        cors: Cors::parse(&settings::optional("PINLAKE_CORS_ORIGINS").unwrap_or_default())
            .map_err(|error| format!("PINLAKE_CORS_ORIGINS: {error}"))?,
        reads_enabled: settings::parse_or("PINLAKE_READS", false)?,
        is_paused: settings::parse_or("PINLAKE_PAUSED", false)?,
        webhooks: match has_webhooks {
            true => Webhooks::new(Arc::new(AwsSecrets::new(&aws, env.clone()))),
            false => Webhooks::default(),
        },
        catalog,
        retry_policy: WriteRetryPolicy::default(),
        env: env.clone(),
    };
    let state = Arc::new(Mutex::new(State { deployment, app, has_webhooks, metrics, env: env.clone() }));
    let handler = service_fn(move |request: Request| handle(Arc::clone(&state), request));
    let to_request = |event| to_lambda_request(event, &env);
    run(ServiceBuilder::new().map_request(to_request).service(Adapter::from(handler))).await
}

/// What a warm function keeps. Lambda sends one request at a time.
struct State {
    deployment: Deployment,
    app: App<KinesisStream>,
    has_webhooks: bool,
    metrics: Metrics,
    env: Env,
}

async fn handle(state: Arc<Mutex<State>>, request: Request) -> Result<Response<Body>, Infallible> {
    let mut state = state.lock().await;
    let State { deployment, app, has_webhooks, metrics, env } = &mut *state;
    // The keys must fit the contracts: one that is limited to datasets cannot be valid for what they reroute.
    let take = |new: &Deployed| {
        Access::from_settings(&new.catalog, *has_webhooks).map(|access| (new.catalog.clone(), access))
    };
    if let Some(taken) = deployment.refresh(take).await {
        (app.catalog, app.access) = taken;
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
fn to_lambda_request(
    mut event: LambdaEvent<ApiGatewayV2httpRequest>,
    env: &Env,
) -> LambdaEvent<LambdaRequest> {
    canary::add_record(&mut event.payload, &event.context.request_id, env.clock.now());
    LambdaEvent::new(LambdaRequest::ApiGatewayV2(event.payload), event.context)
}

/// A client that does not retry, because the writer retries single records.
fn kinesis_client(shared: &SdkConfig) -> aws_sdk_kinesis::Client {
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_timeout(Duration::from_secs(4))
        .build();
    let config = Builder::from(shared).retry_config(RetryConfig::disabled()).timeout_config(timeouts).build();
    aws_sdk_kinesis::Client::from_conf(config)
}

/// Emits the metrics of a request, and logs it in the same line.
fn emit_metrics(metrics: &Metrics, env: &Env, summary: &RequestSummary) {
    let count = |is_true: bool| if is_true { 1.0 } else { 0.0 };
    let values = [
        (metric::REQUESTS, 1.0),
        (metric::REQUESTS_REJECTED, count((400..500).contains(&summary.status))),
        (metric::REQUESTS_FAILED, count(summary.status >= 500)),
        (metric::BYTES, summary.bytes as f64),
        (metric::RECORDS_STORED, summary.stored as f64),
        (metric::RECORDS_FAILED, summary.failed as f64),
        (metric::RECORDS_READ, summary.read as f64),
        (metric::RETRIES, summary.retries as f64),
    ];
    // Only one line per request: with small requests, logs are half of the cost.
    let fields = [
        ("api", Some(summary.protocol)),
        ("caller", summary.caller.as_deref()),
        ("request", summary.request_id.as_deref()),
        ("rejected", summary.error.as_deref()),
    ];
    let fields = fields.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::from(text?))));
    let status = ("status".to_owned(), Value::from(summary.status));
    let fields = fields.chain([status]).collect();
    metrics.emit_with_fields(env.clock.now(), summary.dataset.as_deref(), &values, fields);
}
