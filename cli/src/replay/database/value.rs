//! Converts database values to JSON.
//!
//! Both drivers fetch text, so numbers keep their digits and are never converted to floats. Types that JSON does not have
//! become strings: times as `YYYY-MM-DD HH:MM:SS`, decimals with all digits (as `json.dumps(..., default=str)`), bytes in
//! base64.

use std::sync::Arc;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

/// The JSON type of a column.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A number; a string if JSON has no such number (NaN).
    Number,
    /// true or false.
    Bool,
    /// JSON, copied.
    Json,
    /// A base64 string.
    Bytes,
    /// A time with the zone of the session, which is UTC.
    ZonedTime,
    /// A string.
    Text,
}

/// A column of a result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Column {
    /// Its name.
    pub name: String,
    /// The JSON type of its values.
    pub kind: Kind,
}

/// The columns of a result, shared by its rows.
pub type Columns = Arc<[Column]>;

/// The values of a row as text, or bytes for [`Kind::Bytes`]; `None` is null.
pub type Cells = Vec<Option<Vec<u8>>>;

/// A value that does not match its type.
#[derive(Debug, thiserror::Error)]
#[error("column `{column}` holds {what}")]
pub struct InvalidValue {
    column: String,
    what: &'static str,
}

/// Writes a row as one line of JSON, with the columns in the order of the table.
pub fn row(columns: &[Column], cells: &Cells) -> Result<Vec<u8>, InvalidValue> {
    let mut json = Vec::with_capacity(64 + cells.iter().flatten().map(|cell| cell.len() + 16).sum::<usize>());
    for (column, cell) in columns.iter().zip(cells) {
        json.extend_from_slice(if json.is_empty() { b"{" } else { b", " });
        append_text(&mut json, &column.name);
        json.extend_from_slice(b": ");
        match cell {
            None => json.extend_from_slice(b"null"),
            Some(cell) => append(&mut json, column, cell)?,
        }
    }
    json.extend_from_slice(if json.is_empty() { b"{}" } else { b"}" });
    Ok(json)
}

fn append(json: &mut Vec<u8>, column: &Column, cell: &[u8]) -> Result<(), InvalidValue> {
    if column.kind == Kind::Bytes {
        append_text(json, &STANDARD.encode(cell));
        return Ok(());
    }
    let odd = |what| InvalidValue { column: column.name.clone(), what };
    let text = str::from_utf8(cell).map_err(|_| odd("text that is not UTF-8"))?;
    match column.kind {
        Kind::Number => match number(text) {
            Some(number) => json.extend_from_slice(number.as_bytes()),
            None => append_text(json, text),
        },
        Kind::Bool => json.extend_from_slice(match text {
            "t" | "true" => b"true",
            "f" | "false" => b"false",
            _ => return Err(odd("neither true nor false")),
        }),
        Kind::Json => {
            if serde_json::from_str::<serde::de::IgnoredAny>(text).is_err() {
                return Err(odd("no JSON, though that is its type"));
            }
            // Line breaks occur only between tokens: in strings they are escaped.
            json.extend(text.bytes().map(|byte| if matches!(byte, b'\n' | b'\r') { b' ' } else { byte }));
        }
        Kind::ZonedTime if text.ends_with("+00") => append_text(json, &format!("{text}:00")),
        Kind::ZonedTime | Kind::Text | Kind::Bytes => append_text(json, text),
    }
    Ok(())
}

/// The number without padding zeros, if it is valid JSON.
fn number(text: &str) -> Option<&str> {
    let digits = text.trim_start_matches('0');
    let text = match digits.bytes().next() {
        Some(b'0'..=b'9') => digits,
        _ if digits.len() < text.len() => &text[text.len() - digits.len() - 1..],
        _ => text,
    };
    let begins = text.starts_with(|first: char| first == '-' || first.is_ascii_digit());
    (begins && serde_json::from_str::<serde::de::IgnoredAny>(text).is_ok()).then_some(text)
}

fn append_text(json: &mut Vec<u8>, text: &str) {
    json.extend_from_slice(serde_json::Value::from(text).to_string().as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(kind: Kind, text: &str) -> Result<String, String> {
        let columns = [Column { name: "a".to_owned(), kind }];
        let row = row(&columns, &vec![Some(text.as_bytes().to_vec())]);
        row.map(|row| String::from_utf8(row).unwrap()).map_err(|odd| odd.to_string())
    }

    fn is(kind: Kind, text: &str, json: &str) {
        assert_eq!(one(kind, text).unwrap(), format!("{{\"a\": {json}}}"), "{kind:?} {text}");
    }

    #[test]
    fn numbers_keep_their_digits() {
        for (text, json) in [
            ("0", "0"),
            ("-7", "-7"),
            ("9007199254740993", "9007199254740993"),
            ("-88.72530", "-88.72530"),
            ("1e20", "1e20"),
            ("0.5", "0.5"),
            ("00012", "12"),
            ("000", "0"),
            ("00.5", "0.5"),
            ("NaN", "\"NaN\""),
            ("-Infinity", "\"-Infinity\""),
        ] {
            is(Kind::Number, text, json);
        }
    }

    #[test]
    fn other_values_are_what_a_client_sends() {
        is(Kind::Text, "a \"quote\"\n🎄 \u{1}", r#""a \"quote\"\n🎄 \u0001""#);
        is(Kind::Text, "2020-08-28 03:52:47", "\"2020-08-28 03:52:47\"");
        is(Kind::ZonedTime, "2020-08-28 03:52:47.5+00", "\"2020-08-28 03:52:47.5+00:00\"");
        is(Kind::Bool, "t", "true");
        is(Kind::Bool, "f", "false");
        is(Kind::Json, "{\n \"b\": [1.50,\r\n null]}", "{  \"b\": [1.50,   null]}");
        let columns = ["x", "y"].map(|name| Column { name: name.to_owned(), kind: Kind::Bytes });
        let cells = vec![Some(vec![0, 255, b'\n']), None];
        assert_eq!(row(&columns, &cells).unwrap(), br#"{"x": "AP8K", "y": null}"#);
        assert_eq!(row(&[], &Vec::new()).unwrap(), b"{}");
    }

    #[test]
    fn an_invalid_value_names_its_column() {
        assert_eq!(one(Kind::Bool, "2").unwrap_err(), "column `a` holds neither true nor false");
        assert!(one(Kind::Json, "{").unwrap_err().contains("no JSON"));
    }
}
