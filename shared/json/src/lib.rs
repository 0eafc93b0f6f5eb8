//! What the readers of JSON text have in common: where a plain run of a string ends, and what `\uXXXX` stands for.
//!
//! Ingest checks and compacts JSON, the cleaner finds fields in it; neither builds values. Both spend their time here.
//! Source: RFC 8259, section 7.
//!
//! ```
//! use pinlake_json::{Unicode, plain_run, unicode};
//!
//! // A string's text, up to the quote that ends it or the backslash that begins an escape.
//! assert_eq!(plain_run(b"caf\xc3\xa9 \\ud83d\\ude00\""), 6);
//! // A pair of surrogates is one character.
//! assert_eq!(unicode(b"\\ud83d\\ude00\""), Some(Unicode { code: 0x1f600, bytes: 12 }));
//! // One alone is none: `char::from_u32` refuses it.
//! assert_eq!(unicode(b"\\ud83d\""), Some(Unicode { code: 0xd83d, bytes: 6 }));
//! assert_eq!(unicode(b"\\u00g0"), None);
//! ```

/// How many bytes from the beginning of `text` stand for themselves in a string: up to a quote, a backslash, or a control
/// character, which may not stand in one. Eight bytes are looked at at once: a byte's upper bit in `found` is set where it
/// ends the run, or stands behind one that does. (Thirty-two at once, as the compiler makes them, take longer: most runs are short.)
#[inline]
pub fn plain_run(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    // Of the bytes that are found the lowest is right: a borrow only goes upwards.
    let below = |word: u64, least: u8| word.wrapping_sub(ONES * u64::from(least)) & !word;
    let equal = |word: u64, byte: u8| below(word ^ (ONES * u64::from(byte)), 1);
    let (words, rest) = text.as_chunks::<8>();
    for (number, word) in words.iter().enumerate() {
        let word = u64::from_le_bytes(*word);
        let found = (below(word, 0x20) | equal(word, b'"') | equal(word, b'\\')) & HIGH;
        if found != 0 {
            return number * 8 + (found.trailing_zeros() / 8) as usize;
        }
    }
    let ends_run = |byte: &u8| matches!(byte, b'"' | b'\\' | ..0x20);
    text.len() - rest.len() + rest.iter().position(ends_run).unwrap_or(rest.len())
}

/// What a `\uXXXX` stands for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unicode {
    /// A code point: of a pair of surrogates what both are together, of a surrogate without its other half that surrogate.
    pub code: u32,
    /// How long it is: 6, or 12 of a pair.
    pub bytes: usize,
}

/// The escape that `text` begins with; none when it is not `\u` and four hexadecimal digits.
pub fn unicode(text: &[u8]) -> Option<Unicode> {
    let first = unit(text)?;
    let low = if matches!(first, 0xd800..0xdc00) { unit(&text[6..]) } else { None };
    Some(match low.filter(|low| matches!(low, 0xdc00..0xe000)) {
        Some(low) => Unicode { code: 0x1_0000 + ((first - 0xd800) << 10) + (low - 0xdc00), bytes: 12 },
        None => Unicode { code: first, bytes: 6 },
    })
}

fn unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |number, digit| Some(number * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn runs_end_at_the_first_byte_that_ends_them() {
        for length in 0..100 {
            for at in 0..length {
                for end in [b'"', b'\\', 0, 0x1f, b'\n'] {
                    for fill in [b'x', b' ', 0xff, 0x80, 0x7f, b'!', b']'] {
                        for behind in [b'"', b'\\', 0, b'!'] {
                            let mut text = vec![fill; length];
                            text[at] = end;
                            if let Some(next) = text.get_mut(at + 1) {
                                *next = behind;
                            }
                            assert_eq!(plain_run(&text), at, "{text:?}");
                        }
                    }
                }
            }
            assert_eq!(plain_run(&vec![0xe9; length]), length);
        }
    }

    #[test]
    fn escapes_are_characters_or_halves_of_one() {
        for (text, code, bytes) in [
            (r"\u0041", 0x41, 6),
            (r"\u00E9x", 0xe9, 6),
            (r"\ud83d\ude00", 0x1_f600, 12),
            (r"\uD800\uDC00", 0x1_0000, 12),
            (r"\udbff\udfff", 0x10_ffff, 12),
            (r"\ud83d", 0xd83d, 6),
            (r"\ud83d\u0041", 0xd83d, 6),
            (r"\ud83d\ud83d", 0xd83d, 6),
            (r"\ud83d\ude0", 0xd83d, 6),
            (r"\ude00\ud83d", 0xde00, 6),
        ] {
            assert_eq!(unicode(text.as_bytes()), Some(Unicode { code, bytes }), "{text}");
        }
        for text in ["", "u0041", r"\u", r"\u004", r"\u00 1", r"\n", r"\u+041"] {
            assert_eq!(unicode(text.as_bytes()), None, "{text}");
        }
    }
}
