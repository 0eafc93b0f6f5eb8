//! Operations on an object store that more than one crate needs, each in one place: read an object if it exists, create
//! it if it does not, delete it if it exists, update a JSON object atomically, and list with a limit.
//!
//! Invariants:
//! - Every function can be called again after an error: a second call has the same effect as the first.
//! - "Not found" is a value, never an error, because another process may delete any object at any time.
//!
//! ```
//! use object_store::{memory::InMemory, path::Path};
//!
//! # tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(async {
//! let (store, path) = (InMemory::new(), Path::from("state/x.json"));
//! assert!(pinlake_store::put_if_absent(&store, &path, "1".into()).await.unwrap());
//! assert!(!pinlake_store::put_if_absent(&store, &path, "2".into()).await.unwrap());
//! assert_eq!(pinlake_store::read_if_exists(&store, &path).await.unwrap().unwrap(), "1");
//! pinlake_store::delete_if_exists(&store, &path).await.unwrap();
//! assert_eq!(pinlake_store::read_if_exists(&store, &path).await.unwrap(), None);
//! # });
//! ```

mod bounded_list;
mod json;
mod object;

pub use bounded_list::{BoundedList, list_bounded};
pub use json::{JsonError, read_json, update_json};
pub use object::{
    copy_if_exists, delete_all_if_exist, delete_if_exists, head_if_exists, none_if_not_found, put_if_absent,
    read_if_exists,
};
