//! Listings with a limit that report whether they reached it.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore, Result};

/// The result of a bounded listing.
///
/// Check [`BoundedList::is_truncated`] before you conclude that an object is absent: a truncated listing says
/// nothing about the objects after its limit.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundedList<T> {
    /// The objects that the filter accepted.
    pub found: Vec<T>,
    /// Number of objects listed, including those that the filter skipped.
    pub listed: usize,
    /// Whether the store has more objects below the prefix than were listed.
    pub is_truncated: bool,
}

/// Lists at most `limit` objects below `prefix` and collects what `filter` returns for them. Skipped objects count
/// towards the limit, because listing them costs the same.
///
/// # Errors
/// When the store fails.
pub async fn list_bounded<T>(
    store: &dyn ObjectStore,
    prefix: &Path,
    limit: usize,
    mut filter: impl FnMut(ObjectMeta) -> Option<T>,
) -> Result<BoundedList<T>> {
    let mut objects = store.list(Some(prefix));
    let mut list = BoundedList { found: Vec::new(), listed: 0, is_truncated: false };
    while let Some(meta) = objects.try_next().await? {
        // Only the next object tells whether the listing ends exactly at the limit.
        if list.listed == limit {
            list.is_truncated = true;
            break;
        }
        list.listed += 1;
        list.found.extend(filter(meta));
    }
    Ok(list)
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    #[tokio::test]
    async fn a_listing_is_truncated_only_by_objects_after_its_limit() {
        let store = InMemory::new();
        for name in ["a", "b", "c"] {
            store.put(&Path::from(format!("x/{name}")), "1".into()).await.unwrap();
        }
        store.put(&Path::from("y/d"), "1".into()).await.unwrap();
        let only_c = |meta: ObjectMeta| (meta.location.filename() == Some("c")).then_some(());
        for (limit, found, listed, is_truncated) in [(2, 0, 2, true), (3, 1, 3, false), (9, 1, 3, false)] {
            let list = list_bounded(&store, &Path::from("x"), limit, only_c).await.unwrap();
            assert_eq!((list.found.len(), list.listed, list.is_truncated), (found, listed, is_truncated));
        }
    }
}
