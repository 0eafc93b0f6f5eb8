//! `pinlake results`: prints results that the analysis function stored.

use std::process::ExitCode;

use pinlake_results::{Results, store};

use crate::console;
use crate::error::CliError;
use crate::lake::{self, LakeArg};

/// The format of printed results.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum ResultFormat {
    /// Tables to read
    #[default]
    Table,
    /// One JSON object with all results
    Json,
    /// CSV, one block per result
    Csv,
}

/// Print results stored by the analysis function.
///
/// The function stores the results of every run; the default is the latest run.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pinlake results --lake s3://my-lake
  pinlake results --lake s3://my-lake --format csv > results.csv")]
pub struct ResultsArgs {
    #[command(flatten)]
    pub lake: LakeArg,
    /// Id of the run [default: the latest run]
    #[arg(long, value_name = "ID")]
    pub run: Option<String>,
    /// Format of the results
    #[arg(long, value_enum, default_value_t)]
    pub format: ResultFormat,
}

/// Runs the command.
pub async fn run(args: ResultsArgs) -> Result<ExitCode, CliError> {
    let lake = lake::store(&args.lake).await?;
    let (run, results) = store::load(&*lake, args.run.as_deref()).await.map_err(|error| {
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
