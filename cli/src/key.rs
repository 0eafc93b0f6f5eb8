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

/// Make an API key for ingest.
///
/// On stdout: one JSON line, {"key":"plk_...","entry":"NAME:HASH[:DATASET+...]"}. The key goes to the client and is kept
/// nowhere else; the entry, which has the key's SHA-256 only, goes into the template's parameter IngestApiKeys, beside
/// those of other keys, divided by commas.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example, a key that may write pin and geo:
  pinlake key new --name phones --dataset pin --dataset geo > key.json
  sam deploy --parameter-overrides IngestApiKeys=$(jq -r .entry key.json)

To change a key: make a second one under another name, deploy both entries, give the client the new key, deploy
without the old entry.")]
pub struct KeyArgs {
    #[command(subcommand)]
    command: KeyCommand,
}

#[derive(Debug, clap::Subcommand)]
enum KeyCommand {
    /// Make a key and its entry
    New {
        /// Whose key it is, for logs: letters, digits, - and _
        #[arg(long, value_name = "NAME")]
        name: String,
        /// A dataset that it may write; several by repeating. Without one it may write all
        #[arg(long = "dataset", value_name = "NAME")]
        datasets: Vec<String>,
        /// Contracts in the place of those built in: a folder of TOML files
        #[arg(long = "datasets", value_name = "DIR", env = "PINLAKE_DATASETS")]
        contracts: Option<PathBuf>,
    },
}

/// Makes a key.
pub async fn run(args: KeyArgs) -> Result<ExitCode, CliError> {
    let KeyCommand::New { name, datasets, contracts } = args.command;
    let catalog = lake::catalog(contracts.as_deref()).await?;
    let secret = pinlake_env::secret().map_err(|error| {
        CliError::failed("the operating system gives no random bytes", "try again").caused_by(error)
    })?;
    let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(secret));
    let entry = api_keys::entry(&name, &key, &datasets);
    // What ingest would refuse at its start is refused here.
    ApiKeys::parse(&entry, &catalog)
        .map_err(|bad| CliError::usage(format!("no such key can be made: {}", bad.problem), "see --help"))?;
    console::data_json(&json!({ "key": key, "entry": entry }))?;
    Ok(ExitCode::SUCCESS)
}
