//! Runs a query set with DataFusion.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};

use datafusion::{
    common::{TableReference, runtime::SpawnedTask, tree_node::TreeNodeRecursion},
    dataframe::DataFrame,
    error::DataFusionError,
    execution::{
        SessionStateBuilder, context::SQLOptions, memory_pool::FairSpillPool, runtime_env::RuntimeEnvBuilder,
    },
    logical_expr::LogicalPlan,
    prelude::{SessionConfig, SessionContext},
    sql::{
        parser::{DFParser, Statement},
        sqlparser::ast,
    },
};
use futures::{StreamExt, TryStreamExt};
use object_store::ObjectStore;
use pinlake_results::{QueryResult, Results};
use serde_json::Value;
use tokio::time::Instant;
use url::Url;

use crate::cell::append_rows;
use crate::column_cache::ColumnBudget;
use crate::cooperative_joins::CooperativeJoins;
use crate::error::{AnalyticsError, FailureKind, QueryFailure};
use crate::json_functions::list_json_functions;
use crate::query_set::{Query, QuerySet};
use crate::table::{PinnedTable, ReadCounter, STORE_URL, TableInput};

/// Bounds the resources of a run.
#[derive(Debug, Clone)]
pub struct QueryLimits {
    /// Memory of all queries together, in bytes. Up to a quarter of it caches columns.
    ///
    /// Joins, sorts and groups that need more spill to the system's folder for temporary files. A query that cannot
    /// spill (a median holds its values, a join its smaller side) runs again alone, and fails if that is not enough.
    pub memory: usize,
    /// Queries that run at the same time, each on one processor.
    pub concurrent: usize,
    /// Maximum time of one query.
    pub query_time: Duration,
    /// Maximum rows of one result.
    pub result_rows: usize,
}

impl Default for QueryLimits {
    /// 512 MiB; one query for each processor, and at least four; five minutes for a query; 100,000 rows for a result.
    fn default() -> Self {
        QueryLimits {
            memory: 512 * 1024 * 1024,
            // More queries than processors keep the processors busy while the longest query runs.
            concurrent: std::thread::available_parallelism().map_or(1, usize::from).max(4),
            query_time: Duration::from_secs(300),
            result_rows: 100_000,
        }
    }
}

/// Runs every query of the set over `tables` within the default [`QueryLimits`].
///
/// # Errors
/// See [`run_queries_with_limits`].
pub async fn run_queries(
    store: Arc<dyn ObjectStore>,
    tables: Vec<TableInput>,
    queries: &QuerySet,
) -> Result<Results, AnalyticsError> {
    run_queries_with_limits(store, tables, queries, &QueryLimits::default()).await
}

/// Runs every query of the set over `tables`.
///
/// # Errors
/// [`AnalyticsError::Tables`] if two tables have the same name; [`AnalyticsError::Queries`] with every query that
/// failed.
pub async fn run_queries_with_limits(
    store: Arc<dyn ObjectStore>,
    tables: Vec<TableInput>,
    queries: &QuerySet,
    limits: &QueryLimits,
) -> Result<Results, AnalyticsError> {
    run_each_query(store, tables, queries, limits).await?.into_results()
}

/// What became of the queries of a run.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct RunOutcome {
    /// One for each query, in the order of the set.
    pub queries: Vec<QueryOutcome>,
    /// How much of the data files was read.
    pub read: BytesRead,
}

/// How much of the data files the queries of a run read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct BytesRead {
    /// The bytes of columns that were read, as they are stored. Columns that the run had cached are not read again.
    pub read: u64,
    /// The size of the data files of all tables that the queries read.
    pub available: u64,
}

impl RunOutcome {
    /// The results of all queries.
    ///
    /// # Errors
    /// [`AnalyticsError::Queries`] with every query that failed.
    pub fn into_results(self) -> Result<Results, AnalyticsError> {
        let mut results = Vec::new();
        let mut failures = Vec::new();
        for QueryOutcome { name, result, .. } in self.queries {
            match result {
                Ok(result) => results.push((name, result)),
                Err(failure) => failures.push(failure),
            }
        }
        match failures.is_empty() {
            true => Ok(results.into_iter().collect()),
            false => Err(AnalyticsError::Queries(failures)),
        }
    }
}

/// What became of one query of a run.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryOutcome {
    /// Name of the result.
    pub name: String,
    /// The result, or why there is none.
    pub result: Result<QueryResult, QueryFailure>,
    /// How long the query ran, beside the others.
    pub elapsed: Duration,
}

/// Like [`run_queries_with_limits`], for callers that use the results of the other queries when one fails.
///
/// # Errors
/// [`AnalyticsError::Tables`] if two tables have the same name.
pub async fn run_each_query(
    store: Arc<dyn ObjectStore>,
    tables: Vec<TableInput>,
    queries: &QuerySet,
    limits: &QueryLimits,
) -> Result<RunOutcome, AnalyticsError> {
    let versions: BTreeMap<String, Option<u64>> =
        tables.iter().map(|table| (table.name.clone(), table.version)).collect();
    if versions.len() != tables.len() {
        return Err(AnalyticsError::Tables("two tables have the same name; give each table once".to_owned()));
    }
    let run = Run { store, tables, versions, limits: limits.clone(), counter: ReadCounter::default() };
    let mut outcomes = run.execute_all(queries.queries(), limits.concurrent, limits.memory / 4).await?;
    // A query that ran out of memory may succeed alone and without the column cache.
    if limits.concurrent > 1 {
        for (query, outcome) in queries.queries().iter().zip(&mut outcomes) {
            if matches!(&outcome.result, Err(failure) if failure.kind == FailureKind::Memory) {
                tracing::info!(query.file, "query ran out of memory, running it again alone");
                let alone = run.execute_all(std::slice::from_ref(query), 1, 0).await?;
                alone.into_iter().for_each(|again| *outcome = again);
            }
        }
    }
    let read = BytesRead { read: run.counter.bytes_read(), available: run.available_bytes(&outcomes) };
    Ok(RunOutcome { queries: outcomes, read })
}

/// The tables and limits of one run.
struct Run {
    store: Arc<dyn ObjectStore>,
    tables: Vec<TableInput>,
    versions: BTreeMap<String, Option<u64>>,
    limits: QueryLimits,
    counter: ReadCounter,
}

impl Run {
    /// The size of the data files of the tables that the queries read.
    fn available_bytes(&self, outcomes: &[QueryOutcome]) -> u64 {
        let results = outcomes.iter().filter_map(|outcome| outcome.result.as_ref().ok());
        let read: BTreeSet<&String> = results.flat_map(|result| result.versions.keys()).collect();
        let tables = self.tables.iter().filter(|table| read.contains(&table.name));
        tables.flat_map(|table| &table.files).map(|file| file.size).sum()
    }

    /// Executes each query, `concurrency` at a time. Up to `cache_bytes` of the memory cache columns.
    async fn execute_all(
        &self,
        queries: &[Query],
        concurrency: usize,
        cache_bytes: usize,
    ) -> Result<Vec<QueryOutcome>, AnalyticsError> {
        let context = self
            .create_session(cache_bytes)
            .map_err(|error| AnalyticsError::Tables(error.strip_backtrace()))?;
        let run = Arc::new((context, self.versions.clone(), self.limits.clone()));
        let outcomes = futures::stream::iter(queries.iter().cloned())
            .map(|query| {
                let (name, file, run) = (query.name.clone(), query.file.clone(), run.clone());
                // One task for each query, so that they share the processors.
                let task = SpawnedTask::spawn(async move {
                    let (context, versions, limits) = &*run;
                    let begun = Instant::now();
                    let result = execute_query(context, &query, versions, limits).await;
                    (result, begun.elapsed())
                });
                async move {
                    let limit = self.limits.query_time;
                    let failure = |kind, problem| Err(QueryFailure::new(&file, kind, problem));
                    let (result, elapsed) = match tokio::time::timeout(limit, task.join()).await {
                        Ok(Ok(done)) => done,
                        Ok(Err(error)) => {
                            let problem = format!("the engine aborted: {error}");
                            (failure(FailureKind::Engine, problem), Duration::ZERO)
                        }
                        Err(_) => {
                            let problem = format!("not done after {} seconds", limit.as_secs());
                            (failure(FailureKind::Limit, problem), limit)
                        }
                    };
                    QueryOutcome { name, result, elapsed }
                }
            })
            .buffered(concurrency.max(1));
        Ok(outcomes.collect().await)
    }

    /// Creates a session with these tables and nothing else.
    fn create_session(&self, cache_bytes: usize) -> Result<SessionContext, DataFusionError> {
        // With one partition a query exchanges no rows, and a set has enough queries for the processors. With two, a
        // query that spills may never finish: https://github.com/apache/datafusion/issues/24883, not fixed in 55.2.
        let mut config = SessionConfig::new().with_target_partitions(1);
        // Spark writes times as INT96, of which nanoseconds cover the years 1677 to 2262 only.
        config.options_mut().execution.parquet.coerce_int96 = Some("us".to_owned());
        // Line numbers for the errors.
        config.options_mut().sql_parser.collect_spans = true;
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(self.limits.memory)))
            .build_arc()?;
        let state = SessionStateBuilder::new_with_default_features()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_physical_optimizer_rule(Arc::new(CooperativeJoins))
            .build();
        let context = SessionContext::new_with_state(state);
        let url = Url::parse(STORE_URL).map_err(|error| DataFusionError::External(Box::new(error)))?;
        context.register_object_store(&url, self.store.clone());
        list_json_functions().for_each(|function| context.register_udf(function));
        let budget = Arc::new(ColumnBudget::new(cache_bytes, &context.task_ctx()));
        for table in self.tables.iter().cloned() {
            // A bare name is neither split at dots nor converted to lower case.
            let name = TableReference::bare(table.name.clone());
            context.register_table(
                name,
                Arc::new(PinnedTable::new(table, budget.clone(), self.counter.clone())?),
            )?;
        }
        Ok(context)
    }
}

async fn execute_query(
    context: &SessionContext,
    query: &Query,
    versions: &BTreeMap<String, Option<u64>>,
    limits: &QueryLimits,
) -> Result<QueryResult, QueryFailure> {
    let engine = |error: DataFusionError| QueryFailure::from_engine(&query.file, &error);

    let state = context.state();
    let statement = parse_statement(query)?;
    let ordered = has_order_by(&statement);
    let plan = state.statement_to_plan(statement).await.map_err(engine)?;
    read_only_options().verify_plan(&plan).map_err(engine)?;
    let read = tables_read(&plan).map_err(engine)?;
    let columns = plan.schema().fields().iter().map(|field| field.name().clone()).collect();

    let mut batches = DataFrame::new(state, plan).execute_stream().await.map_err(engine)?;
    let mut rows = Vec::new();
    while let Some(batch) = batches.try_next().await.map_err(engine)? {
        if rows.len() + batch.num_rows() > limits.result_rows {
            let problem = format!("the result has more than {} rows", limits.result_rows);
            return Err(QueryFailure::new(&query.file, FailureKind::Limit, problem));
        }
        append_rows(&batch, &mut rows).map_err(|error| engine(error.into()))?;
    }
    if !ordered {
        rows.sort_by_cached_key(|row| row.iter().map(sort_key).collect::<Vec<_>>());
    }

    let versions = versions.iter().filter(|(table, _)| read.contains(*table));
    let versions = versions.map(|(table, version)| (table.clone(), *version)).collect();
    Ok(QueryResult { columns, rows, versions, moved: BTreeMap::new() })
}

fn parse_statement(query: &Query) -> Result<Statement, QueryFailure> {
    let statements =
        DFParser::parse_sql(&query.sql).map_err(|error| QueryFailure::from_engine(&query.file, &error))?;
    let count = statements.len();
    let mut statements = statements.into_iter();
    match (statements.next(), count) {
        (Some(statement), 1) => Ok(statement),
        _ => {
            let problem = format!("{count} statements; a file holds one query");
            Err(QueryFailure::new(&query.file, FailureKind::Query, problem))
        }
    }
}

/// Forbids everything but queries: no DDL, no DML, no configuration.
fn read_only_options() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

fn has_order_by(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(statement) => {
            matches!(statement.as_ref(), ast::Statement::Query(query) if query.order_by.is_some())
        }
        _ => false,
    }
}

/// Orders the rows of a query without `ORDER BY`: by cells, nulls last, texts by their bytes.
fn sort_key(cell: &Value) -> (bool, Option<OrderedNumber>, String) {
    match cell {
        Value::Null => (true, None, String::new()),
        Value::Number(number) => (false, number.as_f64().map(OrderedNumber), number.to_string()),
        Value::String(text) => (false, None, text.clone()),
        other => (false, None, other.to_string()),
    }
}

/// A number of a cell, which is never NaN.
#[derive(PartialEq)]
struct OrderedNumber(f64);

impl Eq for OrderedNumber {}

impl Ord for OrderedNumber {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.0.total_cmp(&other.0)
    }
}

impl PartialOrd for OrderedNumber {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

/// The names of the tables that the plan scans.
fn tables_read(plan: &LogicalPlan) -> Result<BTreeSet<String>, DataFusionError> {
    let mut tables = BTreeSet::new();
    plan.apply_with_subqueries(|node| {
        if let LogicalPlan::TableScan(scan) = node {
            tables.insert(scan.table_name.table().to_owned());
        }
        Ok(TreeNodeRecursion::Continue)
    })?;
    Ok(tables)
}
