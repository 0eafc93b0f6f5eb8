//! `pinlake wait`: waits until every acknowledged record is in its table or in quarantine.

use std::path::PathBuf;
use std::process::ExitCode;
use std::time::Duration;

use object_store::ObjectStore;
use pinlake_landing::LandingError;
use pinlake_landing::drain::{self, Acknowledged, DrainLimits};
use pinlake_landing::watermark;
use tokio::time::Instant;

use crate::acks::Acks;
use crate::console::{self, Unit};
use crate::error::CliError;
use crate::lake::{self, LakeArg};
use crate::stream_end;

/// Wait until every acknowledged record is in its table or in quarantine.
///
/// The pipeline is drained when the watermark of every shard has reached the acknowledgements, and no discarded
/// batch, landing object or failed object is left at or below them.
///
/// Without --acks, it waits for all records that the Kinesis stream NAME has when the command starts.
///
/// Exit code 0 when drained. Exit code 1 after the timeout, or if FILE is missing, empty or not readable.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pinlake replay --to $URL --from rows --acks acks.json
  pinlake wait --lake s3://my-lake --acks acks.json
  pinlake wait --lake s3://my-lake --stream pinlake-records")]
pub struct WaitArgs {
    #[command(flatten)]
    pub lake: LakeArg,
    /// Stream whose watermarks count; needed if the lake has several, or without --acks
    #[arg(long, value_name = "NAME", env = "PINLAKE_STREAM")]
    pub stream: Option<String>,
    /// Acknowledgements to wait for, written by `pinlake replay --acks`
    #[arg(long, value_name = "FILE", required_unless_present = "stream")]
    pub acks: Option<PathBuf>,
    /// Maximum time to wait
    #[arg(long, value_name = "SECONDS", default_value_t = 300)]
    pub timeout: u64,
}

/// Time between two checks.
const POLL_INTERVAL: Duration = Duration::from_millis(500);

/// Runs the command.
pub async fn run(args: WaitArgs) -> Result<ExitCode, CliError> {
    let acks = args.acks.as_deref().map(Acks::load_nonempty).transpose()?;
    let store = lake::store(&args.lake).await?;
    let acknowledged = match (&acks, &args.stream) {
        (None, Some(stream)) => find_ends(&args.lake, &*store, stream).await?,
        (acks, _) => acks.as_ref().map(|acks| acks.acknowledged().clone()).unwrap_or_default(),
    };
    let destination = lake::destination(&args.lake, &store).await?;
    let limits = DrainLimits::default();
    let bar = console::progress("draining", Unit::Steps, None);
    let started = Instant::now();
    let mut max_left = 0;
    let mut has_reported = false;
    loop {
        let stream = args.stream.as_deref();
        let checked = drain::measure_backlog(&*store, &*destination, stream, &acknowledged, &limits);
        let backlog = checked.await.map_err(|error| lake_error(&args.lake, error))?;
        if backlog.is_drained() {
            bar.finish_and_clear();
            return Ok(ExitCode::SUCCESS);
        }
        if backlog.needs_recovery() && !has_reported {
            has_reported = true;
            bar.suspend(|| console::say(&format!("{backlog}\n  {}", recovery_advice(&args.lake))));
        }
        let left = backlog.remaining();
        max_left = max_left.max(left);
        bar.set_length(max_left as u64);
        bar.set_position((max_left - left) as u64);
        bar.set_message(format!("draining: {backlog}"));
        if started.elapsed() >= Duration::from_secs(args.timeout) {
            bar.finish_and_clear();
            let advice = match backlog.needs_recovery() {
                true => recovery_advice(&args.lake),
                false if !backlog.truncated.is_empty() => {
                    "let the compactor empty landing, and `pinlake recover` failed/ and aws/lambda/; move objects that are \
                     not pinlake's elsewhere"
                        .to_owned()
                }
                false => "check the logs of the cleaner and the compactor, or wait longer with --timeout"
                    .to_owned(),
            };
            return Err(CliError::failed(format!("not drained after {} s: {backlog}", args.timeout), advice));
        }
        tokio::time::sleep(POLL_INTERVAL).await;
    }
}

/// The end of each shard of the stream, as acknowledgements to wait for.
async fn find_ends(lake: &str, store: &dyn ObjectStore, stream: &str) -> Result<Acknowledged, CliError> {
    let watermarks = watermark::read_all(store).await.map_err(|error| lake_error(lake, error))?;
    stream_end::find_ends(stream, &watermarks).await
}

fn lake_error(lake: &str, error: LandingError) -> CliError {
    CliError::failed(format!("cannot read the lake {lake}"), "check its name and your permissions")
        .caused_by(error)
}

fn recovery_advice(lake: &str) -> String {
    format!("these are not retried automatically; run pinlake recover --lake {lake}")
}
