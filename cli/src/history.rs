//! `pinlake history`: lists the commits of a table.

use std::process::ExitCode;

use chrono::SecondsFormat;
use pinlake_analytics::{QueryResult, Results};
use pinlake_lake::Commit;
use serde_json::{Value, json};

use crate::error::CliError;
use crate::lake::{self, DatasetsArg, LakeArg};
use crate::results::ResultFormat;

/// List the commits of a table: what they did, who made them, and under which contract.
///
/// A number that a commit does not record, such as those of other programs, is empty.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  pinlake history --lake /tmp/lake --dataset pin
  pinlake history --lake s3://my-lake --dataset pin --limit 5 --format json")]
pub struct HistoryArgs {
    #[command(flatten)]
    lake: LakeArg,
    /// The dataset of the table
    #[arg(long, value_name = "NAME")]
    dataset: String,
    #[command(flatten)]
    datasets: DatasetsArg,
    /// Maximum number of commits, newest first
    #[arg(long, value_name = "N", default_value_t = 50, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    limit: u32,
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    format: ResultFormat,
}

const COLUMNS: [&str; 15] = [
    "version",
    "time",
    "operation",
    "engine",
    "contract",
    "read",
    "inserted",
    "superseded",
    "duplicates",
    "outdated",
    "deleted",
    "updated",
    "files_added",
    "files_removed",
    "changes_table",
];

/// Runs the command.
pub async fn run(args: HistoryArgs) -> Result<ExitCode, CliError> {
    let catalog = lake::catalog_to_read(&args.lake, args.datasets.as_deref()).await?;
    let contract = lake::find_contract(&catalog, &args.dataset)?;
    let table = lake::open(&args.lake).await?.table(contract);
    let commits = table
        .list_commits(args.limit as usize)
        .await
        .map_err(|error| CliError::failed("the log of the table cannot be read", "").caused_by(error))?;
    let rows = commits.iter().map(describe).collect();
    let columns = COLUMNS.map(str::to_owned).to_vec();
    let result = QueryResult { columns, rows, versions: Default::default(), moved: Default::default() };
    args.format.print(&Results::from_iter([(args.dataset, result)]))?;
    Ok(ExitCode::SUCCESS)
}

fn describe(commit: &Commit) -> Vec<Value> {
    vec![
        json!(commit.version),
        json!(commit.committed_at.to_rfc3339_opts(SecondsFormat::Millis, true)),
        json!(commit.operation),
        json!(commit.engine),
        json!(commit.contract),
        json!(commit.read),
        json!(commit.inserted),
        json!(commit.superseded),
        json!(commit.duplicates),
        json!(commit.outdated),
        json!(commit.deleted),
        json!(commit.updated),
        json!(commit.files_added),
        json!(commit.files_removed),
        json!(commit.changes_table),
    ]
}
