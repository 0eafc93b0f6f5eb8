//! The contracts of this deployment.

use pinlake_schema::{Catalog, ContractErrors};

use crate::location::{Location, LocationError};

/// The contracts cannot be had: nothing starts.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// The place cannot be read.
    #[error(transparent)]
    Location(#[from] LocationError),
    /// There is a mistake in a contract.
    #[error("{0}")]
    Contracts(#[from] ContractErrors),
}

/// The contracts in `place`: its `.toml` files; without a place those that are compiled in.
///
/// # Errors
/// When the place cannot be read, or a contract has a mistake.
pub async fn catalog(place: Option<&Location>) -> Result<Catalog, CatalogError> {
    match place {
        None => Ok(Catalog::embedded()?),
        Some(place) => Ok(Catalog::from_files(place.read_texts("toml").await?)?),
    }
}
