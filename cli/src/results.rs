//! `pinlake results`: prints results that the analysis function stored.

use std::process::ExitCode;

use crate::error::CliError;

/// How results are printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ResultFormat {
    /// For people
    #[default]
    Table,
    /// One JSON object with all results
    Json,
    /// Comma-separated, one block a result
    Csv,
}

/// Print the results that the last analysis stored, or those of an earlier run.
#[derive(Debug, clap::Args)]
pub struct ResultsArgs {
    /// The lake: a folder, or s3://bucket[/prefix] with the usual AWS environment
    #[arg(long, value_name = "DIR|s3://...", env = "PINLAKE_LAKE")]
    pub lake: String,
    /// A run's id; without it the latest
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// How to print the results
    #[arg(long, value_enum, default_value_t)]
    pub format: ResultFormat,
}

/// Prints stored results.
pub async fn run(_args: ResultsArgs) -> Result<ExitCode, CliError> {
    Err(CliError::failed("`results` is not built yet", ""))
}
