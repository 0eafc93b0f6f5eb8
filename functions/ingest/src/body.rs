//! The body of a request: media type, decompression, and limits.

use std::borrow::Cow;
use std::io::Read;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::error::ApiError;
use crate::json_reader::{Discard, JsonReader, Malformed};

/// The maximum size of a body as sent: the limit of a Lambda function URL.
pub const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

/// The maximum size of a body after decompression. It bounds the memory that a decompression bomb can use. Clients
/// split larger bodies.
pub const MAX_TEXT_BYTES: usize = 16 * 1024 * 1024;

/// The maximum size of all lines of a request: the text, and what values in it decompress to beyond their own size.
pub const MAX_LINES_BYTES: usize = 2 * MAX_TEXT_BYTES;

/// The smallest record with what separates it from the next, in bytes. It bounds the records of a text.
pub const MIN_RECORD_BYTES: usize = 2;

/// How many times its compressed size a body or a value may have after decompression. JSON of the most repetitive
/// clients compresses to a thirtieth; beyond this, the sender pays for nothing and the pipeline for everything.
pub const MAX_RATIO: usize = 100;

/// The size after decompression that is accepted at any ratio.
pub const MIN_RATIO_BYTES: usize = 256 * 1024;

/// The most bytes that `compressed` bytes may decompress to.
pub fn max_decompressed_bytes(compressed: usize) -> usize {
    compressed.saturating_mul(MAX_RATIO).clamp(MIN_RATIO_BYTES, MAX_TEXT_BYTES)
}

/// The maximum window of a zstd frame, as a power of two: [`MAX_TEXT_BYTES`].
const MAX_ZSTD_WINDOW_LOG: u32 = 24;

/// The media type of the body, in lower case and without parameters; `None` without a Content-Type.
///
/// # Errors
/// [`ApiError::UnsupportedMediaType`] if the header is not text.
pub fn media_type(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(None);
    };
    let text = value.to_str().map_err(|_| {
        ApiError::UnsupportedMediaType("unsupported Content-Type: the header is not text".to_owned())
    })?;
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Ok((!essence.is_empty()).then_some(essence))
}

/// The stream that the JSON of an uncompressed body names, as `StreamName` or at the end of `StreamARN`; `None` if it
/// names none.
pub fn stream_name(body: &[u8]) -> Option<String> {
    let mut reader = JsonReader::new(body);
    if reader.peek() != Some(b'{') || body.len() > MAX_BODY_BYTES || std::str::from_utf8(body).is_err() {
        return None;
    }
    let (mut name, mut arn) = (None, None);
    // An error in the body is reported when it is decoded.
    let _ = reader.read_members(|reader, member| {
        let found = match member {
            "StreamName" => &mut name,
            "StreamARN" => &mut arn,
            _ => return reader.copy_value(&mut Discard),
        };
        let mut text = Vec::new();
        reader.copy_value(&mut text)?;
        *found = serde_json::from_slice::<String>(&text).ok();
        Ok::<(), Malformed>(())
    });
    name.or_else(|| Some(arn?.rsplit('/').next()?.to_owned()))
}

/// Decompresses a body. The result is UTF-8, has no byte order mark and is not blank.
///
/// # Errors
/// [`ApiError::EmptyBody`], [`ApiError::TooLarge`], [`ApiError::UnsupportedMediaType`] for an unknown Content-Encoding,
/// [`ApiError::Undecodable`] if decompression fails, [`ApiError::MalformedJson`] for bytes that are not UTF-8.
pub fn text<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Cow<'a, [u8]>, ApiError> {
    let mut decoded = decompress(headers, body)?;
    // Blanks in place of the byte order mark keep the positions in error messages right.
    if decoded.starts_with(b"\xEF\xBB\xBF") {
        decoded.to_mut()[..3].fill(b' ');
    }
    if let Err(error) = simdutf8::compat::from_utf8(&decoded) {
        let malformed = Malformed { at: error.valid_up_to(), problem: "the bytes are not UTF-8" };
        return Err(ApiError::from_malformed(&decoded, malformed));
    }
    if decoded.trim_ascii().is_empty() {
        return Err(ApiError::EmptyBody);
    }
    Ok(decoded)
}

/// The error for a body of too many bytes as sent.
pub fn too_large(bytes: usize) -> ApiError {
    ApiError::TooLarge(format!("the body has {bytes} bytes, the limit is {MAX_BODY_BYTES}"))
}

/// Decompresses a body. Borrowed if it is not compressed.
///
/// # Errors
/// [`ApiError::TooLarge`], [`ApiError::UnsupportedMediaType`] for an unknown Content-Encoding, [`ApiError::Undecodable`]
/// if decompression fails.
pub fn decompress<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Cow<'a, [u8]>, ApiError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(too_large(body.len()));
    }
    let mut decoded = Cow::Borrowed(body);
    if !body.is_empty() {
        match content_encoding(headers)?.as_deref() {
            None | Some("identity") => {}
            Some("gzip" | "x-gzip") => {
                decoded =
                    Cow::Owned(read_bounded(flate2::read::MultiGzDecoder::new(body), "gzip", body.len())?);
            }
            Some("zstd") => {
                let mut decoder = zstd::stream::read::Decoder::with_buffer(body)
                    .map_err(|error| decompression_error("zstd", &error))?;
                decoder
                    .window_log_max(MAX_ZSTD_WINDOW_LOG)
                    .map_err(|error| decompression_error("zstd", &error))?;
                decoded = Cow::Owned(read_bounded(decoder, "zstd", body.len())?);
            }
            Some(other) => {
                return Err(ApiError::UnsupportedMediaType(format!(
                    "unsupported Content-Encoding '{other}': use gzip, zstd or none"
                )));
            }
        }
    }
    Ok(decoded)
}

fn content_encoding(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut all = headers.get_all(CONTENT_ENCODING).iter();
    let Some(value) = all.next() else { return Ok(None) };
    match value.to_str() {
        Ok(text) if all.next().is_none() => Ok(Some(text.trim().to_ascii_lowercase())),
        _ => Err(ApiError::UnsupportedMediaType(
            "unsupported Content-Encoding: send one of gzip and zstd".to_owned(),
        )),
    }
}

fn read_bounded(decoder: impl Read, encoding: &str, compressed: usize) -> Result<Vec<u8>, ApiError> {
    let limit = max_decompressed_bytes(compressed);
    let mut text = Vec::new();
    decoder
        .take(limit as u64 + 1)
        .read_to_end(&mut text)
        .map_err(|error| decompression_error(encoding, &error))?;
    if text.len() > limit {
        return Err(ApiError::TooLarge(match limit {
            MAX_TEXT_BYTES => format!("the decompressed body has more than {MAX_TEXT_BYTES} bytes"),
            _ => format!(
                "the body decompresses to more than {limit} bytes: at most {MAX_RATIO} times its size, or \
                 {MIN_RATIO_BYTES} bytes"
            ),
        }));
    }
    Ok(text)
}

fn decompression_error(encoding: &str, error: &std::io::Error) -> ApiError {
    ApiError::Undecodable(format!(
        "cannot decompress the body as {encoding}, its Content-Encoding: {error}; nothing of this request was stored"
    ))
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    fn encoded_as(encoding: &str) -> HeaderMap {
        [(CONTENT_ENCODING, encoding.parse().unwrap())].into_iter().collect()
    }

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn compressed_bodies_are_decompressed() {
        let none = HeaderMap::new();
        assert!(matches!(text(&none, b"{}"), Ok(Cow::Borrowed(b"{}"))));
        assert_eq!(*text(&encoded_as(" GZIP "), &gzip(b"{}")).unwrap(), *b"{}");
        let members = [gzip(b"{}\n"), gzip(b"[]")].concat();
        assert_eq!(*text(&encoded_as("gzip"), &members).unwrap(), *b"{}\n[]");
        assert_eq!(*text(&encoded_as("zstd"), &zstd::encode_all(&b"{}"[..], 3).unwrap()).unwrap(), *b"{}");
        assert_eq!(*text(&encoded_as("identity"), b"{}").unwrap(), *b"{}");
    }

    #[test]
    fn bombs_and_corrupt_bodies_are_errors() {
        let zeros = vec![b' '; MAX_TEXT_BYTES + 1];
        let bomb = gzip(&zeros);
        assert!(bomb.len() < 20_000);
        assert!(matches!(text(&encoded_as("gzip"), &bomb), Err(ApiError::TooLarge(_))));
        let bomb = zstd::encode_all(&zeros[..], 3).unwrap();
        assert!(matches!(text(&encoded_as("zstd"), &bomb), Err(ApiError::TooLarge(_))));
        assert!(matches!(text(&HeaderMap::new(), &zeros[..MAX_BODY_BYTES + 1]), Err(ApiError::TooLarge(_))));

        let whole = gzip(b"{\"ind\":1}");
        for corrupt in [&b"{}"[..], &whole[..whole.len() - 4]] {
            assert!(matches!(text(&encoded_as("gzip"), corrupt), Err(ApiError::Undecodable(_))));
            assert!(matches!(text(&encoded_as("zstd"), corrupt), Err(ApiError::Undecodable(_))));
        }
        for encoding in ["br", "gzip, zstd", "deflate"] {
            assert!(
                matches!(text(&encoded_as(encoding), b"{}"), Err(ApiError::UnsupportedMediaType(_))),
                "{encoding}"
            );
        }
    }

    #[test]
    fn the_ratio_of_compression_is_bounded() {
        let spaces = |bytes: usize| [&b"{}"[..], &vec![b' '; bytes - 2]].concat();
        assert_eq!(
            text(&encoded_as("gzip"), &gzip(&spaces(MIN_RATIO_BYTES))).unwrap().len(),
            MIN_RATIO_BYTES
        );
        for body in [gzip(&spaces(MIN_RATIO_BYTES + 1)), gzip(&spaces(MAX_TEXT_BYTES))] {
            assert!(body.len() * MAX_RATIO < MAX_TEXT_BYTES);
            assert!(matches!(text(&encoded_as("gzip"), &body), Err(ApiError::TooLarge(_))));
        }
        let body = zstd::encode_all(&spaces(1 << 20)[..], 3).unwrap();
        assert!(matches!(text(&encoded_as("zstd"), &body), Err(ApiError::TooLarge(_))));
    }

    #[test]
    fn a_window_larger_than_the_limit_is_an_error() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(b"{}").unwrap();
        let frame = encoder.finish().unwrap();
        assert!(matches!(text(&encoded_as("zstd"), &frame), Err(ApiError::Undecodable(_))));
    }

    #[test]
    fn blank_bodies_and_invalid_utf8_are_errors() {
        for blank in [&b""[..], b" \r\n\t", b"\xEF\xBB\xBF\n"] {
            assert_eq!(text(&HeaderMap::new(), blank), Err(ApiError::EmptyBody));
        }
        assert_eq!(text(&encoded_as("gzip"), b""), Err(ApiError::EmptyBody));
        let Err(ApiError::MalformedJson { position, .. }) = text(&HeaderMap::new(), b"{\n\"a\": \"\xFF\"}")
        else {
            panic!()
        };
        assert_eq!((position.line, position.column), (2, 7));
        assert_eq!(*text(&HeaderMap::new(), b"\xEF\xBB\xBF{}").unwrap(), *b"   {}");
    }

    #[test]
    fn parameters_of_the_media_type_are_ignored() {
        let parse = |value: &str| {
            media_type(&[(CONTENT_TYPE, value.parse().unwrap())].into_iter().collect()).unwrap()
        };
        assert_eq!(parse("Application/JSON; charset=utf-8").as_deref(), Some("application/json"));
        assert_eq!(parse(" ;x").as_deref(), None);
        assert_eq!(media_type(&HeaderMap::new()).unwrap(), None);
    }
}
