//! Stores single results in DynamoDB. The key is `result` and `run`, where `run` is the id of a run or `latest`.

use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::{DisplayErrorContext, SdkError};
use aws_sdk_dynamodb::operation::put_item::PutItemError;
use aws_sdk_dynamodb::types::AttributeValue;
use pinlake_results::QueryResult;
use serde_json::json;

/// Maximum size of the rows in an item; larger rows are only in the lake. DynamoDB allows 400 KB for an item, attribute
/// names included (DynamoDB Developer Guide, "Quotas").
const MAX_ROW_BYTES: usize = 350 * 1024;

/// A result could not be stored in the results table.
#[derive(Debug, thiserror::Error)]
#[error("results table: cannot store {result} of run {run}: {why}")]
pub struct ResultsTableError {
    /// The result.
    pub result: String,
    /// The run.
    pub run: String,
    /// The error of DynamoDB.
    pub why: String,
}

/// Stores single results for lookups.
#[async_trait]
pub trait ResultsTable: Send + Sync {
    /// Stores a result under its run, and as `latest` unless a later run is stored there. `path` is the path of all
    /// results of the run in the lake.
    ///
    /// # Errors
    /// If the table fails. Storing the result again is safe.
    async fn put_result(
        &self,
        run: &str,
        name: &str,
        result: &QueryResult,
        path: &str,
    ) -> Result<(), ResultsTableError>;
}

/// The table in DynamoDB.
#[derive(Debug, Clone)]
pub struct DynamoResults {
    /// The client.
    pub client: Client,
    /// The name of the table.
    pub table: String,
}

#[async_trait]
impl ResultsTable for DynamoResults {
    async fn put_result(
        &self,
        run: &str,
        name: &str,
        result: &QueryResult,
        path: &str,
    ) -> Result<(), ResultsTableError> {
        for key in [run, "latest"] {
            let mut put = self.client.put_item().table_name(&self.table);
            for (attribute, value) in build_item(key, run, name, result, path) {
                put = put.item(attribute, value);
            }
            if key == "latest" {
                put = put
                    .condition_expression("attribute_not_exists(run_id) OR run_id <= :run")
                    .expression_attribute_values(":run", AttributeValue::S(run.to_owned()));
            }
            match put.send().await {
                Ok(_) => {}
                Err(SdkError::ServiceError(error)) if has_later_run(error.err()) => {}
                Err(error) => {
                    let why = DisplayErrorContext(error).to_string();
                    return Err(ResultsTableError { result: name.to_owned(), run: run.to_owned(), why });
                }
            }
        }
        Ok(())
    }
}

fn has_later_run(error: &PutItemError) -> bool {
    matches!(error, PutItemError::ConditionalCheckFailedException(_))
}

fn build_item(
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
    if rows.len() <= MAX_ROW_BYTES {
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
            build_item("latest", "r", "n", &result(rows), "results/runs/r.json")
                .iter()
                .any(|(name, _)| *name == attribute)
        };
        assert!(has(10, "rows") && has(10, "path"));
        assert!(!has(400, "rows") && has(400, "path"));
    }
}
