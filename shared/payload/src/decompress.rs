//! Decompression: gzip and zstd, detected by their magic numbers.

use std::borrow::Cow;
use std::io::Read;

/// Binary logarithm of the largest zstd window accepted: 16 MiB.
pub const MAX_ZSTD_WINDOW_LOG: u32 = 24;

/// Why data cannot be decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DecodeError {
    /// It has more than this many bytes after decompression.
    TooLarge(usize),
    /// It is truncated or damaged.
    Damaged(String),
}

impl std::fmt::Display for DecodeError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::TooLarge(limit) => write!(f, "decompresses to more than {limit} bytes"),
            Self::Damaged(why) => write!(f, "cannot decompress: {why}"),
        }
    }
}

impl std::error::Error for DecodeError {}

/// Decompresses data; returns other data as it is.
pub(crate) fn decompress(data: &[u8], max_bytes: usize) -> Result<Cow<'_, [u8]>, DecodeError> {
    match data {
        [0x1f, 0x8b, ..] => read_bounded(flate2::bufread::MultiGzDecoder::new(data), max_bytes),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let damaged = |error: std::io::Error| DecodeError::Damaged(error.to_string());
            let mut decoder = zstd::stream::read::Decoder::with_buffer(data).map_err(damaged)?;
            decoder.window_log_max(MAX_ZSTD_WINDOW_LOG).map_err(damaged)?;
            read_bounded(decoder, max_bytes)
        }
        _ => Ok(Cow::Borrowed(data)),
    }
}

fn read_bounded(decoder: impl Read, max_bytes: usize) -> Result<Cow<'static, [u8]>, DecodeError> {
    let mut out = Vec::new();
    decoder
        .take(max_bytes as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|error| DecodeError::Damaged(error.to_string()))?;
    if out.len() > max_bytes { Err(DecodeError::TooLarge(max_bytes)) } else { Ok(Cow::Owned(out)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    const LIMIT: usize = 1 << 20;

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn gzip_zstd_and_plain_data_give_the_same_bytes() {
        let lines = b"{\"ind\": 1}\n{\"ind\": 2}\n";
        for data in [lines.to_vec(), gzip(lines), zstd::bulk::compress(lines, 3).unwrap()] {
            assert_eq!(decompress(&data, LIMIT).unwrap().as_ref(), lines);
        }
        let two_members = [gzip(b"{}\n"), gzip(b"{}\n")].concat();
        assert_eq!(decompress(&two_members, LIMIT).unwrap().as_ref(), b"{}\n{}\n");
    }

    #[test]
    fn oversized_and_damaged_data_are_errors() {
        let largest = vec![b' '; LIMIT];
        assert_eq!(decompress(&gzip(&largest), LIMIT).unwrap().len(), LIMIT);
        let too_large = vec![b' '; LIMIT + 1];
        for bomb in [gzip(&too_large), zstd::bulk::compress(&too_large, 3).unwrap()] {
            assert_eq!(decompress(&bomb, LIMIT), Err(DecodeError::TooLarge(LIMIT)));
        }
        let whole = gzip(b"{\"ind\": 1}");
        assert!(matches!(decompress(&whole[..whole.len() - 3], LIMIT), Err(DecodeError::Damaged(_))));
    }
}
