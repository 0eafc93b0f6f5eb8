//! Parses `[file]`: how the text files of a dataset are written.

use encoding_rs::{BIG5, EUC_KR, Encoding, GB18030, GBK, SHIFT_JIS, UTF_8, UTF_16BE, UTF_16LE};

use super::field_rules::parse_rules;
use super::toml_tree::{Diagnostics, Section, Spanned};
use crate::declaration::FileFormat;
use crate::records_path::RecordsPath;

const FILE_KEYS: [&str; 8] =
    ["delimiter", "quote", "escape", "comment", "encoding", "repeated_headers", "records", "skip_when"];

/// The longest text that begins a comment.
const MAX_COMMENT_BYTES: usize = 64;

pub(super) fn parse(section: &Section<'_>, diagnostics: &mut Diagnostics<'_>) -> FileFormat {
    section.reject_unknown_keys(&FILE_KEYS, diagnostics);
    let delimiter = parse_byte(section, "delimiter", "\";\"", diagnostics);
    let quote = match section.string("quote", diagnostics) {
        Some(written) if written.value.is_empty() => Some(None),
        Some(written) => {
            check_byte(written, "quote", "\"'\", or \"\" if quotes mean nothing", diagnostics).map(Some)
        }
        None => None,
    };
    let escape = parse_byte(section, "escape", "\"\\\\\"", diagnostics);
    if let Some(span) = section
        .key_span("delimiter")
        .filter(|_| delimiter.is_some() && (delimiter == escape || delimiter == quote.unwrap_or(Some(b'"'))))
    {
        diagnostics.add(
            span,
            "the delimiter is the quote or the escape too",
            "use three different characters",
        );
    }
    let comment = section.string("comment", diagnostics).and_then(|written| {
        if !written.value.is_empty()
            && written.value.len() <= MAX_COMMENT_BYTES
            && !written.value.contains('\n')
        {
            return Some(written.value);
        }
        diagnostics.add(written.span, "this cannot begin a comment", "write a text such as \"#\"");
        None
    });
    let encoding = section.string("encoding", diagnostics).and_then(|written| {
        match Encoding::for_label(written.value.as_bytes()) {
            Some(known) if known.is_ascii_compatible() || [UTF_16BE, UTF_16LE].contains(&known) => {
                Some(known.name()).filter(|_| known != UTF_8)
            }
            Some(_) | None => {
                diagnostics.add(
                    written.span,
                    format!("`{}` is not an encoding that files may have", written.value),
                    "write a name such as \"utf-8\", \"windows-1252\", \"iso-8859-2\", \"shift_jis\" or \"utf-16le\"",
                );
                None
            }
        }
    });
    check_signs(section, encoding, [delimiter, quote.flatten(), escape], diagnostics);
    let keeps_repeated_headers = match section.string("repeated_headers", diagnostics) {
        None => false,
        Some(word) => match word.value.as_str() {
            "skip" => false,
            "keep" => true,
            other => {
                diagnostics.add(
                    word.span,
                    format!("`{other}` is nothing that can be done with a header that comes again"),
                    "write \"skip\" or \"keep\"",
                );
                false
            }
        },
    };
    let records = section.string("records", diagnostics).and_then(|written| {
        let parsed = RecordsPath::parse(&written.value);
        if let Err(why) = &parsed {
            let problem = format!("`{}` is no path to records: {why}", written.value);
            let hint = match RecordsPath::suggest(&written.value) {
                Some(path) => format!("write \"{path}\""),
                None => "write a path such as \"Records[]\" or \"data.items[]\"".to_owned(),
            };
            diagnostics.add(written.span, problem, hint);
        }
        parsed.ok()
    });
    let skip_when = parse_rules(section, "skip_when", "{ kind = \"total\" }", diagnostics);
    FileFormat { delimiter, quote, escape, comment, encoding, keeps_repeated_headers, records, skip_when }
}

/// Checks that no sign is a part of characters of the encoding: cells are found in the bytes of the file.
fn check_signs(
    section: &Section<'_>,
    encoding: Option<&'static str>,
    signs: [Option<u8>; 3],
    diagnostics: &mut Diagnostics<'_>,
) {
    let has_ascii_bytes = |name: &str| {
        let known = Encoding::for_label(name.as_bytes());
        known.is_some_and(|known| [BIG5, EUC_KR, GB18030, GBK, SHIFT_JIS].contains(&known))
    };
    let sign = signs.into_iter().flatten().find(|sign| *sign >= b'@');
    if let (Some(name), Some(sign), Some(span)) =
        (encoding.filter(|name| has_ascii_bytes(name)), sign, section.key_span("encoding"))
    {
        diagnostics.add(
            span,
            format!("characters of {name} may contain the byte of `{}`", char::from(sign)),
            "convert the file to UTF-8, or use another sign such as \",\"",
        );
    }
}

fn parse_byte(
    section: &Section<'_>,
    key: &str,
    example: &str,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<u8> {
    let written = section.string(key, diagnostics)?;
    check_byte(written, key, example, diagnostics)
}

/// The byte that is written. It is one of ASCII, and not one that ends a line.
fn check_byte(
    written: Spanned<String>,
    key: &str,
    example: &str,
    diagnostics: &mut Diagnostics<'_>,
) -> Option<u8> {
    match written.value.as_bytes() {
        [byte] if byte.is_ascii() && !matches!(byte, b'\n' | b'\r' | 0) => Some(*byte),
        _ => {
            diagnostics.add(
                written.span,
                format!("`{key}` is one character of ASCII that does not end a line"),
                format!("write {example}"),
            );
            None
        }
    }
}
