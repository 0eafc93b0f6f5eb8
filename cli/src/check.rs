//! `pinlake check`: checks contracts, and what their changes mean for a lake.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use pinlake_lake::{Lake, LakeError, PinnedTable, Table};
use pinlake_schema::{Catalog, Change, ChangeClass, Contract, Scalar, Type, compare_contracts};
use serde::Serialize;
use serde_json::Value;

use crate::console;
use crate::error::CliError;
use crate::lake::{self, Place};

/// Check contracts, and what their changes mean for the tables of a lake.
///
/// Without --against, all errors in the contracts are reported. With it, each dataset has a class:
///   new          the lake has no table of it
///   unchanged    nothing that affects rows has changed
///   compatible   the functions apply the changes with the next insert
///   rebuild      rows that exist change only by `pinlake rebuild`; a message says whether the table takes rows before
///   refused      the change cannot be deployed as it is
///
/// Exit codes: 0 no errors and no refused change, 1 errors or a refused change, 2 wrong usage.
#[derive(Debug, clap::Args)]
#[command(
    verbatim_doc_comment,
    after_help = "\
Example:
  pinlake check my-datasets
  pinlake check my-datasets --against s3://my-lake"
)]
pub struct CheckArgs {
    /// Folder with contracts (TOML); the built-in ones if it is left out
    #[arg(value_name = "DIR", env = "PINLAKE_DATASETS")]
    datasets: Option<PathBuf>,
    /// A lake whose tables have rows under other versions of the contracts
    #[arg(long, value_name = "DIR|s3://...")]
    against: Option<String>,
    /// Format of the output: lines of text, or one JSON object for each dataset
    #[arg(long, value_enum, default_value_t = CheckFormat::Text)]
    format: CheckFormat,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
enum CheckFormat {
    Text,
    Json,
}

/// What the changes of a contract mean for its table.
#[derive(Debug, Serialize)]
pub struct DatasetReport {
    dataset: String,
    pub class: &'static str,
    /// Whether the table takes rows of the contract as it is.
    takes_rows: bool,
    pub changes: Vec<Described>,
    /// Whether `pinlake rebuild` can write the rows under the contract.
    #[serde(skip)]
    can_rebuild: bool,
}

/// A change in words.
#[derive(Debug, Serialize)]
pub struct Described {
    #[serde(skip_serializing_if = "Option::is_none")]
    column: Option<String>,
    class: &'static str,
    what: String,
}

impl Described {
    fn new(class: &'static str, what: String) -> Described {
        Described { column: None, class, what }
    }
}

impl From<Change> for Described {
    fn from(change: Change) -> Described {
        Described { column: change.column, class: change.class.as_str(), what: change.what }
    }
}

const NEW: &str = "new";
const UNCHANGED: &str = "unchanged";
/// The class of a change that cannot be deployed.
pub const REFUSED: &str = ChangeClass::Refused.as_str();

/// Runs the command.
pub async fn run(args: CheckArgs) -> Result<ExitCode, CliError> {
    let place = Place::find(None, args.datasets.as_deref(), "--datasets").await?;
    let catalog = lake::read_contracts(&place).await;
    let (catalog, _) = catalog.map_err(|error| CliError::failed(error.with_causes(), ""))?;
    let Some(against) = &args.against else {
        console::say(&format!("{} contracts, no errors", catalog.contracts().count()));
        return Ok(ExitCode::SUCCESS);
    };
    let lake = lake::open(against).await?;
    let released = match Place::find(Some(against), None, "--against").await? {
        Place::Release(releases, id) => Some(lake::catalog_of_release(&releases, &id).await?),
        _ => None,
    };
    let mut can_deploy = true;
    for report in compare(&lake, &catalog, released.as_ref()).await? {
        can_deploy &= report.class != REFUSED;
        match args.format {
            CheckFormat::Json => console::data_json(&report)?,
            CheckFormat::Text => console::data(&report.describe())?,
        }
        if report.class == ChangeClass::Rebuild.as_str() {
            let name = &report.dataset;
            if !report.can_rebuild {
                console::say(&format!(
                    "{name}: its rows are identified by their record, so they cannot be rebuilt. Keep the former contract, and load the \
                     records into a dataset with another name."
                ));
                continue;
            }
            let meanwhile = if report.takes_rows {
                "Until then it takes new rows, and earlier rows stay as they are."
            } else {
                "Until then it takes no rows of the changed contract; they wait in landing/."
            };
            console::say(&format!(
                "{name}: deploy the contract, then run `pinlake rebuild --lake {against} --dataset {name}`. {meanwhile} After the rebuild, a \
                 record is known by the values that its row has."
            ));
        }
    }
    Ok(if can_deploy { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Compares each contract with what the lake has: its table, the contracts that cleaned its records, and the contracts of
/// its current release.
pub async fn compare(
    lake: &Lake,
    catalog: &Catalog,
    released: Option<&Catalog>,
) -> Result<Vec<DatasetReport>, CliError> {
    let history = lake.catalog_history().load_all(&**lake.store()).await;
    let history = history
        .map_err(|error| CliError::failed("the lake's contracts cannot be read", "").caused_by(error))?;
    let mut reports = Vec::new();
    for contract in catalog.contracts() {
        let before = released.and_then(|released| released.contract(&contract.name));
        let mut report = classify(lake, &history, before, contract).await?;
        let mistake = before.and_then(|before| find_version_mistake(before, contract));
        if let Some(why) = mistake.filter(|_| report.class != REFUSED) {
            report.class = REFUSED;
            report.changes.push(Described::new(REFUSED, format!("{why}; the current release has the other")));
        }
        reports.push(report);
    }
    Ok(reports)
}

/// Compares a contract with the one under which the rows of its table were written last, and asks the table. `released` is the one of the
/// current release.
async fn classify(
    lake: &Lake,
    history: &[Arc<Catalog>],
    released: Option<&Arc<Contract>>,
    contract: &Arc<Contract>,
) -> Result<DatasetReport, CliError> {
    let newest = find_newest(history, &contract.name);
    let can_rebuild = !contract.stores_keys() && !newest.is_some_and(|newest| newest.stores_keys());
    let report = |class, takes_rows, changes| DatasetReport {
        dataset: contract.name.clone(),
        class,
        takes_rows,
        changes,
        can_rebuild,
    };
    let table = lake.table(contract);
    let refusal = match table.check_contract().await {
        Ok(None) => return Ok(report(NEW, true, Vec::new())),
        Ok(Some(_)) => None,
        Err(
            error @ (LakeError::IdentityChanged { .. }
            | LakeError::Foreign { .. }
            | LakeError::SchemaChanged { .. }),
        ) => Some(error.to_string()),
        Err(error) => return Err(cannot_be_read(error)),
    };
    let pinned = table.pin_with_statistics().await.map_err(cannot_be_read)?;
    let before = find_contract_of_rows(&table, history).await.map_err(cannot_be_read)?.or(newest);
    let mut found: Vec<Change> = describe_partitions(contract, &pinned).into_iter().collect();
    found.extend(before.into_iter().flat_map(|before| compare_contracts(before, contract)));
    describe_kept_columns(contract, history, &pinned, &mut found);
    refuse_lost_digits(contract, &pinned, &mut found);
    let mut class = found.iter().map(|change| change.class).max();
    let mut changes: Vec<Described> = found.into_iter().map(Described::from).collect();
    // After a rollback the contract in use has a lower version than others of the history.
    let is_in_use = released.is_some_and(|released| released.has_same_meaning(contract));
    let mistake = newest.filter(|_| !is_in_use).and_then(|newest| find_version_mistake(newest, contract));
    if let Some(why) = mistake {
        changes.push(Described::new(REFUSED, why));
        return Ok(report(REFUSED, refusal.is_none(), changes));
    }
    let takes_rows = refusal.is_none();
    if let Some(why) = refusal
        && class < Some(ChangeClass::Rebuild)
    {
        changes.push(Described::new(ChangeClass::Rebuild.as_str(), why));
        class = Some(ChangeClass::Rebuild);
    }
    Ok(report(class.map_or(UNCHANGED, ChangeClass::as_str), takes_rows, changes))
}

fn cannot_be_read(error: LakeError) -> CliError {
    CliError::failed("a table cannot be read", "").caused_by(error)
}

/// Commits that are read to find the last one that wrote rows.
const MAX_COMMITS_READ: usize = 20;

/// The contract under which rows of the table were written last, if the history has it. A newer one may have cleaned records that the table
/// then refused.
async fn find_contract_of_rows<'a>(
    table: &Table,
    history: &'a [Arc<Catalog>],
) -> Result<Option<&'a Arc<Contract>>, LakeError> {
    let commits = table.list_commits(MAX_COMMITS_READ).await?;
    let mut wrote = commits.into_iter().filter(|commit| commit.files_added > 0 && !commit.is_merge());
    let Some(named) = wrote.find_map(|commit| commit.contract) else { return Ok(None) };
    let dataset = &table.contract().name;
    let mut contracts = history.iter().rev().filter_map(|catalog| catalog.contract(dataset));
    Ok(contracts.find(|own| own.broken().is_none() && own.label() == named))
}

/// How the partitions of a table differ from those of its contract.
fn describe_partitions(contract: &Contract, table: &PinnedTable) -> Option<Change> {
    let declared: BTreeSet<&String> = contract.partition_by.iter().collect();
    if declared == table.partition_columns.iter().collect() {
        return None;
    }
    let describe = |columns: &[String]| match columns {
        [] => "no partitions".to_owned(),
        columns => format!("partitions by {}", columns.join(", ")),
    };
    let (wanted, own) = (describe(&contract.partition_by), describe(&table.partition_columns));
    Some(Change { column: None, class: ChangeClass::Rebuild, what: format!("{wanted}; the table has {own}") })
}

/// Adds the columns that were dropped by an earlier change and that the table still has. Columns that other programs have added do not count.
fn describe_kept_columns(
    contract: &Contract,
    history: &[Arc<Catalog>],
    table: &PinnedTable,
    changes: &mut Vec<Change>,
) {
    let own = contract.table_schema();
    let was_ours = |name: &str| {
        let mut contracts = history.iter().filter_map(|catalog| catalog.contract(&contract.name));
        contracts.any(|earlier| earlier.columns.iter().any(|column| column.name == name))
    };
    for field in table.schema.fields() {
        let name = field.name();
        let is_described = changes.iter().any(|change| change.column.as_ref() == Some(name));
        if own.field_with_name(name).is_err() && !is_described && was_ours(name) {
            let what = "dropped; the table has it until a rebuild".to_owned();
            changes.push(Change { column: Some(name.clone()), class: ChangeClass::Rebuild, what });
        }
    }
}

/// Refuses the change of a column from `int64` to `float64` if the table has a value that would lose digits. The statistics in its log show
/// the least and the greatest value of each file.
fn refuse_lost_digits(contract: &Contract, table: &PinnedTable, changes: &mut [Change]) {
    for change in changes {
        let Some(name) = &change.column else { continue };
        let mut columns = contract.columns.iter();
        let is_float =
            columns.any(|column| column.name == *name && column.data_type == Type::Scalar(Scalar::Float64));
        let field = table.schema.field_with_name(name);
        if !is_float || !field.is_ok_and(|field| *field.data_type() == Type::Scalar(Scalar::Int64).arrow()) {
            continue;
        }
        let statistics = table.files.iter().filter_map(|file| file.statistics.as_deref());
        let statistics = statistics.filter_map(|text| serde_json::from_str::<Value>(text).ok());
        let bounds = statistics
            .flat_map(|file| ["minValues", "maxValues"].map(|bound| file[bound][name.as_str()].as_i64()))
            .flatten();
        let loses_digits = |number: &i64| *number as f64 as i128 != i128::from(*number);
        if let Some(number) = bounds.into_iter().find(loses_digits) {
            change.class = ChangeClass::Refused;
            change.what = format!(
                "type float64 in place of int64, and {number} would lose digits: use decimal(19,0), or keep int64"
            );
        }
    }
}

/// The newest contract of a dataset in the history of a lake.
pub fn find_newest<'a>(history: &'a [Arc<Catalog>], dataset: &str) -> Option<&'a Arc<Contract>> {
    let mut contracts = history.iter().rev().filter_map(|catalog| catalog.contract(dataset));
    contracts.find(|contract| contract.broken().is_none())
}

/// What is wrong with the version of a changed contract.
pub fn find_version_mistake(before: &Contract, contract: &Contract) -> Option<String> {
    if before.has_same_meaning(contract) || contract.version > before.version {
        return None;
    }
    let (own, next) = (contract.version, before.version.saturating_add(1));
    Some(match own == before.version {
        true => format!("changed under the same version: write version = {next}"),
        false => format!("version {own} is lower than {} before: write version = {next}", before.version),
    })
}

impl DatasetReport {
    /// The class, and a line for each change.
    pub fn describe(&self) -> String {
        let mut text = format!("{}: {}", self.dataset, self.class);
        for change in &self.changes {
            let column = change.column.as_ref().map_or(String::new(), |column| format!("column {column}: "));
            text.push_str(&format!("\n  {}: {column}{}", change.class, change.what));
        }
        text
    }
}
