//! `pinlake recover`: takes up again what AWS could not deliver.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use futures::{StreamExt, stream};
use indicatif::ProgressBar;
use object_store::ObjectStore;
use pinlake_analytics::Results;
use pinlake_lake::{CompactionLimits, Lake};
use pinlake_landing::discarded::{self, DiscardedObject};
use pinlake_landing::drain::Bounds;
use pinlake_landing::recover::{self, FailedObject, RetryOutcome};
use pinlake_landing::{LandingError, object};
use pinlake_schema::{Catalog, QUARANTINE};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;

use crate::console::{self, Unit};
use crate::dead_letters::Queues;
use crate::error::CliError;
use crate::{interrupt, lake};

/// Take up again what AWS could not deliver.
///
/// Replays every batch that the stream's event source gave up (aws/lambda/ in the lake's bucket) as the cleaner would
/// have taken it, and takes up landing objects that were set aside (failed/), from their raw records where these are
/// there. What it has taken is removed only when everything of it has landed. It may be run twice, at once, or be killed:
/// run it again.
///
/// With --queue the compactor is woken, once; with --dead-letters too, dead wake-ups are removed after that, and dead
/// messages that carry work of their own ({"redrive":"pin"}) go back to the queue as they are.
///
/// On stdout one JSON line, {"batches":N,"records":N,"quarantined":N,"failed":N,"dead_letters":N,"inserted":N,"left":N}:
/// batches replayed and their records, how many of these went to quarantine, objects of failed/ taken up, dead letters
/// removed, rows inserted here (--into-tables), and what could not be recovered; exit code 1 when that is not 0. With
/// --into-tables, records of a dataset that has no contract are cleaned again by the contracts that there are, which puts
/// most of them into quarantine.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  pinlake recover --lake s3://my-lake --dry-run
  pinlake recover --lake s3://my-lake --queue $QUEUE_URL --dead-letters $DEAD_LETTERS_URL
  pinlake recover --lake s3://my-lake --into-tables      # no queue, no compactor: commit from here")]
pub struct RecoverArgs {
    /// The lake: a folder, or s3://bucket[/prefix] with the usual AWS environment
    #[arg(long, value_name = "DIR|s3://...", env = "PINLAKE_LAKE")]
    pub lake: String,
    /// Only batches of this stream; needed where the lake is a prefix of its bucket
    #[arg(long, value_name = "NAME", env = "PINLAKE_STREAM")]
    pub stream: Option<String>,
    /// Contracts to use in the place of those built in: a folder of TOML files
    #[arg(long, value_name = "DIR", env = "PINLAKE_DATASETS")]
    pub datasets: Option<PathBuf>,
    /// The queue of the compactor's wake-ups (output QueueUrl of the stack)
    #[arg(long, value_name = "URL", env = "PINLAKE_QUEUE_URL")]
    pub queue: Option<String>,
    /// Its dead-letter queue (output DeadLettersUrl of the stack)
    #[arg(long, value_name = "URL", requires = "queue")]
    pub dead_letters: Option<String>,
    /// Commit what lies in landing into the tables from here, as the compactor does
    #[arg(long)]
    pub into_tables: bool,
    /// Only print a table of what there is to recover
    #[arg(long)]
    pub dry_run: bool,
}

/// Batches that are replayed at once.
const CONCURRENCY: usize = 4;
/// The most batches that `--dry-run` looks into and shows.
const MOST_SHOWN: usize = 1_000;
/// How often landing is gone through: what is cleaned again may land in a dataset that was done with already.
const MOST_ROUNDS: usize = 8;

/// What is printed.
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

/// What could not be recovered.
#[derive(Debug, Default)]
struct Complaints {
    texts: Vec<String>,
    /// How many things they are about.
    left: u64,
}

impl Complaints {
    fn note(&mut self, text: String) {
        self.note_of(1, text);
    }

    fn note_of(&mut self, things: u64, text: String) {
        self.texts.push(text);
        self.left += things;
    }
}

/// What there is to recover, and with what.
struct Recovery {
    lake: Lake,
    destination: Arc<dyn ObjectStore>,
    catalog: Arc<Catalog>,
    stream: Option<String>,
    batches: Vec<DiscardedObject>,
    failed: Vec<FailedObject>,
    /// Places that hold more than was looked at, and how much that was.
    cut_short: Vec<(&'static str, usize)>,
    stop: watch::Receiver<bool>,
}

/// Recovers.
pub async fn run(args: RecoverArgs) -> Result<ExitCode, CliError> {
    let catalog = lake::catalog(args.datasets.as_deref()).await?;
    let lake = lake::open(&args.lake).await?;
    let destination = lake::destination(&args.lake, lake.store()).await?;
    if lake::is_prefix(&args.lake) && args.stream.is_none() {
        return Err(CliError::usage(
            format!(
                "{} is a part of its bucket, and the batches of all its lakes lie in aws/lambda/",
                args.lake
            ),
            "name this lake's stream: --stream NAME",
        ));
    }
    let queues = match &args.queue {
        Some(queue) => Some(Queues::new(queue, args.dead_letters.as_deref()).await),
        None => None,
    };
    let bounds = Bounds::default();
    let listing = discarded::list(&*destination, bounds.discarded).await.map_err(failed)?;
    let aside = recover::list_failed(&**lake.store(), bounds.failed).await.map_err(failed)?;
    let places = [
        ("aws/lambda/", listing.is_cut_short, listing.looked_at),
        ("failed/landing/", aside.is_cut_short, aside.looked_at),
    ];
    let stop = interrupt::watch()
        .map_err(|error| CliError::failed("cannot listen for Ctrl-C", "").caused_by(error))?;
    let recovery = Recovery {
        failed: aside.found,
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
        let what = "objects under aws/lambda/ are no batches of a Kinesis stream; they are left alone";
        console::say(&format!("{} {what}", listing.others));
    }
    if args.dry_run {
        let dead = match &queues {
            Some(queues) => queues.count().await?,
            None => None,
        };
        recovery.show(dead).await?;
        recovery.more().iter().for_each(|more| console::say(more));
        return Ok(ExitCode::SUCCESS);
    }
    let mut summary = Summary::default();
    let mut complaints = Complaints::default();
    let done = recovery.go(&mut summary, &mut complaints).await;
    let done = match done {
        Ok(()) if args.into_tables && !recovery.is_stopped() => {
            recovery.compact(&mut summary, &mut complaints).await
        }
        done => done,
    };
    let done = match (done, &queues) {
        (Ok(()), Some(queues)) if !recovery.is_stopped() => {
            queues.redrive(&recovery.stop).await.map(|removed| summary.dead_letters = removed)
        }
        (done, _) => done,
    };
    recovery.more().into_iter().for_each(|more| complaints.note(more));
    summary.left = complaints.left;
    console::data_json(&summary)?;
    complaints.texts.iter().for_each(|complaint| console::say(&format!("error: {complaint}")));
    done?;
    if recovery.is_stopped() {
        return Ok(interrupt::exit_code());
    }
    if summary.left > 0 {
        return Err(CliError::failed(
            format!("{} could not be recovered and stay where they are", summary.left),
            "docs/recovery.md says what to do about each",
        ));
    }
    Ok(ExitCode::SUCCESS)
}

impl Recovery {
    fn is_stopped(&self) -> bool {
        *self.stop.borrow()
    }

    /// What was not even looked at.
    fn more(&self) -> Vec<String> {
        let more = |(place, looked_at): &(&str, usize)| {
            format!(
                "{place} holds more objects than the {looked_at} that were looked at: run it again for the others"
            )
        };
        self.cut_short.iter().map(more).collect()
    }

    async fn go(&self, summary: &mut Summary, complaints: &mut Complaints) -> Result<(), CliError> {
        let bar = console::progress(
            "recovering",
            Unit::Steps,
            Some((self.batches.len() + self.failed.len()) as u64),
        );
        let done = self.replay(summary, complaints, &bar).await;
        let done = match done {
            Ok(()) => self.retry_failed(summary, complaints, &bar).await,
            error => error,
        };
        bar.finish_and_clear();
        done.map_err(failed)
    }

    async fn replay(
        &self,
        summary: &mut Summary,
        complaints: &mut Complaints,
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
                Err(error) if error.is_permanent() => complaints.note(error.to_string()),
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    async fn retry_failed(
        &self,
        summary: &mut Summary,
        complaints: &mut Complaints,
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
                Ok(RetryOutcome::Stays) => complaints.note(format!(
                    "{} cannot be taken, and its raw records are gone: restore them below raw/",
                    failed.path
                )),
                Err(error) if error.is_permanent() => complaints.note(format!("{}: {error}", failed.path)),
                Err(error) => return Err(error),
            }
            bar.inc(1);
        }
        Ok(())
    }

    /// What the compactor does, for a lake without one, or whose queue is lost: for every dataset that has something in
    /// landing, whether or not it has a contract.
    async fn compact(&self, summary: &mut Summary, complaints: &mut Complaints) -> Result<(), CliError> {
        let mut aside = 0;
        for _ in 0..MOST_ROUNDS {
            let mut taken = 0;
            for dataset in self.in_landing().await? {
                loop {
                    let compacted =
                        self.lake.compact(&self.catalog, &dataset, CompactionLimits::default()).await;
                    let done = compacted.map_err(|error| {
                        CliError::failed(
                            format!("landing of {dataset} is not in its table"),
                            "do it again: nothing is lost, and nothing goes in twice",
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
            let what = "landing objects could not be read and were moved to failed/: run the command again, which cleans \
                        their records again if raw/ still has them";
            complaints.note_of(aside, format!("{aside} {what}"));
        }
        for dataset in
            self.in_landing().await?.iter().filter(|dataset| self.catalog.contract(dataset).is_none())
        {
            let left = object::list(&**self.lake.store(), Some(dataset), MOST_SHOWN).await.map_err(failed)?;
            if !left.is_empty() {
                let what = "which has no contract here: name its contract with --datasets, and run it again";
                complaints.note_of(left.len() as u64, format!("landing holds rows of {dataset}, {what}"));
            }
        }
        Ok(())
    }

    /// The datasets in landing: first those without a contract, whose records land anew under another one; at last quarantine,
    /// to which others add.
    async fn in_landing(&self) -> Result<Vec<String>, CliError> {
        let datasets = object::datasets(&**self.lake.store()).await.map_err(failed)?;
        let mut datasets: Vec<String> = datasets.into_iter().collect();
        datasets.sort_by_key(|dataset| (self.catalog.contract(dataset).is_some(), dataset == QUARANTINE));
        Ok(datasets)
    }

    async fn show(&self, dead: Option<u64>) -> Result<(), CliError> {
        let mut rows: Vec<Value> = Vec::new();
        for batch in self.batches.iter().take(MOST_SHOWN) {
            let path = batch.path.to_string();
            rows.push(match discarded::info(&*self.destination, batch).await {
                Ok(None) => continue,
                Ok(Some(info)) if self.stream.as_deref().is_some_and(|stream| stream != info.stream()) => {
                    continue;
                }
                Ok(Some(info)) => {
                    let (first, last) =
                        (info.start_sequence_number.as_str(), info.end_sequence_number.as_str());
                    json!(["given up", info.stream(), batch.shard, first, last, batch.size, path])
                }
                Err(error) if error.is_permanent() => {
                    json!(["unreadable", null, batch.shard, null, null, batch.size, path])
                }
                Err(error) => return Err(failed(error)),
            });
        }
        for failed in self.failed.iter().take(MOST_SHOWN) {
            let name = &failed.landed.name;
            let (size, path) = (failed.landed.size, failed.path.to_string());
            rows.push(json!(["set aside", name.source, name.shard, name.first, name.last, size, path]));
        }
        if let Some(dead) = dead {
            rows.push(json!(["dead letters", null, null, null, null, dead, null]));
        }
        let shown = self.batches.len().min(MOST_SHOWN) + self.failed.len().min(MOST_SHOWN);
        let all = self.batches.len() + self.failed.len();
        if shown < all {
            console::say(&format!("{shown} of {all} are shown"));
        }
        let columns = ["what", "stream", "shard", "first", "last", "bytes or messages", "path"];
        let table = json!({ "to recover": { "columns": columns, "rows": rows } });
        let table = Results::from_json(table)
            .map_err(|error| CliError::failed("cannot show what was found", "").caused_by(error))?;
        console::data(table.render_table().trim_end())
    }
}

fn failed(error: LandingError) -> CliError {
    CliError::failed("not everything was recovered", "do it again: what has landed once lands no second time")
        .caused_by(error)
}
