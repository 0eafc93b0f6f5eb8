//! `pinlake load`: cleans files and inserts what is absent.

mod bucket;

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;

use arrow::array::cast::AsArray;
use arrow::array::{BooleanArray, RecordBatch};
use arrow::compute::filter_record_batch;
use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt};
use pinlake_clean::framing::{Limits, ReadError, Records};
use pinlake_clean::{Cleaned, Intake, Origin, Position};
use pinlake_effects::{Clock, SystemClock};
use pinlake_lake::{Lake, LakeError};
use pinlake_schema::{Catalog, QUARANTINE};
use serde::Serialize;
use tokio::time::Instant;

use crate::console::{self, Unit};
use crate::error::CliError;
use crate::lake;

use self::bucket::Objects;

/// Clean files and insert their rows into a lake.
///
/// Takes NDJSON, JSON arrays, concatenated JSON, CSV with a header and Parquet, plain or as .gz or .zst; folders
/// are walked, and so is what lies below s3://bucket/prefix, such as the objects of Kafka Connect's S3 sink: the lake
/// keeps a cursor, and a load that was broken off goes on there. Loading the same rows again changes nothing. On stdout: one JSON line a dataset,
/// {"dataset":"pin","read":N,"inserted":N,"duplicates":N,"quarantined":N,"bytes":N,"seconds":S},
/// where read = inserted + duplicates + quarantined, and rows that no dataset takes are under null.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Example:
  pinlake load --lake /tmp/lake pin.ndjson geo.ndjson.gz user.csv
  pinlake load --lake s3://my-lake --dataset pin exports/
  pinlake load --lake s3://my-lake s3://sink-bucket/topics")]
pub struct LoadArgs {
    /// The lake: a folder, or s3://bucket[/prefix] with the usual AWS environment
    #[arg(long, value_name = "DIR|s3://...", env = "PINLAKE_LAKE")]
    pub lake: String,
    /// The dataset of all files; without it a file's name decides, then each record's shape
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    /// Contracts to use in the place of those built in: a folder of TOML files
    #[arg(long, value_name = "DIR", env = "PINLAKE_DATASETS")]
    pub datasets: Option<PathBuf>,
    /// Exit with 3 when rows were quarantined
    #[arg(long)]
    pub strict: bool,
    /// Files, folders, or s3://bucket[/prefix] with the usual AWS environment
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Record bytes that are cleaned before they are inserted: what a commit holds, and what memory is bounded by.
const CHUNK_BYTES: usize = 64 << 20;
/// Exit code of `--strict` when rows were quarantined.
const QUARANTINED: u8 = 3;
/// Tables that are written to at once.
const CONCURRENCY: usize = 4;

/// What is printed for a dataset.
#[derive(Debug, Default, Serialize)]
struct Summary {
    dataset: Option<String>,
    read: u64,
    inserted: u64,
    duplicates: u64,
    quarantined: u64,
    bytes: u64,
    seconds: f64,
}

/// Loads the files.
pub async fn run(args: LoadArgs) -> Result<ExitCode, CliError> {
    let begun = Instant::now();
    let catalog = lake::catalog(args.datasets.as_deref()).await?;
    if let Some(dataset) = &args.dataset
        && (catalog.contract(dataset).is_none() || dataset == QUARANTINE)
    {
        let known: Vec<&str> = catalog
            .contracts()
            .map(|contract| contract.name.as_str())
            .filter(|name| *name != QUARANTINE)
            .collect();
        let advice = format!("write one of {}, or add datasets/{dataset}.toml", known.join(", "));
        return Err(CliError::usage(format!("there is no dataset {dataset}"), advice));
    }
    let (remote, named): (Vec<_>, Vec<_>) =
        args.files.iter().cloned().partition(|file| bucket::is_in_bucket(file));
    let files = if named.is_empty() { Vec::new() } else { walk(&named)? };
    let lake = lake::create(&args.lake).await?;
    // How much lies in a bucket is known when all of it is listed.
    let total = remote.is_empty().then(|| files.iter().map(|file| file.size).sum());
    let bar = console::progress("loading", Unit::Bytes, total);
    let mut load = Load::new(&lake, &catalog, SystemClock.now());
    let dataset = args.dataset.as_deref();
    let mut unreadable = Vec::new();
    let mut done = 0;
    for file in &files {
        let loaded = match load.open(file, dataset) {
            Ok(records) => load.file(records, |read| bar.set_position(done + read.min(file.size))).await?,
            Err(error) => Err(error),
        };
        unreadable.extend(loaded.err());
        done += file.size;
        bar.set_position(done);
    }
    for address in &remote {
        let mut objects = Objects::at(&address.to_string_lossy(), &**lake.store()).await?;
        while objects.some(&mut load, dataset, &bar, &mut unreadable).await? {}
    }
    load.insert().await?;
    bar.finish_and_clear();
    let quarantined = load.report(begun.elapsed().as_secs_f64())?;
    for error in &unreadable {
        console::say(&format!("error: {error}"));
    }
    if !unreadable.is_empty() {
        return Err(CliError::failed(
            format!("{} files could not be read to their end", unreadable.len()),
            "mend them and load them again: rows that are in the lake already stay as they are",
        ));
    }
    Ok(if args.strict && quarantined > 0 { ExitCode::from(QUARANTINED) } else { ExitCode::SUCCESS })
}

/// A load under way.
struct Load<'a> {
    lake: &'a Lake,
    catalog: &'a Arc<Catalog>,
    intake: Intake,
    /// New rows by dataset.
    inserted: BTreeMap<String, u64>,
    /// New rows in quarantine by the dataset they were meant for.
    quarantined: BTreeMap<Option<String>, u64>,
}

/// The records of a file, and what is known of them.
struct FileRecords<'a> {
    records: Records,
    source: String,
    /// With a record's number, the record's identity; of a file that has none, its name and the line are.
    id: Option<String>,
    hint: Option<&'a str>,
}

impl<'a> Load<'a> {
    fn new(lake: &'a Lake, catalog: &'a Arc<Catalog>, now: DateTime<Utc>) -> Self {
        Self {
            lake,
            catalog,
            intake: Intake::new(catalog.clone(), now),
            inserted: BTreeMap::new(),
            quarantined: BTreeMap::new(),
        }
    }

    fn open(&self, file: &Input, dataset: Option<&'a str>) -> Result<FileRecords<'a>, ReadError> {
        let name = file.path.display().to_string();
        let hint = dataset.or_else(|| self.catalog.route_file(&name).map(|contract| contract.name.as_str()));
        let opened =
            File::open(&file.path).map_err(|source| ReadError::Io { name: name.clone(), records: 0, source });
        let records = opened.and_then(|open| Records::from_file(&name, open, Limits::default()))?;
        Ok(FileRecords { records, source: format!("file/{name}"), id: None, hint })
    }

    /// Cleans a file, inserting whenever a chunk is full; `progress` is told the bytes so far. The inner error is the
    /// file's own: others go on.
    async fn file(
        &mut self,
        file: FileRecords<'_>,
        progress: impl Fn(u64),
    ) -> Result<Result<(), ReadError>, CliError> {
        let FileRecords { mut records, source, id, hint } = file;
        let mut number = 0;
        loop {
            match records.next() {
                Ok(Some(record)) => {
                    let origin = Origin {
                        source: &source,
                        position: Position::Line(record.position),
                        record_id: id.as_deref().map(|id| (id, number)),
                    };
                    number += 1;
                    match record.fault {
                        None => {
                            self.intake.push(record.bytes, hint, &origin);
                        }
                        Some(fault) => {
                            self.intake.reject(record.bytes, hint, &origin, fault.reason, fault.detail)
                        }
                    }
                }
                Ok(None) => return Ok(Ok(())),
                Err(error) => return Ok(Err(error)),
            }
            if self.intake.buffered_bytes() >= CHUNK_BYTES {
                progress(records.bytes());
                self.insert().await?;
            }
        }
    }

    /// Inserts all that is cleaned and waits.
    async fn insert(&mut self) -> Result<(), CliError> {
        let (lake, catalog) = (self.lake, self.catalog);
        let batches = self.intake.drain();
        let inserted: Vec<_> = futures::stream::iter(batches)
            .map(|cleaned| async move { insert(lake, catalog, cleaned).await })
            .buffered(CONCURRENCY)
            .try_collect()
            .await
            .map_err(|error| {
                let advice = if error.is_retryable() {
                    "load the files again: rows that are in the lake already stay as they are"
                } else {
                    ""
                };
                CliError::failed("rows could not be inserted", advice).caused_by(error)
            })?;
        for outcome in inserted {
            match outcome {
                Outcome::Rows(dataset, rows) => *self.inserted.entry(dataset).or_default() += rows,
                Outcome::Quarantined(rows) => {
                    for (dataset, rows) in rows {
                        *self.quarantined.entry(dataset).or_default() += rows;
                    }
                }
            }
        }
        Ok(())
    }

    /// Prints a line a dataset and gives how many rows were quarantined in all. A bad row that was seen before counts
    /// as a duplicate.
    fn report(&self, seconds: f64) -> Result<u64, CliError> {
        let mut all = 0;
        for count in self.intake.counts() {
            let inserted =
                count.dataset.as_ref().and_then(|dataset| self.inserted.get(dataset)).copied().unwrap_or(0);
            let quarantined = self.quarantined.get(&count.dataset).copied().unwrap_or(0);
            all += quarantined;
            console::data_json(&Summary {
                dataset: count.dataset.clone(),
                read: count.read,
                inserted,
                duplicates: count.read - inserted - quarantined,
                quarantined,
                bytes: count.bytes,
                seconds,
            })?;
        }
        Ok(all)
    }
}

/// What an insert added.
enum Outcome {
    Rows(String, u64),
    Quarantined(Vec<(Option<String>, u64)>),
}

async fn insert(lake: &Lake, catalog: &Arc<Catalog>, cleaned: Cleaned) -> Result<Outcome, LakeError> {
    if cleaned.contract.name != QUARANTINE {
        let inserted = lake.insert(catalog, &cleaned.contract, &[cleaned.rows]).await?;
        return Ok(Outcome::Rows(cleaned.contract.name.clone(), inserted.inserted));
    }
    let (datasets, batches): (Vec<_>, Vec<_>) = by_dataset(&cleaned.rows)?.into_iter().unzip();
    let inserted = lake.insert(catalog, &cleaned.contract, &batches).await?;
    Ok(Outcome::Quarantined(datasets.into_iter().zip(inserted.by_batch).collect()))
}

/// Quarantine rows by the dataset they were meant for.
fn by_dataset(rows: &RecordBatch) -> Result<Vec<(Option<String>, RecordBatch)>, LakeError> {
    let refused = |why: String| LakeError::Encode { dataset: QUARANTINE.to_owned(), why };
    let datasets = rows.column_by_name("dataset").and_then(|column| column.as_string_opt::<i32>());
    let datasets = datasets.ok_or_else(|| refused("there is no column dataset".to_owned()))?;
    let mut names: Vec<Option<&str>> = datasets.iter().collect();
    names.sort_unstable();
    names.dedup();
    let of = |name: Option<&str>| {
        let mask: BooleanArray = datasets.iter().map(|dataset| Some(dataset == name)).collect();
        let part = filter_record_batch(rows, &mask).map_err(|error| refused(error.to_string()))?;
        Ok((name.map(str::to_owned), part))
    };
    names.into_iter().map(of).collect()
}

/// A file to load.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Input {
    path: PathBuf,
    size: u64,
}

/// The files that are named, and those in folders that are named, in name order; hidden ones are left out.
fn walk(named: &[PathBuf]) -> Result<Vec<Input>, CliError> {
    let mut files = Vec::new();
    let mut pending: Vec<PathBuf> = named.iter().rev().cloned().collect();
    while let Some(path) = pending.pop() {
        let unreadable = |error: std::io::Error| {
            CliError::usage(format!("cannot read {}", path.display()), "check the name").caused_by(error)
        };
        let metadata = std::fs::metadata(&path).map_err(unreadable)?;
        if !metadata.is_dir() {
            files.push(Input { size: metadata.len(), path });
            continue;
        }
        let entries =
            std::fs::read_dir(&path).and_then(Iterator::collect::<Result<Vec<_>, _>>).map_err(unreadable)?;
        let mut inside: Vec<PathBuf> =
            entries.iter().map(std::fs::DirEntry::path).filter(|path| !is_hidden(path)).collect();
        inside.sort_unstable_by(|a, b| b.cmp(a));
        pending.extend(inside);
    }
    if files.is_empty() {
        return Err(CliError::usage("there is no file to load", "name files, or folders that hold some"));
    }
    Ok(files)
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}
