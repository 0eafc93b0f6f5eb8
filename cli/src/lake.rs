//! Opens the lake and the contracts that a command line names.

use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use pinlake_env::Env;
use pinlake_lake::Lake;
use pinlake_platform::contracts;
use pinlake_platform::location::Location;
use pinlake_schema::{Catalog, Contract};

use crate::error::CliError;

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

/// The folder or the s3:// prefix of `--datasets`; `None` for the built-in contracts.
pub fn locate_contracts(datasets: Option<&Path>) -> Result<Option<Location>, CliError> {
    let Some(path) = datasets else { return Ok(None) };
    // The name of a folder need not be UTF-8.
    let Some(text) = path.to_str() else { return Ok(Some(Location::Folder(path.to_owned()))) };
    text.parse().map(Some).map_err(|error| {
        CliError::usage(format!("--datasets {text}"), "name a folder, or s3://bucket[/prefix]")
            .caused_by(error)
    })
}

/// Reads the contracts of `--datasets`, or the built-in ones.
pub async fn catalog(datasets: Option<&Path>) -> Result<Arc<Catalog>, CliError> {
    let place = locate_contracts(datasets)?;
    let catalog = contracts::load_catalog(place.as_ref()).await;
    Ok(Arc::new(
        catalog.map_err(|error| CliError::usage("the contracts cannot be used", "").caused_by(error))?,
    ))
}

/// The contract of a dataset.
pub fn find_contract<'a>(catalog: &'a Catalog, dataset: &str) -> Result<&'a Arc<Contract>, CliError> {
    catalog.contract(dataset).ok_or_else(|| {
        let names: Vec<&str> = catalog.contracts().map(|contract| contract.name.as_str()).collect();
        CliError::usage(format!("there is no dataset {dataset}"), format!("name one of {}", names.join(", ")))
    })
}
