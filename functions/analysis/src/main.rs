//! Wires the analysis to AWS: settings, the lake, the engine, the results table, the handler.

use std::sync::Arc;

use analysis::athena::Athena;
use analysis::engine::Engine;
use analysis::results_table::DynamoResults;
use analysis::{Analysis, RunSummary};
use aws_config::SdkConfig;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use pinlake_analytics::{Dialect, Limits, QuerySet};
use pinlake_env::Env;
use pinlake_lake::Lake;
use pinlake_platform::location::Location;
use pinlake_platform::metrics::analysis as metric;
use pinlake_platform::telemetry::{self, Metrics};
use pinlake_platform::{aws, contracts, settings};
use serde_json::Value;

/// The part of the function's memory that queries may take. The rest is for what they do not count: the program,
/// Parquet that is being read, the results.
const QUERY_SHARE: usize = 2;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let (metrics, env) = (Metrics::from_settings(), Env::system());
    let config = aws::load_config().await;
    let store = settings::location("PINLAKE_LAKE")?.open().await?;
    let (engine, dialect) = choose_engine(&config, &env)?;
    let analysis = Analysis {
        lake: Lake::new(store, env.clone()),
        catalog: Arc::new(
            contracts::load_catalog(settings::optional_location("PINLAKE_DATASETS")?.as_ref()).await?,
        ),
        queries: load_queries(dialect, settings::optional_location("PINLAKE_QUERIES")?.as_ref()).await?,
        engine,
        table: DynamoResults {
            client: aws_sdk_dynamodb::Client::new(&config),
            table: settings::required("PINLAKE_RESULTS_TABLE")?,
        },
        env: env.clone(),
    };
    run(service_fn(async |event: LambdaEvent<Value>| {
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
    // Lambda sets the memory in MB (Lambda Developer Guide, "Using Lambda environment variables").
    let memory = settings::parse_or("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 1024_usize)? << 20;
    let limits = Limits { memory: memory / QUERY_SHARE, ..Limits::default() };
    let Some(workgroup) = settings::optional("PINLAKE_ATHENA_WORKGROUP") else {
        return Ok((Engine::Local(limits), Dialect::Shared));
    };
    let (database, concurrency) = (settings::required("PINLAKE_ATHENA_DATABASE")?, limits.concurrent);
    let athena = Athena::new(config, database, workgroup, limits, env.rng.clone());
    Ok((Engine::External(Arc::new(athena), concurrency), Dialect::Athena))
}

/// Loads the SQL files in `place`, or the embedded ones if there is none.
async fn load_queries(dialect: Dialect, place: Option<&Location>) -> Result<QuerySet, Error> {
    match place {
        None => Ok(QuerySet::embedded(dialect)?),
        Some(place) => Ok(QuerySet::from_files(dialect, place.read_texts("sql").await?)?),
    }
}
