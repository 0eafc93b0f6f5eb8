//! `pinlake release`: deploys contracts and queries to a lake, and switches between what was deployed.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use chrono::SecondsFormat;
use pinlake_analytics::{Dialect, QueryResult, QuerySet, Results, TableInput, run_queries};
use pinlake_env::Env;
use pinlake_lake::Lake;
use pinlake_platform::releases::{ReleaseError, ReleaseFiles, Releases};
use pinlake_schema::Catalog;
use serde_json::{Value, json};

use crate::check::{self, REFUSED};
use crate::console;
use crate::error::CliError;
use crate::lake::{self, LakeArg, Place};
use crate::results::ResultFormat;

/// What stands for the contracts and queries that are built into the functions.
const BUILT_IN: &str = "built-in";

/// Deploy contracts and queries to a lake, and switch between releases of them.
///
/// A release is a set of contracts and queries in the lake, which never changes. The functions of a stack take over the
/// current release within a minute, without a deployment. This program uses it too, unless --datasets or --queries name
/// others.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  pinlake release create --lake s3://my-lake --datasets my-datasets --queries my-queries
  pinlake release list --lake s3://my-lake
  pinlake release rollback --lake s3://my-lake

Exit codes: 0 success, 1 a refused change or a failure, 2 wrong usage.")]
pub struct ReleaseArgs {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, clap::Subcommand)]
enum Command {
    /// Check contracts and queries, store them as a release, and use it
    Create(Creation),
    /// List the releases, newest first
    List(Listing),
    /// Use a release, or what is built in
    Use(Selection),
    /// Use the release that was in use before
    Rollback(LakeArg),
}

#[derive(Debug, clap::Args)]
struct Creation {
    #[command(flatten)]
    of: LakeArg,
    /// Folder or s3:// prefix with contracts (TOML) [default: those of the current release]
    #[arg(long, value_name = "DIR|s3://...", env = "PINLAKE_DATASETS")]
    datasets: Option<PathBuf>,
    /// Folder or s3:// prefix with SQL files, one for each result [default: those of the current release]
    #[arg(long, value_name = "DIR|s3://...", env = "PINLAKE_QUERIES")]
    queries: Option<PathBuf>,
    /// Store the release, and leave the current one in use
    #[arg(long)]
    no_use: bool,
}

#[derive(Debug, clap::Args)]
struct Listing {
    #[command(flatten)]
    of: LakeArg,
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    format: ResultFormat,
}

#[derive(Debug, clap::Args)]
struct Selection {
    /// Id of the release, or built-in
    #[arg(value_name = "ID")]
    id: String,
    #[command(flatten)]
    of: LakeArg,
}

/// Runs the command.
pub async fn run(args: ReleaseArgs) -> Result<ExitCode, CliError> {
    match args.command {
        Command::Create(args) => return create(args).await,
        Command::List(args) => list(args).await?,
        Command::Use(args) => {
            let releases = Releases::of_lake(lake::store(&args.of.lake).await?);
            let read = releases.read_pointer_to_replace().await.map_err(failed)?;
            let to = match args.id.as_str() {
                BUILT_IN => None,
                id => Some(releases.find(id).await.map_err(failed)?.id),
            };
            releases.switch(&read, to.clone(), Env::system().clock.now()).await.map_err(failed)?;
            report_use(to.as_deref())?;
        }
        Command::Rollback(of) => {
            let releases = Releases::of_lake(lake::store(&of.lake).await?);
            let read = releases.read_pointer().await.map_err(failed)?;
            let to = releases.roll_back(&read, Env::system().clock.now()).await.map_err(failed)?;
            report_use(to.as_deref())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn failed(error: ReleaseError) -> CliError {
    match error {
        error @ (ReleaseError::Unknown(_) | ReleaseError::Invalid(_)) => {
            CliError::usage(error.to_string(), "")
        }
        error => CliError::failed("the releases of the lake cannot be used", "").caused_by(error),
    }
}

fn report_use(release: Option<&str>) -> Result<(), CliError> {
    console::say("in use; the functions take it over within a minute");
    console::data_json(&json!({ "release": release.unwrap_or(BUILT_IN), "in_use": true }))
}

async fn create(args: Creation) -> Result<ExitCode, CliError> {
    let lake = lake::create(&args.of.lake).await?;
    let releases = Releases::of_lake(lake.store().clone());
    let read = releases.read_pointer().await.map_err(failed)?;
    let place = |given: Option<PathBuf>, option| {
        let lake = args.of.lake.clone();
        async move { Place::find(Some(&lake), given.as_deref(), option).await }
    };
    let datasets = place(args.datasets, "--datasets").await?;
    let (catalog, datasets) = lake::read_contracts(&datasets).await?;
    if datasets.is_empty() {
        return Err(CliError::usage(
            "there is no contract (*.toml) in --datasets",
            "name a folder of contracts",
        ));
    }
    let queries = place(args.queries, "--queries").await?.read_queries().await?;
    let (datasets, queries) = (without_folders(datasets), without_folders(queries));
    check_queries(&catalog, &queries).await?;
    if !check_against(&lake, &catalog, &read.current.release, &releases).await? {
        return Ok(ExitCode::FAILURE);
    }
    let now = Env::system().clock.now();
    let files = ReleaseFiles { datasets, queries };
    let (release, is_new) = releases.create(&files, now).await.map_err(failed)?;
    if !args.no_use {
        releases.switch(&read, Some(release.id.clone()), now).await.map_err(failed)?;
        console::say("in use; the functions take it over within a minute");
    }
    console::data_json(&json!({ "release": release.id, "new": is_new, "in_use": !args.no_use }))?;
    Ok(ExitCode::SUCCESS)
}

/// Whether the lake's tables and the current release allow the contracts. Says what each change means.
async fn check_against(
    lake: &Lake,
    catalog: &Catalog,
    current: &Option<String>,
    releases: &Releases,
) -> Result<bool, CliError> {
    let released = match current {
        None => None,
        Some(id) => Some(lake::catalog_of_release(releases, id).await?),
    };
    let mut is_allowed = true;
    for report in check::compare(lake, catalog, released.as_ref()).await? {
        is_allowed &= report.class != REFUSED;
        if !report.changes.is_empty() {
            console::say(&report.describe());
        }
    }
    if !is_allowed {
        console::say("nothing was released: a change is refused");
    }
    Ok(is_allowed)
}

/// Checks the queries of each engine, and plans them over tables without rows.
async fn check_queries(catalog: &Catalog, texts: &[(String, String)]) -> Result<(), CliError> {
    let invalid = |error: pinlake_analytics::AnalyticsError| {
        CliError::failed("the queries have errors", "nothing was released").caused_by(error)
    };
    QuerySet::from_files(Dialect::Athena, texts.to_vec()).map_err(invalid)?;
    let queries = QuerySet::from_files(Dialect::Shared, texts.to_vec()).map_err(invalid)?;
    let tables = catalog.contracts().map(|contract| TableInput {
        name: contract.name.clone(),
        version: None,
        schema: contract.table_schema(),
        partition_columns: Vec::new(),
        files: Vec::new(),
    });
    let store = Arc::new(object_store::memory::InMemory::new());
    run_queries(store, tables.collect(), &queries).await.map_err(invalid)?;
    Ok(())
}

fn without_folders(files: Vec<(String, String)>) -> Vec<(String, String)> {
    let name = |path: &str| path.rsplit(['/', '\\']).next().unwrap_or(path).to_owned();
    files.into_iter().map(|(path, text)| (name(&path), text)).collect()
}

async fn list(args: Listing) -> Result<(), CliError> {
    let releases = Releases::of_lake(lake::store(&args.of.lake).await?);
    let current = releases.read_pointer().await.map_err(failed)?.current.release;
    let listed = releases.list().await.map_err(failed)?;
    let count = |files: &std::collections::BTreeMap<String, String>, folder: &str| {
        json!(files.keys().filter(|path| path.starts_with(folder)).count())
    };
    let built_in = vec![json!(BUILT_IN), Value::Null, json!(current.is_none()), Value::Null, Value::Null];
    let rows = listed.iter().rev().map(|release| {
        vec![
            json!(release.id),
            json!(release.created_at.to_rfc3339_opts(SecondsFormat::Secs, true)),
            json!(current.as_ref() == Some(&release.id)),
            count(&release.files, "datasets/"),
            count(&release.files, "queries/"),
        ]
    });
    let rows = rows.chain([built_in]).collect();
    let columns = ["release", "created", "in_use", "contracts", "queries"].map(str::to_owned).to_vec();
    let result = QueryResult { columns, rows, versions: Default::default(), moved: Default::default() };
    args.format.print(&Results::from_iter([("releases".to_owned(), result)]))
}
