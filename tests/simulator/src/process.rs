//! Processes of functions. An invocation ends by itself, at its time limit, or when the process is killed.

use std::future::Future;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;

use crate::fault::Fault;
use crate::world::World;

/// One process. Lambda reuses it for further invocations until it is killed.
#[derive(Debug)]
pub struct Process {
    name: &'static str,
    /// Requests until it is killed; negative: it is not killed.
    left: AtomicI64,
    killed: Notify,
    /// Start of the last invocation, in milliseconds.
    since: AtomicU64,
}

impl Process {
    /// Creates a process of a function.
    pub fn new(name: &'static str) -> Arc<Self> {
        Arc::new(Self { name, left: AtomicI64::new(-1), killed: Notify::new(), since: AtomicU64::new(0) })
    }

    /// The name of the function.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// The start of the last invocation.
    pub fn invocation_start(&self) -> Duration {
        Duration::from_millis(self.since.load(Ordering::SeqCst))
    }

    /// Counts the start or the end of a request, and stops for ever if the process is killed there. Only at these points
    /// can other parts observe that it was killed.
    pub async fn count_request(&self) {
        let left = self.left.load(Ordering::SeqCst);
        if left < 0 {
            return;
        }
        self.left.store(left - 1, Ordering::SeqCst);
        if left == 0 {
            self.killed.notify_one();
            std::future::pending::<()>().await;
        }
    }

    /// Runs one invocation. `None`: the process was killed or its response lost.
    pub async fn invoke<T>(
        &self,
        world: &World,
        limit: Duration,
        work: impl Future<Output = T>,
    ) -> Option<T> {
        let requests = world.draw_fault(Fault::KilledAtRequest, self.name);
        let left = if requests { i64::try_from(world.rng.between(0, 40)).unwrap_or(0) } else { -1 };
        self.left.store(left, Ordering::SeqCst);
        let since = u64::try_from(world.time().as_millis()).unwrap_or(u64::MAX);
        self.since.store(since, Ordering::SeqCst);
        let _invoked = world.begin_invocation();
        let moment = if world.draw_fault(Fault::KilledAtMoment, self.name) {
            world.rng.millis(0, 4_000)
        } else {
            limit
        };
        tokio::select! {
            biased;
            () = self.killed.notified() => {
                world.log(|| format!("{} is killed at a request", self.name));
                None
            }
            done = tokio::time::timeout(moment, work) => {
                self.left.store(-1, Ordering::SeqCst);
                match done {
                    Err(_) => {
                        world.log(|| format!("{} is cut off after {moment:?}", self.name));
                        world.trace.count(if moment == limit { "time limits" } else { "kills at any time" });
                        None
                    }
                    Ok(_) if world.draw_fault(Fault::FunctionAnswerLost, self.name) => None,
                    Ok(done) => Some(done),
                }
            }
        }
    }
}
