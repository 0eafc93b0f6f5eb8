//! `pinlake load`: cleans files and inserts what is absent.

use std::path::PathBuf;
use std::process::ExitCode;

use crate::error::CliError;

/// Clean files and insert their rows into a lake.
///
/// Takes NDJSON, JSON arrays, concatenated JSON, CSV with a header and Parquet, plain or as .gz or .zst; folders
/// are walked. Loading the same rows again changes nothing. On stdout: one JSON line a dataset,
/// {"dataset":"pin","read":N,"inserted":N,"duplicates":N,"quarantined":N,"bytes":N,"seconds":S},
/// where read = inserted + duplicates + quarantined, and rows that no dataset takes are under null.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  pinlake load --lake /tmp/lake pin.ndjson geo.ndjson.gz user.csv
  pinlake load --lake s3://my-lake --dataset pin exports/")]
pub struct LoadArgs {
    /// The lake: a folder, or s3://bucket[/prefix] with the usual AWS environment
    #[arg(long, value_name = "DIR|s3://...", env = "PINLAKE_LAKE")]
    pub lake: String,
    /// The dataset of all files; without it a file's name decides, then each record's shape
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// Contracts to use in the place of those built in: a folder of TOML files
    #[arg(long, value_name = "DIR", env = "PINLAKE_DATASETS")]
    pub datasets: Option<PathBuf>,
    /// Exit with 3 when rows were quarantined
    #[arg(long)]
    pub strict: bool,
    /// Files or folders
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Loads the files.
pub async fn run(_args: LoadArgs) -> Result<ExitCode, CliError> {
    Err(CliError::failed("`load` is not built yet", ""))
}
