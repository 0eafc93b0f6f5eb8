//! Running a query set.

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
use serde_json::Value;
use url::Url;

use crate::{
    AnalyticsError, FailureKind, Query, QueryFailure, QueryResult, QuerySet, Results, TableInput,
    cell::append_rows,
    columns::ColumnBudget,
    pauses::PausesInJoins,
    table::{PinnedTable, STORE_URL},
};

/// What a run may use.
#[derive(Debug, Clone)]
pub struct Limits {
    /// Memory of all queries together, in bytes; up to a quarter of it keeps columns that were read. Joins, sorts and
    /// groups over it go to the system's folder for temporary files; what cannot (a median holds its values, a join the
    /// smaller side) is asked again alone, and then fails the query.
    pub memory: usize,
    /// Queries that run at the same time, each on one processor.
    pub concurrent: usize,
    /// Time for one query.
    pub query_time: Duration,
    /// Rows of one result.
    pub result_rows: usize,
}

impl Default for Limits {
    /// 512 MiB, a query at a time for each processor and four at least, five minutes each, 100,000 rows a result.
    fn default() -> Self {
        Limits {
            memory: 512 * 1024 * 1024,
            // More queries than processors fill the time in which the longest runs.
            concurrent: std::thread::available_parallelism().map_or(1, usize::from).max(4),
            query_time: Duration::from_secs(300),
            result_rows: 100_000,
        }
    }
}

/// Answers every query of the set over the given tables, within the default [`Limits`].
///
/// # Errors
/// See [`run_with`].
pub async fn run(
    store: Arc<dyn ObjectStore>,
    tables: Vec<TableInput>,
    queries: &QuerySet,
) -> Result<Results, AnalyticsError> {
    run_with(store, tables, queries, &Limits::default()).await
}

/// Answers every query of the set over the given tables.
///
/// # Errors
/// [`AnalyticsError::Tables`] when two tables have one name; [`AnalyticsError::Queries`] with every query that failed.
pub async fn run_with(
    store: Arc<dyn ObjectStore>,
    tables: Vec<TableInput>,
    queries: &QuerySet,
    limits: &Limits,
) -> Result<Results, AnalyticsError> {
    let versions: BTreeMap<String, Option<u64>> =
        tables.iter().map(|table| (table.name.clone(), table.version)).collect();
    if versions.len() != tables.len() {
        return Err(AnalyticsError::Tables("two tables have the same name; give each table once".to_owned()));
    }
    let run = Run { store, tables, versions, limits: limits.clone() };
    let mut answers = run.answers(queries.queries(), limits.concurrent, limits.memory / 4).await?;
    // What had too little memory beside others may have enough alone, and without the columns that are kept for all.
    if limits.concurrent > 1 {
        for (query, answer) in queries.queries().iter().zip(&mut answers) {
            if matches!(answer, Err(failure) if failure.kind == FailureKind::Memory) {
                tracing::info!(query.file, "too little memory beside others, asking alone");
                let alone = run.answers(std::slice::from_ref(query), 1, 0).await?;
                alone.into_iter().for_each(|alone| *answer = alone);
            }
        }
    }

    let mut results = Vec::new();
    let mut failures = Vec::new();
    for answer in answers {
        match answer {
            Ok(result) => results.push(result),
            Err(failure) => failures.push(failure),
        }
    }
    if failures.is_empty() {
        Ok(results.into_iter().collect())
    } else {
        Err(AnalyticsError::Queries(failures))
    }
}

/// The tables that queries are asked over, and what they may use.
struct Run {
    store: Arc<dyn ObjectStore>,
    tables: Vec<TableInput>,
    versions: BTreeMap<String, Option<u64>>,
    limits: Limits,
}

impl Run {
    /// The answer to each query, `at_once` of them at a time, or why there is none; up to `room` bytes of the memory keep
    /// columns that were read.
    async fn answers(
        &self,
        queries: &[Query],
        at_once: usize,
        room: usize,
    ) -> Result<Vec<Result<(String, QueryResult), QueryFailure>>, AnalyticsError> {
        let context = self.session(room).map_err(|error| AnalyticsError::Tables(error.strip_backtrace()))?;
        let run = Arc::new((context, self.versions.clone(), self.limits.clone()));
        let answers = futures::stream::iter(queries.iter().cloned())
            .map(|query| {
                let (file, run) = (query.file.clone(), run.clone());
                // A task of its own, so that the queries share the processors.
                let task = SpawnedTask::spawn(async move {
                    let (context, versions, limits) = &*run;
                    let result = answer(context, &query, versions, limits).await?;
                    Ok((query.name, result))
                });
                async move {
                    let limit = self.limits.query_time;
                    let failure = |kind, problem| Err(QueryFailure::new(&file, kind, problem));
                    match tokio::time::timeout(limit, task.join()).await {
                        Ok(Ok(answer)) => answer,
                        Ok(Err(broken)) => {
                            failure(FailureKind::Engine, format!("the engine broke off: {broken}"))
                        }
                        Err(_) => {
                            failure(FailureKind::Limit, format!("not done after {} seconds", limit.as_secs()))
                        }
                    }
                }
            })
            .buffered(at_once.max(1));
        Ok(answers.collect().await)
    }

    /// A session that knows these tables and nothing else.
    fn session(&self, room: usize) -> Result<SessionContext, DataFusionError> {
        // In one part a query sends no rows from part to part, and the set has queries enough for the processors. In two it may
        // wait for ever when it spills: https://github.com/apache/datafusion/issues/24883, not mended in 55.2.
        let mut config = SessionConfig::new().with_target_partitions(1);
        // Places in the SQL for the messages.
        config.options_mut().sql_parser.collect_spans = true;
        let runtime = RuntimeEnvBuilder::new()
            .with_memory_pool(Arc::new(FairSpillPool::new(self.limits.memory)))
            .build_arc()?;
        let state = SessionStateBuilder::new_with_default_features()
            .with_config(config)
            .with_runtime_env(runtime)
            .with_physical_optimizer_rule(Arc::new(PausesInJoins))
            .build();
        let context = SessionContext::new_with_state(state);
        let url = Url::parse(STORE_URL).map_err(|error| DataFusionError::External(Box::new(error)))?;
        context.register_object_store(&url, self.store.clone());
        let room = Arc::new(ColumnBudget::new(room, &context.task_ctx()));
        for table in self.tables.iter().cloned() {
            // A bare name: a table's name is never taken apart at its dots nor folded to lower case.
            let name = TableReference::bare(table.name.clone());
            context.register_table(name, Arc::new(PinnedTable::new(table, room.clone())?))?;
        }
        Ok(context)
    }
}

async fn answer(
    context: &SessionContext,
    query: &Query,
    versions: &BTreeMap<String, Option<u64>>,
    limits: &Limits,
) -> Result<QueryResult, QueryFailure> {
    let engine = |error: DataFusionError| QueryFailure::from_engine(&query.file, &error);

    let state = context.state();
    let statement = only_statement(query)?;
    let ordered = orders_its_rows(&statement);
    let plan = state.statement_to_plan(statement).await.map_err(engine)?;
    read_only().verify_plan(&plan).map_err(engine)?;
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

fn only_statement(query: &Query) -> Result<Statement, QueryFailure> {
    let statements =
        DFParser::parse_sql(&query.sql).map_err(|error| QueryFailure::from_engine(&query.file, &error))?;
    let count = statements.len();
    let mut statements = statements.into_iter();
    match (statements.next(), count) {
        (Some(statement), 1) => Ok(statement),
        _ => {
            let problem = format!("{count} statements, where a file is one query");
            Err(QueryFailure::new(&query.file, FailureKind::Query, problem))
        }
    }
}

/// A query of the set reads. It can create, change, write or configure nothing.
fn read_only() -> SQLOptions {
    SQLOptions::new().with_allow_ddl(false).with_allow_dml(false).with_allow_statements(false)
}

fn orders_its_rows(statement: &Statement) -> bool {
    match statement {
        Statement::Statement(statement) => {
            matches!(statement.as_ref(), ast::Statement::Query(query) if query.order_by.is_some())
        }
        _ => false,
    }
}

/// The order of rows that a query leaves open: by cells, missing ones last, texts by their bytes.
fn sort_key(cell: &Value) -> (bool, Option<OrderedNumber>, String) {
    match cell {
        Value::Null => (true, None, String::new()),
        Value::Number(number) => (false, number.as_f64().map(OrderedNumber), number.to_string()),
        Value::String(text) => (false, None, text.clone()),
        other => (false, None, other.to_string()),
    }
}

/// A number of a cell; never NaN.
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
