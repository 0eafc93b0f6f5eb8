//! A local folder as an [`ObjectStore`] with the guarantees that the commit protocol needs.
//!
//! [`LocalFileSystem`] serves reads and listings. But it has no compare-and-swap, does not guarantee durability, and
//! fails to delete a missing file, unlike S3. So this module implements all writes:
//!
//! - **Atomicity.** An object is written to a staged file in the same folder, synced, and then renamed or linked into
//!   place. A reader sees the old object or the new one. Staged files are named `.pinlake#<number>`, which
//!   [`LocalFileSystem`] does not list.
//! - **Durability.** A put returns after the file and its parent folders are synced.
//! - **Compare-and-swap.** A replacement or deletion holds the lock of the folder (`flock` or its equivalent, on
//!   `.pinlake-lock#0`) from the comparison to the rename, against all processes of the machine that use this module.
//!   The operating system releases the lock of a process that dies. A creation needs no lock: linking a file to an
//!   existing name fails, and the name exists while an update holds the lock.
//! - **Distinct versions.** The ETag is that of [`LocalFileSystem`]: inode, modification time and size. File systems
//!   reuse inodes immediately, and their clocks tick in milliseconds. So the modification time is set from the clock,
//!   and a replacement always gets a later one than the object that it replaces.
//!
//! Unlike S3, a folder cannot hold an object below the name of another one (`a` and `a/b`), a name that ends in `#` and
//! digits, or a path segment of more than 255 bytes. These are errors.

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
/// Lock file in the root. Listings skip names that end in `#` and digits.
const LOCK: &str = ".pinlake-lock#0";
/// Prefix of the names of staged files.
const STAGED: &str = ".pinlake#";
/// Attempts to create a staged file. Its name can be left over from a dead process, and its folder can be removed as
/// empty.
const ATTEMPTS: u64 = 1_000;
/// Objects that are deleted concurrently.
const CONCURRENCY: usize = 10;

/// Numbers the staged files of this process.
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
    /// Opens an existing folder. Nothing is written before the first put or delete, so a read-only folder can be read.
    ///
    /// # Errors
    /// When the folder does not exist.
    pub fn new(folder: &FilePath, clock: Arc<dyn Clock>) -> Result<Self> {
        let root = fs::canonicalize(folder).map_err(|error| failure("cannot find", folder, error))?;
        // S3 has no empty folders either.
        let files = LocalFileSystem::new_with_prefix(&root)?.with_automatic_cleanup(true);
        Ok(Self { files, root: root.into(), clock })
    }

    /// Takes the lock, which is held until the file is closed. Each holder opens the file itself, because the lock
    /// belongs to the open file and not to the process.
    fn lock(&self) -> Result<File> {
        let path = self.root.join(LOCK);
        let open = OpenOptions::new().create(true).truncate(false).write(true).open(&path);
        let lock = open.and_then(|file| file.lock().map(|()| file));
        lock.map_err(|error| failure("cannot lock", &path, error))
    }

    /// Moves a staged file into place. It is durable on return.
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
        // The lock is held until the file is deleted, even if the caller is cancelled.
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
            // Stops at the first folder that is not empty.
            above.map(fs::remove_dir).take_while(io::Result::is_ok).for_each(drop);
            Ok(location)
        })
        .await
    }
}

/// Makes the name of `path` durable by syncing its folder, and the parent of each new folder, up to `synced`, which
/// existed before.
fn sync_folders(path: &FilePath, synced: &FilePath) -> io::Result<()> {
    let parent = path.parent();
    let above = path.ancestors().skip(1);
    for folder in above.take_while(|folder| Some(*folder) == parent || folder.starts_with(synced)) {
        match sync_folder(folder) {
            // The object has been deleted already, and its folder with it.
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            done => done?,
        }
    }
    Ok(())
}

/// The path of an object in the store and in the file system.
#[derive(Debug, Clone)]
struct Place {
    location: Path,
    path: PathBuf,
}

/// A file that is not in place yet. Dropping this deletes the file, unless it was renamed.
#[derive(Debug)]
struct Staged {
    file: Mutex<File>,
    path: PathBuf,
    /// The lowest parent folder that existed before.
    synced: PathBuf,
    is_renamed: AtomicBool,
}

impl Staged {
    /// Creates the parent folders of `target`, and a staged file next to it.
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
                // A concurrent deletion removes empty folders, including those created here.
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
            tracing::warn!(path = %self.path.display(), %error, "cannot remove a staged file, remove it by hand");
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
            // A copy and not a link, because another program can write to the file.
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

/// A multipart upload.
#[derive(Debug)]
struct Upload {
    store: FolderStore,
    place: Place,
    staged: Option<Arc<Staged>>,
    /// Offset of the next part.
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
        // The staged file is deleted when the last write to it has ended.
        self.staged.take().map(drop).ok_or_else(|| self.ended())
    }
}

/// Syncs the entries of a folder, if the operating system can.
///
/// # Errors
/// When the folder does not exist or the disk fails.
pub fn sync_folder(folder: &FilePath) -> io::Result<()> {
    #[cfg(unix)]
    File::open(folder)?.sync_all()?;
    #[cfg(not(unix))]
    let _ = folder;
    Ok(())
}

/// Computes the ETag as [`LocalFileSystem`] does for reads and listings.
fn e_tag(metadata: &fs::Metadata) -> String {
    #[cfg(unix)]
    let inode = std::os::unix::fs::MetadataExt::ino(metadata);
    #[cfg(not(unix))]
    let inode = 0_u64;
    let modified = metadata.modified().ok().and_then(|at| at.duration_since(SystemTime::UNIX_EPOCH).ok());
    format!("{inode:x}-{:x}-{:x}", modified.unwrap_or_default().as_micros(), metadata.len())
}

/// Runs blocking work on the runtime's blocking threads. The work continues if the caller is cancelled.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> Result<T> + Send + 'static) -> Result<T> {
    match tokio::runtime::Handle::try_current() {
        Ok(runtime) => runtime.spawn_blocking(work).await?,
        Err(_) => work(),
    }
}

/// Returns whether there is no such object. True also if a parent is a file: S3 would answer that there is no such key.
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
