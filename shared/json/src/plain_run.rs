//! The hot loop: finds the next quote, escape or control character in a string.

/// The length of the run of bytes at the beginning of `text` that represent themselves in a string: up to a quote, a backslash or a
/// control character (RFC 8259, section 7).
///
/// It tests eight bytes at a time. Wider steps, which the compiler could vectorise, are slower: most runs are short.
#[inline]
pub(crate) fn plain_run_len(text: &[u8]) -> usize {
    const ONES: u64 = u64::from_ne_bytes([1; 8]);
    const HIGH: u64 = u64::from_ne_bytes([0x80; 8]);
    // The high bit of a byte is set where the byte ends the run. A borrow only moves upwards, so the lowest set bit is correct.
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_ends_at_the_first_byte_that_ends_it() {
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
                            assert_eq!(plain_run_len(&text), at, "{text:?}");
                        }
                    }
                }
            }
            assert_eq!(plain_run_len(&vec![0xe9; length]), length);
        }
    }
}
