//! Loading of the contracts of a deployment.

use pinlake_schema::{Catalog, ContractErrors, ContractFile};

use crate::location::{Location, LocationError};

/// The contracts cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The location cannot be read.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// A contract is invalid.
    #[error("{0}")]
    Contracts(#[from] ContractErrors),
}

/// Loads the `.toml` files at `location`; without a location, the contracts compiled into the program.
///
/// # Errors
/// When the location cannot be read, or a contract is invalid.
pub async fn load_catalog(location: Option<&Location>) -> Result<Catalog, CatalogError> {
    match location {
        None => Ok(Catalog::embedded()?),
        Some(location) => Ok(Catalog::from_files(location.read_texts("toml").await?)?),
    }
}

/// As [`load_catalog`], but a contract that is invalid or cannot be read stops only its own dataset: see
/// [`Catalog::isolate`].
///
/// # Errors
/// When the location cannot be read.
pub async fn load_isolated(location: Option<&Location>) -> Result<Catalog, CatalogError> {
    let Some(location) = location else { return Ok(Catalog::embedded()?) };
    let files = location.read_files("toml").await?.into_iter();
    Ok(Catalog::isolate(files.map(|(name, content)| ContractFile { name, content }))?)
}
