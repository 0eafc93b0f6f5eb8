//! Files on this machine: finds them below the named paths and opens them as records.

use std::fs::{File, FileType};
use std::io;
use std::os::fd::AsFd;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use pinlake_clean::record_reader::sandbox::Sandbox;
use pinlake_clean::record_reader::{FileContract, ReadError, ReadOptions, RecordReader};
use pinlake_schema::Catalog;
use walkdir::{DirEntry, WalkDir};

use pinlake_landing::source::RecordSource;

use crate::load::LoadSource;
use crate::source::is_sidecar;

/// The path that means the standard input.
const STDIN: &str = "-";

/// A file to load.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LocalFile {
    /// Its path.
    pub path: PathBuf,
    /// Its size in bytes; 0 for a pipe.
    pub size: u64,
}

/// What [`find_files`] found.
#[derive(Debug, Default)]
pub struct LocalFiles {
    /// The files, folders in name order.
    pub files: Vec<LocalFile>,
    /// Entries of folders that are not files of records, with what they are: `a link`, `a pipe`, `a device`, `a socket`, `a sidecar of
    /// other files`.
    pub skipped: Vec<(PathBuf, &'static str)>,
    /// Entries that could not be read, as messages.
    pub unreadable: Vec<String>,
}

/// A named path that cannot be loaded.
#[derive(Debug, thiserror::Error)]
pub enum FindError {
    /// It does not exist or is not readable.
    #[error("cannot read {}", path.display())]
    Unreadable {
        /// The path.
        path: PathBuf,
        /// The system's error.
        source: io::Error,
    },
    /// It may never end, such as `/dev/zero`.
    #[error("{} is {kind}", path.display())]
    Endless {
        /// The path.
        path: PathBuf,
        /// `a device` or `a socket`.
        kind: &'static str,
    },
}

/// Finds the files to load. A named path may be a file, a link, a pipe, `-` for the standard input, or a folder. Folders are walked for regular
/// files; hidden entries are ignored and links are not followed.
///
/// # Errors
/// If a named path cannot be read, or is a device or a socket. Unreadable entries of folders are no error.
pub fn find_files(paths: &[PathBuf]) -> Result<LocalFiles, FindError> {
    let mut found = LocalFiles::default();
    for path in paths {
        if path.as_os_str() == STDIN {
            found.files.push(LocalFile { path: path.clone(), size: 0 });
            continue;
        }
        let unreadable = |source| FindError::Unreadable { path: path.clone(), source };
        let metadata = std::fs::metadata(path).map_err(unreadable)?;
        if let Some(kind) = endless_kind(metadata.file_type()) {
            return Err(FindError::Endless { path: path.clone(), kind });
        }
        if metadata.is_dir() {
            std::fs::read_dir(path).map_err(unreadable)?;
            found.walk(path);
        } else {
            found.files.push(LocalFile { path: path.clone(), size: metadata.len() });
        }
    }
    Ok(found)
}

impl LocalFiles {
    fn walk(&mut self, folder: &Path) {
        let is_visible = |entry: &DirEntry| entry.depth() == 0 || !is_hidden(entry);
        let mut entries = WalkDir::new(folder).sort_by_file_name().into_iter().filter_entry(is_visible);
        while let Some(entry) = entries.next() {
            if let Ok(entry) = &entry
                && entry.file_type().is_dir()
                && let Some(kind) = table_kind(entry.path())
            {
                self.unreadable.push(format!(
                    "{} is {kind}, whose files also hold rows that were deleted or replaced: export its rows to \
                     Parquet, and load that",
                    entry.path().display()
                ));
                entries.skip_current_dir();
                continue;
            }
            if let Err(error) = entry.and_then(|entry| self.add_entry(&entry)) {
                let path = error.path().unwrap_or(folder).display();
                let cause = error.io_error().map_or_else(|| error.to_string(), ToString::to_string);
                self.unreadable.push(format!("cannot read {path}: {cause}"));
            }
        }
    }

    fn add_entry(&mut self, entry: &DirEntry) -> walkdir::Result<()> {
        let kind = entry.file_type();
        if kind.is_file() && is_sidecar(&entry.file_name().to_string_lossy()) {
            self.skipped.push((entry.path().to_owned(), "a sidecar of other files"));
        } else if kind.is_file() {
            self.files.push(LocalFile { path: entry.path().to_owned(), size: entry.metadata()?.len() });
        } else if !kind.is_dir() && entry.depth() > 0 {
            let other = if kind.is_symlink() { "a link" } else { "a pipe" };
            self.skipped.push((entry.path().to_owned(), endless_kind(kind).unwrap_or(other)));
        }
        Ok(())
    }
}

/// What kind of table a folder is, if it is one.
fn table_kind(folder: &Path) -> Option<&'static str> {
    let has_metadata = |folder: &Path| {
        let mut entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        entries.any(|entry| entry.file_name().to_string_lossy().ends_with(".metadata.json"))
    };
    if folder.join("_delta_log").is_dir() {
        Some("a Delta table")
    } else if folder.join(".hoodie").is_dir() {
        Some("a Hudi table")
    } else if has_metadata(&folder.join("metadata")) {
        Some("an Iceberg table")
    } else {
        None
    }
}

/// What kind of endless file this is, if it is one.
fn endless_kind(kind: FileType) -> Option<&'static str> {
    if kind.is_char_device() || kind.is_block_device() {
        Some("a device")
    } else if kind.is_socket() {
        Some("a socket")
    } else {
        None
    }
}

fn is_hidden(entry: &DirEntry) -> bool {
    entry.file_name().to_string_lossy().starts_with('.')
}

/// Opens a file as records of `dataset`; without one, the file's name decides.
///
/// # Errors
/// If the file cannot be read, or its format is not known.
pub fn open(
    path: &Path,
    dataset: Option<&str>,
    catalog: &Catalog,
    sandbox: &Sandbox,
) -> Result<(RecordReader, LoadSource), ReadError> {
    let is_stdin = path.as_os_str() == STDIN;
    let name = if is_stdin { "standard input".to_owned() } else { path.display().to_string() };
    let routed = || catalog.route_file(&name).map(|contract| contract.name.as_str());
    let dataset = dataset.or_else(routed).map(str::to_owned);
    let opened = match is_stdin {
        true => std::io::stdin().as_fd().try_clone_to_owned().map(File::from),
        false => File::open(path),
    };
    let file = opened.map_err(|source| ReadError::Io { name: name.clone(), records: 0, source })?;
    let contract = FileContract::new(catalog, dataset.as_deref(), &name);
    let records = RecordReader::from_file(&name, file, ReadOptions::from(sandbox).with_contract(contract))?;
    let name = RecordSource::File { name: Some(name) }.to_string();
    Ok((records, LoadSource { name, dataset, ..LoadSource::default() }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn folders_are_walked_in_name_order_without_hidden_entries() {
        let folder = tempfile::tempdir().unwrap();
        let path = |name: &str| folder.path().join(name);
        std::fs::create_dir_all(path("b/.git")).unwrap();
        for name in ["c.csv", "a.csv", "b/z.csv", "b/.hidden.csv", "b/.git/x.csv"] {
            std::fs::write(path(name), "ind\n1\n").unwrap();
        }
        std::os::unix::fs::symlink(path("a.csv"), path("d.csv")).unwrap();
        let found = find_files(&[folder.path().to_owned(), path("d.csv")]).unwrap();
        let files: Vec<_> = found.files.iter().map(|file| file.path.clone()).collect();
        assert_eq!(files, [path("a.csv"), path("b/z.csv"), path("c.csv"), path("d.csv")]);
        assert_eq!(found.skipped, [(path("d.csv"), "a link")]);
        assert_eq!(found.files[0].size, 6);
        assert!(found.unreadable.is_empty());
        assert!(matches!(find_files(&[path("none")]), Err(FindError::Unreadable { .. })));
        assert!(matches!(find_files(&["/dev/zero".into()]), Err(FindError::Endless { .. })));
    }
}
