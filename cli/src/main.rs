//! The command line `pinlake`: works on a lake in a folder or on S3, with the same crates as the functions.
//!
//! Invariants:
//! - stdout has data only (JSON lines, tables, CSV); messages go to stderr.
//! - Exit codes: 0 success, 1 failure, 2 wrong usage, 3 success with quarantined records (only with `--strict`),
//!   130 interrupted.
//! - Each subcommand is a module with its arguments and `run`. Only `console` writes to the terminal.

mod acks;
mod analyse;
mod atomic_file;
mod check;
mod console;
mod cost;
mod dead_letters;
mod error;
mod generate;
mod history;
mod interrupt;
mod key;
mod lake;
mod load;
mod quarantine;
mod rebuild;
mod recover;
mod release;
mod replay;
mod report;
mod results;
mod seeded_rng;
mod status;
mod stream_end;
mod wait;
mod watch;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pinlake_clean::record_reader::sandbox;
use pinlake_platform::telemetry;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::error::CliError;

/// Load event records into Delta tables, each exactly once, and work with the lake.
#[derive(Debug, Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "\
Try it without any service:
  pinlake generate --out /tmp/rows --rows 1000 --duplicates 0.1 --dirty 0.02
  pinlake load --lake /tmp/lake /tmp/rows
  pinlake analyse --lake /tmp/lake
  pinlake report --lake /tmp/lake --out report.html

The same through a deployed pipeline:
  pinlake replay --to $INGEST_URL --from /tmp/rows --format mixed --acks acks.json
  pinlake wait --lake s3://$BUCKET --acks acks.json
  pinlake analyse --lake s3://$BUCKET

stdout has data only; messages go to stderr. RUST_LOG=debug logs more.
Exit codes: 0 success, 1 failure, 2 wrong usage, 3 records were quarantined (with --strict), 130 interrupted."
)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Load(load::LoadArgs),
    Analyse(analyse::AnalyseArgs),
    Check(check::CheckArgs),
    History(history::HistoryArgs),
    Rebuild(rebuild::RebuildArgs),
    Release(release::ReleaseArgs),
    Results(results::ResultsArgs),
    Report(report::ReportArgs),
    Status(status::StatusArgs),
    Quarantine(quarantine::QuarantineArgs),
    Redrive(quarantine::RedriveArgs),
    Generate(generate::GenerateArgs),
    Replay(replay::ReplayArgs),
    Wait(wait::WaitArgs),
    Key(key::KeyArgs),
    Cost(cost::CostArgs),
    Recover(recover::RecoverArgs),
}

fn main() -> ExitCode {
    if let Some(child) = sandbox::parse_child_args(std::env::args_os()) {
        return child.run();
    }
    start()
}

#[tokio::main]
async fn start() -> ExitCode {
    let program = Program::parse();
    let lines =
        tracing_subscriber::fmt::layer().with_writer(io::stderr).with_ansi(io::stderr().is_terminal());
    tracing_subscriber::registry().with(lines).with(telemetry::filter("warn,delta_kernel=off")).init();
    run(program.command).await.unwrap_or_else(|error| {
        console::report(&error);
        error.exit_code()
    })
}

async fn run(command: Command) -> Result<ExitCode, CliError> {
    match command {
        Command::Load(args) => load::run(args).await,
        Command::Analyse(args) => analyse::run(args).await,
        Command::Check(args) => check::run(args).await,
        Command::History(args) => history::run(args).await,
        Command::Rebuild(args) => rebuild::run(args).await,
        Command::Release(args) => release::run(args).await,
        Command::Results(args) => results::run(args).await,
        Command::Report(args) => report::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Quarantine(args) => quarantine::run(args).await,
        Command::Redrive(args) => quarantine::redrive(args).await,
        Command::Generate(args) => generate::run(args).await,
        Command::Replay(args) => replay::run(args).await,
        Command::Wait(args) => wait::run(args).await,
        Command::Key(args) => key::run(args).await,
        Command::Cost(args) => cost::run(args).await,
        Command::Recover(args) => recover::run(args).await,
    }
}
