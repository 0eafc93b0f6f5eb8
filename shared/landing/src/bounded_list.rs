//! Bounded listings that say when they reached their bound.
//!
//! Invariant: whoever concludes something from what is *absent* from a listing ("drained", "everything is recovered")
//! must ask [`BoundedList::is_cut_short`] first. A listing that was cut short proves nothing about the rest.

use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{ObjectMeta, ObjectStore};

use crate::error::LandingError;

/// What a bounded listing saw.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BoundedList<T> {
    /// The objects that are of the kind that was asked for.
    pub found: Vec<T>,
    /// How many objects were listed, those of other kinds included.
    pub looked_at: usize,
    /// Whether there are more objects than were listed.
    pub is_cut_short: bool,
}

/// Lists at most `most` objects below `prefix`, and keeps what `of` makes of them. Objects that `of` passes over count as
/// well: they cost a listing as much as the others.
pub(crate) async fn look<T>(
    store: &dyn ObjectStore,
    prefix: &Path,
    most: usize,
    mut of: impl FnMut(ObjectMeta) -> Option<T>,
) -> Result<BoundedList<T>, LandingError> {
    let mut listed = store.list(Some(prefix));
    let mut look = BoundedList { found: Vec::new(), looked_at: 0, is_cut_short: false };
    while let Some(meta) = listed.try_next().await.map_err(LandingError::store(prefix))? {
        // One more is asked for: only then is it known whether the bound was reached or passed.
        if look.looked_at == most {
            look.is_cut_short = true;
            break;
        }
        look.looked_at += 1;
        look.found.extend(of(meta));
    }
    Ok(look)
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;

    #[tokio::test]
    async fn a_look_is_cut_short_by_what_lies_behind_its_bound_and_by_nothing_else() {
        let store = InMemory::new();
        for name in ["a", "b", "c"] {
            store.put(&Path::from(format!("x/{name}")), "1".into()).await.unwrap();
        }
        store.put(&Path::from("y/d"), "1".into()).await.unwrap();
        let only_c = |meta: ObjectMeta| (meta.location.filename() == Some("c")).then_some(());
        for (most, found, looked_at, is_cut_short) in [(2, 0, 2, true), (3, 1, 3, false), (9, 1, 3, false)] {
            let look = look(&store, &Path::from("x"), most, only_c).await.unwrap();
            assert_eq!(
                (look.found.len(), look.looked_at, look.is_cut_short),
                (found, looked_at, is_cut_short)
            );
        }
    }
}
