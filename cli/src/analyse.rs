//! `pinlake analyse`: runs a query set over the lake's tables, each at one pinned version.

use std::path::PathBuf;
use std::process::ExitCode;

use pinlake_analytics::lake::analyse;
use pinlake_analytics::{Dialect, Limits, QuerySet};

use crate::error::CliError;
use crate::lake;
use crate::results::ResultFormat;

/// Run the analyses over a lake and print their results.
///
/// Every SQL file of the query set runs over one version of each table, which is recorded with the results. The
/// json form is one object, {"RESULT":{"columns":[...],"rows":[[...],...],"versions":{"pin":3}},...}.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  pinlake analyse --lake /tmp/lake
  pinlake analyse --lake s3://my-lake --queries my-queries --format json > results.json")]
pub struct AnalyseArgs {
    /// The lake: a folder, or s3://bucket[/prefix] with the usual AWS environment
    #[arg(long, value_name = "DIR|s3://...", env = "PINLAKE_LAKE")]
    pub lake: String,
    /// SQL files in the place of those built in, one result a file
    #[arg(long, value_name = "DIR", env = "PINLAKE_QUERIES")]
    pub queries: Option<PathBuf>,
    /// Contracts to use in the place of those built in: a folder of TOML files
    #[arg(long, value_name = "DIR", env = "PINLAKE_DATASETS")]
    pub datasets: Option<PathBuf>,
    /// Memory that the queries may take, in MiB; what needs more goes to disk, or fails and says so
    #[arg(long, value_name = "MIB", default_value_t = 512, value_parser = clap::value_parser!(u32).range(16..))]
    pub memory: u32,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    pub format: ResultFormat,
}

/// Runs the query set.
pub async fn run(args: AnalyseArgs) -> Result<ExitCode, CliError> {
    let queries = match &args.queries {
        None => QuerySet::embedded(Dialect::Shared),
        Some(folder) => QuerySet::from_dir(Dialect::Shared, folder),
    };
    let queries =
        queries.map_err(|error| CliError::usage("the queries cannot be used", "").caused_by(error))?;
    let catalog = lake::catalog(args.datasets.as_deref()).await?;
    let lake = lake::open(&args.lake).await?;
    let limits = Limits { memory: (args.memory as usize) << 20, ..Limits::default() };
    let results = analyse(&lake, &catalog, &queries, &limits)
        .await
        .map_err(|error| CliError::failed("the analysis failed", "").caused_by(error))?;
    args.format.print(&results)?;
    Ok(ExitCode::SUCCESS)
}
