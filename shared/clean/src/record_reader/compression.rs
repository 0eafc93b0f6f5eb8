//! Decompression of gzip (with any number of members) and zstd (with any number of frames), with a limit on the output.

use std::fmt;
use std::io::{BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::limits::Limits;

/// The largest window of a zstd frame: 128 MiB, the most that `zstd --ultra` uses.
const ZSTD_WINDOW_LOG: u32 = 27;

/// The number of bytes at the beginning of a file that identify its compression.
pub(super) const MAGIC_BYTES: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// Detects the compression by the first bytes, or by the name if the file is empty.
    pub(super) fn detect(name: &str, head: &[u8]) -> Option<Compression> {
        if head.starts_with(&[0x1f, 0x8b]) || (head.is_empty() && name.ends_with(".gz")) {
            return Some(Compression::Gzip);
        }
        if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || (head.is_empty() && name.ends_with(".zst")) {
            return Some(Compression::Zstd);
        }
        None
    }

    /// The name without the suffix of a compression.
    pub(super) fn strip_suffix(name: &str) -> &str {
        name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name)
    }
}

/// Counts the bytes that are read from the stored file.
pub(super) struct CountingReader<R> {
    pub(super) inner: R,
    pub(super) taken: Arc<AtomicU64>,
}

impl<R: Read> Read for CountingReader<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(into)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Decompresses up to a limit, because some files are decompression bombs.
pub(super) struct BoundedDecoder {
    decoder: Box<dyn Read + Send>,
    taken: Arc<AtomicU64>,
    returned: u64,
    max_ratio: u64,
    free: u64,
    max: u64,
}

impl BoundedDecoder {
    pub(super) fn new(
        compressed: impl BufRead + Send + 'static,
        compression: Compression,
        taken: Arc<AtomicU64>,
        limits: &Limits,
    ) -> std::io::Result<BoundedDecoder> {
        let decoder: Box<dyn Read + Send> = match compression {
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(compressed)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(compressed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        };
        Ok(BoundedDecoder {
            decoder,
            taken,
            returned: 0,
            max_ratio: limits.max_ratio,
            free: limits.free_unpacked_bytes,
            max: limits.max_unpacked_bytes,
        })
    }
}

impl Read for BoundedDecoder {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.decoder.read(into)?;
        self.returned += count as u64;
        let by_ratio = self.taken.load(Ordering::Relaxed).saturating_mul(self.max_ratio);
        let limit = by_ratio.max(self.free).min(self.max);
        if self.returned > limit {
            return Err(std::io::Error::other(SizeLimitExceeded { limit }));
        }
        Ok(count)
    }
}

#[derive(Debug)]
struct SizeLimitExceeded {
    limit: u64,
}

impl fmt::Display for SizeLimitExceeded {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "unpacks to more than {} bytes", self.limit)
    }
}

impl std::error::Error for SizeLimitExceeded {}

/// The limit that was exceeded, if `error` is a [`SizeLimitExceeded`].
pub(super) fn exceeded_limit(error: &std::io::Error) -> Option<u64> {
    error.get_ref()?.downcast_ref::<SizeLimitExceeded>().map(|exceeded| exceeded.limit)
}
