//! Which format a file has.

/// How much of a file is looked at.
pub(super) const HEAD_BYTES: usize = 64 << 10;

/// How a file's records are laid out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON value a line; blank lines mean nothing.
    JsonLines,
    /// One JSON array, each element a record.
    JsonArray,
    /// JSON values one behind the other, each over as many lines as it likes.
    JsonValues,
    /// Text cells, the first line their names.
    Csv {
        /// What stands between two cells.
        delimiter: u8,
    },
    /// Apache Parquet.
    Parquet,
}

pub(super) fn is_parquet(head: &[u8]) -> bool {
    head.starts_with(b"PAR1")
}

impl Format {
    /// The format of a file, from its name without the ending of a compression, and its first bytes, unpacked.
    /// What the bytes show goes before what the name says.
    pub fn detect(name: &str, head: &[u8]) -> Format {
        if is_parquet(head) {
            return Format::Parquet;
        }
        let head = head.strip_prefix(b"\xef\xbb\xbf").unwrap_or(head);
        let ending = name.rsplit_once('.').map(|(_, ending)| ending.to_ascii_lowercase()).unwrap_or_default();
        let delimiter = match ending.as_str() {
            "csv" => Some(b','),
            "tsv" | "tab" => Some(b'\t'),
            _ => None,
        };
        let begun = head.trim_ascii_start();
        let is_array = begun.strip_prefix(b"[").is_some_and(|rest| {
            // The first name of a table may stand in brackets.
            delimiter.is_none() || rest.trim_ascii_start().starts_with(b"{")
        });
        if is_array && !is_lines(&ending) {
            return Format::JsonArray;
        }
        if let Some(delimiter) = delimiter {
            return Format::Csv { delimiter };
        }
        match (begun.first(), ending.as_str()) {
            (_, ending) if is_lines(ending) => Format::JsonLines,
            (Some(b'{'), _) => of_objects(begun),
            (_, "json") | (None, _) => Format::JsonLines,
            _ if looks_like_csv(head) => Format::Csv { delimiter: b',' },
            _ => Format::JsonLines,
        }
    }
}

fn is_lines(ending: &str) -> bool {
    matches!(ending, "ndjson" | "jsonl" | "jsonlines")
}

/// Objects one a line, or one behind the other: the first line tells.
fn of_objects(head: &[u8]) -> Format {
    let end = head.iter().position(|byte| *byte == b'\n');
    let first = &head[..end.unwrap_or(head.len())];
    let mut values = serde_json::Deserializer::from_slice(first).into_iter::<serde::de::IgnoredAny>();
    match values.next() {
        Some(Ok(_)) => match values.next() {
            None => Format::JsonLines,
            // `{...}{...}` on one line.
            Some(Ok(_)) => Format::JsonValues,
            Some(Err(error)) if error.is_eof() => Format::JsonValues,
            Some(Err(_)) => Format::JsonLines,
        },
        Some(Err(error)) if error.is_eof() => match end {
            // A first line of more than the head.
            None => Format::JsonLines,
            // A line that breaks off although the next begins an object is broken, not pretty-printed.
            Some(end) => {
                let open = matches!(first.trim_ascii_end().last(), Some(b'{' | b'[' | b',' | b':'));
                let next_begins = head[end + 1..].trim_ascii_start().starts_with(b"{");
                if next_begins && !open { Format::JsonLines } else { Format::JsonValues }
            }
        },
        _ => Format::JsonLines,
    }
}

fn looks_like_csv(head: &[u8]) -> bool {
    let first = head.split(|byte| *byte == b'\n').next().unwrap_or(head);
    first.contains(&b',') && !first.contains(&b'{')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bytes_and_name_tell_the_format() {
        let csv = Format::Csv { delimiter: b',' };
        for (name, head, format) in [
            ("pin.ndjson", "{\"a\":1}\n", Format::JsonLines),
            ("pin.ndjson", "[1,2]\n", Format::JsonLines),
            ("pin.json", "{\"a\":1}\n{\"a\":2}\n", Format::JsonLines),
            ("pin.json", "{\"a\":1}", Format::JsonLines),
            ("pin.json", " [{\"a\":1},\n", Format::JsonArray),
            ("pin.json", "{\"a\":1}{\"a\":2}", Format::JsonValues),
            ("pin.json", "{\"a\":1} {\n\"a\":2}", Format::JsonValues),
            ("pin.json", "{\n  \"a\": 1\n}\n", Format::JsonValues),
            ("pin.json", "{ \"a\": 1,\n  \"b\": 1\n}\n", Format::JsonValues),
            ("pin.json", "{\"a\": \"cut\n{\"a\": 2}\n", Format::JsonLines),
            ("pin", "{\"a\":1}\n", Format::JsonLines),
            ("pin.csv", "a,b\n1,2\n", csv),
            ("pin.csv", "[a],[b]\n1,2\n", csv),
            ("pin.csv", "[ {\"a\":1}]", Format::JsonArray),
            ("pin.tsv", "a\tb\n", Format::Csv { delimiter: b'\t' }),
            ("pin", ",ind,age\n0,1,2\n", csv),
            ("pin.bin", "PAR1....", Format::Parquet),
            ("pin.json", "", Format::JsonLines),
            ("pin.json", "\u{feff}[{}]", Format::JsonArray),
        ] {
            assert_eq!(Format::detect(name, head.as_bytes()), format, "{name}: {head:?}");
        }
    }
}
