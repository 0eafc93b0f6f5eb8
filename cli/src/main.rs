//! The program `pinlake`: the same crates as the functions, over a lake in a folder or on S3.
//!
//! Invariants: stdout carries data only (JSON lines, tables, CSV), stderr everything for a person; exit codes are
//! 0 done, 1 failed, 2 wrong usage, 3 done but rows were quarantined (only under `--strict`), 130 interrupted. Each
//! subcommand is a module with its arguments and `run`; all that writes to the terminal is in `console`.

mod acks;
mod analyse;
mod console;
mod cost;
mod dead_letters;
mod dice;
mod error;
mod generate;
mod interrupt;
mod key;
mod lake;
mod load;
mod quarantine;
mod recover;
mod replay;
mod results;
mod wait;
mod whole_file;

use std::io::{self, IsTerminal};
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use pinlake_clean::record_reader::sandbox;
use pinlake_platform::telemetry;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;

use crate::error::CliError;

/// A lake of event records: clean rows, each exactly once, in tables that any Delta reader opens.
#[derive(Debug, Parser)]
#[command(
    version,
    arg_required_else_help = true,
    after_help = "\
A first round, without any service:
  pinlake generate --out /tmp/rows --rows 1000 --duplicates 0.1 --dirty 0.02
  pinlake load --lake /tmp/lake /tmp/rows
  pinlake analyse --lake /tmp/lake

The same through a deployed pipeline:
  pinlake replay --to $INGEST_URL --from /tmp/rows --format mixed --acks acks.json
  pinlake wait --lake s3://$BUCKET --acks acks.json
  pinlake analyse --lake s3://$BUCKET

Data goes to stdout, everything else to stderr; RUST_LOG=debug says more.
Exit codes: 0 done, 1 failed, 2 wrong usage, 3 done but rows were quarantined (with --strict), 130 interrupted."
)]
struct Program {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Load(load::LoadArgs),
    Analyse(analyse::AnalyseArgs),
    Results(results::ResultsArgs),
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
    tracing_subscriber::registry().with(lines).with(telemetry::filter("warn")).init();
    run(program.command).await.unwrap_or_else(|error| {
        console::report(&error);
        error.exit_code()
    })
}

async fn run(command: Command) -> Result<ExitCode, CliError> {
    match command {
        Command::Load(args) => load::run(args).await,
        Command::Analyse(args) => analyse::run(args).await,
        Command::Results(args) => results::run(args).await,
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
