//! Runs the queries in this process or on an external engine that reads the same tables.
//!
//! In this process each table is pinned at one version. An external engine reads the newest version at the start of
//! each query. The versions are therefore read before the first query and after the last. A version that did not change
//! is the one that every query read. If it changed, the results contain both versions.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use pinlake_analytics::lake::{AnalyseError, analyse, pin_tables};
use pinlake_analytics::{
    AnalyticsError, FailureKind, Query, QueryFailure, QueryLimits, QueryOutcome, QueryResult, QuerySet,
};
use pinlake_lake::{Lake, LakeError};
use pinlake_results::{StoredResult, StoredRun};
use pinlake_schema::Catalog;
use serde_json::{Value, json};
use tokio::time::Instant;

/// The version of the table of each dataset; `None` if the table does not exist yet.
type Versions = BTreeMap<String, Option<u64>>;

/// The engine that executes queries.
#[derive(Clone)]
pub enum Engine {
    /// DataFusion in this process, within these limits.
    Local(QueryLimits),
    /// An external engine, and the number of queries that run on it at the same time.
    External(Arc<dyn ExternalEngine>, usize),
}

/// The rows of a query, without the versions of the tables.
#[derive(Debug, Clone, PartialEq)]
pub struct QueryRows {
    /// Names of the columns, in order.
    pub columns: Vec<String>,
    /// Rows; each has one cell for each column.
    pub rows: Vec<Vec<Value>>,
}

/// An engine outside of this process.
#[async_trait]
pub trait ExternalEngine: Send + Sync {
    /// Executes a query over the newest version of each table.
    ///
    /// `execution_id` is an idempotency token: the engine may return the rows of an earlier execution with the same id,
    /// because that was the same query over the same versions.
    ///
    /// # Errors
    /// If the query or the engine fails.
    async fn execute(&self, query: &Query, execution_id: &str) -> Result<QueryRows, QueryFailure>;
}

impl Engine {
    /// Runs every query over the tables of all datasets of `catalog`. `run` is the id of the run. A query that fails and
    /// reads a dataset whose contract is broken is logged and left out.
    ///
    /// # Errors
    /// If a table cannot be read or another query fails.
    pub async fn run_queries(
        &self,
        run: &str,
        lake: &Lake,
        catalog: &Catalog,
        queries: &QuerySet,
    ) -> Result<StoredRun, AnalyseError> {
        let outcomes = match self {
            Engine::Local(limits) => analyse(lake, catalog, queries, limits, None).await?.queries,
            Engine::External(engine, concurrency) => {
                let before = read_versions(lake, catalog).await?;
                let outcomes = futures::stream::iter(queries.queries())
                    .map(async |query| {
                        let begun = Instant::now();
                        (execute_query(&**engine, run, query, &before).await, begun.elapsed())
                    })
                    .buffered((*concurrency).max(1))
                    .collect::<Vec<_>>()
                    .await;
                let after = read_versions(lake, catalog).await?;
                add_versions(queries, outcomes, &before, &after)
            }
        };
        let broken = catalog.contracts().filter(|contract| contract.broken().is_some());
        let broken = broken.map(|contract| (contract.name.clone(), None)).collect();
        Ok(collect_run(queries, outcomes, &broken)?)
    }
}

async fn read_versions(lake: &Lake, catalog: &Catalog) -> Result<Versions, LakeError> {
    Ok(pin_tables(lake, catalog, None)
        .await?
        .into_iter()
        .map(|table| (table.dataset, table.version))
        .collect())
}

async fn execute_query(
    engine: &dyn ExternalEngine,
    run: &str,
    query: &Query,
    before: &Versions,
) -> Result<QueryRows, QueryFailure> {
    if !is_read_only(&query.sql) {
        let problem = "it does not begin with SELECT or WITH; only queries are allowed";
        return Err(QueryFailure::new(&query.file, FailureKind::Query, problem));
    }
    if let Some((table, _)) = find_tables_read(&query.sql, before).find(|(_, version)| version.is_none()) {
        let problem = format!("there is no table {table} yet; its first rows create it");
        return Err(QueryFailure::new(&query.file, FailureKind::Storage, problem));
    }
    engine.execute(query, &execution_id(run, query, before)).await
}

/// The id of an execution. It includes the versions, so that a redelivered event does not get the rows of an execution
/// over earlier versions.
fn execution_id(run: &str, query: &Query, before: &Versions) -> String {
    blake3::hash(json!([run, query.name, query.sql, before]).to_string().as_bytes()).to_hex().to_string()
}

/// Adds to the rows of each query the versions that it read.
fn add_versions(
    queries: &QuerySet,
    outcomes: Vec<(Result<QueryRows, QueryFailure>, Duration)>,
    before: &Versions,
    after: &Versions,
) -> Vec<QueryOutcome> {
    for (table, from) in before {
        let to = after.get(table).copied().flatten();
        if *from != to {
            tracing::warn!(
                table,
                ?from,
                ?to,
                "the table changed while the queries ran; the results that read it contain both versions"
            );
        }
    }
    let outcomes = queries.queries().iter().zip(outcomes).map(|(query, (rows, elapsed))| {
        let result = rows.map(|QueryRows { columns, rows }| {
            let (mut versions, mut moved) = (BTreeMap::new(), BTreeMap::new());
            for (table, from) in find_tables_read(&query.sql, before) {
                match after.get(table).copied().flatten().zip(from) {
                    Some((to, from)) if from != to => {
                        moved.insert(table.to_owned(), (from, to));
                    }
                    _ => {
                        versions.insert(table.to_owned(), from);
                    }
                }
            }
            QueryResult { columns, rows, versions, moved }
        });
        QueryOutcome { name: query.name.clone(), result, elapsed }
    });
    outcomes.collect()
}

/// The results with the SQL and the time of each query, or all failures, without those of queries that read `broken`
/// datasets.
fn collect_run(
    queries: &QuerySet,
    outcomes: Vec<QueryOutcome>,
    broken: &Versions,
) -> Result<StoredRun, AnalyticsError> {
    let (mut results, mut failures) = (Vec::new(), Vec::new());
    for (query, QueryOutcome { name, result, elapsed }) in queries.queries().iter().zip(outcomes) {
        match result {
            Ok(result) => {
                let (sql, seconds) = (Some(query.sql.clone()), Some(elapsed.as_secs_f64()));
                results.push((name, StoredResult { result, sql, seconds }));
            }
            Err(failure) => {
                if let Some((dataset, _)) = find_tables_read(&query.sql, broken).next() {
                    tracing::error!(query = query.file, dataset, %failure, "left out: the dataset's contract is broken");
                } else {
                    failures.push(failure);
                }
            }
        }
    }
    if failures.is_empty() {
        Ok(results.into_iter().collect())
    } else {
        Err(AnalyticsError::Queries(failures))
    }
}

/// Returns the tables whose names occur in the SQL. A column with the name of a table counts too.
fn find_tables_read<'a>(sql: &str, tables: &'a Versions) -> impl Iterator<Item = (&'a str, Option<u64>)> {
    let sql = strip_comments(sql).to_lowercase();
    let words: Vec<String> =
        sql.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned).collect();
    tables
        .iter()
        .filter(move |(table, _)| words.iter().any(|word| *word == table.to_lowercase()))
        .map(|(table, version)| (table.as_str(), *version))
}

/// Whether the statement begins with SELECT or WITH. This gives a clear error; the function's role prevents any change.
fn is_read_only(sql: &str) -> bool {
    let sql = strip_comments(sql);
    let statement = sql.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    let word = statement.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    ["select", "with"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// Removes comments that begin with `--`.
fn strip_comments(sql: &str) -> String {
    sql.lines().map(|line| line.split("--").next().unwrap_or_default()).collect::<Vec<_>>().join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;
    use pinlake_analytics::Dialect;

    fn versions(known: &[(&str, Option<u64>)]) -> Versions {
        known.iter().map(|(table, version)| ((*table).to_owned(), *version)).collect()
    }

    fn query(sql: &str) -> Query {
        Query { name: "q".to_owned(), file: "q.sql".to_owned(), sql: sql.to_owned() }
    }

    #[test]
    fn a_query_reads_the_tables_that_it_names() {
        let tables = versions(&[("geo", Some(1)), ("pin", Some(2)), ("user", None)]);
        let read = |sql: &str| find_tables_read(sql, &tables).map(|(table, _)| table).collect::<Vec<_>>();
        assert_eq!(
            read("-- rows of user\nSELECT geo.country FROM PIN JOIN geo ON top_user = 1"),
            ["geo", "pin"]
        );
        assert_eq!(read("SELECT 1"), [""; 0]);
        for query in QuerySet::embedded(Dialect::Athena).unwrap().queries() {
            assert!(is_read_only(&query.sql), "{}", query.file);
            assert!((1..3).contains(&read(&query.sql).len()), "{}", query.file);
        }
    }

    #[test]
    fn only_queries_are_executed() {
        for sql in ["select 1", "-- INSERT\n (SELECT 1)", "\nWITH a AS (SELECT 1) SELECT * FROM a"] {
            assert!(is_read_only(sql), "{sql}");
        }
        for sql in
            ["", "-- SELECT", "INSERT INTO pin SELECT 1", "UNLOAD (SELECT 1) TO 's3://x'", "DROP TABLE pin"]
        {
            assert!(!is_read_only(sql), "{sql}");
        }
    }

    #[test]
    fn an_execution_id_depends_on_run_query_and_versions() {
        let at = |version| versions(&[("pin", Some(version))]);
        let first = execution_id("run", &query("SELECT 1"), &at(1));
        assert_eq!(first, execution_id("run", &query("SELECT 1"), &at(1)));
        for other in [
            execution_id("other", &query("SELECT 1"), &at(1)),
            execution_id("run", &query("SELECT 2"), &at(1)),
            execution_id("run", &query("SELECT 1"), &at(2)),
        ] {
            assert_ne!(first, other);
        }
        assert!(
            (32..=126).contains(&first.len()),
            "Athena accepts tokens of 32 to 128 characters, including the attempt"
        );
    }
}
