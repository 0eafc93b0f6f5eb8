//! Wires ingest to AWS: settings, clients, handler, metrics.

use std::convert::Infallible;
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
use lambda_http::{Adapter, Error, LambdaEvent, Request, service_fn};
use pinlake_env::Env;
use pinlake_platform::metrics::ingest as metric;
use pinlake_platform::telemetry::{self, Metrics};
use pinlake_platform::{contracts, settings};
use serde_json::Value;

// Lambda sends one request at a time, and a request waits for one call at a time, so one thread is enough.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let metrics = Metrics::from_settings();
    let env = Env::system();
    let catalog =
        Arc::new(contracts::load_catalog(settings::optional_location("PINLAKE_DATASETS")?.as_ref()).await?);
    let aws = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let has_webhooks = settings::parse_or("PINLAKE_WEBHOOKS", false)?;
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
    let handler = service_fn(async |request: Request| {
        let response = app.handle(request).await;
        if let Some(summary) = response.extensions().get::<RequestSummary>() {
            emit_metrics(&metrics, &env, summary);
        }
        Ok::<_, Infallible>(response)
    });
    let to_request = |event| to_lambda_request(event, &env);
    run(ServiceBuilder::new().map_request(to_request).service(Adapter::from(handler))).await
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
