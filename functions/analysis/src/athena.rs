//! Amazon Athena as the engine: the same SQL over the same Delta tables, by their names in the Glue catalog.
//!
//! A query is started under a token, so that an event which is delivered again finds the execution that the first
//! delivery started; it is looked after until it ends or its time is over, and then stopped; its rows come in pages.

mod cells;

use std::sync::Arc;

use async_trait::async_trait;
use aws_sdk_athena::Client;
use aws_sdk_athena::config::retry::RetryConfig;
use aws_sdk_athena::error::{DisplayErrorContext, SdkError};
use aws_sdk_athena::operation::start_query_execution::StartQueryExecutionError;
use aws_sdk_athena::types::{QueryExecutionContext, QueryExecutionState, QueryExecutionStatus};
use pinlake_analytics::{FailureKind, Limits, Query, QueryFailure};
use pinlake_env::{Backoff, Rng};
use tokio::time::{Duration, sleep, timeout};

use self::cells::cells;
use crate::engine::{Answered, Elsewhere};

/// How often a request is made that Athena throttles or fails to answer. Its quotas count requests a second, of the whole
/// account.
const REQUEST_ATTEMPTS: u32 = 8;

/// Between looks at an execution: most end within seconds.
const LOOKS: Backoff =
    Backoff { first: Duration::from_millis(500), most: Duration::from_secs(5), attempts: u32::MAX };

/// Executions of a query, when Athena says of a failed one that another may succeed.
const EXECUTIONS: Backoff =
    Backoff { first: Duration::from_secs(2), most: Duration::from_secs(20), attempts: 3 };

/// Athena, as one workgroup and one database.
pub struct Athena {
    client: Client,
    database: String,
    workgroup: String,
    limits: Limits,
    rng: Arc<Rng>,
}

/// Why an execution gave no rows.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Problem {
    kind: FailureKind,
    what: String,
    /// Whether another execution may do better.
    may_pass: bool,
}

impl Problem {
    fn new(kind: FailureKind, what: impl Into<String>) -> Self {
        Problem { kind, what: what.into(), may_pass: false }
    }

    /// As the failure of a query, which is one line; Athena's texts go over several at times.
    fn of(self, query: &Query) -> QueryFailure {
        let what = self.what.split_whitespace().collect::<Vec<_>>().join(" ");
        let line = line_in(&what);
        QueryFailure { line, ..QueryFailure::new(&query.file, self.kind, what.trim_end_matches('.')) }
    }
}

/// How far an execution is.
#[derive(Debug, PartialEq, Eq)]
enum Stage {
    Running,
    Done,
    Failed(Problem),
}

impl Athena {
    /// Queries over the tables of `database` in `workgroup`, which says where Athena keeps its own results. Of the limits,
    /// those of time and rows hold.
    pub fn new(
        config: &aws_config::SdkConfig,
        database: String,
        workgroup: String,
        limits: Limits,
        rng: Arc<Rng>,
    ) -> Self {
        let retries = RetryConfig::standard().with_max_attempts(REQUEST_ATTEMPTS);
        let config = aws_sdk_athena::config::Builder::from(config).retry_config(retries).build();
        Athena { client: Client::from_conf(config), database, workgroup, limits, rng }
    }

    async fn execute(&self, sql: &str, token: &str) -> Result<Answered, Problem> {
        let execution = self.start(sql, token).await?;
        match timeout(self.limits.query_time, self.end_of(&execution)).await {
            Ok(ended) => ended?,
            Err(_) => {
                let seconds = self.limits.query_time.as_secs();
                // It would go on, and cost.
                let stopped = self.client.stop_query_execution().query_execution_id(&execution).send().await;
                if let Err(error) = stopped {
                    tracing::warn!(execution, error = %DisplayErrorContext(error), "not stopped");
                }
                let what = format!("execution {execution} was not done after {seconds} seconds");
                return Err(Problem::new(FailureKind::Limit, what));
            }
        }
        self.rows_of(&execution).await
    }

    async fn start(&self, sql: &str, token: &str) -> Result<String, Problem> {
        let started = self
            .client
            .start_query_execution()
            .query_string(sql)
            .client_request_token(token)
            .query_execution_context(QueryExecutionContext::builder().database(&self.database).build())
            .work_group(&self.workgroup)
            .send()
            .await
            .map_err(not_started)?;
        let id = started.query_execution_id.filter(|id| !id.is_empty());
        id.ok_or_else(|| Problem::new(FailureKind::Service, "Athena named no execution"))
    }

    /// Waits until the execution is done.
    async fn end_of(&self, execution: &str) -> Result<(), Problem> {
        for wait in LOOKS.delays(&self.rng) {
            sleep(wait).await;
            let looked = self.client.get_query_execution().query_execution_id(execution).send().await;
            let looked = looked.map_err(not_reached)?;
            match stage(looked.query_execution().and_then(|found| found.status())) {
                Stage::Running => {}
                Stage::Done => return Ok(()),
                Stage::Failed(problem) => return Err(problem),
            }
        }
        Err(Problem::new(FailureKind::Limit, format!("execution {execution} does not end")))
    }

    async fn rows_of(&self, execution: &str) -> Result<Answered, Problem> {
        let mut pages = self.client.get_query_results().query_execution_id(execution).into_paginator().send();
        let (mut columns, mut rows) = (Vec::new(), Vec::new());
        let mut header = 1;
        while let Some(page) = pages.next().await {
            let page = page.map_err(not_reached)?;
            let Some(found) = page.result_set() else { continue };
            let known = found.result_set_metadata().map(|told| told.column_info()).unwrap_or_default();
            columns = known.iter().map(|column| column.name().to_owned()).collect();
            // The first row of the first page is the columns' names.
            rows.extend(found.rows().iter().skip(header).map(|row| cells(known, row)));
            header = 0;
            if rows.len() > self.limits.result_rows {
                let what = format!("the result has more than {} rows", self.limits.result_rows);
                return Err(Problem::new(FailureKind::Limit, what));
            }
        }
        Ok(Answered { columns, rows })
    }
}

#[async_trait]
impl Elsewhere for Athena {
    async fn answer(&self, query: &Query, id: &str) -> Result<Answered, QueryFailure> {
        let mut waits = EXECUTIONS.delays(&self.rng);
        let mut executions = 0;
        loop {
            // The number is part of the token: under the same one Athena would hand out the failed execution again.
            let problem = match self.execute(&query.sql, &format!("{id}-{executions}")).await {
                Ok(answered) => return Ok(answered),
                Err(problem) => problem,
            };
            let Some(wait) = waits.next().filter(|_| problem.may_pass) else {
                return Err(problem.of(query));
            };
            tracing::warn!(result = query.name, problem.what, "Athena failed and asks to be asked again");
            sleep(wait).await;
            executions += 1;
        }
    }
}

fn stage(status: Option<&QueryExecutionStatus>) -> Stage {
    let Some(status) = status else { return Stage::Running };
    let said = status.state_change_reason().filter(|reason| !reason.is_empty()).unwrap_or("it says no more");
    match status.state() {
        Some(QueryExecutionState::Succeeded) => Stage::Done,
        // Somebody stopped it, or the workgroup's limit of bytes did.
        Some(QueryExecutionState::Cancelled) => {
            Stage::Failed(Problem::new(FailureKind::Limit, format!("Athena cancelled it: {said}")))
        }
        Some(QueryExecutionState::Failed) => {
            let error = status.athena_error();
            // 1 is the system's fault, 2 the user's, 3 neither's (AthenaError, Athena API Reference).
            let kind = match error.and_then(|error| error.error_category()) {
                Some(1 | 3) => FailureKind::Service,
                _ => FailureKind::Query,
            };
            let may_pass = error.is_some_and(|error| error.retryable());
            Stage::Failed(Problem { kind, what: format!("Athena failed: {said}"), may_pass })
        }
        _ => Stage::Running,
    }
}

fn not_started<R: std::fmt::Debug + Send + Sync + 'static>(
    error: SdkError<StartQueryExecutionError, R>,
) -> Problem {
    match error.as_service_error() {
        Some(StartQueryExecutionError::InvalidRequestException(refused))
            if refused.athena_error_code() == Some("MALFORMED_QUERY") =>
        {
            let said = refused.message().unwrap_or("it says no more");
            Problem::new(FailureKind::Query, format!("Athena refused: {said}"))
        }
        _ => not_reached(error),
    }
}

fn not_reached(error: impl std::error::Error) -> Problem {
    let why = DisplayErrorContext(error);
    Problem::new(FailureKind::Service, format!("Athena did not do what it was asked: {why}"))
}

/// Trino names the place in its text: `line 3:7: Column 'colour' cannot be resolved`.
fn line_in(text: &str) -> Option<u64> {
    let (_, after) = text.split_once("line ")?;
    let (line, _) = after.split_once(':')?;
    line.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use aws_sdk_athena::types::AthenaError;

    fn status(state: QueryExecutionState, reason: &str, error: Option<(i32, bool)>) -> Stage {
        let error = error.map(|(category, retryable)| {
            AthenaError::builder().error_category(category).retryable(retryable).build()
        });
        let status = QueryExecutionStatus::builder().state(state).state_change_reason(reason);
        stage(Some(&status.set_athena_error(error).build()))
    }

    fn failed(kind: FailureKind, what: &str, may_pass: bool) -> Stage {
        Stage::Failed(Problem { kind, what: what.to_owned(), may_pass })
    }

    #[test]
    fn an_execution_runs_until_athena_says_that_it_ended() {
        use QueryExecutionState::*;
        assert_eq!(stage(None), Stage::Running);
        assert_eq!(status(Queued, "", None), Stage::Running);
        assert_eq!(status(Running, "", None), Stage::Running);
        assert_eq!(status(Succeeded, "", None), Stage::Done);
        let wrong = "SYNTAX_ERROR: line 3:7: Column 'colour' cannot be resolved";
        let what = format!("Athena failed: {wrong}");
        let query = Query { name: "q".to_owned(), file: "q.sql".to_owned(), sql: String::new() };
        assert_eq!(
            Problem::new(FailureKind::Query, format!("{what}.\n")).of(&query).to_string(),
            format!("q.sql:3: {what}; mend the query")
        );
        assert_eq!(status(Failed, wrong, Some((2, false))), failed(FailureKind::Query, &what, false));
        assert_eq!(status(Failed, wrong, None), failed(FailureKind::Query, &what, false));
        assert_eq!(line_in(&what), Some(3));
        let what = "Athena failed: it says no more";
        assert_eq!(status(Failed, "", Some((1, true))), failed(FailureKind::Service, what, true));
        assert_eq!(line_in(what), None);
        let what = "Athena cancelled it: Bytes scanned limit was exceeded";
        let told = status(Cancelled, "Bytes scanned limit was exceeded", None);
        assert_eq!(told, failed(FailureKind::Limit, what, false));
    }
}
