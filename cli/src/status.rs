//! `pinlake status`: the state of a lake in the terminal.

use std::process::ExitCode;
use std::time::Duration;

use chrono::{DateTime, Utc};
use comfy_table::{Cell, CellAlignment, ContentArrangement, Table, presets::UTF8_FULL_CONDENSED};
use pinlake_env::Env;
use pinlake_report::{DatasetState, State, format_age, group_digits};
use pinlake_state::CommitCache;
use serde::Serialize;

use crate::console;
use crate::error::CliError;
use crate::lake::{self, DatasetsArg, LakeArg};
use crate::watch::Watch;

/// Show what is in each table of a lake, when it was committed last, what waits to be inserted, and what is in quarantine.
///
/// With --format json the output is one object, {"lake":"...","at":"...","datasets":[{"dataset":"pin","version":3,
/// "rows":N,"bytes":N,"files":N,"last_commit":{...},"quarantined":{"REASON":N}},...],"unrouted":{"REASON":N}}. Quarantined
/// records that a redrive resolved do not count. unrouted are those that no dataset accepts. activity is what the commits
/// of the last 31 days did, and cost an estimate (docs/report.md); the table has neither.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pinlake status --lake /tmp/lake
  pinlake status --lake s3://my-lake --format json
  pinlake status --lake s3://my-lake --watch

Exit codes: 0 success, 1 a table or the quarantine cannot be read, 2 wrong usage.")]
pub struct StatusArgs {
    #[command(flatten)]
    pub lake: LakeArg,
    #[command(flatten)]
    pub datasets: DatasetsArg,
    /// Format of the output
    #[arg(long, value_enum, default_value_t)]
    pub format: StatusFormat,
    /// Print again every SECONDS, until Ctrl-C. A terminal shows the newest state only
    #[arg(long, value_name = "SECONDS", num_args = 0..=1, default_missing_value = "5", value_parser = clap::value_parser!(u64).range(1..=86400))]
    pub watch: Option<u64>,
}

/// The format of the state.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum StatusFormat {
    /// A table to read
    #[default]
    Table,
    /// One JSON object
    Json,
}

#[derive(Serialize)]
struct Status<'a> {
    lake: &'a str,
    at: DateTime<Utc>,
    #[serde(flatten)]
    state: &'a State,
}

/// Runs the command.
pub async fn run(args: StatusArgs) -> Result<ExitCode, CliError> {
    let catalog = lake::catalog_to_read(&args.lake, args.datasets.as_deref()).await?;
    let lake = lake::open(&args.lake).await?;
    let mut watch = args.watch.map(|seconds| Watch::start(Duration::from_secs(seconds))).transpose()?;
    let commits = CommitCache::default();
    loop {
        let at = Env::system().clock.now();
        let state = pinlake_state::collect(&lake, &catalog, at, &commits).await;
        match args.format {
            StatusFormat::Json => console::data_json(&Status { lake: &args.lake, at, state: &state })?,
            StatusFormat::Table if watch.is_some() => {
                let time = at.format("%Y-%m-%d %H:%M:%S UTC");
                console::replace_screen(&format!("{time}\n{}", render(&state, at)))?;
            }
            StatusFormat::Table => console::data(&render(&state, at))?,
        }
        let problems = list_problems(&state);
        for problem in &problems {
            console::say(problem);
        }
        let is_done = match &mut watch {
            None => true,
            Some(watch) => !watch.wait().await,
        };
        if is_done {
            return Ok(if problems.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE });
        }
    }
}

/// What cannot be read, one line each.
pub fn list_problems(state: &State) -> Vec<String> {
    let of_tables = state.datasets.iter().filter_map(|dataset| {
        let problem = dataset.problem.as_ref()?;
        Some(format!("table {}: {problem}", dataset.dataset))
    });
    let of_quarantine = state.quarantine_problem.iter().map(|problem| format!("quarantine: {problem}"));
    of_tables.chain(of_quarantine).collect()
}

fn render(state: &State, now: DateTime<Utc>) -> String {
    let mut table = Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_content_arrangement(ContentArrangement::Disabled);
    table.set_header([
        "dataset",
        "rows",
        "bytes",
        "files",
        "version",
        "last commit",
        "waiting",
        "quarantined",
    ]);
    for dataset in &state.datasets {
        let commit = dataset.last_commit.as_ref().map(|commit| {
            let at = commit.at.format("%Y-%m-%d %H:%M:%S UTC");
            format!("{at} ({} ago)", format_age(now - commit.at))
        });
        let exists = dataset.version.is_some();
        let number = |known: bool, number: Option<u64>| {
            let text = number
                .filter(|_| known)
                .map_or_else(|| "∅".to_owned(), |number| group_digits(&number.to_string()));
            Cell::new(text).set_alignment(CellAlignment::Right)
        };
        table.add_row([
            Cell::new(&dataset.dataset),
            number(exists, dataset.rows),
            number(exists, Some(dataset.bytes)),
            number(exists, Some(dataset.files)),
            number(exists, dataset.version),
            Cell::new(commit.unwrap_or_else(|| describe_absence(dataset).to_owned())),
            Cell::new(describe_waiting(dataset, now)),
            Cell::new(format_reasons(dataset.quarantined.iter())),
        ]);
    }
    let mut text = table.to_string();
    if !state.unrouted.is_empty() {
        let reasons = format_reasons(state.unrouted.iter());
        text.push_str(&format!("\nquarantined without a dataset: {reasons}"));
    }
    text
}

fn describe_absence(dataset: &DatasetState) -> &'static str {
    match (&dataset.problem, dataset.version) {
        (Some(_), _) => "cannot be read",
        (None, None) => "no rows yet",
        (None, Some(_)) => "unknown",
    }
}

/// Landing objects that are not inserted yet, and since when.
fn describe_waiting(dataset: &DatasetState, now: DateTime<Utc>) -> String {
    dataset.waiting.as_ref().map_or_else(
        || "0".to_owned(),
        |waiting| {
            let at_least = if waiting.is_lower_limit { "at least " } else { "" };
            let age = format_age(now - waiting.since);
            format!("{at_least}{} objects for {age}", group_digits(&waiting.objects.to_string()))
        },
    )
}

fn format_reasons<'a>(reasons: impl Iterator<Item = (&'a String, &'a u64)>) -> String {
    let listed: Vec<String> =
        reasons.map(|(reason, records)| format!("{} {reason}", group_digits(&records.to_string()))).collect();
    if listed.is_empty() { "0".to_owned() } else { listed.join(", ") }
}
