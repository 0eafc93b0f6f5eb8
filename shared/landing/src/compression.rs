//! Records of a stream that their producer has compressed: gzip or zstd, told by their first bytes.
//!
//! A record unpacks to so many bytes and no more, whatever the other records of its batch do: what becomes of a record
//! is the same in every batch that it is delivered in.

use std::borrow::Cow;
use std::io::Read;

/// Bytes that one record may unpack to. Kinesis and Kafka take about 1 MiB in one, JSON packs some ten times.
const MAX_UNPACKED_BYTES: usize = 16 << 20;
/// The largest window that a zstd frame may ask for, as a power of two: what it needs for the most it may unpack to.
const ZSTD_WINDOW_LOG: u32 = 24;

/// Why a compressed record stays packed.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum DecompressError {
    /// It unpacks to more than a record may.
    TooLarge,
    /// It breaks off, or is damaged.
    Damaged(String),
}

impl DecompressError {
    /// What was found, for quarantine.
    pub(crate) fn detail(&self) -> String {
        match self {
            Self::TooLarge => format!("unpacks to more than {MAX_UNPACKED_BYTES} bytes"),
            Self::Damaged(why) => format!("cannot be unpacked: {why}"),
        }
    }
}

/// The bytes of a record, unpacked if they are packed.
pub(crate) fn unpack(data: &[u8]) -> Result<Cow<'_, [u8]>, DecompressError> {
    match data {
        [0x1f, 0x8b, ..] => bounded(flate2::bufread::MultiGzDecoder::new(data)),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            let damaged = |error: std::io::Error| DecompressError::Damaged(error.to_string());
            let mut decoder = zstd::stream::read::Decoder::with_buffer(data).map_err(damaged)?;
            decoder.window_log_max(ZSTD_WINDOW_LOG).map_err(damaged)?;
            bounded(decoder)
        }
        _ => Ok(Cow::Borrowed(data)),
    }
}

fn bounded(unpacked: impl Read) -> Result<Cow<'static, [u8]>, DecompressError> {
    let mut out = Vec::new();
    unpacked
        .take(MAX_UNPACKED_BYTES as u64 + 1)
        .read_to_end(&mut out)
        .map_err(|error| DecompressError::Damaged(error.to_string()))?;
    if out.len() > MAX_UNPACKED_BYTES { Err(DecompressError::TooLarge) } else { Ok(Cow::Owned(out)) }
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
    fn gzip_zstd_and_plain_bytes_come_out_alike() {
        let lines = b"{\"ind\": 1}\n{\"ind\": 2}\n";
        for packed in [lines.to_vec(), gzip(lines), zstd::bulk::compress(lines, 3).unwrap()] {
            assert_eq!(unpack(&packed).unwrap().as_ref(), lines);
        }
        let two_members = [gzip(b"{}\n"), gzip(b"{}\n")].concat();
        assert_eq!(unpack(&two_members).unwrap().as_ref(), b"{}\n{}\n");
    }

    #[test]
    fn a_bomb_is_not_unpacked_and_what_is_damaged_neither() {
        let most = vec![b' '; MAX_UNPACKED_BYTES];
        assert_eq!(unpack(&gzip(&most)).unwrap().len(), MAX_UNPACKED_BYTES);
        let more = vec![b' '; MAX_UNPACKED_BYTES + 1];
        for bomb in [gzip(&more), zstd::bulk::compress(&more, 3).unwrap()] {
            assert_eq!(unpack(&bomb), Err(DecompressError::TooLarge));
        }
        let whole = gzip(b"{\"ind\": 1}");
        let cut = &whole[..whole.len() - 3];
        assert!(matches!(unpack(cut), Err(DecompressError::Damaged(_))));
    }
}
