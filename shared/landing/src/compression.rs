//! Decompression of stream records: gzip and zstd, detected by their magic numbers.
//!
//! The size limit is per record and not per batch, so that a record is cleaned in the same way whatever its batch.

use std::borrow::Cow;
use std::io::Read;

/// Limit of a decompressed record. Kinesis and Kafka accept about 1 MiB per record, and JSON compresses about tenfold.
const MAX_DECOMPRESSED_BYTES: usize = 16 << 20;
/// Binary logarithm of the largest zstd window accepted: no frame within the size limit needs more.
const MAX_ZSTD_WINDOW_LOG: u32 = 24;

/// Why a record cannot be decompressed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DecompressError {
    /// It exceeds the size limit.
    TooLarge,
    /// It is truncated or damaged.
    Damaged(String),
}

impl DecompressError {
    /// Describes the error for quarantine's column `detail`.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::TooLarge => format!("decompresses to more than {MAX_DECOMPRESSED_BYTES} bytes"),
            Self::Damaged(why) => format!("cannot decompress: {why}"),
        }
    }
}

/// Decompresses a record; returns other records as they are.
pub(crate) fn decompress(data: &[u8]) -> Result<Cow<'_, [u8]>, DecompressError> {
    match data {
        [0x1f, 0x8b, ..] => read_bounded(flate2::bufread::MultiGzDecoder::new(data)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let damaged = |error: std::io::Error| DecompressError::Damaged(error.to_string());
            let mut decoder = zstd::stream::read::Decoder::with_buffer(data).map_err(damaged)?;
            decoder.window_log_max(MAX_ZSTD_WINDOW_LOG).map_err(damaged)?;
            read_bounded(decoder)
        }
        _ => Ok(Cow::Borrowed(data)),
    }
}

fn read_bounded(decoder: impl Read) -> Result<Cow<'static, [u8]>, DecompressError> {
    let mut out = Vec::new();
    decoder
        .take(MAX_DECOMPRESSED_BYTES as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|error| DecompressError::Damaged(error.to_string()))?;
    if out.len() > MAX_DECOMPRESSED_BYTES { Err(DecompressError::TooLarge) } else { Ok(Cow::Owned(out)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_zstd_and_plain_records_give_the_same_bytes() {
        let lines = b"{\"ind\": 1}\n{\"ind\": 2}\n";
        for record in [lines.to_vec(), gzip(lines), zstd::bulk::compress(lines, 3).unwrap()] {
            assert_eq!(decompress(&record).unwrap().as_ref(), lines);
        }
        let two_members = [gzip(b"{}\n"), gzip(b"{}\n")].concat();
        assert_eq!(decompress(&two_members).unwrap().as_ref(), b"{}\n{}\n");
    }

    #[test]
    fn oversized_and_damaged_records_are_errors() {
        let largest = vec![b' '; MAX_DECOMPRESSED_BYTES];
        assert_eq!(decompress(&gzip(&largest)).unwrap().len(), MAX_DECOMPRESSED_BYTES);
        let too_large = vec![b' '; MAX_DECOMPRESSED_BYTES + 1];
        for bomb in [gzip(&too_large), zstd::bulk::compress(&too_large, 3).unwrap()] {
            assert_eq!(decompress(&bomb), Err(DecompressError::TooLarge));
        }
        let whole = gzip(b"{\"ind\": 1}");
        let cut = &whole[..whole.len() - 3];
        assert!(matches!(decompress(cut), Err(DecompressError::Damaged(_))));
    }
}
