//! What all parts of a world share: time, rng, the trace, the store's contents, and who was promised what.

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
use pinlake_landing::drain::Bounds;
use pinlake_platform::api_keys::{self, ApiKeys};
use tokio::time::Instant;

use crate::contracts::{self, Release};
use crate::fault::{Fault, Rates};
use crate::files::{FilePlan, LAKE};
use crate::foreign::Interference;
use crate::invariants::InvariantChecker;
use crate::ledger::{Content, Ledger};
use crate::mutation::Mutation;
use crate::rng::SimRng;
use crate::trace::{Broken, Trace};

/// How a world is laid out; drawn from the seed unless a test says otherwise.
#[derive(Debug, Clone)]
pub struct Plan {
    /// How often each fault strikes.
    pub rates: Rates,
    /// Clients that post one after another.
    pub clients: u64,
    /// Requests of each client, at most.
    pub requests: u64,
    /// Rows of a request, at most.
    pub rows: u64,
    /// Shards at the beginning.
    pub shards: u64,
    /// Records in a batch for the cleaner, at most.
    pub batch: u64,
    /// How often the event source tries a batch again.
    pub retries: u32,
    /// Compactors at a time.
    pub compactors: u64,
    /// Landing objects a commit.
    pub take: usize,
    /// Bytes in memory of a commit's rows; the object that goes beyond is the last one.
    pub row_bytes: usize,
    /// Bytes of keys that a warm compactor keeps.
    pub key_bytes: usize,
    /// When tables are tidied up.
    pub maintenance: MaintenancePolicy,
    /// In which steps files are read.
    pub steps: Steps,
    /// Milliseconds that a compactor may go on.
    pub patience: u64,
    /// How often all datasets are swept; `None`: never.
    pub sweep: Option<Duration>,
    /// How long the world may take to drain once all faults have stopped.
    pub drains_within: Duration,
    /// CatalogHistory, and when they are deployed.
    pub deploys: Vec<(Duration, Release)>,
    /// When somebody has quarantined records cleaned again.
    pub redrives: Vec<Duration>,
    /// Of a thousand records of `page`, how many one release takes and the others quarantine.
    pub wavering: u64,
    /// How old a record may be when the event source still delivers it.
    pub record_age: Option<Duration>,
    /// Whether the stream has another producer, who writes what he likes.
    pub stranger: bool,
    /// Records that come over a topic of Kafka.
    pub topic: u64,
    /// API keys that clients have; none: whoever knows the URL may post.
    pub callers: u64,
    /// Of a thousand requests, how many are named by an Idempotency-Key that others use as well.
    pub shared_keys: u64,
    /// Files in the inbox and in another bucket.
    pub files: FilePlan,
    /// What other programs do to the tables, and when.
    pub interferences: Vec<(Duration, Interference)>,
    /// Whoever reads tables: so many of them, again and again.
    pub readers: u64,
    /// When operators come who recover what was left on the way, two of them each time.
    pub operators: Vec<Duration>,
    /// How much is looked at when somebody asks whether the pipeline is drained.
    pub bounds: Bounds,
    /// Whether S3 lists a few objects a page, each page of the moment at which it is asked for.
    pub paged: bool,
    /// How long after a deploy each function still runs the release before it, in the order of [`Function`].
    pub lags: [Duration; 4],
    /// Whether every row is a new one of one dataset, so that its table has many commits.
    pub long: bool,
    /// The safeguard that is gone.
    pub mutation: Option<Mutation>,
}

impl Plan {
    /// The plan of a seed.
    pub fn drawn(rng: &SimRng) -> Self {
        let sweep = if rng.chance(300) { rng.between(3, 30) } else { rng.between(60, 900) };
        let sweep = Duration::from_secs(sweep);
        let deploys = drawn_deploys(rng);
        let times = if rng.chance(250) { rng.between(1, 3) } else { 0 };
        let mut redrives: Vec<Duration> = (0..times).map(|_| rng.millis(1_000, 90_000)).collect();
        redrives.sort();
        let mut plan = Self {
            rates: Rates::drawn(rng),
            clients: rng.between(1, 3),
            requests: rng.between(1, 3),
            rows: rng.between(1, 8),
            shards: rng.between(1, 2),
            batch: rng.between(1, 6),
            retries: 20,
            compactors: rng.between(1, 3),
            take: [1, 1, 2, 4, 100][rng.index(5)],
            row_bytes: [1, 2_000, 256 << 20, 256 << 20][rng.index(4)],
            key_bytes: [0, 64, 40 << 20][rng.index(3)],
            maintenance: drawn_upkeep(rng),
            steps: drawn_steps(rng),
            patience: [0, 0, 200, 5_000, 60_000][rng.index(5)],
            sweep: Some(sweep),
            // A message may be hidden for as long as its visibility lasts, and be taken by a sweep after that.
            drains_within: sweep * 4 + Duration::from_secs(1_800),
            deploys,
            redrives,
            wavering: rng.between(0, 800),
            record_age: rng.chance(60).then(|| Duration::from_secs(rng.between(20, 120))),
            stranger: rng.chance(400),
            topic: if rng.chance(250) { rng.between(1, 8) } else { 0 },
            callers: if rng.chance(400) { rng.between(1, 2) } else { 0 },
            shared_keys: if rng.chance(300) { rng.between(1, 700) } else { 0 },
            files: FilePlan::drawn(rng),
            interferences: Interference::drawn(rng),
            readers: if rng.chance(400) { rng.between(1, 2) } else { 0 },
            operators: Vec::new(),
            bounds: drawn_bounds(rng),
            paged: rng.chance(300),
            lags: [Duration::ZERO; 4],
            mutation: None,
            long: false,
        };
        if rng.chance(150) {
            plan.operators = (0..rng.between(1, 2)).map(|_| rng.millis(1_000, 90_000)).collect();
            plan.operators.sort();
        }
        if rng.chance(300) {
            plan.lags = std::array::from_fn(|_| rng.millis(0, 30_000));
        }
        if rng.chance(100) {
            plan.retries = u32::try_from(rng.between(0, 2)).unwrap_or(0);
        }
        if rng.chance(4) {
            // Enough commits for files to be merged and a checkpoint to be made.
            plan.long = true;
            (plan.clients, plan.requests, plan.rows, plan.batch, plan.take) = (2, 60, 1, 1, 1);
            plan.paged = false;
        }
        plan
    }
}

/// Bounds that a world of a few dozen objects reaches, or those of a real lake.
fn drawn_bounds(rng: &SimRng) -> Bounds {
    if !rng.chance(400) {
        return Bounds::default();
    }
    let few = || usize::try_from(rng.between(1, 6)).unwrap_or(1);
    Bounds { landing: few(), failed: few(), discarded: few(), batches_read: few() - 1, ..Bounds::default() }
}

/// Often enough for a world of a few commits, or as in a real lake.
fn drawn_upkeep(rng: &SimRng) -> MaintenancePolicy {
    let usual = MaintenancePolicy::default();
    MaintenancePolicy {
        checkpoint_every: if rng.chance(300) { rng.between(1, 5) } else { usual.checkpoint_every },
        min_files_to_merge: if rng.chance(300) { 2 + rng.index(4) } else { usual.min_files_to_merge },
    }
}

/// So small that a file of a few records takes several slices and invocations, or as in a real lake.
fn drawn_steps(rng: &SimRng) -> Steps {
    if rng.chance(500) { Steps::default() } else { Steps { slice_bytes: 1, look_cost: 1, least_cost: 1 } }
}

/// CatalogHistory and when they are deployed. One that a table refuses is always taken back.
fn drawn_deploys(rng: &SimRng) -> Vec<(Duration, Release)> {
    let times = if rng.chance(400) { rng.between(1, 3) } else { 0 };
    let mut deploys = Vec::new();
    for _ in 0..times {
        let (at, release) = (rng.millis(1_000, 60_000), Release::ALL[rng.index(Release::ALL.len())]);
        deploys.push((at, release));
    }
    deploys.sort_by_key(|(at, _)| *at);
    if let Some((at, Release::Rekeyed)) = deploys.last() {
        deploys.push((*at + rng.millis(1_000, 40_000), Release::First));
    }
    deploys
}

/// Who runs a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Function {
    /// Takes requests.
    Ingest,
    /// Cleans.
    Cleaner,
    /// Commits.
    Compactor,
    /// A person at a command line, whose contracts may be older ones too.
    Operator,
}

/// A world.
#[derive(Debug)]
pub struct World {
    /// Its rng.
    pub rng: SimRng,
    /// Its layout.
    pub plan: Plan,
    /// What happens in it.
    pub trace: Trace,
    /// What the lake's bucket holds.
    pub memory: Arc<InMemory>,
    /// What the other bucket holds.
    pub sink: Arc<InMemory>,
    /// ETag and time of objects, where they count: S3's, not the memory's.
    stamps: Mutex<BTreeMap<(&'static str, Path), Stamp>>,
    /// What the records of the other bucket's objects say, by key.
    sunk: Mutex<BTreeMap<String, Vec<Content>>>,
    /// What other programs' hints of checkpoints point to, by dataset.
    hints: Mutex<BTreeMap<String, u64>>,
    /// API keys of the clients, if they have any.
    pub keys: Option<ApiKeys>,
    /// Who was promised what.
    pub ledger: Ledger,
    invariants: Mutex<InvariantChecker>,
    catalog_history: Mutex<Vec<(Duration, Release)>>,
    healed: AtomicBool,
    under_way: Mutex<OnTheWay>,
    /// Files of the inbox that are about to be removed, and since when.
    leaving: Mutex<BTreeMap<String, Duration>>,
    begun: Instant,
}

/// An object's ETag and when it was put.
#[derive(Debug, Clone)]
pub struct Stamp {
    /// Of its bytes.
    pub etag: String,
    /// When.
    pub at: DateTime<Utc>,
    /// The same since the beginning.
    pub time: Duration,
}

/// The API key of a caller.
pub fn api_key(caller: u64) -> String {
    format!("plk_{caller}")
}

/// What time it is in the world: it begins on a day in 2022.
#[derive(Debug)]
struct WorldClock(Instant);

impl Clock for WorldClock {
    fn now(&self) -> DateTime<Utc> {
        let begin = DateTime::from_timestamp(1_666_180_800, 0).unwrap_or_default();
        begin + TimeDelta::from_std(self.0.elapsed()).unwrap_or_default()
    }
}

/// Puts, notifications, calls and invocations that are not over yet, and when each began.
#[derive(Debug, Default)]
struct OnTheWay {
    next: u64,
    /// Those without which the world has not come to rest.
    work: BTreeMap<u64, Duration>,
    invocations: BTreeMap<u64, Duration>,
}

/// Held while something is on its way.
pub struct UnderWay(Arc<World>, u64);

impl Drop for UnderWay {
    fn drop(&mut self) {
        lock(&self.0.under_way).work.remove(&self.1);
    }
}

/// Held while an invocation lasts.
pub struct Invoked<'a>(&'a World, u64);

impl Drop for Invoked<'_> {
    fn drop(&mut self) {
        lock(&self.0.under_way).invocations.remove(&self.1);
    }
}

impl World {
    /// A new world. Needs a paused runtime.
    pub fn new(rng: SimRng, plan: Plan) -> Arc<Self> {
        let keys = (plan.callers > 0).then(|| {
            let entries: Vec<String> = (0..plan.callers)
                .map(|caller| api_keys::entry(&format!("caller-{caller}"), &api_key(caller), &[]))
                .collect();
            let catalog = contracts::catalog(Release::First);
            ApiKeys::parse(&entries.join(","), &catalog).unwrap_or_default()
        });
        Arc::new(Self {
            rng,
            plan,
            trace: Trace::default(),
            memory: Arc::default(),
            sink: Arc::default(),
            stamps: Mutex::default(),
            sunk: Mutex::default(),
            hints: Mutex::default(),
            keys,
            ledger: Ledger::default(),
            invariants: Mutex::default(),
            catalog_history: Mutex::new(vec![(Duration::ZERO, Release::First)]),
            healed: AtomicBool::new(false),
            under_way: Mutex::default(),
            leaving: Mutex::default(),
            begun: Instant::now(),
        })
    }

    /// Virtual time since the beginning.
    pub fn time(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The world's clock, and rng of its own for a process.
    pub fn effects(&self) -> Env {
        Env { clock: Arc::new(WorldClock(self.begun)), rng: Arc::new(Rng::seeded(self.rng.seed())) }
    }

    /// What time it is.
    pub fn now(&self) -> DateTime<Utc> {
        WorldClock(self.begun).now()
    }

    /// Adds an event to the trace.
    pub fn tell(&self, event: impl FnOnce() -> String) {
        self.trace.tell(self.time(), event());
    }

    /// An invariant did not hold.
    pub fn broke(&self, what: Broken, how: String) {
        self.trace.broke(self.time(), what, how);
    }

    /// Whether a fault strikes here and now; if so it is told and counted.
    pub fn strikes(&self, fault: Fault, place: &'static str) -> bool {
        let rate = self.plan.rates.of(fault);
        let strikes = rate > 0 && !self.is_healed() && self.rng.chance(rate);
        if strikes {
            self.trace.struck(fault, place);
            self.tell(|| format!("fault: {fault:?} at {place}"));
        }
        strikes
    }

    /// Stops all faults.
    pub fn heal(&self) {
        self.tell(|| "all faults stop".to_owned());
        self.healed.store(true, Ordering::SeqCst);
    }

    /// Whether faults have stopped.
    pub fn is_healed(&self) -> bool {
        self.healed.load(Ordering::SeqCst)
    }

    /// Whether this safeguard is gone.
    pub fn lacks(&self, mutation: Mutation) -> bool {
        self.plan.mutation == Some(mutation)
    }

    /// The release that a function runs: the one that is deployed, or for a while the one before it.
    pub fn release(&self, function: Function) -> Release {
        let at = self.time().saturating_sub(self.plan.lags[function as usize]);
        let catalog_history = lock(&self.catalog_history);
        let newest = catalog_history.last().map(|(_, release)| *release);
        let runs = catalog_history.iter().rev().find(|(since, _)| *since <= at).map(|(_, release)| *release);
        if runs != newest {
            self.trace.reached("lagging functions");
        }
        runs.unwrap_or(Release::First)
    }

    /// Deploys a release.
    pub fn deploy(&self, release: Release) {
        self.tell(|| format!("release {release:?} is deployed"));
        self.trace.reached("deploys");
        lock(&self.catalog_history).push((self.time(), release));
    }

    /// Who watches what lands.
    pub fn invariants(&self) -> MutexGuard<'_, InvariantChecker> {
        lock(&self.invariants)
    }

    /// Notes that an object is put.
    pub fn stamp(&self, bucket: &'static str, path: &Path, bytes: &[u8]) {
        let etag = format!("\"{}\"", &blake3::hash(bytes).to_hex()[..32]);
        let stamp = Stamp { etag, at: self.now(), time: self.time() };
        lock(&self.stamps).insert((bucket, path.clone()), stamp);
    }

    /// What was noted of an object.
    pub fn stamp_of(&self, bucket: &'static str, path: &Path) -> Option<Stamp> {
        lock(&self.stamps).get(&(bucket, path.clone())).cloned()
    }

    /// Somebody puts an object into the other bucket.
    pub fn sink_holds(&self, key: &str, contents: Vec<Content>) {
        lock(&self.sunk).insert(key.to_owned(), contents);
    }

    /// What the other bucket holds.
    pub fn sunk(&self) -> BTreeMap<String, Vec<Content>> {
        lock(&self.sunk).clone()
    }

    /// Another program has written the hint of a checkpoint.
    pub fn hint(&self, dataset: &str, version: u64) {
        lock(&self.hints).insert(dataset.to_owned(), version);
    }

    /// What the hints point to, by dataset.
    pub fn hints(&self) -> BTreeMap<String, u64> {
        lock(&self.hints).clone()
    }

    /// An object is gone.
    pub fn forget(&self, path: &Path) {
        lock(&self.stamps).remove(&(LAKE, path.clone()));
    }

    /// Whether a landing object was moved to `failed/`: it is there.
    pub fn move_to_failed(&self, path: &Path) -> bool {
        let aside = Path::from_iter(["failed"].into_iter().map(Into::into).chain(path.parts()));
        let is_there = self.stamp_of(LAKE, &aside).is_some();
        if is_there {
            self.trace.reached("objects set aside");
        }
        is_there
    }

    /// Something is on its way until the guard is dropped.
    pub fn under_way(self: &Arc<Self>) -> UnderWay {
        self.under_way_since(Duration::MAX)
    }

    /// The same for a put that rests on what was known at `since`.
    pub fn under_way_since(self: &Arc<Self>, since: Duration) -> UnderWay {
        let mut under_way = lock(&self.under_way);
        under_way.next += 1;
        let id = under_way.next;
        under_way.work.insert(id, since);
        UnderWay(self.clone(), id)
    }

    /// An invocation begins; it ends when the guard is dropped.
    pub fn invoked(&self) -> Invoked<'_> {
        let mut under_way = lock(&self.under_way);
        under_way.next += 1;
        let id = under_way.next;
        under_way.invocations.insert(id, self.time());
        Invoked(self, id)
    }

    /// When the oldest invocation began that is not over, or has left a put on its way: none knows less than was so then.
    pub fn oldest_under_way(&self) -> Duration {
        let under_way = lock(&self.under_way);
        let begun = under_way.work.values().chain(under_way.invocations.values());
        begun.copied().min().unwrap_or(Duration::MAX).min(self.time())
    }

    /// A file of the inbox has been copied, and is about to be removed.
    pub fn is_copied(&self, key: &str) {
        lock(&self.leaving).insert(key.to_owned(), self.time());
    }

    /// It was removed.
    pub fn is_removed(&self, key: &str) {
        lock(&self.leaving).remove(key);
    }

    /// Whether a file of the inbox is about to be removed, as far as its process is alive.
    pub fn is_leaving(&self, key: &str) -> bool {
        lock(&self.leaving).get(key).is_some_and(|at| self.time() - *at < Duration::from_secs(60))
    }

    /// Whether nothing is on its way.
    pub fn is_still(&self) -> bool {
        lock(&self.under_way).work.is_empty()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
