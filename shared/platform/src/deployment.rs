//! What is deployed: the contracts and queries that a function uses, and that it takes over while it is warm.
//!
//! `PINLAKE_DATASETS` and `PINLAKE_QUERIES` name a folder, or the releases of a lake, `s3://<lake>/releases`. Of releases, a
//! warm function takes over the one that is in use: it looks for a change at most every [`INTERVAL`], at the start of an
//! invocation, so an invocation has one catalog. What cannot be taken over leaves the function with what it has.
//!
//! Without any release, the contracts and queries that are built in are used: that is the first deployment of a stack.

use std::collections::BTreeSet;
use std::fmt::Display;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use futures::FutureExt;
use futures::future::BoxFuture;
use pinlake_env::Clock;
use pinlake_schema::{Catalog, ContractFile};

use crate::contracts::{self, CatalogError};
use crate::location::{Location, LocationError};
use crate::releases::{CurrentRelease, ReleaseError, Releases};
use crate::settings::SettingError;

/// How often a warm function looks whether another release is in use.
pub const INTERVAL: Duration = Duration::from_secs(30);
/// How long an invocation waits for the pointer, which has less than a KB.
const POINTER_TIMEOUT: Duration = Duration::from_secs(2);
/// How long it waits for a release.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(10);
/// Reads of the pointer that fail in a row before that counts as a problem. Less is a moment without the store.
const MAX_FAILED_READS: u32 = 3;
/// Earlier releases that a function tries when it starts and the current one is damaged.
const MAX_FALLBACKS: usize = 3;

/// Why a function does not know its contracts. It does not start.
#[derive(Debug, thiserror::Error)]
pub enum DeploymentError {
    /// A setting is invalid.
    #[error(transparent)]
    Setting(#[from] SettingError),
    /// Two settings name the releases of different lakes.
    #[error("PINLAKE_DATASETS and PINLAKE_QUERIES name the releases of different lakes: name one")]
    TwoLakes,
    /// The contracts cannot be loaded.
    #[error(transparent)]
    Catalog(#[from] CatalogError),
    /// The releases cannot be opened.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// The release in use cannot be read.
    #[error(transparent)]
    Release(#[from] ReleaseError),
}

/// What is deployed.
#[derive(Debug, Clone)]
pub struct Deployed {
    /// The release; `None` for what does not come from one.
    pub release: Option<String>,
    /// The contracts. Those with errors are broken.
    pub catalog: Arc<Catalog>,
    /// The SQL files; `None` for the built-in ones.
    pub queries: Option<Vec<(String, String)>>,
}

/// Where contracts or queries come from.
#[derive(Debug, Clone)]
enum Source {
    /// They do not change while the function is warm.
    Fixed,
    Releases,
}

/// Knows what is deployed, and finds out when that changes.
#[derive(Debug)]
pub struct Deployment {
    releases: Option<Releases>,
    datasets: Source,
    queries: Source,
    clock: Arc<dyn Clock>,
    deployed: Deployed,
    looked_at: DateTime<Utc>,
    /// The ETag of the pointer to what is deployed.
    e_tag: Option<String>,
    failed_reads: u32,
    /// Whether the release in use is not the one that is deployed here.
    is_behind: bool,
}

impl Deployment {
    /// Loads what the settings name. `with_queries` is set for the function that runs them. A release that `check` refuses
    /// counts as damaged.
    ///
    /// # Errors
    /// See [`DeploymentError`]. A contract with errors is none.
    pub async fn from_settings<E: Display>(
        with_queries: bool,
        clock: Arc<dyn Clock>,
        check: impl Fn(&Deployed) -> Result<(), E>,
    ) -> Result<Self, DeploymentError> {
        let datasets = Location::from_optional_setting("PINLAKE_DATASETS")?;
        let queries = Location::from_optional_setting("PINLAKE_QUERIES")?.filter(|_| with_queries);
        Self::open(datasets, queries, clock, check).await
    }

    /// Loads what is at these locations; `None` stands for what is built in.
    ///
    /// # Errors
    /// See [`DeploymentError`].
    pub async fn open<E: Display>(
        datasets: Option<Location>,
        queries: Option<Location>,
        clock: Arc<dyn Clock>,
        check: impl Fn(&Deployed) -> Result<(), E>,
    ) -> Result<Self, DeploymentError> {
        let of_releases = |location: &Option<Location>| location.clone().filter(Location::is_releases);
        let (in_datasets, in_queries) = (of_releases(&datasets), of_releases(&queries));
        if in_datasets.is_some() && in_queries.is_some() && in_datasets != in_queries {
            return Err(DeploymentError::TwoLakes);
        }
        let source = |of_releases: &Option<Location>| match of_releases {
            Some(_) => Source::Releases,
            None => Source::Fixed,
        };
        let (from_datasets, from_queries) = (source(&in_datasets), source(&in_queries));
        let fixed = datasets.filter(|_| in_datasets.is_none());
        let catalog = Arc::new(contracts::load_isolated(fixed.as_ref()).await?);
        let texts = match queries.filter(|_| in_queries.is_none()) {
            None => None,
            Some(location) => Some(location.read_texts("sql").await?),
        };
        let releases = match in_datasets.or(in_queries) {
            None => None,
            Some(location) => Some(Releases::new(location.open().await?)),
        };
        let mut deployment = Self {
            releases,
            datasets: from_datasets,
            queries: from_queries,
            looked_at: clock.now(),
            clock,
            deployed: Deployed { release: None, catalog, queries: texts },
            e_tag: None,
            failed_reads: 0,
            is_behind: false,
        };
        deployment.start(check).await?;
        log_broken(&deployment.deployed.catalog);
        Ok(deployment)
    }

    /// What is deployed.
    pub fn deployed(&self) -> &Deployed {
        &self.deployed
    }

    /// The contracts that are deployed.
    pub fn catalog(&self) -> Arc<Catalog> {
        self.deployed.catalog.clone()
    }

    /// How many contracts are broken, and one more if the release in use cannot be taken over: the value of the metric
    /// `contracts_broken`.
    pub fn count_problems(&self) -> usize {
        let is_unknown = self.is_behind || self.failed_reads >= MAX_FAILED_READS;
        self.deployed.catalog.broken().len() + usize::from(is_unknown)
    }

    /// Reads the release in use when the function starts. If it is damaged, the one before is used.
    async fn start<E: Display>(
        &mut self,
        check: impl Fn(&Deployed) -> Result<(), E>,
    ) -> Result<(), DeploymentError> {
        let Some(releases) = self.releases.clone() else { return Ok(()) };
        let read = releases.read_pointer().await?;
        let CurrentRelease { release, previous, .. } = &read.current;
        let mut candidates = vec![release.clone()];
        candidates.extend(previous.iter().rev().take(MAX_FALLBACKS).cloned());
        let mut first_error = None;
        for (at, id) in candidates.into_iter().enumerate() {
            let loaded =
                self.load(&releases, id.as_deref()).await.and_then(|deployed| match check(&deployed) {
                    Ok(()) => Ok(deployed),
                    Err(error) => Err(ReleaseError::Invalid(error.to_string())),
                });
            match loaded {
                Ok(deployed) => {
                    self.deployed = deployed;
                    self.is_behind = at > 0;
                    // A release that is not the one in use is looked for again.
                    self.e_tag = read.e_tag().filter(|_| at == 0).map(str::to_owned);
                    return Ok(());
                }
                Err(error) => {
                    tracing::error!(release = id.as_deref().unwrap_or("built-in"), %error, "the release in use cannot be read");
                    // The store failed: Lambda starts the function again.
                    if error.is_retryable() {
                        return Err(error.into());
                    }
                    first_error.get_or_insert(error);
                }
            }
        }
        first_error.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Looks whether another release is in use, if the last look was long enough ago. `take` derives from it what the
    /// function uses; if that fails, the function stays with what it has.
    pub fn refresh<'a, T: Send + 'a, E: Display + 'a>(
        &'a mut self,
        take: impl FnOnce(&Deployed) -> Result<T, E> + Send + 'a,
    ) -> BoxFuture<'a, Option<T>> {
        // Boxed, because the compiler cannot tell otherwise that the future of a handler is `Send`.
        self.look(take).boxed()
    }

    async fn look<T, E: Display>(&mut self, take: impl FnOnce(&Deployed) -> Result<T, E>) -> Option<T> {
        let releases = self.releases.clone()?;
        let now = self.clock.now();
        // A clock that was set back must not stop the looks.
        let is_recent = (now - self.looked_at).to_std().is_ok_and(|age| age < INTERVAL);
        if is_recent {
            return None;
        }
        self.looked_at = now;
        let read = releases.read_pointer_if_changed(self.e_tag.as_deref());
        let read = match tokio::time::timeout(POINTER_TIMEOUT, read).await {
            Ok(Ok(read)) => read,
            failed => {
                let error =
                    failed.map_or_else(|_| "no answer in time".to_owned(), |read| describe(read.err()));
                self.failed_reads = self.failed_reads.saturating_add(1);
                tracing::warn!(error, "cannot read which release is in use; the contracts stay as they are");
                return None;
            }
        };
        self.failed_reads = 0;
        let read = read?;
        if read.e_tag().is_none() && self.deployed.release.is_some() {
            tracing::error!(
                "releases/current is missing: run `pinlake release use`; the contracts stay as they are"
            );
            self.is_behind = true;
            return None;
        }
        let id = read.current.release.clone();
        let e_tag = read.e_tag().map(str::to_owned);
        if id == self.deployed.release {
            (self.e_tag, self.is_behind) = (e_tag, false);
            return None;
        }
        let loaded = tokio::time::timeout(RELEASE_TIMEOUT, self.load(&releases, id.as_deref())).await;
        let taken = match loaded {
            Ok(Ok(deployed)) => match take(&deployed) {
                Ok(taken) => Ok((deployed, taken)),
                Err(error) => Err(error.to_string()),
            },
            Ok(Err(error)) => Err(error.to_string()),
            Err(_) => Err("no answer in time".to_owned()),
        };
        let release = id.as_deref().unwrap_or("built-in");
        match taken {
            Ok((deployed, taken)) => {
                log_broken(&deployed.catalog);
                tracing::info!(release, catalog = deployed.catalog.hash(), "took over a release");
                (self.deployed, self.e_tag, self.is_behind) = (deployed, e_tag, false);
                Some(taken)
            }
            Err(error) => {
                tracing::error!(
                    release,
                    error,
                    "the release in use cannot be taken over; the contracts stay as they are"
                );
                self.is_behind = true;
                None
            }
        }
    }

    async fn load(&self, releases: &Releases, id: Option<&str>) -> Result<Deployed, ReleaseError> {
        let with_queries = matches!(self.queries, Source::Releases);
        let is_invalid = |error: CatalogError| ReleaseError::Invalid(error.to_string());
        let (catalog, queries) = match id {
            None => (Catalog::embedded().map_err(|error| is_invalid(error.into()))?, None),
            Some(id) => {
                let files = releases.read(id, with_queries).await?;
                let datasets = files.datasets.into_iter().map(|(name, text)| ContractFile {
                    name: format!("releases/{id}/datasets/{name}"),
                    content: Ok(text.into_bytes()),
                });
                let catalog = Catalog::isolate(datasets).map_err(|error| is_invalid(error.into()))?;
                (catalog, Some(files.queries))
            }
        };
        Ok(Deployed {
            release: id.map(str::to_owned),
            catalog: match self.datasets {
                Source::Releases => Arc::new(catalog),
                Source::Fixed => self.deployed.catalog.clone(),
            },
            queries: match self.queries {
                Source::Releases => queries,
                Source::Fixed => self.deployed.queries.clone(),
            },
        })
    }
}

fn describe(error: Option<ReleaseError>) -> String {
    error.map(|error| error.to_string()).unwrap_or_default()
}

/// Logs each broken contract with its file and line.
fn log_broken(catalog: &Catalog) {
    let mut seen = BTreeSet::new();
    for broken in catalog.broken() {
        for error in &broken.errors {
            let (file, line) = (error.file.as_str(), error.line);
            if seen.insert((file, line)) {
                let (dataset, problem, help) = (broken.dataset.as_deref(), &error.problem, &error.help);
                tracing::error!(dataset, file, line, problem, help, "broken contract");
            }
        }
    }
}

#[cfg(test)]
mod tests;
