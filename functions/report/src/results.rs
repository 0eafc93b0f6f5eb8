//! The stored results: loading them, and their forms for programs.

use std::collections::BTreeMap;

use futures::{StreamExt as _, TryStreamExt as _};
use http::HeaderMap;
use http::header::ACCEPT;
use pinlake_lake::Lake;
use pinlake_report::Header;
use pinlake_results::store::{self, ResultStoreError};
use pinlake_results::{PastResult, StoredResult, StoredRun};
use serde_json::{Value, json};

/// Histories that are read at the same time.
const CONCURRENCY: usize = 8;
/// Length of an id of a run, which is part of a path in the lake.
const MAX_RUN: usize = 100;

/// The results of one run, and what is kept of earlier ones.
#[derive(Debug, Default)]
pub(crate) struct Loaded {
    /// The id of the run; none before the first.
    pub run: Option<String>,
    pub results: StoredRun,
    /// By name of the result, oldest first.
    pub history: BTreeMap<String, Vec<PastResult>>,
}

impl Loaded {
    /// The runs of which results are kept, newest first.
    pub fn runs(&self) -> Vec<&str> {
        let all = self.history.values().flatten().map(|past| past.run.as_str()).chain(self.run.as_deref());
        let sorted: std::collections::BTreeSet<&str> = all.collect();
        sorted.into_iter().rev().collect()
    }
}

/// Loads a run, or the latest.
///
/// # Errors
/// [`ResultStoreError::NotFound`] if there is no such run; another if it cannot be read.
pub(crate) async fn load(lake: &Lake, run: Option<&str>) -> Result<Loaded, ResultStoreError> {
    let store = &**lake.store();
    let run = match run {
        Some(run) if is_run(run) => run.to_owned(),
        Some(run) => return Err(ResultStoreError::NotFound(format!("of run {run}"))),
        None => match store::find_latest(store).await? {
            Some(run) => run,
            None => return Ok(Loaded::default()),
        },
    };
    let (run, results) = store::load_run(store, Some(&run)).await?;
    let names: Vec<String> = results.iter().map(|(name, _)| name.to_owned()).collect();
    let history = futures::stream::iter(names)
        .map(async |name| store::load_history(store, &name).await.map(|history| (name, history)))
        .buffer_unordered(CONCURRENCY)
        .try_collect()
        .await?;
    Ok(Loaded { run: Some(run), results, history })
}

/// Whether a text can be the id of a run.
fn is_run(text: &str) -> bool {
    !text.is_empty()
        && text.len() <= MAX_RUN
        && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

/// The form in which a result is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    Json,
    Csv,
    Parquet,
}

impl Format {
    const ALL: [(&'static str, Format); 3] =
        [(".json", Format::Json), (".csv", Format::Csv), (".parquet", Format::Parquet)];

    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// Splits the format from the end of a name.
    pub fn split(name: &str) -> (&str, Option<Format>) {
        let ending =
            Self::ALL.iter().find_map(|(ending, format)| Some((name.strip_suffix(ending)?, *format)));
        ending.map_or((name, None), |(name, format)| (name, Some(format)))
    }

    /// The first supported media type of `Accept`; JSON if there is none.
    pub fn from_accept(headers: &HeaderMap) -> Format {
        let accepted = headers.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        let mut types = accepted
            .flat_map(|value| value.split(','))
            .map(|range| range.split(';').next().unwrap_or_default().trim().to_ascii_lowercase());
        let format = types.find_map(|kind| match kind.as_str() {
            "application/json" => Some(Self::Json),
            "text/csv" => Some(Self::Csv),
            "application/vnd.apache.parquet" => Some(Self::Parquet),
            _ => None,
        });
        format.unwrap_or(Self::Json)
    }
}

/// The entry of a result in the list of all.
pub(crate) fn summarize(name: &str, stored: &StoredResult) -> Value {
    let header = Header::parse(stored.sql.as_deref().unwrap_or_default());
    let result = &stored.result;
    json!({
        "name": name,
        "title": header.title,
        "question": header.question,
        "section": header.section,
        "columns": result.columns,
        "rows": result.rows.len(),
        "versions": result.versions,
        "moved": result.moved,
        "seconds": stored.seconds,
    })
}

/// A result with rows from `offset`.
pub(crate) fn to_json(run: &str, name: &str, stored: &StoredResult, offset: usize, limit: usize) -> Value {
    let result = &stored.result;
    let rows: Vec<_> = result.rows.iter().skip(offset).take(limit).collect();
    json!({
        "name": name,
        "run": run,
        "computed_at": computed_at(run),
        "columns": result.columns,
        "rows": rows,
        "offset": offset,
        "total_rows": result.rows.len(),
        "versions": result.versions,
        "moved": result.moved,
        "seconds": stored.seconds,
        "sql": stored.sql,
    })
}

/// The history of a result, oldest first.
pub(crate) fn history_to_json(name: &str, history: &[PastResult]) -> Value {
    let runs: Vec<Value> = history
        .iter()
        .map(|past| {
            json!({
                "run": past.run,
                "computed_at": computed_at(&past.run),
                "rows": past.rows,
                "largest": past.largest,
                "digest": past.digest,
                "versions": past.versions,
                "seconds": past.seconds,
            })
        })
        .collect();
    json!({ "name": name, "runs": runs })
}

/// When a run was made, if its id tells.
pub(crate) fn computed_at(run: &str) -> Option<String> {
    store::run_time(run).map(|at| at.to_rfc3339_opts(chrono::SecondsFormat::Secs, true))
}
