//! Wires the analysis to AWS: settings, the lake, the results table, the handler.

use std::sync::Arc;

use analysis::results_table::DynamoResults;
use analysis::{Analysis, Answer};
use lambda_runtime::{Error, LambdaEvent, run, service_fn};
use pinlake_analytics::QuerySet;
use pinlake_effects::Effects;
use pinlake_lake::Lake;
use pinlake_platform::location::Location;
use pinlake_platform::telemetry::{self, Metrics, Unit};
use pinlake_platform::{contracts, settings};
use serde_json::Value;

#[tokio::main]
async fn main() -> Result<(), Error> {
    telemetry::init();
    let (metrics, effects) = (Metrics::of("analysis"), Effects::system());
    let config = aws_config::load_from_env().await;
    let store = settings::location("PINLAKE_LAKE")?.open().await?;
    let analysis = Analysis {
        lake: Lake::new(store, effects.clone()),
        catalog: Arc::new(contracts::catalog(settings::place("PINLAKE_DATASETS")?.as_ref()).await?),
        queries: queries(settings::place("PINLAKE_QUERIES")?.as_ref()).await?,
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

/// The SQL files in `place`; without a place those that are compiled in.
async fn queries(place: Option<&Location>) -> Result<QuerySet, Error> {
    match place {
        None => Ok(QuerySet::embedded()?),
        Some(place) => Ok(QuerySet::from_files(place.read_texts("sql").await?)?),
    }
}
