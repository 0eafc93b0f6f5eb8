//! What `delta_kernel` needs to run without I/O of its own: an in-memory copy of the log, a committer that captures the
//! commit, and an executor for tasks that never wait.

use std::future::Future;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use delta_kernel::committer::{CommitMetadata, CommitResponse, Committer, PublishMetadata};
use delta_kernel::{Engine, FileMeta, FilteredEngineData, KernelError, KernelResult, KernelResultIterator};
use delta_kernel_default_engine::executor::TaskExecutor;
use delta_kernel_default_engine::{DefaultEngine, DefaultEngineBuilder};
use futures::future::BoxFuture;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{ObjectStore, ObjectStoreExt};
use url::Url;

/// The table's root as the kernel sees it, in the in-memory copy.
pub(super) const MIRROR: &str = "memory:///";
/// Where [`CaptureCommitter`] writes a commit, in the in-memory copy.
const CAPTURED: &str = "captured.json";

/// An engine over `store`, whose operations must never wait.
pub(super) fn build_engine(store: Arc<dyn ObjectStore>) -> DefaultEngine<InlineExecutor> {
    DefaultEngineBuilder::new(store).with_task_executor(Arc::new(InlineExecutor)).build()
}

/// The bytes of the last commit that [`CaptureCommitter`] wrote to `mirror`.
///
/// # Errors
/// If there is none.
pub(super) fn read_captured_commit(mirror: &InMemory) -> object_store::Result<Bytes> {
    read_mirrored(mirror, &Path::from(CAPTURED))
}

/// The bytes of a file in the in-memory copy.
///
/// # Errors
/// If there is no such file.
pub(super) fn read_mirrored(mirror: &InMemory, path: &Path) -> object_store::Result<Bytes> {
    complete(async { mirror.get(path).await?.bytes().await })
}

/// Writes a commit to the in-memory copy, not to the log. [`crate::commit`] puts it into the log.
#[derive(Debug)]
pub(super) struct CaptureCommitter;

impl Committer for CaptureCommitter {
    fn commit(
        &self,
        engine: &dyn Engine,
        actions: KernelResultIterator<'_, FilteredEngineData>,
        metadata: CommitMetadata,
    ) -> KernelResult<CommitResponse> {
        let path = Url::parse(MIRROR)
            .and_then(|root| root.join(CAPTURED))
            .map_err(|error| KernelError::generic(error.to_string()))?;
        let size = engine.json_handler().write_json_file(&path, Box::new(actions), true)?;
        let entry = metadata.published_commit_path()?;
        Ok(CommitResponse::Committed {
            file_meta: FileMeta::new(entry, metadata.in_commit_timestamp(), size),
        })
    }

    fn is_catalog_committer(&self) -> bool {
        false
    }

    fn publish(&self, _engine: &dyn Engine, _metadata: PublishMetadata) -> KernelResult<()> {
        Ok(())
    }
}

/// Runs the kernel's tasks on the calling thread: over the in-memory copy none of them waits.
#[derive(Debug)]
pub(super) struct InlineExecutor;

impl TaskExecutor for InlineExecutor {
    type Guard<'a> = ();

    fn block_on<T>(&self, task: T) -> T::Output
    where
        T: Future + Send + 'static,
        T::Output: Send + 'static,
    {
        complete(task)
    }

    fn spawn<F>(&self, task: F)
    where
        F: Future<Output = ()> + Send + 'static,
    {
        complete(task);
    }

    fn spawn_blocking<T, R>(&self, task: T) -> BoxFuture<'_, KernelResult<R>>
    where
        T: FnOnce() -> R + Send + 'static,
        R: Send + 'static,
    {
        Box::pin(std::future::ready(Ok(task())))
    }

    fn enter(&self) -> Self::Guard<'_> {}
}

/// Polls a future until it is done. The kernel calls this re-entrantly, which an async runtime would not allow.
fn complete<T>(task: impl Future<Output = T>) -> T {
    let mut task = std::pin::pin!(task);
    let mut context = Context::from_waker(Waker::noop());
    loop {
        match task.as_mut().poll(&mut context) {
            Poll::Ready(output) => return output,
            Poll::Pending => std::thread::yield_now(),
        }
    }
}
