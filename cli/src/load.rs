//! `pinlake load`: cleans files and inserts what is absent.

mod bucket;
mod cleaning;
mod inserting;

use std::fs::{File, FileType};
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use pinlake_clean::record_reader::sandbox::{ProcessLimits, Sandbox};
use pinlake_clean::record_reader::{Limits, ReadError, RecordReader};
use pinlake_env::{Clock, SystemClock};
use pinlake_lake::Lake;
use pinlake_schema::{Catalog, QUARANTINE};
use serde::Serialize;
use tokio::time::Instant;

use crate::console::{self, Unit};
use crate::error::CliError;
use crate::lake;

use self::bucket::Objects;
use self::cleaning::{Cleaning, Source};
use self::inserting::Inserting;

/// Clean files and insert their rows into a lake.
///
/// Takes NDJSON, JSON arrays, concatenated JSON, CSV with a header and Parquet, plain or as .gz or .zst; folders
/// are walked for regular files that are not hidden (a link or a pipe is taken when it is named), and so is what lies below s3://bucket/prefix, such as the objects of Kafka Connect's S3 sink: the lake
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

/// What the process that reads a Parquet file may take. A batch is a thousand rows.
const PARQUET: ProcessLimits =
    ProcessLimits { memory_bytes: 2 << 30, cpu_seconds: 20, idle_timeout: Duration::from_secs(40) };

/// Exit code of `--strict` when rows were quarantined.
const QUARANTINED: u8 = 3;

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
    let mut unreadable = Unreadable::default();
    let files = if named.is_empty() { Vec::new() } else { walk(&named, &mut unreadable)? };
    let lake = Arc::new(lake::create(&args.lake).await?);
    // How much lies in a bucket is known when all of it is listed.
    let total = remote.is_empty().then(|| files.iter().map(|file| file.size).sum());
    let bar = console::progress("loading", Unit::Bytes, total);
    let sandbox = Sandbox::from_current_exe(Limits::default(), PARQUET).map_err(|error| {
        CliError::failed("the system does not tell which program this is", "").caused_by(error)
    })?;
    let mut load = Load::new(lake.clone(), catalog, sandbox, SystemClock.now());
    let dataset = args.dataset.as_deref();
    let mut done = 0;
    for file in &files {
        let loaded = match load.open(file, dataset) {
            Ok(records) => load.file(records, |read| bar.set_position(done + read.min(file.size))).await?,
            Err(error) => Err(error),
        };
        unreadable.note(loaded.err().iter().map(ToString::to_string));
        done += file.size;
        bar.set_position(done);
    }
    for address in &remote {
        let mut objects = Objects::at(&address.to_string_lossy(), dataset, &load).await?;
        while objects.some(&mut load, &bar).await? {}
        let (count, errors) = objects.unreadable();
        unreadable.note(errors.iter().cloned());
        unreadable.count += count - errors.len() as u64;
    }
    load.finish().await?;
    bar.finish_and_clear();
    let quarantined = load.report(begun.elapsed().as_secs_f64())?;
    for error in &unreadable.errors {
        console::say(&format!("error: {error}"));
    }
    if unreadable.count > 0 {
        return Err(CliError::failed(
            format!("{} files could not be read to their end", unreadable.count),
            "mend them and load them again: rows that are in the lake already stay as they are",
        ));
    }
    Ok(if args.strict && quarantined > 0 { ExitCode::from(QUARANTINED) } else { ExitCode::SUCCESS })
}

/// Files that could not be read to their end.
#[derive(Default)]
struct Unreadable {
    count: u64,
    /// What is wrong with them; of very many in a bucket, with the first ones.
    errors: Vec<String>,
}

impl Unreadable {
    fn note(&mut self, errors: impl Iterator<Item = String>) {
        let before = self.errors.len();
        self.errors.extend(errors);
        self.count += (self.errors.len() - before) as u64;
    }
}

/// A load under way.
struct Load {
    lake: Arc<Lake>,
    catalog: Arc<Catalog>,
    sandbox: Sandbox,
    cleaning: Cleaning,
    inserting: Inserting,
}

/// The records of a file, and what is known of them.
struct FileRecords {
    records: RecordReader,
    source: Source,
}

impl Load {
    fn new(lake: Arc<Lake>, catalog: Arc<Catalog>, sandbox: Sandbox, now: DateTime<Utc>) -> Self {
        let cleaning = Cleaning::new(catalog.clone(), now);
        let inserting = Inserting::new(lake.clone(), catalog.clone());
        Self { lake, catalog, sandbox, cleaning, inserting }
    }

    fn open(&self, file: &Input, dataset: Option<&str>) -> Result<FileRecords, ReadError> {
        let name = file.path.display().to_string();
        let routed = || self.catalog.route_file(&name).map(|contract| contract.name.as_str());
        let hint = dataset.or_else(routed).map(str::to_owned);
        let opened =
            File::open(&file.path).map_err(|source| ReadError::Io { name: name.clone(), records: 0, source });
        let records = opened.and_then(|open| RecordReader::from_file(&name, open, &self.sandbox))?;
        Ok(FileRecords { records, source: Source { name: format!("file/{name}"), id: None, hint } })
    }

    /// Cleans a file, inserting whenever enough has come together; `progress` is told the bytes so far. The inner
    /// error is the file's own: others go on.
    async fn file(
        &mut self,
        file: FileRecords,
        progress: impl Fn(u64),
    ) -> Result<Result<(), ReadError>, CliError> {
        let FileRecords { mut records, source } = file;
        let source = Arc::new(source);
        let mut number = 0;
        loop {
            // Lines of an object with an id are numbered, so they are cut here.
            if source.id.is_some() || !self.cleaning.push_lines(&source, &mut records) {
                match records.next() {
                    Ok(Some(record)) => self.cleaning.push(&source, number, record),
                    Ok(None) => return Ok(Ok(())),
                    Err(error) => return Ok(Err(error)),
                }
                number += 1;
            }
            if self.cleaning.is_full() {
                progress(records.bytes());
                let cleaned = self.cleaning.turn().await?;
                self.inserting.take(cleaned).await?;
            }
        }
    }

    /// Inserts all that was read, and waits.
    async fn finish(&mut self) -> Result<(), CliError> {
        loop {
            let cleaned = self.cleaning.rest().await?;
            if cleaned.is_empty() {
                return self.inserting.finish().await;
            }
            self.inserting.take(cleaned).await?;
        }
    }

    /// Prints a line a dataset and gives how many rows were quarantined in all. A bad row that was seen before counts
    /// as a duplicate.
    fn report(&self, seconds: f64) -> Result<u64, CliError> {
        let mut all = 0;
        let Inserting { inserted, quarantined, .. } = &self.inserting;
        for count in self.cleaning.counts() {
            let inserted =
                count.dataset.as_ref().and_then(|dataset| inserted.get(dataset)).copied().unwrap_or(0);
            let quarantined = quarantined.get(&count.dataset).copied().unwrap_or(0);
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

fn broken_off(error: impl std::error::Error + Send + Sync + 'static) -> CliError {
    CliError::failed("the load broke off", "this is a mistake in pinlake; load the files again")
        .caused_by(error)
}

/// A file to load.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Input {
    path: PathBuf,
    size: u64,
}

/// The named files, and the regular files in the named folders, in name order, without hidden ones. A name may also be that of a
/// link or a pipe. Entries that cannot be read are added to `unreadable`.
fn walk(named: &[PathBuf], unreadable: &mut Unreadable) -> Result<Vec<Input>, CliError> {
    let mut files = Vec::new();
    // Those that come first last, as they are taken from the end.
    let mut pending: Vec<PathBuf> = Vec::new();
    for path in named {
        let wrong = |error: std::io::Error| {
            CliError::usage(format!("cannot read {}", path.display()), "check the name").caused_by(error)
        };
        let metadata = std::fs::metadata(path).map_err(wrong)?;
        let kind = metadata.file_type();
        if let Some(what) = device(kind) {
            let advice = "name a file, a folder, or a pipe";
            return Err(CliError::usage(format!("{} is {what}", path.display()), advice));
        }
        if !metadata.is_dir() {
            files.push(Input { size: metadata.len(), path: path.clone() });
            continue;
        }
        pending.extend(inside(path).map_err(wrong)?);
        while let Some(path) = pending.pop() {
            if let Err(error) = look(&path, &mut files, &mut pending) {
                unreadable.note([format!("cannot read {}: {error}", path.display())].into_iter());
            }
        }
    }
    if files.is_empty() && unreadable.count == 0 {
        return Err(CliError::usage("there is no file to load", "name files, or folders that hold some"));
    }
    Ok(files)
}

/// Looks at what a walk has come to: a file, or a folder, whose content is `pending`.
fn look(path: &Path, files: &mut Vec<Input>, pending: &mut Vec<PathBuf>) -> std::io::Result<()> {
    // Of a link this is the link.
    let metadata = std::fs::symlink_metadata(path)?;
    let kind = metadata.file_type();
    if kind.is_file() {
        files.push(Input { size: metadata.len(), path: path.to_owned() });
        return Ok(());
    }
    if kind.is_dir() {
        pending.extend(inside(path)?);
        return Ok(());
    }
    let what = device(kind).unwrap_or(if kind.is_symlink() { "a link" } else { "a pipe" });
    console::say(&format!("left out: {} is {what}, not a file", path.display()));
    Ok(())
}

/// What is in a folder and not hidden, the last name first.
fn inside(folder: &Path) -> std::io::Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)?.collect::<Result<Vec<_>, _>>()?;
    let mut inside: Vec<PathBuf> =
        entries.iter().map(std::fs::DirEntry::path).filter(|path| !is_hidden(path)).collect();
    inside.sort_unstable_by(|a, b| b.cmp(a));
    Ok(inside)
}

/// What it is, if there may be no end to it.
fn device(kind: FileType) -> Option<&'static str> {
    match () {
        () if kind.is_char_device() || kind.is_block_device() => Some("a device"),
        () if kind.is_socket() => Some("a socket"),
        () => None,
    }
}

fn is_hidden(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with('.'))
}
