//! The lake and the contracts that a subcommand works with.

use std::path::Path;
use std::sync::Arc;

use object_store::ObjectStore;
use pinlake_env::Env;
use pinlake_lake::Lake;
use pinlake_platform::contracts;
use pinlake_platform::location::Location;
use pinlake_schema::Catalog;

use crate::error::CliError;

/// The store of the lake that `--lake` names; it must be there, or a mistyped name would be an empty lake.
pub async fn store(lake: &str) -> Result<Arc<dyn ObjectStore>, CliError> {
    if let Ok(Location::Folder(folder)) = lake.parse()
        && !folder.is_dir()
    {
        let what = format!("there is no lake {lake}");
        return Err(CliError::usage(what, "check the name; `pinlake load` makes a lake"));
    }
    made(lake).await
}

/// The same, made if it is not there.
async fn made(lake: &str) -> Result<Arc<dyn ObjectStore>, CliError> {
    let location: Location = lake.parse().map_err(|error| {
        CliError::usage(format!("--lake {lake}"), "write a folder, or s3://bucket[/prefix]").caused_by(error)
    })?;
    location.open().await.map_err(|error| {
        CliError::failed(format!("cannot open the lake {lake}"), "check its name and your access")
            .caused_by(error)
    })
}

/// Where the event source of a lake's stream puts what it gives up: the root of the lake's bucket.
pub async fn destination(lake: &str, store: &Arc<dyn ObjectStore>) -> Result<Arc<dyn ObjectStore>, CliError> {
    match lake.parse() {
        Ok(Location::S3 { bucket, prefix }) if !prefix.is_empty() => made(&format!("s3://{bucket}")).await,
        _ => Ok(store.clone()),
    }
}

/// Whether a lake has only a part of its bucket.
pub fn is_prefix(lake: &str) -> bool {
    matches!(lake.parse(), Ok(Location::S3 { prefix, .. }) if !prefix.is_empty())
}

/// The lake that `--lake` names; it must be there.
pub async fn open(lake: &str) -> Result<Lake, CliError> {
    Ok(Lake::new(store(lake).await?, Env::system()))
}

/// The lake that `--lake` names, made if it is not there.
pub async fn create(lake: &str) -> Result<Lake, CliError> {
    Ok(Lake::new(made(lake).await?, Env::system()))
}

/// The contracts of `--datasets`, or those that are built in.
pub async fn catalog(datasets: Option<&Path>) -> Result<Arc<Catalog>, CliError> {
    let place = datasets.map(|folder| Location::Folder(folder.to_owned()));
    let catalog = contracts::load_catalog(place.as_ref()).await;
    Ok(Arc::new(
        catalog.map_err(|error| CliError::usage("the contracts cannot be used", "").caused_by(error))?,
    ))
}
