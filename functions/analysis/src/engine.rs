//! What answers the queries: this function itself, or an engine elsewhere that reads the same tables.
//!
//! Here, each table is held at one version. An engine elsewhere reads the newest version there is when a query starts and
//! takes no other. So the tables are looked at before the first query and after the last: a version that is the same both
//! times is what every query read. Of a table that moved, the results say from where to where.

use std::collections::BTreeMap;
use std::sync::Arc;

use async_trait::async_trait;
use futures::StreamExt;
use pinlake_analytics::lake::{AnalyseError, analyse, pin};
use pinlake_analytics::{
    AnalyticsError, FailureKind, Limits, Query, QueryFailure, QueryResult, QuerySet, Results,
};
use pinlake_lake::{Lake, LakeError};
use pinlake_schema::Catalog;
use serde_json::{Value, json};

/// The version of each dataset's table; `None`: there is no table yet.
type Versions = BTreeMap<String, Option<u64>>;

/// Where queries are answered.
#[derive(Clone)]
pub enum Engine {
    /// In this process, within these limits.
    Here(Limits),
    /// By another engine, so many queries at a time.
    Elsewhere(Arc<dyn Elsewhere>, usize),
}

/// The rows of a result, before anybody knows of which versions they are.
#[derive(Debug, Clone, PartialEq)]
pub struct Answered {
    /// Names of the columns, in order.
    pub columns: Vec<String>,
    /// Rows of cells, one cell a column.
    pub rows: Vec<Vec<Value>>,
}

/// An engine outside of this process.
#[async_trait]
pub trait Elsewhere: Send + Sync {
    /// Answers a query over the newest version of each table. What was asked before under the same `id` may be handed
    /// out again: the same id is the same query over tables that had the same versions before.
    ///
    /// # Errors
    /// When the query fails, or the engine does.
    async fn answer(&self, query: &Query, id: &str) -> Result<Answered, QueryFailure>;
}

impl Engine {
    /// Answers every query over the tables of all `catalog`'s datasets.
    ///
    /// # Errors
    /// When a table cannot be read, or a query fails.
    pub async fn answer(
        &self,
        run: &str,
        lake: &Lake,
        catalog: &Catalog,
        queries: &QuerySet,
    ) -> Result<Results, AnalyseError> {
        match self {
            Engine::Here(limits) => analyse(lake, catalog, queries, limits).await,
            Engine::Elsewhere(engine, at_once) => {
                let before = versions(lake, catalog).await?;
                let answers = futures::stream::iter(queries.queries())
                    .map(|query| ask(&**engine, run, query, &before))
                    .buffered((*at_once).max(1))
                    .collect::<Vec<_>>()
                    .await;
                let after = versions(lake, catalog).await?;
                Ok(together(queries, answers, &before, &after)?)
            }
        }
    }
}

async fn versions(lake: &Lake, catalog: &Catalog) -> Result<Versions, LakeError> {
    Ok(pin(lake, catalog).await?.into_iter().map(|table| (table.dataset, table.version)).collect())
}

async fn ask(
    engine: &dyn Elsewhere,
    run: &str,
    query: &Query,
    before: &Versions,
) -> Result<Answered, QueryFailure> {
    if !only_reads(&query.sql) {
        let problem = "it does not begin with SELECT or WITH, and a query only reads";
        return Err(QueryFailure::new(&query.file, FailureKind::Query, problem));
    }
    if let Some((table, _)) = read_by(&query.sql, before).find(|(_, version)| version.is_none()) {
        let problem =
            format!("there is no table {table} yet: its first rows make it, and only then can it be read");
        return Err(QueryFailure::new(&query.file, FailureKind::Storage, problem));
    }
    engine.answer(query, &id(run, query, before)).await
}

/// The id of a query's execution. The versions are part of it: what an earlier delivery of the same event started over
/// tables that have moved since is not this run's answer.
fn id(run: &str, query: &Query, before: &Versions) -> String {
    blake3::hash(json!([run, query.name, query.sql, before]).to_string().as_bytes()).to_hex().to_string()
}

fn together(
    queries: &QuerySet,
    answers: Vec<Result<Answered, QueryFailure>>,
    before: &Versions,
    after: &Versions,
) -> Result<Results, AnalyticsError> {
    let (mut results, mut failures) = (Vec::new(), Vec::new());
    for (query, answer) in queries.queries().iter().zip(answers) {
        match answer {
            Ok(Answered { columns, rows }) => {
                let (mut versions, mut moved) = (BTreeMap::new(), BTreeMap::new());
                for (table, from) in read_by(&query.sql, before) {
                    match after.get(table).copied().flatten().zip(from) {
                        Some((to, from)) if from != to => {
                            moved.insert(table.to_owned(), (from, to));
                        }
                        _ => {
                            versions.insert(table.to_owned(), from);
                        }
                    }
                }
                results.push((query.name.clone(), QueryResult { columns, rows, versions, moved }));
            }
            Err(failure) => failures.push(failure),
        }
    }
    if !failures.is_empty() {
        return Err(AnalyticsError::Queries(failures));
    }
    for (table, from) in before {
        let to = after.get(table).copied().flatten();
        if *from != to {
            tracing::warn!(
                table,
                ?from,
                ?to,
                "the table moved while the queries ran; results that read it say so"
            );
        }
    }
    Ok(results.into_iter().collect())
}

/// The tables that a query reads: those that its SQL names anywhere. A column of such a name would count too.
fn read_by<'a>(sql: &str, tables: &'a Versions) -> impl Iterator<Item = (&'a str, Option<u64>)> {
    let sql = without_comments(sql).to_lowercase();
    let words: Vec<String> =
        sql.split(|c: char| !c.is_alphanumeric() && c != '_').map(str::to_owned).collect();
    tables
        .iter()
        .filter(move |(table, _)| words.iter().any(|word| *word == table.to_lowercase()))
        .map(|(table, version)| (table.as_str(), *version))
}

/// Whether a statement begins as a query does. The function's role lets the engine change nothing, whatever is asked.
fn only_reads(sql: &str) -> bool {
    let sql = without_comments(sql);
    let begins = sql.trim_start_matches(|c: char| c.is_whitespace() || c == '(');
    let word = begins.split(|c: char| !c.is_alphanumeric()).next().unwrap_or_default();
    ["select", "with"].iter().any(|known| word.eq_ignore_ascii_case(known))
}

/// SQL without what stands behind `--`.
fn without_comments(sql: &str) -> String {
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
        let read = |sql: &str| read_by(sql, &tables).map(|(table, _)| table).collect::<Vec<_>>();
        assert_eq!(
            read("-- rows of user\nSELECT geo.country FROM PIN JOIN geo ON top_user = 1"),
            ["geo", "pin"]
        );
        assert_eq!(read("SELECT 1"), [""; 0]);
        for query in QuerySet::embedded(Dialect::Athena).unwrap().queries() {
            assert!(only_reads(&query.sql), "{}", query.file);
            assert!((1..3).contains(&read(&query.sql).len()), "{}", query.file);
        }
    }

    #[test]
    fn only_queries_are_handed_on() {
        for sql in ["select 1", "-- INSERT\n (SELECT 1)", "\nWITH a AS (SELECT 1) SELECT * FROM a"] {
            assert!(only_reads(sql), "{sql}");
        }
        for sql in
            ["", "-- SELECT", "INSERT INTO pin SELECT 1", "UNLOAD (SELECT 1) TO 's3://x'", "DROP TABLE pin"]
        {
            assert!(!only_reads(sql), "{sql}");
        }
    }

    #[test]
    fn an_id_is_of_a_run_a_query_and_versions() {
        let at = |version| versions(&[("pin", Some(version))]);
        let first = id("run", &query("SELECT 1"), &at(1));
        assert_eq!(first, id("run", &query("SELECT 1"), &at(1)));
        for other in [
            id("other", &query("SELECT 1"), &at(1)),
            id("run", &query("SELECT 2"), &at(1)),
            id("run", &query("SELECT 1"), &at(2)),
        ] {
            assert_ne!(first, other);
        }
        assert!(
            (32..=126).contains(&first.len()),
            "Athena takes tokens of 32 to 128 characters, attempt and all"
        );
    }
}
