//! JSON objects that several processes read and update.

use object_store::path::Path;
use object_store::{Error, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion};
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::object::none_if_not_found;

/// Writes that one update tries before it reports the conflict.
const MAX_ATTEMPTS: usize = 8;

/// A JSON object cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum JsonError {
    /// The store failed, or other writers changed the object during every attempt. Retryable.
    #[error(transparent)]
    Store(#[from] Error),
    /// The object is not the JSON that the caller expects. Permanent.
    #[error(transparent)]
    Json(#[from] serde_json::Error),
}

/// Reads a JSON object; `None` if it does not exist.
///
/// # Errors
/// When the store fails, or the object is not a `T`.
pub async fn read_json<T: DeserializeOwned>(
    store: &dyn ObjectStore,
    path: &Path,
) -> Result<Option<T>, JsonError> {
    Ok(read_version(store, path).await?.map(|(value, _)| value))
}

/// Updates a JSON object by compare-and-swap. `update` maps the present value, `None` if there is no object, to the new
/// one; it returns `None` to leave the object as it is. It runs again after each conflict.
///
/// # Errors
/// When the store fails, when the object is not a `T`, or after 8 conflicts in a row.
pub async fn update_json<T: Serialize + DeserializeOwned>(
    store: &dyn ObjectStore,
    path: &Path,
    mut update: impl FnMut(Option<T>) -> Option<T>,
) -> Result<(), JsonError> {
    let mut attempt = 1;
    loop {
        let (present, mode) = match read_version(store, path).await? {
            Some((value, version)) => (Some(value), PutMode::Update(version)),
            None => (None, PutMode::Create),
        };
        let Some(value) = update(present) else { return Ok(()) };
        let payload = PutPayload::from(serde_json::to_vec(&value)?);
        let options = PutOptions { mode, ..PutOptions::default() };
        match store.put_opts(path, payload, options).await {
            Ok(_) => return Ok(()),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) if attempt < MAX_ATTEMPTS => {
                attempt += 1;
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn read_version<T: DeserializeOwned>(
    store: &dyn ObjectStore,
    path: &Path,
) -> Result<Option<(T, UpdateVersion)>, JsonError> {
    let Some(object) = none_if_not_found(store.get(path).await)? else { return Ok(None) };
    let version = UpdateVersion { e_tag: object.meta.e_tag.clone(), version: object.meta.version.clone() };
    let value = serde_json::from_slice(&object.bytes().await?)?;
    Ok(Some((value, version)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    #[tokio::test]
    async fn concurrent_updates_all_take_effect() {
        let (store, path) = (InMemory::new(), Path::from("counter"));
        let add = || update_json(&store, &path, |count: Option<u32>| Some(count.unwrap_or(0) + 1));
        futures::future::try_join_all((0..4).map(|_| add())).await.unwrap();
        assert_eq!(read_json::<u32>(&store, &path).await.unwrap(), Some(4));
        update_json(&store, &path, |_: Option<u32>| None).await.unwrap();
        assert_eq!(read_json::<u32>(&store, &path).await.unwrap(), Some(4));
    }

    #[tokio::test]
    async fn an_object_that_is_not_the_expected_json_is_not_overwritten() {
        let (store, path) = (InMemory::new(), Path::from("counter"));
        store.put(&path, "text".into()).await.unwrap();
        let updated = update_json(&store, &path, |_: Option<u32>| Some(1)).await;
        assert!(matches!(updated, Err(JsonError::Json(_))), "{updated:?}");
    }
}
