//! `pinlake rebuild`: writes a table again under a changed contract.

use std::process::ExitCode;

use pinlake_lake::RebuildSummary;
use serde::Serialize;
use tokio::time::Instant;

use crate::check;
use crate::console::{self, Unit};
use crate::error::CliError;
use crate::lake::{self, DatasetsArg, LakeArg};

/// Write a table again under its contract, for changes that inserts do not apply.
///
/// Rows are carried over from the values in the table: columns by their name, or after a rename by a name in `from`. Types are
/// converted if no value changes, texts that now mean null become null, and rows with the same identity become one. One
/// commit swaps the files, and functions may insert meanwhile. If a row cannot be carried over, nothing changes.
///
/// Output: one JSON line, {"dataset":"pin","read":N,"rows":N,"duplicates":N,"files_removed":N,"files_added":N,"version":N,
/// "seconds":S}, with read = rows + duplicates.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  pinlake check my-datasets --against s3://my-lake
  pinlake rebuild --lake s3://my-lake --dataset orders --datasets my-datasets")]
pub struct RebuildArgs {
    #[command(flatten)]
    lake: LakeArg,
    /// The dataset of the table
    #[arg(long, value_name = "NAME")]
    dataset: String,
    #[command(flatten)]
    datasets: DatasetsArg,
}

/// The line of output.
#[derive(Debug, Serialize)]
struct Summary {
    dataset: String,
    read: u64,
    rows: u64,
    duplicates: u64,
    files_removed: u64,
    files_added: u64,
    version: u64,
    seconds: f64,
}

/// Runs the command.
pub async fn run(args: RebuildArgs) -> Result<ExitCode, CliError> {
    let catalog = lake::catalog(Some(&*args.lake), args.datasets.as_deref()).await?;
    let contract = lake::find_contract(&catalog, &args.dataset)?;
    let lake = lake::open(&args.lake).await?;
    let begun = Instant::now();
    let failed = |error| CliError::failed(format!("{} was not rebuilt", args.dataset), "").caused_by(error);
    let history =
        lake.catalog_history().load_all(&**lake.store()).await.map_err(|error| failed(error.into()))?;
    let before = check::find_newest(&history, &args.dataset);
    if let Some(why) = before.and_then(|before| check::find_version_mistake(before, contract)) {
        return Err(CliError::failed(format!("{} was not rebuilt: {why}", args.dataset), ""));
    }
    let pinned = lake.table(contract).pin().await.map_err(failed)?;
    let columns = contract.table_schema();
    let dropped = pinned.schema.fields().iter().map(|field| field.name().as_str());
    let dropped: Vec<&str> = dropped.filter(|name| columns.field_with_name(name).is_err()).collect();
    if !dropped.is_empty() {
        console::say(&format!(
            "columns that the contract does not have, and the table then neither: {}",
            dropped.join(", ")
        ));
    }
    let total = pinned.files.iter().map(|file| file.rows).sum::<Option<u64>>();
    let bar = console::progress("rebuild", Unit::Rows, total);
    let done = lake.rebuild(&catalog, contract, |rows| bar.set_position(rows)).await;
    bar.finish_and_clear();
    let RebuildSummary { read, rows, duplicates, files_removed, files_added, version } =
        done.map_err(failed)?;
    let seconds = begun.elapsed().as_secs_f64();
    let dataset = args.dataset;
    console::data_json(&Summary {
        dataset,
        read,
        rows,
        duplicates,
        files_removed,
        files_added,
        version,
        seconds,
    })?;
    Ok(ExitCode::SUCCESS)
}
