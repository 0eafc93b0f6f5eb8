//! gzip (also of several members) and zstd (also of several frames), with a bound on what they unpack to.

use std::fmt;
use std::io::{BufRead, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use super::Limits;

/// The largest window that a zstd frame may ask for: 128 MiB, what `zstd --ultra` writes at most.
const ZSTD_WINDOW_LOG: u32 = 27;

/// How many of a file's first bytes tell its compression.
pub(super) const MAGIC_BYTES: usize = 4;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    Gzip,
    Zstd,
}

impl Compression {
    /// Told by the first bytes; of an empty file by its name.
    pub(super) fn detect(name: &str, head: &[u8]) -> Option<Compression> {
        if head.starts_with(&[0x1f, 0x8b]) || (head.is_empty() && name.ends_with(".gz")) {
            return Some(Compression::Gzip);
        }
        if head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) || (head.is_empty() && name.ends_with(".zst")) {
            return Some(Compression::Zstd);
        }
        None
    }

    /// The name of what is packed.
    pub(super) fn strip(name: &str) -> &str {
        name.strip_suffix(".gz").or_else(|| name.strip_suffix(".zst")).unwrap_or(name)
    }
}

/// Counts what is read of the stored file.
pub(super) struct Counted<R> {
    pub(super) inner: R,
    pub(super) taken: Arc<AtomicU64>,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(into)?;
        self.taken.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

/// Unpacks, and stops where a file turns out to be a bomb.
pub(super) struct Bounded {
    unpacked: Box<dyn Read + Send>,
    taken: Arc<AtomicU64>,
    given: u64,
    max_ratio: u64,
    free: u64,
    most: u64,
}

impl Bounded {
    pub(super) fn new(
        packed: impl BufRead + Send + 'static,
        compression: Compression,
        taken: Arc<AtomicU64>,
        limits: &Limits,
    ) -> std::io::Result<Bounded> {
        let unpacked: Box<dyn Read + Send> = match compression {
            Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(packed)),
            Compression::Zstd => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(packed)?;
                decoder.window_log_max(ZSTD_WINDOW_LOG)?;
                Box::new(decoder)
            }
        };
        Ok(Bounded {
            unpacked,
            taken,
            given: 0,
            max_ratio: limits.max_ratio,
            free: limits.free_unpacked_bytes,
            most: limits.max_unpacked_bytes,
        })
    }
}

impl Read for Bounded {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        let count = self.unpacked.read(into)?;
        self.given += count as u64;
        let by_ratio = self.taken.load(Ordering::Relaxed).saturating_mul(self.max_ratio);
        let limit = by_ratio.max(self.free).min(self.most);
        if self.given > limit {
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

/// The limit that was passed, when that is what an error says.
pub(super) fn bomb_limit(error: &std::io::Error) -> Option<u64> {
    error.get_ref()?.downcast_ref::<SizeLimitExceeded>().map(|bomb| bomb.limit)
}
