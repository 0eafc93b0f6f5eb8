//! Files out of a store, ready to be cut into records: small ones in memory, others on this machine's disk, because
//! Parquet is read from its end and a store may break off in the middle of anything.

use std::fs::File;
use std::io::{Seek, Write};

use bytes::Bytes;
use futures::TryStreamExt;
use object_store::path::Path;
use object_store::{GetOptions, ObjectMeta, ObjectStore};
use pinlake_clean::record_reader::{ReadError, ReadOptions, RecordReader};

use crate::error::LandingError;

/// Files of up to so many bytes are held in memory.
pub const IN_MEMORY_BYTES: u64 = 8 << 20;

/// A file's bytes.
#[derive(Debug)]
pub enum FileBytes {
    /// All of them.
    Memory(Bytes),
    /// On the disk, in a file without a name: it goes when this goes.
    Disk(File),
    /// They are more than was allowed, and were not read.
    TooLarge,
}

/// Gets a file of at most `most` bytes; `None` when it is not there (any more).
///
/// # Errors
/// When the store or the disk fails; doing it again is safe.
pub async fn fetch(
    store: &dyn ObjectStore,
    path: &Path,
    most: u64,
) -> Result<Option<(ObjectMeta, FileBytes)>, LandingError> {
    fetch_with(store, path, most, GetOptions::default()).await
}

/// Gets a file that was looked at before, if it is still the same: `None` when it is gone, or was written anew.
///
/// # Errors
/// As [`fetch`].
pub async fn fetch_same(
    store: &dyn ObjectStore,
    seen: &ObjectMeta,
    most: u64,
) -> Result<Option<(ObjectMeta, FileBytes)>, LandingError> {
    let same = GetOptions { if_match: seen.e_tag.clone(), ..GetOptions::default() };
    fetch_with(store, &seen.location, most, same).await
}

async fn fetch_with(
    store: &dyn ObjectStore,
    path: &Path,
    most: u64,
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
    if meta.size > most {
        return Ok(Some((meta, FileBytes::TooLarge)));
    }
    if meta.size <= IN_MEMORY_BYTES {
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
    /// Cuts the file into records. `name` tells the format where the bytes do not.
    ///
    /// # Errors
    /// When the file cannot be read, or was too large to be fetched.
    pub fn records<'a>(
        self,
        name: &str,
        options: impl Into<ReadOptions<'a>>,
    ) -> Result<RecordReader, ReadError> {
        match self {
            Self::Memory(bytes) => RecordReader::from_bytes(name, bytes, options),
            Self::Disk(file) => RecordReader::from_file(name, file, options),
            Self::TooLarge => {
                let source = std::io::Error::other("it is too large to be read here");
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
    use pinlake_clean::record_reader::Limits;

    #[tokio::test]
    async fn small_files_and_large_ones_are_cut_alike_and_larger_ones_are_left() {
        let store = InMemory::new();
        let line = b"{\"ind\": 1}\n";
        let path = Path::from("inbox/geo/a.ndjson");
        for lines in [3, IN_MEMORY_BYTES as usize / line.len() + 1] {
            store.put(&path, line.repeat(lines).into()).await.unwrap();
            let (meta, fetched) = fetch(&store, &path, u64::MAX).await.unwrap().unwrap();
            assert_eq!(matches!(fetched, FileBytes::Memory(_)), lines == 3);
            let mut records = fetched.records("a.ndjson", Limits::default()).unwrap();
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
    async fn a_file_that_was_written_anew_is_not_taken_for_the_one_that_was_seen() {
        let (store, path) = (InMemory::new(), Path::from("a"));
        store.put(&path, "one".into()).await.unwrap();
        let (seen, _) = fetch(&store, &path, 9).await.unwrap().unwrap();
        assert!(fetch_same(&store, &seen, 9).await.unwrap().is_some());
        store.put(&path, "two".into()).await.unwrap();
        assert!(fetch_same(&store, &seen, 9).await.unwrap().is_none());
    }
}
