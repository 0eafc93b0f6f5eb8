//! Files that are either the old one or the new one, never half of it.

use std::fs::{File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use pinlake_platform::folder::sync_folder;
use serde::Serialize;
use tempfile::NamedTempFile;

/// Read and write for the owner, nothing for others.
const OWNER_ONLY: u32 = 0o600;
/// As any file that a program makes: less what the user's umask takes away.
const ORDINARY: u32 = 0o666;

/// A file that grows beside the place of `path` until [`finish`] puts it there: the rename stays on one file system. Its
/// name is its own, so two runs do not write into each other's; it goes with its value, if it is not finished.
pub fn begin(path: &Path) -> io::Result<NamedTempFile> {
    begin_with(path, ORDINARY)
}

fn begin_with(path: &Path, mode: u32) -> io::Result<NamedTempFile> {
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".part").permissions(Permissions::from_mode(mode));
    builder.tempfile_in(folder_of(path))
}

/// Puts a file in the place of whatever is at `path`, in one step, durable before it returns.
pub fn finish(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The name is in the folder, and durable when that is.
    sync_folder(folder_of(path))
}

/// Puts a value as JSON in the place of whatever is at `path`, in one step, durable before it returns.
pub fn replace_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    replace(path, ORDINARY, &serde_json::to_vec(value)?)
}

/// As [`replace_json`]; only its owner may read the file.
pub fn replace_json_private(path: &Path, value: &impl Serialize) -> io::Result<()> {
    replace(path, OWNER_ONLY, &serde_json::to_vec(value)?)
}

fn replace(path: &Path, mode: u32, bytes: &[u8]) -> io::Result<()> {
    let mut file = begin_with(path, mode)?;
    file.write_all(bytes)?;
    finish(file, path)
}

/// Opens a file, or makes it, that only its owner may read. One that is there already is closed to others before
/// anything is added.
pub fn open_private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.create(true).mode(OWNER_ONLY).open(path)?;
    file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
    Ok(file)
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn the_new_file_takes_the_place_of_the_old_one() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        replace_json(&path, &"old").unwrap();
        replace_json(&path, &"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"\"new\"");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no part file is left behind");
    }

    #[test]
    fn a_private_file_is_its_owners_whatever_was_there() {
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
    fn two_runs_do_not_write_into_each_others_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let (mut one, mut other) = (begin(&path).unwrap(), begin(&path).unwrap());
        one.write_all(b"one, which is longer").unwrap();
        other.write_all(b"other").unwrap();
        finish(one, &path).unwrap();
        finish(other, &path).unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"other");
        drop(begin(&path).unwrap());
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "what was broken off is removed");
    }
}
