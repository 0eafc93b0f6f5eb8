//! Opens the lake and the contracts that a command line names.

use std::fmt;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use object_store::ObjectStore;
use pinlake_analytics::QuerySet;
use pinlake_env::Env;
use pinlake_lake::Lake;
use pinlake_platform::contracts;
use pinlake_platform::location::Location;
use pinlake_platform::releases::{ReleaseError, Releases};
use pinlake_schema::{Catalog, Contract};

use crate::console;
use crate::error::CliError;

/// The option `--lake`.
#[derive(Debug, Clone, clap::Args)]
pub struct LakeArg {
    /// The lake: a folder, or s3://bucket[/prefix] with AWS credentials in the environment
    #[arg(long, value_name = "DIR|s3://...", env = "PINLAKE_LAKE")]
    pub lake: String,
}

impl Deref for LakeArg {
    type Target = str;

    fn deref(&self) -> &str {
        &self.lake
    }
}

impl fmt::Display for LakeArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lake)
    }
}

/// The option `--datasets` of commands with a lake.
#[derive(Debug, Clone, clap::Args)]
pub struct DatasetsArg {
    /// Folder or s3:// prefix with contracts (TOML) [default: those of the current release of the lake]
    #[arg(long, value_name = "DIR|s3://...", env = "PINLAKE_DATASETS")]
    datasets: Option<PathBuf>,
}

impl DatasetsArg {
    /// What the option names.
    pub fn as_deref(&self) -> Option<&Path> {
        self.datasets.as_deref()
    }
}

/// Opens the store of `--lake`. A folder must exist, so that a mistyped name is not an empty lake.
pub async fn store(lake: &str) -> Result<Arc<dyn ObjectStore>, CliError> {
    if let Ok(Location::Folder(folder)) = lake.parse()
        && !folder.is_dir()
    {
        let what = format!("there is no lake {lake}");
        return Err(CliError::usage(what, "check the name; `pinlake load` creates a lake"));
    }
    create_store(lake).await
}

/// Opens the store, and creates a folder that does not exist.
async fn create_store(lake: &str) -> Result<Arc<dyn ObjectStore>, CliError> {
    let location: Location = lake.parse().map_err(|error| {
        CliError::usage(format!("--lake {lake}"), "name a folder, or s3://bucket[/prefix]").caused_by(error)
    })?;
    location.open().await.map_err(|error| {
        CliError::failed(format!("cannot open the lake {lake}"), "check its name and your permissions")
            .caused_by(error)
    })
}

/// Opens the place where the event source of the stream stores discarded batches: the root of the lake's bucket.
pub async fn destination(lake: &str, store: &Arc<dyn ObjectStore>) -> Result<Arc<dyn ObjectStore>, CliError> {
    match lake.parse() {
        Ok(Location::S3 { bucket, prefix }) if !prefix.is_empty() => {
            create_store(&format!("s3://{bucket}")).await
        }
        _ => Ok(store.clone()),
    }
}

/// Whether the lake is a prefix of its bucket.
pub fn is_prefix(lake: &str) -> bool {
    matches!(lake.parse(), Ok(Location::S3 { prefix, .. }) if !prefix.is_empty())
}

/// Opens the lake of `--lake`, which must exist.
pub async fn open(lake: &str) -> Result<Lake, CliError> {
    Ok(Lake::new(store(lake).await?, Env::system()))
}

/// Opens the lake of `--lake`, and creates it if it does not exist.
pub async fn create(lake: &str) -> Result<Lake, CliError> {
    Ok(Lake::new(create_store(lake).await?, Env::system()))
}

/// Where contracts or queries come from.
pub enum Place {
    /// The program.
    BuiltIn,
    /// A folder, or a prefix of a bucket.
    Files(Location),
    /// A release of a lake.
    Release(Releases, String),
}

impl Place {
    /// The place that an option names. Without one, the current release of the lake. What is built in, if it has none.
    pub async fn find(lake: Option<&str>, given: Option<&Path>, option: &str) -> Result<Place, CliError> {
        let releases = match (given, lake) {
            (Some(path), _) => {
                // The name of a folder need not be UTF-8.
                let location = match path.to_str() {
                    None => Location::Folder(path.to_owned()),
                    Some(text) => text.parse::<Location>().map_err(|error| {
                        let advice = "name a folder, or s3://bucket[/prefix]";
                        CliError::usage(format!("{option} {text}"), advice).caused_by(error)
                    })?,
                };
                if !location.is_releases() {
                    return Ok(Place::Files(location));
                }
                if matches!(&location, Location::Folder(folder) if !folder.is_dir()) {
                    return Ok(Place::BuiltIn);
                }
                let store = location.open().await;
                Releases::new(store.map_err(|error| unusable("the releases cannot be read", error))?)
            }
            (None, Some(lake)) => match lake.parse() {
                Ok(Location::Folder(folder)) if !folder.is_dir() => return Ok(Place::BuiltIn),
                _ => Releases::of_lake(create_store(lake).await?),
            },
            (None, None) => return Ok(Place::BuiltIn),
        };
        match releases.read_pointer().await {
            Ok(read) => Ok(read.current.release.map_or(Place::BuiltIn, |id| Place::Release(releases, id))),
            Err(ReleaseError::Store { source: object_store::Error::PermissionDenied { .. }, .. })
                if given.is_none() =>
            {
                console::say("the releases of the lake may not be read: using what is built in");
                Ok(Place::BuiltIn)
            }
            Err(error) => Err(unusable("the current release cannot be read", error)),
        }
    }

    /// The SQL files.
    pub async fn read_queries(&self) -> Result<Vec<(String, String)>, CliError> {
        match self {
            Place::BuiltIn => Ok(QuerySet::embedded_files()),
            Place::Files(location) => {
                let read = location.read_texts("sql").await;
                read.map_err(|error| CliError::usage("the queries cannot be read", "").caused_by(error))
            }
            Place::Release(releases, id) => {
                let read = releases.read(id, true).await;
                Ok(read.map_err(|error| unusable("the current release cannot be read", error))?.queries)
            }
        }
    }
}

fn unusable(what: &str, error: impl std::error::Error + Send + Sync + 'static) -> CliError {
    CliError::failed(what, "check the name of the lake and your permissions").caused_by(error)
}

/// Reads the contracts of a place, all of which must be valid, and their files.
pub async fn read_contracts(place: &Place) -> Result<(Arc<Catalog>, Vec<(String, String)>), CliError> {
    let invalid = |error: Box<dyn std::error::Error + Send + Sync>| {
        CliError::usage("the contracts cannot be used", "").caused_by(error)
    };
    let catalog = match place {
        Place::BuiltIn => contracts::load_catalog(None).await.map_err(|error| invalid(error.into()))?,
        Place::Files(location) => {
            contracts::load_catalog(Some(location)).await.map_err(|error| invalid(error.into()))?
        }
        Place::Release(releases, id) => catalog_of_release(releases, id).await?,
    };
    let files = catalog.files().to_vec();
    Ok((Arc::new(catalog), files))
}

/// Reads the contracts of a release, all of which must be valid.
pub async fn catalog_of_release(releases: &Releases, id: &str) -> Result<Catalog, CliError> {
    let read = releases.read(id, false).await;
    let files = read.map_err(|error| unusable("the release cannot be read", error))?.datasets;
    let files = files.into_iter().map(|(name, text)| (format!("releases/{id}/datasets/{name}"), text));
    Catalog::from_files(files)
        .map_err(|error| CliError::usage("the contracts cannot be used", "").caused_by(error))
}

/// Reads the contracts of `--datasets`, of the current release of `lake`, or the built-in ones. All must be valid.
pub async fn catalog(lake: Option<&str>, datasets: Option<&Path>) -> Result<Arc<Catalog>, CliError> {
    Ok(read_contracts(&Place::find(lake, datasets, "--datasets").await?).await?.0)
}

/// As [`catalog`], for commands that only read the lake: a contract that cannot be used is named on stderr, and its table
/// is read as it is.
pub async fn catalog_to_read(lake: &str, datasets: Option<&Path>) -> Result<Arc<Catalog>, CliError> {
    let place = Place::find(Some(lake), datasets, "--datasets").await?;
    let Place::Files(location) = &place else { return Ok(read_contracts(&place).await?.0) };
    let catalog = contracts::load_isolated(Some(location)).await;
    let catalog =
        catalog.map_err(|error| CliError::usage("the contracts cannot be used", "").caused_by(error))?;
    for broken in catalog.broken() {
        console::say(&format!("broken contract: {broken}"));
    }
    Ok(Arc::new(catalog))
}

/// The contract of a dataset.
pub fn find_contract<'a>(catalog: &'a Catalog, dataset: &str) -> Result<&'a Arc<Contract>, CliError> {
    catalog.contract(dataset).ok_or_else(|| {
        let names: Vec<&str> = catalog.contracts().map(|contract| contract.name.as_str()).collect();
        CliError::usage(format!("there is no dataset {dataset}"), format!("name one of {}", names.join(", ")))
    })
}
