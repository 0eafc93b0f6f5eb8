//! Runs seeds and prints the trace of a failing one.

#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

use std::collections::{BTreeMap, BTreeSet};
use std::process::ExitCode;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use clap::Parser;
use pinlake_simulator::fault::Fault;
use pinlake_simulator::provoke::CASES;
use pinlake_simulator::trace::{Report, Violation};

/// Runs pinlake over simulated services that fail.
#[derive(Debug, Parser)]
struct Arguments {
    /// Run only this seed and print its trace.
    #[arg(long)]
    seed: Option<u64>,
    /// Number of seeds.
    #[arg(long, default_value_t = 10_000)]
    seeds: u64,
    /// First seed.
    #[arg(long, default_value_t = 0)]
    from: u64,
    /// Run seeds for this many seconds instead.
    #[arg(long)]
    seconds: Option<u64>,
    /// Run each mutation with this many seeds and print how many fail.
    #[arg(long)]
    safeguards: Option<u64>,
    /// Run only this mutation.
    #[arg(long, requires = "safeguards")]
    only: Option<String>,
    /// Threads; the default is the number of processors.
    #[arg(long)]
    threads: Option<usize>,
}

#[derive(Default)]
struct Total {
    seeds: u64,
    events: u64,
    failed: BTreeMap<u64, (Violation, String)>,
    faults: BTreeMap<(Fault, &'static str), u64>,
    counters: BTreeMap<&'static str, u64>,
}

impl Total {
    fn add(&mut self, seed: u64, report: &Report) {
        self.seeds += 1;
        self.events += report.events.len() as u64;
        if let Some(broken) = report.violations.first() {
            self.failed.insert(seed, broken.clone());
        }
        for (fault, count) in &report.faults {
            *self.faults.entry(*fault).or_default() += count;
        }
        for (what, count) in &report.counters {
            *self.counters.entry(what).or_default() += count;
        }
    }

    fn report(&self, took: Duration) {
        println!("{} seeds in {:.1} s, {} events", self.seeds, took.as_secs_f64(), self.events);
        let injected: u64 = self.faults.values().sum();
        println!("{injected} faults at {} points:", self.faults.len());
        for (fault, _) in Fault::ALL {
            let points: Vec<String> = self
                .faults
                .iter()
                .filter(|((of, _), _)| of == fault)
                .map(|((_, place), count)| format!("{place} {count}"))
                .collect();
            let sum: u64 =
                self.faults.iter().filter(|((of, _), _)| of == fault).map(|(_, count)| count).sum();
            let name = format!("{fault:?}");
            println!(
                "  {name:<22} {sum:>8}  {}",
                if points.is_empty() { "NEVER".to_owned() } else { points.join(", ") }
            );
        }
        for (what, count) in &self.counters {
            println!("  {what:<22} {count:>8}");
        }
    }
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match (arguments.seed, arguments.safeguards) {
        (Some(seed), _) => run_seed(seed),
        (None, Some(worlds)) => test_safeguards(worlds, arguments.only.as_deref()),
        (None, None) => run_seeds(&arguments),
    }
}

fn run_seed(seed: u64) -> ExitCode {
    let run = pinlake_simulator::run(seed);
    print!("{}", run.report);
    println!("seed {seed}, fingerprint {}", run.report.fingerprint());
    for (what, how) in &run.report.violations {
        println!("BROKEN {what:?}: {how}");
    }
    if run.report.violations.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE }
}

/// Prints the table of mutations of docs/faults.md.
fn test_safeguards(worlds: u64, only: Option<&str>) -> ExitCode {
    let next = AtomicUsize::new(0);
    let rows = Mutex::new(BTreeMap::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let at = next.fetch_add(1, Ordering::SeqCst);
                    let Some(case) = CASES.get(at) else { return };
                    if only.is_some_and(|only| format!("{:?}", case.mutation) != only) {
                        continue;
                    }
                    let (mut held, mut broken, mut kinds) = (0, 0, BTreeMap::<Violation, u64>::new());
                    for seed in 0..worlds {
                        let whole = pinlake_simulator::run_scenario(seed, case.configure);
                        held += u64::from(whole.report.violations.is_empty());
                        if let Some((what, how)) = whole.report.violations.first() {
                            eprintln!(
                                "{:?}, seed {seed}, without the mutation: {what:?}: {how}",
                                case.mutation
                            );
                        }
                        let run = pinlake_simulator::run_scenario(seed, |scenario| {
                            (case.configure)(scenario);
                            scenario.mutation = Some(case.mutation);
                        });
                        if let Some((what, _)) = run.report.violations.first() {
                            broken += 1;
                            *kinds.entry(*what).or_default() += 1;
                        }
                    }
                    let kinds: Vec<String> =
                        kinds.iter().map(|(what, count)| format!("{what:?} {count}")).collect();
                    let row = format!(
                        "| {} | `{:?}` | {held} of {worlds} | {broken} of {worlds} | {} |",
                        case.safeguard,
                        case.mutation,
                        kinds.join(", ")
                    );
                    eprintln!("{row}");
                    rows.lock().unwrap_or_else(PoisonError::into_inner).insert(at, row);
                }
            });
        }
    });
    for row in rows.into_inner().unwrap_or_else(PoisonError::into_inner).values() {
        println!("{row}");
    }
    ExitCode::SUCCESS
}

fn run_seeds(arguments: &Arguments) -> ExitCode {
    let threads = arguments.threads.or_else(|| std::thread::available_parallelism().ok().map(usize::from));
    let (next, total) = (AtomicU64::new(arguments.from), Mutex::new(Total::default()));
    let end =
        arguments.from.saturating_add(if arguments.seconds.is_some() { u64::MAX } else { arguments.seeds });
    #[allow(clippy::disallowed_methods, reason = "measures real time, not virtual time")]
    let begun = std::time::Instant::now();
    let over =
        |seed| seed >= end || arguments.seconds.is_some_and(|seconds| begun.elapsed().as_secs() >= seconds);
    std::thread::scope(|scope| {
        for _ in 0..threads.unwrap_or(1) {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::SeqCst);
                    if over(seed) {
                        return;
                    }
                    let run = pinlake_simulator::run(seed);
                    let mut total = total.lock().unwrap_or_else(PoisonError::into_inner);
                    total.add(seed, &run.report);
                    if let Some((what, how)) = run.report.violations.first() {
                        eprintln!("seed {seed}: {what:?}: {how}");
                    }
                }
            });
        }
    });
    let total = total.into_inner().unwrap_or_else(PoisonError::into_inner);
    total.report(begun.elapsed());
    let Some(seed) = total.failed.keys().next() else {
        println!("all held");
        return ExitCode::SUCCESS;
    };
    let kinds: BTreeSet<Violation> = total.failed.values().map(|(what, _)| *what).collect();
    println!("{} seeds FAILED: {kinds:?}", total.failed.len());
    println!("the trace of the first: make sim SEED={seed}");
    ExitCode::FAILURE
}
