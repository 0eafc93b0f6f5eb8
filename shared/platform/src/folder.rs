//! A folder of this machine as an [`ObjectStore`] that keeps what the commit protocol asks of a store.
//!
//! [`LocalFileSystem`] names, reads and lists. It has no compare-and-swap, does not say when a file is durable, and answers
//! the deletion of a missing file with an error, unlike S3. So whatever changes the folder is done here:
//!
//! - **Whole.** An object is written to a staged file beside it, which is synchronised, and then renamed or linked into
//!   place. A reader sees the old object or the new one. Staged files are named `.pinlake#<number>`, which no listing of
//!   [`LocalFileSystem`] shows.
//! - **Durable.** A put returns when the file and the folders above it are synchronised.
//! - **Compare-and-swap.** Whoever replaces or removes an object holds the lock of the folder (`flock` or what the
//!   system has, on `.pinlake-lock#0`) from the comparison to the rename, across all processes of the machine that
//!   use this module. The system takes the lock from a process that dies. What only creates needs no lock: to link a
//!   file under a name that exists fails, and while an update holds the lock the name does exist.
//! - **Versions that differ.** The ETag is that of [`LocalFileSystem`]: inode, time and size. File systems use inodes
//!   again at once, and their own time stands still for milliseconds. So the file's time is set from the clock, and under the
//!   lock always to more than that of the object which is replaced.
//!
//! What a folder cannot do and S3 can: hold an object below the name of another one (`a` and `a/b`), a name that ends in
//! `#` and digits, or a path segment of more than 255 bytes. These are errors.

use std::fmt;
use std::fs::{self, File, OpenOptions};
use std::io::{self, ErrorKind, Seek, SeekFrom, Write};
use std::path::{Path as FilePath, PathBuf};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use futures::stream::{BoxStream, StreamExt};
use object_store::local::LocalFileSystem;
use object_store::path::Path;
use object_store::{
    CopyMode, CopyOptions, Error, GetOptions, GetResult, ListResult, MultipartUpload, ObjectMeta,
    ObjectStore, PutMode, PutMultipartOptions, PutOptions, PutPayload, PutResult, Result, UploadPart,
};
use pinlake_env::Clock;

const STORE: &str = "folder";
/// In the folder's root. No listing shows a name that ends in `#` and digits.
const LOCK: &str = ".pinlake-lock#0";
/// What staged files are called, before their number.
const STAGED: &str = ".pinlake#";
/// How often a staged file is tried for: its name may be taken by a process that died, its folder be removed as empty.
const ATTEMPTS: u64 = 1_000;
/// Objects that are deleted at once.
const CONCURRENCY: usize = 10;

/// Tells the staged files of this process apart.
static STAGED_FILES: AtomicU64 = AtomicU64::new(0);

/// A folder. Cheap to clone.
#[derive(Debug, Clone)]
pub struct FolderStore {
    files: LocalFileSystem,
    root: Arc<FilePath>,
    clock: Arc<dyn Clock>,
}

impl fmt::Display for FolderStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.root.display())
    }
}

impl FolderStore {
    /// The store of a folder that is there. Nothing is written before the first put or delete, so that a folder which may
    /// only be read can be read.
    ///
    /// # Errors
    /// When the folder is not there.
    pub fn new(folder: &FilePath, clock: Arc<dyn Clock>) -> Result<Self> {
        let root = fs::canonicalize(folder).map_err(|error| failure("cannot find", folder, error))?;
        // Empty folders are no objects on S3 either.
        let files = LocalFileSystem::new_with_prefix(&root)?.with_automatic_cleanup(true);
        Ok(Self { files, root: root.into(), clock })
    }

    /// Held until the file is closed. Each holder opens it anew: the lock is the open file's, not the process's.
    fn lock(&self) -> Result<File> {
        let path = self.root.join(LOCK);
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = open.and_then(|file| file.lock().map(|()| file));
        lock.map_err(|error| failure("cannot lock", &path, error))
    }

    /// Puts a staged file in its place, durable before it returns.
    fn place(&self, staged: &Staged, place: &Place, mode: &PutMode) -> Result<PutResult> {
        let Place { location, path } = place;
        let cannot = |error| failure("cannot write", path, error);
        let file = staged.file();
        file.sync_all().map_err(cannot)?;
        let now = SystemTime::from(self.clock.now());
        match mode {
            PutMode::Create => {
                file.set_modified(now).map_err(cannot)?;
                fs::hard_link(&staged.path, path).map_err(|error| match error.kind() {
                    ErrorKind::AlreadyExists => {
                        Error::AlreadyExists { path: location.to_string(), source: error.into() }
                    }
                    _ => cannot(error),
                })?;
            }
            PutMode::Overwrite | PutMode::Update(_) => {
                let lock = self.lock()?;
                let present = match fs::metadata(path) {
                    Ok(metadata) => Some(metadata),
                    Err(error) if error.kind() == ErrorKind::NotFound => None,
                    Err(error) => return Err(cannot(error)),
                };
                if let PutMode::Update(version) = mode {
                    let wanted = version.e_tag.as_ref().ok_or_else(|| no_e_tag(location))?;
                    let found = present.as_ref().map(e_tag);
                    if found.as_ref() != Some(wanted) {
                        let found = found.as_deref().unwrap_or("nothing");
                        let source = format!("it is not {wanted} any more but {found}").into();
                        return Err(Error::Precondition { path: location.to_string(), source });
                    }
                }
                let replaced = present.and_then(|metadata| metadata.modified().ok());
                let later = replaced.and_then(|at| at.checked_add(Duration::from_micros(1)));
                file.set_modified(later.map_or(now, |later| later.max(now))).map_err(cannot)?;
                staged.rename(path).map_err(cannot)?;
                drop(lock);
            }
        }
        let e_tag = e_tag(&file.metadata().map_err(cannot)?);
        drop(file);
        sync_folders(path, &staged.synced).map_err(cannot)?;
        Ok(PutResult { e_tag: Some(e_tag), version: None })
    }

    fn at(&self, location: &Path) -> Result<Place> {
        Ok(Place { location: location.clone(), path: self.files.path_to_filesystem(location)? })
    }

    async fn delete_one(&self, location: Path) -> Result<Path> {
        let store = self.clone();
        // The lock is held until the file is gone, even if nobody waits for that any more.
        blocking(move || {
            let Place { path, .. } = store.at(&location)?;
            let lock = store.lock()?;
            match fs::remove_file(&path) {
                Ok(()) => {}
                Err(error) if is_missing(&error) => return Ok(location),
                Err(error) => return Err(failure("cannot delete", &path, error)),
            }
            drop(lock);
            let above = path.ancestors().skip(1).take_while(|folder| **folder != *store.root);
            // The first that is not empty ends it.
            above.map(fs::remove_dir).take_while(io::Result::is_ok).for_each(drop);
            Ok(location)
        })
        .await
    }
}

/// Makes the name of `path` durable: a name is durable when its folder is, and a new folder when the one above it is, up to
/// `synced`, which was there before.
fn sync_folders(path: &FilePath, synced: &FilePath) -> io::Result<()> {
    let parent = path.parent();
    let above = path.ancestors().skip(1);
    for folder in above.take_while(|folder| Some(*folder) == parent || folder.starts_with(synced)) {
        match sync_folder(folder) {
            // The object was deleted already, and its folder with it.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

/// Where an object lies.
#[derive(Debug, Clone)]
struct Place {
    location: Path,
    path: PathBuf,
}

/// A file that is not in its place yet; it goes when this goes, unless it was renamed.
#[derive(Debug)]
struct Staged {
    file: Mutex<File>,
    path: PathBuf,
    /// The lowest folder above it that was there before it was made.
    synced: PathBuf,
    is_renamed: AtomicBool,
}

impl Staged {
    /// Makes the folders above `target` and a file beside it.
    fn beside(target: &FilePath) -> Result<Self> {
        let folder = target.parent().unwrap_or(FilePath::new("."));
        let mut synced = folder;
        let mut last = None;
        for _ in 0..ATTEMPTS {
            let number = STAGED_FILES.fetch_add(1, Ordering::Relaxed);
            let path = folder.join(format!("{STAGED}{}{number:09}", std::process::id()));
            match OpenOptions::new().read(true).write(true).create_new(true).open(&path) {
                Ok(file) => {
                    let (file, is_renamed) = (Mutex::new(file), AtomicBool::new(false));
                    return Ok(Self { file, path, synced: synced.to_owned(), is_renamed });
                }
                Err(error) if error.kind() == ErrorKind::AlreadyExists => last = Some(error),
                // Whoever deletes an object removes the folders that it leaves empty, also those just made.
                Err(error) if error.kind() == ErrorKind::NotFound => {
                    last = Some(error);
                    while !synced.exists()
                        && let Some(above) = synced.parent()
                    {
                        synced = above;
                    }
                    match fs::create_dir_all(folder) {
                        Err(error) if error.kind() != ErrorKind::NotFound => {
                            return Err(failure("cannot make", folder, error));
                        }
                        _ => {}
                    }
                }
                Err(error) => return Err(failure("cannot write", &path, error)),
            }
        }
        Err(failure("cannot write", target, last.unwrap_or_else(|| ErrorKind::Other.into())))
    }

    fn file(&self) -> std::sync::MutexGuard<'_, File> {
        self.file.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn rename(&self, to: &FilePath) -> io::Result<()> {
        fs::rename(&self.path, to)?;
        self.is_renamed.store(true, Ordering::Relaxed);
        Ok(())
    }
}

impl Drop for Staged {
    fn drop(&mut self) {
        if !self.is_renamed.load(Ordering::Relaxed)
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(path = %self.path.display(), %error, "staged file cannot be removed, it can be by hand");
        }
    }
}

#[async_trait]
impl ObjectStore for FolderStore {
    async fn put_opts(&self, location: &Path, payload: PutPayload, options: PutOptions) -> Result<PutResult> {
        let (store, place) = (self.clone(), self.at(location)?);
        blocking(move || {
            let staged = Staged::beside(&place.path)?;
            let mut file = staged.file();
            let written = payload.iter().try_for_each(|chunk| file.write_all(chunk));
            drop(file);
            written.map_err(|error| failure("cannot write", &place.path, error))?;
            store.place(&staged, &place, &options.mode)
        })
        .await
    }

    async fn put_multipart_opts(
        &self,
        location: &Path,
        _options: PutMultipartOptions,
    ) -> Result<Box<dyn MultipartUpload>> {
        let place = self.at(location)?;
        let path = place.path.clone();
        let staged = blocking(move || Staged::beside(&path)).await?;
        Ok(Box::new(Upload { store: self.clone(), place, staged: Some(Arc::new(staged)), next: 0 }))
    }

    async fn get_opts(&self, location: &Path, options: GetOptions) -> Result<GetResult> {
        self.files.get_opts(location, options).await
    }

    fn delete_stream(&self, locations: BoxStream<'static, Result<Path>>) -> BoxStream<'static, Result<Path>> {
        let store = self.clone();
        locations
            .map(move |location| {
                let store = store.clone();
                async move { store.delete_one(location?).await }
            })
            .buffered(CONCURRENCY)
            .boxed()
    }

    fn list(&self, prefix: Option<&Path>) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list(prefix)
    }

    fn list_with_offset(
        &self,
        prefix: Option<&Path>,
        offset: &Path,
    ) -> BoxStream<'static, Result<ObjectMeta>> {
        self.files.list_with_offset(prefix, offset)
    }

    async fn list_with_delimiter(&self, prefix: Option<&Path>) -> Result<ListResult> {
        self.files.list_with_delimiter(prefix).await
    }

    async fn copy_opts(&self, from: &Path, to: &Path, options: CopyOptions) -> Result<()> {
        let (store, from, to) = (self.clone(), self.at(from)?, self.at(to)?);
        blocking(move || {
            let mut source = File::open(&from.path).map_err(|error| match is_missing(&error) {
                true => Error::NotFound { path: from.location.to_string(), source: error.into() },
                false => failure("cannot read", &from.path, error),
            })?;
            let staged = Staged::beside(&to.path)?;
            // A copy, and no second name of the same file: somebody may write to that.
            let copied = io::copy(&mut source, &mut *staged.file());
            copied.map_err(|error| failure("cannot copy to", &to.path, error))?;
            let mode = match options.mode {
                CopyMode::Overwrite => PutMode::Overwrite,
                CopyMode::Create => PutMode::Create,
            };
            store.place(&staged, &to, &mode).map(drop)
        })
        .await
    }
}

/// An object that is written in parts.
#[derive(Debug)]
struct Upload {
    store: FolderStore,
    place: Place,
    staged: Option<Arc<Staged>>,
    /// Where the next part begins.
    next: u64,
}

impl Upload {
    fn ended(&self) -> Error {
        let source = format!("the upload of {} has ended already", self.place.location).into();
        Error::Generic { store: STORE, source }
    }
}

#[async_trait]
impl MultipartUpload for Upload {
    fn put_part(&mut self, data: PutPayload) -> UploadPart {
        let at = self.next;
        self.next += data.content_length() as u64;
        let (staged, path) = (self.staged.clone().ok_or_else(|| self.ended()), self.place.path.clone());
        Box::pin(async move {
            let staged = staged?;
            blocking(move || {
                let mut file = staged.file();
                let written = file
                    .seek(SeekFrom::Start(at))
                    .and_then(|_| data.iter().try_for_each(|chunk| file.write_all(chunk)));
                written.map_err(|error| failure("cannot write", &path, error))
            })
            .await
        })
    }

    async fn complete(&mut self) -> Result<PutResult> {
        let staged = self.staged.take().ok_or_else(|| self.ended())?;
        let (store, place) = (self.store.clone(), self.place.clone());
        blocking(move || store.place(&staged, &place, &PutMode::Overwrite)).await
    }

    async fn abort(&mut self) -> Result<()> {
        // It goes with its file when the last part that is being written is done.
        self.staged.take().map(drop).ok_or_else(|| self.ended())
    }
}

/// Synchronises a folder's own entries, where the system can.
///
/// # Errors
/// When the folder is not there or the disk fails.
pub fn sync_folder(folder: &FilePath) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// As [`LocalFileSystem`] makes it for what is read and listed.
fn e_tag(metadata: &fs::Metadata) -> String {
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let inode = 0_u64;
    let modified = metadata.modified().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    format!("{inode:x}-{:x}-{:x}", modified.unwrap_or_default().as_micros(), metadata.len())
}

/// Work that waits for the disk, off the threads that wait for nothing. It goes on to its end when the caller goes.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await?,
        Err(_) => work(),
    }
}

/// Also where a part of the path is a file: S3 would say that there is no such key.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory)
}

fn no_e_tag(location: &Path) -> Error {
    Error::Generic { store: STORE, source: format!("an update of {location} must name an ETag").into() }
}

fn failure(what: &str, path: &FilePath, error: io::Error) -> Error {
    let source = io::Error::new(error.kind(), format!("{what} {}: {error}", path.display()));
    Error::Generic { store: STORE, source: source.into() }
}
