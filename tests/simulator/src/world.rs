//! What all parts of a world share: time, dice, the story, the store's contents, and who was promised what.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use object_store::memory::InMemory;
use pinlake_effects::{Chance, Clock, Effects};
use tokio::time::Instant;

use crate::contracts::Release;
use crate::dice::Dice;
use crate::fault::{Fault, Rates};
use crate::ledger::Ledger;
use crate::sabotage::Sabotage;
use crate::story::{Broken, Story};
use crate::witness::Witness;

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
    /// Milliseconds that a compactor may go on.
    pub patience: u64,
    /// How often all datasets are swept; `None`: never.
    pub sweep: Option<Duration>,
    /// How long the world may take to drain once all faults have stopped.
    pub drains_within: Duration,
    /// Releases, and when they are deployed.
    pub deploys: Vec<(Duration, Release)>,
    /// When somebody has quarantined records cleaned again.
    pub redrives: Vec<Duration>,
    /// Of a thousand records of `page`, how many one release takes and the others quarantine.
    pub wavering: u64,
    /// How old a record may be when the event source still delivers it.
    pub record_age: Option<Duration>,
    /// Whether the stream has another producer, who writes what he likes.
    pub stranger: bool,
    /// Whether every row is a new one of one dataset, so that its table has many commits.
    pub long: bool,
    /// The safeguard that is gone.
    pub sabotage: Option<Sabotage>,
}

impl Plan {
    /// The plan of a seed.
    pub fn drawn(dice: &Dice) -> Self {
        let sweep = if dice.chance(300) { dice.between(3, 30) } else { dice.between(60, 900) };
        let sweep = Duration::from_secs(sweep);
        let times = if dice.chance(350) { dice.between(1, 3) } else { 0 };
        let mut deploys: Vec<(Duration, Release)> = (0..times)
            .map(|_| {
                let releases = [Release::First, Release::Recleaned, Release::Lenient, Release::Withdrawn];
                let release = releases[dice.index(releases.len())];
                (dice.millis(1_000, 60_000), release)
            })
            .collect();
        deploys.sort_by_key(|(at, _)| *at);
        let times = if dice.chance(250) { dice.between(1, 3) } else { 0 };
        let mut redrives: Vec<Duration> = (0..times).map(|_| dice.millis(1_000, 90_000)).collect();
        redrives.sort();
        let mut plan = Self {
            rates: Rates::drawn(dice),
            clients: dice.between(1, 3),
            requests: dice.between(1, 3),
            rows: dice.between(1, 8),
            shards: dice.between(1, 2),
            batch: dice.between(1, 6),
            retries: 20,
            compactors: dice.between(1, 3),
            take: [1, 1, 2, 4, 100][dice.index(5)],
            patience: [0, 0, 200, 5_000, 60_000][dice.index(5)],
            sweep: Some(sweep),
            // A message may be hidden for as long as its visibility lasts, and be taken by a sweep after that.
            drains_within: sweep * 4 + Duration::from_secs(1_800),
            deploys,
            redrives,
            wavering: dice.between(0, 800),
            record_age: dice.chance(60).then(|| Duration::from_secs(dice.between(20, 120))),
            stranger: dice.chance(400),
            sabotage: None,
            long: false,
        };
        if dice.chance(100) {
            plan.retries = u32::try_from(dice.between(0, 2)).unwrap_or(0);
        }
        if dice.chance(4) {
            // Enough commits for files to be merged and a checkpoint to be made.
            plan.long = true;
            (plan.clients, plan.requests, plan.rows, plan.batch, plan.take) = (2, 60, 1, 1, 1);
        }
        plan
    }
}

/// A world.
#[derive(Debug)]
pub struct World {
    /// Its chance.
    pub dice: Dice,
    /// Its layout.
    pub plan: Plan,
    /// What happens in it.
    pub story: Story,
    /// What S3 holds.
    pub memory: InMemory,
    /// Who was promised what.
    pub ledger: Ledger,
    witness: Mutex<Witness>,
    release: Mutex<Release>,
    healed: AtomicBool,
    /// Puts, notifications and calls that are still on their way.
    under_way: AtomicUsize,
    begun: Instant,
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

/// Held while something is on its way.
pub struct UnderWay(Arc<World>);

impl Drop for UnderWay {
    fn drop(&mut self) {
        self.0.under_way.fetch_sub(1, Ordering::SeqCst);
    }
}

impl World {
    /// A new world. Needs a paused runtime.
    pub fn new(dice: Dice, plan: Plan) -> Arc<Self> {
        Arc::new(Self {
            dice,
            plan,
            story: Story::default(),
            memory: InMemory::new(),
            ledger: Ledger::default(),
            witness: Mutex::default(),
            release: Mutex::new(Release::First),
            healed: AtomicBool::new(false),
            under_way: AtomicUsize::new(0),
            begun: Instant::now(),
        })
    }

    /// Virtual time since the beginning.
    pub fn time(&self) -> Duration {
        self.begun.elapsed()
    }

    /// The world's clock, and chance of its own for a process.
    pub fn effects(&self) -> Effects {
        Effects {
            clock: Arc::new(WorldClock(self.begun)),
            chance: Arc::new(Chance::seeded(self.dice.seed())),
        }
    }

    /// What time it is.
    pub fn now(&self) -> DateTime<Utc> {
        WorldClock(self.begun).now()
    }

    /// Adds an event to the story.
    pub fn tell(&self, event: impl FnOnce() -> String) {
        self.story.tell(self.time(), event());
    }

    /// An invariant did not hold.
    pub fn broke(&self, what: Broken, how: String) {
        self.story.broke(self.time(), what, how);
    }

    /// Whether a fault strikes here and now; if so it is told and counted.
    pub fn strikes(&self, fault: Fault, place: &'static str) -> bool {
        let rate = self.plan.rates.of(fault);
        let strikes = rate > 0 && !self.is_healed() && self.dice.chance(rate);
        if strikes {
            self.story.struck(fault, place);
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
    pub fn lacks(&self, sabotage: Sabotage) -> bool {
        self.plan.sabotage == Some(sabotage)
    }

    /// The release that is deployed.
    pub fn release(&self) -> Release {
        *lock(&self.release)
    }

    /// Deploys a release.
    pub fn deploy(&self, release: Release) {
        self.tell(|| format!("release {release:?} is deployed"));
        self.story.reached("deploys");
        *lock(&self.release) = release;
    }

    /// Who watches what lands.
    pub fn witness(&self) -> MutexGuard<'_, Witness> {
        lock(&self.witness)
    }

    /// Something is on its way until the guard is dropped.
    pub fn under_way(self: &Arc<Self>) -> UnderWay {
        self.under_way.fetch_add(1, Ordering::SeqCst);
        UnderWay(self.clone())
    }

    /// Whether nothing is on its way.
    pub fn is_still(&self) -> bool {
        self.under_way.load(Ordering::SeqCst) == 0
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
