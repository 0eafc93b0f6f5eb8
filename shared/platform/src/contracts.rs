//! Loading of the contracts of a deployment.

use pinlake_schema::{Catalog, ContractErrors};

use crate::location::{Location, LocationError};

/// The contracts cannot be loaded. The function does not start.
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
