//! Files that are either the old one or the new one, never half of it.

use std::io::{self, Write};
use std::path::Path;

use pinlake_platform::folder::sync_folder;
use serde::Serialize;
use tempfile::NamedTempFile;

/// A file that grows beside the place of `path` until [`finish`] puts it there: the rename stays on one file system. Its
/// name is its own, so two runs do not write into each other's; it goes with its value, if it is not finished.
pub fn begin(path: &Path) -> io::Result<NamedTempFile> {
    let mut prefix = std::ffi::OsString::from(".");
    prefix.push(path.file_name().unwrap_or_default());
    prefix.push(".");
    let mut builder = tempfile::Builder::new();
    builder.prefix(&prefix).suffix(".part");
    // As any file that a program makes: less what the user's umask takes away.
    #[cfg(unix)]
    builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
    builder.tempfile_in(folder_of(path))
}

/// Puts a file in the place of whatever is at `path`, in one step, durable before it returns.
pub fn finish(file: NamedTempFile, path: &Path) -> io::Result<()> {
    file.as_file().sync_all()?;
    file.persist(path).map_err(|error| error.error)?;
    // The name is in the folder, and durable when that is.
    sync_folder(folder_of(path))
}

/// Puts `bytes` in the place of whatever is at `path`, in one step, durable before it returns.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = begin(path)?;
    file.write_all(bytes)?;
    finish(file, path)
}

/// The same with a value as JSON.
pub fn replace_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    replace(path, &serde_json::to_vec(value)?)
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
        replace(&path, b"old").unwrap();
        replace(&path, b"new").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"new");
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "no part file is left behind");
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
