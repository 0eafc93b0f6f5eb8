//! Files that are either the old one or the new one, never half of it.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use serde::Serialize;

/// Where a file grows until it is whole: beside its final place, so that the rename stays on one file system.
pub fn part_path(path: &Path) -> PathBuf {
    let mut name = path.file_name().unwrap_or_default().to_os_string();
    name.push(".part");
    path.with_file_name(name)
}

/// Puts `bytes` in the place of whatever is at `path`, in one step, durable before it returns.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let part = part_path(path);
    finish(File::create(&part)?, &part, path, bytes)
}

fn finish(mut file: File, part: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(part, path)
}

/// Opens a file, or makes it, that only its owner may read. One that is there already is closed to others before
/// anything is added.
pub fn open_private(options: &mut OpenOptions, path: &Path) -> io::Result<File> {
    let file = options.create(true).mode(OWNER_ONLY).open(path)?;
    file.set_permissions(Permissions::from_mode(OWNER_ONLY))?;
    Ok(file)
}

/// Read and write for the owner, nothing for others.
const OWNER_ONLY: u32 = 0o600;

/// The same with a value as JSON.
pub fn replace_json(path: &Path, value: &impl Serialize) -> io::Result<()> {
    replace(path, &serde_json::to_vec(value)?)
}

/// The same, for the owner's eyes only.
pub fn replace_json_private(path: &Path, value: &impl Serialize) -> io::Result<()> {
    let bytes = serde_json::to_vec(value)?;
    let part = part_path(path);
    finish(open_private(OpenOptions::new().write(true).truncate(true), &part)?, &part, path, &bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn a_private_file_is_its_owners_whatever_was_there() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("state.json");
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        // Of an earlier release, and of one that was interrupted.
        for old in [path.clone(), part_path(&path)] {
            fs::write(&old, "old").unwrap();
            fs::set_permissions(&old, Permissions::from_mode(0o644)).unwrap();
        }
        replace_json_private(&path, &"new").unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"\"new\""[..], 0o600));

        fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
        open_private(OpenOptions::new().append(true), &path).unwrap().write_all(b"er").unwrap();
        assert_eq!((fs::read(&path).unwrap().as_slice(), mode(&path)), (&b"\"new\"er"[..], 0o600));
    }
}
