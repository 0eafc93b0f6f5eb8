//! `pinlake wait`: waits until every acknowledged record is in its table or in quarantine.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use pinlake_landing::drain::{self, DrainLimits};
use tokio::time::Instant;

use crate::acks::Acks;
use crate::console::{self, Unit};
use crate::error::CliError;
use crate::lake;

/// Wait until the pipeline has drained.
///
/// Drained: every shard's watermark has passed every acknowledgement, and nothing at or below it is left on the way:
/// no batch that the stream gave up, no object in landing or failed, and no more objects than can be looked at. Exit code
/// 0 when drained; 1 when the time is up, and when there are no acknowledgements to wait for or they cannot be read.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  pinlake replay --to $URL --from rows --acks acks.json
  pinlake wait --lake s3://my-lake --acks acks.json")]
pub struct WaitArgs {
    /// The lake: a folder, or s3://bucket[/prefix] with the usual AWS environment
    #[arg(long, value_name = "DIR|s3://...", env = "PINLAKE_LAKE")]
    pub lake: String,
    /// The stream whose watermarks count; not needed where the lake knows of one only
    #[arg(long, value_name = "NAME", env = "PINLAKE_STREAM")]
    pub stream: Option<String>,
    /// Acknowledgements to wait for, as `replay --acks` wrote them
    #[arg(long, value_name = "FILE")]
    pub acks: PathBuf,
    /// Give up after this time
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
}

/// How long to leave the lake alone between two looks at it.
const PAUSE: Duration = Duration::from_millis(500);

/// Waits.
pub async fn run(args: WaitArgs) -> Result<ExitCode, CliError> {
    let acks = Acks::to_wait_for(&args.acks)?;
    let store = lake::store(&args.lake).await?;
    let destination = lake::destination(&args.lake, &store).await?;
    let limits = DrainLimits::default();
    let bar = console::progress("draining", Unit::Steps, None);
    let begun = Instant::now();
    let mut most = 0;
    let mut told = false;
    loop {
        let stream = args.stream.as_deref();
        let looked = drain::measure_backlog(&*store, &*destination, stream, acks.acknowledged(), &limits);
        let backlog = looked.await.map_err(|error| {
            CliError::failed(format!("cannot look into the lake {}", args.lake), "check your access")
                .caused_by(error)
        })?;
        if backlog.is_drained() {
            bar.finish_and_clear();
            return Ok(ExitCode::SUCCESS);
        }
        if backlog.needs_recovery() && !told {
            told = true;
            bar.suspend(|| console::say(&format!("{backlog}\n  {}", recovery(&args.lake))));
        }
        let left = backlog.remaining();
        most = most.max(left);
        bar.set_length(most as u64);
        bar.set_position((most - left) as u64);
        bar.set_message(format!("draining: {backlog}"));
        if begun.elapsed() >= Duration::from_secs(args.timeout) {
            bar.finish_and_clear();
            let advice = match backlog.needs_recovery() {
                true => recovery(&args.lake),
                false if !backlog.truncated.is_empty() => {
                    "have the compactor (landing) or `pinlake recover` (failed, aws/lambda) take up what lies there; \
                     objects that are not pinlake's belong elsewhere"
                        .to_owned()
                }
                false => "look into the logs of the cleaner and the compactor, or wait longer with --timeout"
                    .to_owned(),
            };
            return Err(CliError::failed(format!("not drained after {} s: {backlog}", args.timeout), advice));
        }
        tokio::time::sleep(PAUSE).await;
    }
}

fn recovery(lake: &str) -> String {
    format!("nothing but you brings these in: pinlake recover --lake {lake}")
}
