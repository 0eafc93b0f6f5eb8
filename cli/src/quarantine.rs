//! `pinlake quarantine`: what was refused, and why. `pinlake redrive`: once more, under a mended contract.

use std::path::PathBuf;
use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use pinlake_analytics::lake::analyse;
use pinlake_analytics::{Dialect, Limits, QueryResult, QuerySet, Results};
use serde_json::{Value, json};

use crate::console;
use crate::error::CliError;
use crate::lake;
use crate::results::ResultFormat;

/// See what was refused, and why.
///
/// A record that breaks its contract is kept in the table quarantine: its bytes as they came, the reason, and where it
/// came from. Mend the contract, and `pinlake redrive` brings it into its table.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  pinlake quarantine list --lake /tmp/lake
  pinlake quarantine show --lake /tmp/lake --dataset pin --reason wrong_type --limit 5
  pinlake quarantine export --lake /tmp/lake --dataset pin > rejects.ndjson")]
pub struct QuarantineArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// How many records of each dataset broke which rule
    List(Listing),
    /// The records themselves, newest first
    Show(Showing),
    /// The records' bytes on stdout, one a line, oldest first: to mend and load again
    Export(Selection),
}

#[derive(Debug, clap::Args)]
struct Listing {
    #[command(flatten)]
    selection: Selection,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: ResultFormat,
}

#[derive(Debug, clap::Args)]
struct Showing {
    #[command(flatten)]
    selection: Selection,
    /// The most records to show
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
    /// How to print
    #[arg(long, value_enum, default_value_t)]
    format: ResultFormat,
}

/// Which records.
#[derive(Debug, clap::Args)]
struct Selection {
    /// The lake: a folder, or s3://bucket[/prefix] with the usual AWS environment
    #[arg(long, value_name = "DIR|s3://...", env = "PINLAKE_LAKE")]
    lake: String,
    /// Only records meant for this dataset
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Only records with this reason code
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// Also records that a redrive has brought into their table
    #[arg(long)]
    resolved: bool,
}

/// Bring quarantined records into their tables, now that their contract is mended.
///
/// Records that still break their contract stay as they are; doing it again changes nothing. On stdout one JSON line,
/// {"read":N,"resolved":N,"inserted":N,"left":N}, where read = resolved + left.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  pinlake redrive --lake /tmp/lake --datasets my-datasets --dataset pin")]
pub struct RedriveArgs {
    /// The lake: a folder, or s3://bucket[/prefix] with the usual AWS environment
    #[arg(long, value_name = "DIR|s3://...", env = "PINLAKE_LAKE")]
    pub lake: String,
    /// Only records meant for this dataset
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// Contracts to use in the place of those built in: a folder of TOML files
    #[arg(long, value_name = "DIR", env = "PINLAKE_DATASETS")]
    pub datasets: Option<PathBuf>,
}

/// Lists, shows or exports.
pub async fn run(args: QuarantineArgs) -> Result<ExitCode, CliError> {
    match args.command {
        Command::List(listing) => {
            let sql = format!(
                "SELECT dataset, reason, COUNT(*) AS records, COUNT(resolved_at) AS resolved, \
                 MIN(arrived_at) AS first_arrived, MAX(arrived_at) AS last_arrived \
                 FROM quarantine WHERE {} GROUP BY dataset, reason ORDER BY dataset, reason",
                listing.selection.condition()
            );
            listing.format.print(&listing.selection.ask(sql).await?)?;
        }
        Command::Show(showing) => {
            let sql = format!(
                "SELECT dataset, reason, detail, source, position, arrived_at, resolved_at, raw \
                 FROM quarantine WHERE {} ORDER BY arrived_at DESC, source, position LIMIT {}",
                showing.selection.condition(),
                showing.limit
            );
            showing.format.print(&with_text(showing.selection.ask(sql).await?)?)?;
        }
        Command::Export(selection) => {
            let sql = format!(
                "SELECT raw FROM quarantine WHERE {} ORDER BY arrived_at, source, position",
                selection.condition()
            );
            for row in &only(&selection.ask(sql).await?)?.rows {
                console::data_bytes(&raw_of(row.last())?)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Redrives.
pub async fn redrive(args: RedriveArgs) -> Result<ExitCode, CliError> {
    let catalog = lake::catalog(args.datasets.as_deref()).await?;
    let lake = lake::open(&args.lake).await?;
    let done = lake.redrive(&catalog, args.dataset.as_deref()).await.map_err(|error| {
        CliError::failed("the redrive failed", "do it again: what is resolved already stays so")
            .caused_by(error)
    })?;
    console::data_json(&json!({
        "read": done.read,
        "resolved": done.resolved,
        "inserted": done.inserted,
        "left": done.left,
    }))?;
    Ok(ExitCode::SUCCESS)
}

impl Selection {
    fn condition(&self) -> String {
        let quoted = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let mut conditions = vec!["TRUE".to_owned()];
        conditions.extend(self.dataset.as_deref().map(|dataset| format!("dataset = {}", quoted(dataset))));
        conditions.extend(self.reason.as_deref().map(|reason| format!("reason = {}", quoted(reason))));
        if !self.resolved {
            conditions.push("resolved_at IS NULL".to_owned());
        }
        conditions.join(" AND ")
    }

    async fn ask(&self, sql: String) -> Result<Results, CliError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            CliError::failed("cannot read the quarantine", "check the lake's name and your access")
                .caused_by(error)
        };
        let queries = QuerySet::from_files(Dialect::Shared, [("quarantine.sql".to_owned(), sql)])
            .map_err(|error| failed(error.into()))?;
        let catalog = lake::catalog(None).await?;
        let lake = lake::open(&self.lake).await?;
        analyse(&lake, &catalog, &queries, &Limits::default()).await.map_err(|error| failed(error.into()))
    }
}

/// Results hold bytes as base64; records are shown as the text they nearly always are.
fn with_text(results: Results) -> Result<Results, CliError> {
    let mut result = only(&results)?.clone();
    for row in &mut result.rows {
        let text = String::from_utf8_lossy(&raw_of(row.last())?).into_owned();
        if let Some(cell) = row.last_mut() {
            *cell = Value::String(text);
        }
    }
    let json = json!({ "quarantine": result });
    Results::from_json(json).map_err(|error| CliError::failed("cannot show the records", "").caused_by(error))
}

fn only(results: &Results) -> Result<&QueryResult, CliError> {
    results.get("quarantine").ok_or_else(|| CliError::failed("the quarantine gave no answer", ""))
}

fn raw_of(cell: Option<&Value>) -> Result<Vec<u8>, CliError> {
    let text = cell.and_then(Value::as_str).unwrap_or_default();
    BASE64
        .decode(text)
        .map_err(|error| CliError::failed("a record's bytes cannot be read back", "").caused_by(error))
}
