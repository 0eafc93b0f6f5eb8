//! A zip archive with one file.

use std::fs::File;
use std::io::{BufReader, Error, ErrorKind, Read, Result as IoResult, Seek, SeekFrom};

use flate2::Crc;
use zip::{CompressionMethod, ZipArchive};

/// The most entries of an archive that are looked at.
const MAX_ENTRIES: usize = 10_000;

/// Why an archive is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum ZipError {
    #[error("it is a damaged zip archive: {0}")]
    Damaged(String),
    #[error("it is an Excel workbook: save its sheet as CSV in UTF-8")]
    Workbook,
    #[error("it is a document of Office, not data")]
    Document,
    #[error("it is a zip archive with {0} files: unpack it, and load the files in it")]
    SeveralFiles(usize),
    #[error("it is a zip archive without files")]
    Empty,
    #[error("it is an encrypted zip archive: unpack it, and load the files in it")]
    Encrypted,
    #[error("it is a zip archive with the compression {0}: unpack it, and load the files in it")]
    Compression(CompressionMethod),
}

pub(super) fn is_zip(head: &[u8]) -> bool {
    head.starts_with(b"PK\x03\x04")
}

/// Opens the only file of an archive; returns its name and its bytes.
pub(super) fn open(archive: File) -> Result<(String, impl Read + Send + 'static), ZipError> {
    let damaged = |error: &dyn std::fmt::Display| ZipError::Damaged(error.to_string());
    let bytes = archive.try_clone().map_err(|error| damaged(&error))?;
    let mut archive = ZipArchive::new(archive).map_err(|error| damaged(&error))?;
    let names: Result<Vec<String>, _> =
        archive.file_names().take(MAX_ENTRIES).map(|name| name.map(String::from)).collect();
    let names = names.map_err(|error| damaged(&error))?;
    if names.iter().any(|name| name.starts_with("word/") || name.starts_with("ppt/"))
        && names.iter().any(|name| name == "[Content_Types].xml")
    {
        return Err(ZipError::Document);
    }
    if names.iter().any(|name| name == "[Content_Types].xml" || name.starts_with("xl/")) {
        return Err(ZipError::Workbook);
    }
    // Folders, and what macOS and others add.
    let is_hidden = |name: &str| name.split('/').any(|part| part.starts_with('.') || part == "__MACOSX");
    let mut files = names.iter().filter(|name| !name.ends_with('/') && !is_hidden(name));
    let name = match (files.next(), files.count()) {
        (None, _) => return Err(ZipError::Empty),
        (Some(name), 0) => name,
        (Some(_), others) => return Err(ZipError::SeveralFiles(1 + others)),
    };
    let index = archive.index_for_name(name).ok_or(ZipError::Empty)?;
    let file = archive.by_index_raw(index).map_err(|error| damaged(&error))?;
    if file.encrypted() {
        return Err(ZipError::Encrypted);
    }
    let (method, length) = (file.compression(), file.compressed_size());
    let size_bits = u32::try_from(file.size() & u64::from(u32::MAX)).unwrap_or_default();
    let crc = file.crc32();
    let start = file.data_start().ok_or_else(|| ZipError::Damaged("a file has no data".to_owned()))?;
    drop(file);
    let mut bytes = BufReader::new(bytes);
    bytes.seek(SeekFrom::Start(start)).map_err(|error| damaged(&error))?;
    let bytes = bytes.take(length);
    let reader: Box<dyn Read + Send> = match method {
        CompressionMethod::Stored => Box::new(bytes),
        CompressionMethod::Deflated => Box::new(flate2::bufread::DeflateDecoder::new(bytes)),
        other => return Err(ZipError::Compression(other)),
    };
    Ok((name.clone(), CheckedReader { inner: reader, read: Crc::new(), crc, size_bits }))
}

/// Checks at its end that a file is what the archive says. `zip` does so too, but its reader borrows the archive.
struct CheckedReader<R> {
    inner: R,
    read: Crc,
    crc: u32,
    /// The low 32 bits of the length.
    size_bits: u32,
}

impl<R: Read> Read for CheckedReader<R> {
    fn read(&mut self, into: &mut [u8]) -> IoResult<usize> {
        let count = self.inner.read(into)?;
        self.read.update(&into[..count]);
        let is_whole = self.read.sum() == self.crc && self.read.amount() == self.size_bits;
        if count == 0 && !into.is_empty() && !is_whole {
            return Err(Error::new(
                ErrorKind::InvalidData,
                "the checksum of the file in the zip archive is wrong",
            ));
        }
        Ok(count)
    }
}
