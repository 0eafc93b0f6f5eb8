//! `pinlake replay`: posts rows from files or a database to an ingest endpoint, as clients do.
//!
//! A thread reads rows into batches ([`source`]), [`post`] delivers them, and this module limits the rate, counts results
//! and saves the progress ([`state`]). Invariant: the state counts a row as done only after its acknowledgement, or its line
//! in the rejects file, is on disk.

mod batch;
mod database;
mod post;
mod python_random;
mod source;
mod state;
mod wire;

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use indicatif::ProgressBar;
use pinlake_env::Rng;
use pinlake_schema::Catalog;
use reqwest::Url;
use reqwest::header::HeaderValue;
use serde::Serialize;
use serde_json::json;
use tokio::sync::{mpsc, watch};
use tokio::task::{JoinError, JoinSet};
use tokio::time::{Instant, MissedTickBehavior, interval, sleep_until};

use self::batch::{Batch, Format};
use self::database::Database;
use self::database::address::{Address, Engine, TlsChoice};
use self::post::{Delivery, Failure, Poster, Reject};
use self::source::{Input, Order, Origin, Reading};
use self::state::{Key, State, Watermark};
use crate::acks::Acks;
use crate::atomic_file;
use crate::console::{self, Unit};
use crate::error::CliError;
use crate::interrupt;
use crate::lake;

/// Post rows from files or a database to an ingest endpoint, as clients do.
///
/// Files: DIR contains pin.ndjson, geo.ndjson and user.ndjson (or .jsonl; each also as .gz or .zst) with one JSON object
/// per line. Rows are sent byte for byte, in turn from each file.
///
/// Databases: mysql:// or postgres:// reads tables, in turn from each table. Numbers are sent as numbers, times as
/// "2020-08-28 03:52:47" (UTC), decimals as strings, and bytes in base64. User and password come from PINLAKE_DB_USER and
/// PINLAKE_DB_PASSWORD. Connections to other machines use TLS with a verified certificate.
///
/// Retries: throttling, server errors and lost responses are retried with the same Idempotency-Key. A row that the
/// endpoint rejects (400) is written to the rejects file, and the run continues.
///
/// Output: one JSON line, {"sent":N,"accepted":N,"rejected":N,"requests":N,"retries":N,"seconds":S,"bytes":N}.
/// Accepted means stored, not clean: rows that break their contract are accepted too, and `pinlake quarantine list` shows
/// them.
#[derive(Debug, clap::Args)]
#[command(after_help = "\
Examples:
  pinlake replay --to $INGEST_URL --from rows --format mixed --acks acks.json
  pinlake replay --to $INGEST_URL --from rows --rate 50 --state replay.json   (run again to continue)
  pinlake replay --to $INGEST_URL --from rows --batch 1 --seed 100 --count 500   (as the stock client)

From a database on RDS. With --state and a key, a later run posts the rows added since:
  export PINLAKE_DB_USER=reader PINLAKE_DB_PASSWORD
  pinlake replay --to $INGEST_URL --from mysql://$DB_HOST/pinterest --db-ca global-bundle.pem --key index --key ind --state replay.json
  pinlake replay --to $INGEST_URL --from mysql://$DB_HOST/pinterest --db-ca global-bundle.pem --seed 100 --count 500

The API key comes from the environment variable PINLAKE_API_KEY, because other users can read command lines.

Ctrl-C finishes the requests that are running, saves the state and exits with 130.")]
pub struct ReplayArgs {
    /// URL of the endpoint, without the paths of the wire formats
    #[arg(long, value_name = "URL")]
    to: String,
    /// A folder, a file, or a database: mysql://HOST:PORT/NAME, postgres://HOST:PORT/NAME
    #[arg(long, value_name = "DIR|FILE|URL")]
    from: String,
    /// Dataset of all rows [default: by the names of files or tables]
    #[arg(long, value_name = "NAME")]
    dataset: Option<String>,
    /// Wire format of the requests
    #[arg(long, value_enum, default_value_t)]
    format: FormatChoice,
    /// Maximum rows per file or table, including those of the --state; with --seed: rounds
    #[arg(long, value_name = "N")]
    count: Option<u64>,
    /// Maximum rows per second, in total
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u32).range(1..))]
    rate: Option<u32>,
    /// Rows per request; the stock client sends 1 (Kinesis requests have at most 500)
    #[arg(long, value_name = "N", default_value_t = 100, value_parser = clap::value_parser!(u16).range(1..=10_000))]
    batch: u16,
    /// Draw rows as the stock client does, whose seed is 100: random.seed(N), then in each round the row randint(0, 11000)
    /// of each file or table, or below the number of rows if that is smaller [default: each row once, in order]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// Write the highest acknowledged sequence number of each shard to this file, merged with its contents, for `wait`
    #[arg(long, value_name = "FILE")]
    acks: Option<PathBuf>,
    /// Concurrent requests
    #[arg(long, value_name = "N", default_value_t = 8, value_parser = clap::value_parser!(u16).range(1..=1_000))]
    concurrency: u16,
    /// Name in topics (NAME.pin) and streams (streaming-NAME-pin)
    #[arg(long, value_name = "NAME", default_value = "pinlake", value_parser = parse_url_safe)]
    uid: String,
    /// Save the progress in this file; a later run with the same file continues there
    #[arg(long, value_name = "FILE")]
    state: Option<PathBuf>,
    /// Attempts per request before the run fails
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..=100))]
    attempts: u32,
    /// Table or view to read; repeatable [default: all whose names match a dataset]
    #[arg(long, value_name = "TABLE[=DATASET]")]
    table: Vec<String>,
    /// Column of unique integers that orders a table. Repeatable: the first one that a table has is its key [default:
    /// the primary key, if a key is needed]
    #[arg(long, value_name = "COLUMN")]
    key: Vec<String>,
    /// TLS to the database [default: off for this machine, else verify]
    #[arg(long, value_enum, value_name = "CHOICE")]
    db_tls: Option<TlsChoice>,
    /// Certificate authorities (PEM) to trust instead of the public ones; those of RDS are in global-bundle.pem
    #[arg(long, value_name = "FILE", env = "PINLAKE_DB_CA")]
    db_ca: Option<PathBuf>,
    /// Folder or s3:// prefix with contracts (TOML) that replace the built-in ones
    #[arg(long, value_name = "DIR|s3://...", env = "PINLAKE_DATASETS")]
    datasets: Option<PathBuf>,
}

/// Reads the API key from the environment, if there is one.
fn read_api_key(to: &Url) -> Result<Option<HeaderValue>, CliError> {
    let Some(key) = std::env::var("PINLAKE_API_KEY").ok().filter(|key| !key.is_empty()) else {
        return Ok(None);
    };
    if to.scheme() != "https" && !to.host_str().is_some_and(post::is_this_machine) {
        return Err(CliError::usage(
            "PINLAKE_API_KEY would be sent unencrypted",
            "use an https:// URL, or unset PINLAKE_API_KEY",
        ));
    }
    let mut value = HeaderValue::try_from(key).map_err(|_| {
        CliError::usage("PINLAKE_API_KEY is not a valid header value", "check it for line breaks")
    })?;
    value.set_sensitive(true);
    Ok(Some(value))
}

/// The choices of `--format`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, clap::ValueEnum)]
enum FormatChoice {
    /// Kafka REST proxy v2: POST /topics/UID.DATASET
    Kafka,
    /// API Gateway in front of Kinesis: PUT /streams/streaming-UID-DATASET/record or /records
    Kinesis,
    /// NDJSON: POST /v1/DATASET
    #[default]
    Native,
    /// All three in turn
    Mixed,
}

impl FormatChoice {
    fn formats(self) -> Vec<Format> {
        match self {
            FormatChoice::Kafka => vec![Format::Kafka],
            FormatChoice::Kinesis => vec![Format::Kinesis],
            FormatChoice::Native => vec![Format::Native],
            FormatChoice::Mixed => vec![Format::Kafka, Format::Kinesis, Format::Native],
        }
    }
}

fn parse_url_safe(text: &str) -> Result<String, String> {
    let safe = |byte: u8| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte);
    if !text.is_empty() && text.bytes().all(safe) {
        Ok(text.to_owned())
    } else {
        Err("use letters, digits, `-`, `_` and `.` only".to_owned())
    }
}

/// Interval at which state and acknowledgements are saved.
const SAVE_EVERY: Duration = Duration::from_secs(2);

/// Runs the command.
pub async fn run(args: ReplayArgs) -> Result<ExitCode, CliError> {
    let to = parse_target(&args.to)?;
    let catalog = lake::catalog(None, args.datasets.as_deref()).await?;
    let order = args.seed.map_or(Order::Given, |seed| Order::Drawn { seed });
    let inputs = find_inputs(&args, order, &catalog).await?;
    let state = load_state(&args, &to, order, &inputs)?;

    let stop = interrupt::watch()
        .map_err(|error| CliError::failed("cannot install the handler of Ctrl-C", "").caused_by(error))?;
    let bars = Bars::new(&inputs, order, args.count);
    let (sources, drawn_from) = source::open(&inputs, order, &state, &bars.bytes, &stop).await?;
    let count = match order {
        Order::Given => args.count.unwrap_or(u64::MAX),
        Order::Drawn { .. } => args.count.unwrap_or(drawn_from),
    };

    let poster = Arc::new(Poster::new(
        &to,
        &args.uid,
        args.attempts,
        Rng::from_os(),
        read_api_key(&to)?,
        stop.clone(),
    )?);
    // A batch larger than the rate would turn a low rate into bursts.
    let batch = args.rate.map_or(u32::from(args.batch), |rate| rate.min(args.batch.into()));
    let reading = Reading { count, formats: args.format.formats(), batch: batch as usize };
    let (sender, batches) = mpsc::channel(1);
    let reader = tokio::task::spawn_blocking({
        let stop = stop.clone();
        move || source::read(sources, &reading, &sender, &stop)
    });

    let ledger = Ledger::open(&args, state, &inputs)?;
    let mut replay =
        Replay { poster, inputs: Arc::new(inputs), ledger, rate: args.rate, stop: stop.clone(), bars };
    let posted = replay.post_all(batches, args.concurrency.into()).await;
    let read = reader.await.unwrap_or_else(|error| Err(task_error(&error)));
    replay.bars.clear();
    let saved = replay.ledger.save();
    replay.ledger.print()?;
    posted.and(read).and(saved)?;
    Ok(if *stop.borrow() { interrupt::exit_code() } else { ExitCode::SUCCESS })
}

fn parse_target(to: &str) -> Result<Url, CliError> {
    let advice = "use a URL such as https://example.lambda-url.eu-west-1.on.aws";
    // Messages do not repeat the URL: it may hold a password, and stderr often ends up in logs.
    let url = Url::parse(to).map_err(|error| CliError::usage("--to is no URL", advice).caused_by(error))?;
    if !url.username().is_empty() || url.password().is_some() {
        return Err(CliError::usage(
            "the URL in --to has a user or a password, which all users of this machine can read in the process list",
            "remove it, and change it if others may have seen it; set an API key in the environment variable PINLAKE_API_KEY",
        ));
    }
    match url.scheme() {
        "http" | "https" if url.query().is_none() && url.fragment().is_none() => Ok(url),
        _ => Err(CliError::usage("--to is no address to post to", advice)),
    }
}

/// Finds the files or tables of `--from`.
async fn find_inputs(args: &ReplayArgs, order: Order, catalog: &Catalog) -> Result<Vec<Input>, CliError> {
    let dataset = args.dataset.as_deref();
    let Some((scheme, _)) = args.from.split_once("://") else {
        if !args.table.is_empty() || !args.key.is_empty() || args.db_tls.is_some() {
            return Err(CliError::usage(
                "--table, --key and --db-tls are for databases",
                "remove them, or give the URL of a database with --from",
            ));
        }
        return source::find(Path::new(&args.from), dataset, catalog);
    };
    if Engine::from_scheme(scheme).is_none() {
        return Err(CliError::usage(
            format!("--from does not support {scheme}:// URLs"),
            "use a folder, a file, mysql://HOST/DATABASE or postgres://HOST/DATABASE",
        ));
    }
    let setting = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
    let address = Address::parse(&args.from, args.db_tls, args.db_ca.as_deref(), setting)?;
    let database = Arc::new(Database::connect(address).await?);
    // Draws use row offsets, as the stock client does, and need no key.
    let resumable = args.state.is_some() && order == Order::Given;
    let keyed = resumable || !args.key.is_empty();
    let inputs = source::tables(&database, &args.table, dataset, &args.key, keyed, catalog)?;
    match inputs.iter().find(|input| resumable && input.key().is_none()) {
        None => Ok(inputs),
        Some(input) => Err(CliError::usage(
            format!("{} has no primary key of integers, which --state needs", input.name),
            "name a column of unique integers with --key, or remove --state",
        )),
    }
}

/// Reads the state of earlier runs, or creates an empty one.
fn load_state(args: &ReplayArgs, to: &Url, order: Order, inputs: &[Input]) -> Result<State, CliError> {
    let fresh = State {
        to: to.to_string(),
        order: match order {
            Order::Given => "file".to_owned(),
            Order::Drawn { seed } => format!("seed {seed}"),
        },
        files: inputs.iter().map(|input| (input.name.clone(), 0)).collect(),
        keys: BTreeMap::new(),
    };
    let Some(path) = &args.state else { return Ok(fresh) };
    let state = State::load(path, fresh)?;
    for input in inputs {
        if let (Some(kept), Some(key)) = (state.keys.get(&input.name), input.key())
            && kept.column != key
        {
            return Err(CliError::usage(
                format!(
                    "the state {} has read {} by the key `{}`, not `{key}`",
                    path.display(),
                    input.name,
                    kept.column
                ),
                format!("use --key {}, or another --state to start over", kept.column),
            ));
        }
    }
    Ok(state)
}

fn task_error(error: &JoinError) -> CliError {
    CliError::failed(
        format!("a task of the program failed: {error}"),
        "this is a bug in pinlake; please report it",
    )
}

/// The progress bar; one of the two is hidden. Whole files are measured in bytes, anything else in rows.
struct Bars {
    rows: ProgressBar,
    bytes: ProgressBar,
}

impl Bars {
    fn new(inputs: &[Input], order: Order, count: Option<u64>) -> Bars {
        let size = |input: &Input| match input.origin {
            Origin::File { size, .. } => Some(size),
            Origin::Table { .. } => None,
        };
        let bytes: Option<u64> = inputs.iter().map(size).sum();
        if let Some(bytes) = bytes
            && order == Order::Given
            && count.is_none()
        {
            return Bars {
                rows: ProgressBar::hidden(),
                bytes: console::progress("posting", Unit::Bytes, Some(bytes)),
            };
        }
        let rows = count.map(|count| count.saturating_mul(inputs.len() as u64));
        Bars { rows: console::progress("posting", Unit::Rows, rows), bytes: ProgressBar::hidden() }
    }

    fn clear(&self) {
        self.rows.finish_and_clear();
        self.bytes.finish_and_clear();
    }
}

/// A running replay.
struct Replay {
    poster: Arc<Poster>,
    inputs: Arc<Vec<Input>>,
    ledger: Ledger,
    rate: Option<u32>,
    stop: watch::Receiver<bool>,
    bars: Bars,
}

impl Replay {
    /// Posts batches concurrently until there are no more or one fails, and waits for those that are running.
    async fn post_all(
        &mut self,
        mut batches: mpsc::Receiver<Batch>,
        concurrency: usize,
    ) -> Result<(), CliError> {
        let mut deliveries: JoinSet<Delivery> = JoinSet::new();
        let mut save = interval(SAVE_EVERY);
        save.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut next = Instant::now();
        let mut outcome = Ok(());
        let mut more = true;
        while more || !deliveries.is_empty() {
            let batch = async {
                // After Ctrl-C, the batches that were read are sent without delay.
                tokio::select! {
                    () = sleep_until(next) => {}
                    _ = self.stop.wait_for(|stop| *stop) => {}
                }
                batches.recv().await
            };
            tokio::select! {
                batch = batch, if more && deliveries.len() < concurrency => match batch {
                    None => more = false,
                    Some(batch) => {
                        if let Some(rate) = self.rate {
                            let time = Duration::from_secs_f64(batch.rows.len() as f64 / f64::from(rate));
                            next = next.max(Instant::now()) + time;
                        }
                        self.ledger.start_batch(&batch);
                        let (poster, inputs) = (Arc::clone(&self.poster), Arc::clone(&self.inputs));
                        deliveries.spawn(async move {
                            match inputs.get(batch.file) {
                                Some(input) => poster.deliver(input, batch).await,
                                None => Delivery::default(),
                            }
                        });
                    }
                },
                Some(delivery) = deliveries.join_next() => {
                    let recorded = match delivery {
                        Ok(delivery) => self.ledger.record(delivery, &self.inputs, &self.bars.rows),
                        Err(error) => Err(task_error(&error)),
                    };
                    if let Err(error) = recorded {
                        // Report the first failure, and start no more batches.
                        outcome = outcome.and(Err(error));
                        more = false;
                        batches.close();
                    }
                },
                _ = save.tick() => outcome = outcome.and(self.ledger.save()),
            }
        }
        outcome
    }
}

/// The results of the run, in memory and on disk.
struct Ledger {
    started: Instant,
    summary: Summary,
    acks: Acks,
    acks_path: Option<PathBuf>,
    state: State,
    state_path: Option<PathBuf>,
    marks: Vec<Watermark>,
    names: Vec<String>,
    /// The key columns of tables, by name.
    keys: BTreeMap<String, String>,
    rejects: Rejects,
}

/// The JSON line on stdout.
#[derive(Debug, Default, Serialize)]
struct Summary {
    sent: u64,
    accepted: u64,
    rejected: u64,
    requests: u64,
    retries: u64,
    seconds: f64,
    bytes: u64,
}

impl Ledger {
    fn open(args: &ReplayArgs, state: State, inputs: &[Input]) -> Result<Ledger, CliError> {
        let acks = args.acks.as_deref().map_or_else(|| Ok(Acks::default()), Acks::load)?;
        let names: Vec<String> = inputs.iter().map(|input| input.name.clone()).collect();
        let mut marks = Vec::with_capacity(names.len());
        for name in &names {
            marks.push(Watermark::at(state.files.get(name).copied().unwrap_or_default()));
        }
        let rejects = match &args.state {
            None => PathBuf::from("pinlake-replay.rejects.ndjson"),
            Some(state) => {
                let mut name = state.file_name().unwrap_or_default().to_os_string();
                name.push(".rejects.ndjson");
                state.with_file_name(name)
            }
        };
        Ok(Ledger {
            started: Instant::now(),
            summary: Summary::default(),
            acks,
            acks_path: args.acks.clone(),
            state,
            state_path: args.state.clone(),
            marks,
            keys: inputs
                .iter()
                .filter_map(|input| Some((input.name.clone(), input.key()?.to_owned())))
                .collect(),
            names,
            rejects: Rejects { path: rejects, file: None },
        })
    }

    /// Records the keys of the rows of a batch.
    fn start_batch(&mut self, batch: &Batch) {
        if let Some(mark) = self.marks.get_mut(batch.file) {
            let keys = batch.rows.iter().filter_map(|row| Some((row.ordinal, row.key?)));
            keys.for_each(|(ordinal, key)| mark.expect(ordinal, key));
        }
    }

    /// Records the result of a batch. A failure of the batch is the error.
    fn record(&mut self, delivery: Delivery, inputs: &[Input], bar: &ProgressBar) -> Result<(), CliError> {
        self.summary.sent += delivery.sent;
        self.summary.requests += delivery.requests;
        self.summary.retries += delivery.retries;
        self.summary.bytes += delivery.bytes;
        self.summary.accepted += delivery.accepted.len() as u64;
        self.summary.rejected += delivery.rejected.len() as u64;
        self.acks.merge(&delivery.acks);
        if let Some(input) = inputs.get(delivery.file) {
            self.rejects.write(input, &delivery.rejected)?;
        }
        if let Some(mark) = self.marks.get_mut(delivery.file) {
            let rejected = delivery.rejected.iter().map(|reject| reject.row.ordinal);
            delivery.accepted.iter().copied().chain(rejected).for_each(|ordinal| mark.pass(ordinal));
        }
        bar.inc(delivery.accepted.len() as u64);
        match delivery.failure {
            None | Some(Failure::Stopped) => Ok(()),
            Some(Failure::Error(error)) => Err(error),
        }
    }

    /// Saves acknowledgements, then the state, which must not be ahead of them.
    fn save(&mut self) -> Result<(), CliError> {
        if let Some(path) = &self.acks_path {
            self.acks.save(path)?;
        }
        if let Some(path) = &self.state_path {
            for (name, mark) in self.names.iter().zip(&self.marks) {
                self.state.files.insert(name.clone(), mark.next);
                if let (Some(column), Some(reached)) = (self.keys.get(name), mark.key) {
                    self.state.keys.insert(name.clone(), Key { column: column.clone(), reached });
                }
            }
            self.state.save(path)?;
        }
        Ok(())
    }

    /// Prints the summary to stdout. Prints the path of rejected rows, and how to find quarantined ones, to stderr.
    fn print(&mut self) -> Result<(), CliError> {
        if self.summary.rejected > 0 {
            let (rows, path) = (self.summary.rejected, self.rejects.path.display());
            console::say(&format!("{rows} rejected rows were written to {path}, with reasons"));
        }
        // Contracts are applied after the response, so only the lake knows which rows were quarantined.
        if self.summary.accepted > 0 {
            console::say(
                "note: accepted rows may still break their contract; once they have arrived, see which did, and why: \
                 pinlake quarantine list --lake LAKE",
            );
        }
        self.summary.seconds = self.started.elapsed().as_secs_f64();
        console::data_json(&self.summary)
    }
}

/// The file of rejected rows. Each line is a JSON object with the text of the row, which itself may not be JSON.
struct Rejects {
    path: PathBuf,
    file: Option<File>,
}

impl Rejects {
    fn write(&mut self, input: &Input, rejected: &[Reject]) -> Result<(), CliError> {
        if rejected.is_empty() {
            return Ok(());
        }
        let mut lines = String::new();
        for Reject { row, reason } in rejected {
            let (name, raw) = match str::from_utf8(&row.bytes) {
                Ok(text) => ("raw", text.to_owned()),
                Err(_) => ("raw_base64", STANDARD.encode(&row.bytes)),
            };
            let line = json!({"dataset": input.dataset, "file": input.shown(), "line": row.line, "reason": reason, name: raw});
            lines.push_str(&line.to_string());
            lines.push('\n');
        }
        self.append(lines.as_bytes()).map_err(|error| {
            CliError::failed(
                format!("cannot write rejected rows to {}", self.path.display()),
                "use another --state",
            )
            .caused_by(error)
        })
    }

    fn append(&mut self, lines: &[u8]) -> std::io::Result<()> {
        let file = match &mut self.file {
            Some(file) => file,
            none => none.insert(atomic_file::open_private(OpenOptions::new().append(true), &self.path)?),
        };
        file.write_all(lines)?;
        file.sync_data()
    }
}
