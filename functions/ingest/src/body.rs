//! From a request to the text of its body: media types, decompression, and the bounds on both.

use std::borrow::Cow;
use std::io::Read;

use http::HeaderMap;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE};

use crate::compact::Malformed;
use crate::error::ApiError;

/// The most bytes in a body as sent: what a Lambda function URL can pass on.
pub const MAX_BODY_BYTES: usize = 6 * 1024 * 1024;

/// The most bytes in a body after decompression, whatever its ratio. Rows compress about 4:1, so what fills
/// [`MAX_BODY_BYTES`] for good reason is split by its client; a bomb stops here, having cost this much memory.
pub const MAX_TEXT_BYTES: usize = 16 * 1024 * 1024;

/// zstd frames that ask for a larger window (as a power of two) than any text here has are refused.
const MAX_ZSTD_WINDOW_LOG: u32 = 24;

/// The body's media type, in lower case and without parameters; `None` when the client named none.
///
/// # Errors
/// When the header is not text.
pub fn media_type(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let Some(value) = headers.get(CONTENT_TYPE) else {
        return Ok(None);
    };
    let text =
        value.to_str().map_err(|_| ApiError::MediaType("the Content-Type header is not text".to_owned()))?;
    let essence = text.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    Ok((!essence.is_empty()).then_some(essence))
}

/// The text of a body: decompressed, found to be UTF-8, without a byte order mark, not blank.
///
/// # Errors
/// [`ApiError::Empty`], [`ApiError::TooLarge`], [`ApiError::MediaType`] for an unknown Content-Encoding,
/// [`ApiError::Undecodable`] for a broken one, [`ApiError::Malformed`] for bytes that are not UTF-8.
pub fn text<'a>(headers: &HeaderMap, body: &'a [u8]) -> Result<Cow<'a, [u8]>, ApiError> {
    if body.len() > MAX_BODY_BYTES {
        return Err(ApiError::TooLarge(format!(
            "the body has {} bytes, more than the {MAX_BODY_BYTES} that one request may have",
            body.len()
        )));
    }
    let mut decoded = Cow::Borrowed(body);
    if !body.is_empty() {
        match content_encoding(headers)?.as_deref() {
            None | Some("identity") => {}
            Some("gzip" | "x-gzip") => {
                decoded = Cow::Owned(bounded(flate2::read::MultiGzDecoder::new(body), "gzip")?);
            }
            Some("zstd") => {
                let mut decoder =
                    zstd::stream::read::Decoder::with_buffer(body).map_err(|why| broken("zstd", &why))?;
                decoder.window_log_max(MAX_ZSTD_WINDOW_LOG).map_err(|why| broken("zstd", &why))?;
                decoded = Cow::Owned(bounded(decoder, "zstd")?);
            }
            Some(other) => {
                return Err(ApiError::MediaType(format!(
                    "Content-Encoding '{other}' is not read here: send gzip, zstd, or no compression"
                )));
            }
        }
    }
    // A byte order mark becomes blanks: positions in the rest stay the client's own.
    if decoded.starts_with(b"\xEF\xBB\xBF") {
        decoded.to_mut()[..3].fill(b' ');
    }
    if let Err(why) = simdutf8::compat::from_utf8(&decoded) {
        let mistake = Malformed { at: why.valid_up_to(), problem: "the bytes are not UTF-8" };
        return Err(ApiError::malformed(&decoded, mistake));
    }
    if decoded.trim_ascii().is_empty() {
        return Err(ApiError::Empty);
    }
    Ok(decoded)
}

fn content_encoding(headers: &HeaderMap) -> Result<Option<String>, ApiError> {
    let mut all = headers.get_all(CONTENT_ENCODING).iter();
    let Some(value) = all.next() else { return Ok(None) };
    match value.to_str() {
        Ok(text) if all.next().is_none() => Ok(Some(text.trim().to_ascii_lowercase())),
        _ => Err(ApiError::MediaType("send one Content-Encoding: gzip or zstd".to_owned())),
    }
}

fn bounded(decoder: impl Read, encoding: &str) -> Result<Vec<u8>, ApiError> {
    let mut text = Vec::new();
    decoder.take(MAX_TEXT_BYTES as u64 + 1).read_to_end(&mut text).map_err(|why| broken(encoding, &why))?;
    if text.len() > MAX_TEXT_BYTES {
        return Err(ApiError::TooLarge(format!(
            "the body unpacks to more than the {MAX_TEXT_BYTES} bytes that one request may have"
        )));
    }
    Ok(text)
}

fn broken(encoding: &str, why: &std::io::Error) -> ApiError {
    ApiError::Undecodable(format!(
        "the body is not what its Content-Encoding '{encoding}' says: {why}; nothing of this request was stored"
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
    fn compressed_bodies_are_unpacked() {
        let none = HeaderMap::new();
        assert!(matches!(text(&none, b"{}"), Ok(Cow::Borrowed(b"{}"))));
        assert_eq!(*text(&encoded_as(" GZIP "), &gzip(b"{}")).unwrap(), *b"{}");
        let members = [gzip(b"{}\n"), gzip(b"[]")].concat();
        assert_eq!(*text(&encoded_as("gzip"), &members).unwrap(), *b"{}\n[]");
        assert_eq!(*text(&encoded_as("zstd"), &zstd::encode_all(&b"{}"[..], 3).unwrap()).unwrap(), *b"{}");
        assert_eq!(*text(&encoded_as("identity"), b"{}").unwrap(), *b"{}");
    }

    #[test]
    fn bombs_and_rubbish_are_refused() {
        let zeros = vec![b' '; MAX_TEXT_BYTES + 1];
        let bomb = gzip(&zeros);
        assert!(bomb.len() < 20_000);
        assert!(matches!(text(&encoded_as("gzip"), &bomb), Err(ApiError::TooLarge(_))));
        let bomb = zstd::encode_all(&zeros[..], 3).unwrap();
        assert!(matches!(text(&encoded_as("zstd"), &bomb), Err(ApiError::TooLarge(_))));
        assert!(matches!(text(&HeaderMap::new(), &zeros[..MAX_BODY_BYTES + 1]), Err(ApiError::TooLarge(_))));

        let whole = gzip(b"{\"ind\":1}");
        for rubbish in [&b"{}"[..], &whole[..whole.len() - 4]] {
            assert!(matches!(text(&encoded_as("gzip"), rubbish), Err(ApiError::Undecodable(_))));
            assert!(matches!(text(&encoded_as("zstd"), rubbish), Err(ApiError::Undecodable(_))));
        }
        for encoding in ["br", "gzip, zstd", "deflate"] {
            assert!(matches!(text(&encoded_as(encoding), b"{}"), Err(ApiError::MediaType(_))), "{encoding}");
        }
    }

    #[test]
    fn a_window_larger_than_any_text_is_refused() {
        let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), 3).unwrap();
        encoder.window_log(27).unwrap();
        encoder.write_all(b"{}").unwrap();
        let frame = encoder.finish().unwrap();
        assert!(matches!(text(&encoded_as("zstd"), &frame), Err(ApiError::Undecodable(_))));
    }

    #[test]
    fn what_is_blank_or_no_text_is_refused() {
        for blank in [&b""[..], b" \r\n\t", b"\xEF\xBB\xBF\n"] {
            assert_eq!(text(&HeaderMap::new(), blank), Err(ApiError::Empty));
        }
        assert_eq!(text(&encoded_as("gzip"), b""), Err(ApiError::Empty));
        let Err(ApiError::Malformed { position, .. }) = text(&HeaderMap::new(), b"{\n\"a\": \"\xFF\"}")
        else {
            panic!()
        };
        assert_eq!((position.line, position.column), (2, 7));
        assert_eq!(*text(&HeaderMap::new(), b"\xEF\xBB\xBF{}").unwrap(), *b"   {}");
    }

    #[test]
    fn parameters_of_the_media_type_do_not_count() {
        let typed = |value: &str| {
            media_type(&[(CONTENT_TYPE, value.parse().unwrap())].into_iter().collect()).unwrap()
        };
        assert_eq!(typed("Application/JSON; charset=utf-8").as_deref(), Some("application/json"));
        assert_eq!(typed(" ;x").as_deref(), None);
        assert_eq!(media_type(&HeaderMap::new()).unwrap(), None);
    }
}
