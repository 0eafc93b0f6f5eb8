//! Writes one JSON object as the stock client's `json.dumps` does: blanks after `:` and `,`, and text either as
//! it is or escaped to ASCII with surrogate pairs.

/// An object under way at the end of a buffer.
pub struct JsonLine<'a> {
    out: &'a mut Vec<u8>,
    ascii: bool,
    empty: bool,
}

impl<'a> JsonLine<'a> {
    /// Opens the object. `ascii`: everything beyond ASCII is written as `\uXXXX`.
    pub fn open(out: &'a mut Vec<u8>, ascii: bool) -> JsonLine<'a> {
        out.push(b'{');
        JsonLine { out, ascii, empty: true }
    }

    /// Ends the object and the line.
    pub fn close(self) {
        self.out.extend_from_slice(b"}\n");
    }

    /// A field with a string.
    pub fn string(&mut self, name: &str, text: &str) {
        self.name(name);
        string(self.out, text, self.ascii);
    }

    /// A field with a whole number.
    pub fn integer(&mut self, name: &str, number: u64) {
        self.name(name);
        decimal(self.out, number);
    }

    /// A field whose value is JSON already.
    pub fn verbatim(&mut self, name: &str, json: &[u8]) {
        self.name(name);
        self.out.extend_from_slice(json);
    }

    fn name(&mut self, name: &str) {
        if !std::mem::take(&mut self.empty) {
            self.out.extend_from_slice(b", ");
        }
        string(self.out, name, false);
        self.out.extend_from_slice(b": ");
    }
}

/// Appends a number in decimal.
pub fn decimal(out: &mut Vec<u8>, number: u64) {
    padded(out, number, 1);
}

/// Appends a number in decimal, filled up with zeros to at least `width` digits.
pub fn padded(out: &mut Vec<u8>, number: u64, width: usize) {
    let mut digits = [b'0'; 20];
    let mut at = digits.len();
    let mut rest = number;
    while rest > 0 || at > digits.len().saturating_sub(width) {
        at -= 1;
        digits[at] = b'0' + (rest % 10) as u8;
        rest /= 10;
    }
    out.extend_from_slice(&digits[at..]);
}

fn string(out: &mut Vec<u8>, text: &str, ascii: bool) {
    out.push(b'"');
    for part in text.split_inclusive(|letter: char| needs_escape(letter, ascii)) {
        match part.chars().next_back().filter(|&last| needs_escape(last, ascii)) {
            None => out.extend_from_slice(part.as_bytes()),
            Some(last) => {
                out.extend_from_slice(&part.as_bytes()[..part.len() - last.len_utf8()]);
                escape(out, last);
            }
        }
    }
    out.push(b'"');
}

fn needs_escape(letter: char, ascii: bool) -> bool {
    letter == '"' || letter == '\\' || letter < ' ' || (ascii && !letter.is_ascii())
}

fn escape(out: &mut Vec<u8>, letter: char) {
    const HEX: [u8; 16] = *b"0123456789abcdef";
    let short = match letter {
        '"' => Some(b'"'),
        '\\' => Some(b'\\'),
        '\n' => Some(b'n'),
        '\t' => Some(b't'),
        '\r' => Some(b'r'),
        _ => None,
    };
    if let Some(short) = short {
        out.extend_from_slice(&[b'\\', short]);
        return;
    }
    let mut units = [0u16; 2];
    for unit in letter.encode_utf16(&mut units) {
        out.extend_from_slice(b"\\u");
        for shift in [12, 8, 4, 0] {
            out.push(HEX[usize::from((*unit >> shift) & 15)]);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_line_is_what_json_dumps_writes() {
        let mut out = Vec::new();
        for ascii in [false, true] {
            let mut line = JsonLine::open(&mut out, ascii);
            line.integer("index", 7528);
            line.string("title", "a \"b\" \\ c\n🎄…\u{a0}");
            line.verbatim("latitude", b"-75.3");
            line.close();
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                "{\"index\": 7528, \"title\": \"a \\\"b\\\" \\\\ c\\n🎄…\u{a0}\", \"latitude\": -75.3}\n",
                "{\"index\": 7528, \"title\": \"a \\\"b\\\" \\\\ c\\n\\ud83c\\udf84\\u2026\\u00a0\", \"latitude\": -75.3}\n",
            )
        );
    }

    #[test]
    fn numbers_in_decimal() {
        let mut out = Vec::new();
        for (number, width) in [(0, 1), (7, 2), (12, 1), (u64::MAX, 1)] {
            padded(&mut out, number, width);
            out.push(b' ');
        }
        assert_eq!(out, b"0 07 12 18446744073709551615 ");
    }
}
