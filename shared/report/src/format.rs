//! How values are written for people: numbers with separators, readable times, visible control characters.
//!
//! `page.js` formats the rows that it renders in the same way; the browser test compares the two.

use std::borrow::Cow;

use chrono::{DateTime, TimeDelta, Utc};
use serde_json::{Number, Value};

/// Null, in charts and tables.
pub(crate) const NULL: &str = "(null)";
/// The empty text, in charts.
pub(crate) const EMPTY: &str = "(empty)";
/// The minus sign, as wide as a digit.
const MINUS: char = '\u{2212}';

/// What the cells of a column are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// Numbers to measure and to compare.
    Number,
    /// Numbers that are names: years and identifiers.
    Plain,
    /// ISO 8601 dates, or times that are all midnight.
    Date,
    /// ISO 8601 times.
    Time,
    /// Anything else.
    Text,
}

impl Kind {
    /// Decides from the name of the column and all of its cells. Nulls decide nothing.
    pub(crate) fn of<'a>(name: &str, cells: impl Iterator<Item = &'a Value> + Clone) -> Kind {
        let mut known = cells.filter(|cell| !cell.is_null()).peekable();
        if known.peek().is_none() {
            return Kind::Text;
        }
        if known.clone().all(Value::is_number) {
            let name = name.to_lowercase();
            let is_year = (name.contains("year") || name == "jahr" || name == "yr")
                && known.all(|cell| cell.as_i64().is_some_and(|year| (1000..3000).contains(&year)));
            let is_identifier = ["id", "ind", "zip", "code"]
                .iter()
                .any(|word| name == *word || name.strip_suffix(word).is_some_and(|rest| rest.ends_with('_')));
            return if is_year || is_identifier { Kind::Plain } else { Kind::Number };
        }
        if !known.clone().all(|cell| cell.as_str().and_then(parse_time).is_some()) {
            return Kind::Text;
        }
        let is_midnight = |text: &str| {
            text.get(10..).is_none_or(|time| time.trim_matches(['T', '0', ':', '.', ' ', 'Z']).is_empty())
        };
        if known.all(|cell| cell.as_str().is_some_and(is_midnight)) { Kind::Date } else { Kind::Time }
    }

    /// The word for `page.js`.
    pub(crate) fn word(self) -> &'static str {
        match self {
            Kind::Number => "number",
            Kind::Plain => "plain",
            Kind::Date => "date",
            Kind::Time => "time",
            Kind::Text => "text",
        }
    }

    /// Whether cells are aligned to the right.
    pub(crate) fn is_right_aligned(self) -> bool {
        matches!(self, Kind::Number | Kind::Plain)
    }

    /// A cell for people.
    pub(crate) fn format(self, cell: &Value) -> String {
        match (self, cell) {
            (_, Value::Null) => NULL.to_owned(),
            (Kind::Number, Value::Number(number)) => format_number(number),
            (Kind::Date, Value::String(text)) => text.get(..10).unwrap_or(text).to_owned(),
            (Kind::Time, Value::String(text)) => format_iso_time(text),
            (_, Value::String(text)) => show_controls(text).into_owned(),
            (_, other) => show_controls(&other.to_string()).into_owned(),
        }
    }
}

/// Seconds since 1970 of an ISO 8601 date or time, as results contain them.
pub(crate) fn parse_time(text: &str) -> Option<f64> {
    let bytes = text.as_bytes();
    let is_date = bytes.len() >= 10
        && bytes[..10].iter().enumerate().all(|(index, byte)| match index {
            4 | 7 => *byte == b'-',
            _ => byte.is_ascii_digit(),
        });
    if !is_date {
        return None;
    }
    let at = match bytes.get(10) {
        None => text.parse::<chrono::NaiveDate>().ok()?.and_hms_opt(0, 0, 0)?.and_utc(),
        Some(_) => match text.parse::<DateTime<Utc>>() {
            Ok(at) => at,
            Err(_) => text.parse::<chrono::NaiveDateTime>().ok()?.and_utc(),
        },
    };
    Some(at.timestamp_micros() as f64 / 1e6)
}

fn format_iso_time(text: &str) -> String {
    let text = show_controls(text).replacen('T', " ", 1);
    match text.strip_suffix('Z') {
        Some(time) => format!("{time} UTC"),
        None => text,
    }
}

/// Writes an integer in full, and a fraction with at most four digits, or four significant ones below 1.
pub(crate) fn format_number(number: &Number) -> String {
    if number.is_i64() || number.is_u64() {
        return group_digits(&number.to_string());
    }
    number.as_f64().map_or_else(|| number.to_string(), format_float)
}

/// Like [`format_number`].
pub(crate) fn format_float(value: f64) -> String {
    let size = value.abs();
    if size == 0.0 {
        return "0".to_owned();
    }
    if !(1e-6..9.007e15).contains(&size) {
        return format!("{value:e}").replace('-', &MINUS.to_string());
    }
    // Digits after the point: four, and more for leading zeros.
    let digits = if size >= 1.0 { 4 } else { 4 + (-size.log10()).floor().max(0.0) as usize };
    let text = format!("{value:.digits$}");
    group_digits(text.trim_end_matches('0').trim_end_matches('.'))
}

/// A number that is short enough for an axis: 12.5M.
pub(crate) fn format_short(value: f64) -> String {
    for (size, letter) in [(1e12, "T"), (1e9, "B"), (1e6, "M"), (1e4, "k")] {
        if value.abs() >= size {
            let unit = if letter == "k" { 1e3 } else { size };
            let scaled = (value / unit * 100.0).round() / 100.0;
            return format!("{}{letter}", format_float(scaled));
        }
    }
    format_float(value)
}

/// Puts a comma between groups of three digits before the point.
pub fn group_digits(text: &str) -> String {
    let (sign, digits) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
    let (whole, fraction) = digits.split_once('.').map_or((digits, None), |(w, f)| (w, Some(f)));
    let mut out = String::with_capacity(text.len() + text.len() / 3 + 2);
    if sign {
        out.push(MINUS);
    }
    for (index, digit) in whole.chars().enumerate() {
        if index > 0 && (whole.len() - index).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

/// Writes a count with its noun: `1 row`, `2,000 rows`.
pub(crate) fn format_count(count: u64, noun: &str) -> String {
    let plural = if count == 1 { "" } else { "s" };
    format!("{} {noun}{plural}", group_digits(&count.to_string()))
}

/// Writes a size: `486.8 kB`.
pub(crate) fn format_bytes(bytes: u64) -> String {
    let units = ["B", "kB", "MB", "GB", "TB", "PB"];
    let (mut size, mut unit) = (bytes as f64, 0);
    while size >= 999.95 && unit + 1 < units.len() {
        size /= 1000.0;
        unit += 1;
    }
    let digits = usize::from(unit > 0 && size < 100.0);
    format!("{size:.digits$} {}", units[unit])
}

/// Writes a time of a run: `12 ms`, `1.2 s`.
pub(crate) fn format_seconds(seconds: f64) -> String {
    if seconds < 0.0005 {
        "under 1 ms".to_owned()
    } else if seconds < 0.9995 {
        format!("{:.0} ms", seconds * 1000.0)
    } else if seconds < 60.0 {
        format!("{seconds:.1} s")
    } else {
        format!("{:.0} min {:.0} s", (seconds / 60.0).floor(), seconds % 60.0)
    }
}

/// Writes a time: `2022-10-19 12:00 UTC`.
pub(crate) fn format_time(at: DateTime<Utc>) -> String {
    at.format("%Y-%m-%d %H:%M UTC").to_string()
}

/// Writes an age in its largest unit: `5 minutes`.
pub fn format_age(age: TimeDelta) -> String {
    let seconds = u64::try_from(age.num_seconds()).unwrap_or(0);
    let (count, noun) = match seconds {
        0..60 => (seconds, "second"),
        60..3600 => (seconds / 60, "minute"),
        3600..172_800 => (seconds / 3600, "hour"),
        _ => (seconds / 86_400, "day"),
    };
    format_count(count, noun)
}

/// Writes the name of a column as words: `follower count`.
pub(crate) fn to_words(name: &str) -> String {
    show_controls(name).replace('_', " ")
}

/// Shows control characters, and those that change the direction of text, as `\u{1b}`: cells contain what clients sent.
pub fn show_controls(text: &str) -> Cow<'_, str> {
    let is_unsafe = |letter: char| {
        // Unicode, "Bidirectional Algorithm", directional formatting characters.
        matches!(letter, '\u{61c}' | '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
            || (letter.is_control() && !matches!(letter, '\n' | '\t'))
    };
    if !text.contains(is_unsafe) {
        return Cow::Borrowed(text);
    }
    let mut shown = String::with_capacity(text.len() + 16);
    for letter in text.chars() {
        if is_unsafe(letter) { shown.extend(letter.escape_unicode()) } else { shown.push(letter) }
    }
    Cow::Owned(shown)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn number(json: Value) -> String {
        Kind::Number.format(&json)
    }

    #[test]
    fn what_controls_a_terminal_is_shown_as_text() {
        assert_eq!(show_controls("a\tb\n…é🙂"), "a\tb\n…é🙂");
        assert_eq!(show_controls("a\u{1b}[2J\r\u{9b}1m\u{7f}"), "a\\u{1b}[2J\\u{d}\\u{9b}1m\\u{7f}");
        assert_eq!(show_controls("x\u{202e}gnp.exe\u{2066}"), "x\\u{202e}gnp.exe\\u{2066}");
    }

    #[test]
    fn numbers_have_separators_and_few_digits() {
        assert_eq!(number(json!(0)), "0");
        assert_eq!(number(json!(-1234)), "\u{2212}1,234");
        assert_eq!(number(json!(9_007_199_254_740_993_u64)), "9,007,199,254,740,993");
        assert_eq!(number(json!(62500.0)), "62,500");
        assert_eq!(number(json!(12_345.666_666_666_6)), "12,345.6667");
        assert_eq!(number(json!(0.012_345_678)), "0.01235");
        assert_eq!(number(json!(-0.0)), "0");
        assert_eq!(number(json!(1.5e300)), "1.5e300");
        assert_eq!(number(json!(2e-9)), "2e\u{2212}9");
        assert_eq!(number(json!(null)), "(null)");
        assert_eq!(
            [999.0, 12_000.0, 2.5e6, -3e9, 0.25].map(format_short),
            ["999", "12k", "2.5M", "\u{2212}3B", "0.25"]
        );
        assert_eq!(
            [0, 999, 1000, 486_772, 999_960].map(format_bytes),
            ["0 B", "999 B", "1.0 kB", "487 kB", "1.0 MB"]
        );
        assert_eq!(
            [0.0, 0.0123, 2.04, 61.0].map(format_seconds),
            ["under 1 ms", "12 ms", "2.0 s", "1 min 1 s"]
        );
    }

    #[test]
    fn the_kind_comes_from_name_and_cells() {
        let kind = |name: &str, cells: Value| Kind::of(name, cells.as_array().unwrap().iter());
        assert_eq!(kind("post_year", json!([2018, null])), Kind::Plain);
        assert_eq!(kind("years_married", json!([2, 30])), Kind::Number);
        assert_eq!(kind("order_id", json!([1])), Kind::Plain);
        assert_eq!(kind("paid", json!([1])), Kind::Number);
        assert_eq!(kind("n", json!([1.5, null])), Kind::Number);
        assert_eq!(kind("n", json!([null])), Kind::Text);
        assert_eq!(kind("n", json!([1, "a"])), Kind::Text);
        assert_eq!(kind("day", json!(["2024-02-29"])), Kind::Date);
        assert_eq!(kind("day", json!(["2024-02-29T00:00:00Z", null])), Kind::Date);
        assert_eq!(kind("at", json!(["2024-02-29T00:00:00Z", "2024-02-29T00:10:00"])), Kind::Time);
        assert_eq!(kind("at", json!(["2024-02-30"])), Kind::Text);
        assert_eq!(kind("tags", json!([["a"]])), Kind::Text);
        assert_eq!(Kind::Time.format(&json!("2024-02-29T00:10:00Z")), "2024-02-29 00:10:00 UTC");
    }

    #[test]
    fn what_changes_the_direction_of_text_is_shown() {
        assert_eq!(Kind::Text.format(&json!("a\u{202e}b\u{1b}[2J")), "a\\u{202e}b\\u{1b}[2J");
        assert_eq!(Kind::Text.format(&json!(["é\n"])), "[\"é\\n\"]");
    }
}
