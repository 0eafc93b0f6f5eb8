//! Wires ingest to AWS: settings, clients, the handler.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::config::retry::RetryConfig;
use aws_sdk_kinesis::config::timeout::TimeoutConfig;
use aws_sdk_kinesis::config::{BehaviorVersion, Builder};
use ingest::app::{Access, App, Report};
use ingest::stream::KinesisStream;
use ingest::writer::RetryPolicy;
use lambda_http::aws_lambda_events::apigw::ApiGatewayV2httpRequest;
use lambda_http::lambda_runtime::run;
use lambda_http::request::LambdaRequest;
use lambda_http::tower::ServiceBuilder;
use lambda_http::{Adapter, Error, LambdaEvent, Request, service_fn};
use pinlake_env::Env;
use pinlake_platform::api_keys::ApiKeys;
use pinlake_platform::metrics::ingest as metric;
use pinlake_platform::telemetry::{self, Metrics};
use pinlake_platform::{contracts, settings};
use pinlake_schema::Catalog;
use serde_json::Value;

// A request is worked on alone, and waits for one thing at a time: other threads would only be woken up for it.
#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let metrics = Metrics::from_settings();
    let effects = Env::system();
    let catalog = Arc::new(contracts::catalog(settings::place("PINLAKE_DATASETS")?.as_ref()).await?);
    let app = App {
        stream: KinesisStream::new(kinesis().await, settings::required("PINLAKE_STREAM")?),
        access: access(&catalog)?,
        reads: settings::parsed("PINLAKE_READS", false)?,
        catalog,
        patience: RetryPolicy::default(),
        effects: effects.clone(),
    };
    let answered = service_fn(async |request: Request| {
        let response = app.handle(request).await;
        if let Some(report) = response.extensions().get::<Report>() {
            measure(&metrics, &effects, report);
        }
        Ok::<_, Infallible>(response)
    });
    run(ServiceBuilder::new().map_request(of_url).service(Adapter::from(answered))).await
}

/// A function URL's event. `lambda_http::run` would read every event twice, to find out which kind it is.
fn of_url(event: LambdaEvent<ApiGatewayV2httpRequest>) -> LambdaEvent<LambdaRequest> {
    LambdaEvent::new(LambdaRequest::ApiGatewayV2(event.payload), event.context)
}

/// Keys where there are some, else signatures; anyone only where that is said.
fn access(catalog: &Catalog) -> Result<Access, Error> {
    let keys = ApiKeys::parse(&settings::optional("PINLAKE_API_KEYS").unwrap_or_default(), catalog)?;
    Ok(match (settings::parsed("PINLAKE_ANONYMOUS", false)?, keys.is_empty()) {
        (true, true) => Access::Anyone,
        (true, false) => return Err("PINLAKE_ANONYMOUS and PINLAKE_API_KEYS are both set: choose one".into()),
        (false, true) => Access::Signed,
        (false, false) => Access::Keys(keys),
    })
}

/// A client that does not retry: the writer does, for the records that need it.
async fn kinesis() -> aws_sdk_kinesis::Client {
    let shared = aws_config::load_defaults(BehaviorVersion::latest()).await;
    let timeouts = TimeoutConfig::builder()
        .connect_timeout(Duration::from_secs(1))
        .operation_timeout(Duration::from_secs(4))
        .build();
    let config =
        Builder::from(&shared).retry_config(RetryConfig::disabled()).timeout_config(timeouts).build();
    aws_sdk_kinesis::Client::from_conf(config)
}

fn measure(metrics: &Metrics, effects: &Env, report: &Report) {
    let count = |holds: bool| if holds { 1.0 } else { 0.0 };
    let values = [
        (metric::REQUESTS, 1.0),
        (metric::REQUESTS_REJECTED, count((400..500).contains(&report.status))),
        (metric::REQUESTS_FAILED, count(report.status >= 500)),
        (metric::BYTES, report.bytes as f64),
        (metric::RECORDS_STORED, report.stored as f64),
        (metric::RECORDS_FAILED, report.failed as f64),
        (metric::RECORDS_READ, report.read as f64),
        (metric::RETRIES, report.retries as f64),
    ];
    // One line a request: at one record a request, what is logged is half of the bill.
    let told = [
        ("api", Some(report.api.name())),
        ("caller", report.caller.as_deref()),
        ("request", report.request.as_deref()),
        ("rejected", report.rejected.as_deref()),
    ];
    let told = told.into_iter().filter_map(|(name, text)| Some((name.to_owned(), Value::from(text?))));
    let status = ("status".to_owned(), Value::from(report.status));
    let told = told.chain([status]).collect();
    metrics.emit_with_fields(effects.clock.now(), report.dataset.as_deref(), &values, told);
}
