//! `pinlake key`: API keys for ingest.

use std::path::PathBuf;
use std::process::ExitCode;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use pinlake_platform::api_keys::{self, ApiKeys, PREFIX};
use serde_json::json;

use crate::console;
use crate::error::CliError;
use crate::lake;

/// Create an API key for ingest or the report.
///
/// Output: one JSON line, {"key":"plk_...","entry":"NAME:HASH[:DATASET+...]"}. Give the key to the client; it is not
/// stored. Add the entry, which contains the SHA-256 of the key, to the template parameter IngestApiKeys or
/// ReportApiKeys, a comma-separated list.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
A key that grants access to pin and geo:
  pinlake key new --name phones --dataset pin --dataset geo > key.json
  jq -r .entry key.json       # for IngestApiKeys in samconfig.toml; then run make deploy

To rotate a key, create one under another name, deploy both entries, give the client the new key, and deploy
without the old entry.")]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum KeyCommand {
    /// Create a key and its entry
    New {
        /// Name of the key in logs: letters, digits, - and _
        #[arg(long, value_name = "NAME")]
        name: String,
        /// Dataset that the key grants access to; repeatable [default: all]
        #[arg(long = "dataset", value_name = "NAME")]
        datasets: Vec<String>,
        /// Folder with contracts (TOML) that replace the built-in ones
        #[arg(long = "datasets", value_name = "DIR", env = "PINLAKE_DATASETS")]
        contracts: Option<PathBuf>,
    },
}

/// Runs the command.
pub async fn run(args: KeyArgs) -> Result<ExitCode, CliError> {
    let KeyCommand::New { name, datasets, contracts } = args.command;
    let catalog = lake::catalog(None, contracts.as_deref()).await?;
    let secret = pinlake_env::secret().map_err(|error| {
        CliError::failed("cannot read random bytes from the operating system", "try again").caused_by(error)
    })?;
    let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
    let entry = api_keys::entry(&name, &key, &datasets);
    // Ingest would refuse the entry when it starts.
    ApiKeys::parse(&entry, &catalog)
        .map_err(|bad| CliError::usage(format!("cannot create this key: {}", bad.problem), "see --help"))?;
    console::data_json(&json!({ "key": key, "entry": entry }))?;
    Ok(ExitCode::SUCCESS)
}
