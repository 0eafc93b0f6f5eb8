//! Runs queries on Amazon Athena, over the Delta tables that the Glue catalog names.
//!
//! An execution starts with a client request token, so that a redelivered event finds the execution that the first
//! delivery started. It is polled until it ends, or stopped when it reaches its time limit. Its rows are fetched in
//! pages.

mod cells;

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_athena::Client;
use aws_sdk_athena::config::retry::RetryConfig;
use aws_sdk_athena::error::{DisplayErrorContext, SdkError};
use aws_sdk_athena::operation::start_query_execution::StartQueryExecutionError;
use aws_sdk_athena::types::{QueryExecutionContext, QueryExecutionState, QueryExecutionStatus};
use pinlake_analytics::{FailureKind, Query, QueryFailure, QueryLimits};
use pinlake_env::{RetryPolicy, Rng};
use tokio::time::{Duration, sleep, timeout};

use self::cells::parse_row;
use crate::engine::{ExternalEngine, QueryRows};

/// Attempts of one request. Athena throttles requests by quotas per second for the whole account.
const MAX_REQUEST_ATTEMPTS: u32 = 8;

/// Delays between polls of an execution. Most executions end within seconds.
const POLLING: RetryPolicy = RetryPolicy {
    max_attempts: u32::MAX,
    initial_delay: Duration::from_millis(500),
    max_delay: Duration::from_secs(5),
};

/// Executions of a query, if Athena reports that a failed one is retryable.
const EXECUTION_RETRIES: RetryPolicy = RetryPolicy {
    max_attempts: 3,
    initial_delay: Duration::from_secs(2),
    max_delay: Duration::from_secs(20),
};

/// One workgroup and one database of Athena.
pub struct Athena {
    client: Client,
    database: String,
    workgroup: String,
    limits: QueryLimits,
    rng: Arc<Rng>,
}

/// Why an execution returned no rows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct ExecutionError {
    kind: FailureKind,
    message: String,
    /// Whether another execution may succeed.
    is_retryable: bool,
}

impl ExecutionError {
    fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        ExecutionError { kind, message: message.into(), is_retryable: false }
    }

    /// Converts to a failure of `query`, in one line; messages of Athena can have several.
    fn into_failure(self, query: &Query) -> QueryFailure {
        let what = self.message.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = line_in(&what);
        QueryFailure { line, ..QueryFailure::new(&query.file, self.kind, what.trim_end_matches('.')) }
    }
}

/// The state of an execution.
#[derive(Debug, PartialEq, Eq)]
enum ExecutionState {
    Running,
    Done,
    Failed(ExecutionError),
}

impl Athena {
    /// Creates an engine over the tables of `database`. The settings of `workgroup` say where Athena stores its
    /// results. Of `limits`, time and rows apply.
    pub fn new(
        config: &aws_config::SdkConfig,
        database: String,
        workgroup: String,
        limits: QueryLimits,
        rng: Arc<Rng>,
    ) -> Self {
        let retries = RetryConfig::standard().with_max_attempts(MAX_REQUEST_ATTEMPTS);
        let config = aws_sdk_athena::config::Builder::from(config).retry_config(retries).build();
        Athena { client: Client::from_conf(config), database, workgroup, limits, rng }
    }

    async fn execute_once(&self, sql: &str, token: &str) -> Result<QueryRows, ExecutionError> {
        let execution = self.start(sql, token).await?;
        match timeout(self.limits.query_time, self.wait_until_done(&execution)).await {
            Ok(ended) => ended?,
            Err(_) => {
                let seconds = self.limits.query_time.as_secs();
                // Otherwise it continues and is billed.
                let stopped = self.client.stop_query_execution().query_execution_id(&execution).send().await;
                if let Err(error) = stopped {
                    tracing::warn!(execution, error = %DisplayErrorContext(error), "the execution could not be stopped");
                }
                let what = format!("execution {execution} was not done after {seconds} seconds");
                return Err(ExecutionError::new(FailureKind::Limit, what));
            }
        }
        self.fetch_rows(&execution).await
    }

    async fn start(&self, sql: &str, token: &str) -> Result<String, ExecutionError> {
        let started = self
            .client
            .start_query_execution()
            .query_string(sql)
            .client_request_token(token)
            .query_execution_context(QueryExecutionContext::builder().database(&self.database).build())
            .work_group(&self.workgroup)
            .send()
            .await
            .map_err(to_start_error)?;
        let id = started.query_execution_id.filter(|id| !id.is_empty());
        id.ok_or_else(|| ExecutionError::new(FailureKind::Service, "Athena returned no execution id"))
    }

    /// Polls until the execution is done.
    async fn wait_until_done(&self, execution: &str) -> Result<(), ExecutionError> {
        for delay in POLLING.delays(&self.rng) {
            sleep(delay).await;
            let response = self.client.get_query_execution().query_execution_id(execution).send().await;
            let response = response.map_err(to_service_error)?;
            match execution_state(response.query_execution().and_then(|found| found.status())) {
                ExecutionState::Running => {}
                ExecutionState::Done => return Ok(()),
                ExecutionState::Failed(error) => return Err(error),
            }
        }
        Err(ExecutionError::new(FailureKind::Limit, format!("execution {execution} does not end")))
    }

    async fn fetch_rows(&self, execution: &str) -> Result<QueryRows, ExecutionError> {
        let mut pages = self.client.get_query_results().query_execution_id(execution).into_paginator().send();
        let (mut columns, mut rows) = (Vec::new(), Vec::new());
        let mut header = 1;
        while let Some(page) = pages.next().await {
            let page = page.map_err(to_service_error)?;
            let Some(found) = page.result_set() else { continue };
            let known =
                found.result_set_metadata().map(|metadata| metadata.column_info()).unwrap_or_default();
            columns = known.iter().map(|column| column.name().to_owned()).collect();
            // The first row of the first page contains the names of the columns.
            rows.extend(found.rows().iter().skip(header).map(|row| parse_row(known, row)));
            header = 0;
            if rows.len() > self.limits.result_rows {
                let what = format!("the result has more than {} rows", self.limits.result_rows);
                return Err(ExecutionError::new(FailureKind::Limit, what));
            }
        }
        Ok(QueryRows { columns, rows })
    }
}

#[async_trait]
impl ExternalEngine for Athena {
    async fn execute(&self, query: &Query, execution_id: &str) -> Result<QueryRows, QueryFailure> {
        let mut delays = EXECUTION_RETRIES.delays(&self.rng);
        let mut executions = 0;
        loop {
            // With the same token Athena would return the failed execution again.
            let error = match self.execute_once(&query.sql, &format!("{execution_id}-{executions}")).await {
                Ok(rows) => return Ok(rows),
                Err(error) => error,
            };
            let Some(delay) = delays.next().filter(|_| error.is_retryable) else {
                return Err(error.into_failure(query));
            };
            tracing::warn!(result = query.name, error.message, "execution failed, starting another");
            sleep(delay).await;
            executions += 1;
        }
    }
}

fn execution_state(status: Option<&QueryExecutionStatus>) -> ExecutionState {
    let Some(status) = status else { return ExecutionState::Running };
    let reason =
        status.state_change_reason().filter(|reason| !reason.is_empty()).unwrap_or("no reason given");
    match status.state() {
        Some(QueryExecutionState::Succeeded) => ExecutionState::Done,
        // A user stopped it, or it reached the limit of bytes of the workgroup.
        Some(QueryExecutionState::Cancelled) => ExecutionState::Failed(ExecutionError::new(
            FailureKind::Limit,
            format!("Athena cancelled it: {reason}"),
        )),
        Some(QueryExecutionState::Failed) => {
            let error = status.athena_error();
            // 1 is the system, 2 the user, 3 other (AthenaError, Athena API Reference).
            let kind = match error.and_then(|error| error.error_category()) {
                Some(1 | 3) => FailureKind::Service,
                _ => FailureKind::Query,
            };
            let is_retryable = error.is_some_and(|error| error.retryable());
            ExecutionState::Failed(ExecutionError {
                kind,
                message: format!("Athena failed: {reason}"),
                is_retryable,
            })
        }
        _ => ExecutionState::Running,
    }
}

fn to_start_error<R: std::fmt::Debug + Send + Sync + 'static>(
    error: SdkError<StartQueryExecutionError, R>,
) -> ExecutionError {
    match error.as_service_error() {
        Some(StartQueryExecutionError::InvalidRequestException(rejected))
            if rejected.athena_error_code() == Some("MALFORMED_QUERY") =>
        {
            let reason = rejected.message().unwrap_or("no reason given");
            ExecutionError::new(FailureKind::Query, format!("Athena rejected the query: {reason}"))
        }
        _ => to_service_error(error),
    }
}

fn to_service_error(error: impl std::error::Error) -> ExecutionError {
    let why = DisplayErrorContext(error);
    ExecutionError::new(FailureKind::Service, format!("request to Athena failed: {why}"))
}

/// Trino names the line in its message: `line 3:7: Column 'colour' cannot be resolved`.
fn line_in(text: &str) -> Option<u64> {
    let (_, after) = text.split_once("line ")?;
    let (line, _) = after.split_once(':')?;
    line.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_athena::types::AthenaError;

    fn status(state: QueryExecutionState, reason: &str, error: Option<(i32, bool)>) -> ExecutionState {
        let error = error.map(|(category, retryable)| {
            AthenaError::builder().error_category(category).retryable(retryable).build()
        });
        let status = QueryExecutionStatus::builder().state(state).state_change_reason(reason);
        execution_state(Some(&status.set_athena_error(error).build()))
    }

    fn failed(kind: FailureKind, what: &str, is_retryable: bool) -> ExecutionState {
        ExecutionState::Failed(ExecutionError { kind, message: what.to_owned(), is_retryable })
    }

    #[test]
    fn states_of_athena_map_to_failures() {
        use QueryExecutionState::*;
        assert_eq!(execution_state(None), ExecutionState::Running);
        assert_eq!(status(Queued, "", None), ExecutionState::Running);
        assert_eq!(status(Running, "", None), ExecutionState::Running);
        assert_eq!(status(Succeeded, "", None), ExecutionState::Done);
        let wrong = "SYNTAX_ERROR: line 3:7: Column 'colour' cannot be resolved";
        let what = format!("Athena failed: {wrong}");
        let query = Query { name: "q".to_owned(), file: "q.sql".to_owned(), sql: String::new() };
        assert_eq!(
            ExecutionError::new(FailureKind::Query, format!("{what}.\n")).into_failure(&query).to_string(),
            format!("q.sql:3: {what}; fix the query")
        );
        assert_eq!(status(Failed, wrong, Some((2, false))), failed(FailureKind::Query, &what, false));
        assert_eq!(status(Failed, wrong, None), failed(FailureKind::Query, &what, false));
        assert_eq!(line_in(&what), Some(3));
        let what = "Athena failed: no reason given";
        assert_eq!(status(Failed, "", Some((1, true))), failed(FailureKind::Service, what, true));
        assert_eq!(line_in(what), None);
        let what = "Athena cancelled it: Bytes scanned limit was exceeded";
        let state = status(Cancelled, "Bytes scanned limit was exceeded", None);
        assert_eq!(state, failed(FailureKind::Limit, what, false));
    }
}
