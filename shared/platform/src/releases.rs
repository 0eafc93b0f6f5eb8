//! Releases of contracts and queries, stored in the lake.
//!
//! | object below `releases/` | content |
//! |---|---|
//! | `<id>/datasets/<name>.toml`, `<id>/queries/<name>.sql` | the files of a release; they never change |
//! | `<id>/release.json` | the list of these files with their hashes. It is written last: a release without it does not exist |
//! | `current` | the id of the release in use, and those that were in use before |
//!
//! An id is the time of creation and a hash of the content, so ids sort by time, and equal content is one release.
//! `current` is replaced with a conditional put: of two operators who switch at the same time, one gets an error.

use std::collections::BTreeMap;
use std::sync::Arc;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use futures::future::BoxFuture;
use futures::{FutureExt, StreamExt, TryStreamExt};
use object_store::path::Path;
use object_store::prefix::PrefixStore;
use object_store::{
    Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions, PutPayload, UpdateVersion,
};
use pinlake_store::{put_if_absent, read_json};
use serde::{Deserialize, Serialize};

/// First path segment of releases in a lake.
pub const RELEASES: &str = "releases";
const DATASETS: &str = "datasets";
const QUERIES: &str = "queries";
const MANIFEST: &str = "release.json";
const CURRENT: &str = "current";
/// Files that are read or written at the same time.
const CONCURRENCY: usize = 16;
/// The most files of a release.
const MAX_FILES: usize = 2000;
/// The most bytes of the files of a release.
const MAX_BYTES: usize = 32 << 20;
/// Earlier releases that the pointer remembers.
const MAX_PREVIOUS: usize = 100;
/// Hexadecimal digits of the hash in an id.
const HASH_DIGITS: usize = 12;

/// Why releases cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum ReleaseError {
    /// The store failed. Retryable.
    #[error("{path}: {source}")]
    Store {
        /// The object.
        path: String,
        /// Error of the store.
        source: Error,
    },
    /// There is no such release.
    #[error("there is no release {0}: `pinlake release list` shows the releases of a lake")]
    Unknown(String),
    /// An object of a release is missing or has changed.
    #[error("release {id} is damaged: {path}: {why}")]
    Damaged {
        /// The release.
        id: String,
        /// The object.
        path: String,
        /// What is wrong.
        why: String,
    },
    /// Someone else switched to another release in between.
    #[error(
        "the current release has changed meanwhile: look at `pinlake release list`, and repeat the command"
    )]
    Conflict,
    /// The content cannot be a release.
    #[error("{0}")]
    Invalid(String),
}

impl ReleaseError {
    /// Whether repeating the same call can succeed.
    pub fn is_retryable(&self) -> bool {
        matches!(self, Self::Store { .. })
    }

    fn store(path: &Path) -> impl FnOnce(Error) -> Self {
        let path = path.to_string();
        |source| Self::Store { path, source }
    }
}

/// The files of a release: names without folders, and texts.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ReleaseFiles {
    /// The contracts, `*.toml`.
    pub datasets: Vec<(String, String)>,
    /// The queries, `*.sql`.
    pub queries: Vec<(String, String)>,
}

/// The description of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Release {
    /// Its id.
    pub id: String,
    /// When it was created.
    pub created_at: DateTime<Utc>,
    /// The hash of each file, by its path below the release.
    pub files: BTreeMap<String, String>,
}

/// Which release is in use. `None` stands for the contracts and queries that are built in.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CurrentRelease {
    /// The release in use.
    pub release: Option<String>,
    /// Since when.
    pub since: Option<DateTime<Utc>>,
    /// The releases in use before, the last one last.
    #[serde(default)]
    pub previous: Vec<Option<String>>,
}

/// The pointer as it was read, to be replaced on the condition that it is still the same.
#[derive(Debug, Clone, Default)]
pub struct ReadPointer {
    /// Its content; the default if there is none yet.
    pub current: CurrentRelease,
    version: Option<UpdateVersion>,
    /// Whether its content cannot be read, and is given as the default.
    is_damaged: bool,
}

impl ReadPointer {
    /// The ETag of the pointer, if there is one.
    pub fn e_tag(&self) -> Option<&str> {
        self.version.as_ref()?.e_tag.as_deref()
    }
}

/// The releases of a lake.
#[derive(Debug, Clone)]
pub struct Releases {
    store: Arc<dyn ObjectStore>,
}

impl Releases {
    /// The releases in `store`, whose root is the folder of releases.
    pub fn new(store: Arc<dyn ObjectStore>) -> Self {
        Self { store }
    }

    /// The releases of the lake in `store`.
    pub fn of_lake(store: Arc<dyn ObjectStore>) -> Self {
        Self::new(Arc::new(PrefixStore::new(store, RELEASES)))
    }

    /// Reads which release is in use.
    ///
    /// # Errors
    /// When the store fails, or the pointer is damaged.
    pub async fn read_pointer(&self) -> Result<ReadPointer, ReleaseError> {
        Ok(self.read_pointer_if_changed(None).await?.unwrap_or_default())
    }

    /// Reads the pointer to name another release in it, even if it is damaged. What was in use before is then unknown.
    ///
    /// # Errors
    /// When the store fails.
    pub async fn read_pointer_to_replace(&self) -> Result<ReadPointer, ReleaseError> {
        let Some((bytes, version)) = self.get_pointer(None).await?.flatten() else {
            return Ok(ReadPointer::default());
        };
        let current = serde_json::from_slice(&bytes);
        let is_damaged = current.is_err();
        Ok(ReadPointer { current: current.unwrap_or_default(), version: Some(version), is_damaged })
    }

    /// Reads which release is in use; `None` if the pointer still has this ETag.
    ///
    /// # Errors
    /// When the store fails, or the pointer is damaged.
    pub async fn read_pointer_if_changed(
        &self,
        e_tag: Option<&str>,
    ) -> Result<Option<ReadPointer>, ReleaseError> {
        let Some(found) = self.get_pointer(e_tag).await? else { return Ok(None) };
        let Some((bytes, version)) = found else { return Ok(Some(ReadPointer::default())) };
        let current = serde_json::from_slice(&bytes).map_err(|error| ReleaseError::Damaged {
            id: CURRENT.to_owned(),
            path: CURRENT.to_owned(),
            why: format!("{error}. Name a release with `pinlake release use`"),
        })?;
        Ok(Some(ReadPointer { current, version: Some(version), is_damaged: false }))
    }

    /// Gets the pointer: `None` if it still has this ETag, `Some(None)` if there is none.
    async fn get_pointer(
        &self,
        e_tag: Option<&str>,
    ) -> Result<Option<Option<(Bytes, UpdateVersion)>>, ReleaseError> {
        let path = Path::from(CURRENT);
        let options = GetOptions { if_none_match: e_tag.map(str::to_owned), ..GetOptions::default() };
        let object = match self.store.get_opts(&path, options).await {
            Ok(object) => object,
            Err(Error::NotModified { .. }) => return Ok(None),
            Err(Error::NotFound { .. }) => return Ok(Some(None)),
            // S3 says this instead of 404 to a role that may not list the whole bucket (API Reference, GetObject).
            Err(error @ Error::PermissionDenied { .. }) => {
                let listed =
                    self.store.list_with_delimiter(None).await.map_err(ReleaseError::store(&path))?;
                if listed.objects.iter().any(|object| object.location == path) {
                    return Err(ReleaseError::store(&path)(error));
                }
                return Ok(Some(None));
            }
            Err(error) => return Err(ReleaseError::store(&path)(error)),
        };
        let version =
            UpdateVersion { e_tag: object.meta.e_tag.clone(), version: object.meta.version.clone() };
        let bytes = object.bytes().await.map_err(ReleaseError::store(&path))?;
        Ok(Some(Some((bytes, version))))
    }

    /// Replaces the pointer, if it is still as `read`.
    ///
    /// # Errors
    /// [`ReleaseError::Conflict`] if it is not; also when the store fails.
    async fn replace(&self, read: &ReadPointer, current: &CurrentRelease) -> Result<(), ReleaseError> {
        let path = Path::from(CURRENT);
        let mode = read.version.clone().map_or(PutMode::Create, PutMode::Update);
        let bytes = serde_json::to_vec(current).map_err(|error| ReleaseError::Invalid(error.to_string()))?;
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.store.put_opts(&path, PutPayload::from(bytes), options).await {
            Ok(_) => Ok(()),
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Err(ReleaseError::Conflict),
            Err(error) => Err(ReleaseError::store(&path)(error)),
        }
    }

    /// Switches to a release, or to what is built in. Does nothing if it is in use.
    ///
    /// # Errors
    /// [`ReleaseError::Conflict`] if the pointer is no longer as `read`; also when the store fails.
    pub async fn switch(
        &self,
        read: &ReadPointer,
        to: Option<String>,
        now: DateTime<Utc>,
    ) -> Result<(), ReleaseError> {
        if read.current.release == to && !read.is_damaged {
            return Ok(());
        }
        let mut previous = read.current.previous.clone();
        previous.extend((!read.is_damaged).then(|| read.current.release.clone()));
        let surplus = previous.len().saturating_sub(MAX_PREVIOUS);
        previous.drain(..surplus);
        self.replace(read, &CurrentRelease { release: to, since: Some(now), previous }).await
    }

    /// Switches to the release that was in use before, and returns it.
    ///
    /// # Errors
    /// [`ReleaseError::Invalid`] if none was; as [`Self::switch`].
    pub async fn roll_back(
        &self,
        read: &ReadPointer,
        now: DateTime<Utc>,
    ) -> Result<Option<String>, ReleaseError> {
        let mut previous = read.current.previous.clone();
        let Some(release) = previous.pop() else {
            return Err(ReleaseError::Invalid(
                "no release was in use before: name one with `pinlake release use`".to_owned(),
            ));
        };
        self.replace(read, &CurrentRelease { release: release.clone(), since: Some(now), previous }).await?;
        Ok(release)
    }

    /// Writes a release, unless one with the same content exists. Returns its description, and whether it is new. An
    /// interrupted call leaves nothing that is a release.
    ///
    /// # Errors
    /// [`ReleaseError::Invalid`] for too many or too large files; also when the store fails.
    pub async fn create(
        &self,
        files: &ReleaseFiles,
        now: DateTime<Utc>,
    ) -> Result<(Release, bool), ReleaseError> {
        let texts = files.by_path();
        let bytes: usize = texts.values().map(|text| text.len()).sum();
        if texts.len() > MAX_FILES || bytes > MAX_BYTES {
            return Err(ReleaseError::Invalid(format!(
                "{} files with {bytes} bytes, and a release has at most {MAX_FILES} files with {MAX_BYTES} bytes",
                texts.len()
            )));
        }
        let hash = hash_files(&texts);
        let existing = self.list_ids().await?.into_iter().filter(|id| id.ends_with(&format!("-{hash}")));
        for id in existing {
            // One without a description was interrupted.
            if let Some(release) = self.read_release(&id).await? {
                return Ok((release, false));
            }
        }
        let id = format!("{}-{hash}", now.format("%Y%m%dT%H%M%SZ"));
        let mut puts: Vec<BoxFuture<'_, _>> = Vec::with_capacity(texts.len());
        for (path, text) in &texts {
            puts.push(self.put_file(file_path(&id, path), (*text).to_owned()).boxed());
        }
        futures::stream::iter(puts).buffer_unordered(CONCURRENCY).try_collect::<Vec<_>>().await?;
        let files = texts.iter().map(|(path, text)| (path.clone(), hash_text(text))).collect();
        let release = Release { id: id.clone(), created_at: now, files };
        let bytes = serde_json::to_vec(&release).map_err(|error| ReleaseError::Invalid(error.to_string()))?;
        let path = Path::from_iter([&id, MANIFEST]);
        put_if_absent(&*self.store, &path, bytes.into()).await.map_err(ReleaseError::store(&path))?;
        Ok((release, true))
    }

    async fn put_file(&self, path: Path, text: String) -> Result<(), ReleaseError> {
        let put = put_if_absent(&*self.store, &path, text.into()).await;
        put.map(drop).map_err(ReleaseError::store(&path))
    }

    /// Lists all releases, the oldest first.
    ///
    /// # Errors
    /// When the store fails, or a description is damaged.
    pub async fn list(&self) -> Result<Vec<Release>, ReleaseError> {
        let ids = self.list_ids().await?;
        let reads: Vec<BoxFuture<'_, _>> = ids.iter().map(|id| self.read_release(id).boxed()).collect();
        let read: Vec<_> = futures::stream::iter(reads).buffered(CONCURRENCY).try_collect().await?;
        Ok(read.into_iter().flatten().collect())
    }

    async fn list_ids(&self) -> Result<Vec<String>, ReleaseError> {
        let listed = self.store.list_with_delimiter(None).await;
        let listed = listed.map_err(ReleaseError::store(&Path::default()))?;
        let names = listed.common_prefixes.iter().filter_map(|folder| folder.filename());
        let mut ids: Vec<String> = names.filter(|name| is_id(name)).map(str::to_owned).collect();
        ids.sort();
        Ok(ids)
    }

    async fn read_release(&self, id: &str) -> Result<Option<Release>, ReleaseError> {
        let path = Path::from_iter([id, MANIFEST]);
        read_json(&*self.store, &path).await.map_err(|error| match error {
            pinlake_store::JsonError::Store(source) => ReleaseError::store(&path)(source),
            pinlake_store::JsonError::Json(error) => {
                ReleaseError::Damaged { id: id.to_owned(), path: path.to_string(), why: error.to_string() }
            }
        })
    }

    /// The description of a release.
    ///
    /// # Errors
    /// [`ReleaseError::Unknown`] if there is none; also when the store fails.
    pub async fn find(&self, id: &str) -> Result<Release, ReleaseError> {
        let found = if is_id(id) { self.read_release(id).await? } else { None };
        found.ok_or_else(|| ReleaseError::Unknown(id.to_owned()))
    }

    /// Reads a release; the queries only if `with_queries`.
    ///
    /// # Errors
    /// [`ReleaseError::Unknown`], [`ReleaseError::Damaged`]; also when the store fails.
    pub async fn read(&self, id: &str, with_queries: bool) -> Result<ReleaseFiles, ReleaseError> {
        let release = self.find(id).await?;
        let mut paths: Vec<&String> = release.files.keys().take(MAX_FILES).collect();
        paths.retain(|path| with_queries || path.starts_with(DATASETS));
        let reads: Vec<BoxFuture<'_, _>> =
            paths.iter().map(|path| self.read_file(id, path, &release.files[*path]).boxed()).collect();
        let read: Vec<String> = futures::stream::iter(reads).buffered(CONCURRENCY).try_collect().await?;
        let mut files = ReleaseFiles::default();
        for (path, text) in paths.into_iter().zip(read) {
            match path.split_once('/') {
                Some((DATASETS, name)) => files.datasets.push((name.to_owned(), text)),
                Some((QUERIES, name)) => files.queries.push((name.to_owned(), text)),
                _ => {}
            }
        }
        Ok(files)
    }

    async fn read_file(&self, id: &str, path: &str, hash: &str) -> Result<String, ReleaseError> {
        let damaged = |why: &str| ReleaseError::Damaged {
            id: id.to_owned(),
            path: path.to_owned(),
            why: why.to_owned(),
        };
        let path = file_path(id, path);
        let object = match self.store.get(&path).await {
            Ok(object) => object,
            Err(Error::NotFound { .. }) => return Err(damaged("the file is missing")),
            Err(error) => return Err(ReleaseError::store(&path)(error)),
        };
        if object.meta.size > MAX_BYTES as u64 {
            return Err(damaged("the file is too large"));
        }
        let bytes = object.bytes().await.map_err(ReleaseError::store(&path))?;
        let text = String::from_utf8(bytes.to_vec()).map_err(|_| damaged("the file is not UTF-8"))?;
        if hash_text(&text) != hash {
            return Err(damaged("the file has changed since the release was created"));
        }
        Ok(text)
    }
}

impl ReleaseFiles {
    fn by_path(&self) -> BTreeMap<String, &str> {
        let datasets = self.datasets.iter().map(|(name, text)| (format!("{DATASETS}/{name}"), text.as_str()));
        let queries = self.queries.iter().map(|(name, text)| (format!("{QUERIES}/{name}"), text.as_str()));
        datasets.chain(queries).collect()
    }
}

/// Where a file of a release is: `path` is its folder and its name.
fn file_path(id: &str, path: &str) -> Path {
    let (folder, name) = path.split_once('/').unwrap_or((path, ""));
    Path::from_iter([id, folder, name])
}

/// Whether a text has the form of an id.
fn is_id(text: &str) -> bool {
    let Some((time, hash)) = text.split_once('-') else { return false };
    let is_time = time.len() == 16 && time.bytes().all(|byte| byte.is_ascii_digit() || b"TZ".contains(&byte));
    is_time && hash.len() == HASH_DIGITS && hash.bytes().all(|byte| byte.is_ascii_hexdigit())
}

fn hash_text(text: &str) -> String {
    blake3::hash(text.as_bytes()).to_hex().to_string()
}

fn hash_files(files: &BTreeMap<String, &str>) -> String {
    let mut hasher = blake3::Hasher::new();
    for part in files.iter().flat_map(|(path, text)| [path.as_str(), text]) {
        hasher.update(&(part.len() as u64).to_le_bytes());
        hasher.update(part.as_bytes());
    }
    hasher.finalize().to_hex()[..HASH_DIGITS].to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::memory::InMemory;

    fn files(contract: &str) -> ReleaseFiles {
        ReleaseFiles {
            datasets: vec![("a b.toml".to_owned(), contract.to_owned())],
            queries: vec![("q.sql".to_owned(), "SELECT 1".to_owned())],
        }
    }

    fn at(second: i64) -> DateTime<Utc> {
        DateTime::from_timestamp(1_795_900_000 + second, 0).unwrap()
    }

    #[tokio::test]
    async fn equal_content_is_one_release_and_is_read_as_it_was_written() {
        let lake: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let releases = Releases::of_lake(lake.clone());
        let (first, is_new) = releases.create(&files("one"), at(0)).await.unwrap();
        assert!(is_new && first.id.starts_with("20261128T") && is_id(&first.id), "{}", first.id);
        assert_eq!(releases.create(&files("one"), at(9)).await.unwrap(), (first.clone(), false));
        let (second, _) = releases.create(&files("two"), at(9)).await.unwrap();
        assert!(second.id > first.id);
        assert_eq!(releases.list().await.unwrap(), [first.clone(), second]);
        assert_eq!(releases.read(&first.id, true).await.unwrap(), files("one"));
        assert!(releases.read(&first.id, false).await.unwrap().queries.is_empty());
        for unknown in ["", "current", "../x", "20261128T000000Z-0123456789ab"] {
            assert!(matches!(releases.find(unknown).await, Err(ReleaseError::Unknown(_))), "{unknown}");
        }
    }

    #[tokio::test]
    async fn what_is_not_complete_or_has_changed_is_no_release() {
        let lake: Arc<dyn ObjectStore> = Arc::new(InMemory::new());
        let releases = Releases::of_lake(lake.clone());
        let (release, _) = releases.create(&files("one"), at(0)).await.unwrap();
        let path = |name: &str| Path::from(format!("releases/{}/{name}", release.id));
        lake.put(&path("queries/q.sql"), "SELECT 2".into()).await.unwrap();
        assert!(releases.read(&release.id, false).await.is_ok(), "the contracts are as they were");
        let changed = releases.read(&release.id, true).await.unwrap_err();
        assert!(!changed.is_retryable() && changed.to_string().contains("queries/q.sql"), "{changed}");
        lake.delete(&path("queries/q.sql")).await.unwrap();
        assert!(releases.read(&release.id, true).await.unwrap_err().to_string().contains("missing"));
        lake.delete(&path("release.json")).await.unwrap();
        assert!(releases.list().await.unwrap().is_empty());
        let (again, is_new) = releases.create(&files("one"), at(60)).await.unwrap();
        assert!(is_new && releases.read(&again.id, true).await.is_ok());
    }

    #[tokio::test]
    async fn switching_is_conditional_and_rolling_back_goes_to_the_release_before() {
        let releases = Releases::of_lake(Arc::new(InMemory::new()));
        let empty = releases.read_pointer().await.unwrap();
        assert_eq!(empty.current, CurrentRelease::default());
        for name in ["a", "b", "c"] {
            let read = releases.read_pointer().await.unwrap();
            releases.switch(&read, Some(name.to_owned()), at(0)).await.unwrap();
            assert!(matches!(
                releases.switch(&empty, Some("x".to_owned()), at(0)).await,
                Err(ReleaseError::Conflict)
            ));
        }
        let read = releases.read_pointer().await.unwrap();
        assert!(releases.read_pointer_if_changed(read.e_tag()).await.unwrap().is_none());
        assert_eq!(read.current.previous, [None, Some("a".to_owned()), Some("b".to_owned())]);
        for expected in [Some("b"), Some("a"), None] {
            let read = releases.read_pointer().await.unwrap();
            assert_eq!(releases.roll_back(&read, at(1)).await.unwrap().as_deref(), expected);
        }
        let read = releases.read_pointer().await.unwrap();
        assert!(matches!(releases.roll_back(&read, at(1)).await, Err(ReleaseError::Invalid(_))));
    }

    #[tokio::test]
    async fn a_damaged_pointer_is_replaced() {
        for to in [None, Some("a".to_owned())] {
            let store = Arc::new(InMemory::new());
            store.put(&Path::from("releases/current"), "{".into()).await.unwrap();
            let releases = Releases::of_lake(store);
            assert!(matches!(releases.read_pointer().await, Err(ReleaseError::Damaged { .. })));
            let read = releases.read_pointer_to_replace().await.unwrap();
            releases.switch(&read, to.clone(), at(0)).await.unwrap();
            let current = releases.read_pointer().await.unwrap().current;
            assert_eq!((current.release, current.previous), (to, Vec::new()));
        }
    }
}
