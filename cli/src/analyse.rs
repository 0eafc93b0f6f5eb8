//! `pinlake analyse`: runs a query set over the lake's tables, each at one pinned version.

use std::path::{Path, PathBuf};
use std::process::ExitCode;

use indicatif::HumanBytes;
use pinlake_analytics::lake::analyse;
use pinlake_analytics::{BytesRead, Dialect, QueryLimits, QuerySet, Results};
use pinlake_lake::AsOf;
use pinlake_platform::location::Location;
use pinlake_report::Answer;

use crate::console;
use crate::error::CliError;
use crate::lake::{self, DatasetsArg, LakeArg, Place};
use crate::results::ResultFormat;

/// Run SQL queries over the tables of a lake and print the results.
///
/// All queries read the same version of each table; the results name the versions. On a terminal, bars beside a table show
/// the sizes of its first numbers. With --format json the output is
/// one object, {"RESULT":{"columns":[...],"rows":[[...],...],"versions":{"pin":3}},...}.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  pinlake analyse --lake /tmp/lake
  pinlake analyse --lake s3://my-lake --queries my-queries --format json > results.json")]
pub struct AnalyseArgs {
    #[command(flatten)]
    pub lake: LakeArg,
    /// Folder or s3:// prefix with SQL files, one for each result [default: those of the current release of the lake]
    #[arg(long, value_name = "DIR|s3://...", env = "PINLAKE_QUERIES")]
    pub queries: Option<PathBuf>,
    #[command(flatten)]
    pub datasets: DatasetsArg,
    /// Memory limit of the queries in MiB; they spill to disk above it, or fail if they cannot
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(16..))]
    pub memory: u32,
    /// Read the tables as they were: a version, or a time such as 2026-11-28T12:00:00Z. A table that is shorter than the
    /// version is read at its newest
    #[arg(long, value_name = "VERSION|TIMESTAMP", value_parser = parse_as_of)]
    pub as_of: Option<AsOf>,
    /// Format of the results
    #[arg(long, value_enum, default_value_t)]
    pub format: ResultFormat,
}

/// Runs the command.
pub async fn run(args: AnalyseArgs) -> Result<ExitCode, CliError> {
    let queries = read_queries(&args.lake, args.queries.as_deref()).await?;
    let catalog = lake::catalog_to_read(&args.lake, args.datasets.as_deref()).await?;
    let lake = lake::open(&args.lake).await?;
    let limits = limits(args.memory);
    let run = analyse(&lake, &catalog, &queries, &limits, args.as_of).await;
    let answered = run.and_then(|run| Ok((run.read, run.into_results()?)));
    let (BytesRead { read, available }, results) =
        answered.map_err(|error| CliError::failed("the analysis failed", "").caused_by(error))?;
    console::say(&format!("read {} of {} of data files", HumanBytes(read), HumanBytes(available)));
    match args.format {
        ResultFormat::Table if console::is_terminal() => {
            console::data(
                results.render_table_with(|name| find_measure(&queries, name, &results)).trim_end(),
            )?;
        }
        format => format.print(&results)?,
    }
    Ok(ExitCode::SUCCESS)
}

/// The column that the chart of a result would draw, for its bars.
fn find_measure(queries: &QuerySet, name: &str, results: &Results) -> Option<usize> {
    let query = queries.queries().iter().find(|query| query.name == name)?;
    let result = results.get(name)?;
    let answer = Answer { columns: result.columns.clone(), rows: result.rows.clone(), ..Answer::default() };
    pinlake_report::measure_column(&query.sql, &answer)
}

fn parse_as_of(text: &str) -> Result<AsOf, String> {
    if let Ok(version) = text.parse() {
        return Ok(AsOf::Version(version));
    }
    let time = chrono::DateTime::parse_from_rfc3339(text);
    let time = time.map_err(|_| "write a version, or a time such as 2026-11-28T12:00:00Z".to_owned())?;
    Ok(AsOf::Timestamp(time.to_utc()))
}

/// Reads the queries of `--queries`, of the current release of the lake, or the built-in ones.
pub async fn read_queries(lake: &str, given: Option<&Path>) -> Result<QuerySet, CliError> {
    let queries = match Place::find(Some(lake), given, "--queries").await? {
        Place::Files(Location::Folder(folder)) => QuerySet::from_dir(Dialect::Shared, &folder),
        place => QuerySet::from_files(Dialect::Shared, place.read_queries().await?),
    };
    queries.map_err(|error| CliError::usage("the queries cannot be used", "").caused_by(error))
}

/// The limits of a run with `--memory`, in MiB.
pub fn limits(memory: u32) -> QueryLimits {
    QueryLimits { memory: (memory as usize) << 20, ..QueryLimits::default() }
}
