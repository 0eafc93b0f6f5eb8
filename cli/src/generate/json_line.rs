//! JSON lines in the format of Python's `json.dumps`, which the stock client uses.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::Serializer;
use serde_json::ser::Formatter;

/// Appends a row as one line. `ascii`: other characters are written as `\uXXXX`.
pub fn write_line(out: &mut Vec<u8>, ascii: bool, row: &impl Serialize) -> io::Result<()> {
    row.serialize(&mut Serializer::with_formatter(&mut *out, PythonFormatter { ascii }))?;
    out.push(b'\n');
    Ok(())
}

/// Writes `, ` and `: ` as separators, and escapes text to ASCII with surrogate pairs if `ascii` is set.
#[derive(Debug, Clone, Copy)]
struct PythonFormatter {
    ascii: bool,
}

impl Formatter for PythonFormatter {
    fn begin_object_key<W: ?Sized + Write>(&mut self, writer: &mut W, first: bool) -> io::Result<()> {
        if first { Ok(()) } else { writer.write_all(b", ") }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b": ")
    }

    fn write_string_fragment<W: ?Sized + Write>(&mut self, writer: &mut W, fragment: &str) -> io::Result<()> {
        if !self.ascii || fragment.is_ascii() {
            return writer.write_all(fragment.as_bytes());
        }
        let mut units = [0u16; 2];
        for letter in fragment.chars() {
            if letter.is_ascii() {
                writer.write_all(&[letter as u8])?;
                continue;
            }
            for unit in letter.encode_utf16(&mut units) {
                write!(writer, "\\u{unit:04x}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_what_json_dumps_writes() {
        #[derive(Serialize)]
        struct Row {
            index: u64,
            title: &'static str,
            latitude: f64,
        }
        let row = Row { index: 7528, title: "a \"b\" \\ c\n🎄…\u{a0}", latitude: -75.3 };
        let mut out = Vec::new();
        for ascii in [false, true] {
            write_line(&mut out, ascii, &row).unwrap();
        }
        assert_eq!(
            String::from_utf8(out).unwrap(),
            concat!(
                "{\"index\": 7528, \"title\": \"a \\\"b\\\" \\\\ c\\n🎄…\u{a0}\", \"latitude\": -75.3}\n",
                "{\"index\": 7528, \"title\": \"a \\\"b\\\" \\\\ c\\n\\ud83c\\udf84\\u2026\\u00a0\", \"latitude\": -75.3}\n",
            )
        );
    }
}
