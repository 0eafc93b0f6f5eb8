//! Detects the format of a file.

/// The number of bytes at the beginning of a file that are examined.
pub(super) const HEAD_BYTES: usize = 64 << 10;

/// The format of a file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// One JSON value per line; blank lines are ignored.
    JsonLines,
    /// One JSON array, each element a record.
    JsonArray,
    /// Concatenated JSON values, each on any number of lines.
    JsonValues,
    /// Text cells; the first line has their names.
    Csv {
        /// The byte between two cells.
        delimiter: u8,
    },
    /// Apache Parquet.
    Parquet,
}

pub(super) fn is_parquet(head: &[u8]) -> bool {
    head.starts_with(b"PAR1")
}

impl Format {
    /// Detects the format by the name of the file, without the suffix of a compression, and its first bytes, decompressed. The bytes take
    /// precedence over the name.
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
            // The first column name of a CSV file may be in brackets.
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
            (Some(b'{'), _) => detect_objects(begun),
            (_, "json") | (None, _) => Format::JsonLines,
            _ if looks_like_csv(head) => Format::Csv { delimiter: b',' },
            _ => Format::JsonLines,
        }
    }
}

fn is_lines(ending: &str) -> bool {
    matches!(ending, "ndjson" | "jsonl" | "jsonlines")
}

/// Decides by the first line whether there is one object per line.
fn detect_objects(head: &[u8]) -> Format {
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
            // The first line is longer than the head.
            None => Format::JsonLines,
            // If the next line begins an object, this one is broken, not pretty-printed.
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
    fn the_format_follows_from_bytes_and_name() {
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
