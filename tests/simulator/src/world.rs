//! The state that all parts of a run share: the scenario, time, randomness, trace, stores and ledger.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use compactor::files::Steps;
use object_store::memory::InMemory;
use object_store::path::Path;
use pinlake_env::{Clock, Env, Rng};
use pinlake_lake::MaintenancePolicy;
use pinlake_landing::drain::DrainLimits;
use pinlake_platform::api_keys::{self, ApiKeys};
use tokio::time::Instant;

use crate::contracts::{self, CatalogVersion};
use crate::fault::{Fault, Rates};
use crate::files::{FileScenario, LAKE};
use crate::foreign::Interference;
use crate::invariants::InvariantChecker;
use crate::ledger::{Content, Ledger};
use crate::mutation::Mutation;
use crate::rng::SimRng;
use crate::trace::{Trace, Violation};

/// The parameters of a run, drawn from the seed; a test may change them.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// Rates of the faults.
    pub rates: Rates,
    /// Number of clients.
    pub clients: u64,
    /// Maximum requests of a client.
    pub requests: u64,
    /// Maximum rows of a request.
    pub rows: u64,
    /// Shards at the start.
    pub shards: u64,
    /// Maximum records in a batch of the cleaner.
    pub batch: u64,
    /// Maximum retries of a batch by the event source; `None`, as in template.yaml: until the batch is too old.
    pub retries: Option<u32>,
    /// Concurrent compactors.
    pub compactors: u64,
    /// Maximum landing objects of a commit.
    pub max_objects: usize,
    /// Maximum bytes of a commit's rows; the object that exceeds it is the last one.
    pub row_bytes: usize,
    /// Size of a compactor's key cache in bytes.
    pub key_bytes: usize,
    /// When tables get checkpoints and merges.
    pub maintenance: MaintenancePolicy,
    /// The steps in which files are read.
    pub steps: Steps,
    /// Time budget of a compactor in milliseconds.
    pub time_budget: u64,
    /// Interval of the sweep; `None`: no sweep.
    pub sweep: Option<Duration>,
    /// Maximum time to drain after all faults have stopped.
    pub drains_within: Duration,
    /// Deployed catalogs and their times.
    pub deploys: Vec<(Duration, CatalogVersion)>,
    /// Times of redrives.
    pub redrives: Vec<Duration>,
    /// Per mille of the records of `page` that one catalog version accepts and the others quarantine.
    pub borderline: u64,
    /// Maximum age of a record that the event source delivers.
    pub record_age: Option<Duration>,
    /// Whether another producer writes arbitrary bytes to the stream.
    pub foreign_producer: bool,
    /// Number of records on the Kafka topic.
    pub topic: u64,
    /// Number of API keys; zero: access is anonymous.
    pub callers: u64,
    /// Per mille of the requests with an Idempotency-Key that other requests use too.
    pub shared_keys: u64,
    /// Files in the inbox and in another bucket.
    pub files: FileScenario,
    /// Actions of other programs on the tables and their times.
    pub interferences: Vec<(Duration, Interference)>,
    /// Number of orders, whose latest version is kept.
    pub orders: u64,
    /// Times of rebuilds, with their datasets.
    pub rebuilds: Vec<(Duration, &'static str)>,
    /// Number of readers of tables.
    pub readers: u64,
    /// Times at which two operators recover at once.
    pub operators: Vec<Duration>,
    /// Limits of the backlog checks.
    pub bounds: DrainLimits,
    /// Whether S3 lists in small pages, each read when it is requested.
    pub paged_listings: bool,
    /// How long each function runs the earlier catalog after a deployment, in the order of [`Function`].
    pub deploy_lags: [Duration; 4],
    /// Whether all rows are new rows of one dataset, so that its table gets many commits.
    pub has_many_commits: bool,
    /// The safeguard to remove.
    pub mutation: Option<Mutation>,
}

impl Scenario {
    /// Draws a scenario.
    pub fn random(rng: &SimRng) -> Self {
        let sweep = if rng.chance(300) { rng.between(3, 30) } else { rng.between(60, 900) };
        let sweep = Duration::from_secs(sweep);
        let deploys = random_deploys(rng);
        let times = if rng.chance(250) { rng.between(1, 3) } else { 0 };
        let mut redrives: Vec<Duration> = (0..times).map(|_| rng.millis(1_000, 90_000)).collect();
        redrives.sort();
        let mut scenario = Self {
            rates: Rates::random(rng),
            clients: rng.between(1, 3),
            requests: rng.between(1, 3),
            rows: rng.between(1, 8),
            shards: rng.between(1, 2),
            batch: rng.between(1, 6),
            retries: None,
            compactors: rng.between(1, 3),
            max_objects: [1, 1, 2, 4, 100][rng.index(5)],
            row_bytes: [1, 2_000, 256 << 20, 256 << 20][rng.index(4)],
            key_bytes: [0, 64, 40 << 20][rng.index(3)],
            maintenance: random_maintenance(rng),
            steps: random_steps(rng),
            time_budget: [0, 0, 200, 5_000, 60_000][rng.index(5)],
            sweep: Some(sweep),
            // A message can stay hidden twice for its visibility timeout, the second time because another invocation is reading
            // its object. The sweep takes its objects after that.
            drains_within: sweep * 4 + Duration::from_secs(2_700),
            deploys,
            redrives,
            borderline: rng.between(0, 800),
            record_age: rng.chance(60).then(|| Duration::from_secs(rng.between(20, 120))),
            foreign_producer: rng.chance(400),
            topic: if rng.chance(250) { rng.between(1, 8) } else { 0 },
            callers: if rng.chance(400) { rng.between(1, 2) } else { 0 },
            shared_keys: if rng.chance(300) { rng.between(1, 700) } else { 0 },
            files: FileScenario::random(rng),
            interferences: Interference::random(rng),
            orders: 0,
            rebuilds: Vec::new(),
            readers: if rng.chance(400) { rng.between(1, 2) } else { 0 },
            operators: Vec::new(),
            bounds: random_bounds(rng),
            paged_listings: rng.chance(300),
            deploy_lags: [Duration::ZERO; 4],
            mutation: None,
            has_many_commits: false,
        };
        if rng.chance(150) {
            scenario.operators = (0..rng.between(1, 2)).map(|_| rng.millis(1_000, 90_000)).collect();
            scenario.operators.sort();
        }
        if rng.chance(300) {
            scenario.deploy_lags = std::array::from_fn(|_| rng.millis(0, 30_000));
        }
        if rng.chance(100) {
            scenario.retries = u32::try_from(rng.between(0, 2)).ok();
        }
        if rng.chance(4) {
            // Enough commits for merges and a checkpoint.
            scenario.has_many_commits = true;
            (scenario.clients, scenario.requests, scenario.rows, scenario.batch, scenario.max_objects) =
                (2, 60, 1, 1, 1);
            scenario.paged_listings = false;
        }
        // Decided by what is drawn already: one draw more would change the runs of all seeds.
        let (is_undisturbed, after) =
            (scenario.interferences.is_empty(), Duration::from_millis(4_000 + 15 * scenario.borderline));
        match scenario.borderline % 3 {
            0 if is_undisturbed => {
                let is_reruled = scenario.borderline % 2 == 1;
                let version = if is_reruled { CatalogVersion::Reruled } else { CatalogVersion::Extended };
                scenario.extend_visits(after, version);
            }
            1 if is_undisturbed => scenario.keep_orders(1 + scenario.borderline % 4, after),
            2 if is_undisturbed && scenario.deploys.is_empty() => {
                scenario.rebuilds = vec![(after, "visit"), (after * 2, "click"), (after * 3, "page")];
            }
            _ => {}
        }
        scenario
    }
}

impl Scenario {
    /// Deploys [`CatalogVersion::Extended`] or [`CatalogVersion::Reruled`] this long after the other deployments. Other programs leave the
    /// tables alone: files that they write do not say of which key epoch their rows are.
    pub fn extend_visits(&mut self, after: Duration, version: CatalogVersion) {
        let last = self.deploys.last().map_or(Duration::ZERO, |(at, _)| *at);
        self.deploys.push((last + after, version));
        self.interferences.clear();
        // Enough traffic that equal rows come before and after it.
        (self.requests, self.rows) = (self.requests.max(5), self.rows.max(4));
    }
}

impl Scenario {
    /// Sends versions of this many orders, and rebuilds their table after this long. Their contract is deployed instead of others.
    pub fn keep_orders(&mut self, orders: u64, rebuilt_after: Duration) {
        self.orders = orders;
        self.rebuilds = vec![(rebuilt_after, contracts::ORDER)];
        self.deploys = vec![(Duration::ZERO, CatalogVersion::Latest)];
        self.deploy_lags = [Duration::ZERO; 4];
        self.interferences.clear();
        self.record_age = None;
    }
}

/// Draws limits that a few dozen objects reach, or those of a real lake.
fn random_bounds(rng: &SimRng) -> DrainLimits {
    if !rng.chance(400) {
        return DrainLimits::default();
    }
    let few = || usize::try_from(rng.between(1, 6)).unwrap_or(1);
    DrainLimits {
        landing: few(),
        failed: few(),
        discarded: few(),
        batches_read: few() - 1,
        ..DrainLimits::default()
    }
}

/// Draws intervals for a few commits, or those of a real lake.
fn random_maintenance(rng: &SimRng) -> MaintenancePolicy {
    let usual = MaintenancePolicy::default();
    MaintenancePolicy {
        checkpoint_every: if rng.chance(300) { rng.between(1, 5) } else { usual.checkpoint_every },
        min_files_to_merge: if rng.chance(300) { 2 + rng.index(4) } else { usual.min_files_to_merge },
    }
}

/// Draws steps so small that a file of a few records needs several slices and invocations, or those of a real lake.
fn random_steps(rng: &SimRng) -> Steps {
    if rng.chance(500) { Steps::default() } else { Steps { slice_bytes: 1, check_cost: 1, min_cost: 1 } }
}

/// Draws deployments. One that a table rejects is always reverted.
fn random_deploys(rng: &SimRng) -> Vec<(Duration, CatalogVersion)> {
    let times = if rng.chance(400) { rng.between(1, 3) } else { 0 };
    let mut deploys = Vec::new();
    for _ in 0..times {
        let (at, catalog_version) = (
            rng.millis(1_000, 60_000),
            CatalogVersion::EXCHANGEABLE[rng.index(CatalogVersion::EXCHANGEABLE.len())],
        );
        deploys.push((at, catalog_version));
    }
    deploys.sort_by_key(|(at, _)| *at);
    if let Some((at, CatalogVersion::Rekeyed)) = deploys.last() {
        deploys.push((*at + rng.millis(1_000, 40_000), CatalogVersion::First));
    }
    deploys
}

/// A program that has a catalog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Ingest.
    Ingest,
    /// The cleaner.
    Cleaner,
    /// The compactor.
    Compactor,
    /// The command line of an operator, which may have an earlier catalog too.
    Operator,
}

/// The shared state of a run.
#[derive(Debug)]
pub struct World {
    /// The source of randomness.
    pub rng: SimRng,
    /// The parameters.
    pub scenario: Scenario,
    /// The trace.
    pub trace: Trace,
    /// The bucket of the lake.
    pub memory: Arc<InMemory>,
    /// The other bucket.
    pub sink: Arc<InMemory>,
    /// ETag and time of objects as S3 has them, which differ from those of the in-memory store.
    stamps: Mutex<BTreeMap<(&'static str, Path), Stamp>>,
    /// Contents of the records in the other bucket, by key.
    sink_contents: Mutex<BTreeMap<String, Vec<Content>>>,
    /// Versions in the checkpoint hints of other programs, by dataset.
    hints: Mutex<BTreeMap<String, u64>>,
    /// API keys of the clients, if access is not anonymous.
    pub keys: Option<ApiKeys>,
    /// Sent and acknowledged records.
    pub ledger: Ledger,
    invariants: Mutex<InvariantChecker>,
    catalog_history: Mutex<Vec<(Duration, CatalogVersion)>>,
    faults_stopped: AtomicBool,
    in_progress: Mutex<InProgress>,
    /// Files of the inbox that are about to be removed, with the time.
    leaving: Mutex<BTreeMap<String, Duration>>,
    begun: Instant,
}

/// An object's ETag and when it was put.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// The ETag.
    pub etag: String,
    /// Size in bytes.
    pub size: u64,
    /// The time of the put.
    pub at: DateTime<Utc>,
    /// The time of the put since the start of the run.
    pub time: Duration,
}

/// The API key of a caller.
pub fn api_key(caller: u64) -> String {
    format!("plk_{caller}")
}

/// The virtual clock. It starts on a day in 2022.
#[derive(Debug)]
struct WorldClock(Instant);

impl Clock for WorldClock {
    fn now(&self) -> DateTime<Utc> {
        let begin = DateTime::from_timestamp(1_666_180_800, 0).unwrap_or_default();
        begin + TimeDelta::from_std(self.0.elapsed()).unwrap_or_default()
    }
}

/// Unfinished puts, notifications, calls and invocations, with their start times.
#[derive(Debug, Default)]
struct InProgress {
    next: u64,
    /// Work that keeps the run from being idle.
    work: BTreeMap<u64, Duration>,
    invocations: BTreeMap<u64, Duration>,
}

/// Marks work as in progress until it is dropped.
pub struct WorkGuard(Arc<World>, u64);

impl Drop for WorkGuard {
    fn drop(&mut self) {
        lock(&self.0.in_progress).work.remove(&self.1);
    }
}

/// Marks an invocation as running until it is dropped.
pub struct InvocationGuard<'a>(&'a World, u64);

impl Drop for InvocationGuard<'_> {
    fn drop(&mut self) {
        lock(&self.0.in_progress).invocations.remove(&self.1);
    }
}

impl World {
    /// Creates the state of a run. Needs a runtime with paused time.
    pub fn new(rng: SimRng, scenario: Scenario) -> Arc<Self> {
        let keys = (scenario.callers > 0).then(|| {
            let entries: Vec<String> = (0..scenario.callers)
                .map(|caller| api_keys::entry(&format!("caller-{caller}"), &api_key(caller), &[]))
                .collect();
            let catalog = contracts::catalog(CatalogVersion::First);
            ApiKeys::parse(&entries.join(","), &catalog).unwrap_or_default()
        });
        Arc::new(Self {
            rng,
            scenario,
            trace: Trace::default(),
            memory: Arc::default(),
            sink: Arc::default(),
            stamps: Mutex::default(),
            sink_contents: Mutex::default(),
            hints: Mutex::default(),
            keys,
            ledger: Ledger::default(),
            invariants: Mutex::default(),
            catalog_history: Mutex::new(vec![(Duration::ZERO, CatalogVersion::First)]),
            faults_stopped: AtomicBool::new(false),
            in_progress: Mutex::default(),
            leaving: Mutex::default(),
            begun: Instant::now(),
        })
    }

    /// Virtual time since the start.
    pub fn time(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The virtual clock, and a generator of its own for one process.
    pub fn env(&self) -> Env {
        Env { clock: Arc::new(WorldClock(self.begun)), rng: Arc::new(Rng::seeded(self.rng.seed())) }
    }

    /// The virtual time of day.
    pub fn now(&self) -> DateTime<Utc> {
        WorldClock(self.begun).now()
    }

    /// Adds an event to the trace.
    pub fn log(&self, event: impl FnOnce() -> String) {
        self.trace.add_event(self.time(), event());
    }

    /// Reports a violated invariant.
    pub fn report_violation(&self, what: Violation, how: String) {
        self.trace.add_violation(self.time(), what, how);
    }

    /// Draws whether a fault happens here; if so it is logged and counted.
    pub fn draw_fault(&self, fault: Fault, place: &'static str) -> bool {
        let rate = self.scenario.rates.of(fault);
        let strikes = rate > 0 && !self.has_stopped_faults() && self.rng.chance(rate);
        if strikes {
            self.trace.count_fault(fault, place);
            self.log(|| format!("fault: {fault:?} at {place}"));
        }
        strikes
    }

    /// Stops all faults.
    pub fn stop_faults(&self) {
        self.log(|| "all faults stop".to_owned());
        self.faults_stopped.store(true, Ordering::SeqCst);
    }

    /// Whether faults have stopped.
    pub fn has_stopped_faults(&self) -> bool {
        self.faults_stopped.load(Ordering::SeqCst)
    }

    /// Whether this mutation is active.
    pub fn has_mutation(&self, mutation: Mutation) -> bool {
        self.scenario.mutation == Some(mutation)
    }

    /// The catalog that a function runs: the deployed one, or for a while the one before it.
    pub fn catalog_version(&self, function: Function) -> CatalogVersion {
        let at = self.time().saturating_sub(self.scenario.deploy_lags[function as usize]);
        let catalog_history = lock(&self.catalog_history);
        let newest = catalog_history.last().map(|(_, catalog_version)| *catalog_version);
        let runs = catalog_history
            .iter()
            .rev()
            .find(|(since, _)| *since <= at)
            .map(|(_, catalog_version)| *catalog_version);
        if runs != newest {
            self.trace.count("lagging functions");
        }
        runs.unwrap_or(CatalogVersion::First)
    }

    /// Deploys a catalog.
    pub fn deploy(&self, catalog_version: CatalogVersion) {
        self.log(|| format!("catalog {catalog_version:?} is deployed"));
        self.trace.count("deploys");
        lock(&self.catalog_history).push((self.time(), catalog_version));
    }

    /// The invariant checker.
    pub fn invariants(&self) -> MutexGuard<'_, InvariantChecker> {
        lock(&self.invariants)
    }

    /// Records the ETag and the time of a put.
    pub fn stamp(&self, bucket: &'static str, path: &Path, bytes: &[u8]) {
        let etag = format!("\"{}\"", &blake3::hash(bytes).to_hex()[..32]);
        let stamp = Stamp { etag, size: bytes.len() as u64, at: self.now(), time: self.time() };
        lock(&self.stamps).insert((bucket, path.clone()), stamp);
    }

    /// The ETag and the time of an object.
    pub fn find_stamp(&self, bucket: &'static str, path: &Path) -> Option<Stamp> {
        lock(&self.stamps).get(&(bucket, path.clone())).cloned()
    }

    /// Records the contents of an object in the other bucket.
    pub fn add_sink_contents(&self, key: &str, contents: Vec<Content>) {
        lock(&self.sink_contents).insert(key.to_owned(), contents);
    }

    /// The other bucket.
    pub fn sink_contents(&self) -> BTreeMap<String, Vec<Content>> {
        lock(&self.sink_contents).clone()
    }

    /// Records that another program wrote a checkpoint hint.
    pub fn hint(&self, dataset: &str, version: u64) {
        lock(&self.hints).insert(dataset.to_owned(), version);
    }

    /// The versions in the hints, by dataset.
    pub fn hints(&self) -> BTreeMap<String, u64> {
        lock(&self.hints).clone()
    }

    /// Forgets an object that was removed.
    pub fn forget(&self, path: &Path) {
        lock(&self.stamps).remove(&(LAKE, path.clone()));
    }

    /// Whether a landing object is in `failed/`.
    pub fn is_in_failed(&self, path: &Path) -> bool {
        let aside = Path::from_iter(["failed"].into_iter().map(Into::into).chain(path.parts()));
        let is_there = self.find_stamp(LAKE, &aside).is_some();
        if is_there {
            self.trace.count("objects failed");
        }
        is_there
    }

    /// Marks work as in progress until the guard is dropped.
    pub fn begin_work(self: &Arc<Self>) -> WorkGuard {
        self.begin_work_since(Duration::MAX)
    }

    /// The same for a put that is based on the state at `since`.
    pub fn begin_work_since(self: &Arc<Self>, since: Duration) -> WorkGuard {
        let mut in_progress = lock(&self.in_progress);
        in_progress.next += 1;
        let id = in_progress.next;
        in_progress.work.insert(id, since);
        WorkGuard(self.clone(), id)
    }

    /// Starts an invocation, which ends when the guard is dropped.
    pub fn begin_invocation(&self) -> InvocationGuard<'_> {
        let mut in_progress = lock(&self.in_progress);
        in_progress.next += 1;
        let id = in_progress.next;
        in_progress.invocations.insert(id, self.time());
        InvocationGuard(self, id)
    }

    /// The start of the oldest invocation that runs or has an unfinished put. No writer knows an earlier state.
    pub fn oldest_in_progress(&self) -> Duration {
        let in_progress = lock(&self.in_progress);
        let begun = in_progress.work.values().chain(in_progress.invocations.values());
        begun.copied().min().unwrap_or(Duration::MAX).min(self.time())
    }

    /// Records that a file of the inbox was copied and is about to be removed.
    pub fn is_copied(&self, key: &str) {
        lock(&self.leaving).insert(key.to_owned(), self.time());
    }

    /// Records that it was removed.
    pub fn is_removed(&self, key: &str) {
        lock(&self.leaving).remove(key);
    }

    /// Whether a file of the inbox is about to be removed by a process that may be alive.
    pub fn is_leaving(&self, key: &str) -> bool {
        lock(&self.leaving).get(key).is_some_and(|at| self.time() - *at < Duration::from_secs(60))
    }

    /// Whether nothing is in progress.
    pub fn has_nothing_in_progress(&self) -> bool {
        lock(&self.in_progress).work.is_empty()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
