//! Atomic file replacement: after a crash, a file has its old or its new content.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use pinlake_platform::folder::sync_folder;
use serde::Serialize;
use tempfile::NamedTempFile;

/// Read and write for the owner only.
const OWNER_ONLY: u32 = 0o600;
/// The default mode of new files; the umask applies.
const DEFAULT_MODE: u32 = 0o666;

/// Creates a temporary file in the folder of `path`, so that [`persist`] can rename it. Its name is unique: two runs do not
/// write into the same file. It is removed when it is dropped.
pub fn create(path: &Path) -> io::Result<NamedTempFile> {
    create_with_mode(path, DEFAULT_MODE)
}

fn create_with_mode(path: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".part").permissions(Permissions::from_mode(mode));
    builder.tempfile_in(parent_of(path))
}

/// Moves the file to `path`, replacing what is there. It is durable when this returns.
pub fn persist(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The new name is durable after the folder is synced.
    sync_folder(parent_of(path))
}

/// Replaces `path` by a value as JSON. It is durable when this returns.
pub fn replace_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    replace(path, DEFAULT_MODE, &serde_json::to_vec(value)?)
}

/// Like [`replace_json`], readable by the owner only.
pub fn replace_json_private(path: &Path, value: &impl Serialize) -> io::Result<()> {
    replace(path, OWNER_ONLY, &serde_json::to_vec(value)?)
}

fn replace(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = create_with_mode(path, mode)?;
    file.write_all(bytes)?;
    persist(file, path)
}

/// Opens or creates a file that only its owner can read. The permissions of an existing file are changed before anything
/// is written.
pub fn open_private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.create(true).mode(OWNER_ONLY).open(path)?;
    file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
    Ok(file)
}

fn parent_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_new_file_replaces_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        replace_json(&path, &"old").unwrap();
        replace_json(&path, &"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"\"new\"");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no temporary file is left behind");
    }

    #[test]
    fn a_private_file_is_readable_by_its_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        fs::write(&path, "old").unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        replace_json_private(&path, &"new").unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"\"new\""[..], 0o600));

        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        open_private(OpenOptions::new().append(true), &path).unwrap().write_all(b"er").unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"\"new\"er"[..], 0o600));
    }

    #[test]
    fn two_runs_do_not_write_into_the_same_temporary_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let (mut one, mut other) = (create(&path).unwrap(), create(&path).unwrap());
        one.write_all(b"one, which is longer").unwrap();
        other.write_all(b"other").unwrap();
        persist(one, &path).unwrap();
        persist(other, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"other");
        drop(create(&path).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "an unfinished file is removed");
    }
}
