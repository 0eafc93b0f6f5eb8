//! `pinlake recover`: processes discarded batches, failed objects and dead letters again.

use std::process::ExitCode;
use std::sync::Arc;

use futures::{StreamExt, stream};
use indicatif::ProgressBar;
use object_store::ObjectStore;
use pinlake_analytics::Results;
use pinlake_lake::{CompactionLimits, Lake};
use pinlake_landing::discarded::{self, DiscardedObject};
use pinlake_landing::drain::DrainLimits;
use pinlake_landing::recover::{self, FailedObject, RetryOutcome};
use pinlake_landing::{LandingError, object};
use pinlake_schema::{Catalog, QUARANTINE};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::console::{self, Unit};
use crate::dead_letters::Queues;
use crate::error::CliError;
use crate::interrupt;
use crate::lake::{self, DatasetsArg, LakeArg};

/// Process again what the pipeline could not deliver.
///
/// Cleans the batches that the event source of the stream discarded (aws/lambda/ in the lake's bucket), and the
/// failed landing objects (failed/) from their raw records, if these exist. An object is removed only after all its
/// records have landed. The command is safe to interrupt, to repeat and to run twice at the same time.
///
/// --queue triggers the compactor once. --dead-letters then removes dead triggers, and sends dead messages that ask for
/// other work ({"redrive":"pin"}) to the queue again.
///
/// Output: one JSON line, {"batches":N,"records":N,"quarantined":N,"failed":N,"dead_letters":N,"inserted":N,"left":N}:
/// discarded batches and their records, how many of these went to quarantine, failed objects, dead letters removed,
/// rows inserted (with --into-tables), and what could not be recovered. Exit code 1 if left is not 0.
///
/// --into-tables cleans records of a dataset without a contract by the other contracts, which puts most of them into
/// quarantine.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  pinlake recover --lake s3://my-lake --dry-run
  pinlake recover --lake s3://my-lake --queue $QUEUE_URL --dead-letters $DEAD_LETTERS_URL
  pinlake recover --lake s3://my-lake --into-tables      # without queue and compactor")]
pub struct RecoverArgs {
    #[command(flatten)]
    pub lake: LakeArg,
    /// Only batches of this stream; needed if the lake is a prefix of its bucket
    #[arg(long, value_name = "NAME", env = "PINLAKE_STREAM")]
    pub stream: Option<String>,
    #[command(flatten)]
    pub datasets: DatasetsArg,
    /// Trigger queue of the compactor (output QueueUrl of the stack)
    #[arg(long, value_name = "URL", env = "PINLAKE_QUEUE_URL")]
    pub queue: Option<String>,
    /// Trigger dead-letter queue (output DeadLettersUrl of the stack)
    #[arg(long, value_name = "URL", requires = "queue")]
    pub dead_letters: Option<String>,
    /// Insert the landing objects into the tables, as the compactor does
    #[arg(long)]
    pub into_tables: bool,
    /// Only print a table of what can be recovered
    #[arg(long)]
    pub dry_run: bool,
}

/// Batches replayed concurrently.
const CONCURRENCY: usize = 4;
/// Maximum number of batches that `--dry-run` reads and prints.
const MAX_SHOWN: usize = 1_000;
/// Maximum passes over landing: records that are cleaned again may land in a dataset that was done before.
const MAX_ROUNDS: usize = 8;

/// The JSON line on stdout.
#[derive(Debug, Default, Serialize)]
struct Summary {
    batches: u64,
    records: u64,
    quarantined: u64,
    failed: u64,
    dead_letters: u64,
    inserted: u64,
    left: u64,
}

/// Problems found, and the number of things that could not be recovered.
#[derive(Debug, Default)]
struct Problems {
    texts: Vec<String>,
    /// Number of things that could not be recovered.
    left: u64,
}

impl Problems {
    fn add(&mut self, text: String) {
        self.add_many(1, text);
    }

    fn add_many(&mut self, things: u64, text: String) {
        self.texts.push(text);
        self.left += things;
    }
}

/// A recovery in progress.
struct Recovery {
    lake: Lake,
    destination: Arc<dyn ObjectStore>,
    catalog: Arc<Catalog>,
    stream: Option<String>,
    batches: Vec<DiscardedObject>,
    failed: Vec<FailedObject>,
    /// Prefixes that hold more than was listed, with the number of objects listed.
    cut_short: Vec<(&'static str, usize)>,
    stop: watch::Receiver<bool>,
}

/// Runs the command.
pub async fn run(args: RecoverArgs) -> Result<ExitCode, CliError> {
    if lake::is_prefix(&args.lake) && args.stream.is_none() {
        return Err(CliError::usage(
            format!(
                "{} is a prefix of its bucket, and aws/lambda/ holds the discarded batches of all lakes in it",
                args.lake
            ),
            "name the stream of this lake: --stream NAME",
        ));
    }
    let catalog = lake::catalog(Some(&*args.lake), args.datasets.as_deref()).await?;
    let lake = lake::open(&args.lake).await?;
    let destination = lake::destination(&args.lake, lake.store()).await?;
    let queues = match &args.queue {
        Some(queue) => Some(Queues::new(queue, args.dead_letters.as_deref()).await),
        None => None,
    };
    let limits = DrainLimits::default();
    let listing = discarded::list(&*destination, limits.discarded).await.map_err(failed)?;
    let failed_objects = recover::list_failed(&**lake.store(), limits.failed).await.map_err(failed)?;
    let places = [
        ("aws/lambda/", listing.is_truncated, listing.listed),
        ("failed/landing/", failed_objects.is_truncated, failed_objects.listed),
    ];
    let stop = interrupt::watch()
        .map_err(|error| CliError::failed("cannot install the handler of Ctrl-C", "").caused_by(error))?;
    let recovery = Recovery {
        failed: failed_objects.found,
        batches: listing.batches,
        cut_short: places
            .iter()
            .filter(|(_, cut, _)| *cut)
            .map(|(place, _, looked)| (*place, *looked))
            .collect(),
        lake,
        destination,
        catalog,
        stream: args.stream,
        stop,
    };
    if listing.others > 0 {
        let what = "objects under aws/lambda/ are not batches of a Kinesis stream; they are ignored";
        console::say(&format!("{} {what}", listing.others));
    }
    if args.dry_run {
        let dead = match &queues {
            Some(queues) => queues.count().await?,
            None => None,
        };
        recovery.print_table(dead).await?;
        recovery.describe_cut_short().iter().for_each(|more| console::say(more));
        return Ok(ExitCode::SUCCESS);
    }
    let mut summary = Summary::default();
    let mut problems = Problems::default();
    let done = recovery.recover_all(&mut summary, &mut problems).await;
    let done = match done {
        Ok(()) if args.into_tables && !recovery.is_stopped() => {
            recovery.compact(&mut summary, &mut problems).await
        }
        done => done,
    };
    let done = match (done, &queues) {
        (Ok(()), Some(queues)) if !recovery.is_stopped() => {
            queues.redrive(&recovery.stop).await.map(|removed| summary.dead_letters = removed)
        }
        (done, _) => done,
    };
    recovery.describe_cut_short().into_iter().for_each(|more| problems.add(more));
    summary.left = problems.left;
    console::data_json(&summary)?;
    problems.texts.iter().for_each(|problem| console::say(&format!("error: {problem}")));
    done?;
    if recovery.is_stopped() {
        return Ok(interrupt::exit_code());
    }
    if summary.left > 0 {
        return Err(CliError::failed(
            format!("{} could not be recovered and were left where they are", summary.left),
            "see docs/recovery.md for each case",
        ));
    }
    Ok(ExitCode::SUCCESS)
}

impl Recovery {
    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// Messages about prefixes that were not listed to their end.
    fn describe_cut_short(&self) -> Vec<String> {
        let more = |(place, looked_at): &(&str, usize)| {
            format!(
                "{place} holds more than the {looked_at} objects that were listed: run the command again for the others"
            )
        };
        self.cut_short.iter().map(more).collect()
    }

    async fn recover_all(&self, summary: &mut Summary, problems: &mut Problems) -> Result<(), CliError> {
        let bar = console::progress(
            "recovering",
            Unit::Steps,
            Some((self.batches.len() + self.failed.len()) as u64),
        );
        let done = self.replay(summary, problems, &bar).await;
        let done = match done {
            Ok(()) => self.retry_failed(summary, problems, &bar).await,
            error => error,
        };
        bar.finish_and_clear();
        done.map_err(failed)
    }

    async fn replay(
        &self,
        summary: &mut Summary,
        problems: &mut Problems,
        bar: &ProgressBar,
    ) -> Result<(), LandingError> {
        let stream = self.stream.as_deref();
        let mut replays = stream::iter(&self.batches)
            .take_while(|_| std::future::ready(!self.is_stopped()))
            .map(|batch| {
                recover::replay(
                    self.lake.store(),
                    &self.destination,
                    self.lake.catalog_history(),
                    &self.catalog,
                    batch,
                    stream,
                )
            })
            .buffer_unordered(CONCURRENCY);
        while let Some(replayed) = replays.next().await {
            bar.inc(1);
            match replayed {
                Ok(None) => {}
                Ok(Some(replayed)) => {
                    let counts = replayed.landed.iter().flat_map(|landed| &landed.counts);
                    summary.batches += 1;
                    summary.records += replayed.records as u64;
                    summary.quarantined += counts.map(|count| count.quarantined).sum::<u64>();
                }
                Err(error) if error.is_permanent() => problems.add(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn retry_failed(
        &self,
        summary: &mut Summary,
        problems: &mut Problems,
        bar: &ProgressBar,
    ) -> Result<(), LandingError> {
        for failed in &self.failed {
            if self.is_stopped() {
                break;
            }
            match recover::retry_failed(self.lake.store(), self.lake.catalog_history(), &self.catalog, failed)
                .await
            {
                Ok(RetryOutcome::CleanedAgain | RetryOutcome::PutBack) => summary.failed += 1,
                Ok(RetryOutcome::Gone) => {}
                Ok(RetryOutcome::Stays) => problems.add(format!(
                    "{} cannot be read, and its raw records are gone: restore them below raw/",
                    failed.path
                )),
                Err(error) if error.is_permanent() => problems.add(format!("{}: {error}", failed.path)),
                Err(error) => return Err(error),
            }
            bar.inc(1);
        }
        Ok(())
    }

    /// Compacts every dataset that has landing objects, with or without a contract, as the compactor does.
    async fn compact(&self, summary: &mut Summary, problems: &mut Problems) -> Result<(), CliError> {
        let mut aside = 0;
        for _ in 0..MAX_ROUNDS {
            let mut taken = 0;
            for dataset in self.in_landing().await? {
                loop {
                    let compacted =
                        self.lake.compact(&self.catalog, &dataset, CompactionLimits::default()).await;
                    let done = compacted.map_err(|error| {
                        CliError::failed(
                            format!("cannot insert the landing objects of {dataset}"),
                            "run it again: nothing is lost or inserted twice",
                        )
                        .caused_by(error)
                    })?;
                    summary.inserted += done.inserted;
                    aside += done.failed;
                    taken += done.objects + done.cleaned_again + done.failed;
                    if !done.more || self.is_stopped() {
                        break;
                    }
                }
            }
            if taken == 0 || self.is_stopped() {
                break;
            }
        }
        if aside > 0 {
            let what = "landing objects could not be read and were moved to failed/: run the command again to clean their \
                        records from raw/";
            problems.add_many(aside, format!("{aside} {what}"));
        }
        for dataset in
            self.in_landing().await?.iter().filter(|dataset| self.catalog.contract(dataset).is_none())
        {
            let left = object::list(&**self.lake.store(), Some(dataset), MAX_SHOWN).await.map_err(failed)?;
            if !left.is_empty() {
                let what = "which has no contract: add it with --datasets, and run the command again";
                problems.add_many(left.len() as u64, format!("landing holds rows of {dataset}, {what}"));
            }
        }
        Ok(())
    }

    /// The datasets in landing. Those without a contract come first, because their records land again in other datasets;
    /// quarantine comes last, because the others add to it.
    async fn in_landing(&self) -> Result<Vec<String>, CliError> {
        let datasets = object::list_datasets(&**self.lake.store()).await.map_err(failed)?;
        let mut datasets: Vec<String> = datasets.into_iter().collect();
        datasets.sort_by_key(|dataset| (self.catalog.contract(dataset).is_some(), dataset == QUARANTINE));
        Ok(datasets)
    }

    async fn print_table(&self, dead: Option<u64>) -> Result<(), CliError> {
        let mut rows: Vec<Value> = Vec::new();
        for batch in self.batches.iter().take(MAX_SHOWN) {
            let path = batch.path.to_string();
            rows.push(match discarded::read_info(&*self.destination, batch).await {
                Ok(None) => continue,
                Ok(Some(info)) if self.stream.as_deref().is_some_and(|stream| stream != info.stream()) => {
                    continue;
                }
                Ok(Some(info)) => {
                    let (first, last) =
                        (info.start_sequence_number.as_str(), info.end_sequence_number.as_str());
                    json!(["discarded batch", info.stream(), batch.shard, first, last, batch.size, path])
                }
                Err(error) if error.is_permanent() => {
                    json!(["unreadable", null, batch.shard, null, null, batch.size, path])
                }
                Err(error) => return Err(failed(error)),
            });
        }
        for failed in self.failed.iter().take(MAX_SHOWN) {
            let name = &failed.landed.name;
            let (size, path) = (failed.landed.size, failed.path.to_string());
            rows.push(json!([
                "failed object",
                name.source.stream(),
                name.source.shard(),
                name.first,
                name.last,
                size,
                path
            ]));
        }
        if let Some(dead) = dead {
            rows.push(json!(["dead letters", null, null, null, null, dead, null]));
        }
        let shown = self.batches.len().min(MAX_SHOWN) + self.failed.len().min(MAX_SHOWN);
        let all = self.batches.len() + self.failed.len();
        if shown < all {
            console::say(&format!("{shown} of {all} are shown"));
        }
        let columns = ["what", "stream", "shard", "first", "last", "bytes or messages", "path"];
        let table = json!({ "to recover": { "columns": columns, "rows": rows } });
        let table = Results::from_json(table)
            .map_err(|error| CliError::failed("cannot print the table", "").caused_by(error))?;
        console::data(table.render_table().trim_end())
    }
}

fn failed(error: LandingError) -> CliError {
    CliError::failed(
        "the recovery is not complete",
        "run it again: records that have landed do not land twice",
    )
    .caused_by(error)
}
