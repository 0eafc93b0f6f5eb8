//! Reads, creates, copies and deletes single objects.

use bytes::Bytes;
use futures::StreamExt;
use object_store::path::Path;
use object_store::{Error, ObjectMeta, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, Result};

/// Turns [`Error::NotFound`] into `None`.
///
/// # Errors
/// Every other error of `result`.
pub fn none_if_not_found<T>(result: Result<T>) -> Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(Error::NotFound { .. }) => Ok(None),
        Err(error) => Err(error),
    }
}

/// Reads an object; `None` if it does not exist.
///
/// # Errors
/// When the store fails.
pub async fn read_if_exists(store: &dyn ObjectStore, path: &Path) -> Result<Option<Bytes>> {
    match none_if_not_found(store.get(path).await)? {
        Some(object) => object.bytes().await.map(Some),
        None => Ok(None),
    }
}

/// Reads an object's metadata; `None` if it does not exist.
///
/// # Errors
/// When the store fails.
pub async fn head_if_exists(store: &dyn ObjectStore, path: &Path) -> Result<Option<ObjectMeta>> {
    none_if_not_found(store.head(path).await)
}

/// Creates an object. Returns false, and changes nothing, if there is one at `path` already.
///
/// A retried request can find its own object, so `false` does not mean that another process wrote it.
///
/// # Errors
/// When the store fails. The object may have been created anyway.
pub async fn put_if_absent(store: &dyn ObjectStore, path: &Path, bytes: Bytes) -> Result<bool> {
    let options = PutOptions { mode: PutMode::Create, ..PutOptions::default() };
    match store.put_opts(path, PutPayload::from_bytes(bytes), options).await {
        Ok(_) => Ok(true),
        Err(Error::AlreadyExists { .. }) => Ok(false),
        Err(error) => Err(error),
    }
}

/// Copies an object and overwrites the target. Returns false if `from` does not exist.
///
/// # Errors
/// When the store fails.
pub async fn copy_if_exists(store: &dyn ObjectStore, from: &Path, to: &Path) -> Result<bool> {
    Ok(none_if_not_found(store.copy(from, to).await)?.is_some())
}

/// Deletes an object; an object that does not exist is no error.
///
/// # Errors
/// When the store fails.
pub async fn delete_if_exists(store: &dyn ObjectStore, path: &Path) -> Result<()> {
    none_if_not_found(store.delete(path).await).map(|_| ())
}

/// Deletes objects, many in one request where the store can do that; objects that do not exist are no error.
///
/// # Errors
/// The first failure; some of the objects may have been deleted.
pub async fn delete_all_if_exist(store: &dyn ObjectStore, paths: Vec<Path>) -> Result<()> {
    let mut deleted = store.delete_stream(futures::stream::iter(paths.into_iter().map(Ok)).boxed());
    while let Some(result) = deleted.next().await {
        none_if_not_found(result)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    #[tokio::test]
    async fn missing_objects_are_values() {
        let (store, missing, target) = (InMemory::new(), Path::from("a"), Path::from("b"));
        assert_eq!(read_if_exists(&store, &missing).await.unwrap(), None);
        assert!(head_if_exists(&store, &missing).await.unwrap().is_none());
        assert!(!copy_if_exists(&store, &missing, &target).await.unwrap());
        delete_if_exists(&store, &missing).await.unwrap();
        delete_all_if_exist(&store, vec![missing.clone(), target.clone()]).await.unwrap();
    }

    #[tokio::test]
    async fn put_if_absent_keeps_the_first_object() {
        let (store, path, copy) = (InMemory::new(), Path::from("a"), Path::from("b"));
        assert!(put_if_absent(&store, &path, "first".into()).await.unwrap());
        assert!(!put_if_absent(&store, &path, "second".into()).await.unwrap());
        assert!(copy_if_exists(&store, &path, &copy).await.unwrap());
        assert_eq!(read_if_exists(&store, &copy).await.unwrap().unwrap(), "first");
        assert_eq!(head_if_exists(&store, &copy).await.unwrap().unwrap().size, 5);
        delete_all_if_exist(&store, vec![path.clone(), copy]).await.unwrap();
        assert_eq!(read_if_exists(&store, &path).await.unwrap(), None);
    }
}
