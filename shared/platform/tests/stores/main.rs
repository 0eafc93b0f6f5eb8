//! What a lake asks of a store, asked of every store that a lake may lie in: memory, a folder, and S3 as the local stack
//! has it. S3 is skipped, and says so, where PINLAKE_STACK names no stack.
#![allow(clippy::unwrap_used, clippy::panic, reason = "the helpers of a test fail as the test does")]
#![allow(clippy::print_stderr, reason = "a test that skips says so")]

mod contract;
mod folder;
mod s3;

use std::sync::Arc;

use object_store::ObjectStore;
use object_store::memory::InMemory;

/// A store that holds nothing, and what it lies in.
struct Empty {
    store: Arc<dyn ObjectStore>,
    _folder: Option<tempfile::TempDir>,
}

async fn in_memory(_: &str) -> Option<Empty> {
    Some(Empty { store: Arc::new(InMemory::new()), _folder: None })
}

async fn in_a_folder(_: &str) -> Option<Empty> {
    let folder = tempfile::tempdir().unwrap();
    Some(Empty { store: folder::open(folder.path()), _folder: Some(folder) })
}

async fn in_s3(test: &str) -> Option<Empty> {
    Some(Empty { store: s3::bucket().await?.below(test), _folder: None })
}

macro_rules! every_store {
    ($($promise:ident),* $(,)?) => {
        every_store! { @of memory in_memory $($promise),* }
        every_store! { @of folder_of_files in_a_folder $($promise),* }
        every_store! { @of s3_of_the_stack in_s3 $($promise),* }
    };
    (@of $store:ident $open:ident $($promise:ident),*) => {
        mod $store {
            $(
                #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
                async fn $promise() {
                    if let Some(empty) = super::$open(stringify!($promise)).await {
                        super::contract::$promise(&empty.store).await;
                    }
                }
            )*
        }
    };
}

every_store! {
    of_many_that_create_an_object_one_does,
    an_update_needs_the_version_that_is_there,
    of_many_that_update_a_version_one_does,
    what_is_counted_by_updates_is_counted_once,
    versions_differ_however_fast_they_follow,
    a_listing_of_several_pages_has_each_object_once,
    deleting_what_is_not_there_is_no_error,
    what_was_deleted_is_gone_and_can_be_made_again,
    ranges_are_of_the_bytes_that_they_name,
    a_copy_replaces_and_stands_by_itself,
    any_name_holds_its_object,
    a_reader_sees_a_whole_object,
    an_upload_in_parts_is_there_when_it_is_complete,
}
