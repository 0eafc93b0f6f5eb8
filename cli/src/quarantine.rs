//! `pinlake quarantine`: shows records that break their contract. `pinlake redrive`: cleans them again.

use std::process::ExitCode;

use base64::Engine;
use base64::engine::general_purpose::STANDARD as BASE64;
use pinlake_analytics::lake::analyse;
use pinlake_analytics::{Dialect, QueryLimits, QueryResult, QuerySet, Results};
use serde_json::{Value, json};

use crate::console;
use crate::error::CliError;
use crate::lake::{self, DatasetsArg, LakeArg};
use crate::results::ResultFormat;

/// Show the records that break their contract.
///
/// Such records are kept in the table quarantine, with their bytes, a reason code and their source. After you fix the
/// contract, `pinlake redrive` moves them into their table.
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
    /// Count records by dataset and reason
    List(Listing),
    /// Print records, newest first
    Show(Showing),
    /// Write the bytes of records to stdout, one per line, oldest first, to fix and load them again
    Export(Selection),
}

#[derive(Debug, clap::Args)]
struct Listing {
    #[command(flatten)]
    selection: Selection,
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    format: ResultFormat,
}

#[derive(Debug, clap::Args)]
struct Showing {
    #[command(flatten)]
    selection: Selection,
    /// Maximum number of records
    #[arg(long, value_name = "N", default_value_t = 20)]
    limit: u32,
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    format: ResultFormat,
}

/// Selects records.
#[derive(Debug, clap::Args)]
struct Selection {
    #[command(flatten)]
    lake: LakeArg,
    /// Only records meant for this dataset
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Only records with this reason code
    #[arg(long, value_name = "CODE")]
    reason: Option<String>,
    /// Include records that a redrive has moved into their table
    #[arg(long)]
    resolved: bool,
}

/// Clean quarantined records again, and insert those that match their contract now.
///
/// Run it after you fixed a contract. Records that still break it stay in quarantine. Running it twice changes nothing.
///
/// Output: one JSON line, {"read":N,"resolved":N,"inserted":N,"left":N}, with read = resolved + left.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  pinlake redrive --lake /tmp/lake --datasets my-datasets --dataset pin")]
pub struct RedriveArgs {
    #[command(flatten)]
    pub lake: LakeArg,
    /// Only records meant for this dataset
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    #[command(flatten)]
    pub datasets: DatasetsArg,
}

/// Runs `pinlake quarantine`.
pub async fn run(args: QuarantineArgs) -> Result<ExitCode, CliError> {
    match args.command {
        Command::List(listing) => {
            let sql = format!(
                "SELECT dataset, reason, COUNT(*) AS records, COUNT(resolved_at) AS resolved, \
                 MIN(arrived_at) AS first_arrived, MAX(arrived_at) AS last_arrived \
                 FROM quarantine WHERE {} GROUP BY dataset, reason ORDER BY dataset, reason",
                listing.selection.condition()
            );
            listing.format.print(&listing.selection.query(sql).await?)?;
        }
        Command::Show(showing) => {
            let sql = format!(
                "SELECT dataset, reason, detail, source, position, arrived_at, resolved_at, raw \
                 FROM quarantine WHERE {} ORDER BY arrived_at DESC, source, position LIMIT {}",
                showing.selection.condition(),
                showing.limit
            );
            showing.format.print(&decode_raw(showing.selection.query(sql).await?)?)?;
        }
        Command::Export(selection) => {
            let sql = format!(
                "SELECT raw FROM quarantine WHERE {} ORDER BY arrived_at, source, position",
                selection.condition()
            );
            for row in &single_result(&selection.query(sql).await?)?.rows {
                console::data_bytes(&parse_raw(row.last())?)?;
            }
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Runs `pinlake redrive`.
pub async fn redrive(args: RedriveArgs) -> Result<ExitCode, CliError> {
    let catalog = lake::catalog(Some(&*args.lake), args.datasets.as_deref()).await?;
    let lake = lake::open(&args.lake).await?;
    let done = lake.redrive(&catalog, args.dataset.as_deref()).await.map_err(|error| {
        CliError::failed("the redrive failed", "run it again: resolved records stay resolved")
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
        let quote = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let mut conditions = vec!["TRUE".to_owned()];
        conditions.extend(self.dataset.as_deref().map(|dataset| format!("dataset = {}", quote(dataset))));
        conditions.extend(self.reason.as_deref().map(|reason| format!("reason = {}", quote(reason))));
        if !self.resolved {
            conditions.push("resolved_at IS NULL".to_owned());
        }
        conditions.join(" AND ")
    }

    async fn query(&self, sql: String) -> Result<Results, CliError> {
        let failed = |error: Box<dyn std::error::Error + Send + Sync>| {
            CliError::failed("cannot read the quarantine", "check the name of the lake and your permissions")
                .caused_by(error)
        };
        let queries = QuerySet::from_files(Dialect::Shared, [("quarantine.sql".to_owned(), sql)])
            .map_err(|error| failed(error.into()))?;
        let catalog = lake::catalog_to_read(&self.lake, None).await?;
        let lake = lake::open(&self.lake).await?;
        let run = analyse(&lake, &catalog, &queries, &QueryLimits::default(), None).await;
        run.and_then(|run| Ok(run.into_results()?)).map_err(|error| failed(error.into()))
    }
}

/// Decodes the raw bytes, which results hold as base64, to text.
fn decode_raw(results: Results) -> Result<Results, CliError> {
    let mut result = single_result(&results)?.clone();
    for row in &mut result.rows {
        let text = String::from_utf8_lossy(&parse_raw(row.last())?).into_owned();
        if let Some(cell) = row.last_mut() {
            *cell = Value::String(text);
        }
    }
    let json = json!({ "quarantine": result });
    Results::from_json(json).map_err(|error| CliError::failed("cannot show the records", "").caused_by(error))
}

fn single_result(results: &Results) -> Result<&QueryResult, CliError> {
    results
        .get("quarantine")
        .ok_or_else(|| CliError::failed("the query of the quarantine returned no result", ""))
}

fn parse_raw(cell: Option<&Value>) -> Result<Vec<u8>, CliError> {
    let text = cell.and_then(Value::as_str).unwrap_or_default();
    BASE64
        .decode(text)
        .map_err(|error| CliError::failed("the bytes of a record are not valid base64", "").caused_by(error))
}
