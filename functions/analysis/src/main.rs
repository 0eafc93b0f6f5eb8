//! Wires the analysis to AWS: settings, the lake, the engine, the results table, the handler.

use std::sync::Arc;

use analysis::athena::Athena;
use analysis::engine::Engine;
use analysis::results_table::DynamoResults;
use analysis::{Analysis, Answer};
use aws_config::SdkConfig;
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use pinlake_analytics::{Dialect, Limits, QuerySet};
use pinlake_env::Env;
use pinlake_lake::Lake;
use pinlake_platform::location::Location;
use pinlake_platform::telemetry::{self, Metrics, Unit};
use pinlake_platform::{contracts, settings};
use serde_json::Value;

/// The part of the function's memory that queries may take. The rest is for what they do not count: the program, Parquet
/// that is being read, the results.
const QUERY_SHARE: usize = 2;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let (metrics, effects) = (Metrics::of("analysis"), Env::system());
    let config = aws_config::load_from_env().await;
    let store = settings::location("PINLAKE_LAKE")?.open().await?;
    let (engine, dialect) = engine(&config, &effects)?;
    let analysis = Analysis {
        lake: Lake::new(store, effects.clone()),
        catalog: Arc::new(
            contracts::load_catalog(settings::optional_location("PINLAKE_DATASETS")?.as_ref()).await?,
        ),
        queries: queries(dialect, settings::optional_location("PINLAKE_QUERIES")?.as_ref()).await?,
        engine,
        table: DynamoResults {
            client: aws_sdk_dynamodb::Client::new(&config),
            table: settings::required("PINLAKE_RESULTS_TABLE")?,
        },
        effects: effects.clone(),
    };
    run(service_fn(async |event: LambdaEvent<Value>| {
        let answer = analysis
            .handle(&event.payload)
            .await
            .inspect_err(|error| tracing::error!(%error, "not analysed"));
        let values = match &answer {
            Ok(answer) => [("results", Unit::Count, answer.rows.len() as f64)],
            Err(_) => [("failures", Unit::Count, 1.0)],
        };
        metrics.emit(effects.clock.now(), None, &values);
        Ok::<Answer, Error>(answer?)
    }))
    .await
}

/// Athena where the settings name a workgroup, else this function; and whose SQL that is.
fn engine(config: &SdkConfig, effects: &Env) -> Result<(Engine, Dialect), Error> {
    // Lambda says how many MB it has (Lambda Developer Guide, "Using Lambda environment variables").
    let memory = settings::parse_or("AWS_LAMBDA_FUNCTION_MEMORY_SIZE", 1024_usize)? << 20;
    let limits = Limits { memory: memory / QUERY_SHARE, ..Limits::default() };
    let Some(workgroup) = settings::optional("PINLAKE_ATHENA_WORKGROUP") else {
        return Ok((Engine::Here(limits), Dialect::Shared));
    };
    let (database, at_once) = (settings::required("PINLAKE_ATHENA_DATABASE")?, limits.concurrent);
    let athena = Athena::new(config, database, workgroup, limits, effects.rng.clone());
    Ok((Engine::Elsewhere(Arc::new(athena), at_once), Dialect::Athena))
}

/// The SQL files in `place`; without a place those that are compiled in.
async fn queries(dialect: Dialect, place: Option<&Location>) -> Result<QuerySet, Error> {
    match place {
        None => Ok(QuerySet::embedded(dialect)?),
        Some(place) => Ok(QuerySet::from_files(dialect, place.read_texts("sql").await?)?),
    }
}
