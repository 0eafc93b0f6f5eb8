//! The table of results in DynamoDB: key `result` and `run`, where `run` is a run's id or `latest`.

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{DisplayErrorContext, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use pinlake_analytics::QueryResult;
use serde_json::json;

/// DynamoDB's limit is 400 KB an item, names and all (DynamoDB Developer Guide, "Quotas"): rows above this go without,
/// and the item points to the lake.
const MOST_ROW_BYTES: usize = 350 * 1024;

/// The table did not take a result.
#[derive(Debug, thiserror::Error)]
#[error("results table: {result} of run {run} was not taken: {why}")]
pub struct TableError {
    /// Which result.
    pub result: String,
    /// Of which run.
    pub run: String,
    /// The table's words.
    pub why: String,
}

/// Keeps single results for look-ups.
#[async_trait]
pub trait ResultsTable: Send + Sync {
    /// Keeps a result under its run, and as the latest unless a later run is there. `path` is where the whole results
    /// of the run lie in the lake.
    ///
    /// # Errors
    /// When the table does not take it; doing it again is safe.
    async fn keep(&self, run: &str, name: &str, result: &QueryResult, path: &str) -> Result<(), TableError>;
}

/// The table in DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoResults {
    /// How to reach it.
    pub client: Client,
    /// Its name.
    pub table: String,
}

#[async_trait]
impl ResultsTable for DynamoResults {
    async fn keep(&self, run: &str, name: &str, result: &QueryResult, path: &str) -> Result<(), TableError> {
        for key in [run, "latest"] {
            let mut put = self.client.put_item().table_name(&self.table);
            for (attribute, value) in item(key, run, name, result, path) {
                put = put.item(attribute, value);
            }
            if key == "latest" {
                put = put
                    .condition_expression("attribute_not_exists(run_id) OR run_id <= :run")
                    .expression_attribute_values(":run", AttributeValue::S(run.to_owned()));
            }
            match put.send().await {
                Ok(_) => {}
                Err(SdkError::ServiceError(error)) if is_later_there(error.err()) => {}
                Err(error) => {
                    let why = DisplayErrorContext(error).to_string();
                    return Err(TableError { result: name.to_owned(), run: run.to_owned(), why });
                }
            }
        }
        Ok(())
    }
}

fn is_later_there(error: &PutItemError) -> bool {
    matches!(error, PutItemError::ConditionalCheckFailedException(_))
}

fn item(
    key: &str,
    run: &str,
    name: &str,
    result: &QueryResult,
    path: &str,
) -> Vec<(&'static str, AttributeValue)> {
    let text = |text: String| AttributeValue::S(text);
    let rows = json!(result.rows).to_string();
    let mut item = vec![
        ("result", text(name.to_owned())),
        ("run", text(key.to_owned())),
        ("run_id", text(run.to_owned())),
        ("columns", text(json!(result.columns).to_string())),
        ("versions", text(json!(result.versions).to_string())),
        ("row_count", AttributeValue::N(result.rows.len().to_string())),
        ("path", text(path.to_owned())),
    ];
    if !result.moved.is_empty() {
        item.push(("moved", text(json!(result.moved).to_string())));
    }
    if rows.len() <= MOST_ROW_BYTES {
        item.push(("rows", text(rows)));
    }
    item
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_result_too_large_for_an_item_points_to_the_lake() {
        let result = |rows: usize| QueryResult {
            columns: vec!["text".to_owned()],
            rows: vec![vec![json!("x".repeat(1024))]; rows],
            versions: Default::default(),
            moved: Default::default(),
        };
        let has = |rows: usize, attribute: &str| {
            item("latest", "r", "n", &result(rows), "results/runs/r.json")
                .iter()
                .any(|(name, _)| *name == attribute)
        };
        assert!(has(10, "rows") && has(10, "path"));
        assert!(!has(400, "rows") && has(400, "path"));
    }
}
