//! Wires the analysis to AWS: settings, the lake, the engine, the results table, the handler.

use std::sync::Arc;

use analysis::athena::Athena;
use analysis::engine::Engine;
use analysis::results_table::DynamoResults;
use analysis::{Analysis, RunSummary};
use aws_config::SdkConfig;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use pinlake_analytics::{AnalyticsError, Dialect, QueryLimits, QuerySet};
use pinlake_env::Env;
use pinlake_lake::Lake;
use pinlake_platform::deployment::{Deployed, Deployment};
use pinlake_platform::location::Location;
use pinlake_platform::metrics::analysis as metric;
use pinlake_platform::telemetry::{self, Metrics};
use pinlake_platform::{aws, settings};
use serde_json::Value;
use tokio::sync::Mutex;

/// The part of the function's memory that queries may take. The rest is for what they do not count: the program,
/// Parquet that is being read, the results.
const QUERY_SHARE: usize = 2;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let (metrics, env) = (Metrics::from_settings(), Env::system());
    let config = aws::load_config().await;
    let store = Location::from_setting("PINLAKE_LAKE")?.open().await?;
    let (engine, dialect) = choose_engine(&config, &env)?;
    let fits = |new: &Deployed| load_queries(dialect, new).map(drop);
    let deployment = Deployment::from_settings(true, env.clock.clone(), fits).await?;
    let analysis = Analysis {
        lake: Lake::new(store, env.clone()),
        catalog: deployment.catalog(),
        queries: load_queries(dialect, deployment.deployed())?,
        engine,
        table: DynamoResults {
            client: aws_sdk_dynamodb::Client::new(&config),
            table: settings::required("PINLAKE_RESULTS_TABLE")?,
        },
        env: env.clone(),
    };
    // Lambda sends one invocation at a time.
    let state = Mutex::new((deployment, analysis));
    run(service_fn(async |event: LambdaEvent<Value>| {
        let (deployment, analysis) = &mut *state.lock().await;
        let take = |new: &Deployed| load_queries(dialect, new).map(|queries| (new.catalog.clone(), queries));
        if let Some(taken) = deployment.refresh(take).await {
            (analysis.catalog, analysis.queries) = taken;
        }
        metrics.emit_broken_contracts(env.clock.now(), metric::CONTRACTS_BROKEN, deployment);
        let summary =
            analysis.handle(&event.payload).await.inspect_err(|error| tracing::error!(%error, "run failed"));
        let values = match &summary {
            Ok(summary) => [(metric::RESULTS, summary.rows.len() as f64)],
            Err(_) => [(metric::FAILURES, 1.0)],
        };
        metrics.emit(env.clock.now(), None, &values);
        Ok::<RunSummary, Error>(summary?)
    }))
    .await
}

/// Chooses Athena if the settings name a workgroup, else this function, and the SQL dialect of the engine.
fn choose_engine(config: &SdkConfig, env: &Env) -> Result<(Engine, Dialect), Error> {
    let limits =
        QueryLimits { memory: settings::function_memory(1024)? / QUERY_SHARE, ..QueryLimits::default() };
    let Some(workgroup) = settings::optional("PINLAKE_ATHENA_WORKGROUP") else {
        return Ok((Engine::Local(limits), Dialect::Shared));
    };
    let (database, concurrency) = (settings::required("PINLAKE_ATHENA_DATABASE")?, limits.concurrent);
    let athena = Athena::new(config, database, workgroup, limits, env.rng.clone());
    Ok((Engine::External(Arc::new(athena), concurrency), Dialect::Athena))
}

/// The queries that are deployed.
fn load_queries(dialect: Dialect, deployed: &Deployed) -> Result<QuerySet, AnalyticsError> {
    match &deployed.queries {
        None => QuerySet::embedded(dialect),
        Some(texts) => QuerySet::from_files(dialect, texts.clone()),
    }
}
