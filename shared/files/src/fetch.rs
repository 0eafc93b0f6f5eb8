//! Gets files out of an object store so that they can be read as records.
//!
//! Small files are held in memory. Larger ones are spooled to this machine's disk first: Parquet is read from its end,
//! and a download may stop anywhere.

use std::fs::File;
use std::io::{Seek, Write};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore};
use pinlake_clean::record_reader::{ReadError, ReadOptions, RecordReader};
use pinlake_landing::LandingError;

/// Largest file that is held in memory, in bytes.
pub const MAX_IN_MEMORY_BYTES: u64 = 8 << 20;

/// The bytes of a fetched file.
#[derive(Debug)]
pub enum FileBytes {
    /// In memory.
    Memory(Bytes),
    /// In an unnamed temporary file, which the system removes when it is closed.
    Disk(File),
    /// Not read, because the file is larger than the limit.
    TooLarge,
}

/// Gets a file of at most `max_bytes`; `None` if it does not exist.
///
/// # Errors
/// If the store or the disk fails. Retrying is safe.
pub async fn fetch(
    store: &dyn ObjectStore,
    path: &Path,
    max_bytes: u64,
) -> Result<Option<(ObjectMeta, FileBytes)>, LandingError> {
    fetch_with_options(store, path, max_bytes, GetOptions::default()).await
}

/// Gets a file if it still is the version in `seen`; `None` if it was removed or replaced.
///
/// # Errors
/// As [`fetch`].
pub async fn fetch_if_unchanged(
    store: &dyn ObjectStore,
    seen: &ObjectMeta,
    max_bytes: u64,
) -> Result<Option<(ObjectMeta, FileBytes)>, LandingError> {
    let if_unchanged = GetOptions { if_match: seen.e_tag.clone(), ..GetOptions::default() };
    fetch_with_options(store, &seen.location, max_bytes, if_unchanged).await
}

async fn fetch_with_options(
    store: &dyn ObjectStore,
    path: &Path,
    max_bytes: u64,
    options: GetOptions,
) -> Result<Option<(ObjectMeta, FileBytes)>, LandingError> {
    let got = match store.get_opts(path, options).await {
        Ok(got) => got,
        Err(object_store::Error::NotFound { .. } | object_store::Error::Precondition { .. }) => {
            return Ok(None);
        }
        Err(error) => return Err(LandingError::store(path)(error)),
    };
    let meta = got.meta.clone();
    if meta.size > max_bytes {
        return Ok(Some((meta, FileBytes::TooLarge)));
    }
    if meta.size <= MAX_IN_MEMORY_BYTES {
        let bytes = got.bytes().await.map_err(LandingError::store(path))?;
        return Ok(Some((meta, FileBytes::Memory(bytes))));
    }
    let spool = |source| LandingError::Spool { path: path.to_string(), source };
    let mut file = tempfile::tempfile().map_err(spool)?;
    let mut chunks = got.into_stream();
    while let Some(chunk) = chunks.try_next().await.map_err(LandingError::store(path))? {
        file.write_all(&chunk).map_err(spool)?;
    }
    file.rewind().map_err(spool)?;
    Ok(Some((meta, FileBytes::Disk(file))))
}

impl FileBytes {
    /// Reads the file as records. The format is detected from the bytes; where they are ambiguous, `name` decides.
    ///
    /// # Errors
    /// If the file cannot be read, or is [`FileBytes::TooLarge`].
    pub fn records<'a>(
        self,
        name: &str,
        options: impl Into<ReadOptions<'a>>,
    ) -> Result<RecordReader, ReadError> {
        match self {
            Self::Memory(bytes) => RecordReader::from_bytes(name, bytes, options),
            Self::Disk(file) => RecordReader::from_file(name, file, options),
            Self::TooLarge => {
                let source = std::io::Error::other("larger than the limit of this reader");
                Err(ReadError::Io { name: name.to_owned(), records: 0, source })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use object_store::ObjectStoreExt;
    use object_store::memory::InMemory;
    use pinlake_clean::record_reader::ReadLimits;

    #[tokio::test]
    async fn small_and_large_files_are_read_alike_and_too_large_ones_are_not_read() {
        let store = InMemory::new();
        let line = b"{\"ind\": 1}\n";
        let path = Path::from("inbox/geo/a.ndjson");
        for lines in [3, MAX_IN_MEMORY_BYTES as usize / line.len() + 1] {
            store.put(&path, line.repeat(lines).into()).await.unwrap();
            let (meta, fetched) = fetch(&store, &path, u64::MAX).await.unwrap().unwrap();
            assert_eq!(matches!(fetched, FileBytes::Memory(_)), lines == 3);
            let mut records = fetched.records("a.ndjson", ReadLimits::default()).unwrap();
            let mut read = 0;
            while records.next().unwrap().is_some() {
                read += 1;
            }
            assert_eq!(read, lines);
            let too_large = fetch(&store, &path, meta.size - 1).await.unwrap().unwrap().1;
            assert!(matches!(too_large, FileBytes::TooLarge));
        }
        assert!(fetch(&store, &Path::from("gone"), 1).await.unwrap().is_none());
    }

    #[tokio::test]
    async fn a_replaced_file_is_not_fetched_as_the_version_seen_before() {
        let (store, path) = (InMemory::new(), Path::from("a"));
        store.put(&path, "one".into()).await.unwrap();
        let (seen, _) = fetch(&store, &path, 9).await.unwrap().unwrap();
        assert!(fetch_if_unchanged(&store, &seen, 9).await.unwrap().is_some());
        store.put(&path, "two".into()).await.unwrap();
        assert!(fetch_if_unchanged(&store, &seen, 9).await.unwrap().is_none());
    }
}
