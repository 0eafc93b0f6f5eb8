//! What the tests of several modules begin with.

use std::fmt;
use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use futures::stream::BoxStream;
use object_store::memory::InMemory;
use object_store::path::Path;
use object_store::{
    CopyOptions, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta, ObjectStore,
    PutMultipartOptions, PutOptions, PutPayload, PutResult, Result,
};
use pinlake_effects::{Chance, Effects, ManualClock};
use pinlake_schema::Catalog;

/// A clock that stands still, and chance that is the same in every run.
pub(crate) fn effects(seed: u64) -> Effects {
    let clock = ManualClock::at("2022-10-19T12:00:00Z".parse().unwrap());
    Effects { clock: Arc::new(clock), chance: Arc::new(Chance::seeded(seed)) }
}

/// Contracts of one dataset, `visit`, whose column `page` has this rule, such as `null = ["home"]`.
pub(crate) fn visits(page: &str) -> Arc<Catalog> {
    let text = format!(
        "name = \"visit\"\nversion = 1\ndescription = \"One row a visit.\"\nidentity = [\"visitor\"]\n\
         [route]\nfiles = [\"visit*\"]\nstreams = [\"*-visit\"]\ntopics = [\"*.visit\"]\nshape = [\"visitor\"]\n[[column]]\nname = \"visitor\"\ntype = \"int64\"\nrequired = true\n\
         [[column]]\nname = \"page\"\ntype = \"int64\"\n{page}\n"
    );
    Arc::new(Catalog::from_files([("visit.toml".to_owned(), text)]).unwrap())
}

/// Contracts without a dataset that takes visits.
pub(crate) fn without_visits() -> Arc<Catalog> {
    let text = "name = \"other\"\nversion = 1\ndescription = \"x\"\n[route]\nshape = [\"other\"]\n\
                [[column]]\nname = \"other\"\ntype = \"int64\"\n";
    Arc::new(Catalog::from_files([("other.toml".to_owned(), text.to_owned())]).unwrap())
}

/// A store in which something happens before an object is put, once: another writer comes first.
pub(crate) struct Overtaken {
    pub(crate) inner: Arc<InMemory>,
    /// How the object's path ends.
    pub(crate) path: String,
    pub(crate) first: Mutex<Option<BoxFuture<'static, ()>>>,
}

impl fmt::Debug for Overtaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Overtaken").field("path", &self.path).finish_non_exhaustive()
    }
}

impl fmt::Display for Overtaken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Overtaken")
    }
}

#[async_trait::async_trait]
impl ObjectStore for Overtaken {
    async fn put_opts(&self, path: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let first = match path.as_ref().ends_with(&self.path) {
            true => self.first.lock().unwrap().take(),
            false => None,
        };
        if let Some(first) = first {
            first.await;
        }
        self.inner.put_opts(path, payload, options).await
    }

    async fn put_multipart_opts(
        &self,
        path: &Path,
        options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        self.inner.put_multipart_opts(path, options).await
    }

    async fn get_opts(&self, path: &Path, options: GetOptions) -> Result<GetResult> {
        self.inner.get_opts(path, options).await
    }

    fn delete_stream(&self, paths: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        self.inner.delete_stream(paths)
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.inner.list(prefix)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.inner.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        self.inner.copy_opts(from, to, options).await
    }
}
