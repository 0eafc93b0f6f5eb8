//! The catalog history: every catalog that has cleaned records of this lake.
//!
//! `contracts/<catalog hash>.json` holds the contract files of one catalog, `{"files": [["pin.toml", "..."]]}`. It is
//! written before the first row that the catalog has cleaned lands or is inserted, so every such row has its catalog in
//! the history. Catalogs are few and small, and are never removed.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use pinlake_schema::{Catalog, ContractFile};
use pinlake_store::put_if_absent;
use serde::{Deserialize, Serialize};

use crate::error::LandingError;

/// First path segment of the history.
const CONTRACTS: &str = "contracts";

#[derive(Serialize, Deserialize)]
struct Files {
    files: Vec<(String, String)>,
}

/// The catalog history of a lake, with a cache.
#[derive(Debug, Default)]
pub struct CatalogHistory(Mutex<Cache>);

#[derive(Debug, Default)]
struct Cache {
    /// Catalogs by hash; `None` for those that cannot be read.
    by_hash: BTreeMap<String, Option<Arc<Catalog>>>,
    /// What was listed last, unless a catalog was added since.
    listed: Option<Arc<[Arc<Catalog>]>>,
}

impl CatalogHistory {
    /// Adds `catalog` to the history if it is not there yet.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn add(&self, store: &dyn ObjectStore, catalog: &Arc<Catalog>) -> Result<(), LandingError> {
        if self.cached(catalog.hash()).is_some() {
            return Ok(());
        }
        let path = history_path(catalog.hash());
        let bytes = serde_json::to_vec(&Files { files: catalog.files().to_vec() })
            .map_err(|error| LandingError::corrupt(&path, error))?;
        // Catalogs with the same hash clean records in the same way, so an existing object is not replaced.
        put_if_absent(store, &path, bytes.into()).await.map_err(LandingError::store(&path))?;
        self.cache(catalog.hash(), Some(catalog.clone()));
        Ok(())
    }

    /// Returns the catalogs of the history as they were listed last. It may lack those of functions that were deployed since.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn recall(&self, store: &dyn ObjectStore) -> Result<Arc<[Arc<Catalog>]>, LandingError> {
        if let Some(listed) = self.lock().listed.clone() {
            return Ok(listed);
        }
        Ok(self.load_all(store).await?.into())
    }

    /// Returns all catalogs of the history that this version of pinlake can read, in the order in which they were first used.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn load_all(&self, store: &dyn ObjectStore) -> Result<Vec<Arc<Catalog>>, LandingError> {
        let folder = Path::from(CONTRACTS);
        let mut listed: Vec<_> =
            store.list(Some(&folder)).try_collect().await.map_err(LandingError::store(&folder))?;
        listed
            .sort_by(|a, b| a.last_modified.cmp(&b.last_modified).then_with(|| a.location.cmp(&b.location)));
        let mut catalogs = Vec::new();
        for path in listed.into_iter().map(|meta| meta.location) {
            let Some(hash) = path.filename().and_then(|name| name.strip_suffix(".json")) else { continue };
            let catalog = match self.cached(hash) {
                Some(cached) => cached,
                None => {
                    let got = store.get(&path).await.map_err(LandingError::store(&path))?;
                    let bytes = got.bytes().await.map_err(LandingError::store(&path))?;
                    let parsed = parse(&path, &bytes);
                    self.cache(hash, parsed.clone());
                    parsed
                }
            };
            catalogs.extend(catalog);
        }
        self.lock().listed = Some(catalogs.clone().into());
        Ok(catalogs)
    }

    fn lock(&self) -> MutexGuard<'_, Cache> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn cached(&self, hash: &str) -> Option<Option<Arc<Catalog>>> {
        self.lock().by_hash.get(hash).cloned()
    }

    fn cache(&self, hash: &str, catalog: Option<Arc<Catalog>>) {
        let mut cache = self.lock();
        cache.by_hash.insert(hash.to_owned(), catalog);
        cache.listed = None;
    }
}

fn history_path(hash: &str) -> Path {
    Path::from_iter([CONTRACTS, &format!("{hash}.json")])
}

/// Skips a catalog that this version of pinlake cannot read: only the comparison with its dispositions is lost. Of a catalog with broken
/// contracts, the others are used.
fn parse(path: &Path, bytes: &[u8]) -> Option<Arc<Catalog>> {
    let files: Files = match serde_json::from_slice(bytes) {
        Ok(files) => files,
        Err(error) => {
            tracing::warn!(%path, %error, "skipping a catalog of the history: malformed JSON");
            return None;
        }
    };
    let files = files.files.into_iter();
    let catalog =
        Catalog::isolate(files.map(|(name, text)| ContractFile { name, content: Ok(text.into_bytes()) }));
    match catalog {
        Ok(catalog) => {
            for broken in catalog.broken() {
                tracing::warn!(%path, %broken, "a contract of the history cannot be used");
            }
            Some(Arc::new(catalog))
        }
        Err(errors) => {
            tracing::warn!(%path, %errors, "skipping a catalog of the history: its contracts are not valid in this version");
            None
        }
    }
}
