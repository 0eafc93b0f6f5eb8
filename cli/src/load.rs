//! `pinlake load`: inserts the records of files into a lake.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use indicatif::ProgressBar;
use pinlake_clean::record_reader::ReadLimits;
use pinlake_clean::record_reader::sandbox::{ProcessLimits, Sandbox};
use pinlake_env::{Clock, SystemClock};
use pinlake_files::load::{
    BucketLoader, DatasetSummary, FileSummary, LoadError, Loader, QuarantinedFile, RefusedTable,
};
use pinlake_files::local::{self, FindError, LocalFile, LocalFiles};
use pinlake_platform::location::Location;
use pinlake_schema::Catalog;
use pinlake_state::with_causes;
use serde::Serialize;
use tokio::time::Instant;

use crate::console::{self, Unit};
use crate::error::CliError;
use crate::lake::{self, DatasetsArg, LakeArg};

/// Insert the records of files into a lake. Records that the lake has already are skipped.
///
/// Input: NDJSON, JSON arrays, concatenated JSON, CSV with a header line, and Parquet, each also as .gz, .zst, .bz2,
/// .xz, or alone in a .zip. `-` is the standard input. A folder is read recursively; hidden files, links and pipes in
/// it are skipped. An s3:// address reads all objects below the prefix. If such a load is interrupted, run it again:
/// it continues where it stopped.
///
/// Output: one JSON line per dataset,
/// {"dataset":"pin","read":N,"inserted":N,"duplicates":N,"quarantined":N,"bytes":N,"seconds":S},
/// with read = inserted + duplicates + quarantined. `superseded` is added if rows took the place of rows
/// with fewer columns: docs/schema-evolution.md. Datasets that keep the latest record of an identity add
/// `superseded`, `outdated` and `deleted`: docs/keep-latest.md. Records that match no dataset are counted under null.
/// If rows cannot be inserted, there is no output; rows of other datasets may be in their tables.
///
/// Exit code 1 if a file could not be read to its end. The other files are loaded all the same.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pinlake load --lake /tmp/lake pin.ndjson geo.ndjson.gz user.csv
  pinlake load --lake s3://my-lake --dataset pin exports/
  pinlake load --lake s3://my-lake s3://sink-bucket/topics")]
pub struct LoadArgs {
    #[command(flatten)]
    pub lake: LakeArg,
    /// Dataset of all files [default: by the name of the file, else by the columns of each record]
    #[arg(long, value_name = "NAME")]
    pub dataset: Option<String>,
    #[command(flatten)]
    pub datasets: DatasetsArg,
    /// Exit with code 3 if records break their contract, also if quarantine has them already
    #[arg(long)]
    pub strict: bool,
    /// Files, folders, or s3://bucket[/prefix] with AWS credentials in the environment
    #[arg(required = true, value_name = "FILE")]
    pub files: Vec<PathBuf>,
}

/// Limits of the process that reads a Parquet file. A batch has a thousand rows.
const PARQUET_BOUNDS: ProcessLimits =
    ProcessLimits { memory_bytes: 2 << 30, cpu_seconds: 20, idle_timeout: Duration::from_secs(40) };

/// Exit code of `--strict` if records were quarantined.
const EXIT_QUARANTINED: u8 = 3;

/// The scheme of addresses in a bucket.
const S3_SCHEME: &str = "s3://";

/// The JSON line of a dataset.
#[derive(Debug, Serialize)]
struct Summary {
    dataset: Option<String>,
    read: u64,
    inserted: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    superseded: Option<u64>,
    duplicates: u64,
    #[serde(skip_serializing_if = "Option::is_none")]
    outdated: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    deleted: Option<u64>,
    quarantined: u64,
    bytes: u64,
    seconds: f64,
}

/// Runs the command.
pub async fn run(args: LoadArgs) -> Result<ExitCode, CliError> {
    let started = Instant::now();
    let catalog = lake::catalog(Some(&*args.lake), args.datasets.as_deref()).await?;
    if let Some(dataset) = &args.dataset {
        check_dataset(dataset, &catalog)?;
    }
    let (addresses, paths): (Vec<_>, Vec<_>) = args.files.iter().cloned().partition(|path| is_s3(path));
    let LocalFiles { files, skipped, unreadable } = local::find_files(&paths)?;
    if files.is_empty() && unreadable.is_empty() && addresses.is_empty() {
        return Err(CliError::usage("there is no file to load", "name files, or folders that contain files"));
    }
    for (path, kind) in skipped {
        console::say(&format!("left out: {} is {kind}, not a file of records", path.display()));
    }
    let lake = Arc::new(lake::create(&args.lake).await?);
    // The total size of a bucket is not known before the listing ends.
    let total = addresses.is_empty().then(|| files.iter().map(|file| file.size).sum());
    let sandbox = Sandbox::from_current_exe(ReadLimits::default(), PARQUET_BOUNDS)
        .map_err(|error| CliError::failed("cannot find the path of this program", "").caused_by(error))?;
    let mut load = Load {
        loader: Loader::open(lake, catalog.clone(), SystemClock.now()).await?,
        catalog,
        sandbox,
        dataset: args.dataset,
        bar: console::progress("loading", Unit::Bytes, total),
        unreadable: Unreadable { count: unreadable.len() as u64, errors: unreadable },
        refused: Vec::new(),
    };
    load.load_files(&files).await?;
    for address in &addresses {
        load.load_address(&address.to_string_lossy()).await?;
    }
    let flushed = load.loader.flush().await;
    load.note_refused(flushed)?;
    load.bar.finish_and_clear();
    report_quarantined_files(&load.loader, &args.lake);
    let mut summaries = load.loader.summaries();
    summaries
        .retain(|summary| load.refused.iter().all(|table| Some(&table.dataset) != summary.dataset.as_ref()));
    let quarantined = print_summaries(summaries, started.elapsed().as_secs_f64())?;
    load.check_complete()?;
    Ok(if args.strict && quarantined > 0 { ExitCode::from(EXIT_QUARANTINED) } else { ExitCode::SUCCESS })
}

fn check_dataset(dataset: &str, catalog: &Catalog) -> Result<(), CliError> {
    let datasets: Vec<&str> = catalog.datasets().map(|contract| contract.name.as_str()).collect();
    if datasets.contains(&dataset) {
        return Ok(());
    }
    let advice = format!("use one of {}, or add datasets/{dataset}.toml", datasets.join(", "));
    Err(CliError::usage(format!("there is no dataset {dataset}"), advice))
}

fn is_s3(path: &Path) -> bool {
    path.to_str().is_some_and(|path| path.starts_with(S3_SCHEME))
}

struct Load {
    loader: Loader,
    catalog: Arc<Catalog>,
    sandbox: Sandbox,
    dataset: Option<String>,
    bar: ProgressBar,
    unreadable: Unreadable,
    refused: Vec<RefusedTable>,
}

impl Load {
    async fn load_files(&mut self, files: &[LocalFile]) -> Result<(), CliError> {
        let mut bytes_before = 0;
        for file in files {
            let opened = local::open(&file.path, self.dataset.as_deref(), &self.catalog, &self.sandbox);
            let loaded = match opened {
                Ok((records, source)) => {
                    let progress = |read: u64| self.bar.set_position(bytes_before + read.min(file.size));
                    self.loader.load_file(records, source, progress).await?
                }
                Err(error) => Err(error),
            };
            match loaded {
                Ok(FileSummary { has_records, padding_bytes }) => {
                    let path = file.path.display();
                    if !has_records {
                        console::say(&format!("note: {path} holds no record"));
                    }
                    if padding_bytes > 0 {
                        console::say(&format!(
                            "warning: {path} has {padding_bytes} zeros behind its compressed data, which were ignored"
                        ));
                    }
                }
                Err(error) => {
                    self.unreadable.count += 1;
                    self.unreadable.errors.push(error.to_string());
                }
            }
            bytes_before += file.size;
            self.bar.set_position(bytes_before);
        }
        Ok(())
    }

    async fn load_address(&mut self, address: &str) -> Result<(), CliError> {
        let open_error = |error| CliError::usage(format!("cannot read {address}"), "").caused_by(error);
        let Location::S3 { bucket, prefix } = address.parse().map_err(open_error)? else {
            return Err(CliError::usage(format!("{address} is not in a bucket"), "write s3://bucket/prefix"));
        };
        let whole_bucket = Location::S3 { bucket: bucket.clone(), prefix: String::new() };
        let store = whole_bucket.open().await.map_err(open_error)?;
        let (dataset, sandbox) = (self.dataset.as_deref(), self.sandbox.clone());
        let mut objects = BucketLoader::open(store, &bucket, &prefix, dataset, sandbox, &self.loader).await?;
        loop {
            let step = objects.load_step(&mut self.loader, |bytes| self.bar.inc(bytes)).await;
            if self.note_refused(step)? != Some(true) {
                break;
            }
        }
        if objects.empty() > 0 {
            console::say(&format!("note: {} objects of {address} hold no record", objects.empty()));
        }
        let (count, errors) = objects.unreadable();
        self.unreadable.count += count;
        self.unreadable.errors.extend_from_slice(errors);
        Ok(())
    }

    /// Notes tables that did not take their rows, and returns other errors.
    fn note_refused<T>(&mut self, loaded: Result<T, LoadError>) -> Result<Option<T>, CliError> {
        match loaded {
            Ok(loaded) => Ok(Some(loaded)),
            Err(LoadError::TablesRefused(tables)) => {
                self.refused.extend(tables);
                Ok(None)
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Prints the errors of files and tables, and fails if there are any.
    fn check_complete(&self) -> Result<(), CliError> {
        for error in &self.unreadable.errors {
            console::say(&format!("error: {error}"));
        }
        for RefusedTable { dataset, error } in &self.refused {
            console::say(&format!(
                "error: the rows of {dataset} were not all inserted: {}",
                with_causes(error)
            ));
        }
        match (self.unreadable.count, self.refused.len()) {
            (0, 0) => Ok(()),
            (count, 0) => Err(CliError::failed(
                format!("{count} files could not be read to their end"),
                "fix them and load them again: rows that are in the lake are not inserted twice",
            )),
            (_, tables) => Err(CliError::failed(
                format!("{tables} tables did not take their rows"),
                "load the files again after you have changed the contract or the table: rows that are in the lake are not inserted twice",
            )),
        }
    }
}

/// The most files that [`report_quarantined_files`] lists.
const MAX_LISTED_FILES: usize = 10;

/// Says of which files many records are in quarantine, and how to see why.
fn report_quarantined_files(loader: &Loader, lake: &str) {
    let files = loader.quarantined_files();
    for QuarantinedFile { name, dataset, read, quarantined } in files.iter().take(MAX_LISTED_FILES) {
        let of = dataset.as_ref().map(|dataset| format!(" --dataset {dataset}")).unwrap_or_default();
        console::say(&format!(
            "warning: {quarantined} of {read} records of {name} are in quarantine; to see why: pinlake quarantine show \
             --lake {lake}{of}"
        ));
    }
    if files.len() > MAX_LISTED_FILES {
        console::say(&format!("warning: so are records of {} more files", files.len() - MAX_LISTED_FILES));
    }
}

/// Files that could not be read to their end.
struct Unreadable {
    count: u64,
    /// Their errors. A bucket gives only the first ones.
    errors: Vec<String>,
}

/// Prints one JSON line per dataset, and returns the number of quarantined records.
fn print_summaries(summaries: Vec<DatasetSummary>, seconds: f64) -> Result<u64, CliError> {
    let mut all_quarantined = 0;
    for summary in summaries {
        let DatasetSummary { dataset, read, skipped, .. } = &summary;
        if *skipped > 0 {
            let of = dataset.as_deref().unwrap_or("no dataset");
            console::say(&format!(
                "note: {skipped} records of {of} were skipped (skip_when); they do not count as read"
            ));
        }
        if *read == 0 {
            continue;
        }
        let keeps_latest = summary.keeps_latest;
        let shown = |count: u64| Some(count).filter(|count| keeps_latest || *count > 0);
        all_quarantined += summary.quarantined;
        let line = Summary {
            dataset: summary.dataset,
            read: summary.read,
            inserted: summary.inserted,
            superseded: shown(summary.superseded),
            duplicates: summary.duplicates,
            outdated: shown(summary.outdated),
            deleted: shown(summary.deleted),
            quarantined: summary.quarantined,
            bytes: summary.bytes,
            seconds,
        };
        console::data_json(&line)?;
    }
    Ok(all_quarantined)
}

impl From<FindError> for CliError {
    fn from(error: FindError) -> Self {
        let what = error.to_string();
        match error {
            FindError::Unreadable { source, .. } => {
                CliError::usage(what, "check the name and the permissions").caused_by(source)
            }
            FindError::Endless { .. } => CliError::usage(what, "name a file, a folder or a pipe"),
        }
    }
}

impl From<LoadError> for CliError {
    fn from(error: LoadError) -> Self {
        let what = error.to_string();
        let (advice, source) = match error {
            LoadError::Internal(source) => ("this is a bug in pinlake; loading again is safe", source),
            LoadError::ReadContracts(source) => {
                ("check the permission to list and read contracts/ in the lake", source.into())
            }
            LoadError::Insert(source) => {
                let advice = if source.is_retryable() {
                    "load the files again: rows that are in the lake are not inserted twice"
                } else {
                    ""
                };
                (advice, source.into())
            }
            // Their datasets are named before.
            LoadError::TablesRefused(_) => return CliError::failed(what, ""),
            LoadError::Open { source, .. } => {
                ("check the address, and your permission to list the bucket (s3:ListBucket)", source)
            }
            LoadError::Fetch { source, .. } => {
                ("load it again: the load continues at the cursor in the lake", source)
            }
            LoadError::ReadCursor { source, .. } => {
                ("delete the cursor to start over, which inserts nothing twice", source)
            }
            LoadError::WriteCursor { source, .. } => {
                ("load it again: rows that are in the lake are not inserted twice", source)
            }
            LoadError::RemoveCursor { source, .. } => (
                "all rows are in the lake; delete the cursor, or the next load of this address loads nothing",
                source,
            ),
        };
        CliError::failed(what, advice).caused_by(source)
    }
}
