//! `pinlake results`: prints results that the analysis function stored.

use std::process::ExitCode;

use pinlake_analytics::{Results, result_store};

use crate::console;
use crate::error::CliError;
use crate::lake;

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

/// Print the results that the last analysis result_store, or those of an earlier run.
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
pub async fn run(args: ResultsArgs) -> Result<ExitCode, CliError> {
    let store = lake::store(&args.lake).await?;
    let (run, results) = result_store::load(&*store, args.run.as_deref()).await.map_err(|error| {
        CliError::failed("cannot read the results", "invoke the analysis function, or run `pinlake analyse`")
            .caused_by(error)
    })?;
    console::say(&format!("results of run {run}"));
    args.format.print(&results)?;
    Ok(ExitCode::SUCCESS)
}

impl ResultFormat {
    /// Prints results on stdout.
    pub fn print(self, results: &Results) -> Result<(), CliError> {
        match self {
            ResultFormat::Table => console::data(results.render_table().trim_end()),
            ResultFormat::Json => console::data_json(&results.to_json()),
            ResultFormat::Csv => console::data(results.render_csv().trim_end()),
        }
    }
}
