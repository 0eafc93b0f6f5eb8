//! Escape sequences in strings (RFC 8259, section 7).

/// An escape sequence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Escape {
    /// The character that it represents. `None` for half a surrogate pair, which JSON allows and Unicode text does not.
    pub character: Option<char>,
    /// Its length in the text, in bytes: 2, 6, or 12 for a surrogate pair.
    pub bytes: usize,
}

impl Escape {
    /// Parses the escape sequence at the beginning of `text`.
    #[inline]
    pub(crate) fn parse(text: &[u8]) -> Result<Self, &'static str> {
        let character = match text.get(1) {
            Some(b'u') => return parse_unicode(text).ok_or("expected four hexadecimal digits after \\u"),
            Some(b'"') => '"',
            Some(b'\\') => '\\',
            Some(b'/') => '/',
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            _ => return Err("no such escape"),
        };
        Ok(Self { character: Some(character), bytes: 2 })
    }
}

/// `\uXXXX`, or two of them where they are a surrogate pair.
fn parse_unicode(text: &[u8]) -> Option<Escape> {
    let high = parse_code_unit(text)?;
    let low = if matches!(high, 0xd800..0xdc00) { parse_code_unit(&text[6..]) } else { None };
    Some(match low.filter(|low| matches!(low, 0xdc00..0xe000)) {
        Some(low) => {
            let code = 0x1_0000 + ((high - 0xd800) << 10) + (low - 0xdc00);
            Escape { character: char::from_u32(code), bytes: 12 }
        }
        None => Escape { character: char::from_u32(high), bytes: 6 },
    })
}

fn parse_code_unit(text: &[u8]) -> Option<u32> {
    let digits = text.strip_prefix(b"\\u")?.get(..4)?;
    digits.iter().try_fold(0, |number, digit| Some(number * 16 + char::from(*digit).to_digit(16)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unicode_escapes_are_characters_or_half_of_a_pair() {
        for (text, character, bytes) in [
            (r"\u0041", Some('A'), 6),
            (r"\u00E9x", Some('é'), 6),
            (r"\ud83d\ude00", Some('😀'), 12),
            (r"\uD800\uDC00", Some('\u{1_0000}'), 12),
            (r"\udbff\udfff", Some('\u{10_ffff}'), 12),
            (r"\ud83d", None, 6),
            (r"\ud83d\u0041", None, 6),
            (r"\ud83d\ud83d", None, 6),
            (r"\ud83d\ude0", None, 6),
            (r"\ude00\ud83d", None, 6),
            (r"\n", Some('\n'), 2),
            (r"\/x", Some('/'), 2),
        ] {
            assert_eq!(Escape::parse(text.as_bytes()), Ok(Escape { character, bytes }), "{text}");
        }
        for text in ["\\", r"\u", r"\u004", r"\u00 1", r"\x", r"\u+041", r"\u00g0"] {
            assert!(Escape::parse(text.as_bytes()).is_err(), "{text}");
        }
    }
}
