//! Under which contracts records were judged: every catalog that ever cleaned one, kept in the lake.
//!
//! `contracts/<catalog hash>.json` holds the contract files of one release, `{"files": [["pin.toml", "..."]]}`. It is
//! put before the first rows that the release has made land or are inserted, so whoever looks after seeing such a row
//! finds it. CatalogHistory are few and small; they are never removed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_schema::Catalog;
use serde::{Deserialize, Serialize};

use crate::error::LandingError;
use crate::object::put_if_absent;

/// First path segment of the catalog_history.
const CONTRACTS: &str = "contracts";

#[derive(Serialize, Deserialize)]
struct Files {
    files: Vec<(String, String)>,
}

/// The catalog_history that this process knows of, by catalog hash.
#[derive(Debug, Default)]
pub struct CatalogHistory(Mutex<BTreeMap<String, Option<Arc<Catalog>>>>);

impl CatalogHistory {
    /// Makes sure that the lake knows of `catalog`.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn keep(&self, store: &dyn ObjectStore, catalog: &Arc<Catalog>) -> Result<(), LandingError> {
        if self.known(catalog.hash()).is_some() {
            return Ok(());
        }
        let path = path_of(catalog.hash());
        let bytes = serde_json::to_vec(&Files { files: catalog.files().to_vec() })
            .map_err(|error| LandingError::corrupt(&path, error))?;
        // The same hash judges alike, so what is there serves as well.
        put_if_absent(store, &path, bytes.into()).await?;
        self.remember(catalog.hash(), Some(catalog.clone()));
        Ok(())
    }

    /// All catalog_history that the lake knows of.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn all(&self, store: &dyn ObjectStore) -> Result<Vec<Arc<Catalog>>, LandingError> {
        let folder = Path::from(CONTRACTS);
        let listed: Vec<_> =
            store.list(Some(&folder)).try_collect().await.map_err(LandingError::store(&folder))?;
        let mut catalog_history = Vec::new();
        for path in listed.into_iter().map(|meta| meta.location) {
            let Some(hash) = path.filename().and_then(|name| name.strip_suffix(".json")) else { continue };
            let known = match self.known(hash) {
                Some(known) => known,
                None => {
                    let got = store.get(&path).await.map_err(LandingError::store(&path))?;
                    let bytes = got.bytes().await.map_err(LandingError::store(&path))?;
                    let read = read(&path, &bytes);
                    self.remember(hash, read.clone());
                    read
                }
            };
            catalog_history.extend(known);
        }
        Ok(catalog_history)
    }

    fn known(&self, hash: &str) -> Option<Option<Arc<Catalog>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).get(hash).cloned()
    }

    fn remember(&self, hash: &str, catalog: Option<Arc<Catalog>>) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).insert(hash.to_owned(), catalog);
    }
}

fn path_of(hash: &str) -> Path {
    Path::from_iter([CONTRACTS, &format!("{hash}.json")])
}

/// A release whose files this version of pinlake does not understand any more is passed over: nothing but the
/// comparison with its verdicts is lost.
fn read(path: &Path, bytes: &[u8]) -> Option<Arc<Catalog>> {
    let files: Files = match serde_json::from_slice(bytes) {
        Ok(files) => files,
        Err(error) => {
            tracing::warn!(%path, %error, "release of contracts cannot be read, passed over");
            return None;
        }
    };
    match Catalog::from_files(files.files) {
        Ok(catalog) => Some(Arc::new(catalog)),
        Err(errors) => {
            tracing::warn!(%path, %errors, "contracts of an older release are not understood, passed over");
            None
        }
    }
}
