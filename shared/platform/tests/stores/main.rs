//! Tests the guarantees that a lake needs from an object store, for each kind of store: memory, a folder, and S3 in the
//! local stack. If PINLAKE_STACK names no stack, the S3 tests are skipped with a message.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "the helpers of tests fail by panicking, like the tests themselves"
)]
#![allow(clippy::print_stderr, reason = "a skipped test prints a message")]

mod contract;
mod folder;
mod s3;

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;

/// An empty store, and its folder if it has one.
struct EmptyStore {
    store: Arc<dyn ObjectStore>,
    _folder: Option<tempfile::TempDir>,
}

async fn in_memory(_: &str) -> Option<EmptyStore> {
    Some(EmptyStore { store: Arc::new(InMemory::new()), _folder: None })
}

async fn in_a_folder(_: &str) -> Option<EmptyStore> {
    let folder = tempfile::tempdir().unwrap();
    Some(EmptyStore { store: folder::open(folder.path()), _folder: Some(folder) })
}

async fn in_s3(test: &str) -> Option<EmptyStore> {
    Some(EmptyStore { store: s3::bucket().await?.open_prefix(test), _folder: None })
}

macro_rules! every_store {
    ($($guarantee:ident),* $(,)?) => {
        every_store! { @of memory in_memory $($guarantee),* }
        every_store! { @of folder_of_files in_a_folder $($guarantee),* }
        every_store! { @of s3_of_the_stack in_s3 $($guarantee),* }
    };
    (@of $store:ident $open:ident $($guarantee:ident),*) => {
        mod $store {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $guarantee() {
                    if let Some(empty) = super::$open(stringify!($guarantee)).await {
                        super::contract::$guarantee(&empty.store).await;
                    }
                }
            )*
        }
    };
}

every_store! {
    one_of_many_concurrent_creations_succeeds,
    an_update_must_name_the_current_version,
    one_of_many_concurrent_updates_succeeds,
    concurrent_increments_are_not_lost,
    versions_in_quick_succession_have_different_etags,
    a_listing_of_several_pages_has_each_object_once,
    deleting_a_missing_object_is_no_error,
    a_deleted_object_is_missing_and_can_be_created_again,
    a_range_returns_its_bytes,
    a_copy_overwrites_and_is_independent_of_its_source,
    names_may_contain_special_characters,
    a_reader_never_sees_a_partial_write,
    a_multipart_upload_is_visible_when_it_is_complete,
}
