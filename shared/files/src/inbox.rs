//! The lake's inbox: files dropped below `inbox/`, and where they go when they are done.

use futures::{StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};
use pinlake_landing::LandingError;
use pinlake_store::{copy_if_exists, delete_if_exists, head_if_exists};

use crate::source::FileSource;

/// First path segment of files in the inbox. The second may name their dataset.
pub const INBOX: &str = "inbox";

/// The most files of the inbox that one listing looks at.
const MAX_LOOKED_AT: usize = 100_000;

/// Lists up to `limit` files of the inbox that `is_ready` accepts, the oldest first. Files that wait do not keep others out.
///
/// # Errors
/// If the store cannot be listed.
pub async fn list(
    store: &dyn ObjectStore,
    limit: usize,
    is_ready: impl Fn(&ObjectMeta) -> bool,
) -> Result<Vec<ObjectMeta>, LandingError> {
    let prefix = Path::from(INBOX);
    let listed = store.list(Some(&prefix)).take(MAX_LOOKED_AT);
    let listed = listed.try_filter(|meta| std::future::ready(is_ready(meta)));
    let listed = listed.take(limit).try_collect::<Vec<_>>().await;
    let mut metas = listed.map_err(LandingError::store(INBOX))?;
    metas.sort_by(|a, b| a.last_modified.cmp(&b.last_modified).then_with(|| a.location.cmp(&b.location)));
    Ok(metas)
}

/// The path that a file of the inbox is moved to: `<folder>/<its folders>/<file id>/<its name>`. The id keeps files of
/// the same name apart.
pub fn destination(folder: &str, file: &FileSource, from: &Path) -> Path {
    let mut segments: Vec<_> = from.parts().map(|part| part.as_ref().to_owned()).collect();
    let last = segments.pop().unwrap_or_default();
    Path::from_iter([folder.to_owned()].into_iter().chain(segments).chain([file.id.clone(), last]))
}

/// Moves a file out of the inbox and returns its [`destination`]. A file that was replaced since `meta` was read stays
/// in the inbox.
///
/// # Errors
/// If the store fails. Retrying is safe.
pub async fn move_out(
    store: &dyn ObjectStore,
    folder: &str,
    file: &FileSource,
    meta: &ObjectMeta,
) -> Result<Path, LandingError> {
    let from = &meta.location;
    let to = destination(folder, file, from);
    if !is_unchanged(store, meta).await? {
        return Ok(to);
    }
    if !copy_if_exists(store, from, &to).await.map_err(LandingError::store(from))? {
        // Another compactor has moved it.
        return Ok(to);
    }
    // A file written under this name during the copy has not been read yet.
    if !is_unchanged(store, meta).await? {
        return Ok(to);
    }
    delete_if_exists(store, from).await.map_err(LandingError::store(from))?;
    Ok(to)
}

/// Whether the object still is the version that was read. `object_store` has no conditional delete: a file that
/// replaces this one between the check and the delete is lost, except in the bucket's versions.
async fn is_unchanged(store: &dyn ObjectStore, read: &ObjectMeta) -> Result<bool, LandingError> {
    let present = head_if_exists(store, &read.location).await.map_err(LandingError::store(&read.location))?;
    Ok(present.is_some_and(|present| present.e_tag == read.e_tag))
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt as _;
    use object_store::memory::InMemory;
    use pinlake_schema::Catalog;

    #[tokio::test]
    async fn only_the_version_that_was_read_is_moved() {
        let (store, catalog) = (InMemory::new(), Catalog::embedded().unwrap());
        let path = Path::from("inbox/user/a.csv");
        store.put(&path, "one".into()).await.unwrap();
        let first = store.head(&path).await.unwrap();
        let file = FileSource::from_inbox(&catalog, &first);
        store.put(&path, "two".into()).await.unwrap();
        move_out(&store, "raw", &file, &first).await.unwrap();
        let second = store.head(&path).await.unwrap();
        let other = FileSource::from_inbox(&catalog, &second);
        assert_ne!(file.id, other.id, "other content is another file");
        for _ in 0..2 {
            let moved = move_out(&store, "raw", &other, &second).await.unwrap();
            assert_eq!(moved.as_ref(), format!("raw/inbox/user/{}/a.csv", other.id));
            assert_eq!(store.get(&moved).await.unwrap().bytes().await.unwrap(), "two");
        }
        assert!(store.head(&path).await.is_err());
    }
}
