//! `pinlake report`: results and state as one HTML page.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use pinlake_analytics::lake::{analyse as run_queries, pin_tables};
use pinlake_analytics::{QueryOutcome, QueryResult, QuerySet};
use pinlake_env::Env;
use pinlake_lake::Lake;
use pinlake_report::{Answer, Outcome, Panel, PastAnswer, Report, Run};
use pinlake_results::store;
use pinlake_schema::Catalog;
use pinlake_state::CommitCache;
use serde_json::json;

use crate::error::CliError;
use crate::lake::{self, DatasetsArg, LakeArg};
use crate::watch::Watch;
use crate::{analyse, atomic_file, console, status};

/// Seconds between two looks at the lake and the queries.
const WATCH_SECONDS: u64 = 2;

/// Write results and the state of a lake as one HTML page with charts.
///
/// The page needs nothing else: it opens without a network, prints, and can be sent by mail. It has a panel for each
/// query, with its chart, its rows, its SQL and the table versions that it read, and below them the state of each table
/// and of the quarantine. The queries run as `pinlake analyse` runs them.
///
/// The comments at the beginning of an SQL file declare its panel. Without them, the columns decide:
///   -- How many posts does each country have?
///   -- chart: bar x=country y=posts
///   -- section: Countries
/// Kinds of charts: bar, grouped, stacked, line, number, table. docs/report.md has all options.
///
/// Output: one JSON line, {"out":"report.html","results":N,"failed":N,"bytes":N}. A query that fails has a panel with
/// its error.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Examples:
  pinlake report --lake /tmp/lake --out report.html
  pinlake report --lake s3://my-lake --queries my-queries --title 'Shop' --out shop.html
  pinlake report --lake /tmp/lake --queries my-queries --out report.html --watch

Exit codes: 0 the page is written, 1 it is not, or a query failed (with --strict), 2 wrong usage."
)]
pub struct ReportArgs {
    #[command(flatten)]
    pub lake: LakeArg,
    /// File of the page; it is replaced at once when the page is complete
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Folder or s3:// prefix with SQL files, one for each panel [default: those of the current release of the lake]
    #[arg(long, value_name = "DIR|s3://...", env = "PINLAKE_QUERIES")]
    pub queries: Option<PathBuf>,
    #[command(flatten)]
    pub datasets: DatasetsArg,
    /// Title of the page [default: the name of the lake]
    #[arg(long, value_name = "TEXT")]
    pub title: Option<String>,
    /// Memory limit of the queries in MiB; they spill to disk above it, or fail if they cannot
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(16..))]
    pub memory: u32,
    /// Exit with 1 if a query failed or a table cannot be read; the page is written anyway
    #[arg(long)]
    pub strict: bool,
    /// Write the page again when a query or a table changes, until Ctrl-C
    #[arg(long)]
    pub watch: bool,
}

/// Runs the command.
pub async fn run(args: ReportArgs) -> Result<ExitCode, CliError> {
    let queries = analyse::read_queries(&args.lake, args.queries.as_deref()).await?;
    let catalog = lake::catalog_to_read(&args.lake, args.datasets.as_deref()).await?;
    let lake = lake::open(&args.lake).await?;
    if !args.watch {
        return write_report(&args, &lake, &catalog, &queries).await;
    }
    let mut watch = Watch::start(Duration::from_secs(WATCH_SECONDS))?;
    let (mut written, mut problem, mut code) = (None, None, ExitCode::SUCCESS);
    loop {
        match look(&args, &lake, &catalog).await {
            Ok(found) if written.as_ref() != Some(&found) => {
                code = write_report(&args, &lake, &catalog, &found.0).await?;
                written = Some(found);
                problem = None;
            }
            Ok(_) => {}
            // A query that is being written is no reason to stop, and is told once.
            Err(error) if problem.as_ref() != Some(&error) => {
                console::say(&format!("warning: {error}"));
                problem = Some(error);
            }
            Err(_) => {}
        }
        if !watch.wait().await {
            return Ok(code);
        }
    }
}

/// The queries, and the version of each table: what a page is made of.
async fn look(
    args: &ReportArgs,
    lake: &Lake,
    catalog: &Catalog,
) -> Result<(QuerySet, Vec<(String, Option<u64>)>), String> {
    let queries = analyse::read_queries(&args.lake, args.queries.as_deref())
        .await
        .map_err(|error| error.with_causes())?;
    let tables = pin_tables(lake, catalog, None).await.map_err(|error| error.to_string())?;
    Ok((queries, tables.into_iter().map(|table| (table.dataset, table.version)).collect()))
}

/// Runs the queries and writes the page.
async fn write_report(
    args: &ReportArgs,
    lake: &Lake,
    catalog: &Catalog,
    queries: &QuerySet,
) -> Result<ExitCode, CliError> {
    let generated_at = Env::system().clock.now();
    let mut panels = run_panels(lake, catalog, queries, args.memory).await;
    for panel in &mut panels {
        panel.history = read_history(lake, &panel.name).await;
    }
    let state = pinlake_state::collect(lake, catalog, generated_at, &CommitCache::default()).await;
    let report = Report {
        title: args.title.clone().unwrap_or_else(|| to_title(&args.lake)),
        lake: args.lake.to_string(),
        generated_at,
        results_at: None,
        generator: concat!("pinlake ", env!("CARGO_PKG_VERSION")).to_owned(),
        panels,
        state,
        objective_seconds: None,
        contracts: args.datasets.as_deref().map(|folder| folder.display().to_string()),
        records: None,
        served: None,
    };
    let page = pinlake_report::render(&report);
    write(&args.out, page.as_bytes())?;

    let failed = report.panels.iter().filter_map(|panel| match &panel.outcome {
        Outcome::Failed(problem) => Some(problem),
        Outcome::Answer(_) => None,
    });
    let problems = status::list_problems(&report.state);
    let mut count = 0;
    for problem in failed.inspect(|_| count += 1).chain(&problems) {
        console::say(&format!("warning: {problem}"));
    }
    console::data_json(&json!({
        "out": args.out,
        "results": report.panels.len() - count,
        "failed": count,
        "bytes": page.len(),
    }))?;
    let is_complete = count == 0 && problems.is_empty();
    Ok(if args.strict && !is_complete { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

/// Runs the queries. If the tables cannot be read, every panel says so.
async fn run_panels(lake: &Lake, catalog: &Catalog, queries: &QuerySet, memory: u32) -> Vec<Panel> {
    let outcomes = run_queries(lake, catalog, queries, &analyse::limits(memory), None).await;
    let outcomes = outcomes.map(|run| run.queries);
    let panels = queries.queries().iter().enumerate().map(|(index, query)| {
        let (outcome, seconds) = match &outcomes {
            Err(error) => (Outcome::Failed(error.to_string()), None),
            Ok(outcomes) => outcomes.get(index).map_or_else(
                || (Outcome::Failed("the query has no outcome; this is a bug in pinlake".to_owned()), None),
                to_outcome,
            ),
        };
        let parquet =
            outcomes.as_ref().ok().and_then(|outcomes| encode_parquet(&query.name, outcomes.get(index)?));
        Panel {
            name: query.name.clone(),
            sql: query.sql.clone(),
            seconds,
            outcome,
            history: Vec::new(),
            parquet,
        }
    });
    panels.collect()
}

/// The results that the function analysis stored in this lake. None are needed.
async fn read_history(lake: &Lake, name: &str) -> Vec<PastAnswer> {
    let history = store::load_history(&**lake.store(), name).await.unwrap_or_else(|error| {
        console::say(&format!("warning: {error}"));
        Vec::new()
    });
    let past = history.into_iter().map(|past| PastAnswer {
        run: Run { at: store::run_time(&past.run), id: past.run },
        rows: past.rows,
        largest: past.largest,
        digest: past.digest,
        versions: past.versions,
    });
    past.collect()
}

fn to_outcome(outcome: &QueryOutcome) -> (Outcome, Option<f64>) {
    let shown = match &outcome.result {
        Err(failure) => Outcome::Failed(failure.to_string()),
        Ok(QueryResult { columns, rows, versions, moved }) => Outcome::Answer(Answer {
            columns: columns.clone(),
            rows: rows.clone(),
            versions: versions.clone(),
            moved: moved.clone(),
        }),
    };
    (shown, Some(outcome.elapsed.as_secs_f64()))
}

/// The rows as a Parquet file; none if Parquet cannot hold them.
fn encode_parquet(name: &str, outcome: &QueryOutcome) -> Option<Vec<u8>> {
    let result = outcome.result.as_ref().ok()?;
    let encoded = result.encode_parquet();
    encoded
        .inspect_err(|error| {
            console::say(&format!("warning: {name}: the page has no Parquet of it: {error}"))
        })
        .ok()
}

/// The last part of the lake's name.
fn to_title(lake: &str) -> String {
    let name = lake.trim_end_matches('/').rsplit('/').next().filter(|name| !name.is_empty() && *name != ".");
    format!("Report of {}", name.unwrap_or(lake))
}

fn write(path: &Path, page: &[u8]) -> Result<(), CliError> {
    let write = || {
        let mut file = atomic_file::create(path)?;
        file.write_all(page)?;
        atomic_file::persist(file, path)
    };
    write().map_err(|error| {
        let what = format!("cannot write {}", path.display());
        CliError::failed(what, "name a file in a folder that exists and that you may write to")
            .caused_by(error)
    })
}
